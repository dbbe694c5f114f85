/* W10: what a daemon costs that has 50 quiet peers.
 *
 * All of them are processes of the weft program on this machine, each connected to the first.  Once
 * the links are open and in step, nothing is written: processor time, anonymous memory and bytes on
 * the wire of the first one are taken over half a minute. */
#include <stdlib.h>
#include <time.h>

#include "bench/processes.h"

enum { PEERS = 50, PEERS_QUICK = 5, SECONDS = 30, SECONDS_QUICK = 4, OPEN_SECONDS = 60 };

typedef struct peer {
  char folder[BENCH_PATH_LEN_MAX];
  pid_t daemon;
} peer;

typedef struct idle_run {
  bench *b;
  processes p;
  peer *peers;
  unsigned count;
} idle_run;

static weft_err wait_seconds(const bench *b, double seconds, const char *what) {
  const struct timespec moment = {0, 50000000};
  double end = bench_now() + seconds;
  while (bench_now() < end) {
    WEFT_TRY(bench_progress(b, what));
    nanosleep(&moment, NULL);
  }
  return WEFT_OK;
}

/* Waits until all links are open, and then until no more bytes than heartbeats go. */
static weft_err settle(idle_run *s) {
  processes_links links = {0};
  double limit = bench_now() + OPEN_SECONDS;
  while (links.open < s->count) {
    if (bench_now() > limit) return bench_fail(s->b, WEFT_ETIMEOUT, "opening all links");
    WEFT_TRY(wait_seconds(s->b, 0.5, "waiting for links"));
    WEFT_TRY(processes_count(&s->p, &links));
  }
  return wait_seconds(s->b, 3, "waiting for quiet");
}

static void sample(idle_run *s, const char *metric, const char *unit, double value) {
  bench_name name = {"W10", "quiet", metric, unit, BENCH_COST};
  bench_sample(s->b, name, value);
}

static weft_err measure(idle_run *s) {
  processes_links before, after;
  WEFT_TRY(processes_open(&s->p, s->b, 1));
  for (unsigned i = 0; i < s->count; i++) {
    WEFT_TRY(bench_progress(s->b, "joining"));
    WEFT_TRY(processes_add(&s->p, i, s->peers[i].folder, &s->peers[i].daemon));
  }
  WEFT_TRY(settle(s));
  double seconds = s->b->quick ? SECONDS_QUICK : SECONDS;
  WEFT_TRY(processes_count(&s->p, &before));
  double cpu = bench_processor(s->p.sender_daemon);
  double start = bench_now();
  WEFT_TRY(wait_seconds(s->b, seconds, "quiet"));
  double passed = bench_now() - start;
  cpu = bench_processor(s->p.sender_daemon) - cpu;
  double memory = (double)bench_anonymous(s->p.sender_daemon);
  WEFT_TRY(processes_count(&s->p, &after));
  sample(s, "processor", "%", 100 * cpu / passed);
  sample(s, "bytes_per_peer", "bytes/s", (double)(after.bytes - before.bytes) / passed / s->count);
  sample(s, "rss_anon", "MB", memory / 1e6);
  return WEFT_OK;
}

weft_err bench_idle(bench *b) {
  char program[BENCH_PATH_LEN_MAX];
  weft_err err = WEFT_OK;
  if (!processes_program(program)) {
    fprintf(stderr, "W10 is left out: there is no weft program beside weft-bench\n");
    return WEFT_OK;
  }
  for (b->run = 0; b->run < b->runs && err == WEFT_OK; b->run++) {
    idle_run s = {.b = b, .count = b->quick ? PEERS_QUICK : PEERS};
    s.peers = calloc(s.count, sizeof *s.peers);
    err = s.peers ? measure(&s) : WEFT_ENOMEM;
    for (unsigned i = 0; s.peers && i < s.count; i++) {
      if (s.peers[i].folder[0]) processes_end(&s.peers[i].daemon, s.peers[i].folder);
    }
    free(s.peers);
    if (s.p.b) processes_close(&s.p);
  }
  return err;
}

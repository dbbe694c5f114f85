/* Kills two processes that sync with each other, again and again, and looks at what they came to.
 *
 * Each process is a device: a replica on an LMDB store with its mirror, a node on a socket that
 * dials the other, and a writer that commits as fast as its loop turns.  What a commit began and
 * what was acknowledged stands in memory shared with the parent, who kills one of them, or both,
 * with SIGKILL after a random while and starts it again.  At the end both run without writing until
 * they show the same.  Then: every acknowledged value, of either, is there; verify finds nothing;
 * and neither device has signed a number twice.
 *
 * Ports are taken from below those that the system gives to anybody who connects: while a killed
 * process is away its port would else become, for a minute, that of somebody's connection.  A
 * process that ends by itself is noticed at once.  When the two do not come in step, what each of
 * them knows and waits for is printed.
 *
 * WEFT_PAIR_KILLS: how often (20).  WEFT_KILL_SEED: where to begin (1). */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <setjmp.h>
#include <stdarg.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/lmdb_store.h"
#include "tests/disk/edge.h"
#include "tests/support/pace.h"
#include "tests/support/recount.h"

enum {
  FIELDS = 6,
  CALM_S = 60,
  WRITE_EVERY_MS = 3,
  TELL_EVERY_MS = 500,
  SAID_MAX = 2048,
  NO_NODE = 3
};

/* Written by one process at a time, read by the parent. */
typedef struct marks {
  volatile uint64_t begun[FIELDS], acked[FIELDS];
  volatile uint64_t next, writes;
  volatile uint64_t digest, changes; /* what it shows */
  volatile bool open;
  char said[SAID_MAX]; /* how it stands, once nobody writes any more */
} marks;

typedef struct shared {
  marks devices[2];
  volatile bool calm; /* nobody writes any more */
} shared;

typedef struct pair {
  shared *m;
  test_space s;
  test_temp temps[2];
  char addresses[2][32];
  uint64_t seed;
} pair;

typedef struct device {
  pair *p;
  size_t idx;
  edge e;
  weft_replica *r;
  test_rng rng;
  uint64_t told_at;
} device;

static weft_replica *replica_open(pair *p, size_t idx) {
  char path[256], mirror[256];
  weft_lmdb_options lo;
  weft_store *store;
  weft_replica *r;
  test_temp_path(&p->temps[idx], "data.mdb", path);
  test_temp_path(&p->temps[idx], "mirror", mirror);
  weft_lmdb_options_init(&lo);
  lo.path = path;
  assert_int_equal(weft_lmdb_store_open(&lo, &store, NULL), WEFT_OK);
  weft_replica_options o = test_space_options(&p->s, idx, store);
  o.mirror_dir = mirror;
  assert_int_equal(weft_replica_open(&r, &o), WEFT_OK);
  test_space_add_records(&p->s, r);
  return r;
}

/* --- a process --- */

static void field_name(char out[16], size_t idx, uint64_t field) {
  snprintf(out, 16, "/d%d-%d", (int)idx, (int)field);
}

static void write_some(device *d, marks *m) {
  uint64_t fields[8], values[8];
  size_t count = test_rng_chance(&d->rng, 30) ? 2 + test_rng_below(&d->rng, 6) : 1;
  if (count > 1) assert_int_equal(weft_group_begin(d->r), WEFT_OK);
  for (size_t i = 0; i < count; i++) {
    char name[16], json[32];
    fields[i] = test_rng_below(&d->rng, FIELDS);
    values[i] = ++m->next;
    field_name(name, d->idx, fields[i]);
    snprintf(json, sizeof json, "%llu", (unsigned long long)values[i]);
    m->begun[fields[i]] = values[i];
    assert_int_equal(test_set(d->r, "t/x", name, json), WEFT_OK);
  }
  if (count > 1) assert_int_equal(weft_group_end(d->r), WEFT_OK);
  for (size_t i = 0; i < count; i++) m->acked[fields[i]] = values[i];
  m->writes++;
  weft_uv_node_changed(d->e.node);
}

/* Adds to a text what still fits. */
static void say(char *to, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(char *to, const char *format, ...) {
  size_t len = strlen(to);
  va_list args;
  va_start(args, format);
  vsnprintf(to + len, SAID_MAX - len, format, args);
  va_end(args);
}

/* How this process stands: what it holds and shows, and its links and addresses. */
static void tell(device *d, const weft_counts *counts) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_node_peer *peers;
  size_t count;
  char text[SAID_MAX] = "";
  weft_ms now = weft_uv_node_now(d->e.node);
  say(text, "shows %llu changes, holds %llu, storage %s\n",
      (unsigned long long)counts->changes_shown, (unsigned long long)counts->changes_held,
      weft_err_name(d->e.failed));
  weft__arena_init(&arena, &mem);
  weft_err err = weft_node_peers(weft_uv_node_core(d->e.node), &arena, &peers, &count);
  for (size_t i = 0; err == WEFT_OK && i < count; i++) {
    const weft_node_peer *p = &peers[i];
    say(text,
        "  %s %.*s: state %d, in step %d, they lack %llu, we lack %llu, sent %llu, received %llu, "
        "heard %lld ms ago, next try in %lld ms after %u, last error %s\n",
        p->outbound ? "to" : "from", (int)p->address.len, (const char *)p->address.at,
        (int)p->state, p->in_step, (unsigned long long)p->have, (unsigned long long)p->need,
        (unsigned long long)p->sent, (unsigned long long)p->received,
        (long long)(now - p->last_heard),
        p->next_try == WEFT_NEVER ? -1LL : (long long)p->next_try - (long long)now, p->attempts,
        weft_err_name(p->last_error));
  }
  weft__arena_free(&arena);
  memcpy(d->p->m->devices[d->idx].said, text, sizeof text);
}

static void on_beat(uv_timer_t *timer) {
  device *d = timer->data;
  marks *m = &d->p->m->devices[d->idx];
  weft_counts counts;
  d->p->s.platforms[d->idx].now += WRITE_EVERY_MS;
  if (!d->p->m->calm) write_some(d, m);
  assert_int_equal(weft_replica_counts(d->r, &counts), WEFT_OK);
  m->digest = weft_replica_digest(d->r).low;
  m->changes = counts.changes_shown;
  m->open = true;
  uint64_t now = uv_now(timer->loop);
  if (!d->p->m->calm || now < d->told_at + TELL_EVERY_MS) return;
  d->told_at = now;
  tell(d, &counts);
}

static void process(pair *p, size_t idx, uint64_t life) {
  device d = {.p = p, .idx = idx, .rng = test_rng_of(p->seed * 7919 + life)};
  uv_loop_t loop;
  uv_timer_t beat;
  p->s.platforms[idx].rng = test_rng_of(p->seed * 104729 + life * 2 + idx);
  p->s.platforms[idx].now += life * 60000;
  assert_int_equal(uv_loop_init(&loop), 0);
  d.r = replica_open(p, idx);
  weft_err err =
      edge_start(&d.e, &loop, &p->s, idx, d.r, NULL, p->addresses[idx], p->addresses[1 - idx]);
  if (err != WEFT_OK) _exit(NO_NODE);
  uv_timer_init(&loop, &beat);
  beat.data = &d;
  uv_timer_start(&beat, on_beat, 0, WRITE_EVERY_MS);
  uv_run(&loop, UV_RUN_DEFAULT);
  _exit(4);
}

/* --- the parent --- */

static void pause_ms(uint64_t ms) {
  struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
  nanosleep(&t, NULL);
}

static pid_t start(pair *p, size_t idx, uint64_t life) {
  p->m->devices[idx].open = false;
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) process(p, idx, life);
  return pid;
}

static bool is_free(unsigned port) {
  struct sockaddr_in at = {.sin_family = AF_INET};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) exit(2);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  at.sin_port = htons((uint16_t)port);
  bool free_now = bind(fd, (struct sockaddr *)&at, sizeof at) == 0;
  close(fd);
  return free_now;
}

/* Two ports that nobody has now, and that the system gives to nobody who does not ask for them. */
static void addresses_pick(char out[2][32]) {
  enum { lowest = 10000, otherwise = 32768 };
  unsigned above = otherwise;
  FILE *in = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");
  if (in && fscanf(in, "%u", &above) != 1) above = otherwise;
  if (in) fclose(in);
  if (above <= lowest + 100) above = otherwise;
  unsigned span = above - lowest, from = (unsigned)getpid() * 2 % span, found = 0;
  for (unsigned i = 0; found < 2; i++) {
    unsigned port = lowest + (from + i) % span;
    if (i == span) exit(2);
    if (is_free(port)) snprintf(out[found++], 32, "127.0.0.1:%u", port);
  }
}

static bool ended_well(pid_t pid, const char *what) {
  int status;
  waitpid(pid, &status, 0);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return true;
  printf("%s ended by itself: status %d\n", what, status);
  return false;
}

/* A process that has ended by itself is not to be waited for. */
static bool runs(pid_t *pid, size_t idx) {
  int status;
  if (waitpid(*pid, &status, WNOHANG) == 0) return true;
  *pid = 0;
  printf("device %zu ended by itself: status %d%s\n", idx, status,
         WIFEXITED(status) && WEXITSTATUS(status) == NO_NODE ? ", its node did not start" : "");
  return false;
}

/* Why the two are not in step, as far as they can tell. */
static void explain(const pair *p) {
  printf("not in step after %d s\n", CALM_S);
  for (size_t i = 0; i < 2; i++) {
    const marks *m = &p->m->devices[i];
    printf("device %zu at %s, %s: digest %llx, %s", i, p->addresses[i],
           m->open ? "runs" : "has not begun", (unsigned long long)m->digest,
           m->said[0] ? m->said : "has told nothing\n");
  }
}

static bool in_step(const shared *m) {
  const marks *a = &m->devices[0], *b = &m->devices[1];
  return a->open && b->open && a->changes > 0 && a->digest == b->digest && a->changes == b->changes;
}

static size_t forks_of(weft_replica *r) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_fork *forks;
  size_t count;
  weft__arena_init(&arena, &mem);
  assert_int_equal(weft_replica_forks(r, &arena, &forks, &count), WEFT_OK);
  weft__arena_free(&arena);
  return count;
}

static int check(pair *p) {
  weft_replica *r[2];
  int bad = 0;
  for (size_t i = 0; i < 2; i++) r[i] = replica_open(p, i);
  for (size_t i = 0; i < 2; i++) {
    weft_verify_report report;
    weft_err err = weft_replica_verify(r[i], NULL, NULL, &report);
    if (err != WEFT_OK) bad += printf("verify of device %zu: %s\n", i, report.first) > 0;
    if (forks_of(r[i]) > 0) bad += printf("device %zu holds forks\n", i) > 0;
    for (size_t writer = 0; writer < 2; writer++) {
      for (uint64_t f = 0; f < FIELDS; f++) {
        char name[16], text[64];
        const marks *m = &p->m->devices[writer];
        field_name(name, writer, f);
        const char *json = test_get(r[i], "t/x", name, text, sizeof text);
        uint64_t value = strcmp(json, "(none)") == 0 ? 0 : strtoull(json, NULL, 10);
        if (value >= m->acked[f] && value <= m->begun[f]) continue;
        bad += printf("device %zu, %s: %llu, acknowledged %llu, begun %llu\n", i, name,
                      (unsigned long long)value, (unsigned long long)m->acked[f],
                      (unsigned long long)m->begun[f]) > 0;
      }
    }
    test_recount(r[i], p->seed);
  }
  test_assert_same(r[0], r[1]);
  for (size_t i = 0; i < 2; i++) weft_replica_free(r[i]);
  return bad;
}

static bool kills_run(pair *p, pid_t pids[2], uint64_t kills) {
  test_rng rng = test_rng_of(p->seed);
  uint64_t life = 1;
  for (uint64_t i = 0; i < kills; i++) {
    size_t victim = (size_t)test_rng_below(&rng, 2);
    bool both = test_rng_chance(&rng, 20);
    pause_ms(test_rng_below(&rng, 120));
    for (size_t n = 0; n < 2; n++) {
      if (!both && n != victim) continue;
      kill(pids[n], SIGKILL);
      if (!ended_well(pids[n], "a writer")) return false;
      pids[n] = start(p, n, ++life);
    }
  }
  return true;
}

int main(void) {
  static pair p;
  pid_t pids[2];
  uint64_t kills = test_number("WEFT_PAIR_KILLS", 20);
  signal(SIGPIPE, SIG_IGN);
  p.seed = test_number("WEFT_KILL_SEED", 1);
  p.m = mmap(NULL, sizeof *p.m, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (p.m == MAP_FAILED) return 2;
  test_space_make(&p.s, 2, p.seed);
  for (size_t i = 0; i < 2; i++) p.temps[i] = test_temp_make_on_disk();
  addresses_pick(p.addresses);
  for (size_t i = 0; i < 2; i++) pids[i] = start(&p, i, i);
  bool good = kills_run(&p, pids, kills);
  p.m->calm = true;
  unsigned waited = 0;
  for (; good && !in_step(p.m) && waited < CALM_S * 100; waited++) {
    good = runs(&pids[0], 0) && runs(&pids[1], 1);
    pause_ms(10);
  }
  bool same = good && in_step(p.m);
  if (good && !same) explain(&p);
  for (size_t i = 0; i < 2; i++) {
    if (pids[i] == 0) continue;
    kill(pids[i], SIGKILL);
    waitpid(pids[i], NULL, 0);
  }
  int bad = same ? check(&p) : 1;
  printf("%llu kills of two that sync, %llu and %llu writes acknowledged, in step after %u ms, "
         "%d bad, seed=%llu\n",
         (unsigned long long)kills, (unsigned long long)p.m->devices[0].writes,
         (unsigned long long)p.m->devices[1].writes, waited * 10, bad, (unsigned long long)p.seed);
  for (size_t i = 0; i < 2 && !bad; i++) test_temp_remove(&p.temps[i]);
  return bad ? 1 : 0;
}

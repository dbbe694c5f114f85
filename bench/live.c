/* W5: how long an edit takes to be shown by another device.
 *
 * Two daemons are connected over the loopback.  One is asked through its control socket to set a
 * field; the other is asked again and again what the field holds, until it is the new value.  The
 * time counts from sending the first request to the answer that shows it: commit, push, hold, show,
 * and a question.  `commit` is the time until the first daemon has answered.
 *
 * The probe is two synced puts of LMDB, one after the other: nothing is shown elsewhere before it
 * is on the disks of both. */
#include <stdlib.h>
#include <time.h>

#include "bench/control.h"
#include "bench/probe.h"
#include "bench/processes.h"

enum {
  TEMPLATES = 1000,
  EDITS = 1000,
  EDITS_QUICK = 100,
  WARM_UP = 10, /* edits that are not counted */
  LOOK_US = 100,
  PATIENCE = 30 /* seconds */
};

typedef struct live_run {
  bench *b;
  processes p;
  control sender;
  control receiver;
  probe_lmdb *puts[2];
  size_t count;
  double *shown; /* seconds, of each edit */
  double *committed;
  double *probe;
} live_run;

static void pause_us(long us) {
  struct timespec t = {us / 1000000, us % 1000000 * 1000};
  nanosleep(&t, NULL);
}

static weft_err wait_shown(live_run *l, const char *document, int64_t value) {
  const char *const get[] = {document, "/version", NULL};
  double limit = bench_now() + PATIENCE;
  while (bench_now() < limit) {
    int64_t code;
    weft_value got;
    WEFT_TRY(bench_fail(l->b, control_ask(&l->receiver, "get", get, &code, &got), "weft get"));
    if (code == 0 && got.kind == WEFT_INT && got.as.integer == value) return WEFT_OK;
    pause_us(LOOK_US);
  }
  return bench_fail(l->b, WEFT_ETIMEOUT, "an edit was not shown by the other device");
}

static weft_err measure_edit(live_run *l, uint32_t i, double *committed, double *shown) {
  char document[W1_NAME_LEN_MAX];
  char field[W1_NAME_LEN_MAX];
  int64_t code;
  int64_t value = 1000000 + (int64_t)i;
  weft_value done;
  w1_document(document, i % TEMPLATES);
  snprintf(field, sizeof field, "version:=%lld", (long long)value);
  const char *const set[] = {document, field, NULL};
  double begin = bench_now();
  WEFT_TRY(bench_fail(l->b, control_ask(&l->sender, "set", set, &code, &done), "weft set"));
  *committed = bench_now() - begin;
  if (code != 0) {
    bool said = done.kind == WEFT_STRING;
    snprintf(l->b->said, sizeof l->b->said, "weft set: %.*s", said ? (int)done.as.bytes.len : 0,
             said ? (const char *)done.as.bytes.at : "");
    return WEFT_EIO;
  }
  WEFT_TRY(wait_shown(l, document, value));
  *shown = bench_now() - begin;
  return WEFT_OK;
}

/* Two synced puts; they also keep edits apart. */
static weft_err measure_probe(live_run *l, double *seconds) {
  probe_item item = {weft_bytes_str("template and field"), weft_bytes_str("value")};
  const probe_items items = {&item, 1};
  *seconds = 0;
  for (size_t i = 0; i < 2; i++) WEFT_TRY(probe_lmdb_put(l->puts[i], items, 1, seconds));
  return WEFT_OK;
}

static weft_err measure_edits(live_run *l) {
  double aside;
  for (uint32_t i = 0; i < WARM_UP; i++) WEFT_TRY(measure_edit(l, i, &aside, &aside));
  for (uint32_t i = 0; i < l->count; i++) {
    if (i % 50 == 0) WEFT_TRY(bench_progress(l->b, "edits"));
    WEFT_TRY(measure_edit(l, WARM_UP + i, &l->committed[i], &l->shown[i]));
    WEFT_TRY(measure_probe(l, &l->probe[i]));
  }
  return WEFT_OK;
}

/* --- percentiles --- */

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a;
  double y = *(const double *)b;
  return (x > y) - (x < y);
}

static void sample(live_run *l, const char *variant, double *values) {
  static const struct {
    const char *metric;
    size_t percent;
  } kinds[] = {{"p50", 50}, {"p99", 99}};
  qsort(values, l->count, sizeof *values, ascending);
  qsort(l->probe, l->count, sizeof *l->probe, ascending);
  for (size_t i = 0; i < 2; i++) {
    bench_name name = {"W5", variant, kinds[i].metric, "ms", BENCH_COST};
    size_t at = (l->count - 1) * kinds[i].percent / 100;
    bench_sample(l->b, name, values[at] * 1000);
    bench_limit(l->b, name, l->probe[at] * 1000);
  }
}

/* --- a run --- */

static weft_err measure(live_run *l) {
  WEFT_TRY(processes_open(&l->p, l->b, TEMPLATES));
  WEFT_TRY(processes_serve(&l->p));
  WEFT_TRY(control_open(&l->sender, l->b, l->p.sender));
  WEFT_TRY(control_open(&l->receiver, l->b, l->p.receiver));
  WEFT_TRY(probe_lmdb_open(&l->puts[0], l->b, "probe-0.mdb", 1));
  WEFT_TRY(probe_lmdb_open(&l->puts[1], l->b, "probe-1.mdb", 1));
  WEFT_TRY(measure_edits(l));
  sample(l, "shown", l->shown);
  bench_name name = {"W5", "commit", "p50", "ms", BENCH_COST};
  qsort(l->committed, l->count, sizeof *l->committed, ascending);
  bench_sample(l->b, name, l->committed[(l->count - 1) / 2] * 1000);
  return WEFT_OK;
}

weft_err bench_live(bench *b) {
  char program[BENCH_PATH_LEN_MAX];
  weft_arena arena;
  weft_err err = WEFT_OK;
  if (!processes_program(program)) {
    fprintf(stderr, "W5 is left out: there is no weft program beside weft-bench\n");
    return WEFT_OK;
  }
  weft__arena_init(&arena, &b->mem);
  for (b->run = 0; b->run < b->runs && err == WEFT_OK; b->run++) {
    live_run l = {.b = b, .sender.fd = -1, .receiver.fd = -1};
    l.count = b->quick ? EDITS_QUICK : EDITS;
    l.shown = weft__arena_zero(&arena, l.count, sizeof *l.shown);
    l.committed = weft__arena_zero(&arena, l.count, sizeof *l.committed);
    l.probe = weft__arena_zero(&arena, l.count, sizeof *l.probe);
    err = l.shown && l.committed && l.probe ? measure(&l) : WEFT_ENOMEM;
    probe_lmdb_close(l.puts[0]);
    probe_lmdb_close(l.puts[1]);
    if (l.receiver.b) control_close(&l.receiver);
    if (l.sender.b) control_close(&l.sender);
    if (l.p.b) processes_close(&l.p);
  }
  weft__arena_free(&arena);
  return err;
}

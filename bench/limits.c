/* The bare libraries alone, as figures of their own. */
#include "bench/probe.h"

enum {
  TEMPLATES = 10000,
  GROUPS = 4,
  ROWS = 100000,
  ROWS_QUICK = 10000,
  ROWS_GROUP = 10000,
  ROWS_NAIVE = 100,
  ROWS_STATE = 131072, /* of a transaction that puts the state, as W2 has it */
  MESSAGES = 1000
};

typedef struct put_kind {
  const char *metric;
  uint32_t group;
  uint32_t puts;
  uint32_t puts_quick;
} put_kind;

static const put_kind kinds[GROUPS] = {
    {"rate_1", 1, 2000, 100},
    {"rate_100", 100, 20000, 4000},
    {"rate_1000", 1000, 100000, 20000},
    {"rate_10000", 10000, 100000, 20000},
};

static weft_err put_kinds(bench *b, probe_lmdb *p, w1_updates *updates, weft_arena *arena,
                          const char *variant) {
  for (unsigned i = 0; i < GROUPS; i++) {
    probe_items items = {0};
    double seconds = 0;
    uint32_t count = b->quick ? kinds[i].puts_quick : kinds[i].puts;
    bench_name name = {"limits", variant, kinds[i].metric, "writes/s", BENCH_RATE};
    WEFT_TRY(bench_progress(b, variant));
    WEFT_TRY(probe_items_updates(arena, updates, count, &items));
    WEFT_TRY(probe_lmdb_put(p, items, kinds[i].group, &seconds));
    bench_sample(b, name, count / seconds);
    weft__arena_reset(arena);
  }
  return WEFT_OK;
}

static weft_err measure_lmdb(bench *b, unsigned tables, const char *variant) {
  probe_lmdb *p = NULL;
  weft_arena arena;
  probe_items items = {0};
  w1_updates updates = {.mem = b->mem};
  double aside = 0;
  uint32_t templates = b->size ? b->size : TEMPLATES;
  weft__arena_init(&arena, &b->mem);
  weft_err err = probe_items_import(&arena, templates, &items);
  if (err == WEFT_OK) err = w1_updates_init(&updates, &b->mem, templates);
  if (err == WEFT_OK) err = probe_lmdb_open(&p, b, "probe.mdb", tables);
  if (err == WEFT_OK) err = probe_lmdb_put(p, items, items.count, &aside);
  weft__arena_reset(&arena);
  if (err == WEFT_OK) err = put_kinds(b, p, &updates, &arena, variant);
  w1_updates_free(&updates);
  weft__arena_free(&arena);
  probe_lmdb_close(p);
  return err;
}

/* --- rows --- */

typedef struct row_kind {
  const char *variant;
  probe_rows_kind kind;
  size_t group; /* rows of a synced transaction */
} row_kind;

static const row_kind row_kinds[] = {{"rows-log", PROBE_ROWS_LOG, ROWS_GROUP},
                                     {"rows-sorted", PROBE_ROWS_SORTED, ROWS_GROUP},
                                     {"rows-naive", PROBE_ROWS_NAIVE, ROWS_NAIVE}};

static weft_err rate_rows(bench *b, probe_rows_job *job, const char *variant, bool merged) {
  double seconds = 0;
  bench_name name = {"limits", variant, "rate", "changes/s", BENCH_RATE};
  WEFT_TRY(bench_progress(b, variant));
  WEFT_TRY(merged ? probe_rows_merge(b, job, &seconds) : probe_rows_run(b, job, &seconds));
  bench_sample(b, name, (double)job->rows.state.count / seconds);
  return WEFT_OK;
}

static weft_err rate_all_rows(bench *b, probe_rows_job *job) {
  for (size_t i = 0; i < sizeof row_kinds / sizeof *row_kinds; i++) {
    job->kind = row_kinds[i].kind;
    job->group = row_kinds[i].group;
    WEFT_TRY(rate_rows(b, job, row_kinds[i].variant, false));
  }
  return rate_rows(b, job, "merge", true);
}

/* What W2 stands beside: the updates, on top of the import. */
static weft_err measure_rows(bench *b) {
  weft_arena arena;
  probe_items items = {0};
  w1_updates updates = {.mem = b->mem};
  probe_rows_job job = {.state_group = ROWS_STATE};
  uint32_t templates = b->size ? b->size : TEMPLATES;
  uint32_t count = b->quick ? ROWS_QUICK : ROWS;
  weft__arena_init(&arena, &b->mem);
  weft_err err = w1_updates_init(&updates, &b->mem, templates);
  if (err == WEFT_OK) err = probe_items_import(&arena, templates, &job.before);
  if (err == WEFT_OK) err = probe_items_updates(&arena, &updates, count, &items);
  if (err == WEFT_OK) err = probe_rows_make(&arena, items, &job.rows);
  if (err == WEFT_OK) err = rate_all_rows(b, &job);
  w1_updates_free(&updates);
  weft__arena_free(&arena);
  return err;
}

/* --- network --- */

/* One message at a time, there and back. */
static weft_err measure_message(bench *b) {
  probe_line *line;
  double seconds = 0;
  bench_name name = {"limits", "message", "time", "us", BENCH_COST};
  WEFT_TRY(bench_progress(b, "messages"));
  WEFT_TRY(probe_line_open(&line, b));
  weft_err err = WEFT_OK;
  for (unsigned i = 0; i < MESSAGES && err == WEFT_OK; i++) {
    err = probe_line_message(line, b, &seconds);
  }
  probe_line_close(line, b);
  if (err == WEFT_OK) bench_sample(b, name, 1e6 * seconds / MESSAGES);
  return err;
}

static weft_err measure_loopback(bench *b) {
  const uint64_t len = (uint64_t)(b->quick ? 64 : 256) << 20;
  double seconds = 0;
  bench_name name = {"limits", "loopback", "rate", "MB/s", BENCH_RATE};
  WEFT_TRY(bench_progress(b, "encrypted loopback"));
  WEFT_TRY(probe_loopback(b, len, &seconds));
  bench_sample(b, name, (double)len / seconds / 1e6);
  return WEFT_OK;
}

static void measure_crypto(bench *b) {
  probe_crypto c;
  probe_crypto_measure(&c);
  bench_name name = {"limits", "blake2b-96", "rate", "1/s", BENCH_RATE};
  bench_sample(b, name, 1 / c.hash_small);
  name = (bench_name){"limits", "blake2b", "rate", "MB/s", BENCH_RATE};
  bench_sample(b, name, 1e-6 / c.hash_byte);
  name = (bench_name){"limits", "ed25519-verify", "rate", "1/s", BENCH_RATE};
  bench_sample(b, name, 1 / c.verify);
  name = (bench_name){"limits", "ed25519-sign", "rate", "1/s", BENCH_RATE};
  bench_sample(b, name, 1 / c.sign);
  name = (bench_name){"limits", "chacha20poly1305", "rate", "MB/s", BENCH_RATE};
  bench_sample(b, name, 1e-6 / c.seal_byte);
  name.variant = "chacha20poly1305-open";
  bench_sample(b, name, 1e-6 / c.open_byte);
}

weft_err bench_limits(bench *b) {
  for (b->run = 0; b->run < b->runs; b->run++) {
    WEFT_TRY(measure_lmdb(b, 1, "lmdb-1-table"));
    WEFT_TRY(measure_lmdb(b, 3, "lmdb-3-tables"));
    WEFT_TRY(measure_rows(b));
    WEFT_TRY(measure_loopback(b));
    WEFT_TRY(measure_message(b));
    measure_crypto(b);
  }
  return WEFT_OK;
}

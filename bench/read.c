/* W7 and W8: reading a large store.
 *
 * W7: a store of a million fields is opened by nobody who has it in memory: its pages are dropped
 * from the system's cache, then the replica is opened (open), and one document is read (read).  The
 * probe opens the same file with LMDB alone and looks up one key.
 *
 * W8: 100,000 documents and a declared index.  The first page of 50, sorted by its field: with a
 * condition on that field (range), and with a condition on another one (filter), which has an index
 * too in the end (filter-indexed); warm, and cold as above.  The probe walks 50 entries of a table
 * of that size with LMDB alone, and looks up what each names. */
#include <string.h>

#include "bench/fleet.h"
#include "bench/median.h"
#include "bench/probe.h"

enum {
  TEMPLATES_OPEN = 83334,
  TEMPLATES_OPEN_QUICK = 10000,
  TEMPLATES_QUERY = 100000,
  TEMPLATES_QUERY_QUICK = 10000,
  IMPORT_GROUP = 1000,
  TEMPLATES_LEAST = 700, /* of which half pass one condition, and one in twelve the other, too */
  PAGE = 50,
  REPEATS = 200
};

typedef struct read_run {
  bench *b;
  uint32_t templates;
  fleet fleet;
  fleet_replica r;
  weft_arena arena;
} read_run;

/* Closes the replica and opens it again, with nothing of it in memory; adds the time of opening. */
static weft_err reopen(read_run *s, double *seconds) {
  weft_replica_free(s->r.replica);
  s->r.replica = NULL;
  bench_file_forget(s->r.path);
  double start = bench_now();
  weft_err err = fleet_reopen(&s->fleet, 0, &s->r);
  *seconds = bench_now() - start;
  return err;
}

static weft_err fill(read_run *s, const char *name) {
  WEFT_TRY(fleet_make(&s->fleet, s->b));
  WEFT_TRY(fleet_open(&s->fleet, 0, name, &s->r));
  return fleet_import(&s->fleet, s->r.replica, s->templates, IMPORT_GROUP);
}

static weft_err read_document(read_run *s, uint32_t template) {
  char name[W1_NAME_LEN_MAX];
  weft_value value;
  w1_document(name, template);
  weft_err err = weft_replica_get(s->r.replica, &s->arena, weft_bytes_str(name),
                                  weft_bytes_of(NULL, 0), &value);
  weft__arena_reset(&s->arena);
  return bench_fail(s->b, err, "reading a document");
}

static void sample(read_run *s, const char *workload, const char *variant, const char *metric,
                   double seconds, double limit) {
  bench_name name = {workload, variant, metric, "ms", BENCH_COST};
  const double ms = 1000;
  bench_sample(s->b, name, seconds * ms);
  bench_limit(s->b, name, limit * ms);
}

/* --- W7 --- */

static weft_err measure_open(read_run *s) {
  double open_seconds = 0;
  double limit = 0;
  WEFT_TRY(fill(s, "w7"));
  WEFT_TRY(reopen(s, &open_seconds));
  double start = bench_now();
  WEFT_TRY(read_document(s, s->templates / 2));
  double read_seconds = bench_now() - start;
  weft_replica_free(s->r.replica);
  s->r.replica = NULL;
  bench_file_forget(s->r.path);
  WEFT_TRY(probe_lmdb_cold(s->b, s->r.path, "state", &limit));
  sample(s, "W7", "open", "time", open_seconds, limit);
  sample(s, "W7", "open-read", "time", open_seconds + read_seconds, limit);
  return WEFT_OK;
}

/* --- W8 --- */

typedef struct query_kind {
  const char *variant;
  const char *pointer; /* of the condition */
  weft_where_op op;
  weft_value value;
} query_kind;

static weft_err query(read_run *s, const query_kind *kind) {
  weft_where where = {.pointer = weft_bytes_str(kind->pointer), .op = kind->op};
  weft_query q;
  weft_list list;
  where.value = kind->value;
  weft_query_init(&q);
  q.collection = weft_bytes_str("templates");
  q.where = &where;
  q.where_count = 1;
  q.sort = weft_bytes_str("/weight");
  q.limit = PAGE;
  weft_err err = weft_replica_list(s->r.replica, &s->arena, &q, &list);
  bool right = err != WEFT_OK || (list.count == PAGE && list.indexed);
  weft__arena_reset(&s->arena);
  if (!right) err = WEFT_EMISUSE;
  return bench_fail(s->b, err, "a page of 50 by an index");
}

static weft_err measure_kind(read_run *s, const query_kind *kind, double limit) {
  double warm[REPEATS];
  double aside;
  WEFT_TRY(reopen(s, &aside));
  double start = bench_now();
  WEFT_TRY(query(s, kind));
  double cold = bench_now() - start;
  for (size_t i = 0; i < REPEATS; i++) {
    start = bench_now();
    WEFT_TRY(query(s, kind));
    warm[i] = bench_now() - start;
  }
  sample(s, "W8", kind->variant, "warm", bench_median(warm, REPEATS), limit);
  bench_name name = {"W8", kind->variant, "cold", "ms", BENCH_COST};
  bench_sample(s->b, name, cold * 1000);
  return WEFT_OK;
}

/* Walks an index of the right size, and looks up what it names. */
static weft_err probe_page(read_run *s, double *seconds) {
  probe_items items;
  probe_lmdb *p = NULL;
  double aside = 0;
  double times[REPEATS];
  weft_err err = probe_items_import(&s->arena, s->templates, &items);
  if (err == WEFT_OK) err = probe_lmdb_open(&p, s->b, "probe.mdb", 1);
  if (err == WEFT_OK) err = probe_lmdb_put(p, items, items.count, &aside);
  for (size_t i = 0; i < REPEATS && err == WEFT_OK; i++) {
    err = probe_lmdb_page(p, items.at[items.count / 2].key, (size_t)PAGE * W1_FIELDS, &times[i]);
  }
  probe_lmdb_close(p);
  weft__arena_reset(&s->arena);
  if (err == WEFT_OK) *seconds = bench_median(times, REPEATS);
  return err;
}

static weft_err declare(read_run *s, const char *field) {
  weft_err err =
      weft_replica_declare_index(s->r.replica, weft_bytes_str("templates"), weft_bytes_str(field));
  return bench_fail(s->b, err, weft_replica_error(s->r.replica));
}

static weft_err measure_query(read_run *s) {
  const query_kind kinds[] = {
      {"range", "/weight", WEFT_WHERE_GE, {.kind = WEFT_DOUBLE, .as.real = 50.0}},
      {"filter",
       "/category",
       WEFT_WHERE_EQ,
       {.kind = WEFT_STRING, .as.bytes = weft_bytes_str("invoice")}},
      {"filter-indexed",
       "/category",
       WEFT_WHERE_EQ,
       {.kind = WEFT_STRING, .as.bytes = weft_bytes_str("invoice")}}};
  double limit = 0;
  WEFT_TRY(fill(s, "w8"));
  WEFT_TRY(declare(s, "/weight"));
  WEFT_TRY(probe_page(s, &limit));
  for (size_t i = 0; i < 2; i++) WEFT_TRY(measure_kind(s, &kinds[i], limit));
  WEFT_TRY(declare(s, "/category"));
  WEFT_TRY(measure_kind(s, &kinds[2], limit));
  return WEFT_OK;
}

/* --- both --- */

static weft_err run(bench *b, weft_err (*measure)(read_run *s), uint32_t templates) {
  weft_err err = WEFT_OK;
  for (b->run = 0; b->run < b->runs && err == WEFT_OK; b->run++) {
    read_run s = {.b = b, .templates = b->size ? b->size : templates};
    weft__arena_init(&s.arena, &b->mem);
    err = measure(&s);
    weft__arena_free(&s.arena);
    fleet_close(&s.r);
  }
  return err;
}

weft_err bench_open(bench *b) {
  return run(b, measure_open, b->quick ? TEMPLATES_OPEN_QUICK : TEMPLATES_OPEN);
}

weft_err bench_query(bench *b) {
  if (b->size > 0 && b->size < TEMPLATES_LEAST) {
    return bench_fail(b, WEFT_ENOTFOUND, "W8 wants --size 700 or more, or no page is full");
  }
  return run(b, measure_query, b->quick ? TEMPLATES_QUERY_QUICK : TEMPLATES_QUERY);
}

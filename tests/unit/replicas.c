/* Several replicas, generated edits, chunks in any order, partial, doubled: all end up the same,
 * and what each keeps incrementally equals what is counted again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/lmdb_store.h"
#include "tests/support/fault_store.h"
#include "crdt/json.h"
#include "tests/support/pace.h"
#include "tests/support/recount.h"
#include "tests/support/space.h"
#include "tests/support/temp.h"

enum { REPLICAS = 3, STEPS = 60 };

typedef struct run {
  uint64_t seed;
  test_rng rng;
  test_space s;
  weft_store *inner[REPLICAS];
  test_fault_store faults[REPLICAS];
  weft_replica *r[REPLICAS];
  weft_arena arena;
  size_t commits;
  size_t refused;
  bool wide;
  bool lmdb; /* the first one's store */
  test_temp temp;
} run;

static void open_one(run *w, size_t i) {
  weft_store *front = test_fault_store_of(w->inner[i], &w->faults[i]);
  w->r[i] = test_space_open(&w->s, i, front);
}

static weft_bytes text(run *w, const char *s) {
  (void)w;
  return weft_bytes_str(s);
}

/* A value with few names, so that concurrent edits meet. */
static weft_value gen_value(run *w) {
  static const char *const values[] = {"1",           "2",
                                       "\"a\"",       "{}",
                                       "[]",          "{\"a\":1,\"b\":{\"a\":2}}",
                                       "[1,[2,3]]",   "{\"a\":[1,2,{\"b\":3}]}",
                                       "[{\"a\":1}]", "null"};
  weft_value v;
  /* Long values spread a document over several segments. */
  if (w->wide && test_rng_chance(&w->rng, 40)) {
    char *long_text = weft__arena_take(&w->arena, 400);
    memset(long_text, 'x', 400);
    return (weft_value){.kind = WEFT_STRING, .as.bytes = weft_bytes_of(long_text, 400)};
  }
  const char *json = TEST_PICK(&w->rng, values);
  test_must(w->seed, weft_json_parse(&w->arena, weft_bytes_str(json), &v, NULL), "json");
  return v;
}

static const char *gen_pointer(run *w) {
  static const char *const pointers[] = {"/a",   "/b",   "/a/a", "/a/b",   "/b/a",   "/a/0",
                                         "/a/-", "/a/1", "/b/0", "/a/a/b", "/a/1/0", "/b/-"};
  return TEST_PICK(&w->rng, pointers);
}

static const char *gen_doc(run *w) {
  static const char *const docs[] = {"t/one", "t/two", "t/three"};
  return docs[test_rng_below(&w->rng, 3)];
}

static void edit_once(run *w, weft_edit *e) {
  weft_bytes doc = text(w, gen_doc(w));
  weft_bytes pointer = text(w, gen_pointer(w));
  weft_value v = gen_value(w);
  switch (test_rng_below(&w->rng, 10)) {
  case 0: (void)!weft_edit_unset(e, doc, pointer); return;
  case 1: (void)!weft_edit_insert(e, doc, pointer, test_rng_below(&w->rng, 3), &v); return;
  case 2: (void)!weft_edit_move(e, doc, pointer, test_rng_below(&w->rng, 3), 0); return;
  case 3: (void)!weft_edit_delete(e, doc); return;
  case 4: (void)!weft_edit_undelete(e, doc); return;
  case 5: (void)!weft_edit_import(e, doc, &v, test_rng_chance(&w->rng, 50)); return;
  default: (void)!weft_edit_set(e, doc, pointer, &v); return;
  }
}

static void commit_step(run *w, size_t i) {
  weft_edit *e;
  weft_commit done;
  weft_edit_options o;
  weft_edit_options_init(&o);
  if (test_rng_chance(&w->rng, 20)) o.lane = (weft_lane)test_rng_below(&w->rng, WEFT_LANES);
  w->s.platforms[i].now += test_rng_below(&w->rng, 50);
  test_must(w->seed, weft_edit_begin(&e, w->r[i], &o), "begin");
  size_t count = 1 + test_rng_below(&w->rng, 3);
  for (size_t k = 0; k < count; k++) edit_once(w, e);
  /* Another edit of this device may come between. */
  if (test_rng_chance(&w->rng, 15)) {
    weft_err err = test_set(w->r[i], gen_doc(w), "/a", "5");
    if (err != WEFT_EBADPATH) test_must(w->seed, err, "between");
  }
  weft_err err = weft_edit_commit(e, &done);
  weft_edit_free(e);
  w->refused += err == WEFT_ESTALE;
  w->commits += err == WEFT_OK;
  if (err != WEFT_ESTALE) test_must(w->seed, err, "commit");
}

static void group_step(run *w, size_t i) {
  test_must(w->seed, weft_group_begin(w->r[i]), "group");
  size_t count = test_rng_below(&w->rng, 8);
  for (size_t k = 0; k < count; k++) commit_step(w, i);
  if (test_rng_chance(&w->rng, 20)) {
    weft_group_abort(w->r[i]);
  } else {
    test_must(w->seed, weft_group_end(w->r[i]), "group end");
  }
}

/* Hands over some random ranges, not in order, from random places: gaps and doubles included. */
static void careless_step(run *w, size_t to, size_t from) {
  weft_span *ranges;
  size_t count;
  weft_vector none;
  weft_alloc mem = weft_alloc_libc();
  weft__vector_init(&none, &mem);
  const weft_vector *theirs = test_rng_chance(&w->rng, 30) ? &none : weft_replica_held(w->r[to]);
  test_must(w->seed, weft_replica_missing(w->r[from], &w->arena, theirs, 50, &ranges, &count),
            "missing");
  for (size_t k = 0; k < count; k++) {
    const weft_span *range = &ranges[test_rng_below(&w->rng, count)];
    uint64_t at = range->from + test_rng_below(&w->rng, range->to - range->from + 1);
    uint64_t last;
    weft_buf chunk;
    weft_hold_report report;
    if (test_rng_chance(&w->rng, 60)) at = range->from;
    weft__buf_init(&chunk, &mem, SIZE_MAX);
    test_must(w->seed,
              weft_replica_read_chunk(w->r[from], &range->log, range->branch, at, range->to, &chunk,
                                      &last),
              "read");
    weft_bytes view = weft__buf_view(&chunk);
    test_must(w->seed, weft_replica_hold(w->r[to], &w->arena, &view, 1, &report), "hold");
    assert_int_not_equal(report.runs[0].verdict, WEFT_HOLD_BRANCH);
    weft__buf_free(&chunk);
  }
  weft_show_report shown;
  if (test_rng_chance(&w->rng, 50)) {
    test_must(w->seed, weft_replica_show(w->r[to], 1 + test_rng_below(&w->rng, 20), &shown),
              "show");
  }
}

static void step(run *w) {
  size_t i = test_rng_below(&w->rng, REPLICAS);
  size_t k = test_rng_below(&w->rng, REPLICAS);
  weft__arena_reset(&w->arena);
  uint64_t what = test_rng_below(&w->rng, 100);
  if (what < 50) {
    commit_step(w, i);
  } else if (what < 60) {
    group_step(w, i);
  } else if (what < 75) {
    if (i != k) careless_step(w, i, k);
  } else if (what < 92) {
    if (i != k) test_pull(w->r[i], w->r[k], 1 + test_rng_below(&w->rng, 5));
  } else if (what < 96) {
    test_recount(w->r[i], w->seed);
  } else {
    weft_replica_free(w->r[i]);
    open_one(w, i);
  }
}

static weft_store *lmdb_store(run *w) {
  char path[256];
  weft_lmdb_options o;
  weft_store *store;
  w->temp = test_temp_make();
  test_temp_path(&w->temp, "data.mdb", path);
  weft_lmdb_options_init(&o);
  o.path = path;
  if (test_map_size()) o.map_size = test_map_size();
  test_must(w->seed, weft_lmdb_store_open(&o, &store, NULL), "lmdb");
  return store;
}

static void run_start(run *w, uint64_t seed) {
  weft_alloc mem = weft_alloc_libc();
  memset(w, 0, sizeof *w);
  w->seed = seed;
  w->rng = test_rng_of(seed);
  w->wide = seed % 2 == 0;
  w->lmdb = seed % 10 == 0;
  test_space_make(&w->s, REPLICAS, seed);
  weft__arena_init(&w->arena, &mem);
  for (size_t i = 0; i < REPLICAS; i++) {
    w->inner[i] = w->lmdb && i == 0 ? lmdb_store(w) : test_memory_store();
    open_one(w, i);
  }
}

static void run_end(run *w) {
  for (size_t i = 0; i < REPLICAS; i++) {
    weft_replica_free(w->r[i]);
    weft_store_free(w->inner[i]);
  }
  if (w->lmdb) test_temp_remove(&w->temp);
  weft__arena_free(&w->arena);
}

static void run_settle(run *w) {
  for (int round = 0; round < 2; round++) {
    for (size_t i = 0; i < REPLICAS; i++) {
      for (size_t k = 0; k < REPLICAS; k++) {
        if (i != k) test_pull(w->r[i], w->r[k], 7);
      }
    }
  }
  for (size_t i = 0; i < REPLICAS; i++) {
    weft_stuck *stuck;
    size_t count;
    test_must(w->seed, weft_replica_stuck(w->r[i], &w->arena, &stuck, &count), "stuck");
    assert_int_equal(count, 0);
    test_recount(w->r[i], w->seed);
  }
}

static void assert_all_same(run *w) {
  static const char *const docs[] = {"t/one", "t/two", "t/three"};
  for (size_t i = 1; i < REPLICAS; i++) {
    test_assert_same(w->r[0], w->r[i]);
    for (size_t k = 0; k < 3; k++) {
      char a[8192], b[8192];
      test_get(w->r[0], docs[k], "", a, sizeof a);
      test_get(w->r[i], docs[k], "", b, sizeof b);
      if (strcmp(a, b) != 0) print_error("seed=%llu\n", (unsigned long long)w->seed);
      assert_string_equal(a, b);
    }
  }
}

static void test_converge(void **state) {
  (void)state;
  uint64_t seeds = test_number("WEFT_REPLICA_SEEDS", test_share(60, 6));
  size_t commits = 0;
  size_t refused = 0;
  uint64_t conflicts = 0;
  for (uint64_t seed = 1; seed <= seeds; seed++) {
    run w;
    run_start(&w, seed);
    for (int i = 0; i < STEPS; i++) step(&w);
    run_settle(&w);
    assert_all_same(&w);
    weft_counts c;
    test_must(w.seed, weft_replica_counts(w.r[0], &c), "counts");
    conflicts += c.conflicts;
    commits += w.commits;
    refused += w.refused;
    run_end(&w);
  }
  /* The generator reaches what it is meant to reach. */
  assert_true(commits > seeds * 20);
  assert_true(refused > 0);
  assert_true(conflicts > seeds / 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_converge)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

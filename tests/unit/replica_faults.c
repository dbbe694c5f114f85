/* Every call of the replica with the store failing at its k-th call, and with the k-th allocation
 * failing: a clean error, nothing changed, nothing told, the same call works afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/fault_alloc.h"
#include "tests/support/fault_store.h"
#include "tests/support/pace.h"
#include "tests/support/recount.h"
#include "tests/support/space.h"

enum { CHUNKS_MAX = 64 };

/* A replica under test, and chunks that others have made for it. */
typedef struct bench {
  test_space s;
  weft_store *inner;
  test_fault_store store_faults;
  test_fault_alloc alloc_faults;
  weft_replica *r;
  weft_arena arena;
  weft_bytes chunks[CHUNKS_MAX];
  size_t chunk_count;
} bench;

/* What others may be told about the replica. */
typedef struct told {
  weft_digest digest;
  uint64_t arrival;
  weft_vector held, shown, showable;
} told;

static told told_of(weft_replica *r) {
  weft_alloc mem = weft_alloc_libc();
  told t = {
      weft_replica_digest(r), weft_replica_arrival(r), {.count = 0}, {.count = 0}, {.count = 0}};
  weft__vector_init(&t.held, &mem);
  weft__vector_init(&t.shown, &mem);
  weft__vector_init(&t.showable, &mem);
  assert_int_equal(weft__vector_copy(&t.held, weft_replica_held(r)), WEFT_OK);
  assert_int_equal(weft__vector_copy(&t.shown, weft_replica_shown(r)), WEFT_OK);
  assert_int_equal(weft__vector_copy(&t.showable, weft_replica_showable(r)), WEFT_OK);
  return t;
}

static void told_free(told *t) {
  weft__vector_free(&t->held);
  weft__vector_free(&t->shown);
  weft__vector_free(&t->showable);
}

static bool told_same(const told *a, const told *b) {
  return a->digest.low == b->digest.low && a->digest.high == b->digest.high &&
         a->arrival == b->arrival &&
         weft__vector_compare(&a->held, &b->held, NULL) == WEFT_ORDER_EQUAL &&
         weft__vector_compare(&a->shown, &b->shown, NULL) == WEFT_ORDER_EQUAL &&
         weft__vector_compare(&a->showable, &b->showable, NULL) == WEFT_ORDER_EQUAL;
}

/* --- the calls --- */

static weft_err do_record(bench *b) {
  return weft_replica_add_record(b->r, weft_bytes_of(b->s.records[3], b->s.record_lens[3]));
}

static weft_err do_commit(bench *b) { return test_set(b->r, "t/a", "/x", "{\"y\":[1,2]}"); }

static weft_err do_edit_old_base(bench *b) {
  weft_edit *e;
  weft_commit done;
  weft_value v = {.kind = WEFT_INT, .as.integer = 9};
  weft_edit_options o;
  weft_vector base;
  weft_alloc mem = weft_alloc_libc();
  weft_edit_options_init(&o);
  weft__vector_init(&base, &mem);
  assert_int_equal(weft__vector_copy(&base, weft_replica_shown(b->r)), WEFT_OK);
  base.heads[0].seq = 2;
  weft_err err =
      weft_replica_id_at(b->r, &base.heads[0].log, WEFT_BRANCH_ANY, 2, &base.heads[0].id);
  o.base = &base;
  if (err == WEFT_OK) err = weft_edit_begin(&e, b->r, &o);
  if (err == WEFT_OK) {
    err = weft_edit_set(e, weft_bytes_str("t/a"), weft_bytes_str("/old"), &v);
    if (err == WEFT_OK) err = weft_edit_commit(e, &done);
    weft_edit_free(e);
  }
  weft__vector_free(&base);
  return err;
}

static weft_err do_group(bench *b) {
  WEFT_TRY(weft_group_begin(b->r));
  weft_err err = test_set(b->r, "t/a", "/x", "1");
  if (err == WEFT_OK) err = test_set(b->r, "t/c", "/x", "2");
  if (err == WEFT_OK) err = test_set(b->r, "t/a", "/x", "3");
  if (err != WEFT_OK) {
    weft_group_abort(b->r);
    return err;
  }
  return weft_group_end(b->r);
}

static weft_err do_hold(bench *b) {
  weft_hold_report report;
  return weft_replica_hold(b->r, &b->arena, b->chunks, b->chunk_count, &report);
}

static weft_err do_hold_and_show(bench *b) {
  weft_hold_report held;
  weft_show_report shown;
  WEFT_TRY(weft_replica_hold(b->r, &b->arena, b->chunks, b->chunk_count, &held));
  do {
    WEFT_TRY(weft_replica_show(b->r, 50, &shown));
  } while (shown.more);
  return WEFT_OK;
}

static weft_err do_ack(bench *b) {
  return weft_replica_put_ack(b->r, &b->s.devices[1].device, weft_bytes_str("ack"));
}

static weft_err do_reads(bench *b) {
  weft_value v;
  weft_span *spans;
  size_t count;
  uint64_t last;
  weft_bytes *list;
  weft_vector none = {.count = 0};
  weft_buf out;
  weft_alloc mem = weft_alloc_libc();
  WEFT_TRY(weft_replica_get(b->r, &b->arena, weft_bytes_str("t/a"), weft_bytes_str(""), &v));
  WEFT_TRY(weft_replica_missing(b->r, &b->arena, &none, 9, &spans, &count));
  WEFT_TRY(weft_replica_arrivals(b->r, &b->arena, 0, 9, &spans, &count, &last));
  WEFT_TRY(weft_replica_acks(b->r, &b->arena, &list, &count));
  weft__buf_init(&out, &mem, SIZE_MAX);
  weft_err err = weft_replica_read_chunk(b->r, &spans[0].log, spans[0].branch, 1, 9, &out, &last);
  weft__buf_free(&out);
  return err;
}

typedef struct call {
  const char *name;
  weft_err (*run)(bench *b);
  size_t changes; /* how many the others make first */
  bool steps;     /* several transactions: what happened before the failing one stays */
} call;

static const call calls[] = {
    {"record", do_record, 0, false},
    {"commit", do_commit, 0, false},
    {"edit on an old base", do_edit_old_base, 0, false},
    {"group", do_group, 0, false},
    {"hold, live", do_hold, 3, false},
    {"hold, a backlog", do_hold, 100, false},
    {"hold and show", do_hold_and_show, 120, true},
    {"ack", do_ack, 0, false},
    {"reads", do_reads, 0, false},
};

/* --- the bench --- */

static weft_err bench_open(bench *b) {
  weft_replica_options o =
      test_space_options(&b->s, 0, test_fault_store_of(b->inner, &b->store_faults));
  o.mem = test_fault_alloc_of(&b->alloc_faults);
  weft_err err = weft_replica_open(&b->r, &o);
  if (err != WEFT_OK) weft_store_free(o.store);
  return err;
}

/* Device 1 writes `changes` on top of what the bench has, for it to hold. */
static void bench_chunks(bench *b, size_t changes) {
  weft_alloc mem = weft_alloc_libc();
  weft_span *spans;
  size_t count;
  weft_replica *other = test_space_memory(&b->s, 1);
  test_pull(other, b->r, 10);
  for (size_t i = 0; i < changes; i++) {
    char value[32];
    snprintf(value, sizeof value, "%zu", i);
    assert_int_equal(test_set(other, i % 3 ? "t/a" : "t/b", i % 2 ? "/x" : "/y", value), WEFT_OK);
  }
  assert_int_equal(
      weft_replica_missing(other, &b->arena, weft_replica_held(b->r), CHUNKS_MAX, &spans, &count),
      WEFT_OK);
  for (size_t i = 0; i < count; i++) {
    weft_buf out;
    uint64_t last;
    weft__buf_init(&out, &mem, SIZE_MAX);
    assert_int_equal(weft_replica_read_chunk(other, &spans[i].log, spans[i].branch, spans[i].from,
                                             spans[i].to, &out, &last),
                     WEFT_OK);
    assert_int_equal(weft__arena_copy(&b->arena, weft__buf_view(&out), &b->chunks[i]), WEFT_OK);
    weft__buf_free(&out);
  }
  b->chunk_count = count;
  weft_replica_free(other);
}

static void bench_make(bench *b, const call *c) {
  weft_alloc mem = weft_alloc_libc();
  memset(b, 0, sizeof *b);
  test_space_make(&b->s, 3, 1);
  weft__arena_init(&b->arena, &mem);
  b->inner = test_memory_store();
  assert_int_equal(bench_open(b), WEFT_OK);
  test_space_add_records(&b->s, b->r);
  assert_int_equal(test_set(b->r, "t/a", "/x", "1"), WEFT_OK);
  assert_int_equal(test_set(b->r, "t/a", "/z", "[1]"), WEFT_OK);
  bench_chunks(b, c->changes);
  /* A record that is not held yet. */
  weft_buf raw;
  weft__buf_init(&raw, &mem, TEST_RECORD_LEN);
  test_space_stranger(&b->s, &raw);
  memcpy(b->s.records[3], raw.at, raw.len);
  b->s.record_lens[3] = raw.len;
  weft__buf_free(&raw);
}

static void bench_free(bench *b) {
  weft_replica_free(b->r);
  assert_int_equal(b->alloc_faults.live, 0);
  weft_store_free(b->inner);
  weft__arena_free(&b->arena);
}

static void bench_calm(bench *b) {
  b->store_faults.fail_at = 0;
  b->store_faults.fail_commit_at = 0;
  b->alloc_faults.fail_at = 0;
}

/* After a failure: nothing told, nothing changed; then the call works and ends as it should. */
static void bench_after(bench *b, const call *c, const told *before, weft_err err) {
  bench_calm(b);
  told now = told_of(b->r);
  if (!c->steps) assert_true(told_same(before, &now));
  told_free(&now);
  if (err == WEFT_EIO) {
    if (c->run != do_reads) assert_int_equal(test_set(b->r, "t/a", "/x", "5"), WEFT_EIO);
    weft_replica_free(b->r);
    assert_int_equal(bench_open(b), WEFT_OK);
    now = told_of(b->r);
    if (!c->steps) assert_true(told_same(before, &now));
    told_free(&now);
  }
  test_recount(b->r, 0);
  weft_err again = c->run(b);
  if (again != WEFT_OK) print_error("%s: again: %s\n", c->name, weft_err_name(again));
  assert_int_equal(again, WEFT_OK);
  test_recount(b->r, 0);
}

/* Runs one call with one fault; false when the fault was not reached any more. */
static bool bench_case(const call *c, uint64_t k, weft_err err, bool sticky) {
  bench b;
  bench_make(&b, c);
  told before = told_of(b.r);
  b.store_faults.calls = 0;
  b.store_faults.fail_at = k;
  b.store_faults.err = err;
  b.store_faults.sticky = sticky;
  weft_err got = c->run(&b);
  bool reached = b.store_faults.calls >= k;
  if (reached && got != err && got != WEFT_OK) {
    print_error("%s: call %llu: %s instead of %s\n", c->name, (unsigned long long)k,
                weft_err_name(got), weft_err_name(err));
    fail();
  }
  if (got == err) bench_after(&b, c, &before, err);
  told_free(&before);
  bench_free(&b);
  return reached;
}

/* The place to fail after `k`: long calls are sampled, short ones tried at every place. */
static uint64_t place_after(uint64_t k) {
  if (test_under_valgrind()) return 2 * k;
  return k + (k < 60 ? 1 : 1 + k / 12);
}

static void every_call(weft_err err, bool sticky) {
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    uint64_t k = 1;
    while (bench_case(&calls[i], k, err, sticky)) k = place_after(k);
    assert_true(k > 3);
  }
}

static void test_store_out_of_memory(void **state) {
  (void)state;
  every_call(WEFT_ENOMEM, false);
}

static void test_store_out_of_memory_for_good(void **state) {
  (void)state;
  every_call(WEFT_ENOMEM, true);
}

static void test_store_full(void **state) {
  (void)state;
  every_call(WEFT_EFULL, true);
}

static void test_store_broken(void **state) {
  (void)state;
  every_call(WEFT_EIO, false);
}

/* The commit alone fails: own changes are not announced and received ones not relayed. */
static void test_commit_fails(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    for (int late = 0; late < 2; late++) {
      bench b;
      bench_make(&b, &calls[i]);
      told before = told_of(b.r);
      b.store_faults.commits = 0;
      b.store_faults.fail_commit_at = 1;
      b.store_faults.err = WEFT_EIO;
      b.store_faults.late = late;
      weft_err err = calls[i].run(&b);
      bool writes = calls[i].run != do_reads;
      assert_int_equal(err, writes ? WEFT_EIO : WEFT_OK);
      told now = told_of(b.r);
      assert_true(told_same(&before, &now));
      told_free(&now);
      told_free(&before);
      /* The answer was lost, not the write: what is there after a restart is whole. */
      bench_calm(&b);
      weft_replica_free(b.r);
      assert_int_equal(bench_open(&b), WEFT_OK);
      test_recount(b.r, 0);
      assert_int_equal(do_commit(&b), WEFT_OK);
      bench_free(&b);
    }
  }
}

static void test_allocations(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    for (int sticky = 0; sticky < 2; sticky++) {
      for (uint64_t k = 1;; k = place_after(k)) {
        bench b;
        bench_make(&b, &calls[i]);
        told before = told_of(b.r);
        b.alloc_faults.calls = 0;
        b.alloc_faults.fail_at = k;
        b.alloc_faults.sticky = sticky;
        weft_err err = calls[i].run(&b);
        bool reached = b.alloc_faults.calls >= k;
        if (err != WEFT_OK) {
          assert_int_equal(err, WEFT_ENOMEM);
          bench_after(&b, &calls[i], &before, err);
        }
        told_free(&before);
        bench_free(&b);
        if (!reached) break;
      }
    }
  }
}

static void test_open_fails(void **state) {
  (void)state;
  bench b;
  bench_make(&b, &calls[1]);
  told before = told_of(b.r);
  static const weft_err errors[] = {WEFT_ENOMEM, WEFT_EIO};
  for (size_t e = 0; e < 2; e++) {
    for (uint64_t k = 1;; k = test_under_valgrind() ? 2 * k : k + 1) {
      weft_replica_free(b.r);
      b.r = NULL;
      b.store_faults.calls = 0;
      b.store_faults.fail_at = k;
      b.store_faults.err = errors[e];
      weft_err err = bench_open(&b);
      bench_calm(&b);
      if (err == WEFT_OK) break;
      assert_int_equal(err, errors[e]);
      assert_int_equal(b.alloc_faults.live, 0);
    }
  }
  for (uint64_t k = 1;; k = test_under_valgrind() ? 2 * k : k + 1) {
    weft_replica_free(b.r);
    b.r = NULL;
    b.alloc_faults.calls = 0;
    b.alloc_faults.fail_at = k;
    weft_err err = bench_open(&b);
    bench_calm(&b);
    if (err == WEFT_OK) break;
    assert_int_equal(err, WEFT_ENOMEM);
    assert_int_equal(b.alloc_faults.live, 0);
  }
  told now = told_of(b.r);
  assert_true(told_same(&before, &now));
  told_free(&now);
  told_free(&before);
  bench_free(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_store_out_of_memory),
      cmocka_unit_test(test_store_out_of_memory_for_good),
      cmocka_unit_test(test_store_full),
      cmocka_unit_test(test_store_broken),
      cmocka_unit_test(test_commit_fails),
      cmocka_unit_test(test_allocations),
      cmocka_unit_test(test_open_fails),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

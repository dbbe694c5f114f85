/* Logs that are long: sealed tails, chunks stored as they came, large changes, reading from the
 * middle; and what a damaged store says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/chunk.h"
#include "crdt/limits.h"
#include "store/history.h"
#include "store/replica_internal.h"
#include "tests/support/fault_store.h"
#include "tests/support/recount.h"
#include "tests/support/space.h"

typedef struct fixture {
  test_space s;
  weft_alloc mem;
  weft_arena arena;
  weft_store *inner;
  test_fault_store faults;
  weft_replica *a, *b;
} fixture;

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  f->mem = weft_alloc_libc();
  weft__arena_init(&f->arena, &f->mem);
  test_space_make(&f->s, 3, 1);
  f->inner = test_memory_store();
  f->a = test_space_open(&f->s, 0, test_fault_store_of(f->inner, &f->faults));
  f->b = test_space_memory(&f->s, 1);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  weft_replica_free(f->a);
  weft_replica_free(f->b);
  weft_store_free(f->inner);
  weft__arena_free(&f->arena);
  free(f);
  return 0;
}

static void reopen(fixture *f) {
  weft_replica_free(f->a);
  f->a = test_space_open(&f->s, 0, test_fault_store_of(f->inner, &f->faults));
}

static void write_group(weft_replica *r, size_t count) {
  weft_counts c;
  assert_int_equal(weft_replica_counts(r, &c), WEFT_OK);
  assert_int_equal(weft_group_begin(r), WEFT_OK);
  for (size_t i = 0; i < count; i++) {
    char json[32];
    snprintf(json, sizeof json, "%zu", (size_t)c.changes_held + i);
    assert_int_equal(test_set(r, i % 2 ? "t/a" : "t/b", i % 3 ? "/x" : "/y", json), WEFT_OK);
  }
  assert_int_equal(weft_group_end(r), WEFT_OK);
}

static weft_id first_log(weft_replica *r) { return weft_replica_held(r)->heads[0].log; }

static weft_bytes read_chunk(fixture *f, weft_replica *r, const weft_id *log, uint64_t from,
                             uint64_t to, uint64_t *last) {
  weft_buf out;
  weft_bytes copy;
  weft__buf_init(&out, &f->mem, SIZE_MAX);
  assert_int_equal(weft_replica_read_chunk(r, log, WEFT_BRANCH_ANY, from, to, &out, last), WEFT_OK);
  assert_int_equal(weft__arena_copy(&f->arena, weft__buf_view(&out), &copy), WEFT_OK);
  weft__buf_free(&out);
  return copy;
}

static weft_hold_report hold(fixture *f, weft_replica *r, weft_bytes chunk) {
  weft_hold_report report;
  assert_int_equal(weft_replica_hold(r, &f->arena, &chunk, 1, &report), WEFT_OK);
  return report;
}

static uint64_t sealed_of(weft_replica *r, const weft_id *log) {
  return weft__log_find(r, log)->sealed;
}

/* --- long logs --- */

/* Runs of a hundred are stored as they come, shorter ones not; who asks for all gets few chunks. */
static void test_short_chunks(void **state) {
  fixture *f = *state;
  weft_replica *b = test_space_memory(&f->s, 1);
  weft_replica *c = test_space_memory(&f->s, 2);
  uint64_t at = 1, last = 0;
  size_t len = 0;
  weft_id log;
  for (size_t i = 0; i < 6; i++) {
    write_group(f->a, i == 4 ? 10 : 100);
    log = first_log(f->a);
    weft_bytes chunk = read_chunk(f, f->a, &log, at, UINT64_MAX, &last);
    assert_int_equal(hold(f, b, chunk).changes, last - at + 1);
    if (i < 4) len += chunk.len;
    assert_int_equal(sealed_of(b, &log), i == 4 ? 401 : last);
    at = last + 1;
  }
  test_show_all(b);
  test_recount(b, 0);
  weft_bytes all = read_chunk(f, b, &log, 1, 401, &last);
  assert_int_equal(last, 401);
  assert_true(all.len < len);
  assert_int_equal(hold(f, c, all).changes, 401);
  assert_int_equal(hold(f, c, read_chunk(f, b, &log, 150, UINT64_MAX, &last)).changes, 110);
  test_show_all(c);
  test_assert_same(f->a, c);
  test_recount(c, 0);
  weft_replica_free(b);
  weft_replica_free(c);
}

static size_t kept_count(const weft_replica *r) {
  size_t count = 0;
  for (size_t i = 0; i < WEFT_RUN_CACHE_COUNT; i++) count += r->cache[i].count > 0;
  return count;
}

/* Both replicas have the same ids, whichever way they come to them. */
static void assert_same_ids(weft_replica *a, weft_replica *b, const weft_id *log) {
  weft_txn *in_a, *in_b;
  assert_int_equal(weft__read_begin(a, &in_a), WEFT_OK);
  assert_int_equal(weft__read_begin(b, &in_b), WEFT_OK);
  for (uint64_t seq = 1; seq <= weft__log_find(b, log)->held; seq++) {
    weft_id x, y;
    assert_int_equal(weft__log_id_at(a, in_a, weft__log_find(a, log), seq, &x), WEFT_OK);
    assert_int_equal(weft__log_id_at(b, in_b, weft__log_find(b, log), seq, &y), WEFT_OK);
    assert_int_equal(weft_id_cmp(&x, &y), 0);
  }
  weft__read_end(a, in_a);
  weft__read_end(b, in_b);
}

/* Chunks that were just held stay taken apart until they are shown: as many as have room, and none
 * of a write that failed. */
static void test_held_chunks_stay_apart(void **state) {
  fixture *f = *state;
  test_fault_store faults = {0};
  weft_store *inner = test_memory_store();
  weft_replica *b = test_space_open(&f->s, 1, test_fault_store_of(inner, &faults));
  weft_hold_report report;
  weft_bytes chunk;
  weft_id log;
  uint64_t at = 1, last = 0;
  for (size_t i = 0; i < WEFT_RUN_CACHE_COUNT + 3; i++) {
    write_group(f->a, 70);
    log = first_log(f->a);
    chunk = read_chunk(f, f->a, &log, at, UINT64_MAX, &last);
    assert_int_equal(hold(f, b, chunk).changes, last - at + 1);
    assert_int_equal(kept_count(b), i < WEFT_RUN_CACHE_COUNT ? i + 1 : WEFT_RUN_CACHE_COUNT);
    at = last + 1;
  }
  assert_same_ids(f->a, b, &log);
  test_show_all(b);
  assert_int_equal(kept_count(b), WEFT_RUN_CACHE_IDLE);
  assert_same_ids(f->a, b, &log);
  assert_true(kept_count(b) <= WEFT_RUN_CACHE_IDLE + 1); /* the one just read */
  write_group(f->a, 70);
  chunk = read_chunk(f, f->a, &log, at, UINT64_MAX, &last);
  faults.full = true;
  assert_int_equal(weft_replica_hold(b, &f->arena, &chunk, 1, &report), WEFT_EFULL);
  assert_int_equal(kept_count(b), 0);
  faults.full = false;
  assert_int_equal(hold(f, b, chunk).changes, 70);
  assert_int_equal(kept_count(b), 1);
  assert_same_ids(f->a, b, &log);
  test_show_all(b);
  test_assert_same(f->a, b);
  test_recount(b, 0);
  weft_replica_free(b);
  weft_store_free(inner);
}

static void test_tail_is_sealed(void **state) {
  fixture *f = *state;
  static const size_t groups[] = {3, 505, 2, 700, 9000, 10};
  uint64_t seq = 1;
  weft_id id, log;
  for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
    write_group(f->a, groups[i]);
    seq += groups[i];
    log = first_log(f->a);
    assert_int_equal(weft_replica_held(f->a)->heads[0].seq, seq);
    assert_true(seq - sealed_of(f->a, &log) < WEFT_TAIL_COUNT_MAX);
  }
  assert_true(sealed_of(f->a, &log) > 9000);
  test_recount(f->a, 0);
  reopen(f);
  test_recount(f->a, 0);
  /* From the middle of chunks and of the tail, every chunk ends on a signature and is taken. */
  weft_replica *c = test_space_memory(&f->s, 2);
  uint64_t at = 1;
  uint64_t step = 1;
  while (at <= seq) {
    uint64_t last;
    weft_bytes chunk = read_chunk(f, f->a, &log, at, at, &last);
    weft_hold_report report = hold(f, c, chunk);
    assert_int_equal(report.runs[0].verdict, report.changes ? WEFT_HOLD_TAKEN : WEFT_HOLD_KNOWN);
    assert_int_equal(weft_replica_id_at(c, &log, WEFT_BRANCH_ANY, last, &id), WEFT_OK);
    /* Some of it again: what is held is passed over. */
    step = step * 3 + 1;
    at = last + 1 > step ? last + 1 - (step % 50) % (last - at + 1) : last + 1;
    if (last == seq) break;
  }
  test_show_all(c);
  test_assert_same(f->a, c);
  test_recount(c, 0);
  weft_replica_free(c);
}

/* A few large changes become a chunk as many small ones do, and are read from it. */
static void test_heavy_tail_is_sealed(void **state) {
  fixture *f = *state;
  enum { LEN = 40000, CHANGES = 9 };
  char json[LEN + 3];
  uint64_t sealed_before = 0;
  size_t seals = 0;
  weft_id log;
  memset(json, 'x', LEN + 2);
  json[0] = json[LEN + 1] = '"';
  json[LEN + 2] = 0;
  for (size_t i = 0; i < CHANGES; i++) {
    json[1] = (char)('a' + i);
    assert_int_equal(test_set(f->a, "t/heavy", "/x", json), WEFT_OK);
    log = first_log(f->a);
    uint64_t held = weft_replica_held(f->a)->heads[0].seq, sealed = sealed_of(f->a, &log);
    assert_true(held - sealed <= 4); /* the beginning of the log and three large ones */
    seals += sealed > sealed_before;
    sealed_before = sealed;
  }
  assert_int_equal(seals, 2); /* of four changes each */
  test_recount(f->a, 0);
  reopen(f);
  test_recount(f->a, 0);
  uint64_t last;
  hold(f, f->b, read_chunk(f, f->a, &log, 1, CHANGES + 1, &last));
  while (last <= CHANGES) hold(f, f->b, read_chunk(f, f->a, &log, last + 1, CHANGES + 1, &last));
  test_show_all(f->b);
  test_assert_same(f->a, f->b);
  test_recount(f->b, 0);
}

/* A long run is stored in the chunk it came in; a part of one anew; a short one goes to the tail.
 */
static void test_chunks_as_they_came(void **state) {
  fixture *f = *state;
  uint64_t last;
  write_group(f->a, 20);
  weft_id log = first_log(f->a);
  hold(f, f->b, read_chunk(f, f->a, &log, 1, 21, &last));
  assert_int_equal(sealed_of(f->b, &log), 0);
  write_group(f->a, 3000);
  weft_hold_report report = hold(f, f->b, read_chunk(f, f->a, &log, 10, 3021, &last));
  assert_int_equal(report.changes, last - 21);
  assert_int_equal(sealed_of(f->b, &log), last);
  while (last < 3021) hold(f, f->b, read_chunk(f, f->a, &log, last + 1, 3021, &last));
  test_show_all(f->b);
  test_assert_same(f->a, f->b);
  test_recount(f->b, 0);
  /* It serves others from what it stored. */
  weft_replica *c = test_space_memory(&f->s, 2);
  assert_int_equal(test_pull(c, f->b, 100), 3021);
  test_assert_same(f->a, c);
  test_recount(c, 0);
  weft_replica_free(c);
}

static void set_long(weft_replica *r, const char *pointer, size_t len, weft_err want) {
  weft_edit *e;
  weft_commit done;
  char *text = malloc(len);
  memset(text, 'x', len);
  weft_value v = {.kind = WEFT_STRING, .as.bytes = weft_bytes_of(text, len)};
  assert_int_equal(weft_edit_begin(&e, r, NULL), WEFT_OK);
  weft_err err = weft_edit_set(e, weft_bytes_str("t/long"), weft_bytes_str(pointer), &v);
  if (err == WEFT_OK) err = weft_edit_commit(e, &done);
  assert_int_equal(err, want);
  weft_edit_free(e);
  free(text);
}

/* One change with `count` values of 200 KiB. */
static weft_err set_many_long(weft_replica *r, size_t count, int salt) {
  enum { LEN = 200 << 10 };
  weft_edit *e;
  weft_commit done;
  char *text = malloc(LEN);
  memset(text, 'y', LEN);
  weft_value v = {.kind = WEFT_STRING, .as.bytes = weft_bytes_of(text, LEN)};
  assert_int_equal(weft_edit_begin(&e, r, NULL), WEFT_OK);
  for (size_t i = 0; i < count; i++) {
    char pointer[16];
    text[0] = (char)('a' + ((int)i + salt) % 26);
    snprintf(pointer, sizeof pointer, "/p%d", (int)i);
    assert_int_equal(weft_edit_set(e, weft_bytes_str("t/long"), weft_bytes_str(pointer), &v),
                     WEFT_OK);
  }
  weft_err err = weft_edit_commit(e, &done);
  weft_edit_free(e);
  free(text);
  return err;
}

/* Large changes within a group are signed so that every run fits a chunk. */
static void test_large_changes(void **state) {
  fixture *f = *state;
  set_long(f->a, "/one", WEFT_VALUE_LEN_MAX + 1, WEFT_ELIMIT);
  assert_int_equal(weft_group_begin(f->a), WEFT_OK);
  for (int i = 0; i < 4; i++) {
    set_long(f->a, i % 2 ? "/one" : "/two", (size_t)(100 + i) << 10, WEFT_OK);
    assert_int_equal(test_set(f->a, "t/a", "/x", i % 2 ? "1" : "2"), WEFT_OK);
    assert_int_equal(set_many_long(f->a, 5 + (size_t)i, i), WEFT_OK);
    assert_int_equal(test_set(f->a, "t/a", "/y", i % 2 ? "1" : "2"), WEFT_OK);
    set_long(f->a, "/three", (size_t)(180 + i) << 10, WEFT_OK);
  }
  assert_int_equal(set_many_long(f->a, 21, 9), WEFT_ELIMIT);
  assert_int_equal(weft_group_end(f->a), WEFT_OK);
  test_recount(f->a, 0);
  assert_int_equal(test_pull(f->b, f->a, 100), 21);
  test_assert_same(f->a, f->b);
  write_group(f->a, 600);
  assert_true(sealed_of(f->a, &f->a->logs[0]->id) > 600);
  test_recount(f->a, 0);
  weft_replica *c = test_space_memory(&f->s, 2);
  assert_int_equal(test_pull(c, f->a, 3), 621);
  test_assert_same(f->a, c);
  weft_replica_free(c);
}

static weft_edit *begin_in(weft_replica *r, weft_lane lane) {
  weft_edit *e;
  weft_edit_options o;
  weft_edit_options_init(&o);
  o.lane = lane;
  assert_int_equal(weft_edit_begin(&e, r, &o), WEFT_OK);
  return e;
}

static weft_id commit_value(weft_edit *e, const char *doc, const char *pointer, int64_t i) {
  weft_commit done;
  weft_value v = {.kind = WEFT_INT, .as.integer = i};
  assert_int_equal(weft_edit_set(e, weft_bytes_str(doc), weft_bytes_str(pointer), &v), WEFT_OK);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  weft_edit_free(e);
  return done.change;
}

/* Who wrote what stands there. */
static weft_id writer_of(fixture *f, const char *doc, const char *pointer) {
  weft_blame_entry *list;
  size_t count;
  assert_int_equal(weft_replica_blame(f->a, &f->arena, weft_bytes_str(doc), &list, &count),
                   WEFT_OK);
  for (size_t i = 0; i < count; i++) {
    if (weft_bytes_cmp(list[i].pointer, weft_bytes_str(pointer)) == 0) return list[i].change.change;
  }
  fail();
  return (weft_id){{0}};
}

/* What a group keeps back is seen by whoever reads in it, in whichever lane it was written, and by
 * edits that were begun before. */
static void group_with_readers(fixture *f, size_t count, int64_t from) {
  weft_edit *early = begin_in(f->a, WEFT_LANE_NORMAL);
  assert_int_equal(weft_group_begin(f->a), WEFT_OK);
  weft_edit *late = begin_in(f->a, WEFT_LANE_NORMAL);
  weft_edit *stale = begin_in(f->a, WEFT_LANE_NORMAL);
  weft_value v = {.kind = WEFT_INT, .as.integer = from};
  weft_commit done;
  assert_int_equal(weft_edit_set(stale, weft_bytes_str("t/b"), weft_bytes_str("/x"), &v), WEFT_OK);
  for (size_t i = 0; i < count; i++) {
    bool other = i % 150 > 140;
    weft_edit *e = begin_in(f->a, other ? WEFT_LANE_HIGH : WEFT_LANE_NORMAL);
    weft_id id = commit_value(e, i % 2 ? "t/a" : "t/b", "/x", from + (int64_t)i);
    if (i % 100 != 99 && i % 150 != 145) continue;
    weft_id found = writer_of(f, i % 2 ? "t/a" : "t/b", "/x");
    assert_int_equal(weft_id_cmp(&found, &id), 0);
  }
  commit_value(early, "t/a", "/early", from);
  commit_value(late, "t/b", "/late", from);
  assert_int_equal(weft_edit_commit(stale, &done), WEFT_ESTALE);
  weft_edit_free(stale);
}

static void test_group_with_readers(void **state) {
  static const size_t counts[] = {1, 7, 64, 160, 700, 3000};
  fixture *f = *state;
  weft_counts before, after;
  assert_int_equal(test_set(f->a, "t/a", "/x", "0"), WEFT_OK);
  assert_int_equal(test_set(f->a, "t/b", "/x", "0"), WEFT_OK);
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
    group_with_readers(f, counts[i], (int64_t)i * 10000 + 1);
    assert_int_equal(weft_group_end(f->a), WEFT_OK);
    test_recount(f->a, counts[i]);
    assert_int_equal(weft_replica_counts(f->a, &before), WEFT_OK);
    group_with_readers(f, counts[i], (int64_t)i * 10000 + 5000);
    weft_group_abort(f->a);
    assert_int_equal(weft_replica_counts(f->a, &after), WEFT_OK);
    assert_int_equal(after.changes_held, before.changes_held);
    test_recount(f->a, counts[i]);
  }
  reopen(f);
  test_recount(f->a, 0);
  test_pull(f->b, f->a, 5000);
  test_assert_same(f->a, f->b);
}

/* A base that lies back in sealed chunks. */
static void test_old_base(void **state) {
  fixture *f = *state;
  weft_edit *e;
  weft_commit done;
  weft_vector base;
  weft_value v = {.kind = WEFT_INT, .as.integer = 5};
  weft_edit_options o;
  weft_edit_options_init(&o);
  weft__vector_init(&base, &f->mem);
  assert_int_equal(test_set(f->a, "t/c", "/z", "[1,2,3]"), WEFT_OK);
  assert_int_equal(test_pull(f->b, f->a, 9), 2);
  assert_int_equal(weft__vector_copy(&base, weft_replica_shown(f->b)), WEFT_OK);
  write_group(f->a, 1500);
  assert_int_equal(test_set(f->a, "t/c", "/z/0", NULL), WEFT_OK);
  test_pull(f->b, f->a, 9);
  /* Device 1 decided when there were three: the second of them. */
  o.base = &base;
  assert_int_equal(weft_edit_begin(&e, f->b, &o), WEFT_OK);
  assert_int_equal(weft_edit_set(e, weft_bytes_str("t/c"), weft_bytes_str("/z/1"), &v), WEFT_OK);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  weft_edit_free(e);
  char text[64];
  assert_string_equal(test_get(f->b, "t/c", "/z", text, sizeof text), "[5,3]");
  test_recount(f->b, 0);
  /* A base that is what is shown now is no old one. */
  o.base = weft_replica_shown(f->b);
  assert_int_equal(weft_edit_begin(&e, f->b, &o), WEFT_OK);
  assert_int_equal(weft_edit_set(e, weft_bytes_str("t/c"), weft_bytes_str("/z/1"), &v), WEFT_OK);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  weft_edit_free(e);
  assert_string_equal(test_get(f->b, "t/c", "/z", text, sizeof text), "[5,5]");
  weft__vector_free(&base);
}

/* A document that an edit meets only after something else was shown stands as it did at its base.
 */
static void test_late_document(void **state) {
  fixture *f = *state;
  weft_edit *e;
  weft_commit done;
  weft_value v = {.kind = WEFT_INT, .as.integer = 5};
  assert_int_equal(test_set(f->b, "t/c", "/z", "[1,2]"), WEFT_OK);
  test_pull(f->a, f->b, 9);
  assert_int_equal(weft_edit_begin(&e, f->a, NULL), WEFT_OK);
  assert_int_equal(test_set(f->b, "t/c", "/z/0", NULL), WEFT_OK);
  test_pull(f->a, f->b, 9);
  assert_int_equal(weft_edit_set(e, weft_bytes_str("t/c"), weft_bytes_str("/z/1"), &v), WEFT_OK);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  weft_edit_free(e);
  char text[64];
  assert_string_equal(test_get(f->a, "t/c", "/z", text, sizeof text), "[5]");
}

static void test_resolve(void **state) {
  fixture *f = *state;
  weft_edit *e;
  weft_commit done;
  weft_counts c;
  static const uint8_t step[] = {2, 'x'};
  weft_path path = weft_bytes_of(step, sizeof step);
  weft_value v = {.kind = WEFT_INT, .as.integer = 5};
  weft_bytes doc = weft_bytes_str("t/a");
  for (int how = 0; how < 3; how++) {
    assert_int_equal(test_set(f->a, "t/a", "/x", "1"), WEFT_OK);
    assert_int_equal(test_set(f->b, "t/a", "/x", how == 2 ? "{\"y\":1}" : "2"), WEFT_OK);
    test_pull(f->a, f->b, 9);
    assert_int_equal(weft_replica_counts(f->a, &c), WEFT_OK);
    assert_int_equal(c.conflicts, 1);
    assert_int_equal(weft_edit_begin(&e, f->a, NULL), WEFT_OK);
    assert_int_equal(weft_edit_resolve(e, doc, weft_bytes_str("\xff"), &v), WEFT_EBADPATH);
    assert_int_equal(weft_edit_remove_path(e, doc, weft_bytes_str("\xff")), WEFT_EBADPATH);
    weft_err err = WEFT_OK;
    if (how == 0) err = weft_edit_resolve(e, doc, path, &v);
    if (how == 1) err = weft_edit_remove_path(e, doc, path);
    if (how == 2) {
      err = weft_edit_resolve(e, doc, path, NULL);
      /* Which side is shown is up to the clocks. */
      if (err == WEFT_EBADPATH) err = weft_edit_remove_path(e, doc, path);
    }
    assert_int_equal(err, WEFT_OK);
    assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
    weft_edit_free(e);
    assert_int_equal(weft_replica_counts(f->a, &c), WEFT_OK);
    assert_int_equal(c.conflicts, 0);
    test_pull(f->b, f->a, 9);
    test_assert_same(f->a, f->b);
  }
}

/* Many documents in one batch. */
static void test_many_documents(void **state) {
  fixture *f = *state;
  weft_counts c;
  assert_int_equal(weft_group_begin(f->a), WEFT_OK);
  for (int i = 0; i < 300; i++) {
    char doc[32];
    snprintf(doc, sizeof doc, "t/d%d", i);
    assert_int_equal(test_set(f->a, doc, "/x", "1"), WEFT_OK);
  }
  assert_int_equal(weft_group_end(f->a), WEFT_OK);
  test_pull(f->b, f->a, 9);
  test_assert_same(f->a, f->b);
  assert_int_equal(weft_replica_counts(f->b, &c), WEFT_OK);
  assert_int_equal(c.docs, 300);
  assert_true(weft_replica_instance(f->a) != weft_replica_instance(f->b));
}

/* An unknown critical record of an admin: everything is held, nothing is written or shown. */
static void test_frozen(void **state) {
  fixture *f = *state;
  weft_record r = {.kind = 99, .flags = WEFT_RECORD_CRITICAL, .space = f->s.id, .dep_count = 1};
  weft_buf raw;
  weft_id id;
  weft_edit *e;
  weft_show_report shown;
  r.deps[0] = f->s.id;
  weft__buf_init(&raw, &f->mem, SIZE_MAX);
  assert_int_equal(weft__record_sign(&raw, f->s.crypto, &f->s.devices[0], &r, &id), WEFT_OK);
  assert_int_equal(test_set(f->b, "t/a", "/x", "1"), WEFT_OK);
  assert_int_equal(weft_edit_begin(&e, f->b, NULL), WEFT_OK);
  assert_int_equal(weft_replica_add_record(f->a, weft__buf_view(&raw)), WEFT_OK);
  assert_int_equal(test_set(f->a, "t/a", "/x", "1"), WEFT_EFROZEN);
  assert_int_equal(test_pull(f->a, f->b, 9), 2);
  assert_int_equal(weft_replica_shown(f->a)->count, 0);
  assert_int_equal(weft_replica_show(f->a, 0, &shown), WEFT_OK);
  assert_int_equal(shown.waiting, 2);
  assert_false(shown.more);
  /* It can be looked at, and is made no other. */
  weft_verify_report report;
  assert_int_equal(weft_replica_verify(f->a, NULL, NULL, &report), WEFT_OK);
  assert_int_equal(weft_replica_repair(f->a, NULL, NULL, &report), WEFT_EFROZEN);
  weft_edit_free(e);
  weft__buf_free(&raw);
}

/* --- damage --- */

/* Uses everything once; only damage may be reported, nothing may crash. */
static bool use_all(fixture *f) {
  bool found = false;
  weft_replica *r;
  weft_replica_options o = test_space_options(&f->s, 0, test_fault_store_of(f->inner, &f->faults));
  weft_err err = weft_replica_open(&r, &o);
  if (err != WEFT_OK) {
    weft_store_free(o.store);
    assert_true(err == WEFT_ECORRUPT || err == WEFT_EVERSION || err == WEFT_EFOREIGN);
    return true;
  }
  static const char *const docs[] = {"t/a", "t/b"};
  for (size_t i = 0; i < 2; i++) {
    weft_value v;
    weft__arena_reset(&f->arena);
    err = weft_replica_get(r, &f->arena, weft_bytes_str(docs[i]), weft_bytes_str(""), &v);
    found |= err != WEFT_OK;
    err = test_set(r, docs[i], "/x", "77");
    found |= err != WEFT_OK;
  }
  weft_vector none = {.count = 0};
  weft_span *spans;
  size_t count;
  uint64_t last;
  err = weft_replica_missing(r, &f->arena, &none, 100, &spans, &count);
  found |= err != WEFT_OK;
  for (size_t i = 0; err == WEFT_OK && i < count; i++) {
    for (uint64_t at = spans[i].from; err == WEFT_OK && at <= spans[i].to; at = last + 1) {
      weft_buf out;
      weft__buf_init(&out, &f->mem, SIZE_MAX);
      err =
          weft_replica_read_chunk(r, &spans[i].log, spans[i].branch, at, spans[i].to, &out, &last);
      weft__buf_free(&out);
    }
    found |= err != WEFT_OK;
  }
  found |= weft_replica_arrivals(r, &f->arena, 0, 100, &spans, &count, &last) != WEFT_OK;
  weft_replica_free(r);
  return found;
}

/* Of what is derived, segments alone have a check of their own. */
static bool is_checked(int table, weft_bytes key) {
  weft_dbkey row;
  weft_bytes record = weft__state_row_key(&row, 0, WEFT_STATE_RECORD);
  return table != WEFT_TABLE_STATE || key.len <= 4 || key.at[4] != record.at[4];
}

/* Copies the store of the fixture, with bit `bit` of entry `idx` of `table` flipped. */
static bool copy_flipped(weft_store *from, weft_store *to, weft_table table, size_t idx,
                         size_t bit) {
  weft_txn *in, *out;
  bool flipped = false;
  assert_int_equal(weft_store_begin(from, WEFT_TXN_READ, &in), WEFT_OK);
  assert_int_equal(weft_store_begin(to, WEFT_TXN_WRITE, &out), WEFT_OK);
  for (int t = 0; t < WEFT_TABLE_COUNT; t++) {
    weft_cursor *c;
    weft_entry e;
    size_t at = 0;
    assert_int_equal(weft_cursor_open(in, (weft_table)t, &c), WEFT_OK);
    while (weft_cursor_next(c, &e) == WEFT_OK) {
      uint8_t value[70000];
      assert_true(e.value.len <= sizeof value);
      memcpy(value, e.value.at, e.value.len);
      bool meant = t == (int)table && is_checked(t, e.key) && at++ == idx;
      if (meant && bit / 8 < e.value.len) {
        value[bit / 8] = (uint8_t)(value[bit / 8] ^ 1u << bit % 8);
        flipped = true;
      }
      assert_int_equal(weft_txn_put(out, (weft_table)t, e.key, weft_bytes_of(value, e.value.len)),
                       WEFT_OK);
    }
    weft_cursor_close(c);
  }
  weft_txn_abort(in);
  assert_int_equal(weft_txn_commit(out), WEFT_OK);
  return flipped;
}

static void test_flips_in_every_table(void **state) {
  fixture *f = *state;
  test_rng rng = test_rng_of(4);
  size_t found[WEFT_TABLE_COUNT] = {0};
  size_t tried[WEFT_TABLE_COUNT] = {0};
  assert_int_equal(test_set(f->b, "t/b", "/y", "1"), WEFT_OK);
  test_pull(f->a, f->b, 9);
  write_group(f->a, 600);
  assert_int_equal(test_set(f->a, "t/a", "/x", "1"), WEFT_OK);
  weft_replica_free(f->a);
  f->a = NULL;
  weft_store *whole = f->inner;
  for (int t = 0; t < WEFT_TABLE_COUNT; t++) {
    for (size_t n = 0; n < 120; n++) {
      f->inner = test_memory_store();
      size_t idx = test_rng_below(&rng, n % 2 ? 4 : 1);
      size_t bit = n < 60 ? n * 8 + test_rng_below(&rng, 8) : test_rng_below(&rng, 8 * 300);
      if (copy_flipped(whole, f->inner, (weft_table)t, idx, bit)) {
        tried[t]++;
        found[t] += use_all(f);
      }
      weft_store_free(f->inner);
    }
  }
  f->inner = whole;
  assert_int_equal(found[WEFT_TABLE_STATE], tried[WEFT_TABLE_STATE]);
  assert_true(tried[WEFT_TABLE_STATE] > 20);
  assert_true(tried[WEFT_TABLE_LOG] > 20 && tried[WEFT_TABLE_TAIL] > 20);
  assert_int_equal(found[WEFT_TABLE_LOGS], tried[WEFT_TABLE_LOGS]);
  assert_int_equal(found[WEFT_TABLE_META], tried[WEFT_TABLE_META]);
  assert_int_equal(found[WEFT_TABLE_LOG], tried[WEFT_TABLE_LOG]);
  assert_int_equal(found[WEFT_TABLE_TAIL], tried[WEFT_TABLE_TAIL]);
  assert_int_equal(found[WEFT_TABLE_RECORD], tried[WEFT_TABLE_RECORD]);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(test_tail_is_sealed),       CASE(test_heavy_tail_is_sealed),
      CASE(test_short_chunks),         CASE(test_held_chunks_stay_apart),
      CASE(test_chunks_as_they_came),  CASE(test_large_changes),
      CASE(test_group_with_readers),   CASE(test_old_base),
      CASE(test_late_document),        CASE(test_resolve),
      CASE(test_many_documents),       CASE(test_frozen),
      CASE(test_flips_in_every_table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

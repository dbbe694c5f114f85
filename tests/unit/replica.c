/* The replica over both stores: commits, groups, holding and showing, faults, restarts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/chunk.h"
#include "crdt/hlc.h"
#include "crdt/json.h"
#include "crdt/limits.h"
#include "store/replica_internal.h"
#include "tests/support/bed.h"

enum { TEXT_LEN = 4096 };

/* Opens device 0 on the store of the bed; with its mirror. */
static weft_err open_raw(test_bed *f, weft_replica **out) {
  weft_replica_options o = test_bed_options(f);
  o.mirror_dir = f->mirror;
  weft_err err = weft_replica_open(out, &o);
  if (err != WEFT_OK) weft_store_free(o.store);
  return err;
}

static weft_replica *open_first(test_bed *f) {
  weft_replica *r;
  assert_int_equal(open_raw(f, &r), WEFT_OK);
  test_space_add_records(&f->s, r);
  return r;
}

static weft_replica *reopen(test_bed *f, weft_replica *r) {
  weft_replica_free(r);
  return open_first(f);
}

static void assert_doc(weft_replica *r, const char *doc, const char *pointer, const char *want) {
  char text[TEXT_LEN];
  assert_string_equal(test_get(r, doc, pointer, text, sizeof text), want);
}

static weft_counts counts_of(weft_replica *r) {
  weft_counts c;
  assert_int_equal(weft_replica_counts(r, &c), WEFT_OK);
  return c;
}

/* --- commits --- */

static void test_commits(void **state) {
  test_bed *f = *state;
  weft_replica *r = open_first(f);
  assert_int_equal(test_set(r, "t/a", "/title", "\"Leg day\""), WEFT_OK);
  assert_int_equal(test_set(r, "t/a", "/steps", "[]"), WEFT_OK);
  assert_int_equal(test_set(r, "t/a", "/steps/-", "{\"name\":\"squat\"}"), WEFT_OK);
  assert_int_equal(test_set(r, "t/a", "/steps/-", "2"), WEFT_OK);
  assert_doc(r, "t/a", "", "{\"steps\":[{\"name\":\"squat\"},2],\"title\":\"Leg day\"}");
  assert_doc(r, "t/a", "/steps/0/name", "\"squat\"");
  assert_doc(r, "t/a", "/steps/7", "WEFT_EBADPATH");
  assert_doc(r, "t/a", "/none", "(none)");
  assert_doc(r, "t/b", "", "(none)");
  assert_doc(r, "nothing", "", "WEFT_EBADNAME");
  assert_int_equal(test_set(r, "t/a", "/steps/0", NULL), WEFT_OK);
  assert_int_equal(test_set(r, "t/a", "/steps/5", NULL), WEFT_EBADPATH);
  assert_int_equal(test_set(r, "t/a", "/gone", NULL), WEFT_ENOTFOUND);
  assert_doc(r, "t/a", "/steps", "[2]");
  weft_counts c = counts_of(r);
  assert_int_equal(c.docs, 1);
  assert_int_equal(c.conflicts, 0);
  assert_int_equal(c.changes_held, 6);
  assert_int_equal(c.changes_shown, 6);
  assert_int_equal(c.logs, 1);
  assert_int_equal(weft__vector_compare(weft_replica_held(r), weft_replica_shown(r), NULL),
                   WEFT_ORDER_EQUAL);
  assert_int_equal(weft_replica_arrival(r), 6); /* with the START */
  weft_replica_free(r);
}

static void test_nothing_to_write(void **state) {
  test_bed *f = *state;
  weft_replica *r = open_first(f);
  weft_edit *e;
  weft_commit done;
  weft_value one = {.kind = WEFT_INT, .as.integer = 1};
  assert_int_equal(test_set(r, "t/a", "/x", "1"), WEFT_OK);
  assert_int_equal(weft_edit_begin(&e, r, NULL), WEFT_OK);
  assert_int_equal(weft_edit_set(e, weft_bytes_str("t/a"), weft_bytes_str("/x"), &one), WEFT_OK);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  assert_false(done.written);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_EMISUSE);
  weft_edit_free(e);
  assert_int_equal(counts_of(r).changes_held, 2);
  weft_replica_free(r);
}

/* Few documents and many: each is found again, in whatever order it is asked for. */
static void test_edit_of_many_documents(void **state) {
  static const unsigned counts[] = {1, 8, 9, 32, 33, 300};
  test_bed *f = *state;
  weft_replica *r = open_first(f);
  for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
    char name[32], got[TEXT_LEN], want[64];
    weft_edit *e;
    weft_commit done;
    unsigned count = counts[c];
    assert_int_equal(weft_edit_begin(&e, r, NULL), WEFT_OK);
    for (unsigned i = 0; i < 2 * count; i++) {
      weft_value value = {.kind = WEFT_INT, .as.integer = i};
      unsigned of = i < count ? i : (i * 7 + 3) % count;
      snprintf(name, sizeof name, "many-%u/%u", count, of);
      weft_bytes field = weft_bytes_str(i < count ? "/a" : "/b");
      assert_int_equal(weft_edit_set(e, weft_bytes_str(name), field, &value), WEFT_OK);
    }
    assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
    assert_true(done.written);
    weft_edit_free(e);
    for (unsigned i = 0; i < count; i++) {
      int last = -1; /* the write of /b that came last, if any did */
      for (unsigned k = count; k < 2 * count; k++) {
        if ((k * 7 + 3) % count == i) last = (int)k;
      }
      snprintf(name, sizeof name, "many-%u/%u", count, i);
      snprintf(want, sizeof want, last < 0 ? "{\"a\":%u}" : "{\"a\":%u,\"b\":%d}", i, last);
      assert_string_equal(test_get(r, name, "", got, sizeof got), want);
    }
  }
  weft_replica_free(r);
}

static void test_delete_and_back(void **state) {
  test_bed *f = *state;
  weft_replica *r = open_first(f);
  weft_edit *e;
  weft_commit done;
  weft_bytes doc = weft_bytes_str("t/a");
  assert_int_equal(test_set(r, "t/a", "/x", "1"), WEFT_OK);
  assert_int_equal(weft_edit_begin(&e, r, NULL), WEFT_OK);
  assert_int_equal(weft_edit_undelete(e, doc), WEFT_ENOTFOUND);
  assert_int_equal(weft_edit_delete(e, doc), WEFT_OK);
  assert_int_equal(weft_edit_delete(e, doc), WEFT_ENOTFOUND);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  weft_edit_free(e);
  assert_doc(r, "t/a", "", "(none)");
  assert_int_equal(counts_of(r).docs, 0);
  assert_int_equal(counts_of(r).deleted, 1);
  assert_int_equal(weft_edit_begin(&e, r, NULL), WEFT_OK);
  assert_int_equal(weft_edit_undelete(e, weft_bytes_str("t/never")), WEFT_ENOTFOUND);
  assert_int_equal(weft_edit_undelete(e, doc), WEFT_OK);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  weft_edit_free(e);
  assert_doc(r, "t/a", "", "{\"x\":1}");
  assert_int_equal(counts_of(r).docs, 1);
  assert_int_equal(counts_of(r).deleted, 0);
  weft_replica_free(r);
}

/* Every call of an edit, in one change. */
static void test_edit_calls(void **state) {
  test_bed *f = *state;
  weft_replica *r = open_first(f);
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_edit *e;
  weft_commit done;
  weft_value v, w;
  weft_bytes doc = weft_bytes_str("t/a");
  weft_bytes list = weft_bytes_str("/list");
  weft__arena_init(&arena, &mem);
  assert_int_equal(weft_json_parse(&arena, weft_bytes_str("{\"a\":1,\"list\":[1,2,3]}"), &v, NULL),
                   WEFT_OK);
  assert_int_equal(weft_json_parse(&arena, weft_bytes_str("{\"b\":2}"), &w, NULL), WEFT_OK);
  weft_edit_options o;
  weft_edit_options_init(&o);
  o.message = weft_bytes_str("because");
  o.lane = WEFT_LANE_HIGH;
  assert_int_equal(weft_edit_begin(&e, r, &o), WEFT_OK);
  assert_int_equal(weft_edit_import(e, doc, &v, false), WEFT_OK);
  assert_int_equal(weft_edit_import(e, doc, &w, true), WEFT_OK);
  assert_int_equal(weft_edit_import(e, doc, &w.as.object.at[0].value, true), WEFT_EBADVALUE);
  assert_int_equal(weft_edit_move(e, doc, list, 2, 0), WEFT_OK);
  assert_int_equal(weft_edit_move(e, doc, weft_bytes_str("/nope"), 2, 0), WEFT_ENOTFOUND);
  assert_int_equal(weft_edit_insert(e, doc, list, 1, &w), WEFT_OK);
  assert_int_equal(weft_edit_insert(e, doc, weft_bytes_str("/list/-"), 1, &w), WEFT_EBADPATH);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  assert_true(done.written);
  assert_true(done.op_count > done.field_count);
  assert_int_equal(done.seq, 2);
  weft_edit_free(e);
  assert_doc(r, "t/a", "", "{\"a\":1,\"b\":2,\"list\":[3,{\"b\":2},1,2]}");
  weft_id id;
  assert_int_equal(weft_replica_id_at(r, &done.log, WEFT_BRANCH_ANY, done.seq, &id), WEFT_OK);
  assert_int_equal(weft_id_cmp(&id, &done.change), 0);
  assert_int_equal(weft_replica_id_at(r, &done.log, WEFT_BRANCH_ANY, done.seq + 1, &id),
                   WEFT_ENOTFOUND);
  o.lane = WEFT_LANES;
  assert_int_equal(weft_edit_begin(&e, r, &o), WEFT_ELIMIT);
  weft__arena_free(&arena);
  weft_replica_free(r);
}

static void test_stale_and_base(void **state) {
  test_bed *f = *state;
  weft_replica *r = open_first(f);
  weft_alloc mem = weft_alloc_libc();
  weft_vector old;
  weft_edit *a, *b, *c;
  weft_commit done;
  weft_value v = {.kind = WEFT_INT, .as.integer = 7};
  weft_bytes doc = weft_bytes_str("t/a");
  weft_edit_options o;
  weft_edit_options_init(&o);
  weft__vector_init(&old, &mem);
  assert_int_equal(test_set(r, "t/a", "/x", "1"), WEFT_OK);
  assert_int_equal(weft__vector_copy(&old, weft_replica_shown(r)), WEFT_OK);
  assert_int_equal(weft_edit_begin(&a, r, NULL), WEFT_OK);
  assert_int_equal(weft_edit_begin(&b, r, NULL), WEFT_OK);
  assert_int_equal(weft_edit_set(a, doc, weft_bytes_str("/x"), &v), WEFT_OK);
  assert_int_equal(weft_edit_set(b, doc, weft_bytes_str("/y"), &v), WEFT_OK);
  assert_int_equal(test_set(r, "t/a", "/x", "2"), WEFT_OK);
  assert_int_equal(weft_edit_commit(a, &done), WEFT_ESTALE);
  assert_string_equal(weft_replica_error(r), "changed here meanwhile");
  assert_int_equal(weft_edit_commit(b, &done), WEFT_OK);
  weft_edit_free(a);
  weft_edit_free(b);
  o.base = &old;
  assert_int_equal(weft_edit_begin(&c, r, &o), WEFT_OK);
  assert_int_equal(weft_edit_set(c, doc, weft_bytes_str("/x"), &v), WEFT_OK);
  assert_int_equal(weft_edit_commit(c, &done), WEFT_ESTALE);
  weft_edit_free(c);
  assert_int_equal(weft_edit_begin(&c, r, &o), WEFT_OK);
  assert_int_equal(weft_edit_set(c, doc, weft_bytes_str("/z"), &v), WEFT_OK);
  assert_int_equal(weft_edit_commit(c, &done), WEFT_OK);
  weft_edit_free(c);
  assert_doc(r, "t/a", "", "{\"x\":2,\"y\":7,\"z\":7}");
  old.heads[0].seq += 100;
  assert_int_equal(weft_edit_begin(&c, r, &o), WEFT_EBASE);
  old.heads[0].seq -= 100;
  old.heads[0].id.b[0] ^= 1;
  assert_int_equal(weft_edit_begin(&c, r, &o), WEFT_EBASE);
  weft__vector_free(&old);
  weft_replica_free(r);
}

static void test_strangers_may_not_write(void **state) {
  test_bed *f = *state;
  weft_replica *r;
  weft_edit *e;
  assert_int_equal(open_raw(f, &r), WEFT_OK);
  assert_int_equal(weft_edit_begin(&e, r, NULL), WEFT_EDENIED);
  weft_replica_free(r);
}

/* --- groups --- */

static void test_group(void **state) {
  test_bed *f = *state;
  weft_replica *r = open_first(f);
  weft_hold_report held;
  weft_show_report shown;
  char doc[32];
  assert_int_equal(weft_group_end(r), WEFT_EMISUSE);
  assert_int_equal(weft_group_begin(r), WEFT_OK);
  assert_int_equal(weft_group_begin(r), WEFT_EMISUSE);
  uint64_t commits = f->faults.commits;
  for (int i = 0; i < 700; i++) {
    snprintf(doc, sizeof doc, "t/d%d", i % 7);
    char value[16];
    snprintf(value, sizeof value, "%d", i);
    assert_int_equal(test_set(r, doc, i % 2 ? "/odd" : "/even", value), WEFT_OK);
  }
  assert_doc(r, "t/d0", "", "{\"even\":686,\"odd\":693}");
  assert_int_equal(weft_replica_held(r)->count, 0);
  assert_int_equal(weft_replica_arrival(r), 0);
  assert_int_equal(weft_replica_hold(r, NULL, NULL, 0, &held), WEFT_EMISUSE);
  assert_int_equal(weft_replica_show(r, 0, &shown), WEFT_EMISUSE);
  assert_int_equal(weft_group_end(r), WEFT_OK);
  assert_int_equal(f->faults.commits, commits + 1);
  assert_int_equal(weft_replica_arrival(r), 701);
  assert_int_equal(weft_replica_held(r)->heads[0].seq, 701);
  weft_digest digest = weft_replica_digest(r);
  r = reopen(f, r);
  assert_doc(r, "t/d0", "", "{\"even\":686,\"odd\":693}");
  assert_int_equal(weft_replica_digest(r).low, digest.low);
  assert_int_equal(counts_of(r).docs, 7);
  weft_group_abort(r);
  weft_replica_free(r);
}

static uint64_t seq_held(weft_replica *r, const weft_id *log) {
  const weft_vector *held = weft_replica_held(r);
  for (size_t i = 0; i < held->count; i++) {
    if (weft_id_cmp(&held->heads[i].log, log) == 0) return held->heads[i].seq;
  }
  return 0;
}

/* What was there when somebody remembered the number of arrivals. */
typedef struct mark {
  uint64_t arrival;
  weft_id logs[2];
  uint64_t seqs[2];
} mark;

static mark mark_of(weft_replica *r, const weft_id logs[2]) {
  mark m = {weft_replica_arrival(r), {logs[0], logs[1]}, {0, 0}};
  for (size_t i = 0; i < 2; i++) m.seqs[i] = seq_held(r, &logs[i]);
  return m;
}

/* Asks for all that came since, `max` ranges at a time. */
static void assert_told(weft_replica *r, mark m, size_t max) {
  weft_arena arena;
  weft_alloc mem = weft_alloc_libc();
  weft_span *spans;
  size_t count;
  uint64_t last;
  do {
    weft__arena_init(&arena, &mem);
    weft_err err = weft_replica_arrivals(r, &arena, m.arrival, max, &spans, &count, &last);
    assert_int_equal(err, WEFT_OK);
    for (size_t i = 0; i < count; i++) {
      size_t log = weft_id_cmp(&spans[i].log, &m.logs[0]) == 0 ? 0 : 1;
      assert_int_equal(spans[i].from, m.seqs[log] + 1);
      assert_true(spans[i].to >= spans[i].from);
      m.seqs[log] = spans[i].to;
    }
    assert_true(count == 0 ? last == m.arrival : last > m.arrival);
    m.arrival = last;
    weft__arena_free(&arena);
  } while (count > 0);
  assert_int_equal(m.arrival, weft_replica_arrival(r));
  for (size_t i = 0; i < 2; i++) assert_int_equal(m.seqs[i], seq_held(r, &m.logs[i]));
}

static void write_one(weft_replica *r, unsigned n) {
  char value[16];
  snprintf(value, sizeof value, "%u", n);
  assert_int_equal(test_set(r, "t/a", "/n", value), WEFT_OK);
}

/* Whoever remembers a number of arrivals is told what came since and nothing else, however it came,
 * in whatever pieces it is asked for, over restarts too. */
static void test_arrivals(void **state) {
  enum { STEPS = 120 };
  test_bed *f = *state;
  weft_replica *r = open_first(f), *other = test_space_memory(&f->s, 1);
  test_rng rng = test_rng_of(11);
  mark marks[STEPS];
  write_one(r, 0);
  write_one(other, 0);
  const weft_id logs[2] = {weft_replica_held(r)->heads[0].log,
                           weft_replica_held(other)->heads[0].log};
  for (unsigned i = 0; i < STEPS; i++) {
    marks[i] = mark_of(r, logs);
    unsigned many = 1 + (unsigned)test_rng_below(&rng, 4);
    switch (test_rng_below(&rng, 4)) {
    case 0: write_one(r, i + 1); break;
    case 1:
      assert_int_equal(weft_group_begin(r), WEFT_OK);
      for (unsigned k = 0; k < many; k++) write_one(r, 1000 * (i + 1) + k);
      assert_int_equal(weft_group_end(r), WEFT_OK);
      break;
    case 2:
      for (unsigned k = 0; k < many; k++) write_one(other, 1000 * (i + 1) + k);
      test_pull(r, other, 64);
      break;
    default: r = reopen(f, r); break;
    }
    for (unsigned k = 0; k <= i; k++) assert_told(r, marks[k], 1 + test_rng_below(&rng, 3));
  }
  assert_int_equal(weft_replica_arrival(r), seq_held(r, &logs[0]) + seq_held(r, &logs[1]));
  weft_replica_free(r);
  weft_replica_free(other);
}

static void test_group_abort(void **state) {
  test_bed *f = *state;
  weft_replica *r = open_first(f);
  weft_edit *e;
  weft_commit done;
  weft_value v = {.kind = WEFT_INT, .as.integer = 7};
  assert_int_equal(test_set(r, "t/a", "/x", "1"), WEFT_OK);
  weft_digest before = weft_replica_digest(r);
  assert_int_equal(weft_group_begin(r), WEFT_OK);
  assert_int_equal(test_set(r, "t/a", "/x", "2"), WEFT_OK);
  assert_int_equal(test_set(r, "t/b", "/x", "2"), WEFT_OK);
  assert_int_equal(weft_edit_begin(&e, r, NULL), WEFT_OK);
  assert_int_equal(weft_edit_set(e, weft_bytes_str("t/b"), weft_bytes_str("/y"), &v), WEFT_OK);
  weft_group_abort(r);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_EBASE);
  weft_edit_free(e);
  assert_doc(r, "t/a", "", "{\"x\":1}");
  assert_doc(r, "t/b", "", "(none)");
  assert_int_equal(weft_replica_digest(r).low, before.low);
  assert_int_equal(test_set(r, "t/a", "/x", "3"), WEFT_OK);
  assert_int_equal(weft_replica_held(r)->heads[0].seq, 3);
  assert_int_equal(weft_replica_arrival(r), 3);
  weft_replica_free(r);
}

/* --- restarts and incarnations --- */

static void test_restart(void **state) {
  test_bed *f = *state;
  weft_replica *r = open_first(f);
  for (int i = 0; i < 30; i++) {
    char value[16];
    snprintf(value, sizeof value, "%d", i);
    assert_int_equal(test_set(r, "t/a", "/x", value), WEFT_OK);
    if (i % 10 == 9) r = reopen(f, r);
  }
  /* The mirror told each time that nothing was set back: one log. */
  assert_int_equal(counts_of(r).logs, 1);
  assert_int_equal(weft_replica_held(r)->heads[0].seq, 31);
  assert_doc(r, "t/a", "", "{\"x\":29}");
  weft_replica_free(r);
  char cleared[400];
  snprintf(cleared, sizeof cleared, "rm -rf %s", f->mirror);
  assert_int_equal(system(cleared), 0);
  r = open_first(f);
  assert_int_equal(test_set(r, "t/a", "/x", "30"), WEFT_OK);
  assert_int_equal(counts_of(r).logs, 2);
  assert_int_equal(counts_of(r).conflicts, 0);
  weft_replica_free(r);
}

/* Ends a replica as a crash would, which writes no mirror. */
static void crash(test_bed *f, weft_replica *r) {
  char text[800];
  snprintf(text, sizeof text, "cp -a %s %s.kept", f->mirror, f->mirror);
  assert_int_equal(system(text), 0);
  weft_replica_free(r);
  snprintf(text, sizeof text, "rm -rf %s && mv %s.kept %s", f->mirror, f->mirror, f->mirror);
  assert_int_equal(system(text), 0);
}

/* A copy that is only a commit old is told from the store it was made of, also after a crash. */
static void test_set_back_a_little(void **state) {
  test_bed *f = *state;
  weft_replica *r = open_first(f);
  for (int i = 0; i < 3; i++)
    assert_int_equal(test_set(r, "t/a", "/x", i % 2 ? "1" : "2"), WEFT_OK);
  weft_id log = weft_replica_held(r)->heads[0].log;
  weft_store *copy = test_store_copy(f->inner);
  assert_int_equal(test_set(r, "t/a", "/x", "3"), WEFT_OK);
  crash(f, r);
  weft_store_free(f->inner);
  f->inner = copy;
  r = open_first(f);
  assert_int_equal(test_set(r, "t/a", "/x", "5"), WEFT_OK);
  assert_int_equal(weft_replica_held(r)->count, 2);
  assert_int_equal(weft__vector_seq(weft_replica_held(r), &log), 4);
  weft_replica_free(r);
}

static void test_clock_far_ahead(void **state) {
  test_bed *f = *state;
  weft_replica *r = open_first(f);
  f->s.platforms[0].now += 3600000;
  assert_int_equal(test_set(r, "t/a", "/x", "1"), WEFT_OK);
  r = reopen(f, r);
  assert_int_equal(test_set(r, "t/a", "/x", "2"), WEFT_OK);
  assert_int_equal(counts_of(r).logs, 1);
  weft_replica_free(r);
  f->s.platforms[0].now -= 3600000;
  r = open_first(f);
  assert_int_equal(test_set(r, "t/a", "/x", "3"), WEFT_OK);
  assert_int_equal(counts_of(r).logs, 2);
  assert_doc(r, "t/a", "", "{\"x\":3}");
  weft_replica_free(r);
}

/* Begins an edit that writes `number`. */
static weft_edit *edit_of(weft_replica *r, const char *doc, int64_t number) {
  weft_edit *e;
  weft_value value = {.kind = WEFT_INT, .as.integer = number};
  assert_int_equal(weft_edit_begin(&e, r, NULL), WEFT_OK);
  assert_int_equal(weft_edit_set(e, weft_bytes_str(doc), weft_bytes_str("/x"), &value), WEFT_OK);
  return e;
}

/* Commits it, and gives the time of the change. */
static weft_ms commit_ms(weft_edit *e) {
  weft_commit done;
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  assert_true(done.written);
  weft_edit_free(e);
  return weft_hlc_ms(done.hlc);
}

/* The clock jumps ahead and comes back while the replica is open: it is followed as another process
 * would follow it, in another log. */
static void test_clock_comes_back(void **state) {
  test_bed *f = *state;
  const weft_ms hour = 3600000, ages = UINT64_C(1) << 50;
  weft_replica *r = open_first(f);
  weft_ms *now = &f->s.platforms[0].now;
  *now += hour;
  assert_true(commit_ms(edit_of(r, "t/a", 1)) == *now);
  weft_edit *open = edit_of(r, "t/b", 2);
  *now -= WEFT_CLOCK_AHEAD_MAX_MS; /* that little is waited out */
  assert_true(commit_ms(edit_of(r, "t/a", 3)) > *now);
  assert_true(weft_hlc_ms(weft_replica_clock(r)) > *now);
  assert_int_equal(counts_of(r).logs, 1);
  *now -= hour - WEFT_CLOCK_AHEAD_MAX_MS;
  assert_true(weft_hlc_ms(weft_replica_clock(r)) == *now);
  assert_true(commit_ms(open) == *now); /* begun before */
  assert_int_equal(counts_of(r).logs, 2);
  *now += 5;
  assert_true(commit_ms(edit_of(r, "t/a", 5)) == *now);
  assert_int_equal(counts_of(r).logs, 2);
  assert_int_equal(counts_of(r).conflicts, 0);
  *now += ages; /* beyond what a clock can be */
  assert_true(commit_ms(edit_of(r, "t/a", 7)) == WEFT_HLC_MS_MAX);
  *now -= ages;
  assert_true(commit_ms(edit_of(r, "t/a", 8)) == *now);
  assert_int_equal(counts_of(r).logs, 3);
  r = reopen(f, r);
  *now += 5;
  assert_true(commit_ms(edit_of(r, "t/a", 9)) == *now);
  assert_int_equal(counts_of(r).logs, 3);
  weft_replica_free(r);
}

static weft_store *copy_of(weft_store *from) {
  weft_store *to = test_memory_store();
  weft_txn *in, *out;
  assert_int_equal(weft_store_begin(from, WEFT_TXN_READ, &in), WEFT_OK);
  assert_int_equal(weft_store_begin(to, WEFT_TXN_WRITE, &out), WEFT_OK);
  for (int t = 0; t < WEFT_TABLE_COUNT; t++) {
    weft_cursor *c;
    weft_entry e;
    assert_int_equal(weft_cursor_open(in, (weft_table)t, &c), WEFT_OK);
    while (weft_cursor_next(c, &e) == WEFT_OK) {
      assert_int_equal(weft_txn_put(out, (weft_table)t, e.key, e.value), WEFT_OK);
    }
    weft_cursor_close(c);
  }
  weft_txn_abort(in);
  assert_int_equal(weft_txn_commit(out), WEFT_OK);
  return to;
}

/* A backup that was put back, and a copy beside the original: neither writes a second change under
 * a number that was used; when they meet, nothing is lost. */
static void test_rolled_back(void **state) {
  test_bed *f = *state;
  weft_replica *r = open_first(f);
  assert_int_equal(test_set(r, "t/a", "/x", "1"), WEFT_OK);
  r = reopen(f, r);
  weft_store *backup = copy_of(f->inner);
  assert_int_equal(test_set(r, "t/a", "/y", "2"), WEFT_OK);
  assert_int_equal(counts_of(r).logs, 1);
  weft_replica *other = test_space_memory(&f->s, 1);
  test_pull(other, r, 9);
  weft_replica_free(r);
  weft_store *lost = f->inner;
  f->inner = backup;
  r = open_first(f);
  assert_int_equal(test_set(r, "t/a", "/z", "3"), WEFT_OK);
  assert_int_equal(counts_of(r).logs, 2);
  assert_doc(r, "t/a", "", "{\"x\":1,\"z\":3}");
  test_pull(other, r, 9);
  test_pull(r, other, 9);
  test_assert_same(r, other);
  assert_doc(r, "t/a", "", "{\"x\":1,\"y\":2,\"z\":3}");
  weft_replica_free(r);
  weft_replica_free(other);
  weft_store_free(lost);
}

/* A store set back to before its device began a second lane: the mirror knows a log that the store
 * has nothing of. */
static void test_set_back_before_a_lane(void **state) {
  test_bed *f = *state;
  weft_edit *e;
  weft_edit_options o;
  weft_commit done;
  weft_value v = {.kind = WEFT_INT, .as.integer = 1};
  weft_replica *r = open_first(f);
  assert_int_equal(test_set(r, "t/a", "/x", "1"), WEFT_OK);
  weft_store *backup = test_store_copy(f->inner), *lost = f->inner;
  weft_edit_options_init(&o);
  o.lane = WEFT_LANE_CRITICAL;
  assert_int_equal(weft_edit_begin(&e, r, &o), WEFT_OK);
  assert_int_equal(weft_edit_set(e, weft_bytes_str("t/a"), weft_bytes_str("/y"), &v), WEFT_OK);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  weft_edit_free(e);
  assert_int_equal(counts_of(r).logs, 2);
  weft_replica_free(r);
  f->inner = backup;
  r = open_first(f);
  assert_int_equal(test_set(r, "t/a", "/z", "3"), WEFT_OK);
  assert_int_equal(counts_of(r).logs, 2);
  assert_doc(r, "t/a", "", "{\"x\":1,\"z\":3}");
  weft_replica_free(r);
  weft_store_free(lost);
}

/* Opening with each allocation failing, with a mirror that fits and with one that tells of more. */
static void test_open_without_memory(void **state) {
  test_bed *f = *state;
  weft_replica *r = open_first(f);
  assert_int_equal(test_set(r, "t/a", "/x", "1"), WEFT_OK);
  weft_store *backup = test_store_copy(f->inner), *whole = f->inner;
  assert_int_equal(test_set(r, "t/a", "/x", "2"), WEFT_OK);
  weft_replica_free(r);
  for (unsigned behind = 0; behind < 2; behind++) {
    weft_err err = WEFT_ENOMEM;
    f->inner = behind ? backup : whole;
    for (size_t k = 1; err == WEFT_ENOMEM; k++) {
      f->allocs.calls = 0;
      f->allocs.fail_at = k;
      err = open_raw(f, &r);
      f->allocs.fail_at = 0;
      if (err != WEFT_OK) assert_int_equal(f->allocs.live, 0);
    }
    assert_int_equal(err, WEFT_OK);
    assert_int_equal(test_set(r, "t/a", "/x", "3"), WEFT_OK);
    assert_int_equal(counts_of(r).logs, 1 + behind);
    weft_replica_free(r);
  }
  f->inner = whole;
  weft_store_free(backup);
}

/* The last moment that a clock can tell: what does not fit any more is refused, and nothing else.
 */
static void test_the_end_of_time(void **state) {
  test_bed *f = *state;
  weft_replica *r = open_first(f);
  f->s.platforms[0].now = UINT64_MAX;
  assert_int_equal(test_set(r, "t/a", "/x", "1"), WEFT_OK);
  r->hlc |= UINT16_MAX;
  assert_int_equal(test_set(r, "t/a", "/x", "2"), WEFT_ELIMIT);
  assert_true(strlen(weft_replica_error(r)) > 0);
  assert_doc(r, "t/a", "", "{\"x\":1}");
  r = reopen(f, r); /* what was shown told of the clock, and the rest of its range is free */
  assert_int_equal(test_set(r, "t/a", "/x", "3"), WEFT_OK);
  assert_doc(r, "t/a", "", "{\"x\":3}");
  weft_replica_free(r);
}

static void test_moved(void **state) {
  test_bed *f = *state;
  weft_replica *r = open_first(f);
  assert_int_equal(test_set(r, "t/a", "/x", "1"), WEFT_OK);
  weft_replica_free(r);
  /* Another machine; then another file; then a folder for mirrors that cannot be made. */
  for (int how = 0; how < 3; how++) {
    weft_replica_options o =
        test_space_options(&f->s, 0, test_fault_store_of(f->inner, &f->faults));
    char nowhere[300];
    snprintf(nowhere, sizeof nowhere, "%s/no/such/folder", f->mirror);
    o.mirror_dir = how < 2 ? f->mirror : nowhere;
    o.machine = weft_bytes_str("elsewhere");
    o.store_ino = how == 0 ? 0 : 77;
    assert_int_equal(weft_replica_open(&r, &o), WEFT_OK);
    assert_int_equal(test_set(r, "t/a", "/x", how == 1 ? "2" : "3"), WEFT_OK);
    assert_int_equal(counts_of(r).logs, 2 + how);
    weft_replica_free(r);
  }
}

static void test_other_space(void **state) {
  test_bed *f = *state;
  weft_replica *r = open_first(f);
  weft_replica_free(r);
  test_space other;
  test_space_make(&other, 1, 99);
  weft_replica_options o = test_space_options(&other, 0, test_fault_store_of(f->inner, &f->faults));
  assert_int_equal(weft_replica_open(&r, &o), WEFT_EFOREIGN);
  weft_store_free(o.store);
  r = test_space_memory(&f->s, 0);
  assert_int_equal(
      weft_replica_add_record(r, weft_bytes_of(other.records[0], other.record_lens[0])),
      WEFT_EFOREIGN);
  assert_int_equal(weft_replica_add_record(r, weft_bytes_str("junk")), WEFT_EMALFORMED);
  weft_replica_free(r);
}

/* --- records and small tables --- */

static void test_records(void **state) {
  test_bed *f = *state;
  weft_replica *r;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_id *ids;
  size_t count;
  weft_bytes record;
  weft__arena_init(&arena, &mem);
  assert_int_equal(open_raw(f, &r), WEFT_OK);
  weft_bytes second = weft_bytes_of(f->s.records[1], f->s.record_lens[1]);
  assert_int_equal(weft_replica_add_record(r, second), WEFT_EGAP);
  test_space_add_records(&f->s, r);
  assert_int_equal(weft_replica_add_record(r, second), WEFT_EEXIST);
  r = reopen(f, r);
  assert_int_equal(weft_replica_records(r, &arena, &ids, &count), WEFT_OK);
  assert_int_equal(count, 3);
  assert_int_equal(weft_id_cmp(&ids[0], &f->s.id), 0);
  assert_int_equal(weft_replica_record(r, &arena, &ids[1], &record), WEFT_OK);
  assert_int_equal(weft_bytes_cmp(record, second), 0);
  ids[1].b[0] ^= 1;
  assert_int_equal(weft_replica_record(r, &arena, &ids[1], &record), WEFT_ENOTFOUND);
  assert_true(weft__roster_member_of(weft_replica_roster(r), &f->s.devices[2].device) != NULL);
  weft__arena_free(&arena);
  weft_replica_free(r);
}

static void test_small_tables(void **state) {
  test_bed *f = *state;
  weft_replica *r = open_first(f);
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_bytes *list;
  weft_known_address *known;
  size_t count;
  weft_id device = f->s.devices[1].device;
  weft__arena_init(&arena, &mem);
  assert_int_equal(weft_replica_put_ack(r, &device, weft_bytes_str("one")), WEFT_OK);
  assert_int_equal(weft_replica_put_ack(r, &device, weft_bytes_str("two")), WEFT_OK);
  assert_int_equal(weft_replica_put_address(r, weft_bytes_str("h:1"), &device), WEFT_OK);
  r = reopen(f, r);
  assert_int_equal(weft_replica_acks(r, &arena, &list, &count), WEFT_OK);
  assert_int_equal(count, 1);
  assert_int_equal(weft_bytes_cmp(list[0], weft_bytes_str("two")), 0);
  assert_int_equal(weft_replica_addresses(r, &arena, &known, &count), WEFT_OK);
  assert_int_equal(count, 1);
  assert_int_equal(weft_bytes_cmp(known[0].text, weft_bytes_str("h:1")), 0);
  assert_int_equal(weft_id_cmp(&known[0].device, &device), 0);
  weft__arena_free(&arena);
  weft_replica_free(r);
}

/* --- two and more --- */

static void test_two_meet(void **state) {
  test_bed *f = *state;
  weft_replica *a = open_first(f);
  weft_replica *b = test_space_memory(&f->s, 1);
  assert_int_equal(test_set(a, "t/a", "", "{\"x\":1,\"y\":1}"), WEFT_OK);
  assert_int_equal(test_pull(b, a, 100), 2);
  assert_doc(b, "t/a", "", "{\"x\":1,\"y\":1}");
  f->s.platforms[1].now += 5;
  assert_int_equal(test_set(a, "t/a", "/x", "2"), WEFT_OK);
  assert_int_equal(test_set(b, "t/a", "/x", "3"), WEFT_OK);
  assert_int_equal(test_set(b, "t/a", "/y", "3"), WEFT_OK);
  assert_int_equal(test_pull(b, a, 100), 1);
  assert_int_equal(test_pull(a, b, 100), 3);
  test_assert_same(a, b);
  assert_doc(a, "t/a", "", "{\"x\":3,\"y\":3}");
  assert_int_equal(counts_of(a).conflicts, 1);
  assert_int_equal(test_set(a, "t/a", "/x", "4"), WEFT_OK);
  assert_int_equal(counts_of(a).conflicts, 0);
  assert_int_equal(test_pull(b, a, 100), 1);
  assert_int_equal(test_pull(b, a, 100), 0);
  test_assert_same(a, b);
  weft_replica_free(a);
  weft_replica_free(b);
}

#define BOTH(test)                                                                                 \
  cmocka_unit_test_setup_teardown(test, test_bed_memory, test_bed_end),                            \
      cmocka_unit_test_setup_teardown(test, test_bed_lmdb, test_bed_end)

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH(test_commits),
      BOTH(test_nothing_to_write),
      BOTH(test_edit_of_many_documents),
      BOTH(test_delete_and_back),
      BOTH(test_edit_calls),
      BOTH(test_stale_and_base),
      BOTH(test_strangers_may_not_write),
      BOTH(test_group),
      BOTH(test_arrivals),
      BOTH(test_group_abort),
      BOTH(test_restart),
      BOTH(test_clock_far_ahead),
      BOTH(test_clock_comes_back),
      BOTH(test_rolled_back),
      cmocka_unit_test_setup_teardown(test_set_back_before_a_lane, test_bed_memory, test_bed_end),
      BOTH(test_open_without_memory),
      BOTH(test_the_end_of_time),
      BOTH(test_moved),
      cmocka_unit_test_setup_teardown(test_set_back_a_little, test_bed_memory, test_bed_end),
      BOTH(test_other_space),
      BOTH(test_records),
      BOTH(test_small_tables),
      BOTH(test_two_meet),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

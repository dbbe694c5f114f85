/* Drafts: what they foresee is what their commit does, what is saved comes back as it was, and the
 * store has either the draft or the change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/json.h"
#include "crdt/limits.h"
#include "store/history.h"
#include "store/replica_internal.h"
#include "tests/support/bed.h"

enum { REPLICAS = 2, ROUNDS = 8, TEXT_LEN = 65536 };

static const char *const docs[] = {"t/one", "t/two", "u/one"};
static const char *const pointers[] = {"/a",   "/b",   "/a/a", "/a/b", "/b/a",
                                       "/a/0", "/a/-", "/b/1", "/c",   ""};
static const char *const values[] = {"1",       "2",          "\"x\"",          "{\"a\":1}",
                                     "[1,2,3]", "{\"b\":[]}", "[{\"id\":1},5]", "{}"};

typedef struct run {
  uint64_t seed;
  test_rng rng;
  test_space s;
  weft_replica *r[REPLICAS];
  weft_arena arena;
  weft_alloc mem;
  size_t conflicts, refused, written, deleted;
} run;

static weft_bytes text(const char *s) { return weft_bytes_str(s); }

static weft_value parse(weft_arena *arena, const char *json) {
  weft_value v;
  assert_int_equal(weft_json_parse(arena, text(json), &v, NULL), WEFT_OK);
  return v;
}

/* Some write into an open edit; what cannot be written there leaves it as it was. */
static void draft_step(run *w, weft_edit *e) {
  weft_bytes doc = text(TEST_PICK(&w->rng, docs));
  weft_bytes pointer = text(TEST_PICK(&w->rng, pointers));
  weft_value v = parse(&w->arena, TEST_PICK(&w->rng, values));
  weft_err err;
  switch (test_rng_below(&w->rng, 8)) {
  case 0: err = weft_edit_unset(e, doc, pointer); break;
  case 1: err = weft_edit_delete(e, doc); break;
  case 2: err = weft_edit_move(e, doc, text("/a"), 0, 1); break;
  case 3: err = weft_edit_undelete(e, doc); break;
  default: err = weft_edit_set(e, doc, pointer, &v); break;
  }
  bool expected =
      err == WEFT_OK || err == WEFT_ENOTFOUND || err == WEFT_EBADPATH || err == WEFT_EBADVALUE;
  if (!expected) test_must(w->seed, err, "a write of a draft");
}

static void commit_step(run *w, size_t i) {
  weft_edit *e;
  weft_commit done;
  w->s.platforms[i].now += test_rng_below(&w->rng, 40);
  test_must(w->seed, weft_edit_begin(&e, w->r[i], NULL), "begin");
  for (size_t k = 1 + test_rng_below(&w->rng, 2); k > 0; k--) draft_step(w, e);
  weft_err err = weft_edit_commit(e, &done);
  if (err != WEFT_ECONFLICT) test_must(w->seed, err, "commit");
  weft_edit_free(e);
}

/* --- what is foreseen is what comes --- */

static bool value_same(const weft_conflict_value *a, const weft_conflict_value *b,
                       const weft_id *made) {
  static const weft_id none = {{0}};
  bool planned = weft_id_cmp(&a->change.change, &none) == 0;
  const weft_id *id = planned ? made : &a->change.change;
  return a->shape == b->shape && a->winner == b->winner &&
         weft_id_cmp(id, &b->change.change) == 0 &&
         (a->shape == WEFT_SHAPE_NONE || weft_value_equal(&a->value, &b->value));
}

static const weft_conflict_entry *conflict_at(const weft_conflict_entry *list, size_t count,
                                              const weft_conflict_entry *like) {
  for (size_t i = 0; i < count; i++) {
    if (weft_bytes_cmp(list[i].doc, like->doc) != 0) continue;
    if (weft_bytes_cmp(list[i].path, like->path) == 0) return &list[i];
  }
  return NULL;
}

static bool has_change(const weft_conflict_entry *entry, const weft_id *change) {
  for (size_t i = 0; i < entry->value_count; i++) {
    if (weft_id_cmp(&entry->values[i].change.change, change) == 0) return true;
  }
  return false;
}

typedef struct listing {
  weft_conflict_entry *at;
  size_t count;
} listing;

static listing list_conflicts(run *w, size_t i) {
  listing l;
  test_must(w->seed, weft_replica_conflicts(w->r[i], &w->arena, text(""), 0, &l.at, &l.count),
            "conflicts");
  return l;
}

static void check_conflicts(run *w, const weft_forecast *f, listing before, listing after,
                            const weft_commit *done) {
  size_t due = 0;
  for (size_t i = 0; i < after.count; i++) {
    const weft_conflict_entry *is = &after.at[i];
    bool stood = conflict_at(before.at, before.count, is) != NULL;
    if (stood && !has_change(is, &done->change)) continue;
    const weft_conflict_entry *foreseen = conflict_at(f->conflicts, f->conflict_count, is);
    due++;
    if (!foreseen) test_must(w->seed, WEFT_ENOTFOUND, "a conflict was not foreseen");
    if (foreseen->kind != is->kind || foreseen->value_count != is->value_count) {
      test_must(w->seed, WEFT_EMISUSE, "a conflict is of another kind");
    }
    assert_int_equal(foreseen->manual, is->manual);
    for (size_t k = 0; k < is->value_count; k++) {
      assert_true(value_same(&foreseen->values[k], &is->values[k], &done->change));
    }
  }
  w->conflicts += due;
  if (due != f->conflict_count)
    test_must(w->seed, WEFT_EMISUSE, "a conflict was foreseen that is none");
}

static void check_docs(run *w, const weft_forecast *f, size_t i) {
  for (size_t k = 0; k < f->doc_count; k++) {
    weft_value v;
    weft_err err = weft_replica_get(w->r[i], &w->arena, f->docs[k].name, text(""), &v);
    assert_int_equal(err, f->docs[k].live ? WEFT_OK : WEFT_ENOTFOUND);
    w->deleted += err == WEFT_ENOTFOUND;
    if (err == WEFT_OK) assert_true(weft_value_equal(&v, &f->docs[k].value));
  }
}

/* --- what is saved comes back --- */

static void check_resumed(run *w, weft_edit *e, weft_edit *again) {
  for (size_t d = 0; d < sizeof docs / sizeof *docs; d++) {
    weft_value a, b;
    weft_err x = weft_edit_preview(e, &w->arena, text(docs[d]), &a);
    weft_err y = weft_edit_preview(again, &w->arena, text(docs[d]), &b);
    assert_int_equal(x, y);
    if (x == WEFT_OK) assert_true(weft_value_equal(&a, &b));
  }
}

static size_t draft_count(run *w, size_t i) {
  weft_draft *list;
  size_t count;
  test_must(w->seed, weft_replica_drafts(w->r[i], &w->arena, &list, &count), "drafts");
  return count;
}

/* A draft is begun, both sides go on, it is saved and resumed, and what it foresees is what its
 * commit does. */
static void round_of(run *w) {
  weft_edit *e, *again;
  weft_commit done;
  weft_forecast f, same;
  size_t i = test_rng_below(&w->rng, REPLICAS);
  test_must(w->seed, weft_edit_begin(&e, w->r[i], NULL), "begin a draft");
  draft_step(w, e);
  for (size_t k = test_rng_below(&w->rng, 4); k > 0; k--) commit_step(w, 1 - i);
  if (test_rng_chance(&w->rng, 30)) commit_step(w, i);
  test_pull(w->r[i], w->r[1 - i], 64);
  for (size_t k = test_rng_below(&w->rng, 4); k > 0; k--) draft_step(w, e);
  test_must(w->seed, weft_edit_save(e, text("mine")), "save");
  test_must(w->seed, weft_edit_resume(&again, w->r[i], text("mine"), NULL), "resume");
  check_resumed(w, e, again);
  draft_step(w, again);
  test_must(w->seed, weft_edit_forecast(again, &w->arena, &f), "forecast");
  test_must(w->seed, weft_edit_forecast(again, &w->arena, &same), "forecast");
  assert_int_equal(f.conflict_count, same.conflict_count);
  listing before = list_conflicts(w, i);
  weft_err err = weft_edit_commit(again, &done);
  if (err != f.refusal && (err != WEFT_OK || done.written))
    test_must(w->seed, err, "not as foreseen");
  assert_int_equal(draft_count(w, i), err == WEFT_OK ? 0 : 1);
  w->refused += err != WEFT_OK;
  if (err == WEFT_OK && done.written) {
    w->written++;
    check_docs(w, &f, i);
    check_conflicts(w, &f, before, list_conflicts(w, i), &done);
  }
  if (err == WEFT_OK) assert_int_equal(weft_edit_forecast(again, &w->arena, &f), WEFT_EMISUSE);
  weft_edit_free(again);
  weft_edit_free(e);
  if (err != WEFT_OK) test_must(w->seed, weft_replica_drop_draft(w->r[i], text("mine")), "drop");
}

static void rule_step(run *w) {
  static const char *const patterns[] = {"", "/a", "/b"};
  weft_commit done;
  weft_strategy_rule rule = {text("t"), text(TEST_PICK(&w->rng, patterns)),
                             (weft_strategy)test_rng_below(&w->rng, 3)};
  size_t i = test_rng_below(&w->rng, REPLICAS);
  test_must(w->seed, weft_replica_set_strategy(w->r[i], &rule, NULL, &done), "a rule");
}

static void test_laws(void **state) {
  (void)state;
  size_t conflicts = 0, refused = 0, written = 0, deleted = 0;
  for (uint64_t seed = 1; seed <= 60; seed++) {
    run w = {.seed = seed, .rng = test_rng_of(seed), .mem = weft_alloc_libc()};
    test_space_make(&w.s, REPLICAS, seed);
    weft__arena_init(&w.arena, &w.mem);
    for (size_t i = 0; i < REPLICAS; i++) w.r[i] = test_space_memory(&w.s, i);
    if (seed % 3 == 0) rule_step(&w);
    for (size_t k = 0; k < ROUNDS; k++) round_of(&w);
    for (size_t i = 0; i < REPLICAS; i++) weft_replica_free(w.r[i]);
    weft__arena_free(&w.arena);
    conflicts += w.conflicts, refused += w.refused, written += w.written, deleted += w.deleted;
  }
  print_message("%zu committed, %zu refused, %zu conflicts foreseen\n", written, refused,
                conflicts);
  assert_true(conflicts > 100 && refused > 20 && written > 150 && deleted > 10);
}

/* --- single cases --- */

static weft_edit *draft_of(weft_replica *r, const char *doc, const char *pointer, int64_t n) {
  weft_edit *e;
  weft_value v = {.kind = WEFT_INT, .as.integer = n};
  assert_int_equal(weft_edit_begin(&e, r, NULL), WEFT_OK);
  assert_int_equal(weft_edit_set(e, text(doc), text(pointer), &v), WEFT_OK);
  return e;
}

static void test_listed(void **state) {
  test_pair *w = *state;
  weft_replica *r = w->r[0];
  weft_draft *list;
  size_t count;
  weft_edit *e;
  weft_edit_options o;
  weft_value v = {.kind = WEFT_INT, .as.integer = 1};
  assert_int_equal(weft_replica_drafts(r, &w->arena, &list, &count), WEFT_OK);
  assert_int_equal(count, 0);
  weft_edit_options_init(&o);
  o.message = text("heavier");
  o.lane = WEFT_LANE_HIGH;
  w->s.platforms[0].now = 5000;
  assert_int_equal(weft_edit_begin(&e, r, &o), WEFT_OK);
  assert_int_equal(weft_edit_set(e, text("t/b"), text("/x"), &v), WEFT_OK);
  assert_int_equal(weft_edit_set(e, text("t/a"), text("/x"), &v), WEFT_OK);
  w->s.platforms[0].now = 7000;
  assert_int_equal(weft_edit_save(e, text("first")), WEFT_OK);
  weft_edit_free(e);
  assert_int_equal(weft_edit_begin(&e, r, NULL), WEFT_OK);
  assert_int_equal(weft_edit_save(e, text("another")), WEFT_OK);
  weft_edit_free(e);
  assert_int_equal(weft_replica_drafts(r, &w->arena, &list, &count), WEFT_OK);
  assert_int_equal(count, 2);
  assert_int_equal(list[0].op_count, 0);
  assert_int_equal(list[0].doc_count, 0);
  assert_int_equal(weft_bytes_cmp(list[0].name, text("another")), 0);
  assert_int_equal(weft_bytes_cmp(list[1].name, text("first")), 0);
  assert_int_equal(weft_bytes_cmp(list[1].message, text("heavier")), 0);
  assert_int_equal(list[1].begun, 5000);
  assert_int_equal(list[1].saved, 7000);
  assert_int_equal(list[1].doc_count, 2);
  assert_int_equal(weft_bytes_cmp(list[1].docs[0], text("t/a")), 0);
  assert_int_equal(list[1].op_count, 4);
  /* Nothing is shown of it, and its lane and message are kept; a new message replaces them. */
  weft_commit done;
  weft_history_entry entry;
  weft_change_state change_state;
  assert_int_equal(weft_replica_get(r, &w->arena, text("t/a"), text(""), &v), WEFT_ENOTFOUND);
  assert_int_equal(weft_edit_resume(&e, r, text("first"), NULL), WEFT_OK);
  weft_edit_free(e);
  o.message = text("lighter");
  assert_int_equal(weft_edit_resume(&e, r, text("first"), &o), WEFT_OK);
  assert_int_equal(weft_edit_save(e, text("renamed")), WEFT_OK);
  assert_int_equal(weft_replica_drop_draft(r, text("first")), WEFT_ENOTFOUND);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  assert_int_equal(weft_edit_save(e, text("renamed")), WEFT_EMISUSE);
  weft_edit_free(e);
  assert_int_equal(
      weft_replica_change(r, &w->arena, weft_bytes_of(done.change.b, 32), &entry, &change_state),
      WEFT_OK);
  assert_int_equal(weft_bytes_cmp(entry.message, text("lighter")), 0);
  /* One without ops goes too. */
  assert_int_equal(weft_edit_resume(&e, r, text("another"), NULL), WEFT_OK);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  assert_false(done.written);
  weft_edit_free(e);
  assert_int_equal(weft_replica_drafts(r, &w->arena, &list, &count), WEFT_OK);
  assert_int_equal(count, 0);
}

static void test_not_there(void **state) {
  test_pair *w = *state;
  weft_replica *r = w->r[0];
  weft_edit *e = draft_of(r, "t/a", "/x", 1), *again;
  char name[70];
  memset(name, 'n', sizeof name);
  const weft_bytes bad[] = {text(""),   text("a b"),  text("a/b"),
                            text("\n"), text("\xff"), weft_bytes_of(name, 65)};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_int_equal(weft_edit_save(e, bad[i]), WEFT_EBADVALUE);
    assert_int_equal(weft_edit_resume(&again, r, bad[i], NULL), WEFT_ENOTFOUND);
    assert_int_equal(weft_replica_drop_draft(r, bad[i]), WEFT_ENOTFOUND);
  }
  assert_int_equal(weft_edit_save(e, weft_bytes_of(name, 64)), WEFT_OK);
  assert_int_equal(weft_edit_resume(&again, r, text("none"), NULL), WEFT_ENOTFOUND);
  assert_null(again);
  assert_int_equal(weft_group_begin(r), WEFT_OK);
  assert_int_equal(weft_edit_save(e, text("grouped")), WEFT_EMISUSE);
  weft_group_abort(r);
  weft_edit_free(e);
  assert_int_equal(weft_replica_drop_draft(r, weft_bytes_of(name, 64)), WEFT_OK);
  for (unsigned i = 0; i <= WEFT_DRAFTS_MAX; i++) {
    snprintf(name, sizeof name, "draft-%u", i);
    e = draft_of(r, "t/a", "/x", i);
    assert_int_equal(weft_edit_save(e, text(name)), i < WEFT_DRAFTS_MAX ? WEFT_OK : WEFT_ELIMIT);
    weft_edit_free(e);
  }
  e = draft_of(r, "t/a", "/x", 5);
  assert_int_equal(weft_edit_save(e, text("draft-0")), WEFT_OK); /* in place of that one */
  weft_edit_free(e);
}

/* The words that a person gets, and what is left of the draft. */
static void test_refused(void **state) {
  test_pair *w = *state;
  weft_forecast f;
  weft_commit done;
  weft_replica *r = w->r[0];
  weft_strategy_rule rule = {text("t"), text(""), WEFT_STRATEGY_MANUAL};
  assert_int_equal(test_set(r, "t/a", "/x", "0"), WEFT_OK);
  test_pull(w->r[1], r, 64);
  assert_int_equal(test_set(w->r[1], "t/a", "/x", "2"), WEFT_OK);
  weft_edit *e = draft_of(r, "t/a", "/x", 3);
  assert_int_equal(weft_edit_save(e, text("d")), WEFT_OK);
  assert_int_equal(test_set(r, "t/a", "/y", "1"), WEFT_OK);
  assert_int_equal(weft_edit_forecast(e, &w->arena, &f), WEFT_OK);
  assert_int_equal(f.refusal, WEFT_OK);
  assert_int_equal(f.conflict_count, 0);
  /* Another's value makes it a conflict, and shows its winner. */
  test_pull(r, w->r[1], 64);
  assert_int_equal(weft_edit_forecast(e, &w->arena, &f), WEFT_OK);
  assert_int_equal(f.refusal, WEFT_OK);
  assert_int_equal(f.conflict_count, 1);
  assert_int_equal(f.conflicts[0].value_count, 2);
  assert_int_equal(f.conflicts[0].values[0].change.seq, 0);
  assert_memory_equal(&f.conflicts[0].values[0].change.device, &w->s.devices[0].device, 32);
  assert_int_equal(f.doc_count, 1);
  /* A rule that comes later cannot refuse what stands in no conflict yet. */
  assert_int_equal(weft_replica_set_strategy(w->r[1], &rule, NULL, &done), WEFT_OK);
  test_pull(r, w->r[1], 64);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  weft_edit_free(e);
  weft_conflict_entry *list;
  size_t count;
  assert_int_equal(weft_replica_conflicts(r, &w->arena, text(""), 0, &list, &count), WEFT_OK);
  assert_int_equal(count, 1);
  assert_true(list[0].manual);
  /* What is refused stays a draft; taking the change back ends the conflict. */
  e = draft_of(r, "t/a", "/x", 9);
  assert_int_equal(weft_edit_save(e, text("d")), WEFT_OK);
  assert_int_equal(weft_edit_forecast(e, &w->arena, &f), WEFT_OK);
  assert_int_equal(f.refusal, WEFT_ECONFLICT);
  weft_commit refused;
  assert_int_equal(weft_edit_commit(e, &refused), WEFT_ECONFLICT);
  weft_edit_free(e);
  assert_int_equal(weft_edit_resume(&e, r, text("d"), NULL), WEFT_OK);
  weft_edit_free(e);
  weft_revert_item *items;
  const weft_id made = done.change;
  weft_err err = weft_replica_revert(r, &w->arena, &made, NULL, &items, &count, &done);
  assert_int_equal(err, WEFT_OK); /* the other value stands beside it, so nothing is written */
  assert_false(done.written);
  assert_int_equal(
      weft_replica_set_strategy(r, &(weft_strategy_rule){text("t"), text(""), WEFT_STRATEGY_FIELD},
                                NULL, &refused),
      WEFT_OK);
  assert_int_equal(weft_replica_conflicts(r, &w->arena, text(""), 0, &list, &count), WEFT_OK);
  assert_int_equal(count, 1);
  const weft_id mine = list[0].values[0].change.change;
  assert_int_equal(weft_replica_revert(r, &w->arena, &mine, NULL, &items, &count, &done), WEFT_OK);
  assert_int_equal(count, 1);
  assert_int_equal(items[0].outcome, WEFT_REVERT_CHANGED); /* the other value stands beside it */
}

static weft_bytes row_of(weft_store *store, const char *name, weft_arena *arena) {
  weft_txn *txn;
  weft_bytes row;
  assert_int_equal(weft_store_begin(store, WEFT_TXN_READ, &txn), WEFT_OK);
  assert_int_equal(weft_txn_get(txn, WEFT_TABLE_DRAFT, text(name), &row), WEFT_OK);
  assert_int_equal(weft__arena_copy(arena, row, &row), WEFT_OK);
  weft_txn_abort(txn);
  return row;
}

static void row_put(weft_store *store, const char *name, weft_bytes row) {
  weft_txn *txn;
  assert_int_equal(weft_store_begin(store, WEFT_TXN_WRITE, &txn), WEFT_OK);
  assert_int_equal(weft_txn_put(txn, WEFT_TABLE_DRAFT, text(name), row), WEFT_OK);
  assert_int_equal(weft_txn_commit(txn), WEFT_OK);
}

/* Every byte of a row counts, and a base that is not here is told. */
static void test_damage(void **state) {
  test_pair *w = *state;
  weft_draft *list;
  size_t count;
  weft_edit *e;
  assert_int_equal(test_set(w->r[0], "t/a", "/x", "1"), WEFT_OK);
  e = draft_of(w->r[0], "t/a", "/x", 2);
  assert_int_equal(weft_edit_save(e, text("d")), WEFT_OK);
  weft_edit_free(e);
  weft_bytes row = row_of(w->r[0]->store, "d", &w->arena);
  row_put(w->r[1]->store, "d", row); /* which has not seen that change */
  assert_int_equal(weft_edit_resume(&e, w->r[1], text("d"), NULL), WEFT_EBASE);
  assert_int_equal(weft_replica_drafts(w->r[1], &w->arena, &list, &count), WEFT_OK);
  assert_int_equal(count, 1);
  for (size_t i = 0; i < row.len; i++) {
    ((uint8_t *)(uintptr_t)row.at)[i] ^= 1;
    row_put(w->r[0]->store, "d", row);
    ((uint8_t *)(uintptr_t)row.at)[i] ^= 1;
    assert_int_equal(weft_edit_resume(&e, w->r[0], text("d"), NULL), WEFT_ECORRUPT);
    assert_int_equal(weft_replica_drafts(w->r[0], &w->arena, &list, &count), WEFT_ECORRUPT);
    assert_int_equal(count, 0);
    weft_verify_report report;
    if (i > 0) continue;
    assert_int_equal(weft_replica_verify(w->r[0], NULL, NULL, &report), WEFT_ECORRUPT);
    assert_non_null(strstr(report.first, "draft"));
  }
  /* Well sealed, and nonsense. */
  for (size_t len = 0; len + WEFT_ROW_CHECK_LEN < row.len; len++) {
    weft_buf b;
    weft__buf_init(&b, &w->mem, SIZE_MAX);
    weft__buf_put(&b, weft_bytes_of(row.at, len));
    weft__row_seal(w->r[0], &b);
    row_put(w->r[0]->store, "d", weft__buf_view(&b));
    weft__buf_free(&b);
    assert_int_equal(weft_edit_resume(&e, w->r[0], text("d"), NULL), WEFT_ECORRUPT);
  }
  assert_int_equal(weft_replica_drop_draft(w->r[0], text("d")), WEFT_OK);
  assert_int_equal(weft_replica_drop_draft(w->r[0], text("d")), WEFT_ENOTFOUND);
}

/* A draft that settles a conflict under the strategy manual still does after it was saved. */
static void test_settles(void **state) {
  test_pair *w = *state;
  weft_replica *r = w->r[0];
  weft_conflict_entry *list;
  weft_strategy_rule rule = {text("t"), text(""), WEFT_STRATEGY_MANUAL};
  weft_commit done;
  weft_edit *e;
  size_t count;
  assert_int_equal(weft_replica_set_strategy(r, &rule, NULL, &done), WEFT_OK);
  assert_int_equal(test_set(r, "t/a", "/x", "1"), WEFT_OK);
  assert_int_equal(test_set(w->r[1], "t/a", "/x", "2"), WEFT_OK);
  test_pull(r, w->r[1], 64);
  assert_int_equal(weft_replica_conflicts(r, &w->arena, text(""), 0, &list, &count), WEFT_OK);
  assert_int_equal(count, 1);
  assert_int_equal(weft_edit_begin(&e, r, NULL), WEFT_OK);
  assert_int_equal(weft_edit_keep(e, &list[0], &list[0].values[1]), WEFT_OK);
  assert_int_equal(weft_edit_save(e, text("d")), WEFT_OK);
  weft_edit_free(e);
  assert_int_equal(weft_edit_resume(&e, r, text("d"), NULL), WEFT_OK);
  weft_forecast f;
  assert_int_equal(weft_edit_forecast(e, &w->arena, &f), WEFT_OK);
  assert_int_equal(f.refusal, WEFT_OK);
  assert_int_equal(f.conflict_count, 0);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  weft_edit_free(e);
  assert_int_equal(weft_replica_conflicts(r, &w->arena, text(""), 0, &list, &count), WEFT_OK);
  assert_int_equal(count, 0);
}

/* It outlives the process, and the edit that was open in it. */
static void test_reopened(void **state) {
  (void)state;
  test_space s;
  test_temp temp = test_temp_make();
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_draft *list;
  size_t count;
  weft_edit *e;
  weft_value v;
  weft_commit done;
  test_space_make(&s, 1, 5);
  weft__arena_init(&arena, &mem);
  weft_replica *r = test_space_open(&s, 0, test_lmdb_store(&temp));
  assert_int_equal(test_set(r, "t/a", "/x", "[1,2]"), WEFT_OK);
  e = draft_of(r, "t/a", "/x/-", 3);
  assert_int_equal(weft_edit_save(e, text("d")), WEFT_OK);
  assert_int_equal(test_set(r, "t/a", "/y", "1"), WEFT_OK);
  weft_replica_free(r); /* the open edit with it */
  r = test_space_open(&s, 0, test_lmdb_store(&temp));
  assert_int_equal(weft_replica_drafts(r, &arena, &list, &count), WEFT_OK);
  assert_int_equal(count, 1);
  assert_int_equal(weft_edit_resume(&e, r, text("d"), NULL), WEFT_OK);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  weft_edit_free(e);
  assert_int_equal(weft_replica_get(r, &arena, text("t/a"), text("/x/2"), &v), WEFT_OK);
  assert_int_equal(weft_replica_drafts(r, &arena, &list, &count), WEFT_OK);
  assert_int_equal(count, 0);
  weft_replica_free(r);
  weft__arena_free(&arena);
  test_temp_remove(&temp);
}

/* --- memory --- */

typedef weft_err (*hungry)(weft_replica *r, weft_arena *arena);

static weft_err hungry_save(weft_replica *r, weft_arena *arena) {
  (void)arena;
  weft_edit *e;
  weft_value v = {.kind = WEFT_INT, .as.integer = 7};
  WEFT_TRY(weft_edit_begin(&e, r, NULL));
  weft_err err = weft_edit_set(e, text("t/one"), text("/b"), &v);
  if (err == WEFT_OK) err = weft_edit_save(e, text("other"));
  weft_edit_free(e);
  return err;
}

static weft_err hungry_resume(weft_replica *r, weft_arena *arena) {
  (void)arena;
  weft_edit *e;
  weft_commit done;
  weft_err err = weft_edit_resume(&e, r, text("d"), NULL);
  if (err == WEFT_OK) err = weft_edit_commit(e, &done);
  weft_edit_free(e);
  return err;
}

static weft_err hungry_forecast(weft_replica *r, weft_arena *arena) {
  weft_edit *e;
  weft_forecast f;
  weft_err err = weft_edit_resume(&e, r, text("d"), NULL);
  if (err == WEFT_OK) err = weft_edit_forecast(e, arena, &f);
  weft_edit_free(e);
  return err;
}

static weft_err hungry_list(weft_replica *r, weft_arena *arena) {
  weft_draft *list;
  size_t count;
  return weft_replica_drafts(r, arena, &list, &count);
}

static void test_memory(void **state) {
  (void)state;
  static const hungry calls[] = {hungry_save, hungry_resume, hungry_forecast, hungry_list};
  for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
    weft_err err = WEFT_ENOMEM;
    for (size_t k = 1; err == WEFT_ENOMEM; k++) {
      test_fault_alloc f = {0};
      test_space s;
      weft_replica *r, *other;
      weft_arena arena;
      test_space_make(&s, 2, 3);
      weft_replica_options o = test_space_options(&s, 0, test_memory_store());
      o.mem = test_fault_alloc_of(&f);
      assert_int_equal(weft_replica_open(&r, &o), WEFT_OK);
      test_space_add_records(&s, r);
      other = test_space_memory(&s, 1);
      assert_int_equal(test_set(r, "t/one", "/a", "[1,2,{\"b\":[]}]"), WEFT_OK);
      weft_edit *e = draft_of(r, "t/one", "/c", 1);
      assert_int_equal(weft_edit_save(e, text("d")), WEFT_OK);
      weft_edit_free(e);
      assert_int_equal(test_set(other, "t/one", "/c", "2"), WEFT_OK);
      test_pull(r, other, 64);
      weft__arena_init(&arena, &o.mem);
      f.fail_at = f.calls + k;
      err = calls[c](r, &arena);
      bool hit = f.calls >= f.fail_at;
      f.fail_at = 0;
      assert_int_equal(err, hit ? WEFT_ENOMEM : WEFT_OK);
      weft__arena_free(&arena);
      weft_replica_free(r);
      weft_replica_free(other);
      assert_int_equal(f.live, 0);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_listed, test_pair_begin, test_pair_end),
      cmocka_unit_test_setup_teardown(test_not_there, test_pair_begin, test_pair_end),
      cmocka_unit_test_setup_teardown(test_refused, test_pair_begin, test_pair_end),
      cmocka_unit_test_setup_teardown(test_damage, test_pair_begin, test_pair_end),
      cmocka_unit_test_setup_teardown(test_settles, test_pair_begin, test_pair_end),
      cmocka_unit_test(test_reopened),
      cmocka_unit_test(test_memory),
      cmocka_unit_test(test_laws),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

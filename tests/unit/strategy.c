/* Strategies: what is listed and counted follows the rules, whatever comes when; manual refuses
 * plain writes; nothing that is stored changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/json.h"
#include "store/history.h"
#include "store/replica_internal.h"
#include "tests/support/bed.h"
#include "tests/support/pace.h"

enum { REPLICAS = 3, STORES = 4, STEPS = 60, FORK_AT = 20 };

static const char *const docs[] = {"t/one", "t/two", "t/sub/one", "u/one"};
static const char *const collections[] = {"t", "t/sub", "u", "v"};
static const char *const patterns[] = {"", "/a", "/b", "/a/*", "/*/a", "/*"};

typedef struct run {
  uint64_t seed;
  test_rng rng;
  test_space s;
  weft_replica *r[STORES];
  size_t count; /* of them: the fourth is a copy of the first, and goes on as the same device */
  weft_arena arena;
  weft_alloc mem;
  size_t hidden, manual, refused, forks;
} run;

static weft_bytes text(const char *s) { return weft_bytes_str(s); }

static void edit_step(run *w, size_t i) {
  static const char *const pointers[] = {"/a", "/b", "/a/a", "/a/b", "/b/a", "/c"};
  static const char *const values[] = {"1", "2", "{\"a\":1}", "{\"b\":{\"a\":2}}", "[1,2]"};
  w->s.platforms[i % REPLICAS].now += test_rng_below(&w->rng, 50);
  bool unset = test_rng_chance(&w->rng, 15);
  weft_err err = test_set(w->r[i], TEST_PICK(&w->rng, docs), TEST_PICK(&w->rng, pointers),
                          unset ? NULL : TEST_PICK(&w->rng, values));
  w->refused += err == WEFT_ECONFLICT;
  bool expected = err == WEFT_OK || err == WEFT_ECONFLICT || err == WEFT_EBADPATH ||
                  (unset && err == WEFT_ENOTFOUND);
  if (!expected) test_must(w->seed, err, "set");
}

static void rule_step(run *w, size_t i) {
  weft_commit done;
  weft_strategy_rule rule = {text(TEST_PICK(&w->rng, collections)),
                             text(TEST_PICK(&w->rng, patterns)),
                             (weft_strategy)test_rng_below(&w->rng, 3)};
  if (test_rng_chance(&w->rng, 20)) {
    weft_err err = weft_replica_drop_strategy(w->r[i], rule.collection, rule.pattern, NULL, &done);
    if (err != WEFT_ENOTFOUND) test_must(w->seed, err, "drop");
  } else {
    test_must(w->seed, weft_replica_set_strategy(w->r[i], &rule, NULL, &done), "rule");
  }
}

/* --- the rules, said once more --- */

static bool plain_in(weft_bytes doc, weft_bytes collection) {
  return doc.len > collection.len && memcmp(doc.at, collection.at, collection.len) == 0 &&
         doc.at[collection.len] == '/';
}

static bool plain_match(run *w, weft_bytes pattern, weft_path path) {
  weft_bytes *tokens;
  size_t count, at = 0;
  weft_step step;
  test_must(w->seed, weft_pointer_split(&w->arena, pattern, &tokens, &count), "pattern");
  for (size_t i = 0; i < count; i++) {
    if (!weft_path_next(path, &at, &step)) return false;
    if (weft_bytes_cmp(tokens[i], text("*")) == 0) continue;
    if (step.element || weft_bytes_cmp(tokens[i], step.name) != 0) return false;
  }
  return true;
}

/* True when rule `a` is the stronger one. */
static bool plain_stronger(const weft_strategy_rule *a, const weft_strategy_rule *b) {
  if (a->collection.len != b->collection.len) return a->collection.len > b->collection.len;
  if (a->pattern.len != b->pattern.len) return a->pattern.len > b->pattern.len;
  return weft_bytes_cmp(a->pattern, b->pattern) < 0;
}

static weft_strategy plain_strategy(run *w, const weft_strategy_rule *rules, size_t count,
                                    weft_bytes doc, weft_path path) {
  const weft_strategy_rule *best = NULL;
  if (memcmp(doc.at, "weft/", 5) == 0) return WEFT_STRATEGY_FIELD;
  for (size_t i = 0; i < count; i++) {
    if (!plain_in(doc, rules[i].collection) || !plain_match(w, rules[i].pattern, path)) continue;
    if (!best || plain_stronger(&rules[i], best)) best = &rules[i];
  }
  return best ? best->strategy : WEFT_STRATEGY_FIELD;
}

/* Reads the rules from their documents, as anybody can. */
static size_t plain_rules(run *w, weft_replica *r, weft_strategy_rule *rules) {
  static const char *const names[] = {"field", "lww", "manual"};
  size_t n = 0;
  for (size_t c = 0; c < 4; c++) {
    char name[64];
    weft_value v;
    snprintf(name, sizeof name, "weft/strategies/%s", collections[c]);
    if (weft_replica_get(r, &w->arena, text(name), text(""), &v) != WEFT_OK) continue;
    weft_bytes kept;
    test_must(w->seed, weft__arena_copy(&w->arena, text(collections[c]), &kept), "copy");
    for (size_t i = 0; i < v.as.object.count; i++) {
      const weft_member *m = &v.as.object.at[i];
      for (int s = 0; s < 3; s++) {
        if (weft_bytes_cmp(m->value.as.bytes, text(names[s])) != 0) continue;
        rules[n++] = (weft_strategy_rule){kept, m->key, (weft_strategy)s};
      }
    }
  }
  return n;
}

/* Every count equals a full scan. */
static void check_counts(run *w, weft_replica *r) {
  weft_strategy_rule rules[32];
  weft_counts counts;
  weft_txn *txn;
  uint64_t total = 0, unresolved = 0;
  weft__arena_reset(&w->arena);
  size_t rule_count = plain_rules(w, r, rules);
  test_must(w->seed, weft_replica_counts(r, &counts), "counts");
  test_must(w->seed, weft__read_begin(r, &txn), "read");
  for (uint32_t n = 0; n < r->now.doc_next; n++) {
    weft_doc_record record;
    weft_doc *doc;
    weft_conflict *list;
    size_t count;
    uint64_t listed = 0, hidden = 0, manual = 0;
    if (weft__doc_record_read(r, txn, n, &w->arena, &record) == WEFT_ENOTFOUND) continue;
    test_must(w->seed, weft__doc_load(r, txn, n, &doc), "load");
    test_must(w->seed, weft__doc_conflicts(doc, text(""), &w->arena, &list, &count), "conflicts");
    for (size_t i = 0; i < count; i++) {
      weft_strategy s = plain_strategy(w, rules, rule_count, record.name, list[i].path);
      hidden += s == WEFT_STRATEGY_LWW;
      manual += s == WEFT_STRATEGY_MANUAL;
      listed += s != WEFT_STRATEGY_LWW;
    }
    if (record.conflicts != listed || record.hidden != hidden || record.manual != manual) {
      print_error("seed=%llu %.*s: %llu %llu %llu of %zu\n", (unsigned long long)w->seed,
                  (int)record.name.len, (const char *)record.name.at,
                  (unsigned long long)record.conflicts, (unsigned long long)record.hidden,
                  (unsigned long long)record.manual, count);
    }
    assert_int_equal(record.conflicts, listed);
    assert_int_equal(record.hidden, hidden);
    assert_int_equal(record.manual, manual);
    total += listed;
    unresolved += manual > 0;
    w->hidden += hidden;
    w->manual += manual;
    weft__doc_free(doc);
  }
  weft__read_end(r, txn);
  assert_int_equal(counts.conflicts, total);
  assert_int_equal(counts.unresolved, unresolved);
  weft_conflict_entry *entries;
  size_t count;
  test_must(w->seed, weft_replica_conflicts(r, &w->arena, text(""), 0, &entries, &count), "list");
  assert_int_equal(count, total);
}

static void settle(run *w) {
  for (int round = 0; round < 2; round++) {
    for (size_t i = 0; i < w->count; i++) {
      for (size_t k = 0; k < w->count; k++) {
        if (i != k) test_pull(w->r[i], w->r[k], 7);
      }
    }
  }
}

/* A perfect copy of the first store, which nothing tells that there are two. */
static void fork_off(run *w) {
  weft_replica *from = w->r[0];
  weft_replica *r = test_space_open(&w->s, 0, test_store_copy(from->store));
  memcpy(r->incarnation, from->incarnation, sizeof r->incarnation);
  r->incarnation_new = from->incarnation_new;
  w->r[w->count++] = r;
}

static void step(run *w) {
  size_t i = test_rng_below(&w->rng, w->count), k = test_rng_below(&w->rng, w->count);
  uint64_t what = test_rng_below(&w->rng, 100);
  if (what < 60) {
    edit_step(w, i);
  } else if (what < 70) {
    rule_step(w, i);
  } else if (what < 74) { /* a group that is lost takes its rules with it */
    test_must(w->seed, weft_group_begin(w->r[i]), "group");
    rule_step(w, i);
    edit_step(w, i);
    if (test_rng_chance(&w->rng, 50)) {
      weft_group_abort(w->r[i]);
    } else {
      weft_err err = weft_group_end(w->r[i]);
      if (err != WEFT_ECONFLICT) test_must(w->seed, err, "group end");
    }
    check_counts(w, w->r[i]);
  } else if (i != k) {
    test_pull(w->r[i], w->r[k], 5);
    check_counts(w, w->r[i]);
  }
}

static void test_counts(void **state) {
  (void)state;
  uint64_t seeds = test_number("WEFT_STRATEGY_SEEDS", 60);
  size_t hidden = 0, manual = 0, refused = 0, forked = 0;
  for (uint64_t seed = 1; seed <= seeds; seed++) {
    run w;
    memset(&w, 0, sizeof w);
    w.seed = seed;
    w.rng = test_rng_of(seed);
    w.mem = weft_alloc_libc();
    test_space_make(&w.s, REPLICAS, seed);
    weft__arena_init(&w.arena, &w.mem);
    for (size_t i = 0; i < REPLICAS; i++) w.r[i] = test_space_memory(&w.s, i);
    w.count = REPLICAS;
    for (int i = 0; i < STEPS; i++) {
      if (i == FORK_AT && seed % 3 == 0) fork_off(&w);
      step(&w);
    }
    settle(&w);
    weft_fork *forks;
    test_must(w.seed, weft_replica_forks(w.r[0], &w.arena, &forks, &w.forks), "forks");
    forked += w.forks > 0;
    for (size_t i = 0; i < w.count; i++) {
      weft_verify_report report;
      check_counts(&w, w.r[i]);
      if (i > 0) test_assert_same(w.r[0], w.r[i]);
      test_must(w.seed, weft_replica_verify(w.r[i], NULL, NULL, &report), "verify");
    }
    weft_verify_report report;
    test_must(w.seed, weft_replica_repair(w.r[0], NULL, NULL, &report), "repair");
    check_counts(&w, w.r[0]);
    test_assert_same(w.r[0], w.r[1]);
    hidden += w.hidden, manual += w.manual, refused += w.refused;
    for (size_t i = 0; i < w.count; i++) weft_replica_free(w.r[i]);
    weft__arena_free(&w.arena);
  }
  print_message("%zu hidden, %zu manual, %zu writes refused, %zu worlds forked\n", hidden, manual,
                refused, forked);
  assert_true(hidden > seeds && manual > seeds && refused > seeds / 6 && forked > seeds / 5);
}

/* --- single cases --- */

static weft_err set(test_pair *w, size_t i, const char *pointer, const char *json) {
  w->s.platforms[i].now += 10;
  return test_set(w->r[i], "t/one", pointer, json);
}

static weft_err rule(test_pair *w, const char *collection, const char *pattern, weft_strategy s) {
  weft_commit done;
  weft_strategy_rule r = {text(collection), text(pattern), s};
  return weft_replica_set_strategy(w->r[0], &r, NULL, &done);
}

static weft_conflict_entry *conflicts(test_pair *w, size_t i, size_t *count) {
  weft_conflict_entry *list;
  assert_int_equal(weft_replica_conflicts(w->r[i], &w->arena, text("t/one"), 0, &list, count),
                   WEFT_OK);
  return list;
}

static void test_manual(void **state) {
  test_pair *w = *state;
  size_t count;
  weft_edit *e;
  weft_commit done;
  weft_vector before;
  weft_value v;
  assert_int_equal(rule(w, "t", "/a", WEFT_STRATEGY_MANUAL), WEFT_OK);
  assert_int_equal(set(w, 0, "/a", "{\"x\":0,\"y\":0}"), WEFT_OK);
  test_pair_meet(w);
  weft__vector_init(&before, &w->mem);
  assert_int_equal(weft__vector_copy(&before, weft_replica_shown(w->r[0])), WEFT_OK);
  assert_int_equal(set(w, 0, "/a/x", "1"), WEFT_OK);
  assert_int_equal(set(w, 1, "/a/x", "2"), WEFT_OK);
  test_pair_meet(w);
  assert_true(conflicts(w, 0, &count)->manual);
  assert_int_equal(count, 1);
  /* At, above and below; and not beside. */
  assert_int_equal(set(w, 0, "/a/x", "3"), WEFT_ECONFLICT);
  assert_int_equal(set(w, 0, "/a", "3"), WEFT_ECONFLICT);
  assert_int_equal(set(w, 0, "/a/x", "{\"z\":1}"), WEFT_ECONFLICT);
  assert_int_equal(set(w, 0, "", "{}"), WEFT_ECONFLICT);
  assert_int_equal(set(w, 0, "/a/y", "1"), WEFT_OK);
  assert_int_equal(set(w, 0, "/b", "1"), WEFT_OK);
  /* An import that leaves it alone passes; one that does not, not. */
  assert_int_equal(weft_json_parse(&w->arena, text("{\"c\":1}"), &v, NULL), WEFT_OK);
  assert_int_equal(weft_edit_begin(&e, w->r[0], NULL), WEFT_OK);
  assert_int_equal(weft_edit_import(e, text("t/one"), &v, true), WEFT_OK);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  weft_edit_free(e);
  assert_int_equal(weft_edit_begin(&e, w->r[0], NULL), WEFT_OK);
  assert_int_equal(weft_edit_import(e, text("t/one"), &v, false), WEFT_OK);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_ECONFLICT);
  assert_string_equal(weft_replica_error(w->r[0]), "a conflict stands there");
  weft_edit_free(e);
  /* An older base does not help, and history is no way round. */
  weft_edit_options o;
  weft_edit_options_init(&o);
  o.base = &before;
  assert_int_equal(weft_edit_begin(&e, w->r[1], &o), WEFT_OK);
  v = (weft_value){.kind = WEFT_INT, .as.integer = 9};
  assert_int_equal(weft_edit_set(e, text("t/one"), text("/a/x"), &v), WEFT_OK);
  weft_err err = weft_edit_commit(e, &done);
  assert_true(err == WEFT_ESTALE || err == WEFT_ECONFLICT);
  weft_edit_free(e);
  assert_int_equal(
      weft_replica_restore(w->r[0], text("t/one"), text(""), &before, NULL, NULL, &done),
      WEFT_ECONFLICT);
  /* Resolving is the way. */
  weft_conflict_entry *list = conflicts(w, 0, &count);
  assert_int_equal(weft_edit_begin(&e, w->r[0], NULL), WEFT_OK);
  assert_int_equal(weft_edit_keep(e, list, weft_conflict_pick(w->r[0], list, WEFT_RULE_MAX)),
                   WEFT_OK);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  weft_edit_free(e);
  conflicts(w, 0, &count);
  assert_int_equal(count, 0);
  assert_int_equal(set(w, 0, "/a/x", "3"), WEFT_OK);
  weft__vector_free(&before);
}

/* A strategy changes what is reported and nothing else. */
static void test_lww(void **state) {
  test_pair *w = *state;
  size_t count;
  weft_counts counts;
  assert_int_equal(set(w, 0, "/a", "1"), WEFT_OK);
  test_pair_meet(w);
  assert_int_equal(set(w, 0, "/a", "2"), WEFT_OK);
  assert_int_equal(set(w, 1, "/a", "3"), WEFT_OK);
  test_pair_meet(w);
  conflicts(w, 0, &count);
  assert_int_equal(count, 1);
  assert_int_equal(rule(w, "t", "", WEFT_STRATEGY_LWW), WEFT_OK);
  conflicts(w, 0, &count);
  assert_int_equal(count, 0);
  assert_int_equal(weft_replica_counts(w->r[0], &counts), WEFT_OK);
  assert_int_equal(counts.conflicts, 0);
  assert_int_equal(rule(w, "t", "/a", WEFT_STRATEGY_FIELD), WEFT_OK);
  conflicts(w, 0, &count);
  assert_int_equal(count, 1);
  test_pair_meet(w);
  conflicts(w, 1, &count);
  assert_int_equal(count, 1);
  weft_strategy s;
  weft_path root = {NULL, 0};
  assert_int_equal(weft_replica_strategy_of(w->r[1], text("t/one"), root, &s), WEFT_OK);
  assert_int_equal(s, WEFT_STRATEGY_LWW);
}

static void test_refused(void **state) {
  test_pair *w = *state;
  weft_commit done;
  weft_strategy_rule *rules;
  size_t count;
  char longest[300];
  memset(longest, 'c', sizeof longest);
  longest[240] = 0;
  assert_int_equal(rule(w, longest, "", WEFT_STRATEGY_LWW), WEFT_EBADNAME);
  longest[239] = 0;
  assert_int_equal(rule(w, longest, "", WEFT_STRATEGY_LWW), WEFT_OK);
  memset(longest, '/', 1);
  memset(longest + 1, 'c', sizeof longest - 1);
  longest[256] = 0;
  assert_int_equal(rule(w, "t", longest, WEFT_STRATEGY_LWW), WEFT_EBADPATH);
  assert_int_equal(rule(w, "t", "a", WEFT_STRATEGY_LWW), WEFT_EBADPATH);
  assert_int_equal(rule(w, "", "", WEFT_STRATEGY_LWW), WEFT_EBADNAME);
  assert_int_equal(rule(w, "a//b", "", WEFT_STRATEGY_LWW), WEFT_EBADNAME);
  assert_int_equal(rule(w, "weft", "", WEFT_STRATEGY_LWW), WEFT_EBADNAME);
  assert_int_equal(rule(w, "weft/tags", "", WEFT_STRATEGY_LWW), WEFT_EBADNAME);
  assert_int_equal(rule(w, "t", "", (weft_strategy)7), WEFT_EMISUSE);
  assert_int_equal(weft_replica_drop_strategy(w->r[0], text("t"), text(""), NULL, &done),
                   WEFT_ENOTFOUND);
  /* What is no rule is passed over. */
  assert_int_equal(test_set(w->r[0], "weft/strategies/t", "/~1a", "\"sometimes\""), WEFT_OK);
  assert_int_equal(test_set(w->r[0], "weft/strategies/t", "/~1b", "1"), WEFT_OK);
  assert_int_equal(test_set(w->r[0], "weft/strategies/t", "/b", "\"lww\""), WEFT_OK);
  assert_int_equal(weft_replica_strategies(w->r[0], &w->arena, &rules, &count), WEFT_OK);
  assert_int_equal(count, 1);
  assert_int_equal(rules[0].collection.len, 239);
}

/* What lies below a contested place, or above it, is minded like the place itself. */
static void writes_around_a_conflict_are_minded(void **state) {
  (void)state;
  test_space s;
  weft_commit out;
  weft_strategy_rule rule = {.collection = text("t"), .strategy = WEFT_STRATEGY_MANUAL};
  test_space_make(&s, 2, 1);
  weft_replica *a = test_space_memory(&s, 0), *b = test_space_memory(&s, 1);
  assert_int_equal(test_set(a, "t/x", "/o", "{\"k\":1}"), WEFT_OK);
  (void)test_pull(b, a, 8);
  assert_int_equal(test_set(a, "t/x", "/o", NULL), WEFT_OK);
  assert_int_equal(test_set(b, "t/x", "/o/k", "2"), WEFT_OK);
  (void)test_pull(a, b, 8);
  assert_int_equal(weft_replica_set_strategy(a, &rule, NULL, &out), WEFT_OK);
  assert_int_equal(test_set(a, "t/x", "/o/j", "1"), WEFT_ECONFLICT);
  assert_int_equal(test_set(a, "t/x", "/o", NULL), WEFT_ECONFLICT);
  assert_int_equal(test_set(a, "t/x", "", NULL), WEFT_ECONFLICT);
  assert_int_equal(test_set(a, "t/x", "/p", "1"), WEFT_OK);
  weft_replica_free(a);
  weft_replica_free(b);
  test_space_free(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_manual, test_pair_begin, test_pair_end),
      cmocka_unit_test_setup_teardown(test_lww, test_pair_begin, test_pair_end),
      cmocka_unit_test_setup_teardown(test_refused, test_pair_begin, test_pair_end),
      cmocka_unit_test(test_counts),
      cmocka_unit_test(writes_around_a_conflict_are_minded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

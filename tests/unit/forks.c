/* Logs that fork: stores cloned and set back while they run, members who say one thing here and
 * another there, handed on in any order.  Whoever holds the same shows the same, nothing is lost,
 * nothing honest waits for ever, and no device signs two changes for one place of a log once it
 * could know.
 *
 * A copy here is a perfect one, incarnation included: what the mirror is there to notice is not
 * noticed, so that logs fork as badly as they can. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/json.h"
#include "store/replica_internal.h"
#include "tests/support/fault_store.h"
#include "tests/support/pace.h"
#include "tests/support/recount.h"
#include "tests/support/space.h"

enum { DEVICES = 4, COPIES_MAX = 9, STEPS = 70, WRITES_MAX = 4096, BACKUPS_MAX = 4 };

/* One running store.  A liar shows itself to some and hears nobody that could tell it. */
typedef struct copy {
  size_t device;
  weft_store *inner;
  test_fault_store faults;
  weft_replica *r;
  bool liar;
} copy;

typedef struct backup {
  size_t of;
  weft_store *store;
  uint8_t incarnation[16];
  bool fresh;
} backup;

/* A change as its author signed it. */
typedef struct written {
  weft_id log;
  uint64_t seq;
  weft_id id;
} written;

typedef struct world {
  uint64_t seed;
  test_rng rng;
  test_space s;
  weft_arena arena;
  copy copies[COPIES_MAX];
  size_t count;
  backup backups[BACKUPS_MAX];
  size_t backup_count;
  written ledger[WRITES_MAX];
  size_t written;
  size_t doubled; /* places signed twice */
  bool liars;
  bool weak;
  weft_crypto crypto;
  size_t refused; /* own claims that would have meant another change */
} world;

/* Ids whose tags are all alike, so that every claim fits every branch. */
static weft_id weak_space;

static void weak_hash(uint8_t *out, size_t len, weft_bytes key, const uint8_t *salt,
                      const uint8_t *personal, const weft_bytes *parts, size_t count) {
  weft_crypto_sodium()->hash(out, len, key, salt, personal, parts, count);
  bool change = personal && memcmp(personal, weak_space.b + 16, 16) == 0;
  if (change) memset(out, 7, WEFT_CLAIM_TAG_LEN);
}

/* What the whole run must have reached. */
typedef struct reached {
  size_t forks, doubled, renewed, three, refused;
} reached;

static void open_copy(world *w, copy *c) {
  weft_store *front = test_fault_store_of(c->inner, &c->faults);
  c->r = test_space_open(&w->s, c->device, front);
}

/* The copy goes on as if nothing told it what it is. */
static void go_on(copy *c, const uint8_t *incarnation, bool fresh) {
  memcpy(c->r->incarnation, incarnation, sizeof c->r->incarnation);
  c->r->incarnation_new = fresh;
}

static void clone_step(world *w, size_t of) {
  if (w->count == COPIES_MAX) return;
  copy *from = &w->copies[of];
  copy *c = &w->copies[w->count++];
  *c = (copy){.device = from->device, .inner = test_store_copy(from->inner)};
  open_copy(w, c);
  go_on(c, from->r->incarnation, from->r->incarnation_new);
  if (w->liars && c->device == DEVICES - 1) c->liar = from->liar = true;
}

static void backup_step(world *w, size_t of) {
  if (w->backup_count == BACKUPS_MAX || w->copies[of].liar) return;
  backup *b = &w->backups[w->backup_count++];
  *b = (backup){.of = of, .store = test_store_copy(w->copies[of].inner)};
  memcpy(b->incarnation, w->copies[of].r->incarnation, sizeof b->incarnation);
  b->fresh = w->copies[of].r->incarnation_new;
}

/* A backup comes back: in place of what it was made of, which somebody else may have seen. */
static void restore_step(world *w) {
  if (w->backup_count == 0) return;
  backup *b = &w->backups[--w->backup_count];
  copy *c = &w->copies[b->of];
  if (c->liar) {
    weft_store_free(b->store);
    return;
  }
  /* What nobody else holds is lost with the disk; here somebody always does. */
  size_t other = (b->of + 1) % w->count;
  if (!w->copies[other].liar) {
    test_pull(w->copies[other].r, c->r, 50);
    weft_replica_free(c->r);
    weft_store_free(c->inner);
    c->inner = b->store;
    open_copy(w, c);
    go_on(c, b->incarnation, b->fresh);
  } else {
    weft_store_free(b->store);
  }
}

/* --- writing --- */

static weft_value gen_value(world *w) {
  static const char *const values[] = {
      "1", "2", "\"a\"", "{}", "[]", "{\"a\":1,\"b\":{\"a\":2}}", "[1,2]", "null"};
  weft_value v;
  const char *json = TEST_PICK(&w->rng, values);
  test_must(w->seed, weft_json_parse(&w->arena, weft_bytes_str(json), &v, NULL), "json");
  return v;
}

static void edit_once(world *w, weft_edit *e) {
  static const char *const docs[] = {"t/one", "t/two"};
  static const char *const pointers[] = {"/a", "/b", "/a/a", "/b/b", "/a/0", "/a/-"};
  weft_bytes doc = weft_bytes_str(docs[test_rng_below(&w->rng, 2)]);
  weft_bytes pointer = weft_bytes_str(pointers[test_rng_below(&w->rng, 6)]);
  weft_value v = gen_value(w);
  switch (test_rng_below(&w->rng, 8)) {
  case 0: (void)!weft_edit_unset(e, doc, pointer); return;
  case 1: (void)!weft_edit_delete(e, doc); return;
  case 2: (void)!weft_edit_insert(e, doc, pointer, 0, &v); return;
  default: (void)!weft_edit_set(e, doc, pointer, &v); return;
  }
}

/* Enters a change into the ledger.  A place may be taken already only by a copy that could not know
 * of it. */
static void ledger_add(world *w, const copy *c, const weft_commit *done) {
  for (size_t i = 0; i < w->written; i++) {
    const written *x = &w->ledger[i];
    if (x->seq != done->seq || weft_id_cmp(&x->log, &done->log) != 0) continue;
    weft_span span;
    if (weft_id_cmp(&x->id, &done->change) == 0) continue; /* word for word the same */
    w->doubled++;
    if (weft_replica_find(c->r, &x->log, x->seq, &x->id, &span) == WEFT_OK) {
      print_error("seed=%llu: signed twice, knowing it\n", (unsigned long long)w->seed);
      fail();
    }
  }
  if (weft__vector_find(weft_replica_held(c->r), &done->log, NULL) != 1) {
    print_error("seed=%llu: went on with a log that has forked\n", (unsigned long long)w->seed);
    fail();
  }
  assert_true(w->written < WRITES_MAX);
  w->ledger[w->written++] = (written){done->log, done->seq, done->change};
}

static void commit_step(world *w, copy *c) {
  weft_edit *e;
  weft_commit done;
  weft_edit_options o;
  weft_edit_options_init(&o);
  if (test_rng_chance(&w->rng, 15)) o.lane = WEFT_LANE_HIGH;
  w->s.platforms[c->device].now += test_rng_below(&w->rng, 3);
  test_must(w->seed, weft_edit_begin(&e, c->r, &o), "begin");
  size_t count = 1 + test_rng_below(&w->rng, 2);
  for (size_t k = 0; k < count; k++) edit_once(w, e);
  weft_err err = weft_edit_commit(e, &done);
  weft_edit_free(e);
  w->refused += err == WEFT_ESTALE;
  if (err == WEFT_ESTALE && w->weak) return;
  test_must(w->seed, err, "commit");
  if (done.written) ledger_add(w, c, &done);
}

/* --- handing on --- */

/* Hands over some random ranges, not in order, from random places. */
static void careless_step(world *w, copy *to, copy *from) {
  weft_span *ranges;
  size_t count;
  weft_vector none;
  weft_alloc mem = weft_alloc_libc();
  weft__vector_init(&none, &mem);
  test_must(w->seed, weft_replica_missing(from->r, &w->arena, &none, 60, &ranges, &count),
            "missing");
  for (size_t k = 0; k < count; k++) {
    const weft_span *range = &ranges[test_rng_below(&w->rng, count)];
    uint64_t at = range->from + test_rng_below(&w->rng, range->to - range->from + 1);
    uint64_t last;
    weft_buf chunk;
    weft_hold_report report;
    weft__buf_init(&chunk, &mem, SIZE_MAX);
    test_must(
        w->seed,
        weft_replica_read_chunk(from->r, &range->log, range->branch, at, range->to, &chunk, &last),
        "read");
    weft_bytes view = weft__buf_view(&chunk);
    test_must(w->seed, weft_replica_hold(to->r, &w->arena, &view, 1, &report), "hold");
    weft__buf_free(&chunk);
  }
}

static void step(world *w) {
  copy *a = &w->copies[test_rng_below(&w->rng, w->count)];
  copy *b = &w->copies[test_rng_below(&w->rng, w->count)];
  uint64_t what = test_rng_below(&w->rng, 100);
  weft__arena_reset(&w->arena);
  if (what < 50) {
    commit_step(w, a);
  } else if (what < 55) {
    clone_step(w, (size_t)(a - w->copies));
  } else if (what < 58) {
    backup_step(w, (size_t)(a - w->copies));
  } else if (what < 60) {
    restore_step(w);
  } else if (what < 70) {
    if (a != b && !a->liar) careless_step(w, a, b);
  } else if (what < 95) {
    if (a != b && !a->liar) test_pull(a->r, b->r, 1 + test_rng_below(&w->rng, 6));
  } else if (what < 97) {
    test_recount(a->r, w->seed);
  } else {
    uint8_t incarnation[16];
    memcpy(incarnation, a->r->incarnation, sizeof incarnation);
    bool fresh = a->r->incarnation_new;
    weft_replica_free(a->r);
    open_copy(w, a);
    go_on(a, incarnation, fresh);
  }
}

/* --- the run --- */

static void world_start(world *w, uint64_t seed) {
  weft_alloc mem = weft_alloc_libc();
  memset(w, 0, sizeof *w);
  w->seed = seed;
  w->rng = test_rng_of(seed);
  w->liars = seed % 3 == 0;
  w->count = DEVICES;
  test_space_make(&w->s, DEVICES, seed);
  w->weak = seed % 4 == 0;
  weak_space = w->s.id;
  w->crypto = *w->s.crypto;
  w->crypto.hash = weak_hash;
  if (w->weak) w->s.crypto = &w->crypto;
  weft__arena_init(&w->arena, &mem);
  for (size_t i = 0; i < w->count; i++) {
    w->copies[i] = (copy){.device = i, .inner = test_memory_store()};
    open_copy(w, &w->copies[i]);
  }
}

static void world_end(world *w) {
  for (size_t i = 0; i < w->count; i++) {
    weft_replica_free(w->copies[i].r);
    weft_store_free(w->copies[i].inner);
  }
  while (w->backup_count > 0) weft_store_free(w->backups[--w->backup_count].store);
  weft__arena_free(&w->arena);
}

static void settle(world *w) {
  for (size_t i = 0; i < w->count; i++) w->copies[i].liar = false;
  for (int round = 0; round < 4; round++) {
    for (size_t i = 0; i < w->count; i++) {
      for (size_t k = 0; k < w->count; k++) {
        if (i != k) test_pull(w->copies[i].r, w->copies[k].r, 7);
      }
    }
  }
}

static void assert_same(world *w, weft_replica *a, weft_replica *b) {
  static const char *const docs[] = {"t/one", "t/two"};
  assert_true(test_same_heads(weft_replica_held(a), weft_replica_held(b)));
  assert_true(w->weak || test_same_heads(weft_replica_held(a), weft_replica_shown(a)));
  assert_true(test_same_heads(weft_replica_shown(a), weft_replica_showable(a)));
  test_assert_same(a, b);
  for (size_t k = 0; k < 2; k++) {
    char x[8192], y[8192];
    test_get(a, docs[k], "", x, sizeof x);
    test_get(b, docs[k], "", y, sizeof y);
    if (strcmp(x, y) != 0) print_error("seed=%llu\n", (unsigned long long)w->seed);
    assert_string_equal(x, y);
  }
}

static void assert_history_same(world *w, weft_replica *a, weft_replica *b) {
  weft_history_query q;
  weft_history_query_init(&q);
  q.limit = 3;
  for (;;) {
    weft_history_entry *x, *y;
    size_t m, n;
    weft_bytes next_x, next_y;
    test_must(w->seed, weft_replica_history(a, &w->arena, &q, &x, &m, &next_x), "history");
    test_must(w->seed, weft_replica_history(b, &w->arena, &q, &y, &n, &next_y), "history");
    assert_int_equal(m, n);
    for (size_t i = 0; i < m; i++) assert_int_equal(weft_id_cmp(&x[i].change, &y[i].change), 0);
    assert_int_equal(weft_bytes_cmp(next_x, next_y), 0);
    if (next_x.len == 0) return;
    q.cursor = next_x;
  }
}

static void assert_whole(world *w, copy *c) {
  weft_stuck *stuck;
  size_t count;
  weft_verify_report report;
  test_must(w->seed, weft_replica_stuck(c->r, &w->arena, &stuck, &count), "stuck");
  /* Claims that mean others than they should may wait for each other: for everybody alike. */
  if (!w->weak) assert_int_equal(count, 0);
  test_recount(c->r, w->seed);
  weft_err err = weft_replica_verify(c->r, NULL, NULL, &report);
  if (err != WEFT_OK) print_error("seed=%llu: %s\n", (unsigned long long)w->seed, report.first);
  assert_int_equal(err, WEFT_OK);
  for (size_t i = 0; i < w->written; i++) {
    weft_span span;
    const written *x = &w->ledger[i];
    test_must(w->seed, weft_replica_find(c->r, &x->log, x->seq, &x->id, &span),
              "a change was lost");
  }
}

static void count_forks(world *w, reached *all) {
  weft_fork *forks;
  size_t count;
  test_must(w->seed, weft_replica_forks(w->copies[0].r, &w->arena, &forks, &count), "forks");
  all->forks += count;
  for (size_t i = 0; i < count; i++) all->three += forks[i].id_count > 2;
  all->doubled += w->doubled;
  all->refused += w->refused;
  for (size_t i = 0; i < w->count; i++) {
    weft_begun *begun;
    test_must(w->seed, weft_replica_begun(w->copies[i].r, &w->arena, &begun, &count), "begun");
    for (size_t k = 0; k < count; k++) all->renewed += begun[k].why == WEFT_BEGUN_PEER;
  }
}

static void run(uint64_t seed, reached *all) {
  static world w;
  world_start(&w, seed);
  for (int i = 0; i < STEPS; i++) step(&w);
  settle(&w);
  for (size_t i = 0; i < w.count; i++) {
    assert_whole(&w, &w.copies[i]);
    if (i > 0) assert_same(&w, w.copies[0].r, w.copies[i].r);
  }
  assert_history_same(&w, w.copies[0].r, w.copies[w.count - 1].r);
  /* Whoever comes new sees the same. */
  weft_replica *late = test_space_memory(&w.s, 1);
  test_pull(late, w.copies[test_rng_below(&w.rng, w.count)].r, 1 + test_rng_below(&w.rng, 20));
  assert_same(&w, w.copies[0].r, late);
  weft_replica_free(late);
  count_forks(&w, all);
  /* The owner goes on, and everybody follows. */
  for (size_t i = 0; i < w.count; i++) commit_step(&w, &w.copies[i]);
  settle(&w);
  for (size_t i = 1; i < w.count; i++) assert_same(&w, w.copies[0].r, w.copies[i].r);
  world_end(&w);
}

static void test_worlds(void **state) {
  (void)state;
  uint64_t one = test_number("WEFT_FORK_SEED", 0);
  uint64_t seeds = test_number("WEFT_FORK_SEEDS", test_share(60, 20));
  reached all = {0};
  if (one) {
    run(one, &all);
    return;
  }
  for (uint64_t seed = 1; seed <= seeds; seed++) run(seed, &all);
  print_message(
      "%zu forks, %zu of three and more, %zu places signed twice, %zu renewed, %zu refused\n",
      all.forks, all.three, all.doubled, all.renewed, all.refused);
  assert_true(all.forks > seeds / 2);
  assert_true(all.three > 0);
  assert_true(all.doubled > seeds);
  assert_true(all.renewed > seeds / 2);
}

/* A copy that gets changes of its own device which it never wrote goes on in a log of its own, so
 * that no place of the old one is signed twice. */
static void test_noticed(void **state) {
  (void)state;
  static world w;
  world_start(&w, 1);
  copy *a = &w.copies[0];
  assert_int_equal(test_set(a->r, "d/x", "/a", "1"), WEFT_OK);
  clone_step(&w, 0);
  copy *c = &w.copies[w.count - 1];
  assert_int_equal(test_set(a->r, "d/x", "/a", "2"), WEFT_OK);
  assert_int_equal(test_pull(c->r, a->r, 50), 1);
  assert_int_equal(test_set(c->r, "d/x", "/b", "3"), WEFT_OK);
  assert_int_equal(test_set(a->r, "d/x", "/c", "4"), WEFT_OK);
  weft_begun *begun;
  weft_fork *forks;
  size_t count;
  assert_int_equal(weft_replica_begun(c->r, &w.arena, &begun, &count), WEFT_OK);
  assert_true(count > 0);
  assert_int_equal(begun[count - 1].why, WEFT_BEGUN_PEER);
  settle(&w);
  test_assert_same(a->r, c->r);
  assert_int_equal(weft_replica_forks(a->r, &w.arena, &forks, &count), WEFT_OK);
  assert_int_equal(count, 0);
  world_end(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_noticed), cmocka_unit_test(test_worlds)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

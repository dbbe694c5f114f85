/* The past put to use: differences, blame, tags, restore, revert, redo, each held against laws over
 * generated histories of three devices, and against every way to ask for what is not there. */
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
#include "tests/support/recount.h"

enum { REPLICAS = 3, STEPS = 40, SNAPS = 64, TEXT_LEN = 65536 };

static const char *const docs[] = {"t/one", "t/two"};

/* What a document was right after a commit. */
typedef struct snap {
  size_t doc;
  weft_id change;
  weft_vector at; /* what was shown */
  char *text;
} snap;

typedef struct run {
  uint64_t seed;
  test_rng rng;
  test_space s;
  weft_replica *r[REPLICAS];
  weft_arena arena;
  weft_alloc mem;
  snap snaps[SNAPS];
  size_t snap_count;
  size_t done, skipped, moved, items; /* what the laws met */
} run;

static weft_bytes text(const char *s) { return weft_bytes_str(s); }

static void run_start(run *w, uint64_t seed) {
  memset(w, 0, sizeof *w);
  w->seed = seed;
  w->rng = test_rng_of(seed);
  w->mem = weft_alloc_libc();
  test_space_make(&w->s, REPLICAS, seed);
  weft__arena_init(&w->arena, &w->mem);
  for (size_t i = 0; i < REPLICAS; i++) w->r[i] = test_space_memory(&w->s, i);
}

static void run_end(run *w) {
  for (size_t i = 0; i < w->snap_count; i++) {
    weft__vector_free(&w->snaps[i].at);
    free(w->snaps[i].text);
  }
  for (size_t i = 0; i < REPLICAS; i++) weft_replica_free(w->r[i]);
  weft__arena_free(&w->arena);
}

/* --- generated edits --- */

static weft_value gen_value(run *w) {
  static const char *const values[] = {"1",
                                       "2",
                                       "2.0",
                                       "\"a\"",
                                       "{}",
                                       "[]",
                                       "null",
                                       "true",
                                       "[1,2]",
                                       "{\"a\":1,\"b\":{\"a\":2}}",
                                       "[1,[2,3]]",
                                       "[3,1,2,4,5]",
                                       "{\"a\":[1,2,{\"b\":3}]}",
                                       "{\"abc\":1,\"b\":2,\"bc\":{\"a\":1}}",
                                       "[{\"a\":1},{\"id\":7,\"b\":[1]}]",
                                       "[{\"id\":7,\"b\":[2,1]},{\"a\":1},5]"};
  weft_value v;
  const char *json = TEST_PICK(&w->rng, values);
  test_must(w->seed, weft_json_parse(&w->arena, text(json), &v, NULL), "json");
  return v;
}

static weft_bytes gen_pointer(run *w) {
  static const char *const pointers[] = {"/a",   "/b",    "/a/a", "/a/b",  "/b/a",   "/a/0",
                                         "/a/-", "/a/1",  "/b/0", "/b/1",  "/a/a/b", "/a/1/0",
                                         "/b/-", "/~0~1", "/ab",  "/ab/a", "/a/ab"};
  return text(TEST_PICK(&w->rng, pointers));
}

static void edit_once(run *w, weft_edit *e, size_t doc) {
  weft_bytes name = text(docs[doc]);
  weft_bytes pointer = gen_pointer(w);
  weft_value v = gen_value(w);
  weft_bytes array = text(test_rng_chance(&w->rng, 50) ? "/a" : "/b");
  size_t from = test_rng_below(&w->rng, 4), to = test_rng_below(&w->rng, 4);
  switch (test_rng_below(&w->rng, 14)) {
  case 0: (void)!weft_edit_unset(e, name, pointer); return;
  case 1: (void)!weft_edit_insert(e, name, array, test_rng_below(&w->rng, 3), &v); return;
  case 2:
  case 3: (void)!weft_edit_move(e, name, array, from, to); return;
  case 4: (void)!weft_edit_delete(e, name); return;
  case 5: (void)!weft_edit_undelete(e, name); return;
  case 6: (void)!weft_edit_import(e, name, &v, test_rng_chance(&w->rng, 50)); return;
  default: (void)!weft_edit_set(e, name, pointer, &v); return;
  }
}

/* One change over one document; false when nothing came of it. */
static bool commit(run *w, size_t i, size_t doc, weft_commit *done) {
  weft_edit *e;
  w->s.platforms[i].now += test_rng_below(&w->rng, 50);
  test_must(w->seed, weft_edit_begin(&e, w->r[i], NULL), "begin");
  size_t count = 1 + test_rng_below(&w->rng, 3);
  for (size_t k = 0; k < count; k++) edit_once(w, e, doc);
  test_must(w->seed, weft_edit_commit(e, done), "commit");
  weft_edit_free(e);
  return done->written;
}

static char *doc_text(run *w, size_t i, size_t doc) {
  char *out = weft__arena_take(&w->arena, TEXT_LEN);
  test_get(w->r[i], docs[doc], "", out, TEXT_LEN);
  return out;
}

static void snap_take(run *w, size_t i, size_t doc, const weft_commit *done) {
  if (w->snap_count == SNAPS) return;
  snap *s = &w->snaps[w->snap_count++];
  s->doc = doc;
  s->change = done->change;
  weft__vector_init(&s->at, &w->mem);
  test_must(w->seed, weft__vector_copy(&s->at, weft_replica_shown(w->r[i])), "vector");
  char *now = doc_text(w, i, doc);
  s->text = malloc(strlen(now) + 1);
  memcpy(s->text, now, strlen(now) + 1);
}

static void settle(run *w) {
  for (int round = 0; round < 2; round++) {
    for (size_t i = 0; i < REPLICAS; i++) {
      for (size_t k = 0; k < REPLICAS; k++) {
        if (i != k) test_pull(w->r[i], w->r[k], 7);
      }
    }
  }
}

static void history_make(run *w) {
  for (int i = 0; i < STEPS; i++) {
    weft_commit done;
    size_t at = test_rng_below(&w->rng, REPLICAS), from = test_rng_below(&w->rng, REPLICAS);
    size_t doc = test_rng_below(&w->rng, 2);
    weft__arena_reset(&w->arena);
    if (test_rng_chance(&w->rng, 25)) {
      if (at != from) test_pull(w->r[at], w->r[from], 5);
    } else if (commit(w, at, doc, &done)) {
      snap_take(w, at, doc, &done);
    }
  }
  settle(w);
}

/* --- a plain reader of patches --- */

static bool key_is(weft_bytes a, weft_bytes b) { return weft_bytes_cmp(a, b) == 0; }

static size_t index_of(weft_bytes token) {
  size_t n = 0;
  for (size_t i = 0; i < token.len; i++) n = n * 10 + (size_t)(token.at[i] - '0');
  return n;
}

/* A container with one child put in, replaced (`value`) or taken out (NULL). */
static weft_value with_child(run *w, const weft_value *v, weft_bytes token, const char *op,
                             const weft_value *value) {
  weft_value out = *v;
  bool add = strcmp(op, "add") == 0;
  if (v->kind == WEFT_ARRAY) {
    size_t at = index_of(token), n = 0, count = v->as.array.count;
    weft_value *list = weft__arena_zero(&w->arena, count + 1, sizeof *list);
    assert_true(add ? at <= count : at < count);
    for (size_t i = 0; i < count; i++) {
      if (i == at && value) list[n++] = *value;
      if (i != at || add) list[n++] = v->as.array.at[i];
    }
    if (at == count) list[n++] = *value;
    out.as.array.at = list;
    out.as.array.count = n;
    return out;
  }
  assert_int_equal(v->kind, WEFT_OBJECT);
  weft_member *list = weft__arena_zero(&w->arena, v->as.object.count + 1, sizeof *list);
  size_t n = 0;
  bool placed = !value;
  assert_int_equal(weft_value_member(v, token) != NULL, !add);
  for (size_t i = 0; i < v->as.object.count; i++) {
    const weft_member *m = &v->as.object.at[i];
    if (!placed && weft_bytes_cmp(m->key, token) >= 0) {
      list[n++] = (weft_member){token, *value};
      placed = true;
    }
    if (!key_is(m->key, token)) list[n++] = *m;
  }
  if (!placed) list[n++] = (weft_member){token, *value};
  out.as.object.at = list;
  out.as.object.count = n;
  return out;
}

static const weft_value *child_at(const weft_value *v, weft_bytes token) {
  if (v->kind == WEFT_ARRAY) {
    assert_true(index_of(token) < v->as.array.count);
    return &v->as.array.at[index_of(token)];
  }
  const weft_value *child = weft_value_member(v, token);
  assert_non_null(child);
  return child;
}

/* Applies one operation; the document may be gone, or not there yet. */
static void apply_op(run *w, const weft_value *op, weft_value *doc, bool *there) {
  enum { DEPTH = 80 };
  weft_value above[DEPTH];
  weft_bytes *tokens;
  size_t count;
  weft_bytes kind = weft_value_member(op, text("op"))->as.bytes;
  const weft_value *value = weft_value_member(op, text("value"));
  test_must(
      w->seed,
      weft_pointer_split(&w->arena, weft_value_member(op, text("path"))->as.bytes, &tokens, &count),
      "pointer");
  assert_int_equal(value != NULL, !key_is(kind, text("remove")));
  if (count == 0) {
    *there = value != NULL;
    if (value) *doc = *value;
    return;
  }
  assert_true(*there);
  above[0] = *doc;
  for (size_t i = 0; i + 1 < count; i++) above[i + 1] = *child_at(&above[i], tokens[i]);
  const char *name = key_is(kind, text("add")) ? "add" : "other";
  weft_value now = with_child(w, &above[count - 1], tokens[count - 1], name, value);
  for (size_t i = count - 1; i > 0; i--) {
    now = with_child(w, &above[i - 1], tokens[i - 1], "replace", &now);
  }
  *doc = now;
}

static weft_err get_version(run *w, weft_replica *r, size_t doc, const weft_vector *v,
                            weft_value *out) {
  weft_bytes name = text(docs[doc]), root = text("");
  return v ? weft_replica_get_at(r, &w->arena, name, root, v, out)
           : weft_replica_get(r, &w->arena, name, root, out);
}

static weft_bytes encode(run *w, const weft_value *v) {
  weft_buf b;
  weft_bytes copy;
  weft__buf_init(&b, &w->mem, SIZE_MAX);
  weft__value_encode(&b, v);
  test_must(w->seed, weft__buf_err(&b), "encode");
  test_must(w->seed, weft__arena_copy(&w->arena, weft__buf_view(&b), &copy), "copy");
  weft__buf_free(&b);
  return copy;
}

/* The patch from `a` to `b`, applied to `a`, gives exactly `b`. */
static void check_patch(run *w, weft_replica *r, size_t doc, const weft_vector *a,
                        const weft_vector *b) {
  weft_doc_diff diff;
  weft_value now, want;
  test_must(w->seed, weft_replica_diff(r, &w->arena, text(docs[doc]), a, b, &diff), "diff");
  bool there = get_version(w, r, doc, a, &now) == WEFT_OK;
  bool wanted = get_version(w, r, doc, b, &want) == WEFT_OK;
  for (size_t i = 0; i < diff.patch.as.array.count; i++) {
    apply_op(w, &diff.patch.as.array.at[i], &now, &there);
  }
  assert_int_equal(there, wanted);
  if (there && !key_is(encode(w, &now), encode(w, &want))) {
    print_error("seed=%llu: the patch gives something else\n", (unsigned long long)w->seed);
    fail();
  }
  if (diff.relation == WEFT_ORDER_EQUAL) assert_int_equal(diff.count, 0);
  for (size_t i = 0; i < diff.count; i++) w->moved += diff.items[i].kind == WEFT_DIFF_MOVED;
  w->items += diff.count;
  weft_doc_diff back;
  test_must(w->seed, weft_replica_diff(r, &w->arena, text(docs[doc]), b, a, &back), "diff back");
  assert_int_equal(back.relation == WEFT_ORDER_AFTER, diff.relation == WEFT_ORDER_BEFORE);
  assert_int_equal(back.relation == WEFT_ORDER_CONCURRENT, diff.relation == WEFT_ORDER_CONCURRENT);
}

static void law_patch(run *w) {
  for (size_t i = 0; i < w->snap_count; i++) {
    const snap *a = &w->snaps[i], *b = &w->snaps[test_rng_below(&w->rng, w->snap_count)];
    weft__arena_reset(&w->arena);
    check_patch(w, w->r[0], a->doc, &a->at, &b->at);
    check_patch(w, w->r[0], a->doc, &a->at, NULL);
  }
}

/* --- blame --- */

static size_t leaves(const weft_value *v) {
  weft_walk walk;
  size_t n = 0;
  weft__walk_init(&walk, v);
  for (weft_walk_event e = weft__walk_next(&walk); e != WEFT_WALK_END; e = weft__walk_next(&walk)) {
    assert_int_not_equal(e, WEFT_WALK_TOO_DEEP);
    bool empty =
        e == WEFT_WALK_OPEN && (walk.value->kind == WEFT_OBJECT ? walk.value->as.object.count == 0
                                                                : walk.value->as.array.count == 0);
    n += e == WEFT_WALK_SCALAR || empty;
  }
  return n;
}

/* The change named wrote at that path what is shown there. */
static void check_blamed(run *w, weft_replica *r, size_t doc, const weft_blame_entry *e) {
  weft_history_entry change;
  weft_change_state state;
  weft_value shown;
  weft_bytes id = weft_bytes_of(e->change.change.b, sizeof(weft_id));
  test_must(w->seed, weft_replica_change(r, &w->arena, id, &change, &state), "blamed change");
  test_must(w->seed, weft_replica_get(r, &w->arena, text(docs[doc]), e->pointer, &shown),
            "blamed value");
  bool met = false;
  for (size_t i = 0; i < change.op_count && !met; i++) {
    const weft_op *op = &change.ops[i];
    weft_value v;
    bool here = key_is(op->doc, text(docs[doc])) && key_is(op->path, e->path);
    bool below = key_is(op->doc, text(docs[doc])) && weft_path_under(e->path, op->path);
    if (e->shape != WEFT_SHAPE_SCALAR) {
      met = here || below;
    } else if (here && op->kind == WEFT_OP_SCALAR) {
      met = weft__scalar_decode(op->value, &v) == WEFT_OK && weft_value_equal(&v, &shown);
    }
  }
  assert_true(met);
  assert_int_equal(weft_value_is_scalar(&shown), e->shape == WEFT_SHAPE_SCALAR);
}

static void law_blame(run *w) {
  for (size_t doc = 0; doc < 2; doc++) {
    weft_blame_entry *list;
    size_t count, n = 0;
    weft_value v;
    weft__arena_reset(&w->arena);
    weft_err err = weft_replica_blame(w->r[0], &w->arena, text(docs[doc]), &list, &count);
    if (get_version(w, w->r[0], doc, NULL, &v) != WEFT_OK) {
      assert_int_equal(err, WEFT_ENOTFOUND);
      continue;
    }
    test_must(w->seed, err, "blame");
    for (size_t i = 0; i < count; i++) {
      n += list[i].leaf;
      check_blamed(w, w->r[0], doc, &list[i]);
    }
    assert_int_equal(n, leaves(&v));
  }
}

/* --- restore --- */

static void law_restore(run *w) {
  for (size_t i = 0; i < w->snap_count; i++) {
    const snap *s = &w->snaps[i];
    weft_commit done;
    weft__arena_reset(&w->arena);
    weft_replica *r = w->r[i % REPLICAS];
    weft_bytes doc = text(docs[s->doc]), root = text("");
    weft_err err = weft_replica_restore(r, doc, root, &s->at, &s->change, NULL, &done);
    if (strcmp(s->text, "(none)") == 0) {
      assert_int_equal(err, WEFT_ENOTFOUND);
      continue;
    }
    test_must(w->seed, err, "restore");
    weft_value want, is;
    test_must(w->seed, weft_json_parse(&w->arena, text(s->text), &want, NULL), "json");
    test_must(w->seed, weft_replica_get(r, &w->arena, doc, root, &is), "get");
    if (!weft_value_equal(&want, &is)) {
      print_error("seed=%llu\n%s\n%s\n", (unsigned long long)w->seed, s->text,
                  doc_text(w, i % REPLICAS, s->doc));
      fail();
    }
    test_must(w->seed, weft_replica_restore(r, doc, root, &s->at, NULL, NULL, &done), "again");
    assert_false(done.written);
    if (test_rng_chance(&w->rng, 30)) commit(w, i % REPLICAS, s->doc, &done);
  }
}

/* --- revert --- */

static void revert(run *w, size_t i, const weft_id *change, weft_commit *done) {
  weft_revert_item *items;
  size_t count;
  test_must(w->seed, weft_replica_revert(w->r[i], &w->arena, change, NULL, &items, &count, done),
            "revert");
  for (size_t k = 0; k < count; k++) {
    w->done += items[k].outcome == WEFT_REVERT_DONE;
    w->skipped += items[k].outcome != WEFT_REVERT_DONE;
  }
}

static void same_text(run *w, const char *what, const char *is, const char *want) {
  weft_value a, b;
  bool same = strcmp(is, want) == 0;
  if (!same && strcmp(is, "(none)") != 0 && strcmp(want, "(none)") != 0) {
    test_must(w->seed, weft_json_parse(&w->arena, text(is), &a, NULL), "json");
    test_must(w->seed, weft_json_parse(&w->arena, text(want), &b, NULL), "json");
    same = weft_value_equal(&a, &b);
  }
  if (same) return;
  print_error("seed=%llu: %s\n is   %s\n want %s\n", (unsigned long long)w->seed, what, is, want);
  fail();
}

/* A change that nobody followed: its revert gives the document before, and the revert of that the
 * document after. */
static void law_revert_lone(run *w) {
  for (int k = 0; k < 12; k++) {
    weft_commit done, back, again;
    size_t i = test_rng_below(&w->rng, REPLICAS), doc = test_rng_below(&w->rng, 2);
    weft__arena_reset(&w->arena);
    char *before = doc_text(w, i, doc);
    if (!commit(w, i, doc, &done)) continue;
    char *after = doc_text(w, i, doc);
    revert(w, i, &done.change, &back);
    same_text(w, "revert", doc_text(w, i, doc), before);
    if (!back.written) {
      same_text(w, "nothing to revert", after, before);
      continue;
    }
    revert(w, i, &back.change, &again);
    same_text(w, "revert of revert", doc_text(w, i, doc), after);
  }
}

/* Any change: everyone still agrees, and what the account says was done was done. */
static void law_revert_any(run *w) {
  for (size_t k = 0; k < w->snap_count; k++) {
    weft_commit done;
    weft__arena_reset(&w->arena);
    if (test_rng_chance(&w->rng, 40)) {
      revert(w, k % REPLICAS, &w->snaps[k].change, &done);
    }
  }
  settle(w);
  for (size_t i = 0; i < REPLICAS; i++) {
    test_recount(w->r[i], w->seed);
    if (i > 0) test_assert_same(w->r[0], w->r[i]);
  }
}

static bool has(const weft_vector *v, const weft_history_entry *e) {
  for (size_t i = 0; i < v->count; i++) {
    if (weft_id_cmp(&v->heads[i].log, &e->log) == 0 && e->seq <= v->heads[i].seq) return true;
  }
  return false;
}

/* The version after a change holds what was written to the document before it by the clocks, which
 * here are honest, and nothing else; at the change's own time, what has its clock or a lower one.
 */
static void law_versions(run *w) {
  for (size_t d = 0; d < 2; d++) {
    weft_history_query q;
    weft_history_entry *list;
    size_t count;
    weft_bytes next;
    weft_vector past, v;
    weft_id id;
    weft__vector_init(&past, &w->mem);
    weft__vector_init(&v, &w->mem);
    weft_history_query_init(&q);
    q.doc = text(docs[d]);
    q.limit = 10000;
    if (weft_replica_history(w->r[0], &w->arena, &q, &list, &count, &next) != WEFT_OK) continue;
    for (size_t i = 0; i < count; i++) {
      size_t len = test_rng_chance(&w->rng, 50) ? sizeof(weft_id) : 8;
      weft_bytes prefix = weft_bytes_of(list[i].change.b, len);
      test_must(w->seed, weft_replica_version_after(w->r[0], q.doc, prefix, &v, &id),
                "version after");
      test_must(w->seed, weft_replica_vector_at_change(w->r[0], &list[i].change, &past),
                "vector at change");
      assert_memory_equal(&id, &list[i].change, sizeof id);
      for (size_t k = 0; k < count; k++) {
        bool want = k == i || has(&past, &list[k]) || list[k].hlc < list[i].hlc;
        assert_int_equal(has(&v, &list[k]), want);
      }
      test_must(w->seed, weft_replica_version_at(w->r[0], q.doc, list[i].hlc >> 16, &v),
                "version at");
      for (size_t k = 0; k < count; k++) {
        assert_int_equal(has(&v, &list[k]), list[k].hlc >> 16 <= list[i].hlc >> 16);
      }
      w->items++;
    }
    test_must(w->seed, weft_replica_version_at(w->r[0], q.doc, 1, &v), "version before");
    assert_int_equal(v.count, 0);
    weft__vector_free(&past);
    weft__vector_free(&v);
  }
}

static void test_laws(void **state) {
  (void)state;
  uint64_t seeds = test_number("WEFT_UNDO_SEEDS", 60);
  size_t done = 0, skipped = 0, moved = 0, items = 0;
  for (uint64_t seed = 1; seed <= seeds; seed++) {
    run w;
    run_start(&w, seed);
    history_make(&w);
    law_patch(&w);
    law_blame(&w);
    law_versions(&w);
    law_revert_lone(&w);
    settle(&w);
    law_restore(&w);
    settle(&w);
    law_revert_any(&w);
    done += w.done, skipped += w.skipped, moved += w.moved, items += w.items;
    run_end(&w);
  }
  print_message("%zu undone, %zu left alone, %zu moves in %zu differences\n", done, skipped, moved,
                items);
  /* The generator reaches what it is meant to reach. */
  assert_true(done > seeds * 10 && skipped > seeds && moved > seeds / 8 && items > seeds * 50);
}

/* --- single cases --- */

static void set(test_pair *w, size_t i, const char *pointer, const char *json) {
  w->s.platforms[i].now += 10;
  assert_int_equal(test_set(w->r[i], "t/one", pointer, json), WEFT_OK);
}

static const char *get(test_pair *w, size_t i, const char *pointer) {
  return test_get(w->r[i], "t/one", pointer, w->out, sizeof w->out);
}

static weft_id last_change(test_pair *w, size_t i) {
  weft_id id;
  assert_int_equal(weft_replica_vector_before_last(w->r[i], text("t/one"), &w->v, &id), WEFT_OK);
  return id;
}

static void test_restore_part(void **state) {
  test_pair *w = *state;
  weft_commit done;
  weft_vector v;
  weft__vector_init(&v, &w->mem);
  set(w, 0, "/list", "[\"a\",\"b\",\"c\"]");
  assert_int_equal(weft__vector_copy(&v, weft_replica_shown(w->r[0])), WEFT_OK);
  weft_id first = last_change(w, 0);
  set(w, 0, "/list/1", NULL);
  set(w, 0, "/list/0", "\"z\"");
  set(w, 0, "/other", "1");
  weft_bytes doc = text("t/one");
  /* An element that is gone comes back in its place; one that stands is set. */
  assert_int_equal(weft_replica_restore(w->r[0], doc, text("/list/1"), &v, NULL, NULL, &done),
                   WEFT_OK);
  assert_string_equal(get(w, 0, ""), "{\"list\":[\"z\",\"b\",\"c\"],\"other\":1}");
  weft_history_entry e;
  weft_change_state st;
  weft_bytes id = weft_bytes_of(done.change.b, 32);
  assert_int_equal(weft_replica_change(w->r[0], &w->arena, id, &e, &st), WEFT_OK);
  assert_int_equal(e.extensions.len, 34);
  assert_int_equal(e.extensions.at[0], WEFT_EXT_RESTORED_FROM);
  assert_memory_equal(e.extensions.at + 2, first.b, 32);
  assert_int_equal(weft_replica_restore(w->r[0], doc, text("/list/0"), &v, NULL, NULL, &done),
                   WEFT_OK);
  assert_string_equal(get(w, 0, "/list"), "[\"a\",\"b\",\"c\"]");
  /* Its array is gone. */
  set(w, 0, "/list", NULL);
  assert_int_equal(weft_replica_restore(w->r[0], doc, text("/list/1"), &v, NULL, NULL, &done),
                   WEFT_EBADPATH);
  /* Nothing stood there then. */
  assert_int_equal(weft_replica_restore(w->r[0], doc, text("/other"), &v, NULL, NULL, &done),
                   WEFT_ENOTFOUND);
  assert_int_equal(weft_replica_restore(w->r[0], doc, text("/list/9"), &v, NULL, NULL, &done),
                   WEFT_ENOTFOUND);
  assert_int_equal(weft_replica_restore(w->r[0], doc, text("/list/-"), &v, NULL, NULL, &done),
                   WEFT_ENOTFOUND);
  assert_int_equal(weft_replica_restore(w->r[0], doc, text("list"), &v, NULL, NULL, &done),
                   WEFT_EBADPATH);
  assert_int_equal(weft_replica_restore(w->r[0], text("t/no"), text(""), &v, NULL, NULL, &done),
                   WEFT_ENOTFOUND);
  assert_int_equal(weft_replica_restore(w->r[0], text("no"), text(""), &v, NULL, NULL, &done),
                   WEFT_EBADNAME);
  /* A deleted document comes back; before its beginning there is nothing. */
  weft_edit *edit;
  assert_int_equal(weft_edit_begin(&edit, w->r[0], NULL), WEFT_OK);
  assert_int_equal(weft_edit_delete(edit, doc), WEFT_OK);
  assert_int_equal(weft_edit_commit(edit, &done), WEFT_OK);
  weft_edit_free(edit);
  assert_int_equal(weft_replica_restore(w->r[0], doc, text(""), &v, &first, NULL, &done), WEFT_OK);
  assert_string_equal(get(w, 0, ""), "{\"list\":[\"a\",\"b\",\"c\"]}");
  weft__vector_clear(&v);
  assert_int_equal(weft_replica_restore(w->r[0], doc, text(""), &v, NULL, NULL, &done),
                   WEFT_ENOTFOUND);
  weft__vector_free(&v);
}

static weft_revert_item *revert_one(test_pair *w, size_t i, weft_id change, size_t *count) {
  weft_revert_item *items;
  weft_commit done;
  assert_int_equal(weft_replica_revert(w->r[i], &w->arena, &change, NULL, &items, count, &done),
                   WEFT_OK);
  return items;
}

static void test_revert_account(void **state) {
  test_pair *w = *state;
  size_t count;
  set(w, 0, "", "{\"a\":1,\"b\":1,\"c\":1}");
  test_pair_meet(w);
  w->s.platforms[0].now += 10;
  set(w, 0, "", "{\"a\":2,\"b\":2,\"c\":2,\"new\":{\"x\":1}}");
  weft_id change = last_change(w, 0);
  set(w, 1, "/a", "9"); /* beside it */
  test_pair_meet(w);
  set(w, 0, "/b", "3");     /* since */
  set(w, 0, "/new/y", "5"); /* inside */
  weft_id since = last_change(w, 0);
  weft_revert_item *items = revert_one(w, 0, change, &count);
  assert_int_equal(count, 5);
  assert_string_equal(get(w, 0, "/c"), "1");
  assert_string_equal(get(w, 0, "/b"), "3");
  assert_string_equal(get(w, 0, "/new"), "{\"y\":5}");
  assert_int_equal(items[0].outcome, WEFT_REVERT_CHANGED); /* /a */
  assert_true(key_is(items[0].pointer, text("/a")));
  assert_int_equal(items[1].outcome, WEFT_REVERT_CHANGED);
  assert_int_equal(items[2].outcome, WEFT_REVERT_DONE);
  assert_int_equal(items[3].outcome, WEFT_REVERT_CHANGED); /* /new holds what another wrote */
  assert_memory_equal(items[3].by.b, since.b, 32);
  assert_int_equal(items[4].outcome, WEFT_REVERT_DONE); /* /new/x */
  /* Once more: /c is as it was, /new/x too. */
  items = revert_one(w, 0, change, &count);
  assert_int_equal(items[2].outcome, WEFT_REVERT_ALREADY);
  /* What contained it is gone. */
  set(w, 0, "/q", "{\"x\":1}");
  set(w, 0, "/q/x", "2");
  change = last_change(w, 0);
  set(w, 0, "/q", "7");
  items = revert_one(w, 0, change, &count);
  assert_int_equal(count, 1);
  assert_int_equal(items[0].outcome, WEFT_REVERT_GONE);
  assert_null(items[0].pointer.at);
}

static void test_revert_refused(void **state) {
  test_pair *w = *state;
  weft_revert_item *items;
  size_t count;
  weft_commit done;
  weft_id none = {{1, 2, 3}};
  set(w, 0, "/a", "1");
  weft_id start;
  weft_id log = weft_replica_shown(w->r[0])->heads[0].log;
  assert_int_equal(weft_replica_id_at(w->r[0], &log, WEFT_BRANCH_ANY, 1, &start), WEFT_OK);
  assert_int_equal(weft_replica_revert(w->r[0], &w->arena, &none, NULL, &items, &count, &done),
                   WEFT_ENOTFOUND);
  assert_int_equal(weft_replica_revert(w->r[0], &w->arena, &start, NULL, &items, &count, &done),
                   WEFT_EMISUSE);
  assert_int_equal(weft_replica_redo(w->r[0], &none, NULL, &done), WEFT_ENOTFOUND);
  weft_id shown = last_change(w, 0);
  assert_int_equal(weft_replica_redo(w->r[0], &shown, NULL, &done), WEFT_EMISUSE);
}

/* A change that waits for what never comes is written again as one's own. */
static void test_redo(void **state) {
  test_pair *w = *state;
  weft_replica *third = test_space_memory(&w->s, 2);
  set(w, 0, "/a", "{\"x\":1}");
  weft_arena arena;
  weft__arena_init(&arena, &w->mem);
  test_pull(w->r[1], w->r[0], 5);
  set(w, 1, "/a/x", "2");
  weft_id waiting = last_change(w, 1);
  /* The third gets only the log of the second. */
  weft_log *log = NULL;
  for (uint32_t i = 0; i < w->r[1]->log_count; i++) {
    if (weft_id_cmp(&w->r[1]->logs[i]->device, &w->s.devices[1].device) == 0) {
      log = w->r[1]->logs[i];
    }
  }
  weft_buf chunk;
  uint64_t last;
  weft_hold_report held;
  weft__buf_init(&chunk, &w->mem, SIZE_MAX);
  assert_int_equal(weft_replica_read_chunk(w->r[1], &log->id, WEFT_BRANCH_ANY, 1, 2, &chunk, &last),
                   WEFT_OK);
  weft_bytes view = weft__buf_view(&chunk);
  assert_int_equal(weft_replica_hold(third, &arena, &view, 1, &held), WEFT_OK);
  test_show_all(third);
  weft_commit done;
  weft_revert_item *items;
  size_t count;
  assert_int_equal(weft_replica_revert(third, &arena, &waiting, NULL, &items, &count, &done),
                   WEFT_EBASE);
  assert_string_equal(test_get(third, "t/one", "", w->out, sizeof w->out), "(none)");
  assert_int_equal(weft_replica_redo(third, &waiting, NULL, &done), WEFT_OK);
  assert_true(done.written);
  assert_string_equal(test_get(third, "t/one", "", w->out, sizeof w->out), "{\"a\":{\"x\":2}}");
  weft__buf_free(&chunk);
  weft__arena_free(&arena);
  weft_replica_free(third);
}

static void test_tags(void **state) {
  test_pair *w = *state;
  weft_commit done;
  weft_tag *tags;
  size_t count;
  weft_bytes doc = text("t/one");
  static const char *const bad[] = {
      "",     "now",  "abcd",
      "1st",  "a b",  "a/b",
      "\xff", "DEAD", "x123456789x123456789x123456789x123456789x123456789x123456789x1234"};
  set(w, 0, "/a", "1");
  test_pair_meet(w);
  set(w, 0, "/b", "1");
  set(w, 1, "/c", "1");
  test_pair_meet(w);
  assert_int_equal(weft_replica_tag(w->r[0], doc, text("v1"), NULL, NULL, &done), WEFT_OK);
  set(w, 0, "/a", "2");
  weft_id change = last_change(w, 0);
  assert_int_equal(weft_replica_tag(w->r[0], doc, text("two"), &change, NULL, &done), WEFT_OK);
  set(w, 0, "/a", "3");
  test_pair_meet(w);
  weft_value v;
  weft_bytes root = text("");
  for (size_t i = 0; i < 2; i++) {
    assert_int_equal(weft_replica_vector_at_tag(w->r[i], doc, text("v1"), &w->v), WEFT_OK);
    assert_int_equal(weft_replica_get_at(w->r[i], &w->arena, doc, root, &w->v, &v), WEFT_OK);
    assert_int_equal(v.as.object.count, 3);
    assert_int_equal(weft_value_member(&v, text("a"))->as.integer, 1);
    assert_int_equal(weft_replica_vector_at_tag(w->r[i], doc, text("two"), &w->v), WEFT_OK);
    assert_int_equal(weft_replica_get_at(w->r[i], &w->arena, doc, root, &w->v, &v), WEFT_OK);
    assert_int_equal(weft_value_member(&v, text("a"))->as.integer, 2);
  }
  assert_int_equal(weft_replica_tags(w->r[1], &w->arena, doc, &tags, &count), WEFT_OK);
  assert_int_equal(count, 2);
  assert_int_equal(tags[0].count, 2);
  assert_int_equal(tags[1].count, 2);
  /* What is no tag is passed over. */
  assert_int_equal(test_set(w->r[0], "weft/tags/t/one", "/junk", "\"zz\""), WEFT_OK);
  assert_int_equal(test_set(w->r[0], "weft/tags/t/one", "/junk2", "7"), WEFT_OK);
  assert_int_equal(weft_replica_tags(w->r[0], &w->arena, doc, &tags, &count), WEFT_OK);
  assert_int_equal(count, 2);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_int_equal(weft_replica_tag(w->r[0], doc, text(bad[i]), NULL, NULL, &done),
                     WEFT_EBADVALUE);
    assert_int_equal(weft_replica_untag(w->r[0], doc, text(bad[i]), NULL, &done), WEFT_EBADVALUE);
  }
  weft_id none = {{9}};
  char name[256];
  memset(name, 'n', sizeof name);
  name[1] = '/';
  weft_bytes longest = weft_bytes_of(name, 246);
  assert_int_equal(weft_replica_tag(w->r[0], doc, text("x"), &none, NULL, &done), WEFT_ENOTFOUND);
  assert_int_equal(weft_replica_tag(w->r[0], text("t/no"), text("x"), NULL, NULL, &done),
                   WEFT_ENOTFOUND);
  assert_int_equal(weft_replica_tag(w->r[0], text("no"), text("x"), NULL, NULL, &done),
                   WEFT_EBADNAME);
  assert_int_equal(weft_replica_tags(w->r[0], &w->arena, longest, &tags, &count), WEFT_ELIMIT);
  assert_int_equal(weft_replica_untag(w->r[0], doc, text("v1"), NULL, &done), WEFT_OK);
  assert_int_equal(weft_replica_untag(w->r[0], doc, text("v1"), NULL, &done), WEFT_ENOTFOUND);
  assert_int_equal(weft_replica_vector_at_tag(w->r[0], doc, text("v1"), &w->v), WEFT_ENOTFOUND);
  /* A tag may arrive before what it names. */
  set(w, 0, "/z", "1");
  assert_int_equal(weft_replica_tag(w->r[0], doc, text("late"), NULL, NULL, &done), WEFT_OK);
  char hex[65] = {0};
  memset(hex, 'a', 64);
  char json[80];
  snprintf(json, sizeof json, "\"%s\"", hex);
  assert_int_equal(test_set(w->r[0], "weft/tags/t/one", "/ghost", json), WEFT_OK);
  assert_int_equal(weft_replica_vector_at_tag(w->r[0], doc, text("ghost"), &w->v), WEFT_EBASE);
  assert_int_equal(w->v.count, 0);
}

static void test_versions_not_there(void **state) {
  test_pair *w = *state;
  weft_bytes doc = text("t/one"), other = text("t/two");
  weft_id none = {{9}};
  set(w, 0, "/a", "1");
  weft_id change = last_change(w, 0);
  weft_bytes id = weft_bytes_of(change.b, sizeof change.b);
  weft_replica *r = w->r[0];
  assert_int_equal(weft_replica_version_after(r, text("no"), id, &w->v, NULL), WEFT_EBADNAME);
  assert_int_equal(weft_replica_version_at(r, text("no"), 5, &w->v), WEFT_EBADNAME);
  assert_int_equal(weft_replica_version_after(r, other, id, &w->v, NULL), WEFT_ENOTFOUND);
  assert_int_equal(weft_replica_version_at(r, other, 5, &w->v), WEFT_ENOTFOUND);
  id.len = 3;
  assert_int_equal(weft_replica_version_after(r, doc, id, &w->v, NULL), WEFT_EMALFORMED);
  id.len = sizeof change.b + 1;
  assert_int_equal(weft_replica_version_after(r, doc, id, &w->v, NULL), WEFT_EMALFORMED);
  id = weft_bytes_of(none.b, sizeof none.b);
  assert_int_equal(weft_replica_version_after(r, doc, id, &w->v, NULL), WEFT_ENOTFOUND);
  assert_int_equal(w->v.count, 0);
  /* A change of another document tells what stood here then. */
  assert_int_equal(test_set(r, "t/two", "/a", "1"), WEFT_OK);
  assert_int_equal(weft_replica_vector_before_last(r, other, &w->v, &change), WEFT_OK);
  set(w, 0, "/a", "2");
  weft_value v;
  id = weft_bytes_of(change.b, sizeof change.b);
  assert_int_equal(weft_replica_version_after(r, doc, id, &w->v, &none), WEFT_OK);
  assert_memory_equal(&none, &change, sizeof none);
  assert_int_equal(weft_replica_get_at(r, &w->arena, doc, text("/a"), &w->v, &v), WEFT_OK);
  assert_int_equal(v.as.integer, 1);
}

static void test_preview(void **state) {
  test_pair *w = *state;
  weft_edit *e;
  weft_value v, one = {.kind = WEFT_INT, .as.integer = 1};
  set(w, 0, "/a", "5");
  assert_int_equal(weft_edit_begin(&e, w->r[0], NULL), WEFT_OK);
  assert_int_equal(weft_edit_set(e, text("t/one"), text("/b"), &one), WEFT_OK);
  assert_int_equal(weft_edit_preview(e, &w->arena, text("t/one"), &v), WEFT_OK);
  assert_int_equal(v.as.object.count, 2);
  assert_string_equal(get(w, 0, ""), "{\"a\":5}");
  assert_int_equal(weft_edit_delete(e, text("t/one")), WEFT_OK);
  assert_int_equal(weft_edit_preview(e, &w->arena, text("t/one"), &v), WEFT_ENOTFOUND);
  weft_edit_free(e);
}

static void test_rules(void **state) {
  test_pair *w = *state;
  static const struct {
    weft_rule rule;
    const char *value;
  } cases[] = {
      {WEFT_RULE_NEWEST, "5"}, {WEFT_RULE_OLDEST, "9"}, {WEFT_RULE_MAX, "9"}, {WEFT_RULE_MIN, "5"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    weft_conflict_entry *list;
    size_t count;
    weft_edit *e;
    weft_commit done;
    w->s.platforms[1].now = w->s.platforms[0].now + 1000;
    set(w, 0, "/a", "0");
    test_pair_meet(w);
    set(w, 0, "/a", "9");
    set(w, 1, "/a", "5");
    test_pair_meet(w);
    assert_int_equal(weft_replica_conflicts(w->r[0], &w->arena, text("t/one"), 0, &list, &count),
                     WEFT_OK);
    assert_int_equal(count, 1);
    const weft_conflict_value *mine = weft_conflict_pick(w->r[0], list, WEFT_RULE_MINE);
    assert_int_equal(mine->value.as.integer, 9);
    const weft_conflict_value *kept = weft_conflict_pick(w->r[0], list, cases[i].rule);
    assert_int_equal(weft_edit_begin(&e, w->r[0], NULL), WEFT_OK);
    assert_int_equal(weft_edit_keep(e, list, kept), WEFT_OK);
    assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
    weft_edit_free(e);
    assert_string_equal(get(w, 0, "/a"), cases[i].value);
    assert_int_equal(weft_replica_conflicts(w->r[0], &w->arena, text("t/one"), 0, &list, &count),
                     WEFT_OK);
    assert_int_equal(count, 0);
    test_pair_meet(w);
  }
}

/* A deletion and a container have no size, and nobody's own is nobody's. */
static void test_rules_undecided(void **state) {
  test_pair *w = *state;
  weft_conflict_entry *list;
  size_t count;
  set(w, 0, "/a", "{\"x\":1}");
  test_pair_meet(w);
  set(w, 0, "/a", NULL);
  set(w, 1, "/a/x", "2");
  test_pair_meet(w);
  assert_int_equal(weft_replica_conflicts(w->r[0], &w->arena, text("t/one"), 0, &list, &count),
                   WEFT_OK);
  assert_int_equal(count, 1);
  assert_null(weft_conflict_pick(w->r[0], list, WEFT_RULE_MAX));
  const weft_conflict_value *mine = weft_conflict_pick(w->r[0], list, WEFT_RULE_MINE);
  assert_int_equal(mine->shape, WEFT_SHAPE_NONE);
  weft_edit *e;
  weft_commit done;
  assert_int_equal(weft_edit_begin(&e, w->r[0], NULL), WEFT_OK);
  assert_int_equal(weft_edit_keep(e, list, mine), WEFT_OK);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  weft_edit_free(e);
  assert_string_equal(get(w, 0, ""), "{}");
}

static void test_audit(void **state) {
  test_pair *w = *state;
  weft_audit_place place = {0, 0};
  weft_audit_entry *list;
  size_t count, seen = 0, starts = 0;
  for (int i = 0; i < 700; i++) set(w, 0, "/a", i % 2 ? "1" : "2");
  set(w, 1, "/b", "1");
  test_pair_meet(w);
  do {
    weft__arena_reset(&w->arena);
    assert_int_equal(weft_replica_audit(w->r[0], &w->arena, &place, &list, &count), WEFT_OK);
    for (size_t i = 0; i < count; i++) {
      assert_true(list[i].proven);
      assert_true(list[i].shown);
      starts += list[i].kind == WEFT_CHANGE_START;
    }
    seen += count;
  } while (count > 0);
  assert_int_equal(seen, 703);
  assert_int_equal(starts, 2);
}

/* The clocks may say the same; then the logs decide, everywhere alike. */
static void test_rules_tie(void **state) {
  test_pair *w = *state;
  weft_id low = {{1}}, high = {{2}};
  weft_conflict_value values[3] = {
      {.shape = WEFT_SHAPE_SCALAR}, {.shape = WEFT_SHAPE_SCALAR}, {.shape = WEFT_SHAPE_SCALAR}};
  weft_conflict_entry entry = {.values = values, .value_count = 3};
  for (size_t i = 0; i < 3; i++) {
    values[i].value = (weft_value){.kind = WEFT_INT, .as.integer = 7};
    values[i].change.hlc = 5;
    values[i].change.log = i == 1 ? high : low;
    values[i].change.seq = i + 1;
  }
  assert_ptr_equal(weft_conflict_pick(w->r[0], &entry, WEFT_RULE_NEWEST), &values[1]);
  assert_ptr_equal(weft_conflict_pick(w->r[0], &entry, WEFT_RULE_OLDEST), &values[0]);
  assert_ptr_equal(weft_conflict_pick(w->r[0], &entry, WEFT_RULE_MAX), &values[1]);
  assert_null(weft_conflict_pick(w->r[0], &entry, WEFT_RULE_MINE));
}

/* --- asked for what is not there --- */

static void test_not_there(void **state) {
  test_pair *w = *state;
  weft_doc_diff diff;
  weft_blame_entry *blame;
  size_t count;
  weft_id id;
  set(w, 0, "/a", "1");
  set(w, 1, "/a", "1");
  const weft_vector *strange = weft_replica_shown(w->r[1]);
  assert_int_equal(weft_replica_diff(w->r[0], &w->arena, text("t/one"), strange, NULL, &diff),
                   WEFT_EBASE);
  assert_int_equal(weft_replica_diff(w->r[0], &w->arena, text("t/no"), NULL, NULL, &diff),
                   WEFT_ENOTFOUND);
  assert_int_equal(weft_replica_diff(w->r[0], &w->arena, text("no"), NULL, NULL, &diff),
                   WEFT_EBADNAME);
  assert_int_equal(weft_replica_blame(w->r[0], &w->arena, text("t/no"), &blame, &count),
                   WEFT_ENOTFOUND);
  assert_int_equal(weft_replica_blame(w->r[0], &w->arena, text("no"), &blame, &count),
                   WEFT_EBADNAME);
  assert_int_equal(weft_replica_vector_before_last(w->r[0], text("t/no"), &w->v, &id),
                   WEFT_ENOTFOUND);
  assert_int_equal(weft_replica_vector_before_last(w->r[0], text("t/one"), &w->v, NULL), WEFT_OK);
  assert_int_equal(weft_replica_diff(w->r[0], &w->arena, text("t/one"), &w->v, NULL, &diff),
                   WEFT_OK);
  assert_int_equal(diff.relation, WEFT_ORDER_BEFORE);
  assert_int_equal(diff.items[0].kind, WEFT_DIFF_ADDED);
}

/* --- memory --- */

typedef weft_err (*hungry)(weft_replica *r, weft_arena *arena);

static weft_err hungry_diff(weft_replica *r, weft_arena *arena) {
  weft_doc_diff diff;
  weft_vector none;
  weft__vector_init(&none, &arena->mem);
  return weft_replica_diff(r, arena, text("t/one"), &none, NULL, &diff);
}

static weft_err hungry_blame(weft_replica *r, weft_arena *arena) {
  weft_blame_entry *list;
  size_t count;
  return weft_replica_blame(r, arena, text("t/one"), &list, &count);
}

static weft_err hungry_tag(weft_replica *r, weft_arena *arena) {
  weft_commit done;
  weft_vector v;
  weft_err err = weft_replica_tag(r, text("t/one"), text("v1"), NULL, NULL, &done);
  weft__vector_init(&v, &arena->mem);
  if (err == WEFT_OK) err = weft_replica_vector_at_tag(r, text("t/one"), text("v1"), &v);
  weft__vector_free(&v);
  return err;
}

static weft_err hungry_restore(weft_replica *r, weft_arena *arena) {
  weft_commit done;
  weft_vector v;
  weft__vector_init(&v, &arena->mem);
  weft_err err = weft_replica_vector_before_last(r, text("t/one"), &v, NULL);
  if (err == WEFT_OK) {
    err = weft_replica_restore(r, text("t/one"), text(""), &v, NULL, NULL, &done);
  }
  weft__vector_free(&v);
  return err;
}

static weft_err hungry_revert(weft_replica *r, weft_arena *arena) {
  weft_commit done;
  weft_vector v;
  weft_id id;
  weft_revert_item *items;
  size_t count;
  weft__vector_init(&v, &arena->mem);
  weft_err err = weft_replica_vector_before_last(r, text("t/one"), &v, &id);
  if (err == WEFT_OK) err = weft_replica_revert(r, arena, &id, NULL, &items, &count, &done);
  weft__vector_free(&v);
  return err;
}

static weft_err hungry_strategy(weft_replica *r, weft_arena *arena) {
  weft_commit done;
  weft_strategy_rule rule = {text("t"), text("/a"), WEFT_STRATEGY_LWW}, *rules;
  size_t count;
  weft_err err = weft_replica_set_strategy(r, &rule, NULL, &done);
  return err == WEFT_OK ? weft_replica_strategies(r, arena, &rules, &count) : err;
}

static weft_err hungry_audit(weft_replica *r, weft_arena *arena) {
  weft_audit_place place = {0, 0};
  weft_audit_entry *list;
  size_t count;
  return weft_replica_audit(r, arena, &place, &list, &count);
}

enum { LONG_LIST = 600, LONG_LIST_BYTES = 16 << 20 };

/* The numbers from 0, or down to it. */
static void long_list(char *out, size_t len, bool down) {
  size_t at = 0;
  for (size_t i = 0; i < LONG_LIST; i++) {
    size_t n = down ? LONG_LIST - 1 - i : i;
    at += (size_t)snprintf(out + at, len - at, "%c%zu", i ? ',' : '[', n);
  }
  snprintf(out + at, len - at, "]");
}

/* As many members, each of them the same number. */
static void wide_object(char *out, size_t len, unsigned number) {
  size_t at = 0;
  for (size_t i = 0; i < LONG_LIST; i++) {
    at += (size_t)snprintf(out + at, len - at, "%c\"%04zu\":%u", i ? ',' : '{', i, number);
  }
  snprintf(out + at, len - at, "}");
}

/* What it takes to take a change of `before` into `after` back grows with it, not with its square.
 */
static void revert_long(const char *before, const char *after) {
  test_fault_alloc f = {0};
  test_space s;
  weft_replica *r;
  weft_arena arena;
  static char now[16 * LONG_LIST];
  test_space_make(&s, 1, 3);
  weft_replica_options o = test_space_options(&s, 0, test_memory_store());
  o.mem = test_fault_alloc_of(&f);
  assert_int_equal(weft_replica_open(&r, &o), WEFT_OK);
  test_space_add_records(&s, r);
  assert_int_equal(test_set(r, "t/one", "/a", before), WEFT_OK);
  assert_int_equal(test_set(r, "t/one", "/a", after), WEFT_OK);
  weft__arena_init(&arena, &o.mem);
  size_t asked = f.asked;
  assert_int_equal(hungry_revert(r, &arena), WEFT_OK);
  assert_in_range(f.asked - asked, 1, LONG_LIST_BYTES);
  assert_string_equal(test_get(r, "t/one", "/a", now, sizeof now), before);
  weft__arena_free(&arena);
  weft_replica_free(r);
  test_space_free(&s);
}

static void test_revert_long(void **state) {
  (void)state;
  static char before[16 * LONG_LIST], after[16 * LONG_LIST];
  long_list(before, sizeof before, false);
  long_list(after, sizeof after, true);
  revert_long(before, after);
  wide_object(before, sizeof before, 1);
  wide_object(after, sizeof after, 2);
  revert_long(before, after);
}

static void test_memory(void **state) {
  (void)state;
  static const hungry calls[] = {hungry_diff,   hungry_blame,    hungry_tag,  hungry_restore,
                                 hungry_revert, hungry_strategy, hungry_audit};
  for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
    weft_err err = WEFT_ENOMEM;
    for (size_t k = 1; err == WEFT_ENOMEM; k++) {
      test_fault_alloc f = {0};
      test_space s;
      weft_replica *r;
      weft_arena arena;
      test_space_make(&s, 1, 3);
      weft_replica_options o = test_space_options(&s, 0, test_memory_store());
      o.mem = test_fault_alloc_of(&f);
      assert_int_equal(weft_replica_open(&r, &o), WEFT_OK);
      test_space_add_records(&s, r);
      assert_int_equal(test_set(r, "t/one", "/a", "[1,2,{\"b\":[]}]"), WEFT_OK);
      assert_int_equal(test_set(r, "t/one", "/a/0", "[7]"), WEFT_OK);
      weft_edit *e;
      weft_commit done;
      assert_int_equal(weft_edit_begin(&e, r, NULL), WEFT_OK);
      assert_int_equal(weft_edit_move(e, text("t/one"), text("/a"), 0, 2), WEFT_OK);
      assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
      weft_edit_free(e);
      weft__arena_init(&arena, &o.mem);
      f.fail_at = f.calls + k;
      err = calls[c](r, &arena);
      bool hit = f.calls >= f.fail_at;
      f.fail_at = 0;
      assert_int_equal(err, hit ? WEFT_ENOMEM : WEFT_OK);
      weft__arena_free(&arena);
      weft_replica_free(r);
      assert_int_equal(f.live, 0);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_restore_part, test_pair_begin, test_pair_end),
      cmocka_unit_test_setup_teardown(test_revert_account, test_pair_begin, test_pair_end),
      cmocka_unit_test_setup_teardown(test_revert_refused, test_pair_begin, test_pair_end),
      cmocka_unit_test_setup_teardown(test_redo, test_pair_begin, test_pair_end),
      cmocka_unit_test_setup_teardown(test_tags, test_pair_begin, test_pair_end),
      cmocka_unit_test_setup_teardown(test_versions_not_there, test_pair_begin, test_pair_end),
      cmocka_unit_test_setup_teardown(test_preview, test_pair_begin, test_pair_end),
      cmocka_unit_test_setup_teardown(test_rules, test_pair_begin, test_pair_end),
      cmocka_unit_test_setup_teardown(test_rules_undecided, test_pair_begin, test_pair_end),
      cmocka_unit_test_setup_teardown(test_rules_tie, test_pair_begin, test_pair_end),
      cmocka_unit_test_setup_teardown(test_audit, test_pair_begin, test_pair_end),
      cmocka_unit_test_setup_teardown(test_not_there, test_pair_begin, test_pair_end),
      cmocka_unit_test(test_revert_long),
      cmocka_unit_test(test_memory),
      cmocka_unit_test(test_laws),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

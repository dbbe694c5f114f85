/* The recorded edits of real dashboards, written again as changes by as many devices as there were
 * authors, each of which has what came before and nothing else.  Then documents, history, blame,
 * old versions and differences are held against the record itself, by a table of paths that knows
 * nothing of documents.  WEFT_DASHBOARD_EDITS: how many of the edits (default: 60, of 619). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "bench/edits.h"
#include "crdt/hlc.h"
#include "crdt/json.h"
#include "store/history.h"
#include "tests/support/data.h"
#include "tests/support/pace.h"
#include "tests/support/space.h"

enum { TABLE = 1 << 18, LEVELS_MAX = 64 };

static weft_bytes text(const char *s) { return weft_bytes_str(s); }

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- the record --- */

typedef struct record_list {
  edits e;
  /* What writing each gave: */
  bool written[EDITS_MAX];
  weft_id changes[EDITS_MAX];
} record_list;

static bool record_read(record_list *l) {
  weft_bytes file = test_data_read("dashboards/history.jsonl.gz");
  weft_alloc mem = weft_alloc_libc();
  if (!file.at) return false;
  assert_int_equal(edits_read(&l->e, &mem, file), WEFT_OK);
  free((void *)(uintptr_t)file.at);
  size_t wanted = test_number("WEFT_DASHBOARD_EDITS", 60);
  if (wanted < l->e.count) l->e.count = wanted;
  return true;
}

/* --- the table of paths --- */

typedef struct leaf {
  size_t doc;
  weft_bytes pointer;
  weft_bytes json; /* at NULL: gone */
  weft_value value;
  size_t author;
  uint64_t seconds;
  size_t edit;     /* the last that changed it */
  bool met;        /* by a walk over the document */
  uint64_t newest; /* blamed at or below it */
} leaf;

typedef struct table {
  leaf *at;
  size_t alive;
} table;

static leaf *leaf_at(table *t, size_t doc, weft_bytes pointer) {
  uint64_t hash = 0xcbf29ce484222325u + doc;
  for (size_t i = 0; i < pointer.len; i++) hash = (hash ^ pointer.at[i]) * 0x100000001b3u;
  for (size_t i = hash % TABLE;; i = (i + 1) % TABLE) {
    leaf *l = &t->at[i];
    if (!l->pointer.at) {
      l->doc = doc;
      l->pointer = pointer;
      return l;
    }
    if (l->doc == doc && weft_bytes_cmp(l->pointer, pointer) == 0) return l;
  }
}

/* 1 and 1.0 are one value, to dashboards and to weft. */
static bool same(const weft_value *a, const weft_value *b) {
  bool number = (a->kind == WEFT_INT && b->kind == WEFT_DOUBLE) ||
                (a->kind == WEFT_DOUBLE && b->kind == WEFT_INT);
  if (!number) return weft_value_equal(a, b);
  double x = a->kind == WEFT_INT ? (double)a->as.integer : a->as.real;
  double y = b->kind == WEFT_INT ? (double)b->as.integer : b->as.real;
  return x == y;
}

/* Plays one edit into the table: what it takes away, then what it sets.  Gives how many leaves were
 * changed. */
static size_t table_play(table *t, const edits_one *e, size_t idx) {
  size_t changed = 0;
  for (unsigned setting = 0; setting < 2; setting++) {
    for (size_t i = 0; i < e->count; i++) {
      const edits_step *s = &e->steps[i];
      if (s->set != (setting == 1)) continue;
      leaf *l = leaf_at(t, e->doc, s->pointer);
      if (!s->set && !l->json.at) continue;
      if (s->set && l->json.at && same(&l->value, &s->value)) continue;
      t->alive += s->set && !l->json.at;
      t->alive -= !s->set;
      l->json = s->set ? s->json : weft_bytes_of(NULL, 0);
      l->value = s->value;
      l->author = e->author;
      l->seconds = e->seconds;
      l->edit = idx;
      changed++;
    }
  }
  return changed;
}

static table table_new(void) {
  table t = {calloc(TABLE, sizeof(leaf)), 0};
  assert_non_null(t.at);
  return t;
}

/* --- documents as leaves --- */

typedef struct level {
  const weft_value *v;
  size_t next;
  size_t len; /* of the pointer above it */
} level;

typedef void (*on_leaf)(void *ctx, weft_bytes pointer, const weft_value *v);

/* Walks everything below `v` that is no object with members; arrays are leaves. */
static void walk(const weft_value *v, on_leaf fn, void *ctx) {
  level stack[LEVELS_MAX];
  size_t depth = 0;
  weft_alloc mem = weft_alloc_libc();
  weft_buf pointer;
  weft__buf_init(&pointer, &mem, SIZE_MAX);
  stack[depth++] = (level){v, 0, 0};
  while (depth > 0) {
    level *top = &stack[depth - 1];
    pointer.len = top->len;
    if (top->next == top->v->as.object.count) {
      depth--;
      continue;
    }
    const weft_member *m = &top->v->as.object.at[top->next++];
    weft_pointer_push(&pointer, m->key);
    if (m->value.kind == WEFT_OBJECT && m->value.as.object.count > 0) {
      assert_true(depth < LEVELS_MAX);
      stack[depth++] = (level){&m->value, 0, pointer.len};
    } else {
      fn(ctx, weft__buf_view(&pointer), &m->value);
    }
  }
  weft__buf_free(&pointer);
}

typedef struct compare {
  table *t;
  size_t doc;
  size_t met, wrong;
} compare;

static void leaf_compare(void *ctx, weft_bytes pointer, const weft_value *v) {
  compare *c = ctx;
  leaf *l = NULL;
  bool empty = v->kind == WEFT_OBJECT;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_bytes copy;
  weft__arena_init(&arena, &mem);
  assert_int_equal(weft__arena_copy(&arena, pointer, &copy), WEFT_OK);
  l = leaf_at(c->t, c->doc, copy);
  if (l->pointer.at == copy.at) {
    l->pointer = weft_bytes_of(NULL, 0); /* it was not there */
    c->wrong += !empty;                  /* an object whose members all went stays, empty */
  } else if (l->json.at) {
    c->wrong += !same(&l->value, v);
    c->met++;
  } else {
    c->wrong += !empty;
  }
  weft__arena_free(&arena);
}

/* Holds a document against the leaves of the table. */
static void doc_compare(table *t, size_t doc, const weft_value *v, const char *what, size_t edit) {
  compare c = {t, doc, 0, 0};
  size_t want = 0;
  for (size_t i = 0; i < TABLE; i++) want += t->at[i].json.at && t->at[i].doc == doc;
  walk(v, leaf_compare, &c);
  if (c.wrong > 0 || c.met != want)
    fail_msg("%s after edit %zu: %zu leaves, %zu of them wrong; %zu wanted", what, edit, c.met,
             c.wrong, want);
}

/* --- the replay --- */

typedef struct replay {
  record_list *l;
  test_space s;
  weft_replica *hub;
  weft_replica *devices[EDITS_AUTHORS_MAX];
  size_t last[EDITS_AUTHORS_MAX]; /* edit of each */
  table t;
  weft_arena arena;
  size_t ops, most, changed;
} replay;

/* Where the token at `at` of a pointer ends. */
static size_t token_end(weft_bytes pointer, size_t at) {
  while (at < pointer.len && pointer.at[at] != '/') at++;
  return at;
}

/* Pointers by their tokens, so that what lies in one object lies together. */
static int by_tokens(const void *a, const void *b) {
  weft_bytes x = (*(leaf *const *)a)->pointer, y = (*(leaf *const *)b)->pointer;
  size_t i = 1, k = 1;
  while (i <= x.len && k <= y.len) {
    size_t x_end = token_end(x, i), y_end = token_end(y, k);
    int order =
        weft_bytes_cmp(weft_bytes_of(x.at + i, x_end - i), weft_bytes_of(y.at + k, y_end - k));
    if (order != 0) return order;
    i = x_end + 1;
    k = y_end + 1;
  }
  return x.len < y.len ? -1 : x.len > y.len;
}

static bool lies_below(weft_bytes pointer, weft_bytes above) {
  return pointer.len > above.len && memcmp(pointer.at, above.at, above.len) == 0 &&
         pointer.at[above.len] == '/';
}

/* Writes the key of a token: "~1" is a slash, "~0" a tilde. */
static void key_write(weft_buf *b, weft_bytes token) {
  weft_buf key;
  weft_alloc mem = weft_alloc_libc();
  weft__buf_init(&key, &mem, SIZE_MAX);
  for (size_t i = 0; i < token.len; i++) {
    bool escaped = token.at[i] == '~' && i + 1 < token.len;
    weft__buf_u8(&key, !escaped ? token.at[i] : token.at[i + 1] == '1' ? '/' : '~');
    i += escaped;
  }
  weft_value v = {.kind = WEFT_STRING, .as.bytes = weft__buf_view(&key)};
  weft_json_write(b, &v);
  weft__buf_u8(b, ':');
  weft__buf_free(&key);
}

/* Goes from one leaf to the next: closes the objects that end, opens those that begin. */
static void leaf_write(weft_buf *b, weft_bytes last, const leaf *l, size_t *depth) {
  size_t shared = 1, at = 1, kept = 0, rank = 0;
  for (size_t end; (end = token_end(l->pointer, at)) < l->pointer.len; at = end + 1) {
    rank++; /* this token is an object's */
    bool same_so_far = kept + 1 == rank && last.len > end && last.at[end] == '/' &&
                       memcmp(last.at, l->pointer.at, end) == 0;
    if (same_so_far) {
      kept = rank;
      shared = end + 1;
    }
  }
  bool first = *depth == 0 && last.len == 0;
  for (; *depth > kept; --*depth) weft__buf_u8(b, '}');
  if (!first) weft__buf_u8(b, ',');
  at = shared;
  for (size_t end; (end = token_end(l->pointer, at)) < l->pointer.len; at = end + 1) {
    key_write(b, weft_bytes_of(l->pointer.at + at, end - at));
    weft__buf_u8(b, '{');
    ++*depth;
  }
  key_write(b, weft_bytes_of(l->pointer.at + at, l->pointer.len - at));
  weft__buf_put(b, l->json);
}

/* The document that the leaves of the table make. */
static weft_value doc_build(replay *p, size_t doc) {
  size_t count = 0, depth = 0;
  leaf **list = calloc(p->t.alive + 1, sizeof *list);
  weft_buf b;
  weft_bytes last = weft_bytes_of("", 0);
  weft_value v;
  for (size_t i = 0; i < TABLE; i++) {
    leaf *l = &p->t.at[i];
    if (l->json.at && l->doc == doc) list[count++] = l;
  }
  qsort(list, count, sizeof *list, by_tokens);
  weft__buf_init(&b, &p->l->e.mem, SIZE_MAX);
  weft__buf_u8(&b, '{');
  for (size_t i = 0; i < count; i++) {
    bool filled = i + 1 < count && lies_below(list[i + 1]->pointer, list[i]->pointer);
    if (filled) continue; /* an empty object that got members */
    leaf_write(&b, last, list[i], &depth);
    last = list[i]->pointer;
  }
  for (; depth > 0; depth--) weft__buf_u8(&b, '}');
  weft__buf_u8(&b, '}');
  weft_json_error why;
  if (weft_json_parse(&p->arena, weft__buf_view(&b), &v, &why) != WEFT_OK) fail_msg("%s", why.text);
  weft__buf_free(&b);
  free(list);
  return v;
}

/* As an editor does: the document as it is to be, of which the difference is written. */
static void edit_write(replay *p, size_t idx) {
  const edits_one *e = &p->l->e.at[idx];
  weft_edit *edit;
  weft_commit done;
  weft_replica *r = p->devices[e->author];
  weft__arena_reset(&p->arena);
  weft_value v = doc_build(p, e->doc);
  assert_int_equal(weft_edit_begin(&edit, r, NULL), WEFT_OK);
  assert_int_equal(weft_edit_import(edit, p->l->e.docs[e->doc], &v, false), WEFT_OK);
  assert_int_equal(weft_edit_commit(edit, &done), WEFT_OK);
  weft_edit_free(edit);
  p->l->written[idx] = done.written;
  p->l->changes[idx] = done.change;
  p->ops += done.op_count;
  if (done.op_count > p->most) p->most = done.op_count;
}

static void replay_all(replay *p) {
  const edits *l = &p->l->e;
  test_space_make(&p->s, l->author_count + 1, 619);
  for (size_t i = 0; i < l->author_count + 1; i++) p->s.platforms[i].now = 1000;
  p->hub = test_space_memory(&p->s, l->author_count);
  for (size_t i = 0; i < l->count; i++) p->last[l->at[i].author] = i;
  for (size_t i = 0; i < l->count; i++) {
    const edits_one *e = &l->at[i];
    weft_replica **r = &p->devices[e->author];
    p->s.platforms[l->author_count].now = e->seconds * 1000;
    p->s.platforms[e->author].now = e->seconds * 1000;
    if (!*r) *r = test_space_memory(&p->s, e->author);
    test_pull(*r, p->hub, 64);
    size_t changed = table_play(&p->t, e, i);
    edit_write(p, i);
    if ((changed > 0) != p->l->written[i])
      fail_msg("line %zu: %zu leaves changed", e->line, changed);
    p->changed += changed;
    test_pull(p->hub, *r, 64);
    if (p->last[e->author] != i) continue;
    weft_replica_free(*r);
    *r = NULL;
  }
}

/* --- what is checked --- */

static void check_documents(replay *p) {
  weft_counts counts;
  for (size_t d = 0; d < p->l->e.doc_count; d++) {
    weft_value v;
    weft_err err = weft_replica_get(p->hub, &p->arena, p->l->e.docs[d], text(""), &v);
    if (err == WEFT_OK) doc_compare(&p->t, d, &v, "document", p->l->e.count);
  }
  assert_int_equal(weft_replica_counts(p->hub, &counts), WEFT_OK);
  assert_int_equal(counts.conflicts, 0); /* everybody had seen what came before */
}

/* Newest first, each edit that changed something, by whom and when. */
static size_t check_history(replay *p) {
  size_t entries = 0;
  for (size_t d = 0; d < p->l->e.doc_count; d++) {
    weft_history_query q;
    weft_history_entry *list;
    size_t count, at = 0;
    weft_bytes next;
    weft_history_query_init(&q);
    q.doc = p->l->e.docs[d];
    q.limit = 10000;
    weft_err err = weft_replica_history(p->hub, &p->arena, &q, &list, &count, &next);
    if (err == WEFT_ENOTFOUND) continue;
    assert_int_equal(err, WEFT_OK);
    for (size_t i = p->l->e.count; i-- > 0;) {
      const edits_one *e = &p->l->e.at[i];
      if (e->doc != d || !p->l->written[i]) continue;
      assert_true(at < count);
      assert_memory_equal(&list[at].change, &p->l->changes[i], sizeof(weft_id));
      assert_memory_equal(&list[at].device, &p->s.devices[e->author].device, sizeof(weft_id));
      assert_int_equal(weft_hlc_ms(list[at].hlc), e->seconds * 1000);
      at++;
    }
    assert_int_equal(at, count);
    entries += count;
    weft__arena_reset(&p->arena);
  }
  return entries;
}

/* Of every value that is shown: who changed it last, and when. */
static size_t check_blame(replay *p) {
  size_t checked = 0;
  for (size_t d = 0; d < p->l->e.doc_count; d++) {
    weft_blame_entry *list;
    size_t count;
    if (weft_replica_blame(p->hub, &p->arena, p->l->e.docs[d], &list, &count) != WEFT_OK) continue;
    for (size_t i = 0; i < count; i++) {
      weft_bytes at = list[i].pointer;
      leaf *l = leaf_at(&p->t, d, at);
      if (l->pointer.at == at.at) l->pointer = weft_bytes_of(NULL, 0);
      if (!l->json.at || !weft_value_is_scalar(&l->value)) continue;
      const weft_history_entry *change = &list[i].change;
      if (weft_id_cmp(&change->device, &p->s.devices[l->author].device) != 0 ||
          weft_hlc_ms(change->hlc) != l->seconds * 1000 ||
          weft_id_cmp(&change->change, &p->l->changes[l->edit]) != 0)
        fail_msg("blame of %.*s", (int)at.len, (const char *)at.at);
      checked++;
    }
    weft__arena_reset(&p->arena);
  }
  return checked;
}

typedef struct tally {
  size_t leaves;
} tally;

static void leaf_count(void *ctx, weft_bytes pointer, const weft_value *v) {
  (void)pointer;
  ((tally *)ctx)->leaves += v->kind != WEFT_OBJECT;
}

/* Old versions, and what an edit made different: at every `every`-th edit, and at the largest. */
static size_t check_versions(replay *p, size_t every) {
  table t = table_new();
  weft_vector before, after;
  size_t checked = 0, largest = 0;
  weft_value v;
  weft__vector_init(&before, &p->l->e.mem);
  weft__vector_init(&after, &p->l->e.mem);
  for (size_t i = 0; i < p->l->e.count; i++) {
    if (p->l->e.at[i].count > p->l->e.at[largest].count) largest = i;
  }
  size_t previous[EDITS_DOCS_MAX] = {0};
  for (size_t i = 0; i < p->l->e.count; i++) {
    const edits_one *e = &p->l->e.at[i];
    weft_bytes doc = p->l->e.docs[e->doc];
    size_t changed = table_play(&t, e, i), was = previous[e->doc];
    previous[e->doc] = i + 1;
    if (!p->l->written[i] || was == 0 || (i % every != 0 && i != largest)) continue;
    size_t base = was - 1;
    if (!p->l->written[base]) continue;
    weft__arena_reset(&p->arena);
    assert_int_equal(weft_replica_version_after(p->hub, doc, weft_bytes_of(p->l->changes[i].b, 32),
                                                &after, NULL),
                     WEFT_OK);
    assert_int_equal(weft_replica_get_at(p->hub, &p->arena, doc, text(""), &after, &v), WEFT_OK);
    doc_compare(&t, e->doc, &v, "version", i);
    assert_int_equal(weft_replica_version_after(
                         p->hub, doc, weft_bytes_of(p->l->changes[base].b, 32), &before, NULL),
                     WEFT_OK);
    weft_doc_diff diff;
    assert_int_equal(weft_replica_diff(p->hub, &p->arena, doc, &before, &after, &diff), WEFT_OK);
    assert_int_equal(diff.relation, WEFT_ORDER_BEFORE);
    for (size_t k = 0; k < diff.count; k++) { /* nothing differs but what the edit touched */
      leaf *l = leaf_at(&t, e->doc, diff.items[k].path);
      if (l->pointer.at == diff.items[k].path.at) l->pointer = weft_bytes_of(NULL, 0);
      if (l->json.at && l->edit != i)
        fail_msg("edit %zu: %.*s differs", i, (int)l->pointer.len, (const char *)l->pointer.at);
    }
    if ((changed > 0) != (diff.count > 0)) fail_msg("edit %zu: no difference", i);
    checked++;
  }
  weft__vector_free(&before);
  weft__vector_free(&after);
  free(t.at);
  return checked;
}

static void test_replay(void **state) {
  (void)state;
  replay *p = calloc(1, sizeof *p);
  p->l = calloc(1, sizeof *p->l);
  if (!record_read(p->l)) {
    free(p->l);
    free(p);
    test_skip_no_data();
  }
  p->t = table_new();
  weft__arena_init(&p->arena, &p->l->e.mem);
  double start = now();
  replay_all(p);
  double played = now();
  check_documents(p);
  size_t entries = check_history(p), blamed = check_blame(p), versions = check_versions(p, 20);
  tally sum = {0};
  for (size_t d = 0; d < p->l->e.doc_count; d++) {
    weft_value v;
    weft__arena_reset(&p->arena);
    if (weft_replica_get(p->hub, &p->arena, p->l->e.docs[d], text(""), &v) == WEFT_OK)
      walk(&v, leaf_count, &sum);
  }
  print_message(
      "%zu edits of %zu documents by %zu devices: %zu changes, %zu ops (at most %zu), %zu leaves "
      "changed, %zu stand; %zu blamed, %zu versions and differences; replay %.1f s, "
      "checks %.1f s\n",
      p->l->e.count, p->l->e.doc_count, p->l->e.author_count, entries, p->ops, p->most, p->changed,
      sum.leaves, blamed, versions, played - start, now() - played);
  for (size_t i = 0; i < p->l->e.author_count; i++) weft_replica_free(p->devices[i]);
  weft_replica_free(p->hub);
  test_space_free(&p->s);
  weft__arena_free(&p->arena);
  edits_free(&p->l->e);
  free(p->t.at);
  free(p->l);
  free(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_replay)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

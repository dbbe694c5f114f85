/* Questions to a replica over both stores: lists, indexes, history, conflicts, the past; each
 * against a plain model that keeps whole documents. */
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
#include "store/query_internal.h"
#include "store/replica_internal.h"
#include "tests/support/bed.h"

enum { DOCS = 40, TEXT_LEN = 512, PAGE_MAX = 100 };

static weft_bytes text(const char *s) { return weft_bytes_str(s); }

/* --- a plain model of documents --- */

typedef struct model_doc {
  char name[32];
  bool there;
  bool live;
  unsigned versions;
  weft_ms created, modified;
  weft_value value;
} model_doc;

typedef struct model {
  model_doc docs[DOCS];
} model;

/* The order of values, said another way: ranks, then numbers as long doubles. */
static int rank_of(const weft_value *v) {
  if (!v) return 0;
  switch (v->kind) {
  case WEFT_NULL: return 1;
  case WEFT_BOOL: return 2;
  case WEFT_INT:
  case WEFT_DOUBLE: return 3;
  case WEFT_STRING: return 4;
  case WEFT_BYTES: return 5;
  case WEFT_ARRAY: return 6;
  case WEFT_OBJECT: return 7;
  }
  return 8;
}

static long double number_of(const weft_value *v) {
  return v->kind == WEFT_INT ? (long double)v->as.integer : (long double)v->as.real;
}

static int plain_cmp(const weft_value *a, const weft_value *b) {
  int x = rank_of(a);
  int y = rank_of(b);
  if (x != y) return x < y ? -1 : 1;
  if (x == 2) return (int)a->as.boolean - (int)b->as.boolean;
  if (x == 3) {
    long double m = number_of(a);
    long double n = number_of(b);
    return m < n ? -1 : m > n;
  }
  return x == 4 || x == 5 ? weft_bytes_cmp(a->as.bytes, b->as.bytes) : 0;
}

/* What a field says; `store` holds values that stand in no document. */
static const weft_value *plain_field(const model_doc *d, const char *field, weft_value *store) {
  store->kind = WEFT_INT;
  if (strcmp(field, "@created") == 0) {
    store->as.integer = (int64_t)d->created;
  } else if (strcmp(field, "@modified") == 0) {
    store->as.integer = (int64_t)d->modified;
  } else if (strcmp(field, "@versions") == 0) {
    store->as.integer = d->versions;
  } else if (!d->live) {
    return NULL;
  } else if (strcmp(field, "/meta/size") == 0) {
    const weft_value *meta = weft_value_member(&d->value, text("meta"));
    return meta ? weft_value_member(meta, text("size")) : NULL;
  } else {
    return weft_value_member(&d->value, text(field + 1));
  }
  return store;
}

static char small(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

static bool plain_contains(weft_bytes in, weft_bytes part) {
  for (size_t at = 0; at + part.len <= in.len; at++) {
    size_t k = 0;
    while (k < part.len && small((char)in.at[at + k]) == small((char)part.at[k])) k++;
    if (k == part.len) return true;
  }
  return false;
}

static int plain_where_cmp(const weft_where *w, const weft_value *v) {
  weft_value t = {.kind = WEFT_STRING, .as.bytes = w->text};
  return plain_cmp(v, v->kind == WEFT_STRING && w->text.len > 0 ? &t : &w->value);
}

static bool plain_holds(const weft_where *w, const weft_value *v) {
  if (!v) return w->op == WEFT_WHERE_NE;
  if (w->op == WEFT_WHERE_CONTAINS) {
    weft_bytes part = w->text.len > 0 ? w->text : w->value.as.bytes;
    bool has_part = w->text.len > 0 || w->value.kind == WEFT_STRING;
    if (v->kind == WEFT_STRING) return has_part && plain_contains(v->as.bytes, part);
    if (v->kind != WEFT_ARRAY) return false;
    for (size_t i = 0; i < v->as.array.count; i++) {
      if (plain_where_cmp(w, &v->as.array.at[i]) == 0) return true;
    }
    return false;
  }
  int c = plain_where_cmp(w, v);
  switch (w->op) {
  case WEFT_WHERE_EQ: return c == 0;
  case WEFT_WHERE_NE: return c != 0;
  case WEFT_WHERE_LT: return c < 0;
  case WEFT_WHERE_LE: return c <= 0;
  case WEFT_WHERE_GT: return c > 0;
  case WEFT_WHERE_GE: return c >= 0;
  case WEFT_WHERE_CONTAINS: break;
  }
  return false;
}

static char *field_text(weft_bytes field, char out[TEXT_LEN]) {
  memcpy(out, field.at, field.len);
  out[field.len] = 0;
  return out;
}

static int plain_doc_cmp(const weft_query *q, const model_doc *a, const model_doc *b) {
  weft_value x, y;
  char field[TEXT_LEN];
  int order = 0;
  if (q->sort.len > 0) {
    field_text(q->sort, field);
    order = plain_cmp(plain_field(a, field, &x), plain_field(b, field, &y));
  }
  if (order == 0) order = strcmp(a->name, b->name);
  return q->descending ? -order : order;
}

/* The whole list, in order. */
static size_t plain_list(const model *m, const weft_query *q, const model_doc **out) {
  size_t count = 0;
  for (size_t i = 0; i < DOCS; i++) {
    const model_doc *d = &m->docs[i];
    size_t len = q->collection.len;
    bool fits = d->there && d->live != q->deleted;
    if (len > 0) fits = fits && memcmp(d->name, q->collection.at, len) == 0 && d->name[len] == '/';
    if (len == 0 && !q->reserved) fits = fits && strncmp(d->name, "weft/", 5) != 0;
    for (size_t k = 0; k < q->where_count && fits; k++) {
      weft_value store;
      char field[TEXT_LEN];
      field_text(q->where[k].pointer, field);
      fits = plain_holds(&q->where[k], plain_field(d, field, &store));
    }
    if (!fits) continue;
    size_t at = count++;
    while (at > 0 && plain_doc_cmp(q, d, out[at - 1]) < 0) {
      out[at] = out[at - 1];
      at--;
    }
    out[at] = d;
  }
  return count;
}

/* --- generated documents --- */

static const char *const scalars[] = {"null",
                                      "true",
                                      "false",
                                      "0",
                                      "-1",
                                      "5",
                                      "5.0",
                                      "5.5",
                                      "-0.0",
                                      "9007199254740993",
                                      "9007199254740992.0",
                                      "9223372036854775807",
                                      "-9223372036854775807",
                                      "-9223372036854775808",
                                      "9223372036854775808.0",
                                      "-1e300",
                                      "\"\"",
                                      "\"5\"",
                                      "\"press\"",
                                      "\"Bench Press\"",
                                      "\"pre\\u0000ss\"",
                                      "\"pre\"",
                                      "[]",
                                      "[1,\"5\",5]",
                                      "{}",
                                      "{\"x\":1}"};
enum { SCALARS = sizeof scalars / sizeof *scalars, WHERE_SCALARS = SCALARS - 4 };
static const char *const fields[] = {"/a",       "/b",        "/meta/size",
                                     "@created", "@modified", "@versions"};

static weft_value parse(test_bed *f, const char *json) {
  weft_value v;
  assert_int_equal(weft_json_parse(&f->arena, text(json), &v, NULL), WEFT_OK);
  return v;
}

static weft_value any_doc(test_bed *f, test_rng *rng) {
  char json[TEXT_LEN] = "{\"z\":1";
  static const char *const members[] = {"a", "b"};
  for (size_t i = 0; i < 2; i++) {
    if (test_rng_chance(rng, 15)) continue;
    size_t len = strlen(json);
    snprintf(json + len, sizeof json - len, ",\"%s\":%s", members[i],
             scalars[test_rng_below(rng, SCALARS)]);
  }
  if (test_rng_chance(rng, 80)) {
    size_t len = strlen(json);
    snprintf(json + len, sizeof json - len, ",\"meta\":{\"size\":%s}",
             scalars[test_rng_below(rng, SCALARS)]);
  }
  strcat(json, "}");
  return parse(f, json);
}

/* One change of one document: an import, or a deletion. */
static void change_doc(test_bed *f, model *m, size_t idx, test_rng *rng) {
  model_doc *d = &m->docs[idx];
  weft_edit *e;
  weft_commit done;
  f->s.platforms[0].now += 1 + test_rng_below(rng, 3);
  static const char *const apart[] = {"t2", "t/deep", "weft/tags/t", "weft"};
  static const char *const last[] = {"weft0", "weg"}; /* right behind the reserved names */
  const char *collection = idx % 3 ? "t" : apart[idx / 3 % 4];
  if (idx >= DOCS - 2) collection = last[idx - (DOCS - 2)];
  snprintf(d->name, sizeof d->name, "%s/%02zu", collection, idx);
  assert_int_equal(weft_edit_begin(&e, f->r, NULL), WEFT_OK);
  bool gone = d->live && test_rng_chance(rng, 20);
  weft_value value = any_doc(f, rng);
  if (gone) {
    assert_int_equal(weft_edit_delete(e, text(d->name)), WEFT_OK);
  } else {
    assert_int_equal(weft_edit_import(e, text(d->name), &value, false), WEFT_OK);
  }
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  weft_edit_free(e);
  if (!done.written) return;
  if (!d->there) d->created = weft_hlc_ms(done.hlc);
  d->modified = weft_hlc_ms(done.hlc);
  d->versions++;
  d->there = true;
  d->live = !gone;
  if (!gone) d->value = value;
}

static weft_where any_where(test_bed *f, test_rng *rng) {
  weft_where w = {.op = (weft_where_op)test_rng_below(rng, 7)};
  size_t field = test_rng_below(rng, 6);
  w.pointer = text(fields[field]);
  size_t pick = test_rng_below(rng, WHERE_SCALARS);
  w.value = parse(f, scalars[pick]);
  if (field > 2 && w.value.kind == WEFT_INT) {
    w.value.as.integer = field == 5 ? 2 : (int64_t)f->s.platforms[0].now - 40;
  }
  if (w.value.kind == WEFT_STRING || test_rng_chance(rng, 50)) {
    w.text = w.value.kind == WEFT_STRING ? w.value.as.bytes : text(scalars[pick]);
    if (w.value.kind == WEFT_STRING && test_rng_chance(rng, 50)) w.value = parse(f, "5");
  }
  return w;
}

static void assert_item(const weft_list_item *item, const model_doc *d) {
  assert_int_equal(item->info.name.len, strlen(d->name));
  assert_memory_equal(item->info.name.at, d->name, item->info.name.len);
  assert_int_equal(item->info.deleted, !d->live);
  assert_int_equal(item->info.versions, d->versions);
  assert_int_equal(weft_hlc_ms(item->info.created_hlc), d->created);
  assert_int_equal(weft_hlc_ms(item->info.modified_hlc), d->modified);
  assert_int_equal(item->info.conflicts, 0);
  if (d->live) assert_true(weft_value_equal(&item->value, &d->value));
}

/* Reads a list page by page and compares it with the model's. */
static void assert_listed(test_bed *f, const model *m, weft_query q, size_t page, bool indexed) {
  const model_doc *want[DOCS];
  size_t count = plain_list(m, &q, want);
  size_t at = 0;
  q.limit = page;
  do {
    weft_list list;
    assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_OK);
    assert_int_equal(list.indexed, indexed);
    assert_true(list.count <= page && at + list.count <= count);
    for (size_t i = 0; i < list.count; i++) assert_item(&list.items[i], want[at++]);
    q.cursor = list.next;
    if (list.next.len > 0) assert_int_equal(list.count, page);
  } while (q.cursor.len > 0);
  assert_int_equal(at, count);
}

static void declare(test_bed *f, const char *collection, const char *pointer) {
  assert_int_equal(weft_replica_declare_index(f->r, text(collection), text(pointer)), WEFT_OK);
}

/* Whether some index serves the question. */
static bool serves(const weft_query *q, const bool has[6]) {
  if (q->deleted || weft_bytes_cmp(q->collection, text("t")) != 0) return false;
  for (size_t i = 0; i < 6; i++) {
    if (!has[i]) continue;
    if (weft_bytes_cmp(q->sort, text(fields[i])) == 0) return true;
    for (size_t k = 0; k < q->where_count; k++) {
      bool narrows = q->where[k].op != WEFT_WHERE_NE && q->where[k].op != WEFT_WHERE_CONTAINS;
      if (narrows && weft_bytes_cmp(q->where[k].pointer, text(fields[i])) == 0) return true;
    }
  }
  return false;
}

static void ask(test_bed *f, const model *m, test_rng *rng, const bool has[6]) {
  static const char *const collections[] = {"",       "",     "t",    "t",        "t2",
                                            "t/deep", "none", "weft", "weft/tags"};
  weft_query q;
  weft_where where[3];
  weft_query_init(&q);
  q.collection = text(collections[test_rng_below(rng, 9)]);
  q.reserved = test_rng_chance(rng, 30);
  q.where = where;
  q.where_count = test_rng_below(rng, 4);
  for (size_t i = 0; i < q.where_count; i++) where[i] = any_where(f, rng);
  if (q.where_count > 1 && test_rng_chance(rng, 50)) where[1].pointer = where[0].pointer;
  if (test_rng_chance(rng, 60)) q.sort = text(fields[test_rng_below(rng, 6)]);
  q.descending = test_rng_chance(rng, 50);
  q.deleted = test_rng_chance(rng, 10);
  assert_listed(f, m, q, 1 + test_rng_below(rng, 9), serves(&q, has));
  weft__arena_reset(&f->arena);
}

/* Values live as long as the model does; answers do not. */
static void test_lists(void **state) {
  test_bed *f = *state;
  model *m = calloc(1, sizeof *m);
  test_bed ask_f = *f;
  weft__arena_init(&ask_f.arena, &f->mem);
  for (uint64_t seed = 1; seed <= 12; seed++) {
    test_rng rng = test_rng_of(seed);
    bool has[6] = {false};
    for (size_t i = 0; i < 6 && seed > 3; i++) has[i] = test_rng_chance(&rng, 60);
    for (size_t i = 0; i < 6; i++) {
      if (has[i] && seed % 2) declare(f, "t", fields[i]);
    }
    for (size_t i = 0; i < 30; i++) change_doc(f, m, test_rng_below(&rng, DOCS), &rng);
    for (size_t i = 0; i < 6; i++) {
      if (has[i] && seed % 2 == 0) declare(f, "t", fields[i]);
    }
    for (size_t i = 0; i < 20; i++) change_doc(f, m, test_rng_below(&rng, DOCS), &rng);
    ask_f.s = f->s;
    for (size_t i = 0; i < 150; i++) ask(&ask_f, m, &rng, has);
    for (size_t i = 0; i < 6; i++) {
      if (!has[i]) continue;
      assert_int_equal(weft_replica_declare_index(f->r, text("t"), text(fields[i])), WEFT_EEXIST);
      assert_int_equal(weft_replica_drop_index(f->r, text("t"), text(fields[i])), WEFT_OK);
      assert_int_equal(weft_replica_drop_index(f->r, text("t"), text(fields[i])), WEFT_ENOTFOUND);
    }
  }
  weft__arena_free(&ask_f.arena);
  free(m);
}

static size_t listed(test_bed *f, bool reserved, bool deleted) {
  weft_query q;
  weft_list list;
  weft_query_init(&q);
  q.reserved = reserved;
  q.deleted = deleted;
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_OK);
  return list.count;
}

/* A question is answered from indexes as far as they tell, and says so; an entry that tells what
 * the document does not say is noticed. */
static void test_plans(void **state) {
  test_bed *f = *state;
  char json[64], name[16];
  for (unsigned i = 0; i < 40; i++) {
    snprintf(json, sizeof json, "{\"a\":%u,\"b\":\"%s\"}", i, i % 4 ? "no" : "yes");
    snprintf(name, sizeof name, "p/%02u", i);
    assert_int_equal(test_set(f->r, name, "", json), WEFT_OK);
  }
  weft_where where[2] = {{.pointer = text("/b"), .op = WEFT_WHERE_EQ, .text = text("yes")},
                         {.pointer = text("/a"), .op = WEFT_WHERE_GE, .value.kind = WEFT_INT}};
  where[0].value = (weft_value){.kind = WEFT_STRING, .as.bytes = text("yes")};
  where[1].value.as.integer = 8;
  weft_query q;
  weft_list list;
  weft_query_init(&q);
  q.collection = text("p");
  q.where = where;
  q.where_count = 2;
  q.sort = text("/a");
  q.limit = 4;
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_OK);
  assert_true(list.count == 4 && !list.indexed && !list.plan.ordered && list.plan.read == 40);
  declare(f, "p", "/a");
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_OK);
  assert_true(list.count == 4 && list.plan.ordered && list.plan.probed == 0);
  assert_int_equal(list.plan.by[0], WEFT_LIST_BY_DOCUMENT);
  assert_int_equal(list.plan.by[1], WEFT_LIST_BY_KEY);
  assert_int_equal(list.plan.walked, 17); /* 8 to 24: the fifth is the next page's */
  assert_int_equal(list.plan.read, 17);
  declare(f, "p", "/b");
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_OK);
  assert_int_equal(list.plan.by[0], WEFT_LIST_BY_INDEX);
  assert_true(list.count == 4 && list.plan.walked == 17 && list.plan.probed == 17);
  assert_int_equal(list.plan.read, 0);
  assert_int_equal(weft_bytes_cmp(list.plan.index, text("/a")), 0);

  weft_dbkey key;
  weft_sort_key yes;
  weft_txn *txn;
  weft__sort_key(&where[0].value, &yes);
  const weft_index *index = weft__index_find(f->r, text("p"), text("/b"));
  const uint8_t number[4] = {0};
  assert_int_equal(weft_store_begin(f->r->store, WEFT_TXN_WRITE, &txn), WEFT_OK);
  assert_int_equal(
      weft_txn_put(txn, WEFT_TABLE_INDEX,
                   weft__index_key(&key, index, weft__sort_key_view(&yes), text("p/09")),
                   weft_bytes_of(number, sizeof number)),
      WEFT_OK);
  assert_int_equal(weft_txn_commit(txn), WEFT_OK);
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_ECORRUPT);
  where[1].op = WEFT_WHERE_LT;
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_OK);
}

/* Keys are found again in front of what follows them, and nothing that is none is taken for one. */
static void test_keys_split(void **state) {
  test_bed *f = *state;
  for (size_t i = 0; i < SCALARS; i++) {
    weft_value v = parse(f, scalars[i]);
    weft_sort_key k;
    uint8_t both[sizeof k.b + 4];
    weft_bytes key, rest;
    weft__sort_key(&v, &k);
    memcpy(both, k.b, k.len);
    memcpy(both + k.len, "rest", 4);
    assert_true(weft__sort_key_split(weft_bytes_of(both, k.len + 4u), &key, &rest));
    assert_int_equal(key.len, k.len);
    assert_int_equal(weft_bytes_cmp(rest, text("rest")), 0);
    if (k.len > 1) assert_false(weft__sort_key_split(weft_bytes_of(both, 2), &key, &rest));
  }
  weft_bytes key, rest;
  assert_false(weft__sort_key_split(text(""), &key, &rest));
  assert_false(weft__sort_key_split(weft_bytes_of("\0", 1), &key, &rest));
  assert_false(weft__sort_key_split(weft_bytes_of("\12", 1), &key, &rest));
}

/* What the library keeps in documents of its own is neither counted nor listed unasked, an index
 * over everything included. */
static void test_reserved(void **state) {
  test_bed *f = *state;
  weft_counts counts;
  static const char *const names[] = {"t/a", "weft/tags/t/a", "weft/strategies/t", "x/a"};
  for (size_t i = 0; i < 4; i++) {
    assert_int_equal(test_set(f->r, names[i], "/n", "1"), WEFT_OK);
  }
  for (unsigned round = 0; round < 3; round++) {
    if (round == 1) declare(f, "", "/n");
    if (round == 2) {
      weft_edit *e;
      weft_commit done;
      assert_int_equal(weft_edit_begin(&e, f->r, NULL), WEFT_OK);
      assert_int_equal(weft_edit_delete(e, text(names[0])), WEFT_OK);
      assert_int_equal(weft_edit_delete(e, text(names[1])), WEFT_OK);
      assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
      weft_edit_free(e);
    }
    assert_int_equal(weft_replica_counts(f->r, &counts), WEFT_OK);
    assert_int_equal(counts.docs, round == 2 ? 1 : 2);
    assert_int_equal(counts.deleted, round == 2 ? 1 : 0);
    for (unsigned deleted = 0; deleted < 2; deleted++) {
      uint64_t want = deleted ? counts.deleted : counts.docs;
      assert_int_equal(listed(f, false, deleted), want);
      assert_int_equal(listed(f, true, deleted), round < 2 ? (deleted ? 0 : 4) : 2);
    }
  }
  assert_int_equal(test_set(f->r, names[0], "/n", "1"), WEFT_OK);
  weft_query q;
  weft_list list;
  weft_query_init(&q);
  q.sort = text("/n");
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_OK);
  assert_true(list.indexed);
  assert_int_equal(list.count, 2);
}

/* Who wrote what, of one device in several logs too. */
static void test_contributors(void **state) {
  test_bed *f = *state;
  weft_contributor *list;
  size_t count;
  weft_replica *other = test_space_memory(&f->s, 1);
  weft_edit_options o;
  weft_edit_options_init(&o);
  for (size_t i = 0; i < 5; i++) {
    weft_edit *e;
    weft_commit done;
    weft_value v = {.kind = WEFT_INT, .as.integer = (int64_t)i};
    o.lane = i % 2 ? WEFT_LANE_HIGH : WEFT_LANE_NORMAL;
    f->s.platforms[0].now += 10;
    assert_int_equal(weft_edit_begin(&e, f->r, &o), WEFT_OK);
    assert_int_equal(weft_edit_set(e, text("t/a"), text("/n"), &v), WEFT_OK);
    assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
    weft_edit_free(e);
  }
  test_pull(other, f->r, 64);
  assert_int_equal(test_set(other, "t/a", "/m", "1"), WEFT_OK);
  assert_int_equal(test_set(other, "t/b", "/m", "1"), WEFT_OK);
  test_pull(f->r, other, 64);
  weft_replica_free(other);
  assert_int_equal(weft_replica_contributors(f->r, &f->arena, text("t/a"), &list, &count), WEFT_OK);
  assert_int_equal(count, 2);
  assert_memory_equal(&list[0].device, &f->s.devices[0].device, sizeof list[0].device);
  assert_int_equal(list[0].changes, 5);
  assert_int_equal(weft_hlc_ms(list[0].last_hlc) - weft_hlc_ms(list[0].first_hlc), 40);
  assert_int_equal(list[1].changes, 1);
  assert_int_equal(weft_replica_contributors(f->r, &f->arena, text("t/none"), &list, &count),
                   WEFT_ENOTFOUND);
  assert_int_equal(weft_replica_contributors(f->r, &f->arena, text("none"), &list, &count),
                   WEFT_EBADNAME);
  assert_int_equal(weft_replica_declare_index(f->r, text("t"), text("@contributors")),
                   WEFT_EBADPATH);
  weft_query q;
  weft_list all;
  weft_where one = {.pointer = text("@contributors"),
                    .op = WEFT_WHERE_EQ,
                    .value = {.kind = WEFT_INT, .as.integer = 1}};
  weft_query_init(&q);
  q.sort = text("@contributors");
  q.descending = true;
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &all), WEFT_OK);
  assert_int_equal(all.count, 2);
  assert_int_equal(weft_bytes_cmp(all.items[0].info.name, text("t/a")), 0);
  q.where = &one;
  q.where_count = 1;
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &all), WEFT_OK);
  assert_int_equal(all.count, 1);
  assert_int_equal(weft_bytes_cmp(all.items[0].info.name, text("t/b")), 0);
}

/* While pages are read, others write: what stays is neither skipped nor doubled. */
static void test_pages_while_writing(void **state) {
  test_bed *f = *state;
  for (unsigned round = 0; round < 6; round++) {
    bool seen[60] = {false};
    weft_query q;
    char name[32], json[32];
    size_t steps = 0;
    if (round == 3) declare(f, "p", "/n");
    for (unsigned i = 0; i < 60; i += 2) {
      snprintf(name, sizeof name, "p/%02u", i);
      snprintf(json, sizeof json, "{\"n\":%u}", i * 7 % 60);
      assert_int_equal(test_set(f->r, name, "", json), WEFT_OK);
    }
    weft_query_init(&q);
    q.collection = text("p");
    q.limit = 4;
    if (round % 3 > 0) q.sort = text("/n");
    q.descending = round % 3 == 2;
    do {
      weft_list list;
      assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_OK);
      for (size_t i = 0; i < list.count; i++) {
        const uint8_t *digits = list.items[i].info.name.at + 2;
        unsigned n = 10u * (digits[0] - '0') + (digits[1] - '0');
        assert_false(seen[n]);
        seen[n] = true;
      }
      q.cursor = list.next;
      /* Others come and go on both sides of the place. */
      for (unsigned i = 1; i < 60; i += 2) {
        bool there = (i / 2 + steps) % 3 == 0;
        snprintf(name, sizeof name, "p/%02u", i);
        snprintf(json, sizeof json, "{\"n\":%u}", i);
        if (!seen[i]) test_set(f->r, name, "", there ? json : NULL);
      }
      steps++;
    } while (q.cursor.len > 0);
    assert_true(steps > 7);
    for (unsigned i = 0; i < 60; i += 2) assert_true(seen[i]);
    weft__arena_reset(&f->arena);
  }
}

/* Texts that begin alike further than keys reach: an index changes nothing. */
static void test_long_texts(void **state) {
  test_bed *f = *state;
  char json[700], name[32];
  weft_list plain, quick;
  weft_query q;
  for (unsigned i = 0; i < 12; i++) {
    size_t len = i % 3 == 0 ? 240 : 400;
    memset(json, 'x', sizeof json);
    memcpy(json, "{\"a\":\"", 6);
    snprintf(json + 6 + len, 20, "%u\"}", 20 - i);
    snprintf(name, sizeof name, "l/%02u", i);
    assert_int_equal(test_set(f->r, name, "", json), WEFT_OK);
  }
  weft_query_init(&q);
  weft_where w = {.pointer = text("/a"), .op = WEFT_WHERE_GE};
  char wanted[700];
  memset(wanted, 'x', sizeof wanted);
  memcpy(wanted + 400, "13", 3);
  w.value = (weft_value){.kind = WEFT_STRING, .as.bytes = text(wanted)};
  q.collection = text("l");
  q.sort = text("/a");
  q.where = &w;
  q.where_count = 1;
  for (int op = WEFT_WHERE_EQ; op <= WEFT_WHERE_CONTAINS; op++) {
    w.op = (weft_where_op)op;
    if (op > WEFT_WHERE_EQ) {
      assert_int_equal(weft_replica_drop_index(f->r, text("l"), text("/a")), WEFT_OK);
    }
    assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &plain), WEFT_OK);
    declare(f, "l", "/a");
    assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &quick), WEFT_OK);
    assert_true(quick.indexed && !plain.indexed);
    assert_int_equal(plain.count, quick.count);
    for (size_t i = 0; i < plain.count; i++) {
      assert_int_equal(weft_bytes_cmp(plain.items[i].info.name, quick.items[i].info.name), 0);
    }
    if (op == WEFT_WHERE_EQ) assert_int_equal(plain.count, 1);
  }
}

static void test_by_device(void **state) {
  test_bed *f = *state;
  weft_replica *other = test_space_memory(&f->s, 1);
  weft_list list;
  weft_query q;
  weft_doc_info info;
  char hex[65];
  weft_where w = {.pointer = text("@by"), .op = WEFT_WHERE_EQ};
  assert_int_equal(test_set(f->r, "t/a", "/x", "1"), WEFT_OK);
  assert_int_equal(test_set(f->r, "t/b", "/x", "1"), WEFT_OK);
  test_pull(other, f->r, 100);
  f->s.platforms[1].now += 5;
  assert_int_equal(test_set(other, "t/b", "/x", "2"), WEFT_OK);
  test_pull(f->r, other, 100);
  declare(f, "", "@by");
  for (size_t i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", f->s.devices[1].device.b[i]);
  weft_query_init(&q);
  w.value = (weft_value){.kind = WEFT_STRING, .as.bytes = text(hex)};
  q.where = &w;
  q.where_count = 1;
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_OK);
  assert_int_equal(list.count, 1);
  assert_true(list.indexed);
  assert_memory_equal(list.items[0].info.name.at, "t/b", 3);
  w.op = WEFT_WHERE_CONTAINS;
  hex[7] = 0;
  w.text = text(hex);
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_OK);
  assert_int_equal(list.count, 1);
  assert_int_equal(weft_replica_doc_info(f->r, &f->arena, text("t/b"), &info), WEFT_OK);
  assert_int_equal(weft_id_cmp(&info.created_by, &f->s.devices[0].device), 0);
  assert_int_equal(weft_id_cmp(&info.modified_by, &f->s.devices[1].device), 0);
  assert_int_equal(info.versions, 2);
  assert_int_equal(weft_replica_doc_info(f->r, &f->arena, text("t/c"), &info), WEFT_ENOTFOUND);
  assert_int_equal(weft_replica_doc_info(f->r, &f->arena, text("c"), &info), WEFT_EBADNAME);
  weft_replica_free(other);
}

/* Bytes have no JSON, and are ordered behind strings. */
static void test_bytes(void **state) {
  test_bed *f = *state;
  static const char *const contents[] = {"b", "a", "a\377\377\377\377"};
  weft_list list;
  weft_query q;
  weft_where w = {.pointer = text("/x"), .op = WEFT_WHERE_GE};
  for (size_t i = 0; i < 3; i++) {
    char name[] = "b/0";
    weft_edit *e;
    weft_commit done;
    weft_value v = {.kind = WEFT_BYTES, .as.bytes = text(contents[i])};
    name[2] = (char)('0' + i);
    assert_int_equal(weft_edit_begin(&e, f->r, NULL), WEFT_OK);
    assert_int_equal(weft_edit_set(e, text(name), text("/x"), &v), WEFT_OK);
    assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
    weft_edit_free(e);
  }
  assert_int_equal(test_set(f->r, "b/3", "/x", "\"z\""), WEFT_OK);
  assert_int_equal(test_set(f->r, "b/4", "/x", "[]"), WEFT_OK);
  weft_query_init(&q);
  q.collection = text("b");
  q.sort = text("/x");
  q.where = &w;
  for (unsigned round = 0; round < 2; round++) {
    static const char want[] = "31204";
    q.where_count = 0;
    assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_OK);
    assert_int_equal(list.count, 5);
    for (size_t i = 0; i < 5; i++) assert_int_equal(list.items[i].info.name.at[2], want[i]);
    q.where_count = 1;
    w.value = (weft_value){.kind = WEFT_BYTES, .as.bytes = text("a\377")};
    assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_OK);
    assert_int_equal(list.count, 3);
    if (round == 0) declare(f, "b", "/x");
  }
  assert_true(list.indexed);
}

static void test_list_refusals(void **state) {
  test_bed *f = *state;
  weft_list list;
  weft_query q;
  weft_where w[65] = {{.pointer = text("/a")}};
  for (unsigned i = 0; i < 5; i++) {
    char name[16];
    snprintf(name, sizeof name, "t/%u", i);
    assert_int_equal(test_set(f->r, name, "/a", "1"), WEFT_OK);
  }
  weft_query_init(&q);
  q.limit = 10001;
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_ELIMIT);
  q.limit = 0;
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_OK);
  assert_int_equal(list.count, 5);
  assert_int_equal(list.next.len, 0);
  q.where = w;
  q.where_count = 65;
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_ELIMIT);
  q.where_count = 1;
  w[0].value.kind = WEFT_ARRAY;
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_EBADVALUE);
  w[0].value.kind = WEFT_NULL;
  static const char *const bad[] = {"@who", "a", "/a~2"};
  for (size_t i = 0; i < 3; i++) {
    w[0].pointer = text(bad[i]);
    assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_EBADPATH);
    assert_int_equal(weft_replica_declare_index(f->r, text("t"), text(bad[i])), WEFT_EBADPATH);
    q.where_count = 0;
    q.sort = text(bad[i]);
    assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_EBADPATH);
    q.sort = text("");
    q.where_count = 1;
  }
  q.where_count = 0;
  q.limit = 2;
  q.sort = text("/a");
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_OK);
  weft_bytes good = list.next;
  uint8_t *copy = malloc(good.len);
  for (size_t i = 0; i < good.len; i++) {
    memcpy(copy, good.at, good.len);
    copy[i] = 'X';
    q.cursor = weft_bytes_of(copy, good.len);
    assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_EMALFORMED);
    q.cursor = weft_bytes_of(good.at, i);
    weft_err err = weft_replica_list(f->r, &f->arena, &q, &list);
    assert_int_equal(err, i == 0 ? WEFT_OK : WEFT_EMALFORMED);
  }
  free(copy);
  q.cursor = good;
  q.descending = true;
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_EMALFORMED);
  q.struct_size--;
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_EMISUSE);
  assert_int_equal(weft_group_begin(f->r), WEFT_OK);
  assert_int_equal(weft_replica_declare_index(f->r, text("t"), text("/a")), WEFT_EMISUSE);
  assert_int_equal(weft_replica_drop_index(f->r, text("t"), text("/a")), WEFT_EMISUSE);
  assert_int_equal(test_set(f->r, "t/6", "/a", "1"), WEFT_OK);
  weft_query_init(&q);
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_OK);
  assert_int_equal(list.count, 6);
  weft_group_abort(f->r);
  assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &list), WEFT_OK);
  assert_int_equal(list.count, 5);
}

static void test_index_limit(void **state) {
  test_bed *f = *state;
  char names[65][16];
  for (unsigned i = 0; i < 65; i++) {
    snprintf(names[i], sizeof names[i], "/%u", i);
    assert_int_equal(weft_replica_declare_index(f->r, text("t"), text(names[i])),
                     i < 64 ? WEFT_OK : WEFT_ELIMIT);
  }
}

/* --- history --- */

enum { HISTORY_MAX = 200, HISTORY_DOCS = 5 };

typedef struct past_change {
  weft_commit done;
  size_t device;
  unsigned docs; /* bits */
  bool deep[HISTORY_DOCS];
  unsigned paths[HISTORY_DOCS]; /* written to: bits as history_pointers */
  char message[16];
  weft_vector shown; /* right after */
  char then[HISTORY_DOCS][TEXT_LEN];
  weft_ms wall;
} past_change;

typedef struct past {
  past_change at[HISTORY_MAX];
  size_t count;
} past;

static char *history_doc(size_t idx, char out[16]) {
  snprintf(out, 16, "h/%zu", idx);
  return out;
}

static void past_write(test_bed *f, past *p, weft_replica *r, size_t device, test_rng *rng) {
  past_change *c = &p->at[p->count];
  weft_edit_options o;
  weft_edit *e;
  char name[16];
  weft_edit_options_init(&o);
  memset(c, 0, sizeof *c);
  snprintf(c->message, sizeof c->message, "note %zu", p->count);
  o.message = text(c->message);
  o.lane = test_rng_chance(rng, 30) ? WEFT_LANE_LOW : WEFT_LANE_NORMAL;
  f->s.platforms[device].now = f->s.platforms[0].now + test_rng_below(rng, 2);
  assert_int_equal(weft_edit_begin(&e, r, &o), WEFT_OK);
  c->docs = 1 + (unsigned)test_rng_below(rng, (1 << HISTORY_DOCS) - 1);
  for (size_t i = 0; i < HISTORY_DOCS; i++) {
    weft_value v = {.kind = WEFT_INT, .as.integer = (int64_t)p->count};
    if (!(c->docs >> i & 1)) continue;
    c->deep[i] = test_rng_chance(rng, 50);
    weft_bytes at = text(c->deep[i] ? "/deep/x" : "/flat");
    assert_int_equal(weft_edit_set(e, text(history_doc(i, name)), at, &v), WEFT_OK);
  }
  assert_int_equal(weft_edit_commit(e, &c->done), WEFT_OK);
  weft_edit_free(e);
  c->device = device;
  c->wall = weft_hlc_ms(c->done.hlc);
  weft__vector_init(&c->shown, &f->mem);
  assert_int_equal(weft__vector_copy(&c->shown, weft_replica_shown(r)), WEFT_OK);
  for (size_t i = 0; i < HISTORY_DOCS; i++) {
    test_get(r, history_doc(i, name), "", c->then[i], TEXT_LEN);
  }
  p->count++;
}

static int past_cmp(const past_change *a, const past_change *b) {
  if (a->done.hlc != b->done.hlc) return a->done.hlc < b->done.hlc ? -1 : 1;
  int order = weft_id_cmp(&a->done.log, &b->done.log);
  return order != 0 ? order : (a->done.seq < b->done.seq ? -1 : 1);
}

static const char *const history_pointers[] = {"", "/deep", "/deep/x", "/flat", "/flat/none/no"};

static bool past_fits(const test_bed *f, const past_change *c, const weft_history_query *q,
                      size_t doc, size_t pointer) {
  if (q->device && weft_id_cmp(q->device, &f->s.devices[c->device].device) != 0) return false;
  if (c->wall < q->since || c->wall > q->until) return false;
  if (q->doc.len == 0) return true;
  if (!(c->docs >> doc & 1)) return false;
  if (!q->has_pointer || pointer == 0) return true;
  return (c->paths[doc] & (pointer < 3 ? 7u : 9u)) != 0;
}

/* Notes at which of the known places a change wrote. */
static void past_paths(test_bed *f, past_change *c) {
  weft_history_entry e;
  weft_change_state state;
  char name[16];
  assert_int_equal(
      weft_replica_change(f->r, &f->arena, weft_bytes_of(c->done.change.b, 32), &e, &state),
      WEFT_OK);
  assert_int_equal(state, WEFT_CHANGE_VALID);
  for (size_t i = 0; i < e.op_count; i++) {
    size_t at = 0;
    weft_step step;
    unsigned place = 0;
    while (weft_path_next(e.ops[i].path, &at, &step)) {
      place = weft_bytes_cmp(step.name, text("flat")) == 0 ? 3 : place + 1;
    }
    for (size_t k = 0; k < HISTORY_DOCS; k++) {
      bool here = weft_bytes_cmp(e.ops[i].doc, text(history_doc(k, name))) == 0;
      if (here) c->paths[k] |= 1u << place;
    }
  }
}

static void assert_entry(const test_bed *f, const weft_history_entry *e, const past_change *c,
                         const weft_history_query *q) {
  assert_int_equal(weft_id_cmp(&e->change, &c->done.change), 0);
  assert_int_equal(weft_id_cmp(&e->log, &c->done.log), 0);
  assert_int_equal(e->seq, c->done.seq);
  assert_int_equal(e->hlc, c->done.hlc);
  assert_int_equal(weft_id_cmp(&e->device, &f->s.devices[c->device].device), 0);
  assert_int_equal(weft_bytes_cmp(e->message, text(c->message)), 0);
  if (q->doc.len == 0) assert_int_equal(e->op_count, c->done.op_count);
  assert_true(e->op_count > 0);
  for (size_t i = 0; i < e->op_count && q->doc.len > 0; i++) {
    assert_int_equal(weft_bytes_cmp(e->ops[i].doc, q->doc), 0);
  }
}

static void ask_history(test_bed *f, const past *p, test_rng *rng) {
  weft_history_query q;
  const past_change *want[HISTORY_MAX];
  size_t count = 0;
  char name[16];
  weft_history_query_init(&q);
  size_t doc = test_rng_below(rng, HISTORY_DOCS);
  size_t pointer = test_rng_below(rng, 5);
  if (test_rng_chance(rng, 60)) {
    q.doc = text(history_doc(doc, name));
    q.has_pointer = test_rng_chance(rng, 60);
    q.pointer = text(history_pointers[pointer]);
  }
  if (test_rng_chance(rng, 30)) q.device = &f->s.devices[test_rng_below(rng, 3)].device;
  if (test_rng_chance(rng, 30)) q.since = p->at[test_rng_below(rng, p->count)].wall;
  if (test_rng_chance(rng, 30)) q.until = p->at[test_rng_below(rng, p->count)].wall;
  q.limit = 1 + test_rng_below(rng, 12);
  for (size_t i = 0; i < p->count; i++) {
    if (!past_fits(f, &p->at[i], &q, doc, pointer)) continue;
    size_t at = count++;
    while (at > 0 && past_cmp(&p->at[i], want[at - 1]) > 0) {
      want[at] = want[at - 1];
      at--;
    }
    want[at] = &p->at[i];
  }
  size_t at = 0;
  do {
    weft_history_entry *list;
    size_t n;
    assert_int_equal(weft_replica_history(f->r, &f->arena, &q, &list, &n, &q.cursor), WEFT_OK);
    assert_true(at + n <= count);
    for (size_t i = 0; i < n; i++) assert_entry(f, &list[i], want[at++], &q);
    if (q.cursor.len > 0) assert_int_equal(n, q.limit);
  } while (q.cursor.len > 0);
  assert_int_equal(at, count);
}

/* Every change can be found by its id, and every state that was shown be shown again. */
static void assert_past(test_bed *f, const past_change *c) {
  weft_vector base;
  weft_history_entry e;
  weft_change_state state;
  weft_bytes id = weft_bytes_of(c->done.change.b, 32);
  char name[16], got[TEXT_LEN];
  assert_int_equal(weft_replica_change(f->r, &f->arena, id, &e, &state), WEFT_OK);
  assert_int_equal(weft_bytes_cmp(e.message, text(c->message)), 0);
  assert_int_equal(e.op_count, c->done.op_count);
  id.len = 6;
  assert_int_equal(weft_replica_change(f->r, &f->arena, id, &e, &state), WEFT_OK);
  assert_int_equal(e.seq, c->done.seq);
  for (size_t i = 0; i < HISTORY_DOCS; i++) {
    weft_value v;
    weft_buf b;
    weft_err err =
        weft_replica_get_at(f->r, &f->arena, text(history_doc(i, name)), text(""), &c->shown, &v);
    weft__buf_init(&b, &f->mem, TEXT_LEN);
    if (err == WEFT_OK) weft_json_write(&b, &v);
    weft__buf_u8(&b, 0);
    snprintf(got, sizeof got, "%s", err == WEFT_OK ? (const char *)b.at : "(none)");
    assert_string_equal(got, c->then[i]);
    weft__buf_free(&b);
  }
  weft__vector_init(&base, &f->mem);
  assert_int_equal(weft_replica_vector_at_change(f->r, &c->done.change, &base), WEFT_OK);
  weft_order order = weft__vector_compare(&base, &c->shown, NULL);
  assert_true(order == WEFT_ORDER_EQUAL || order == WEFT_ORDER_BEFORE);
  assert_int_equal(weft__vector_seq(&base, &c->done.log), c->done.seq);
  for (size_t i = 0; i < HISTORY_DOCS; i++) {
    weft_value v;
    if (!(c->docs >> i & 1)) continue;
    assert_int_equal(weft_replica_get_at(f->r, &f->arena, text(history_doc(i, name)),
                                         text(c->deep[i] ? "/deep/x" : "/flat"), &base, &v),
                     WEFT_OK);
    snprintf(got, sizeof got, "note %lld", (long long)v.as.integer);
    assert_string_equal(got, c->message);
  }
  weft__vector_free(&base);
}

/* Everything written by a moment, when clocks agree and all was shown to all. */
static void assert_time(test_bed *f, const past *p, weft_ms wall) {
  weft_vector base, want;
  weft__vector_init(&base, &f->mem);
  weft__vector_init(&want, &f->mem);
  for (size_t i = 0; i < p->count; i++) {
    const weft_commit *c = &p->at[i].done;
    weft_head head = {c->log, c->seq, c->change};
    if (p->at[i].wall > wall) continue;
    assert_int_equal(weft__vector_raise(&want, NULL, &head), WEFT_OK);
  }
  assert_int_equal(weft_replica_vector_at_time(f->r, wall, &base), WEFT_OK);
  for (size_t i = 0; i < want.count; i++) {
    assert_int_equal(weft__vector_seq(&base, &want.heads[i].log), want.heads[i].seq);
  }
  for (size_t i = 0; i < base.count; i++) {
    uint64_t seq = weft__vector_seq(&want, &base.heads[i].log);
    assert_true(base.heads[i].seq == seq || (base.heads[i].seq == 1 && seq == 0));
  }
  weft__vector_free(&base);
  weft__vector_free(&want);
}

static void test_history(void **state) {
  test_bed *f = *state;
  past *p = calloc(1, sizeof *p);
  weft_replica *r[3] = {f->r, test_space_memory(&f->s, 1), test_space_memory(&f->s, 2)};
  test_rng rng = test_rng_of(7);
  while (p->count < HISTORY_MAX) {
    size_t device = test_rng_below(&rng, 3);
    if (test_rng_chance(&rng, 60)) f->s.platforms[0].now += test_rng_below(&rng, 4);
    past_write(f, p, r[device], device, &rng);
    if (test_rng_chance(&rng, 40)) test_pull(r[device], r[test_rng_below(&rng, 3)], 100);
  }
  for (size_t i = 1; i < 3; i++) test_pull(f->r, r[i], 100);
  for (size_t i = 0; i < p->count; i++) past_paths(f, &p->at[i]);
  for (size_t i = 0; i < 400; i++) ask_history(f, p, &rng);
  for (size_t i = 0; i < p->count; i++) assert_past(f, &p->at[i]);
  for (size_t i = 0; i < p->count; i += 7) assert_time(f, p, p->at[i].wall);
  assert_time(f, p, 0);
  assert_time(f, p, WEFT_NEVER);
  for (size_t i = 0; i < p->count; i++) weft__vector_free(&p->at[i].shown);
  for (size_t i = 1; i < 3; i++) weft_replica_free(r[i]);
  free(p);
}

/* Makes the next change of device 1's log out of bytes, signed, and hands it over. */
static void hand_over(test_bed *f, weft_replica *author, const weft_id *log, weft_bytes raw) {
  weft_hold_report report;
  weft_buf chunk;
  uint64_t seq = weft__vector_seq(weft_replica_held(author), log) + 1;
  weft_run run = {.log = *log, .first = seq, .changes = &raw, .count = 1};
  weft_id id;
  assert_int_equal(weft_replica_id_at(author, log, WEFT_BRANCH_ANY, seq - 1, &run.prev), WEFT_OK);
  weft__change_id(f->s.crypto, &f->s.id, &run.prev, raw, &id);
  weft__change_sign(f->s.crypto, &f->s.devices[1].sign_seed, &f->s.devices[1].device, &f->s.id, log,
                    seq, &id, &run.sig);
  weft__buf_init(&chunk, &f->mem, SIZE_MAX);
  assert_int_equal(weft__chunk_encode(&chunk, &f->mem, &run, 1, WEFT_CHUNK_LIVE), WEFT_OK);
  weft_bytes view = weft__buf_view(&chunk);
  weft_replica *to[2] = {author, f->r};
  for (size_t i = 0; i < 2; i++) {
    assert_int_equal(weft_replica_hold(to[i], &f->arena, &view, 1, &report), WEFT_OK);
    assert_int_equal(report.changes, 1);
  }
  weft__buf_free(&chunk);
}

/* Changes that say nothing, in the middle of a log and at its end, and chunks beside tails. */
static void test_history_of_odd_logs(void **state) {
  test_bed *f = *state;
  weft_replica *other = test_space_memory(&f->s, 1);
  weft_history_query q;
  weft_history_entry *list, one;
  weft_change_state found;
  weft_bytes next;
  weft_vector base;
  size_t n;
  weft_id ids[4], junk, log;
  weft__vector_init(&base, &f->mem);
  assert_int_equal(test_set(other, "o/a", "/n", "0"), WEFT_OK);
  log = weft_replica_held(other)->heads[0].log;
  test_pull(f->r, other, 100);
  for (unsigned i = 0; i < 3; i++) {
    hand_over(f, other, &log, text("\1\2nonsense"));
    hand_over(f, other, &log, text("\7what comes"));
    f->s.platforms[1].now += 10;
    ids[i] = weft_replica_held(other)->heads[0].id;
    hand_over(f, other, &log, text("\1\2again"));
  }
  assert_int_equal(weft_replica_change(f->r, &f->arena, weft_bytes_of(ids[1].b, 32), &one, &found),
                   WEFT_OK);
  assert_int_equal(found, WEFT_CHANGE_UNKNOWN);
  assert_int_equal(one.op_count, 0);
  assert_int_equal(one.seq, 7);
  weft_history_query_init(&q);
  assert_int_equal(weft_replica_history(f->r, &f->arena, &q, &list, &n, &next), WEFT_OK);
  assert_int_equal(n, 1);
  assert_int_equal(list[0].seq, 2);
  assert_int_equal(weft_replica_vector_at_time(f->r, f->s.platforms[1].now, &base), WEFT_OK);
  assert_int_equal(base.heads[0].seq, 11);
  assert_int_equal(weft_replica_vector_at_time(f->r, 5, &base), WEFT_OK);
  assert_int_equal(base.count, 0);
  assert_int_equal(weft_replica_vector_at_change(f->r, &ids[1], &base), WEFT_OK);
  assert_int_equal(base.heads[0].seq, 7);
  memset(&junk, 0xaa, sizeof junk);
  assert_int_equal(weft_replica_vector_at_change(f->r, &junk, &base), WEFT_ENOTFOUND);
  assert_int_equal(base.count, 0);
  assert_int_equal(weft_replica_id_at(f->r, &log, WEFT_BRANCH_ANY, 1, &junk), WEFT_OK);
  assert_int_equal(weft_replica_change(f->r, &f->arena, weft_bytes_of(junk.b, 5), &one, &found),
                   WEFT_OK);
  assert_int_equal(found, WEFT_CHANGE_VALID);
  assert_int_equal(one.op_count, 0);
  assert_int_equal(weft_group_begin(f->r), WEFT_OK);
  for (unsigned i = 0; i < 700; i++) {
    char json[16];
    snprintf(json, sizeof json, "%u", i);
    assert_int_equal(test_set(f->r, "o/b", "/n", json), WEFT_OK);
  }
  assert_int_equal(weft_group_end(f->r), WEFT_OK);
  for (unsigned i = 0; i < 30; i++)
    assert_int_equal(test_set(f->r, "o/b", "/n", i % 2 ? "1" : "2"), WEFT_OK);
  q.limit = 50;
  uint64_t seq = 731;
  do {
    assert_int_equal(weft_replica_history(f->r, &f->arena, &q, &list, &n, &q.cursor), WEFT_OK);
    for (size_t i = 0; i < n; i++) {
      if (weft_id_cmp(&list[i].log, &log) != 0) assert_int_equal(list[i].seq, seq--);
      if (seq % 97 != 0) continue;
      weft_bytes id = weft_bytes_of(list[i].change.b, seq % 2 ? 32 : 4);
      assert_int_equal(weft_replica_change(f->r, &f->arena, id, &one, &found), WEFT_OK);
      assert_int_equal(one.seq, list[i].seq);
    }
  } while (q.cursor.len > 0);
  assert_int_equal(seq, 1);
  weft__vector_free(&base);
  weft_replica_free(other);
}

static void test_history_refusals(void **state) {
  test_bed *f = *state;
  weft_history_query q;
  weft_history_entry *list, one;
  weft_change_state found;
  weft_bytes next;
  weft_value v;
  weft_vector base;
  size_t n;
  for (unsigned i = 0; i < 4; i++)
    assert_int_equal(test_set(f->r, "o/a", "/n", i % 2 ? "1" : "2"), WEFT_OK);
  weft_history_query_init(&q);
  q.limit = 10001;
  assert_int_equal(weft_replica_history(f->r, &f->arena, &q, &list, &n, &next), WEFT_ELIMIT);
  q.limit = 2;
  q.has_pointer = true;
  assert_int_equal(weft_replica_history(f->r, &f->arena, &q, &list, &n, &next), WEFT_EMISUSE);
  q.doc = text("o");
  assert_int_equal(weft_replica_history(f->r, &f->arena, &q, &list, &n, &next), WEFT_EBADNAME);
  q.doc = text("o/b");
  assert_int_equal(weft_replica_history(f->r, &f->arena, &q, &list, &n, &next), WEFT_ENOTFOUND);
  q.doc = text("o/a");
  q.pointer = text("n");
  assert_int_equal(weft_replica_history(f->r, &f->arena, &q, &list, &n, &next), WEFT_EBADPATH);
  q.pointer = text("");
  assert_int_equal(weft_replica_history(f->r, &f->arena, &q, &list, &n, &next), WEFT_OK);
  assert_int_equal(n, 2);
  uint8_t *copy = malloc(next.len);
  for (size_t i = 0; i < next.len; i++) {
    memcpy(copy, next.at, next.len);
    copy[i] = 'X';
    weft_bytes after;
    q.cursor = weft_bytes_of(copy, next.len);
    assert_int_equal(weft_replica_history(f->r, &f->arena, &q, &list, &n, &after), WEFT_EMALFORMED);
    assert_int_equal(after.len, 0);
    q.cursor = weft_bytes_of(next.at, i);
    weft_err err = weft_replica_history(f->r, &f->arena, &q, &list, &n, &after);
    assert_int_equal(err, i == 0 ? WEFT_OK : WEFT_EMALFORMED);
  }
  memcpy(copy, next.at, next.len);
  memset(copy + 18, '0', 16);
  q.cursor = weft_bytes_of(copy, next.len);
  assert_int_equal(weft_replica_history(f->r, &f->arena, &q, &list, &n, &next), WEFT_EMALFORMED);
  free(copy);
  q.cursor = text("");
  q.since = WEFT_NEVER;
  assert_int_equal(weft_replica_history(f->r, &f->arena, &q, &list, &n, &next), WEFT_OK);
  assert_int_equal(n, 0);
  q.struct_size--;
  assert_int_equal(weft_replica_history(f->r, &f->arena, &q, &list, &n, &next), WEFT_EMISUSE);
  uint8_t id[33] = {0};
  assert_int_equal(weft_replica_change(f->r, &f->arena, weft_bytes_of(id, 3), &one, &found),
                   WEFT_EMALFORMED);
  assert_int_equal(weft_replica_change(f->r, &f->arena, weft_bytes_of(id, 33), &one, &found),
                   WEFT_EMALFORMED);
  assert_int_equal(weft_replica_change(f->r, &f->arena, weft_bytes_of(id, 4), &one, &found),
                   WEFT_ENOTFOUND);
  weft__vector_init(&base, &f->mem);
  assert_int_equal(weft_replica_get_at(f->r, &f->arena, text("o/a"), text(""), &base, &v),
                   WEFT_ENOTFOUND);
  assert_int_equal(weft_replica_get_at(f->r, &f->arena, text("o"), text(""), &base, &v),
                   WEFT_EBADNAME);
  assert_int_equal(weft_replica_get_at(f->r, &f->arena, text("o/b"), text(""), &base, &v),
                   WEFT_ENOTFOUND);
  weft_head head = {{{1}}, 1, {{1}}};
  assert_int_equal(weft__vector_raise(&base, NULL, &head), WEFT_OK);
  assert_int_equal(weft_replica_get_at(f->r, &f->arena, text("o/a"), text(""), &base, &v),
                   WEFT_EBASE);
  weft__vector_free(&base);
}

/* --- conflicts --- */

static void random_write(test_bed *f, weft_replica *r, test_rng *rng) {
  static const char *const values[] = {"1",
                                       "2",
                                       "1.0",
                                       "{\"x\":1}",
                                       "{\"x\":{\"y\":2},\"z\":[]}",
                                       "[1,[2]]",
                                       "[{\"id\":\"e\",\"v\":1}]",
                                       "\"s\"",
                                       NULL};
  static const char *const places[] = {"/a",     "/a",   "/b", "/a/x", "/a/x/y", "/a/0",
                                       "/b/0/v", "/b/-", "",   "/c",   "/c",     "/d"};
  char name[16];
  snprintf(name, sizeof name, "k/%u", (unsigned)test_rng_below(rng, 3));
  const char *json = values[test_rng_below(rng, 9)];
  const char *place = places[test_rng_below(rng, 12)];
  if (place[0] == '/' && place[1] == 'c') json = values[test_rng_below(rng, 3)];
  if (place[0] == 0 && json && json[0] != '{') return;
  weft_err err = test_set(r, name, place, json);
  assert_true(err == WEFT_OK || err == WEFT_ENOTFOUND || err == WEFT_EBADPATH);
  (void)f;
}

static bool of_side(const weft_sibling *s, weft_shape shape) {
  bool object = s->kind == WEFT_OP_MARK_OBJECT || s->kind == WEFT_OP_FRESH_OBJECT;
  bool array = s->kind == WEFT_OP_MARK_ARRAY || s->kind == WEFT_OP_FRESH_ARRAY;
  return shape == WEFT_SHAPE_OBJECT ? object : array;
}

/* What is shown at `path` of a document in which only one side stands there. */
static weft_value side_alone(test_bed *f, const weft_doc *doc, weft_path path, weft_shape shape) {
  weft_doc *alone;
  weft_value value;
  assert_int_equal(weft__doc_new(&alone, &f->mem, weft__doc_lineage(doc)), WEFT_OK);
  const weft_register *reg = weft__doc_seek(doc, path);
  for (; reg && weft__key_has_prefix(reg->path, path); reg = weft__doc_next(doc, reg)) {
    weft_register copy = *reg;
    size_t at = path.len;
    weft_step step;
    bool below = weft_path_next(reg->path, &at, &step);
    if (below && step.element != (shape == WEFT_SHAPE_ARRAY)) continue;
    weft_sibling kept[16];
    if (!below) {
      copy.values = kept;
      copy.value_count = 0;
      copy.position_count = 0;
      for (size_t i = 0; i < reg->value_count; i++) {
        if (of_side(&reg->values[i], shape) || reg->values[i].kind == WEFT_OP_UNSET) {
          kept[copy.value_count++] = reg->values[i];
        }
      }
    }
    if (copy.value_count + copy.position_count == 0) continue;
    assert_int_equal(weft__doc_put(alone, &copy), WEFT_OK);
  }
  assert_int_equal(weft__doc_render(alone, path, &f->arena, &value), WEFT_OK);
  weft__doc_free(alone);
  return value;
}

static void assert_conflict(test_bed *f, const weft_doc *doc, const weft_conflict *want,
                            const weft_conflict_entry *got) {
  size_t winners = 0;
  size_t plain = 0;
  size_t unsets = 0;
  assert_int_equal(weft_bytes_cmp(got->path, want->path), 0);
  assert_int_equal(got->kind, want->kind);
  assert_int_equal(got->pointer.at != NULL, want->visible);
  assert_true(got->value_count > 0);
  assert_true(got->values[0].winner);
  for (size_t i = 0; i < got->value_count; i++) {
    const weft_conflict_value *v = &got->values[i];
    winners += v->winner;
    plain += v->shape == WEFT_SHAPE_SCALAR;
    unsets += v->shape == WEFT_SHAPE_NONE;
    if (i > 1) assert_true(v->change.hlc <= got->values[i - 1].change.hlc);
    if (v->shape == WEFT_SHAPE_OBJECT || v->shape == WEFT_SHAPE_ARRAY) {
      weft_value alone = side_alone(f, doc, want->path, v->shape);
      assert_true(weft_value_equal(&alone, &v->value));
    }
    weft_history_entry e;
    weft_change_state state;
    assert_int_equal(
        weft_replica_change(f->r, &f->arena, weft_bytes_of(v->change.change.b, 32), &e, &state),
        WEFT_OK);
    assert_int_equal(e.seq, v->change.seq);
  }
  assert_int_equal(winners, 1);
  size_t plain_want = 0;
  size_t unsets_want = 0;
  for (size_t i = 0; want->reg && i < want->reg->value_count; i++) {
    plain_want += want->reg->values[i].kind == WEFT_OP_SCALAR;
    unsets_want += want->reg->values[i].kind == WEFT_OP_UNSET;
  }
  assert_int_equal(plain, plain_want);
  assert_int_equal(unsets, unsets_want);
  if (!want->visible) return;
  weft_value shown;
  assert_int_equal(weft_replica_get(f->r, &f->arena, got->doc, got->pointer, &shown), WEFT_OK);
  assert_true(weft_value_equal(&shown, &got->values[0].value));
}

/* Gives the number of conflicts of one document, after comparing all. */
static size_t compare_conflicts(test_bed *f, const char *name) {
  weft_txn *txn;
  weft_doc_record record;
  weft_base base;
  weft_doc *doc;
  weft_conflict *want;
  weft_conflict_entry *got;
  size_t want_count, count;
  weft_doc_info info;
  weft_err err = weft_replica_doc_info(f->r, &f->arena, text(name), &info);
  if (err == WEFT_ENOTFOUND) return 0;
  assert_int_equal(weft__read_begin(f->r, &txn), WEFT_OK);
  assert_int_equal(weft__doc_record_find(f->r, txn, text(name), &f->arena, &record), WEFT_OK);
  assert_int_equal(weft__base_of_vector(f->r, txn, weft_replica_shown(f->r), &f->arena, &base),
                   WEFT_OK);
  assert_int_equal(weft__doc_at(f->r, txn, record.number, &base, &doc), WEFT_OK);
  weft__read_end(f->r, txn);
  assert_int_equal(weft__doc_conflicts(doc, text(""), &f->arena, &want, &want_count), WEFT_OK);
  assert_int_equal(weft_replica_conflicts(f->r, &f->arena, text(name), 0, &got, &count), WEFT_OK);
  assert_int_equal(count, want_count);
  assert_int_equal(info.conflicts, count);
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(weft_bytes_cmp(got[i].doc, text(name)), 0);
    assert_conflict(f, doc, &want[i], &got[i]);
  }
  weft__doc_free(doc);
  return count;
}

static void test_conflicts(void **state) {
  test_bed *f = *state;
  size_t kinds[4] = {0};
  weft_replica *r[3] = {f->r, test_space_memory(&f->s, 1), test_space_memory(&f->s, 2)};
  for (uint64_t seed = 1; seed <= 60; seed++) {
    test_rng rng = test_rng_of(seed);
    for (size_t i = 0; i < 12; i++) {
      f->s.platforms[i % 3].now += test_rng_below(&rng, 20);
      random_write(f, r[test_rng_below(&rng, 3)], &rng);
      if (test_rng_chance(&rng, 20)) {
        size_t from = test_rng_below(&rng, 3); /* one draw a statement */
        test_pull(r[test_rng_below(&rng, 3)], r[from], 100);
      }
    }
    for (size_t i = 1; i < 3; i++) test_pull(f->r, r[i], 100);
    weft_conflict_entry *all;
    weft_counts counts;
    size_t count, part;
    size_t sum =
        compare_conflicts(f, "k/0") + compare_conflicts(f, "k/1") + compare_conflicts(f, "k/2");
    assert_int_equal(weft_replica_counts(f->r, &counts), WEFT_OK);
    assert_int_equal(counts.conflicts, sum);
    assert_int_equal(weft_replica_conflicts(f->r, &f->arena, text(""), 0, &all, &count), WEFT_OK);
    assert_int_equal(count, sum);
    for (size_t i = 0; i < count; i++) {
      kinds[all[i].kind]++;
      if (i == 0) continue;
      int order = weft_bytes_cmp(all[i - 1].doc, all[i].doc);
      assert_true(order < 0 || (order == 0 && weft_bytes_cmp(all[i - 1].path, all[i].path) < 0));
    }
    size_t limit = 1 + test_rng_below(&rng, 4);
    assert_int_equal(weft_replica_conflicts(f->r, &f->arena, text(""), limit, &all, &part),
                     WEFT_OK);
    assert_int_equal(part, count < limit ? count : limit);
    weft__arena_reset(&f->arena);
  }
  assert_true(kinds[1] > 20 && kinds[2] > 20 && kinds[3] > 20);
  weft_conflict_entry *none;
  size_t count;
  assert_int_equal(weft_replica_conflicts(f->r, &f->arena, text("k"), 0, &none, &count),
                   WEFT_EBADNAME);
  assert_int_equal(weft_replica_conflicts(f->r, &f->arena, text("k/9"), 0, &none, &count),
                   WEFT_ENOTFOUND);
  for (size_t i = 1; i < 3; i++) weft_replica_free(r[i]);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_conflicts, test_bed_memory_open, test_bed_end),
    cmocka_unit_test_setup_teardown(test_conflicts, test_bed_lmdb_open, test_bed_end),
    cmocka_unit_test_setup_teardown(test_history_of_odd_logs, test_bed_memory_open, test_bed_end),
    cmocka_unit_test_setup_teardown(test_history_of_odd_logs, test_bed_lmdb_open, test_bed_end),
    cmocka_unit_test_setup_teardown(test_history_refusals, test_bed_memory_open, test_bed_end),
    cmocka_unit_test_setup_teardown(test_history, test_bed_memory_open, test_bed_end),
    cmocka_unit_test_setup_teardown(test_history, test_bed_lmdb_open, test_bed_end),
    cmocka_unit_test_setup_teardown(test_pages_while_writing, test_bed_memory_open, test_bed_end),
    cmocka_unit_test_setup_teardown(test_contributors, test_bed_memory_open, test_bed_end),
    cmocka_unit_test_setup_teardown(test_reserved, test_bed_memory_open, test_bed_end),
    cmocka_unit_test_setup_teardown(test_long_texts, test_bed_lmdb_open, test_bed_end),
    cmocka_unit_test_setup_teardown(test_by_device, test_bed_memory_open, test_bed_end),
    cmocka_unit_test_setup_teardown(test_bytes, test_bed_lmdb_open, test_bed_end),
    cmocka_unit_test_setup_teardown(test_list_refusals, test_bed_lmdb_open, test_bed_end),
    cmocka_unit_test_setup_teardown(test_index_limit, test_bed_lmdb_open, test_bed_end),
    cmocka_unit_test_setup_teardown(test_plans, test_bed_memory_open, test_bed_end),
    cmocka_unit_test_setup_teardown(test_plans, test_bed_lmdb_open, test_bed_end),
    cmocka_unit_test_setup_teardown(test_keys_split, test_bed_memory_open, test_bed_end),
    cmocka_unit_test_setup_teardown(test_lists, test_bed_memory_open, test_bed_end),
    cmocka_unit_test_setup_teardown(test_lists, test_bed_lmdb_open, test_bed_end),
};

int main(void) { return cmocka_run_group_tests(tests, NULL, NULL); }

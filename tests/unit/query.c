/* Questions to a replica over both stores: lists, indexes, history, conflicts, the past; each
 * against a plain model that keeps whole documents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/hlc.h"
#include "crdt/json.h"
#include "crdt/limits.h"
#include "store/lmdb_store.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/space.h"
#include "tests/support/temp.h"

enum { DOCS = 40, TEXT_LEN = 512, PAGE_MAX = 100 };

typedef struct fixture {
  test_temp temp;
  test_space s;
  weft_replica *r;
  weft_alloc mem;
  weft_arena arena;
  uint64_t seed;
} fixture;

static weft_store *lmdb_store(const test_temp *temp) {
  char path[256];
  weft_lmdb_options o;
  weft_store *store;
  test_temp_path(temp, "data.mdb", path);
  weft_lmdb_options_init(&o);
  o.path = path;
  o.map_size = 1u << 30;
  assert_int_equal(weft_lmdb_store_open(&o, &store, NULL), WEFT_OK);
  return store;
}

static int setup(void **state, bool lmdb) {
  fixture *f = calloc(1, sizeof *f);
  f->temp = test_temp_make();
  f->mem = weft_alloc_libc();
  weft__arena_init(&f->arena, &f->mem);
  test_space_make(&f->s, 3, 1);
  f->r = test_space_open(&f->s, 0, lmdb ? lmdb_store(&f->temp) : test_memory_store());
  *state = f;
  return 0;
}

static int setup_memory(void **state) { return setup(state, false); }
static int setup_lmdb(void **state) { return setup(state, true); }

static int teardown(void **state) {
  fixture *f = *state;
  weft_replica_free(f->r);
  weft__arena_free(&f->arena);
  test_temp_remove(&f->temp);
  free(f);
  return 0;
}

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

static weft_value parse(fixture *f, const char *json) {
  weft_value v;
  assert_int_equal(weft_json_parse(&f->arena, text(json), &v, NULL), WEFT_OK);
  return v;
}

static weft_value any_doc(fixture *f, test_rng *rng) {
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
static void change_doc(fixture *f, model *m, size_t idx, test_rng *rng) {
  model_doc *d = &m->docs[idx];
  weft_edit *e;
  weft_commit done;
  f->s.platforms[0].now += 1 + test_rng_below(rng, 3);
  snprintf(d->name, sizeof d->name, "%s/%02zu", idx % 3 ? "t" : idx % 2 ? "t2" : "t/deep", idx);
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

static weft_where any_where(fixture *f, test_rng *rng) {
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
static void assert_listed(fixture *f, const model *m, weft_query q, size_t page, bool indexed) {
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

static void declare(fixture *f, const char *collection, const char *pointer) {
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

static void ask(fixture *f, const model *m, test_rng *rng, const bool has[6]) {
  static const char *const collections[] = {"", "t", "t", "t2", "t/deep", "none"};
  weft_query q;
  weft_where where[3];
  weft_query_init(&q);
  q.collection = text(collections[test_rng_below(rng, 6)]);
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
  fixture *f = *state;
  model *m = calloc(1, sizeof *m);
  fixture ask_f = *f;
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

/* While pages are read, others write: what stays is neither skipped nor doubled. */
static void test_pages_while_writing(void **state) {
  fixture *f = *state;
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
  fixture *f = *state;
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
  fixture *f = *state;
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

static void test_list_refusals(void **state) {
  fixture *f = *state;
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
  char names[65][16];
  for (unsigned i = 0; i < 65; i++) {
    snprintf(names[i], sizeof names[i], "/%u", i);
    assert_int_equal(weft_replica_declare_index(f->r, text("t"), text(names[i])),
                     i < 64 ? WEFT_OK : WEFT_ELIMIT);
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_pages_while_writing, setup_memory, teardown),
    cmocka_unit_test_setup_teardown(test_long_texts, setup_lmdb, teardown),
    cmocka_unit_test_setup_teardown(test_by_device, setup_memory, teardown),
    cmocka_unit_test_setup_teardown(test_list_refusals, setup_lmdb, teardown),
    cmocka_unit_test_setup_teardown(test_lists, setup_memory, teardown),
    cmocka_unit_test_setup_teardown(test_lists, setup_lmdb, teardown),
};

int main(void) { return cmocka_run_group_tests(tests, NULL, NULL); }

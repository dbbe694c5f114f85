/* One contract, two stores: every case runs over memory and over LMDB, and a random run drives both
 * with the same calls and compares every byte and every error. */
#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/buf.h"
#include "store/backend.h"
#include "store/folder.h"
#include "store/keys.h"
#include "store/lmdb_store.h"
#include "store/memory_store.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/pace.h"
#include "tests/support/rng.h"
#include "tests/support/temp.h"

typedef struct fixture {
  bool lmdb;
  test_temp temp;
  weft_store *store;
} fixture;

static weft_store *memory_open(void) {
  weft_memory_options o;
  weft_memory_options_init(&o);
  weft_store *s;
  assert_int_equal(weft_memory_store_new(&o, &s), WEFT_OK);
  return s;
}

static weft_store *lmdb_open_sized(const test_temp *t, uint64_t map_size) {
  char path[256];
  test_temp_path(t, "data.mdb", path);
  weft_lmdb_options o;
  weft_lmdb_options_init(&o);
  o.path = path;
  if (test_map_size()) o.map_size = test_map_size();
  if (map_size) o.map_size = map_size;
  o.check_pages = true;
  weft_store *s;
  weft_diag d;
  weft_err err = weft_lmdb_store_open(&o, &s, &d);
  if (err != WEFT_OK) print_error("%s\n", d.text);
  assert_int_equal(err, WEFT_OK);
  return s;
}

static int setup_memory(void **state) {
  fixture *f = calloc(1, sizeof *f);
  f->store = memory_open();
  *state = f;
  return 0;
}

static int setup_lmdb(void **state) {
  fixture *f = calloc(1, sizeof *f);
  f->lmdb = true;
  f->temp = test_temp_make();
  f->store = lmdb_open_sized(&f->temp, 0);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  weft_store_free(f->store);
  if (f->lmdb) test_temp_remove(&f->temp);
  free(f);
  return 0;
}

/* --- shorthand --- */

static weft_bytes str(const char *text) { return weft_bytes_str(text); }

static weft_txn *begin(weft_store *s, weft_txn_mode mode) {
  weft_txn *t;
  assert_int_equal(weft_store_begin(s, mode, &t), WEFT_OK);
  return t;
}

static void put(weft_txn *t, weft_table table, const char *key, const char *value) {
  assert_int_equal(weft_txn_put(t, table, str(key), str(value)), WEFT_OK);
}

static void commit(weft_txn *t) { assert_int_equal(weft_txn_commit(t), WEFT_OK); }

static void assert_bytes(weft_bytes got, weft_bytes want) {
  assert_int_equal(got.len, want.len);
  if (want.len) assert_memory_equal(got.at, want.at, want.len);
}

/* NULL `value`: the key must be missing. */
static void assert_get(weft_txn *t, weft_table table, const char *key, const char *value) {
  weft_bytes v;
  weft_err err = weft_txn_get(t, table, str(key), &v);
  assert_int_equal(err, value ? WEFT_OK : WEFT_ENOTFOUND);
  assert_bytes(v, value ? str(value) : weft_bytes_of(NULL, 0));
}

/* NULL `key`: there is no further entry. */
static void assert_entry(weft_err err, const weft_entry *e, const char *key) {
  assert_int_equal(err, key ? WEFT_OK : WEFT_EDONE);
  assert_bytes(e->key, key ? str(key) : weft_bytes_of(NULL, 0));
}

/* The keys of a table, joined by blanks. */
static void assert_keys(weft_txn *t, weft_table table, const char *want) {
  char got[256] = "";
  weft_cursor *c;
  assert_int_equal(weft_cursor_open(t, table, &c), WEFT_OK);
  weft_entry e;
  uint64_t seen = 0, count;
  while (weft_cursor_next(c, &e) == WEFT_OK) {
    if (seen++) strcat(got, " ");
    strncat(got, (const char *)e.key.at, e.key.len);
  }
  weft_cursor_close(c);
  assert_string_equal(got, want);
  assert_int_equal(weft_txn_count(t, table, &count), WEFT_OK);
  assert_int_equal(count, seen);
}

/* --- the contract --- */

static void test_put_get_delete(void **state) {
  fixture *f = *state;
  for (unsigned i = 0; i < WEFT_TABLE_COUNT; i++) {
    weft_table table = (weft_table)i;
    weft_txn *t = begin(f->store, WEFT_TXN_WRITE);
    assert_get(t, table, "b", NULL);
    put(t, table, "b", "1");
    put(t, table, "a", "");
    put(t, table, "b", "2");
    assert_get(t, table, "b", "2");
    assert_get(t, table, "a", "");
    commit(t);
    t = begin(f->store, WEFT_TXN_READ);
    assert_keys(t, table, "a b");
    commit(t);
    t = begin(f->store, WEFT_TXN_WRITE);
    assert_int_equal(weft_txn_delete(t, table, str("a")), WEFT_OK);
    assert_int_equal(weft_txn_delete(t, table, str("a")), WEFT_ENOTFOUND);
    assert_keys(t, table, "b");
    commit(t);
  }
}

static void test_abort_leaves_nothing(void **state) {
  fixture *f = *state;
  weft_txn *t = begin(f->store, WEFT_TXN_WRITE);
  put(t, WEFT_TABLE_CONTEST, "k", "before");
  commit(t);
  t = begin(f->store, WEFT_TXN_WRITE);
  put(t, WEFT_TABLE_CONTEST, "k", "after");
  put(t, WEFT_TABLE_CONTEST, "l", "after");
  put(t, WEFT_TABLE_META, "m", "after");
  weft_txn_abort(t);
  weft_txn_abort(NULL);
  t = begin(f->store, WEFT_TXN_READ);
  assert_get(t, WEFT_TABLE_CONTEST, "k", "before");
  assert_keys(t, WEFT_TABLE_CONTEST, "k");
  assert_keys(t, WEFT_TABLE_META, "");
  weft_txn_abort(t);
}

static void test_reader_sees_a_snapshot(void **state) {
  fixture *f = *state;
  weft_txn *w = begin(f->store, WEFT_TXN_WRITE);
  put(w, WEFT_TABLE_CONTEST, "k", "1");
  commit(w);
  weft_txn *old = begin(f->store, WEFT_TXN_READ);
  w = begin(f->store, WEFT_TXN_WRITE);
  put(w, WEFT_TABLE_CONTEST, "k", "2");
  put(w, WEFT_TABLE_CONTEST, "l", "2");
  assert_get(old, WEFT_TABLE_CONTEST, "k", "1");
  weft_txn *during = begin(f->store, WEFT_TXN_READ);
  commit(w);
  weft_txn *after = begin(f->store, WEFT_TXN_READ);
  assert_get(old, WEFT_TABLE_CONTEST, "k", "1");
  assert_keys(old, WEFT_TABLE_CONTEST, "k");
  assert_get(during, WEFT_TABLE_CONTEST, "k", "1");
  assert_get(after, WEFT_TABLE_CONTEST, "k", "2");
  assert_keys(after, WEFT_TABLE_CONTEST, "k l");
  commit(during);
  weft_txn_abort(after);
  weft_txn_abort(old);
}

static void test_misuse(void **state) {
  fixture *f = *state;
  weft_txn *w = begin(f->store, WEFT_TXN_WRITE), *second;
  assert_int_equal(weft_store_begin(f->store, WEFT_TXN_WRITE, &second), WEFT_EMISUSE);
  assert_null(second);
  assert_int_equal(weft_store_grow(f->store), WEFT_EMISUSE);
  put(w, WEFT_TABLE_CONTEST, "k", "1");
  commit(w);
  weft_txn *r = begin(f->store, WEFT_TXN_READ);
  uint64_t count;
  weft_key_range all = {{NULL, 0}, {NULL, 0}};
  assert_int_equal(weft_txn_put(r, WEFT_TABLE_CONTEST, str("k"), str("v")), WEFT_EMISUSE);
  assert_int_equal(weft_txn_append(r, WEFT_TABLE_CONTEST, str("l"), str("v")), WEFT_EMISUSE);
  assert_int_equal(weft_txn_delete(r, WEFT_TABLE_CONTEST, str("k")), WEFT_EMISUSE);
  assert_int_equal(weft_txn_delete_range(r, WEFT_TABLE_CONTEST, all, &count), WEFT_EMISUSE);
  assert_int_equal(weft_store_grow(f->store), WEFT_EMISUSE);
  assert_get(r, WEFT_TABLE_CONTEST, "k", "1");
  weft_txn_abort(r);
  assert_int_equal(weft_store_grow(f->store), WEFT_OK);
  weft_cursor_close(NULL);
  weft_store_free(NULL);
  assert_string_equal(weft_table_name(WEFT_TABLE_COUNT), "?");
}

static void test_limits(void **state) {
  fixture *f = *state;
  weft_txn *t = begin(f->store, WEFT_TXN_WRITE);
  static uint8_t key[WEFT_KEY_LEN_MAX + 1];
  uint8_t *big = calloc(1, WEFT_STORE_VALUE_LEN_MAX + 1);
  memset(key, 'k', sizeof key);
  weft_bytes v, longest = weft_bytes_of(key, WEFT_KEY_LEN_MAX),
                over = weft_bytes_of(key, sizeof key);
  weft_bytes meta = weft_bytes_of(key, WEFT_STORE_META_KEY_LEN_MAX);
  weft_bytes meta_over = weft_bytes_of(key, WEFT_STORE_META_KEY_LEN_MAX + 1);
  weft_bytes largest = weft_bytes_of(big, WEFT_STORE_VALUE_LEN_MAX);
  assert_int_equal(weft_txn_put(t, WEFT_TABLE_CONTEST, over, str("v")), WEFT_ELIMIT);
  assert_int_equal(weft_txn_put(t, WEFT_TABLE_CONTEST, str(""), str("v")), WEFT_ELIMIT);
  assert_int_equal(weft_txn_put(t, WEFT_TABLE_META, meta_over, str("v")), WEFT_ELIMIT);
  assert_int_equal(weft_txn_get(t, WEFT_TABLE_CONTEST, over, &v), WEFT_ELIMIT);
  assert_int_equal(weft_txn_delete(t, WEFT_TABLE_CONTEST, str("")), WEFT_ELIMIT);
  weft_bytes too_large = weft_bytes_of(big, WEFT_STORE_VALUE_LEN_MAX + 1);
  assert_int_equal(weft_txn_put(t, WEFT_TABLE_CONTEST, str("k"), too_large), WEFT_ELIMIT);
  assert_int_equal(weft_txn_put(t, WEFT_TABLE_CONTEST, longest, largest), WEFT_OK);
  assert_int_equal(weft_txn_put(t, WEFT_TABLE_META, meta, str("v")), WEFT_OK);
  commit(t);
  t = begin(f->store, WEFT_TXN_READ);
  assert_int_equal(weft_txn_get(t, WEFT_TABLE_CONTEST, longest, &v), WEFT_OK);
  assert_int_equal(v.len, WEFT_STORE_VALUE_LEN_MAX);
  assert_int_equal(weft_txn_get(t, WEFT_TABLE_META, meta, &v), WEFT_OK);
  weft_txn_abort(t);
  free(big);
}

static void test_cursor_moves(void **state) {
  fixture *f = *state;
  static const weft_table tables[] = {WEFT_TABLE_META, WEFT_TABLE_LOG};
  weft_txn *t = begin(f->store, WEFT_TXN_WRITE);
  for (size_t i = 0; i < 2; i++) {
    weft_cursor *c;
    weft_entry e;
    assert_int_equal(weft_cursor_open(t, tables[i], &c), WEFT_OK);
    assert_entry(weft_cursor_next(c, &e), &e, NULL);
    assert_entry(weft_cursor_last(c, &e), &e, NULL);
    assert_entry(weft_cursor_seek(c, str("a"), &e), &e, NULL);
    assert_entry(weft_cursor_seek_back(c, str("a"), &e), &e, NULL);
    put(t, tables[i], "b", "1");
    put(t, tables[i], "d", "2");
    assert_entry(weft_cursor_next(c, &e), &e, NULL);
    assert_entry(weft_cursor_prev(c, &e), &e, NULL);
    assert_entry(weft_cursor_first(c, &e), &e, "b");
    assert_bytes(e.value, str("1"));
    assert_entry(weft_cursor_next(c, &e), &e, "d");
    assert_entry(weft_cursor_next(c, &e), &e, NULL);
    assert_entry(weft_cursor_prev(c, &e), &e, NULL);
    assert_entry(weft_cursor_last(c, &e), &e, "d");
    assert_entry(weft_cursor_prev(c, &e), &e, "b");
    assert_entry(weft_cursor_prev(c, &e), &e, NULL);
    assert_entry(weft_cursor_seek(c, str("b"), &e), &e, "b");
    assert_entry(weft_cursor_seek(c, str("c"), &e), &e, "d");
    assert_entry(weft_cursor_seek(c, str("e"), &e), &e, NULL);
    assert_entry(weft_cursor_seek(c, str(""), &e), &e, "b");
    assert_entry(weft_cursor_seek_back(c, str("d"), &e), &e, "d");
    assert_entry(weft_cursor_seek_back(c, str("c"), &e), &e, "b");
    assert_entry(weft_cursor_seek_back(c, str("e"), &e), &e, "d");
    assert_entry(weft_cursor_seek_back(c, str("a"), &e), &e, NULL);
    assert_entry(weft_cursor_seek_back(c, str(""), &e), &e, NULL);
    weft_cursor_close(c);
    assert_int_equal(weft_cursor_open(t, tables[i], &c), WEFT_OK);
    assert_entry(weft_cursor_prev(c, &e), &e, "d");
    weft_cursor_close(c);
  }
  commit(t);
}

static void test_cursor_under_writes(void **state) {
  fixture *f = *state;
  weft_txn *t = begin(f->store, WEFT_TXN_WRITE);
  weft_cursor *c;
  weft_entry e;
  put(t, WEFT_TABLE_LOG, "b", "1");
  put(t, WEFT_TABLE_LOG, "d", "1");
  put(t, WEFT_TABLE_LOG, "f", "1");
  assert_int_equal(weft_cursor_open(t, WEFT_TABLE_LOG, &c), WEFT_OK);
  assert_entry(weft_cursor_seek(c, str("d"), &e), &e, "d");
  assert_int_equal(weft_txn_delete(t, WEFT_TABLE_LOG, e.key), WEFT_OK);
  assert_entry(weft_cursor_next(c, &e), &e, "f");
  put(t, WEFT_TABLE_LOG, "e", "1");
  assert_entry(weft_cursor_prev(c, &e), &e, "e");
  put(t, WEFT_TABLE_LOG, "c", "1");
  assert_entry(weft_cursor_prev(c, &e), &e, "c");
  put(t, WEFT_TABLE_LOG, "c", "2");
  assert_entry(weft_cursor_next(c, &e), &e, "e");
  weft_key_range all = {{NULL, 0}, {NULL, 0}};
  uint64_t count;
  assert_int_equal(weft_txn_delete_range(t, WEFT_TABLE_LOG, all, &count), WEFT_OK);
  assert_int_equal(count, 4);
  assert_entry(weft_cursor_prev(c, &e), &e, NULL);
  put(t, WEFT_TABLE_LOG, "x", "1");
  assert_entry(weft_cursor_next(c, &e), &e, NULL);
  assert_entry(weft_cursor_first(c, &e), &e, "x");
  weft_cursor_close(c);
  commit(t);
}

static void test_delete_range(void **state) {
  fixture *f = *state;
  static const weft_table tables[] = {WEFT_TABLE_META, WEFT_TABLE_STATE};
  for (size_t i = 0; i < 2; i++) {
    weft_txn *t = begin(f->store, WEFT_TXN_WRITE);
    for (char k = 'a'; k <= 'j'; k++) {
      char key[2] = {k, 0};
      put(t, tables[i], key, "v");
    }
    uint64_t n;
    weft_key_range middle = {str("c"), str("e")}, head = {str(""), str("b")};
    weft_key_range tail = {str("i"), str("")}, none = {str("z"), str("a")},
                   all = {str(""), str("")};
    assert_int_equal(weft_txn_delete_range(t, tables[i], middle, &n), WEFT_OK);
    assert_int_equal(n, 2);
    assert_int_equal(weft_txn_delete_range(t, tables[i], head, &n), WEFT_OK);
    assert_int_equal(n, 1);
    assert_int_equal(weft_txn_delete_range(t, tables[i], tail, &n), WEFT_OK);
    assert_int_equal(n, 2);
    assert_int_equal(weft_txn_delete_range(t, tables[i], none, &n), WEFT_OK);
    assert_int_equal(n, 0);
    assert_keys(t, tables[i], "b e f g h");
    assert_int_equal(weft_txn_delete_range(t, tables[i], all, &n), WEFT_OK);
    assert_int_equal(n, 5);
    assert_keys(t, tables[i], "");
    put(t, tables[i], "q", "v");
    commit(t);
    t = begin(f->store, WEFT_TXN_READ);
    assert_keys(t, tables[i], "q");
    weft_txn_abort(t);
  }
}

/* Number order, and appending, over more than one page or block. */
static void test_many_in_order(void **state) {
  fixture *f = *state;
  enum { many = 5000 };
  weft_dbkey k;
  weft_txn *t = begin(f->store, WEFT_TXN_WRITE);
  for (uint64_t i = 0; i < many; i++) {
    weft_bytes key = weft__dbkey_u32_u64(&k, 7, i * 1000);
    assert_int_equal(weft_txn_append(t, WEFT_TABLE_TAIL, key, str("value")), WEFT_OK);
  }
  weft_bytes wrong = weft__dbkey_u32_u64(&k, 6, 5);
  assert_int_equal(weft_txn_append(t, WEFT_TABLE_TAIL, wrong, str("late")), WEFT_OK);
  assert_int_equal(weft_txn_append(t, WEFT_TABLE_TAIL, wrong, str("late")), WEFT_OK);
  commit(t);
  t = begin(f->store, WEFT_TXN_READ);
  weft_cursor *c;
  weft_entry e;
  assert_int_equal(weft_cursor_open(t, WEFT_TABLE_TAIL, &c), WEFT_OK);
  assert_int_equal(weft_cursor_next(c, &e), WEFT_OK);
  for (uint64_t i = 0; i < many; i++) {
    assert_int_equal(weft_cursor_next(c, &e), WEFT_OK);
    weft_rd r = weft__rd(e.key);
    assert_int_equal(weft__rd_u32(&r), 7);
    assert_int_equal(weft__rd_u64(&r), i * 1000);
    assert_true(weft__rd_done(&r));
  }
  assert_int_equal(weft_cursor_next(c, &e), WEFT_EDONE);
  assert_int_equal(weft_cursor_seek_back(c, weft__dbkey_u32_u64(&k, 7, 2999), &e), WEFT_OK);
  assert_bytes(e.key, weft__dbkey_u32_u64(&k, 7, 2000));
  weft_cursor_close(c);
  weft_txn_abort(t);
  weft_store_size size;
  assert_int_equal(weft_store_get_size(f->store, &size), WEFT_OK);
  assert_true(size.used > many * 10 && size.used < size.max);
}

/* Fills the store, 4 KiB a value, until it refuses; gives how many went in. */
static unsigned fill(weft_store *s) {
  static uint8_t value[4000];
  weft_dbkey k;
  for (unsigned i = 0; i < 100000; i++) {
    weft_txn *t = begin(s, WEFT_TXN_WRITE);
    weft_err err =
        weft_txn_put(t, WEFT_TABLE_LOG, weft__dbkey_u32(&k, i), weft_bytes_of(value, sizeof value));
    if (err == WEFT_OK) {
      err = weft_txn_commit(t);
    } else {
      weft_bytes v;
      assert_int_equal(weft_txn_get(t, WEFT_TABLE_LOG, weft__dbkey_u32(&k, 0), &v), WEFT_EFULL);
      assert_int_equal(weft_txn_commit(t), WEFT_EFULL);
    }
    if (err == WEFT_OK) continue;
    assert_int_equal(err, WEFT_EFULL);
    return i;
  }
  fail();
  return 0;
}

static void full_store_case(weft_store *s) {
  unsigned before = fill(s);
  assert_in_range(before, 1, 1000);
  weft_diag d;
  weft_store_get_diag(s, &d);
  assert_int_equal(d.err, WEFT_EFULL);
  assert_true(strlen(d.text) > 0);
  weft_txn *t = begin(s, WEFT_TXN_READ);
  uint64_t count;
  assert_int_equal(weft_txn_count(t, WEFT_TABLE_LOG, &count), WEFT_OK);
  assert_int_equal(count, before);
  assert_int_equal(weft_store_grow(s), WEFT_EMISUSE);
  weft_txn_abort(t);
  weft_dbkey k;
  t = begin(s, WEFT_TXN_WRITE);
  assert_int_equal(weft_txn_delete(t, WEFT_TABLE_LOG, weft__dbkey_u32(&k, 0)), WEFT_OK);
  commit(t);
  assert_int_equal(weft_store_grow(s), WEFT_OK);
  assert_true(fill(s) >= before + before / 2);
}

static void test_full_memory(void **state) {
  (void)state;
  weft_memory_options o;
  weft_memory_options_init(&o);
  o.size_max = 400000;
  weft_store *s;
  assert_int_equal(weft_memory_store_new(&o, &s), WEFT_OK);
  full_store_case(s);
  weft_store_size size;
  for (int i = 0; i < 64; i++) assert_int_equal(weft_store_grow(s), WEFT_OK);
  assert_int_equal(weft_store_get_size(s, &size), WEFT_OK);
  assert_true(size.max == UINT64_MAX);
  weft_store_free(s);
}

static void test_full_map(void **state) {
  (void)state;
  test_temp temp = test_temp_make();
  weft_store *s = lmdb_open_sized(&temp, 1u << 20);
  full_store_case(s);
  weft_store_free(s);
  test_temp_remove(&temp);
}

/* --- both at once --- */

enum { readers_max = 3, cursors_max = 3, calls_per_txn = 60 };

typedef struct pair_txn {
  weft_txn *side[2];
  weft_cursor *cursors[cursors_max][2];
} pair_txn;

typedef struct pair {
  uint64_t seed;
  test_rng rng;
  weft_store *store[2];
  pair_txn readers[readers_max];
  uint8_t key[600];
  uint8_t value[9000];
} pair;

static void check(pair *p, bool same, const char *what) {
  if (same) return;
  print_error("%s differs, seed=%llu\n", what, (unsigned long long)p->seed);
  fail();
}

static void check_err(pair *p, const weft_err err[2], const char *what) {
  check(p, err[0] == err[1], what);
  check(p, err[0] == WEFT_OK || err[0] > WEFT_EMALFORMED, what);
}

static void check_bytes(pair *p, weft_bytes a, weft_bytes b, const char *what) {
  check(p, weft_bytes_cmp(a, b) == 0, what);
}

/* Few distinct keys, so that calls meet: mostly short ones of three letters, some at the limits. */
static weft_bytes random_key(pair *p) {
  static const uint8_t letters[] = {0x00, 'm', 0xff};
  static const size_t edges[] = {0, 63, 64, 65, 510, 511, 512, 600};
  size_t len = 1 + (size_t)test_rng_below(&p->rng, 5);
  bool edge = test_rng_chance(&p->rng, 4);
  if (edge) len = TEST_PICK(&p->rng, edges);
  memset(p->key, edge ? 'm' : 0, sizeof p->key);
  size_t varied = edge ? (len < 2 ? len : 2) : len;
  for (size_t i = 0; i < varied; i++) p->key[i] = letters[test_rng_below(&p->rng, 3)];
  return weft_bytes_of(p->key, len);
}

static weft_bytes random_value(pair *p) {
  size_t max = test_rng_chance(&p->rng, 5) ? sizeof p->value : 200;
  size_t len = (size_t)test_rng_below(&p->rng, max);
  test_rng_fill(&p->rng, p->value, len < 16 ? len : 16);
  return weft_bytes_of(p->value, len);
}

static weft_table random_table(pair *p) {
  static const weft_table tables[] = {WEFT_TABLE_META, WEFT_TABLE_LOG, WEFT_TABLE_STATE};
  return tables[test_rng_below(&p->rng, 3)];
}

static weft_err one_move(weft_cursor *c, uint64_t which, weft_bytes key, weft_entry *e) {
  switch (which) {
  case 0: return weft_cursor_first(c, e);
  case 1: return weft_cursor_last(c, e);
  case 2: return weft_cursor_seek(c, key, e);
  case 3: return weft_cursor_seek_back(c, key, e);
  case 4:
  case 5: return weft_cursor_prev(c, e);
  default: return weft_cursor_next(c, e);
  }
}

static void pair_cursor(pair *p, pair_txn *t) {
  weft_cursor **c = t->cursors[test_rng_below(&p->rng, cursors_max)];
  weft_err err[2];
  if (!c[0]) {
    weft_table table = random_table(p);
    for (int i = 0; i < 2; i++) err[i] = weft_cursor_open(t->side[i], table, &c[i]);
    check_err(p, err, "opening a cursor");
    return;
  }
  if (test_rng_chance(&p->rng, 5)) {
    for (int i = 0; i < 2; i++) {
      weft_cursor_close(c[i]);
      c[i] = NULL;
    }
    return;
  }
  weft_bytes key = random_key(p);
  uint64_t which = test_rng_below(&p->rng, 9);
  weft_entry e[2];
  for (int i = 0; i < 2; i++) err[i] = one_move(c[i], which, key, &e[i]);
  check_err(p, err, "a move");
  check_bytes(p, e[0].key, e[1].key, "a cursor's key");
  check_bytes(p, e[0].value, e[1].value, "a cursor's value");
}

static void pair_read(pair *p, pair_txn *t) {
  weft_table table = random_table(p);
  weft_bytes key = random_key(p), v[2];
  uint64_t n[2];
  weft_err err[2];
  if (test_rng_chance(&p->rng, 50)) {
    pair_cursor(p, t);
    return;
  }
  for (int i = 0; i < 2; i++) err[i] = weft_txn_get(t->side[i], table, key, &v[i]);
  check_err(p, err, "get");
  check_bytes(p, v[0], v[1], "a value");
  for (int i = 0; i < 2; i++) err[i] = weft_txn_count(t->side[i], table, &n[i]);
  check_err(p, err, "count");
  check(p, n[0] == n[1], "the count");
}

static void pair_range(pair *p, pair_txn *t, weft_table table) {
  uint8_t from[600];
  weft_bytes a = random_key(p);
  memcpy(from, a.at, a.len);
  weft_key_range range = {weft_bytes_of(from, a.len), {NULL, 0}};
  range.to = random_key(p);
  if (test_rng_chance(&p->rng, 5)) range.from.len = range.to.len = 0;
  uint64_t n[2];
  weft_err err[2];
  for (int i = 0; i < 2; i++) err[i] = weft_txn_delete_range(t->side[i], table, range, &n[i]);
  check_err(p, err, "delete a range");
  check(p, n[0] == n[1], "how many a range held");
}

static void pair_write(pair *p, pair_txn *t) {
  weft_table table = random_table(p);
  weft_bytes key = random_key(p);
  uint64_t which = test_rng_below(&p->rng, 100);
  weft_err err[2];
  if (which < 3) {
    pair_range(p, t, table);
  } else if (which < 30) {
    for (int i = 0; i < 2; i++) err[i] = weft_txn_delete(t->side[i], table, key);
    check_err(p, err, "delete");
  } else {
    weft_bytes v = random_value(p);
    for (int i = 0; i < 2; i++) {
      err[i] = which < 45 ? weft_txn_append(t->side[i], table, key, v)
                          : weft_txn_put(t->side[i], table, key, v);
    }
    check_err(p, err, "put");
  }
}

static void pair_begin(pair *p, pair_txn *t, weft_txn_mode mode) {
  memset(t, 0, sizeof *t);
  weft_err err[2];
  for (int i = 0; i < 2; i++) err[i] = weft_store_begin(p->store[i], mode, &t->side[i]);
  check_err(p, err, "begin");
  check(p, err[0] == WEFT_OK, "begin");
}

static void pair_end(pair *p, pair_txn *t, bool keep) {
  for (int i = 0; i < 2 * cursors_max; i++) weft_cursor_close(t->cursors[i / 2][i % 2]);
  weft_err err[2] = {WEFT_OK, WEFT_OK};
  for (int i = 0; i < 2; i++) {
    if (keep)
      err[i] = weft_txn_commit(t->side[i]);
    else
      weft_txn_abort(t->side[i]);
  }
  check_err(p, err, "commit");
  memset(t, 0, sizeof *t);
}

static void pair_compare_all(pair *p) {
  pair_txn t;
  pair_begin(p, &t, WEFT_TXN_READ);
  for (unsigned table = 0; table < WEFT_TABLE_COUNT; table++) {
    weft_cursor *c[2];
    weft_entry e[2];
    weft_err err[2];
    for (int i = 0; i < 2; i++) err[i] = weft_cursor_open(t.side[i], (weft_table)table, &c[i]);
    do {
      for (int i = 0; i < 2; i++) err[i] = weft_cursor_next(c[i], &e[i]);
      check_err(p, err, "the whole");
      check_bytes(p, e[0].key, e[1].key, "a key of the whole");
      check_bytes(p, e[0].value, e[1].value, "a value of the whole");
    } while (err[0] == WEFT_OK);
    for (int i = 0; i < 2; i++) weft_cursor_close(c[i]);
  }
  pair_end(p, &t, false);
}

static void pair_round(pair *p) {
  pair_txn *r = &p->readers[test_rng_below(&p->rng, readers_max)];
  if (r->side[0] && test_rng_chance(&p->rng, 30))
    pair_end(p, r, test_rng_chance(&p->rng, 50));
  else if (!r->side[0])
    pair_begin(p, r, WEFT_TXN_READ);
  pair_txn w;
  pair_begin(p, &w, WEFT_TXN_WRITE);
  uint64_t calls = test_rng_below(&p->rng, calls_per_txn);
  for (uint64_t i = 0; i < calls; i++) {
    if (test_rng_chance(&p->rng, 40))
      pair_read(p, &w);
    else
      pair_write(p, &w);
    r = &p->readers[test_rng_below(&p->rng, readers_max)];
    if (r->side[0]) pair_read(p, r);
  }
  pair_end(p, &w, test_rng_chance(&p->rng, 75));
}

static void pair_run(uint64_t seed) {
  pair *p = calloc(1, sizeof *p);
  p->seed = seed;
  p->rng = test_rng_of(seed);
  test_temp temp = test_temp_make();
  p->store[0] = memory_open();
  p->store[1] = lmdb_open_sized(&temp, 0);
  for (int i = 0; i < 150; i++) pair_round(p);
  for (int i = 0; i < readers_max; i++) {
    if (p->readers[i].side[0]) pair_end(p, &p->readers[i], false);
  }
  pair_compare_all(p);
  weft_store_free(p->store[1]);
  p->store[1] = lmdb_open_sized(&temp, 0);
  pair_compare_all(p);
  weft_store_free(p->store[0]);
  weft_store_free(p->store[1]);
  test_temp_remove(&temp);
  free(p);
}

static void test_both_alike(void **state) {
  (void)state;
  uint64_t seeds = test_number("WEFT_TEST_SEEDS", 40);
  for (uint64_t seed = 1; seed <= seeds; seed++) pair_run(seed);
}

/* --- allocation failures --- */

static weft_err busy_txn(weft_store *s, bool *committed) {
  weft_txn *t;
  weft_dbkey k;
  WEFT_TRY(weft_store_begin(s, WEFT_TXN_WRITE, &t));
  weft_err err = WEFT_OK;
  for (uint32_t i = 0; i < 1200 && err == WEFT_OK; i++) {
    uint32_t n = i * 7919 % 1200;
    err = weft_txn_put(t, WEFT_TABLE_LOG, weft__dbkey_u32(&k, n), str("some value"));
  }
  weft_bytes one = weft__dbkey_u32(&k, 17);
  if (err == WEFT_OK) err = weft_txn_delete(t, WEFT_TABLE_LOG, one);
  if (err == WEFT_OK) err = weft_txn_put(t, WEFT_TABLE_LOG, weft__dbkey_u32(&k, 0), str("new"));
  weft_key_range range = {str("\0\0\1"), {NULL, 0}};
  range.from = weft__dbkey_u32(&k, 1000);
  uint64_t gone;
  if (err == WEFT_OK) err = weft_txn_delete_range(t, WEFT_TABLE_LOG, range, &gone);
  weft_err end = weft_txn_commit(t);
  assert_int_equal(end, err);
  *committed = err == WEFT_OK;
  return err;
}

/* Before: 10 entries; after: 1000 less one, or still 10. */
static void assert_all_or_nothing(weft_store *s, test_fault_alloc *fault, bool committed) {
  fault->fail_at = 0;
  weft_txn *t = begin(s, WEFT_TXN_READ);
  uint64_t count;
  assert_int_equal(weft_txn_count(t, WEFT_TABLE_LOG, &count), WEFT_OK);
  assert_int_equal(count, committed ? 999 : 10);
  weft_bytes v;
  weft_dbkey k;
  assert_int_equal(weft_txn_get(t, WEFT_TABLE_LOG, weft__dbkey_u32(&k, 0), &v), WEFT_OK);
  assert_bytes(v, str(committed ? "new" : "old"));
  weft_txn_abort(t);
}

static bool memory_fault_round(size_t fail_at, bool sticky) {
  test_fault_alloc fault = {0};
  weft_memory_options o;
  weft_memory_options_init(&o);
  o.mem = test_fault_alloc_of(&fault);
  weft_store *s;
  assert_int_equal(weft_memory_store_new(&o, &s), WEFT_OK);
  weft_txn *t = begin(s, WEFT_TXN_WRITE);
  weft_dbkey k;
  for (uint32_t i = 0; i < 10; i++) {
    weft_bytes key = weft__dbkey_u32(&k, i);
    assert_int_equal(weft_txn_put(t, WEFT_TABLE_LOG, key, str("old")), WEFT_OK);
  }
  commit(t);
  fault.calls = 0;
  fault.fail_at = fail_at;
  fault.sticky = sticky;
  bool committed = false;
  weft_err err = busy_txn(s, &committed);
  bool reached = fault.calls >= fail_at;
  assert_int_equal(err, reached ? WEFT_ENOMEM : WEFT_OK);
  assert_all_or_nothing(s, &fault, committed);
  assert_int_equal(busy_txn(s, &committed), WEFT_OK);
  weft_store_free(s);
  assert_int_equal(fault.live, 0);
  return reached;
}

static void test_memory_allocations(void **state) {
  (void)state;
  for (size_t k = 1; memory_fault_round(k, false); k++) assert_true(k < 100000);
  for (size_t k = 1; memory_fault_round(k, true); k += 7) assert_true(k < 100000);
  for (size_t k = 1; k <= 2; k++) {
    test_fault_alloc fault = {.fail_at = k};
    weft_memory_options o;
    weft_memory_options_init(&o);
    o.mem = test_fault_alloc_of(&fault);
    weft_store *s;
    assert_int_equal(weft_memory_store_new(&o, &s), WEFT_ENOMEM);
    assert_int_equal(fault.live, 0);
    o.struct_size++;
    assert_int_equal(weft_memory_store_new(&o, &s), WEFT_EMISUSE);
  }
}

/* Readers and cursors allocate too, in both stores; a failure leaves the transaction usable. */
static void reader_fault_case(weft_store *s, test_fault_alloc *fault) {
  weft_txn *t;
  weft_cursor *c;
  size_t live = fault->live;
  fault->calls = 0;
  fault->fail_at = 1;
  assert_int_equal(weft_store_begin(s, WEFT_TXN_READ, &t), WEFT_ENOMEM);
  assert_int_equal(weft_store_begin(s, WEFT_TXN_READ, &t), WEFT_OK);
  fault->calls = 0;
  assert_int_equal(weft_cursor_open(t, WEFT_TABLE_CONTEST, &c), WEFT_ENOMEM);
  assert_null(c);
  assert_int_equal(weft_cursor_open(t, WEFT_TABLE_CONTEST, &c), WEFT_OK);
  weft_cursor_close(c);
  weft_txn_abort(t);
  fault->calls = 0;
  assert_int_equal(weft_store_begin(s, WEFT_TXN_WRITE, &t), WEFT_ENOMEM);
  assert_int_equal(weft_store_begin(s, WEFT_TXN_WRITE, &t), WEFT_OK);
  weft_txn_abort(t);
  fault->fail_at = 0;
  assert_int_equal(fault->live, live);
}

static void test_reader_allocations(void **state) {
  (void)state;
  test_fault_alloc fault = {0};
  weft_store *s;
  weft_memory_options m;
  weft_memory_options_init(&m);
  m.mem = test_fault_alloc_of(&fault);
  assert_int_equal(weft_memory_store_new(&m, &s), WEFT_OK);
  reader_fault_case(s, &fault);
  weft_store_free(s);
  test_temp temp = test_temp_make();
  char path[256];
  test_temp_path(&temp, "data.mdb", path);
  weft_lmdb_options o;
  weft_lmdb_options_init(&o);
  o.path = path;
  if (test_map_size()) o.map_size = test_map_size();
  o.mem = m.mem;
  assert_int_equal(weft_lmdb_store_open(&o, &s, NULL), WEFT_OK);
  reader_fault_case(s, &fault);
  weft_store_free(s);
  for (size_t k = 1; k <= 2; k++) {
    fault = (test_fault_alloc){.fail_at = k};
    assert_int_equal(weft_lmdb_store_open(&o, &s, NULL), WEFT_ENOMEM);
    assert_null(s);
    assert_int_equal(fault.live, 0);
  }
  test_temp_remove(&temp);
}

/* --- keys --- */

static void test_keys(void **state) {
  (void)state;
  weft_dbkey k;
  assert_bytes(weft__dbkey_u32(&k, 0x01020304), weft_bytes_of("\1\2\3\4", 4));
  assert_bytes(weft__dbkey_u64(&k, 0x0102030405060708), weft_bytes_of("\1\2\3\4\5\6\7\10", 8));
  assert_bytes(weft__dbkey_u32_u32(&k, 1, 2), weft_bytes_of("\0\0\0\1\0\0\0\2", 8));
  assert_bytes(weft__dbkey_u32_bytes(&k, 1, str("x")), weft_bytes_of("\0\0\0\1x", 5));
  assert_bytes(weft__dbkey_after(&k, weft_bytes_of("a\xff\xff", 3)), str("b"));
  assert_bytes(weft__dbkey_after(&k, weft_bytes_of("\xff\xff", 2)), str(""));
  assert_bytes(weft__dbkey_after(&k, weft__dbkey_u32(&k, 9)), weft_bytes_of("\0\0\0\12", 4));
  assert_true(weft__key_has_prefix(str("abc"), str("ab")));
  assert_true(weft__key_has_prefix(str("abc"), str("")));
  assert_false(weft__key_has_prefix(str("abc"), str("abd")));
  assert_false(weft__key_has_prefix(str("ab"), str("abc")));
  static const uint8_t big[600];
  assert_int_equal(weft__dbkey_u32_bytes(&k, 1, weft_bytes_of(big, 507)).len, WEFT_KEY_LEN_MAX);
  weft__dbkey_add_u32(&k, 7);
  assert_int_equal(weft__dbkey_view(&k).len, WEFT_KEY_LEN_MAX + 1);
  weft__dbkey_add_u64(&k, 7);
  assert_int_equal(weft__dbkey_view(&k).len, WEFT_KEY_LEN_MAX + 1);
  assert_int_equal(weft__dbkey_after(&k, weft_bytes_of(big, 600)).len, WEFT_KEY_LEN_MAX + 1);
}

#define OVER_BOTH(name)                                                                            \
  cmocka_unit_test_setup_teardown(name, setup_memory, teardown),                                   \
      cmocka_unit_test_setup_teardown(name, setup_lmdb, teardown)

/* --- errors --- */

static void test_words_for_errors(void **state) {
  (void)state;
  static const struct {
    int sys;
    weft_err err;
  } cases[] = {{ENOSPC, WEFT_EFULL},    {EDQUOT, WEFT_EFULL},     {EFBIG, WEFT_EFULL},
               {EROFS, WEFT_EREADONLY}, {EACCES, WEFT_EREADONLY}, {EPERM, WEFT_EREADONLY},
               {ENOENT, WEFT_ENOSTORE}, {ENOMEM, WEFT_ENOMEM},    {EIO, WEFT_EIO},
               {-1, WEFT_EIO}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_int_equal(weft__err_from_errno(cases[i].sys), cases[i].err);
  /* A text that is too long is cut, and ends. */
  char longer[400];
  weft_diag d;
  memset(longer, 'a', sizeof longer - 1);
  longer[sizeof longer - 1] = 0;
  weft__diag_set(&d, WEFT_EIO, 5, longer);
  assert_int_equal(strlen(d.text), sizeof d.text - 1);
  assert_int_equal(d.err, WEFT_EIO);
  assert_int_equal(d.sys, 5);
}

/* After an error of the disk every call says so, those of open transactions too. */
static void test_broken(void **state) {
  fixture *f = *state;
  weft_txn *t = begin(f->store, WEFT_TXN_WRITE), *other;
  put(t, WEFT_TABLE_CONTEST, "a", "1");
  put(t, WEFT_TABLE_CONTEST, "b", "2");
  commit(t);
  weft_cursor *c;
  weft_entry e;
  weft_bytes value;
  weft_store_size size;
  uint64_t count;
  t = begin(f->store, WEFT_TXN_READ);
  assert_int_equal(weft_cursor_open(t, WEFT_TABLE_CONTEST, &c), WEFT_OK);
  assert_int_equal(weft_cursor_first(c, &e), WEFT_OK);
  assert_int_equal(weft__store_fail(f->store, WEFT_EIO, EIO, "broken"), WEFT_EIO);
  assert_int_equal(weft_txn_get(t, WEFT_TABLE_CONTEST, str("a"), &value), WEFT_EIO);
  assert_int_equal(weft_txn_count(t, WEFT_TABLE_CONTEST, &count), WEFT_EIO);
  assert_int_equal(weft_cursor_first(c, &e), WEFT_EIO);
  assert_int_equal(weft_cursor_last(c, &e), WEFT_EIO);
  assert_int_equal(weft_cursor_next(c, &e), WEFT_EIO);
  assert_int_equal(weft_cursor_prev(c, &e), WEFT_EIO);
  assert_int_equal(weft_cursor_seek(c, str("b"), &e), WEFT_EIO);
  assert_int_equal(weft_cursor_seek_back(c, str("b"), &e), WEFT_EIO);
  weft_cursor_close(c);
  weft_txn_abort(t);
  assert_int_equal(weft_store_begin(f->store, WEFT_TXN_READ, &other), WEFT_EIO);
  assert_null(other);
  assert_int_equal(weft_store_begin(f->store, WEFT_TXN_WRITE, &other), WEFT_EIO);
  assert_int_equal(weft_store_get_size(f->store, &size), WEFT_EIO);
  assert_int_equal(weft_store_grow(f->store), WEFT_EIO);
}

static void test_nothing_is_written_to_read(void **state) {
  fixture *f = *state;
  weft_txn *t;
  f->store->read_only = true;
  assert_int_equal(weft_store_begin(f->store, WEFT_TXN_WRITE, &t), WEFT_EREADONLY);
  assert_null(t);
  assert_int_equal(weft_store_grow(f->store), WEFT_EREADONLY);
  t = begin(f->store, WEFT_TXN_READ);
  weft_txn_abort(t);
  f->store->read_only = false;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      OVER_BOTH(test_put_get_delete),
      OVER_BOTH(test_abort_leaves_nothing),
      OVER_BOTH(test_reader_sees_a_snapshot),
      OVER_BOTH(test_misuse),
      OVER_BOTH(test_limits),
      OVER_BOTH(test_cursor_moves),
      OVER_BOTH(test_cursor_under_writes),
      OVER_BOTH(test_delete_range),
      OVER_BOTH(test_many_in_order),
      OVER_BOTH(test_broken),
      OVER_BOTH(test_nothing_is_written_to_read),
      cmocka_unit_test(test_words_for_errors),
      cmocka_unit_test(test_full_memory),
      cmocka_unit_test(test_full_map),
      cmocka_unit_test(test_both_alike),
      cmocka_unit_test(test_memory_allocations),
      cmocka_unit_test(test_reader_allocations),
      cmocka_unit_test(test_keys),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Which pages the LMDB store asks the system for, and when: what the system is told, and what it
 * says of page faults, is interposed here. */
#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/keys.h"
#include "store/lmdb_store.h"
#include "store/memory_store.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/pace.h"
#include "tests/support/rng.h"
#include "tests/support/space.h"
#include "tests/support/temp.h"

enum { page_len = 4096, keys = 30000, value_len = 100, asked_max = 4096, large_len = 100000 };

/* What the system was told. */
static struct {
  off_t pages[asked_max]; /* offsets of single pages */
  size_t page_count;
  size_t runs;     /* of the map */
  size_t longest;  /* of these */
  uintptr_t first; /* of these, where it begins */
} asked;

static long faults; /* what the system says */

int getrusage(__rusage_who_t who, struct rusage *usage) {
  (void)who;
  memset(usage, 0, sizeof *usage);
  usage->ru_majflt = faults;
  return 0;
}

int posix_fadvise(int fd, off_t offset, off_t len, int advice) {
  (void)fd;
  assert_int_equal(advice, POSIX_FADV_WILLNEED);
  assert_int_equal(len, page_len);
  assert_true(asked.page_count < asked_max);
  asked.pages[asked.page_count++] = offset;
  return 0;
}

int posix_madvise(void *at, size_t len, int advice) {
  assert_int_equal(advice, POSIX_MADV_WILLNEED);
  assert_int_equal((uintptr_t)at % page_len, 0);
  if (asked.runs++ == 0) asked.first = (uintptr_t)at;
  if (len > asked.longest) asked.longest = len;
  return 0;
}

static void forget(void) { memset(&asked, 0, sizeof asked); }

/* --- a store --- */

typedef struct fixture {
  test_temp temp;
  char path[256];
  weft_store *store;
} fixture;

/* A value that stands nowhere else. */
static weft_bytes value_of(weft_table table, uint32_t number, uint8_t out[value_len]) {
  test_rng rng = test_rng_of((uint64_t)table << 32 | number);
  test_rng_fill(&rng, out, value_len);
  return weft_bytes_of(out, value_len);
}

/* Even numbers, so that there are gaps. */
static void fill(weft_store *s, weft_table table) {
  uint8_t value[value_len];
  weft_dbkey key;
  weft_txn *t;
  assert_int_equal(weft_store_begin(s, WEFT_TXN_WRITE, &t), WEFT_OK);
  for (uint32_t i = 0; i < keys; i++) {
    assert_int_equal(
        weft_txn_put(t, table, weft__dbkey_u32(&key, 2 * i), value_of(table, 2 * i, value)),
        WEFT_OK);
  }
  assert_int_equal(weft_txn_commit(t), WEFT_OK);
}

static weft_store *open_with(const char *path, weft_alloc mem) {
  weft_lmdb_options o;
  weft_store *s;
  weft_lmdb_options_init(&o);
  o.path = path;
  o.mem = mem;
  if (test_map_size()) o.map_size = test_map_size();
  assert_int_equal(weft_lmdb_store_open(&o, &s, NULL), WEFT_OK);
  return s;
}

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  f->temp = test_temp_make();
  test_temp_path(&f->temp, "data.mdb", f->path);
  f->store = open_with(f->path, weft_alloc_libc());
  fill(f->store, WEFT_TABLE_CONTEST);
  fill(f->store, WEFT_TABLE_STATE);
  forget();
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  weft_store_free(f->store);
  test_temp_remove(&f->temp);
  free(f);
  return 0;
}

static weft_txn *begin(weft_store *s, weft_txn_mode mode) {
  weft_txn *t;
  assert_int_equal(weft_store_begin(s, mode, &t), WEFT_OK);
  return t;
}

/* --- single pages --- */

/* Whether a page that was asked for has these bytes. */
static bool asked_for(const fixture *f, weft_bytes value) {
  static uint8_t page[page_len];
  bool found = false;
  int fd = open(f->path, O_RDONLY);
  for (size_t i = 0; i < asked.page_count && !found; i++) {
    assert_int_equal(pread(fd, page, sizeof page, asked.pages[i]), page_len);
    for (size_t at = 0; at + value.len <= page_len && !found; at++) {
      found = memcmp(page + at, value.at, value.len) == 0;
    }
  }
  close(fd);
  return found;
}

/* Numbers that are there and numbers that are not, of two tables, in no order. */
static void test_pages_of_keys(void **state) {
  enum { count = 60 };
  fixture *f = *state;
  for (uint64_t seed = 1; seed <= 20; seed++) {
    test_rng rng = test_rng_of(seed);
    weft_dbkey room[count];
    weft_wanted wanted[count];
    uint32_t numbers[count];
    for (size_t i = 0; i < count; i++) {
      numbers[i] = (uint32_t)test_rng_below(&rng, 2 * keys + 10);
      wanted[i].table = i < count / 2 ? WEFT_TABLE_CONTEST : WEFT_TABLE_STATE;
      wanted[i].key = weft__dbkey_u32(&room[i], numbers[i]);
    }
    forget();
    weft_txn *t = begin(f->store, WEFT_TXN_READ);
    weft_txn_want(t, wanted, count);
    weft_txn_abort(t);
    assert_true(asked.page_count <= 3 * count);
    for (size_t i = 0; i < count; i++) {
      uint8_t value[value_len];
      if (numbers[i] % 2 == 1 || numbers[i] >= 2 * keys) continue;
      if (asked_for(f, value_of(wanted[i].table, numbers[i], value))) continue;
      fail_msg("seed=%llu: the page of %u was not asked for", (unsigned long long)seed, numbers[i]);
    }
  }
}

static void test_nothing_to_ask_for(void **state) {
  fixture *f = *state;
  weft_wanted wanted[] = {{WEFT_TABLE_META, weft_bytes_str("shown")},
                          {WEFT_TABLE_INDEX, weft_bytes_str("an empty table")},
                          {WEFT_TABLE_CONTEST, weft_bytes_str("0000")}};
  forget();
  weft_txn *t = begin(f->store, WEFT_TXN_READ);
  weft_txn_want(t, wanted, 2);
  weft_txn_want(t, &wanted[2], 0);
  weft_txn_abort(t);
  assert_int_equal(asked.page_count, 0);
  t = begin(f->store, WEFT_TXN_WRITE); /* its pages are not those of the file */
  weft_txn_want(t, &wanted[2], 1);
  faults++;
  assert_false(weft_txn_is_cold(t));
  weft_txn_abort(t);
  assert_int_equal(asked.page_count, 0);
  weft_store *memory = test_memory_store();
  t = begin(memory, WEFT_TXN_READ);
  assert_false(weft_txn_is_cold(t));
  weft_txn_want(t, &wanted[2], 1);
  weft_txn_abort(t);
  weft_store_free(memory);
}

/* Asking ahead costs memory; without it nothing is asked, and reading goes on. */
static void test_asking_without_memory(void **state) {
  fixture *f = *state;
  uint8_t value[value_len];
  weft_dbkey room;
  weft_wanted wanted = {WEFT_TABLE_CONTEST, weft__dbkey_u32(&room, 0)};
  test_fault_alloc a = {0};
  weft_store_free(f->store);
  f->store = open_with(f->path, test_fault_alloc_of(&a));
  bool reached = true;
  for (size_t k = 1; reached; k++) {
    weft_bytes got;
    weft_txn *t = begin(f->store, WEFT_TXN_READ);
    forget();
    a.calls = 0;
    a.fail_at = k;
    weft_txn_want(t, &wanted, 1);
    reached = a.calls >= k;
    a.fail_at = 0;
    assert_true(reached == (asked.page_count == 0));
    assert_int_equal(weft_txn_get(t, WEFT_TABLE_CONTEST, wanted.key, &got), WEFT_OK);
    assert_int_equal(weft_bytes_cmp(got, value_of(WEFT_TABLE_CONTEST, 0, value)), 0);
    weft_txn_abort(t);
  }
  weft_store_free(f->store);
  assert_int_equal(a.live, 0);
  f->store = open_with(f->path, weft_alloc_libc());
}

/* A transaction that met one missing page goes on asking; the next begins anew. */
static void test_cold_while_pages_are_missing(void **state) {
  fixture *f = *state;
  weft_txn *t = begin(f->store, WEFT_TXN_READ);
  weft_txn_is_cold(t);
  weft_txn_abort(t);
  t = begin(f->store, WEFT_TXN_READ);
  assert_false(weft_txn_is_cold(t));
  faults++;
  assert_true(weft_txn_is_cold(t));
  assert_true(weft_txn_is_cold(t));
  weft_txn_abort(t);
  t = begin(f->store, WEFT_TXN_READ);
  assert_false(weft_txn_is_cold(t));
  weft_txn_abort(t);
}

/* Pages are overwritten at random while the store is open: whatever is asked for, it ends. */
static void test_damaged_pages(void **state) {
  enum { count = 200, rounds = 30 };
  fixture *f = *state;
  weft_dbkey room[count];
  weft_wanted wanted[count];
  for (uint32_t i = 0; i < count; i++) {
    wanted[i].table = i < count / 2 ? WEFT_TABLE_CONTEST : WEFT_TABLE_STATE;
    wanted[i].key = weft__dbkey_u32(&room[i], i * 2 * keys / count);
  }
  int fd = open(f->path, O_RDWR);
  off_t pages = lseek(fd, 0, SEEK_END) / page_len;
  weft_txn *t = begin(f->store, WEFT_TXN_READ);
  for (uint64_t seed = 1; seed <= rounds; seed++) {
    test_rng rng = test_rng_of(seed);
    for (off_t page = 2; page < pages; page++) {
      static uint8_t was[page_len], is[page_len];
      if (pread(fd, was, page_len, page * page_len) != page_len) continue;
      bool branch = (was[sizeof(size_t) + 2] & 1) != 0;
      if (!test_rng_chance(&rng, branch ? 40 : 1)) continue;
      memcpy(is, was, page_len);
      size_t len = 1 + test_rng_below(&rng, 64);
      test_rng_fill(&rng, is + test_rng_below(&rng, 200), len);
      assert_int_equal(pwrite(fd, is, page_len, page * page_len), page_len);
      forget();
      weft_txn_want(t, wanted, count);
      assert_int_equal(pwrite(fd, was, page_len, page * page_len), page_len);
    }
  }
  weft_txn_abort(t);
  close(fd);
}

static void test_without_memory(void **state) {
  fixture *f = *state;
  test_fault_alloc mem = {0};
  weft_dbkey room;
  weft_wanted wanted = {WEFT_TABLE_CONTEST, weft__dbkey_u32(&room, keys)};
  weft_store_free(f->store);
  f->store = open_with(f->path, test_fault_alloc_of(&mem));
  weft_txn *t = begin(f->store, WEFT_TXN_READ);
  for (bool all = false; !all;) {
    mem.fail_at++;
    mem.calls = 0;
    forget();
    weft_txn_want(t, &wanted, 1);
    all = mem.calls < mem.fail_at;
    assert_int_equal(asked.page_count > 0, all);
  }
  assert_true(mem.fail_at > 1);
  weft_txn_abort(t);
  weft_store_free(f->store);
  assert_int_equal(mem.live, 0);
  f->store = open_with(f->path, weft_alloc_libc());
}

/* --- runs of pages --- */

static void walk(weft_store *s, size_t steps, bool back, bool cold) {
  weft_cursor *c;
  weft_entry entry;
  weft_txn *t = begin(s, WEFT_TXN_READ);
  assert_int_equal(weft_cursor_open(t, WEFT_TABLE_CONTEST, &c), WEFT_OK);
  weft_err err = back ? weft_cursor_last(c, &entry) : weft_cursor_first(c, &entry);
  for (size_t i = 0; i < steps && err == WEFT_OK; i++) {
    faults += cold;
    err = back ? weft_cursor_prev(c, &entry) : weft_cursor_next(c, &entry);
  }
  weft_cursor_close(c);
  weft_txn_abort(t);
}

static void test_cursor_that_goes_on(void **state) {
  fixture *f = *state;
  for (int back = 0; back < 2; back++) {
    forget();
    walk(f->store, 50, back, true);
    assert_int_equal(asked.runs, 0);
    walk(f->store, keys, back, true);
    assert_true(asked.runs >= keys / 40 / 64);
    assert_true(asked.runs <= keys / 20 / 64 + 4);
    assert_int_equal(asked.longest, 64 * page_len);
    walk(f->store, keys, back, false);
    forget();
    walk(f->store, keys, back, false);
    assert_int_equal(asked.runs, 0);
  }
}

/* One that is placed anew again and again goes nowhere. */
static void test_cursor_that_is_placed(void **state) {
  fixture *f = *state;
  weft_cursor *c;
  weft_entry entry;
  weft_dbkey key;
  weft_txn *t = begin(f->store, WEFT_TXN_READ);
  test_rng rng = test_rng_of(1);
  assert_int_equal(weft_cursor_open(t, WEFT_TABLE_STATE, &c), WEFT_OK);
  forget();
  for (size_t i = 0; i < 500; i++) {
    uint32_t number = 2 * (uint32_t)test_rng_below(&rng, keys - 2);
    faults++;
    assert_int_equal(weft_cursor_seek(c, weft__dbkey_u32(&key, number), &entry), WEFT_OK);
    assert_int_equal(weft_cursor_next(c, &entry), WEFT_OK);
  }
  assert_int_equal(asked.runs, 0);
  weft_cursor_close(c);
  weft_txn_abort(t);
}

static void test_large_value(void **state) {
  static uint8_t large[large_len];
  fixture *f = *state;
  weft_bytes value;
  weft_txn *t = begin(f->store, WEFT_TXN_WRITE);
  assert_int_equal(
      weft_txn_put(t, WEFT_TABLE_LOG, weft_bytes_str("a"), weft_bytes_of(large, large_len)),
      WEFT_OK);
  assert_int_equal(weft_txn_commit(t), WEFT_OK);
  forget();
  t = begin(f->store, WEFT_TXN_READ);
  assert_int_equal(weft_txn_get(t, WEFT_TABLE_LOG, weft_bytes_str("a"), &value), WEFT_OK);
  assert_int_equal(asked.runs, 1);
  assert_true(asked.first <= (uintptr_t)value.at);
  assert_true(asked.first + asked.longest >= (uintptr_t)value.at + value.len);
  weft_txn_abort(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_pages_of_keys, setup, teardown),
      cmocka_unit_test_setup_teardown(test_nothing_to_ask_for, setup, teardown),
      cmocka_unit_test_setup_teardown(test_asking_without_memory, setup, teardown),
      cmocka_unit_test_setup_teardown(test_cold_while_pages_are_missing, setup, teardown),
      cmocka_unit_test_setup_teardown(test_damaged_pages, setup, teardown),
      cmocka_unit_test_setup_teardown(test_without_memory, setup, teardown),
      cmocka_unit_test_setup_teardown(test_cursor_that_goes_on, setup, teardown),
      cmocka_unit_test_setup_teardown(test_cursor_that_is_placed, setup, teardown),
      cmocka_unit_test_setup_teardown(test_large_value, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The LMDB store as a file: creation, locks, permissions, damage, readers in other processes, and
 * what is left after a crash. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <lmdb.h>

#include "store/keys.h"
#include "store/lmdb_door.h"
#include "store/lmdb_store.h"
#include "tests/support/child.h"
#include "tests/support/data.h"
#include "tests/support/pace.h"
#include "tests/support/rng.h"
#include "tests/support/temp.h"

enum { page_len = 4096 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool sanitized = true;
#else
static const bool sanitized = false;
#endif

typedef struct place {
  test_temp temp;
  char file[256];
  char lock[256];
  char fresh[256];
} place;

static int setup(void **state) {
  place *p = calloc(1, sizeof *p);
  p->temp = test_temp_make();
  test_temp_path(&p->temp, "data.mdb", p->file);
  test_temp_path(&p->temp, "lock", p->lock);
  test_temp_path(&p->temp, "data.mdb.new", p->fresh);
  *state = p;
  return 0;
}

static int teardown(void **state) {
  place *p = *state;
  test_temp_remove(&p->temp);
  free(p);
  return 0;
}

static weft_lmdb_options options(const place *p) {
  weft_lmdb_options o;
  weft_lmdb_options_init(&o);
  o.path = p->file;
  if (test_map_size()) o.map_size = test_map_size();
  return o;
}

static weft_store *open_with(const weft_lmdb_options *o, weft_err want) {
  weft_store *s;
  weft_diag d;
  weft_err err = weft_lmdb_store_open(o, &s, &d);
  if (err != want) print_error("%s: %s\n", weft_err_name(err), d.text);
  assert_int_equal(err, want);
  assert_int_equal(d.err, want);
  assert_true((want == WEFT_OK) == (d.text[0] == '\0'));
  assert_true((want == WEFT_OK) == (s != NULL));
  return s;
}

static void refuses(const place *p, weft_err want) {
  weft_lmdb_options o = options(p);
  open_with(&o, want);
}

static weft_store *open_ok(const place *p) {
  weft_lmdb_options o = options(p);
  return open_with(&o, WEFT_OK);
}

static void put_one(weft_store *s, uint32_t key, const char *value) {
  weft_txn *t;
  weft_dbkey k;
  assert_int_equal(weft_store_begin(s, WEFT_TXN_WRITE, &t), WEFT_OK);
  weft_bytes v = weft_bytes_str(value);
  assert_int_equal(weft_txn_put(t, WEFT_TABLE_CONTEST, weft__dbkey_u32(&k, key), v), WEFT_OK);
  assert_int_equal(weft_txn_commit(t), WEFT_OK);
}

static bool has_one(weft_store *s, uint32_t key, const char *value) {
  weft_txn *t;
  weft_dbkey k;
  weft_bytes v;
  if (weft_store_begin(s, WEFT_TXN_READ, &t) != WEFT_OK) return false;
  weft_err err = weft_txn_get(t, WEFT_TABLE_CONTEST, weft__dbkey_u32(&k, key), &v);
  bool has = err == WEFT_OK && weft_bytes_cmp(v, weft_bytes_str(value)) == 0;
  weft_txn_abort(t);
  return has;
}

static off_t file_len(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 ? st.st_size : -1;
}

/* Changes bytes in place. */
static void patch(const char *path, off_t at, const void *bytes, size_t len) {
  int fd = open(path, O_WRONLY);
  assert_true(fd >= 0);
  assert_int_equal(pwrite(fd, bytes, len, at), len);
  close(fd);
}

/* Runs `child` in a process of its own; its answer becomes the exit code. */
/* --- making one --- */

static unsigned mode_of(const char *path) {
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  return st.st_mode & 0777;
}

static void test_permissions(void **state) {
  place *p = *state;
  place inner = *p;
  char folder[256];
  test_temp_path(&p->temp, "space", folder);
  test_temp_path(&p->temp, "space/data.mdb", inner.file);
  mode_t before = umask(0);
  weft_store *s = open_ok(&inner);
  umask(before);
  assert_int_equal(mode_of(folder), 0700);
  assert_int_equal(mode_of(inner.file), 0600);
  char other[256];
  test_temp_path(&p->temp, "space/lock", other);
  assert_int_equal(mode_of(other), 0600);
  test_temp_path(&p->temp, "space/data.mdb-lock", other);
  assert_int_equal(mode_of(other), 0600);
  weft_store_free(s);
  test_temp_path(&p->temp, "a/b/data.mdb", inner.file);
  refuses(&inner, WEFT_ENOSTORE);
}

static void test_paths(void **state) {
  place *p = *state;
  char here[512];
  assert_non_null(getcwd(here, sizeof here));
  assert_int_equal(chdir(p->temp.folder), 0);
  weft_lmdb_options o = options(p);
  o.path = "data.mdb";
  weft_store_free(open_with(&o, WEFT_OK));
  assert_true(file_len(p->lock) >= 0);
  assert_int_equal(chdir(here), 0);
  static char longest[5000];
  memset(longest, 'x', sizeof longest - 1);
  o.path = longest;
  open_with(&o, WEFT_ELIMIT);
  o.path = "";
  open_with(&o, WEFT_ELIMIT);
  o.path = "/weft-no-such-folder/x/data.mdb";
  o.must_exist = true;
  open_with(&o, WEFT_ENOSTORE);
  o.path = p->file;
  o.map_size = UINT64_MAX;
  open_with(&o, WEFT_ELIMIT);
  weft_store *s;
  o.struct_size++;
  assert_int_equal(weft_lmdb_store_open(&o, &s, NULL), WEFT_EMISUSE);
}

static void test_missing(void **state) {
  place *p = *state;
  weft_lmdb_options o = options(p);
  o.must_exist = true;
  open_with(&o, WEFT_ENOSTORE);
  assert_int_equal(file_len(p->lock), -1);
  o.must_exist = false;
  o.read_only = true;
  open_with(&o, WEFT_ENOSTORE);
  assert_int_equal(file_len(p->lock), -1);
  o.read_only = false;
  weft_store_free(open_with(&o, WEFT_OK));
  o.must_exist = true;
  weft_store_free(open_with(&o, WEFT_OK));
}

static void test_crash_during_creation(void **state) {
  place *p = *state;
  test_file_write(p->fresh, "half a store", 12);
  weft_lmdb_options o = options(p);
  o.must_exist = true;
  open_with(&o, WEFT_ENOSTORE);
  weft_store *s = open_ok(p);
  assert_int_equal(file_len(p->fresh), -1);
  put_one(s, 1, "one");
  weft_store_free(s);
  s = open_ok(p);
  assert_true(has_one(s, 1, "one"));
  weft_store_free(s);
  unlink(p->file);
  assert_int_equal(mkdir(p->fresh, 0700), 0);
  weft_store *none;
  weft_diag d;
  assert_int_not_equal(weft_lmdb_store_open(&o, &none, &d), WEFT_OK);
  o.must_exist = false;
  assert_int_not_equal(weft_lmdb_store_open(&o, &none, &d), WEFT_OK);
  assert_int_equal(file_len(p->file), -1);
}

/* Removes a table, as if the file had been made before there was one. */
static void drop_table(const place *p, weft_table table) {
  MDB_env *env;
  MDB_txn *txn;
  MDB_dbi dbi;
  assert_int_equal(mdb_env_create(&env), 0);
  assert_int_equal(mdb_env_set_maxdbs(env, WEFT_TABLE_COUNT), 0);
  assert_int_equal(mdb_env_open(env, p->file, MDB_NOSUBDIR, 0600), 0);
  assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
  assert_int_equal(mdb_dbi_open(txn, weft_table_name(table), 0, &dbi), 0);
  assert_int_equal(mdb_drop(txn, dbi, 1), 0);
  assert_int_equal(mdb_txn_commit(txn), 0);
  mdb_env_close(env);
}

/* A table that came later is made where it is missing; one that was always there is damage. */
static void test_tables_that_came_later(void **state) {
  place *p = *state;
  weft_lmdb_options o = options(p);
  weft_store *s = open_ok(p);
  put_one(s, 1, "one");
  weft_store_free(s);
  drop_table(p, WEFT_TABLE_EVENT);
  o.read_only = true;
  open_with(&o, WEFT_ECORRUPT);
  s = open_ok(p);
  assert_true(has_one(s, 1, "one"));
  weft_store_free(s);
  weft_store_free(open_with(&o, WEFT_OK));
  drop_table(p, WEFT_TABLE_STATE);
  refuses(p, WEFT_ECORRUPT);
}

/* --- locks --- */

static bool child_is_locked_out(const void *ctx) {
  const place *p = ctx;
  weft_lmdb_options o = options(p);
  weft_store *s;
  weft_diag d;
  weft_err err = weft_lmdb_store_open(&o, &s, &d);
  return err == WEFT_ELOCKED && d.sys == (int)getppid();
}

static bool child_may_write(const void *ctx) {
  const place *p = ctx;
  weft_lmdb_options o = options(p);
  weft_store *s;
  if (weft_lmdb_store_open(&o, &s, NULL) != WEFT_OK) return false;
  put_one(s, 2, "child");
  _exit(0); /* a crash: nothing is closed */
}

static void test_two_writers(void **state) {
  place *p = *state;
  weft_store *s = open_ok(p);
  assert_int_equal(test_in_child(child_is_locked_out, p), 0);
  refuses(p, WEFT_ELOCKED);
  assert_int_equal(test_in_child(child_is_locked_out, p), 0);
  unlink(p->lock);
  weft_lmdb_options o = options(p);
  open_with(&o, WEFT_ELOCKED);
  put_one(s, 1, "parent");
  weft_store_free(s);
  assert_int_equal(test_in_child(child_may_write, p), 0);
  s = open_ok(p);
  assert_true(has_one(s, 1, "parent"));
  assert_true(has_one(s, 2, "child"));
  off_t held = file_len(p->lock);
  weft_store_free(s);
  assert_int_equal(file_len(p->lock), held); /* a full disk would not give it back */
}

static bool child_reads(const void *ctx) {
  const place *p = ctx;
  weft_lmdb_options o = options(p);
  o.read_only = true;
  weft_store *s;
  weft_txn *t;
  if (weft_lmdb_store_open(&o, &s, NULL) != WEFT_OK) return false;
  bool good = has_one(s, 1, "one") && !has_one(s, 2, "two");
  good = good && weft_store_begin(s, WEFT_TXN_WRITE, &t) == WEFT_EREADONLY;
  good = good && weft_store_grow(s) == WEFT_EREADONLY;
  weft_store_free(s);
  return good;
}

static void test_reader_in_another_process(void **state) {
  place *p = *state;
  weft_store *s = open_ok(p);
  put_one(s, 1, "one");
  assert_int_equal(test_in_child(child_reads, p), 0);
  weft_lmdb_options o = options(p);
  o.read_only = true;
  open_with(&o, WEFT_EMISUSE);
  put_one(s, 3, "three");
  weft_store_free(s);
  s = open_with(&o, WEFT_OK);
  assert_true(has_one(s, 3, "three"));
  weft_store_free(s);
}

/* Fills the file past the reader's map while the reader looks on. */
static void grow_past(const place *p, int said, int heard) {
  weft_lmdb_options o = options(p);
  o.map_size = 1u << 20;
  weft_store *s;
  char c = 0;
  if (read(heard, &c, 1) != 1) _exit(2);
  if (weft_lmdb_store_open(&o, &s, NULL) != WEFT_OK) _exit(3);
  if (weft_store_grow(s) != WEFT_OK || weft_store_grow(s) != WEFT_OK) _exit(4);
  weft_txn *t;
  weft_dbkey k;
  static uint8_t big[2u << 20];
  if (weft_store_begin(s, WEFT_TXN_WRITE, &t) != WEFT_OK) _exit(5);
  weft_bytes value = weft_bytes_of(big, sizeof big);
  if (weft_txn_put(t, WEFT_TABLE_LOG, weft__dbkey_u32(&k, 9), value) != WEFT_OK) _exit(6);
  if (weft_txn_commit(t) != WEFT_OK) _exit(7);
  weft_store_free(s);
  if (write(said, "g", 1) != 1) _exit(8);
  _exit(0);
}

static void test_map_grown_by_another_process(void **state) {
  place *p = *state;
  int to[2], from[2];
  assert_int_equal(pipe(to), 0);
  assert_int_equal(pipe(from), 0);
  weft_lmdb_options o = options(p);
  o.map_size = 1u << 20;
  weft_store *s = open_with(&o, WEFT_OK);
  put_one(s, 1, "one");
  weft_store_free(s);
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) grow_past(p, from[1], to[0]);
  o.read_only = true;
  s = open_with(&o, WEFT_OK);
  weft_txn *old, *t;
  assert_int_equal(weft_store_begin(s, WEFT_TXN_READ, &old), WEFT_OK);
  char c = 'g';
  assert_int_equal(write(to[1], &c, 1), 1);
  assert_int_equal(read(from[0], &c, 1), 1);
  assert_int_equal(weft_store_begin(s, WEFT_TXN_READ, &t), WEFT_EAGAIN);
  weft_txn_abort(old);
  assert_true(has_one(s, 1, "one"));
  assert_int_equal(weft_store_begin(s, WEFT_TXN_READ, &t), WEFT_OK);
  weft_bytes v;
  weft_dbkey k;
  assert_int_equal(weft_txn_get(t, WEFT_TABLE_LOG, weft__dbkey_u32(&k, 9), &v), WEFT_OK);
  assert_int_equal(v.len, 2u << 20);
  weft_txn_abort(t);
  weft_store_free(s);
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
  for (int i = 0; i < 2; i++) {
    close(to[i]);
    close(from[i]);
  }
}

static bool child_dies_reading(const void *ctx) {
  const place *p = ctx;
  weft_lmdb_options o = options(p);
  o.read_only = true;
  weft_store *s;
  weft_txn *t;
  if (weft_lmdb_store_open(&o, &s, NULL) != WEFT_OK) return false;
  if (weft_store_begin(s, WEFT_TXN_READ, &t) != WEFT_OK) return false;
  if (weft_store_begin(s, WEFT_TXN_READ, &t) != WEFT_OK) return false;
  return raise(SIGKILL) == 0;
}

static void test_reader_table(void **state) {
  place *p = *state;
  weft_lmdb_options o = options(p);
  o.readers_max = 2;
  weft_store *s = open_with(&o, WEFT_OK);
  put_one(s, 1, "one");
  weft_txn *a, *b, *c;
  assert_int_equal(weft_store_begin(s, WEFT_TXN_READ, &a), WEFT_OK);
  assert_int_equal(weft_store_begin(s, WEFT_TXN_READ, &b), WEFT_OK);
  assert_int_equal(weft_store_begin(s, WEFT_TXN_READ, &c), WEFT_EAGAIN);
  weft_diag d;
  weft_store_get_diag(s, &d);
  assert_int_equal(d.err, WEFT_EAGAIN);
  weft_txn_abort(a);
  weft_txn_abort(b);
  assert_int_equal(test_in_child(child_dies_reading, p), -1);
  assert_true(has_one(s, 1, "one"));
  weft_store_free(s);
}

/* Pages are used again although a process was killed while it read: its snapshot is nobody's. */
static void test_dead_reader_lets_go(void **state) {
  place *p = *state;
  static uint8_t big[64 << 10];
  weft_store_size size;
  weft_store *s = open_ok(p);
  put_one(s, 1, "one");
  assert_int_equal(test_in_child(child_dies_reading, p), -1);
  for (unsigned i = 0; i < 200; i++) {
    weft_txn *t;
    weft_dbkey k;
    big[0] = (uint8_t)i;
    assert_int_equal(weft_store_begin(s, WEFT_TXN_WRITE, &t), WEFT_OK);
    assert_int_equal(
        weft_txn_put(t, WEFT_TABLE_LOG, weft__dbkey_u32(&k, 9), weft_bytes_of(big, sizeof big)),
        WEFT_OK);
    assert_int_equal(weft_txn_commit(t), WEFT_OK);
  }
  assert_int_equal(weft_store_get_size(s, &size), WEFT_OK);
  assert_in_range(size.used, sizeof big, 16 * sizeof big);
  weft_store_free(s);
}

/* --- threads --- */

typedef struct watch {
  weft_store *store;
  atomic_bool stop;
  atomic_bool wrong;
} watch;

/* Both keys are written together, so a snapshot shows them equal. */
static void *watch_pairs(void *arg) {
  watch *w = arg;
  while (!atomic_load(&w->stop)) {
    weft_txn *t;
    weft_dbkey k;
    weft_bytes a, b;
    weft_diag d;
    bool same = weft_store_begin(w->store, WEFT_TXN_READ, &t) == WEFT_OK;
    same = same && weft_txn_get(t, WEFT_TABLE_CONTEST, weft__dbkey_u32(&k, 1), &a) == WEFT_OK;
    same = same && weft_txn_get(t, WEFT_TABLE_LOG, weft__dbkey_u32(&k, 1), &b) == WEFT_OK;
    if (!same || weft_bytes_cmp(a, b) != 0) atomic_store(&w->wrong, true);
    weft_txn_abort(t);
    weft_store_get_diag(w->store, &d);
  }
  return NULL;
}

static void write_pair(weft_store *s, uint32_t n) {
  weft_txn *t;
  weft_dbkey k;
  weft_bytes v = weft_bytes_of(&n, sizeof n);
  assert_int_equal(weft_store_begin(s, WEFT_TXN_WRITE, &t), WEFT_OK);
  assert_int_equal(weft_txn_put(t, WEFT_TABLE_CONTEST, weft__dbkey_u32(&k, 1), v), WEFT_OK);
  assert_int_equal(weft_txn_put(t, WEFT_TABLE_LOG, weft__dbkey_u32(&k, 1), v), WEFT_OK);
  assert_int_equal(weft_txn_commit(t), WEFT_OK);
}

static void test_readers_in_threads(void **state) {
  place *p = *state;
  weft_lmdb_options o = options(p);
  o.map_size = 64u << 20;
  watch w = {.store = open_with(&o, WEFT_OK)};
  write_pair(w.store, 0);
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, watch_pairs, &w), 0);
  }
  for (uint32_t n = 1; n < 2000; n++) {
    write_pair(w.store, n);
    if (n % 400) continue;
    weft_err err = weft_store_grow(w.store); /* only between the readers' transactions */
    assert_true(err == WEFT_OK || err == WEFT_EMISUSE || err == WEFT_EFULL);
  }
  atomic_store(&w.stop, true);
  for (int i = 0; i < 2; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
  assert_false(atomic_load(&w.wrong));
  weft_store_free(w.store);
}

/* --- what else may stand there --- */

static void test_foreign_files(void **state) {
  place *p = *state;
  static uint8_t bytes[3 * page_len];
  test_file_write(p->file, "", 0);
  refuses(p, WEFT_ECORRUPT);
  assert_int_equal(file_len(p->file), 0);
  test_file_write(p->file, "hello\n", 6);
  refuses(p, WEFT_ECORRUPT);
  test_rng rng = test_rng_of(1);
  test_rng_fill(&rng, bytes, sizeof bytes);
  test_file_write(p->file, bytes, sizeof bytes);
  refuses(p, WEFT_ECORRUPT);
  weft_bytes now = test_file_read(p->file);
  assert_int_equal(now.len, sizeof bytes);
  assert_memory_equal(now.at, bytes, sizeof bytes);
  free((void *)(uintptr_t)now.at);
  unlink(p->file);
  assert_int_equal(mkdir(p->file, 0700), 0);
  weft_store *s;
  weft_lmdb_options o = options(p);
  assert_int_not_equal(weft_lmdb_store_open(&o, &s, NULL), WEFT_OK);
  rmdir(p->file);
}

/* Finds `what` in the file. */
static off_t find_bytes(const char *path, const void *what, size_t len) {
  weft_bytes all = test_file_read(path);
  off_t found = -1;
  for (size_t i = 0; found < 0 && i + len <= all.len; i++) {
    if (memcmp(all.at + i, what, len) == 0) found = (off_t)i;
  }
  free((void *)(uintptr_t)all.at);
  assert_true(found >= 0);
  return found;
}

static void test_versions(void **state) {
  place *p = *state;
  weft_store_free(open_ok(p));
  static const char record[] = "weft-formatweft\0\0\0\1";
  size_t key_len = strlen("weft-format");
  off_t at = find_bytes(p->file, record, sizeof record - 1) + (off_t)key_len;
  patch(p->file, at + 4, "\0\0\0\2", 4);
  refuses(p, WEFT_EVERSION);
  patch(p->file, at + 4, "\0\0\0\0", 4);
  refuses(p, WEFT_ECORRUPT);
  patch(p->file, at + 4, "\0\0\0\1", 4);
  patch(p->file, at, "W", 1);
  refuses(p, WEFT_ECORRUPT);
  patch(p->file, at, "w", 1);
  weft_store_free(open_ok(p));
  patch(p->file, at - 1, "T", 1);
  refuses(p, WEFT_ECORRUPT);
  patch(p->file, at - 1, "t", 1);
  off_t name = find_bytes(p->file, "order", 5);
  patch(p->file, name, "orde!", 5);
  refuses(p, WEFT_ECORRUPT);
  patch(p->file, name, "order", 5);
  uint32_t newer = 2;
  off_t head = sizeof(void *) == 8 ? 16 : 12; /* of a page, before LMDB's own record */
  patch(p->file, head + 4, &newer, sizeof newer);
  refuses(p, WEFT_EVERSION);
}

/* A store with all kinds of pages: branches, leaves, large values, a free list. */
static void make_rich(const place *p) {
  weft_store *s = open_ok(p);
  static uint8_t big[3 * page_len];
  weft_dbkey k;
  for (uint32_t round = 0; round < 4; round++) {
    weft_txn *t;
    assert_int_equal(weft_store_begin(s, WEFT_TXN_WRITE, &t), WEFT_OK);
    for (uint32_t i = 0; i < 300; i++) {
      size_t len = i % 50 == 0 ? sizeof big : 100;
      weft_bytes key = weft__dbkey_u32(&k, i * 7919 % 1000 + round * 100);
      weft_bytes value = weft_bytes_of(big, len);
      assert_int_equal(weft_txn_put(t, WEFT_TABLE_STATE, key, value), WEFT_OK);
    }
    weft_bytes name = weft_bytes_str("counter");
    assert_int_equal(weft_txn_put(t, WEFT_TABLE_META, name, weft_bytes_of(big, 8)), WEFT_OK);
    assert_int_equal(weft_txn_commit(t), WEFT_OK);
  }
  weft_store_free(s);
}

/* Reads everything, so that a page which does not belong is met. */
static void read_all(weft_store *s) {
  weft_txn *t;
  assert_int_equal(weft_store_begin(s, WEFT_TXN_READ, &t), WEFT_OK);
  for (unsigned i = 0; i < WEFT_TABLE_COUNT; i++) {
    weft_cursor *c;
    weft_entry e;
    unsigned sum = 0;
    assert_int_equal(weft_cursor_open(t, (weft_table)i, &c), WEFT_OK);
    while (weft_cursor_next(c, &e) == WEFT_OK) {
      for (size_t b = 0; b < e.value.len; b++) sum += e.value.at[b];
    }
    assert_true(sum < UINT32_MAX);
    weft_cursor_close(c);
  }
  weft_txn_abort(t);
}

/* Cut at every page and within pages: refused, or nothing that is used was lost. */
static void test_truncated(void **state) {
  place *p = *state;
  make_rich(p);
  weft_bytes whole = test_file_read(p->file);
  unsigned refused = 0;
  for (size_t len = 0; len < whole.len; len += len % page_len ? page_len - 100 : 100) {
    test_file_write(p->file, whole.at, len);
    weft_store *s;
    weft_lmdb_options o = options(p);
    weft_err err = weft_lmdb_store_open(&o, &s, NULL);
    if (err == WEFT_OK) {
      read_all(s);
      weft_store_free(s);
      assert_true((size_t)file_len(p->file) >= whole.len - page_len);
    } else {
      assert_int_equal(err, WEFT_ECORRUPT);
      assert_int_equal(file_len(p->file), len);
      refused++;
    }
  }
  assert_true(refused > 50);
  test_file_write(p->file, whole.at, whole.len);
  weft_store_free(open_ok(p));
  free((void *)(uintptr_t)whole.at);
}

/* Cut where the last pages are free: lawful, and made long again by the writer that opens it. */
static void test_short_but_whole(void **state) {
  place *p = *state;
  weft_store *s = open_ok(p);
  static uint8_t big[100 * page_len];
  weft_txn *t;
  weft_dbkey k;
  assert_int_equal(weft_store_begin(s, WEFT_TXN_WRITE, &t), WEFT_OK);
  weft_bytes key = weft__dbkey_u32(&k, 1), v = weft_bytes_of(big, sizeof big);
  assert_int_equal(weft_txn_put(t, WEFT_TABLE_LOG, key, v), WEFT_OK);
  assert_int_equal(weft_txn_commit(t), WEFT_OK);
  assert_int_equal(weft_store_begin(s, WEFT_TXN_WRITE, &t), WEFT_OK);
  assert_int_equal(weft_txn_delete(t, WEFT_TABLE_LOG, key), WEFT_OK);
  assert_int_equal(weft_txn_commit(t), WEFT_OK);
  for (uint32_t i = 0; i < 4; i++) put_one(s, i, "small");
  weft_store_free(s);
  off_t whole = file_len(p->file), cut = 60 * page_len;
  assert_true(whole > 100 * page_len);
  assert_int_equal(truncate(p->file, cut), 0);
  weft_lmdb_options o = options(p);
  o.read_only = true;
  weft_store_free(open_with(&o, WEFT_OK));
  assert_int_equal(file_len(p->file), cut);
  s = open_ok(p);
  assert_true(file_len(p->file) >= whole);
  assert_true(has_one(s, 3, "small"));
  read_all(s);
  weft_store_free(s);
  assert_int_equal(truncate(p->file, 10 * page_len), 0);
  refuses(p, WEFT_ECORRUPT);
}

static int copy_and_check(const place *p, weft_bytes whole, size_t at, uint8_t byte) {
  test_file_write(p->file, whole.at, whole.len);
  patch(p->file, (off_t)at, &byte, 1);
  weft_lmdb_options o = options(p);
  o.check_pages = true;
  o.read_only = true;
  weft_store *s;
  weft_diag d;
  weft_err err = weft_lmdb_store_open(&o, &s, &d);
  weft_store_free(s);
  assert_true(err == WEFT_OK || err == WEFT_ECORRUPT || err == WEFT_EVERSION || err == WEFT_ENOMEM);
  return err == WEFT_OK ? 0 : 1;
}

/* The walk over all pages meets damage with an error, never with a crash. */
static void test_damaged_pages(void **state) {
  place *p = *state;
  make_rich(p);
  weft_bytes whole = test_file_read(p->file);
  weft_lmdb_options o = options(p);
  o.check_pages = true;
  weft_store_free(open_with(&o, WEFT_OK));
  uint64_t seed = 20;
  test_rng rng = test_rng_of(seed);
  int refused = 0;
  for (int i = 0; i < 1500; i++) {
    size_t page = (size_t)test_rng_below(&rng, whole.len / page_len);
    size_t within = (size_t)test_rng_below(&rng, test_rng_chance(&rng, 70) ? 64 : page_len);
    refused += copy_and_check(p, whole, page * page_len + within, (uint8_t)test_rng_next(&rng));
  }
  print_message("seed=%llu: %d of 1500 refused\n", (unsigned long long)seed, refused);
  assert_true(refused > 100);
  test_file_write(p->file, whole.at, whole.len);
  free((void *)(uintptr_t)whole.at);
}

/* Restores the file, changes one word in the chosen meta pages, and wants it refused. */
static void refuses_meta(const place *p, weft_bytes whole, off_t at, uint64_t word,
                         unsigned pages) {
  test_file_write(p->file, whole.at, whole.len);
  size_t len = at == 40 ? 4 : 8; /* the page size is a u32 */
  if (pages & 1) patch(p->file, at, &word, len);
  if (pages & 2) patch(p->file, at + page_len, &word, len);
  weft_lmdb_options o = options(p);
  o.check_pages = true;
  open_with(&o, WEFT_ECORRUPT);
}

/* Damage with a purpose: offsets are those of a 64-bit LMDB 0.9 meta page. */
static void test_crafted_damage(void **state) {
  place *p = *state;
  if (sizeof(size_t) != 8) skip();
  make_rich(p);
  weft_bytes whole = test_file_read(p->file);
  static const uint64_t psizes[] = {0, 256, 3000, 131072};
  for (size_t i = 0; i < 4; i++) refuses_meta(p, whole, 40, psizes[i], 3);
  refuses_meta(p, whole, 40, 8192, 1);
  refuses_meta(p, whole, 40, 8192, 2);
  refuses_meta(p, whole, 136, 0, 3);
  refuses_meta(p, whole, 136, UINT64_MAX, 3);
  refuses_meta(p, whole, 136, 5, 3);
  refuses_meta(p, whole, 128, 0, 3);
  refuses_meta(p, whole, 128, whole.len, 3);
  refuses_meta(p, whole, 128, UINT64_MAX - 1, 3);
  refuses_meta(p, whole, 128, UINT64_MAX, 3); /* an empty one is no weft store */
  unsigned branches = 0;
  for (size_t page = 2; page < whole.len / page_len; page++) {
    const uint8_t *b = whole.at + page * page_len;
    uint16_t own = (uint16_t)page, node = 0, flags;
    memcpy(&flags, b + 10, sizeof flags);
    if (flags != 1) continue;
    test_file_write(p->file, whole.at, whole.len);
    memcpy(&node, b + 16, sizeof node);
    node = (uint16_t)(node + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 2 : 0)); /* the low half */
    patch(p->file, (off_t)(page * page_len + node), &own, sizeof own);
    weft_lmdb_options o = options(p);
    o.check_pages = true;
    weft_store *s;
    weft_err err = weft_lmdb_store_open(&o, &s, NULL);
    weft_store_free(s);
    branches += err == WEFT_ECORRUPT; /* the others are free pages of earlier commits */
  }
  assert_true(branches >= 1);
  free((void *)(uintptr_t)whole.at);
}

/* --- limits of the machine --- */

static bool child_without_rights(const void *ctx) {
  const place *p = ctx;
  if (geteuid() == 0 && (setegid(65534) != 0 || seteuid(65534) != 0)) return false;
  weft_lmdb_options o = options(p);
  weft_store *s;
  weft_diag d;
  return weft_lmdb_store_open(&o, &s, &d) == WEFT_EREADONLY && d.sys == EACCES;
}

static void test_read_only_folder(void **state) {
  place *p = *state;
  assert_int_equal(chmod(p->temp.folder, 0555), 0);
  assert_int_equal(test_in_child(child_without_rights, p), 0);
  assert_int_equal(chmod(p->temp.folder, 0700), 0);
  weft_store_free(open_ok(p));
  assert_int_equal(chmod(p->temp.folder, 0555), 0);
  assert_int_equal(test_in_child(child_without_rights, p), 0);
}

/* However few descriptors there are: an error, nothing leaked, and it works again. */
static bool child_runs_out(const void *ctx) {
  const place *p = ctx;
  struct rlimit all, few;
  if (getrlimit(RLIMIT_NOFILE, &all) != 0) return false;
  int failed = 0;
  for (rlim_t n = 3; n < 16; n++) {
    unlink(p->file);
    few = all;
    few.rlim_cur = n;
    if (setrlimit(RLIMIT_NOFILE, &few) != 0) return false;
    weft_lmdb_options o = options(p);
    weft_store *s;
    weft_diag d;
    weft_err err = weft_lmdb_store_open(&o, &s, &d);
    if (err != WEFT_OK && (err != WEFT_EIO || d.sys != EMFILE)) return false;
    if (err != WEFT_OK && file_len(p->fresh) >= 0) return false;
    if (setrlimit(RLIMIT_NOFILE, &all) != 0) return false;
    weft_store_free(s);
    failed += err != WEFT_OK;
    if (weft_lmdb_store_open(&o, &s, NULL) != WEFT_OK) return false;
    weft_store_free(s);
  }
  return failed >= 3;
}

static void test_too_many_files(void **state) {
  if (test_under_valgrind()) skip(); /* it needs descriptors of its own */
  assert_int_equal(test_in_child(child_runs_out, *state), 0);
}

/* A file size limit stands in for a full disk: pwrite fails, reading goes on. */
static bool child_disk_full(const void *ctx) {
  const place *p = ctx;
  weft_store *s = open_ok(p);
  put_one(s, 1, "one");
  struct rlimit all, few;
  if (getrlimit(RLIMIT_FSIZE, &all) != 0) return false;
  few = all;
  few.rlim_cur = (rlim_t)file_len(p->file) + 4 * page_len;
  if (setrlimit(RLIMIT_FSIZE, &few) != 0) return false;
  static uint8_t big[20 * page_len];
  weft_txn *t;
  weft_dbkey k;
  if (weft_store_begin(s, WEFT_TXN_WRITE, &t) != WEFT_OK) return false;
  weft_bytes value = weft_bytes_of(big, sizeof big);
  if (weft_txn_put(t, WEFT_TABLE_LOG, weft__dbkey_u32(&k, 1), value) != WEFT_OK) return false;
  weft_err err = weft_txn_commit(t);
  if (err != WEFT_EIO && err != WEFT_EFULL) return false;
  if (setrlimit(RLIMIT_FSIZE, &all) != 0) return false;
  weft_store_size size;
  bool dead = err == WEFT_EIO;
  if (dead && weft_store_begin(s, WEFT_TXN_READ, &t) != WEFT_EIO) return false;
  if (dead && weft_store_get_size(s, &size) != WEFT_EIO) return false;
  if (dead && weft_store_grow(s) != WEFT_EIO) return false;
  weft_store_free(s);
  s = open_ok(p);
  bool good = has_one(s, 1, "one");
  put_one(s, 2, "two");
  weft_store_free(s);
  return good;
}

static void test_failed_commit(void **state) {
  assert_int_equal(test_in_child(child_disk_full, *state), 0);
}

/* LMDB writes its table of readers through a map: without room for it opening fails, and nothing is
 * killed for it later. */
static bool child_no_table(const void *ctx) {
  const place *p = ctx;
  char table[256];
  weft_store *s = open_ok(p);
  put_one(s, 1, "one");
  weft_store_free(s);
  test_temp_path(&p->temp, "data.mdb-lock", table);
  if (file_len(table) < 2 * 4096 || unlink(table) != 0) return false;
  struct rlimit all, few;
  if (getrlimit(RLIMIT_FSIZE, &all) != 0) return false;
  few = all;
  few.rlim_cur = 4096;
  signal(SIGXFSZ, SIG_IGN);
  if (setrlimit(RLIMIT_FSIZE, &few) != 0) return false;
  weft_lmdb_options o = options(p);
  weft_diag d;
  weft_err err = weft_lmdb_store_open(&o, &s, &d);
  if (err != WEFT_EFULL || !strstr(d.text, "table of readers")) return false;
  if (setrlimit(RLIMIT_FSIZE, &all) != 0) return false;
  s = open_ok(p);
  bool good = has_one(s, 1, "one");
  weft_store_free(s);
  struct stat st; /* it has its blocks */
  return good && stat(table, &st) == 0 && st.st_blocks * 512 >= st.st_size;
}

static void test_table_of_readers(void **state) {
  assert_int_equal(test_in_child(child_no_table, *state), 0);
}

static bool child_no_address_space(const void *ctx) {
  const place *p = ctx;
  weft_lmdb_options o = options(p);
  o.map_size = 1u << 20;
  weft_store *s;
  if (weft_lmdb_store_open(&o, &s, NULL) != WEFT_OK) return false;
  put_one(s, 1, "one");
  struct rlimit few = {256u << 20, 256u << 20};
  if (setrlimit(RLIMIT_AS, &few) != 0) return false;
  weft_err err = WEFT_OK;
  for (int i = 0; i < 40 && err == WEFT_OK; i++) err = weft_store_grow(s);
  weft_txn *t;
  bool good = err == WEFT_ENOMEM && weft_store_begin(s, WEFT_TXN_READ, &t) == WEFT_EIO;
  weft_store_free(s);
  return good;
}

static void test_grow_without_address_space(void **state) {
  if (sanitized || test_under_valgrind()) skip(); /* what they need is larger */
  assert_int_equal(test_in_child(child_no_address_space, *state), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void test_words_for_errors(void **state) {
  (void)state;
  static const struct {
    int rc;
    weft_err err;
  } cases[] = {{MDB_SUCCESS, WEFT_OK},
               {MDB_NOTFOUND, WEFT_ENOTFOUND},
               {MDB_MAP_FULL, WEFT_EFULL},
               {MDB_TXN_FULL, WEFT_EFULL},
               {MDB_READERS_FULL, WEFT_EAGAIN},
               {MDB_MAP_RESIZED, WEFT_EAGAIN},
               {MDB_CORRUPTED, WEFT_ECORRUPT},
               {MDB_PAGE_NOTFOUND, WEFT_ECORRUPT},
               {MDB_CURSOR_FULL, WEFT_ECORRUPT},
               {MDB_INVALID, WEFT_ECORRUPT},
               {MDB_VERSION_MISMATCH, WEFT_EVERSION},
               {MDB_PANIC, WEFT_EIO},
               {ENOSPC, WEFT_EFULL},
               {EACCES, WEFT_EREADONLY}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_int_equal(weft__err_from_mdb(cases[i].rc), cases[i].err);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_words_for_errors),
      CASE(test_permissions),
      CASE(test_paths),
      CASE(test_missing),
      CASE(test_crash_during_creation),
      CASE(test_tables_that_came_later),
      CASE(test_two_writers),
      CASE(test_reader_in_another_process),
      CASE(test_map_grown_by_another_process),
      CASE(test_reader_table),
      CASE(test_dead_reader_lets_go),
      CASE(test_readers_in_threads),
      CASE(test_foreign_files),
      CASE(test_versions),
      CASE(test_truncated),
      CASE(test_short_but_whole),
      CASE(test_damaged_pages),
      CASE(test_crafted_damage),
      CASE(test_read_only_folder),
      CASE(test_too_many_files),
      CASE(test_failed_commit),
      CASE(test_table_of_readers),
      CASE(test_grow_without_address_space),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

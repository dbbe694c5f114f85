/* Each place of the LMDB store and of a backup that calls LMDB or the system, failing once and from
 * then on, with what such a call may say: opening, reading, writing, growing and copying end with
 * an answer or with an error that has a text; what was acknowledged stays; no descriptor, lock or
 * half-made file is left; and once nothing fails any more the store opens and takes a change.
 *
 * The linker leads the library's calls here (tests/CMakeLists.txt); LMDB's own go where they
 * always do, those tests/unit/iofault.c sees to.  Where the C library has other names for a call,
 * as for files beyond 2 GiB on a 32-bit machine, that call does not fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmocka.h>
#include <lmdb.h>

#include "store/backup.h"
#include "store/keys.h"
#include "store/lmdb_store.h"
#include "store/replica.h"
#include "tests/support/pace.h"
#include "tests/support/places.h"
#include "tests/support/temp.h"

/* --- failing --- */

/* What fails, and how. */
typedef struct fault_calls {
  bool armed;
  size_t calls, fail_at;
  bool sticky;
  int mdb;     /* what LMDB says */
  int sys;     /* errno of the others */
  bool full;   /* the file system says that there is no room */
  bool alone;  /* nothing may be written beside the store */
  rlim_t room; /* the address space that the system says the process may have; 0: as it is */
  test_places *places;
} fault_calls;

static fault_calls faults;

static bool fails(void) {
  if (!faults.armed) return false;
  if (faults.places) test_places_note(faults.places);
  faults.calls++;
  return faults.fail_at > 0 &&
         (faults.calls == faults.fail_at || (faults.sticky && faults.calls > faults.fail_at));
}

static bool system_fails(void) {
  if (!fails()) return false;
  errno = faults.sys;
  return true;
}

/* A call of LMDB that gives a code and, failing, does nothing. */
#define MDB_CALL(name, parameters, arguments)                                                      \
  int __real_##name parameters;                                                                    \
  int __wrap_##name parameters;                                                                    \
  int __wrap_##name parameters { return fails() ? faults.mdb : __real_##name arguments; }

/* One of the system. */
#define SYSTEM_CALL(name, parameters, arguments)                                                   \
  int __real_##name parameters;                                                                    \
  int __wrap_##name parameters;                                                                    \
  int __wrap_##name parameters { return system_fails() ? -1 : __real_##name arguments; }

MDB_CALL(mdb_env_create, (MDB_env * *env), (env))
MDB_CALL(mdb_env_set_maxdbs, (MDB_env * env, MDB_dbi count), (env, count))
MDB_CALL(mdb_env_open, (MDB_env * env, const char *path, unsigned flags, mdb_mode_t mode),
         (env, path, flags, mode))
MDB_CALL(mdb_env_sync, (MDB_env * env, int force), (env, force))
MDB_CALL(mdb_env_set_mapsize, (MDB_env * env, size_t size), (env, size))
MDB_CALL(mdb_txn_begin, (MDB_env * env, MDB_txn *parent, unsigned flags, MDB_txn **txn),
         (env, parent, flags, txn))
MDB_CALL(mdb_dbi_open, (MDB_txn * txn, const char *name, unsigned flags, MDB_dbi *dbi),
         (txn, name, flags, dbi))
MDB_CALL(mdb_stat, (MDB_txn * txn, MDB_dbi dbi, MDB_stat *stat), (txn, dbi, stat))
MDB_CALL(mdb_get, (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *value),
         (txn, dbi, key, value))
MDB_CALL(mdb_put, (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *value, unsigned flags),
         (txn, dbi, key, value, flags))
MDB_CALL(mdb_del, (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *value),
         (txn, dbi, key, value))
MDB_CALL(mdb_drop, (MDB_txn * txn, MDB_dbi dbi, int del), (txn, dbi, del))
MDB_CALL(mdb_cursor_open, (MDB_txn * txn, MDB_dbi dbi, MDB_cursor **cursor), (txn, dbi, cursor))
MDB_CALL(mdb_cursor_get, (MDB_cursor * cursor, MDB_val *key, MDB_val *value, MDB_cursor_op op),
         (cursor, key, value, op))
MDB_CALL(mdb_cursor_put, (MDB_cursor * cursor, MDB_val *key, MDB_val *value, unsigned flags),
         (cursor, key, value, flags))
MDB_CALL(mdb_cursor_del, (MDB_cursor * cursor, unsigned flags), (cursor, flags))
MDB_CALL(mdb_reader_check, (MDB_env * env, int *dead), (env, dead))

int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);

/* A commit that fails ends its transaction all the same. */
int __wrap_mdb_txn_commit(MDB_txn *txn) {
  if (!fails()) return __real_mdb_txn_commit(txn);
  mdb_txn_abort(txn);
  return faults.mdb;
}

SYSTEM_CALL(flock, (int fd, int how), (fd, how))
SYSTEM_CALL(fstat, (int fd, struct stat *st), (fd, st))
SYSTEM_CALL(lstat, (const char *path, struct stat *st), (path, st))
SYSTEM_CALL(truncate, (const char *path, off_t len), (path, len))
SYSTEM_CALL(link, (const char *from, const char *to), (from, to))
SYSTEM_CALL(rename, (const char *from, const char *to), (from, to))
SYSTEM_CALL(mkdir, (const char *path, mode_t mode), (path, mode))
SYSTEM_CALL(fsync, (int fd), (fd))

int __real_posix_fallocate(int fd, off_t at, off_t len);
int __wrap_posix_fallocate(int fd, off_t at, off_t len);

int __wrap_posix_fallocate(int fd, off_t at, off_t len) {
  return system_fails() ? faults.sys : __real_posix_fallocate(fd, at, len);
}

int __real_fstatvfs(int fd, struct statvfs *v);
int __wrap_fstatvfs(int fd, struct statvfs *v);

int __wrap_fstatvfs(int fd, struct statvfs *v) {
  if (system_fails()) return -1;
  int rc = __real_fstatvfs(fd, v);
  if (rc == 0 && faults.full) v->f_bavail = 0;
  return rc;
}

int __real_faccessat(int fd, const char *path, int how, int flags);
int __wrap_faccessat(int fd, const char *path, int how, int flags);

int __wrap_faccessat(int fd, const char *path, int how, int flags) {
  errno = EACCES;
  return faults.alone && how == W_OK ? -1 : __real_faccessat(fd, path, how, flags);
}

/* The type of `what` is an enum under some flags and an int under others. */
int __real_getrlimit(__typeof__(RLIMIT_AS) what, struct rlimit *room);
int __wrap_getrlimit(__typeof__(RLIMIT_AS) what, struct rlimit *room);

int __wrap_getrlimit(__typeof__(RLIMIT_AS) what, struct rlimit *room) {
  if (system_fails()) return -1;
  int rc = __real_getrlimit(what, room);
  if (rc == 0 && faults.room) room->rlim_cur = faults.room;
  return rc;
}

int __real_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *how);
int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *how);

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *how) {
  return fails() ? ENOMEM : __real_pthread_mutex_init(mutex, how);
}

/* --- a store, and what is done with it --- */

typedef struct place {
  test_temp temp;
  char file[256], fresh[256], lock[256];
  char copy[256], copy_fresh[256], back[256];
} place;

enum { ROWS = 12 };

static weft_bytes text(const char *s) { return weft_bytes_str(s); }

static weft_lmdb_options options(const char *file) {
  weft_lmdb_options o;
  weft_lmdb_options_init(&o);
  o.path = file;
  o.map_size = 1u << 20;
  return o;
}

/* Every operation has its own text for what went wrong; the text is never empty. */
static weft_err told(weft_err err, const weft_diag *d) {
  if (err != WEFT_OK && err != WEFT_ENOMEM) {
    assert_int_equal(d->err, err);
    assert_true(d->text[0] != '\0');
  }
  return err;
}

static weft_err open_at(const weft_lmdb_options *o, weft_store **s) {
  weft_diag d;
  weft_err err = weft_lmdb_store_open(o, s, &d);
  assert_true((err == WEFT_OK) == (*s != NULL));
  return told(err, &d);
}

static weft_err put_rows(weft_store *s, uint32_t round) {
  weft_txn *t;
  weft_dbkey k;
  uint8_t value[100];
  memset(value, (int)round, sizeof value);
  WEFT_TRY(weft_store_begin(s, WEFT_TXN_WRITE, &t));
  weft_err err = WEFT_OK;
  for (uint32_t i = 0; i < ROWS && err == WEFT_OK; i++) {
    weft_bytes v = weft_bytes_of(value, sizeof value);
    err = i % 2 ? weft_txn_append(t, WEFT_TABLE_LOG, weft__dbkey_u32(&k, i), v)
                : weft_txn_put(t, WEFT_TABLE_LOG, weft__dbkey_u32(&k, i), v);
  }
  weft_bytes v = weft_bytes_of(value, 1);
  if (err == WEFT_OK) err = weft_txn_put(t, WEFT_TABLE_META, text("round"), v);
  if (err == WEFT_OK) return weft_txn_commit(t);
  weft_txn_abort(t);
  return err;
}

/* Reads all of it in both directions; `*round` is what it says. */
static weft_err read_rows(weft_store *s, weft_table table, uint32_t *round) {
  weft_txn *t;
  weft_cursor *c;
  weft_entry e;
  weft_bytes v;
  uint64_t count = 0;
  WEFT_TRY(weft_store_begin(s, WEFT_TXN_READ, &t));
  weft_err err = weft_txn_get(t, WEFT_TABLE_META, text("round"), &v);
  if (err == WEFT_OK) *round = v.at[0];
  if (err == WEFT_OK) err = weft_txn_count(t, table, &count);
  if (err == WEFT_OK) err = weft_cursor_open(t, table, &c);
  if (err == WEFT_OK) {
    uint64_t met = 0;
    for (err = weft_cursor_first(c, &e); err == WEFT_OK; met++) err = weft_cursor_next(c, &e);
    if (err == WEFT_EDONE) assert_int_equal(met, count);
    if (err == WEFT_EDONE) err = weft_cursor_last(c, &e);
    if (err == WEFT_OK) err = weft_cursor_seek(c, e.key, &e);
    while (err == WEFT_OK) err = weft_cursor_prev(c, &e);
    if (err == WEFT_EDONE) err = WEFT_OK;
    weft_cursor_close(c);
  }
  weft_txn_abort(t);
  return err;
}

static weft_err clear_some(weft_store *s) {
  weft_txn *t;
  weft_dbkey k;
  uint64_t count;
  weft_key_range all = {{NULL, 0}, {NULL, 0}};
  WEFT_TRY(weft_store_begin(s, WEFT_TXN_WRITE, &t));
  weft_err err = weft_txn_delete(t, WEFT_TABLE_LOG, weft__dbkey_u32(&k, 1));
  if (err == WEFT_OK) err = weft_txn_delete_range(t, WEFT_TABLE_LOG, all, &count);
  if (err == WEFT_OK) err = weft_txn_delete_range(t, WEFT_TABLE_META, all, &count);
  weft_txn_abort(t);
  return err;
}

/* Makes the store, or opens it, and does everything there is to do with it.  `*acked` is the last
 * round whose commit was good, `*begun` the last one tried. */
static weft_err live(const place *p, uint32_t *acked, uint32_t *begun) {
  weft_lmdb_options o = options(p->file);
  weft_store *s;
  weft_store_size size;
  uint32_t round;
  WEFT_TRY(open_at(&o, &s));
  weft_err err = WEFT_OK;
  for (unsigned i = 0; i < 2 && err == WEFT_OK; i++) {
    err = put_rows(s, ++*begun);
    if (err == WEFT_OK) *acked = *begun;
  }
  if (err == WEFT_OK) err = read_rows(s, WEFT_TABLE_LOG, &round);
  if (err == WEFT_OK) err = read_rows(s, WEFT_TABLE_META, &round);
  if (err == WEFT_OK) err = clear_some(s);
  if (err == WEFT_OK) err = weft_store_get_size(s, &size);
  if (err == WEFT_OK) err = weft_store_grow(s);
  if (err == WEFT_OK) err = read_rows(s, WEFT_TABLE_LOG, &round);
  weft_diag d;
  weft_store_get_diag(s, &d);
  weft_store_free(s);
  return told(err, &d);
}

static weft_err look(const place *p, uint32_t *acked, uint32_t *begun) {
  weft_lmdb_options o = options(p->file);
  weft_store *s;
  uint32_t round;
  (void)acked;
  (void)begun;
  o.read_only = true;
  WEFT_TRY(open_at(&o, &s));
  weft_err err = read_rows(s, WEFT_TABLE_LOG, &round);
  weft_store_free(s);
  return err;
}

/* Without a place in the table of readers. */
static weft_err look_alone(const place *p, uint32_t *acked, uint32_t *begun) {
  faults.alone = true;
  weft_err err = look(p, acked, begun);
  faults.alone = false;
  return err;
}

static weft_err copy(const place *p, uint32_t *acked, uint32_t *begun) {
  weft_lmdb_options o = options(p->file);
  weft_store *s;
  weft_diag d;
  (void)acked;
  (void)begun;
  WEFT_TRY(open_at(&o, &s));
  weft_err err = told(weft__store_backup(s, p->copy, &d), &d);
  weft_store_free(s);
  return err == WEFT_OK ? weft_backup_restore(p->copy, p->back, NULL) : err;
}

/* --- the law --- */

static off_t len_of(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 ? st.st_size : -1;
}

static size_t descriptors(void) {
  DIR *dir = opendir("/proc/self/fd");
  size_t count = 0;
  assert_non_null(dir);
  while (readdir(dir)) count++;
  closedir(dir);
  return count;
}

static void place_make(place *p) {
  p->temp = test_temp_make();
  test_temp_path(&p->temp, "space/data.mdb", p->file);
  test_temp_path(&p->temp, "space/data.mdb.new", p->fresh);
  test_temp_path(&p->temp, "space/lock", p->lock);
  test_temp_path(&p->temp, "copy", p->copy);
  test_temp_path(&p->temp, "copy.new", p->copy_fresh);
  test_temp_path(&p->temp, "back", p->back);
}

/* A store in which two rounds were written, cut short where its last pages are free. */
static void store_make(const place *p) {
  weft_lmdb_options o = options(p->file);
  weft_store *s;
  weft_txn *t;
  static uint8_t big[100 * 4096];
  weft_bytes v = weft_bytes_of(big, sizeof big);
  assert_int_equal(open_at(&o, &s), WEFT_OK);
  assert_int_equal(weft_store_begin(s, WEFT_TXN_WRITE, &t), WEFT_OK);
  assert_int_equal(weft_txn_put(t, WEFT_TABLE_CONTEST, text("big"), v), WEFT_OK);
  assert_int_equal(weft_txn_commit(t), WEFT_OK);
  assert_int_equal(weft_store_begin(s, WEFT_TXN_WRITE, &t), WEFT_OK);
  assert_int_equal(weft_txn_delete(t, WEFT_TABLE_CONTEST, text("big")), WEFT_OK);
  assert_int_equal(weft_txn_commit(t), WEFT_OK);
  for (uint32_t round = 1; round <= 2; round++) assert_int_equal(put_rows(s, round), WEFT_OK);
  weft_store_free(s);
  assert_int_equal(truncate(p->file, 80 * 4096), 0);
}

/* Opens again with nothing failing. */
static void check_after(const place *p, const char *what, uint32_t acked, uint32_t begun) {
  weft_lmdb_options o = options(p->file);
  weft_store *s;
  uint32_t round = 0;
  assert_int_equal(len_of(p->fresh), -1);
  assert_int_equal(len_of(p->copy_fresh), -1);
  o.check_pages = true;
  weft_err err = open_at(&o, &s);
  if (err != WEFT_OK) fail_msg("%s: then it does not open: %s", what, weft_err_name(err));
  err = read_rows(s, WEFT_TABLE_LOG, &round);
  if (acked > 0 || err != WEFT_ENOTFOUND) assert_int_equal(err, WEFT_OK);
  if (round < acked || round > begun)
    fail_msg("%s: round %u, of %u acknowledged and %u begun", what, round, acked, begun);
  assert_int_equal(put_rows(s, round + 1), WEFT_OK);
  weft_store_free(s);
}

/* A copy that has its name is whole. */
static void check_copy(const char *path) {
  weft_lmdb_options o = options(path);
  weft_store *s;
  uint32_t round = 0;
  if (len_of(path) < 0) return;
  o.must_exist = true;
  o.check_pages = true;
  assert_int_equal(open_at(&o, &s), WEFT_OK);
  assert_int_equal(read_rows(s, WEFT_TABLE_LOG, &round), WEFT_OK);
  assert_int_equal(round, 2);
  weft_store_free(s);
}

typedef struct run {
  const char *name;
  weft_err (*run)(const place *p, uint32_t *acked, uint32_t *begun);
  bool there; /* the store is, already */
} run;

static const run runs[] = {
    {"make", live, false},       {"open", live, true}, {"look", look, true},
    {"alone", look_alone, true}, {"copy", copy, true},
};

/* What a failing call says. */
static const fault_calls kinds[] = {
    {.mdb = EIO, .sys = EIO},
    {.mdb = EIO, .sys = EIO, .full = true},
    {.mdb = EIO, .sys = EIO, .full = true, .sticky = true},
    {.mdb = MDB_READERS_FULL, .sys = EWOULDBLOCK},
    {.mdb = MDB_READERS_FULL, .sys = EPERM, .sticky = true},
    {.mdb = MDB_MAP_RESIZED, .sys = EEXIST},
    {.mdb = MDB_MAP_RESIZED, .sys = EACCES, .sticky = true},
    {.mdb = MDB_INCOMPATIBLE, .sys = EMFILE},
    {.mdb = MDB_CORRUPTED, .sys = EROFS},
    {.mdb = MDB_MAP_FULL, .sys = ENOSPC},
    {.mdb = MDB_PANIC, .sys = EIO, .sticky = true},
    {.mdb = 99999, .sys = 99999}, /* no error has this number */
};

/* `k` 0: nothing fails, and `places` hears of the calls. */
static void run_one(const run *r, const fault_calls *kind, size_t k, test_places *places) {
  place p;
  char what[100];
  place_make(&p);
  if (r->there) store_make(&p);
  uint32_t acked = r->there ? 2 : 0, begun = acked;
  size_t open_before = descriptors();
  faults = *kind;
  faults.fail_at = k;
  faults.places = places;
  faults.armed = true;
  weft_err err = r->run(&p, &acked, &begun);
  faults = (fault_calls){0};
  snprintf(what, sizeof what, "%s, call %zu, %d and %d: %s", r->name, k, kind->mdb, kind->sys,
           weft_err_name(err));
  if (k == 0) assert_int_equal(err, WEFT_OK);
  if (err == WEFT_EMISUSE) fail_msg("%s", what);
  if (descriptors() != open_before) fail_msg("%s: a descriptor is left", what);
  check_copy(p.copy);
  check_copy(p.back);
  check_after(&p, what, acked, begun);
  test_temp_remove(&p.temp);
}

static void test_each_call_fails(void **state) {
  (void)state;
  size_t step = test_under_valgrind() ? 20 : 1, failed = 0;
  for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
    test_places places = {0};
    run_one(&runs[i], &kinds[0], 0, &places);
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
      for (size_t k = 0, at = 0; (k = test_places_next(&places, k)) > 0; at++) {
        if (at % step == 0) run_one(&runs[i], &kinds[kind], k, NULL);
        failed++;
      }
    }
    test_places_free(&places);
  }
  print_message("%zu calls failed\n", failed);
  assert_true(failed > 1000);
}

/* --- what needs a hand of its own --- */

static int setup(void **state) {
  place *p = calloc(1, sizeof *p);
  place_make(p);
  store_make(p);
  *state = p;
  return 0;
}

static int teardown(void **state) {
  place *p = *state;
  faults = (fault_calls){0};
  test_temp_remove(&p->temp);
  free(p);
  return 0;
}

/* Who reads without a place in the table does so while nobody writes, and keeps writers away. */
static void test_alone(void **state) {
  place *p = *state;
  weft_lmdb_options o = options(p->file);
  weft_store *s, *other;
  weft_diag d;
  int fd = open(p->file, O_RDONLY);
  assert_true(fd >= 0);
  o.read_only = true;
  faults.alone = true;
  for (unsigned i = 0; i < 2; i++) {
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(weft_lmdb_store_open(&o, &s, &d), WEFT_ELOCKED);
    assert_int_equal(flock(fd, LOCK_UN), 0);
    unlink(p->lock); /* the second time nobody tells who it is */
  }
  assert_int_equal(open_at(&o, &s), WEFT_OK);
  faults.alone = false;
  o.read_only = false;
  assert_int_equal(weft_lmdb_store_open(&o, &other, &d), WEFT_ELOCKED);
  weft_store_free(s);
  assert_int_equal(open_at(&o, &other), WEFT_OK);
  weft_store_free(other);
  close(fd);
}

/* A process that may have little address space begins with a quarter of it. */
static void test_little_room(void **state) {
  place *p = *state;
  static const rlim_t rooms[] = {1u << 20, 3u << 20, 64u << 20, 4000u << 20, RLIM_INFINITY};
  for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
    weft_lmdb_options o = options(p->file);
    weft_store *s;
    weft_store_size size;
    uint64_t want = rooms[i] == RLIM_INFINITY ? 512u << 20 : (uint64_t)rooms[i] / 4;
    if (want < 1u << 20) want = 1u << 20;
    o.map_size = 512u << 20;
    faults.armed = true;
    faults.room = rooms[i];
    assert_int_equal(open_at(&o, &s), WEFT_OK);
    faults = (fault_calls){0};
    assert_int_equal(weft_store_get_size(s, &size), WEFT_OK);
    assert_int_equal(size.max, want < o.map_size ? want : o.map_size);
    weft_store_free(s);
  }
}

/* What a lock file says is believed of a process only while somebody holds the lock. */
static void test_words_in_the_lock(void **state) {
  place *p = *state;
  char own[16];
  snprintf(own, sizeof own, "%010ld\n", (long)getpid());
  const char *const words[] = {"", "0000000000\n", "-5", "99999999999", "weft", own};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    weft_lmdb_options o = options(p->file);
    weft_store *s;
    int fd = open(p->lock, O_WRONLY | O_TRUNC | O_CREAT, 0600);
    assert_int_equal(write(fd, words[i], strlen(words[i])), (ssize_t)strlen(words[i]));
    close(fd);
    o.read_only = true;
    assert_int_equal(open_at(&o, &s), WEFT_OK);
    weft_store_free(s);
    o.read_only = false;
    assert_int_equal(open_at(&o, &s), WEFT_OK);
    weft_store_free(s);
  }
}

/* Somebody else's folder, a file, names that are too long and names right below the root. */
static void test_names(void **state) {
  place *p = *state;
  weft_diag d;
  weft_store *s;
  char name[5000];
  weft_lmdb_options o = options("/weft-none/data.mdb");
  o.must_exist = true;
  assert_int_equal(weft_lmdb_store_open(&o, &s, &d), WEFT_ENOSTORE);
  o.path = "/weft-none.mdb";
  assert_int_equal(weft_lmdb_store_open(&o, &s, &d), WEFT_ENOSTORE);
  o = options(p->file);
  assert_int_equal(open_at(&o, &s), WEFT_OK);
  memset(name, 'n', sizeof name - 1);
  name[sizeof name - 1] = '\0';
  assert_int_equal(weft__store_backup(s, name, &d), WEFT_ELIMIT);
  assert_int_equal(weft__store_backup(s, name, NULL), WEFT_ELIMIT);
  assert_int_equal(weft__store_backup(s, "/tmp", NULL), WEFT_EEXIST);
  assert_int_equal(mkdir(p->copy_fresh, 0700), 0);
  if (geteuid() == 0) {
    assert_int_equal(chown(p->copy_fresh, 65534, 65534), 0);
    assert_int_equal(weft__store_backup(s, p->copy, &d), WEFT_EEXIST);
    assert_int_equal(chown(p->copy_fresh, 0, 0), 0);
  }
  assert_int_equal(weft__store_backup(s, p->copy, &d), WEFT_OK);
  weft_store_free(s);
}

/* A backup tells whose it is, or that it is none. */
static void test_whose(void **state) {
  place *p = *state;
  static const uint8_t zeros[36];
  uint8_t row[36] = {0, 0, 0, 1};
  const struct {
    weft_bytes value;
    weft_err want;
  } cases[] = {{weft_bytes_of(row, 36), WEFT_OK},
               {weft_bytes_of(row, 35), WEFT_ECORRUPT},
               {weft_bytes_of(row, 3), WEFT_ECORRUPT},
               {weft_bytes_of(zeros, 36), WEFT_EVERSION}};
  weft_lmdb_options o = options(p->file);
  weft_store *s;
  weft_txn *t;
  weft_id space;
  assert_int_equal(open_at(&o, &s), WEFT_OK);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(weft_store_begin(s, WEFT_TXN_WRITE, &t), WEFT_OK);
    assert_int_equal(weft_txn_put(t, WEFT_TABLE_META, text("space"), cases[i].value), WEFT_OK);
    assert_int_equal(weft_txn_commit(t), WEFT_OK);
    assert_int_equal(weft__store_space(s, &space), cases[i].want);
  }
  weft_store_free(s);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_each_call_fails), CASE(test_alone), CASE(test_little_room),
      CASE(test_words_in_the_lock),           CASE(test_names), CASE(test_whose),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

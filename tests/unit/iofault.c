/* Every write, sync and allocation of the LMDB store fails once, and then for ever; the disk is
 * full; the power is cut after every write, and what was not synced is lost or torn: what was
 * acknowledged stays, what was not is there whole or not at all, and nothing crashes.
 *
 * The calls are interposed: tests/disk/disk.c defines those on files, heap.c malloc. */
#define _DEFAULT_SOURCE /* syscall() */
#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/keys.h"
#include "store/lmdb_store.h"
#include "store/mirror.h"
#include "tests/disk/cuts.h"
#include "tests/disk/heap.h"
#include "tests/support/rng.h"
#include "tests/support/temp.h"

static void all_well(void) {
  *test_disk() = (test_disk_faults){0};
  test_heap_calm();
}

/* --- the workload --- */

enum { rounds = 6, keys = 150 };

/* What a run knows when it ends. */
typedef struct run {
  weft_err err;    /* the first error */
  uint32_t acked;  /* rounds whose commit gave WEFT_OK */
  uint32_t begun;  /* rounds whose commit was tried */
  bool dead;       /* the store said WEFT_EIO */
  bool unreadable; /* it went on, and then reading failed or gave something else */
  size_t calls;    /* before the closing, which no failure ends */
} run;

static weft_err open_store(const char *path, weft_store **s) {
  weft_lmdb_options o;
  weft_lmdb_options_init(&o);
  o.path = path;
  return weft_lmdb_store_open(&o, s, NULL);
}

/* One transaction: every third key gets the round's number, in values that grow. */
static weft_err write_round(weft_store *s, uint32_t round) {
  static uint8_t value[6000];
  weft_txn *t;
  weft_dbkey k;
  WEFT_TRY(weft_store_begin(s, WEFT_TXN_WRITE, &t));
  memset(value, (int)round, sizeof value);
  weft_err err = WEFT_OK;
  for (uint32_t i = 0; i < keys && err == WEFT_OK; i++) {
    if (i % 3 != round % 3) continue;
    weft_bytes v = weft_bytes_of(value, i == round ? sizeof value : 40 + round);
    err = weft_txn_put(t, WEFT_TABLE_CONTEST, weft__dbkey_u32(&k, i), v);
  }
  weft_bytes v = weft_bytes_of(value, 1);
  if (err == WEFT_OK) err = weft_txn_put(t, WEFT_TABLE_META, weft_bytes_str("round"), v);
  if (err == WEFT_OK) return weft_txn_commit(t);
  weft_txn_abort(t);
  return err;
}

/* The newest round that the store shows; fails unless all of it, and nothing else, is there. */
static uint32_t read_round(weft_store *s, weft_err *err) {
  weft_txn *t;
  weft_bytes v;
  weft_dbkey k;
  *err = weft_store_begin(s, WEFT_TXN_READ, &t);
  if (*err != WEFT_OK) return 0;
  *err = weft_txn_get(t, WEFT_TABLE_META, weft_bytes_str("round"), &v);
  uint32_t newest = *err == WEFT_OK ? v.at[0] : 0;
  if (*err == WEFT_ENOTFOUND) *err = WEFT_OK;
  for (uint32_t i = 0; i < keys && *err == WEFT_OK; i++) {
    uint32_t want = newest; /* the newest round that wrote this key */
    while (want > 0 && want % 3 != i % 3) want--;
    weft_err got = weft_txn_get(t, WEFT_TABLE_CONTEST, weft__dbkey_u32(&k, i), &v);
    bool right = want == 0 ? got == WEFT_ENOTFOUND
                           : got == WEFT_OK && v.at[0] == want && v.at[v.len - 1] == want;
    if (!right) *err = got == WEFT_OK || got == WEFT_ENOTFOUND ? WEFT_ECORRUPT : got;
  }
  weft_txn_abort(t);
  return newest;
}

static run run_once(const char *path) {
  run r = {0};
  weft_store *s;
  r.err = open_store(path, &s);
  if (r.err != WEFT_OK) return r;
  for (uint32_t round = 1; round <= rounds && r.err == WEFT_OK; round++) {
    r.begun = round;
    r.err = write_round(s, round);
    if (r.err == WEFT_OK) r.acked = round;
  }
  weft_txn *t;
  r.dead = r.err == WEFT_EIO;
  if (r.dead) {
    r.unreadable = weft_store_begin(s, WEFT_TXN_READ, &t) != WEFT_EIO;
  } else if (r.err != WEFT_OK) {
    weft_err err;
    all_well();
    uint32_t newest = read_round(s, &err);
    r.unreadable = err != WEFT_OK || newest != r.acked;
    r.err = write_round(s, r.acked + 1) == WEFT_OK ? r.err : WEFT_EPROTO;
    r.acked++;
  }
  r.calls = test_disk()->calls;
  weft_store_free(s);
  return r;
}

/* Opens again with nothing failing: what was acknowledged is there, and writing goes on. */
static void check_after(const char *path, const run *r) {
  weft_store *s;
  weft_err err;
  assert_int_equal(open_store(path, &s), WEFT_OK);
  uint32_t newest = read_round(s, &err);
  assert_int_equal(err, WEFT_OK);
  assert_true(newest >= r->acked);
  assert_true(newest <= (r->dead ? r->begun : r->acked));
  assert_int_equal(write_round(s, newest + 1), WEFT_OK);
  assert_int_equal(read_round(s, &err), newest + 1);
  assert_int_equal(err, WEFT_OK);
  weft_store_free(s);
}

/* Gives false when the k-th call was never made. */
static bool io_round(size_t k, int errnum, bool sticky) {
  test_temp temp = test_temp_make();
  char path[256];
  test_temp_path(&temp, "data.mdb", path);
  all_well();
  *test_disk() = (test_disk_faults){.fail_at = k, .errnum = errnum, .sticky = sticky};
  run r = run_once(path);
  bool reached = r.err != WEFT_OK;
  if (!reached) assert_true(r.calls < k);
  all_well();
  bool known = r.err == WEFT_OK || r.err == WEFT_EIO || r.err == WEFT_EFULL;
  if (!known || r.unreadable) {
    print_error("call %zu, errno %d: %s%s\n", k, errnum, weft_err_name(r.err),
                r.unreadable ? ", then unreadable" : "");
  }
  assert_true(known);
  assert_false(r.unreadable);
  check_after(path, &r);
  test_temp_remove(&temp);
  return reached;
}

static void test_every_io_call(void **state) {
  (void)state;
  static const int errnums[] = {EIO, ENOSPC, TEST_DISK_SHORT};
  for (size_t e = 0; e < 3; e++) {
    size_t once = 1, sticky = 1;
    while (io_round(once, errnums[e], false)) once++;
    while (io_round(sticky, errnums[e], true)) sticky++;
    print_message("%zu and %zu calls failed\n", once - 1, sticky - 1);
    assert_true(once > 20 && sticky > 20);
  }
}

static bool heap_round(size_t k, bool sticky) {
  test_temp temp = test_temp_make();
  char path[256];
  test_temp_path(&temp, "data.mdb", path);
  all_well();
  test_heap()->fail_at = k;
  test_heap()->sticky = sticky;
  run r = run_once(path);
  bool reached = r.err != WEFT_OK;
  all_well();
  if (r.err != WEFT_OK && r.err != WEFT_ENOMEM) {
    print_error("allocation %zu: %s\n", k, weft_err_name(r.err));
  }
  assert_true(r.err == WEFT_OK || r.err == WEFT_ENOMEM);
  assert_false(r.unreadable);
  check_after(path, &r);
  test_temp_remove(&temp);
  return reached;
}

static void test_every_allocation(void **state) {
  (void)state;
  if (!test_heap_works()) skip();
  for (int sticky = 0; sticky < 2; sticky++) {
    size_t failed = 0, quiet = 0;
    for (size_t k = 1; quiet < 60; k++) {
      bool reached = heap_round(k, sticky == 1);
      failed += reached;
      quiet = reached ? 0 : quiet + 1;
    }
    print_message("%zu allocations failed\n", failed);
    assert_true(failed > 20);
  }
}

/* --- the power is cut --- */

enum { cut_rounds = 40, cut_variants = 8 };

/* Opens what is left with every page looked at, and goes on with it. */
static void check_cut(const char *path, uint32_t acked, size_t count) {
  weft_lmdb_options o;
  weft_lmdb_options_init(&o);
  o.path = path;
  o.check_pages = true;
  weft_store *s;
  weft_diag d;
  weft_err err = weft_lmdb_store_open(&o, &s, &d);
  uint32_t newest = err == WEFT_OK ? read_round(s, &err) : 0;
  bool good = err == WEFT_OK && newest >= acked && newest <= acked + 1;
  if (!good) print_error("cut after %zu: %u of %u, %s\n", count, newest, acked, d.text);
  assert_true(good);
  assert_int_equal(write_round(s, newest + 1), WEFT_OK);
  assert_int_equal(read_round(s, &err), newest + 1);
  assert_int_equal(err, WEFT_OK);
  weft_store_free(s);
}

static void tape_make(tape *t, const test_temp *temp) {
  char path[256];
  weft_store *s;
  all_well();
  test_temp_path(temp, "space/data.mdb", path);
  tape_reset(t, temp->folder);
  tape_run(t);
  assert_int_equal(open_store(path, &s), WEFT_OK);
  for (uint32_t round = 1; round <= cut_rounds; round++) {
    assert_int_equal(write_round(s, round), WEFT_OK);
    tape_mark(t, round);
  }
  weft_store_free(s);
  tape_run(NULL);
}

static void test_power_cuts(void **state) {
  (void)state;
  test_temp temp = test_temp_make(), left = test_temp_make();
  char path[256];
  static tape t, after;
  static cuts c;
  seen images = {0};
  uint64_t seed = 4;
  test_rng rng = test_rng_of(seed);
  tape_make(&t, &temp);
  test_temp_path(&left, "space/data.mdb", path);
  cuts_begin(&c, &t, NULL, left.folder, "space/data.mdb");
  for (size_t i = 0; i < t.count * cut_variants; i++) {
    cuts_draw(&c, i / cut_variants, test_rng_next(&rng));
  }
  uint32_t acked = 0;
  for (size_t at = 0; cuts_next(&c, &images);) {
    for (; at <= c.at.event; at++) {
      if (t.events[at].kind == TAPE_MARK) acked = (uint32_t)t.events[at].offset;
    }
    tape_reset(&after, left.folder);
    cuts_know(&c, &after);
    tape_run(&after);
    check_cut(path, acked, c.at.event);
    tape_run(NULL);
    cuts_dirtied(&c, &after);
  }
  print_message("seed=%llu: %zu images, %u rounds\n", (unsigned long long)seed, images.count,
                acked);
  assert_true(acked >= cut_rounds - 1 && images.count > 1000);
  seen_free(&images);
  cuts_free(&c);
  tape_free(&t);
  tape_free(&after);
  test_temp_remove(&temp);
  test_temp_remove(&left);
}

/* The folder of the mirror is made once, and must be there after a power cut like the mirror. */
static void test_mirror_folder(void **state) {
  (void)state;
  test_temp temp = test_temp_make();
  char path[256];
  static tape t;
  weft_mirror m = {.lane_count = 1};
  weft_diag d;
  bool made = false, synced = false;
  test_temp_path(&temp, "mirror", path);
  tape_reset(&t, temp.folder);
  tape_run(&t);
  assert_int_equal(weft__mirror_save(weft_crypto_sodium(), path, &m, &d), WEFT_OK);
  tape_run(NULL);
  for (size_t i = 0; i < t.count; i++) {
    const char *name = t.names[t.events[i].name];
    made |= t.events[i].kind == TAPE_CREATE && strcmp(name, "mirror") == 0;
    synced |= made && t.events[i].kind == TAPE_FOLDER_SYNC && strcmp(name, "") == 0;
  }
  assert_true(made && synced);
  tape_free(&t);
  test_temp_remove(&temp);
}

/* --- a disk that is really full --- */

enum { not_allowed = 77, mount_namespace = 0x00020000 };

/* Puts until the disk is full, then checks that it only refuses. */
static bool fill_disk(weft_store *s) {
  static uint8_t value[30000];
  weft_txn *t;
  weft_dbkey k;
  uint64_t count;
  weft_err err = WEFT_OK;
  uint32_t acked = 0;
  while (err == WEFT_OK && acked < 1000) {
    if (weft_store_begin(s, WEFT_TXN_WRITE, &t) != WEFT_OK) return false;
    weft_bytes v = weft_bytes_of(value, sizeof value);
    err = weft_txn_put(t, WEFT_TABLE_LOG, weft__dbkey_u32(&k, acked), v);
    weft_err end = weft_txn_commit(t);
    if (err == WEFT_OK) err = end;
    acked += err == WEFT_OK;
  }
  if (err != WEFT_EFULL || acked == 0) return false;
  if (weft_store_begin(s, WEFT_TXN_READ, &t) != WEFT_OK) return false;
  err = weft_txn_count(t, WEFT_TABLE_LOG, &count);
  weft_txn_abort(t);
  return err == WEFT_OK && count == acked;
}

/* Not a byte is left. */
static bool fill_rest(const char *path) {
  int fd = open(path, O_WRONLY | O_CREAT, 0600);
  while (write(fd, "", 1) == 1) continue;
  bool full = errno == ENOSPC;
  close(fd);
  return full;
}

/* In a file system of 2 MiB: refused when full, readable, and goes on when there is room. */
static int child_on_small_disk(const char *folder) {
  char path[256], ballast[256], rest[256];
  weft_store *s;
  if (syscall(SYS_unshare, mount_namespace) != 0) return not_allowed;
  if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return not_allowed;
  if (mount("tmpfs", folder, "tmpfs", 0, "size=2m") != 0) return not_allowed;
  test_temp temp;
  strcpy(temp.folder, folder);
  test_temp_path(&temp, "data.mdb", path);
  test_temp_path(&temp, "ballast", ballast);
  int fd = open(ballast, O_WRONLY | O_CREAT, 0600);
  static uint8_t weight[500000];
  if (write(fd, weight, sizeof weight) != sizeof weight) return 1;
  close(fd);
  if (open_store(path, &s) != WEFT_OK) return 2;
  if (!fill_disk(s)) return 3;
  weft_store_free(s);
  test_temp_path(&temp, "rest", rest);
  if (!fill_rest(rest)) return 7;
  if (open_store(path, &s) != WEFT_OK) return 8; /* to be read at least */
  if (unlink(rest) != 0) return 9;
  if (unlink(ballast) != 0 || !fill_disk(s)) return 4;
  weft_store_free(s);
  if (open_store(path, &s) != WEFT_OK) return 5;
  weft_store_free(s);
  test_temp_path(&temp, "second/data.mdb", path);
  return open_store(path, &s) == WEFT_EFULL ? 0 : 6;
}

static void test_full_disk(void **state) {
  (void)state;
  test_temp temp = test_temp_make();
  pid_t pid = fork();
  if (pid == 0) _exit(child_on_small_disk(temp.folder));
  int status = 0;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  test_temp_remove(&temp);
  assert_true(WIFEXITED(status));
  if (WEXITSTATUS(status) == not_allowed) skip();
  assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_power_cuts),       cmocka_unit_test(test_mirror_folder),
      cmocka_unit_test(test_full_disk),        cmocka_unit_test(test_every_io_call),
      cmocka_unit_test(test_every_allocation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Backups: everything is in them, they are fenced, and what cannot be made leaves nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/backup.h"
#include "store/lmdb_store.h"
#include "tests/support/recount.h"
#include "tests/support/space.h"

typedef struct scene {
  test_space s;
  test_temp temp;
  char path[256], back[256];
  weft_replica *r;
} scene;

static void scene_make(scene *x) {
  memset(x, 0, sizeof *x);
  x->temp = test_temp_make();
  test_temp_path(&x->temp, "backup", x->path);
  test_temp_path(&x->temp, "data.mdb", x->back);
  test_space_make(&x->s, 3, 7);
  x->r = test_space_memory(&x->s, 0);
  assert_int_equal(test_set(x->r, "t/a", "", "{\"x\":1,\"list\":[1,{\"k\":\"v\"}]}"), WEFT_OK);
  assert_int_equal(test_set(x->r, "t/b", "/x", "2"), WEFT_OK);
  assert_int_equal(weft_replica_declare_index(x->r, weft_bytes_str("t"), weft_bytes_str("/x")),
                   WEFT_OK);
}

static void scene_free(scene *x) {
  weft_replica_free(x->r);
  test_temp_remove(&x->temp);
}

static weft_store *store_at(const char *path) {
  weft_lmdb_options o;
  weft_store *s;
  weft_lmdb_options_init(&o);
  o.path = path;
  o.map_size = 1u << 30;
  o.must_exist = true;
  assert_int_equal(weft_lmdb_store_open(&o, &s, NULL), WEFT_OK);
  return s;
}

static weft_begun newest_begun(weft_replica *r) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_begun *list;
  size_t count;
  weft__arena_init(&arena, &mem);
  assert_int_equal(weft_replica_begun(r, &arena, &list, &count), WEFT_OK);
  assert_true(count > 0);
  weft_begun last = list[count - 1];
  weft__arena_free(&arena);
  return last;
}

static void test_goes_on_anew(void **state) {
  (void)state;
  scene x;
  weft_verify_report report;
  weft_diag d;
  scene_make(&x);
  uint64_t instance = weft_replica_instance(x.r);
  assert_int_equal(weft_replica_backup(x.r, x.path), WEFT_OK);
  assert_int_equal(weft_replica_backup(x.r, x.path), WEFT_EEXIST);
  assert_int_equal(test_set(x.r, "t/a", "/x", "5"), WEFT_OK); /* not in the backup */
  assert_int_equal(weft_backup_restore(x.path, x.back, &d), WEFT_OK);
  weft_replica *back = test_space_open(&x.s, 0, store_at(x.back));
  assert_int_equal(weft_replica_verify(back, NULL, NULL, &report), WEFT_OK);
  test_recount(back, 0);
  assert_true(weft_replica_instance(back) != instance);
  assert_int_equal(weft_replica_held(back)->count, 1);
  assert_int_equal(test_set(back, "t/a", "/y", "6"), WEFT_OK);
  assert_int_equal(weft_replica_held(back)->count, 2);
  weft_begun first = newest_begun(back);
  assert_int_equal(first.why, WEFT_BEGUN_RESTORED);
  /* The two meet, and neither loses anything. */
  test_pull(x.r, back, 50);
  test_pull(back, x.r, 50);
  test_assert_same(x.r, back);
  assert_int_equal(weft_replica_verify(back, NULL, NULL, &report), WEFT_OK);
  weft_replica_free(back);
  /* The fence is gone: without a mirror it begins anew, but for another reason. */
  back = test_space_open(&x.s, 0, store_at(x.back));
  assert_int_equal(test_set(back, "t/a", "/y", "7"), WEFT_OK);
  assert_int_equal(newest_begun(back).why, WEFT_BEGUN_MISSING);
  weft_replica_free(back);
  scene_free(&x);
}

/* A mirror that fits does not open the fence. */
static void test_mirror_does_not_help(void **state) {
  (void)state;
  scene x;
  char mirror[256];
  scene_make(&x);
  test_temp_path(&x.temp, "mirror", mirror);
  weft_replica_options o = test_space_options(&x.s, 1, test_memory_store());
  o.mirror_dir = mirror;
  weft_replica *r;
  assert_int_equal(weft_replica_open(&r, &o), WEFT_OK);
  test_space_add_records(&x.s, r);
  assert_int_equal(test_set(r, "t/c", "/x", "1"), WEFT_OK);
  weft_replica_settle(r);
  assert_int_equal(weft_replica_backup(r, x.back), WEFT_OK);
  weft_replica_free(r);
  for (int i = 0; i < 2; i++) {
    o = test_space_options(&x.s, 1, store_at(x.back));
    o.mirror_dir = mirror;
    assert_int_equal(weft_replica_open(&r, &o), WEFT_OK);
    assert_int_equal(test_set(r, "t/c", "/x", i ? "3" : "2"), WEFT_OK);
    /* Anew, then on in that log: the fence is gone and the mirror fits. */
    assert_int_equal(weft_replica_held(r)->count, 2);
    weft_replica_free(r);
  }
  scene_free(&x);
}

/* Another device takes it: the log in it stays the first one's. */
static void test_another_device(void **state) {
  (void)state;
  scene x;
  weft_verify_report report;
  char text[64];
  scene_make(&x);
  assert_int_equal(weft_replica_backup(x.r, x.back), WEFT_OK);
  weft_replica *heir = test_space_open(&x.s, 2, store_at(x.back));
  assert_string_equal(test_get(heir, "t/b", "/x", text, sizeof text), "2");
  assert_int_equal(test_set(heir, "t/b", "/x", "3"), WEFT_OK);
  assert_int_equal(weft_replica_held(heir)->count, 2);
  assert_int_equal(weft_replica_verify(heir, NULL, NULL, &report), WEFT_OK);
  weft_replica_free(heir);
  heir = test_space_open(&x.s, 2, store_at(x.back)); /* its own by now */
  test_recount(heir, 0);
  test_pull(x.r, heir, 50);
  test_assert_same(x.r, heir);
  weft_replica_free(heir);
  weft_store *s = store_at(x.back);
  weft_replica_options o = test_space_options(&x.s, 0, s);
  weft_replica *r;
  assert_int_equal(weft_replica_open(&r, &o), WEFT_EFOREIGN);
  weft_store_free(s);
  scene_free(&x);
}

static void test_refused(void **state) {
  (void)state;
  scene x;
  weft_diag d;
  weft_id space;
  char nowhere[300], left[300];
  struct stat st;
  scene_make(&x);
  snprintf(nowhere, sizeof nowhere, "%s/none/backup", x.temp.folder);
  assert_int_equal(weft_replica_backup(x.r, ""), WEFT_ELIMIT);
  assert_int_equal(weft_replica_backup(x.r, nowhere), WEFT_ENOSTORE);
  assert_int_equal(weft_group_begin(x.r), WEFT_OK);
  assert_int_equal(weft_replica_backup(x.r, x.path), WEFT_EMISUSE);
  weft_group_abort(x.r);
  assert_int_equal(weft_backup_restore(x.path, x.back, &d), WEFT_ENOSTORE);
  int fd = open(x.path, O_WRONLY | O_CREAT, 0600);
  assert_int_equal(write(fd, "nonsense", 8), 8);
  close(fd);
  assert_int_equal(weft_backup_restore(x.path, x.back, &d), WEFT_ECORRUPT);
  assert_int_not_equal(stat(x.back, &st), 0);
  unlink(x.path);
  /* Cut short: found before anything is made. */
  assert_int_equal(weft_replica_backup(x.r, x.path), WEFT_OK);
  assert_int_equal(truncate(x.path, 8192), 0);
  assert_int_equal(weft_backup_restore(x.path, x.back, NULL), WEFT_ECORRUPT);
  assert_int_not_equal(stat(x.back, &st), 0);
  snprintf(left, sizeof left, "%s.new", x.back);
  assert_int_not_equal(stat(left, &st), 0);
  weft_store *empty = test_memory_store();
  assert_int_equal(weft__store_space(empty, &space), WEFT_ENOTFOUND);
  weft_store_free(empty);
  scene_free(&x);
}

static void file_make(char *out, size_t cap, const char *folder, const char *name) {
  (void)snprintf(out, cap, "%s/%s", folder, name);
  int fd = open(out, O_WRONLY | O_CREAT, 0600);
  assert_true(fd >= 0);
  close(fd);
}

/* A folder where the copy is to be made: what a crash left goes, anything else stays. */
static void test_in_the_way(void **state) {
  (void)state;
  scene x;
  char folder[300], file[400], lock[400], left[400];
  struct stat st;
  scene_make(&x);
  (void)snprintf(folder, sizeof folder, "%s.new", x.path);
  assert_int_equal(mkdir(folder, 0700), 0);
  file_make(file, sizeof file, folder, "data.mdb"); /* somebody's store */
  file_make(lock, sizeof lock, folder, "lock");
  assert_int_equal(weft_replica_backup(x.r, x.path), WEFT_EEXIST);
  assert_int_equal(stat(file, &st), 0);
  assert_int_equal(stat(lock, &st), 0);
  unlink(file);
  file_make(left, sizeof left, folder, "copy.mdb.new");
  assert_int_equal(weft_replica_backup(x.r, x.path), WEFT_OK);
  assert_int_not_equal(stat(folder, &st), 0);
  unlink(x.path);
  assert_int_equal(symlink(x.temp.folder, folder), 0); /* leads elsewhere */
  assert_int_equal(weft_replica_backup(x.r, x.path), WEFT_EEXIST);
  unlink(folder);
  scene_free(&x);
}

/* More than one transaction's worth, in the working folder, and told of nobody. */
static void test_large_and_here(void **state) {
  (void)state;
  enum { TEXTS = 90, TEXT_LEN = 60000 };
  scene x;
  weft_id space;
  weft_verify_report report;
  char home[512];
  scene_make(&x);
  char *json = malloc(TEXT_LEN + 3);
  assert_non_null(json);
  for (unsigned i = 0; i < TEXTS; i++) {
    char doc[16];
    uint64_t noise = i * UINT64_C(0x9fb21c651e98df25) + 1;
    json[0] = '"';
    for (size_t k = 1; k <= TEXT_LEN; k++) {
      noise ^= noise << 13;
      noise ^= noise >> 7;
      noise ^= noise << 17;
      json[k] = (char)('a' + noise % 26);
    }
    memcpy(json + TEXT_LEN + 1, "\"", 2);
    snprintf(doc, sizeof doc, "t/long%u", i);
    assert_int_equal(test_set(x.r, doc, "/text", json), WEFT_OK);
  }
  free(json);
  assert_non_null(getcwd(home, sizeof home));
  assert_int_equal(chdir(x.temp.folder), 0);
  assert_int_equal(weft_replica_backup(x.r, "here"), WEFT_OK);
  weft_err err = weft_backup_restore("here", "there", NULL);
  assert_int_equal(err, WEFT_OK);
  weft_replica *back = test_space_open(&x.s, 0, store_at("there"));
  assert_int_equal(weft_replica_verify(back, NULL, NULL, &report), WEFT_OK);
  assert_true(test_same_heads(weft_replica_held(back), weft_replica_held(x.r)));
  weft_replica_free(back);
  weft_store *s = store_at("there");
  assert_int_equal(weft__store_space(s, &space), WEFT_OK);
  assert_int_equal(weft_id_cmp(&space, &x.s.id), 0);
  weft_store_free(s);
  assert_int_equal(chdir(home), 0);
  scene_free(&x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_goes_on_anew),   cmocka_unit_test(test_mirror_does_not_help),
      cmocka_unit_test(test_another_device), cmocka_unit_test(test_refused),
      cmocka_unit_test(test_in_the_way),     cmocka_unit_test(test_large_and_here),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The incarnation mirror: what is written is read, every torn or changed file is noticed, and each
 * verdict is given when it must. */
#include <setjmp.h>
#include <stdarg.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/mirror.h"
#include "tests/support/child.h"
#include "tests/support/data.h"
#include "tests/support/pace.h"
#include "tests/support/rng.h"
#include "tests/support/temp.h"

typedef struct place {
  test_temp temp;
  char dir[256];
  weft_mirror now;
} place;

static const weft_crypto *crypto(void) { return weft_crypto_sodium(); }

static int setup(void **state) {
  place *p = calloc(1, sizeof *p);
  p->temp = test_temp_make();
  test_temp_path(&p->temp, "mirror", p->dir);
  test_rng rng = test_rng_of(3);
  test_rng_fill(&rng, &p->now.space, sizeof p->now.space);
  test_rng_fill(&rng, &p->now.device, sizeof p->now.device);
  test_rng_fill(&rng, p->now.incarnation, sizeof p->now.incarnation);
  p->now.machine = weft__mirror_machine(crypto(), weft_bytes_str("a machine"));
  p->now.store_dev = 42;
  p->now.store_ino = UINT64_MAX - 1;
  p->now.lane_count = 2;
  for (uint8_t i = 0; i < 2; i++) {
    p->now.lanes[i].lane = i;
    p->now.lanes[i].seq = 1000 + i;
    test_rng_fill(&rng, &p->now.lanes[i].id, 32);
  }
  *state = p;
  return 0;
}

static int teardown(void **state) {
  place *p = *state;
  test_temp_remove(&p->temp);
  free(p);
  return 0;
}

static void save(const place *p) {
  weft_diag d;
  assert_int_equal(weft__mirror_save(crypto(), p->dir, &p->now, &d), WEFT_OK);
  assert_int_equal(d.err, WEFT_OK);
}

/* The key of p->now, with nothing else in it. */
static weft_mirror key_of(const place *p) {
  weft_mirror m = {0};
  m.space = p->now.space;
  m.device = p->now.device;
  memcpy(m.incarnation, p->now.incarnation, sizeof m.incarnation);
  return m;
}

/* The only file in the folder. */
static void the_file(const place *p, char out[600]) {
  DIR *d = opendir(p->dir);
  assert_non_null(d);
  int found = 0;
  for (struct dirent *e = readdir(d); e; e = readdir(d)) {
    if (e->d_name[0] == '.') continue;
    snprintf(out, 600, "%s/%s", p->dir, e->d_name);
    found++;
  }
  closedir(d);
  assert_int_equal(found, 1);
}

static void assert_same(const weft_mirror *a, const weft_mirror *b) {
  assert_memory_equal(&a->machine, &b->machine, sizeof a->machine);
  assert_int_equal(a->store_dev, b->store_dev);
  assert_int_equal(a->store_ino, b->store_ino);
  assert_int_equal(a->lane_count, b->lane_count);
  for (size_t i = 0; i < a->lane_count; i++) {
    assert_int_equal(a->lanes[i].lane, b->lanes[i].lane);
    assert_int_equal(a->lanes[i].seq, b->lanes[i].seq);
    assert_memory_equal(&a->lanes[i].id, &b->lanes[i].id, sizeof a->lanes[i].id);
  }
}

static void test_round_trip(void **state) {
  place *p = *state;
  weft_mirror m = key_of(p);
  assert_int_equal(weft__mirror_load(crypto(), p->dir, &m, NULL), WEFT_ENOTFOUND);
  mode_t before = umask(0);
  for (size_t lanes = 0; lanes <= WEFT_MIRROR_LANES_MAX; lanes++) {
    p->now.lane_count = lanes;
    p->now.lanes[0].seq = lanes;
    save(p);
    m = key_of(p);
    assert_int_equal(weft__mirror_load(crypto(), p->dir, &m, NULL), WEFT_OK);
    assert_same(&m, &p->now);
  }
  umask(before);
  char path[600];
  the_file(p, path);
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600);
  assert_int_equal(stat(p->dir, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0700);
  p->now.lane_count++;
  assert_int_equal(weft__mirror_save(crypto(), p->dir, &p->now, NULL), WEFT_ELIMIT);
}

static void test_one_file_each(void **state) {
  place *p = *state;
  save(p);
  weft_mirror other = p->now, m;
  other.incarnation[0] ^= 1;
  other.lane_count = 0;
  assert_int_equal(weft__mirror_save(crypto(), p->dir, &other, NULL), WEFT_OK);
  m = key_of(p);
  assert_int_equal(weft__mirror_load(crypto(), p->dir, &m, NULL), WEFT_OK);
  assert_same(&m, &p->now);
  m = other;
  assert_int_equal(weft__mirror_load(crypto(), p->dir, &m, NULL), WEFT_OK);
  assert_same(&m, &other);
}

/* Every length and every flipped bit is noticed, and `m` stays as it was. */
static void test_damage(void **state) {
  place *p = *state;
  char path[600];
  save(p);
  the_file(p, path);
  weft_bytes whole = test_file_read(path);
  uint8_t *copy = malloc(whole.len + 2000);
  memset(copy, 0, whole.len + 2000);
  weft_mirror m = key_of(p), before = m;
  for (size_t len = 0; len < whole.len; len++) {
    test_file_write(path, whole.at, len);
    assert_int_equal(weft__mirror_load(crypto(), p->dir, &m, NULL), WEFT_ECORRUPT);
  }
  for (size_t bit = 0; bit < whole.len * 8; bit++) {
    memcpy(copy, whole.at, whole.len);
    copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
    test_file_write(path, copy, whole.len);
    assert_int_equal(weft__mirror_load(crypto(), p->dir, &m, NULL), WEFT_ECORRUPT);
  }
  memcpy(copy, whole.at, whole.len);
  test_file_write(path, copy, whole.len + 1);
  assert_int_equal(weft__mirror_load(crypto(), p->dir, &m, NULL), WEFT_ECORRUPT);
  test_file_write(path, copy, whole.len + 2000);
  assert_int_equal(weft__mirror_load(crypto(), p->dir, &m, NULL), WEFT_ECORRUPT);
  assert_memory_equal(&m, &before, sizeof m);
  free(copy);
  free((void *)(uintptr_t)whole.at);
}

/* Seals `len` bytes as a mirror would be, whatever is in them. */
static void write_sealed(const char *path, uint8_t *b, size_t len) {
  weft_bytes body = weft_bytes_of(b, len), no_key = weft_bytes_of(NULL, 0);
  static const uint8_t personal[16] = "weft-mirror-v1";
  crypto()->hash(b + len, 32, no_key, NULL, personal, &body, 1);
  test_file_write(path, b, len + 32);
}

static void test_sealed_nonsense(void **state) {
  place *p = *state;
  char path[600];
  save(p);
  the_file(p, path);
  weft_bytes whole = test_file_read(path);
  uint8_t b[2000];
  size_t len = whole.len - 32, count_at = 8 + 4 + 32 + 32 + 16 + 32 + 16;
  memcpy(b, whole.at, whole.len);
  weft_mirror m = key_of(p);
  static const struct {
    size_t at;
    uint8_t byte;
    weft_err want;
  } cases[] = {
      {0, 'W', WEFT_ECORRUPT}, {11, 2, WEFT_EVERSION}, {12, 0, WEFT_ECORRUPT},
      {60, 0, WEFT_ECORRUPT},  {80, 0, WEFT_ECORRUPT},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    memcpy(b, whole.at, len);
    b[cases[i].at] = cases[i].byte == b[cases[i].at] ? 1 : cases[i].byte;
    write_sealed(path, b, len);
    assert_int_equal(weft__mirror_load(crypto(), p->dir, &m, NULL), cases[i].want);
  }
  for (unsigned count = 0; count < 256; count++) {
    memcpy(b, whole.at, len);
    b[count_at] = (uint8_t)count;
    write_sealed(path, b, len);
    weft_err want = count == 2 ? WEFT_OK : WEFT_ECORRUPT;
    assert_int_equal(weft__mirror_load(crypto(), p->dir, &m, NULL), want);
  }
  free((void *)(uintptr_t)whole.at);
}

typedef struct held {
  uint64_t newest; /* seq up to which the store holds what the mirror knows */
  unsigned asked;
  weft_err err;
} held;

static weft_err holds(void *ctx, const weft_mirror_lane *lane) {
  held *h = ctx;
  h->asked++;
  if (h->err != WEFT_OK) return h->err;
  return lane->seq <= h->newest ? WEFT_OK : WEFT_ENOTFOUND;
}

static weft_mirror_verdict verdict_of(const place *p, const weft_mirror *now, held *h) {
  weft_mirror_verdict v;
  assert_int_equal(weft__mirror_check(crypto(), p->dir, now, holds, h, &v, NULL), WEFT_OK);
  return v;
}

static void test_verdicts(void **state) {
  place *p = *state;
  held h = {.newest = 5000};
  assert_int_equal(verdict_of(p, &p->now, &h), WEFT_MIRROR_MISSING);
  save(p);
  assert_int_equal(verdict_of(p, &p->now, &h), WEFT_MIRROR_SAME);
  assert_int_equal(h.asked, 2);
  h.newest = 1000;
  assert_int_equal(verdict_of(p, &p->now, &h), WEFT_MIRROR_BEHIND);
  h.newest = 5000;
  weft_mirror now = p->now;
  now.store_dev++;
  assert_int_equal(verdict_of(p, &now, &h), WEFT_MIRROR_MOVED);
  now = p->now;
  now.store_ino++;
  assert_int_equal(verdict_of(p, &now, &h), WEFT_MIRROR_MOVED);
  now = p->now;
  now.machine = weft__mirror_machine(crypto(), weft_bytes_str("another machine"));
  assert_int_equal(verdict_of(p, &now, &h), WEFT_MIRROR_MOVED);
  weft_mirror_verdict v;
  h.err = WEFT_EIO;
  weft_err err = weft__mirror_check(crypto(), p->dir, &p->now, holds, &h, &v, NULL);
  assert_int_equal(err, WEFT_EIO);
  assert_int_not_equal(v, WEFT_MIRROR_SAME);
  char path[600];
  the_file(p, path);
  test_file_write(path, "torn", 4);
  assert_int_equal(verdict_of(p, &p->now, &h), WEFT_MIRROR_DAMAGED);
  for (int i = WEFT_MIRROR_SAME; i <= WEFT_MIRROR_DAMAGED; i++) {
    assert_true(strlen(weft__mirror_verdict_str((weft_mirror_verdict)i)) > 0);
  }
}

/* What was written late is believed where it is whole, and never alone. */
static void test_late(void **state) {
  place *p = *state;
  held h = {.newest = 1001};
  int file = -1;
  weft_mirror late = p->now;
  late.lanes[1].seq = 1002;
  weft__mirror_late(crypto(), p->dir, &late, &file); /* there is no folder yet */
  assert_int_equal(verdict_of(p, &p->now, &h), WEFT_MIRROR_MISSING);
  save(p);
  assert_int_equal(verdict_of(p, &p->now, &h), WEFT_MIRROR_SAME);
  weft__mirror_late(crypto(), p->dir, &late, &file);
  assert_int_equal(verdict_of(p, &p->now, &h), WEFT_MIRROR_BEHIND);
  h.newest = 1002;
  assert_int_equal(verdict_of(p, &p->now, &h), WEFT_MIRROR_SAME);
  late.lanes[1].seq = 1003;
  late.lane_count = 1;
  late.lanes[0].seq = 1003;
  weft__mirror_late(crypto(), p->dir, &late, &file); /* shorter: as if torn, which says nothing */
  assert_int_equal(verdict_of(p, &p->now, &h), WEFT_MIRROR_SAME);
  late.lane_count = WEFT_MIRROR_LANES_MAX + 1;
  weft__mirror_late(crypto(), p->dir, &late, &file);
  late.lane_count = 2;
  weft__mirror_late(crypto(), "", &late, &file);
  assert_int_equal(verdict_of(p, &p->now, &h), WEFT_MIRROR_SAME);
  weft__mirror_late(crypto(), p->dir, &late, &file);
  assert_int_equal(verdict_of(p, &p->now, &h), WEFT_MIRROR_BEHIND);
  weft__mirror_late_end(&file);
  weft__mirror_late_end(&file);
  assert_int_equal(file, -1);
}

static bool child_without_rights(const void *ctx) {
  const place *p = ctx;
  if (geteuid() == 0 && (setegid(65534) != 0 || seteuid(65534) != 0)) return false;
  weft_mirror m = key_of(p);
  weft_mirror_verdict v = WEFT_MIRROR_SAME;
  held h = {0};
  bool good = weft__mirror_save(crypto(), p->dir, &p->now, NULL) == WEFT_EREADONLY;
  good = good && weft__mirror_load(crypto(), p->dir, &m, NULL) == WEFT_EREADONLY;
  weft_err err = weft__mirror_check(crypto(), p->dir, &p->now, holds, &h, &v, NULL);
  return good && err == WEFT_EREADONLY && v != WEFT_MIRROR_SAME;
}

static bool child_out_of_files(const void *ctx) {
  const place *p = ctx;
  struct rlimit none = {0, 0};
  weft_mirror m = key_of(p);
  if (setrlimit(RLIMIT_NOFILE, &none) != 0) return false;
  weft_diag d;
  if (weft__mirror_save(crypto(), p->dir, &p->now, &d) != WEFT_EIO || d.sys == 0) return false;
  return weft__mirror_load(crypto(), p->dir, &m, &d) == WEFT_EIO && d.text[0];
}

static void test_machine_refuses(void **state) {
  place *p = *state;
  save(p);
  /* Valgrind needs descriptors of its own. */
  if (!test_under_valgrind()) assert_int_equal(test_in_child(child_out_of_files, p), 0);
  assert_int_equal(chmod(p->dir, 0), 0);
  assert_int_equal(test_in_child(child_without_rights, p), 0);
  assert_int_equal(chmod(p->dir, 0700), 0);
  weft_mirror m = key_of(p);
  weft_err err = weft__mirror_save(crypto(), "/weft-no-such/x/y", &p->now, NULL);
  assert_int_equal(err, WEFT_ENOSTORE);
  assert_int_equal(weft__mirror_save(crypto(), "", &p->now, NULL), WEFT_ELIMIT);
  static char longest[5000];
  memset(longest, 'x', sizeof longest - 1);
  assert_int_equal(weft__mirror_load(crypto(), longest, &m, NULL), WEFT_ELIMIT);
  if (access("/dev/full", W_OK) != 0) return;
  char path[600], fresh[610];
  the_file(p, path);
  snprintf(fresh, sizeof fresh, "%s.new", path);
  assert_int_equal(symlink("/dev/full", fresh), 0);
  assert_int_equal(weft__mirror_save(crypto(), p->dir, &p->now, NULL), WEFT_EFULL);
  unlink(fresh);
  assert_int_equal(weft__mirror_load(crypto(), p->dir, &m, NULL), WEFT_OK);
  unlink(path);
  assert_int_equal(mkdir(path, 0700), 0);
  assert_int_equal(weft__mirror_load(crypto(), p->dir, &m, NULL), WEFT_EIO);
  assert_int_equal(weft__mirror_save(crypto(), p->dir, &p->now, NULL), WEFT_EIO);
  rmdir(path);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Folders by any name: in the working folder, above it, with more slashes than needed. */
static void test_names_of_folders(void **state) {
  place *p = *state;
  static const char *const names[] = {"m", "./n", "o/", "q///", "./r//"};
  char home[512];
  weft_diag d;
  assert_non_null(getcwd(home, sizeof home));
  assert_int_equal(chdir(p->temp.folder), 0);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    weft_mirror m = key_of(p);
    assert_int_equal(weft__mirror_load(crypto(), names[i], &m, NULL), WEFT_ENOTFOUND);
    assert_int_equal(weft__mirror_save(crypto(), names[i], &p->now, i % 2 ? &d : NULL), WEFT_OK);
    assert_int_equal(weft__mirror_load(crypto(), names[i], &m, &d), WEFT_OK);
    assert_true(m.store_ino == p->now.store_ino);
  }
  char longer[600];
  memset(longer, 'a', sizeof longer - 1);
  longer[sizeof longer - 1] = 0;
  assert_int_equal(weft__mirror_save(crypto(), "", &p->now, NULL), WEFT_ELIMIT);
  assert_int_equal(weft__mirror_save(crypto(), "none/m", &p->now, &d), WEFT_ENOSTORE);
  weft_err err = weft__mirror_save(crypto(), longer, &p->now, &d);
  assert_true(err == WEFT_ELIMIT || err == WEFT_EIO);
  assert_int_equal(chdir(home), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(test_round_trip),      CASE(test_one_file_each),    CASE(test_damage),
      CASE(test_sealed_nonsense), CASE(test_verdicts),         CASE(test_late),
      CASE(test_machine_refuses), CASE(test_names_of_folders),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

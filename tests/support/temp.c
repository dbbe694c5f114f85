#include "tests/support/temp.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static test_temp make_in(const char *where) {
  test_temp t;
  snprintf(t.folder, sizeof t.folder, "%s/weft-test-XXXXXX", where);
  if (!mkdtemp(t.folder)) {
    perror(t.folder);
    abort();
  }
  return t;
}

test_temp test_temp_make(void) {
  const char *where = getenv("TMPDIR");
  if (!where) where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
  return make_in(where);
}

test_temp test_temp_make_on_disk(void) {
  const char *where = getenv("TMPDIR");
  return make_in(where ? where : "/tmp");
}

void test_temp_path(const test_temp *t, const char *name, char out[256]) {
  int len = snprintf(out, 256, "%s/%s", t->folder, name);
  if (len < 0 || len >= 256) abort();
}

/* Removes what lies in `folder`; what is no file goes into `left`, one name at most per call. */
static int empty_folder(const char *folder, char left[256]) {
  DIR *d = opendir(folder);
  if (!d) return 0;
  int found = 0;
  for (struct dirent *e = readdir(d); e; e = readdir(d)) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    if (unlink(path) == 0 || found) continue;
    found = snprintf(left, 256, "%.*s", 255, path) > 0;
  }
  closedir(d);
  return found;
}

void test_folder_remove(const char *path) {
  char none[256];
  empty_folder(path, none);
  rmdir(path);
}

void test_temp_remove(const test_temp *t) {
  char inner[256], none[256];
  chmod(t->folder, 0700);
  while (empty_folder(t->folder, inner)) {
    empty_folder(inner, none);
    if (rmdir(inner) != 0) break;
  }
  rmdir(t->folder);
}

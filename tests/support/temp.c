#include "tests/support/temp.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

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

/* A folder whose process has been dead for a while was left when that was killed.  A process that
 * is not seen from here, in a container of its own, has some minutes to end. */
enum { stale_s = 600 };

static void sweep(const char *where) {
  DIR *d = opendir(where);
  if (!d) return;
  for (struct dirent *e = readdir(d); e; e = readdir(d)) {
    long pid;
    char left[8];
    struct stat st;
    test_temp t;
    int len = snprintf(t.folder, sizeof t.folder, "%s/%s", where, e->d_name);
    if (len < 0 || (size_t)len >= sizeof t.folder) continue;
    if (sscanf(e->d_name, "weft-test-%ld-%7s", &pid, left) != 2 || pid <= 0) continue;
    if (kill((pid_t)pid, 0) == 0 || errno != ESRCH) continue;
    if (lstat(t.folder, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid()) continue;
    if (time(NULL) - st.st_mtime > stale_s) test_temp_remove(&t);
  }
  closedir(d);
}

static test_temp make_in(const char *where) {
  static bool swept;
  test_temp t;
  if (!swept) sweep(where);
  swept = true;
  snprintf(t.folder, sizeof t.folder, "%s/weft-test-%ld-XXXXXX", where, (long)getpid());
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

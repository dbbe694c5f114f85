/* The machine: time, scratch files, and what it is made of. */
#include <fcntl.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"

double bench_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- files --- */

/* In the scratch folder: locked as long as its process lives. */
static const char alive[] = "alive";

void bench_path(const bench *b, const char *name, char out[BENCH_PATH_LEN_MAX]) {
  snprintf(out, BENCH_PATH_LEN_MAX, "%.400s/%.100s", b->folder, name);
}

void bench_memory_path(const bench *b, const char *name, char out[BENCH_PATH_LEN_MAX]) {
  struct statfs fs;
  bool memory = statfs("/dev/shm", &fs) == 0 && access("/dev/shm", W_OK) == 0 &&
                fs.f_bavail > BENCH_MEMORY_LEN / (uint64_t)fs.f_bsize;
  const char *own = strrchr(b->folder, '/');
  if (memory && own) {
    snprintf(out, BENCH_PATH_LEN_MAX, "/dev/shm%.100s-%.100s", own, name);
  } else {
    bench_path(b, name, out);
  }
}

/* Removes the files of `folder`; gives false when a folder is left in it, whose path is `left`. */
static bool folder_empty(const char *folder, char left[BENCH_PATH_LEN_MAX]) {
  bool empty = true;
  DIR *d = opendir(folder);
  if (!d) return true;
  for (struct dirent *e = readdir(d); e; e = readdir(d)) {
    char path[BENCH_PATH_LEN_MAX];
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    int len = snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    if (len < 0 || (size_t)len >= sizeof path || unlink(path) == 0) continue;
    memcpy(left, path, (size_t)len + 1);
    empty = false;
  }
  closedir(d);
  return empty;
}

void bench_tree_remove(const char *folder) {
  enum { FOLDERS_MAX = 64 };
  for (unsigned i = 0; i < FOLDERS_MAX; i++) {
    char at[BENCH_PATH_LEN_MAX];
    char left[BENCH_PATH_LEN_MAX];
    snprintf(at, sizeof at, "%s", folder);
    while (!folder_empty(at, left)) memcpy(at, left, sizeof at);
    if (rmdir(at) != 0 || strcmp(at, folder) == 0) return;
  }
}

/* Whether a folder is ours, and the lock in it nobody's: whoever made it was killed. */
static bool folder_stale(const char *folder, const char *lock) {
  struct stat st;
  char path[BENCH_PATH_LEN_MAX];
  if (lstat(folder, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != getuid()) return false;
  snprintf(path, sizeof path, "%.500s/%s", folder, lock);
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  bool stale = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
  if (fd >= 0) close(fd);
  return stale;
}

/* Removes what runs that were killed have left in `where`. */
static void stale_remove(const char *where, const char *lock) {
  DIR *d = opendir(where);
  if (!d) return;
  for (struct dirent *e = readdir(d); e; e = readdir(d)) {
    char path[BENCH_PATH_LEN_MAX];
    if (strncmp(e->d_name, "weft-bench-", strlen("weft-bench-")) != 0) continue;
    int len = snprintf(path, sizeof path, "%s/%s", where, e->d_name);
    if (len < 0 || (size_t)len >= sizeof path) continue;
    if (folder_stale(path, lock)) bench_tree_remove(path);
  }
  closedir(d);
}

/* Takes the lock that says that the folder is in use; it goes with the process. */
static bool folder_lock(bench *b) {
  char path[BENCH_PATH_LEN_MAX];
  bench_path(b, alive, path);
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) return access(path, F_OK) == 0;
  if (fd >= 0) close(fd);
  return false;
}

weft_err bench_folder_make(bench *b) {
  const char *where = getenv("TMPDIR");
  int len = snprintf(b->folder, sizeof b->folder, "%s/weft-bench-XXXXXX", where ? where : "/tmp");
  if (len < 0 || (size_t)len >= sizeof b->folder - W1_NAME_LEN_MAX || !mkdtemp(b->folder)) {
    b->folder[0] = 0;
    return bench_fail(b, WEFT_EIO, "no folder for scratch files can be made in TMPDIR or /tmp");
  }
  bool locked = folder_lock(b);
  stale_remove(where ? where : "/tmp", alive);
  stale_remove("/dev/shm", "lock"); /* of the store in it: bench_memory_path */
  return locked ? WEFT_OK : bench_fail(b, WEFT_EIO, "the folder for scratch files is not ours");
}

uint64_t bench_file_len(const char *path) {
  struct stat s;
  return stat(path, &s) == 0 ? (uint64_t)s.st_size : 0;
}

void bench_file_remove(const char *path) {
  char beside[BENCH_PATH_LEN_MAX + 8];
  unlink(path);
  snprintf(beside, sizeof beside, "%s-lock", path);
  unlink(beside);
}

void bench_file_forget(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  fdatasync(fd); /* dirty pages stay */
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  close(fd);
}

/* --- what it is --- */

/* Copies the text behind `key` and a colon in a file of such lines; false when it is not there. */
static bool line_of(const char *path, const char *key, char *out, size_t cap) {
  char line[256];
  bool found = false;
  FILE *f = fopen(path, "r");
  if (!f) return false;
  while (!found && fgets(line, sizeof line, f)) {
    const char *colon = strchr(line, ':');
    found = colon && strncmp(line, key, strlen(key)) == 0;
    if (!found) continue;
    colon += 1 + strspn(colon + 1, " \t");
    snprintf(out, cap, "%.*s", (int)strcspn(colon, "\n"), colon);
  }
  fclose(f);
  return found;
}

static const char *file_system(const char *path) {
  struct statfs s;
  if (statfs(path, &s) != 0) return "unknown";
  switch ((unsigned long)s.f_type) {
  case 0xef53: return "ext4";
  case 0x01021994: return "tmpfs";
  case 0x58465342: return "xfs";
  case 0x9123683e: return "btrfs";
  case 0x794c7630: return "overlayfs";
  default: return "another";
  }
}

void bench_machine(const bench *b, char out[256]) {
  char cpu[96] = "unknown processor";
  struct utsname u = {0};
  line_of("/proc/cpuinfo", "model name", cpu, sizeof cpu);
  uname(&u);
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
  snprintf(out, 256, "%s, %ld cores, %.1f GiB, %.16s %.48s, %s", cpu, cores, memory / (1u << 30),
           u.sysname, u.release, file_system(b->folder));
}

/* A child that has not become another program yet has our own memory. */
static bool is_own_program(long pid) {
  char path[64];
  char own[BENCH_PATH_LEN_MAX], other[BENCH_PATH_LEN_MAX];
  snprintf(path, sizeof path, "/proc/%ld/exe", pid);
  ssize_t len = readlink("/proc/self/exe", own, sizeof own);
  return len > 0 && readlink(path, other, sizeof other) == len &&
         memcmp(own, other, (size_t)len) == 0;
}

uint64_t bench_anonymous(long pid) {
  char path[64];
  char text[64] = "0";
  if (is_own_program(pid)) return 0;
  snprintf(path, sizeof path, "/proc/%ld/status", pid);
  if (!line_of(path, "RssAnon", text, sizeof text)) return 0;
  return strtoull(text, NULL, 10) * 1024;
}

double bench_processor(long pid) {
  char path[64];
  char text[1024];
  unsigned long user = 0;
  unsigned long system = 0;
  snprintf(path, sizeof path, "/proc/%ld/stat", pid);
  FILE *f = fopen(path, "r");
  size_t len = f ? fread(text, 1, sizeof text - 1, f) : 0;
  if (f) fclose(f);
  text[len] = 0;
  const char *at = strrchr(text, ')'); /* the name before it may hold anything */
  /* Behind the name: the state, ten numbers, then the times in ticks. */
  if (!at ||
      sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) {
    return 0;
  }
  return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

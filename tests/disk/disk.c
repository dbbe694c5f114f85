/* The disk under a program: file calls interposed. */
#define _DEFAULT_SOURCE /* syscall() */
#include "tests/disk/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static test_disk_faults faults;
static tape *running;

test_disk_faults *test_disk(void) { return &faults; }

static bool fails(void) {
  faults.calls++;
  if (faults.fail_at == 0) return false;
  return faults.sticky ? faults.calls >= faults.fail_at : faults.calls == faults.fail_at;
}

/* A call that leaves the bytes of files alone. */
static bool name_fails(void) {
  if (!faults.names || !fails()) return false;
  errno = faults.errnum == TEST_DISK_SHORT ? EIO : faults.errnum;
  return true;
}

/* --- the tape --- */

void *tape_wider(void *at, size_t *cap, size_t need, size_t size) {
  if (need <= *cap) return at;
  *cap = need * 2 + 64;
  void *wide = realloc(at, *cap * size);
  if (!wide) abort();
  return wide;
}

void tape_reset(tape *t, const char *root) {
  t->count = t->len = t->file_count = t->name_count = 0;
  snprintf(t->root, sizeof t->root, "%s", root);
}

void tape_free(tape *t) {
  free(t->events);
  free(t->bytes);
  memset(t, 0, sizeof *t);
}

void tape_run(tape *t) { running = t; }

static tape_event *event_add(tape *t, tape_kind kind) {
  t->events = tape_wider(t->events, &t->cap, t->count + 1, sizeof *t->events);
  tape_event *e = &t->events[t->count++];
  memset(e, 0, sizeof *e);
  e->kind = kind;
  return e;
}

void tape_mark(tape *t, uint64_t what) { event_add(t, TAPE_MARK)->offset = what; }

uint32_t tape_name(tape *t, const char *name) {
  uint32_t i = 0;
  while (i < t->name_count && strcmp(t->names[i], name) != 0) i++;
  if (i < t->name_count) return i;
  if (i == TAPE_NAMES_MAX || strlen(name) >= TAPE_NAME_LEN) abort();
  snprintf(t->names[i], TAPE_NAME_LEN, "%s", name);
  t->name_count++;
  return i;
}

static uint32_t file_find(const tape *t, const struct stat *st) {
  uint32_t i = (uint32_t)t->file_count;
  while (i > 0 && (t->files[i - 1].dev != st->st_dev || t->files[i - 1].ino != st->st_ino)) i--;
  return i > 0 ? i - 1 : UINT32_MAX;
}

static uint32_t file_add(tape *t, const struct stat *st) {
  if (t->file_count == TAPE_FILES_MAX) abort();
  t->files[t->file_count].dev = st->st_dev;
  t->files[t->file_count].ino = st->st_ino;
  return (uint32_t)t->file_count++;
}

uint32_t tape_know(tape *t, const char *name) {
  char path[400];
  struct stat st;
  snprintf(path, sizeof path, "%s/%s", t->root, name);
  if (stat(path, &st) != 0) abort();
  tape_name(t, name);
  return file_add(t, &st);
}

/* The number of the file behind `fd`, when it is on the running tape. */
static bool taped(int fd, uint32_t *file) {
  struct stat st;
  int saved = errno;
  bool found = running && fstat(fd, &st) == 0;
  if (found) *file = file_find(running, &st);
  errno = saved;
  return found && *file != UINT32_MAX;
}

/* The part of `path` below the root, NULL when it is left out. */
static const char *below(const char *path) {
  size_t len = running ? strlen(running->root) : 0;
  if (!running || strncmp(path, running->root, len) != 0 || path[len] != '/') return NULL;
  size_t all = strlen(path);
  return all >= 4 && strcmp(path + all - 4, "lock") == 0 ? NULL : path + len + 1;
}

static void note_bytes(int fd, const void *at, size_t len, off_t offset) {
  uint32_t file;
  if (len == 0 || !taped(fd, &file)) return;
  bool durable = fcntl(fd, F_GETFL) & O_DSYNC;
  tape *t = running;
  tape_event *e = event_add(t, durable ? TAPE_DURABLE_WRITE : TAPE_WRITE);
  e->file = file;
  e->offset = (uint64_t)offset;
  e->at = t->len;
  e->len = len;
  t->bytes = tape_wider(t->bytes, &t->bytes_cap, t->len + len, 1);
  memcpy(t->bytes + t->len, at, len);
  t->len += len;
}

static void note_name(tape_kind kind, const char *name, const char *to, uint32_t file) {
  if (!name || (kind == TAPE_RENAME && !to)) return;
  uint32_t from = tape_name(running, name);
  uint32_t other = to ? tape_name(running, to) : 0;
  tape_event *e = event_add(running, kind);
  e->name = from;
  e->to = other;
  e->file = file;
}

static void note_length(uint32_t file, off_t len) {
  tape_event *e = event_add(running, TAPE_LENGTH);
  e->file = file;
  e->offset = (uint64_t)len;
}

/* Of a folder below the root, or of the root: its name is "". */
static void note_folder_sync(int fd) {
  char link[64], path[400];
  size_t len = strlen(running->root);
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t got = readlink(link, path, sizeof path - 1);
  if (got < (ssize_t)len || memcmp(path, running->root, len) != 0) return;
  path[got] = 0;
  uint32_t name = tape_name(running, path[len] == '/' ? path + len + 1 : "");
  event_add(running, TAPE_FOLDER_SYNC)->name = name;
}

static void note_created(const char *path) {
  struct stat st;
  const char *name = below(path);
  if (name && stat(path, &st) == 0) note_name(TAPE_CREATE, name, NULL, file_add(running, &st));
}

/* --- the calls --- */

int open(const char *path, int flags, ...) {
  mode_t mode = 0;
  if (flags & O_CREAT) {
    va_list args;
    va_start(args, flags);
    mode = (mode_t)va_arg(args, unsigned);
    va_end(args);
  }
  if (name_fails()) return -1;
  bool taping = running && flags & O_CREAT && below(path);
  bool there = taping && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
  uint32_t file;
  if (fd >= 0 && taping && !there) note_created(path);
  if (fd >= 0 && there && flags & O_TRUNC && taped(fd, &file)) note_length(file, 0);
  return fd;
}

ssize_t read(int fd, void *at, size_t len) {
  return name_fails() ? -1 : syscall(SYS_read, fd, at, len);
}

ssize_t pread(int fd, void *at, size_t len, off_t offset) {
  return name_fails() ? -1 : syscall(SYS_pread64, fd, at, len, offset);
}

ssize_t pwrite(int fd, const void *at, size_t len, off_t offset) {
  bool bad = fails();
  if (bad && faults.errnum != TEST_DISK_SHORT) {
    errno = faults.errnum;
    return -1;
  }
  ssize_t done = syscall(SYS_pwrite64, fd, at, bad ? len / 2 : len, offset);
  if (done > 0) note_bytes(fd, at, (size_t)done, offset);
  return done;
}

ssize_t write(int fd, const void *at, size_t len) {
  struct stat st;
  bool file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
  if (!file) return syscall(SYS_write, fd, at, len);
  bool bad = fails();
  if (bad && faults.errnum != TEST_DISK_SHORT) {
    errno = faults.errnum;
    return -1;
  }
  off_t offset = running ? lseek(fd, 0, SEEK_CUR) : 0;
  ssize_t done = syscall(SYS_write, fd, at, bad ? len / 2 : len);
  if (done > 0) note_bytes(fd, at, (size_t)done, offset);
  return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  bool bad = fails();
  if (bad && faults.errnum != TEST_DISK_SHORT) {
    errno = faults.errnum;
    return -1;
  }
  if (bad) return syscall(SYS_write, fd, parts[0].iov_base, parts[0].iov_len / 2);
  off_t offset = running ? lseek(fd, 0, SEEK_CUR) : 0;
  ssize_t done = syscall(SYS_writev, fd, parts, count);
  for (int i = 0; running && done > 0 && i < count; i++) {
    note_bytes(fd, parts[i].iov_base, parts[i].iov_len, offset);
    offset += (off_t)parts[i].iov_len;
  }
  return done;
}

static int sync_call(long number, int fd) {
  struct stat st;
  uint32_t file;
  if (fails()) {
    errno = faults.errnum == TEST_DISK_SHORT ? EIO : faults.errnum;
    return -1;
  }
  int rc = (int)syscall(number, fd);
  if (rc != 0 || !running) return rc;
  if (taped(fd, &file) && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
    event_add(running, TAPE_SYNC)->file = file;
  } else {
    note_folder_sync(fd);
  }
  return rc;
}

int fdatasync(int fd) { return sync_call(SYS_fdatasync, fd); }
int fsync(int fd) { return sync_call(SYS_fsync, fd); }

int rename(const char *from, const char *to) {
  if (name_fails()) return -1;
  struct stat st;
  int rc = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
  bool known = rc == 0 && running && stat(to, &st) == 0;
  uint32_t file = known ? file_find(running, &st) : UINT32_MAX;
  if (file != UINT32_MAX) note_name(TAPE_RENAME, below(from), below(to), file);
  return rc;
}

int unlink(const char *path) {
  if (name_fails()) return -1;
  int rc = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
  if (rc == 0 && running) note_name(TAPE_REMOVE, below(path), NULL, 0);
  return rc;
}

int mkdir(const char *path, mode_t mode) {
  if (name_fails()) return -1;
  int rc = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
  if (rc == 0) note_created(path);
  return rc;
}

int ftruncate(int fd, off_t len) {
  uint32_t file;
  if (name_fails()) return -1;
  int rc = (int)syscall(SYS_ftruncate, fd, len);
  if (rc == 0 && taped(fd, &file)) note_length(file, len);
  return rc;
}

int truncate(const char *path, off_t len) {
  struct stat st;
  if (name_fails()) return -1;
  int rc = (int)syscall(SYS_truncate, path, len);
  bool known = rc == 0 && running && stat(path, &st) == 0;
  uint32_t file = known ? file_find(running, &st) : UINT32_MAX;
  if (file != UINT32_MAX) note_length(file, len);
  return rc;
}

#include "cli/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crdt/buf.h"
#include "crdt/crypto.h"
#include "store/folder.h"

static weft_err err_of(int sys) {
  return sys == ENOTDIR ? WEFT_ENOSTORE : weft__err_from_errno(sys);
}

static weft_err err_of_errno(void) { return err_of(errno); }

weft_err cli_stream_read(weft_arena *arena, int fd, size_t max, weft_bytes *out) {
  weft_buf b;
  weft__buf_init(&b, &arena->mem, max);
  weft_err err = WEFT_OK;
  uint8_t piece[1 << 14];
  for (;;) {
    ssize_t got = read(fd, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) err = WEFT_EIO;
    if (got <= 0) break;
    weft__buf_put_raw(&b, piece, (size_t)got);
    err = weft__buf_err(&b);
    if (err != WEFT_OK) break;
  }
  const weft_crypto *crypto = weft_crypto_sodium();
  if (crypto) crypto->wipe(piece, sizeof piece); /* it may have been a secret */
  if (err == WEFT_OK) err = weft__arena_copy(arena, weft__buf_view(&b), out);
  weft__buf_free(&b);
  return err;
}

static bool permissions_ok(int fd, bool secret) {
  struct stat st;
  if (fstat(fd, &st) != 0) return false;
  mode_t forbidden = secret ? S_IRWXG | S_IRWXO : S_IWGRP | S_IWOTH;
  return S_ISREG(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & forbidden) == 0;
}

weft_err cli_file_read(weft_arena *arena, const char *path, size_t max, bool own, bool secret,
                       weft_bytes *out) {
  /* A pipe put in the place of an own file must not make us wait. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | (own ? O_NOFOLLOW | O_NONBLOCK : 0));
  if (fd < 0) return own && errno == ELOOP ? WEFT_EDENIED : err_of_errno();
  weft_err err = WEFT_OK;
  if (own && !permissions_ok(fd, secret)) err = WEFT_EDENIED;
  if (err == WEFT_OK) err = cli_stream_read(arena, fd, max, out);
  close(fd);
  return err;
}

static weft_err write_all(int fd, weft_bytes bytes) {
  for (size_t at = 0; at < bytes.len;) {
    ssize_t put = write(fd, bytes.at + at, bytes.len - at);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return err_of_errno();
    at += (size_t)put;
  }
  return fsync(fd) == 0 ? WEFT_OK : err_of_errno();
}

static weft_err sync_folder_of(const char *path) {
  char folder[4096];
  const char *what;
  if (strlen(path) > sizeof folder - 2) return WEFT_ELIMIT;
  weft__folder_of(folder, path);
  int sys = weft__folder_sync(folder, &what);
  return sys == 0 ? WEFT_OK : err_of(sys);
}

weft_err cli_file_write(const char *path, weft_bytes bytes) {
  char fresh[4096];
  int len = snprintf(fresh, sizeof fresh, "%s.new", path);
  if (len < 0 || (size_t)len >= sizeof fresh) return WEFT_ELIMIT;
  int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return err_of_errno();
  weft_err err = write_all(fd, bytes);
  if (close(fd) != 0 && err == WEFT_OK) err = err_of_errno();
  if (err == WEFT_OK && rename(fresh, path) != 0) err = err_of_errno();
  if (err != WEFT_OK) {
    unlink(fresh);
    return err;
  }
  return sync_folder_of(path);
}

weft_err cli_file_rename(const char *from, const char *to) {
  return rename(from, to) == 0 ? sync_folder_of(to) : err_of_errno();
}

weft_err cli_file_lock(const char *path, int *lock) {
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return err_of_errno();
  int rc;
  do rc = flock(fd, LOCK_EX);
  while (rc != 0 && errno == EINTR);
  if (rc == 0) {
    *lock = fd;
    return WEFT_OK;
  }
  weft_err err = err_of_errno();
  close(fd);
  return err;
}

void cli_file_unlock(int lock) { close(lock); }

weft_err cli_folder_make(const char *path) {
  char part[4096];
  size_t len = strlen(path);
  if (len == 0 || len >= sizeof part) return WEFT_ELIMIT;
  memcpy(part, path, len + 1);
  for (size_t i = 1; i <= len; i++) {
    if (part[i] != '/' && part[i] != 0) continue;
    char end = part[i];
    part[i] = 0;
    bool made = mkdir(part, 0700) == 0;
    if (!made && errno == ENOTDIR) return WEFT_EEXIST;
    if (!made && errno != EEXIST) {
      weft_err err = err_of_errno();
      return err == WEFT_ENOSTORE ? WEFT_EREADONLY : err;
    }
    if (made) WEFT_TRY(sync_folder_of(part));
    part[i] = end;
  }
  struct stat st;
  if (stat(path, &st) != 0) return err_of_errno();
  return S_ISDIR(st.st_mode) ? WEFT_OK : WEFT_EEXIST;
}

weft_err cli_path_join(char *out, size_t cap, const char *a, const char *b) {
  int len = snprintf(out, cap, "%s/%s", a, b);
  return len >= 0 && (size_t)len < cap ? WEFT_OK : WEFT_ELIMIT;
}

/* The incarnation mirror as a file.  Layout: docs/disk.md, "The mirror".
 *
 * Invariant: the file under its name is whole, because a new one is written beside it, synced and
 * renamed, and the folder synced.  It ends with a hash of everything before, so a torn or edited
 * file is damaged and never misread.
 * Its late part, NAME.late, has the same bytes and is written in place without a sync: it outlives
 * the process that wrote it, and after a power cut it may be old or torn, and counts for nothing
 * then.
 *
 * Failure modes: every error leaves the earlier file; the one beside it is written anew next time.
 * Nothing here allocates. */
#include "store/mirror.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crdt/buf.h"
#include "crdt/canary.h"
#include "store/folder.h"
#include "store/outcome.h"

enum {
  path_max = 4096,
  name_ids_len = 16, /* bytes of each id in a file's name; the whole ids stand inside */
  mirror_version = 1,
  head_len = 8 + 4 + 32 + 32 + WEFT_MIRROR_INCARNATION_LEN + 32 + 8 + 8 + 1,
  lane_len = 1 + 8 + 32,
  hash_len = 32,
  file_max = head_len + WEFT_MIRROR_LANES_MAX * lane_len + hash_len,
};

static const uint8_t magic[8] = {'w', 'e', 'f', 't', 'm', 'i', 'r', 'r'};
static const uint8_t personal_file[16] = "weft-mirror-v1";
static const uint8_t personal_machine[16] = "weft-machine-v1";

typedef struct mirror_paths {
  char file[path_max];
  char fresh[path_max];
  char late[path_max + 1]; /* one byte longer than the name that was measured */
} mirror_paths;

const char *weft__mirror_verdict_str(weft_mirror_verdict verdict) {
  switch (verdict) {
#define VERDICT_TEXT(name, text)                                                                   \
  case WEFT_MIRROR_##name: return text;
    WEFT_MIRROR_VERDICTS(VERDICT_TEXT)
#undef VERDICT_TEXT
  }
  return "unknown verdict"; /* defensive: the switch is whole */
}

/* --- errors --- */

static weft_err tell(weft_diag *d, weft_err err, int sys, const char *text) {
  if (!d) return err;
  memset(d, 0, sizeof *d);
  d->err = err;
  d->sys = sys;
  snprintf(d->text, sizeof d->text, "mirror: %s", text);
  return err;
}

static weft_err tell_errno(weft_diag *d, const char *what) {
  int sys = errno;
  return tell(d, weft__err_from_errno(sys), sys, what);
}

/* --- bytes --- */

static weft_id hash_of(const weft_crypto *crypto, weft_bytes bytes, const uint8_t *personal) {
  weft_id out;
  static const weft_bytes no_key = {NULL, 0};
  crypto->hash(out.b, sizeof out.b, no_key, NULL, personal, &bytes, 1);
  return out;
}

weft_id weft__mirror_machine(const weft_crypto *crypto, weft_bytes name) {
  return hash_of(crypto, name, personal_machine);
}

/* A writer over a fixed buffer that is large enough by its type. */
typedef struct mirror_image {
  uint8_t b[file_max];
  size_t len;
} mirror_image;

static void image_put(mirror_image *i, const void *at, size_t len) {
  memcpy(i->b + i->len, at, len);
  i->len += len;
}

static void image_u64(mirror_image *i, uint64_t v) {
  for (int shift = 56; shift >= 0; shift -= 8) i->b[i->len++] = (uint8_t)(v >> shift);
}

static void mirror_encode(const weft_crypto *crypto, const weft_mirror *m, mirror_image *i) {
  static const uint8_t version[4] = {0, 0, 0, mirror_version};
  i->len = 0;
  image_put(i, magic, sizeof magic);
  image_put(i, version, sizeof version);
  image_put(i, m->space.b, sizeof m->space.b);
  image_put(i, m->device.b, sizeof m->device.b);
  image_put(i, m->incarnation, sizeof m->incarnation);
  image_put(i, m->machine.b, sizeof m->machine.b);
  image_u64(i, m->store_dev);
  image_u64(i, m->store_ino);
  i->b[i->len++] = (uint8_t)m->lane_count;
  for (size_t n = 0; n < m->lane_count; n++) {
    i->b[i->len++] = m->lanes[n].lane;
    image_u64(i, m->lanes[n].seq);
    image_put(i, m->lanes[n].id.b, sizeof m->lanes[n].id.b);
  }
  weft_id hash = hash_of(crypto, weft_bytes_of(i->b, i->len), personal_file);
  image_put(i, hash.b, sizeof hash.b);
}

static weft_err mirror_decode(const weft_crypto *crypto, const mirror_image *i, weft_mirror *m) {
  if (i->len < head_len + hash_len) return WEFT_ECORRUPT;
  weft_bytes body = weft_bytes_of(i->b, i->len - hash_len);
  weft_id hash = hash_of(crypto, body, personal_file);
  if (memcmp(hash.b, i->b + body.len, hash_len) != 0) return WEFT_ECORRUPT;
  weft_rd r = weft__rd(body);
  if (memcmp(weft__rd_take(&r, sizeof magic).at, magic, sizeof magic) != 0) return WEFT_ECORRUPT;
  if (weft__rd_u32(&r) != mirror_version) return WEFT_EVERSION;
  memset(m, 0, sizeof *m);
  m->space = weft__rd_id(&r);
  m->device = weft__rd_id(&r);
  memcpy(m->incarnation, weft__rd_take(&r, sizeof m->incarnation).at, sizeof m->incarnation);
  m->machine = weft__rd_id(&r);
  m->store_dev = weft__rd_u64(&r);
  m->store_ino = weft__rd_u64(&r);
  m->lane_count = weft__rd_u8(&r);
  if (m->lane_count > WEFT_MIRROR_LANES_MAX) return WEFT_ECORRUPT;
  for (size_t n = 0; n < m->lane_count; n++) {
    m->lanes[n].lane = weft__rd_u8(&r);
    m->lanes[n].seq = weft__rd_u64(&r);
    m->lanes[n].id = weft__rd_id(&r);
  }
  return weft__rd_done(&r) ? WEFT_OK : WEFT_ECORRUPT;
}

/* --- files --- */

static char *put_hex(char *out, const uint8_t *b, size_t len) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < len; i++) {
    *out++ = digits[b[i] >> 4];
    *out++ = digits[b[i] & 15];
  }
  return out;
}

static weft_err paths_make(const char *dir, const weft_mirror *m, mirror_paths *p, weft_diag *d) {
  char name[3 * 2 * name_ids_len + 3];
  char *at = put_hex(name, m->space.b, name_ids_len);
  *at++ = '-';
  at = put_hex(at, m->device.b, name_ids_len);
  *at++ = '-';
  at = put_hex(at, m->incarnation, WEFT_MIRROR_INCARNATION_LEN);
  *at = '\0';
  int len = snprintf(p->fresh, sizeof p->fresh, "%s/%s.new", dir, name);
  if (dir[0] == '\0' || len < 0 || (size_t)len >= sizeof p->fresh) {
    return tell(d, WEFT_ELIMIT, 0, "path too long or empty");
  }
  snprintf(p->file, sizeof p->file, "%s/%s", dir, name);
  snprintf(p->late, sizeof p->late, "%s/%s.late", dir, name);
  return WEFT_OK;
}

static weft_err folder_sync(const char *dir, weft_diag *d) {
  const char *what;
  int sys = weft__folder_sync(dir, &what);
  return sys == 0 ? WEFT_OK : tell(d, weft__err_from_errno(sys), sys, what);
}

/* Makes the folder when it is missing, so that it survives a power cut: `room` has path_max bytes.
 */
static weft_err folder_make(const char *dir, char *room, weft_diag *d) {
  if (mkdir(dir, 0700) != 0) return errno == EEXIST ? WEFT_OK : tell_errno(d, "make the folder");
  size_t len = strlen(dir); /* fits: paths_make has put more behind it */
  while (len > 1 && dir[len - 1] == '/') len--;
  while (len > 0 && dir[len - 1] != '/') len--;
  while (len > 1 && dir[len - 1] == '/') len--;
  memcpy(room, len > 0 ? dir : ".", len > 0 ? len : 1);
  room[len > 0 ? len : 1] = 0;
  return folder_sync(room, d);
}

static weft_err write_whole(int fd, const mirror_image *i, weft_diag *d) {
  size_t done = 0;
  while (done < i->len) {
    ssize_t n = write(fd, i->b + done, i->len - done);
    if (n <= 0) return tell_errno(d, "write");
    done += (size_t)n;
  }
  return WEFT_OK;
}

weft_err weft__mirror_save(const weft_crypto *crypto, const char *dir, const weft_mirror *m,
                           weft_diag *diag) {
  mirror_paths p;
  mirror_image image;
  tell(diag, WEFT_OK, 0, "");
  if (m->lane_count > WEFT_MIRROR_LANES_MAX) return tell(diag, WEFT_ELIMIT, 0, "too many lanes");
  WEFT_TRY(paths_make(dir, m, &p, diag));
  mirror_encode(crypto, m, &image);
  char above[path_max];
  WEFT_TRY(folder_make(dir, above, diag));
  int fd = open(p.fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return tell_errno(diag, "open");
  weft_err err = write_whole(fd, &image, diag);
  if (err == WEFT_OK && fsync(fd) != 0) err = tell_errno(diag, "sync");
  close(fd);
  if (err == WEFT_OK && rename(p.fresh, p.file) != 0) err = tell_errno(diag, "rename");
  return err == WEFT_OK ? folder_sync(dir, diag) : err;
}

void weft__mirror_late(const weft_crypto *crypto, const char *dir, const weft_mirror *m,
                       int *file) {
  mirror_paths p;
  mirror_image image;
  if (m->lane_count > WEFT_MIRROR_LANES_MAX || paths_make(dir, m, &p, NULL) != WEFT_OK) return;
  mirror_encode(crypto, m, &image);
  if (*file < 0) *file = open(p.late, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (*file >= 0 && pwrite(*file, image.b, image.len, 0) != (ssize_t)image.len) {
    weft__mirror_late_end(file);
  }
}

void weft__mirror_late_end(int *file) {
  if (*file >= 0) close(*file);
  *file = -1;
}

/* One byte more than a mirror can have is asked for, so that a longer file is noticed. */
static weft_err read_whole(const char *path, mirror_image *i, weft_diag *d) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 && errno == ENOENT) return WEFT_ENOTFOUND;
  if (fd < 0) return tell_errno(d, "open");
  uint8_t b[file_max + 1];
  size_t len = 0;
  ssize_t n = 1;
  while (n > 0 && len < sizeof b) {
    n = read(fd, b + len, sizeof b - len);
    if (n > 0) len += (size_t)n;
  }
  weft_err err = n < 0 ? tell_errno(d, "read") : WEFT_OK;
  close(fd);
  if (err == WEFT_OK && len > file_max) err = tell(d, WEFT_ECORRUPT, 0, "too long");
  i->len = len > file_max ? 0 : len;
  memcpy(i->b, b, i->len);
  return err;
}

static weft_err load(const weft_crypto *crypto, const char *path, weft_mirror *m, weft_diag *diag) {
  mirror_image image;
  image.len = 0;
  weft_mirror read;
  WEFT_TRY(read_whole(path, &image, diag));
  weft_err err = mirror_decode(crypto, &image, &read);
  if (err == WEFT_EVERSION) return tell(diag, err, 0, "written by a newer version");
  if (err != WEFT_OK) return tell(diag, err, 0, "damaged");
  bool ours = weft_id_cmp(&read.space, &m->space) == 0 &&
              weft_id_cmp(&read.device, &m->device) == 0 &&
              memcmp(read.incarnation, m->incarnation, sizeof read.incarnation) == 0;
  if (!ours) return tell(diag, WEFT_ECORRUPT, 0, "belongs to another log");
  *m = read;
  return WEFT_OK;
}

weft_err weft__mirror_load(const weft_crypto *crypto, const char *dir, weft_mirror *m,
                           weft_diag *diag) {
  mirror_paths p;
  tell(diag, WEFT_OK, 0, "");
  WEFT_TRY(paths_make(dir, m, &p, diag));
  return load(crypto, p.file, m, diag);
}

/* --- the verdict --- */

weft_err weft__mirror_compare(const weft_mirror *mirror, const weft_mirror *now,
                              weft_mirror_holds holds, void *ctx, weft_mirror_verdict *verdict) {
  *verdict = WEFT_MIRROR_SAME;
  if (WEFT_CANARY(MIRROR_BLIND)) return WEFT_OK;
  *verdict = WEFT_MIRROR_MOVED;
  bool here = weft_id_cmp(&mirror->machine, &now->machine) == 0 &&
              mirror->store_dev == now->store_dev && mirror->store_ino == now->store_ino;
  if (!here) return WEFT_OK;
  *verdict = WEFT_MIRROR_BEHIND;
  for (size_t i = 0; i < mirror->lane_count; i++) {
    weft_err err = holds(ctx, &mirror->lanes[i]);
    if (err != WEFT_OK) return weft__if_any(err);
  }
  *verdict = WEFT_MIRROR_SAME;
  return WEFT_OK;
}

weft_err weft__mirror_check(const weft_crypto *crypto, const char *dir, const weft_mirror *now,
                            weft_mirror_holds holds, void *ctx, weft_mirror_verdict *verdict,
                            weft_diag *diag) {
  weft_mirror mirror = *now;
  weft_err err = weft__mirror_load(crypto, dir, &mirror, diag);
  switch ((int)err) {
  case WEFT_OK: break;
  case WEFT_ENOTFOUND: *verdict = WEFT_MIRROR_MISSING; return WEFT_OK;
  case WEFT_ECORRUPT:
  case WEFT_EVERSION: *verdict = WEFT_MIRROR_DAMAGED; return WEFT_OK;
  default: *verdict = WEFT_MIRROR_DAMAGED; return err;
  }
  WEFT_TRY(weft__mirror_compare(&mirror, now, holds, ctx, verdict));
  mirror_paths p;
  WEFT_TRY(paths_make(dir, now, &p, diag));
  weft_mirror late = *now;
  if (*verdict != WEFT_MIRROR_SAME || load(crypto, p.late, &late, NULL) != WEFT_OK) return WEFT_OK;
  return weft__mirror_compare(&late, now, holds, ctx, verdict);
}

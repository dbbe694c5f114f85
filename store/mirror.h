/* The incarnation mirror: a small file outside the store that remembers what the store once held of
 * this device's own logs.
 *
 * A device must not sign two different changes for one place of its log.  It would, if it went on
 * with a store that was set back (a restored backup) or that is a copy beside the original (a
 * cloned disk, a copied folder).  The store cannot tell by itself; a file that did not travel with
 * it can. There is one file per (space, device, incarnation), so a copy does not fight the
 * original.
 *
 * Happy path: at start weft__mirror_check says SAME, and the log goes on; after each commit and
 * never before it weft__mirror_late, before anybody hears of the commit; at most once a second and
 * at close weft__mirror_save in its place.  With any other verdict
 * the device starts a new incarnation before its next write: that rule is the replica's. */
#ifndef WEFT_STORE_MIRROR_H
#define WEFT_STORE_MIRROR_H

#include "crdt/crypto.h"
#include "crdt/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { WEFT_MIRROR_LANES_MAX = 16, WEFT_MIRROR_INCARNATION_LEN = 16 };

/* The newest change of one own log. */
typedef struct weft_mirror_lane {
  uint8_t lane;
  uint64_t seq;
  weft_id id;
} weft_mirror_lane;

/* One file's contents, or what stands now. */
typedef struct weft_mirror {
  weft_id space;
  weft_id device;
  uint8_t incarnation[WEFT_MIRROR_INCARNATION_LEN];
  weft_id machine;    /* a hash: weft__mirror_machine */
  uint64_t store_dev; /* device and inode number of the store file */
  uint64_t store_ino;
  size_t lane_count;
  weft_mirror_lane lanes[WEFT_MIRROR_LANES_MAX];
} weft_mirror;

#define WEFT_MIRROR_VERDICTS(X)                                                                    \
  X(SAME, "the store is where and what it was")                                                    \
  X(MISSING, "there is no mirror")                                                                 \
  X(BEHIND, "the store lacks changes that it once held")                                           \
  X(MOVED, "the store lies on another machine, device or inode")                                   \
  X(DAMAGED, "the mirror is damaged")

typedef enum weft_mirror_verdict {
#define WEFT_MIRROR_ENUM(name, text) WEFT_MIRROR_##name,
  WEFT_MIRROR_VERDICTS(WEFT_MIRROR_ENUM)
#undef WEFT_MIRROR_ENUM
} weft_mirror_verdict;

/* Gives the static English text of a verdict.  Any thread. */
const char *weft__mirror_verdict_str(weft_mirror_verdict verdict);

/* Answers whether the store holds `lane->id` at `lane->seq` of that own log: WEFT_OK,
 * WEFT_ENOTFOUND, or the error that kept it from finding out. */
typedef weft_err (*weft_mirror_holds)(void *ctx, const weft_mirror_lane *lane);

/* Hashes what names a machine, such as the text of /etc/machine-id, which is not to be spread as it
 * is.  Any thread. */
weft_id weft__mirror_machine(const weft_crypto *crypto, weft_bytes name);

/* Writes `m` in place of an earlier file of the same (space, device, incarnation) in the folder
 * `dir`, which is made when its parent exists.  Synced when it returns; after a crash either file
 * is there, whole.  One caller at a time per file.  `diag` may be NULL. WEFT_ENOSTORE: the parent
 * of `dir` is missing.  WEFT_EREADONLY, WEFT_EFULL, WEFT_ELIMIT (path too long, too many lanes),
 * WEFT_EIO: the earlier file, if any, still stands. */
weft_err weft__mirror_save(const weft_crypto *crypto, const char *dir, const weft_mirror *m,
                           weft_diag *diag) WEFT_MUST_USE;

/* Writes `m` beside that file without a sync: a few microseconds, in place of weft__mirror_save
 * between two of those.  It holds against the end of the process at any moment; after a power cut
 * it may be gone.  Where it cannot be written the mirror lags.  `*file` is -1 at first and then a
 * descriptor for calls with the same key, until weft__mirror_late_end.  Never fails. */
void weft__mirror_late(const weft_crypto *crypto, const char *dir, const weft_mirror *m, int *file);
/* Closes what weft__mirror_late keeps open. */
void weft__mirror_late_end(int *file);

/* Reads the file of m->space, m->device and m->incarnation into the rest of `m`, which changes only
 * on WEFT_OK.  `diag` may be NULL.
 * WEFT_ENOTFOUND: there is none.  WEFT_ECORRUPT: damaged, or another's.  WEFT_EVERSION: written by
 * a newer version.  WEFT_EREADONLY: no permission.  WEFT_ELIMIT, WEFT_EIO. */
weft_err weft__mirror_load(const weft_crypto *crypto, const char *dir, weft_mirror *m,
                           weft_diag *diag) WEFT_MUST_USE;

/* Compares what a mirror says with what stands `now` (its lanes are not looked at): MOVED before
 * BEHIND before SAME.  `holds` is asked for every lane of the mirror until one is missing.
 * Any error of `holds`; `*verdict` is then BEHIND. */
weft_err weft__mirror_compare(const weft_mirror *mirror, const weft_mirror *now,
                              weft_mirror_holds holds, void *ctx,
                              weft_mirror_verdict *verdict) WEFT_MUST_USE;

/* Loads and compares; what was written late counts where it is whole.  A file that is missing,
 * damaged or of a newer version is a verdict, no error. Errors as weft__mirror_load and `holds`;
 * `*verdict` is then not SAME. */
weft_err weft__mirror_check(const weft_crypto *crypto, const char *dir, const weft_mirror *now,
                            weft_mirror_holds holds, void *ctx, weft_mirror_verdict *verdict,
                            weft_diag *diag) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

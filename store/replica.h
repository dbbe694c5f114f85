/* The replica: one device's copy of one space, the first of the two doors an application needs.
 *
 * It owns a store, the logs in it and the state made from them:
 *   commit  own writes become one signed change, durable and shown when the call returns;
 *   hold    changes of others enter their logs, durable when the call returns;
 *   show    what is held and settled becomes visible, in larger batches;
 *   read    documents, lists, history, conflicts, each from one snapshot.
 *
 * A replica is used from one thread at a time.  Nothing here calls back into the caller, except the
 * platform table, which must not call the replica.  Views returned live in the arena given, unless
 * said otherwise.  After WEFT_EIO, WEFT_ECORRUPT or WEFT_EFULL from a write, nothing of that write
 * is in the store; after WEFT_EIO every later write fails with it until the replica is opened
 * again. */
#ifndef WEFT_REPLICA_H
#define WEFT_REPLICA_H

#include "../crdt/change.h"
#include "../crdt/digest.h"
#include "../crdt/doc.h"
#include "../crdt/identity.h"
#include "../crdt/metrics.h"
#include "../crdt/roster.h"
#include "../crdt/value.h"
#include "../crdt/vector.h"
#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_replica weft_replica;
typedef struct weft_edit weft_edit;

/* What a replica wants from the outside world.  The simulator fills it with its own. */
typedef struct weft_platform {
  void *ctx;
  weft_ms (*wall_ms)(void *ctx);                     /* since 1970; may jump */
  void (*entropy)(void *ctx, void *out, size_t len); /* unpredictable bytes */
} weft_platform;

typedef struct weft_replica_options {
  size_t struct_size;
  weft_alloc mem;
  const weft_crypto *crypto;
  weft_platform platform;
  const weft_identity *identity; /* copied */
  weft_id space;
  weft_store *store;      /* taken: freed with the replica */
  const char *mirror_dir; /* folder of the incarnation mirror, outside the store; NULL: none kept
                             (every open then starts a new incarnation before its first write) */
  weft_bytes machine;     /* what names this machine, e.g. /etc/machine-id; copied */
  uint64_t store_dev;     /* device and inode of the store file, 0 for memory */
  uint64_t store_ino;
  weft_metrics *metrics; /* counted in; borrowed until the replica is freed; NULL: none */
} weft_replica_options;

#define weft_replica_options_init(o) weft_replica_options_init_sized((o), sizeof *(o))
/* Fills in defaults: libc allocator, libsodium, everything else empty. */
WEFT_API void weft_replica_options_init_sized(weft_replica_options *o, size_t struct_size);

/* Opens the replica of `space` in the store, which may be new (then it is initialised for that
 * space). Rebuilds what a crash left half shown.  On error the store is still the caller's.
 * WEFT_EFOREIGN: the store is of another space; WEFT_EVERSION; WEFT_ECORRUPT; WEFT_EIO;
 * WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_open(weft_replica **out,
                                    const weft_replica_options *o) WEFT_MUST_USE;
/* Closes: writes the mirror, closes the store.  NULL-safe.  Drops open edits. */
WEFT_API void weft_replica_free(weft_replica *r);
/* Makes what the incarnation mirror says of the last commits outlast a power cut, where it does not
 * yet; nothing to do costs nothing.  That follows commits at most once a second, so whoever keeps a
 * replica open calls this a second after a commit: else, after a power cut, a store set back to a
 * copy of that second passes for the newest one.  A mirror that cannot be written stays behind.
 * Never fails. */
WEFT_API void weft_replica_settle(weft_replica *r);
/* What the last error of `r` was about, one English clause; "" when there is none.  View until the
 * next call. */
WEFT_API const char *weft_replica_error(const weft_replica *r);

/* The space's id; a view until free. */
WEFT_API const weft_id *weft_replica_space(const weft_replica *r);
/* The device's hybrid clock now.  It goes back only with a system clock that was far ahead of what
 * it is now. */
WEFT_API uint64_t weft_replica_clock(const weft_replica *r);

/* --- membership --- */

/* Holds one signed membership record, in one synced transaction.  WEFT_EEXIST: held already;
 * WEFT_EMALFORMED, WEFT_EBADSIG, WEFT_EFOREIGN, WEFT_EGAP: a dependency is missing (kept nowhere).
 */
WEFT_API weft_err weft_replica_add_record(weft_replica *r, weft_bytes record) WEFT_MUST_USE;
/* The roster of all records held.  View until the next add_record. */
WEFT_API const weft_roster *weft_replica_roster(const weft_replica *r);
/* Reads a held record; view in `arena`. WEFT_ENOTFOUND. */
WEFT_API weft_err weft_replica_record(weft_replica *r, weft_arena *arena, const weft_id *id,
                                      weft_bytes *out) WEFT_MUST_USE;
/* Lists the ids of all records held, in an order in which dependencies come first. */
WEFT_API weft_err weft_replica_records(weft_replica *r, weft_arena *arena, weft_id **ids,
                                       size_t *count) WEFT_MUST_USE;

/* --- local edits --- */

typedef struct weft_edit_options {
  size_t struct_size;
  weft_bytes message;      /* UTF-8, up to WEFT_MESSAGE_LEN_MAX; copied */
  weft_lane lane;          /* WEFT_LANE_NORMAL by default */
  const weft_vector *base; /* the shown vector the decision rests on; NULL: now; copied */
  weft_bytes extensions;   /* WEFT_EXT_* items as they stand in a change; copied */
} weft_edit_options;
#define weft_edit_options_init(o) weft_edit_options_init_sized((o), sizeof *(o))
/* Fills in defaults: no message, lane normal, the base is now. */
WEFT_API void weft_edit_options_init_sized(weft_edit_options *o, size_t struct_size);

/* Opens a transaction over any number of documents; `o` may be NULL for the defaults.  Several may
 * be open; each is computed on its base and checked again at commit.  WEFT_EBASE: the base names
 * changes not shown here; WEFT_EFROZEN; WEFT_EDENIED: this device may not write; WEFT_ENOMEM. */
WEFT_API weft_err weft_edit_begin(weft_edit **out, weft_replica *r,
                                  const weft_edit_options *o) WEFT_MUST_USE;
/* Drops it.  NULL-safe; also after commit. */
WEFT_API void weft_edit_free(weft_edit *e);

/* Sets what stands at `pointer`, a JSON Pointer, "" the whole document; `-` as the last token
 * appends.  Of this and all writes below: the edit keeps no reference to its arguments.  A failed
 * write leaves the edit as it was before it, except WEFT_ENOMEM, after which only free may follow.
 * WEFT_EBADNAME, WEFT_EBADPATH, WEFT_EBADVALUE, WEFT_ELIMIT, WEFT_ENOTFOUND (unset, move, delete,
 * undelete: nothing there), WEFT_ENOMEM. */
WEFT_API weft_err weft_edit_set(weft_edit *e, weft_bytes doc, weft_bytes pointer,
                                const weft_value *value) WEFT_MUST_USE;
/* Removes what stands at `pointer`. */
WEFT_API weft_err weft_edit_unset(weft_edit *e, weft_bytes doc, weft_bytes pointer) WEFT_MUST_USE;
/* Puts an element in front of the one that stands at `idx` of the array at `pointer`; at its
 * length: behind the last. */
WEFT_API weft_err weft_edit_insert(weft_edit *e, weft_bytes doc, weft_bytes pointer, size_t idx,
                                   const weft_value *value) WEFT_MUST_USE;
/* Moves the element at `from` of the array at `pointer` to where it then stands at `to`. */
WEFT_API weft_err weft_edit_move(weft_edit *e, weft_bytes doc, weft_bytes pointer, size_t from,
                                 size_t to) WEFT_MUST_USE;
/* Deletes the document. */
WEFT_API weft_err weft_edit_delete(weft_edit *e, weft_bytes doc) WEFT_MUST_USE;
/* Brings back a deleted document as it was last seen here. */
WEFT_API weft_err weft_edit_undelete(weft_edit *e, weft_bytes doc) WEFT_MUST_USE;
/* The document becomes `value` (an object); only the difference is written.  `merge` keeps members
 * that `value` lacks. */
WEFT_API weft_err weft_edit_import(weft_edit *e, weft_bytes doc, const weft_value *value,
                                   bool merge) WEFT_MUST_USE;
/* Resolves by typed path: writes `value`, or with NULL keeps the container that is shown there. */
WEFT_API weft_err weft_edit_resolve(weft_edit *e, weft_bytes doc, weft_path path,
                                    const weft_value *value) WEFT_MUST_USE;
/* Resolves in favour of a deletion. */
WEFT_API weft_err weft_edit_remove_path(weft_edit *e, weft_bytes doc, weft_path path) WEFT_MUST_USE;

typedef struct weft_commit {
  bool written;   /* false: nothing differed, no change was made */
  weft_id change; /* its id */
  weft_id log;
  uint64_t seq;
  uint64_t hlc;
  size_t op_count;
  size_t field_count; /* scalars and unsets among the ops: what a person would call fields */
} weft_commit;

/* Makes the edit one signed change.  Outside a group it is durable and shown on return.
 * WEFT_ESTALE: a log of this device wrote there after the base; WEFT_ECONFLICT: a conflict under
 * the strategy manual stands at, above or below a path it writes, and it does not resolve that;
 * WEFT_ELIMIT; WEFT_EIO, WEFT_EFULL, WEFT_EREADONLY; WEFT_ENOMEM.  The edit stays open on error and
 * may be freed or tried again. */
WEFT_API weft_err weft_edit_commit(weft_edit *e, weft_commit *out) WEFT_MUST_USE;

/* Group commit: commits between begin and end share one synced transaction and become durable
 * together when end returns WEFT_OK.  Not nested; hold and show may not be called inside.
 * WEFT_EMISUSE: a group is open; and the errors of opening a write. */
WEFT_API weft_err weft_group_begin(weft_replica *r) WEFT_MUST_USE;
/* Makes the group durable.  With any error none of its commits happened, and the group is over:
 * those of weft_edit_commit; WEFT_EMISUSE: none is open. */
WEFT_API weft_err weft_group_end(weft_replica *r) WEFT_MUST_USE;
/* Drops the group and what was committed in it; without one it does nothing. */
WEFT_API void weft_group_abort(weft_replica *r);

/* --- changes of others --- */

typedef enum weft_hold_verdict {
  WEFT_HOLD_TAKEN,   /* (part of) the run is new and now held */
  WEFT_HOLD_KNOWN,   /* everything was held already */
  WEFT_HOLD_GAP,     /* something before it is missing: ask from `want` on */
  WEFT_HOLD_UNKNOWN, /* its author is no member here (yet): stays wanted */
  WEFT_HOLD_BRANCH,  /* continues a branch whose start we lack: ask from further back */
  WEFT_HOLD_FULL /* one branch too many of a log that forked, and nobody claims it: stays wanted */
} weft_hold_verdict;

typedef struct weft_held_run {
  weft_id log;
  uint64_t first, last;
  weft_hold_verdict verdict;
  uint64_t want;   /* GAP: first seq to ask for */
  uint32_t branch; /* TAKEN, KNOWN: which holds `last`, as in weft_span */
  weft_id id;      /* TAKEN, KNOWN, GAP, BRANCH: of `last` */
} weft_held_run;

typedef struct weft_hold_report {
  weft_held_run *runs; /* in the arena given */
  size_t run_count;
  uint64_t changes; /* newly held */
  weft_bytes bad;   /* after WEFT_EBADSIG, WEFT_EMALFORMED: the chunk that was at fault */
} weft_hold_report;

/* Checks and holds chunks in one synced transaction (all or none).  A bad signature, chain or
 * encoding is the sender's fault and fails the call with nothing held; forbidden content under a
 * valid signature is held.  WEFT_EMALFORMED, WEFT_EVERSION, WEFT_EBADSIG, WEFT_ELIMIT, WEFT_EIO,
 * WEFT_EFULL, WEFT_ENOMEM. A small run on an empty backlog (up to 64 changes) is shown in the same
 * transaction. */
WEFT_API weft_err weft_replica_hold(weft_replica *r, weft_arena *arena, const weft_bytes *chunks,
                                    size_t count, weft_hold_report *report) WEFT_MUST_USE;

typedef struct weft_show_report {
  uint64_t changes; /* shown by this call */
  uint64_t ops;
  uint64_t waiting; /* still held and not shown */
  bool more;        /* call again: more is settled than the budget allowed */
} weft_show_report;

/* Shows what is settled, at most about `changes_max` changes (0: the default batch), in
 * transactions of its own.  WEFT_OK also when there was nothing to do; WEFT_EIO, WEFT_EFULL,
 * WEFT_ENOMEM; WEFT_ECORRUPT: also when what is settled is not shown for all that. */
WEFT_API weft_err weft_replica_show(weft_replica *r, uint64_t changes_max,
                                    weft_show_report *report) WEFT_MUST_USE;

/* A change that is held and not shown, and the first thing it waits for. */
typedef struct weft_stuck {
  weft_id log;
  uint64_t seq;
  weft_id wants_log;
  uint64_t wants_seq;
  weft_id device;       /* that wrote it, and had what it claims */
  uint64_t count;       /* changes of the log that wait: it, and what follows it */
  weft_ms since;        /* when it began to wait here, by this device's clock since 1970 */
  uint64_t wants_held;  /* of the wanted log the newest seq held; with wants_seq or more, another
                           branch of it is wanted */
  weft_id wants_device; /* that writes the wanted log, */
  bool wants_known;     /* when anything of it is held */
} weft_stuck;
/* Lists the first waiting change of every log that has one; array in `arena`.  WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_stuck(weft_replica *r, weft_arena *arena, weft_stuck **out,
                                     size_t *count) WEFT_MUST_USE;

/* Changes of a log in a form that only a later weft knows: held and passed on, and shown as nothing
 * until this device is upgraded. */
typedef struct weft_later {
  weft_id log;
  weft_id device;
  uint64_t count;
  uint64_t first; /* the first such seq */
} weft_later;
/* Lists the logs that have such changes; array in `arena`.  Reads the heads of all rows of these
 * logs.  WEFT_ECORRUPT, WEFT_EIO, WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_later(weft_replica *r, weft_arena *arena, weft_later **out,
                                     size_t *count) WEFT_MUST_USE;

/* --- vectors and serving others --- */

/* What is durably in the logs.  View until the next call that writes. */
WEFT_API const weft_vector *weft_replica_held(const weft_replica *r);
/* What the state reflects.  View until the next call that writes. */
WEFT_API const weft_vector *weft_replica_shown(const weft_replica *r);
/* What is held with everything it claims, transitively: this is what acknowledgements announce.
 * View until the next call that writes. */
WEFT_API const weft_vector *weft_replica_showable(const weft_replica *r);
/* The digest of the state: equal wherever the same changes are shown. */
WEFT_API weft_digest weft_replica_digest(const weft_replica *r);
/* The count of arrivals: it grows by one with every change held or committed.  Repair may number
 * them anew, behind all that were. */
WEFT_API uint64_t weft_replica_arrival(const weft_replica *r);
/* Random number of this store's life, changed when it was restored or recreated. */
WEFT_API uint64_t weft_replica_instance(const weft_replica *r);
/* Bit set of the op kinds and versions this code shows. */
WEFT_API uint32_t weft_replica_apply_level(const weft_replica *r);

/* A log that was signed twice at one seq has branches, all of them held and shown.  A number tells
 * them apart in calls on one replica, for as long as its store lives; it says nothing elsewhere.
 * WEFT_BRANCH_ANY is the first of them, the only one of almost every log. */
#define WEFT_BRANCH_ANY UINT32_MAX

typedef struct weft_span {
  weft_id log;
  uint32_t branch;
  uint64_t from, to; /* inclusive; all of them belong to this branch alone */
} weft_span;

/* Finds a held change: the branch it belongs to, from the first to the last change that belongs to
 * that branch alone.  The branch is also to be asked about everything before.  WEFT_ENOTFOUND. */
WEFT_API weft_err weft_replica_find(weft_replica *r, const weft_id *log, uint64_t seq,
                                    const weft_id *id, weft_span *out) WEFT_MUST_USE;

/* Lists what is held here and not covered by `theirs`, in the order to send it: as it became shown
 * here, then what is held and not shown in order of arrival.  At most `max` ranges; array in
 * `arena`.  A head of theirs that is not held here counts as going on from the branches it is
 * longer than, and says nothing of others: of those they may be offered what they hold. */
WEFT_API weft_err weft_replica_missing(weft_replica *r, weft_arena *arena,
                                       const weft_vector *theirs, size_t max, weft_span **out,
                                       size_t *count) WEFT_MUST_USE;
/* Lists the ranges that arrived after `arrival`, oldest first, at most `max`; `last` gets the
 * arrival number they reach. */
WEFT_API weft_err weft_replica_arrivals(weft_replica *r, weft_arena *arena, uint64_t arrival,
                                        size_t max, weft_span **out, size_t *count,
                                        uint64_t *last) WEFT_MUST_USE;
/* Appends a chunk that starts at `from` of a branch of `log` and goes on to a signature: as far as
 * `to` if that is reached within a chunk's limits, at least one signed run (which may pass `to`).
 * `last` gets the seq of its last change.  WEFT_ENOTFOUND: not held. */
WEFT_API weft_err weft_replica_read_chunk(weft_replica *r, const weft_id *log, uint32_t branch,
                                          uint64_t from, uint64_t to, weft_buf *out,
                                          uint64_t *last) WEFT_MUST_USE;
/* Makes short chunks that follow each other in `chunks`, all given by weft_replica_read_chunk, into
 * fewer that hold the same changes, and sets `count` to how many there are then: shared names and
 * frames take less.  None may be of a log with several branches.  New ones lie in `arena`.  On an
 * error all is as it was.  WEFT_EMALFORMED; WEFT_ENOMEM.  The replica's thread. */
WEFT_API weft_err weft_replica_pack_chunks(weft_replica *r, weft_arena *arena, weft_bytes *chunks,
                                           size_t *count) WEFT_MUST_USE;
/* The lane of a log; WEFT_LANE_NORMAL when nothing of it is held. */
WEFT_API weft_lane weft_replica_lane(const weft_replica *r, const weft_id *log);
/* The id of (log, seq) on a branch.  WEFT_ENOTFOUND. */
WEFT_API weft_err weft_replica_id_at(weft_replica *r, const weft_id *log, uint32_t branch,
                                     uint64_t seq, weft_id *out) WEFT_MUST_USE;

/* --- forks and incarnations, for people --- */

/* A place where a log goes on in several ways: its device signed each of them. */
typedef struct weft_fork {
  weft_id log;
  weft_id device;
  uint64_t seq; /* the first that differs */
  weft_id *ids; /* there, ascending; in the arena */
  size_t id_count;
} weft_fork;
/* Lists all forks held, by log, seq and ids; array in `arena`. WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_forks(weft_replica *r, weft_arena *arena, weft_fork **out,
                                     size_t *count) WEFT_MUST_USE;

#define WEFT_BEGUN_WHYS(X)                                                                         \
  X(FIRST, "its first change here")                                                                \
  X(MISSING, "there was no mirror of the store")                                                   \
  X(BEHIND, "the store was set back")                                                              \
  X(MOVED, "the store was moved or copied")                                                        \
  X(DAMAGED, "its mirror was damaged")                                                             \
  X(CLOCK, "its clock was far ahead")                                                              \
  X(PEER, "a peer showed other changes of it")                                                     \
  X(RESTORED, "its store was restored from a backup")

/* Why a device began to write under a new incarnation. */
typedef enum weft_begun_why {
#define WEFT_BEGUN_ENUM(name, text) WEFT_BEGUN_##name,
  WEFT_BEGUN_WHYS(WEFT_BEGUN_ENUM)
#undef WEFT_BEGUN_ENUM
} weft_begun_why;

/* Gives the static English text.  Any thread. */
WEFT_API const char *weft_begun_why_str(weft_begun_why why);

typedef struct weft_begun {
  uint8_t incarnation[16];
  weft_begun_why why;
  uint64_t hlc; /* the device's clock when it was stored */
} weft_begun;
/* Lists the newest incarnations of this device that began in this store, at most 64, oldest first;
 * array in `arena`.  WEFT_ECORRUPT, WEFT_ENOMEM, WEFT_EIO. */
WEFT_API weft_err weft_replica_begun(weft_replica *r, weft_arena *arena, weft_begun **out,
                                     size_t *count) WEFT_MUST_USE;

/* --- backups --- */

/* Writes all that is in the store now, as one snapshot, into a new store file at `path`, while
 * others may write to this one.  It holds no secret.  It is fenced: a replica opened on it, on its
 * device or on another one, begins another incarnation before its first write, so that nothing is
 * signed twice; on another device the logs in it are those of the one it was made on.  Until then
 * `path` is absent: a folder PATH.new is used.  Takes as long as reading everything, and keeps a
 * snapshot meanwhile.  WEFT_EEXIST: something is there; WEFT_EMISUSE within a group; WEFT_ENOSTORE:
 * its folder is missing; WEFT_EREADONLY, WEFT_EFULL, WEFT_ELIMIT, WEFT_ECORRUPT, WEFT_EIO,
 * WEFT_ENOMEM: nothing is left.  The replica's thread. */
WEFT_API weft_err weft_replica_backup(weft_replica *r, const char *path) WEFT_MUST_USE;
/* Puts a backup where a store shall be, with the care of weft_replica_backup, whose errors it has;
 * the backup stays.  Every page of it is looked at first.  Also takes a store file that was merely
 * copied, and fences it.  `diag` may be NULL.  WEFT_ENOSTORE also: there is no backup. */
WEFT_API weft_err weft_backup_restore(const char *backup, const char *path,
                                      weft_diag *diag) WEFT_MUST_USE;

/* --- acknowledgements and addresses: small tables kept for the node --- */

/* Stores the newest acknowledgement of a device, as signed bytes (crdt/ack.h), in place of the one
 * before.  The errors of writes. */
WEFT_API weft_err weft_replica_put_ack(weft_replica *r, const weft_id *device,
                                       weft_bytes ack) WEFT_MUST_USE;
/* Lists them; all in `arena`.  WEFT_EIO, WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_acks(weft_replica *r, weft_arena *arena, weft_bytes **acks,
                                    size_t *count) WEFT_MUST_USE;
/* Remembers an address (host:port) that worked for a device.  The errors of writes. */
WEFT_API weft_err weft_replica_put_address(weft_replica *r, weft_bytes address,
                                           const weft_id *device) WEFT_MUST_USE;
/* An address that worked once. */
typedef struct weft_known_address {
  weft_bytes text; /* host:port */
  weft_id device;  /* that answered there last; zeros: not known */
} weft_known_address;
/* Lists them; all in `arena`.  WEFT_EIO, WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_addresses(weft_replica *r, weft_arena *arena,
                                         weft_known_address **addresses,
                                         size_t *count) WEFT_MUST_USE;

/* --- reading --- */

/* Renders what is shown at `pointer` of `doc` into `arena`.  WEFT_ENOTFOUND; WEFT_EBADNAME,
 * WEFT_EBADPATH. */
WEFT_API weft_err weft_replica_get(weft_replica *r, weft_arena *arena, weft_bytes doc,
                                   weft_bytes pointer, weft_value *out) WEFT_MUST_USE;
/* The same as the document stood when exactly `base` was shown.  Costs the whole history of the
 * document.  WEFT_EBASE: the base names changes not shown here. */
WEFT_API weft_err weft_replica_get_at(weft_replica *r, weft_arena *arena, weft_bytes doc,
                                      weft_bytes pointer, const weft_vector *base,
                                      weft_value *out) WEFT_MUST_USE;
/* The vector of what `change` had seen (its claims and own past, transitively, and itself), for
 * `get --at CHANGE`.  Replaces what `out`, an initialised vector, holds; on error it is empty.
 * Reads all changes in that vector.  WEFT_ENOTFOUND: the change is not held; WEFT_EBASE: it is not
 * shown here; WEFT_ECORRUPT, WEFT_EIO, WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_vector_at_change(weft_replica *r, const weft_id *change,
                                                weft_vector *out) WEFT_MUST_USE;
/* The vector of everything written up to and in the millisecond `wall` (since 1970) by its authors'
 * clocks, for `get --at TIME`; `out` as above.  WEFT_ECORRUPT, WEFT_EIO, WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_vector_at_time(weft_replica *r, weft_ms wall,
                                              weft_vector *out) WEFT_MUST_USE;

typedef struct weft_doc_info {
  weft_bytes name;
  bool deleted;
  uint64_t created_hlc, modified_hlc; /* of the first and last change shown that touched it */
  weft_id created_by, modified_by;    /* device keys */
  uint64_t versions;                  /* changes shown that touched it */
  uint64_t conflicts;                 /* as weft_replica_conflicts lists them */
  uint64_t manual;                    /* of these, the ones under the strategy manual */
} weft_doc_info;

/* Tells about one document, also a deleted one; its name is in `arena`.  WEFT_EBADNAME;
 * WEFT_ENOTFOUND: never written here; WEFT_ECORRUPT, WEFT_EIO, WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_doc_info(weft_replica *r, weft_arena *arena, weft_bytes doc,
                                        weft_doc_info *out) WEFT_MUST_USE;

/* A device that wrote to a document. */
typedef struct weft_contributor {
  weft_id device;
  uint64_t changes;
  uint64_t first_hlc, last_hlc; /* of its changes */
} weft_contributor;
/* Lists who wrote to a document, the busiest first; array in `arena`.  Walks its history.
 * WEFT_ENOTFOUND, WEFT_EBADNAME, WEFT_ECORRUPT, WEFT_EIO, WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_contributors(weft_replica *r, weft_arena *arena, weft_bytes doc,
                                            weft_contributor **out, size_t *count) WEFT_MUST_USE;

typedef enum weft_where_op {
  WEFT_WHERE_EQ,
  WEFT_WHERE_NE,
  WEFT_WHERE_LT,
  WEFT_WHERE_LE,
  WEFT_WHERE_GT,
  WEFT_WHERE_GE,
  WEFT_WHERE_CONTAINS /* strings, case-insensitive for ASCII; arrays: some element equals */
} weft_where_op;

/* Values are ordered null, false, true, numbers by value, strings, bytes, arrays, objects; of one
 * kind of container none is before another.  Where nothing stands orders before everything when
 * lists are sorted, meets WEFT_WHERE_NE, and no other condition. */
typedef struct weft_where {
  weft_bytes pointer; /* JSON Pointer, or @created @modified (integers, milliseconds since 1970),
                         @by (the last author's device key in hex), @versions, @contributors (how
                         many devices wrote to it; found by walking its history) */
  weft_where_op op;
  weft_value value; /* scalar */
  weft_bytes text;  /* may be empty: a string field is compared with this instead, so that what a
                       person typed as 5 finds both 5 and "5" */
} weft_where;

typedef struct weft_query {
  size_t struct_size;
  weft_bytes collection;   /* empty: all but `weft`, where tags and strategies are kept */
  const weft_where *where; /* joined by and */
  size_t where_count;
  weft_bytes sort; /* pointer or @..., empty: by name; equal values by name.  Strings that agree in
                      their first 240 bytes count as equal here */
  bool descending; /* the whole order turned round, names too */
  size_t limit;    /* 1..10,000; 0: 100 */
  weft_bytes cursor; /* from the last page; empty: the first */
  bool deleted;      /* list the deleted instead of the living */
  bool reserved;     /* with an empty collection: those of the reserved collections too */
} weft_query;
#define weft_query_init(q) weft_query_init_sized((q), sizeof *(q))
/* Fills in defaults: all documents, by name, 100 of them. */
WEFT_API void weft_query_init_sized(weft_query *q, size_t struct_size);

typedef struct weft_list_item {
  weft_doc_info info;
  weft_value value; /* the whole document */
} weft_list_item;

/* What a condition was decided on. */
typedef enum weft_list_by {
  WEFT_LIST_BY_DOCUMENT, /* the document or its record was read */
  WEFT_LIST_BY_KEY,      /* the entries of the index that was walked, where they tell */
  WEFT_LIST_BY_INDEX     /* a look into another declared index */
} weft_list_by;

/* How a list was made. */
typedef struct weft_list_plan {
  weft_bytes index; /* the field whose index was walked; empty: the names were */
  bool ordered;     /* in the order asked for, so that the walk ended with the page */
  weft_list_by *by; /* of each condition of the query; in the arena */
  uint64_t walked;  /* entries or names that were looked at */
  uint64_t probed;  /* looks into other indexes */
  uint64_t read;    /* documents that were read before it was known that they belong here */
} weft_list_plan;

typedef struct weft_list {
  weft_list_item *items; /* in the arena */
  size_t count;
  weft_bytes next; /* cursor of the next page; empty at the end */
  bool indexed;    /* a declared index was used */
  weft_list_plan plan;
} weft_list;

/* Lists documents.  A cursor is printable text and stays right while others write: nothing that
 * stays is skipped or doubled.  A page without condition and sort, or with an index that gives its
 * order, costs what it holds; else every document of the collection (or what an index leaves of
 * it) is looked at, in memory that depends on the limit alone.  Conditions on the field of the
 * index that is walked are decided on its entries, and those that a field equals a value on the
 * index of that field where there is one; other conditions cost a read of each document that is
 * left. WEFT_EMALFORMED: the cursor is not of this query; WEFT_EBADPATH; WEFT_EBADVALUE: a
 * condition without a scalar; WEFT_ELIMIT: the limit, or more than 64 conditions; WEFT_ECORRUPT,
 * WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_list(weft_replica *r, weft_arena *arena, const weft_query *q,
                                    weft_list *out) WEFT_MUST_USE;
/* Declares an index over one field (as in weft_where) of a collection ("" for all); builds it at
 * once, in one transaction, and keeps it from then on.  A list uses it when it asks for the same
 * collection.  WEFT_EEXIST; WEFT_EBADPATH, also of @contributors; WEFT_EBADNAME; WEFT_ELIMIT: there
 * are 64; WEFT_EMISUSE: within a group; and the errors of writes. */
WEFT_API weft_err weft_replica_declare_index(weft_replica *r, weft_bytes collection,
                                             weft_bytes pointer) WEFT_MUST_USE;
/* Drops it again.  WEFT_ENOTFOUND: there is none; WEFT_EMISUSE: within a group; and the errors of
 * writes. */
WEFT_API weft_err weft_replica_drop_index(weft_replica *r, weft_bytes collection,
                                          weft_bytes pointer) WEFT_MUST_USE;

typedef struct weft_index_info {
  weft_bytes collection; /* empty: all */
  weft_bytes pointer;
} weft_index_info;
/* Lists the declared indexes, the oldest first; array and texts in `arena`.  WEFT_ENOMEM, and the
 * errors of reading. */
WEFT_API weft_err weft_replica_indexes(weft_replica *r, weft_arena *arena, weft_index_info **out,
                                       size_t *count) WEFT_MUST_USE;

/* `docs` and `deleted` count what a list without a collection lists. */
typedef struct weft_counts {
  uint64_t docs, deleted, conflicts, changes_held, changes_shown, logs;
  uint64_t unresolved; /* documents with conflicts under the strategy manual */
} weft_counts;
/* Counts what is here; costs no look at documents.  WEFT_ECORRUPT, WEFT_EIO, WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_counts(weft_replica *r, weft_counts *out) WEFT_MUST_USE;

/* Sets the gauges of `m` that tell of a replica: changes, lag, documents, conflicts, members.  `m`
 * need not be the one of the options.  Errors as of weft_replica_counts. */
WEFT_API weft_err weft_replica_measure(weft_replica *r, weft_metrics *m) WEFT_MUST_USE;

/* --- history --- */

typedef struct weft_history_entry {
  weft_id change;
  weft_id log;
  uint64_t seq;
  uint64_t hlc;
  weft_id device;
  weft_bytes message;
  weft_bytes extensions;
  const weft_op *ops; /* all of the change, or those of the document and path asked for */
  size_t op_count;
} weft_history_entry;

typedef struct weft_history_query {
  size_t struct_size;
  weft_bytes doc;        /* empty: the whole space */
  weft_bytes pointer;    /* with has_pointer: ops at, above or below it */
  bool has_pointer;      /* resolved as the document is shown now; needs `doc` */
  const weft_id *device; /* NULL: all */
  weft_ms since,
      until;    /* wall time by the authors' clocks, both inclusive; 0 and WEFT_NEVER: open */
  size_t limit; /* 1..10,000; 0: 100 */
  weft_bytes cursor;
} weft_history_query;
#define weft_history_query_init(q) weft_history_query_init_sized((q), sizeof *(q))
/* Fills in defaults: the whole space, all devices, all time, 100 changes. */
WEFT_API void weft_history_query_init_sized(weft_history_query *q, size_t struct_size);

/* Lists shown DATA changes, newest first by (hlc, log, seq); `next` as for list.  Memory depends on
 * the limit and on what is listed.  WEFT_ENOTFOUND: no such document; WEFT_EBADNAME, WEFT_EBADPATH;
 * WEFT_EMALFORMED: the cursor is not of this query; WEFT_ELIMIT: the limit; WEFT_EMISUSE: a pointer
 * without a document; WEFT_ECORRUPT, WEFT_EIO, WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_history(weft_replica *r, weft_arena *arena,
                                       const weft_history_query *q, weft_history_entry **out,
                                       size_t *count, weft_bytes *next) WEFT_MUST_USE;
/* One held change by id, or by a prefix of its id of at least 4 bytes that is unique here; also a
 * START, which has no ops, and one that is not VALID, of which only the place is told.  Reads the
 * logs, newest changes first, until it is found (a prefix: to the end).  WEFT_ENOTFOUND;
 * WEFT_EMALFORMED: the prefix is ambiguous, too short or too long. */
WEFT_API weft_err weft_replica_change(weft_replica *r, weft_arena *arena, weft_bytes id_prefix,
                                      weft_history_entry *out,
                                      weft_change_state *state) WEFT_MUST_USE;

/* One own change, as a list of pending work tells it. */
typedef struct weft_own_change {
  weft_history_entry change;
  weft_lane lane;
  uint64_t len; /* canonical bytes */
} weft_own_change;
/* Lists the changes of this device, of any incarnation, that `beyond` does not contain, by (hlc,
 * log, seq), oldest first, at most `limit` (1..10,000); a START is none.  `total` gets how many
 * there are in all.  Array in `arena`.  WEFT_ELIMIT: the limit; WEFT_ECORRUPT, WEFT_EIO,
 * WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_own(weft_replica *r, weft_arena *arena, const weft_vector *beyond,
                                   size_t limit, weft_own_change **out, size_t *count,
                                   uint64_t *total) WEFT_MUST_USE;

/* --- conflicts --- */

/* One side of a conflict.  Every surviving scalar and deletion is one, also where values are equal;
 * each kind of container is one, told by the change whose live write ranks highest in it. */
typedef struct weft_conflict_value {
  weft_shape shape; /* SCALAR: value; OBJECT, ARRAY: a container; NONE: a deletion */
  weft_value value; /* of a container: what is shown when it wins */
  bool winner;
  weft_history_entry change; /* op_count 0 */
} weft_conflict_value;

typedef struct weft_conflict_entry {
  weft_bytes doc;
  weft_path path;
  weft_bytes pointer; /* as it is shown now; at NULL when not visible */
  weft_conflict_kind kind;
  weft_conflict_value *values; /* winner first, then by (hlc, ...) descending */
  size_t value_count;
  bool manual; /* the strategy here is manual: plain writes are refused until somebody resolves */
} weft_conflict_entry;

/* Lists the conflicts, but those under the strategy lww, of a document, or of all (`doc` empty), by
 * document and path; at most `limit`, 0: all.  WEFT_ENOTFOUND: no such document; WEFT_EBADNAME;
 * WEFT_ECORRUPT, WEFT_EIO, WEFT_ENOMEM.
 */
WEFT_API weft_err weft_replica_conflicts(weft_replica *r, weft_arena *arena, weft_bytes doc,
                                         size_t limit, weft_conflict_entry **out,
                                         size_t *count) WEFT_MUST_USE;

/* --- trust --- */

typedef struct weft_verify_report {
  uint64_t changes, signatures, documents, fields;
  uint64_t bad;    /* findings */
  char first[160]; /* the first finding, one English clause; "" when clean */
} weft_verify_report;

/* Called now and then during verify and repair: done of total steps. */
typedef void (*weft_progress)(void *ctx, uint64_t done, uint64_t total);

/* Proves chain, signatures and contents of all logs, shows them again on tables in memory, and
 * compares every sibling, record, history entry, count, index entry and the digest.  Changes
 * nothing.  Takes memory for one whole state, and keeps a snapshot of the store as long as it runs.
 * WEFT_OK when clean, WEFT_ECORRUPT when not: `report` then tells; WEFT_EMISUSE within a group;
 * WEFT_EIO, WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_verify(weft_replica *r, weft_progress progress, void *ctx,
                                      weft_verify_report *report) WEFT_MUST_USE;
/* Rebuilds state, metadata, order, indexes and arrivals from the logs, which it proves first.
 * Nothing is shown for a while: one commit empties what follows from the logs, then all that can be
 * shown is shown in the usual batches.  After a crash or an error in between, repair or any show
 * goes on.  Open edits can no longer be committed.  WEFT_ECORRUPT: a log itself is damaged, nothing
 * changed, `report` tells; WEFT_EFROZEN; WEFT_EMISUSE within a group; WEFT_EIO, WEFT_EFULL,
 * WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_repair(weft_replica *r, weft_progress progress, void *ctx,
                                      weft_verify_report *report) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

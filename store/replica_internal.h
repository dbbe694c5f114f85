/* What the files of the replica share: the object, the tables in memory, and the seams between
 * reading logs, showing changes and answering questions.
 *
 * Only store/replica*.c, store/batch*.c, store/query*.c, store/history*.c, store/strategy.c,
 * store/verify*.c and store/backup.c include this.
 *
 * Two copies of the truth.  What stands in the store is the truth; `logs`, `now` and the claim
 * numbers are its image, moved while a write transaction is built.  `published` and the three
 * vectors are what others may be told: they move only after a commit returned WEFT_OK.  When a
 * write fails after it touched the image, the image is read again from the store (weft__reload).
 *
 * Reading: weft__read_begin .. weft__read_end around everything; inside a group the reads go
 * through the open write transaction, so that they see what the group wrote. */
#ifndef WEFT_STORE_REPLICA_INTERNAL_H
#define WEFT_STORE_REPLICA_INTERNAL_H

#include "crdt/chunk.h"
#include "crdt/metrics_table.h"
#include "crdt/write.h"
#include "store/events.h"
#include "store/keys.h"
#include "store/mirror.h"
#include "store/replica.h"
#include "store/state.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_LOG_NONE         UINT32_MAX
#define WEFT_SHOW_CHANGES_MAX 131072u /* a batch */
#define WEFT_SHOW_OPS_MAX     131072u
/* A document costs a batch a page, where documents lie far apart, and LMDB keeps pages in memory
 * until it commits: some 128 MiB at most.  More documents in a batch cost less each, because their
 * pages meet; a store that is hardly longer than that has no more pages anyhow, so there the
 * changes alone are bounded. */
#define WEFT_SHOW_DOCS_MAX    32768u
#define WEFT_SHOW_STORE_DENSE (192u << 20) /* with what lies in logs and is not touched */
#define WEFT_SHOW_LEN_MAX     (32u << 20)  /* canonical bytes a batch keeps in memory */
#define WEFT_LIVE_CHANGES_MAX 64u          /* a run shown in the transaction that holds it */
#define WEFT_TAIL_COUNT_MAX   512u         /* a longer tail is sealed into chunks */
#define WEFT_TAIL_LEN_MAX     (128u << 10) /* and one that got as many canonical bytes */
#define WEFT_CHUNK_COUNT_MIN  64u          /* a received chunk of as many is stored as it came */
#define WEFT_RUN_CACHE_COUNT  64u          /* chunks kept taken apart: at most some 32 MiB, */
#define WEFT_RUN_CACHE_IDLE   8u           /* and as many of them while nothing waits to be shown */
#define WEFT_LOGS_FOUND       64u          /* logs that are found at once, by their ids */
#define WEFT_REPLICA_FORMAT   1u           /* of what META says of the space */
#define WEFT_FENCE_KEY        "fence"      /* in META: a backup that nobody has gone on with */
#define WEFT_EVENT_ANCHOR     1024u        /* a reader of events walks over this many at most */
#define WEFT_EVENT_POSTS_MAX  1024u        /* posted events that wait to be written */

typedef struct weft_log weft_log;

/* Where a walk over a log stands: one for what is showable, one for a batch being collected.  A log
 * is idle, queued, or waits among the waiters of the log it needs. */
typedef struct weft_log_flow {
  uint64_t at;       /* the last change settled */
  weft_log *next;    /* in the queue or list it stands in */
  weft_log *waiters; /* logs that wait for this one */
  bool busy;         /* queued or waiting */
  bool waiting;
  weft_id wait_log; /* of the first claim not settled */
  uint64_t wait_seq;
  bool wait_tagged; /* nothing held begins with `wait_tag` there */
  uint8_t wait_tag[WEFT_CLAIM_TAG_LEN];
} weft_log_flow;

typedef enum weft_flow { WEFT_FLOW_READY, WEFT_FLOW_SHOW, WEFT_FLOWS } weft_flow;

/* A tagged claim of a log: its change `at` claimed `seq` under `number`. */
typedef struct weft_anchor {
  uint64_t at;
  uint64_t seq;
  uint32_t number;
  uint8_t tag[WEFT_CLAIM_TAG_LEN];
} weft_anchor;

/* What a change claims; nothing when it is not valid. */
typedef struct weft_claim_list {
  const weft_claim *at;
  size_t count;
} weft_claim_list;

/* Changes that the write in progress holds, as they were parsed and judged, so that finding out
 * what can be shown reads nothing again.  Good until that write ends. */
typedef struct weft_fresh_run {
  uint64_t first;
  size_t count;
  const weft_change *changes; /* NULL: too many to be shown in this write */
  const weft_claim_list *claims;
  const weft_id *ids;
  struct weft_fresh_run *next; /* goes on where this one ends */
} weft_fresh_run;

/* A chunk taken apart for somebody who reads on. */
typedef struct weft_run_view {
  uint64_t first;
  size_t count; /* 0: none */
  const weft_bytes *changes;
  const uint8_t *states; /* weft_change_state */
} weft_run_view;

/* One branch of one log.  Its chain is its own changes, fork..held, behind those of the branches it
 * left; a change has one owner, so that one dot names it. */
struct weft_log {
  uint32_t number; /* local; never leaves the replica */
  weft_id id;
  weft_id device;
  weft_id grant;
  uint8_t incarnation[16];
  uint8_t lane;
  uint32_t parent;   /* the branch it left, owner of fork - 1; WEFT_LOG_NONE */
  uint64_t fork;     /* first seq of its own; 1 without parent */
  weft_id before;    /* id at fork - 1: the log's root without parent */
  weft_id first_id;  /* id at `fork` */
  weft_id beside;    /* with parent: the parent's id at `fork` */
  weft_log *sibling; /* the next branch of the same log */
  uint64_t held;
  weft_id head;   /* id at `held` */
  uint64_t shown; /* fork - 1: nothing of its own */
  weft_id shown_id;
  uint64_t told;         /* changes up to here gave their events before showing began anew */
  uint64_t signed_seq;   /* the last signed change; `held` outside of a group */
  uint64_t sealed;       /* changes up to here lie in chunks, the others in the tail */
  uint64_t sealed_known; /* of this one, which was once `sealed`, the id is at hand; 0: none */
  weft_id sealed_id;
  uint64_t unsigned_len; /* canonical bytes after `signed_seq` */
  uint64_t tail_len;     /* canonical bytes put into the tail since it was loaded or sealed */
  weft_log_context ctx;  /* at `held`; numbers only when numbers_loaded */
  bool numbers_loaded;
  weft_anchor *anchors; /* its own tagged claims up to `anchored`, in order */
  size_t anchor_count;
  size_t anchor_cap;
  uint64_t anchored;
  weft_fresh_run *fresh; /* NULL outside of a write that holds */
  weft_fresh_run *fresh_last;
  bool stored;  /* has a record */
  bool touched; /* differs from the store */
  weft_log *next_touched;
  weft_id ready_id;
  uint64_t ready_seq; /* whose id that is; it is found out once a write */
  uint64_t wait_at;   /* the change that is not showable yet, 0: none, */
  weft_ms wait_since; /* and when it began to wait, since 1970 */
  weft_log_flow flow[WEFT_FLOWS];
  size_t cached;      /* where in the cache a chunk of it was found last */
  weft_run_view view; /* what a batch reads from; it lies in the batch */
};

/* Counters and sums, stored together. */
typedef struct weft_totals {
  uint32_t doc_next;
  uint64_t arrival;
  uint64_t shown; /* changes shown so far: the newest shown number */
  uint64_t held;
  weft_digest digest;
  uint64_t docs_live;
  uint64_t docs_deleted;
  uint64_t conflicts;
  uint64_t events;       /* the newest event's number */
  uint64_t event_anchor; /* the greatest number in `event`; follows from that table */
} weft_totals;

/* Entries of `order` and `arrival`: a run of one log. */
typedef struct weft_log_span {
  uint32_t log;
  uint64_t first;
  uint64_t count;
} weft_log_span;

/* The newest entry of one of them, which the next change may lengthen; `count` 0: there is none. */
typedef struct weft_newest_run {
  uint64_t number; /* its key: of the first change in it, among all shown or arrived */
  weft_log_span span;
} weft_newest_run;

/* A chunk of a log taken apart; kept for the next question about it. */
typedef struct weft_run_cache {
  weft_arena arena;
  uint32_t log;
  uint64_t first;
  size_t count; /* 0: free */
  const weft_bytes *changes;
  const weft_id *ids;    /* NULL until somebody asks: weft__log_chunk_ids */
  const uint8_t *states; /* weft_change_state */
  weft_id prev;
  weft_sig sig;     /* of the last one */
  weft_bytes chunk; /* as it is stored; verified before it was */
  uint64_t used;
} weft_run_cache;

/* A declared index: the values of one field over the living documents of a collection. */
typedef struct weft_index {
  uint32_t number;
  weft_bytes collection; /* empty: all */
  weft_bytes pointer;    /* JSON Pointer or @... */
} weft_index;

/* The id of the log that this device writes in a lane, which is the hash of its START. */
typedef struct weft_own_log {
  bool known;
  uint8_t incarnation[16]; /* for which it is */
  weft_id id;
} weft_own_log;

/* A change of a tail as it is stored. */
typedef struct weft_tail_record {
  unsigned flags;
  weft_id id;
  weft_sig sig;
  weft_bytes raw; /* view */
} weft_tail_record;

/* What the open group keeps back, since its next commit would write it again or it will lie in a
 * chunk: weft__group_settle. */
typedef struct weft_kept {
  weft_log *log; /* of the rows */
  uint64_t first;
  weft_tail_record *rows; /* of its tail, its newest changes, in `arena` */
  size_t count;
  size_t cap;
  weft_arena arena;
  bool order; /* the newest entries of these tables */
  bool arrival;
} weft_kept;

enum { WEFT_SPARE_ARENAS = 8, WEFT_SPARE_DOCS = 2 };

/* Empty ones, for the next commit of a group (store/replica_spare.c). */
typedef struct weft_spares {
  weft_arena arenas[WEFT_SPARE_ARENAS];
  size_t arena_count;
  weft_doc *docs[WEFT_SPARE_DOCS];
  size_t doc_count;
} weft_spares;

struct weft_replica {
  weft_alloc mem;
  const weft_crypto *crypto;
  weft_platform platform;
  weft_identity identity;
  weft_id space;
  weft_store *store;
  weft_state_env state_env;
  weft_lineage lineage;
  char error[160];
  weft_err dead;  /* the store failed: every write gives this */
  bool stale;     /* the image may be ahead of the store: reload first */
  bool moved;     /* the running write has moved the image */
  bool restarted; /* and begins showing anew */

  weft_arena tables; /* logs and claim numbers */
  weft_log **logs;   /* by number */
  uint32_t log_count;
  size_t log_cap;
  uint32_t *by_id; /* numbers, ascending by log id */
  size_t by_id_cap;
  weft_log *queue_head[WEFT_FLOWS];
  weft_log *queue_tail[WEFT_FLOWS];
  weft_log *orphans; /* wait for logs unknown here (WEFT_FLOW_READY) */
  weft_log *touched; /* logs that differ from the store */

  weft_index *indexes; /* by number; in `tables` */
  size_t index_count;

  weft_arena rules_arena;
  const void **rules; /* weft_ready_rule (store/strategy.h), strongest first */
  size_t rule_count;

  weft_totals now;
  weft_totals published;
  weft_newest_run order;
  weft_newest_run arrived;
  weft_vector held;
  weft_vector shown;
  weft_vector showable;
  weft_roster *roster;

  uint64_t hlc; /* the clock */
  uint64_t instance;
  bool instance_new; /* not yet in the store */
  uint8_t incarnation[16];
  bool incarnation_new; /* not yet in the store */
  weft_own_log own[WEFT_LANES];
  bool fenced;  /* opened on a backup: the next write begins another incarnation */
  bool adopted; /* and that of another device */
  weft_begun_why begun_why;

  weft_metrics *metrics;                  /* NULL: none */
  uint64_t commits_open, commit_ops_open; /* of the transaction that goes on */

  weft_txn *txn; /* of the open group */
  bool group;
  weft_err group_err;      /* why the group is lost */
  weft_spares spares;      /* of it */
  weft_kept kept;          /* of it */
  weft_edit *edits;        /* open ones */
  const weft_edit *handed; /* the one being committed, while what it loaded is what is shown */
  uint64_t image;          /* goes up when the image is read again or showing begins anew */

  weft_chunk_codec *codec;
  uint64_t events_kept;
  weft_event **posts; /* a ring of WEFT_EVENT_POSTS_MAX; NULL until something is posted */
  size_t post_first;
  size_t post_count;
  size_t posts_written; /* of these, in the transaction being built */
  bool full_told;       /* the lack of room has been told, and lasts */

  weft_run_cache cache[WEFT_RUN_CACHE_COUNT];
  uint64_t cache_clock;
  weft_log *found[WEFT_LOGS_FOUND]; /* first branches, by a byte of the id */
  char *mirror_dir;
  weft_mirror mirror; /* machine and store as the options name them */
  weft_ms mirror_saved;
  uint64_t mirror_sum;  /* of the seqs saved; 0: nothing saved by this object */
  uint64_t mirror_late; /* of the seqs written late, */
  int mirror_file;      /* to this descriptor; -1: none */
};

/* --- errors --- */

/* Notes what went wrong, for weft_replica_error, and gives `err` back. */
weft_err weft__replica_fail(weft_replica *r, weft_err err, const char *text);

/* --- transactions --- */

/* Begins reading; inside a group `*txn` is the group's.  WEFT_EIO, WEFT_ENOMEM, WEFT_EAGAIN. */
weft_err weft__read_begin(weft_replica *r, weft_txn **txn) WEFT_MUST_USE;
void weft__read_end(weft_replica *r, weft_txn *txn);

/* One write: what `fn` does in a transaction is committed, durable, and then published; when it
 * fails, none of it happened and the image is as before.  A full map is grown and `fn` called once
 * more.  Inside a group `fn` joins the group; an error after it touched the image loses the group.
 */
typedef weft_err (*weft_write_fn)(weft_replica *r, weft_txn *txn, void *arg);
weft_err weft__write(weft_replica *r, weft_write_fn fn, void *arg) WEFT_MUST_USE;
/* The same for a commit, which leaves to a group what it keeps back. */
weft_err weft__write_commit(weft_replica *r, weft_write_fn fn, void *arg) WEFT_MUST_USE;
/* Puts what the group keeps back into its transaction; before anybody reads tables rather than
 * through weft__log_*.  Errors of writes: the group is lost. */
weft_err weft__group_settle(weft_replica *r, weft_txn *txn) WEFT_MUST_USE;
/* Forgets it, with its transaction. */
void weft__group_forget(weft_replica *r);

/* Marks a log as differing from the store, so that weft__write stores it. */
void weft__log_touch(weft_replica *r, weft_log *log);

/* Reads the whole image from the store again.  Drops the run cache. */
weft_err weft__reload(weft_replica *r) WEFT_MUST_USE;

/* --- logs (store/replica_logs.c) --- */

/* Reads the records of all logs into the empty table. */
weft_err weft__logs_load(weft_replica *r, weft_txn *txn) WEFT_MUST_USE;
/* Finds the first branch of a log by id, NULL when nothing of it is held; `sibling` leads on to the
 * others.  View until the image is reloaded. */
weft_log *weft__log_find(const weft_replica *r, const weft_id *id);
/* The log with a local number; asserted to exist. */
weft_log *weft__log_of(const weft_replica *r, uint32_t number);
/* Adds a log with nothing held.  The caller touches it.  WEFT_ENOMEM. */
weft_err weft__log_add(weft_replica *r, const weft_id *id, const weft_start *start,
                       weft_log **out) WEFT_MUST_USE;
/* Adds an empty branch that leaves `parent` at `fork`; its first change will have the id `first`.
 * The caller touches it.  `parent` must own fork - 1, or, when `fork` is 1, be any branch of the
 * log.  WEFT_ECORRUPT, WEFT_ENOMEM, WEFT_EIO. */
weft_err weft__branch_add(weft_replica *r, weft_txn *txn, weft_log *parent, uint64_t fork,
                          const weft_id *first, weft_log **out) WEFT_MUST_USE;
/* Makes sure log->ctx knows the claim numbers.  WEFT_ECORRUPT, WEFT_ENOMEM, WEFT_EIO. */
weft_err weft__log_numbers(weft_replica *r, weft_txn *txn, weft_log *log) WEFT_MUST_USE;
/* Stores the claim numbers that `change` defined or moved. */
weft_err weft__log_numbers_put(weft_replica *r, weft_txn *txn, const weft_log *log,
                               const weft_change *change) WEFT_MUST_USE;
/* Writes the record of a log. */
weft_err weft__log_put(weft_replica *r, weft_txn *txn, weft_log *log) WEFT_MUST_USE;

/* Writes or reads an entry of `order` or `arrival`. */
weft_err weft__span_put(weft_txn *txn, weft_table table, uint64_t number,
                        const weft_log_span *span) WEFT_MUST_USE;
/* Lengthens a run by changes that go on where it ends; false: they do not. */
bool weft__run_lengthen(weft_newest_run *newest, const weft_log_span *more) WEFT_MUST_USE;
/* WEFT_ECORRUPT when `value` is none. */
weft_err weft__span_read(weft_bytes value, weft_log_span *span) WEFT_MUST_USE;
/* The same, of a log that is here: WEFT_ECORRUPT otherwise. */
weft_err weft__span_of(const weft_replica *r, weft_bytes value, weft_log_span *span) WEFT_MUST_USE;

/* --- changes of a log (store/replica_changes.c) --- */

/* Takes the chunk that holds a sealed `seq` apart, all of it in `arena`.  Errors as
 * weft__log_chunk. */
weft_err weft__log_run_view(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t seq,
                            weft_arena *arena, weft_run_view *out) WEFT_MUST_USE;
/* Gives the chunk that holds a sealed `seq`, taken apart; a view until the next call of this or of
 * anything that reads a log. */
weft_err weft__log_chunk(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t seq,
                         const weft_run_cache **out) WEFT_MUST_USE;
/* The ids of its changes, computed from the chain at the first call; a view likewise.  NULL: out of
 * memory. */
const weft_id *weft__log_chunk_ids(weft_replica *r, const weft_run_cache *chunk);
/* Checks the signature of a chunk once more, whatever was checked when it was held.  WEFT_ENOMEM;
 * WEFT_ECORRUPT: it is not valid. */
weft_err weft__log_chunk_verify(weft_replica *r, const weft_log *log,
                                const weft_run_cache *chunk) WEFT_MUST_USE;
/* Notes what the write in progress holds of a log behind what was noted before. */
void weft__log_fresh_add(weft_log *log, weft_fresh_run *run);
/* Finds the one that has `seq`, NULL when there is none. */
const weft_fresh_run *weft__log_fresh(const weft_log *log, uint64_t seq);

/* One held change.  `raw` lies in the arena given. */
typedef struct weft_log_item {
  uint64_t seq;
  weft_id id;
  weft_change_state state; /* as judged when it was held */
  weft_bytes raw;
  bool is_signed;
  weft_sig sig;
} weft_log_item;

/* Reads change `seq`; reading a log in order costs one chunk at a time.  WEFT_ENOTFOUND: not held;
 * WEFT_ECORRUPT, WEFT_ENOMEM, WEFT_EIO. */
weft_err weft__log_read(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t seq,
                        weft_arena *arena, weft_log_item *out) WEFT_MUST_USE;
/* The same, taken apart: state settled, claim->log filled in.  Not VALID: no claims, no ops.  `id`
 * may be NULL, which saves hashing a chunk. */
weft_err weft__log_change(weft_replica *r, weft_txn *txn, weft_log *log, uint64_t seq,
                          weft_arena *arena, weft_change *change, weft_id *id) WEFT_MUST_USE;
/* The same of no more than its claims (and its state); the rest of `change` is not to be used. */
weft_err weft__log_claims(weft_replica *r, weft_txn *txn, weft_log *log, uint64_t seq,
                          weft_arena *arena, weft_change *change) WEFT_MUST_USE;
/* Takes a change apart whose bytes are at hand, as weft__log_change does. */
weft_err weft__log_parse(weft_replica *r, weft_txn *txn, weft_log *log, weft_bytes raw,
                         weft_change_state state, weft_arena *arena,
                         weft_change *change) WEFT_MUST_USE;
/* The id of `seq`; 0 gives the log's root.  Errors as weft__log_read. */
weft_err weft__log_id_at(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t seq,
                         weft_id *out) WEFT_MUST_USE;
/* Appends judged changes to the tail.  `ids` and `states` beside `raws`; the last one is signed
 * when `sig` is given.  Moves held, head, signed_seq, arrival.  */
typedef struct weft_log_run {
  const weft_bytes *raws;
  const weft_id *ids;
  const uint8_t *states;
  size_t count;
  const weft_sig *sig; /* of the last; NULL only within a group */
  weft_bytes chunk;    /* exactly this run as a chunk, or empty */
  weft_brief *briefs;  /* of a run that was received; else NULL */
} weft_log_run;
weft_err weft__log_append(weft_replica *r, weft_txn *txn, weft_log *log,
                          const weft_log_run *run) WEFT_MUST_USE;
/* Signs the newest change of an own log, if it is not signed. */
weft_err weft__log_sign(weft_replica *r, weft_txn *txn, weft_log *log) WEFT_MUST_USE;
/* Counts the changes of a branch that have `state`; `first` gets the seq of the first, 0: none.
 * WEFT_ECORRUPT, WEFT_ENOMEM, WEFT_EIO. */
weft_err weft__log_count_state(weft_replica *r, weft_txn *txn, const weft_log *log,
                               weft_change_state state, uint64_t *count,
                               uint64_t *first) WEFT_MUST_USE;
/* Moves a long tail into chunks. */
weft_err weft__log_seal(weft_replica *r, weft_txn *txn, weft_log *log) WEFT_MUST_USE;

/* --- chunks kept taken apart (store/replica_cache.c) --- */

/* Finds the chunk that holds a change; NULL: not kept.  View until the next place is taken. */
weft_run_cache *weft__cache_find(weft_replica *r, const weft_log *log, uint64_t seq);
/* Gives a place, empty: that of the chunk that was not asked for longest. */
weft_run_cache *weft__cache_take(weft_replica *r);
/* Keeps a run that the write in progress stores as `held->chunk`, copied.  WEFT_ENOMEM. */
weft_err weft__cache_keep(weft_replica *r, const weft_log *log, const weft_run *run,
                          const weft_log_run *held) WEFT_MUST_USE;
/* Copies what is kept into `arena`.  WEFT_ENOMEM. */
weft_err weft__cache_view(const weft_run_cache *c, weft_arena *arena,
                          weft_run_view *out) WEFT_MUST_USE;
/* Gives back what is not needed while nothing waits to be shown; or everything. */
void weft__cache_trim(weft_replica *r);
void weft__cache_clear(weft_replica *r);

/* --- branches (store/replica_branches.c) --- */

/* True when `log` shares its log with other branches. */
bool weft__log_is_forked(const weft_replica *r, const weft_log *log);
/* The branch that owns `seq` of the chain of `log`. */
weft_log *weft__log_owner(const weft_replica *r, const weft_log *log, uint64_t seq);
/* The greatest seq held of any branch of a log; `first` may be NULL: 0. */
uint64_t weft__log_reach(const weft_log *first);
/* Orders two branches of one log: by the ids where they part.  0 only for the same. */
int weft__branch_cmp(const weft_replica *r, uint32_t a, uint32_t b);
/* The weft_lineage of a replica, which is the `ctx`. */
bool weft__dot_precedes(const void *ctx, weft_dot a, weft_dot b);
int weft__dot_rank(const void *ctx, weft_dot a, weft_dot b);
/* Finds the owner of (log, seq) with that id.  WEFT_ENOTFOUND, WEFT_ECORRUPT, WEFT_ENOMEM,
 * WEFT_EIO. */
weft_err weft__change_at(weft_replica *r, weft_txn *txn, const weft_id *log, uint64_t seq,
                         const weft_id *id, weft_log **out) WEFT_MUST_USE;
/* What the reader of a chain knows behind `seq`, judged anew from the first change on; numbers in
 * `arena`.  WEFT_ECORRUPT, WEFT_ENOMEM, WEFT_EIO. */
weft_err weft__log_context_at(weft_replica *r, weft_txn *txn, weft_log *log, uint64_t seq,
                              weft_arena *arena, weft_log_context *ctx) WEFT_MUST_USE;
/* Where a claim of change `at` of a log leads.  A tag means the smallest id of those it fits; a
 * claim without one means the ancestor of what was claimed last under its number.  `check`: look at
 * the tag also where there is but one branch.  WEFT_ENOTFOUND: nothing held fits. */
weft_err weft__claim_dot(weft_replica *r, weft_txn *txn, weft_log *log, uint64_t at,
                         const weft_claim *claim, bool check, weft_dot *out) WEFT_MUST_USE;
/* The claims of a shown change as dots, in `arena`.  WEFT_ECORRUPT: a claim is not held. */
weft_err weft__claim_dots(weft_replica *r, weft_txn *txn, weft_log *log, uint64_t at,
                          const weft_change *change, weft_arena *arena,
                          weft_dot **out) WEFT_MUST_USE;
/* The number under which `log`, behind its newest change, can claim `dot`: one whose last claim
 * lies on the same chain and that `used` does not name; UINT32_MAX: none. */
weft_err weft__claim_number(weft_replica *r, weft_txn *txn, weft_log *log, weft_dot dot,
                            const bool *used, uint32_t *out) WEFT_MUST_USE;
/* Whether one of the changes of a branch from `from` on has the tag of another branch's change at
 * the same seq. */
weft_err weft__tags_meet(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t from,
                         bool *meet) WEFT_MUST_USE;
/* Puts the heads that `seqs` (by number, fork - 1: nothing) means into `out`. */
weft_err weft__vector_of_seqs(weft_replica *r, weft_txn *txn, const uint64_t *seqs,
                              weft_vector *out) WEFT_MUST_USE;
/* Puts the heads of all branches of a log into a vector: what is held, shown, showable. */
typedef enum weft_tip { WEFT_TIP_HELD, WEFT_TIP_SHOWN, WEFT_TIP_READY } weft_tip;
weft_err weft__heads_tell(const weft_replica *r, const weft_log *log, weft_tip tip,
                          weft_arena *arena, weft_vector *out) WEFT_MUST_USE;
/* Raises seqs[owner] to a change and, on the branches it left, to where they were left. */
void weft__seqs_raise(const weft_replica *r, uint64_t *seqs, weft_dot dot);
/* Fills `seqs` with "nothing". */
void weft__seqs_none(const weft_replica *r, uint64_t *seqs);

/* --- showing (store/replica_show.c) --- */

/* The tables that follow from the logs. */
enum { WEFT_DERIVED = 5 };
extern const weft_table weft__derived[WEFT_DERIVED];
/* Empties what follows from the logs and begins to show anew; `ready`: finds out anew what can be
 * shown too.  The caller's transaction. */
weft_err weft__show_restart(weft_replica *r, weft_txn *txn, bool ready) WEFT_MUST_USE;
/* The same for the image alone. */
void weft__image_restart(weft_replica *r, bool ready);

/* Moves the showable changes on, from the logs queued. */
weft_err weft__ready_run(weft_replica *r, weft_txn *txn) WEFT_MUST_USE;
/* Queues a log that got new changes. */
void weft__ready_queue(weft_replica *r, weft_log *log);
/* Wakes the logs that waited for what nobody here knew, when a log got new changes. */
void weft__ready_orphans(weft_replica *r, const weft_log *log);
/* Shows up to `changes_max` showable changes (0: a whole batch) of `only`, or of all logs when
 * NULL. */
weft_err weft__show_run(weft_replica *r, weft_txn *txn, weft_log *only, uint64_t changes_max,
                        weft_show_report *report) WEFT_MUST_USE;
/* The same of the logs that this transaction touched: the same as of all when nothing was left to
 * show before it, and cheaper where there are many. */
weft_err weft__show_touched(weft_replica *r, weft_txn *txn, weft_show_report *report) WEFT_MUST_USE;

/* --- documents (store/replica_docs.c) --- */

/* The record of a document. */
typedef struct weft_doc_record {
  uint32_t number;
  weft_bytes name; /* in the arena given */
  bool live;       /* its root is shown as an object */
  bool suspect;    /* some register may be in conflict: look at the whole document */
  bool contested;  /* has a row in `contest`; only where it is suspect */
  uint64_t created_hlc;
  weft_dot created;
  uint64_t modified_hlc;
  weft_dot modified;
  uint64_t versions;
  uint64_t conflicts;     /* that are listed; this and the next two as stored in `contest` */
  uint64_t hidden;        /* that the strategy keeps quiet about */
  uint64_t manual;        /* of those listed, the ones that block plain writes */
  weft_bytes history;     /* of its newest changes: the row of them that is not full yet, */
  uint64_t history_first; /* and what its key will be; in the arena given */
} weft_doc_record;

/* The collection where the library keeps documents of its own, tags and strategies. */
#define WEFT_RESERVED_PREFIX "weft/"
/* Whether a document belongs to it. */
bool weft__doc_reserved(weft_bytes name);

/* Finds a document by name.  WEFT_ENOTFOUND. */
weft_err weft__doc_record_find(weft_replica *r, weft_txn *txn, weft_bytes name, weft_arena *arena,
                               weft_doc_record *out) WEFT_MUST_USE;
/* Reads one by number.  WEFT_ENOTFOUND. */
weft_err weft__doc_record_read(weft_replica *r, weft_txn *txn, uint32_t number, weft_arena *arena,
                               weft_doc_record *out) WEFT_MUST_USE;
/* The same of a document whose row is at hand; `row` may be a view of the store. */
weft_err weft__doc_record_open(weft_replica *r, weft_txn *txn, uint32_t number, weft_bytes row,
                               weft_arena *arena, weft_doc_record *out) WEFT_MUST_USE;
/* Finds the number of a document by name.  WEFT_ENOTFOUND, WEFT_ECORRUPT. */
weft_err weft__doc_number_find(weft_txn *txn, weft_bytes name, uint32_t *number) WEFT_MUST_USE;
/* Stores it with its counts of conflicts; `b` is what its rows are made in. */
weft_err weft__doc_record_put(weft_txn *txn, weft_doc_record *doc, weft_buf *b) WEFT_MUST_USE;

/* Renders what is shown at `pointer` of a loaded document.  WEFT_ENOTFOUND, WEFT_EBADPATH. */
weft_err weft__doc_render_pointer(const weft_doc *doc, weft_bytes pointer, weft_arena *arena,
                                  weft_value *out) WEFT_MUST_USE;

/* Loads a whole document as it is shown into a new weft_doc, which the caller frees. */
weft_err weft__doc_load(weft_replica *r, weft_txn *txn, uint32_t number,
                        weft_doc **out) WEFT_MUST_USE;

/* The same with all bytes in `arena`, which must outlive the document; `pieces` tells of what it
 * was made. */
weft_err weft__doc_load_in(weft_replica *r, weft_txn *txn, uint32_t number, weft_arena *arena,
                           weft_doc **out, const weft_state_piece **pieces,
                           size_t *count) WEFT_MUST_USE;

/* What a base contains: for every log number the newest seq, fork - 1 when nothing of its own. */
typedef struct weft_base {
  uint64_t *seqs;
  uint32_t count; /* logs from here on contain nothing */
} weft_base;
bool weft__base_has(const weft_base *base, weft_dot dot);
/* Makes the base of a vector; array in `arena`.  WEFT_EBASE: it names what is not shown here. */
weft_err weft__base_of_vector(weft_replica *r, weft_txn *txn, const weft_vector *v,
                              weft_arena *arena, weft_base *out) WEFT_MUST_USE;
/* The base that stood when the first `shown` changes were shown. */
weft_err weft__base_of_shown(weft_replica *r, weft_txn *txn, uint64_t shown, weft_arena *arena,
                             weft_base *out) WEFT_MUST_USE;
/* The document as it stood at `base`, made from its history; empty when it was not there. */
weft_err weft__doc_at(weft_replica *r, weft_txn *txn, uint32_t number, const weft_base *base,
                      weft_doc **out) WEFT_MUST_USE;

/* --- histories of documents (store/replica_hist.c) --- */

/* A change that touches a document. */
typedef struct weft_hist_entry {
  uint64_t shown; /* its place among all changes shown */
  weft_dot dot;
  uint64_t hlc;
} weft_hist_entry;

/* The newest row of a document, which goes on. */
typedef struct weft_hist_out {
  weft_buf row;
  uint32_t doc;
  uint64_t first; /* number of its first change */
  weft_hist_entry before;
} weft_hist_out;
void weft__hist_out_init(weft_hist_out *out, const weft_alloc *mem);
void weft__hist_out_free(weft_hist_out *out);
/* Goes on with what a record has.  WEFT_ECORRUPT, WEFT_ENOMEM. */
weft_err weft__hist_resume(weft_hist_out *out, const weft_doc_record *record) WEFT_MUST_USE;
/* Adds the next change of the document, ascending by `shown`.  A row that is full is stored. */
weft_err weft__hist_add(weft_hist_out *out, weft_txn *txn,
                        const weft_hist_entry *entry) WEFT_MUST_USE;
/* Puts what is not stored into the record, as a view until the next document.  WEFT_ENOMEM. */
weft_err weft__hist_leave(const weft_hist_out *out, weft_doc_record *record) WEFT_MUST_USE;

/* A row being read: a view of where it lies. */
typedef struct weft_hist_row {
  weft_rd rd;
  bool begun;
  weft_hist_entry at;
} weft_hist_row;
/* WEFT_EDONE: the entry is none, nor is what comes behind it; WEFT_ECORRUPT. */
weft_err weft__hist_row_begin(const weft_entry *stored, uint32_t doc,
                              weft_hist_row *row) WEFT_MUST_USE;
/* The one that is not full yet. */
weft_hist_row weft__hist_row_newest(const weft_doc_record *record);
/* WEFT_EDONE behind the last one; WEFT_ECORRUPT. */
weft_err weft__hist_row_next(weft_hist_row *row, weft_hist_entry *entry) WEFT_MUST_USE;

/* The history of one document, in the order of showing. */
typedef struct weft_hist_reader {
  weft_cursor *cursor; /* NULL once the newest row is reached */
  const weft_doc_record *record;
  weft_hist_row row;
  weft_err state; /* of the row */
} weft_hist_reader;
/* Begins to read; ended by weft__hist_end when it gave WEFT_OK.  Nothing is written meanwhile, and
 * the record (borrowed) lasts as long. */
weft_err weft__hist_begin(weft_txn *txn, const weft_doc_record *record,
                          weft_hist_reader *h) WEFT_MUST_USE;
/* WEFT_EDONE behind the last one; WEFT_ECORRUPT; errors of reading. */
weft_err weft__hist_next(weft_hist_reader *h, weft_hist_entry *entry) WEFT_MUST_USE;
void weft__hist_end(weft_hist_reader *h);

/* --- membership (store/replica_members.c) --- */

/* Reads all records into a new roster; `prove` checks their signatures, which were checked before
 * they were held, once more.  WEFT_ECORRUPT: the old roster stays. */
weft_err weft__roster_load(weft_replica *r, weft_txn *txn, bool prove) WEFT_MUST_USE;
/* True when records held allow `start` to open a log. */
bool weft__member_may_start(const weft_replica *r, const weft_start *start);
/* The record under which this device writes.  WEFT_EDENIED, WEFT_EFROZEN. */
weft_err weft__member_grant(weft_replica *r, weft_id *grant) WEFT_MUST_USE;

/* --- clock and incarnation (store/replica_clock.c) --- */

/* The next hlc of this device.  WEFT_ELIMIT: the wall clock is out of range. */
weft_err weft__clock_tick(weft_replica *r, uint64_t *out) WEFT_MUST_USE;
/* Before a write chooses its log: where the clock runs far ahead of the wall, which was ahead and
 * came back, it is set anew from the logs, and a log of ours that runs as far ahead is left. */
void weft__clock_follow(weft_replica *r);
/* Takes in the clock of a change that is being held, at `wall`. */
void weft__clock_merge(weft_replica *r, uint64_t hlc, weft_ms wall);
/* Compares store and mirror at open; decides on the incarnation. */
weft_err weft__incarnation_open(weft_replica *r, const weft_replica_options *o) WEFT_MUST_USE;
/* Starts a new incarnation at the next write. */
void weft__incarnation_renew(weft_replica *r, weft_begun_why why);
/* A new number for the store.  The same entropy gives the same one on every machine. */
uint64_t weft__instance_drawn(const weft_replica *r);
/* Whether a log of this device was written under the incarnation. */
bool weft__incarnation_used(const weft_replica *r, const uint8_t *incarnation);
/* Rewrites the mirror if a second has passed, or `now`. */
void weft__mirror_note(weft_replica *r, bool now);
void weft__mirror_free(weft_replica *r);

/* --- edits (store/replica_edit.c) --- */

/* Gives the writer of a document of the edit, for ops that have no public form; a view until the
 * edit ends.  Errors as weft_edit_set. */
weft_err weft__edit_writer(weft_edit *e, weft_bytes doc, weft_writer **out) WEFT_MUST_USE;
/* What an edit holds, for those who keep it or look ahead.  Views into edit and arena. */
typedef struct weft_edit_doc {
  weft_bytes name;
  const weft_op *ops; /* of `doc` nothing is said in them */
  size_t op_count;
} weft_edit_doc;
typedef struct weft_edit_place {
  weft_bytes doc;
  weft_path path;
} weft_edit_place;
typedef struct weft_edit_state {
  weft_bytes message;
  weft_bytes extensions;
  weft_lane lane;
  weft_ms begun;
  weft_bytes draft; /* its name in the store; empty: it is not there */
  uint64_t hlc;
  weft_op *ops; /* of all documents, which stand in them */
  size_t op_count;
  weft_edit_doc *docs; /* looked at, with ops or without */
  size_t doc_count;
  weft_edit_place *settled; /* whose conflicts it settles */
  size_t settled_count;
} weft_edit_state;
/* WEFT_EMISUSE: it is committed; WEFT_EBASE; WEFT_ELIMIT; WEFT_ENOMEM. */
weft_err weft__edit_state_of(weft_edit *e, weft_arena *arena, weft_edit_state *out) WEFT_MUST_USE;
/* Notes that the edit settles the conflict at a path. */
weft_err weft__edit_settle(weft_edit *e, weft_bytes doc, weft_path path) WEFT_MUST_USE;
/* The base of an edit as a vector. */
weft_err weft__edit_base(weft_edit *e, weft_txn *txn, weft_arena *arena,
                         weft_vector *out) WEFT_MUST_USE;
/* Copies bytes so that they last as long as the edit. */
weft_err weft__edit_keep(weft_edit *e, weft_bytes bytes, weft_bytes *copy) WEFT_MUST_USE;
/* Says that the edit lies in the store under a name (borrowed until the edit ends), and when it was
 * begun. */
void weft__edit_draft(weft_edit *e, weft_bytes name, weft_ms begun);
/* What weft_edit_commit would refuse. */
weft_err weft__edit_judge(weft_edit *e, weft_txn *txn, weft_arena *arena) WEFT_MUST_USE;
/* What the change would claim, and what stands before it in its log; log UINT32_MAX: nothing. */
weft_err weft__edit_claims(weft_edit *e, weft_arena *arena, weft_dot_list *claims,
                           weft_dot *head) WEFT_MUST_USE;
weft_replica *weft__edit_replica(const weft_edit *e);
/* Gives what the edit being committed has loaded of a document, as it stands in the store; false
 * when it has not, or somebody may have changed it since.  Views that last as long as the edit. */
bool weft__edit_handed(const weft_replica *r, weft_bytes name, weft_doc_record *record,
                       const weft_state_piece **pieces, size_t *count);
/* After a rollback: edits that rest on what was undone can no longer be committed. */
void weft__edits_rollback(weft_replica *r);
void weft__edits_drop(weft_replica *r);

/* --- memory of a group (store/replica_spare.c) --- */

/* An empty arena or document, to be given back; within a group it is one that was given before, if
 * there is one.  WEFT_ENOMEM.  Giving NULL does nothing. */
weft_arena weft__spare_arena(weft_replica *r);
void weft__spare_arena_give(weft_replica *r, weft_arena *arena);
weft_err weft__spare_doc(weft_replica *r, weft_doc **out) WEFT_MUST_USE;
void weft__spare_doc_give(weft_replica *r, weft_doc *doc);
/* When a group ends. */
void weft__spares_free(weft_replica *r);

/* --- indexes (store/query_index.c) --- */

/* Reads all declarations. */
weft_err weft__indexes_load(weft_replica *r, weft_txn *txn) WEFT_MUST_USE;
/* The upkeep, called around the writes to one document.  `before` loads what is needed of the
 * document and notes its entries in `arena`, NULL in `*entries` when no index asks for it; `record`
 * is live only when the document was.  `after` moves the entries to what is shown now. */
typedef struct weft_index_entries weft_index_entries;
weft_err weft__index_before(weft_replica *r, const weft_doc_record *record, weft_state *state,
                            weft_arena *arena, weft_index_entries **entries) WEFT_MUST_USE;
weft_err weft__index_after(weft_replica *r, const weft_doc_record *record, const weft_state *state,
                           weft_arena *arena, weft_index_entries *entries) WEFT_MUST_USE;

/* --- events (store/replica_events.c, store/replica_events_read.c) --- */

/* How many events follow from a change that is shown: none from a START, one and one a document
 * from DATA, one from what is not VALID. */
size_t weft__event_count(const weft_change *change);
/* Accounts for the `count` events of the change just added to the order.  Errors of writes. */
weft_err weft__event_derived(weft_replica *r, weft_txn *txn, size_t count) WEFT_MUST_USE;
/* Gives an event of a stored type the next number, in the caller's transaction. */
weft_err weft__event_put(weft_replica *r, weft_txn *txn, const weft_event *event) WEFT_MUST_USE;
/* Puts what was posted into the transaction; and what becomes of it when that is over. */
weft_err weft__event_posts_put(weft_replica *r, weft_txn *txn) WEFT_MUST_USE;
void weft__event_posts_done(weft_replica *r, bool durable);
/* Before showing begins anew: stores the events that are derived now and kept, and remembers whose
 * events have been told.  The caller's transaction. */
weft_err weft__events_settle(weft_replica *r, weft_txn *txn) WEFT_MUST_USE;
/* Reads what belongs to the image. */
weft_err weft__events_load(weft_replica *r, weft_txn *txn) WEFT_MUST_USE;
void weft__events_free(weft_replica *r);
/* An event of this device, now. */
weft_event weft__event_own(const weft_replica *r, weft_event_type type);
/* The oldest number kept; last + 1 when there is none. */
weft_err weft__event_first(const weft_replica *r, weft_txn *txn, uint64_t last,
                           uint64_t *first) WEFT_MUST_USE;
/* The place that a reader of the events after `since` starts from: `seq` and the number of changes
 * shown by then, both 0 without an entry. */
weft_err weft__event_anchor_at(weft_replica *r, weft_txn *txn, uint64_t since, uint64_t *seq,
                               uint64_t *shown) WEFT_MUST_USE;
/* Reads up to `max` of the events since + 1 .. last as the transaction has them. */
weft_err weft__events_read(weft_replica *r, weft_txn *txn, weft_arena *arena, uint64_t since,
                           uint64_t last, size_t max, weft_event **out,
                           size_t *count) WEFT_MUST_USE;
/* Takes an entry of `event` apart; `body` is empty for one that only marks a place. */
weft_err weft__event_entry(const weft_replica *r, const weft_entry *entry, uint64_t *seq,
                           uint64_t *shown, weft_bytes *body) WEFT_MUST_USE;

/* --- rows --- */

enum { WEFT_ROW_CHECK_LEN = 4 };

/* Ends a value with the first bytes of its keyed hash, so that damage is noticed when it is read.
 */
void weft__row_seal(const weft_replica *r, weft_buf *b);
/* Checks it; `content` is the value without it, a view.  WEFT_ECORRUPT. */
weft_err weft__row_open(const weft_replica *r, weft_bytes row, weft_bytes *content) WEFT_MUST_USE;

/* --- META --- */

weft_err weft__meta_put(weft_replica *r, weft_txn *txn) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

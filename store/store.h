/* The storage interface: ordered tables of byte strings, one writer at a time, snapshot readers.
 *
 * A weft_store is a set of named tables, fixed by WEFT_TABLES.  Everything is read and written in a
 * transaction.  A read transaction sees the last commit before it began and nothing later; a write
 * transaction sees its own writes, and all or none of them become durable when it is committed.
 * Behind the interface are an LMDB file (store/lmdb_store.h) and a memory store
 * (store/memory_store.h).  Both answer the same calls with the same bytes and the same errors.
 *
 * Happy path: weft_store_begin, get / put / cursor, weft_txn_commit; all in one function, never
 * across a loop turn, a callback or a fork: an open reader stops the file from reusing pages.
 *
 * Failure modes:
 * - A write that fails with anything but WEFT_ENOTFOUND, WEFT_ELIMIT or WEFT_EMISUSE has spoilt its
 *   transaction: every later call on it gives that error again, and so does commit, which writes
 *   nothing then.
 * - WEFT_EFULL: abort, close all transactions, weft_store_grow, retry once.  When growing fails the
 *   disk or the set limit is full; reading goes on.
 * - WEFT_EIO from commit: it is unknown what is durable.  The store is dead: every call but
 *   weft_store_get_diag and weft_store_free gives WEFT_EIO.  Close it and open it again.
 *
 * Threads: a transaction and its cursors are used by one thread at a time; a write transaction ends
 * on the thread that began it.  An LMDB store may be shared by one writing and several reading
 * threads; a memory store belongs to one thread. */
#ifndef WEFT_STORE_H
#define WEFT_STORE_H

#include "../crdt/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Every table: enum name, name on disk, key -> value.  Integers in keys are big-endian
 * (store/keys.h).  New tables are added at the end. */
#define WEFT_TABLES(X)                                                                             \
  X(META, "meta", "short text -> vectors, digest, counters")                                       \
  X(LOGS, "logs", "u32 log -> log head")                                                           \
  X(LOGID, "logid", "32-byte log id -> list of u32 log")                                           \
  X(NUMBERS, "numbers", "u32 log, u32 claim number -> branch of a log")                            \
  X(LOG, "log", "u32 log, u64 first seq -> chunk")                                                 \
  X(TAIL, "tail", "u32 log, u64 seq -> one change")                                                \
  X(DOCID, "docid", "document name -> u32 document")                                               \
  X(STATE, "state", "u32 document, path -> segment of fields; its record and history")             \
  X(ORDER, "order", "u64 shown number -> run")                                                     \
  X(ARRIVAL, "arrival", "u64 number of its first change -> run")                                   \
  X(RECORD, "record", "32-byte record id -> membership record")                                    \
  X(ACK, "ack", "32-byte device -> acknowledgement")                                               \
  X(CONTEST, "contest", "u32 document -> counts of conflicts")                                     \
  X(INDEX, "index", "u32 index, sort key, document name -> u32 document")                          \
  X(INDEXDEF, "indexdef", "u32 index -> declaration")                                              \
  X(ADDRESS, "address", "address -> what is known of it")                                          \
  X(TAG, "tag", "reserved")                                                                        \
  X(EVENT, "event", "u64 event number -> shown number, stored event")                              \
  X(DRAFT, "draft", "name -> an edit that is not committed yet")

typedef enum weft_table {
#define WEFT_TABLE_ENUM(id, name, what) WEFT_TABLE_##id,
  WEFT_TABLES(WEFT_TABLE_ENUM)
#undef WEFT_TABLE_ENUM
      WEFT_TABLE_COUNT
} weft_table;

/* Gives the static name of `table` on disk, "?" when it is none.  Any thread. */
const char *weft_table_name(weft_table table);

typedef struct weft_store weft_store;
typedef struct weft_txn weft_txn;
typedef struct weft_cursor weft_cursor;

typedef struct weft_entry {
  weft_bytes key;
  weft_bytes value;
} weft_entry;

/* How much room a store takes, in bytes. */
typedef struct weft_store_size {
  uint64_t used; /* pages or memory in use, free pages inside the file included */
  uint64_t max;  /* refuses to grow beyond without weft_store_grow; UINT64_MAX: no bound */
} weft_store_size;

/* Closes the store and frees it.  `s` may be NULL.  Every transaction must have ended (asserted).
 */
WEFT_API void weft_store_free(weft_store *s);

/* Copies out what is known of the last failure of a call on this store or its transactions; err is
 * WEFT_OK when nothing has failed.  What the caller asked for in vain (WEFT_ENOTFOUND, WEFT_EDONE,
 * WEFT_ELIMIT, WEFT_EMISUSE) is not told.  Any thread. */
WEFT_API void weft_store_get_diag(weft_store *s, weft_diag *out);

/* Gives the room taken.  WEFT_EIO: the store is dead.  Any thread. */
weft_err weft_store_get_size(weft_store *s, weft_store_size *size) WEFT_MUST_USE;

/* Doubles the room the store may take.
 * WEFT_EMISUSE: a transaction is open; nothing changed.  WEFT_EREADONLY: the store was opened for
 * reading.  WEFT_EFULL: it cannot grow further, or the last WEFT_EFULL was for want of
 * something else, such as disk: told once.  WEFT_ENOMEM: no address space; the store is dead.
 * WEFT_EIO: the store is dead.  Any thread. */
weft_err weft_store_grow(weft_store *s) WEFT_MUST_USE;

typedef enum weft_txn_mode { WEFT_TXN_READ, WEFT_TXN_WRITE } weft_txn_mode;

/* Begins a transaction.  `*out` is set only on WEFT_OK, and is ended by weft_txn_commit or
 * weft_txn_abort.  Readers may be open beside the one writer.
 * WEFT_EMISUSE: a write transaction of this store is open already.  WEFT_EREADONLY: WEFT_TXN_WRITE
 * on a store opened for reading.  WEFT_EAGAIN: too many readers, or another process has grown the
 * file while transactions are open here: end some, then retry.  WEFT_ENOMEM.  WEFT_EIO: the store
 * is dead. */
weft_err weft_store_begin(weft_store *s, weft_txn_mode mode, weft_txn **out) WEFT_MUST_USE;

/* Ends `t`, also when it fails; a writer's puts and deletes are durable when it gives WEFT_OK.
 * Cursors of `t` must have been closed (asserted).  Committing a reader only ends it.
 * WEFT_EFULL, WEFT_ENOMEM: nothing of it was written; the store goes on.  WEFT_EIO: the store is
 * dead.  Otherwise the error that spoilt the transaction. */
weft_err weft_txn_commit(weft_txn *t) WEFT_MUST_USE;

/* Ends `t` without writing anything.  `t` may be NULL.  Its cursors must have been closed. */
void weft_txn_abort(weft_txn *t);

/* Finds `key`.  `*value` is a view until the next write through `t` or its end; an empty view
 * unless WEFT_OK. WEFT_ENOTFOUND.  WEFT_ELIMIT: see weft_txn_put; no such key can exist.  WEFT_EIO.
 */
weft_err weft_txn_get(weft_txn *t, weft_table table, weft_bytes key,
                      weft_bytes *value) WEFT_MUST_USE;

typedef struct weft_wanted {
  weft_table table;
  weft_bytes key;
} weft_wanted;

/* Whether it is worth while to tell what is going to be read through `t`: something lately had to
 * come from a disk.  Costs a system call. */
bool weft_txn_is_cold(weft_txn *t);

/* Says that these keys, or what follows them, are going to be read through `t`: what of them has to
 * come from a disk may then come all at once.  A hint, which changes no answer and cannot fail;
 * `wanted` is borrowed.  Keys of one table are best named together. */
void weft_txn_want(weft_txn *t, const weft_wanted *wanted, size_t count);

/* Copies `value` under `key`, replacing what stands there.  Neither may be a view into the store.
 * Keys are 1 to WEFT_KEY_LEN_MAX bytes (META: WEFT_STORE_META_KEY_LEN_MAX), values 0 to
 * WEFT_STORE_VALUE_LEN_MAX: else WEFT_ELIMIT, and nothing changed.
 * WEFT_EMISUSE: `t` is a reader.  WEFT_EFULL, WEFT_ENOMEM, WEFT_EIO: `t` is spoilt. */
weft_err weft_txn_put(weft_txn *t, weft_table table, weft_bytes key,
                      weft_bytes value) WEFT_MUST_USE;

/* As weft_txn_put, with the hint that `key` follows every key of the table: pages are then filled
 * whole.  A wrong hint costs a search and nothing else. */
weft_err weft_txn_append(weft_txn *t, weft_table table, weft_bytes key,
                         weft_bytes value) WEFT_MUST_USE;

/* Removes `key`, which may be a view into the store.
 * WEFT_ENOTFOUND, WEFT_ELIMIT: nothing changed.  WEFT_EMISUSE: `t` is a reader.  WEFT_EFULL
 * (freeing needs pages too), WEFT_ENOMEM, WEFT_EIO: `t` is spoilt. */
weft_err weft_txn_delete(weft_txn *t, weft_table table, weft_bytes key) WEFT_MUST_USE;

/* A range of keys: from <= key < to.  Empty `from`: from the first; empty `to`: to the last. */
typedef struct weft_key_range {
  weft_bytes from;
  weft_bytes to;
} weft_key_range;

/* Removes every key of `range` and gives how many there were; none is no error.  A bound may be
 * longer than a key.  Neither may be a view into the store.
 * Errors as weft_txn_delete, without WEFT_ENOTFOUND and WEFT_ELIMIT; `*count` is then 0. */
weft_err weft_txn_delete_range(weft_txn *t, weft_table table, weft_key_range range,
                               uint64_t *count) WEFT_MUST_USE;

/* Counts the entries of `table`, in constant time.  WEFT_EIO. */
weft_err weft_txn_count(weft_txn *t, weft_table table, uint64_t *count) WEFT_MUST_USE;

/* --- cursors ---
 *
 * A cursor is new, on an entry, or ended.  New: next is first, prev is last.  On an entry: next
 * and prev go to its neighbours in key order as the table is now, also when the entry has been
 * deleted or others were put beside it meanwhile.  Ended (a move gave WEFT_EDONE): next and prev
 * give WEFT_EDONE until it is placed anew.  Entries are views until the next write through the
 * transaction or its end; they are empty unless WEFT_OK. */

/* Opens a cursor; `*out` is set only on WEFT_OK, and must be closed before the transaction ends.
 * WEFT_ENOMEM, WEFT_EIO. */
weft_err weft_cursor_open(weft_txn *t, weft_table table, weft_cursor **out) WEFT_MUST_USE;

/* Closes a cursor; NULL does nothing. */
void weft_cursor_close(weft_cursor *c);

/* Each moves and gives the entry.  WEFT_EDONE: there is none.  WEFT_EIO, WEFT_ECORRUPT. */
weft_err weft_cursor_first(weft_cursor *c, weft_entry *entry) WEFT_MUST_USE;
weft_err weft_cursor_last(weft_cursor *c, weft_entry *entry) WEFT_MUST_USE;
weft_err weft_cursor_next(weft_cursor *c, weft_entry *entry) WEFT_MUST_USE;
weft_err weft_cursor_prev(weft_cursor *c, weft_entry *entry) WEFT_MUST_USE;
/* The smallest key >= `key`.  `key` may be empty or longer than a key can be. */
weft_err weft_cursor_seek(weft_cursor *c, weft_bytes key, weft_entry *entry) WEFT_MUST_USE;
/* The greatest key <= `key`: the run, chunk or segment that a number or path falls into. */
weft_err weft_cursor_seek_back(weft_cursor *c, weft_bytes key, weft_entry *entry) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

/* Probes: how fast the bare libraries are on this machine, without any code of weft.
 *
 * They do the least that a program could do for the same job with the same libraries: put the same
 * values under the same keys with as many synced commits, carry as many bytes through an encrypted
 * connection, hash and verify as much.  What weft reaches is shown as a share of it. */
#ifndef WEFT_BENCH_PROBE_H
#define WEFT_BENCH_PROBE_H

#include "bench/bench.h"

typedef struct probe_item {
  weft_bytes key;
  weft_bytes value;
} probe_item;

typedef struct probe_items {
  probe_item *at;
  size_t count;
} probe_items;

/* A put of a real store, as it was recorded. */
typedef struct probe_put {
  unsigned table; /* of the store, below PROBE_TABLES_MAX */
  unsigned kind;  /* 0 state, 1 log, 2 history */
  bool last;      /* a synced commit follows */
  weft_bytes key;
  weft_bytes value;
} probe_put;

typedef struct probe_puts {
  probe_put *at;
  size_t count;
} probe_puts;

enum { PROBE_TABLES_MAX = 24, PROBE_KINDS = 3 };

/* --- probe_items.c: the W1 data as keys and values; everything lies in `arena` --- */

/* Every field as inserted: the template's number and the field's name -> the value. */
weft_err probe_items_import(weft_arena *arena, uint32_t templates, probe_items *out) WEFT_MUST_USE;
/* The next `count` updates likewise. */
weft_err probe_items_updates(weft_arena *arena, w1_updates *updates, size_t count,
                             probe_items *out) WEFT_MUST_USE;
/* `count` byte strings under ascending numbers. */
weft_err probe_items_blobs(weft_arena *arena, const weft_bytes *blobs, size_t count,
                           probe_items *out) WEFT_MUST_USE;
/* Sorts by key within each `group`; the order of equal keys stays. */
weft_err probe_items_sort(weft_arena *arena, probe_items *items, size_t group) WEFT_MUST_USE;

/* --- probe_lmdb.c --- */

typedef struct probe_lmdb probe_lmdb;

/* Makes a new LMDB file `name` in the scratch folder, in its default durability, with 1 to
 * PROBE_TABLES_MAX tables.  With three, an item put is three puts, as a program with history needs
 * them: the state, a log of all writes, and an index of the history of each template. */
weft_err probe_lmdb_open(probe_lmdb **out, bench *b, const char *name,
                         unsigned tables) WEFT_MUST_USE;
/* Closes it and removes the file. */
void probe_lmdb_close(probe_lmdb *p);
/* Puts the items, `group` in a synced transaction, and adds the time taken to `seconds`. */
weft_err probe_lmdb_put(probe_lmdb *p, probe_items items, size_t group,
                        double *seconds) WEFT_MUST_USE;
/* Makes the same puts with the same commits, and adds the time taken to `seconds`: with one table
 * all into it, the number of the store's table before each key; with three likewise by kind; with
 * PROBE_TABLES_MAX each into a table of its own. */
weft_err probe_lmdb_replay(probe_lmdb *p, probe_puts puts, double *seconds) WEFT_MUST_USE;
/* Reads `count` entries of the first table from `key` on, each by a cursor and then by its key, and
 * gives the time taken. */
weft_err probe_lmdb_page(probe_lmdb *p, weft_bytes key, size_t count,
                         double *seconds) WEFT_MUST_USE;
/* Opens the file at `path`, looks up the first key of table `name`, closes it, and gives the time
 * until the value was there. */
weft_err probe_lmdb_cold(bench *b, const char *path, const char *name,
                         double *seconds) WEFT_MUST_USE;
/* Length of the file. */
uint64_t probe_lmdb_len(const probe_lmdb *p);

/* --- probe_rows.c: a replica of rows, without chunks, columns, signatures and losers --- */

typedef struct probe_rows {
  weft_bytes *at;    /* each a change of one field */
  probe_items state; /* what each puts into the state */
  uint64_t len;      /* bytes of all rows */
} probe_rows;

/* Makes rows of items; everything lies in `arena`. */
weft_err probe_rows_make(weft_arena *arena, probe_items items, probe_rows *out) WEFT_MUST_USE;

typedef enum probe_rows_kind {
  PROBE_ROWS_LOG,    /* each row decoded, chained by a hash, and appended to the log */
  PROBE_ROWS_SORTED, /* that; then the state, in key order within a transaction */
  PROBE_ROWS_NAIVE   /* log and state of a row together, in the order of arrival */
} probe_rows_kind;

typedef struct probe_rows_job {
  probe_rows_kind kind;
  probe_items before; /* in the state already */
  probe_rows rows;
  size_t group;       /* rows of a synced transaction */
  size_t state_group; /* of PROBE_ROWS_SORTED: of one that puts the state */
} probe_rows_job;

/* Does the job on a new file and adds its time to `seconds`. */
weft_err probe_rows_run(bench *b, const probe_rows_job *job, double *seconds) WEFT_MUST_USE;

/* --- probe_merge.c --- */

/* Merges the rows of a job in memory, over those of what was there before, into a plain hash table,
 * and adds the time taken to `seconds`. */
weft_err probe_rows_merge(bench *b, const probe_rows_job *job, double *seconds) WEFT_MUST_USE;

/* --- probe_net.c --- */

/* Carries `len` bytes from one thread to another over TCP on the loopback, in records of 64 KiB
 * sealed with ChaCha20-Poly1305, and gives the time until the last one was opened. */
weft_err probe_loopback(bench *b, uint64_t len, double *seconds) WEFT_MUST_USE;

/* A connection on which another thread sends every message back, 96 bytes sealed.  Ended by
 * probe_line_close, which takes NULL. */
typedef struct probe_line probe_line;
weft_err probe_line_open(probe_line **out, bench *b) WEFT_MUST_USE;
void probe_line_close(probe_line *p, bench *b);
/* Sends one and waits for it to come back; adds half of the time to `seconds`. */
weft_err probe_line_message(probe_line *p, bench *b, double *seconds) WEFT_MUST_USE;

/* --- probe_crypto.c --- */

/* Seconds each. */
typedef struct probe_crypto {
  double hash_small; /* BLAKE2b of 96 bytes: a change of one field */
  double hash_byte;  /* of one more byte */
  double verify;     /* an Ed25519 signature over a few bytes */
  double sign;
  double seal_byte; /* ChaCha20-Poly1305 in records of 64 KiB */
  double open_byte;
} probe_crypto;
void probe_crypto_measure(probe_crypto *out);

/* --- probe_zstd.c --- */

/* Length of the values of `items`, one after the other, in one zstd frame of level 3. */
weft_err probe_zstd_len(bench *b, probe_items items, uint64_t *len) WEFT_MUST_USE;

#endif

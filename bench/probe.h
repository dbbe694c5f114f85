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

/* Makes a new LMDB file `name` in the scratch folder, in its default durability.  With one table,
 * an item is one put.  With three it is three, as a program with history needs them: the state, a
 * log of all writes, and an index of the history of each template. */
weft_err probe_lmdb_open(probe_lmdb **out, bench *b, const char *name,
                         unsigned tables) WEFT_MUST_USE;
/* Closes it and removes the file. */
void probe_lmdb_close(probe_lmdb *p);
/* Puts the items, `group` in a synced transaction, and adds the time taken to `seconds`. */
weft_err probe_lmdb_put(probe_lmdb *p, probe_items items, size_t group,
                        double *seconds) WEFT_MUST_USE;
/* Length of the file. */
uint64_t probe_lmdb_len(const probe_lmdb *p);

/* --- probe_net.c --- */

/* Carries `len` bytes from one thread to another over TCP on the loopback, in records of 64 KiB
 * sealed with ChaCha20-Poly1305, and gives the time until the last one was opened. */
weft_err probe_loopback(bench *b, uint64_t len, double *seconds) WEFT_MUST_USE;

/* --- probe_crypto.c --- */

/* Seconds each. */
typedef struct probe_crypto {
  double hash_small; /* BLAKE2b of 96 bytes: a change of one field */
  double hash_byte;  /* of one more byte */
  double verify;     /* an Ed25519 signature over a few bytes */
  double sign;
  double seal_byte; /* ChaCha20-Poly1305 in records of 64 KiB */
} probe_crypto;
void probe_crypto_measure(probe_crypto *out);

/* --- probe_zstd.c --- */

/* Length of the values of `items`, one after the other, in one zstd frame of level 3. */
weft_err probe_zstd_len(bench *b, probe_items items, uint64_t *len) WEFT_MUST_USE;

#endif

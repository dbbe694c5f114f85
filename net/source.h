/* What the protocol cores want from a replica, as a table of functions: they never see the store.
 *
 * Production and simulator fill it with net/replica_source.c.  All calls answer at once and change
 * nothing; what changes the replica goes out as a node action and comes back as an event.  Views
 * are good until the replica is next written. */
#ifndef WEFT_SOURCE_H
#define WEFT_SOURCE_H

#include "../crdt/roster.h"
#include "../crdt/vector.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_source_span { /* changes of one branch of a log, inclusive */
  weft_id log;
  uint32_t branch; /* the replica's number for it, of no meaning elsewhere */
  uint64_t from, to;
} weft_source_span;

#define WEFT_SOURCE_ANY UINT32_MAX /* the first branch of a log: almost every log has but one */

typedef struct weft_source {
  void *ctx;
  const weft_vector *(*held)(void *ctx);
  const weft_vector *(*shown)(void *ctx);
  const weft_vector *(*showable)(void *ctx);
  const weft_roster *(*roster)(void *ctx);
  uint64_t (*instance)(void *ctx); /* random number of this store's life */
  uint64_t (*arrival)(void *ctx);  /* grows with every change held or committed */
  uint32_t (*apply_level)(void *ctx);
  void (*digest)(void *ctx, uint8_t out[16]);
  uint64_t (*clock)(void *ctx); /* the device's hybrid clock, now */
  /* What is held here and `theirs` lacks, in the order to send it (as shown here, then as it
   * arrived), at most `max` spans.  Array in `arena`; after an error `count` is 0. */
  weft_err (*missing)(void *ctx, weft_arena *arena, const weft_vector *theirs, size_t max,
                      weft_source_span **out, size_t *count);
  /* What arrived after `arrival`, oldest first; `last` gets the number reached. */
  weft_err (*arrivals)(void *ctx, weft_arena *arena, uint64_t arrival, size_t max,
                       weft_source_span **out, size_t *count, uint64_t *last);
  /* Appends one chunk from `from` on, as far as `to` when that fits a chunk, always ending on a
   * signature; `last` gets its last seq.  WEFT_ENOTFOUND: not held. */
  weft_err (*read_chunk)(void *ctx, const weft_id *log, uint32_t branch, uint64_t from, uint64_t to,
                         weft_buf *out, uint64_t *last);
  /* Makes several short chunks that read_chunk gave into fewer that hold the same; new ones lie in
   * `arena`.  None may be of a log with several branches.  On an error they are as they were. */
  weft_err (*pack)(void *ctx, weft_arena *arena, weft_bytes *chunks, size_t *count);
  /* The id of (log, seq) on a branch or before it. WEFT_ENOTFOUND. */
  weft_err (*id_at)(void *ctx, const weft_id *log, uint32_t branch, uint64_t seq, weft_id *out);
  /* Finds a held change: its branch, from the first to the last change that is of that branch
   * alone.  WEFT_ENOTFOUND. */
  weft_err (*find)(void *ctx, const weft_id *log, uint64_t seq, const weft_id *id,
                   weft_source_span *out);
  /* The device that writes `log`. WEFT_ENOTFOUND: nothing of it is held. */
  weft_err (*author)(void *ctx, const weft_id *log, weft_id *out);
  /* What a log overtakes: 0 critical, 1 high, 2 normal, 3 low. */
  uint8_t (*lane)(void *ctx, const weft_id *log);
  /* The newest acknowledgement known of each device, as ACK actions gave them. */
  weft_err (*acks)(void *ctx, weft_arena *arena, weft_bytes **acks, size_t *count);
} weft_source;

#ifdef __cplusplus
}
#endif
#endif

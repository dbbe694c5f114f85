/* The W1 changes of eight devices, as chunks ready to be held by a ninth.
 *
 * The changes are made without replicas: everybody has been shown everything before a turn, so what
 * a change claims is simply the last writer of its field.  Chunks lie in causal order unless they
 * are packed; each is one run, and ends on a signature. */
#ifndef WEFT_BENCH_FEED_H
#define WEFT_BENCH_FEED_H

#include "bench/fleet.h"

typedef struct feed {
  weft_arena arena;
  weft_bytes *import; /* chunks of device 0's import */
  size_t import_count;
  weft_bytes *updates; /* chunks of the updates */
  size_t update_count;
  uint64_t import_changes;         /* with the START of the log */
  uint64_t update_changes;         /* with the STARTs of the other logs */
  uint64_t update_raw_len;         /* canonical bytes */
  uint64_t claims, tags;           /* of the updates */
  uint64_t import_len, update_len; /* bytes of the chunks */
} feed;

typedef struct feed_options {
  uint32_t templates;
  uint32_t updates;
  uint32_t run; /* changes between signatures, at most: W1_BLOCK for a turn, 1 for every change */
  bool human;   /* with people's pauses between updates instead of a program's */
  bool alone;   /* all updates are of device 0 */
  bool packed;  /* in long chunks of one log each, as who was away gets them from a store */
} feed_options;

/* Makes the chunks.  Ended by feed_free, also after an error. */
weft_err feed_make(feed *out, fleet *f, const feed_options *o) WEFT_MUST_USE;
void feed_free(feed *f);

#endif

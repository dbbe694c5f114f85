/* Positions: where an element stands in its array.
 *
 * A position is a list of components, each a signed 32-bit integer in an order-preserving code of
 * 1, 2 or 5 bytes followed by 3 bytes that tell its author, at most WEFT_POSITION_LEN_MAX bytes in
 * all. Positions compare as byte strings; ties are broken by element id.  The empty position means
 * "none" and stands first.
 *
 *   -32 .. 31           1 byte   60 .. 9f
 *   32 .. 8191          2 bytes  a8 00 .. c7 df
 *   -8192 .. -33        2 bytes  38 20 .. 57 ff
 *   the others          5 bytes  10 or f0, then the low 32 bits, big-endian
 *
 * A change with malformed positions is invalid content, and no more is believed than that: here any
 * byte string within the limit may stand.  It orders like every other; only its longest well-formed
 * beginning is looked at when something must be put beside it, no position is built on the rest,
 * and where nothing fits, the elements around are given new positions.  So what comes out of here
 * is always well-formed. */
#ifndef WEFT_POSITION_H
#define WEFT_POSITION_H

#include "crdt/alloc.h"
#include "crdt/limits.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { WEFT_POSITION_TAG_LEN = 3 };

typedef struct weft_position {
  uint8_t b[WEFT_POSITION_LEN_MAX];
  uint8_t len;
} weft_position;

/* Checks the bytes of a position: one or more whole components with shortest integers.  WEFT_OK;
 * WEFT_ELIMIT: too long; WEFT_EMALFORMED: anything else, also no bytes.  Any thread. */
weft_err weft__position_check(weft_bytes position) WEFT_MUST_USE;

/* Makes a position strictly between `lo` and `hi`; an empty `lo` means the start of the array, an
 * empty `hi` its end.  Neither needs to be well-formed, nor `lo` below `hi`.  `out` is set only on
 * WEFT_OK.  WEFT_ELIMIT: nothing fits; give the neighbours new positions.  Any thread. */
weft_err weft__position_between(weft_bytes lo, weft_bytes hi,
                                const uint8_t tag[WEFT_POSITION_TAG_LEN],
                                weft_position *out) WEFT_MUST_USE;

/* One element of an array in the order that is wanted. */
typedef struct weft_place {
  weft_bytes id; /* in: its element id; no two are equal */
  weft_bytes
      position; /* in: where it stands now, empty = none; out, if moved: a view into the arena */
  bool stands;  /* in: it is in the array, so it may keep its position */
  bool moved;   /* out: it gets a new position */
} weft_place;

/* Gives positions so that `items` stand in the order of the list, moving as few of those that stand
 * as possible (all but a longest increasing run).  Where nothing of WEFT_POSITION_LEN_MAX bytes
 * fits, or neighbours are equal, the smallest surrounding window (doubling) is moved in which every
 * new position takes at most WEFT_POSITION_LEN_WINDOW bytes.  O(n log n), a little more at the
 * limit. WEFT_OK, WEFT_ENOMEM.  Any thread. */
weft_err weft__positions_place(weft_arena *arena, const uint8_t tag[WEFT_POSITION_TAG_LEN],
                               weft_place *items, size_t count) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

/* Generated changes, for the laws of the codecs. */
#ifndef WEFT_TESTS_CHANGES_H
#define WEFT_TESTS_CHANGES_H

#include "crdt/chunk.h"
#include "tests/support/rng.h"

/* Makes a change that keeps every rule of the bytes: START or DATA, with messages, extensions,
 * claims and ops of every kind, in any order.  Everything lies in `arena`.  Fails the running test
 * when memory is out. */
weft_change test_change_any(weft_arena *arena, test_rng *rng);

/* Makes a DATA change of one scalar without claims. */
weft_change test_change_single(weft_arena *arena, uint64_t hlc, const char *doc, const char *key,
                               weft_bytes value);

/* Gives the canonical bytes of `change` in `arena`; fails the running test when there are none. */
weft_bytes test_change_bytes(weft_arena *arena, const weft_change *change);

/* Tells whether what columns told of a change is what its bytes say: the same clock and claims, or
 * nothing.  `known` gets whether a reader of bytes finds a DATA without message, extensions and
 * positions, of which columns that are in order should tell. */
bool test_brief_true(weft_arena *arena, weft_bytes raw, const weft_brief *brief, bool *known);

/* Encoded scalars, in `arena`. */
weft_bytes test_scalar_int(weft_arena *arena, int64_t v);
weft_bytes test_scalar_real(weft_arena *arena, double v);
weft_bytes test_scalar_bool(weft_arena *arena, bool v);
weft_bytes test_scalar_null(weft_arena *arena);
weft_bytes test_scalar_text(weft_arena *arena, const char *text);
weft_bytes test_scalar_blob(weft_arena *arena, weft_bytes bytes);
weft_bytes test_scalar_any(weft_arena *arena, test_rng *rng);

/* The encoded path of one object key. */
weft_path test_path_key(weft_arena *arena, const char *key);

#endif

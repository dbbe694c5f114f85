/* Generated values and paths, for laws that must hold for all of them. */
#ifndef WEFT_TESTS_GEN_H
#define WEFT_TESTS_GEN_H

#include "crdt/path.h"
#include "crdt/value.h"
#include "tests/support/rng.h"

/* A string of up to `chars` characters, from NUL (unless `no_nul`) to beyond the basic plane. */
weft_bytes test_gen_text(test_rng *r, weft_arena *arena, size_t chars, bool no_nul);

/* A storable scalar; small ranges and the edges of every encoding are frequent.  `bytes` says
 * whether WEFT_BYTES may come, which JSON has no form for. */
weft_value test_gen_scalar(test_rng *r, weft_arena *arena, bool bytes);

/* A storable tree, at most `depth` containers deep. */
weft_value test_gen_value(test_rng *r, weft_arena *arena, unsigned depth, bool bytes);

/* A step as pushes accept it; names are short and few, so that paths meet. */
weft_step test_gen_step(test_rng *r, weft_arena *arena);

/* A path of at most `steps` steps. */
weft_path test_gen_path(test_rng *r, weft_arena *arena, size_t steps);

#endif

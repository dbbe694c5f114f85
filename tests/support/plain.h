/* Plain JSON in tests: random values, and edits done the obvious way, to compare with what the
 * product makes.  Shares no code with the product's diff and view.  Everything lies in an arena;
 * values are never changed in place, an edit copies what it touches. */
#ifndef WEFT_TESTS_PLAIN_H
#define WEFT_TESTS_PLAIN_H

#include "crdt/value.h"
#include "tests/support/rng.h"

/* One step of a place in plain JSON. */
typedef struct test_step {
  bool is_index;
  size_t idx;
  weft_bytes key;
} test_step;

typedef enum test_edit_kind {
  TEST_SET,
  TEST_REMOVE,
  TEST_INSERT, /* into the array at the place, before `from` */
  TEST_MOVE,   /* within the array at the place, so that `from` ends at `to` */
  TEST_MERGE   /* objects keep what `value` lacks */
} test_edit_kind;

typedef struct test_edit {
  test_edit_kind kind;
  const test_step *steps;
  size_t count;
  const weft_value *value;
  size_t from, to;
} test_edit;

/* Gives the value after the edit; NULL when nothing is left.  `root` may be NULL.  Objects are made
 * on the way; indexes must exist. */
const weft_value *test_plain_edit(weft_arena *arena, const weft_value *root, const test_edit *edit);

/* What stands at a place; NULL when nothing does. */
const weft_value *test_plain_at(const weft_value *root, const test_step *steps, size_t count);

/* NULL-safe weft_value_equal. */
bool test_plain_same(const weft_value *a, const weft_value *b);

/* A random value, nested at most twice more; keys x, y, z, id; few distinct scalars, so that equal
 * ones meet. */
const weft_value *test_plain_random(weft_arena *arena, test_rng *rng, unsigned depth);

/* A random object. */
const weft_value *test_plain_object(weft_arena *arena, test_rng *rng, unsigned depth);

/* What a person makes of a file: one to three random edits anywhere in `root`. */
const weft_value *test_plain_mutate(weft_arena *arena, test_rng *rng, const weft_value *root);

/* One of the keys x, y, z. */
weft_bytes test_plain_key(test_rng *rng);

#endif

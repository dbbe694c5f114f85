/* The places of the code that ask for something: each a stack of callers.  A loop that fails every
 * k-th allocation or store call spends most of its time on calls that one line makes again and
 * again; one that fails each place at its first and at its last call goes through all error paths
 * in a fraction of that.
 *
 * Happy path: a clean run with test_places_note at each call, then test_places_next from 0 on. */
#ifndef WEFT_TESTS_PLACES_H
#define WEFT_TESTS_PLACES_H

#include <stddef.h>
#include <stdint.h>

typedef struct test_places {
  uint64_t *at; /* by call: a hash of its stack */
  size_t count, cap;
} test_places;

/* Notes a call; `places` is a test_places.  Made to be test_fault_alloc's and test_fault_store's
 * `called`. */
void test_places_note(void *places);
/* The number of the next call after `k`, both from 1, that is to fail: the first or the last of its
 * place.  0: there is none. */
size_t test_places_next(const test_places *p, size_t k);
void test_places_free(test_places *p);

#endif

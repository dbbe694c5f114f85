/* The tests' own generator: splitmix64.  A failure prints the seed that made it. */
#ifndef WEFT_TESTS_RNG_H
#define WEFT_TESTS_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct test_rng {
  uint64_t state;
} test_rng;

test_rng test_rng_of(uint64_t seed);
uint64_t test_rng_next(test_rng *r);
/* 0 .. below-1; `below` > 0. */
uint64_t test_rng_below(test_rng *r, uint64_t below);
/* True in `percent` of 100 calls. */
bool test_rng_chance(test_rng *r, unsigned percent);
/* One of an array's elements. */
#define TEST_PICK(rng, list) (list)[test_rng_below((rng), sizeof(list) / sizeof *(list))]
void test_rng_fill(test_rng *r, void *out, size_t len);

#endif

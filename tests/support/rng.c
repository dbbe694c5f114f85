#include "tests/support/rng.h"

test_rng test_rng_of(uint64_t seed) {
  test_rng r = {seed};
  return r;
}

uint64_t test_rng_next(test_rng *r) {
  uint64_t z = r->state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

uint64_t test_rng_below(test_rng *r, uint64_t below) { return test_rng_next(r) % below; }

bool test_rng_chance(test_rng *r, unsigned percent) { return test_rng_below(r, 100) < percent; }

void test_rng_fill(test_rng *r, void *out, size_t len) {
  uint8_t *at = out;
  for (size_t i = 0; i < len; i++) at[i] = (uint8_t)test_rng_next(r);
}

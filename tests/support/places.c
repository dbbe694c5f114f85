#include "tests/support/places.h"

#include <execinfo.h>
#include <stdbool.h>
#include <stdlib.h>

enum { DEPTH = 40 };

void test_places_note(void *places) {
  test_places *p = places;
  void *frames[DEPTH];
  int count = backtrace(frames, DEPTH);
  uint64_t h = 1;
  for (int i = 0; i < count; i++) {
    h = (h ^ (uint64_t)(uintptr_t)frames[i]) * 0x9fb21c651e98df25u;
    h ^= h >> 29;
  }
  if (p->count == p->cap) {
    p->cap = p->cap ? 2 * p->cap : 256;
    p->at = realloc(p->at, p->cap * sizeof *p->at);
    if (!p->at) abort();
  }
  p->at[p->count++] = h;
}

static bool stands(const test_places *p, uint64_t place, size_t from, size_t to) {
  for (size_t i = from; i < to; i++) {
    if (p->at[i] == place) return true;
  }
  return false;
}

size_t test_places_next(const test_places *p, size_t k) {
  for (size_t i = k; i < p->count; i++) {
    bool first = !stands(p, p->at[i], 0, i), last = !stands(p, p->at[i], i + 1, p->count);
    if (first || last) return i + 1;
  }
  return 0;
}

void test_places_free(test_places *p) {
  free(p->at);
  *p = (test_places){0};
}

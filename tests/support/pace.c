#include "tests/support/pace.h"

#include <stdlib.h>

bool test_under_valgrind(void) { return getenv("WEFT_VALGRIND") != NULL; }

uint64_t test_number(const char *name, uint64_t otherwise) {
  const char *text = getenv(name);
  return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

uint64_t test_share(uint64_t all, uint64_t n) {
  if (!test_under_valgrind()) return all;
  return all > n ? all / n : 1;
}

uint64_t test_map_size(void) { return test_under_valgrind() ? (uint64_t)256 << 20 : 0; }

/* Reads metrics on stdin; exit 0 when they are well-formed, prints how many samples there are. */
#include <stdio.h>

#include "tests/support/prometheus.h"

int main(void) {
  static char text[1 << 20];
  char why[TEST_PROMETHEUS_WHY];
  size_t len = fread(text, 1, sizeof text - 1, stdin);
  text[len] = 0;
  size_t samples = test_prometheus_check(text, why);
  printf("%zu %s\n", samples, why);
  return samples ? 0 : 1;
}

#include "bench/median.h"

#include <stdlib.h>

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a;
  double y = *(const double *)b;
  return (x > y) - (x < y);
}

void bench_sort(double *values, size_t count) { qsort(values, count, sizeof *values, ascending); }

double bench_median(double *values, size_t count) {
  bench_sort(values, count);
  return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

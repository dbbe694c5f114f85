/* Figures in order, and the one in their middle: for weft-bench and the plain programs it measures
 * beside weft. */
#ifndef WEFT_BENCH_MEDIAN_H
#define WEFT_BENCH_MEDIAN_H

#include <stddef.h>

/* Puts values in ascending order. */
void bench_sort(double *values, size_t count);
/* The median of at least one value: between the two in the middle, where there are two.  The values
 * are put in order. */
double bench_median(double *values, size_t count);

#endif

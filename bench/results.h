/* Files of records, as `weft-bench run --json` writes them. */
#ifndef WEFT_BENCH_RESULTS_H
#define WEFT_BENCH_RESULTS_H

#include "bench/bench.h"

typedef struct result {
  weft_bytes workload, variant, metric, unit; /* in the arena */
  double value, min, max;
  bool has_limit;
  double limit, ratio;
  bool has_times;    /* of a peer: */
  weft_bytes beside; /* weft's variant that it stands beside, */
  double times;      /* and how many times as good that is */
  bool quick;
  bool more; /* greater is better: of rates; times and bytes are better small */
} result;

typedef struct results {
  result *at;
  size_t count;
  weft_bytes machine; /* of the last record */
} results;

/* Reads the records of a file into `arena`.  WEFT_EIO: it cannot be read; WEFT_EMALFORMED: a line
 * is no record, see bench_fail; WEFT_ENOMEM. */
weft_err results_read(bench *b, weft_arena *arena, const char *path, results *out) WEFT_MUST_USE;
/* Finds the record of the same workload, variant and metric; NULL when there is none. */
const result *results_find(const results *list, const result *like);
/* Writes what changed between two files: each figure of both, and how many times as good the second
 * one is. */
weft_err bench_compare(bench *b, const char *before, const char *after, FILE *out) WEFT_MUST_USE;
/* Draws a file as one self-contained SVG: every share of a limit as a bar, how many times as fast
 * as its peers weft is, and what a field costs as the store grows as lines. */
weft_err bench_plot(bench *b, const char *path, FILE *out) WEFT_MUST_USE;
/* Runs this weft-bench and another one by turns, `runs` times each, one run of `list` at a time,
 * and writes how many times as good this one is: the median of the pairs, and the spread.  What
 * else the machine does slows both of a pair. */
weft_err bench_against(bench *b, const char *other, const char *list, FILE *out) WEFT_MUST_USE;

#endif

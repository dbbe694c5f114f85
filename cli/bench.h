/* weft bench: the program that measures. */
#ifndef WEFT_CLI_BENCH_H
#define WEFT_CLI_BENCH_H

#include <stdbool.h>

/* Whether the command line is one for weft-bench: its options are not weft's. */
bool cli_is_bench(int argc, char **argv);
/* Becomes weft-bench with what follows `bench`.  Comes back, with an exit code, only when that is
 * not to be had. */
int cli_bench(char **argv);

#endif

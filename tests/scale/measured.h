/* The work that is counted, found by its name; in a file of its own, so that the compiler makes no
 * copies of it under other names. */
#ifndef WEFT_TESTS_SCALE_MEASURED_H
#define WEFT_TESTS_SCALE_MEASURED_H

typedef struct work work;

/* Calls `run`; gives 0, after the call, which is therefore no jump out of here. */
int scale_measured(void (*run)(work *w), work *w);

#endif

/* A part of a test in a process of its own: where it dies, or has other rights and limits. */
#ifndef WEFT_TESTS_CHILD_H
#define WEFT_TESTS_CHILD_H

#include <stdbool.h>

/* Runs `child` in a copy of this process and waits for it.  0: it gave true; 1: false; -1: it was
 * ended by a signal. */
int test_in_child(bool (*child)(const void *ctx), const void *ctx);

#endif

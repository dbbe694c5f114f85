/* How much of its numbers a test goes through.  Under valgrind everything takes thirty times as
 * long: where WEFT_VALGRIND is set, long loops do a share. */
#ifndef WEFT_TESTS_PACE_H
#define WEFT_TESTS_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* True when valgrind runs the program. */
bool test_under_valgrind(void);

/* The number that the environment gives under `name`; `otherwise` when there is none. */
uint64_t test_number(const char *name, uint64_t otherwise);

/* `all`, or under valgrind an n-th of it, at least 1. */
uint64_t test_share(uint64_t all, uint64_t n);

/* The size of a store's map that every machine gives: the product's own default is 64 GiB of
 * address space, which valgrind does not have.  0 elsewhere: that default. */
uint64_t test_map_size(void);

#endif

/* malloc and its kin, interposed: they count, and fail on demand, for whoever calls them.
 *
 * A program that is linked with heap.c defines them itself, unless a sanitizer does. */
#ifndef WEFT_TESTS_HEAP_H
#define WEFT_TESTS_HEAP_H

#include <stdbool.h>
#include <stddef.h>

typedef struct test_heap_faults {
  size_t calls;   /* allocations asked for so far */
  size_t fail_at; /* 1-based; 0: never */
  bool sticky;    /* every later one too */
  long live;      /* pieces not given back; never set back */
} test_heap_faults;

test_heap_faults *test_heap(void);
/* Whether anything is interposed: not under sanitizers. */
bool test_heap_works(void);
/* Forgets counts and failures, but `live`. */
void test_heap_calm(void);

#endif

/* An allocator that counts, and fails on demand: the k-th call, once or for ever after. */
#ifndef WEFT_TESTS_FAULT_ALLOC_H
#define WEFT_TESTS_FAULT_ALLOC_H

#include "crdt/alloc.h"

typedef struct test_fault_alloc {
  size_t calls;                 /* allocations asked for so far */
  size_t live;                  /* pieces not given back */
  size_t asked;                 /* bytes asked for so far */
  size_t fail_at;               /* 1-based call that fails; 0 never */
  bool sticky;                  /* every later call fails too */
  void (*called)(void *places); /* called at each call; may be NULL */
  void *places;
} test_fault_alloc;

/* Gives an allocator on malloc that counts in `f`, which must outlive it. */
weft_alloc test_fault_alloc_of(test_fault_alloc *f);

/* Counts a call of `mem`; true when it is to fail.  False for other allocators. */
bool test_fault_alloc_refuses(const weft_alloc *mem);

#endif

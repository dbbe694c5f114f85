/* A store in front of another: it counts calls and fails the k-th on demand.  Freeing it leaves the
 * inner one open, so a test can "restart" a replica also over a memory store. */
#ifndef WEFT_TESTS_FAULT_STORE_H
#define WEFT_TESTS_FAULT_STORE_H

#include "store/store.h"

typedef struct test_fault_store {
  uint64_t calls;          /* calls on the store, its transactions and cursors so far */
  uint64_t commits;        /* commits of write transactions tried */
  uint64_t fail_at;        /* 1-based call that fails; 0 never */
  uint64_t fail_commit_at; /* likewise, counting commits alone */
  weft_err err;            /* what it fails with */
  bool sticky;             /* every later call fails too */
  bool full;               /* puts fail with WEFT_EFULL; deletes and reads go on */
  bool paused;             /* calls are neither counted nor failed */
  uint64_t hits;           /* calls that were made to fail, but for full ones */
  bool late;               /* a failing commit has written all the same: the lost answer */
  /* Not NULL: the call at `fail_at`, if it reads a row, does not fail but gives what this makes of
   * the value; false: as if there were no such row. */
  bool (*harm)(void *ctx, weft_bytes *value);
  void (*committed)(void *ctx); /* called when a write transaction was committed; may be NULL */
  void *ctx;
  void (*called)(void *places); /* called at each call that is counted; may be NULL */
  void *places;
} test_fault_store;

/* Gives a store on `inner` that counts in `f`; both must outlive it. */
weft_store *test_fault_store_of(weft_store *inner, test_fault_store *f);

#endif

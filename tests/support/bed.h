/* What tests of replicas stand on: made before each test and removed behind it, by cmocka. */
#ifndef WEFT_TESTS_BED_H
#define WEFT_TESTS_BED_H

#include "tests/support/fault_alloc.h"
#include "tests/support/fault_store.h"
#include "tests/support/space.h"
#include "tests/support/temp.h"

/* A space of three devices and a store that outlives the replicas of the first of them.  Calls and
 * memory of such a replica are counted and fail on demand. */
typedef struct test_bed {
  test_temp temp;
  test_space s;
  weft_store *inner;
  test_fault_store faults;
  test_fault_alloc allocs;
  weft_alloc mem; /* which does not fail */
  weft_arena arena;
  char mirror[256]; /* the path of a folder that is not there yet */
  weft_replica *r;  /* of tests that have one all along: freed behind them */
} test_bed;

int test_bed_memory(void **state);
int test_bed_lmdb(void **state);
/* The same with a replica that is open. */
int test_bed_memory_open(void **state);
int test_bed_lmdb_open(void **state);
int test_bed_end(void **state);
/* The options of device 0 on that store. */
weft_replica_options test_bed_options(test_bed *b);
/* Opens a replica with them, which must work, and gives it the records of the space. */
weft_replica *test_bed_open(test_bed *b);

/* Two devices of a space of three, each with a replica in memory. */
typedef struct test_pair {
  test_space s;
  weft_replica *r[2];
  weft_alloc mem;
  weft_arena arena;
  weft_vector v; /* for whatever is asked of a version */
  char out[4096];
} test_pair;

int test_pair_begin(void **state);
int test_pair_end(void **state);
/* Each gets what the other has. */
void test_pair_meet(test_pair *p);

#endif

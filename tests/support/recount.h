/* Everything a replica keeps incrementally, counted again from scratch. */
#ifndef WEFT_TESTS_RECOUNT_H
#define WEFT_TESTS_RECOUNT_H

#include "store/replica.h"

/* Fails the running test, printing `seed`, unless of every document: the stored state equals the
 * one made again from its history; conflicts, liveness and record are what the whole document says;
 * and the sums of all of them are the replica's digest and counts.  Then every log: chain,
 * judgement and signatures as they were held. */
void test_recount(weft_replica *r, uint64_t seed);

#endif

/* A subscription to the events of every node of a run, which outlives the node's restarts: each
 * number is told once, in order and without a gap, and each change that is shown once. */
#ifndef WEFT_TESTS_WITNESS_H
#define WEFT_TESTS_WITNESS_H

#include "tests/sim/ledger.h"

typedef struct witness witness;

witness *witness_new(sim *s);
void witness_free(witness *w);

/* Takes what a node has to tell; nothing while it is down or its store has failed. */
void witness_look(witness *w, size_t node);
/* A node is about to end: its subscription ends, and goes on from there with its next life. */
void witness_ends(witness *w, size_t node);
/* A node's store was set back: it tells from the beginning. */
void witness_set_back(witness *w, size_t node);

/* Was this change told at a node? */
bool witness_told(const witness *w, size_t node, const weft_id *change);
uint64_t witness_events(const witness *w);

#endif

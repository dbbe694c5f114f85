/* Presence in a simulated space, written down beside it: who stated what, when, and what others
 * list of it.
 *
 * Each statement carries its number as the state of its sessions, so a listing says which statement
 * it shows.  What has to hold, whatever happens:
 * - a listing of a device is one of its statements, with all of its sessions and no other; within a
 *   life of the device and of the listener never an older one after a newer one;
 * - nothing is listed for longer than the life of a statement and what the way may take after it
 *   was last true (among liars, who may say again what a listener had not heard: after the
 *   listener listed it first);
 * - a node lists of itself just what it states;
 * - once all is healed, everybody lists of everybody else just what is stated.
 * Liars say what others stated again as if it were new, and forge the rest. */
#ifndef WEFT_TESTS_PRESENT_H
#define WEFT_TESTS_PRESENT_H

#include "tests/sim/ledger.h"

typedef struct present_counts {
  uint64_t stated;           /* statements */
  uint64_t listed;           /* sessions of others */
  uint64_t forged, repeated; /* statements that liars sent */
  uint64_t silent_ms;        /* the longest that something no longer true was listed */
  uint64_t calm_ms;          /* from healing until all listed what was stated */
  bool ended, ghost, copies; /* met: a session that ended by itself; one listed after its node
                                was gone; two copies of a device that both state something */
} present_counts;

typedef struct present present;

/* `lies` must outlive it: the nodes that do.  `still`: streams may stand still. */
present *present_new(sim *s, uint64_t seed, const bool *lies, bool still);
void present_free(present *p);

/* Some node may state something, or lie. */
void present_act(present *p);
void present_look(present *p, size_t node);
/* A node is about to end; a node was copied. */
void present_ends(present *p, size_t node);
void present_copied(present *p, size_t node);
/* Everything is healed and all nodes are up: runs on until all list what is stated, or fails. */
void present_calm(present *p);

const present_counts *present_so_far(const present *p);

#endif

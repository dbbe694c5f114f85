/* One seed: a workload under a random set of faults, then healing, then convergence.
 *
 * Everything follows from the seed.  Each concern and each kind of fault draws from a generator of
 * its own, so that leaving one out does not shift the others. */
#ifndef WEFT_TESTS_SIM_SWARM_H
#define WEFT_TESTS_SIM_SWARM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "tests/sim/liar.h"
#include "tests/sim/present.h"

/* Faults: name, what it does, how often in 10,000 steps. */
#define SWARM_FAULTS(X)                                                                            \
  X(CUT, "cut", 0)               /* connections end while bytes are on their way */                \
  X(REFUSE, "refuse", 0)         /* dials are not answered */                                      \
  X(DELAY, "delay", 0)           /* long and uneven ways */                                        \
  X(BANDWIDTH, "bandwidth", 0)   /* thin lines */                                                  \
  X(STALL, "stall", 150)         /* one direction is silent for a while */                         \
  X(PARTITION, "partition", 100) /* some nodes cannot reach the others */                          \
  X(FLAP, "flap", 600)           /* one way opens and closes again and again */                    \
  X(SLOW, "slow", 60)            /* a node reads slowly */                                         \
  X(CRASH, "crash", 150)         /* a node ends without a word; its store stays */                 \
  X(STOP, "stop", 60)            /* a node ends with a word */                                     \
  X(JUMP, "jump", 100)           /* a clock jumps, to both sides */                                \
  X(DRIFT, "drift", 60)          /* a clock runs fast or slowly */                                 \
  X(FREEZE, "freeze", 60)        /* a clock stands */                                              \
  X(EPOCH, "epoch", 0)           /* clocks begin at the ends of time */                            \
  X(DISK, "disk", 150)           /* the k-th call on a store fails, some after they worked */      \
  X(FULL, "full", 100)           /* a store takes nothing for a while */                           \
  X(RESTORE, "restore", 250)     /* a store is set back to an older copy */                        \
  X(VANISH, "half-open", 80)     /* a node ends and its connections stay open at the other end */  \
  X(ONEWAY, "one-way", 60)       /* some nodes hear the others, and are not heard */               \
  X(CORRUPT, "corrupt", 0)       /* somebody on the way changes bytes */                           \
  X(DUPLICATE, "duplicate", 0)   /* somebody on the way sends a segment twice */                   \
  X(REORDER, "reorder", 0)       /* somebody on the way swaps segments */                          \
  X(REPLAY, "replay", 200)       /* what a dialler said is said to somebody again */               \
  X(COPY, "copy", 60)            /* a node is copied, and both go on */                            \
  X(LIAR, "liar", 1500)          /* some members lie, and sign what they like */

typedef enum swarm_fault {
#define SWARM_ENUM(id, name, often) SWARM_##id,
  SWARM_FAULTS(SWARM_ENUM)
#undef SWARM_ENUM
      SWARM_FAULT_COUNT
} swarm_fault;

/* What should happen sometimes, over many seeds. */
#define SWARM_MARKS(X)                                                                             \
  X(QUIET, "a seed without faults")                                                                \
  X(REAL, "real signatures")                                                                       \
  X(ON_DISK, "stores on disk")                                                                     \
  X(MIRRORED, "logs that go on over restarts")                                                     \
  X(CHAIN, "a chain of nodes")                                                                     \
  X(NO_GOSSIP, "anti-entropy alone")                                                               \
  X(SCATTERED, "members that are not known everywhere")                                            \
  X(CONFLICT, "a conflict at the end")                                                             \
  X(MET_AGAIN, "a state that had been shown before")                                               \
  X(WAITED, "a change held and not shown")                                                         \
  X(NOTHING, "an edit that changes nothing")                                                       \
  X(RESOLVED, "a conflict resolved")                                                               \
  X(DELETED, "a document deleted")                                                                 \
  X(MOVED, "an element moved")                                                                     \
  X(GROUPED, "several commits in one transaction")                                                 \
  X(DISK_LOST, "a commit that failed and was not written")                                         \
  X(DISK_WRITTEN, "a commit that failed and was written")                                          \
  X(FULL_REFUSED, "a commit that a full store refused")                                            \
  X(CLOCK_LAST, "a commit in the last millisecond of time")                                        \
  X(ALL_DOWN, "all nodes down at once")                                                            \
  X(SET_BACK_LOST, "a change lost by setting back")                                                \
  X(VERIFIED, "a store proved at the end")                                                         \
  X(RECOUNTED, "everything counted again at the end")                                              \
  X(FORKED, "a log in several branches")                                                           \
  X(COPY_FORKED, "a copy that signed what its original signed otherwise")                          \
  X(LIARS, "several liars")                                                                        \
  X(COPY_LISTENS, "a copy of a device that only listens")                                          \
  X(HEARD, "events that were heard")                                                               \
  X(PRESENT, "a session listed elsewhere")                                                         \
  X(PRESENT_ENDED, "a session that ended by itself")                                               \
  X(PRESENT_GHOST, "a session listed after its node was gone")                                     \
  X(PRESENT_TWICE, "two copies of a device that both say where they are")                          \
  X(PRESENT_FORGED, "presence that a liar forged")                                                 \
  X(PRESENT_REPEATED, "presence that a liar said again")                                           \
  X(LIE_WAITS, "a lie that is held and never shown")

typedef enum swarm_mark {
#define SWARM_ENUM(id, text) SWARM_MARK_##id,
  SWARM_MARKS(SWARM_ENUM)
#undef SWARM_ENUM
      SWARM_MARK_COUNT
} swarm_mark;

/* Where the generators of a run stand before a step. */
typedef struct swarm_stand {
  test_rng workload, pace, faults[SWARM_FAULT_COUNT];
} swarm_stand;

/* With `keep`, only some steps do anything: time goes on through the others as it would, and what
 * is left out does not change what the rest draws, since the generators are set to where they stood
 * in the whole run, which has left that in `stands`. */
typedef struct swarm_options {
  uint64_t seed;
  size_t nodes;        /* 2..10 */
  size_t steps;        /* operations, with the faults after each */
  uint32_t faults;     /* bits: the kinds a seed may choose from */
  const bool *keep;    /* of each step; NULL: all */
  swarm_stand *stands; /* of each step: read with `keep`, else written; NULL without */
} swarm_options;

typedef struct swarm_result {
  uint64_t seed, events, hash;
  uint64_t operations, changes, conflicts;
  uint64_t checks[SIM_INVARIANT_COUNT];
  uint64_t injected[SWARM_FAULT_COUNT];
  uint64_t lies[LIAR_WAY_COUNT];
  present_counts presence;
  uint64_t marks;      /* bits */
  uint64_t settled_ms; /* virtual time from healing to convergence */
} swarm_result;

/* Static names. */
const char *swarm_fault_name(swarm_fault fault);
const char *swarm_mark_text(swarm_mark mark);

/* Runs one seed.  A failure prints it and ends the process.  The trace goes to `trace` unless NULL.
 */
void swarm_run(const swarm_options *o, FILE *trace, swarm_result *out);

#endif

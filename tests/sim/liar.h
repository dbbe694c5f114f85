/* A member that lies: a node of the shipped code whose answers about its replica are false, and
 * logs written by hand under its key.
 *
 * It may say anything of what it holds, sign anything, and sign it twice.  What it cannot do is
 * speak for another device.  Everything it does follows from its seed. */
#ifndef WEFT_TESTS_SIM_LIAR_H
#define WEFT_TESTS_SIM_LIAR_H

#include "tests/sim/sim.h"

/* Ways of lying: a liar has some of them. */
#define LIAR_WAYS(X)                                                                               \
  X(EQUIVOCATES, "equivocates") /* signs two changes for one place, for two peers */               \
  X(WITHHOLDS, "withholds")     /* leaves out ranges of what others lack */                        \
  X(BOASTS, "boasts")           /* its vectors name changes that do not exist */                   \
  X(DENIES, "denies")           /* its vectors leave out logs that it holds */                     \
  X(MANGLES, "mangles")         /* what it serves has flipped bits */                              \
  X(MISTAKES, "mistakes")       /* its digest, clock, arrival and apply level are any */           \
  X(FALSE, "false claims")      /* claims with another tag than the change has */                  \
  X(STALE, "stale claims")      /* claims of what was long replaced */                             \
  X(FUTURE, "future claims")    /* claims of what does not exist yet */                            \
  X(OMITTED, "omitted claims")  /* writes over what it has seen, and does not say so */            \
  X(HOSTILE, "hostile content") /* any bytes under a valid signature */

typedef enum liar_way {
#define LIAR_ENUM(id, text) LIAR_##id,
  LIAR_WAYS(LIAR_ENUM)
#undef LIAR_ENUM
      LIAR_WAY_COUNT
} liar_way;

typedef struct liar liar;

/* Makes a node a liar, before it starts.  `ways` are bits. */
liar *liar_new(sim *s, size_t node, uint64_t seed, uint32_t ways);
void liar_free(liar *l);

/* Does something wrong, which goes to some of the nodes that are up: to any but liars. */
void liar_act(liar *l, const bool *lies);
/* How often it did what. */
uint64_t liar_count(const liar *l, liar_way way);

#endif

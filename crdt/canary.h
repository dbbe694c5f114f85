/* Canaries: known bugs that are planted on purpose, to see that the tests notice them.
 *
 * Only the canary build has them (WEFT_CANARIES, cmake preset "canary"); there the environment
 * variable WEFT_CANARY names the one bug that is alive.  In every other build WEFT_CANARY(...) is
 * the constant false and nothing of this is left.  tests/canary/run lets each sing and demands that
 * its catcher fails; docs/testing.md has the table. */
#ifndef WEFT_CANARY_H
#define WEFT_CANARY_H

/* Name, and what goes wrong while it is alive. */
#define WEFT_CANARIES(X)                                                                           \
  X(TIE_BY_VALUE, "writes of one clock are ranked by their value")                                 \
  X(DROP_UNSET, "every fourth change loses its unsets")                                            \
  X(FOLD_EQUAL, "a concurrent equal value is folded away")                                         \
  X(DROP_HIDE, "a scalar forgets which writes below it it hides")                                  \
  X(COVER_NEWER, "a change replaces what it has not seen, when that is older by its clock")        \
  X(CLAIM_FORGET, "of several claims the last is left out")                                        \
  X(TAG_IGNORED, "a record that does not authenticate is taken")                                   \
  X(CLOCK_DEAF, "a clock does not follow what was received")                                       \
  X(POSITION_KEPT, "positions below a fresh mark survive it")                                      \
  X(DIGEST_FORGETS, "the digest leaves out the kind of a write")                                   \
  X(SIG_TRUSTED, "signatures of runs are not looked at")                                           \
  X(CHAIN_LOOSE, "a run may follow another id than it names")                                      \
  X(VECTOR_AHEAD, "a vector covers one change more than it says")                                  \
  X(PATH_LOOSE, "a path is under its own prefix and under itself")                                 \
  X(JSON_TWICE, "duplicate keys of JSON are accepted")                                             \
  X(ACK_BELIEVED, "signatures of acknowledgements are not looked at")                              \
  X(TICKET_EVER, "tickets do not expire")                                                          \
  X(CERT_BELIEVED, "certificates of the handshake are not looked at")                              \
  X(REPLAY, "a handshake may be replayed")                                                         \
  X(NONCE_STUCK, "a cipher uses one nonce for all records")                                        \
  X(TWO_LINKS, "duplicate connections are both kept")                                              \
  X(NO_REDIAL, "a link that ended is not dialled again")                                           \
  X(CREDIT_LOST, "credit is not given back")                                                       \
  X(RECORDS_LOST, "membership records are not sent on")                                            \
  X(PRESENCE_BELIEVED, "signatures of presence are not looked at")                                 \
  X(PRESENCE_AGELESS, "presence that is passed on does not age")                                   \
  X(PRESENCE_OLD, "older presence takes the place of newer")                                       \
  X(FORGET_SYNC, "LMDB does not sync")                                                             \
  X(PUBLISH_EARLY, "what a transaction wrote is told before it is durable")                        \
  X(MIRROR_BLIND, "the mirror outside the store is always the same")                               \
  X(CLONE_BLIND, "changes of our own that others have are not noticed")                            \
  X(SKIP_INDEX, "every fourth document misses its entry in an index")                              \
  X(UNSETTLED, "a change is shown before what it claims")                                          \
  X(COUNT_DRIFT, "conflicts that were settled stay in the count")                                  \
  X(HIST_LOST, "every fourth version of a document has no history record")                         \
  X(ARRIVAL_STUCK, "the arrival counter does not move")                                            \
  X(DIGEST_DRIFT, "positions that went stay in the digest")                                        \
  X(STATE_FORGETS, "every sixteenth register of a segment is not stored")                          \
  X(VERIFY_BLIND, "verify finds nothing")                                                          \
  X(LEAK_DESCRIPTOR, "closing a store leaves its lock file open")

typedef enum weft_canary {
  WEFT_CANARY_NONE,
#define WEFT_CANARY_ENUM(name, what) WEFT_CANARY_##name,
  WEFT_CANARIES(WEFT_CANARY_ENUM)
#undef WEFT_CANARY_ENUM
} weft_canary;

#ifdef WEFT_CANARY_BUILD
/* The one that is alive; tests/canary/canary.c. */
weft_canary weft__canary(void);
#define WEFT_CANARY(name) (weft__canary() == WEFT_CANARY_##name)
#else
#define WEFT_CANARY(name) (0)
#endif

#endif

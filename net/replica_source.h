/* A replica behind a node: fills the node's questions, and carries out what the node wants done.
 *
 * The one place where net/ meets store/ outside of the libuv edge, so that the edge and the
 * simulator do the same.  Everything here runs at once, on the thread of the call, which must be
 * the one that uses the replica at that time. */
#ifndef WEFT_REPLICA_SOURCE_H
#define WEFT_REPLICA_SOURCE_H

#include "net/node.h"
#include "store/replica.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_replica_source weft_replica_source;

/* Makes the source of `replica`, which must outlive it.  WEFT_ENOMEM. */
weft_err weft__replica_source_new(weft_replica_source **out, const weft_alloc *mem,
                                  weft_replica *replica) WEFT_MUST_USE;
/* NULL does nothing. */
void weft__replica_source_free(weft_replica_source *s);

/* Fills in the table for weft_node_options; good while `s` lives. */
void weft__replica_source_fill(weft_replica_source *s, weft_source *out);

/* Carries out HOLD, RECORD, ACK and ADDRESS and reports to the node.  False: another kind, which is
 * the caller's.  What the replica refuses is told to the node alone. */
bool weft__replica_carry_out(weft_replica_source *s, const weft_node_action *action,
                             weft_node *node, weft_ms now);

/* The result of a HOLD carried out without its node, for a thread of its own: first hold, then, on
 * the node's thread, report.  `verdicts` lie in `arena`. */
typedef struct weft_hold_result {
  weft_err err;
  weft_node_verdict *verdicts;
  size_t count;
} weft_hold_result;
void weft__replica_hold(weft_replica_source *s, weft_arena *arena, const weft_bytes *chunks,
                        size_t count, weft_hold_result *out);

/* What the last HOLD came to; WEFT_OK before the first. */
weft_err weft__replica_last_hold(const weft_replica_source *s);

/* Shows up to `changes_max` changes (0: a default batch) and tells the node; `more` tells whether
 * there is more to show.  Gives what weft_replica_show gave. */
weft_err weft__replica_show(weft_replica_source *s, weft_node *node, weft_ms now,
                            uint64_t changes_max, bool *more) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

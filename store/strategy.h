/* Strategies as the replica keeps them: the rules in memory and the counts that follow from them.
 *
 * Only store/ includes this; people's words for it stand in store/history.h. */
#ifndef WEFT_STORE_STRATEGY_H
#define WEFT_STORE_STRATEGY_H

#include "store/history.h"
#include "store/replica_internal.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_ready_rule weft_ready_rule;

/* Reads all rules from their documents.  On error there are none.  WEFT_ECORRUPT, WEFT_EIO,
 * WEFT_ENOMEM. */
weft_err weft__rules_load(weft_replica *r, weft_txn *txn) WEFT_MUST_USE;
/* Forgets them: nothing is shown. */
void weft__rules_clear(weft_replica *r);
/* Whether a document holds rules. */
bool weft__strategy_doc(weft_bytes doc);
/* Reads the rules again after the documents `docs`, which hold rules, were shown, and counts the
 * conflicts of all documents they speak of again. */
weft_err weft__rules_changed(weft_replica *r, weft_txn *txn, const weft_bytes *docs,
                             size_t count) WEFT_MUST_USE;

/* The strategy at a path of a document. */
weft_strategy weft__strategy_of(const weft_replica *r, weft_bytes doc, weft_path path);
/* Whether it can be manual anywhere in a document. */
bool weft__strategy_manual(const weft_replica *r, weft_bytes doc);
/* Sets the counts of a record, whose name is known, from all its conflicts. */
void weft__strategy_count(const weft_replica *r, const weft_conflict *list, size_t count,
                          weft_doc_record *record);

/* Counts the documents that have conflicts under the strategy manual; costs nothing while no rule
 * says so.  Errors of reads. */
weft_err weft__strategy_unresolved(weft_replica *r, uint64_t *out) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

/* What the files of verify and repair share. */
#ifndef WEFT_STORE_VERIFY_INTERNAL_H
#define WEFT_STORE_VERIFY_INTERNAL_H

#include "store/query_internal.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One run of verify. */
typedef struct weft_verify {
  weft_txn *txn;       /* a snapshot of the store in question */
  weft_replica *again; /* a replica over that snapshot, whose state lives in memory */
  weft_txn *made;      /* a snapshot of what that replica made */
  weft_totals was;     /* what the store says */
  weft_verify_report *report;
  weft_progress progress; /* may be NULL */
  void *ctx;
  uint64_t done;
  uint64_t total;
} weft_verify;

/* Notes a finding; `subject` may be empty. */
void weft__verify_find(weft_verify *v, const char *what, weft_bytes subject);
/* Makes a finding of an error that says damage, and gives WEFT_OK; other errors go up. */
weft_err weft__verify_soften(weft_verify *v, weft_err err, const char *what,
                             weft_bytes subject) WEFT_MUST_USE;
/* Tells that `steps` more are done. */
void weft__verify_step(weft_verify *v, uint64_t steps);

/* Proves every log: chain, signatures, contents, contexts, and that nothing lies beside them. */
weft_err weft__verify_logs(weft_verify *v) WEFT_MUST_USE;
/* Proves that the runs that arrived account for every change held; that the order of showing does
 * for every change shown, each behind what it claims. */
weft_err weft__verify_arrival(weft_verify *v) WEFT_MUST_USE;
weft_err weft__verify_order(weft_verify *v) WEFT_MUST_USE;
/* Compares documents, state, history, conflicts, indexes and sums with what `again` made. */
weft_err weft__verify_state(weft_verify *v) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

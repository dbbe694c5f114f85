/* Inside showing: a batch of changes on its way into the documents.
 *
 * replica_show.c collects it, batch_docs.c finds its documents, batch_apply.c shows it. */
#ifndef WEFT_STORE_BATCH_H
#define WEFT_STORE_BATCH_H

#include "store/replica_internal.h"

/* What is kept of a change: a batch has tens of thousands. */
typedef struct weft_batch_change {
  weft_dot dot;
  uint64_t hlc;
  weft_dot *claims;
  size_t claim_count;
  size_t events;  /* that follow from it; 0: they were told before */
  uint64_t event; /* the number of the first */
} weft_batch_change;

/* What the edit being committed has loaded of a document. */
typedef struct weft_batch_handed {
  weft_doc_record record;
  const weft_state_piece *pieces;
  size_t piece_count;
} weft_batch_handed;

/* One op of a change: first in the order of collecting, then by document. */
typedef struct weft_batch_write {
  const weft_op *op;
  uint32_t doc; /* its place; once it is found */
  uint32_t change;
} weft_batch_write;

/* A cache line of what there are tens of thousands of. */
typedef struct weft_batch_doc {
  weft_bytes name; /* copied */
  uint64_t hash;
  const weft_batch_write *writes;
  const weft_batch_handed *handed; /* NULL: it is in the store, or fresh */
  uint32_t write_count;
  uint32_t number;
  bool fresh; /* was not in the store */
} weft_batch_doc;

/* A place in the table of documents by the hash of their names. */
typedef struct weft_batch_slot {
  uint32_t doc; /* its place + 1; 0: free */
  uint32_t hash;
} weft_batch_slot;

/* Of how many ops whose document is not looked for yet something is kept; and how far ahead of its
 * use a document is asked for. */
enum { WEFT_BATCH_RING = 16, WEFT_BATCH_AHEAD = 8 };

/* Marks what asks for memory ahead of its use.  It has no effect that a compiler knows of, so calls
 * of it would be left out. */
#define WEFT_ASKS inline __attribute__((always_inline))

typedef struct weft_batch {
  weft_replica *r;
  weft_txn *txn;
  weft_arena arena; /* everything the batch consists of */
  weft_arena one;   /* what one document needs */
  weft_doc *doc;
  weft_state state;
  weft_batch_change *changes;
  size_t change_count;
  size_t change_cap;
  weft_batch_write *writes;
  size_t write_count;
  size_t write_cap;
  size_t known;                     /* writes whose document is found */
  uint64_t hashes[WEFT_BATCH_RING]; /* of the names of the others, by place */
  weft_batch_doc *docs;             /* in the order in which they were found */
  size_t doc_count;
  size_t doc_cap;
  uint32_t *order; /* their places, by number */
  weft_batch_slot *slots;
  size_t slot_count;
  weft_log **logs; /* that have something to show */
  size_t log_count;
  size_t log_cap;
  size_t raw_len;
  uint64_t changes_max;
  weft_conflict *found; /* of the document being judged, in `one` */
  size_t found_count;
  size_t docs_max;
  weft_doc_record record; /* of the document being shown */
  weft_hist_out hist;
  weft_buf row; /* of a record being stored */
} weft_batch;

/* Asks for a document a little further on in a list of places. */
static WEFT_ASKS void weft__batch_ahead(const weft_batch *b, const uint32_t *list, size_t at) {
  if (at + WEFT_BATCH_AHEAD < b->doc_count)
    __builtin_prefetch(&b->docs[list[at + WEFT_BATCH_AHEAD]]);
}

/* --- batch_docs.c --- */

/* Finds the documents in the order of their names, which is that of the table, and leaves them in
 * that of their numbers, in which everything about them is written; their writes likewise. */
weft_err weft__batch_docs(weft_batch *b) WEFT_MUST_USE;

/* --- batch_apply.c --- */

/* Shows everything that was collected: state, history, records, order, digest and totals move in
 * the transaction of the batch. */
weft_err weft__batch_apply(weft_batch *b) WEFT_MUST_USE;

#endif

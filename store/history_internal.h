/* What the files of store/history.h share.
 *
 * Only store/history_*.c, store/query_people.c and store/strategy.c include this. */
#ifndef WEFT_STORE_HISTORY_INTERNAL_H
#define WEFT_STORE_HISTORY_INTERNAL_H

#include "crdt/view.h"
#include "crdt/write.h"
#include "store/history.h"
#include "store/query_internal.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- pointers and trees (store/history_diff.c) --- */

/* Appends a token, or an index, to a JSON Pointer; the result lies in `arena`. */
weft_err weft__pointer_child(weft_arena *arena, weft_bytes parent, weft_bytes token,
                             weft_bytes *out) WEFT_MUST_USE;
weft_err weft__pointer_index(weft_arena *arena, weft_bytes parent, size_t idx,
                             weft_bytes *out) WEFT_MUST_USE;
/* The shown children of a container's node, in their order; the list lies in `arena`. */
weft_err weft__node_children(const weft_tree *tree, size_t idx, weft_arena *arena,
                             const weft_node ***out, size_t *count) WEFT_MUST_USE;

/* Whether a name that people give, of a tag or a draft, is fit: UTF-8 without control characters,
 * spaces and slashes, 1 to `len_max` bytes. */
bool weft__word_ok(weft_bytes name, size_t len_max);

/* --- versions --- */

/* The base of a vector, or with NULL of now. */
weft_err weft__version_base(weft_replica *r, weft_txn *txn, const weft_vector *v, weft_arena *arena,
                            weft_base *out) WEFT_MUST_USE;

/* Adds to the base of a change, (log, seq) with clock `hlc`, what was written before it by the
 * authors' clocks.  WEFT_ECORRUPT, WEFT_EIO, WEFT_ENOMEM. */
weft_err weft__seen_by(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t seq,
                       uint64_t hlc, weft_base *base) WEFT_MUST_USE;

/* The version of a document that changes make up: they, what came before them in their logs, and
 * what these claim.  WEFT_EBASE: one is not shown here. */
weft_err weft__version_of_changes(weft_replica *r, weft_bytes doc, const weft_id *changes,
                                  size_t count, weft_vector *out) WEFT_MUST_USE;

/* Calls `fn` for each entry of a document's history, in the order of showing. */
typedef void (*weft_hist_fn)(void *ctx, const weft_hist_entry *hist);
weft_err weft__hist_walk(weft_txn *txn, const weft_doc_record *record, weft_hist_fn fn,
                         void *ctx) WEFT_MUST_USE;

/* The newest change of a document, within `base` (NULL: all). */
typedef struct weft_newest {
  const weft_replica *r;
  const weft_base *base;
  bool found;
  weft_hist_entry at;
} weft_newest;
weft_err weft__newest_of(weft_replica *r, weft_txn *txn, const weft_doc_record *record,
                         const weft_base *base, weft_newest *out) WEFT_MUST_USE;

/* --- edits (store/history_undo.c) --- */

/* Begins an edit on what is shown now, with message and lane of `given` (may be NULL) and, with
 * `id`, one extension that names it.  Errors as weft_edit_begin. */
weft_err weft__edit_begin_with(weft_edit **out, weft_replica *r, const weft_edit_options *given,
                               uint64_t type, const weft_id *id) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

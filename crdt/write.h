/* Local writes: from what a person wants to the ops that make the view exactly that.
 *
 * Everything is computed on a document as it stood at the base of the decision.  The functions
 * append ops; they change nothing.  One weft_writer serves one change: it keeps one op per path
 * (a later write at or above a path replaces what it made pointless), and after each call the
 * document in the writer shows the result, so that several edits in one change build on each other.
 */
#ifndef WEFT_WRITE_H
#define WEFT_WRITE_H

#include "crdt/doc.h"
#include "crdt/position.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_writer weft_writer;

/* What makes element ids and positions unique: who writes, and after what. */
typedef struct weft_write_origin {
  weft_id log;    /* of the change to come */
  weft_id prev;   /* id before it */
  uint64_t seq;   /* its seq */
  uint64_t hlc;   /* its hlc */
  uint8_t tag[3]; /* author tag for positions: first bytes of the device key */
} weft_write_origin;

/* Starts a change on document `name` as `base` shows it (borrowed until free; not changed).
 * WEFT_OK, WEFT_ENOMEM. */
weft_err weft__writer_new(weft_writer **out, const weft_alloc *mem, const weft_crypto *crypto,
                          const weft_doc *base, weft_bytes name,
                          const weft_write_origin *origin) WEFT_MUST_USE;
void weft__writer_free(weft_writer *w);

/* The document with what was written so far, made when it is first asked for after a write; the
 * base itself before the first one.  View until the next call that writes; NULL: memory is out. */
const weft_doc *weft__writer_doc(weft_writer *w);

/* Errors of all that write: WEFT_EBADPATH, WEFT_EBADVALUE and WEFT_ELIMIT (a value or a path) leave
 * everything as it was; after WEFT_ENOMEM, and WEFT_ELIMIT for too many ops in one change, every
 * call returns the same and only free may follow.  Paths are checked ones; element steps must name
 * elements that are shown, or come from this change. */

/* Sets `path` to `value`: the difference to what is shown is written.  Missing or hidden ancestors
 * are made (fresh marks).  An equal value writes nothing, except that `restamp` settles siblings
 * that stand in conflict at `path`: an equal scalar is written again, an equal container is kept as
 * by weft__write_keep. */
weft_err weft__write_set(weft_writer *w, weft_path path, const weft_value *value,
                         bool restamp) WEFT_MUST_USE;

/* Removes what is shown at `path`; nothing shown, nothing written.  At the root: deletes. */
weft_err weft__write_unset(weft_writer *w, weft_path path) WEFT_MUST_USE;

/* Brings a deleted document back: a mark at the root.  What this change deleted comes back as it
 * was then.  Nothing deleted, nothing written. */
weft_err weft__write_undelete(weft_writer *w) WEFT_MUST_USE;

/* Inserts into the array at `path` before index `idx` (clamped to its length). The array is made
 * when nothing is there; a scalar or an object there is WEFT_EBADPATH.  `element` (may be NULL)
 * gets the new element's path, a view in the writer until it is freed. */
weft_err weft__write_insert(weft_writer *w, weft_path path, size_t idx, const weft_value *value,
                            weft_path *element) WEFT_MUST_USE;

/* Moves the element at index `from` so that it stands at index `to` afterwards.  WEFT_EBADPATH: no
 * array is shown there, or it has no such index. */
weft_err weft__write_move(weft_writer *w, weft_path path, size_t from, size_t to) WEFT_MUST_USE;

/* Brings the array at `path` into the order of `places`, which are all elements that are shown
 * there.  Those that do not stand get new positions, the others where it cannot be helped.
 * WEFT_EBADPATH: no array is shown there, or it has another number of elements. */
weft_err weft__write_order(weft_writer *w, weft_path path, weft_place *places,
                           size_t count) WEFT_MUST_USE;

/* Merges `value` into `path` as `import --merge` does: as set, but objects keep the members that
 * `value` lacks, at every depth that is reached through objects alone; an array becomes `value`'s.
 */
weft_err weft__write_merge(weft_writer *w, weft_path path, const weft_value *value) WEFT_MUST_USE;

/* Keeps the container shown at `path` and puts away the other sides: resolve by keeping a
 * container. Nothing beside it, nothing written.  WEFT_EBADPATH: no container is shown there. */
weft_err weft__write_keep(weft_writer *w, weft_path path) WEFT_MUST_USE;

/* Brings back an element that is not shown, with `value`, where it stood: `path` is its own, and
 * its position is what is left of it.  WEFT_EBADPATH: it is shown, or its array is not. */
weft_err weft__write_revive(weft_writer *w, weft_path path, const weft_value *value) WEFT_MUST_USE;

/* Writes an op as it stands, whatever is shown: for ops of another change, written again.  The op
 * is a valid one; its document is not looked at. */
weft_err weft__write_op(weft_writer *w, const weft_op *op) WEFT_MUST_USE;

/* The ops so far, one per path, ascending by path; views in the writer until the next call. */
void weft__writer_ops(const weft_writer *w, const weft_op **ops, size_t *count);

/* --- claims --- */

typedef struct weft_dot_list {
  weft_dot *at;
  size_t count;
  size_t cap;
} weft_dot_list;

typedef struct weft_claim_query {
  const void *ctx; /* of the functions */
  weft_dot head;   /* the last change of the branch that is written; log UINT32_MAX: none yet */
  /* Whether a change is within the base; may be NULL: all are. */
  bool (*in_base)(const void *ctx, weft_dot dot);
  /* Whether a log is one of this device, any lane or incarnation; may be NULL: only head's is. */
  bool (*is_own)(const void *ctx, weft_dot dot);
  /* One number for all branches of a log; may be NULL: any two branches may be of one. */
  uint32_t (*family)(const void *ctx, uint32_t log);
} weft_claim_query;

/* Adds to `claims` what a change with `ops` on `doc` has to claim (design: "claims"): for each
 * branch with a sibling at or below a path it writes, the newest such dot within the base.  Value
 * siblings count for ops that write values; positions for fresh marks, and at the path itself for
 * ops with a position.  `head` and its ancestors are not claimed: a change covers what is earlier
 * in its own log.  `claims` may hold what other documents of the change gave; it comes out
 * ascending by branch, in `arena`, with no dot that another one covers.
 * `*own_newer` becomes true (else it is left alone) when a sibling of a log of this device lies
 * outside the base at, below or above a written path: the write is refused with "changed here
 * meanwhile".  `doc` is what is shown now, or as it stood at the base.  WEFT_OK, WEFT_ENOMEM. */
weft_err weft__doc_claims(const weft_doc *doc, const weft_lineage *lineage, const weft_op *ops,
                          size_t count, const weft_claim_query *query, weft_arena *arena,
                          weft_dot_list *claims, bool *own_newer) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

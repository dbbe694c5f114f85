/* Local writes: from what a person wants to the ops that make the view exactly that.
 *
 * Everything is computed on a document as it stood at the base of the decision.  The functions
 * append ops; they change nothing.  One weft_writer serves one change: it keeps one op per path
 * (a later write at or above a path replaces what it made pointless), and after each call the
 * document in the writer shows the result, so that several edits in one change build on each other. */
#ifndef WEFT_WRITE_H
#define WEFT_WRITE_H

#include "crdt/doc.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_writer weft_writer;

/* What makes element ids and positions unique: who writes, and after what. */
typedef struct weft_write_origin {
  weft_id log;       /* of the change to come */
  weft_id prev;      /* id before it */
  uint64_t seq;      /* its seq */
  uint64_t hlc;      /* its hlc */
  uint8_t tag[3];    /* author tag for positions: first bytes of the device key */
} weft_write_origin;

/* Starts a change on document `name` as `base` shows it (borrowed until free; not changed).
 * WEFT_OK, WEFT_ENOMEM. */
weft_err weft__writer_new(weft_writer **out, const weft_alloc *mem, const weft_crypto *crypto,
                          const weft_doc *base, weft_bytes name, const weft_write_origin *origin)
    WEFT_MUST_USE;
void weft__writer_free(weft_writer *w);

/* The document with what was written so far. View until the next call. */
const weft_doc *weft__writer_doc(const weft_writer *w);

/* Sets `path` to `value`: the difference to what is shown is written.  Missing or hidden ancestors are
 * made (fresh marks).  An equal value writes nothing, except that `restamp` writes a scalar again when
 * siblings stand in conflict there.  Element steps must name elements that are shown, or come from
 * this change.  Errors of all: WEFT_EBADPATH, WEFT_EBADVALUE, WEFT_ELIMIT, WEFT_ENOMEM (then only
 * free may follow). */
weft_err weft__write_set(weft_writer *w, weft_path path, const weft_value *value, bool restamp)
    WEFT_MUST_USE;

/* Removes what is shown at `path`; nothing shown, nothing written.  At the root: deletes. */
weft_err weft__write_unset(weft_writer *w, weft_path path) WEFT_MUST_USE;

/* Brings a deleted document back: a mark at the root. */
weft_err weft__write_undelete(weft_writer *w) WEFT_MUST_USE;

/* Inserts into the array at `path` before index `idx` (clamped to its length). The array is made when
 * nothing is there.  `element` (may be NULL) gets the new element's path, a view in the writer. */
weft_err weft__write_insert(weft_writer *w, weft_path path, size_t idx, const weft_value *value,
                            weft_path *element) WEFT_MUST_USE;

/* Moves the element at index `from` so that it stands at index `to` afterwards. */
weft_err weft__write_move(weft_writer *w, weft_path path, size_t from, size_t to) WEFT_MUST_USE;

/* Merges `value` into `path` as `import --merge` does: as set, but keeps members it lacks. */
weft_err weft__write_merge(weft_writer *w, weft_path path, const weft_value *value) WEFT_MUST_USE;

/* Keeps the container shown at `path` and puts away the other sides: resolve by keeping a container. */
weft_err weft__write_keep(weft_writer *w, weft_path path) WEFT_MUST_USE;

/* The ops so far, one per path, ascending by path; views in the writer until the next call. */
void weft__writer_ops(const weft_writer *w, const weft_op **ops, size_t *count);

/* --- claims --- */

typedef struct weft_dot_list {
  weft_dot *at;
  size_t count;
  size_t cap;
} weft_dot_list;

/* Adds to `claims` what a change with `ops` on `doc` has to claim (design: "claims"): for each branch of
 * another log with a sibling at or below a path it writes (value siblings for value ops, positions for
 * positions and fresh marks), the newest such dot.  `own` tells the log branches of this device whose
 * dots count as "earlier in its own log" and are not claimed (the branch written now); `in_base`
 * (NULL: everything) tells whether a dot is within the base.  `own_newer` is set when a sibling of a log
 * for which `is_own` holds lies outside the base: the write is refused with "changed here meanwhile". */
typedef struct weft_claim_query {
  const void *ctx;
  uint32_t log; /* the branch the change goes to; UINT32_MAX for a log that has no change yet */
  bool (*in_base)(const void *ctx, weft_dot dot); /* may be NULL */
  bool (*is_own)(const void *ctx, weft_dot dot);  /* a log of this device, any lane or incarnation */
} weft_claim_query;
weft_err weft__doc_claims(const weft_doc *doc, const weft_lineage *lineage, const weft_op *ops,
                          size_t count, const weft_claim_query *query, weft_arena *arena,
                          weft_dot_list *claims, bool *own_newer) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

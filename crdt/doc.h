/* Documents: one register per path, the join, the view.
 *
 * A weft_doc holds (part of) one document's state: registers in path order, each with its siblings.
 * State is a pure function of the set of changes shown: weft__doc_show may be called in any order
 * that shows a change after everything it claims and after its predecessor in its own log.
 *
 * Changes are named by local dots: `log` is this replica's own number for one branch of one log,
 * and never leaves the replica.  A weft_lineage answers what depends on real logs and ids. */
#ifndef WEFT_DOC_H
#define WEFT_DOC_H

#include "change.h"
#include "value.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_dot {
  uint32_t log; /* local number of one branch of one log */
  uint64_t seq;
} weft_dot;

/* Questions about changes that only the holder of the logs can answer.  Must be consistent:
 * precedes is a partial order within each log's branches, rank a total order. */
typedef struct weft_lineage {
  const void *ctx;
  /* True when `a` is `b` or an ancestor of `b` in its chain (same log, one branch or a fork point).
   */
  bool (*precedes)(const void *ctx, weft_dot a, weft_dot b);
  /* Orders two changes of equal hlc by (log id, seq, change id): <0, 0, >0; the same everywhere. */
  int (*rank)(const void *ctx, weft_dot a, weft_dot b);
} weft_lineage;

/* A change as far as the join wants it. */
typedef struct weft_shown {
  weft_dot dot;
  uint64_t hlc;
  const weft_dot *claims; /* the newest claimed change of each branch */
  size_t claim_count;
} weft_shown;

typedef struct weft_sibling {
  weft_dot dot;
  uint64_t hlc;
  weft_op_kind kind; /* in `positions` always WEFT_OP_POSITION */
  weft_bytes value;  /* the scalar, or the position's bytes */
  /* Scalars and unsets that cover something below them keep their change's claims. */
  const weft_dot *claims;
  size_t claim_count;
} weft_sibling;

typedef struct weft_register {
  weft_path path;
  weft_sibling *values;
  size_t value_count;
  size_t value_cap;
  weft_sibling *positions;
  size_t position_count;
  size_t position_cap;
  bool dirty; /* changed since it was put; for the holder to write back */
} weft_register;

typedef struct weft_doc weft_doc;

/* Makes an empty document.  `lineage` is copied, its ctx must outlive the document.  All memory
 * comes from `mem`, copied too; what registers lose is given back only by reset and free, so a
 * document serves one piece of work.  One thread at a time may write; several may read meanwhile
 * nobody writes.  WEFT_OK, WEFT_ENOMEM. */
weft_err weft__doc_new(weft_doc **out, const weft_alloc *mem,
                       const weft_lineage *lineage) WEFT_MUST_USE;
/* NULL-safe. */
void weft__doc_free(weft_doc *doc);
/* Empties it for reuse; keeps memory. */
void weft__doc_reset(weft_doc *doc);
/* What it was made with.  Views. */
const weft_alloc *weft__doc_mem(const weft_doc *doc);
const weft_lineage *weft__doc_lineage(const weft_doc *doc);

/* Copies every register (bytes too) of `from` into the empty `to`, as if put: emptied ones are left
 * out, nothing is dirty.  WEFT_OK; WEFT_ENOMEM: `to` is reset. */
weft_err weft__doc_copy(weft_doc *to, const weft_doc *from) WEFT_MUST_USE;

/* Puts a register read from a store; bytes are copied.  Paths may come in any order, best in their
 * own; they passed weft_path_check.  WEFT_OK; WEFT_EMISUSE: no sibling and no position, or the path
 * is there already; WEFT_ENOMEM: the document holds what it held. */
weft_err weft__doc_put(weft_doc *doc, const weft_register *reg) WEFT_MUST_USE;

/* The same without copying: paths, siblings and their bytes stay the holder's, who neither changes
 * nor frees them before reset or free.  What is shown goes into copies. */
weft_err weft__doc_borrow(weft_doc *doc, const weft_register *reg) WEFT_MUST_USE;
/* The same of several, ascending by path; after an error the document has some of them. */
weft_err weft__doc_borrow_run(weft_doc *doc, const weft_register *regs, size_t count) WEFT_MUST_USE;

/* Says that the document is plain, as its holder knows: each register has one value at most, every
 * scalar or unset above it covers that value, and where there is none its parent is marked as the
 * container it needs.  Then the registers on the way to a place tell what is shown there, and the
 * questions of the view look at no others.  Empty documents are plain, copies as plain as what they
 * were made from; what is put or shown makes a document not plain until its holder says so again.
 */
void weft__doc_set_plain(weft_doc *doc, bool plain);
bool weft__doc_is_plain(const weft_doc *doc);

/* Finds the register at `path`, or NULL.  It may be one that a join emptied.  Registers stay where
 * they are until clean, reset or free; a put or show changes what they hold.  Bytes of siblings
 * stay until reset or free. */
const weft_register *weft__doc_find(const weft_doc *doc, weft_path path);

/* The first register at or after `path` in byte order, and the one after `reg`; NULL at the end.
 * Registers emptied by a join are visited too, with no siblings, while they are dirty. */
const weft_register *weft__doc_seek(const weft_doc *doc, weft_path path);
const weft_register *weft__doc_next(const weft_doc *doc, const weft_register *reg);

/* Number of registers at and below `path`, emptied ones too: two searches. */
size_t weft__doc_count(const weft_doc *doc, weft_path path);

/* Forgets the dirty flags and drops emptied registers: the holder wrote them back. */
void weft__doc_clean(weft_doc *doc);

/* The join: shows one write of a change.  What the change covers at exactly op->path goes; a fresh
 * mark also removes what it covers below, positions too.  A POSITION op touches positions only;
 * other ops touch them where they carry one.  The document must hold every register at and (for
 * FRESH, SCALAR and UNSET) below op->path, and each op is shown once.  Ops of one change never
 * cover each other.  Scalars and unsets that cover a value below keep a copy of the claims; which
 * do so may depend on the order of arrival, what is shown and digested does not. WEFT_OK;
 * WEFT_ENOMEM leaves the document unusable but for reset and free. */
weft_err weft__doc_show(weft_doc *doc, const weft_shown *change, const weft_op *op) WEFT_MUST_USE;

/* True when change `by` covers `x`: x is another change that `by` claims, an ancestor of what it
 * claims, or earlier in its own log. */
bool weft__covers(const weft_lineage *l, weft_dot by, const weft_dot *claims, size_t claim_count,
                  weft_dot x);

/* Orders siblings by (hlc, log id, seq, change id): <0, 0, >0.  0 only within one change. */
int weft__sibling_cmp(const weft_lineage *l, const weft_sibling *a, const weft_sibling *b);

/* --- the view --- */

typedef enum weft_shape {
  WEFT_SHAPE_NONE,
  WEFT_SHAPE_SCALAR,
  WEFT_SHAPE_OBJECT,
  WEFT_SHAPE_ARRAY
} weft_shape;

/* What stands at one register, side by side. */
typedef struct weft_sides {
  weft_shape shape;           /* what is shown at the path by itself, ancestors not asked */
  const weft_sibling *winner; /* of shape SCALAR: the scalar shown; else NULL */
  bool has_scalar;            /* a scalar survives here */
  bool has_hide;              /* a scalar or an unset survives here */
  bool has_unset;
  bool object_mark, array_mark;   /* a mark of that kind survives here */
  bool object_alive, array_alive; /* a mark, or something uncovered alive below, of that side */
} weft_sides;

/* Computes the sides of `path`.  Needs all registers at and below it.  Views into the document.
 * WEFT_OK. Takes no memory. */
weft_err weft__doc_sides(const weft_doc *doc, weft_path path, weft_sides *out) WEFT_MUST_USE;

/* One child that is shown below a container. */
typedef struct weft_child {
  weft_step step; /* view into the document */
  weft_path path;
  weft_shape shape;
  weft_bytes position; /* of an element; empty = first */
} weft_child;

/* Lists the shown children of the container at `path` in their order (keys ascending; elements by
 * position, then id), of side `want` (OBJECT or ARRAY) whichever side wins.  Array in `arena`, its
 * views in the document.  WEFT_OK, WEFT_ENOMEM. */
weft_err weft__doc_children(const weft_doc *doc, weft_path path, weft_shape want, weft_arena *arena,
                            weft_child **out, size_t *count) WEFT_MUST_USE;

/* Renders what is shown at `path` (ancestors not asked; `weft__doc_visible` tells) into `arena`,
 * strings and keys too: the result outlives the document.  Time: registers below times their depth.
 * WEFT_OK; WEFT_ENOTFOUND: nothing is shown there; WEFT_ENOMEM; WEFT_EMALFORMED: a register holds a
 * scalar that is none.  *out is set only on WEFT_OK. */
weft_err weft__doc_render(const weft_doc *doc, weft_path path, weft_arena *arena,
                          weft_value *out) WEFT_MUST_USE;

/* True when every proper ancestor of `path` is shown as the container its step needs, and something
 * is shown at `path`.  WEFT_OK, WEFT_ENOMEM. */
weft_err weft__doc_visible(const weft_doc *doc, weft_path path, bool *out) WEFT_MUST_USE;

/* Turns pointer tokens into a typed path against what is shown.  Where an array stands, a token is
 * an index (decimal, no leading zero) or `-` (past the end: *append is set, the path is the
 * array's, and it must be the last token).  Elsewhere a token is a key, also below what does not
 * exist yet.  The path lies in `arena`. WEFT_OK; WEFT_EBADPATH: an array index that is none or past
 * the end, a step into a visible scalar, or a token that can be no key; WEFT_ELIMIT; WEFT_ENOMEM.
 * *depth tells how many tokens fitted. */
weft_err weft__doc_resolve(const weft_doc *doc, weft_arena *arena, const weft_bytes *tokens,
                           size_t count, weft_path *path, bool *append,
                           size_t *depth) WEFT_MUST_USE;

/* Appends the JSON Pointer of `path` as it is shown now (indexes for elements).  `scratch` is used
 * and not reset.  WEFT_OK; WEFT_ENOTFOUND: it is not visible; WEFT_ENOMEM, WEFT_ELIMIT.  Nothing is
 * appended but on WEFT_OK. */
weft_err weft__doc_pointer(const weft_doc *doc, weft_path path, weft_arena *scratch,
                           weft_buf *out) WEFT_MUST_USE;

/* --- conflicts --- */

typedef enum weft_conflict_kind {
  WEFT_CONFLICT_VALUE = 1,      /* concurrent scalars of more than one value */
  WEFT_CONFLICT_SHAPE = 2,      /* scalar against container, or object against array */
  WEFT_CONFLICT_EDIT_DELETE = 3 /* something alive beside an unset, or alive without its mark
                                   below a container that was begun anew */
} weft_conflict_kind;

typedef struct weft_conflict {
  weft_path path; /* view into the document */
  weft_conflict_kind kind;
  /* Its siblings: all that are concurrent there.  NULL when nothing was written at the path itself
   * that survives: a container alive without its mark. */
  const weft_register *reg;
  const weft_sibling *winner; /* the scalar shown; NULL when a container is shown */
  weft_shape shape;           /* what is shown at the path by itself */
  bool visible;               /* as weft__doc_visible */
} weft_conflict;

/* Lists what people are told, in path order, one kind for a path: SHAPE before VALUE before
 * EDIT_DELETE.  A container whose mark has not arrived yet is none.  Scalars are one value when
 * weft_value_equal.  Left out is a path where all that is live, at or below it, is covered by
 * scalars or unsets above.  Positions are never in conflict.  Array in `arena`; `path` limits to
 * what stands at, below or above it ("" for all). WEFT_OK; WEFT_ENOMEM; WEFT_EMALFORMED: a register
 * holds a scalar that is none. */
weft_err weft__doc_conflicts(const weft_doc *doc, weft_path path, weft_arena *arena,
                             weft_conflict **out, size_t *count) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

/* One edit: the ops that turn what a document shows at a path into a given value.
 *
 * Internal to crdt/: the writer (crdt/write.h) sets an edit up, the diff fills in ops in any order,
 * at most one per path, and the writer merges them into its change.  Nothing here changes a
 * document. */
#ifndef WEFT_DIFF_H
#define WEFT_DIFF_H

#include "crdt/write.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_delta {
  const weft_doc *doc; /* as it is shown before this edit */
  const weft_crypto *crypto;
  const weft_write_origin *origin;
  uint64_t *newcomers; /* elements the change has made so far; counts their ids */
  weft_arena *arena;   /* of everything the edit makes */
  weft_buf *buf;       /* scratch */
  weft_op *ops;
  size_t count;
  size_t cap;
} weft_delta;

/* Appends an op; views are kept, not copied.  WEFT_ELIMIT: more ops than a change can hold;
 * WEFT_ENOMEM. */
weft_err weft__delta_op(weft_delta *e, weft_path path, weft_op_kind kind, weft_bytes value,
                        weft_bytes position) WEFT_MUST_USE;

/* Makes the path of a child in the edit's arena.  WEFT_ELIMIT, WEFT_EBADPATH, WEFT_ENOMEM. */
weft_err weft__delta_child(weft_delta *e, weft_path parent, weft_step step,
                           weft_path *out) WEFT_MUST_USE;

/* Makes `path` the container `kind` (OBJECT or ARRAY; design: "Local writes"): a fresh mark when it
 * is not shown as one (`*kept` is false then: everything below is new); else, where the other side
 * or something that hides stands beside it, a mark and an unset for each child of the other side.
 * `position` (may be empty) goes with it.  WEFT_ELIMIT, WEFT_ENOMEM. */
weft_err weft__delta_container(weft_delta *e, weft_path path, weft_shape kind, weft_bytes position,
                               bool *kept) WEFT_MUST_USE;

/* The mark and the unsets of weft__delta_container, whatever is shown.  WEFT_ELIMIT, WEFT_ENOMEM.
 */
weft_err weft__delta_mark(weft_delta *e, weft_path path, weft_shape kind,
                          weft_bytes position) WEFT_MUST_USE;

/* Makes the id of an element that is put into an array by hand: no other change makes the same, not
 * even one of a copy of this device.  WEFT_ENOMEM, and what weft__value_encode says. */
weft_err weft__delta_element_id(weft_delta *e, const weft_value *value,
                                weft_bytes *id) WEFT_MUST_USE;

/* What stands at a path, and what shall. */
typedef struct weft_diff_task {
  weft_path path;
  const weft_value *before; /* what is shown there; NULL when nothing, or when `fresh` */
  const weft_value *after;
  bool fresh;          /* below something this edit makes anew */
  weft_bytes position; /* a new position of the element, or empty */
} weft_diff_task;

typedef struct weft_diff {
  weft_delta *edit;
  weft_diff_task *tasks; /* a stack */
  size_t count;
  size_t cap;
} weft_diff;

/* Appends the ops of a task and of all below it; `before` and `after` differ, or it is `fresh`.
 * The trees are checked ones.  WEFT_ELIMIT, WEFT_ENOMEM. */
weft_err weft__diff(weft_delta *e, const weft_diff_task *task) WEFT_MUST_USE;

/* Adds a task to the stack. */
weft_err weft__diff_push(weft_diff *d, weft_diff_task task) WEFT_MUST_USE;

/* The array's part: matches elements, removes, places, and pushes a task for each that is new or
 * differs.  `task->before` is NULL when the array is new. */
weft_err weft__diff_array(weft_diff *d, const weft_diff_task *task) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

/* The view as a tree: every place at or below a path that has a register or leads to one, with what
 * stands there side by side.  One pass over the registers makes it; render, children, pointers and
 * conflicts read it. */
#ifndef WEFT_VIEW_H
#define WEFT_VIEW_H

#include "crdt/doc.h"
#include "crdt/limits.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { WEFT_VIEW_DEPTH = WEFT_PATH_STEPS_MAX + 1 }; /* nodes on the way to a place, root included */

/* Kept small: reading a document costs one of these for every place. */
typedef struct weft_node {
  weft_path path;           /* view into the document */
  const weft_register *reg; /* NULL when nothing was written at the place itself */
  /* The greatest live sibling of each side, NULL when the side is empty.  Of a container's side it
   * may lie far below. */
  const weft_sibling *scalar, *object, *array;
  const weft_sibling *position; /* the winning one; NULL = first */
  uint32_t parent;              /* index; of the top 0 */
  uint32_t end;                 /* index behind the last node below */
  uint16_t name_len;            /* the path ends with the name of its last step */
  bool element;                 /* what that step is; false at the top */
  uint8_t shape;                /* weft_shape: the side shown, ancestors not asked */
  bool visible;                 /* shown, and every node above up to the top leads here */
  bool alive;                   /* something here or below that nothing above it covers */
  bool hides;                   /* a scalar or an unset survives here */
  bool unset, object_mark, array_mark;
  bool fresh;       /* one of these marks begins its container anew */
  bool fresh_above; /* so does one at a node above, up to the top */
} weft_node;

/* The last answer to whether a register hides what a change wrote. */
typedef struct weft_hidden {
  weft_dot dot;
  bool asked, hidden;
} weft_hidden;

/* Nodes in path order, so each stands directly before everything below it. */
typedef struct weft_tree {
  const weft_doc *doc;
  weft_node *nodes;
  uint32_t count;
  size_t cap;
  weft_arena *arena;                   /* NULL: nodes are forgotten when they are closed */
  uint32_t open[WEFT_VIEW_DEPTH];      /* the nodes from the top to the one being filled */
  weft_hidden hidden[WEFT_VIEW_DEPTH]; /* by each open node: neighbours mostly share a change */
  size_t depth;
  uint32_t *ranks; /* by node: of an element, its place among those shown, from 1; 0: not asked */
  const weft_node **room; /* for listing children, twice */
} weft_tree;

/* Builds the tree of what stands at and below `top`; there is always the node of `top` itself.
 * Nodes lie in `arena`, their views in the document and in `top`.  WEFT_OK, WEFT_ENOMEM. */
weft_err weft__tree_build(weft_tree *tree, const weft_doc *doc, weft_path top,
                          weft_arena *arena) WEFT_MUST_USE;

/* What a register with one value shows by itself, ancestors not asked; NULL is no register. */
weft_shape weft__register_shape(const weft_register *reg);

/* The last step of a node's path; not of the top, which has none here.  View. */
weft_step weft__node_step(const weft_node *node);

/* Finds the node at `path`, which lies below the top: its index, or 0 when nothing stands there. */
size_t weft__tree_find(const weft_tree *tree, weft_path path);

/* Lists the shown children of node `idx` on side `want` (OBJECT or ARRAY) in their order, into
 * `list`; `scratch` is as long, and both have room for every child.  Gives their number. */
size_t weft__tree_children(const weft_tree *tree, size_t idx, weft_shape want,
                           const weft_node **list, const weft_node **scratch);

/* As weft__doc_pointer, for many paths of one document: `tree` is built from its root.  The first
 * element asked for of an array numbers all of them. */
weft_err weft__tree_pointer(weft_tree *tree, weft_path path, weft_buf *out) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

/* The conflicts that people are told of.
 *
 * A place is reported when something live at or below it is covered by no scalar or unset above it:
 * what lies inside a deleted container is the container's conflict, not its own.  One kind is given
 * for one place, the one that decides most: its shape, then its value, then its being there.
 *
 * Happy path: one tree of the document, one look at each node.
 * Failure modes: memory; a scalar that does not decode, when the holder let damaged bytes in. */
#include "crdt/view.h"

/* Tells whether two encoded scalars are one value to people: 1 and 1.0 are. */
static weft_err same_value(weft_bytes a, weft_bytes b, bool *same) {
  *same = weft_bytes_cmp(a, b) == 0;
  if (*same) return WEFT_OK;
  weft_value left, right;
  WEFT_TRY(weft__scalar_decode(a, &left));
  WEFT_TRY(weft__scalar_decode(b, &right));
  *same = weft_value_equal(&left, &right);
  return WEFT_OK;
}

static weft_err several_values(const weft_register *reg, bool *several) {
  const weft_sibling *first = NULL;
  *several = false;
  for (size_t i = 0; i < reg->value_count && !*several; i++) {
    const weft_sibling *s = &reg->values[i];
    if (s->kind != WEFT_OP_SCALAR) continue;
    if (first) {
      bool same;
      WEFT_TRY(same_value(first->value, s->value, &same));
      *several = !same;
    } else {
      first = s;
    }
  }
  return WEFT_OK;
}

/* A container shown without a mark of its kind, below one that was begun anew, is what is left of
 * one that went while somebody wrote inside.  Without such a beginning above nothing can have
 * removed the mark: whoever created the container has not been heard yet, and a write inside does
 * not claim that change.  (A deletion leaves an unset, which is asked for by itself.) */
static bool bereft(const weft_node *node) {
  bool unmarked = (node->shape == WEFT_SHAPE_OBJECT && !node->object_mark) ||
                  (node->shape == WEFT_SHAPE_ARRAY && !node->array_mark);
  return unmarked && node->fresh_above;
}

/* `kind` is 0 when there is no conflict. */
static weft_err node_kind(const weft_node *node, unsigned *kind) {
  *kind = 0;
  if (!node->alive) return WEFT_OK;
  if (!!node->scalar + !!node->object + !!node->array > 1) {
    *kind = WEFT_CONFLICT_SHAPE;
    return WEFT_OK;
  }
  if (node->scalar) {
    bool several;
    WEFT_TRY(several_values(node->reg, &several));
    if (several) *kind = WEFT_CONFLICT_VALUE;
  }
  if (*kind == 0 && (node->unset || bereft(node))) *kind = WEFT_CONFLICT_EDIT_DELETE;
  return WEFT_OK;
}

static weft_err list_conflicts(const weft_tree *t, weft_path path, weft_arena *arena,
                               weft_conflict **list, size_t *count) {
  size_t cap = 0;
  for (size_t i = 0; i < t->count; i++) {
    const weft_node *node = &t->nodes[i];
    unsigned kind;
    if (!weft__path_related(node->path, path)) continue;
    WEFT_TRY(node_kind(node, &kind));
    if (kind == 0) continue;
    void *at = *list;
    WEFT_TRY(weft__arena_grow(arena, &at, *count, &cap, *count + 1, sizeof **list));
    *list = at;
    (*list)[(*count)++] = (weft_conflict){
        .path = node->path,
        .kind = (weft_conflict_kind)kind,
        .reg = node->reg,
        .winner = node->shape == WEFT_SHAPE_SCALAR ? node->scalar : NULL,
        .shape = (weft_shape)node->shape,
        .visible = node->visible,
    };
  }
  return WEFT_OK;
}

weft_err weft__doc_conflicts(const weft_doc *doc, weft_path path, weft_arena *arena,
                             weft_conflict **out, size_t *count) {
  weft_conflict *list = NULL;
  size_t found = 0;
  *out = NULL;
  *count = 0;
  weft_tree t;
  weft_arena scratch;
  weft__arena_init(&scratch, weft__doc_mem(doc));
  weft_err err = weft__tree_build(&t, doc, weft_bytes_of(NULL, 0), &scratch);
  if (err == WEFT_OK) err = list_conflicts(&t, path, arena, &list, &found);
  weft__arena_free(&scratch);
  if (err != WEFT_OK) return err;
  *out = list;
  *count = found;
  return WEFT_OK;
}

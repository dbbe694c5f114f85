/* What a document shows.
 *
 * A live sibling counts for its own place and for each container above, up to the first register
 * whose scalars or unsets cover it: that one does not count it, and whatever lies above does not
 * see it at all.  So one pass in path order suffices, with a stack of the nodes above: when a
 * sibling is met, every register that could hide it has been met.
 *
 * Invariants: a node stands directly before everything below it, and is closed (its shape settled)
 * before the next node that is not below it begins.  The stack is as deep as a path has steps.
 * Cost: registers times depth, each step one comparison of clocks; asking the lineage is needed
 * only below scalars and unsets and between equal clocks. Failure modes: memory; a scalar that does
 * not decode, when the holder let damaged bytes in. */
#include "crdt/view.h"

#include <string.h>

#include "crdt/assert.h"
#include "crdt/sort.h"

/* --- the tree --- */

static bool at_or_under(weft_path top, weft_path p) {
  return top.len == p.len ? weft_bytes_cmp(top, p) == 0 : weft_path_under(top, p);
}

weft_step weft__node_step(const weft_node *node) {
  const uint8_t *name = node->path.at + node->path.len - node->name_len;
  return (weft_step){node->element, {name, node->name_len}};
}

/* The side of its parent that a node belongs to. */
static weft_shape side_of(const weft_node *node) {
  return node->element ? WEFT_SHAPE_ARRAY : WEFT_SHAPE_OBJECT;
}

static void keep_best(const weft_lineage *l, const weft_sibling **best, const weft_sibling *s) {
  if (!*best || weft__sibling_cmp(l, s, *best) > 0) *best = s;
}

/* Only a change that wrote a value and, below it, more can tie: then the scalar is shown rather
 * than the object, and the object rather than the array, on every replica. */
static weft_shape node_shape(const weft_lineage *l, const weft_node *node) {
  const weft_sibling *best = node->scalar;
  weft_shape shape = best ? WEFT_SHAPE_SCALAR : WEFT_SHAPE_NONE;
  if (node->object && (!best || weft__sibling_cmp(l, node->object, best) > 0)) {
    best = node->object;
    shape = WEFT_SHAPE_OBJECT;
  }
  if (node->array && (!best || weft__sibling_cmp(l, node->array, best) > 0)) {
    shape = WEFT_SHAPE_ARRAY;
  }
  return shape;
}

static weft_err tree_open(weft_tree *t, weft_path path, weft_step step) {
  WEFT_ASSERT(t->depth < WEFT_VIEW_DEPTH);
  if (t->arena) {
    void *nodes = t->nodes;
    WEFT_TRY(weft__arena_grow(t->arena, &nodes, t->count, &t->cap, t->count + 1, sizeof *t->nodes));
    t->nodes = nodes;
  }
  WEFT_ASSERT(t->count < t->cap);
  uint32_t parent = t->depth > 0 ? t->open[t->depth - 1] : 0;
  t->nodes[t->count] = (weft_node){
      .path = path, .parent = parent, .name_len = (uint16_t)step.name.len, .element = step.element};
  t->hidden[t->depth].asked = false;
  t->open[t->depth++] = t->count++;
  return WEFT_OK;
}

static void tree_close(weft_tree *t) {
  weft_node *node = &t->nodes[t->open[--t->depth]];
  node->end = t->count;
  node->shape = (uint8_t)node_shape(weft__doc_lineage(t->doc), node);
  if (!t->arena) t->count--;
}

static bool register_hides(const weft_lineage *l, const weft_register *reg, const weft_sibling *x) {
  for (size_t i = 0; i < reg->value_count; i++) {
    const weft_sibling *s = &reg->values[i];
    if (s->kind != WEFT_OP_SCALAR && s->kind != WEFT_OP_UNSET) continue;
    if (weft__covers(l, s->dot, s->claims, s->claim_count, x->dot)) return true;
  }
  return false;
}

/* Asks the register of the `d`-th open node, unless the answer is known. */
static bool is_hidden_by(weft_tree *t, size_t d, const weft_sibling *x) {
  const weft_node *node = &t->nodes[t->open[d]];
  weft_hidden *last = &t->hidden[d];
  if (!node->hides) return false;
  if (!last->asked || last->dot.log != x->dot.log || last->dot.seq != x->dot.seq) {
    last->hidden = register_hides(weft__doc_lineage(t->doc), node->reg, x);
    last->dot = x->dot;
    last->asked = true;
  }
  return last->hidden;
}

/* Counts a live sibling of the innermost open node for the containers above it. */
static void tally_above(weft_tree *t, const weft_sibling *x) {
  const weft_lineage *l = weft__doc_lineage(t->doc);
  for (size_t d = t->depth - 1; d > 0; d--) {
    const weft_node *child = &t->nodes[t->open[d]];
    weft_node *node = &t->nodes[t->open[d - 1]];
    if (is_hidden_by(t, d - 1, x)) return;
    keep_best(l, child->element ? &node->array : &node->object, x);
  }
  for (size_t d = t->depth; d > 0 && !t->nodes[t->open[d - 1]].alive; d--) {
    t->nodes[t->open[d - 1]].alive = true;
  }
}

static void tally_own(const weft_lineage *l, weft_node *node, const weft_sibling *x) {
  switch (x->kind) {
  case WEFT_OP_SCALAR:
    node->hides = true;
    keep_best(l, &node->scalar, x);
    return;
  case WEFT_OP_UNSET:
    node->hides = true;
    node->unset = true;
    return;
  case WEFT_OP_MARK_OBJECT:
  case WEFT_OP_FRESH_OBJECT:
    node->object_mark = true;
    node->fresh = node->fresh || x->kind == WEFT_OP_FRESH_OBJECT;
    keep_best(l, &node->object, x);
    return;
  case WEFT_OP_MARK_ARRAY:
  case WEFT_OP_FRESH_ARRAY:
    node->array_mark = true;
    node->fresh = node->fresh || x->kind == WEFT_OP_FRESH_ARRAY;
    keep_best(l, &node->array, x);
    return;
  case WEFT_OP_POSITION: return; /* defensive: never among values */
  }
}

static void tally(weft_tree *t, const weft_register *reg) {
  const weft_lineage *l = weft__doc_lineage(t->doc);
  weft_node *node = &t->nodes[t->open[t->depth - 1]];
  node->reg = reg;
  for (size_t i = 0; i < reg->value_count; i++) {
    tally_own(l, node, &reg->values[i]);
    if (reg->values[i].kind != WEFT_OP_UNSET) tally_above(t, &reg->values[i]);
  }
  for (size_t i = 0; i < reg->position_count; i++)
    keep_best(l, &node->position, &reg->positions[i]);
}

/* Closes what `path` does not lie below, and opens the nodes that lead to it. */
static weft_err tree_reach(weft_tree *t, weft_path path) {
  while (!at_or_under(t->nodes[t->open[t->depth - 1]].path, path)) tree_close(t);
  size_t at = t->nodes[t->open[t->depth - 1]].path.len;
  weft_step step;
  while (weft_path_next(path, &at, &step)) {
    WEFT_TRY(tree_open(t, weft_bytes_of(path.at, at), step));
  }
  return WEFT_OK;
}

static weft_err tree_pass(weft_tree *t, weft_path top) {
  weft_step none = {false, {NULL, 0}};
  weft_err err = tree_open(t, top, none);
  const weft_register *reg = weft__doc_seek(t->doc, top);
  while (err == WEFT_OK && reg && at_or_under(top, reg->path)) {
    if (reg->value_count + reg->position_count > 0) {
      err = tree_reach(t, reg->path);
      if (err == WEFT_OK) tally(t, reg);
    }
    reg = weft__doc_next(t->doc, reg);
  }
  while (t->depth > 0) tree_close(t);
  return err;
}

weft_err weft__tree_build(weft_tree *tree, const weft_doc *doc, weft_path top, weft_arena *arena) {
  *tree = (weft_tree){.doc = doc, .arena = arena};
  /* Mostly every place on the way has a register, so this is all the room it takes. */
  tree->cap = weft__doc_count(doc, top) + 1;
  tree->nodes = weft__arena_zero(arena, tree->cap, sizeof *tree->nodes);
  if (!tree->nodes) return WEFT_ENOMEM;
  WEFT_TRY(tree_pass(tree, top));
  weft_node *nodes = tree->nodes;
  for (size_t i = 0; i < tree->count; i++) {
    const weft_node *above = &nodes[nodes[i].parent];
    bool led = i == 0 || (above->visible && above->shape == side_of(&nodes[i]));
    nodes[i].visible = led && nodes[i].shape != WEFT_SHAPE_NONE;
    nodes[i].fresh_above = i > 0 && (above->fresh || above->fresh_above);
  }
  return WEFT_OK;
}

/* Nodes stand in the order of their paths. */
size_t weft__tree_find(const weft_tree *tree, weft_path path) {
  size_t low = 1, high = tree->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = weft_bytes_cmp(tree->nodes[middle].path, path);
    if (order == 0) return middle;
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return 0;
}

static weft_bytes node_position(const weft_node *node) {
  return node->position ? node->position->value : weft_bytes_of(NULL, 0);
}

/* Members by key, elements by position and then id: as the steps of one parent and kind, no two are
 * equal. */
static int child_cmp(const void *ctx, const void *a, const void *b) {
  (void)ctx;
  const weft_node *left = a, *right = b;
  if (left->element) {
    int order = weft_bytes_cmp(node_position(left), node_position(right));
    if (order != 0) return order;
  }
  return weft_bytes_cmp(weft__node_step(left).name, weft__node_step(right).name);
}

static bool is_shown_child(const weft_node *node, weft_shape want) {
  return side_of(node) == want && node->shape != WEFT_SHAPE_NONE;
}

size_t weft__tree_children(const weft_tree *tree, size_t idx, weft_shape want,
                           const weft_node **list, const weft_node **scratch) {
  const weft_node *nodes = tree->nodes;
  size_t count = 0;
  for (size_t i = idx + 1; i < nodes[idx].end; i = nodes[i].end) {
    if (is_shown_child(&nodes[i], want)) list[count++] = &nodes[i];
  }
  weft__sort((const void **)list, (const void **)scratch, count, child_cmp, NULL);
  return count;
}

/* --- plain documents: what the way to a place tells --- */

/* The side of which a write of this kind says what it is. */
static weft_shape kind_shape(weft_op_kind kind) {
  switch (kind) {
  case WEFT_OP_MARK_OBJECT:
  case WEFT_OP_FRESH_OBJECT: return WEFT_SHAPE_OBJECT;
  case WEFT_OP_MARK_ARRAY:
  case WEFT_OP_FRESH_ARRAY: return WEFT_SHAPE_ARRAY;
  case WEFT_OP_SCALAR: return WEFT_SHAPE_SCALAR;
  case WEFT_OP_UNSET:
  case WEFT_OP_POSITION: break;
  }
  return WEFT_SHAPE_NONE;
}

weft_shape weft__register_shape(const weft_register *reg) {
  return reg && reg->value_count > 0 ? kind_shape(reg->values[0].kind) : WEFT_SHAPE_NONE;
}

/* True when every container on the way to `path` is shown as its step needs. */
static bool plain_way(const weft_doc *doc, weft_path path) {
  size_t at = 0;
  weft_step step;
  for (size_t len = 0; weft_path_next(path, &at, &step); len = at) {
    weft_shape shape = weft__register_shape(weft__doc_find(doc, weft_bytes_of(path.at, len)));
    if (shape != (step.element ? WEFT_SHAPE_ARRAY : WEFT_SHAPE_OBJECT)) return false;
  }
  return true;
}

/* The sides of a place whose way is shown: what lies below a mark is of its kind, and what lies
 * below a scalar or unset is covered. */
static void plain_sides(const weft_register *reg, weft_sides *out) {
  const weft_sibling *value = reg && reg->value_count > 0 ? &reg->values[0] : NULL;
  weft_shape shape = weft__register_shape(reg);
  bool scalar = shape == WEFT_SHAPE_SCALAR;
  bool unset = value && value->kind == WEFT_OP_UNSET;
  *out = (weft_sides){
      .shape = shape,
      .winner = scalar ? value : NULL,
      .has_scalar = scalar,
      .has_hide = scalar || unset,
      .has_unset = unset,
      .object_mark = shape == WEFT_SHAPE_OBJECT,
      .array_mark = shape == WEFT_SHAPE_ARRAY,
      .object_alive = shape == WEFT_SHAPE_OBJECT,
      .array_alive = shape == WEFT_SHAPE_ARRAY,
  };
}

/* --- one place --- */

enum { HOPS_MAX = 64 };

/* True when all that was ever written below `path` is on side `want`.  Steps of one side and length
 * lie together, so one register of each is looked at; where they are many, it is not said. */
static bool below_is(const weft_doc *doc, weft_path path, weft_shape want) {
  uint8_t from[WEFT_PATH_LEN_MAX];
  const weft_register *reg = weft__doc_seek(doc, path);
  if (reg && reg->path.len == path.len) reg = weft__doc_next(doc, reg);
  for (size_t hops = 0; reg && weft_path_under(path, reg->path); hops++) {
    weft_step step = {false, {NULL, 0}};
    size_t at = path.len;
    (void)weft_path_next(reg->path, &at, &step);
    if (hops == HOPS_MAX || step.element != (want == WEFT_SHAPE_ARRAY)) return false;
    size_t len = at - step.name.len;
    memcpy(from, reg->path.at, len);
    from[len - 1]++; /* the last byte of a varint, so at most 127 */
    reg = weft__doc_seek(doc, weft_bytes_of(from, len));
  }
  return true;
}

/* The sides of a place where nothing but marks of one container stand, and below it nothing of
 * another kind.  False: every register below has to be asked. */
static bool marked_sides(const weft_doc *doc, weft_path path, weft_sides *out) {
  const weft_register *reg = weft__doc_find(doc, path);
  weft_shape shape = weft__register_shape(reg);
  if (shape != WEFT_SHAPE_OBJECT && shape != WEFT_SHAPE_ARRAY) return false;
  for (size_t i = 1; i < reg->value_count; i++) {
    if (kind_shape(reg->values[i].kind) != shape) return false;
  }
  if (!below_is(doc, path, shape)) return false;
  plain_sides(reg, out);
  return true;
}

weft_err weft__doc_sides(const weft_doc *doc, weft_path path, weft_sides *out) {
  if (marked_sides(doc, path, out)) return WEFT_OK;
  if (weft__doc_is_plain(doc) && plain_way(doc, path)) {
    plain_sides(weft__doc_find(doc, path), out);
    return WEFT_OK;
  }
  weft_node line[WEFT_VIEW_DEPTH];
  weft_tree t = {.doc = doc, .nodes = line, .cap = WEFT_VIEW_DEPTH};
  weft_err err = tree_pass(&t, path);
  const weft_node *node = &line[0];
  *out = (weft_sides){
      .shape = (weft_shape)node->shape,
      .winner = node->shape == WEFT_SHAPE_SCALAR ? node->scalar : NULL,
      .has_scalar = node->scalar != NULL,
      .has_hide = node->hides,
      .has_unset = node->unset,
      .object_mark = node->object_mark,
      .array_mark = node->array_mark,
      .object_alive = node->object != NULL,
      .array_alive = node->array != NULL,
  };
  return err;
}

/* A tree and the room to list children of any of its nodes. */
typedef struct view {
  weft_arena scratch;
  weft_tree tree;
  const weft_node **list;
  const weft_node **spare; /* for sorting the list */
} view;

static weft_err view_open(view *v, const weft_doc *doc, weft_path top) {
  weft__arena_init(&v->scratch, weft__doc_mem(doc));
  WEFT_TRY(weft__tree_build(&v->tree, doc, top, &v->scratch));
  v->list = weft__arena_zero(&v->scratch, v->tree.count, 2 * sizeof *v->list);
  if (!v->list) return WEFT_ENOMEM;
  v->spare = v->list + v->tree.count;
  return WEFT_OK;
}

static void view_close(view *v) { weft__arena_free(&v->scratch); }

static size_t view_children(view *v, size_t idx, weft_shape want) {
  return weft__tree_children(&v->tree, idx, want, v->list, v->spare);
}

static weft_err list_children(view *v, weft_shape want, weft_arena *arena, weft_child **out,
                              size_t *count) {
  size_t found = view_children(v, 0, want);
  weft_child *list = weft__arena_zero(arena, found, sizeof *list);
  if (!list) return WEFT_ENOMEM;
  for (size_t i = 0; i < found; i++) {
    const weft_node *node = v->list[i];
    list[i] = (weft_child){weft__node_step(node), node->path, (weft_shape)node->shape,
                           node_position(node)};
  }
  *out = list;
  *count = found;
  return WEFT_OK;
}

weft_err weft__doc_children(const weft_doc *doc, weft_path path, weft_shape want, weft_arena *arena,
                            weft_child **out, size_t *count) {
  *out = NULL;
  *count = 0;
  view v;
  weft_err err = view_open(&v, doc, path);
  if (err == WEFT_OK) err = list_children(&v, want, arena, out, count);
  view_close(&v);
  return err;
}

/* --- rendering --- */

/* Where each node's value goes; NULL for what is not shown. */
typedef struct renderer {
  view v;
  weft_value **slots;
  weft_arena *arena;
} renderer;

static weft_err render_scalar(weft_arena *arena, const weft_sibling *scalar, weft_value *out) {
  weft_value value;
  WEFT_TRY(weft__scalar_decode(scalar->value, &value));
  if (value.kind == WEFT_STRING || value.kind == WEFT_BYTES) {
    WEFT_TRY(weft__arena_copy(arena, value.as.bytes, &value.as.bytes));
  }
  *out = value;
  return WEFT_OK;
}

static size_t node_idx(const renderer *r, const weft_node *node) {
  return (size_t)(node - r->v.tree.nodes);
}

static weft_err render_object(renderer *r, const weft_node *node, weft_value *slot) {
  size_t count = view_children(&r->v, node_idx(r, node), WEFT_SHAPE_OBJECT);
  weft_member *members = weft__arena_zero(r->arena, count, sizeof *members);
  if (!members) return WEFT_ENOMEM;
  for (size_t i = 0; i < count; i++) {
    const weft_node *child = r->v.list[i];
    WEFT_TRY(weft__arena_copy(r->arena, weft__node_step(child).name, &members[i].key));
    r->slots[node_idx(r, child)] = &members[i].value;
  }
  slot->kind = WEFT_OBJECT;
  slot->as.object.at = members;
  slot->as.object.count = count;
  return WEFT_OK;
}

static weft_err render_array(renderer *r, const weft_node *node, weft_value *slot) {
  size_t count = view_children(&r->v, node_idx(r, node), WEFT_SHAPE_ARRAY);
  weft_value *items = weft__arena_zero(r->arena, count, sizeof *items);
  if (!items) return WEFT_ENOMEM;
  for (size_t i = 0; i < count; i++) r->slots[node_idx(r, r->v.list[i])] = &items[i];
  slot->kind = WEFT_ARRAY;
  slot->as.array.at = items;
  slot->as.array.count = count;
  return WEFT_OK;
}

static weft_err render_node(renderer *r, const weft_node *node) {
  weft_value *slot = r->slots[node_idx(r, node)];
  if (node->shape == WEFT_SHAPE_SCALAR) return render_scalar(r->arena, node->scalar, slot);
  if (node->shape == WEFT_SHAPE_OBJECT) return render_object(r, node, slot);
  if (node->shape == WEFT_SHAPE_ARRAY) return render_array(r, node, slot);
  return WEFT_ENOTFOUND; /* the top: below it only what is shown has a slot */
}

static weft_err render_tree(renderer *r, weft_value *out) {
  const weft_tree *t = &r->v.tree;
  weft_value top;
  r->slots = weft__arena_zero(&r->v.scratch, t->count, sizeof *r->slots);
  if (!r->slots) return WEFT_ENOMEM;
  r->slots[0] = &top;
  for (size_t i = 0; i < t->count;) {
    const weft_node *node = &t->nodes[i];
    if (!r->slots[i]) {
      i = node->end;
      continue;
    }
    WEFT_TRY(render_node(r, node));
    i++;
  }
  *out = top;
  return WEFT_OK;
}

/* Renders a place with nothing below it and at most one value; false when it is not such a one. */
static bool render_leaf(const weft_doc *doc, weft_path path, weft_arena *arena, weft_value *out,
                        weft_err *err) {
  const weft_register *reg = weft__doc_seek(doc, path);
  if (!reg || !at_or_under(path, reg->path)) {
    *err = WEFT_ENOTFOUND;
    return true;
  }
  const weft_register *next = weft__doc_next(doc, reg);
  bool alone = reg->path.len == path.len && reg->value_count == 1 &&
               reg->values[0].kind == WEFT_OP_SCALAR && !(next && at_or_under(path, next->path));
  if (alone) *err = render_scalar(arena, &reg->values[0], out);
  return alone;
}

weft_err weft__doc_render(const weft_doc *doc, weft_path path, weft_arena *arena, weft_value *out) {
  weft_err leaf;
  if (render_leaf(doc, path, arena, out, &leaf)) return leaf;
  renderer r = {.arena = arena};
  weft_err err = view_open(&r.v, doc, path);
  if (err == WEFT_OK) err = render_tree(&r, out);
  view_close(&r.v);
  return err;
}

/* --- places and pointers --- */

/* Follows `path` from the root through what is shown; `line` gets the index of each node on the
 * way. False when the path is not visible. */
static bool tree_follow(const weft_tree *t, weft_path path, size_t line[WEFT_VIEW_DEPTH]) {
  size_t at = 0, depth = 0, idx = 0;
  line[0] = 0;
  weft_step step;
  while (weft_path_next(path, &at, &step)) {
    idx = weft__tree_find(t, weft_bytes_of(path.at, at));
    if (idx == 0) return false;
    WEFT_ASSERT(depth + 1 < WEFT_VIEW_DEPTH);
    line[++depth] = idx;
  }
  return t->nodes[idx].visible;
}

weft_err weft__doc_visible(const weft_doc *doc, weft_path path, bool *out) {
  if (weft__doc_is_plain(doc)) {
    *out =
        plain_way(doc, path) && weft__register_shape(weft__doc_find(doc, path)) != WEFT_SHAPE_NONE;
    return WEFT_OK;
  }
  view v;
  size_t line[WEFT_VIEW_DEPTH];
  weft_err err = view_open(&v, doc, weft_bytes_of(NULL, 0));
  if (err == WEFT_OK) *out = tree_follow(&v.tree, path, line);
  view_close(&v);
  return err;
}

/* Reads an array index; false for anything but digits without a leading zero. */
static bool index_read(weft_bytes token, size_t *idx) {
  if (token.len == 0 || (token.len > 1 && token.at[0] == '0')) return false;
  size_t sum = 0;
  for (size_t i = 0; i < token.len; i++) {
    if (token.at[i] < '0' || token.at[i] > '9') return false;
    if (!weft__mul_ok(sum, 10, &sum) || !weft__add_ok(sum, (size_t)(token.at[i] - '0'), &sum)) {
      return false;
    }
  }
  *idx = sum;
  return true;
}

typedef struct resolver {
  view v;
  weft_buf path;
  bool gone;  /* nothing is shown where the path leads: what follows are keys */
  size_t idx; /* the node it leads to, unless gone */
} resolver;

static void resolve_move(resolver *r, weft_step step) {
  weft_path_push(&r->path, step);
  if (!r->gone) r->idx = weft__tree_find(&r->v.tree, weft__buf_view(&r->path));
  if (r->idx == 0 || r->v.tree.nodes[r->idx].shape == WEFT_SHAPE_NONE) r->gone = true;
}

static weft_err resolve_token(resolver *r, weft_bytes token, bool last, bool *append) {
  unsigned shape = r->gone ? WEFT_SHAPE_NONE : r->v.tree.nodes[r->idx].shape;
  if (shape == WEFT_SHAPE_SCALAR) return WEFT_EBADPATH;
  weft_step step = {false, token};
  if (shape == WEFT_SHAPE_ARRAY) {
    if (token.len == 1 && token.at[0] == '-') {
      *append = true;
      return last ? WEFT_OK : WEFT_EBADPATH;
    }
    size_t idx;
    if (!index_read(token, &idx)) return WEFT_EBADPATH;
    if (idx >= view_children(&r->v, r->idx, WEFT_SHAPE_ARRAY)) return WEFT_EBADPATH;
    step = weft__node_step(r->v.list[idx]);
  }
  resolve_move(r, step);
  return weft__buf_err(&r->path);
}

static weft_err resolve_all(resolver *r, const weft_bytes *tokens, size_t count, bool *append,
                            size_t *depth) {
  r->gone = r->v.tree.nodes[0].shape == WEFT_SHAPE_NONE;
  for (*depth = 0; *depth < count; ++*depth) {
    WEFT_TRY(resolve_token(r, tokens[*depth], *depth + 1 == count, append));
  }
  return WEFT_OK;
}

/* Follows tokens through the objects of a plain document; `*fits` becomes false where an array
 * stands, whose elements have to be counted. */
static weft_err resolve_plain(const weft_doc *doc, weft_buf *path, const weft_bytes *tokens,
                              size_t count, size_t *depth, bool *fits) {
  bool gone = false;
  *fits = true;
  for (*depth = 0; *depth < count; ++*depth) {
    weft_shape shape = WEFT_SHAPE_NONE;
    if (!gone) shape = weft__register_shape(weft__doc_find(doc, weft__buf_view(path)));
    *fits = shape != WEFT_SHAPE_ARRAY;
    if (!*fits) return WEFT_OK;
    if (shape == WEFT_SHAPE_SCALAR) return WEFT_EBADPATH;
    gone = shape == WEFT_SHAPE_NONE;
    weft_path_push(path, (weft_step){false, tokens[*depth]});
    WEFT_TRY(weft__buf_err(path));
  }
  return WEFT_OK;
}

static weft_err resolve_tree(const weft_doc *doc, resolver *r, const weft_bytes *tokens,
                             size_t count, bool *append, size_t *depth) {
  weft__buf_reset(&r->path);
  weft_err err = view_open(&r->v, doc, weft_bytes_of(NULL, 0));
  if (err == WEFT_OK) err = resolve_all(r, tokens, count, append, depth);
  view_close(&r->v);
  return err;
}

weft_err weft__doc_resolve(const weft_doc *doc, weft_arena *arena, const weft_bytes *tokens,
                           size_t count, weft_path *path, bool *append, size_t *depth) {
  *path = weft_bytes_of(NULL, 0);
  *append = false;
  *depth = 0;
  resolver r = {.gone = false};
  weft__buf_init(&r.path, weft__doc_mem(doc), WEFT_PATH_LEN_MAX);
  bool fits = false;
  weft_err err = WEFT_OK;
  if (weft__doc_is_plain(doc)) err = resolve_plain(doc, &r.path, tokens, count, depth, &fits);
  if (!fits) err = resolve_tree(doc, &r, tokens, count, append, depth);
  if (err == WEFT_OK) err = weft__arena_copy(arena, weft__buf_view(&r.path), path);
  if (err != WEFT_OK) *append = false;
  weft__buf_free(&r.path);
  return err;
}

static void push_index(weft_buf *out, size_t idx) {
  uint8_t digits[20]; /* of the greatest 64-bit number */
  size_t at = sizeof digits;
  do {
    digits[--at] = (uint8_t)('0' + idx % 10);
    idx /= 10;
  } while (idx > 0);
  weft_pointer_push(out, weft_bytes_of(digits + at, sizeof digits - at));
}

/* Numbers the shown elements of an array. */
static weft_err rank_elements(weft_tree *t, size_t array) {
  if (!t->ranks) {
    t->room = weft__arena_zero(t->arena, t->count, 2 * sizeof *t->room);
    if (!t->room) return WEFT_ENOMEM;
    t->ranks = weft__arena_zero(t->arena, t->count, sizeof *t->ranks);
    if (!t->ranks) return WEFT_ENOMEM;
  }
  size_t count = weft__tree_children(t, array, WEFT_SHAPE_ARRAY, t->room, t->room + t->count);
  for (size_t i = 0; i < count; i++) t->ranks[t->room[i] - t->nodes] = (uint32_t)i + 1;
  return WEFT_OK;
}

/* How many shown elements stand before a shown one. */
static weft_err element_index(weft_tree *t, size_t idx, size_t *out) {
  if (!t->ranks || t->ranks[idx] == 0) WEFT_TRY(rank_elements(t, t->nodes[idx].parent));
  WEFT_ASSERT(t->ranks[idx] > 0);
  *out = t->ranks[idx] - 1;
  return WEFT_OK;
}

weft_err weft__tree_pointer(weft_tree *t, weft_path path, weft_buf *out) {
  size_t line[WEFT_VIEW_DEPTH] = {0};
  if (!tree_follow(t, path, line)) return WEFT_ENOTFOUND;
  WEFT_TRY(weft__buf_err(out));
  size_t before = out->len, depth = weft_path_depth(path), index;
  weft_err err = WEFT_OK;
  for (size_t i = 1; i <= depth && err == WEFT_OK; i++) {
    const weft_node *node = &t->nodes[line[i]];
    if (node->element) {
      err = element_index(t, line[i], &index);
      if (err == WEFT_OK) push_index(out, index);
    } else {
      weft_pointer_push(out, weft__node_step(node).name);
    }
  }
  if (err == WEFT_OK) err = weft__buf_err(out);
  if (err != WEFT_OK) out->len = before;
  return err;
}

weft_err weft__doc_pointer(const weft_doc *doc, weft_path path, weft_arena *scratch,
                           weft_buf *out) {
  weft_tree t;
  WEFT_TRY(weft__tree_build(&t, doc, weft_bytes_of(NULL, 0), scratch));
  return weft__tree_pointer(&t, path, out);
}

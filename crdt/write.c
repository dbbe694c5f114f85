/* The writer: edits in, the ops of one change out.
 *
 * Each edit is computed against the document as it is shown with the edits before it, and its ops
 * are then merged into the change's.  The ops of one change never cover each other, so a later op
 * that has to undo an earlier one must take its place:
 *  - at one path the later op wins and inherits the earlier one's position, unless it is an unset;
 *    a bare position joins what stands there;
 *  - a scalar, an unset or a fresh mark drops the change's ops below its path: what those had
 *    hidden or removed stays hidden by the scalar or unset, or is removed by the fresh mark;
 *  - an unset is left out where the base has nothing at or below the path, or where a fresh mark of
 *    this change stands above: there is nothing left to hide.
 * The other way round nothing can go wrong: an edit below a scalar or unset of this change does not
 * find the container it needs there and puts a fresh mark in its place.
 *
 * Invariants: `ops` ascends by path, none twice.  `doc`, when it is there, shows what the base with
 * `ops` as one change shows; it is kept up by showing each edit as a later change of a log that
 * covers everything, and made from `base` and `ops` when it is first needed, so that a change of
 * one edit copies no document. Happy path: edit_begin, ops by need and by diff, edit_end.  Failure
 * modes: what the caller can have done wrong is found before edit_end and changes nothing; memory
 * and too many ops end the writer. */
#include "crdt/write.h"

#include <string.h>

#include "crdt/assert.h"
#include "crdt/diff.h"
#include "crdt/position.h"
#include "crdt/sort.h"

static const weft_bytes empty = {NULL, 0};

/* The log of the change being written, in the writer's own document. */
static const uint32_t own_log = UINT32_MAX;

struct weft_writer {
  weft_alloc mem;
  const weft_crypto *crypto;
  const weft_doc *base;
  weft_doc *doc;      /* NULL until a second edit or the caller needs it */
  uint64_t doc_edits; /* changes shown in `doc` */
  bool foreign;       /* ops were written as they stood, whatever was shown */
  weft_write_origin origin;
  weft_bytes name;
  uint64_t newcomers;
  weft_arena kept;    /* of ops and names, until free */
  weft_arena scratch; /* of one edit */
  weft_buf buf;
  weft_op **ops;
  size_t count;
  size_t cap;
  weft_op *flat;    /* room for as many, for the caller's view */
  bool deleted;     /* the last edit was an unset of the root, which dropped */
  weft_op **before; /* these ops, in `kept` */
  size_t before_count;
  weft_err dead; /* the error that ended it */
};

/* --- the document with the edits so far --- */

static bool own_precedes(const void *ctx, weft_dot a, weft_dot b) {
  const weft_writer *w = ctx;
  if (b.log == own_log) return a.log != own_log || a.seq <= b.seq;
  if (a.log == own_log) return false;
  const weft_lineage *l = weft__doc_lineage(w->base);
  return l->precedes(l->ctx, a, b);
}

static int own_rank(const void *ctx, weft_dot a, weft_dot b) {
  const weft_writer *w = ctx;
  if (a.log == own_log || b.log == own_log) {
    if (a.log != b.log) return a.log == own_log ? 1 : -1;
    return a.seq < b.seq ? -1 : a.seq > b.seq;
  }
  const weft_lineage *l = weft__doc_lineage(w->base);
  return l->rank(l->ctx, a, b);
}

/* An op that leaves a plain document plain: it covers all that stood at its path and below, and the
 * edit it belongs to made the containers above it.  A mark brings back what it does not look at. */
static bool op_plain(const weft_op *op) {
  return op->kind != WEFT_OP_MARK_OBJECT && op->kind != WEFT_OP_MARK_ARRAY;
}

/* Shows one op of the edit `doc_edits`. */
static weft_err doc_show(weft_writer *w, const weft_op *op) {
  weft_shown change = {.dot = {own_log, w->doc_edits}, .hlc = w->origin.hlc};
  bool plain = weft__doc_is_plain(w->doc) && !w->foreign && op_plain(op);
  weft_err err = weft__doc_show(w->doc, &change, op);
  weft__doc_set_plain(w->doc, plain);
  return err;
}

static void doc_drop(weft_writer *w) {
  weft__doc_free(w->doc);
  w->doc = NULL;
}

static weft_err doc_make(weft_writer *w) {
  weft_lineage lineage = {w, own_precedes, own_rank};
  WEFT_TRY(weft__doc_new(&w->doc, &w->mem, &lineage));
  weft_err err = weft__doc_copy(w->doc, w->base);
  w->doc_edits++;
  for (size_t i = 0; i < w->count && err == WEFT_OK; i++) err = doc_show(w, w->ops[i]);
  if (err != WEFT_OK) doc_drop(w);
  return err;
}

const weft_doc *weft__writer_doc(weft_writer *w) {
  if (w->dead != WEFT_OK) return NULL;
  if (!w->doc && w->count == 0) return w->base;
  if (!w->doc && doc_make(w) != WEFT_OK) return NULL;
  return w->doc;
}

weft_err weft__writer_new(weft_writer **out, const weft_alloc *mem, const weft_crypto *crypto,
                          const weft_doc *base, weft_bytes name, const weft_write_origin *origin) {
  *out = NULL;
  weft_writer *w = mem->alloc(mem->ctx, sizeof *w);
  if (!w) return WEFT_ENOMEM;
  memset(w, 0, sizeof *w);
  w->mem = *mem;
  w->crypto = crypto;
  w->base = base;
  w->origin = *origin;
  weft__arena_init(&w->kept, mem);
  weft__arena_init(&w->scratch, mem);
  weft__buf_init(&w->buf, mem, WEFT_JSON_LEN_MAX);
  weft_err err = weft__arena_copy(&w->kept, name, &w->name);
  if (err != WEFT_OK) {
    weft__writer_free(w);
    return err;
  }
  *out = w;
  return WEFT_OK;
}

void weft__writer_free(weft_writer *w) {
  if (!w) return;
  doc_drop(w);
  weft__arena_free(&w->kept);
  weft__arena_free(&w->scratch);
  weft__buf_free(&w->buf);
  w->mem.free(w->mem.ctx, w->ops);
  w->mem.free(w->mem.ctx, w->flat);
  w->mem.free(w->mem.ctx, w);
}

void weft__writer_ops(const weft_writer *w, const weft_op **ops, size_t *count) {
  for (size_t i = 0; i < w->count; i++) w->flat[i] = *w->ops[i];
  *ops = w->flat;
  *count = w->count;
}

/* --- merging an edit into the change --- */

/* Index of the first op at or after `path`. */
static size_t ops_lower(const weft_writer *w, weft_path path) {
  size_t low = 0, high = w->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (weft_bytes_cmp(w->ops[middle]->path, path) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

static weft_op *ops_find(const weft_writer *w, weft_path path) {
  size_t idx = ops_lower(w, path);
  if (idx == w->count || weft_bytes_cmp(w->ops[idx]->path, path) != 0) return NULL;
  return w->ops[idx];
}

static void ops_remove(weft_writer *w, size_t from, size_t to) {
  if (from == to) return;
  memmove(w->ops + from, w->ops + to, (w->count - to) * sizeof *w->ops);
  w->count -= to - from;
}

static weft_err ops_widen(weft_writer *w, size_t need) {
  if (need <= w->cap) return WEFT_OK;
  size_t cap = w->cap ? w->cap : 8, len, flat_len;
  while (cap < need) {
    if (!weft__mul_ok(cap, 2, &cap)) return WEFT_ENOMEM; /* defensive: 2^63 ops */
  }
  if (!weft__mul_ok(cap, sizeof *w->ops, &len)) return WEFT_ENOMEM;       /* defensive: as above */
  if (!weft__mul_ok(cap, sizeof *w->flat, &flat_len)) return WEFT_ENOMEM; /* defensive: as above */
  weft_op **ops = w->mem.grow(w->mem.ctx, w->ops, len);
  if (!ops) return WEFT_ENOMEM;
  w->ops = ops;
  weft_op *flat = w->mem.grow(w->mem.ctx, w->flat, flat_len);
  if (!flat) return WEFT_ENOMEM;
  w->flat = flat;
  w->cap = cap;
  return WEFT_OK;
}

static bool is_under_fresh(const weft_writer *w, weft_path path) {
  size_t at = 0;
  weft_step step;
  for (size_t len = 0; weft_path_next(path, &at, &step); len = at) {
    const weft_op *above = ops_find(w, weft_bytes_of(path.at, len));
    if (above && weft__op_is_fresh(above->kind)) return true;
  }
  return false;
}

/* True when there is something that an unset at `path` hides. */
static bool has_to_hide(const weft_writer *w, weft_path path) {
  const weft_register *reg = weft__doc_seek(w->base, path);
  if (!reg) return false;
  if (weft_bytes_cmp(reg->path, path) != 0 && !weft_path_under(path, reg->path)) return false;
  return !is_under_fresh(w, path);
}

static weft_err op_copy(weft_writer *w, const weft_op *op, weft_op **out) {
  weft_op *copy = weft__arena_take(&w->kept, sizeof *copy);
  if (!copy) return WEFT_ENOMEM;
  *copy = *op;
  copy->doc = w->name;
  WEFT_TRY(weft__arena_copy(&w->kept, op->path, &copy->path));
  WEFT_TRY(weft__arena_copy(&w->kept, op->value, &copy->value));
  WEFT_TRY(weft__arena_copy(&w->kept, op->position, &copy->position));
  *out = copy;
  return WEFT_OK;
}

/* Remembers what an unset of the root drops, for undelete. */
static weft_err remember_ops(weft_writer *w) {
  w->before = weft__arena_zero(&w->kept, w->count, sizeof *w->before);
  if (!w->before) return WEFT_ENOMEM;
  if (w->count > 0) memcpy(w->before, w->ops, w->count * sizeof *w->ops);
  w->before_count = w->count;
  return WEFT_OK;
}

static weft_err merge_op(weft_writer *w, const weft_op *op) {
  weft_op *made;
  WEFT_TRY(op_copy(w, op, &made));
  bool is_unset = op->kind == WEFT_OP_UNSET;
  w->deleted = is_unset && op->path.len == 0;
  if (w->deleted) WEFT_TRY(remember_ops(w));
  size_t idx = ops_lower(w, op->path), end = idx;
  if (idx < w->count && weft_bytes_cmp(w->ops[idx]->path, op->path) == 0) {
    const weft_op *old = w->ops[idx];
    end++;
    if (op->kind == WEFT_OP_POSITION) {
      *made = *old;
      WEFT_TRY(weft__arena_copy(&w->kept, op->position, &made->position));
    } else if (!is_unset && made->position.len == 0) {
      made->position = old->position;
    }
  }
  if (is_unset || weft__op_is_fresh(op->kind) || op->kind == WEFT_OP_SCALAR) {
    while (end < w->count && weft_path_under(op->path, w->ops[end]->path)) end++;
  }
  ops_remove(w, idx, end);
  if (is_unset && !has_to_hide(w, op->path)) return WEFT_OK;
  WEFT_TRY(ops_widen(w, w->count + 1));
  memmove(w->ops + idx + 1, w->ops + idx, (w->count - idx) * sizeof *w->ops);
  w->ops[idx] = made;
  w->count++;
  return WEFT_OK;
}

static int op_cmp(const void *ctx, const void *left, const void *right) {
  (void)ctx;
  const weft_op *a = left, *b = right;
  return weft_bytes_cmp(a->path, b->path);
}

/* Merges in path order, so that an op never drops those of its own edit. */
static weft_err merge(weft_writer *w, const weft_delta *e) {
  const void **order = weft__arena_zero(&w->scratch, e->count, 2 * sizeof *order);
  if (!order) return WEFT_ENOMEM;
  for (size_t i = 0; i < e->count; i++) order[i] = &e->ops[i];
  weft__sort(order, order + e->count, e->count, op_cmp, NULL);
  w->doc_edits++;
  for (size_t i = 0; i < e->count; i++) {
    WEFT_ASSERT(i == 0 || op_cmp(NULL, order[i - 1], order[i]) != 0);
    WEFT_TRY(merge_op(w, order[i]));
    if (w->doc) WEFT_TRY(doc_show(w, order[i]));
  }
  if (w->count > WEFT_CHANGE_OPS_MAX) return WEFT_ELIMIT;
  if (w->count == 0) doc_drop(w); /* it shows what the base shows, and holds more */
  return WEFT_OK;
}

static weft_err edit_begin(weft_writer *w, weft_delta *e) {
  if (w->dead != WEFT_OK) return w->dead;
  weft__arena_reset(&w->scratch);
  memset(e, 0, sizeof *e);
  e->doc = weft__writer_doc(w);
  if (!e->doc) return w->dead = WEFT_ENOMEM;
  e->crypto = w->crypto;
  e->origin = &w->origin;
  e->newcomers = &w->newcomers;
  e->arena = &w->scratch;
  e->buf = &w->buf;
  return WEFT_OK;
}

/* Takes the edit over if it was made whole. */
static weft_err edit_end(weft_writer *w, const weft_delta *e, weft_err err) {
  if (err == WEFT_OK) {
    err = merge(w, e);
    if (err != WEFT_OK) w->dead = err;
  }
  if (err == WEFT_ENOMEM) w->dead = err;
  return err;
}

/* --- what stands at a path, and what it needs --- */

/* Makes every proper ancestor of `path` the container that its step needs.  `*fresh`: one of them
 * is new, so everything below is. */
static weft_err edit_ancestors(weft_delta *e, weft_path path, bool *fresh) {
  size_t at = 0;
  weft_step step;
  *fresh = false;
  for (size_t len = 0; weft_path_next(path, &at, &step); len = at) {
    weft_path above = weft_bytes_of(path.at, len);
    weft_shape kind = step.element ? WEFT_SHAPE_ARRAY : WEFT_SHAPE_OBJECT;
    bool kept = false;
    if (*fresh) {
      WEFT_TRY(weft__delta_op(e, above, WEFT_OP_FRESH_OBJECT, empty, empty));
    } else {
      WEFT_TRY(weft__delta_container(e, above, kind, empty, &kept));
      *fresh = !kept;
    }
    if (!step.element) continue;
    weft_sides element;
    WEFT_TRY(weft__doc_sides(e->doc, weft_bytes_of(path.at, at), &element));
    if (!kept || len == 0 || element.shape == WEFT_SHAPE_NONE) return WEFT_EBADPATH;
  }
  return WEFT_OK;
}

/* Settles `path`, which shows a value equal to the wanted one; `e` holds what its ancestors need.
 * Where nothing is contested the edit comes to nothing. */
static weft_err edit_restamp(weft_delta *e, weft_path path, const weft_value *value) {
  weft_sides sides;
  size_t ancestors = e->count;
  WEFT_TRY(weft__doc_sides(e->doc, path, &sides));
  if (sides.shape == WEFT_SHAPE_SCALAR) {
    const weft_register *reg = weft__doc_find(e->doc, path);
    WEFT_ASSERT(reg);
    weft_diff_task task = {.path = path, .after = value};
    bool contested = reg->value_count > 1 || sides.object_alive || sides.array_alive;
    if (contested) WEFT_TRY(weft__diff(e, &task));
  } else {
    bool ignored;
    WEFT_TRY(weft__delta_container(e, path, sides.shape, empty, &ignored));
  }
  if (e->count == ancestors) e->count = 0;
  return WEFT_OK;
}

/* Makes the ancestors of `path`, and tells what is shown there; NULL when nothing is. */
static weft_err edit_reach(weft_delta *e, weft_path path, bool *fresh, const weft_value **shown) {
  *shown = NULL;
  WEFT_TRY(edit_ancestors(e, path, fresh));
  if (*fresh) return WEFT_OK;
  weft_value *value = weft__arena_take(e->arena, sizeof *value);
  if (!value) return WEFT_ENOMEM;
  weft_err err = weft__doc_render(e->doc, path, e->arena, value);
  if (err == WEFT_OK) *shown = value;
  return err == WEFT_ENOTFOUND ? WEFT_OK : err;
}

/* Writes the difference between `before`, NULL when nothing is shown, and `value`. */
static weft_err edit_difference(weft_delta *e, weft_path path, bool fresh, const weft_value *before,
                                const weft_value *value) {
  if (before && weft_value_equal(before, value)) {
    e->count = 0;
    return WEFT_OK;
  }
  weft_diff_task task = {.path = path, .before = before, .after = value, .fresh = fresh};
  return weft__diff(e, &task);
}

static weft_err value_fits(weft_path path, const weft_value *value) {
  if (path.len == 0 && value->kind != WEFT_OBJECT) return WEFT_EBADVALUE;
  return weft_value_check(value);
}

/* --- the edits --- */

static weft_err edit_set(weft_delta *e, weft_path path, const weft_value *value, bool restamp) {
  const weft_value *before;
  bool fresh;
  WEFT_TRY(value_fits(path, value));
  WEFT_TRY(edit_reach(e, path, &fresh, &before));
  if (restamp && before && weft_value_equal(before, value)) return edit_restamp(e, path, value);
  return edit_difference(e, path, fresh, before, value);
}

weft_err weft__write_set(weft_writer *w, weft_path path, const weft_value *value, bool restamp) {
  weft_delta e;
  WEFT_TRY(edit_begin(w, &e));
  return edit_end(w, &e, edit_set(&e, path, value, restamp));
}

static weft_err edit_unset(weft_delta *e, weft_path path) {
  weft_sides sides;
  bool fresh;
  weft_err err = edit_ancestors(e, path, &fresh);
  if (err != WEFT_OK && err != WEFT_EBADPATH) return err;
  WEFT_TRY(weft__doc_sides(e->doc, path, &sides));
  if (err == WEFT_EBADPATH || fresh || sides.shape == WEFT_SHAPE_NONE) {
    e->count = 0; /* nothing is shown there */
    return WEFT_OK;
  }
  return weft__delta_op(e, path, WEFT_OP_UNSET, empty, empty);
}

weft_err weft__write_unset(weft_writer *w, weft_path path) {
  weft_delta e;
  WEFT_TRY(edit_begin(w, &e));
  return edit_end(w, &e, edit_unset(&e, path));
}

static weft_err edit_undelete(weft_delta *e) {
  weft_sides sides;
  WEFT_TRY(weft__doc_sides(e->doc, empty, &sides));
  if (!sides.has_unset) return WEFT_OK;
  return weft__delta_mark(e, empty, WEFT_SHAPE_OBJECT, empty);
}

weft_err weft__write_undelete(weft_writer *w) {
  weft_delta e;
  if (w->dead != WEFT_OK) return w->dead;
  if (w->deleted) {
    w->count = w->before_count;
    if (w->count > 0) memcpy(w->ops, w->before, w->count * sizeof *w->ops);
    w->deleted = false;
    doc_drop(w);
    return WEFT_OK;
  }
  WEFT_TRY(edit_begin(w, &e));
  return edit_end(w, &e, edit_undelete(&e));
}

/* Writes the positions of those among `places` that get one; a newcomer's is left in `newcomer`
 * when that is not NULL. */
static weft_err edit_places(weft_delta *e, weft_path array, weft_place *places, size_t count,
                            const weft_place **newcomer) {
  WEFT_TRY(weft__positions_place(e->arena, e->origin->tag, places, count));
  for (size_t i = 0; i < count; i++) {
    if (!places[i].stands && newcomer) *newcomer = &places[i];
    if (places[i].stands ? !places[i].moved : newcomer != NULL) continue;
    weft_step step = {true, places[i].id};
    weft_path path;
    WEFT_TRY(weft__delta_child(e, array, step, &path));
    WEFT_TRY(weft__delta_op(e, path, WEFT_OP_POSITION, empty, places[i].position));
  }
  return WEFT_OK;
}

/* The elements shown in an array, with room for one more. */
static weft_err places_of(weft_delta *e, weft_path array, weft_place **out, size_t *count) {
  weft_child *children;
  WEFT_TRY(weft__doc_children(e->doc, array, WEFT_SHAPE_ARRAY, e->arena, &children, count));
  weft_place *places = weft__arena_zero(e->arena, *count + 1, sizeof *places);
  if (!places) return WEFT_ENOMEM;
  for (size_t i = 0; i < *count; i++) {
    places[i].id = children[i].step.name;
    places[i].position = children[i].position;
    places[i].stands = true;
  }
  *out = places;
  return WEFT_OK;
}

static bool places_have(const weft_place *places, size_t count, weft_bytes id) {
  for (size_t i = 0; i < count; i++) {
    if (weft_bytes_cmp(places[i].id, id) == 0) return true;
  }
  return false;
}

static void places_open(weft_place *places, size_t count, size_t idx, weft_bytes id) {
  memmove(places + idx + 1, places + idx, (count - idx) * sizeof *places);
  weft_place newcomer = {.id = id};
  places[idx] = newcomer;
}

/* Makes the array at `path`; `places` are its elements, none when it is new. */
static weft_err edit_array(weft_delta *e, weft_path path, weft_place **places, size_t *count) {
  weft_sides sides;
  bool fresh, kept = false;
  WEFT_TRY(edit_ancestors(e, path, &fresh));
  if (fresh) {
    WEFT_TRY(weft__delta_op(e, path, WEFT_OP_FRESH_ARRAY, empty, empty));
  } else {
    WEFT_TRY(weft__doc_sides(e->doc, path, &sides));
    bool fits = sides.shape == WEFT_SHAPE_ARRAY || sides.shape == WEFT_SHAPE_NONE;
    if (!fits) return WEFT_EBADPATH;
    WEFT_TRY(weft__delta_container(e, path, WEFT_SHAPE_ARRAY, empty, &kept));
  }
  if (kept) return places_of(e, path, places, count);
  *count = 0;
  *places = weft__arena_zero(e->arena, 1, sizeof **places);
  return *places ? WEFT_OK : WEFT_ENOMEM;
}

static weft_err edit_insert(weft_delta *e, weft_path path, size_t idx, const weft_value *value,
                            weft_path *element) {
  WEFT_TRY(weft_value_check(value));
  weft_place *places;
  const weft_place *newcomer = NULL;
  size_t count;
  weft_step step = {.element = true};
  if (path.len == 0) return WEFT_EBADPATH;
  WEFT_TRY(edit_array(e, path, &places, &count));
  do { /* a member may have guessed what this change would make, and taken it */
    WEFT_TRY(weft__delta_element_id(e, value, &step.name));
  } while (places_have(places, count, step.name));
  places_open(places, count, idx < count ? idx : count, step.name);
  WEFT_TRY(edit_places(e, path, places, count + 1, &newcomer));
  WEFT_ASSERT(newcomer);
  weft_diff_task task = {.after = value, .fresh = true, .position = newcomer->position};
  WEFT_TRY(weft__delta_child(e, path, step, &task.path));
  *element = task.path;
  return weft__diff(e, &task);
}

weft_err weft__write_insert(weft_writer *w, weft_path path, size_t idx, const weft_value *value,
                            weft_path *element) {
  weft_delta e;
  weft_path made;
  WEFT_TRY(edit_begin(w, &e));
  weft_err err = edit_end(w, &e, edit_insert(&e, path, idx, value, &made));
  if (err == WEFT_OK && element) *element = ops_find(w, made)->path;
  return err;
}

static weft_err edit_move(weft_delta *e, weft_path path, size_t from, size_t to) {
  weft_place *places;
  const weft_place *moved = NULL;
  size_t count;
  if (path.len == 0) return WEFT_EBADPATH;
  WEFT_TRY(edit_array(e, path, &places, &count));
  if (from >= count || to >= count) return WEFT_EBADPATH; /* also when none was there */
  weft_step step = {true, places[from].id};
  memmove(places + from, places + from + 1, (count - from - 1) * sizeof *places);
  places_open(places, count - 1, to, step.name);
  WEFT_TRY(edit_places(e, path, places, count, &moved));
  WEFT_ASSERT(moved);
  WEFT_TRY(weft__delta_child(e, path, step, &path));
  WEFT_TRY(weft__delta_op(e, path, WEFT_OP_POSITION, empty, moved->position));
  if (from == to) e->count = 0;
  return WEFT_OK;
}

weft_err weft__write_move(weft_writer *w, weft_path path, size_t from, size_t to) {
  weft_delta e;
  WEFT_TRY(edit_begin(w, &e));
  return edit_end(w, &e, edit_move(&e, path, from, to));
}

static weft_err edit_order(weft_delta *e, weft_path path, weft_place *places, size_t count) {
  weft_place *shown;
  size_t shown_count;
  if (path.len == 0) return WEFT_EBADPATH;
  WEFT_TRY(edit_array(e, path, &shown, &shown_count));
  return shown_count == count ? edit_places(e, path, places, count, NULL) : WEFT_EBADPATH;
}

weft_err weft__write_order(weft_writer *w, weft_path path, weft_place *places, size_t count) {
  weft_delta e;
  WEFT_TRY(edit_begin(w, &e));
  return edit_end(w, &e, edit_order(&e, path, places, count));
}

static weft_err edit_keep(weft_delta *e, weft_path path) {
  weft_sides sides;
  bool fresh;
  WEFT_TRY(edit_ancestors(e, path, &fresh));
  WEFT_TRY(weft__doc_sides(e->doc, path, &sides));
  bool fits = sides.shape == WEFT_SHAPE_OBJECT || (sides.shape == WEFT_SHAPE_ARRAY && path.len > 0);
  if (fresh || !fits) return WEFT_EBADPATH;
  return edit_restamp(e, path, NULL);
}

weft_err weft__write_keep(weft_writer *w, weft_path path) {
  weft_delta e;
  WEFT_TRY(edit_begin(w, &e));
  return edit_end(w, &e, edit_keep(&e, path));
}

static weft_err edit_revive(weft_delta *e, weft_path path, const weft_value *value) {
  weft_sides array, element;
  weft_step last;
  bool fresh;
  WEFT_TRY(weft_value_check(value));
  if (!weft_path_last(path, &last) || !last.element) return WEFT_EBADPATH;
  WEFT_TRY(edit_ancestors(e, weft_path_parent(path), &fresh));
  WEFT_TRY(weft__doc_sides(e->doc, weft_path_parent(path), &array));
  WEFT_TRY(weft__doc_sides(e->doc, path, &element));
  bool fits = array.shape == WEFT_SHAPE_ARRAY && element.shape == WEFT_SHAPE_NONE;
  if (fresh || !fits) return WEFT_EBADPATH;
  WEFT_TRY(weft__delta_container(e, weft_path_parent(path), WEFT_SHAPE_ARRAY, empty, &fresh));
  weft_diff_task task = {.path = path, .after = value};
  return weft__diff(e, &task);
}

weft_err weft__write_revive(weft_writer *w, weft_path path, const weft_value *value) {
  weft_delta e;
  WEFT_TRY(edit_begin(w, &e));
  return edit_end(w, &e, edit_revive(&e, path, value));
}

weft_err weft__write_op(weft_writer *w, const weft_op *op) {
  weft_delta e;
  WEFT_TRY(edit_begin(w, &e));
  w->foreign = true;
  return edit_end(w, &e, weft__delta_op(&e, op->path, op->kind, op->value, op->position));
}

/* --- merging values --- */

typedef struct union_task {
  const weft_value *before, *after; /* objects */
  weft_value *out;
} union_task;

typedef struct union_stack {
  weft_arena *arena;
  union_task *at;
  size_t count;
  size_t cap;
} union_stack;

/* One value where both, or only one, has something; a pair of objects goes onto the stack. */
static weft_err union_value(union_stack *s, const weft_value *before, const weft_value *after,
                            weft_value *out) {
  WEFT_ASSERT(before || after);
  *out = after ? *after : *before;
  if (!before || !after || before->kind != WEFT_OBJECT || after->kind != WEFT_OBJECT) {
    return WEFT_OK;
  }
  void *at = s->at;
  WEFT_TRY(weft__arena_grow(s->arena, &at, s->count, &s->cap, s->count + 1, sizeof *s->at));
  s->at = at;
  union_task task = {before, after, out};
  s->at[s->count++] = task;
  return WEFT_OK;
}

static weft_err union_members(union_stack *s, union_task task) {
  const weft_member *b = task.before->as.object.at, *a = task.after->as.object.at;
  size_t b_left = task.before->as.object.count, a_left = task.after->as.object.count, count = 0;
  weft_member *members = weft__arena_zero(s->arena, b_left + a_left, sizeof *members);
  if (!members) return WEFT_ENOMEM;
  while (a_left > 0 || b_left > 0) {
    int order = a_left == 0 ? -1 : b_left == 0 ? 1 : weft_bytes_cmp(b->key, a->key);
    weft_member *out = &members[count++];
    out->key = order <= 0 ? b->key : a->key;
    WEFT_TRY(
        union_value(s, order <= 0 ? &b->value : NULL, order >= 0 ? &a->value : NULL, &out->value));
    if (order <= 0) b++, b_left--;
    if (order >= 0) a++, a_left--;
  }
  task.out->as.object.at = members;
  task.out->as.object.count = count;
  return WEFT_OK;
}

/* What `before` becomes when `after` is laid over it, object by object. */
static weft_err value_union(weft_arena *arena, const weft_value *before, const weft_value *after,
                            weft_value *out) {
  union_stack s = {.arena = arena};
  WEFT_TRY(union_value(&s, before, after, out));
  while (s.count > 0) {
    union_task task = s.at[--s.count];
    WEFT_TRY(union_members(&s, task));
  }
  return WEFT_OK;
}

static weft_err edit_merge(weft_delta *e, weft_path path, const weft_value *value) {
  const weft_value *before;
  weft_value both;
  bool fresh;
  WEFT_TRY(value_fits(path, value));
  WEFT_TRY(edit_reach(e, path, &fresh, &before));
  WEFT_TRY(value_union(e->arena, before, value, &both));
  return edit_difference(e, path, fresh, before, &both);
}

weft_err weft__write_merge(weft_writer *w, weft_path path, const weft_value *value) {
  weft_delta e;
  WEFT_TRY(edit_begin(w, &e));
  return edit_end(w, &e, edit_merge(&e, path, value));
}

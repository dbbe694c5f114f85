/* The difference between what is shown and a JSON value, as ops.
 *
 * Invariants: a path gets at most one op of an edit; a member that is equal gets none, so an
 * unchanged field is never restamped.  Trees are followed with a stack of tasks in the arena: each
 * holds one path whose value differs, so there are never more of them than values in the new tree.
 * Happy path: objects are merged member by member in key order, arrays are matched in
 * diff_array.c, scalars are written.  Failure modes: memory, and the limits of the format. */
#include "crdt/diff.h"

#include <string.h>

#include "crdt/assert.h"

static const weft_bytes empty = {NULL, 0};
static const uint8_t personal_new[16] = "weft-elem-n";

enum { element_id_len = 16 };

weft_err weft__delta_op(weft_delta *e, weft_path path, weft_op_kind kind, weft_bytes value,
                        weft_bytes position) {
  if (e->count == WEFT_CHANGE_OPS_MAX) return WEFT_ELIMIT;
  void *at = e->ops;
  WEFT_TRY(weft__arena_grow(e->arena, &at, e->count, &e->cap, e->count + 1, sizeof *e->ops));
  e->ops = at;
  weft_op op = {.path = path, .kind = kind, .value = value, .position = position};
  e->ops[e->count++] = op;
  return WEFT_OK;
}

weft_err weft__delta_child(weft_delta *e, weft_path parent, weft_step step, weft_path *out) {
  weft__buf_reset(e->buf);
  weft__buf_put(e->buf, parent);
  weft_path_push(e->buf, step);
  WEFT_TRY(weft__buf_err(e->buf));
  return weft__arena_copy(e->arena, weft__buf_view(e->buf), out);
}

static weft_op_kind mark_of(weft_shape kind) {
  return kind == WEFT_SHAPE_OBJECT ? WEFT_OP_MARK_OBJECT : WEFT_OP_MARK_ARRAY;
}

static weft_op_kind fresh_of(weft_shape kind) {
  return kind == WEFT_SHAPE_OBJECT ? WEFT_OP_FRESH_OBJECT : WEFT_OP_FRESH_ARRAY;
}

static weft_err put_away(weft_delta *e, weft_path path, weft_shape side) {
  weft_child *children;
  size_t count;
  WEFT_TRY(weft__doc_children(e->doc, path, side, e->arena, &children, &count));
  for (size_t i = 0; i < count; i++) {
    WEFT_TRY(weft__delta_op(e, children[i].path, WEFT_OP_UNSET, empty, empty));
  }
  return WEFT_OK;
}

weft_err weft__delta_mark(weft_delta *e, weft_path path, weft_shape kind, weft_bytes position) {
  weft_shape other = kind == WEFT_SHAPE_OBJECT ? WEFT_SHAPE_ARRAY : WEFT_SHAPE_OBJECT;
  WEFT_TRY(weft__delta_op(e, path, mark_of(kind), empty, position));
  return put_away(e, path, other);
}

weft_err weft__delta_container(weft_delta *e, weft_path path, weft_shape kind, weft_bytes position,
                               bool *kept) {
  weft_sides sides;
  WEFT_TRY(weft__doc_sides(e->doc, path, &sides));
  *kept = sides.shape == kind;
  if (!*kept) return weft__delta_op(e, path, fresh_of(kind), empty, position);
  bool is_object = kind == WEFT_SHAPE_OBJECT;
  bool has_mark = is_object ? sides.object_mark : sides.array_mark;
  bool has_other = is_object ? sides.array_alive : sides.object_alive;
  if (sides.has_hide || has_other || !has_mark) {
    return weft__delta_mark(e, path, kind, position);
  }
  if (position.len == 0) return WEFT_OK;
  return weft__delta_op(e, path, WEFT_OP_POSITION, empty, position);
}

weft_err weft__delta_element_id(weft_delta *e, const weft_value *value, weft_bytes *id) {
  weft__buf_reset(e->buf);
  weft__buf_put_raw(e->buf, e->origin->log.b, sizeof e->origin->log.b);
  weft__buf_put_raw(e->buf, e->origin->prev.b, sizeof e->origin->prev.b);
  weft__buf_u64(e->buf, e->origin->seq);
  weft__buf_u64(e->buf, e->origin->hlc);
  weft__buf_u64(e->buf, (*e->newcomers)++);
  weft__value_encode(e->buf, value);
  WEFT_TRY(weft__buf_err(e->buf));
  uint8_t hash[32];
  weft_bytes part = weft__buf_view(e->buf);
  e->crypto->hash(hash, sizeof hash, empty, NULL, personal_new, &part, 1);
  return weft__arena_copy(e->arena, weft_bytes_of(hash, element_id_len), id);
}

/* --- the diff --- */

weft_err weft__diff_push(weft_diff *d, weft_diff_task task) {
  void *at = d->tasks;
  WEFT_TRY(
      weft__arena_grow(d->edit->arena, &at, d->count, &d->cap, d->count + 1, sizeof *d->tasks));
  d->tasks = at;
  d->tasks[d->count++] = task;
  return WEFT_OK;
}

static weft_err diff_scalar(weft_diff *d, const weft_diff_task *task) {
  weft_delta *e = d->edit;
  weft_bytes value;
  weft__buf_reset(e->buf);
  weft__scalar_encode(e->buf, task->after);
  WEFT_TRY(weft__buf_err(e->buf));
  WEFT_TRY(weft__arena_copy(e->arena, weft__buf_view(e->buf), &value));
  return weft__delta_op(e, task->path, WEFT_OP_SCALAR, value, task->position);
}

/* One key that stands in `before`, in `after`, or in both. */
static weft_err diff_member(weft_diff *d, const weft_diff_task *of, const weft_member *before,
                            const weft_member *after) {
  WEFT_ASSERT(before || after);
  if (before && after && weft_value_equal(&before->value, &after->value)) return WEFT_OK;
  weft_step step = {false, after ? after->key : before->key};
  weft_diff_task task = {.fresh = !of->before};
  WEFT_TRY(weft__delta_child(d->edit, of->path, step, &task.path));
  if (!after) return weft__delta_op(d->edit, task.path, WEFT_OP_UNSET, empty, empty);
  task.before = before ? &before->value : NULL;
  task.after = &after->value;
  return weft__diff_push(d, task);
}

static weft_err diff_object(weft_diff *d, const weft_diff_task *task) {
  const weft_member *b = task->before ? task->before->as.object.at : NULL;
  const weft_member *b_end = b ? b + task->before->as.object.count : NULL;
  const weft_member *a = task->after->as.object.at;
  const weft_member *a_end = a ? a + task->after->as.object.count : NULL;
  while (a < a_end || b < b_end) {
    int order = a == a_end ? -1 : b == b_end ? 1 : weft_bytes_cmp(b->key, a->key);
    WEFT_TRY(diff_member(d, task, order <= 0 ? b : NULL, order >= 0 ? a : NULL));
    if (order <= 0) b++;
    if (order >= 0) a++;
  }
  return WEFT_OK;
}

static weft_err diff_container(weft_diff *d, weft_diff_task task) {
  bool is_object = task.after->kind == WEFT_OBJECT;
  weft_shape kind = is_object ? WEFT_SHAPE_OBJECT : WEFT_SHAPE_ARRAY;
  bool kept = false;
  if (task.fresh) {
    WEFT_TRY(weft__delta_op(d->edit, task.path, fresh_of(kind), empty, task.position));
  } else {
    WEFT_TRY(weft__delta_container(d->edit, task.path, kind, task.position, &kept));
  }
  if (!kept) task.before = NULL;
  WEFT_ASSERT(!kept || (task.before && task.before->kind == task.after->kind));
  return is_object ? diff_object(d, &task) : weft__diff_array(d, &task);
}

weft_err weft__diff(weft_delta *e, const weft_diff_task *task) {
  weft_diff d = {.edit = e};
  WEFT_TRY(weft__diff_push(&d, *task));
  while (d.count > 0) {
    weft_diff_task next = d.tasks[--d.count];
    if (weft_value_is_scalar(next.after)) {
      WEFT_TRY(diff_scalar(&d, &next));
    } else {
      WEFT_TRY(diff_container(&d, next));
    }
  }
  return WEFT_OK;
}

/* Restore, revert, redo: the past written again as new changes.
 *
 * All three are edits on what is shown now, so the writer makes the view exactly what is wanted and
 * the commit claims exactly what was seen.
 *
 * Revert asks, for each place that a change wrote, what stood there before the change, what the
 * change made of it, and what stands there now.  What it wrote still stands when every sibling at
 * and below the place belongs to the change or to what it is known to have seen - its claims name
 * all of that, at and below its paths - and one at the place to the change itself.  What stood
 * there before also depends on writes above, which claims do not name; so the documents before and
 * after are made of all that was written earlier by the authors' clocks. Moves are taken back
 * element by element, each behind the one it stood behind before.
 *
 * Failure modes: damaged logs are WEFT_ECORRUPT; a place that cannot be reached any more is an
 * outcome, no error. */
#include <string.h>

#include "crdt/limits.h"
#include "crdt/position.h"
#include "crdt/sort.h"
#include "store/history_internal.h"
#include "store/outcome.h"

/* --- edits that say where they come from --- */

weft_err weft__edit_begin_with(weft_edit **out, weft_replica *r, const weft_edit_options *given,
                               uint64_t type, const weft_id *id) {
  weft_edit_options o;
  uint8_t extension[2 + sizeof(weft_id)];
  weft_edit_options_init(&o);
  if (given) {
    o.message = given->message;
    o.lane = given->lane;
  }
  if (id) {
    extension[0] = (uint8_t)type;
    extension[1] = sizeof *id;
    memcpy(extension + 2, id->b, sizeof *id);
    o.extensions = weft_bytes_of(extension, sizeof extension);
  }
  return weft_edit_begin(out, r, &o);
}

/* --- restore --- */

typedef struct restore_job {
  weft_replica *r;
  weft_bytes doc;
  weft_bytes pointer;
  const weft_vector *version;
  weft_arena arena;
  weft_value value; /* what stood there */
  weft_path path;   /* where */
  weft_id from;
} restore_job;

static weft_err restore_read(restore_job *job, weft_txn *txn, const weft_id *from) {
  weft_doc_record record;
  weft_base base;
  weft_newest newest;
  weft_doc *then = NULL;
  weft_bytes *tokens;
  size_t count, depth;
  bool append = false;
  WEFT_TRY(weft_pointer_split(&job->arena, job->pointer, &tokens, &count));
  WEFT_TRY(weft__version_base(job->r, txn, job->version, &job->arena, &base));
  WEFT_TRY(weft__doc_record_find(job->r, txn, job->doc, &job->arena, &record));
  WEFT_TRY(weft__newest_of(job->r, txn, &record, &base, &newest));
  if (!newest.found) return WEFT_ENOTFOUND;
  WEFT_TRY(weft__doc_at(job->r, txn, record.number, &base, &then));
  weft_err err = weft__doc_resolve(then, &job->arena, tokens, count, &job->path, &append, &depth);
  if (err == WEFT_EBADPATH || append) err = WEFT_ENOTFOUND;
  bool visible = false;
  if (err == WEFT_OK) err = weft__doc_visible(then, job->path, &visible);
  if (err == WEFT_OK && !visible) err = WEFT_ENOTFOUND;
  if (err == WEFT_OK) err = weft__doc_render(then, job->path, &job->arena, &job->value);
  weft__doc_free(then);
  WEFT_TRY(err);
  if (from) {
    job->from = *from;
    return WEFT_OK;
  }
  const weft_log *log = weft__log_of(job->r, newest.at.dot.log);
  return weft__log_id_at(job->r, txn, log, newest.at.dot.seq, &job->from);
}

/* Writes a value at a typed path, also where an element stood that is gone. */
static weft_err write_back(weft_writer *w, weft_path path, const weft_value *value) {
  weft_step last;
  weft_sides root;
  const weft_doc *doc = weft__writer_doc(w);
  if (!doc) return WEFT_ENOMEM;
  WEFT_TRY(weft__doc_sides(doc, weft_bytes_of(NULL, 0), &root));
  if (path.len == 0 && root.shape == WEFT_SHAPE_NONE) WEFT_TRY(weft__write_undelete(w));
  weft_err err = weft__write_set(w, path, value, false);
  if (err != WEFT_EBADPATH || !weft_path_last(path, &last) || !last.element) return err;
  return weft__write_revive(w, path, value);
}

weft_err weft_replica_restore(weft_replica *r, weft_bytes doc, weft_bytes pointer,
                              const weft_vector *version, const weft_id *from,
                              const weft_edit_options *o, weft_commit *out) {
  restore_job job = {.r = r, .doc = doc, .pointer = pointer, .version = version};
  weft_txn *txn;
  weft_edit *e = NULL;
  weft_writer *w;
  memset(out, 0, sizeof *out);
  WEFT_TRY(weft_document_name_check(doc));
  WEFT_TRY(weft__read_begin(r, &txn));
  weft__arena_init(&job.arena, &r->mem);
  weft_err err = restore_read(&job, txn, from);
  weft__read_end(r, txn);
  if (err == WEFT_OK) err = weft__edit_begin_with(&e, r, o, WEFT_EXT_RESTORED_FROM, &job.from);
  if (err == WEFT_OK) err = weft__edit_writer(e, doc, &w);
  if (err == WEFT_OK) err = write_back(w, job.path, &job.value);
  if (err == WEFT_OK) err = weft_edit_commit(e, out);
  weft_edit_free(e);
  weft__arena_free(&job.arena);
  return err;
}

/* --- revert --- */

typedef struct revert_job {
  weft_replica *r;
  weft_arena *out;
  weft_arena arena; /* of the whole */
  weft_dot dot;
  weft_id id;
  weft_change change;
  weft_base past; /* what it is known to have seen, and itself */
  weft_base seen; /* what the document before and after it is made of; with itself */
  weft_edit *edit;
  weft_writer *writer; /* of the document being looked at */
  weft_doc *before, *after, *now;
  weft_tree tree;     /* of `now` */
  weft_path *settled; /* places of the document that are decided with all below, ascending */
  size_t settled_count;
  weft_revert_item *items;
  size_t count, cap;
} revert_job;

/* What is shown at a place by itself. */
typedef struct place_value {
  bool there;
  weft_value value;
} place_value;

static weft_err place_read(revert_job *job, const weft_doc *doc, weft_path path, place_value *out) {
  weft_err err = weft__doc_render(doc, path, &job->arena, &out->value);
  out->there = err == WEFT_OK;
  if (err == WEFT_EMALFORMED) return WEFT_ECORRUPT;
  return weft__if_any(err);
}

static bool place_same(const place_value *a, const place_value *b) {
  return a->there == b->there && (!a->there || weft_value_equal(&a->value, &b->value));
}

static bool dot_is(weft_dot a, weft_dot b) { return a.log == b.log && a.seq == b.seq; }

/* Looks for writes at and below a place that the change neither knew nor made. */
typedef struct standing {
  bool own;     /* the change's own write stands at the place */
  bool foreign; /* there are others */
  const weft_sibling *newest;
} standing;

static void stands_meet(const revert_job *job, const weft_sibling *s, bool here, standing *out) {
  if (here && dot_is(s->dot, job->dot)) out->own = true;
  if (weft__base_has(&job->past, s->dot)) return;
  const weft_lineage *l = &job->r->lineage;
  if (!out->foreign || weft__sibling_cmp(l, s, out->newest) > 0) out->newest = s;
  out->foreign = true;
}

static standing stands_values(const revert_job *job, weft_path path) {
  standing out = {.own = false};
  for (const weft_register *reg = weft__doc_seek(job->now, path); reg;
       reg = weft__doc_next(job->now, reg)) {
    bool here = weft_bytes_cmp(reg->path, path) == 0;
    if (!here && !weft_path_under(path, reg->path)) break;
    for (size_t i = 0; i < reg->value_count; i++) {
      stands_meet(job, &reg->values[i], here, &out);
    }
  }
  return out;
}

static standing stands_position(const revert_job *job, weft_path path) {
  standing out = {.own = false};
  const weft_register *reg = weft__doc_find(job->now, path);
  for (size_t i = 0; reg && i < reg->position_count; i++) {
    stands_meet(job, &reg->positions[i], true, &out);
  }
  return out;
}

static weft_err item_add(revert_job *job, const weft_op *op, weft_revert_outcome outcome,
                         const weft_sibling *by) {
  weft_txn *txn;
  weft_buf b;
  void *at = job->items;
  WEFT_TRY(
      weft__arena_grow(job->out, &at, job->count, &job->cap, job->count + 1, sizeof *job->items));
  job->items = at;
  weft_revert_item *item = &job->items[job->count];
  memset(item, 0, sizeof *item);
  item->outcome = outcome;
  WEFT_TRY(weft__arena_copy(job->out, op->doc, &item->doc));
  WEFT_TRY(weft__arena_copy(job->out, op->path, &item->path));
  weft__buf_init(&b, &job->r->mem, SIZE_MAX);
  weft_err err = weft__tree_pointer(&job->tree, op->path, &b);
  if (err == WEFT_OK) err = weft__arena_copy(job->out, weft__buf_view(&b), &item->pointer);
  weft__buf_free(&b);
  if (err != WEFT_OK && err != WEFT_ENOTFOUND) return err;
  job->count++;
  if (!by) return WEFT_OK;
  WEFT_TRY(weft__read_begin(job->r, &txn));
  err = weft__log_id_at(job->r, txn, weft__log_of(job->r, by->dot.log), by->dot.seq, &item->by);
  weft__read_end(job->r, txn);
  return err;
}

/* Writes what stood there before. */
static weft_err place_undo(revert_job *job, const weft_op *op, const place_value *before) {
  weft_err err = before->there ? write_back(job->writer, op->path, &before->value)
                               : weft__write_unset(job->writer, op->path);
  if (err == WEFT_EBADPATH) return item_add(job, op, WEFT_REVERT_GONE, NULL);
  WEFT_TRY(err);
  return item_add(job, op, WEFT_REVERT_DONE, NULL);
}

/* What stands at a place now; NULL when nothing does. */
static const weft_node *now_at(const revert_job *job, weft_path path) {
  size_t idx = weft__tree_find(&job->tree, path);
  return idx > 0 || path.len == 0 ? &job->tree.nodes[idx] : NULL;
}

static bool now_visible(const revert_job *job, weft_path path) {
  const weft_node *node = now_at(job, path);
  return node && node->visible;
}

/* Whether what has to contain the place is shown. */
static bool parent_shown(const revert_job *job, weft_path path) {
  weft_step last;
  if (!weft_path_last(path, &last)) return true;
  const weft_node *node = now_at(job, weft_path_parent(path));
  return node && node->visible &&
         node->shape == (last.element ? WEFT_SHAPE_ARRAY : WEFT_SHAPE_OBJECT);
}

/* A mark that kept the container it found: what differs lies below. */
static bool mark_kept(const weft_op *op, const place_value *before, const place_value *after) {
  bool mark = op->kind == WEFT_OP_MARK_OBJECT || op->kind == WEFT_OP_MARK_ARRAY;
  return mark && before->there && after->there && before->value.kind == after->value.kind;
}

/* Decides about the value of one place.  `*settled`: nothing below it needs a look. */
static weft_err place_revert(revert_job *job, const weft_op *op, bool *settled) {
  place_value before, after, now;
  *settled = false;
  WEFT_TRY(place_read(job, job->before, op->path, &before));
  WEFT_TRY(place_read(job, job->after, op->path, &after));
  *settled = place_same(&before, &after); /* nobody saw a difference */
  if (*settled || mark_kept(op, &before, &after)) return WEFT_OK;
  WEFT_TRY(place_read(job, job->now, op->path, &now));
  *settled = true;
  now.there = now.there && now_visible(job, op->path);
  if (!parent_shown(job, op->path)) return item_add(job, op, WEFT_REVERT_GONE, NULL);
  if (place_same(&before, &now)) return item_add(job, op, WEFT_REVERT_ALREADY, NULL);
  standing s = stands_values(job, op->path);
  if (s.own && !s.foreign) return place_undo(job, op, &before);
  /* Of a container that it made and others wrote in, its own leaves are still its own. */
  *settled = before.there || !now.there || weft_value_is_scalar(&now.value);
  weft_revert_outcome why = s.foreign ? WEFT_REVERT_CHANGED : WEFT_REVERT_GONE;
  return item_add(job, op, why, s.foreign ? s.newest : NULL);
}

/* --- moves --- */

static const weft_op *move_find(const weft_op *ops, size_t count, weft_path path) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = weft_bytes_cmp(ops[middle].path, path);
    if (order == 0) return ops[middle].position.len > 0 ? &ops[middle] : NULL;
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return NULL;
}

/* An element that is shown now, in a ring in the order that is made. */
typedef struct seat {
  const weft_child *child;
  struct seat *before, *behind;
  bool put; /* it does not stand where it stood */
} seat;

/* The elements of an array; `ring` stands before the first and behind the last. */
typedef struct seats {
  seat ring;
  seat *at;
  const void **sorted; /* by path */
  size_t count;
  size_t put_count;
} seats;

static int seat_cmp(const void *ctx, const void *a, const void *b) {
  const seat *x = a, *y = b;
  (void)ctx;
  return weft_bytes_cmp(x->child->path, y->child->path);
}

static weft_err seats_fill(revert_job *job, const weft_doc *doc, weft_path array, seats *s) {
  weft_child *list;
  WEFT_TRY(weft__doc_children(doc, array, WEFT_SHAPE_ARRAY, &job->arena, &list, &s->count));
  s->at = weft__arena_zero(&job->arena, s->count + 1, sizeof *s->at);
  s->sorted = weft__arena_zero(&job->arena, s->count + 1, 2 * sizeof *s->sorted);
  if (!s->at || !s->sorted) return WEFT_ENOMEM;
  s->put_count = 0;
  s->ring.before = s->ring.behind = &s->ring;
  for (size_t i = 0; i < s->count; i++) {
    seat *one = &s->at[i];
    *one = (seat){&list[i], s->ring.before, &s->ring, false};
    one->before->behind = s->ring.before = one;
    s->sorted[i] = one;
  }
  weft__sort(s->sorted, s->sorted + s->count, s->count, seat_cmp, NULL);
  return WEFT_OK;
}

/* NULL: the element is not shown. */
static seat *seat_find(const seats *s, weft_path path) {
  size_t low = 0, high = s->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    seat *one = s->at + ((const seat *)s->sorted[middle] - s->at);
    int order = weft_bytes_cmp(one->child->path, path);
    if (order == 0) return one;
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return NULL;
}

/* Moves an element behind another one, where it stood, if the change's move still stands. */
static weft_err seat_back(revert_job *job, seats *all, const weft_op *op, seat *one, seat *to) {
  if (one->before == to) return WEFT_OK;
  standing s = stands_position(job, op->path);
  if (s.foreign || !s.own) {
    return item_add(job, op, s.foreign ? WEFT_REVERT_CHANGED : WEFT_REVERT_GONE, s.newest);
  }
  one->before->behind = one->behind;
  one->behind->before = one->before;
  one->before = to;
  one->behind = to->behind;
  to->behind = one->behind->before = one;
  all->put_count += !one->put;
  one->put = true;
  return op->kind == WEFT_OP_POSITION ? item_add(job, op, WEFT_REVERT_DONE, NULL) : WEFT_OK;
}

static weft_err seats_write(revert_job *job, weft_path array, const seats *s) {
  if (s->put_count == 0) return WEFT_OK;
  weft_place *places = weft__arena_zero(&job->arena, s->count, sizeof *places);
  if (!places) return WEFT_ENOMEM;
  size_t count = 0;
  for (const seat *one = s->ring.behind; one != &s->ring; one = one->behind) {
    weft_place *place = &places[count++];
    place->id = one->child->step.name;
    place->stands = !one->put;
    if (place->stands) place->position = one->child->position;
  }
  return weft__write_order(job->writer, array, places, count);
}

/* Takes back the moves of the elements of one array, in the order in which they stood: each goes
 * behind what stood before it, as far as that is there. */
static weft_err array_revert(revert_job *job, const weft_op *ops, size_t count, weft_path array) {
  weft_child *list;
  seats now;
  size_t n;
  bool shown, still;
  weft_sides sides;
  const weft_doc *doc = weft__writer_doc(job->writer);
  if (!doc) return WEFT_ENOMEM;
  WEFT_TRY(weft__doc_visible(job->now, array, &shown));
  WEFT_TRY(weft__doc_visible(doc, array, &still));
  WEFT_TRY(weft__doc_sides(job->now, array, &sides));
  if (!shown || !still || sides.shape != WEFT_SHAPE_ARRAY) return WEFT_OK;
  WEFT_TRY(weft__doc_children(job->before, array, WEFT_SHAPE_ARRAY, &job->arena, &list, &n));
  WEFT_TRY(seats_fill(job, doc, array, &now));
  seat *last = &now.ring;
  for (size_t i = 0; i < n; i++) {
    seat *one = seat_find(&now, list[i].path);
    if (!one) continue;
    const weft_op *op = move_find(ops, count, list[i].path);
    if (op) WEFT_TRY(seat_back(job, &now, op, one, last));
    last = one;
  }
  return seats_write(job, array, &now);
}

static bool is_settled(const revert_job *job, weft_path path) {
  size_t low = 0, high = job->settled_count;
  while (low < high) { /* the last place that is not behind `path` */
    size_t middle = low + (high - low) / 2;
    if (weft_bytes_cmp(job->settled[middle], path) <= 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == 0) return false;
  weft_path top = job->settled[low - 1];
  return weft_bytes_cmp(top, path) == 0 || weft_path_under(top, path);
}

static weft_err moves_revert(revert_job *job, const weft_op *ops, size_t count) {
  weft_path last = {NULL, 0};
  for (size_t i = 0; i < count; i++) {
    if (ops[i].position.len == 0) continue;
    weft_path array = weft_path_parent(ops[i].path);
    if (last.len > 0 && weft_bytes_cmp(array, last) == 0) continue;
    last = array;
    if (is_settled(job, array)) continue;
    WEFT_TRY(array_revert(job, ops, count, array));
  }
  return WEFT_OK;
}

/* --- one document, and all --- */

static weft_err doc_load_past(revert_job *job, weft_txn *txn, weft_bytes name) {
  weft_doc_record record;
  WEFT_TRY(weft__doc_record_find(job->r, txn, name, &job->arena, &record));
  WEFT_TRY(weft__doc_at(job->r, txn, record.number, &job->seen, &job->after));
  job->seen.seqs[job->dot.log]--;
  weft_err err = weft__doc_at(job->r, txn, record.number, &job->seen, &job->before);
  job->seen.seqs[job->dot.log]++;
  if (err == WEFT_OK) err = weft__doc_load(job->r, txn, record.number, &job->now);
  if (err == WEFT_OK) weft__doc_set_plain(job->now, !record.suspect);
  return err;
}

static void docs_free(revert_job *job) {
  weft__doc_free(job->before);
  weft__doc_free(job->after);
  weft__doc_free(job->now);
  job->before = job->after = job->now = NULL;
}

static const weft_path none = {NULL, 0};

static weft_err doc_revert(revert_job *job, const weft_op *ops, size_t count) {
  weft_txn *txn;
  WEFT_TRY(weft__read_begin(job->r, &txn));
  weft_err err = doc_load_past(job, txn, ops[0].doc);
  weft__read_end(job->r, txn);
  WEFT_TRY(err);
  WEFT_TRY(weft__tree_build(&job->tree, job->now, none, &job->arena));
  WEFT_TRY(weft__edit_writer(job->edit, ops[0].doc, &job->writer));
  job->settled = weft__arena_zero(&job->arena, count, sizeof *job->settled);
  job->settled_count = 0;
  if (!job->settled) return WEFT_ENOMEM;
  for (size_t i = 0; i < count; i++) {
    bool settled;
    weft_path last = job->settled_count > 0 ? job->settled[job->settled_count - 1] : none;
    bool below = job->settled_count > 0 && weft_path_under(last, ops[i].path);
    if (below || ops[i].kind == WEFT_OP_POSITION) continue;
    WEFT_TRY(place_revert(job, &ops[i], &settled));
    if (settled) job->settled[job->settled_count++] = ops[i].path;
  }
  return moves_revert(job, ops, count);
}

static weft_err revert_docs(revert_job *job) {
  const weft_change *c = &job->change;
  for (size_t from = 0, to; from < c->op_count; from = to) {
    for (to = from + 1; to < c->op_count; to++) {
      if (weft_bytes_cmp(c->ops[to].doc, c->ops[from].doc) != 0) break;
    }
    weft_err err = doc_revert(job, c->ops + from, to - from);
    docs_free(job);
    WEFT_TRY(err);
  }
  return WEFT_OK;
}

/* Finds the change. */
static weft_err revert_read(revert_job *job, weft_txn *txn, const weft_id *change,
                            const weft_vector *past) {
  weft_log *log;
  uint64_t seq;
  WEFT_TRY(weft__change_find(job->r, txn, weft_bytes_of(change->b, sizeof *change), &log, &seq));
  WEFT_TRY(weft__log_change(job->r, txn, log, seq, &job->arena, &job->change, &job->id));
  if (job->change.op_count == 0) return WEFT_EMISUSE;
  job->dot = (weft_dot){log->number, seq};
  WEFT_TRY(weft__base_of_vector(job->r, txn, past, &job->arena, &job->past));
  WEFT_TRY(weft__base_of_vector(job->r, txn, past, &job->arena, &job->seen));
  return weft__seen_by(job->r, txn, log, seq, job->change.hlc, &job->seen);
}

weft_err weft_replica_revert(weft_replica *r, weft_arena *arena, const weft_id *change,
                             const weft_edit_options *o, weft_revert_item **items, size_t *count,
                             weft_commit *out) {
  revert_job job = {.r = r, .out = arena};
  weft_txn *txn = NULL;
  weft_vector past;
  memset(out, 0, sizeof *out);
  *items = NULL;
  *count = 0;
  weft__vector_init(&past, &r->mem);
  weft__arena_init(&job.arena, &r->mem);
  weft_err err = weft_replica_vector_at_change(r, change, &past);
  if (err == WEFT_OK) err = weft__read_begin(r, &txn);
  if (err == WEFT_OK) err = revert_read(&job, txn, change, &past);
  if (txn) weft__read_end(r, txn);
  weft__vector_free(&past);
  if (err == WEFT_OK) err = weft__edit_begin_with(&job.edit, r, o, WEFT_EXT_REVERTS, change);
  if (err == WEFT_OK) err = revert_docs(&job);
  if (err == WEFT_OK) err = weft_edit_commit(job.edit, out);
  weft_edit_free(job.edit);
  weft__arena_free(&job.arena);
  if (err != WEFT_OK) return err;
  *items = job.items;
  *count = job.count;
  return WEFT_OK;
}

/* --- redo --- */

static weft_err redo_read(weft_replica *r, const weft_id *id, weft_arena *arena,
                          weft_change *change) {
  weft_txn *txn;
  weft_log *log;
  uint64_t seq;
  weft_id found;
  WEFT_TRY(weft__read_begin(r, &txn));
  weft_err err = weft__change_find(r, txn, weft_bytes_of(id->b, sizeof *id), &log, &seq);
  if (err == WEFT_OK && seq <= log->shown) err = WEFT_EMISUSE;
  if (err == WEFT_OK) err = weft__log_change(r, txn, log, seq, arena, change, &found);
  if (err == WEFT_OK && change->op_count == 0) err = WEFT_EMISUSE;
  weft__read_end(r, txn);
  return err;
}

weft_err weft_replica_redo(weft_replica *r, const weft_id *change, const weft_edit_options *o,
                           weft_commit *out) {
  weft_arena arena;
  weft_change old;
  weft_edit *e = NULL;
  memset(out, 0, sizeof *out);
  weft__arena_init(&arena, &r->mem);
  weft_err err = redo_read(r, change, &arena, &old);
  if (err == WEFT_OK) err = weft__edit_begin_with(&e, r, o, WEFT_EXT_REDOES, change);
  for (size_t i = 0; err == WEFT_OK && i < old.op_count; i++) {
    weft_writer *w;
    err = weft__edit_writer(e, old.ops[i].doc, &w);
    if (err == WEFT_OK) err = weft__write_op(w, &old.ops[i]);
  }
  if (err == WEFT_OK) err = weft_edit_commit(e, out);
  weft_edit_free(e);
  weft__arena_free(&arena);
  return err;
}

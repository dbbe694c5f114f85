/* Conflicts: what stands side by side at a place, who wrote it, and which side is shown.
 *
 * `contest` names the documents that have conflicts; only these are loaded.  Every surviving scalar
 * and unset of a place is a value of its own; each kind of container is one value, as it would be
 * shown if it won, told by the change whose live write ranks highest in it.
 * Failure modes: damaged records, segments and logs are WEFT_ECORRUPT. */
#include <string.h>

#include "crdt/limits.h"
#include "crdt/sort.h"
#include "crdt/view.h"
#include "store/outcome.h"
#include "store/query_internal.h"
#include "store/strategy.h"

enum { RECENT = 8 };

/* A change read before. */
typedef struct recent {
  weft_dot dot;
  weft_history_entry change;
} recent;

typedef struct conflicts_job {
  weft_replica *r;
  weft_txn *txn;
  weft_arena *out_arena;
  weft_arena arena; /* of the job */
  weft_reader reader;
  const weft_doc *doc;             /* whose conflicts are told */
  weft_tree tree;                  /* of it */
  const weft_foresight *foresight; /* NULL: what is shown is told, not what would be */
  size_t limit;
  recent recent[RECENT];
  size_t recent_count;
  size_t recent_next;
  weft_conflict_entry *entries;
  size_t count;
  size_t cap;
} conflicts_job;

/* A document that has conflicts. */
typedef struct contested {
  weft_bytes name;
  uint32_t number;
  bool listed; /* the strategy lets some through */
} contested;

/* One side of a place, before it is told. */
typedef struct side {
  const weft_sibling *sibling;
  weft_shape shape;
  bool winner;
} side;

/* --- values --- */

static weft_err scalar_value(weft_arena *arena, weft_bytes encoded, weft_value *out) {
  weft_bytes copy;
  WEFT_TRY(weft__arena_copy(arena, encoded, &copy));
  weft_err err = weft__scalar_decode(copy, out);
  return err == WEFT_OK || err == WEFT_ENOMEM ? err : WEFT_ECORRUPT;
}

/* Renders one side of a place, whichever side is shown. */
static weft_err side_value(const conflicts_job *job, weft_path path, weft_shape shape,
                           weft_value *out) {
  const weft_doc *doc = job->doc;
  weft_child *children;
  size_t count;
  weft_arena *arena = job->out_arena;
  WEFT_TRY(weft__doc_children(doc, path, shape, arena, &children, &count));
  weft_value *values = weft__arena_zero(arena, count, sizeof *values);
  weft_member *members = weft__arena_zero(arena, count, sizeof *members);
  if (!values || !members) return WEFT_ENOMEM;
  for (size_t i = 0; i < count; i++) {
    WEFT_TRY(weft__doc_render(doc, children[i].path, arena, &values[i]));
    if (shape != WEFT_SHAPE_OBJECT) continue;
    members[i].value = values[i];
    WEFT_TRY(weft__arena_copy(arena, children[i].step.name, &members[i].key));
  }
  if (shape == WEFT_SHAPE_OBJECT) {
    out->kind = WEFT_OBJECT;
    out->as.object.at = members;
    out->as.object.count = count;
  } else {
    out->kind = WEFT_ARRAY;
    out->as.array.at = values;
    out->as.array.count = count;
  }
  return WEFT_OK;
}

/* Reads a change; the conflicts of a document mostly come from few of them. */
static weft_err change_of(conflicts_job *job, weft_dot dot, weft_history_entry *out) {
  if (job->foresight && dot.log == job->foresight->dot.log) {
    *out = *job->foresight->change;
    return WEFT_OK;
  }
  for (size_t i = 0; i < job->recent_count; i++) {
    const recent *known = &job->recent[i];
    if (known->dot.log != dot.log || known->dot.seq != dot.seq) continue;
    *out = known->change;
    return WEFT_OK;
  }
  WEFT_TRY(weft__history_at(job->r, job->txn, dot, job->out_arena, out));
  job->recent[job->recent_next] = (recent){dot, *out};
  job->recent_next = (job->recent_next + 1) % RECENT;
  if (job->recent_count < RECENT) job->recent_count++;
  return WEFT_OK;
}

static weft_err value_make(conflicts_job *job, weft_path path, const side *s,
                           weft_conflict_value *out) {
  out->shape = s->shape;
  out->winner = s->winner;
  switch (s->shape) {
  case WEFT_SHAPE_NONE: break;
  case WEFT_SHAPE_SCALAR:
    WEFT_TRY(scalar_value(job->out_arena, s->sibling->value, &out->value));
    break;
  case WEFT_SHAPE_OBJECT:
  case WEFT_SHAPE_ARRAY: WEFT_TRY(side_value(job, path, s->shape, &out->value)); break;
  }
  return change_of(job, s->sibling->dot, &out->change);
}

/* --- one conflict --- */

/* The winner first, then the newest. */
static int side_cmp(const void *ctx, const void *a, const void *b) {
  const side *x = a;
  const side *y = b;
  if (x->winner != y->winner) return x->winner ? -1 : 1;
  return weft__sibling_cmp(ctx, y->sibling, x->sibling);
}

static weft_err sides_collect(conflicts_job *job, const weft_conflict *c, side **out,
                              size_t *count) {
  weft_tree tree;
  weft_arena *arena = &job->reader.arena;
  size_t most = (c->reg ? c->reg->value_count : 0) + 2;
  side *sides = weft__arena_zero(arena, most, sizeof *sides);
  if (!sides) return WEFT_ENOMEM;
  WEFT_TRY(weft__tree_build(&tree, job->doc, c->path, arena));
  const weft_node *top = &tree.nodes[0];
  size_t n = 0;
  for (size_t i = 0; c->reg && i < c->reg->value_count; i++) {
    const weft_sibling *s = &c->reg->values[i];
    if (s->kind == WEFT_OP_SCALAR) sides[n++] = (side){s, WEFT_SHAPE_SCALAR, s == c->winner};
    if (s->kind == WEFT_OP_UNSET) sides[n++] = (side){s, WEFT_SHAPE_NONE, false};
  }
  if (top->object) {
    sides[n++] = (side){top->object, WEFT_SHAPE_OBJECT, c->shape == WEFT_SHAPE_OBJECT};
  }
  if (top->array) {
    sides[n++] = (side){top->array, WEFT_SHAPE_ARRAY, c->shape == WEFT_SHAPE_ARRAY};
  }
  *out = sides;
  *count = n;
  return WEFT_OK;
}

static weft_err sides_order(conflicts_job *job, const side *sides, size_t count,
                            const void ***out) {
  const void **list = weft__arena_zero(&job->reader.arena, count, sizeof *list);
  const void **scratch = weft__arena_zero(&job->reader.arena, count, sizeof *scratch);
  if (!list || !scratch) return WEFT_ENOMEM;
  for (size_t i = 0; i < count; i++) list[i] = &sides[i];
  weft__sort(list, scratch, count, side_cmp, weft__doc_lineage(job->doc));
  *out = list;
  return WEFT_OK;
}

static weft_err pointer_make(conflicts_job *job, const weft_conflict *c, weft_bytes *out) {
  weft_buf b;
  if (!c->visible) return WEFT_OK;
  weft__buf_init(&b, &job->r->mem, SIZE_MAX);
  weft_err err = weft__tree_pointer(&job->tree, c->path, &b);
  if (err == WEFT_OK) err = weft__arena_copy(job->out_arena, weft__buf_view(&b), out);
  weft__buf_free(&b);
  return err;
}

static weft_err conflict_add(conflicts_job *job, weft_bytes doc, const weft_conflict *c) {
  side *sides;
  size_t count;
  const void **list;
  void *at = job->entries;
  WEFT_TRY(weft__arena_grow(job->out_arena, &at, job->count, &job->cap, job->count + 1,
                            sizeof *job->entries));
  job->entries = at;
  weft_conflict_entry *out = &job->entries[job->count];
  memset(out, 0, sizeof *out);
  out->doc = doc;
  out->kind = c->kind;
  WEFT_TRY(weft__arena_copy(job->out_arena, c->path, &out->path));
  WEFT_TRY(pointer_make(job, c, &out->pointer));
  WEFT_TRY(sides_collect(job, c, &sides, &count));
  WEFT_TRY(sides_order(job, sides, count, &list));
  out->values = weft__arena_zero(job->out_arena, count, sizeof *out->values);
  if (!out->values) return WEFT_ENOMEM;
  for (size_t i = 0; i < count; i++) {
    WEFT_TRY(value_make(job, c->path, list[i], &out->values[i]));
  }
  out->value_count = count;
  job->count++;
  return WEFT_OK;
}

/* --- documents --- */

/* Adds the conflicts of a document that is loaded. */
static weft_err told_conflicts(conflicts_job *job, weft_bytes name) {
  weft_conflict *list;
  size_t count;
  weft_arena *arena = &job->reader.arena;
  weft_err err = weft__doc_conflicts(job->doc, weft_bytes_of(NULL, 0), arena, &list, &count);
  WEFT_TRY(weft__was_whole(err));
  WEFT_TRY(weft__tree_build(&job->tree, job->doc, weft_bytes_of(NULL, 0), arena));
  for (size_t i = 0; i < count && job->count < job->limit; i++) {
    weft_strategy strategy = weft__strategy_of(job->r, name, list[i].path);
    if (strategy == WEFT_STRATEGY_LWW) continue;
    WEFT_TRY(conflict_add(job, name, &list[i]));
    job->entries[job->count - 1].manual = strategy == WEFT_STRATEGY_MANUAL;
  }
  return WEFT_OK;
}

static weft_err doc_conflicts(conflicts_job *job, uint32_t number, weft_bytes name) {
  weft_bytes own_name;
  weft__reader_reset(&job->reader);
  WEFT_TRY(weft__reader_load(&job->reader, number));
  job->doc = job->reader.doc;
  WEFT_TRY(weft__arena_copy(job->out_arena, name, &own_name));
  return told_conflicts(job, own_name);
}

static int contested_cmp(const void *ctx, const void *a, const void *b) {
  (void)ctx;
  const contested *x = a;
  const contested *y = b;
  return weft_bytes_cmp(x->name, y->name);
}

static weft_err contested_read(conflicts_job *job, const weft_entry *entry, contested *out) {
  weft_rd k = weft__rd(entry->key);
  weft_doc_record record;
  out->number = weft__rd_u32(&k);
  if (!weft__rd_done(&k)) return WEFT_ECORRUPT;
  weft_err err = weft__doc_record_read(job->r, job->txn, out->number, &job->arena, &record);
  WEFT_TRY(weft__promised(err));
  out->name = record.name;
  out->listed = record.conflicts > 0;
  return WEFT_OK;
}

static weft_err contested_list(conflicts_job *job, contested **out, size_t *count) {
  weft_cursor *cursor;
  weft_entry entry;
  uint64_t most;
  size_t n = 0;
  WEFT_TRY(weft_txn_count(job->txn, WEFT_TABLE_CONTEST, &most));
  contested *list = weft__arena_zero(&job->arena, (size_t)most, sizeof *list);
  if (!list) return WEFT_ENOMEM;
  WEFT_TRY(weft_cursor_open(job->txn, WEFT_TABLE_CONTEST, &cursor));
  weft_err err = weft_cursor_first(cursor, &entry);
  while (err == WEFT_OK && n < most) {
    err = contested_read(job, &entry, &list[n]);
    n += list[n].listed;
    if (err == WEFT_OK) err = weft_cursor_next(cursor, &entry);
  }
  weft_cursor_close(cursor);
  *out = list;
  *count = n;
  return weft__walked(err);
}

static weft_err all_conflicts(conflicts_job *job) {
  contested *docs;
  size_t count;
  WEFT_TRY(contested_list(job, &docs, &count));
  const void **list = weft__arena_zero(&job->arena, count, sizeof *list);
  const void **scratch = weft__arena_zero(&job->arena, count, sizeof *scratch);
  if (!list || !scratch) return WEFT_ENOMEM;
  for (size_t i = 0; i < count; i++) list[i] = &docs[i];
  weft__sort(list, scratch, count, contested_cmp, NULL);
  for (size_t i = 0; i < count && job->count < job->limit; i++) {
    const contested *doc = list[i];
    WEFT_TRY(doc_conflicts(job, doc->number, doc->name));
  }
  return WEFT_OK;
}

static weft_err one_doc(conflicts_job *job, weft_bytes name) {
  weft_doc_record record;
  WEFT_TRY(weft__doc_record_find(job->r, job->txn, name, &job->arena, &record));
  return record.conflicts > 0 ? doc_conflicts(job, record.number, name) : WEFT_OK;
}

weft_err weft_replica_conflicts(weft_replica *r, weft_arena *arena, weft_bytes doc, size_t limit,
                                weft_conflict_entry **out, size_t *count) {
  conflicts_job job = {.r = r, .out_arena = arena, .limit = limit > 0 ? limit : SIZE_MAX};
  *out = NULL;
  *count = 0;
  if (doc.len > 0) WEFT_TRY(weft_document_name_check(doc));
  WEFT_TRY(weft__read_begin(r, &job.txn));
  weft__arena_init(&job.arena, &r->mem);
  weft_err err = weft__reader_begin(&job.reader, r, job.txn);
  if (err == WEFT_OK) err = doc.len > 0 ? one_doc(&job, doc) : all_conflicts(&job);
  weft__reader_end(&job.reader);
  weft__arena_free(&job.arena);
  weft__read_end(r, job.txn);
  if (err != WEFT_OK) return err;
  *out = job.entries;
  *count = job.count;
  return WEFT_OK;
}

/* --- what would be --- */

/* Whether a place is among conflicts, which stand in the order of their paths. */
static bool is_among(const weft_conflict *list, size_t count, weft_path path) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = weft_bytes_cmp(list[middle].path, path);
    if (order == 0) return true;
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return false;
}

/* Whether an edit makes a conflict, or has a part in it. */
static bool is_foreseen(const weft_foresight *f, const weft_conflict_entry *entry,
                        const weft_conflict *now, size_t now_count) {
  for (size_t i = 0; i < entry->value_count; i++) {
    const weft_history_entry *change = &entry->values[i].change;
    if (change->seq == 0 && weft_id_cmp(&change->change, &f->change->change) == 0) return true;
  }
  return !is_among(now, now_count, entry->path);
}

weft_err weft__conflicts_foresee(const weft_foresight *f, weft_bytes name, weft_arena *arena,
                                 weft_conflict_entry **out, size_t *count) {
  conflicts_job job = {.r = f->r, .txn = f->txn, .out_arena = arena, .limit = SIZE_MAX};
  weft_conflict *now;
  size_t now_count, kept = 0;
  weft__arena_init(&job.arena, &f->r->mem);
  weft_err err = weft__reader_begin(&job.reader, f->r, f->txn);
  job.doc = f->then;
  job.foresight = f;
  if (err == WEFT_OK) err = told_conflicts(&job, name);
  if (err == WEFT_OK) {
    err = weft__doc_conflicts(f->now, weft_bytes_of(NULL, 0), &job.arena, &now, &now_count);
    err = weft__was_whole(err);
  }
  for (size_t i = 0; err == WEFT_OK && i < job.count; i++) {
    if (!is_foreseen(f, &job.entries[i], now, now_count)) continue;
    job.entries[kept++] = job.entries[i];
  }
  weft__reader_end(&job.reader);
  weft__arena_free(&job.arena);
  if (err != WEFT_OK) return err;
  *out = job.entries;
  *count = kept;
  return WEFT_OK;
}

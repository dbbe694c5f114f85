/* Differences between two versions of a document, and who wrote what stands.
 *
 * Both versions are trees over typed paths, and an element keeps its path for ever, so the trees
 * are walked side by side.  In an array the elements that both have keep their places as far as the
 * longest run in equal order goes; the others count as moved.  One walk gives the list for people
 * and the patch: the patch first removes from an array what goes, last one first, then adds, first
 * one first, so that behind it every index is that of the second version; only then it goes below.
 * Failure modes: damaged registers are WEFT_ECORRUPT. */
#include <string.h>

#include "crdt/assert.h"
#include "crdt/sort.h"
#include "crdt/view.h"
#include "store/history_internal.h"
#include "store/outcome.h"

/* One version. */
typedef struct side {
  const weft_doc *doc;
  weft_tree tree;
} side;

/* Two containers of one kind at one path, with their pointers in both versions. */
typedef struct diff_task {
  size_t a, b; /* nodes */
  weft_bytes a_at, b_at;
} diff_task;

typedef struct diff_job {
  weft_arena *out;
  weft_arena arena;
  side a, b;
  diff_task *tasks; /* a stack */
  size_t task_count, task_cap;
  weft_diff_item *items;
  size_t count, cap;
  weft_value *patch;
  size_t patch_count, patch_cap;
} diff_job;

/* --- pointers --- */

weft_err weft__pointer_child(weft_arena *arena, weft_bytes parent, weft_bytes token,
                             weft_bytes *out) {
  weft_buf b;
  weft__buf_init(&b, &arena->mem, SIZE_MAX);
  weft__buf_put(&b, parent);
  weft_pointer_push(&b, token);
  weft_err err = weft__buf_err(&b);
  if (err == WEFT_OK) err = weft__arena_copy(arena, weft__buf_view(&b), out);
  weft__buf_free(&b);
  return err;
}

weft_err weft__pointer_index(weft_arena *arena, weft_bytes parent, size_t idx, weft_bytes *out) {
  char digits[20];
  size_t at = sizeof digits;
  do {
    digits[--at] = (char)('0' + idx % 10);
    idx /= 10;
  } while (idx > 0);
  return weft__pointer_child(arena, parent, weft_bytes_of(digits + at, sizeof digits - at), out);
}

/* --- what is found --- */

static weft_err item_add(diff_job *job, weft_diff_item item) {
  void *at = job->items;
  WEFT_TRY(
      weft__arena_grow(job->out, &at, job->count, &job->cap, job->count + 1, sizeof *job->items));
  job->items = at;
  job->items[job->count++] = item;
  return WEFT_OK;
}

/* One operation of the patch; `value` NULL: it has none. */
static weft_err patch_add(diff_job *job, const char *op, weft_bytes path, const weft_value *value) {
  void *at = job->patch;
  WEFT_TRY(weft__arena_grow(job->out, &at, job->patch_count, &job->patch_cap, job->patch_count + 1,
                            sizeof *job->patch));
  job->patch = at;
  size_t count = value ? 3 : 2;
  weft_member *members = weft__arena_zero(job->out, count, sizeof *members);
  if (!members) return WEFT_ENOMEM;
  members[0].key = weft_bytes_str("op");
  members[0].value = (weft_value){.kind = WEFT_STRING, .as.bytes = weft_bytes_str(op)};
  members[1].key = weft_bytes_str("path");
  members[1].value = (weft_value){.kind = WEFT_STRING, .as.bytes = path};
  if (value) {
    members[2].key = weft_bytes_str("value");
    members[2].value = *value;
  }
  weft_value *out = &job->patch[job->patch_count++];
  out->kind = WEFT_OBJECT;
  out->as.object.at = members;
  out->as.object.count = count;
  return WEFT_OK;
}

static weft_err side_value(diff_job *job, const side *s, const weft_node *node, weft_value *out) {
  weft_err err = weft__doc_render(s->doc, node->path, job->out, out);
  return weft__promised(weft__was_whole(err));
}

/* A place that only the second version has, at `at` there. */
static weft_err meet_added(diff_job *job, const weft_node *b, weft_bytes at) {
  weft_diff_item item = {.kind = WEFT_DIFF_ADDED, .path = at};
  WEFT_TRY(side_value(job, &job->b, b, &item.after));
  WEFT_TRY(patch_add(job, "add", at, &item.after));
  return item_add(job, item);
}

/* One that only the first has; `patch_at` is where it stands when the patch comes to it. */
static weft_err meet_removed(diff_job *job, const weft_node *a, weft_bytes at,
                             weft_bytes patch_at) {
  weft_diff_item item = {.kind = WEFT_DIFF_REMOVED, .path = at};
  WEFT_TRY(side_value(job, &job->a, a, &item.before));
  WEFT_TRY(patch_add(job, "remove", patch_at, NULL));
  return item_add(job, item);
}

static bool is_container(const weft_node *node) {
  return node->shape == WEFT_SHAPE_OBJECT || node->shape == WEFT_SHAPE_ARRAY;
}

static weft_err task_push(diff_job *job, diff_task task) {
  void *at = job->tasks;
  WEFT_TRY(weft__arena_grow(&job->arena, &at, job->task_count, &job->task_cap, job->task_count + 1,
                            sizeof *job->tasks));
  job->tasks = at;
  job->tasks[job->task_count++] = task;
  return WEFT_OK;
}

/* A place that both have. */
static weft_err meet_both(diff_job *job, const weft_node *a, const weft_node *b, weft_bytes a_at,
                          weft_bytes b_at) {
  weft_diff_item item = {.kind = WEFT_DIFF_CHANGED, .path = b_at};
  if (a->shape == b->shape && is_container(a)) {
    diff_task task = {(size_t)(a - job->a.tree.nodes), (size_t)(b - job->b.tree.nodes), a_at, b_at};
    return task_push(job, task);
  }
  bool scalars = a->shape == WEFT_SHAPE_SCALAR && b->shape == WEFT_SHAPE_SCALAR;
  if (scalars && weft_bytes_cmp(a->scalar->value, b->scalar->value) == 0) return WEFT_OK;
  WEFT_TRY(side_value(job, &job->a, a, &item.before));
  WEFT_TRY(side_value(job, &job->b, b, &item.after));
  WEFT_TRY(patch_add(job, "replace", b_at, &item.after));
  return item_add(job, item);
}

/* --- containers --- */

/* The shown children of a container, in their order. */
typedef struct kids {
  const weft_node **at;
  size_t count;
} kids;

weft_err weft__node_children(const weft_tree *tree, size_t idx, weft_arena *arena,
                             const weft_node ***out, size_t *count) {
  const weft_node *node = &tree->nodes[idx];
  size_t most = node->end - idx;
  const weft_node **list = weft__arena_zero(arena, most, sizeof *list);
  const weft_node **scratch = weft__arena_zero(arena, most, sizeof *scratch);
  if (!list || !scratch) return WEFT_ENOMEM;
  *count = weft__tree_children(tree, idx, (weft_shape)node->shape, list, scratch);
  *out = list;
  return WEFT_OK;
}

/* Children lie in the order of their keys, which is not the order of their paths. */
static int by_key(const weft_node *x, const weft_node *y) {
  return weft_bytes_cmp(weft__node_step(x).name, weft__node_step(y).name);
}

static weft_err diff_object(diff_job *job, const diff_task *task, kids a, kids b) {
  size_t i = 0, k = 0;
  while (i < a.count || k < b.count) {
    int order = i == a.count ? 1 : k == b.count ? -1 : by_key(a.at[i], b.at[k]);
    const weft_node *x = order <= 0 ? a.at[i++] : NULL;
    const weft_node *y = order >= 0 ? b.at[k++] : NULL;
    weft_bytes name = weft__node_step(x ? x : y).name;
    weft_bytes a_at, b_at;
    WEFT_TRY(weft__pointer_child(job->out, task->a_at, name, &a_at));
    WEFT_TRY(weft__pointer_child(job->out, task->b_at, name, &b_at));
    if (!x) {
      WEFT_TRY(meet_added(job, y, b_at));
    } else if (!y) {
      WEFT_TRY(meet_removed(job, x, a_at, b_at));
    } else {
      WEFT_TRY(meet_both(job, x, y, a_at, b_at));
    }
  }
  return WEFT_OK;
}

#define NOWHERE SIZE_MAX

typedef struct by_path {
  const weft_node *node;
  size_t idx;
} by_path;

static int by_path_cmp(const void *ctx, const void *a, const void *b) {
  (void)ctx;
  const by_path *x = a, *y = b;
  return weft_bytes_cmp(x->node->path, y->node->path);
}

static weft_err kids_by_path(weft_arena *arena, kids list, const void ***out) {
  by_path *entries = weft__arena_zero(arena, list.count, sizeof *entries);
  const void **order = weft__arena_zero(arena, list.count, sizeof *order);
  const void **scratch = weft__arena_zero(arena, list.count, sizeof *scratch);
  if (!entries || !order || !scratch) return WEFT_ENOMEM;
  for (size_t i = 0; i < list.count; i++) {
    entries[i] = (by_path){list.at[i], i};
    order[i] = &entries[i];
  }
  weft__sort(order, scratch, list.count, by_path_cmp, NULL);
  *out = order;
  return WEFT_OK;
}

/* How the elements of two lists belong together. */
typedef struct matching {
  size_t *a_of; /* by index in b: index in a, or NOWHERE */
  size_t *b_of; /* by index in a */
  bool *stays;  /* by index in b: in both, and its place among the others that stay is the same */
} matching;

/* Marks a longest run of elements of b whose places in a ascend. */
static weft_err mark_stays(weft_arena *arena, matching *m, size_t count) {
  size_t *tails = weft__arena_zero(arena, count, sizeof *tails); /* by length: its last element */
  size_t *before = weft__arena_zero(arena, count, sizeof *before);
  size_t longest = 0;
  if (!tails || !before) return WEFT_ENOMEM;
  for (size_t i = 0; i < count; i++) {
    if (m->a_of[i] == NOWHERE) continue;
    size_t low = 0, high = longest;
    while (low < high) {
      size_t middle = low + (high - low) / 2;
      if (m->a_of[tails[middle]] < m->a_of[i]) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    before[i] = low > 0 ? tails[low - 1] : NOWHERE;
    tails[low] = i;
    if (low == longest) longest++;
  }
  for (size_t i = longest > 0 ? tails[longest - 1] : NOWHERE; i != NOWHERE; i = before[i]) {
    m->stays[i] = true;
  }
  return WEFT_OK;
}

static weft_err kids_match(weft_arena *arena, kids a, kids b, matching *m) {
  const void **x, **y;
  m->a_of = weft__arena_zero(arena, b.count, sizeof *m->a_of);
  m->b_of = weft__arena_zero(arena, a.count, sizeof *m->b_of);
  m->stays = weft__arena_zero(arena, b.count, sizeof *m->stays);
  if (!m->a_of || !m->b_of || !m->stays) return WEFT_ENOMEM;
  for (size_t i = 0; i < a.count; i++) m->b_of[i] = NOWHERE;
  for (size_t i = 0; i < b.count; i++) m->a_of[i] = NOWHERE;
  WEFT_TRY(kids_by_path(arena, a, &x));
  WEFT_TRY(kids_by_path(arena, b, &y));
  size_t i = 0, k = 0;
  while (i < a.count && k < b.count) {
    const by_path *p = x[i], *q = y[k];
    int order = by_path_cmp(NULL, p, q);
    if (order == 0) {
      m->a_of[q->idx] = p->idx;
      m->b_of[p->idx] = q->idx;
    }
    i += order <= 0;
    k += order >= 0;
  }
  return mark_stays(arena, m, b.count);
}

static weft_err meet_moved(diff_job *job, const diff_task *task, const weft_node *a, size_t a_idx,
                           const weft_node *b, weft_bytes b_at) {
  weft_diff_item item = {.kind = WEFT_DIFF_MOVED, .path = b_at};
  WEFT_TRY(weft__pointer_index(job->out, task->a_at, a_idx, &item.from));
  WEFT_TRY(side_value(job, &job->a, a, &item.before));
  WEFT_TRY(side_value(job, &job->b, b, &item.after));
  WEFT_TRY(patch_add(job, "add", b_at, &item.after));
  return item_add(job, item);
}

static weft_err diff_array(diff_job *job, const diff_task *task, kids a, kids b) {
  matching m;
  weft_bytes a_at, b_at;
  WEFT_TRY(kids_match(&job->arena, a, b, &m));
  for (size_t i = a.count; i > 0; i--) {
    size_t to = m.b_of[i - 1];
    if (to != NOWHERE && m.stays[to]) continue;
    WEFT_TRY(weft__pointer_index(job->out, task->a_at, i - 1, &a_at));
    WEFT_TRY(weft__pointer_index(job->out, task->b_at, i - 1, &b_at));
    if (to == NOWHERE) {
      WEFT_TRY(meet_removed(job, a.at[i - 1], a_at, b_at));
    } else {
      WEFT_TRY(patch_add(job, "remove", b_at, NULL));
    }
  }
  for (size_t i = 0; i < b.count; i++) {
    size_t from = m.a_of[i];
    if (from != NOWHERE && m.stays[i]) continue;
    WEFT_TRY(weft__pointer_index(job->out, task->b_at, i, &b_at));
    if (from == NOWHERE) {
      WEFT_TRY(meet_added(job, b.at[i], b_at));
    } else {
      WEFT_TRY(meet_moved(job, task, a.at[from], from, b.at[i], b_at));
    }
  }
  for (size_t i = 0; i < b.count; i++) {
    if (m.a_of[i] == NOWHERE || !m.stays[i]) continue;
    WEFT_TRY(weft__pointer_index(job->out, task->a_at, m.a_of[i], &a_at));
    WEFT_TRY(weft__pointer_index(job->out, task->b_at, i, &b_at));
    WEFT_TRY(meet_both(job, a.at[m.a_of[i]], b.at[i], a_at, b_at));
  }
  return WEFT_OK;
}

/* Tasks found below a container are done in the order in which they were found. */
static void tasks_turn(diff_job *job, size_t from) {
  for (size_t low = from, high = job->task_count; low + 1 < high; low++, high--) {
    diff_task t = job->tasks[low];
    job->tasks[low] = job->tasks[high - 1];
    job->tasks[high - 1] = t;
  }
}

static weft_err diff_containers(diff_job *job) {
  while (job->task_count > 0) {
    diff_task task = job->tasks[--job->task_count];
    size_t from = job->task_count;
    kids a, b;
    WEFT_TRY(weft__node_children(&job->a.tree, task.a, &job->arena, &a.at, &a.count));
    WEFT_TRY(weft__node_children(&job->b.tree, task.b, &job->arena, &b.at, &b.count));
    if (job->a.tree.nodes[task.a].shape == WEFT_SHAPE_OBJECT) {
      WEFT_TRY(diff_object(job, &task, a, b));
    } else {
      WEFT_TRY(diff_array(job, &task, a, b));
    }
    tasks_turn(job, from);
  }
  return WEFT_OK;
}

static weft_err diff_docs(diff_job *job) {
  weft_path root = {NULL, 0};
  weft_bytes top = weft_bytes_of("", 0);
  WEFT_TRY(weft__tree_build(&job->a.tree, job->a.doc, root, &job->arena));
  WEFT_TRY(weft__tree_build(&job->b.tree, job->b.doc, root, &job->arena));
  const weft_node *a = &job->a.tree.nodes[0], *b = &job->b.tree.nodes[0];
  if (a->shape == WEFT_SHAPE_NONE && b->shape == WEFT_SHAPE_NONE) return WEFT_OK;
  if (a->shape == WEFT_SHAPE_NONE) return meet_added(job, b, top);
  if (b->shape == WEFT_SHAPE_NONE) return meet_removed(job, a, top, top);
  WEFT_TRY(meet_both(job, a, b, top, top));
  return diff_containers(job);
}

/* --- versions --- */

weft_err weft__version_base(weft_replica *r, weft_txn *txn, const weft_vector *v, weft_arena *arena,
                            weft_base *out) {
  if (v) return weft__base_of_vector(r, txn, v, arena, out);
  return weft__base_of_shown(r, txn, r->now.shown, arena, out);
}

weft_err weft__hist_walk(weft_txn *txn, const weft_doc_record *record, weft_hist_fn fn, void *ctx) {
  weft_hist_reader reader;
  weft_hist_entry hist;
  WEFT_TRY(weft__hist_begin(txn, record, &reader));
  weft_err err = weft__hist_next(&reader, &hist);
  for (; err == WEFT_OK; err = weft__hist_next(&reader, &hist)) fn(ctx, &hist);
  weft__hist_end(&reader);
  return weft__walked(err);
}

typedef struct relating {
  weft_base a, b;
  bool only_a, only_b;
} relating;

static void relate(void *ctx, const weft_hist_entry *hist) {
  relating *x = ctx;
  bool in_a = weft__base_has(&x->a, hist->dot), in_b = weft__base_has(&x->b, hist->dot);
  x->only_a = x->only_a || (in_a && !in_b);
  x->only_b = x->only_b || (in_b && !in_a);
}

static weft_order relation_of(const relating *x) {
  if (x->only_a) return x->only_b ? WEFT_ORDER_CONCURRENT : WEFT_ORDER_AFTER;
  return x->only_b ? WEFT_ORDER_BEFORE : WEFT_ORDER_EQUAL;
}

static weft_err diff_load(weft_replica *r, weft_txn *txn, uint32_t number, const weft_vector *v,
                          const weft_base *base, weft_doc **out) {
  return v ? weft__doc_at(r, txn, number, base, out) : weft__doc_load(r, txn, number, out);
}

static weft_err diff_run(weft_replica *r, weft_txn *txn, diff_job *job, weft_bytes doc,
                         const weft_vector *a, const weft_vector *b, weft_doc_diff *out) {
  weft_doc_record record;
  relating x = {.only_a = false};
  weft_doc *a_doc = NULL, *b_doc = NULL;
  WEFT_TRY(weft__version_base(r, txn, a, &job->arena, &x.a));
  WEFT_TRY(weft__version_base(r, txn, b, &job->arena, &x.b));
  WEFT_TRY(weft__doc_record_find(r, txn, doc, &job->arena, &record));
  WEFT_TRY(weft__hist_walk(txn, &record, relate, &x));
  weft_err err = diff_load(r, txn, record.number, a, &x.a, &a_doc);
  if (err == WEFT_OK) err = diff_load(r, txn, record.number, b, &x.b, &b_doc);
  job->a.doc = a_doc;
  job->b.doc = b_doc;
  if (err == WEFT_OK) err = diff_docs(job);
  weft__doc_free(a_doc);
  weft__doc_free(b_doc);
  if (err != WEFT_OK) return err;
  out->relation = relation_of(&x);
  out->items = job->items;
  out->count = job->count;
  out->patch.kind = WEFT_ARRAY;
  out->patch.as.array.at = job->patch;
  out->patch.as.array.count = job->patch_count;
  return WEFT_OK;
}

weft_err weft_replica_diff(weft_replica *r, weft_arena *arena, weft_bytes doc, const weft_vector *a,
                           const weft_vector *b, weft_doc_diff *out) {
  diff_job job = {.out = arena};
  weft_txn *txn;
  memset(out, 0, sizeof *out);
  WEFT_TRY(weft_document_name_check(doc));
  WEFT_TRY(weft__read_begin(r, &txn));
  weft__arena_init(&job.arena, &r->mem);
  weft_err err = diff_run(r, txn, &job, doc, a, b, out);
  weft__arena_free(&job.arena);
  weft__read_end(r, txn);
  return err;
}

weft_err weft__seen_by(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t seq,
                       uint64_t hlc, weft_base *base) {
  for (uint32_t i = 0; i < base->count; i++) {
    uint64_t before;
    WEFT_TRY(weft__log_before(r, txn, r->logs[i], hlc - 1, &before));
    if (i != log->number && before > base->seqs[i]) base->seqs[i] = before;
  }
  WEFT_ASSERT(base->seqs[log->number] == seq);
  return WEFT_OK;
}

/* --- the newest change --- */

static void newer(void *ctx, const weft_hist_entry *hist) {
  weft_newest *n = ctx;
  if (n->base && !weft__base_has(n->base, hist->dot)) return;
  if (n->r->log_count <= hist->dot.log) return;
  const weft_lineage *l = &n->r->lineage;
  bool after = !n->found || hist->hlc > n->at.hlc ||
               (hist->hlc == n->at.hlc && l->rank(l->ctx, hist->dot, n->at.dot) > 0);
  if (after) n->at = *hist;
  n->found = true;
}

weft_err weft__newest_of(weft_replica *r, weft_txn *txn, const weft_doc_record *record,
                         const weft_base *base, weft_newest *out) {
  *out = (weft_newest){.r = r, .base = base};
  return weft__hist_walk(txn, record, newer, out);
}

static weft_err before_last(weft_replica *r, weft_txn *txn, weft_bytes doc, weft_arena *arena,
                            weft_vector *out, weft_id *newest) {
  weft_doc_record record;
  weft_newest last;
  weft_base base;
  weft_id id;
  WEFT_TRY(weft__doc_record_find(r, txn, doc, arena, &record));
  WEFT_TRY(weft__newest_of(r, txn, &record, NULL, &last));
  if (!last.found) return WEFT_ECORRUPT;
  WEFT_TRY(weft__version_base(r, txn, NULL, arena, &base));
  base.seqs[last.at.dot.log] = last.at.dot.seq - 1;
  WEFT_TRY(weft__log_id_at(r, txn, weft__log_of(r, last.at.dot.log), last.at.dot.seq, &id));
  if (newest) *newest = id;
  return weft__vector_of_seqs(r, txn, base.seqs, out);
}

weft_err weft_replica_vector_before_last(weft_replica *r, weft_bytes doc, weft_vector *out,
                                         weft_id *newest) {
  weft_txn *txn;
  weft_arena arena;
  WEFT_TRY(weft_document_name_check(doc));
  WEFT_TRY(weft__read_begin(r, &txn));
  weft__arena_init(&arena, &r->mem);
  weft_err err = before_last(r, txn, doc, &arena, out, newest);
  weft__arena_free(&arena);
  weft__read_end(r, txn);
  if (err != WEFT_OK) weft__vector_clear(out);
  return err;
}

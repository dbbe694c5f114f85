/* Blame: for every visible path the change whose write is shown there.
 *
 * The tree of the document names the sibling; the changes are read in the order of their logs, each
 * once.  Failure modes: a sibling whose change is not held is WEFT_ECORRUPT. */
#include <string.h>

#include "crdt/sort.h"
#include "store/history_internal.h"

typedef struct blamed {
  weft_dot dot;
  size_t idx; /* of its entry */
} blamed;

typedef struct blame_task {
  size_t node;
  weft_bytes at;
} blame_task;

typedef struct blame_job {
  weft_replica *r;
  weft_txn *txn;
  weft_arena *out;
  weft_arena arena;
  weft_tree tree;
  blame_task *tasks; /* a stack */
  size_t task_count, task_cap;
  weft_blame_entry *entries;
  size_t count, cap;
  blamed *dots;
  size_t dot_count, dot_cap;
} blame_job;

static bool is_mark_of(const weft_sibling *s, uint8_t shape) {
  bool object = s->kind == WEFT_OP_MARK_OBJECT || s->kind == WEFT_OP_FRESH_OBJECT;
  bool array = s->kind == WEFT_OP_MARK_ARRAY || s->kind == WEFT_OP_FRESH_ARRAY;
  return shape == WEFT_SHAPE_OBJECT ? object : array;
}

/* The sibling to which the node owes what it shows. */
static const weft_sibling *author_of(const blame_job *job, const weft_node *node) {
  const weft_sibling *best = NULL;
  if (node->shape == WEFT_SHAPE_SCALAR) return node->scalar;
  for (size_t i = 0; node->reg && i < node->reg->value_count; i++) {
    const weft_sibling *s = &node->reg->values[i];
    if (!is_mark_of(s, node->shape)) continue;
    if (!best || weft__sibling_cmp(&job->r->lineage, s, best) > 0) best = s;
  }
  if (best) return best;
  return node->shape == WEFT_SHAPE_OBJECT ? node->object : node->array;
}

static weft_err entry_add(blame_job *job, const weft_node *node, weft_bytes at, bool leaf) {
  const weft_sibling *author = author_of(job, node);
  void *list = job->entries;
  if (!author) return WEFT_ECORRUPT;
  WEFT_TRY(weft__arena_grow(job->out, &list, job->count, &job->cap, job->count + 1,
                            sizeof *job->entries));
  job->entries = list;
  weft_blame_entry *out = &job->entries[job->count];
  memset(out, 0, sizeof *out);
  out->pointer = at;
  out->shape = (weft_shape)node->shape;
  out->leaf = leaf;
  WEFT_TRY(weft__arena_copy(job->out, node->path, &out->path));
  list = job->dots;
  WEFT_TRY(weft__arena_grow(&job->arena, &list, job->dot_count, &job->dot_cap, job->dot_count + 1,
                            sizeof *job->dots));
  job->dots = list;
  job->dots[job->dot_count++] = (blamed){author->dot, job->count++};
  return WEFT_OK;
}

static weft_err task_push(blame_job *job, size_t node, weft_bytes at) {
  void *list = job->tasks;
  WEFT_TRY(weft__arena_grow(&job->arena, &list, job->task_count, &job->task_cap,
                            job->task_count + 1, sizeof *job->tasks));
  job->tasks = list;
  job->tasks[job->task_count++] = (blame_task){node, at};
  return WEFT_OK;
}

static weft_err meet(blame_job *job, blame_task task) {
  const weft_node **kids = NULL;
  size_t count = 0;
  const weft_node *node = &job->tree.nodes[task.node];
  bool container = node->shape != WEFT_SHAPE_SCALAR;
  if (container) {
    WEFT_TRY(weft__node_children(&job->tree, task.node, &job->arena, &kids, &count));
  }
  WEFT_TRY(entry_add(job, node, task.at, count == 0));
  for (size_t i = count; i > 0; i--) {
    weft_bytes at;
    weft_step step = weft__node_step(kids[i - 1]);
    if (step.element) {
      WEFT_TRY(weft__pointer_index(job->out, task.at, i - 1, &at));
    } else {
      WEFT_TRY(weft__pointer_child(job->out, task.at, step.name, &at));
    }
    WEFT_TRY(task_push(job, (size_t)(kids[i - 1] - job->tree.nodes), at));
  }
  return WEFT_OK;
}

static int blamed_cmp(const void *ctx, const void *a, const void *b) {
  (void)ctx;
  const blamed *x = a, *y = b;
  if (x->dot.log != y->dot.log) return x->dot.log < y->dot.log ? -1 : 1;
  return x->dot.seq < y->dot.seq ? -1 : x->dot.seq > y->dot.seq;
}

/* Reads the changes, each once. */
static weft_err changes_read(blame_job *job) {
  const void **order = weft__arena_zero(&job->arena, job->dot_count, sizeof *order);
  const void **scratch = weft__arena_zero(&job->arena, job->dot_count, sizeof *scratch);
  if (!order || !scratch) return WEFT_ENOMEM;
  for (size_t i = 0; i < job->dot_count; i++) order[i] = &job->dots[i];
  weft__sort(order, scratch, job->dot_count, blamed_cmp, NULL);
  const blamed *last = NULL;
  for (size_t i = 0; i < job->dot_count; i++) {
    const blamed *b = order[i];
    weft_history_entry *change = &job->entries[b->idx].change;
    if (last && blamed_cmp(NULL, last, b) == 0) {
      *change = job->entries[last->idx].change;
    } else {
      WEFT_TRY(weft__history_at(job->r, job->txn, b->dot, job->out, change));
    }
    last = b;
  }
  return WEFT_OK;
}

static weft_err blame_doc(blame_job *job, const weft_doc *doc) {
  weft_path root = {NULL, 0};
  WEFT_TRY(weft__tree_build(&job->tree, doc, root, &job->arena));
  if (job->tree.nodes[0].shape == WEFT_SHAPE_NONE) return WEFT_ENOTFOUND;
  WEFT_TRY(task_push(job, 0, weft_bytes_of("", 0)));
  while (job->task_count > 0) {
    blame_task task = job->tasks[--job->task_count];
    WEFT_TRY(meet(job, task));
  }
  return changes_read(job);
}

weft_err weft_replica_blame(weft_replica *r, weft_arena *arena, weft_bytes doc,
                            weft_blame_entry **out, size_t *count) {
  blame_job job = {.r = r, .out = arena};
  weft_doc_record record;
  weft_doc *loaded = NULL;
  *out = NULL;
  *count = 0;
  WEFT_TRY(weft_document_name_check(doc));
  WEFT_TRY(weft__read_begin(r, &job.txn));
  weft__arena_init(&job.arena, &r->mem);
  weft_err err = weft__doc_record_find(r, job.txn, doc, &job.arena, &record);
  if (err == WEFT_OK) err = weft__doc_load(r, job.txn, record.number, &loaded);
  if (err == WEFT_OK) err = blame_doc(&job, loaded);
  weft__doc_free(loaded);
  weft__arena_free(&job.arena);
  weft__read_end(r, job.txn);
  if (err != WEFT_OK) return err;
  *out = job.entries;
  *count = job.count;
  return WEFT_OK;
}

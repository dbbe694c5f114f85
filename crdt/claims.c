/* What a change has to claim.
 *
 * Invariants: claims name other logs only, at most one dot per branch, and none that another claim
 * covers.  Everything a written path covers in the document is claimed, or is earlier in the log
 * that is written.
 * Happy path: the registers at and below each written path are walked once, their dots sorted by
 * branch, the newest of each branch kept.  Failure modes: memory. */
#include <string.h>

#include "crdt/canary.h"
#include "crdt/sort.h"
#include "crdt/write.h"

typedef struct claiming {
  const weft_doc *doc;
  const weft_lineage *lineage;
  const weft_claim_query *query;
  weft_arena *arena;
  weft_dot_list found; /* dots to claim, as met */
  bool own_newer;
} claiming;

static bool in_base(const weft_claim_query *q, weft_dot dot) {
  return !q->in_base || q->in_base(q->ctx, dot);
}

static bool is_own(const claiming *c, weft_dot dot) {
  const weft_claim_query *q = c->query;
  if (q->head.log != UINT32_MAX && c->lineage->precedes(c->lineage->ctx, dot, q->head)) return true;
  return q->is_own && q->is_own(q->ctx, dot);
}

static weft_err list_add(weft_arena *arena, weft_dot_list *list, weft_dot dot) {
  void *at = list->at;
  WEFT_TRY(weft__arena_grow(arena, &at, list->count, &list->cap, list->count + 1, sizeof dot));
  list->at = at;
  list->at[list->count++] = dot;
  return WEFT_OK;
}

/* Takes note of one sibling at or below a written path. */
static weft_err meet(claiming *c, weft_dot dot) {
  const weft_claim_query *q = c->query;
  if (!in_base(q, dot)) {
    c->own_newer = c->own_newer || is_own(c, dot);
    return WEFT_OK;
  }
  if (q->head.log != UINT32_MAX && c->lineage->precedes(c->lineage->ctx, dot, q->head)) {
    return WEFT_OK;
  }
  if (c->found.count > 0) { /* neighbours mostly come from one change */
    weft_dot last = c->found.at[c->found.count - 1];
    if (last.log == dot.log && last.seq >= dot.seq) return WEFT_OK;
  }
  return list_add(c->arena, &c->found, dot);
}

static weft_err meet_all(claiming *c, const weft_sibling *list, size_t count) {
  for (size_t i = 0; i < count; i++) WEFT_TRY(meet(c, list[i].dot));
  return WEFT_OK;
}

/* An own sibling above a written path that the base does not have: the path may have gone, or begun
 * anew, since. */
static void look_above(claiming *c, weft_path path) {
  size_t at = 0;
  weft_step step;
  for (size_t len = 0; weft_path_next(path, &at, &step); len = at) {
    const weft_register *reg = weft__doc_find(c->doc, weft_bytes_of(path.at, len));
    for (size_t i = 0; reg && i < reg->value_count; i++) {
      weft_dot dot = reg->values[i].dot;
      if (!in_base(c->query, dot) && is_own(c, dot)) c->own_newer = true;
    }
  }
}

static weft_err meet_op(claiming *c, const weft_op *op) {
  bool values = op->kind != WEFT_OP_POSITION;
  for (const weft_register *reg = weft__doc_seek(c->doc, op->path); reg;
       reg = weft__doc_next(c->doc, reg)) {
    bool here = weft_bytes_cmp(reg->path, op->path) == 0;
    if (!here && !weft_path_under(op->path, reg->path)) break;
    if (values) WEFT_TRY(meet_all(c, reg->values, reg->value_count));
    bool positions = weft__op_is_fresh(op->kind) || (here && op->position.len > 0);
    if (positions) WEFT_TRY(meet_all(c, reg->positions, reg->position_count));
    if (!values) break;
  }
  if (c->query->in_base) look_above(c, op->path);
  return WEFT_OK;
}

static int dot_cmp(const void *ctx, const void *left, const void *right) {
  (void)ctx;
  const weft_dot *a = left, *b = right;
  if (a->log != b->log) return a->log < b->log ? -1 : 1;
  return a->seq < b->seq ? -1 : a->seq > b->seq;
}

/* Leaves the newest dot of each branch, in order of the branch's number. */
static weft_err newest_per_branch(claiming *c) {
  weft_dot_list *found = &c->found;
  const void **order = weft__arena_zero(c->arena, found->count, 2 * sizeof *order);
  weft_dot *newest = weft__arena_zero(c->arena, found->count, sizeof *newest);
  if (!order || !newest) return WEFT_ENOMEM;
  for (size_t i = 0; i < found->count; i++) order[i] = &found->at[i];
  weft__sort(order, order + found->count, found->count, dot_cmp, NULL);
  size_t count = 0;
  for (size_t i = 0; i < found->count; i++) {
    const weft_dot *dot = order[i];
    if (count > 0 && newest[count - 1].log == dot->log) count--;
    newest[count++] = *dot;
  }
  found->at = newest;
  found->count = count;
  if (WEFT_CANARY(CLAIM_FORGET) && count > 1) found->count--;
  return WEFT_OK;
}

/* A dot to claim, and the log that its branch belongs to. */
typedef struct kin {
  weft_dot dot;
  uint32_t family;
} kin;

static int kin_cmp(const void *ctx, const void *left, const void *right) {
  const kin *a = left, *b = right;
  if (a->family != b->family) return a->family < b->family ? -1 : 1;
  return dot_cmp(ctx, &a->dot, &b->dot);
}

/* Branches of one log may share a beginning, so that one dot lies below another's. */
static bool covered_by_kin(const claiming *c, const void *const *list, size_t count, size_t i) {
  const kin *own = list[i];
  for (size_t k = 0; k < count; k++) {
    const kin *other = list[k];
    if (k != i && c->lineage->precedes(c->lineage->ctx, own->dot, other->dot)) return true;
  }
  return false;
}

/* Keeps what no other one covers, looking only where a log has several branches. */
static weft_err uncovered(claiming *c, weft_dot_list *kept) {
  size_t count = c->found.count, used = 0;
  const weft_claim_query *q = c->query;
  kin *all = weft__arena_zero(c->arena, count, sizeof *all);
  const void **list = weft__arena_zero(c->arena, count, 2 * sizeof *list);
  const void **left = weft__arena_zero(c->arena, count, 2 * sizeof *left);
  if (!all || !list || !left) return WEFT_ENOMEM;
  for (size_t i = 0; i < count; i++) {
    uint32_t family = q->family ? q->family(q->ctx, c->found.at[i].log) : 0;
    all[i] = (kin){c->found.at[i], family};
    list[i] = &all[i];
  }
  weft__sort(list, list + count, count, kin_cmp, NULL);
  for (size_t from = 0, to; from < count; from = to) {
    for (to = from + 1; to < count; to++) {
      if (((const kin *)list[to])->family != ((const kin *)list[from])->family) break;
    }
    for (size_t i = from; i < to; i++) {
      if (!covered_by_kin(c, list + from, to - from, i - from)) {
        left[used++] = &((const kin *)list[i])->dot;
      }
    }
  }
  weft__sort(left, left + count, used, dot_cmp, NULL);
  for (size_t i = 0; i < used; i++) {
    WEFT_TRY(list_add(c->arena, kept, *(const weft_dot *)left[i]));
  }
  return WEFT_OK;
}

weft_err weft__doc_claims(const weft_doc *doc, const weft_lineage *lineage, const weft_op *ops,
                          size_t count, const weft_claim_query *query, weft_arena *arena,
                          weft_dot_list *claims, bool *own_newer) {
  claiming c = {.doc = doc, .lineage = lineage, .query = query, .arena = arena};
  for (size_t i = 0; i < claims->count; i++) WEFT_TRY(list_add(arena, &c.found, claims->at[i]));
  for (size_t i = 0; i < count; i++) WEFT_TRY(meet_op(&c, &ops[i]));
  WEFT_TRY(newest_per_branch(&c));
  weft_dot_list kept = {NULL, 0, 0};
  WEFT_TRY(uncovered(&c, &kept));
  *claims = kept;
  if (c.own_newer) *own_newer = true;
  return WEFT_OK;
}

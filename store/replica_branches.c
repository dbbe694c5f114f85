/* Branches: a log that its device signed twice at one seq goes on in several ways.
 *
 * Each branch has a local number and its own changes; what lies before them belongs to the branches
 * it left, so every change has one owner and one dot.  Which branch left which is an accident of
 * arrival and stays within the store: everything shown depends on the chains alone.
 *
 * Claims find their branch by tag.  A claim without one stands on the chain of the tagged claim
 * before it under the same number; those are looked for once per log, and only where a log they
 * name has forked.  Of two branches the one with the smaller id where they part comes first.
 *
 * Failure modes: bytes that cannot be what was stored are WEFT_ECORRUPT. */
#include <string.h>

#include "crdt/assert.h"
#include "crdt/sort.h"
#include "store/outcome.h"
#include "store/replica_internal.h"

bool weft__log_is_forked(const weft_replica *r, const weft_log *log) {
  return weft__log_find(r, &log->id)->sibling != NULL;
}

weft_log *weft__log_owner(const weft_replica *r, const weft_log *log, uint64_t seq) {
  uint32_t number = log->number;
  while (seq < r->logs[number]->fork && r->logs[number]->parent != WEFT_LOG_NONE) {
    number = r->logs[number]->parent;
  }
  return r->logs[number];
}

uint64_t weft__log_reach(const weft_log *first) {
  uint64_t reach = 0;
  for (; first; first = first->sibling) {
    if (first->held > reach) reach = first->held;
  }
  return reach;
}

/* --- the order of branches --- */

/* Whether `up` is `log` or a branch it left, directly or not; `below` gets the last one before
 * `up`, NULL when that is `log`. */
static bool is_left(const weft_replica *r, const weft_log *log, const weft_log *up,
                    const weft_log **below) {
  *below = NULL;
  while (log != up && log->parent != WEFT_LOG_NONE) {
    *below = log;
    log = r->logs[log->parent];
  }
  return log == up;
}

static const weft_log *root_of(const weft_replica *r, const weft_log *log) {
  while (log->parent != WEFT_LOG_NONE) log = r->logs[log->parent];
  return log;
}

int weft__branch_cmp(const weft_replica *r, uint32_t a, uint32_t b) {
  const weft_log *x = r->logs[a];
  const weft_log *y = r->logs[b];
  const weft_log *below_x;
  const weft_log *below_y;
  const weft_log *common = y;
  if (a == b) return 0;
  while (!is_left(r, x, common, &below_x)) {
    if (common->parent == WEFT_LOG_NONE) {
      return weft_id_cmp(&root_of(r, x)->first_id, &root_of(r, y)->first_id);
    }
    common = r->logs[common->parent];
  }
  (void)is_left(r, y, common, &below_y);
  if (!below_x || (below_y && below_y->fork < below_x->fork)) {
    return weft_id_cmp(&below_y->beside, &below_y->first_id);
  }
  bool together = below_y && below_y->fork == below_x->fork;
  return weft_id_cmp(&below_x->first_id, together ? &below_y->first_id : &below_x->beside);
}

bool weft__dot_precedes(const void *ctx, weft_dot a, weft_dot b) {
  const weft_replica *r = ctx;
  while (b.log != a.log) {
    if (b.log >= r->log_count || r->logs[b.log]->parent == WEFT_LOG_NONE) return false;
    uint64_t before = r->logs[b.log]->fork - 1;
    if (b.seq > before) b.seq = before;
    b.log = r->logs[b.log]->parent;
  }
  return a.seq <= b.seq;
}

int weft__dot_rank(const void *ctx, weft_dot a, weft_dot b) {
  const weft_replica *r = ctx;
  bool known = a.log < r->log_count && b.log < r->log_count;
  if (!known) return 0;
  int order = weft_id_cmp(&r->logs[a.log]->id, &r->logs[b.log]->id);
  if (order != 0) return order;
  if (a.seq != b.seq) return a.seq < b.seq ? -1 : 1;
  return weft__branch_cmp(r, a.log, b.log);
}

/* --- vectors --- */

void weft__seqs_none(const weft_replica *r, uint64_t *seqs) {
  for (uint32_t i = 0; i < r->log_count; i++) seqs[i] = r->logs[i]->fork - 1;
}

void weft__seqs_raise(const weft_replica *r, uint64_t *seqs, weft_dot dot) {
  for (;;) {
    const weft_log *log = r->logs[dot.log];
    if (dot.seq > seqs[dot.log]) seqs[dot.log] = dot.seq;
    if (log->parent == WEFT_LOG_NONE) return;
    dot = (weft_dot){log->parent, log->fork - 1};
  }
}

/* How far a branch has come. */
typedef struct tip_view {
  weft_tip tip;
  const uint64_t *seqs; /* instead, when there */
} tip_view;

static uint64_t tip_of(const tip_view *v, const weft_log *log) {
  if (v->seqs) return v->seqs[log->number];
  switch (v->tip) {
  case WEFT_TIP_HELD: break;
  case WEFT_TIP_SHOWN: return log->shown;
  case WEFT_TIP_READY: return log->flow[WEFT_FLOW_READY].at;
  }
  return log->held;
}

static weft_id tip_id(weft_tip tip, const weft_log *log) {
  switch (tip) {
  case WEFT_TIP_HELD: break;
  case WEFT_TIP_SHOWN: return log->shown_id;
  case WEFT_TIP_READY: return log->ready_id;
  }
  return log->head;
}

/* True when a branch that reaches changes of its own continues this one. */
static bool is_passed(const weft_replica *r, const weft_log *log, const tip_view *v) {
  weft_dot here = {log->number, tip_of(v, log)};
  for (const weft_log *b = weft__log_find(r, &log->id); b; b = b->sibling) {
    bool reaches = b != log && tip_of(v, b) >= b->fork;
    if (reaches && weft__dot_precedes(r, here, (weft_dot){b->number, b->fork})) return true;
  }
  return false;
}

static size_t branch_count(const weft_log *first) {
  size_t count = 0;
  for (; first; first = first->sibling) count++;
  return count;
}

weft_err weft__heads_tell(const weft_replica *r, const weft_log *log, weft_tip tip,
                          weft_arena *arena, weft_vector *out) {
  const weft_log *first = weft__log_find(r, &log->id);
  tip_view v = {tip, NULL};
  size_t count = 0;
  weft_head *heads = weft__arena_zero(arena, branch_count(first), sizeof *heads);
  if (!heads) return WEFT_ENOMEM;
  for (const weft_log *b = first; b; b = b->sibling) {
    uint64_t seq = tip_of(&v, b);
    if (seq < b->fork || is_passed(r, b, &v)) continue;
    heads[count++] = (weft_head){b->id, seq, tip_id(tip, b)};
  }
  return weft__vector_set(out, &log->id, heads, count);
}

weft_err weft__vector_of_seqs(weft_replica *r, weft_txn *txn, const uint64_t *seqs,
                              weft_vector *out) {
  weft_arena arena;
  weft_err err = WEFT_OK;
  weft__arena_init(&arena, &r->mem);
  weft__vector_clear(out);
  for (uint32_t i = 0; i < r->log_count && err == WEFT_OK; i++) {
    weft_log *first = r->logs[i];
    tip_view v = {.seqs = seqs};
    size_t count = 0;
    if (weft__log_find(r, &first->id) != first) continue;
    weft_head *heads = weft__arena_zero(&arena, branch_count(first), sizeof *heads);
    if (!heads) err = WEFT_ENOMEM;
    for (weft_log *b = first; b && err == WEFT_OK; b = b->sibling) {
      uint64_t seq = seqs[b->number];
      if (seq < b->fork || is_passed(r, b, &v)) continue;
      heads[count] = (weft_head){b->id, seq, {{0}}};
      err = weft__log_id_at(r, txn, b, seq, &heads[count++].id);
    }
    if (err == WEFT_OK) err = weft__vector_set(out, &first->id, heads, count);
    weft__arena_reset(&arena);
  }
  weft__arena_free(&arena);
  return err;
}

/* --- finding changes --- */

weft_err weft__change_at(weft_replica *r, weft_txn *txn, const weft_id *log_id, uint64_t seq,
                         const weft_id *id, weft_log **out) {
  for (weft_log *b = weft__log_find(r, log_id); b; b = b->sibling) {
    weft_id found;
    if (seq < b->fork || seq > b->held) continue;
    WEFT_TRY(weft__log_id_at(r, txn, b, seq, &found));
    *out = b;
    if (weft_id_cmp(&found, id) == 0) return WEFT_OK;
  }
  return WEFT_ENOTFOUND;
}

weft_err weft_replica_find(weft_replica *r, const weft_id *log, uint64_t seq, const weft_id *id,
                           weft_span *out) {
  weft_txn *txn;
  weft_log *found = NULL;
  WEFT_TRY(weft__read_begin(r, &txn));
  weft_err err = weft__change_at(r, txn, log, seq, id, &found);
  weft__read_end(r, txn);
  if (err == WEFT_OK) *out = (weft_span){*log, found->number, found->fork, found->held};
  return err;
}

/* --- a new branch --- */

weft_err weft__log_context_at(weft_replica *r, weft_txn *txn, weft_log *log, uint64_t seq,
                              weft_arena *arena, weft_log_context *ctx) {
  weft_arena one;
  weft_err err = WEFT_OK;
  weft__arena_init(&one, &r->mem);
  memset(ctx, 0, sizeof *ctx);
  while (ctx->seq < seq && err == WEFT_OK) {
    weft_log_item item;
    weft_change change;
    weft__arena_reset(&one);
    err = weft__log_read(r, txn, log, ctx->seq + 1, &one, &item);
    if (err == WEFT_OK) err = weft__change_parse(&one, item.raw, &change);
    if (err != WEFT_OK) break;
    weft__change_judge(ctx, &change);
    err = weft__log_context_advance(ctx, arena, &change);
  }
  weft__arena_free(&one);
  return err;
}

/* --- claims --- */

static weft_err anchors_add(weft_replica *r, weft_log *log, const weft_change *change) {
  for (size_t i = 0; i < change->claim_count; i++) {
    const weft_claim *claim = &change->claims[i];
    void *at = log->anchors;
    if (!claim->has_tag) continue;
    WEFT_TRY(weft__arena_grow(&r->tables, &at, log->anchor_count, &log->anchor_cap,
                              log->anchor_count + 1, sizeof *log->anchors));
    log->anchors = at;
    weft_anchor *a = &log->anchors[log->anchor_count++];
    *a = (weft_anchor){.at = log->anchored + 1, .seq = claim->seq, .number = claim->number};
    memcpy(a->tag, claim->tag, sizeof a->tag);
  }
  return WEFT_OK;
}

static weft_err anchors_fill(weft_replica *r, weft_txn *txn, weft_log *log) {
  weft_arena one;
  weft_err err = WEFT_OK;
  if (log->anchored < log->fork - 1) log->anchored = log->fork - 1;
  if (log->anchored == log->held) return WEFT_OK;
  weft__arena_init(&one, &r->mem);
  while (log->anchored < log->held && err == WEFT_OK) {
    weft_change change;
    weft_id id;
    weft__arena_reset(&one);
    err = weft__log_change(r, txn, log, log->anchored + 1, &one, &change, &id);
    if (err == WEFT_OK) err = anchors_add(r, log, &change);
    if (err == WEFT_OK) log->anchored++;
  }
  weft__arena_free(&one);
  return err;
}

/* Finds the last tagged claim under `number` before change `at`. */
static weft_err anchor_find(weft_replica *r, weft_txn *txn, weft_log *log, uint64_t at,
                            uint32_t number, weft_anchor *out) {
  for (;;) {
    WEFT_TRY(anchors_fill(r, txn, log));
    for (size_t i = log->anchor_count; i > 0; i--) {
      const weft_anchor *a = &log->anchors[i - 1];
      if (a->at >= at || a->number != number) continue;
      *out = *a;
      return WEFT_OK;
    }
    if (log->parent == WEFT_LOG_NONE) return WEFT_ENOTFOUND;
    if (at > log->fork) at = log->fork;
    log = weft__log_of(r, log->parent);
  }
}

/* Of the changes at `seq` of a log, the one with the smallest id that begins with the tag. */
static weft_err tag_find(weft_replica *r, weft_txn *txn, weft_log *first, uint64_t seq,
                         const uint8_t *tag, weft_dot *out) {
  weft_id best;
  bool found = false;
  for (weft_log *b = first; b; b = b->sibling) {
    weft_id id;
    if (seq < b->fork || seq > b->held) continue;
    WEFT_TRY(weft__log_id_at(r, txn, b, seq, &id));
    if (memcmp(id.b, tag, WEFT_CLAIM_TAG_LEN) != 0) continue;
    if (found && weft_id_cmp(&best, &id) < 0) continue;
    *out = (weft_dot){b->number, seq};
    best = id;
    found = true;
  }
  return found ? WEFT_OK : WEFT_ENOTFOUND;
}

weft_err weft__claim_dot(weft_replica *r, weft_txn *txn, weft_log *log, uint64_t at,
                         const weft_claim *claim, bool check, weft_dot *out) {
  weft_log *first = weft__log_find(r, &claim->log);
  weft_anchor anchor;
  if (!first) return WEFT_ENOTFOUND;
  if (claim->has_tag && (check || first->sibling)) {
    return tag_find(r, txn, first, claim->seq, claim->tag, out);
  }
  *out = (weft_dot){first->number, claim->seq};
  if (!first->sibling) return claim->seq <= first->held ? WEFT_OK : WEFT_ENOTFOUND;
  WEFT_TRY(anchor_find(r, txn, log, at, claim->number, &anchor));
  WEFT_TRY(tag_find(r, txn, first, anchor.seq, anchor.tag, out));
  out->log = weft__log_owner(r, weft__log_of(r, out->log), claim->seq)->number;
  out->seq = claim->seq;
  return WEFT_OK;
}

weft_err weft__claim_dots(weft_replica *r, weft_txn *txn, weft_log *log, uint64_t at,
                          const weft_change *change, weft_arena *arena, weft_dot **out) {
  weft_dot *dots = weft__arena_zero(arena, change->claim_count, sizeof *dots);
  if (!dots) return WEFT_ENOMEM;
  for (size_t i = 0; i < change->claim_count; i++) {
    weft_err err = weft__claim_dot(r, txn, log, at, &change->claims[i], false, &dots[i]);
    WEFT_TRY(weft__promised(err));
  }
  *out = dots;
  return WEFT_OK;
}

weft_err weft__claim_number(weft_replica *r, weft_txn *txn, weft_log *log, weft_dot dot,
                            const bool *used, uint32_t *out) {
  weft_log *first = weft__log_find(r, &weft__log_of(r, dot.log)->id);
  const weft_log_context *ctx = &log->ctx;
  *out = UINT32_MAX;
  for (size_t i = 0; i < ctx->number_count; i++) {
    weft_anchor anchor;
    weft_dot last;
    if (used[i] || weft_id_cmp(&ctx->numbers[i].log, &first->id) != 0) continue;
    *out = (uint32_t)i;
    if (!first->sibling) return WEFT_OK;
    WEFT_TRY(anchor_find(r, txn, log, log->held + 1, (uint32_t)i, &anchor));
    WEFT_TRY(tag_find(r, txn, first, anchor.seq, anchor.tag, &last));
    if (weft__dot_precedes(r, dot, last) || weft__dot_precedes(r, last, dot)) return WEFT_OK;
    *out = UINT32_MAX;
  }
  return WEFT_OK;
}

weft_err weft__tags_meet(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t from,
                         bool *meet) {
  const weft_log *first = weft__log_find(r, &log->id);
  *meet = false;
  for (uint64_t seq = from; first->sibling && seq <= log->held && !*meet; seq++) {
    weft_id id, other;
    WEFT_TRY(weft__log_id_at(r, txn, log, seq, &id));
    for (const weft_log *b = first; b && !*meet; b = b->sibling) {
      if (b == log || seq < b->fork || seq > b->held) continue;
      WEFT_TRY(weft__log_id_at(r, txn, b, seq, &other));
      *meet = memcmp(id.b, other.b, WEFT_CLAIM_TAG_LEN) == 0;
    }
  }
  return WEFT_OK;
}

/* --- for people --- */

static int fork_cmp(const void *ctx, const void *a, const void *b) {
  const weft_fork *x = a;
  const weft_fork *y = b;
  (void)ctx;
  int order = weft_id_cmp(&x->log, &y->log);
  if (order != 0) return order;
  if (x->seq != y->seq) return x->seq < y->seq ? -1 : 1;
  return weft_id_cmp(&x->ids[0], &y->ids[0]);
}

/* True when `b` parts from the others where `log` does. */
static bool parts_there(const weft_log *b, const weft_log *log) {
  return b->fork == log->fork && weft_id_cmp(&b->before, &log->before) == 0;
}

static void id_insert(weft_fork *f, const weft_id *id) {
  size_t at = f->id_count++;
  for (; at > 0 && weft_id_cmp(&f->ids[at - 1], id) > 0; at--) f->ids[at] = f->ids[at - 1];
  f->ids[at] = *id;
}

/* Tells of the fork at which `log` leaves, unless a branch before it told of it already. */
static weft_err fork_make(const weft_log *first, const weft_log *log, weft_arena *arena,
                          weft_fork *out, bool *told) {
  size_t count = 1;
  *told = true;
  for (const weft_log *b = first; b != log; b = b->sibling) {
    bool branch = log->parent != WEFT_LOG_NONE || b != first;
    if (branch && parts_there(b, log)) return WEFT_OK;
  }
  *told = false;
  for (const weft_log *b = log; b; b = b->sibling) count += parts_there(b, log);
  *out = (weft_fork){.log = log->id, .device = log->device, .seq = log->fork};
  out->ids = weft__arena_zero(arena, count, sizeof *out->ids);
  if (!out->ids) return WEFT_ENOMEM;
  id_insert(out, log->parent == WEFT_LOG_NONE ? &first->first_id : &log->beside);
  for (const weft_log *b = log; b; b = b->sibling) {
    if (parts_there(b, log)) id_insert(out, &b->first_id);
  }
  return WEFT_OK;
}

weft_err weft_replica_forks(weft_replica *r, weft_arena *arena, weft_fork **out, size_t *count) {
  *count = 0;
  if (r->stale) WEFT_TRY(weft__reload(r));
  weft_fork *list = weft__arena_zero(arena, r->log_count, sizeof *list);
  const void **order = weft__arena_zero(arena, r->log_count, sizeof *order);
  const void **scratch = weft__arena_zero(arena, r->log_count, sizeof *scratch);
  weft_fork *sorted = weft__arena_zero(arena, r->log_count, sizeof *sorted);
  if (!list || !order || !scratch || !sorted) return WEFT_ENOMEM;
  for (uint32_t i = 0; i < r->log_count; i++) {
    const weft_log *first = weft__log_find(r, &r->logs[i]->id);
    bool told = true;
    if (first == r->logs[i]) continue;
    WEFT_TRY(fork_make(first, r->logs[i], arena, &list[*count], &told));
    order[*count] = &list[*count];
    *count += !told;
  }
  weft__sort(order, scratch, *count, fork_cmp, NULL);
  for (size_t i = 0; i < *count; i++) sorted[i] = *(const weft_fork *)order[i];
  *out = sorted;
  return WEFT_OK;
}

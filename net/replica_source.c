/* The questions of a node, asked of a replica.
 *
 * Who writes a log is not a question the replica answers, so it is read from the log's START once
 * and remembered: a log never changes hands. */
#include "net/replica_source.h"

#include <string.h>

#include "crdt/chunk.h"

typedef struct log_author {
  weft_id log, device;
} log_author;

struct weft_replica_source {
  weft_alloc mem;
  weft_replica *replica;
  log_author *authors; /* ascending by log */
  size_t author_count, author_cap;
  weft_err last_hold;
};

weft_err weft__replica_source_new(weft_replica_source **out, const weft_alloc *mem,
                                  weft_replica *replica) {
  weft_replica_source *s = mem->alloc(mem->ctx, sizeof *s);
  *out = NULL;
  if (!s) return WEFT_ENOMEM;
  memset(s, 0, sizeof *s);
  s->mem = *mem;
  s->replica = replica;
  *out = s;
  return WEFT_OK;
}

void weft__replica_source_free(weft_replica_source *s) {
  if (!s) return;
  weft_alloc mem = s->mem;
  mem.free(mem.ctx, s->authors);
  mem.free(mem.ctx, s);
}

static weft_replica *replica_of(void *ctx) {
  weft_replica_source *s = ctx;
  return s->replica;
}

static const weft_vector *source_held(void *ctx) { return weft_replica_held(replica_of(ctx)); }

static const weft_vector *source_shown(void *ctx) { return weft_replica_shown(replica_of(ctx)); }

static const weft_vector *source_showable(void *ctx) {
  return weft_replica_showable(replica_of(ctx));
}

static const weft_roster *source_roster(void *ctx) { return weft_replica_roster(replica_of(ctx)); }

static uint64_t source_instance(void *ctx) { return weft_replica_instance(replica_of(ctx)); }

static uint64_t source_arrival(void *ctx) { return weft_replica_arrival(replica_of(ctx)); }

static uint32_t source_apply_level(void *ctx) { return weft_replica_apply_level(replica_of(ctx)); }

static uint64_t source_clock(void *ctx) { return weft_replica_clock(replica_of(ctx)); }

static void source_digest(void *ctx, uint8_t out[16]) {
  weft_digest d = weft_replica_digest(replica_of(ctx));
  for (unsigned i = 0; i < 8; i++) {
    out[i] = (uint8_t)(d.high >> (56 - 8 * i));
    out[8 + i] = (uint8_t)(d.low >> (56 - 8 * i));
  }
}

/* `count` goes back to 0 when there is no memory: who asks looks at nothing else. */
static weft_err spans_copy(weft_arena *arena, const weft_span *spans, weft_source_span **out,
                           size_t *count) {
  weft_source_span *list = weft__arena_zero(arena, *count, sizeof *list);
  if (!list) {
    *count = 0;
    return WEFT_ENOMEM;
  }
  for (size_t i = 0; i < *count; i++) {
    list[i] = (weft_source_span){spans[i].log, spans[i].branch, spans[i].from, spans[i].to};
  }
  *out = list;
  return WEFT_OK;
}

static weft_err source_missing(void *ctx, weft_arena *arena, const weft_vector *theirs, size_t max,
                               weft_source_span **out, size_t *count) {
  weft_span *spans;
  WEFT_TRY(weft_replica_missing(replica_of(ctx), arena, theirs, max, &spans, count));
  return spans_copy(arena, spans, out, count);
}

static weft_err source_arrivals(void *ctx, weft_arena *arena, uint64_t arrival, size_t max,
                                weft_source_span **out, size_t *count, uint64_t *last) {
  weft_span *spans;
  WEFT_TRY(weft_replica_arrivals(replica_of(ctx), arena, arrival, max, &spans, count, last));
  return spans_copy(arena, spans, out, count);
}

static weft_err source_read_chunk(void *ctx, const weft_id *log, uint32_t branch, uint64_t from,
                                  uint64_t to, weft_buf *out, uint64_t *last) {
  return weft_replica_read_chunk(replica_of(ctx), log, branch, from, to, out, last);
}

static weft_err source_pack(void *ctx, weft_arena *arena, weft_bytes *chunks, size_t *count) {
  return weft_replica_pack_chunks(replica_of(ctx), arena, chunks, count);
}

static weft_err source_id_at(void *ctx, const weft_id *log, uint32_t branch, uint64_t seq,
                             weft_id *out) {
  return weft_replica_id_at(replica_of(ctx), log, branch, seq, out);
}

static weft_err source_find(void *ctx, const weft_id *log, uint64_t seq, const weft_id *id,
                            weft_source_span *out) {
  weft_span span;
  WEFT_TRY(weft_replica_find(replica_of(ctx), log, seq, id, &span));
  *out = (weft_source_span){span.log, span.branch, span.from, span.to};
  return WEFT_OK;
}

static weft_err source_acks(void *ctx, weft_arena *arena, weft_bytes **acks, size_t *count) {
  return weft_replica_acks(replica_of(ctx), arena, acks, count);
}

/* --- authors --- */

static weft_err author_read(weft_replica_source *s, const weft_id *log, weft_id *out) {
  weft_buf chunk;
  weft_arena arena;
  weft_run *runs;
  size_t run_count;
  uint64_t last;
  weft_change start;
  weft__buf_init(&chunk, &s->mem, SIZE_MAX);
  weft__arena_init(&arena, &s->mem);
  weft_err err = weft_replica_read_chunk(s->replica, log, WEFT_BRANCH_ANY, 1, 1, &chunk, &last);
  if (err == WEFT_OK) {
    err = weft__chunk_decode(&arena, weft__buf_view(&chunk), &runs, &run_count);
  }
  if (err == WEFT_OK) err = weft__change_parse(&arena, runs[0].changes[0], &start);
  if (err == WEFT_OK) *out = start.start.device;
  weft__arena_free(&arena);
  weft__buf_free(&chunk);
  return err;
}

static weft_err authors_grow(weft_replica_source *s) {
  if (s->author_count < s->author_cap) return WEFT_OK;
  size_t cap = s->author_cap ? s->author_cap * 2 : 16;
  void *at = s->mem.grow(s->mem.ctx, s->authors, cap * sizeof *s->authors);
  if (!at) return WEFT_ENOMEM;
  s->authors = at;
  s->author_cap = cap;
  return WEFT_OK;
}

static weft_err source_author(void *ctx, const weft_id *log, weft_id *out) {
  weft_replica_source *s = ctx;
  size_t low = 0, high = s->author_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (weft_id_cmp(&s->authors[middle].log, log) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  bool found = low < s->author_count && weft_id_cmp(&s->authors[low].log, log) == 0;
  if (!found) {
    weft_id device;
    WEFT_TRY(author_read(s, log, &device));
    WEFT_TRY(authors_grow(s));
    memmove(s->authors + low + 1, s->authors + low, (s->author_count - low) * sizeof *s->authors);
    s->authors[low] = (log_author){*log, device};
    s->author_count++;
  }
  *out = s->authors[low].device;
  return WEFT_OK;
}

static uint8_t source_lane(void *ctx, const weft_id *log) {
  return (uint8_t)weft_replica_lane(replica_of(ctx), log);
}

void weft__replica_source_fill(weft_replica_source *s, weft_source *out) {
  *out = (weft_source){
      .ctx = s,
      .held = source_held,
      .shown = source_shown,
      .showable = source_showable,
      .roster = source_roster,
      .instance = source_instance,
      .arrival = source_arrival,
      .apply_level = source_apply_level,
      .digest = source_digest,
      .clock = source_clock,
      .missing = source_missing,
      .arrivals = source_arrivals,
      .read_chunk = source_read_chunk,
      .pack = source_pack,
      .id_at = source_id_at,
      .find = source_find,
      .author = source_author,
      .lane = source_lane,
      .acks = source_acks,
  };
}

/* --- carrying out --- */

void weft__replica_hold(weft_replica_source *s, weft_arena *arena, const weft_bytes *chunks,
                        size_t count, weft_hold_result *out) {
  weft_hold_report report;
  memset(out, 0, sizeof *out);
  out->err = weft_replica_hold(s->replica, arena, chunks, count, &report);
  s->last_hold = out->err;
  if (out->err != WEFT_OK) return;
  out->verdicts = weft__arena_zero(arena, report.run_count, sizeof *out->verdicts);
  if (!out->verdicts) {
    out->err = WEFT_ENOMEM; /* it is held; the node finds out by what it asks for again */
    return;
  }
  out->count = report.run_count;
  for (size_t i = 0; i < report.run_count; i++) {
    const weft_held_run *r = &report.runs[i];
    weft_node_verdict *v = &out->verdicts[i];
    v->log = r->log;
    v->first = r->first;
    v->last = r->last;
    v->want = r->want;
    v->branch = r->branch;
    v->id = r->id;
    switch (r->verdict) {
    case WEFT_HOLD_TAKEN: v->verdict = WEFT_RUN_TAKEN; break;
    case WEFT_HOLD_KNOWN: v->verdict = WEFT_RUN_KNOWN; break;
    case WEFT_HOLD_GAP: v->verdict = WEFT_RUN_GAP; break;
    case WEFT_HOLD_UNKNOWN: v->verdict = WEFT_RUN_UNKNOWN; break;
    case WEFT_HOLD_BRANCH: v->verdict = WEFT_RUN_BRANCH; break;
    case WEFT_HOLD_FULL: v->verdict = WEFT_RUN_FULL; break;
    }
  }
}

weft_err weft__replica_last_hold(const weft_replica_source *s) { return s->last_hold; }

static void hold_now(weft_replica_source *s, const weft_node_action *action, weft_node *node,
                     weft_ms now) {
  weft_arena arena;
  weft_hold_result result;
  weft__arena_init(&arena, &s->mem);
  weft__replica_hold(s, &arena, action->chunks, action->chunk_count, &result);
  weft_node_held(node, now, action->ticket, result.err, result.verdicts, result.count);
  weft__arena_free(&arena);
}

bool weft__replica_carry_out(weft_replica_source *s, const weft_node_action *action,
                             weft_node *node, weft_ms now) {
  switch (action->kind) {
  case WEFT_NODE_HOLD: hold_now(s, action, node, now); return true;
  case WEFT_NODE_RECORD:
    weft_node_recorded(node, now, action->ticket,
                       weft_replica_add_record(s->replica, action->data));
    return true;
  case WEFT_NODE_ACK:
    /* What is lost here is told again by its device. */
    (void)!weft_replica_put_ack(s->replica, &action->device, action->data);
    return true;
  case WEFT_NODE_ADDRESS:
    (void)!weft_replica_put_address(s->replica, action->text, &action->device);
    return true;
  case WEFT_NODE_DIAL:
  case WEFT_NODE_SEND:
  case WEFT_NODE_CLOSE:
  case WEFT_NODE_ADMIT:
  case WEFT_NODE_NOTE: break;
  }
  return false;
}

weft_err weft__replica_show(weft_replica_source *s, weft_node *node, weft_ms now,
                            uint64_t changes_max, bool *more) {
  weft_show_report report;
  *more = false;
  WEFT_TRY(weft_replica_show(s->replica, changes_max, &report));
  *more = report.more;
  if (report.changes > 0) weft_node_changed(node, now);
  return WEFT_OK;
}

/* Serving others: what they lack, what arrived, and chunks of it.
 *
 * Changes are offered in the order in which they were shown here, so that whoever takes them in
 * that order never has to wait; then what is held and not shown, in the order of its arrival.  Only
 * what a commit has made durable is offered, up to a signature. */
#include <string.h>

#include "crdt/assert.h"
#include "crdt/chunk_pack.h"
#include "crdt/limits.h"
#include "store/outcome.h"
#include "store/replica_internal.h"

typedef struct span_list {
  weft_span *at;
  size_t count;
  size_t max;
} span_list;

/* Adds changes of a log, lengthening the last span where they continue it.  False: it is full. */
static bool span_add(span_list *list, const weft_log *log, uint64_t from, uint64_t to) {
  weft_span *last = list->count > 0 ? &list->at[list->count - 1] : NULL;
  if (last && last->to + 1 == from && last->branch == log->number) {
    last->to = to;
    return true;
  }
  if (list->count == list->max) return false;
  list->at[list->count++] = (weft_span){log->id, log->number, from, to};
  return true;
}

/* How far the other side is, by log number. */
typedef struct lacking {
  uint64_t *theirs;
  uint64_t shown; /* changes shown here that it lacks */
  uint64_t waiting;
} lacking;

/* What one of their heads says.  One that is not held here may go on from any branch that it is
 * longer than, and is taken to, as it nearly always does: whoever lacks such a branch all the same
 * is told of it once their head is held here. */
static weft_err head_take(weft_replica *r, weft_txn *txn, const weft_head *head, lacking *out) {
  weft_log *log;
  weft_err err = weft__change_at(r, txn, &head->log, head->seq, &head->id, &log);
  if (err == WEFT_OK) weft__seqs_raise(r, out->theirs, (weft_dot){log->number, head->seq});
  if (err != WEFT_ENOTFOUND) return err;
  for (log = weft__log_find(r, &head->log); log; log = log->sibling) {
    if (log->held < head->seq) weft__seqs_raise(r, out->theirs, (weft_dot){log->number, log->held});
  }
  return WEFT_OK;
}

static weft_err lacking_of(weft_replica *r, weft_txn *txn, const weft_vector *theirs,
                           weft_arena *arena, lacking *out) {
  memset(out, 0, sizeof *out);
  out->theirs = weft__arena_zero(arena, r->log_count, sizeof *out->theirs);
  if (!out->theirs) return WEFT_ENOMEM;
  weft__seqs_none(r, out->theirs);
  for (size_t i = 0; i < theirs->count; i++) {
    WEFT_TRY(head_take(r, txn, &theirs->heads[i], out));
  }
  for (uint32_t i = 0; i < r->log_count; i++) {
    const weft_log *log = r->logs[i];
    uint64_t seq = out->theirs[i];
    if (log->shown > seq) out->shown += log->shown - seq;
    if (log->held > seq) out->waiting += log->held - (log->shown > seq ? log->shown : seq);
  }
  return WEFT_OK;
}

/* Finds the entry of `order` from which on everything lies that the other side lacks. */
static weft_err order_start(weft_replica *r, weft_cursor *cursor, const lacking *l,
                            weft_entry *entry) {
  uint64_t left = l->shown;
  weft_err err = weft_cursor_last(cursor, entry);
  while (err == WEFT_OK) {
    weft_log_span span;
    WEFT_TRY(weft__span_of(r, entry->value, &span));
    uint64_t last = span.first + span.count - 1;
    uint64_t theirs = l->theirs[span.log];
    if (last > theirs) {
      uint64_t lacked = last - (theirs >= span.first ? theirs : span.first - 1);
      left = left > lacked ? left - lacked : 0;
    }
    if (left == 0) return WEFT_OK;
    err = weft_cursor_prev(cursor, entry);
  }
  return weft__promised(err);
}

/* Adds the part of a span that lies after `from_min` and the other side lacks. */
static bool add_lacking(weft_replica *r, const lacking *l, const weft_log_span *span,
                        uint64_t from_min, span_list *list) {
  uint64_t from = span->first;
  uint64_t last = span->first + span->count - 1;
  if (from <= l->theirs[span->log]) from = l->theirs[span->log] + 1;
  if (from < from_min) from = from_min;
  return from > last || span_add(list, weft__log_of(r, span->log), from, last);
}

static weft_err missing_shown(weft_replica *r, weft_txn *txn, const lacking *l, span_list *list) {
  weft_cursor *cursor;
  weft_entry entry;
  if (l->shown == 0) return WEFT_OK;
  WEFT_TRY(weft_cursor_open(txn, WEFT_TABLE_ORDER, &cursor));
  weft_err err = order_start(r, cursor, l, &entry);
  while (err == WEFT_OK) {
    weft_log_span span;
    err = weft__span_of(r, entry.value, &span);
    if (err != WEFT_OK || !add_lacking(r, l, &span, 1, list)) break;
    err = weft_cursor_next(cursor, &entry);
  }
  weft_cursor_close(cursor);
  return weft__walked(err);
}

/* The changes not shown arrived after the last ones shown, log by log: they are few, so the
 * arrivals are walked back until all of them were met, then forward. */
static weft_err missing_waiting(weft_replica *r, weft_txn *txn, const lacking *l, span_list *list) {
  weft_cursor *cursor;
  weft_entry entry;
  uint64_t left = r->now.held - r->now.shown;
  if (l->waiting == 0) return WEFT_OK;
  WEFT_TRY(weft_cursor_open(txn, WEFT_TABLE_ARRIVAL, &cursor));
  weft_log_span span;
  weft_err err = weft_cursor_last(cursor, &entry);
  while (err == WEFT_OK) {
    err = weft__span_of(r, entry.value, &span);
    if (err != WEFT_OK) break;
    uint64_t shown = weft__log_of(r, span.log)->shown;
    uint64_t last = span.first + span.count - 1;
    if (last > shown) {
      uint64_t met = last - (shown >= span.first ? shown : span.first - 1);
      left = left > met ? left - met : 0;
    }
    if (left == 0) break;
    err = weft_cursor_prev(cursor, &entry);
  }
  while (err == WEFT_OK) {
    err = weft__span_of(r, entry.value, &span);
    if (err != WEFT_OK) break;
    if (!add_lacking(r, l, &span, weft__log_of(r, span.log)->shown + 1, list)) break;
    err = weft_cursor_next(cursor, &entry);
  }
  weft_cursor_close(cursor);
  return weft__walked(err);
}

weft_err weft_replica_missing(weft_replica *r, weft_arena *arena, const weft_vector *theirs,
                              size_t max, weft_span **out, size_t *count) {
  weft_txn *txn;
  lacking l;
  span_list list = {NULL, 0, max};
  *out = NULL;
  *count = 0;
  if (r->group) return WEFT_EMISUSE;
  WEFT_TRY(weft__read_begin(r, &txn));
  weft_err err = lacking_of(r, txn, theirs, arena, &l);
  uint64_t most = l.shown + l.waiting;
  if (list.max > most) list.max = (size_t)most;
  if (err == WEFT_OK) {
    list.at = weft__arena_zero(arena, list.max, sizeof *list.at);
    if (!list.at) err = WEFT_ENOMEM;
  }
  if (err == WEFT_OK) err = missing_shown(r, txn, &l, &list);
  if (err == WEFT_OK && list.count < list.max) err = missing_waiting(r, txn, &l, &list);
  weft__read_end(r, txn);
  if (err != WEFT_OK) return err;
  *out = list.at;
  *count = list.count;
  return WEFT_OK;
}

/* The run that has the change which arrived behind the `arrival`th, or an older one. */
static weft_err arrivals_start(weft_cursor *cursor, uint64_t arrival, weft_entry *entry) {
  weft_dbkey key;
  weft_err err = weft_cursor_seek(cursor, weft__dbkey_u64(&key, arrival + 1), entry);
  if (err == WEFT_OK) {
    weft_rd k = weft__rd(entry->key);
    if (weft__rd_u64(&k) == arrival + 1) return WEFT_OK;
    err = weft_cursor_prev(cursor, entry);
  } else if (err == WEFT_EDONE) {
    err = weft_cursor_last(cursor, entry);
  }
  return err == WEFT_EDONE ? weft_cursor_first(cursor, entry) : err;
}

weft_err weft_replica_arrivals(weft_replica *r, weft_arena *arena, uint64_t arrival, size_t max,
                               weft_span **out, size_t *count, uint64_t *last) {
  weft_txn *txn;
  weft_cursor *cursor = NULL;
  weft_entry entry;
  span_list list = {NULL, 0, max};
  *out = NULL;
  *count = 0;
  *last = arrival;
  if (r->group) return WEFT_EMISUSE;
  uint64_t all = r->published.arrival > arrival ? r->published.arrival - arrival : 0;
  if (list.max > all) list.max = (size_t)all;
  list.at = weft__arena_zero(arena, list.max, sizeof *list.at);
  if (!list.at) return WEFT_ENOMEM;
  WEFT_TRY(weft__read_begin(r, &txn));
  weft_err err = weft_cursor_open(txn, WEFT_TABLE_ARRIVAL, &cursor);
  if (err == WEFT_OK) err = arrivals_start(cursor, arrival, &entry);
  while (err == WEFT_OK) {
    weft_rd k = weft__rd(entry.key);
    weft_log_span span;
    err = weft__span_of(r, entry.value, &span);
    if (err != WEFT_OK) break;
    uint64_t first = weft__rd_u64(&k);
    uint64_t known = first <= arrival ? arrival - first + 1 : 0;
    if (known < span.count) {
      uint64_t to = span.first + span.count - 1;
      if (!span_add(&list, r->logs[span.log], span.first + known, to)) break;
      *last = first + span.count - 1;
    }
    err = weft_cursor_next(cursor, &entry);
  }
  weft_cursor_close(cursor);
  weft__read_end(r, txn);
  if (err != WEFT_OK && err != WEFT_EDONE) return err;
  *out = list.at;
  *count = list.count;
  return WEFT_OK;
}

/* --- chunks --- */

/* Collects changes from `from` on: to the last signature not after `to` that fits a chunk, or to
 * the first one. */
static weft_err run_collect(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t from,
                            uint64_t to, weft_arena *arena, weft_run *run) {
  size_t most = (size_t)(log->held - from + 1);
  if (most > WEFT_CHUNK_CHANGES_MAX) most = WEFT_CHUNK_CHANGES_MAX;
  weft_bytes *raws = weft__arena_zero(arena, most, sizeof *raws);
  if (!raws) return WEFT_ENOMEM;
  size_t len = 0;
  run->changes = raws;
  for (size_t i = 0; i < most; i++) {
    weft_log_item item;
    if (run->count > 0 && from + i > to) break;
    WEFT_TRY(weft__log_read(r, txn, log, from + i, arena, &item));
    len += item.raw.len;
    if (i > 0 && len > WEFT_CHUNK_LEN_MAX) break;
    raws[i] = item.raw;
    if (!item.is_signed) continue;
    run->count = i + 1;
    run->sig = item.sig;
  }
  return run->count > 0 ? WEFT_OK : WEFT_ECORRUPT;
}

static weft_err chunk_packed(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t from,
                             uint64_t to, weft_buf *out, uint64_t *last) {
  weft_arena arena;
  weft_run run = {.log = log->id, .first = from};
  weft__arena_init(&arena, &r->mem);
  weft_err err = weft__log_id_at(r, txn, log, from - 1, &run.prev);
  if (err == WEFT_OK) err = run_collect(r, txn, log, from, to, &arena, &run);
  if (err == WEFT_OK) err = weft__chunk_encode_with(r->codec, out, &run, 1, WEFT_CHUNK_LIVE);
  if (err == WEFT_OK) *last = from + run.count - 1;
  weft__arena_free(&arena);
  return err;
}

/* True for a chunk that is stored as it was received though it is shorter than what is sealed. */
static bool chunk_is_short(const weft_run_cache *c) {
  size_t len = 0;
  for (size_t i = 0; i < c->count; i++) len += c->changes[i].len;
  return c->count < WEFT_TAIL_COUNT_MAX && len < WEFT_SIGN_LEN_MAX;
}

/* A stored chunk as it is, or what of it lies from `from` on.  Short ones are packed together with
 * what follows them, because heads, names and frames of their own double what they take. */
static weft_err chunk_of_sealed(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t from,
                                uint64_t to, weft_buf *out, uint64_t *last) {
  const weft_run_cache *c;
  WEFT_TRY(weft__log_chunk(r, txn, log, from, &c));
  size_t skip = (size_t)(from - c->first);
  *last = c->first + c->count - 1;
  if (*last < to && *last < log->held && chunk_is_short(c)) {
    return chunk_packed(r, txn, log, from, to, out, last);
  }
  if (skip == 0) {
    weft__buf_put(out, c->chunk);
    return weft__buf_err(out);
  }
  const weft_id *ids = weft__log_chunk_ids(r, c);
  if (!ids) return WEFT_ENOMEM;
  weft_run run = {.log = log->id,
                  .first = from,
                  .prev = ids[skip - 1],
                  .changes = c->changes + skip,
                  .count = c->count - skip,
                  .sig = c->sig};
  return weft__chunk_encode_with(r->codec, out, &run, 1, WEFT_CHUNK_LIVE);
}

/* The branch that a caller means, NULL when it is none of the log. */
static const weft_log *branch_of(const weft_replica *r, const weft_id *log_id, uint32_t branch) {
  if (branch == WEFT_BRANCH_ANY) return weft__log_find(r, log_id);
  if (branch >= r->log_count) return NULL;
  const weft_log *log = r->logs[branch];
  return weft_id_cmp(&log->id, log_id) == 0 ? log : NULL;
}

weft_err weft_replica_read_chunk(weft_replica *r, const weft_id *log_id, uint32_t branch,
                                 uint64_t from, uint64_t to, weft_buf *out, uint64_t *last) {
  weft_txn *txn;
  *last = 0;
  if (r->group) return WEFT_EMISUSE;
  WEFT_TRY(weft__read_begin(r, &txn));
  const weft_log *log = branch_of(r, log_id, branch);
  weft_err err = WEFT_ENOTFOUND;
  if (log && from >= 1 && from <= log->held) {
    log = weft__log_owner(r, log, from);
    err = from <= log->sealed ? chunk_of_sealed(r, txn, log, from, to, out, last)
                              : chunk_packed(r, txn, log, from, to, out, last);
  }
  weft__read_end(r, txn);
  return err;
}

weft_err weft_replica_pack_chunks(weft_replica *r, weft_arena *arena, weft_bytes *chunks,
                                  size_t *count) {
  return weft__chunk_pack(r->codec, arena, chunks, count);
}

weft_lane weft_replica_lane(const weft_replica *r, const weft_id *log_id) {
  const weft_log *log = weft__log_find(r, log_id);
  return log && log->lane < WEFT_LANES ? (weft_lane)log->lane : WEFT_LANE_NORMAL;
}

weft_err weft_replica_id_at(weft_replica *r, const weft_id *log_id, uint32_t branch, uint64_t seq,
                            weft_id *out) {
  weft_txn *txn;
  WEFT_TRY(weft__read_begin(r, &txn));
  const weft_log *log = branch_of(r, log_id, branch);
  weft_err err = log && seq > 0 ? weft__log_id_at(r, txn, log, seq, out) : WEFT_ENOTFOUND;
  weft__read_end(r, txn);
  return err;
}

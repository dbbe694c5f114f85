/* The changes of a log: reading them, appending them, sealing them into chunks.
 *
 * Invariants: changes fork..sealed of a branch lie in `log`, sealed+1..held in `tail`, what is
 * before them with the branches it left; outside of a group the newest change is signed; what was
 * verified once is not verified again when it is read.
 * Happy path: changes are appended to the tail and, when it is long, packed into chunks; a run that
 * was received is stored as the chunk it came in unless it is short.
 * Failure modes: bytes that cannot be what was stored are WEFT_ECORRUPT. */
#include <string.h>

#include "crdt/assert.h"
#include "crdt/canary.h"
#include "crdt/limits.h"
#include "store/outcome.h"
#include "store/replica_internal.h"

enum { CHUNK_RECORD_VERSION = 1, TAIL_SIGNED = 1, TAIL_STATE_SHIFT = 1, TAIL_STATE_MASK = 3 };

/* --- reading changes --- */

static weft_err tail_decode(const weft_replica *replica, weft_bytes value, weft_tail_record *out) {
  weft_bytes content;
  WEFT_TRY(weft__row_open(replica, value, &content));
  weft_rd r = weft__rd(content);
  memset(out, 0, sizeof *out);
  out->flags = weft__rd_u8(&r);
  out->id = weft__rd_id(&r);
  if (out->flags & TAIL_SIGNED) {
    weft_bytes sig = weft__rd_take(&r, sizeof out->sig.b);
    if (!r.failed) memcpy(out->sig.b, sig.at, sizeof out->sig.b);
  }
  out->raw = weft__rd_take(&r, weft__rd_left(&r));
  bool sane = !r.failed && out->flags >> TAIL_STATE_SHIFT <= WEFT_CHANGE_UNKNOWN;
  return sane ? WEFT_OK : WEFT_ECORRUPT;
}

static weft_change_state tail_state(const weft_tail_record *t) {
  return (weft_change_state)(t->flags >> TAIL_STATE_SHIFT & TAIL_STATE_MASK);
}

/* The row of `seq` that the open group keeps back; NULL: it does not. */
static weft_tail_record *kept_row(const weft_replica *r, const weft_log *log, uint64_t seq) {
  const weft_kept *kept = &r->kept;
  bool there = kept->log == log && seq >= kept->first && seq - kept->first < kept->count;
  return there ? &kept->rows[seq - kept->first] : NULL;
}

static weft_err tail_get(const weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t seq,
                         weft_tail_record *out) {
  weft_dbkey key;
  weft_bytes value;
  const weft_tail_record *kept = kept_row(r, log, seq);
  if (kept) {
    *out = *kept;
    return WEFT_OK;
  }
  weft_err err =
      weft_txn_get(txn, WEFT_TABLE_TAIL, weft__dbkey_u32_u64(&key, log->number, seq), &value);
  if (err == WEFT_ENOTFOUND) return WEFT_ECORRUPT;
  return err == WEFT_OK ? tail_decode(r, value, out) : err;
}

static weft_err tail_put(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t seq,
                         const weft_tail_record *t) {
  weft_buf b;
  weft__buf_init(&b, &r->mem, SIZE_MAX);
  weft__buf_u8(&b, (uint8_t)t->flags);
  weft__buf_put_raw(&b, t->id.b, sizeof t->id.b);
  if (t->flags & TAIL_SIGNED) weft__buf_put_raw(&b, t->sig.b, sizeof t->sig.b);
  weft__buf_put(&b, t->raw);
  weft__row_seal(r, &b);
  weft_dbkey key;
  weft_err err = weft__buf_err(&b);
  if (err == WEFT_OK) {
    err = weft_txn_put(txn, WEFT_TABLE_TAIL, weft__dbkey_u32_u64(&key, log->number, seq),
                       weft__buf_view(&b));
  }
  weft__buf_free(&b);
  return err;
}

/* Takes the head of a stored chunk apart: states of its changes, and where the chunk begins. */
static weft_err chunk_record_decode(weft_arena *arena, weft_bytes value, uint8_t **states,
                                    size_t *count, weft_bytes *chunk) {
  weft_rd r = weft__rd(value);
  if (weft__rd_u8(&r) != CHUNK_RECORD_VERSION) return WEFT_ECORRUPT;
  uint64_t n = weft__rd_varint(&r);
  uint64_t exceptions = weft__rd_varint(&r);
  if (r.failed || n == 0 || n > WEFT_CHUNK_CHANGES_MAX || exceptions > n) return WEFT_ECORRUPT;
  uint8_t *list = weft__arena_zero(arena, (size_t)n, 1);
  if (!list) return WEFT_ENOMEM;
  for (uint64_t i = 0; i < exceptions; i++) {
    uint64_t idx = weft__rd_varint(&r);
    uint8_t state = weft__rd_u8(&r);
    if (r.failed || idx >= n || state > WEFT_CHANGE_UNKNOWN) return WEFT_ECORRUPT;
    list[idx] = state;
  }
  *states = list;
  *count = (size_t)n;
  *chunk = weft__rd_take(&r, weft__rd_left(&r));
  return WEFT_OK;
}

/* Counts in one range of rows: of `log`, whose heads tell without taking chunks apart, or `tail`.
 */
static weft_err count_rows(weft_replica *r, weft_txn *txn, const weft_log *log, weft_table table,
                           weft_change_state state, uint64_t *count, uint64_t *first) {
  weft_cursor *cursor;
  weft_dbkey key;
  weft_entry entry;
  weft_arena arena;
  weft__arena_init(&arena, &r->mem);
  weft_err err = weft_cursor_open(txn, table, &cursor);
  if (err != WEFT_OK) return err;
  err = weft_cursor_seek(cursor, weft__dbkey_u32_u64(&key, log->number, 0), &entry);
  for (; err == WEFT_OK; err = err == WEFT_OK ? weft_cursor_next(cursor, &entry) : err) {
    weft_rd k = weft__rd(entry.key);
    if (weft__rd_u32(&k) != log->number) break;
    uint64_t seq = weft__rd_u64(&k);
    uint8_t one, *states = &one;
    size_t n = 1;
    weft_bytes chunk;
    weft_tail_record t;
    weft__arena_reset(&arena);
    if (table == WEFT_TABLE_LOG) {
      err = chunk_record_decode(&arena, entry.value, &states, &n, &chunk);
    } else {
      err = tail_decode(r, entry.value, &t);
      if (err == WEFT_OK) one = (uint8_t)tail_state(&t);
    }
    for (size_t i = 0; err == WEFT_OK && i < n; i++) {
      if (states[i] != state) continue;
      if (++*count == 1) *first = seq + i;
    }
  }
  weft_cursor_close(cursor);
  weft__arena_free(&arena);
  return weft__walked(err);
}

weft_err weft__log_count_state(weft_replica *r, weft_txn *txn, const weft_log *log,
                               weft_change_state state, uint64_t *count, uint64_t *first) {
  *count = *first = 0;
  WEFT_TRY(count_rows(r, txn, log, WEFT_TABLE_LOG, state, count, first));
  return count_rows(r, txn, log, WEFT_TABLE_TAIL, state, count, first);
}

/* What a damaged chunk says is our disk's fault, not a sender's. */
static weft_err disk_fault(weft_err err) {
  bool ours = err == WEFT_OK || err == WEFT_ENOMEM || err == WEFT_EIO;
  return ours ? err : WEFT_ECORRUPT;
}

/* Finds the entry of the chunk that holds `seq`; a view of the cursor. */
static weft_err chunk_find(const weft_log *log, uint64_t seq, weft_cursor *cursor,
                           weft_entry *entry) {
  weft_dbkey key;
  weft_err err = weft_cursor_seek_back(cursor, weft__dbkey_u32_u64(&key, log->number, seq), entry);
  WEFT_TRY(weft__promised(err));
  weft_rd k = weft__rd(entry->key);
  return weft__rd_u32(&k) == log->number ? WEFT_OK : WEFT_ECORRUPT;
}

/* Takes an entry apart into `arena`; `chunk` stays a view.  Chain and signature were good when the
 * chunk was stored, and the keyed check tells damage since then, before anything is shown or sent
 * on. */
static weft_err chunk_open(weft_replica *r, const weft_log *log, const weft_entry *entry,
                           weft_arena *arena, weft_run **run, uint8_t **states, weft_bytes *chunk) {
  size_t count, run_count;
  weft_bytes content;
  weft_rd k = weft__rd(entry->key);
  weft__rd_u32(&k);
  WEFT_TRY(weft__row_open(r, entry->value, &content));
  WEFT_TRY(chunk_record_decode(arena, content, states, &count, chunk));
  WEFT_TRY(disk_fault(weft__chunk_decode_with(r->codec, arena, *chunk, run, &run_count)));
  if (run_count != 1 || (*run)->count != count) return WEFT_ECORRUPT;
  if (weft_id_cmp(&(*run)->log, &log->id) != 0) return WEFT_ECORRUPT;
  return (*run)->first == weft__rd_u64(&k) ? WEFT_OK : WEFT_ECORRUPT;
}

static weft_err damaged_chunk(weft_replica *r, weft_err err) {
  return err == WEFT_ECORRUPT ? weft__replica_fail(r, err, "a chunk of a log is damaged") : err;
}

weft_err weft__log_run_view(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t seq,
                            weft_arena *arena, weft_run_view *out) {
  weft_cursor *cursor;
  weft_entry entry;
  weft_run *run;
  uint8_t *states;
  weft_bytes chunk;
  const weft_run_cache *kept = weft__cache_find(r, log, seq);
  if (kept) return weft__cache_view(kept, arena, out);
  out->count = 0;
  WEFT_TRY(weft_cursor_open(txn, WEFT_TABLE_LOG, &cursor));
  weft_err err = chunk_find(log, seq, cursor, &entry);
  if (err == WEFT_OK) err = chunk_open(r, log, &entry, arena, &run, &states, &chunk);
  weft_cursor_close(cursor);
  if (err == WEFT_OK && seq - run->first >= run->count) err = WEFT_ECORRUPT;
  if (err != WEFT_OK) return damaged_chunk(r, err);
  *out = (weft_run_view){run->first, run->count, run->changes, states};
  return WEFT_OK;
}

static weft_err cache_fill(weft_replica *r, weft_run_cache *c, const weft_log *log, uint64_t seq,
                           const weft_entry *entry) {
  weft_run *run;
  uint8_t *states;
  weft_bytes chunk;
  WEFT_TRY(chunk_open(r, log, entry, &c->arena, &run, &states, &chunk));
  if (seq - run->first >= run->count) return WEFT_ECORRUPT;
  WEFT_TRY(weft__arena_copy(&c->arena, chunk, &c->chunk));
  c->log = log->number;
  c->first = run->first;
  c->changes = run->changes;
  c->ids = NULL;
  c->states = states;
  c->prev = run->prev;
  c->sig = run->sig;
  c->count = run->count;
  return WEFT_OK;
}

const weft_id *weft__log_chunk_ids(weft_replica *r, const weft_run_cache *chunk) {
  weft_run_cache *c = &r->cache[chunk - r->cache];
  if (c->ids) return c->ids;
  weft_id *ids = weft__arena_take(&c->arena, c->count * sizeof *ids);
  if (!ids) return NULL;
  const weft_id *prev = &c->prev;
  for (size_t i = 0; i < c->count; i++) {
    weft__change_id(r->crypto, &r->space, prev, c->changes[i], &ids[i]);
    prev = &ids[i];
  }
  c->ids = ids;
  return ids;
}

weft_err weft__log_chunk_verify(weft_replica *r, const weft_log *log, const weft_run_cache *chunk) {
  const weft_id *ids = weft__log_chunk_ids(r, chunk);
  if (!ids) return WEFT_ENOMEM;
  bool ok =
      weft__change_sig_ok(r->crypto, &log->device, &r->space, &log->id,
                          chunk->first + chunk->count - 1, &ids[chunk->count - 1], &chunk->sig);
  return ok ? WEFT_OK : weft__replica_fail(r, WEFT_ECORRUPT, "a chunk of a log is damaged");
}

/* Gives the chunk of `log` that holds `seq`, taken apart; a view until the next call. */
weft_err weft__log_chunk(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t seq,
                         const weft_run_cache **out) {
  weft_run_cache *kept = weft__cache_find(r, log, seq);
  *out = kept;
  if (kept) return WEFT_OK;
  weft_cursor *cursor;
  weft_entry entry;
  WEFT_TRY(weft_cursor_open(txn, WEFT_TABLE_LOG, &cursor));
  if (r->now.held == r->now.shown) weft__cache_trim(r); /* whoever only sends keeps little */
  kept = weft__cache_take(r);
  weft_err err = chunk_find(log, seq, cursor, &entry);
  if (err == WEFT_OK) err = cache_fill(r, kept, log, seq, &entry);
  weft_cursor_close(cursor);
  if (err != WEFT_OK) return damaged_chunk(r, err);
  kept->used = ++r->cache_clock;
  *out = kept;
  return WEFT_OK;
}

/* Ids cost a hash of every change of the chunk, so they are left out where nobody asks. */
static weft_err log_read(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t seq,
                         weft_arena *arena, bool wants_id, weft_log_item *out) {
  memset(out, 0, sizeof *out);
  if (seq == 0 || seq > log->held) return WEFT_ENOTFOUND;
  log = weft__log_owner(r, log, seq);
  out->seq = seq;
  if (seq > log->sealed) {
    weft_tail_record t;
    WEFT_TRY(tail_get(r, txn, log, seq, &t));
    out->id = t.id;
    out->state = tail_state(&t);
    out->is_signed = (t.flags & TAIL_SIGNED) != 0;
    out->sig = t.sig;
    return weft__arena_copy(arena, t.raw, &out->raw);
  }
  const weft_run_cache *c;
  WEFT_TRY(weft__log_chunk(r, txn, log, seq, &c));
  size_t idx = (size_t)(seq - c->first);
  const weft_id *ids = wants_id ? weft__log_chunk_ids(r, c) : NULL;
  if (wants_id && !ids) return WEFT_ENOMEM;
  if (ids) out->id = ids[idx];
  out->state = (weft_change_state)c->states[idx];
  out->is_signed = idx + 1 == c->count;
  if (out->is_signed) out->sig = c->sig;
  return weft__arena_copy(arena, c->changes[idx], &out->raw);
}

weft_err weft__log_read(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t seq,
                        weft_arena *arena, weft_log_item *out) {
  return log_read(r, txn, log, seq, arena, true, out);
}

weft_err weft__log_change(weft_replica *r, weft_txn *txn, weft_log *log, uint64_t seq,
                          weft_arena *arena, weft_change *change, weft_id *id) {
  weft_log_item item;
  const weft_fresh_run *fresh = weft__log_fresh(log, seq);
  if (fresh && fresh->changes) {
    *change = fresh->changes[seq - fresh->first];
    if (id) *id = fresh->ids[seq - fresh->first];
    return WEFT_OK;
  }
  WEFT_TRY(log_read(r, txn, log, seq, arena, id != NULL, &item));
  if (id) *id = item.id;
  return weft__log_parse(r, txn, log, item.raw, item.state, arena, change);
}

/* Fills in the logs that claims mean. */
static weft_err claims_name(weft_replica *r, weft_txn *txn, weft_log *log, weft_change *change) {
  if (change->claim_count == 0) return WEFT_OK;
  WEFT_TRY(weft__log_numbers(r, txn, log));
  for (size_t i = 0; i < change->claim_count; i++) {
    weft_claim *claim = &change->claims[i];
    if (claim->number >= log->ctx.number_count) return WEFT_ECORRUPT;
    claim->log = log->ctx.numbers[claim->number].log;
  }
  return WEFT_OK;
}

weft_err weft__log_parse(weft_replica *r, weft_txn *txn, weft_log *log, weft_bytes raw,
                         weft_change_state state, weft_arena *arena, weft_change *change) {
  WEFT_TRY(weft__change_parse(arena, raw, change));
  if (state != WEFT_CHANGE_VALID) {
    change->state = state;
    change->claim_count = 0;
    change->op_count = 0;
    return WEFT_OK;
  }
  if (change->state != WEFT_CHANGE_VALID) return WEFT_ECORRUPT;
  return claims_name(r, txn, log, change);
}

weft_err weft__log_claims(weft_replica *r, weft_txn *txn, weft_log *log, uint64_t seq,
                          weft_arena *arena, weft_change *change) {
  weft_id id;
  const weft_run_cache *c;
  const weft_fresh_run *fresh = weft__log_fresh(log, seq);
  bool apart = seq > log->sealed || seq < log->fork || (fresh && fresh->changes);
  if (apart) return weft__log_change(r, txn, log, seq, arena, change, &id);
  WEFT_TRY(weft__log_chunk(r, txn, log, seq, &c));
  size_t i = (size_t)(seq - c->first);
  if (c->states[i] != WEFT_CHANGE_VALID) {
    *change = (weft_change){.state = (weft_change_state)c->states[i]};
    return WEFT_OK;
  }
  WEFT_TRY(disk_fault(weft__change_parse_head(arena, c->changes[i], change)));
  return claims_name(r, txn, log, change);
}

weft_err weft__log_id_at(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t seq,
                         weft_id *out) {
  if (seq > log->held) return WEFT_ENOTFOUND;
  log = weft__log_owner(r, log, seq);
  if (seq == log->held || seq == log->fork - 1) {
    *out = seq == log->held ? log->head : log->before;
    return WEFT_OK;
  }
  if (seq == log->sealed_known) {
    *out = log->sealed_id;
    return WEFT_OK;
  }
  const weft_fresh_run *fresh = weft__log_fresh(log, seq);
  if (fresh) {
    *out = fresh->ids[seq - fresh->first];
    return WEFT_OK;
  }
  if (seq > log->sealed) {
    weft_tail_record t;
    WEFT_TRY(tail_get(r, txn, log, seq, &t));
    *out = t.id;
    return WEFT_OK;
  }
  const weft_run_cache *c;
  WEFT_TRY(weft__log_chunk(r, txn, log, seq, &c));
  const weft_id *ids = weft__log_chunk_ids(r, c);
  if (!ids) return WEFT_ENOMEM;
  *out = ids[seq - c->first];
  return WEFT_OK;
}

/* --- what a write holds --- */

void weft__log_fresh_add(weft_log *log, weft_fresh_run *run) {
  run->next = NULL;
  if (log->fresh_last) {
    WEFT_ASSERT(log->fresh_last->first + log->fresh_last->count == run->first);
    log->fresh_last->next = run;
  } else {
    log->fresh = run;
  }
  log->fresh_last = run;
}

const weft_fresh_run *weft__log_fresh(const weft_log *log, uint64_t seq) {
  const weft_fresh_run *run = log->fresh;
  if (!run || seq < run->first) return NULL;
  if (seq >= log->fresh_last->first) run = log->fresh_last;
  while (run && seq - run->first >= run->count) run = run->next;
  return run;
}

/* --- appending --- */

static weft_err chunk_put(weft_replica *r, weft_txn *txn, const weft_log *log, const weft_run *run,
                          const uint8_t *states, weft_bytes chunk) {
  weft_buf b;
  weft__buf_init(&b, &r->mem, SIZE_MAX);
  size_t exceptions = 0;
  for (size_t i = 0; i < run->count; i++) exceptions += states[i] != WEFT_CHANGE_VALID;
  weft__buf_u8(&b, CHUNK_RECORD_VERSION);
  weft__buf_varint(&b, run->count);
  weft__buf_varint(&b, exceptions);
  for (size_t i = 0; i < run->count && exceptions > 0; i++) {
    if (states[i] == WEFT_CHANGE_VALID) continue;
    weft__buf_varint(&b, i);
    weft__buf_u8(&b, states[i]);
  }
  weft_err err = WEFT_OK;
  if (chunk.len > 0) {
    weft__buf_put(&b, chunk);
  } else {
    err = weft__chunk_encode_with(r->codec, &b, run, 1, WEFT_CHUNK_SEALED);
  }
  weft__row_seal(r, &b);
  if (err == WEFT_OK) err = weft__buf_err(&b);
  weft_dbkey key;
  if (err == WEFT_OK) {
    err = weft_txn_put(txn, WEFT_TABLE_LOG, weft__dbkey_u32_u64(&key, log->number, run->first),
                       weft__buf_view(&b));
  }
  weft__buf_free(&b);
  return err;
}

static size_t raws_len(const weft_bytes *raws, size_t count) {
  size_t len = 0;
  for (size_t i = 0; i < count; i++) len += raws[i].len;
  return len;
}

/* The next chunk begins with the id before it: so it need not be looked for. */
static void sealed_move(weft_log *log, uint64_t to, const weft_id *id) {
  log->sealed = log->sealed_known = to;
  log->sealed_id = *id;
}

static weft_err append_chunk(weft_replica *r, weft_txn *txn, weft_log *log,
                             const weft_log_run *run) {
  WEFT_TRY(weft__log_seal(r, txn, log));
  WEFT_ASSERT(log->sealed == log->held);
  weft_run whole = {.log = log->id,
                    .first = log->held + 1,
                    .prev = log->head,
                    .changes = run->raws,
                    .count = run->count,
                    .sig = *run->sig};
  WEFT_TRY(chunk_put(r, txn, log, &whole, run->states, run->chunk));
  if (run->chunk.len > 0) WEFT_TRY(weft__cache_keep(r, log, &whole, run));
  sealed_move(log, log->held + run->count, &run->ids[run->count - 1]);
  return WEFT_OK;
}

static weft_err rows_settle(weft_replica *r, weft_txn *txn) {
  weft_kept *kept = &r->kept;
  for (size_t i = 0; i < kept->count; i++) {
    WEFT_TRY(tail_put(r, txn, kept->log, kept->first + i, &kept->rows[i]));
  }
  kept->count = 0;
  return WEFT_OK;
}

/* Keeps a row back; those of one log at a time. */
static weft_err tail_keep(weft_replica *r, weft_txn *txn, weft_log *log, uint64_t seq,
                          const weft_tail_record *t) {
  weft_kept *kept = &r->kept;
  void *at = kept->rows;
  if (kept->count > 0 && kept->log != log) WEFT_TRY(rows_settle(r, txn));
  if (kept->count == 0) {
    weft__arena_reset(&kept->arena);
    kept->cap = 0;
    kept->log = log;
    kept->first = seq;
  }
  WEFT_ASSERT(seq == kept->first + kept->count);
  WEFT_TRY(weft__arena_grow(&kept->arena, &at, kept->count, &kept->cap, kept->count + 1,
                            sizeof *kept->rows));
  kept->rows = at;
  kept->rows[kept->count] = *t;
  WEFT_TRY(weft__arena_copy(&kept->arena, t->raw, &kept->rows[kept->count].raw));
  kept->count++;
  return WEFT_OK;
}

weft_err weft__group_settle(weft_replica *r, weft_txn *txn) {
  weft_kept *kept = &r->kept;
  WEFT_TRY(rows_settle(r, txn));
  if (kept->order) {
    WEFT_TRY(weft__span_put(txn, WEFT_TABLE_ORDER, r->order.number, &r->order.span));
  }
  if (kept->arrival) {
    WEFT_TRY(weft__span_put(txn, WEFT_TABLE_ARRIVAL, r->arrived.number, &r->arrived.span));
  }
  kept->order = kept->arrival = false;
  return WEFT_OK;
}

void weft__group_forget(weft_replica *r) {
  r->kept.count = 0;
  r->kept.log = NULL;
  r->kept.order = r->kept.arrival = false;
  weft__arena_free(&r->kept.arena);
}

static weft_err append_tail(weft_replica *r, weft_txn *txn, weft_log *log,
                            const weft_log_run *run) {
  for (size_t i = 0; i < run->count; i++) {
    weft_tail_record t = {
        (unsigned)run->states[i] << TAIL_STATE_SHIFT, run->ids[i], {{0}}, run->raws[i]};
    if (i + 1 == run->count && run->sig) {
      t.flags |= TAIL_SIGNED;
      t.sig = *run->sig;
    }
    WEFT_TRY(r->group ? tail_keep(r, txn, log, log->held + 1 + i, &t)
                      : tail_put(r, txn, log, log->held + 1 + i, &t));
    log->tail_len += run->raws[i].len;
  }
  return WEFT_OK;
}

/* Notes the arrival of the `count` changes that follow `held`. */
static weft_err arrival_put(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t count) {
  weft_newest_run *newest = &r->arrived;
  weft_log_span more = {log->number, log->held + 1, count};
  if (!weft__run_lengthen(newest, &more)) {
    if (r->kept.arrival) WEFT_TRY(weft__group_settle(r, txn));
    *newest = (weft_newest_run){r->now.arrival + 1, more};
  }
  if (!WEFT_CANARY(ARRIVAL_STUCK)) r->now.arrival += count;
  r->kept.arrival = r->group;
  if (r->group) return WEFT_OK;
  return weft__span_put(txn, WEFT_TABLE_ARRIVAL, newest->number, &newest->span);
}

weft_err weft__log_append(weft_replica *r, weft_txn *txn, weft_log *log, const weft_log_run *run) {
  WEFT_ASSERT(run->count > 0);
  size_t len = raws_len(run->raws, run->count);
  bool as_it_came = run->chunk.len > 0 && run->count >= WEFT_CHUNK_COUNT_MIN;
  bool long_run = run->count >= WEFT_TAIL_COUNT_MAX || len >= WEFT_SIGN_LEN_MAX;
  bool big = run->sig && (as_it_came || long_run);
  weft__log_touch(r, log);
  WEFT_TRY(big ? append_chunk(r, txn, log, run) : append_tail(r, txn, log, run));
  WEFT_TRY(arrival_put(r, txn, log, run->count));
  r->now.held += run->count;
  if (log->held < log->fork) log->first_id = run->ids[0];
  log->held += run->count;
  log->head = run->ids[run->count - 1];
  if (run->sig) {
    log->signed_seq = log->held;
    log->unsigned_len = 0;
  } else {
    log->unsigned_len += len;
  }
  return WEFT_OK;
}

weft_err weft__log_sign(weft_replica *r, weft_txn *txn, weft_log *log) {
  if (log->signed_seq == log->held) return WEFT_OK;
  WEFT_ASSERT(weft_id_cmp(&log->device, &r->identity.device) == 0);
  weft_tail_record t;
  WEFT_TRY(tail_get(r, txn, log, log->held, &t));
  weft_arena arena;
  weft__arena_init(&arena, &r->mem);
  weft_err err = weft__arena_copy(&arena, t.raw, &t.raw);
  if (err == WEFT_OK) {
    weft__change_sign(r->crypto, &r->identity.sign_seed, &r->identity.device, &r->space, &log->id,
                      log->held, &t.id, &t.sig);
    t.flags |= TAIL_SIGNED;
    weft_tail_record *kept = kept_row(r, log, log->held);
    if (kept) {
      kept->flags = t.flags;
      kept->sig = t.sig;
    } else {
      err = tail_put(r, txn, log, log->held, &t);
    }
  }
  weft__arena_free(&arena);
  if (err != WEFT_OK) return err;
  weft__log_touch(r, log);
  log->signed_seq = log->held;
  log->unsigned_len = 0;
  return WEFT_OK;
}

/* --- sealing --- */

/* Changes of a tail that were read and wait to be packed. */
typedef struct seal_list {
  weft_bytes *raws;
  weft_id *ids;
  uint8_t *states;
  weft_sig *sigs;
  bool *is_signed;
  size_t count;
  size_t first; /* not packed yet */
  size_t len;   /* bytes from `first` on */
  size_t end;   /* one past the last signed one from `first` on; `first` when there is none */
} seal_list;

/* Deletes the rows from `first` on, `end` excluded; of those kept back there are none. */
static weft_err tail_drop(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t first,
                          uint64_t end) {
  weft_dbkey from, to;
  uint64_t gone;
  bool keeps = r->kept.count > 0 && r->kept.log == log;
  if (keeps && r->kept.first < end) end = r->kept.first;
  if (end <= first) return WEFT_OK;
  weft_key_range range = {weft__dbkey_u32_u64(&from, log->number, first),
                          weft__dbkey_u32_u64(&to, log->number, end)};
  return weft_txn_delete_range(txn, WEFT_TABLE_TAIL, range, &gone);
}

static weft_err seal_emit(weft_replica *r, weft_txn *txn, weft_log *log, seal_list *list,
                          weft_id *prev) {
  if (list->end == list->first) return WEFT_ECORRUPT;
  size_t count = list->end - list->first;
  weft_run run = {.log = log->id,
                  .first = log->sealed + 1,
                  .prev = *prev,
                  .changes = list->raws + list->first,
                  .count = count,
                  .sig = list->sigs[list->end - 1]};
  WEFT_TRY(chunk_put(r, txn, log, &run, list->states + list->first, weft_bytes_of(NULL, 0)));
  WEFT_TRY(tail_drop(r, txn, log, run.first, run.first + count));
  for (size_t i = list->first; i < list->end; i++) list->len -= list->raws[i].len;
  *prev = list->ids[list->end - 1];
  sealed_move(log, log->sealed + count, prev);
  list->first = list->end;
  return WEFT_OK;
}

static weft_err seal_all(weft_replica *r, weft_txn *txn, weft_log *log, weft_arena *arena) {
  size_t cap = (size_t)(log->signed_seq - log->sealed);
  seal_list list = {0};
  list.raws = weft__arena_zero(arena, cap, sizeof *list.raws);
  list.ids = weft__arena_take(arena, cap * sizeof *list.ids);
  list.states = weft__arena_zero(arena, cap, sizeof *list.states);
  list.sigs = weft__arena_zero(arena, cap, sizeof *list.sigs);
  list.is_signed = weft__arena_zero(arena, cap, sizeof *list.is_signed);
  if (!list.raws || !list.ids || !list.states || !list.sigs || !list.is_signed) return WEFT_ENOMEM;
  weft_id prev;
  WEFT_TRY(weft__log_id_at(r, txn, log, log->sealed, &prev));
  uint64_t seq = log->sealed + 1;
  for (size_t i = 0; i < cap; i++) {
    weft_tail_record t;
    WEFT_TRY(tail_get(r, txn, log, seq + i, &t));
    bool full = i - list.first >= WEFT_CHUNK_CHANGES_MAX ||
                (i > list.first && list.len + t.raw.len > WEFT_CHUNK_LEN_MAX);
    WEFT_TRY(weft__arena_copy(arena, t.raw, &list.raws[i]));
    list.ids[i] = t.id;
    list.states[i] = (uint8_t)tail_state(&t);
    list.sigs[i] = t.sig;
    list.is_signed[i] = (t.flags & TAIL_SIGNED) != 0;
    if (full) WEFT_TRY(seal_emit(r, txn, log, &list, &prev));
    list.len += t.raw.len;
    if (list.is_signed[i]) list.end = i + 1;
  }
  return list.first < cap ? seal_emit(r, txn, log, &list, &prev) : WEFT_OK;
}

/* Lets go of the rows that lie in a chunk now. */
static void kept_sealed(weft_replica *r, const weft_log *log) {
  weft_kept *kept = &r->kept;
  if (kept->log != log || kept->count == 0 || log->sealed < kept->first) return;
  size_t gone = (size_t)(log->sealed - kept->first) + 1;
  kept->count -= gone;
  kept->first += gone;
  memmove(kept->rows, kept->rows + gone, kept->count * sizeof *kept->rows);
}

weft_err weft__log_seal(weft_replica *r, weft_txn *txn, weft_log *log) {
  if (log->signed_seq <= log->sealed) return WEFT_OK;
  weft_arena arena;
  weft__arena_init(&arena, &r->mem);
  weft__log_touch(r, log);
  weft_err err = seal_all(r, txn, log, &arena);
  if (err == WEFT_OK) {
    log->tail_len = 0;
    kept_sealed(r, log);
  }
  weft__arena_free(&arena);
  return err;
}

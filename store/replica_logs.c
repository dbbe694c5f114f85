/* Logs in the store: the table of them in memory, their records, and their claim numbers.
 *
 * Invariants: a log's number is its place in `logs` and never changes; `by_id` has the same ones by
 * id.  Of a log that has forked every branch has a number, and they stand behind each other there.
 * Failure modes: bytes that cannot be what was stored are WEFT_ECORRUPT. */
#include <string.h>

#include "crdt/assert.h"
#include "store/outcome.h"
#include "store/replica_internal.h"

enum { LOG_RECORD_VERSION = 1 };

/* --- the table in memory --- */

/* The number of logs with an id smaller than `id`. */
static uint32_t logs_before(const weft_replica *r, const weft_id *id) {
  uint32_t low = 0;
  uint32_t high = r->log_count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (weft_id_cmp(&r->logs[r->by_id[middle]]->id, id) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

weft_log *weft__log_find(const weft_replica *r, const weft_id *id) {
  weft_log *log = r->found[id->b[0] % WEFT_LOGS_FOUND];
  if (log && weft_id_cmp(&log->id, id) == 0) return log;
  uint32_t place = logs_before(r, id);
  if (place == r->log_count) return NULL;
  log = r->logs[r->by_id[place]];
  return weft_id_cmp(&log->id, id) == 0 ? log : NULL;
}

weft_log *weft__log_of(const weft_replica *r, uint32_t number) {
  WEFT_ASSERT(number < r->log_count);
  return r->logs[number];
}

void weft__log_touch(weft_replica *r, weft_log *log) {
  r->moved = true;
  if (log->touched) return;
  log->touched = true;
  log->next_touched = r->touched;
  r->touched = log;
}

/* Puts an empty log with the next number into the table, behind the other branches of its id. */
static weft_err table_add(weft_replica *r, const weft_id *id, weft_log **out) {
  uint32_t place = logs_before(r, id);
  weft_log *last = weft__log_find(r, id);
  place += last != NULL;
  for (; last && last->sibling; last = last->sibling) place++;
  void *at = r->logs;
  WEFT_TRY(weft__arena_grow(&r->tables, &at, r->log_count, &r->log_cap, (size_t)r->log_count + 1,
                            sizeof(weft_log *)));
  r->logs = at;
  at = r->by_id;
  WEFT_TRY(weft__arena_grow(&r->tables, &at, r->log_count, &r->by_id_cap, (size_t)r->log_count + 1,
                            sizeof(uint32_t)));
  r->by_id = at;
  weft_log *log = weft__arena_zero(&r->tables, 1, sizeof *log);
  if (!log) return WEFT_ENOMEM;
  log->number = r->log_count;
  log->id = *id;
  memmove(r->by_id + place + 1, r->by_id + place, (r->log_count - place) * sizeof(uint32_t));
  r->by_id[place] = log->number;
  r->logs[log->number] = log;
  if (last) {
    last->sibling = log;
  } else {
    r->found[id->b[0] % WEFT_LOGS_FOUND] = log;
  }
  r->log_count++;
  *out = log;
  return WEFT_OK;
}

weft_err weft__log_add(weft_replica *r, const weft_id *id, const weft_start *start,
                       weft_log **out) {
  weft_log *log;
  WEFT_ASSERT(!weft__log_find(r, id));
  r->moved = true;
  WEFT_TRY(table_add(r, id, &log));
  log->device = start->device;
  log->grant = start->grant;
  memcpy(log->incarnation, start->incarnation, sizeof log->incarnation);
  log->lane = start->lane;
  log->parent = WEFT_LOG_NONE;
  log->fork = 1;
  weft__log_root(r->crypto, id, &log->before);
  log->head = log->shown_id = log->ready_id = log->before;
  log->numbers_loaded = true;
  *out = log;
  return WEFT_OK;
}

/* Stores one claim number. */
static weft_err number_put(weft_txn *txn, const weft_log *log, uint32_t number);

weft_err weft__branch_add(weft_replica *r, weft_txn *txn, weft_log *parent, uint64_t fork,
                          const weft_id *first, weft_log **out) {
  weft_log *log;
  weft_id before;
  weft_id beside = {{0}};
  WEFT_ASSERT(fork == 1 || (parent->fork < fork && fork <= parent->held));
  WEFT_TRY(weft__log_id_at(r, txn, parent, fork - 1, &before));
  if (fork > 1) WEFT_TRY(weft__log_id_at(r, txn, parent, fork, &beside));
  r->moved = true;
  WEFT_TRY(table_add(r, &parent->id, &log));
  log->device = parent->device;
  log->grant = parent->grant;
  memcpy(log->incarnation, parent->incarnation, sizeof log->incarnation);
  log->lane = parent->lane;
  log->parent = fork > 1 ? parent->number : WEFT_LOG_NONE;
  log->fork = fork;
  log->before = log->head = log->shown_id = log->ready_id = before;
  log->first_id = *first;
  log->beside = beside;
  log->held = log->shown = log->signed_seq = log->sealed = fork - 1;
  for (unsigned i = 0; i < WEFT_FLOWS; i++) log->flow[i].at = fork - 1;
  log->ready_seq = fork - 1;
  WEFT_TRY(weft__log_context_at(r, txn, parent, fork - 1, &r->tables, &log->ctx));
  log->numbers_loaded = true;
  for (size_t i = 0; i < log->ctx.number_count; i++) {
    WEFT_TRY(number_put(txn, log, (uint32_t)i));
  }
  *out = log;
  return WEFT_OK;
}

/* --- records --- */

void weft__row_seal(const weft_replica *r, weft_buf *b) {
  uint8_t hash[16];
  if (weft__buf_err(b) != WEFT_OK) return;
  r->crypto->siphash128(hash, r->state_env.seal.key.b, weft__buf_view(b));
  weft__buf_put_raw(b, hash, WEFT_ROW_CHECK_LEN);
}

weft_err weft__row_open(const weft_replica *r, weft_bytes row, weft_bytes *content) {
  uint8_t hash[16];
  if (row.len < WEFT_ROW_CHECK_LEN) return WEFT_ECORRUPT;
  *content = weft_bytes_of(row.at, row.len - WEFT_ROW_CHECK_LEN);
  r->crypto->siphash128(hash, r->state_env.seal.key.b, *content);
  bool same = memcmp(hash, row.at + content->len, WEFT_ROW_CHECK_LEN) == 0;
  return same ? WEFT_OK : WEFT_ECORRUPT;
}

weft_err weft__log_put(weft_replica *r, weft_txn *txn, weft_log *log) {
  weft_buf b;
  weft__buf_init(&b, &r->mem, SIZE_MAX);
  weft__buf_u8(&b, LOG_RECORD_VERSION);
  weft__buf_put_raw(&b, log->id.b, 32);
  weft__buf_put_raw(&b, log->device.b, 32);
  weft__buf_put_raw(&b, log->incarnation, 16);
  weft__buf_u8(&b, log->lane);
  weft__buf_put_raw(&b, log->grant.b, 32);
  weft__buf_u32(&b, log->parent);
  weft__buf_u64(&b, log->fork);
  weft__buf_u64(&b, log->held);
  weft__buf_put_raw(&b, log->head.b, 32);
  weft__buf_u64(&b, log->shown);
  weft__buf_put_raw(&b, log->shown_id.b, 32);
  weft__buf_u64(&b, log->ctx.hlc);
  weft__buf_u8(&b, log->ctx.opaque);
  weft__buf_u64(&b, log->signed_seq);
  weft__buf_u64(&b, log->sealed);
  weft__buf_put_raw(&b, log->before.b, 32);
  weft__buf_put_raw(&b, log->first_id.b, 32);
  weft__buf_put_raw(&b, log->beside.b, 32);
  weft__buf_u64(&b, log->wait_at);
  weft__buf_u64(&b, log->wait_since);
  weft__row_seal(r, &b);
  weft_dbkey key;
  weft_err err = weft__buf_err(&b);
  if (err == WEFT_OK) {
    err =
        weft_txn_put(txn, WEFT_TABLE_LOGS, weft__dbkey_u32(&key, log->number), weft__buf_view(&b));
  }
  weft__buf_free(&b);
  if (err != WEFT_OK || log->stored) return err;
  weft__buf_init(&b, &r->mem, SIZE_MAX);
  for (const weft_log *at = weft__log_find(r, &log->id); at; at = at->sibling) {
    weft__buf_u32(&b, at->number);
  }
  err = weft__buf_err(&b);
  if (err == WEFT_OK) {
    err = weft_txn_put(txn, WEFT_TABLE_LOGID, weft_bytes_of(log->id.b, 32), weft__buf_view(&b));
  }
  weft__buf_free(&b);
  log->stored = err == WEFT_OK;
  return err;
}

/* A branch comes behind the one it left, which owns the change before it and one beside it. */
static bool parent_sane(const weft_replica *r, const weft_log *log) {
  if (log->parent == WEFT_LOG_NONE) return log->fork == 1;
  if (log->parent >= log->number) return false;
  const weft_log *parent = r->logs[log->parent];
  return weft_id_cmp(&parent->id, &log->id) == 0 && log->fork > parent->fork &&
         log->fork <= parent->held;
}

static weft_err log_read_record(weft_replica *r, const weft_entry *entry) {
  weft_bytes content;
  WEFT_TRY(weft__row_open(r, entry->value, &content));
  weft_rd k = weft__rd(entry->key);
  weft_rd v = weft__rd(content);
  uint32_t number = weft__rd_u32(&k);
  if (!weft__rd_done(&k) || number != r->log_count) return WEFT_ECORRUPT;
  if (weft__rd_u8(&v) != LOG_RECORD_VERSION) return WEFT_ECORRUPT;
  weft_id id = weft__rd_id(&v);
  if (v.failed) return WEFT_ECORRUPT;
  weft_log *log;
  WEFT_TRY(table_add(r, &id, &log));
  log->device = weft__rd_id(&v);
  weft_bytes incarnation = weft__rd_take(&v, 16);
  if (!v.failed) memcpy(log->incarnation, incarnation.at, 16);
  log->lane = weft__rd_u8(&v);
  log->grant = weft__rd_id(&v);
  log->parent = weft__rd_u32(&v);
  log->fork = weft__rd_u64(&v);
  log->held = weft__rd_u64(&v);
  log->head = weft__rd_id(&v);
  log->shown = weft__rd_u64(&v);
  log->shown_id = weft__rd_id(&v);
  log->ctx.hlc = weft__rd_u64(&v);
  log->ctx.opaque = weft__rd_u8(&v) != 0;
  log->signed_seq = weft__rd_u64(&v);
  log->sealed = weft__rd_u64(&v);
  log->before = weft__rd_id(&v);
  log->first_id = weft__rd_id(&v);
  log->beside = weft__rd_id(&v);
  log->wait_at = weft__rd_u64(&v);
  log->wait_since = weft__rd_u64(&v);
  log->ctx.seq = log->held;
  log->ready_id = log->shown_id;
  log->ready_seq = log->shown;
  log->flow[WEFT_FLOW_READY].at = log->shown;
  log->stored = true;
  bool sane = weft__rd_done(&v) && log->shown <= log->held && log->sealed <= log->held &&
              log->signed_seq == log->held && log->fork > 0 && log->held >= log->fork &&
              log->shown >= log->fork - 1 && log->sealed >= log->fork - 1;
  sane = sane && (log->wait_at == 0 ? log->wait_since == 0
                                    : log->wait_at > log->shown && log->wait_at <= log->held);
  return sane && parent_sane(r, log) ? WEFT_OK : WEFT_ECORRUPT;
}

weft_err weft__logs_load(weft_replica *r, weft_txn *txn) {
  weft_cursor *cursor;
  WEFT_TRY(weft_cursor_open(txn, WEFT_TABLE_LOGS, &cursor));
  weft_entry entry;
  weft_err err = weft_cursor_first(cursor, &entry);
  while (err == WEFT_OK) {
    err = log_read_record(r, &entry);
    if (err == WEFT_OK) err = weft_cursor_next(cursor, &entry);
  }
  weft_cursor_close(cursor);
  return weft__walked(err);
}

/* --- claim numbers --- */

weft_err weft__log_numbers(weft_replica *r, weft_txn *txn, weft_log *log) {
  if (log->numbers_loaded) return WEFT_OK;
  weft_cursor *cursor;
  WEFT_TRY(weft_cursor_open(txn, WEFT_TABLE_NUMBERS, &cursor));
  weft_log_context *ctx = &log->ctx;
  weft_dbkey key;
  weft_entry entry;
  ctx->number_count = 0;
  weft_err err = weft_cursor_seek(cursor, weft__dbkey_u32_u32(&key, log->number, 0), &entry);
  while (err == WEFT_OK) {
    weft_rd k = weft__rd(entry.key);
    weft_rd v = weft__rd(entry.value);
    if (weft__rd_u32(&k) != log->number) break;
    bool next = weft__rd_u32(&k) == ctx->number_count;
    weft_log_number number = {weft__rd_id(&v), weft__rd_u64(&v)};
    if (!next || !weft__rd_done(&k) || !weft__rd_done(&v)) {
      err = WEFT_ECORRUPT;
      break;
    }
    void *at = ctx->numbers;
    err = weft__arena_grow(&r->tables, &at, ctx->number_count, &ctx->number_cap,
                           ctx->number_count + 1, sizeof *ctx->numbers);
    if (err != WEFT_OK) break;
    ctx->numbers = at;
    ctx->numbers[ctx->number_count++] = number;
    err = weft_cursor_next(cursor, &entry);
  }
  weft_cursor_close(cursor);
  if (err == WEFT_EDONE) err = WEFT_OK;
  log->numbers_loaded = err == WEFT_OK;
  return err;
}

static weft_err number_put(weft_txn *txn, const weft_log *log, uint32_t number) {
  uint8_t value[40];
  const weft_log_number *n = &log->ctx.numbers[number];
  memcpy(value, n->log.b, 32);
  for (unsigned k = 0; k < 8; k++) value[32 + k] = (uint8_t)(n->seq_max >> (56 - 8 * k));
  weft_dbkey key;
  return weft_txn_put(txn, WEFT_TABLE_NUMBERS, weft__dbkey_u32_u32(&key, log->number, number),
                      weft_bytes_of(value, sizeof value));
}

weft_err weft__log_numbers_put(weft_replica *r, weft_txn *txn, const weft_log *log,
                               const weft_change *change) {
  (void)r;
  for (size_t i = 0; i < change->claim_count; i++) {
    const weft_claim *claim = &change->claims[i];
    if (claim->has_tag) WEFT_TRY(number_put(txn, log, claim->number));
  }
  return WEFT_OK;
}

/* --- spans --- */

bool weft__run_lengthen(weft_newest_run *newest, const weft_log_span *more) {
  weft_log_span *span = &newest->span;
  bool goes_on =
      span->count > 0 && span->log == more->log && span->first + span->count == more->first;
  if (goes_on) span->count += more->count;
  return goes_on;
}

weft_err weft__span_put(weft_txn *txn, weft_table table, uint64_t number,
                        const weft_log_span *span) {
  uint8_t value[20];
  for (unsigned i = 0; i < 4; i++) value[i] = (uint8_t)(span->log >> (24 - 8 * i));
  for (unsigned i = 0; i < 8; i++) value[4 + i] = (uint8_t)(span->first >> (56 - 8 * i));
  for (unsigned i = 0; i < 8; i++) value[12 + i] = (uint8_t)(span->count >> (56 - 8 * i));
  weft_dbkey key;
  return weft_txn_append(txn, table, weft__dbkey_u64(&key, number),
                         weft_bytes_of(value, sizeof value));
}

weft_err weft__span_read(weft_bytes value, weft_log_span *span) {
  weft_rd r = weft__rd(value);
  span->log = weft__rd_u32(&r);
  span->first = weft__rd_u64(&r);
  span->count = weft__rd_u64(&r);
  return weft__rd_done(&r) && span->count > 0 ? WEFT_OK : WEFT_ECORRUPT;
}

weft_err weft__span_of(const weft_replica *r, weft_bytes value, weft_log_span *span) {
  WEFT_TRY(weft__span_read(value, span));
  return span->log < r->log_count ? WEFT_OK : WEFT_ECORRUPT;
}

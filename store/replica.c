/* The replica: opening and closing, transactions, the image of the tables in memory, small tables.
 *
 * Invariants: what weft_replica_held, shown, showable, digest and arrival tell moves only after a
 * commit returned WEFT_OK; after a write that failed, the image equals the store again before the
 * next call that uses it.
 * Happy path: open reads the image; every write goes through weft__write; free writes the mirror.
 * Failure modes: WEFT_EIO ends all writing; anything else leaves the replica usable. */
#include "store/replica.h"

#include <string.h>

#include "crdt/assert.h"
#include "crdt/canary.h"
#include "crdt/hlc.h"
#include "store/outcome.h"
#include "store/replica_internal.h"
#include "store/strategy.h"

enum { BEGUN_LEN = 16 + 1 + 8, BEGUN_MAX = 64 };

/* --- errors --- */

weft_err weft__replica_fail(weft_replica *r, weft_err err, const char *text) {
  size_t len = strlen(text);
  if (len >= sizeof r->error) len = sizeof r->error - 1; /* defensive: our clauses are shorter */
  memcpy(r->error, text, len);
  r->error[len] = 0;
  return err;
}

const char *weft_replica_error(const weft_replica *r) { return r->error; }

/* Notes what the store says about its last failure. */
static weft_err store_failed(weft_replica *r, weft_err err) {
  weft_diag diag;
  if (err == WEFT_EFULL && !r->full_told) {
    weft_event full = weft__event_own(r, WEFT_EVENT_STORE_FULL);
    r->full_told = weft_replica_post_event(r, &full) == WEFT_OK;
  }
  weft_store_get_diag(r->store, &diag);
  if (err == WEFT_EIO) r->dead = WEFT_EIO;
  bool told = err <= WEFT_EIO && err > WEFT_ESTALE && diag.err == err;
  return told ? weft__replica_fail(r, err, diag.text) : err;
}

/* --- meta --- */

static weft_bytes meta_key(const char *name) { return weft_bytes_str(name); }

static weft_err meta_write(const weft_replica *r, weft_txn *txn, const char *name, weft_buf *b) {
  weft__row_seal(r, b);
  WEFT_TRY(weft__buf_err(b));
  return weft_txn_put(txn, WEFT_TABLE_META, meta_key(name), weft__buf_view(b));
}

weft_err weft__meta_put(weft_replica *r, weft_txn *txn) {
  weft_buf b;
  weft__buf_init(&b, &r->mem, SIZE_MAX);
  weft__buf_u32(&b, r->now.doc_next);
  weft__buf_u64(&b, r->now.arrival);
  weft__buf_u64(&b, r->now.shown);
  weft__buf_u64(&b, r->now.held);
  weft__buf_u64(&b, r->now.digest.high);
  weft__buf_u64(&b, r->now.digest.low);
  weft__buf_u64(&b, r->now.docs_live);
  weft__buf_u64(&b, r->now.docs_deleted);
  weft__buf_u64(&b, r->now.conflicts);
  weft__buf_u32(&b, weft_replica_apply_level(r));
  weft__buf_u64(&b, r->now.events);
  weft_err err = meta_write(r, txn, "totals", &b);
  weft__buf_free(&b);
  return err;
}

static weft_err totals_load(weft_replica *r, weft_txn *txn) {
  weft_bytes value;
  memset(&r->now, 0, sizeof r->now);
  weft_err err = weft_txn_get(txn, WEFT_TABLE_META, meta_key("totals"), &value);
  if (err == WEFT_ENOTFOUND) return WEFT_OK;
  if (err == WEFT_OK) err = weft__row_open(r, value, &value);
  if (err != WEFT_OK) return err;
  weft_rd v = weft__rd(value);
  r->now.doc_next = weft__rd_u32(&v);
  r->now.arrival = weft__rd_u64(&v);
  r->now.shown = weft__rd_u64(&v);
  r->now.held = weft__rd_u64(&v);
  r->now.digest.high = weft__rd_u64(&v);
  r->now.digest.low = weft__rd_u64(&v);
  r->now.docs_live = weft__rd_u64(&v);
  r->now.docs_deleted = weft__rd_u64(&v);
  r->now.conflicts = weft__rd_u64(&v);
  weft__rd_u32(&v);
  /* Stores made before there were events end here. */
  if (!weft__rd_done(&v)) r->now.events = weft__rd_u64(&v);
  return weft__rd_done(&v) ? WEFT_OK : WEFT_ECORRUPT;
}

static weft_err space_put(weft_replica *r, weft_txn *txn, uint64_t instance) {
  weft_buf b;
  weft__buf_init(&b, &r->mem, SIZE_MAX);
  weft__buf_u32(&b, WEFT_REPLICA_FORMAT);
  weft__buf_put_raw(&b, r->space.b, sizeof r->space.b);
  weft__buf_put_raw(&b, r->identity.device.b, sizeof r->identity.device.b);
  weft__buf_u64(&b, instance);
  weft_err err = meta_write(r, txn, "space", &b);
  weft__buf_free(&b);
  return err;
}

/* WEFT_ENOTFOUND: the store is new. */
static weft_err space_load(weft_replica *r, weft_txn *txn) {
  weft_bytes value, fence;
  WEFT_TRY(weft_txn_get(txn, WEFT_TABLE_META, meta_key("space"), &value));
  weft_err err = weft_txn_get(txn, WEFT_TABLE_META, meta_key(WEFT_FENCE_KEY), &fence);
  if (err != WEFT_OK && err != WEFT_ENOTFOUND) return err;
  r->fenced = err == WEFT_OK;
  weft_rd v = weft__rd(value);
  if (weft__rd_u32(&v) != WEFT_REPLICA_FORMAT) return v.failed ? WEFT_ECORRUPT : WEFT_EVERSION;
  weft_id space = weft__rd_id(&v);
  weft_id device = weft__rd_id(&v);
  r->instance = weft__rd_u64(&v);
  if (v.failed) return WEFT_ECORRUPT;
  /* The check is keyed by the space, so the space is looked at first. */
  if (weft_id_cmp(&space, &r->space) != 0) return WEFT_EFOREIGN;
  WEFT_TRY(weft__row_open(r, value, &value));
  r->adopted = weft_id_cmp(&device, &r->identity.device) != 0;
  return r->adopted && !r->fenced ? WEFT_EFOREIGN : WEFT_OK;
}

const char *weft_begun_why_str(weft_begun_why why) {
  static const char *const texts[] = {
#define WEFT_BEGUN_TEXT(name, text) text,
      WEFT_BEGUN_WHYS(WEFT_BEGUN_TEXT)
#undef WEFT_BEGUN_TEXT
  };
  bool known = (unsigned)why < sizeof texts / sizeof *texts;
  return known ? texts[why] : "unknown";
}

/* The rows of the list, without its check. */
static weft_err begun_rows(const weft_replica *r, weft_txn *txn, weft_bytes *rows) {
  weft_bytes value;
  *rows = weft_bytes_of(NULL, 0);
  weft_err err = weft_txn_get(txn, WEFT_TABLE_META, meta_key("begun"), &value);
  if (err != WEFT_OK) return weft__if_any(err);
  WEFT_TRY(weft__row_open(r, value, rows));
  return rows->len % BEGUN_LEN == 0 && rows->len <= BEGUN_LEN * BEGUN_MAX ? WEFT_OK : WEFT_ECORRUPT;
}

bool weft__incarnation_used(const weft_replica *r, const uint8_t *incarnation) {
  bool used = false;
  for (uint32_t i = 0; i < r->log_count && !used; i++) {
    const weft_log *log = r->logs[i];
    used = weft_id_cmp(&log->device, &r->identity.device) == 0 &&
           memcmp(log->incarnation, incarnation, sizeof log->incarnation) == 0;
  }
  return used;
}

/* Adds the incarnation that begins now.  It takes the place of one that nothing was written under,
 * and has its reason where it only lacks a mirror because that one had none yet. */
static weft_err begun_put(weft_replica *r, weft_txn *txn) {
  weft_bytes rows;
  weft_buf b;
  WEFT_TRY(begun_rows(r, txn, &rows));
  const uint8_t *last = rows.len > 0 ? rows.at + rows.len - BEGUN_LEN : NULL;
  if (last && !weft__incarnation_used(r, last)) {
    rows.len -= BEGUN_LEN;
    if (r->begun_why == WEFT_BEGUN_MISSING) r->begun_why = (weft_begun_why)last[16];
  }
  if (rows.len == BEGUN_LEN * BEGUN_MAX) {
    rows = weft_bytes_of(rows.at + BEGUN_LEN, rows.len - BEGUN_LEN);
  }
  weft__buf_init(&b, &r->mem, SIZE_MAX);
  weft__buf_put(&b, rows);
  weft__buf_put_raw(&b, r->incarnation, sizeof r->incarnation);
  weft__buf_u8(&b, (uint8_t)r->begun_why);
  weft__buf_u64(&b, r->hlc);
  weft_err err = meta_write(r, txn, "begun", &b);
  weft__buf_free(&b);
  return err;
}

weft_err weft_replica_begun(weft_replica *r, weft_arena *arena, weft_begun **out, size_t *count) {
  weft_txn *txn;
  weft_bytes rows;
  WEFT_TRY(weft__read_begin(r, &txn));
  weft_err err = begun_rows(r, txn, &rows);
  if (err == WEFT_OK) err = weft__arena_copy(arena, rows, &rows);
  weft__read_end(r, txn);
  WEFT_TRY(err);
  *count = rows.len / BEGUN_LEN;
  *out = weft__arena_zero(arena, *count, sizeof **out);
  if (!*out) return WEFT_ENOMEM;
  weft_rd v = weft__rd(rows);
  for (size_t i = 0; i < *count; i++) {
    weft_begun *b = &(*out)[i];
    weft_bytes incarnation = weft__rd_take(&v, sizeof b->incarnation);
    memcpy(b->incarnation, incarnation.at, sizeof b->incarnation);
    b->why = (weft_begun_why)weft__rd_u8(&v);
    b->hlc = weft__rd_u64(&v);
  }
  return WEFT_OK;
}

/* A store that was set back or copied leads a life of its own: what others remember of the arrivals
 * of the one it was tells nothing about it. Who learns that from a peer changes it at the next
 * opening, since links know the present one. */
static weft_err instance_put(weft_replica *r, weft_txn *txn) {
  uint64_t instance = r->instance;
  if (r->begun_why == WEFT_BEGUN_PEER) {
    instance = weft__instance_drawn(r);
  } else if (!r->instance_new) {
    return WEFT_OK;
  }
  r->instance_new = false;
  return space_put(r, txn, instance);
}

static weft_err own_put(weft_replica *r, weft_txn *txn) {
  if (!r->incarnation_new) return WEFT_OK;
  weft_buf b;
  WEFT_TRY(begun_put(r, txn));
  r->moved = true;
  r->incarnation_new = false;
  weft__buf_init(&b, &r->mem, SIZE_MAX);
  weft__buf_put_raw(&b, r->incarnation, sizeof r->incarnation);
  weft_err err = meta_write(r, txn, "own", &b);
  weft__buf_free(&b);
  if (err == WEFT_OK) err = instance_put(r, txn);
  if (err == WEFT_OK && r->fenced) {
    err = weft_txn_delete(txn, WEFT_TABLE_META, meta_key(WEFT_FENCE_KEY));
    if (err == WEFT_ENOTFOUND) err = WEFT_OK; /* another incarnation began in this opening */
  }
  if (err != WEFT_OK || r->begun_why == WEFT_BEGUN_FIRST) return err;
  weft_event begun = weft__event_own(r, WEFT_EVENT_STORE_BEGUN);
  begun.text = weft_bytes_str(weft_begun_why_str(r->begun_why));
  return weft__event_put(r, txn, &begun);
}

/* Whether the incarnation in use is the one in the store; `first` also takes it over. */
static weft_err own_load(weft_replica *r, weft_txn *txn, bool first) {
  weft_bytes value;
  r->incarnation_new = true;
  if (first && r->adopted) return WEFT_OK; /* what another device wrote under */
  weft_err err = weft_txn_get(txn, WEFT_TABLE_META, meta_key("own"), &value);
  if (err == WEFT_ENOTFOUND) return WEFT_OK;
  if (err == WEFT_OK) err = weft__row_open(r, value, &value);
  if (err != WEFT_OK) return err;
  if (value.len != sizeof r->incarnation) return WEFT_ECORRUPT;
  if (first) memcpy(r->incarnation, value.at, value.len);
  r->incarnation_new = memcmp(r->incarnation, value.at, value.len) != 0;
  return WEFT_OK;
}

/* --- the image --- */

static void image_clear(weft_replica *r) {
  r->image++;
  weft__cache_clear(r);
  weft__arena_reset(&r->tables);
  weft__rules_clear(r);
  r->logs = NULL;
  r->by_id = NULL;
  memset(r->found, 0, sizeof r->found);
  r->indexes = NULL;
  r->index_count = 0;
  r->log_count = 0;
  r->log_cap = r->by_id_cap = 0;
  for (int i = 0; i < WEFT_FLOWS; i++) r->queue_head[i] = r->queue_tail[i] = NULL;
  r->orphans = NULL;
  r->touched = NULL;
}

/* The newest entry of `order` or `arrival`. */
static weft_err run_load(weft_txn *txn, weft_table table, weft_newest_run *out) {
  weft_cursor *cursor;
  weft_entry entry;
  memset(out, 0, sizeof *out);
  WEFT_TRY(weft_cursor_open(txn, table, &cursor));
  weft_err err = weft_cursor_last(cursor, &entry);
  if (err == WEFT_OK) {
    weft_rd k = weft__rd(entry.key);
    weft_newest_run run = {.number = weft__rd_u64(&k)};
    err = weft__span_read(entry.value, &run.span);
    if (err == WEFT_OK) *out = run;
  }
  weft_cursor_close(cursor);
  return weft__walked(err);
}

/* Tells what the branches of a log came to, each in its own word. */
static weft_err vectors_set(weft_replica *r, const weft_log *log) {
  weft_arena arena;
  weft__arena_init(&arena, &r->mem);
  weft_err err = weft__heads_tell(r, log, WEFT_TIP_HELD, &arena, &r->held);
  if (err == WEFT_OK) err = weft__heads_tell(r, log, WEFT_TIP_SHOWN, &arena, &r->shown);
  if (err == WEFT_OK) err = weft__heads_tell(r, log, WEFT_TIP_READY, &arena, &r->showable);
  weft__arena_free(&arena);
  return err;
}

/* Tells what one log came to.  What was told is durable, and is not taken back while showing does
 * not begin anew. */
static weft_err vectors_raise(weft_replica *r, const weft_log *log) {
  if (weft__log_is_forked(r, log)) return vectors_set(r, log);
  weft_head held = {log->id, log->held, log->head};
  weft_head shown = {log->id, log->shown, log->shown_id};
  weft_head ready = {log->id, log->flow[WEFT_FLOW_READY].at, log->ready_id};
  if (held.seq > 0) WEFT_TRY(weft__vector_raise(&r->held, NULL, &held));
  if (shown.seq > 0) WEFT_TRY(weft__vector_raise(&r->shown, NULL, &shown));
  if (ready.seq > 0) WEFT_TRY(weft__vector_raise(&r->showable, NULL, &ready));
  return WEFT_OK;
}

static weft_err image_load(weft_replica *r, weft_txn *txn) {
  WEFT_TRY(totals_load(r, txn));
  WEFT_TRY(weft__logs_load(r, txn));
  WEFT_TRY(weft__indexes_load(r, txn));
  WEFT_TRY(run_load(txn, WEFT_TABLE_ORDER, &r->order));
  WEFT_TRY(run_load(txn, WEFT_TABLE_ARRIVAL, &r->arrived));
  WEFT_TRY(weft__events_load(r, txn));
  WEFT_TRY(own_load(r, txn, false));
  WEFT_TRY(weft__roster_load(r, txn, false));
  for (uint32_t i = 0; i < r->log_count; i++) {
    weft_log *log = r->logs[i];
    log->flow[WEFT_FLOW_SHOW].at = log->shown;
    if (log->held > log->shown) weft__ready_queue(r, log);
  }
  WEFT_TRY(weft__ready_run(r, txn));
  for (uint32_t i = 0; i < r->log_count; i++) {
    WEFT_TRY(vectors_raise(r, r->logs[i]));
    r->logs[i]->touched = false;
  }
  r->touched = NULL;
  return weft__rules_load(r, txn);
}

weft_err weft__reload(weft_replica *r) {
  weft_txn *txn;
  r->stale = true;
  image_clear(r);
  WEFT_TRY(weft_store_begin(r->store, WEFT_TXN_READ, &txn));
  weft_err err = image_load(r, txn);
  weft_txn_abort(txn);
  if (err != WEFT_OK) return store_failed(r, err);
  r->stale = false;
  r->moved = false;
  r->published = r->now;
  return WEFT_OK;
}

/* --- transactions --- */

void weft__read_end(weft_replica *r, weft_txn *txn) {
  if (txn != r->txn) weft_txn_abort(txn);
}

/* Completes what a transaction has to say: signatures, records of logs, totals. */
static weft_err write_finish(weft_replica *r, weft_txn *txn) {
  for (weft_log *log = r->touched; log; log = log->next_touched) {
    WEFT_TRY(weft__log_sign(r, txn, log));
    bool long_tail = log->held - log->sealed >= WEFT_TAIL_COUNT_MAX;
    if (long_tail || log->tail_len >= WEFT_TAIL_LEN_MAX) WEFT_TRY(weft__log_seal(r, txn, log));
    WEFT_TRY(weft__log_put(r, txn, log));
  }
  WEFT_TRY(weft__group_settle(r, txn));
  if (r->touched) WEFT_TRY(own_put(r, txn));
  WEFT_TRY(weft__event_posts_put(r, txn));
  bool said = r->touched || r->now.events != r->published.events;
  return said ? weft__meta_put(r, txn) : WEFT_OK;
}

static void count_published(weft_replica *r) {
  weft_metrics *m = r->metrics;
  if (!m) return;
  uint64_t shown_before = r->restarted ? 0 : r->published.shown;
  weft__count(m, WEFT_METRIC_TRANSACTIONS, 1);
  weft__count(m, WEFT_METRIC_COMMITS, r->commits_open);
  weft__count(m, WEFT_METRIC_COMMIT_OPS, r->commit_ops_open);
  weft__count(m, WEFT_METRIC_HELD, r->now.held - r->published.held);
  weft__count(m, WEFT_METRIC_SHOWN, r->now.shown - shown_before);
  weft__metrics_lag(m, r->now.held, r->now.shown);
  r->commits_open = r->commit_ops_open = 0;
}

/* The transaction is durable: from here on others may be told. */
static void write_publish(weft_replica *r) {
  count_published(r);
  if (r->restarted) {
    weft__vector_clear(&r->shown);
    weft__vector_clear(&r->showable);
  }
  while (r->touched) {
    weft_log *log = r->touched;
    r->touched = log->next_touched;
    log->touched = false;
    if (vectors_raise(r, log) != WEFT_OK) r->stale = true;
  }
  r->published = r->now;
  r->moved = false;
  if (r->restarted) weft__edits_rollback(r);
  r->restarted = false;
  weft__event_posts_done(r, true);
  weft__mirror_note(r, false);
}

/* The transaction is gone: makes the image equal to the store again. */
static void write_undo(weft_replica *r) {
  r->restarted = false;
  weft__group_forget(r);
  weft__event_posts_done(r, false);
  r->commits_open = r->commit_ops_open = 0;
  if (!r->moved) return;
  r->stale = true;
  if (r->dead != WEFT_OK) return;
  weft_totals published = r->published;
  if (weft__reload(r) != WEFT_OK) r->published = published;
  weft__edits_rollback(r);
}

static weft_err write_once(weft_replica *r, weft_write_fn fn, void *arg) {
  weft_txn *txn;
  WEFT_TRY(weft_store_begin(r->store, WEFT_TXN_WRITE, &txn));
  weft_err err = fn(r, txn, arg);
  if (err == WEFT_OK) err = write_finish(r, txn);
  if (err != WEFT_OK) {
    weft_txn_abort(txn);
    return err;
  }
  if (WEFT_CANARY(PUBLISH_EARLY)) write_publish(r);
  return weft_txn_commit(txn);
}

/* A group cannot be run again from here, but the next one finds room. */
static void group_make_room(weft_replica *r, weft_err err) {
  if (err == WEFT_EFULL && !r->stale) (void)!weft_store_grow(r->store);
}

static void group_lose(weft_replica *r, weft_err err) {
  weft_txn_abort(r->txn);
  r->txn = NULL;
  r->group_err = err;
  write_undo(r);
  group_make_room(r, err);
}

static weft_err group_fail(weft_replica *r, weft_err err) {
  err = store_failed(r, err);
  WEFT_ASSERT(err != WEFT_OK);
  group_lose(r, err);
  return err;
}

weft_err weft__read_begin(weft_replica *r, weft_txn **txn) {
  if (r->stale) WEFT_TRY(weft__reload(r));
  if (r->txn) {
    weft_err err = weft__group_settle(r, r->txn);
    if (err != WEFT_OK) return group_fail(r, err);
    *txn = r->txn;
    return WEFT_OK;
  }
  weft_err err = weft_store_begin(r->store, WEFT_TXN_READ, txn);
  return err == WEFT_OK ? WEFT_OK : store_failed(r, err);
}

static weft_err write_in_group(weft_replica *r, weft_write_fn fn, void *arg) {
  if (r->group_err != WEFT_OK) return r->group_err;
  bool moved = r->moved;
  r->moved = false;
  weft_err err = fn(r, r->txn, arg);
  bool harmed = r->moved;
  r->moved = r->moved || moved;
  if (err == WEFT_OK) return WEFT_OK;
  if (harmed || (err <= WEFT_EIO && err > WEFT_ESTALE)) return group_fail(r, err);
  return store_failed(r, err);
}

weft_err weft__write_commit(weft_replica *r, weft_write_fn fn, void *arg) {
  if (r->dead != WEFT_OK) return r->dead;
  return r->group ? write_in_group(r, fn, arg) : weft__write(r, fn, arg);
}

weft_err weft__write(weft_replica *r, weft_write_fn fn, void *arg) {
  weft_txn *txn;
  if (r->dead != WEFT_OK) return r->dead;
  if (r->group) {
    if (r->group_err != WEFT_OK) return r->group_err;
    WEFT_TRY(weft__read_begin(r, &txn)); /* it may read tables */
    return write_in_group(r, fn, arg);
  }
  if (r->stale) WEFT_TRY(weft__reload(r));
  r->error[0] = 0;
  weft_err err = write_once(r, fn, arg);
  if (err == WEFT_EFULL) {
    write_undo(r);
    if (!r->stale && weft_store_grow(r->store) == WEFT_OK) err = write_once(r, fn, arg);
  }
  if (err == WEFT_OK) {
    write_publish(r);
    return WEFT_OK;
  }
  err = store_failed(r, err);
  write_undo(r);
  return err;
}

/* --- groups --- */

weft_err weft_group_begin(weft_replica *r) {
  if (r->group) return WEFT_EMISUSE;
  if (r->dead != WEFT_OK) return r->dead;
  if (r->stale) WEFT_TRY(weft__reload(r));
  weft_err err = weft_store_begin(r->store, WEFT_TXN_WRITE, &r->txn);
  if (err != WEFT_OK) {
    r->txn = NULL;
    return store_failed(r, err);
  }
  r->group = true;
  r->group_err = WEFT_OK;
  return WEFT_OK;
}

weft_err weft_group_end(weft_replica *r) {
  if (!r->group) return WEFT_EMISUSE;
  uint64_t started = weft__metrics_clock(r->metrics);
  r->group = false;
  weft__spares_free(r);
  weft_err err = r->group_err;
  if (err != WEFT_OK) return err;
  weft_txn *txn = r->txn;
  err = write_finish(r, txn);
  r->txn = NULL;
  if (err == WEFT_OK) {
    err = weft_txn_commit(txn);
  } else {
    weft_txn_abort(txn);
  }
  if (err == WEFT_OK) {
    weft__group_forget(r);
    write_publish(r);
    weft__observe_since(r->metrics, WEFT_METRIC_COMMIT_TIME, started);
    return WEFT_OK;
  }
  err = store_failed(r, err);
  write_undo(r);
  group_make_room(r, err);
  return err;
}

void weft_group_abort(weft_replica *r) {
  if (!r->group) return;
  r->group = false;
  weft__spares_free(r);
  if (r->group_err != WEFT_OK) return;
  weft_txn_abort(r->txn);
  r->txn = NULL;
  write_undo(r);
}

/* --- opening and closing --- */

void weft_replica_options_init_sized(weft_replica_options *o, size_t struct_size) {
  memset(o, 0, struct_size);
  o->struct_size = struct_size;
  o->mem = weft_alloc_libc();
  o->crypto = weft_crypto_sodium();
}

static const weft_id *log_id_of(const void *ctx, uint32_t log) {
  const weft_replica *r = ctx;
  return log < r->log_count ? &r->logs[log]->id : NULL;
}

static void replica_init(weft_replica *r, const weft_replica_options *o) {
  memset(r, 0, sizeof *r);
  r->mirror_file = -1;
  r->mem = o->mem;
  r->crypto = o->crypto;
  r->platform = o->platform;
  r->identity = *o->identity;
  r->space = o->space;
  r->store = o->store;
  r->events_kept = WEFT_EVENTS_KEPT;
  r->metrics = o->metrics;
  r->lineage = (weft_lineage){r, weft__dot_precedes, weft__dot_rank};
  r->state_env.seal.crypto = o->crypto;
  weft__digest_key(o->crypto, &o->space, &r->state_env.seal.key);
  r->state_env.mem = o->mem;
  r->state_env.ctx = r;
  r->state_env.log_id = log_id_of;
  weft__arena_init(&r->tables, &r->mem);
  weft__arena_init(&r->kept.arena, &r->mem);
  weft__arena_init(&r->rules_arena, &r->mem);
  weft__vector_init(&r->held, &r->mem);
  weft__vector_init(&r->shown, &r->mem);
  weft__vector_init(&r->showable, &r->mem);
  for (size_t i = 0; i < WEFT_RUN_CACHE_COUNT; i++) {
    weft__arena_init(&r->cache[i].arena, &r->mem);
  }
}

static weft_err space_write(weft_replica *r, weft_txn *txn, void *arg) {
  (void)arg;
  r->instance = weft__instance_drawn(r);
  return space_put(r, txn, r->instance);
}

/* Makes a new store one of this space. */
static weft_err store_prepare(weft_replica *r) {
  weft_txn *txn;
  WEFT_TRY(weft_store_begin(r->store, WEFT_TXN_READ, &txn));
  weft_err err = space_load(r, txn);
  if (err == WEFT_OK) err = own_load(r, txn, true);
  weft_txn_abort(txn);
  return err == WEFT_ENOTFOUND ? weft__write(r, space_write, NULL) : err;
}

weft_err weft_replica_open(weft_replica **out, const weft_replica_options *options) {
  weft_replica_options full = {0};
  const weft_replica_options *o = &full;
  size_t known = options->struct_size < sizeof full ? options->struct_size : sizeof full;
  memcpy(&full, options, known);
  *out = NULL;
  bool complete = known >= offsetof(weft_replica_options, metrics) && o->crypto && o->identity &&
                  o->store && o->platform.wall_ms && o->platform.entropy;
  if (!complete) return WEFT_EMISUSE;
  weft_replica *r = o->mem.alloc(o->mem.ctx, sizeof *r);
  if (!r) return WEFT_ENOMEM;
  replica_init(r, o);
  weft_err err = weft__chunk_codec_new(&r->codec, &r->mem);
  if (err == WEFT_OK) err = store_prepare(r);
  if (err == WEFT_OK) err = weft__reload(r);
  if (err == WEFT_OK) err = weft__incarnation_open(r, o);
  if (err != WEFT_OK) {
    r->store = NULL;
    weft_replica_free(r);
    return err;
  }
  *out = r;
  return WEFT_OK;
}

void weft_replica_free(weft_replica *r) {
  if (!r) return;
  weft_group_abort(r);
  weft__edits_drop(r);
  if (r->store && r->post_count > 0) (void)!weft_replica_flush_events(r); /* as far as it goes */
  weft__events_free(r);
  if (r->store) weft__mirror_note(r, true);
  weft__mirror_free(r);
  weft__roster_free(r->roster);
  weft__vector_free(&r->held);
  weft__vector_free(&r->shown);
  weft__vector_free(&r->showable);
  weft__cache_clear(r);
  weft__chunk_codec_free(r->codec);
  weft__arena_free(&r->tables);
  weft__arena_free(&r->rules_arena);
  weft_store_free(r->store);
  weft_identity_wipe(&r->identity, r->crypto);
  weft_alloc mem = r->mem;
  mem.free(mem.ctx, r);
}

/* --- what others may be told --- */

const weft_vector *weft_replica_held(const weft_replica *r) { return &r->held; }
const weft_vector *weft_replica_shown(const weft_replica *r) { return &r->shown; }
const weft_vector *weft_replica_showable(const weft_replica *r) { return &r->showable; }
weft_digest weft_replica_digest(const weft_replica *r) { return r->published.digest; }
uint64_t weft_replica_arrival(const weft_replica *r) { return r->published.arrival; }
uint64_t weft_replica_instance(const weft_replica *r) { return r->instance; }

uint32_t weft_replica_apply_level(const weft_replica *r) {
  (void)r;
  uint32_t kinds = 0;
  for (unsigned kind = WEFT_OP_SCALAR; kind <= WEFT_OP_POSITION; kind++) kinds |= 1u << kind;
  return kinds | WEFT_CHANGE_VERSION << 24;
}

weft_err weft_replica_counts(weft_replica *r, weft_counts *out) {
  if (r->stale) WEFT_TRY(weft__reload(r));
  out->docs = r->now.docs_live;
  out->deleted = r->now.docs_deleted;
  out->conflicts = r->now.conflicts;
  out->changes_held = r->now.held;
  out->changes_shown = r->now.shown;
  out->logs = r->log_count;
  return weft__strategy_unresolved(r, &out->unresolved);
}

weft_err weft_replica_measure(weft_replica *r, weft_metrics *m) {
  weft_counts counts;
  const weft_roster_member *members;
  size_t member_count, stuck = 0;
  WEFT_TRY(weft_replica_counts(r, &counts));
  weft__roster_members(r->roster, &members, &member_count);
  for (uint32_t i = 0; i < r->log_count; i++) stuck += r->logs[i]->flow[WEFT_FLOW_READY].waiting;
  uint64_t now = weft__metrics_clock(m);
  bool lags = m->lag_since > 0 && now > m->lag_since;
  weft__gauge(m, WEFT_METRIC_CHANGES_HELD, counts.changes_held);
  weft__gauge(m, WEFT_METRIC_CHANGES_SHOWN, counts.changes_shown);
  weft__gauge(m, WEFT_METRIC_SHOW_LAG, counts.changes_held - counts.changes_shown);
  weft__gauge(m, WEFT_METRIC_SHOW_LAG_TIME, lags ? now - m->lag_since : 0);
  weft__gauge(m, WEFT_METRIC_STUCK, stuck);
  weft__gauge(m, WEFT_METRIC_DOCS, counts.docs);
  weft__gauge(m, WEFT_METRIC_DELETED, counts.deleted);
  weft__gauge(m, WEFT_METRIC_CONFLICTS, counts.conflicts);
  weft__gauge(m, WEFT_METRIC_UNRESOLVED, counts.unresolved);
  weft__gauge(m, WEFT_METRIC_LOGS, counts.logs);
  weft__gauge(m, WEFT_METRIC_MEMBERS, member_count);
  return WEFT_OK;
}

/* --- small tables --- */

typedef struct small_put {
  weft_table table;
  weft_bytes key;
  weft_bytes value;
} small_put;

static weft_err small_write(weft_replica *r, weft_txn *txn, void *arg) {
  (void)r;
  const small_put *put = arg;
  return weft_txn_put(txn, put->table, put->key, put->value);
}

typedef struct small_list {
  weft_known_address *addresses;
  weft_bytes *values;
  size_t count;
} small_list;

static weft_err small_take(small_list *list, weft_arena *arena, const weft_entry *entry) {
  if (list->values) return weft__arena_copy(arena, entry->value, &list->values[list->count]);
  weft_known_address *address = &list->addresses[list->count];
  if (entry->value.len == sizeof address->device)
    memcpy(&address->device, entry->value.at, sizeof address->device);
  return weft__arena_copy(arena, entry->key, &address->text);
}

/* Reads a table whole: addresses, or the values of another. */
static weft_err small_read(weft_replica *r, weft_arena *arena, weft_table table, small_list *list) {
  weft_txn *txn;
  weft_cursor *cursor = NULL;
  weft_entry entry;
  uint64_t n = 0;
  memset(list, 0, sizeof *list);
  WEFT_TRY(weft__read_begin(r, &txn));
  weft_err err = weft_txn_count(txn, table, &n);
  if (err == WEFT_OK && table == WEFT_TABLE_ADDRESS)
    list->addresses = weft__arena_zero(arena, (size_t)n, sizeof *list->addresses);
  else if (err == WEFT_OK)
    list->values = weft__arena_zero(arena, (size_t)n, sizeof *list->values);
  if (err == WEFT_OK && !list->addresses && !list->values) err = WEFT_ENOMEM;
  if (err == WEFT_OK) err = weft_cursor_open(txn, table, &cursor);
  if (err == WEFT_OK) err = weft_cursor_first(cursor, &entry);
  while (err == WEFT_OK && list->count < n) {
    err = small_take(list, arena, &entry);
    if (err != WEFT_OK) break;
    list->count++;
    err = weft_cursor_next(cursor, &entry);
  }
  weft_cursor_close(cursor);
  weft__read_end(r, txn);
  return err == WEFT_EDONE ? WEFT_OK : err;
}

weft_err weft_replica_put_ack(weft_replica *r, const weft_id *device, weft_bytes ack) {
  small_put put = {WEFT_TABLE_ACK, weft_bytes_of(device->b, sizeof device->b), ack};
  return weft__write(r, small_write, &put);
}

weft_err weft_replica_acks(weft_replica *r, weft_arena *arena, weft_bytes **acks, size_t *count) {
  small_list list;
  WEFT_TRY(small_read(r, arena, WEFT_TABLE_ACK, &list));
  *acks = list.values;
  *count = list.count;
  return WEFT_OK;
}

weft_err weft_replica_put_address(weft_replica *r, weft_bytes address, const weft_id *device) {
  small_put put = {WEFT_TABLE_ADDRESS, address, weft_bytes_of(device->b, sizeof device->b)};
  return weft__write(r, small_write, &put);
}

weft_err weft_replica_addresses(weft_replica *r, weft_arena *arena, weft_known_address **addresses,
                                size_t *count) {
  small_list list;
  WEFT_TRY(small_read(r, arena, WEFT_TABLE_ADDRESS, &list));
  *addresses = list.addresses;
  *count = list.count;
  return WEFT_OK;
}

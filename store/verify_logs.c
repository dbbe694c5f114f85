/* Proving the logs: everything else follows from them.
 *
 * Each log is read from its first change on.  Ids are computed anew from the bytes, every signature
 * that is stored is checked, every change is judged again by what came before it, and what the
 * store remembers of the log - its record, its claim numbers - must be what that gives.  Then the
 * tables are counted, so that nothing lies beside what was read.
 * Failure modes: damage is a finding and ends the log it was found in; the others are still read.
 */
#include <string.h>

#include "store/verify_internal.h"
#include "store/outcome.h"

/* A log being read. */
typedef struct log_walk {
  weft_verify *v;
  weft_txn *txn;
  weft_log *log;
  weft_arena numbers; /* of `ctx` */
  weft_arena one;     /* of one change */
  weft_log_context ctx;
  uint64_t seq; /* the last one read */
  weft_id id;   /* its id */
  bool bad;
} log_walk;

/* Entries that were met, for counting. */
typedef struct log_counts {
  uint64_t chunks, tails, numbers, logids, held, shown;
} log_counts;

static void log_find(log_walk *w, const char *what) {
  w->bad = true;
  weft__verify_find(w->v, what, weft_bytes_of(w->log->id.b, sizeof w->log->id.b));
}

/* The START must be what the record says of the log. */
static void check_start(log_walk *w, const weft_change *change) {
  const weft_log *log = w->log;
  const weft_start *start = &change->start;
  weft_id id;
  if (change->state != WEFT_CHANGE_VALID || change->kind != WEFT_CHANGE_START) {
    log_find(w, "a log does not begin with START");
    return;
  }
  weft__log_id(w->v->again->crypto, &w->v->again->space, start, &id);
  bool same = weft_id_cmp(&id, &log->id) == 0 && weft_id_cmp(&start->device, &log->device) == 0 &&
              weft_id_cmp(&start->grant, &log->grant) == 0 && start->lane == log->lane &&
              memcmp(start->incarnation, log->incarnation, sizeof log->incarnation) == 0;
  if (!same) log_find(w, "the record of a log is not what its START says");
  if (!weft__member_may_start(w->v->again, start)) log_find(w, "no record admits a log");
}

/* Takes the next change, whose id was computed from its bytes. */
static weft_err take_change(log_walk *w, weft_bytes raw, const weft_id *id, unsigned state) {
  weft_change change;
  weft__arena_reset(&w->one);
  WEFT_TRY(weft__change_parse(&w->one, raw, &change));
  weft__change_judge(&w->ctx, &change);
  WEFT_TRY(weft__log_context_advance(&w->ctx, &w->numbers, &change));
  if ((unsigned)change.state != state) log_find(w, "a change was judged wrongly");
  w->seq++;
  w->id = *id;
  if (w->seq == 1) check_start(w, &change);
  if (w->seq == w->log->fork && weft_id_cmp(id, &w->log->first_id) != 0) {
    log_find(w, "a branch begins with another change");
  }
  if (w->seq == w->log->shown && weft_id_cmp(id, &w->log->shown_id) != 0) {
    log_find(w, "the change shown last is another one");
  }
  w->v->report->changes++;
  weft__verify_step(w->v, 1);
  return WEFT_OK;
}

static weft_err walk_chunks(log_walk *w, log_counts *counts) {
  while (w->seq < w->log->sealed && !w->bad) {
    const weft_run_cache *c;
    WEFT_TRY(weft__log_chunk(w->v->again, w->txn, w->log, w->seq + 1, &c));
    WEFT_TRY(weft__log_chunk_verify(w->v->again, w->log, c));
    bool follows = c->first == w->seq + 1 && weft_id_cmp(&c->prev, &w->id) == 0;
    if (!follows || c->count > w->log->sealed - w->seq) {
      /* defensive: only a chunk of another branch is whole, signed and out of place */
      log_find(w, "a chunk does not follow what is before it");
      return WEFT_OK;
    }
    w->v->report->signatures++;
    counts->chunks++;
    for (size_t i = 0; i < c->count && !w->bad; i++) {
      WEFT_TRY(take_change(w, c->changes[i], &c->ids[i], c->states[i]));
    }
  }
  return WEFT_OK;
}

static weft_err walk_tail(log_walk *w, log_counts *counts) {
  const weft_replica *r = w->v->again;
  weft_arena item_arena;
  weft_err err = WEFT_OK;
  weft__arena_init(&item_arena, &r->mem);
  while (w->seq < w->log->held && !w->bad && err == WEFT_OK) {
    weft_log_item item;
    weft_id id;
    weft__arena_reset(&item_arena);
    err = weft__log_read(w->v->again, w->txn, w->log, w->seq + 1, &item_arena, &item);
    if (err != WEFT_OK) break;
    counts->tails++;
    weft__change_id(r->crypto, &r->space, &w->id, item.raw, &id);
    if (weft_id_cmp(&id, &item.id) != 0) log_find(w, "a change does not follow the one before it");
    if (item.is_signed) {
      w->v->report->signatures++;
      bool good = weft__change_sig_ok(r->crypto, &w->log->device, &r->space, &w->log->id, item.seq,
                                      &id, &item.sig);
      if (!good) log_find(w, "a signature is not valid");
    } else if (item.seq == w->log->held) {
      log_find(w, "the newest change of a log is not signed");
    }
    if (!w->bad) err = take_change(w, item.raw, &id, item.state);
  }
  weft__arena_free(&item_arena);
  return err;
}

/* The claim numbers in the store must be those that the changes defined. */
static weft_err check_numbers(log_walk *w, log_counts *counts) {
  weft_cursor *cursor;
  weft_entry entry;
  weft_dbkey key;
  size_t n = 0;
  WEFT_TRY(weft_cursor_open(w->txn, WEFT_TABLE_NUMBERS, &cursor));
  weft_err err = weft_cursor_seek(cursor, weft__dbkey_u32_u32(&key, w->log->number, 0), &entry);
  for (; err == WEFT_OK; err = weft_cursor_next(cursor, &entry)) {
    weft_rd k = weft__rd(entry.key);
    weft_rd v = weft__rd(entry.value);
    if (weft__rd_u32(&k) != w->log->number) break;
    uint32_t number = weft__rd_u32(&k);
    weft_log_number is = {weft__rd_id(&v), weft__rd_u64(&v)};
    bool same = weft__rd_done(&k) && weft__rd_done(&v) && number == n && n < w->ctx.number_count &&
                weft_id_cmp(&is.log, &w->ctx.numbers[n].log) == 0 &&
                is.seq_max == w->ctx.numbers[n].seq_max;
    n++;
    if (same) continue;
    log_find(w, "a claim number of a log is not what its changes say");
    break;
  }
  weft_cursor_close(cursor);
  if (!w->bad && n != w->ctx.number_count) log_find(w, "a claim number of a log is missing");
  counts->numbers += n;
  return weft__walked(err);
}

/* Whether the row of a log's id lists the numbers of its branches. */
static bool lists_branches(const weft_replica *r, const weft_log *log, weft_bytes row) {
  weft_rd rd = weft__rd(row);
  const weft_log *b = weft__log_find(r, &log->id);
  while (b && weft__rd_u32(&rd) == b->number && !rd.failed) b = b->sibling;
  return !b && weft__rd_done(&rd);
}

static weft_err check_end(log_walk *w, log_counts *counts) {
  const weft_log *log = w->log;
  weft_bytes value;
  bool same = weft_id_cmp(&w->id, &log->head) == 0 && w->ctx.hlc == log->ctx.hlc &&
              w->ctx.opaque == log->ctx.opaque;
  if (!same) log_find(w, "the record of a log is not what its changes say");
  weft_err err =
      weft_txn_get(w->txn, WEFT_TABLE_LOGID, weft_bytes_of(log->id.b, sizeof log->id.b), &value);
  if (err == WEFT_ENOTFOUND || (err == WEFT_OK && !lists_branches(w->v->again, log, value))) {
    log_find(w, "a log is not found by its id");
    err = WEFT_OK;
  }
  counts->logids += weft__log_find(w->v->again, &log->id) == log;
  return err == WEFT_OK ? check_numbers(w, counts) : err;
}

/* A branch stands where its record says: behind a change of the one it left, beside another. */
static weft_err branch_begin(log_walk *w) {
  weft_log *log = w->log;
  weft_id beside = {{0}}; /* nothing, without parent */
  weft__log_root(w->v->again->crypto, &log->id, &w->id);
  if (log->parent != WEFT_LOG_NONE) {
    weft_log *parent = weft__log_of(w->v->again, log->parent);
    WEFT_TRY(
        weft__log_context_at(w->v->again, w->txn, parent, log->fork - 1, &w->numbers, &w->ctx));
    WEFT_TRY(weft__log_id_at(w->v->again, w->txn, parent, log->fork - 1, &w->id));
    WEFT_TRY(weft__log_id_at(w->v->again, w->txn, parent, log->fork, &beside));
  }
  if (weft_id_cmp(&beside, &log->beside) != 0) log_find(w, "a branch parts from another change");
  w->seq = log->fork - 1;
  if (weft_id_cmp(&w->id, &log->before) != 0) log_find(w, "a branch begins somewhere else");
  return WEFT_OK;
}

static weft_err walk_log(log_walk *w, log_counts *counts) {
  WEFT_TRY(branch_begin(w));
  WEFT_TRY(walk_chunks(w, counts));
  WEFT_TRY(walk_tail(w, counts));
  return w->bad ? WEFT_OK : check_end(w, counts);
}

static weft_err verify_log(weft_verify *v, weft_txn *txn, weft_log *log, log_counts *counts) {
  log_walk w = {.v = v, .txn = txn, .log = log};
  weft__arena_init(&w.numbers, &v->again->mem);
  weft__arena_init(&w.one, &v->again->mem);
  weft_err err = walk_log(&w, counts);
  weft__arena_free(&w.one);
  weft__arena_free(&w.numbers);
  counts->held += log->held - log->fork + 1;
  counts->shown += log->shown - log->fork + 1;
  return weft__verify_soften(v, err, "a change of a log is damaged",
                             weft_bytes_of(log->id.b, sizeof log->id.b));
}

static weft_err check_count(weft_verify *v, weft_txn *txn, weft_table table, uint64_t want) {
  uint64_t count;
  WEFT_TRY(weft_txn_count(txn, table, &count));
  if (count != want) {
    weft__verify_find(v, "a table has entries that belong to nothing",
                      weft_bytes_str(weft_table_name(table)));
  }
  return WEFT_OK;
}

static weft_err check_counts(weft_verify *v, weft_txn *txn, const log_counts *counts) {
  WEFT_TRY(check_count(v, txn, WEFT_TABLE_LOG, counts->chunks));
  WEFT_TRY(check_count(v, txn, WEFT_TABLE_TAIL, counts->tails));
  WEFT_TRY(check_count(v, txn, WEFT_TABLE_NUMBERS, counts->numbers));
  WEFT_TRY(check_count(v, txn, WEFT_TABLE_LOGID, counts->logids));
  bool same = counts->held == v->was.held && counts->shown == v->was.shown;
  if (!same) weft__verify_find(v, "the totals do not count the changes", weft_bytes_of(NULL, 0));
  return WEFT_OK;
}

weft_err weft__verify_logs(weft_verify *v) {
  log_counts counts = {0};
  for (uint32_t i = 0; i < v->again->log_count; i++) {
    WEFT_TRY(verify_log(v, v->txn, v->again->logs[i], &counts));
  }
  return v->report->bad == 0 ? check_counts(v, v->txn, &counts) : WEFT_OK;
}

/* --- order and arrival --- */

/* Two tables account for changes in runs: each log's follow each other without a gap. */
typedef struct run_walk {
  weft_verify *v;
  weft_table table;
  bool causal;   /* `order`: every change must stand behind what it claims */
  uint64_t *at;  /* of each log, how far its runs have come */
  uint64_t last; /* the number of the last change */
  uint64_t changes;
  weft_arena heads; /* of `at` */
  weft_arena one;   /* of one change */
} run_walk;

static weft_err check_claims(run_walk *w, weft_log *log, uint64_t seq, bool *good) {
  weft_change change;
  weft_id id;
  weft__arena_reset(&w->one);
  WEFT_TRY(weft__log_change(w->v->again, w->v->txn, log, seq, &w->one, &change, &id));
  if (seq == log->fork && log->parent != WEFT_LOG_NONE) *good = w->at[log->parent] >= seq - 1;
  for (size_t i = 0; i < change.claim_count && *good; i++) {
    weft_dot dot;
    weft_err err = weft__claim_dot(w->v->again, w->v->txn, log, seq, &change.claims[i], true, &dot);
    if (err != WEFT_OK && err != WEFT_ENOTFOUND) return err;
    *good = err == WEFT_OK && dot.seq <= w->at[dot.log];
  }
  weft__verify_step(w->v, 1);
  return WEFT_OK;
}

/* The order numbers changes without a gap; arrivals only ascend, for repair numbers them anew. */
static bool number_fits(const run_walk *w, uint64_t number) {
  return w->causal ? number == w->changes + 1 : number > w->last;
}

static weft_err take_run(run_walk *w, const weft_entry *entry, bool *good) {
  weft_replica *r = w->v->again;
  weft_rd k = weft__rd(entry->key);
  weft_log_span span;
  WEFT_TRY(weft__span_read(entry->value, &span));
  uint64_t number = weft__rd_u64(&k);
  *good = weft__rd_done(&k) && number_fits(w, number) && span.log < r->log_count;
  if (!*good) return WEFT_OK;
  weft_log *log = weft__log_of(r, span.log);
  uint64_t most = w->causal ? log->shown : log->held;
  *good = span.first == w->at[span.log] + 1 && span.first <= most &&
          span.count <= most - span.first + 1;
  for (uint64_t i = 0; i < span.count && *good; i++) {
    if (w->causal) WEFT_TRY(check_claims(w, log, span.first + i, good));
    w->at[span.log]++;
  }
  w->last = number + span.count - 1;
  w->changes += span.count;
  return WEFT_OK;
}

static weft_err walk_runs(run_walk *w, bool *good) {
  weft_cursor *cursor;
  weft_entry entry;
  *good = true;
  w->at = weft__arena_zero(&w->heads, w->v->again->log_count, sizeof *w->at);
  if (!w->at) return WEFT_ENOMEM;
  weft__seqs_none(w->v->again, w->at);
  WEFT_TRY(weft_cursor_open(w->v->txn, w->table, &cursor));
  weft_err err = weft_cursor_first(cursor, &entry);
  while (err == WEFT_OK && *good) {
    err = take_run(w, &entry, good);
    if (err == WEFT_OK && *good) err = weft_cursor_next(cursor, &entry);
  }
  weft_cursor_close(cursor);
  return weft__walked(err);
}

static weft_err verify_runs(weft_verify *v, weft_table table, uint64_t changes, uint64_t last) {
  run_walk w = {.v = v, .table = table, .causal = table == WEFT_TABLE_ORDER};
  static const char finding[] = "the changes are not accounted for";
  bool good = true;
  weft__arena_init(&w.one, &v->again->mem);
  weft__arena_init(&w.heads, &v->again->mem);
  weft_err err = walk_runs(&w, &good);
  weft__arena_free(&w.heads);
  weft__arena_free(&w.one);
  weft_bytes name = weft_bytes_str(weft_table_name(table));
  good = good && w.changes == changes && (w.causal || w.last == last);
  if (err == WEFT_OK && !good) weft__verify_find(v, finding, name);
  return weft__verify_soften(v, err, finding, name);
}

weft_err weft__verify_arrival(weft_verify *v) {
  return verify_runs(v, WEFT_TABLE_ARRIVAL, v->was.held, v->was.arrival);
}

weft_err weft__verify_order(weft_verify *v) {
  return verify_runs(v, WEFT_TABLE_ORDER, v->was.shown, 0);
}

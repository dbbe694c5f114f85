/* Reading events again: those that are stored from their table, the others from the log.
 *
 * A reader starts at the entry before what is wanted, which says how many changes had been shown by
 * then, and walks over the changes shown since in the order in which they became visible.  Each
 * gives the events that were counted when it was shown.  At the next entry both counts must agree.
 *
 * Invariants: an event reads the same whenever it is read, as long as it is kept.
 * Happy path: weft__events_read over one page.
 * Failure modes: counts that disagree are WEFT_ECORRUPT; nothing is made up. */
#include <string.h>

#include "crdt/hlc.h"
#include "store/outcome.h"
#include "store/replica_internal.h"

enum { PAGE_MAX = 4096 };

typedef struct reader {
  weft_replica *r;
  weft_txn *txn;
  weft_arena *out;
  weft_arena one; /* what one change needs */
  weft_cursor *entries;
  uint64_t since; /* wanted: what comes after */
  uint64_t last;
  uint64_t seq;   /* the last number accounted for */
  uint64_t shown; /* and the last change */
  weft_event *events;
  size_t count, cap, max;
} reader;

static bool is_full(const reader *rd) { return rd->count == rd->max || rd->seq == rd->last; }

static weft_err event_add(reader *rd, const weft_event *event) {
  void *at = rd->events;
  WEFT_TRY(weft__arena_grow(rd->out, &at, rd->count, &rd->cap, rd->count + 1, sizeof *event));
  rd->events = at;
  rd->events[rd->count++] = *event;
  return WEFT_OK;
}

/* --- what a change tells --- */

/* The change that was shown as number `shown`. */
static weft_err change_at(reader *rd, uint64_t shown, weft_log **log, weft_change *change,
                          weft_id *id) {
  weft_cursor *cursor;
  weft_entry entry;
  weft_dbkey key;
  weft_log_span span = {0};
  uint64_t first = 0;
  WEFT_TRY(weft_cursor_open(rd->txn, WEFT_TABLE_ORDER, &cursor));
  weft_err err = weft_cursor_seek_back(cursor, weft__dbkey_u64(&key, shown), &entry);
  if (err == WEFT_OK) err = weft__span_of(rd->r, entry.value, &span);
  if (err == WEFT_OK) {
    weft_rd k = weft__rd(entry.key);
    first = weft__rd_u64(&k);
  }
  weft_cursor_close(cursor);
  WEFT_TRY(weft__promised(err));
  if (shown - first >= span.count) return WEFT_ECORRUPT;
  *log = weft__log_of(rd->r, span.log);
  uint64_t seq = span.first + (shown - first);
  if (seq <= (*log)->told) {
    *log = NULL; /* told before showing began anew */
    return WEFT_OK;
  }
  return weft__log_change(rd->r, rd->txn, *log, seq, &rd->one, change, id);
}

/* Whether the change shown as number `shown` is the first that touches the document. */
static weft_err is_first(reader *rd, weft_bytes doc, uint64_t shown, bool *first) {
  weft_doc_record record;
  weft_hist_reader h;
  weft_hist_entry hist;
  *first = false;
  WEFT_TRY(weft__doc_record_find(rd->r, rd->txn, doc, &rd->one, &record));
  WEFT_TRY(weft__hist_begin(rd->txn, &record, &h));
  weft_err err = weft__hist_next(&h, &hist);
  *first = err == WEFT_OK && hist.shown == shown;
  weft__hist_end(&h);
  return weft__walked(err);
}

/* What the ops on one document amount to. */
static weft_err doc_type(reader *rd, const weft_op *ops, size_t count, uint64_t shown,
                         weft_event_type *type) {
  bool first;
  weft_err err = is_first(rd, ops[0].doc, shown, &first);
  WEFT_TRY(weft__promised(err));
  *type = first ? WEFT_EVENT_DOC_CREATED : WEFT_EVENT_DOC_CHANGED;
  if (count == 0 || ops[0].path.len > 0) return WEFT_OK;
  if (ops[0].kind == WEFT_OP_UNSET) {
    *type = WEFT_EVENT_DOC_DELETED;
  } else if (!first) {
    *type = WEFT_EVENT_DOC_RESTORED;
  }
  return WEFT_OK;
}

static weft_err doc_event(reader *rd, const weft_op *ops, size_t count, weft_event *event) {
  size_t paths = count < WEFT_EVENT_PATHS_MAX ? count : (size_t)WEFT_EVENT_PATHS_MAX;
  WEFT_TRY(doc_type(rd, ops, count, rd->shown, &event->type));
  event->seq = rd->seq;
  event->count = count;
  WEFT_TRY(weft__arena_copy(rd->out, ops[0].doc, &event->doc));
  event->paths = weft__arena_zero(rd->out, paths, sizeof *event->paths);
  if (!event->paths) return WEFT_ENOMEM;
  for (size_t i = 0; i < paths; i++) {
    WEFT_TRY(weft__arena_copy(rd->out, ops[i].path, &event->paths[i]));
  }
  event->path_count = paths;
  return event_add(rd, event);
}

static weft_event_type change_type(const weft_replica *r, const weft_log *log,
                                   const weft_change *change) {
  if (change->state == WEFT_CHANGE_INVALID) return WEFT_EVENT_CHANGE_INVALID;
  if (change->state == WEFT_CHANGE_UNKNOWN) return WEFT_EVENT_CHANGE_UNKNOWN;
  bool own = weft_id_cmp(&log->device, &r->identity.device) == 0;
  return own ? WEFT_EVENT_CHANGE_COMMITTED : WEFT_EVENT_CHANGE_SHOWN;
}

/* Gives the events of one change that are wanted. */
static weft_err change_tell(reader *rd, const weft_log *log, const weft_change *change,
                            const weft_id *id) {
  weft_event event = {.source = log->device, .has_change = true, .change = *id};
  weft_bytes message = {NULL, 0};
  bool valid = change->state == WEFT_CHANGE_VALID;
  uint64_t own = ++rd->seq;
  if (valid) {
    event.time = weft_hlc_ms(change->hlc);
    event.count = change->op_count;
    message = change->message;
  }
  if (own > rd->since) {
    event.type = change_type(rd->r, log, change);
    event.seq = own;
    WEFT_TRY(weft__arena_copy(rd->out, message, &event.text));
    WEFT_TRY(event_add(rd, &event));
    event.text = weft_bytes_of(NULL, 0);
  }
  event.cause = own;
  size_t from = 0;
  while (valid && from < change->op_count && !is_full(rd)) {
    size_t to = from + 1;
    while (to < change->op_count && change->ops[to].doc.at == change->ops[from].doc.at) to++;
    rd->seq++;
    if (rd->seq > rd->since) WEFT_TRY(doc_event(rd, &change->ops[from], to - from, &event));
    from = to;
  }
  return WEFT_OK;
}

/* --- the walk --- */

/* Goes on over the changes up to number `to`. */
static weft_err walk_changes(reader *rd, uint64_t to) {
  while (rd->shown < to && !is_full(rd)) {
    weft_log *log;
    weft_change change;
    weft_id id;
    rd->shown++;
    weft__arena_reset(&rd->one);
    weft_err err = change_at(rd, rd->shown, &log, &change, &id);
    if (err == WEFT_ENOTFOUND) return WEFT_ECORRUPT;
    WEFT_TRY(err);
    if (!log) continue;
    size_t count = weft__event_count(&change);
    if (rd->seq + count <= rd->since) {
      rd->seq += count;
    } else if (count > 0) {
      WEFT_TRY(change_tell(rd, log, &change, &id));
    }
  }
  return WEFT_OK;
}

static weft_err take_stored(reader *rd, weft_bytes body) {
  weft_event event;
  if (rd->seq <= rd->since) return WEFT_OK;
  WEFT_TRY(weft__event_read(body, rd->seq, rd->out, &event));
  WEFT_TRY(weft__arena_copy(rd->out, event.doc, &event.doc));
  WEFT_TRY(weft__arena_copy(rd->out, event.text, &event.text));
  for (size_t i = 0; i < event.path_count; i++) {
    WEFT_TRY(weft__arena_copy(rd->out, event.paths[i], &event.paths[i]));
  }
  return event_add(rd, &event);
}

/* Takes one entry after the changes before it. */
static weft_err walk_entry(reader *rd, const weft_entry *entry) {
  uint64_t seq, shown;
  weft_bytes body;
  WEFT_TRY(weft__event_entry(rd->r, entry, &seq, &shown, &body));
  WEFT_TRY(walk_changes(rd, shown));
  if (is_full(rd)) return WEFT_OK;
  if (body.len > 0) rd->seq++;
  if (rd->seq != seq) return WEFT_ECORRUPT;
  return body.len > 0 ? take_stored(rd, body) : WEFT_OK;
}

static weft_err walk(reader *rd) {
  weft_entry entry;
  weft_dbkey key;
  uint64_t from = rd->seq;
  weft_err err = weft_cursor_seek(rd->entries, weft__dbkey_u64(&key, from + 1), &entry);
  while (err == WEFT_OK && !is_full(rd)) {
    err = walk_entry(rd, &entry);
    if (err == WEFT_OK) err = weft_cursor_next(rd->entries, &entry);
  }
  if (err == WEFT_EDONE) err = walk_changes(rd, rd->r->now.shown);
  if (err == WEFT_OK && !is_full(rd)) return WEFT_ECORRUPT;
  return err;
}

weft_err weft__events_read(weft_replica *r, weft_txn *txn, weft_arena *arena, uint64_t since,
                           uint64_t last, size_t max, weft_event **out, size_t *count) {
  reader rd = {.r = r, .txn = txn, .out = arena, .since = since, .last = last, .max = max};
  *out = NULL;
  *count = 0;
  if (since >= last || max == 0) return WEFT_OK;
  WEFT_TRY(weft__event_anchor_at(r, txn, since, &rd.seq, &rd.shown));
  WEFT_TRY(weft_cursor_open(txn, WEFT_TABLE_EVENT, &rd.entries));
  weft__arena_init(&rd.one, &r->mem);
  weft_err err = walk(&rd);
  weft__arena_free(&rd.one);
  weft_cursor_close(rd.entries);
  WEFT_TRY(err);
  *out = rd.events;
  *count = rd.count;
  return WEFT_OK;
}

/* --- the public calls --- */

weft_err weft_replica_events_span(weft_replica *r, uint64_t *first, uint64_t *last) {
  weft_txn *txn;
  WEFT_TRY(weft__read_begin(r, &txn));
  *last = r->published.events;
  weft_err err = weft__event_first(r, txn, *last, first);
  weft__read_end(r, txn);
  return err;
}

weft_err weft_replica_events(weft_replica *r, weft_arena *arena, uint64_t since, size_t max,
                             weft_event **out, size_t *count) {
  weft_txn *txn;
  uint64_t first = 0;
  *out = NULL;
  *count = 0;
  if (max == 0 || max > PAGE_MAX) return WEFT_ELIMIT;
  WEFT_TRY(weft__read_begin(r, &txn));
  uint64_t last = r->published.events;
  weft_err err = since > last ? WEFT_ENOTFOUND : weft__event_first(r, txn, last, &first);
  if (err == WEFT_OK && since + 1 < first) err = WEFT_EGAP;
  if (err == WEFT_OK) err = weft__events_read(r, txn, arena, since, last, max, out, count);
  weft__read_end(r, txn);
  if (err == WEFT_ECORRUPT) return weft__replica_fail(r, err, "the events are damaged");
  return err;
}

/* Numbering events, and keeping those that follow from nothing else.
 *
 * Every change that is shown gives events: how many is known when it is shown, and what they say is
 * made from the log when somebody reads them (store/replica_events_read.c).  So a commit only adds
 * to a counter that is stored with the other totals.  The table `event` holds the others whole, and
 * with each the number of changes shown by then; where none came for 1,024 numbers an entry without
 * body marks the place.  Between two entries all numbers belong to the changes shown between them.
 *
 * Invariants: the counter moves in the transaction of what it counts; the first entry of the table
 * is never read as an event: it is the place from which the next ones are counted; a change tells
 * its events once, also when showing begins anew (weft_log.told).
 * Happy path: weft__event_derived for each change of a batch; weft__event_put for the rest.
 * Failure modes: those of the caller's transaction.  What is posted and cannot be written waits. */
#include <string.h>

#include "crdt/hlc.h"
#include "store/outcome.h"
#include "store/replica_internal.h"

enum {
  TRIM_EVERY = 256,
  SETTLE_COUNT_MAX = WEFT_EVENTS_KEPT,
  SETTLE_PAGE = 512,
  SETTLE_LEN_MAX = 32 << 20 /* of events taken into memory when showing begins anew */
};

static const char told_key[] = "told";

/* --- counting --- */

size_t weft__event_count(const weft_change *change) {
  if (change->state != WEFT_CHANGE_VALID) return 1;
  if (change->kind == WEFT_CHANGE_START) return 0;
  size_t docs = 0;
  for (size_t i = 0; i < change->op_count; i++) {
    /* Ops are in order of their documents, whose names the parser gives as one view. */
    docs += i == 0 || change->ops[i].doc.at != change->ops[i - 1].doc.at;
  }
  return 1 + docs;
}

/* --- the table --- */

static weft_err entry_put(weft_replica *r, weft_txn *txn, uint64_t seq, uint64_t shown,
                          const weft_event *event) {
  weft_buf b;
  weft_dbkey key;
  weft__buf_init(&b, &r->mem, WEFT_STORE_VALUE_LEN_MAX);
  weft__buf_u64(&b, shown);
  if (event) weft__event_write(&b, event);
  weft__row_seal(r, &b);
  weft_err err = weft__buf_err(&b);
  if (err == WEFT_OK) {
    err = weft_txn_append(txn, WEFT_TABLE_EVENT, weft__dbkey_u64(&key, seq), weft__buf_view(&b));
  }
  weft__buf_free(&b);
  if (err == WEFT_OK) r->now.event_anchor = seq;
  return err;
}

weft_err weft__event_entry(const weft_replica *r, const weft_entry *entry, uint64_t *seq,
                           uint64_t *shown, weft_bytes *body) {
  weft_bytes content;
  WEFT_TRY(weft__row_open(r, entry->value, &content));
  weft_rd k = weft__rd(entry->key);
  weft_rd v = weft__rd(content);
  *seq = weft__rd_u64(&k);
  *shown = weft__rd_u64(&v);
  *body = weft__rd_take(&v, weft__rd_left(&v));
  return weft__rd_done(&k) && weft__rd_done(&v) ? WEFT_OK : WEFT_ECORRUPT;
}

weft_err weft__event_anchor_at(weft_replica *r, weft_txn *txn, uint64_t since, uint64_t *seq,
                               uint64_t *shown) {
  weft_cursor *cursor;
  weft_entry entry;
  weft_dbkey key;
  weft_bytes body;
  *seq = *shown = 0;
  WEFT_TRY(weft_cursor_open(txn, WEFT_TABLE_EVENT, &cursor));
  weft_err err = weft_cursor_seek_back(cursor, weft__dbkey_u64(&key, since), &entry);
  if (err == WEFT_OK) err = weft__event_entry(r, &entry, seq, shown, &body);
  weft_cursor_close(cursor);
  return weft__walked(err);
}

/* The number of the first (or last) entry; 0 when there is none. */
static weft_err entry_end(weft_txn *txn, bool last, uint64_t *seq) {
  weft_cursor *cursor;
  weft_entry entry;
  *seq = 0;
  WEFT_TRY(weft_cursor_open(txn, WEFT_TABLE_EVENT, &cursor));
  weft_err err = last ? weft_cursor_last(cursor, &entry) : weft_cursor_first(cursor, &entry);
  if (err == WEFT_OK) {
    weft_rd k = weft__rd(entry.key);
    *seq = weft__rd_u64(&k);
    err = weft__rd_done(&k) ? WEFT_OK : WEFT_ECORRUPT;
  }
  weft_cursor_close(cursor);
  return weft__walked(err);
}

weft_err weft__event_first(const weft_replica *r, weft_txn *txn, uint64_t last, uint64_t *first) {
  uint64_t from;
  uint64_t floor = last > r->events_kept ? last - r->events_kept : 0;
  WEFT_TRY(entry_end(txn, false, &from));
  *first = (from > floor ? from : floor) + 1;
  return WEFT_OK;
}

/* Drops the entries that nothing kept is counted from. */
static weft_err trim(weft_replica *r, weft_txn *txn) {
  if (r->now.events <= r->events_kept) return WEFT_OK;
  uint64_t seq, shown, count;
  weft_dbkey key;
  WEFT_TRY(weft__event_anchor_at(r, txn, r->now.events - r->events_kept, &seq, &shown));
  weft_key_range range = {{NULL, 0}, weft__dbkey_u64(&key, seq)};
  return seq > 0 ? weft_txn_delete_range(txn, WEFT_TABLE_EVENT, range, &count) : WEFT_OK;
}

/* --- numbering --- */

weft_err weft__event_derived(weft_replica *r, weft_txn *txn, size_t count) {
  if (count == 0) return WEFT_OK;
  r->moved = true;
  if (r->now.events == 0) WEFT_TRY(entry_put(r, txn, 0, r->now.shown - 1, NULL));
  r->now.events += count;
  if (r->now.events - r->now.event_anchor < WEFT_EVENT_ANCHOR) return WEFT_OK;
  WEFT_TRY(entry_put(r, txn, r->now.events, r->now.shown, NULL));
  return trim(r, txn);
}

weft_err weft__event_put(weft_replica *r, weft_txn *txn, const weft_event *event) {
  r->moved = true;
  if (r->now.events == 0) WEFT_TRY(entry_put(r, txn, 0, r->now.shown, NULL));
  weft_event numbered = *event;
  numbered.seq = ++r->now.events;
  WEFT_TRY(entry_put(r, txn, numbered.seq, r->now.shown, &numbered));
  return r->now.events % TRIM_EVERY == 0 ? trim(r, txn) : WEFT_OK;
}

weft_event weft__event_own(const weft_replica *r, weft_event_type type) {
  weft_ms wall = r->platform.wall_ms(r->platform.ctx);
  weft_event event = {.type = type, .source = r->identity.device};
  event.time = wall < WEFT_HLC_MS_MAX ? wall : WEFT_HLC_MS_MAX;
  return event;
}

weft_err weft_replica_keep_events(weft_replica *r, uint64_t count) {
  if (count < WEFT_EVENTS_KEPT_MIN || count > WEFT_EVENTS_KEPT_MAX) return WEFT_ELIMIT;
  r->events_kept = count;
  return WEFT_OK;
}

/* --- what is posted --- */

static void post_drop(weft_replica *r) {
  r->mem.free(r->mem.ctx, r->posts[r->post_first]);
  r->post_first = (r->post_first + 1) % WEFT_EVENT_POSTS_MAX;
  r->post_count--;
  if (r->posts_written > 0) r->posts_written--;
}

weft_err weft_replica_post_event(weft_replica *r, const weft_event *event) {
  if (weft_event_kind_of(event->type) != WEFT_EVENT_STORED || event->type == WEFT_EVENT_UNKNOWN) {
    return WEFT_EMISUSE;
  }
  if (!r->posts) {
    r->posts = r->mem.alloc(r->mem.ctx, WEFT_EVENT_POSTS_MAX * sizeof(weft_event *));
    if (!r->posts) return WEFT_ENOMEM;
  }
  weft_event *copy = weft__event_copy(&r->mem, event);
  if (!copy) return WEFT_ENOMEM;
  copy->cause = 0;
  if (copy->time == 0) copy->time = weft__event_own(r, event->type).time;
  if (r->post_count == WEFT_EVENT_POSTS_MAX) post_drop(r);
  r->posts[(r->post_first + r->post_count++) % WEFT_EVENT_POSTS_MAX] = copy;
  return WEFT_OK;
}

weft_err weft__event_posts_put(weft_replica *r, weft_txn *txn) {
  r->posts_written = 0;
  for (size_t i = 0; i < r->post_count; i++) {
    WEFT_TRY(weft__event_put(r, txn, r->posts[(r->post_first + i) % WEFT_EVENT_POSTS_MAX]));
    r->posts_written++;
  }
  return WEFT_OK;
}

void weft__event_posts_done(weft_replica *r, bool durable) {
  if (durable) r->full_told = false;
  while (durable && r->posts_written > 0) post_drop(r);
  r->posts_written = 0;
}

static weft_err flush_write(weft_replica *r, weft_txn *txn, void *arg) {
  (void)r;
  (void)txn;
  (void)arg;
  return WEFT_OK; /* what is posted goes with every transaction */
}

weft_err weft_replica_flush_events(weft_replica *r) {
  if (r->group) return WEFT_EMISUSE;
  return r->post_count > 0 ? weft__write(r, flush_write, NULL) : WEFT_OK;
}

uint64_t weft_replica_events_newest(const weft_replica *r) { return r->published.events; }

size_t weft_replica_events_waiting(const weft_replica *r) { return r->post_count; }

void weft__events_free(weft_replica *r) {
  while (r->post_count > 0) post_drop(r);
  r->mem.free(r->mem.ctx, r->posts);
  r->posts = NULL;
}

/* --- showing begins anew --- */

/* Remembers of every log how far its events have been told. */
static weft_err told_put(weft_replica *r, weft_txn *txn) {
  weft_buf b;
  weft__buf_init(&b, &r->mem, WEFT_STORE_VALUE_LEN_MAX);
  for (uint32_t i = 0; i < r->log_count; i++) {
    weft_log *log = r->logs[i];
    if (log->shown > log->told) log->told = log->shown;
    weft__buf_u64(&b, log->told);
  }
  weft__row_seal(r, &b);
  weft_err err = weft__buf_err(&b);
  if (err == WEFT_OK) {
    err = weft_txn_put(txn, WEFT_TABLE_META, weft_bytes_str(told_key), weft__buf_view(&b));
  }
  weft__buf_free(&b);
  return err;
}

/* A page of events on the way from derived to stored. */
typedef struct settled {
  struct settled *next; /* the newer ones */
  weft_event *events;
  size_t count;
} settled;

/* Takes the newest events into memory: as many as are kept, as far as the room goes. */
static weft_err settle_read(weft_replica *r, weft_txn *txn, weft_arena *arena, settled **pages) {
  uint64_t first, last = r->now.events;
  *pages = NULL;
  WEFT_TRY(weft__event_first(r, txn, last, &first));
  if (last > SETTLE_COUNT_MAX && first <= last - SETTLE_COUNT_MAX) {
    first = last - SETTLE_COUNT_MAX + 1;
  }
  while (last >= first && arena->held < SETTLE_LEN_MAX) {
    uint64_t since = last - first >= SETTLE_PAGE ? last - SETTLE_PAGE : first - 1;
    settled *page = weft__arena_zero(arena, 1, sizeof *page);
    if (!page) return WEFT_ENOMEM;
    WEFT_TRY(
        weft__events_read(r, txn, arena, since, last, SETTLE_PAGE, &page->events, &page->count));
    page->next = *pages;
    *pages = page;
    last = since;
  }
  return WEFT_OK;
}

/* From here on the numbers that are derived count from the first change shown anew. */
static weft_err settle_write(weft_replica *r, weft_txn *txn, const settled *pages) {
  weft_key_range all = {{NULL, 0}, {NULL, 0}};
  uint64_t count;
  uint64_t from = pages && pages->count > 0 ? pages->events[0].seq - 1 : r->now.events;
  WEFT_TRY(weft_txn_delete_range(txn, WEFT_TABLE_EVENT, all, &count));
  WEFT_TRY(entry_put(r, txn, from, 0, NULL));
  for (const settled *page = pages; page; page = page->next) {
    for (size_t i = 0; i < page->count; i++) {
      WEFT_TRY(entry_put(r, txn, page->events[i].seq, 0, &page->events[i]));
    }
  }
  return WEFT_OK;
}

weft_err weft__events_settle(weft_replica *r, weft_txn *txn) {
  weft_arena arena;
  settled *pages;
  r->moved = true;
  weft__arena_init(&arena, &r->mem);
  weft_err err = settle_read(r, txn, &arena, &pages);
  /* Where the logs or the order are damaged, what follows from them cannot be read; they are what
   * is being repaired. */
  if (err == WEFT_ECORRUPT || err == WEFT_ENOTFOUND) {
    pages = NULL;
    err = WEFT_OK;
  }
  if (err == WEFT_OK) err = settle_write(r, txn, pages);
  weft__arena_free(&arena);
  return err == WEFT_OK ? told_put(r, txn) : err;
}

/* --- the image --- */

static weft_err told_load(weft_replica *r, weft_txn *txn) {
  weft_bytes value;
  weft_err err = weft_txn_get(txn, WEFT_TABLE_META, weft_bytes_str(told_key), &value);
  if (err == WEFT_ENOTFOUND) return WEFT_OK;
  if (err == WEFT_OK) err = weft__row_open(r, value, &value);
  if (err != WEFT_OK) return err;
  weft_rd v = weft__rd(value);
  for (uint32_t i = 0; i < r->log_count && weft__rd_left(&v) > 0; i++) {
    r->logs[i]->told = weft__rd_u64(&v);
  }
  return weft__rd_done(&v) ? WEFT_OK : WEFT_ECORRUPT;
}

weft_err weft__events_load(weft_replica *r, weft_txn *txn) {
  WEFT_TRY(entry_end(txn, true, &r->now.event_anchor));
  return told_load(r, txn);
}

/* What both backends share: see store/backend.h.
 *
 * Invariants: readers and writing count exactly the transactions that are open; a dead store starts
 * nothing; a spoilt transaction changes nothing and cannot commit.
 *
 * A cursor knows the key it was placed on and the number of writes the transaction had seen then.
 * When writes have happened since, the backend's own position is not trusted: the cursor is placed
 * anew by its key.  So a cursor means the same over a B+tree that moves entries between pages as
 * over an array. */
#include "store/backend.h"

#include <string.h>

#include "crdt/assert.h"
#include "store/outcome.h"

const char *weft_table_name(weft_table table) {
  switch (table) {
#define TABLE_NAME(id, name, what)                                                                 \
  case WEFT_TABLE_##id: return name;
    WEFT_TABLES(TABLE_NAME)
#undef TABLE_NAME
  case WEFT_TABLE_COUNT: break;
  }
  return "?";
}

size_t weft__table_key_max(weft_table table) {
  return table == WEFT_TABLE_META ? WEFT_STORE_META_KEY_LEN_MAX : WEFT_KEY_LEN_MAX;
}

/* --- the store --- */

void weft__store_init(weft_store *s, const weft_store_vtable *vt) {
  memset(s, 0, sizeof *s);
  s->vt = vt;
  atomic_init(&s->readers, 0);
  atomic_init(&s->writing, false);
  atomic_init(&s->dead, false);
  atomic_flag_clear(&s->diag_busy);
}

void weft__diag_set(weft_diag *d, weft_err err, int sys, const char *text) {
  memset(d, 0, sizeof *d);
  d->err = err;
  d->sys = sys;
  size_t len = strlen(text);
  if (len >= sizeof d->text) len = sizeof d->text - 1;
  memcpy(d->text, text, len);
}

static void diag_lock(weft_store *s) {
  /* It goes round only while another thread copies a hundred bytes. */
  while (atomic_flag_test_and_set(&s->diag_busy)) continue; /* defensive: a race of threads */
}

static void diag_unlock(weft_store *s) {
  atomic_flag_clear_explicit(&s->diag_busy, memory_order_release);
}

weft_err weft__store_fail(weft_store *s, weft_err err, int sys, const char *text) {
  diag_lock(s);
  weft__diag_set(&s->diag, err, sys, text);
  diag_unlock(s);
  if (err == WEFT_EIO) atomic_store(&s->dead, true);
  return err;
}

void weft_store_get_diag(weft_store *s, weft_diag *out) {
  diag_lock(s);
  *out = s->diag;
  diag_unlock(s);
}

void weft_store_free(weft_store *s) {
  if (!s) return;
  WEFT_ASSERT(atomic_load(&s->readers) == 0);
  WEFT_ASSERT(!atomic_load(&s->writing));
  s->vt->free(s);
}

weft_err weft_store_get_size(weft_store *s, weft_store_size *size) {
  memset(size, 0, sizeof *size);
  if (atomic_load(&s->dead)) return WEFT_EIO;
  return s->vt->size(s, size);
}

weft_err weft_store_grow(weft_store *s) {
  if (atomic_load(&s->dead)) return WEFT_EIO;
  if (s->read_only) return WEFT_EREADONLY;
  return s->vt->grow(s);
}

/* --- transactions --- */

static void txn_uncount(weft_store *s, weft_txn_mode mode) {
  if (mode == WEFT_TXN_WRITE) {
    atomic_store(&s->writing, false);
  } else {
    unsigned before = atomic_fetch_sub(&s->readers, 1);
    WEFT_ASSERT(before > 0);
  }
}

weft_err weft_store_begin(weft_store *s, weft_txn_mode mode, weft_txn **out) {
  *out = NULL;
  if (atomic_load(&s->dead)) return WEFT_EIO;
  if (mode == WEFT_TXN_WRITE) {
    if (s->read_only) return WEFT_EREADONLY;
    if (atomic_exchange(&s->writing, true)) return WEFT_EMISUSE;
  } else {
    atomic_fetch_add(&s->readers, 1);
  }
  weft_txn *t = NULL;
  weft_err err = s->vt->begin(s, mode, &t);
  if (err != WEFT_OK) {
    txn_uncount(s, mode);
    return err;
  }
  t->store = s;
  t->mode = mode;
  t->err = WEFT_OK;
  t->cursors = 0;
  t->writes = 0;
  *out = t;
  return WEFT_OK;
}

/* The error that stands before any call on `t`. */
static weft_err txn_check(const weft_txn *t) {
  if (t->err != WEFT_OK) return t->err;
  return atomic_load_explicit(&t->store->dead, memory_order_relaxed) ? WEFT_EIO : WEFT_OK;
}

/* Remembers what spoils a transaction; the errors that leave it whole pass through. */
static weft_err txn_note(weft_txn *t, weft_err err) {
  bool whole = err == WEFT_OK || err == WEFT_ENOTFOUND || err == WEFT_EDONE;
  if (!whole && t->mode == WEFT_TXN_WRITE) t->err = err;
  return err;
}

weft_err weft_txn_commit(weft_txn *t) {
  WEFT_ASSERT(t->cursors == 0);
  weft_store *s = t->store;
  weft_txn_mode mode = t->mode;
  weft_err err = mode == WEFT_TXN_WRITE ? txn_check(t) : WEFT_OK;
  if (err != WEFT_OK || mode == WEFT_TXN_READ) {
    s->vt->abort(t);
  } else {
    err = s->vt->commit(t);
  }
  txn_uncount(s, mode);
  return err;
}

void weft_txn_abort(weft_txn *t) {
  if (!t) return;
  WEFT_ASSERT(t->cursors == 0);
  weft_store *s = t->store;
  weft_txn_mode mode = t->mode;
  s->vt->abort(t);
  txn_uncount(s, mode);
}

static bool key_fits(weft_table table, weft_bytes key) {
  return key.len > 0 && key.len <= weft__table_key_max(table);
}

weft_err weft_txn_get(weft_txn *t, weft_table table, weft_bytes key, weft_bytes *value) {
  WEFT_ASSERT((unsigned)table < WEFT_TABLE_COUNT);
  *value = weft_bytes_of(NULL, 0);
  WEFT_TRY(txn_check(t));
  if (!key_fits(table, key)) return WEFT_ELIMIT;
  return txn_note(t, t->store->vt->get(t, table, key, value));
}

bool weft_txn_is_cold(weft_txn *t) {
  return t->store->vt->is_cold && txn_check(t) == WEFT_OK && t->store->vt->is_cold(t);
}

void weft_txn_want(weft_txn *t, const weft_wanted *wanted, size_t count) {
  if (count == 0 || !t->store->vt->want || txn_check(t) != WEFT_OK) return;
  t->store->vt->want(t, wanted, count);
}

static weft_err txn_write_check(const weft_txn *t) {
  WEFT_TRY(txn_check(t));
  return t->mode == WEFT_TXN_WRITE ? WEFT_OK : WEFT_EMISUSE;
}

static weft_err txn_put(weft_txn *t, weft_table table, const weft_entry *entry, bool append) {
  WEFT_ASSERT((unsigned)table < WEFT_TABLE_COUNT);
  WEFT_TRY(txn_write_check(t));
  if (!key_fits(table, entry->key)) return WEFT_ELIMIT;
  if (entry->value.len > WEFT_STORE_VALUE_LEN_MAX) return WEFT_ELIMIT;
  t->writes++;
  return txn_note(t, t->store->vt->put(t, table, entry, append));
}

weft_err weft_txn_put(weft_txn *t, weft_table table, weft_bytes key, weft_bytes value) {
  weft_entry entry = {key, value};
  return txn_put(t, table, &entry, false);
}

weft_err weft_txn_append(weft_txn *t, weft_table table, weft_bytes key, weft_bytes value) {
  weft_entry entry = {key, value};
  return txn_put(t, table, &entry, true);
}

weft_err weft_txn_delete(weft_txn *t, weft_table table, weft_bytes key) {
  WEFT_ASSERT((unsigned)table < WEFT_TABLE_COUNT);
  WEFT_TRY(txn_write_check(t));
  if (!key_fits(table, key)) return WEFT_ELIMIT;
  t->writes++;
  return txn_note(t, t->store->vt->del(t, table, key));
}

weft_err weft_txn_count(weft_txn *t, weft_table table, uint64_t *count) {
  WEFT_ASSERT((unsigned)table < WEFT_TABLE_COUNT);
  *count = 0;
  WEFT_TRY(txn_check(t));
  return txn_note(t, t->store->vt->count(t, table, count));
}

/* Deletes one entry after the other; `*count` counts them. */
static weft_err range_delete(weft_cursor *c, weft_key_range range, uint64_t *count) {
  const weft_store_vtable *vt = c->txn->store->vt;
  weft_entry entry;
  weft_err err = weft_cursor_seek(c, range.from, &entry);
  while (err == WEFT_OK) {
    if (range.to.len && weft_bytes_cmp(entry.key, range.to) >= 0) return WEFT_OK;
    WEFT_TRY(vt->cursor_delete(c));
    ++*count;
    err = vt->cursor_move(c, WEFT_MOVE_NEXT, weft_bytes_of(NULL, 0), &entry);
  }
  return weft__walked(err);
}

weft_err weft_txn_delete_range(weft_txn *t, weft_table table, weft_key_range range,
                               uint64_t *count) {
  WEFT_ASSERT((unsigned)table < WEFT_TABLE_COUNT);
  *count = 0;
  WEFT_TRY(txn_write_check(t));
  uint64_t gone = 0;
  weft_err err;
  if (range.from.len == 0 && range.to.len == 0) {
    WEFT_TRY(weft_txn_count(t, table, &gone));
    err = t->store->vt->clear(t, table);
  } else {
    weft_cursor *c;
    err = weft_cursor_open(t, table, &c);
    if (err == WEFT_OK) err = range_delete(c, range, &gone);
    weft_cursor_close(c);
  }
  t->writes++;
  if (err == WEFT_OK) *count = gone;
  return txn_note(t, err);
}

/* --- cursors --- */

weft_err weft_cursor_open(weft_txn *t, weft_table table, weft_cursor **out) {
  WEFT_ASSERT((unsigned)table < WEFT_TABLE_COUNT);
  *out = NULL;
  WEFT_TRY(txn_check(t));
  weft_cursor *c = NULL;
  WEFT_TRY(t->store->vt->cursor_open(t, table, &c));
  c->txn = t;
  c->table = table;
  c->state = WEFT_CURSOR_NEW;
  c->writes = t->writes;
  weft__dbkey_reset(&c->key);
  t->cursors++;
  *out = c;
  return WEFT_OK;
}

void weft_cursor_close(weft_cursor *c) {
  if (!c) return;
  weft_txn *t = c->txn;
  WEFT_ASSERT(t->cursors > 0);
  t->cursors--;
  t->store->vt->cursor_close(c);
}

static weft_err cursor_move(weft_cursor *c, weft_move move, weft_bytes key, weft_entry *entry) {
  return c->txn->store->vt->cursor_move(c, move, key, entry);
}

/* Ends a move: notes where the cursor stands now. */
static weft_err cursor_land(weft_cursor *c, weft_err err, weft_entry *entry) {
  static const weft_entry empty = {{NULL, 0}, {NULL, 0}};
  if (err != WEFT_OK) {
    *entry = empty;
    c->state = WEFT_CURSOR_ENDED;
    return txn_note(c->txn, err);
  }
  c->state = WEFT_CURSOR_ON;
  c->writes = c->txn->writes;
  if (c->txn->mode == WEFT_TXN_WRITE) {
    weft__dbkey_reset(&c->key);
    weft__dbkey_add(&c->key, entry->key);
  }
  return WEFT_OK;
}

/* The smallest >= key, for any key.  One longer than the table's keys can be is cut: of the keys
 * that follow the cut one all follow the whole one too, and the cut one itself is passed over. */
static weft_err cursor_seek(weft_cursor *c, weft_bytes key, weft_entry *entry) {
  size_t max = weft__table_key_max(c->table);
  if (key.len == 0) return cursor_move(c, WEFT_MOVE_FIRST, key, entry);
  if (key.len <= max) return cursor_move(c, WEFT_MOVE_SEEK, key, entry);
  weft_bytes cut = weft_bytes_of(key.at, max);
  WEFT_TRY(cursor_move(c, WEFT_MOVE_SEEK, cut, entry));
  if (weft_bytes_cmp(entry->key, cut) != 0) return WEFT_OK;
  return cursor_move(c, WEFT_MOVE_NEXT, cut, entry);
}

/* The greatest < key. */
static weft_err cursor_before(weft_cursor *c, weft_bytes key, weft_entry *entry) {
  weft_err err = cursor_seek(c, key, entry);
  if (err == WEFT_EDONE) return cursor_move(c, WEFT_MOVE_LAST, key, entry);
  return err == WEFT_OK ? cursor_move(c, WEFT_MOVE_PREV, key, entry) : err;
}

/* The smallest > key. */
static weft_err cursor_behind(weft_cursor *c, weft_bytes key, weft_entry *entry) {
  WEFT_TRY(cursor_seek(c, key, entry));
  if (weft_bytes_cmp(entry->key, key) != 0) return WEFT_OK;
  return cursor_move(c, WEFT_MOVE_NEXT, key, entry);
}

weft_err weft_cursor_first(weft_cursor *c, weft_entry *entry) {
  weft_err err = txn_check(c->txn);
  if (err == WEFT_OK) err = cursor_move(c, WEFT_MOVE_FIRST, weft_bytes_of(NULL, 0), entry);
  return cursor_land(c, err, entry);
}

weft_err weft_cursor_last(weft_cursor *c, weft_entry *entry) {
  weft_err err = txn_check(c->txn);
  if (err == WEFT_OK) err = cursor_move(c, WEFT_MOVE_LAST, weft_bytes_of(NULL, 0), entry);
  return cursor_land(c, err, entry);
}

static weft_err cursor_step(weft_cursor *c, weft_move move, weft_entry *entry) {
  WEFT_TRY(txn_check(c->txn));
  weft_bytes key = weft__dbkey_view(&c->key);
  switch (c->state) {
  case WEFT_CURSOR_NEW:
    return cursor_move(c, move == WEFT_MOVE_NEXT ? WEFT_MOVE_FIRST : WEFT_MOVE_LAST, key, entry);
  case WEFT_CURSOR_ENDED: return WEFT_EDONE;
  case WEFT_CURSOR_ON: break;
  }
  if (c->writes == c->txn->writes) return cursor_move(c, move, key, entry);
  return move == WEFT_MOVE_NEXT ? cursor_behind(c, key, entry) : cursor_before(c, key, entry);
}

weft_err weft_cursor_next(weft_cursor *c, weft_entry *entry) {
  return cursor_land(c, cursor_step(c, WEFT_MOVE_NEXT, entry), entry);
}

weft_err weft_cursor_prev(weft_cursor *c, weft_entry *entry) {
  return cursor_land(c, cursor_step(c, WEFT_MOVE_PREV, entry), entry);
}

weft_err weft_cursor_seek(weft_cursor *c, weft_bytes key, weft_entry *entry) {
  weft_err err = txn_check(c->txn);
  if (err == WEFT_OK) err = cursor_seek(c, key, entry);
  return cursor_land(c, err, entry);
}

weft_err weft_cursor_seek_back(weft_cursor *c, weft_bytes key, weft_entry *entry) {
  weft_err err = txn_check(c->txn);
  if (err == WEFT_OK) err = cursor_seek(c, key, entry);
  bool equal = err == WEFT_OK && weft_bytes_cmp(entry->key, key) == 0;
  if (err == WEFT_EDONE) {
    err = cursor_move(c, WEFT_MOVE_LAST, key, entry);
  } else if (err == WEFT_OK && !equal) {
    err = cursor_move(c, WEFT_MOVE_PREV, key, entry);
  }
  return cursor_land(c, err, entry);
}

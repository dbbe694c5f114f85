/* The overlay: a memory store in front, a read transaction behind.
 *
 * Invariants: a table belongs to exactly one side; the side behind is never written.
 * Failure modes: those of the side that is asked. */
#include "store/overlay_store.h"

#include <string.h>

#include "store/backend.h"
#include "store/memory_store.h"

typedef struct overlay {
  weft_store base;
  weft_overlay_options o;
  weft_store *front;
} overlay;

typedef struct overlay_txn {
  weft_txn base;
  overlay *of;
  weft_txn *front;
} overlay_txn;

typedef struct overlay_cursor {
  weft_cursor base;
  weft_cursor *real;
  weft_dbkey at; /* where it stands, in a write transaction */
} overlay_cursor;

static overlay *overlay_of(weft_store *s) { return (overlay *)(void *)s; }
static overlay_txn *txn_of(weft_txn *t) { return (overlay_txn *)(void *)t; }
static overlay_cursor *cursor_of(weft_cursor *c) { return (overlay_cursor *)(void *)c; }

static bool is_own(const overlay_txn *t, weft_table table) { return t->of->o.own[table]; }

/* The transaction that has the table. */
static weft_txn *side_of(const overlay_txn *t, weft_table table) {
  return is_own(t, table) ? t->front : t->of->o.base;
}

static void overlay_free(weft_store *s) {
  overlay *o = overlay_of(s);
  weft_alloc mem = o->o.mem;
  weft_store_free(o->front);
  mem.free(mem.ctx, o);
}

static weft_err overlay_size(weft_store *s, weft_store_size *size) {
  return weft_store_get_size(overlay_of(s)->front, size);
}

static weft_err overlay_grow(weft_store *s) { return weft_store_grow(overlay_of(s)->front); }

static weft_err overlay_begin(weft_store *s, weft_txn_mode mode, weft_txn **out) {
  overlay *o = overlay_of(s);
  overlay_txn *t = o->o.mem.alloc(o->o.mem.ctx, sizeof *t);
  if (!t) return WEFT_ENOMEM;
  memset(t, 0, sizeof *t);
  t->of = o;
  weft_err err = weft_store_begin(o->front, mode, &t->front);
  if (err != WEFT_OK) {
    o->o.mem.free(o->o.mem.ctx, t);
    return err;
  }
  *out = &t->base;
  return WEFT_OK;
}

static void txn_free(overlay_txn *t) { t->of->o.mem.free(t->of->o.mem.ctx, t); }

static weft_err overlay_commit(weft_txn *t) {
  overlay_txn *own = txn_of(t);
  weft_err err = weft_txn_commit(own->front);
  txn_free(own);
  return err;
}

static void overlay_abort(weft_txn *t) {
  overlay_txn *own = txn_of(t);
  weft_txn_abort(own->front);
  txn_free(own);
}

static weft_err overlay_get(weft_txn *t, weft_table table, weft_bytes key, weft_bytes *value) {
  return weft_txn_get(side_of(txn_of(t), table), table, key, value);
}

static weft_err overlay_put(weft_txn *t, weft_table table, const weft_entry *entry, bool append) {
  overlay_txn *own = txn_of(t);
  if (!is_own(own, table)) return WEFT_OK;
  return append ? weft_txn_append(own->front, table, entry->key, entry->value)
                : weft_txn_put(own->front, table, entry->key, entry->value);
}

static weft_err overlay_del(weft_txn *t, weft_table table, weft_bytes key) {
  overlay_txn *own = txn_of(t);
  return is_own(own, table) ? weft_txn_delete(own->front, table, key) : WEFT_OK;
}

static weft_err overlay_clear(weft_txn *t, weft_table table) {
  overlay_txn *own = txn_of(t);
  uint64_t count;
  weft_key_range all = {{NULL, 0}, {NULL, 0}};
  return is_own(own, table) ? weft_txn_delete_range(own->front, table, all, &count) : WEFT_OK;
}

static weft_err overlay_count(weft_txn *t, weft_table table, uint64_t *count) {
  return weft_txn_count(side_of(txn_of(t), table), table, count);
}

static weft_err overlay_cursor_open(weft_txn *t, weft_table table, weft_cursor **out) {
  overlay_txn *own = txn_of(t);
  weft_alloc *mem = &own->of->o.mem;
  overlay_cursor *c = mem->alloc(mem->ctx, sizeof *c);
  if (!c) return WEFT_ENOMEM;
  memset(c, 0, sizeof *c);
  weft_err err = weft_cursor_open(side_of(own, table), table, &c->real);
  if (err != WEFT_OK) {
    mem->free(mem->ctx, c);
    return err;
  }
  *out = &c->base;
  return WEFT_OK;
}

static void overlay_cursor_close(weft_cursor *c) {
  overlay_cursor *own = cursor_of(c);
  weft_alloc *mem = &txn_of(c->txn)->of->o.mem;
  weft_cursor_close(own->real);
  mem->free(mem->ctx, own);
}

static weft_err overlay_cursor_move(weft_cursor *c, weft_move move, weft_bytes key,
                                    weft_entry *entry) {
  overlay_cursor *own = cursor_of(c);
  weft_err err = WEFT_EDONE;
  switch (move) {
  case WEFT_MOVE_FIRST: err = weft_cursor_first(own->real, entry); break;
  case WEFT_MOVE_LAST: err = weft_cursor_last(own->real, entry); break;
  case WEFT_MOVE_NEXT: err = weft_cursor_next(own->real, entry); break;
  case WEFT_MOVE_PREV: err = weft_cursor_prev(own->real, entry); break;
  case WEFT_MOVE_SEEK: err = weft_cursor_seek(own->real, key, entry); break;
  }
  weft__dbkey_reset(&own->at);
  if (err == WEFT_OK && c->txn->mode == WEFT_TXN_WRITE) weft__dbkey_add(&own->at, entry->key);
  return err;
}

static weft_err overlay_cursor_delete(weft_cursor *c) {
  overlay_cursor *own = cursor_of(c);
  return overlay_del(c->txn, c->table, weft__dbkey_view(&own->at));
}

static const weft_store_vtable vtable = {
    .free = overlay_free,
    .size = overlay_size,
    .grow = overlay_grow,
    .begin = overlay_begin,
    .commit = overlay_commit,
    .abort = overlay_abort,
    .get = overlay_get,
    .put = overlay_put,
    .del = overlay_del,
    .clear = overlay_clear,
    .count = overlay_count,
    .cursor_open = overlay_cursor_open,
    .cursor_close = overlay_cursor_close,
    .cursor_move = overlay_cursor_move,
    .cursor_delete = overlay_cursor_delete,
};

weft_err weft__overlay_new(const weft_overlay_options *o, weft_store **out) {
  weft_memory_options front;
  *out = NULL;
  overlay *s = o->mem.alloc(o->mem.ctx, sizeof *s);
  if (!s) return WEFT_ENOMEM;
  weft__store_init(&s->base, &vtable);
  s->o = *o;
  weft_memory_options_init(&front);
  front.mem = o->mem;
  weft_err err = weft_memory_store_new(&front, &s->front);
  if (err != WEFT_OK) {
    o->mem.free(o->mem.ctx, s);
    return err;
  }
  *out = &s->base;
  return WEFT_OK;
}

/* A store in front of another, with faults. */
#include "tests/support/fault_store.h"

#include <stdlib.h>
#include <string.h>

#include "store/backend.h"

typedef struct front {
  weft_store base;
  weft_store *inner;
  test_fault_store *f;
} front;

typedef struct front_txn {
  weft_txn base;
  weft_txn *inner;
} front_txn;

typedef struct front_cursor {
  weft_cursor base;
  weft_cursor *inner;
  uint8_t key[WEFT_KEY_LEN_MAX];
  size_t key_len;
} front_cursor;

static weft_txn *txn_in(weft_txn *t) { return ((front_txn *)(void *)t)->inner; }
static front *of_txn(weft_txn *t) { return (front *)(void *)t->store; }

/* Counts a call; the error it is to fail with. */
static weft_err hit(front *s) {
  test_fault_store *f = s->f;
  if (f->paused) return WEFT_OK;
  f->calls++;
  if (f->called) f->called(f->places);
  bool fails = f->fail_at > 0 && (f->calls == f->fail_at || (f->sticky && f->calls > f->fail_at));
  if (!fails || f->harm) return WEFT_OK;
  f->hits++;
  return weft__store_fail(&s->base, f->err, 0, "injected");
}

/* What a row that was read becomes, the count of this call being `f->calls`. */
static weft_err harmed(front *s, weft_err err, weft_err missing, weft_bytes *value) {
  test_fault_store *f = s->f;
  if (err != WEFT_OK || !f->harm || f->paused || f->calls != f->fail_at) return err;
  f->hits++;
  return f->harm(f->ctx, value) ? WEFT_OK : missing;
}

/* As hit, of a call that takes room. */
static weft_err hit_writing(front *s) {
  WEFT_TRY(hit(s));
  if (!s->f->full || s->f->paused) return WEFT_OK;
  return weft__store_fail(&s->base, WEFT_EFULL, 0, "injected");
}

static void front_free(weft_store *s) { free(s); }

static weft_err front_size(weft_store *s, weft_store_size *size) {
  return weft_store_get_size(((front *)(void *)s)->inner, size);
}

static weft_err front_grow(weft_store *s) {
  WEFT_TRY(hit_writing((front *)(void *)s));
  return weft_store_grow(((front *)(void *)s)->inner);
}

static weft_err front_begin(weft_store *s, weft_txn_mode mode, weft_txn **out) {
  front *store = (front *)(void *)s;
  WEFT_TRY(hit(store));
  front_txn *t = calloc(1, sizeof *t);
  weft_err err = weft_store_begin(store->inner, mode, &t->inner);
  if (err != WEFT_OK) {
    free(t);
    return err;
  }
  *out = &t->base;
  return WEFT_OK;
}

static weft_err front_commit(weft_txn *t) {
  front *s = of_txn(t);
  test_fault_store *f = s->f;
  weft_err err = hit(s);
  if (err == WEFT_OK && t->mode == WEFT_TXN_WRITE && ++f->commits == f->fail_commit_at) {
    f->hits++;
    err = weft__store_fail(&s->base, f->err, 0, "injected");
  }
  if (err == WEFT_OK || f->late) {
    weft_err real = weft_txn_commit(txn_in(t));
    if (err == WEFT_OK) err = real;
  } else {
    weft_txn_abort(txn_in(t));
  }
  bool written = err == WEFT_OK && t->mode == WEFT_TXN_WRITE && f->committed;
  free(t);
  if (written) f->committed(f->ctx);
  return err;
}

static void front_abort(weft_txn *t) {
  weft_txn_abort(txn_in(t));
  free(t);
}

static weft_err front_get(weft_txn *t, weft_table table, weft_bytes key, weft_bytes *value) {
  WEFT_TRY(hit(of_txn(t)));
  weft_err err = weft_txn_get(txn_in(t), table, key, value);
  return harmed(of_txn(t), err, WEFT_ENOTFOUND, value);
}

/* What is asked for must be right where asking helps, so it always does here. */
static bool front_is_cold(weft_txn *t) {
  (void)t;
  return true;
}

static void front_want(weft_txn *t, const weft_wanted *wanted, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (wanted[i].key.len == 0 || wanted[i].table >= WEFT_TABLE_COUNT) abort();
  }
  weft_txn_want(txn_in(t), wanted, count);
}

static weft_err front_put(weft_txn *t, weft_table table, const weft_entry *entry, bool append) {
  WEFT_TRY(hit_writing(of_txn(t)));
  if (append) return weft_txn_append(txn_in(t), table, entry->key, entry->value);
  return weft_txn_put(txn_in(t), table, entry->key, entry->value);
}

static weft_err front_del(weft_txn *t, weft_table table, weft_bytes key) {
  WEFT_TRY(hit(of_txn(t)));
  return weft_txn_delete(txn_in(t), table, key);
}

static weft_err front_clear(weft_txn *t, weft_table table) {
  uint64_t count;
  weft_key_range all = {{NULL, 0}, {NULL, 0}};
  WEFT_TRY(hit(of_txn(t)));
  return weft_txn_delete_range(txn_in(t), table, all, &count);
}

static weft_err front_count(weft_txn *t, weft_table table, uint64_t *count) {
  WEFT_TRY(hit(of_txn(t)));
  return weft_txn_count(txn_in(t), table, count);
}

static weft_err front_cursor_open(weft_txn *t, weft_table table, weft_cursor **out) {
  WEFT_TRY(hit(of_txn(t)));
  front_cursor *c = calloc(1, sizeof *c);
  weft_err err = weft_cursor_open(txn_in(t), table, &c->inner);
  if (err != WEFT_OK) {
    free(c);
    return err;
  }
  *out = &c->base;
  return WEFT_OK;
}

static void front_cursor_close(weft_cursor *c) {
  weft_cursor_close(((front_cursor *)(void *)c)->inner);
  free(c);
}

static weft_err front_cursor_move(weft_cursor *c, weft_move move, weft_bytes key,
                                  weft_entry *entry) {
  front_cursor *f = (front_cursor *)(void *)c;
  weft_err err = hit(of_txn(c->txn));
  if (err != WEFT_OK) return err;
  switch (move) {
  case WEFT_MOVE_FIRST: err = weft_cursor_first(f->inner, entry); break;
  case WEFT_MOVE_LAST: err = weft_cursor_last(f->inner, entry); break;
  case WEFT_MOVE_NEXT: err = weft_cursor_next(f->inner, entry); break;
  case WEFT_MOVE_PREV: err = weft_cursor_prev(f->inner, entry); break;
  case WEFT_MOVE_SEEK: err = weft_cursor_seek(f->inner, key, entry); break;
  }
  err = harmed(of_txn(c->txn), err, WEFT_EDONE, &entry->value);
  f->key_len = err == WEFT_OK ? entry->key.len : 0;
  if (f->key_len > 0) memcpy(f->key, entry->key.at, f->key_len);
  return err;
}

static weft_err front_cursor_delete(weft_cursor *c) {
  front_cursor *f = (front_cursor *)(void *)c;
  WEFT_TRY(hit(of_txn(c->txn)));
  return weft_txn_delete(txn_in(c->txn), c->table, weft_bytes_of(f->key, f->key_len));
}

static const weft_store_vtable vtable = {
    .free = front_free,
    .size = front_size,
    .grow = front_grow,
    .begin = front_begin,
    .commit = front_commit,
    .abort = front_abort,
    .get = front_get,
    .is_cold = front_is_cold,
    .want = front_want,
    .put = front_put,
    .del = front_del,
    .clear = front_clear,
    .count = front_count,
    .cursor_open = front_cursor_open,
    .cursor_close = front_cursor_close,
    .cursor_move = front_cursor_move,
    .cursor_delete = front_cursor_delete,
};

weft_store *test_fault_store_of(weft_store *inner, test_fault_store *f) {
  front *s = calloc(1, sizeof *s);
  weft__store_init(&s->base, &vtable);
  s->inner = inner;
  s->f = f;
  return &s->base;
}

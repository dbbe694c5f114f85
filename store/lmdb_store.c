/* The LMDB store, once it is open: transactions, tables, cursors.  store/lmdb_open.c opens it.
 *
 * Invariants: our counts of transactions are the only ones that are trusted before the map is
 * moved, for LMDB moves it under open readers without a word; transactions begin, and the map
 * moves, under the gate.  META lies in the unnamed database behind a prefix byte: one page less in
 * every commit.
 *
 * Failure modes: LMDB marks a transaction as failed, and so does store.c.  A commit that fails
 * before the meta page is written has changed nothing; one that fails there leaves LMDB in its
 * fatal state, which a probe finds, and kills the store. */
#include <errno.h>
#include <lmdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "crdt/assert.h"
#include "store/folder.h"
#include "store/lmdb_door.h"
#include "store/outcome.h"

enum { disk_full_len = 16 << 20 }; /* less free than the largest single write: the disk is full */

/* A writer keeps a cursor on every table it puts into: keys mostly come in order, and the page
 * where the last one went has the place of the next. */
typedef struct lmdb_txn {
  weft_txn base;
  MDB_txn *txn;
  bool cold; /* a reader that found pages missing: it goes on asking for them */
  MDB_cursor *puts[WEFT_TABLE_COUNT]; /* NULL until the first put */
} lmdb_txn;

typedef struct lmdb_cursor {
  weft_cursor base;
  MDB_cursor *cursor;
  weft_lmdb_scan scan;
} lmdb_cursor;

static weft_lmdb_store *store_of(weft_store *s) { return (weft_lmdb_store *)s; }
static MDB_txn *txn_of(weft_txn *t) { return ((lmdb_txn *)t)->txn; }
static MDB_cursor *cursor_of(weft_cursor *c) { return ((lmdb_cursor *)c)->cursor; }

static MDB_dbi dbi_of(weft_txn *t, weft_table table) { return store_of(t->store)->dbis[table]; }

/* --- errors --- */

weft_err weft__err_from_mdb(int rc) {
  switch (rc) {
  case MDB_SUCCESS: return WEFT_OK;
  case MDB_NOTFOUND: return WEFT_ENOTFOUND;
  case MDB_MAP_FULL:
  case MDB_TXN_FULL: return WEFT_EFULL;
  case MDB_READERS_FULL:
  case MDB_MAP_RESIZED: return WEFT_EAGAIN;
  case MDB_CORRUPTED:
  case MDB_PAGE_NOTFOUND:
  case MDB_CURSOR_FULL:
  case MDB_INVALID: return WEFT_ECORRUPT;
  case MDB_VERSION_MISMATCH: return WEFT_EVERSION;
  default: return weft__err_from_errno(rc);
  }
}

weft_err weft__lmdb_diag(weft_diag *d, int rc, const char *what) {
  char reason[64] = "";
  if (rc < 0) {
    snprintf(reason, sizeof reason, "%s", mdb_strerror(rc));
  } else if (strerror_r(rc, reason, sizeof reason) != 0) {
    snprintf(reason, sizeof reason, "error %d", rc); /* defensive: every errno has a text */
  }
  char text[sizeof d->text];
  snprintf(text, sizeof text, "%s: %s", what, reason);
  weft_err err = weft__err_from_mdb(rc);
  weft__diag_set(d, err, rc, text);
  return err;
}

/* LMDB says that its meta page could not be written by refusing everything from then on. */
static bool env_is_dead(weft_lmdb_store *s) {
  MDB_txn *probe;
  int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &probe);
  if (rc == MDB_SUCCESS) mdb_txn_abort(probe);
  return rc == MDB_PANIC;
}

/* LMDB answers a short write with EIO, and a short write is how a disk mostly says that it is full.
 * Going on is safe then, also if something else was wrong: the meta page is as it was, and whatever
 * was being written will be written anew. */
static bool disk_is_full(weft_lmdb_store *s) {
  struct statvfs v;
  if (s->file_fd < 0 || fstatvfs(s->file_fd, &v) != 0) return false;
  return (uint64_t)v.f_bavail * v.f_frsize < disk_full_len;
}

static weft_err lmdb_fail(weft_store *s, int rc, const char *what) {
  if (rc == MDB_SUCCESS) return WEFT_OK;
  if (rc == MDB_NOTFOUND) return WEFT_ENOTFOUND;
  if (rc == EIO && disk_is_full(store_of(s)) && !env_is_dead(store_of(s))) rc = ENOSPC;
  weft_diag d;
  weft__lmdb_diag(&d, rc, what);
  if (d.err == WEFT_EFULL) atomic_store(&store_of(s)->map_enough, rc != MDB_MAP_FULL);
  return weft__store_fail(s, d.err, rc, d.text);
}

/* --- keys --- */

typedef struct lmdb_key {
  uint8_t meta[1 + WEFT_STORE_META_KEY_LEN_MAX];
  MDB_val val;
} lmdb_key;

/* LMDB does not write through the pointer of a key or of a value that it is given. */
static MDB_val val_of(weft_bytes b) {
  union {
    const void *given;
    void *taken;
  } at = {b.at};
  MDB_val v = {b.len, at.taken};
  return v;
}

static MDB_val *key_make(lmdb_key *k, weft_table table, weft_bytes key) {
  if (table != WEFT_TABLE_META) {
    k->val = val_of(key);
    return &k->val;
  }
  WEFT_ASSERT(key.len < sizeof k->meta);
  k->meta[0] = WEFT_LMDB_META_PREFIX;
  if (key.len) memcpy(k->meta + 1, key.at, key.len);
  k->val.mv_size = key.len + 1;
  k->val.mv_data = k->meta;
  return &k->val;
}

/* --- reading and writing --- */

static weft_err lmdb_get(weft_txn *t, weft_table table, weft_bytes key, weft_bytes *value) {
  lmdb_key k;
  MDB_val v;
  int rc = mdb_get(txn_of(t), dbi_of(t, table), key_make(&k, table, key), &v);
  if (rc != MDB_SUCCESS) return lmdb_fail(t->store, rc, "get");
  weft__lmdb_whole(store_of(t->store), v.mv_data, v.mv_size);
  *value = weft_bytes_of(v.mv_data, v.mv_size);
  return WEFT_OK;
}

/* The pages of a writer are not those of the file. */
static bool lmdb_is_cold(weft_txn *base) {
  lmdb_txn *t = (lmdb_txn *)base;
  if (base->mode != WEFT_TXN_READ) return false;
  t->cold = t->cold || weft__lmdb_is_cold(store_of(base->store));
  return t->cold;
}

static void lmdb_want(weft_txn *t, const weft_wanted *wanted, size_t count) {
  if (t->mode == WEFT_TXN_READ) weft__lmdb_want(store_of(t->store), txn_of(t), wanted, count);
}

static void puts_close(lmdb_txn *t) {
  for (unsigned i = 0; i < WEFT_TABLE_COUNT; i++) {
    if (t->puts[i]) mdb_cursor_close(t->puts[i]);
    t->puts[i] = NULL;
  }
}

static weft_err lmdb_put(weft_txn *t, weft_table table, const weft_entry *entry, bool append) {
  lmdb_key k;
  MDB_val *key = key_make(&k, table, entry->key);
  MDB_val value = val_of(entry->value);
  MDB_cursor **c = &((lmdb_txn *)t)->puts[table];
  int rc = *c ? MDB_SUCCESS : mdb_cursor_open(txn_of(t), dbi_of(t, table), c);
  if (rc != MDB_SUCCESS) return lmdb_fail(t->store, rc, "put");
  rc = MDB_KEYEXIST;
  if (append && table != WEFT_TABLE_META) rc = mdb_cursor_put(*c, key, &value, MDB_APPEND);
  if (rc == MDB_KEYEXIST) rc = mdb_cursor_put(*c, key, &value, 0);
  return lmdb_fail(t->store, rc, "put");
}

static weft_err lmdb_delete(weft_txn *t, weft_table table, weft_bytes key) {
  lmdb_key k;
  int rc = mdb_del(txn_of(t), dbi_of(t, table), key_make(&k, table, key), NULL);
  return lmdb_fail(t->store, rc, "delete");
}

/* The unnamed database also holds the format record and one name for every table but META. */
static weft_err lmdb_count(weft_txn *t, weft_table table, uint64_t *count) {
  MDB_stat stat;
  int rc = mdb_stat(txn_of(t), dbi_of(t, table), &stat);
  if (rc == MDB_SUCCESS) *count = stat.ms_entries;
  if (rc == MDB_SUCCESS && table == WEFT_TABLE_META) *count -= WEFT_TABLE_COUNT;
  return lmdb_fail(t->store, rc, "count");
}

/* --- cursors --- */

static weft_err lmdb_cursor_open(weft_txn *t, weft_table table, weft_cursor **out) {
  weft_lmdb_store *s = store_of(t->store);
  lmdb_cursor *c = s->mem.alloc(s->mem.ctx, sizeof *c);
  if (!c) return WEFT_ENOMEM;
  int rc = mdb_cursor_open(txn_of(t), dbi_of(t, table), &c->cursor);
  if (rc != MDB_SUCCESS) {
    s->mem.free(s->mem.ctx, c);
    return lmdb_fail(t->store, rc, "open a cursor");
  }
  memset(&c->scan, 0, sizeof c->scan);
  *out = &c->base;
  return WEFT_OK;
}

static void lmdb_cursor_close(weft_cursor *c) {
  weft_lmdb_store *s = store_of(c->txn->store);
  mdb_cursor_close(cursor_of(c));
  s->mem.free(s->mem.ctx, c);
}

/* META's range of the unnamed database ends where its prefix does: its last entry stands before the
 * first name of a table. */
static int meta_last(MDB_cursor *c, MDB_val *k, MDB_val *v) {
  uint8_t behind = WEFT_LMDB_META_PREFIX + 1;
  k->mv_data = &behind;
  k->mv_size = 1;
  int rc = mdb_cursor_get(c, k, v, MDB_SET_RANGE);
  return rc == MDB_SUCCESS ? mdb_cursor_get(c, k, v, MDB_PREV) : rc;
}

static weft_err lmdb_cursor_move(weft_cursor *cursor, weft_move move, weft_bytes key,
                                 weft_entry *entry) {
  MDB_cursor *c = cursor_of(cursor);
  bool meta = cursor->table == WEFT_TABLE_META;
  lmdb_key room;
  MDB_val k, v;
  int rc = MDB_NOTFOUND;
  switch (move) {
  case WEFT_MOVE_FIRST:
    k = *key_make(&room, cursor->table, weft_bytes_of(NULL, 0));
    rc = mdb_cursor_get(c, &k, &v, meta ? MDB_SET_RANGE : MDB_FIRST);
    break;
  case WEFT_MOVE_LAST:
    rc = meta ? meta_last(c, &k, &v) : mdb_cursor_get(c, &k, &v, MDB_LAST);
    break;
  case WEFT_MOVE_NEXT: rc = mdb_cursor_get(c, &k, &v, MDB_NEXT); break;
  case WEFT_MOVE_PREV: rc = mdb_cursor_get(c, &k, &v, MDB_PREV); break;
  case WEFT_MOVE_SEEK:
    k = *key_make(&room, cursor->table, key);
    rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
    break;
  }
  if (rc == MDB_NOTFOUND) return WEFT_EDONE;
  if (rc != MDB_SUCCESS) return lmdb_fail(cursor->txn->store, rc, "move a cursor");
  weft_lmdb_store *s = store_of(cursor->txn->store);
  weft_lmdb_scan *scan = &((lmdb_cursor *)cursor)->scan;
  if (move == WEFT_MOVE_NEXT || move == WEFT_MOVE_PREV) {
    weft__lmdb_scan(s, scan, k.mv_data);
  } else {
    scan->leaves = 0; /* it goes on from here */
  }
  weft__lmdb_whole(s, v.mv_data, v.mv_size);
  entry->key = weft_bytes_of(k.mv_data, k.mv_size);
  entry->value = weft_bytes_of(v.mv_data, v.mv_size);
  if (!meta) return WEFT_OK;
  if (entry->key.at[0] != WEFT_LMDB_META_PREFIX) return WEFT_EDONE;
  entry->key = weft_bytes_of(entry->key.at + 1, entry->key.len - 1);
  return WEFT_OK;
}

static weft_err lmdb_cursor_delete(weft_cursor *c) {
  return lmdb_fail(c->txn->store, mdb_cursor_del(cursor_of(c), 0), "delete in a range");
}

static weft_err meta_clear(weft_txn *t) {
  weft_cursor *c;
  WEFT_TRY(weft_cursor_open(t, WEFT_TABLE_META, &c));
  weft_entry entry;
  weft_err err = lmdb_cursor_move(c, WEFT_MOVE_FIRST, weft_bytes_of(NULL, 0), &entry);
  while (err == WEFT_OK) {
    err = lmdb_cursor_delete(c);
    if (err == WEFT_OK) err = lmdb_cursor_move(c, WEFT_MOVE_NEXT, entry.key, &entry);
  }
  weft_cursor_close(c);
  return weft__walked(err);
}

static weft_err lmdb_clear(weft_txn *t, weft_table table) {
  if (table == WEFT_TABLE_META) return meta_clear(t);
  return lmdb_fail(t->store, mdb_drop(txn_of(t), dbi_of(t, table), 0), "clear a table");
}

/* --- transactions --- */

static unsigned open_count(weft_store *s) {
  return atomic_load(&s->readers) + (atomic_load(&s->writing) ? 1u : 0u);
}

/* Begins, and deals with the two states that go away: slots of readers that died, and a map that
 * another process has grown, which may be followed only while nothing but this one is open.
 *
 * A process that was killed while it read keeps its snapshot's pages from being used again until
 * somebody looks whether it lives, and the file grows with each commit.  So a writer looks, which
 * costs it a call of the system for each other process that reads. */
static int txn_begin(weft_lmdb_store *s, unsigned flags, MDB_txn **txn) {
  int dead = 0;
  if (!(flags & MDB_RDONLY)) (void)mdb_reader_check(s->env, &dead); /* else it looks next time */
  int rc = mdb_txn_begin(s->env, NULL, flags, txn);
  if (rc == MDB_READERS_FULL) {
    rc = mdb_reader_check(s->env, &dead);
    if (rc == MDB_SUCCESS) rc = mdb_txn_begin(s->env, NULL, flags, txn);
  }
  if (rc == MDB_MAP_RESIZED && open_count(&s->base) == 1) {
    rc = mdb_env_set_mapsize(s->env, 0);
    if (rc == MDB_SUCCESS) rc = mdb_txn_begin(s->env, NULL, flags, txn);
  }
  return rc;
}

static weft_err lmdb_begin(weft_store *base, weft_txn_mode mode, weft_txn **out) {
  weft_lmdb_store *s = store_of(base);
  lmdb_txn *t = s->mem.alloc(s->mem.ctx, sizeof *t);
  if (!t) return WEFT_ENOMEM;
  pthread_mutex_lock(&s->gate);
  int rc = txn_begin(s, mode == WEFT_TXN_READ ? MDB_RDONLY : 0, &t->txn);
  pthread_mutex_unlock(&s->gate);
  if (rc != MDB_SUCCESS) {
    s->mem.free(s->mem.ctx, t);
    return lmdb_fail(base, rc, "begin a transaction");
  }
  memset(t->puts, 0, sizeof t->puts);
  t->cold = false;
  *out = &t->base;
  return WEFT_OK;
}

static void lmdb_abort(weft_txn *t) {
  weft_lmdb_store *s = store_of(t->store);
  puts_close((lmdb_txn *)t);
  mdb_txn_abort(txn_of(t));
  s->mem.free(s->mem.ctx, t);
}

static weft_err lmdb_commit(weft_txn *t) {
  weft_lmdb_store *s = store_of(t->store);
  puts_close((lmdb_txn *)t);
  int rc = mdb_txn_commit(txn_of(t));
  s->mem.free(s->mem.ctx, t);
  if (rc == MDB_SUCCESS) return WEFT_OK;
  if (env_is_dead(s)) return weft__store_fail(&s->base, WEFT_EIO, rc, "commit: meta page failed");
  return lmdb_fail(&s->base, rc, "commit");
}

/* --- the store --- */

static weft_err lmdb_size(weft_store *base, weft_store_size *size) {
  weft_lmdb_store *s = store_of(base);
  MDB_envinfo info;
  MDB_stat stat;
  int rc = mdb_env_info(s->env, &info);
  if (rc == MDB_SUCCESS) rc = mdb_env_stat(s->env, &stat);
  if (rc != MDB_SUCCESS) return lmdb_fail(base, rc, "size"); /* defensive: both only copy */
  size->used = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
  size->max = info.me_mapsize;
  return WEFT_OK;
}

/* A map that could not be moved is gone, and the environment with it.  So it does not grow for want
 * of disk: each try would double it, until no address space is left. */
static weft_err map_grow(weft_lmdb_store *s) {
  weft_store_size size = {0, 0};
  if (atomic_exchange(&s->map_enough, false)) return WEFT_EFULL;
  WEFT_TRY(lmdb_size(&s->base, &size));
  if (size.max > SIZE_MAX / 4) {
    return weft__store_fail(&s->base, WEFT_EFULL, 0, "grow: the address space is full");
  }
  int rc = mdb_env_set_mapsize(s->env, (size_t)size.max * 2);
  if (rc != MDB_SUCCESS) atomic_store(&s->base.dead, true);
  return lmdb_fail(&s->base, rc, "grow");
}

static weft_err lmdb_grow(weft_store *base) {
  weft_lmdb_store *s = store_of(base);
  pthread_mutex_lock(&s->gate);
  weft_err err = open_count(base) ? WEFT_EMISUSE : map_grow(s);
  pthread_mutex_unlock(&s->gate);
  return err;
}

static void lmdb_free(weft_store *base) {
  weft_lmdb_store *s = store_of(base);
  mdb_env_close(s->env);
  weft__lmdb_unlock(s);
  pthread_mutex_destroy(&s->gate);
  weft_alloc mem = s->mem;
  mem.free(mem.ctx, s);
}

const weft_store_vtable weft__lmdb_vtable = {
    .free = lmdb_free,
    .size = lmdb_size,
    .grow = lmdb_grow,
    .begin = lmdb_begin,
    .commit = lmdb_commit,
    .abort = lmdb_abort,
    .get = lmdb_get,
    .is_cold = lmdb_is_cold,
    .want = lmdb_want,
    .put = lmdb_put,
    .del = lmdb_delete,
    .clear = lmdb_clear,
    .count = lmdb_count,
    .cursor_open = lmdb_cursor_open,
    .cursor_close = lmdb_cursor_close,
    .cursor_move = lmdb_cursor_move,
    .cursor_delete = lmdb_cursor_delete,
};

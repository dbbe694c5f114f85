/* LMDB alone: puts in groups, each group one synced transaction. */
#include <lmdb.h>
#include <string.h>

#include "bench/probe.h"

enum { LOG_TABLES = 3, LOG_HEAD_LEN = 24, KEY_LEN_MAX = 511 };
#define MAP_SIZE ((size_t)16 << 30) /* address space only */

struct probe_lmdb {
  bench *b;
  unsigned tables;
  char path[BENCH_PATH_LEN_MAX];
  MDB_env *env;
  MDB_dbi dbi[PROBE_TABLES_MAX];
  uint64_t written; /* items so far */
};

static weft_err fail(probe_lmdb *p, int code) {
  if (code == 0) return WEFT_OK;
  return bench_fail(p->b, WEFT_EIO, mdb_strerror(code));
}

static int open_tables(probe_lmdb *p) {
  char name[12];
  MDB_txn *txn;
  int code = mdb_txn_begin(p->env, NULL, 0, &txn);
  if (code != 0) return code;
  for (unsigned i = 0; i < p->tables && code == 0; i++) {
    snprintf(name, sizeof name, "%u", i);
    code = mdb_dbi_open(txn, name, MDB_CREATE, &p->dbi[i]);
  }
  if (code == 0) return mdb_txn_commit(txn);
  mdb_txn_abort(txn);
  return code;
}

weft_err probe_lmdb_open(probe_lmdb **out, bench *b, const char *name, unsigned tables) {
  *out = NULL;
  probe_lmdb *p = b->mem.alloc(b->mem.ctx, sizeof *p);
  if (!p) return WEFT_ENOMEM;
  *p = (probe_lmdb){.b = b, .tables = tables};
  bench_path(b, name, p->path);
  int code = mdb_env_create(&p->env);
  if (code == 0) code = mdb_env_set_maxdbs(p->env, PROBE_TABLES_MAX);
  if (code == 0) code = mdb_env_set_mapsize(p->env, MAP_SIZE);
  /* One thread uses it.  The table of locks would be a SIGBUS on a full disk. */
  if (code == 0) code = mdb_env_open(p->env, p->path, MDB_NOSUBDIR | MDB_NOLOCK, 0600);
  if (code == 0) code = open_tables(p);
  weft_err err = fail(p, code);
  if (err == WEFT_OK) {
    *out = p;
  } else {
    probe_lmdb_close(p);
  }
  return err;
}

void probe_lmdb_close(probe_lmdb *p) {
  if (!p) return;
  if (p->env) mdb_env_close(p->env);
  bench_file_remove(p->path);
  p->b->mem.free(p->b->mem.ctx, p);
}

static MDB_val val(const void *at, size_t len) {
  MDB_val v = {len, NULL};
  memcpy(&v.mv_data, &at, sizeof at); /* LMDB takes no pointers to const; it only reads here */
  return v;
}

static void number_to(uint8_t out[8], uint64_t v) {
  for (unsigned k = 0; k < 8; k++) out[k] = (uint8_t)(v >> (56 - 8 * k));
}

/* What a log and a history would want of the same write. */
static int put_beside(probe_lmdb *p, MDB_txn *txn, const probe_item *item) {
  uint8_t record[2048] = {0};
  uint8_t key[12] = {0};
  size_t len = LOG_HEAD_LEN + item->key.len + item->value.len;
  if (len > sizeof record) return MDB_BAD_VALSIZE;
  memcpy(record + LOG_HEAD_LEN, item->key.at, item->key.len);
  memcpy(record + LOG_HEAD_LEN + item->key.len, item->value.at, item->value.len);
  memcpy(key, item->key.at, 4);
  number_to(key + 4, p->written);
  MDB_val k = val(key + 4, 8);
  MDB_val v = val(record, len);
  int code = mdb_put(txn, p->dbi[1], &k, &v, MDB_APPEND);
  if (code != 0) return code;
  k = val(key, sizeof key);
  v = val(key + 4, 8);
  return mdb_put(txn, p->dbi[2], &k, &v, 0);
}

static int put_group(probe_lmdb *p, const probe_item *items, size_t count) {
  MDB_txn *txn;
  int code = mdb_txn_begin(p->env, NULL, 0, &txn);
  if (code != 0) return code;
  for (size_t i = 0; i < count && code == 0; i++) {
    MDB_val k = val(items[i].key.at, items[i].key.len);
    MDB_val v = val(items[i].value.at, items[i].value.len);
    code = mdb_put(txn, p->dbi[0], &k, &v, 0);
    if (code == 0 && p->tables == LOG_TABLES) code = put_beside(p, txn, &items[i]);
    p->written++;
  }
  if (code == 0) return mdb_txn_commit(txn);
  mdb_txn_abort(txn);
  return code;
}

weft_err probe_lmdb_put(probe_lmdb *p, probe_items items, size_t group, double *seconds) {
  double start = bench_now();
  for (size_t i = 0; i < items.count; i += group) {
    size_t left = items.count - i;
    WEFT_TRY(fail(p, put_group(p, items.at + i, left < group ? left : group)));
  }
  *seconds += bench_now() - start;
  return WEFT_OK;
}

static int replay_put(const probe_lmdb *p, MDB_txn *txn, const probe_put *put) {
  uint8_t key[KEY_LEN_MAX];
  MDB_val v = val(put->value.at, put->value.len);
  if (p->tables > LOG_TABLES) {
    MDB_val whole = val(put->key.at, put->key.len);
    return mdb_put(txn, p->dbi[put->table], &whole, &v, 0);
  }
  if (put->key.len >= sizeof key) return MDB_BAD_VALSIZE;
  key[0] = (uint8_t)put->table;
  memcpy(key + 1, put->key.at, put->key.len);
  MDB_val k = val(key, put->key.len + 1);
  return mdb_put(txn, p->dbi[p->tables == 1 ? 0 : put->kind], &k, &v, 0);
}

/* One transaction; gives how many puts it took. */
static int replay_txn(probe_lmdb *p, const probe_put *puts, size_t count, size_t *taken) {
  MDB_txn *txn;
  bool last = false;
  size_t i = 0;
  int code = mdb_txn_begin(p->env, NULL, 0, &txn);
  if (code != 0) return code;
  for (; i < count && code == 0 && !last; i++) {
    code = replay_put(p, txn, &puts[i]);
    last = puts[i].last;
  }
  *taken = i;
  if (code == 0) return mdb_txn_commit(txn);
  mdb_txn_abort(txn);
  return code;
}

weft_err probe_lmdb_replay(probe_lmdb *p, probe_puts puts, double *seconds) {
  double start = bench_now();
  for (size_t i = 0, taken = 0; i < puts.count; i += taken) {
    WEFT_TRY(fail(p, replay_txn(p, puts.at + i, puts.count - i, &taken)));
  }
  *seconds += bench_now() - start;
  return WEFT_OK;
}

static int page(const probe_lmdb *p, MDB_txn *txn, weft_bytes key, size_t count) {
  MDB_cursor *cursor;
  MDB_val k = val(key.at, key.len);
  MDB_val v;
  int code = mdb_cursor_open(txn, p->dbi[0], &cursor);
  if (code != 0) return code;
  code = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
  for (size_t i = 0; i < count && code == 0; i++) {
    code = mdb_get(txn, p->dbi[0], &k, &v);
    if (code == 0) code = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
  }
  mdb_cursor_close(cursor);
  return code;
}

weft_err probe_lmdb_page(probe_lmdb *p, weft_bytes key, size_t count, double *seconds) {
  MDB_txn *txn;
  double start = bench_now();
  int code = mdb_txn_begin(p->env, NULL, MDB_RDONLY, &txn);
  if (code == 0) {
    code = page(p, txn, key, count);
    mdb_txn_abort(txn);
  }
  *seconds = bench_now() - start;
  return fail(p, code);
}

static int cold_get(MDB_env *env, const char *name) {
  MDB_txn *txn;
  MDB_dbi dbi;
  MDB_cursor *cursor;
  MDB_val k, v;
  int code = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
  if (code != 0) return code;
  code = mdb_dbi_open(txn, name, 0, &dbi);
  if (code == 0) code = mdb_cursor_open(txn, dbi, &cursor);
  if (code == 0) {
    code = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
    mdb_cursor_close(cursor);
  }
  mdb_txn_abort(txn);
  return code;
}

weft_err probe_lmdb_cold(bench *b, const char *path, const char *name, double *seconds) {
  MDB_env *env = NULL;
  double start = bench_now();
  int code = mdb_env_create(&env);
  if (code == 0) code = mdb_env_set_maxdbs(env, PROBE_TABLES_MAX);
  if (code == 0) code = mdb_env_set_mapsize(env, MAP_SIZE);
  if (code == 0) code = mdb_env_open(env, path, MDB_NOSUBDIR | MDB_RDONLY, 0600);
  if (code == 0) code = cold_get(env, name);
  *seconds = bench_now() - start;
  if (env) mdb_env_close(env);
  return code == 0 ? WEFT_OK : bench_fail(b, WEFT_EIO, mdb_strerror(code));
}

uint64_t probe_lmdb_len(const probe_lmdb *p) { return bench_file_len(p->path); }

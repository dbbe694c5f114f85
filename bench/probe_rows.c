/* A replica without chunks and columns, by the libraries alone: rows that are taken apart by
 * msgpack-c, chained by BLAKE2b and put into LMDB. */
#include <lmdb.h>
#include <msgpack.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "bench/probe.h"

enum { HASH_LEN = 32, FIELDS = 5, LOG = 0, STATE = 1, TABLES = 2 };

/* --- rows --- */

static void pack_text(msgpack_packer *to, const char *text, size_t len) {
  msgpack_pack_str(to, len);
  msgpack_pack_str_body(to, text, len);
}

/* [clock, log, document, field, value]: what a change of one field has to tell. */
static weft_err row_of(weft_arena *arena, msgpack_sbuffer *scratch, const probe_item *item,
                       uint64_t clock, weft_bytes *out) {
  char name[W1_NAME_LEN_MAX];
  msgpack_packer to;
  const uint8_t *k = item->key.at;
  w1_document(name, (uint32_t)k[0] << 24 | (uint32_t)k[1] << 16 | (uint32_t)k[2] << 8 | k[3]);
  msgpack_sbuffer_clear(scratch);
  msgpack_packer_init(&to, scratch, msgpack_sbuffer_write);
  msgpack_pack_array(&to, FIELDS);
  msgpack_pack_uint64(&to, clock);
  msgpack_pack_uint32(&to, w1_device((uint32_t)clock));
  pack_text(&to, name, strlen(name));
  pack_text(&to, (const char *)k + 4, item->key.len - 4);
  msgpack_sbuffer_write(scratch, (const char *)item->value.at, item->value.len);
  return weft__arena_copy(arena, weft_bytes_of(scratch->data, scratch->size), out);
}

weft_err probe_rows_make(weft_arena *arena, probe_items items, probe_rows *out) {
  msgpack_sbuffer scratch;
  weft_err err = WEFT_OK;
  const uint64_t clock = w1_import_us(0) << 12;
  *out = (probe_rows){.state = items};
  out->at = weft__arena_zero(arena, items.count, sizeof *out->at);
  if (!out->at) return WEFT_ENOMEM;
  msgpack_sbuffer_init(&scratch);
  for (size_t i = 0; i < items.count && err == WEFT_OK; i++) {
    err = row_of(arena, &scratch, &items.at[i], clock + i, &out->at[i]);
    if (err == WEFT_OK) out->len += out->at[i].len;
  }
  msgpack_sbuffer_destroy(&scratch);
  return err;
}

/* --- the job --- */

typedef struct rows_run {
  bench *b;
  const probe_rows *rows;
  MDB_env *env;
  MDB_dbi dbi[TABLES];
  weft_arena arena;
  uint8_t head[HASH_LEN];
  uint64_t appended;
} rows_run;

static weft_err fail(rows_run *r, int code) {
  return code == 0 ? WEFT_OK : bench_fail(r->b, WEFT_EIO, mdb_strerror(code));
}

static MDB_val val(const void *at, size_t len) {
  MDB_val v = {len, NULL};
  memcpy(&v.mv_data, &at, sizeof at); /* LMDB takes no pointers to const; it only reads here */
  return v;
}

/* head = BLAKE2b(head | row), after the row was taken apart. */
static bool row_check(rows_run *r, msgpack_unpacked *parts, weft_bytes row) {
  crypto_generichash_state chain;
  size_t off = 0;
  msgpack_unpack_return got = msgpack_unpack_next(parts, (const char *)row.at, row.len, &off);
  if (got != MSGPACK_UNPACK_SUCCESS || parts->data.via.array.size != FIELDS) return false;
  crypto_generichash_init(&chain, NULL, 0, HASH_LEN);
  crypto_generichash_update(&chain, r->head, HASH_LEN);
  crypto_generichash_update(&chain, row.at, row.len);
  crypto_generichash_final(&chain, r->head, HASH_LEN);
  return true;
}

static int row_append(rows_run *r, MDB_txn *txn, weft_bytes row) {
  uint8_t key[8];
  uint64_t number = r->appended++;
  for (unsigned k = 0; k < 8; k++) key[k] = (uint8_t)(number >> (56 - 8 * k));
  MDB_val k = val(key, sizeof key);
  MDB_val v = val(row.at, row.len);
  return mdb_put(txn, r->dbi[LOG], &k, &v, MDB_APPEND);
}

static int state_put(rows_run *r, MDB_txn *txn, const probe_item *item) {
  MDB_val k = val(item->key.at, item->key.len);
  MDB_val v = val(item->value.at, item->value.len);
  return mdb_put(txn, r->dbi[STATE], &k, &v, 0);
}

/* Takes rows `from`..`to` - 1 in one synced transaction, into the log, the state, or both. */
static weft_err take_rows(rows_run *r, size_t from, size_t to, const probe_item *state, bool log) {
  MDB_txn *txn;
  msgpack_unpacked parts;
  bool sane = true;
  WEFT_TRY(fail(r, mdb_txn_begin(r->env, NULL, 0, &txn)));
  msgpack_unpacked_init(&parts);
  int code = 0;
  for (size_t i = from; i < to && sane && code == 0; i++) {
    if (log) {
      sane = row_check(r, &parts, r->rows->at[i]);
      if (sane) code = row_append(r, txn, r->rows->at[i]);
    }
    if (state && code == 0) code = state_put(r, txn, &state[i]);
  }
  msgpack_unpacked_destroy(&parts);
  if (code == 0 && sane) return fail(r, mdb_txn_commit(txn));
  mdb_txn_abort(txn);
  return sane ? fail(r, code) : bench_fail(r->b, WEFT_EMALFORMED, "a row of the probe");
}

static weft_err take_all(rows_run *r, size_t group, const probe_item *state, bool log) {
  size_t count = r->rows->state.count;
  for (size_t i = 0; i < count; i += group) {
    WEFT_TRY(take_rows(r, i, count - i < group ? count : i + group, state, log));
  }
  return WEFT_OK;
}

static weft_err open_rows(rows_run *r, const char *path) {
  static const char *const names[TABLES] = {"log", "state"};
  MDB_txn *txn;
  int code = mdb_env_create(&r->env);
  if (code == 0) code = mdb_env_set_maxdbs(r->env, TABLES);
  if (code == 0) code = mdb_env_set_mapsize(r->env, (size_t)16 << 30);
  /* No locks, as in probe_lmdb.c. */
  if (code == 0) code = mdb_env_open(r->env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0600);
  if (code == 0) code = mdb_txn_begin(r->env, NULL, 0, &txn);
  if (code != 0) return fail(r, code);
  for (unsigned i = 0; i < TABLES && code == 0; i++) {
    code = mdb_dbi_open(txn, names[i], MDB_CREATE, &r->dbi[i]);
  }
  if (code == 0) return fail(r, mdb_txn_commit(txn));
  mdb_txn_abort(txn);
  return fail(r, code);
}

static weft_err timed(rows_run *r, const probe_rows_job *job, double *seconds) {
  double start = bench_now();
  weft_err err = WEFT_OK;
  switch (job->kind) {
  case PROBE_ROWS_LOG: err = take_all(r, job->group, NULL, true); break;
  case PROBE_ROWS_NAIVE: err = take_all(r, job->group, r->rows->state.at, true); break;
  case PROBE_ROWS_SORTED: {
    probe_items sorted = r->rows->state;
    err = take_all(r, job->group, NULL, true);
    if (err == WEFT_OK) err = probe_items_sort(&r->arena, &sorted, job->state_group);
    if (err == WEFT_OK) err = take_all(r, job->state_group, sorted.at, false);
    break;
  }
  }
  *seconds += bench_now() - start;
  return err;
}

/* What stands in the state before. */
static weft_err fill(rows_run *r, const probe_rows_job *job) {
  const probe_rows before = {.state = job->before};
  const size_t group = 65536;
  r->rows = &before;
  weft_err err = take_all(r, group, job->before.at, false);
  r->rows = &job->rows;
  return err;
}

weft_err probe_rows_run(bench *b, const probe_rows_job *job, double *seconds) {
  char path[BENCH_PATH_LEN_MAX];
  rows_run r = {.b = b};
  bench_path(b, "rows.mdb", path);
  weft__arena_init(&r.arena, &b->mem);
  weft_err err = open_rows(&r, path);
  if (err == WEFT_OK) err = fill(&r, job);
  if (err == WEFT_OK) err = timed(&r, job, seconds);
  if (r.env) mdb_env_close(r.env);
  weft__arena_free(&r.arena);
  bench_file_remove(path);
  return err;
}

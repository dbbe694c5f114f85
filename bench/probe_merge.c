/* A merge in memory: rows that are taken apart by msgpack-c and put into a plain hash table, where
 * the greater clock wins.  Nothing is stored, signed, chained or kept of what loses. */
#include <msgpack.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "bench/probe.h"

enum { PARTS = 5, CLOCK = 0, DOCUMENT = 2, FIELD = 3 };

/* A row taken apart; one piece of memory serves all rows, one after the other. */
typedef struct row_parts {
  msgpack_zone zone;
  msgpack_object data;
} row_parts;

typedef struct slot {
  weft_bytes key; /* document and field, as they stand in the row; NULL: free */
  weft_bytes value;
  uint64_t clock;
} slot;

typedef struct table {
  slot *at;
  size_t mask;
} table;

static slot *find(const table *t, weft_bytes key) {
  static const uint8_t secret[crypto_shorthash_KEYBYTES] = {1};
  uint64_t hash;
  crypto_shorthash((uint8_t *)&hash, key.at, key.len, secret);
  size_t i = (size_t)hash & t->mask;
  while (t->at[i].key.at && weft_bytes_cmp(t->at[i].key, key) != 0) i = (i + 1) & t->mask;
  return &t->at[i];
}

/* Strings of what was taken apart are views of the row. */
static bool merge(table *t, row_parts *parts, weft_bytes row, bool newer) {
  size_t off = 0;
  msgpack_zone_clear(&parts->zone);
  msgpack_unpack_return got =
      msgpack_unpack((const char *)row.at, row.len, &off, &parts->zone, &parts->data);
  if (got != MSGPACK_UNPACK_SUCCESS || parts->data.via.array.size != PARTS) return false;
  const msgpack_object *part = parts->data.via.array.ptr;
  const uint8_t *from = (const uint8_t *)part[DOCUMENT].via.str.ptr;
  const uint8_t *to = (const uint8_t *)part[FIELD].via.str.ptr + part[FIELD].via.str.size;
  weft_bytes key = weft_bytes_of(from, (size_t)(to - from));
  slot *s = find(t, key);
  uint64_t clock = newer ? part[CLOCK].via.u64 : 0;
  if (s->key.at && s->clock > clock) return true;
  *s = (slot){key, weft_bytes_of(to, (size_t)(row.at + row.len - to)), clock};
  return true;
}

static bool merge_all(table *t, const probe_rows *rows, bool newer) {
  row_parts parts;
  bool sane = true;
  enum { zone_len = 8192 };
  msgpack_zone_init(&parts.zone, zone_len);
  for (size_t i = 0; i < rows->state.count && sane; i++) {
    sane = merge(t, &parts, rows->at[i], newer);
  }
  msgpack_zone_destroy(&parts.zone);
  return sane;
}

weft_err probe_rows_merge(bench *b, const probe_rows_job *job, double *seconds) {
  weft_arena arena;
  probe_rows before;
  size_t count = 1;
  while (count < 2 * (job->before.count + job->rows.state.count)) count *= 2;
  table t = {calloc(count, sizeof *t.at), count - 1};
  if (!t.at) return WEFT_ENOMEM;
  weft__arena_init(&arena, &b->mem);
  weft_err err = probe_rows_make(&arena, job->before, &before);
  bool sane = err == WEFT_OK && merge_all(&t, &before, false);
  double start = bench_now();
  sane = sane && merge_all(&t, &job->rows, true);
  *seconds += bench_now() - start;
  weft__arena_free(&arena);
  free(t.at);
  return sane || err != WEFT_OK ? err : bench_fail(b, WEFT_EMALFORMED, "a row of the probe");
}

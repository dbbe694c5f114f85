/* A space with several devices in one test. */
#include "tests/support/space.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crdt/json.h"
#include "store/lmdb_store.h"
#include "store/memory_store.h"

/* Also serves programs that know no cmocka, and so ends them by itself. */
static void check(bool right, const char *what, int line) {
  if (right) return;
  fprintf(stderr, "space.c:%d: not so: %s\n", line, what);
  abort();
}
#define CHECK(condition)  check(condition, #condition, __LINE__)
#define CHECK_EQUAL(a, b) check((a) == (b), #a " is " #b, __LINE__)

static weft_ms wall_ms(void *ctx) {
  test_platform *p = ctx;
  return p->now;
}

static void entropy(void *ctx, void *out, size_t len) {
  test_platform *p = ctx;
  test_rng_fill(&p->rng, out, len);
}

static void record_into(test_space *s, size_t idx, const weft_record *record, weft_id *id) {
  weft_alloc mem = weft_alloc_libc();
  weft_buf b;
  weft__buf_init(&b, &mem, TEST_RECORD_LEN);
  CHECK_EQUAL(weft__record_sign(&b, s->crypto, &s->devices[0], record, id), WEFT_OK);
  memcpy(s->records[idx], b.at, b.len);
  s->record_lens[idx] = b.len;
  weft__buf_free(&b);
}

static void admit(test_space *s, size_t idx, weft_id *last) {
  weft_record a = {.kind = WEFT_RECORD_ADMIT, .space = s->id, .dep_count = 1};
  weft_key seed;
  char name[32];
  memset(&seed, 0x51, sizeof seed);
  a.deps[0] = *last;
  a.admit.role = WEFT_ROLE_WRITER;
  snprintf(name, sizeof name, "device %zu", idx);
  a.admit.name = weft_bytes_str(name);
  weft__redeem_sign(&a.admit.redeem, s->crypto, &s->devices[idx], &seed, &s->id);
  record_into(s, idx, &a, last);
}

void test_space_make(test_space *s, size_t count, uint64_t seed) {
  test_space_make_with(s, count, seed, weft_crypto_sodium());
}

void test_space_make_with(test_space *s, size_t count, uint64_t seed, const weft_crypto *crypto) {
  memset(s, 0, sizeof *s);
  s->crypto = crypto;
  s->count = count;
  s->devices = s->own.devices;
  s->platforms = s->own.platforms;
  s->records = s->own.records;
  s->record_lens = s->own.record_lens;
  if (count > TEST_DEVICES_MAX) {
    s->devices = calloc(count, sizeof *s->devices);
    s->platforms = calloc(count, sizeof *s->platforms);
    s->records = calloc(count, sizeof *s->records);
    s->record_lens = calloc(count, sizeof *s->record_lens);
    CHECK(s->devices && s->platforms && s->records && s->record_lens);
  }
  test_rng rng = test_rng_of(seed);
  for (size_t i = 0; i < count; i++) {
    weft_key key;
    test_rng_fill(&rng, key.b, sizeof key.b);
    weft_identity_derive(&s->devices[i], s->crypto, &key);
    s->platforms[i] = (test_platform){1750000000000u, test_rng_of(test_rng_next(&rng))};
  }
  weft_record g = {.kind = WEFT_RECORD_GENESIS, .flags = WEFT_RECORD_CRITICAL};
  test_rng_fill(&rng, g.genesis.nonce, sizeof g.genesis.nonce);
  g.genesis.x_public = s->devices[0].x_public;
  g.genesis.space_name = weft_bytes_str("kitchen");
  g.genesis.name = weft_bytes_str("device 0");
  record_into(s, 0, &g, &s->id);
  weft_id last = s->id;
  for (size_t i = 1; i < count; i++) admit(s, i, &last);
}

void test_space_stranger(test_space *s, weft_buf *out) {
  weft_record a = {.kind = WEFT_RECORD_ADMIT, .space = s->id, .dep_count = 1};
  weft_key seed = {{1}}, invite = {{2}};
  weft_id id;
  weft_identity stranger;
  weft_identity_derive(&stranger, s->crypto, &seed);
  a.deps[0] = s->id;
  a.admit.role = WEFT_ROLE_READER;
  a.admit.name = weft_bytes_str("stranger");
  weft__redeem_sign(&a.admit.redeem, s->crypto, &stranger, &invite, &s->id);
  CHECK_EQUAL(weft__record_sign(out, s->crypto, &s->devices[0], &a, &id), WEFT_OK);
}

void test_space_free(test_space *s) {
  if (s->devices == s->own.devices) return;
  free(s->devices);
  free(s->platforms);
  free(s->records);
  free(s->record_lens);
}

weft_replica_options test_space_options(test_space *s, size_t idx, weft_store *store) {
  weft_replica_options o;
  weft_replica_options_init(&o);
  o.crypto = s->crypto;
  o.platform = (weft_platform){&s->platforms[idx], wall_ms, entropy};
  o.identity = &s->devices[idx];
  o.space = s->id;
  o.store = store;
  return o;
}

void test_space_add_records(test_space *s, weft_replica *r) {
  for (size_t i = 0; i < s->count; i++) {
    weft_err err = weft_replica_add_record(r, weft_bytes_of(s->records[i], s->record_lens[i]));
    if (err != WEFT_EEXIST) CHECK_EQUAL(err, WEFT_OK);
  }
}

weft_replica *test_space_open(test_space *s, size_t idx, weft_store *store) {
  weft_replica *r;
  weft_replica_options o = test_space_options(s, idx, store);
  CHECK_EQUAL(weft_replica_open(&r, &o), WEFT_OK);
  test_space_add_records(s, r);
  return r;
}

weft_store *test_memory_store(void) {
  weft_memory_options o;
  weft_store *store;
  weft_memory_options_init(&o);
  CHECK_EQUAL(weft_memory_store_new(&o, &store), WEFT_OK);
  return store;
}

weft_store *test_lmdb_store(const test_temp *temp) {
  char path[256];
  weft_lmdb_options o;
  weft_store *store;
  test_temp_path(temp, "data.mdb", path);
  weft_lmdb_options_init(&o);
  o.path = path;
  o.map_size = 1u << 30;
  CHECK_EQUAL(weft_lmdb_store_open(&o, &store, NULL), WEFT_OK);
  return store;
}

weft_store *test_store_copy(weft_store *from) {
  weft_store *to = test_memory_store();
  weft_txn *in, *out;
  CHECK_EQUAL(weft_store_begin(from, WEFT_TXN_READ, &in), WEFT_OK);
  CHECK_EQUAL(weft_store_begin(to, WEFT_TXN_WRITE, &out), WEFT_OK);
  for (int table = 0; table < WEFT_TABLE_COUNT; table++) {
    weft_cursor *cursor;
    weft_entry entry;
    CHECK_EQUAL(weft_cursor_open(in, (weft_table)table, &cursor), WEFT_OK);
    weft_err err = weft_cursor_first(cursor, &entry);
    for (; err == WEFT_OK; err = weft_cursor_next(cursor, &entry)) {
      CHECK_EQUAL(weft_txn_put(out, (weft_table)table, entry.key, entry.value), WEFT_OK);
    }
    CHECK_EQUAL(err, WEFT_EDONE);
    weft_cursor_close(cursor);
  }
  weft_txn_abort(in);
  CHECK_EQUAL(weft_txn_commit(out), WEFT_OK);
  return to;
}

weft_replica *test_space_memory(test_space *s, size_t idx) {
  return test_space_open(s, idx, test_memory_store());
}

void test_show_all(weft_replica *r) {
  weft_show_report report;
  do {
    CHECK_EQUAL(weft_replica_show(r, 0, &report), WEFT_OK);
  } while (report.more);
}

static uint64_t pull_range(weft_replica *to, weft_replica *from, const weft_span *range,
                           weft_arena *arena) {
  uint64_t taken = 0;
  uint64_t at = range->from;
  weft_alloc mem = weft_alloc_libc();
  weft_buf chunk;
  weft__buf_init(&chunk, &mem, SIZE_MAX);
  while (at <= range->to) {
    uint64_t last;
    weft_hold_report report;
    weft__buf_reset(&chunk);
    CHECK_EQUAL(
        weft_replica_read_chunk(from, &range->log, range->branch, at, range->to, &chunk, &last),
        WEFT_OK);
    weft_bytes view = weft__buf_view(&chunk);
    CHECK_EQUAL(weft_replica_hold(to, arena, &view, 1, &report), WEFT_OK);
    CHECK_EQUAL(report.run_count, 1);
    CHECK(report.runs[0].verdict == WEFT_HOLD_TAKEN || report.runs[0].verdict == WEFT_HOLD_KNOWN);
    taken += report.changes;
    at = last + 1;
  }
  weft__buf_free(&chunk);
  return taken;
}

uint64_t test_pull(weft_replica *to, weft_replica *from, size_t ranges_max) {
  uint64_t taken = 0;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  for (;;) {
    weft_span *ranges;
    size_t count;
    weft__arena_reset(&arena);
    CHECK_EQUAL(
        weft_replica_missing(from, &arena, weft_replica_held(to), ranges_max, &ranges, &count),
        WEFT_OK);
    if (count == 0) break;
    uint64_t before = taken;
    for (size_t i = 0; i < count; i++) taken += pull_range(to, from, &ranges[i], &arena);
    /* Where branches part, the first ranges may all be held already. */
    if (taken == before) ranges_max *= 2;
    CHECK(ranges_max < 1u << 20);
  }
  weft__arena_free(&arena);
  test_show_all(to);
  return taken;
}

weft_err test_set(weft_replica *r, const char *doc, const char *pointer, const char *json) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_edit *e;
  weft_commit done;
  weft_value value;
  weft__arena_init(&arena, &mem);
  weft_err err = weft_edit_begin(&e, r, NULL);
  if (err == WEFT_OK && json) {
    CHECK_EQUAL(weft_json_parse(&arena, weft_bytes_str(json), &value, NULL), WEFT_OK);
    err = weft_edit_set(e, weft_bytes_str(doc), weft_bytes_str(pointer), &value);
  } else if (err == WEFT_OK) {
    err = weft_edit_unset(e, weft_bytes_str(doc), weft_bytes_str(pointer));
  }
  if (err == WEFT_OK) err = weft_edit_commit(e, &done);
  weft_edit_free(e);
  weft__arena_free(&arena);
  return err;
}

const char *test_get(weft_replica *r, const char *doc, const char *pointer, char *out, size_t cap) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_buf text;
  weft_value value;
  weft__arena_init(&arena, &mem);
  weft__buf_init(&text, &mem, cap - 1);
  weft_err err = weft_replica_get(r, &arena, weft_bytes_str(doc), weft_bytes_str(pointer), &value);
  if (err == WEFT_OK) {
    weft_json_write(&text, &value);
    CHECK_EQUAL(weft__buf_err(&text), WEFT_OK);
    memcpy(out, text.at, text.len);
    out[text.len] = 0;
  } else {
    snprintf(out, cap, "%s", err == WEFT_ENOTFOUND ? "(none)" : weft_err_name(err));
  }
  weft__buf_free(&text);
  weft__arena_free(&arena);
  return out;
}

bool test_same_heads(const weft_vector *a, const weft_vector *b) {
  bool same = a->count == b->count;
  for (size_t i = 0; same && i < a->count; i++) {
    same = weft__head_cmp(&a->heads[i], &b->heads[i]) == 0;
  }
  return same;
}

void test_must(uint64_t seed, weft_err err, const char *what) {
  if (err == WEFT_OK) return;
  fprintf(stderr, "seed=%llu: %s: %s\n", (unsigned long long)seed, what, weft_err_name(err));
  abort();
}

void test_assert_same(weft_replica *a, weft_replica *b) {
  weft_digest x = weft_replica_digest(a);
  weft_digest y = weft_replica_digest(b);
  weft_counts m;
  weft_counts n;
  CHECK(test_same_heads(weft_replica_shown(a), weft_replica_shown(b)));
  CHECK(x.high == y.high && x.low == y.low);
  CHECK_EQUAL(weft_replica_counts(a, &m), WEFT_OK);
  CHECK_EQUAL(weft_replica_counts(b, &n), WEFT_OK);
  CHECK_EQUAL(m.docs, n.docs);
  CHECK_EQUAL(m.deleted, n.deleted);
  CHECK_EQUAL(m.conflicts, n.conflicts);
  CHECK_EQUAL(m.changes_shown, n.changes_shown);
}

/* Packing chunks: the same changes of every log in the same order, in fewer chunks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/chunk_pack.h"
#include "crdt/limits.h"
#include "tests/support/changes.h"
#include "tests/support/fault_alloc.h"

enum { LOGS = 5, CHUNKS_MAX = 90, SEEDS = 60 };

/* What the chunks of a world hold, log by log. */
typedef struct world {
  weft_arena arena;
  weft_chunk_codec *codec;
  test_rng rng;
  uint64_t last[LOGS];
  weft_bytes chunks[CHUNKS_MAX];
  size_t count;
} world;

static weft_id log_of(unsigned i) {
  weft_id id;
  memset(&id, (int)(i + 1), sizeof id);
  return id;
}

static void world_make(world *w, uint64_t seed) {
  const weft_alloc mem = weft_alloc_libc();
  memset(w, 0, sizeof *w);
  weft__arena_init(&w->arena, &mem);
  w->rng = test_rng_of(seed);
  assert_int_equal(weft__chunk_codec_new(&w->codec, &mem), WEFT_OK);
}

static void world_free(world *w) {
  weft__chunk_codec_free(w->codec);
  weft__arena_free(&w->arena);
}

static weft_run run_any(world *w, unsigned log, size_t changes, size_t value_len) {
  weft_bytes *raws = weft__arena_zero(&w->arena, changes, sizeof *raws);
  assert_non_null(raws);
  for (size_t i = 0; i < changes; i++) {
    uint8_t *blob = weft__arena_take(&w->arena, value_len);
    assert_non_null(blob);
    test_rng_fill(&w->rng, blob, value_len);
    weft_bytes value = test_scalar_blob(&w->arena, weft_bytes_of(blob, value_len));
    weft_change c = test_change_single(&w->arena, 1000 + w->last[log] + i, "a/b", "key", value);
    raws[i] = test_change_bytes(&w->arena, &c);
  }
  weft_run run = {.log = log_of(log), .first = w->last[log] + 1, .changes = raws, .count = changes};
  test_rng_fill(&w->rng, run.prev.b, sizeof run.prev.b);
  test_rng_fill(&w->rng, run.sig.b, sizeof run.sig.b);
  w->last[log] += changes;
  return run;
}

static void chunk_put(world *w, const weft_run *runs, size_t count) {
  weft_buf out;
  weft__buf_init(&out, &w->arena.mem, SIZE_MAX);
  assert_true(w->count < CHUNKS_MAX);
  assert_int_equal(weft__chunk_encode_with(w->codec, &out, runs, count, WEFT_CHUNK_LIVE), WEFT_OK);
  assert_int_equal(weft__arena_copy(&w->arena, weft__buf_view(&out), &w->chunks[w->count++]),
                   WEFT_OK);
  weft__buf_free(&out);
}

/* All that a log has in some chunks, in order: the changes, and the signature of the last one. */
typedef struct content {
  weft_bytes changes[8192];
  size_t count;
  uint64_t next;
  weft_id prev;
  weft_sig sig;
} content;

static void content_of(world *w, unsigned log, const weft_bytes *chunks, size_t count,
                       content *out) {
  memset(out, 0, sizeof *out);
  weft_id id = log_of(log);
  for (size_t i = 0; i < count; i++) {
    weft_run *runs;
    size_t run_count;
    weft_err err = weft__chunk_decode_with(w->codec, &w->arena, chunks[i], &runs, &run_count);
    assert_int_equal(err, WEFT_OK);
    for (size_t k = 0; k < run_count; k++) {
      if (weft_id_cmp(&runs[k].log, &id) != 0) continue;
      if (out->count == 0) out->prev = runs[k].prev;
      assert_true(out->count == 0 || runs[k].first == out->next);
      assert_true(out->count + runs[k].count <= 8192);
      memcpy(out->changes + out->count, runs[k].changes, runs[k].count * sizeof(weft_bytes));
      out->count += runs[k].count;
      out->next = runs[k].first + runs[k].count;
      out->sig = runs[k].sig;
    }
  }
}

static void same_content(world *w, uint64_t seed, const weft_bytes *packed, size_t count) {
  static content before, after;
  for (unsigned log = 0; log < LOGS; log++) {
    content_of(w, log, w->chunks, w->count, &before);
    content_of(w, log, packed, count, &after);
    bool same = before.count == after.count && before.next == after.next &&
                weft_id_cmp(&before.prev, &after.prev) == 0 &&
                memcmp(&before.sig, &after.sig, sizeof before.sig) == 0;
    for (size_t i = 0; same && i < before.count; i++) {
      same = weft_bytes_cmp(before.changes[i], after.changes[i]) == 0;
    }
    if (!same) fail_msg("seed=%u: log %u differs", (unsigned)seed, log);
  }
}

static void test_any(void **state) {
  (void)state;
  size_t chunks_in = 0, chunks_out = 0;
  for (uint64_t seed = 1; seed <= SEEDS; seed++) {
    world w;
    weft_bytes packed[CHUNKS_MAX];
    world_make(&w, seed);
    size_t want = 1 + (size_t)test_rng_below(&w.rng, CHUNKS_MAX);
    while (w.count < want) {
      weft_run runs[2];
      size_t n = test_rng_chance(&w.rng, 20) ? 2 : 1;
      unsigned log = (unsigned)test_rng_below(&w.rng, LOGS);
      for (size_t i = 0; i < n; i++) {
        bool large = test_rng_chance(&w.rng, 10);
        size_t len = large ? 400 : 1 + (size_t)test_rng_below(&w.rng, 30);
        runs[i] = run_any(&w, (log + (unsigned)i) % LOGS, 1 + test_rng_below(&w.rng, 90), len);
      }
      chunk_put(&w, runs, n);
    }
    size_t count = w.count;
    memcpy(packed, w.chunks, sizeof packed);
    assert_int_equal(weft__chunk_pack(w.codec, &w.arena, packed, &count), WEFT_OK);
    same_content(&w, seed, packed, count);
    chunks_in += w.count;
    chunks_out += count;
    world_free(&w);
  }
  printf("%zu chunks packed into %zu\n", chunks_in, chunks_out);
  assert_true(chunks_out * 4 < chunks_in);
}

/* Long ones stay, byte for byte, also between short ones; so does one that is alone. */
static void test_long(void **state) {
  (void)state;
  world w;
  weft_bytes packed[CHUNKS_MAX];
  world_make(&w, 1);
  const size_t lens[] = {10, 60000, 10, 10, 60000, 60000, 10};
  for (size_t i = 0; i < 7; i++) {
    weft_run run = run_any(&w, 0, 1, lens[i]);
    chunk_put(&w, &run, 1);
  }
  size_t count = w.count;
  memcpy(packed, w.chunks, sizeof packed);
  assert_int_equal(weft__chunk_pack(w.codec, &w.arena, packed, &count), WEFT_OK);
  assert_int_equal(count, 6);
  const size_t kept[] = {0, 1, 4, 5, 6};
  const size_t at[] = {0, 1, 3, 4, 5};
  for (size_t i = 0; i < 5; i++) {
    assert_ptr_equal(packed[at[i]].at, w.chunks[kept[i]].at);
  }
  same_content(&w, 1, packed, count);
  world_free(&w);
}

/* A change of six values of so many zeros. */
static weft_bytes long_change(world *w, size_t value_len) {
  static const char *const keys[] = {"a", "b", "c", "d", "e", "f"};
  weft_op ops[6];
  uint8_t *zeros = weft__arena_zero(&w->arena, value_len, 1);
  assert_non_null(zeros);
  weft_bytes value = test_scalar_blob(&w->arena, weft_bytes_of(zeros, value_len));
  weft_change c = test_change_single(&w->arena, 5, "a/b", "a", value);
  for (size_t i = 0; i < 6; i++) {
    ops[i] = c.ops[0];
    ops[i].path = test_path_key(&w->arena, keys[i]);
  }
  c.ops = ops;
  c.op_count = 6;
  return test_change_bytes(&w->arena, &c);
}

/* A batch ends at each limit: of changes, of canonical bytes, of runs; and a change that is longer
 * than a batch may be goes as it is, though it is short when compressed. */
static void test_limits(void **state) {
  (void)state;
  world w;
  weft_bytes packed[CHUNKS_MAX];
  world_make(&w, 2);
  for (unsigned i = 0; i < 60; i++) {
    weft_run run = run_any(&w, 0, 100, 1);
    chunk_put(&w, &run, 1);
  }
  size_t count = w.count;
  memcpy(packed, w.chunks, sizeof packed);
  assert_int_equal(weft__chunk_pack(w.codec, &w.arena, packed, &count), WEFT_OK);
  assert_int_equal(count, 2); /* 6,000 changes */
  same_content(&w, 2, packed, count);
  w.count = 0;
  w.last[0] = 0;
  for (unsigned i = 0; i < 3; i++) {
    weft_bytes raw = long_change(&w, i == 1 ? 60000 : 3);
    weft_run run = {.log = log_of(0), .first = ++w.last[0], .changes = &raw, .count = 1};
    chunk_put(&w, &run, 1);
  }
  assert_true(w.chunks[1].len < WEFT_CHUNK_SHORT_LEN);
  count = w.count;
  memcpy(packed, w.chunks, sizeof packed);
  assert_int_equal(weft__chunk_pack(w.codec, &w.arena, packed, &count), WEFT_OK);
  assert_int_equal(count, 3);
  same_content(&w, 2, packed, count);
  world_free(&w);
}

static void test_runs(void **state) {
  (void)state;
  world w;
  weft_bytes packed[CHUNKS_MAX];
  world_make(&w, 3);
  for (unsigned i = 0; i < WEFT_CHUNK_RUNS_MAX + 6; i++) {
    weft_run run = run_any(&w, 0, 1, 1);
    memset(&run.log, (int)(100 + i), sizeof run.log);
    chunk_put(&w, &run, 1);
  }
  size_t count = w.count;
  memcpy(packed, w.chunks, sizeof packed);
  assert_int_equal(weft__chunk_pack(w.codec, &w.arena, packed, &count), WEFT_OK);
  assert_int_equal(count, 2);
  world_free(&w);
}

static void test_bad(void **state) {
  (void)state;
  world w;
  world_make(&w, 4);
  weft_run run = run_any(&w, 0, 3, 5);
  chunk_put(&w, &run, 1);
  weft_bytes chunks[2] = {w.chunks[0], weft_bytes_str("no chunk")};
  size_t count = 2;
  assert_int_not_equal(weft__chunk_pack(w.codec, &w.arena, chunks, &count), WEFT_OK);
  assert_int_equal(count, 2);
  assert_ptr_equal(chunks[0].at, w.chunks[0].at);
  world_free(&w);
}

static void test_memory(void **state) {
  (void)state;
  world w;
  world_make(&w, 5);
  for (unsigned i = 0; i < 6; i++) {
    weft_run run = run_any(&w, i % 2, 20, i == 3 ? 60000 / 20 : 10);
    chunk_put(&w, &run, 1);
  }
  weft_err err = WEFT_ENOMEM;
  size_t k = 0;
  for (; err != WEFT_OK; k++) {
    test_fault_alloc f = {.fail_at = k + 1};
    weft_alloc mem = test_fault_alloc_of(&f);
    weft_arena arena;
    weft_chunk_codec *codec = NULL;
    weft_bytes packed[CHUNKS_MAX];
    size_t count = w.count;
    memcpy(packed, w.chunks, sizeof packed);
    weft__arena_init(&arena, &mem);
    err = weft__chunk_codec_new(&codec, &mem);
    if (err == WEFT_OK) err = weft__chunk_pack(codec, &arena, packed, &count);
    if (err != WEFT_OK) assert_int_equal(count, w.count);
    weft__chunk_codec_free(codec);
    weft__arena_free(&arena);
    assert_int_equal(f.live, 0);
  }
  printf("%zu failing allocations\n", k - 1);
  world_free(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_any),  cmocka_unit_test(test_long), cmocka_unit_test(test_limits),
      cmocka_unit_test(test_runs), cmocka_unit_test(test_bad),  cmocka_unit_test(test_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Chunks: every byte string comes back, whatever the container says stays within bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/chunk.h"
#include "crdt/limits.h"
#include "tests/support/changes.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/hex.h"

typedef struct fixture {
  weft_alloc mem;
  weft_arena arena; /* what goes in */
  weft_arena back;  /* what comes out */
  weft_buf out;
} fixture;

static int set_up(void **state) {
  static fixture f;
  f.mem = weft_alloc_libc();
  weft__arena_init(&f.arena, &f.mem);
  weft__arena_init(&f.back, &f.mem);
  weft__buf_init(&f.out, &f.mem, 64u << 20);
  *state = &f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  weft__arena_free(&f->arena);
  weft__arena_free(&f->back);
  weft__buf_free(&f->out);
  return 0;
}

static weft_run run_of(const weft_bytes *changes, size_t count) {
  weft_run run = {.first = 7, .changes = changes, .count = count};
  memset(run.log.b, 0x11, sizeof run.log.b);
  memset(run.prev.b, 0x22, sizeof run.prev.b);
  memset(run.sig.b, 0x33, sizeof run.sig.b);
  return run;
}

static weft_err encode(fixture *f, const weft_run *runs, size_t count, weft_chunk_effort effort) {
  weft__buf_reset(&f->out);
  return weft__chunk_encode(&f->out, &f->mem, runs, count, effort);
}

static bool same_run(const weft_run *a, const weft_run *b) {
  if (weft_id_cmp(&a->log, &b->log) != 0 || weft_id_cmp(&a->prev, &b->prev) != 0) return false;
  if (a->first != b->first || a->count != b->count) return false;
  if (memcmp(&a->sig, &b->sig, sizeof a->sig) != 0) return false;
  for (size_t i = 0; i < a->count; i++) {
    if (weft_bytes_cmp(a->changes[i], b->changes[i]) != 0) return false;
  }
  return true;
}

static void round_trip(fixture *f, uint64_t seed, const weft_run *runs, size_t count) {
  weft_chunk_effort effort = seed % 2 ? WEFT_CHUNK_SEALED : WEFT_CHUNK_LIVE;
  weft_run *back = NULL;
  size_t back_count = 0;
  weft__arena_reset(&f->back);
  assert_int_equal(encode(f, runs, count, effort), WEFT_OK);
  weft_err err = weft__chunk_decode(&f->back, weft__buf_view(&f->out), &back, &back_count);
  if (err != WEFT_OK) fail_msg("seed=%u: %s", (unsigned)seed, weft_err_name(err));
  assert_int_equal(back_count, count);
  for (size_t i = 0; i < count; i++) {
    if (!same_run(&runs[i], &back[i])) fail_msg("seed=%u: run %zu differs", (unsigned)seed, i);
  }
  weft_run_head *heads = NULL;
  assert_int_equal(weft__chunk_heads(&f->back, weft__buf_view(&f->out), &heads, &back_count),
                   WEFT_OK);
  assert_int_equal(back_count, count);
  for (size_t i = 0; i < count; i++) {
    assert_true(heads[i].first == runs[i].first && heads[i].count == runs[i].count);
    assert_int_equal(weft_id_cmp(&heads[i].log, &runs[i].log), 0);
    assert_int_equal(weft_id_cmp(&heads[i].prev, &runs[i].prev), 0);
    assert_memory_equal(&heads[i].sig, &runs[i].sig, sizeof runs[i].sig);
  }
}

/* A change, or now and then bytes that are none. */
static weft_bytes any_bytes(weft_arena *arena, test_rng *rng) {
  if (test_rng_chance(rng, 90)) {
    weft_change change = test_change_any(arena, rng);
    return test_change_bytes(arena, &change);
  }
  size_t len = (size_t)test_rng_below(rng, 100);
  uint8_t *at = weft__arena_take(arena, len);
  assert_non_null(at);
  test_rng_fill(rng, at, len);
  return weft_bytes_of(at, len);
}

/* Fills `runs` with up to `count` runs of up to `changes` changes that fit one chunk. */
static size_t any_runs(fixture *f, test_rng *rng, weft_run *runs, size_t count, size_t changes) {
  size_t left = WEFT_CHUNK_LEN_MAX, made = 0;
  for (size_t r = 0; r < count; r++) {
    weft_bytes *list = weft__arena_zero(&f->arena, changes, sizeof *list);
    assert_non_null(list);
    size_t n = 0;
    for (size_t want = 1 + test_rng_below(rng, changes); n < want; n++) {
      list[n] = any_bytes(&f->arena, rng);
      if (list[n].len > left) break;
      left -= list[n].len;
    }
    if (n == 0) break;
    runs[made] = run_of(list, n);
    runs[made].first = 1 + (test_rng_next(rng) >> (1 + test_rng_below(rng, 63)));
    test_rng_fill(rng, runs[made].log.b, sizeof runs[made].log.b);
    test_rng_fill(rng, runs[made].sig.b, sizeof runs[made].sig.b);
    made++;
  }
  return made;
}

static void round_trips(void **state) {
  fixture *f = *state;
  for (uint64_t seed = 1; seed <= 400; seed++) {
    test_rng rng = test_rng_of(seed);
    weft_run runs[5];
    weft__arena_reset(&f->arena);
    size_t count = any_runs(f, &rng, runs, 1 + seed % 5, 1 + seed % 60);
    if (count > 0) round_trip(f, seed, runs, count);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(round_trips, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

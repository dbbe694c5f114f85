/* The allocator for secrets: what it gives back, or leaves behind when a piece grows, is zeros. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/wiping.h"
#include "crdt/crypto.h"
#include "tests/support/rng.h"

enum { piece_max = 300, secret = 0x5e };

/* Looks at each piece as it comes back: the secret must not be in it. */
typedef struct watcher {
  size_t live, back;
  bool refuse;
} watcher;

static void *watched_alloc(void *ctx, size_t len) {
  watcher *w = ctx;
  if (w->refuse) return NULL;
  uint8_t *at = calloc(1, sizeof len + 16 + len);
  assert_non_null(at);
  memcpy(at, &len, sizeof len);
  w->live++;
  return at + 16;
}

static void watched_free(void *ctx, void *at) {
  watcher *w = ctx;
  uint8_t *whole = (uint8_t *)at - 16;
  size_t len;
  memcpy(&len, whole, sizeof len);
  for (size_t i = 16; i < len; i++) assert_int_equal(((uint8_t *)at)[i], 0);
  free(whole);
  w->live--;
  w->back++;
}

static void *never_grown(void *ctx, void *at, size_t len) {
  (void)ctx, (void)at, (void)len;
  fail_msg("a piece with secrets was moved by somebody else");
  return NULL;
}

static void nothing_is_left_behind(void **state) {
  (void)state;
  watcher w = {0};
  weft_alloc under = {&w, watched_alloc, never_grown, watched_free};
  weft_alloc mem = cli_wiping_alloc(&under);
  test_rng rng = test_rng_of(11);
  for (unsigned round = 0; round < 200; round++) {
    size_t len = 1 + test_rng_below(&rng, piece_max);
    uint8_t *at = round % 2 ? mem.alloc(mem.ctx, len) : mem.grow(mem.ctx, NULL, len);
    memset(at, secret, len);
    for (unsigned steps = 0; steps < 3; steps++) {
      size_t want = 1 + test_rng_below(&rng, piece_max);
      at = mem.grow(mem.ctx, at, want);
      for (size_t i = 0; i < want && i < len; i++) assert_int_equal(at[i], secret);
      memset(at, secret, want);
      len = want;
    }
    mem.free(mem.ctx, at);
  }
  mem.free(mem.ctx, NULL);
  assert_int_equal(w.live, 0);
  assert_int_equal(w.back, 800);
}

static void without_memory_a_piece_stays(void **state) {
  (void)state;
  watcher w = {0};
  weft_alloc under = {&w, watched_alloc, never_grown, watched_free};
  weft_alloc mem = cli_wiping_alloc(&under);
  uint8_t *at = mem.alloc(mem.ctx, 4);
  memset(at, secret, 4);
  w.refuse = true;
  assert_null(mem.grow(mem.ctx, at, 8));
  assert_null(mem.alloc(mem.ctx, 8));
  assert_null(mem.alloc(mem.ctx, SIZE_MAX));
  assert_int_equal(at[3], secret);
  mem.free(mem.ctx, at);
  assert_int_equal(w.live, 0);
}

int main(void) {
  if (!weft_crypto_sodium()) return 1;
  const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_left_behind),
                                     cmocka_unit_test(without_memory_a_piece_stays)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

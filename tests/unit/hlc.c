/* Clocks: the laws of next and merge over generated clocks, and the end of the range. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/assert.h"
#include "crdt/hlc.h"
#include "crdt/limits.h"
#include "tests/support/rng.h"

#define SEED 50
#define MS   UINT64_C(1700000000000)

static weft_ms gen_wall(test_rng *r) {
  if (test_rng_chance(r, 3)) return test_rng_next(r);
  if (test_rng_chance(r, 10)) return WEFT_HLC_MS_MAX - 3 + test_rng_below(r, 7);
  return MS + test_rng_below(r, test_rng_chance(r, 50) ? 4 : 4 * WEFT_CLOCK_AHEAD_MAX_MS);
}

static uint64_t gen_hlc(test_rng *r) {
  if (test_rng_chance(r, 5)) return test_rng_next(r);
  uint64_t counter = test_rng_chance(r, 20) ? 0xfffe + test_rng_below(r, 2) : test_rng_below(r, 3);
  return gen_wall(r) << 16 | counter;
}

static void next_is_greater_and_as_late_as_the_wall(void **state) {
  (void)state;
  print_message("seed=%d\n", SEED);
  test_rng rng = test_rng_of(SEED);
  size_t ended = 0;
  for (int i = 0; i < 200000; i++) {
    uint64_t prev = gen_hlc(&rng), next = 77;
    weft_ms wall = gen_wall(&rng);
    if (weft_hlc_now(prev, wall, &next) != WEFT_OK) {
      assert_int_equal(weft_hlc_now(prev, wall, &next), WEFT_ELIMIT);
      assert_int_equal(next, 77);
      bool last = prev == (WEFT_HLC_MS_MAX << 16 | 0xffff);
      assert_true(last || !weft_hlc_ok(prev) || wall > WEFT_HLC_MS_MAX);
      ended++;
      continue;
    }
    assert_true(next > prev);
    assert_true(weft_hlc_ok(next));
    assert_true(weft_hlc_ms(next) >= wall);
    /* No further than needed: the wall's moment, or one step. */
    assert_true(next == wall << 16 || next == prev + 1);
    if (weft_hlc_ms(prev) < wall) assert_true(next == wall << 16);
  }
  assert_true(ended > 1000);
}

static void merge_takes_the_later_unless_it_is_far_ahead(void **state) {
  (void)state;
  test_rng rng = test_rng_of(SEED + 1);
  size_t took = 0, ignored = 0;
  for (int i = 0; i < 200000; i++) {
    uint64_t own = gen_hlc(&rng), seen = gen_hlc(&rng);
    weft_ms wall = gen_wall(&rng);
    uint64_t merged = weft_hlc_merge(own, seen, wall);
    assert_true(merged == own || merged == seen);
    assert_true(merged >= own);
    assert_true(weft_hlc_merge(merged, seen, wall) == merged);
    if (merged != own) {
      took++;
      assert_true(weft_hlc_ms(seen) <= WEFT_HLC_MS_MAX);
      assert_true(weft_hlc_ms(seen) <= wall || weft_hlc_ms(seen) - wall <= 600000);
    } else if (seen > own) {
      ignored++;
      assert_true(weft_hlc_is_ahead(seen, wall) || !weft_hlc_ok(seen));
    }
  }
  assert_true(took > 1000 && ignored > 1000);
}

/* The order in which changes arrive decides nothing about the clock that results. */
static void merge_is_the_same_in_every_order(void **state) {
  (void)state;
  test_rng rng = test_rng_of(SEED + 2);
  for (int i = 0; i < 50000; i++) {
    uint64_t own = gen_hlc(&rng), a = gen_hlc(&rng), b = gen_hlc(&rng);
    weft_ms wall = gen_wall(&rng);
    assert_true(weft_hlc_merge(weft_hlc_merge(own, a, wall), b, wall) ==
                weft_hlc_merge(weft_hlc_merge(own, b, wall), a, wall));
  }
}

static void the_parts_join_and_split(void **state) {
  (void)state;
  test_rng rng = test_rng_of(SEED + 3);
  for (int i = 0; i < 10000; i++) {
    uint64_t hlc = test_rng_next(&rng);
    assert_true(weft_hlc_join(weft_hlc_ms(hlc), weft_hlc_counter(hlc)) == hlc);
  }
  assert_true(weft_hlc_join(1, 2) == 0x10002);
  assert_true(weft_hlc_join(1, 0xffff) < weft_hlc_join(2, 0));
}

static void far_ahead_begins_behind_ten_minutes(void **state) {
  (void)state;
  uint64_t edge = weft_hlc_join(MS + 600000, 0xffff);
  assert_false(weft_hlc_is_ahead(edge, MS));
  assert_true(weft_hlc_is_ahead(edge + 1, MS));
  assert_false(weft_hlc_is_ahead(0, MS));
  assert_false(weft_hlc_is_ahead(UINT64_MAX, UINT64_MAX));
  assert_true(weft_hlc_merge(0, edge, MS) == edge);
  assert_true(weft_hlc_merge(0, edge + 1, MS) == 0);
}

static void the_range_ends_without_wrapping(void **state) {
  (void)state;
  uint64_t last = weft_hlc_join(WEFT_HLC_MS_MAX, 0xffff), next = 0;
  assert_true(weft_hlc_ok(last));
  assert_false(weft_hlc_ok(last + 1));
  assert_int_equal(weft_hlc_now(last - 1, 0, &next), WEFT_OK);
  assert_true(next == last);
  assert_int_equal(weft_hlc_now(last, 0, &next), WEFT_ELIMIT);
  assert_int_equal(weft_hlc_now(last, WEFT_HLC_MS_MAX, &next), WEFT_ELIMIT);
  assert_int_equal(weft_hlc_now(0, WEFT_HLC_MS_MAX, &next), WEFT_OK);
  assert_int_equal(weft_hlc_now(0, WEFT_HLC_MS_MAX + 1, &next), WEFT_ELIMIT);
  assert_int_equal(weft_hlc_now(0, UINT64_MAX, &next), WEFT_ELIMIT);
  assert_int_equal(weft_hlc_now(UINT64_MAX, MS, &next), WEFT_ELIMIT);
  assert_true(next == WEFT_HLC_MS_MAX << 16);
  /* What is beyond is not merged even where it is near. */
  assert_true(weft_hlc_merge(5, last + 1, WEFT_HLC_MS_MAX) == 5);
  assert_true(weft_hlc_merge(5, UINT64_MAX, UINT64_MAX) == 5);
  /* A used up counter runs on. */
  assert_int_equal(weft_hlc_now(weft_hlc_join(MS, 0xffff), MS, &next), WEFT_OK);
  assert_true(next == weft_hlc_join(MS + 1, 0));
}

static jmp_buf asserted;

static void on_assert(const char *file, int line, const char *condition) {
  (void)file;
  (void)line;
  (void)condition;
  longjmp(asserted, 1);
}

static void joining_too_many_milliseconds_is_our_bug(void **state) {
  (void)state;
  weft_set_assert_handler(on_assert);
  if (setjmp(asserted) == 0) {
    weft_hlc_join(UINT64_C(1) << 48, 0);
    weft_set_assert_handler(NULL);
    fail();
  }
  weft_set_assert_handler(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(next_is_greater_and_as_late_as_the_wall),
      cmocka_unit_test(merge_takes_the_later_unless_it_is_far_ahead),
      cmocka_unit_test(merge_is_the_same_in_every_order),
      cmocka_unit_test(the_parts_join_and_split),
      cmocka_unit_test(far_ahead_begins_behind_ten_minutes),
      cmocka_unit_test(the_range_ends_without_wrapping),
      cmocka_unit_test(joining_too_many_milliseconds_is_our_bug),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

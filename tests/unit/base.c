/* Buffers, readers, arenas: round trips, limits, and every allocation failing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/buf.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/rng.h"

static void varints_round_trip(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  test_rng rng = test_rng_of(1);
  weft_buf b;
  weft__buf_init(&b, &mem, 1 << 20);
  for (int i = 0; i < 20000; i++) {
    uint64_t v = test_rng_next(&rng) >> test_rng_below(&rng, 64);
    weft__buf_reset(&b);
    weft__buf_varint(&b, v);
    weft__buf_svarint(&b, (int64_t)v);
    assert_int_equal(weft__buf_err(&b), WEFT_OK);
    weft_rd r = weft__rd(weft__buf_view(&b));
    assert_true(weft__rd_varint(&r) == v);
    assert_true(weft__rd_svarint(&r) == (int64_t)v);
    assert_true(weft__rd_done(&r));
    assert_true(weft__varint_len(v) >= 1);
  }
  weft__buf_free(&b);
}

static void varint_refuses_what_is_not_minimal(void **state) {
  (void)state;
  static const uint8_t padded[] = {0x80, 0x00};
  static const uint8_t over[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
  static const uint8_t most[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
  static const uint8_t cut[] = {0x80};
  weft_rd r = weft__rd(weft_bytes_of(padded, sizeof padded));
  weft__rd_varint(&r);
  assert_false(weft__rd_done(&r));
  r = weft__rd(weft_bytes_of(over, sizeof over));
  weft__rd_varint(&r);
  assert_true(r.failed);
  r = weft__rd(weft_bytes_of(most, sizeof most));
  assert_true(weft__rd_varint(&r) == UINT64_MAX);
  assert_true(weft__rd_done(&r));
  r = weft__rd(weft_bytes_of(cut, sizeof cut));
  weft__rd_varint(&r);
  assert_true(r.failed);
}

static void buffer_keeps_its_limit(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_buf b;
  weft__buf_init(&b, &mem, 100);
  for (int i = 0; i < 100; i++) weft__buf_u8(&b, (uint8_t)i);
  assert_int_equal(weft__buf_err(&b), WEFT_OK);
  weft__buf_u8(&b, 1);
  assert_int_equal(weft__buf_err(&b), WEFT_ELIMIT);
  assert_int_equal(b.len, 100);
  weft__buf_free(&b);
}

static weft_err fill(const weft_alloc *mem) {
  weft_arena a;
  weft__arena_init(&a, mem);
  weft_err err = WEFT_OK;
  void *list = NULL;
  size_t cap = 0;
  for (size_t i = 0; i < 300 && err == WEFT_OK; i++) {
    err = weft__arena_grow(&a, &list, i, &cap, i + 1, sizeof(uint64_t));
    if (err == WEFT_OK) ((uint64_t *)list)[i] = i;
  }
  for (size_t i = 0; i < 300 && err == WEFT_OK; i++) assert_true(((uint64_t *)list)[i] == i);
  weft__arena_free(&a);
  return err;
}

static void every_allocation_can_fail(void **state) {
  (void)state;
  test_fault_alloc f = {0};
  weft_alloc mem = test_fault_alloc_of(&f);
  assert_int_equal(fill(&mem), WEFT_OK);
  size_t clean = f.calls;
  assert_true(clean > 1);
  for (size_t k = 1; k <= clean; k++) {
    f = (test_fault_alloc){.fail_at = k, .sticky = k % 2};
    assert_int_equal(fill(&mem), WEFT_ENOMEM);
    assert_int_equal(f.live, 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(varints_round_trip),
      cmocka_unit_test(varint_refuses_what_is_not_minimal),
      cmocka_unit_test(buffer_keeps_its_limit),
      cmocka_unit_test(every_allocation_can_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

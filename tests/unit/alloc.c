/* Arenas, buffers, readers and clocks at their limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/buf.h"
#include "crdt/metrics_table.h"
#include "tests/support/fault_alloc.h"

/* Sizes that do not fit a size_t, or no memory there is, leave everything as it was. */
static void arenas_refuse_what_overflows(void **state) {
  (void)state;
  test_fault_alloc f = {0};
  weft_alloc mem = test_fault_alloc_of(&f);
  weft_arena a;
  void *at = NULL;
  size_t cap = 0;
  weft__arena_init(&a, &mem);
  assert_null(weft__arena_take(&a, SIZE_MAX));
  assert_null(weft__arena_take(&a, SIZE_MAX - 20));
  assert_null(weft__arena_zero(&a, SIZE_MAX / 2, 3));
  assert_int_equal(weft__arena_grow(&a, &at, 0, &cap, SIZE_MAX, 1), WEFT_ENOMEM);
  assert_int_equal(weft__arena_grow(&a, &at, 0, &cap, SIZE_MAX / 4, 16), WEFT_ENOMEM);
  assert_null(at);
  assert_int_equal(cap, 0);
  assert_int_equal(f.live, 0);
  assert_non_null(weft__arena_take(&a, 0));
  weft__arena_free(&a);
  assert_int_equal(f.live, 0);
}

static void buffers_end_at_their_limit(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_buf b;
  weft__buf_init(&b, &mem, 10);
  weft__buf_put_raw(&b, "12345678", 8);
  weft__buf_u64(&b, 1);
  assert_int_equal(weft__buf_err(&b), WEFT_ELIMIT);
  weft__buf_u16(&b, 1); /* nothing more after an error */
  assert_int_equal(weft__buf_err(&b), WEFT_ELIMIT);
  weft__buf_reset(&b);
  assert_non_null(weft__buf_room(&b, 0));
  weft__buf_put_raw(&b, "1234567890", 10);
  assert_non_null(weft__buf_room(&b, 0));
  assert_int_equal(weft__buf_err(&b), WEFT_OK);
  assert_int_equal(b.len, 10);
  weft__buf_free(&b);
}

/* A number has one form, and no more than 64 bits. */
static void numbers_have_one_form(void **state) {
  (void)state;
  static const struct {
    uint8_t bytes[11];
    size_t len;
    bool good;
    uint64_t value;
  } cases[] = {
      {{0x80, 0x01}, 2, true, 128},
      {{0x80, 0x00}, 2, false, 0},
      {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, 10, true, UINT64_MAX},
      {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}, 10, false, 0},
      {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0x00}, 11, false, 0},
      {{0x80}, 1, false, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    weft_rd r = weft__rd(weft_bytes_of(cases[i].bytes, cases[i].len));
    uint64_t v = weft__rd_varint(&r);
    assert_int_equal(!r.failed, cases[i].good);
    if (cases[i].good) assert_true(v == cases[i].value);
  }
}

static uint64_t clock_at(void *ctx) { return *(uint64_t *)ctx; }

/* A clock that stands at 0 is a clock all the same, and one set back measures nothing. */
static void clocks_of_metrics(void **state) {
  (void)state;
  uint64_t now = 0;
  weft_metrics *m;
  weft_metrics_options o;
  weft_metrics_options_init(&o);
  o.clock_ns = clock_at;
  o.ctx = &now;
  assert_int_equal(weft_metrics_new(&m, &o), WEFT_OK);
  assert_int_equal(weft__metrics_clock(m), 1);
  assert_int_equal(weft__metrics_clock(NULL), 0);
  now = 50;
  weft__observe_since(m, (weft_metric)WEFT_METRIC_FIRST_HISTOGRAM, 0);
  weft__observe_since(m, (weft_metric)WEFT_METRIC_FIRST_HISTOGRAM, 100);
  weft__observe_since(m, (weft_metric)WEFT_METRIC_FIRST_HISTOGRAM, 20);
  assert_int_equal(m->histograms[0].count, 2);
  assert_int_equal(m->histograms[0].sum, 30);
  weft_metrics_free(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(arenas_refuse_what_overflows),
      cmocka_unit_test(buffers_end_at_their_limit),
      cmocka_unit_test(numbers_have_one_form),
      cmocka_unit_test(clocks_of_metrics),
  };
  return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}

/* The W1 data is what it is said to be: the same bytes in every language. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bench/w1.h"
#include "crdt/crypto.h"
#include "tests/support/hex.h"

typedef struct check {
  weft_buf text;
  uint64_t value_len; /* bytes of value text of the live fields */
} check;

static void add_line(check *c, w1_place at) {
  char line[W1_TEXT_LEN_MAX + W1_NAME_LEN_MAX * 2];
  size_t len = w1_line(line, at);
  weft__buf_put_raw(&c->text, line, len);
}

/* All lines of `templates` templates and `count` updates; `c` is freed by the caller. */
static void make(check *c, uint32_t templates, uint32_t count) {
  weft_alloc mem = weft_alloc_libc();
  w1_updates u;
  weft__buf_init(&c->text, &mem, SIZE_MAX);
  assert_int_equal(w1_updates_init(&u, &mem, templates), WEFT_OK);
  for (uint32_t t = 0; t < templates; t++) {
    for (uint32_t f = 0; f < W1_FIELDS; f++) add_line(c, (w1_place){t, f, 0});
  }
  for (uint32_t i = 0; i < count; i++) add_line(c, w1_updates_next(&u));
  c->value_len = 0;
  for (uint32_t t = 0; t < templates; t++) {
    for (uint32_t f = 0; f < W1_FIELDS; f++) {
      char line[W1_TEXT_LEN_MAX + W1_NAME_LEN_MAX * 2];
      size_t len = w1_line(line, (w1_place){t, f, u.written[(size_t)t * W1_FIELDS + f]});
      c->value_len += len - strlen("tpl-000000\t\t\n") - strlen(w1_field(f));
    }
  }
  w1_updates_free(&u);
  assert_int_equal(weft__buf_err(&c->text), WEFT_OK);
}

static void check_sum(uint32_t templates, uint32_t count, const char *want) {
  check c;
  uint8_t sum[32];
  make(&c, templates, count);
  weft_bytes text = weft__buf_view(&c.text);
  weft_crypto_sodium()->sha256(sum, &text, 1);
  test_assert_hex(weft_bytes_of(sum, sizeof sum), want);
  weft__buf_free(&c.text);
}

static void test_checksums(void **state) {
  (void)state;
  check_sum(10, 20, "d48951ea98dfb3383cbc714a56775d444af2fae5299bfcc40e49ff9d871deede");
  check_sum(10000, 100000, "6fcb690b2e2ef9c3249fd73263dd624cffa9646aed4c766f9404777a8a31a08d");
}

static void test_first_line(void **state) {
  (void)state;
  static const char want[] = "tpl-000000\tname\tlaurel-flint rev 0\n";
  char line[W1_TEXT_LEN_MAX + W1_NAME_LEN_MAX * 2];
  char name[W1_NAME_LEN_MAX];
  assert_int_equal(w1_line(line, (w1_place){0, 0, 0}), sizeof want - 1);
  assert_memory_equal(line, want, sizeof want - 1);
  w1_document(name, 42);
  assert_string_equal(name, "templates/tpl-000042");
}

static void test_value_length(void **state) {
  (void)state;
  check c;
  make(&c, 10000, 100000);
  assert_int_equal((c.value_len * 10 + 60000) / 120000, 164);
  weft__buf_free(&c.text);
}

/* Turns of a hundred; a clock that only moves on. */
static void test_turns_and_clock(void **state) {
  (void)state;
  assert_int_equal(w1_device(0), 0);
  assert_int_equal(w1_device(99), 0);
  assert_int_equal(w1_device(100), 1);
  assert_int_equal(w1_device(799), 7);
  assert_int_equal(w1_device(800), 0);
  assert_int_equal(w1_import_us(0), UINT64_C(1750000000000000));
  assert_int_equal(w1_import_us(2), UINT64_C(1750000000000024));
  assert_int_equal(w1_updates_us(2), UINT64_C(1750000060000024));
  for (uint32_t i = 0; i < 1000; i++) {
    assert_in_range(w1_step_us(i), 150, 349);
  }
  /* splitmix64 of seed 0 begins with 0xe220a8397b1dcdaf. */
  assert_int_equal(w1_step_us(0), 150 + UINT64_C(0xe220a8397b1dcdaf) % 200);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_checksums),
      cmocka_unit_test(test_first_line),
      cmocka_unit_test(test_value_length),
      cmocka_unit_test(test_turns_and_clock),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Values: comparison, checks, UTF-8, and the canonical encoding against round trips, hostile bytes,
 * changed bytes, and lack of memory. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/json.h"
#include "crdt/limits.h"
#include "crdt/value.h"
#include "tests/support/data.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/gen.h"

#define SEED 30

static bool same(weft_bytes a, weft_bytes b) { return weft_bytes_cmp(a, b) == 0; }

static weft_value of_int(int64_t i) { return (weft_value){WEFT_INT, {.integer = i}}; }

static weft_value of_double(double d) { return (weft_value){WEFT_DOUBLE, {.real = d}}; }

static weft_value of_text(const char *s) {
  return (weft_value){WEFT_STRING, {.bytes = weft_bytes_str(s)}};
}

static weft_value of_array(const weft_value *at, size_t count) {
  return (weft_value){WEFT_ARRAY, {.array = {at, count}}};
}

static weft_value of_object(const weft_member *at, size_t count) {
  return (weft_value){WEFT_OBJECT, {.object = {at, count}}};
}

/* A tree of arrays, one in the other, in `levels`. */
static weft_value nested(weft_value *levels, size_t depth) {
  levels[0] = of_array(NULL, 0);
  for (size_t i = 1; i < depth; i++) levels[i] = of_array(&levels[i - 1], 1);
  return levels[depth - 1];
}

/* --- comparing --- */

static void numbers_compare_exactly(void **state) {
  (void)state;
  static const struct {
    int64_t i;
    double d;
    bool equal;
  } cases[] = {
      {1, 1.0, true},
      {0, -0.0, true},
      {0, 0x1p-1074, false},
      {1, 1.5, false},
      {-1, 1.0, false},
      {((int64_t)1 << 53) + 1, 0x1p53, false}, /* equal once the int is rounded to a double */
      {((int64_t)1 << 53), 0x1p53, true},
      {INT64_MAX, 0x1p63, false}, /* likewise */
      {INT64_MIN, -0x1p63, true},
      {INT64_MIN, -0x1.8p63, false},
      {INT64_MAX, 0x1.fffffffffffffp62, false},
      {INT64_MAX - 1023, 0x1.fffffffffffffp62, true},
      {0, 1e300, false},
      {0, -1e300, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    weft_value a = of_int(cases[i].i), b = of_double(cases[i].d);
    assert_int_equal(weft_value_equal(&a, &b), cases[i].equal);
    assert_int_equal(weft_value_equal(&b, &a), cases[i].equal);
  }
  weft_value a = of_int(0), nan_value = of_double(NAN);
  assert_false(weft_value_equal(&a, &nan_value));
  weft_value zero = of_double(0.0), minus = of_double(-0.0);
  assert_true(weft_value_equal(&zero, &minus));
}

static void kinds_and_shapes_differ(void **state) {
  (void)state;
  weft_value ab[] = {of_text("a"), of_text("b")}, ba[] = {of_text("b"), of_text("a")};
  weft_member x1[] = {{weft_bytes_str("x"), of_int(1)}}, y1[] = {{weft_bytes_str("y"), of_int(1)}};
  weft_member x2[] = {{weft_bytes_str("x"), of_int(2)}};
  weft_value all[] = {
      {WEFT_NULL, {false}},
      {WEFT_BOOL, {.boolean = false}},
      {WEFT_BOOL, {.boolean = true}},
      of_int(0),
      of_double(0.5),
      of_text(""),
      of_text("0"),
      {WEFT_BYTES, {.bytes = {NULL, 0}}},
      {WEFT_BYTES, {.bytes = weft_bytes_str("0")}},
      of_array(NULL, 0),
      of_array(ab, 1),
      of_array(ab, 2),
      of_array(ba, 2),
      of_object(NULL, 0),
      of_object(x1, 1),
      of_object(y1, 1),
      of_object(x2, 1),
  };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    assert_int_equal(weft_value_is_scalar(&all[i]), i < 9);
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
      assert_int_equal(weft_value_equal(&all[i], &all[k]), i == k);
    }
  }
}

static void members_are_found(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  test_rng rng = test_rng_of(SEED);
  for (int i = 0; i < 2000; i++) {
    weft__arena_reset(&arena);
    weft_value v = test_gen_value(&rng, &arena, 2, true);
    weft_bytes other = test_gen_text(&rng, &arena, 3, true);
    const weft_value *found = NULL;
    for (size_t k = 0; v.kind == WEFT_OBJECT && k < v.as.object.count; k++) {
      const weft_member *m = &v.as.object.at[k];
      assert_ptr_equal(weft_value_member(&v, m->key), &m->value);
      if (same(m->key, other)) found = &m->value;
    }
    assert_ptr_equal(weft_value_member(&v, other), found);
  }
  weft__arena_free(&arena);
}

/* --- checking --- */

static void check_names_what_cannot_be_stored(void **state) {
  (void)state;
  static char text[WEFT_VALUE_LEN_MAX];
  memset(text, 'x', sizeof text);
  weft_value v = of_double(NAN);
  assert_int_equal(weft_value_check(&v), WEFT_EBADVALUE);
  v = of_double(-INFINITY);
  assert_int_equal(weft_value_check(&v), WEFT_EBADVALUE);
  v = of_text("\xff");
  assert_int_equal(weft_value_check(&v), WEFT_EBADVALUE);
  v.kind = WEFT_BYTES;
  assert_int_equal(weft_value_check(&v), WEFT_OK);
  v.kind = (weft_value_kind)99;
  assert_int_equal(weft_value_check(&v), WEFT_EBADVALUE);
  assert_false(weft_value_equal(&v, &v));
  for (int kind = WEFT_STRING; kind <= WEFT_BYTES; kind++) {
    v = (weft_value){(weft_value_kind)kind, {.bytes = {(uint8_t *)text, WEFT_TEXT_LEN_MAX}}};
    assert_int_equal(weft_value_check(&v), WEFT_OK);
    v.as.bytes.len++;
    assert_int_equal(weft_value_check(&v), WEFT_ELIMIT);
  }
  weft_value levels[WEFT_JSON_DEPTH_MAX + 1];
  v = nested(levels, WEFT_JSON_DEPTH_MAX);
  assert_int_equal(weft_value_check(&v), WEFT_OK);
  assert_true(weft_value_equal(&v, &v));
  v = nested(levels, WEFT_JSON_DEPTH_MAX + 1);
  assert_int_equal(weft_value_check(&v), WEFT_ELIMIT);
  assert_false(weft_value_equal(&v, &v));
}

static weft_err member_checked(weft_bytes first, weft_bytes second) {
  weft_member members[] = {{first, of_int(1)}, {second, of_int(2)}};
  weft_value v = of_object(members, 2);
  return weft_value_check(&v);
}

static void check_looks_at_keys(void **state) {
  (void)state;
  static uint8_t text[300];
  memset(text, 'x', sizeof text);
  weft_bytes a = weft_bytes_str("a"), b = weft_bytes_str("b");
  assert_int_equal(member_checked(a, b), WEFT_OK);
  assert_int_equal(member_checked(b, a), WEFT_EBADVALUE);
  assert_int_equal(member_checked(a, a), WEFT_EBADVALUE);
  assert_int_equal(member_checked(weft_bytes_of(NULL, 0), a), WEFT_OK);
  assert_int_equal(member_checked(a, weft_bytes_of("b\0", 2)), WEFT_EBADVALUE);
  assert_int_equal(member_checked(a, weft_bytes_of("b\xff", 2)), WEFT_EBADVALUE);
  assert_int_equal(member_checked(a, weft_bytes_of(text, 255)), WEFT_OK);
  assert_int_equal(member_checked(a, weft_bytes_of(text, 256)), WEFT_ELIMIT);
}

/* UTF-8 by its definition: decode by the bit patterns, then look at the number. */
static bool utf8_by_definition(const uint8_t *at, size_t len) {
  size_t i = 0;
  while (i < len) {
    unsigned more = at[i] < 0x80           ? 0
                    : (at[i] >> 5) == 0x06 ? 1
                    : (at[i] >> 4) == 0x0e ? 2
                    : (at[i] >> 3) == 0x1e ? 3
                                           : 9;
    if (more == 9 || i + more >= len) return false;
    uint32_t c = more == 0 ? at[i] : at[i] & (0x3fu >> more);
    for (unsigned k = 1; k <= more; k++) {
      if ((at[i + k] & 0xc0) != 0x80) return false;
      c = c << 6 | (at[i + k] & 0x3f);
    }
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return false;
    i += more + 1;
  }
  return true;
}

static void utf8_agrees_with_its_definition(void **state) {
  (void)state;
  static const uint8_t ends[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};
  for (unsigned first = 0; first < 256; first++) {
    for (unsigned second = 0; second < 256; second++) {
      for (size_t k = 0; k < sizeof ends * sizeof ends; k++) {
        uint8_t b[4] = {(uint8_t)first, (uint8_t)second, ends[k / sizeof ends],
                        ends[k % sizeof ends]};
        for (size_t len = k == 0 ? 1 : 3; len <= 4; len++) {
          assert_int_equal(weft__utf8_ok(weft_bytes_of(b, len)), utf8_by_definition(b, len));
        }
      }
    }
  }
  assert_true(weft__utf8_ok(weft_bytes_of(NULL, 0)));
}

/* --- encoding --- */

static void trees_round_trip(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  weft_buf b, again;
  weft__buf_init(&b, &mem, 64 << 20);
  weft__buf_init(&again, &mem, 64 << 20);
  print_message("seed=%d\n", SEED);
  test_rng rng = test_rng_of(SEED + 1);
  for (int i = 0; i < 4000; i++) {
    weft__arena_reset(&arena);
    weft__buf_reset(&b);
    weft__buf_reset(&again);
    weft_value v = test_gen_value(&rng, &arena, 1 + (unsigned)test_rng_below(&rng, 8), true);
    assert_int_equal(weft_value_check(&v), WEFT_OK);
    weft__value_encode(&b, &v);
    assert_int_equal(weft__buf_err(&b), WEFT_OK);
    weft_bytes bytes = weft__buf_view(&b);
    weft_value back;
    assert_int_equal(weft__value_decode(&arena, bytes, &back), WEFT_OK);
    assert_int_equal(weft_value_check(&back), WEFT_OK);
    assert_true(weft_value_equal(&v, &back));
    weft__value_encode(&again, &back);
    assert_true(same(bytes, weft__buf_view(&again)));
    if (!weft_value_is_scalar(&v)) {
      assert_int_equal(weft__scalar_len(bytes), 0);
      assert_int_equal(weft__scalar_decode(bytes, &back), WEFT_EMALFORMED);
      continue;
    }
    assert_int_equal(weft__scalar_len(bytes), bytes.len);
    assert_int_equal(weft__scalar_decode(bytes, &back), WEFT_OK);
    weft__buf_reset(&again);
    weft__scalar_encode(&again, &back);
    assert_true(same(bytes, weft__buf_view(&again)));
  }
  weft__buf_free(&b);
  weft__buf_free(&again);
  weft__arena_free(&arena);
}

/* Two scalars are one field content exactly when they are one kind and equal; a double's sign of
 * zero is content. */
static void equal_bytes_mean_equal_content(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  weft_buf a, b;
  weft__buf_init(&a, &mem, 1 << 20);
  weft__buf_init(&b, &mem, 1 << 20);
  test_rng rng = test_rng_of(SEED + 2);
  size_t equal = 0;
  for (int i = 0; i < 50000; i++) {
    weft__arena_reset(&arena);
    weft__buf_reset(&a);
    weft__buf_reset(&b);
    weft_value x = test_gen_scalar(&rng, &arena, true), y = test_gen_scalar(&rng, &arena, true);
    weft__scalar_encode(&a, &x);
    weft__scalar_encode(&b, &y);
    bool expected = x.kind == y.kind && weft_value_equal(&x, &y);
    if (expected && x.kind == WEFT_DOUBLE) expected = signbit(x.as.real) == signbit(y.as.real);
    assert_int_equal(same(weft__buf_view(&a), weft__buf_view(&b)), expected);
    equal += expected;
  }
  assert_true(equal > 500);
  weft__buf_free(&a);
  weft__buf_free(&b);
  weft__arena_free(&arena);
}

static void encoders_refuse_what_cannot_be_stored(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_buf b;
  weft__buf_init(&b, &mem, 1 << 20);
  weft_value inside[] = {of_int(1), of_double(NAN)};
  weft_value bad = of_array(inside, 2);
  weft__scalar_encode(&b, &inside[1]);
  assert_int_equal(weft__buf_err(&b), WEFT_EBADVALUE);
  weft__scalar_encode(&b, &inside[0]); /* the first failure stays */
  assert_int_equal(weft__buf_err(&b), WEFT_EBADVALUE);
  weft__buf_reset(&b);
  weft__scalar_encode(&b, &bad);
  assert_int_equal(weft__buf_err(&b), WEFT_EBADVALUE);
  weft__buf_reset(&b);
  weft__value_encode(&b, &bad);
  assert_int_equal(weft__buf_err(&b), WEFT_EBADVALUE);
  b.err = WEFT_ENOMEM;
  weft__value_encode(&b, &bad);
  assert_int_equal(weft__buf_err(&b), WEFT_ENOMEM);
  weft__buf_free(&b);
  weft__buf_init(&b, &mem, 3);
  weft_value five = of_text("12345");
  weft__scalar_encode(&b, &five);
  assert_int_equal(weft__buf_err(&b), WEFT_ELIMIT);
  weft__buf_free(&b);
}

/* --- the public encodings --- */

/* Turns "c4-01-ff" into bytes. */
static weft_bytes unhex(weft_arena *arena, weft_bytes hex) {
  uint8_t *to = weft__arena_take(arena, hex.len);
  size_t len = 0;
  assert_non_null(to);
  for (size_t i = 0; i + 1 < hex.len; i += 3) {
    char pair[3] = {(char)hex.at[i], (char)hex.at[i + 1], 0};
    to[len++] = (uint8_t)strtoul(pair, NULL, 16);
  }
  return weft_bytes_of(to, len);
}

/* The value that one of the cases names; false when values have no such thing. */
static bool named_value(weft_arena *arena, const weft_value *one, weft_value *v) {
  static const char *const plain[] = {"nil", "bool", "number", "string", "array", "map"};
  for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
    const weft_value *found = weft_value_member(one, weft_bytes_str(plain[i]));
    if (!found) continue;
    *v = *found;
    return true;
  }
  const weft_value *binary = weft_value_member(one, weft_bytes_str("binary"));
  if (binary) {
    *v = (weft_value){WEFT_BYTES, {.bytes = unhex(arena, binary->as.bytes)}};
    return true;
  }
  const weft_value *big = weft_value_member(one, weft_bytes_str("bignum"));
  return big && weft_json_parse(arena, big->as.bytes, v, NULL) == WEFT_OK;
}

/* Of the encodings of one value exactly ours is taken, which is as short as the first.  A double is
 * other content than an int, so it is taken as such; a float 32 never is. */
static void case_checked(weft_arena *arena, const weft_value *one, weft_buf *b) {
  const weft_value *encodings = weft_value_member(one, weft_bytes_str("msgpack"));
  weft_value v, back;
  bool known = named_value(arena, one, &v);
  size_t taken = 0, shortest = SIZE_MAX;
  for (size_t i = 0; i < encodings->as.array.count; i++) {
    weft_bytes in = unhex(arena, encodings->as.array.at[i].as.bytes);
    weft_err err = weft__value_decode(arena, in, &back);
    if (!known) {
      assert_int_equal(err, WEFT_EMALFORMED);
      continue;
    }
    weft__buf_reset(b);
    weft__value_encode(b, &v);
    assert_int_equal(weft__buf_err(b), WEFT_OK);
    bool as_double = v.kind == WEFT_INT && in.at[0] == 0xcb;
    bool ours = same(weft__buf_view(b), in);
    assert_int_equal(err, ours || as_double ? WEFT_OK : WEFT_EMALFORMED);
    if (err == WEFT_OK) assert_true(weft_value_equal(&v, &back));
    if (as_double) assert_int_equal(back.kind, WEFT_DOUBLE);
    taken += ours;
    if (in.at[0] != 0xca && in.len < shortest) shortest = in.len;
  }
  if (!known) return;
  assert_int_equal(taken, 1);
  assert_int_equal(b->len, shortest);
}

static void public_encodings(void **state) {
  (void)state;
  weft_bytes text = test_data_read("msgpack-test-suite/msgpack-test-suite.json");
  if (!text.at) test_skip_no_data();
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  weft_buf b;
  weft__buf_init(&b, &mem, 1 << 20);
  weft_value groups;
  assert_int_equal(weft_json_parse(&arena, text, &groups, NULL), WEFT_OK);
  size_t count = 0;
  for (size_t i = 0; i < groups.as.object.count; i++) {
    const weft_value *group = &groups.as.object.at[i].value;
    for (size_t k = 0; k < group->as.array.count; k++) {
      case_checked(&arena, &group->as.array.at[k], &b);
      count++;
    }
  }
  assert_true(count >= 85);
  weft__buf_free(&b);
  weft__arena_free(&arena);
  free((void *)(uintptr_t)text.at);
}

/* --- hostile bytes --- */

typedef struct bytes_case {
  const char *bytes;
  size_t len;
  weft_err err;
} bytes_case;
#define CASE(literal, err)                                                                         \
  { literal, sizeof literal - 1, err }

static const bytes_case refused[] = {
    CASE("", WEFT_EMALFORMED),
    CASE("\xc1", WEFT_EMALFORMED), /* never used */
    /* counts that promise what is not there */
    CASE("\xdd\xff\xff\xff\xff", WEFT_EMALFORMED),
    CASE("\xdf\xff\xff\xff\xff", WEFT_EMALFORMED),
    CASE("\xdc\xff\xff\x00", WEFT_EMALFORMED),
    CASE("\xdf\x80\x00\x00\x00", WEFT_EMALFORMED),
    CASE("\x92\x92\xc0\xc0", WEFT_EMALFORMED),
    CASE("\xdb\xff\xff\xff\xff", WEFT_EMALFORMED),
    CASE("\xc6\xff\xff\xff\xff", WEFT_EMALFORMED),
    /* more than one item */
    CASE("\xc0\xc0", WEFT_EMALFORMED),
    CASE("\x91\xc0\xc0", WEFT_EMALFORMED),
    /* second encodings */
    CASE("\xcc\x7f", WEFT_EMALFORMED),
    CASE("\xcd\x00\xff", WEFT_EMALFORMED),
    CASE("\xce\x00\x00\xff\xff", WEFT_EMALFORMED),
    CASE("\xcf\x00\x00\x00\x00\xff\xff\xff\xff", WEFT_EMALFORMED),
    CASE("\xd0\xe0", WEFT_EMALFORMED),
    CASE("\xd0\x01", WEFT_EMALFORMED),
    CASE("\xd1\xff\x80", WEFT_EMALFORMED),
    CASE("\xd1\x7f\xff", WEFT_EMALFORMED),
    CASE("\xd2\xff\xff\x80\x00", WEFT_EMALFORMED),
    CASE("\xd3\xff\xff\xff\xff\x80\x00\x00\x00", WEFT_EMALFORMED),
    CASE("\xd3\x00\x00\x00\x00\x00\x00\x00\x01", WEFT_EMALFORMED),
    CASE("\xd9\x01x", WEFT_EMALFORMED),
    CASE("\xda\x00\x01x", WEFT_EMALFORMED),
    CASE("\xdb\x00\x00\x00\x01x", WEFT_EMALFORMED),
    CASE("\xc5\x00\x01x", WEFT_EMALFORMED),
    CASE("\xc6\x00\x00\x00\x01x", WEFT_EMALFORMED),
    CASE("\xdc\x00\x01\xc0", WEFT_EMALFORMED),
    CASE("\xdd\x00\x00\x00\x01\xc0", WEFT_EMALFORMED),
    CASE("\xde\x00\x01\xa1x\xc0", WEFT_EMALFORMED),
    CASE("\xdf\x00\x00\x00\x01\xa1x\xc0", WEFT_EMALFORMED),
    /* doubles: float 32, infinities, NaN quiet and not */
    CASE("\xca\x3f\x80\x00\x00", WEFT_EMALFORMED),
    CASE("\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", WEFT_EMALFORMED),
    CASE("\xcb\xff\xf0\x00\x00\x00\x00\x00\x00", WEFT_EMALFORMED),
    CASE("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", WEFT_EMALFORMED),
    CASE("\xcb\xff\xf0\x00\x00\x00\x00\x00\x01", WEFT_EMALFORMED),
    /* not UTF-8 */
    CASE("\xa1\xff", WEFT_EMALFORMED),
    CASE("\xa3\xed\xa0\x80", WEFT_EMALFORMED),
    CASE("\x81\xa1\xff\xc0", WEFT_EMALFORMED),
    /* keys: doubled, descending, not strings */
    CASE("\x82\xa1x\xc0\xa1x\xc0", WEFT_EMALFORMED),
    CASE("\x82\xa1y\xc0\xa1x\xc0", WEFT_EMALFORMED),
    CASE("\x82\xa1x\xc0\xa0\xc0", WEFT_EMALFORMED),
    CASE("\x81\x01\xc0", WEFT_EMALFORMED),
    CASE("\x81\xc4\x01x\xc0", WEFT_EMALFORMED),
    CASE("\x81\x90\xc0", WEFT_EMALFORMED),
    CASE("\x82\xa1x\x81\xa1z\xc0\xa1x\xc0", WEFT_EMALFORMED),
    /* ext */
    CASE("\xc7\x01\x01x", WEFT_EMALFORMED),
    CASE("\xc8\x00\x01\x01x", WEFT_EMALFORMED),
    CASE("\xc9\xff\xff\xff\xff\x01", WEFT_EMALFORMED),
    CASE("\xd4\x01x", WEFT_EMALFORMED),
    CASE("\xd6\xff\x00\x00\x00\x00", WEFT_EMALFORMED),
    CASE("\xd8\x01xxxxxxxxxxxxxxxx", WEFT_EMALFORMED),
};

static void hostile_bytes_are_refused(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    weft_bytes in = weft_bytes_of(refused[i].bytes, refused[i].len);
    weft_value out = of_int(77);
    assert_int_equal(weft__msgpack_check(in, 64, SIZE_MAX), refused[i].err);
    assert_int_equal(weft__value_decode(&arena, in, &out), refused[i].err);
    assert_int_equal(weft__scalar_decode(in, &out), WEFT_EMALFORMED);
    assert_int_equal(out.as.integer, 77);
    assert_true(weft__scalar_len(in) < in.len || in.len == 0);
  }
  assert_int_equal(arena.held, 0); /* nothing was taken on a promise */
  weft__arena_free(&arena);
}

static void the_scan_keeps_its_bounds(void **state) {
  (void)state;
  uint8_t deep[70];
  memset(deep, 0x91, sizeof deep);
  deep[64] = 0xc0;
  weft_bytes in = weft_bytes_of(deep, 65);
  assert_int_equal(weft__msgpack_check(in, 64, 65), WEFT_OK);
  assert_int_equal(weft__msgpack_check(in, 63, 65), WEFT_ELIMIT);
  assert_int_equal(weft__msgpack_check(in, 64, 64), WEFT_ELIMIT);
  assert_int_equal(weft__msgpack_check(in, WEFT_JSON_DEPTH_MAX + 1, 65), WEFT_EMISUSE);
  assert_int_equal(weft__msgpack_check(weft_bytes_of("\xc0", 1), 0, 1), WEFT_OK);
  assert_int_equal(weft__msgpack_check(weft_bytes_of("\xc0", 1), 0, 0), WEFT_ELIMIT);
  assert_int_equal(weft__msgpack_check(weft_bytes_of("\x90", 1), 0, 1), WEFT_ELIMIT);
  /* A promise beyond the input is damage, whatever else it would exceed. */
  assert_int_equal(weft__msgpack_check(weft_bytes_of("\x95\x01\x02", 3), 1, 2), WEFT_EMALFORMED);
  assert_int_equal(weft__msgpack_check(weft_bytes_of("\x95\x01\x02", 3), 0, 9), WEFT_EMALFORMED);
  deep[64] = 0x90; /* an empty container is a level too */
  assert_int_equal(weft__msgpack_check(in, 64, 65), WEFT_ELIMIT);
}

static void integers_end_at_int64(void **state) {
  (void)state;
  weft_bytes most = weft_bytes_of("\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", 9);
  weft_bytes over = weft_bytes_of("\xcf\x80\0\0\0\0\0\0\0", 9);
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  weft_value v;
  assert_int_equal(weft__scalar_decode(most, &v), WEFT_OK);
  assert_true(v.kind == WEFT_INT && v.as.integer == INT64_MAX);
  assert_int_equal(weft__scalar_decode(over, &v), WEFT_EMALFORMED);
  assert_int_equal(weft__value_decode(&arena, over, &v), WEFT_EMALFORMED);
  assert_int_equal(weft__msgpack_check(over, 0, 1), WEFT_OK);
  weft__arena_free(&arena);
}

static void decoders_keep_the_limits_of_values(void **state) {
  (void)state;
  static uint8_t big[WEFT_VALUE_LEN_MAX + 10];
  memset(big, 'x', sizeof big);
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  weft_value v;
  for (int binary = 0; binary < 2; binary++) {
    big[0] = binary ? 0xc6 : 0xdb;
    big[1] = 0, big[2] = 3, big[3] = 0xff, big[4] = 0xfb; /* 262139: all that fits */
    weft_bytes in = weft_bytes_of(big, WEFT_VALUE_LEN_MAX);
    assert_int_equal(weft__scalar_len(in), in.len);
    assert_int_equal(weft__scalar_decode(in, &v), WEFT_OK);
    assert_int_equal(weft__value_decode(&arena, in, &v), WEFT_OK);
    big[4]++;
    in.len++;
    assert_int_equal(weft__scalar_len(in), 0);
    assert_int_equal(weft__scalar_decode(in, &v), WEFT_EMALFORMED);
    assert_int_equal(weft__value_decode(&arena, in, &v), WEFT_ELIMIT);
  }
  big[0] = 0x81, big[1] = 0xd9, big[2] = 0xff; /* a key of 255 bytes, then of 256 */
  memset(big + 3, 'x', 300);
  big[258] = 0xc0;
  assert_int_equal(weft__value_decode(&arena, weft_bytes_of(big, 259), &v), WEFT_OK);
  big[1] = 0xda, big[2] = 1, big[3] = 0;
  big[258] = 'x', big[260] = 0xc0;
  assert_int_equal(weft__value_decode(&arena, weft_bytes_of(big, 261), &v), WEFT_ELIMIT);
  assert_int_equal(weft__value_decode(&arena, weft_bytes_of("\x81\xa1\0\xc0", 4), &v),
                   WEFT_EMALFORMED);
  weft__arena_free(&arena);
}

/* Decodes bytes of any origin: what is taken encodes to the same bytes. */
static bool taken_means_canonical(weft_arena *arena, weft_bytes in, weft_buf *b) {
  weft_value v;
  weft_err err = weft__value_decode(arena, in, &v);
  size_t len = weft__scalar_len(in);
  if (err != WEFT_OK) {
    assert_true(err == WEFT_EMALFORMED || err == WEFT_ELIMIT);
    assert_true(len < in.len || in.len == 0);
    return false;
  }
  assert_int_equal(weft_value_check(&v), WEFT_OK);
  weft__buf_reset(b);
  weft__value_encode(b, &v);
  assert_true(same(weft__buf_view(b), in));
  if (weft_value_is_scalar(&v)) assert_int_equal(len, in.len);
  return true;
}

static void changed_and_cut_bytes_stay_canonical_or_fail(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  weft_buf b, again;
  weft__buf_init(&b, &mem, 64 << 20);
  weft__buf_init(&again, &mem, 64 << 20);
  test_rng rng = test_rng_of(SEED + 3);
  size_t taken = 0, not_taken = 0;
  for (int i = 0; i < 1000; i++) {
    weft__arena_reset(&arena);
    weft__buf_reset(&b);
    weft_value v = test_gen_value(&rng, &arena, 3, true);
    weft__value_encode(&b, &v);
    if (b.len > 500) continue;
    for (size_t cut = 0; cut < b.len; cut++) {
      uint8_t *copy = malloc(cut + 1); /* so that a read beyond the end is seen by sanitizers */
      assert_non_null(copy);
      memcpy(copy, b.at, cut);
      assert_false(taken_means_canonical(&arena, weft_bytes_of(copy, cut), &again));
      free(copy);
    }
    for (size_t at = 0; at < b.len; at++) {
      uint8_t kept = b.at[at];
      b.at[at] = (uint8_t)(kept + 1 + test_rng_below(&rng, 255));
      bool ok = taken_means_canonical(&arena, weft__buf_view(&b), &again);
      taken += ok;
      not_taken += !ok;
      b.at[at] = kept;
    }
  }
  assert_true(taken > 1000 && not_taken > 1000);
  weft__buf_free(&b);
  weft__buf_free(&again);
  weft__arena_free(&arena);
}

/* --- memory --- */

static weft_err encode_and_decode(const weft_value *v, const weft_alloc *mem) {
  weft_buf b;
  weft_arena arena;
  weft__buf_init(&b, mem, 1 << 20);
  weft__arena_init(&arena, mem);
  weft__value_encode(&b, v);
  weft_err err = weft__buf_err(&b);
  weft_value back;
  if (err == WEFT_OK) err = weft__value_decode(&arena, weft__buf_view(&b), &back);
  if (err == WEFT_OK) assert_true(weft_value_equal(v, &back));
  weft__buf_free(&b);
  weft__arena_free(&arena);
  return err;
}

static void every_allocation_can_fail(void **state) {
  (void)state;
  static uint8_t text[3000];
  memset(text, 'x', sizeof text);
  weft_value inner[100], list[3];
  for (size_t i = 0; i < 100; i++) inner[i] = of_int((int64_t)i);
  list[0] = of_array(inner, 100);
  list[1] = (weft_value){WEFT_STRING, {.bytes = {text, sizeof text}}};
  weft_member members[60];
  char names[60][201];
  for (size_t i = 0; i < 60; i++) {
    memset(names[i], (int)('0' + i), 200);
    members[i] = (weft_member){weft_bytes_of(names[i], 200), of_text("v")};
  }
  list[2] = of_object(members, 60);
  weft_value v = of_array(list, 3);
  test_fault_alloc f = {0};
  weft_alloc mem = test_fault_alloc_of(&f);
  assert_int_equal(encode_and_decode(&v, &mem), WEFT_OK);
  size_t clean = f.calls;
  assert_true(clean > 5);
  for (size_t k = 1; k <= 2 * clean; k++) {
    f = (test_fault_alloc){.fail_at = (k + 1) / 2, .sticky = k % 2};
    assert_int_equal(encode_and_decode(&v, &mem), WEFT_ENOMEM);
    assert_int_equal(f.live, 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbers_compare_exactly),
      cmocka_unit_test(kinds_and_shapes_differ),
      cmocka_unit_test(members_are_found),
      cmocka_unit_test(check_names_what_cannot_be_stored),
      cmocka_unit_test(check_looks_at_keys),
      cmocka_unit_test(utf8_agrees_with_its_definition),
      cmocka_unit_test(trees_round_trip),
      cmocka_unit_test(equal_bytes_mean_equal_content),
      cmocka_unit_test(encoders_refuse_what_cannot_be_stored),
      cmocka_unit_test(public_encodings),
      cmocka_unit_test(hostile_bytes_are_refused),
      cmocka_unit_test(the_scan_keeps_its_bounds),
      cmocka_unit_test(integers_end_at_int64),
      cmocka_unit_test(decoders_keep_the_limits_of_values),
      cmocka_unit_test(changed_and_cut_bytes_stay_canonical_or_fail),
      cmocka_unit_test(every_allocation_can_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

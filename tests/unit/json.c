/* JSON: the public parsing cases with our choices written down, laws over generated values, limits
 * from both sides, and lack of memory, jansson's own included. */
#include <dirent.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "crdt/json.h"
#include "tests/support/data.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/gen.h"

#define SEED 40

static weft_err parsed(weft_bytes text, weft_json_error *why) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  weft_value v;
  weft_err err = weft_json_parse(&arena, text, &v, why);
  if (err == WEFT_OK) assert_int_equal(weft_value_check(&v), WEFT_OK);
  weft__arena_free(&arena);
  return err;
}

static weft_err parsed_text(const char *text) { return parsed(weft_bytes_str(text), NULL); }

/* --- the public cases --- */

/* What RFC 8259 takes and we refuse: a field has one value, and a key is a path step. */
static const char *const y_refused[] = {
    "y_object_duplicated_key.json",
    "y_object_duplicated_key_and_value.json",
    "y_object_escaped_null_in_key.json",
};

/* What it leaves open: taken are numbers too small for a double, which become 0. */
static const char *const i_taken[] = {
    "i_number_double_huge_neg_exp.json",
    "i_number_real_underflow.json",
};

/* Refused as over a limit; every other i_ file is refused as malformed: text that is not UTF-8, has
 * a byte order mark, or escapes half a surrogate pair. */
static const char *const i_over_limit[] = {
    "i_number_huge_exp.json",
    "i_number_neg_int_huge_exp.json",
    "i_number_pos_double_huge_exp.json",
    "i_number_real_neg_overflow.json",
    "i_number_real_pos_overflow.json",
    "i_number_too_big_neg_int.json",
    "i_number_too_big_pos_int.json",
    "i_number_very_big_negative_int.json",
    "i_structure_500_nested_arrays.json",
};

#define LISTED(list, name) listed(list, sizeof(list) / sizeof *(list), name)

static bool listed(const char *const *list, size_t count, const char *name) {
  for (size_t i = 0; i < count; i++) {
    if (strcmp(list[i], name) == 0) return true;
  }
  return false;
}

static bool as_chosen(const char *name, weft_err err) {
  bool refused = err == WEFT_EMALFORMED || err == WEFT_ELIMIT;
  if (name[0] == 'y') return LISTED(y_refused, name) ? err == WEFT_EMALFORMED : err == WEFT_OK;
  if (name[0] == 'n') return refused;
  if (LISTED(i_taken, name)) return err == WEFT_OK;
  return err == (LISTED(i_over_limit, name) ? WEFT_ELIMIT : WEFT_EMALFORMED);
}

static void public_cases(void **state) {
  (void)state;
  char path[4096];
  if (!test_data_folder()) test_skip_no_data();
  snprintf(path, sizeof path, "%s/json-test-suite", test_data_folder());
  DIR *folder = opendir(path);
  if (!folder) test_skip_no_data();
  size_t count = 0, wrong = 0;
  for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
    if (!strchr("yni", entry->d_name[0]) || entry->d_name[1] != '_') continue;
    snprintf(path, sizeof path, "json-test-suite/%s", entry->d_name);
    weft_bytes text = test_data_read(path);
    assert_non_null(text.at);
    weft_json_error why;
    weft_err err = parsed(text, &why);
    assert_int_equal(err != WEFT_OK, why.text[0] != 0);
    if (!as_chosen(entry->d_name, err)) {
      print_error("%s: %s, %s\n", entry->d_name, weft_err_name(err), why.text);
      wrong++;
    }
    free((void *)(uintptr_t)text.at);
    count++;
  }
  closedir(folder);
  assert_int_equal(wrong, 0);
  assert_true(count > 300);
}

/* --- reading --- */

static weft_value read_one(weft_arena *arena, const char *text) {
  weft_value v;
  assert_int_equal(weft_json_parse(arena, weft_bytes_str(text), &v, NULL), WEFT_OK);
  return v;
}

static void scalars_are_read_as_what_they_are(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  assert_int_equal(read_one(&arena, "null").kind, WEFT_NULL);
  assert_true(read_one(&arena, "true").as.boolean);
  weft_value v = read_one(&arena, "false");
  assert_true(v.kind == WEFT_BOOL && !v.as.boolean);
  v = read_one(&arena, "9223372036854775807");
  assert_true(v.kind == WEFT_INT && v.as.integer == INT64_MAX);
  v = read_one(&arena, "-9223372036854775808");
  assert_true(v.kind == WEFT_INT && v.as.integer == INT64_MIN);
  v = read_one(&arena, "-0");
  assert_true(v.kind == WEFT_INT && v.as.integer == 0);
  v = read_one(&arena, "-0.0");
  assert_true(v.kind == WEFT_DOUBLE && v.as.real == 0 && signbit(v.as.real));
  v = read_one(&arena, "1e0");
  assert_true(v.kind == WEFT_DOUBLE && v.as.real == 1);
  v = read_one(&arena, "\"a\\u0000\\ud83d\\ude00\"");
  assert_true(v.kind == WEFT_STRING);
  assert_int_equal(weft_bytes_cmp(v.as.bytes, weft_bytes_of("a\0\xf0\x9f\x98\x80", 6)), 0);
  v = read_one(&arena, "{\"b\":1,\"\":2,\"a\":[]}");
  assert_int_equal(v.as.object.count, 3);
  assert_int_equal(v.as.object.at[0].key.len, 0);
  assert_int_equal(v.as.object.at[1].value.kind, WEFT_ARRAY);
  assert_int_equal(v.as.object.at[2].value.as.integer, 1);
  weft__arena_free(&arena);
}

static void refusals_say_where_and_why(void **state) {
  (void)state;
  static const struct {
    const char *text;
    size_t len; /* 0: up to its NUL */
    weft_err err;
    size_t line, column;
    const char *clause;
  } cases[] = {
      {"", 0, WEFT_EMALFORMED, 1, 1, ""},
      {"{\"a\":1,\n \"a\":2}", 0, WEFT_EMALFORMED, 2, 4, "duplicate object key"},
      {"[1,\n2,\n x]", 0, WEFT_EMALFORMED, 3, 2, "invalid token"},
      {"[1]x", 0, WEFT_EMALFORMED, 1, 4, "end of file expected"},
      {"[1]\0", 4, WEFT_EMALFORMED, 1, 4, "NUL byte"},
      {"[\"a\0\"]", 6, WEFT_EMALFORMED, 1, 4, "NUL byte"},
      {"[\"\\\0\"]", 6, WEFT_EMALFORMED, 1, 4, "NUL byte"},
      {"{\"\\u0000\":1}", 0, WEFT_EMALFORMED, 1, 9, "NUL byte in object key"},
      {"[9223372036854775808]", 0, WEFT_ELIMIT, 1, 20, "too big integer"},
      {"-9223372036854775809", 0, WEFT_ELIMIT, 1, 20, "too big negative integer"},
      {"1e999", 0, WEFT_ELIMIT, 1, 5, "real number overflow"},
      {"\"\xff\"", 0, WEFT_EMALFORMED, 1, 1, "unable to decode"},
      {"\"\x7f\\x\"", 0, WEFT_EMALFORMED, 1, 4, "invalid escape near '\"?\\x'"},
      {"\"\\", 0, WEFT_EMALFORMED, 1, 2, "invalid escape"},
      {"]", 0, WEFT_EMALFORMED, 1, 1, "unexpected token"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    size_t len = cases[i].len > 0 ? cases[i].len : strlen(cases[i].text);
    weft_json_error why;
    assert_int_equal(parsed(weft_bytes_of(cases[i].text, len), &why), cases[i].err);
    assert_int_equal(parsed(weft_bytes_of(cases[i].text, len), NULL), cases[i].err);
    assert_int_equal(why.line, cases[i].line);
    assert_int_equal(why.column, cases[i].column);
    assert_memory_equal(why.text, cases[i].clause, strlen(cases[i].clause));
    assert_true(why.text[0] != 0);
  }
  weft_json_error why;
  assert_int_equal(parsed(weft_bytes_of(NULL, 0), &why), WEFT_EMALFORMED);
  assert_int_equal(parsed(weft_bytes_str("1"), &why), WEFT_OK);
  assert_true(why.line == 0 && why.column == 0 && why.text[0] == 0);
}

/* JSON that puts `inside` behind `before` and in front of `behind`, each that many times. */
static weft_err parsed_repeated(char before, const char *inside, char behind, size_t count) {
  size_t len = strlen(inside);
  char *text = malloc(2 * count + len);
  assert_non_null(text);
  memset(text, before, count);
  memcpy(text + count, inside, len);
  memset(text + count + len, behind, count);
  weft_err err = parsed(weft_bytes_of(text, 2 * count + len), NULL);
  free(text);
  return err;
}

static void depth_is_limited_before_the_parser(void **state) {
  (void)state;
  assert_int_equal(parsed_repeated('[', "1", ']', WEFT_JSON_DEPTH_MAX), WEFT_OK);
  assert_int_equal(parsed_repeated('[', "", ']', WEFT_JSON_DEPTH_MAX + 1), WEFT_ELIMIT);
  assert_int_equal(parsed_repeated('[', "", '[', 1 << 20), WEFT_ELIMIT);
  assert_int_equal(parsed_text("[[[[],[]],[]],\"[[[[\\\"[[\",{\"[{\":[]}]"), WEFT_OK);
  char quoted[200] = "[\"\\\"";
  memset(quoted + 4, '[', 150);
  memcpy(quoted + 154, "\\\\\"]", 5);
  assert_int_equal(parsed_text(quoted), WEFT_OK);
}

static weft_err parsed_key_and_string(size_t key_len, size_t string_len) {
  char *text = malloc(key_len + string_len + 20);
  assert_non_null(text);
  memset(text, 'x', key_len + string_len + 20);
  memcpy(text, "{\"", 2);
  memcpy(text + 2 + key_len, "\":\"", 3);
  memcpy(text + 5 + key_len + string_len, "\"}", 2);
  weft_json_error why;
  weft_err err = parsed(weft_bytes_of(text, 7 + key_len + string_len), &why);
  assert_int_equal(err != WEFT_OK, why.text[0] != 0);
  free(text);
  return err;
}

static void keys_strings_and_texts_have_limits(void **state) {
  (void)state;
  assert_int_equal(parsed_key_and_string(255, WEFT_TEXT_LEN_MAX), WEFT_OK);
  assert_int_equal(parsed_key_and_string(256, 1), WEFT_ELIMIT);
  assert_int_equal(parsed_key_and_string(1, WEFT_TEXT_LEN_MAX + 1), WEFT_ELIMIT);
  char *text = malloc(WEFT_JSON_LEN_MAX + 1);
  assert_non_null(text);
  memset(text, ' ', WEFT_JSON_LEN_MAX + 1);
  text[0] = '1';
  assert_int_equal(parsed(weft_bytes_of(text, WEFT_JSON_LEN_MAX), NULL), WEFT_OK);
  weft_json_error why;
  assert_int_equal(parsed(weft_bytes_of(text, WEFT_JSON_LEN_MAX + 1), &why), WEFT_ELIMIT);
  assert_int_equal(why.line, 0);
  free(text);
}

/* --- writing --- */

static void written_is(const weft_value *v, unsigned indent, const char *expected) {
  weft_alloc mem = weft_alloc_libc();
  weft_buf b;
  weft__buf_init(&b, &mem, 1 << 20);
  if (indent > 0) {
    weft_json_write_pretty(&b, v, indent);
  } else {
    weft_json_write(&b, v);
  }
  weft__buf_u8(&b, 0);
  assert_int_equal(weft__buf_err(&b), WEFT_OK);
  assert_string_equal((const char *)b.at, expected);
  weft__buf_free(&b);
}

static void trees_are_written(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  weft_value v = read_one(&arena, " {\"b\" : [1 , {} , [] , [[2.5]]], \"a\":null, \"\":\"x\"} ");
  written_is(&v, 0, "{\"\":\"x\",\"a\":null,\"b\":[1,{},[],[[2.5]]]}");
  written_is(&v, 2,
             "{\n  \"\": \"x\",\n  \"a\": null,\n  \"b\": [\n    1,\n    {},\n    [],\n    [\n"
             "      [\n        2.5\n      ]\n    ]\n  ]\n}");
  written_is(&v, 1,
             "{\n \"\": \"x\",\n \"a\": null,\n \"b\": [\n  1,\n  {},\n  [],\n  [\n   [\n    2.5\n"
             "   ]\n  ]\n ]\n}");
  v = read_one(&arena, "[true,false,-9223372036854775808,0,-7]");
  written_is(&v, 0, "[true,false,-9223372036854775808,0,-7]");
  v = read_one(&arena, "\"\\u0001\\u001f\\\"\\\\\\/\\b\\f\\n\\r\\t\\u007f\\u00e9\\u0000\"");
  written_is(&v, 0, "\"\\u0001\\u001f\\\"\\\\/\\b\\f\\n\\r\\t\x7f\xc3\xa9\\u0000\"");
  static const char *const base64[] = {"",         "Zg==",     "Zm8=",    "Zm9v",
                                       "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
  for (size_t len = 0; len < 7; len++) { /* RFC 4648, section 10 */
    char expected[40];
    snprintf(expected, sizeof expected, "{\"$bytes\":\"%s\"}", base64[len]);
    v = (weft_value){WEFT_BYTES, {.bytes = weft_bytes_of("foobar", len)}};
    written_is(&v, 0, expected);
  }
  v.as.bytes = weft_bytes_of("\xfb\xff\xbf", 3);
  written_is(&v, 3, "{\"$bytes\":\"+/+/\"}");
  weft__arena_free(&arena);
}

static void doubles_are_written_short(void **state) {
  (void)state;
  static const struct {
    double d;
    const char *text;
  } cases[] = {
      {0.0, "0.0"},
      {-0.0, "-0.0"},
      {1, "1.0"},
      {-1, "-1.0"},
      {0.1, "0.1"},
      {-12.25, "-12.25"},
      {0.001, "0.001"},
      {1e15, "1e15"},
      {123456789.123, "123456789.123"},
      {999999999999999, "999999999999999.0"},
      {0.30000000000000004, "0.30000000000000004"},
      {1e-5, "0.00001"},
      {1e22, "1e22"},
      {5e-324, "5e-324"},
      {DBL_MAX, "1.7976931348623157e308"},
      {DBL_MIN, "2.2250738585072014e-308"},
      {1.0 / 3, "0.3333333333333333"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    weft_value v = {WEFT_DOUBLE, {.real = cases[i].d}};
    written_is(&v, 0, cases[i].text);
  }
}

/* Where people write a comma, JSON still has a point. */
static void doubles_are_alike_in_every_locale(void **state) {
  static const char *const comma[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR",
                                      "ru_RU.UTF-8"};
  const char *set = NULL;
  for (size_t i = 0; i < sizeof comma / sizeof *comma && !set; i++) {
    set = setlocale(LC_NUMERIC, comma[i]);
  }
  if (!set) {
    print_message("skipped: no locale with a decimal comma is installed\n");
    skip();
  }
  assert_string_equal(localeconv()->decimal_point, ",");
  doubles_are_written_short(state);
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  assert_true(read_one(&arena, "2.5").as.real == 2.5);
  assert_int_equal(parsed_text("2,5"), WEFT_EMALFORMED);
  weft__arena_free(&arena);
  setlocale(LC_NUMERIC, "C");
}

/* The significant digits of written JSON. */
static size_t digits_of(weft_bytes text) {
  size_t digits = 0, zeros = 0;
  for (size_t i = 0; i < text.len && text.at[i] != 'e'; i++) {
    uint8_t c = text.at[i];
    if (c < '0' || c > '9') continue;
    if (c == '0') {
      zeros += digits > 0;
    } else {
      digits += 1 + zeros;
      zeros = 0;
    }
  }
  return digits;
}

static void doubles_round_trip_and_are_shortest(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  weft_buf b;
  weft__buf_init(&b, &mem, 1 << 20);
  print_message("seed=%d\n", SEED);
  test_rng rng = test_rng_of(SEED);
  for (int i = 0; i < 20000; i++) {
    weft__arena_reset(&arena);
    weft__buf_reset(&b);
    weft_value v = test_gen_scalar(&rng, &arena, false), back;
    if (v.kind != WEFT_DOUBLE) continue;
    weft_json_write(&b, &v);
    assert_int_equal(weft_json_parse(&arena, weft__buf_view(&b), &back, NULL), WEFT_OK);
    assert_int_equal(back.kind, WEFT_DOUBLE);
    assert_memory_equal(&back.as.real, &v.as.real, sizeof back.as.real);
    if (v.as.real == 0) continue;
    char text[40];
    int least = 1;
    for (;; least++) {
      snprintf(text, sizeof text, "%.*e", least - 1, v.as.real);
      if (strtod(text, NULL) == v.as.real) break;
    }
    assert_int_equal(digits_of(weft__buf_view(&b)), digits_of(weft_bytes_str(text)));
  }
  weft__buf_free(&b);
  weft__arena_free(&arena);
}

static void values_round_trip(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  weft_buf text, before, after;
  weft__buf_init(&text, &mem, 64 << 20);
  weft__buf_init(&before, &mem, 64 << 20);
  weft__buf_init(&after, &mem, 64 << 20);
  test_rng rng = test_rng_of(SEED + 1);
  for (int i = 0; i < 3000; i++) {
    weft__arena_reset(&arena);
    weft__buf_reset(&text);
    weft__buf_reset(&before);
    weft__buf_reset(&after);
    weft_value v = test_gen_value(&rng, &arena, 1 + (unsigned)test_rng_below(&rng, 8), false), back;
    if (i % 2 == 0) {
      weft_json_write(&text, &v);
    } else {
      weft_json_write_pretty(&text, &v, 1 + (unsigned)(i / 2) % 8);
    }
    assert_int_equal(weft__buf_err(&text), WEFT_OK);
    assert_int_equal(weft_json_parse(&arena, weft__buf_view(&text), &back, NULL), WEFT_OK);
    weft__value_encode(&before, &v);
    weft__value_encode(&after, &back);
    assert_int_equal(weft_bytes_cmp(weft__buf_view(&before), weft__buf_view(&after)), 0);
  }
  weft__buf_free(&text);
  weft__buf_free(&before);
  weft__buf_free(&after);
  weft__arena_free(&arena);
}

static weft_err written(const weft_value *v, size_t max) {
  weft_alloc mem = weft_alloc_libc();
  weft_buf b;
  weft__buf_init(&b, &mem, max);
  weft_json_write(&b, v);
  weft_err err = weft__buf_err(&b);
  weft__buf_free(&b);
  return err;
}

static void writers_refuse_what_json_has_not(void **state) {
  (void)state;
  weft_value v = {WEFT_DOUBLE, {.real = INFINITY}};
  assert_int_equal(written(&v, 100), WEFT_EBADVALUE);
  v.as.real = NAN;
  assert_int_equal(written(&v, 100), WEFT_EBADVALUE);
  v = (weft_value){WEFT_STRING, {.bytes = weft_bytes_str("\xff")}};
  assert_int_equal(written(&v, 100), WEFT_EBADVALUE);
  weft_member member = {v.as.bytes, {WEFT_NULL, {false}}};
  v = (weft_value){WEFT_OBJECT, {.object = {&member, 1}}};
  assert_int_equal(written(&v, 100), WEFT_EBADVALUE);
  v.kind = (weft_value_kind)99;
  assert_int_equal(written(&v, 100), WEFT_EBADVALUE);
  weft_value levels[WEFT_JSON_DEPTH_MAX + 1];
  levels[0] = (weft_value){WEFT_ARRAY, {.array = {NULL, 0}}};
  for (size_t i = 1; i <= WEFT_JSON_DEPTH_MAX; i++) {
    levels[i] = (weft_value){WEFT_ARRAY, {.array = {&levels[i - 1], 1}}};
  }
  assert_int_equal(written(&levels[WEFT_JSON_DEPTH_MAX - 1], 1000), WEFT_OK);
  assert_int_equal(written(&levels[WEFT_JSON_DEPTH_MAX], 1000), WEFT_ELIMIT);
  assert_int_equal(written(&levels[10], 21),
                   WEFT_ELIMIT); /* 22 brackets, and the first error stays */
  weft_alloc mem = weft_alloc_libc();
  for (unsigned indent = 0; indent < 10; indent++) {
    weft_buf b;
    weft__buf_init(&b, &mem, 100);
    weft_json_write_pretty(&b, &levels[0], indent);
    assert_int_equal(weft__buf_err(&b), indent >= 1 && indent <= 8 ? WEFT_OK : WEFT_EMISUSE);
    weft_json_write_string(&b, weft_bytes_str("\xff")); /* does not hide the first error */
    assert_int_equal(weft__buf_err(&b), indent >= 1 && indent <= 8 ? WEFT_EBADVALUE : WEFT_EMISUSE);
    weft__buf_free(&b);
  }
}

/* --- memory --- */

/* Strings, an array and an object long enough to need blocks of their own. */
static void long_text(char *text) {
  size_t at = 0;
  text[at++] = '[';
  for (int i = 0; i < 4; i++) {
    at += (size_t)sprintf(text + at, "{\"k%d\":\"", i);
    memset(text + at, 'x', 5000);
    at += 5000;
    at += (size_t)sprintf(text + at, "\",\"list\":[1,2,3,0.3333333333333333,{}]},{");
    for (int k = 0; k < 250 * (i + 1); k++) at += (size_t)sprintf(text + at, "\"%d\":[],", k);
    text[at - 1] = '}';
    text[at++] = ',';
  }
  memcpy(text + at - 1, "]", 2);
}

static weft_err read_and_write(const char *text, const weft_alloc *mem) {
  weft_arena arena;
  weft_buf b;
  weft__arena_init(&arena, mem);
  weft__buf_init(&b, mem, 1 << 20);
  weft_value v;
  weft_json_error why;
  weft_err err = weft_json_parse(&arena, weft_bytes_str(text), &v, &why);
  if (err != WEFT_OK) assert_string_equal(why.text, "out of memory");
  if (err == WEFT_OK) {
    weft_json_write(&b, &v);
    err = weft__buf_err(&b);
  }
  weft__arena_free(&arena);
  weft__buf_free(&b);
  return err;
}

static void every_allocation_of_ours_can_fail(void **state) {
  (void)state;
  static char text[60000];
  long_text(text);
  test_fault_alloc f = {0};
  weft_alloc mem = test_fault_alloc_of(&f);
  assert_int_equal(read_and_write(text, &mem), WEFT_OK);
  size_t clean = f.calls;
  assert_true(clean > 5);
  for (size_t k = 1; k <= 2 * clean; k++) {
    f = (test_fault_alloc){.fail_at = (k + 1) / 2, .sticky = k % 2};
    assert_int_equal(read_and_write(text, &mem), WEFT_ENOMEM);
    assert_int_equal(f.live, 0);
  }
}

/* jansson's allocator has no context. */
static test_fault_alloc jansson_fault;

static void *jansson_take(size_t len) {
  weft_alloc mem = test_fault_alloc_of(&jansson_fault);
  return mem.alloc(mem.ctx, len);
}

static void jansson_give(void *at) {
  weft_alloc mem = test_fault_alloc_of(&jansson_fault);
  mem.free(mem.ctx, at);
}

/* No token is longer than jansson's first token buffer, and memory stays out: jansson 2.14 goes
 * astray when there is memory again, or when that buffer cannot grow, which is why memory is asked
 * for beforehand. */
static void every_allocation_of_jansson_can_fail(void **state) {
  (void)state;
  static const char *const text = "[{\"key\":\"value\",\"b\":[1,2,3,4,5,6,7,8,9]},2.5,true,{}]";
  weft_alloc mem = weft_alloc_libc();
  json_malloc_t take;
  json_free_t give;
  json_get_alloc_funcs(&take, &give);
  jansson_fault = (test_fault_alloc){0};
  json_set_alloc_funcs(jansson_take, jansson_give);
  assert_int_equal(read_and_write(text, &mem), WEFT_OK);
  size_t clean = jansson_fault.calls;
  assert_true(clean > 10);
  assert_int_equal(jansson_fault.live, 0);
  for (size_t k = 1; k <= clean; k++) {
    jansson_fault = (test_fault_alloc){.fail_at = k, .sticky = true};
    assert_int_equal(read_and_write(text, &mem), WEFT_ENOMEM);
    assert_int_equal(jansson_fault.live, 0);
  }
  json_set_alloc_funcs(take, give);
}

static void writing_doubles_survives_lack_of_memory(void **state) {
  (void)state;
  weft_value v = {WEFT_DOUBLE, {.real = 1.0 / 3}};
  json_malloc_t take;
  json_free_t give;
  json_get_alloc_funcs(&take, &give);
  jansson_fault = (test_fault_alloc){0};
  json_set_alloc_funcs(jansson_take, jansson_give);
  assert_int_equal(written(&v, 100), WEFT_OK);
  size_t clean = jansson_fault.calls;
  assert_true(clean > 3);
  for (size_t k = 1; k <= clean; k++) {
    jansson_fault = (test_fault_alloc){.fail_at = k, .sticky = true};
    weft_err err = written(&v, 100);
    assert_int_equal(err, WEFT_ENOMEM);
    assert_int_equal(jansson_fault.live, 0);
  }
  json_set_alloc_funcs(take, give);
}

/* Counts what jansson holds at most, and what it was asked for first. */
static struct { size_t held, most, first; } jansson_meter;

static void *meter_take(size_t len) {
  if (jansson_meter.first == 0) {
    jansson_meter.first = len;
    return malloc(len);
  }
  size_t *at = malloc(len + 16);
  if (!at) return NULL;
  at[0] = len;
  jansson_meter.held += len + 16; /* with what malloc adds */
  if (jansson_meter.held > jansson_meter.most) jansson_meter.most = jansson_meter.held;
  return at + 2;
}

static void meter_give(void *at) {
  if (!at) return;
  if (jansson_meter.most == 0) {
    free(at); /* the piece that was asked for beforehand */
    return;
  }
  size_t *head = (size_t *)at - 2;
  jansson_meter.held -= head[0] + 16;
  free(head);
}

static void meter_run(const char *unit, size_t count, const char *open, const char *close) {
  size_t len = strlen(unit) + 12, at = strlen(open);
  char *text = malloc(at + count * len + 10);
  assert_non_null(text);
  memcpy(text, open, at);
  for (size_t i = 0; i < count; i++) {
    at += (size_t)sprintf(text + at, unit, (unsigned)i);
    text[at++] = ',';
  }
  memcpy(text + at - 1, close, strlen(close) + 1);
  memset(&jansson_meter, 0, sizeof jansson_meter);
  assert_int_equal(parsed_text(text), WEFT_OK);
  assert_true(jansson_meter.most > 0 && jansson_meter.most <= jansson_meter.first);
  free(text);
}

static void what_is_asked_for_suffices(void **state) {
  (void)state;
  json_malloc_t take;
  json_free_t give;
  json_get_alloc_funcs(&take, &give);
  json_set_alloc_funcs(meter_take, meter_give);
  for (size_t count = 1; count < 70000; count = count * 3 + 1) {
    meter_run("%u", count, "[", "]");
    meter_run("\"%u\"", count, "[", "]");
    meter_run("[]", count, "[", "]");
    meter_run("{}", count, "[", "]");
    meter_run("[%u]", count, "[", "]");
    meter_run("{\"a\":[{}]}", count, "[", "]");
    meter_run("\"%u\":1", count, "{", "}");
  }
  json_set_alloc_funcs(take, give);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(public_cases),
      cmocka_unit_test(scalars_are_read_as_what_they_are),
      cmocka_unit_test(refusals_say_where_and_why),
      cmocka_unit_test(depth_is_limited_before_the_parser),
      cmocka_unit_test(keys_strings_and_texts_have_limits),
      cmocka_unit_test(trees_are_written),
      cmocka_unit_test(doubles_are_written_short),
      cmocka_unit_test(doubles_are_alike_in_every_locale),
      cmocka_unit_test(doubles_round_trip_and_are_shortest),
      cmocka_unit_test(values_round_trip),
      cmocka_unit_test(writers_refuse_what_json_has_not),
      cmocka_unit_test(every_allocation_of_ours_can_fail),
      cmocka_unit_test(every_allocation_of_jansson_can_fail),
      cmocka_unit_test(writing_doubles_survives_lack_of_memory),
      cmocka_unit_test(what_is_asked_for_suffices),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

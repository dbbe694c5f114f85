/* What people type: times, durations, configuration lines, assignments, conditions; laws over
 * generated inputs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/config.h"
#include "cli/fields.h"
#include "cli/record.h"
#include "tests/support/rng.h"

#define SEED 32

static weft_bytes text(const char *s) { return weft_bytes_str(s); }

static bool same(weft_bytes a, const char *b) { return weft_bytes_cmp(a, text(b)) == 0; }

/* --- times --- */

static void times_go_there_and_back(void **state) {
  (void)state;
  test_rng rng = test_rng_of(SEED);
  for (int i = 0; i < 20000; i++) {
    uint64_t ms = test_rng_below(&rng, UINT64_C(253402300799999)), back = 0;
    char out[32];
    cli_time_text(out, ms);
    if (!cli_time_parse(text(out), &back) || back != ms)
      fail_msg("seed=%d: %llu is %s is %llu", SEED, (unsigned long long)ms, out,
               (unsigned long long)back);
  }
}

static void times_have_zones_and_fractions(void **state) {
  (void)state;
  static const struct {
    const char *text;
    uint64_t ms;
  } cases[] = {{"1970-01-01", 0},
               {"2000-02-29", 951782400000},
               {"2026-01-31T12:00:00Z", 1769860800000},
               {"2026-01-31t12:00:00z", 1769860800000},
               {"2026-01-31 14:30:00+02:30", 1769860800000},
               {"2026-01-31T11:00:00-01:00", 1769860800000},
               {"2026-01-31T12:00:00.1Z", 1769860800100},
               {"2026-01-31T12:00:00.123456789Z", 1769860800123}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    uint64_t ms = 1;
    assert_true(cli_time_parse(text(cases[i].text), &ms));
    if (ms != cases[i].ms) fail_msg("%s: %llu", cases[i].text, (unsigned long long)ms);
  }
}

static void other_texts_are_no_times(void **state) {
  (void)state;
  static const char *const cases[] = {"",
                                      "2026",
                                      "2026-1-1",
                                      "2026-02-29",
                                      "2026-02-30",
                                      "1900-02-29",
                                      "2026-13-01",
                                      "2026-00-01",
                                      "2026-04-31",
                                      "2026-01-00",
                                      "1969-12-31",
                                      "2026-01-01T",
                                      "2026-01-01T12:00Z",
                                      "2026-01-01T24:00:00Z",
                                      "2026-01-01T12:00:00",
                                      "2026-01-01T12:00:00.Z",
                                      "2026-01-01T12:00:00Zx",
                                      "2026-01-01T12:00:00+2:00",
                                      "2026-01-01x",
                                      "deadbeefdeadbeef"};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    uint64_t ms;
    if (cli_time_parse(text(cases[i]), &ms)) fail_msg("%s was taken", cases[i]);
  }
}

static void durations(void **state) {
  (void)state;
  static const struct {
    const char *text;
    uint64_t ms;
  } cases[] = {{"0", 0},         {"7", 7000},
               {"500ms", 500},   {"30s", 30000},
               {"10m", 600000},  {"12h", 43200000},
               {"1d", 86400000}, {"999999999d", UINT64_C(86399999913600000)}};
  uint64_t ms;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_true(cli_duration_parse(text(cases[i].text), &ms));
    assert_true(ms == cases[i].ms);
  }
  static const char *const bad[] = {"",     "s",           "-1s", "1 s", "1w",
                                    "1.5h", "1000000000s", "0x1", "1S"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    if (cli_duration_parse(text(bad[i]), &ms)) fail_msg("%s was taken", bad[i]);
}

/* --- hex --- */

static void hex_goes_there_and_back(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  test_rng rng = test_rng_of(SEED + 1);
  for (int i = 0; i < 1000; i++) {
    uint8_t bytes[64];
    char out[2 * sizeof bytes + 1];
    size_t len = (size_t)test_rng_below(&rng, sizeof bytes + 1);
    test_rng_fill(&rng, bytes, len);
    cli_hex(out, bytes, len);
    weft_bytes back;
    assert_true(cli_unhex(&arena, text(out), &back));
    assert_int_equal(weft_bytes_cmp(back, weft_bytes_of(bytes, len)), 0);
  }
  weft_bytes back;
  assert_false(cli_unhex(&arena, text("abc"), &back));
  assert_false(cli_unhex(&arena, text("0g"), &back));
  weft__arena_free(&arena);
}

/* --- texts that are no UTF-8 --- */

static void texts_are_mended(void **state) {
  (void)state;
  static const struct {
    const char *text, *want;
  } cases[] = {{"", ""},
               {"caf\xc3\xa9", "caf\xc3\xa9"},
               {"caf\xc3", "caf?"},
               {"\xff/\xf0\x9f\x98\x80", "?/\xf0\x9f\x98\x80"},
               {"\xf0\x9f\x98", "???"},
               {"\xed\xa0\x80x", "???x"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char room[16];
    snprintf(room, sizeof room, "%s", cases[i].text);
    cli_text_mend(room, strlen(room));
    assert_string_equal(room, cases[i].want);
  }
}

/* --- the configuration --- */

static int check_config(const char *lines, size_t len, char *error, size_t cap) {
  cli_call call;
  memset(&call, 0, sizeof call);
  int code = cli_config_check(&call, weft_bytes_of(lines, len), "config");
  snprintf(error, cap, "%s", call.error);
  return code;
}

static void configuration_lines(void **state) {
  (void)state;
  static const struct {
    const char *text, *want; /* NULL: good */
  } cases[] = {{"", NULL},
               {"\n# comment\n  \t\n", NULL},
               {"listen = 0.0.0.0:1\r\nheartbeat=15s\nno-http = true", NULL},
               {"heartbeat = 1ms", "line 1: heartbeat is a time"},
               {"\nno-http = perhaps", "line 2: no-http is true or false"},
               {"colour = red", "colour is no setting"},
               {"just words", "key = value is wanted"},
               {"= value", "key = value is wanted"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char error[512];
    int code = check_config(cases[i].text, strlen(cases[i].text), error, sizeof error);
    assert_int_equal(code, cases[i].want ? CLI_FAILED : CLI_OK);
    if (cases[i].want && !strstr(error, cases[i].want)) fail_msg("%s: %s", cases[i].text, error);
  }
  char error[512];
  assert_int_equal(check_config("\0listen = a", 11, error, sizeof error), CLI_FAILED);
}

static void configuration_values(void **state) {
  (void)state;
  weft_bytes lines = text("listen = a:1\n#listen = b:2\nlisten =  c:3 \nheartbeat = 20s\n"), value;
  assert_true(cli_config_get(lines, "listen", &value) && same(value, "c:3"));
  assert_false(cli_config_get(lines, "connect", &value));
  assert_int_equal(cli_config_ms(lines, "heartbeat", 5), 20000);
  assert_int_equal(cli_config_ms(lines, "dead-after", 5), 5);
}

static void any_bytes_are_checked_to_the_end(void **state) {
  (void)state;
  test_rng rng = test_rng_of(SEED + 2);
  static const char alphabet[] = "ab= \t\r\n#listen15s\0\xff";
  for (int i = 0; i < 20000; i++) {
    char lines[64], error[512];
    size_t len = (size_t)test_rng_below(&rng, sizeof lines);
    for (size_t k = 0; k < len; k++) lines[k] = alphabet[test_rng_below(&rng, sizeof alphabet - 1)];
    int code = check_config(lines, len, error, sizeof error);
    assert_true(code == CLI_OK ? error[0] == 0 : code == CLI_FAILED && error[0] != 0);
  }
}

/* --- assignments and conditions --- */

typedef struct fields {
  weft_arena arena;
  cli_call call;
} fields;

static void fields_init(fields *f) {
  weft_alloc mem = weft_alloc_libc();
  memset(f, 0, sizeof *f);
  weft__arena_init(&f->arena, &mem);
  f->call.arena = &f->arena;
}

static void assignments(void **state) {
  (void)state;
  fields f;
  fields_init(&f);
  weft_bytes pointer;
  weft_value v;
  assert_int_equal(cli_assignment(&f.call, text("a/b=x=y"), &pointer, &v), CLI_OK);
  assert_true(same(pointer, "/a~1b") && v.kind == WEFT_STRING && same(v.as.bytes, "x=y"));
  assert_int_equal(cli_assignment(&f.call, text("/a/0:=[1,2.5]"), &pointer, &v), CLI_OK);
  assert_true(same(pointer, "/a/0") && v.kind == WEFT_ARRAY && v.as.array.count == 2);
  assert_int_equal(cli_assignment(&f.call, text("a="), &pointer, &v), CLI_OK);
  assert_true(v.kind == WEFT_STRING && v.as.bytes.len == 0);
  static const char *const bad[] = {"a", "=x", ":=1", "a:=", "a:={", "/a~2=x", ""};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    if (cli_assignment(&f.call, text(bad[i]), &pointer, &v) != CLI_USAGE)
      fail_msg("%s was taken", bad[i]);
  assert_int_equal(cli_assignment(&f.call, text("a=\xff"), &pointer, &v), CLI_FAILED);
  weft__arena_free(&f.arena);
}

static void conditions(void **state) {
  (void)state;
  static const struct {
    const char *text, *pointer, *value;
    weft_where_op op;
  } cases[] = {{"a=b", "/a", "b", WEFT_WHERE_EQ},
               {"a!=b", "/a", "b", WEFT_WHERE_NE},
               {"/a/b>=10", "/a/b", "10", WEFT_WHERE_GE},
               {"a<=1", "/a", "1", WEFT_WHERE_LE},
               {"a<1", "/a", "1", WEFT_WHERE_LT},
               {"a>1", "/a", "1", WEFT_WHERE_GT},
               {"a~b=c", "/a", "b=c", WEFT_WHERE_CONTAINS},
               {"a=\"b\"", "/a", "b", WEFT_WHERE_EQ},
               {"/a~1b=c", "/a~1b", "c", WEFT_WHERE_EQ},
               {"/a~1b~c", "/a~1b", "c", WEFT_WHERE_CONTAINS},
               {"/a~10", "/a", "10", WEFT_WHERE_CONTAINS},
               {"@by=x", "@by", "x", WEFT_WHERE_EQ},
               {"a=", "/a", "", WEFT_WHERE_EQ}};
  fields f;
  fields_init(&f);
  weft_where w;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_int_equal(cli_where_parse(&f.call, text(cases[i].text), &w), CLI_OK);
    assert_true(same(w.pointer, cases[i].pointer) && w.op == cases[i].op);
    assert_true(same(w.text, cases[i].value));
  }
  static const char *const bad[] = {"", "a", "=b", "!=b", "a=\xff"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    if (cli_where_parse(&f.call, text(bad[i]), &w) != CLI_USAGE) fail_msg("%s was taken", bad[i]);
  weft__arena_free(&f.arena);
}

/* Any field name comes back as the one token of its pointer. */
static void field_names_are_escaped(void **state) {
  (void)state;
  test_rng rng = test_rng_of(SEED + 3);
  static const char alphabet[] = "ab~/01=:. ";
  for (int i = 0; i < 5000; i++) {
    fields f;
    fields_init(&f);
    char name[12], want[12];
    size_t len = 1 + (size_t)test_rng_below(&rng, sizeof name - 1);
    for (size_t k = 0; k < len; k++) name[k] = alphabet[test_rng_below(&rng, sizeof alphabet - 1)];
    if (name[0] == '/') name[0] = 'x';
    memcpy(want, name, len);
    weft_bytes pointer, *tokens;
    size_t count;
    assert_int_equal(cli_pointer_of(&f.call, weft_bytes_of(name, len), &pointer), CLI_OK);
    assert_int_equal(weft_pointer_split(&f.arena, pointer, &tokens, &count), WEFT_OK);
    assert_int_equal(count, 1);
    assert_int_equal(weft_bytes_cmp(tokens[0], weft_bytes_of(want, len)), 0);
    weft__arena_free(&f.arena);
  }
}

/* The text of a base is all of the vector's bytes. */
static void check_base(weft_arena *arena, const weft_vector *v) {
  weft_buf want;
  weft_bytes got;
  cli_obj o = cli_obj_begin(arena);
  assert_int_equal(cli_obj_base(&o, v), WEFT_OK);
  weft_value record = cli_obj_end(&o);
  assert_true(cli_unhex(arena, cli_member_text(&record, "base"), &got));
  weft__buf_init(&want, &arena->mem, SIZE_MAX);
  weft__vector_encode(&want, v);
  assert_int_equal(weft_bytes_cmp(got, weft__buf_view(&want)), 0);
  weft__buf_free(&want);
}

/* A base is told whole or not at all. */
static void a_base_has_a_length(void **state) {
  (void)state;
  enum { fits = 1795 };
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_vector v;
  weft__arena_init(&arena, &mem);
  weft__vector_init(&v, &mem);
  for (unsigned i = 0; i <= fits; i++) {
    weft_head head = {.seq = 1 << 20};
    head.log.b[0] = (uint8_t)(i >> 8);
    head.log.b[1] = (uint8_t)i;
    if (i < 4 || i == fits) check_base(&arena, &v);
    assert_int_equal(weft__vector_raise(&v, NULL, &head), WEFT_OK);
  }
  while (v.count < 2000) {
    weft_head head = {.seq = UINT64_C(1) << 50};
    memset(head.log.b, 0xff, sizeof head.log.b);
    head.log.b[1] = (uint8_t)(v.count >> 8);
    head.log.b[2] = (uint8_t)v.count;
    assert_int_equal(weft__vector_raise(&v, NULL, &head), WEFT_OK);
  }
  cli_obj o = cli_obj_begin(&arena);
  assert_int_equal(cli_obj_base(&o, &v), WEFT_ELIMIT);
  weft__vector_free(&v);
  weft__arena_free(&arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(times_go_there_and_back),
      cmocka_unit_test(times_have_zones_and_fractions),
      cmocka_unit_test(other_texts_are_no_times),
      cmocka_unit_test(durations),
      cmocka_unit_test(hex_goes_there_and_back),
      cmocka_unit_test(texts_are_mended),
      cmocka_unit_test(a_base_has_a_length),
      cmocka_unit_test(configuration_lines),
      cmocka_unit_test(configuration_values),
      cmocka_unit_test(any_bytes_are_checked_to_the_end),
      cmocka_unit_test(assignments),
      cmocka_unit_test(conditions),
      cmocka_unit_test(field_names_are_escaped),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

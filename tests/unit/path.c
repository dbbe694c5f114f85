/* Paths: the laws of the encoding over generated paths, every limit from both sides, JSON Pointers
 * as RFC 6901 has them, and document names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/assert.h"
#include "crdt/limits.h"
#include "crdt/path.h"
#include "crdt/value.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/gen.h"

#define SEED 20

static weft_bytes text(const char *s) { return weft_bytes_str(s); }

static bool same(weft_bytes a, weft_bytes b) { return weft_bytes_cmp(a, b) == 0; }

static weft_step key(const char *s) { return (weft_step){false, text(s)}; }

/* --- laws --- */

/* Ancestry by its definition: step by step. */
static bool under_by_steps(weft_path p, weft_path q) {
  size_t at_p = 0, at_q = 0;
  weft_step a, b;
  while (weft_path_next(p, &at_p, &a)) {
    if (!weft_path_next(q, &at_q, &b)) return false;
    if (a.element != b.element || !same(a.name, b.name)) return false;
  }
  return weft_path_next(q, &at_q, &b);
}

static void ancestors_are_the_proper_prefixes(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  print_message("seed=%d\n", SEED);
  test_rng rng = test_rng_of(SEED);
  size_t ancestors = 0;
  for (int i = 0; i < 30000; i++) {
    weft__arena_reset(&arena);
    weft_path p = test_gen_path(&rng, &arena, 3), q = test_gen_path(&rng, &arena, 5);
    bool prefix = p.len < q.len && same(p, weft_bytes_of(q.at, p.len));
    assert_int_equal(prefix, under_by_steps(p, q));
    assert_int_equal(prefix, weft_path_under(p, q));
    ancestors += prefix;
  }
  assert_true(ancestors > 1000);
  weft__arena_free(&arena);
}

static int path_order(const void *a, const void *b) {
  return weft_bytes_cmp(*(const weft_path *)a, *(const weft_path *)b);
}

/* Sorted by bytes, what lies below a path is one run that starts right behind it. */
static void a_path_stands_directly_before_what_is_below_it(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  test_rng rng = test_rng_of(SEED + 1);
  enum { count = 300 };
  weft_path all[count];
  for (int round = 0; round < 20; round++) {
    weft__arena_reset(&arena);
    for (size_t i = 0; i < count; i++) all[i] = test_gen_path(&rng, &arena, 4);
    qsort(all, count, sizeof *all, path_order);
    for (size_t i = 0; i < count; i++) {
      bool ended = false;
      for (size_t j = i + 1; j < count; j++) {
        if (same(all[i], all[j])) continue;
        bool below = under_by_steps(all[i], all[j]);
        assert_false(below && ended);
        if (!below) ended = true;
      }
      for (size_t j = 0; j < i; j++) assert_false(under_by_steps(all[i], all[j]));
    }
  }
  weft__arena_free(&arena);
}

static void steps_head_parent_and_last_agree(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  test_rng rng = test_rng_of(SEED + 2);
  for (int i = 0; i < 5000; i++) {
    weft__arena_reset(&arena);
    weft_path p = test_gen_path(&rng, &arena, WEFT_PATH_STEPS_MAX);
    assert_int_equal(weft_path_check(p), WEFT_OK);
    size_t depth = weft_path_depth(p);
    assert_true(same(weft_path_head(p, depth), p));
    assert_int_equal(weft_path_head(p, 0).len, 0);
    weft_step last;
    assert_int_equal(weft_path_last(p, &last), depth > 0);
    weft_path parent = weft_path_parent(p);
    assert_true(same(parent, weft_path_head(p, depth > 0 ? depth - 1 : 0)));
    assert_int_equal(weft_path_under(parent, p), depth > 0);
    if (depth == 0) continue;
    weft_buf b;
    weft__buf_init(&b, &mem, WEFT_PATH_LEN_MAX);
    weft__buf_put(&b, parent);
    weft_path_push(&b, last);
    assert_int_equal(weft__buf_err(&b), WEFT_OK);
    assert_true(same(weft__buf_view(&b), p));
    weft__buf_free(&b);
  }
  weft__arena_free(&arena);
}

/* True when pushing the steps of `p`, read back one by one, makes `p` again. */
static bool push_makes(weft_path p) {
  weft_alloc mem = weft_alloc_libc();
  weft_buf b;
  weft__buf_init(&b, &mem, WEFT_PATH_LEN_MAX);
  size_t at = 0;
  weft_step step;
  while (weft_path_next(p, &at, &step)) weft_path_push(&b, step);
  bool made = weft__buf_err(&b) == WEFT_OK && same(weft__buf_view(&b), p);
  weft__buf_free(&b);
  return made;
}

static void check_accepts_exactly_what_push_makes(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  test_rng rng = test_rng_of(SEED + 3);
  size_t taken = 0, refused = 0;
  for (int i = 0; i < 3000; i++) {
    weft__arena_reset(&arena);
    weft_path p = test_gen_path(&rng, &arena, 6);
    uint8_t *bytes = weft__arena_take(&arena, p.len + 1);
    for (size_t cut = 0; cut < p.len; cut++) { /* cut short at every byte */
      weft_path part = weft_bytes_of(p.at, cut);
      bool boundary = false;
      for (size_t s = 0; s < weft_path_depth(p); s++) {
        boundary = boundary || weft_path_head(p, s).len == cut;
      }
      assert_int_equal(weft_path_check(part), boundary ? WEFT_OK : WEFT_EMALFORMED);
    }
    for (size_t at = 0; at < p.len; at++) { /* each byte changed */
      memcpy(bytes, p.at, p.len);
      bytes[at] = (uint8_t)(bytes[at] + 1 + test_rng_below(&rng, 255));
      weft_path changed = weft_bytes_of(bytes, p.len);
      if (weft_path_check(changed) == WEFT_OK) {
        assert_true(push_makes(changed));
        taken++;
      } else {
        refused++;
      }
    }
  }
  assert_true(taken > 1000 && refused > 1000);
  weft__arena_free(&arena);
}

/* Every byte string of up to three bytes: nothing is taken that has a second form. */
static void short_strings_have_one_form(void **state) {
  (void)state;
  for (uint32_t v = 0; v < 1u << 24; v += 1 + v / 65536 * 7) {
    uint8_t bytes[3] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16)};
    weft_path p = weft_bytes_of(bytes, v < 0x100 ? 1 : v < 0x10000 ? 2 : 3);
    if (weft_path_check(p) == WEFT_OK) assert_true(push_makes(p));
  }
}

/* --- limits --- */

static weft_err pushed(weft_step step) {
  weft_alloc mem = weft_alloc_libc();
  weft_buf b;
  weft__buf_init(&b, &mem, WEFT_PATH_LEN_MAX);
  weft_path_push(&b, key("a"));
  weft_path_push(&b, step);
  weft_err err = weft__buf_err(&b);
  assert_int_equal(b.len == 2, err != WEFT_OK); /* a refused step leaves the path as it was */
  weft_path_push(&b, key("b"));
  assert_int_equal(weft__buf_err(&b), err);
  weft__buf_free(&b);
  return err;
}

static void steps_have_limits(void **state) {
  (void)state;
  uint8_t bytes[300];
  memset(bytes, 'x', sizeof bytes);
  assert_int_equal(pushed((weft_step){false, weft_bytes_of(bytes, 255)}), WEFT_OK);
  assert_int_equal(pushed((weft_step){false, weft_bytes_of(bytes, 256)}), WEFT_ELIMIT);
  assert_int_equal(pushed((weft_step){false, weft_bytes_of(NULL, 0)}), WEFT_OK);
  assert_int_equal(pushed((weft_step){true, weft_bytes_of(bytes, 32)}), WEFT_OK);
  assert_int_equal(pushed((weft_step){true, weft_bytes_of(bytes, 33)}), WEFT_ELIMIT);
  assert_int_equal(pushed((weft_step){true, weft_bytes_of(NULL, 0)}), WEFT_EBADPATH);
  assert_int_equal(pushed((weft_step){true, weft_bytes_of("\0\xff", 2)}), WEFT_OK);
  assert_int_equal(pushed((weft_step){false, weft_bytes_of("a\0b", 3)}), WEFT_EBADPATH);
  assert_int_equal(pushed((weft_step){false, weft_bytes_of("a\xff", 2)}), WEFT_EBADPATH);
}

static void paths_have_limits(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_buf b;
  weft__buf_init(&b, &mem, 2 * WEFT_PATH_LEN_MAX);
  for (size_t i = 0; i < WEFT_PATH_STEPS_MAX; i++) weft_path_push(&b, key("k"));
  assert_int_equal(weft__buf_err(&b), WEFT_OK);
  assert_int_equal(weft_path_check(weft__buf_view(&b)), WEFT_OK);
  weft_path_push(&b, key("k"));
  assert_int_equal(weft__buf_err(&b), WEFT_ELIMIT);
  b.err = WEFT_OK;
  weft__buf_put_raw(&b, "\2k", 2);
  assert_int_equal(weft_path_check(weft__buf_view(&b)), WEFT_ELIMIT);

  uint8_t bytes[255];
  memset(bytes, 'x', sizeof bytes);
  weft__buf_reset(&b);
  for (int i = 0; i < 3; i++) weft_path_push(&b, (weft_step){false, weft_bytes_of(bytes, 255)});
  weft_path_push(&b, (weft_step){false, weft_bytes_of(bytes, 251)});
  assert_int_equal(weft__buf_err(&b), WEFT_OK);
  assert_int_equal(b.len, WEFT_PATH_LEN_MAX);
  assert_int_equal(weft_path_check(weft__buf_view(&b)), WEFT_OK);
  weft_path_push(&b, key(""));
  assert_int_equal(weft__buf_err(&b), WEFT_ELIMIT);
  weft__buf_reset(&b);
  for (int i = 0; i < 1025; i++) weft__buf_u8(&b, 0);
  assert_int_equal(weft_path_check(weft__buf_view(&b)), WEFT_ELIMIT);
  weft__buf_free(&b);
}

static void check_names_what_is_wrong(void **state) {
  (void)state;
  static const struct {
    const char *bytes;
    size_t len;
    weft_err err;
  } cases[] = {
      {"", 0, WEFT_OK},
      {"\0", 1, WEFT_OK},         /* the empty key */
      {"\1", 1, WEFT_EMALFORMED}, /* an empty element id */
      {"\2a", 2, WEFT_OK},
      {"\2", 1, WEFT_EMALFORMED},      /* cut short */
      {"\2\0", 2, WEFT_EMALFORMED},    /* NUL in a key */
      {"\2\xff", 2, WEFT_EMALFORMED},  /* not UTF-8 */
      {"\3\xff", 2, WEFT_OK},          /* an element id is any bytes */
      {"\x82\0a", 3, WEFT_EMALFORMED}, /* a header that is not minimal */
      {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 10, WEFT_EMALFORMED}, /* promises 2^63 bytes */
      {"\x80", 1, WEFT_EMALFORMED},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(weft_path_check(weft_bytes_of(cases[i].bytes, cases[i].len)), cases[i].err);
  }
  uint8_t bytes[600] = {0x80, 0x04}; /* a key of 256 bytes */
  memset(bytes + 2, 'x', 256);
  assert_int_equal(weft_path_check(weft_bytes_of(bytes, 258)), WEFT_ELIMIT);
  bytes[0] = 33 << 1 | 1; /* an element id of 33 */
  memset(bytes + 1, 'x', 33);
  assert_int_equal(weft_path_check(weft_bytes_of(bytes, 34)), WEFT_ELIMIT);
}

static void push_survives_lack_of_memory(void **state) {
  (void)state;
  test_fault_alloc f = {.fail_at = 1};
  weft_alloc mem = test_fault_alloc_of(&f);
  weft_buf b;
  weft__buf_init(&b, &mem, WEFT_PATH_LEN_MAX);
  weft_path_push(&b, key("a"));
  assert_int_equal(weft__buf_err(&b), WEFT_ENOMEM);
  assert_int_equal(b.len, 0);
  weft__buf_reset(&b);
  char name[255];
  memset(name, 'x', sizeof name);
  f.fail_at = 3; /* the header fits the first piece, the name does not */
  weft_path_push(&b, key("a"));
  weft_path_push(&b, (weft_step){false, weft_bytes_of(name, sizeof name)});
  assert_int_equal(weft__buf_err(&b), WEFT_ENOMEM);
  assert_int_equal(b.len, 2);
  weft__buf_free(&b);
  assert_int_equal(f.live, 0);
}

static jmp_buf asserted;

static void on_assert(const char *file, int line, const char *condition) {
  (void)file;
  (void)line;
  (void)condition;
  longjmp(asserted, 1);
}

/* Each of these is a bug of the caller, who must check what comes from outside. */
static void unchecked_paths_stop_at_an_assert(void **state) {
  (void)state;
  weft_set_assert_handler(on_assert);
  weft_path cut = weft_bytes_of("\2a\4b", 4);
  weft_step step;
  size_t at = 5;
  if (setjmp(asserted) == 0) {
    weft_path_next(cut, &at, &step);
    fail();
  }
  if (setjmp(asserted) == 0) {
    weft_path_depth(cut);
    fail();
  }
  cut.len = 2;
  if (setjmp(asserted) == 0) {
    weft_path_head(cut, 2);
    fail();
  }
  weft_set_assert_handler(NULL);
}

/* --- pointers --- */

/* Splits; gives the tokens joined by '|', each within brackets. */
static weft_err split_shown(weft_bytes pointer, char *shown) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  weft_bytes *tokens;
  size_t count;
  weft_err err = weft_pointer_split(&arena, pointer, &tokens, &count);
  if (err != WEFT_OK) {
    assert_null(tokens);
    assert_int_equal(count, 0);
  }
  for (size_t i = 0; i < count; i++) {
    *shown++ = '[';
    memcpy(shown, tokens[i].at, tokens[i].len);
    shown += tokens[i].len;
    *shown++ = ']';
  }
  *shown = 0;
  weft__arena_free(&arena);
  return err;
}

static void pointers_split_as_the_rfc_says(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"", ""},
      {"/foo", "[foo]"},
      {"/foo/0", "[foo][0]"},
      {"/", "[]"},
      {"/a~1b", "[a/b]"},
      {"/c%d", "[c%d]"},
      {"/e^f", "[e^f]"},
      {"/g|h", "[g|h]"},
      {"/i\\j", "[i\\j]"},
      {"/k\"l", "[k\"l]"},
      {"/ ", "[ ]"},
      {"/m~0n", "[m~n]"},
      {"/~01", "[~1]"},
      {"//", "[][]"},
      {"/a//b/", "[a][][b][]"},
      {"/-", "[-]"},
      {"/~1~0/~0~1", "[/~][~/]"},
      {"/\xc3\xa9", "[\xc3\xa9]"},
  };
  char shown[400];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(split_shown(text(cases[i][0]), shown), WEFT_OK);
    assert_string_equal(shown, cases[i][1]);
  }
  static const char *const bad[] = {"a",   "a/b",  "#/a",   "/~",   "/~2",
                                    "/a~", "/~/a", "/\xff", "/\xc3"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_int_equal(split_shown(text(bad[i]), shown), WEFT_EBADPATH);
  }
  assert_int_equal(split_shown(weft_bytes_of("/a\0", 3), shown), WEFT_EBADPATH);
}

static void pointers_have_limits(void **state) {
  (void)state;
  char pointer[600], shown[600];
  for (size_t i = 0; i < 65; i++) memcpy(pointer + 2 * i, "/a", 2);
  assert_int_equal(split_shown(weft_bytes_of(pointer, 128), shown), WEFT_OK);
  assert_int_equal(split_shown(weft_bytes_of(pointer, 130), shown), WEFT_ELIMIT);
  memset(pointer + 1, 'x', 256);
  assert_int_equal(split_shown(weft_bytes_of(pointer, 256), shown), WEFT_OK);
  assert_int_equal(split_shown(weft_bytes_of(pointer, 257), shown), WEFT_ELIMIT);
  for (size_t i = 0; i < 255; i++) memcpy(pointer + 1 + 2 * i, "~0", 2); /* 255 once unescaped */
  assert_int_equal(split_shown(weft_bytes_of(pointer, 511), shown), WEFT_OK);
}

static void pointers_round_trip(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  test_rng rng = test_rng_of(SEED + 4);
  weft_buf b;
  weft__buf_init(&b, &mem, 1 << 20);
  for (int i = 0; i < 5000; i++) {
    weft__arena_reset(&arena);
    weft__buf_reset(&b);
    weft_bytes made[8];
    size_t wanted = test_rng_below(&rng, 9);
    for (size_t k = 0; k < wanted; k++) {
      made[k] = test_gen_text(&rng, &arena, 10, true);
      weft_pointer_push(&b, made[k]);
    }
    weft_bytes *tokens;
    size_t count;
    assert_int_equal(weft_pointer_split(&arena, weft__buf_view(&b), &tokens, &count), WEFT_OK);
    assert_int_equal(count, wanted);
    for (size_t k = 0; k < count; k++) assert_true(same(tokens[k], made[k]));
  }
  weft__buf_free(&b);
  weft__arena_free(&arena);
}

static void split_survives_lack_of_memory(void **state) {
  (void)state;
  test_fault_alloc f = {0};
  weft_alloc mem = test_fault_alloc_of(&f);
  char pointer[2000];
  memset(pointer, 'x', sizeof pointer);
  pointer[0] = '/';
  for (size_t i = 0; i < 60; i++) pointer[i * 30] = '/';
  for (size_t k = 1; k <= 2; k++) { /* the list, then the text, each a block of its own */
    f = (test_fault_alloc){.fail_at = k};
    weft_arena arena;
    weft__arena_init(&arena, &mem);
    weft_bytes *tokens;
    size_t count;
    weft_bytes all = weft_bytes_of(pointer, 1800);
    assert_int_equal(weft_pointer_split(&arena, all, &tokens, &count), WEFT_ENOMEM);
    assert_null(tokens);
    weft__arena_free(&arena);
    assert_int_equal(f.live, 0);
  }
}

/* --- document names --- */

static void document_names(void **state) {
  (void)state;
  static const char *const good[] = {"templates/leg-day",
                                     "a/b",
                                     "a/b/c",
                                     "a/b c",
                                     "a/...",
                                     "a/.b",
                                     "a/..b",
                                     "a/b.",
                                     "a/~",
                                     "a/\xc3\xa9",
                                     "\xf0\x9f\x98\x80/x",
                                     "a/\xc2\xa0",
                                     "a/-"};
  static const char *const bad[] = {
      "",       "a",    "/",      "a/",     "/a",     "a//b",       "a/b/",       "./a",
      "a/.",    "../a", "a/..",   "a/../b", " a/b",   "a /b",       "a/ b",       "a/b ",
      "a/\x01", "a/\n", "a/\x7f", "a/\xff", "a/\xc3", "a/\xc2\x80", "a/\xc2\x9f", "a/\xed\xa0\x80"};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    assert_int_equal(weft_document_name_check(text(good[i])), WEFT_OK);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_int_equal(weft_document_name_check(text(bad[i])), WEFT_EBADNAME);
  }
  assert_int_equal(weft_document_name_check(weft_bytes_of("a/b\0", 4)), WEFT_EBADNAME);
  char name[256];
  memset(name, 'x', sizeof name);
  name[10] = '/';
  assert_int_equal(weft_document_name_check(weft_bytes_of(name, 255)), WEFT_OK);
  assert_int_equal(weft_document_name_check(weft_bytes_of(name, 256)), WEFT_EBADNAME);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ancestors_are_the_proper_prefixes),
      cmocka_unit_test(a_path_stands_directly_before_what_is_below_it),
      cmocka_unit_test(steps_head_parent_and_last_agree),
      cmocka_unit_test(check_accepts_exactly_what_push_makes),
      cmocka_unit_test(short_strings_have_one_form),
      cmocka_unit_test(steps_have_limits),
      cmocka_unit_test(paths_have_limits),
      cmocka_unit_test(check_names_what_is_wrong),
      cmocka_unit_test(push_survives_lack_of_memory),
      cmocka_unit_test(unchecked_paths_stop_at_an_assert),
      cmocka_unit_test(pointers_split_as_the_rfc_says),
      cmocka_unit_test(pointers_have_limits),
      cmocka_unit_test(pointers_round_trip),
      cmocka_unit_test(split_survives_lack_of_memory),
      cmocka_unit_test(document_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

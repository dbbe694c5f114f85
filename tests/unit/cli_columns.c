/* Two columns: how wide characters are, which lines are put beside each other, and that no row is
 * wider than the terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/columns.h"
#include "cli/escape.h"
#include "crdt/value.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/rng.h"

static weft_bytes text(const char *s) { return weft_bytes_str(s); }

/* --- widths --- */

static void widths_of_characters(void **state) {
  (void)state;
  static const struct {
    const char *text;
    unsigned width;
  } cases[] = {{"", 0},
               {"plain", 5},
               {"\xc3\xbc", 1},  /* u with diaeresis, one character */
               {"u\xcc\x88", 1}, /* the same, made of two */
               {"a\xcc\x81\xcc\xa3"
                "b",
                2},                                         /* two marks over one letter */
               {"\xe6\x97\xa5\xe6\x9c\xac", 4},             /* ideographs */
               {"\xed\x95\x9c", 2},                         /* a Hangul syllable */
               {"\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", 2}, /* the same of three letters */
               {"\xef\xbc\xa1", 2},                         /* full-width A */
               {"\xef\xbd\xb1", 1},                         /* half-width katakana */
               {"\xf0\x9f\x8f\x8b", 1},                     /* a lifter, as text */
               {"\xf0\x9f\x98\x80", 2},                     /* a face */
               {"\xf0\xa0\x80\x80", 2},                     /* an ideograph of plane 2 */
               {"e\xe2\x80\x8d", 7},                        /* a joiner: escaped */
               {"\xef\xbb\xbf", 6},                         /* a byte order mark */
               {"\xf3\xa0\x81\x81", 12},                    /* a tag */
               {"\xe0\xb8\x81\xe0\xb8\xb4", 1},             /* Thai with a vowel above */
               {"\t\x7f\xc2\x9b", 3},                       /* each is printed as ? */
               {"\xff\xc3", 2},                             /* no UTF-8 */
               {"\xe6\x97", 2},
               {"\xe6\x41\x41", 3}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    unsigned width = cli_text_width(text(cases[i].text));
    if (width != cases[i].width) fail_msg("case %zu: %u, not %u", i, width, cases[i].width);
  }
}

static bool is_safe(weft_bytes b) {
  for (size_t i = 0; i < b.len; i++) {
    if (b.at[i] < 0x20 || b.at[i] == 0x7f) return false;
    if (b.at[i] == 0xc2 && b.at[i + 1] < 0xa0) return false;
  }
  return weft__utf8_ok(b);
}

/* What a terminal gets takes as many columns as were counted, and is what it was but for what is
 * escaped; doing it again changes nothing. */
static void what_a_terminal_gets(void **state) {
  (void)state;
  static const struct {
    const char *text, *line;
  } cases[] = {{"bob\u202etxt", "bob\\u202etxt"},
               {"\u2066\u2069\u200b\u200f", "\\u2066\\u2069\\u200b\\u200f"},
               {"a\u2028b\u2029\ufeff", "a\\u2028b\\u2029\\ufeff"},
               {"x\U000e0041", "x\\udb40\\udc41"},
               {"\u2708\ufe0f b\ufe0f", "\u2708\ufe0f b\\ufe0f"},
               {"red\x1b[31m\xc2\x9b\x7f", "red?[31m??"},
               {"line\nline", "line?line"},
               {"\xff\xc3", "??"}};
  weft_alloc mem = weft_alloc_libc();
  weft_buf b, again;
  weft__buf_init(&b, &mem, SIZE_MAX);
  weft__buf_init(&again, &mem, SIZE_MAX);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    weft__buf_reset(&b);
    cli_text_escape(&b, text(cases[i].text), CLI_ESCAPE_LINE);
    if (weft_bytes_cmp(weft__buf_view(&b), text(cases[i].line)) != 0) fail_msg("case %zu", i);
  }
  weft__buf_reset(&b);
  cli_text_escape(&b, text("a\nb\u202e\x1b"), CLI_ESCAPE_LINES);
  assert_true(weft_bytes_cmp(weft__buf_view(&b), text("a\nb\\u202e?")) == 0);
  weft__buf_reset(&b);
  cli_text_escape(&b, text("a\nb\u202e\x1b"), CLI_ESCAPE_CELL);
  assert_true(weft_bytes_cmp(weft__buf_view(&b), text("a?b\u202e?")) == 0);
  test_rng rng = test_rng_of(77);
  for (int i = 0; i < 20000; i++) {
    uint8_t bytes[24];
    size_t len = (size_t)test_rng_below(&rng, sizeof bytes + 1);
    for (size_t k = 0; k < len; k++)
      bytes[k] =
          (uint8_t)("ab\xe2\x80\xae\x8b\xef\xbb\xbf\xc2\x9b\xf3\xa0\x81\x1b\xff"[test_rng_below(
              &rng, 16)]);
    weft__buf_reset(&b);
    weft__buf_reset(&again);
    cli_text_escape(&b, weft_bytes_of(bytes, len), CLI_ESCAPE_LINE);
    weft_bytes once = weft__buf_view(&b);
    cli_text_escape(&again, once, CLI_ESCAPE_LINE);
    if (!is_safe(once) || weft_bytes_cmp(once, weft__buf_view(&again)) != 0 ||
        cli_text_width(once) != cli_text_width(weft_bytes_of(bytes, len)))
      fail_msg("seed=77 step %d", i);
  }
  weft__buf_free(&again);
  weft__buf_free(&b);
}

static void what_fits(void **state) {
  (void)state;
  static const struct {
    const char *text;
    unsigned width, used;
    size_t len;
  } cases[] = {{"abc", 2, 2, 2},
               {"abc", 9, 3, 3},
               {"", 4, 0, 0},
               {"\xe6\x97\xa5\xe6\x9c\xac", 3, 2, 3}, /* half of one does not fit */
               {"\xe6\x97\xa5", 1, 2, 3},             /* but one always goes */
               {"ab\xcc\x88"
                "c",
                2, 2, 4}, /* the mark stays with its letter */
               {"a", 0, 1, 1}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    unsigned used = 99;
    size_t len = cli_text_fit(text(cases[i].text), cases[i].width, &used);
    if (len != cases[i].len || used != cases[i].used) fail_msg("case %zu: %zu, %u", i, len, used);
  }
}

/* --- pairs --- */

/* Pairs as text: a line each, the mark first. */
static void spelled(weft_arena *arena, const char *left, const char *right, char *out, size_t cap) {
  cli_pair *pairs;
  size_t count, len = 0;
  assert_int_equal(cli_pairs(arena, text(left), text(right), &pairs, &count), WEFT_OK);
  out[0] = 0;
  for (size_t i = 0; i < count; i++) {
    len += (size_t)snprintf(out + len, cap - len, "%c%.*s/%.*s\n", "=|<>"[pairs[i].kind],
                            (int)pairs[i].left.len, (const char *)pairs[i].left.at,
                            (int)pairs[i].right.len, (const char *)pairs[i].right.at);
  }
}

static void lines_are_paired(void **state) {
  (void)state;
  static const struct {
    const char *left, *right, *want;
  } cases[] = {{"", "", ""},
               {"a", "a", "=a/a\n"},
               {"a\n", "a", "=a/a\n"},
               {"a", "b", "|a/b\n"},
               {"", "b\nc", ">/b\n>/c\n"},
               {"b\n\nc", "", "<b/\n</\n<c/\n"},
               {"a\nb\nc\nd", "a\nc\nx\nd", "=a/a\n<b/\n=c/c\n>/x\n=d/d\n"},
               {"{\n1\n2\n}", "{\n1\n3\n4\n}", "={/{\n=1/1\n|2/3\n>/4\n=}/}\n"},
               {"k\na\nb\nz", "q\nb\na\nz", "|k/q\n<a/\n=b/b\n>/a\n=z/z\n"}};
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  char out[256];
  weft__arena_init(&arena, &mem);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    spelled(&arena, cases[i].left, cases[i].right, out, sizeof out);
    if (strcmp(out, cases[i].want) != 0) fail_msg("case %zu: %s", i, out);
  }
  weft__arena_free(&arena);
}

enum { LINES_MAX = 12, TEXT_MAX = 512 };

static const char *const bits[] = {"a", "b", "\xe6\x97\xa5", "u\xcc\x88", "{", " ", "xyz", "\xff"};

/* Lines of few kinds, so that many are alike. */
static void some_text(test_rng *rng, char *out) {
  size_t lines = test_rng_below(rng, LINES_MAX);
  out[0] = 0;
  for (size_t i = 0; i < lines; i++) {
    for (size_t k = test_rng_below(rng, 4); k > 0; k--) {
      strcat(out, TEST_PICK(rng, bits));
    }
    strcat(out, "\n");
  }
}

/* Length of the longest common row of lines, by the book. */
static size_t common(char lines_a[][64], size_t a, char lines_b[][64], size_t b) {
  size_t length[LINES_MAX + 1][LINES_MAX + 1] = {{0}};
  for (size_t i = a; i-- > 0;) {
    for (size_t k = b; k-- > 0;) {
      size_t down = length[i + 1][k], along = length[i][k + 1];
      bool same = strcmp(lines_a[i], lines_b[k]) == 0;
      length[i][k] = same ? length[i + 1][k + 1] + 1 : down > along ? down : along;
    }
  }
  return length[0][0];
}

static size_t split(const char *from, char lines[][64]) {
  size_t count = 0;
  while (*from) {
    size_t len = strcspn(from, "\n");
    snprintf(lines[count++], 64, "%.*s", (int)len, from);
    from += len + 1;
  }
  return count;
}

/* Each side comes out as it went in, and as many lines are the same as can be. */
static void pairs_lose_nothing(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  for (uint64_t seed = 1; seed <= 4000; seed++) {
    test_rng rng = test_rng_of(seed);
    char left[TEXT_MAX], right[TEXT_MAX], a[TEXT_MAX] = "", b[TEXT_MAX] = "";
    char lines_a[LINES_MAX][64], lines_b[LINES_MAX][64];
    cli_pair *pairs;
    size_t count, same = 0;
    some_text(&rng, left);
    some_text(&rng, right);
    weft__arena_reset(&arena);
    assert_int_equal(cli_pairs(&arena, text(left), text(right), &pairs, &count), WEFT_OK);
    for (size_t i = 0; i < count; i++) {
      bool has_left = pairs[i].kind != CLI_PAIR_RIGHT, has_right = pairs[i].kind != CLI_PAIR_LEFT;
      if (has_left) strncat(a, (const char *)pairs[i].left.at, pairs[i].left.len);
      if (has_left) strcat(a, "\n");
      if (has_right) strncat(b, (const char *)pairs[i].right.at, pairs[i].right.len);
      if (has_right) strcat(b, "\n");
      bool equal = has_left && has_right && weft_bytes_cmp(pairs[i].left, pairs[i].right) == 0;
      assert_int_equal(pairs[i].kind == CLI_PAIR_SAME, equal);
      same += equal;
    }
    if (strcmp(a, left) != 0 || strcmp(b, right) != 0) fail_msg("seed=%d", (int)seed);
    size_t most = common(lines_a, split(left, lines_a), lines_b, split(right, lines_b));
    if (same < most) fail_msg("seed=%d: %zu the same, not %zu", (int)seed, same, most);
  }
  weft__arena_free(&arena);
}

/* Of very long texts only the ends are compared, and nothing is lost. */
static void long_texts_are_paired_by_their_ends(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  cli_pair *pairs;
  size_t count;
  char *left = calloc(1, 40000), *right = calloc(1, 40000);
  strcpy(left, "first\n");
  strcpy(right, "first\n");
  for (int i = 0; i < 5000; i++) {
    strcpy(left + 6 + i * 4, "abc\n");
    strcpy(right + 6 + i * 4, i % 2 ? "abc\n" : "xyz\n");
  }
  weft__arena_init(&arena, &mem);
  assert_int_equal(cli_pairs(&arena, text(left), text(right), &pairs, &count), WEFT_OK);
  assert_int_equal(count, 5001);
  assert_int_equal(pairs[0].kind, CLI_PAIR_SAME);
  assert_int_equal(pairs[1].kind, CLI_PAIR_CHANGED);
  assert_int_equal(pairs[5000].kind, CLI_PAIR_SAME);
  weft__arena_free(&arena);
  free(left);
  free(right);
}

/* --- rows --- */

static void rows_at_80_columns(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  cli_pair pair = {CLI_PAIR_CHANGED, {NULL, 0}, {NULL, 0}};
  cli_row *rows;
  size_t count;
  char wide[200] = "x";
  for (int i = 0; i < 20; i++) strcat(wide, "\xe6\x97\xa5");
  weft__arena_init(&arena, &mem);
  assert_int_equal(cli_column_width(80), 38);
  pair.left = text(wide);
  pair.right = text("short");
  assert_int_equal(cli_rows(&arena, &pair, 1, 80, &rows, &count), WEFT_OK);
  assert_int_equal(count, 2);
  assert_int_equal(rows[0].mark, '|');
  assert_int_equal(rows[0].left_width, 37); /* the next one would be in the gutter */
  assert_int_equal(rows[1].left_width, 4);
  assert_int_equal(rows[1].mark, '|');
  assert_int_equal(rows[1].right.len, 0);
  weft__arena_free(&arena);
}

static void rows_fit_and_lose_nothing(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  for (uint64_t seed = 1; seed <= 3000; seed++) {
    test_rng rng = test_rng_of(seed);
    char left[TEXT_MAX] = "", right[TEXT_MAX] = "", a[TEXT_MAX] = "", b[TEXT_MAX] = "";
    for (size_t k = test_rng_below(&rng, 60); k > 0; k--)
      strcat(left, bits[test_rng_below(&rng, 8)]);
    for (size_t k = test_rng_below(&rng, 60); k > 0; k--)
      strcat(right, bits[test_rng_below(&rng, 8)]);
    cli_pair pair = {CLI_PAIR_CHANGED, text(left), text(right)};
    cli_row *rows;
    size_t count;
    unsigned width = 8 + (unsigned)test_rng_below(&rng, 80);
    weft__arena_reset(&arena);
    assert_int_equal(cli_rows(&arena, &pair, 1, width, &rows, &count), WEFT_OK);
    assert_true(count >= 1);
    for (size_t i = 0; i < count; i++) {
      unsigned column = cli_column_width(width);
      assert_int_equal(rows[i].left_width, cli_text_width(rows[i].left));
      if (rows[i].left_width > column || cli_text_width(rows[i].right) > column) {
        fail_msg("seed=%d: row %zu is too wide", (int)seed, i);
      }
      assert_true(2 * column + CLI_GUTTER <= width);
      strncat(a, (const char *)rows[i].left.at, rows[i].left.len);
      strncat(b, (const char *)rows[i].right.at, rows[i].right.len);
    }
    if (strcmp(a, left) != 0 || strcmp(b, right) != 0) fail_msg("seed=%d", (int)seed);
  }
  weft__arena_free(&arena);
}

static void memory_may_end(void **state) {
  (void)state;
  weft_err err = WEFT_ENOMEM;
  for (size_t k = 1; err == WEFT_ENOMEM; k++) {
    test_fault_alloc f = {.fail_at = k};
    weft_alloc mem = test_fault_alloc_of(&f);
    weft_arena arena;
    cli_pair *pairs;
    cli_row *rows;
    size_t count;
    weft__arena_init(&arena, &mem);
    char left[3000] = "", right[3000] = "";
    for (int i = 0; i < 1000; i++) {
      strcat(left, i % 2 ? "a\n" : "b\n");
      strcat(right, i % 3 ? "a\n" : "b\n");
    }
    err = cli_pairs(&arena, text(left), text(right), &pairs, &count);
    if (err == WEFT_OK) err = cli_rows(&arena, pairs, count, 80, &rows, &count);
    weft__arena_free(&arena);
    assert_int_equal(f.live, 0);
  }
  assert_int_equal(err, WEFT_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(widths_of_characters),
      cmocka_unit_test(what_a_terminal_gets),
      cmocka_unit_test(what_fits),
      cmocka_unit_test(lines_are_paired),
      cmocka_unit_test(pairs_lose_nothing),
      cmocka_unit_test(long_texts_are_paired_by_their_ends),
      cmocka_unit_test(rows_at_80_columns),
      cmocka_unit_test(rows_fit_and_lose_nothing),
      cmocka_unit_test(memory_may_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

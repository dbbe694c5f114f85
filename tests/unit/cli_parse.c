/* The command line: options wherever they stand, values, letters, --, suggestions; random words
 * never do anything but parse or explain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/parse.h"
#include "tests/support/rng.h"

#define SEED 31

enum { words_max = 16 };

typedef struct parsed {
  weft_arena arena;
  cli_globals globals;
  cli_call call;
  int code;
  char error[256];
} parsed;

static void parse_words(parsed *p, const char *const *words, size_t count) {
  char *argv[words_max + 1] = {(char *)(uintptr_t) "weft"};
  assert_true(count <= words_max);
  for (size_t i = 0; i < count; i++) argv[i + 1] = (char *)(uintptr_t)words[i];
  memset(p, 0, sizeof *p);
  weft_alloc mem = weft_alloc_libc();
  weft__arena_init(&p->arena, &mem);
  p->code = cli_parse((int)count + 1, argv, &p->arena, &p->globals, &p->call.args, p->error,
                      sizeof p->error);
}

/* Parses words that single blanks part. */
static void parse(parsed *p, const char *line) {
  char copy[256];
  const char *words[words_max];
  size_t count = 0;
  snprintf(copy, sizeof copy, "%s", line);
  for (char *at = copy; *at && count < words_max;) {
    words[count++] = at;
    at += strcspn(at, " ");
    if (*at) *at++ = 0;
  }
  parse_words(p, words, count);
  weft__arena_free(&p->arena);
}

static void option_is(parsed *p, const char *name, const char *want) {
  weft_bytes value;
  assert_true(cli_option_get(&p->call, name, &value));
  assert_int_equal(weft_bytes_cmp(value, weft_bytes_str(want)), 0);
}

static void options_stand_anywhere(void **state) {
  (void)state;
  static const char *const lines[] = {
      "list exercises --limit 3 --json -q -v -v", "--limit 3 --json -q -vv list exercises",
      "-qvv --limit=3 list --json exercises", "--json list -vqv --limit 3 exercises",
      "list -q --json --limit=3 -v -v -- exercises"};
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
    parsed p;
    const char *words[words_max];
    char copy[128];
    size_t count = 0;
    snprintf(copy, sizeof copy, "%s", lines[i]);
    for (char *w = strtok(copy, " "); w; w = strtok(NULL, " ")) words[count++] = w;
    parse_words(&p, words, count);
    assert_int_equal(p.code, CLI_OK);
    assert_string_equal(p.call.args.command->name, "list");
    assert_true(p.globals.json && p.globals.quiet);
    assert_int_equal(p.globals.verbose, 2);
    option_is(&p, "limit", "3");
    assert_int_equal(p.call.args.arg_count, 1);
    weft__arena_free(&p.arena);
  }
}

static void letters_take_values(void **state) {
  (void)state;
  static const char *const forms[][5] = {{"-m", "some text", "set", "a/b", "c=1"},
                                         {"set", "a/b", "c=1", "-m", "some text"},
                                         {"-qmsome text", "set", "a/b", "c=1", "-v"},
                                         {"-qm", "some text", "set", "a/b", "c=1"},
                                         {"set", "--message=some text", "a/b", "c=1", "-q"}};
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
    parsed p;
    parse_words(&p, forms[i], 5);
    assert_int_equal(p.code, CLI_OK);
    option_is(&p, "message", "some text");
    assert_int_equal(p.call.args.arg_count, 2);
    weft__arena_free(&p.arena);
  }
}

static void after_two_dashes_all_are_arguments(void **state) {
  (void)state;
  parsed p;
  const char *words[] = {"set", "--", "a/b", "--json=x", "-m=1"};
  parse_words(&p, words, 5);
  assert_int_equal(p.code, CLI_OK);
  assert_int_equal(p.call.args.arg_count, 3);
  assert_false(p.globals.json);
  weft__arena_free(&p.arena);
}

static void mistakes_are_told(void **state) {
  (void)state;
  static const struct {
    const char *line, *want;
  } cases[] = {{"lst", "did you mean list?"},
               {"foo", "unknown command foo: see weft help"},
               {"gte", "did you mean get?"},
               {"role a admin", "this version has no weft role: "},
               {"stat", "did you mean status?"},
               {"list --limti=3", "did you mean --limit?"},
               {"list --jsom", "did you mean --json?"},
               {"list --limit", "needs a value"},
               {"list --json=1", "takes no value"},
               {"list -z", "see weft help list"},
               {"qqqqqqqq", "see weft help"},
               {"get", "usage: weft get DOC"},
               {"get a b c", "usage: weft get DOC"},
               {"set -m", "needs a value"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    parsed p;
    parse(&p, cases[i].line);
    assert_int_equal(p.code, CLI_USAGE);
    if (!strstr(p.error, cases[i].want)) fail_msg("%s: %s", cases[i].line, p.error);
  }
}

static void no_command_is_none(void **state) {
  (void)state;
  parsed p;
  parse(&p, "--help");
  assert_int_equal(p.code, CLI_OK);
  assert_null(p.call.args.command);
  assert_true(p.globals.help);
  parse(&p, "get -h");
  assert_int_equal(p.code, CLI_OK);
  assert_string_equal(p.call.args.command->name, "get");
}

/* Finding the command before its options are known rests on this. */
static void one_option_name_has_one_form(void **state) {
  (void)state;
  size_t count;
  const cli_command *table = cli_commands(&count);
  for (size_t i = 0; i <= count; i++) {
    const cli_option *list = i < count ? table[i].options : cli_global_options();
    for (const cli_option *a = list; a->name; a++)
      for (size_t k = 0; k <= i; k++) {
        const cli_option *other = k < count ? table[k].options : cli_global_options();
        for (const cli_option *b = other; b->name; b++) {
          if (strcmp(a->name, b->name) == 0) assert_int_equal(a->arg != NULL, b->arg != NULL);
          if (a->letter && a->letter == b->letter) assert_string_equal(a->name, b->name);
        }
      }
  }
}

static void any_words_parse_or_explain(void **state) {
  (void)state;
  static const char *const pieces[] = {"list", "set",  "a/b",   "c=1", "--",    "--json", "-q",
                                       "-m",   "-",    "",      "-5",  "--dir", "--dir=", "--limit",
                                       "-vvq", "--=x", "--lim", "-mq", "get",   "--help", "\xff"};
  test_rng rng = test_rng_of(SEED);
  for (int round = 0; round < 20000; round++) {
    const char *words[words_max];
    size_t count = (size_t)test_rng_below(&rng, 8);
    for (size_t i = 0; i < count; i++) words[i] = TEST_PICK(&rng, pieces);
    parsed p;
    parse_words(&p, words, count);
    if (p.code != CLI_OK) {
      assert_int_equal(p.code, CLI_USAGE);
      assert_true(p.error[0] != 0);
    }
    assert_true(p.call.args.arg_count + p.call.args.option_count <= count + 4);
    weft__arena_free(&p.arena);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(options_stand_anywhere),
      cmocka_unit_test(letters_take_values),
      cmocka_unit_test(after_two_dashes_all_are_arguments),
      cmocka_unit_test(mistakes_are_told),
      cmocka_unit_test(no_command_is_none),
      cmocka_unit_test(one_option_name_has_one_form),
      cmocka_unit_test(any_words_parse_or_explain),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

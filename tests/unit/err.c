/* Error codes and asserts: every code has a name and a text of its own; a failed assert tells the
 * handler what, where, and then ends the process. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "crdt/assert.h"
#include "crdt/err.h"

typedef struct code {
  int number;
  const char *name, *text;
} code;

static const code codes[] = {
#define CODE(name, number, text) {number, #name, text},
    WEFT_ERRORS(CODE)
#undef CODE
};
enum { CODES = sizeof codes / sizeof *codes };

static void codes_have_names(void **state) {
  (void)state;
  for (size_t i = 0; i < CODES; i++) {
    assert_string_equal(weft_err_name(codes[i].number), codes[i].name);
    assert_string_equal(weft_err_str(codes[i].number), codes[i].text);
    assert_true(codes[i].number <= 0);
    for (size_t k = 0; k < i; k++) {
      assert_int_not_equal(codes[i].number, codes[k].number);
      assert_string_not_equal(codes[i].text, codes[k].text);
    }
  }
}

static void other_numbers_have_none(void **state) {
  (void)state;
  const int others[] = {1, -9, -1000, INT32_MAX, INT32_MIN};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    assert_string_equal(weft_err_name(others[i]), "WEFT_?");
    assert_string_equal(weft_err_str(others[i]), "unknown error");
  }
}

static jmp_buf away;
static const char *failed_condition;
static int failed_line;

static void leave(const char *file, int line, const char *condition) {
  assert_non_null(strstr(file, "err.c"));
  failed_line = line;
  failed_condition = condition;
  longjmp(away, 1);
}

static void asserts_tell_the_handler(void **state) {
  (void)state;
  int line = __LINE__ + 4; /* of the one that fails */
  weft_set_assert_handler(leave);
  WEFT_ASSERT(line > 0);
  if (setjmp(away) == 0) {
    WEFT_ASSERT(line == -1);
    fail();
  }
  assert_int_equal(failed_line, line);
  assert_string_equal(failed_condition, "line == -1");
  weft_set_assert_handler(NULL);
}

static void asserts_end_the_process(void **state) {
  (void)state;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGABRT, SIG_DFL);
    WEFT_ASSERT(child != 0);
    _exit(0);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFSIGNALED(status));
  assert_int_equal(WTERMSIG(status), SIGABRT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(codes_have_names),
      cmocka_unit_test(other_numbers_have_none),
      cmocka_unit_test(asserts_tell_the_handler),
      cmocka_unit_test(asserts_end_the_process),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Documents in tests, written as people read them: paths as text, branches of logs as a table,
 * state and values as text that can be compared. */
#ifndef WEFT_TESTS_SCRIPT_H
#define WEFT_TESTS_SCRIPT_H

#include "crdt/doc.h"

/* Makes a path from text such as "/steps/@a/title": a segment that starts with @ is an element id.
 * Fails the running test when it is no path. Lies in `arena`. */
weft_path test_path(weft_arena *arena, const char *text);

/* Appends `path` in that form. */
void test_path_text(weft_buf *out, weft_path path);

enum { TEST_BRANCHES_MAX = 16, TEST_NO_PARENT = 255 };

/* Branches of logs, by local number.  A branch that forks off holds what its parent has up to seq
 * `fork`; its own changes come behind. */
typedef struct test_branch {
  uint8_t parent; /* TEST_NO_PARENT: the log's first branch */
  uint8_t log;    /* the real log, the same for parent and child */
  uint64_t fork;
} test_branch;

typedef struct test_branches {
  test_branch at[TEST_BRANCHES_MAX];
  size_t count;
} test_branches;

/* Makes `count` unrelated logs 0 .. count-1. */
test_branches test_branches_of(size_t count);

/* A lineage over `branches`, which must outlive it. */
weft_lineage test_lineage_of(const test_branches *branches);

/* Appends one line for each register with its siblings in a fixed order; claims are left out, as
 * which siblings keep theirs may depend on the order of arrival. */
void test_doc_text(weft_buf *out, const weft_doc *doc);

/* Appends one sibling as test_doc_text does. */
void test_sibling_text(weft_buf *out, const weft_sibling *s);

/* Appends a value as text: objects as {key:value,...}, arrays as [value,...]. */
void test_value_text(weft_buf *out, const weft_value *v);

/* Appends formatted text. */
void test_print(weft_buf *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Ends what was written with a NUL that does not count, and gives it as a string. */
const char *test_text(weft_buf *out);

#endif

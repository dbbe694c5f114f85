/* Known answers that stand in docs/: what the pages show is what the tests check. */
#ifndef WEFT_TESTS_DOCS_H
#define WEFT_TESTS_DOCS_H

#include "crdt/base.h"

/* Fails the running test unless `got` is what the block "```hex NAME" of docs/PAGE says: in each
 * line, hex up to the first two spaces; single spaces only part it. */
void test_assert_docs(weft_bytes got, const char *page, const char *name);

/* The same for text: the block "```text NAME", whose lines are joined. */
void test_assert_docs_text(weft_bytes got, const char *page, const char *name);

#endif

/* Hex text in tests: known answers are written as people publish them. */
#ifndef WEFT_TESTS_HEX_H
#define WEFT_TESTS_HEX_H

#include "crdt/base.h"

/* Decodes `text` into `out`; fails the running test when it is no hex or longer than `cap` bytes.
 * NULL text gives no bytes.  Gives the number of bytes. */
size_t test_hex(const char *text, uint8_t *out, size_t cap);

/* Fails the running test, printing both sides as hex, unless `got` is what `text` says. */
void test_assert_hex(weft_bytes got, const char *text);

#endif

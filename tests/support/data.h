/* Where shared test data lies: WEFT_TEST_DATA.  Tests that want it skip when it is missing. */
#ifndef WEFT_TESTS_DATA_H
#define WEFT_TESTS_DATA_H

#include "crdt/alloc.h"

/* Reads WEFT_TEST_DATA/`name` whole; a name ending in .gz is unpacked.  Gives malloc'ed bytes that
 * the caller frees through free((void *)at), with a NUL behind them; at is NULL when the variable
 * is unset or the file missing: then call test_skip_no_data(). */
weft_bytes test_data_read(const char *name);

/* Reads any file, as above. */
weft_bytes test_file_read(const char *path);

/* Writes a whole file; fails the running test when that cannot be. */
void test_file_write(const char *path, const void *at, size_t len);

/* The folder WEFT_TEST_DATA names, or NULL. */
const char *test_data_folder(void);

/* Prints "skipped: no WEFT_TEST_DATA" and marks the running cmocka test as skipped. Does not
 * return. */
void test_skip_no_data(void);

#endif

/* Copies a store as whoever copies its file does: everything the last commit left. */
#ifndef WEFT_TESTS_STORE_COPY_H
#define WEFT_TESTS_STORE_COPY_H

#include "store/store.h"

/* Puts all of `from` into `to`, which is empty.  Aborts on any error. */
void test_store_copy(weft_store *to, weft_store *from);

#endif

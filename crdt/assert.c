#include "crdt/assert.h"

#include <stdlib.h>

static weft_assert_handler assert_handler;

void weft_set_assert_handler(weft_assert_handler handler) { assert_handler = handler; }

void weft__assert_failed(const char *file, int line, const char *condition) {
  if (assert_handler) assert_handler(file, line, condition); /* defensive: tests set one */
  abort(); /* defensive: of a process that aborts nothing is counted */
}

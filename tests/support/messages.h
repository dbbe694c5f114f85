/* Bodies of frames: generated ones, and reading and writing one again, for laws and fuzzing. */
#ifndef WEFT_TESTS_MESSAGES_H
#define WEFT_TESTS_MESSAGES_H

#include "net/message.h"
#include "tests/support/rng.h"

enum { TEST_MESSAGE_KINDS = 17 };

/* Appends a generated body of one kind.  Lists and views lie in `arena`. */
void test_message_any(unsigned kind, test_rng *rng, weft_arena *arena, weft_buf *out);
/* Reads a body of one kind from `in` and appends what was understood. */
weft_err test_message_again(unsigned kind, weft_arena *arena, weft_bytes in, weft_buf *out);
/* How many fields a body of this kind must have, and how many it has. */
unsigned test_message_required(unsigned kind);
unsigned test_message_fields(unsigned kind);

#endif

/* Bodies of frames: the first byte says of which kind the rest is.  What is taken is written again,
 * and what was written again is taken as the same. */
#include "tests/fuzz/fuzz.h"
#include "tests/support/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_buf first, second;
  if (len == 0) return 0;
  unsigned kind = at[0] % TEST_MESSAGE_KINDS;
  weft__arena_init(&arena, &mem);
  weft__buf_init(&first, &mem, SIZE_MAX / 4);
  weft__buf_init(&second, &mem, SIZE_MAX / 4);
  weft_err err = test_message_again(kind, &arena, weft_bytes_of(at + 1, len - 1), &first);
  FUZZ_CHECK(err == WEFT_OK || err == WEFT_EMALFORMED);
  FUZZ_CHECK(arena.held <= (len + 4096) * 16);
  if (err == WEFT_OK) {
    FUZZ_CHECK(test_message_again(kind, &arena, weft__buf_view(&first), &second) == WEFT_OK);
    FUZZ_CHECK(weft_bytes_cmp(weft__buf_view(&first), weft__buf_view(&second)) == 0);
  }
  weft__buf_free(&first);
  weft__buf_free(&second);
  weft__arena_free(&arena);
  return 0;
}

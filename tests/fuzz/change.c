/* Changes from anywhere: every byte string has a state, a VALID one is what encode makes of it, and
 * a log context can be led through any of them. */
#include "crdt/change.h"
#include "crdt/limits.h"
#include "tests/fuzz/fuzz.h"

static void encodes_to_itself(weft_arena *arena, const weft_change *change) {
  weft_buf b;
  weft__buf_init(&b, &arena->mem, WEFT_CHANGE_LEN_MAX);
  FUZZ_CHECK(weft__change_encode(&b, arena, change) == WEFT_OK);
  FUZZ_CHECK(weft_bytes_cmp(weft__buf_view(&b), change->raw) == 0);
  weft__buf_free(&b);
}

/* Judges the change as the first of its log, and as one behind itself. */
static void is_judged(weft_arena *arena, const weft_change *change) {
  weft_log_context ctx = {.seq = 0};
  for (unsigned i = 0; i < 3; i++) {
    weft_change copy = *change;
    weft__change_judge(&ctx, &copy);
    FUZZ_CHECK(change->state == WEFT_CHANGE_VALID || copy.state == change->state);
    FUZZ_CHECK(copy.state == WEFT_CHANGE_VALID || copy.op_count == 0);
    FUZZ_CHECK(weft__log_context_advance(&ctx, arena, &copy) == WEFT_OK);
    if (i == 0 && copy.state == WEFT_CHANGE_INVALID) ctx.hlc = 0;
  }
  FUZZ_CHECK(ctx.seq == 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_change change;
  weft__arena_init(&arena, &mem);
  FUZZ_CHECK(weft__change_parse(&arena, weft_bytes_of(at, len), &change) == WEFT_OK);
  FUZZ_CHECK(arena.held < 400 * len + 8192); /* an op of 2 bytes takes 72, and blocks double */
  if (change.state == WEFT_CHANGE_VALID) encodes_to_itself(&arena, &change);
  is_judged(&arena, &change);
  weft__arena_free(&arena);
  return 0;
}

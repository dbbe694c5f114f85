/* Chunks from anywhere: what decodes encodes again to a chunk of the same changes. */
#include "crdt/chunk.h"
#include "tests/fuzz/fuzz.h"

static void comes_back(weft_arena *arena, const weft_run *runs, size_t count) {
  weft_buf b;
  weft_run *back = NULL;
  size_t back_count = 0;
  weft__buf_init(&b, &arena->mem, 64u << 20);
  FUZZ_CHECK(weft__chunk_encode(&b, &arena->mem, runs, count, WEFT_CHUNK_LIVE) == WEFT_OK);
  FUZZ_CHECK(weft__chunk_decode(arena, weft__buf_view(&b), &back, &back_count) == WEFT_OK);
  FUZZ_CHECK(back_count == count);
  for (size_t r = 0; r < count; r++) {
    FUZZ_CHECK(back[r].count == runs[r].count && back[r].first == runs[r].first);
    for (size_t i = 0; i < runs[r].count; i++) {
      FUZZ_CHECK(weft_bytes_cmp(back[r].changes[i], runs[r].changes[i]) == 0);
    }
  }
  weft__buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_run *runs = NULL;
  weft_run_head *heads = NULL;
  size_t count = 0, head_count = 0;
  weft__arena_init(&arena, &mem);
  weft_err err = weft__chunk_decode(&arena, weft_bytes_of(at, len), &runs, &count);
  FUZZ_CHECK(err == WEFT_OK || err == WEFT_EMALFORMED || err == WEFT_EVERSION ||
             err == WEFT_ELIMIT);
  weft_err head_err = weft__chunk_heads(&arena, weft_bytes_of(at, len), &heads, &head_count);
  FUZZ_CHECK(err != WEFT_OK || (head_err == WEFT_OK && head_count == count));
  FUZZ_CHECK(arena.held < 32u << 20); /* what stays: the changes, views of them, the heads */
  if (err == WEFT_OK) comes_back(&arena, runs, count);
  weft__arena_free(&arena);
  return 0;
}

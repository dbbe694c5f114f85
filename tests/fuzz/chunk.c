/* Chunks from anywhere: what decodes encodes again to a chunk of the same changes, and what columns
 * tell of a change is what its bytes say. */
#include "crdt/chunk.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/changes.h"

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

static void briefs_agree(weft_arena *arena, weft_bytes in, size_t count) {
  weft_chunk_codec *codec;
  weft_run *runs = NULL;
  size_t run_count = 0;
  bool known;
  FUZZ_CHECK(weft__chunk_codec_new(&codec, &arena->mem) == WEFT_OK);
  FUZZ_CHECK(weft__chunk_decode_briefly(codec, arena, in, &runs, &run_count) == WEFT_OK);
  FUZZ_CHECK(run_count == count);
  for (size_t r = 0; r < count; r++) {
    for (size_t i = 0; i < runs[r].count; i++) {
      FUZZ_CHECK(test_brief_true(arena, runs[r].changes[i], &runs[r].briefs[i], &known));
    }
  }
  weft__chunk_codec_free(codec);
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
  if (err == WEFT_OK) briefs_agree(&arena, weft_bytes_of(at, len), count);
  weft__arena_free(&arena);
  return 0;
}

/* Values from anywhere: what is decoded encodes to the same bytes, and the scan's bounds hold. */
#include "crdt/limits.h"
#include "crdt/value.h"
#include "tests/fuzz/fuzz.h"

static void scalar_run(weft_bytes in) {
  size_t len = weft__scalar_len(in);
  FUZZ_CHECK(len <= in.len);
  weft_value v;
  if (weft__scalar_decode(in, &v) != WEFT_OK) {
    FUZZ_CHECK(len == 0 || len < in.len);
    return;
  }
  FUZZ_CHECK(len == in.len);
  weft_alloc mem = weft_alloc_libc();
  weft_buf b;
  weft__buf_init(&b, &mem, in.len);
  weft__scalar_encode(&b, &v);
  FUZZ_CHECK(weft__buf_err(&b) == WEFT_OK);
  FUZZ_CHECK(weft_bytes_cmp(weft__buf_view(&b), in) == 0);
  weft__buf_free(&b);
}

static void tree_run(weft_bytes in) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  weft_value v;
  weft_err checked = weft__msgpack_check(in, WEFT_JSON_DEPTH_MAX, SIZE_MAX);
  weft_err err = weft__value_decode(&arena, in, &v);
  FUZZ_CHECK(err == WEFT_OK || err == WEFT_EMALFORMED || err == WEFT_ELIMIT);
  FUZZ_CHECK(checked == WEFT_OK || err == checked);
  FUZZ_CHECK(arena.held < 80 * in.len + 4096); /* blocks double, so some of it is not in use */
  if (err == WEFT_OK) {
    weft_buf b;
    weft__buf_init(&b, &mem, in.len);
    FUZZ_CHECK(weft_value_check(&v) == WEFT_OK);
    FUZZ_CHECK(weft_value_equal(&v, &v));
    weft__value_encode(&b, &v);
    FUZZ_CHECK(weft__buf_err(&b) == WEFT_OK);
    FUZZ_CHECK(weft_bytes_cmp(weft__buf_view(&b), in) == 0);
    weft__buf_free(&b);
  }
  weft__arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
  weft_bytes in = weft_bytes_of(at, len);
  scalar_run(in);
  tree_run(in);
  weft_err narrow = weft__msgpack_check(in, 2, 10), wide = weft__msgpack_check(in, 64, SIZE_MAX);
  FUZZ_CHECK(narrow != WEFT_OK || wide == WEFT_OK); /* wider bounds take at least as much */
  return 0;
}

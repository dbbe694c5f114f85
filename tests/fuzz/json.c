/* JSON from anywhere: what is taken can be stored, and writing and reading it again changes
 * nothing, on one line or several. */
#include "crdt/json.h"
#include "tests/fuzz/fuzz.h"

/* Writes `v`, reads it back, and compares the canonical bytes. */
static void round_trip(weft_arena *arena, const weft_value *v, weft_bytes canonical,
                       unsigned indent) {
  weft_alloc mem = weft_alloc_libc();
  weft_buf text, again;
  weft__buf_init(&text, &mem, SIZE_MAX / 4);
  weft__buf_init(&again, &mem, SIZE_MAX / 4);
  if (indent > 0) {
    weft_json_write_pretty(&text, v, indent);
  } else {
    weft_json_write(&text, v);
  }
  FUZZ_CHECK(weft__buf_err(&text) == WEFT_OK);
  weft_value back;
  FUZZ_CHECK(weft_json_parse(arena, weft__buf_view(&text), &back, NULL) == WEFT_OK);
  weft__value_encode(&again, &back);
  FUZZ_CHECK(weft__buf_err(&again) == WEFT_OK);
  FUZZ_CHECK(weft_bytes_cmp(weft__buf_view(&again), canonical) == 0);
  weft__buf_free(&text);
  weft__buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  weft_value v;
  weft_json_error why;
  weft_err err = weft_json_parse(&arena, weft_bytes_of(at, len), &v, &why);
  FUZZ_CHECK(err == WEFT_OK || err == WEFT_EMALFORMED || err == WEFT_ELIMIT);
  FUZZ_CHECK((why.text[0] == 0) == (err == WEFT_OK));
  if (err == WEFT_OK) {
    weft_buf canonical;
    weft__buf_init(&canonical, &mem, SIZE_MAX / 4);
    FUZZ_CHECK(weft_value_check(&v) == WEFT_OK);
    weft__value_encode(&canonical, &v);
    FUZZ_CHECK(weft__buf_err(&canonical) == WEFT_OK);
    round_trip(&arena, &v, weft__buf_view(&canonical), 0);
    round_trip(&arena, &v, weft__buf_view(&canonical), 3);
    weft__buf_free(&canonical);
  }
  weft__arena_free(&arena);
  return 0;
}

/* Bodies of presence statements: whatever comes, memory is bounded and what is taken keeps the
 * rules. */
#include "crdt/limits.h"
#include "net/presence.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_presence_item *items;
  size_t count;
  if (len > WEFT_PRESENCE_BODY_LEN_MAX) return 0;
  weft__arena_init(&arena, &mem);
  weft_err err = weft__presence_body_read(&arena, weft_bytes_of(at, len), &items, &count);
  FUZZ_CHECK(err == WEFT_OK || err == WEFT_EMALFORMED);
  FUZZ_CHECK(arena.held < 80 * len + 8192);
  if (err == WEFT_OK) {
    FUZZ_CHECK(count <= WEFT_PRESENCE_SESSIONS_MAX);
    for (size_t i = 0; i < count; i++) {
      const weft_presence_item *a = &items[i];
      FUZZ_CHECK(a->session.len > 0 && a->session.len <= WEFT_PRESENCE_SESSION_LEN_MAX);
      FUZZ_CHECK(weft_value_check(&a->state) == WEFT_OK);
      int order = i ? weft_bytes_cmp(items[i - 1].doc, a->doc) : -1;
      if (i && order == 0) order = weft_bytes_cmp(items[i - 1].session, a->session);
      FUZZ_CHECK(order < 0);
    }
  }
  weft__arena_free(&arena);
  return 0;
}

/* Paths, pointers and document names from anywhere: what is taken is what we would have made.
 * The first byte chooses which of the three the rest is. */
#include <string.h>

#include "crdt/path.h"
#include "crdt/value.h"
#include "tests/fuzz/fuzz.h"

static void path_run(weft_path p) {
  if (weft_path_check(p) != WEFT_OK) return;
  weft_alloc mem = weft_alloc_libc();
  weft_buf b;
  weft__buf_init(&b, &mem, p.len + 1);
  size_t at = 0, steps = 0;
  weft_step step;
  while (weft_path_next(p, &at, &step)) {
    FUZZ_CHECK(weft_bytes_cmp(weft_path_head(p, steps), weft__buf_view(&b)) == 0);
    FUZZ_CHECK(weft_path_under(weft__buf_view(&b), p));
    weft_path_push(&b, step);
    steps++;
  }
  FUZZ_CHECK(weft__buf_err(&b) == WEFT_OK);
  FUZZ_CHECK(weft_bytes_cmp(weft__buf_view(&b), p) == 0);
  FUZZ_CHECK(weft_path_depth(p) == steps);
  FUZZ_CHECK(weft_path_last(p, &step) == (steps > 0));
  FUZZ_CHECK(weft_path_under(weft_path_parent(p), p) == (steps > 0));
  weft__buf_free(&b);
}

static void pointer_run(weft_bytes pointer) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  weft_buf b;
  weft__buf_init(&b, &mem, pointer.len + 1);
  weft_bytes *tokens;
  size_t count;
  if (weft_pointer_split(&arena, pointer, &tokens, &count) == WEFT_OK) {
    for (size_t i = 0; i < count; i++) weft_pointer_push(&b, tokens[i]);
    FUZZ_CHECK(weft__buf_err(&b) == WEFT_OK);
    FUZZ_CHECK(weft_bytes_cmp(weft__buf_view(&b), pointer) == 0);
  }
  weft__buf_free(&b);
  weft__arena_free(&arena);
}

/* A name that is taken is safe to show on one line and to use as a relative file name. */
static void name_run(weft_bytes name) {
  if (weft_document_name_check(name) != WEFT_OK) return;
  FUZZ_CHECK(name.len > 2 && name.len < 256 && weft__utf8_ok(name));
  FUZZ_CHECK(name.at[0] != '/' && name.at[name.len - 1] != '/');
  bool slash = false;
  for (size_t i = 0; i < name.len; i++) {
    FUZZ_CHECK(name.at[i] >= 0x20 && name.at[i] != 0x7f);
    slash = slash || name.at[i] == '/';
    if (name.at[i] == '.' && i + 2 < name.len && name.at[i + 1] == '.' && name.at[i + 2] == '/') {
      FUZZ_CHECK(i > 0 && name.at[i - 1] != '/');
    }
  }
  FUZZ_CHECK(slash);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
  if (len == 0) return 0;
  weft_bytes rest = weft_bytes_of(at + 1, len - 1);
  if (at[0] == 'p') path_run(rest);
  if (at[0] == 'j') pointer_run(rest);
  if (at[0] == 'n') name_run(rest);
  return 0;
}

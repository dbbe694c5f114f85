/* How small the bare values become. */
#include <zstd.h>

#include "bench/probe.h"

enum { LEVEL = 3 };

weft_err probe_zstd_len(bench *b, probe_items items, uint64_t *len) {
  weft_buf plain, packed;
  weft__buf_init(&plain, &b->mem, SIZE_MAX);
  weft__buf_init(&packed, &b->mem, SIZE_MAX);
  for (size_t i = 0; i < items.count; i++) weft__buf_put(&plain, items.at[i].value);
  size_t cap = ZSTD_compressBound(plain.len);
  uint8_t *room = weft__buf_room(&packed, cap);
  weft_err err = weft__buf_err(&plain);
  if (err == WEFT_OK) err = weft__buf_err(&packed);
  if (err == WEFT_OK) {
    *len = ZSTD_compress(room, cap, plain.at, plain.len, LEVEL);
    if (ZSTD_isError(*len)) err = bench_fail(b, WEFT_EIO, "zstd failed");
  }
  weft__buf_free(&plain);
  weft__buf_free(&packed);
  return err;
}

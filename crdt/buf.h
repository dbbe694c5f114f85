/* Writing and reading bytes: a growable buffer, and a cursor that cannot leave its view.
 *
 * A weft_buf remembers its first failure: writers after it do nothing, and weft__buf_err() tells at
 * the end, so codecs need no check per field.  A weft_rd likewise fails once and for ever. */
#ifndef WEFT_BUF_H
#define WEFT_BUF_H

#include "alloc.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_buf {
  weft_alloc mem;
  uint8_t *at;
  size_t len; /* bytes written */
  size_t cap; /* bytes held */
  size_t max; /* refuses to grow beyond: WEFT_ELIMIT; never less than `cap` */
  weft_err err;
} weft_buf;

/* Prepares an empty buffer of at most `max` bytes. Takes nothing yet. */
void weft__buf_init(weft_buf *b, const weft_alloc *mem, size_t max);
/* Gives memory back; the buffer is empty and usable again. */
void weft__buf_free(weft_buf *b);
/* Empties it, forgets an error, keeps memory. */
void weft__buf_reset(weft_buf *b);
/* What the inline functions below call where there is more to do than the usual. */
uint8_t *weft__buf_room_slow(weft_buf *b, size_t len);
void weft__buf_varint_slow(weft_buf *b, uint64_t v);
/* Appends room for `len` bytes and gives it uninitialised, or NULL after a failure. */
static inline uint8_t *weft__buf_room(weft_buf *b, size_t len) {
  if (b->err != WEFT_OK || len == 0 || len > b->cap - b->len) return weft__buf_room_slow(b, len);
  uint8_t *at = b->at + b->len;
  b->len += len;
  return at;
}
/* Appends `len` bytes. */
static inline void weft__buf_put_raw(weft_buf *b, const void *at, size_t len) {
  if (len == 0) return;
  uint8_t *to = weft__buf_room(b, len);
  if (to) __builtin_memcpy(to, at, len); /* public headers include no library's */
}
/* Appends a view. */
static inline void weft__buf_put(weft_buf *b, weft_bytes bytes) {
  weft__buf_put_raw(b, bytes.at, bytes.len);
}
/* Appends a byte. */
static inline void weft__buf_u8(weft_buf *b, uint8_t v) {
  uint8_t *to = weft__buf_room(b, 1);
  if (to) *to = v;
}
/* Big-endian. */
void weft__buf_u16(weft_buf *b, uint16_t v);
void weft__buf_u32(weft_buf *b, uint32_t v);
void weft__buf_u64(weft_buf *b, uint64_t v);
/* Minimal LEB128: 7 bits a byte, least significant first, at most 10 bytes. */
static inline void weft__buf_varint(weft_buf *b, uint64_t v) {
  if (v < 0x80) {
    weft__buf_u8(b, (uint8_t)v);
  } else {
    weft__buf_varint_slow(b, v);
  }
}
/* Zigzag, then varint. */
void weft__buf_svarint(weft_buf *b, int64_t v);
/* A varint of the length, then the bytes. */
static inline void weft__buf_block(weft_buf *b, weft_bytes bytes) {
  weft__buf_varint(b, bytes.len);
  weft__buf_put(b, bytes);
}
/* WEFT_OK, or the first failure: WEFT_ENOMEM or WEFT_ELIMIT. */
weft_err weft__buf_err(const weft_buf *b);
/* Makes `err` the failure of `b` unless it already has one; for writers that refuse what to write.
 */
void weft__buf_fail(weft_buf *b, weft_err err);
/* A view of what was written, good until the next write. */
weft_bytes weft__buf_view(const weft_buf *b);

typedef struct weft_rd {
  const uint8_t *at;
  const uint8_t *end;
  bool failed;
} weft_rd;

/* A reader of a view. */
static inline weft_rd weft__rd(weft_bytes bytes) {
  weft_rd r = {bytes.at, bytes.at ? bytes.at + bytes.len : bytes.at, false};
  return r;
}
/* Bytes not read yet; 0 after a failure. */
static inline size_t weft__rd_left(const weft_rd *r) {
  return r->failed ? 0 : (size_t)(r->end - r->at);
}
/* True when nothing failed and every byte was read. */
static inline bool weft__rd_done(const weft_rd *r) { return !r->failed && r->at == r->end; }
/* Each reads one item; on failure gives 0 or an empty view and stays failed. */
static inline uint8_t weft__rd_u8(weft_rd *r) {
  if (!r->failed && r->at != r->end) return *r->at++;
  r->failed = true;
  return 0;
}
uint16_t weft__rd_u16(weft_rd *r);
uint32_t weft__rd_u32(weft_rd *r);
uint64_t weft__rd_u64(weft_rd *r);
uint64_t weft__rd_varint_slow(weft_rd *r);
/* Refuses an encoding that is not minimal. */
static inline uint64_t weft__rd_varint(weft_rd *r) {
  if (!r->failed && r->at != r->end && *r->at < 0x80) return *r->at++;
  return weft__rd_varint_slow(r);
}
int64_t weft__rd_svarint(weft_rd *r);
/* The next `len` bytes, as a view. */
static inline weft_bytes weft__rd_take(weft_rd *r, size_t len) {
  if (r->failed || len > (size_t)(r->end - r->at)) {
    r->failed = true;
    return weft_bytes_of(NULL, 0);
  }
  weft_bytes view = weft_bytes_of(r->at, len);
  if (len) r->at += len;
  return view;
}
/* A varint of the length, then as many bytes, as a view. */
static inline weft_bytes weft__rd_block(weft_rd *r) {
  uint64_t len = weft__rd_varint(r);
  if (len > SIZE_MAX) r->failed = true;
  return weft__rd_take(r, (size_t)len);
}
weft_id weft__rd_id(weft_rd *r);

/* Bytes that weft__buf_varint writes for `v`. */
size_t weft__varint_len(uint64_t v);

#ifdef __cplusplus
}
#endif
#endif

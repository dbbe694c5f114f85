#include "crdt/buf.h"

#include <string.h>

void weft__buf_init(weft_buf *b, const weft_alloc *mem, size_t max) {
  memset(b, 0, sizeof *b);
  b->mem = *mem;
  b->max = max;
}

void weft__buf_free(weft_buf *b) {
  b->mem.free(b->mem.ctx, b->at);
  b->at = NULL;
  b->len = b->cap = 0;
  b->err = WEFT_OK;
}

void weft__buf_reset(weft_buf *b) {
  b->len = 0;
  b->err = WEFT_OK;
}

static void buf_grow(weft_buf *b, size_t need) {
  size_t cap = b->cap ? b->cap : 256;
  if (cap > b->max) cap = b->max;
  while (cap < need) cap = cap > b->max / 2 ? b->max : cap * 2;
  uint8_t *at = b->mem.grow(b->mem.ctx, b->at, cap);
  if (!at) {
    b->err = WEFT_ENOMEM;
    return;
  }
  b->at = at;
  b->cap = cap;
}

uint8_t *weft__buf_room_slow(weft_buf *b, size_t len) {
  if (b->err != WEFT_OK) return NULL;
  if (len > b->max - b->len) {
    b->err = WEFT_ELIMIT;
    return NULL;
  }
  if (b->len + len > b->cap || !b->at) {
    buf_grow(b, b->len + len);
    if (b->err != WEFT_OK) return NULL;
  }
  uint8_t *at = b->at + b->len;
  b->len += len;
  return at;
}

static void buf_big_endian(weft_buf *b, uint64_t v, unsigned len) {
  uint8_t *to = weft__buf_room(b, len);
  if (!to) return;
  for (unsigned i = 0; i < len; i++) to[i] = (uint8_t)(v >> (8 * (len - 1 - i)));
}

void weft__buf_u16(weft_buf *b, uint16_t v) { buf_big_endian(b, v, 2); }
void weft__buf_u32(weft_buf *b, uint32_t v) { buf_big_endian(b, v, 4); }
void weft__buf_u64(weft_buf *b, uint64_t v) {
  uint8_t *to = weft__buf_room(b, 8);
  if (!to) return;
  to[0] = (uint8_t)(v >> 56);
  to[1] = (uint8_t)(v >> 48);
  to[2] = (uint8_t)(v >> 40);
  to[3] = (uint8_t)(v >> 32);
  to[4] = (uint8_t)(v >> 24);
  to[5] = (uint8_t)(v >> 16);
  to[6] = (uint8_t)(v >> 8);
  to[7] = (uint8_t)v;
}

void weft__buf_varint_slow(weft_buf *b, uint64_t v) {
  uint8_t bytes[10];
  size_t len = 0;
  while (v >= 0x80) {
    bytes[len++] = (uint8_t)(v | 0x80);
    v >>= 7;
  }
  bytes[len++] = (uint8_t)v;
  weft__buf_put_raw(b, bytes, len);
}

void weft__buf_svarint(weft_buf *b, int64_t v) {
  weft__buf_varint(b, ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0));
}

weft_err weft__buf_err(const weft_buf *b) { return b->err; }

void weft__buf_fail(weft_buf *b, weft_err err) {
  if (b->err == WEFT_OK) b->err = err;
}

weft_bytes weft__buf_view(const weft_buf *b) { return weft_bytes_of(b->at, b->len); }

static uint64_t rd_big_endian(weft_rd *r, unsigned len) {
  weft_bytes b = weft__rd_take(r, len);
  uint64_t v = 0;
  for (size_t i = 0; i < b.len; i++) v = v << 8 | b.at[i];
  return v;
}

uint16_t weft__rd_u16(weft_rd *r) { return (uint16_t)rd_big_endian(r, 2); }
uint32_t weft__rd_u32(weft_rd *r) { return (uint32_t)rd_big_endian(r, 4); }
/* Spelled out: compilers make one instruction of this, and of a loop eight. */
uint64_t weft__rd_u64(weft_rd *r) {
  const uint8_t *b = weft__rd_take(r, 8).at;
  if (!b) return 0;
  return (uint64_t)b[0] << 56 | (uint64_t)b[1] << 48 | (uint64_t)b[2] << 40 | (uint64_t)b[3] << 32 |
         (uint64_t)b[4] << 24 | (uint64_t)b[5] << 16 | (uint64_t)b[6] << 8 | b[7];
}

uint64_t weft__rd_varint_slow(weft_rd *r) {
  uint64_t v = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    uint8_t byte = weft__rd_u8(r);
    if (r->failed) return 0;
    if (shift == 63 && byte > 1) break; /* over 64 bits */
    v |= (uint64_t)(byte & 0x7f) << shift;
    if (byte & 0x80) continue;
    if (byte == 0 && shift > 0) break; /* a shorter form exists */
    return v;
  }
  r->failed = true;
  return 0;
}

int64_t weft__rd_svarint(weft_rd *r) {
  uint64_t v = weft__rd_varint(r);
  return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

weft_id weft__rd_id(weft_rd *r) {
  weft_id id = {{0}};
  weft_bytes b = weft__rd_take(r, sizeof id.b);
  if (b.len) memcpy(id.b, b.at, sizeof id.b);
  return id;
}

size_t weft__varint_len(uint64_t v) {
  size_t len = 1;
  while (v >= 0x80) {
    v >>= 7;
    len++;
  }
  return len;
}

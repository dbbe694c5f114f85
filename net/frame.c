/* Layout and padding of transport records.
 *
 * Invariant: what weft__record_write makes, weft__record_read takes; every other length is refused,
 * and so is every byte of padding that is not zero, so that padding carries nothing. */
#include "net/frame.h"

#include <string.h>

#include "crdt/assert.h"

enum { small_max = 1024, small_step = 64, large_step = 256 };

bool weft__frame_is_bulk(uint8_t type) {
  return type == WEFT_FRAME_AUTH_REC || type == WEFT_FRAME_CHANGES || type == WEFT_FRAME_ACK ||
         type == WEFT_FRAME_GOSSIP || type == WEFT_FRAME_EXPRESS || type == WEFT_FRAME_FORK;
}

bool weft__frame_may_interrupt(uint8_t type) {
  return (type >= WEFT_FRAME_PING && type <= WEFT_FRAME_BYE) || type == WEFT_FRAME_PRESENCE ||
         type == WEFT_FRAME_EXPRESS;
}

size_t weft__record_len(size_t body_len) {
  WEFT_ASSERT(body_len <= WEFT_RECORD_BODY_MAX);
  size_t len = WEFT_RECORD_HEAD_LEN + body_len;
  size_t step = len <= small_max ? small_step : large_step;
  size_t padded = (len + step - 1) / step * step;
  return padded < WEFT_RECORD_PLAIN_MAX ? padded : WEFT_RECORD_PLAIN_MAX;
}

bool weft__record_len_ok(size_t len) {
  if (len == 0 || len > WEFT_RECORD_PLAIN_MAX) return false;
  return len == WEFT_RECORD_PLAIN_MAX || len % (len <= small_max ? small_step : large_step) == 0;
}

void weft__record_write(uint8_t *out, uint8_t type, bool more, weft_bytes body) {
  size_t used = WEFT_RECORD_HEAD_LEN + body.len;
  out[0] = type;
  out[1] = more ? WEFT_RECORD_MORE : 0;
  out[2] = (uint8_t)(body.len >> 8);
  out[3] = (uint8_t)body.len;
  if (body.len) memcpy(out + WEFT_RECORD_HEAD_LEN, body.at, body.len);
  memset(out + used, 0, weft__record_len(body.len) - used);
}

static bool all_zero(const uint8_t *at, size_t len) {
  uint8_t any = 0;
  for (size_t i = 0; i < len; i++) any |= at[i];
  return any == 0;
}

weft_err weft__record_read(weft_bytes plain, weft_record_view *out) {
  if (!weft__record_len_ok(plain.len)) return WEFT_EPROTO;
  size_t body_len = (size_t)plain.at[2] << 8 | plain.at[3];
  size_t used = WEFT_RECORD_HEAD_LEN + body_len;
  if (used > plain.len) return WEFT_EPROTO;
  if (plain.at[1] & ~WEFT_RECORD_MORE) return WEFT_EPROTO;
  out->type = plain.at[0];
  out->more = plain.at[1] == WEFT_RECORD_MORE;
  out->body = weft_bytes_of(plain.at + WEFT_RECORD_HEAD_LEN, body_len);
  if (out->more && (body_len == 0 || !weft__frame_is_bulk(out->type))) return WEFT_EPROTO;
  if (out->more && out->type == WEFT_FRAME_EXPRESS) return WEFT_EPROTO;
  return all_zero(plain.at + used, plain.len - used) ? WEFT_OK : WEFT_EPROTO;
}

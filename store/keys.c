#include "store/keys.h"

#include <string.h>

void weft__dbkey_reset(weft_dbkey *k) { k->len = 0; }

void weft__dbkey_add(weft_dbkey *k, weft_bytes bytes) {
  if (bytes.len > sizeof k->b - k->len) {
    memset(k->b + k->len, 0, sizeof k->b - k->len);
    k->len = sizeof k->b;
    return;
  }
  if (bytes.len) memcpy(k->b + k->len, bytes.at, bytes.len);
  k->len += bytes.len;
}

static void dbkey_big_endian(weft_dbkey *k, uint64_t v, size_t len) {
  uint8_t b[8];
  for (size_t i = 0; i < len; i++) b[i] = (uint8_t)(v >> (8 * (len - 1 - i)));
  weft__dbkey_add(k, weft_bytes_of(b, len));
}

void weft__dbkey_add_u32(weft_dbkey *k, uint32_t v) { dbkey_big_endian(k, v, 4); }
void weft__dbkey_add_u64(weft_dbkey *k, uint64_t v) { dbkey_big_endian(k, v, 8); }

weft_bytes weft__dbkey_view(const weft_dbkey *k) { return weft_bytes_of(k->b, k->len); }

weft_bytes weft__dbkey_u32(weft_dbkey *k, uint32_t a) {
  k->len = 0;
  weft__dbkey_add_u32(k, a);
  return weft__dbkey_view(k);
}

weft_bytes weft__dbkey_u64(weft_dbkey *k, uint64_t a) {
  k->len = 0;
  weft__dbkey_add_u64(k, a);
  return weft__dbkey_view(k);
}

weft_bytes weft__dbkey_u32_u32(weft_dbkey *k, uint32_t a, uint32_t b) {
  k->len = 0;
  weft__dbkey_add_u32(k, a);
  weft__dbkey_add_u32(k, b);
  return weft__dbkey_view(k);
}

weft_bytes weft__dbkey_u32_u64(weft_dbkey *k, uint32_t a, uint64_t b) {
  k->len = 0;
  weft__dbkey_add_u32(k, a);
  weft__dbkey_add_u64(k, b);
  return weft__dbkey_view(k);
}

weft_bytes weft__dbkey_u32_bytes(weft_dbkey *k, uint32_t a, weft_bytes b) {
  k->len = 0;
  weft__dbkey_add_u32(k, a);
  weft__dbkey_add(k, b);
  return weft__dbkey_view(k);
}

weft_bytes weft__dbkey_after(weft_dbkey *k, weft_bytes prefix) {
  size_t len = prefix.len < sizeof k->b ? prefix.len : sizeof k->b;
  if (len) memmove(k->b, prefix.at, len);
  while (len && k->b[len - 1] == 0xff) len--;
  if (len) k->b[len - 1]++;
  k->len = len;
  return weft__dbkey_view(k);
}

bool weft__key_has_prefix(weft_bytes key, weft_bytes prefix) {
  if (key.len < prefix.len) return false;
  return prefix.len == 0 || memcmp(key.at, prefix.at, prefix.len) == 0;
}

/* Keyed BLAKE2b in counter mode.  The counter is the only state, so a draw cannot fail. */
#include "net/draw.h"

#include <string.h>

#include "crdt/assert.h"

enum { block_len = 64 };

void weft__draw_init(weft_draw *d, const weft_crypto *crypto, const uint8_t seed[32]) {
  d->crypto = crypto;
  memcpy(d->seed, seed, sizeof d->seed);
  d->next = 0;
}

void weft__draw_bytes(weft_draw *d, void *out, size_t len) {
  static const uint8_t personal[16] = "weft-draw-v1";
  uint8_t counter[8], block[block_len];
  WEFT_ASSERT(len <= sizeof block);
  for (size_t i = 0; i < sizeof counter; i++) counter[i] = (uint8_t)(d->next >> (56 - 8 * i));
  d->next++;
  weft_bytes part = weft_bytes_of(counter, sizeof counter);
  d->crypto->hash(block, sizeof block, weft_bytes_of(d->seed, sizeof d->seed), NULL, personal,
                  &part, 1);
  memcpy(out, block, len);
  d->crypto->wipe(block, sizeof block);
}

uint64_t weft__draw_between(weft_draw *d, uint64_t low, uint64_t high) {
  uint8_t bytes[8];
  uint64_t any = 0;
  WEFT_ASSERT(low <= high);
  weft__draw_bytes(d, bytes, sizeof bytes);
  for (size_t i = 0; i < sizeof bytes; i++) any = any << 8 | bytes[i];
  uint64_t span = high - low;
  return span == UINT64_MAX ? any : low + any % (span + 1); /* defensive: nobody wants 2^64 */
}

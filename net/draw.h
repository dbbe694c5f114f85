/* Random numbers of a core: drawn from a seed given by its owner, so that equal seeds and inputs
 * make equal bytes.  Block i is BLAKE2b of i under the seed as key. */
#ifndef WEFT_DRAW_H
#define WEFT_DRAW_H

#include "crdt/crypto.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_draw {
  const weft_crypto *crypto;
  uint8_t seed[32]; /* secret: the holder wipes it */
  uint64_t next;
} weft_draw;

/* Copies the seed.  `crypto` must outlive it. */
void weft__draw_init(weft_draw *d, const weft_crypto *crypto, const uint8_t seed[32]);

/* Fills `len` bytes, at most 64. */
void weft__draw_bytes(weft_draw *d, void *out, size_t len);

/* A number in low..high, both inclusive; low <= high. */
uint64_t weft__draw_between(weft_draw *d, uint64_t low, uint64_t high);

#ifdef __cplusplus
}
#endif
#endif

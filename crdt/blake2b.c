/* BLAKE2b, spelled out so that a compiler keeps the sixteen words apart.
 *
 * Invariants: no branch and no address depends on what is hashed, only on its length.
 * Happy path: blocks of 128 bytes are mixed in as they fill up; the last one is filled with zeros.
 * Failure modes: none; nothing allocates. */
#include "crdt/blake2b.h"

#include <string.h>

#include "crdt/assert.h"

enum { block_len = 128, words = 16, state_words = 8, out_len_max = 64 };

static const uint64_t start[state_words] = {
    0x6a09e667f3bcc908u, 0xbb67ae8584caa73bu, 0x3c6ef372fe94f82bu, 0xa54ff53a5f1d36f1u,
    0x510e527fade682d1u, 0x9b05688c2b3e6c1fu, 0x1f83d9abfb41bd6bu, 0x5be0cd19137e2179u,
};

#define ROTATE(x, bits) ((x) >> (bits) | (x) << (64 - (bits)))

#define MIX(a, b, c, d, x, y)                                                                      \
  do {                                                                                             \
    (a) += (b) + (x);                                                                              \
    (d) = ROTATE((d) ^ (a), 32);                                                                   \
    (c) += (d);                                                                                    \
    (b) = ROTATE((b) ^ (c), 24);                                                                   \
    (a) += (b) + (y);                                                                              \
    (d) = ROTATE((d) ^ (a), 16);                                                                   \
    (c) += (d);                                                                                    \
    (b) = ROTATE((b) ^ (c), 63);                                                                   \
  } while (0)

/* One round takes the words of the block in the order given (RFC 7693, section 2.7). */
#define ROUND(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, sa, sb, sc, sd, se, sf)                      \
  do {                                                                                             \
    MIX(v0, v4, v8, vc, m[s0], m[s1]);                                                             \
    MIX(v1, v5, v9, vd, m[s2], m[s3]);                                                             \
    MIX(v2, v6, va, ve, m[s4], m[s5]);                                                             \
    MIX(v3, v7, vb, vf, m[s6], m[s7]);                                                             \
    MIX(v0, v5, va, vf, m[s8], m[s9]);                                                             \
    MIX(v1, v6, vb, vc, m[sa], m[sb]);                                                             \
    MIX(v2, v7, v8, vd, m[sc], m[sd]);                                                             \
    MIX(v3, v4, v9, ve, m[se], m[sf]);                                                             \
  } while (0)

/* Compilers make one load of this. */
static uint64_t word_at(const uint8_t *b) {
  return (uint64_t)b[0] | (uint64_t)b[1] << 8 | (uint64_t)b[2] << 16 | (uint64_t)b[3] << 24 |
         (uint64_t)b[4] << 32 | (uint64_t)b[5] << 40 | (uint64_t)b[6] << 48 | (uint64_t)b[7] << 56;
}

/* Mixes a block into the state `h`; `total` bytes were hashed with it, and `last` is all ones for
 * the last block. */
static void block_mix(uint64_t h[state_words], const uint8_t block[block_len], uint64_t total,
                      uint64_t last) {
  uint64_t m[words];
  for (size_t i = 0; i < words; i++) m[i] = word_at(block + 8 * i);
  uint64_t v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3], v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
  uint64_t v8 = start[0], v9 = start[1], va = start[2], vb = start[3];
  uint64_t vc = start[4] ^ total, vd = start[5], ve = start[6] ^ last, vf = start[7];
  ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
  ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4);
  ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8);
  ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13);
  ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9);
  ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11);
  ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10);
  ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5);
  ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0);
  ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
  h[0] ^= v0 ^ v8;
  h[1] ^= v1 ^ v9;
  h[2] ^= v2 ^ va;
  h[3] ^= v3 ^ vb;
  h[4] ^= v4 ^ vc;
  h[5] ^= v5 ^ vd;
  h[6] ^= v6 ^ ve;
  h[7] ^= v7 ^ vf;
}

void weft__blake2b(uint8_t *out, size_t len, const uint8_t *salt, const uint8_t *personal,
                   const weft_bytes *parts, size_t count) {
  uint64_t h[state_words];
  uint8_t block[block_len];
  size_t used = 0;
  uint64_t total = 0;
  WEFT_ASSERT(len > 0 && len <= out_len_max);
  memcpy(h, start, sizeof h);
  h[0] ^= UINT64_C(0x01010000) | len; /* not a tree, no key, and the length of the hash */
  for (size_t i = 0; i < 2; i++) {
    if (salt) h[4 + i] ^= word_at(salt + 8 * i);
    if (personal) h[6 + i] ^= word_at(personal + 8 * i);
  }
  for (size_t i = 0; i < count; i++) {
    weft_bytes left = parts[i];
    while (left.len > 0) {
      if (used == block_len) { /* more follows, so it is not the last one */
        block_mix(h, block, total, 0);
        used = 0;
      }
      size_t part = block_len - used < left.len ? block_len - used : left.len;
      memcpy(block + used, left.at, part);
      used += part;
      total += part;
      left = weft_bytes_of(left.at + part, left.len - part);
    }
  }
  memset(block + used, 0, block_len - used);
  block_mix(h, block, total, UINT64_MAX);
  for (size_t i = 0; i < len; i++) out[i] = (uint8_t)(h[i / 8] >> (8 * (i % 8)));
}

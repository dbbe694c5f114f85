/* The crypto door: a table of the primitives weft uses, so that the simulator can put a cheap
 * keyed-hash stand-in in their place.  Production uses weft_crypto_sodium().
 *
 * All functions are pure except `random`.  Sizes are fixed by the arrays.  Secrets are wiped by the
 * caller with `wipe`. */
#ifndef WEFT_CRYPTO_H
#define WEFT_CRYPTO_H

#include "err.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_sig {
  uint8_t b[64];
} weft_sig;

typedef struct weft_key { /* a 32-byte secret or public curve key */
  uint8_t b[32];
} weft_key;

enum { WEFT_TAG_LEN = 16 }; /* of an AEAD */

typedef struct weft_crypto {
  const char *name;

  /* BLAKE2b of the concatenation of `count` parts, `len` 16..64 bytes out.  `key` may be empty, up
   * to 64 bytes.  `salt` and `personal` are 16 bytes or NULL (then zeros). */
  void (*hash)(uint8_t *out, size_t len, weft_bytes key, const uint8_t *salt,
               const uint8_t *personal, const weft_bytes *parts, size_t count);
  /* SHA-256; the Noise vectors want it, nothing else does. */
  void (*sha256)(uint8_t out[32], const weft_bytes *parts, size_t count);
  /* SipHash-2-4 with 128-bit output. */
  void (*siphash128)(uint8_t out[16], const uint8_t key[16], weft_bytes in);
  /* Derives subkey `idx` of `key` (libsodium crypto_kdf, context "weft-v1\0"). */
  void (*kdf)(weft_key *out, const weft_key *key, uint64_t idx);

  /* Ed25519.  The seed is the secret; `pub` is derived from it. */
  void (*sign_keypair)(weft_id *pub, const weft_key *seed);
  void (*sign)(weft_sig *sig, const weft_key *seed, const weft_id *pub, weft_bytes message);
  bool (*verify)(const weft_sig *sig, const weft_id *pub, weft_bytes message) WEFT_MUST_USE;

  /* X25519.  dh is false when the shared secret is all zeros: a handshake fails then. */
  void (*dh_public)(weft_key *pub, const weft_key *secret);
  bool (*dh)(weft_key *shared, const weft_key *secret, const weft_key *pub) WEFT_MUST_USE;

  /* ChaCha20-Poly1305 (IETF).  seal writes in.len + WEFT_TAG_LEN bytes; open writes
   * in.len - WEFT_TAG_LEN and is false when the tag is wrong.  `out` may equal `in.at`. */
  void (*seal)(uint8_t *out, const weft_key *key, const uint8_t nonce[12], weft_bytes ad,
               weft_bytes in);
  bool (*open)(uint8_t *out, const weft_key *key, const uint8_t nonce[12], weft_bytes ad,
               weft_bytes in) WEFT_MUST_USE;

  /* Constant time. */
  bool (*equal)(const void *a, const void *b, size_t len);
  void (*wipe)(void *at, size_t len);
} weft_crypto;

/* Gives the table filled by libsodium, or NULL when libsodium cannot start.  Static.  Any thread
 * after the first call has returned. */
WEFT_API const weft_crypto *weft_crypto_sodium(void);

/* Fills `len` bytes from the operating system's generator.  For the edges only: cores are handed
 * their entropy.  Any thread. */
WEFT_API void weft_random(void *out, size_t len);

#ifdef __cplusplus
}
#endif
#endif

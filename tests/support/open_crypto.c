#include "tests/support/open_crypto.h"

#include <string.h>

/* FNV-1a, spread over `len` bytes. */
static void open_hash(uint8_t *out, size_t len, weft_bytes key, const uint8_t *salt,
                      const uint8_t *personal, const weft_bytes *parts, size_t count) {
  (void)key;
  (void)salt;
  (void)personal;
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t i = 0; i < count; i++) {
    for (size_t j = 0; j < parts[i].len; j++) h = (h ^ parts[i].at[j]) * 0x100000001b3u;
  }
  for (size_t i = 0; i < len; i++) out[i] = (uint8_t)(h >> (8 * (i % 8)));
}

static void open_sha256(uint8_t out[32], const weft_bytes *parts, size_t count) {
  open_hash(out, 32, weft_bytes_of(NULL, 0), NULL, NULL, parts, count);
}

static void open_siphash128(uint8_t out[16], const uint8_t key[16], weft_bytes in) {
  (void)key;
  open_hash(out, 16, weft_bytes_of(NULL, 0), NULL, NULL, &in, 1);
}

static void open_kdf(weft_key *out, const weft_key *key, uint64_t idx) {
  *out = *key;
  out->b[0] = (uint8_t)(out->b[0] + idx);
}

static void open_sign_keypair(weft_id *pub, const weft_key *seed) {
  memcpy(pub->b, seed->b, sizeof pub->b);
}

static void open_sign(weft_sig *sig, const weft_key *seed, const weft_id *pub, weft_bytes message) {
  (void)seed;
  (void)pub;
  open_hash(sig->b, sizeof sig->b, weft_bytes_of(NULL, 0), NULL, NULL, &message, 1);
}

static bool open_verify(const weft_sig *sig, const weft_id *pub, weft_bytes message) {
  (void)sig;
  (void)pub;
  (void)message;
  return true;
}

static void open_dh_public(weft_key *pub, const weft_key *secret) { *pub = *secret; }

static bool open_dh(weft_key *shared, const weft_key *secret, const weft_key *pub) {
  for (size_t i = 0; i < sizeof shared->b; i++) shared->b[i] = secret->b[i] ^ pub->b[i];
  return true;
}

static void open_seal(uint8_t *out, const weft_key *key, const uint8_t nonce[12], weft_bytes ad,
                      weft_bytes in) {
  (void)key;
  (void)nonce;
  (void)ad;
  if (in.len) memmove(out, in.at, in.len);
  memset(out + in.len, 0, WEFT_TAG_LEN);
}

static bool open_open(uint8_t *out, const weft_key *key, const uint8_t nonce[12], weft_bytes ad,
                      weft_bytes in) {
  (void)key;
  (void)nonce;
  (void)ad;
  if (in.len < WEFT_TAG_LEN) return false;
  memmove(out, in.at, in.len - WEFT_TAG_LEN);
  return true;
}

static bool open_equal(const void *a, const void *b, size_t len) {
  (void)a;
  (void)b;
  (void)len;
  return true;
}

static void open_wipe(void *at, size_t len) { memset(at, 0, len); }

const weft_crypto *test_open_crypto(void) {
  static const weft_crypto table = {
      .name = "open",
      .hash = open_hash,
      .sha256 = open_sha256,
      .siphash128 = open_siphash128,
      .kdf = open_kdf,
      .sign_keypair = open_sign_keypair,
      .sign = open_sign,
      .verify = open_verify,
      .dh_public = open_dh_public,
      .dh = open_dh,
      .seal = open_seal,
      .open = open_open,
      .equal = open_equal,
      .wipe = open_wipe,
  };
  return &table;
}

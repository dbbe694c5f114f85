/* The crypto door, filled by libsodium: the only file that includes <sodium.h>.
 *
 * Every function adapts one libsodium call to the fixed sizes of weft_crypto.  Inputs that
 * libsodium refuses for their size cannot come here through the types; what is left is asserted,
 * because it would be our own bug.  Nothing allocates. */
#include "crdt/crypto.h"

#include <sodium.h>
#include <string.h>

#include "crdt/assert.h"

_Static_assert(sizeof(weft_sig) == crypto_sign_BYTES, "signature size");
_Static_assert(sizeof(weft_key) == crypto_sign_SEEDBYTES, "signing seed size");
_Static_assert(sizeof(weft_key) == crypto_scalarmult_BYTES, "curve key size");
_Static_assert(sizeof(weft_key) == crypto_aead_chacha20poly1305_ietf_KEYBYTES, "AEAD key size");
_Static_assert(sizeof(weft_key) == crypto_kdf_KEYBYTES, "master key size");
_Static_assert(WEFT_TAG_LEN == crypto_aead_chacha20poly1305_ietf_ABYTES, "AEAD tag size");

static void sodium_hash(uint8_t *out, size_t len, weft_bytes key, const uint8_t *salt,
                        const uint8_t *personal, const weft_bytes *parts, size_t count) {
  WEFT_ASSERT(len >= crypto_generichash_blake2b_BYTES_MIN);
  WEFT_ASSERT(len <= crypto_generichash_blake2b_BYTES_MAX);
  WEFT_ASSERT(key.len <= crypto_generichash_blake2b_KEYBYTES_MAX);
  crypto_generichash_blake2b_state state;
  int failed =
      crypto_generichash_blake2b_init_salt_personal(&state, key.at, key.len, len, salt, personal);
  WEFT_ASSERT(failed == 0);
  for (size_t i = 0; i < count; i++) {
    crypto_generichash_blake2b_update(&state, parts[i].at, parts[i].len);
  }
  crypto_generichash_blake2b_final(&state, out, len);
  if (key.len) sodium_memzero(&state, sizeof state);
}

static void sodium_sha256(uint8_t out[32], const weft_bytes *parts, size_t count) {
  crypto_hash_sha256_state state;
  crypto_hash_sha256_init(&state);
  for (size_t i = 0; i < count; i++) crypto_hash_sha256_update(&state, parts[i].at, parts[i].len);
  crypto_hash_sha256_final(&state, out);
}

static void sodium_siphash128(uint8_t out[16], const uint8_t key[16], weft_bytes in) {
  crypto_shorthash_siphashx24(out, in.at, in.len, key);
}

static void sodium_kdf(weft_key *out, const weft_key *key, uint64_t idx) {
  static const char context[crypto_kdf_CONTEXTBYTES] = "weft-v1";
  int failed = crypto_kdf_derive_from_key(out->b, sizeof out->b, idx, context, key->b);
  WEFT_ASSERT(failed == 0);
}

/* libsodium's secret key is the seed and the public key in one. */
static void sodium_sign_keypair(weft_id *pub, const weft_key *seed) {
  uint8_t secret[crypto_sign_SECRETKEYBYTES];
  crypto_sign_seed_keypair(pub->b, secret, seed->b);
  sodium_memzero(secret, sizeof secret);
}

static void sodium_sign(weft_sig *sig, const weft_key *seed, const weft_id *pub,
                        weft_bytes message) {
  uint8_t secret[crypto_sign_SECRETKEYBYTES];
  memcpy(secret, seed->b, sizeof seed->b);
  memcpy(secret + sizeof seed->b, pub->b, sizeof pub->b);
  crypto_sign_detached(sig->b, NULL, message.at, message.len, secret);
  sodium_memzero(secret, sizeof secret);
}

static bool sodium_verify(const weft_sig *sig, const weft_id *pub, weft_bytes message) {
  return crypto_sign_verify_detached(sig->b, message.at, message.len, pub->b) == 0;
}

static void sodium_dh_public(weft_key *pub, const weft_key *secret) {
  crypto_scalarmult_base(pub->b, secret->b);
}

static bool sodium_dh(weft_key *shared, const weft_key *secret, const weft_key *pub) {
  return crypto_scalarmult(shared->b, secret->b, pub->b) == 0;
}

static void sodium_seal(uint8_t *out, const weft_key *key, const uint8_t nonce[12], weft_bytes ad,
                        weft_bytes in) {
  crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, in.at, in.len, ad.at, ad.len, NULL, nonce,
                                            key->b);
}

static bool sodium_open(uint8_t *out, const weft_key *key, const uint8_t nonce[12], weft_bytes ad,
                        weft_bytes in) {
  return crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, in.at, in.len, ad.at, ad.len,
                                                   nonce, key->b) == 0;
}

static bool sodium_equal(const void *a, const void *b, size_t len) {
  return sodium_memcmp(a, b, len) == 0;
}

static void sodium_wipe(void *at, size_t len) { sodium_memzero(at, len); }

static const weft_crypto table = {
    .name = "libsodium",
    .hash = sodium_hash,
    .sha256 = sodium_sha256,
    .siphash128 = sodium_siphash128,
    .kdf = sodium_kdf,
    .sign_keypair = sodium_sign_keypair,
    .sign = sodium_sign,
    .verify = sodium_verify,
    .dh_public = sodium_dh_public,
    .dh = sodium_dh,
    .seal = sodium_seal,
    .open = sodium_open,
    .equal = sodium_equal,
    .wipe = sodium_wipe,
};

const weft_crypto *weft_crypto_sodium(void) {
  if (sodium_init() < 0) return NULL; /* defensive: only a machine without entropy comes here */
  return &table;
}

void weft_random(void *out, size_t len) {
  int failed = sodium_init();
  WEFT_ASSERT(failed >= 0);
  randombytes_buf(out, len);
}

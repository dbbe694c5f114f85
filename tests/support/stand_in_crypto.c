#include "tests/support/stand_in_crypto.h"

#include <string.h>

static const weft_crypto *real(void) { return weft_crypto_sodium(); }

/* --- hashing: sixteen bytes a step, in two lanes that meet at the end --- */

enum { step_len = 16 };

typedef struct mixer {
  uint64_t a, b, len;
  uint8_t tail[step_len];
  size_t tail_len;
} mixer;

static uint64_t word_at(const uint8_t *at) {
  return (uint64_t)at[0] | (uint64_t)at[1] << 8 | (uint64_t)at[2] << 16 | (uint64_t)at[3] << 24 |
         (uint64_t)at[4] << 32 | (uint64_t)at[5] << 40 | (uint64_t)at[6] << 48 |
         (uint64_t)at[7] << 56;
}

static uint64_t mix(uint64_t z) {
  z = (z ^ z >> 32) * 0xd6e8feb86659fd93u;
  return z ^ z >> 29;
}

static void mixer_step(mixer *m, const uint8_t at[step_len]) {
  uint64_t a = (m->a ^ word_at(at)) * 0xd6e8feb86659fd93u;
  uint64_t b = (m->b ^ word_at(at + 8)) * 0x9e3779b97f4a7c15u;
  m->a = a ^ a >> 32;
  m->b = b ^ b >> 29;
}

static void mixer_add(mixer *m, const void *at, size_t len) {
  const uint8_t *bytes = at;
  m->len += len;
  if (m->tail_len > 0) {
    size_t part = step_len - m->tail_len < len ? step_len - m->tail_len : len;
    if (part) memcpy(m->tail + m->tail_len, bytes, part);
    m->tail_len += part;
    if (m->tail_len < step_len) return;
    mixer_step(m, m->tail);
    m->tail_len = 0;
    bytes += part;
    len -= part;
  }
  for (; len >= step_len; len -= step_len, bytes += step_len) mixer_step(m, bytes);
  if (len) memcpy(m->tail, bytes, len);
  m->tail_len = len;
}

static void mixer_end(mixer *m, uint8_t *out, size_t len) {
  for (size_t i = m->tail_len; i < step_len; i++) m->tail[i] = 0;
  mixer_step(m, m->tail);
  m->a = mix(m->a ^ m->len);
  for (size_t i = 0; i < len; i += 8) {
    uint8_t eight[8];
    m->a = mix(m->a + (m->b << 23 | m->b >> 41) + i);
    m->b = mix(m->b ^ m->a);
    for (unsigned k = 0; k < 8; k++) eight[k] = (uint8_t)(m->a >> (8 * k));
    memcpy(out + i, eight, len - i < 8 ? len - i : 8);
  }
}

static void stand_in_hash(uint8_t *out, size_t len, weft_bytes key, const uint8_t *salt,
                          const uint8_t *personal, const weft_bytes *parts, size_t count) {
  mixer m = {.a = len, .b = key.len};
  mixer_add(&m, key.at, key.len);
  if (salt) mixer_add(&m, salt, 16);
  m.b += salt != NULL;
  if (personal) mixer_add(&m, personal, 16);
  m.a += personal != NULL;
  for (size_t i = 0; i < count; i++) mixer_add(&m, parts[i].at, parts[i].len);
  mixer_end(&m, out, len);
}

static void stand_in_siphash128(uint8_t out[16], const uint8_t key[16], weft_bytes in) {
  mixer m = {.a = 1};
  mixer_add(&m, key, 16);
  mixer_add(&m, in.at, in.len);
  mixer_end(&m, out, 16);
}

static void hash_two(uint8_t *out, size_t len, const char *what, weft_bytes a, weft_bytes b) {
  weft_bytes parts[2] = {a, b};
  stand_in_hash(out, len, weft_bytes_str(what), NULL, NULL, parts, 2);
}

static void stand_in_sign_keypair(weft_id *pub, const weft_key *seed) {
  hash_two(pub->b, sizeof pub->b, "sign key", weft_bytes_of(seed->b, sizeof seed->b),
           weft_bytes_of(NULL, 0));
}

static void stand_in_sign(weft_sig *sig, const weft_key *seed, const weft_id *pub,
                          weft_bytes message) {
  (void)seed;
  hash_two(sig->b, sizeof sig->b, "signature", weft_bytes_of(pub->b, sizeof pub->b), message);
}

static bool stand_in_verify(const weft_sig *sig, const weft_id *pub, weft_bytes message) {
  weft_sig right;
  stand_in_sign(&right, NULL, pub, message);
  return memcmp(right.b, sig->b, sizeof right.b) == 0;
}

static void stand_in_dh_public(weft_key *pub, const weft_key *secret) {
  hash_two(pub->b, sizeof pub->b, "curve key", weft_bytes_of(secret->b, sizeof secret->b),
           weft_bytes_of(NULL, 0));
}

static bool stand_in_dh(weft_key *shared, const weft_key *secret, const weft_key *pub) {
  static const weft_key zeros = {{0}};
  weft_key own;
  stand_in_dh_public(&own, secret);
  bool first = memcmp(own.b, pub->b, sizeof own.b) < 0;
  const weft_key *low = first ? &own : pub, *high = first ? pub : &own;
  hash_two(shared->b, sizeof shared->b, "shared", weft_bytes_of(low->b, sizeof low->b),
           weft_bytes_of(high->b, sizeof high->b));
  return memcmp(pub->b, zeros.b, sizeof zeros.b) != 0;
}

static void tag_of(uint8_t tag[WEFT_TAG_LEN], const weft_key *key, const uint8_t nonce[12],
                   weft_bytes ad, weft_bytes text) {
  uint8_t of_text[16], of_rest[16], small[16] = {0};
  for (size_t i = 0; i < 12; i++) small[i] = nonce[i];
  for (size_t i = 0; i < 16; i++) small[i] ^= key->b[16 + i];
  stand_in_siphash128(of_text, key->b, text);
  stand_in_siphash128(of_rest, small, ad);
  for (size_t i = 0; i < WEFT_TAG_LEN; i++) tag[i] = of_text[i] ^ of_rest[i];
}

static void stand_in_seal(uint8_t *out, const weft_key *key, const uint8_t nonce[12], weft_bytes ad,
                          weft_bytes in) {
  uint8_t tag[WEFT_TAG_LEN];
  tag_of(tag, key, nonce, ad, in);
  if (in.len) memmove(out, in.at, in.len);
  memcpy(out + in.len, tag, sizeof tag);
}

static bool stand_in_open(uint8_t *out, const weft_key *key, const uint8_t nonce[12], weft_bytes ad,
                          weft_bytes in) {
  uint8_t tag[WEFT_TAG_LEN];
  if (in.len < WEFT_TAG_LEN) return false;
  weft_bytes text = weft_bytes_of(in.at, in.len - WEFT_TAG_LEN);
  tag_of(tag, key, nonce, ad, text);
  if (memcmp(tag, in.at + text.len, sizeof tag) != 0) return false;
  if (text.len) memmove(out, text.at, text.len);
  return true;
}

void test_stand_in_crypto(weft_crypto *out) {
  *out = *real();
  out->name = "stand-in";
  out->hash = stand_in_hash;
  out->siphash128 = stand_in_siphash128;
  out->sign_keypair = stand_in_sign_keypair;
  out->sign = stand_in_sign;
  out->verify = stand_in_verify;
  out->dh_public = stand_in_dh_public;
  out->dh = stand_in_dh;
  out->seal = stand_in_seal;
  out->open = stand_in_open;
}

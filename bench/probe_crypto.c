/* Hashes, signatures and ciphers of libsodium alone, each measured for a moment. */
#include <sodium.h>
#include <string.h>

#include "bench/probe.h"

enum { SMALL_LEN = 96, LARGE_LEN = 64 << 10, MESSAGE_LEN = 120 };
#define MOMENT 0.05 /* seconds each */

typedef struct material {
  uint8_t large[LARGE_LEN];
  uint8_t sealed[LARGE_LEN + crypto_aead_chacha20poly1305_ietf_ABYTES];
  uint8_t pub[crypto_sign_PUBLICKEYBYTES];
  uint8_t secret[crypto_sign_SECRETKEYBYTES];
  uint8_t sig[crypto_sign_BYTES];
  uint8_t sum[32];
  uint8_t key[32];
} material;

static void hash_small(material *m) {
  crypto_generichash(m->sum, sizeof m->sum, m->large, SMALL_LEN, NULL, 0);
}

static void hash_large(material *m) {
  crypto_generichash(m->sum, sizeof m->sum, m->large, LARGE_LEN, NULL, 0);
}

static void sign(material *m) {
  crypto_sign_detached(m->sig, NULL, m->large, MESSAGE_LEN, m->secret);
}

static void verify(material *m) {
  m->sum[0] = (uint8_t)crypto_sign_verify_detached(m->sig, m->large, MESSAGE_LEN, m->pub);
}

static void seal(material *m) {
  static const uint8_t nonce[12] = {0};
  crypto_aead_chacha20poly1305_ietf_encrypt(m->sealed, NULL, m->large, LARGE_LEN, NULL, 0, NULL,
                                            nonce, m->key);
}

static void open_sealed(material *m) {
  static const uint8_t nonce[12] = {0};
  m->sum[0] = (uint8_t)crypto_aead_chacha20poly1305_ietf_decrypt(
      m->large, NULL, NULL, m->sealed, sizeof m->sealed, NULL, 0, nonce, m->key);
}

/* Seconds of one call, from as many as fit the moment. */
static double time_of(void (*work)(material *m), material *m) {
  double start = bench_now();
  double passed = 0;
  size_t done = 0;
  while (passed < MOMENT) {
    for (unsigned i = 0; i < 16; i++) work(m);
    done += 16;
    passed = bench_now() - start;
  }
  return passed / (double)done;
}

void probe_crypto_measure(probe_crypto *out) {
  material m;
  memset(&m, 0, sizeof m);
  crypto_sign_keypair(m.pub, m.secret);
  out->hash_small = time_of(hash_small, &m);
  out->hash_byte = time_of(hash_large, &m) / LARGE_LEN;
  out->sign = time_of(sign, &m);
  out->verify = time_of(verify, &m);
  out->seal_byte = time_of(seal, &m) / LARGE_LEN;
  out->open_byte = time_of(open_sealed, &m) / LARGE_LEN;
}

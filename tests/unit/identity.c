/* Keys from a seed, certificates, fingerprints: known answers made by another implementation, and
 * every way in which a certificate can be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/identity.h"
#include "tests/support/hex.h"
#include "tests/support/ids.h"
#include "tests/support/rng.h"

static weft_identity identity_of(uint8_t first) {
  weft_key seed;
  for (size_t i = 0; i < sizeof seed.b; i++) seed.b[i] = (uint8_t)(first + i);
  weft_identity id;
  weft_identity_derive(&id, weft_crypto_sodium(), &seed);
  return id;
}

static void derivation_known_answers(void **state) {
  (void)state;
  weft_identity id = identity_of(0);
  test_assert_hex(weft_bytes_of(id.seed.b, 32),
                  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
  test_assert_hex(weft_bytes_of(id.sign_seed.b, 32),
                  "090829ee23b95509ae74a396d183bab9d63609d1645f8da1954c350f2e9f192e");
  test_assert_hex(weft_bytes_of(id.device.b, 32),
                  "bb1b3002ff1ba3e0e49a64f870b51409223428897072778a339ee23777939fa5");
  test_assert_hex(weft_bytes_of(id.x_secret.b, 32),
                  "7ced713f1d4137b47690e60c3d248424b5c7b5d8bab8d7eaed9972839c9e787e");
  test_assert_hex(weft_bytes_of(id.x_public.b, 32),
                  "77e06b788ac81062fbf8c0c3725d2937bdc3588c5915a885659ddf3e44228554");
}

static void wipe_leaves_nothing(void **state) {
  (void)state;
  static const weft_identity zero;
  weft_identity id = identity_of(0);
  weft_identity_wipe(&id, weft_crypto_sodium());
  assert_memory_equal(&id, &zero, sizeof zero);
}

static void certificate_known_answer(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  weft_identity id = identity_of(0);
  weft_id space = test_id(7);
  weft_cert cert, back;
  uint8_t bytes[WEFT_CERT_LEN];
  weft_cert_sign(&cert, c, &id, &space);
  weft_cert_encode(bytes, &cert);
  test_assert_hex(weft_bytes_of(bytes, 32),
                  "bb1b3002ff1ba3e0e49a64f870b51409223428897072778a339ee23777939fa5");
  test_assert_hex(weft_bytes_of(bytes + 32, 64),
                  "f4a39bdf6fc4c98771758f1e2e27ca6310b70d6b74ed5bb14f92d79004ede3ab"
                  "a2b08723da57a160a8c512480df3f97a0f5c797aa462135dc1a1da84a8bc1b0c");
  assert_int_equal(weft_cert_decode(&back, weft_bytes_of(bytes, sizeof bytes)), WEFT_OK);
  assert_memory_equal(&back, &cert, sizeof cert);
  assert_int_equal(weft_cert_verify(&back, c, &space, &id.x_public), WEFT_OK);
  for (size_t len = 0; len < sizeof bytes; len++) {
    assert_int_equal(weft_cert_decode(&back, weft_bytes_of(bytes, len)), WEFT_EMALFORMED);
  }
}

static void certificate_refuses_what_it_does_not_say(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  weft_identity id = identity_of(0), other = identity_of(1);
  weft_id space = test_id(7), foreign = test_id(8);
  weft_cert cert;
  uint8_t bytes[WEFT_CERT_LEN];
  weft_cert_sign(&cert, c, &id, &space);
  assert_int_equal(weft_cert_verify(&cert, c, &foreign, &id.x_public), WEFT_EBADSIG);
  assert_int_equal(weft_cert_verify(&cert, c, &space, &other.x_public), WEFT_EBADSIG);
  weft_cert posed = cert;
  posed.device = other.device;
  assert_int_equal(weft_cert_verify(&posed, c, &space, &id.x_public), WEFT_EBADSIG);
  weft_cert_encode(bytes, &cert);
  for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
    weft_cert bad;
    bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    assert_int_equal(weft_cert_decode(&bad, weft_bytes_of(bytes, sizeof bytes)), WEFT_OK);
    assert_int_equal(weft_cert_verify(&bad, c, &space, &id.x_public), WEFT_EBADSIG);
    bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
}

static void fingerprint_known_answer(void **state) {
  (void)state;
  weft_identity id = identity_of(0);
  weft_fingerprint f;
  weft_fingerprint_of(&f, weft_crypto_sodium(), &id.device);
  assert_string_equal(f.text, "gyld-flpu-nsra-dtpy-ci6i-guwx-6pbh-s2y5");
  assert_string_equal(f.words, "gimik gapot zidos pamad sulum damus matif tizug");
}

static void fingerprints_differ(void **state) {
  (void)state;
  weft_fingerprint last = {{0}, {0}};
  test_rng rng = test_rng_of(11);
  for (int i = 0; i < 200; i++) {
    weft_id device;
    weft_fingerprint f;
    test_rng_fill(&rng, device.b, sizeof device.b);
    weft_fingerprint_of(&f, weft_crypto_sodium(), &device);
    assert_int_equal(strlen(f.text), 39);
    assert_int_equal(strlen(f.words), 47);
    assert_string_not_equal(f.text, last.text);
    assert_string_not_equal(f.words, last.words);
    last = f;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(derivation_known_answers),
      cmocka_unit_test(wipe_leaves_nothing),
      cmocka_unit_test(certificate_known_answer),
      cmocka_unit_test(certificate_refuses_what_it_does_not_say),
      cmocka_unit_test(fingerprint_known_answer),
      cmocka_unit_test(fingerprints_differ),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The libsodium filling of the crypto door: known answers, and the Wycheproof verdicts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "crdt/crypto.h"
#include "tests/support/data.h"
#include "tests/support/hex.h"
#include "tests/support/rng.h"

static const weft_bytes none = {NULL, 0};

static void count_up(uint8_t *at, size_t len) {
  for (size_t i = 0; i < len; i++) at[i] = (uint8_t)i;
}

static void hash_known_answers(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  uint8_t out[64], key[64], salt[16], personal[16] = "weft-log-v1";
  weft_bytes abc[] = {weft_bytes_str("a"), none, weft_bytes_str("bc")};
  weft_bytes hello = weft_bytes_str("hello world");
  count_up(key, sizeof key);
  memset(salt, 's', sizeof salt);
  c->hash(out, 64, none, NULL, NULL, abc, 3);
  test_assert_hex(weft_bytes_of(out, 64),
                  "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
                  "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923");
  c->hash(out, 32, none, NULL, NULL, abc, 3);
  test_assert_hex(weft_bytes_of(out, 32),
                  "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
  c->hash(out, 32, weft_bytes_of(key, 32), salt, personal, &hello, 1);
  test_assert_hex(weft_bytes_of(out, 32),
                  "fb89ba7dcdb587b06355e6e67dc15555be732f20c31bc7a094a5026a9084b6ee");
  c->hash(out, 16, weft_bytes_of(key, 64), NULL, NULL, &hello, 1);
  test_assert_hex(weft_bytes_of(out, 16), "8522c6e0db04638d1e3e2a90aa21085e");
  memset(personal, 'p', sizeof personal);
  c->hash(out, 32, none, NULL, personal, &hello, 1);
  test_assert_hex(weft_bytes_of(out, 32),
                  "71bd5542019cf3bcaeed44740375220cb0a7a6f557dc756128eebd459149c95d");
  c->sha256(out, abc, 3);
  test_assert_hex(weft_bytes_of(out, 32),
                  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void siphash_known_answers(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  uint8_t out[16], key[16], in[15];
  count_up(key, sizeof key);
  count_up(in, sizeof in);
  c->siphash128(out, key, weft_bytes_of(in, sizeof in));
  test_assert_hex(weft_bytes_of(out, 16), "5493e99933b0a8117e08ec0f97cfc3d9");
  c->siphash128(out, key, none);
  test_assert_hex(weft_bytes_of(out, 16), "a3817f04ba25a8e66df67214c7550293");
}

static void kdf_known_answers(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  weft_key key, out;
  count_up(key.b, sizeof key.b);
  c->kdf(&out, &key, 1);
  test_assert_hex(weft_bytes_of(out.b, 32),
                  "090829ee23b95509ae74a396d183bab9d63609d1645f8da1954c350f2e9f192e");
  c->kdf(&out, &key, 2);
  test_assert_hex(weft_bytes_of(out.b, 32),
                  "7ced713f1d4137b47690e60c3d248424b5c7b5d8bab8d7eaed9972839c9e787e");
  c->kdf(&out, &key, UINT64_C(1) << 63);
  test_assert_hex(weft_bytes_of(out.b, 32),
                  "2360553b7ab4b952c0080f7d5584b825f514b857c3af97c16005ff06a88d073f");
}

/* RFC 8032 section 7.1, tests 1 and 2. */
static void signing_known_answers(void **state) {
  (void)state;
  static const struct {
    const char *seed, *pub, *message, *sig;
  } known[] = {
      {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
       "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
       "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
       "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
      {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
       "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
       "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
       "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
  };
  const weft_crypto *c = weft_crypto_sodium();
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    weft_key seed;
    weft_id pub;
    weft_sig sig;
    uint8_t message[8];
    test_hex(known[i].seed, seed.b, sizeof seed.b);
    size_t len = test_hex(known[i].message, message, sizeof message);
    c->sign_keypair(&pub, &seed);
    test_assert_hex(weft_bytes_of(pub.b, 32), known[i].pub);
    c->sign(&sig, &seed, &pub, weft_bytes_of(message, len));
    test_assert_hex(weft_bytes_of(sig.b, 64), known[i].sig);
    assert_true(c->verify(&sig, &pub, weft_bytes_of(message, len)));
    sig.b[i * 40] ^= 1;
    assert_false(c->verify(&sig, &pub, weft_bytes_of(message, len)));
  }
}

static void dh_agrees_and_refuses_low_order(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  weft_key a, b, pub_a, pub_b, ab, ba, low = {{0}};
  test_rng rng = test_rng_of(4);
  test_rng_fill(&rng, a.b, sizeof a.b);
  test_rng_fill(&rng, b.b, sizeof b.b);
  c->dh_public(&pub_a, &a);
  c->dh_public(&pub_b, &b);
  assert_true(c->dh(&ab, &a, &pub_b));
  assert_true(c->dh(&ba, &b, &pub_a));
  assert_memory_equal(&ab, &ba, sizeof ab);
  assert_false(c->dh(&ab, &a, &low));
  low.b[0] = 1;
  assert_false(c->dh(&ab, &a, &low));
}

static void aead_in_place_and_short(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  weft_key key;
  uint8_t nonce[12] = {0}, buf[100 + WEFT_TAG_LEN], plain[100];
  test_rng rng = test_rng_of(5);
  test_rng_fill(&rng, key.b, sizeof key.b);
  test_rng_fill(&rng, plain, sizeof plain);
  memcpy(buf, plain, sizeof plain);
  c->seal(buf, &key, nonce, none, weft_bytes_of(buf, sizeof plain));
  assert_memory_not_equal(buf, plain, sizeof plain);
  for (size_t len = 0; len < sizeof buf; len++) {
    uint8_t out[sizeof buf];
    assert_false(c->open(out, &key, nonce, none, weft_bytes_of(buf, len)));
  }
  assert_true(c->open(buf, &key, nonce, none, weft_bytes_of(buf, sizeof buf)));
  assert_memory_equal(buf, plain, sizeof plain);
}

static void equal_wipe_random(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  uint8_t a[32], b[32];
  weft_random(a, sizeof a);
  weft_random(b, sizeof b);
  assert_false(c->equal(a, b, sizeof a));
  memcpy(b, a, sizeof a);
  assert_true(c->equal(a, b, sizeof a));
  b[31] ^= 0x80;
  assert_false(c->equal(a, b, sizeof a));
  c->wipe(a, sizeof a);
  for (size_t i = 0; i < sizeof a; i++) assert_int_equal(a[i], 0);
  assert_string_equal(c->name, "libsodium");
}

/* --- Wycheproof --- */

typedef struct verdicts {
  size_t valid, invalid, low_order;
} verdicts;

typedef void (*test_runner)(const json_t *group, const json_t *test, verdicts *v);

static const char *text_of(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

static verdicts run_file(const char *name, test_runner run) {
  weft_bytes text = test_data_read(name);
  if (!text.at) test_skip_no_data();
  json_error_t why;
  json_t *root = json_loadb((const char *)text.at, text.len, 0, &why);
  if (!root) fail_msg("%s: %s", name, why.text);
  verdicts v = {0, 0, 0};
  size_t g, t;
  json_t *group, *test;
  json_array_foreach(json_object_get(root, "testGroups"), g, group) {
    json_array_foreach(json_object_get(group, "tests"), t, test) run(group, test, &v);
  }
  assert_int_equal(v.valid + v.invalid + v.low_order,
                   json_integer_value(json_object_get(root, "numberOfTests")));
  json_decref(root);
  free((void *)(uintptr_t)text.at);
  return v;
}

static void judge(const json_t *test, bool got, verdicts *v) {
  bool want = strcmp(text_of(test, "result"), "invalid") != 0;
  if (got != want) {
    fail_msg("tcId %d: %s", (int)json_integer_value(json_object_get(test, "tcId")),
             text_of(test, "comment"));
  }
  if (got)
    v->valid++;
  else
    v->invalid++;
}

/* A signature of another length cannot be put into a weft_sig: the type refuses it. */
static void run_ed25519(const json_t *group, const json_t *test, verdicts *v) {
  const weft_crypto *c = weft_crypto_sodium();
  weft_id pub;
  weft_sig sig;
  uint8_t message[4096], raw[256] = {0};
  test_hex(text_of(json_object_get(group, "publicKey"), "pk"), pub.b, sizeof pub.b);
  size_t len = test_hex(text_of(test, "msg"), message, sizeof message);
  size_t sig_len = test_hex(text_of(test, "sig"), raw, sizeof raw);
  memcpy(sig.b, raw, sizeof sig.b);
  bool ok = sig_len == sizeof sig.b && c->verify(&sig, &pub, weft_bytes_of(message, len));
  judge(test, ok, v);
}

static void run_x25519(const json_t *group, const json_t *test, verdicts *v) {
  (void)group;
  static const weft_key zero;
  const weft_crypto *c = weft_crypto_sodium();
  weft_key pub, secret, want, got;
  test_hex(text_of(test, "public"), pub.b, sizeof pub.b);
  test_hex(text_of(test, "private"), secret.b, sizeof secret.b);
  test_hex(text_of(test, "shared"), want.b, sizeof want.b);
  bool ok = c->dh(&got, &secret, &pub);
  if (memcmp(&want, &zero, sizeof zero) == 0) {
    assert_false(ok);
    v->low_order++;
    return;
  }
  judge(test, ok && memcmp(&got, &want, sizeof want) == 0, v);
}

/* A nonce of another length cannot be handed in: the type refuses it. */
static void run_chacha(const json_t *group, const json_t *test, verdicts *v) {
  (void)group;
  const weft_crypto *c = weft_crypto_sodium();
  weft_key key;
  uint8_t nonce[64], ad[1024], plain[2048], sealed[2048], out[2048];
  test_hex(text_of(test, "key"), key.b, sizeof key.b);
  size_t nonce_len = test_hex(text_of(test, "iv"), nonce, sizeof nonce);
  size_t ad_len = test_hex(text_of(test, "aad"), ad, sizeof ad);
  size_t len = test_hex(text_of(test, "msg"), plain, sizeof plain);
  size_t sealed_len = test_hex(text_of(test, "ct"), sealed, sizeof sealed);
  sealed_len += test_hex(text_of(test, "tag"), sealed + sealed_len, sizeof sealed - sealed_len);
  bool ok = nonce_len == 12 &&
            c->open(out, &key, nonce, weft_bytes_of(ad, ad_len), weft_bytes_of(sealed, sealed_len));
  if (ok) {
    assert_int_equal(sealed_len, len + WEFT_TAG_LEN);
    assert_memory_equal(out, plain, len);
    c->seal(out, &key, nonce, weft_bytes_of(ad, ad_len), weft_bytes_of(plain, len));
    assert_memory_equal(out, sealed, sealed_len);
  }
  judge(test, ok, v);
}

static void wycheproof_ed25519(void **state) {
  (void)state;
  verdicts v = run_file("wycheproof/ed25519_test.json", run_ed25519);
  assert_true(v.valid > 0 && v.invalid > 0);
}

static void wycheproof_x25519(void **state) {
  (void)state;
  verdicts v = run_file("wycheproof/x25519_test.json", run_x25519);
  assert_true(v.valid > 0 && v.invalid == 0 && v.low_order > 0);
}

static void wycheproof_chacha20_poly1305(void **state) {
  (void)state;
  verdicts v = run_file("wycheproof/chacha20_poly1305_test.json", run_chacha);
  assert_true(v.valid > 0 && v.invalid > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(hash_known_answers),
      cmocka_unit_test(siphash_known_answers),
      cmocka_unit_test(kdf_known_answers),
      cmocka_unit_test(signing_known_answers),
      cmocka_unit_test(dh_agrees_and_refuses_low_order),
      cmocka_unit_test(aead_in_place_and_short),
      cmocka_unit_test(equal_wipe_random),
      cmocka_unit_test(wycheproof_ed25519),
      cmocka_unit_test(wycheproof_x25519),
      cmocka_unit_test(wycheproof_chacha20_poly1305),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

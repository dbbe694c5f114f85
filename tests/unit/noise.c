/* Noise: every published vector the table can express, and what an attacker can do to a handshake.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "net/noise.h"
#include "tests/support/data.h"
#include "tests/support/hex.h"
#include "tests/support/rng.h"

static const weft_bytes none = {NULL, 0};

/* --- vectors --- */

static const char *text_of(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

static const weft_key *key_of(const json_t *vector, const char *name, weft_key *key) {
  const char *text = text_of(vector, name);
  if (!text) return NULL;
  assert_int_equal(test_hex(text, key->b, sizeof key->b), sizeof key->b);
  return key;
}

static void start_side(weft_noise *n, const json_t *vector, bool initiator) {
  const char *name = text_of(vector, "protocol_name");
  bool fixed = strncmp(name, "Noise_NN", 8) == 0;
  bool known =
      strncmp(name, "Noise_KK", 8) == 0 || (initiator && strncmp(name, "Noise_IK", 8) == 0);
  weft_key ephemeral, own, remote, psks[WEFT_NOISE_PSKS_MAX];
  uint8_t prologue[256];
  size_t prologue_len = test_hex(text_of(vector, initiator ? "init_prologue" : "resp_prologue"),
                                 prologue, sizeof prologue);
  const json_t *list = json_object_get(vector, initiator ? "init_psks" : "resp_psks");
  size_t count = json_array_size(list);
  assert_true(count <= WEFT_NOISE_PSKS_MAX);
  for (size_t i = 0; i < count; i++) {
    test_hex(json_string_value(json_array_get(list, i)), psks[i].b, sizeof psks[i].b);
  }
  weft_noise_options o = {
      .initiator = initiator,
      .prologue = weft_bytes_of(prologue, prologue_len),
      .ephemeral = key_of(vector, initiator ? "init_ephemeral" : "resp_ephemeral", &ephemeral),
      .psks = psks,
      .psk_count = count,
  };
  if (!fixed) o.own_static = key_of(vector, initiator ? "init_static" : "resp_static", &own);
  if (known) {
    o.remote_static =
        key_of(vector, initiator ? "init_remote_static" : "resp_remote_static", &remote);
  }
  assert_int_equal(weft__noise_start_named(n, weft_crypto_sodium(), name, &o), WEFT_OK);
}

static void run_handshake_message(weft_noise *from, weft_noise *to, const json_t *message) {
  static uint8_t payload[1024], want[2048], got[2048], back[2048];
  size_t payload_len = test_hex(text_of(message, "payload"), payload, sizeof payload);
  size_t want_len = test_hex(text_of(message, "ciphertext"), want, sizeof want);
  size_t len, overhead = weft__noise_overhead(from);
  assert_int_equal(overhead, weft__noise_overhead(to));
  weft_bytes view = weft_bytes_of(payload, payload_len);
  assert_int_equal(weft__noise_write(from, view, got, sizeof got, &len), WEFT_OK);
  assert_int_equal(len, want_len);
  assert_int_equal(len, overhead + payload_len);
  assert_memory_equal(got, want, len);
  assert_int_equal(weft__noise_read(to, weft_bytes_of(got, len), back, &len), WEFT_OK);
  assert_int_equal(len, payload_len);
  assert_memory_equal(back, payload, len);
}

static void run_transport_message(weft_noise_cipher *from, weft_noise_cipher *to,
                                  const json_t *message) {
  static uint8_t buf[2048], payload[2048], want[2048];
  size_t len = test_hex(text_of(message, "payload"), payload, sizeof payload);
  size_t want_len = test_hex(text_of(message, "ciphertext"), want, sizeof want);
  memcpy(buf, payload, len);
  assert_int_equal(want_len, len + WEFT_TAG_LEN);
  assert_int_equal(weft__noise_seal(from, none, weft_bytes_of(buf, len), buf), WEFT_OK);
  assert_memory_equal(buf, want, want_len);
  assert_int_equal(weft__noise_open(to, none, weft_bytes_of(buf, want_len), buf), WEFT_OK);
  assert_memory_equal(buf, payload, len);
}

/* What some vectors tell beyond messages: split keys, and keys after a rekey. */
static void check_keys(const json_t *vector, weft_noise_cipher c[2]) {
  static const char *split[] = {"split_k1", "split_k2"}, *rekey[] = {"rekey_k1", "rekey_k2"};
  for (size_t i = 0; i < 2; i++) {
    if (!text_of(vector, split[i])) continue;
    test_assert_hex(weft_bytes_of(c[i].key.b, 32), text_of(vector, split[i]));
    weft__noise_rekey(&c[i]);
    test_assert_hex(weft_bytes_of(c[i].key.b, 32), text_of(vector, rekey[i]));
    assert_true(c[i].nonce == 0);
  }
  const json_t *first = json_object_get(vector, "rekeyed_message_k1_n0");
  if (!first) return;
  uint8_t payload[256], sealed[256 + WEFT_TAG_LEN];
  size_t len = test_hex(text_of(first, "payload"), payload, sizeof payload);
  assert_int_equal(weft__noise_seal(&c[0], none, weft_bytes_of(payload, len), sealed), WEFT_OK);
  test_assert_hex(weft_bytes_of(sealed, len + WEFT_TAG_LEN), text_of(first, "ciphertext"));
}

static void run_vector(const json_t *vector) {
  weft_noise side[2]; /* 0: initiator */
  start_side(&side[0], vector, true);
  start_side(&side[1], vector, false);
  size_t i;
  json_t *message;
  weft_noise_cipher sending[2], receiving[2];
  bool split = false;
  json_array_foreach(json_object_get(vector, "messages"), i, message) {
    size_t from = i % 2;
    if (!side[0].done) {
      assert_int_equal(weft__noise_split(&side[0], &sending[0], &receiving[0]), WEFT_EMISUSE);
      run_handshake_message(&side[from], &side[!from], message);
      continue;
    }
    if (!split) {
      for (size_t s = 0; s < 2; s++) {
        assert_int_equal(weft__noise_split(&side[s], &sending[s], &receiving[s]), WEFT_OK);
      }
      split = true;
      weft_noise_cipher copy[2] = {sending[0], sending[1]};
      check_keys(vector, copy);
    }
    run_transport_message(&sending[from], &receiving[!from], message);
  }
  assert_true(split);
  const char *hash = text_of(vector, "handshake_hash");
  for (size_t s = 0; s < 2; s++) {
    if (hash) test_assert_hex(weft__noise_hash(&side[s]), hash);
    weft__noise_wipe(&side[s]);
  }
}

static void run_vectors(const char *name, size_t count) {
  weft_bytes text = test_data_read(name);
  if (!text.at) test_skip_no_data();
  json_error_t why;
  json_t *root = json_loadb((const char *)text.at, text.len, 0, &why);
  if (!root) fail_msg("%s: %s", name, why.text);
  size_t i;
  json_t *vector;
  json_array_foreach(json_object_get(root, "vectors"), i, vector) run_vector(vector);
  assert_int_equal(i, count);
  json_decref(root);
  free((void *)(uintptr_t)text.at);
}

static void cacophony_vectors(void **state) {
  (void)state;
  run_vectors("noise-vectors/noise-cacophony-25519-chachapoly-blake2b.json", 11);
  run_vectors("noise-vectors/noise-cacophony-25519-chachapoly-sha256.json", 11);
}

static void snow_vectors(void **state) {
  (void)state;
  run_vectors("noise-vectors/noise-snow-25519-chachapoly-blake2b.json", 11);
  run_vectors("noise-vectors/noise-snow-25519-chachapoly-sha256.json", 11);
}

static void noise_c_vectors(void **state) {
  (void)state;
  run_vectors("noise-vectors/noise-noisec-25519-chachapoly-blake2b.json", 4);
  run_vectors("noise-vectors/noise-noisec-25519-chachapoly-sha256.json", 4);
}

static void crosscheck_vectors(void **state) {
  (void)state;
  run_vectors("noise-vectors/noise-crosscheck-noisehandshake-blake2b.json", 5);
  run_vectors("noise-vectors/noise-own-xxpsk0-rekey.json", 6);
}

/* --- the production handshake under attack --- */

typedef struct pair {
  weft_noise side[2]; /* 0: initiator */
} pair;

typedef struct twist { /* what the responder is told differently */
  bool psk, prologue;
} twist;

static void pair_start(pair *p, uint64_t seed, twist differ) {
  test_rng rng = test_rng_of(seed);
  weft_key psk, ephemeral, own;
  test_rng_fill(&rng, psk.b, sizeof psk.b);
  for (size_t s = 0; s < 2; s++) {
    test_rng_fill(&rng, ephemeral.b, sizeof ephemeral.b);
    test_rng_fill(&rng, own.b, sizeof own.b);
    weft_noise_options o = {
        .initiator = s == 0,
        .prologue = weft_bytes_str(s == 1 && differ.prologue ? "prologuE" : "prologue"),
        .ephemeral = &ephemeral,
        .own_static = &own,
        .psks = &psk,
        .psk_count = 1,
    };
    if (s == 1 && differ.psk) psk.b[31] ^= 1;
    assert_int_equal(weft__noise_start(&p->side[s], weft_crypto_sodium(), &o), WEFT_OK);
  }
}

static const char *const payloads[3] = {"one", "the second", ""};

/* Lets message `idx` be written after all before it were exchanged well. */
static size_t pair_reach(pair *p, unsigned idx, uint8_t out[512]) {
  size_t len = 0;
  for (unsigned i = 0; i <= idx; i++) {
    uint8_t back[512];
    size_t back_len;
    weft_bytes payload = weft_bytes_str(payloads[i]);
    assert_int_equal(weft__noise_write(&p->side[i % 2], payload, out, 512, &len), WEFT_OK);
    if (i == idx) break;
    weft_bytes message = weft_bytes_of(out, len);
    assert_int_equal(weft__noise_read(&p->side[!(i % 2)], message, back, &back_len), WEFT_OK);
    assert_memory_equal(back, payload.at, payload.len);
  }
  return len;
}

static void overheads_of_the_three_messages(void **state) {
  (void)state;
  static const size_t empty_len[3] = {48, 96, 64};
  pair p;
  uint8_t out[512];
  pair_start(&p, 1, (twist){false, false});
  assert_int_equal(pair_reach(&p, 2, out), empty_len[2]);
  pair_start(&p, 1, (twist){false, false});
  assert_int_equal(weft__noise_overhead(&p.side[0]), empty_len[0]);
  pair_reach(&p, 0, out);
  assert_int_equal(weft__noise_overhead(&p.side[0]), empty_len[1]);
}

static void every_flipped_bit_is_refused(void **state) {
  (void)state;
  for (unsigned idx = 0; idx < 3; idx++) {
    pair fresh;
    uint8_t message[512], payload[512];
    pair_start(&fresh, 2, (twist){false, false});
    size_t len = pair_reach(&fresh, idx, message);
    for (size_t bit = 0; bit < 8 * len; bit++) {
      weft_noise reader = fresh.side[!(idx % 2)];
      size_t got;
      message[bit / 8] ^= (uint8_t)(1u << bit % 8);
      weft_bytes view = weft_bytes_of(message, len);
      assert_int_equal(weft__noise_read(&reader, view, payload, &got), WEFT_EAUTH);
      message[bit / 8] ^= (uint8_t)(1u << bit % 8);
      assert_int_equal(weft__noise_read(&reader, view, payload, &got), WEFT_EAUTH);
      assert_int_equal(weft__noise_overhead(&reader), 0);
    }
  }
}

static void every_truncation_is_refused(void **state) {
  (void)state;
  for (unsigned idx = 0; idx < 3; idx++) {
    pair fresh;
    uint8_t message[512], payload[512];
    pair_start(&fresh, 3, (twist){false, false});
    size_t full = pair_reach(&fresh, idx, message), got;
    size_t overhead = weft__noise_overhead(&fresh.side[!(idx % 2)]);
    for (size_t len = 0; len < full; len++) {
      weft_noise reader = fresh.side[!(idx % 2)];
      weft_err err = weft__noise_read(&reader, weft_bytes_of(message, len), payload, &got);
      assert_int_equal(err, len < overhead ? WEFT_EMALFORMED : WEFT_EAUTH);
    }
    weft_noise reader = fresh.side[!(idx % 2)];
    weft_bytes longer = weft_bytes_of(message, full + 1);
    assert_int_equal(weft__noise_read(&reader, longer, payload, &got), WEFT_EAUTH);
  }
}

static void other_psk_or_prologue_is_refused_at_once(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    pair p;
    uint8_t message[512], payload[512];
    size_t got;
    pair_start(&p, 5, (twist){i == 0, i == 1});
    size_t len = pair_reach(&p, 0, message);
    weft_bytes view = weft_bytes_of(message, len);
    assert_int_equal(weft__noise_read(&p.side[1], view, payload, &got), WEFT_EAUTH);
  }
}

/* The points of low order of Curve25519 as u coordinates, with the forms that are not reduced. */
static const char *const low_order[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

/* An insider, who has the psk, sends a point of low order as its ephemeral key. */
static void low_order_ephemeral_is_refused(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof low_order / sizeof *low_order; i++) {
    pair p;
    uint8_t message[512], payload[512];
    size_t got;
    pair_start(&p, 6, (twist){false, false});
    test_hex(low_order[i], p.side[0].ephemeral_public.b, 32);
    size_t len = pair_reach(&p, 0, message);
    weft_bytes view = weft_bytes_of(message, len);
    assert_int_equal(weft__noise_read(&p.side[1], view, payload, &got), WEFT_OK);
    assert_int_equal(weft__noise_write(&p.side[1], none, message, sizeof message, &len),
                     WEFT_EAUTH);
    assert_int_equal(weft__noise_write(&p.side[1], none, message, sizeof message, &len),
                     WEFT_EAUTH);
  }
}

static void low_order_static_is_refused(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof low_order / sizeof *low_order; i++) {
    pair p;
    uint8_t message[512], payload[512];
    size_t got;
    pair_start(&p, 7, (twist){false, false});
    test_hex(low_order[i], p.side[0].own_static_public.b, 32);
    size_t len = pair_reach(&p, 2, message);
    weft_bytes view = weft_bytes_of(message, len);
    assert_int_equal(weft__noise_read(&p.side[1], view, payload, &got), WEFT_EAUTH);
  }
}

/* --- turns, limits, names --- */

static void turns_and_limits(void **state) {
  (void)state;
  static uint8_t big[WEFT_NOISE_MESSAGE_MAX + 1], out[WEFT_NOISE_MESSAGE_MAX + 1];
  pair p;
  size_t len;
  pair_start(&p, 8, (twist){false, false});
  weft_noise *a = &p.side[0], *b = &p.side[1];
  assert_int_equal(weft__noise_write(b, none, out, sizeof out, &len), WEFT_EMISUSE);
  assert_int_equal(weft__noise_read(a, weft_bytes_of(big, 48), out, &len), WEFT_EMISUSE);
  assert_int_equal(weft__noise_write(a, none, out, 47, &len), WEFT_ELIMIT);
  assert_int_equal(weft__noise_write(a, weft_bytes_of(big, 1), out, 48, &len), WEFT_ELIMIT);
  weft_bytes most = weft_bytes_of(big, WEFT_NOISE_MESSAGE_MAX - 48);
  most.len++;
  assert_int_equal(weft__noise_write(a, most, out, sizeof out, &len), WEFT_ELIMIT);
  most.len--;
  assert_int_equal(weft__noise_write(a, most, out, sizeof out, &len), WEFT_OK);
  assert_int_equal(len, WEFT_NOISE_MESSAGE_MAX);
  weft_noise copy = *b;
  weft_bytes over = weft_bytes_of(out, WEFT_NOISE_MESSAGE_MAX + 1);
  assert_int_equal(weft__noise_read(&copy, over, big, &len), WEFT_EMALFORMED);
  over.len--;
  assert_int_equal(weft__noise_read(b, over, big, &len), WEFT_OK);
  assert_int_equal(len, most.len);
}

static void finished_handshake_takes_no_more(void **state) {
  (void)state;
  pair p;
  uint8_t message[512], payload[512];
  size_t got;
  pair_start(&p, 9, (twist){false, false});
  size_t len = pair_reach(&p, 2, message);
  weft_bytes view = weft_bytes_of(message, len);
  assert_int_equal(weft__noise_read(&p.side[1], view, payload, &got), WEFT_OK);
  assert_int_equal(weft__noise_write(&p.side[1], none, message, 512, &got), WEFT_EMISUSE);
  assert_int_equal(weft__noise_read(&p.side[0], view, payload, &got), WEFT_EMISUSE);
  assert_int_equal(weft__noise_overhead(&p.side[0]), 0);
  weft_bytes h = weft__noise_hash(&p.side[0]);
  assert_int_equal(h.len, 64);
  assert_memory_equal(h.at, weft__noise_hash(&p.side[1]).at, 64);
}

static void nonces_run_out(void **state) {
  (void)state;
  weft_noise_cipher a = {.crypto = weft_crypto_sodium(), .key = {{1}}, .nonce = UINT64_MAX - 1};
  weft_noise_cipher b = a;
  uint8_t buf[32] = {0}, before[32];
  assert_int_equal(weft__noise_seal(&a, none, weft_bytes_of(buf, 4), buf), WEFT_OK);
  memcpy(before, buf, sizeof buf);
  assert_int_equal(weft__noise_seal(&a, none, weft_bytes_of(buf, 4), buf), WEFT_ELIMIT);
  assert_memory_equal(buf, before, sizeof buf);
  assert_int_equal(weft__noise_open(&b, none, weft_bytes_of(buf, 20), buf), WEFT_OK);
  assert_int_equal(weft__noise_open(&b, none, weft_bytes_of(buf, 20), buf), WEFT_ELIMIT);
  assert_true(a.nonce == UINT64_MAX && b.nonce == UINT64_MAX);
}

static void failed_open_keeps_the_nonce(void **state) {
  (void)state;
  static uint8_t big[WEFT_NOISE_MESSAGE_MAX + 1];
  weft_noise_cipher a = {.crypto = weft_crypto_sodium(), .key = {{1}}, .nonce = 0}, b = a;
  uint8_t sealed[32], out[32];
  assert_int_equal(weft__noise_seal(&a, none, weft_bytes_of("word", 4), sealed), WEFT_OK);
  sealed[0] ^= 1;
  assert_int_equal(weft__noise_open(&b, none, weft_bytes_of(sealed, 20), out), WEFT_EAUTH);
  sealed[0] ^= 1;
  assert_int_equal(weft__noise_open(&b, none, weft_bytes_of(sealed, 20), out), WEFT_OK);
  weft_bytes most = weft_bytes_of(big, WEFT_NOISE_PLAIN_MAX + 1);
  assert_int_equal(weft__noise_seal(&a, none, most, big), WEFT_ELIMIT);
  most.len--;
  assert_int_equal(weft__noise_seal(&a, none, most, big), WEFT_OK);
}

/* Before there is a key, an empty payload is nothing at all. */
static void empty_payload_in_clear(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  weft_key key = {{1}};
  weft_noise n[2];
  uint8_t out[64], payload[64];
  size_t len;
  for (size_t i = 0; i < 2; i++) {
    weft_noise_options o = {.initiator = i == 0, .ephemeral = &key};
    assert_int_equal(weft__noise_start_named(&n[i], c, "Noise_NN_25519_ChaChaPoly_BLAKE2b", &o),
                     WEFT_OK);
  }
  assert_int_equal(weft__noise_write(&n[0], none, out, sizeof out, &len), WEFT_OK);
  assert_int_equal(len, 32);
  assert_int_equal(weft__noise_read(&n[1], weft_bytes_of(out, len), payload, &len), WEFT_OK);
  assert_int_equal(len, 0);
}

static void names_and_missing_keys(void **state) {
  (void)state;
  static const char *const unknown[] = {
      "",
      "Noise_",
      "XX_25519_ChaChaPoly_BLAKE2b",
      "Noise_NX_25519_ChaChaPoly_BLAKE2b",
      "Noise_XX_448_ChaChaPoly_BLAKE2b",
      "Noise_XX_25519_AESGCM_BLAKE2b",
      "Noise_XX_25519_ChaChaPoly_BLAKE2s",
      "Noise_XX_25519_ChaChaPoly_BLAKE2b ",
      "Noise_XXpsk4_25519_ChaChaPoly_BLAKE2b",
      "Noise_NNpsk3_25519_ChaChaPoly_BLAKE2b",
      "Noise_XXpsk_25519_ChaChaPoly_BLAKE2b",
      "Noise_XXpsk1+psk1_25519_ChaChaPoly_BLAKE2b",
      "Noise_XXpsk1+psk0_25519_ChaChaPoly_BLAKE2b",
      "Noise_XXpsk0psk1_25519_ChaChaPoly_BLAKE2b",
  };
  const weft_crypto *c = weft_crypto_sodium();
  weft_key key = {{1}};
  weft_noise_options o = {.initiator = true, .ephemeral = &key, .psks = &key};
  weft_noise n;
  uint8_t out[64];
  size_t len;
  for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
    assert_int_equal(weft__noise_start_named(&n, c, unknown[i], &o), WEFT_ENOTFOUND);
  }
  assert_int_equal(weft__noise_start(&n, c, &o), WEFT_EMISUSE);
  assert_int_equal(weft__noise_write(&n, none, out, sizeof out, &len), WEFT_EMISUSE);
  o.own_static = &key;
  assert_int_equal(weft__noise_start(&n, c, &o), WEFT_EMISUSE);
  o.psk_count = 1;
  assert_int_equal(weft__noise_start(&n, c, &o), WEFT_OK);
  o.remote_static = &key;
  assert_int_equal(weft__noise_start(&n, c, &o), WEFT_EMISUSE);
  o.remote_static = NULL;
  o.ephemeral = NULL;
  assert_int_equal(weft__noise_start(&n, c, &o), WEFT_EMISUSE);
}

static void wipe_leaves_nothing(void **state) {
  (void)state;
  pair p;
  pair_start(&p, 10, (twist){false, false});
  weft__noise_wipe(&p.side[0]);
  const uint8_t *at = (const uint8_t *)&p.side[0];
  for (size_t i = 0; i < sizeof p.side[0]; i++) assert_int_equal(at[i], 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cacophony_vectors),
      cmocka_unit_test(snow_vectors),
      cmocka_unit_test(noise_c_vectors),
      cmocka_unit_test(crosscheck_vectors),
      cmocka_unit_test(overheads_of_the_three_messages),
      cmocka_unit_test(every_flipped_bit_is_refused),
      cmocka_unit_test(every_truncation_is_refused),
      cmocka_unit_test(other_psk_or_prologue_is_refused_at_once),
      cmocka_unit_test(low_order_ephemeral_is_refused),
      cmocka_unit_test(low_order_static_is_refused),
      cmocka_unit_test(turns_and_limits),
      cmocka_unit_test(finished_handshake_takes_no_more),
      cmocka_unit_test(nonces_run_out),
      cmocka_unit_test(failed_open_keeps_the_nonce),
      cmocka_unit_test(empty_payload_in_clear),
      cmocka_unit_test(names_and_missing_keys),
      cmocka_unit_test(wipe_leaves_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Which first messages a node answers: hints, and the memory that stops replays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/gate.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/hex.h"
#include "tests/support/rng.h"

enum { minute = 60000, hour = 3600000, day = 86400000 };
static const uint64_t today = 1750000000000;

static weft_gate *gate_new(void) {
  weft_alloc mem = weft_alloc_libc();
  weft_gate *gate;
  assert_int_equal(weft_gate_new(&gate, &mem, weft_crypto_sodium()), WEFT_OK);
  return gate;
}

typedef struct e_key {
  uint8_t b[32];
} e_key;

static e_key e_of(uint32_t n) {
  e_key e = {{0}};
  for (unsigned i = 0; i < sizeof n; i++) e.b[i] = (uint8_t)(n >> (8 * i));
  return e;
}

static bool admit(weft_gate *gate, weft_ms now, uint32_t n, int64_t sent) {
  e_key e = e_of(n);
  return weft__gate_admit(gate, now, today + now, e.b, today + (uint64_t)sent);
}

static weft_session_secret member_of(uint8_t space, uint8_t epoch) {
  weft_session_secret secret;
  weft_id id;
  weft_key key;
  weft_epoch name;
  memset(id.b, space, sizeof id.b);
  memset(key.b, epoch, sizeof key.b);
  memset(name.b, epoch, sizeof name.b);
  weft_epoch_keys keys;
  weft__epoch_keys_derive(&keys, weft_crypto_sodium(), &key);
  weft_session_secret_member(&secret, &id, &keys, name, name);
  return secret;
}

static weft_session_secret join_of(uint8_t space, uint8_t invite) {
  weft_session_secret secret;
  weft_id id;
  weft_key key;
  memset(id.b, space, sizeof id.b);
  memset(key.b, invite, sizeof key.b);
  weft_ticket_keys keys;
  weft__ticket_keys_derive(&keys, weft_crypto_sodium(), &key);
  weft_session_secret_join(&secret, &id, &keys.join, &keys.tag);
  return secret;
}

/* Answers made with hashlib: crypto_kdf and keyed BLAKE2b by another hand. */
static void secrets_and_hint_known_answers(void **state) {
  (void)state;
  weft_session_secret member = member_of(1, 2), join = join_of(1, 3);
  test_assert_hex(weft_bytes_of(member.psk.b, 32),
                  "36a022938dbe77a12cf44e9dc301775fab10f39f4d63660d17991b8dd1c9bd94");
  test_assert_hex(weft_bytes_of(member.tag.b, 32),
                  "84721ab81f3dcda438d8ef44a969aac7fd2819658556883bbd1eaef98e511211");
  assert_int_equal(member.mode, WEFT_SESSION_MEMBER);
  test_assert_hex(weft_bytes_of(join.psk.b, 32),
                  "22a2a13000e1c242789b2ce456ad712c5bf8eca7ff8a3c7c4116d1ffbc4db237");
  test_assert_hex(weft_bytes_of(join.tag.b, 32),
                  "63c22046a38d96235bef160b4835c78767a7b24300975a85bb88fea7db044f74");
  assert_int_equal(join.mode, WEFT_SESSION_JOIN);
  uint8_t hint[WEFT_HINT_LEN];
  e_key e = e_of(0x04030201);
  weft_id target;
  memset(target.b, 9, sizeof target.b);
  weft__hint(hint, weft_crypto_sodium(), &member, 1, e.b, &target);
  test_assert_hex(weft_bytes_of(hint, sizeof hint), "c118e52be7cf90caa1883b4473919e62");
}

static void finds_the_secret_that_is_meant(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  weft_gate *gate = gate_new();
  weft_session_secret list[] = {member_of(1, 2), member_of(1, 3), member_of(2, 4), join_of(1, 5)};
  weft_id device, other, anyone = {{0}};
  memset(device.b, 9, sizeof device.b);
  memset(other.b, 8, sizeof other.b);
  e_key e = e_of(1), f = e_of(2);
  uint8_t hint[WEFT_HINT_LEN];
  weft__hint(hint, c, &list[0], 1, e.b, &device);
  assert_null(weft__gate_find(gate, 1, 1, hint, e.b, &device));
  assert_int_equal(weft_gate_set(gate, list, 4), WEFT_OK);
  for (size_t i = 0; i < 4; i++) {
    uint8_t mode = (uint8_t)list[i].mode;
    weft__hint(hint, c, &list[i], 1, e.b, &device);
    const weft_session_secret *found = weft__gate_find(gate, 1, mode, hint, e.b, &device);
    assert_non_null(found);
    assert_memory_equal(&found->psk, &list[i].psk, sizeof found->psk);
    assert_null(weft__gate_find(gate, 1, mode, hint, e.b, &other));
    assert_null(weft__gate_find(gate, 1, mode, hint, f.b, &device));
    assert_null(weft__gate_find(gate, 2, mode, hint, e.b, &device));
    assert_null(weft__gate_find(gate, 1, 3 - mode, hint, e.b, &device));
    assert_null(weft__gate_find(gate, 1, 0, hint, e.b, &device));
    hint[15] ^= 1;
    assert_null(weft__gate_find(gate, 1, mode, hint, e.b, &device));
    weft__hint(hint, c, &list[i], 1, e.b, &anyone);
    assert_non_null(weft__gate_find(gate, 1, mode, hint, e.b, &other));
  }
  assert_int_equal(weft_gate_set(gate, NULL, 0), WEFT_OK);
  assert_null(weft__gate_find(gate, 1, 2, hint, e.b, &device));
  weft_gate_free(gate);
  weft_gate_free(NULL);
}

static void window_answers_once(void **state) {
  (void)state;
  weft_gate *gate = gate_new();
  assert_true(admit(gate, 0, 1, 0));
  assert_false(admit(gate, 0, 1, 0));
  assert_false(admit(gate, 119999, 1, 0));
  assert_true(admit(gate, 1000, 2, 1000 + 120000)); /* both edges of the window */
  assert_true(admit(gate, 1000, 3, 1000 - 120000));
  assert_true(admit(gate, 1000, 4, 1000 + 1));
  assert_false(admit(gate, 240000, 2, 121000)); /* still within the window, still remembered */
  weft_gate_free(gate);
}

static void outside_one_a_minute_and_once_a_day(void **state) {
  (void)state;
  weft_gate *gate = gate_new();
  assert_true(admit(gate, 0, 1, -120001));
  assert_false(admit(gate, 0, 2, 120001)); /* too early after the last */
  assert_false(admit(gate, minute - 1, 2, -hour));
  assert_true(admit(gate, minute, 2, -hour));
  assert_false(admit(gate, 2 * minute, 1, -120001));
  assert_false(admit(gate, 2 * minute, 2, -hour));
  assert_true(admit(gate, 2 * minute, 3, 5 * hour));
  assert_false(admit(gate, 5 * hour, 3, 5 * hour)); /* inside by now, and remembered */
  assert_false(admit(gate, day - 1, 1, -120001));
  assert_true(admit(gate, day, 1, -120001));
  assert_false(admit(gate, day + hour, 1, -120001)); /* the newer answer counts */
  weft_gate_free(gate);
}

static void slow_memory_is_a_ring_of_a_day(void **state) {
  (void)state;
  weft_gate *gate = gate_new();
  uint32_t n = 1;
  for (; n <= WEFT_GATE_SLOW_KEEP_MAX; n++) assert_true(admit(gate, n * minute, n, -hour));
  for (uint32_t again = 2; again < n; again += 7) {
    assert_false(admit(gate, n * minute, again, -hour));
  }
  assert_true(admit(gate, n * minute, n, -hour));
  assert_true(admit(gate, (n + 1) * minute, 1, -hour)); /* a day has passed for it */
  weft_gate_free(gate);
}

static void full_window_shrinks_and_forgets_nothing_it_would_answer(void **state) {
  (void)state;
  weft_gate *gate = gate_new();
  uint32_t many = WEFT_GATE_WINDOW_KEEP_MAX;
  assert_true(admit(gate, 1, 90000, -hour)); /* uses up the slow answer of this minute */
  for (uint32_t n = 0; n < many; n++) assert_true(admit(gate, 1, n, n));
  assert_true(admit(gate, 1, many, many));
  assert_false(admit(gate, 1, 0, 0));
  assert_false(admit(gate, 1, 50000, 0)); /* a fresh one as old as what was forgotten */
  assert_true(admit(gate, 1, 50001, 50001));
  assert_false(admit(gate, 1, 1, 1));
  for (uint32_t n = 2; n <= many; n++) assert_false(admit(gate, 1, n, n));
  weft_gate_free(gate);
}

static void a_full_window_has_no_room_for_what_is_older(void **state) {
  (void)state;
  weft_gate *gate = gate_new();
  uint32_t many = WEFT_GATE_WINDOW_KEEP_MAX;
  assert_true(admit(gate, 1, 90000, -hour)); /* uses up the slow answer of this minute */
  for (uint32_t n = 0; n < many; n++) assert_true(admit(gate, 1, n, 1000 + n));
  assert_false(admit(gate, 1, 50000, 999));
  for (uint32_t n = 0; n < many; n++) assert_false(admit(gate, 1, n, 1000 + n));
  weft_gate_free(gate);
}

static void room_is_made_of_what_left_the_window(void **state) {
  (void)state;
  weft_gate *gate = gate_new();
  uint32_t many = WEFT_GATE_WINDOW_KEEP_MAX;
  for (uint32_t n = 0; n < many; n++) assert_true(admit(gate, 0, n, n % 2 ? 0 : 100000));
  weft_ms later = 200000;
  assert_true(admit(gate, later, many, (int64_t)later));
  /* Our clock is set back: what was forgotten still draws nothing at once. */
  e_key e = e_of(1);
  assert_true(weft__gate_admit(gate, later, today, e.b, today)); /* by the slow way */
  e = e_of(3);
  assert_false(weft__gate_admit(gate, later, today, e.b, today));
  e = e_of(2);
  assert_false(weft__gate_admit(gate, later, today, e.b, today + 100000));
  weft_gate_free(gate);
}

/* A replay is answered by the slow way at most: once a message, and once a minute in all. */
static void replays_in_any_order(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 20; seed++) {
    weft_gate *gate = gate_new();
    test_rng rng = test_rng_of(seed);
    static unsigned answers[4000];
    memset(answers, 0, sizeof answers);
    weft_ms now = 0;
    unsigned again = 0;
    for (int i = 0; i < 8000; i++) {
      now += test_rng_below(&rng, 100);
      uint32_t n = (uint32_t)test_rng_below(&rng, 4000);
      if (!admit(gate, now, n, (int64_t)n * 100)) continue; /* a message has one clock for ever */
      again += answers[n]++ > 0;
      if (answers[n] > 2) fail_msg("seed=%d: message %u answered three times", (int)seed, n);
    }
    if (again > now / minute + 1) fail_msg("seed=%d: %u replays answered", (int)seed, again);
    weft_gate_free(gate);
  }
}

static void limits_and_memory(void **state) {
  (void)state;
  static weft_session_secret many[WEFT_GATE_SECRETS_MAX + 1];
  test_fault_alloc fault = {0};
  weft_alloc mem = test_fault_alloc_of(&fault);
  weft_gate *gate;
  fault.fail_at = 1;
  assert_int_equal(weft_gate_new(&gate, &mem, weft_crypto_sodium()), WEFT_ENOMEM);
  assert_null(gate);
  assert_int_equal(weft_gate_new(&gate, &mem, weft_crypto_sodium()), WEFT_OK);
  many[0] = member_of(1, 1);
  assert_int_equal(weft_gate_set(gate, many, 1), WEFT_OK);
  assert_int_equal(weft_gate_set(gate, many, WEFT_GATE_SECRETS_MAX + 1), WEFT_ELIMIT);
  fault.fail_at = fault.calls + 1;
  assert_int_equal(weft_gate_set(gate, many, 2), WEFT_ENOMEM);
  weft_id device = {{0}};
  e_key e = e_of(1);
  uint8_t hint[WEFT_HINT_LEN];
  weft__hint(hint, weft_crypto_sodium(), &many[0], 1, e.b, &device);
  assert_non_null(weft__gate_find(gate, 1, 1, hint, e.b, &device));
  assert_int_equal(weft_gate_set(gate, many, WEFT_GATE_SECRETS_MAX), WEFT_OK);
  weft_gate_free(gate);
  assert_int_equal(fault.live, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(secrets_and_hint_known_answers),
      cmocka_unit_test(finds_the_secret_that_is_meant),
      cmocka_unit_test(window_answers_once),
      cmocka_unit_test(outside_one_a_minute_and_once_a_day),
      cmocka_unit_test(slow_memory_is_a_ring_of_a_day),
      cmocka_unit_test(full_window_shrinks_and_forgets_nothing_it_would_answer),
      cmocka_unit_test(a_full_window_has_no_room_for_what_is_older),
      cmocka_unit_test(room_is_made_of_what_left_the_window),
      cmocka_unit_test(replays_in_any_order),
      cmocka_unit_test(limits_and_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

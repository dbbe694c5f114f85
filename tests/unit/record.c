/* Membership records: bytes by their definition, every cut and flip, and what makes a record void.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/record.h"
#include "tests/support/docs.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/hex.h"
#include "tests/support/ids.h"
#include "tests/support/rng.h"

enum { at_version = 0, at_kind = 1, at_flags = 2, at_space = 3, at_author = 35, at_deps = 67 };

static weft_record genesis_of(const weft_identity *creator) {
  weft_record r;
  memset(&r, 0, sizeof r);
  r.kind = WEFT_RECORD_GENESIS;
  r.flags = WEFT_RECORD_CRITICAL;
  memset(r.genesis.nonce, 0x5a, sizeof r.genesis.nonce);
  r.genesis.x_public = creator->x_public;
  r.genesis.space_name = weft_bytes_str("kitchen");
  r.genesis.name = weft_bytes_str("laptop");
  return r;
}

static weft_record admit_of(const weft_id *space, const weft_identity *device) {
  weft_record r;
  weft_key seed;
  memset(&r, 0, sizeof r);
  memset(seed.b, 0x77, sizeof seed.b);
  r.kind = WEFT_RECORD_ADMIT;
  r.space = *space;
  r.deps[0] = test_id(9);
  r.deps[1] = test_id(3);
  r.deps[2] = test_id(7);
  r.dep_count = 3;
  r.admit.role = WEFT_ROLE_WRITER;
  r.admit.name = weft_bytes_str("phone");
  weft__redeem_sign(&r.admit.redeem, weft_crypto_sodium(), device, &seed, space);
  return r;
}

typedef struct sealed {
  weft_buf buf;
  weft_id id;
} sealed;

static sealed seal(const weft_identity *author, const weft_record *record) {
  weft_alloc mem = weft_alloc_libc();
  sealed s;
  weft__buf_init(&s.buf, &mem, WEFT_RECORD_LEN_MAX);
  assert_int_equal(weft__record_sign(&s.buf, weft_crypto_sodium(), author, record, &s.id), WEFT_OK);
  return s;
}

static void genesis_round_trip(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  weft_identity creator = test_identity(1);
  weft_record in = genesis_of(&creator), out;
  sealed s = seal(&creator, &in);
  assert_int_equal(weft__record_parse(&out, c, weft__buf_view(&s.buf)), WEFT_OK);
  assert_int_equal(out.state, WEFT_RECORD_VALID);
  assert_int_equal(out.kind, WEFT_RECORD_GENESIS);
  assert_int_equal(weft__record_verify(&out, c), WEFT_OK);
  assert_memory_equal(&out.id, &s.id, 32);
  assert_memory_equal(&out.author, &creator.device, 32);
  assert_memory_equal(&out.genesis.x_public, &creator.x_public, 32);
  assert_memory_equal(out.genesis.nonce, in.genesis.nonce, 32);
  assert_int_equal(weft_bytes_cmp(out.genesis.space_name, in.genesis.space_name), 0);
  assert_int_equal(weft_bytes_cmp(out.genesis.name, in.genesis.name), 0);
  test_assert_hex(weft_bytes_of(s.id.b, 32),
                  "6d645c75d7f46e0c10bf16815d033f11ee195ccf99543701644247372f5e8fed");
  test_assert_docs(weft__buf_view(&s.buf), "wire.md", "record-genesis");
  weft__buf_free(&s.buf);
}

static void admit_round_trip(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  weft_identity creator = test_identity(1), device = test_identity(2);
  weft_id space = test_id(0x44), foreign = test_id(0x45);
  weft_record in = admit_of(&space, &device), out;
  sealed s = seal(&creator, &in);
  test_assert_docs(weft__buf_view(&s.buf), "wire.md", "record-admit");
  assert_int_equal(weft__record_parse(&out, c, weft__buf_view(&s.buf)), WEFT_OK);
  assert_int_equal(out.state, WEFT_RECORD_VALID);
  assert_int_equal(weft__record_verify(&out, c), WEFT_OK);
  assert_memory_equal(&out.space, &space, 32);
  assert_memory_equal(&out.admit.redeem, &in.admit.redeem, sizeof in.admit.redeem);
  assert_int_equal(out.admit.role, WEFT_ROLE_WRITER);
  assert_int_equal(weft_bytes_cmp(out.admit.name, in.admit.name), 0);
  assert_int_equal(out.dep_count, 3);
  for (uint8_t i = 0; i < 3; i++) {
    weft_id want = test_id((uint8_t)(i == 0 ? 3 : i == 1 ? 7 : 9));
    assert_memory_equal(&out.deps[i], &want, 32);
  }
  assert_int_equal(weft__redeem_check(&out.admit.redeem, c, &space), WEFT_OK);
  assert_int_equal(weft__redeem_check(&out.admit.redeem, c, &foreign), WEFT_EBADSIG);
  weft__buf_free(&s.buf);
}

static void redeem_binds_every_part(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  weft_identity device = test_identity(2), other = test_identity(3);
  weft_id space = test_id(0x44);
  weft_record r = admit_of(&space, &device);
  const weft_redeem good = r.admit.redeem;
  assert_int_equal(weft__redeem_check(&good, c, &space), WEFT_OK);
  weft_redeem bad = good;
  for (size_t i = 0; i < sizeof bad; i++) {
    ((uint8_t *)&bad)[i] ^= 1;
    assert_int_equal(weft__redeem_check(&bad, c, &space), WEFT_EBADSIG);
    ((uint8_t *)&bad)[i] ^= 1;
  }
  bad.by_invite = good.by_device; /* the two signatures cannot stand for each other */
  bad.by_device = good.by_invite;
  assert_int_equal(weft__redeem_check(&bad, c, &space), WEFT_EBADSIG);
  bad = good; /* a device that never saw the ticket */
  bad.device = other.device;
  bad.x_public = other.x_public;
  assert_int_equal(weft__redeem_check(&bad, c, &space), WEFT_EBADSIG);
}

static void every_flipped_bit_is_seen(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  weft_identity creator = test_identity(1), device = test_identity(2);
  weft_id space = test_id(0x44);
  weft_record in = admit_of(&space, &device), out;
  sealed s = seal(&creator, &in);
  for (size_t bit = 0; bit < 8 * s.buf.len; bit++) {
    s.buf.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
    weft_err err = weft__record_parse(&out, c, weft__buf_view(&s.buf));
    if (err == WEFT_OK) err = weft__record_verify(&out, c);
    assert_true(err == WEFT_EMALFORMED || err == WEFT_EBADSIG);
    s.buf.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
  for (size_t len = 0; len < s.buf.len; len++) {
    weft_err err = weft__record_parse(&out, c, weft_bytes_of(s.buf.at, len));
    assert_int_equal(err, WEFT_EMALFORMED);
  }
  weft__buf_free(&s.buf);
}

/* Parses a copy of `s` after `len` bytes at `at` are replaced. */
static weft_err parse_with(weft_record *out, const sealed *s, size_t at, const void *with,
                           size_t len) {
  static uint8_t copy[WEFT_RECORD_LEN_MAX];
  memcpy(copy, s->buf.at, s->buf.len);
  memcpy(copy + at, with, len);
  return weft__record_parse(out, weft_crypto_sodium(), weft_bytes_of(copy, s->buf.len));
}

static void the_future_is_carried_raw(void **state) {
  (void)state;
  weft_identity creator = test_identity(1), device = test_identity(2);
  weft_id space = test_id(0x44);
  weft_record in = admit_of(&space, &device), out;
  sealed s = seal(&creator, &in);
  size_t role = at_deps + 1 + 96 + 2 + 64;
  const struct {
    size_t at;
    uint8_t with;
    weft_record_state state;
  } cases[] = {{at_version, 2, WEFT_RECORD_UNKNOWN}, {at_flags, 2, WEFT_RECORD_UNKNOWN},
               {at_flags, 1, WEFT_RECORD_VALID},     {at_kind, 0, WEFT_RECORD_UNKNOWN},
               {at_kind, 2, WEFT_RECORD_UNKNOWN},    {at_kind, 6, WEFT_RECORD_UNKNOWN},
               {at_kind, 200, WEFT_RECORD_UNKNOWN},  {role, 4, WEFT_RECORD_UNKNOWN},
               {role, 0, WEFT_RECORD_INVALID},       {role, 3, WEFT_RECORD_VALID}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_int_equal(parse_with(&out, &s, cases[i].at, &cases[i].with, 1), WEFT_OK);
    assert_int_equal(out.state, cases[i].state);
    assert_int_equal(out.raw.len, s.buf.len);
  }
  weft__buf_free(&s.buf);
  weft_record g = genesis_of(&creator);
  s = seal(&creator, &g);
  uint8_t policy = 1;
  assert_int_equal(parse_with(&out, &s, at_deps + 1 + 2 + 64, &policy, 1), WEFT_OK);
  assert_int_equal(out.state, WEFT_RECORD_UNKNOWN);
  weft__buf_free(&s.buf);
}

static void a_record_has_its_place(void **state) {
  (void)state;
  weft_identity creator = test_identity(1), device = test_identity(2);
  weft_id space = test_id(0x44), zeros = test_id(0);
  weft_record in = admit_of(&space, &device), g = genesis_of(&creator), out;
  sealed s = seal(&creator, &in), t = seal(&creator, &g);
  uint8_t kind = WEFT_RECORD_GENESIS, none = 0;
  assert_int_equal(parse_with(&out, &s, at_space, zeros.b, 32), WEFT_EMALFORMED);
  assert_int_equal(parse_with(&out, &s, at_kind, &kind, 1), WEFT_EMALFORMED);
  assert_int_equal(parse_with(&out, &t, at_space, space.b, 32), WEFT_EMALFORMED);
  uint8_t rooted[at_author] = {WEFT_RECORD_VERSION, WEFT_RECORD_GENESIS, 0}; /* but with deps */
  assert_int_equal(parse_with(&out, &s, 0, rooted, sizeof rooted), WEFT_EMALFORMED);
  kind = WEFT_RECORD_REKEY;
  assert_int_equal(parse_with(&out, &t, at_kind, &kind, 1), WEFT_EMALFORMED);
  assert_int_equal(parse_with(&out, &s, at_deps, &none, 1), WEFT_EMALFORMED);
  uint8_t many = WEFT_RECORD_DEPS_MAX + 1;
  assert_int_equal(parse_with(&out, &s, at_deps, &many, 1), WEFT_EMALFORMED);
  weft_id dep = test_id(3); /* the same twice, or out of order */
  assert_int_equal(parse_with(&out, &s, at_deps + 1 + 32, dep.b, 32), WEFT_EMALFORMED);
  dep = test_id(1);
  assert_int_equal(parse_with(&out, &s, at_deps + 1 + 32, dep.b, 32), WEFT_EMALFORMED);
  weft__buf_free(&s.buf);
  weft__buf_free(&t.buf);
}

/* A GENESIS or ADMIT of the given kind over a body that is cut, stained or extended. */
static weft_record_state body_state(uint8_t kind, const uint8_t *body, size_t len) {
  static uint8_t raw[WEFT_RECORD_LEN_MAX];
  size_t used = 0;
  memset(raw, 0, sizeof raw);
  raw[0] = WEFT_RECORD_VERSION;
  raw[1] = kind;
  if (kind == WEFT_RECORD_ADMIT) memset(raw + 3, 0x44, 32);
  used = at_deps;
  raw[used++] = kind == WEFT_RECORD_ADMIT;
  if (kind == WEFT_RECORD_ADMIT) used += 32;
  raw[used++] = (uint8_t)(len >> 8);
  raw[used++] = (uint8_t)len;
  memcpy(raw + used, body, len);
  used += len + 64;
  weft_record out;
  assert_int_equal(weft__record_parse(&out, weft_crypto_sodium(), weft_bytes_of(raw, used)),
                   WEFT_OK);
  return out.state;
}

static void bodies_are_whole(void **state) {
  (void)state;
  weft_identity creator = test_identity(1), device = test_identity(2);
  weft_id space = test_id(0x44);
  weft_record in = admit_of(&space, &device), g = genesis_of(&creator), out;
  sealed s[2] = {seal(&creator, &in), seal(&creator, &g)};
  for (int i = 0; i < 2; i++) {
    uint8_t body[400] = {0};
    assert_int_equal(weft__record_parse(&out, weft_crypto_sodium(), weft__buf_view(&s[i].buf)),
                     WEFT_OK);
    size_t len = out.body.len;
    memcpy(body, out.body.at, len);
    for (size_t cut = 0; cut < len; cut++) {
      assert_int_equal(body_state(out.kind, body, cut), WEFT_RECORD_INVALID);
    }
    assert_int_equal(body_state(out.kind, body, len), WEFT_RECORD_VALID);
    assert_int_equal(body_state(out.kind, body, len + 7), WEFT_RECORD_VALID); /* fields to come */
    body[len - 1] = 0x1b; /* a control character in the device's name */
    assert_int_equal(body_state(out.kind, body, len), WEFT_RECORD_INVALID);
    if (out.kind == WEFT_RECORD_GENESIS) { /* and in the space's */
      body[len - 1] = 'x';
      body[66] = 0x7f;
      assert_int_equal(body_state(out.kind, body, len), WEFT_RECORD_INVALID);
    }
    weft__buf_free(&s[i].buf);
  }
}

static void labels(void **state) {
  (void)state;
  static const char *const good[] = {"a", "Küche 2", "\xf0\x9f\x8d\x8b", "\xc2\xa0", "0123456789"};
  static const char *const bad[] = {"",         "a\tb", "\x7f",       "\xc2\x9b",
                                    "\xc2\x80", "\xff", "01234567890"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    assert_true(weft__label_ok(weft_bytes_str(good[i]), 10));
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    assert_false(weft__label_ok(weft_bytes_str(bad[i]), 10));
  }
}

/* A name that looks like another, or turns what is printed behind it. */
static void names(void **state) {
  (void)state;
  static const char *const good[] = {"bob",          "Küche 2",          "\u0645\u0631\u06cc",
                                     "\u2708\ufe0f", "\U0001f3cb\ufe0f", "\u05d1\u05d5"};
  static const char *const bad[] = {"",
                                    "a\tb",
                                    "bob\u202e",
                                    "\u200ebob",
                                    "bo\u200bb",
                                    "bob\u2066",
                                    "bob\u00ad",
                                    "bob\ufeff",
                                    "a\u2028b",
                                    "a\u2029b",
                                    "bob\ufe0f",
                                    "\u3042\ufe0f",
                                    "\U0001fbff\ufe0f",
                                    "\ufe0f",
                                    "bob\u034f",
                                    "bob\u3164",
                                    "bo\u2060b",
                                    "\u2708\u200d",
                                    "bob\u061c",
                                    "bob\ufff9",
                                    "bob\U000e0041",
                                    "bob\U000e0100",
                                    "bob\U0001d173",
                                    "bob\U00013430"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    assert_true(weft__name_ok(weft_bytes_str(good[i]), 32));
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    if (weft__name_ok(weft_bytes_str(bad[i]), 32)) fail_msg("name %zu was taken", i);
  }
  assert_true(weft__label_ok(weft_bytes_str("bob\u202e"), 32)); /* what a record may say */
}

static void signing_refuses_what_reading_would(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  weft_alloc mem = weft_alloc_libc();
  weft_identity creator = test_identity(1), device = test_identity(2);
  weft_id space = test_id(0x44), id;
  static uint8_t big[WEFT_RECORD_LEN_MAX + 1];
  weft_record bad[10];
  for (size_t i = 0; i < 10; i++) bad[i] = i < 3 ? genesis_of(&creator) : admit_of(&space, &device);
  bad[0].genesis.space_name = weft_bytes_str("");
  bad[1].genesis.name = weft_bytes_str("\n");
  bad[2].space = space;
  bad[3].admit.name = weft_bytes_of(big, 65);
  bad[4].admit.role = (weft_role)4;
  bad[5].admit.role = (weft_role)0;
  bad[6].deps[1] = bad[6].deps[0];
  bad[7].dep_count = 0;
  bad[8].dep_count = WEFT_RECORD_DEPS_MAX + 1;
  bad[9].space = test_id(0);
  weft_buf buf;
  weft__buf_init(&buf, &mem, 2 * WEFT_RECORD_LEN_MAX);
  weft__buf_u8(&buf, 1);
  for (size_t i = 0; i < 10; i++) {
    assert_int_equal(weft__record_sign(&buf, c, &creator, &bad[i], &id), WEFT_EMISUSE);
    assert_int_equal(buf.len, 1);
  }
  weft_record raw = admit_of(&space, &device);
  raw.kind = WEFT_RECORD_REKEY;
  raw.body = weft_bytes_of(big, WEFT_RECORD_LEN_MAX);
  assert_int_equal(weft__record_sign(&buf, c, &creator, &raw, &id), WEFT_ELIMIT);
  raw.body = weft_bytes_of(big, WEFT_RECORD_LEN_MAX + 1);
  assert_int_equal(weft__record_sign(&buf, c, &creator, &raw, &id), WEFT_ELIMIT);
  raw.body = weft_bytes_of(big, WEFT_RECORD_LEN_MAX - at_deps - 1 - 96 - 2 - 64);
  assert_int_equal(weft__record_sign(&buf, c, &creator, &raw, &id), WEFT_OK);
  assert_int_equal(buf.len, 1 + WEFT_RECORD_LEN_MAX);
  weft_record out;
  weft_err err = weft__record_parse(&out, c, weft_bytes_of(buf.at, WEFT_RECORD_LEN_MAX + 1));
  assert_int_equal(err, WEFT_ELIMIT);
  weft__buf_free(&buf);
}

static void full_or_failing_buffers(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  weft_identity creator = test_identity(1);
  weft_record g = genesis_of(&creator);
  weft_id id;
  sealed s = seal(&creator, &g);
  for (size_t max = 0; max < s.buf.len; max++) {
    weft_alloc mem = weft_alloc_libc();
    weft_buf buf;
    weft__buf_init(&buf, &mem, max);
    assert_int_equal(weft__record_sign(&buf, c, &creator, &g, &id), WEFT_ELIMIT);
    weft__buf_free(&buf);
  }
  for (size_t at = 1;; at++) {
    test_fault_alloc fault = {.fail_at = at, .sticky = false};
    weft_alloc mem = test_fault_alloc_of(&fault);
    weft_buf buf;
    weft__buf_init(&buf, &mem, WEFT_RECORD_LEN_MAX);
    weft_err err = weft__record_sign(&buf, c, &creator, &g, &id);
    weft__buf_free(&buf);
    assert_int_equal(fault.live, 0);
    if (err == WEFT_OK) break;
    assert_int_equal(err, WEFT_ENOMEM);
  }
  weft__buf_free(&s.buf);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(genesis_round_trip),
      cmocka_unit_test(admit_round_trip),
      cmocka_unit_test(redeem_binds_every_part),
      cmocka_unit_test(every_flipped_bit_is_seen),
      cmocka_unit_test(the_future_is_carried_raw),
      cmocka_unit_test(a_record_has_its_place),
      cmocka_unit_test(bodies_are_whole),
      cmocka_unit_test(labels),
      cmocka_unit_test(names),
      cmocka_unit_test(signing_refuses_what_reading_would),
      cmocka_unit_test(full_or_failing_buffers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

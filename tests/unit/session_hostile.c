/* The secure session against a peer that holds the secret, speaks Noise, and breaks the rules above
 * it. */
#include "tests/support/session_world.h"

#include "net/noise.h"
#include "tests/support/hex.h"

typedef struct raw { /* one end made by hand, against the other side of a world */
  weft_noise noise;
  weft_noise_cipher sending, receiving;
} raw;

static void raw_start(raw *r, world *w, bool initiator) {
  uint8_t prologue[41] = "weft-v1\1\1";
  memcpy(prologue + 9, w->secret.space.b, 32);
  weft_key ephemeral = test_key(0x66);
  weft_noise_options o = {
      .initiator = initiator,
      .prologue = weft_bytes_of(prologue, sizeof prologue),
      .ephemeral = &ephemeral,
      .own_static = &w->id[initiator ? A : B].x_secret,
      .psks = &w->secret.psk,
      .psk_count = 1,
  };
  assert_int_equal(weft__noise_start(&r->noise, weft_crypto_sodium(), &o), WEFT_OK);
}

/* Writes the next handshake message with this payload to the session of side `to`. */
static void raw_message(raw *r, world *w, size_t to, weft_bytes payload) {
  uint8_t out[2 + 2048];
  size_t len;
  assert_int_equal(weft__noise_write(&r->noise, payload, out + 2, 2048, &len), WEFT_OK);
  out[0] = (uint8_t)(len >> 8);
  out[1] = (uint8_t)len;
  feed(w, to, weft_bytes_of(out, 2 + len));
}

static void raw_prelude(raw *r, world *w) {
  uint8_t out[18] = {1, 1};
  weft__hint(out + 2, weft_crypto_sodium(), &w->secret, 1, r->noise.ephemeral_public.b,
             &w->id[B].device);
  feed(w, B, weft_bytes_of(out, sizeof out));
}

/* Reads the next handshake message that side `from` has sent. */
static void raw_read(raw *r, world *w, size_t from, size_t skip) {
  uint8_t payload[2048];
  size_t len;
  weft_bytes message = weft_bytes_of(w->sent[from].at + skip + 2, w->sent[from].len - skip - 2);
  assert_int_equal(weft__noise_read(&r->noise, message, payload, &len), WEFT_OK);
  w->sent[from].len = 0;
}

/* Makes a payload of hex text for the body, padded to `size`; `dirty` puts a byte into the padding.
 */
static weft_bytes payload_of(uint8_t out[1100], const char *hex, size_t size, bool dirty) {
  memset(out, 0, 1100);
  size_t len = test_hex(hex, out + 2, 1000);
  out[0] = (uint8_t)(len >> 8);
  out[1] = (uint8_t)len;
  if (dirty) out[size - 1] = 1;
  return weft_bytes_of(out, size);
}

#define TODAY "cf000001977420dc00" /* unix_start as msgpack */
#define CERT                                                                                       \
  "c460"                                                                                           \
  "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"       \
  "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"       \
  "0000000000000000"

static void first_payloads_that_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *body;
    size_t size;
    bool dirty, ok;
  } known[] = {
      {"94" TODAY "010100", 64, false, true},
      {"94" TODAY "010100", 15, false, true}, /* no padding at all */
      {"94" TODAY "010100", 900, false, true},
      {"96" TODAY "010100c0a3616263", 64, false, true}, /* more fields of a later version */
      {"94" TODAY "010100", 64, true, false},
      {"94" TODAY "010100", 977, false, false},                /* over the longest message */
      {"93" TODAY "0101", 64, false, false},                   /* a field is missing */
      {"94" TODAY "020100", 64, false, false},                 /* versions upside down */
      {"94" TODAY "01cd010000", 64, false, false},             /* version over 255 */
      {"94" TODAY "0101cf0000000100000000", 64, false, false}, /* caps over 32 bits */
      {"94" TODAY "010100c0", 64, false, false},               /* something behind the array */
      {"94ff010100", 64, false, false},                        /* a negative clock */
      {"94cfffffffffffffffff010100", 64, false, false},        /* a clock beyond int64 */
      {"94" TODAY "01cc0100", 64, false, false},               /* not the shortest integer */
      {"80", 64, false, false},
      {"c0", 64, false, false},
      {"", 64, false, false},
      {"dd00100000", 64, false, false}, /* promises a million items */
      {"94" TODAY "0101", 64, false, false},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    world w;
    raw r;
    uint8_t payload[1100];
    world_init(&w);
    world_start(&w);
    raw_start(&r, &w, true);
    raw_prelude(&r, &w);
    raw_message(&r, &w, B, payload_of(payload, known[i].body, known[i].size, known[i].dirty));
    if (w.sends[B] != known[i].ok) fail_msg("payload %zu: %zu answers", i, w.sends[B]);
    if (!known[i].ok) assert_int_equal(run_out(&w, B), WEFT_EMALFORMED);
    world_end(&w);
  }
}

static void first_payload_shorter_than_its_length(void **state) {
  (void)state;
  static const uint8_t lies[][3] = {{0, 2, 0x90}, {0xff, 0xff, 0}, {1, 0, 0x90}};
  for (size_t i = 0; i < 3; i++) {
    world w;
    raw r;
    world_init(&w);
    world_start(&w);
    raw_start(&r, &w, true);
    raw_prelude(&r, &w);
    raw_message(&r, &w, B, weft_bytes_of(lies[i], 3));
    assert_int_equal(w.sends[B], 0);
    assert_int_equal(run_out(&w, B), WEFT_EMALFORMED);
    world_end(&w);
  }
}

static void second_payloads_that_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *body;
    weft_err why;
  } known[] = {
      {"9502"
       "00" CERT "c4080000000000000000" TODAY,
       WEFT_EPROTO}, /* a version we did not offer */
      {"9500"
       "00" CERT "c4080000000000000000" TODAY,
       WEFT_EPROTO},
      {"9501"
       "00" CERT "c4080000000000000000" TODAY,
       WEFT_EBADSIG},
      {"9501"
       "00" CERT "c40700000000000000" TODAY,
       WEFT_EMALFORMED},
      {"9501"
       "00"
       "c40100"
       "c4080000000000000000" TODAY,
       WEFT_EMALFORMED},
      {"9501"
       "00"
       "a0"
       "c4080000000000000000" TODAY,
       WEFT_EMALFORMED},
      {"9401"
       "00" CERT "c4080000000000000000",
       WEFT_EMALFORMED},
      {"c3", WEFT_EMALFORMED},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    world w;
    raw r;
    uint8_t payload[1100];
    world_init(&w);
    world_start(&w);
    drain(&w, A);
    raw_start(&r, &w, false);
    raw_read(&r, &w, A, 18);
    raw_message(&r, &w, A, payload_of(payload, known[i].body, 256, false));
    assert_int_equal(w.closed[A], known[i].why);
    assert_int_equal(w.sends[A], 1);
    world_end(&w);
  }
}

/* A raw initiator up to its third message. */
static void raw_to_m3(raw *r, world *w) {
  uint8_t payload[1100];
  world_init(w);
  world_start(w);
  raw_start(r, w, true);
  raw_prelude(r, w);
  raw_message(r, w, B, payload_of(payload, "94" TODAY "010100", 64, false));
  raw_read(r, w, B, 0);
}

static void third_payloads_that_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *body;
    weft_err why;
  } known[] = {
      {"9200" CERT, WEFT_EBADSIG},
      {"9200c0", WEFT_EMALFORMED},
      {"9100", WEFT_EMALFORMED},
      {"00", WEFT_EMALFORMED},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    world w;
    raw r;
    uint8_t payload[1100];
    raw_to_m3(&r, &w);
    raw_message(&r, &w, B, payload_of(payload, known[i].body, 256, false));
    assert_int_equal(w.closed[B], known[i].why);
    assert_false(w.established[B]);
    world_end(&w);
  }
}

/* An insider sends a point of low order as its ephemeral key: no answer. */
static void low_order_first_message_draws_nothing(void **state) {
  (void)state;
  world w;
  raw r;
  uint8_t payload[1100];
  world_init(&w);
  world_start(&w);
  raw_start(&r, &w, true);
  memset(&r.noise.ephemeral_public, 0, sizeof r.noise.ephemeral_public);
  raw_prelude(&r, &w);
  raw_message(&r, &w, B, payload_of(payload, "94" TODAY "010100", 64, false));
  assert_int_equal(w.sends[B], 0);
  assert_int_equal(run_out(&w, B), WEFT_EAUTH);
  world_end(&w);
}

static void lengths_of_handshake_messages(void **state) {
  (void)state;
  static const uint8_t bad[][2] = {{0, 0}, {0, 63}, {4, 1}, {0xff, 0xff}};
  for (size_t i = 0; i < 4; i++) {
    world w;
    raw r;
    raw_to_m3(&r, &w);
    feed(&w, B, weft_bytes_of(bad[i], 2));
    assert_int_equal(w.closed[B], WEFT_EPROTO);
    world_end(&w);
    world_init(&w);
    world_start(&w);
    drain(&w, A);
    feed(&w, A, weft_bytes_of(bad[i], 2));
    assert_int_equal(w.closed[A], WEFT_EPROTO);
    world_end(&w);
  }
}

static void nothing_may_come_before_m3(void **state) {
  (void)state;
  world w;
  world_init(&w);
  w.refuse = true;
  world_start(&w);
  pump(&w);
  feed(&w, A, weft_bytes_of("\0\120", 2));
  assert_int_equal(w.closed[A], WEFT_EPROTO);
  assert_int_equal(w.sends[A], 1);
  world_end(&w);
}

/* A raw initiator with an established session behind it. */
static void raw_open(raw *r, world *w) {
  uint8_t payload[1100] = {0, 0x64, 0x92, 0, 0xc4, 96};
  weft_cert cert;
  raw_to_m3(r, w);
  weft_cert_sign(&cert, weft_crypto_sodium(), &w->id[A], &w->secret.space);
  weft_cert_encode(payload + 6, &cert);
  raw_message(r, w, B, weft_bytes_of(payload, 256));
  assert_true(w->established[B]);
  assert_int_equal(weft__noise_split(&r->noise, &r->sending, &r->receiving), WEFT_OK);
}

static void raw_record(raw *r, world *w, uint8_t type, uint8_t flags, size_t body_len, size_t len) {
  static uint8_t plain[70000], out[70000];
  memset(plain, 0, sizeof plain);
  plain[0] = type;
  plain[1] = flags;
  plain[2] = (uint8_t)(body_len >> 8);
  plain[3] = (uint8_t)body_len;
  memset(plain + 4, 0xab, body_len);
  weft_bytes in = weft_bytes_of(plain, len);
  assert_int_equal(weft__noise_seal(&r->sending, none, in, out + 2), WEFT_OK);
  out[0] = (uint8_t)((len + WEFT_TAG_LEN) >> 8);
  out[1] = (uint8_t)(len + WEFT_TAG_LEN);
  feed(w, B, weft_bytes_of(out, 2 + len + WEFT_TAG_LEN));
}

/* The session must have said ERROR with this code as its last words. */
static void expect_error(raw *r, world *w, weft_err why, uint8_t code) {
  uint8_t plain[128];
  weft_record_view view;
  assert_int_equal(w->closed[B], why);
  assert_int_equal(w->sent[B].len, 2 + 64 + WEFT_TAG_LEN);
  weft_bytes sealed = weft_bytes_of(w->sent[B].at + 2, 64 + WEFT_TAG_LEN);
  assert_int_equal(weft__noise_open(&r->receiving, none, sealed, plain), WEFT_OK);
  assert_int_equal(weft__record_read(weft_bytes_of(plain, 64), &view), WEFT_OK);
  const uint8_t body[] = {0x94, code, 0, 0, 0xa0};
  assert_int_equal(view.type, WEFT_FRAME_ERROR);
  assert_int_equal(view.body.len, sizeof body);
  assert_memory_equal(view.body.at, body, sizeof body);
}

static void records_that_break_a_rule_are_answered(void **state) {
  (void)state;
  static const struct {
    uint8_t type, flags;
    uint16_t body_len;
    size_t len;
    weft_err why;
    uint8_t code;
  } known[] = {
      {WEFT_FRAME_PING, 2, 0, 64, WEFT_EPROTO, WEFT_CODE_PROTO},        /* unknown flag */
      {WEFT_FRAME_PING, 1, 9, 64, WEFT_EPROTO, WEFT_CODE_PROTO},        /* may not go on */
      {WEFT_FRAME_CHANGES, 1, 0, 64, WEFT_EPROTO, WEFT_CODE_PROTO},     /* goes on with nothing */
      {WEFT_FRAME_PING, 0, 61, 64, WEFT_EPROTO, WEFT_CODE_PROTO},       /* longer than it is */
      {WEFT_FRAME_WANT, 0, 16385, 16640, WEFT_ELIMIT, WEFT_CODE_LIMIT}, /* control is short */
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    world w;
    raw r;
    raw_open(&r, &w);
    raw_record(&r, &w, known[i].type, known[i].flags, known[i].body_len, known[i].len);
    expect_error(&r, &w, known[i].why, known[i].code);
    assert_int_equal(w.frames[B], 0);
    world_end(&w);
  }
}

static void record_lengths_are_checked_before_they_come(void **state) {
  (void)state;
  static const uint8_t bad[][2] = {{0, 0}, {0, 16}, {0, 79}, {0, 81}, {0xff, 0xfe}, {4, 17}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    world w;
    raw r;
    raw_open(&r, &w);
    feed(&w, B, weft_bytes_of(bad[i], 2));
    expect_error(&r, &w, WEFT_EPROTO, WEFT_CODE_PROTO);
    world_end(&w);
  }
}

static void padding_that_is_not_zero(void **state) {
  (void)state;
  world w;
  raw r;
  raw_open(&r, &w);
  uint8_t plain[64] = {WEFT_FRAME_PING}, out[2 + 64 + WEFT_TAG_LEN] = {0, 80};
  plain[63] = 1;
  assert_int_equal(weft__noise_seal(&r.sending, none, weft_bytes_of(plain, 64), out + 2), WEFT_OK);
  feed(&w, B, weft_bytes_of(out, sizeof out));
  expect_error(&r, &w, WEFT_EPROTO, WEFT_CODE_PROTO);
  world_end(&w);
}

static void what_may_stand_between_the_records_of_a_frame(void **state) {
  (void)state;
  for (unsigned type = 1; type < 256; type++) {
    world w;
    raw r;
    raw_open(&r, &w);
    raw_record(&r, &w, WEFT_FRAME_GOSSIP, WEFT_RECORD_MORE, 40, 64);
    assert_int_equal(w.frames[B], 0);
    if (type == WEFT_FRAME_GOSSIP) {
      raw_record(&r, &w, WEFT_FRAME_GOSSIP, WEFT_RECORD_MORE, 30, 64);
      assert_int_equal(weft_session_stats_of(w.s[B]).partial, 70);
    } else if (type == WEFT_FRAME_PRESENCE || type == WEFT_FRAME_EXPRESS ||
               (type >= WEFT_FRAME_PING && type <= WEFT_FRAME_BYE)) {
      raw_record(&r, &w, (uint8_t)type, 0, 3, 64);
      assert_int_equal(w.last_type[B], type);
    } else {
      bool more = type % 2 && weft__frame_is_bulk((uint8_t)type);
      raw_record(&r, &w, (uint8_t)type, more, 3, 64);
      expect_error(&r, &w, WEFT_EPROTO, WEFT_CODE_PROTO);
      world_end(&w);
      continue;
    }
    size_t before = w.frames[B];
    raw_record(&r, &w, WEFT_FRAME_GOSSIP, 0, 5, 64);
    assert_int_equal(w.frames[B], before + 1);
    assert_int_equal(w.last_type[B], WEFT_FRAME_GOSSIP);
    assert_int_equal(w.last_len[B], type == WEFT_FRAME_GOSSIP ? 75 : 45);
    assert_int_equal(weft_session_stats_of(w.s[B]).partial, 0);
    world_end(&w);
  }
}

static void an_empty_record_may_end_a_frame(void **state) {
  (void)state;
  world w;
  raw r;
  raw_open(&r, &w);
  raw_record(&r, &w, WEFT_FRAME_ACK, WEFT_RECORD_MORE, 10, 64);
  raw_record(&r, &w, WEFT_FRAME_ACK, 0, 0, 64);
  assert_int_equal(w.last_len[B], 10);
  raw_record(&r, &w, WEFT_FRAME_ACK, 0, 0, 64);
  assert_int_equal(w.last_len[B], 0);
  assert_int_equal(w.frames[B], 2);
  world_end(&w);
}

static void a_frame_over_its_limit_ends_it(void **state) {
  (void)state;
  world w;
  raw r;
  raw_open(&r, &w);
  size_t count = WEFT_SESSION_BODY_MAX / WEFT_RECORD_BODY_MAX;
  for (size_t i = 0; i <= count; i++) {
    assert_int_equal(w.closed[B], alive);
    raw_record(&r, &w, WEFT_FRAME_CHANGES, WEFT_RECORD_MORE, WEFT_RECORD_BODY_MAX, 65519);
  }
  expect_error(&r, &w, WEFT_ELIMIT, WEFT_CODE_LIMIT);
  assert_int_equal(w.frames[B], 0);
  world_end(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(first_payloads_that_are_refused),
      cmocka_unit_test(first_payload_shorter_than_its_length),
      cmocka_unit_test(second_payloads_that_are_refused),
      cmocka_unit_test(third_payloads_that_are_refused),
      cmocka_unit_test(low_order_first_message_draws_nothing),
      cmocka_unit_test(lengths_of_handshake_messages),
      cmocka_unit_test(nothing_may_come_before_m3),
      cmocka_unit_test(records_that_break_a_rule_are_answered),
      cmocka_unit_test(record_lengths_are_checked_before_they_come),
      cmocka_unit_test(padding_that_is_not_zero),
      cmocka_unit_test(what_may_stand_between_the_records_of_a_frame),
      cmocka_unit_test(an_empty_record_may_end_a_frame),
      cmocka_unit_test(a_frame_over_its_limit_ends_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

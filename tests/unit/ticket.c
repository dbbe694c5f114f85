/* Tickets: round trips, a known text, every single slip of the hand, and derived keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "crdt/address.h"
#include "crdt/ticket.h"
#include "tests/support/docs.h"
#include "tests/support/hex.h"
#include "tests/support/rng.h"

static void put_address(weft_ticket *t, const char *text) {
  weft_ticket_address *a = &t->addresses[t->address_count++];
  a->len = (uint8_t)strlen(text);
  memcpy(a->text, text, a->len);
}

static weft_ticket ticket_of(void) {
  weft_ticket t;
  memset(&t, 0, sizeof t);
  memset(t.space.b, 0x11, 32);
  memset(t.seed.b, 0x22, 32);
  memset(t.issuer.b, 0x33, 32);
  t.role = WEFT_ROLE_WRITER;
  t.expires = 1767225600000;
  put_address(&t, "192.168.1.20:4711");
  put_address(&t, "[fe80::1]:4711");
  return t;
}

static weft_err parse(weft_ticket *t, const char *text, weft_ticket_error *why) {
  return weft__ticket_parse(t, weft_crypto_sodium(), weft_bytes_str(text), why);
}

static void known_text(void **state) {
  (void)state;
  weft_ticket t = ticket_of(), back;
  char text[WEFT_TICKET_LEN_MAX + 1];
  assert_int_equal(weft__ticket_encode(text, weft_crypto_sodium(), &t), WEFT_OK);
  test_assert_docs_text(weft_bytes_str(text), "wire.md", "ticket");
  assert_int_equal(parse(&back, text, NULL), WEFT_OK);
  assert_memory_equal(&back, &t, sizeof t);
}

/* The bytes under the letters, as base32 of RFC 4648 has them. */
static size_t unpacked(const char *text, uint8_t out[WEFT_TICKET_LEN_MAX]) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
  uint32_t bits = 0, held = 0;
  size_t len = 0;
  for (const char *c = text; *c; c++) {
    const char *at = strchr(letters, *c);
    assert_non_null(at);
    bits = bits << 5 | (uint32_t)(at - letters);
    if ((held += 5) < 8) continue;
    held -= 8;
    out[len++] = (uint8_t)(bits >> held);
  }
  return len;
}

static void known_bytes(void **state) {
  (void)state;
  weft_ticket t = ticket_of();
  char text[WEFT_TICKET_LEN_MAX + 1];
  uint8_t bytes[WEFT_TICKET_LEN_MAX];
  assert_int_equal(weft__ticket_encode(text, weft_crypto_sodium(), &t), WEFT_OK);
  size_t len = unpacked(text + strlen("weft1"), bytes);
  test_assert_docs(weft_bytes_of(bytes, len), "wire.md", "ticket-bytes");
}

static void upper_case_is_the_same(void **state) {
  (void)state;
  weft_ticket t = ticket_of(), back;
  char text[WEFT_TICKET_LEN_MAX + 1];
  assert_int_equal(weft__ticket_encode(text, weft_crypto_sodium(), &t), WEFT_OK);
  for (char *c = text; *c; c++) {
    if (*c >= 'a' && *c <= 'z') *c = (char)(*c - 'a' + 'A');
  }
  assert_int_equal(parse(&back, text, NULL), WEFT_OK);
  assert_memory_equal(&back, &t, sizeof t);
}

static void generated_round_trips(void **state) {
  (void)state;
  static const char *const hosts[] = {
      "10.0.0.1:1",
      "host.example:65535",
      "[::]:80",
      "a:1",
      "[2001:db8::aa:1.2.3.4]:443",
      "a-very-long-name-that-takes-all-the-room.there-is.invalid:65001"};
  for (uint64_t seed = 1; seed <= 500; seed++) {
    test_rng rng = test_rng_of(seed);
    weft_ticket t, back;
    char text[WEFT_TICKET_LEN_MAX + 2];
    memset(&t, 0, sizeof t);
    test_rng_fill(&rng, t.space.b, 32);
    test_rng_fill(&rng, t.seed.b, 32);
    test_rng_fill(&rng, t.issuer.b, 32);
    t.role = (weft_role)(1 + test_rng_below(&rng, 3));
    t.expires = test_rng_chance(&rng, 30) ? WEFT_NEVER : test_rng_next(&rng);
    uint64_t count = test_rng_below(&rng, 5);
    for (uint64_t i = 0; i < count; i++) put_address(&t, hosts[test_rng_below(&rng, 6)]);
    assert_int_equal(weft__ticket_encode(text, weft_crypto_sodium(), &t), WEFT_OK);
    assert_true(strlen(text) <= WEFT_TICKET_LEN_MAX);
    assert_int_equal(parse(&back, text, NULL), WEFT_OK);
    assert_memory_equal(&back, &t, sizeof t);
    size_t len = strlen(text); /* nothing can be added, whatever is left over in the last letter */
    memcpy(text + len, "a", 2);
    assert_int_equal(parse(&back, text, NULL), WEFT_EMALFORMED);
  }
}

static void every_changed_character_is_refused(void **state) {
  (void)state;
  weft_ticket t = ticket_of(), back, zeros;
  char text[WEFT_TICKET_LEN_MAX + 1];
  memset(&zeros, 0, sizeof zeros);
  assert_int_equal(weft__ticket_encode(text, weft_crypto_sodium(), &t), WEFT_OK);
  for (size_t at = 0; text[at]; at++) {
    char was = text[at];
    for (int c = 1; c < 256; c++) {
      if ((char)c == was) continue;
      text[at] = (char)c;
      weft_ticket_error why = {NULL, 0};
      assert_int_equal(parse(&back, text, &why), WEFT_EMALFORMED);
      assert_non_null(why.text);
      assert_memory_equal(&back, &zeros, sizeof zeros);
    }
    text[at] = was;
  }
}

static void every_cut_is_refused(void **state) {
  (void)state;
  weft_ticket t = ticket_of(), back;
  char text[WEFT_TICKET_LEN_MAX + 1];
  assert_int_equal(weft__ticket_encode(text, weft_crypto_sodium(), &t), WEFT_OK);
  size_t len = strlen(text);
  for (size_t cut = 0; cut < len; cut++) {
    weft_err err = weft__ticket_parse(&back, weft_crypto_sodium(), weft_bytes_of(text, cut), NULL);
    assert_int_equal(err, WEFT_EMALFORMED);
    memmove(text + cut, text + cut + 1, len - cut); /* or one character lost in the middle */
    assert_int_equal(parse(&back, text, NULL), WEFT_EMALFORMED);
    assert_int_equal(weft__ticket_encode(text, weft_crypto_sodium(), &t), WEFT_OK);
  }
  text[len] = 'a';
  assert_int_equal(
      weft__ticket_parse(&back, weft_crypto_sodium(), weft_bytes_of(text, len + 1), NULL),
      WEFT_EMALFORMED);
}

static void reasons_are_told(void **state) {
  (void)state;
  weft_ticket t = ticket_of(), back;
  weft_ticket_error why;
  char text[WEFT_TICKET_LEN_MAX + 1], big[WEFT_TICKET_LEN_MAX + 2];
  assert_int_equal(parse(&back, "hello", &why), WEFT_EMALFORMED);
  assert_string_equal(why.text, "does not begin with weft1");
  assert_int_equal(parse(&back, "weft", &why), WEFT_EMALFORMED);
  assert_string_equal(why.text, "does not begin with weft1");
  assert_int_equal(parse(&back, "Weft1aaaa", &why), WEFT_EMALFORMED);
  assert_string_equal(why.text, "does not begin with weft1");
  memset(big, 'a', sizeof big);
  memcpy(big, "weft1", 5);
  assert_int_equal(weft__ticket_parse(&back, weft_crypto_sodium(),
                                      weft_bytes_of(big, WEFT_TICKET_LEN_MAX + 1), &why),
                   WEFT_EMALFORMED);
  assert_string_equal(why.text, "is longer than a ticket can be");
  assert_int_equal(weft__ticket_encode(text, weft_crypto_sodium(), &t), WEFT_OK);
  text[20] = 'Q';
  assert_int_equal(parse(&back, text, &why), WEFT_EMALFORMED);
  assert_string_equal(why.text, "mixes upper and lower case");
  assert_int_equal(why.offset, 20);
  text[20] = '1';
  assert_int_equal(parse(&back, text, &why), WEFT_EMALFORMED);
  assert_string_equal(why.text, "has a character that no ticket has");
  assert_int_equal(why.offset, 20);
  text[20] = 0;
  assert_int_equal(parse(&back, text, &why), WEFT_EMALFORMED);
  assert_string_equal(why.text, "is cut short or mistyped");
}

/* Wraps any bytes as a ticket with a right checksum. */
static void wrap(char *text, const uint8_t *raw, size_t len) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
  static const uint8_t personal[16] = "weft-ticket-v1";
  uint8_t all[400], hash[16];
  weft_bytes part = weft_bytes_of(raw, len);
  weft_crypto_sodium()->hash(hash, 16, weft_bytes_of(NULL, 0), NULL, personal, &part, 1);
  if (len) memcpy(all, raw, len);
  memcpy(all + len, hash, 4);
  memset(all + len + 4, 0, 2);
  len += 4;
  memcpy(text, "weft1", 5);
  size_t count = (8 * len + 4) / 5;
  for (size_t i = 0; i < count; i++) {
    unsigned value = 0;
    for (size_t bit = 5 * i; bit < 5 * i + 5; bit++) {
      value = value << 1 | (all[bit / 8] >> (7 - bit % 8) & 1);
    }
    text[5 + i] = letters[value];
  }
  text[5 + count] = 0;
}

static void content_is_judged(void **state) {
  (void)state;
  enum { at_role = 97, at_count = 106, at_len = 107 };
  weft_ticket back;
  weft_ticket_error why;
  char text[WEFT_TICKET_LEN_MAX + 1];
  uint8_t raw[120] = {1};
  raw[at_role] = 3;
  raw[at_count] = 1;
  raw[at_len] = 3;
  memcpy(raw + at_len + 1, "h:1", 3);
  size_t len = at_len + 4;
  wrap(text, raw, len);
  assert_int_equal(parse(&back, text, &why), WEFT_OK);
  for (size_t cut = 0; cut < len; cut++) {
    wrap(text, raw, cut);
    assert_int_equal(parse(&back, text, &why), WEFT_EMALFORMED);
  }
  wrap(text, raw, len + 1);
  assert_int_equal(parse(&back, text, &why), WEFT_EMALFORMED);
  assert_string_equal(why.text, "says something that no ticket may say");
  static const struct {
    size_t at;
    uint8_t with;
    weft_err err;
  } cases[] = {{0, 2, WEFT_EVERSION},
               {0, 0, WEFT_EVERSION},
               {at_role, 0, WEFT_EMALFORMED},
               {at_role, 4, WEFT_EMALFORMED},
               {at_count, 5, WEFT_EMALFORMED},
               {at_count, 0, WEFT_EMALFORMED},
               {at_count, 2, WEFT_EMALFORMED},
               {at_len, 2, WEFT_EMALFORMED},
               {at_len, 200, WEFT_EMALFORMED},
               {at_len + 1, ' ', WEFT_EMALFORMED},
               {at_len + 3, 'x', WEFT_EMALFORMED}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    uint8_t was = raw[cases[i].at];
    raw[cases[i].at] = cases[i].with;
    wrap(text, raw, len);
    assert_int_equal(parse(&back, text, &why), cases[i].err);
    raw[cases[i].at] = was;
  }
  uint8_t wide[at_len + 66] = {1}; /* an address of 65 bytes */
  wide[at_role] = 1;
  wide[at_count] = 1;
  wide[at_len] = 65;
  memset(wide + at_len + 1, 'a', 65);
  wrap(text, wide, sizeof wide);
  assert_int_equal(parse(&back, text, NULL), WEFT_EMALFORMED);
}

static void encoding_refuses_misuse(void **state) {
  (void)state;
  char text[WEFT_TICKET_LEN_MAX + 1];
  weft_ticket bad[5];
  for (size_t i = 0; i < 5; i++) bad[i] = ticket_of();
  bad[0].role = (weft_role)0;
  bad[1].role = (weft_role)4;
  bad[2].address_count = 5;
  bad[3].addresses[1].len = 65;
  bad[4].addresses[0].text[0] = ' ';
  for (size_t i = 0; i < 5; i++) {
    assert_int_equal(weft__ticket_encode(text, weft_crypto_sodium(), &bad[i]), WEFT_EMISUSE);
  }
}

static void derived_keys(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  static const weft_ticket_keys no_ticket;
  static const weft_epoch_keys no_epoch;
  weft_ticket t = ticket_of();
  weft_ticket_keys k;
  weft_epoch_keys e;
  weft_key secret;
  weft__ticket_keys_derive(&k, c, &t.seed);
  test_assert_hex(weft_bytes_of(k.join.b, 32),
                  "0f2b05d6f40dd1a4823b36f316cc0d9cb10198ec14b49cb14eec4f24a10abd18");
  test_assert_hex(weft_bytes_of(k.tag.b, 32),
                  "c400777cdbe1243fe5c1b5c1d249dbe4a1510879008ce1aad6c538cffc432e9a");
  test_assert_hex(weft_bytes_of(k.invite_seed.b, 32),
                  "b0bfa9f7d942a6c4001736ef5fc302bb3449a8754aab308df04ad2f832879769");
  test_assert_hex(weft_bytes_of(k.invite.b, 32),
                  "be393c3ff10f2908978c29f50fdf7a094e60e4ca7ec0eaf2ac9a3595ceec7798");
  memset(secret.b, 0x44, sizeof secret.b);
  weft__epoch_keys_derive(&e, c, &secret);
  test_assert_hex(weft_bytes_of(e.noise.b, 32),
                  "210efec396c9f8d3c83a2dc7e19fca9bc76b991b2c24ad715f9802ed93381b0c");
  test_assert_hex(weft_bytes_of(e.beacon.b, 32),
                  "2a33773444cd29a01eb669d7a6148ae27855b4f6385ecba1a3eef6e22ccd1bd6");
  test_assert_hex(weft_bytes_of(e.tag.b, 32),
                  "1406a4538db7a943c2f4d80034fae31ee7b1680f327d9c80b4890f7bc528c62a");
  weft__ticket_keys_wipe(&k, c);
  assert_memory_equal(&k, &no_ticket, sizeof k);
  weft__epoch_keys_wipe(&e, c);
  assert_memory_equal(&e, &no_epoch, sizeof e);
  uint8_t epoch[WEFT_EPOCH_ID_LEN];
  for (uint8_t i = 0; i < 32; i++) t.space.b[i] = i;
  weft__epoch_id(epoch, &t.space);
  test_assert_hex(weft_bytes_of(epoch, 8), "0001020304050607");
}

static const struct {
  const char *text;
  int kind; /* -1: refused */
} address_cases[] = {
    {"host:1", WEFT_HOST_NAME},
    {"a.b-c_d.example:4711", WEFT_HOST_NAME},
    {"1a:80", WEFT_HOST_NAME},
    {"10.0.0.1:65535", WEFT_HOST_IPV4},
    {"255.255.255.255:1", WEFT_HOST_IPV4},
    {"[::]:1", WEFT_HOST_IPV6},
    {"[::1]:1", WEFT_HOST_IPV6},
    {"[1::]:1", WEFT_HOST_IPV6},
    {"[1:2:3:4:5:6:7:8]:1", WEFT_HOST_IPV6},
    {"[1:2:3:4:5:6:1.2.3.4]:1", WEFT_HOST_IPV6},
    {"[::ffff:1.2.3.4]:1", WEFT_HOST_IPV6},
    {"[1:2:3::8]:1", WEFT_HOST_IPV6},
    {"[ABCD::abcd]:1", WEFT_HOST_IPV6},
    {"", -1},
    {":", -1},
    {":1", -1},
    {"host", -1},
    {"host:", -1},
    {"host:0", -1},
    {"host:01", -1},
    {"host:65536", -1},
    {"host:100000", -1},
    {"host:1x", -1},
    {"ho st:1", -1},
    {"h\xc3\xbc:1", -1},
    {"-h:1", -1},
    {"h-:1", -1},
    {"h..x:1", -1},
    {".h:1", -1},
    {"h.:1", -1},
    {"10.0.0.256:1", -1},
    {"10.0.0:1", -1},
    {"10.0.0.1.2:1", -1},
    {"10.00.0.1:1", -1},
    {"1:1", -1},
    {"::1:80", -1},
    {"[::1:80", -1},
    {"[:1", -1},
    {"[]:1", -1},
    {"[:]:1", -1},
    {"[:::]:1", -1},
    {"[1::2::3]:1", -1},
    {"[1:2:3:4:5:6:7]:1", -1},
    {"[1:2:3:4:5:6:7:8:9]:1", -1},
    {"[1:2:3:4:5:6:7::]:1", WEFT_HOST_IPV6},
    {"[1:2:3:4:5:6:7::8]:1", -1},
    {"[1:2:3:4:5:6:7:8::]:1", -1},
    {"[1:2:3:4:5:6:7:]:1", -1},
    {"[1:]:1", -1},
    {"[:1::]:1", -1},
    {"[12345::]:1", -1},
    {"[g::]:1", -1},
    {"[fe80::1%eth0]:1", -1},
    {"[1.2.3.4]:1", -1},
    {"[::1.2.3]:1", -1},
    {"[1.2.3.4::]:1", -1},
};

static void addresses(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof address_cases / sizeof address_cases[0]; i++) {
    weft_address a;
    weft_err err = weft__address_parse(&a, weft_bytes_str(address_cases[i].text));
    if ((err == WEFT_OK) != (address_cases[i].kind >= 0))
      print_error("%s\n", address_cases[i].text);
    assert_int_equal(err, address_cases[i].kind < 0 ? WEFT_EMALFORMED : WEFT_OK);
    if (err == WEFT_OK) assert_int_equal((int)a.kind, address_cases[i].kind);
  }
  weft_address a;
  assert_int_equal(weft__address_parse(&a, weft_bytes_str("[::1]:4711")), WEFT_OK);
  assert_int_equal(a.port, 4711);
  assert_int_equal(weft_bytes_cmp(a.host, weft_bytes_str("::1")), 0);
  char long_label[66 + 2];
  memset(long_label, 'a', sizeof long_label);
  memcpy(long_label + 62, ":1", 3);
  assert_int_equal(weft__address_parse(&a, weft_bytes_of(long_label, 64)), WEFT_OK);
  assert_int_equal(weft__address_parse(&a, weft_bytes_of(long_label, 65)), WEFT_ELIMIT);
}

/* The system's reader of addresses agrees on generated ones. */
static void addresses_as_the_system_reads_them(void **state) {
  (void)state;
  unsigned good = 0;
  for (uint64_t seed = 1; seed <= 200000; seed++) {
    test_rng rng = test_rng_of(seed);
    static const char *const parts[] = {":",  ":", ":",        "::", "1",
                                        "ff", "0", "12.3.4.5", ".",  "255"};
    char host[40] = "", text[50];
    size_t count = 1 + test_rng_below(&rng, 16);
    for (size_t i = 0; i < count && strlen(host) < 30; i++) {
      const char *part = parts[test_rng_below(&rng, 10)];
      if (i % 2 && test_rng_chance(&rng, 70)) part = ":";
      memcpy(host + strlen(host), part, strlen(part) + 1);
    }
    uint8_t raw[16];
    weft_address a;
    snprintf(text, sizeof text, "[%s]:1", host);
    bool six = inet_pton(AF_INET6, host, raw) == 1;
    assert_int_equal(weft__address_parse(&a, weft_bytes_str(text)) == WEFT_OK, six);
    snprintf(text, sizeof text, "%s:1", host);
    bool four = inet_pton(AF_INET, host, raw) == 1;
    bool taken = weft__address_parse(&a, weft_bytes_str(text)) == WEFT_OK;
    assert_int_equal(taken && a.kind == WEFT_HOST_IPV4, four);
    good += six;
  }
  assert_true(good > 1000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_text),
      cmocka_unit_test(known_bytes),
      cmocka_unit_test(upper_case_is_the_same),
      cmocka_unit_test(generated_round_trips),
      cmocka_unit_test(every_changed_character_is_refused),
      cmocka_unit_test(every_cut_is_refused),
      cmocka_unit_test(reasons_are_told),
      cmocka_unit_test(content_is_judged),
      cmocka_unit_test(encoding_refuses_misuse),
      cmocka_unit_test(derived_keys),
      cmocka_unit_test(addresses),
      cmocka_unit_test(addresses_as_the_system_reads_them),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

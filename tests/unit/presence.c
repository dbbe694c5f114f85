/* Presence: what a statement is, who hears of it, and, over generated histories in virtual time
 * with crashes, partitions and clocks that jump: no ghosts, and everybody who is there is listed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/json.h"
#include "net/presence.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/hex.h"
#include "tests/support/rng.h"
#include "tests/support/stand_in_crypto.h"

enum { STEP_MESH = 50 };
enum { HEARTBEAT = 15000, GONE = 45000, UPDATE = 50 };

static weft_identity identity_of(const weft_crypto *crypto, uint8_t byte) {
  weft_key seed;
  memset(seed.b, byte, sizeof seed.b);
  weft_identity identity;
  weft_identity_derive(&identity, crypto, &seed);
  return identity;
}

static weft_presence_options options_of(const weft_crypto *crypto, const weft_identity *me) {
  weft_presence_options o = {.mem = weft_alloc_libc(), .crypto = crypto, .identity = me};
  memset(o.space.b, 0x44, sizeof o.space.b);
  o.heartbeat_ms = HEARTBEAT;
  o.gone_ms = GONE;
  o.update_ms = UPDATE;
  return o;
}

static weft_presence_session session_at(const char *session, const char *doc,
                                        const weft_value *state) {
  return (weft_presence_session){weft_bytes_str(session), weft_bytes_str(doc), state, 0};
}

static weft_err set_text(weft_presence *p, weft_ms now, const char *session, const char *doc,
                         const char *state) {
  weft_value v = {.kind = WEFT_STRING, .as = {.bytes = weft_bytes_str(state)}};
  weft_presence_session s = session_at(session, doc, &v);
  return weft__presence_set(p, now, &s);
}

/* Everything one side has to say on a link, given to the other. */
static size_t carry(weft_presence *from, uint64_t from_conn, weft_presence *to, uint64_t to_conn,
                    weft_ms now) {
  weft_arena arena;
  weft_alloc mem = weft_alloc_libc();
  weft_msg_presence m;
  size_t count = 0;
  weft__arena_init(&arena, &mem);
  if (weft__presence_next(from, now, from_conn, &arena, &m)) {
    count = m.count;
    if (m.direct_told) {
      assert_int_equal(weft__presence_direct(to, to_conn, m.direct, m.direct_count), WEFT_OK);
    }
    for (size_t i = 0; i < m.count; i++) {
      assert_int_equal(weft__presence_take(to, now, to_conn, &m.at[i]), WEFT_OK);
    }
  }
  weft__arena_free(&arena);
  return count;
}

/* What is listed, as one line a session. */
static const char *listed(const weft_presence *p, weft_ms now) {
  static char text[8192];
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_present *list;
  size_t count, len = 0;
  weft__arena_init(&arena, &mem);
  text[0] = 0;
  assert_int_equal(weft__presence_list(p, now, &arena, &list, &count), WEFT_OK);
  for (size_t i = 0; i < count; i++) {
    weft_buf b;
    weft__buf_init(&b, &mem, 4096);
    weft_json_write(&b, &list[i].state);
    len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s at %.*s: %.*s\n",
                            list[i].self ? "self " : "", (int)list[i].session.len,
                            (const char *)list[i].session.at, (int)list[i].doc.len,
                            (const char *)list[i].doc.at, (int)b.len, (const char *)b.at);
    weft__buf_free(&b);
  }
  weft__arena_free(&arena);
  return text;
}

static const char *happened(weft_presence *p) {
  static char text[4096];
  weft_presence_event e;
  size_t len = 0;
  text[0] = 0;
  while (weft__presence_event_next(p, &e)) {
    len += (size_t)snprintf(text + len, sizeof text - len, "%c%.*s ",
                            e.kind == WEFT_NOTE_JOINED    ? '+'
                            : e.kind == WEFT_NOTE_UPDATED ? '='
                                                          : '-',
                            (int)e.session.len, (const char *)e.session.at);
  }
  return text;
}

/* Two devices on one link. */
typedef struct two {
  weft_identity me, you;
  weft_presence *a, *b;
} two;

static void two_make(two *t, const weft_crypto *crypto) {
  t->me = identity_of(crypto, 1);
  t->you = identity_of(crypto, 2);
  weft_presence_options o = options_of(crypto, &t->me);
  assert_int_equal(weft__presence_new(&t->a, &o), WEFT_OK);
  o.identity = &t->you;
  assert_int_equal(weft__presence_new(&t->b, &o), WEFT_OK);
  weft__presence_link_up(t->a, 1, &t->you.device);
  weft__presence_link_up(t->b, 2, &t->me.device);
}

static void two_free(two *t) {
  weft__presence_free(t->a);
  weft__presence_free(t->b);
}

static void a_known_statement(void **state) {
  (void)state;
  two t;
  weft_arena arena;
  weft_alloc mem = weft_alloc_libc();
  weft_msg_presence m;
  two_make(&t, weft_crypto_sodium());
  weft__arena_init(&arena, &mem);
  assert_int_equal(set_text(t.a, 1000, "tab", "notes/a", "x"), WEFT_OK);
  weft__presence_tick(t.a, 1000, 0x0102030405060708);
  assert_true(weft__presence_next(t.a, 1250, 1, &arena, &m));
  assert_int_equal(m.count, 1);
  assert_int_equal(m.at[0].counter, 0x0102030405060708);
  assert_int_equal(m.at[0].age_ms, 250);
  test_assert_hex(m.at[0].body, "9193a76e6f7465732f61a3746162a178");
  test_assert_hex(weft_bytes_of(m.at[0].digest, 16), "1a2ded4bd9d460b2eb4d4a5b8dc9925d");
  test_assert_hex(weft_bytes_of(m.at[0].sig.b, 64),
                  "b0498551d453e5141b04abcd715c2b8adb9ce40e82075d8455c3204c4b576d74"
                  "dd45680dcf106489bc409fe6d7f215ebf1eda10b011a7c0751bc2eb44103f10f");
  assert_true(m.direct_told && m.direct_count == 1);
  weft__arena_free(&arena);
  two_free(&t);
}

static void sessions_come_change_and_go(void **state) {
  (void)state;
  two t;
  two_make(&t, weft_crypto_sodium());
  assert_int_equal(weft__presence_deadline(t.a), WEFT_NEVER);
  assert_int_equal(weft__presence_due(t.a, 1), WEFT_NEVER);
  assert_int_equal(set_text(t.a, 1000, "tab", "notes/b", "1"), WEFT_OK);
  assert_int_equal(set_text(t.a, 1000, "tab", "notes/a", "2"), WEFT_OK);
  assert_int_equal(set_text(t.a, 1000, "app", "", "3"), WEFT_OK);
  assert_int_equal(weft__presence_deadline(t.a), 1000);
  weft__presence_tick(t.a, 1000, 5);
  assert_int_equal(carry(t.a, 1, t.b, 2, 1000), 1);
  assert_string_equal(listed(t.b, 1000),
                      "app at : \"3\"\ntab at notes/a: \"2\"\ntab at notes/b: \"1\"\n");
  assert_string_equal(happened(t.b), "+app +tab +tab ");
  assert_string_equal(happened(t.a), "+app +tab +tab ");
  assert_int_equal(
      weft__presence_leave(t.a, 1001, weft_bytes_str("tab"), weft_bytes_str("notes/b")), WEFT_OK);
  assert_int_equal(
      weft__presence_leave(t.a, 1001, weft_bytes_str("tab"), weft_bytes_str("notes/b")),
      WEFT_ENOTFOUND);
  assert_int_equal(set_text(t.a, 1002, "app", "", "4"), WEFT_OK);
  assert_int_equal(weft__presence_deadline(t.a), 1000 + UPDATE);
  weft__presence_tick(t.a, 1049, 6);
  assert_int_equal(weft__presence_due(t.a, 1), WEFT_NEVER);
  weft__presence_tick(t.a, 1050, 6);
  assert_int_equal(carry(t.a, 1, t.b, 2, 1050), 1);
  assert_string_equal(listed(t.b, 1050), "app at : \"4\"\ntab at notes/a: \"2\"\n");
  assert_string_equal(listed(t.a, 1050), "self app at : \"4\"\nself tab at notes/a: \"2\"\n");
  assert_string_equal(happened(t.b), "=app -tab ");
  weft__presence_leave_all(t.a, 1051, 7);
  assert_int_equal(carry(t.a, 1, t.b, 2, 1051), 1);
  assert_string_equal(listed(t.b, 1051), "");
  assert_string_equal(happened(t.b), "-app -tab ");
  assert_string_equal(happened(t.b), "");
  two_free(&t);
}

static void silence_ends_a_session_and_heartbeats_keep_it(void **state) {
  (void)state;
  two t;
  two_make(&t, weft_crypto_sodium());
  assert_int_equal(set_text(t.a, 1000, "tab", "notes/a", "1"), WEFT_OK);
  weft_ms now = 1000;
  for (unsigned i = 0; i < 10; i++) {
    weft__presence_tick(t.a, now, 5);
    assert_int_equal(carry(t.a, 1, t.b, 2, now), 1);
    assert_int_equal(weft__presence_deadline(t.a), now + HEARTBEAT);
    now += HEARTBEAT;
    weft__presence_tick(t.b, now, 0);
    assert_string_equal(listed(t.b, now), "tab at notes/a: \"1\"\n");
  }
  assert_string_equal(happened(t.b), "+tab ");
  now += GONE - HEARTBEAT;
  assert_int_equal(weft__presence_deadline(t.b), now);
  weft__presence_tick(t.b, now - 1, 0);
  assert_string_equal(listed(t.b, now - 1), "tab at notes/a: \"1\"\n");
  assert_string_equal(listed(t.b, now), "");
  weft__presence_tick(t.b, now, 0);
  assert_string_equal(happened(t.b), "-tab ");
  assert_int_equal(weft__presence_deadline(t.b), WEFT_NEVER);
  two_free(&t);
}

static void a_session_ends_with_its_time_unless_renewed(void **state) {
  (void)state;
  two t;
  two_make(&t, weft_crypto_sodium());
  weft_presence_session s = session_at("cli", "notes/a", NULL);
  s.ttl_ms = 3000;
  assert_int_equal(weft__presence_set(t.a, 1000, &s), WEFT_OK);
  weft__presence_tick(t.a, 1000, 1);
  carry(t.a, 1, t.b, 2, 1000);
  assert_int_equal(weft__presence_set(t.a, 3000, &s), WEFT_OK);
  assert_int_equal(weft__presence_deadline(t.a), 6000); /* a renewal alone is nothing to tell */
  assert_string_equal(listed(t.b, 5999), "cli at notes/a: null\n");
  weft__presence_tick(t.a, 6000, 2);
  assert_int_equal(carry(t.a, 1, t.b, 2, 6000), 1);
  assert_string_equal(listed(t.b, 6000), "");
  two_free(&t);
}

/* Devices with other times agree: a statement says how long it is good. */
static void each_device_has_its_own_times(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  two t;
  two_make(&t, c);
  weft_presence_options o = options_of(c, &t.me);
  o.gone_ms = 3000;
  weft__presence_free(t.a);
  assert_int_equal(weft__presence_new(&t.a, &o), WEFT_OK);
  weft__presence_link_up(t.a, 1, &t.you.device);
  assert_int_equal(set_text(t.a, 1000, "quick", "notes/a", "1"), WEFT_OK);
  assert_int_equal(set_text(t.b, 1000, "slow", "notes/a", "1"), WEFT_OK);
  weft__presence_tick(t.a, 1000, 5);
  weft__presence_tick(t.b, 1000, 5);
  assert_int_equal(weft__presence_deadline(t.a), 2000);
  assert_int_equal(carry(t.a, 1, t.b, 2, 1000), 1);
  assert_int_equal(carry(t.b, 2, t.a, 1, 1000), 1);
  assert_string_equal(listed(t.b, 3999), "self slow at notes/a: \"1\"\nquick at notes/a: \"1\"\n");
  assert_string_equal(listed(t.b, 4000), "self slow at notes/a: \"1\"\n");
  assert_string_equal(listed(t.a, 45999), "self quick at notes/a: \"1\"\nslow at notes/a: \"1\"\n");
  /* Whoever claims to live for ever is not believed. */
  weft_presence *forever;
  o.gone_ms = UINT32_MAX;
  assert_int_equal(weft__presence_new(&forever, &o), WEFT_OK);
  weft__presence_link_up(forever, 1, &t.you.device);
  assert_int_equal(set_text(forever, 1000, "ever", "", "1"), WEFT_OK);
  assert_int_equal(weft__presence_deadline(forever), 1000);
  weft__presence_tick(forever, 1000, 6);
  assert_int_equal(weft__presence_deadline(forever), 1000 + HEARTBEAT);
  assert_int_equal(carry(forever, 1, t.b, 2, 1000), 1);
  assert_string_equal(listed(t.b, 46000), "self slow at notes/a: \"1\"\n");
  weft__presence_free(forever);
  two_free(&t);
}

/* 1,000 changes in a second leave as 20 statements, the last one whole. */
static void updates_are_coalesced(void **state) {
  (void)state;
  two t;
  size_t frames = 0;
  char text[16];
  two_make(&t, weft_crypto_sodium());
  for (weft_ms now = 1000; now < 2100; now++) {
    snprintf(text, sizeof text, "%u", (unsigned)(now < 2000 ? now : 2000));
    assert_int_equal(set_text(t.a, now, "tab", "notes/a", text), WEFT_OK);
    if (weft__presence_deadline(t.a) <= now) weft__presence_tick(t.a, now, 1);
    frames += carry(t.a, 1, t.b, 2, now);
  }
  assert_in_range(frames, 20, 21);
  assert_string_equal(listed(t.b, 2100), "tab at notes/a: \"2000\"\n");
  two_free(&t);
}

static void what_may_be_said_has_bounds(void **state) {
  (void)state;
  two t;
  char text[WEFT_PRESENCE_STATE_LEN_MAX + 1], name[WEFT_PRESENCE_SESSION_LEN_MAX + 2];
  two_make(&t, weft_crypto_sodium());
  memset(text, 'x', sizeof text);
  memset(name, 'y', sizeof name);
  text[sizeof text - 1] = name[sizeof name - 1] = 0;
  assert_int_equal(set_text(t.a, 1, name, "notes/a", "1"), WEFT_EBADVALUE);
  assert_int_equal(set_text(t.a, 1, "", "notes/a", "1"), WEFT_EBADVALUE);
  assert_int_equal(set_text(t.a, 1, "a\nb", "notes/a", "1"), WEFT_EBADVALUE);
  assert_int_equal(set_text(t.a, 1, "tab", "notes", "1"), WEFT_EBADNAME);
  assert_int_equal(set_text(t.a, 1, "tab", "notes/a", text), WEFT_ELIMIT);
  text[sizeof text - 4] = 0;
  assert_int_equal(set_text(t.a, 1, "tab", "notes/a", text), WEFT_OK);
  weft_value bad = {.kind = WEFT_STRING, .as = {.bytes = weft_bytes_str("\xff")}};
  weft_presence_session s = session_at("tab", "notes/a", &bad);
  assert_int_equal(weft__presence_set(t.a, 1, &s), WEFT_EBADVALUE);
  weft_value deep[34] = {{.kind = WEFT_NULL}};
  for (size_t i = 1; i < 34; i++) {
    deep[i].kind = WEFT_ARRAY;
    deep[i].as.array.at = &deep[i - 1];
    deep[i].as.array.count = 1;
  }
  s.state = &deep[33];
  assert_int_equal(weft__presence_set(t.a, 1, &s), WEFT_ELIMIT);
  s.state = &deep[32];
  assert_int_equal(weft__presence_set(t.a, 1, &s), WEFT_OK);
  for (unsigned i = 1; i < WEFT_PRESENCE_SESSIONS_MAX; i++) {
    snprintf(name, sizeof name, "s%u", i);
    assert_int_equal(set_text(t.a, 1, name, "", ""), WEFT_OK);
  }
  assert_int_equal(set_text(t.a, 1, "more", "", ""), WEFT_ELIMIT);
  weft_err err = WEFT_OK;
  for (unsigned i = 1; i < WEFT_PRESENCE_SESSIONS_MAX && err == WEFT_OK; i++) {
    snprintf(name, sizeof name, "s%u", i);
    err = set_text(t.a, 1, name, "", text);
  }
  assert_int_equal(err, WEFT_ELIMIT); /* all together */
  weft__presence_tick(t.a, 1, 1);
  assert_int_equal(carry(t.a, 1, t.b, 2, 1), 1);
  weft__presence_free(t.b);
  t.b = NULL;
  two_free(&t);
}

/* --- what others say --- */

static weft_msg_statement statement_by(const weft_crypto *crypto, const weft_identity *me,
                                       uint64_t counter, weft_bytes body) {
  static const char label[] = "weft-v1 presence";
  weft_msg_statement s = {.device = me->device, .counter = counter, .body = body};
  uint8_t m[16 + 92] = {0};
  s.life_ms = GONE;
  crypto->hash(s.digest, 16, weft_bytes_of(NULL, 0), NULL, NULL, &body, 1);
  memcpy(m, label, 16);
  memset(m + 16, 0x44, 32);
  memcpy(m + 48, me->device.b, 32);
  for (unsigned i = 0; i < 8; i++) m[80 + i] = (uint8_t)(counter >> (56 - 8 * i));
  m[90] = GONE >> 8;
  m[91] = GONE & 0xff;
  memcpy(m + 92, s.digest, 16);
  crypto->sign(&s.sig, &me->sign_seed, &me->device, weft_bytes_of(m, sizeof m));
  return s;
}

static weft_bytes body_x(void) { return weft_bytes_of("\x91\x93\xa7notes/a\xa3tab\xa1x", 16); }

static void what_is_forged_or_broken_is_refused(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  two t;
  two_make(&t, c);
  weft_msg_statement good = statement_by(c, &t.you, 9, body_x()), bad;
  for (unsigned i = 0; i < 4; i++) {
    bad = good;
    if (i == 0) bad.counter++;
    if (i == 1) bad.sig.b[3] ^= 1;
    if (i == 2) bad.device = identity_of(c, 7).device;
    if (i == 3) bad.digest[0] ^= 1;
    weft_err err = weft__presence_take(t.a, 1, 1, &bad);
    assert_int_equal(err, i == 3 ? WEFT_EMALFORMED : WEFT_EBADSIG);
  }
  static const struct {
    const char *at;
    size_t len;
  } bodies[] = {
      {"\x80", 1},
      {"\x91\x92\xa1"
       "a"
       "\xa1"
       "b",
       6},
      {"\x91\x93\x01\xa1"
       "b\xc0",
       6},
      {"\x91\x93\xa1"
       "a\x01\xc0",
       6},
      {"\x91\x93\xa1"
       "a\xa0\xc0",
       6},
      {"\x91\xc0", 2},
      {"\x92\x93\xa0\xa1"
       "b\xc0\x93\xa0\xa1"
       "b\xc0",
       11},
      {"\x92\x93\xa0\xa1"
       "b\xc0\x93\xa0\xa1"
       "a\xc0",
       11},
      {"\x91\x93\xa0\xa1"
       "b\xc0\xc0",
       7},
  };
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
    bad = statement_by(c, &t.you, 9, weft_bytes_of(bodies[i].at, bodies[i].len));
    assert_int_equal(weft__presence_take(t.a, 1, 1, &bad), WEFT_EMALFORMED);
  }
  assert_string_equal(listed(t.a, 1), "");
  assert_int_equal(weft__presence_take(t.a, 1, 1, &good), WEFT_OK);
  assert_string_equal(listed(t.a, 1), "tab at notes/a: \"x\"\n");
  two_free(&t);
}

/* A recorded statement brings nobody back, whatever age it claims. */
static void what_is_gone_cannot_be_replayed(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  two t;
  two_make(&t, c);
  weft_identity third = identity_of(c, 3);
  weft_msg_statement s = statement_by(c, &third, 9, body_x());
  s.age_ms = 30000;
  assert_int_equal(weft__presence_take(t.a, 1000, 1, &s), WEFT_OK);
  s.age_ms = 0;
  assert_int_equal(weft__presence_take(t.a, 10000, 1, &s), WEFT_OK);
  assert_string_equal(listed(t.a, 15999), "tab at notes/a: \"x\"\n");
  assert_string_equal(listed(t.a, 16000), "");
  weft__presence_tick(t.a, 16000, 1);
  assert_int_equal(weft__presence_take(t.a, 16001, 1, &s), WEFT_OK);
  assert_string_equal(listed(t.a, 16001), "");
  /* Who says something older is told what is newer, and does not show it. */
  s = statement_by(c, &third, 8, body_x());
  assert_int_equal(weft__presence_take(t.b, 16001, 9, &s), WEFT_OK);
  assert_int_equal(carry(t.b, 2, t.a, 1, 16001), 1);
  assert_int_equal(carry(t.a, 1, t.b, 2, 16001), 1);
  assert_string_equal(listed(t.b, 16001), "");
  assert_string_equal(happened(t.b), "+tab -tab ");
  two_free(&t);
}

/* A device whose clock went back hears of its own newer word, and goes on above it. */
static void a_lost_clock_is_found_again(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  two t;
  two_make(&t, c);
  weft_msg_statement s = statement_by(c, &t.me, 1000, body_x());
  assert_int_equal(weft__presence_take(t.b, 500, 2, &s), WEFT_OK);
  weft__presence_link_down(t.b, 2);
  weft__presence_link_up(t.b, 3, &t.me.device);
  assert_int_equal(set_text(t.a, 1000, "app", "notes/a", "new"), WEFT_OK);
  weft__presence_tick(t.a, 1000, 10);
  assert_int_equal(carry(t.a, 1, t.b, 3, 1000), 1);
  assert_string_equal(listed(t.b, 1000), "tab at notes/a: \"x\"\n");
  assert_int_equal(carry(t.b, 3, t.a, 1, 1000), 1);
  assert_int_equal(weft__presence_deadline(t.a), 2000);
  weft__presence_tick(t.a, 2000, 11);
  assert_int_equal(carry(t.a, 1, t.b, 3, 2000), 1);
  assert_string_equal(listed(t.b, 2000), "app at notes/a: \"new\"\n");
  s = statement_by(c, &t.me, UINT64_MAX, body_x());
  assert_int_equal(weft__presence_take(t.a, 2000, 1, &s), WEFT_OK);
  assert_int_equal(weft__presence_deadline(t.a), 2000 + HEARTBEAT);
  two_free(&t);
}

/* C hears A itself: B does not pass A on to it, until C says that it lost A. */
static void who_hears_a_device_is_not_told_of_it(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  two t;
  two_make(&t, c);
  weft_identity third = identity_of(c, 3);
  weft_presence_options o = options_of(c, &third);
  weft_presence *x;
  assert_int_equal(weft__presence_new(&x, &o), WEFT_OK);
  weft__presence_link_up(x, 5, &t.you.device);
  weft__presence_link_up(t.b, 6, &third.device);
  weft__presence_link_up(x, 7, &t.me.device);
  assert_int_equal(set_text(t.a, 1000, "tab", "notes/a", "1"), WEFT_OK);
  assert_int_equal(set_text(x, 1000, "x", "notes/a", "1"), WEFT_OK);
  weft__presence_tick(x, 1000, 1);
  assert_int_equal(carry(x, 5, t.b, 6, 1000), 1); /* and whom x hears: a, and b */
  weft__presence_tick(t.a, 1000, 1);
  assert_int_equal(carry(t.a, 1, t.b, 2, 1000), 1);
  assert_int_equal(carry(t.b, 6, x, 5, 1000), 0);
  assert_int_equal(weft__presence_due(t.b, 6), WEFT_NEVER);
  assert_string_equal(listed(x, 1000), "self x at notes/a: \"1\"\n");
  weft__presence_link_down(x, 7);
  assert_int_equal(carry(x, 5, t.b, 6, 2000), 0);
  assert_int_equal(carry(t.b, 6, x, 5, 2000), 1);
  assert_string_equal(listed(x, 2000), "self x at notes/a: \"1\"\ntab at notes/a: \"1\"\n");
  weft__presence_free(x);
  two_free(&t);
}

/* A mesh that grew link by link: every statement goes over every link of its device, and no other.
 */
static void a_mesh_says_nothing_twice(void **state) {
  (void)state;
  enum { N = 5 };
  weft_crypto c;
  weft_identity id[N];
  weft_presence *p[N];
  size_t statements = 0;
  test_stand_in_crypto(&c);
  for (unsigned i = 0; i < N; i++) {
    id[i] = identity_of(&c, (uint8_t)(i + 1));
    weft_presence_options o = options_of(&c, &id[i]);
    assert_int_equal(weft__presence_new(&p[i], &o), WEFT_OK);
    assert_int_equal(set_text(p[i], 0, "tab", "notes/a", "1"), WEFT_OK);
  }
  for (weft_ms now = STEP_MESH; now <= 120000; now += STEP_MESH) {
    for (unsigned i = 0; i < N; i++) {
      if (weft__presence_deadline(p[i]) <= now) weft__presence_tick(p[i], now, now);
      for (unsigned k = 0; k < N; k++) {
        /* Neighbours first, then those further apart. */
        weft_ms opens = 1000 * (i < k ? k - i : i - k);
        if (i != k && now == opens) weft__presence_link_up(p[i], k + 1, &id[k].device);
      }
    }
    for (unsigned i = 0; i < N; i++) {
      for (unsigned k = 0; k < N; k++) {
        if (i == k || now < 1000 * (i < k ? k - i : i - k) + STEP_MESH) continue;
        size_t some = carry(p[i], k + 1, p[k], i + 1, now);
        if (now > 60000) statements += some;
      }
    }
  }
  assert_int_equal(statements, 4 * N * (N - 1)); /* four heartbeats */
  for (unsigned i = 0; i < N; i++) weft__presence_free(p[i]);
}

/* The table is bounded: who is gone the longest gives way, who is here does not. */
static void the_table_is_bounded(void **state) {
  (void)state;
  weft_crypto c;
  test_stand_in_crypto(&c);
  two t;
  two_make(&t, &c);
  weft_ms now = 1000;
  weft_identity other = t.you;
  for (unsigned i = 0; i < WEFT_PRESENCE_DEVICES_MAX + 2; i++) {
    other.device.b[0] = (uint8_t)i;
    other.device.b[1] = (uint8_t)(i >> 8);
    weft_msg_statement s = statement_by(&c, &other, 9, body_x());
    s.age_ms = i == 700 ? 44000 : 0;
    assert_int_equal(weft__presence_take(t.a, now, 1, &s), WEFT_OK);
  }
  weft_arena arena;
  weft_alloc mem = weft_alloc_libc();
  weft_present *list;
  size_t count;
  weft__arena_init(&arena, &mem);
  assert_int_equal(weft__presence_list(t.a, now, &arena, &list, &count), WEFT_OK);
  assert_int_equal(count, WEFT_PRESENCE_DEVICES_MAX);
  now += 2000;
  weft__presence_tick(t.a, now, 1); /* number 700 is gone: one more fits */
  weft_msg_statement s = statement_by(&c, &other, 10, body_x());
  assert_int_equal(weft__presence_take(t.a, now, 1, &s), WEFT_OK);
  assert_int_equal(weft__presence_list(t.a, now, &arena, &list, &count), WEFT_OK);
  assert_int_equal(count, WEFT_PRESENCE_DEVICES_MAX);
  /* All of it goes over a link, in frames that fit. */
  weft__presence_link_up(t.a, 8, &t.me.device);
  size_t sent = 0, some;
  do {
    weft_msg_presence m;
    some = weft__presence_next(t.a, now, 8, &arena, &m) ? m.count : 0;
    sent += some;
    now += UPDATE;
  } while (some);
  assert_int_equal(sent, WEFT_PRESENCE_DEVICES_MAX);
  weft__arena_free(&arena);
  two_free(&t);
}

/* One life of two devices, with `f` behind the first. */
static bool small_life(test_fault_alloc *f, const weft_crypto *c) {
  two t = {identity_of(c, 1), identity_of(c, 2), NULL, NULL};
  weft_presence_options o = options_of(c, &t.me);
  o.mem = test_fault_alloc_of(f);
  if (weft__presence_new(&t.a, &o) != WEFT_OK) return false;
  weft_arena arena;
  weft__arena_init(&arena, &o.mem);
  weft__presence_link_up(t.a, 1, &t.you.device);
  weft_msg_direct direct = {{1}};
  bool ok = weft__presence_direct(t.a, 1, &direct, 1) == WEFT_OK;
  ok &= set_text(t.a, 1, "tab", "notes/a", "1") == WEFT_OK;
  weft__presence_tick(t.a, 1, 1);
  weft_msg_statement s = statement_by(c, &t.you, 9, body_x());
  ok &= weft__presence_take(t.a, 1, 1, &s) == WEFT_OK;
  weft_msg_presence m;
  weft_present *list;
  size_t count;
  ok &= weft__presence_next(t.a, 1, 1, &arena, &m);
  ok &= weft__presence_list(t.a, 1, &arena, &list, &count) == WEFT_OK && count == 2;
  unsigned events = 0;
  weft_presence_event e;
  while (weft__presence_event_next(t.a, &e)) events++;
  ok &= events == 2;
  weft__presence_leave_all(t.a, 2, 2);
  weft__arena_free(&arena);
  weft__presence_free(t.a);
  return ok;
}

static void every_allocation_may_fail(void **state) {
  (void)state;
  weft_crypto c;
  test_stand_in_crypto(&c);
  test_fault_alloc clean = {0};
  assert_true(small_life(&clean, &c));
  assert_int_equal(clean.live, 0);
  for (unsigned sticky = 0; sticky < 2; sticky++) {
    for (size_t k = 1; k <= clean.calls; k++) {
      test_fault_alloc f = {.fail_at = k, .sticky = sticky};
      (void)small_life(&f, &c); /* what was lost differs; nothing leaks or breaks */
      assert_int_equal(f.live, 0);
    }
  }
}

/* --- generated histories in virtual time --- */

enum { NODES_MAX = 6, SESSIONS = 3, DOCS = 3, DELAY_MAX = 200, STEP = 25, FRAMES_MAX = 4096 };

typedef struct flight { /* a frame on its way */
  weft_ms at;
  unsigned from, to;
  uint64_t conn;
  uint8_t *bytes;
  size_t len;
} flight;

typedef struct world {
  test_rng rng;
  uint64_t seed;
  weft_crypto crypto;
  weft_identity id[NODES_MAX];
  weft_presence *node[NODES_MAX]; /* NULL: crashed */
  int64_t clock_ahead[NODES_MAX]; /* of the wall, which jumps */
  bool here[NODES_MAX][SESSIONS][DOCS];
  weft_ms alive[NODES_MAX][SESSIONS][DOCS]; /* the last sign of life there can have been */
  unsigned count;
  bool cut[NODES_MAX][NODES_MAX], never[NODES_MAX][NODES_MAX];
  uint64_t up[NODES_MAX][NODES_MAX]; /* one side's link, 0: none */
  weft_ms notice[NODES_MAX][NODES_MAX];
  uint64_t conn_next;
  weft_ms now, calm_since, notice_max;
  flight flights[FRAMES_MAX];
  size_t flight_count;
  size_t compared;
} world;

static uint64_t clock_of(const world *w, unsigned i) {
  return (uint64_t)((int64_t)(w->now + 1000000000) + w->clock_ahead[i]) << 16;
}

static void life_begin(world *w, unsigned i) {
  weft_presence_options o = options_of(&w->crypto, &w->id[i]);
  memset(o.space.b, 0x44, sizeof o.space.b);
  assert_int_equal(weft__presence_new(&w->node[i], &o), WEFT_OK);
}

static void link_drop(world *w, unsigned i, unsigned k) {
  if (!w->up[i][k]) return;
  if (w->node[i]) weft__presence_link_down(w->node[i], w->up[i][k]);
  w->up[i][k] = 0;
  w->calm_since = w->now;
}

static void life_end(world *w, unsigned i) {
  for (unsigned k = 0; k < w->count; k++) {
    link_drop(w, i, k);
    if (w->up[k][i]) w->notice[k][i] = w->now + test_rng_below(&w->rng, w->notice_max + 1);
  }
  weft__presence_free(w->node[i]);
  w->node[i] = NULL;
  memset(w->here[i], 0, sizeof w->here[i]);
}

/* Both ends come up together; an older link of theirs ends first, as in the node. */
static void links_move(world *w, unsigned i, unsigned k) {
  bool reach = !w->never[i][k] && !w->cut[i][k] && w->node[i] && w->node[k];
  for (unsigned side = 0; side < 2; side++) {
    unsigned a = side ? k : i, b = side ? i : k;
    if (w->up[a][b] && w->notice[a][b] && w->now >= w->notice[a][b]) link_drop(w, a, b);
  }
  bool whole = w->up[i][k] && w->up[i][k] == w->up[k][i];
  if (!reach || whole || !test_rng_chance(&w->rng, 10)) return;
  link_drop(w, i, k);
  link_drop(w, k, i);
  w->up[i][k] = w->up[k][i] = w->conn_next++;
  w->notice[i][k] = w->notice[k][i] = 0;
  weft__presence_link_up(w->node[i], w->up[i][k], &w->id[k].device);
  weft__presence_link_up(w->node[k], w->up[k][i], &w->id[i].device);
  w->calm_since = w->now;
}

static void cut_move(world *w, unsigned i, unsigned k) {
  w->cut[i][k] = !w->cut[i][k];
  if (!w->cut[i][k]) return;
  for (unsigned side = 0; side < 2; side++) {
    unsigned a = side ? k : i, b = side ? i : k;
    if (w->up[a][b]) w->notice[a][b] = w->now + 1 + test_rng_below(&w->rng, w->notice_max + 1);
  }
}

static void session_move(world *w, unsigned i) {
  static const char *const docs[DOCS] = {"", "notes/a", "notes/b"};
  unsigned s = (unsigned)test_rng_below(&w->rng, SESSIONS);
  unsigned d = (unsigned)test_rng_below(&w->rng, DOCS);
  char name[2] = {(char)('a' + s), 0}, text[8];
  if (!w->node[i]) return;
  if (w->here[i][s][d] && test_rng_chance(&w->rng, 40)) {
    assert_int_equal(
        weft__presence_leave(w->node[i], w->now, weft_bytes_str(name), weft_bytes_str(docs[d])),
        WEFT_OK);
    w->here[i][s][d] = false;
  } else {
    snprintf(text, sizeof text, "%u", (unsigned)test_rng_below(&w->rng, 100));
    assert_int_equal(set_text(w->node[i], w->now, name, docs[d], text), WEFT_OK);
    w->here[i][s][d] = true;
  }
}

static void disturb(world *w) {
  unsigned i = (unsigned)test_rng_below(&w->rng, w->count);
  unsigned k = (unsigned)test_rng_below(&w->rng, w->count);
  w->calm_since = w->now;
  switch (test_rng_below(&w->rng, 6)) {
  case 0:
    if (w->node[i])
      life_end(w, i);
    else
      life_begin(w, i);
    break;
  case 1:
    if (i != k) cut_move(w, i < k ? i : k, i < k ? k : i);
    break;
  case 2: w->clock_ahead[i] += (int64_t)test_rng_below(&w->rng, 7200001) - 3600000; break;
  case 3:
    if (w->node[i]) weft__presence_leave_all(w->node[i], w->now, clock_of(w, i));
    memset(w->here[i], 0, sizeof w->here[i]);
    break;
  default: session_move(w, i); break;
  }
}

static void frames_out(world *w, unsigned i, unsigned k) {
  weft_arena arena;
  weft_alloc mem = weft_alloc_libc();
  weft_msg_presence m;
  if (!w->node[i] || !w->up[i][k]) return;
  if (weft__presence_due(w->node[i], w->up[i][k]) > w->now) return;
  weft__arena_init(&arena, &mem);
  assert_true(weft__presence_next(w->node[i], w->now, w->up[i][k], &arena, &m));
  weft_buf body;
  weft__buf_init(&body, &mem, WEFT_SESSION_CONTROL_MAX);
  weft__msg_presence_put(&body, &m);
  assert_int_equal(weft__buf_err(&body), WEFT_OK);
  assert_true(w->flight_count < FRAMES_MAX);
  flight *f = &w->flights[w->flight_count++];
  *f = (flight){
      w->now + 1 + test_rng_below(&w->rng, DELAY_MAX), i, k, w->up[i][k], body.at, body.len};
  /* A stream keeps its order. */
  for (size_t n = 0; n + 1 < w->flight_count; n++) {
    bool before = w->flights[n].from == i && w->flights[n].to == k;
    if (before && w->flights[n].at > f->at) f->at = w->flights[n].at;
  }
  weft__arena_free(&arena);
}

static void frame_in(world *w, const flight *f) {
  weft_arena arena;
  weft_alloc mem = weft_alloc_libc();
  weft_msg_presence m;
  weft_presence *to = w->node[f->to];
  bool lost = !to || w->up[f->to][f->from] != f->conn ||
              w->cut[f->from < f->to ? f->from : f->to][f->from < f->to ? f->to : f->from];
  if (lost) return;
  weft__arena_init(&arena, &mem);
  assert_int_equal(weft__msg_presence_read(&arena, weft_bytes_of(f->bytes, f->len), &m), WEFT_OK);
  if (m.direct_told) {
    assert_int_equal(weft__presence_direct(to, f->conn, m.direct, m.direct_count), WEFT_OK);
  }
  for (size_t i = 0; i < m.count; i++) {
    assert_int_equal(weft__presence_take(to, w->now, f->conn, &m.at[i]), WEFT_OK);
  }
  weft__arena_free(&arena);
}

static void frames_in(world *w) {
  size_t kept = 0;
  for (size_t i = 0; i < w->flight_count; i++) {
    flight f = w->flights[i];
    if (f.at > w->now) {
      w->flights[kept++] = f;
      continue;
    }
    frame_in(w, &f);
    free(f.bytes);
  }
  w->flight_count = kept;
}

/* Which nodes reach which over links that stand on both sides. */
static unsigned component(const world *w, unsigned from) {
  unsigned reached = 1u << from, before = 0;
  while (reached != before) {
    before = reached;
    for (unsigned i = 0; i < w->count; i++) {
      for (unsigned k = 0; k < w->count && reached >> i & 1; k++) {
        bool whole = w->up[i][k] && w->up[i][k] == w->up[k][i];
        bool cut = w->cut[i < k ? i : k][i < k ? k : i];
        if (whole && !cut) reached |= 1u << k;
      }
    }
  }
  return reached;
}

static void judge(world *w, unsigned by) {
  weft_arena arena;
  weft_alloc mem = weft_alloc_libc();
  weft_present *list;
  size_t count;
  bool seen[NODES_MAX][SESSIONS][DOCS];
  memset(seen, 0, sizeof seen);
  weft__arena_init(&arena, &mem);
  assert_int_equal(weft__presence_list(w->node[by], w->now, &arena, &list, &count), WEFT_OK);
  for (size_t i = 0; i < count; i++) {
    unsigned who = 0, s = list[i].session.at[0] - 'a';
    unsigned d = list[i].doc.len ? list[i].doc.at[6] - 'a' + 1u : 0;
    while (weft_id_cmp(&w->id[who].device, &list[i].device) != 0) who++;
    seen[who][s][d] = true;
    weft_ms silent = w->now - w->alive[who][s][d];
    if (silent > GONE + (w->count - 1) * (DELAY_MAX + STEP + UPDATE)) {
      fail_msg("seed=%llu at %llu: %u lists a ghost of %u, silent for %llu ms",
               (unsigned long long)w->seed, (unsigned long long)w->now, by, who,
               (unsigned long long)silent);
    }
  }
  weft__arena_free(&arena);
  weft_ms bound = 5000 + 2000 * w->count + (w->notice_max ? GONE : 0);
  if (w->now - w->calm_since < bound) return;
  unsigned reached = component(w, by);
  for (unsigned who = 0; who < w->count; who++) {
    if (!(reached >> who & 1)) continue;
    w->compared++;
    bool missing = false;
    for (unsigned i = 0; i < SESSIONS * DOCS; i++) {
      missing |= w->here[who][i / DOCS][i % DOCS] && !seen[who][i / DOCS][i % DOCS];
    }
    /* What a life that crashed has left behind may stay for as long as it was good. */
    bool more = memcmp(seen[who], w->here[who], sizeof seen[who]) != 0;
    if (!missing && (!more || w->now - w->calm_since < GONE + 5000)) continue;
    fail_msg("seed=%llu at %llu: %u does not list %u as it is", (unsigned long long)w->seed,
             (unsigned long long)w->now, by, who);
  }
}

static void world_step(world *w) {
  w->now += STEP;
  frames_in(w);
  for (unsigned i = 0; i < w->count; i++) {
    for (unsigned k = i + 1; k < w->count; k++) links_move(w, i, k);
  }
  for (unsigned i = 0; i < w->count; i++) {
    if (!w->node[i]) continue;
    if (weft__presence_deadline(w->node[i]) <= w->now) {
      weft__presence_tick(w->node[i], w->now, clock_of(w, i));
      assert_true(weft__presence_deadline(w->node[i]) > w->now);
    }
    for (unsigned s = 0; s < SESSIONS * DOCS; s++) {
      if (w->here[i][s / DOCS][s % DOCS]) w->alive[i][s / DOCS][s % DOCS] = w->now;
    }
    for (unsigned k = 0; k < w->count; k++) frames_out(w, i, k);
    weft_presence_event e;
    while (weft__presence_event_next(w->node[i], &e)) continue;
    if (w->now % 500 == 0) judge(w, i);
  }
}

static size_t world_run(uint64_t seed) {
  static world w;
  memset(&w, 0, sizeof w);
  w.seed = seed;
  w.rng = test_rng_of(seed);
  w.conn_next = 1;
  w.count = 2 + (unsigned)test_rng_below(&w.rng, NODES_MAX - 1);
  w.notice_max = test_rng_chance(&w.rng, 50) ? 40000 : 0;
  test_stand_in_crypto(&w.crypto);
  for (unsigned i = 0; i < w.count; i++) {
    w.id[i] = identity_of(&w.crypto, (uint8_t)(i + 1));
    life_begin(&w, i);
    for (unsigned k = i + 1; k < w.count; k++) {
      w.never[i][k] = k > i + 1 && test_rng_chance(&w.rng, 50);
    }
  }
  for (unsigned round = 0; round < 12; round++) {
    weft_ms wild = w.now + test_rng_below(&w.rng, 60000);
    while (w.now < wild) {
      world_step(&w);
      if (test_rng_chance(&w.rng, 3)) disturb(&w);
    }
    weft_ms calm = w.now + test_rng_below(&w.rng, 120000);
    while (w.now < calm) world_step(&w);
  }
  for (unsigned i = 0; i < w.count; i++) weft__presence_free(w.node[i]);
  for (size_t i = 0; i < w.flight_count; i++) free(w.flights[i].bytes);
  return w.compared;
}

static void no_ghosts_and_nobody_missing(void **state) {
  (void)state;
  size_t compared = 0;
  for (uint64_t seed = 1; seed <= 60; seed++) compared += world_run(seed);
  assert_true(compared > 1000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_known_statement),
      cmocka_unit_test(sessions_come_change_and_go),
      cmocka_unit_test(silence_ends_a_session_and_heartbeats_keep_it),
      cmocka_unit_test(a_session_ends_with_its_time_unless_renewed),
      cmocka_unit_test(each_device_has_its_own_times),
      cmocka_unit_test(updates_are_coalesced),
      cmocka_unit_test(what_may_be_said_has_bounds),
      cmocka_unit_test(what_is_forged_or_broken_is_refused),
      cmocka_unit_test(what_is_gone_cannot_be_replayed),
      cmocka_unit_test(a_lost_clock_is_found_again),
      cmocka_unit_test(who_hears_a_device_is_not_told_of_it),
      cmocka_unit_test(a_mesh_says_nothing_twice),
      cmocka_unit_test(the_table_is_bounded),
      cmocka_unit_test(every_allocation_may_fail),
      cmocka_unit_test(no_ghosts_and_nobody_missing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

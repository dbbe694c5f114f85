/* Joining: from a ticket to membership, and every way in which it does not come to that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/ticket.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/rig.h"

static const weft_ms wall_start = 1750000000000;

typedef struct join {
  rig r;
  weft_key seed;
  weft_ticket_keys keys;
  weft_identity identity;
  weft_joiner_options o;
  weft_joiner *j;
  uint64_t conn;
} join;

static void join_make(join *x) {
  memset(x, 0, sizeof *x);
  rig_make(&x->r, 1, 7);
  memset(x->seed.b, 0x31, sizeof x->seed.b);
  weft__ticket_keys_derive(&x->keys, x->r.space.crypto, &x->seed);
  weft_node_invite invite = {x->keys.invite, x->keys.join, x->keys.tag};
  assert_int_equal(weft_node_set_invites(x->r.node, &invite, 1), WEFT_OK);
  weft_key device;
  memset(device.b, 0x99, sizeof device.b);
  weft_identity_derive(&x->identity, x->r.space.crypto, &device);
  x->o.mem = weft_alloc_libc();
  x->o.crypto = x->r.space.crypto;
  x->o.identity = &x->identity;
  x->o.space = x->r.space.id;
  x->o.issuer = x->r.space.devices[0].device;
  x->o.ticket_seed = x->seed;
  x->o.name = weft_bytes_str("phone");
  memset(x->o.seed, 5, sizeof x->o.seed);
}

static void join_free(join *x) {
  weft_joiner_free(x->j);
  rig_free(&x->r);
}

/* Lets both sides talk until nothing moves. */
static void join_flow(join *x) {
  for (;;) {
    weft_bytes out;
    bool any = false;
    rig_pipe *pipe = rig_pipe_of(&x->r, x->conn);
    while (weft_joiner_next(x->j, &out)) {
      any = true;
      if (!pipe->closed) rig_feed(&x->r, x->conn, out);
    }
    rig_pump(&x->r);
    if (pipe->len) {
      size_t len = pipe->len;
      uint8_t *bytes = malloc(len);
      memcpy(bytes, pipe->at, len);
      pipe->len = 0;
      weft_joiner_received(x->j, x->r.now, wall_start + x->r.now, weft_bytes_of(bytes, len));
      free(bytes);
      any = true;
    }
    if (any) continue;
    if (pipe->closed) weft_joiner_closed(x->j, x->r.now);
    return;
  }
}

static void join_run(join *x) {
  assert_int_equal(weft_joiner_new(&x->j, &x->o, x->r.now, wall_start + x->r.now), WEFT_OK);
  x->conn = rig_accept(&x->r, "::1");
  join_flow(x);
}

static weft_err result(join *x, weft_joined *out, uint16_t *code) {
  return weft_joiner_result(x->j, out, code);
}

static void a_ticket_admits(void **state) {
  (void)state;
  join x;
  weft_joined joined;
  uint16_t code;
  join_make(&x);
  join_run(&x);
  assert_int_equal(result(&x, &joined, &code), WEFT_OK);
  assert_int_equal(x.r.admits, 1);
  assert_int_equal(joined.count, 2);
  assert_memory_equal(joined.epoch.id, x.r.epoch.id, sizeof joined.epoch.id);
  assert_memory_equal(joined.epoch.secret.b, x.r.epoch.secret.b, 32);
  assert_non_null(weft__roster_member_of(weft_replica_roster(x.r.replica), &x.identity.device));
  join_free(&x);
}

static void refusals_carry_their_code(void **state) {
  (void)state;
  static const uint16_t codes[] = {WEFT_CODE_INVITE_UNKNOWN, WEFT_CODE_INVITE_USED,
                                   WEFT_CODE_INVITE_EXPIRED, WEFT_CODE_INVITE_REVOKED};
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
    join x;
    weft_joined joined;
    uint16_t code;
    join_make(&x);
    x.r.refuse = codes[i];
    join_run(&x);
    assert_int_equal(result(&x, &joined, &code), WEFT_EDENIED);
    assert_int_equal(code, codes[i]);
    assert_int_equal(x.r.notes[WEFT_NOTE_REFUSED], 1);
    join_free(&x);
  }
}

/* A ticket that the issuer does not know draws no byte. */
static void an_unknown_ticket_draws_silence(void **state) {
  (void)state;
  join x;
  weft_joined joined;
  uint16_t code;
  join_make(&x);
  x.o.ticket_seed.b[0] ^= 1;
  join_run(&x);
  assert_int_equal(rig_pipe_of(&x.r, x.conn)->len, 0);
  assert_int_equal(result(&x, &joined, &code), WEFT_EAGAIN);
  rig_wait(&x.r, WEFT_SESSION_DROP_MS_MAX);
  assert_true(rig_pipe_of(&x.r, x.conn)->closed);
  weft_joiner_closed(x.j, x.r.now);
  assert_int_equal(result(&x, &joined, &code), WEFT_EAUTH);
  join_free(&x);
}

static void somebody_else_is_not_the_issuer(void **state) {
  (void)state;
  join x;
  weft_joined joined;
  uint16_t code;
  join_make(&x);
  x.o.issuer.b[0] ^= 1;
  join_run(&x);
  rig_wait(&x.r, WEFT_SESSION_DROP_MS_MAX);
  weft_joiner_closed(x.j, x.r.now);
  assert_int_equal(result(&x, &joined, &code), WEFT_EAUTH);
  join_free(&x);
}

static void another_space_is_silent(void **state) {
  (void)state;
  join x;
  weft_joined joined;
  uint16_t code;
  join_make(&x);
  x.o.space.b[0] ^= 1; /* the hint fits, the prologue does not */
  join_run(&x);
  rig_wait(&x.r, WEFT_SESSION_DROP_MS_MAX);
  weft_joiner_closed(x.j, x.r.now);
  assert_int_equal(result(&x, &joined, &code), WEFT_EAUTH);
  assert_int_equal(x.r.admits, 0);
  join_free(&x);
}

static void nobody_answers(void **state) {
  (void)state;
  join x;
  weft_joined joined;
  weft_bytes out;
  uint16_t code;
  join_make(&x);
  assert_int_equal(weft_joiner_new(&x.j, &x.o, x.r.now, wall_start + x.r.now), WEFT_OK);
  assert_true(weft_joiner_next(x.j, &out));
  assert_false(weft_joiner_next(x.j, &out));
  weft_ms at = weft_joiner_deadline(x.j);
  assert_int_equal(at, x.r.now + WEFT_SESSION_HANDSHAKE_MS);
  weft_joiner_tick(x.j, at, wall_start + at);
  assert_false(weft_joiner_next(x.j, &out));
  assert_int_equal(result(&x, &joined, &code), WEFT_ETIMEOUT);
  join_free(&x);
}

/* A device of the ticket that redeems for other keys than its session's is nobody. */
static void a_redeem_must_be_of_the_session(void **state) {
  (void)state;
  join x;
  weft_session_secret secret;
  puppet p;
  join_make(&x);
  weft_session_secret_join(&secret, &x.r.space.id, &x.keys.join, &x.keys.tag);
  for (unsigned what = 0; what < 4; what++) {
    puppet_make_with(&p, &x.r, &x.identity, &secret);
    assert_true(p.established);
    weft_identity other = x.identity;
    if (what == 0) {
      weft_key seed = {{1}};
      weft_identity_derive(&other, x.r.space.crypto, &seed);
    }
    weft_key invite_seed = x.keys.invite_seed;
    if (what == 1) invite_seed.b[0] ^= 1;
    weft_msg_redeem m = {.name = weft_bytes_str(what == 2 ? "a\tb" : "phone")};
    weft__redeem_sign(&m.redeem, x.r.space.crypto, &other, &invite_seed, &x.r.space.id);
    if (what == 1) m.redeem.invite = x.keys.invite;
    if (what == 3) m.redeem.by_device.b[0] ^= 1;
    puppet_say(&p, WEFT_FRAME_REDEEM, redeem, &m);
    assert_true(p.closed);
    assert_int_equal(p.frame_count, 0);
    assert_int_equal(x.r.admits, 0);
    puppet_free(&p);
  }
  join_free(&x);
}

/* In join mode there is one thing to say. */
static void nothing_else_is_heard(void **state) {
  (void)state;
  static const uint8_t types[] = {WEFT_FRAME_HELLO, WEFT_FRAME_AUTH_WANT, WEFT_FRAME_WANT,
                                  WEFT_FRAME_CHANGES, WEFT_FRAME_ADMIT};
  join x;
  weft_session_secret secret;
  join_make(&x);
  weft_session_secret_join(&secret, &x.r.space.id, &x.keys.join, &x.keys.tag);
  for (size_t i = 0; i < sizeof types; i++) {
    puppet p;
    puppet_make_with(&p, &x.r, &x.identity, &secret);
    puppet_send(&p, types[i], weft_bytes_str("\x90"));
    assert_int_equal(puppet_error(&p), WEFT_CODE_PROTO);
    assert_true(p.closed);
    puppet_free(&p);
  }
  join_free(&x);
}

static void memory_failing_anywhere(void **state) {
  (void)state;
  bool done = false;
  for (size_t k = 2; !done; k++) {
    join x;
    test_fault_alloc f = {.fail_at = k / 2, .sticky = k % 2 == 0};
    weft_joined joined;
    uint16_t code;
    join_make(&x);
    x.o.mem = test_fault_alloc_of(&f);
    weft_err err = weft_joiner_new(&x.j, &x.o, x.r.now, wall_start + x.r.now);
    if (err == WEFT_OK) {
      x.conn = rig_accept(&x.r, "::1");
      join_flow(&x);
      err = result(&x, &joined, &code);
      if (err == WEFT_EAGAIN) err = WEFT_ENOMEM; /* it fell silent */
    }
    done = f.calls < f.fail_at;
    if (done) assert_int_equal(err, WEFT_OK);
    assert_true(err == WEFT_OK || err == WEFT_ENOMEM || err == WEFT_EAUTH || err == WEFT_EPROTO);
    join_free(&x);
    assert_int_equal(f.live, 0);
  }
}

/* --- an issuer that says what it likes --- */

typedef struct issuer {
  join x;
  weft_alloc mem;
  weft_gate *gate;
  weft_session *session;
  bool redeemed;
} issuer;

static void issuer_drain(issuer *s) {
  weft_session_action a;
  while (weft_session_next(s->session, &a)) {
    switch (a.kind) {
    case WEFT_SESSION_SEND:
      weft_joiner_received(s->x.j, s->x.r.now, wall_start + s->x.r.now, a.data);
      break;
    case WEFT_SESSION_CHECK: assert_int_equal(weft_session_accept(s->session), WEFT_OK); break;
    case WEFT_SESSION_DELIVER: s->redeemed = a.type == WEFT_FRAME_REDEEM; break;
    case WEFT_SESSION_ESTABLISHED:
    case WEFT_SESSION_CLOSE:
    case WEFT_SESSION_EXPIRING:
    case WEFT_SESSION_NOTHING: break;
    }
  }
}

static void issuer_flow(issuer *s) {
  weft_bytes out;
  issuer_drain(s);
  while (weft_joiner_next(s->x.j, &out)) {
    size_t used;
    weft_buf copy;
    weft__buf_init(&copy, &s->mem, SIZE_MAX);
    weft__buf_put(&copy, out);
    for (size_t at = 0; at < copy.len; at += used) {
      weft_bytes in = weft_bytes_of(copy.at + at, copy.len - at);
      weft_err err = weft_session_feed(s->session, s->x.r.now, in, &used);
      issuer_drain(s);
      if (err != WEFT_OK || used == 0) break;
    }
    weft__buf_free(&copy);
  }
}

/* A joiner that has asked, and is waiting. */
static void issuer_make(issuer *s) {
  weft_session_options o;
  weft_session_secret secret;
  memset(s, 0, sizeof *s);
  join_make(&s->x);
  s->mem = weft_alloc_libc();
  assert_int_equal(weft_gate_new(&s->gate, &s->mem, s->x.r.space.crypto), WEFT_OK);
  weft_session_secret_join(&secret, &s->x.r.space.id, &s->x.keys.join, &s->x.keys.tag);
  assert_int_equal(weft_gate_set(s->gate, &secret, 1), WEFT_OK);
  weft_session_options_init(&o);
  o.mem = &s->mem;
  o.crypto = s->x.r.space.crypto;
  o.identity = &s->x.r.space.devices[0];
  o.now = s->x.r.now;
  o.unix_ms = wall_start + s->x.r.now;
  o.gate = s->gate;
  weft_random(o.ephemeral.b, sizeof o.ephemeral.b);
  assert_int_equal(weft_session_new(&s->session, &o), WEFT_OK);
  assert_int_equal(weft_joiner_new(&s->x.j, &s->x.o, s->x.r.now, wall_start + s->x.r.now), WEFT_OK);
  issuer_flow(s);
  assert_true(s->redeemed);
}

static void issuer_free(issuer *s) {
  weft_session_free(s->session);
  weft_gate_free(s->gate);
  join_free(&s->x);
}

static void issuer_says(issuer *s, uint8_t type, weft_bytes body) {
  assert_int_equal(weft_session_send(s->session, type, body), WEFT_OK);
  issuer_flow(s);
}

static weft_err issuer_result(issuer *s) {
  weft_joined joined;
  uint16_t code;
  return result(&s->x, &joined, &code);
}

/* Signs an ADMIT of the joiner, with another x_public when told to; into records[1]. */
static void admit_sign(issuer *s, bool other_keys) {
  test_space *space = &s->x.r.space;
  weft_record a = {.kind = WEFT_RECORD_ADMIT, .space = space->id, .dep_count = 1};
  weft_identity as = s->x.identity;
  weft_key seed = {{3}};
  weft_buf raw;
  weft_id id;
  if (other_keys) {
    weft_identity other;
    weft_identity_derive(&other, space->crypto, &seed);
    as.x_public = other.x_public;
  }
  a.deps[0] = space->id;
  a.admit.role = WEFT_ROLE_WRITER;
  a.admit.name = weft_bytes_str("phone");
  weft__redeem_sign(&a.admit.redeem, space->crypto, &as, &s->x.keys.invite_seed, &space->id);
  weft__buf_init(&raw, &s->mem, TEST_RECORD_LEN);
  assert_int_equal(weft__record_sign(&raw, space->crypto, &space->devices[0], &a, &id), WEFT_OK);
  memcpy(space->records[1], raw.at, raw.len);
  space->record_lens[1] = raw.len;
  weft__buf_free(&raw);
}

static void issuer_records(issuer *s, size_t count) {
  weft_bytes list[2];
  weft_msg_blobs m = {list, count, 0};
  weft_buf body = puppet_body();
  for (size_t i = 0; i < count; i++)
    list[i] = weft_bytes_of(s->x.r.space.records[i], s->x.r.space.record_lens[i]);
  weft__msg_blobs_put(&body, &m);
  issuer_says(s, WEFT_FRAME_AUTH_REC, weft__buf_view(&body));
  weft__buf_free(&body);
}

static void issuer_admits(issuer *s, bool right_epoch) {
  weft_msg_admit m;
  weft_buf body = puppet_body();
  weft_epoch epoch;
  weft__epoch_id(epoch.b, &s->x.r.space.id);
  memcpy(m.epoch, epoch.b, sizeof m.epoch);
  if (!right_epoch) m.epoch[0] ^= 1;
  memset(m.secret.b, 0x77, sizeof m.secret.b);
  weft__msg_admit_put(&body, &m);
  issuer_says(s, WEFT_FRAME_ADMIT, weft__buf_view(&body));
  weft__buf_free(&body);
}

/* What the issuer says is believed as far as the records prove it. */
static void membership_is_proved(void **state) {
  (void)state;
  enum { RIGHT, NO_RECORDS, GENESIS_ALONE, OTHER_KEYS, OTHER_EPOCH, CASES };
  for (unsigned what = 0; what < CASES; what++) {
    issuer s;
    issuer_make(&s);
    admit_sign(&s, what == OTHER_KEYS);
    if (what != NO_RECORDS) issuer_records(&s, what == GENESIS_ALONE ? 1 : 2);
    assert_int_equal(issuer_result(&s), WEFT_EAGAIN);
    issuer_admits(&s, what != OTHER_EPOCH);
    assert_int_equal(issuer_result(&s), what == RIGHT ? WEFT_OK : WEFT_EAUTH);
    assert_int_equal(weft_joiner_deadline(s.x.j) == WEFT_NEVER, true);
    /* It is over: what is said now changes nothing. */
    (void)!weft_session_send(s.session, WEFT_FRAME_REFUSE, weft_bytes_str("\x91\x01"));
    issuer_flow(&s);
    assert_int_equal(issuer_result(&s), what == RIGHT ? WEFT_OK : WEFT_EAUTH);
    issuer_free(&s);
  }
}

static void errors_end_it_and_chatter_does_not(void **state) {
  (void)state;
  static const struct {
    uint8_t type;
    const char *body;
    weft_err err;
  } cases[] = {
      {WEFT_FRAME_PING, "\x90", WEFT_EAGAIN},
      {WEFT_FRAME_PONG, "x", WEFT_EAGAIN},
      {WEFT_FRAME_CREDIT, "x", WEFT_EAGAIN},
      {WEFT_FRAME_BYE, "x", WEFT_EAGAIN},
      {0xa0, "x", WEFT_EAGAIN},
      {WEFT_FRAME_HELLO, "x", WEFT_EPROTO},
      {WEFT_FRAME_ERROR, "\xc1", WEFT_EMALFORMED},
      {WEFT_FRAME_ADMIT, "\xc1", WEFT_EMALFORMED},
      {WEFT_FRAME_REFUSE, "\xc1", WEFT_EMALFORMED},
      {WEFT_FRAME_AUTH_REC, "\xc1", WEFT_EMALFORMED},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    issuer s;
    issuer_make(&s);
    issuer_says(&s, cases[i].type, weft_bytes_str(cases[i].body));
    assert_int_equal(issuer_result(&s), cases[i].err);
    issuer_free(&s);
  }
  for (unsigned timeout = 0; timeout < 2; timeout++) {
    issuer s;
    weft_msg_error m = {.code = timeout ? WEFT_CODE_TIMEOUT : WEFT_CODE_BUSY,
                        .text = weft_bytes_str("no")};
    weft_buf body = puppet_body();
    issuer_make(&s);
    weft__msg_error_put(&body, &m);
    issuer_says(&s, WEFT_FRAME_ERROR, weft__buf_view(&body));
    weft__buf_free(&body);
    assert_int_equal(issuer_result(&s), timeout ? WEFT_ETIMEOUT : WEFT_EPROTO);
    issuer_free(&s);
  }
}

static void an_issuer_that_falls_silent(void **state) {
  (void)state;
  issuer s;
  issuer_make(&s);
  weft_ms until = s.x.r.now + 30000;
  while (weft_joiner_deadline(s.x.j) < until) {
    s.x.r.now = weft_joiner_deadline(s.x.j);
    weft_joiner_tick(s.x.j, s.x.r.now, wall_start + s.x.r.now);
    issuer_flow(&s);
  }
  if (issuer_result(&s) == WEFT_EAGAIN) weft_joiner_tick(s.x.j, until, wall_start + until);
  assert_int_equal(issuer_result(&s), WEFT_ETIMEOUT);
  issuer_free(&s);
}

static void options_that_lack_something(void **state) {
  (void)state;
  for (unsigned what = 0; what < 3; what++) {
    join x;
    join_make(&x);
    if (what == 0) x.o.crypto = NULL;
    if (what == 1) x.o.identity = NULL;
    if (what == 2) x.o.name = weft_bytes_str("a\nb");
    weft_err err = weft_joiner_new(&x.j, &x.o, x.r.now, wall_start + x.r.now);
    assert_int_equal(err, WEFT_EMISUSE);
    assert_null(x.j);
    join_free(&x);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_ticket_admits),
      cmocka_unit_test(refusals_carry_their_code),
      cmocka_unit_test(an_unknown_ticket_draws_silence),
      cmocka_unit_test(somebody_else_is_not_the_issuer),
      cmocka_unit_test(another_space_is_silent),
      cmocka_unit_test(nobody_answers),
      cmocka_unit_test(a_redeem_must_be_of_the_session),
      cmocka_unit_test(nothing_else_is_heard),
      cmocka_unit_test(membership_is_proved),
      cmocka_unit_test(errors_end_it_and_chatter_does_not),
      cmocka_unit_test(an_issuer_that_falls_silent),
      cmocka_unit_test(options_that_lack_something),
      cmocka_unit_test(memory_failing_anywhere),
  };
  return cmocka_run_group_tests_name("joiner", tests, NULL, NULL);
}

/* The secure session between two ends that keep the rules, and what time, memory and somebody
 * between them can do to it. */
#include "tests/support/session_world.h"

#include "tests/support/fault_alloc.h"
#include "tests/support/hex.h"
#include "tests/support/rng.h"

/* --- handshakes that go well --- */

/* Side, action, length and the start of a BLAKE2b-128 of the bytes.  The same bytes came out of a
 * program that shares nothing with this code: hashlib, hmac and another curve library. */
static void handshake_golden_trace(void **state) {
  (void)state;
  static const char golden[] = "a send 132 10e229bd8139ad7b\n"
                               "b send 354 fb7253e1e22b9b4e\n"
                               "a check 0\n"
                               "a send 322 fccda2dec2ac36ca\n"
                               "a established 0\n"
                               "b established 0\n"
                               "a send 82 b7485b4a290139ea\n"
                               "b send 82 559ba915e88954e6\n"
                               "b deliver 4 667311b0b7d5c81d\n"
                               "a deliver 4 76b9f06c69446607\n";
  world w;
  open_world(&w);
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_PING, weft_bytes_str("ping")), WEFT_OK);
  assert_int_equal(weft_session_send(w.s[B], WEFT_FRAME_PONG, weft_bytes_str("pong")), WEFT_OK);
  pump(&w);
  assert_string_equal(w.trace, golden);
  test_assert_hex(weft_bytes_of(weft_session_peer_of(w.s[A])->hash, 16),
                  "b6957e85f85147a077e8691ee04e1f2f");
  world_end(&w);
}

static void both_learn_who_the_other_is(void **state) {
  (void)state;
  world w;
  world_init(&w);
  w.o[A].unix_ms += 777;
  world_start(&w);
  pump(&w);
  const weft_session_peer *a = weft_session_peer_of(w.s[A]), *b = weft_session_peer_of(w.s[B]);
  assert_true(a->initiator && !b->initiator);
  assert_memory_equal(&a->device, &w.id[B].device, sizeof a->device);
  assert_memory_equal(&b->device, &w.id[A].device, sizeof b->device);
  assert_memory_equal(&a->x_public, &w.id[B].x_public, sizeof a->x_public);
  assert_memory_equal(&b->x_public, &w.id[A].x_public, sizeof b->x_public);
  for (size_t i = 0; i < 2; i++) {
    const weft_session_peer *p = weft_session_peer_of(w.s[i]);
    assert_int_equal(p->mode, WEFT_SESSION_MEMBER);
    assert_memory_equal(&p->space, &w.secret.space, sizeof p->space);
    assert_memory_equal(&p->epoch, &w.secret.epoch, sizeof p->epoch);
    assert_int_equal(p->version, 1);
  }
  assert_int_equal(a->caps, 0x101);
  assert_int_equal(b->caps, 0x100);
  assert_int_equal(a->peer_epoch.b[0], 0xee);
  assert_int_equal(b->peer_epoch.b[0], 0);
  assert_true(a->unix_ms == unix_start && b->unix_ms == unix_start + 777);
  assert_memory_equal(a->hash, b->hash, sizeof a->hash);
  weft_session_stats st = weft_session_stats_of(w.s[A]);
  assert_true(st.bytes_in == 354 && st.bytes_out == 132 + 322 && st.records_in == 0);
  world_end(&w);
}

static void every_split_of_the_input(void **state) {
  (void)state;
  for (size_t chunk = 1; chunk < 360; chunk += chunk < 60 ? 1 : 17) {
    world w;
    world_init(&w);
    w.chunk = chunk;
    world_start(&w);
    pump(&w);
    assert_true(w.established[A] && w.established[B]);
    send_frame(&w, A, WEFT_FRAME_HELLO, 100);
    send_frame(&w, B, WEFT_FRAME_CHANGES, 70000);
    world_end(&w);
  }
}

static void join_mode_and_unknown_target(void **state) {
  (void)state;
  world w;
  world_init(&w);
  weft_id space = w.secret.space;
  weft_key key = test_key(0x77);
  weft_session_secret list[2] = {w.secret};
  weft_ticket_keys keys;
  weft__ticket_keys_derive(&keys, weft_crypto_sodium(), &key);
  weft_session_secret_join(&list[1], &space, &keys.join, &keys.tag);
  w.secret = list[1];
  assert_int_equal(weft_gate_set(w.gate, list, 2), WEFT_OK);
  w.o[A].target = NULL;
  world_start(&w);
  pump(&w);
  assert_true(w.established[A] && w.established[B]);
  assert_int_equal(weft_session_peer_of(w.s[B])->mode, WEFT_SESSION_JOIN);
  assert_int_equal(weft_session_peer_of(w.s[A])->mode, WEFT_SESSION_JOIN);
  assert_int_equal(weft_session_peer_of(w.s[A])->peer_epoch.b[0], 0);
  send_frame(&w, A, WEFT_FRAME_REDEEM, 200);
  world_end(&w);
}

static void highest_common_version(void **state) {
  (void)state;
  static const struct {
    uint8_t a_min, a_max, b_min, b_max, common; /* 0: none */
  } known[] = {{1, 3, 2, 5, 3}, {2, 5, 1, 3, 3}, {1, 1, 1, 9, 1},
               {4, 4, 4, 4, 4}, {1, 2, 3, 4, 0}, {3, 4, 1, 2, 0}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    world w;
    world_init(&w);
    w.o[A].version_min = known[i].a_min;
    w.o[A].version_max = known[i].a_max;
    w.o[B].version_min = known[i].b_min;
    w.o[B].version_max = known[i].b_max;
    world_start(&w);
    pump(&w);
    assert_int_equal(w.established[A], known[i].common != 0);
    if (known[i].common) {
      assert_int_equal(weft_session_peer_of(w.s[A])->version, known[i].common);
      assert_int_equal(weft_session_peer_of(w.s[B])->version, known[i].common);
    } else {
      assert_int_equal(w.sends[B], 0);
      assert_int_equal(run_out(&w, B), WEFT_EVERSION);
    }
    world_end(&w);
  }
}

/* --- the responder stays silent --- */

/* Expects that the responder, fed what the initiator sent, writes nothing and closes after its
 * delay. */
static void expect_silence(world *w, weft_err why) {
  drain(w, A);
  flow(w, A);
  assert_int_equal(w->sends[B], 0);
  assert_int_equal(w->closed[B], alive);
  assert_int_equal(weft_session_deadline(w->s[B]), w->now + 700);
  static const uint8_t more[3000];
  feed(w, B, weft_bytes_of(more, sizeof more)); /* swallowed */
  tick(w, B, w->now + 699);
  assert_int_equal(w->closed[B], alive);
  tick(w, B, w->now + 1);
  assert_int_equal(w->closed[B], why);
  assert_int_equal(w->sends[B], 0);
  assert_int_equal(weft_session_deadline(w->s[B]), WEFT_NEVER);
}

static void silent_to_who_lacks_the_secret(void **state) {
  (void)state;
  for (int i = 0; i < 5; i++) {
    world w;
    world_init(&w);
    if (i == 0) w.secret = member_secret(1, 3);                         /* another epoch */
    if (i == 1) w.secret = member_secret(2, 2), w.secret.tag.b[0] ^= 1; /* another space */
    if (i == 2) w.o[A].target = &w.id[A].device; /* meant for another device */
    if (i == 3) w.secret.psk.b[0] ^= 1;          /* tag without psk */
    if (i == 4) w.secret.space.b[0] ^= 1;        /* spliced into another space */
    world_start(&w);
    expect_silence(&w, WEFT_EAUTH);
    world_end(&w);
  }
}

/* Who replays the start of a recorded message sees the same as who makes one up. */
static void a_known_hint_looks_like_any_other(void **state) {
  (void)state;
  for (int known = 0; known < 2; known++) {
    world w;
    world_init(&w);
    if (!known) w.secret.tag.b[0] ^= 1;
    world_start(&w);
    drain(&w, A);
    uint8_t *at = w.sent[A].at;
    size_t len = w.sent[A].len;
    at[len - 1] ^= 1; /* it cannot go on */
    feed(&w, B, weft_bytes_of(at, 52));
    assert_int_equal(weft_session_deadline(w.s[B]), 1000 + WEFT_SESSION_HANDSHAKE_MS);
    w.now += 100;
    feed(&w, B, weft_bytes_of(at + 52, len - 53));
    assert_int_equal(weft_session_deadline(w.s[B]), 1000 + WEFT_SESSION_HANDSHAKE_MS);
    feed(&w, B, weft_bytes_of(at + len - 1, 1));
    assert_int_equal(weft_session_deadline(w.s[B]), w.now + 700);
    assert_int_equal(w.sends[B], 0);
    assert_int_equal(run_out(&w, B), WEFT_EAUTH);
    world_end(&w);
  }
}

static void silent_to_other_protocols(void **state) {
  (void)state;
  static const struct {
    size_t at;
    uint8_t byte;
    weft_err why;
  } known[] = {
      {0, 2, WEFT_EVERSION},    {0, 'G', WEFT_EVERSION},   {1, 2, WEFT_EAUTH},
      {1, 0, WEFT_EAUTH},       {18, 8, WEFT_EMALFORMED},  {18, 4, WEFT_EMALFORMED},
      {19, 0, WEFT_EMALFORMED}, {19, 49, WEFT_EMALFORMED},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    world w;
    world_init(&w);
    world_start(&w);
    drain(&w, A);
    w.sent[A].at[known[i].at] = known[i].byte;
    expect_silence(&w, known[i].why);
    world_end(&w);
  }
}

/* Takes what an initiator says first, and gives it to a fresh responder on the same gate or
 * another. */
static size_t replay_draws(weft_gate *gate, world *w, weft_ms later, uint64_t unix_ms) {
  world again;
  world_init(&again);
  if (gate) again.o[B].gate = gate;
  again.now = w->now + later;
  again.o[B].unix_ms = unix_ms;
  world_start(&again);
  feed(&again, B, weft_bytes_of(w->sent[A].at, w->sent[A].len));
  size_t sends = again.sends[B];
  weft_session_free(again.s[B]);
  again.s[B] = NULL;
  world_end(&again);
  return sends;
}

static void a_recorded_first_message(void **state) {
  (void)state;
  world w;
  world_init(&w);
  world_start(&w);
  drain(&w, A);
  assert_int_equal(replay_draws(w.gate, &w, 0, unix_start), 1);
  assert_int_equal(replay_draws(w.gate, &w, 0, unix_start), 0);
  assert_int_equal(replay_draws(w.gate, &w, 119000, unix_start + 119000), 0);
  assert_int_equal(replay_draws(NULL, &w, 0, unix_start), 1);          /* a restarted device */
  assert_int_equal(replay_draws(NULL, &w, 0, unix_start + 120001), 1); /* no good clock: slowly */
  weft_gate *gate;
  weft_alloc mem = weft_alloc_libc();
  assert_int_equal(weft_gate_new(&gate, &mem, weft_crypto_sodium()), WEFT_OK);
  assert_int_equal(weft_gate_set(gate, &w.secret, 1), WEFT_OK);
  assert_int_equal(replay_draws(gate, &w, 0, unix_start + 3600000), 1);
  assert_int_equal(replay_draws(gate, &w, 61000, unix_start + 3600000), 0);
  weft_gate_free(gate);
  world_end(&w);
}

/* --- bytes that were changed or cut on the way --- */

/* Runs up to the message that `step` names, hands in `bytes` instead, and lets time run out.  0 to
 * 2 are the handshake, 3 a record of A, 4 one of B. */
static void reach(world *w, int step) {
  world_init(w);
  world_start(w);
  drain(w, A);
  if (step == 0) return;
  flow(w, A);
  if (step == 1) return;
  flow(w, B);
  if (step == 2) return;
  flow(w, A);
  size_t side = step == 3 ? A : B;
  assert_int_equal(weft_session_send(w->s[side], WEFT_FRAME_HELLO, weft_bytes_str("x")), WEFT_OK);
  drain(w, side);
}

static size_t sender_of(int step) { return step == 1 || step == 4 ? B : A; }

static void expect_refusal(world *w, int step, size_t at) {
  size_t to = !sender_of(step);
  size_t sends = w->sends[to], frames = w->frames[to];
  bool open = w->established[to];
  flow(w, sender_of(step));
  int why = run_out(w, to);
  if (why == alive || why == WEFT_OK) fail_msg("step %d, byte %zu: not refused", step, at);
  if (w->frames[to] != frames) fail_msg("step %d, byte %zu: delivered", step, at);
  if (!open && w->established[to]) fail_msg("step %d, byte %zu: established", step, at);
  if (step < 3 && w->sends[to] != sends) fail_msg("step %d, byte %zu: answered", step, at);
}

static void every_flipped_bit_ends_it(void **state) {
  (void)state;
  for (int step = 0; step < 5; step++) {
    size_t len = 1;
    for (size_t bit = 0; bit < 8 * len; bit++) {
      /* All bits of what is clear and of the first message; one bit a byte of the rest. */
      if (step > 0 && bit >= 64 && bit % 8 != bit / 8 % 8) continue;
      world w;
      reach(&w, step);
      wire *sent = &w.sent[sender_of(step)];
      len = sent->len;
      sent->at[bit / 8] ^= (uint8_t)(1u << bit % 8);
      expect_refusal(&w, step, bit / 8);
      world_end(&w);
    }
    assert_true(len > 80);
  }
}

static void every_truncation_ends_it(void **state) {
  (void)state;
  for (int step = 0; step < 5; step++) {
    size_t len = 2;
    for (size_t cut = 1; cut < len; cut++) {
      world w;
      reach(&w, step);
      wire *sent = &w.sent[sender_of(step)];
      len = sent->len;
      sent->len = cut;
      expect_refusal(&w, step, cut);
      size_t to = !sender_of(step);
      assert_int_equal(w.closed[to], WEFT_ETIMEOUT);
      world_end(&w);
    }
  }
}

static void records_do_not_reorder_nor_repeat(void **state) {
  (void)state;
  for (int repeat = 0; repeat < 2; repeat++) {
    world w;
    open_world(&w);
    uint8_t first[100];
    assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_WANT, none), WEFT_OK);
    drain(&w, A);
    size_t len = w.sent[A].len;
    memcpy(first, w.sent[A].at, len);
    if (repeat) flow(&w, A);
    w.sent[A].len = 0;
    assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_WANT, none), WEFT_OK);
    drain(&w, A);
    if (repeat) memcpy(w.sent[A].at, first, len);
    flow(&w, A);
    assert_int_equal(w.closed[B], WEFT_EAUTH);
    assert_int_equal(w.frames[B], (size_t)repeat);
    world_end(&w);
  }
}

/* --- certificates --- */

static void a_false_certificate_ends_it(void **state) {
  (void)state;
  for (size_t liar = 0; liar < 2; liar++) {
    world w;
    world_init(&w);
    w.o[A].target = NULL;
    weft_key seed = test_key(0x55);
    weft_identity other;
    weft_identity_derive(&other, weft_crypto_sodium(), &seed);
    w.id[liar].device = other.device; /* poses as a device whose seed it has not */
    world_start(&w);
    pump(&w);
    assert_int_equal(w.closed[!liar], WEFT_EBADSIG);
    assert_false(w.established[!liar]);
    world_end(&w);
  }
}

/* The responder is a member, and not who was dialled: the initiator does not show itself. */
static void another_device_than_the_target_is_refused(void **state) {
  (void)state;
  world w;
  world_init(&w);
  weft_id zero = {{0}}, device = w.id[B].device;
  w.o[A].target = &zero; /* the hint names nobody */
  world_start(&w);
  pump(&w);
  assert_true(w.established[A]); /* zeros are the same as no target */
  world_end(&w);

  world_init(&w);
  w.o[A].target = &device;
  world_start(&w);
  drain(&w, A);
  weft_key seed = test_key(0x55); /* B answers to its own name, then shows another */
  weft_identity other;
  weft_identity_derive(&other, weft_crypto_sodium(), &seed);
  other.x_public = w.id[B].x_public;
  other.x_secret = w.id[B].x_secret;
  uint8_t prelude[52];
  memcpy(prelude, w.sent[A].at, sizeof prelude);
  feed(&w, B, weft_bytes_of(prelude, sizeof prelude));
  w.id[B] = other;
  feed(&w, B, weft_bytes_of(w.sent[A].at + 52, w.sent[A].len - 52));
  w.sent[A].len = 0;
  flow(&w, B);
  assert_int_equal(w.closed[A], WEFT_EAUTH);
  assert_int_equal(w.sends[A], 1);
  world_end(&w);
}

static void the_owner_may_refuse_to_show_itself(void **state) {
  (void)state;
  world w;
  world_init(&w);
  w.refuse = true;
  world_start(&w);
  pump(&w);
  assert_int_equal(w.sends[A], 1);
  assert_memory_equal(&weft_session_peer_of(w.s[A])->device, &w.id[B].device, sizeof(weft_id));
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_HELLO, none), WEFT_EMISUSE);
  weft_session_close(w.s[A], w.now, WEFT_OK);
  weft_session_close(w.s[A], w.now, WEFT_EUNKNOWN); /* too late */
  drain(&w, A);
  assert_int_equal(w.closed[A], WEFT_OK);
  assert_int_equal(weft_session_accept(w.s[A]), WEFT_EMISUSE);
  assert_int_equal(run_out(&w, B), WEFT_ETIMEOUT);
  world_end(&w);
}

/* --- frames --- */

static void frames_round_trip_at_every_edge(void **state) {
  (void)state;
  static const size_t around[] = {60,
                                  124,
                                  1020,
                                  1276,
                                  1532,
                                  16380,
                                  65276,
                                  WEFT_RECORD_BODY_MAX,
                                  WEFT_RECORD_PLAIN_MAX,
                                  2 * WEFT_RECORD_BODY_MAX,
                                  300000};
  world w;
  open_world(&w);
  for (size_t len = 0; len < 140; len++) send_frame(&w, len % 2, WEFT_FRAME_HELLO, len);
  for (size_t i = 0; i < sizeof around / sizeof *around; i++) {
    for (size_t len = around[i] - 3; len <= around[i] + 3; len++) {
      send_frame(&w, i % 2, WEFT_FRAME_CHANGES, len);
    }
  }
  send_frame(&w, A, WEFT_FRAME_WANT, WEFT_SESSION_CONTROL_MAX);
  send_frame(&w, B, WEFT_FRAME_CHANGES, WEFT_SESSION_BODY_MAX);
  send_frame(&w, B, 0xff, 10);
  assert_int_equal(weft_session_stats_of(w.s[B]).unsent, 0);
  assert_int_equal(w.closed[A], alive);
  world_end(&w);
}

static void sizes_on_the_wire_are_few(void **state) {
  (void)state;
  static const size_t known[][2] = {{0, 82}, {60, 82}, {61, 146}, {1020, 1042}, {1021, 1298}};
  static const uint8_t zeros[1021];
  world w;
  open_world(&w);
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    weft_bytes body = weft_bytes_of(zeros, known[i][0]);
    assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_HELLO, body), WEFT_OK);
    drain(&w, A);
    assert_int_equal(w.sent[A].len, known[i][1]);
    flow(&w, A);
  }
  world_end(&w);
}

static void short_frames_overtake(void **state) {
  (void)state;
  static const uint8_t big[3 * WEFT_RECORD_BODY_MAX];
  weft_session_action a;
  world w;
  open_world(&w);
  weft_bytes body = weft_bytes_of(big, sizeof big);
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_CHANGES, body), WEFT_OK);
  assert_true(weft_session_next(w.s[A], &a));
  obey(&w, A, &a);
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_PING, none), WEFT_OK);
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_BYE, none), WEFT_OK);
  drain(&w, A);
  w.trace[0] = 0;
  flow(&w, A);
  assert_int_equal(w.frames[B], 3);
  assert_int_equal(w.last_type[B], WEFT_FRAME_BYE);
  assert_int_equal(strncmp(w.trace, "b deliver 0\nb deliver 196545 ", 28), 0);
  world_end(&w);
}

static void sending_has_limits(void **state) {
  (void)state;
  static const uint8_t big[WEFT_SESSION_BODY_MAX + 1];
  world w;
  world_init(&w);
  assert_int_equal(w.o[A].unsent_max, WEFT_SESSION_UNSENT_MAX);
  w.o[A].unsent_max = 100000;
  w.o[A].body_max = 90000;
  w.o[B].body_max = 50000;
  world_start(&w);
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_HELLO, none), WEFT_EMISUSE);
  pump(&w);
  weft_bytes body = weft_bytes_of(big, 90001);
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_CHANGES, body), WEFT_ELIMIT);
  body.len = WEFT_SESSION_CONTROL_MAX + 1;
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_HELLO, body), WEFT_ELIMIT);
  body.len = 40000;
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_CHANGES, body), WEFT_OK);
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_CHANGES, body), WEFT_OK);
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_CHANGES, body), WEFT_EAGAIN);
  assert_true(weft_session_stats_of(w.s[A]).unsent > 80000);
  assert_int_equal(weft_session_stats_of(w.s[A]).urgent, 0);
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_EXPRESS, none), WEFT_OK);
  assert_true(weft_session_stats_of(w.s[A]).urgent > 0);
  pump(&w);
  assert_int_equal(w.frames[B], 3);
  body.len = 50001; /* one record, and more than B takes */
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_CHANGES, body), WEFT_OK);
  pump(&w);
  assert_int_equal(w.closed[B], WEFT_ELIMIT);
  assert_int_equal(w.last_type[A], WEFT_FRAME_ERROR);
  world_end(&w);
}

static void sending_waits_for_the_third_message(void **state) {
  (void)state;
  weft_session_action a;
  size_t used;
  world w;
  world_init(&w);
  world_start(&w);
  drain(&w, A);
  flow(&w, A);
  weft_bytes m2 = weft_bytes_of(w.sent[B].at, w.sent[B].len);
  assert_int_equal(weft_session_feed(w.s[A], w.now, m2, &used), WEFT_OK);
  assert_int_equal(weft_session_accept(w.s[A]), WEFT_EMISUSE); /* CHECK was not yet taken */
  assert_true(weft_session_next(w.s[A], &a));
  assert_int_equal(a.kind, WEFT_SESSION_CHECK);
  assert_int_equal(weft_session_feed(w.s[A], w.now, none, &used), WEFT_OK);
  assert_int_equal(weft_session_accept(w.s[A]), WEFT_OK);
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_HELLO, none), WEFT_EAGAIN);
  assert_true(weft_session_next(w.s[A], &a));
  assert_int_equal(a.kind, WEFT_SESSION_SEND);
  assert_int_equal(a.data.len, 322);
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_HELLO, none), WEFT_OK);
  assert_int_equal(weft_session_accept(w.s[A]), WEFT_EMISUSE);
  world_end(&w);
}

static void a_held_session_sends_nothing_and_goes_on(void **state) {
  (void)state;
  world w;
  open_world(&w);
  weft_session_hold(w.s[A], true);
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_HELLO, none), WEFT_OK);
  assert_false(drain(&w, A));
  send_frame(&w, B, WEFT_FRAME_HELLO, 10);
  weft_session_hold(w.s[A], false);
  pump(&w);
  assert_int_equal(w.frames[B], 1);
  world_end(&w);
}

static void input_waits_while_a_frame_is_not_taken(void **state) {
  (void)state;
  weft_session_action a;
  size_t used;
  world w;
  open_world(&w);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_HELLO, none), WEFT_OK);
  }
  drain(&w, A);
  weft_bytes in = weft_bytes_of(w.sent[A].at, w.sent[A].len);
  assert_int_equal(weft_session_feed(w.s[B], w.now, in, &used), WEFT_OK);
  assert_int_equal(used, 82);
  in = weft_bytes_of(in.at + used, in.len - used);
  assert_int_equal(weft_session_feed(w.s[B], w.now, in, &used), WEFT_EAGAIN);
  assert_int_equal(used, 0);
  assert_true(weft_session_next(w.s[B], &a));
  assert_int_equal(a.kind, WEFT_SESSION_DELIVER);
  assert_int_equal(weft_session_feed(w.s[B], w.now, in, &used), WEFT_OK);
  assert_int_equal(used, 82);
  world_end(&w);
}

static void keys_change_on_both_sides_at_once(void **state) {
  (void)state;
  for (uint64_t every = 1; every <= 5; every++) {
    world w;
    world_init(&w);
    w.o[A].rekey_every = w.o[B].rekey_every = every;
    world_start(&w);
    pump(&w);
    for (size_t i = 0; i < 17; i++) {
      send_frame(&w, A, WEFT_FRAME_HELLO, i);
      if (i % 3 == 0) send_frame(&w, B, WEFT_FRAME_CHANGES, 70000 + i);
    }
    assert_int_equal(w.closed[A], alive);
    world_end(&w);
  }
}

/* An end that does not change its key is found out by the first message that should have it. */
static void a_key_that_does_not_change_is_refused(void **state) {
  (void)state;
  world w;
  world_init(&w);
  w.o[B].rekey_every = 3;
  world_start(&w);
  pump(&w);
  for (size_t i = 0; i < 3; i++) send_frame(&w, A, WEFT_FRAME_HELLO, 5);
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_HELLO, none), WEFT_OK);
  pump(&w);
  assert_int_equal(w.closed[B], WEFT_EAUTH);
  assert_int_equal(w.frames[B], 3);
  world_end(&w);
}

static void the_real_boundary_of_65536(void **state) {
  (void)state;
  world w;
  open_world(&w);
  for (size_t i = 0; i < 65536 + 3; i++) {
    w.trace[0] = 0;
    assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_PING, none), WEFT_OK);
    drain(&w, A);
    flow(&w, A);
  }
  assert_int_equal(w.frames[B], 65536 + 3);
  assert_int_equal(w.closed[B], alive);
  world_end(&w);
}

/* Both send at random, in random pieces; each direction arrives whole, in order, and nothing else.
 */
static void random_traffic(void **state) {
  (void)state;
  static uint8_t body[200000];
  for (uint64_t seed = 1; seed <= 30; seed++) {
    test_rng rng = test_rng_of(seed);
    uint32_t next[2] = {0, 0};
    world w;
    world_init(&w);
    w.o[A].rekey_every = w.o[B].rekey_every = 7;
    world_start(&w);
    pump(&w);
    for (int i = 0; i < 60; i++) {
      size_t side = test_rng_below(&rng, 2);
      size_t len = 4 + test_rng_below(&rng, test_rng_chance(&rng, 20) ? 190000 : 300);
      uint8_t type = len > 300 ? WEFT_FRAME_CHANGES : WEFT_FRAME_GOSSIP;
      w.chunk = 1 + test_rng_below(&rng, 5000);
      memset(body, (int)(next[side] & 0xff), len);
      memcpy(body, &next[side], 4);
      next[side]++;
      assert_int_equal(weft_session_send(w.s[side], type, weft_bytes_of(body, len)), WEFT_OK);
      if (test_rng_chance(&rng, 50)) continue;
      pump(&w);
      for (size_t to = 0; to < 2; to++) {
        uint32_t last;
        if (w.frames[to] != next[!to]) fail_msg("seed=%d: frames are missing", (int)seed);
        if (!next[!to]) continue;
        memcpy(&last, w.last[to], 4);
        if (last != next[!to] - 1) fail_msg("seed=%d: out of order", (int)seed);
      }
    }
    world_end(&w);
  }
}

/* --- time --- */

static void a_handshake_takes_five_seconds_at_most(void **state) {
  (void)state;
  world w;
  world_init(&w);
  world_start(&w);
  for (size_t side = 0; side < 2; side++) {
    assert_int_equal(weft_session_deadline(w.s[side]), 1000 + WEFT_SESSION_HANDSHAKE_MS);
  }
  tick(&w, A, 5999);
  tick(&w, B, 5999);
  assert_true(w.closed[A] == alive && w.closed[B] == alive);
  tick(&w, A, 6000);
  tick(&w, B, 6000);
  assert_true(w.closed[A] == WEFT_ETIMEOUT && w.closed[B] == WEFT_ETIMEOUT);
  assert_int_equal(weft_session_tick(w.s[A], 9000), WEFT_ETIMEOUT);
  assert_int_equal(w.sends[B], 0);
  world_end(&w);
}

static void the_silent_delay_is_bounded(void **state) {
  (void)state;
  static const weft_ms known[][2] = {{0, 0}, {4999, 4999}, {99999, WEFT_SESSION_DROP_MS_MAX}};
  for (size_t i = 0; i < 3; i++) {
    world w;
    world_init(&w);
    w.o[B].drop_delay_ms = known[i][0];
    world_start(&w);
    static const uint8_t garbage[52] = "GET / HTTP/1.1";
    feed(&w, B, weft_bytes_of(garbage, sizeof garbage));
    assert_int_equal(weft_session_deadline(w.s[B]), 1000 + known[i][1]);
    world_end(&w);
  }
}

static void a_record_must_come_in_whole(void **state) {
  (void)state;
  world w;
  open_world(&w);
  w.now += 500000;
  weft_ms quiet = weft_session_deadline(w.s[B]);
  assert_int_equal(quiet, 1000 + WEFT_SESSION_LIFETIME_MS);
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_HELLO, none), WEFT_OK);
  drain(&w, A);
  weft_bytes in = weft_bytes_of(w.sent[A].at, w.sent[A].len);
  feed(&w, B, weft_bytes_of(in.at, 1));
  weft_ms due = w.now + WEFT_SESSION_RECORD_MS;
  assert_int_equal(weft_session_deadline(w.s[B]), due);
  w.now += 10000;
  feed(&w, B, weft_bytes_of(in.at + 1, 80));
  assert_int_equal(weft_session_deadline(w.s[B]), due);
  tick(&w, B, due - 1);
  assert_int_equal(w.closed[B], alive);
  feed(&w, B, weft_bytes_of(in.at + 81, 1));
  assert_int_equal(w.frames[B], 1);
  assert_int_equal(weft_session_deadline(w.s[B]), quiet);
  feed(&w, B, weft_bytes_of(in.at, 1));
  tick(&w, B, w.now + WEFT_SESSION_RECORD_MS);
  assert_int_equal(w.closed[B], WEFT_ETIMEOUT);
  flow(&w, B);
  assert_int_equal(w.last_type[A], WEFT_FRAME_ERROR);
  assert_int_equal(w.last[A][1], WEFT_CODE_TIMEOUT);
  world_end(&w);
}

static void a_session_ages(void **state) {
  (void)state;
  world w;
  world_init(&w);
  w.o[A].lifetime_ms = 100000;
  world_start(&w);
  pump(&w);
  tick(&w, A, 100999);
  assert_false(w.expiring[A]);
  tick(&w, A, 101000);
  assert_true(w.expiring[A]);
  assert_int_equal(weft_session_deadline(w.s[A]), 111000);
  w.expiring[A] = false;
  send_frame(&w, A, WEFT_FRAME_HELLO, 3);
  w.now = 105000; /* a record that begins now may take no longer than the session has left */
  feed(&w, A, weft_bytes_of("", 1));
  assert_int_equal(weft_session_deadline(w.s[A]), 111000);
  tick(&w, A, 110999);
  assert_true(!w.expiring[A] && w.closed[A] == alive);
  tick(&w, A, 111000);
  assert_int_equal(w.closed[A], WEFT_ETIMEOUT);
  world_end(&w);
}

static void a_closing_session_does_not_age(void **state) {
  (void)state;
  world w;
  world_init(&w);
  w.o[A].lifetime_ms = 100000;
  world_start(&w);
  pump(&w);
  assert_int_equal(weft_session_tick(w.s[A], 101000), WEFT_OK);
  weft_session_close(w.s[A], 101000, WEFT_OK);
  drain(&w, A);
  assert_true(!w.expiring[A] && w.closed[A] == WEFT_OK);
  world_end(&w);
}

/* --- closing --- */

static void closing_lets_what_is_queued_leave(void **state) {
  (void)state;
  world w;
  open_world(&w);
  static const uint8_t big[100000];
  weft_bytes body = weft_bytes_of(big, sizeof big);
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_AUTH_REC, body), WEFT_OK);
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_BYE, none), WEFT_OK);
  weft_session_close(w.s[A], w.now, WEFT_OK);
  weft_session_close(w.s[A], w.now, WEFT_EIO);
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_HELLO, none), WEFT_EMISUSE);
  assert_int_equal(weft_session_tick(w.s[A], w.now), WEFT_OK);
  pump(&w);
  assert_int_equal(w.closed[A], WEFT_OK);
  assert_int_equal(w.frames[B], 2);
  size_t used;
  assert_int_equal(weft_session_feed(w.s[A], w.now, body, &used), WEFT_OK);
  assert_int_equal(used, body.len);
  weft_session_eof(w.s[B], w.now);
  drain(&w, B);
  assert_int_equal(w.closed[B], WEFT_EDONE);
  assert_int_equal(weft_session_eof(w.s[B], w.now), WEFT_OK);
  world_end(&w);
}

static void closing_waits_a_second_at_most(void **state) {
  (void)state;
  world w;
  open_world(&w);
  assert_int_equal(weft_session_send(w.s[A], WEFT_FRAME_HELLO, none), WEFT_OK);
  weft_session_hold(w.s[A], true);
  weft_session_close(w.s[A], w.now, WEFT_EIO);
  drain(&w, A);
  assert_int_equal(w.closed[A], alive);
  assert_int_equal(weft_session_deadline(w.s[A]), w.now + WEFT_SESSION_FLUSH_MS);
  tick(&w, A, w.now + WEFT_SESSION_FLUSH_MS);
  assert_int_equal(w.closed[A], WEFT_EIO);
  assert_int_equal(weft_session_accept(w.s[A]), WEFT_EIO);
  world_end(&w);
}

static void an_end_without_bye_is_no_good_end(void **state) {
  (void)state;
  for (int step = 0; step < 4; step++) {
    world w;
    reach(&w, step);
    size_t to = !sender_of(step);
    weft_session_eof(w.s[to], w.now);
    drain(&w, to);
    assert_int_equal(w.closed[to], WEFT_EPROTO);
    world_end(&w);
  }
  world w; /* a refused one keeps its own reason */
  world_init(&w);
  w.secret.tag.b[0] ^= 1;
  world_start(&w);
  drain(&w, A);
  flow(&w, A);
  weft_session_eof(w.s[B], w.now);
  drain(&w, B);
  assert_int_equal(w.closed[B], WEFT_EAUTH);
  world_end(&w);
  open_world(&w); /* and so does one that is closing */
  weft_session_close(w.s[A], w.now, WEFT_EIO);
  weft_session_eof(w.s[A], w.now);
  drain(&w, A);
  assert_int_equal(w.closed[A], WEFT_EIO);
  world_end(&w);
}

/* --- misuse and memory --- */

static void options_that_make_no_session(void **state) {
  (void)state;
  world w;
  world_init(&w);
  w.o[B].now = 1;
  for (int i = 0; i < 7; i++) {
    weft_session_options o = w.o[B];
    weft_session *s;
    if (i == 0) o.mem = NULL;
    if (i == 1) o.crypto = NULL;
    if (i == 2) o.identity = NULL;
    if (i == 3) o.gate = NULL;
    if (i == 4) o.secret = &w.secret;
    if (i == 5) o.version_min = 2;
    if (i == 6) o.rekey_every = 0;
    assert_int_equal(weft_session_new(&s, &o), WEFT_EMISUSE);
    assert_null(s);
  }
  weft_session_free(NULL);
  /* An old caller, whose struct ends before the later fields, gets their defaults. */
  weft_session_options old = w.o[B];
  old.struct_size = offsetof(weft_session_options, body_max);
  old.rekey_every = 0;
  assert_int_equal(weft_session_new(&w.s[B], &old), WEFT_OK);
  assert_int_equal(weft_session_deadline(w.s[B]), 1 + WEFT_SESSION_HANDSHAKE_MS);
  old.drop_delay_ms = 77;
  weft_session_options_init_sized(&old, sizeof old.struct_size);
  assert_int_equal(old.drop_delay_ms, 77);
  struct {
    weft_session_options known;
    int later;
  } newer = {{.struct_size = 0}, 5};
  weft_session_options_init_sized(&newer.known, sizeof newer);
  assert_int_equal(newer.later, 5);
  newer.known = w.o[B];
  newer.known.struct_size = sizeof newer;
  weft_session_free(w.s[B]);
  assert_int_equal(weft_session_new(&w.s[B], &newer.known), WEFT_OK);
  world_end(&w);
}

/* A whole life with the k-th allocation of one side failing: that side ends, nothing leaks. */
static bool live_with_fault(size_t side, size_t fail_at, bool sticky) {
  static const uint8_t big[150000];
  test_fault_alloc fault = {.fail_at = fail_at, .sticky = sticky};
  world w;
  world_init(&w);
  w.mem[side] = test_fault_alloc_of(&fault);
  w.o[A].now = w.o[B].now = w.now;
  weft_err err = WEFT_OK;
  for (size_t i = 0; i < 2 && err == WEFT_OK; i++) err = weft_session_new(&w.s[i], &w.o[i]);
  if (err == WEFT_OK) {
    pump(&w);
    for (size_t i = 0; i < 6; i++) {
      weft_bytes body = weft_bytes_of(big, i % 2 ? sizeof big : 30);
      uint8_t type = i % 2 ? WEFT_FRAME_CHANGES : WEFT_FRAME_HELLO;
      weft_err got = weft_session_send(w.s[i / 2 % 2], type, body);
      if (got != WEFT_OK && got != WEFT_EMISUSE) assert_int_equal(got, WEFT_ENOMEM);
      if (got == WEFT_ENOMEM) err = got;
      pump(&w);
    }
    if (w.closed[side] != alive) err = (weft_err)w.closed[side];
  }
  bool reached = fault.calls >= fail_at;
  if (reached)
    assert_int_equal(err, WEFT_ENOMEM);
  else
    assert_int_equal(err, WEFT_OK);
  world_end(&w);
  assert_int_equal(fault.live, 0);
  return reached;
}

static void every_allocation_may_fail(void **state) {
  (void)state;
  for (size_t side = 0; side < 2; side++) {
    for (int sticky = 0; sticky < 2; sticky++) {
      size_t k = 1;
      while (live_with_fault(side, k, sticky)) k++;
      assert_true(k > 8);
    }
  }
}

/* Memory that a connection can take before it is authentic. */
static void a_refused_connection_costs_little(void **state) {
  (void)state;
  static const uint8_t flood[100000];
  for (int i = 0; i < 2; i++) {
    test_fault_alloc fault = {0};
    world w;
    world_init(&w);
    w.secret.tag.b[0] ^= 1;
    w.mem[B] = test_fault_alloc_of(&fault);
    world_start(&w);
    drain(&w, A);
    if (i == 1) w.sent[A].at[18] = 4, w.sent[A].at[19] = 0; /* the longest message */
    if (i == 1) feed(&w, B, weft_bytes_of(w.sent[A].at, 52));
    feed(&w, B, weft_bytes_of(flood, sizeof flood));
    /* The session; 64 bytes for the prelude; these grown to 2 KiB for the message. */
    assert_int_equal(fault.calls, i == 0 ? 2 : 3);
    assert_int_equal(w.sends[B], 0);
    world_end(&w);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(handshake_golden_trace),
      cmocka_unit_test(both_learn_who_the_other_is),
      cmocka_unit_test(every_split_of_the_input),
      cmocka_unit_test(join_mode_and_unknown_target),
      cmocka_unit_test(highest_common_version),
      cmocka_unit_test(silent_to_who_lacks_the_secret),
      cmocka_unit_test(a_known_hint_looks_like_any_other),
      cmocka_unit_test(silent_to_other_protocols),
      cmocka_unit_test(a_recorded_first_message),
      cmocka_unit_test(every_flipped_bit_ends_it),
      cmocka_unit_test(every_truncation_ends_it),
      cmocka_unit_test(records_do_not_reorder_nor_repeat),
      cmocka_unit_test(a_false_certificate_ends_it),
      cmocka_unit_test(another_device_than_the_target_is_refused),
      cmocka_unit_test(the_owner_may_refuse_to_show_itself),
      cmocka_unit_test(frames_round_trip_at_every_edge),
      cmocka_unit_test(sizes_on_the_wire_are_few),
      cmocka_unit_test(short_frames_overtake),
      cmocka_unit_test(sending_has_limits),
      cmocka_unit_test(sending_waits_for_the_third_message),
      cmocka_unit_test(a_held_session_sends_nothing_and_goes_on),
      cmocka_unit_test(input_waits_while_a_frame_is_not_taken),
      cmocka_unit_test(keys_change_on_both_sides_at_once),
      cmocka_unit_test(a_key_that_does_not_change_is_refused),
      cmocka_unit_test(the_real_boundary_of_65536),
      cmocka_unit_test(random_traffic),
      cmocka_unit_test(a_handshake_takes_five_seconds_at_most),
      cmocka_unit_test(the_silent_delay_is_bounded),
      cmocka_unit_test(a_record_must_come_in_whole),
      cmocka_unit_test(a_session_ages),
      cmocka_unit_test(a_closing_session_does_not_age),
      cmocka_unit_test(closing_lets_what_is_queued_leave),
      cmocka_unit_test(closing_waits_a_second_at_most),
      cmocka_unit_test(an_end_without_bye_is_no_good_end),
      cmocka_unit_test(options_that_make_no_session),
      cmocka_unit_test(every_allocation_may_fail),
      cmocka_unit_test(a_refused_connection_costs_little),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

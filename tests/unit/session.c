/* The secure session: whole handshakes and frames between two ends, and every way in which one end,
 * or somebody between them, can misbehave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/noise.h"
#include "net/session.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/hex.h"
#include "tests/support/rng.h"

static const weft_bytes none = {NULL, 0};
static const uint64_t unix_start = 1750000000000;

enum { A = 0, B = 1, wire_cap = 1 << 23, alive = 1 }; /* A dials B; `alive` is no weft_err */

/* --- two ends and the wire between them --- */

typedef struct wire {
  uint8_t *at;
  size_t len;
} wire;

typedef struct world {
  weft_alloc mem[2];
  weft_identity id[2];
  weft_session_secret secret;
  weft_gate *gate;
  weft_session *s[2];
  weft_session_options o[2];
  weft_ms now;
  wire sent[2]; /* what each side sent and the other was not yet fed */
  size_t chunk; /* bytes fed at once */
  bool refuse;  /* the initiator's owner does not accept */
  bool established[2], expiring[2];
  int closed[2]; /* the CLOSE's why, or `alive` */
  size_t frames[2];
  uint8_t last_type[2];
  uint8_t *last[2]; /* body of the last frame delivered */
  size_t last_len[2];
  size_t sends[2];
  char trace[2048];
} world;

static weft_key key_of(uint8_t byte) {
  weft_key key;
  memset(key.b, byte, sizeof key.b);
  return key;
}

static weft_session_secret member_secret(uint8_t space, uint8_t epoch) {
  weft_session_secret secret;
  weft_id id;
  weft_key key = key_of(epoch);
  weft_epoch name, newest;
  memset(id.b, space, sizeof id.b);
  memset(name.b, epoch, sizeof name.b);
  memset(newest.b, 0xee, sizeof newest.b);
  weft_session_secret_member(&secret, weft_crypto_sodium(), &id, &key, name, newest);
  return secret;
}

/* Fills in what world_start needs; a test may change it before. */
static void world_init(world *w) {
  memset(w, 0, sizeof *w);
  w->secret = member_secret(1, 2);
  w->now = 1000;
  w->chunk = SIZE_MAX;
  for (size_t i = 0; i < 2; i++) {
    weft_key seed = key_of((uint8_t)(0x10 + i));
    weft_identity_derive(&w->id[i], weft_crypto_sodium(), &seed);
    w->mem[i] = weft_alloc_libc();
    weft_session_options *o = &w->o[i];
    weft_session_options_init(o);
    o->mem = &w->mem[i];
    o->crypto = weft_crypto_sodium();
    o->identity = &w->id[i];
    o->ephemeral = key_of((uint8_t)(0x20 + i));
    o->unix_ms = unix_start;
    o->caps = 0x100 + (uint32_t)i;
    o->drop_delay_ms = 700;
    w->sent[i].at = malloc(wire_cap);
    w->closed[i] = alive;
  }
  w->o[A].secret = &w->secret;
  w->o[A].target = &w->id[B].device;
  weft_alloc mem = weft_alloc_libc();
  assert_int_equal(weft_gate_new(&w->gate, &mem, weft_crypto_sodium()), WEFT_OK);
  assert_int_equal(weft_gate_set(w->gate, &w->secret, 1), WEFT_OK);
  w->o[B].gate = w->gate;
}

static void world_start(world *w) {
  for (size_t i = 0; i < 2; i++) {
    w->o[i].now = w->now;
    assert_int_equal(weft_session_new(&w->s[i], &w->o[i]), WEFT_OK);
  }
}

static void world_end(world *w) {
  for (size_t i = 0; i < 2; i++) {
    weft_session_free(w->s[i]);
    free(w->sent[i].at);
    free(w->last[i]);
  }
  weft_gate_free(w->gate);
}

static void trace(world *w, size_t side, const char *what, weft_bytes data) {
  size_t len = strlen(w->trace);
  uint8_t hash[16] = {0};
  weft_crypto_sodium()->hash(hash, sizeof hash, none, NULL, NULL, &data, 1);
  (void)snprintf(w->trace + len, sizeof w->trace - len, "%c %s %zu", "ab"[side], what, data.len);
  for (size_t i = 0; i < 8 && data.len; i++) {
    len = strlen(w->trace);
    (void)snprintf(w->trace + len, sizeof w->trace - len, "%s%02x", i ? "" : " ", hash[i]);
  }
  len = strlen(w->trace);
  (void)snprintf(w->trace + len, sizeof w->trace - len, "\n");
}

static void obey(world *w, size_t side, const weft_session_action *a) {
  switch (a->kind) {
  case WEFT_SESSION_SEND:
    trace(w, side, "send", a->data);
    w->sends[side]++;
    assert_true(w->sent[side].len + a->data.len <= wire_cap);
    memcpy(w->sent[side].at + w->sent[side].len, a->data.at, a->data.len);
    w->sent[side].len += a->data.len;
    break;
  case WEFT_SESSION_CHECK:
    trace(w, side, "check", none);
    if (!w->refuse) (void)!weft_session_accept(w->s[side]);
    break;
  case WEFT_SESSION_ESTABLISHED:
    trace(w, side, "established", none);
    w->established[side] = true;
    break;
  case WEFT_SESSION_DELIVER:
    trace(w, side, "deliver", a->data);
    w->frames[side]++;
    w->last_type[side] = a->type;
    w->last_len[side] = a->data.len;
    free(w->last[side]);
    w->last[side] = malloc(a->data.len + 1);
    if (a->data.len) memcpy(w->last[side], a->data.at, a->data.len);
    break;
  case WEFT_SESSION_EXPIRING: w->expiring[side] = true; break;
  case WEFT_SESSION_CLOSE:
    trace(w, side, "close", none);
    assert_int_equal(w->closed[side], alive);
    w->closed[side] = a->why;
    break;
  case WEFT_SESSION_NOTHING: fail_msg("an action without a kind");
  }
}

static bool drain(world *w, size_t side) {
  weft_session_action a;
  bool any = false;
  while (weft_session_next(w->s[side], &a)) {
    obey(w, side, &a);
    any = true;
  }
  return any;
}

/* Feeds bytes in chunks, obeying actions as the header says. */
static void feed(world *w, size_t side, weft_bytes in) {
  while (in.len) {
    size_t used, len = in.len < w->chunk ? in.len : w->chunk;
    (void)!weft_session_feed(w->s[side], w->now, weft_bytes_of(in.at, len), &used);
    assert_true(used <= len);
    bool any = drain(w, side);
    if (!used && !any) return;
    in = weft_bytes_of(in.at + used, in.len - used);
  }
}

static void flow(world *w, size_t from) {
  size_t len = w->sent[from].len;
  uint8_t *bytes = malloc(len + 1);
  memcpy(bytes, w->sent[from].at, len);
  w->sent[from].len = 0;
  feed(w, !from, weft_bytes_of(bytes, len));
  free(bytes);
}

/* Lets everything flow until nothing moves. */
static void pump(world *w) {
  for (;;) {
    bool any = drain(w, A);
    any |= drain(w, B);
    if (!w->sent[A].len && !w->sent[B].len && !any) return;
    if (w->sent[A].len) flow(w, A);
    if (w->sent[B].len) flow(w, B);
  }
}

static void tick(world *w, size_t side, weft_ms to) {
  w->now = to;
  (void)!weft_session_tick(w->s[side], to);
  drain(w, side);
}

/* Lets time pass for one side until it has closed; gives why. */
static int run_out(world *w, size_t side) {
  for (int i = 0; i < 10 && w->closed[side] == alive; i++) {
    weft_ms at = weft_session_deadline(w->s[side]);
    tick(w, side, at > w->now ? at : w->now);
  }
  return w->closed[side];
}

static void open_world(world *w) {
  world_init(w);
  world_start(w);
  pump(w);
  assert_true(w->established[A] && w->established[B]);
}

static void send_frame(world *w, size_t side, uint8_t type, size_t len) {
  static uint8_t body[6 << 20];
  for (size_t i = 0; i < len; i++) body[i] = (uint8_t)(i * 7 + (i >> 8) + len);
  assert_int_equal(weft_session_send(w->s[side], type, weft_bytes_of(body, len)), WEFT_OK);
  pump(w);
  if (w->closed[!side] != alive) return;
  assert_int_equal(w->last_type[!side], type);
  assert_int_equal(w->last_len[!side], len);
  assert_memory_equal(w->last[!side], body, len);
}

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
  weft_key key = key_of(0x77);
  weft_session_secret list[2] = {w.secret};
  weft_session_secret_join(&list[1], weft_crypto_sodium(), &space, &key);
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
    weft_key seed = key_of(0x55);
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
  weft_key seed = key_of(0x55); /* B answers to its own name, then shows another */
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
  weft_session_close(w.s[A], w.now, WEFT_EUNKNOWN);
  drain(&w, A);
  assert_int_equal(w.closed[A], WEFT_EUNKNOWN);
  assert_int_equal(run_out(&w, B), WEFT_ETIMEOUT);
  world_end(&w);
}

/* --- a peer that speaks Noise and breaks rules above it --- */

typedef struct raw { /* one end made by hand, against the other side of a world */
  weft_noise noise;
  weft_noise_cipher sending, receiving;
} raw;

static void raw_start(raw *r, world *w, bool initiator) {
  uint8_t prologue[41] = "weft-v1\1\1";
  memcpy(prologue + 9, w->secret.space.b, 32);
  weft_key ephemeral = key_of(0x66);
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
    } else if (type >= WEFT_FRAME_PING && type <= WEFT_FRAME_BYE) {
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
  world w;
  open_world(&w);
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    weft_bytes body = weft_bytes_of(w.sent[B].at, known[i][0]);
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
  pump(&w);
  assert_int_equal(w.frames[B], 2);
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
  world w;
  world_init(&w);
  w.refuse = true;
  world_start(&w);
  pump(&w);
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
  tick(&w, A, 110999);
  assert_true(!w.expiring[A] && w.closed[A] == alive);
  tick(&w, A, 111000);
  assert_int_equal(w.closed[A], WEFT_ETIMEOUT);
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

static void a_refused_connection_costs_little(void **state) {
  (void)state;
  test_fault_alloc fault = {0};
  world w;
  world_init(&w);
  w.secret.tag.b[0] ^= 1;
  w.mem[B] = test_fault_alloc_of(&fault);
  world_start(&w);
  static const uint8_t flood[100000];
  feed(&w, B, weft_bytes_of(flood, sizeof flood));
  assert_int_equal(fault.calls, 2); /* the session, and 64 bytes for the prelude */
  assert_int_equal(w.sends[B], 0);
  world_end(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(handshake_golden_trace),
      cmocka_unit_test(both_learn_who_the_other_is),
      cmocka_unit_test(every_split_of_the_input),
      cmocka_unit_test(join_mode_and_unknown_target),
      cmocka_unit_test(highest_common_version),
      cmocka_unit_test(silent_to_who_lacks_the_secret),
      cmocka_unit_test(silent_to_other_protocols),
      cmocka_unit_test(a_recorded_first_message),
      cmocka_unit_test(every_flipped_bit_ends_it),
      cmocka_unit_test(every_truncation_ends_it),
      cmocka_unit_test(records_do_not_reorder_nor_repeat),
      cmocka_unit_test(a_false_certificate_ends_it),
      cmocka_unit_test(another_device_than_the_target_is_refused),
      cmocka_unit_test(the_owner_may_refuse_to_show_itself),
      cmocka_unit_test(first_payloads_that_are_refused),
      cmocka_unit_test(first_payload_shorter_than_its_length),
      cmocka_unit_test(second_payloads_that_are_refused),
      cmocka_unit_test(third_payloads_that_are_refused),
      cmocka_unit_test(lengths_of_handshake_messages),
      cmocka_unit_test(nothing_may_come_before_m3),
      cmocka_unit_test(records_that_break_a_rule_are_answered),
      cmocka_unit_test(record_lengths_are_checked_before_they_come),
      cmocka_unit_test(padding_that_is_not_zero),
      cmocka_unit_test(what_may_stand_between_the_records_of_a_frame),
      cmocka_unit_test(an_empty_record_may_end_a_frame),
      cmocka_unit_test(a_frame_over_its_limit_ends_it),
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
      cmocka_unit_test(closing_lets_what_is_queued_leave),
      cmocka_unit_test(closing_waits_a_second_at_most),
      cmocka_unit_test(an_end_without_bye_is_no_good_end),
      cmocka_unit_test(options_that_make_no_session),
      cmocka_unit_test(every_allocation_may_fail),
      cmocka_unit_test(a_refused_connection_costs_little),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

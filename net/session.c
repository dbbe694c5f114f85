/* The state machine of a secure session.
 *
 *   responder   PRELUDE -> M1 -> M3 -> OPEN          initiator   M2 -> CHECK -> OPEN
 *               PRELUDE, M1 -> SILENT -> CLOSED                  any -> CLOSED
 *               OPEN -> CLOSING -> CLOSED
 *
 * Invariants: a responder writes nothing before the first message is authentic, fresh and of a
 * version it speaks; frames are delivered in OPEN only; at most one notice (CHECK, ESTABLISHED or
 * DELIVER) waits, and no input is taken while one does; `rx` holds one message at most.
 *
 * Happy path: bytes gather in `rx` until `need` are there, `step` works on them and says what is
 * needed next.  Frames wait in the outbox and become sealed records one by one in
 * weft_session_next, so that nonces follow the order on the wire.
 *
 * Failure modes: before authentication a responder falls silent, and whatever went wrong looks the
 * same from outside.  In OPEN a peer that breaks a rule is told in an ERROR frame, except when its
 * bytes are not authentic: then somebody stands between, and the connection just ends. */
#include "net/session.h"

#include <string.h>

#include "crdt/assert.h"
#include "crdt/buf.h"
#include "crdt/canary.h"
#include "net/codec_handshake.h"
#include "net/noise.h"
#include "net/outbox.h"

typedef enum session_state {
  S_PRELUDE, /* responder: waits for the prelude and the peer's ephemeral key */
  S_M1,      /* responder: waits for the rest of the first message */
  S_M2,      /* initiator: waits for the second message */
  S_CHECK,   /* initiator: waits for its owner's word */
  S_M3,      /* responder: waits for the third message */
  S_OPEN,    /* frames go both ways */
  S_SILENT,  /* responder: refused, swallows input, writes nothing */
  S_CLOSING, /* what is queued leaves; input is swallowed */
  S_CLOSED,
} session_state;

#define TO(state) (1u << (state))
static const unsigned edges[] = {
    [S_PRELUDE] = TO(S_M1) | TO(S_SILENT) | TO(S_CLOSED),
    [S_M1] = TO(S_M3) | TO(S_SILENT) | TO(S_CLOSED),
    [S_M2] = TO(S_CHECK) | TO(S_CLOSED),
    [S_CHECK] = TO(S_OPEN) | TO(S_CLOSED),
    [S_M3] = TO(S_OPEN) | TO(S_CLOSED),
    [S_OPEN] = TO(S_CLOSING) | TO(S_CLOSED),
    [S_SILENT] = TO(S_CLOSED),
    [S_CLOSING] = TO(S_CLOSED),
    [S_CLOSED] = 0,
};

enum {
  wire_version = 1, /* of the framing, first byte of all */
  prelude_len = 2 + WEFT_HINT_LEN,
  length_len = 2,
  first_len = prelude_len + length_len + 32, /* enough to know whether we are meant */
  m1_payload_min = 2,
  prologue_len = 7 + 2 + 32,
  rx_max = length_len + WEFT_NOISE_MESSAGE_MAX,
  body_keep_max = 64 << 10, /* a larger reassembly buffer is given back after delivery */
};

struct weft_session {
  weft_session_options o; /* pointers to secret and target are not used after new */
  weft_alloc mem;
  session_state state;
  weft_ms now, started;
  weft_err why;
  bool why_told, hold, bye_seen;
  bool stranger;  /* responder: the hint means nothing to us */
  weft_id target; /* zeros: any */
  weft_session_secret secret;
  weft_noise noise;
  weft_noise_cipher sending, receiving;
  weft_session_peer peer;
  weft_session_stats stats;

  weft_buf rx;     /* the message that is coming in */
  size_t need;     /* bytes of `rx` at which `step` has work */
  bool rx_used;    /* `rx` was worked on, and is a view perhaps: dropped by the next feed */
  weft_ms rx_from; /* when the message began to come in */

  weft_buf body;     /* reassembly of a bulk frame */
  bool body_used;    /* delivered: dropped by the next feed */
  uint8_t body_type; /* while body.len > 0 and not body_used */

  weft_session_do notice; /* or NOTHING */
  uint8_t notice_type;
  weft_bytes notice_data;
  bool expiring, expiring_told;

  weft_buf tx;          /* what the last SEND shows */
  size_t handshake_out; /* bytes in `tx` that wait as a SEND */
  weft_outbox outbox;
  weft_ms close_at; /* SILENT, CLOSING */
  weft_ms expire_at;
};

static void move(weft_session *s, session_state to) {
  WEFT_ASSERT(edges[s->state] & TO(to));
  s->state = to;
}

static void clock_set(weft_session *s, weft_ms now) {
  WEFT_ASSERT(now >= s->now);
  s->now = now;
}

/* --- ending --- */

static void end(weft_session *s, weft_err why) {
  s->why = why;
  s->notice = WEFT_SESSION_NOTHING;
  s->handshake_out = 0;
  weft__outbox_clear(&s->outbox);
  move(s, S_CLOSED);
}

static void fall_silent(weft_session *s, weft_err why) {
  weft_ms delay = s->o.drop_delay_ms;
  s->why = why;
  s->close_at = s->now + (delay < WEFT_SESSION_DROP_MS_MAX ? delay : WEFT_SESSION_DROP_MS_MAX);
  move(s, S_SILENT);
}

static weft_code code_of(weft_err err) {
  if (err == WEFT_ELIMIT) return WEFT_CODE_LIMIT;
  if (err == WEFT_ETIMEOUT) return WEFT_CODE_TIMEOUT;
  if (err == WEFT_ENOMEM) return WEFT_CODE_INTERNAL;
  return WEFT_CODE_PROTO;
}

/* Without memory for the ERROR frame the session just ends. */
static void end_with_error(weft_session *s, weft_err why) {
  uint8_t body[WEFT_ERROR_BODY_LEN_MAX];
  size_t len = weft__error_body(body, code_of(why));
  weft__outbox_clear(&s->outbox);
  if (weft__outbox_push(&s->outbox, WEFT_FRAME_ERROR, weft_bytes_of(body, len)) != WEFT_OK) {
    end(s, why);
    return;
  }
  s->why = why;
  s->notice = WEFT_SESSION_NOTHING;
  s->close_at = s->now + WEFT_SESSION_FLUSH_MS;
  move(s, S_CLOSING);
}

/* Ends the session for `why` in the manner of its state.  Gives what feed answers. */
static weft_err fail(weft_session *s, weft_err why) {
  bool before = s->state == S_PRELUDE || s->state == S_M1;
  if (before && why != WEFT_ENOMEM) {
    fall_silent(s, why);
    return WEFT_OK;
  }
  if (s->state == S_OPEN && why != WEFT_EAUTH)
    end_with_error(s, why);
  else
    end(s, why);
  return why;
}

/* --- making --- */

void weft_session_options_init_sized(weft_session_options *o, size_t struct_size) {
  const weft_session_options defaults = {
      .struct_size = struct_size,
      .version_min = 1,
      .version_max = 1,
      .body_max = WEFT_SESSION_BODY_MAX,
      .unsent_max = WEFT_SESSION_UNSENT_MAX,
      .lifetime_ms = WEFT_SESSION_LIFETIME_MS,
      .rekey_every = WEFT_SESSION_REKEY_EVERY,
  };
  memcpy(o, &defaults, struct_size < sizeof defaults ? struct_size : sizeof defaults);
}

static bool options_ok(const weft_session_options *o) {
  if (!o->mem || !o->crypto || !o->identity) return false;
  if ((o->secret != NULL) == (o->gate != NULL)) return false;
  return o->version_min <= o->version_max && o->rekey_every > 0;
}

/* What both ends must agree on without saying it; a difference makes the first tag wrong. */
static void noise_begin(weft_session *s) {
  uint8_t prologue[prologue_len] = "weft-v1";
  prologue[7] = wire_version;
  prologue[8] = (uint8_t)s->secret.mode;
  memcpy(prologue + 9, s->secret.space.b, sizeof s->secret.space.b);
  weft_noise_options o = {
      .initiator = s->peer.initiator,
      .prologue = weft_bytes_of(prologue, sizeof prologue),
      .ephemeral = &s->o.ephemeral,
      .own_static = &s->o.identity->x_secret,
      .psks = &s->secret.psk,
      .psk_count = 1,
  };
  s->peer.mode = s->secret.mode;
  s->peer.space = s->secret.space;
  s->peer.epoch = s->secret.epoch;
  weft_err err = weft__noise_start(&s->noise, s->o.crypto, &o);
  WEFT_ASSERT(err == WEFT_OK);
  s->o.crypto->wipe(&s->o.ephemeral, sizeof s->o.ephemeral);
  s->o.crypto->wipe(&s->secret.psk, sizeof s->secret.psk);
}

/* Puts a handshake message with `payload` behind what `tx` holds, and lets it be sent. */
static weft_err handshake_send(weft_session *s, weft_bytes payload) {
  size_t len = weft__noise_overhead(&s->noise) + payload.len;
  weft__buf_u16(&s->tx, (uint16_t)len);
  uint8_t *at = weft__buf_room(&s->tx, len);
  if (!at) return weft__buf_err(&s->tx);
  WEFT_TRY(weft__noise_write(&s->noise, payload, at, len, &len));
  s->handshake_out = s->tx.len;
  return WEFT_OK;
}

static uint64_t unix_now(const weft_session *s) { return s->o.unix_ms + (s->now - s->started); }

static weft_err initiator_begin(weft_session *s, const weft_session_options *o) {
  s->secret = *o->secret;
  if (o->target) s->target = *o->target;
  noise_begin(s);
  uint8_t *prelude = weft__buf_room(&s->tx, prelude_len);
  if (!prelude) return WEFT_ENOMEM;
  prelude[0] = wire_version;
  prelude[1] = (uint8_t)s->secret.mode;
  weft__hint(prelude + 2, s->o.crypto, &s->secret, wire_version, s->noise.ephemeral_public.b,
             &s->target);
  weft_hello1 hello = {unix_now(s), s->o.version_min, s->o.version_max, s->o.caps};
  uint8_t payload[WEFT_HELLO1_LEN];
  weft__hello1_encode(payload, &hello);
  return handshake_send(s, weft_bytes_of(payload, sizeof payload));
}

weft_err weft_session_new(weft_session **out, const weft_session_options *options) {
  *out = NULL;
  weft_session_options o;
  weft_session_options_init(&o);
  size_t known = options->struct_size < sizeof o ? options->struct_size : sizeof o;
  memcpy(&o, options, known);
  if (!options_ok(&o)) return WEFT_EMISUSE;
  weft_session *s = o.mem->alloc(o.mem->ctx, sizeof *s);
  if (!s) return WEFT_ENOMEM;
  memset(s, 0, sizeof *s);
  s->o = o;
  s->mem = *o.mem;
  s->now = s->started = o.now;
  s->peer.initiator = o.secret != NULL;
  s->state = s->peer.initiator ? S_M2 : S_PRELUDE;
  s->need = s->peer.initiator ? length_len : first_len;
  weft__buf_init(&s->rx, &s->mem, rx_max);
  weft__buf_init(&s->tx, &s->mem, rx_max);
  weft__buf_init(&s->body, &s->mem, o.body_max);
  weft__outbox_init(&s->outbox, &s->mem, o.unsent_max);
  weft_err err = s->peer.initiator ? initiator_begin(s, &o) : WEFT_OK;
  o.crypto->wipe(&o.ephemeral, sizeof o.ephemeral);
  if (err != WEFT_OK) {
    weft_session_free(s);
    return err;
  }
  *out = s;
  return WEFT_OK;
}

void weft_session_free(weft_session *s) {
  if (!s) return;
  weft_alloc mem = s->mem;
  const weft_crypto *crypto = s->o.crypto;
  weft__outbox_clear(&s->outbox);
  weft__buf_free(&s->rx);
  weft__buf_free(&s->tx);
  weft__buf_free(&s->body);
  crypto->wipe(s, sizeof *s);
  mem.free(mem.ctx, s);
}

/* --- handshake --- */

static weft_bytes message_of(const weft_session *s, size_t head) {
  return weft_bytes_of(s->rx.at + head, s->rx.len - head);
}

static size_t length_at(const weft_session *s, size_t at) {
  return (size_t)s->rx.at[at] << 8 | s->rx.at[at + 1];
}

static void expect_message(weft_session *s) {
  weft__buf_reset(&s->rx);
  s->need = length_len;
}

/* The first 52 bytes tell whether they are meant for us, before any curve work.  If they are not we
 * go on as if they were: who replays the start of a message cannot tell from the time at which we
 * close whether we knew it. */
static weft_err on_prelude(weft_session *s) {
  const uint8_t *at = s->rx.at;
  size_t len = length_at(s, prelude_len);
  if (at[0] != wire_version) return WEFT_EVERSION;
  if (len > WEFT_SESSION_MESSAGE_MAX || len < 32 + WEFT_TAG_LEN + m1_payload_min) {
    return WEFT_EMALFORMED;
  }
  const weft_session_secret *secret = weft__gate_find(
      s->o.gate, at[0], at[1], at + 2, at + prelude_len + length_len, &s->o.identity->device);
  if (secret) s->secret = *secret;
  s->stranger = secret == NULL;
  s->need = prelude_len + length_len + len;
  move(s, S_M1);
  return WEFT_OK;
}

static weft_err pick_version(const weft_session *s, const weft_hello1 *hello, uint8_t *version) {
  uint8_t high = hello->version_max < s->o.version_max ? hello->version_max : s->o.version_max;
  uint8_t low = hello->version_min > s->o.version_min ? hello->version_min : s->o.version_min;
  if (low > high) return WEFT_EVERSION;
  *version = high;
  return WEFT_OK;
}

static weft_err answer_m1(weft_session *s) {
  weft_hello2 hello = {.version = s->peer.version,
                       .caps = s->o.caps,
                       .epoch = s->secret.newest,
                       .unix_ms = unix_now(s)};
  uint8_t payload[WEFT_HELLO2_LEN];
  weft_cert_sign(&hello.cert, s->o.crypto, s->o.identity, &s->secret.space);
  weft__hello2_encode(payload, &hello);
  return handshake_send(s, weft_bytes_of(payload, sizeof payload));
}

static weft_err on_m1(weft_session *s) {
  uint8_t payload[WEFT_SESSION_MESSAGE_MAX];
  size_t len;
  weft_hello1 hello;
  if (s->stranger) return WEFT_EAUTH;
  noise_begin(s);
  WEFT_TRY(weft__noise_read(&s->noise, message_of(s, prelude_len + length_len), payload, &len));
  WEFT_TRY(weft__hello1_decode(weft_bytes_of(payload, len), &hello));
  WEFT_TRY(pick_version(s, &hello, &s->peer.version));
  s->peer.caps = hello.caps;
  s->peer.unix_ms = hello.unix_ms;
  if (!weft__gate_admit(s->o.gate, s->now, unix_now(s), s->noise.remote_ephemeral.b,
                        hello.unix_ms)) {
    return WEFT_EAUTH;
  }
  WEFT_TRY(answer_m1(s));
  expect_message(s);
  move(s, S_M3);
  return WEFT_OK;
}

/* The certificate must speak of the very key that made the handshake. */
static weft_err take_cert(weft_session *s, const weft_cert *cert) {
  weft_err err = weft_cert_verify(cert, s->o.crypto, &s->secret.space, &s->noise.remote_static);
  if (err != WEFT_OK && !WEFT_CANARY(CERT_BELIEVED)) return err;
  s->peer.device = cert->device;
  s->peer.x_public = s->noise.remote_static;
  return WEFT_OK;
}

static weft_err on_m2(weft_session *s) {
  static const weft_id anyone;
  uint8_t payload[WEFT_SESSION_MESSAGE_MAX];
  size_t len;
  weft_hello2 hello;
  WEFT_TRY(weft__noise_read(&s->noise, message_of(s, length_len), payload, &len));
  WEFT_TRY(weft__hello2_decode(weft_bytes_of(payload, len), &hello));
  if (hello.version < s->o.version_min || hello.version > s->o.version_max) return WEFT_EPROTO;
  WEFT_TRY(take_cert(s, &hello.cert));
  if (weft_id_cmp(&s->target, &anyone) != 0 && weft_id_cmp(&s->target, &s->peer.device) != 0) {
    return WEFT_EAUTH;
  }
  s->peer.version = hello.version;
  s->peer.caps = hello.caps;
  s->peer.peer_epoch = hello.epoch;
  s->peer.unix_ms = hello.unix_ms;
  expect_message(s);
  s->notice = WEFT_SESSION_CHECK;
  move(s, S_CHECK);
  return WEFT_OK;
}

static void establish(weft_session *s) {
  weft_err err = weft__noise_split(&s->noise, &s->sending, &s->receiving);
  WEFT_ASSERT(err == WEFT_OK);
  memcpy(s->peer.hash, weft__noise_hash(&s->noise).at, sizeof s->peer.hash);
  weft__noise_wipe(&s->noise);
  s->o.crypto->wipe(&s->secret, sizeof s->secret);
  s->expire_at = s->now + s->o.lifetime_ms;
  s->notice = WEFT_SESSION_ESTABLISHED;
  move(s, S_OPEN);
}

static weft_err on_m3(weft_session *s) {
  uint8_t payload[WEFT_SESSION_MESSAGE_MAX];
  size_t len;
  weft_hello3 hello;
  WEFT_TRY(weft__noise_read(&s->noise, message_of(s, length_len), payload, &len));
  WEFT_TRY(weft__hello3_decode(weft_bytes_of(payload, len), &hello));
  WEFT_TRY(take_cert(s, &hello.cert));
  s->peer.caps = hello.caps;
  expect_message(s);
  establish(s);
  return WEFT_OK;
}

static weft_err send_m3(weft_session *s) {
  weft_hello3 hello = {.caps = s->o.caps};
  uint8_t payload[WEFT_HELLO2_LEN];
  weft_cert_sign(&hello.cert, s->o.crypto, s->o.identity, &s->secret.space);
  weft__hello3_encode(payload, &hello);
  weft__buf_reset(&s->tx);
  return handshake_send(s, weft_bytes_of(payload, sizeof payload));
}

weft_err weft_session_accept(weft_session *s) {
  if (s->state == S_CLOSED && s->why != WEFT_OK) return s->why;
  if (s->state != S_CHECK || s->notice) return WEFT_EMISUSE;
  weft_err err = send_m3(s);
  if (err != WEFT_OK) return fail(s, err);
  establish(s);
  return WEFT_OK;
}

/* --- records --- */

static void rekey_if_due(const weft_session *s, weft_noise_cipher *c) {
  if (c->nonce > 0 && c->nonce % s->o.rekey_every == 0) weft__noise_rekey(c);
}

static void deliver(weft_session *s, uint8_t type, weft_bytes data) {
  if (type == WEFT_FRAME_BYE) s->bye_seen = true;
  s->notice = WEFT_SESSION_DELIVER;
  s->notice_type = type;
  s->notice_data = data;
}

/* A record of a frame that is longer than one: the first, a middle one, or the last. */
static weft_err on_bulk_record(weft_session *s, const weft_record_view *r) {
  s->body_type = r->type;
  weft__buf_put(&s->body, r->body);
  WEFT_TRY(weft__buf_err(&s->body));
  if (r->more) return WEFT_OK;
  s->body_used = true;
  deliver(s, r->type, weft__buf_view(&s->body));
  return WEFT_OK;
}

static weft_err on_record(weft_session *s) {
  weft_record_view r;
  uint8_t *at = s->rx.at + length_len;
  size_t len = s->rx.len - length_len;
  rekey_if_due(s, &s->receiving);
  WEFT_TRY(weft__noise_open(&s->receiving, weft_bytes_of(NULL, 0), weft_bytes_of(at, len), at));
  s->rx_used = true;
  s->stats.records_in++;
  WEFT_TRY(weft__record_read(weft_bytes_of(at, len - WEFT_TAG_LEN), &r));
  bool partial = s->body.len > 0;
  if (r.more || (partial && r.type == s->body_type)) {
    if (partial && r.type != s->body_type) return WEFT_EPROTO;
    return on_bulk_record(s, &r);
  }
  if (partial && !weft__frame_may_interrupt(r.type)) return WEFT_EPROTO;
  size_t max = weft__frame_is_bulk(r.type) ? s->o.body_max : WEFT_SESSION_CONTROL_MAX;
  if (r.body.len > max) return WEFT_ELIMIT;
  deliver(s, r.type, r.body);
  return WEFT_OK;
}

/* Both bytes of a length are there: says how much is to come. */
static weft_err on_length(weft_session *s) {
  size_t len = length_at(s, 0);
  bool ok = s->state == S_OPEN
                ? len > WEFT_TAG_LEN && weft__record_len_ok(len - WEFT_TAG_LEN)
                : len >= weft__noise_overhead(&s->noise) && len <= WEFT_SESSION_MESSAGE_MAX;
  s->need = length_len + len;
  return ok ? WEFT_OK : WEFT_EPROTO;
}

static weft_err step(weft_session *s) {
  if (s->state == S_PRELUDE) return on_prelude(s);
  if (s->state == S_M1) return on_m1(s);
  if (s->need == length_len) return on_length(s);
  if (s->state == S_M2) return on_m2(s);
  if (s->state == S_M3) return on_m3(s);
  WEFT_ASSERT(s->state == S_OPEN);
  return on_record(s);
}

/* Forgets what the last feed worked on; its views end here. */
static void drop_used(weft_session *s) {
  if (s->rx_used) {
    s->rx_used = false;
    expect_message(s);
  }
  if (s->body_used) {
    s->body_used = false;
    if (s->body.cap > body_keep_max) weft__buf_free(&s->body);
    weft__buf_reset(&s->body);
  }
}

/* Takes bytes up to what is needed next, and lets `step` work when they are there. */
static weft_err take(weft_session *s, weft_bytes in, size_t *used) {
  drop_used(s);
  size_t len = s->need - s->rx.len;
  if (len > in.len - *used) len = in.len - *used;
  if (s->rx.len == 0) s->rx_from = s->now;
  weft__buf_put_raw(&s->rx, in.at + *used, len);
  WEFT_TRY(weft__buf_err(&s->rx));
  *used += len;
  return s->rx.len == s->need ? step(s) : WEFT_OK;
}

static bool is_reading(const weft_session *s) {
  return TO(s->state) & (TO(S_PRELUDE) | TO(S_M1) | TO(S_M2) | TO(S_M3) | TO(S_OPEN));
}

weft_err weft_session_feed(weft_session *s, weft_ms now, weft_bytes in, size_t *used) {
  *used = 0;
  clock_set(s, now);
  if (s->notice) return WEFT_EAGAIN;
  weft_err err = WEFT_OK;
  if (s->state == S_CHECK && in.len) err = fail(s, WEFT_EPROTO); /* it is not the peer's turn */
  while (err == WEFT_OK && *used < in.len && is_reading(s) && !s->notice) {
    err = take(s, in, used);
    if (err != WEFT_OK) err = fail(s, err);
  }
  if (!is_reading(s) && s->state != S_CHECK) {
    *used = in.len; /* whatever comes now is dropped */
    if (s->state != S_SILENT) err = s->why;
  }
  s->stats.bytes_in += *used;
  return err;
}

/* --- time and closing --- */

weft_err weft_session_eof(weft_session *s, weft_ms now) {
  clock_set(s, now);
  if (s->state != S_CLOSED) {
    weft_err why = s->bye_seen ? WEFT_EDONE : WEFT_EPROTO;
    bool settled = s->state == S_CLOSING || s->state == S_SILENT;
    end(s, settled ? s->why : why);
  }
  return WEFT_OK;
}

static weft_ms kill_at(const weft_session *s) { return s->expire_at + s->o.lifetime_ms / 10; }

static bool is_partial(const weft_session *s) { return s->rx.len > 0 && !s->rx_used; }

weft_ms weft_session_deadline(const weft_session *s) {
  if (s->state == S_CLOSED) return WEFT_NEVER;
  if (s->state == S_SILENT || s->state == S_CLOSING) return s->close_at;
  if (s->state != S_OPEN) return s->started + WEFT_SESSION_HANDSHAKE_MS;
  weft_ms at = s->expiring ? kill_at(s) : s->expire_at;
  weft_ms whole_at = s->rx_from + WEFT_SESSION_RECORD_MS;
  return is_partial(s) && whole_at < at ? whole_at : at;
}

weft_err weft_session_tick(weft_session *s, weft_ms now) {
  clock_set(s, now);
  if (now >= weft_session_deadline(s)) {
    if (s->state == S_SILENT || s->state == S_CLOSING) {
      end(s, s->why);
    } else if (s->state != S_OPEN) {
      end(s, WEFT_ETIMEOUT);
    } else if ((is_partial(s) && now >= s->rx_from + WEFT_SESSION_RECORD_MS) || now >= kill_at(s)) {
      (void)fail(s, WEFT_ETIMEOUT);
    } else {
      s->expiring = true;
    }
  }
  return s->state == S_CLOSED || s->state == S_CLOSING ? s->why : WEFT_OK;
}

void weft_session_close(weft_session *s, weft_ms now, weft_err why) {
  clock_set(s, now);
  if (s->state == S_CLOSING || s->state == S_CLOSED) return;
  if (s->state != S_OPEN) {
    end(s, why);
    return;
  }
  s->why = why;
  s->notice = WEFT_SESSION_NOTHING;
  s->close_at = now + WEFT_SESSION_FLUSH_MS;
  move(s, S_CLOSING);
}

/* --- sending --- */

weft_err weft_session_send(weft_session *s, uint8_t type, weft_bytes body) {
  if (s->state != S_OPEN) return WEFT_EMISUSE;
  if (s->handshake_out) return WEFT_EAGAIN;
  size_t max = weft__frame_is_bulk(type) ? s->o.body_max : WEFT_SESSION_CONTROL_MAX;
  if (body.len > max) return WEFT_ELIMIT;
  /* Memory for the largest record is taken here, where its lack can be told. */
  size_t first = body.len < WEFT_RECORD_BODY_MAX ? body.len : WEFT_RECORD_BODY_MAX;
  weft__buf_reset(&s->tx);
  (void)weft__buf_room(&s->tx, length_len + weft__record_len(first) + WEFT_TAG_LEN);
  WEFT_TRY(weft__buf_err(&s->tx));
  return weft__outbox_push(&s->outbox, type, body);
}

void weft_session_record_max(weft_session *s, size_t len) {
  s->outbox.record_max = len < WEFT_RECORD_BODY_MAX ? len : WEFT_RECORD_BODY_MAX;
}

void weft_session_hold(weft_session *s, bool hold) { s->hold = hold; }

/* Seals the next record into `tx`, which weft_session_send, and for ERROR the handshake, have made
 * large enough.  No session lives for 2^64 messages, so there is always a nonce. */
static void seal_next(weft_session *s) {
  size_t len = weft__outbox_next_len(&s->outbox);
  weft__buf_reset(&s->tx);
  uint8_t *at = weft__buf_room(&s->tx, length_len + len + WEFT_TAG_LEN);
  WEFT_ASSERT(at != NULL);
  at[0] = (uint8_t)((len + WEFT_TAG_LEN) >> 8);
  at[1] = (uint8_t)(len + WEFT_TAG_LEN);
  at += length_len;
  weft__outbox_take(&s->outbox, at);
  rekey_if_due(s, &s->sending);
  s->stats.records_out++;
  weft_err err = weft__noise_seal(&s->sending, weft_bytes_of(NULL, 0), weft_bytes_of(at, len), at);
  WEFT_ASSERT(err == WEFT_OK);
}

static void give_send(weft_session *s, weft_session_action *out) {
  out->kind = WEFT_SESSION_SEND;
  out->data = weft__buf_view(&s->tx);
  s->stats.bytes_out += out->data.len;
}

static void give_notice(weft_session *s, weft_session_action *out) {
  out->kind = s->notice;
  if (s->notice == WEFT_SESSION_DELIVER) {
    out->type = s->notice_type;
    out->data = s->notice_data;
  }
  s->notice = WEFT_SESSION_NOTHING;
}

static bool give_record(weft_session *s, weft_session_action *out) {
  bool may = s->state == S_OPEN || s->state == S_CLOSING;
  if (!may || s->hold || weft__outbox_is_empty(&s->outbox)) return false;
  seal_next(s);
  give_send(s, out);
  return true;
}

bool weft_session_next(weft_session *s, weft_session_action *out) {
  memset(out, 0, sizeof *out);
  if (s->handshake_out) {
    s->handshake_out = 0;
    give_send(s, out);
    return true;
  }
  if (s->notice) {
    give_notice(s, out);
    return true;
  }
  if (s->expiring && !s->expiring_told && s->state == S_OPEN) {
    s->expiring_told = true;
    out->kind = WEFT_SESSION_EXPIRING;
    return true;
  }
  if (give_record(s, out)) return true;
  if (s->state == S_CLOSING && weft__outbox_is_empty(&s->outbox)) end(s, s->why);
  if (s->state != S_CLOSED || s->why_told) return false;
  s->why_told = true;
  out->kind = WEFT_SESSION_CLOSE;
  out->why = s->why;
  return true;
}

const weft_session_peer *weft_session_peer_of(const weft_session *s) { return &s->peer; }

weft_session_stats weft_session_stats_of(const weft_session *s) {
  weft_session_stats stats = s->stats;
  stats.unsent = s->outbox.unsent;
  stats.urgent = s->outbox.urgent.unsent;
  stats.partial = s->body_used ? 0 : s->body.len;
  return stats;
}

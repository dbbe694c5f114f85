/* The joiner's side of a ticket: one connection in join mode.
 *
 *   HANDSHAKE -> ASKED (REDEEM is sent) -> ADMITTED | REFUSED | FAILED
 *
 * The session is pinned to the ticket's issuer, so whoever else answers at the address is nobody.
 * What it says is believed as far as it can be proved: the records must make a roster of exactly
 * the ticket's space, in which the issuer is an admin and this device a member with these keys.
 *
 * Failure modes: an issuer that does not know the ticket stays silent, which looks like
 * WEFT_EAUTH; one that knows it and says no gives a code. */
#include <string.h>

#include "crdt/assert.h"
#include "crdt/roster.h"
#include "crdt/ticket.h"
#include "net/draw.h"
#include "net/message.h"
#include "net/node.h"
#include "net/session.h"

typedef enum joiner_state { J_HANDSHAKE, J_ASKED, J_ADMITTED, J_REFUSED, J_FAILED } joiner_state;

#define TO(state) (1u << (state))
static const unsigned edges[] = {
    [J_HANDSHAKE] = TO(J_ASKED) | TO(J_FAILED),
    [J_ASKED] = TO(J_ADMITTED) | TO(J_REFUSED) | TO(J_FAILED),
    [J_ADMITTED] = 0,
    [J_REFUSED] = 0,
    [J_FAILED] = 0,
};

enum { records_len_max = 16 << 20, total_ms = 30000 };

struct weft_joiner {
  weft_alloc mem;
  const weft_crypto *crypto;
  weft_identity identity;
  weft_id space, issuer;
  weft_ticket_keys keys;
  weft_bytes name; /* owned */
  uint8_t name_bytes[WEFT_DEVICE_NAME_LEN_MAX];
  weft_session *session;
  weft_buf tx; /* sealed, to be sent */
  bool tx_given;
  weft_roster *roster;
  weft_arena arena; /* the list of records */
  size_t records_len;
  joiner_state state;
  weft_err err; /* FAILED */
  uint16_t code;
  weft_ms now, started;
  weft_joined joined;
};

static void move(weft_joiner *j, joiner_state to) {
  WEFT_ASSERT(edges[j->state] & TO(to));
  j->state = to;
}

static bool is_over(const weft_joiner *j) { return j->state >= J_ADMITTED; }

static void fail(weft_joiner *j, weft_err err) {
  if (is_over(j)) return;
  j->err = err;
  move(j, J_FAILED);
  weft_session_close(j->session, j->now, err);
}

/* --- making --- */

static weft_err begin(weft_joiner *j, const weft_joiner_options *o, weft_ms wall) {
  weft_session_options so;
  weft_session_secret secret;
  weft_draw draw;
  weft__draw_init(&draw, j->crypto, o->seed);
  weft_session_secret_join(&secret, &j->space, &j->keys.join, &j->keys.tag);
  weft_session_options_init(&so);
  so.mem = &j->mem;
  so.crypto = j->crypto;
  so.identity = &j->identity;
  so.now = j->now;
  so.unix_ms = wall;
  so.secret = &secret;
  so.target = &j->issuer;
  weft__draw_bytes(&draw, so.ephemeral.b, sizeof so.ephemeral.b);
  weft_err err = weft_session_new(&j->session, &so);
  j->crypto->wipe(&secret, sizeof secret);
  j->crypto->wipe(&so.ephemeral, sizeof so.ephemeral);
  j->crypto->wipe(&draw, sizeof draw);
  if (err != WEFT_OK) return err;
  return weft__roster_new(&j->roster, &j->mem, j->crypto, &j->space);
}

weft_err weft_joiner_new(weft_joiner **out, const weft_joiner_options *o, weft_ms now,
                         weft_ms wall) {
  *out = NULL;
  bool complete = o->crypto && o->identity && weft__name_ok(o->name, WEFT_DEVICE_NAME_LEN_MAX);
  if (!complete) return WEFT_EMISUSE;
  weft_joiner *j = o->mem.alloc(o->mem.ctx, sizeof *j);
  if (!j) return WEFT_ENOMEM;
  memset(j, 0, sizeof *j);
  j->mem = o->mem;
  j->crypto = o->crypto;
  j->identity = *o->identity;
  j->space = o->space;
  j->issuer = o->issuer;
  memcpy(j->name_bytes, o->name.at, o->name.len);
  j->name = weft_bytes_of(j->name_bytes, o->name.len);
  j->now = j->started = now;
  weft__arena_init(&j->arena, &j->mem);
  weft__buf_init(&j->tx, &j->mem, WEFT_SESSION_UNSENT_MAX);
  weft__ticket_keys_derive(&j->keys, j->crypto, &o->ticket_seed);
  weft_err err = begin(j, o, wall);
  if (err != WEFT_OK) {
    weft_joiner_free(j);
    return err;
  }
  *out = j;
  return WEFT_OK;
}

void weft_joiner_free(weft_joiner *j) {
  if (!j) return;
  weft_session_free(j->session);
  weft__roster_free(j->roster);
  weft__arena_free(&j->arena);
  weft__buf_free(&j->tx);
  weft_alloc mem = j->mem;
  j->crypto->wipe(j, sizeof *j);
  mem.free(mem.ctx, j);
}

/* --- frames --- */

static void send_redeem(weft_joiner *j) {
  weft_msg_redeem m = {.name = j->name};
  weft_buf body;
  weft__redeem_sign(&m.redeem, j->crypto, &j->identity, &j->keys.invite_seed, &j->space);
  weft__buf_init(&body, &j->mem, WEFT_SESSION_CONTROL_MAX);
  weft__msg_redeem_put(&body, &m);
  weft_err err = weft__buf_err(&body);
  if (err == WEFT_OK) {
    err = weft_session_send(j->session, WEFT_FRAME_REDEEM, weft__buf_view(&body));
  }
  weft__buf_free(&body);
  move(j, J_ASKED);
  if (err != WEFT_OK) fail(j, err);
}

static weft_err on_records(weft_joiner *j, weft_bytes body) {
  weft_arena arena;
  weft_msg_blobs m;
  j->records_len += body.len;
  if (j->records_len > records_len_max) return WEFT_ELIMIT;
  weft__arena_init(&arena, &j->mem);
  weft_err err = weft__msg_blobs_read(&arena, body, &m);
  for (size_t i = 0; err == WEFT_OK && i < m.count; i++) {
    err = weft__roster_add(j->roster, m.at[i], NULL);
  }
  weft__arena_free(&arena);
  return err;
}

/* The records in order, and whether one of them began the epoch. */
static weft_err records_list(weft_joiner *j, const uint8_t epoch[WEFT_EPOCH_ID_LEN]) {
  size_t count = weft__roster_count(j->roster);
  weft_bytes *list = weft__arena_zero(&j->arena, count, sizeof *list);
  bool found = false;
  if (!list) return WEFT_ENOMEM;
  for (size_t i = 0; i < count; i++) {
    weft_record record;
    uint8_t id[WEFT_EPOCH_ID_LEN];
    list[i] = weft__roster_record_at(j->roster, i);
    WEFT_TRY(weft__record_parse(&record, j->crypto, list[i]));
    weft__epoch_id(id, &record.id);
    found |= memcmp(id, epoch, sizeof id) == 0;
  }
  j->joined.records = list;
  j->joined.count = count;
  return found ? WEFT_OK : WEFT_EAUTH;
}

static weft_err on_admit(weft_joiner *j, weft_bytes body) {
  weft_msg_admit m;
  WEFT_TRY(weft__msg_admit_read(body, &m));
  const weft_roster_member *me = weft__roster_member_of(j->roster, &j->identity.device);
  const weft_roster_member *issuer = weft__roster_member_of(j->roster, &j->issuer);
  bool proved = me && issuer && issuer->role == WEFT_ROLE_ADMIN &&
                memcmp(me->x_public.b, j->identity.x_public.b, sizeof me->x_public.b) == 0;
  weft_err err = proved ? records_list(j, m.epoch) : WEFT_EAUTH;
  if (err == WEFT_OK) {
    memcpy(j->joined.epoch.id, m.epoch, sizeof j->joined.epoch.id);
    j->joined.epoch.secret = m.secret;
    move(j, J_ADMITTED);
    weft_session_close(j->session, j->now, WEFT_OK);
  }
  j->crypto->wipe(&m, sizeof m);
  return err;
}

static weft_err on_refuse(weft_joiner *j, weft_bytes body) {
  WEFT_TRY(weft__msg_refuse_read(body, &j->code));
  move(j, J_REFUSED);
  weft_session_close(j->session, j->now, WEFT_EDENIED);
  return WEFT_OK;
}

static weft_err on_error(weft_bytes body) {
  weft_msg_error m;
  WEFT_TRY(weft__msg_error_read(body, &m));
  return m.code == WEFT_CODE_TIMEOUT ? WEFT_ETIMEOUT : WEFT_EPROTO;
}

static void on_frame(weft_joiner *j, uint8_t type, weft_bytes body) {
  weft_err err = WEFT_OK;
  if (j->state != J_ASKED) return;
  switch (type) {
  case WEFT_FRAME_AUTH_REC: err = on_records(j, body); break;
  case WEFT_FRAME_ADMIT: err = on_admit(j, body); break;
  case WEFT_FRAME_REFUSE: err = on_refuse(j, body); break;
  case WEFT_FRAME_ERROR: err = on_error(body); break;
  case WEFT_FRAME_PING:
  case WEFT_FRAME_PONG:
  case WEFT_FRAME_CREDIT:
  case WEFT_FRAME_BYE: break;
  default: err = type < 0x80 ? WEFT_EPROTO : WEFT_OK; break;
  }
  if (err != WEFT_OK) fail(j, err);
}

/* --- events --- */

/* Works on all that the session has to say; what is to be sent gathers in `tx`. */
static void drain(weft_joiner *j) {
  weft_session_action a;
  if (j->tx_given) weft__buf_reset(&j->tx);
  j->tx_given = false;
  while (weft_session_next(j->session, &a)) {
    switch (a.kind) {
    case WEFT_SESSION_SEND: weft__buf_put(&j->tx, a.data); break;
    case WEFT_SESSION_CHECK:
      /* The session has made sure that this is the issuer. */
      if (weft_session_accept(j->session) != WEFT_OK) fail(j, WEFT_EAUTH);
      break;
    case WEFT_SESSION_ESTABLISHED: send_redeem(j); break;
    case WEFT_SESSION_DELIVER: on_frame(j, a.type, a.data); break;
    case WEFT_SESSION_CLOSE:
      if (j->state == J_HANDSHAKE) fail(j, a.why == WEFT_ETIMEOUT ? WEFT_ETIMEOUT : WEFT_EAUTH);
      fail(j, a.why == WEFT_OK ? WEFT_EPROTO : a.why);
      break;
    case WEFT_SESSION_EXPIRING:
    case WEFT_SESSION_NOTHING: break; /* defensive: `next` gives no such action */
    }
  }
  if (weft__buf_err(&j->tx) != WEFT_OK) fail(j, weft__buf_err(&j->tx));
}

static void enter(weft_joiner *j, weft_ms now) {
  WEFT_ASSERT(now >= j->now);
  j->now = now;
}

void weft_joiner_received(weft_joiner *j, weft_ms now, weft_ms wall, weft_bytes bytes) {
  (void)wall;
  enter(j, now);
  while (bytes.len > 0) {
    size_t used;
    weft_err err = weft_session_feed(j->session, now, bytes, &used);
    bytes = weft_bytes_of(bytes.at + used, bytes.len - used);
    drain(j);
    if (err != WEFT_OK && used == 0) break;
  }
}

void weft_joiner_closed(weft_joiner *j, weft_ms now) {
  enter(j, now);
  if (is_over(j)) return;
  (void)weft_session_eof(j->session, now);
  drain(j);
}

void weft_joiner_tick(weft_joiner *j, weft_ms now, weft_ms wall) {
  (void)wall;
  enter(j, now);
  (void)!weft_session_tick(j->session, now); /* CLOSE tells what came of it */
  if (now >= j->started + total_ms) fail(j, WEFT_ETIMEOUT);
}

weft_ms weft_joiner_deadline(const weft_joiner *j) {
  weft_ms at = weft_session_deadline(j->session);
  weft_ms over = is_over(j) ? WEFT_NEVER : j->started + total_ms;
  return at < over ? at : over;
}

bool weft_joiner_next(weft_joiner *j, weft_bytes *out) {
  drain(j);
  *out = weft__buf_view(&j->tx);
  j->tx_given = out->len > 0;
  return j->tx_given;
}

weft_err weft_joiner_result(const weft_joiner *j, weft_joined *out, uint16_t *code) {
  *code = 0;
  memset(out, 0, sizeof *out);
  switch (j->state) {
  case J_HANDSHAKE:
  case J_ASKED: break;
  case J_ADMITTED: *out = j->joined; return WEFT_OK;
  case J_REFUSED: *code = j->code; return WEFT_EDENIED;
  case J_FAILED: return j->err;
  }
  return WEFT_EAGAIN;
}

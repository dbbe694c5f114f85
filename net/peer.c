/* One link: from an established session to its end.
 *
 *   DIALLING -> HANDSHAKE -> GREETING -> OPEN -> CLOSING -> ENDED
 *                         -> PROVING -> GREETING
 *                         -> JOINING -> CLOSING
 *
 * Happy path: both say HELLO, send each other the membership records that are lacking, then find
 * out what changes are lacking (peer_sync.c) and send them (peer_serve.c), and stay linked.
 *
 * Invariants: to a device that the roster does not know nothing is sent but membership records, and
 * nothing else of it is read; control frames are few or the peer is cut off; every frame that
 * breaks a rule ends this link and no other. */
#include <string.h>

#include "crdt/assert.h"
#include "crdt/canary.h"
#include "net/node_internal.h"

#define TO(state) (1u << (state))
static const unsigned edges[] = {
    [WEFT_LINK_DIALLING] = TO(WEFT_LINK_HANDSHAKE) | TO(WEFT_LINK_ENDED),
    [WEFT_LINK_HANDSHAKE] = TO(WEFT_LINK_PROVING) | TO(WEFT_LINK_GREETING) | TO(WEFT_LINK_JOINING) |
                            TO(WEFT_LINK_CLOSING),
    [WEFT_LINK_PROVING] = TO(WEFT_LINK_GREETING) | TO(WEFT_LINK_CLOSING),
    [WEFT_LINK_GREETING] = TO(WEFT_LINK_OPEN) | TO(WEFT_LINK_CLOSING),
    [WEFT_LINK_OPEN] = TO(WEFT_LINK_CLOSING),
    [WEFT_LINK_JOINING] = TO(WEFT_LINK_CLOSING),
    [WEFT_LINK_CLOSING] = TO(WEFT_LINK_ENDED),
    [WEFT_LINK_ENDED] = 0,
};

static void move(weft_link *link, weft_link_state to) {
  WEFT_ASSERT(edges[link->state] & TO(to));
  link->state = to;
}

bool weft__link_is_up(const weft_link *link) {
  return link->state == WEFT_LINK_GREETING || link->state == WEFT_LINK_OPEN;
}

static bool is_member(const weft_link *link) {
  return weft__roster_member_of(weft__node_roster(link->node), &link->device) != NULL;
}

void weft__link_free(weft_link *link) {
  weft_node *n = link->node;
  weft_session_free(link->session);
  weft__buf_free(&link->tx);
  weft__buf_free(&link->early);
  weft__vector_free(&link->theirs);
  weft__arena_free(&link->serve_arena);
  weft__node_drop(n, &link->remote);
  n->mem.free(n->mem.ctx, link->prefixes);
  n->mem.free(n->mem.ctx, link->blocked);
  n->mem.free(n->mem.ctx, link->lacks);
  n->mem.free(n->mem.ctx, link->others);
  n->mem.free(n->mem.ctx, link->carried);
  n->mem.free(n->mem.ctx, link);
}

/* --- sending --- */

weft_buf weft__link_body(const weft_link *link) {
  weft_buf body;
  weft__buf_init(&body, &link->node->mem, WEFT_SESSION_BODY_MAX);
  return body;
}

void weft__link_send(weft_link *link, uint8_t type, weft_buf *body) {
  weft_err err = weft__buf_err(body);
  bool bulk = weft__frame_is_bulk(type);
  if (err == WEFT_OK) err = weft_session_send(link->session, type, weft__buf_view(body));
  if (err == WEFT_OK) weft__node_count_frame(link->node, type, body->len, true);
  if (err == WEFT_OK && bulk && type != WEFT_FRAME_AUTH_REC) weft__credit_use(link, body->len);
  weft__buf_free(body);
  if (err == WEFT_OK || err == WEFT_EMISUSE) return; /* misuse: the session is closing by itself */
  weft__link_fail(link, err == WEFT_EAGAIN ? WEFT_ELIMIT : err, WEFT_CODE_SLOW, 0);
}

static void close_begin(weft_link *link, weft_err why) {
  if (link->why == WEFT_OK) link->why = why;
  if (!link->session) {
    link->close_due = true;
    return;
  }
  if (link->state == WEFT_LINK_CLOSING || link->state == WEFT_LINK_ENDED) return;
  weft_session_close(link->session, link->node->now, why);
  move(link, WEFT_LINK_CLOSING);
  link->node->settle = true;
}

void weft__link_fail(weft_link *link, weft_err why, weft_code code, uint8_t about) {
  link->ended_by_fault = true;
  if (link->established && code && link->state != WEFT_LINK_CLOSING &&
      link->state != WEFT_LINK_ENDED) {
    weft_msg_error m = {.code = (uint16_t)code, .about = about};
    weft_buf body = weft__link_body(link);
    weft__msg_error_put(&body, &m);
    (void)!weft_session_send(link->session, WEFT_FRAME_ERROR, weft__buf_view(&body));
    weft__buf_free(&body);
  }
  close_begin(link, why);
}

void weft__link_bye(weft_link *link, weft_bye reason, weft_err why) {
  if (link->established && link->state != WEFT_LINK_CLOSING && link->state != WEFT_LINK_ENDED) {
    weft_msg_bye m = {(uint8_t)reason, reason != WEFT_BYE_SHUTDOWN};
    weft_buf body = weft__link_body(link);
    weft__msg_bye_put(&body, &m);
    (void)!weft_session_send(link->session, WEFT_FRAME_BYE, weft__buf_view(&body));
    weft__buf_free(&body);
  }
  close_begin(link, why);
}

static void status_fill(weft_link *link, weft_msg_status *m, uint64_t token) {
  weft_node *n = link->node;
  const weft_vector *held = weft__node_held(n);
  weft__node_roots(n);
  memset(m, 0, sizeof *m);
  m->token = token;
  m->hlc = n->source.clock(n->source.ctx);
  memcpy(m->held_root, n->held_root, sizeof m->held_root);
  memcpy(m->shown_root, n->shown_root, sizeof m->shown_root);
  memcpy(m->auth_root, n->auth_root, sizeof m->auth_root);
  n->source.digest(n->source.ctx, m->digest);
  m->apply_level = n->source.apply_level(n->source.ctx);
  m->arrival = n->source.arrival(n->source.ctx);
  for (size_t i = 0; i < held->count; i++) m->held_changes += held->heads[i].seq;
  weft__node_linked(n);
  memcpy(m->linked, n->linked, sizeof m->linked);
  m->linked_len = n->linked_len;
  m->grant = weft__credit_give(link);
}

static void send_status(weft_link *link, uint8_t type, uint64_t token) {
  weft_msg_status m;
  weft_buf body = weft__link_body(link);
  status_fill(link, &m, token);
  weft__msg_status_put(&body, &m);
  weft__link_send(link, type, &body);
  link->status_due = WEFT_NEVER;
  link->check = true;
  link->node->settle = true;
}

static void send_ping(weft_link *link) {
  if (link->ping_token) return;
  link->ping_token = weft__draw_between(&link->node->draw, 1, UINT64_MAX);
  link->ping_at = link->node->now;
  send_status(link, WEFT_FRAME_PING, link->ping_token);
}

void weft__link_ask(weft_link *link) {
  if (link->state != WEFT_LINK_OPEN) return;
  link->ping_token = 0; /* an older one may be answered with what was true before */
  send_ping(link);
}

void weft__link_status_soon(weft_link *link) {
  weft_node *n = link->node;
  if (link->state != WEFT_LINK_OPEN) return;
  if (link->status_due == WEFT_NEVER) link->status_since = n->now;
  link->status_due =
      weft__min_ms(n->now + n->o.ack_delay_ms, link->status_since + WEFT_LINK_STATUS_MS);
}

void weft__link_status_now(weft_link *link) {
  if (link->state == WEFT_LINK_OPEN && link->status_due != WEFT_NEVER) {
    send_status(link, WEFT_FRAME_PONG, 0);
  }
}

/* --- membership --- */

static void send_auth(weft_link *link, uint8_t type, const weft_id *ids, size_t id_count) {
  weft_msg_auth m = {.ids = ids, .id_count = id_count};
  weft_buf body = weft__link_body(link);
  weft__roster_heads(weft__node_roster(link->node), &m.heads, &m.head_count);
  if (m.head_count > WEFT_MESSAGE_IDS_MAX) m.head_count = WEFT_MESSAGE_IDS_MAX;
  weft__msg_auth_put(&body, &m);
  weft__link_send(link, type, &body);
}

/* Sends records in frames of a size that fits the window.  False: no memory. */
static void send_records(weft_link *link, const weft_bytes *records, size_t count) {
  size_t done = WEFT_CANARY(RECORDS_LOST) ? count : 0;
  while (done < count && link->state != WEFT_LINK_CLOSING) {
    size_t len = 0, some = 0;
    while (done + some < count && some < WEFT_MESSAGE_RECORDS_MAX && len < 128u << 10) {
      len += records[done + some++].len;
    }
    weft_msg_blobs m = {records + done, some, 0};
    weft_buf body = weft__link_body(link);
    weft__msg_blobs_put(&body, &m);
    weft__again_count(link, body.len); /* who asks on and on is not answered for ever */
    weft__link_send(link, WEFT_FRAME_AUTH_REC, &body);
    done += some;
  }
}

/* Sends every record that is not before `heads`. */
static void send_beyond(weft_link *link, const weft_id *heads, size_t head_count) {
  weft_node *n = link->node;
  weft_arena arena;
  weft_bytes *records;
  size_t count;
  const weft_roster *roster = weft__node_roster(link->node);
  /* The walk marks the records it has met, which nobody else sees. */
  union {
    const weft_roster *shown;
    weft_roster *walked;
  } r = {roster};
  weft__arena_init(&arena, &n->mem);
  if (weft__roster_beyond(r.walked, heads, head_count, &arena, &records, &count) == WEFT_OK) {
    send_records(link, records, count);
    memcpy(link->auth_sent, n->auth_root, sizeof link->auth_sent);
  }
  weft__arena_free(&arena);
}

static void on_auth_want(weft_link *link, const weft_msg_auth *m) {
  if (weft__again_waits(link)) {
    weft__link_fail(link, WEFT_EPROTO, WEFT_CODE_FLOW, WEFT_FRAME_AUTH_WANT);
    return;
  }
  if (m->id_count == 0) {
    send_beyond(link, m->heads, m->head_count);
    return;
  }
  weft_bytes records[WEFT_MESSAGE_IDS_MAX];
  size_t count = 0;
  for (size_t i = 0; i < m->id_count; i++) {
    weft_bytes record = weft__roster_record(weft__node_roster(link->node), &m->ids[i]);
    if (record.len) records[count++] = record;
  }
  send_records(link, records, count);
}

static void on_records(weft_link *link, const weft_msg_blobs *m, size_t body_len) {
  if (link->state == WEFT_LINK_PROVING) {
    link->proving_bytes += body_len;
    if (link->proving_bytes > WEFT_LINK_PROVING_BYTES) {
      weft__link_fail(link, WEFT_ELIMIT, WEFT_CODE_LIMIT, WEFT_FRAME_AUTH_REC);
      return;
    }
  }
  for (size_t i = 0; i < m->count && link->state != WEFT_LINK_CLOSING; i++) {
    weft__record_add(link, m->at[i]);
  }
}

/* --- HELLO --- */

static void hello_fill(weft_link *link, weft_msg_hello *m) {
  weft_node *n = link->node;
  const weft_id *heads;
  size_t head_count;
  weft_msg_status s;
  memset(m, 0, sizeof *m);
  status_fill(link, &s, 0);
  weft__roster_heads(weft__node_roster(link->node), &heads, &head_count);
  m->auth_count = head_count < WEFT_RECORD_DEPS_MAX ? head_count : WEFT_RECORD_DEPS_MAX;
  memcpy(m->auth_heads, heads, m->auth_count * sizeof *heads);
  m->instance = n->source.instance(n->source.ctx);
  m->boot = n->boot;
  m->agent = weft_bytes_str("weft");
  memcpy(m->held_root, s.held_root, sizeof m->held_root);
  memcpy(m->shown_root, s.shown_root, sizeof m->shown_root);
  memcpy(m->digest, s.digest, sizeof m->digest);
  memcpy(m->auth_root, s.auth_root, sizeof m->auth_root);
  m->held_count = weft__node_held(n)->count;
  m->apply_level = s.apply_level;
  m->listen_count = n->listen_count;
  memcpy(m->listen, n->listen, n->listen_count * sizeof *n->listen);
  m->window = WEFT_LINK_WINDOW;
  m->cursor_instance = link->known->instance;
  m->cursor_arrival = link->known->arrival;
  m->name = n->name;
  m->arrival = n->source.arrival(n->source.ctx);
  weft__ack_list(n, m);
}

static void say_hello(weft_link *link) {
  weft_node *n = link->node;
  weft_msg_hello m;
  hello_fill(link, &m);
  memcpy(link->hello_root, m.held_root, sizeof link->hello_root);
  link->hello_count = m.held_count;
  link->hello_arrival = m.arrival;
  link->hello_cursor = m.cursor_arrival;
  link->hello_cursor_instance = m.cursor_instance;
  link->own_at = link->relay_at = link->express_at = n->ring_end;
  /* If they hold just this, it is what `theirs` begins with. */
  weft_err err = weft__vector_copy(&link->theirs, weft__node_held(n));
  weft_buf body = weft__link_body(link);
  if (err != WEFT_OK) weft__buf_fail(&body, err);
  weft__msg_hello_put(&body, &m);
  link->said_hello = true;
  link->opened = n->now;
  move(link, WEFT_LINK_GREETING);
  weft__link_send(link, WEFT_FRAME_HELLO, &body);
}

/* Both ends of two links of one device come to the same end: the one dialled by the smaller key
 * stays, of two dialled by one side the newer.  The one that stays must answer, or it goes. */
static void settle_duplicate(weft_link *link, weft_link *old) {
  weft_node *n = link->node;
  if (old->boot != link->boot) {
    weft__link_bye(old, WEFT_BYE_DUPLICATE, WEFT_EEXIST);
    return;
  }
  if (old->initiator == link->initiator) {
    weft__link_bye(old, WEFT_BYE_DUPLICATE, WEFT_EEXIST);
    return;
  }
  bool ours_first = weft_id_cmp(&n->identity.device, &link->device) < 0;
  bool keep_old = old->initiator == ours_first;
  if (!keep_old) {
    weft__link_bye(old, WEFT_BYE_DUPLICATE, WEFT_EEXIST);
    return;
  }
  old->probe_for = link->conn;
  old->probe_until = n->now + WEFT_LINK_PROBE_MS;
  old->ping_token = 0;
  send_ping(old);
}

static void find_duplicates(weft_link *link) {
  weft_node *n = link->node;
  if (WEFT_CANARY(TWO_LINKS)) return;
  for (size_t i = 0; i < n->link_count; i++) {
    weft_link *old = n->links[i];
    bool other = old != link && old->state == WEFT_LINK_OPEN && !old->close_due;
    if (!other || weft_id_cmp(&old->device, &link->device) != 0) continue;
    bool twin = link->known->twins && old->boot != link->boot;
    if (old->instance == link->instance && !twin) {
      settle_duplicate(link, old);
    } else {
      weft__node_note(n, WEFT_NOTE_CLONE, &link->device, link->remote, WEFT_OK);
    }
  }
}

/* A store starts under a new number each time, so one that was followed by another is over, unless
 * the store was copied and both run. */
static void known_boot(weft_known *known, uint64_t boot) {
  for (size_t i = 1; i < WEFT_KNOWN_BOOTS; i++) {
    if (known->boots[i] == boot && boot != 0) known->twins = true;
  }
  if (known->boots[0] != boot) {
    memmove(&known->boots[1], &known->boots[0], sizeof known->boots - sizeof known->boots[0]);
    known->boots[0] = boot;
  }
  if (known->twins) known->arrival = 0;
}

static void known_renew(weft_link *link, const weft_msg_hello *m) {
  weft_node *n = link->node;
  weft_known *known = link->known;
  if (known->instance != m->instance || known->arrival > m->arrival) {
    if (known->instance != m->instance) {
      memset(known->boots, 0, sizeof known->boots);
      known->twins = false;
    }
    known->instance = m->instance;
    known->arrival = 0;
  }
  known_boot(known, m->boot);
  if (weft_bytes_cmp(known->name, m->name) != 0) {
    weft_bytes copy;
    if (weft__node_copy(n, m->name, &copy) == WEFT_OK) {
      weft__node_drop(n, &known->name);
      known->name = copy;
    }
  }
  for (size_t i = 0; i < m->listen_count; i++) weft__dial_learn(n, &link->device, m->listen[i]);
}

/* The period, give or take half of it. */
static weft_ms sweep_after(weft_node *n) {
  weft_ms period = n->o.anti_entropy_ms;
  return weft__draw_between(&n->draw, period / 2, period / 2 + period);
}

/* What anti-entropy sends: what arrived, and PING.  Where the last comparison of roots found both
 * in step and the peer has said so meanwhile, as it does with every heartbeat, there is nothing to
 * ask. */
static void sweep(weft_link *link) {
  weft_node *n = link->node;
  link->sweep_at = n->now + sweep_after(n);
  weft__sync_announce(link);
  if (link->in_step && n->now < link->roots_heard + n->o.anti_entropy_ms / 2) return;
  send_ping(link);
}

static void on_hello(weft_link *link, const weft_msg_hello *m) {
  weft_node *n = link->node;
  if (link->got_hello) {
    weft__link_fail(link, WEFT_EPROTO, WEFT_CODE_PROTO, WEFT_FRAME_HELLO);
    return;
  }
  link->got_hello = true;
  link->instance = m->instance;
  link->boot = m->boot;
  link->their_count = m->held_count;
  link->their_arrival = m->arrival;
  link->window_out = m->window;
  memcpy(link->their_hello_root, m->held_root, sizeof link->their_hello_root);
  bool mine = m->cursor_instance == n->source.instance(n->source.ctx);
  link->their_cursor = mine && m->cursor_arrival <= link->hello_arrival ? m->cursor_arrival : 0;
  memcpy(link->their.held_root, m->held_root, sizeof link->their.held_root);
  memcpy(link->their.shown_root, m->shown_root, sizeof link->their.shown_root);
  memcpy(link->their.digest, m->digest, sizeof link->their.digest);
  memcpy(link->their.auth_root, m->auth_root, sizeof link->their.auth_root);
  link->their.apply_level = m->apply_level;
  link->heard = link->check = true;
  link->roots_heard = link->node->now;
  known_renew(link, m);
  weft__dial_greeted(n, link);
  weft__ack_greet(link, m);
  link->known->ban_ms = 0;
  move(link, WEFT_LINK_OPEN);
  link->up_told = true;
  weft__present_up(link);
  weft__node_links_moved(n);
  weft__node_note(n, WEFT_NOTE_UP, &link->device, link->remote, WEFT_OK);
  find_duplicates(link);
  if (link->state != WEFT_LINK_OPEN) return;
  if (memcmp(m->auth_root, n->auth_root, sizeof n->auth_root) != 0) {
    send_beyond(link, m->auth_heads, m->auth_count);
  } else {
    memcpy(link->auth_sent, n->auth_root, sizeof link->auth_sent);
  }
  link->acks_stale = true;
  if (n->ack_due == WEFT_NEVER) n->ack_due = n->now + weft__ack_delay(n);
  link->sweep_at = n->now + sweep_after(n);
  link->resync_ms = WEFT_LINK_RESYNC_MS;
  weft__sync_begin(link);
  n->settle = true;
}

/* --- the beginning --- */

void weft__link_start(weft_link *link) {
  weft_node *n = link->node;
  const weft_session_peer *peer = weft_session_peer_of(link->session);
  link->established = true;
  link->trip_min_ms = (uint32_t)(n->now - link->shake_at);
  if (link->trip_min_ms <= WEFT_LINK_NEAR_MS) link->queued_allow = WEFT_LINK_QUEUED_MAX;
  link->device = peer->device;
  link->clock_offset_ms = (int64_t)(peer->unix_ms - n->wall);
  if (peer->mode == WEFT_SESSION_JOIN) {
    move(link, WEFT_LINK_JOINING);
    link->made = n->now;
    return;
  }
  link->known = weft__node_known(n, &link->device);
  if (!link->known) {
    weft__link_fail(link, WEFT_ENOMEM, WEFT_CODE_INTERNAL, 0);
    return;
  }
  weft__dial_answered(n, link);
  if (weft_id_cmp(&link->device, &n->identity.device) == 0) {
    weft__link_bye(link, WEFT_BYE_DUPLICATE, WEFT_EEXIST);
    return;
  }
  if (weft_node_is_paused(n, &link->device)) {
    weft__link_bye(link, WEFT_BYE_USER, WEFT_EDONE);
    return;
  }
  if (n->now < link->known->ban_until) {
    weft__node_note(n, WEFT_NOTE_REFUSED, &link->device, link->remote, WEFT_EPROTO);
    weft__link_fail(link, WEFT_EPROTO, WEFT_CODE_BUSY, 0);
    return;
  }
  link->made = n->now;
  if (is_member(link)) {
    say_hello(link);
    return;
  }
  move(link, WEFT_LINK_PROVING);
  send_auth(link, WEFT_FRAME_AUTH_WANT, NULL, 0);
}

void weft__link_roster(weft_link *link) {
  weft_node *n = link->node;
  if (link->state == WEFT_LINK_PROVING) {
    if (is_member(link)) {
      bool waiting = link->early_len > 0;
      say_hello(link);
      if (waiting && link->state == WEFT_LINK_GREETING) {
        weft_msg_hello m;
        link->early_len = 0;
        if (weft__msg_hello_read(weft__buf_view(&link->early), &m) == WEFT_OK) on_hello(link, &m);
        weft__buf_free(&link->early);
      }
    }
    return;
  }
  if (link->state != WEFT_LINK_OPEN) return;
  weft__sync_unblock(link);
  link->auth_asked = false;
  link->plan = true;
  if (memcmp(link->auth_sent, n->auth_root, sizeof n->auth_root) == 0) return;
  if (memcmp(link->their.auth_root, n->auth_root, sizeof n->auth_root) == 0) return;
  send_auth(link, WEFT_FRAME_AUTH_HAVE, NULL, 0);
  memcpy(link->auth_sent, n->auth_root, sizeof link->auth_sent);
}

/* --- joining --- */

static void refuse(weft_link *link, uint16_t code) {
  weft_buf body = weft__link_body(link);
  weft__msg_refuse_put(&body, code);
  weft__link_send(link, WEFT_FRAME_REFUSE, &body);
  weft__node_note(link->node, WEFT_NOTE_REFUSED, &link->device, link->remote, WEFT_EDENIED);
  close_begin(link, WEFT_EDENIED);
}

static void on_redeem(weft_link *link, const weft_msg_redeem *m) {
  weft_node *n = link->node;
  const weft_session_peer *peer = weft_session_peer_of(link->session);
  bool same = weft_id_cmp(&m->redeem.device, &peer->device) == 0 &&
              memcmp(m->redeem.x_public.b, peer->x_public.b, sizeof peer->x_public.b) == 0;
  bool proper = same && !link->redeemed && weft__name_ok(m->name, WEFT_DEVICE_NAME_LEN_MAX) &&
                weft__redeem_check(&m->redeem, n->crypto, &n->o.space) == WEFT_OK;
  if (!proper) {
    weft__link_fail(link, WEFT_EAUTH, 0, 0);
    return;
  }
  link->redeemed = true;
  weft_node_action a = {.kind = WEFT_NODE_ADMIT,
                        .ticket = n->ticket_next,
                        .device = m->redeem.device,
                        .text = m->name,
                        .redeem = &m->redeem};
  if (weft__node_push(n, &a) != WEFT_OK) {
    weft__link_fail(link, WEFT_ENOMEM, WEFT_CODE_INTERNAL, 0);
    return;
  }
  link->invite_ticket = n->ticket_next++;
}

void weft_node_admitted(weft_node *n, weft_ms now, uint64_t ticket, weft_err result,
                        uint16_t refuse_code) {
  weft__node_enter(n, now);
  weft_link *link = NULL;
  for (size_t i = 0; i < n->link_count; i++) {
    if (ticket && n->links[i]->invite_ticket == ticket) link = n->links[i];
  }
  weft__node_look(n);
  if (!link || link->state != WEFT_LINK_JOINING) return;
  link->invite_ticket = 0;
  if (result != WEFT_OK) {
    refuse(link, result == WEFT_EDENIED ? refuse_code : (uint16_t)WEFT_CODE_INTERNAL);
    return;
  }
  send_beyond(link, NULL, 0);
  weft_msg_admit m = {.secret = n->epoch.secret};
  memcpy(m.epoch, n->epoch.id, sizeof m.epoch);
  weft_buf body = weft__link_body(link);
  weft__msg_admit_put(&body, &m);
  n->crypto->wipe(&m, sizeof m);
  weft__link_send(link, WEFT_FRAME_ADMIT, &body);
  weft__link_bye(link, WEFT_BYE_USER, WEFT_EDONE);
}

/* --- control frames --- */

static void in_step_check(weft_link *link) {
  weft_node *n = link->node;
  if (!link->heard) return;
  weft__node_roots(n);
  bool held = memcmp(link->their.held_root, n->held_root, WEFT_ROOT_LEN) == 0;
  bool shown = memcmp(link->their.shown_root, n->shown_root, WEFT_ROOT_LEN) == 0;
  link->in_step = held && shown && link->ask_count == 0;
  if (held) {
    link->told = n->arrival;
    /* We hold all that had arrived there by then. */
    bool newer = link->known->instance == link->instance && !link->known->twins &&
                 link->their.arrival > link->known->arrival;
    if (newer) link->known->arrival = link->their.arrival;
    link->resync_at = WEFT_NEVER;
    link->resync_ms = WEFT_LINK_RESYNC_MS;
  }
  if (link->in_step && !link->in_step_told) {
    weft__node_note(n, WEFT_NOTE_IN_STEP, &link->device, link->remote, WEFT_OK);
    uint8_t digest[16];
    n->source.digest(n->source.ctx, digest);
    bool comparable = link->their.apply_level == n->source.apply_level(n->source.ctx);
    if (comparable && memcmp(digest, link->their.digest, sizeof digest) != 0) {
      weft__node_note(n, WEFT_NOTE_DIGEST, &link->device, link->remote, WEFT_ECORRUPT);
    }
  }
  link->in_step_told = link->in_step;
}

/* Roots that differ while nothing is under way ask for a whole comparison, later and later. */
void weft__link_check_step(weft_link *link) {
  weft_node *n = link->node;
  link->check = false;
  if (link->state != WEFT_LINK_OPEN) return;
  in_step_check(link);
  bool same = memcmp(link->their.held_root, n->held_root, WEFT_ROOT_LEN) == 0;
  bool idle = weft__sync_is_done(link) && link->ask_count == 0 && link->serve_count == 0;
  if (same || !idle) {
    link->resync_at = WEFT_NEVER;
  } else if (link->resync_at == WEFT_NEVER) {
    link->resync_at = n->now + link->resync_ms;
  }
}

static void on_status(weft_link *link, const weft_msg_status *m, bool ping) {
  weft_node *n = link->node;
  bool linked = m->linked_len != link->their.linked_len ||
                memcmp(m->linked, link->their.linked, m->linked_len) != 0 ||
                memcmp(m->auth_root, link->their.auth_root, sizeof m->auth_root) != 0;
  if (linked) link->acks_stale = true; /* whom it no longer hears, we tell it of */
  link->out_pending -= weft__min_ms(m->grant, link->out_pending);
  link->their = *m;
  link->heard = link->check = true;
  link->roots_heard = link->node->now;
  link->clock_offset_ms = (int64_t)((m->hlc >> 16) - n->wall);
  if (ping) send_status(link, WEFT_FRAME_PONG, m->token);
  if (!ping && m->token && m->token == link->ping_token) {
    link->ping_token = 0;
    link->doubt_ms = 0;
    link->round_trip_ms = (uint32_t)(n->now - link->ping_at);
    if (link->round_trip_ms < link->trip_min_ms) link->trip_min_ms = link->round_trip_ms;
    weft__observe(n->metrics, WEFT_METRIC_PING_TIME, link->round_trip_ms * UINT64_C(1000000));
    weft_link *newer = weft__node_link(n, link->probe_for);
    link->probe_for = 0;
    if (newer) weft__link_bye(newer, WEFT_BYE_DUPLICATE, WEFT_EEXIST);
  }
  if (memcmp(m->auth_root, n->auth_root, sizeof n->auth_root) != 0 && !link->auth_asked &&
      link->records_pending == 0) {
    link->auth_asked = true;
    send_auth(link, WEFT_FRAME_AUTH_WANT, NULL, 0);
  }
  n->settle = true;
}

weft_err weft__code_err(uint16_t code) {
  if (code == WEFT_CODE_NOT_MEMBER || code == WEFT_CODE_REVOKED) return WEFT_EDENIED;
  if (code == WEFT_CODE_VERSION || code == WEFT_CODE_UNSUPPORTED) return WEFT_EVERSION;
  if (code >= WEFT_CODE_LIMIT && code <= WEFT_CODE_INTERNAL) return WEFT_EAGAIN;
  if (code == WEFT_CODE_BAD_SIG) return WEFT_EBADSIG;
  if (code == WEFT_CODE_BAD_BODY) return WEFT_EMALFORMED;
  if (code == WEFT_CODE_QUOTA) return WEFT_ELIMIT;
  return WEFT_EPROTO;
}

static void on_error(weft_link *link, const weft_msg_error *m) {
  link->ended_by_fault = true;
  close_begin(link, m->code == WEFT_CODE_BAD_BODY || m->code == WEFT_CODE_QUOTA
                        ? WEFT_EPROTO
                        : weft__code_err(m->code));
}

static void on_bye(weft_link *link) {
  link->got_bye = true;
  close_begin(link, WEFT_EDONE);
}

/* --- frames --- */

/* A control frame more: 200 a second, and a burst. */
static bool frame_allowed(weft_link *link) {
  weft_node *n = link->node;
  uint64_t more = (n->now - link->bucket_at) * WEFT_FRAMES_PER_S / 1000;
  if (more > 0) {
    uint64_t level = link->bucket + more;
    link->bucket = (uint32_t)weft__min_ms(level, WEFT_FRAMES_BURST);
    link->bucket_at += more * 1000 / WEFT_FRAMES_PER_S; /* the rest counts on */
  }
  if (link->bucket == 0) return false;
  link->bucket--;
  return true;
}

static weft_err sync_frame(weft_link *link, weft_arena *arena, uint8_t type, weft_bytes body) {
  union {
    weft_msg_heads heads;
    weft_msg_nodes nodes;
    weft_msg_turn turn;
    weft_msg_want want;
    weft_msg_nohave nohave;
  } m;
  switch (type) {
  case WEFT_FRAME_VV_LEAVES:
  case WEFT_FRAME_VV_DELTA:
  case WEFT_FRAME_IHAVE:
    WEFT_TRY(weft__msg_heads_read(arena, body, &m.heads));
    if (type == WEFT_FRAME_VV_LEAVES) weft__sync_leaves(link, &m.heads);
    if (type == WEFT_FRAME_VV_DELTA) weft__sync_delta(link, &m.heads);
    if (type == WEFT_FRAME_IHAVE) weft__sync_ihave(link, &m.heads);
    return WEFT_OK;
  case WEFT_FRAME_VV_NODES:
    WEFT_TRY(weft__msg_nodes_read(arena, body, &m.nodes));
    weft__sync_nodes(link, &m.nodes);
    return WEFT_OK;
  case WEFT_FRAME_VV_ROOT:
    WEFT_TRY(weft__msg_turn_read(body, &m.turn));
    weft__sync_turn(link, &m.turn);
    return WEFT_OK;
  case WEFT_FRAME_WANT:
    WEFT_TRY(weft__msg_want_read(arena, body, &m.want));
    weft__serve_want(link, &m.want);
    return WEFT_OK;
  case WEFT_FRAME_NOHAVE:
    WEFT_TRY(weft__msg_nohave_read(body, &m.nohave));
    weft__sync_nohave(link, &m.nohave);
    return WEFT_OK;
  default: return WEFT_EPROTO;
  }
}

/* Gives each chunk of a bulk frame its part of the credit; the last one takes the rest. */
static void on_changes(weft_link *link, const weft_msg_blobs *m, size_t body_len, bool asked) {
  size_t left = body_len;
  for (size_t i = 0; i < m->count && link->state == WEFT_LINK_OPEN; i++) {
    size_t part = i + 1 == m->count ? left : m->at[i].len;
    left -= part;
    weft__hold_add(link, m->at[i], (uint32_t)part, asked);
  }
  if (m->count == 0) weft__credit_grant(link, body_len);
}

static weft_err bulk_frame(weft_link *link, weft_arena *arena, uint8_t type, weft_bytes body) {
  weft_msg_blobs blobs;
  weft_msg_acks acks;
  switch (type) {
  case WEFT_FRAME_CHANGES:
  case WEFT_FRAME_GOSSIP:
  case WEFT_FRAME_EXPRESS:
    WEFT_TRY(weft__msg_blobs_read(arena, body, &blobs));
    on_changes(link, &blobs, body.len, type == WEFT_FRAME_CHANGES);
    return WEFT_OK;
  case WEFT_FRAME_ACK:
    WEFT_TRY(weft__msg_acks_read(arena, body, &acks));
    weft__ack_receive(link, &acks);
    weft__credit_grant(link, body.len);
    return WEFT_OK;
  default: /* FORK */
    WEFT_TRY(weft__msg_blobs_read(arena, body, &blobs));
    return weft__fork_receive(link, &blobs, body.len);
  }
}

static weft_err control_frame(weft_link *link, uint8_t type, weft_bytes body) {
  union {
    weft_msg_status status;
    weft_msg_error error;
    weft_msg_bye bye;
    uint32_t credit;
  } m;
  switch (type) {
  case WEFT_FRAME_PING:
  case WEFT_FRAME_PONG:
    if (!weft__link_is_up(link)) return WEFT_EPROTO; /* a status is for members */
    WEFT_TRY(weft__msg_status_read(body, &m.status));
    on_status(link, &m.status, type == WEFT_FRAME_PING);
    return WEFT_OK;
  case WEFT_FRAME_CREDIT:
    WEFT_TRY(weft__msg_credit_read(body, &m.credit));
    link->out_pending -= weft__min_ms(m.credit, link->out_pending);
    return WEFT_OK;
  case WEFT_FRAME_ERROR:
    WEFT_TRY(weft__msg_error_read(body, &m.error));
    on_error(link, &m.error);
    return WEFT_OK;
  default: /* BYE */
    WEFT_TRY(weft__msg_bye_read(body, &m.bye));
    on_bye(link);
    return WEFT_OK;
  }
}

static weft_err auth_frame(weft_link *link, weft_arena *arena, uint8_t type, weft_bytes body) {
  weft_msg_auth auth;
  weft_msg_blobs blobs;
  if (type == WEFT_FRAME_AUTH_REC) {
    WEFT_TRY(weft__msg_blobs_read(arena, body, &blobs));
    on_records(link, &blobs, body.len);
    return WEFT_OK;
  }
  WEFT_TRY(weft__msg_auth_read(arena, body, &auth));
  if (type == WEFT_FRAME_AUTH_WANT)
    on_auth_want(link, &auth);
  else
    send_auth(link, WEFT_FRAME_AUTH_WANT, NULL, 0);
  return WEFT_OK;
}

static bool is_control(uint8_t type) { return type >= WEFT_FRAME_PING && type <= WEFT_FRAME_BYE; }

static bool is_auth(uint8_t type) {
  return type >= WEFT_FRAME_AUTH_HAVE && type <= WEFT_FRAME_AUTH_REC;
}

/* A HELLO that comes before we know its sender is kept until we do. */
static weft_err hello_frame(weft_link *link, weft_bytes body) {
  weft_msg_hello m;
  WEFT_TRY(weft__msg_hello_read(body, &m));
  if (link->state == WEFT_LINK_PROVING) {
    weft__buf_put(&link->early, body);
    link->early_len = body.len;
    return weft__buf_err(&link->early);
  }
  on_hello(link, &m);
  return WEFT_OK;
}

static weft_err open_frame(weft_link *link, weft_arena *arena, uint8_t type, weft_bytes body) {
  if (is_control(type)) return control_frame(link, type, body);
  if (is_auth(type)) return auth_frame(link, arena, type, body);
  if (type == WEFT_FRAME_HELLO) return link->early_len ? WEFT_EPROTO : hello_frame(link, body);
  if (type == WEFT_FRAME_PRESENCE && link->state == WEFT_LINK_OPEN) {
    return weft__present_receive(link, arena, body);
  }
  if (type == WEFT_FRAME_REFUSED && link->state == WEFT_LINK_OPEN) {
    weft_msg_nohave m;
    WEFT_TRY(weft__msg_nohave_read(body, &m));
    weft__park_receive(link, &m);
    return WEFT_OK;
  }
  if (type >= 0x80 || type == WEFT_FRAME_GRAFT || type == WEFT_FRAME_PRUNE) return WEFT_OK;
  if (link->state != WEFT_LINK_OPEN) return WEFT_EPROTO;
  if (weft__frame_is_bulk(type)) return bulk_frame(link, arena, type, body);
  return sync_frame(link, arena, type, body);
}

static weft_err joining_frame(weft_link *link, uint8_t type, weft_bytes body) {
  weft_msg_redeem m;
  if (is_control(type)) return control_frame(link, type, body);
  if (type >= 0x80) return WEFT_OK;
  if (type != WEFT_FRAME_REDEEM) return WEFT_EPROTO;
  WEFT_TRY(weft__msg_redeem_read(body, &m));
  on_redeem(link, &m);
  return WEFT_OK;
}

static bool is_known_type(uint8_t type) {
  return (type >= 0x01 && type <= 0x06) || (type >= 0x10 && type <= 0x12) ||
         (type >= 0x20 && type <= 0x23) || (type >= 0x30 && type <= 0x32) || type == 0x38 ||
         (type >= 0x40 && type <= 0x44) || (type >= 0x50 && type <= 0x52) || type == 0x60;
}

static void on_frame(weft_link *link, uint8_t type, weft_bytes body) {
  weft_node *n = link->node;
  if (link->state == WEFT_LINK_CLOSING || link->state == WEFT_LINK_ENDED) return;
  weft__node_count_frame(n, type, body.len, false);
  if (type < 0x80 && !is_known_type(type)) {
    weft__link_fail(link, WEFT_EVERSION, WEFT_CODE_UNSUPPORTED, type);
    return;
  }
  bool bulk = weft__frame_is_bulk(type);
  if (!bulk && !frame_allowed(link)) {
    weft__link_fail(link, WEFT_EPROTO, WEFT_CODE_FLOW, type);
    return;
  }
  bool counts = bulk && type != WEFT_FRAME_AUTH_REC; /* records go before there is a window */
  if (counts && !weft__credit_take(link, body.len)) return;
  weft_arena arena;
  weft__arena_init(&arena, &n->mem);
  weft_err err = link->state == WEFT_LINK_JOINING ? joining_frame(link, type, body)
                                                  : open_frame(link, &arena, type, body);
  weft__arena_free(&arena);
  if (err == WEFT_OK) return;
  weft_code code = err == WEFT_EMALFORMED ? WEFT_CODE_BAD_BODY
                   : err == WEFT_ENOMEM   ? WEFT_CODE_INTERNAL
                                          : WEFT_CODE_PROTO;
  weft__link_fail(link, err, code, type);
}

/* --- the session's word --- */

static void on_check(weft_link *link) {
  weft_node *n = link->node;
  const weft_session_peer *peer = weft_session_peer_of(link->session);
  link->device = peer->device;
  if (weft_id_cmp(&peer->device, &n->identity.device) == 0) {
    weft__dial_answered(n, link);
    close_begin(link, WEFT_EEXIST);
    return;
  }
  if (weft_session_accept(link->session) != WEFT_OK) return; /* CLOSE follows */
}

static void on_close(weft_link *link, weft_err why) {
  if (link->why == WEFT_OK) link->why = why == WEFT_OK ? WEFT_EDONE : why;
  link->close_due = true;
}

void weft__link_drain(weft_link *link, bool send) {
  weft_session_action a;
  weft_session_hold(link->session, !send);
  /* A slow line is given little at a time, in short records, so that it shows how it drains and
   * what overtakes finds a gap. */
  bool slow = link->queued_allow < WEFT_LINK_UNSENT_LOW;
  size_t most = slow ? link->queued_allow / 4 : WEFT_LINK_UNSENT_LOW;
  size_t cut = most > WEFT_RECORD_CUT_MIN ? most : WEFT_RECORD_CUT_MIN;
  cut = cut / 256 * 256 - WEFT_RECORD_HEAD_LEN; /* so that nothing is padded */
  weft_session_record_max(link->session, slow ? cut : SIZE_MAX);
  while (link->tx.len < most && weft_session_next(link->session, &a)) {
    switch (a.kind) {
    case WEFT_SESSION_SEND:
      weft__buf_put(&link->tx, a.data);
      if (weft__buf_err(&link->tx) != WEFT_OK) {
        /* A record that is lost ends the session: the next would not open. */
        link->why = weft__buf_err(&link->tx);
        link->close_due = true;
        weft__buf_reset(&link->tx);
      }
      break;
    case WEFT_SESSION_CHECK: on_check(link); break;
    case WEFT_SESSION_ESTABLISHED: weft__link_start(link); break;
    case WEFT_SESSION_DELIVER: on_frame(link, a.type, a.data); break;
    case WEFT_SESSION_EXPIRING:
      link->expiring = true;
      link->expiring_at = link->node->now;
      weft__dial_renew(link->node, link);
      break;
    case WEFT_SESSION_CLOSE: on_close(link, a.why); break;
    case WEFT_SESSION_NOTHING: break; /* defensive: `next` gives no such action */
    }
    if (link->close_due) return;
  }
}

/* --- time --- */

static weft_ms early_deadline(const weft_link *link) {
  switch (link->state) {
  case WEFT_LINK_DIALLING: return link->made + link->node->o.dial_timeout_ms;
  case WEFT_LINK_PROVING: return link->made + WEFT_LINK_PROVING_MS;
  case WEFT_LINK_GREETING: return link->opened + WEFT_LINK_HELLO_MS;
  case WEFT_LINK_JOINING: return link->made + WEFT_LINK_PROVING_MS;
  case WEFT_LINK_HANDSHAKE:
  case WEFT_LINK_OPEN:
  case WEFT_LINK_CLOSING:
  case WEFT_LINK_ENDED: break;
  }
  return WEFT_NEVER;
}

static weft_ms open_deadline(const weft_link *link) {
  const weft_node *n = link->node;
  weft_ms quiet = link->last_in < link->last_out ? link->last_in : link->last_out;
  weft_ms at = link->last_in + n->o.dead_ms;
  at = weft__min_ms(at, link->ping_token ? link->ping_at + WEFT_LINK_PONG_MS
                                         : quiet + n->o.heartbeat_ms);
  at = weft__min_ms(at, link->status_due);
  at = weft__min_ms(at, link->sweep_at);
  at = weft__min_ms(at, link->resync_at);
  at = weft__min_ms(at, link->grant_at);
  at = weft__min_ms(at, weft__serve_deadline(link));
  at = weft__min_ms(at, weft__present_due(link));
  if (link->probe_for) at = weft__min_ms(at, link->probe_until);
  if (link->ask_count) at = weft__min_ms(at, link->ask_at + WEFT_LINK_ASK_MS);
  at = weft__min_ms(at, weft__sync_patience_due(link));
  at = weft__min_ms(at, weft__again_deadline(link));
  if (link->expiring) at = weft__min_ms(at, link->expiring_at + WEFT_LINK_STALL_MS);
  return at;
}

weft_ms weft__link_deadline(const weft_link *link) {
  if (link->state == WEFT_LINK_ENDED) return WEFT_NEVER;
  weft_ms at = early_deadline(link);
  if (link->session) at = weft__min_ms(at, weft_session_deadline(link->session));
  bool closing = link->state == WEFT_LINK_CLOSING; /* the session sees to its end by itself */
  if (link->queued > 0 && !closing) at = weft__min_ms(at, link->moved + WEFT_LINK_STALL_MS);
  if (link->state == WEFT_LINK_OPEN) at = weft__min_ms(at, open_deadline(link));
  return at;
}

static void probe_failed(weft_link *link) {
  link->probe_for = 0;
  weft__link_bye(link, WEFT_BYE_DUPLICATE, WEFT_ETIMEOUT);
}

static void open_tick(weft_link *link) {
  weft_node *n = link->node;
  weft_ms quiet = link->last_in < link->last_out ? link->last_in : link->last_out;
  bool dead = n->now >= link->last_in + n->o.dead_ms ||
              (link->ping_token && n->now >= link->ping_at + WEFT_LINK_PONG_MS);
  if (dead) {
    weft__link_fail(link, WEFT_ETIMEOUT, WEFT_CODE_TIMEOUT, 0);
    return;
  }
  if (link->probe_for && n->now >= link->probe_until) {
    probe_failed(link);
    return;
  }
  if (link->expiring && n->now >= link->expiring_at + WEFT_LINK_STALL_MS) {
    weft__link_bye(link, WEFT_BYE_LIFETIME, WEFT_EDONE);
    return;
  }
  if (n->now >= quiet + n->o.heartbeat_ms) send_ping(link);
  if (n->now >= link->status_due) send_status(link, WEFT_FRAME_PONG, 0);
  if (n->now >= link->sweep_at) sweep(link);
  if (n->now >= link->resync_at) weft__sync_resync(link);
  if (link->ask_count && n->now >= link->ask_at + WEFT_LINK_ASK_MS) weft__sync_timeout(link);
  if (n->now >= weft__sync_patience_due(link)) weft__sync_patience(link);
  weft__credit_run(link);
}

static void early_tick(weft_link *link) {
  weft_node *n = link->node;
  if (n->now < early_deadline(link)) return;
  if (link->state == WEFT_LINK_DIALLING) {
    link->why = WEFT_ETIMEOUT;
    link->close_due = true;
    return;
  }
  if (link->state == WEFT_LINK_PROVING) {
    weft__node_note(n, WEFT_NOTE_REFUSED, &link->device, link->remote, WEFT_EUNKNOWN);
    weft__link_fail(link, WEFT_EUNKNOWN, WEFT_CODE_NOT_MEMBER, 0);
    return;
  }
  weft__link_fail(link, WEFT_ETIMEOUT, WEFT_CODE_TIMEOUT, 0);
}

void weft__link_tick(weft_link *link) {
  weft_node *n = link->node;
  if (link->state == WEFT_LINK_ENDED || link->close_due) return;
  early_tick(link);
  if (link->queued > 0 && n->now >= link->moved + WEFT_LINK_STALL_MS) {
    weft__link_fail(link, WEFT_ETIMEOUT, WEFT_CODE_SLOW, 0);
  }
  if (!link->session) return;
  if (link->state == WEFT_LINK_OPEN) open_tick(link);
  (void)!weft_session_tick(link->session, n->now); /* CLOSE tells what came of it */
  weft__link_drain(link, false);
}

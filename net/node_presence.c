/* Presence in the node: the core of presence.c between the links, the roster and the owner.
 *
 * A frame goes out when its link's turn comes and the stream takes more, ahead of what waits in the
 * session; until then what waits is the newest state, so a slow link carries less of it and never
 * older.  Statements of devices that are no members are passed over, coming in and in lists.
 *
 * A stream that stood still gives what was said long ago as if it were new.  On a link that works
 * something comes with every heartbeat, if only the answer to ours; so after a longer silence
 * whatever comes counts as older by that silence, until a PONG answers a PING of now. */
#include <string.h>

#include "net/node_internal.h"

enum { update_ms = 50 /* 20 a second */, slack_ms = 1000 /* for the answer to a PING */ };

static uint64_t clock_of(const weft_node *n) { return n->source.clock(n->source.ctx); }

static bool is_member(const weft_node *n, const weft_id *device) {
  return weft__roster_member_of(weft__node_roster(n), device) != NULL;
}

weft_err weft__present_begin(weft_node *n) {
  weft_presence_options o = {.mem = n->mem,
                             .crypto = n->crypto,
                             .identity = &n->identity,
                             .space = n->o.space,
                             .heartbeat_ms = n->o.heartbeat_ms,
                             .gone_ms = n->o.dead_ms,
                             .update_ms = update_ms};
  return weft__presence_new(&n->presence, &o);
}

void weft__present_run(weft_node *n) {
  weft_presence_event e;
  weft__presence_tick(n->presence, n->now, clock_of(n));
  while (weft__presence_event_next(n->presence, &e)) {
    weft_node_action a = {.kind = WEFT_NODE_NOTE, .note = e.kind, .device = e.device};
    a.text = e.doc;
    a.data = e.session;
    (void)!weft__node_push(n, &a);
  }
}

weft_ms weft__present_deadline(const weft_node *n) {
  return n->stopping ? WEFT_NEVER : weft__presence_deadline(n->presence);
}

void weft__present_up(weft_link *link) {
  weft__presence_link_up(link->node->presence, link->conn, &link->device);
}

void weft__present_down(weft_link *link) {
  weft__presence_link_down(link->node->presence, link->conn);
}

weft_ms weft__present_due(const weft_link *link) {
  if (link->queued >= WEFT_LINK_QUEUED_MAX) return WEFT_NEVER;
  return weft__presence_due(link->node->presence, link->conn);
}

void weft__present_send(weft_link *link) {
  weft_node *n = link->node;
  weft_msg_presence m;
  weft_arena arena;
  if (n->now < weft__present_due(link)) return;
  weft__arena_init(&arena, &n->mem);
  if (weft__presence_next(n->presence, n->now, link->conn, &arena, &m)) {
    weft_buf body = weft__link_body(link);
    weft__msg_presence_put(&body, &m);
    weft__link_send(link, WEFT_FRAME_PRESENCE, &body);
  }
  weft__arena_free(&arena);
}

void weft__present_heard(weft_link *link, weft_ms silence) {
  if (link->state != WEFT_LINK_OPEN || silence <= link->node->o.heartbeat_ms + slack_ms) return;
  if (silence > link->doubt_ms) link->doubt_ms = silence;
  weft__link_ask(link);
}

weft_err weft__present_receive(weft_link *link, weft_arena *arena, weft_bytes body) {
  weft_node *n = link->node;
  weft_msg_presence m;
  WEFT_TRY(weft__msg_presence_read(arena, body, &m));
  if (m.direct_told) {
    WEFT_TRY(weft__presence_direct(n->presence, link->conn, m.direct, m.direct_count));
  }
  for (size_t i = 0; i < m.count; i++) {
    if (!is_member(n, &m.at[i].device)) continue;
    weft_msg_statement s = m.at[i];
    s.age_ms = (uint32_t)weft__min_ms(s.age_ms + link->doubt_ms, UINT32_MAX);
    weft_err err = weft__presence_take(n->presence, n->now, link->conn, &s);
    if (err == WEFT_EBADSIG) {
      weft__link_fail(link, err, WEFT_CODE_BAD_SIG, WEFT_FRAME_PRESENCE);
      return WEFT_OK;
    }
    if (err != WEFT_OK) return err;
  }
  n->settle = true;
  return WEFT_OK;
}

void weft__present_stop(weft_node *n) {
  weft__presence_leave_all(n->presence, n->now, clock_of(n));
  for (size_t i = 0; i < n->link_count; i++) {
    if (n->links[i]->state == WEFT_LINK_OPEN) weft__present_send(n->links[i]);
  }
  weft__present_run(n);
}

/* --- for the owner --- */

weft_err weft_node_presence_set(weft_node *n, weft_ms now, const weft_presence_session *s) {
  weft__node_enter(n, now);
  return weft__presence_set(n->presence, now, s);
}

weft_err weft_node_presence_leave(weft_node *n, weft_ms now, weft_bytes session, weft_bytes doc) {
  weft__node_enter(n, now);
  return weft__presence_leave(n->presence, now, session, doc);
}

weft_err weft_node_presence(const weft_node *n, weft_arena *arena, weft_present **out,
                            size_t *count) {
  size_t all = 0;
  weft_present *list;
  *out = NULL;
  *count = 0;
  WEFT_TRY(weft__presence_list(n->presence, n->now, arena, &list, &all));
  for (size_t i = 0; i < all; i++) {
    if (is_member(n, &list[i].device)) list[(*count)++] = list[i];
  }
  *out = list;
  return WEFT_OK;
}

/* Links and addresses, as people and programs see them. */
#include <string.h>

#include "net/node_internal.h"

static weft_peer_state state_of(const weft_link *link) {
  switch (link->state) {
  case WEFT_LINK_DIALLING: return WEFT_PEER_DIALLING;
  case WEFT_LINK_HANDSHAKE:
  case WEFT_LINK_JOINING: return WEFT_PEER_HANDSHAKE;
  case WEFT_LINK_PROVING: return WEFT_PEER_PROVING;
  case WEFT_LINK_GREETING: return WEFT_PEER_SYNCING;
  case WEFT_LINK_OPEN:
    return weft__sync_is_done(link) && link->ask_count == 0 && link->serve_count == 0
               ? WEFT_PEER_LIVE
               : WEFT_PEER_SYNCING;
  case WEFT_LINK_CLOSING:
  case WEFT_LINK_ENDED: break;
  }
  return WEFT_PEER_OFFLINE;
}

/* Changes that `a` covers and `b` does not. */
static uint64_t beyond(const weft_vector *a, const weft_vector *b) {
  uint64_t sum = 0;
  for (size_t i = 0; i < a->count; i++) {
    uint64_t seq = weft__vector_seq(b, &a->heads[i].log);
    if (a->heads[i].seq > seq) sum += a->heads[i].seq - seq;
  }
  return sum;
}

static const weft_dial *dial_of(const weft_node *n, const weft_link *link) {
  for (size_t i = 0; i < n->dial_count; i++) {
    if (n->dials[i]->conn == link->conn) return n->dials[i];
  }
  return NULL;
}

static void link_fill(const weft_node *n, const weft_link *link, weft_node_peer *out) {
  out->state = state_of(link);
  out->known = link->known != NULL;
  out->device = link->device;
  if (link->known) out->name = link->known->name;
  out->address = link->remote;
  out->outbound = link->initiator;
  out->in_step = link->in_step;
  if (link->state == WEFT_LINK_OPEN) {
    const weft_vector *held = weft__node_held(n);
    out->have = link->in_step ? 0 : beyond(held, &link->theirs);
    out->need = beyond(&link->theirs, held);
  }
  out->sent = link->sent;
  out->received = link->received;
  if (link->session) {
    weft_session_stats stats = weft_session_stats_of(link->session);
    out->bytes_in = stats.bytes_in;
    out->bytes_out = stats.bytes_out;
  }
  out->round_trip_ms = link->round_trip_ms;
  out->clock_offset_ms = link->clock_offset_ms;
  out->last_heard = link->last_in;
  out->roots_heard = link->roots_heard;
  out->next_try = WEFT_NEVER;
  out->last_error = link->why;
  out->paused = weft_node_is_paused(n, out->known ? &out->device : NULL);
  const weft_dial *d = dial_of(n, link);
  if (!d) return;
  out->attempts = d->attempts;
  if (d->known) {
    out->known = true;
    out->device = d->device;
  }
  if (out->last_error == WEFT_OK) out->last_error = d->last_error;
}

static void dial_fill(const weft_node *n, const weft_dial *d, weft_node_peer *out) {
  out->state = WEFT_PEER_OFFLINE;
  out->known = d->known;
  out->device = d->device;
  out->address = d->text;
  out->outbound = true;
  out->paused = weft_node_is_paused(n, d->known ? &d->device : NULL);
  out->attempts = d->attempts;
  out->last_error = d->last_error;
  bool linked = d->known && weft__node_link_to(n, &d->device);
  bool tried = !d->done && !d->self && !linked && (d->given || d->known) && !out->paused;
  if (weft__dial_given_up(n, d)) tried = false;
  out->next_try = tried ? d->next_try : WEFT_NEVER;
  for (size_t i = 0; d->known && i < n->known_count; i++) {
    if (weft_id_cmp(&n->knowns[i]->device, &d->device) == 0) out->name = n->knowns[i]->name;
  }
}

weft_err weft_node_peers(const weft_node *n, weft_arena *arena, weft_node_peer **out,
                         size_t *count) {
  *out = NULL;
  *count = 0;
  weft_node_peer *list = weft__arena_zero(arena, n->link_count + n->dial_count, sizeof *list);
  if (!list) return WEFT_ENOMEM;
  for (size_t i = 0; i < n->link_count; i++) link_fill(n, n->links[i], &list[(*count)++]);
  for (size_t i = 0; i < n->dial_count; i++) {
    const weft_dial *d = n->dials[i];
    bool shown = d->conn || d->self;
    if (!shown) dial_fill(n, d, &list[(*count)++]);
  }
  *out = list;
  return WEFT_OK;
}

/* The most that some member lacks of what this device wrote. */
static weft_err pending_of(const weft_node *n, uint64_t *out) {
  weft_arena arena;
  weft_node_acked *list;
  size_t count;
  *out = 0;
  weft__arena_init(&arena, &n->mem);
  weft_err err = weft_node_acked_list(n, &arena, &list, &count);
  for (size_t i = 0; err == WEFT_OK && i < count; i++) {
    if (list[i].pending > *out) *out = list[i].pending;
  }
  weft__arena_free(&arena);
  return err;
}

static weft_err sessions_of(const weft_node *n, size_t *count) {
  weft_arena arena;
  weft_present *list;
  weft__arena_init(&arena, &n->mem);
  weft_err err = weft_node_presence(n, &arena, &list, count);
  weft__arena_free(&arena);
  return err;
}

weft_err weft_node_measure(const weft_node *n, weft_metrics *m) {
  uint64_t pending, links = 0, ordered = 0, urgent = 0, stream = 0;
  size_t sessions;
  WEFT_TRY(pending_of(n, &pending));
  WEFT_TRY(sessions_of(n, &sessions));
  for (size_t i = 0; i < n->link_count; i++) {
    const weft_link *link = n->links[i];
    links += link->state == WEFT_LINK_OPEN;
    stream += link->queued;
    if (!link->session) continue;
    weft_session_stats stats = weft_session_stats_of(link->session);
    ordered += stats.unsent - stats.urgent;
    urgent += stats.urgent;
  }
  weft__gauge(m, WEFT_METRIC_PENDING, pending);
  weft__gauge(m, WEFT_METRIC_LINKS, links);
  weft__gauge(m, WEFT_METRIC_SESSIONS, sessions);
  weft__gauge(m, WEFT_METRIC_QUEUE_SESSION, ordered);
  weft__gauge(m, WEFT_METRIC_QUEUE_URGENT, urgent);
  weft__gauge(m, WEFT_METRIC_QUEUE_STREAM, stream);
  weft__gauge(m, WEFT_METRIC_QUEUE_HOLD, n->pieces.len + n->holding.len + n->record_len);
  weft__gauge(m, WEFT_METRIC_QUEUE_ACTIONS, n->action_count);
  weft__gauge(m, WEFT_METRIC_MEMORY, weft__node_memory(n));
  return WEFT_OK;
}

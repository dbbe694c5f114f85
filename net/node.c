/* The node as a whole: events in, actions out, time.
 *
 * An event changes the node and sets `settle`; weft_node_next first settles what follows from it -
 * dials, records, chunks to hold, acknowledgements, questions - then gives the queued actions, then
 * what the links have to send, a few records a link and turn.
 *
 * Invariants: what an action shows lives until the next call; a link sends CLOSE exactly once and
 * is freed by the owner's word alone; a SEND is made from what was durable when it was made.
 * Failure modes: without memory a link is closed, and what it did not get comes over another. */
#include "net/node.h"

#include <string.h>

#include "crdt/assert.h"
#include "crdt/ticket.h"
#include "net/node_internal.h"

/* --- memory --- */

weft_ms weft__min_ms(weft_ms a, weft_ms b) { return a < b ? a : b; }

weft_err weft__node_copy(weft_node *n, weft_bytes bytes, weft_bytes *copy) {
  *copy = weft_bytes_of(NULL, 0);
  if (bytes.len == 0) return WEFT_OK;
  uint8_t *at = n->mem.alloc(n->mem.ctx, bytes.len);
  if (!at) return WEFT_ENOMEM;
  memcpy(at, bytes.at, bytes.len);
  *copy = weft_bytes_of(at, bytes.len);
  return WEFT_OK;
}

/* `bytes` was made by weft__node_copy, so what it points to is ours to free. */
void weft__node_drop(weft_node *n, weft_bytes *bytes) {
  union {
    const uint8_t *shown;
    void *owned;
  } at = {bytes->at};
  if (bytes->len) n->mem.free(n->mem.ctx, at.owned);
  *bytes = weft_bytes_of(NULL, 0);
}

weft_err weft__node_grow(weft_node *n, void **at, size_t *cap, size_t need, size_t size) {
  if (need <= *cap) return WEFT_OK;
  size_t wide = *cap ? *cap * 2 : 8;
  while (wide < need) wide *= 2;
  void *grown = n->mem.grow(n->mem.ctx, *at, wide * size);
  if (!grown) return WEFT_ENOMEM;
  *at = grown;
  *cap = wide;
  return WEFT_OK;
}

size_t weft__node_memory(const weft_node *n) {
  size_t sum = n->pieces.len + n->holding.len + n->record_len;
  for (size_t i = 0; i < n->link_count; i++) {
    const weft_link *link = n->links[i];
    sum += link->tx.cap + link->theirs.cap * sizeof(weft_head);
    sum += (link->blocked_cap + link->lack_cap) * sizeof(weft_id);
    if (!link->session) continue;
    weft_session_stats stats = weft_session_stats_of(link->session);
    sum += stats.unsent + stats.partial;
  }
  return sum;
}

/* --- actions --- */

static void queued_free(weft_node *n, weft_queued *q) {
  for (size_t i = 0; i < sizeof q->owned / sizeof *q->owned; i++) {
    if (q->owned[i]) n->mem.free(n->mem.ctx, q->owned[i]);
  }
  memset(q, 0, sizeof *q);
}

static weft_err queued_own(weft_node *n, weft_queued *q, size_t place, weft_bytes *bytes) {
  weft_bytes copy;
  WEFT_TRY(weft__node_copy(n, *bytes, &copy));
  union {
    const uint8_t *shown;
    void *owned;
  } at = {copy.at};
  q->owned[place] = at.owned;
  *bytes = copy;
  return WEFT_OK;
}

/* Doubles the ring of actions; its items stay in order. */
static weft_err actions_grow(weft_node *n) {
  size_t cap = n->action_cap ? n->action_cap * 2 : 16;
  if (cap > WEFT_ACTIONS_MAX) return WEFT_EAGAIN;
  weft_queued *wide = n->mem.alloc(n->mem.ctx, cap * sizeof *wide);
  if (!wide) return WEFT_ENOMEM;
  for (size_t i = 0; i < n->action_count; i++) {
    wide[i] = n->actions[(n->action_first + i) % n->action_cap];
  }
  n->mem.free(n->mem.ctx, n->actions);
  n->actions = wide;
  n->action_first = 0;
  n->action_cap = cap;
  return WEFT_OK;
}

weft_err weft__node_push(weft_node *n, const weft_node_action *action) {
  if (n->action_count == n->action_cap) WEFT_TRY(actions_grow(n));
  weft_queued q = {.action = *action};
  weft_err err = queued_own(n, &q, 0, &q.action.data);
  if (err == WEFT_OK) err = queued_own(n, &q, 1, &q.action.text);
  if (err == WEFT_OK && action->redeem) {
    weft_bytes redeem = weft_bytes_of(action->redeem, sizeof *action->redeem);
    err = queued_own(n, &q, 2, &redeem);
    q.action.redeem = q.owned[2];
  }
  if (err != WEFT_OK) {
    queued_free(n, &q);
    return err;
  }
  n->actions[(n->action_first + n->action_count) % n->action_cap] = q;
  n->action_count++;
  return WEFT_OK;
}

static void count_note(weft_node *n, weft_node_note note) {
  weft__count(n->metrics, WEFT_METRIC_LINKS_OPENED, note == WEFT_NOTE_UP);
  weft__count(n->metrics, WEFT_METRIC_SYNCS, note == WEFT_NOTE_IN_STEP);
  weft__count(n->metrics, WEFT_METRIC_DIALS_FAILED, note == WEFT_NOTE_FAILED);
  weft__count(n->metrics, WEFT_METRIC_PEERS_REFUSED, note == WEFT_NOTE_REFUSED);
}

void weft__node_count_frame(weft_node *n, uint8_t type, size_t len, bool out) {
  if (!n->metrics) return;
  weft_metric of = WEFT_METRIC_FRAME_IN_VECTORS;
  if (type <= WEFT_FRAME_BYE) of = WEFT_METRIC_FRAME_IN_CONTROL;
  if (type >= WEFT_FRAME_AUTH_HAVE && type <= WEFT_FRAME_AUTH_REC)
    of = WEFT_METRIC_FRAME_IN_MEMBERS;
  if (type >= WEFT_FRAME_REDEEM && type <= WEFT_FRAME_REFUSE) of = WEFT_METRIC_FRAME_IN_MEMBERS;
  if (weft__frame_is_bulk(type) && type != WEFT_FRAME_AUTH_REC) of = WEFT_METRIC_FRAME_IN_CHANGES;
  if (type == WEFT_FRAME_ACK) of = WEFT_METRIC_FRAME_IN_ACKS;
  if (type == WEFT_FRAME_PRESENCE) of = WEFT_METRIC_FRAME_IN_PRESENCE;
  if (out) of += WEFT_METRIC_FRAME_OUT_CONTROL - WEFT_METRIC_FRAME_IN_CONTROL;
  weft__count(n->metrics, of, len);
}

/* A note that finds no place is lost; nothing rests on it. */
void weft__node_note(weft_node *n, weft_node_note note, const weft_id *device, weft_bytes text,
                     weft_err why) {
  weft_node_action a = {.kind = WEFT_NODE_NOTE, .note = note, .text = text, .why = why};
  count_note(n, note);
  if (device) a.device = *device;
  (void)!weft__node_push(n, &a);
}

/* --- links --- */

weft_link *weft__node_link(const weft_node *n, uint64_t conn) {
  size_t low = 0, high = n->link_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (n->links[middle]->conn < conn)
      low = middle + 1;
    else
      high = middle;
  }
  return low < n->link_count && n->links[low]->conn == conn ? n->links[low] : NULL;
}

weft_link *weft__node_link_to(const weft_node *n, const weft_id *device) {
  for (size_t i = 0; i < n->link_count; i++) {
    weft_link *link = n->links[i];
    if (weft__link_is_up(link) && weft_id_cmp(&link->device, device) == 0) return link;
  }
  return NULL;
}

weft_link *weft__node_link_new(weft_node *n, weft_bytes remote, bool initiator) {
  if (n->link_count >= n->o.links_max) return NULL;
  void *at = n->links;
  if (weft__node_grow(n, &at, &n->link_cap, n->link_count + 1, sizeof *n->links) != WEFT_OK) {
    return NULL;
  }
  n->links = at;
  weft_link *link = n->mem.alloc(n->mem.ctx, sizeof *link);
  if (!link) return NULL;
  memset(link, 0, sizeof *link);
  link->node = n;
  weft__buf_init(&link->tx, &n->mem, WEFT_LINK_TX_MAX);
  weft__buf_init(&link->early, &n->mem, WEFT_SESSION_CONTROL_MAX);
  weft__vector_init(&link->theirs, &n->mem);
  weft__arena_init(&link->serve_arena, &n->mem);
  if (weft__node_copy(n, remote, &link->remote) != WEFT_OK) {
    n->mem.free(n->mem.ctx, link);
    return NULL;
  }
  link->conn = n->conn_next++;
  weft__host_of(n, link->remote, link->host);
  link->initiator = initiator;
  link->made = link->last_in = link->last_out = link->moved = n->now;
  link->status_due = WEFT_NEVER;
  link->sweep_at = link->resync_at = WEFT_NEVER;
  link->grant_at = WEFT_NEVER;
  link->own_at = link->relay_at = link->express_at = n->ring_end;
  link->bucket = WEFT_FRAMES_BURST;
  link->bucket_at = n->now;
  link->window_out = WEFT_LINK_WINDOW;
  link->queued_allow = WEFT_LINK_QUEUED_FIRST;
  n->links[n->link_count++] = link;
  return link;
}

static void link_remove(weft_node *n, weft_link *link) {
  size_t i = 0;
  while (n->links[i] != link) i++;
  memmove(n->links + i, n->links + i + 1, (n->link_count - i - 1) * sizeof *n->links);
  n->link_count--;
  weft__hold_drop_link(n, link->conn);
  weft__link_free(link);
}

weft_known *weft__node_known(weft_node *n, const weft_id *device) {
  size_t low = 0, high = n->known_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (weft_id_cmp(&n->knowns[middle]->device, device) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  if (low < n->known_count && weft_id_cmp(&n->knowns[low]->device, device) == 0) {
    return n->knowns[low];
  }
  if (n->known_count >= WEFT_ROSTER_RECORDS_MAX) return NULL; /* defensive: rosters are full */
  void *at = n->knowns;
  if (weft__node_grow(n, &at, &n->known_cap, n->known_count + 1, sizeof *n->knowns) != WEFT_OK) {
    return NULL;
  }
  n->knowns = at;
  weft_known *known = n->mem.alloc(n->mem.ctx, sizeof *known);
  if (!known) return NULL;
  memset(known, 0, sizeof *known);
  known->device = *device;
  memmove(n->knowns + low + 1, n->knowns + low, (n->known_count - low) * sizeof *n->knowns);
  n->knowns[low] = known;
  n->known_count++;
  return known;
}

/* --- making and freeing --- */

void weft_node_options_init_sized(weft_node_options *o, size_t struct_size) {
  weft_node_options defaults = {
      .struct_size = struct_size,
      .mem = weft_alloc_libc(),
      .crypto = weft_crypto_sodium(),
      .gossip = true,
      .heartbeat_ms = 15000,
      .dead_ms = 45000,
      .dial_timeout_ms = 10000,
      .redial_cap_ms = 60000,
      .anti_entropy_ms = 30000,
      .relay_delay_ms = 50,
      .ack_delay_ms = 50,
      .memory_max = 64u << 20,
      .links_max = 256,
  };
  memcpy(o, &defaults, struct_size < sizeof defaults ? struct_size : sizeof defaults);
}

static bool options_ok(const weft_node_options *o) {
  bool complete = o->crypto && o->identity && o->epochs && o->epoch_count > 0 && o->source.held;
  if (!complete || o->name.len > WEFT_DEVICE_NAME_LEN_MAX) return false;
  if (o->listen_count > WEFT_MESSAGE_LISTEN_MAX || o->links_max == 0) return false;
  for (size_t i = 0; i < o->listen_count; i++) {
    if (o->listen[i].len == 0 || o->listen[i].len > WEFT_ADDRESS_LEN_MAX) return false;
  }
  return true;
}

static weft_err secrets_begin(weft_node *n, const weft_node_options *o) {
  size_t count = o->epoch_count;
  if (count > WEFT_GATE_SECRETS_MAX) return WEFT_ELIMIT;
  n->secrets = n->mem.alloc(n->mem.ctx, count * sizeof *n->secrets);
  if (!n->secrets) return WEFT_ENOMEM;
  weft_epoch newest;
  memcpy(newest.b, o->epochs[0].id, sizeof newest.b);
  for (size_t i = 0; i < count; i++) {
    weft_epoch epoch;
    weft_epoch_keys keys;
    memcpy(epoch.b, o->epochs[i].id, sizeof epoch.b);
    weft__epoch_keys_derive(&keys, n->crypto, &o->epochs[i].secret);
    weft_session_secret_member(&n->secrets[i], &o->space, &keys, epoch, newest);
    weft__epoch_keys_wipe(&keys, n->crypto);
  }
  n->secret_count = n->epoch_count = count;
  n->epoch = o->epochs[0];
  return weft_gate_set(n->gate, n->secrets, count);
}

/* How many changes are shown: moves with the shown vector, and costs no hash. */
static uint64_t shown_sum(const weft_node *n) {
  const weft_vector *shown = n->source.shown(n->source.ctx);
  uint64_t sum = 0;
  for (size_t i = 0; i < shown->count; i++) sum += shown->heads[i].seq;
  return sum;
}

static weft_err node_begin(weft_node *n, const weft_node_options *o) {
  WEFT_TRY(weft_gate_new(&n->gate, &n->mem, n->crypto));
  WEFT_TRY(secrets_begin(n, o));
  WEFT_TRY(weft__node_copy(n, o->name, &n->name));
  for (size_t i = 0; i < o->listen_count; i++) {
    WEFT_TRY(weft__node_copy(n, o->listen[i], &n->listen[i]));
    n->listen_count++;
  }
  n->ring = n->mem.alloc(n->mem.ctx, WEFT_RING_MAX * sizeof *n->ring);
  n->hosts = n->mem.alloc(n->mem.ctx, WEFT_HOSTS_MAX * sizeof *n->hosts);
  if (!n->ring || !n->hosts) return WEFT_ENOMEM;
  n->arrival = n->source.arrival(n->source.ctx);
  WEFT_TRY(weft__vector_copy(&n->remote, weft__node_held(n)));
  weft__roster_root(weft__node_roster(n), n->auth_root);
  n->roots_stale = true;
  n->shown_sum = shown_sum(n);
  WEFT_TRY(weft__present_begin(n));
  return weft__ack_load(n);
}

weft_err weft_node_new(weft_node **out, const weft_node_options *options, weft_ms now,
                       weft_ms wall) {
  *out = NULL;
  weft_node_options o;
  weft_node_options_init(&o);
  size_t known = options->struct_size < sizeof o ? options->struct_size : sizeof o;
  memcpy(&o, options, known);
  if (!options_ok(&o)) return WEFT_EMISUSE;
  weft_node *n = o.mem.alloc(o.mem.ctx, sizeof *n);
  if (!n) return WEFT_ENOMEM;
  memset(n, 0, sizeof *n);
  n->o = o;
  n->mem = o.mem;
  n->crypto = o.crypto;
  n->identity = *o.identity;
  n->source = o.source;
  n->metrics = o.metrics;
  n->now = now;
  n->wall = wall;
  n->conn_next = n->ticket_next = 1;
  n->hold_pause_until = 0;
  n->ack_due = n->ack_store_at = n->ack_relay_at = WEFT_NEVER;
  weft__draw_init(&n->draw, n->crypto, o.seed);
  n->boot = weft__draw_between(&n->draw, 1, UINT64_MAX);
  weft__vector_init(&n->remote, &n->mem);
  weft__ack_table_init(&n->acks, &n->mem);
  weft_err err = node_begin(n, &o);
  if (err != WEFT_OK) {
    weft_node_free(n);
    return err;
  }
  *out = n;
  return WEFT_OK;
}

static void tables_free(weft_node *n) {
  weft_alloc mem = n->mem;
  for (size_t i = 0; i < n->known_count; i++) {
    weft__node_drop(n, &n->knowns[i]->name);
    mem.free(mem.ctx, n->knowns[i]);
  }
  for (size_t i = 0; i < n->dial_count; i++) {
    weft__node_drop(n, &n->dials[i]->text);
    mem.free(mem.ctx, n->dials[i]);
  }
  for (size_t i = 0; i < n->listen_count; i++) weft__node_drop(n, &n->listen[i]);
  weft__node_drop(n, &n->name);
  mem.free(mem.ctx, n->knowns);
  mem.free(mem.ctx, n->dials);
  mem.free(mem.ctx, n->links);
  mem.free(mem.ctx, n->hosts);
  mem.free(mem.ctx, n->ring);
  if (n->secrets) n->crypto->wipe(n->secrets, n->secret_count * sizeof *n->secrets);
  mem.free(mem.ctx, n->secrets);
}

void weft_node_free(weft_node *n) {
  if (!n) return;
  while (n->link_count) link_remove(n, n->links[n->link_count - 1]);
  queued_free(n, &n->given);
  for (size_t i = 0; i < n->action_count; i++) {
    queued_free(n, &n->actions[(n->action_first + i) % n->action_cap]);
  }
  n->mem.free(n->mem.ctx, n->actions);
  weft__hold_free(n);
  weft__ack_free(n);
  weft__presence_free(n->presence);
  weft__ack_table_free(&n->acks);
  weft__vector_free(&n->remote);
  tables_free(n);
  weft_gate_free(n->gate);
  weft_alloc mem = n->mem;
  n->crypto->wipe(n, sizeof *n);
  mem.free(mem.ctx, n);
}

weft_err weft_node_set_invites(weft_node *n, const weft_node_invite *invites, size_t count) {
  if (count > WEFT_GATE_SECRETS_MAX - n->epoch_count) return WEFT_ELIMIT;
  size_t all = n->epoch_count + count;
  weft_session_secret *secrets = n->mem.alloc(n->mem.ctx, all * sizeof *secrets);
  if (!secrets) return WEFT_ENOMEM;
  memcpy(secrets, n->secrets, n->epoch_count * sizeof *secrets);
  for (size_t i = 0; i < count; i++) {
    weft_session_secret_join(&secrets[n->epoch_count + i], &n->o.space, &invites[i].join,
                             &invites[i].tag);
  }
  weft_err err = weft_gate_set(n->gate, secrets, all);
  weft_session_secret *drop = err == WEFT_OK ? n->secrets : secrets;
  size_t drop_count = err == WEFT_OK ? n->secret_count : all;
  if (err == WEFT_OK) {
    n->secrets = secrets;
    n->secret_count = all;
  }
  n->crypto->wipe(drop, drop_count * sizeof *drop);
  n->mem.free(n->mem.ctx, drop);
  return err;
}

/* --- the replica as it is now --- */

static bool anybody_listens(const weft_node *n) {
  for (size_t i = 0; i < n->link_count; i++) {
    if (n->links[i]->state == WEFT_LINK_OPEN) return true;
  }
  return false;
}

/* Our own runs are pushed at once; what a HOLD brought in waits for the hold-off. */
static void ring_add(weft_node *n, const weft_source_span *span) {
  weft_recent *r = &n->ring[n->ring_end % WEFT_RING_MAX];
  bool own = !weft__vector_covers(&n->remote, &span->log, span->to);
  uint8_t lane = n->source.lane(n->source.ctx, &span->log);
  *r = (weft_recent){span->log, span->branch, span->from, span->to, own, lane, 0, n->now};
  n->ring_end++;
  if (!own || n->probe.seq || !n->metrics || !anybody_listens(n)) return;
  n->probe.log = span->log;
  n->probe.seq = span->to;
  n->probe.at = n->now;
}

static void look_at_arrivals(weft_node *n) {
  uint64_t now = n->source.arrival(n->source.ctx);
  if (now == n->arrival) return;
  weft_arena arena;
  weft__arena_init(&arena, &n->mem);
  while (n->arrival < now) {
    weft_source_span *spans;
    size_t count;
    uint64_t last = now;
    weft__arena_reset(&arena);
    if (n->source.arrivals(n->source.ctx, &arena, n->arrival, WEFT_SPANS_MAX, &spans, &count,
                           &last) != WEFT_OK ||
        last == n->arrival) {
      /* What cannot be read now is told by the sweeps of the links. */
      n->arrival = now;
      break;
    }
    for (size_t i = 0; i < count; i++) ring_add(n, &spans[i]);
    n->arrival = last;
  }
  weft__arena_free(&arena);
}

void weft__node_look(weft_node *n) {
  uint8_t root[16];
  uint64_t arrival = n->arrival, shown = shown_sum(n);
  look_at_arrivals(n);
  weft__roster_root(weft__node_roster(n), root);
  bool roster = memcmp(root, n->auth_root, sizeof root) != 0;
  bool moved = n->arrival != arrival || shown != n->shown_sum;
  memcpy(n->auth_root, root, sizeof root);
  n->linked_stale |= roster;
  n->shown_sum = shown;
  n->roots_stale |= moved;
  n->settle = true;
  for (size_t i = 0; i < n->link_count && (moved || roster); i++) {
    if (moved) n->links[i]->in_step = false; /* until the next comparison */
    if (roster) weft__link_roster(n->links[i]);
    weft__link_status_soon(n->links[i]);
  }
  bool due = (moved || roster) && n->ack_due == WEFT_NEVER && !n->stopping;
  if (due && anybody_listens(n)) n->ack_due = n->now + weft__ack_delay(n);
}

void weft__node_roots(weft_node *n) {
  if (!n->roots_stale) return;
  const weft_vector *held = weft__node_held(n), *shown = n->source.shown(n->source.ctx);
  weft__vector_root(held, n->crypto, n->held_root);
  if (weft__vector_equal(held, shown))
    memcpy(n->shown_root, n->held_root, sizeof n->shown_root);
  else
    weft__vector_root(shown, n->crypto, n->shown_root);
  n->roots_stale = false;
}

void weft__node_links_moved(weft_node *n) {
  n->linked_stale = true;
  if (n->link_count < 2 || n->stopping) return; /* there is nobody else to tell */
  for (size_t i = 0; i < n->link_count; i++) weft__link_status_soon(n->links[i]);
}

void weft__node_linked(weft_node *n) {
  const weft_roster *roster = weft__node_roster(n);
  const weft_roster_member *members;
  size_t count;
  if (!n->linked_stale) return;
  weft__roster_members(roster, &members, &count);
  n->linked_stale = false;
  n->linked_len = 0;
  memset(n->linked, 0, sizeof n->linked);
  if (count > sizeof n->linked * 8) return;
  for (size_t i = 0; i < n->link_count; i++) {
    const weft_link *link = n->links[i];
    const weft_roster_member *m = weft__roster_member_of(roster, &link->device);
    if (link->state != WEFT_LINK_OPEN || !m) continue;
    size_t place = (size_t)(m - members);
    n->linked[place / 8] |= (uint8_t)(1u << place % 8);
    if (n->linked_len <= place / 8) n->linked_len = place / 8 + 1;
  }
}

/* --- events --- */

void weft__node_enter(weft_node *n, weft_ms now) {
  WEFT_ASSERT(now >= n->now);
  n->wall += now - n->now;
  n->now = now;
  n->settle = true;
}

uint64_t weft_node_accepted(weft_node *n, weft_ms now, weft_bytes remote, bool loopback) {
  weft__node_enter(n, now);
  if (n->stopping || n->paused_all || !weft__accept_allowed(n, remote, loopback)) return 0;
  weft_link *link = weft__node_link_new(n, remote, false);
  if (!link) return 0;
  weft_session_options o;
  weft_session_options_init(&o);
  o.mem = &n->mem;
  o.crypto = n->crypto;
  o.identity = &n->identity;
  o.now = now;
  o.unix_ms = n->wall;
  o.gate = n->gate;
  o.drop_delay_ms = weft__accept_delay(n);
  o.lifetime_ms = weft__draw_between(&n->draw, WEFT_SESSION_LIFETIME_MS / 10 * 9,
                                     WEFT_SESSION_LIFETIME_MS / 10 * 11);
  weft__draw_bytes(&n->draw, o.ephemeral.b, sizeof o.ephemeral.b);
  link->loopback = loopback;
  link->state = WEFT_LINK_HANDSHAKE;
  weft_err err = weft_session_new(&link->session, &o);
  n->crypto->wipe(&o.ephemeral, sizeof o.ephemeral);
  if (err == WEFT_OK) return link->conn;
  link_remove(n, link);
  return 0;
}

static const weft_id *dial_target(const weft_node *n, const weft_link *link) {
  for (size_t i = 0; i < n->dial_count; i++) {
    const weft_dial *d = n->dials[i];
    if (d->conn == link->conn && d->known && !d->given) return &d->device;
  }
  return NULL;
}

void weft_node_dialled(weft_node *n, weft_ms now, uint64_t conn, weft_err result) {
  weft__node_enter(n, now);
  weft_link *link = weft__node_link(n, conn);
  if (!link || link->state != WEFT_LINK_DIALLING) return;
  if (result != WEFT_OK) {
    weft__dial_ended(n, link, result);
    link_remove(n, link);
    return;
  }
  weft_session_options o;
  weft_session_options_init(&o);
  o.mem = &n->mem;
  o.crypto = n->crypto;
  o.identity = &n->identity;
  o.now = now;
  o.unix_ms = n->wall;
  o.secret = &n->secrets[0];
  o.target = dial_target(n, link);
  o.lifetime_ms = weft__draw_between(&n->draw, WEFT_SESSION_LIFETIME_MS / 10 * 9,
                                     WEFT_SESSION_LIFETIME_MS / 10 * 11);
  weft__draw_bytes(&n->draw, o.ephemeral.b, sizeof o.ephemeral.b);
  link->state = WEFT_LINK_HANDSHAKE;
  link->last_in = link->last_out = link->moved = link->shake_now = now;
  weft_err err = weft_session_new(&link->session, &o);
  n->crypto->wipe(&o.ephemeral, sizeof o.ephemeral);
  if (err != WEFT_OK) weft__link_fail(link, err, 0, 0);
}

void weft_node_received(weft_node *n, weft_ms now, weft_ms wall, uint64_t conn, weft_bytes bytes) {
  weft__node_enter(n, now);
  n->wall = wall;
  weft_link *link = weft__node_link(n, conn);
  if (!link || !link->session || link->state == WEFT_LINK_ENDED) return;
  weft__present_heard(link, now - link->last_in);
  link->last_in = now;
  if (!link->established && link->shake_now != now) {
    link->shake_at = link->shake_now;
    link->shake_now = now;
  }
  weft__count(n->metrics,
              link->initiator ? WEFT_METRIC_LINK_IN_DIALLED : WEFT_METRIC_LINK_IN_ACCEPTED,
              bytes.len);
  while (bytes.len > 0 && link->state != WEFT_LINK_ENDED) {
    size_t used;
    (void)!weft_session_feed(link->session, now, bytes, &used); /* CLOSE tells what went wrong */
    weft__link_drain(link, false);
    bytes = weft_bytes_of(bytes.at + used, bytes.len - used);
  }
}

void weft_node_written(weft_node *n, weft_ms now, uint64_t conn, size_t queued) {
  weft__node_enter(n, now);
  weft_link *link = weft__node_link(n, conn);
  if (!link) return;
  if (queued < link->queued || queued == 0) link->moved = now;
  weft__link_written(link, queued);
}

static void link_down(weft_node *n, weft_link *link) {
  n->probe.seq = 0; /* what is acknowledged after a pause tells of the pause */
  weft__present_down(link);
  weft__hold_drop_link(n, link->conn);
  link->ask_count = 0;
  for (size_t i = 0; i < n->link_count; i++) n->links[i]->plan = true;
  if (link->up_told) {
    link->up_told = false;
    weft__node_links_moved(n);
    weft__node_note(n, WEFT_NOTE_DOWN, &link->device, link->remote, link->why);
  }
}

void weft_node_closed(weft_node *n, weft_ms now, uint64_t conn, weft_err why) {
  weft__node_enter(n, now);
  weft_link *link = weft__node_link(n, conn);
  if (!link) return;
  if (link->why == WEFT_OK) link->why = link->got_bye ? WEFT_EDONE : why;
  link_down(n, link);
  weft__dial_ended(n, link, link->why);
  link_remove(n, link);
}

void weft_node_changed(weft_node *n, weft_ms now) {
  weft__node_enter(n, now);
  weft__node_look(n);
}

void weft_node_ask(weft_node *n, weft_ms now) {
  weft__node_enter(n, now);
  for (size_t i = 0; i < n->link_count; i++) weft__link_ask(n->links[i]);
}

/* When a change of the network that is told now leads to a redial. */
static weft_ms redial_at(const weft_node *n) {
  if (!n->redialled || n->now >= n->redial_at + WEFT_REDIAL_MS) return n->now;
  return n->redial_at > n->now ? n->redial_at : n->redial_at + WEFT_REDIAL_MS;
}

void weft_node_network_changed(weft_node *n, weft_ms now) {
  weft__node_enter(n, now);
  n->redial_at = redial_at(n);
  n->redialled = true;
  for (size_t i = 0; i < n->dial_count; i++) {
    weft_dial *d = n->dials[i];
    if (d->conn || d->self) continue;
    d->attempts = 0;
    if (d->next_try > n->redial_at) d->next_try = n->redial_at;
  }
}

void weft_node_tick(weft_node *n, weft_ms now, weft_ms wall) {
  weft__node_enter(n, now);
  n->wall = wall;
  for (size_t i = 0; i < n->link_count; i++) weft__link_tick(n->links[i]);
}

weft_ms weft_node_deadline(const weft_node *n) {
  weft_ms at = n->settle ? n->now : WEFT_NEVER;
  at = weft__min_ms(at, weft__dial_deadline(n));
  at = weft__min_ms(at, weft__hold_deadline(n));
  at = weft__min_ms(at, weft__min_ms(n->ack_due, n->ack_store_at));
  at = weft__min_ms(at, n->ack_relay_at);
  at = weft__min_ms(at, weft__present_deadline(n));
  for (size_t i = 0; i < n->link_count; i++) {
    at = weft__min_ms(at, weft__link_deadline(n->links[i]));
  }
  return at;
}

void weft_node_stop(weft_node *n, weft_ms now) {
  weft__node_enter(n, now);
  n->stopping = true;
  n->ack_due = WEFT_NEVER;
  weft__ack_flush(n);
  weft__present_stop(n);
  for (size_t i = 0; i < n->link_count; i++) {
    weft__link_bye(n->links[i], WEFT_BYE_SHUTDOWN, WEFT_EDONE);
  }
}

/* --- actions out --- */

static void settle(weft_node *n) {
  n->settle = false;
  weft__dial_run(n);
  weft__record_run(n);
  weft__hold_run(n);
  weft__ack_run(n);
  weft__park_run(n);
  weft__present_run(n);
  for (size_t i = 0; i < n->link_count; i++) {
    weft_link *link = n->links[i];
    if (link->state != WEFT_LINK_OPEN) continue;
    if (link->plan) weft__sync_plan(link);
    weft__credit_run(link);
    if (link->check) weft__link_check_step(link);
  }
}

/* Gathers a few sealed records of a link into one SEND; false: it has nothing to say now. */
static bool link_next(weft_node *n, weft_link *link, weft_node_action *out) {
  if (link->tx_given) {
    link->tx_given = false;
    weft__buf_reset(&link->tx);
  }
  if (!link->session || link->state == WEFT_LINK_ENDED) return false;
  if (link->state == WEFT_LINK_OPEN) weft__present_send(link);
  if (link->state == WEFT_LINK_OPEN) weft__serve_run(link);
  weft__link_drain(link, weft__link_drains(link));
  if (link->tx.len == 0) return false;
  if (link->queued == 0) link->moved = n->now;
  link->tx_given = true;
  link->queued += link->tx.len;
  weft__count(n->metrics,
              link->initiator ? WEFT_METRIC_LINK_OUT_DIALLED : WEFT_METRIC_LINK_OUT_ACCEPTED,
              link->tx.len);
  link->last_out = n->now;
  *out = (weft_node_action){.kind = WEFT_NODE_SEND, .conn = link->conn};
  out->data = weft__buf_view(&link->tx);
  return true;
}

static bool link_close(weft_node *n, weft_link *link, weft_node_action *out) {
  if (!link->close_due || link->state == WEFT_LINK_ENDED) return false;
  link->state = WEFT_LINK_ENDED;
  link_down(n, link);
  *out = (weft_node_action){.kind = WEFT_NODE_CLOSE, .conn = link->conn, .why = link->why};
  return true;
}

static bool next_queued(weft_node *n, weft_node_action *out) {
  if (n->action_count == 0) return false;
  n->given = n->actions[n->action_first];
  n->action_first = (n->action_first + 1) % n->action_cap;
  n->action_count--;
  *out = n->given.action;
  return true;
}

static bool next_of_links(weft_node *n, weft_node_action *out) {
  for (size_t i = 0; i < n->link_count; i++) {
    weft_link *link = n->links[(n->turn + i) % n->link_count];
    if (!link_next(n, link, out) && !link_close(n, link, out)) continue;
    n->turn = (n->turn + i + 1) % n->link_count;
    return true;
  }
  return false;
}

bool weft_node_next(weft_node *n, weft_node_action *out) {
  queued_free(n, &n->given);
  memset(out, 0, sizeof *out);
  for (;;) {
    if (n->settle) settle(n);
    if (next_queued(n, out) || next_of_links(n, out)) return true;
    if (!n->settle) return false;
  }
}

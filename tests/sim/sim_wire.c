/* The network: connections that lose nothing but themselves, as TCP's do, and what an attacker on
 * the way can do to them.
 *
 * TCP gives each connection its bytes once and in order, so what is lost, doubled or late on the
 * line comes as delay; connections overtake each other.  Bytes that are changed, doubled or
 * swapped all the same come from somebody on the way: then the connection must be given up. */
#include "tests/sim/sim_internal.h"

enum {
  dead_after = 60000, /* heartbeats find a silent or broken connection dead in less */
  tape_max = 1 << 16
};

static wire *wire_new(sim *s) {
  if (s->wire_count == s->wire_cap) {
    s->wire_cap = s->wire_cap ? s->wire_cap * 2 : 64;
    s->wires = sim__must(s, realloc(s->wires, s->wire_cap * sizeof *s->wires));
  }
  wire *w = sim__must(s, calloc(1, sizeof *w));
  s->wires[s->wire_count++] = w;
  w->delay = s->o.delay_min + test_rng_below(&s->network, s->o.delay_max - s->o.delay_min + 1);
  return w;
}

/* What is kept of a connection that has ended is its tape. */
static void wire_trim(wire *w) {
  for (unsigned k = 0; k < 2; k++) {
    free(w->tap[k]);
    free(w->body[k]);
    free(w->late[k]);
    w->tap[k] = w->body[k] = w->late[k] = NULL;
    w->tap_len[k] = w->body_len[k] = w->late_len[k] = 0;
  }
}

void sim__wire_free(wire *w) {
  wire_trim(w);
  free(w->tape);
  free(w);
}

static bool side_lives(const sim *s, const wire *w, unsigned side) {
  if (w->node[side] == sim_nobody) return false;
  const peer *p = &s->peers[w->node[side]];
  return p->up && p->life == w->life[side] && !w->closed[side];
}

/* A node's own number leads to its connection. */
static void conn_note(sim *s, size_t node, uint64_t conn, uint64_t number) {
  peer *p = &s->peers[node];
  if (conn >= p->wire_cap) {
    size_t cap = p->wire_cap ? p->wire_cap * 2 : 16;
    while (cap <= conn) cap *= 2;
    p->wires = sim__must(s, realloc(p->wires, cap * sizeof *p->wires));
    memset(p->wires + p->wire_cap, 0, (cap - p->wire_cap) * sizeof *p->wires);
    p->wire_cap = cap;
  }
  p->wires[conn] = number + 1;
}

static wire *wire_of(sim *s, size_t node, uint64_t conn, unsigned *side, uint64_t *number) {
  const peer *p = &s->peers[node];
  if (conn >= p->wire_cap || p->wires[conn] == 0) return NULL;
  *number = p->wires[conn] - 1;
  wire *w = s->wires[*number];
  for (*side = 0; *side < 2; ++*side) {
    if (w->node[*side] == (int)node && w->conn[*side] == conn && w->life[*side] == p->life) {
      return w;
    }
  }
  return NULL;
}

/* Ends a connection for one side, now. */
static void side_close(sim *s, wire *w, unsigned side, weft_err why) {
  if (w->closed[side]) return;
  bool lives = side_lives(s, w, side);
  w->closed[side] = true;
  if (lives) weft_node_closed(s->peers[w->node[side]].node, s->now, w->conn[side], why);
  if (w->closed[0] && w->closed[1]) wire_trim(w);
}

void sim__wire_cut(sim *s, wire *w) {
  w->open = false;
  side_close(s, w, 0, WEFT_EIO);
  side_close(s, w, 1, WEFT_EIO);
}

void sim__wires_end(sim *s, size_t node, bool told) {
  for (size_t i = 0; i < s->wire_count; i++) {
    wire *w = s->wires[i];
    if (!w->open || (w->node[0] != (int)node && w->node[1] != (int)node)) continue;
    unsigned side = w->node[0] == (int)node ? 0 : 1;
    if (told || w->closed[!side] || w->node[!side] == sim_nobody) {
      sim__wire_cut(s, w);
      continue;
    }
    w->closed[side] = w->silent[side] = true;
    event e = {.kind = EVENT_DEAD, .wire = i, .side = !side, .at = s->now + dead_after};
    if (e.at < w->last_at[side] + dead_after) e.at = w->last_at[side] + dead_after;
    sim__event_add(s, &e);
  }
}

void sim__on_dead(sim *s, const event *e) {
  const wire *w = s->wires[e->wire];
  sim_check(s, SIM_I8);
  sim_check(s, SIM_I9);
  if (!side_lives(s, w, e->side)) return;
  sim_fail(s, "I8: %s keeps a connection that is dead", s->peers[w->node[e->side]].name);
}

static size_t node_of_address(const sim *s, weft_bytes text) {
  size_t node = 0;
  for (size_t i = 4; i < text.len && text.at[i] >= '0' && text.at[i] <= '9'; i++) {
    node = node * 10 + (size_t)(text.at[i] - '0');
  }
  return node < s->count ? node : 0;
}

void sim__address_text(size_t node, char out[32]) { snprintf(out, 32, "node%zu:7600", node); }

void sim__dial(sim *s, size_t node, const weft_node_action *a) {
  wire *w = wire_new(s);
  size_t to = node_of_address(s, a->text);
  w->node[0] = (int)node;
  w->node[1] = (int)to;
  w->life[0] = s->peers[node].life;
  w->conn[0] = a->conn;
  conn_note(s, node, a->conn, s->wire_count - 1);
  weft_ms there = s->stall[sim__pair(s, node, to)], back = s->stall[sim__pair(s, to, node)];
  event e = {.at = s->now + 2 * w->delay, .kind = EVENT_DIALLED, .wire = s->wire_count - 1};
  if (e.at < there) e.at = there;
  if (e.at < back) e.at = back;
  sim__event_add(s, &e);
}

/* Tells `node` of a connection from `from`; false when it does not want one. */
static bool accepted(sim *s, wire *w, uint64_t number, size_t node, size_t from) {
  char text[32];
  sim__address_text(from, text);
  w->life[1] = s->peers[node].life;
  w->conn[1] = weft_node_accepted(s->peers[node].node, s->now, weft_bytes_str(text), true);
  if (w->conn[1] != 0) conn_note(s, node, w->conn[1], number);
  return w->conn[1] != 0;
}

void sim__on_dialled(sim *s, const event *e) {
  wire *w = s->wires[e->wire];
  if (!side_lives(s, w, 0)) return;
  size_t a = (size_t)w->node[0], b = (size_t)w->node[1];
  bool refused = test_rng_below(&s->network, 1000) < s->o.refuse_permille;
  s->counts.refusals += refused;
  bool there =
      s->peers[b].up && !s->parted[sim__pair(s, a, b)] && !refused && accepted(s, w, e->wire, b, a);
  if (!there) {
    w->closed[0] = w->closed[1] = true;
    weft_node_dialled(s->peers[a].node, s->now, w->conn[0], WEFT_ETIMEOUT);
  } else {
    w->open = true;
    s->counts.connections++;
    weft_node_dialled(s->peers[a].node, s->now, w->conn[0], WEFT_OK);
    sim__pump(s, b);
  }
  sim__pump(s, a);
}

static void tape_add(sim *s, wire *w, weft_bytes bytes) {
  if (!s->o.tapes || w->tape_len + bytes.len > tape_max) return;
  w->tape = sim__must(s, realloc(w->tape, w->tape_len + bytes.len + 1));
  memcpy(w->tape + w->tape_len, bytes.at, bytes.len);
  w->tape_len += bytes.len;
}

void sim__send(sim *s, size_t node, const weft_node_action *a) {
  unsigned side;
  uint64_t number;
  wire *w = wire_of(s, node, a->conn, &side, &number);
  if (!w) sim_fail(s, "a SEND on no connection");
  sim__tap(s, w, side, a->data);
  sim__hash(s, a->data.at, a->data.len);
  s->counts.bytes += a->data.len;
  s->counts.segments++;
  if (side == 0) tape_add(s, w, a->data);
  event e = {.kind = EVENT_BYTES, .wire = number, .side = side, .len = a->data.len};
  e.bytes = sim__must(s, malloc(a->data.len));
  memcpy(e.bytes, a->data.at, a->data.len);
  weft_ms start = w->free_at[side] > s->now ? w->free_at[side] : s->now;
  uint64_t bandwidth = s->o.bandwidth, reads = 0;
  weft_ms stalled = 0;
  if (w->node[!side] != sim_nobody) {
    reads = s->peers[w->node[!side]].bandwidth;
    stalled = s->stall[sim__pair(s, node, (size_t)w->node[!side])];
  }
  if (reads && (!bandwidth || reads < bandwidth)) bandwidth = reads;
  weft_ms takes = bandwidth ? a->data.len * 1000 / bandwidth : 0;
  w->free_at[side] = start + takes;
  weft_ms delay = w->delay;
  const sim_policy *policy = &s->o.policy;
  if (policy->carry && w->node[!side] != sim_nobody) {
    size_t to = (size_t)w->node[!side];
    e.cuts = !policy->carry(policy->ctx, s->now, node, to, a->data.len, &delay);
  }
  e.at = start + takes + delay;
  if (e.at - s->now > s->counts.slowest_ms) s->counts.slowest_ms = e.at - s->now;
  if (e.at < stalled) e.at = stalled;
  if (e.at < w->last_at[side]) e.at = w->last_at[side];
  w->last_at[side] = e.at;
  w->flying[side] += a->data.len;
  sim__event_add(s, &e);
}

static void receive(sim *s, wire *w, unsigned to, weft_bytes bytes) {
  if (!side_lives(s, w, to)) return;
  size_t node = (size_t)w->node[to];
  weft_node_received(s->peers[node].node, s->now, sim_wall(s, node), w->conn[to], bytes);
}

/* Somebody on the way lays hands on a segment.  The receiver must give the connection up. */
static void mangle(sim *s, wire *w, uint64_t number, event *e) {
  unsigned chance = (unsigned)test_rng_below(&s->mangling, 1000), to = !e->side;
  unsigned corrupt = s->o.corrupt_permille, twice = corrupt + s->o.duplicate_permille;
  unsigned late = twice + s->o.reorder_permille;
  if (chance >= late || e->len == 0 || !side_lives(s, w, to)) return;
  if (chance < corrupt) {
    e->bytes[test_rng_below(&s->mangling, e->len)] ^= (uint8_t)(1u << (chance % 8));
    s->counts.corrupted++;
  } else if (chance < twice) {
    e->bytes = sim__must(s, realloc(e->bytes, 2 * e->len));
    memcpy(e->bytes + e->len, e->bytes, e->len);
    e->len *= 2;
    s->counts.duplicated++;
  } else if (!w->late[e->side]) {
    w->late[e->side] = e->bytes;
    w->late_len[e->side] = e->len;
    e->bytes = NULL;
    e->len = 0;
    s->counts.reordered++;
  }
  event dead = {.kind = EVENT_DEAD, .wire = number, .side = to, .at = s->now + dead_after};
  sim__event_add(s, &dead);
}

/* Bytes come in pieces that have nothing to do with what was sent. */
static void arrive(sim *s, wire *w, event *e) {
  unsigned to = !e->side;
  bool mangled = s->o.corrupt_permille + s->o.duplicate_permille + s->o.reorder_permille > 0;
  if (mangled) mangle(s, w, e->wire, e);
  size_t first = test_rng_below(&s->network, e->len + 1);
  receive(s, w, to, weft_bytes_of(e->bytes, first));
  const uint8_t *rest = first > 0 ? e->bytes + first : e->bytes; /* there may be none */
  receive(s, w, to, weft_bytes_of(rest, e->len - first));
  if (w->late[e->side] && e->len > 0) {
    receive(s, w, to, weft_bytes_of(w->late[e->side], w->late_len[e->side]));
    free(w->late[e->side]);
    w->late[e->side] = NULL;
  }
}

void sim__on_bytes(sim *s, event *e) {
  wire *w = s->wires[e->wire];
  unsigned to = !e->side;
  w->flying[e->side] -= e->len;
  if (!w->open) return;
  bool cut = test_rng_below(&s->network, 1000) < s->o.cut_permille;
  bool apart =
      w->node[0] != sim_nobody && s->parted[sim__pair(s, (size_t)w->node[0], (size_t)w->node[1])];
  /* Bytes for a life that is over are answered by its next one, if there is one, and by nobody
   * else. */
  if (w->silent[to] && !s->peers[w->node[to]].up) return;
  s->counts.cuts += cut;
  if (cut || apart || e->cuts || w->silent[to]) {
    if (w->node[0] != sim_nobody) {
      sim__trace(s, "%s - %s cut", s->peers[w->node[0]].name, s->peers[w->node[1]].name);
    }
    sim__wire_cut(s, w);
  } else {
    if (side_lives(s, w, to)) arrive(s, w, e);
    if (side_lives(s, w, e->side)) {
      weft_node_written(s->peers[w->node[e->side]].node, s->now, w->conn[e->side],
                        w->flying[e->side]);
    }
  }
  for (unsigned k = 0; k < 2; k++) {
    if (w->node[k] != sim_nobody) sim__pump(s, (size_t)w->node[k]);
  }
}

void sim__close(sim *s, size_t node, const weft_node_action *a) {
  unsigned side;
  uint64_t number;
  wire *w = wire_of(s, node, a->conn, &side, &number);
  if (!w) sim_fail(s, "a CLOSE of no connection");
  event e = {.kind = EVENT_CLOSED, .wire = number, .side = !side, .at = s->now + w->delay};
  if (e.at < w->last_at[side]) e.at = w->last_at[side];
  sim__event_add(s, &e);
  side_close(s, w, side, WEFT_OK);
}

void sim__on_closed(sim *s, const event *e) {
  wire *w = s->wires[e->wire];
  w->open = false;
  int node = w->node[e->side];
  side_close(s, w, e->side, WEFT_EDONE);
  if (node != sim_nobody && s->peers[node].up) sim__pump(s, (size_t)node);
}

/* What was recorded of a connection is sent to a node again, as if its dialler came back. */
bool sim_replay(sim *s, size_t node, test_rng *rng) {
  if (s->wire_count == 0 || !s->peers[node].up) return false;
  const wire *old = s->wires[test_rng_below(rng, s->wire_count)];
  if (old->tape_len == 0) return false;
  wire *w = wire_new(s);
  uint64_t number = s->wire_count - 1;
  w->node[0] = sim_nobody;
  w->node[1] = (int)node;
  w->closed[0] = true;
  if (!accepted(s, w, number, node, (size_t)old->node[0])) {
    w->closed[1] = true;
    return false;
  }
  w->open = true;
  sim__trace(s, "%s : hears %zu bytes again", s->peers[node].name, old->tape_len);
  event e = {.kind = EVENT_BYTES, .wire = number, .side = 0, .at = s->now + w->delay};
  e.len = w->flying[0] = old->tape_len;
  e.bytes = sim__must(s, malloc(e.len));
  memcpy(e.bytes, old->tape, e.len);
  sim__event_add(s, &e);
  event dead = {.kind = EVENT_DEAD, .wire = number, .side = 1, .at = s->now + dead_after};
  sim__event_add(s, &dead);
  sim__pump(s, node);
  return true;
}

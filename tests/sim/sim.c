#include "tests/sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/ack.h"
#include "crdt/chunk.h"
#include "net/frame.h"
#include "net/message.h"
#include "store/lmdb_store.h"
#include "tests/support/stand_in_crypto.h"

enum { trace_cap = 1 << 18, events_max = 1 << 20, prelude_len = 18 };

typedef enum event_kind {
  EVENT_TIMER,   /* a node's deadline */
  EVENT_DIALLED, /* the answer to a DIAL */
  EVENT_BYTES,   /* a segment arrives */
  EVENT_CLOSED,  /* the other side closed */
  EVENT_HELD,    /* a HOLD is carried out */
  EVENT_SHOW,
} event_kind;

typedef struct event {
  weft_ms at;
  uint64_t order; /* ties: in the order made */
  event_kind kind;
  size_t node;
  uint64_t life; /* of the node; an event of an earlier life is void */
  uint64_t wire;
  unsigned side;
  weft_err err;
  weft_node_action hold;
  uint8_t *bytes;
  size_t len;
} event;

/* One connection.  Side 0 dialled. */
typedef struct wire {
  bool open;
  size_t node[2];
  uint64_t life[2];
  uint64_t conn[2]; /* numbers the nodes gave */
  bool closed[2];   /* this side is gone */
  weft_ms delay;
  weft_ms free_at[2]; /* the way out of this side is free again */
  weft_ms last_at[2]; /* the last arrival at the other side */
  size_t flying[2];   /* bytes sent by this side and not arrived */
  uint8_t *tap[2];    /* plain: what this side sent and was not parsed */
  size_t tap_len[2];
  unsigned parsed[2]; /* Noise messages seen */
  uint8_t *body[2];   /* of a bulk frame that is not whole */
  size_t body_len[2];
} wire;

/* An allocator that counts bytes. */
typedef struct memory {
  size_t now, most;
} memory;

typedef struct peer {
  bool up;
  uint64_t life;
  weft_store *inner;
  test_fault_store faults;
  weft_replica *replica;
  weft_replica_source *source;
  weft_node *node;
  weft_ms timer; /* the earliest timer queued */
  bool showing;
  weft_vector promised; /* every head it ever sent */
  memory used;          /* by the node and its source */
  weft_store *backup;
  weft_ms clock_at, clock_wall;
  unsigned clock_permille;
  uint64_t bandwidth; /* of reading; 0 as the network */
} peer;

struct sim {
  sim_options o;
  test_rng rng;      /* for whoever uses the simulator */
  test_rng network;  /* delays, cuts, refusals */
  test_rng disk;     /* how long things take */
  test_rng restarts; /* what nodes are seeded with */
  test_space space;
  weft_crypto crypto; /* of the wire */
  weft_alloc mem;
  weft_node_epoch epoch;
  test_temp temp;
  peer peers[TEST_DEVICES_MAX];
  bool address[TEST_DEVICES_MAX][TEST_DEVICES_MAX];
  bool reach[TEST_DEVICES_MAX][TEST_DEVICES_MAX];
  bool met[TEST_DEVICES_MAX][TEST_DEVICES_MAX];
  weft_ms stall[TEST_DEVICES_MAX][TEST_DEVICES_MAX];
  weft_ms now;
  event *events; /* a heap */
  size_t event_count, event_cap;
  uint64_t order;
  wire **wires;
  size_t wire_count, wire_cap;
  uint64_t bytes, segments, hash, happened, cuts, refusals;
  char *trace;
  size_t trace_len;
};

static const weft_ms wall_start = 1750000000000;

/* --- telling --- */

void sim_fail(const sim *s, const char *format, ...) {
  va_list args;
  size_t from = s->trace_len > 4000 ? s->trace_len - 4000 : 0;
  fprintf(stderr, "%s\n", s->trace + from);
  fprintf(stderr, "seed=%llu event=%llu at %llu ms: ", (unsigned long long)s->o.seed,
          (unsigned long long)s->happened, (unsigned long long)s->now);
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fprintf(stderr, "\n");
  abort();
}

static void hash_add(sim *s, const void *at, size_t len) {
  const uint8_t *bytes = at;
  for (size_t i = 0; i < len; i++) s->hash = (s->hash ^ bytes[i]) * 0x100000001b3u;
}

static void trace_args(sim *s, const char *format, va_list args) {
  char line[512];
  int head = snprintf(line, sizeof line, "[%5llu] ", (unsigned long long)s->now);
  int len = vsnprintf(line + head, sizeof line - (size_t)head - 2, format, args) + head;
  if (len > (int)sizeof line - 2) len = (int)sizeof line - 2;
  line[len++] = '\n';
  hash_add(s, line, (size_t)len);
  if (s->trace_len + (size_t)len + 1 > trace_cap) {
    size_t keep = trace_cap / 2;
    memmove(s->trace, s->trace + s->trace_len - keep, keep);
    s->trace_len = keep;
  }
  memcpy(s->trace + s->trace_len, line, (size_t)len);
  s->trace_len += (size_t)len;
  s->trace[s->trace_len] = 0;
}

static void trace(sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void trace(sim *s, const char *format, ...) {
  va_list args;
  va_start(args, format);
  trace_args(s, format, args);
  va_end(args);
}

void sim_say(sim *s, const char *format, ...) {
  va_list args;
  va_start(args, format);
  trace_args(s, format, args);
  va_end(args);
}

/* --- memory and clocks of nodes --- */

enum { header_len = 16 }; /* keeps what follows aligned for any type */

static void *count_grow(void *ctx, void *at, size_t len) {
  memory *m = ctx;
  uint8_t *old = at ? (uint8_t *)at - header_len : NULL;
  size_t old_len = 0;
  if (old) memcpy(&old_len, old, sizeof old_len);
  uint8_t *wide = realloc(old, len + header_len);
  if (!wide) return NULL;
  memcpy(wide, &len, sizeof len);
  m->now += len - old_len;
  if (m->now > m->most) m->most = m->now;
  return wide + header_len;
}

static void *count_alloc(void *ctx, size_t len) { return count_grow(ctx, NULL, len); }

static void count_free(void *ctx, void *at) {
  memory *m = ctx;
  size_t len;
  if (!at) return;
  memcpy(&len, (uint8_t *)at - header_len, sizeof len);
  m->now -= len;
  free((uint8_t *)at - header_len);
}

weft_ms sim_wall(const sim *s, size_t idx) {
  const peer *p = &s->peers[idx];
  return p->clock_wall + (s->now - p->clock_at) * p->clock_permille / 1000;
}

void sim_clock(sim *s, size_t idx, weft_ms wall, unsigned permille) {
  peer *p = &s->peers[idx];
  p->clock_at = s->now;
  p->clock_wall = wall;
  p->clock_permille = permille;
  s->space.platforms[idx].now = wall;
  trace(s, "%c : clock %llu at %u", (char)('a' + idx), (unsigned long long)wall, permille);
}

static char name_of(size_t node) { return (char)('a' + node); }

static void *must(const sim *s, void *at) {
  if (!at) sim_fail(s, "out of memory");
  return at;
}

/* --- events --- */

static bool sooner(const event *a, const event *b) {
  return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void event_add(sim *s, event e) {
  if (s->event_count == s->event_cap) {
    s->event_cap = s->event_cap ? s->event_cap * 2 : 256;
    s->events = must(s, realloc(s->events, s->event_cap * sizeof *s->events));
  }
  e.order = s->order++;
  size_t i = s->event_count++;
  while (i > 0 && sooner(&e, &s->events[(i - 1) / 2])) {
    s->events[i] = s->events[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  s->events[i] = e;
}

static event event_take(sim *s) {
  event first = s->events[0];
  event last = s->events[--s->event_count];
  size_t i = 0;
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= s->event_count) break;
    if (child + 1 < s->event_count && sooner(&s->events[child + 1], &s->events[child])) child++;
    if (!sooner(&s->events[child], &last)) break;
    s->events[i] = s->events[child];
    i = child;
  }
  s->events[i] = last;
  return first;
}

/* --- the wire as plain text --- */

static void plain_seal(uint8_t *out, const weft_key *key, const uint8_t nonce[12], weft_bytes ad,
                       weft_bytes in) {
  (void)key;
  (void)nonce;
  (void)ad;
  if (in.len) memmove(out, in.at, in.len);
  memset(out + in.len, 0, WEFT_TAG_LEN);
}

static bool plain_open(uint8_t *out, const weft_key *key, const uint8_t nonce[12], weft_bytes ad,
                       weft_bytes in) {
  (void)key;
  (void)nonce;
  (void)ad;
  memmove(out, in.at, in.len - WEFT_TAG_LEN);
  return true;
}

static const char *frame_name(uint8_t type) {
  switch (type) {
  case WEFT_FRAME_HELLO: return "hello";
  case WEFT_FRAME_PING: return "ping";
  case WEFT_FRAME_PONG: return "pong";
  case WEFT_FRAME_CREDIT: return "credit";
  case WEFT_FRAME_ERROR: return "error";
  case WEFT_FRAME_BYE: return "bye";
  case WEFT_FRAME_AUTH_HAVE: return "auth-have";
  case WEFT_FRAME_AUTH_WANT: return "auth-want";
  case WEFT_FRAME_AUTH_REC: return "auth-rec";
  case WEFT_FRAME_VV_ROOT: return "vv-root";
  case WEFT_FRAME_VV_NODES: return "vv-nodes";
  case WEFT_FRAME_VV_LEAVES: return "vv-leaves";
  case WEFT_FRAME_VV_DELTA: return "vv-delta";
  case WEFT_FRAME_WANT: return "want";
  case WEFT_FRAME_CHANGES: return "changes";
  case WEFT_FRAME_NOHAVE: return "nohave";
  case WEFT_FRAME_ACK: return "ack";
  case WEFT_FRAME_GOSSIP: return "gossip";
  case WEFT_FRAME_IHAVE: return "ihave";
  case WEFT_FRAME_FORK: return "fork";
  default: return "?";
  }
}

/* What a node sends must be durable: its own replica shows only what a commit has written. */
static void check_chunks(sim *s, size_t from, weft_bytes body, char *out, size_t cap) {
  weft_arena arena;
  weft_msg_blobs m;
  weft__arena_init(&arena, &s->mem);
  if (weft__msg_blobs_read(&arena, body, &m) != WEFT_OK) sim_fail(s, "a frame does not parse");
  size_t len = 0;
  s->peers[from].faults.paused = true;
  for (size_t i = 0; i < m.count; i++) {
    weft_run *runs;
    size_t count;
    if (weft__chunk_decode(&arena, m.at[i], &runs, &count) != WEFT_OK) {
      sim_fail(s, "a chunk does not parse");
    }
    for (size_t k = 0; k < count; k++) {
      weft_head head = {runs[k].log, runs[k].first + runs[k].count - 1, runs[k].prev};
      weft_span span;
      peer *p = &s->peers[from];
      if (p->faults.hits > 0) continue; /* its store does not answer */
      for (size_t c = 0; c < runs[k].count; c++) {
        weft__change_id(s->space.crypto, &s->space.id, &head.id, runs[k].changes[c], &head.id);
      }
      if (weft_replica_find(p->replica, &head.log, head.seq, &head.id, &span) != WEFT_OK ||
          !weft__vector_covers(weft_replica_held(p->replica), &head.log, head.seq)) {
        sim_fail(s, "%c sent what is not durable", name_of(from));
      }
      if (weft__vector_raise(&p->promised, NULL, &head) != WEFT_OK) sim_fail(s, "memory");
      int some = snprintf(out + len, cap - len, " %llu-%llu", (unsigned long long)runs[k].first,
                          (unsigned long long)head.seq);
      if (some > 0 && (size_t)some < cap - len) len += (size_t)some;
    }
  }
  s->peers[from].faults.paused = false;
  weft__arena_free(&arena);
}

static void check_acks(sim *s, size_t from, weft_bytes body, char *out, size_t cap) {
  weft_arena arena;
  weft_msg_acks m;
  weft__arena_init(&arena, &s->mem);
  if (weft__msg_acks_read(&arena, body, &m) != WEFT_OK) sim_fail(s, "an ack does not parse");
  snprintf(out, cap, " %zu", m.count);
  peer *p = &s->peers[from];
  for (size_t i = 0; i < m.count; i++) {
    const weft_msg_ack *a = &m.at[i];
    if (weft_id_cmp(&a->ack.device, &s->space.devices[from].device) != 0) continue;
    for (size_t k = 0; k < a->count; k++) {
      if (!weft__vector_covers(weft_replica_showable(p->replica), &a->delta[k].log,
                               a->delta[k].seq)) {
        sim_fail(s, "%c acknowledged what it cannot show", name_of(from));
      }
    }
  }
  weft__arena_free(&arena);
}

static void describe(sim *s, size_t from, uint8_t type, weft_bytes body, char *out, size_t cap) {
  weft_arena arena;
  weft_msg_heads heads;
  weft_msg_want want;
  weft_msg_error error;
  weft__arena_init(&arena, &s->mem);
  out[0] = 0;
  switch (type) {
  case WEFT_FRAME_FORK:
  case WEFT_FRAME_CHANGES:
  case WEFT_FRAME_GOSSIP: check_chunks(s, from, body, out, cap); break;
  case WEFT_FRAME_ACK: check_acks(s, from, body, out, cap); break;
  case WEFT_FRAME_VV_LEAVES:
  case WEFT_FRAME_VV_DELTA:
  case WEFT_FRAME_IHAVE:
    if (weft__msg_heads_read(&arena, body, &heads) != WEFT_OK) sim_fail(s, "heads do not parse");
    snprintf(out, cap, " %zu", heads.count);
    break;
  case WEFT_FRAME_WANT:
    if (weft__msg_want_read(&arena, body, &want) != WEFT_OK) sim_fail(s, "want does not parse");
    for (size_t i = 0; i < want.count; i++) {
      size_t len = strlen(out);
      snprintf(out + len, cap - len, " %llu-%llu", (unsigned long long)want.at[i].from,
               (unsigned long long)want.at[i].to);
    }
    break;
  case WEFT_FRAME_ERROR:
    if (weft__msg_error_read(body, &error) != WEFT_OK) sim_fail(s, "error does not parse");
    snprintf(out, cap, " %u about %u", error.code, error.about);
    break;
  default: break;
  }
  weft__arena_free(&arena);
}

static void on_record(sim *s, wire *w, unsigned side, weft_bytes plain) {
  weft_record_view r;
  char text[400];
  size_t from = w->node[side], to = w->node[!side];
  if (weft__record_read(plain, &r) != WEFT_OK) sim_fail(s, "a record does not parse");
  bool whole = !r.more && (w->body_len[side] == 0 || weft__frame_may_interrupt(r.type));
  if (whole) {
    describe(s, from, r.type, r.body, text, sizeof text);
  } else {
    w->body[side] = must(s, realloc(w->body[side], w->body_len[side] + r.body.len + 1));
    memcpy(w->body[side] + w->body_len[side], r.body.at, r.body.len);
    w->body_len[side] += r.body.len;
    if (r.more) return;
    weft_bytes body = weft_bytes_of(w->body[side], w->body_len[side]);
    describe(s, from, r.type, body, text, sizeof text);
    w->body_len[side] = 0;
  }
  trace(s, "%c > %c %s%s", name_of(from), name_of(to), frame_name(r.type), text);
}

/* Takes the bytes one side sends apart; the handshake is passed over. */
static void tap(sim *s, wire *w, unsigned side, weft_bytes bytes) {
  if (!s->o.plain && !s->o.stand_in) return;
  w->tap[side] = must(s, realloc(w->tap[side], w->tap_len[side] + bytes.len));
  memcpy(w->tap[side] + w->tap_len[side], bytes.at, bytes.len);
  w->tap_len[side] += bytes.len;
  size_t used = 0;
  for (;;) {
    size_t skip = side == 0 && w->parsed[side] == 0 ? prelude_len : 0;
    const uint8_t *at = w->tap[side] + used;
    size_t left = w->tap_len[side] - used;
    if (left < skip + 2) break;
    size_t len = (size_t)at[skip] << 8 | at[skip + 1];
    if (left < skip + 2 + len) break;
    unsigned handshake = side == 0 ? 2 : 1;
    if (w->parsed[side]++ >= handshake) {
      on_record(s, w, side, weft_bytes_of(at + skip + 2, len - WEFT_TAG_LEN));
    }
    used += skip + 2 + len;
  }
  w->tap_len[side] -= used;
  memmove(w->tap[side], w->tap[side] + used, w->tap_len[side]);
}

/* --- wires --- */

static wire *wire_new(sim *s) {
  if (s->wire_count == s->wire_cap) {
    s->wire_cap = s->wire_cap ? s->wire_cap * 2 : 64;
    s->wires = must(s, realloc(s->wires, s->wire_cap * sizeof *s->wires));
  }
  wire *w = must(s, calloc(1, sizeof *w));
  s->wires[s->wire_count++] = w;
  w->delay = s->o.delay_min + test_rng_below(&s->network, s->o.delay_max - s->o.delay_min + 1);
  return w;
}

static bool side_lives(const sim *s, const wire *w, unsigned side) {
  const peer *p = &s->peers[w->node[side]];
  return p->up && p->life == w->life[side] && !w->closed[side];
}

static wire *wire_of(sim *s, size_t node, uint64_t conn, unsigned *side, uint64_t *number) {
  for (size_t i = s->wire_count; i > 0; i--) {
    wire *w = s->wires[i - 1];
    for (unsigned k = 0; k < 2; k++) {
      if (w->node[k] == node && w->conn[k] == conn && w->life[k] == s->peers[node].life) {
        *side = k;
        *number = i - 1;
        return w;
      }
    }
  }
  return NULL;
}

static void pump(sim *s, size_t node);

/* Ends a connection for one side, now. */
static void side_close(sim *s, wire *w, unsigned side, weft_err why) {
  if (w->closed[side]) return;
  bool lives = side_lives(s, w, side);
  w->closed[side] = true;
  if (lives) weft_node_closed(s->peers[w->node[side]].node, s->now, w->conn[side], why);
}

static void wire_cut(sim *s, wire *w) {
  w->open = false;
  side_close(s, w, 0, WEFT_EIO);
  side_close(s, w, 1, WEFT_EIO);
}

static size_t node_of_address(weft_bytes text) {
  return text.len > 4 ? (size_t)(text.at[4] - '0') : 0;
}

static void address_text(size_t node, char out[16]) { snprintf(out, 16, "node%zu:7600", node); }

static void do_dial(sim *s, size_t node, const weft_node_action *a) {
  wire *w = wire_new(s);
  w->node[0] = node;
  w->node[1] = node_of_address(a->text);
  w->life[0] = s->peers[node].life;
  w->conn[0] = a->conn;
  weft_ms there = s->stall[node][w->node[1]], back = s->stall[w->node[1]][node];
  event e = {.at = s->now + 2 * w->delay, .kind = EVENT_DIALLED, .wire = s->wire_count - 1};
  if (e.at < there) e.at = there;
  if (e.at < back) e.at = back;
  event_add(s, e);
}

static void on_dialled(sim *s, const event *e) {
  wire *w = s->wires[e->wire];
  if (!side_lives(s, w, 0)) return;
  size_t a = w->node[0], b = w->node[1];
  bool refused = test_rng_below(&s->network, 1000) < s->o.refuse_permille;
  s->refusals += refused;
  bool there = s->peers[b].up && s->reach[a][b] && !refused;
  if (there) {
    char text[16];
    address_text(a, text);
    w->life[1] = s->peers[b].life;
    w->conn[1] = weft_node_accepted(s->peers[b].node, s->now, weft_bytes_str(text), true);
    there = w->conn[1] != 0;
  }
  if (!there) {
    w->closed[0] = w->closed[1] = true;
    weft_node_dialled(s->peers[a].node, s->now, w->conn[0], WEFT_ETIMEOUT);
  } else {
    w->open = true;
    weft_node_dialled(s->peers[a].node, s->now, w->conn[0], WEFT_OK);
    pump(s, b);
  }
  pump(s, a);
}

static void do_send(sim *s, size_t node, const weft_node_action *a) {
  unsigned side;
  uint64_t number;
  wire *w = wire_of(s, node, a->conn, &side, &number);
  if (!w) sim_fail(s, "a SEND on no connection");
  tap(s, w, side, a->data);
  hash_add(s, a->data.at, a->data.len);
  s->bytes += a->data.len;
  s->segments++;
  event e = {.kind = EVENT_BYTES, .wire = number, .side = side, .len = a->data.len};
  e.bytes = must(s, malloc(a->data.len));
  memcpy(e.bytes, a->data.at, a->data.len);
  weft_ms start = w->free_at[side] > s->now ? w->free_at[side] : s->now;
  uint64_t bandwidth = s->o.bandwidth, reads = s->peers[w->node[!side]].bandwidth;
  if (reads && (!bandwidth || reads < bandwidth)) bandwidth = reads;
  weft_ms takes = bandwidth ? a->data.len * 1000 / bandwidth : 0;
  w->free_at[side] = start + takes;
  e.at = start + takes + w->delay;
  weft_ms stalled = s->stall[node][w->node[!side]];
  if (e.at < stalled) e.at = stalled;
  if (e.at < w->last_at[side]) e.at = w->last_at[side];
  w->last_at[side] = e.at;
  w->flying[side] += a->data.len;
  event_add(s, e);
}

static void on_bytes(sim *s, const event *e) {
  wire *w = s->wires[e->wire];
  unsigned to = !e->side;
  w->flying[e->side] -= e->len;
  if (!w->open) return;
  bool cut = test_rng_below(&s->network, 1000) < s->o.cut_permille;
  s->cuts += cut;
  if (cut || !s->reach[w->node[0]][w->node[1]]) {
    trace(s, "%c - %c cut", name_of(w->node[0]), name_of(w->node[1]));
    wire_cut(s, w);
  } else {
    if (side_lives(s, w, to)) {
      peer *p = &s->peers[w->node[to]];
      /* Bytes come in pieces that have nothing to do with what was sent. */
      size_t first = test_rng_below(&s->network, e->len + 1);
      weft_ms wall = sim_wall(s, w->node[to]);
      weft_node_received(p->node, s->now, wall, w->conn[to], weft_bytes_of(e->bytes, first));
      weft_node_received(p->node, s->now, wall, w->conn[to],
                         weft_bytes_of(e->bytes + first, e->len - first));
    }
    if (side_lives(s, w, e->side)) {
      weft_node_written(s->peers[w->node[e->side]].node, s->now, w->conn[e->side],
                        w->flying[e->side]);
    }
  }
  pump(s, w->node[0]);
  pump(s, w->node[1]);
}

static void do_close(sim *s, size_t node, const weft_node_action *a) {
  unsigned side;
  uint64_t number;
  wire *w = wire_of(s, node, a->conn, &side, &number);
  if (!w) sim_fail(s, "a CLOSE of no connection");
  event e = {.kind = EVENT_CLOSED, .wire = number, .side = !side, .at = s->now + w->delay};
  if (e.at < w->last_at[side]) e.at = w->last_at[side];
  event_add(s, e);
  side_close(s, w, side, WEFT_OK);
}

static void on_closed(sim *s, const event *e) {
  wire *w = s->wires[e->wire];
  w->open = false;
  size_t node = w->node[e->side];
  side_close(s, w, e->side, WEFT_EDONE);
  if (s->peers[node].up) pump(s, node);
}

/* --- nodes --- */

static void do_hold(sim *s, size_t node, const weft_node_action *a) {
  event e = {.kind = EVENT_HELD, .node = node, .life = s->peers[node].life, .hold = *a};
  e.at = s->now + test_rng_below(&s->disk, s->o.hold_max + 1);
  event_add(s, e);
}

static void show_soon(sim *s, size_t node) {
  peer *p = &s->peers[node];
  if (p->showing) return;
  p->showing = true;
  event e = {.at = s->now, .kind = EVENT_SHOW, .node = node, .life = p->life};
  event_add(s, e);
}

static void on_held(sim *s, const event *e) {
  peer *p = &s->peers[e->node];
  if (!p->up || p->life != e->life) return;
  (void)weft__replica_carry_out(p->source, &e->hold, p->node, s->now);
  show_soon(s, e->node);
  pump(s, e->node);
}

static void on_show(sim *s, const event *e) {
  peer *p = &s->peers[e->node];
  bool more;
  if (!p->up || p->life != e->life) return;
  p->showing = false;
  if (weft__replica_show(p->source, p->node, s->now, s->o.show_max, &more) == WEFT_OK && more) {
    show_soon(s, e->node);
  }
  pump(s, e->node);
}

static const char *note_name(weft_node_note note) {
  switch (note) {
  case WEFT_NOTE_UP: return "up";
  case WEFT_NOTE_DOWN: return "down";
  case WEFT_NOTE_IN_STEP: return "in step";
  case WEFT_NOTE_FAILED: return "failed";
  case WEFT_NOTE_REFUSED: return "refused";
  case WEFT_NOTE_CLONE: return "clone";
  case WEFT_NOTE_DIGEST: return "digest";
  case WEFT_NOTE_JOINED: return "joined";
  case WEFT_NOTE_UPDATED: return "updated";
  case WEFT_NOTE_LEFT: return "left";
  }
  return "?";
}

static void on_note(sim *s, size_t node, const weft_node_action *a) {
  char other = '?';
  for (size_t i = 0; i < s->o.nodes; i++) {
    if (weft_id_cmp(&s->space.devices[i].device, &a->device) != 0) continue;
    other = name_of(i);
    if (a->note == WEFT_NOTE_UP) s->met[node][i] = s->met[i][node] = true;
  }
  trace(s, "%c : %s %c %s", name_of(node), note_name(a->note), other, weft_err_name(a->why));
  if (a->note == WEFT_NOTE_DIGEST) sim_fail(s, "equal vectors, different digests");
}

static void obey(sim *s, size_t node, const weft_node_action *a) {
  peer *p = &s->peers[node];
  switch (a->kind) {
  case WEFT_NODE_DIAL: do_dial(s, node, a); break;
  case WEFT_NODE_SEND: do_send(s, node, a); break;
  case WEFT_NODE_CLOSE: do_close(s, node, a); break;
  case WEFT_NODE_HOLD: do_hold(s, node, a); break;
  case WEFT_NODE_NOTE: on_note(s, node, a); break;
  case WEFT_NODE_RECORD:
  case WEFT_NODE_ACK:
  case WEFT_NODE_ADDRESS: (void)weft__replica_carry_out(p->source, a, p->node, s->now); break;
  case WEFT_NODE_ADMIT: weft_node_admitted(p->node, s->now, a->ticket, WEFT_EDENIED, 48); break;
  }
}

static void pump(sim *s, size_t node) {
  peer *p = &s->peers[node];
  weft_node_action a;
  if (!p->up) return;
  for (size_t count = 0; weft_node_next(p->node, &a); count++) {
    obey(s, node, &a);
    if (count > 1000000) sim_fail(s, "%c never rests", name_of(node));
  }
  weft_ms at = weft_node_deadline(p->node);
  if (at == WEFT_NEVER || at >= p->timer) return;
  p->timer = at > s->now ? at : s->now + 1;
  event e = {.at = p->timer, .kind = EVENT_TIMER, .node = node, .life = p->life};
  event_add(s, e);
}

static void on_timer(sim *s, const event *e) {
  peer *p = &s->peers[e->node];
  if (!p->up || p->life != e->life) return;
  if (p->timer == e->at) p->timer = WEFT_NEVER;
  weft_node_tick(p->node, s->now, sim_wall(s, e->node));
  pump(s, e->node);
  if (p->up && weft_node_deadline(p->node) <= s->now) {
    sim_fail(s, "%c has nothing to do and is due at once", name_of(e->node));
  }
}

/* --- running --- */

static void step(sim *s) {
  event e = event_take(s);
  s->now = e.at;
  s->happened++;
  for (size_t i = 0; i < s->o.nodes; i++) s->space.platforms[i].now = sim_wall(s, i);
  switch (e.kind) {
  case EVENT_TIMER: on_timer(s, &e); break;
  case EVENT_DIALLED: on_dialled(s, &e); break;
  case EVENT_BYTES: on_bytes(s, &e); break;
  case EVENT_CLOSED: on_closed(s, &e); break;
  case EVENT_HELD: on_held(s, &e); break;
  case EVENT_SHOW: on_show(s, &e); break;
  }
  free(e.bytes);
}

void sim_run(sim *s, weft_ms until) {
  while (sim_step(s, until)) {}
  s->now = until;
  for (size_t i = 0; i < s->o.nodes; i++) s->space.platforms[i].now = sim_wall(s, i);
}

bool sim_step(sim *s, weft_ms until) {
  if (s->event_count == 0 || s->events[0].at > until) return false;
  step(s);
  return true;
}

bool sim_same(sim *s) {
  peer *first = NULL;
  for (size_t i = 0; i < s->o.nodes; i++) {
    peer *p = &s->peers[i];
    if (!p->up) continue;
    if (!first) first = p;
    const weft_vector *held = weft_replica_held(p->replica);
    if (!test_same_heads(held, weft_replica_held(first->replica)) ||
        !test_same_heads(held, weft_replica_shown(p->replica))) {
      return false;
    }
    weft_digest x = weft_replica_digest(p->replica), y = weft_replica_digest(first->replica);
    if (x.high != y.high || x.low != y.low) sim_fail(s, "equal vectors, different digests");
  }
  return true;
}

weft_ms sim_settle(sim *s, weft_ms limit) {
  while (!sim_same(s)) {
    if (s->event_count == 0 || s->events[0].at > limit) sim_fail(s, "no convergence");
    step(s);
  }
  return s->now;
}

/* --- making --- */

static weft_store *store_open(sim *s, size_t idx) {
  char path[256], name[16];
  weft_lmdb_options o;
  weft_store *store;
  if (!s->o.lmdb) return test_memory_store();
  snprintf(name, sizeof name, "%zu/data.mdb", idx);
  test_temp_path(&s->temp, name, path);
  weft_lmdb_options_init(&o);
  o.path = path;
  o.map_size = 64u << 20;
  weft_diag diag;
  weft_err err = weft_lmdb_store_open(&o, &store, &diag);
  if (err != WEFT_OK) sim_fail(s, "%s: %s: %s", path, weft_err_name(err), diag.text);
  return store;
}

static void mirror_path(const sim *s, size_t idx, const char *tail, char out[256]) {
  char name[32];
  snprintf(name, sizeof name, "mirror%zu%s", idx, tail);
  test_temp_path(&s->temp, name, out);
}

static weft_replica *replica_open(sim *s, size_t idx) {
  peer *p = &s->peers[idx];
  weft_replica *r;
  char path[256];
  weft_store *store = test_fault_store_of(p->inner, &p->faults);
  weft_replica_options o = test_space_options(&s->space, idx, store);
  mirror_path(s, idx, "", path);
  if (s->o.mirror) o.mirror_dir = path;
  weft_err err = weft_replica_open(&r, &o);
  if (err != WEFT_OK) sim_fail(s, "%c does not open: %s", name_of(idx), weft_err_name(err));
  test_space_add_records(&s->space, r);
  return r;
}

void sim_start(sim *s, size_t idx) {
  peer *p = &s->peers[idx];
  if (p->up) return;
  if (!p->inner) p->inner = store_open(s, idx);
  p->faults = (test_fault_store){.err = WEFT_EIO};
  size_t members = s->space.count;
  if (s->o.scattered && idx > 0) s->space.count = idx + 1;
  p->replica = replica_open(s, idx);
  s->space.count = members;
  test_show_all(p->replica);
  for (size_t i = 0; i < p->promised.count; i++) {
    const weft_head *h = &p->promised.heads[i];
    if (!weft__vector_covers(weft_replica_held(p->replica), &h->log, h->seq)) {
      sim_fail(s, "%c has lost what it sent", name_of(idx));
    }
  }
  weft_alloc counted = {&p->used, count_alloc, count_grow, count_free};
  if (weft__replica_source_new(&p->source, &counted, p->replica) != WEFT_OK) {
    sim_fail(s, "memory");
  }
  weft_node_options o;
  char text[16];
  address_text(idx, text);
  weft_bytes listen = weft_bytes_str(text);
  weft_node_options_init(&o);
  o.mem = counted;
  o.crypto = &s->crypto;
  o.identity = &s->space.devices[idx];
  o.space = s->space.id;
  o.name = weft_bytes_str("node");
  o.epochs = &s->epoch;
  o.epoch_count = 1;
  o.gossip = !s->o.no_gossip;
  o.listen = &listen;
  o.listen_count = 1;
  if (s->o.anti_entropy_ms) o.anti_entropy_ms = (uint32_t)s->o.anti_entropy_ms;
  weft__replica_source_fill(p->source, &o.source);
  test_rng_fill(&s->restarts, o.seed, sizeof o.seed);
  if (weft_node_new(&p->node, &o, s->now, sim_wall(s, idx)) != WEFT_OK) sim_fail(s, "no node");
  p->up = true;
  p->life++;
  p->timer = WEFT_NEVER;
  p->showing = false;
  for (size_t i = 0; i < s->o.nodes; i++) {
    if (!s->address[idx][i]) continue;
    address_text(i, text);
    if (weft_node_add_address(p->node, s->now, weft_bytes_str(text)) != WEFT_OK) {
      sim_fail(s, "no address");
    }
  }
  trace(s, "%c : starts", name_of(idx));
  pump(s, idx);
}

static void peer_end(sim *s, size_t idx) {
  peer *p = &s->peers[idx];
  p->up = false;
  weft_node_free(p->node);
  weft__replica_source_free(p->source);
  weft_replica_free(p->replica);
  if (p->used.now != 0) sim_fail(s, "%c leaves %zu bytes", name_of(idx), p->used.now);
  p->node = NULL;
  p->source = NULL;
  p->replica = NULL;
  if (s->o.lmdb) {
    weft_store_free(p->inner);
    p->inner = NULL;
  }
}

void sim_crash(sim *s, size_t idx) {
  if (!s->peers[idx].up) return;
  trace(s, "%c : crashes", name_of(idx));
  /* Ending a replica writes its mirror, which a crash would not do. */
  char mirror[256], kept[256];
  mirror_path(s, idx, "", mirror);
  mirror_path(s, idx, ".kept", kept);
  bool aside = s->o.mirror && rename(mirror, kept) == 0;
  peer_end(s, idx);
  if (s->o.mirror) test_folder_remove(mirror);
  if (aside && rename(kept, mirror) != 0) sim_fail(s, "a mirror is lost");
  for (size_t i = 0; i < s->wire_count; i++) {
    wire *w = s->wires[i];
    if (!w->open || (w->node[0] != idx && w->node[1] != idx)) continue;
    wire_cut(s, w);
  }
  for (size_t i = 0; i < s->o.nodes; i++) pump(s, i);
}

void sim_stop(sim *s, size_t idx) {
  peer *p = &s->peers[idx];
  if (!p->up) return;
  trace(s, "%c : stops", name_of(idx));
  weft_node_stop(p->node, s->now);
  pump(s, idx);
  peer_end(s, idx);
}

size_t sim_open(const sim *s) {
  size_t count = 0;
  for (size_t i = 0; i < s->wire_count; i++) {
    const wire *w = s->wires[i];
    count += w->open && !w->closed[0] && !w->closed[1];
  }
  return count;
}

void sim_start_all(sim *s) {
  for (size_t i = 0; i < s->o.nodes; i++) sim_start(s, i);
}

sim *sim_new(const sim_options *o) {
  sim *s = calloc(1, sizeof *s);
  if (!s) abort();
  s->o = *o;
  if (s->o.delay_max < s->o.delay_min) s->o.delay_max = s->o.delay_min;
  s->rng = test_rng_of(o->seed);
  test_rng seeds = test_rng_of(o->seed ^ 0x73696d756c617465u);
  s->network = test_rng_of(test_rng_next(&seeds));
  s->disk = test_rng_of(test_rng_next(&seeds));
  s->restarts = test_rng_of(test_rng_next(&seeds));
  s->mem = weft_alloc_libc();
  s->trace = must(s, calloc(1, trace_cap));
  s->hash = 0xcbf29ce484222325u;
  s->crypto = *weft_crypto_sodium();
  if (o->stand_in) test_stand_in_crypto(&s->crypto);
  test_space_make_with(&s->space, o->nodes, o->seed,
                       o->stand_in ? &s->crypto : weft_crypto_sodium());
  if (o->plain && !o->stand_in) {
    s->crypto.seal = plain_seal;
    s->crypto.open = plain_open;
  }
  memcpy(s->epoch.id, s->space.id.b, sizeof s->epoch.id);
  memset(s->epoch.secret.b, 0x77, sizeof s->epoch.secret.b);
  if (o->lmdb || o->mirror) s->temp = test_temp_make();
  for (size_t i = 0; i < TEST_DEVICES_MAX; i++) {
    weft__vector_init(&s->peers[i].promised, &s->mem);
    s->peers[i].clock_wall = wall_start;
    s->peers[i].clock_permille = 1000;
    for (size_t k = 0; k < TEST_DEVICES_MAX; k++) s->reach[i][k] = true;
  }
  return s;
}

void sim_free(sim *s) {
  for (size_t i = 0; i < s->o.nodes; i++) {
    if (s->peers[i].up) peer_end(s, i);
    if (s->peers[i].inner) weft_store_free(s->peers[i].inner);
    if (s->peers[i].backup) weft_store_free(s->peers[i].backup);
    weft__vector_free(&s->peers[i].promised);
  }
  for (size_t i = 0; i < s->wire_count; i++) {
    for (unsigned k = 0; k < 2; k++) {
      free(s->wires[i]->tap[k]);
      free(s->wires[i]->body[k]);
    }
    free(s->wires[i]);
  }
  for (size_t i = 0; i < s->event_count; i++) free(s->events[i].bytes);
  if (s->o.lmdb || s->o.mirror) test_temp_remove(&s->temp);
  free(s->wires);
  free(s->events);
  free(s->trace);
  free(s);
}

void sim_address(sim *s, size_t from, size_t to) {
  char text[16];
  s->address[from][to] = true;
  if (!s->peers[from].up) return;
  address_text(to, text);
  (void)!weft_node_add_address(s->peers[from].node, s->now, weft_bytes_str(text));
  pump(s, from);
}

void sim_mesh(sim *s) {
  for (size_t i = 0; i < s->o.nodes; i++) {
    for (size_t k = 0; k < i; k++) sim_address(s, i, k);
  }
}

void sim_reach(sim *s, size_t a, size_t b, bool open) {
  s->reach[a][b] = s->reach[b][a] = open;
  trace(s, "%c - %c %s", name_of(a), name_of(b), open ? "opens" : "parts");
}

void sim_stall(sim *s, size_t from, size_t to, weft_ms until) {
  if (s->stall[from][to] == until) return;
  s->stall[from][to] = until;
  trace(s, "%c > %c %s", name_of(from), name_of(to), until > s->now ? "stalls" : "flows");
}

void sim_slow(sim *s, size_t idx, uint64_t bandwidth) {
  s->peers[idx].bandwidth = bandwidth;
  trace(s, "%c : reads %llu", name_of(idx), (unsigned long long)bandwidth);
}

void sim_rates(sim *s, unsigned cut_permille, unsigned refuse_permille) {
  s->o.cut_permille = cut_permille;
  s->o.refuse_permille = refuse_permille;
}

void sim_backup(sim *s, size_t idx) {
  peer *p = &s->peers[idx];
  if (p->up || !p->inner || s->o.lmdb) return;
  if (p->backup) weft_store_free(p->backup);
  p->backup = test_store_copy(p->inner);
  trace(s, "%c : is backed up", name_of(idx));
}

bool sim_restore(sim *s, size_t idx) {
  peer *p = &s->peers[idx];
  if (p->up || !p->backup) return false;
  weft_store_free(p->inner);
  p->inner = p->backup;
  p->backup = NULL;
  weft__vector_clear(&p->promised);
  trace(s, "%c : is set back", name_of(idx));
  return true;
}

/* --- looking and writing --- */

bool sim_is_up(const sim *s, size_t idx) { return s->peers[idx].up; }
weft_ms sim_now(const sim *s) { return s->now; }
weft_replica *sim_replica(sim *s, size_t idx) { return s->peers[idx].replica; }
weft_node *sim_node(sim *s, size_t idx) { return s->peers[idx].node; }
test_fault_store *sim_faults(sim *s, size_t idx) { return &s->peers[idx].faults; }
bool sim_met(const sim *s, size_t a, size_t b) { return s->met[a][b]; }
uint64_t sim_bytes(const sim *s) { return s->bytes; }
uint64_t sim_segments(const sim *s) { return s->segments; }
uint64_t sim_hash(const sim *s) { return s->hash; }
uint64_t sim_events(const sim *s) { return s->happened; }
uint64_t sim_cuts(const sim *s) { return s->cuts; }
uint64_t sim_refusals(const sim *s) { return s->refusals; }
size_t sim_memory_most(const sim *s, size_t idx) { return s->peers[idx].used.most; }
const char *sim_trace(const sim *s) { return s->trace; }
test_rng *sim_rng(sim *s) { return &s->rng; }
test_space *sim_space(sim *s) { return &s->space; }

void sim_trace_clear(sim *s) {
  s->trace_len = 0;
  s->trace[0] = 0;
}

void sim_changed(sim *s, size_t idx) {
  weft_node_changed(s->peers[idx].node, s->now);
  pump(s, idx);
}

weft_err sim_set(sim *s, size_t idx, const char *doc, const char *pointer, const char *json) {
  peer *p = &s->peers[idx];
  if (!p->up) return WEFT_EMISUSE;
  weft_err err = test_set(p->replica, doc, pointer, json);
  if (err == WEFT_OK) sim_changed(s, idx);
  return err;
}

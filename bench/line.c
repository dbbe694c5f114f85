/* Two nodes with a line between them, in virtual time. */
#include "bench/line.h"

#include <string.h>

#include "net/replica_source.h"

enum { DELAY_MS = 1000, START_MS = 1000, LIMIT_MS = 60000, FLIGHTS_MAX = 256, SIDES = 2 };

/* Bytes on their way to a side. */
typedef struct flight {
  weft_ms at;
  weft_buf bytes;
} flight;

typedef struct side {
  weft_replica *replica;
  weft_replica_source *source;
  weft_node *node;
  uint64_t conn;
  bool in_step;
  flight flights[FLIGHTS_MAX]; /* to this side, a ring */
  size_t first;
  size_t count;
} side;

typedef struct line {
  fleet *f;
  weft_ms now;
  bool connected;
  weft_ms up;    /* both say that the link is open */
  weft_ms shown; /* something was shown last */
  side sides[SIDES];
  uint64_t bytes;
} line;

static weft_ms wall(const line *l) { return l->f->clock_us / 1000 + l->now; }

/* --- sides --- */

static weft_err side_make(line *l, unsigned i, weft_replica *replica, unsigned device) {
  side *s = &l->sides[i];
  const bench *b = l->f->b;
  const weft_node_epoch epoch = {.id = {1}};
  weft_node_options o;
  s->replica = replica;
  WEFT_TRY(weft__replica_source_new(&s->source, &b->mem, replica));
  weft_node_options_init(&o);
  o.mem = b->mem;
  o.crypto = b->crypto;
  o.identity = &l->f->devices[device];
  o.space = l->f->space;
  o.name = weft_bytes_str("a device");
  o.epochs = &epoch;
  o.epoch_count = 1;
  weft_random(o.seed, sizeof o.seed);
  weft__replica_source_fill(s->source, &o.source);
  return weft_node_new(&s->node, &o, l->now, wall(l));
}

static void side_free(side *s) {
  weft_node_free(s->node);
  weft__replica_source_free(s->source);
  for (size_t i = 0; i < FLIGHTS_MAX; i++) {
    if (s->flights[i].bytes.at) weft__buf_free(&s->flights[i].bytes);
  }
}

/* Puts bytes on the way; what leaves at one moment arrives as one. */
static weft_err side_send(line *l, side *to, weft_bytes bytes) {
  flight *last = &to->flights[(to->first + to->count - 1) % FLIGHTS_MAX];
  if (to->count == 0 || last->at != l->now + DELAY_MS) {
    if (to->count == FLIGHTS_MAX) return WEFT_ELIMIT;
    last = &to->flights[(to->first + to->count++) % FLIGHTS_MAX];
    if (!last->bytes.at) weft__buf_init(&last->bytes, &l->f->b->mem, SIZE_MAX);
    weft__buf_reset(&last->bytes);
    last->at = l->now + DELAY_MS;
  }
  l->bytes += bytes.len;
  weft__buf_put(&last->bytes, bytes);
  return weft__buf_err(&last->bytes);
}

/* --- actions --- */

static weft_err show_all(line *l, side *s) {
  bool more = true;
  l->shown = l->now;
  while (more) WEFT_TRY(weft__replica_show(s->source, s->node, l->now, 0, &more));
  return WEFT_OK;
}

static void dial(line *l, side *s, const weft_node_action *a) {
  side *other = s == l->sides ? &l->sides[1] : l->sides;
  bool second = l->connected;
  if (!second) {
    s->conn = a->conn;
    other->conn = weft_node_accepted(other->node, l->now, weft_bytes_str("127.0.0.1:1"), true);
    l->connected = true;
  }
  weft_node_dialled(s->node, l->now, a->conn, second ? WEFT_EIO : WEFT_OK);
}

static weft_err obey(line *l, side *s, const weft_node_action *a) {
  side *other = s == l->sides ? &l->sides[1] : l->sides;
  switch (a->kind) {
  case WEFT_NODE_DIAL: dial(l, s, a); return WEFT_OK;
  case WEFT_NODE_SEND:
    WEFT_TRY(side_send(l, other, a->data));
    weft_node_written(s->node, l->now, a->conn, 0);
    return WEFT_OK;
  case WEFT_NODE_CLOSE: return WEFT_EIO;
  case WEFT_NODE_HOLD:
    weft__replica_carry_out(s->source, a, s->node, l->now);
    return show_all(l, s);
  case WEFT_NODE_NOTE:
    if (a->note == WEFT_NOTE_IN_STEP) s->in_step = true;
    if (a->note == WEFT_NOTE_UP) l->up = l->now;
    return WEFT_OK;
  case WEFT_NODE_RECORD:
  case WEFT_NODE_ACK:
  case WEFT_NODE_ADDRESS: weft__replica_carry_out(s->source, a, s->node, l->now); return WEFT_OK;
  case WEFT_NODE_ADMIT: return WEFT_EIO;
  }
  return WEFT_OK;
}

static weft_err pump(line *l) {
  bool moved = true;
  while (moved) {
    moved = false;
    for (unsigned i = 0; i < SIDES; i++) {
      weft_node_action a;
      while (weft_node_next(l->sides[i].node, &a)) {
        WEFT_TRY(obey(l, &l->sides[i], &a));
        moved = true;
      }
    }
  }
  return WEFT_OK;
}

/* Moves to the next moment at which something arrives or is due. */
static void step(line *l) {
  weft_ms next = WEFT_NEVER;
  for (unsigned i = 0; i < SIDES; i++) {
    const side *s = &l->sides[i];
    weft_ms due = weft_node_deadline(s->node);
    if (due < next) next = due;
    if (s->count > 0 && s->flights[s->first].at < next) next = s->flights[s->first].at;
  }
  if (next > l->now) l->now = next;
  for (unsigned i = 0; i < SIDES; i++) {
    side *s = &l->sides[i];
    weft_node_tick(s->node, l->now, wall(l));
    if (s->count == 0 || s->flights[s->first].at > l->now) continue;
    flight *f = &s->flights[s->first];
    s->first = (s->first + 1) % FLIGHTS_MAX;
    s->count--;
    weft_node_received(s->node, l->now, wall(l), s->conn, weft__buf_view(&f->bytes));
  }
}

static weft_err run(line *l) {
  WEFT_TRY(weft_node_add_address(l->sides[0].node, l->now, weft_bytes_str("127.0.0.1:2")));
  while (l->now < LIMIT_MS) {
    WEFT_TRY(pump(l));
    if (l->sides[0].in_step && l->sides[1].in_step) return WEFT_OK;
    step(l);
  }
  return WEFT_ETIMEOUT;
}

weft_err line_run(fleet *f, weft_replica *a, unsigned a_idx, weft_replica *b, unsigned b_idx,
                  line_report *out) {
  line *l = f->b->mem.alloc(f->b->mem.ctx, sizeof *l);
  if (!l) return WEFT_ENOMEM;
  memset(l, 0, sizeof *l);
  l->f = f;
  l->now = START_MS;
  weft_err err = side_make(l, 0, a, a_idx);
  if (err == WEFT_OK) err = side_make(l, 1, b, b_idx);
  if (err == WEFT_OK) err = run(l);
  out->bytes = l->bytes;
  out->round_trips = l->shown > l->up ? (double)(l->shown - l->up) / (2.0 * DELAY_MS) : 0;
  for (unsigned i = 0; i < SIDES; i++) side_free(&l->sides[i]);
  f->b->mem.free(f->b->mem.ctx, l);
  return bench_fail(f->b, err, "two nodes with a line between them");
}

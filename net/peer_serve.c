/* Sending changes: answers to WANT, live pushes, and the credit for both.
 *
 * What was asked for is sent in the order in which it became shown here, so that the receiver need
 * not wait to show it.  Own changes are pushed as soon as they are durable; changes of others after
 * a hold-off, to links that have not shown by then that they hold them.  What is long is announced
 * instead, and fetched with the flow control of WANT.
 *
 * Credit: the receiver takes a window of bulk bytes and grants more when it holds what came, not
 * when it has read it.  One frame larger than the window may go when nothing else is under way.
 *
 * A peer may ask for the same for ever.  What a device was sent already goes to it slowly, after a
 * first few megabytes; so does everything once it was sent all that there is several times. */
#include <string.h>

#include "crdt/assert.h"
#include "crdt/canary.h"
#include "net/node_internal.h"

/* --- credit --- */

bool weft__credit_allows(const weft_link *link, size_t len) {
  return link->out_pending == 0 || link->out_pending + len <= link->window_out;
}

void weft__credit_use(weft_link *link, size_t len) { link->out_pending += len; }

bool weft__credit_take(weft_link *link, size_t len) {
  weft_node *n = link->node;
  bool over = link->in_pending > 0 && link->in_pending + len > WEFT_LINK_WINDOW;
  if (over) {
    weft__link_fail(link, WEFT_EPROTO, WEFT_CODE_FLOW, 0);
    return false;
  }
  link->in_pending += len;
  if (weft__node_memory(n) <= n->o.memory_max) return true;
  weft__link_fail(link, WEFT_ELIMIT, WEFT_CODE_BUSY, 0);
  return false;
}

void weft__credit_grant(weft_link *link, size_t len) {
  if (WEFT_CANARY(CREDIT_LOST)) return;
  link->to_grant += len;
  if (link->grant_at == WEFT_NEVER) link->grant_at = link->node->now + WEFT_LINK_CREDIT_MS;
  link->node->settle = true;
}

uint32_t weft__credit_give(weft_link *link) {
  uint64_t grant = weft__min_ms(link->to_grant, UINT32_MAX);
  link->in_pending -= weft__min_ms(grant, link->in_pending);
  link->to_grant -= grant;
  link->grant_at = WEFT_NEVER;
  return (uint32_t)grant;
}

void weft__credit_run(weft_link *link) {
  if (link->to_grant == 0 || link->state != WEFT_LINK_OPEN) return;
  bool much = link->to_grant >= WEFT_LINK_WINDOW / 4;
  if (!much && link->node->now < link->grant_at) return;
  weft_buf body = weft__link_body(link);
  weft__msg_credit_put(&body, weft__credit_give(link));
  weft__link_send(link, WEFT_FRAME_CREDIT, &body);
}

/* --- the same again --- */

void weft__again_count(weft_link *link, size_t len) {
  weft_known *known = link->known;
  weft_ms now = link->node->now;
  if (!known) return; /* it redeems a ticket */
  if (known->again_at < now) known->again_at = now;
  known->again_at += len / WEFT_AGAIN_PER_MS + 1;
}

bool weft__again_waits(const weft_link *link) {
  const weft_known *known = link->known;
  return known && known->again_at > link->node->now + WEFT_AGAIN_AHEAD_MS;
}

weft_ms weft__again_deadline(const weft_link *link) {
  if (link->serve_count == 0 || !weft__again_waits(link)) return WEFT_NEVER;
  return link->known->again_at - WEFT_AGAIN_AHEAD_MS;
}

/* --- the stream's queue --- */

/* Bulk fills the queue with what drains in three quarters of a round trip, and a little: so the
 * line is never idle, and what is written to overtake finds little before it.  Where the queue runs
 * empty although there was more, the line takes more. */
void weft__link_written(weft_link *link, size_t queued) {
  weft_ms now = link->node->now;
  weft_ms passed = now - link->drain_at;
  weft_ms least = link->trip_min_ms > WEFT_LINK_DRAIN_MS ? link->trip_min_ms : WEFT_LINK_DRAIN_MS;
  if (queued < link->queued) link->drained += link->queued - queued;
  if (queued == 0 && link->queued_much) link->queued_none = true;
  link->queued = queued;
  if (!link->queued_much || passed < least) return;
  size_t allow = link->queued_allow;
  if (link->queued_none) {
    allow *= 2;
  } else {
    uint64_t trip =
        link->trip_min_ms > WEFT_LINK_TRIP_MIN_MS ? link->trip_min_ms : WEFT_LINK_TRIP_MIN_MS;
    uint64_t rate = (uint64_t)link->drained * 1000 / passed;
    allow =
        (size_t)weft__min_ms(rate * trip * 3 / 4000, WEFT_LINK_QUEUED_MAX) + WEFT_LINK_QUEUED_MORE;
  }
  if (allow > WEFT_LINK_QUEUED_MAX) allow = WEFT_LINK_QUEUED_MAX;
  link->queued_allow = allow > WEFT_LINK_QUEUED_MIN ? allow : WEFT_LINK_QUEUED_MIN;
  link->drained = 0;
  link->drain_at = now;
  link->queued_much = link->queued_none = false;
}

bool weft__link_drains(weft_link *link) {
  bool room = link->queued < link->queued_allow;
  if (!room && !link->queued_much) { /* what drained before says little */
    link->queued_much = true;
    link->drained = 0;
    link->drain_at = link->node->now;
  }
  return room;
}

bool weft__serve_room(const weft_link *link) {
  if (link->state != WEFT_LINK_OPEN || link->queued > WEFT_LINK_QUEUED_MAX) return false;
  return weft_session_stats_of(link->session).unsent < WEFT_LINK_UNSENT_LOW;
}

/* --- WANT --- */

static void nohave(weft_link *link, const weft_id *log, uint64_t from, uint64_t to,
                   weft_nohave why) {
  weft_msg_nohave m = {*log, from, to, (uint8_t)why};
  weft_buf body = weft__link_body(link);
  weft__msg_nohave_put(&body, &m);
  weft__link_send(link, WEFT_FRAME_NOHAVE, &body);
}

/* Whether the asker's id before a range is on the chain of one of our branches. */
static bool same_branch(weft_node *n, const weft_msg_range *r, uint32_t branch) {
  static const weft_id any;
  weft_id id;
  if (r->from == 1 || weft_id_cmp(&r->prev, &any) == 0) return true;
  if (n->source.id_at(n->source.ctx, &r->log, branch, r->from - 1, &id) != WEFT_OK) return false;
  return weft_id_cmp(&id, &r->prev) == 0;
}

/* Finds the branch that is meant: the one with the head that is named, else the first that goes on
 * from where the asker stands.  Gives why it is none, or 0. */
static weft_nohave range_branch(weft_node *n, const weft_msg_range *r, weft_serve *out) {
  static const weft_id unknown;
  const weft_vector *held = weft__node_held(n);
  weft_source_span span;
  size_t first;
  size_t count = weft__vector_find(held, &r->log, &first);
  uint8_t lane = n->source.lane(n->source.ctx, &r->log);
  *out = (weft_serve){r->log, WEFT_SOURCE_ANY, r->from, r->to, count > 1, lane};
  if (weft_id_cmp(&r->head, &unknown) != 0 &&
      n->source.find(n->source.ctx, &r->log, r->to, &r->head, &span) == WEFT_OK) {
    out->branch = span.branch;
    return same_branch(n, r, span.branch) ? 0 : WEFT_NOHAVE_BRANCH;
  }
  weft_nohave why = WEFT_NOHAVE_NEVER;
  for (size_t i = 0; i < count; i++) {
    const weft_head *h = &held->heads[first + i];
    if (h->seq < r->from) continue;
    why = WEFT_NOHAVE_BRANCH;
    if (n->source.find(n->source.ctx, &r->log, h->seq, &h->id, &span) != WEFT_OK) continue;
    out->branch = span.branch;
    if (out->to > h->seq) out->to = h->seq;
    if (same_branch(n, r, span.branch)) return 0;
    out->to = r->to;
  }
  return why;
}

static weft_serve *serve_of(weft_link *link, const weft_id *log) {
  for (size_t i = 0; i < link->serve_count; i++) {
    if (weft_id_cmp(&link->serves[i].log, log) == 0) return &link->serves[i];
  }
  return NULL;
}

void weft__serve_unasked(weft_link *link, const weft_msg_range *ranges, size_t count) {
  weft_node *n = link->node;
  for (size_t i = 0; i < count && link->serve_count < WEFT_MESSAGE_WANTS_MAX; i++) {
    weft_serve serve;
    if (serve_of(link, &ranges[i].log) || range_branch(n, &ranges[i], &serve) != 0) continue;
    if (weft__park_holds(link, &serve.log, serve.from, &serve.to)) continue;
    link->serves[link->serve_count++] = serve;
    WEFT_ASSERT(link->unasked_count < WEFT_MESSAGE_WANTS_MAX);
    link->unasked[link->unasked_count++] = (weft_unasked){serve.log, serve.from, serve.to};
  }
  link->unasked_until = n->now + WEFT_UNASKED_MS;
  link->span_count = link->span_next = 0;
}

/* True when what is wanted went out before the question came.  Only the first question is taken so:
 * who asks again has lost what came. */
static bool is_answered(weft_link *link, const weft_msg_range *r) {
  for (size_t i = 0; i < link->unasked_count; i++) {
    weft_unasked *u = &link->unasked[i];
    if (weft_id_cmp(&u->log, &r->log) != 0) continue;
    bool inside = r->from >= u->from && r->to <= u->to;
    *u = link->unasked[--link->unasked_count];
    return inside && link->node->now < link->unasked_until;
  }
  return false;
}

static void serve_drop(weft_link *link, weft_serve *r) { *r = link->serves[--link->serve_count]; }

/* Makes room for what is asked for by leaving one range that is not; false when there is none. */
static bool unasked_drop(weft_link *link) {
  while (link->unasked_count > 0) {
    weft_serve *serve = serve_of(link, &link->unasked[--link->unasked_count].log);
    if (!serve) continue;
    serve_drop(link, serve);
    return true;
  }
  return false;
}

void weft__serve_want(weft_link *link, const weft_msg_want *m) {
  weft_node *n = link->node;
  for (size_t i = 0; i < m->count && link->state == WEFT_LINK_OPEN; i++) {
    weft_serve serve;
    if (is_answered(link, &m->at[i])) continue;
    weft_nohave why = range_branch(n, &m->at[i], &serve);
    if (!why && weft__park_holds(link, &serve.log, serve.from, &serve.to)) why = WEFT_NOHAVE_NEVER;
    if (why) {
      nohave(link, &m->at[i].log, m->at[i].from, m->at[i].to, why);
      continue;
    }
    weft_serve *again = serve_of(link, &serve.log);
    if (again) {
      *again = serve;
      continue;
    }
    if (link->serve_count == WEFT_MESSAGE_WANTS_MAX && !unasked_drop(link)) {
      weft__link_fail(link, WEFT_EPROTO, WEFT_CODE_LIMIT, WEFT_FRAME_WANT);
      return;
    }
    link->serves[link->serve_count++] = serve;
  }
  link->span_count = link->span_next = 0; /* the order is asked for anew */
}

/* Asks the replica in which order to send what is wanted: what a peer would lack that held all but
 * the wanted ranges. */
static weft_err spans_fill(weft_link *link) {
  weft_node *n = link->node;
  weft_vector base;
  weft__vector_init(&base, &n->mem);
  weft__arena_reset(&link->serve_arena);
  link->span_count = link->span_next = 0;
  weft_err err = weft__vector_copy(&base, weft__node_held(n));
  for (size_t i = 0; err == WEFT_OK && i < link->serve_count; i++) {
    const weft_serve *r = &link->serves[i];
    if (r->forked) continue;
    weft_head before = {r->log, r->from - 1, {{0}}};
    if (r->from > 1)
      err = n->source.id_at(n->source.ctx, &r->log, WEFT_SOURCE_ANY, r->from - 1, &before.id);
    if (err == WEFT_OK) err = weft__vector_set(&base, &r->log, &before, r->from > 1 ? 1 : 0);
  }
  if (err == WEFT_OK) {
    err = n->source.missing(n->source.ctx, &link->serve_arena, &base, WEFT_SERVE_SPANS_MAX,
                            &link->spans, &link->span_count);
  }
  weft__vector_free(&base);
  return err;
}

/* The part of a range on a forked log that comes next: it ends where the branch it is of goes on
 * in another way. */
static weft_err forked_piece(weft_node *n, const weft_serve *r, weft_source_span *out) {
  weft_id id;
  uint64_t to = r->to;
  for (;;) {
    WEFT_TRY(n->source.id_at(n->source.ctx, &r->log, r->branch, to, &id));
    WEFT_TRY(n->source.find(n->source.ctx, &r->log, to, &id, out));
    if (out->from <= r->from) break;
    to = out->from - 1;
  }
  out->from = r->from;
  out->to = to;
  return WEFT_OK;
}

/* The lane of what is to be sent before everything else. */
static uint8_t first_lane(const weft_link *link) {
  uint8_t lane = UINT8_MAX;
  for (size_t i = 0; i < link->serve_count; i++) {
    if (link->serves[i].lane < lane) lane = link->serves[i].lane;
  }
  return lane;
}

/* The next piece of a wanted range, lane by lane, within one in the order to send; NULL when
 * nothing is left to send. */
static weft_serve *next_piece(weft_link *link, weft_source_span *piece) {
  for (size_t i = 0; i < link->serve_count; i++) {
    if (!link->serves[i].forked) continue;
    if (forked_piece(link->node, &link->serves[i], piece) == WEFT_OK) return &link->serves[i];
    link->serves[i].forked = false;
  }
  uint8_t lane = first_lane(link);
  for (unsigned round = 0; round < 2; round++) {
    for (; link->span_next < link->span_count; link->span_next++) {
      const weft_source_span *span = &link->spans[link->span_next];
      weft_serve *r = serve_of(link, &span->log);
      if (!r || r->lane != lane || span->to < r->from || span->from > r->to) continue;
      /* A chunk costs a signature: of logs that alternate a little more than the next span goes. */
      uint64_t to = span->to > r->from + WEFT_SERVE_AHEAD ? span->to : r->from + WEFT_SERVE_AHEAD;
      *piece = (weft_source_span){r->log, r->branch, r->from, to < r->to ? to : r->to};
      return r;
    }
    if (link->serve_count == 0 || round > 0) break;
    if (spans_fill(link) != WEFT_OK) break;
  }
  /* So much lies between that the order is not worth finding: log by log then. */
  weft_serve *r = NULL;
  for (size_t i = 0; i < link->serve_count && !r; i++) {
    if (link->serves[i].lane == lane) r = &link->serves[i];
  }
  if (r) *piece = (weft_source_span){r->log, r->branch, r->from, r->to};
  return r;
}

typedef struct chunk_list {
  weft_arena arena;
  weft_bytes at[WEFT_MESSAGE_CHUNKS_MAX];
  size_t count;
  size_t len;
  bool forked; /* some are of a log with several branches: they stay apart */
} chunk_list;

/* Reads one chunk of a log into the list; `last` gets its last seq. */
static weft_err chunk_read(weft_link *link, chunk_list *list, const weft_source_span *piece,
                           uint64_t *last) {
  weft_node *n = link->node;
  weft_buf chunk;
  weft__buf_init(&chunk, &n->mem, WEFT_SESSION_BODY_MAX - 1024);
  weft_err err = n->source.read_chunk(n->source.ctx, &piece->log, piece->branch, piece->from,
                                      piece->to, &chunk, last);
  if (err == WEFT_OK) err = weft__buf_err(&chunk);
  if (err == WEFT_OK) {
    err = weft__arena_copy(&list->arena, weft__buf_view(&chunk), &list->at[list->count]);
  }
  if (err == WEFT_OK) {
    list->len += list->at[list->count++].len;
    link->sent += *last - piece->from + 1;
    weft_id id;
    if (n->source.id_at(n->source.ctx, &piece->log, piece->branch, *last, &id) == WEFT_OK) {
      weft__sync_raise(link, &piece->log, *last, &id);
    }
  }
  weft__buf_free(&chunk);
  return err;
}

static void chunks_send(weft_link *link, uint8_t type, chunk_list *list) {
  if (list->count == 0) return;
  weft_msg_blobs m = {list->at, list->count, type == WEFT_FRAME_CHANGES ? 0 : 1};
  weft_buf body = weft__link_body(link);
  weft__msg_blobs_put(&body, &m);
  weft__link_send(link, type, &body);
  weft__arena_reset(&list->arena);
  list->count = list->len = 0;
  list->forked = false;
}

static chunk_list *chunk_list_new(weft_node *n) {
  chunk_list *list = n->mem.alloc(n->mem.ctx, sizeof *list);
  if (!list) return NULL;
  weft__arena_init(&list->arena, &n->mem);
  list->count = list->len = 0;
  list->forked = false;
  return list;
}

static void chunk_list_free(weft_node *n, chunk_list *list) {
  weft__arena_free(&list->arena);
  n->mem.free(n->mem.ctx, list);
}

/* Turns by several logs make many short chunks.  When packing fails they go as they are. */
static void chunks_pack(weft_link *link, chunk_list *list) {
  const weft_source *source = &link->node->source;
  if (list->forked || list->count < 2) return;
  (void)!source->pack(source->ctx, &list->arena, list->at, &list->count);
}

/* Whether a device has had all that is held here several times by now, over all its links. */
static bool served_often(const weft_link *link) {
  const weft_node *n = link->node;
  const weft_vector *held = weft__node_held(n);
  uint64_t all = 0;
  for (size_t i = 0; i < held->count; i++) all += held->heads[i].seq;
  return link->known->served / WEFT_SERVE_TIMES > all;
}

static void serve_wanted(weft_link *link, chunk_list *list) {
  WEFT_ASSERT(list);
  size_t spare = WEFT_CHANGES_LEN + WEFT_EXPRESS_RESERVE;
  bool often = served_often(link);
  while (link->serve_count && weft__credit_allows(link, list->len + spare) &&
         !weft__again_waits(link)) {
    uint64_t last;
    weft_source_span piece;
    weft_serve *r = next_piece(link, &piece);
    if (!r) break;
    size_t before = list->len;
    bool again = often || weft__vector_covers(&link->theirs, &piece.log, piece.from);
    weft_err err = chunk_read(link, list, &piece, &last);
    if (err == WEFT_OK) link->known->served += last - piece.from + 1;
    if (again) weft__again_count(link, list->len - before);
    if (link->state != WEFT_LINK_OPEN) return;
    if (err != WEFT_OK) {
      nohave(link, &r->log, r->from, r->to, WEFT_NOHAVE_NEVER);
      serve_drop(link, r);
      continue;
    }
    /* A chunk may run on where the range leaves the branch. */
    if (r->forked && last > piece.to) last = piece.to;
    list->forked = list->forked || r->forked;
    r->from = last + 1;
    if (r->from > r->to) serve_drop(link, r);
    if (list->len >= WEFT_CHANGES_LEN || list->count == WEFT_MESSAGE_CHUNKS_MAX) break;
  }
  chunks_pack(link, list);
  chunks_send(link, WEFT_FRAME_CHANGES, list);
}

/* --- live --- */

static weft_ms relay_after(const weft_link *link) {
  const weft_node *n = link->node;
  return (weft_ms)n->o.relay_delay_ms + n->o.ack_delay_ms + link->round_trip_ms;
}

static const weft_recent *ring_at(const weft_node *n, uint64_t place) {
  return &n->ring[place % WEFT_RING_MAX];
}

/* What is written to overtake has frames that do; what one record does not hold goes as others do.
 */
static bool is_express(uint8_t lane) { return lane < 2; }

static uint8_t push_type(const chunk_list *list, bool express) {
  size_t head = 16 + 8 * list->count;
  return express && list->len + head <= WEFT_RECORD_BODY_MAX ? WEFT_FRAME_EXPRESS
                                                             : WEFT_FRAME_GOSSIP;
}

typedef enum push_kind { PUSH_EXPRESS, PUSH_OWN, PUSH_RELAY } push_kind;

static bool is_of(const weft_recent *r, push_kind kind) {
  if (!r->own) return kind == PUSH_RELAY;
  return kind == (is_express(r->lane) ? PUSH_EXPRESS : PUSH_OWN);
}

/* The next place in the ring that is to be pushed now; ring_end when there is none. */
static uint64_t next_push(const weft_link *link, uint64_t from, push_kind kind) {
  const weft_node *n = link->node;
  for (uint64_t place = from; place < n->ring_end; place++) {
    const weft_recent *r = ring_at(n, place);
    bool covered = weft__vector_covers(&link->theirs, &r->log, r->to);
    if (!is_of(r, kind) || (covered && !weft__log_forked(n, &r->log))) continue;
    if (n->park_count && weft__park_skips(link, &r->log, r->from)) continue;
    return place;
  }
  return n->ring_end;
}

static void ihave(weft_link *link, const weft_id *log) {
  weft_node *n = link->node;
  const weft_vector *held = weft__node_held(n);
  size_t first;
  weft_msg_heads m = {.count = weft__vector_find(held, log, &first)};
  if (m.count == 0 || m.count > WEFT_MESSAGE_HEADS_MAX) return;
  m.at = held->heads + first;
  weft_buf body = weft__link_body(link);
  weft__msg_heads_put(&body, &m);
  weft__link_send(link, WEFT_FRAME_IHAVE, &body);
}

/* Pushes one run, from where the peer stands if that is known.  False: no room or credit. */
static bool push_one(weft_link *link, chunk_list *list, const weft_recent *r) {
  weft_node *n = link->node;
  if (!weft__credit_allows(link, list->len + WEFT_PUSH_LEN_MAX)) return false;
  uint64_t seq = weft__vector_seq(&link->theirs, &r->log);
  uint64_t held = weft__vector_seq(weft__node_held(n), &r->log);
  bool forked = weft__log_forked(n, &r->log);
  bool gap = !forked && seq > 0 && seq + 1 < r->from;
  weft_serve *wanted = serve_of(link, &r->log);
  if (wanted) { /* they are being sent it, and what came since goes with it */
    if (!forked && !wanted->forked && wanted->to < r->to) wanted->to = r->to;
    return true;
  }
  if (gap || r->to - r->from >= WEFT_CHUNK_CHANGES_MAX) {
    ihave(link, &r->log);
    return true;
  }
  uint64_t last;
  size_t before = list->len;
  uint64_t from = seq >= r->from && !forked ? seq + 1 : r->from;
  weft_source_span piece = {r->log, r->branch, from, forked ? r->to : held};
  if (chunk_read(link, list, &piece, &last) != WEFT_OK) return true;
  if (last < r->to || list->len - before > WEFT_PUSH_LEN_MAX) ihave(link, &r->log);
  return true;
}

static void push_of(weft_link *link, chunk_list *list, push_kind kind, uint64_t *at) {
  weft_node *n = link->node;
  bool express = kind == PUSH_EXPRESS;
  while (*at < n->ring_end && link->state == WEFT_LINK_OPEN) {
    uint64_t place = next_push(link, *at, kind);
    *at = place;
    if (place == n->ring_end) break;
    const weft_recent *r = ring_at(n, place);
    if (!r->own && n->now < r->at + relay_after(link)) break;
    if (list->count && express != is_express(r->lane)) {
      chunks_send(link, push_type(list, express), list);
    }
    express = is_express(r->lane);
    if (!push_one(link, list, r)) break;
    *at = place + 1;
    bool much = list->len >= (express ? WEFT_EXPRESS_LEN : WEFT_CHANGES_LEN);
    if (much || list->count == WEFT_MESSAGE_CHUNKS_MAX) {
      chunks_send(link, push_type(list, express), list);
    }
  }
  chunks_send(link, push_type(list, express), list);
}

/* False: so much arrived meanwhile that it is told as a whole. */
static bool ring_reaches(const weft_link *link) {
  const weft_node *n = link->node;
  uint64_t oldest = n->ring_end > WEFT_RING_MAX ? n->ring_end - WEFT_RING_MAX : 0;
  return link->own_at >= oldest && link->relay_at >= oldest && link->express_at >= oldest;
}

static bool pushes(const weft_link *link) {
  return link->node->o.gossip && weft__sync_is_done(link);
}

/* What overtakes does not wait until the session has room for more. */
static void push_express(weft_link *link, chunk_list *list) {
  if (pushes(link) && ring_reaches(link)) push_of(link, list, PUSH_EXPRESS, &link->express_at);
}

static void push_live(weft_link *link, chunk_list *list) {
  if (!pushes(link)) return;
  if (!ring_reaches(link)) {
    weft__sync_announce(link);
    return;
  }
  push_of(link, list, PUSH_OWN, &link->own_at);
  push_of(link, list, PUSH_RELAY, &link->relay_at);
}

weft_ms weft__serve_deadline(const weft_link *link) {
  const weft_node *n = link->node;
  if (!n->o.gossip || !weft__sync_is_done(link)) return WEFT_NEVER;
  uint64_t oldest = n->ring_end > WEFT_RING_MAX ? n->ring_end - WEFT_RING_MAX : 0;
  uint64_t from = link->relay_at > oldest ? link->relay_at : oldest;
  uint64_t place = next_push(link, from, PUSH_RELAY);
  if (place == n->ring_end) return WEFT_NEVER;
  weft_ms due = ring_at(n, place)->at + relay_after(link);
  /* What is due and waits for credit is woken by the peer, not by time. */
  return due > n->now ? due : WEFT_NEVER;
}

/* Whether something is to be pushed now; what need not be is passed over. */
static bool is_due(const weft_link *link, push_kind kind, uint64_t *at) {
  const weft_node *n = link->node;
  if (*at >= n->ring_end) return false;
  *at = next_push(link, *at, kind);
  if (*at >= n->ring_end) return false;
  return kind != PUSH_RELAY || n->now >= ring_at(n, *at)->at + relay_after(link);
}

void weft__serve_run(weft_link *link) {
  weft_node *n = link->node;
  bool far = pushes(link) && !ring_reaches(link); /* it is told then, and nothing is pushed */
  bool near = pushes(link) && !far;
  bool express = near && is_due(link, PUSH_EXPRESS, &link->express_at);
  bool live = far || (near && (is_due(link, PUSH_OWN, &link->own_at) ||
                               is_due(link, PUSH_RELAY, &link->relay_at)));
  bool room = weft__serve_room(link);
  bool bulk = link->acks_stale || link->serve_count > 0 || link->fork_count > 0 || live;
  if (!express && (!bulk || !room)) return;
  chunk_list *list = NULL; /* large: only where there is something to put into it */
  if (express || (room && (live || link->serve_count > 0))) {
    list = chunk_list_new(n);
    if (!list) {
      weft__link_fail(link, WEFT_ENOMEM, WEFT_CODE_INTERNAL, 0);
      return;
    }
  }
  if (link->state == WEFT_LINK_OPEN && express) push_express(link, list);
  if (link->state == WEFT_LINK_OPEN && room) weft__fork_run(link);
  if (link->state == WEFT_LINK_OPEN && room && link->acks_stale) weft__ack_send(link);
  if (link->state == WEFT_LINK_OPEN && room && live) push_live(link, list);
  if (link->state == WEFT_LINK_OPEN && room && link->serve_count) serve_wanted(link, list);
  if (list) chunk_list_free(n, list);
}

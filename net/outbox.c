/* Queues of frames, cut into records.
 *
 * Invariants: `unsent` is the sum over both queues; the first of `ordered` alone may be partly
 * sent; what overtakes is never longer than one record. */
#include "net/outbox.h"

#include <string.h>

#include "crdt/assert.h"

struct weft_outbox_item {
  weft_outbox_item *next;
  size_t len, sent;
  uint8_t type;
  uint8_t body[];
};

void weft__outbox_init(weft_outbox *o, const weft_alloc *mem, size_t unsent_max) {
  memset(o, 0, sizeof *o);
  o->mem = *mem;
  o->unsent_max = unsent_max;
  o->record_max = WEFT_RECORD_BODY_MAX;
}

static void drop_first(weft_outbox *o, weft_outbox_queue *q) {
  weft_outbox_item *item = q->first;
  q->first = item->next;
  if (!q->first) q->last = NULL;
  size_t left = sizeof *item + item->len - item->sent;
  o->unsent -= left;
  q->unsent -= left;
  o->greetings -= item->type == WEFT_FRAME_HELLO;
  o->mem.free(o->mem.ctx, item);
}

void weft__outbox_clear(weft_outbox *o) {
  while (o->urgent.first) drop_first(o, &o->urgent);
  while (o->ordered.first) drop_first(o, &o->ordered);
  WEFT_ASSERT(o->unsent == 0 && o->urgent.unsent + o->ordered.unsent == 0);
}

bool weft__outbox_is_empty(const weft_outbox *o) { return !o->urgent.first && !o->ordered.first; }

static bool overtakes(uint8_t type) {
  return type == WEFT_FRAME_PING || type == WEFT_FRAME_PONG || type == WEFT_FRAME_CREDIT ||
         type == WEFT_FRAME_PRESENCE || type == WEFT_FRAME_EXPRESS;
}

weft_err weft__outbox_push(weft_outbox *o, uint8_t type, weft_bytes body) {
  size_t cost;
  if (!weft__add_ok(sizeof(weft_outbox_item), body.len, &cost)) return WEFT_ENOMEM;
  bool fits = cost <= o->unsent_max && o->unsent <= o->unsent_max - cost;
  if (!fits && !weft__outbox_is_empty(o)) return WEFT_EAGAIN;
  weft_outbox_item *item = o->mem.alloc(o->mem.ctx, cost);
  if (!item) return WEFT_ENOMEM;
  memset(item, 0, sizeof *item);
  item->len = body.len;
  item->type = type;
  if (body.len) memcpy(item->body, body.at, body.len);
  weft_outbox_queue *q = overtakes(type) ? &o->urgent : &o->ordered;
  if (q->last)
    q->last->next = item;
  else
    q->first = item;
  q->last = item;
  o->unsent += cost;
  q->unsent += cost;
  o->greetings += type == WEFT_FRAME_HELLO;
  return WEFT_OK;
}

/* The peer takes nothing before our HELLO, so nothing overtakes it. */
static bool urgent_first(const weft_outbox *o) { return o->urgent.first && o->greetings == 0; }

static const weft_outbox_item *next_item(const weft_outbox *o) {
  return urgent_first(o) ? o->urgent.first : o->ordered.first;
}

/* Only bulk frames may be cut. */
static size_t next_body_len(const weft_outbox *o, const weft_outbox_item *item) {
  size_t left = item->len - item->sent, most = WEFT_RECORD_BODY_MAX;
  bool whole = overtakes(item->type) || !weft__frame_is_bulk(item->type);
  if (!whole && o->record_max < most) most = o->record_max;
  return left < most ? left : most;
}

size_t weft__outbox_next_len(const weft_outbox *o) {
  const weft_outbox_item *item = next_item(o);
  return item ? weft__record_len(next_body_len(o, item)) : 0;
}

void weft__outbox_take(weft_outbox *o, uint8_t *out) {
  weft_outbox_queue *q = urgent_first(o) ? &o->urgent : &o->ordered;
  weft_outbox_item *item = q->first;
  WEFT_ASSERT(item != NULL);
  size_t len = next_body_len(o, item);
  bool more = item->sent + len < item->len;
  weft__record_write(out, item->type, more, weft_bytes_of(item->body + item->sent, len));
  item->sent += len;
  o->unsent -= len;
  q->unsent -= len;
  if (!more) drop_first(o, q);
}

/* The frames of a session that wait to be sent, and their cutting into transport records.
 *
 * Two queues: PING, PONG, CREDIT, EXPRESS and PRESENCE overtake everything but a HELLO, all others
 * leave in order.  Records are cut one at a time when they are asked for, so that a long body does
 * not hold up what overtakes it. */
#ifndef WEFT_OUTBOX_H
#define WEFT_OUTBOX_H

#include "crdt/alloc.h"
#include "net/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_outbox_item weft_outbox_item;

typedef struct weft_outbox_queue {
  weft_outbox_item *first, *last;
  size_t unsent; /* of the bytes below, this queue's */
} weft_outbox_queue;

typedef struct weft_outbox {
  weft_alloc mem;
  size_t unsent; /* bytes of bodies queued, and a fixed sum for each frame */
  size_t unsent_max;
  size_t greetings;  /* HELLOs queued */
  size_t record_max; /* body bytes of one record of a frame that may be overtaken */
  weft_outbox_queue urgent, ordered;
} weft_outbox;

/* Prepares an empty outbox on a copy of `mem`. Takes nothing yet. */
void weft__outbox_init(weft_outbox *o, const weft_alloc *mem, size_t unsent_max);

/* Drops and frees everything that waits. */
void weft__outbox_clear(weft_outbox *o);

bool weft__outbox_is_empty(const weft_outbox *o);

/* Queues a copy of a frame.  WEFT_EAGAIN: over unsent_max, unless it is the only one; WEFT_ENOMEM.
 */
weft_err weft__outbox_push(weft_outbox *o, uint8_t type, weft_bytes body) WEFT_MUST_USE;

/* Length of the next record's plaintext; 0 when nothing waits. */
size_t weft__outbox_next_len(const weft_outbox *o);

/* Writes the next record's plaintext, weft__outbox_next_len() bytes, and drops what it carries. */
void weft__outbox_take(weft_outbox *o, uint8_t *out);

#ifdef __cplusplus
}
#endif
#endif

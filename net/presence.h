/* Presence: which sessions of which devices are where, as long as they give signs of life.
 *
 * A session is one window, tab or program of a person on a device; it is at a document, or at none,
 * with a small JSON state: a cursor, a selection.  A device says in one signed, numbered statement
 * where all its sessions are, whenever that changes and every `heartbeat_ms`; a statement without
 * sessions is goodbye.  Of each device the newest statement counts.  It is passed on to links that
 * do not hear that device themselves, with its age and the life that its device gave it, its
 * `gone_ms`; then its sessions are gone.  Nothing is stored.
 *
 * The core has no clock, socket or random number: every call takes `now`, and the node sends what
 * weft__presence_next gives.  What waits for a link is state and not a queue: a link that is slow
 * gets the newest, at most once in `update_ms`.  Memory is bounded by WEFT_PRESENCE_DEVICES_MAX.
 *
 * Counters grow with the device's hybrid clock.  A device that lost its clock hears its own newer
 * statement from the others, and goes on above it. */
#ifndef WEFT_PRESENCE_H
#define WEFT_PRESENCE_H

#include "net/message.h"
#include "net/node.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_presence weft_presence;

typedef struct weft_presence_options {
  weft_alloc mem;
  const weft_crypto *crypto;     /* must outlive it */
  const weft_identity *identity; /* likewise */
  weft_id space;
  uint32_t gone_ms;      /* of our statements; at most WEFT_PRESENCE_LIFE_MS_MAX counts */
  uint32_t heartbeat_ms; /* at most a third of that counts */
  uint32_t update_ms;
} weft_presence_options;

/* Makes an empty one.  WEFT_ENOMEM. */
weft_err weft__presence_new(weft_presence **out, const weft_presence_options *o) WEFT_MUST_USE;
/* NULL does nothing. */
void weft__presence_free(weft_presence *p);

/* --- own sessions --- */

/* Puts a session of this device at a document, "" for none, or renews it; the pair of names is the
 * key.  It ends `ttl_ms` later unless renewed; 0: with weft__presence_leave only.  WEFT_EBADVALUE:
 * the session's name or the state; WEFT_EBADNAME: the document's; WEFT_ELIMIT: too many, or too
 * much state; WEFT_ENOMEM.  On error everything is as before. */
weft_err weft__presence_set(weft_presence *p, weft_ms now,
                            const weft_presence_session *s) WEFT_MUST_USE;
/* Ends a session.  WEFT_ENOTFOUND. */
weft_err weft__presence_leave(weft_presence *p, weft_ms now, weft_bytes session,
                              weft_bytes doc) WEFT_MUST_USE;
/* Ends all, and makes the goodbye at once; `clock` as in weft__presence_tick. */
void weft__presence_leave_all(weft_presence *p, weft_ms now, uint64_t clock);

/* --- links --- */

/* A link to `device` opened: it gets all that is known.  Without memory it gets nothing. */
void weft__presence_link_up(weft_presence *p, uint64_t conn, const weft_id *device);
/* A link ended; unknown ones are passed over. */
void weft__presence_link_down(weft_presence *p, uint64_t conn);
/* Takes a statement that came over a link, of a member.  WEFT_EMALFORMED, WEFT_EBADSIG: the sender
 * is at fault; WEFT_ENOMEM. */
weft_err weft__presence_take(weft_presence *p, weft_ms now, uint64_t conn,
                             const weft_msg_statement *s) WEFT_MUST_USE;
/* The peer of a link told which devices it is linked to. */
weft_err weft__presence_direct(weft_presence *p, uint64_t conn, const weft_msg_direct *direct,
                               size_t count) WEFT_MUST_USE;
/* When a link has something to send; WEFT_NEVER: nothing. */
weft_ms weft__presence_due(weft_presence *p, uint64_t conn);
/* Gives the next frame of a link and counts it as sent; false: nothing is due.  Lists in `arena`,
 * bodies are views until the next call that is not const. */
bool weft__presence_next(weft_presence *p, weft_ms now, uint64_t conn, weft_arena *arena,
                         weft_msg_presence *out);

/* --- time --- */

/* Does what is due: sessions that end, heartbeats, devices that are gone.  `clock` is the device's
 * hybrid clock. */
void weft__presence_tick(weft_presence *p, weft_ms now, uint64_t clock);
/* When weft__presence_tick is due; WEFT_NEVER. */
weft_ms weft__presence_deadline(const weft_presence *p);

/* --- what is known --- */

/* Lists all sessions, our own first, then by device, document and session; all in `arena`.
 * WEFT_ENOMEM. */
weft_err weft__presence_list(const weft_presence *p, weft_ms now, weft_arena *arena,
                             weft_present **out, size_t *count) WEFT_MUST_USE;

typedef struct weft_presence_event {
  weft_node_note kind; /* JOINED, UPDATED, LEFT */
  weft_id device;
  weft_bytes doc, session; /* views until the next call that is not const */
} weft_presence_event;
/* Takes the next thing that happened; false: nothing.  What finds no memory is lost. */
bool weft__presence_event_next(weft_presence *p, weft_presence_event *out);

/* --- the body of a statement, for tests --- */

typedef struct weft_presence_item {
  weft_bytes doc, session;
  weft_value state;
} weft_presence_item;

/* Reads [[document, session, state]...], strictly ascending, at most WEFT_PRESENCE_SESSIONS_MAX.
 * All in `arena`.  WEFT_EMALFORMED, WEFT_ENOMEM. */
weft_err weft__presence_body_read(weft_arena *arena, weft_bytes body, weft_presence_item **out,
                                  size_t *count) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

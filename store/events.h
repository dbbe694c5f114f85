/* Events of a replica: the numbered history of what happened, and the bus that hands it to
 * subscriptions.
 *
 * History.  Every commit and every change that becomes visible gives one change. event and one doc.
 * event for each document it touches; conflicts, peers, the network, clocks and the store give
 * others (crdt/event.h, docs/events.md).  All of them share one sequence of numbers without a gap,
 * which outlives the process.  The last 10,000 can be read again.
 *
 * Bus.  A subscription says which types it wants, of which documents, how urgent they are, and how
 * they may be gathered.  Nothing calls back: the owner pumps the bus after its writes and takes
 * deliveries until there are none.  So an event is seen after the commit that made it, never inside
 * it, and a slow taker slows nobody.  A subscription that falls behind reads the history again;
 * only what the history has lost by then is left out, and it is told so by a `reset`.
 *
 * A bus lives on the thread of its replica, and must be freed before it. */
#ifndef WEFT_EVENTS_H
#define WEFT_EVENTS_H

#include "../crdt/event.h"
#include "replica.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- history --- */

enum { WEFT_EVENTS_KEPT = 10000, WEFT_EVENTS_KEPT_MIN = 100, WEFT_EVENTS_KEPT_MAX = 1000000 };

/* How many events can be read again, WEFT_EVENTS_KEPT_MIN to _MAX; WEFT_EVENTS_KEPT until it is
 * said.  Fewer takes effect at once, more from then on.  WEFT_ELIMIT: out of range. */
WEFT_API weft_err weft_replica_keep_events(weft_replica *r, uint64_t count) WEFT_MUST_USE;

/* The number of the newest event that is durable; 0: none yet.  Costs nothing. */
WEFT_API uint64_t weft_replica_events_newest(const weft_replica *r);
/* What can be read: from `first` to `last`, the newest that is durable; first = last + 1 when there
 * is none.  WEFT_EIO, WEFT_ECORRUPT, WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_events_span(weft_replica *r, uint64_t *first,
                                           uint64_t *last) WEFT_MUST_USE;
/* Reads the events after number `since`, in order, at most `max` (1..4,096); array and all they
 * point to in `arena`.  None is no error.  Costs a walk over at most 1,024 events before them.
 * WEFT_EGAP: `since` + 1 is no longer kept; WEFT_ENOTFOUND: `since` is beyond the newest;
 * WEFT_ELIMIT: `max`; WEFT_ECORRUPT, WEFT_EIO, WEFT_ENOMEM. */
WEFT_API weft_err weft_replica_events(weft_replica *r, weft_arena *arena, uint64_t since,
                                      size_t max, weft_event **out, size_t *count) WEFT_MUST_USE;

/* Says that something happened which follows from no change: `event` is of a stored type (seq and
 * cause are not looked at; time 0: now).  It is copied, waits in memory, and gets its number in the
 * transaction of the next write or of weft_replica_flush_events, whichever comes first; what a
 * crash takes before that has not been told.  At most 1,024 wait; of more the oldest are lost.
 * WEFT_EMISUSE: not of a stored type; WEFT_ENOMEM.  Safe in any state, also within a group. */
WEFT_API weft_err weft_replica_post_event(weft_replica *r, const weft_event *event) WEFT_MUST_USE;
/* Writes what waits, in one synced transaction; nothing to do costs nothing.  Errors of writes:
 * then it waits on.  WEFT_EMISUSE within a group. */
WEFT_API weft_err weft_replica_flush_events(weft_replica *r) WEFT_MUST_USE;
/* How many events wait to be written. */
WEFT_API size_t weft_replica_events_waiting(const weft_replica *r);

/* --- the bus --- */

typedef struct weft_events weft_events;

typedef enum weft_coalesce {
  WEFT_COALESCE_NONE,   /* every event by itself */
  WEFT_COALESCE_TYPE,   /* of one type the newest */
  WEFT_COALESCE_DOC,    /* of one document the newest; without document: of one type */
  WEFT_COALESCE_SUBJECT /* of one type and document, device and text the newest */
} weft_coalesce;

enum {
  WEFT_EVENTS_PRIORITIES = 4, /* 0, the most urgent, to 3 */
  WEFT_EVENTS_QUEUE = 1024,   /* by default */
  WEFT_EVENTS_QUEUE_MAX = 65536,
  WEFT_EVENTS_SUBSCRIPTIONS_MAX = 65536,
  WEFT_EVENTS_LATENCY_MAX_MS = 3600000,
  WEFT_EVENTS_TRACE_MAX = 64 /* subscriptions that a trace names */
};

typedef struct weft_subscription_options {
  size_t struct_size;
  const weft_bytes *patterns; /* as weft_event_pattern reads them; none: `**` */
  size_t pattern_count;
  weft_bytes collection;   /* only events about documents of it; empty: all */
  weft_bytes pointer;      /* only events about places at, above or below this JSON Pointer */
  uint32_t priority;       /* 0..3, default 2; the more urgent is delivered first */
  uint32_t latency_max_ms; /* 0: at once; else events are gathered at most this long */
  uint32_t batch_max;      /* or until there are this many; 0: no such bound */
  weft_coalesce coalesce;
  uint32_t queue_max; /* events that wait for the taker, 1 to 65,536; default 1,024 */
  bool has_since;     /* begin after `since`; else with what happens next */
  uint64_t since;
  bool trace; /* deliveries say which subscriptions an event went to */
  void *ctx;  /* the owner's; given back with each delivery */
} weft_subscription_options;
#define weft_subscription_options_init(o) weft_subscription_options_init_sized((o), sizeof *(o))
/* Sets every default.  Use the macro. */
WEFT_API void weft_subscription_options_init_sized(weft_subscription_options *o,
                                                   size_t struct_size);

/* One event for one subscription. */
typedef struct weft_delivery {
  uint64_t subscription;
  void *ctx;
  const weft_event *event; /* view, until the next non-const call on the bus */
  uint64_t merged;         /* events that this one stands for, itself counted */
  uint64_t left;           /* of the same batch, behind it */
  const uint64_t *to;      /* trace: the subscriptions it went to, in no order; view likewise */
  size_t to_count;
  uint64_t to_total; /* of which `to` holds the first WEFT_EVENTS_TRACE_MAX */
} weft_delivery;

typedef struct weft_subscription_stats {
  uint64_t queued;    /* waiting */
  uint64_t delivered; /* taken */
  uint64_t coalesced; /* taken over by a newer one */
  uint64_t dropped;   /* left out: transient ones without a place, and what the history had lost */
  uint64_t resets;
  bool behind; /* reads the history */
} weft_subscription_stats;

/* Makes a bus over `r`, which it borrows, and whose events it hands on from now on.  WEFT_ENOMEM
 * and the errors of weft_replica_events_span. */
WEFT_API weft_err weft_events_new(weft_events **out, weft_replica *r,
                                  const weft_alloc *mem) WEFT_MUST_USE;
/* Ends all subscriptions.  NULL-safe. */
WEFT_API void weft_events_free(weft_events *b);

/* Adds a subscription; `id` gets its number, from 1, never reused.  Copies the options but `ctx`.
 * WEFT_EBADVALUE: a pattern is none; WEFT_ENOTFOUND: a pattern fits no type, or `since` is beyond
 * the newest event; WEFT_EGAP: `since` is no longer kept; WEFT_EBADPATH: the pointer;
 * WEFT_EBADNAME: the collection; WEFT_ELIMIT: a number is out of range, or there are 65,536;
 * WEFT_ENOMEM. */
WEFT_API weft_err weft_events_subscribe(weft_events *b, const weft_subscription_options *o,
                                        uint64_t *id) WEFT_MUST_USE;
/* Ends one; views of its deliveries end too.  WEFT_ENOTFOUND. */
WEFT_API weft_err weft_events_unsubscribe(weft_events *b, uint64_t id) WEFT_MUST_USE;
/* How many there are. */
WEFT_API size_t weft_events_subscriptions(const weft_events *b);
/* What one has had so far.  WEFT_ENOTFOUND. */
WEFT_API weft_err weft_events_stats(const weft_events *b, uint64_t id,
                                    weft_subscription_stats *out) WEFT_MUST_USE;

/* Hands a transient event to who subscribes to it now.  WEFT_EMISUSE: it is not transient;
 * WEFT_ENOMEM: nobody got it. */
WEFT_API weft_err weft_events_publish(weft_events *b, weft_ms now,
                                      const weft_event *event) WEFT_MUST_USE;
/* Takes in what the replica has made durable since: call it after each write, and after deliveries
 * were taken.  Reads nothing when nobody subscribes.  `now` is monotonic milliseconds that never go
 * back.  Errors as weft_replica_events; what was not taken in is so by the next call. */
WEFT_API weft_err weft_events_pump(weft_events *b, weft_ms now) WEFT_MUST_USE;
/* Takes the next delivery: of the most urgent subscription that has something due, by turns among
 * equals.  False when nothing is due. */
WEFT_API bool weft_events_next(weft_events *b, weft_ms now, weft_delivery *out);
/* As weft_events_next, of one subscription only: for an owner that can take from one at a time. */
WEFT_API bool weft_events_take(weft_events *b, weft_ms now, uint64_t id, weft_delivery *out);
/* When a gathered batch falls due; WEFT_NEVER: none waits for time. */
WEFT_API weft_ms weft_events_deadline(const weft_events *b);

#ifdef __cplusplus
}
#endif
#endif

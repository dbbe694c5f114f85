/* Events: what happened, as values.
 *
 * An event has a type from one table, a source (the device whose doing it is), a time and a
 * subject.  The replica numbers events without a gap (store/replica.h), the bus hands them to
 * subscriptions (store/events.h), and both ends of a wire or a program speak of them by name.
 * docs/events.md says of every type what causes it and which members it fills in.
 *
 * A type is of one of three kinds.  Derived: it follows from a shown change and is made from the
 * log when it is read, so it costs no room.  Stored: it follows from nothing that is kept, and is
 * kept itself.  Transient: it is handed to who listens, has no number, and is never stored.
 *
 * Nothing here allocates but weft_event_copy.  Pure; any thread. */
#ifndef WEFT_EVENT_H
#define WEFT_EVENT_H

#include "path.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Name, number on disk, name for people, kind, cause.  Numbers are below 64 and never reused. */
#define WEFT_EVENT_TYPES(X)                                                                        \
  X(UNKNOWN, 0, "store.unknown", STORED, "an event of a newer version")                            \
  X(RESET, 1, "reset", TRANSIENT, "the subscriber was too far behind: events were left out")       \
  X(CHANGE_COMMITTED, 2, "change.committed", DERIVED, "a change of this device became durable")    \
  X(CHANGE_SHOWN, 3, "change.shown", DERIVED, "a change of another device became visible")         \
  X(CHANGE_INVALID, 4, "change.invalid", DERIVED, "a change has forbidden content: shown as none") \
  X(CHANGE_UNKNOWN, 5, "change.unknown", DERIVED, "a change of a newer version: needs an upgrade") \
  X(DOC_CREATED, 6, "doc.created", DERIVED, "the first change that touches the document")          \
  X(DOC_CHANGED, 7, "doc.changed", DERIVED, "a change wrote in the document")                      \
  X(DOC_DELETED, 8, "doc.deleted", DERIVED, "a change deleted the document")                       \
  X(DOC_RESTORED, 9, "doc.restored", DERIVED, "a change began the document again")                 \
  X(CONFLICT_OPENED, 10, "conflict.opened", STORED, "a change made conflicts")                     \
  X(CONFLICT_CLOSED, 11, "conflict.closed", STORED, "a change settled conflicts")                  \
  X(CONFLICT_FORKED, 12, "conflict.forked", STORED, "a log goes on in two ways")                   \
  X(SYNC_DONE, 13, "sync.done", STORED, "a peer and this device hold and show the same")           \
  X(SYNC_MISMATCH, 14, "sync.mismatch", STORED, "equal changes are shown, digests differ")         \
  X(PEER_ADMITTED, 15, "peer.admitted", STORED, "a membership record is held")                     \
  X(PEER_CONNECTED, 16, "peer.connected", STORED, "a link is open")                                \
  X(PEER_DISCONNECTED, 17, "peer.disconnected", STORED, "a link has ended")                        \
  X(PEER_UNREACHABLE, 18, "peer.unreachable", STORED, "an address did not answer")                 \
  X(PEER_REFUSED, 19, "peer.refused", STORED, "somebody was turned away")                          \
  X(PEER_CLONE, 20, "peer.clone", STORED, "a device is there twice")                               \
  X(NETWORK_ONLINE, 21, "network.online", STORED, "the first link is open")                        \
  X(NETWORK_OFFLINE, 22, "network.offline", STORED, "the last link has ended")                     \
  X(NETWORK_UP, 23, "network.up", STORED, "an interface has an address")                           \
  X(NETWORK_DOWN, 24, "network.down", STORED, "an interface has no address any more")              \
  X(NETWORK_CHANGED, 25, "network.changed", STORED, "an interface has other addresses")            \
  X(PRESENCE_JOINED, 26, "presence.joined", TRANSIENT, "a session began")                          \
  X(PRESENCE_CHANGED, 27, "presence.changed", TRANSIENT, "a session told another state")           \
  X(PRESENCE_LEFT, 28, "presence.left", TRANSIENT, "a session said goodbye or fell silent")        \
  X(CLOCK_AHEAD, 29, "clock.ahead", STORED, "a change is more than ten minutes ahead")             \
  X(STORE_BEGUN, 30, "store.begun", STORED, "this device writes under a new incarnation")          \
  X(STORE_REBUILT, 31, "store.rebuilt", STORED, "what is shown is made anew from the logs")        \
  X(STORE_FULL, 32, "store.full", STORED, "a write found no room")                                 \
  X(SYNC_REFUSED, 33, "sync.refused", STORED, "a peer does not take changes of a log")

typedef enum weft_event_type {
#define WEFT_EVENT_ENUM(id, number, name, kind, cause) WEFT_EVENT_##id = number,
  WEFT_EVENT_TYPES(WEFT_EVENT_ENUM)
#undef WEFT_EVENT_ENUM
} weft_event_type;

typedef enum weft_event_kind {
  WEFT_EVENT_DERIVED,
  WEFT_EVENT_STORED,
  WEFT_EVENT_TRANSIENT
} weft_event_kind;

enum {
  WEFT_EVENT_TEXT_MAX = 256, /* bytes of `text` that are kept */
  WEFT_EVENT_PATHS_MAX = 64  /* paths that an event names; where there are more, `count` tells */
};

typedef struct weft_event {
  uint64_t seq;   /* from 1 on, without a gap; 0: transient */
  uint64_t cause; /* seq of the event that this one follows from; 0: none */
  weft_event_type type;
  weft_err why;   /* peer.*: how it came to that; else WEFT_OK */
  weft_id source; /* the device whose doing it is */
  weft_ms time;   /* since 1970: of derived events by the author's clock, else by ours */
  uint64_t count; /* what it counts: docs/events.md */
  bool has_change;
  bool has_device;
  weft_id change;   /* the change it is about or follows from */
  weft_id device;   /* the device it is about */
  weft_bytes doc;   /* the document it is about; empty: none */
  weft_bytes text;  /* an address, an interface, a reason, a state in JSON: UTF-8 */
  weft_path *paths; /* places in `doc` that were written or are in conflict */
  size_t path_count;
} weft_event;

/* Gives the static name of a type, such as "doc.changed"; of a number that is none "store.unknown".
 * Any thread. */
WEFT_API const char *weft_event_name(weft_event_type type);
/* Gives the static English clause that says what causes a type.  Any thread. */
WEFT_API const char *weft_event_cause(weft_event_type type);
/* Gives the kind of a type.  Any thread. */
WEFT_API weft_event_kind weft_event_kind_of(weft_event_type type);

/* A set of types, as bits. */
typedef uint64_t weft_event_mask;
#define WEFT_EVENT_BIT(type) ((weft_event_mask)1 << (type))

/* Reads a pattern: segments joined by points, each a word, `*` for one segment of any name, or, as
 * the last, `**` for all that follow.  `mask` gets the types whose names it fits.  WEFT_EBADVALUE:
 * it is no pattern; WEFT_ENOTFOUND: it fits no type there is; `mask` is 0 then.  Any thread. */
WEFT_API weft_err weft_event_pattern(weft_bytes pattern, weft_event_mask *mask) WEFT_MUST_USE;

/* The places of a document that a subscription wants. */
typedef struct weft_event_filter {
  weft_bytes collection;    /* "templates": what is named templates/...; empty: any */
  const weft_bytes *tokens; /* of a JSON Pointer, as weft_pointer_split gives them */
  size_t token_count;       /* 0: any place */
} weft_event_filter;

/* True when `event` is about what the filter names.  A token stands for the key of that name, `*`
 * for any step, and a number or `-` also for any array element, whose index an event does not know;
 * places above and below count as well, and an event that names as many places as it can passes. An
 * event without a document passes no filter that names a collection or place, one without places
 * none that names a place.  Any thread. */
WEFT_API bool weft_event_passes(const weft_event *event, const weft_event_filter *filter);

/* Copies an event with all it points to into one piece of memory from `mem`, which the caller frees
 * with it; NULL when memory is out. */
weft_event *weft__event_copy(const weft_alloc *mem, const weft_event *event);

/* Appends the bytes of a stored event, all but its number; texts and paths beyond the limits are
 * left out. */
void weft__event_write(weft_buf *out, const weft_event *event);
/* Reads the bytes of the event with the number `seq`, paths into `arena`, the rest as views.
 * WEFT_ECORRUPT, WEFT_ENOMEM.  A type this version does not know becomes WEFT_EVENT_UNKNOWN. */
weft_err weft__event_read(weft_bytes bytes, uint64_t seq, weft_arena *arena,
                          weft_event *out) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

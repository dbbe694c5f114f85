/* The node: one space on the network, without I/O.  Bytes and a time go in, actions come out.
 *
 * The owner (net/uv_node.c with libuv, tests/sim with virtual time) carries out actions in the
 * order given and reports back.  A node dials known addresses, accepts connections, keeps one link
 * per device, brings every link to the same held changes and records, pushes live changes, relays
 * what a link lacks, and gathers acknowledgements.  Nothing is announced or sent that is not
 * durable: own changes are reported by weft_node_changed after their commit, received ones by
 * weft_node_held after theirs.
 *
 * Every entry takes `now`, monotonic milliseconds that never go back (asserted), never blocks, and
 * keeps all queues and memory within the options' bounds.  No call makes a callback except into
 * weft_source.  A node is used by one thread. */
#ifndef WEFT_NODE_H
#define WEFT_NODE_H

#include "../crdt/identity.h"
#include "../crdt/metrics.h"
#include "../crdt/record.h"
#include "../crdt/value.h"
#include "source.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_node weft_node;

typedef struct weft_node_epoch {
  uint8_t id[8];   /* first bytes of the record that made the epoch */
  weft_key secret; /* E_e of docs/wire.md: drawn by who makes the space, handed over with a join */
} weft_node_epoch;

/* A ticket this device has issued and still honours. */
typedef struct weft_node_invite {
  weft_id invite; /* public key of the invite */
  weft_key join;  /* secret: of weft_ticket_keys (crdt/ticket.h) */
  weft_key tag;   /* secret: likewise */
} weft_node_invite;

typedef struct weft_node_options {
  size_t struct_size;
  weft_alloc mem;
  const weft_crypto *crypto;
  const weft_identity *identity; /* copied */
  weft_id space;
  weft_bytes name;               /* of this device, at most 64 bytes; copied */
  const weft_node_epoch *epochs; /* newest first; copied */
  size_t epoch_count;
  weft_source source;
  uint8_t seed[32];         /* entropy: everything random in the node is drawn from it */
  const weft_bytes *listen; /* addresses others may dial, host:port; copied */
  size_t listen_count;
  bool gossip;    /* live push and relay; false: anti-entropy only.  Default true */
  bool dial_once; /* do not redial what failed or ended (a one-time sync) */
  /* Times in milliseconds, with their defaults. */
  uint32_t heartbeat_ms; /* 15,000: PING after this much silence, and signs of presence */
  uint32_t dead_ms;      /* 45,000: silence after which a link is closed, and sessions are gone */
  uint32_t dial_timeout_ms; /* 10,000 */
  uint32_t redial_cap_ms;   /* 60,000 */
  uint32_t anti_entropy_ms; /* 30,000 */
  uint32_t relay_delay_ms;  /* 50: hold-off before relaying */
  uint32_t ack_delay_ms;    /* 50 */
  size_t memory_max;        /* 64 MiB: reassembly, runs and send queues of all links together */
  size_t links_max;         /* 256 */
  weft_metrics *metrics;    /* counted in; borrowed until the node is freed; NULL: none */
  uint32_t retries_max;     /* 0: an address that does not answer is tried for ever; else so often
                               after the first time, until the network changes */
} weft_node_options;
#define weft_node_options_init(o) weft_node_options_init_sized((o), sizeof *(o))
/* Sets every default.  Use the macro. */
WEFT_API void weft_node_options_init_sized(weft_node_options *o, size_t struct_size);

/* Makes a node.  `wall` is milliseconds since 1970 at `now`.  WEFT_ENOMEM; WEFT_EMISUSE: no epoch,
 * no identity, no source, or the name or an address is too long. */
WEFT_API weft_err weft_node_new(weft_node **out, const weft_node_options *o, weft_ms now,
                                weft_ms wall) WEFT_MUST_USE;
/* Frees it with all links; NULL does nothing. */
WEFT_API void weft_node_free(weft_node *n);

/* Adds an address to keep a link to (host:port).  Known already: dialled again soon.  WEFT_ELIMIT.
 */
WEFT_API weft_err weft_node_add_address(weft_node *n, weft_ms now,
                                        weft_bytes address) WEFT_MUST_USE;
/* Replaces the open invites: the ones join connections are matched against. */
WEFT_API weft_err weft_node_set_invites(weft_node *n, const weft_node_invite *invites,
                                        size_t count) WEFT_MUST_USE;

/* --- events: what the owner reports
 * ---------------------------------------------------------------- */

/* Connections are named by the node's own numbers, from 1, never reused.  `remote` is host:port;
 * `loopback` spares the host from limits that count its attempts.  0: refused, close at once and
 * tell nothing more. */
WEFT_API uint64_t weft_node_accepted(weft_node *n, weft_ms now, weft_bytes remote, bool loopback);
/* The answer to a DIAL: connected, or why not; after an error the connection is forgotten. */
WEFT_API void weft_node_dialled(weft_node *n, weft_ms now, uint64_t conn, weft_err result);
/* Bytes of a connection; all are consumed. */
WEFT_API void weft_node_received(weft_node *n, weft_ms now, weft_ms wall, uint64_t conn,
                                 weft_bytes bytes);
/* The stream's write queue fell to `queued` bytes: back-pressure.  Between such reports the node
 * counts what it gave out with SEND. */
WEFT_API void weft_node_written(weft_node *n, weft_ms now, uint64_t conn, size_t queued);
/* The connection is gone, by our CLOSE or by itself; always told, once, except after a failed dial.
 */
WEFT_API void weft_node_closed(weft_node *n, weft_ms now, uint64_t conn, weft_err why);

typedef enum weft_run_verdict {
  WEFT_RUN_TAKEN,
  WEFT_RUN_KNOWN,
  WEFT_RUN_GAP,
  WEFT_RUN_UNKNOWN,
  WEFT_RUN_BRANCH,
  WEFT_RUN_FULL
} weft_run_verdict;

/* One chunk of a HOLD action, as the replica judged it. */
typedef struct weft_node_verdict {
  weft_id log;
  uint64_t first, last;
  weft_run_verdict verdict;
  uint64_t want;   /* GAP, BRANCH: first seq to ask for */
  uint32_t branch; /* TAKEN, KNOWN: as in a weft_source_span */
  weft_id id;      /* TAKEN, KNOWN, GAP, BRANCH: of `last` */
} weft_node_verdict;
/* A HOLD action was carried out: everything TAKEN is durable.  `result` other than WEFT_OK: nothing
 * is held; WEFT_EBADSIG, WEFT_EMALFORMED and such are the sender's fault, WEFT_EIO and WEFT_EFULL
 * ours. */
WEFT_API void weft_node_held(weft_node *n, weft_ms now, uint64_t ticket, weft_err result,
                             const weft_node_verdict *runs, size_t count);
/* A RECORD action was carried out; WEFT_OK and WEFT_EEXIST: it is durable here. */
WEFT_API void weft_node_recorded(weft_node *n, weft_ms now, uint64_t ticket, weft_err result);
/* An ADMIT action was decided: WEFT_OK with the ADMIT durable (it and all records are then in the
 * source), or WEFT_EDENIED and the code of docs/wire.md to refuse with. */
WEFT_API void weft_node_admitted(weft_node *n, weft_ms now, uint64_t ticket, weft_err result,
                                 uint16_t refuse_code);
/* The replica changed by itself: a commit, changes shown, a record added. */
WEFT_API void weft_node_changed(weft_node *n, weft_ms now);
/* Asks every open link what it holds and shows now.  One that opens later tells so in its HELLO. */
WEFT_API void weft_node_ask(weft_node *n, weft_ms now);
/* The network changed: what waits for its next try is dialled now, but not twice within a second,
 * and what was given up is tried anew. */
WEFT_API void weft_node_network_changed(weft_node *n, weft_ms now);
/* Lets time pass: call it at weft_node_deadline.  Early or repeated calls do nothing. */
WEFT_API void weft_node_tick(weft_node *n, weft_ms now, weft_ms wall);
/* When weft_node_tick is due, once all actions were taken; WEFT_NEVER: no timer. */
WEFT_API weft_ms weft_node_deadline(const weft_node *n);
/* Says goodbye on every link, and gives what is still to be stored as ACK actions; after the CLOSE
 * actions nothing follows but frees. */
WEFT_API void weft_node_stop(weft_node *n, weft_ms now);

/* --- actions
 * --------------------------------------------------------------------------------------- */

typedef enum weft_node_do {
  WEFT_NODE_DIAL,    /* conn, text: the address; then weft_node_dialled, or, if CLOSE came first,
                        weft_node_closed */
  WEFT_NODE_SEND,    /* conn, data */
  WEFT_NODE_CLOSE,   /* conn, why: after what was sent is flushed, at most a second */
  WEFT_NODE_HOLD,    /* ticket, chunks, which are good until weft_node_held: hold them durably */
  WEFT_NODE_RECORD,  /* ticket, data: one membership record */
  WEFT_NODE_ADMIT,   /* ticket, redeem, text: the joiner's name */
  WEFT_NODE_ACK,     /* device, data: a newer acknowledgement, verified; store it */
  WEFT_NODE_ADDRESS, /* device, text: this address led to this device */
  WEFT_NODE_NOTE     /* note, device, text, why: for people and status */
} weft_node_do;

typedef enum weft_node_note {
  WEFT_NOTE_UP,      /* a link to `device` is open */
  WEFT_NOTE_DOWN,    /* it ended: why */
  WEFT_NOTE_IN_STEP, /* `device` and we hold and show the same */
  WEFT_NOTE_FAILED,  /* a dial of `text` failed: why */
  WEFT_NOTE_REFUSED, /* somebody was turned away: why */
  WEFT_NOTE_CLONE,   /* two live instances of one device */
  WEFT_NOTE_DIGEST,  /* equal shown vectors, different digests: verify */
  WEFT_NOTE_JOINED,  /* presence: a session (`data`) of `device` came to the document `text` */
  WEFT_NOTE_UPDATED, /* its state changed */
  WEFT_NOTE_LEFT,    /* it left, or gave no sign of life for `dead_ms` */
  WEFT_NOTE_PARKED   /* `device` has refused changes: why */
} weft_node_note;

typedef struct weft_node_action {
  weft_node_do kind;
  uint64_t conn;
  uint64_t ticket;
  weft_err why;
  weft_node_note note;
  weft_id device;
  weft_bytes data; /* views, until the next non-const call on this node */
  weft_bytes text;
  const weft_bytes *chunks;
  size_t chunk_count;
  const weft_redeem *redeem;
} weft_node_action;

/* Takes the next action; false when there is none. */
WEFT_API bool weft_node_next(weft_node *n, weft_node_action *out);

/* --- what is known
 * --------------------------------------------------------------------------------- */

typedef enum weft_peer_state {
  WEFT_PEER_OFFLINE, /* known address or device, no link */
  WEFT_PEER_DIALLING,
  WEFT_PEER_HANDSHAKE,
  WEFT_PEER_PROVING, /* the handshake is done, the roster does not know the device yet */
  WEFT_PEER_SYNCING,
  WEFT_PEER_LIVE
} weft_peer_state;

typedef struct weft_node_peer {
  weft_peer_state state;
  bool known; /* `device` is meant */
  weft_id device;
  weft_bytes name; /* views, until the next non-const call */
  weft_bytes address;
  bool outbound;
  bool in_step;            /* their last word: same held, same shown */
  uint64_t have, need;     /* changes of ours they lack; of theirs we lack; as last heard */
  uint64_t sent, received; /* changes on this link */
  uint64_t bytes_out, bytes_in;
  uint32_t round_trip_ms;  /* 0: not measured */
  int64_t clock_offset_ms; /* theirs minus ours */
  weft_ms last_heard;      /* node time; 0 never */
  weft_ms roots_heard;     /* node time of the last word that in_step rests on; 0 never */
  weft_ms next_try;        /* WEFT_NEVER: none */
  uint32_t attempts;
  weft_err last_error;
  bool paused; /* by the owner: no link is made or let in */
} weft_node_peer;

/* Lists links and known addresses; array in `arena`. */
WEFT_API weft_err weft_node_peers(const weft_node *n, weft_arena *arena, weft_node_peer **out,
                                  size_t *count) WEFT_MUST_USE;

/* How much of this device's own changes each member has acknowledged as durable and showable there.
 */
typedef struct weft_node_acked {
  weft_id device;
  bool heard;       /* an acknowledgement of it is known */
  uint64_t pending; /* own changes it has not acknowledged */
  uint64_t at;      /* its clock (hlc) when it said so */
} weft_node_acked;
/* Lists them, every member but this device; array in `arena`.  WEFT_ENOMEM. */
WEFT_API weft_err weft_node_acked_list(const weft_node *n, weft_arena *arena, weft_node_acked **out,
                                       size_t *count) WEFT_MUST_USE;

/* Replaces what `out`, an initialised vector, holds by what of this device's own logs every other
 * member has acknowledged; what lies beyond is pending.  Logs of which somebody has acknowledged
 * nothing are left out.  Without other members it is all that is held.  Ids are those held here.
 * WEFT_ENOMEM; what the source said. */
WEFT_API weft_err weft_node_floor(const weft_node *n, weft_vector *out) WEFT_MUST_USE;

/* How far each member has acknowledged one log. */
typedef struct weft_node_reach {
  weft_id device;
  bool heard;   /* an acknowledgement of it is known */
  uint64_t seq; /* the newest it named of the log; 0: none */
  uint64_t at;  /* its clock (hlc) when it said so */
} weft_node_reach;
/* Lists them, this device left out; array in `arena`.  A log of which nothing is held here may be
 * asked for too.  WEFT_ENOMEM. */
WEFT_API weft_err weft_node_reaches(const weft_node *n, weft_arena *arena, const weft_id *log,
                                    weft_node_reach **out, size_t *count) WEFT_MUST_USE;

/* --- holding back ---
 * ------------------------------------------------------------------------------ */

/* Ends the links to a member, or, with NULL, all of them, and keeps them closed: nobody is dialled
 * or let in.  WEFT_ELIMIT: 256 members are paused by name. */
WEFT_API weft_err weft_node_pause(weft_node *n, weft_ms now, const weft_id *device) WEFT_MUST_USE;
/* Undoes a pause: of one member, or, with NULL, all of them.  Who can be dialled is dialled at
 * once. */
WEFT_API void weft_node_resume(weft_node *n, weft_ms now, const weft_id *device);
/* Whether links to a member, or, with NULL, all links, are paused. */
WEFT_API bool weft_node_is_paused(const weft_node *n, const weft_id *device);

/* What a member has refused: of one log, from a change on.  Other logs go on. */
typedef struct weft_node_park {
  weft_id device;
  weft_id log;
  uint64_t from, to; /* the last one that was there to refuse */
  weft_err why;      /* WEFT_EBADSIG, WEFT_EMALFORMED: its content, and it is not sent again before
                        weft_node_retry; WEFT_ELIMIT: there was no place, and it is asked for again
                        when there is */
  weft_ms at;        /* node time */
} weft_node_park;
/* Lists them; array in `arena`.  They are remembered until the member has acknowledged the change,
 * or the node is freed.  WEFT_ENOMEM. */
WEFT_API weft_err weft_node_parked(const weft_node *n, weft_arena *arena, weft_node_park **out,
                                   size_t *count) WEFT_MUST_USE;
/* Tries everything again: addresses are dialled now, and what was refused is offered once more. */
WEFT_API void weft_node_retry(weft_node *n, weft_ms now);

/* --- presence: who is where, never stored (docs/wire.md)
 * ----------------------------------------------------------- */

/* A session of this device: one window, tab or program.  Borrowed for the call. */
typedef struct weft_presence_session {
  weft_bytes session;      /* its name, 1..64 bytes of UTF-8 without control characters */
  weft_bytes doc;          /* the document it is at; empty: the space */
  const weft_value *state; /* cursor, selection and such: 1,024 bytes encoded, 32 levels; NULL: null
                            */
  uint32_t ttl_ms;         /* it ends then unless renewed; 0: it lives until it leaves */
} weft_presence_session;

/* One session that is here, of this device or another one. */
typedef struct weft_present {
  weft_id device;
  bool self; /* of this node */
  weft_bytes session, doc;
  weft_value state;
  weft_ms age_ms; /* since the last sign of life of its device */
} weft_present;

/* Puts a session at a document, or changes its state, or renews it; session and document together
 * are the key, at most 16 of them on a device.  Others hear of it within 50 ms and the way there,
 * of the newest state only when there are more than 20 changes a second.  Every link that opens
 * hears of it too.  WEFT_EBADVALUE: the session's name or the state; WEFT_EBADNAME: the document's;
 * WEFT_ELIMIT: too many sessions, or too much state; WEFT_ENOMEM.  On error nothing changed. */
WEFT_API weft_err weft_node_presence_set(weft_node *n, weft_ms now,
                                         const weft_presence_session *s) WEFT_MUST_USE;
/* Ends a session, and says so.  WEFT_ENOTFOUND. */
WEFT_API weft_err weft_node_presence_leave(weft_node *n, weft_ms now, weft_bytes session,
                                           weft_bytes doc) WEFT_MUST_USE;
/* Lists the sessions of all members that are here, own ones first, then by device, document and
 * session.  All in `arena`.  WEFT_ENOMEM. */
WEFT_API weft_err weft_node_presence(const weft_node *n, weft_arena *arena, weft_present **out,
                                     size_t *count) WEFT_MUST_USE;

/* Sets the gauges of `m` that tell of a node: pending work, links, queues, sessions.  `m` need not
 * be the one of the options.  WEFT_ENOMEM. */
WEFT_API weft_err weft_node_measure(const weft_node *n, weft_metrics *m) WEFT_MUST_USE;

/* --- joining
 * --------------------------------------------------------------------------------------- */

/* The joiner's side: one connection in join mode, from ticket to ADMIT. */
typedef struct weft_joiner weft_joiner;

typedef struct weft_joiner_options {
  weft_alloc mem;
  const weft_crypto *crypto;
  const weft_identity *identity;
  weft_id space;
  weft_id issuer; /* device key of the ticket's issuer: nobody else is believed */
  weft_key ticket_seed;
  weft_bytes name;
  uint8_t seed[32];
} weft_joiner_options;

typedef struct weft_joined {
  const weft_bytes *records; /* parents first; verified against the space id; ours is among them */
  size_t count;
  weft_node_epoch epoch;
} weft_joined;

/* Makes a joiner, which has something to send at once.  Copies the options.  WEFT_EMISUSE: no
 * crypto or identity, or the name cannot name a device; WEFT_ENOMEM.  A joiner belongs to one
 * thread. */
WEFT_API weft_err weft_joiner_new(weft_joiner **out, const weft_joiner_options *o, weft_ms now,
                                  weft_ms wall) WEFT_MUST_USE;
/* Wipes and frees it with what it joined; NULL does nothing. */
WEFT_API void weft_joiner_free(weft_joiner *j);
/* Bytes of the connection; all are consumed. */
WEFT_API void weft_joiner_received(weft_joiner *j, weft_ms now, weft_ms wall, weft_bytes bytes);
/* The connection is gone. */
WEFT_API void weft_joiner_closed(weft_joiner *j, weft_ms now);
/* Lets time pass: call it at weft_joiner_deadline. */
WEFT_API void weft_joiner_tick(weft_joiner *j, weft_ms now, weft_ms wall);
/* When weft_joiner_tick is due; WEFT_NEVER: no timer. */
WEFT_API weft_ms weft_joiner_deadline(const weft_joiner *j);
/* Bytes to send; false when there are none.  A view until the next call. */
WEFT_API bool weft_joiner_next(weft_joiner *j, weft_bytes *out);
/* WEFT_EAGAIN: still going on; WEFT_OK: `out` is set, views until free; WEFT_EDENIED: refused with
 * `code`; WEFT_EAUTH, WEFT_ETIMEOUT, WEFT_EPROTO. */
WEFT_API weft_err weft_joiner_result(const weft_joiner *j, weft_joined *out,
                                     uint16_t *code) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

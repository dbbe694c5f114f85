/* The secure session: one connection between two devices, from its first byte to its last.
 *
 * Sans-IO: bytes and a time go in, actions come out; docs/wire.md has the bytes.  The initiator is
 * made with the secret it dials with, the responder with the gate of its node.  A responder writes
 * nothing before the peer has proved that it holds a secret of the gate.
 *
 *   while (in.len) {
 *     weft_err err = weft_session_feed(s, now, in, &used);   EAGAIN only while actions wait
 *     in = what is behind used;
 *     while (weft_session_next(s, &a)) obey(&a);
 *   }
 *
 * The session knows no roster.  An initiator asks with WEFT_SESSION_CHECK whether it shall show
 * itself to this peer; both sides tell with WEFT_SESSION_ESTABLISHED who the peer is, and their
 * owner decides to go on or to close. */
#ifndef WEFT_SESSION_H
#define WEFT_SESSION_H

#include "crdt/alloc.h"
#include "crdt/identity.h"
#include "crdt/limits.h"
#include "net/frame.h"
#include "net/gate.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_session weft_session;

typedef struct weft_session_options {
  size_t struct_size;
  const weft_alloc *mem;         /* copied */
  const weft_crypto *crypto;     /* borrowed until free */
  const weft_identity *identity; /* borrowed until free */
  weft_key ephemeral;            /* 32 random bytes, for this session alone */
  weft_ms now;                   /* monotonic */
  uint64_t unix_ms;              /* our clock at `now` */
  uint8_t version_min, version_max;
  uint32_t caps;

  const weft_session_secret *secret; /* initiator: copied; else NULL */
  const weft_id *target;             /* initiator: the device it must be, or NULL; copied */
  weft_gate *gate;                   /* responder: borrowed until free; else NULL */
  weft_ms drop_delay_ms; /* responder: random, up to WEFT_SESSION_DROP_MS_MAX; 0 under load */

  size_t body_max;      /* of a bulk frame, both ways */
  size_t unsent_max;    /* bytes queued */
  weft_ms lifetime_ms;  /* the owner takes a tenth off or puts it on, at random */
  uint64_t rekey_every; /* both ends must agree: tests alone change it */
} weft_session_options;

/* Sets every default.  Use the macro. */
void weft_session_options_init_sized(weft_session_options *o, size_t struct_size);
#define weft_session_options_init(o) weft_session_options_init_sized((o), sizeof *(o))

typedef enum weft_session_do {
  WEFT_SESSION_NOTHING = 0,
  WEFT_SESSION_SEND,        /* write `data` to the connection, in this order */
  WEFT_SESSION_CHECK,       /* initiator: the peer has shown itself; accept it or close */
  WEFT_SESSION_ESTABLISHED, /* frames can be sent from now on */
  WEFT_SESSION_DELIVER,     /* a whole frame: `type` and `data` */
  WEFT_SESSION_EXPIRING,    /* lifetime is over: make another session, then close this one */
  WEFT_SESSION_CLOSE,       /* close the connection; the last action */
} weft_session_do;

typedef struct weft_session_action {
  weft_session_do kind;
  weft_err why;    /* CLOSE only; WEFT_OK when the owner asked for it */
  uint8_t type;    /* DELIVER only */
  weft_bytes data; /* SEND, DELIVER: view, until the next non-const call on this session */
} weft_session_action;

/* Who the peer is; whole from CHECK (initiator) or ESTABLISHED (responder) on. */
typedef struct weft_session_peer {
  weft_session_mode mode;
  bool initiator; /* we dialled */
  weft_id space;
  weft_id device;
  weft_key x_public;
  weft_epoch epoch;      /* of the secret in use; zeros in join mode */
  weft_epoch peer_epoch; /* initiator: what the peer holds to be the newest; else zeros */
  uint8_t version;       /* the highest that both speak */
  uint32_t caps;         /* the peer's */
  uint64_t unix_ms;      /* the peer's clock when it wrote */
  uint8_t hash[64];      /* of the handshake: names the session; whole from ESTABLISHED on */
} weft_session_peer;

typedef struct weft_session_stats {
  uint64_t records_in, records_out; /* after the handshake */
  uint64_t bytes_in, bytes_out;     /* on the connection, all of them */
  size_t unsent;                    /* bytes of frames queued */
  size_t urgent;                    /* those of them that overtake the others */
  size_t partial;                   /* bytes of a bulk frame that is not yet whole */
} weft_session_stats;

/* Makes a session; an initiator has something to send at once.  WEFT_EMISUSE: not exactly one of
 * secret and gate, or a required field is missing; WEFT_ENOMEM.  A session belongs to one thread.
 */
weft_err weft_session_new(weft_session **out, const weft_session_options *options) WEFT_MUST_USE;

/* Wipes and frees it; NULL does nothing. */
void weft_session_free(weft_session *s);

/* Takes bytes that came in; *used tells how many were taken.  It stops at a frame to deliver: poll
 * the actions, then feed the rest.  WEFT_EAGAIN, with nothing used: an action other than SEND
 * waits. Any other error is final, and the same for ever; CLOSE follows. */
weft_err weft_session_feed(weft_session *s, weft_ms now, weft_bytes in, size_t *used) WEFT_MUST_USE;

/* Tells that the peer will send no more; drain the actions of the last feed first.  CLOSE follows,
 * with WEFT_EDONE if it had said BYE, else with WEFT_EPROTO: what came may be cut short.  WEFT_OK
 * always. */
weft_err weft_session_eof(weft_session *s, weft_ms now);

/* Lets time pass; early or repeated calls do nothing.  Call it at weft_session_deadline(). WEFT_OK,
 * or the final error. */
weft_err weft_session_tick(weft_session *s, weft_ms now);

/* When weft_session_tick is due; WEFT_NEVER: no timer. */
weft_ms weft_session_deadline(const weft_session *s);

/* Answers CHECK: shows ourselves to the peer.  WEFT_EMISUSE in any other state; else the final
 * error. */
weft_err weft_session_accept(weft_session *s) WEFT_MUST_USE;

/* Queues one frame; `body` is copied.  Frames leave in this order, but PING, PONG and CREDIT
 * overtake, even between the records of a bulk frame.  WEFT_EAGAIN: over unsent_max, drain and
 * retry; WEFT_ELIMIT: body too long for its type; WEFT_EMISUSE: not established, or closing;
 * WEFT_ENOMEM.  None of these harms the session. */
weft_err weft_session_send(weft_session *s, uint8_t type, weft_bytes body) WEFT_MUST_USE;

/* Cuts the records of long frames to so many bytes of body, so that what overtakes them need not
 * wait longer; more than a record can have means as much as it can. */
void weft_session_record_max(weft_session *s, size_t len);
/* While held, no frame leaves; everything else goes on.  For an edge whose write queue is full. */
void weft_session_hold(weft_session *s, bool hold);

/* Ends the session: what is queued still leaves, for WEFT_SESSION_FLUSH_MS at most, then CLOSE with
 * `why`.  Nothing more is delivered.  Repeated calls do nothing. */
void weft_session_close(weft_session *s, weft_ms now, weft_err why);

/* Gives the next action; false when there is none now. */
bool weft_session_next(weft_session *s, weft_session_action *out);

/* View of who the peer is, until free. */
const weft_session_peer *weft_session_peer_of(const weft_session *s);

/* Copies the counters. */
weft_session_stats weft_session_stats_of(const weft_session *s);

#ifdef __cplusplus
}
#endif
#endif

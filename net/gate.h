/* The gate: what all responder sessions of a node share.  It holds the secrets the node answers to,
 * and remembers first messages, so that a recorded one does not draw a second answer.
 *
 * A first message is answered when its clock is within WEFT_GATE_WINDOW_MS of ours and its
 * ephemeral key is not remembered.  Hosts without a good clock must still get in: outside of the
 * window one message a minute is answered, and remembered for a day.  When the memory of the window
 * is full the oldest is given up and the window shrinks to what is newer, so it never forgets a key
 * that it would answer at once. */
#ifndef WEFT_GATE_H
#define WEFT_GATE_H

#include "crdt/alloc.h"
#include "crdt/crypto.h"
#include "crdt/limits.h"
#include "crdt/ticket.h"
#include "net/codec_handshake.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What kind of session the initiator asks for; the number on the wire. */
typedef enum weft_session_mode {
  WEFT_SESSION_MEMBER = 1, /* the psk comes from an epoch of the space */
  WEFT_SESSION_JOIN = 2,   /* the psk comes from an invite */
} weft_session_mode;

/* What both ends of a handshake must have: its holder wipes it. */
typedef struct weft_session_secret {
  weft_session_mode mode;
  weft_id space;
  weft_key psk;      /* secret: of the Noise handshake */
  weft_key tag;      /* secret: of the hint that names space and epoch, or invite */
  weft_epoch epoch;  /* of this secret; zeros in join mode */
  weft_epoch newest; /* what we hold to be the space's epoch; zeros in join mode */
} weft_session_secret;

/* Fills in the secret of one epoch of `space`, whose keys come from weft__epoch_keys_derive.
 * `newest` is the epoch that we hold to be the space's.  Copies.  Any thread. */
void weft_session_secret_member(weft_session_secret *out, const weft_id *space,
                                const weft_epoch_keys *keys, weft_epoch epoch, weft_epoch newest);

/* Fills in the secret of an invite into `space`: what its issuer keeps, and what the joiner derives
 * from the ticket with weft__ticket_keys_derive.  Copies.  Any thread. */
void weft_session_secret_join(weft_session_secret *out, const weft_id *space, const weft_key *join,
                              const weft_key *tag);

typedef struct weft_gate weft_gate;

/* Makes a gate without secrets: it answers nobody.  Copies `mem`; `crypto` must outlive it.
 * WEFT_ENOMEM.  A gate and all sessions on it belong to one thread. */
weft_err weft_gate_new(weft_gate **out, const weft_alloc *mem,
                       const weft_crypto *crypto) WEFT_MUST_USE;

/* Wipes and frees it; NULL does nothing.  No session may be left on it. */
void weft_gate_free(weft_gate *gate);

/* Replaces the secrets by a copy of `count` others; sessions that wait for a first message answer
 * to the new ones.  WEFT_ELIMIT over WEFT_GATE_SECRETS_MAX, WEFT_ENOMEM: the old ones stay. */
weft_err weft_gate_set(weft_gate *gate, const weft_session_secret *secrets,
                       size_t count) WEFT_MUST_USE;

enum { WEFT_HINT_LEN = 16 };

/* What the initiator writes first: which secret it means, told only to those who hold it. */
void weft__hint(uint8_t out[WEFT_HINT_LEN], const weft_crypto *crypto,
                const weft_session_secret *secret, uint8_t version, const uint8_t ephemeral[32],
                const weft_id *target);

/* Finds the secret that `hint` means, for a target that is `device` or not named; NULL when there
 * is none.  A view until the gate is changed. */
const weft_session_secret *weft__gate_find(const weft_gate *gate, uint8_t version, uint8_t mode,
                                           const uint8_t hint[WEFT_HINT_LEN],
                                           const uint8_t ephemeral[32], const weft_id *device);

/* Asks whether an authentic first message may be answered, and remembers it if so.  `now` is
 * monotonic; `unix_ms` is our clock, `sent_unix_ms` the sender's. */
bool weft__gate_admit(weft_gate *gate, weft_ms now, uint64_t unix_ms, const uint8_t ephemeral[32],
                      uint64_t sent_unix_ms);

#ifdef __cplusplus
}
#endif
#endif

/* The Noise handshake (revision 34 of its specification) on the crypto door.
 *
 * A handshake is a table of tokens.  weft itself only ever speaks
 * Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b, through weft__noise_start; weft__noise_start_named makes
 * every other handshake the table can express, so that published vectors can be run through the
 * same code.  Nothing here allocates, reads a clock or makes randomness: ephemeral keys are handed
 * in. */
#ifndef WEFT_NOISE_H
#define WEFT_NOISE_H

#include "crdt/crypto.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
  WEFT_NOISE_HASH_LEN_MAX = 64,   /* of BLAKE2b; SHA-256 takes the first 32 bytes */
  WEFT_NOISE_MESSAGE_MAX = 65535, /* the specification's bound, tags included */
  WEFT_NOISE_PLAIN_MAX = WEFT_NOISE_MESSAGE_MAX - WEFT_TAG_LEN,
  WEFT_NOISE_PSKS_MAX = 4,
};

/* One direction of a finished handshake: a key and the next nonce.  Both change only in here. */
typedef struct weft_noise_cipher {
  const weft_crypto *crypto;
  weft_key key;
  uint64_t nonce; /* UINT64_MAX is never used: reaching it ends the direction */
} weft_noise_cipher;

/* Seals `in` as one message of in.len + WEFT_TAG_LEN bytes at `out`, which may equal in.at, and
 * moves to the next nonce.  WEFT_ELIMIT, with nothing written: `in` is over WEFT_NOISE_PLAIN_MAX,
 * or the nonces are used up and the connection must end. */
weft_err weft__noise_seal(weft_noise_cipher *c, weft_bytes ad, weft_bytes in,
                          uint8_t *out) WEFT_MUST_USE;

/* Opens one message into in.len - WEFT_TAG_LEN bytes at `out`, which may equal in.at, and moves to
 * the next nonce.  WEFT_EAUTH when it is not the peer's next message: `out` is then of no worth and
 * the connection must end.  WEFT_ELIMIT when the nonces are used up. */
weft_err weft__noise_open(weft_noise_cipher *c, weft_bytes ad, weft_bytes in,
                          uint8_t *out) WEFT_MUST_USE;

/* Replaces the key by one that does not lead back to it; the nonce goes on. */
void weft__noise_rekey(weft_noise_cipher *c);

typedef struct weft_noise_options {
  bool initiator;
  weft_bytes prologue;           /* borrow */
  const weft_key *ephemeral;     /* secret of this handshake alone; copied */
  const weft_key *own_static;    /* secret; copied; NULL where the pattern has none */
  const weft_key *remote_static; /* public, known beforehand; NULL where it is not */
  const weft_key *psks;          /* in the order of their tokens; copied */
  size_t psk_count;
} weft_noise_options;

typedef struct weft_noise_pattern weft_noise_pattern;

/* A handshake in progress.  A plain struct that holds secrets: end it with weft__noise_wipe. */
typedef struct weft_noise {
  const weft_crypto *crypto;
  const weft_noise_pattern *pattern;
  unsigned psk_places; /* bit i: the modifier psk<i> is on */
  bool sha256;
  bool initiator;
  bool has_remote_static;
  bool keyed;
  bool done;
  weft_err err;      /* the first failure: final */
  unsigned messages; /* written and read so far */
  size_t psk_count, psk_next;
  uint8_t h[WEFT_NOISE_HASH_LEN_MAX];
  uint8_t ck[WEFT_NOISE_HASH_LEN_MAX];
  weft_noise_cipher cipher;
  weft_key ephemeral, ephemeral_public;
  weft_key own_static, own_static_public;
  weft_key remote_ephemeral, remote_static;
  weft_key psks[WEFT_NOISE_PSKS_MAX];
} weft_noise;

/* Starts the one handshake that weft speaks, Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b.
 * WEFT_EMISUSE when own_static is NULL or there is not exactly one psk. */
weft_err weft__noise_start(weft_noise *n, const weft_crypto *crypto,
                           const weft_noise_options *options) WEFT_MUST_USE;

/* Starts the handshake called `name`: patterns NN, KK, IK, XX with any of the modifiers psk0 to
 * psk3 (joined by '+'), 25519, ChaChaPoly, SHA256 or BLAKE2b.  For vectors only.  WEFT_ENOTFOUND
 * when the name is none of these; WEFT_EMISUSE when a key the pattern needs is missing. */
weft_err weft__noise_start_named(weft_noise *n, const weft_crypto *crypto, const char *name,
                                 const weft_noise_options *options) WEFT_MUST_USE;

/* Bytes that the next message, written or read, takes beyond its payload. */
size_t weft__noise_overhead(const weft_noise *n);

/* Writes the next handshake message, weft__noise_overhead() + payload.len bytes, to `out` of `cap`
 * bytes, and sets *len.  WEFT_EMISUSE: it is not our turn; WEFT_ELIMIT: does not fit `cap` or a
 * message; both change nothing.  WEFT_EAUTH: the peer's key is of low order; final. */
weft_err weft__noise_write(weft_noise *n, weft_bytes payload, uint8_t *out, size_t cap,
                           size_t *len) WEFT_MUST_USE;

/* Reads the peer's next handshake message and writes its payload, at most message.len bytes, to
 * `payload`, which must not overlap it; sets *len.  WEFT_EMISUSE: it is not the peer's turn;
 * changes nothing.  WEFT_EMALFORMED: too short or too long; WEFT_EAUTH: not authentic, or a key of
 * low order; both are final, and `payload` is of no worth. */
weft_err weft__noise_read(weft_noise *n, weft_bytes message, uint8_t *payload,
                          size_t *len) WEFT_MUST_USE;

/* The handshake hash, a view until the next message: after the last one it is the same at both
 * ends, and names the session. */
weft_bytes weft__noise_hash(const weft_noise *n);

/* Gives the two directions of a finished handshake.  The caller wipes them.  WEFT_EMISUSE while the
 * handshake is not done. */
weft_err weft__noise_split(const weft_noise *n, weft_noise_cipher *sending,
                           weft_noise_cipher *receiving) WEFT_MUST_USE;

/* Overwrites all of it, secrets too.  Nothing may be called on it afterwards. */
void weft__noise_wipe(weft_noise *n);

#ifdef __cplusplus
}
#endif
#endif

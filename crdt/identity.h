/* A device's identity: everything derived from one 32-byte seed, without storage or randomness.
 *
 * The Ed25519 key names the device and signs; the X25519 key is a separate one, used as the static
 * key of handshakes.  A certificate binds the second to the first, per space.  A fingerprint is
 * what people compare. */
#ifndef WEFT_IDENTITY_H
#define WEFT_IDENTITY_H

#include "crypto.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_identity {
  weft_key seed;      /* secret; the one thing that is stored */
  weft_key sign_seed; /* secret: subkey 1 of the seed */
  weft_id device;     /* Ed25519 public key: the device's name */
  weft_key x_secret;  /* secret: subkey 2 of the seed */
  weft_key x_public;  /* X25519 public key */
} weft_identity;

/* A device's word, for one space, that an X25519 key is its own. */
typedef struct weft_cert {
  weft_id device;
  weft_sig sig; /* over "weft-v1 static" | space 32 | X25519 public key 32 */
} weft_cert;

enum { WEFT_CERT_LEN = 96 }; /* of the encoded form: device, then signature */

/* NUL-terminated text of a device's key, for people to compare; both forms come from one hash. */
typedef struct weft_fingerprint {
  char text[40];  /* 160 bits: eight groups of four base32 letters, joined by '-' */
  char words[48]; /* 128 bits: eight five-letter words, joined by ' ' */
} weft_fingerprint;

/* Derives all keys of `seed` into `out`.  Copies the seed.  The caller ends it with
 * weft_identity_wipe.  Cannot fail.  Any thread. */
WEFT_API void weft_identity_derive(weft_identity *out, const weft_crypto *crypto,
                                   const weft_key *seed);

/* Overwrites every byte of `identity` with zeros, so that no secret stays in memory.  Cannot fail.
 * Any thread. */
WEFT_API void weft_identity_wipe(weft_identity *identity, const weft_crypto *crypto);

/* Signs the certificate of `identity` for `space`.  Cannot fail.  Any thread. */
WEFT_API void weft_cert_sign(weft_cert *out, const weft_crypto *crypto,
                             const weft_identity *identity, const weft_id *space);

/* Checks that `cert` binds `x_public` to cert->device in `space`.  WEFT_EBADSIG when it does not:
 * the peer is at fault.  Whether that device is a member is not asked here.  Any thread. */
WEFT_API weft_err weft_cert_verify(const weft_cert *cert, const weft_crypto *crypto,
                                   const weft_id *space, const weft_key *x_public) WEFT_MUST_USE;

/* Writes the WEFT_CERT_LEN bytes of `cert`.  Any thread. */
WEFT_API void weft_cert_encode(uint8_t out[WEFT_CERT_LEN], const weft_cert *cert);

/* Reads what weft_cert_encode wrote; verifies nothing.  WEFT_EMALFORMED unless `in` is exactly
 * WEFT_CERT_LEN bytes.  Any thread. */
WEFT_API weft_err weft_cert_decode(weft_cert *out, weft_bytes in) WEFT_MUST_USE;

/* Writes the fingerprint of `device`.  Cannot fail.  Any thread. */
WEFT_API void weft_fingerprint_of(weft_fingerprint *out, const weft_crypto *crypto,
                                  const weft_id *device);

#ifdef __cplusplus
}
#endif
#endif

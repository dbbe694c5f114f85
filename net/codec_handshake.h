/* The payloads of the three handshake messages, and the one frame body a session writes itself.
 *
 * A payload is `body_len u16 | body | zeros`; the body is one msgpack array of positional fields.
 * A receiver ignores fields behind those it knows, so that later versions can add some. */
#ifndef WEFT_CODEC_HANDSHAKE_H
#define WEFT_CODEC_HANDSHAKE_H

#include "crdt/identity.h"
#include "crdt/ticket.h"
#include "net/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
  WEFT_HELLO1_LEN = 64,  /* what we pad the first payload to */
  WEFT_HELLO2_LEN = 256, /* the second and the third */
  WEFT_ERROR_BODY_LEN_MAX = 16,
};

typedef struct weft_epoch {
  uint8_t b[WEFT_EPOCH_ID_LEN]; /* first bytes of the id of the record that made an epoch */
} weft_epoch;

typedef struct weft_hello1 {
  uint64_t unix_ms;
  uint8_t version_min, version_max;
  uint32_t caps;
} weft_hello1;

typedef struct weft_hello2 {
  uint8_t version;
  uint32_t caps;
  weft_cert cert;
  weft_epoch epoch;
  uint64_t unix_ms;
} weft_hello2;

typedef struct weft_hello3 {
  uint32_t caps;
  weft_cert cert;
} weft_hello3;

/* Each writes one whole payload.  Cannot fail. */
void weft__hello1_encode(uint8_t out[WEFT_HELLO1_LEN], const weft_hello1 *in);
void weft__hello2_encode(uint8_t out[WEFT_HELLO2_LEN], const weft_hello2 *in);
void weft__hello3_encode(uint8_t out[WEFT_HELLO2_LEN], const weft_hello3 *in);

/* Each reads one payload.  WEFT_EMALFORMED: lengths, padding, msgpack, types or ranges are wrong,
 * or version_min > version_max; WEFT_ENOMEM. */
weft_err weft__hello1_decode(weft_bytes in, weft_hello1 *out) WEFT_MUST_USE;
weft_err weft__hello2_decode(weft_bytes in, weft_hello2 *out) WEFT_MUST_USE;
weft_err weft__hello3_decode(weft_bytes in, weft_hello3 *out) WEFT_MUST_USE;

/* Writes the body of an ERROR frame that says `code` and nothing more; gives its length. */
size_t weft__error_body(uint8_t out[WEFT_ERROR_BODY_LEN_MAX], weft_code code);

#ifdef __cplusplus
}
#endif
#endif

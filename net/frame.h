/* Frames, and the transport records they travel in.
 *
 * A frame is a type and a body: what two nodes say to each other.  A transport record is what one
 * sealed message holds: `type u8 | flags u8 | body_len u16 | body | zeros`, filled with zeros to
 * one of few lengths, so that an observer learns little from sizes.  Only bulk frames may be longer
 * than one record; all but their last record carry the flag MORE. */
#ifndef WEFT_FRAME_H
#define WEFT_FRAME_H

#include "crdt/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Numbers below 0x80 that a receiver does not know end the connection; others it ignores. */
typedef enum weft_frame {
  WEFT_FRAME_HELLO = 0x01,
  WEFT_FRAME_PING = 0x02,
  WEFT_FRAME_PONG = 0x03,
  WEFT_FRAME_CREDIT = 0x04,
  WEFT_FRAME_ERROR = 0x05,
  WEFT_FRAME_BYE = 0x06,
  WEFT_FRAME_AUTH_HAVE = 0x10,
  WEFT_FRAME_AUTH_WANT = 0x11,
  WEFT_FRAME_AUTH_REC = 0x12, /* bulk */
  WEFT_FRAME_VV_ROOT = 0x20,
  WEFT_FRAME_VV_NODES = 0x21,
  WEFT_FRAME_VV_LEAVES = 0x22,
  WEFT_FRAME_VV_DELTA = 0x23,
  WEFT_FRAME_WANT = 0x30,
  WEFT_FRAME_CHANGES = 0x31, /* bulk */
  WEFT_FRAME_NOHAVE = 0x32,
  WEFT_FRAME_ACK = 0x38,    /* bulk */
  WEFT_FRAME_GOSSIP = 0x40, /* bulk */
  WEFT_FRAME_IHAVE = 0x41,
  WEFT_FRAME_GRAFT = 0x42,
  WEFT_FRAME_PRUNE = 0x43,
  WEFT_FRAME_EXPRESS = 0x44, /* bulk, one record */
  WEFT_FRAME_REDEEM = 0x50,
  WEFT_FRAME_ADMIT = 0x51,
  WEFT_FRAME_REFUSE = 0x52,
  WEFT_FRAME_FORK = 0x60, /* bulk */
  WEFT_FRAME_PRESENCE = 0x80,
  WEFT_FRAME_REFUSED = 0x81,
} weft_frame;

/* What an ERROR frame says. */
typedef enum weft_code {
  WEFT_CODE_PROTO = 1,
  WEFT_CODE_UNSUPPORTED = 2,
  WEFT_CODE_VERSION = 3,
  WEFT_CODE_LIMIT = 4,
  WEFT_CODE_FLOW = 5,
  WEFT_CODE_TIMEOUT = 6,
  WEFT_CODE_BUSY = 7,
  WEFT_CODE_SLOW = 8,
  WEFT_CODE_INTERNAL = 9,
  WEFT_CODE_NOT_MEMBER = 16,
  WEFT_CODE_REVOKED = 17,
  WEFT_CODE_ROLE = 18,
  WEFT_CODE_EPOCH_OLD = 19,
  WEFT_CODE_CERT = 20,
  WEFT_CODE_BAD_SIG = 32,
  WEFT_CODE_BAD_CHAIN = 33,
  WEFT_CODE_BAD_BODY = 34,
  WEFT_CODE_FORKED = 35,
  WEFT_CODE_QUOTA = 36,
  WEFT_CODE_PRUNED = 37,
  WEFT_CODE_INVITE_UNKNOWN = 48,
  WEFT_CODE_INVITE_USED = 49,
  WEFT_CODE_INVITE_EXPIRED = 50,
  WEFT_CODE_INVITE_REVOKED = 51,
} weft_code;

/* True for the types whose body may be longer than one record. */
bool weft__frame_is_bulk(uint8_t type);

/* True for the types that may stand between the records of a bulk frame. */
bool weft__frame_may_interrupt(uint8_t type);

enum {
  WEFT_RECORD_HEAD_LEN = 4,
  WEFT_RECORD_PLAIN_MAX = 65519, /* one Noise message less its tag */
  WEFT_RECORD_BODY_MAX = WEFT_RECORD_PLAIN_MAX - WEFT_RECORD_HEAD_LEN,
  WEFT_RECORD_MORE = 1, /* the only flag: the body goes on in the next record of this type */
};

typedef struct weft_record_view {
  uint8_t type;
  bool more;
  weft_bytes body; /* view */
} weft_record_view;

/* The plaintext length of a record with `body_len` <= WEFT_RECORD_BODY_MAX bytes of body: the next
 * multiple of 64 up to 1 KiB, of 256 above, at most WEFT_RECORD_PLAIN_MAX. */
size_t weft__record_len(size_t body_len);

/* True when a record may have a plaintext of `len` bytes. */
bool weft__record_len_ok(size_t len);

/* Writes the weft__record_len(body.len) bytes of a record.  `body` must not overlap `out`. */
void weft__record_write(uint8_t *out, uint8_t type, bool more, weft_bytes body);

/* Reads a whole plaintext.  WEFT_EPROTO: a length that is none, a body longer than it, an unknown
 * flag, MORE on a type that is not bulk or on an empty body, or padding that is not zero. */
weft_err weft__record_read(weft_bytes plain, weft_record_view *out) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

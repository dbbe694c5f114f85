/* Membership records: signed statements about who belongs to a space.
 *
 * Bytes, big-endian (docs/wire.md, "Membership records"):
 *
 *   version u8 = 1 | kind u8 | flags u8 | space 32 | author 32
 *   | dep count u8, deps 32 each, ascending | body length u16, body | signature 64
 *
 * The envelope is the same for every version and kind, so that a record of the future can be held
 * and passed on.  The id hashes everything before the signature; the id of a space's GENESIS is the
 * space's id.  A second valid signature of one id is the same record.
 *
 * A record is VALID, INVALID (a known kind whose body says something forbidden: it means nothing),
 * or UNKNOWN (a newer version, kind, flag or value: carried raw; when it is critical the membership
 * cannot be judged before an upgrade).  All three are held and passed on. */
#ifndef WEFT_RECORD_H
#define WEFT_RECORD_H

#include "buf.h"
#include "identity.h"
#include "limits.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Only GENESIS and ADMIT are used; the other numbers are reserved. */
typedef enum weft_record_kind {
  WEFT_RECORD_GENESIS = 1,
  WEFT_RECORD_INVITE = 2, /* kept by the issuer alone, never sent */
  WEFT_RECORD_INVITE_VOID = 3,
  WEFT_RECORD_ADMIT = 4,
  WEFT_RECORD_ROLE = 5,
  WEFT_RECORD_REVOKE = 6,
  WEFT_RECORD_RETIRE = 7,
  WEFT_RECORD_REKEY = 8,
  WEFT_RECORD_POLICY = 9,
  WEFT_RECORD_FLOOR = 10,
  WEFT_RECORD_FORK = 11,
  WEFT_RECORD_COMPACT = 12
} weft_record_kind;

enum { WEFT_RECORD_VERSION = 1, WEFT_RECORD_CRITICAL = 0x01 };

typedef enum weft_record_state {
  WEFT_RECORD_VALID,
  WEFT_RECORD_INVALID,
  WEFT_RECORD_UNKNOWN
} weft_record_state;

typedef enum weft_role {
  WEFT_ROLE_ADMIN = 1, /* admits, writes, reads */
  WEFT_ROLE_WRITER = 2,
  WEFT_ROLE_READER = 3
} weft_role;

/* A ticket cashed in: proof that `device` held the invite's seed and wants in with `x_public`.
 * Both signatures cover space | invite | device | x_public, under labels of their own. */
typedef struct weft_redeem {
  weft_id invite; /* Ed25519 public key of the invite: its id */
  weft_id device;
  weft_key x_public;
  weft_sig by_invite;
  weft_sig by_device;
} weft_redeem;

typedef struct weft_genesis {
  uint8_t nonce[32];
  weft_key x_public;     /* of the creator, who is the record's author and the first admin */
  weft_bytes space_name; /* 1..WEFT_SPACE_NAME_LEN_MAX bytes, see weft__label_ok */
  weft_bytes name;       /* of the creator's device, 1..WEFT_DEVICE_NAME_LEN_MAX bytes */
} weft_genesis;

typedef struct weft_admit {
  weft_redeem redeem;
  weft_role role;
  weft_bytes name; /* of the device, 1..WEFT_DEVICE_NAME_LEN_MAX bytes */
} weft_admit;

/* A record taken apart.  Byte views point into `raw`, which must outlive it. */
typedef struct weft_record {
  weft_record_state state;
  uint8_t version;
  uint8_t kind; /* a weft_record_kind, or a number of the future */
  uint8_t flags;
  weft_id space; /* zeros in a GENESIS */
  weft_id author;
  weft_id deps[WEFT_RECORD_DEPS_MAX];
  size_t dep_count;
  weft_bytes body;
  weft_genesis genesis; /* VALID GENESIS */
  weft_admit admit;     /* VALID ADMIT */
  weft_sig sig;
  weft_id id;
  weft_bytes raw;
} weft_record;

/* True when `text` can name a device or a space: 1..max bytes of UTF-8 without control characters
 * (U+0000..001F, U+007F..009F), since such names are printed on terminals.  Any thread. */
bool weft__label_ok(weft_bytes text, size_t max);
/* True when a device or a space may get `text` for a name: a label without characters that nobody
 * sees (crdt/rune.h), so that no name made here looks like another.  Any thread. */
bool weft__name_ok(weft_bytes text, size_t max);

/* Appends a signed record to `out`.  Taken from `record`: kind, flags, space, deps (any order), and
 * `genesis` or `admit`, for other kinds `body`; version, author and signature come from here and
 * `identity`.  `id` receives the record's id.  WEFT_EMISUSE: a body, dep or space that the format
 * forbids; WEFT_ELIMIT: longer than WEFT_RECORD_LEN_MAX, or `out` is full; WEFT_ENOMEM.  Any
 * thread. */
weft_err weft__record_sign(weft_buf *out, const weft_crypto *crypto, const weft_identity *identity,
                           const weft_record *record, weft_id *id) WEFT_MUST_USE;

/* Takes a record apart and computes its id; no signature is checked.  WEFT_EMALFORMED: the envelope
 * does not parse; WEFT_ELIMIT: longer than WEFT_RECORD_LEN_MAX.  The sender is at fault then.
 * Any thread. */
weft_err weft__record_parse(weft_record *out, const weft_crypto *crypto,
                            weft_bytes raw) WEFT_MUST_USE;

/* Checks the author's signature.  WEFT_EBADSIG: the sender is at fault.  Any thread. */
weft_err weft__record_verify(const weft_record *record, const weft_crypto *crypto) WEFT_MUST_USE;

/* Signs what a joining device sends: `invite_seed` comes from its ticket (crdt/ticket.h).  Any
 * thread. */
void weft__redeem_sign(weft_redeem *out, const weft_crypto *crypto, const weft_identity *identity,
                       const weft_key *invite_seed, const weft_id *space);

/* Checks both signatures.  WEFT_EBADSIG.  Any thread. */
weft_err weft__redeem_check(const weft_redeem *redeem, const weft_crypto *crypto,
                            const weft_id *space) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

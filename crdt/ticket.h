/* Tickets, and the keys that come out of a ticket or an epoch secret.
 *
 * A ticket is one line of text that lets its holder ask the issuer to be admitted to a space:
 * "weft1", then base32 (a-z, 2-7, no padding) of
 *
 *   version u8 = 1 | space 32 | seed 32 | issuer 32 | role u8 | expiry u64
 *   | address count u8, then each: length u8, text | checksum 4
 *
 * The checksum is the first 4 bytes of a BLAKE2b-128 over everything before it, in every version.
 * All of it may be written in upper case, which makes smaller QR codes, but the cases never mix.
 * Whoever holds the text holds the seed: a ticket is a secret, and is wiped after use. */
#ifndef WEFT_TICKET_H
#define WEFT_TICKET_H

#include "crypto.h"
#include "limits.h"
#include "record.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_ticket_address {
  uint8_t len;
  uint8_t text[WEFT_ADDRESS_LEN_MAX]; /* as weft__address_parse takes it, not NUL-terminated */
} weft_ticket_address;

typedef struct weft_ticket {
  weft_id space;
  weft_key seed;   /* secret */
  weft_id issuer;  /* device key of who admits on it; must be an admin under the space's id */
  weft_role role;  /* what the issuer means to grant */
  weft_ms expires; /* since 1970 UTC; WEFT_NEVER: not */
  weft_ticket_address addresses[WEFT_TICKET_ADDRESSES_MAX];
  size_t address_count;
} weft_ticket;

/* Why text is no ticket, for people. */
typedef struct weft_ticket_error {
  const char *text; /* static, one clause that follows "this ticket" */
  size_t offset;    /* of the character meant; 0 when it is the whole */
} weft_ticket_error;

/* What the issuer and the joiner derive from the seed.  The issuer keeps `join`, `tag` and
 * `invite`, and forgets the rest. */
typedef struct weft_ticket_keys {
  weft_key join;        /* secret: psk of the join handshake */
  weft_key tag;         /* secret: of the hint that finds the invite */
  weft_key invite_seed; /* secret: signs REDEEM */
  weft_id invite;       /* its public key, and the id of the invite */
} weft_ticket_keys;

/* What the members derive from the secret of one epoch. */
typedef struct weft_epoch_keys {
  weft_key noise;  /* secret: psk of member handshakes */
  weft_key beacon; /* secret: seals beacons */
  weft_key tag;    /* secret: of the hint that finds space and epoch */
} weft_epoch_keys;

enum { WEFT_EPOCH_ID_LEN = 8 };

/* Writes the text of a ticket with a NUL behind it; `out` is a secret.  WEFT_EMISUSE: a role or an
 * address that the format forbids, or too many of them.  Any thread. */
weft_err weft__ticket_encode(char out[WEFT_TICKET_LEN_MAX + 1], const weft_crypto *crypto,
                             const weft_ticket *ticket) WEFT_MUST_USE;

/* Reads a ticket from all of `text`, which may stand in upper or in lower case.  `why` (may be
 * NULL) is set on error.  WEFT_EMALFORMED: no ticket, or damaged; WEFT_EVERSION: of a newer
 * version, an upgrade will read it.  On error `out` is wiped; else the caller wipes it with
 * weft__ticket_wipe.  Any thread. */
weft_err weft__ticket_parse(weft_ticket *out, const weft_crypto *crypto, weft_bytes text,
                            weft_ticket_error *why) WEFT_MUST_USE;

/* Overwrites every byte.  Any thread. */
void weft__ticket_wipe(weft_ticket *ticket, const weft_crypto *crypto);

/* Derives the keys of a ticket's seed.  The caller wipes them.  Any thread. */
void weft__ticket_keys_derive(weft_ticket_keys *out, const weft_crypto *crypto,
                              const weft_key *seed);
void weft__ticket_keys_wipe(weft_ticket_keys *keys, const weft_crypto *crypto);

/* Derives the keys of an epoch's secret.  The caller wipes them.  Any thread. */
void weft__epoch_keys_derive(weft_epoch_keys *out, const weft_crypto *crypto,
                             const weft_key *epoch_secret);
void weft__epoch_keys_wipe(weft_epoch_keys *keys, const weft_crypto *crypto);

/* The id of the epoch that the record `id` (GENESIS or REKEY) began.  Any thread. */
void weft__epoch_id(uint8_t out[WEFT_EPOCH_ID_LEN], const weft_id *record);

#ifdef __cplusplus
}
#endif
#endif

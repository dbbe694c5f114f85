/* Letting a device in: the issuer of a ticket decides, and its ADMIT is durable before anybody
 * hears of it.
 *
 * Uses are counted by the ADMITs that are held, so a restored secrets file cannot double them. */
#ifndef WEFT_ADMISSION_H
#define WEFT_ADMISSION_H

#include "replica.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a ticket grants. */
typedef struct weft_invite_terms {
  weft_id invite; /* public key of the invite */
  weft_role role;
  uint32_t uses;      /* how many devices in all */
  weft_ms expires_ms; /* since 1970 */
} weft_invite_terms;

/* Codes of a REFUSE (docs/wire.md, "Joining"). */
enum {
  WEFT_REFUSE_UNKNOWN = 48,
  WEFT_REFUSE_USED = 49,
  WEFT_REFUSE_EXPIRED = 50,
  WEFT_REFUSE_REVOKED = 51,
  WEFT_REFUSE_FULL = 52 /* the roster takes no more records */
};

/* Admits redeem->device with `name` under `terms`, signed by `issuer`, who must be an admin: writes
 * one ADMIT record durably.  A device this invite has admitted already gets WEFT_OK again without a
 * new record.  The later of `wall` and the replica's clock counts for the expiry. WEFT_EDENIED:
 * refused, `refuse` tells why; WEFT_EBADSIG: the redeem proves nothing: stay silent; WEFT_EBADNAME:
 * `name` cannot name a device; WEFT_EFROZEN: the space wants a newer weft; WEFT_EIO, WEFT_EFULL,
 * WEFT_ENOMEM: nothing was written. */
WEFT_API weft_err weft_replica_admit(weft_replica *r, const weft_crypto *crypto,
                                     const weft_identity *issuer, const weft_invite_terms *terms,
                                     const weft_redeem *redeem, weft_bytes name, weft_ms wall,
                                     uint16_t *refuse) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

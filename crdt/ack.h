/* Acknowledgements: what each member says it durably holds and can show.
 *
 * An acknowledgement is a signed, numbered statement about one vector, the showable one.  Members
 * pass on the newest of every member, as a delta against what the same link carried before.
 *
 * The vector of an acknowledgement is *short*: of every id only the first 16 bytes count, the rest
 * are zeros, here as on the wire.  Its root is weft__vector_root of the short vector; so the whole
 * vector of crdt/vector.h works on it, and forks are told apart.
 *
 * A device's vector only grows while its counter grows.  Therefore a delta against any older vector
 * of that device also leads from every vector between, and a table needs to keep only the newest
 * one per device, not one per link. */
#ifndef WEFT_ACK_H
#define WEFT_ACK_H

#include "crdt/identity.h"
#include "crdt/vector.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { WEFT_ACK_ID_LEN = 16 }; /* bytes of an id in a short vector */

typedef struct weft_ack {
  weft_id device;
  uint64_t counter; /* the device's hlc: grows with every acknowledgement */
  uint8_t root[WEFT_ROOT_LEN];
  weft_sig sig; /* over "weft-v1 ack" | space | device | counter u64 | root */
} weft_ack;

typedef struct weft_ack_entry {
  weft_ack ack;
  weft_vector vector; /* short */
} weft_ack_entry;

/* The newest acknowledgement of each device, ascending by device.  Read the entries freely. */
typedef struct weft_ack_table {
  weft_alloc mem;
  weft_ack_entry *entries;
  size_t count;
  size_t cap;
} weft_ack_table;

/* Cuts the ids of `v` and drops heads that became equal.  Any thread. */
void weft__ack_shorten(weft_vector *v);

/* Signs what the short vector `v` says as the device's acknowledgement number `counter`.  Any
 * thread. */
void weft__ack_sign(weft_ack *out, const weft_crypto *crypto, const weft_identity *identity,
                    const weft_id *space, uint64_t counter, const weft_vector *v);

/* Checks signature and root against the short vector `v`.  WEFT_EBADSIG; WEFT_EGAP: the root is of
 * another vector.  Any thread. */
weft_err weft__ack_verify(const weft_ack *ack, const weft_crypto *crypto, const weft_id *space,
                          const weft_vector *v) WEFT_MUST_USE;

/* True when the short vector `v` contains `change`, whose id may be whole.  `by` sees short ids on
 * both sides: it compares their first WEFT_ACK_ID_LEN bytes.  Any thread. */
bool weft__ack_contains(const weft_vector *v, const weft_ancestry *by, const weft_head *change);

/* Prepares an empty table that takes memory from a copy of `mem`.  Takes nothing yet. */
void weft__ack_table_init(weft_ack_table *t, const weft_alloc *mem);
/* Gives memory back; the table is empty and usable again. */
void weft__ack_table_free(weft_ack_table *t);

/* The entry of `device`, NULL when it never acknowledged; a view until the next change. */
const weft_ack_entry *weft__ack_table_find(const weft_ack_table *t, const weft_id *device);

/* Takes an own acknowledgement, just signed over the short vector `v`, which is copied.
 * WEFT_ELIMIT, WEFT_ENOMEM; on error the table is as before. */
weft_err weft__ack_table_own(weft_ack_table *t, const weft_ack *ack,
                             const weft_vector *v) WEFT_MUST_USE;

/* Takes an acknowledgement that came as a delta (weft__vector_delta of short vectors) against what
 * is held of its device, or, when `whole`, against nothing.  `fresh` (may be NULL) tells whether it
 * was newer than what was held; an older one is passed over unread.  Whether the device is a member
 * is for the caller to ask before.  WEFT_EMALFORMED: the delta is not canonical, or its ids are not
 * short; WEFT_EBADSIG: the sender is at fault; WEFT_EGAP: the root does not match: ask the sender
 * for the whole vector (if it was whole, the sender is at fault); WEFT_ELIMIT: the vector, or the
 * table at WEFT_ROSTER_RECORDS_MAX; WEFT_ENOMEM.  On error the table is as before. */
weft_err weft__ack_table_put(weft_ack_table *t, const weft_crypto *crypto, const weft_id *space,
                             const weft_ack *ack, bool whole, const weft_head *delta, size_t count,
                             bool *fresh) WEFT_MUST_USE;

/* Forgets `device`; nothing happens when it is not there. */
void weft__ack_table_drop(weft_ack_table *t, const weft_id *device);

#ifdef __cplusplus
}
#endif
#endif

/* The roster: who belongs to a space, as a pure function of a set of membership records.
 *
 * The records form a graph through their deps.  One is *placed* when all its deps are placed; the
 * GENESIS whose id is the space's id is the root.  Others wait, and mean nothing yet.
 *
 * A placed ADMIT counts when its body is valid, both REDEEM signatures hold, and its author is an
 * admin by the records before it (those its deps lead to); so whether it counts never changes.  The
 * first ADMIT of a device makes it a member with its role: first is the least (depth, id), where
 * the depth of a record is the length of the longest way to the root.  Any ADMIT that counts is a
 * grant under which its device may start logs.
 *
 * A placed record of an unknown kind, marked critical, whose author is an admin by the records
 * before it, freezes the roster: records are still taken and passed on, but nobody may show, write
 * or admit before an upgrade.  (A critical record of anybody else freezes nothing, or any reader
 * could stop a space.)
 *
 * Equal sets of records give equal answers to everything below, whatever the order of arrival. */
#ifndef WEFT_ROSTER_H
#define WEFT_ROSTER_H

#include "record.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_roster weft_roster;

typedef struct weft_roster_member {
  weft_id device;
  weft_key x_public;
  weft_bytes name; /* view, good until the roster is freed */
  weft_role role;
  weft_id admitted_by; /* the device that signed the grant */
  weft_id grant;       /* id of the record that made it a member */
} weft_roster_member;

/* Makes the empty roster of a space; `crypto` must outlive it.  WEFT_ENOMEM. */
weft_err weft__roster_new(weft_roster **out, const weft_alloc *mem, const weft_crypto *crypto,
                          const weft_id *space) WEFT_MUST_USE;
/* NULL does nothing.  Ends every view. */
void weft__roster_free(weft_roster *r);

/* Takes a copy of one record after checking its signature.  `fresh` (may be NULL) tells whether it
 * was not held before.  WEFT_EMALFORMED, WEFT_ELIMIT (longer than a record may be), WEFT_EBADSIG:
 * the sender is at fault; WEFT_EFOREIGN: of another space; WEFT_ELIMIT also:
 * WEFT_ROSTER_RECORDS_MAX are held; WEFT_EAGAIN: WEFT_ROSTER_WAITING_MAX wait and this would too
 * (add the missing ones first); WEFT_ENOMEM.  On error the roster is as before. */
weft_err weft__roster_add(weft_roster *r, weft_bytes record, bool *fresh) WEFT_MUST_USE;

/* What a roster has found of a record, to be kept beside it. */
typedef enum weft_roster_verdict {
  WEFT_ROSTER_UNJUDGED, /* of a kind that is not known yet: another version may judge it */
  WEFT_ROSTER_SOUND,
  WEFT_ROSTER_UNSOUND, /* its author signed it, but what it says does not hold */
} weft_roster_verdict;

/* What was found of the held record `id`. */
weft_roster_verdict weft__roster_verdict(const weft_roster *r, const weft_id *id);
/* Takes a copy of a record that a roster of this space has taken before, as weft__roster_verdict
 * told of it then; only one that was not judged has its signatures checked again.  So the bytes
 * must come from where this device alone writes, and notices damage.  Errors as weft__roster_add.
 */
weft_err weft__roster_restore(weft_roster *r, weft_bytes record,
                              weft_roster_verdict verdict) WEFT_MUST_USE;

/* Members, ascending by device; views until the next add. */
void weft__roster_members(const weft_roster *r, const weft_roster_member **members, size_t *count);
/* The member `device`, NULL when it is none; a view until the next add. */
const weft_roster_member *weft__roster_member_of(const weft_roster *r, const weft_id *device);
/* True when record `grant` allows `device` to start logs. */
bool weft__roster_grants(const weft_roster *r, const weft_id *grant, const weft_id *device);
/* True when a critical record asks for an upgrade. */
bool weft__roster_frozen(const weft_roster *r);
/* Name of the space; empty before its GENESIS is held.  View until free. */
weft_bytes weft__roster_space_name(const weft_roster *r);

/* Heads: placed records that no placed record names as a dep; ascending; views until the next add.
 * A new record names the first WEFT_RECORD_DEPS_MAX of them. */
void weft__roster_heads(const weft_roster *r, const weft_id **heads, size_t *count);
/* BLAKE2b-128 over the heads, ascending; zeros when there are none. */
void weft__roster_root(const weft_roster *r, uint8_t root[16]);

/* Number of placed and of waiting records. */
size_t weft__roster_count(const weft_roster *r);
size_t weft__roster_waiting(const weft_roster *r);
/* The `idx`-th placed record, parents before children; a view until free. */
weft_bytes weft__roster_record_at(const weft_roster *r, size_t idx);
/* The bytes of a held record, placed or waiting; empty when it is not held.  View until free. */
weft_bytes weft__roster_record(const weft_roster *r, const weft_id *id);
/* Writes the up to `cap` least ids that waiting records name and that are not held, ascending;
 * while nothing is held, the space's id.  Gives their number. */
size_t weft__roster_missing(const weft_roster *r, weft_id *ids, size_t cap);

/* Lists the placed records that are neither among `known` nor before them, parents before children:
 * what a peer lacks that announced those heads.  Ids that are not held are passed over.  Array in
 * `arena`, bytes views until free.  WEFT_ENOMEM. */
weft_err weft__roster_beyond(weft_roster *r, const weft_id *known, size_t known_count,
                             weft_arena *arena, weft_bytes **records, size_t *count) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

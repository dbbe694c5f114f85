/* What an application needs beside the two doors, the replica and the node: memory for answers,
 * vectors to carry a base around, the members of a space, a first record, tickets.
 *
 * Each function does what its internal namesake does, and is part of the public interface: of the
 * functions in installed headers, those marked WEFT_API are exported and kept; names with two
 * underscores are not.
 *
 * Happy path of a new space: weft_identity_derive, weft_space_genesis, weft_replica_open on the id
 * it gave, weft_replica_add_record with the bytes it wrote.  For the network an epoch too:
 * weft_epoch_id of the space's id, and 32 unpredictable bytes as its secret.  Of a joined space:
 * weft_ticket_parse, weft_uv_join, and in its callback weft_replica_open and each record added;
 * the epoch is the one that came.  Then weft_uv_node_start.
 *
 * An application keeps beside the store: the seed of the identity (secret), the id of the space,
 * the epochs (secret) and the tickets still honoured (secret).  tests/install/pair.c shows both
 * sides. */
#ifndef WEFT_EMBED_H
#define WEFT_EMBED_H

#include "buf.h"
#include "roster.h"
#include "ticket.h"
#include "vector.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- arenas: where answers lie --- */

/* Prepares an empty arena that takes memory from a copy of `mem`, whose ctx must outlive it.  Takes
 * nothing yet.  Any thread; one arena by one thread at a time. */
WEFT_API void weft_arena_init(weft_arena *a, const weft_alloc *mem);
/* Ends every view into it; keeps one block for reuse. */
WEFT_API void weft_arena_reset(weft_arena *a);
/* Ends every view into it and gives all memory back.  The arena may be used again. */
WEFT_API void weft_arena_free(weft_arena *a);

/* --- buffers: what text and chunks are written into --- */

/* Prepares an empty buffer of at most `max` bytes.  Takes nothing yet.  The first failure of a
 * writer stays in b->err: WEFT_ENOMEM, WEFT_ELIMIT, or what the writer says. */
WEFT_API void weft_buf_init(weft_buf *b, const weft_alloc *mem, size_t max);
/* Empties it, forgets an error, keeps memory. */
WEFT_API void weft_buf_reset(weft_buf *b);
/* Gives memory back; the buffer is empty and usable again. */
WEFT_API void weft_buf_free(weft_buf *b);
/* A view of what was written, good until the next write. */
WEFT_API weft_bytes weft_buf_view(const weft_buf *b);

/* --- vectors: the base of a decision --- */

/* Prepares an empty vector that takes memory from a copy of `mem`.  Takes nothing yet. */
WEFT_API void weft_vector_init(weft_vector *v, const weft_alloc *mem);
/* Gives memory back; the vector is empty and usable again. */
WEFT_API void weft_vector_free(weft_vector *v);
/* Makes `v` a copy of `from`.  WEFT_ENOMEM: `v` is as before. */
WEFT_API weft_err weft_vector_copy(weft_vector *v, const weft_vector *from) WEFT_MUST_USE;
/* Appends the canonical bytes, to be kept in a form or a draft.  Errors stay in `out`. */
WEFT_API void weft_vector_encode(weft_buf *out, const weft_vector *v);
/* Reads what weft_vector_encode wrote; refuses anything else.  WEFT_EMALFORMED, WEFT_ELIMIT,
 * WEFT_ENOMEM: `v` is as before. */
WEFT_API weft_err weft_vector_decode(weft_vector *v, weft_bytes in) WEFT_MUST_USE;

/* --- the members of a space --- */

/* Members, ascending by device; views until the roster is next changed. */
WEFT_API void weft_roster_members(const weft_roster *r, const weft_roster_member **members,
                                  size_t *count);
/* The member `device`, NULL when it is none; a view until the roster is next changed. */
WEFT_API const weft_roster_member *weft_roster_member_of(const weft_roster *r,
                                                         const weft_id *device);
/* Name of the space; empty before its first record is held.  View until the replica is freed. */
WEFT_API weft_bytes weft_roster_space_name(const weft_roster *r);
/* True when a record of an unknown critical kind asks for an upgrade. */
WEFT_API bool weft_roster_frozen(const weft_roster *r);

/* --- a new space --- */

typedef struct weft_space_names {
  weft_bytes space;  /* 1..WEFT_SPACE_NAME_LEN_MAX bytes of UTF-8 without control characters */
  weft_bytes device; /* of the creator, 1..WEFT_DEVICE_NAME_LEN_MAX bytes, likewise */
} weft_space_names;

/* Appends the first record of a new space to `out`: `identity` becomes its first admin.  `nonce` is
 * unpredictable; `space` gets the id of the space.  WEFT_EMISUSE: a name that the format forbids;
 * WEFT_ELIMIT: `out` is full; WEFT_ENOMEM.  Any thread. */
WEFT_API weft_err weft_space_genesis(weft_buf *out, const weft_crypto *crypto,
                                     const weft_identity *identity, const weft_space_names *names,
                                     const uint8_t nonce[32], weft_id *space) WEFT_MUST_USE;
/* The id of the epoch that the record `record` began: of a new space, the space's id. */
WEFT_API void weft_epoch_id(uint8_t out[WEFT_EPOCH_ID_LEN], const weft_id *record);

/* --- tickets --- */

/* Writes the text of a ticket with a NUL behind it; `out` is a secret.  WEFT_EMISUSE: a role or an
 * address that the format forbids, or too many of them.  Any thread. */
WEFT_API weft_err weft_ticket_encode(char out[WEFT_TICKET_LEN_MAX + 1], const weft_crypto *crypto,
                                     const weft_ticket *ticket) WEFT_MUST_USE;
/* Reads a ticket from all of `text`.  `why` (may be NULL) is set on error.  WEFT_EMALFORMED: no
 * ticket, or damaged; WEFT_EVERSION: of a newer version.  The caller wipes `out`.  Any thread. */
WEFT_API weft_err weft_ticket_parse(weft_ticket *out, const weft_crypto *crypto, weft_bytes text,
                                    weft_ticket_error *why) WEFT_MUST_USE;
/* Overwrites every byte.  Any thread. */
WEFT_API void weft_ticket_wipe(weft_ticket *ticket, const weft_crypto *crypto);
/* Derives the keys of a ticket's seed.  The caller wipes them.  Any thread. */
WEFT_API void weft_ticket_keys_derive(weft_ticket_keys *out, const weft_crypto *crypto,
                                      const weft_key *seed);
/* Overwrites them.  Any thread. */
WEFT_API void weft_ticket_keys_wipe(weft_ticket_keys *keys, const weft_crypto *crypto);

#ifdef __cplusplus
}
#endif
#endif

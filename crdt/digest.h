/* The state digest: a sum modulo 2^128 over every sibling, so that adding and removing one is cheap
 * and the order of arrival does not matter.  It finds bugs and damaged disks; it is no security
 * boundary. */
#ifndef WEFT_DIGEST_H
#define WEFT_DIGEST_H

#include "doc.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_digest {
  uint64_t high, low;
} weft_digest;

/* What a sibling is called everywhere: the log's id instead of a local number, and the change's id.
 */
typedef struct weft_digest_key {
  uint8_t b[16];
} weft_digest_key;

/* BLAKE2b-128, personal "weft-digest-v1", of the space id. */
void weft__digest_key(const weft_crypto *crypto, const weft_id *space, weft_digest_key *out);

/* The term of one sibling: SipHash-2-4-128 of varint doc length, doc | varint path length, path |
 * log id | seq u64 | hlc u64 | kind u8 | value bytes.  `scratch` is reset and used. */
weft_err weft__digest_term(const weft_crypto *crypto, const weft_digest_key *key, weft_buf *scratch,
                           weft_bytes doc, weft_path path, const weft_id *log,
                           const weft_sibling *sibling, weft_digest *out) WEFT_MUST_USE;

void weft__digest_add(weft_digest *sum, weft_digest term);
void weft__digest_sub(weft_digest *sum, weft_digest term);

#ifdef __cplusplus
}
#endif
#endif

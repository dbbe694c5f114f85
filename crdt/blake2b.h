/* BLAKE2b without a key (RFC 7693), for what is no secret: the ids of changes.
 *
 * libsodium has it too, and everything that has a secret in it goes there.  An id is a hash of some
 * hundred bytes, one block, and there are as many as changes; for one block libsodium's vector code
 * takes twice as long as this, whose instructions do not wait for each other.  Both give the same
 * bytes, which tests hold them to. */
#ifndef WEFT_BLAKE2B_H
#define WEFT_BLAKE2B_H

#include "crdt/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Writes the hash of the concatenation of `count` parts: `len` bytes, 1 to 64.  `salt` and
 * `personal` are 16 bytes or NULL (then zeros).  Nothing is wiped.  Any thread. */
void weft__blake2b(uint8_t *out, size_t len, const uint8_t *salt, const uint8_t *personal,
                   const weft_bytes *parts, size_t count);

#ifdef __cplusplus
}
#endif
#endif

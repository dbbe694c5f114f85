/* Segments: the form in which registers rest in the table `state`.
 *
 * A segment holds neighbouring registers of one document in path order.  Paths are front-coded. The
 * changes that its siblings came from are listed once, in the order of their first use, and
 * siblings refer to them by place; the claims that hiding siblings keep stand with their change.
 * Four bytes of a keyed hash over content and key end it, so that a flipped byte, or a segment
 * under a wrong key, is noticed when it is read.  docs/disk.md, "State", gives every byte.
 *
 * Nothing here reads or writes a store. */
#ifndef WEFT_STORE_SEGMENT_H
#define WEFT_STORE_SEGMENT_H

#include "crdt/alloc.h"
#include "crdt/digest.h"
#include "crdt/doc.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { WEFT_SEGMENT_CHECK_LEN = 4, WEFT_SEGMENT_VERSION = 1 };

/* What seals segments: the hash and its key, which is the space's digest key. */
typedef struct weft_segment_seal {
  const weft_crypto *crypto;
  weft_digest_key key;
} weft_segment_seal;

/* Appends the segment of `count` registers, ascending by path, that is to stand under `key` (the
 * whole key of the table).  Registers without siblings must have been left out.  `scratch` is used
 * and not reset.  WEFT_OK; WEFT_ELIMIT: `out` is full; WEFT_ENOMEM.  Any thread. */
weft_err weft__segment_encode(weft_buf *out, weft_arena *scratch, const weft_segment_seal *seal,
                              weft_bytes key, const weft_register *const *regs,
                              size_t count) WEFT_MUST_USE;

/* Takes apart what stands under `key`; registers and their bytes are copied into `arena`.
 * WEFT_OK; WEFT_ECORRUPT: the check or the form is wrong; WEFT_ENOMEM.  Memory is bounded by a
 * multiple of the length of `in`.  Any thread. */
weft_err weft__segment_decode(weft_arena *arena, const weft_segment_seal *seal, weft_bytes key,
                              weft_bytes in, weft_register **regs, size_t *count) WEFT_MUST_USE;

/* What the first segment of a document tells of a place. */
typedef enum weft_peek {
  WEFT_PEEK_UNSURE, /* it takes more to say: a container, an array on the way, another segment */
  WEFT_PEEK_NOTHING,
  WEFT_PEEK_SCALAR
} weft_peek;

/* Looks up what a plain document (weft__doc_set_plain) shows at `path`, whose steps are keys, in
 * what stands under `key`, its first segment, without taking it apart.  `*scalar` is the encoded
 * value, a view into `in`.  `scratch` is used and not reset.
 * WEFT_OK; WEFT_ECORRUPT: the check or the form is wrong; WEFT_ENOMEM.  Any thread. */
weft_err weft__segment_peek(weft_arena *scratch, const weft_segment_seal *seal, weft_bytes key,
                            weft_bytes in, weft_path path, weft_peek *answer,
                            weft_bytes *scalar) WEFT_MUST_USE;

/* About how many bytes `reg` takes in a segment; for choosing where to split. */
size_t weft__segment_estimate(const weft_register *reg);

#ifdef __cplusplus
}
#endif
#endif

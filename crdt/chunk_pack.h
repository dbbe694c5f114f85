/* Short chunks made into fewer and longer ones, for a message that carries several.
 *
 * A chunk of its own costs a head, a signature, names and compressed frames; runs that share one
 * chunk share names and frames, and runs of one log that follow each other become one run under the
 * last signature, which covers them all. */
#ifndef WEFT_CHUNK_PACK_H
#define WEFT_CHUNK_PACK_H

#include "chunk.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Chunks of fewer bytes than this are packed together; longer ones gain little. */
#define WEFT_CHUNK_SHORT_LEN 16384u

/* Replaces short chunks that follow each other in `chunks` by ones that hold the same changes, and
 * sets `count` to how many there are then; every log keeps its order.  The new ones lie in `arena`.
 * The chunks must be our own, whole and sound, with no log on two branches.  Takes some megabytes
 * while it works.  On an error `chunks` and `count` are as they were.
 * WEFT_EMALFORMED: a short one does not decode; WEFT_ENOMEM.  Any thread, one at a time a codec. */
weft_err weft__chunk_pack(weft_chunk_codec *codec, weft_arena *arena, weft_bytes *chunks,
                          size_t *count) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

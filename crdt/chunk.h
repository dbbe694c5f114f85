/* Chunks: how changes travel and how they rest on disk.
 *
 * A chunk holds one or more runs; a run is consecutive changes of one log ending on a signed one.
 * On disk a chunk holds exactly one run; on the wire runs of several logs may share names and
 * compressed frames.  The changes are stored as columns; the container is not hashed.  A reader
 * rebuilds the canonical bytes of every change exactly and checks chain and signature over those.
 *
 * Limits: up to WEFT_CHUNK_RUNS_MAX runs of one or more changes, WEFT_CHUNK_CHANGES_MAX changes
 * over all runs, and WEFT_CHUNK_LEN_MAX canonical bytes over all of them; or the chunk is one
 * single change of up to WEFT_CHANGE_LEN_MAX.  docs/disk.md gives every byte.  Decoding takes at
 * most some 64 MiB for the single long change and half of that otherwise, whatever the bytes say.
 */
#ifndef WEFT_CHUNK_H
#define WEFT_CHUNK_H

#include "crdt/change.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the columns of a chunk tell of a change, so that whoever only holds it need not take its
 * bytes apart. */
typedef struct weft_brief {
  bool known; /* the bytes parse as VALID and DATA, with this clock and these claims; else nothing
                 is known, and they have to be parsed */
  uint64_t hlc;
  weft_claim *claims; /* as weft__change_parse gives them: without what judging adds */
  size_t claim_count;
} weft_brief;

typedef struct weft_run {
  weft_id log;
  uint64_t first;            /* seq of the first change, >= 1 */
  weft_id prev;              /* id at first - 1 */
  const weft_bytes *changes; /* canonical bytes, in order */
  size_t count;
  weft_sig sig;       /* of the last change */
  weft_brief *briefs; /* of weft__chunk_decode_briefly, one for each change; else NULL */
} weft_run;

/* How hard to compress: live pushes want time, sealed and stored runs want bytes. */
typedef enum weft_chunk_effort { WEFT_CHUNK_LIVE = 1, WEFT_CHUNK_SEALED = 3 } weft_chunk_effort;

/* Appends a chunk of `runs` to `out`.  Any canonical bytes can be carried, also ones that do not
 * parse.  WEFT_OK; WEFT_ELIMIT: over a limit of a chunk; WEFT_EMISUSE: no run, or an empty one;
 * WEFT_ENOMEM. */
weft_err weft__chunk_encode(weft_buf *out, const weft_alloc *mem, const weft_run *runs,
                            size_t run_count, weft_chunk_effort effort) WEFT_MUST_USE;

/* Rebuilds the canonical bytes of every run of exactly the bytes `in`, into `arena` (views point
 * there).  Memory and time are bounded by the limits above whatever the bytes say.
 * WEFT_OK; WEFT_EMALFORMED; WEFT_EVERSION: a chunk form we do not know; WEFT_ELIMIT; WEFT_ENOMEM.
 */
weft_err weft__chunk_decode(weft_arena *arena, weft_bytes in, weft_run **runs,
                            size_t *run_count) WEFT_MUST_USE;

/* What coding a chunk works with: compression contexts and scratch memory, kept from one chunk to
 * the next.  Nothing about a chunk depends on what was coded before.  One thread at a time. */
typedef struct weft_chunk_codec weft_chunk_codec;
/* Makes one; at most some 10 MiB stay in it between chunks.  WEFT_ENOMEM. */
weft_err weft__chunk_codec_new(weft_chunk_codec **out, const weft_alloc *mem) WEFT_MUST_USE;
/* Frees it; NULL does nothing. */
void weft__chunk_codec_free(weft_chunk_codec *c);
/* The two calls above with a codec that is kept. */
weft_err weft__chunk_encode_with(weft_chunk_codec *c, weft_buf *out, const weft_run *runs,
                                 size_t run_count, weft_chunk_effort effort) WEFT_MUST_USE;
weft_err weft__chunk_decode_with(weft_chunk_codec *c, weft_arena *arena, weft_bytes in,
                                 weft_run **runs, size_t *run_count) WEFT_MUST_USE;

/* The same, and tells of each change what its columns tell; `briefs` and their claims lie in
 * `arena`. */
weft_err weft__chunk_decode_briefly(weft_chunk_codec *c, weft_arena *arena, weft_bytes in,
                                    weft_run **runs, size_t *run_count) WEFT_MUST_USE;

/* The head of a run as it stands in a chunk. */
typedef struct weft_run_head {
  weft_id log;
  uint64_t first;
  uint64_t count;
  weft_id prev;
  weft_sig sig;
} weft_run_head;

/* Reads the heads without decompressing anything; `heads` lie in `arena`.  Errors as decode. */
weft_err weft__chunk_heads(weft_arena *arena, weft_bytes in, weft_run_head **heads,
                           size_t *count) WEFT_MUST_USE;

/* Computes the ids of a run (`ids` has run->count places) and checks that its signature is valid
 * under `device`.  WEFT_OK or WEFT_EBADSIG (ids are computed all the same). */
weft_err weft__run_verify(const weft_crypto *crypto, const weft_id *space, const weft_id *device,
                          const weft_run *run, weft_id *ids) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

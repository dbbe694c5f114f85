/* Paths: the place of a value inside a document, as typed steps.
 *
 * A weft_path is the encoded form, a byte string: for each step a varint `len << 1 | is_element`,
 * then `len` bytes.  The encoding is prefix-free per step, so p is an ancestor of q exactly when
 * enc(p) is a proper byte prefix of enc(q), and in byte order every path stands directly before
 * everything below it.  The empty path is the document's root.
 *
 * People write RFC 6901 JSON Pointers; array indexes and `-` become element ids only against a
 * document (see crdt/doc.h). */
#ifndef WEFT_PATH_H
#define WEFT_PATH_H

#include "alloc.h"
#include "buf.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef weft_bytes weft_path; /* encoded; checked by weft_path_check unless made here */

typedef struct weft_step {
  bool element;    /* false: an object key; true: an array element id */
  weft_bytes name; /* view: the key, UTF-8; or the element id, 1..32 bytes */
} weft_step;

/* Walks the steps of a checked path: start with *at = 0; false at the end.  `step` is a view. */
WEFT_API bool weft_path_next(weft_path p, size_t *at, weft_step *step);

/* Appends one step to the encoded path that `b` holds and nothing else.  b->err becomes WEFT_ELIMIT
 * when step or path grow too long or deep, WEFT_EBADPATH when a key is not UTF-8 or has a NUL, or
 * an element id is empty; `b` then still holds the path as it was. */
WEFT_API void weft_path_push(weft_buf *b, weft_step step);

/* Number of steps. */
WEFT_API size_t weft_path_depth(weft_path p);

/* The first `steps` steps of p, a view; `steps` <= depth. */
WEFT_API weft_path weft_path_head(weft_path p, size_t steps);

/* The path without its last step, a view; of the root the root. */
WEFT_API weft_path weft_path_parent(weft_path p);

/* The last step; false at the root. */
WEFT_API bool weft_path_last(weft_path p, weft_step *step);

/* True when `p` is a proper ancestor of `q`. */
WEFT_API bool weft_path_under(weft_path p, weft_path q);

/* True when they are the same place, or one lies below the other. */
bool weft__path_related(weft_path a, weft_path b);

/* WEFT_OK when `p` is a valid encoding within every limit; else WEFT_EMALFORMED or WEFT_ELIMIT. */
WEFT_API weft_err weft_path_check(weft_path p) WEFT_MUST_USE;

/* Splits a JSON Pointer into its unescaped tokens, in `arena`.  "" gives none; "/" one empty one.
 * WEFT_EBADPATH: no leading slash, a bad escape, not UTF-8, a NUL; WEFT_ELIMIT; WEFT_ENOMEM. */
WEFT_API weft_err weft_pointer_split(weft_arena *arena, weft_bytes pointer, weft_bytes **tokens,
                                     size_t *count) WEFT_MUST_USE;

/* Appends one token to a JSON Pointer: a slash, then the token with ~ and / escaped. */
WEFT_API void weft_pointer_push(weft_buf *b, weft_bytes token);

/* Checks a document name `collection/name`: UTF-8, 1..255 bytes in all, at least two segments, none
 * empty, none `.` or `..`, no control characters, no leading or trailing space in a segment.
 * WEFT_EBADNAME or WEFT_OK. */
WEFT_API weft_err weft_document_name_check(weft_bytes name) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

/* Recorded edits of real documents: what was set and taken away, field by field, by whom and when.
 *
 * The file has one JSON object a line: {from, doc, t, a, ops}, an op being ["s", path, value] or
 * ["d", path].  Documents and authors get numbers in the order of their first edit. */
#ifndef WEFT_BENCH_EDITS_H
#define WEFT_BENCH_EDITS_H

#include "crdt/alloc.h"
#include "crdt/value.h"

enum { EDITS_MAX = 700, EDITS_DOCS_MAX = 32, EDITS_AUTHORS_MAX = 100 };

typedef struct edits_step {
  bool set;           /* or taken away */
  weft_bytes pointer; /* JSON Pointer */
  weft_bytes json;    /* of what is set */
  weft_value value;
} edits_step;

typedef struct edits_one {
  size_t doc, author;
  uint64_t seconds; /* since 1970 */
  size_t line;      /* in the file, from 0 */
  edits_step *steps;
  size_t count;
} edits_one;

typedef struct edits {
  weft_alloc mem;
  weft_arena arena;
  edits_one at[EDITS_MAX]; /* by time */
  size_t count;
  weft_bytes docs[EDITS_DOCS_MAX]; /* as documents of weft */
  size_t doc_count;
  char authors[EDITS_AUTHORS_MAX][64];
  size_t author_count;
} edits;

/* Reads the text of such a file, which is copied.  WEFT_EMALFORMED: a line is none, or there are
 * more than fit; WEFT_ENOMEM.  Ended by edits_free, also after an error. */
weft_err edits_read(edits *out, const weft_alloc *mem, weft_bytes text) WEFT_MUST_USE;
void edits_free(edits *e);

#endif

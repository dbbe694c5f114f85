/* Columns: what the parts of a chunk's changes become, between the bytes of a chunk and the
 * canonical bytes of its changes.  Internal to the chunk codec: codec_chunk.c packs and unpacks
 * columns, chunk_split.c takes changes apart into them, chunk_join.c puts the bytes together again.
 *
 * A column is a string of varints or of bytes.  docs/disk.md, section "Chunk", tells what stands in
 * each and in what order; the numbers here are part of the format. */
#ifndef WEFT_CHUNK_COLUMNS_H
#define WEFT_CHUNK_COLUMNS_H

#include "crdt/chunk.h"
#include "crdt/limits.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum weft__column {
  /* one entry a change */
  COLUMN_SHAPE = 0,       /* bits below */
  COLUMN_MILLIS = 1,      /* zigzag: milliseconds of the clock less those of the change before */
  COLUMN_COUNTER = 2,     /* zigzag: counter less the expected one */
  COLUMN_CLAIM_COUNT = 3, /* claims */
  COLUMN_DOC_COUNT = 4,   /* documents less 1 */
  /* one entry a change of which the shape says so */
  COLUMN_RAW_LEN = 5,
  COLUMN_RAW = 6,   /* bytes */
  COLUMN_NOTES = 7, /* bytes: blocks, the message before the extensions */
  /* one entry a claim */
  COLUMN_CLAIM_HEAD = 8,     /* number << 2 | has tag << 1 | has log */
  COLUMN_CLAIM_LOG = 9,      /* bytes, 32 each */
  COLUMN_CLAIM_TAG = 10,     /* bytes, 8 each */
  COLUMN_CLAIM_MODE = 11,    /* one entry a distinct number: 0 seqs, 1 zigzag differences */
  COLUMN_CLAIM_SEQ_LOW = 12, /* bytes: the lowest 8 bits, by number, then document */
  COLUMN_CLAIM_SEQ_HIGH = 13,
  /* one entry a document of a change */
  COLUMN_OP_COUNT = 14, /* ops less 1 */
  COLUMN_DOC_LOW = 15,  /* bytes: the lowest 8 bits of the distance in the table of names */
  COLUMN_DOC_HIGH = 16,
  /* one entry an op */
  COLUMN_PATH = 17, /* distance in the table of paths */
  COLUMN_KIND = 18, /* by path: the op byte, xor the one before at that path */
  /* one entry a position, by path */
  COLUMN_POSITION = 19, /* bytes: blocks */
  /* the tables, ascending */
  COLUMN_NAME_SHARED = 20, /* bytes that a name shares with the one before */
  COLUMN_NAME_LEN = 21,    /* bytes that follow */
  COLUMN_NAME_TEXT = 22,   /* bytes */
  COLUMN_PATH_SHARED = 23,
  COLUMN_PATH_LEN = 24,
  COLUMN_PATH_TEXT = 25, /* bytes */
  COLUMN_PATH_MODE = 26, /* kind of values, and how they are written */
  /* values, by path */
  COLUMN_TYPE = 27,     /* the kind of each value at a path of mixed ones */
  COLUMN_INTEGER = 28,  /* zigzag */
  COLUMN_REAL = 29,     /* bytes, 8 each, big-endian */
  COLUMN_BOOLEAN = 30,  /* bytes: bits, the first one lowest */
  COLUMN_TEXT_LEN = 31, /* strings and byte strings */
  COLUMN_TEXT = 32,     /* bytes */
  /* the words that stand as single bytes in COLUMN_TEXT (chunk_words.c); none: the text is plain */
  COLUMN_WORDS = 33, /* bytes: blocks */
  COLUMNS = 34
} weft__column;

enum { SHAPE_MESSAGE = 1, SHAPE_EXTENSIONS = 2, SHAPE_RAW = 4, SHAPES = 8 };

/* The mode of a path: the kind in the low 3 bits, above it the scale of decimals, or 1 for integers
 * that are written as differences. */
enum {
  VALUE_MIXED = 0,
  VALUE_NULL = 1,
  VALUE_BOOLEAN = 2,
  VALUE_INTEGER = 3,
  VALUE_DECIMAL = 4, /* a mantissa, over 10 to the scale */
  VALUE_REAL = 5,
  VALUE_TEXT = 6,
  VALUE_BLOB = 7,
  VALUE_KIND_BITS = 3,
  VALUE_KIND_MASK = 7,
  VALUE_SCALE_MAX = 15
};

/* True for a column of bytes; the others are varints. */
bool weft__column_is_bytes(weft__column column);

/* A column being written. */
typedef struct weft__column_out {
  weft_buf bytes;
  uint64_t value; /* the first entry */
  bool any;
  bool varies; /* some entry differs from the first */
} weft__column_out;

/* Changes taken apart. */
typedef struct weft__columns_out {
  weft__column_out at[COLUMNS];
  size_t len;   /* canonical bytes of all changes */
  size_t names; /* entries of the tables */
  size_t paths;
} weft__columns_out;

/* A column being read.  A reader fails once and for ever. */
typedef struct weft__column_in {
  weft_rd rd;
  bool constant; /* every entry is `value`: there are no bytes */
  uint64_t value;
} weft__column_in;

typedef struct weft__columns_in {
  weft__column_in at[COLUMNS];
  size_t len;
  size_t names;
  size_t paths;
} weft__columns_in;

/* Appends an entry to a column of varints. */
void weft__column_put(weft__columns_out *out, weft__column column, uint64_t value);
/* The same, zigzag. */
void weft__column_put_signed(weft__columns_out *out, weft__column column, int64_t value);
/* Appends bytes to a column of bytes. */
void weft__column_put_bytes(weft__columns_out *out, weft__column column, weft_bytes bytes);

/* Reads an entry; 0 after a failure. */
static inline uint64_t weft__column_get(weft__columns_in *in, weft__column column) {
  weft__column_in *from = &in->at[column];
  return from->constant ? from->value : weft__rd_varint(&from->rd);
}
static inline int64_t weft__column_get_signed(weft__columns_in *in, weft__column column) {
  uint64_t v = weft__column_get(in, column);
  return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}
static inline weft_bytes weft__column_get_bytes(weft__columns_in *in, weft__column column,
                                                size_t len) {
  return weft__rd_take(&in->at[column].rd, len);
}
/* Copies in steps, which costs less than a call for the few bytes that most texts have.  As many
 * bytes may be read and written too much, so that buffers that are copied to and from end in as
 * many that are anything. */
enum { WEFT__PIECE_LEN = 32 };
static inline void weft__piece_copy(uint8_t *to, const uint8_t *from, size_t len) {
  uint8_t piece[WEFT__PIECE_LEN]; /* what is read too much may be where it is written */
  for (size_t at = 0; at < len; at += WEFT__PIECE_LEN) {
    __builtin_memcpy(piece, from + at, WEFT__PIECE_LEN);
    __builtin_memcpy(to + at, piece, WEFT__PIECE_LEN);
  }
}

/* True when nothing failed, and each column was read to its end. */
bool weft__columns_done(const weft__columns_in *in);

/* The double that a mantissa and a scale up to VALUE_SCALE_MAX stand for. */
double weft__decimal(int64_t mantissa, unsigned scale);

/* Most bytes that the columns of changes of `len` canonical bytes take.  An op takes 2 bytes and
 * more, and at most 9 in columns without what it names; a document 5 and 10; a claim 2 and 8. */
static inline size_t weft__columns_len_max(size_t len) { return 5 * len + 64 * 1024; }

/* Takes the changes of all runs apart.  `out` is empty and gets every column; `scratch` is used.
 * WEFT_OK, WEFT_ENOMEM. */
weft_err weft__chunk_split(weft__columns_out *out, weft_arena *scratch, const weft_run *runs,
                           size_t run_count) WEFT_MUST_USE;

/* A hash of short texts, for tables within one call.  It is no secret, so whoever uses it bounds
 * how far it probes: texts made to collide must not cost more than others. */
uint32_t weft__text_hash(weft_bytes text);
enum { WEFT__PROBES_MAX = 32 };

/* Codes `text` with words of its own: appends the words chosen to `dictionary` (blocks), the text
 * to `coded`.  `scratch` is used.  WEFT_OK, WEFT_ENOMEM, WEFT_ELIMIT (a buffer's). */
weft_err weft__words_code(weft_bytes text, weft_arena *scratch, weft_buf *dictionary,
                          weft_buf *coded) WEFT_MUST_USE;

/* Undoes weft__words_code: `text`, at most `len_max` bytes, which are taken from `arena`.
 * WEFT_OK, WEFT_EMALFORMED, WEFT_ENOMEM. */
weft_err weft__words_decode(weft_arena *arena, weft_bytes dictionary, weft_bytes coded,
                            size_t len_max, weft_bytes *text) WEFT_MUST_USE;

/* Rebuilds `count` changes in `arena`, `changes` gets views of them; `scratch` is used, at most
 * some 64 bytes for each op, claim and document.  `briefs`, unless NULL, gets what the columns tell
 * of each.  WEFT_OK; WEFT_EMALFORMED; WEFT_ENOMEM. */
weft_err weft__chunk_join(weft__columns_in *in, weft_arena *arena, weft_arena *scratch,
                          weft_bytes *changes, weft_brief *briefs, size_t count) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

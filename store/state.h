/* The materialised state of one document: loading the part that is wanted, writing back what
 * changed.
 *
 * The table `state` maps (document number, start path) to a segment.  The first segment of a
 * document starts at the empty path; each holds the registers from its start up to the next start.
 * Starts are shortened to what tells neighbours apart and cut to fit a key; where no short enough
 * start exists, nothing is split, and a segment that is too long for one value is stored in parts.
 * Behind its segments stands everything else about the document, so that a change of a short one
 * moves a single page.
 *
 * Happy path: weft__state_begin, weft__state_need*, weft__doc_show on state->doc, weft__state_save.
 * Everything lies in the arena given to begin, which must outlive the state. */
#ifndef WEFT_STORE_STATE_H
#define WEFT_STORE_STATE_H

#include "store/keys.h"
#include "store/segment.h"
#include "store/store.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
  WEFT_SEGMENT_LEN_SPLIT = 1000, /* a longer one is split */
  WEFT_SEGMENT_LEN_MERGE = 200   /* a shorter one is joined with the next, if both fit one */
};

/* Rows of a document that are no segments.  No path begins with the byte that stands before these.
 */
typedef enum weft_state_row {
  WEFT_STATE_RECORD, /* nothing follows in the key */
  WEFT_STATE_PART,   /* the start of a segment, u32 number of a part of it */
  WEFT_STATE_HISTORY /* u64 place of its first change */
} weft_state_row;

/* Each makes `k` anew and gives its view.  Any thread. */
weft_bytes weft__state_row_key(weft_dbkey *k, uint32_t number, weft_state_row row);
weft_bytes weft__state_history_key(weft_dbkey *k, uint32_t number, uint64_t first);

/* What does not change from document to document. */
typedef struct weft_state_env {
  weft_segment_seal seal;
  weft_alloc mem;
  const void *ctx;
  const weft_id *(*log_id)(const void *ctx, uint32_t log); /* of a local log number */
} weft_state_env;

typedef struct weft_state_piece {
  weft_path start;     /* the path in its key */
  weft_path end;       /* the start of the next one */
  bool last;           /* there is no next one: `end` means nothing */
  bool stored;         /* false: the document has nothing there yet */
  uint32_t parts;      /* values it is spread over; 0: it stands whole under its key */
  size_t len;          /* bytes stored */
  weft_register *regs; /* as they were loaded */
  size_t count;
} weft_state_piece;

typedef struct weft_state {
  const weft_state_env *env;
  weft_txn *txn;
  weft_cursor *cursor;
  uint32_t number;
  weft_doc *doc;            /* borrowed; the registers loaded so far */
  weft_arena *arena;        /* borrowed */
  weft_state_piece *pieces; /* loaded, ascending by start */
  size_t piece_count;
  size_t piece_cap;
  bool borrow; /* `doc` uses what lies in `arena` instead of copies; it is reset before that */
  bool met;    /* `record` stood behind the last segment */
  weft_bytes record;
  weft_buf row; /* what is written next */
  weft_buf term;
} weft_state;

/* Begins with the empty document `doc`, loading nothing.  Opens a cursor: weft__state_end must
 * follow before the transaction ends.  WEFT_ENOMEM, WEFT_EIO. */
weft_err weft__state_begin(weft_state *s, const weft_state_env *env, weft_txn *txn, uint32_t number,
                           weft_doc *doc, weft_arena *arena) WEFT_MUST_USE;
/* Goes on with another document in the same transaction; `doc` and `arena` have been reset. */
void weft__state_again(weft_state *s, uint32_t number);
/* Closes the cursor.  Harmless on a zeroed state and when called twice. */
void weft__state_end(weft_state *s);

/* Loads the register at `path` if there is one; all ancestors of it too; everything below it too;
 * the whole document.  What is loaded already stays as it is, also when it was changed since.
 * WEFT_ECORRUPT: a segment is damaged; WEFT_ENOMEM, WEFT_EIO. */
weft_err weft__state_need(weft_state *s, weft_path path) WEFT_MUST_USE;
weft_err weft__state_need_above(weft_state *s, weft_path path) WEFT_MUST_USE;
weft_err weft__state_need_below(weft_state *s, weft_path path) WEFT_MUST_USE;
weft_err weft__state_need_all(weft_state *s) WEFT_MUST_USE;

/* Finds the first segment of a document, and its record where that stands next to it, as in short
 * documents: views into the store, empty where there is none.  `cursor` is on `state`.
 * WEFT_EIO, WEFT_ECORRUPT. */
weft_err weft__state_first(weft_cursor *cursor, uint32_t number, weft_bytes *segment,
                           weft_bytes *record) WEFT_MUST_USE;

/* Looks up what a plain document shows at a path of keys, where its first segment tells; else
 * WEFT_PEEK_UNSURE.  As weft__segment_peek; `*scalar` is a view into the segment. */
weft_err weft__state_peek(const weft_state_env *env, uint32_t number, weft_bytes segment,
                          weft_path path, weft_arena *scratch, weft_peek *answer,
                          weft_bytes *scalar) WEFT_MUST_USE;

/* Finds the row of its record, as it is stored; without a search when the last segment was loaded
 * before.  A view until the next write; asked for before anything is saved.  WEFT_ENOTFOUND. */
weft_err weft__state_record(weft_state *s, weft_bytes *row) WEFT_MUST_USE;

/* Takes all of the document from what another state has loaded of it, whose memory must outlive
 * this one; nothing is loaded here yet, and `borrow` is set.  WEFT_ENOMEM. */
weft_err weft__state_adopt(weft_state *s, const weft_state_piece *pieces,
                           size_t count) WEFT_MUST_USE;

/* True when all of the document is known to be loaded: it lies in one piece. */
bool weft__state_is_whole(const weft_state *s);

/* The register at `path` as it was loaded, before anything was shown; NULL when there was none or
 * it was not loaded. */
const weft_register *weft__state_was(const weft_state *s, weft_path path);

/* Writes back every piece with a changed register, and moves `digest` by what changed.  `name` is
 * the document's.  Afterwards only weft__state_again
 * or weft__state_end may follow.
 * WEFT_EFULL, WEFT_EIO, WEFT_ECORRUPT, WEFT_ENOMEM: the transaction must be aborted. */
weft_err weft__state_save(weft_state *s, weft_bytes name, weft_digest *digest) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

/* Version vectors: what a replica holds or shows, as the heads of every log.
 *
 * A head names the newest change of one branch of a log: log, seq and id.  A log that has forked
 * has several.  A vector is the set of its heads, kept ascending by (log, seq, id); no head of a
 * vector is an ancestor of another, so that equal vectors have equal bytes and equal roots.
 *
 * Whether one head is an ancestor of another cannot be seen from the two alone once a log has
 * forked: a weft_ancestry answers it.  NULL in its place means that of two heads of one log with
 * different seq the longer one continues the shorter one, which is true of every log that has not
 * forked.  All operations on one vector must be given answers from one history. */
#ifndef WEFT_VECTOR_H
#define WEFT_VECTOR_H

#include "alloc.h"
#include "buf.h"
#include "crypto.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_head {
  weft_id log;
  uint64_t seq; /* >= 1 */
  weft_id id;   /* of the change at seq */
} weft_head;

/* `precedes`: true when change `a` is an ancestor of change `b`.  Asked only for two changes of one
 * log with a->seq < b->seq.  Must be transitive. */
typedef struct weft_ancestry {
  const void *ctx;
  bool (*precedes)(const void *ctx, const weft_head *a, const weft_head *b);
} weft_ancestry;

/* Read `heads` and `count` freely, change them only through the functions below. */
typedef struct weft_vector {
  weft_alloc mem;
  weft_head *heads; /* ascending by (log, seq, id) */
  size_t count;
  size_t cap;
} weft_vector;

typedef enum weft_order {
  WEFT_ORDER_EQUAL,
  WEFT_ORDER_BEFORE, /* the second contains the first, and more */
  WEFT_ORDER_AFTER,
  WEFT_ORDER_CONCURRENT
} weft_order;

/* Changes of one log that one vector contains and another lacks.  `from`..`to` are inclusive. */
typedef struct weft_range {
  weft_id log;
  uint64_t from;
  uint64_t to;
  weft_id prev; /* id of the own head at from - 1; zeros when from is 1 or `fork` is set */
  weft_id head; /* id at `to` */
  bool fork;    /* the other's branch is not known to continue an own one: `from` is a guess, the
                   place where the branches part is still to be found */
} weft_range;

enum { WEFT_ROOT_LEN = 16, WEFT_VECTOR_DEPTH_MAX = 64 };

/* A node of the trie over log ids: the hashes of its children, zeros where nothing lies. */
typedef struct weft_vector_node {
  uint8_t child[16][WEFT_ROOT_LEN];
  size_t first; /* index of the first head below the node */
  size_t count; /* heads below the node */
} weft_vector_node;

/* Orders heads by (log, seq, id): <0, 0, >0.  Any thread. */
int weft__head_cmp(const weft_head *a, const weft_head *b);

/* Prepares an empty vector that takes memory from a copy of `mem`.  Takes nothing yet. */
void weft__vector_init(weft_vector *v, const weft_alloc *mem);
/* Gives memory back; the vector is empty and usable again. */
void weft__vector_free(weft_vector *v);
/* Empties it, keeps memory. */
void weft__vector_clear(weft_vector *v);
/* Makes `v` a copy of `from`.  WEFT_ENOMEM: `v` is as before. */
weft_err weft__vector_copy(weft_vector *v, const weft_vector *from) WEFT_MUST_USE;

/* Gives the heads of `log`: their number, and in `first` (may be NULL) the index of the first. */
size_t weft__vector_find(const weft_vector *v, const weft_id *log, size_t *first);
/* The greatest seq of `log`, 0 when nothing of it is there. */
uint64_t weft__vector_seq(const weft_vector *v, const weft_id *log);
/* True when some branch of `log` reaches `seq`. */
bool weft__vector_covers(const weft_vector *v, const weft_id *log, uint64_t seq);
/* True when the change is a head or an ancestor of one. */
bool weft__vector_contains(const weft_vector *v, const weft_ancestry *a, const weft_head *change);

/* Adds a change with everything before it: heads that it continues go; one that is contained
 * already changes nothing.  WEFT_EMALFORMED: seq 0; WEFT_ELIMIT: WEFT_VECTOR_HEADS_MAX;
 * WEFT_ENOMEM.  On error `v` is as before. */
weft_err weft__vector_raise(weft_vector *v, const weft_ancestry *a,
                            const weft_head *change) WEFT_MUST_USE;

/* The same as weft__vector_raise without an ancestry of each of `heads`, which ascend; those with
 * seq 0 are passed over.  New logs move what stands behind them once, not once each.  On error
 * some may have been added.  WEFT_ELIMIT, WEFT_ENOMEM. */
weft_err weft__vector_raise_all(weft_vector *v, const weft_head *heads, size_t count) WEFT_MUST_USE;

/* Replaces all heads of `log` by `count` others, in any order; 0 removes the log.  For tables that
 * mirror somebody else's vector.  Errors as weft__vector_raise, and WEFT_EMALFORMED also for a head
 * of another log or the same head twice. */
weft_err weft__vector_set(weft_vector *v, const weft_id *log, const weft_head *heads,
                          size_t count) WEFT_MUST_USE;

/* Adds everything `from` contains: the least vector that contains both.  Errors as
 * weft__vector_raise. */
weft_err weft__vector_merge(weft_vector *v, const weft_ancestry *a,
                            const weft_vector *from) WEFT_MUST_USE;

/* How `a` stands to `b`. */
weft_order weft__vector_compare(const weft_vector *a, const weft_vector *b,
                                const weft_ancestry *by);

/* Lists what `theirs` contains and `mine` lacks, ascending by (log, to, head), in `arena`.  Raising
 * `mine` to the end of every range makes it the merge of both.  WEFT_ENOMEM. */
weft_err weft__vector_lacks(const weft_vector *mine, const weft_vector *theirs,
                            const weft_ancestry *a, weft_arena *arena, weft_range **ranges,
                            size_t *count) WEFT_MUST_USE;

/* Lists how to turn `from` into `to`: for each log whose heads differ all heads in `to`, or one
 * with seq 0 and id zeros when `to` has none; ascending by (log, seq, id), in `arena`. WEFT_ENOMEM.
 */
weft_err weft__vector_delta(const weft_vector *from, const weft_vector *to, weft_arena *arena,
                            weft_head **delta, size_t *count) WEFT_MUST_USE;

/* Applies such a list, which may come from a peer.  WEFT_EMALFORMED: not ascending, or seq 0 beside
 * other heads of its log or with an id; WEFT_ELIMIT; WEFT_ENOMEM.  On error `v` is as before. */
weft_err weft__vector_apply(weft_vector *v, const weft_head *delta, size_t count) WEFT_MUST_USE;

/* Appends the canonical bytes: varint count, then for each head log 32, varint seq, id 32,
 * ascending.  Errors stay in `out`. */
void weft__vector_encode(weft_buf *out, const weft_vector *v);
/* Reads all of `in`; refuses every other encoding.  WEFT_EMALFORMED, WEFT_ELIMIT (the count is over
 * WEFT_VECTOR_HEADS_MAX), WEFT_ENOMEM; then `v` is as before.  Memory is bounded by `in`. */
weft_err weft__vector_decode(weft_vector *v, weft_bytes in) WEFT_MUST_USE;

/* True when both have the same heads. */
bool weft__vector_equal(const weft_vector *a, const weft_vector *b);

/* Hash of the whole vector; zeros when it is empty.  Equal exactly when the vectors are equal. */
void weft__vector_root(const weft_vector *v, const weft_crypto *crypto,
                       uint8_t root[WEFT_ROOT_LEN]);
/* The node under `prefix`: one byte per step, each 0..15, at most WEFT_VECTOR_DEPTH_MAX - 1 of
 * them. Defined for every prefix, also where the trie has only one leaf or none.  WEFT_EMALFORMED.
 */
weft_err weft__vector_node(const weft_vector *v, const weft_crypto *crypto, weft_bytes prefix,
                           weft_vector_node *node) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

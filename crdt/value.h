/* Values: what a field holds, and whole JSON-like trees.
 *
 * A weft_value is a plain read-only tree whose strings and children lie in somebody's arena.  The
 * only scalars that stand in a register are null, bool, int, double, string and bytes; arrays and
 * objects exist as trees for reading and for assignment, where they become one register per path.
 *
 * Encoded scalars are canonical msgpack: the shortest integer form, every double as float 64
 * (NaN and infinities are refused), the shortest string and bin header.  Two scalars are the
 * same field content exactly when their encodings are equal; weft_value_equal() is the wider sense
 * of JSON: an int and a double of equal numeric value are equal. */
#ifndef WEFT_VALUE_H
#define WEFT_VALUE_H

#include "alloc.h"
#include "buf.h"
#include "limits.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum weft_value_kind {
  WEFT_NULL,
  WEFT_BOOL,
  WEFT_INT,
  WEFT_DOUBLE,
  WEFT_STRING, /* valid UTF-8; NUL allowed */
  WEFT_BYTES,
  WEFT_ARRAY,
  WEFT_OBJECT
} weft_value_kind;

typedef struct weft_value weft_value;
typedef struct weft_member weft_member;

struct weft_value {
  weft_value_kind kind;
  union {
    bool boolean;
    int64_t integer;
    double real;
    weft_bytes bytes; /* WEFT_STRING and WEFT_BYTES */
    struct {
      const weft_value *at;
      size_t count;
    } array;
    struct {
      const weft_member *at; /* ascending by key bytes, no key twice */
      size_t count;
    } object;
  } as;
};

struct weft_member {
  weft_bytes key; /* valid UTF-8 without NUL, up to WEFT_NAME_LEN_MAX bytes, may be empty */
  weft_value value;
};

/* True for every kind but WEFT_ARRAY and WEFT_OBJECT.  Any thread. */
WEFT_API bool weft_value_is_scalar(const weft_value *v);

/* True when `a` and `b` are the same JSON: equal scalars, equal arrays in order, equal objects.
 * Numbers compare by their exact numeric value, so int 1 equals double 1.0, 2^53 + 1 equals no
 * double, and 0.0 equals -0.0: an equivalence over all storable values, so values can be grouped by
 * it.  Trees nested beyond WEFT_JSON_DEPTH_MAX equal nothing.  Any thread. */
WEFT_API bool weft_value_equal(const weft_value *a, const weft_value *b);

/* Finds a member of an object by key; NULL when absent or `object` is no object.  View into it. */
WEFT_API const weft_value *weft_value_member(const weft_value *object, weft_bytes key);

/* Checks a tree against every limit: UTF-8, key and value lengths, depth, key order, finite
 * doubles. WEFT_OK, WEFT_ELIMIT (too long or deep) or WEFT_EBADVALUE.  Any thread. */
WEFT_API weft_err weft_value_check(const weft_value *v) WEFT_MUST_USE;

/* As weft_value_check, for one scalar, whose encoding may take WEFT_VALUE_LEN_MAX bytes; a
 * container is WEFT_EBADVALUE. */
weft_err weft__scalar_check(const weft_value *v) WEFT_MUST_USE;

/* Checks an object key: WEFT_ELIMIT when too long, WEFT_EBADVALUE when not UTF-8 or with a NUL. */
weft_err weft__key_check(weft_bytes key) WEFT_MUST_USE;

/* Follows a tree from its root without recursion: every scalar once, every container when it is
 * opened and again when it is closed, in order. */
typedef enum weft_walk_event {
  WEFT_WALK_SCALAR,
  WEFT_WALK_OPEN,
  WEFT_WALK_CLOSE,
  WEFT_WALK_END,     /* stays so */
  WEFT_WALK_TOO_DEEP /* `value` is a container that lies in WEFT_JSON_DEPTH_MAX others: stop */
} weft_walk_event;

typedef struct weft_walk {
  const weft_value *value;      /* what the last event is about */
  const weft_bytes *key;        /* SCALAR and OPEN: its key within an object, else NULL */
  const weft_bytes *key_before; /* the key of the member before it, NULL for the first */
  size_t idx;                   /* SCALAR and OPEN: its index within its container */
  size_t depth;                 /* open containers, after the event */
  const weft_value *root;       /* not yet shown, else NULL */
  struct {
    const weft_value *of;
    size_t idx;
  } stack[WEFT_JSON_DEPTH_MAX];
} weft_walk;

/* Begins a walk; borrows the tree until the walk ends.  Nothing to free. */
void weft__walk_init(weft_walk *w, const weft_value *root);

/* Moves to the next event. */
weft_walk_event weft__walk_next(weft_walk *w);

/* Appends the canonical encoding of a scalar.  b->err becomes what weft__scalar_check says of one
 * that cannot be stored: WEFT_EBADVALUE or WEFT_ELIMIT. */
void weft__scalar_encode(weft_buf *b, const weft_value *v);

/* Decodes exactly one canonical scalar from all of `in`; string and bytes are views into `in`.
 * WEFT_EMALFORMED for anything else, including a second encoding, bad UTF-8, a container, an
 * encoding over WEFT_VALUE_LEN_MAX.  WEFT_ENOMEM. */
weft_err weft__scalar_decode(weft_bytes in, weft_value *out) WEFT_MUST_USE;

/* Length of the canonical scalar that starts `in`, 0 when there is none.  Constant time but for the
 * UTF-8 check of a string. */
size_t weft__scalar_len(weft_bytes in);

/* Appends the canonical encoding of a whole tree: as msgpack, maps with keys ascending.  Used for
 * content hashes and by the network.  b->err becomes what weft_value_check says of one that cannot
 * be stored; what was appended before is then of no use. */
void weft__value_encode(weft_buf *b, const weft_value *v);

/* Decodes a tree from canonical msgpack into `arena`, strings too: nothing points into `in`.  Takes
 * at most about 50 bytes for each byte of `in`.  WEFT_EMALFORMED, WEFT_ELIMIT (a key, a value or
 * the nesting), WEFT_ENOMEM; `*out` is set only on WEFT_OK. */
weft_err weft__value_decode(weft_arena *arena, weft_bytes in, weft_value *out) WEFT_MUST_USE;

/* True when the bytes are valid UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool weft__utf8_ok(weft_bytes text);

/* Scans untrusted msgpack without allocating, before msgpack-c may see it: exactly one item,
 * nesting at most `depth_max` (at most WEFT_JSON_DEPTH_MAX, else WEFT_EMISUSE), at most `items_max`
 * items over all levels (containers, keys and values each count), never more promised than bytes
 * left, one encoding per value: shortest integers and headers, doubles as float 64 and finite,
 * valid UTF-8, map keys strings that strictly ascend, no ext.  Integers up to 2^64 - 1 pass.  A
 * `depth_max` of 32 or less keeps msgpack-c from refusing what passed here.  WEFT_EMALFORMED or
 * WEFT_ELIMIT (nesting or items).  Any thread. */
weft_err weft__msgpack_check(weft_bytes in, unsigned depth_max, size_t items_max) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

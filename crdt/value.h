/* Values: what a field holds, and whole JSON-like trees.
 *
 * A weft_value is a plain read-only tree whose strings and children lie in somebody's arena.  The
 * only scalars that stand in a register are null, bool, int, double, string and bytes; arrays and
 * objects exist as trees for reading and for assignment, where they become one register per path.
 *
 * Encoded scalars are canonical msgpack: the shortest integer form, every double as float 64 (one
 * quiet NaN is refused; so are infinities), the shortest string and bin header.  Two scalars are the
 * same field content exactly when their encodings are equal; weft_value_equal() is the wider sense
 * of JSON: an int and a double of equal numeric value are equal. */
#ifndef WEFT_VALUE_H
#define WEFT_VALUE_H

#include "crdt/alloc.h"
#include "crdt/buf.h"

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

/* True when `a` and `b` are the same JSON: equal scalars (int and double by numeric value, exactly),
 * equal arrays in order, equal objects.  Does not recurse deeper than WEFT_JSON_DEPTH_MAX. */
WEFT_API bool weft_value_equal(const weft_value *a, const weft_value *b);

/* Finds a member of an object by key; NULL when absent or `object` is no object.  View into it. */
WEFT_API const weft_value *weft_value_member(const weft_value *object, weft_bytes key);

/* Checks a tree against every limit: UTF-8, key and value lengths, depth, key order, finite doubles.
 * WEFT_OK, WEFT_ELIMIT (too long or deep) or WEFT_EBADVALUE. */
WEFT_API weft_err weft_value_check(const weft_value *v) WEFT_MUST_USE;

/* Appends the canonical encoding of a scalar.  A non-scalar or unstorable one sets b->err to
 * WEFT_EBADVALUE. */
void weft__scalar_encode(weft_buf *b, const weft_value *v);

/* Decodes exactly one canonical scalar from all of `in`; string and bytes are views into `in`.
 * WEFT_EMALFORMED for anything else, including a second encoding, bad UTF-8, a container. */
weft_err weft__scalar_decode(weft_bytes in, weft_value *out) WEFT_MUST_USE;

/* Length of the canonical scalar that starts `in`, 0 when there is none.  Constant time but for the
 * UTF-8 check of a string. */
size_t weft__scalar_len(weft_bytes in);

/* Appends the canonical encoding of a whole tree: as msgpack, maps with keys ascending.  Used for
 * content hashes and by the network.  Same errors as weft__scalar_encode. */
void weft__value_encode(weft_buf *b, const weft_value *v);

/* Decodes a tree from canonical msgpack into `arena`.  WEFT_EMALFORMED, WEFT_ELIMIT, WEFT_ENOMEM. */
weft_err weft__value_decode(weft_arena *arena, weft_bytes in, weft_value *out) WEFT_MUST_USE;

/* True when the bytes are valid UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool weft__utf8_ok(weft_bytes text);

/* Scans untrusted msgpack without allocating, before msgpack-c may see it: exactly one item, nesting
 * at most `depth_max`, at most `items_max` items over all levels, never more promised than bytes
 * left, minimal integers and headers, valid UTF-8, no ext.  WEFT_EMALFORMED or WEFT_ELIMIT. */
weft_err weft__msgpack_check(weft_bytes in, unsigned depth_max, size_t items_max) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

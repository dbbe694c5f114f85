/* Trees of values: walking, comparing, checking.
 *
 * Invariants: no function recurses; a tree is followed through weft_walk, whose stack is as deep as
 * a document may be.  Failure modes: trees come from our decoders or from an application, so
 * weft_value_check distrusts everything in them but the pointers. */
#include "crdt/value.h"

#include <math.h>
#include <string.h>

#include "crdt/limits.h"

bool weft_value_is_scalar(const weft_value *v) {
  return v->kind != WEFT_ARRAY && v->kind != WEFT_OBJECT;
}

void weft__walk_init(weft_walk *w, const weft_value *root) {
  w->root = root;
  w->value = NULL;
  w->key = NULL;
  w->key_before = NULL;
  w->depth = 0;
}

/* Shows one value: a scalar, or a container that is entered. */
static weft_walk_event walk_show(weft_walk *w, const weft_value *v) {
  w->value = v;
  if (weft_value_is_scalar(v)) return WEFT_WALK_SCALAR;
  if (w->depth == WEFT_JSON_DEPTH_MAX) return WEFT_WALK_TOO_DEEP;
  w->stack[w->depth].of = v;
  w->stack[w->depth].idx = 0;
  w->depth++;
  return WEFT_WALK_OPEN;
}

weft_walk_event weft__walk_next(weft_walk *w) {
  w->key = NULL;
  w->key_before = NULL;
  if (w->root) {
    const weft_value *root = w->root;
    w->root = NULL;
    w->idx = 0;
    return walk_show(w, root);
  }
  if (w->depth == 0) return WEFT_WALK_END;
  const weft_value *of = w->stack[w->depth - 1].of;
  w->idx = w->stack[w->depth - 1].idx++;
  if (of->kind == WEFT_ARRAY && w->idx < of->as.array.count) {
    return walk_show(w, &of->as.array.at[w->idx]);
  }
  if (of->kind == WEFT_OBJECT && w->idx < of->as.object.count) {
    const weft_member *member = &of->as.object.at[w->idx];
    w->key = &member->key;
    if (w->idx > 0) w->key_before = &member[-1].key;
    return walk_show(w, &member->value);
  }
  w->depth--;
  w->value = of;
  return WEFT_WALK_CLOSE;
}

/* Exact: a double is an int64 when it is whole and within -2^63 .. 2^63 - 1, where the cast loses
 * nothing; the int is never turned into a double, which beyond 2^53 would. */
static bool int_equals_double(int64_t i, double d) {
  if (!(d >= -0x1p63 && d < 0x1p63)) return false;
  return (double)(int64_t)d == d && (int64_t)d == i;
}

/* Compares two values without their children: kind, scalar content, number of children. */
static bool shallow_equal(const weft_value *a, const weft_value *b) {
  if (a->kind == WEFT_INT && b->kind == WEFT_DOUBLE) {
    return int_equals_double(a->as.integer, b->as.real);
  }
  if (a->kind == WEFT_DOUBLE && b->kind == WEFT_INT) {
    return int_equals_double(b->as.integer, a->as.real);
  }
  if (a->kind != b->kind) return false;
  switch (a->kind) {
  case WEFT_NULL: return true;
  case WEFT_BOOL: return a->as.boolean == b->as.boolean;
  case WEFT_INT: return a->as.integer == b->as.integer;
  case WEFT_DOUBLE: return a->as.real == b->as.real;
  case WEFT_STRING:
  case WEFT_BYTES: return weft_bytes_cmp(a->as.bytes, b->as.bytes) == 0;
  case WEFT_ARRAY: return a->as.array.count == b->as.array.count;
  case WEFT_OBJECT: return a->as.object.count == b->as.object.count;
  }
  return false;
}

bool weft_value_equal(const weft_value *a, const weft_value *b) {
  weft_walk wa, wb;
  weft__walk_init(&wa, a);
  weft__walk_init(&wb, b);
  for (;;) {
    weft_walk_event ea = weft__walk_next(&wa), eb = weft__walk_next(&wb);
    if (ea != eb || ea == WEFT_WALK_TOO_DEEP) return false;
    if (ea == WEFT_WALK_END) return true;
    if (ea == WEFT_WALK_CLOSE) continue;
    if (!shallow_equal(wa.value, wb.value)) return false;
    /* Both stand in containers of one kind, so both have a key or neither has. */
    if (wa.key && weft_bytes_cmp(*wa.key, *wb.key) != 0) return false;
  }
}

const weft_value *weft_value_member(const weft_value *object, weft_bytes key) {
  if (object->kind != WEFT_OBJECT) return NULL;
  size_t low = 0, high = object->as.object.count;
  while (low < high) {
    size_t mid = low + (high - low) / 2;
    int order = weft_bytes_cmp(object->as.object.at[mid].key, key);
    if (order == 0) return &object->as.object.at[mid].value;
    if (order < 0) {
      low = mid + 1;
    } else {
      high = mid;
    }
  }
  return NULL;
}

weft_err weft__scalar_check(const weft_value *v) {
  switch (v->kind) {
  case WEFT_NULL:
  case WEFT_BOOL:
  case WEFT_INT: return WEFT_OK;
  case WEFT_DOUBLE: return isfinite(v->as.real) ? WEFT_OK : WEFT_EBADVALUE;
  case WEFT_STRING:
    if (v->as.bytes.len > WEFT_TEXT_LEN_MAX) return WEFT_ELIMIT;
    return weft__utf8_ok(v->as.bytes) ? WEFT_OK : WEFT_EBADVALUE;
  case WEFT_BYTES: return v->as.bytes.len > WEFT_TEXT_LEN_MAX ? WEFT_ELIMIT : WEFT_OK;
  case WEFT_ARRAY:
  case WEFT_OBJECT: break;
  }
  return WEFT_EBADVALUE;
}

weft_err weft__key_check(weft_bytes key) {
  if (key.len > WEFT_NAME_LEN_MAX) return WEFT_ELIMIT;
  if (key.len > 0 && memchr(key.at, 0, key.len)) return WEFT_EBADVALUE;
  return weft__utf8_ok(key) ? WEFT_OK : WEFT_EBADVALUE;
}

weft_err weft_value_check(const weft_value *v) {
  weft_walk w;
  weft__walk_init(&w, v);
  for (;;) {
    weft_walk_event event = weft__walk_next(&w);
    if (event == WEFT_WALK_END) return WEFT_OK;
    if (event == WEFT_WALK_TOO_DEEP) return WEFT_ELIMIT;
    if (event == WEFT_WALK_CLOSE) continue;
    if (w.key) {
      WEFT_TRY(weft__key_check(*w.key));
      if (w.key_before && weft_bytes_cmp(*w.key_before, *w.key) >= 0) return WEFT_EBADVALUE;
    }
    if (event == WEFT_WALK_SCALAR) WEFT_TRY(weft__scalar_check(w.value));
  }
}

/* Length of the character beyond ASCII that starts `at`, 0 when it is none: RFC 3629, section 4. */
static size_t utf8_character(const uint8_t *at, size_t left) {
  uint8_t c = at[0];
  size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
  if (c < 0xc2 || c > 0xf4 || len > left) return 0;
  uint8_t low = 0x80, high = 0xbf; /* of the second byte: narrower behind four of the leaders */
  if (c == 0xe0) low = 0xa0;       /* overlong */
  if (c == 0xed) high = 0x9f;      /* surrogates */
  if (c == 0xf0) low = 0x90;       /* overlong */
  if (c == 0xf4) high = 0x8f;      /* beyond U+10FFFF */
  if (at[1] < low || at[1] > high) return 0;
  for (size_t i = 2; i < len; i++) {
    if ((at[i] & 0xc0) != 0x80) return 0;
  }
  return len;
}

bool weft__utf8_ok(weft_bytes text) {
  for (size_t at = 0; at < text.len;) {
    uint64_t eight;
    if (text.len - at >= sizeof eight) {
      memcpy(&eight, text.at + at, sizeof eight);
      if ((eight & 0x8080808080808080u) == 0) { /* ASCII, as most text is */
        at += sizeof eight;
        continue;
      }
    }
    if (text.at[at] < 0x80) {
      at++;
      continue;
    }
    size_t len = utf8_character(text.at + at, text.len - at);
    if (len == 0) return false;
    at += len;
  }
  return true;
}

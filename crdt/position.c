/* Positions of array elements: the code, the gap between two, and a whole new order.
 *
 * Invariants: the integer code is prefix-free and keeps order, and tags have one length, so in byte
 * order a list of components stands directly before its extensions.  Every candidate is compared
 * with both neighbours as bytes before it is taken, so malformed neighbours can make a gap fail but
 * never give a wrong order.
 * Happy path: an element behind the last takes the last integer plus one, an element before the
 * first the first minus one; within a gap one component more.
 * Failure modes: no room in a gap is WEFT_ELIMIT there and a wider window in weft__positions_place;
 * a window that reaches both ends always succeeds, because then nothing is in the way. */
#include "crdt/position.h"

#include <string.h>

#include "crdt/assert.h"

/* --- the integer code --- */

enum {
  one_byte_zero = 0x80,  /* code of 0 */
  one_byte_below = 32,   /* -32 .. 31 */
  two_byte_below = 8192, /* -8192 .. 8191 */
  two_byte_plus = 0xa800,
  two_byte_minus = 0x5800,
  five_byte_plus = 0xf0,
  five_byte_minus = 0x10,
  integer_len_max = 5
};

static size_t integer_encode(uint8_t out[integer_len_max], int32_t n) {
  if (n >= -one_byte_below && n < one_byte_below) {
    out[0] = (uint8_t)(one_byte_zero + n);
    return 1;
  }
  if (n >= -two_byte_below && n < two_byte_below) {
    int32_t code = n > 0 ? two_byte_plus + n - one_byte_below : two_byte_minus + n + one_byte_below;
    out[0] = (uint8_t)(code >> 8);
    out[1] = (uint8_t)code;
    return 2;
  }
  uint32_t low = (uint32_t)n;
  out[0] = n > 0 ? five_byte_plus : five_byte_minus;
  for (unsigned i = 0; i < 4; i++) out[1 + i] = (uint8_t)(low >> (24 - 8 * i));
  return 5;
}

/* Reads the integer that starts `in`; gives its length, 0 when there is none in its shortest code.
 */
static size_t integer_decode(weft_bytes in, int32_t *n) {
  if (in.len == 0) return 0;
  uint8_t head = in.at[0];
  size_t len = 1;
  int64_t v = head - one_byte_zero;
  if (head == five_byte_plus || head == five_byte_minus) {
    len = 5;
    if (in.len < len) return 0;
    v = (int64_t)in.at[1] << 24 | in.at[2] << 16 | in.at[3] << 8 | in.at[4];
    if (head == five_byte_minus) v -= INT64_C(1) << 32;
    if (v < INT32_MIN || v > INT32_MAX) return 0;
  } else if (v < -one_byte_below || v >= one_byte_below) {
    len = 2;
    if (in.len < len) return 0;
    int32_t code = head << 8 | in.at[1];
    v = code >= two_byte_plus ? code - two_byte_plus + one_byte_below
                              : code - two_byte_minus - one_byte_below;
  }
  uint8_t again[integer_len_max];
  *n = (int32_t)v;
  if (integer_encode(again, *n) != len || memcmp(again, in.at, len) != 0) return 0;
  return len;
}

/* --- components --- */

/* The longest well-formed beginning of a position. */
typedef struct components {
  size_t len;      /* its bytes */
  size_t count;    /* its components */
  size_t last_at;  /* where the last one starts */
  int32_t integer; /* of the last one */
} components;

static components components_of(weft_bytes position) {
  components c = {0, 0, 0, 0};
  while (c.len < position.len) {
    int32_t n;
    size_t len = integer_decode(weft_bytes_of(position.at + c.len, position.len - c.len), &n);
    if (len == 0 || position.len - c.len - len < WEFT_POSITION_TAG_LEN) break;
    c.last_at = c.len;
    c.integer = n;
    c.len += len + WEFT_POSITION_TAG_LEN;
    c.count++;
  }
  return c;
}

weft_err weft__position_check(weft_bytes position) {
  if (position.len > WEFT_POSITION_LEN_MAX) return WEFT_ELIMIT;
  bool whole = position.len > 0 && components_of(position).len == position.len;
  return whole ? WEFT_OK : WEFT_EMALFORMED;
}

/* --- a gap --- */

typedef struct gap {
  weft_bytes lo, hi;
  const uint8_t *tag;
} gap;

/* Makes `before` plus the component (n, tag), if that fits the limit and stands within the gap. */
static bool gap_try(const gap *g, weft_bytes before, int64_t n, weft_position *out) {
  if (n < INT32_MIN || n > INT32_MAX) return false;
  uint8_t integer[integer_len_max];
  size_t len = integer_encode(integer, (int32_t)n);
  if (before.len + len + WEFT_POSITION_TAG_LEN > WEFT_POSITION_LEN_MAX) return false;
  weft_position made;
  if (before.len) memcpy(made.b, before.at, before.len);
  memcpy(made.b + before.len, integer, len);
  memcpy(made.b + before.len + len, g->tag, WEFT_POSITION_TAG_LEN);
  made.len = (uint8_t)(before.len + len + WEFT_POSITION_TAG_LEN);
  weft_bytes bytes = weft_bytes_of(made.b, made.len);
  if (weft_bytes_cmp(bytes, g->lo) <= 0) return false;
  if (g->hi.len > 0 && weft_bytes_cmp(bytes, g->hi) >= 0) return false;
  *out = made;
  return true;
}

/* One component deeper than `lo`: before what `hi` has there if it goes on from `lo`. */
static bool gap_try_deeper(const gap *g, weft_position *out) {
  int32_t n = 1;
  if (g->lo.len > 0 && g->hi.len > g->lo.len &&
      weft_bytes_cmp(g->lo, weft_bytes_of(g->hi.at, g->lo.len)) == 0) {
    weft_bytes rest = weft_bytes_of(g->hi.at + g->lo.len, g->hi.len - g->lo.len);
    if (integer_decode(rest, &n) == 0) n = 1;
  }
  return gap_try(g, g->lo, (int64_t)n - 1, out);
}

weft_err weft__position_between(weft_bytes lo, weft_bytes hi,
                                const uint8_t tag[WEFT_POSITION_TAG_LEN], weft_position *out) {
  gap g = {lo, hi, tag};
  components low = components_of(lo), high = components_of(hi);
  weft_position behind, before;
  bool is_behind = low.count > 0 && gap_try(&g, weft_bytes_of(lo.at, low.last_at),
                                            (int64_t)low.integer + 1, &behind);
  bool is_before = high.count > 0 && gap_try(&g, weft_bytes_of(hi.at, high.last_at),
                                             (int64_t)high.integer - 1, &before);
  if (is_behind && (!is_before || low.count <= high.count)) {
    *out = behind;
    return WEFT_OK;
  }
  if (is_before) {
    *out = before;
    return WEFT_OK;
  }
  /* Nothing is built on malformed bytes: rather than that, their element is moved. */
  bool deeper = low.len == lo.len && gap_try_deeper(&g, out);
  return deeper ? WEFT_OK : WEFT_ELIMIT;
}

/* --- a whole order --- */

typedef struct placing {
  weft_arena *arena;
  const uint8_t *tag;
  weft_place *items;
  size_t count;
  bool *keep;     /* those that stay where they are */
  uint8_t **made; /* room for new positions, taken when first needed */
  uint8_t *made_len;
} placing;

static int place_cmp(const weft_place *a, const weft_place *b) {
  int order = weft_bytes_cmp(a->position, b->position);
  return order ? order : weft_bytes_cmp(a->id, b->id);
}

/* Marks a longest increasing run of those that stand, by patience sorting. */
static weft_err keep_longest(placing *p) {
  size_t *tails = weft__arena_zero(p->arena, p->count, sizeof *tails);
  size_t *before = weft__arena_zero(p->arena, p->count, sizeof *before);
  if (!tails || !before) return WEFT_ENOMEM;
  size_t len = 0;
  for (size_t i = 0; i < p->count; i++) {
    if (!p->items[i].stands) continue;
    size_t low = 0, high = len;
    while (low < high) {
      size_t middle = low + (high - low) / 2;
      if (place_cmp(&p->items[tails[middle]], &p->items[i]) < 0) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    before[i] = low > 0 ? tails[low - 1] : p->count;
    tails[low] = i;
    if (low == len) len++;
  }
  for (size_t i = len > 0 ? tails[len - 1] : p->count; i < p->count; i = before[i]) {
    p->keep[i] = true;
  }
  return WEFT_OK;
}

/* Between equal neighbours, and before an element without position, there is no room: where
 * something has to go there, the second one moves too. */
static void drop_ties(placing *p) {
  size_t last = p->count;
  bool gap_open = false;
  for (size_t i = 0; i < p->count; i++) {
    if (!p->keep[i]) {
      gap_open = true;
      continue;
    }
    weft_bytes at = p->items[i].position;
    bool tie = last < p->count && weft_bytes_cmp(p->items[last].position, at) == 0;
    if (gap_open && (at.len == 0 || tie)) {
      p->keep[i] = false;
    } else {
      last = i;
      gap_open = false;
    }
  }
}

static weft_bytes placed(const placing *p, size_t i) {
  return p->keep[i] ? p->items[i].position : weft_bytes_of(p->made[i], p->made_len[i]);
}

/* Gives everything that is not kept a position of at most `len_max` bytes.  `*failed_at` is the
 * first element for which there is none, `count` when all went well. */
static weft_err place_all(placing *p, size_t len_max, size_t *failed_at) {
  size_t next = 0; /* the kept element behind i */
  for (size_t i = 0; i < p->count; i++) {
    if (p->keep[i]) continue;
    if (next <= i) next = i + 1;
    while (next < p->count && !p->keep[next]) next++;
    weft_bytes none = {NULL, 0};
    weft_bytes lo = i > 0 ? placed(p, i - 1) : none;
    weft_bytes hi = next < p->count ? p->items[next].position : none;
    weft_position position;
    bool room = next == p->count || hi.len > 0;
    if (!room || weft__position_between(lo, hi, p->tag, &position) != WEFT_OK ||
        position.len > len_max) {
      *failed_at = i;
      return WEFT_OK;
    }
    if (!p->made[i]) p->made[i] = weft__arena_take(p->arena, WEFT_POSITION_LEN_MAX);
    if (!p->made[i]) return WEFT_ENOMEM;
    memcpy(p->made[i], position.b, position.len);
    p->made_len[i] = position.len;
  }
  *failed_at = p->count;
  return WEFT_OK;
}

/* Lets go of the kept elements up to `reach` places from `i`. */
static void open_window(placing *p, size_t i, size_t reach) {
  size_t from = i > reach ? i - reach : 0;
  size_t to = p->count - i > reach ? i + reach + 1 : p->count;
  for (size_t k = from; k < to; k++) p->keep[k] = false;
}

weft_err weft__positions_place(weft_arena *arena, const uint8_t tag[WEFT_POSITION_TAG_LEN],
                               weft_place *items, size_t count) {
  placing p = {.arena = arena, .tag = tag, .items = items, .count = count};
  p.keep = weft__arena_zero(arena, count, sizeof *p.keep);
  p.made = weft__arena_zero(arena, count, sizeof *p.made);
  p.made_len = weft__arena_zero(arena, count, sizeof *p.made_len);
  if (!p.keep || !p.made || !p.made_len) return WEFT_ENOMEM;
  WEFT_TRY(keep_longest(&p));
  drop_ties(&p);
  size_t failed_at, reach = 1;
  WEFT_TRY(place_all(&p, WEFT_POSITION_LEN_MAX, &failed_at));
  while (failed_at < count) {
    WEFT_ASSERT(reach < 2 * count + 2);
    reach *= 2;
    open_window(&p, failed_at, reach);
    WEFT_TRY(place_all(&p, WEFT_POSITION_LEN_WINDOW, &failed_at));
  }
  for (size_t i = 0; i < count; i++) {
    items[i].moved = !p.keep[i];
    if (items[i].moved) items[i].position = placed(&p, i);
  }
  return WEFT_OK;
}

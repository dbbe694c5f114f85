/* Segments: encode and decode neighbouring registers.
 *
 * Invariant: decode(encode(r)) gives r again, siblings in the same order; any other bytes that pass
 * the check are refused as damage.
 * Failure modes: only memory, and damage when reading. */
#include "store/segment.h"

#include <string.h>

#include "crdt/view.h"

enum {
  KIND_MASK = 0x1f,
  ONE_POSITION = 0x20, /* exactly one value, and exactly one position follows it */
  GENERAL = 0x80       /* counts follow: any number of values and positions */
};

/* --- writing --- */

/* The changes of a segment while it is written: an open-addressing table from what identifies a
 * change here (dot, clock, kept claims) to its place. */
typedef struct change_list {
  const weft_sibling **at; /* one sibling that stands for the change */
  size_t count;
  uint32_t *slots; /* place + 1; 0 is free */
  size_t mask;
  uint32_t *places; /* of the changes of all siblings, in the order in which they are written */
  size_t next;
} change_list;

static bool same_change(const weft_sibling *a, const weft_sibling *b) {
  if (a->dot.log != b->dot.log || a->dot.seq != b->dot.seq || a->hlc != b->hlc) return false;
  if (a->claim_count != b->claim_count) return false;
  for (size_t i = 0; i < a->claim_count; i++) {
    if (a->claims[i].log != b->claims[i].log || a->claims[i].seq != b->claims[i].seq) return false;
  }
  return true;
}

static size_t change_hash(const weft_sibling *s) {
  uint64_t h = (s->dot.seq ^ ((uint64_t)s->dot.log << 40)) * 0x9e3779b97f4a7c15u;
  return (size_t)(h >> 32) ^ s->claim_count;
}

static weft_err change_list_init(change_list *list, weft_arena *scratch,
                                 const weft_register *const *regs, size_t count) {
  size_t siblings = 0;
  for (size_t i = 0; i < count; i++) siblings += regs[i]->value_count + regs[i]->position_count;
  size_t slots = 8;
  while (slots < 2 * siblings) slots *= 2;
  list->mask = slots - 1;
  list->count = 0;
  list->slots = weft__arena_zero(scratch, slots, sizeof *list->slots);
  list->at = weft__arena_take(scratch, siblings * sizeof *list->at);
  list->places = weft__arena_take(scratch, siblings * sizeof *list->places);
  list->next = 0;
  return list->slots && list->at && list->places ? WEFT_OK : WEFT_ENOMEM;
}

/* Gives the place of the change of `s`, a new one when it is new.  Mostly it is that of the sibling
 * before it, `last`. */
static uint32_t change_place(change_list *list, const weft_sibling *s, uint32_t last) {
  if (last < list->count && same_change(list->at[last], s)) return last;
  size_t slot = change_hash(s) & list->mask;
  while (list->slots[slot] != 0) {
    uint32_t place = list->slots[slot] - 1;
    if (same_change(list->at[place], s)) return place;
    slot = (slot + 1) & list->mask;
  }
  list->at[list->count] = s;
  list->slots[slot] = (uint32_t)++list->count;
  return list->slots[slot] - 1;
}

/* Finds all changes, because they are written before what refers to them. */
static void find_changes(change_list *list, const weft_register *const *regs, size_t count) {
  uint32_t last = 0;
  for (size_t i = 0; i < count; i++) {
    const weft_register *reg = regs[i];
    for (size_t k = 0; k < reg->value_count; k++) {
      list->places[list->next++] = last = change_place(list, &reg->values[k], last);
    }
    for (size_t k = 0; k < reg->position_count; k++) {
      list->places[list->next++] = last = change_place(list, &reg->positions[k], last);
    }
  }
  list->next = 0;
}

static void put_changes(weft_buf *out, const change_list *list) {
  uint64_t hlc = 0;
  weft__buf_varint(out, list->count);
  for (size_t i = 0; i < list->count; i++) {
    const weft_sibling *s = list->at[i];
    weft__buf_varint(out, (uint64_t)s->dot.log << 1 | (s->claim_count > 0));
    weft__buf_varint(out, s->dot.seq);
    weft__buf_svarint(out, (int64_t)(s->hlc - hlc));
    hlc = s->hlc;
    if (s->claim_count == 0) continue;
    weft__buf_varint(out, s->claim_count);
    for (size_t k = 0; k < s->claim_count; k++) {
      weft__buf_varint(out, s->claims[k].log);
      weft__buf_varint(out, s->claims[k].seq);
    }
  }
}

static void put_value(weft_buf *out, change_list *list, const weft_sibling *s) {
  weft__buf_varint(out, list->places[list->next++]);
  if (s->kind == WEFT_OP_SCALAR) weft__buf_block(out, s->value);
}

static void put_position(weft_buf *out, change_list *list, const weft_sibling *s) {
  weft__buf_varint(out, list->places[list->next++]);
  weft__buf_block(out, s->value);
}

static uint8_t *at_varint(uint8_t *at, uint64_t v) {
  for (; v >= 0x80; v >>= 7) *at++ = (uint8_t)(v | 0x80);
  *at = (uint8_t)v;
  return at + 1;
}

static uint8_t *at_bytes(uint8_t *at, weft_bytes bytes) {
  if (bytes.len > 0) memcpy(at, bytes.at, bytes.len);
  return at + bytes.len;
}

/* Writes a register of one value and no position, as nearly all are, in one go. */
static void put_single(weft_buf *out, change_list *list, weft_bytes rest, size_t shared,
                       const weft_sibling *s) {
  enum { varint_len_max = 10 };
  size_t most = 4 * varint_len_max + rest.len + 1 + s->value.len;
  uint8_t *from = weft__buf_room(out, most);
  if (!from) return;
  uint8_t *at = at_varint(from, shared);
  at = at_bytes(at_varint(at, rest.len), rest);
  *at++ = (uint8_t)s->kind;
  at = at_varint(at, list->places[list->next++]);
  if (s->kind == WEFT_OP_SCALAR) at = at_bytes(at_varint(at, s->value.len), s->value);
  out->len -= most - (size_t)(at - from);
}

static void put_register(weft_buf *out, change_list *list, weft_path before,
                         const weft_register *reg) {
  size_t shared = 0;
  size_t most = before.len < reg->path.len ? before.len : reg->path.len;
  while (shared < most && before.at[shared] == reg->path.at[shared]) shared++;
  if (reg->value_count == 1 && reg->position_count == 0) {
    weft_bytes rest = {reg->path.at ? reg->path.at + shared : NULL, reg->path.len - shared};
    put_single(out, list, rest, shared, &reg->values[0]);
    return;
  }
  weft__buf_varint(out, shared);
  weft__buf_varint(out, reg->path.len - shared);
  weft__buf_put_raw(out, reg->path.at ? reg->path.at + shared : NULL, reg->path.len - shared);
  if (reg->value_count == 1 && reg->position_count <= 1) {
    unsigned head = (unsigned)reg->values[0].kind | (reg->position_count ? ONE_POSITION : 0u);
    weft__buf_u8(out, (uint8_t)head);
    put_value(out, list, &reg->values[0]);
    if (reg->position_count == 1) put_position(out, list, &reg->positions[0]);
    return;
  }
  weft__buf_u8(out, GENERAL);
  weft__buf_varint(out, reg->value_count);
  weft__buf_varint(out, reg->position_count);
  for (size_t i = 0; i < reg->value_count; i++) {
    weft__buf_u8(out, (uint8_t)reg->values[i].kind);
    put_value(out, list, &reg->values[i]);
  }
  for (size_t i = 0; i < reg->position_count; i++) put_position(out, list, &reg->positions[i]);
}

/* The check covers the content and the key behind it. */
static void seal_hash(const weft_segment_seal *seal, weft_bytes content_and_key, uint8_t out[16]) {
  seal->crypto->siphash128(out, seal->key.b, content_and_key);
}

weft_err weft__segment_encode(weft_buf *out, weft_arena *scratch, const weft_segment_seal *seal,
                              weft_bytes key, const weft_register *const *regs, size_t count) {
  change_list list;
  WEFT_TRY(change_list_init(&list, scratch, regs, count));
  find_changes(&list, regs, count);
  weft_path before = {NULL, 0};
  size_t start = out->len;
  weft__buf_u8(out, WEFT_SEGMENT_VERSION);
  put_changes(out, &list);
  weft__buf_varint(out, count);
  for (size_t i = 0; i < count; i++) {
    put_register(out, &list, before, regs[i]);
    before = regs[i]->path;
  }
  size_t end = out->len;
  weft__buf_put(out, key);
  WEFT_TRY(weft__buf_err(out));
  uint8_t hash[16];
  seal_hash(seal, weft_bytes_of(out->at + start, out->len - start), hash);
  out->len = end;
  weft__buf_put_raw(out, hash, WEFT_SEGMENT_CHECK_LEN);
  return weft__buf_err(out);
}

size_t weft__segment_estimate(const weft_register *reg) {
  size_t len = 3 + reg->path.len / 2;
  for (size_t i = 0; i < reg->value_count; i++) len += 6 + reg->values[i].value.len;
  for (size_t i = 0; i < reg->position_count; i++) len += 4 + reg->positions[i].value.len;
  return len;
}

/* --- reading --- */

/* A count that promises more than `least` bytes each of what is left is damage. */
static bool count_ok(weft_rd *r, uint64_t count, size_t least) {
  if (count > weft__rd_left(r) / least) r->failed = true;
  return !r->failed;
}

static weft_err take_changes(weft_arena *arena, weft_rd *r, weft_sibling **out, size_t *out_count) {
  uint64_t count = weft__rd_varint(r);
  if (!count_ok(r, count, 3)) return WEFT_ECORRUPT;
  weft_sibling *list = weft__arena_zero(arena, (size_t)count + 1, sizeof *list);
  if (!list) return WEFT_ENOMEM;
  uint64_t hlc = 0;
  for (size_t i = 0; i < count; i++) {
    uint64_t head = weft__rd_varint(r);
    list[i].dot.seq = weft__rd_varint(r);
    hlc += (uint64_t)weft__rd_svarint(r);
    list[i].hlc = hlc;
    list[i].dot.log = (uint32_t)(head >> 1);
    if (r->failed || head >> 1 > UINT32_MAX) return WEFT_ECORRUPT;
    if (!(head & 1)) continue;
    uint64_t claim_count = weft__rd_varint(r);
    if (claim_count == 0 || !count_ok(r, claim_count, 2)) return WEFT_ECORRUPT;
    weft_dot *claims = weft__arena_zero(arena, (size_t)claim_count, sizeof *claims);
    if (!claims) return WEFT_ENOMEM;
    for (size_t k = 0; k < claim_count; k++) {
      uint64_t log = weft__rd_varint(r);
      if (log > UINT32_MAX) return WEFT_ECORRUPT;
      claims[k].log = (uint32_t)log;
      claims[k].seq = weft__rd_varint(r);
    }
    list[i].claims = claims;
    list[i].claim_count = (size_t)claim_count;
  }
  *out = list;
  *out_count = (size_t)count;
  return r->failed ? WEFT_ECORRUPT : WEFT_OK;
}

/* What the siblings of a segment are read against. */
typedef struct reader {
  weft_rd r;
  weft_arena *arena;
  const weft_sibling *changes;
  size_t change_count;
  weft_sibling *spare; /* one for each register, taken at once */
  size_t spare_count;
} reader;

static bool take_sibling(reader *d, unsigned kind, weft_sibling *out) {
  uint64_t place = weft__rd_varint(&d->r);
  if (d->r.failed || place >= d->change_count) return false;
  if (kind < WEFT_OP_SCALAR || kind > WEFT_OP_POSITION) return false;
  *out = d->changes[place];
  out->kind = (weft_op_kind)kind;
  if (kind == WEFT_OP_SCALAR || kind == WEFT_OP_POSITION) out->value = weft__rd_block(&d->r);
  return !d->r.failed;
}

/* Room for the siblings of one register, to be filled whole. */
static weft_sibling *siblings_take(reader *d, size_t count) {
  if (count > d->spare_count) return weft__arena_take(d->arena, count * sizeof(weft_sibling));
  weft_sibling *at = d->spare;
  d->spare += count;
  d->spare_count -= count;
  return at;
}

static weft_err take_siblings(reader *d, weft_register *reg) {
  unsigned head = weft__rd_u8(&d->r);
  uint64_t values = 1;
  uint64_t positions = head & ONE_POSITION ? 1 : 0;
  if (head & GENERAL) {
    values = weft__rd_varint(&d->r);
    positions = weft__rd_varint(&d->r);
    if (!count_ok(&d->r, values, 2) || !count_ok(&d->r, positions, 2)) return WEFT_ECORRUPT;
    if (head != GENERAL || values + positions == 0) return WEFT_ECORRUPT;
  }
  weft_sibling *at = siblings_take(d, (size_t)(values + positions));
  if (!at) return WEFT_ENOMEM;
  reg->values = at;
  reg->value_count = reg->value_cap = (size_t)values;
  reg->positions = at + values;
  reg->position_count = reg->position_cap = (size_t)positions;
  for (size_t i = 0; i < values; i++) {
    unsigned kind = head & GENERAL ? weft__rd_u8(&d->r) : head & KIND_MASK;
    if (kind == WEFT_OP_POSITION) return WEFT_ECORRUPT;
    if (!take_sibling(d, kind, &reg->values[i])) return WEFT_ECORRUPT;
  }
  for (size_t i = 0; i < positions; i++) {
    if (!take_sibling(d, WEFT_OP_POSITION, &reg->positions[i])) return WEFT_ECORRUPT;
  }
  return WEFT_OK;
}

static weft_err take_register(reader *d, const weft_register *before, weft_register *reg) {
  uint64_t shared = weft__rd_varint(&d->r);
  weft_bytes rest = weft__rd_block(&d->r);
  weft_bytes old = before ? before->path : weft_bytes_of(NULL, 0);
  if (d->r.failed || shared > old.len || shared + rest.len > WEFT_PATH_LEN_MAX)
    return WEFT_ECORRUPT;
  reg->path = rest; /* the content lies in the arena itself */
  if (shared > 0) {
    uint8_t *path = weft__arena_take(d->arena, (size_t)shared + rest.len);
    if (!path) return WEFT_ENOMEM;
    memcpy(path, old.at, (size_t)shared);
    if (rest.len > 0) memcpy(path + shared, rest.at, rest.len);
    reg->path = weft_bytes_of(path, (size_t)shared + rest.len);
  }
  if (before && weft_bytes_cmp(old, reg->path) >= 0) return WEFT_ECORRUPT;
  return take_siblings(d, reg);
}

/* Copies content and key into one piece of `arena`, and compares the check. */
static weft_err open_segment(weft_arena *arena, const weft_segment_seal *seal, weft_bytes key,
                             weft_bytes in, weft_bytes *content) {
  if (in.len <= WEFT_SEGMENT_CHECK_LEN) return WEFT_ECORRUPT;
  size_t len = in.len - WEFT_SEGMENT_CHECK_LEN;
  size_t all;
  if (!weft__add_ok(len, key.len, &all)) return WEFT_ENOMEM; /* defensive: both lie in memory */
  uint8_t *copy = weft__arena_take(arena, all);
  if (!copy) return WEFT_ENOMEM;
  memcpy(copy, in.at, len);
  if (key.len > 0) memcpy(copy + len, key.at, key.len);
  uint8_t hash[16];
  seal_hash(seal, weft_bytes_of(copy, all), hash);
  if (memcmp(hash, in.at + len, WEFT_SEGMENT_CHECK_LEN) != 0) return WEFT_ECORRUPT;
  *content = weft_bytes_of(copy, len);
  return WEFT_OK;
}

weft_err weft__segment_decode(weft_arena *arena, const weft_segment_seal *seal, weft_bytes key,
                              weft_bytes in, weft_register **regs, size_t *count) {
  *regs = NULL;
  *count = 0;
  weft_bytes content;
  WEFT_TRY(open_segment(arena, seal, key, in, &content));
  reader d = {.r = weft__rd(content), .arena = arena};
  if (weft__rd_u8(&d.r) != WEFT_SEGMENT_VERSION) return WEFT_ECORRUPT;
  weft_sibling *changes;
  WEFT_TRY(take_changes(arena, &d.r, &changes, &d.change_count));
  d.changes = changes;
  uint64_t n = weft__rd_varint(&d.r);
  if (!count_ok(&d.r, n, 4)) return WEFT_ECORRUPT;
  weft_register *list = weft__arena_zero(arena, (size_t)n + 1, sizeof *list);
  d.spare = weft__arena_take(arena, (size_t)n * sizeof *d.spare);
  d.spare_count = (size_t)n;
  if (!list || !d.spare) return WEFT_ENOMEM;
  for (size_t i = 0; i < n; i++) {
    WEFT_TRY(take_register(&d, i > 0 ? &list[i - 1] : NULL, &list[i]));
  }
  if (!weft__rd_done(&d.r)) return WEFT_ECORRUPT;
  *regs = list;
  *count = (size_t)n;
  return WEFT_OK;
}

/* --- looking one place up --- */

/* Skips the changes. */
static bool pass_changes(weft_rd *r) {
  uint64_t count = weft__rd_varint(r);
  for (uint64_t i = 0; i < count && !r->failed; i++) {
    uint64_t head = weft__rd_varint(r);
    weft__rd_varint(r);
    weft__rd_svarint(r);
    uint64_t claims = head & 1 ? weft__rd_varint(r) : 0;
    for (uint64_t k = 0; k < 2 * claims && !r->failed; k++) weft__rd_varint(r);
  }
  return !r->failed;
}

/* The one value of a register; what `value` is left at when it has none. */
static bool pass_siblings(weft_rd *r, weft_sibling *value) {
  unsigned head = weft__rd_u8(r);
  uint64_t values = head & GENERAL ? weft__rd_varint(r) : 1;
  uint64_t positions = head & GENERAL ? weft__rd_varint(r) : (head & ONE_POSITION) != 0;
  for (uint64_t i = 0; i < values && !r->failed; i++) {
    value->kind = (weft_op_kind)(head & GENERAL ? weft__rd_u8(r) : head & KIND_MASK);
    weft__rd_varint(r);
    if (value->kind == WEFT_OP_SCALAR) value->value = weft__rd_block(r);
  }
  for (uint64_t i = 0; i < positions && !r->failed; i++) {
    weft__rd_varint(r);
    weft__rd_block(r);
  }
  return !r->failed;
}

/* A walk over registers along a path. */
typedef struct way {
  weft_path path;
  size_t need;   /* the next place on the way that must have a register: so many bytes of it */
  size_t common; /* bytes that the register before shares with the path */
  size_t len;    /* bytes of the register's path */
} way;

typedef enum way_where { WAY_BEFORE, WAY_ON, WAY_BEHIND } way_where;

/* Where the next register stands: before `path`, on the way to it, or behind. */
static way_where way_next(way *w, weft_rd *r) {
  uint64_t shared = weft__rd_varint(r);
  weft_bytes rest = weft__rd_block(r);
  if (r->failed || shared > w->len) {
    r->failed = true;
    return WAY_BEHIND;
  }
  w->len = (size_t)shared + rest.len;
  if (shared > w->common) return WAY_BEFORE;
  if (shared < w->common) return WAY_BEHIND;
  size_t i = 0;
  while (i < rest.len && w->common < w->path.len && rest.at[i] == w->path.at[w->common]) {
    i++;
    w->common++;
  }
  if (i == rest.len) return WAY_ON;
  bool behind = w->common == w->path.len || rest.at[i] > w->path.at[w->common];
  return behind ? WAY_BEHIND : WAY_BEFORE;
}

/* What a register on the way, or at its end, tells. */
static bool way_tells(way *w, weft_sibling *value, weft_peek *answer, weft_bytes *scalar) {
  weft_register reg = {.values = value, .value_count = 1};
  weft_step step;
  weft_shape shape = weft__register_shape(&reg);
  bool end = w->len == w->path.len;
  *answer = WEFT_PEEK_NOTHING;
  if (w->len != w->need || shape == WEFT_SHAPE_NONE) return true;
  if (end && shape == WEFT_SHAPE_SCALAR) {
    *answer = WEFT_PEEK_SCALAR;
    *scalar = value->value;
    return true;
  }
  if (!end && shape == WEFT_SHAPE_SCALAR) return true;
  *answer = WEFT_PEEK_UNSURE;
  if (end || shape == WEFT_SHAPE_ARRAY) return true;
  return !weft_path_next(w->path, &w->need, &step); /* defensive: there is a step before the end */
}

weft_err weft__segment_peek(weft_arena *scratch, const weft_segment_seal *seal, weft_bytes key,
                            weft_bytes in, weft_path path, weft_peek *answer, weft_bytes *scalar) {
  weft_bytes content;
  way w = {.path = path};
  *answer = WEFT_PEEK_UNSURE;
  WEFT_TRY(open_segment(scratch, seal, key, in, &content));
  weft_rd r = weft__rd(weft_bytes_of(in.at, content.len));
  if (weft__rd_u8(&r) != WEFT_SEGMENT_VERSION || !pass_changes(&r)) return WEFT_ECORRUPT;
  uint64_t count = weft__rd_varint(&r);
  for (uint64_t i = 0; i < count && !r.failed; i++) {
    weft_sibling value = {.kind = WEFT_OP_UNSET};
    way_where where = way_next(&w, &r);
    if (r.failed || !pass_siblings(&r, &value)) return WEFT_ECORRUPT;
    if (where == WAY_BEHIND) {
      *answer = WEFT_PEEK_NOTHING;
      return WEFT_OK;
    }
    if (where == WAY_ON && way_tells(&w, &value, answer, scalar)) return WEFT_OK;
  }
  return r.failed ? WEFT_ECORRUPT : WEFT_OK;
}

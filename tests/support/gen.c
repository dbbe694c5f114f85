#include "tests/support/gen.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "crdt/assert.h"

static void *take(weft_arena *arena, size_t len) {
  void *at = weft__arena_take(arena, len);
  WEFT_ASSERT(at != NULL);
  return at;
}

static size_t put_character(uint8_t *to, uint32_t c) {
  if (c < 0x80) {
    to[0] = (uint8_t)c;
    return 1;
  }
  if (c < 0x800) {
    to[0] = (uint8_t)(0xc0 | c >> 6);
    to[1] = (uint8_t)(0x80 | (c & 0x3f));
    return 2;
  }
  if (c < 0x10000) {
    to[0] = (uint8_t)(0xe0 | c >> 12);
    to[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    to[2] = (uint8_t)(0x80 | (c & 0x3f));
    return 3;
  }
  to[0] = (uint8_t)(0xf0 | c >> 18);
  to[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
  to[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
  to[3] = (uint8_t)(0x80 | (c & 0x3f));
  return 4;
}

static uint32_t gen_character(test_rng *r, bool no_nul) {
  static const uint32_t edges[] = {0,      1,       0x1f,    0x22,    0x2f,    0x5c,   0x7e,
                                   0x7f,   0x80,    0x7ff,   0x800,   0xd7ff,  0xe000, 0xfffd,
                                   0xffff, 0x10000, 0x1f600, 0xfffff, 0x10ffff};
  for (;;) {
    uint32_t c = 'a' + (uint32_t)test_rng_below(r, 4);
    if (test_rng_chance(r, 30)) c = TEST_PICK(r, edges);
    if (test_rng_chance(r, 5)) c = (uint32_t)test_rng_below(r, 0x110000);
    if (c >= 0xd800 && c < 0xe000) continue;
    if (c == 0 && no_nul) continue;
    return c;
  }
}

weft_bytes test_gen_text(test_rng *r, weft_arena *arena, size_t chars, bool no_nul) {
  size_t count = test_rng_below(r, chars + 1), len = 0;
  uint8_t *to = take(arena, 4 * count);
  for (size_t i = 0; i < count; i++) len += put_character(to + len, gen_character(r, no_nul));
  return weft_bytes_of(to, len);
}

static int64_t gen_integer(test_rng *r) {
  static const int64_t edges[] = {0,          -32,       INT8_MIN,        INT8_MAX,  UINT8_MAX,
                                  INT16_MIN,  INT16_MAX, UINT16_MAX,      INT32_MIN, INT32_MAX,
                                  UINT32_MAX, INT64_MIN, (int64_t)1 << 53};
  if (test_rng_chance(r, 60)) {
    int64_t edge = TEST_PICK(r, edges);
    return edge + (edge == INT64_MIN ? 0 : -1) + (int64_t)test_rng_below(r, 3);
  }
  uint64_t any = test_rng_next(r); /* first: the order of operands is the compiler's */
  int64_t wide = (int64_t)(any >> test_rng_below(r, 64));
  return test_rng_chance(r, 50) ? wide : ~wide;
}

static double gen_double(test_rng *r) {
  static const double edges[] = {
      0.0,    -0.0,   0.1,     1.0,       1e15, 1e16,    1e21,
      0x1p53, 0x1p63, -0x1p63, 0x1p-1074, 1e-5, 1.5e300, 0x1.fffffffffffffp1023};
  if (test_rng_chance(r, 30)) return TEST_PICK(r, edges);
  if (test_rng_chance(r, 40)) return (double)((int64_t)test_rng_below(r, 200000) - 100000) / 100;
  for (;;) {
    uint64_t bits = test_rng_next(r);
    double d;
    memcpy(&d, &bits, sizeof d);
    if (isfinite(d)) return d;
  }
}

weft_value test_gen_scalar(test_rng *r, weft_arena *arena, bool bytes) {
  weft_value v = {WEFT_NULL, {false}};
  v.kind = (weft_value_kind)test_rng_below(r, bytes ? 6 : 5);
  if (v.kind == WEFT_BOOL) v.as.boolean = test_rng_chance(r, 50);
  if (v.kind == WEFT_INT) v.as.integer = gen_integer(r);
  if (v.kind == WEFT_DOUBLE) v.as.real = gen_double(r);
  if (v.kind == WEFT_STRING || v.kind == WEFT_BYTES) {
    v.as.bytes = test_gen_text(r, arena, test_rng_chance(r, 2) ? 70000 : 40, false);
  }
  return v;
}

static int member_order(const void *a, const void *b) {
  return weft_bytes_cmp(((const weft_member *)a)->key, ((const weft_member *)b)->key);
}

static size_t member_unique(weft_member *at, size_t count) {
  qsort(at, count, sizeof *at, member_order);
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    if (kept == 0 || member_order(&at[kept - 1], &at[i]) != 0) at[kept++] = at[i];
  }
  return kept;
}

/* A container open while a tree is made. */
typedef struct open_container {
  weft_value *elements;
  weft_member *members;
  size_t count, idx;
  weft_value *self;
} open_container;

static void open_make(test_rng *r, weft_arena *arena, weft_value *self, open_container *open) {
  memset(open, 0, sizeof *open);
  open->self = self;
  open->count = test_rng_below(r, test_rng_chance(r, 5) ? 40 : 5);
  self->kind = test_rng_chance(r, 50) ? WEFT_ARRAY : WEFT_OBJECT;
  if (self->kind == WEFT_ARRAY) {
    open->elements = take(arena, open->count * sizeof *open->elements);
    self->as.array.at = open->elements;
    self->as.array.count = open->count;
    return;
  }
  open->members = take(arena, open->count * sizeof *open->members);
  for (size_t i = 0; i < open->count; i++) {
    open->members[i].key = test_gen_text(r, arena, test_rng_chance(r, 3) ? 63 : 4, true);
  }
  open->count = member_unique(open->members, open->count);
  self->as.object.at = open->members;
  self->as.object.count = open->count;
}

weft_value test_gen_value(test_rng *r, weft_arena *arena, unsigned depth, bool bytes) {
  open_container stack[WEFT_JSON_DEPTH_MAX];
  WEFT_ASSERT(depth <= WEFT_JSON_DEPTH_MAX);
  size_t used = 0;
  weft_value root;
  weft_value *slot = &root;
  for (;;) {
    if (used < depth && test_rng_chance(r, used < 2 ? 70 : 40)) {
      open_make(r, arena, slot, &stack[used++]);
    } else {
      *slot = test_gen_scalar(r, arena, bytes);
    }
    while (used > 0 && stack[used - 1].idx == stack[used - 1].count) used--;
    if (used == 0) return root;
    open_container *open = &stack[used - 1];
    slot = open->elements ? &open->elements[open->idx] : &open->members[open->idx].value;
    open->idx++;
  }
}

weft_step test_gen_step(test_rng *r, weft_arena *arena) {
  weft_step step = {test_rng_chance(r, 40), {NULL, 0}};
  if (step.element) {
    size_t len = 1 + test_rng_below(r, test_rng_chance(r, 10) ? WEFT_ELEMENT_LEN_MAX : 2);
    uint8_t *id = take(arena, len);
    for (size_t i = 0; i < len; i++) id[i] = (uint8_t)test_rng_below(r, 3);
    step.name = weft_bytes_of(id, len);
    return step;
  }
  step.name = test_gen_text(r, arena, test_rng_chance(r, 5) ? 63 : 2, true);
  return step;
}

weft_path test_gen_path(test_rng *r, weft_arena *arena, size_t steps) {
  weft_alloc mem = weft_alloc_libc();
  weft_buf b;
  weft__buf_init(&b, &mem, WEFT_PATH_LEN_MAX);
  size_t count = test_rng_below(r, steps + 1);
  for (size_t i = 0; i < count; i++) weft_path_push(&b, test_gen_step(r, arena));
  b.err = WEFT_OK; /* a step too many is left away */
  weft_path p = {NULL, 0};
  weft_err err = weft__arena_copy(arena, weft__buf_view(&b), &p);
  WEFT_ASSERT(err == WEFT_OK);
  weft__buf_free(&b);
  return p;
}

/* The libc allocator and the arena.
 *
 * Happy path: weft__arena_take bumps an offset.  When the head block is full a larger one is
 * chained before it; sizes double up to block_size_max so that an arena costs O(log n) calls. */
#include "crdt/alloc.h"

#include <stdlib.h>
#include <string.h>

#include "crdt/assert.h"

/* The first block is small enough, with its header, for the blocks that allocators keep at hand. */
enum { block_size_min = 1024 - 32, block_size_max = 1 << 20, alignment = 16 };

struct weft_arena_block {
  weft_arena_block *next;
  size_t cap; /* bytes behind the header */
  size_t used;
  size_t unused_; /* keeps the payload aligned */
};
_Static_assert(sizeof(weft_arena_block) % alignment == 0, "payload must stay aligned");

static void *libc_alloc(void *ctx, size_t len) {
  (void)ctx;
  return malloc(len);
}

static void *libc_grow(void *ctx, void *at, size_t len) {
  (void)ctx;
  return realloc(at, len);
}

static void libc_free(void *ctx, void *at) {
  (void)ctx;
  free(at);
}

weft_alloc weft_alloc_libc(void) {
  weft_alloc mem = {NULL, libc_alloc, libc_grow, libc_free};
  return mem;
}

bool weft__add_ok(size_t a, size_t b, size_t *sum) {
  if (!__builtin_add_overflow(a, b, sum)) return true;
  *sum = 0;
  return false;
}

bool weft__mul_ok(size_t a, size_t b, size_t *product) {
  if (!__builtin_mul_overflow(a, b, product)) return true;
  *product = 0;
  return false;
}

void weft__arena_init(weft_arena *a, const weft_alloc *mem) {
  a->mem = *mem;
  a->head = NULL;
  a->held = 0;
}

static bool arena_chain(weft_arena *a, size_t need) {
  size_t cap = a->head ? a->head->cap * 2 : block_size_min;
  if (cap > block_size_max) cap = block_size_max;
  if (cap < need) cap = need;
  size_t total;
  if (!weft__add_ok(cap, sizeof(weft_arena_block), &total)) return false;
  weft_arena_block *block = a->mem.alloc(a->mem.ctx, total);
  if (!block) return false;
  block->next = a->head;
  block->cap = cap;
  block->used = 0;
  block->unused_ = 0;
  a->head = block;
  a->held += total;
  return true;
}

void *weft__arena_take(weft_arena *a, size_t len) {
  if (len > SIZE_MAX - alignment) return NULL;
  size_t need = (len + alignment - 1) / alignment * alignment;
  if (need == 0) need = alignment;
  if (!a->head || a->head->cap - a->head->used < need) {
    if (!arena_chain(a, need)) return NULL;
  }
  uint8_t *at = (uint8_t *)(a->head + 1) + a->head->used;
  a->head->used += need;
  WEFT_ASSERT(a->head->used <= a->head->cap);
  return at;
}

void *weft__arena_zero(weft_arena *a, size_t count, size_t size) {
  size_t len;
  if (!weft__mul_ok(count, size, &len)) return NULL;
  void *at = weft__arena_take(a, len);
  if (at) memset(at, 0, len);
  return at;
}

weft_err weft__arena_copy(weft_arena *a, weft_bytes bytes, weft_bytes *copy) {
  uint8_t *at = weft__arena_take(a, bytes.len);
  if (!at) return WEFT_ENOMEM;
  if (bytes.len) memcpy(at, bytes.at, bytes.len);
  *copy = weft_bytes_of(at, bytes.len);
  return WEFT_OK;
}

weft_err weft__arena_grow(weft_arena *a, void **at, size_t count, size_t *cap, size_t need,
                          size_t size) {
  if (need <= *cap) return WEFT_OK;
  size_t wide = *cap ? *cap : 8;
  while (wide < need) {
    if (!weft__mul_ok(wide, 2, &wide)) return WEFT_ENOMEM;
  }
  size_t len;
  if (!weft__mul_ok(wide, size, &len)) return WEFT_ENOMEM;
  void *fresh = weft__arena_take(a, len);
  if (!fresh) return WEFT_ENOMEM;
  if (count) memcpy(fresh, *at, count * size);
  *at = fresh;
  *cap = wide;
  return WEFT_OK;
}

void weft__arena_reset(weft_arena *a) {
  weft_arena_block *keep = a->head;
  if (!keep) return;
  weft_arena_block *block = keep->next;
  while (block) {
    weft_arena_block *next = block->next;
    a->mem.free(a->mem.ctx, block);
    block = next;
  }
  keep->next = NULL;
  keep->used = 0;
  a->held = keep->cap + sizeof *keep;
}

void weft__arena_free(weft_arena *a) {
  weft__arena_reset(a);
  if (a->head) a->mem.free(a->mem.ctx, a->head);
  a->head = NULL;
  a->held = 0;
}

/* Where memory comes from: an allocator handed to every `_new`, and an arena on top of it.
 *
 * An arena hands out memory that lives until the arena is reset or freed; there is no freeing of
 * single pieces.  Everything that one message, one change or one answer needs lies in one arena. */
#ifndef WEFT_ALLOC_H
#define WEFT_ALLOC_H

#include "err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* alloc: `len` > 0 bytes, or NULL.  grow: as realloc (`at` may be NULL, `len` > 0).  free: `at` may
 * be NULL.  A copy of the struct is kept by the object it is given to; `ctx` must outlive it. */
typedef struct weft_alloc {
  void *ctx;
  void *(*alloc)(void *ctx, size_t len);
  void *(*grow)(void *ctx, void *at, size_t len);
  void (*free)(void *ctx, void *at);
} weft_alloc;

/* Gives the allocator that calls malloc, realloc and free.  Any thread. */
WEFT_API weft_alloc weft_alloc_libc(void);

/* sum = a + b, product = a * b; false when that overflows size_t (the result is then 0). */
bool weft__add_ok(size_t a, size_t b, size_t *sum);
bool weft__mul_ok(size_t a, size_t b, size_t *product);

typedef struct weft_arena_block weft_arena_block;

/* A bump allocator.  Zero-initialise through weft__arena_init only. */
typedef struct weft_arena {
  weft_alloc mem;
  weft_arena_block *head; /* the block being filled */
  size_t held;            /* bytes taken from `mem` */
} weft_arena;

/* Prepares an empty arena that takes memory from a copy of `mem`. Takes nothing yet. */
void weft__arena_init(weft_arena *a, const weft_alloc *mem);

/* Gives `len` bytes aligned for any type, uninitialised, good until reset; NULL when memory is out.
 * `len` 0 gives a valid pointer. */
void *weft__arena_take(weft_arena *a, size_t len);

/* As weft__arena_take, for `count` items of `size` bytes, zeroed; NULL also on overflow. */
void *weft__arena_zero(weft_arena *a, size_t count, size_t size);

/* Copies `bytes` into the arena. `copy` is set only on WEFT_OK; else WEFT_ENOMEM. */
weft_err weft__arena_copy(weft_arena *a, weft_bytes bytes, weft_bytes *copy) WEFT_MUST_USE;

/* Grows an array in the arena: ensures room for `need` items, doubling, copying `count` old ones.
 * `*at` and `*cap` change only on WEFT_OK; WEFT_ENOMEM otherwise. */
weft_err weft__arena_grow(weft_arena *a, void **at, size_t count, size_t *cap, size_t need,
                          size_t size) WEFT_MUST_USE;

/* Forgets everything handed out; keeps one block for reuse. */
void weft__arena_reset(weft_arena *a);

/* Gives all memory back.  The arena may be used again. */
void weft__arena_free(weft_arena *a);

#ifdef __cplusplus
}
#endif
#endif

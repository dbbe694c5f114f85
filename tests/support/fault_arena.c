/* Arenas of which every piece may fail.
 *
 * An arena asks its allocator for blocks, so failing allocations reach one piece in a hundred, and
 * whoever takes the other ninety-nine is never seen without memory.  A program that is linked with
 * this file, and with the options that tests/CMakeLists.txt sets beside it, comes here instead of
 * into crdt/alloc.c: where the arena is on a test_fault_alloc, the piece counts as a call of that
 * allocator and fails with it.  The objects under test are the shipped ones. */
#include "crdt/alloc.h"
#include "tests/support/fault_alloc.h"

void *__real_weft__arena_take(weft_arena *a, size_t len);
void *__wrap_weft__arena_take(weft_arena *a, size_t len);
void *__real_weft__arena_zero(weft_arena *a, size_t count, size_t size);
void *__wrap_weft__arena_zero(weft_arena *a, size_t count, size_t size);
weft_err __real_weft__arena_copy(weft_arena *a, weft_bytes bytes, weft_bytes *copy);
weft_err __wrap_weft__arena_copy(weft_arena *a, weft_bytes bytes, weft_bytes *copy);
weft_err __real_weft__arena_grow(weft_arena *a, void **at, size_t count, size_t *cap, size_t need,
                                 size_t size);
weft_err __wrap_weft__arena_grow(weft_arena *a, void **at, size_t count, size_t *cap, size_t need,
                                 size_t size);

void *__wrap_weft__arena_take(weft_arena *a, size_t len) {
  return test_fault_alloc_refuses(&a->mem) ? NULL : __real_weft__arena_take(a, len);
}

void *__wrap_weft__arena_zero(weft_arena *a, size_t count, size_t size) {
  return test_fault_alloc_refuses(&a->mem) ? NULL : __real_weft__arena_zero(a, count, size);
}

weft_err __wrap_weft__arena_copy(weft_arena *a, weft_bytes bytes, weft_bytes *copy) {
  if (test_fault_alloc_refuses(&a->mem)) return WEFT_ENOMEM;
  return __real_weft__arena_copy(a, bytes, copy);
}

weft_err __wrap_weft__arena_grow(weft_arena *a, void **at, size_t count, size_t *cap, size_t need,
                                 size_t size) {
  if (need > *cap && test_fault_alloc_refuses(&a->mem)) return WEFT_ENOMEM;
  return __real_weft__arena_grow(a, at, count, cap, need, size);
}

/* malloc and its kin, interposed. */
#include "tests/disk/heap.h"

#include <errno.h>
#include <stdlib.h>

static test_heap_faults heap;

test_heap_faults *test_heap(void) { return &heap; }

void test_heap_calm(void) {
  heap.calls = heap.fail_at = 0;
  heap.sticky = false;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
bool test_heap_works(void) { return false; }
#else
bool test_heap_works(void) { return true; }

void *__libc_malloc(size_t len);
void *__libc_calloc(size_t count, size_t len);
void *__libc_realloc(void *at, size_t len);
void *__libc_memalign(size_t align, size_t len);
void __libc_free(void *at);

static bool heap_fails(void) {
  heap.calls++;
  if (heap.fail_at == 0) return false;
  bool bad = heap.sticky ? heap.calls >= heap.fail_at : heap.calls == heap.fail_at;
  if (bad) errno = ENOMEM;
  return bad;
}

static void *counted(void *at) {
  if (at) heap.live++;
  return at;
}

void *malloc(size_t len) { return heap_fails() ? NULL : counted(__libc_malloc(len)); }
void *calloc(size_t count, size_t len) {
  return heap_fails() ? NULL : counted(__libc_calloc(count, len));
}

void *realloc(void *at, size_t len) {
  if (heap_fails()) return NULL;
  void *wide = __libc_realloc(at, len);
  if (!at) return counted(wide);
  if (!wide && len == 0) heap.live--;
  return wide;
}

void free(void *at) {
  if (at) heap.live--;
  __libc_free(at);
}

int posix_memalign(void **out, size_t align, size_t len) {
  if (heap_fails()) return ENOMEM;
  void *at = counted(__libc_memalign(align, len));
  if (!at) return ENOMEM;
  *out = at;
  return 0;
}

void *aligned_alloc(size_t align, size_t len) {
  return heap_fails() ? NULL : counted(__libc_memalign(align, len));
}
#endif

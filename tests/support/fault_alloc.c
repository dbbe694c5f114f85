#include "tests/support/fault_alloc.h"

#include <stdlib.h>

static bool fails(test_fault_alloc *f) {
  f->calls++;
  if (f->called) f->called(f->places);
  if (f->fail_at == 0) return false;
  return f->sticky ? f->calls >= f->fail_at : f->calls == f->fail_at;
}

static void *fault_alloc(void *ctx, size_t len) {
  test_fault_alloc *f = ctx;
  if (fails(f)) return NULL;
  f->asked += len;
  void *at = malloc(len);
  if (at) f->live++;
  return at;
}

static void *fault_grow(void *ctx, void *at, size_t len) {
  test_fault_alloc *f = ctx;
  if (fails(f)) return NULL;
  f->asked += len;
  void *wide = realloc(at, len);
  if (wide && !at) f->live++;
  return wide;
}

static void fault_free(void *ctx, void *at) {
  test_fault_alloc *f = ctx;
  if (at) f->live--;
  free(at);
}

weft_alloc test_fault_alloc_of(test_fault_alloc *f) {
  weft_alloc mem = {f, fault_alloc, fault_grow, fault_free};
  return mem;
}

bool test_fault_alloc_refuses(const weft_alloc *mem) {
  return mem->alloc == fault_alloc && fails(mem->ctx);
}

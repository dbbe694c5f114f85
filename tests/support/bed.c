#include "tests/support/bed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static test_bed *bed_make(void **state) {
  test_bed *b = calloc(1, sizeof *b);
  assert_non_null(b);
  b->temp = test_temp_make();
  test_temp_path(&b->temp, "mirror", b->mirror);
  b->mem = weft_alloc_libc();
  weft__arena_init(&b->arena, &b->mem);
  test_space_make(&b->s, 3, 1);
  *state = b;
  return b;
}

int test_bed_memory(void **state) {
  bed_make(state)->inner = test_memory_store();
  return 0;
}

int test_bed_lmdb(void **state) {
  test_bed *b = bed_make(state);
  b->inner = test_lmdb_store(&b->temp);
  return 0;
}

static int bed_open(void **state) {
  test_bed *b = *state;
  b->r = test_bed_open(b);
  return 0;
}

int test_bed_memory_open(void **state) { return test_bed_memory(state) || bed_open(state); }
int test_bed_lmdb_open(void **state) { return test_bed_lmdb(state) || bed_open(state); }

int test_bed_end(void **state) {
  test_bed *b = *state;
  weft_replica_free(b->r);
  weft_store_free(b->inner);
  weft__arena_free(&b->arena);
  test_temp_remove(&b->temp);
  free(b);
  return 0;
}

weft_replica_options test_bed_options(test_bed *b) {
  weft_replica_options o = test_space_options(&b->s, 0, test_fault_store_of(b->inner, &b->faults));
  o.mem = test_fault_alloc_of(&b->allocs);
  return o;
}

weft_replica *test_bed_open(test_bed *b) {
  weft_replica *r;
  weft_replica_options o = test_bed_options(b);
  assert_int_equal(weft_replica_open(&r, &o), WEFT_OK);
  test_space_add_records(&b->s, r);
  return r;
}

int test_pair_begin(void **state) {
  test_pair *p = calloc(1, sizeof *p);
  assert_non_null(p);
  p->mem = weft_alloc_libc();
  weft__arena_init(&p->arena, &p->mem);
  weft__vector_init(&p->v, &p->mem);
  test_space_make(&p->s, 3, 7);
  for (size_t i = 0; i < 2; i++) p->r[i] = test_space_memory(&p->s, i);
  *state = p;
  return 0;
}

int test_pair_end(void **state) {
  test_pair *p = *state;
  for (size_t i = 0; i < 2; i++) weft_replica_free(p->r[i]);
  weft__vector_free(&p->v);
  weft__arena_free(&p->arena);
  free(p);
  return 0;
}

void test_pair_meet(test_pair *p) {
  test_pull(p->r[1], p->r[0], 5);
  test_pull(p->r[0], p->r[1], 5);
}

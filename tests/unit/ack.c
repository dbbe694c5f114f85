/* Acknowledgements: a known one, everything a signature binds, and deltas over several links. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/ack.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/hex.h"
#include "tests/support/ids.h"
#include "tests/support/rng.h"

static void known_answer(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  weft_alloc mem = weft_alloc_libc();
  weft_identity device = test_identity(1);
  weft_id space = test_id(0x44);
  weft_head head = test_head(0x11, 7, 0xa0);
  weft_vector v;
  weft_ack ack;
  weft__vector_init(&v, &mem);
  assert_int_equal(weft__vector_raise(&v, NULL, &head), WEFT_OK);
  weft__ack_shorten(&v);
  weft__ack_sign(&ack, c, &device, &space, 0x0102030405060708, &v);
  test_assert_hex(weft_bytes_of(ack.root, 16), "7a0efd92a74e00c095a990fd06706a03");
  test_assert_hex(weft_bytes_of(ack.sig.b, 64),
                  "7e06a1a67715010f0465b8ae78fd3a7ddf199bf43f124c4d57bc8334619aed1a"
                  "6fe5465963a0889829930da558073f56313fd82d8237fccf3aea590735e7510a");
  assert_int_equal(weft__ack_verify(&ack, c, &space, &v), WEFT_OK);
  weft__vector_free(&v);
}

static void signature_binds_everything(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  weft_alloc mem = weft_alloc_libc();
  weft_identity device = test_identity(1), other = test_identity(2);
  weft_id space = test_id(0x44), foreign = space;
  weft_head head = test_head(1, 7, 0xa0);
  weft_vector v;
  weft_ack ack, bad;
  weft__vector_init(&v, &mem);
  assert_int_equal(weft__vector_raise(&v, NULL, &head), WEFT_OK);
  weft__ack_shorten(&v);
  weft__ack_sign(&ack, c, &device, &space, 9, &v);
  foreign.b[31] ^= 1;
  assert_int_equal(weft__ack_verify(&ack, c, &foreign, &v), WEFT_EBADSIG);
  bad = ack;
  bad.counter++;
  assert_int_equal(weft__ack_verify(&bad, c, &space, &v), WEFT_EBADSIG);
  bad = ack;
  bad.device = other.device;
  assert_int_equal(weft__ack_verify(&bad, c, &space, &v), WEFT_EBADSIG);
  bad = ack;
  bad.sig.b[0] ^= 1;
  assert_int_equal(weft__ack_verify(&bad, c, &space, &v), WEFT_EBADSIG);
  v.heads[0].seq++;
  assert_int_equal(weft__ack_verify(&ack, c, &space, &v), WEFT_EGAP);
  weft__vector_root(&v, c, ack.root); /* another vector under the same signature */
  assert_int_equal(weft__ack_verify(&ack, c, &space, &v), WEFT_EBADSIG);
  weft__vector_free(&v);
}

static void short_vectors(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_vector v;
  weft_head a = test_head(1, 7, 0xa0), twin = a, fork = test_head(1, 7, 0xa1),
            b = test_head(2, 3, 1);
  twin.id.b[16] ^= 1; /* the same in its first 16 bytes */
  weft__vector_init(&v, &mem);
  weft__ack_shorten(&v);
  assert_int_equal(v.count, 0);
  assert_int_equal(weft__vector_raise(&v, NULL, &a), WEFT_OK);
  assert_int_equal(weft__vector_raise(&v, NULL, &twin), WEFT_OK);
  assert_int_equal(weft__vector_raise(&v, NULL, &fork), WEFT_OK);
  assert_int_equal(weft__vector_raise(&v, NULL, &b), WEFT_OK);
  assert_int_equal(v.count, 4);
  weft__ack_shorten(&v);
  assert_int_equal(v.count, 3);
  for (size_t i = 0; i < v.count; i++) {
    for (size_t k = 16; k < 32; k++) assert_int_equal(v.heads[i].id.b[k], 0);
    if (i > 0) assert_true(weft__head_cmp(&v.heads[i - 1], &v.heads[i]) < 0);
  }
  weft_head early = test_head(1, 6, 0x55), late = test_head(1, 8, 0xa0),
            third = test_head(1, 7, 0xa2);
  assert_true(weft__ack_contains(&v, NULL, &a));
  assert_true(weft__ack_contains(&v, NULL, &fork));
  assert_true(weft__ack_contains(&v, NULL, &early));
  assert_false(weft__ack_contains(&v, NULL, &late));
  assert_false(weft__ack_contains(&v, NULL, &third));
  weft__vector_free(&v);
}

/* A device whose vector grows, and links that carry its acknowledgements at their own times. */
typedef struct origin {
  weft_identity identity;
  weft_vector now;
  weft_vector carried[2]; /* what each link carried last */
  weft_ack ack;
  uint64_t counter;
} origin;

enum { origins = 3 };

static void origin_init(origin *o, uint8_t byte, const weft_alloc *mem) {
  o->identity = test_identity(byte);
  o->counter = 0;
  weft__vector_init(&o->now, mem);
  weft__vector_init(&o->carried[0], mem);
  weft__vector_init(&o->carried[1], mem);
}

static void origin_free(origin *o) {
  weft__vector_free(&o->now);
  weft__vector_free(&o->carried[0]);
  weft__vector_free(&o->carried[1]);
}

static void origin_grow(origin *o, test_rng *rng, const weft_id *space) {
  uint64_t steps = 1 + test_rng_below(rng, 4);
  for (uint64_t i = 0; i < steps; i++) {
    uint8_t log = (uint8_t)test_rng_below(rng, 8);
    weft_head next = test_head(log, 0, (uint8_t)test_rng_next(rng));
    next.seq = weft__vector_seq(&o->now, &next.log);
    next.seq += next.seq == 0 || test_rng_chance(rng, 80); /* or another branch */
    assert_int_equal(weft__vector_raise(&o->now, NULL, &next), WEFT_OK);
  }
  weft__ack_shorten(&o->now);
  o->counter += 1 + test_rng_below(rng, 3);
  weft__ack_sign(&o->ack, weft_crypto_sodium(), &o->identity, space, o->counter, &o->now);
}

/* Sends the newest acknowledgement over one link, as what differs from what that link carried. */
static void origin_carry(origin *o, int link, weft_ack_table *t, const weft_id *space) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_head *delta;
  size_t count;
  bool fresh;
  weft__arena_init(&arena, &mem);
  const weft_ack_entry *held = weft__ack_table_find(t, &o->identity.device);
  bool newer = !held || held->ack.counter < o->ack.counter;
  assert_int_equal(weft__vector_delta(&o->carried[link], &o->now, &arena, &delta, &count), WEFT_OK);
  weft_err err =
      weft__ack_table_put(t, weft_crypto_sodium(), space, &o->ack, false, delta, count, &fresh);
  assert_int_equal(err, WEFT_OK);
  assert_int_equal(fresh, newer);
  assert_int_equal(weft__vector_copy(&o->carried[link], &o->now), WEFT_OK);
  held = weft__ack_table_find(t, &o->identity.device);
  assert_int_equal(held->ack.counter, o->counter);
  assert_int_equal(held->vector.count, o->now.count);
  assert_memory_equal(held->vector.heads, o->now.heads, o->now.count * sizeof *o->now.heads);
  weft__arena_free(&arena);
}

static void deltas_over_any_link_lead_to_the_newest(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_id space = test_id(0x44);
  for (uint64_t seed = 1; seed <= 40; seed++) {
    test_rng rng = test_rng_of(seed);
    weft_ack_table t;
    origin o[origins];
    weft__ack_table_init(&t, &mem);
    for (uint8_t i = 0; i < origins; i++) {
      origin_init(&o[i], (uint8_t)(i + 1), &mem);
      origin_grow(&o[i], &rng, &space);
    }
    for (int step = 0; step < 40; step++) {
      origin *of = &o[test_rng_below(&rng, origins)];
      if (test_rng_chance(&rng, 60)) origin_grow(of, &rng, &space);
      origin_carry(of, (int)test_rng_below(&rng, 2), &t, &space);
    }
    for (size_t i = 1; i < t.count; i++) {
      int order = weft_id_cmp(&t.entries[i - 1].ack.device, &t.entries[i].ack.device);
      assert_true(order < 0);
    }
    weft_id gone = o[1].identity.device;
    size_t count = t.count;
    bool there = weft__ack_table_find(&t, &gone) != NULL;
    weft__ack_table_drop(&t, &gone);
    assert_int_equal(t.count, count - there);
    assert_null(weft__ack_table_find(&t, &gone));
    weft__ack_table_drop(&t, &gone);
    assert_int_equal(t.count, count - there);
    for (int i = 0; i < origins; i++) origin_free(&o[i]);
    weft__ack_table_free(&t);
  }
}

static void the_table_refuses(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  weft_alloc mem = weft_alloc_libc();
  weft_id space = test_id(0x44);
  test_rng rng = test_rng_of(4);
  weft_ack_table t;
  origin o;
  weft__ack_table_init(&t, &mem);
  origin_init(&o, 1, &mem);
  origin_grow(&o, &rng, &space);
  const weft_head *all = o.now.heads;
  size_t count = o.now.count;
  weft_ack bad = o.ack;
  weft_head whole_id = all[0];
  whole_id.id.b[20] = 1;
  bad.sig.b[3] ^= 1;
  assert_int_equal(weft__ack_table_put(&t, c, &space, &bad, true, all, count, NULL), WEFT_EBADSIG);
  assert_int_equal(weft__ack_table_put(&t, c, &space, &o.ack, true, all, count - 1, NULL),
                   WEFT_EGAP);
  assert_int_equal(weft__ack_table_put(&t, c, &space, &o.ack, true, &whole_id, 1, NULL),
                   WEFT_EMALFORMED);
  weft_head twice[2] = {all[0], all[0]};
  assert_int_equal(weft__ack_table_put(&t, c, &space, &o.ack, true, twice, 2, NULL),
                   WEFT_EMALFORMED);
  assert_int_equal(t.count, 0);
  assert_int_equal(weft__ack_table_put(&t, c, &space, &o.ack, true, all, count, NULL), WEFT_OK);
  assert_int_equal(t.count, 1);
  /* The same number again is passed over, whatever comes with it. */
  assert_int_equal(weft__ack_table_put(&t, c, &space, &bad, true, NULL, 0, NULL), WEFT_OK);
  /* A device that lost its tail: no delta leads there, the whole vector does. */
  weft_head small = test_head(9, 1, 0);
  weft__vector_clear(&o.now);
  assert_int_equal(weft__vector_raise(&o.now, NULL, &small), WEFT_OK);
  weft__ack_sign(&o.ack, c, &o.identity, &space, 1000, &o.now);
  bool fresh;
  assert_int_equal(weft__ack_table_put(&t, c, &space, &o.ack, false, &small, 1, &fresh), WEFT_EGAP);
  assert_false(fresh);
  assert_int_equal(weft__ack_table_put(&t, c, &space, &o.ack, true, &small, 1, &fresh), WEFT_OK);
  assert_true(fresh);
  assert_int_equal(t.entries[0].vector.count, 1);
  origin_free(&o);
  weft__ack_table_free(&t);
}

static bool quick_verify(const weft_sig *sig, const weft_id *pub, weft_bytes message) {
  (void)sig;
  (void)pub;
  return message.len > 0;
}

static void the_table_is_bounded(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_crypto c = *weft_crypto_sodium();
  c.verify = quick_verify;
  weft_id space = test_id(0x44);
  weft_ack_table t;
  weft_ack ack;
  memset(&ack, 0, sizeof ack);
  ack.counter = 1;
  weft__ack_table_init(&t, &mem);
  for (uint32_t i = 0; i <= 65536; i++) { /* ascending, so nothing is moved */
    ack.device.b[0] = (uint8_t)(i >> 16);
    ack.device.b[1] = (uint8_t)(i >> 8);
    ack.device.b[2] = (uint8_t)i;
    weft_err err = weft__ack_table_put(&t, &c, &space, &ack, true, NULL, 0, NULL);
    assert_int_equal(err, i < 65536 ? WEFT_OK : WEFT_ELIMIT);
  }
  assert_int_equal(t.count, 65536);
  weft__ack_table_free(&t);
}

static void every_failed_allocation_is_survived(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  weft_alloc libc = weft_alloc_libc();
  weft_id space = test_id(0x44);
  test_rng rng = test_rng_of(6);
  origin o;
  origin_init(&o, 1, &libc);
  for (size_t at = 1;; at++) {
    test_fault_alloc fault = {.fail_at = at, .sticky = false};
    weft_alloc mem = test_fault_alloc_of(&fault);
    weft_ack_table t;
    weft_err err = WEFT_OK;
    size_t taken = 0;
    weft__ack_table_init(&t, &mem);
    for (int i = 0; i < 3 && err == WEFT_OK; i++) {
      origin_grow(&o, &rng, &space);
      /* The whole list is also a right delta, as long as no log went away. */
      err = weft__ack_table_put(&t, c, &space, &o.ack, i != 1, o.now.heads, o.now.count, NULL);
      taken += err == WEFT_OK;
      assert_int_equal(t.count, taken > 0);
    }
    weft__ack_table_free(&t);
    assert_int_equal(fault.live, 0);
    if (err == WEFT_OK) break;
    assert_int_equal(err, WEFT_ENOMEM);
  }
  origin_free(&o);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_answer),
      cmocka_unit_test(signature_binds_everything),
      cmocka_unit_test(short_vectors),
      cmocka_unit_test(deltas_over_any_link_lead_to_the_newest),
      cmocka_unit_test(the_table_refuses),
      cmocka_unit_test(the_table_is_bounded),
      cmocka_unit_test(every_failed_allocation_is_survived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

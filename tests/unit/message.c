/* Bodies of frames: what is written is read, longer and shorter versions too, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <msgpack.h>

#include "tests/support/docs.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/messages.h"

enum { rounds = 60, len_max = 1 << 20 };

typedef struct bench {
  weft_alloc mem;
  weft_arena arena;
  weft_buf body, again;
} bench;

static void bench_make(bench *b) {
  b->mem = weft_alloc_libc();
  weft__arena_init(&b->arena, &b->mem);
  weft__buf_init(&b->body, &b->mem, len_max);
  weft__buf_init(&b->again, &b->mem, len_max);
}

static void bench_free(bench *b) {
  weft__arena_free(&b->arena);
  weft__buf_free(&b->body);
  weft__buf_free(&b->again);
}

static void body_make(bench *b, unsigned kind, test_rng *rng) {
  weft__arena_reset(&b->arena);
  weft__buf_reset(&b->body);
  test_message_any(kind, rng, &b->arena, &b->body);
  assert_int_equal(weft__buf_err(&b->body), WEFT_OK);
}

static weft_err again(bench *b, unsigned kind, weft_bytes in) {
  weft__buf_reset(&b->again);
  return test_message_again(kind, &b->arena, in, &b->again);
}

static void assert_same(bench *b, unsigned kind, uint64_t seed) {
  if (weft_bytes_cmp(weft__buf_view(&b->body), weft__buf_view(&b->again)) == 0) return;
  fail_msg("kind %u seed=%llu: another body came back", kind, (unsigned long long)seed);
}

static void what_is_written_is_read(void **state) {
  (void)state;
  bench b;
  bench_make(&b);
  for (unsigned kind = 0; kind < TEST_MESSAGE_KINDS; kind++) {
    for (uint64_t seed = 0; seed < rounds; seed++) {
      test_rng rng = test_rng_of(seed);
      body_make(&b, kind, &rng);
      assert_int_equal(again(&b, kind, weft__buf_view(&b.body)), WEFT_OK);
      assert_same(&b, kind, seed);
    }
  }
  bench_free(&b);
}

/* The acknowledgement that tests/unit/ack.c checks the signature of. */
static void the_known_acknowledgement(void **state) {
  (void)state;
  bench b;
  bench_make(&b);
  const weft_crypto *c = weft_crypto_sodium();
  weft_key seed;
  weft_id space;
  weft_identity device;
  weft_head head = {.seq = 7};
  weft_vector v;
  weft_msg_ack item = {.whole = true, .delta = &head, .count = 1};
  weft_msg_acks acks = {&item, 1}, back;
  memset(seed.b, 1, sizeof seed.b);
  memset(space.b, 0x44, sizeof space.b);
  memset(head.log.b, 0x11, sizeof head.log.b);
  memset(head.id.b, 0xa0, sizeof head.id.b);
  weft_identity_derive(&device, c, &seed);
  weft__vector_init(&v, &b.mem);
  assert_int_equal(weft__vector_raise(&v, NULL, &head), WEFT_OK);
  weft__ack_shorten(&v);
  weft__ack_sign(&item.ack, c, &device, &space, 0x0102030405060708, &v);
  item.delta = v.heads;
  weft__msg_acks_put(&b.body, &acks);
  test_assert_docs(weft__buf_view(&b.body), "wire.md", "ack");
  assert_int_equal(weft__msg_acks_read(&b.arena, weft__buf_view(&b.body), &back), WEFT_OK);
  assert_int_equal(back.count, 1);
  assert_memory_equal(&back.at[0].ack, &item.ack, sizeof item.ack);
  weft__vector_free(&v);
  bench_free(&b);
}

static void cut_anywhere_it_is_refused(void **state) {
  (void)state;
  bench b;
  bench_make(&b);
  for (unsigned kind = 0; kind < TEST_MESSAGE_KINDS; kind++) {
    test_rng rng = test_rng_of(kind);
    body_make(&b, kind, &rng);
    for (size_t len = 0; len < b.body.len; len++) {
      assert_int_equal(again(&b, kind, weft_bytes_of(b.body.at, len)), WEFT_EMALFORMED);
      weft__arena_reset(&b.arena);
    }
  }
  bench_free(&b);
}

static int pack_into(void *data, const char *at, size_t len) {
  weft__buf_put_raw(data, at, len);
  return 0;
}

/* Rewrites the body with `count` of its fields, or with more that nobody knows. */
static void body_resize(bench *b, unsigned count) {
  msgpack_unpacked one;
  msgpack_packer p;
  weft_buf out;
  weft__buf_init(&out, &b->mem, len_max);
  msgpack_unpacked_init(&one);
  size_t used = 0;
  assert_int_equal(msgpack_unpack_next(&one, (const char *)b->body.at, b->body.len, &used),
                   MSGPACK_UNPACK_SUCCESS);
  msgpack_packer_init(&p, &out, pack_into);
  msgpack_pack_array(&p, count);
  for (unsigned i = 0; i < count; i++) {
    if (i < one.data.via.array.size)
      msgpack_pack_object(&p, one.data.via.array.ptr[i]);
    else
      msgpack_pack_str_with_body(&p, "later", 5);
  }
  msgpack_unpacked_destroy(&one);
  weft__buf_free(&b->body);
  b->body = out;
}

static void fields_of_the_future_are_ignored(void **state) {
  (void)state;
  bench b, whole;
  bench_make(&b);
  bench_make(&whole);
  for (unsigned kind = 0; kind < TEST_MESSAGE_KINDS; kind++) {
    test_rng rng = test_rng_of(kind), same = rng;
    body_make(&whole, kind, &same);
    body_make(&b, kind, &rng);
    body_resize(&b, test_message_fields(kind) + 2);
    assert_int_equal(again(&b, kind, weft__buf_view(&b.body)), WEFT_OK);
    assert_int_equal(weft_bytes_cmp(weft__buf_view(&whole.body), weft__buf_view(&b.again)), 0);
  }
  bench_free(&b);
  bench_free(&whole);
}

static void missing_fields_are_zero(void **state) {
  (void)state;
  bench b;
  bench_make(&b);
  for (unsigned kind = 0; kind < TEST_MESSAGE_KINDS; kind++) {
    for (unsigned count = 0; count < test_message_fields(kind); count++) {
      test_rng rng = test_rng_of(kind);
      body_make(&b, kind, &rng);
      body_resize(&b, count);
      weft_err want = count < test_message_required(kind) ? WEFT_EMALFORMED : WEFT_OK;
      assert_int_equal(again(&b, kind, weft__buf_view(&b.body)), want);
      if (want == WEFT_OK) assert_true(b.again.len >= b.body.len);
    }
  }
  weft_msg_hello m;
  test_rng rng = test_rng_of(1);
  body_make(&b, 0, &rng);
  body_resize(&b, 8);
  assert_int_equal(weft__msg_hello_read(weft__buf_view(&b.body), &m), WEFT_OK);
  assert_int_equal(m.window, 0);
  assert_int_equal(m.listen_count, 0);
  assert_int_equal(m.name.len, 0);
  bench_free(&b);
}

/* A changed byte is refused or means something that is written as it is read. */
static void a_changed_byte_has_one_meaning(void **state) {
  (void)state;
  bench b;
  bench_make(&b);
  for (unsigned kind = 0; kind < TEST_MESSAGE_KINDS; kind++) {
    for (uint64_t seed = 0; seed < rounds; seed++) {
      test_rng rng = test_rng_of(seed);
      body_make(&b, kind, &rng);
      for (unsigned i = 0; i < 40; i++) {
        size_t at = test_rng_below(&rng, b.body.len);
        uint8_t old = b.body.at[at];
        b.body.at[at] = (uint8_t)test_rng_next(&rng);
        weft_err err = again(&b, kind, weft__buf_view(&b.body));
        assert_true(err == WEFT_OK || err == WEFT_EMALFORMED);
        if (err == WEFT_OK) {
          weft_buf first = b.again;
          weft__buf_init(&b.again, &b.mem, len_max);
          assert_int_equal(again(&b, kind, weft__buf_view(&first)), WEFT_OK);
          assert_int_equal(weft_bytes_cmp(weft__buf_view(&first), weft__buf_view(&b.again)), 0);
          weft__buf_free(&first);
        }
        b.body.at[at] = old;
      }
    }
  }
  bench_free(&b);
}

/* Every list has its bound, and a count that is not there costs nothing. */
static void lists_are_bounded(void **state) {
  (void)state;
  bench b;
  bench_make(&b);
  weft_id ids[WEFT_MESSAGE_IDS_MAX + 1];
  memset(ids, 1, sizeof ids);
  weft_msg_auth auth = {ids, WEFT_MESSAGE_IDS_MAX + 1, NULL, 0}, auth_back;
  weft__msg_auth_put(&b.body, &auth);
  assert_int_equal(weft__msg_auth_read(&b.arena, weft__buf_view(&b.body), &auth_back),
                   WEFT_EMALFORMED);
  weft_head heads[WEFT_MESSAGE_HEADS_MAX + 1];
  memset(heads, 1, sizeof heads);
  weft_msg_heads many = {.at = heads, .count = WEFT_MESSAGE_HEADS_MAX + 1}, many_back;
  weft__buf_reset(&b.body);
  weft__msg_heads_put(&b.body, &many);
  assert_int_equal(weft__msg_heads_read(&b.arena, weft__buf_view(&b.body), &many_back),
                   WEFT_EMALFORMED);
  static const char *const promises[] = {"\x91\xdd\xff\xff\xff\xff", "\xdd\xff\xff\xff\xff",
                                         "\x91\xc6\xff\xff\xff\xff"};
  for (unsigned kind = 0; kind < TEST_MESSAGE_KINDS; kind++) {
    for (size_t i = 0; i < sizeof promises / sizeof *promises; i++) {
      assert_int_equal(again(&b, kind, weft_bytes_str(promises[i])), WEFT_EMALFORMED);
    }
  }
  assert_true(b.arena.held < 1 << 20);
  bench_free(&b);
}

static void ranges_run_forward(void **state) {
  (void)state;
  bench b;
  bench_make(&b);
  weft_msg_range range = {.from = 2, .to = 1};
  weft_msg_want want = {&range, 1}, want_back;
  weft__msg_want_put(&b.body, &want);
  assert_int_equal(weft__msg_want_read(&b.arena, weft__buf_view(&b.body), &want_back),
                   WEFT_EMALFORMED);
  range.from = 0;
  weft__buf_reset(&b.body);
  weft__msg_want_put(&b.body, &want);
  assert_int_equal(weft__msg_want_read(&b.arena, weft__buf_view(&b.body), &want_back),
                   WEFT_EMALFORMED);
  weft_msg_nohave no = {.low = 2, .high = 1}, no_back;
  weft__buf_reset(&b.body);
  weft__msg_nohave_put(&b.body, &no);
  assert_int_equal(weft__msg_nohave_read(weft__buf_view(&b.body), &no_back), WEFT_EMALFORMED);
  weft_head head = {.seq = 0};
  weft_msg_heads heads = {.at = &head, .count = 1}, heads_back;
  weft__buf_reset(&b.body);
  weft__msg_heads_put(&b.body, &heads);
  assert_int_equal(weft__msg_heads_read(&b.arena, weft__buf_view(&b.body), &heads_back),
                   WEFT_EMALFORMED);
  weft_msg_node node = {.prefix = {16}, .prefix_len = 1};
  weft_msg_nodes nodes = {&node, 1}, nodes_back;
  weft__buf_reset(&b.body);
  weft__msg_nodes_put(&b.body, &nodes);
  assert_int_equal(weft__msg_nodes_read(&b.arena, weft__buf_view(&b.body), &nodes_back),
                   WEFT_EMALFORMED);
  bench_free(&b);
}

static void memory_failing_anywhere(void **state) {
  (void)state;
  bench b;
  bench_make(&b);
  for (unsigned kind = 0; kind < TEST_MESSAGE_KINDS; kind++) {
    test_rng rng = test_rng_of(kind + 100);
    body_make(&b, kind, &rng);
    weft_err err = WEFT_ENOMEM;
    for (size_t k = 1; err == WEFT_ENOMEM; k++) {
      test_fault_alloc f = {.fail_at = k, .sticky = true};
      weft_alloc mem = test_fault_alloc_of(&f);
      weft_arena arena;
      weft__arena_init(&arena, &mem);
      weft__buf_reset(&b.again);
      err = test_message_again(kind, &arena, weft__buf_view(&b.body), &b.again);
      weft__arena_free(&arena);
      assert_int_equal(f.live, 0);
    }
    assert_int_equal(err, WEFT_OK);
  }
  bench_free(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_written_is_read),
      cmocka_unit_test(the_known_acknowledgement),
      cmocka_unit_test(cut_anywhere_it_is_refused),
      cmocka_unit_test(fields_of_the_future_are_ignored),
      cmocka_unit_test(missing_fields_are_zero),
      cmocka_unit_test(a_changed_byte_has_one_meaning),
      cmocka_unit_test(lists_are_bounded),
      cmocka_unit_test(ranges_run_forward),
      cmocka_unit_test(memory_failing_anywhere),
  };
  return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}

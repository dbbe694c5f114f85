/* Transport records: every size round trips, and nothing but what was written is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/frame.h"
#include "net/outbox.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/rng.h"

static void lengths_are_few(void **state) {
  (void)state;
  static const size_t known[][2] = {
      {0, 64},      {60, 64},     {61, 128},      {1019, 1024},   {1020, 1024},   {1021, 1280},
      {1276, 1280}, {1277, 1536}, {65276, 65280}, {65277, 65519}, {65514, 65519}, {65515, 65519},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    assert_int_equal(weft__record_len(known[i][0]), known[i][1]);
  }
  size_t last = 0, count = 0;
  for (size_t body = 0; body <= WEFT_RECORD_BODY_MAX; body++) {
    size_t len = weft__record_len(body);
    assert_true(len >= body + WEFT_RECORD_HEAD_LEN && len >= last);
    assert_true(weft__record_len_ok(len));
    count += len != last;
    last = len;
  }
  size_t ok = 0;
  for (size_t len = 0; len <= 70000; len++) ok += weft__record_len_ok(len);
  assert_int_equal(ok, count);
}

static void records_round_trip_at_every_edge(void **state) {
  (void)state;
  static uint8_t body[WEFT_RECORD_BODY_MAX], plain[WEFT_RECORD_PLAIN_MAX];
  test_rng rng = test_rng_of(3);
  test_rng_fill(&rng, body, sizeof body);
  for (size_t len = 0; len <= sizeof body; len++) {
    if (len > 2100 && len < 65200 && len % 256 > 2 && len % 256 < 250) continue;
    weft_record_view r;
    bool more = len > 0 && len % 2;
    weft__record_write(plain, WEFT_FRAME_CHANGES, more, weft_bytes_of(body, len));
    assert_int_equal(weft__record_read(weft_bytes_of(plain, weft__record_len(len)), &r), WEFT_OK);
    assert_int_equal(r.type, WEFT_FRAME_CHANGES);
    assert_int_equal(r.more, more);
    assert_int_equal(r.body.len, len);
    assert_memory_equal(r.body.at, body, len);
  }
}

static weft_err read_as(uint8_t type, uint8_t flags, uint16_t body_len, size_t len, size_t dirty) {
  static uint8_t plain[70000];
  weft_record_view r;
  memset(plain, 0, sizeof plain);
  plain[0] = type;
  plain[1] = flags;
  plain[2] = (uint8_t)(body_len >> 8);
  plain[3] = (uint8_t)body_len;
  if (dirty) plain[dirty] = 1;
  return weft__record_read(weft_bytes_of(plain, len), &r);
}

static void refuses_what_breaks_a_rule(void **state) {
  (void)state;
  assert_int_equal(read_as(WEFT_FRAME_PING, 0, 10, 64, 0), WEFT_OK);
  assert_int_equal(read_as(WEFT_FRAME_PING, 0, 10, 1024, 0), WEFT_OK); /* more padding is fine */
  assert_int_equal(read_as(WEFT_FRAME_PING, 0, 10, 0, 0), WEFT_EPROTO);
  assert_int_equal(read_as(WEFT_FRAME_PING, 0, 10, 63, 0), WEFT_EPROTO);
  assert_int_equal(read_as(WEFT_FRAME_PING, 0, 10, 1088, 0), WEFT_EPROTO);
  assert_int_equal(read_as(WEFT_FRAME_PING, 0, 10, 65520, 0), WEFT_EPROTO);
  assert_int_equal(read_as(WEFT_FRAME_PING, 0, 60, 64, 0), WEFT_OK);
  assert_int_equal(read_as(WEFT_FRAME_PING, 0, 61, 64, 0), WEFT_EPROTO);
  assert_int_equal(read_as(WEFT_FRAME_PING, 0, 65535, 64, 0), WEFT_EPROTO);
  for (size_t at = 14; at < 64; at++) {
    assert_int_equal(read_as(WEFT_FRAME_PING, 0, 10, 64, at), WEFT_EPROTO);
  }
  assert_int_equal(read_as(WEFT_FRAME_PING, 0, 10, 64, 13), WEFT_OK);
  for (unsigned flags = 1; flags < 256; flags++) {
    bool ok = flags == WEFT_RECORD_MORE;
    assert_int_equal(read_as(WEFT_FRAME_ACK, (uint8_t)flags, 1, 64, 0), ok ? WEFT_OK : WEFT_EPROTO);
  }
  assert_int_equal(read_as(WEFT_FRAME_ACK, WEFT_RECORD_MORE, 0, 64, 0), WEFT_EPROTO);
  assert_int_equal(read_as(WEFT_FRAME_HELLO, WEFT_RECORD_MORE, 1, 64, 0), WEFT_EPROTO);
  assert_int_equal(read_as(WEFT_FRAME_EXPRESS, WEFT_RECORD_MORE, 1, 64, 0), WEFT_EPROTO);
}

static void types_that_are_long_and_that_interrupt(void **state) {
  (void)state;
  size_t bulk = 0, interrupt = 0;
  for (unsigned type = 0; type < 256; type++) {
    bulk += weft__frame_is_bulk((uint8_t)type);
    interrupt += weft__frame_may_interrupt((uint8_t)type);
  }
  assert_int_equal(bulk, 6);
  assert_int_equal(interrupt, 7);
  assert_true(weft__frame_is_bulk(WEFT_FRAME_FORK) && weft__frame_is_bulk(WEFT_FRAME_GOSSIP));
  assert_true(weft__frame_may_interrupt(WEFT_FRAME_ERROR));
  assert_true(weft__frame_may_interrupt(WEFT_FRAME_PRESENCE));
  assert_true(weft__frame_may_interrupt(WEFT_FRAME_EXPRESS));
  assert_false(weft__frame_may_interrupt(WEFT_FRAME_GOSSIP));
  assert_false(weft__frame_may_interrupt(WEFT_FRAME_HELLO));
}

/* --- the outbox --- */

static uint8_t take_type(weft_outbox *o, bool *more) {
  static uint8_t plain[WEFT_RECORD_PLAIN_MAX];
  weft_record_view r;
  size_t len = weft__outbox_next_len(o);
  weft__outbox_take(o, plain);
  assert_int_equal(weft__record_read(weft_bytes_of(plain, len), &r), WEFT_OK);
  *more = r.more;
  return r.type;
}

static void short_frames_overtake_long_ones(void **state) {
  (void)state;
  static const uint8_t big[2 * WEFT_RECORD_BODY_MAX + 1];
  weft_alloc mem = weft_alloc_libc();
  weft_outbox o;
  bool more;
  weft__outbox_init(&o, &mem, 1 << 20);
  assert_true(weft__outbox_is_empty(&o));
  assert_int_equal(weft__outbox_next_len(&o), 0);
  weft_bytes none = {NULL, 0}, all = weft_bytes_of(big, sizeof big);
  assert_int_equal(weft__outbox_push(&o, WEFT_FRAME_CHANGES, all), WEFT_OK);
  assert_int_equal(weft__outbox_push(&o, WEFT_FRAME_BYE, none), WEFT_OK);
  assert_int_equal(take_type(&o, &more), WEFT_FRAME_CHANGES);
  assert_true(more);
  assert_int_equal(weft__outbox_push(&o, WEFT_FRAME_PING, none), WEFT_OK);
  assert_int_equal(weft__outbox_push(&o, WEFT_FRAME_CREDIT, none), WEFT_OK);
  assert_int_equal(weft__outbox_push(&o, WEFT_FRAME_PONG, none), WEFT_OK);
  assert_true(o.urgent.unsent > 0 && o.ordered.unsent > WEFT_RECORD_BODY_MAX);
  assert_int_equal(o.urgent.unsent + o.ordered.unsent, o.unsent);
  assert_int_equal(take_type(&o, &more), WEFT_FRAME_PING);
  assert_int_equal(take_type(&o, &more), WEFT_FRAME_CREDIT);
  assert_int_equal(take_type(&o, &more), WEFT_FRAME_PONG);
  assert_int_equal(o.urgent.unsent, 0);
  assert_int_equal(o.ordered.unsent, o.unsent);
  assert_int_equal(take_type(&o, &more), WEFT_FRAME_CHANGES);
  assert_true(more);
  assert_int_equal(take_type(&o, &more), WEFT_FRAME_CHANGES);
  assert_false(more);
  assert_int_equal(take_type(&o, &more), WEFT_FRAME_BYE);
  assert_true(weft__outbox_is_empty(&o));
  assert_int_equal(o.unsent, 0);
}

/* On a slow line long frames are cut short, and what overtakes is not. */
static void records_are_cut_for_what_overtakes(void **state) {
  (void)state;
  static const uint8_t big[4000];
  weft_alloc mem = weft_alloc_libc();
  weft_outbox o;
  bool more;
  weft__outbox_init(&o, &mem, 1 << 20);
  o.record_max = 512;
  weft_bytes all = weft_bytes_of(big, sizeof big), some = weft_bytes_of(big, 1400);
  assert_int_equal(weft__outbox_push(&o, WEFT_FRAME_CHANGES, all), WEFT_OK);
  assert_int_equal(weft__outbox_next_len(&o), weft__record_len(512));
  assert_int_equal(take_type(&o, &more), WEFT_FRAME_CHANGES);
  assert_true(more);
  assert_int_equal(weft__outbox_push(&o, WEFT_FRAME_WANT, some), WEFT_OK);
  assert_int_equal(weft__outbox_push(&o, WEFT_FRAME_EXPRESS, some), WEFT_OK);
  assert_int_equal(weft__outbox_next_len(&o), weft__record_len(1400));
  assert_int_equal(take_type(&o, &more), WEFT_FRAME_EXPRESS);
  assert_false(more);
  for (size_t left = sizeof big - 512; left > 0; left -= left < 512 ? left : 512) {
    assert_int_equal(take_type(&o, &more), WEFT_FRAME_CHANGES);
  }
  assert_false(more);
  assert_int_equal(take_type(&o, &more), WEFT_FRAME_WANT);
  assert_false(more);
  assert_true(weft__outbox_is_empty(&o));
}

static void nothing_overtakes_a_hello(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_outbox o;
  bool more;
  weft_bytes none = {NULL, 0};
  weft__outbox_init(&o, &mem, 1 << 20);
  static const uint8_t order[] = {WEFT_FRAME_AUTH_WANT, WEFT_FRAME_HELLO, WEFT_FRAME_PRESENCE,
                                  WEFT_FRAME_PONG, WEFT_FRAME_WANT};
  static const uint8_t pushed[] = {WEFT_FRAME_AUTH_WANT, WEFT_FRAME_HELLO, WEFT_FRAME_WANT,
                                   WEFT_FRAME_PRESENCE, WEFT_FRAME_PONG};
  for (size_t i = 0; i < sizeof pushed; i++) {
    assert_int_equal(weft__outbox_push(&o, pushed[i], none), WEFT_OK);
  }
  for (size_t i = 0; i < sizeof order; i++) assert_int_equal(take_type(&o, &more), order[i]);
  assert_true(weft__outbox_is_empty(&o));
}

/* No record is empty but that of an empty body. */
static void a_body_takes_as_few_records_as_it_can(void **state) {
  (void)state;
  static const uint8_t big[2 * WEFT_RECORD_BODY_MAX + 1];
  weft_alloc mem = weft_alloc_libc();
  for (size_t count = 1; count <= 3; count++) {
    weft_outbox o;
    bool more = true;
    weft__outbox_init(&o, &mem, 1 << 20);
    size_t len = count == 3 ? sizeof big : count * WEFT_RECORD_BODY_MAX;
    weft_bytes body = weft_bytes_of(big, len);
    assert_int_equal(weft__outbox_push(&o, WEFT_FRAME_ACK, body), WEFT_OK);
    for (size_t i = 1; i <= count; i++) {
      assert_int_equal(take_type(&o, &more), WEFT_FRAME_ACK);
      assert_int_equal(more, i < count);
    }
    assert_true(weft__outbox_is_empty(&o));
  }
}

static void a_full_outbox_refuses(void **state) {
  (void)state;
  static const uint8_t big[1000];
  test_fault_alloc fault = {0};
  weft_alloc mem = test_fault_alloc_of(&fault);
  weft_outbox o;
  weft__outbox_init(&o, &mem, 500);
  weft_bytes all = weft_bytes_of(big, sizeof big), some = weft_bytes_of(big, 10);
  assert_int_equal(weft__outbox_push(&o, WEFT_FRAME_CHANGES, all), WEFT_OK); /* the only one */
  assert_int_equal(weft__outbox_push(&o, WEFT_FRAME_PING, some), WEFT_EAGAIN);
  weft__outbox_clear(&o);
  assert_int_equal(weft__outbox_push(&o, WEFT_FRAME_PING, some), WEFT_OK);
  assert_int_equal(weft__outbox_push(&o, WEFT_FRAME_PONG, some), WEFT_OK);
  assert_int_equal(weft__outbox_push(&o, WEFT_FRAME_CHANGES, all), WEFT_EAGAIN);
  fault.fail_at = fault.calls + 1;
  assert_int_equal(weft__outbox_push(&o, WEFT_FRAME_HELLO, some), WEFT_ENOMEM);
  assert_int_equal(weft__outbox_push(&o, WEFT_FRAME_HELLO, some), WEFT_OK);
  weft_bytes absurd = weft_bytes_of(big, SIZE_MAX);
  assert_int_equal(weft__outbox_push(&o, WEFT_FRAME_HELLO, absurd), WEFT_ENOMEM);
  weft__outbox_clear(&o);
  assert_int_equal(fault.live, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lengths_are_few),
      cmocka_unit_test(records_round_trip_at_every_edge),
      cmocka_unit_test(refuses_what_breaks_a_rule),
      cmocka_unit_test(types_that_are_long_and_that_interrupt),
      cmocka_unit_test(short_frames_overtake_long_ones),
      cmocka_unit_test(records_are_cut_for_what_overtakes),
      cmocka_unit_test(nothing_overtakes_a_hello),
      cmocka_unit_test(a_body_takes_as_few_records_as_it_can),
      cmocka_unit_test(a_full_outbox_refuses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What a node holds back: pauses, and what peers refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/chunk.h"
#include "tests/support/rig.h"

/* It has told all that it holds: from now on it hears what is new. */
static void send_leaves(puppet *p) {
  weft_msg_heads m = {.done = true, .to = 1};
  puppet_say(p, WEFT_FRAME_VV_LEAVES, heads, &m);
}

static void send_want(puppet *p, const weft_id *log, uint64_t from, uint64_t to) {
  weft_msg_range range = {.log = *log, .from = from, .to = to};
  weft_msg_want m = {&range, 1};
  puppet_say(p, WEFT_FRAME_WANT, want, &m);
}

static void send_refused(puppet *p, const weft_id *log, uint64_t from, weft_code code) {
  weft_msg_nohave m = {*log, from, from, (uint8_t)code};
  puppet_say(p, WEFT_FRAME_REFUSED, nohave, &m);
}

static size_t parked(rig *r, weft_node_park *first) {
  weft_arena arena;
  weft_node_park *list;
  size_t count;
  weft__arena_init(&arena, &r->mem);
  assert_int_equal(weft_node_parked(r->node, &arena, &list, &count), WEFT_OK);
  if (count && first) *first = list[0];
  weft__arena_free(&arena);
  return count;
}

/* --- pauses --- */

static void a_pause_ends_every_link(void **state) {
  rig *r = rig_of(state);
  puppet a, b;
  puppet_open(&a, r, 1);
  puppet_open(&b, r, 2);
  assert_false(weft_node_is_paused(r->node, NULL));
  assert_int_equal(weft_node_pause(r->node, r->now, NULL), WEFT_OK);
  assert_true(weft_node_is_paused(r->node, NULL));
  assert_true(weft_node_is_paused(r->node, &r->space.devices[1].device));
  rig_pump(r);
  puppet_flow(&a);
  puppet_flow(&b);
  assert_int_equal(puppet_count(&a, WEFT_FRAME_BYE), 1);
  assert_int_equal(puppet_count(&b, WEFT_FRAME_BYE), 1);
  assert_int_equal(rig_accept(r, "::1"), 0);
  rig_wait(r, 2000);
  weft_node_resume(r->node, r->now, NULL);
  assert_false(weft_node_is_paused(r->node, NULL));
  puppet again;
  puppet_open(&again, r, 1);
  assert_int_equal(puppet_count(&again, WEFT_FRAME_HELLO), 1);
  puppet_free(&again);
  puppet_free(&a);
  puppet_free(&b);
}

static void a_pause_of_one_leaves_the_others(void **state) {
  rig *r = rig_of(state);
  puppet a, b, again;
  const weft_id *one = &r->space.devices[1].device;
  puppet_open(&a, r, 1);
  puppet_open(&b, r, 2);
  assert_int_equal(weft_node_pause(r->node, r->now, one), WEFT_OK);
  assert_int_equal(weft_node_pause(r->node, r->now, one), WEFT_OK);
  assert_true(weft_node_is_paused(r->node, one));
  assert_false(weft_node_is_paused(r->node, &r->space.devices[2].device));
  assert_false(weft_node_is_paused(r->node, NULL));
  rig_pump(r);
  puppet_flow(&a);
  puppet_flow(&b);
  assert_int_equal(puppet_count(&a, WEFT_FRAME_BYE), 1);
  assert_int_equal(puppet_count(&b, WEFT_FRAME_BYE), 0);
  /* It is told goodbye whenever it comes, and learns nothing. */
  puppet_make(&again, r, &r->space.devices[1]);
  puppet_flow(&again);
  assert_int_equal(puppet_count(&again, WEFT_FRAME_HELLO), 0);
  assert_int_equal(puppet_count(&again, WEFT_FRAME_BYE), 1);
  puppet_free(&again);
  weft_node_resume(r->node, r->now, one);
  puppet_open(&again, r, 1);
  assert_int_equal(puppet_count(&again, WEFT_FRAME_HELLO), 1);
  puppet_free(&again);
  puppet_free(&a);
  puppet_free(&b);
}

static void a_pause_stops_dialling(void **state) {
  rig *r = rig_of(state);
  assert_int_equal(weft_node_pause(r->node, r->now, NULL), WEFT_OK);
  assert_int_equal(weft_node_add_address(r->node, r->now, weft_bytes_str("10.0.0.9:7117")),
                   WEFT_OK);
  rig_wait(r, 120000);
  assert_int_equal(r->dials, 0);
  weft_node_resume(r->node, r->now, NULL);
  rig_wait(r, 10);
  assert_int_equal(r->dials, 1);
  /* A dial under way is given up. */
  assert_int_equal(weft_node_pause(r->node, r->now, NULL), WEFT_OK);
  rig_wait(r, 10);
  assert_true(rig_pipe_of(r, r->dialled)->closed);
}

static void pauses_are_bounded(void **state) {
  rig *r = rig_of(state);
  weft_id device = {{0}};
  for (unsigned i = 0; i < 256; i++) {
    device.b[0] = (uint8_t)i;
    assert_int_equal(weft_node_pause(r->node, r->now, &device), WEFT_OK);
  }
  device.b[1] = 1;
  assert_int_equal(weft_node_pause(r->node, r->now, &device), WEFT_ELIMIT);
  weft_node_resume(r->node, r->now, &device);
  weft_node_resume(r->node, r->now, NULL);
  device.b[1] = 0;
  assert_false(weft_node_is_paused(r->node, &device));
}

/* --- refusals --- */

static void what_is_refused_is_parked(void **state) {
  rig *r = rig_of(state);
  puppet *p = puppet_of(state);
  weft_node_park park;
  rig_write(r, 3);
  puppet_open(p, r, 1);
  weft_id log = weft_replica_held(r->replica)->heads[0].log;
  send_refused(p, &log, 3, WEFT_CODE_BAD_SIG);
  assert_int_equal(parked(r, &park), 1);
  assert_int_equal(r->notes[WEFT_NOTE_PARKED], 1);
  assert_int_equal(park.from, 3);
  assert_int_equal(park.why, WEFT_EBADSIG);
  assert_int_equal(weft_id_cmp(&park.log, &log), 0);
  assert_int_equal(weft_id_cmp(&park.device, &r->space.devices[1].device), 0);
  /* What comes before it is sent, and it is not, however often it is asked for. */
  puppet_forget(p);
  send_want(p, &log, 1, 4);
  assert_int_equal(puppet_count(p, WEFT_FRAME_CHANGES), 1);
  puppet_forget(p);
  send_want(p, &log, 3, 4);
  assert_int_equal(puppet_count(p, WEFT_FRAME_CHANGES), 0);
  assert_int_equal(puppet_count(p, WEFT_FRAME_NOHAVE), 1);
  /* A smaller one refused moves it; one that is not held is nonsense. */
  send_refused(p, &log, 2, WEFT_CODE_BAD_BODY);
  assert_int_equal(parked(r, &park), 1);
  assert_int_equal(park.from, 2);
  assert_int_equal(park.why, WEFT_EMALFORMED);
  send_refused(p, &log, 99, WEFT_CODE_BAD_BODY);
  weft_id other = {{7}};
  send_refused(p, &other, 1, WEFT_CODE_BAD_BODY);
  assert_int_equal(parked(r, &park), 1);
  assert_int_equal(park.from, 2);
}

static void a_refusal_holds_up_nothing_else(void **state) {
  rig *r = rig_of(state);
  puppet *p = puppet_of(state);
  rig_write(r, 2);
  puppet_open(p, r, 1);
  send_leaves(p);
  weft_id log = weft_replica_held(r->replica)->heads[0].log;
  send_refused(p, &log, 2, WEFT_CODE_BAD_SIG);
  puppet_forget(p);
  /* The same log is not pushed, another one of this device is. */
  rig_write(r, 1);
  rig_wait(r, 500);
  puppet_flow(p);
  assert_int_equal(puppet_count(p, WEFT_FRAME_GOSSIP), 0);
  assert_int_equal(puppet_count(p, WEFT_FRAME_EXPRESS), 0);
  weft_edit *e;
  weft_commit done;
  weft_edit_options o;
  weft_edit_options_init(&o);
  o.lane = WEFT_LANE_CRITICAL;
  weft_value v = {.kind = WEFT_INT, .as.integer = 5};
  assert_int_equal(weft_edit_begin(&e, r->replica, &o), WEFT_OK);
  assert_int_equal(weft_edit_set(e, weft_bytes_str("notes/b"), weft_bytes_str("/n"), &v), WEFT_OK);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  weft_edit_free(e);
  weft_node_changed(r->node, r->now);
  rig_wait(r, 500);
  puppet_flow(p);
  assert_int_equal(puppet_count(p, WEFT_FRAME_EXPRESS), 1);
  puppet_forget(p);
  send_want(p, &done.log, 1, done.seq);
  assert_int_equal(puppet_count(p, WEFT_FRAME_CHANGES), 1);
  assert_int_equal(parked(r, NULL), 1);
}

static void a_retry_offers_it_again(void **state) {
  rig *r = rig_of(state);
  puppet *p = puppet_of(state);
  rig_write(r, 3);
  puppet_open(p, r, 1);
  weft_id log = weft_replica_held(r->replica)->heads[0].log;
  send_refused(p, &log, 2, WEFT_CODE_BAD_SIG);
  weft_node_retry(r->node, r->now);
  rig_pump(r);
  assert_int_equal(parked(r, NULL), 0);
  puppet_forget(p);
  send_want(p, &log, 2, 4);
  assert_int_equal(puppet_count(p, WEFT_FRAME_CHANGES), 1);
  /* What found no place there is sent when it is asked for. */
  send_refused(p, &log, 2, WEFT_CODE_QUOTA);
  assert_int_equal(parked(r, NULL), 1);
  puppet_forget(p);
  send_want(p, &log, 2, 4);
  assert_int_equal(puppet_count(p, WEFT_FRAME_CHANGES), 1);
  assert_int_equal(parked(r, NULL), 0);
}

/* --- refusing --- */

static weft_buf chunk_of(rig *r, weft_replica *from, bool forged) {
  weft_buf chunk, out;
  weft_arena arena;
  weft_run *runs;
  size_t count;
  uint64_t last;
  weft__arena_init(&arena, &r->mem);
  weft__buf_init(&chunk, &r->mem, SIZE_MAX);
  weft__buf_init(&out, &r->mem, SIZE_MAX);
  const weft_id *log = &weft_replica_held(from)->heads[0].log;
  assert_int_equal(
      weft_replica_read_chunk(from, log, WEFT_BRANCH_ANY, 1, UINT64_MAX, &chunk, &last), WEFT_OK);
  assert_int_equal(weft__chunk_decode(&arena, weft__buf_view(&chunk), &runs, &count), WEFT_OK);
  if (forged) runs[0].sig.b[5] ^= 1;
  assert_int_equal(weft__chunk_encode(&out, &r->mem, runs, 1, WEFT_CHUNK_LIVE), WEFT_OK);
  weft__buf_free(&chunk);
  weft__arena_free(&arena);
  return out;
}

static void the_good_is_held_and_the_bad_is_named(void **state) {
  (void)state;
  rig r;
  puppet p;
  rig_make(&r, 4, 1);
  weft_replica *from[3];
  weft_buf chunks[3];
  weft_bytes list[3];
  for (size_t i = 0; i < 3; i++) {
    from[i] = test_space_memory(&r.space, i + 1);
    assert_int_equal(test_set(from[i], "notes/a",
                              i == 0   ? "/x"
                              : i == 1 ? "/y"
                                       : "/z",
                              "1"),
                     WEFT_OK);
    chunks[i] = chunk_of(&r, from[i], i == 1);
    list[i] = weft__buf_view(&chunks[i]);
  }
  puppet_open(&p, &r, 1);
  weft_msg_blobs m = {list, 3, 1};
  puppet_say(&p, WEFT_FRAME_GOSSIP, blobs, &m);
  rig_wait(&r, 1000);
  puppet_flow(&p);
  assert_int_equal(puppet_error(&p), WEFT_CODE_BAD_SIG);
  const rig_frame *f = puppet_last(&p, WEFT_FRAME_REFUSED);
  assert_non_null(f);
  weft_msg_nohave refused;
  assert_int_equal(weft__msg_nohave_read(rig_bytes(f), &refused), WEFT_OK);
  assert_int_equal(weft_id_cmp(&refused.log, &weft_replica_held(from[1])->heads[0].log), 0);
  assert_int_equal(refused.low, 1);
  assert_int_equal(refused.why, WEFT_CODE_BAD_SIG);
  char text[64];
  assert_string_equal(test_get(r.replica, "notes/a", "", text, sizeof text), "{\"x\":1,\"z\":1}");
  for (size_t i = 0; i < 3; i++) {
    weft__buf_free(&chunks[i]);
    weft_replica_free(from[i]);
  }
  puppet_free(&p);
  rig_free(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      rig_unit_test(a_pause_ends_every_link, 3),
      rig_unit_test(a_pause_of_one_leaves_the_others, 3),
      rig_unit_test(a_pause_stops_dialling, 2),
      rig_unit_test(pauses_are_bounded, 2),
      rig_unit_test(what_is_refused_is_parked, 2),
      rig_unit_test(a_refusal_holds_up_nothing_else, 2),
      rig_unit_test(a_retry_offers_it_again, 2),
      cmocka_unit_test(the_good_is_held_and_the_bad_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

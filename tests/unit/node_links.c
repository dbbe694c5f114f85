/* The life of links: how they end, what that does to the next dial, and what is remembered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/messages.h"
#include "tests/support/rig.h"

static const weft_ms hour = 3600000;

static void send_auth(puppet *p, uint8_t type, const weft_id *ids, size_t count) {
  weft_msg_auth m = {ids, count, NULL, 0};
  puppet_say(p, type, auth, &m);
}

static size_t records_in(const puppet *p) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_msg_blobs m;
  size_t count = 0;
  weft__arena_init(&arena, &mem);
  for (size_t i = 0; i < p->frame_count; i++) {
    if (p->frames[i].type != WEFT_FRAME_AUTH_REC) continue;
    weft_bytes body = weft_bytes_of(p->frames[i].at, p->frames[i].len);
    assert_int_equal(weft__msg_blobs_read(&arena, body, &m), WEFT_OK);
    count += m.count;
  }
  weft__arena_free(&arena);
  return count;
}

static weft_node_peer peer_of(rig *r, weft_arena *arena, size_t idx, size_t *count) {
  weft_node_peer *list;
  assert_int_equal(weft_node_peers(r->node, arena, &list, count), WEFT_OK);
  assert_true(idx < *count);
  return list[idx];
}

/* --- membership --- */

static void records_are_given_to_who_asks(void **state) {
  rig *r = rig_of(state);
  puppet *p = puppet_of(state);
  puppet_open(p, r, 1);
  puppet_forget(p);
  send_auth(p, WEFT_FRAME_AUTH_WANT, NULL, 0);
  assert_int_equal(records_in(p), 3);
  puppet_forget(p);
  weft_id ids[2] = {r->space.id, {{1}}};
  send_auth(p, WEFT_FRAME_AUTH_WANT, ids, 2);
  assert_int_equal(records_in(p), 1);
  puppet_forget(p);
  send_auth(p, WEFT_FRAME_AUTH_HAVE, ids, 2);
  assert_int_equal(puppet_count(p, WEFT_FRAME_AUTH_WANT), 1);
}

static void other_roots_are_asked_about_once(void **state) {
  rig *r = rig_of(state);
  puppet *p = puppet_of(state);
  puppet_open(p, r, 1);
  for (unsigned i = 0; i < 3; i++) {
    weft_msg_status m = {.token = 0, .auth_root = {9}};
    puppet_say(p, WEFT_FRAME_PONG, status, &m);
  }
  assert_int_equal(puppet_count(p, WEFT_FRAME_AUTH_WANT), 1);
}

static void too_much_proof_is_none(void **state) {
  (void)state;
  rig r;
  puppet p;
  rig_make_knowing(&r, 2, 1, 1);
  puppet_make(&p, &r, &r.space.devices[1]);
  static uint8_t junk[4096];
  weft_bytes records[40];
  for (size_t i = 0; i < 40; i++) records[i] = weft_bytes_of(junk, sizeof junk);
  weft_msg_blobs m = {records, 40, 0};
  weft_buf body = puppet_body();
  weft__msg_blobs_put(&body, &m);
  junk[0] = 1; /* a record at first sight */
  (void)!weft_session_send(p.session, WEFT_FRAME_AUTH_REC, weft__buf_view(&body));
  (void)!weft_session_send(p.session, WEFT_FRAME_AUTH_REC, weft__buf_view(&body));
  puppet_flow(&p);
  assert_true(puppet_error(&p) == WEFT_CODE_LIMIT || puppet_error(&p) == WEFT_CODE_BAD_BODY);
  assert_int_equal(r.records, 0);
  weft__buf_free(&body);
  puppet_free(&p);
  rig_free(&r);
}

static void an_empty_record_is_refused(void **state) {
  rig *r = rig_of(state);
  puppet *p = puppet_of(state);
  puppet_open(p, r, 1);
  puppet_send_blob(p, WEFT_FRAME_AUTH_REC, weft_bytes_of("", 0));
  assert_int_equal(puppet_error(p), WEFT_CODE_BAD_BODY);
}

/* Changes of a device that becomes known later are asked for again then. */
static void changes_wait_for_their_author(void **state) {
  (void)state;
  rig r;
  puppet p;
  rig_make_knowing(&r, 3, 2, 1);
  rig_other other = rig_other_make(&r, 2, 1);
  weft_head head = {other.log, other.last, other.head};
  puppet_open(&p, &r, 1);
  weft_msg_heads heads = {.at = &head, .count = 1, .done = true, .to = 9};
  puppet_say(&p, WEFT_FRAME_VV_LEAVES, heads, &heads);
  puppet_send_blob(&p, WEFT_FRAME_CHANGES, weft__buf_view(&other.chunk));
  rig_wait(&r, 1000);
  puppet_flow(&p);
  assert_int_equal(weft_replica_held(r.replica)->count, 0);
  assert_int_equal(puppet_count(&p, WEFT_FRAME_WANT), 1);
  weft_bytes record = weft_bytes_of(r.space.records[2], r.space.record_lens[2]);
  puppet_send_blob(&p, WEFT_FRAME_AUTH_REC, record);
  assert_int_equal(puppet_count(&p, WEFT_FRAME_WANT), 2);
  puppet_send_blob(&p, WEFT_FRAME_CHANGES, weft__buf_view(&other.chunk));
  rig_wait(&r, 1000);
  test_assert_same(r.replica, other.replica);
  rig_other_free(&other);
  puppet_free(&p);
  rig_free(&r);
}

/* --- endings --- */

static void a_peer_that_says_error_or_bye_is_left(void **state) {
  (void)state;
  static const struct {
    uint16_t code;
    weft_err why;
  } cases[] = {
      {WEFT_CODE_NOT_MEMBER, WEFT_EDENIED}, {WEFT_CODE_VERSION, WEFT_EVERSION},
      {WEFT_CODE_BUSY, WEFT_EAGAIN},        {WEFT_CODE_BAD_SIG, WEFT_EBADSIG},
      {WEFT_CODE_PROTO, WEFT_EPROTO},       {12345, WEFT_EPROTO},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    rig r;
    puppet p;
    rig_make(&r, 2, 1);
    puppet_open(&p, &r, 1);
    weft_msg_error m = {.code = cases[i].code};
    puppet_say(&p, WEFT_FRAME_ERROR, error, &m);
    assert_true(rig_pipe_of(&r, p.conn)->closed);
    assert_int_equal(rig_pipe_of(&r, p.conn)->why, cases[i].why);
    puppet_free(&p);
    rig_free(&r);
  }
  rig r;
  puppet p;
  rig_make(&r, 2, 1);
  puppet_open(&p, &r, 1);
  weft_msg_bye bye = {WEFT_BYE_SHUTDOWN, false};
  puppet_say(&p, WEFT_FRAME_BYE, bye, &bye);
  assert_int_equal(rig_pipe_of(&r, p.conn)->why, WEFT_EDONE);
  assert_int_equal(r.notes[WEFT_NOTE_DOWN], 1);
  puppet_free(&p);
  rig_free(&r);
}

static void a_stream_that_takes_nothing_is_slow(void **state) {
  rig *r = rig_of(state);
  puppet *p = puppet_of(state);
  puppet_open(p, r, 1);
  r->stall = true;
  assert_int_equal(test_set(r->replica, "notes/a", "/n", "1"), WEFT_OK);
  weft_node_changed(r->node, r->now);
  rig_pump(r);
  for (unsigned i = 0; i < 5; i++) {
    rig_wait(r, 13000);
    /* They go on talking, so that they are not merely silent. */
    weft_msg_status m = {.token = 0};
    weft_buf body = puppet_body();
    weft__msg_status_put(&body, &m);
    if (weft_session_send(p->session, WEFT_FRAME_PONG, weft__buf_view(&body)) == WEFT_OK) {
      weft_session_action a;
      while (weft_session_next(p->session, &a)) {
        if (a.kind == WEFT_SESSION_SEND) rig_feed(r, p->conn, a.data);
      }
    }
    weft__buf_free(&body);
  }
  assert_true(rig_pipe_of(r, p->conn)->closed);
  assert_int_equal(rig_pipe_of(r, p->conn)->why, WEFT_ETIMEOUT);
}

static void sessions_do_not_live_for_ever(void **state) {
  (void)state;
  rig r;
  puppet p;
  weft_node_options o = rig_options(&r, 2, 1);
  o.heartbeat_ms = o.dead_ms = o.anti_entropy_ms = UINT32_MAX;
  rig_make_with(&r, &o);
  puppet_open(&p, &r, 1);
  rig_wait(&r, 21 * hour);
  assert_false(rig_pipe_of(&r, p.conn)->closed);
  rig_wait(&r, 6 * hour);
  assert_true(rig_pipe_of(&r, p.conn)->closed);
  puppet_free(&p);
  rig_free(&r);
}

/* --- addresses --- */

static void a_changed_network_is_tried_at_once(void **state) {
  rig *r = rig_of(state);
  weft_arena arena;
  size_t count;
  weft__arena_init(&arena, &r->mem);
  weft_bytes address = weft_bytes_str("192.0.2.9:7600");
  assert_int_equal(weft_node_add_address(r->node, r->now, address), WEFT_OK);
  rig_pump(r);
  for (unsigned i = 0; i < 8; i++) {
    weft_node_dialled(r->node, r->now, r->dialled, WEFT_ETIMEOUT);
    rig_pump(r);
    if (i < 7) rig_wait(r, weft_node_deadline(r->node) - r->now);
  }
  unsigned before = r->dials;
  rig_wait(r, 1);
  assert_int_equal(r->dials, before);
  weft_node_peer peer = peer_of(r, &arena, 0, &count);
  assert_int_equal(peer.state, WEFT_PEER_OFFLINE);
  assert_int_equal(peer.last_error, WEFT_ETIMEOUT);
  assert_true(peer.next_try > r->now + 1000 && peer.next_try != WEFT_NEVER);
  weft_node_network_changed(r->node, r->now);
  rig_pump(r);
  assert_int_equal(r->dials, before + 1);
  /* Adding it again does not dial it twice. */
  assert_int_equal(weft_node_add_address(r->node, r->now, address), WEFT_OK);
  rig_pump(r);
  assert_int_equal(r->dials, before + 1);
  (void)peer_of(r, &arena, 0, &count);
  assert_int_equal(count, 1);
  weft__arena_free(&arena);
}

/* Tries what the last dial of `r` led to, as one that nobody answers. */
static void fail_dial(rig *r) {
  weft_node_dialled(r->node, r->now, r->dialled, WEFT_EUNREACHABLE);
  rig_pump(r);
}

static void what_does_not_answer_is_given_up(void **state) {
  (void)state;
  rig r;
  weft_arena arena;
  size_t count;
  weft_node_options o = rig_options(&r, 2, 1);
  o.retries_max = 2;
  rig_make_with(&r, &o);
  weft__arena_init(&arena, &r.mem);
  assert_int_equal(weft_node_add_address(r.node, r.now, weft_bytes_str("192.0.2.9:7600")), WEFT_OK);
  rig_pump(&r);
  for (unsigned i = 1; i < 3; i++) {
    fail_dial(&r);
    rig_wait(&r, weft_node_deadline(r.node) - r.now);
    assert_int_equal(r.dials, i + 1);
  }
  fail_dial(&r);
  rig_wait(&r, 3600000);
  assert_int_equal(r.dials, 3);
  assert_true(peer_of(&r, &arena, 0, &count).next_try == WEFT_NEVER);
  /* The network changes, and changes again: one redial at once, one a second later. */
  weft_node_network_changed(r.node, r.now);
  rig_pump(&r);
  assert_int_equal(r.dials, 4);
  fail_dial(&r);
  for (unsigned i = 0; i < 5; i++) weft_node_network_changed(r.node, r.now);
  rig_wait(&r, 100);
  assert_int_equal(r.dials, 4);
  rig_wait(&r, 900);
  assert_int_equal(r.dials, 5);
  weft__arena_free(&arena);
  rig_free(&r);
}

static void addresses_are_few_and_short(void **state) {
  rig *r = rig_of(state);
  char text[300];
  memset(text, 'a', sizeof text);
  assert_int_equal(weft_node_add_address(r->node, r->now, weft_bytes_of(text, 300)), WEFT_ELIMIT);
  assert_int_equal(weft_node_add_address(r->node, r->now, weft_bytes_of(text, 0)), WEFT_ELIMIT);
  weft_err err = WEFT_OK;
  unsigned added = 0;
  while (err == WEFT_OK) {
    snprintf(text, sizeof text, "host%u:1", added);
    err = weft_node_add_address(r->node, r->now, weft_bytes_str(text));
    added += err == WEFT_OK;
  }
  assert_int_equal(err, WEFT_ELIMIT);
  assert_int_equal(added, 1024);
  rig_pump(r);
  assert_int_equal(r->dials, 8); /* at once */
}

static void one_time_dials_are_not_repeated(void **state) {
  (void)state;
  rig r;
  weft_node_options o = rig_options(&r, 2, 1);
  o.dial_once = true;
  rig_make_with(&r, &o);
  assert_int_equal(weft_node_add_address(r.node, r.now, weft_bytes_str("h:1")), WEFT_OK);
  rig_pump(&r);
  weft_node_dialled(r.node, r.now, r.dialled, WEFT_ETIMEOUT);
  rig_wait(&r, hour);
  assert_int_equal(r.dials, 1);
  /* Asking for it again is another time. */
  assert_int_equal(weft_node_add_address(r.node, r.now, weft_bytes_str("h:1")), WEFT_OK);
  rig_pump(&r);
  assert_int_equal(r.dials, 2);
  rig_free(&r);
}

/* What a peer says it listens on is dialled when it is gone. */
static void addresses_are_learnt(void **state) {
  rig *r = rig_of(state);
  puppet *p = puppet_of(state);
  puppet_make(p, r, &r->space.devices[1]);
  weft_msg_hello m = puppet_hello(p);
  m.listen[0] = weft_bytes_str("192.0.2.7:7600");
  m.listen_count = 1;
  puppet_say(p, WEFT_FRAME_HELLO, hello, &m);
  rig_wait(r, 31000);
  assert_int_equal(r->dials, 0);
  weft_node_closed(r->node, r->now, p->conn, WEFT_EIO);
  rig_pipe_of(r, p->conn)->closed = true;
  rig_wait(r, 40000);
  assert_true(r->dials >= 1);
}

/* --- misuse and limits --- */

static void options_are_checked(void **state) {
  (void)state;
  rig r;
  weft_node *n;
  weft_node_options o = rig_options(&r, 1, 1), bad = o;
  bad.epoch_count = 0;
  assert_int_equal(weft_node_new(&n, &bad, 0, 0), WEFT_EMISUSE);
  bad = o;
  bad.identity = NULL;
  assert_int_equal(weft_node_new(&n, &bad, 0, 0), WEFT_EMISUSE);
  bad = o;
  bad.name = weft_bytes_of(&r, 65);
  assert_int_equal(weft_node_new(&n, &bad, 0, 0), WEFT_EMISUSE);
  bad = o;
  bad.links_max = 0;
  assert_int_equal(weft_node_new(&n, &bad, 0, 0), WEFT_EMISUSE);
  weft_bytes listen = weft_bytes_of(NULL, 0);
  bad = o;
  bad.listen = &listen;
  bad.listen_count = 1;
  assert_int_equal(weft_node_new(&n, &bad, 0, 0), WEFT_EMISUSE);
  assert_null(n);
  rig_make_with(&r, &o);
  /* Reports about what is not there do nothing. */
  weft_node_dialled(r.node, r.now, 99, WEFT_OK);
  weft_node_written(r.node, r.now, 99, 5);
  weft_node_closed(r.node, r.now, 99, WEFT_OK);
  weft_node_received(r.node, r.now, 0, 99, weft_bytes_str("x"));
  weft_node_held(r.node, r.now, 99, WEFT_OK, NULL, 0);
  weft_node_recorded(r.node, r.now, 99, WEFT_OK);
  weft_node_admitted(r.node, r.now, 99, WEFT_OK, 0);
  rig_pump(&r);
  weft_node_free(NULL);
  weft_joiner_free(NULL);
  rig_free(&r);
}

static void links_are_few(void **state) {
  (void)state;
  rig r;
  weft_node_options o = rig_options(&r, 1, 1);
  o.links_max = 3;
  rig_make_with(&r, &o);
  for (unsigned i = 0; i < 3; i++) assert_true(rig_accept(&r, "::1") != 0);
  assert_true(rig_accept(&r, "::1") == 0);
  rig_free(&r);
}

static void memory_is_bounded(void **state) {
  (void)state;
  rig r;
  puppet p;
  weft_node_options o = rig_options(&r, 2, 1);
  o.memory_max = 4096;
  rig_make_with(&r, &o);
  r.hold_late = true;
  rig_other other = rig_other_make(&r, 1, 1);
  puppet_open(&p, &r, 1);
  weft_bytes blob = weft__buf_view(&other.chunk);
  weft_msg_blobs m = {&blob, 1, 0};
  weft_buf body = puppet_body();
  weft__msg_blobs_put(&body, &m);
  for (unsigned i = 0; i < 100 && !p.closed; i++) {
    if (weft_session_send(p.session, WEFT_FRAME_CHANGES, weft__buf_view(&body)) != WEFT_OK) break;
    puppet_flow(&p);
  }
  assert_int_equal(puppet_error(&p), WEFT_CODE_BUSY);
  weft__buf_free(&body);
  rig_other_free(&other);
  puppet_free(&p);
  rig_free(&r);
}

/* Equal vectors, another digest: one of the stores is damaged. */
static void other_digests_are_told(void **state) {
  rig *r = rig_of(state);
  puppet *p = puppet_of(state);
  puppet_open(p, r, 1);
  rig_wait(r, 1000);
  assert_int_equal(r->notes[WEFT_NOTE_DIGEST], 0);
  puppet_free(p);
  puppet_make(p, r, &r->space.devices[1]);
  weft_msg_hello m = puppet_hello(p);
  m.boot = 2;
  m.digest[3] = 1;
  puppet_say(p, WEFT_FRAME_HELLO, hello, &m);
  rig_wait(r, 1000);
  assert_int_equal(r->notes[WEFT_NOTE_DIGEST], 1);
  assert_int_equal(r->notes[WEFT_NOTE_IN_STEP], 2);
}

/* What is asked is answered with where we stand. */
static void links_are_asked(void **state) {
  rig *r = rig_of(state);
  puppet *p = puppet_of(state);
  puppet_open(p, r, 1);
  puppet_forget(p);
  weft_node_ask(r->node, r->now);
  puppet_flow(p);
  assert_int_equal(puppet_count(p, WEFT_FRAME_PING), 1);
  weft_msg_status m = {.token = 5};
  puppet_say(p, WEFT_FRAME_PING, status, &m);
  const rig_frame *f = puppet_last(p, WEFT_FRAME_PONG);
  assert_non_null(f);
  assert_int_equal(weft__msg_status_read(rig_bytes(f), &m), WEFT_OK);
  assert_int_equal(m.token, 5);
}

/* Whatever a member says, in whatever order, at worst its own link ends; another one goes on. */
static void random_frames_harm_their_link_alone(void **state) {
  /* Frame types beside the kinds of bodies they have; some are never right. */
  static const struct {
    uint8_t type;
    unsigned kind;
  } frames[] = {
      {WEFT_FRAME_HELLO, 0},     {WEFT_FRAME_PING, 1},
      {WEFT_FRAME_PONG, 1},      {WEFT_FRAME_CREDIT, 2},
      {WEFT_FRAME_AUTH_HAVE, 5}, {WEFT_FRAME_AUTH_WANT, 5},
      {WEFT_FRAME_AUTH_REC, 6},  {WEFT_FRAME_CHANGES, 6},
      {WEFT_FRAME_GOSSIP, 6},    {WEFT_FRAME_VV_ROOT, 7},
      {WEFT_FRAME_VV_NODES, 8},  {WEFT_FRAME_VV_LEAVES, 9},
      {WEFT_FRAME_VV_DELTA, 9},  {WEFT_FRAME_IHAVE, 9},
      {WEFT_FRAME_WANT, 10},     {WEFT_FRAME_NOHAVE, 11},
      {WEFT_FRAME_ACK, 12},      {WEFT_FRAME_GRAFT, 5},
      {WEFT_FRAME_FORK, 6},      {0x90, 3},
      {WEFT_FRAME_VV_LEAVES, 9}, {WEFT_FRAME_VV_NODES, 8},
      {WEFT_FRAME_VV_ROOT, 7},   {WEFT_FRAME_WANT, 10},
  };
  rig *r = rig_of(state);
  puppet good, bad;
  rig_write(r, 5);
  puppet_open(&good, r, 1);
  for (uint64_t seed = 0; seed < 60; seed++) {
    test_rng rng = test_rng_of(seed);
    weft_alloc mem = weft_alloc_libc();
    weft_arena arena;
    weft__arena_init(&arena, &mem);
    rig_wait(r, 61000 * (seed % 7 == 6)); /* a ban runs out, links time out */
    if (rig_pipe_of(r, good.conn)->closed) {
      puppet_free(&good);
      puppet_open(&good, r, 1);
    }
    puppet_make(&bad, r, &r->space.devices[2]);
    if (bad.established && !bad.closed) puppet_greet(&bad);
    for (unsigned i = 0; i < 40 && !bad.closed; i++) {
      size_t pick = test_rng_below(&rng, sizeof frames / sizeof *frames);
      if (frames[pick].type == WEFT_FRAME_HELLO && test_rng_chance(&rng, 90)) continue;
      weft_buf body = puppet_body();
      test_message_any(frames[pick].kind, &rng, &arena, &body);
      if (test_rng_chance(&rng, 3)) body.at[test_rng_below(&rng, body.len)] ^= 1;
      bool sent =
          weft_session_send(bad.session, frames[pick].type, weft__buf_view(&body)) == WEFT_OK;
      weft__buf_free(&body);
      if (sent) puppet_flow(&bad);
      if (test_rng_chance(&rng, 10)) rig_wait(r, test_rng_below(&rng, 3000));
      puppet_forget(&bad);
    }
    puppet_free(&bad);
    puppet_forget(&good);
    weft__arena_free(&arena);
    rig_forget(r, bad.conn);
  }
  puppet_flow(&good);
  weft_node_ask(r->node, r->now);
  puppet_flow(&good);
  assert_true(puppet_count(&good, WEFT_FRAME_PING) >= 1 || good.closed);
  puppet_free(&good);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      rig_unit_test(records_are_given_to_who_asks, 3),
      rig_unit_test(other_roots_are_asked_about_once, 2),
      cmocka_unit_test(too_much_proof_is_none),
      rig_unit_test(an_empty_record_is_refused, 2),
      cmocka_unit_test(changes_wait_for_their_author),
      cmocka_unit_test(a_peer_that_says_error_or_bye_is_left),
      rig_unit_test(a_stream_that_takes_nothing_is_slow, 2),
      cmocka_unit_test(sessions_do_not_live_for_ever),
      rig_unit_test(a_changed_network_is_tried_at_once, 2),
      cmocka_unit_test(what_does_not_answer_is_given_up),
      rig_unit_test(addresses_are_few_and_short, 2),
      cmocka_unit_test(one_time_dials_are_not_repeated),
      rig_unit_test(addresses_are_learnt, 2),
      cmocka_unit_test(options_are_checked),
      cmocka_unit_test(links_are_few),
      cmocka_unit_test(memory_is_bounded),
      rig_unit_test(other_digests_are_told, 2),
      rig_unit_test(links_are_asked, 2),
      rig_unit_test(random_frames_harm_their_link_alone, 3),
  };
  return cmocka_run_group_tests_name("node_links", tests, NULL, NULL);
}

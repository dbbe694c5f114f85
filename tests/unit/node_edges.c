/* Limits and rare turns in the life of a node: what it is made of, who may connect, when it dials
 * again, and what becomes of work whose link has ended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/ticket.h"
#include "net/gate.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/rig.h"

/* --- making --- */

static void every_option_is_asked_for(void **state) {
  (void)state;
  rig r;
  weft_node *n;
  weft_node_options o = rig_options(&r, 1, 1);
  weft_node_epoch epochs[WEFT_GATE_SECRETS_MAX + 1];
  weft_bytes listen[WEFT_MESSAGE_LISTEN_MAX + 1];
  char longer[WEFT_ADDRESS_LEN_MAX + 1];
  memset(epochs, 1, sizeof epochs);
  memset(longer, 'a', sizeof longer);
  for (size_t i = 0; i <= WEFT_MESSAGE_LISTEN_MAX; i++) listen[i] = weft_bytes_str("h:1");
  for (unsigned what = 0; what < 6; what++) {
    weft_node_options bad = o;
    weft_bytes one = weft_bytes_of(longer, sizeof longer);
    if (what == 0) bad.crypto = NULL;
    if (what == 1) bad.epochs = NULL;
    if (what == 2) bad.source.held = NULL;
    if (what == 3) {
      bad.listen = listen;
      bad.listen_count = WEFT_MESSAGE_LISTEN_MAX + 1;
    }
    if (what == 4) {
      bad.listen = &one;
      bad.listen_count = 1;
    }
    if (what == 5) {
      bad.epochs = epochs;
      bad.epoch_count = WEFT_GATE_SECRETS_MAX + 1;
    }
    weft_err err = weft_node_new(&n, &bad, 0, 0);
    assert_int_equal(err, what == 5 ? WEFT_ELIMIT : WEFT_EMISUSE);
    assert_null(n);
  }
  o.listen = listen;
  o.listen_count = WEFT_MESSAGE_LISTEN_MAX;
  rig_make_with(&r, &o);
  rig_free(&r);
}

static void invites_are_few(void **state) {
  rig *r = rig_of(state);
  weft_node_invite invites[WEFT_GATE_SECRETS_MAX];
  memset(invites, 3, sizeof invites);
  assert_int_equal(weft_node_set_invites(r->node, invites, WEFT_GATE_SECRETS_MAX), WEFT_ELIMIT);
  assert_int_equal(weft_node_set_invites(r->node, invites, WEFT_GATE_SECRETS_MAX - 1), WEFT_OK);
  assert_int_equal(weft_node_set_invites(r->node, invites, 0), WEFT_OK);
}

/* What was not taken is freed with the node. */
static void actions_left_behind(void **state) {
  (void)state;
  rig r;
  test_fault_alloc f = {0};
  weft_node_options o = rig_options(&r, 2, 1);
  o.mem = test_fault_alloc_of(&f);
  rig_make_with(&r, &o);
  assert_int_equal(weft_node_add_address(r.node, r.now, weft_bytes_str("h:1")), WEFT_OK);
  weft_node_tick(r.node, r.now, r.now);
  puppet p;
  puppet_open(&p, &r, 1);
  uint64_t conn = p.conn;
  weft_node_closed(r.node, r.now, conn, WEFT_EIO); /* its notes stay in the queue */
  puppet_free(&p);
  rig_free(&r);
  assert_int_equal(f.live, 0);
}

/* --- who may connect --- */

static void hosts_beyond_memory(void **state) {
  rig *r = rig_of(state);
  char host[32];
  unsigned taken = 0;
  /* As many hosts as have been seen by nobody: the table of rates turns over. */
  for (unsigned i = 0; i < 600; i++) {
    snprintf(host, sizeof host, "10.0.%u.%u", i / 200, i % 200);
    uint64_t conn = rig_accept(r, host);
    rig_pump(r);
    if (!conn) continue;
    taken++;
    weft_node_closed(r->node, r->now, conn, WEFT_EIO);
    rig_pump(r);
    if (i % 50 == 0) rig_wait(r, 10);
  }
  assert_int_equal(taken, 600); /* each came once */
  /* One of them that comes again and again runs out of attempts. */
  for (taken = 0; taken < 50; taken++) {
    uint64_t conn = rig_accept(r, "10.0.2.199");
    if (!conn) break;
    weft_node_closed(r->node, r->now, conn, WEFT_EIO);
    rig_pump(r);
  }
  assert_in_range(taken, 1, 20);
  /* A name without a port is a host, too. */
  uint64_t conn = weft_node_accepted(r->node, r->now, weft_bytes_str("somewhere"), false);
  assert_true(conn != 0);
  weft_node_closed(r->node, r->now, conn, WEFT_EIO);
  rig_pump(r);
}

/* Who has a ticket and does not redeem it is not waited for. */
static void a_ticket_that_is_not_redeemed(void **state) {
  rig *r = rig_of(state);
  puppet *p = puppet_of(state);
  weft_ticket_keys keys;
  weft_key ticket = {{9}}, device = {{8}};
  weft_identity identity;
  weft_session_secret secret;
  weft__ticket_keys_derive(&keys, r->space.crypto, &ticket);
  weft_node_invite invite = {keys.invite, keys.join, keys.tag};
  assert_int_equal(weft_node_set_invites(r->node, &invite, 1), WEFT_OK);
  weft_identity_derive(&identity, r->space.crypto, &device);
  weft_session_secret_join(&secret, &r->space.id, &keys.join, &keys.tag);
  puppet_make_with(p, r, &identity, &secret);
  assert_true(p->established);
  rig_wait(r, 9000);
  assert_false(rig_pipe_of(r, p->conn)->closed);
  rig_wait(r, 20000);
  assert_true(rig_pipe_of(r, p->conn)->closed);
  assert_int_equal(r->admits, 0);
}

/* --- dialling again --- */

static void addresses_are_dialled_later_and_later(void **state) {
  rig *r = rig_of(state);
  assert_int_equal(weft_node_add_address(r->node, r->now, weft_bytes_str("192.0.2.9:7600")),
                   WEFT_OK);
  rig_pump(r);
  assert_int_equal(r->dials, 1);
  for (unsigned k = 0; k < 12; k++) {
    weft_node_dialled(r->node, r->now, r->dialled, WEFT_ETIMEOUT);
    rig_pump(r);
    weft_ms at = weft_node_deadline(r->node), most = (weft_ms)500 << k;
    if (most > 300000) most = 300000;
    assert_in_range(at - r->now, most / 2, most);
    rig_wait(r, at - r->now);
    assert_int_equal(r->dials, k + 2);
  }
  assert_int_equal(r->notes[WEFT_NOTE_FAILED], 12);
  weft_arena arena;
  weft_node_peer *list;
  size_t count;
  weft__arena_init(&arena, &r->mem);
  assert_int_equal(weft_node_peers(r->node, &arena, &list, &count), WEFT_OK);
  assert_int_equal(count, 1);
  assert_int_equal(list[0].state, WEFT_PEER_DIALLING);
  assert_int_equal(list[0].attempts, 12);
  weft__arena_free(&arena);
  /* A dial that never ends is given up. */
  rig_wait(r, 10000);
  assert_true(rig_pipe_of(r, r->dialled)->closed);
}

static void how_it_ended_says_when_to_try_again(void **state) {
  (void)state;
  static const struct {
    weft_err why;
    weft_ms least;
  } cases[] = {
      {WEFT_EDENIED, 3600000}, {WEFT_EUNKNOWN, 3600000}, {WEFT_EPROTO, 600000},
      {WEFT_EVERSION, 600000}, {WEFT_EBADSIG, 600000},   {WEFT_EMALFORMED, 600000},
      {WEFT_EUNREACHABLE, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    rig r;
    rig_make(&r, 2, 1);
    assert_int_equal(weft_node_add_address(r.node, r.now, weft_bytes_str("h:1")), WEFT_OK);
    rig_pump(&r);
    assert_int_equal(r.dials, 1);
    weft_node_dialled(r.node, r.now, r.dialled, cases[i].why);
    rig_pump(&r);
    weft_ms least = cases[i].least > 0 ? cases[i].least : 100;
    rig_wait(&r, least - 1);
    assert_int_equal(r.dials, 1);
    rig_wait(&r, 300000 + 1);
    assert_true(r.dials >= 2);
    rig_free(&r);
  }
}

/* An answer to a dial that was given up long ago, and bytes before it, change nothing. */
static void answers_that_come_too_late(void **state) {
  rig *r = rig_of(state);
  assert_int_equal(weft_node_add_address(r->node, r->now, weft_bytes_str("h:1")), WEFT_OK);
  rig_pump(r);
  uint64_t conn = r->dialled;
  rig_feed(r, conn, weft_bytes_str("not yet")); /* there is no session */
  assert_false(rig_pipe_of(r, conn)->closed);
  weft_node_dialled(r->node, r->now, conn, WEFT_OK);
  rig_pump(r);
  weft_node_dialled(r->node, r->now, conn, WEFT_OK); /* twice */
  rig_pump(r);
  size_t sent = rig_pipe_of(r, conn)->len;
  assert_true(sent > 0);
  weft_node_dialled(r->node, r->now, conn, WEFT_EIO);
  rig_pump(r);
  assert_int_equal(rig_pipe_of(r, conn)->len, sent);
}

/* --- records whose bringer is gone --- */

static bool keep_record(rig *r, const weft_node_action *a) {
  uint64_t *ticket = r->odd_ctx;
  if (a->kind != WEFT_NODE_RECORD) return false;
  *ticket = a->ticket;
  return true;
}

static void send_records(puppet *p, size_t first, size_t end) {
  weft_bytes list[TEST_DEVICES_MAX];
  weft_msg_blobs m = {list, 0, 0};
  weft_buf body = puppet_body();
  test_space *s = &p->r->space;
  for (size_t i = first; i < end; i++)
    list[m.count++] = weft_bytes_of(s->records[i], s->record_lens[i]);
  weft__msg_blobs_put(&body, &m);
  puppet_send_buf(p, WEFT_FRAME_AUTH_REC, &body);
}

static void records_of_a_link_that_ended(void **state) {
  (void)state;
  static const weft_err results[] = {WEFT_OK, WEFT_EEXIST, WEFT_EBADSIG, WEFT_EFROZEN};
  for (size_t i = 0; i < 4; i++) {
    rig r;
    puppet p, q;
    uint64_t ticket = 0;
    rig_make_knowing(&r, 6, 3, 1);
    puppet_open(&p, &r, 1);
    puppet_open(&q, &r, 2);
    r.odd = keep_record;
    r.odd_ctx = &ticket;
    send_records(&p, 3, 6);
    send_records(&q, 3, 4);
    assert_true(ticket != 0);
    uint64_t first = ticket;
    /* The one that is being stored stays, the others go with who brought them. */
    weft_node_closed(r.node, r.now, p.conn, WEFT_EIO);
    rig_pipe_of(&r, p.conn)->closed = true;
    rig_pump(&r);
    weft_node_recorded(r.node, r.now, first, results[i]);
    rig_pump(&r);
    assert_true(ticket != first); /* the other link's turn */
    weft_node_recorded(r.node, r.now, ticket, results[i]);
    rig_pump(&r);
    assert_int_equal(rig_pipe_of(&r, q.conn)->closed, results[i] == WEFT_EBADSIG);
    puppet_free(&p);
    puppet_free(&q);
    rig_free(&r);
  }
}

static void a_record_of_another_space(void **state) {
  rig *r = rig_of(state);
  puppet *p = puppet_of(state);
  test_space other;
  test_space_make(&other, 2, 99);
  puppet_open(p, r, 1);
  weft_bytes one = weft_bytes_of(other.records[1], other.record_lens[1]);
  puppet_send_blob(p, WEFT_FRAME_AUTH_REC, one);
  assert_true(rig_pipe_of(r, p->conn)->closed);
  assert_int_equal(puppet_error(p), WEFT_CODE_BAD_BODY);
  assert_int_equal(r->records, 0);
}

/* --- time --- */

/* They answer every PING, and take nothing of what is sent. */
static void a_stream_that_stands_still(void **state) {
  rig *r = rig_of(state);
  puppet *p = puppet_of(state);
  weft_ms least = 0;
  puppet_open(p, r, 1);
  r->stall = true;
  assert_int_equal(test_set(r->replica, "notes/a", "/n", "1"), WEFT_OK);
  weft_node_changed(r->node, r->now);
  rig_pump(r);
  weft_ms from = r->now;
  while (!rig_pipe_of(r, p->conn)->closed) {
    rig_wait(r, 1000);
    puppet_flow(p);
    const rig_frame *ping = puppet_last(p, WEFT_FRAME_PING);
    if (ping) {
      weft_msg_status m;
      assert_int_equal(weft__msg_status_read(weft_bytes_of(ping->at, ping->len), &m), WEFT_OK);
      weft_buf body = puppet_body();
      weft__msg_status_put(&body, &m);
      (void)!weft_session_send(p->session, WEFT_FRAME_PONG, weft__buf_view(&body));
      weft__buf_free(&body);
    }
    puppet_flow(p);
    puppet_forget(p);
    least = r->now - from;
    assert_true(least < 200000);
  }
  assert_true(least >= 59000);
  assert_int_equal(rig_pipe_of(r, p->conn)->why, WEFT_ETIMEOUT);
}

/* --- the replica behind it --- */

static void sources_end_with_their_memory(void **state) {
  rig *r = rig_of(state);
  test_fault_alloc f = {.fail_at = 1};
  weft_alloc mem = test_fault_alloc_of(&f);
  weft_replica_source *source;
  weft_node_action note = {.kind = WEFT_NODE_NOTE};
  weft_source_span *spans;
  weft_source answers;
  weft_arena arena;
  size_t count;
  weft_id author;
  weft_vector none = {.count = 0};
  for (unsigned i = 0; i < 3; i++)
    assert_int_equal(test_set(r->replica, "notes/a", "/n", i % 2 ? "1" : "2"), WEFT_OK);
  weft_id log = weft_replica_held(r->replica)->heads[0].log;
  assert_int_equal(weft__replica_source_new(&source, &mem, r->replica), WEFT_ENOMEM);
  assert_null(source);
  weft__replica_source_free(NULL);
  f.fail_at = 0;
  assert_int_equal(weft__replica_source_new(&source, &mem, r->replica), WEFT_OK);
  assert_int_equal(weft__replica_last_hold(source), WEFT_OK);
  assert_false(weft__replica_carry_out(source, &note, r->node, r->now)); /* nothing to carry out */
  weft__replica_source_fill(source, &answers);
  weft__arena_init(&arena, &mem);
  bool failed = true;
  for (size_t k = 1; failed; k++) {
    f.calls = 0;
    f.fail_at = k;
    weft_err err = answers.author(answers.ctx, &log, &author);
    failed = f.calls >= k;
    f.fail_at = 0;
    assert_int_equal(err, failed ? WEFT_ENOMEM : WEFT_OK);
  }
  assert_int_equal(weft_id_cmp(&author, &r->space.devices[0].device), 0);
  for (size_t k = 1; k < 4; k++) {
    f.calls = 0;
    f.fail_at = k;
    weft__arena_free(&arena);
    weft_err err = answers.missing(answers.ctx, &arena, &none, 9, &spans, &count);
    failed = f.calls >= k;
    f.fail_at = 0;
    assert_int_equal(err, failed ? WEFT_ENOMEM : WEFT_OK);
    assert_int_equal(count, failed ? 0 : 1);
  }
  weft__arena_free(&arena);
  weft__replica_source_free(source);
  assert_int_equal(f.live, 0);
}

/* --- what everybody has --- */

static void send_ack(puppet *p, size_t who, const weft_head *h, uint64_t counter) {
  weft_vector v;
  weft_msg_ack item = {.whole = true};
  weft_msg_acks m = {&item, 1};
  weft_buf body = puppet_body();
  test_space *s = &p->r->space;
  weft__vector_init(&v, &p->mem);
  assert_int_equal(weft__vector_raise(&v, NULL, h), WEFT_OK);
  weft__ack_shorten(&v);
  weft__ack_sign(&item.ack, s->crypto, &s->devices[who], &s->id, counter, &v);
  item.delta = v.heads;
  item.count = v.count;
  weft__msg_acks_put(&body, &m);
  puppet_send_buf(p, WEFT_FRAME_ACK, &body);
  weft__vector_free(&v);
}

enum { INVENTED = 2000, ROUNDS = 40, PIECE_MAX = 1 << 20 };

typedef struct pieces {
  size_t largest;
} pieces;

static void *piece_alloc(void *ctx, size_t len) {
  pieces *p = ctx;
  if (len > p->largest) p->largest = len;
  return malloc(len);
}

static void *piece_grow(void *ctx, void *at, size_t len) {
  pieces *p = ctx;
  if (len > p->largest) p->largest = len;
  return realloc(at, len);
}

static void piece_free(void *ctx, void *at) {
  (void)ctx;
  free(at);
}

/* A node whose pieces of memory are looked at, and a member linked to it. */
static void open_watched(rig *r, puppet *p, pieces *seen) {
  weft_node_options o = rig_options(r, 2, 1);
  o.mem = (weft_alloc){seen, piece_alloc, piece_grow, piece_free};
  rig_make_with(r, &o);
  puppet_open(p, r, 1);
}

/* A member that shows other logs with every acknowledgement leaves nothing of the old ones. */
static void logs_that_are_shown_no_more(void **state) {
  (void)state;
  rig r;
  puppet p;
  pieces seen = {0};
  open_watched(&r, &p, &seen);
  weft_vector v;
  weft_msg_ack item = {.whole = true};
  weft_msg_acks m = {&item, 1};
  for (uint64_t round = 1; round <= ROUNDS; round++) {
    weft_buf body = puppet_body();
    weft__vector_init(&v, &p.mem);
    for (uint64_t i = 0; i < INVENTED; i++) {
      weft_head h = {.seq = 1};
      uint8_t name[3] = {(uint8_t)(i >> 8), (uint8_t)i, (uint8_t)round}; /* between the old ones */
      memcpy(h.log.b, name, sizeof name);
      assert_int_equal(weft__vector_raise(&v, NULL, &h), WEFT_OK);
    }
    weft__ack_sign(&item.ack, r.space.crypto, &r.space.devices[1], &r.space.id, round, &v);
    item.delta = v.heads;
    item.count = v.count;
    weft__msg_acks_put(&body, &m);
    puppet_send_buf(&p, WEFT_FRAME_ACK, &body);
    weft__vector_free(&v);
  }
  assert_int_equal(puppet_error(&p), 0);
  assert_in_range(seen.largest, INVENTED * sizeof(weft_head), PIECE_MAX);
  puppet_free(&p);
  rig_free(&r);
}

/* Asking for what a device shows that is no member leaves nothing, either. */
static void strangers_asked_for(void **state) {
  (void)state;
  rig r;
  puppet p;
  pieces seen = {0};
  open_watched(&r, &p, &seen);
  for (size_t i = 0; i < ROUNDS * INVENTED; i += WEFT_MESSAGE_ACKS_MAX) {
    weft_msg_ack items[WEFT_MESSAGE_ACKS_MAX];
    weft_msg_acks m = {items, WEFT_MESSAGE_ACKS_MAX};
    weft_buf body = puppet_body();
    memset(items, 0, sizeof items);
    for (size_t k = 0; k < WEFT_MESSAGE_ACKS_MAX; k++) {
      size_t name = i + k;
      memcpy(items[k].ack.device.b, &name, sizeof name);
    }
    weft__msg_acks_put(&body, &m);
    puppet_send_buf(&p, WEFT_FRAME_ACK, &body);
  }
  assert_int_equal(puppet_error(&p), 0);
  assert_in_range(seen.largest, 1, PIECE_MAX);
  puppet_free(&p);
  rig_free(&r);
}

/* The floor is what the last of all members has acknowledged, and no member can push it beyond. */
static void the_floor_is_the_least(void **state) {
  rig *r = rig_of(state);
  puppet p[2];
  weft_vector floor;
  weft__vector_init(&floor, &r->mem);
  for (unsigned i = 0; i < 4; i++)
    assert_int_equal(test_set(r->replica, "notes/a", "/n", i % 2 ? "1" : "2"), WEFT_OK);
  weft_node_changed(r->node, r->now);
  weft_head head = weft_replica_held(r->replica)->heads[0];
  weft_head half = head;
  half.seq = 2;
  assert_int_equal(weft_replica_id_at(r->replica, &head.log, WEFT_BRANCH_ANY, 2, &half.id),
                   WEFT_OK);
  for (size_t i = 0; i < 2; i++) puppet_open(&p[i], r, i + 1);
  assert_int_equal(weft_node_floor(r->node, &floor), WEFT_OK);
  assert_int_equal(floor.count, 0);
  send_ack(&p[0], 1, &head, 5);
  assert_int_equal(weft_node_floor(r->node, &floor), WEFT_OK);
  assert_int_equal(floor.count, 0);
  send_ack(&p[1], 2, &half, 5);
  assert_int_equal(weft_node_floor(r->node, &floor), WEFT_OK);
  assert_int_equal(floor.count, 1);
  assert_int_equal(weft__head_cmp(&floor.heads[0], &half), 0);
  send_ack(&p[1], 2, &head, 6);
  assert_int_equal(weft_node_floor(r->node, &floor), WEFT_OK);
  assert_int_equal(weft__head_cmp(&floor.heads[0], &head), 0);
  weft__vector_free(&floor);
  for (size_t i = 0; i < 2; i++) puppet_free(&p[i]);
}

/* A peer in step that is heard of now and then is not asked where it stands. */
static void who_is_in_step_is_not_asked(void **state) {
  rig *r = rig_of(state);
  puppet *p = puppet_of(state);
  puppet_open(p, r, 1);
  rig_wait(r, 1000);
  puppet_forget(p);
  for (unsigned i = 0; i < 30; i++) {
    weft_msg_status m = {.token = 5};
    puppet_say(p, WEFT_FRAME_PING, status, &m);
    rig_wait(r, 10000);
    puppet_flow(p);
  }
  assert_int_equal(puppet_count(p, WEFT_FRAME_PONG), 30);
  assert_int_equal(puppet_count(p, WEFT_FRAME_PING), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      rig_unit_test(who_is_in_step_is_not_asked, 2),
      cmocka_unit_test(every_option_is_asked_for),
      rig_unit_test(invites_are_few, 1),
      cmocka_unit_test(actions_left_behind),
      rig_unit_test(hosts_beyond_memory, 1),
      rig_unit_test(a_ticket_that_is_not_redeemed, 1),
      rig_unit_test(addresses_are_dialled_later_and_later, 2),
      cmocka_unit_test(how_it_ended_says_when_to_try_again),
      rig_unit_test(answers_that_come_too_late, 2),
      cmocka_unit_test(records_of_a_link_that_ended),
      rig_unit_test(a_record_of_another_space, 3),
      rig_unit_test(a_stream_that_stands_still, 2),
      rig_unit_test(the_floor_is_the_least, 3),
      cmocka_unit_test(logs_that_are_shown_no_more),
      cmocka_unit_test(strangers_asked_for),
      rig_unit_test(sources_end_with_their_memory, 2),
  };
  return cmocka_run_group_tests_name("node_edges", tests, NULL, NULL);
}

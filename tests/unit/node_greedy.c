/* Members that keep a node busy: they claim what they do not have, answer with something else,
 * hold back what was asked while they send other things, and ask for the same for ever.  What that
 * costs others is bounded, and who asks honestly is served. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/messages.h"
#include "tests/support/rig.h"

static void send_heads(puppet *p, uint8_t type, const weft_head *heads, size_t count, bool ask) {
  weft_msg_heads m = {.at = heads, .count = count, .done = true, .to = 1, .ask = ask};
  puppet_say(p, type, heads, &m);
}

/* Sends a part of a log as some replica has it. */
static void send_run(puppet *p, weft_replica *from, const weft_id *log, uint64_t first,
                     uint64_t to) {
  uint64_t last;
  weft_buf chunk = puppet_body();
  assert_int_equal(weft_replica_read_chunk(from, log, WEFT_BRANCH_ANY, first, to, &chunk, &last),
                   WEFT_OK);
  puppet_send_blob(p, WEFT_FRAME_CHANGES, weft__buf_view(&chunk));
  weft__buf_free(&chunk);
}

static void want(puppet *p, const weft_head *head, uint64_t from) {
  weft_msg_range range = {.log = head->log, .from = from, .to = head->seq, .head = head->id};
  weft_msg_want m = {&range, 1};
  puppet_say(p, WEFT_FRAME_WANT, want, &m);
}

static void grant(puppet *p, uint32_t len) { puppet_say(p, WEFT_FRAME_CREDIT, credit, len); }

/* Time passes, and who is asked whether it is there says so. */
static void pass(rig *r, puppet *const *all, size_t count, weft_ms ms) {
  rig_wait(r, ms);
  for (size_t i = 0; i < count; i++) {
    weft_msg_status m;
    puppet_flow(all[i]);
    const rig_frame *f = puppet_last(all[i], WEFT_FRAME_PING);
    if (!f || all[i]->closed) continue;
    assert_int_equal(weft__msg_status_read(rig_bytes(f), &m), WEFT_OK);
    puppet_say(all[i], WEFT_FRAME_PONG, status, &m);
  }
}

/* A replica of a device that has written so many changes of some size. */
static weft_replica *writer(rig *r, size_t device, unsigned changes, size_t len) {
  weft_replica *out = test_space_memory(&r->space, device);
  char *text = malloc(len + 3);
  assert_non_null(text);
  memset(text, 'x', len + 2);
  text[0] = text[len + 1] = '"';
  text[len + 2] = '\0';
  for (unsigned i = 0; i < changes; i++) {
    text[1] = (char)('a' + i % 26);
    assert_int_equal(test_set(out, "notes/a", "/n", text), WEFT_OK);
  }
  free(text);
  return out;
}

/* --- who is asked --- */

/* A head that does not exist is asked for a few times, though each time there is an answer. */
static void a_claim_costs_few_questions(void **state) {
  rig *r = rig_of(state);
  puppet p, *all[] = {&p};
  weft_replica *w = writer(r, 1, 3, 4);
  weft_head head = weft_replica_held(w)->heads[0];
  puppet_open(&p, r, 2);
  send_heads(&p, WEFT_FRAME_VV_LEAVES, &head, 1, false);
  send_run(&p, w, &head.log, 1, head.seq);
  pass(r, all, 1, 100);
  test_assert_same(r->replica, w);
  puppet_forget(&p);
  weft_head lie = head;
  lie.seq--;
  memset(lie.id.b, 9, sizeof lie.id.b);
  send_heads(&p, WEFT_FRAME_IHAVE, &lie, 1, false);
  assert_int_equal(puppet_count(&p, WEFT_FRAME_WANT), 1);
  for (unsigned i = 0; i < 20; i++) {
    send_run(&p, w, &head.log, 2, head.seq);
    pass(r, all, 1, 50);
  }
  assert_in_range(puppet_count(&p, WEFT_FRAME_WANT), 1, 4);
  weft_replica_free(w);
  puppet_free(&p);
}

/* Somebody who answers with all but what was asked is not waited for when others have it. */
static void what_is_held_back_is_asked_elsewhere(void **state) {
  (void)state;
  rig r;
  puppet liar, honest, *all[] = {&liar, &honest};
  rig_make(&r, 4, 1);
  weft_replica *w = writer(&r, 1, 3, 4), *own = writer(&r, 2, 40, 4);
  weft_head wanted = weft_replica_held(w)->heads[0];
  weft_id chatter = weft_replica_held(own)->heads[0].log;
  puppet_open(&liar, &r, 2);
  send_heads(&liar, WEFT_FRAME_VV_LEAVES, &wanted, 1, false);
  assert_int_equal(puppet_count(&liar, WEFT_FRAME_WANT), 1);
  puppet_open(&honest, &r, 3);
  send_heads(&honest, WEFT_FRAME_VV_LEAVES, &wanted, 1, false);
  assert_int_equal(puppet_count(&honest, WEFT_FRAME_WANT), 0);
  unsigned seconds = 0;
  for (; puppet_count(&honest, WEFT_FRAME_WANT) == 0 && seconds < 120; seconds += 3) {
    send_run(&liar, own, &chatter, 1 + seconds / 3, 1 + seconds / 3);
    pass(&r, all, 2, 3000);
    send_heads(&honest, WEFT_FRAME_VV_LEAVES, &wanted, 1, false);
  }
  assert_in_range(seconds, 55, 70);
  send_run(&honest, w, &wanted.log, 1, wanted.seq);
  pass(&r, all, 2, 100);
  assert_true(weft_replica_held(r.replica)->count == 2);
  weft_replica_free(w);
  weft_replica_free(own);
  puppet_free(&liar);
  puppet_free(&honest);
  rig_free(&r);
}

/* Where nobody else has it, the question stands. */
static void who_alone_has_it_is_waited_for(void **state) {
  rig *r = rig_of(state);
  puppet p, *all[] = {&p};
  weft_replica *w = writer(r, 1, 3, 4), *own = writer(r, 2, 60, 4);
  weft_head wanted = weft_replica_held(w)->heads[0];
  weft_id chatter = weft_replica_held(own)->heads[0].log;
  puppet_open(&p, r, 2);
  send_heads(&p, WEFT_FRAME_VV_LEAVES, &wanted, 1, false);
  for (unsigned i = 1; i <= 60; i++) {
    send_run(&p, own, &chatter, i, i);
    pass(r, all, 1, 3000);
  }
  assert_int_equal(puppet_count(&p, WEFT_FRAME_WANT), 1);
  weft_replica_free(w);
  weft_replica_free(own);
  puppet_free(&p);
}

/* --- who is served --- */

static size_t bytes_in(puppet *p, uint8_t type) {
  size_t len = 0;
  for (size_t i = 0; i < p->frame_count; i++) {
    if (p->frames[i].type == type) len += p->frames[i].len;
  }
  return len;
}

enum { ROUNDS = 1200, AT_ONCE = 4096 * 1024 + 600 * 1024, PER_MS = 128 };

/* Asks for the same for two minutes, over one link or always a new one; gives what came. */
static size_t ask_on_and_on(rig *r, const weft_head *head, bool anew) {
  puppet p, *all[] = {&p};
  size_t len = 0;
  puppet_open(&p, r, 1);
  for (unsigned i = 0; i < ROUNDS; i++) {
    if (anew && i % 20 == 0) {
      puppet_free(&p);
      rig_forget(r, p.conn);
      pass(r, all, 0, 2000);
      puppet_open(&p, r, 1);
    }
    want(&p, head, 1);
    pass(r, all, 1, 100);
    size_t some = bytes_in(&p, WEFT_FRAME_CHANGES);
    len += some;
    puppet_forget(&p);
    if (some) grant(&p, (uint32_t)some);
  }
  puppet_free(&p);
  return len;
}

static void the_same_is_not_served_for_ever(void **state) {
  (void)state;
  for (int anew = 0; anew < 2; anew++) {
    rig r;
    puppet other;
    rig_make(&r, 3, 1);
    char text[3002];
    test_rng rng = test_rng_of(7);
    memset(text, 'y', sizeof text);
    text[0] = text[3000] = '"';
    text[3001] = '\0';
    for (unsigned i = 0; i < 100; i++) {
      for (unsigned k = 1; k < 3000; k++) text[k] = (char)('a' + test_rng_below(&rng, 26));
      assert_int_equal(test_set(r.replica, "notes/a", "/n", text), WEFT_OK);
    }
    weft_node_changed(r.node, r.now);
    weft_head head = weft_replica_held(r.replica)->heads[0];
    weft_ms began = r.now;
    size_t len = ask_on_and_on(&r, &head, anew);
    size_t passed = (size_t)(r.now - began) * PER_MS;
    assert_in_range(len, 1 << 20, AT_ONCE + passed + (1 << 20));
    /* Somebody else has nothing of it. */
    puppet_open(&other, &r, 2);
    want(&other, &head, 1);
    puppet *them = &other;
    for (unsigned i = 0; i < 20; i++) pass(&r, &them, 1, 100);
    assert_true(bytes_in(&other, WEFT_FRAME_CHANGES) > 10000);
    puppet_free(&other);
    rig_free(&r);
  }
}

/* Lists that can be asked for are not sent for ever either: the link ends. */
static void lists_are_not_sent_for_ever(void **state) {
  (void)state;
  for (int records = 0; records < 2; records++) {
    rig r;
    puppet p, *all[] = {&p};
    rig_make(&r, 40, 1);
    for (size_t i = 1; i < 40; i++) {
      weft_replica *w = writer(&r, i, 1, 4);
      (void)test_pull(r.replica, w, 100);
      weft_replica_free(w);
    }
    weft_node_changed(r.node, r.now);
    puppet_open(&p, &r, 1);
    unsigned rounds = 0;
    while (!p.closed && rounds++ < 30000) {
      weft_msg_auth m = {NULL, 0, NULL, 0};
      weft_buf body = puppet_body();
      weft__msg_auth_put(&body, &m);
      if (records) puppet_send_buf(&p, WEFT_FRAME_AUTH_WANT, &body);
      if (!records) send_heads(&p, WEFT_FRAME_VV_LEAVES, NULL, 0, true);
      weft__buf_free(&body);
      pass(&r, all, 1, 6);
      if (!p.closed) {
        assert_int_equal(puppet_error(&p), 0);
        puppet_forget(&p);
      }
    }
    assert_true(p.closed);
    assert_int_equal(puppet_error(&p), WEFT_CODE_FLOW);
    assert_true(rounds > 100);
    puppet_free(&p);
    rig_free(&r);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      rig_unit_test(a_claim_costs_few_questions, 3),
      cmocka_unit_test(what_is_held_back_is_asked_elsewhere),
      rig_unit_test(who_alone_has_it_is_waited_for, 3),
      cmocka_unit_test(the_same_is_not_served_for_ever),
      cmocka_unit_test(lists_are_not_sent_for_ever),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

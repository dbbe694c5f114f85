/* Presence in a node: who is told, what is refused, and what it costs on the wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/presence.h"
#include "tests/support/rig.h"

/* A puppet that has a mind of its own about presence. */
typedef struct guest {
  puppet p;
  weft_presence *mind;
  weft_identity identity;
} guest;

static void mind_make(guest *g, rig *r, const weft_identity *identity) {
  g->identity = *identity;
  weft_presence_options o = {.mem = r->mem,
                             .crypto = r->space.crypto,
                             .identity = &g->identity,
                             .space = r->space.id,
                             .heartbeat_ms = 15000,
                             .gone_ms = 45000,
                             .update_ms = 50};
  assert_int_equal(weft__presence_new(&g->mind, &o), WEFT_OK);
  weft__presence_link_up(g->mind, 1, &r->space.devices[0].device);
}

static void guest_make(guest *g, rig *r, size_t idx) {
  puppet_make(&g->p, r, &r->space.devices[idx]);
  puppet_greet(&g->p);
  mind_make(g, r, &r->space.devices[idx]);
}

static void guest_free(guest *g) {
  weft__presence_free(g->mind);
  puppet_free(&g->p);
}

static void guest_set(guest *g, const char *session, const char *doc) {
  weft_presence_session s = {weft_bytes_str(session), weft_bytes_str(doc), NULL, 0};
  assert_int_equal(weft__presence_set(g->mind, g->p.r->now, &s), WEFT_OK);
  weft__presence_tick(g->mind, g->p.r->now, 1);
}

/* What the mind has to say, as a frame. */
static weft_buf guest_frame(guest *g, void (*spoil)(weft_msg_statement *s)) {
  weft_arena arena;
  weft_msg_presence m;
  weft_buf body = puppet_body();
  weft__arena_init(&arena, &g->p.mem);
  assert_true(weft__presence_next(g->mind, g->p.r->now, 1, &arena, &m));
  weft_msg_statement s = m.at[0];
  if (spoil) {
    spoil(&s);
    m.at = &s;
  }
  weft__msg_presence_put(&body, &m);
  weft__arena_free(&arena);
  return body;
}

static void guest_speak(guest *g) {
  weft_buf body = guest_frame(g, NULL);
  puppet_send_buf(&g->p, WEFT_FRAME_PRESENCE, &body);
}

/* Gives the mind the last frame that came. */
static size_t guest_listen(guest *g) {
  const rig_frame *f = puppet_last(&g->p, WEFT_FRAME_PRESENCE);
  weft_arena arena;
  weft_msg_presence m;
  weft__arena_init(&arena, &g->p.mem);
  assert_non_null(f);
  assert_int_equal(weft__msg_presence_read(&arena, rig_bytes(f), &m), WEFT_OK);
  size_t count = m.count;
  for (size_t i = 0; i < m.count; i++) {
    assert_int_equal(weft__presence_take(g->mind, g->p.r->now, 1, &m.at[i]), WEFT_OK);
  }
  weft__arena_free(&arena);
  return count;
}

static size_t here(rig *r) {
  weft_arena arena;
  weft_present *list;
  size_t count;
  weft__arena_init(&arena, &r->mem);
  assert_int_equal(weft_node_presence(r->node, &arena, &list, &count), WEFT_OK);
  weft__arena_free(&arena);
  return count;
}

static weft_presence_session session_at(const char *session, const char *doc) {
  return (weft_presence_session){weft_bytes_str(session), weft_bytes_str(doc), NULL, 0};
}

static void sessions_are_told_and_heard(void **state) {
  rig *r = rig_of(state);
  guest g;
  guest_make(&g, r, 1);
  puppet_flow(&g.p);
  assert_int_equal(puppet_count(&g.p, WEFT_FRAME_PRESENCE), 0); /* nobody is here */
  weft_presence_session s = session_at("tab", "notes/a");
  assert_int_equal(weft_node_presence_set(r->node, r->now, &s), WEFT_OK);
  rig_pump(r);
  puppet_flow(&g.p);
  assert_int_equal(guest_listen(&g), 1);
  assert_int_equal(r->notes[WEFT_NOTE_JOINED], 1);
  guest_set(&g, "app", "notes/a");
  guest_speak(&g);
  assert_int_equal(r->notes[WEFT_NOTE_JOINED], 2);
  assert_int_equal(here(r), 2);
  assert_int_equal(weft_node_presence_leave(r->node, r->now, s.session, s.doc), WEFT_OK);
  assert_int_equal(weft_node_presence_leave(r->node, r->now, s.session, s.doc), WEFT_ENOTFOUND);
  rig_wait(r, 100);
  assert_int_equal(here(r), 1);
  assert_int_equal(r->notes[WEFT_NOTE_LEFT], 1);
  guest_free(&g);
  rig_wait(r, 46000);
  assert_int_equal(here(r), 0);
  assert_int_equal(r->notes[WEFT_NOTE_LEFT], 2);
}

/* Told at once over a new link, and passed on to a third device with its age. */
static void a_new_link_hears_of_everybody(void **state) {
  rig *r = rig_of(state);
  guest g, h;
  guest_make(&g, r, 1);
  guest_set(&g, "app", "notes/a");
  guest_speak(&g);
  weft_presence_session s = session_at("tab", "notes/a");
  assert_int_equal(weft_node_presence_set(r->node, r->now, &s), WEFT_OK);
  rig_wait(r, 5000);
  guest_make(&h, r, 2);
  rig_wait(r, 100);
  puppet_flow(&h.p);
  assert_int_equal(guest_listen(&h), 2);
  weft_arena arena;
  weft_present *list;
  size_t count;
  weft__arena_init(&arena, &r->mem);
  assert_int_equal(weft__presence_list(h.mind, r->now, &arena, &list, &count), WEFT_OK);
  assert_int_equal(count, 2);
  for (size_t i = 0; i < count; i++) assert_in_range(list[i].age_ms, 5000, 5200);
  weft__arena_free(&arena);
  guest_free(&h);
  guest_free(&g);
}

static void goodbye_comes_before_bye(void **state) {
  rig *r = rig_of(state);
  guest g;
  guest_make(&g, r, 1);
  weft_presence_session s = session_at("tab", "notes/a");
  assert_int_equal(weft_node_presence_set(r->node, r->now, &s), WEFT_OK);
  rig_pump(r);
  puppet_flow(&g.p);
  assert_int_equal(guest_listen(&g), 1);
  weft_node_stop(r->node, r->now);
  rig_pump(r);
  puppet_flow(&g.p);
  assert_int_equal(puppet_count(&g.p, WEFT_FRAME_BYE), 1);
  assert_int_equal(puppet_count(&g.p, WEFT_FRAME_PRESENCE), 2);
  assert_int_equal(guest_listen(&g), 1);
  weft_arena arena;
  weft_present *list;
  size_t count;
  weft__arena_init(&arena, &r->mem);
  assert_int_equal(weft__presence_list(g.mind, r->now, &arena, &list, &count), WEFT_OK);
  assert_int_equal(count, 0);
  weft__arena_free(&arena);
  guest_free(&g);
}

/* What comes after a long silence may have been on its way as long, until a PONG proves it new. */
static void a_stream_that_stood_still_is_doubted(void **state) {
  rig *r = rig_of(state);
  guest g;
  guest_make(&g, r, 1);
  rig_wait(r, 30000);
  puppet_flow(&g.p);
  puppet_forget(&g.p);
  guest_set(&g, "app", "notes/a");
  guest_speak(&g);
  assert_int_equal(here(r), 1);
  const rig_frame *f = puppet_last(&g.p, WEFT_FRAME_PING);
  assert_non_null(f); /* is that of now? */
  weft_msg_status ping;
  assert_int_equal(weft__msg_status_read(rig_bytes(f), &ping), WEFT_OK);
  rig_wait(r, 14999);
  assert_int_equal(here(r), 1);
  rig_wait(r, 1);
  assert_int_equal(here(r), 0); /* 30 s and 15 s */
  puppet_say(&g.p, WEFT_FRAME_PONG, status, &ping);
  guest_set(&g, "app2", "notes/a");
  guest_speak(&g);
  assert_int_equal(here(r), 2);
  rig_wait(r, 16000);
  assert_int_equal(here(r), 2);
  guest_free(&g);
}

static void spoil_sig(weft_msg_statement *s) { s->sig.b[0] ^= 1; }
static void spoil_digest(weft_msg_statement *s) { s->digest[0] ^= 1; }
static void spoil_device(weft_msg_statement *s) { s->device.b[0] ^= 1; }

static void what_is_wrong_ends_the_link(void **state) {
  (void)state;
  static const struct {
    void (*spoil)(weft_msg_statement *s);
    unsigned code;
  } cases[] = {
      {spoil_sig, WEFT_CODE_BAD_SIG},
      {spoil_digest, WEFT_CODE_BAD_BODY},
      {spoil_device, 0}, /* of a stranger: passed over */
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    rig r;
    guest g;
    rig_make(&r, 2, 1);
    guest_make(&g, &r, 1);
    guest_set(&g, "app", "notes/a");
    weft_buf body = guest_frame(&g, cases[i].spoil);
    puppet_send_buf(&g.p, WEFT_FRAME_PRESENCE, &body);
    assert_int_equal(puppet_error(&g.p), cases[i].code);
    assert_int_equal(here(&r), 0);
    guest_free(&g);
    rig_free(&r);
  }
  rig r;
  guest g;
  rig_make(&r, 2, 1);
  guest_make(&g, &r, 1);
  weft_msg_statement twice[2];
  weft_msg_presence m = {twice, 2, false, NULL, 0};
  memset(twice, 0, sizeof twice);
  puppet_say(&g.p, WEFT_FRAME_PRESENCE, presence, &m);
  assert_int_equal(puppet_error(&g.p), WEFT_CODE_BAD_BODY);
  guest_free(&g);
  rig_free(&r);
  rig_make(&r, 2, 1);
  guest_make(&g, &r, 1);
  puppet_send(&g.p, WEFT_FRAME_PRESENCE, weft_bytes_str("\xc0"));
  assert_int_equal(puppet_error(&g.p), WEFT_CODE_BAD_BODY);
  guest_free(&g);
  rig_free(&r);
}

/* Bytes in both directions of one link, over an idle hour. */
static size_t idle_hour(bool present) {
  rig r;
  guest g;
  rig_make(&r, 2, 1);
  guest_make(&g, &r, 1);
  weft_value where = {.kind = WEFT_STRING, .as = {.bytes = weft_bytes_str("/exercises/3/title")}};
  weft_presence_session s = session_at("tab-1", "workouts/leg-day");
  s.state = &where;
  if (present) assert_int_equal(weft_node_presence_set(r.node, r.now, &s), WEFT_OK);
  size_t bytes = 0;
  for (unsigned second = 0; second < 3600; second++) {
    rig_wait(&r, 1000);
    bytes += rig_pipe_of(&r, g.p.conn)->len;
    puppet_forget(&g.p);
    puppet_flow(&g.p);
    weft_msg_status m;
    const rig_frame *f = puppet_last(&g.p, WEFT_FRAME_PING);
    if (f && weft__msg_status_read(rig_bytes(f), &m) == WEFT_OK) {
      puppet_say(&g.p, WEFT_FRAME_PONG, status, &m);
    }
  }
  assert_false(g.p.closed);
  guest_free(&g);
  rig_free(&r);
  return bytes;
}

static void an_idle_session_is_cheap(void **state) {
  (void)state;
  size_t without = idle_hour(false), with = idle_hour(true);
  double per_minute = (double)(with - without) / 60;
  print_message("presence: %.0f bytes a minute for an idle session on a link\n", per_minute);
  assert_true(per_minute > 500 && per_minute < 1400);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      rig_unit_test(sessions_are_told_and_heard, 3),
      rig_unit_test(a_new_link_hears_of_everybody, 3),
      rig_unit_test(goodbye_comes_before_bye, 2),
      rig_unit_test(a_stream_that_stood_still_is_doubted, 2),
      cmocka_unit_test(what_is_wrong_ends_the_link),
      cmocka_unit_test(an_idle_session_is_cheap),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

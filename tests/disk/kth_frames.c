/* Every frame that a node can receive, and every call of a node, with the k-th allocation of the
 * node failing: at most the link in question ends, others go on, nothing is leaked, and the same
 * said again on a new link is understood. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/metrics.h"
#include "tests/disk/kth.h"
#include "tests/support/messages.h"
#include "tests/support/rig.h"

typedef struct stage {
  rig r;
  test_fault_alloc alloc;
  puppet one, two;
  weft_replica *other; /* of device 1: what it may offer */
  weft_buf chunk;
  weft_head head;
  weft_arena arena;
} stage;

typedef struct frame_case {
  const char *name;
  uint8_t type;
  void (*body)(stage *s, weft_buf *out);
  void (*call)(stage *s); /* instead of a frame */
} frame_case;

/* --- bodies --- */

static void status(stage *s, weft_buf *out) {
  weft_msg_status m = {.token = 7, .hlc = weft_replica_clock(s->r.replica)};
  weft__msg_status_put(out, &m);
}
static void credit(stage *s, weft_buf *out) {
  (void)s;
  weft__msg_credit_put(out, 100);
}
static void error(stage *s, weft_buf *out) {
  weft_msg_error m = {.code = WEFT_CODE_BUSY, .text = weft_bytes_str("busy")};
  (void)s;
  weft__msg_error_put(out, &m);
}
static void bye(stage *s, weft_buf *out) {
  weft_msg_bye m = {WEFT_BYE_USER, true};
  (void)s;
  weft__msg_bye_put(out, &m);
}
static void hello(stage *s, weft_buf *out) {
  weft_msg_hello m = puppet_hello(&s->one);
  weft__msg_hello_put(out, &m);
}
static void auth(stage *s, weft_buf *out) {
  weft_msg_auth m = {.heads = &s->r.space.id, .head_count = 1};
  weft__msg_auth_put(out, &m);
}
static void records(stage *s, weft_buf *out) {
  weft_bytes blobs[4];
  for (size_t i = 0; i < 4; i++) {
    blobs[i] = weft_bytes_of(s->r.space.records[i], s->r.space.record_lens[i]);
  }
  weft_msg_blobs m = {blobs, 4, 0};
  weft__msg_blobs_put(out, &m);
}
static void turn(stage *s, weft_buf *out) {
  weft_msg_turn m = {.count = 1};
  (void)s;
  weft__msg_turn_put(out, &m);
}
static void nodes(stage *s, weft_buf *out) {
  static weft_msg_node node = {.prefix_len = 1};
  weft_msg_nodes m = {&node, 1};
  (void)s;
  memset(node.child, 3, sizeof node.child);
  weft__msg_nodes_put(out, &m);
}
static void heads(stage *s, weft_buf *out) {
  weft_msg_heads m = {.at = &s->head, .count = 1, .done = true, .ask = true, .to = 1};
  weft__msg_heads_put(out, &m);
}
static void want(stage *s, weft_buf *out) {
  const weft_head *h = &weft_replica_held(s->r.replica)->heads[0];
  weft_msg_range range = {.log = h->log, .from = 1, .to = h->seq};
  weft_msg_want m = {&range, 1};
  weft__msg_want_put(out, &m);
}
static void chunks(stage *s, weft_buf *out) {
  weft_bytes blob = weft__buf_view(&s->chunk);
  weft_msg_blobs m = {&blob, 1, 0};
  weft__msg_blobs_put(out, &m);
}
static void nohave(stage *s, weft_buf *out) {
  weft_msg_nohave m = {.log = s->head.log, .low = 1, .high = 2, .why = WEFT_NOHAVE_NEVER};
  weft__msg_nohave_put(out, &m);
}
static void generated(stage *s, weft_buf *out, unsigned kind) {
  test_rng rng = test_rng_of(kind);
  test_message_any(kind, &rng, &s->arena, out);
}
static void acks(stage *s, weft_buf *out) { generated(s, out, 12); }
static void redeem(stage *s, weft_buf *out) { generated(s, out, 13); }
static void admit(stage *s, weft_buf *out) { generated(s, out, 14); }
static void refuse(stage *s, weft_buf *out) { generated(s, out, 15); }
static void presence(stage *s, weft_buf *out) { generated(s, out, 16); }
static void nothing(stage *s, weft_buf *out) {
  (void)s;
  (void)out;
}

/* --- calls --- */

static void call_changed(stage *s) {
  assert_int_equal(test_set(s->r.replica, "notes/a", "/n", "5"), WEFT_OK);
  weft_node_changed(s->r.node, s->r.now);
  rig_wait(&s->r, 200);
}
static void call_address(stage *s) {
  weft_err err = weft_node_add_address(s->r.node, s->r.now, weft_bytes_str("10.1.1.1:7117"));
  assert_true(err == WEFT_OK || err == WEFT_ENOMEM);
  rig_pump(&s->r);
  if (err != WEFT_OK || s->r.dials == 0) return;
  weft_node_dialled(s->r.node, s->r.now, s->r.dialled, WEFT_OK);
  rig_wait(&s->r, 100);
  weft_node_closed(s->r.node, s->r.now, s->r.dialled, WEFT_EIO);
  rig_pump(&s->r);
  weft_node_network_changed(s->r.node, s->r.now);
  rig_pump(&s->r);
}
static void call_invites(stage *s) {
  weft_node_invite invites[2];
  memset(invites, 1, sizeof invites);
  weft_err err = weft_node_set_invites(s->r.node, invites, 2);
  assert_true(err == WEFT_OK || err == WEFT_ENOMEM);
}
static void call_accepted(stage *s) {
  uint64_t conn = weft_node_accepted(s->r.node, s->r.now, weft_bytes_str("10.2.2.2:4"), false);
  if (conn == 0) return;
  weft_node_received(s->r.node, s->r.now, 1750000000000u, conn, weft_bytes_str("GET / HTTP/1.1"));
  rig_pump(&s->r);
}
static void call_ask(stage *s) {
  weft_node_ask(s->r.node, s->r.now);
  rig_wait(&s->r, 20000); /* heartbeats, anti-entropy */
}
static void call_lists(stage *s) {
  weft_alloc mem = test_fault_alloc_of(&s->alloc);
  weft_arena arena;
  weft_node_peer *peers;
  weft_node_acked *acked;
  weft_present *present;
  size_t count;
  weft__arena_init(&arena, &mem);
  weft_err err = weft_node_peers(s->r.node, &arena, &peers, &count);
  assert_true(err == WEFT_ENOMEM || (err == WEFT_OK && count >= 2));
  err = weft_node_acked_list(s->r.node, &arena, &acked, &count);
  assert_true(err == WEFT_ENOMEM || (err == WEFT_OK && count == 3));
  weft_node_reach *reach;
  const weft_id *log = &weft_replica_held(s->r.replica)->heads[0].log;
  err = weft_node_reaches(s->r.node, &arena, log, &reach, &count);
  assert_true(err == WEFT_ENOMEM || err == WEFT_OK);
  weft_node_park *parked;
  err = weft_node_parked(s->r.node, &arena, &parked, &count);
  assert_true(err == WEFT_ENOMEM || err == WEFT_OK);
  weft_vector floor;
  weft__vector_init(&floor, &mem);
  err = weft_node_floor(s->r.node, &floor);
  assert_true(err == WEFT_ENOMEM || err == WEFT_OK);
  weft__vector_free(&floor);
  weft_metrics_options mo;
  weft_metrics *m;
  weft_metrics_options_init(&mo);
  mo.mem = mem;
  if (weft_metrics_new(&m, &mo) == WEFT_OK) {
    err = weft_node_measure(s->r.node, m);
    assert_true(err == WEFT_ENOMEM || err == WEFT_OK);
    weft_metrics_free(m);
  }
  err = weft_node_presence(s->r.node, &arena, &present, &count);
  assert_true(err == WEFT_ENOMEM || err == WEFT_OK);
  weft__arena_free(&arena);
}
static void call_presence(stage *s) {
  weft_presence_session session = {.session = weft_bytes_str("tab"), .doc = weft_bytes_str("t/a")};
  weft_err err = weft_node_presence_set(s->r.node, s->r.now, &session);
  assert_true(err == WEFT_OK || err == WEFT_ENOMEM);
  rig_wait(&s->r, 100);
  err = weft_node_presence_leave(s->r.node, s->r.now, session.session, session.doc);
  assert_true(err == WEFT_OK || err == WEFT_ENOTFOUND || err == WEFT_ENOMEM);
  rig_wait(&s->r, 100);
}
static void call_pause(stage *s) {
  weft_err err = weft_node_pause(s->r.node, s->r.now, &s->r.space.devices[3].device);
  assert_true(err == WEFT_OK || err == WEFT_ENOMEM);
  bool paused = weft_node_is_paused(s->r.node, &s->r.space.devices[3].device);
  assert_int_equal(paused, err == WEFT_OK);
  weft_node_resume(s->r.node, s->r.now, NULL);
  weft_node_retry(s->r.node, s->r.now);
  rig_wait(&s->r, 100);
}
static void call_stop(stage *s) {
  weft_node_stop(s->r.node, s->r.now);
  rig_pump(&s->r);
}

static const frame_case cases[] = {
    {"HELLO", WEFT_FRAME_HELLO, hello, NULL},
    {"PING", WEFT_FRAME_PING, status, NULL},
    {"PONG", WEFT_FRAME_PONG, status, NULL},
    {"CREDIT", WEFT_FRAME_CREDIT, credit, NULL},
    {"ERROR", WEFT_FRAME_ERROR, error, NULL},
    {"BYE", WEFT_FRAME_BYE, bye, NULL},
    {"AUTH_HAVE", WEFT_FRAME_AUTH_HAVE, auth, NULL},
    {"AUTH_WANT", WEFT_FRAME_AUTH_WANT, auth, NULL},
    {"AUTH_REC", WEFT_FRAME_AUTH_REC, records, NULL},
    {"VV_ROOT", WEFT_FRAME_VV_ROOT, turn, NULL},
    {"VV_NODES", WEFT_FRAME_VV_NODES, nodes, NULL},
    {"VV_LEAVES", WEFT_FRAME_VV_LEAVES, heads, NULL},
    {"VV_DELTA", WEFT_FRAME_VV_DELTA, heads, NULL},
    {"WANT", WEFT_FRAME_WANT, want, NULL},
    {"CHANGES", WEFT_FRAME_CHANGES, chunks, NULL},
    {"NOHAVE", WEFT_FRAME_NOHAVE, nohave, NULL},
    {"ACK", WEFT_FRAME_ACK, acks, NULL},
    {"GOSSIP", WEFT_FRAME_GOSSIP, chunks, NULL},
    {"IHAVE", WEFT_FRAME_IHAVE, heads, NULL},
    {"GRAFT", WEFT_FRAME_GRAFT, nothing, NULL},
    {"PRUNE", WEFT_FRAME_PRUNE, nothing, NULL},
    {"REDEEM", WEFT_FRAME_REDEEM, redeem, NULL},
    {"ADMIT", WEFT_FRAME_ADMIT, admit, NULL},
    {"REFUSE", WEFT_FRAME_REFUSE, refuse, NULL},
    {"FORK", WEFT_FRAME_FORK, chunks, NULL},
    {"PRESENCE", WEFT_FRAME_PRESENCE, presence, NULL},
    {"a frame of the future", 0xa0, nothing, NULL},
    {"changed", 0, NULL, call_changed},
    {"addresses", 0, NULL, call_address},
    {"invites", 0, NULL, call_invites},
    {"accepted", 0, NULL, call_accepted},
    {"ask and tick", 0, NULL, call_ask},
    {"lists", 0, NULL, call_lists},
    {"presence", 0, NULL, call_presence},
    {"pause", 0, NULL, call_pause},
    {"stop", 0, NULL, call_stop},
};

/* --- the stage --- */

static void stage_make(stage *s) {
  memset(s, 0, sizeof *s);
  weft_alloc libc = weft_alloc_libc();
  weft__arena_init(&s->arena, &libc);
  weft_node_options o = rig_options(&s->r, 4, 1);
  o.mem = test_fault_alloc_of(&s->alloc);
  rig_make_with(&s->r, &o);
  assert_int_equal(test_set(s->r.replica, "notes/a", "/n", "1"), WEFT_OK);
  weft_node_changed(s->r.node, s->r.now);
  s->other = test_space_memory(&s->r.space, 1);
  assert_int_equal(test_set(s->other, "notes/b", "/n", "1"), WEFT_OK);
  assert_int_equal(test_set(s->other, "notes/b", "/n", "2"), WEFT_OK);
  s->head = weft_replica_held(s->other)->heads[0];
  uint64_t last;
  weft__buf_init(&s->chunk, &libc, SIZE_MAX);
  assert_int_equal(weft_replica_read_chunk(s->other, &s->head.log, WEFT_BRANCH_ANY, 1, s->head.seq,
                                           &s->chunk, &last),
                   WEFT_OK);
  puppet_make(&s->two, &s->r, &s->r.space.devices[2]);
  puppet_greet(&s->two);
}

static void stage_link(stage *s, bool greet) {
  puppet_make(&s->one, &s->r, &s->r.space.devices[1]);
  if (greet) puppet_greet(&s->one);
}

/* Whether nothing was leaked. */
static bool stage_free(stage *s) {
  puppet_free(&s->one);
  puppet_free(&s->two);
  weft_replica_free(s->other);
  weft__buf_free(&s->chunk);
  weft__arena_free(&s->arena);
  rig_free(&s->r);
  return s->alloc.live == 0;
}

static void say(stage *s, const frame_case *c) {
  if (c->call) {
    c->call(s);
    return;
  }
  weft_buf body = puppet_body();
  c->body(s, &body);
  puppet_send_buf(&s->one, c->type, &body);
}

static bool linked(const stage *s, const puppet *p) {
  return !rig_pipe_of((rig *)(uintptr_t)&s->r, p->conn)->closed;
}

static bool bad(const frame_case *c, size_t k, bool sticky, const char *what) {
  printf("%s: allocation %zu%s: %s\n", c->name, k, sticky ? " and all after it" : "", what);
  return false;
}

/* Once with the k-th allocation failing, then again on a link that stands. */
static bool frame_try(const frame_case *c, size_t k, bool sticky, bool *reached) {
  stage s;
  bool good = true, greet = c->type != WEFT_FRAME_HELLO;
  bool ends = c->type == WEFT_FRAME_BYE || c->call == call_stop;
  bool offers = c->body == chunks && c->type != WEFT_FRAME_FORK;
  stage_make(&s);
  stage_link(&s, greet);
  s.alloc.calls = 0;
  s.alloc.fail_at = k;
  s.alloc.sticky = sticky;
  say(&s, c);
  *reached = k > 0 && s.alloc.calls >= k;
  s.alloc.fail_at = 0;
  rig_wait(&s.r, 12000); /* a HOLD that failed makes a node pause */
  if (!ends && !offers && !c->call && !linked(&s, &s.two))
    good = bad(c, k, sticky, "another link ended");
  if (good && *reached && !ends && !c->call) {
    puppet_free(&s.one);
    stage_link(&s, greet);
    if (!s.one.established) good = bad(c, k, sticky, "no new link");
    if (good) say(&s, c);
  }
  rig_wait(&s.r, 1000);
  if (good && offers) {
    const weft_vector *held = weft_replica_held(s.r.replica);
    if (held->count != 2) good = bad(c, k, sticky, "what was offered is not held");
  }
  if (!stage_free(&s) && good) good = bad(c, k, sticky, "leaks");
  return good;
}

/* A node that cannot be made takes nothing. */
static bool node_new_try(size_t k, bool sticky, bool *reached) {
  stage s;
  memset(&s, 0, sizeof s);
  weft_node_options o = rig_options(&s.r, 2, 1);
  o.mem = test_fault_alloc_of(&s.alloc);
  s.alloc.fail_at = k;
  s.alloc.sticky = sticky;
  weft_err err = weft_node_new(&s.r.node, &o, 1000, 1750000000000u);
  *reached = s.alloc.calls >= k;
  s.alloc.fail_at = 0;
  bool good = err == (*reached ? WEFT_ENOMEM : WEFT_OK);
  rig_free(&s.r);
  return (good && s.alloc.live == 0) || bad(&(frame_case){.name = "node_new"}, k, sticky, "bad");
}

void kth_frames(kth_tally *t) {
  for (size_t i = 0; i <= sizeof cases / sizeof *cases; i++) {
    const frame_case *c = i < sizeof cases / sizeof *cases ? &cases[i] : NULL;
    for (int sticky = 0; sticky < 2; sticky++) {
      bool reached = true, good = true;
      for (size_t k = 1; reached && good; k += k < 40 ? 1 : 1 + k / 8) {
        good = c ? frame_try(c, k, sticky, &reached) : node_new_try(k, sticky, &reached);
        t->tried += reached;
        t->bad += !good;
      }
    }
    t->frames++;
  }
}

#define HERE   "tests/disk/kth_frames.c"
#define JOINER "tests/unit/joiner.c: every allocation of both sides"
#define EDGE   "tests/disk/kth_edge.c"
const char *const kth_elsewhere[][2] = {
    {"weft_joiner_closed", JOINER},
    {"weft_joiner_new", JOINER},
    {"weft_joiner_next", JOINER},
    {"weft_joiner_received", JOINER},
    {"weft_joiner_tick", JOINER},
    {"weft_node_accepted", HERE},
    {"weft_node_acked_list", HERE},
    {"weft_node_add_address", HERE},
    {"weft_node_admitted", JOINER},
    {"weft_node_ask", HERE},
    {"weft_node_changed", HERE},
    {"weft_node_closed", HERE},
    {"weft_node_dialled", HERE},
    {"weft_node_floor", HERE},
    {"weft_node_is_paused", HERE},
    {"weft_node_held", HERE},
    {"weft_node_network_changed", HERE},
    {"weft_node_measure", HERE},
    {"weft_node_new", HERE},
    {"weft_node_next", HERE},
    {"weft_node_parked", HERE},
    {"weft_node_pause", HERE},
    {"weft_node_peers", HERE},
    {"weft_node_presence", HERE},
    {"weft_node_presence_leave", HERE},
    {"weft_node_presence_set", HERE},
    {"weft_node_reaches", HERE},
    {"weft_node_received", HERE},
    {"weft_node_recorded", HERE},
    {"weft_node_resume", HERE},
    {"weft_node_retry", HERE},
    {"weft_node_set_invites", HERE},
    {"weft_node_stop", HERE},
    {"weft_node_tick", HERE},
    {"weft_node_written", HERE},
    {"weft_uv_join", EDGE},
    {"weft_uv_node_ask", EDGE},
    {"weft_uv_node_changed", EDGE},
    {"weft_uv_node_connect", EDGE},
    {"weft_uv_node_free", EDGE},
    {"weft_uv_node_pause", EDGE},
    {"weft_uv_node_presence_leave", EDGE},
    {"weft_uv_node_presence_set", EDGE},
    {"weft_uv_node_resume", EDGE},
    {"weft_uv_node_retry", EDGE},
    {"weft_uv_node_set_invites", EDGE},
    {"weft_uv_node_start", EDGE},
    {"weft_uv_node_stop", EDGE},
};
const size_t kth_elsewhere_count = sizeof kth_elsewhere / sizeof *kth_elsewhere;

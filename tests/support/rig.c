#include "tests/support/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/ticket.h"

static const weft_ms wall_start = 1750000000000;

weft_node_options rig_options_knowing(rig *r, size_t devices, size_t known, uint64_t seed) {
  memset(r, 0, sizeof *r);
  r->mem = weft_alloc_libc();
  r->now = 1000;
  test_space_make(&r->space, devices, seed);
  r->space.count = known;
  r->replica = test_space_memory(&r->space, 0);
  assert_int_equal(weft__replica_source_new(&r->source, &r->mem, r->replica), WEFT_OK);
  memcpy(r->epoch.id, r->space.id.b, sizeof r->epoch.id);
  memset(r->epoch.secret.b, 0x77, sizeof r->epoch.secret.b);
  weft_node_options o;
  weft_node_options_init(&o);
  o.identity = &r->space.devices[0];
  o.space = r->space.id;
  o.name = weft_bytes_str("rig");
  o.epochs = &r->epoch;
  o.epoch_count = 1;
  memset(o.seed, (int)seed, sizeof o.seed);
  weft__replica_source_fill(r->source, &o.source);
  r->space.count = devices;
  return o;
}

weft_node_options rig_options(rig *r, size_t devices, uint64_t seed) {
  return rig_options_knowing(r, devices, devices, seed);
}

void rig_make_with(rig *r, weft_node_options *o) {
  assert_int_equal(weft_node_new(&r->node, o, r->now, wall_start + r->now), WEFT_OK);
}

void rig_make(rig *r, size_t devices, uint64_t seed) {
  weft_node_options o = rig_options(r, devices, seed);
  rig_make_with(r, &o);
}

void rig_make_knowing(rig *r, size_t devices, size_t known, uint64_t seed) {
  weft_node_options o = rig_options_knowing(r, devices, known, seed);
  rig_make_with(r, &o);
}

void rig_free(rig *r) {
  weft_node_free(r->node);
  weft__replica_source_free(r->source);
  weft_replica_free(r->replica);
  for (size_t i = 0; i < r->pipe_count; i++) free(r->pipes[i].at);
  test_space_free(&r->space);
}

rig_pipe *rig_pipe_of(rig *r, uint64_t conn) {
  for (size_t i = 0; i < r->pipe_count; i++) {
    if (r->pipes[i].conn == conn) return &r->pipes[i];
  }
  assert_true(r->pipe_count < RIG_CONNS_MAX);
  rig_pipe *p = &r->pipes[r->pipe_count++];
  memset(p, 0, sizeof *p);
  p->conn = conn;
  return p;
}

void rig_forget(rig *r, uint64_t conn) {
  rig_pipe *p = rig_pipe_of(r, conn);
  if (!p->closed) weft_node_closed(r->node, r->now, conn, WEFT_EIO);
  free(p->at);
  *p = r->pipes[--r->pipe_count];
}

/* Admits whoever proved to hold the ticket: device 0 is the creator. */
static void admit(rig *r, const weft_node_action *a) {
  r->admits++;
  if (r->refuse) {
    weft_node_admitted(r->node, r->now, a->ticket, WEFT_EDENIED, r->refuse);
    return;
  }
  weft_record record = {.kind = WEFT_RECORD_ADMIT, .space = r->space.id};
  const weft_id *heads;
  size_t count;
  weft_buf out;
  weft_id id;
  weft__roster_heads(weft_replica_roster(r->replica), &heads, &count);
  record.dep_count = count < WEFT_RECORD_DEPS_MAX ? count : WEFT_RECORD_DEPS_MAX;
  memcpy(record.deps, heads, record.dep_count * sizeof *heads);
  record.admit.redeem = *a->redeem;
  record.admit.role = WEFT_ROLE_WRITER;
  record.admit.name = a->text;
  weft__buf_init(&out, &r->mem, WEFT_RECORD_LEN_MAX);
  assert_int_equal(weft__record_sign(&out, r->space.crypto, &r->space.devices[0], &record, &id),
                   WEFT_OK);
  assert_int_equal(weft_replica_add_record(r->replica, weft__buf_view(&out)), WEFT_OK);
  weft__buf_free(&out);
  weft_node_admitted(r->node, r->now, a->ticket, WEFT_OK, 0);
}

static void carry_hold(rig *r, const weft_node_action *a) {
  bool more;
  r->holds++;
  if (r->hold_err != WEFT_OK) {
    weft_node_held(r->node, r->now, a->ticket, r->hold_err, NULL, 0);
    return;
  }
  assert_true(weft__replica_carry_out(r->source, a, r->node, r->now));
  do {
    assert_int_equal(weft__replica_show(r->source, r->node, r->now, 0, &more), WEFT_OK);
  } while (more);
}

void rig_hold(rig *r) {
  assert_true(r->late_set);
  r->late_set = false;
  carry_hold(r, &r->late);
  rig_pump(r);
}

static void obey(rig *r, const weft_node_action *a) {
  rig_pipe *p;
  bool asked =
      a->kind == WEFT_NODE_HOLD || a->kind == WEFT_NODE_RECORD || a->kind == WEFT_NODE_ADMIT;
  if (asked && r->odd && r->odd(r, a)) return;
  switch (a->kind) {
  case WEFT_NODE_SEND:
    p = rig_pipe_of(r, a->conn);
    p->at = realloc(p->at, p->len + a->data.len);
    memcpy(p->at + p->len, a->data.at, a->data.len);
    p->len += a->data.len;
    if (!r->stall) weft_node_written(r->node, r->now, a->conn, 0);
    break;
  case WEFT_NODE_CLOSE:
    p = rig_pipe_of(r, a->conn);
    assert_false(p->closed);
    p->closed = true;
    p->why = a->why;
    weft_node_closed(r->node, r->now, a->conn, a->why);
    break;
  case WEFT_NODE_HOLD:
    if (r->hold_late) {
      assert_false(r->late_set);
      r->late = *a;
      r->late_set = true;
    } else {
      carry_hold(r, a);
    }
    break;
  case WEFT_NODE_ADMIT: admit(r, a); break;
  case WEFT_NODE_NOTE: r->notes[a->note]++; break;
  case WEFT_NODE_DIAL:
    r->dialled = a->conn;
    r->dials++;
    break;
  case WEFT_NODE_RECORD: r->records++; /* fall through */
  case WEFT_NODE_ACK:
  case WEFT_NODE_ADDRESS:
    assert_true(weft__replica_carry_out(r->source, a, r->node, r->now));
    break;
  }
}

void rig_pump(rig *r) {
  weft_node_action a;
  for (unsigned i = 0; weft_node_next(r->node, &a); i++) {
    assert_true(i < 1000000);
    obey(r, &a);
  }
}

void rig_wait(rig *r, weft_ms ms) {
  weft_ms until = r->now + ms;
  rig_pump(r);
  for (;;) {
    weft_ms at = weft_node_deadline(r->node);
    if (at > until) break;
    r->now = at > r->now ? at : r->now + 1;
    weft_node_tick(r->node, r->now, wall_start + r->now);
    rig_pump(r);
  }
  r->now = until > r->now ? until : r->now;
  weft_node_tick(r->node, r->now, wall_start + r->now);
  rig_pump(r);
}

uint64_t rig_accept(rig *r, const char *host) {
  char remote[64];
  snprintf(remote, sizeof remote, "%s:40000", host);
  return weft_node_accepted(r->node, r->now, weft_bytes_str(remote), strcmp(host, "::1") == 0);
}

void rig_feed(rig *r, uint64_t conn, weft_bytes bytes) {
  weft_node_received(r->node, r->now, wall_start + r->now, conn, bytes);
  rig_pump(r);
}

/* --- changes --- */

static void write_changes(weft_replica *replica, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    char value[16];
    snprintf(value, sizeof value, "%u", i);
    assert_int_equal(test_set(replica, "notes/a", "/n", value), WEFT_OK);
  }
}

void rig_write(rig *r, unsigned count) {
  write_changes(r->replica, count);
  weft_node_changed(r->node, r->now);
  rig_pump(r);
}

rig_other rig_other_make(rig *r, size_t idx, unsigned count) {
  rig_other o;
  o.replica = test_space_memory(&r->space, idx);
  write_changes(o.replica, count);
  const weft_vector *held = weft_replica_held(o.replica);
  assert_int_equal(held->count, 1);
  o.log = held->heads[0].log;
  o.head = held->heads[0].id;
  weft__buf_init(&o.chunk, &r->mem, SIZE_MAX);
  assert_int_equal(weft_replica_read_chunk(o.replica, &o.log, WEFT_BRANCH_ANY, 1,
                                           held->heads[0].seq, &o.chunk, &o.last),
                   WEFT_OK);
  return o;
}

void rig_other_free(rig_other *o) {
  weft__buf_free(&o->chunk);
  weft_replica_free(o->replica);
}

/* --- puppets --- */

weft_buf puppet_body(void) {
  weft_alloc mem = weft_alloc_libc();
  weft_buf body;
  weft__buf_init(&body, &mem, WEFT_SESSION_BODY_MAX);
  return body;
}

weft_session_secret rig_secret(const rig *r) {
  weft_epoch_keys keys;
  weft_session_secret secret;
  weft_epoch epoch;
  memcpy(epoch.b, r->epoch.id, sizeof epoch.b);
  weft__epoch_keys_derive(&keys, r->space.crypto, &r->epoch.secret);
  weft_session_secret_member(&secret, &r->space.id, &keys, epoch, epoch);
  return secret;
}

void puppet_make_with(puppet *p, rig *r, const weft_identity *identity,
                      const weft_session_secret *secret) {
  weft_session_options o;
  memset(p, 0, sizeof *p);
  p->r = r;
  p->mem = weft_alloc_libc();
  p->conn = rig_accept(r, "::1");
  assert_true(p->conn != 0);
  weft_session_options_init(&o);
  o.mem = &p->mem;
  o.crypto = r->space.crypto;
  o.identity = identity;
  o.now = r->now;
  o.unix_ms = wall_start + r->now;
  o.secret = secret;
  weft_random(o.ephemeral.b, sizeof o.ephemeral.b);
  assert_int_equal(weft_session_new(&p->session, &o), WEFT_OK);
  puppet_flow(p);
}

void puppet_make(puppet *p, rig *r, const weft_identity *identity) {
  weft_session_secret secret = rig_secret(r);
  puppet_make_with(p, r, identity, &secret);
}

void puppet_forget(puppet *p) {
  for (size_t i = 0; i < p->frame_count; i++) free(p->frames[i].at);
  p->frame_count = 0;
}

void puppet_free(puppet *p) {
  puppet_forget(p);
  weft_session_free(p->session);
  p->session = NULL;
}

static bool puppet_drain(puppet *p) {
  weft_session_action a;
  bool any = false;
  while (weft_session_next(p->session, &a)) {
    any = true;
    switch (a.kind) {
    case WEFT_SESSION_SEND:
      if (!rig_pipe_of(p->r, p->conn)->closed) rig_feed(p->r, p->conn, a.data);
      break;
    case WEFT_SESSION_CHECK: (void)!weft_session_accept(p->session); break;
    case WEFT_SESSION_ESTABLISHED: p->established = true; break;
    case WEFT_SESSION_DELIVER: {
      assert_true(p->frame_count < RIG_FRAMES_MAX);
      rig_frame *f = &p->frames[p->frame_count++];
      f->type = a.type;
      f->len = a.data.len;
      f->at = malloc(a.data.len + 1);
      if (f->len) memcpy(f->at, a.data.at, f->len);
      break;
    }
    case WEFT_SESSION_CLOSE:
      p->closed = true;
      p->why = a.why;
      break;
    case WEFT_SESSION_EXPIRING:
    case WEFT_SESSION_NOTHING: break;
    }
  }
  return any;
}

void puppet_flow(puppet *p) {
  for (;;) {
    bool any = puppet_drain(p);
    rig_pump(p->r);
    rig_pipe *pipe = rig_pipe_of(p->r, p->conn);
    size_t len = pipe->len;
    if (len == 0 && !any) break;
    uint8_t *bytes = malloc(len + 1);
    if (len) memcpy(bytes, pipe->at, len);
    pipe->len = 0;
    for (size_t at = 0; at < len;) {
      size_t used;
      (void)!weft_session_feed(p->session, p->r->now, weft_bytes_of(bytes + at, len - at), &used);
      if (!puppet_drain(p) && used == 0) break;
      at += used;
    }
    free(bytes);
  }
  if (rig_pipe_of(p->r, p->conn)->closed && !p->closed) {
    (void)weft_session_eof(p->session, p->r->now);
    (void)puppet_drain(p);
  }
}

void puppet_send(puppet *p, uint8_t type, weft_bytes body) {
  assert_int_equal(weft_session_send(p->session, type, body), WEFT_OK);
  puppet_flow(p);
}

void puppet_send_buf(puppet *p, uint8_t type, weft_buf *body) {
  assert_int_equal(weft__buf_err(body), WEFT_OK);
  puppet_send(p, type, weft__buf_view(body));
  weft__buf_free(body);
}

void puppet_send_blob(puppet *p, uint8_t type, weft_bytes blob) {
  weft_msg_blobs m = {&blob, 1, 0};
  puppet_say(p, type, blobs, &m);
}

const rig_frame *puppet_last(const puppet *p, uint8_t type) {
  for (size_t i = p->frame_count; i > 0; i--) {
    if (p->frames[i - 1].type == type) return &p->frames[i - 1];
  }
  return NULL;
}

size_t puppet_count(const puppet *p, uint8_t type) {
  size_t count = 0;
  for (size_t i = 0; i < p->frame_count; i++) count += p->frames[i].type == type;
  return count;
}

unsigned puppet_error(const puppet *p) {
  const rig_frame *f = puppet_last(p, WEFT_FRAME_ERROR);
  weft_msg_error m;
  if (!f) return 0;
  assert_int_equal(weft__msg_error_read(weft_bytes_of(f->at, f->len), &m), WEFT_OK);
  return m.code;
}

weft_msg_hello puppet_hello(const puppet *p) {
  weft_msg_hello m;
  memset(&m, 0, sizeof m);
  m.instance = 4711;
  m.boot = 1;
  m.window = 1 << 20;
  m.apply_level = weft_replica_apply_level(p->r->replica);
  m.name = weft_bytes_str("puppet");
  weft__roster_root(weft_replica_roster(p->r->replica), m.auth_root);
  return m;
}

void puppet_greet(puppet *p) {
  weft_msg_hello m = puppet_hello(p);
  puppet_say(p, WEFT_FRAME_HELLO, hello, &m);
}

void puppet_open(puppet *p, rig *r, size_t idx) {
  puppet_make(p, r, &r->space.devices[idx]);
  assert_true(p->established);
  puppet_greet(p);
}

/* --- a test of its own rig --- */

typedef struct stage {
  rig r;
  puppet p;
} stage;

static int stage_make(void **state, size_t devices) {
  stage *s = calloc(1, sizeof *s);
  assert_non_null(s);
  rig_make(&s->r, devices, 1);
  *state = s;
  return 0;
}

int rig_setup_1(void **state) { return stage_make(state, 1); }
int rig_setup_2(void **state) { return stage_make(state, 2); }
int rig_setup_3(void **state) { return stage_make(state, 3); }

int rig_teardown(void **state) {
  stage *s = *state;
  puppet_free(&s->p);
  rig_free(&s->r);
  free(s);
  return 0;
}

rig *rig_of(void **state) { return &((stage *)*state)->r; }
puppet *puppet_of(void **state) { return &((stage *)*state)->p; }

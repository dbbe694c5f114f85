/* Two ends of a session and the wire between them, for the tests of sessions. */
#ifndef WEFT_TESTS_SESSION_WORLD_H
#define WEFT_TESTS_SESSION_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/session.h"
#include "tests/support/ids.h"

#define none       weft_bytes_of(NULL, 0)
#define unix_start UINT64_C(1750000000000)

enum { A = 0, B = 1, wire_cap = 1 << 23, alive = 1 }; /* A dials B; `alive` is no weft_err */

/* --- two ends and the wire between them --- */

typedef struct wire {
  uint8_t *at;
  size_t len;
} wire;

typedef struct world {
  weft_alloc mem[2];
  weft_identity id[2];
  weft_session_secret secret;
  weft_gate *gate;
  weft_session *s[2];
  weft_session_options o[2];
  weft_ms now;
  wire sent[2]; /* what each side sent and the other was not yet fed */
  size_t chunk; /* bytes fed at once */
  bool refuse;  /* the initiator's owner does not accept */
  bool established[2], expiring[2];
  int closed[2]; /* the CLOSE's why, or `alive` */
  size_t frames[2];
  uint8_t last_type[2];
  uint8_t *last[2]; /* body of the last frame delivered */
  size_t last_len[2];
  size_t sends[2];
  char trace[2048];
} world;

static inline weft_session_secret member_secret(uint8_t space, uint8_t epoch) {
  weft_session_secret secret;
  weft_id id;
  weft_key key = test_key(epoch);
  weft_epoch name, newest;
  memset(id.b, space, sizeof id.b);
  memset(name.b, epoch, sizeof name.b);
  memset(newest.b, 0xee, sizeof newest.b);
  weft_epoch_keys keys;
  weft__epoch_keys_derive(&keys, weft_crypto_sodium(), &key);
  weft_session_secret_member(&secret, &id, &keys, name, newest);
  return secret;
}

/* Fills in what world_start needs; a test may change it before. */
static inline void world_init(world *w) {
  memset(w, 0, sizeof *w);
  w->secret = member_secret(1, 2);
  w->now = 1000;
  w->chunk = SIZE_MAX;
  for (size_t i = 0; i < 2; i++) {
    weft_key seed = test_key((uint8_t)(0x10 + i));
    weft_identity_derive(&w->id[i], weft_crypto_sodium(), &seed);
    w->mem[i] = weft_alloc_libc();
    weft_session_options *o = &w->o[i];
    weft_session_options_init(o);
    o->mem = &w->mem[i];
    o->crypto = weft_crypto_sodium();
    o->identity = &w->id[i];
    o->ephemeral = test_key((uint8_t)(0x20 + i));
    o->unix_ms = unix_start;
    o->caps = 0x100 + (uint32_t)i;
    o->drop_delay_ms = 700;
    w->sent[i].at = malloc(wire_cap);
    w->closed[i] = alive;
  }
  w->o[A].secret = &w->secret;
  w->o[A].target = &w->id[B].device;
  weft_alloc mem = weft_alloc_libc();
  assert_int_equal(weft_gate_new(&w->gate, &mem, weft_crypto_sodium()), WEFT_OK);
  assert_int_equal(weft_gate_set(w->gate, &w->secret, 1), WEFT_OK);
  w->o[B].gate = w->gate;
}

static inline void world_start(world *w) {
  for (size_t i = 0; i < 2; i++) {
    w->o[i].now = w->now;
    assert_int_equal(weft_session_new(&w->s[i], &w->o[i]), WEFT_OK);
  }
}

static inline void world_end(world *w) {
  for (size_t i = 0; i < 2; i++) {
    weft_session_free(w->s[i]);
    free(w->sent[i].at);
    free(w->last[i]);
  }
  weft_gate_free(w->gate);
}

static inline void trace(world *w, size_t side, const char *what, weft_bytes data) {
  size_t len = strlen(w->trace);
  uint8_t hash[16] = {0};
  weft_crypto_sodium()->hash(hash, sizeof hash, none, NULL, NULL, &data, 1);
  (void)snprintf(w->trace + len, sizeof w->trace - len, "%c %s %zu", "ab"[side], what, data.len);
  for (size_t i = 0; i < 8 && data.len; i++) {
    len = strlen(w->trace);
    (void)snprintf(w->trace + len, sizeof w->trace - len, "%s%02x", i ? "" : " ", hash[i]);
  }
  len = strlen(w->trace);
  (void)snprintf(w->trace + len, sizeof w->trace - len, "\n");
}

static inline void obey(world *w, size_t side, const weft_session_action *a) {
  switch (a->kind) {
  case WEFT_SESSION_SEND:
    trace(w, side, "send", a->data);
    w->sends[side]++;
    assert_true(w->sent[side].len + a->data.len <= wire_cap);
    memcpy(w->sent[side].at + w->sent[side].len, a->data.at, a->data.len);
    w->sent[side].len += a->data.len;
    break;
  case WEFT_SESSION_CHECK:
    trace(w, side, "check", none);
    if (!w->refuse) (void)!weft_session_accept(w->s[side]);
    break;
  case WEFT_SESSION_ESTABLISHED:
    trace(w, side, "established", none);
    w->established[side] = true;
    break;
  case WEFT_SESSION_DELIVER:
    trace(w, side, "deliver", a->data);
    w->frames[side]++;
    w->last_type[side] = a->type;
    w->last_len[side] = a->data.len;
    free(w->last[side]);
    w->last[side] = malloc(a->data.len + 1);
    if (a->data.len) memcpy(w->last[side], a->data.at, a->data.len);
    break;
  case WEFT_SESSION_EXPIRING: w->expiring[side] = true; break;
  case WEFT_SESSION_CLOSE:
    trace(w, side, "close", none);
    assert_int_equal(w->closed[side], alive);
    w->closed[side] = a->why;
    break;
  case WEFT_SESSION_NOTHING: fail_msg("an action without a kind");
  }
}

static inline bool drain(world *w, size_t side) {
  weft_session_action a;
  bool any = false;
  while (weft_session_next(w->s[side], &a)) {
    obey(w, side, &a);
    any = true;
  }
  return any;
}

/* Feeds bytes in chunks, obeying actions as the header says. */
static inline void feed(world *w, size_t side, weft_bytes in) {
  while (in.len) {
    size_t used, len = in.len < w->chunk ? in.len : w->chunk;
    (void)!weft_session_feed(w->s[side], w->now, weft_bytes_of(in.at, len), &used);
    assert_true(used <= len);
    bool any = drain(w, side);
    if (!used && !any) return;
    in = weft_bytes_of(in.at + used, in.len - used);
  }
}

static inline void flow(world *w, size_t from) {
  size_t len = w->sent[from].len;
  uint8_t *bytes = malloc(len + 1);
  memcpy(bytes, w->sent[from].at, len);
  w->sent[from].len = 0;
  feed(w, !from, weft_bytes_of(bytes, len));
  free(bytes);
}

/* Lets everything flow until nothing moves. */
static inline void pump(world *w) {
  for (;;) {
    bool any = drain(w, A);
    any |= drain(w, B);
    if (!w->sent[A].len && !w->sent[B].len && !any) return;
    if (w->sent[A].len) flow(w, A);
    if (w->sent[B].len) flow(w, B);
  }
}

static inline void tick(world *w, size_t side, weft_ms to) {
  w->now = to;
  (void)!weft_session_tick(w->s[side], to);
  drain(w, side);
}

/* Lets time pass for one side until it has closed; gives why. */
static inline int run_out(world *w, size_t side) {
  for (int i = 0; i < 10 && w->closed[side] == alive; i++) {
    weft_ms at = weft_session_deadline(w->s[side]);
    tick(w, side, at > w->now ? at : w->now);
  }
  return w->closed[side];
}

static inline void open_world(world *w) {
  world_init(w);
  world_start(w);
  pump(w);
  assert_true(w->established[A] && w->established[B]);
}

static inline void send_frame(world *w, size_t side, uint8_t type, size_t len) {
  static uint8_t body[6 << 20];
  for (size_t i = 0; i < len; i++) body[i] = (uint8_t)(i * 7 + (i >> 8) + len);
  assert_int_equal(weft_session_send(w->s[side], type, weft_bytes_of(body, len)), WEFT_OK);
  pump(w);
  if (w->closed[!side] != alive) return;
  assert_int_equal(w->last_type[!side], type);
  assert_int_equal(w->last_len[!side], len);
  assert_memory_equal(w->last[!side], body, len);
}

#endif

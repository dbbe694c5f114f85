#include "crdt/ack.h"
#include "crdt/chunk.h"
#include "net/frame.h"
#include "net/message.h"
#include "tests/sim/sim_internal.h"
#include "tests/support/open_crypto.h"

enum { prelude_len = 18 };

/* --- the wire as plain text --- */

void sim__plain_crypto(weft_crypto *c) {
  c->seal = test_open_crypto()->seal;
  c->open = test_open_crypto()->open;
}

static const char *frame_name(uint8_t type) {
  switch (type) {
  case WEFT_FRAME_HELLO: return "hello";
  case WEFT_FRAME_PING: return "ping";
  case WEFT_FRAME_PONG: return "pong";
  case WEFT_FRAME_CREDIT: return "credit";
  case WEFT_FRAME_ERROR: return "error";
  case WEFT_FRAME_BYE: return "bye";
  case WEFT_FRAME_AUTH_HAVE: return "auth-have";
  case WEFT_FRAME_AUTH_WANT: return "auth-want";
  case WEFT_FRAME_AUTH_REC: return "auth-rec";
  case WEFT_FRAME_VV_ROOT: return "vv-root";
  case WEFT_FRAME_VV_NODES: return "vv-nodes";
  case WEFT_FRAME_VV_LEAVES: return "vv-leaves";
  case WEFT_FRAME_VV_DELTA: return "vv-delta";
  case WEFT_FRAME_WANT: return "want";
  case WEFT_FRAME_PRESENCE: return "presence";
  case WEFT_FRAME_CHANGES: return "changes";
  case WEFT_FRAME_NOHAVE: return "nohave";
  case WEFT_FRAME_ACK: return "ack";
  case WEFT_FRAME_GOSSIP: return "gossip";
  case WEFT_FRAME_EXPRESS: return "express";
  case WEFT_FRAME_IHAVE: return "ihave";
  case WEFT_FRAME_FORK: return "fork";
  default: return "?";
  }
}

/* Takes a frame of changes apart, unless it is the one that was taken apart last: a change goes to
 * several peers in the same bytes. */
static void carried_read(sim *s, weft_bytes body) {
  weft_msg_blobs m;
  size_t cap = 0;
  if (s->carried_body.len > 0 && weft_bytes_cmp(body, s->carried_body) == 0) return;
  weft__arena_reset(&s->carried);
  s->carried_runs = NULL;
  s->carried_count = 0;
  if (weft__arena_copy(&s->carried, body, &s->carried_body) != WEFT_OK) sim_fail(s, "memory");
  if (weft__msg_blobs_read(&s->reading, body, &m) != WEFT_OK) sim_fail(s, "a frame does not parse");
  for (size_t i = 0; i < m.count; i++) {
    weft_run *runs;
    size_t count;
    if (weft__chunk_decode_with(s->codec, &s->reading, m.at[i], &runs, &count) != WEFT_OK) {
      sim_fail(s, "a chunk does not parse");
    }
    if (s->carried_count + count > cap) {
      cap = 2 * cap + count;
      carried_run *wide = sim__must(s, weft__arena_zero(&s->carried, cap, sizeof *wide));
      if (s->carried_count) memcpy(wide, s->carried_runs, s->carried_count * sizeof *wide);
      s->carried_runs = wide;
    }
    for (size_t k = 0; k < count; k++) {
      carried_run *c = &s->carried_runs[s->carried_count++];
      *c = (carried_run){.first = runs[k].first, .count = runs[k].count};
      c->last = (weft_head){runs[k].log, runs[k].first + runs[k].count - 1, runs[k].prev};
      for (size_t n = 0; n < runs[k].count; n++) {
        weft__change_id(s->space.crypto, &s->space.id, &c->last.id, runs[k].changes[n],
                        &c->last.id);
      }
    }
  }
}

/* What a node sends must be durable: its own replica shows only what a commit has written. */
static void check_chunks(sim *s, size_t from, weft_bytes body, char *out, size_t cap) {
  peer *p = &s->peers[from];
  size_t len = 0;
  if (p->lies) return;
  carried_read(s, body);
  p->faults.paused = true;
  for (size_t i = 0; i < s->carried_count; i++) {
    const carried_run *c = &s->carried_runs[i];
    weft_span span;
    s->counts.changes += c->count;
    sim_check(s, SIM_I3);
    if (p->faults.hits > 0) continue; /* its store does not answer */
    if (weft_replica_find(p->replica, &c->last.log, c->last.seq, &c->last.id, &span) != WEFT_OK ||
        !weft__vector_covers(weft_replica_held(p->replica), &c->last.log, c->last.seq)) {
      sim_fail(s, "I3: %s sent what is not durable", p->name);
    }
    if (weft__vector_raise(&p->promised, NULL, &c->last) != WEFT_OK) sim_fail(s, "memory");
    int some = snprintf(out + len, cap - len, " %llu-%llu", (unsigned long long)c->first,
                        (unsigned long long)c->last.seq);
    if (some > 0 && (size_t)some < cap - len) len += (size_t)some;
  }
  p->faults.paused = false;
}

static void check_acks(sim *s, size_t from, weft_bytes body, char *out, size_t cap) {
  weft_msg_acks m;
  if (weft__msg_acks_read(&s->reading, body, &m) != WEFT_OK) sim_fail(s, "an ack does not parse");
  snprintf(out, cap, " %zu", m.count);
  peer *p = &s->peers[from];
  for (size_t i = 0; i < m.count; i++) {
    const weft_msg_ack *a = &m.at[i];
    if (weft_id_cmp(&a->ack.device, &s->space.devices[p->device].device) != 0) continue;
    if (p->lies) continue;
    for (size_t k = 0; k < a->count; k++) {
      sim_check(s, SIM_I3);
      if (!weft__vector_covers(weft_replica_showable(p->replica), &a->delta[k].log,
                               a->delta[k].seq)) {
        sim_fail(s, "I3: %s acknowledged what it cannot show", s->peers[from].name);
      }
    }
  }
}

static void describe(sim *s, size_t from, uint8_t type, weft_bytes body, char *out, size_t cap) {
  weft_arena *arena = &s->reading;
  weft_msg_heads heads;
  weft_msg_want want;
  weft_msg_error error;
  weft__arena_reset(arena);
  out[0] = 0;
  switch (type) {
  case WEFT_FRAME_FORK:
  case WEFT_FRAME_CHANGES:
  case WEFT_FRAME_EXPRESS:
  case WEFT_FRAME_GOSSIP: check_chunks(s, from, body, out, cap); break;
  case WEFT_FRAME_ACK: check_acks(s, from, body, out, cap); break;
  case WEFT_FRAME_VV_LEAVES:
  case WEFT_FRAME_VV_DELTA:
  case WEFT_FRAME_IHAVE:
    if (weft__msg_heads_read(arena, body, &heads) != WEFT_OK) sim_fail(s, "heads do not parse");
    snprintf(out, cap, " %zu", heads.count);
    break;
  case WEFT_FRAME_WANT:
    if (weft__msg_want_read(arena, body, &want) != WEFT_OK) sim_fail(s, "want does not parse");
    for (size_t i = 0; i < want.count; i++) {
      size_t len = strlen(out);
      snprintf(out + len, cap - len, " %llu-%llu", (unsigned long long)want.at[i].from,
               (unsigned long long)want.at[i].to);
    }
    break;
  case WEFT_FRAME_ERROR:
    if (weft__msg_error_read(body, &error) != WEFT_OK) sim_fail(s, "error does not parse");
    snprintf(out, cap, " %u about %u", error.code, error.about);
    break;
  default: break;
  }
}

static void on_record(sim *s, wire *w, unsigned side, weft_bytes plain) {
  weft_record_view r;
  char text[400];
  s->counts.frames++;
  size_t from = (size_t)w->node[side];
  const char *to = w->node[!side] == sim_nobody ? "?" : s->peers[w->node[!side]].name;
  if (weft__record_read(plain, &r) != WEFT_OK) sim_fail(s, "a record does not parse");
  bool whole = !r.more && (w->body_len[side] == 0 || weft__frame_may_interrupt(r.type));
  if (whole) {
    describe(s, from, r.type, r.body, text, sizeof text);
  } else {
    w->body[side] = sim__must(s, realloc(w->body[side], w->body_len[side] + r.body.len + 1));
    memcpy(w->body[side] + w->body_len[side], r.body.at, r.body.len);
    w->body_len[side] += r.body.len;
    if (r.more) return;
    weft_bytes body = weft_bytes_of(w->body[side], w->body_len[side]);
    describe(s, from, r.type, body, text, sizeof text);
    w->body_len[side] = 0;
  }
  const char *words[] = {s->peers[from].name, " > ", to, " ", frame_name(r.type), text};
  sim__trace_words(s, words, sizeof words / sizeof *words);
}

/* The handshake is passed over. */
void sim__tap(sim *s, wire *w, unsigned side, weft_bytes bytes) {
  if ((!s->o.plain && !s->o.stand_in) || s->o.unchecked) return;
  w->tap[side] = sim__must(s, realloc(w->tap[side], w->tap_len[side] + bytes.len));
  memcpy(w->tap[side] + w->tap_len[side], bytes.at, bytes.len);
  w->tap_len[side] += bytes.len;
  size_t used = 0;
  for (;;) {
    size_t skip = side == 0 && w->parsed[side] == 0 ? prelude_len : 0;
    const uint8_t *at = w->tap[side] + used;
    size_t left = w->tap_len[side] - used;
    if (left < skip + 2) break;
    size_t len = (size_t)at[skip] << 8 | at[skip + 1];
    if (left < skip + 2 + len) break;
    unsigned handshake = side == 0 ? 2 : 1;
    if (w->parsed[side]++ >= handshake) {
      on_record(s, w, side, weft_bytes_of(at + skip + 2, len - WEFT_TAG_LEN));
    }
    used += skip + 2 + len;
  }
  w->tap_len[side] -= used;
  memmove(w->tap[side], w->tap[side] + used, w->tap_len[side]);
}

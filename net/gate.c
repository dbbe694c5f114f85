/* Secrets and the memory of first messages.
 *
 * Invariants: `floor` never falls; every key answered inside the window whose clock is above
 * `floor` is in `window`, unless its clock has left the window; `slow` holds every key answered
 * outside in the last day.  Both tables are of fixed size and searched from end to end: only
 * holders of a secret come this far. */
#include "net/gate.h"

#include <string.h>

#include "crdt/canary.h"

typedef struct seen {
  uint8_t ephemeral[32];
  uint64_t at; /* window: the sender's clock; slow: when it was answered, monotonic */
} seen;

struct weft_gate {
  weft_alloc mem;
  const weft_crypto *crypto;
  weft_session_secret *secrets;
  size_t secret_count;
  uint64_t floor; /* the window ends above this clock */
  size_t window_count, slow_count, slow_next;
  seen window[WEFT_GATE_WINDOW_KEEP_MAX];
  seen slow[WEFT_GATE_SLOW_KEEP_MAX]; /* a ring: slow_next is the oldest once it is full */
};

void weft_session_secret_member(weft_session_secret *out, const weft_id *space,
                                const weft_epoch_keys *keys, weft_epoch epoch, weft_epoch newest) {
  out->mode = WEFT_SESSION_MEMBER;
  out->space = *space;
  out->psk = keys->noise;
  out->tag = keys->tag;
  out->epoch = epoch;
  out->newest = newest;
}

void weft_session_secret_join(weft_session_secret *out, const weft_id *space, const weft_key *join,
                              const weft_key *tag) {
  memset(out, 0, sizeof *out);
  out->mode = WEFT_SESSION_JOIN;
  out->space = *space;
  out->psk = *join;
  out->tag = *tag;
}

weft_err weft_gate_new(weft_gate **out, const weft_alloc *mem, const weft_crypto *crypto) {
  *out = NULL;
  weft_gate *gate = mem->alloc(mem->ctx, sizeof *gate);
  if (!gate) return WEFT_ENOMEM;
  memset(gate, 0, sizeof *gate);
  gate->mem = *mem;
  gate->crypto = crypto;
  *out = gate;
  return WEFT_OK;
}

static void drop_secrets(weft_gate *gate) {
  if (gate->secrets) {
    gate->crypto->wipe(gate->secrets, gate->secret_count * sizeof *gate->secrets);
  }
  gate->mem.free(gate->mem.ctx, gate->secrets);
}

void weft_gate_free(weft_gate *gate) {
  if (!gate) return;
  drop_secrets(gate);
  gate->mem.free(gate->mem.ctx, gate);
}

weft_err weft_gate_set(weft_gate *gate, const weft_session_secret *secrets, size_t count) {
  if (count > WEFT_GATE_SECRETS_MAX) return WEFT_ELIMIT;
  weft_session_secret *copy = NULL;
  if (count) {
    copy = gate->mem.alloc(gate->mem.ctx, count * sizeof *copy);
    if (!copy) return WEFT_ENOMEM;
    memcpy(copy, secrets, count * sizeof *copy);
  }
  drop_secrets(gate);
  gate->secrets = copy;
  gate->secret_count = count;
  return WEFT_OK;
}

void weft__hint(uint8_t out[WEFT_HINT_LEN], const weft_crypto *crypto,
                const weft_session_secret *secret, uint8_t version, const uint8_t ephemeral[32],
                const weft_id *target) {
  uint8_t head[2] = {version, (uint8_t)secret->mode};
  weft_bytes parts[] = {weft_bytes_of(head, 2), weft_bytes_of(ephemeral, 32),
                        weft_bytes_of(target->b, sizeof target->b)};
  crypto->hash(out, WEFT_HINT_LEN, weft_bytes_of(secret->tag.b, sizeof secret->tag.b), NULL, NULL,
               parts, 3);
}

const weft_session_secret *weft__gate_find(const weft_gate *gate, uint8_t version, uint8_t mode,
                                           const uint8_t hint[WEFT_HINT_LEN],
                                           const uint8_t ephemeral[32], const weft_id *device) {
  static const weft_id anyone;
  const weft_id *targets[2] = {device, &anyone};
  for (size_t i = 0; i < gate->secret_count; i++) {
    const weft_session_secret *secret = &gate->secrets[i];
    if ((uint8_t)secret->mode != mode) continue;
    for (size_t t = 0; t < 2; t++) {
      uint8_t want[WEFT_HINT_LEN];
      weft__hint(want, gate->crypto, secret, version, ephemeral, targets[t]);
      if (gate->crypto->equal(want, hint, sizeof want)) return secret;
    }
  }
  return NULL;
}

static bool seen_any(const seen *list, size_t count, const uint8_t ephemeral[32]) {
  for (size_t i = 0; i < count; i++) {
    if (memcmp(list[i].ephemeral, ephemeral, 32) == 0) return !WEFT_CANARY(REPLAY);
  }
  return false;
}

/* Nothing at or below `at` will be answered at once again. */
static void raise_floor(weft_gate *gate, uint64_t at) {
  if (at > gate->floor) gate->floor = at;
}

/* Makes room for one more: keys whose clock has left the window go; if none has, the oldest goes.
 * Either raises the floor, so that what was forgotten is not answered at once again, even when our
 * clock is set back. */
static void window_make_room(weft_gate *gate, uint64_t unix_ms) {
  size_t kept = 0, oldest = 0;
  for (size_t i = 0; i < gate->window_count; i++) {
    uint64_t at = gate->window[i].at;
    if (unix_ms > at && unix_ms - at > WEFT_GATE_WINDOW_MS) {
      raise_floor(gate, at);
      continue;
    }
    gate->window[kept] = gate->window[i];
    if (at < gate->window[oldest].at) oldest = kept;
    kept++;
  }
  gate->window_count = kept;
  if (kept < WEFT_GATE_WINDOW_KEEP_MAX) return;
  raise_floor(gate, gate->window[oldest].at);
  gate->window[oldest] = gate->window[--gate->window_count];
}

/* The last of the ring was answered last. */
static bool slow_allows(const weft_gate *gate, weft_ms now, const uint8_t ephemeral[32]) {
  if (gate->slow_count == 0) return true;
  size_t last = (gate->slow_next + WEFT_GATE_SLOW_KEEP_MAX - 1) % WEFT_GATE_SLOW_KEEP_MAX;
  if (now - gate->slow[last].at < WEFT_GATE_SLOW_MS) return false;
  for (size_t i = 0; i < gate->slow_count; i++) {
    if (now - gate->slow[i].at >= WEFT_GATE_SLOW_KEEP_MS) continue;
    if (memcmp(gate->slow[i].ephemeral, ephemeral, 32) == 0) return false;
  }
  return true;
}

static bool admit_slow(weft_gate *gate, weft_ms now, const uint8_t ephemeral[32]) {
  if (!slow_allows(gate, now, ephemeral)) return false;
  seen *place = &gate->slow[gate->slow_next];
  memcpy(place->ephemeral, ephemeral, 32);
  place->at = now;
  gate->slow_next = (gate->slow_next + 1) % WEFT_GATE_SLOW_KEEP_MAX;
  if (gate->slow_count < WEFT_GATE_SLOW_KEEP_MAX) gate->slow_count++;
  return true;
}

bool weft__gate_admit(weft_gate *gate, weft_ms now, uint64_t unix_ms, const uint8_t ephemeral[32],
                      uint64_t sent_unix_ms) {
  uint64_t apart = unix_ms > sent_unix_ms ? unix_ms - sent_unix_ms : sent_unix_ms - unix_ms;
  if (seen_any(gate->window, gate->window_count, ephemeral)) return false;
  if (apart > WEFT_GATE_WINDOW_MS || sent_unix_ms <= gate->floor) {
    return admit_slow(gate, now, ephemeral);
  }
  if (seen_any(gate->slow, gate->slow_count, ephemeral)) return false;
  if (gate->window_count == WEFT_GATE_WINDOW_KEEP_MAX) {
    window_make_room(gate, unix_ms);
    if (sent_unix_ms <= gate->floor) return admit_slow(gate, now, ephemeral);
  }
  seen *place = &gate->window[gate->window_count++];
  memcpy(place->ephemeral, ephemeral, 32);
  place->at = sent_unix_ms;
  return true;
}

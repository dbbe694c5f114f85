/* The chain of a log: how its id, the ids of its changes and its signatures are made.
 *
 * Invariants: an id fixes every byte of its change and of all changes before it, and the space it
 * was made for; a signature fixes space, log, seq and id, so it is worth nothing elsewhere.
 * Happy path: a reader starts at weft__log_root, folds weft__change_id over the changes, and checks
 * one signature over the last id.  Failure modes: a signature that does not hold is WEFT_EBADSIG;
 * nothing else can go wrong, and nothing allocates. */
#include <string.h>

#include "crdt/assert.h"
#include "crdt/canary.h"
#include "crdt/chunk.h"

static const uint8_t personal_log[16] = "weft-log-v1";
static const uint8_t personal_root[16] = "weft-seq0-v1";

static const uint8_t sig_context[] = {'w', 'e', 'f', 't', '-', 'v', '1', ' ', 's', 'i', 'g'};
enum { sig_message_len = sizeof sig_context + 32 + 32 + 8 + 32 };

static weft_bytes id_bytes(const weft_id *id) { return weft_bytes_of(id->b, sizeof id->b); }

void weft__log_id(const weft_crypto *crypto, const weft_id *space, const weft_start *start,
                  weft_id *out) {
  const weft_bytes parts[] = {
      id_bytes(space),
      id_bytes(&start->device),
      weft_bytes_of(start->incarnation, sizeof start->incarnation),
      weft_bytes_of(&start->lane, 1),
  };
  crypto->hash(out->b, sizeof out->b, weft_bytes_of(NULL, 0), NULL, personal_log, parts,
               sizeof parts / sizeof parts[0]);
}

void weft__log_root(const weft_crypto *crypto, const weft_id *log, weft_id *out) {
  const weft_bytes part = id_bytes(log);
  crypto->hash(out->b, sizeof out->b, weft_bytes_of(NULL, 0), NULL, personal_root, &part, 1);
}

void weft__change_id(const weft_crypto *crypto, const weft_id *space, const weft_id *prev,
                     weft_bytes raw, weft_id *out) {
  const weft_bytes parts[] = {id_bytes(prev), raw};
  crypto->hash(out->b, sizeof out->b, weft_bytes_of(NULL, 0), space->b, space->b + 16, parts, 2);
}

static void sig_message(uint8_t message[sig_message_len], const weft_id *space, const weft_id *log,
                        uint64_t seq, const weft_id *id) {
  uint8_t *to = message;
  memcpy(to, sig_context, sizeof sig_context);
  to += sizeof sig_context;
  memcpy(to, space->b, sizeof space->b);
  to += sizeof space->b;
  memcpy(to, log->b, sizeof log->b);
  to += sizeof log->b;
  for (unsigned i = 0; i < 8; i++) *to++ = (uint8_t)(seq >> (56 - 8 * i));
  memcpy(to, id->b, sizeof id->b);
}

void weft__change_sign(const weft_crypto *crypto, const weft_key *seed, const weft_id *device,
                       const weft_id *space, const weft_id *log, uint64_t seq, const weft_id *id,
                       weft_sig *out) {
  uint8_t message[sig_message_len];
  sig_message(message, space, log, seq, id);
  crypto->sign(out, seed, device, weft_bytes_of(message, sizeof message));
}

bool weft__change_sig_ok(const weft_crypto *crypto, const weft_id *device, const weft_id *space,
                         const weft_id *log, uint64_t seq, const weft_id *id, const weft_sig *sig) {
  uint8_t message[sig_message_len];
  sig_message(message, space, log, seq, id);
  return crypto->verify(sig, device, weft_bytes_of(message, sizeof message));
}

weft_err weft__run_verify(const weft_crypto *crypto, const weft_id *space, const weft_id *device,
                          const weft_run *run, weft_id *ids) {
  WEFT_ASSERT(run->count > 0);
  const weft_id *prev = &run->prev;
  for (size_t i = 0; i < run->count; i++) {
    weft__change_id(crypto, space, prev, run->changes[i], &ids[i]);
    prev = &ids[i];
  }
  uint64_t last = run->first + run->count - 1;
  bool ok = weft__change_sig_ok(crypto, device, space, &run->log, last, prev, &run->sig);
  return ok || WEFT_CANARY(SIG_TRUSTED) ? WEFT_OK : WEFT_EBADSIG;
}

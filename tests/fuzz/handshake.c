/* A handshake against anything.  The first byte chooses: 'r' and 'i' a responder and an initiator
 * with real cryptography, 'R' and 'I' the same with one that opens everything, so that payloads are
 * reached; '1', '2', '3' the payload decoders alone.  The rest is what comes in, fed in pieces. */
#include <string.h>

#include "net/session.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/ids.h"
#include "tests/support/open_crypto.h"

typedef struct seen {
  size_t sends, delivered;
  bool established, closed;
} seen;

static void drain(weft_session *s, seen *seen_) {
  weft_session_action a;
  while (weft_session_next(s, &a)) {
    FUZZ_CHECK(!seen_->closed);
    if (a.kind == WEFT_SESSION_SEND) seen_->sends++;
    if (a.kind == WEFT_SESSION_CHECK) (void)!weft_session_accept(s);
    if (a.kind == WEFT_SESSION_ESTABLISHED) seen_->established = true;
    if (a.kind == WEFT_SESSION_CLOSE) seen_->closed = true;
    if (a.kind == WEFT_SESSION_DELIVER) {
      FUZZ_CHECK(seen_->established);
      seen_->delivered += a.data.len;
    }
  }
}

static void session_run(const weft_crypto *crypto, bool initiator, weft_bytes in) {
  static const weft_id space = {{1}};
  weft_alloc mem = weft_alloc_libc();
  weft_key seed = test_key(initiator ? 0x10 : 0x11), epoch_secret = test_key(2);
  weft_epoch epoch = {{2, 2, 2, 2, 2, 2, 2, 2}};
  weft_identity id;
  weft_session_secret secret;
  weft_gate *gate;
  weft_session *s;
  weft_identity_derive(&id, crypto, &seed);
  weft_epoch_keys keys;
  weft__epoch_keys_derive(&keys, crypto, &epoch_secret);
  weft_session_secret_member(&secret, &space, &keys, epoch, epoch);
  FUZZ_CHECK(weft_gate_new(&gate, &mem, crypto) == WEFT_OK);
  FUZZ_CHECK(weft_gate_set(gate, &secret, 1) == WEFT_OK);
  weft_session_options o;
  weft_session_options_init(&o);
  o.mem = &mem;
  o.crypto = crypto;
  o.identity = &id;
  o.ephemeral = test_key(initiator ? 0x20 : 0x21);
  o.unix_ms = 1750000000000;
  if (initiator)
    o.secret = &secret;
  else
    o.gate = gate;
  FUZZ_CHECK(weft_session_new(&s, &o) == WEFT_OK);
  seen was = {0, 0, false, false};
  drain(s, &was);
  FUZZ_CHECK(was.sends == (initiator ? 1 : 0));
  for (size_t at = 0, piece = 1; at < in.len; piece = piece * 2 % 251) {
    size_t used, len = in.len - at < piece ? in.len - at : piece;
    (void)!weft_session_feed(s, 0, weft_bytes_of(in.at + at, len), &used);
    drain(s, &was);
    FUZZ_CHECK(used > 0 && used <= len);
    at += used;
  }
  FUZZ_CHECK(was.delivered <= in.len);
  FUZZ_CHECK(initiator || was.established || was.sends <= 1);
  (void)!weft_session_tick(s, WEFT_SESSION_HANDSHAKE_MS);
  drain(s, &was);
  FUZZ_CHECK(was.established || was.closed);
  weft_session_free(s);
  weft_gate_free(gate);
}

/* What a decoder takes, our encoder writes so that it is taken again, with equal content. */
static void payload_run(uint8_t number, weft_bytes in) {
  uint8_t out[WEFT_HELLO2_LEN];
  if (number == '1') {
    weft_hello1 a, b;
    if (weft__hello1_decode(in, &a) != WEFT_OK) return;
    weft__hello1_encode(out, &a);
    FUZZ_CHECK(weft__hello1_decode(weft_bytes_of(out, WEFT_HELLO1_LEN), &b) == WEFT_OK);
    FUZZ_CHECK(memcmp(&a, &b, sizeof a) == 0);
  } else if (number == '2') {
    weft_hello2 a, b;
    if (weft__hello2_decode(in, &a) != WEFT_OK) return;
    weft__hello2_encode(out, &a);
    FUZZ_CHECK(weft__hello2_decode(weft_bytes_of(out, WEFT_HELLO2_LEN), &b) == WEFT_OK);
    FUZZ_CHECK(memcmp(&a, &b, sizeof a) == 0);
  } else {
    weft_hello3 a, b;
    if (weft__hello3_decode(in, &a) != WEFT_OK) return;
    weft__hello3_encode(out, &a);
    FUZZ_CHECK(weft__hello3_decode(weft_bytes_of(out, WEFT_HELLO2_LEN), &b) == WEFT_OK);
    FUZZ_CHECK(memcmp(&a, &b, sizeof a) == 0);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
  if (len == 0) return 0;
  weft_bytes rest = weft_bytes_of(at + 1, len - 1);
  if (at[0] == 'r' || at[0] == 'i') session_run(weft_crypto_sodium(), at[0] == 'i', rest);
  if (at[0] == 'R' || at[0] == 'I') session_run(test_open_crypto(), at[0] == 'I', rest);
  if (at[0] >= '1' && at[0] <= '3') payload_run(at[0], rest);
  return 0;
}

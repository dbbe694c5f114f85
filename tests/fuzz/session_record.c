/* Transport records of a peer that is authentic and says anything.  The cryptography opens
 * everything, so the input is what a responder in an open session receives.  A record that is read
 * is one that we could have written, or one with more padding. */
#include <string.h>

#include "net/session.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/open_crypto.h"

enum { body_max = 4096 };

typedef struct opened {
  weft_identity id;
  weft_gate *gate;
  weft_session *s;
} opened;

/* The three messages of an initiator, as the open cryptography seals them. */
static void open_session(opened *o) {
  static const weft_id space = {{1}};
  const weft_crypto *crypto = test_open_crypto();
  weft_alloc mem = weft_alloc_libc();
  weft_key seed = {{3}}, epoch_secret = {{4}};
  weft_epoch epoch = {{5}};
  weft_session_secret secret;
  weft_session *dialler;
  weft_session_action a;
  weft_identity_derive(&o->id, crypto, &seed);
  weft_epoch_keys keys;
  weft__epoch_keys_derive(&keys, crypto, &epoch_secret);
  weft_session_secret_member(&secret, &space, &keys, epoch, epoch);
  FUZZ_CHECK(weft_gate_new(&o->gate, &mem, crypto) == WEFT_OK);
  FUZZ_CHECK(weft_gate_set(o->gate, &secret, 1) == WEFT_OK);
  weft_session_options options;
  weft_session_options_init(&options);
  options.mem = &mem;
  options.crypto = crypto;
  options.identity = &o->id;
  options.body_max = body_max;
  options.gate = o->gate;
  FUZZ_CHECK(weft_session_new(&o->s, &options) == WEFT_OK);
  options.gate = NULL;
  options.secret = &secret;
  FUZZ_CHECK(weft_session_new(&dialler, &options) == WEFT_OK);
  for (int i = 0; i < 6; i++) {
    weft_session *from = i % 2 ? o->s : dialler, *to = i % 2 ? dialler : o->s;
    size_t used;
    while (weft_session_next(from, &a)) {
      if (a.kind == WEFT_SESSION_CHECK) FUZZ_CHECK(weft_session_accept(from) == WEFT_OK);
      if (a.kind != WEFT_SESSION_SEND) continue;
      FUZZ_CHECK(weft_session_feed(to, 0, a.data, &used) == WEFT_OK && used == a.data.len);
    }
  }
  weft_session_free(dialler);
  FUZZ_CHECK(weft_session_send(o->s, WEFT_FRAME_PING, weft_bytes_of(NULL, 0)) == WEFT_OK);
}

static void read_alone(weft_bytes plain) {
  static uint8_t again[WEFT_RECORD_PLAIN_MAX];
  weft_record_view r;
  if (weft__record_read(plain, &r) != WEFT_OK) return;
  size_t len = weft__record_len(r.body.len);
  weft__record_write(again, r.type, r.more, r.body);
  FUZZ_CHECK(len <= plain.len && memcmp(again, plain.at, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
  opened o;
  weft_session_action a;
  size_t delivered = 0;
  bool closed = false;
  read_alone(weft_bytes_of(at, len));
  open_session(&o);
  for (size_t done = 0, piece = 1; done < len; piece = piece * 3 % 1021) {
    size_t used, take = len - done < piece ? len - done : piece;
    (void)!weft_session_feed(o.s, 0, weft_bytes_of(at + done, take), &used);
    FUZZ_CHECK(used > 0 && used <= take);
    done += used;
    while (weft_session_next(o.s, &a)) {
      FUZZ_CHECK(!closed);
      if (a.kind == WEFT_SESSION_CLOSE) closed = true;
      if (a.kind != WEFT_SESSION_DELIVER) continue;
      FUZZ_CHECK(a.data.len <= WEFT_SESSION_CONTROL_MAX);
      if (weft__frame_is_bulk(a.type)) FUZZ_CHECK(a.data.len <= body_max);
      delivered += a.data.len;
    }
    FUZZ_CHECK(weft_session_stats_of(o.s).partial <= body_max);
  }
  FUZZ_CHECK(delivered <= len);
  weft_session_free(o.s);
  weft_gate_free(o.gate);
  return 0;
}

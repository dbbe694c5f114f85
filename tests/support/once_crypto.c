#include "tests/support/once_crypto.h"

#include <string.h>

enum { places = 1 << 16, tries = 4 };

/* An answer that was given; a place that is full gives way to what is asked later. */
typedef struct answer {
  uint8_t of[16];
  bool good, used;
} answer;

/* The crypto table has no context. */
static answer answers[places];

static bool verify_once(const weft_sig *sig, const weft_id *pub, weft_bytes message) {
  const weft_crypto *real = weft_crypto_sodium();
  uint8_t of[16];
  uint32_t at;
  weft_bytes parts[3] = {weft_bytes_of(sig->b, sizeof sig->b), weft_bytes_of(pub->b, sizeof pub->b),
                         message};
  real->hash(of, sizeof of, weft_bytes_of(NULL, 0), NULL, NULL, parts, 3);
  memcpy(&at, of, sizeof at);
  answer *a = NULL;
  for (uint32_t i = 0; i < tries; i++) {
    a = &answers[(at + i) % places];
    if (a->used && memcmp(a->of, of, sizeof of) == 0) return a->good;
    if (!a->used) break;
  }
  a->good = real->verify(sig, pub, message);
  a->used = true;
  memcpy(a->of, of, sizeof of);
  return a->good;
}

const weft_crypto *test_once_crypto(void) {
  static weft_crypto once;
  once = *weft_crypto_sodium();
  once.verify = verify_once;
  return &once;
}

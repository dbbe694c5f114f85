/* Keys, ids and devices that are told apart by one byte. */
#ifndef WEFT_TESTS_IDS_H
#define WEFT_TESTS_IDS_H

#include <string.h>

#include "crdt/identity.h"
#include "crdt/vector.h"

static inline weft_key test_key(unsigned byte) {
  weft_key key;
  memset(key.b, (int)byte, sizeof key.b);
  return key;
}

static inline weft_id test_id(unsigned byte) {
  weft_id id;
  memset(id.b, (int)byte, sizeof id.b);
  return id;
}

static inline weft_head test_head(unsigned log, uint64_t seq, unsigned id) {
  return (weft_head){.log = test_id(log), .seq = seq, .id = test_id(id)};
}

/* A device whose seed is that byte. */
static inline weft_identity test_identity(unsigned byte) {
  weft_key seed = test_key(byte);
  weft_identity identity;
  weft_identity_derive(&identity, weft_crypto_sodium(), &seed);
  return identity;
}

#endif

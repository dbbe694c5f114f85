/* The state digest: keyed 128-bit terms, summed.
 *
 * Invariant: a term depends only on what every replica knows alike, so never on a local number.
 * Happy path: the holder adds a term for each sibling it writes and subtracts it when it goes.
 * Failure modes: memory for the scratch bytes of one term. */
#include "crdt/digest.h"

#include <string.h>

#include "crdt/canary.h"

void weft__digest_key(const weft_crypto *crypto, const weft_id *space, weft_digest_key *out) {
  static const uint8_t personal[16] = "weft-digest-v1";
  weft_bytes part = weft_bytes_of(space->b, sizeof space->b);
  crypto->hash(out->b, sizeof out->b, weft_bytes_of(NULL, 0), NULL, personal, &part, 1);
}

static void put_u64(uint8_t *to, uint64_t v) {
  for (unsigned i = 0; i < 8; i++) to[i] = (uint8_t)(v >> (56 - 8 * i));
}

weft_err weft__digest_term(const weft_crypto *crypto, const weft_digest_key *key, weft_buf *scratch,
                           weft_bytes doc, weft_path path, const weft_id *log,
                           const weft_sibling *sibling, weft_digest *out) {
  const uint8_t kind = WEFT_CANARY(DIGEST_FORGETS) ? 0 : (uint8_t)sibling->kind;
  weft__buf_reset(scratch);
  weft__buf_block(scratch, doc);
  weft__buf_block(scratch, path);
  uint8_t *at = weft__buf_room(scratch, sizeof log->b + 8 + 8 + 1 + sibling->value.len);
  WEFT_TRY(weft__buf_err(scratch));
  memcpy(at, log->b, sizeof log->b);
  put_u64(at + sizeof log->b, sibling->dot.seq);
  put_u64(at + sizeof log->b + 8, sibling->hlc);
  at += sizeof log->b + 8 + 8;
  *at = kind;
  if (sibling->value.len > 0) memcpy(at + 1, sibling->value.at, sibling->value.len);
  uint8_t sum[16];
  crypto->siphash128(sum, key->b, weft__buf_view(scratch));
  weft_rd r = weft__rd(weft_bytes_of(sum, sizeof sum));
  out->high = weft__rd_u64(&r);
  out->low = weft__rd_u64(&r);
  return WEFT_OK;
}

void weft__digest_add(weft_digest *sum, weft_digest term) {
  sum->low += term.low;
  sum->high += term.high + (sum->low < term.low);
}

void weft__digest_sub(weft_digest *sum, weft_digest term) {
  sum->high -= term.high + (sum->low < term.low);
  sum->low -= term.low;
}

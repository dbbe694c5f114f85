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

weft_err weft__digest_term(const weft_crypto *crypto, const weft_digest_key *key, weft_buf *scratch,
                           weft_bytes doc, weft_path path, const weft_id *log,
                           const weft_sibling *sibling, weft_digest *out) {
  weft__buf_reset(scratch);
  weft__buf_block(scratch, doc);
  weft__buf_block(scratch, path);
  weft__buf_put_raw(scratch, log->b, sizeof log->b);
  weft__buf_u64(scratch, sibling->dot.seq);
  weft__buf_u64(scratch, sibling->hlc);
  weft__buf_u8(scratch, WEFT_CANARY(DIGEST_FORGETS) ? 0 : (uint8_t)sibling->kind);
  weft__buf_put(scratch, sibling->value);
  WEFT_TRY(weft__buf_err(scratch));
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

/* Hybrid logical clocks (hlc.h).
 *
 * Invariants: a value given by weft_hlc_now is greater than the one before, and within the range
 * that weft_hlc_ok names.  Failure modes: the end of the range is an error, never a wrap. */
#include "crdt/hlc.h"

#include "crdt/assert.h"
#include "crdt/limits.h"

_Static_assert(WEFT_HLC_MS_MAX < (UINT64_C(1) << 48) - 1, "a used up counter still has room");

uint64_t weft_hlc_join(weft_ms ms, uint16_t counter) {
  WEFT_ASSERT(ms < UINT64_C(1) << 48);
  return ms << 16 | counter;
}

bool weft_hlc_ok(uint64_t hlc) { return weft_hlc_ms(hlc) <= WEFT_HLC_MS_MAX; }

weft_err weft_hlc_now(uint64_t prev, weft_ms wall_ms, uint64_t *next) {
  if (!weft_hlc_ok(prev) || wall_ms > WEFT_HLC_MS_MAX) return WEFT_ELIMIT;
  uint64_t hlc = wall_ms > weft_hlc_ms(prev) ? weft_hlc_join(wall_ms, 0) : prev + 1;
  if (!weft_hlc_ok(hlc)) return WEFT_ELIMIT;
  WEFT_ASSERT(hlc > prev);
  *next = hlc;
  return WEFT_OK;
}

bool weft_hlc_is_ahead(uint64_t hlc, weft_ms wall_ms) {
  weft_ms ms = weft_hlc_ms(hlc);
  return ms > wall_ms && ms - wall_ms > WEFT_CLOCK_AHEAD_MAX_MS;
}

uint64_t weft_hlc_merge(uint64_t own, uint64_t seen, weft_ms wall_ms) {
  if (seen <= own || !weft_hlc_ok(seen) || weft_hlc_is_ahead(seen, wall_ms)) return own;
  return seen;
}

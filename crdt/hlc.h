/* Hybrid logical clocks: 48 bits of milliseconds since 1970 UTC, then a 16-bit counter, as one
 * uint64_t that orders like the pair.
 *
 * A device's clock follows its wall clock while that runs ahead of everything it has seen, and
 * counts where it does not.  It decides nothing but the order of concurrent writes, so a wrong one
 * does no harm beyond that; what lies too far ahead of us is shown but never taken over. */
#ifndef WEFT_HLC_H
#define WEFT_HLC_H

#include "err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 9999-12-31T23:59:59.999Z: later moments have no RFC 3339 form.  Below 2^48 - 1. */
#define WEFT_HLC_MS_MAX 253402300799999u

/* The milliseconds since 1970 of a clock value.  Any thread. */
static inline weft_ms weft_hlc_ms(uint64_t hlc) { return hlc >> 16; }
/* Its counter, which tells moments of one millisecond apart.  Any thread. */
static inline uint16_t weft_hlc_counter(uint64_t hlc) { return (uint16_t)(hlc & 0xffff); }

/* Joins the parts; `ms` must be below 2^48 (asserted).  Any thread. */
WEFT_API uint64_t weft_hlc_join(weft_ms ms, uint16_t counter);

/* True when the moment is not beyond WEFT_HLC_MS_MAX.  A clock of ours always is so.  Any thread.
 */
WEFT_API bool weft_hlc_ok(uint64_t hlc);

/* Gives the next clock value of a device: greater than `prev`, its last one or what it merged
 * since, and as late as `wall_ms` if that is later.  A counter that is used up runs on into the
 * milliseconds.  WEFT_ELIMIT when the value or `wall_ms` would lie beyond WEFT_HLC_MS_MAX: nothing
 * wraps, `*next` is untouched, and the device's clock must be set right.  Any thread. */
WEFT_API weft_err weft_hlc_now(uint64_t prev, weft_ms wall_ms, uint64_t *next) WEFT_MUST_USE;

/* True when `hlc` is more than WEFT_CLOCK_AHEAD_MAX_MS ahead of `wall_ms`: of a change, a reason
 * for a clock event; of a device's own stored clock, for a new incarnation.  Any thread. */
WEFT_API bool weft_hlc_is_ahead(uint64_t hlc, weft_ms wall_ms);

/* Gives a device's clock once it holds a change with clock `seen`: the later of both, but `own`
 * when `seen` is too far ahead of `wall_ms` or not weft_hlc_ok().  Any thread. */
WEFT_API uint64_t weft_hlc_merge(uint64_t own, uint64_t seen, weft_ms wall_ms);

#ifdef __cplusplus
}
#endif
#endif

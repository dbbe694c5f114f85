/* Two nodes with a line between them, in virtual time.
 *
 * The nodes and their replicas are real; the line is not: bytes arrive after a fixed delay, as many
 * as there are, and what a node does by itself takes no time.  So the time until both are in step
 * counts round trips and nothing else. */
#ifndef WEFT_BENCH_LINE_H
#define WEFT_BENCH_LINE_H

#include "bench/fleet.h"

typedef struct line_report {
  uint64_t bytes;     /* both ways, with handshake, framing and padding */
  double round_trips; /* from the end of the handshake until the last change is shown; 0: none */
} line_report;

/* Connects device `a_idx` with replica `a` to device `b_idx` with `b`, and goes on until both hold
 * and show the same.  WEFT_ETIMEOUT: they do not within a virtual minute. */
weft_err line_run(fleet *f, weft_replica *a, unsigned a_idx, weft_replica *b, unsigned b_idx,
                  line_report *out) WEFT_MUST_USE;

#endif

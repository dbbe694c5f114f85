/* What one replica has and another one lacks, as the chunks that a cold sync sends. */
#ifndef WEFT_BENCH_TRANSFER_H
#define WEFT_BENCH_TRANSFER_H

#include "bench/bench.h"
#include "store/replica.h"

/* Takes a chunk, a view; what it answers ends or goes on with the transfer. */
typedef weft_err (*transfer_sink)(void *ctx, weft_bytes chunk);

/* Reads everything that `to` lacks from `from`, chunk by chunk, and gives it to `sink`.  `to` NULL:
 * a replica that has nothing.  Errors of reading, and those of `sink`. */
weft_err transfer_all(bench *b, weft_replica *from, weft_replica *to, transfer_sink sink,
                      void *ctx) WEFT_MUST_USE;

#endif

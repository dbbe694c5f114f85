/* Two devices as real processes of the weft program, over TCP on the loopback. */
#ifndef WEFT_BENCH_PROCESSES_H
#define WEFT_BENCH_PROCESSES_H

#include "bench/bench.h"

typedef struct processes_result {
  uint64_t fields;     /* written by the import, as weft counts them */
  double seconds;      /* of the receiving process, from its start to its end */
  uint64_t wire_len;   /* bytes it received */
  uint64_t rss_sender; /* most anonymous memory seen, in bytes */
  uint64_t rss_receiver;
} processes_result;

/* Finds the weft program: beside weft-bench, or where a build puts it.  False: there is none. */
bool processes_program(char out[BENCH_PATH_LEN_MAX]);

/* One device imports `templates` templates and serves; a second one joins, and `weft sync` of it is
 * measured until it ends, which is when both show everything.  WEFT_EIO: a command failed, see
 * bench_fail; WEFT_ETIMEOUT; WEFT_EDONE; WEFT_ENOMEM. */
weft_err processes_measure(bench *b, const char *program, uint32_t templates,
                           processes_result *out) WEFT_MUST_USE;

#endif

/* A connection to the control socket of a daemon, to ask it without starting a process each time.
 */
#ifndef WEFT_BENCH_CONTROL_H
#define WEFT_BENCH_CONTROL_H

#include "bench/bench.h"

typedef struct control {
  bench *b;
  int fd;
  int64_t id;   /* of the last request */
  weft_buf out; /* requests that have not been sent */
  weft_buf in;
  size_t in_used;   /* of `in`, which were taken */
  weft_arena arena; /* of the last answer */
} control;

/* Connects to the daemon of `dir`.  WEFT_EIO: nobody answers.  Ended by control_close, also after
 * an error. */
weft_err control_open(control *c, bench *b, const char *dir) WEFT_MUST_USE;
void control_close(control *c);

/* Asks for one command with up to 4 arguments and waits for its end.  `code` gets the exit code,
 * `record` the last record of the answer or the text of the error, a view until the next call; its
 * kind is WEFT_NULL when there was none.  WEFT_EIO, WEFT_EMALFORMED, WEFT_ENOMEM. */
weft_err control_ask(control *c, const char *command, const char *const *arguments, int64_t *code,
                     weft_value *record) WEFT_MUST_USE;

/* The halves of control_ask.  Several requests may be under way; they are answered in the order
 * they were put.  control_flush sends what was put since the last one, in one piece. */
weft_err control_put(control *c, const char *command, const char *const *arguments) WEFT_MUST_USE;
weft_err control_flush(control *c) WEFT_MUST_USE;
weft_err control_take(control *c, int64_t *code, weft_value *record) WEFT_MUST_USE;

#endif

/* Two devices as real processes of the weft program, over TCP on the loopback. */
#ifndef WEFT_BENCH_PROCESSES_H
#define WEFT_BENCH_PROCESSES_H

#include <sys/types.h>

#include "bench/bench.h"

typedef struct processes {
  bench *b;
  char program[BENCH_PATH_LEN_MAX];
  char sender[BENCH_PATH_LEN_MAX]; /* folders of the devices */
  char receiver[BENCH_PATH_LEN_MAX];
  pid_t sender_daemon; /* 0: none */
  pid_t receiver_daemon;
  char address[128]; /* of the sender */
  uint64_t fields;   /* written by the import, as weft counts them */
} processes;

/* Finds the weft program: beside weft-bench, or where a build puts it.  False: there is none. */
bool processes_program(char out[BENCH_PATH_LEN_MAX]);

/* Makes two devices: the first imports `templates` templates and serves, the second one joins it,
 * and has nothing yet.  WEFT_EIO: a command failed, see bench_fail; WEFT_ETIMEOUT; WEFT_EDONE;
 * WEFT_ENOMEM.  Ended by processes_close, also after an error. */
weft_err processes_open(processes *p, bench *b, uint32_t templates) WEFT_MUST_USE;
void processes_close(processes *p);

typedef struct processes_sync_result {
  double seconds;      /* of `weft sync`, from its start to its end, when both show everything */
  uint64_t wire_len;   /* bytes received */
  uint64_t rss_sender; /* most anonymous memory seen, in bytes */
  uint64_t rss_receiver;
} processes_sync_result;

/* Lets the second device sync once, and makes sure that both show the same. */
weft_err processes_sync(processes *p, processes_sync_result *out) WEFT_MUST_USE;

/* Lets the second device serve too, connected to the first. */
weft_err processes_serve(processes *p) WEFT_MUST_USE;

/* Lets one more device join the first and serve, connected to it.  `folder` gets where it lives,
 * `daemon` its process: both are the caller's to end and remove. */
weft_err processes_add(const processes *p, unsigned number, char folder[BENCH_PATH_LEN_MAX],
                       pid_t *daemon) WEFT_MUST_USE;
/* Ends a daemon and removes its folder; 0: there is none. */
void processes_end(pid_t *daemon, const char *folder);

/* What the first device's daemon says of its links: how many are open, and bytes both ways. */
typedef struct processes_links {
  uint64_t open;
  uint64_t bytes;
} processes_links;
weft_err processes_count(const processes *p, processes_links *out) WEFT_MUST_USE;

#endif

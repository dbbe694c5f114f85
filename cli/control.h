/* The control socket: DIR/control.sock, between the command and the daemon of one directory.
 *
 * Frames: u32 big-endian length, then one canonical msgpack value.  Request: [id, command, {"args":
 * [...], "options": [[name, value], ...], "input": [bytes, ...] or nil, "space": name or nil}].
 * Answers: [id, "taken", 0] once it is understood, left out where the rest comes with it; [id,
 * "data", record] any number of times, [id, "progress", what, done, total], and last [id, "end",
 * exit code] or [id, "error", exit code, text].  A member of a record whose text is longer than a
 * value may be comes before it, in pieces: [id, "text", key, piece]. */
#ifndef WEFT_CLI_CONTROL_H
#define WEFT_CLI_CONTROL_H

#include "cli/command.h"

enum { CLI_FRAME_LEN_MAX = 256 << 20 };

/* Appends one frame holding `value`. */
void cli_frame_put(weft_buf *out, const weft_value *value);
/* Finds a whole frame at the start of `in`: its length with the head, 0 when more bytes are needed.
 * WEFT_ELIMIT when it announces more than CLI_FRAME_LEN_MAX. */
weft_err cli_frame_find(weft_bytes in, size_t *len, weft_bytes *body) WEFT_MUST_USE;

/* The request of a call, and its reading in the daemon; `args` gets the command and its words. */
weft_value cli_request(weft_arena *arena, const cli_args *args, const char *space);
weft_err cli_request_read(weft_arena *arena, const weft_value *request, int64_t *id, cli_args *args,
                          weft_bytes *space) WEFT_MUST_USE;

/* --- the command's side: a blocking connection
 * ------------------------------------------------------ */

typedef struct cli_remote {
  int fd;
  uint64_t timeout_ms;
} cli_remote;

/* How long a daemon may take to take a request, for others may be before it: WEFT_CONTROL_TIMEOUT,
 * else a minute. */
enum { CLI_CONTROL_TIMEOUT_MS = 60000 };

/* Connects to the daemon of `dir`.  CLI_OK; CLI_NO_DAEMON (no error set): nobody answers;
 * CLI_FAILED: somebody answers who is not us. */
int cli_remote_open(cli_call *c, const char *dir, cli_remote *remote);
/* Sends the call, forwards records and progress to its sink, gives the exit code. */
int cli_remote_run(cli_call *c, cli_remote *remote);
void cli_remote_close(cli_remote *remote);
/* The number of the process that answers, 0 when the system does not tell. */
int cli_remote_process(const cli_remote *remote);

/* Opens, for bind or connect, the address of DIR/control.sock.  A path beyond what fits a socket
 * address goes through the folder's descriptor. */
struct sockaddr_un;
weft_err cli_control_address(const char *dir, struct sockaddr_un *address,
                             int *folder_fd) WEFT_MUST_USE;

#endif

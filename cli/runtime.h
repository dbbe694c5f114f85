/* Running commands: in this process, or through the daemon's control socket. */
#ifndef WEFT_CLI_RUNTIME_H
#define WEFT_CLI_RUNTIME_H

#include "cli/command.h"
#include "cli/home.h"

/* What the process was started with; commands made of other commands pass it on. */
typedef struct cli_front {
  const char *dir, *space;
  bool json, quiet;
  unsigned verbose;
} cli_front;

/* Runs another command line (without "weft") on behalf of `c`, in the daemon or in this process,
 * with its records going to `sink`.  Gives its exit code; on failure c->error is its error. */
int cli_invoke(cli_call *c, const char *const *words, int count, const cli_sink *sink);

/* The same for a command of one record, which is copied into the arena of `c`; null when it gave
 * none. */
int cli_invoke_one(cli_call *c, const char *const *words, int count, weft_value *record);

/* Opens the call's space for reading alone, beside whoever writes: the one named, else that of the
 * daemon, else the only one.  What takes long so keeps nobody waiting.  CLI_OK, or the exit code
 * with the error set. */
int cli_beside(cli_call *c);

/* Reads the input file that the call's arguments name, where its command takes one. */
int cli_input(cli_call *c);

/* Opens the space of a call that will keep it, waiting a moment for a command that has it; a daemon
 * is not waited for.  CLI_OK, or the exit code with the error set. */
int cli_space_take(cli_call *c);

/* Runs a parsed command to its end, wherever it belongs.  The call's args, sink, arena and front
 * are set by the caller. */
int cli_run(cli_call *c);

#endif

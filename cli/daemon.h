/* The daemon's side of the control socket. */
#ifndef WEFT_CLI_DAEMON_H
#define WEFT_CLI_DAEMON_H

#include "cli/network.h"

typedef struct cli_control cli_control;

/* Listens on DIR/control.sock for the runtime of `c`, which must hold the store: a socket left
 * behind by a dead daemon is replaced.  CLI_OK, or CLI_FAILED with the error set. */
int cli_control_start(cli_call *c, cli_control **out);
/* Closes every connection and removes the socket; the loop has to run until it is done. */
void cli_control_stop(cli_control *control);
/* After the loop ran out. */
void cli_control_free(cli_control *control);

#endif

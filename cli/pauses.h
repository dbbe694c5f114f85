/* Which members this device neither hears nor tells, in the file DIR/paused. */
#ifndef WEFT_CLI_PAUSES_H
#define WEFT_CLI_PAUSES_H

#include "cli/command.h"
#include "net/uv_node.h"

enum { CLI_PAUSES_MAX = 256 };

typedef struct cli_pauses {
  bool all;
  weft_id devices[CLI_PAUSES_MAX];
  size_t count;
} cli_pauses;

/* Reads the file; none is no pause.  WEFT_EDENIED, WEFT_EIO, WEFT_ELIMIT, WEFT_ENOMEM. */
weft_err cli_pauses_read(cli_call *c, cli_pauses *p) WEFT_MUST_USE;
/* Writes it, as cli_file_write does. */
weft_err cli_pauses_write(cli_call *c, const cli_pauses *p) WEFT_MUST_USE;
/* Pauses or resumes a device, or with NULL everybody.  WEFT_ELIMIT: too many. */
weft_err cli_pauses_change(cli_pauses *p, const weft_id *device, bool pause) WEFT_MUST_USE;
/* Pauses what the file names, on a node that has just started.  CLI_OK, or the exit code with the
 * error set. */
int cli_pauses_apply(cli_call *c, weft_uv_node *node);

#endif

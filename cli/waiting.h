/* What is held here and not shown, as records and in words. */
#ifndef WEFT_CLI_WAITING_H
#define WEFT_CLI_WAITING_H

#include "cli/record.h"
#include "cli/space.h"

/* The logs whose next change waits, each with what it waits for, since when, and who had that last;
 * the call has a node.  `count` gets their number. */
weft_err cli_stuck_rows(cli_call *c, weft_value *rows, size_t *count) WEFT_MUST_USE;
/* One clause on the first of such rows: what waits, since when, for what, and who had it last. */
void cli_stuck_text(const weft_value *rows, char *out, size_t cap);

/* The logs with changes in a form of a later weft, each with their number and its device. */
weft_err cli_later_rows(cli_call *c, weft_value *rows, size_t *count) WEFT_MUST_USE;
/* One clause on such rows. */
void cli_later_text(const weft_value *rows, char *out, size_t cap);

#endif

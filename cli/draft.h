/* Edits that commands make: committed at once, or kept as a draft under --draft NAME. */
#ifndef WEFT_CLI_DRAFT_H
#define WEFT_CLI_DRAFT_H

#include "cli/command.h"
#include "store/replica.h"

/* Opens the edit of a call: a new one, or with --draft the draft of that name where there is one.
 * `base` (may be NULL) is what a new one rests on.  CLI_OK or the exit code with the error set. */
int cli_edit_open(cli_call *c, const weft_vector *base, weft_edit **e);
/* Commits it, or saves it as a draft, and ends it either way.  `commit` tells what was written,
 * nothing of a draft.  `subject` is for the error line. */
int cli_edit_close(cli_call *c, weft_edit *e, weft_bytes subject, weft_commit *commit);
/* The same, and answers with a record of it: the commit, or {"draft"}. */
int cli_edit_finish(cli_call *c, weft_edit *e, weft_bytes subject);
/* Reads a document as the draft of --draft shows it, and the base of the draft into `base`. */
int cli_draft_get(cli_call *c, weft_bytes doc, weft_value *out, weft_vector *base);

#endif

/* Changes and versions as people name them, and how they are told. */
#ifndef WEFT_CLI_VERSION_H
#define WEFT_CLI_VERSION_H

#include "cli/record.h"
#include "cli/space.h"

/* Finds a change by the first digits of its id; CLI_OK or the exit code with the error set. */
int cli_find_change(cli_call *c, weft_bytes text, weft_history_entry *entry);

/* What a person means by a version of a document. */
typedef struct cli_version {
  weft_vector at;
  bool now;    /* what is shown now; `at` is that too */
  bool is_one; /* a change: */
  weft_id change;
} cli_version;

/* Prepares one that names nothing.  The caller frees `at` in the end, whatever happens. */
void cli_version_none(const cli_call *c, cli_version *out);
/* Reads `now`, a tag of `doc`, a time (RFC 3339) or a change into `out`.  CLI_OK or the exit code
 * with the error set; a time before anything was written is CLI_NOT_FOUND. */
int cli_version_read(cli_call *c, weft_bytes doc, weft_bytes text, cli_version *out);

/* A conflict as the contract tells it. */
weft_value cli_conflict_record(cli_call *c, const weft_conflict_entry *e);

/* A change with all it wrote, as log and show print it; in `arena`.  The last one of a page says
 * where the `next` one goes on; empty: nowhere. */
weft_value cli_change_record(const cli_call *c, weft_arena *arena, const weft_history_entry *e,
                             weft_bytes next);

/* Puts who, when and which change; of one that is only planned the change is null. */
void cli_put_change(const cli_call *c, cli_obj *o, const weft_history_entry *e);
/* Puts the documents that a change wrote to, whose ops ascend by document, and how many ops. */
void cli_put_docs(cli_obj *o, const weft_history_entry *e);

/* A typed path as text: /key for a key, /[hex] for an element; null when memory is out. */
weft_value cli_path_value(weft_arena *arena, weft_path path);

#endif

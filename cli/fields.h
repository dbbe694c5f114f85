/* Reading what people type: documents, fields, conditions, times. */
#ifndef WEFT_CLI_FIELDS_H
#define WEFT_CLI_FIELDS_H

#include "cli/command.h"
#include "cli/record.h"
#include "store/replica.h"

/* Checks the i-th argument as a document name; CLI_OK or the exit code with the error set. */
int cli_doc_arg(cli_call *c, size_t i, weft_bytes *doc);

/* A field name becomes "/name" (escaped); what starts with "/" is a JSON Pointer already; "" is the
 * root.  Result in the call's arena. */
int cli_pointer_of(cli_call *c, weft_bytes field, weft_bytes *pointer);

/* The error of a read or write at a place.  Where the path does not fit the document, it names the
 * first segment that does not, and what stands there now. */
int cli_fail_place(cli_call *c, weft_err err, weft_bytes doc, weft_bytes pointer);

/* Splits FIELD=TEXT or FIELD:=JSON. */
int cli_assignment(cli_call *c, weft_bytes word, weft_bytes *pointer, weft_value *value);

/* Parses one --where expression. */
int cli_where_parse(cli_call *c, weft_bytes expr, weft_where *out);
/* Parses all --where options of the call. */
int cli_wheres(cli_call *c, weft_where **out, size_t *count);

/* The names after --fields, split at commas, in `arena`; none without the option. */
int cli_fields_option(const cli_call *c, weft_arena *arena, weft_bytes **names, size_t *count);

/* Walks a pointer through a rendered tree; NULL when nothing is there. */
const weft_value *cli_value_at(cli_call *c, const weft_value *v, weft_bytes pointer);

/* critical, high, normal or low. */
const char *cli_lane_name(weft_lane lane);
/* Options of a change: message and priority. */
int cli_edit_options(cli_call *c, weft_edit_options *o);

/* Parses a time such as 90s, 30m, 12h, 1d, 500ms; a bare number is seconds. False when it is none.
 */
bool cli_duration_parse(weft_bytes text, uint64_t *ms);
/* The time that an option gives, else `fallback_ms`. */
int cli_duration_option(cli_call *c, const char *name, uint64_t fallback_ms, uint64_t *ms);

/* Puts "change", "log", "ops", "seq" of a commit; all but ops null when nothing was written. */
void cli_put_commit(cli_obj *o, const weft_commit *commit);
/* Emits a record of just these. */
int cli_emit_commit(cli_call *c, const weft_commit *commit);

#endif

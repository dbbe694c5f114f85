/* The functions behind the command table, one file of them a group. */
#ifndef WEFT_CLI_RUN_H
#define WEFT_CLI_RUN_H

#include "cli/command.h"

/* cli/cmd_documents.c */
int cmd_set(cli_call *c);
int cmd_unset(cli_call *c);
int cmd_new(cli_call *c);
int cmd_get(cli_call *c);
int cmd_delete(cli_call *c);
int cmd_undelete(cli_call *c);
/* cli/cmd_index.c */
int cmd_index(cli_call *c);
/* cli/cmd_list.c */
int cmd_list(cli_call *c);
int cmd_import(cli_call *c);
int cmd_export(cli_call *c);
/* cli/cmd_edit.c */
int cmd_edit(cli_call *c);
int cmd_assign(cli_call *c);
/* cli/cmd_history.c */
int cmd_log(cli_call *c);
int cmd_show(cli_call *c);
int cmd_conflicts(cli_call *c);
int cmd_resolve(cli_call *c);
/* cli/cmd_undo.c */
int cmd_diff(cli_call *c);
int cmd_blame(cli_call *c);
int cmd_tag(cli_call *c);
int cmd_restore(cli_call *c);
int cmd_revert(cli_call *c);
int cmd_redo(cli_call *c);
/* cli/cmd_draft.c */
int cmd_draft(cli_call *c);
/* cli/cmd_strategy.c */
int cmd_strategy(cli_call *c);
/* cli/cmd_events.c */
int cmd_events(cli_call *c);
/* cli/cmd_audit.c */
int cmd_audit(cli_call *c);
/* cli/cmd_trust.c */
int cmd_digest(cli_call *c);
int cmd_verify(cli_call *c);
int cmd_repair(cli_call *c);
int cmd_doctor(cli_call *c);
int cmd_backup(cli_call *c);
int cmd_restore_backup(cli_call *c);
/* cli/cmd_devices.c */
int cmd_init(cli_call *c);
int cmd_id(cli_call *c);
int cmd_invite(cli_call *c);
int cmd_join(cli_call *c);
int cmd_members(cli_call *c);
/* cli/cmd_serve.c */
int cmd_serve(cli_call *c);
/* cli/cmd_sync.c */
int cmd_sync(cli_call *c);
int cmd_wait(cli_call *c);
int cmd_connect(cli_call *c);
/* cli/cmd_pending.c */
int cmd_pending(cli_call *c);
/* cli/cmd_pause.c */
int cmd_pause(cli_call *c);
int cmd_resume(cli_call *c);
/* cli/cmd_status.c */
int cmd_status(cli_call *c);
int cmd_peers(cli_call *c);
/* cli/cmd_metrics.c */
int cmd_metrics(cli_call *c);
/* cli/cmd_presence.c */
int cmd_presence(cli_call *c);
/* cli/help.c */
int cmd_help(cli_call *c);
int cmd_completion(cli_call *c);
int cmd_version(cli_call *c);
/* cli/bench.c */
int cmd_bench(cli_call *c);

/* cli/print_records.c, cli/print_trust.c: how records look to a person. */
void print_change(cli_printer *p, const cli_call *call, const weft_value *record);
void print_count(cli_printer *p, const cli_call *call, const weft_value *record);
void print_value(cli_printer *p, const cli_call *call, const weft_value *record);
void print_name(cli_printer *p, const cli_call *call, const weft_value *record);
void print_list(cli_printer *p, const cli_call *call, const weft_value *record);
void print_import(cli_printer *p, const cli_call *call, const weft_value *record);
void print_json_line(cli_printer *p, const cli_call *call, const weft_value *record);
void print_log(cli_printer *p, const cli_call *call, const weft_value *record);
void print_diff(cli_printer *p, const cli_call *call, const weft_value *record);
void print_blame(cli_printer *p, const cli_call *call, const weft_value *record);
void print_tags(cli_printer *p, const cli_call *call, const weft_value *record);
void print_revert(cli_printer *p, const cli_call *call, const weft_value *record);
void print_rules(cli_printer *p, const cli_call *call, const weft_value *record);
void print_indexes(cli_printer *p, const cli_call *call, const weft_value *record);
void print_resolve(cli_printer *p, const cli_call *call, const weft_value *record);
void print_conflict(cli_printer *p, const cli_call *call, const weft_value *record);
void print_draft(cli_printer *p, const cli_call *call, const weft_value *record);
void print_data(cli_printer *p, const cli_call *call, const weft_value *record);
void print_fields(cli_printer *p, const cli_call *call, const weft_value *record);
void print_doctor(cli_printer *p, const cli_call *call, const weft_value *record);
void print_id(cli_printer *p, const cli_call *call, const weft_value *record);
void print_ticket(cli_printer *p, const cli_call *call, const weft_value *record);
void print_event(cli_printer *p, const cli_call *call, const weft_value *record);
void print_members(cli_printer *p, const cli_call *call, const weft_value *record);
void print_presence(cli_printer *p, const cli_call *call, const weft_value *record);
void print_status(cli_printer *p, const cli_call *call, const weft_value *record);
void print_pending(cli_printer *p, const cli_call *call, const weft_value *record);
void print_peers(cli_printer *p, const cli_call *call, const weft_value *record);
void print_text(cli_printer *p, const cli_call *call, const weft_value *record);

#endif

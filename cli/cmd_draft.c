/* draft: edits that are not committed yet, and the --draft of the commands that write.
 *
 * A draft rests on what was shown when it was opened.  What it writes is shown nowhere else until
 * it is committed, which is immediate and local, as any edit. */
#include "cli/draft.h"

#include <stdio.h>
#include <string.h>

#include "cli/fields.h"
#include "cli/home.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/space.h"
#include "cli/version.h"
#include "store/history.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

static int draft_failed(cli_call *c, weft_err err, weft_bytes name) {
  static const struct {
    weft_err err;
    int code;
    const char *says;
  } table[] = {
      {WEFT_ENOTFOUND, CLI_NOT_FOUND, "there is no such draft: see weft draft"},
      {WEFT_EBASE, CLI_FAILED, "it rests on changes that are not shown here: weft draft drop it"},
      {WEFT_EBADVALUE, CLI_USAGE,
       "no name for a draft: up to 64 bytes without spaces and slashes are wanted"},
      {WEFT_ECORRUPT, CLI_FAILED, "it is damaged: weft draft drop it"},
      {WEFT_ESTALE, CLI_FAILED, "changed here meanwhile, so it stays a draft: see weft draft show"},
      {WEFT_ECONFLICT, CLI_FAILED,
       "stands in conflict, so it stays a draft: resolve it first: weft resolve settles it"},
      {WEFT_ELIMIT, CLI_FAILED, "too large, or too many drafts: see weft draft"}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    if (table[i].err == err)
      return cli_fail(c, table[i].code, "draft %.*s: %s", TEXT(name), table[i].says);
  }
  return cli_fail_err(c, err, "draft %.*s", TEXT(name));
}

/* --- the --draft of other commands --- */

static int resume(cli_call *c, weft_bytes name, weft_edit **e) {
  weft_edit_options o;
  int code = cli_edit_options(c, &o);
  if (code != CLI_OK) return code;
  weft_err err = weft_edit_resume(e, c->space->replica, name, &o);
  return err == WEFT_OK ? CLI_OK : draft_failed(c, err, name);
}

int cli_edit_open(cli_call *c, const weft_vector *base, weft_edit **e) {
  weft_edit_options o;
  weft_bytes name;
  *e = NULL;
  int code = cli_edit_options(c, &o);
  if (code != CLI_OK) return code;
  if (cli_option_get(c, "draft", &name)) {
    weft_err err = weft_edit_resume(e, c->space->replica, name, &o);
    if (err == WEFT_OK) return CLI_OK;
    if (err != WEFT_ENOTFOUND) return draft_failed(c, err, name);
  }
  o.base = base;
  weft_err err = weft_edit_begin(e, c->space->replica, &o);
  if (base && err == WEFT_EBASE)
    return cli_fail(c, CLI_FAILED, "--base names changes that are not shown here");
  return err == WEFT_OK ? CLI_OK : cli_fail_err(c, err, "%s", c->args.command->name);
}

int cli_edit_close(cli_call *c, weft_edit *e, weft_bytes subject, weft_commit *commit) {
  weft_bytes name;
  memset(commit, 0, sizeof *commit);
  bool draft = cli_option_get(c, "draft", &name);
  weft_err err = draft ? weft_edit_save(e, name) : weft_edit_commit(e, commit);
  weft_edit_free(e);
  if (err == WEFT_OK) return CLI_OK;
  return draft ? draft_failed(c, err, name) : cli_fail_err(c, err, "%.*s", TEXT(subject));
}

static int emit_named(cli_call *c, const char *key, weft_bytes name) {
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_bytes(&o, key, name);
  cli_emit_obj(c, &o);
  return CLI_OK;
}

int cli_edit_finish(cli_call *c, weft_edit *e, weft_bytes subject) {
  weft_commit commit;
  weft_bytes name;
  int code = cli_edit_close(c, e, subject, &commit);
  if (code != CLI_OK) return code;
  if (cli_option_get(c, "draft", &name)) return emit_named(c, "draft", name);
  return cli_emit_commit(c, &commit);
}

int cli_draft_get(cli_call *c, weft_bytes doc, weft_value *out, weft_vector *base) {
  weft_edit *e;
  weft_bytes name;
  if (!cli_option_get(c, "draft", &name)) return CLI_USAGE;
  int code = resume(c, name, &e);
  if (code != CLI_OK) return code;
  weft_err err = weft_edit_preview(e, c->arena, doc, out);
  if (err == WEFT_OK) err = weft_edit_rests_on(e, base);
  weft_edit_free(e);
  if (err == WEFT_ENOTFOUND)
    return cli_fail(c, CLI_NOT_FOUND, "no document %.*s in draft %.*s", TEXT(doc), TEXT(name));
  return err == WEFT_OK ? CLI_OK : cli_fail_err(c, err, "%.*s", TEXT(doc));
}

/* --- records --- */

static void put_time(cli_obj *o, const char *key, weft_ms ms) {
  char text[32];
  cli_time_text(text, ms);
  cli_obj_text(o, key, text);
}

static const char *refusal_text(weft_err err) {
  if (err == WEFT_OK) return NULL;
  if (err == WEFT_ESTALE) return "changed here meanwhile";
  if (err == WEFT_ECONFLICT) return "stands in conflict under the strategy manual";
  if (err == WEFT_EDENIED) return "this device may not write";
  return weft_err_str(err);
}

/* What every record of a draft begins with. */
static void put_draft(cli_call *c, cli_obj *o, const weft_draft *d) {
  uint64_t now = cli_wall_ms();
  weft_value *docs = weft__arena_zero(c->arena, d->doc_count + 1, sizeof *docs);
  for (size_t i = 0; docs && i < d->doc_count; i++)
    docs[i] = (weft_value){.kind = WEFT_STRING, .as.bytes = d->docs[i]};
  cli_obj_bytes(o, "draft", d->name);
  put_time(o, "begun", d->begun);
  put_time(o, "saved", d->saved);
  cli_obj_int(o, "age_seconds", now > d->begun ? (int64_t)((now - d->begun) / 1000) : 0);
  if (d->message.len)
    cli_obj_bytes(o, "message", d->message);
  else
    cli_obj_text(o, "message", NULL);
  cli_obj_put(o, "docs", cli_array(docs, docs ? d->doc_count : 0));
  cli_obj_int(o, "ops", (int64_t)d->op_count);
}

static weft_err forecast_of(cli_call *c, weft_bytes name, weft_forecast *f) {
  weft_edit *e;
  WEFT_TRY(weft_edit_resume(&e, c->space->replica, name, NULL));
  weft_err err = weft_edit_forecast(e, c->arena, f);
  weft_edit_free(e);
  return err;
}

static weft_value list_row(cli_call *c, const weft_draft *d) {
  weft_forecast f;
  cli_obj o = cli_obj_begin(c->arena);
  put_draft(c, &o, d);
  weft_err err = forecast_of(c, d->name, &f);
  cli_obj_int(&o, "conflicts", err == WEFT_OK ? (int64_t)f.conflict_count : 0);
  cli_obj_text(&o, "refusal",
               err == WEFT_EBASE ? "what it rests on is not shown here any more"
               : err != WEFT_OK  ? weft_err_str(err)
                                 : refusal_text(f.refusal));
  return cli_obj_end(&o);
}

static int list_drafts(cli_call *c) {
  weft_draft *list;
  size_t count;
  weft_err err = weft_replica_drafts(c->space->replica, c->arena, &list, &count);
  if (err != WEFT_OK) return cli_fail_err(c, err, "draft");
  weft_value *rows = weft__arena_zero(c->arena, count + 1, sizeof *rows);
  if (!rows) return cli_fail_err(c, WEFT_ENOMEM, "draft");
  for (size_t i = 0; i < count; i++) rows[i] = list_row(c, &list[i]);
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_put(&o, "items", cli_array(rows, count));
  cli_emit_obj(c, &o);
  return CLI_OK;
}

/* --- show --- */

static int find_draft(cli_call *c, weft_bytes name, weft_draft *out) {
  weft_draft *list;
  size_t count;
  weft_err err = weft_replica_drafts(c->space->replica, c->arena, &list, &count);
  if (err != WEFT_OK) return cli_fail_err(c, err, "draft");
  for (size_t i = 0; i < count; i++) {
    *out = list[i];
    if (weft_bytes_cmp(list[i].name, name) == 0) return CLI_OK;
  }
  return draft_failed(c, WEFT_ENOTFOUND, name);
}

static weft_value doc_row(cli_call *c, const weft_forecast_doc *d) {
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_bytes(&o, "doc", d->name);
  if (d->live)
    cli_obj_put(&o, "value", d->value);
  else
    cli_obj_bool(&o, "deleted", true);
  return cli_obj_end(&o);
}

static int show_draft(cli_call *c, weft_bytes name) {
  weft_draft d = {0};
  weft_forecast f;
  int code = find_draft(c, name, &d);
  if (code != CLI_OK) return code;
  weft_err err = forecast_of(c, name, &f);
  if (err != WEFT_OK) return draft_failed(c, err, name);
  weft_value *docs = weft__arena_zero(c->arena, f.doc_count + 1, sizeof *docs);
  weft_value *conflicts = weft__arena_zero(c->arena, f.conflict_count + 1, sizeof *conflicts);
  if (!docs || !conflicts) return cli_fail_err(c, WEFT_ENOMEM, "draft");
  for (size_t i = 0; i < f.doc_count; i++) docs[i] = doc_row(c, &f.docs[i]);
  for (size_t i = 0; i < f.conflict_count; i++)
    conflicts[i] = cli_conflict_record(c, &f.conflicts[i]);
  cli_obj o = cli_obj_begin(c->arena);
  put_draft(c, &o, &d);
  cli_obj_put(&o, "documents", cli_array(docs, f.doc_count));
  cli_obj_put(&o, "conflicts", cli_array(conflicts, f.conflict_count));
  cli_obj_text(&o, "refusal", refusal_text(f.refusal));
  cli_emit_obj(c, &o);
  return CLI_OK;
}

/* --- open, commit, drop --- */

static int open_draft(cli_call *c, weft_bytes name) {
  weft_edit *e;
  weft_edit_options o;
  int code = cli_edit_options(c, &o);
  if (code != CLI_OK) return code;
  weft_err err = weft_edit_resume(&e, c->space->replica, name, &o);
  bool fresh = err == WEFT_ENOTFOUND;
  if (fresh) err = weft_edit_begin(&e, c->space->replica, &o);
  if (err == WEFT_OK && (fresh || o.message.len)) err = weft_edit_save(e, name);
  weft_edit_free(e);
  return err == WEFT_OK ? emit_named(c, "draft", name) : draft_failed(c, err, name);
}

static int commit_draft(cli_call *c, weft_bytes name) {
  weft_edit *e;
  weft_commit commit;
  int code = resume(c, name, &e);
  if (code != CLI_OK) return code;
  weft_err err = weft_edit_commit(e, &commit);
  weft_edit_free(e);
  return err == WEFT_OK ? cli_emit_commit(c, &commit) : draft_failed(c, err, name);
}

static int drop_draft(cli_call *c, weft_bytes name) {
  weft_err err = weft_replica_drop_draft(c->space->replica, name);
  return err == WEFT_OK ? emit_named(c, "dropped", name) : draft_failed(c, err, name);
}

int cmd_draft(cli_call *c) {
  static const struct {
    const char *verb;
    int (*run)(cli_call *c, weft_bytes name);
  } verbs[] = {
      {"open", open_draft}, {"show", show_draft}, {"commit", commit_draft}, {"drop", drop_draft}};
  if (c->args.arg_count == 0) return list_drafts(c);
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
    if (weft_bytes_cmp(c->args.args[0], weft_bytes_str(verbs[i].verb)) != 0) continue;
    if (c->args.arg_count < 2)
      return cli_fail(c, CLI_USAGE, "draft %s: the name of a draft is wanted", verbs[i].verb);
    return verbs[i].run(c, c->args.args[1]);
  }
  return cli_fail(c, CLI_USAGE, "draft %.*s: open, show, commit or drop is wanted",
                  TEXT(c->args.args[0]));
}

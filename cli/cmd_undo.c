/* diff, blame, tag, restore, revert, redo: the past put to use. */
#include <string.h>

#include "cli/fields.h"
#include "cli/run.h"
#include "cli/version.h"
#include "store/history.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

static int no_document(cli_call *c, weft_bytes doc) {
  return cli_fail(c, CLI_NOT_FOUND, "no document %.*s: see weft list", TEXT(doc));
}

/* --- diff ----------------------------------------------------------------------------------------
 */

static const char *relation_name(weft_order order) {
  switch (order) {
  case WEFT_ORDER_EQUAL: return "equal";
  case WEFT_ORDER_BEFORE: return "before";
  case WEFT_ORDER_AFTER: return "after";
  case WEFT_ORDER_CONCURRENT: return "concurrent";
  }
  return "?";
}

static weft_value diff_row(cli_call *c, const weft_diff_item *item) {
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_bytes(&o, "path", item->path);
  if (item->kind != WEFT_DIFF_ADDED) cli_obj_put(&o, "before", item->before);
  if (item->kind != WEFT_DIFF_REMOVED) cli_obj_put(&o, "after", item->after);
  if (item->kind == WEFT_DIFF_MOVED) cli_obj_bytes(&o, "from", item->from);
  return cli_obj_end(&o);
}

/* The two versions asked for: A and B, A and now, or what the last change made. */
static int diff_versions(cli_call *c, weft_bytes doc, cli_version *a, cli_version *b) {
  weft_bytes text[2], at;
  size_t given = 0;
  if (cli_option_get(c, "at", &at)) text[given++] = at;
  if (given + c->args.arg_count > 3)
    return cli_fail(c, CLI_USAGE, "diff: with --at, one more version at most");
  for (size_t i = 1; i < c->args.arg_count && given < 2; i++) text[given++] = c->args.args[i];
  if (given == 0) {
    weft_err err = weft_replica_vector_before_last(c->space->replica, doc, &a->at, NULL);
    if (err == WEFT_ENOTFOUND) return no_document(c, doc);
    if (err != WEFT_OK) return cli_fail_err(c, err, "diff %.*s", TEXT(doc));
  } else {
    int code = cli_version_read(c, doc, text[0], a);
    if (code != CLI_OK) return code;
  }
  return cli_version_read(c, doc, given > 1 ? text[1] : weft_bytes_str("now"), b);
}

static int emit_diff(cli_call *c, weft_bytes doc, const cli_version *a, const cli_version *b) {
  weft_doc_diff diff;
  weft_err err = weft_replica_diff(c->space->replica, c->arena, doc, a->now ? NULL : &a->at,
                                   b->now ? NULL : &b->at, &diff);
  if (err == WEFT_ENOTFOUND) return no_document(c, doc);
  if (err != WEFT_OK) return cli_fail_err(c, err, "diff %.*s", TEXT(doc));
  if (cli_flag(c, "patch")) {
    cli_emit(c, &diff.patch);
    return CLI_OK;
  }
  weft_value *rows = weft__arena_zero(c->arena, diff.count + 1, sizeof *rows);
  if (!rows) return cli_fail_err(c, WEFT_ENOMEM, "diff");
  for (size_t i = 0; i < diff.count; i++) rows[i] = diff_row(c, &diff.items[i]);
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_bytes(&o, "doc", doc);
  cli_obj_text(&o, "relation", relation_name(diff.relation));
  cli_obj_put(&o, "changes", cli_array(rows, diff.count));
  cli_emit_obj(c, &o);
  return CLI_OK;
}

int cmd_diff(cli_call *c) {
  weft_bytes doc;
  cli_version a, b;
  cli_version_none(c, &a);
  cli_version_none(c, &b);
  int code = cli_doc_arg(c, 0, &doc);
  if (code == CLI_OK) code = diff_versions(c, doc, &a, &b);
  if (code == CLI_OK) code = emit_diff(c, doc, &a, &b);
  weft__vector_free(&a.at);
  weft__vector_free(&b.at);
  return code;
}

/* --- blame ---------------------------------------------------------------------------------------
 */

int cmd_blame(cli_call *c) {
  weft_bytes doc;
  weft_blame_entry *list;
  size_t count;
  int code = cli_doc_arg(c, 0, &doc);
  if (code != CLI_OK) return code;
  weft_err err = weft_replica_blame(c->space->replica, c->arena, doc, &list, &count);
  if (err == WEFT_ENOTFOUND) return no_document(c, doc);
  if (err != WEFT_OK) return cli_fail_err(c, err, "blame %.*s", TEXT(doc));
  for (size_t i = 0; i < count; i++) {
    if (!list[i].leaf && !cli_flag(c, "all")) continue;
    cli_obj o = cli_obj_begin(c->arena);
    cli_put_change(c, &o, &list[i].change);
    cli_obj_bytes(&o, "path", list[i].pointer);
    cli_emit_obj(c, &o);
  }
  return CLI_OK;
}

/* --- tag -----------------------------------------------------------------------------------------
 */

static int list_tags(cli_call *c, weft_bytes doc) {
  weft_tag *tags;
  size_t count;
  weft_err err = weft_replica_tags(c->space->replica, c->arena, doc, &tags, &count);
  if (err != WEFT_OK) return cli_fail_err(c, err, "tags of %.*s", TEXT(doc));
  weft_value *rows = weft__arena_zero(c->arena, count + 1, sizeof *rows);
  if (!rows) return cli_fail_err(c, WEFT_ENOMEM, "tag");
  for (size_t i = 0; i < count; i++) {
    cli_obj o = cli_obj_begin(c->arena);
    cli_obj_bytes(&o, "name", tags[i].name);
    weft_value *ids = weft__arena_zero(c->arena, tags[i].count, sizeof *ids);
    for (size_t k = 0; ids && k < tags[i].count; k++) {
      char hex[65];
      cli_hex(hex, tags[i].changes[k].b, sizeof(weft_id));
      ids[k] = cli_text(c->arena, hex);
    }
    cli_obj_put(&o, "changes", cli_array(ids, ids ? tags[i].count : 0));
    rows[i] = cli_obj_end(&o);
  }
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_bytes(&o, "doc", doc);
  cli_obj_put(&o, "tags", cli_array(rows, count));
  cli_emit_obj(c, &o);
  return CLI_OK;
}

static int tag_failed(cli_call *c, weft_err err, weft_bytes doc, weft_bytes name) {
  if (err == WEFT_EBADVALUE)
    return cli_fail(c, CLI_USAGE,
                    "%.*s is no name for a tag: up to 64 bytes without spaces and slashes, not "
                    "\"now\", no digit first, not hex digits alone",
                    TEXT(name));
  if (err == WEFT_ELIMIT)
    return cli_fail(c, CLI_FAILED, "%.*s: tags need a document name of up to 245 bytes", TEXT(doc));
  if (err == WEFT_EBASE)
    return cli_fail(c, CLI_NOT_FOUND, "that change is held and not shown yet: see weft status");
  return cli_fail_err(c, err, "tag %.*s %.*s", TEXT(doc), TEXT(name));
}

int cmd_tag(cli_call *c) {
  weft_bytes doc;
  weft_edit_options options;
  weft_history_entry entry;
  weft_commit commit;
  int code = cli_doc_arg(c, 0, &doc);
  if (code == CLI_OK) code = cli_edit_options(c, &options);
  if (code != CLI_OK) return code;
  if (c->args.arg_count == 1) return list_tags(c, doc);
  weft_bytes name = c->args.args[1];
  bool named = c->args.arg_count > 2;
  if (cli_flag(c, "delete")) {
    weft_err err = weft_replica_untag(c->space->replica, doc, name, &options, &commit);
    if (err == WEFT_ENOTFOUND)
      return cli_fail(c, CLI_NOT_FOUND, "%.*s has no tag %.*s", TEXT(doc), TEXT(name));
    return err == WEFT_OK ? cli_emit_commit(c, &commit) : tag_failed(c, err, doc, name);
  }
  if (named) code = cli_find_change(c, c->args.args[2], &entry);
  if (code != CLI_OK) return code;
  weft_err err = weft_replica_tag(c->space->replica, doc, name, named ? &entry.change : NULL,
                                  &options, &commit);
  if (err == WEFT_ENOTFOUND && named)
    return cli_fail(c, CLI_NOT_FOUND, "%.*s was not there after change %.*s", TEXT(doc),
                    TEXT(c->args.args[2]));
  if (err == WEFT_ENOTFOUND) return no_document(c, doc);
  return err == WEFT_OK ? cli_emit_commit(c, &commit) : tag_failed(c, err, doc, name);
}

/* --- restore -------------------------------------------------------------------------------------
 */

/* Where in the arguments the pointer stands, and which version is meant. */
static int restore_args(cli_call *c, weft_bytes *version, weft_bytes *pointer) {
  size_t at = 1;
  *pointer = weft_bytes_of("", 0);
  if (!cli_option_get(c, "at", version)) {
    if (c->args.arg_count < 2)
      return cli_fail(c, CLI_USAGE, "restore: which version?  A change, a tag, or --at TIME");
    *version = c->args.args[at++];
  }
  if (c->args.arg_count > at + 1)
    return cli_fail(c, CLI_USAGE, "restore: one pointer at most is wanted");
  return c->args.arg_count > at ? cli_pointer_of(c, c->args.args[at], pointer) : CLI_OK;
}

int cmd_restore(cli_call *c) {
  weft_bytes doc, text, pointer;
  cli_version version;
  weft_edit_options options;
  weft_commit commit;
  cli_version_none(c, &version);
  int code = cli_doc_arg(c, 0, &doc);
  if (code == CLI_OK) code = cli_edit_options(c, &options);
  if (code == CLI_OK) code = restore_args(c, &text, &pointer);
  if (code == CLI_OK) code = cli_version_read(c, doc, text, &version);
  weft_err err = WEFT_OK;
  if (code == CLI_OK)
    err = weft_replica_restore(c->space->replica, doc, pointer, &version.at,
                               version.is_one ? &version.change : NULL, &options, &commit);
  weft__vector_free(&version.at);
  if (code != CLI_OK) return code;
  if (err == WEFT_OK) return cli_emit_commit(c, &commit);
  if (err == WEFT_ENOTFOUND && pointer.len == 0)
    return cli_fail(c, CLI_NOT_FOUND, "%.*s was not there at %.*s", TEXT(doc), TEXT(text));
  if (err == WEFT_ENOTFOUND)
    return cli_fail(c, CLI_NOT_FOUND, "%.*s had nothing at %.*s at %.*s", TEXT(doc), TEXT(pointer),
                    TEXT(text));
  if (err == WEFT_EBADPATH)
    return cli_fail(c, CLI_FAILED,
                    "what contained %.*s of %.*s is gone: restore that, or the whole document",
                    TEXT(pointer), TEXT(doc));
  return cli_fail_err(c, err, "restore %.*s", TEXT(doc));
}

/* --- revert --------------------------------------------------------------------------------------
 */

static const char *outcome_name(weft_revert_outcome outcome) {
  switch (outcome) {
  case WEFT_REVERT_DONE: return "reverted";
  case WEFT_REVERT_ALREADY: return "already";
  case WEFT_REVERT_CHANGED: return "changed";
  case WEFT_REVERT_GONE: return "gone";
  }
  return "?";
}

static weft_value revert_row(cli_call *c, const weft_revert_item *item) {
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_bytes(&o, "doc", item->doc);
  if (item->pointer.at)
    cli_obj_bytes(&o, "path", item->pointer);
  else
    cli_obj_text(&o, "path", NULL);
  cli_obj_put(&o, "typed_path", cli_path_value(c->arena, item->path));
  cli_obj_text(&o, "outcome", outcome_name(item->outcome));
  if (item->outcome == WEFT_REVERT_CHANGED) cli_obj_hex(&o, "by", item->by.b, sizeof item->by.b);
  return cli_obj_end(&o);
}

int cmd_revert(cli_call *c) {
  weft_history_entry entry;
  weft_edit_options options;
  weft_revert_item *items;
  size_t count, left = 0;
  weft_commit commit;
  weft_bytes text = c->args.args[0];
  int code = cli_find_change(c, text, &entry);
  if (code == CLI_OK) code = cli_edit_options(c, &options);
  if (code != CLI_OK) return code;
  weft_err err = weft_replica_revert(c->space->replica, c->arena, &entry.change, &options, &items,
                                     &count, &commit);
  if (err == WEFT_EBASE)
    return cli_fail(c, CLI_FAILED, "change %.*s is held and not shown: there is nothing to revert",
                    TEXT(text));
  if (err == WEFT_EMISUSE)
    return cli_fail(c, CLI_FAILED, "change %.*s wrote nothing to a document", TEXT(text));
  if (err != WEFT_OK) return cli_fail_err(c, err, "revert %.*s", TEXT(text));
  weft_value *rows = weft__arena_zero(c->arena, count + 1, sizeof *rows);
  if (!rows) return cli_fail_err(c, WEFT_ENOMEM, "revert");
  for (size_t i = 0; i < count; i++) {
    rows[i] = revert_row(c, &items[i]);
    left += items[i].outcome == WEFT_REVERT_CHANGED || items[i].outcome == WEFT_REVERT_GONE;
  }
  cli_obj o = cli_obj_begin(c->arena);
  cli_put_commit(&o, &commit);
  cli_obj_put(&o, "places", cli_array(rows, count));
  cli_emit_obj(c, &o);
  if (left == 0) return CLI_OK;
  return cli_fail(c, CLI_PARTIAL,
                  "%zu of %zu places were left alone: what the change wrote does not stand there "
                  "any more",
                  left, count);
}

int cmd_redo(cli_call *c) {
  weft_history_entry entry;
  weft_edit_options options;
  weft_commit commit;
  weft_bytes text = c->args.args[0];
  int code = cli_find_change(c, text, &entry);
  if (code == CLI_OK) code = cli_edit_options(c, &options);
  if (code != CLI_OK) return code;
  weft_err err = weft_replica_redo(c->space->replica, &entry.change, &options, &commit);
  if (err == WEFT_OK) return cli_emit_commit(c, &commit);
  if (err == WEFT_EMISUSE)
    return cli_fail(c, CLI_FAILED,
                    "change %.*s is shown, or wrote nothing: there is nothing to redo", TEXT(text));
  return cli_fail_err(c, err, "redo %.*s", TEXT(text));
}

/* set, unset, get, new, delete, undelete: documents one at a time. */
#include <stdio.h>
#include <string.h>

#include "cli/draft.h"
#include "cli/fields.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/space.h"
#include "cli/version.h"
#include "crdt/json.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

/* A person who writes below a visible scalar most likely mistyped: name it instead of replacing it.
 */
static int refuse_below_scalar(cli_call *c, weft_bytes doc, weft_bytes pointer) {
  for (size_t len = 1; len < pointer.len; len++) {
    if (pointer.at[len] != '/') continue;
    weft_value v;
    weft_bytes above = weft_bytes_of(pointer.at, len);
    if (weft_replica_get(c->space->replica, c->arena, doc, above, &v) != WEFT_OK) return CLI_OK;
    if (weft_value_is_scalar(&v))
      return cli_fail(c, CLI_FAILED, "%.*s holds a plain value at %.*s: unset that first",
                      TEXT(doc), TEXT(above));
  }
  return CLI_OK;
}

int cmd_set(cli_call *c) {
  weft_bytes doc;
  int code = cli_doc_arg(c, 0, &doc);
  if (code != CLI_OK) return code;
  if (c->args.arg_count < 2)
    return cli_fail(c, CLI_USAGE, "set %.*s: FIELD=TEXT or FIELD:=JSON is wanted", TEXT(doc));
  weft_edit *e;
  code = cli_edit_open(c, NULL, &e);
  if (code != CLI_OK) return code;
  for (size_t i = 1; i < c->args.arg_count && code == CLI_OK; i++) {
    weft_bytes pointer;
    weft_value value;
    code = cli_assignment(c, c->args.args[i], &pointer, &value);
    if (code == CLI_OK) code = refuse_below_scalar(c, doc, pointer);
    if (code != CLI_OK) break;
    weft_err err = weft_edit_set(e, doc, pointer, &value);
    if (err != WEFT_OK) code = cli_fail_place(c, err, doc, pointer);
  }
  if (code == CLI_OK) return cli_edit_finish(c, e, doc);
  weft_edit_free(e);
  return code;
}

int cmd_unset(cli_call *c) {
  weft_bytes doc;
  int code = cli_doc_arg(c, 0, &doc);
  if (code != CLI_OK) return code;
  weft_edit *e;
  code = cli_edit_open(c, NULL, &e);
  if (code != CLI_OK) return code;
  for (size_t i = 1; i < c->args.arg_count && code == CLI_OK; i++) {
    weft_bytes pointer;
    code = cli_pointer_of(c, c->args.args[i], &pointer);
    if (code != CLI_OK) break;
    weft_err err = weft_edit_unset(e, doc, pointer);
    if (err != WEFT_OK) code = cli_fail_place(c, err, doc, pointer);
  }
  if (code == CLI_OK) return cli_edit_finish(c, e, doc);
  weft_edit_free(e);
  return code;
}

static weft_err get(cli_call *c, weft_bytes doc, weft_bytes pointer, const weft_vector *base,
                    weft_value *v) {
  if (base) return weft_replica_get_at(c->space->replica, c->arena, doc, pointer, base, v);
  return weft_replica_get(c->space->replica, c->arena, doc, pointer, v);
}

static int emit_with_base(cli_call *c, const weft_value *v, const weft_vector *base) {
  cli_obj o = cli_obj_begin(c->arena);
  weft_err err = cli_obj_base(&o, base);
  if (err == WEFT_ELIMIT)
    return cli_fail(c, CLI_FAILED,
                    "this space has %zu logs, more than a base can name: write with weft set, now "
                    "or into a draft",
                    base->count);
  if (err != WEFT_OK) return cli_fail_err(c, err, "get");
  cli_obj_put(&o, "value", *v);
  cli_emit_obj(c, &o);
  return CLI_OK;
}

static int get_draft(cli_call *c, weft_bytes doc, weft_bytes pointer) {
  weft_value v;
  weft_vector base;
  weft__vector_init(&base, &c->arena->mem);
  int code = cli_draft_get(c, doc, &v, &base);
  const weft_value *part = code == CLI_OK ? cli_value_at(c, &v, pointer) : NULL;
  if (part && cli_flag(c, "with-base"))
    code = emit_with_base(c, part, &base);
  else if (part)
    cli_emit(c, part);
  else if (code == CLI_OK)
    code = cli_fail(c, CLI_NOT_FOUND, "%.*s has nothing at %.*s", TEXT(doc), TEXT(pointer));
  weft__vector_free(&base);
  return code;
}

int cmd_get(cli_call *c) {
  weft_bytes doc, pointer = weft_bytes_of("", 0), at;
  int code = cli_doc_arg(c, 0, &doc);
  if (code == CLI_OK && c->args.arg_count > 1) code = cli_pointer_of(c, c->args.args[1], &pointer);
  if (code != CLI_OK) return code;
  cli_version version;
  cli_version_none(c, &version);
  bool old = cli_option_get(c, "at", &at);
  if (cli_flag(c, "draft")) {
    code = old ? cli_fail(c, CLI_USAGE, "get: either --at or --draft is wanted")
               : get_draft(c, doc, pointer);
    weft__vector_free(&version.at);
    return code;
  }
  if (old) code = cli_version_read(c, doc, at, &version);
  if (code == CLI_OK) {
    weft_value v;
    weft_err err = get(c, doc, pointer, old ? &version.at : NULL, &v);
    if (err == WEFT_OK && cli_flag(c, "with-base"))
      code = emit_with_base(c, &v, old ? &version.at : weft_replica_shown(c->space->replica));
    else if (err == WEFT_OK)
      cli_emit(c, &v);
    else if (err == WEFT_ENOTFOUND)
      code = pointer.len
                 ? cli_fail(c, CLI_NOT_FOUND, "%.*s has nothing at %.*s", TEXT(doc), TEXT(pointer))
                 : cli_fail(c, CLI_NOT_FOUND, "no document %.*s: see weft list", TEXT(doc));
    else
      code = cli_fail_place(c, err, doc, pointer);
  }
  weft__vector_free(&version.at);
  return code;
}

/* A generated name: 12 characters of base32 from the system's generator. */
static void generated_name(char out[13]) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
  uint8_t random[12];
  weft_random(random, sizeof random);
  for (size_t i = 0; i < sizeof random; i++) out[i] = letters[random[i] & 31];
  out[12] = 0;
}

int cmd_new(cli_call *c) {
  weft_bytes collection = c->args.args[0];
  char name[13], full[WEFT_NAME_LEN_MAX + 1];
  generated_name(name);
  int len = snprintf(full, sizeof full, "%.*s/%s", TEXT(collection), name);
  weft_bytes doc = weft_bytes_str(full);
  if (len < 0 || (size_t)len >= sizeof full || weft_document_name_check(doc) != WEFT_OK)
    return cli_fail(c, CLI_USAGE, "%.*s is not the name of a collection", TEXT(collection));
  weft_value value = {.kind = WEFT_OBJECT};
  if (c->args.has_input) {
    weft_json_error why;
    if (weft_json_parse(c->arena, c->args.input, &value, &why) != WEFT_OK)
      return cli_fail(c, CLI_FAILED, "the input is not JSON: line %zu: %s", why.line, why.text);
    if (value.kind != WEFT_OBJECT)
      return cli_fail(c, CLI_FAILED, "the input is not a JSON object: a document is one");
  }
  weft_edit *e;
  int code = cli_edit_open(c, NULL, &e);
  if (code != CLI_OK) return code;
  weft_err err = weft_edit_import(e, doc, &value, false);
  weft_commit commit;
  if (err == WEFT_OK) err = weft_edit_commit(e, &commit);
  weft_edit_free(e);
  if (err != WEFT_OK) return cli_fail_err(c, err, "%s", full);
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_text(&o, "doc", full);
  cli_obj_hex(&o, "change", commit.change.b, sizeof commit.change.b);
  cli_emit_obj(c, &o);
  return CLI_OK;
}

static int emit_count(cli_call *c, size_t count, const weft_commit *commit) {
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_int(&o, "count", (int64_t)count);
  if (commit->written)
    cli_obj_hex(&o, "change", commit->change.b, sizeof commit->change.b);
  else
    cli_obj_text(&o, "change", NULL);
  cli_emit_obj(c, &o);
  return CLI_OK;
}

typedef weft_err (*on_document)(weft_edit *e, weft_bytes doc);

/* Does one thing to each of `docs` in one change; a document that is not there fails the whole. */
static int each(cli_call *c, const weft_bytes *docs, size_t count, on_document what) {
  weft_edit *e;
  int code = cli_edit_open(c, NULL, &e);
  if (code != CLI_OK) return code;
  weft_commit commit = {0};
  for (size_t i = 0; i < count && code == CLI_OK; i++) {
    weft_err err = what(e, docs[i]);
    if (err == WEFT_ENOTFOUND)
      code = cli_fail(c, CLI_NOT_FOUND, "no %sdocument %.*s: nothing was done",
                      what == weft_edit_undelete ? "deleted " : "", TEXT(docs[i]));
    else if (err != WEFT_OK)
      code = cli_fail_err(c, err, "%.*s", TEXT(docs[i]));
  }
  if (code == CLI_OK && count) {
    code = cli_edit_close(c, e, weft_bytes_str(c->args.command->name), &commit);
  } else {
    weft_edit_free(e);
  }
  return code == CLI_OK ? emit_count(c, count, &commit) : code;
}

/* Names of all documents that match the --where options. */
static int matching(cli_call *c, weft_bytes **docs, size_t *count) {
  weft_query q;
  weft_query_init(&q);
  weft_where *wheres;
  int code = cli_wheres(c, &wheres, &q.where_count);
  if (code != CLI_OK) return code;
  q.where = wheres;
  q.limit = 1000;
  if (!cli_option_get(c, "collection", &q.collection)) q.collection = weft_bytes_of("", 0);
  size_t cap = 0;
  do {
    weft_list list;
    weft_err err = weft_replica_list(c->space->replica, c->arena, &q, &list);
    void *at = *docs;
    if (err == WEFT_OK)
      err = weft__arena_grow(c->arena, &at, *count, &cap, *count + list.count, sizeof **docs);
    if (err != WEFT_OK) return cli_fail_err(c, err, "--where");
    *docs = at;
    for (size_t i = 0; i < list.count; i++) (*docs)[(*count)++] = list.items[i].info.name;
    q.cursor = list.next;
  } while (q.cursor.len);
  return CLI_OK;
}

static int named(cli_call *c, weft_bytes **docs, size_t *count) {
  *docs = c->args.args;
  *count = c->args.arg_count;
  for (size_t i = 0; i < *count; i++) {
    weft_bytes doc;
    int code = cli_doc_arg(c, i, &doc);
    if (code != CLI_OK) return code;
  }
  return CLI_OK;
}

int cmd_delete(cli_call *c) {
  weft_bytes *docs = NULL;
  size_t count = 0;
  bool by_where = cli_flag(c, "where");
  if (by_where == (c->args.arg_count > 0))
    return cli_fail(c, CLI_USAGE, "delete: either documents or --where EXPR is wanted");
  int code = by_where ? matching(c, &docs, &count) : named(c, &docs, &count);
  return code == CLI_OK ? each(c, docs, count, weft_edit_delete) : code;
}

int cmd_undelete(cli_call *c) {
  weft_bytes *docs;
  size_t count;
  int code = named(c, &docs, &count);
  return code == CLI_OK ? each(c, docs, count, weft_edit_undelete) : code;
}

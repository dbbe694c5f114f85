/* log, show, conflicts, resolve: what was written, by whom, and where it disagrees. */
#include <stdio.h>
#include <string.h>

#include "cli/fields.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/space.h"
#include "crdt/json.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

/* --- typed paths as text: /key for a key, /[hex] for an element
 * ------------------------------------ */

static void path_text(weft_path path, weft_buf *out) {
  size_t at = 0;
  weft_step step;
  while (weft_path_next(path, &at, &step)) {
    if (!step.element) {
      weft_pointer_push(out, step.name);
      continue;
    }
    char hex[2 * WEFT_ELEMENT_LEN_MAX + 1];
    cli_hex(hex, step.name.at, step.name.len);
    weft__buf_put(out, weft_bytes_str("/["));
    weft__buf_put(out, weft_bytes_str(hex));
    weft__buf_u8(out, ']');
  }
}

static weft_value path_value(cli_call *c, weft_path path) {
  weft_value v = {.kind = WEFT_NULL};
  weft_buf b;
  weft__buf_init(&b, &c->arena->mem, SIZE_MAX);
  path_text(path, &b);
  weft_bytes copy;
  if (weft__buf_err(&b) == WEFT_OK &&
      weft__arena_copy(c->arena, weft__buf_view(&b), &copy) == WEFT_OK) {
    v.kind = WEFT_STRING;
    v.as.bytes = copy;
  }
  weft__buf_free(&b);
  return v;
}

/* --- log -----------------------------------------------------------------------------------------
 */

static const char *op_name(weft_op_kind kind) {
  switch (kind) {
  case WEFT_OP_SCALAR: return "set";
  case WEFT_OP_UNSET: return "unset";
  case WEFT_OP_MARK_OBJECT: return "object";
  case WEFT_OP_MARK_ARRAY: return "array";
  case WEFT_OP_FRESH_OBJECT: return "new-object";
  case WEFT_OP_FRESH_ARRAY: return "new-array";
  case WEFT_OP_POSITION: return "move";
  }
  return "?";
}

static weft_value op_record(cli_call *c, const weft_op *op) {
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_bytes(&o, "doc", op->doc);
  cli_obj_text(&o, "op", op_name(op->kind));
  cli_obj_put(&o, "path", path_value(c, op->path));
  weft_value v;
  if (op->kind == WEFT_OP_SCALAR && weft__scalar_decode(op->value, &v) == WEFT_OK)
    cli_obj_put(&o, "value", v);
  return cli_obj_end(&o);
}

/* Members that log entries and conflict values share: who, when, which change. */
static void put_change(cli_call *c, cli_obj *o, const weft_history_entry *e) {
  char scratch[17];
  weft_bytes name = cli_device_name(c->space, &e->device, scratch), copy;
  cli_obj_hex(o, "change", e->change.b, sizeof e->change.b);
  cli_obj_hex(o, "device", e->device.b, sizeof e->device.b);
  if (weft__arena_copy(c->arena, name, &copy) == WEFT_OK) cli_obj_bytes(o, "name", copy);
  cli_obj_time(o, "time", e->hlc);
}

static weft_value log_record(cli_call *c, const weft_history_entry *e) {
  cli_obj o = cli_obj_begin(c->arena);
  put_change(c, &o, e);
  cli_obj_hex(&o, "log", e->log.b, sizeof e->log.b);
  cli_obj_int(&o, "seq", (int64_t)e->seq);
  if (e->message.len)
    cli_obj_bytes(&o, "message", e->message);
  else
    cli_obj_text(&o, "message", NULL);
  weft_value *ops = weft__arena_zero(c->arena, e->op_count + 1, sizeof *ops);
  for (size_t i = 0; ops && i < e->op_count; i++) ops[i] = op_record(c, &e->ops[i]);
  cli_obj_put(&o, "ops", cli_array(ops, ops ? e->op_count : 0));
  return cli_obj_end(&o);
}

static int log_query(cli_call *c, weft_history_query *q, weft_id *device) {
  weft_history_query_init(q);
  weft_bytes text;
  int code = CLI_OK;
  if (c->args.arg_count > 0) code = cli_doc_arg(c, 0, &q->doc);
  if (code == CLI_OK && c->args.arg_count > 1) {
    q->has_pointer = true;
    code = cli_pointer_of(c, c->args.args[1], &q->pointer);
  }
  if (code != CLI_OK) return code;
  if (cli_option_get(c, "by", &text)) {
    weft_err err = cli_device_find(c->space, text, device);
    if (err != WEFT_OK)
      return cli_fail(c, CLI_NOT_FOUND, "--by %.*s: %s; see weft members", TEXT(text),
                      err == WEFT_ENOTFOUND ? "no such device" : "more than one device fits");
    q->device = device;
  }
  if (cli_option_get(c, "since", &text) && !cli_time_parse(text, &q->since))
    return cli_fail(c, CLI_USAGE, "--since %.*s: a time such as 2026-01-31T12:00:00Z is wanted",
                    TEXT(text));
  uint64_t limit;
  if (!cli_option_number(c, "limit", 1, 10000, 100, &limit)) return CLI_USAGE;
  q->limit = (size_t)limit;
  return CLI_OK;
}

int cmd_log(cli_call *c) {
  weft_history_query q;
  weft_id device;
  int code = log_query(c, &q, &device);
  if (code != CLI_OK) return code;
  weft_history_entry *entries;
  size_t count;
  weft_bytes next;
  weft_err err = weft_replica_history(c->space->replica, c->arena, &q, &entries, &count, &next);
  if (err == WEFT_ENOTFOUND) return cli_fail(c, CLI_NOT_FOUND, "no document %.*s", TEXT(q.doc));
  if (err != WEFT_OK) return cli_fail_err(c, err, "log");
  for (size_t i = 0; i < count; i++) {
    weft_value record = log_record(c, &entries[i]);
    cli_emit(c, &record);
  }
  return CLI_OK;
}

/* A change by the first digits of its id. */
static int find_change(cli_call *c, weft_bytes text, weft_history_entry *entry) {
  weft_bytes prefix;
  weft_change_state state;
  if (!cli_unhex(c->arena, text, &prefix))
    return cli_fail(c, CLI_NOT_FOUND, "no change %.*s: an id is an even number of hex digits",
                    TEXT(text));
  weft_err err = weft_replica_change(c->space->replica, c->arena, prefix, entry, &state);
  if (err == WEFT_OK) return CLI_OK;
  if (err == WEFT_ENOTFOUND)
    return cli_fail(c, CLI_NOT_FOUND, "no change %.*s: see weft log", TEXT(text));
  if (err == WEFT_EMALFORMED)
    return cli_fail(c, CLI_USAGE, "change %.*s: give at least 8 digits, and enough to fit one only",
                    TEXT(text));
  return cli_fail_err(c, err, "change %.*s", TEXT(text));
}

int cmd_show(cli_call *c) {
  weft_history_entry entry;
  int code = find_change(c, c->args.args[0], &entry);
  if (code != CLI_OK) return code;
  weft_value record = log_record(c, &entry);
  cli_emit(c, &record);
  return CLI_OK;
}

/* --- conflicts -----------------------------------------------------------------------------------
 */

static const char *kind_name(weft_conflict_kind kind) {
  switch (kind) {
  case WEFT_CONFLICT_VALUE: return "value";
  case WEFT_CONFLICT_SHAPE: return "shape";
  case WEFT_CONFLICT_EDIT_DELETE: return "edit-delete";
  }
  return "?";
}

static bool same_content(const weft_conflict_value *a, const weft_conflict_value *b) {
  return a->shape == b->shape &&
         (a->shape == WEFT_SHAPE_NONE || weft_value_equal(&a->value, &b->value));
}

/* One entry a distinct value: the winner's change, or the newest; the others stand under "also". */
static weft_value value_record(cli_call *c, const weft_conflict_entry *e, size_t first) {
  const weft_conflict_value *v = &e->values[first];
  cli_obj o = cli_obj_begin(c->arena);
  put_change(c, &o, &v->change);
  cli_obj_bool(&o, "winner", v->winner);
  if (v->shape == WEFT_SHAPE_NONE)
    cli_obj_bool(&o, "deleted", true);
  else
    cli_obj_put(&o, "value", v->value);
  weft_value *also = weft__arena_zero(c->arena, e->value_count, sizeof *also);
  size_t count = 0;
  for (size_t i = first + 1; also && i < e->value_count; i++) {
    if (!same_content(v, &e->values[i])) continue;
    cli_obj other = cli_obj_begin(c->arena);
    put_change(c, &other, &e->values[i].change);
    also[count++] = cli_obj_end(&other);
  }
  if (count) cli_obj_put(&o, "also", cli_array(also, count));
  return cli_obj_end(&o);
}

static bool seen_before(const weft_conflict_entry *e, size_t i) {
  for (size_t k = 0; k < i; k++)
    if (same_content(&e->values[k], &e->values[i])) return true;
  return false;
}

int cmd_conflicts(cli_call *c) {
  weft_bytes doc = weft_bytes_of("", 0);
  if (c->args.arg_count) {
    int code = cli_doc_arg(c, 0, &doc);
    if (code != CLI_OK) return code;
  }
  uint64_t limit;
  if (!cli_option_number(c, "limit", 1, 10000, 1000, &limit)) return CLI_USAGE;
  weft_conflict_entry *entries;
  size_t count;
  weft_err err =
      weft_replica_conflicts(c->space->replica, c->arena, doc, (size_t)limit, &entries, &count);
  if (err == WEFT_ENOTFOUND) return cli_fail(c, CLI_NOT_FOUND, "no document %.*s", TEXT(doc));
  if (err != WEFT_OK) return cli_fail_err(c, err, "conflicts");
  for (size_t i = 0; i < count; i++) {
    const weft_conflict_entry *e = &entries[i];
    cli_obj o = cli_obj_begin(c->arena);
    cli_obj_bytes(&o, "doc", e->doc);
    cli_obj_text(&o, "kind", kind_name(e->kind));
    cli_obj_put(&o, "typed_path", path_value(c, e->path));
    if (e->pointer.at)
      cli_obj_bytes(&o, "path", e->pointer);
    else
      cli_obj_text(&o, "path", NULL);
    weft_value *values = weft__arena_zero(c->arena, e->value_count + 1, sizeof *values);
    size_t distinct = 0;
    for (size_t k = 0; values && k < e->value_count; k++)
      if (!seen_before(e, k)) values[distinct++] = value_record(c, e, k);
    cli_obj_put(&o, "values", cli_array(values, distinct));
    weft_value record = cli_obj_end(&o);
    cli_emit(c, &record);
  }
  return CLI_OK;
}

/* --- resolve -------------------------------------------------------------------------------------
 */

/* The conflict that POINTER names: by what is shown now, else by its typed path. */
static int find_conflict(cli_call *c, weft_bytes doc, weft_bytes pointer,
                         weft_conflict_entry *out) {
  weft_conflict_entry *entries;
  size_t count;
  weft_err err = weft_replica_conflicts(c->space->replica, c->arena, doc, 0, &entries, &count);
  if (err == WEFT_ENOTFOUND) return cli_fail(c, CLI_NOT_FOUND, "no document %.*s", TEXT(doc));
  if (err != WEFT_OK) return cli_fail_err(c, err, "resolve");
  for (size_t i = 0; i < count; i++) {
    weft_value typed = path_value(c, entries[i].path);
    bool fits = entries[i].pointer.at && weft_bytes_cmp(entries[i].pointer, pointer) == 0;
    if (!fits) fits = typed.kind == WEFT_STRING && weft_bytes_cmp(typed.as.bytes, pointer) == 0;
    if (!fits) continue;
    *out = entries[i];
    return CLI_OK;
  }
  return cli_fail(c, CLI_NOT_FOUND, "no conflict at %.*s of %.*s: see weft conflicts",
                  TEXT(pointer), TEXT(doc));
}

static int kept_value(cli_call *c, const weft_conflict_entry *conflict, weft_bytes keep,
                      const weft_conflict_value **out) {
  weft_history_entry entry;
  int code = find_change(c, keep, &entry);
  if (code != CLI_OK) return code;
  for (size_t i = 0; i < conflict->value_count; i++) {
    if (weft_id_cmp(&conflict->values[i].change.change, &entry.change) != 0) continue;
    *out = &conflict->values[i];
    return CLI_OK;
  }
  return cli_fail(c, CLI_NOT_FOUND, "change %.*s is no part of this conflict: see weft conflicts",
                  TEXT(keep));
}

static weft_err write_resolution(weft_edit *e, weft_bytes doc, const weft_conflict_entry *conflict,
                                 const weft_conflict_value *kept, const weft_value *value) {
  if (!kept) return weft_edit_resolve(e, doc, conflict->path, value);
  if (kept->shape == WEFT_SHAPE_NONE) return weft_edit_remove_path(e, doc, conflict->path);
  if (kept->shape == WEFT_SHAPE_SCALAR)
    return weft_edit_resolve(e, doc, conflict->path, &kept->value);
  return weft_edit_resolve(e, doc, conflict->path, kept->winner ? NULL : &kept->value);
}

/* The ids of the changes that were listed, as an extension of the resolving change. */
static void put_resolves(weft_buf *b, const weft_conflict_entry *conflict) {
  weft__buf_varint(b, WEFT_EXT_RESOLVES);
  weft__buf_varint(b, conflict->value_count * sizeof(weft_id));
  for (size_t i = 0; i < conflict->value_count; i++)
    weft__buf_put_raw(b, conflict->values[i].change.change.b, sizeof(weft_id));
}

int cmd_resolve(cli_call *c) {
  weft_bytes doc, pointer = c->args.args[1], keep, json;
  int code = cli_doc_arg(c, 0, &doc);
  if (code != CLI_OK) return code;
  bool by_keep = cli_option_get(c, "keep", &keep), by_value = cli_option_get(c, "value", &json);
  if (by_keep == by_value)
    return cli_fail(c, CLI_USAGE, "resolve: either --keep CHANGE or --value JSON is wanted");
  weft_value value;
  if (by_value) {
    weft_json_error why;
    if (weft_json_parse(c->arena, json, &value, &why) != WEFT_OK)
      return cli_fail(c, CLI_USAGE, "--value is not JSON: %s", why.text);
  }
  weft_conflict_entry conflict = {.value_count = 0};
  const weft_conflict_value *kept = NULL;
  if (code == CLI_OK) code = find_conflict(c, doc, pointer, &conflict);
  if (code == CLI_OK && by_keep) code = kept_value(c, &conflict, keep, &kept);
  weft_edit_options options;
  if (code == CLI_OK) code = cli_edit_options(c, &options);
  if (code != CLI_OK) return code;
  weft_buf ext;
  weft__buf_init(&ext, &c->arena->mem, WEFT_CHANGE_LEN_MAX);
  put_resolves(&ext, &conflict);
  options.extensions = weft__buf_view(&ext);
  weft_edit *e = NULL;
  weft_commit commit;
  weft_err err = weft__buf_err(&ext);
  if (err == WEFT_OK) err = weft_edit_begin(&e, c->space->replica, &options);
  if (err == WEFT_OK) err = write_resolution(e, doc, &conflict, kept, &value);
  if (err == WEFT_OK) err = weft_edit_commit(e, &commit);
  weft_edit_free(e);
  weft__buf_free(&ext);
  if (err != WEFT_OK) return cli_fail_err(c, err, "%.*s %.*s", TEXT(doc), TEXT(pointer));
  return cli_emit_commit(c, &commit);
}

/* log, show, conflicts, resolve: what was written, by whom, and where it disagrees. */
#include <stdio.h>
#include <string.h>

#include "cli/fields.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/space.h"
#include "cli/version.h"
#include "crdt/json.h"
#include "store/history.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

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

static weft_value op_record(weft_arena *arena, const weft_op *op) {
  cli_obj o = cli_obj_begin(arena);
  cli_obj_bytes(&o, "doc", op->doc);
  cli_obj_text(&o, "op", op_name(op->kind));
  cli_obj_put(&o, "path", cli_path_value(arena, op->path));
  weft_value v;
  if (op->kind == WEFT_OP_SCALAR && weft__scalar_decode(op->value, &v) == WEFT_OK)
    cli_obj_put(&o, "value", v);
  return cli_obj_end(&o);
}

/* What a change says about others: ids in hex, of "resolves" a list. */
static void put_relations(cli_obj *o, weft_bytes extensions) {
  weft_rd r = weft__rd(extensions);
  while (weft__rd_left(&r) > 0 && !r.failed) {
    uint64_t type = weft__rd_varint(&r);
    weft_bytes ids = weft__rd_block(&r);
    const char *name = type == WEFT_EXT_RESTORED_FROM ? "restored_from"
                       : type == WEFT_EXT_REVERTS     ? "reverts"
                       : type == WEFT_EXT_REDOES      ? "redoes"
                                                      : NULL;
    if (name && ids.len == sizeof(weft_id)) cli_obj_hex(o, name, ids.at, ids.len);
    if (type != WEFT_EXT_RESOLVES || r.failed) continue;
    size_t count = ids.len / sizeof(weft_id);
    weft_value *list = weft__arena_zero(o->arena, count + 1, sizeof *list);
    for (size_t i = 0; list && i < count; i++) {
      char hex[2 * sizeof(weft_id) + 1];
      cli_hex(hex, ids.at + i * sizeof(weft_id), sizeof(weft_id));
      list[i] = cli_text(o->arena, hex);
    }
    cli_obj_put(o, "resolves", cli_array(list, list ? count : 0));
  }
}

weft_value cli_change_record(const cli_call *c, weft_arena *arena, const weft_history_entry *e,
                             weft_bytes next) {
  cli_obj o = cli_obj_begin(arena);
  cli_put_change(c, &o, e);
  cli_obj_hex(&o, "log", e->log.b, sizeof e->log.b);
  cli_obj_int(&o, "seq", (int64_t)e->seq);
  if (e->message.len)
    cli_obj_bytes(&o, "message", e->message);
  else
    cli_obj_text(&o, "message", NULL);
  put_relations(&o, e->extensions);
  weft_value *ops = weft__arena_zero(arena, e->op_count + 1, sizeof *ops);
  for (size_t i = 0; ops && i < e->op_count; i++) ops[i] = op_record(arena, &e->ops[i]);
  cli_obj_put(&o, "ops", cli_array(ops, ops ? e->op_count : 0));
  if (next.len) cli_obj_bytes(&o, "next", next);
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
  static const char *const bounds[] = {"since", "until"};
  for (size_t i = 0; i < 2; i++) {
    if (cli_option_get(c, bounds[i], &text) &&
        !cli_time_parse(text, i == 0 ? &q->since : &q->until))
      return cli_fail(c, CLI_USAGE, "--%s %.*s: a time such as 2026-01-31T12:00:00Z is wanted",
                      bounds[i], TEXT(text));
  }
  cli_option_get(c, "cursor", &q->cursor);
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
  if (err == WEFT_ENOTFOUND)
    return cli_fail(c, CLI_NOT_FOUND, "no document %.*s: see weft list", TEXT(q.doc));
  if (err != WEFT_OK && q.has_pointer) return cli_fail_place(c, err, q.doc, q.pointer);
  if (err == WEFT_EMALFORMED)
    return cli_fail(c, CLI_USAGE, "--cursor: it belongs to another query; start without it");
  if (err != WEFT_OK) return cli_fail_err(c, err, "log");
  for (size_t i = 0; i < count; i++) {
    weft_bytes none = weft_bytes_of("", 0);
    weft_value record = cli_change_record(c, c->arena, &entries[i], i + 1 == count ? next : none);
    cli_emit(c, &record);
  }
  return CLI_OK;
}

int cmd_show(cli_call *c) {
  weft_history_entry entry;
  int code = cli_find_change(c, c->args.args[0], &entry);
  if (code != CLI_OK) return code;
  weft_value record = cli_change_record(c, c->arena, &entry, weft_bytes_of("", 0));
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
  cli_put_change(c, &o, &v->change);
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
    cli_put_change(c, &other, &e->values[i].change);
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

weft_value cli_conflict_record(cli_call *c, const weft_conflict_entry *e) {
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_bytes(&o, "doc", e->doc);
  cli_obj_text(&o, "kind", kind_name(e->kind));
  cli_obj_put(&o, "typed_path", cli_path_value(c->arena, e->path));
  if (e->pointer.at)
    cli_obj_bytes(&o, "path", e->pointer);
  else
    cli_obj_text(&o, "path", NULL);
  weft_value *values = weft__arena_zero(c->arena, e->value_count + 1, sizeof *values);
  size_t distinct = 0;
  for (size_t k = 0; values && k < e->value_count; k++)
    if (!seen_before(e, k)) values[distinct++] = value_record(c, e, k);
  cli_obj_put(&o, "values", cli_array(values, distinct));
  cli_obj_text(&o, "strategy", e->manual ? "manual" : "field");
  return cli_obj_end(&o);
}

/* A log that its device signed twice: nothing to resolve, and something to look into. */
static weft_err emit_forks(cli_call *c) {
  weft_fork *forks;
  size_t count;
  WEFT_TRY(weft_replica_forks(c->space->replica, c->arena, &forks, &count));
  for (size_t i = 0; i < count; i++) {
    cli_obj o = cli_obj_begin(c->arena);
    cli_obj_text(&o, "doc", NULL);
    cli_obj_text(&o, "kind", "fork");
    cli_obj_text(&o, "path", NULL);
    cli_put_fork(&o, &forks[i]);
    char scratch[17];
    weft_bytes name = cli_device_name(c->space, &forks[i].device, scratch), copy;
    WEFT_TRY(weft__arena_copy(c->arena, name, &copy));
    cli_obj_bytes(&o, "name", copy);
    cli_obj_put(&o, "values", cli_array(NULL, 0));
    cli_emit_obj(c, &o);
  }
  return WEFT_OK;
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
  if (err == WEFT_ENOTFOUND)
    return cli_fail(c, CLI_NOT_FOUND, "no document %.*s: see weft list", TEXT(doc));
  if (err != WEFT_OK) return cli_fail_err(c, err, "conflicts");
  for (size_t i = 0; i < count; i++) {
    weft_value record = cli_conflict_record(c, &entries[i]);
    cli_emit(c, &record);
  }
  if (c->args.arg_count == 0) err = emit_forks(c);
  return err == WEFT_OK ? CLI_OK : cli_fail_err(c, err, "conflicts");
}

/* --- resolve -------------------------------------------------------------------------------------
 */

/* The conflict that POINTER names: by what is shown now, else by its typed path. */
static int find_conflict(cli_call *c, weft_bytes doc, weft_bytes pointer,
                         weft_conflict_entry *out) {
  weft_conflict_entry *entries;
  size_t count;
  weft_err err = weft_replica_conflicts(c->space->replica, c->arena, doc, 0, &entries, &count);
  if (err == WEFT_ENOTFOUND)
    return cli_fail(c, CLI_NOT_FOUND, "no document %.*s: see weft list", TEXT(doc));
  if (err != WEFT_OK) return cli_fail_err(c, err, "resolve");
  for (size_t i = 0; i < count; i++) {
    weft_value typed = cli_path_value(c->arena, entries[i].path);
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
  int code = cli_find_change(c, keep, &entry);
  if (code != CLI_OK) return code;
  for (size_t i = 0; i < conflict->value_count; i++) {
    if (weft_id_cmp(&conflict->values[i].change.change, &entry.change) != 0) continue;
    *out = &conflict->values[i];
    return CLI_OK;
  }
  return cli_fail(c, CLI_NOT_FOUND, "change %.*s is no part of this conflict: see weft conflicts",
                  TEXT(keep));
}

/* The ids of the changes that were listed, as an extension of the resolving change. */
static void put_resolves(weft_buf *b, const weft_conflict_entry **conflicts, size_t count) {
  size_t values = 0;
  for (size_t i = 0; i < count; i++) values += conflicts[i]->value_count;
  weft__buf_varint(b, WEFT_EXT_RESOLVES);
  weft__buf_varint(b, values * sizeof(weft_id));
  for (size_t i = 0; i < count; i++) {
    for (size_t k = 0; k < conflicts[i]->value_count; k++)
      weft__buf_put_raw(b, conflicts[i]->values[k].change.change.b, sizeof(weft_id));
  }
}

/* What a resolution rests on. */
typedef struct choice {
  bool by_keep, by_value, by_rule;
  weft_bytes keep;
  weft_value value;
  weft_rule rule;
} choice;

static int read_rule(cli_call *c, weft_bytes text, weft_rule *out) {
  static const char *const names[] = {"newest", "oldest", "mine", "max", "min"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (weft_bytes_cmp(text, weft_bytes_str(names[i])) != 0) continue;
    *out = (weft_rule)i;
    return CLI_OK;
  }
  return cli_fail(c, CLI_USAGE, "--rule %.*s: newest, oldest, mine, max or min is wanted",
                  TEXT(text));
}

static int read_choice(cli_call *c, choice *out) {
  weft_bytes json, rule;
  memset(out, 0, sizeof *out);
  out->by_keep = cli_option_get(c, "keep", &out->keep);
  out->by_value = cli_option_get(c, "value", &json);
  out->by_rule = cli_option_get(c, "rule", &rule);
  if (out->by_keep + out->by_value + out->by_rule != 1)
    return cli_fail(c, CLI_USAGE,
                    "resolve: one of --keep CHANGE, --value JSON, --rule R is wanted");
  if (out->by_rule) return read_rule(c, rule, &out->rule);
  weft_json_error why;
  if (out->by_value && weft_json_parse(c->arena, json, &out->value, &why) != WEFT_OK)
    return cli_fail(c, CLI_USAGE, "--value is not JSON: %s", why.text);
  return CLI_OK;
}

/* The base that --base names, else none. */
static int read_base(cli_call *c, weft_edit_options *options, weft_vector *base) {
  weft_bytes text, bytes;
  if (!cli_option_get(c, "base", &text)) return CLI_OK;
  if (!cli_unhex(c->arena, text, &bytes) || weft__vector_decode(base, bytes) != WEFT_OK)
    return cli_fail(c, CLI_USAGE, "--base: not what resolve --dry-run printed");
  options->base = base;
  return CLI_OK;
}

static int chosen(cli_call *c, const weft_conflict_entry *conflict, const choice *how,
                  const weft_conflict_value **kept) {
  *kept = NULL;
  if (how->by_keep) return kept_value(c, conflict, how->keep, kept);
  if (how->by_rule) *kept = weft_conflict_pick(c->space->replica, conflict, how->rule);
  if (how->by_rule && !*kept)
    return cli_fail(c, CLI_FAILED, "the rule does not decide here: see weft conflicts %.*s",
                    TEXT(conflict->doc));
  return CLI_OK;
}

/* Settles `count` conflicts of one document in one change. */
static weft_err settle(cli_call *c, weft_edit_options options,
                       const weft_conflict_entry **conflicts, const weft_conflict_value **kept,
                       size_t count, const weft_value *value, weft_commit *commit) {
  weft_buf ext;
  weft_edit *e = NULL;
  weft__buf_init(&ext, &c->arena->mem, WEFT_CHANGE_LEN_MAX);
  put_resolves(&ext, conflicts, count);
  options.extensions = weft__buf_view(&ext);
  weft_err err = weft__buf_err(&ext);
  if (err == WEFT_OK) err = weft_edit_begin(&e, c->space->replica, &options);
  for (size_t i = 0; i < count && err == WEFT_OK; i++) {
    err = kept[i] ? weft_edit_keep(e, conflicts[i], kept[i])
                  : weft_edit_resolve(e, conflicts[i]->doc, conflicts[i]->path, value);
  }
  if (err == WEFT_OK) err = weft_edit_commit(e, commit);
  weft_edit_free(e);
  weft__buf_free(&ext);
  return err;
}

/* --- resolve --all ---------------------------------------------------------------------------- */

typedef struct sweep {
  cli_call *c;
  choice how;
  weft_edit_options options;
  weft_value *rows;
  size_t row_count, row_cap;
  size_t settled, undecided;
} sweep;

static weft_err sweep_row(sweep *s, const weft_conflict_entry *e, const weft_conflict_value *kept) {
  void *at = s->rows;
  WEFT_TRY(weft__arena_grow(s->c->arena, &at, s->row_count, &s->row_cap, s->row_count + 1,
                            sizeof *s->rows));
  s->rows = at;
  cli_obj o = cli_obj_begin(s->c->arena);
  cli_obj_bytes(&o, "doc", e->doc);
  cli_obj_put(&o, "typed_path", cli_path_value(s->c->arena, e->path));
  if (e->pointer.at)
    cli_obj_bytes(&o, "path", e->pointer);
  else
    cli_obj_text(&o, "path", NULL);
  if (kept) {
    cli_put_change(s->c, &o, &kept->change);
    if (kept->shape == WEFT_SHAPE_NONE)
      cli_obj_bool(&o, "deleted", true);
    else
      cli_obj_put(&o, "value", kept->value);
  } else {
    cli_obj_text(&o, "change", NULL);
  }
  s->rows[s->row_count++] = cli_obj_end(&o);
  return WEFT_OK;
}

/* Settles what of one document's conflicts stands below no other of them that is being settled; the
 * others are looked at again when these are settled.  `*more`: there are such. */
static weft_err sweep_doc(sweep *s, const weft_conflict_entry *list, size_t count, bool dry,
                          bool *more) {
  const weft_conflict_entry **taken = weft__arena_zero(s->c->arena, count, sizeof *taken);
  const weft_conflict_value **kept = weft__arena_zero(s->c->arena, count, sizeof *kept);
  size_t n = 0, undecided = 0;
  *more = false;
  if (!taken || !kept) return WEFT_ENOMEM;
  for (size_t i = 0; i < count; i++) {
    bool below = n > 0 && weft_path_under(taken[n - 1]->path, list[i].path);
    if (below) {
      *more = true;
      continue;
    }
    const weft_conflict_value *v = weft_conflict_pick(s->c->space->replica, &list[i], s->how.rule);
    if (v) taken[n] = &list[i], kept[n++] = v;
    undecided += !v;
    if (v || dry) WEFT_TRY(sweep_row(s, &list[i], v));
  }
  s->settled += n;
  *more = *more && !dry;
  if (!*more) s->undecided += undecided;
  weft_commit commit;
  return n > 0 && !dry ? settle(s->c, s->options, taken, kept, n, NULL, &commit) : WEFT_OK;
}

static weft_err sweep_all(sweep *s, weft_bytes doc, bool dry) {
  weft_conflict_entry *all;
  size_t count;
  weft_replica *r = s->c->space->replica;
  WEFT_TRY(weft_replica_conflicts(r, s->c->arena, doc, 0, &all, &count));
  for (size_t from = 0, to; from < count; from = to) {
    for (to = from + 1; to < count; to++) {
      if (weft_bytes_cmp(all[to].doc, all[from].doc) != 0) break;
    }
    weft_conflict_entry *list = all + from;
    size_t n = to - from;
    bool more = true;
    /* Each round settles the topmost ones, so there are no more rounds than levels. */
    for (unsigned round = 0; more && round <= WEFT_PATH_STEPS_MAX; round++) {
      WEFT_TRY(sweep_doc(s, list, n, dry, &more));
      if (!more) break;
      WEFT_TRY(weft_replica_conflicts(r, s->c->arena, list->doc, 0, &list, &n));
      if (n == 0) break;
    }
  }
  return WEFT_OK;
}

static int resolve_all(cli_call *c) {
  sweep s = {.c = c};
  weft_bytes doc = weft_bytes_of("", 0);
  bool dry = cli_flag(c, "dry-run");
  int code = read_choice(c, &s.how);
  if (code == CLI_OK && !s.how.by_rule)
    code = cli_fail(c, CLI_USAGE, "resolve --all: --rule R is wanted");
  if (code == CLI_OK && c->args.arg_count > 1)
    code = cli_fail(c, CLI_USAGE, "resolve --all: one document at most");
  if (code == CLI_OK && c->args.arg_count > 0) code = cli_doc_arg(c, 0, &doc);
  if (code == CLI_OK) code = cli_edit_options(c, &s.options);
  if (code != CLI_OK) return code;
  weft_err err = sweep_all(&s, doc, dry);
  if (err == WEFT_ENOTFOUND)
    return cli_fail(c, CLI_NOT_FOUND, "no document %.*s: see weft list", TEXT(doc));
  if (err != WEFT_OK) return cli_fail_err(c, err, "resolve --all");
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_int(&o, "resolved", dry ? 0 : (int64_t)s.settled);
  cli_obj_int(&o, "undecided", (int64_t)s.undecided);
  cli_obj_put(&o, "items", cli_array(s.rows, s.row_count));
  cli_obj_bool(&o, "dry_run", dry);
  cli_emit_obj(c, &o);
  if (s.undecided == 0) return CLI_OK;
  return cli_fail(c, CLI_PARTIAL, "%zu conflicts stay: the rule does not decide them", s.undecided);
}

/* --- resolve one ------------------------------------------------------------------------------ */

static int resolve_preview(cli_call *c, const weft_conflict_entry *conflict,
                           const weft_conflict_value *kept, const choice *how) {
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_bytes(&o, "doc", conflict->doc);
  cli_obj_put(&o, "typed_path", cli_path_value(c->arena, conflict->path));
  if (kept) cli_put_change(c, &o, &kept->change);
  if (kept && kept->shape == WEFT_SHAPE_NONE)
    cli_obj_bool(&o, "deleted", true);
  else
    cli_obj_put(&o, "value", kept ? kept->value : how->value);
  /* Without it, where it is too long, --base cannot be given, and all else can. */
  weft_err err = cli_obj_base(&o, weft_replica_shown(c->space->replica));
  if (err != WEFT_OK && err != WEFT_ELIMIT) return cli_fail_err(c, err, "resolve");
  cli_obj_bool(&o, "dry_run", true);
  cli_emit_obj(c, &o);
  return CLI_OK;
}

static int resolve_one(cli_call *c, weft_vector *base) {
  weft_bytes doc, pointer = c->args.args[1];
  choice how;
  weft_edit_options options;
  const weft_conflict_value *kept = NULL;
  weft_conflict_entry conflict = {.value_count = 0};
  const weft_conflict_entry *one = &conflict;
  int code = cli_doc_arg(c, 0, &doc);
  if (code == CLI_OK) code = read_choice(c, &how);
  if (code == CLI_OK) code = cli_edit_options(c, &options);
  if (code == CLI_OK) code = read_base(c, &options, base);
  if (code == CLI_OK) code = find_conflict(c, doc, pointer, &conflict);
  if (code == CLI_OK) code = chosen(c, &conflict, &how, &kept);
  if (code != CLI_OK) return code;
  if (cli_flag(c, "dry-run")) return resolve_preview(c, &conflict, kept, &how);
  weft_commit commit;
  weft_err err = settle(c, options, &one, &kept, 1, &how.value, &commit);
  if (err == WEFT_EBASE)
    return cli_fail(c, CLI_FAILED, "--base names changes that are not shown here");
  if (err != WEFT_OK) return cli_fail_place(c, err, doc, pointer);
  return cli_emit_commit(c, &commit);
}

int cmd_resolve(cli_call *c) {
  weft_vector base;
  if (cli_flag(c, "all")) return resolve_all(c);
  if (c->args.arg_count < 2)
    return cli_fail(c, CLI_USAGE, "resolve: a document and a pointer are wanted, or --all");
  weft__vector_init(&base, &c->arena->mem);
  int code = resolve_one(c, &base);
  weft__vector_free(&base);
  return code;
}

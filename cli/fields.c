#include "cli/fields.h"

#include <stdio.h>
#include <string.h>

#include "cli/record.h"
#include "cli/space.h"
#include "crdt/json.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

int cli_doc_arg(cli_call *c, size_t i, weft_bytes *doc) {
  *doc = c->args.args[i];
  if (weft_document_name_check(*doc) == WEFT_OK) return CLI_OK;
  return cli_fail(c, CLI_USAGE,
                  "%.*s is not a document name: it is collection/name, of up to 255 bytes, without "
                  "empty segments, . or ..",
                  (int)(doc->len < 80 ? doc->len : 80), (const char *)doc->at);
}

/* --- places --------------------------------------------------------------------------------------
 */

static const char *kind_name(const weft_value *v) {
  switch (v->kind) {
  case WEFT_NULL: return "null";
  case WEFT_BOOL: return "a boolean";
  case WEFT_INT:
  case WEFT_DOUBLE: return "a number";
  case WEFT_STRING: return "a text";
  case WEFT_BYTES: return "bytes";
  case WEFT_ARRAY: return "an array";
  case WEFT_OBJECT: return "an object";
  }
  return "a value";
}

/* The element that a token names; NULL: none. */
static const weft_value *element_of(const weft_value *array, weft_bytes token) {
  size_t idx = 0;
  bool ok = token.len > 0 && token.len < 10 && (token.len == 1 || token.at[0] != '0');
  for (size_t i = 0; ok && i < token.len; i++) {
    ok = token.at[i] >= '0' && token.at[i] <= '9';
    idx = idx * 10 + (size_t)(token.at[i] - '0');
  }
  return ok && idx < array->as.array.count ? &array->as.array.at[idx] : NULL;
}

/* How much of a pointer its first `count` segments are. */
static weft_bytes pointer_head(weft_bytes pointer, size_t count) {
  size_t at = 0;
  for (size_t seen = 0; at < pointer.len; at++)
    if (pointer.at[at] == '/' && seen++ == count) break;
  return weft_bytes_of(pointer.at, at);
}

static int fail_segment(cli_call *c, weft_bytes doc, weft_bytes pointer, size_t i, weft_bytes token,
                        const weft_value *at) {
  weft_bytes head = pointer_head(pointer, i);
  char what[64];
  snprintf(what, sizeof what, "%s", kind_name(at));
  if (at->kind == WEFT_ARRAY) snprintf(what, sizeof what, "an array of %zu", at->as.array.count);
  return cli_fail(c, CLI_USAGE,
                  "%.*s: %.*s does not fit: its segment %zu, \"%.*s\", leads into %.*s, where %s "
                  "stands",
                  TEXT(doc), (int)(pointer.len < 120 ? pointer.len : 120), (const char *)pointer.at,
                  i + 1, (int)(token.len < 40 ? token.len : 40), (const char *)token.at,
                  head.len ? (int)(head.len < 120 ? head.len : 120) : 12,
                  head.len ? (const char *)head.at : "the document", what);
}

int cli_fail_place(cli_call *c, weft_err err, weft_bytes doc, weft_bytes pointer) {
  weft_value whole;
  weft_bytes *tokens;
  size_t count;
  if (err == WEFT_ENOTFOUND)
    return weft_replica_get(c->space->replica, c->arena, doc, weft_bytes_of("", 0), &whole) == err
               ? cli_fail(c, CLI_NOT_FOUND, "no document %.*s: see weft list", TEXT(doc))
               : cli_fail(c, CLI_NOT_FOUND, "%.*s has nothing at %.*s", TEXT(doc), TEXT(pointer));
  bool known =
      err == WEFT_EBADPATH && weft_pointer_split(c->arena, pointer, &tokens, &count) == WEFT_OK &&
      weft_replica_get(c->space->replica, c->arena, doc, weft_bytes_of("", 0), &whole) == WEFT_OK;
  const weft_value *at = known ? &whole : NULL;
  for (size_t i = 0; at && i < count; i++) {
    const weft_value *next = NULL;
    if (at->kind == WEFT_ARRAY) next = element_of(at, tokens[i]);
    if (at->kind == WEFT_OBJECT) {
      next = weft_value_member(at, tokens[i]);
      if (!next) break;
    }
    if (!next) return fail_segment(c, doc, pointer, i, tokens[i], at);
    at = next;
  }
  return cli_fail_err(c, err, "%.*s %.*s", TEXT(doc), TEXT(pointer));
}

int cli_pointer_of(cli_call *c, weft_bytes field, weft_bytes *pointer) {
  if (field.len == 0 || field.at[0] == '/') {
    *pointer = field;
    weft_bytes *tokens;
    size_t count;
    weft_err err = weft_pointer_split(c->arena, field, &tokens, &count);
    if (err == WEFT_OK) return CLI_OK;
    return cli_fail(c, CLI_USAGE, "%.*s is not a JSON Pointer: %s", TEXT(field), weft_err_str(err));
  }
  weft_buf b;
  weft__buf_init(&b, &c->arena->mem, WEFT_JSON_LEN_MAX);
  weft_pointer_push(&b, field);
  weft_err err = weft__buf_err(&b);
  if (err == WEFT_OK) err = weft__arena_copy(c->arena, weft__buf_view(&b), pointer);
  weft__buf_free(&b);
  return err == WEFT_OK ? CLI_OK
                        : cli_fail(c, CLI_USAGE, "field %.*s: %s", TEXT(field), weft_err_str(err));
}

int cli_assignment(cli_call *c, weft_bytes word, weft_bytes *pointer, weft_value *value) {
  size_t at = 0;
  while (at < word.len && word.at[at] != '=') at++;
  if (at == word.len)
    return cli_fail(c, CLI_USAGE, "%.*s: FIELD=TEXT or FIELD:=JSON is wanted", TEXT(word));
  bool json = at > 0 && word.at[at - 1] == ':';
  weft_bytes field = weft_bytes_of(word.at, json ? at - 1 : at);
  weft_bytes text = weft_bytes_of(word.at + at + 1, word.len - at - 1);
  if (field.len == 0) return cli_fail(c, CLI_USAGE, "%.*s: the field is missing", TEXT(word));
  int code = cli_pointer_of(c, field, pointer);
  if (code != CLI_OK) return code;
  if (!json) {
    value->kind = WEFT_STRING;
    value->as.bytes = text;
    if (weft_value_check(value) == WEFT_OK) return CLI_OK;
    return cli_fail(c, CLI_FAILED, "the value of %.*s is not UTF-8 or over 256 KiB", TEXT(field));
  }
  weft_json_error why;
  weft_err err = weft_json_parse(c->arena, text, value, &why);
  if (err == WEFT_OK) return CLI_OK;
  return cli_fail(c, CLI_USAGE, "the value of %.*s is not JSON: %s", TEXT(field), why.text);
}

/* The operators, longest first, so that != is not read as =. */
static const struct {
  const char *text;
  weft_where_op op;
} operators[] = {
    {"!=", WEFT_WHERE_NE}, {">=", WEFT_WHERE_GE}, {"<=", WEFT_WHERE_LE},      {"=", WEFT_WHERE_EQ},
    {">", WEFT_WHERE_GT},  {"<", WEFT_WHERE_LT},  {"~", WEFT_WHERE_CONTAINS},
};

static bool operator_at(weft_bytes expr, size_t at, size_t *which) {
  for (*which = 0; *which < sizeof operators / sizeof operators[0]; (*which)++) {
    size_t len = strlen(operators[*which].text);
    if (expr.len - at >= len && memcmp(expr.at + at, operators[*which].text, len) == 0) return true;
  }
  return false;
}

/* In a JSON Pointer ~0 and ~1 are escapes; they mean "contains" only where no other operator
 * follows. */
static bool find_operator(weft_bytes expr, size_t *at, size_t *which) {
  bool pointer = expr.len && expr.at[0] == '/', escape = false;
  size_t escape_at = 0;
  for (*at = 0; *at < expr.len; (*at)++) {
    if (!operator_at(expr, *at, which)) continue;
    uint8_t next = *at + 1 < expr.len ? expr.at[*at + 1] : 0;
    if (!pointer || expr.at[*at] != '~' || (next != '0' && next != '1')) return true;
    if (!escape) escape_at = *at;
    escape = true;
  }
  *at = escape_at;
  return escape && operator_at(expr, *at, which);
}

int cli_where_parse(cli_call *c, weft_bytes expr, weft_where *out) {
  size_t at, which;
  if (!find_operator(expr, &at, &which) || at == 0)
    return cli_fail(c, CLI_USAGE, "--where %.*s: FIELD=VALUE, !=, <, <=, >, >= or ~ is wanted",
                    TEXT(expr));
  memset(out, 0, sizeof *out);
  weft_bytes field = weft_bytes_of(expr.at, at);
  if (field.at[0] == '@') {
    out->pointer = field;
  } else {
    int code = cli_pointer_of(c, field, &out->pointer);
    if (code != CLI_OK) return code;
  }
  out->op = operators[which].op;
  size_t skip = at + strlen(operators[which].text);
  out->text = weft_bytes_of(expr.at + skip, expr.len - skip);
  if (weft_json_parse(c->arena, out->text, &out->value, NULL) == WEFT_OK &&
      weft_value_is_scalar(&out->value)) {
    if (out->value.kind == WEFT_STRING) out->text = out->value.as.bytes;
    return CLI_OK;
  }
  out->value.kind = WEFT_STRING;
  out->value.as.bytes = out->text;
  if (weft_value_check(&out->value) == WEFT_OK) return CLI_OK;
  return cli_fail(c, CLI_USAGE, "--where %.*s: the value is not UTF-8", TEXT(field));
}

int cli_wheres(cli_call *c, weft_where **out, size_t *count) {
  weft_bytes expr;
  *count = 0;
  while (cli_option_at(c, "where", *count, &expr)) (*count)++;
  *out = weft__arena_zero(c->arena, *count + 1, sizeof **out);
  if (!*out) return cli_fail_err(c, WEFT_ENOMEM, "--where");
  for (size_t i = 0; i < *count; i++) {
    if (!cli_option_at(c, "where", i, &expr)) break;
    int code = cli_where_parse(c, expr, &(*out)[i]);
    if (code != CLI_OK) return code;
  }
  return CLI_OK;
}

int cli_fields_option(const cli_call *c, weft_arena *arena, weft_bytes **names, size_t *count) {
  weft_bytes text;
  *count = 0;
  if (!cli_option_get(c, "fields", &text)) return CLI_OK;
  *names = weft__arena_zero(arena, text.len + 1, sizeof **names);
  if (!*names) return CLI_FAILED;
  size_t from = 0;
  for (size_t i = 0; i <= text.len; i++) {
    if (i < text.len && text.at[i] != ',') continue;
    if (i > from) (*names)[(*count)++] = weft_bytes_of(text.at + from, i - from);
    from = i + 1;
  }
  return CLI_OK;
}

const weft_value *cli_value_at(cli_call *c, const weft_value *v, weft_bytes pointer) {
  weft_bytes *tokens;
  size_t count;
  if (weft_pointer_split(c->arena, pointer, &tokens, &count) != WEFT_OK) return NULL;
  for (size_t i = 0; v && i < count; i++) {
    if (v->kind == WEFT_OBJECT) {
      v = weft_value_member(v, tokens[i]);
    } else if (v->kind == WEFT_ARRAY) {
      size_t idx = 0;
      for (size_t k = 0; k < tokens[i].len; k++) {
        if (tokens[i].at[k] < '0' || tokens[i].at[k] > '9' || idx > v->as.array.count) return NULL;
        idx = idx * 10 + (size_t)(tokens[i].at[k] - '0');
      }
      v = tokens[i].len && idx < v->as.array.count ? &v->as.array.at[idx] : NULL;
    } else {
      v = NULL;
    }
  }
  return v;
}

const char *cli_lane_name(weft_lane lane) {
  static const char *const lanes[WEFT_LANES] = {"critical", "high", "normal", "low"};
  return lanes[lane < WEFT_LANES ? lane : WEFT_LANE_NORMAL];
}

int cli_edit_options(cli_call *c, weft_edit_options *o) {
  weft_edit_options_init(o);
  weft_bytes text;
  if (cli_option_get(c, "message", &text)) {
    if (text.len > WEFT_MESSAGE_LEN_MAX || !weft__utf8_ok(text))
      return cli_fail(c, CLI_USAGE, "--message: up to %u bytes of UTF-8 are wanted",
                      WEFT_MESSAGE_LEN_MAX);
    o->message = text;
  }
  if (!cli_option_get(c, "priority", &text)) return CLI_OK;
  for (int i = 0; i < WEFT_LANES; i++) {
    if (weft_bytes_cmp(text, weft_bytes_str(cli_lane_name((weft_lane)i))) != 0) continue;
    o->lane = (weft_lane)i;
    return CLI_OK;
  }
  return cli_fail(c, CLI_USAGE, "--priority %.*s: critical, high, normal or low is wanted",
                  TEXT(text));
}

bool cli_duration_parse(weft_bytes text, uint64_t *ms) {
  static const struct {
    const char *unit;
    uint64_t ms;
  } units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
  uint64_t n = 0;
  size_t at = 0;
  for (; at < text.len && at < 9 && text.at[at] >= '0' && text.at[at] <= '9'; at++)
    n = n * 10 + (uint64_t)(text.at[at] - '0');
  weft_bytes unit = weft_bytes_of(text.at + at, text.len - at);
  for (size_t i = 0; at > 0 && i < sizeof units / sizeof units[0]; i++) {
    if (weft_bytes_cmp(unit, weft_bytes_str(units[i].unit)) != 0) continue;
    *ms = n * units[i].ms;
    return true;
  }
  return false;
}

int cli_duration_option(cli_call *c, const char *name, uint64_t fallback_ms, uint64_t *ms) {
  weft_bytes text;
  *ms = fallback_ms;
  if (!cli_option_get(c, name, &text) || cli_duration_parse(text, ms)) return CLI_OK;
  return cli_fail(c, CLI_USAGE, "--%s %.*s: a time such as 500ms, 30s, 10m, 12h or 1d is wanted",
                  name, TEXT(text));
}

void cli_put_commit(cli_obj *o, const weft_commit *commit) {
  if (commit->written) {
    cli_obj_hex(o, "change", commit->change.b, sizeof commit->change.b);
    cli_obj_hex(o, "log", commit->log.b, sizeof commit->log.b);
    cli_obj_int(o, "seq", (int64_t)commit->seq);
  } else {
    cli_obj_text(o, "change", NULL);
    cli_obj_text(o, "log", NULL);
    cli_obj_text(o, "seq", NULL);
  }
  cli_obj_int(o, "ops", (int64_t)commit->op_count);
}

int cli_emit_commit(cli_call *c, const weft_commit *commit) {
  cli_obj o = cli_obj_begin(c->arena);
  cli_put_commit(&o, commit);
  cli_emit_obj(c, &o);
  return CLI_OK;
}

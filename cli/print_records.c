/* How each kind of record looks to a person. */
#include <stdlib.h>
#include <string.h>

#include "cli/fields.h"
#include "cli/print.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/waiting.h"
#include "crdt/json.h"

static void put(cli_printer *p, const char *text) { fputs(text, p->out); }

void print_change(cli_printer *p, const cli_call *call, const weft_value *record) {
  (void)call;
  if (p->quiet) return;
  weft_bytes change = cli_member_text(record, "change");
  if (weft_value_member(record, weft_bytes_str("draft"))) {
    put(p, "kept in draft ");
    cli_print_member(p, record, "draft");
    put(p, "\n");
    return;
  }
  if (change.len == 0) {
    put(p, "nothing to write: it is so already\n");
    return;
  }
  cli_print_bytes(p, weft_bytes_of(change.at, change.len < 12 ? change.len : 12));
  fprintf(p->out, "  %lld written\n", (long long)cli_member_int(record, "ops"));
}

void print_count(cli_printer *p, const cli_call *call, const weft_value *record) {
  if (p->quiet) return;
  fprintf(p->out, "%lld %sd\n", (long long)cli_member_int(record, "count"),
          call->args.command->name);
}

void print_value(cli_printer *p, const cli_call *call, const weft_value *record) {
  (void)call;
  weft_buf b;
  weft__buf_init(&b, &p->arena.mem, SIZE_MAX);
  weft_json_write_pretty(&b, record, 2);
  if (weft__buf_err(&b) == WEFT_OK) cli_print_lines(p, weft__buf_view(&b));
  put(p, "\n");
  weft__buf_free(&b);
}

void print_json_line(cli_printer *p, const cli_call *call, const weft_value *record) {
  (void)call;
  cli_print_json(p, record);
  put(p, "\n");
}

void print_name(cli_printer *p, const cli_call *call, const weft_value *record) {
  (void)call;
  cli_print_member(p, record, "doc");
  put(p, "\n");
}

void print_text(cli_printer *p, const cli_call *call, const weft_value *record) {
  (void)call;
  weft_bytes text = cli_member_text(record, "text");
  fwrite(text.at, 1, text.len, p->out);
}

/* Text of any value, in the printer's scratch memory; nothing for null. */
static weft_bytes text_of(cli_printer *p, const weft_value *v) {
  weft_bytes copy = weft_bytes_of("", 0);
  if (v->kind == WEFT_STRING) return v->as.bytes;
  if (v->kind == WEFT_NULL) return copy;
  weft_buf b;
  weft__buf_init(&b, &p->arena.mem, SIZE_MAX);
  weft_json_write(&b, v);
  if (weft__buf_err(&b) != WEFT_OK ||
      weft__arena_copy(&p->arena, weft__buf_view(&b), &copy) != WEFT_OK)
    copy = weft_bytes_of("", 0);
  weft__buf_free(&b);
  return copy;
}

/* How to go on behind a page. */
static void print_next(cli_printer *p, const weft_value *record) {
  weft_bytes next = cli_member_text(record, "next");
  if (next.len == 0 || p->quiet) return;
  fflush(p->out);
  fprintf(p->messages, "more: --cursor %.*s\n", (int)next.len, (const char *)next.at);
}

/* The name of each document, and the fields asked for. */
/* How a list was made, a line for the walk and one for each condition. */
static void print_plan(cli_printer *p, const weft_value *record) {
  const weft_value *plan = weft_value_member(record, weft_bytes_str("plan"));
  if (!plan) return;
  put(p, "walk: ");
  cli_print_member(p, plan, "walk");
  if (weft_value_member(plan, weft_bytes_str("index"))) {
    put(p, " ");
    cli_print_member(p, plan, "index");
  }
  if (cli_member_bool(plan, "ordered")) put(p, ", in the order asked for");
  put(p, "\n");
  const weft_value *wheres = cli_member(plan, "where");
  for (size_t i = 0; wheres->kind == WEFT_ARRAY && i < wheres->as.array.count; i++) {
    put(p, "where ");
    cli_print_member(p, &wheres->as.array.at[i], "field");
    put(p, ": by ");
    cli_print_member(p, &wheres->as.array.at[i], "by");
    put(p, "\n");
  }
  fprintf(p->out, "looked at: %lld, by other indexes: %lld, documents read: %lld\n",
          (long long)cli_member_int(plan, "walked"), (long long)cli_member_int(plan, "probed"),
          (long long)cli_member_int(plan, "read"));
}

void print_list(cli_printer *p, const cli_call *call, const weft_value *record) {
  weft_bytes *fields = NULL;
  size_t field_count;
  if (cli_fields_option(call, &p->arena, &fields, &field_count) != CLI_OK) return;
  unsigned *widths = weft__arena_zero(&p->arena, field_count + 1, sizeof *widths);
  weft_bytes *cells = weft__arena_zero(&p->arena, field_count + 1, sizeof *cells);
  if (!widths || !cells) return;
  for (size_t f = 0; f <= field_count; f++) widths[f] = f == 0 ? 32 : 22;
  const weft_value *items = cli_member(record, "items");
  for (size_t i = 0; items->kind == WEFT_ARRAY && i < items->as.array.count; i++) {
    const weft_value *item = &items->as.array.at[i];
    cells[0] = cli_member_text(item, "doc");
    for (size_t f = 0; f < field_count; f++) {
      const weft_value *v = weft_value_member(item, fields[f]);
      cells[f + 1] = v ? text_of(p, v) : weft_bytes_of("", 0);
    }
    cli_print_row(p, cells, widths, field_count + 1);
  }
  print_plan(p, record);
  print_next(p, record);
}

void print_import(cli_printer *p, const cli_call *call, const weft_value *record) {
  (void)call;
  if (p->quiet) return;
  fprintf(
      p->out, "%lld documents: %lld created, %lld changed, %lld unchanged; %lld fields written\n",
      (long long)cli_member_int(record, "documents"), (long long)cli_member_int(record, "created"),
      (long long)cli_member_int(record, "changed"), (long long)cli_member_int(record, "unchanged"),
      (long long)cli_member_int(record, "fields_written"));
}

static void print_op(cli_printer *p, const weft_value *op) {
  put(p, "    ");
  cli_print_member(p, op, "op");
  put(p, " ");
  cli_print_member(p, op, "doc");
  if (cli_member_text(op, "path").len) put(p, " ");
  cli_print_member(p, op, "path");
  const weft_value *value = weft_value_member(op, weft_bytes_str("value"));
  if (value) {
    put(p, " = ");
    cli_print_json(p, value);
  }
  put(p, "\n");
}

void print_log(cli_printer *p, const cli_call *call, const weft_value *record) {
  weft_bytes change = cli_member_text(record, "change");
  const weft_value *ops = cli_member(record, "ops");
  size_t count = ops->kind == WEFT_ARRAY ? ops->as.array.count : 0;
  if (p->colour) put(p, "\x1b[33m");
  cli_print_bytes(p, weft_bytes_of(change.at, change.len < 12 ? change.len : 12));
  if (p->colour) put(p, "\x1b[0m");
  put(p, "  ");
  cli_print_member(p, record, "time");
  put(p, "  ");
  cli_print_member(p, record, "name");
  fprintf(p->out, "  %zu op%s", count, count == 1 ? "" : "s");
  weft_bytes message = cli_member_text(record, "message");
  if (message.len) {
    put(p, "  ");
    cli_print_bytes(p, message);
  }
  static const char *const relations[] = {"restored_from", "reverts", "redoes"};
  for (size_t i = 0; i < sizeof relations / sizeof relations[0]; i++) {
    weft_bytes id = cli_member_text(record, relations[i]);
    if (id.len == 0) continue;
    fprintf(p->out, "  (%s ", i == 0 ? "restored from" : relations[i]);
    cli_print_bytes(p, weft_bytes_of(id.at, id.len < 12 ? id.len : 12));
    put(p, ")");
  }
  put(p, "\n");
  bool whole = strcmp(call->args.command->name, "show") == 0 || p->verbose > 0;
  size_t most = whole ? count : count < 3 ? count : 3;
  for (size_t i = 0; i < most; i++) print_op(p, &ops->as.array.at[i]);
  if (most < count)
    fprintf(p->out, "    ... %zu more: weft show %.*s\n", count - most,
            (int)(change.len < 12 ? change.len : 12), (const char *)change.at);
  print_next(p, record);
}

static void put_short(cli_printer *p, weft_bytes id) {
  cli_print_bytes(p, weft_bytes_of(id.at, id.len < 12 ? id.len : 12));
}

void print_blame(cli_printer *p, const cli_call *call, const weft_value *record) {
  (void)call;
  put_short(p, cli_member_text(record, "change"));
  put(p, "  ");
  cli_print_member(p, record, "time");
  put(p, "  ");
  cli_print_member(p, record, "name");
  put(p, "  ");
  cli_print_member(p, record, "path");
  put(p, "\n");
}

void print_tags(cli_printer *p, const cli_call *call, const weft_value *record) {
  const weft_value *tags = weft_value_member(record, weft_bytes_str("tags"));
  if (!tags) {
    print_change(p, call, record);
    return;
  }
  for (size_t i = 0; tags->kind == WEFT_ARRAY && i < tags->as.array.count; i++) {
    const weft_value *ids = cli_member(&tags->as.array.at[i], "changes");
    cli_print_member(p, &tags->as.array.at[i], "name");
    for (size_t k = 0; ids->kind == WEFT_ARRAY && k < ids->as.array.count; k++) {
      put(p, "  ");
      put_short(p, ids->as.array.at[k].as.bytes);
    }
    put(p, "\n");
  }
}

void print_revert(cli_printer *p, const cli_call *call, const weft_value *record) {
  print_change(p, call, record);
  const weft_value *places = cli_member(record, "places");
  for (size_t i = 0; !p->quiet && places->kind == WEFT_ARRAY && i < places->as.array.count; i++) {
    const weft_value *row = &places->as.array.at[i];
    weft_bytes by = cli_member_text(row, "by");
    bool visible = cli_member(row, "path")->kind == WEFT_STRING;
    put(p, "  ");
    cli_print_member(p, row, "outcome");
    put(p, "  ");
    cli_print_member(p, row, "doc");
    put(p, " ");
    cli_print_member(p, row, visible ? "path" : "typed_path");
    if (by.len) {
      put(p, "  by ");
      put_short(p, by);
    }
    put(p, "\n");
  }
}

void print_rules(cli_printer *p, const cli_call *call, const weft_value *record) {
  const weft_value *items = weft_value_member(record, weft_bytes_str("items"));
  if (!items) {
    print_change(p, call, record);
    return;
  }
  for (size_t i = 0; items->kind == WEFT_ARRAY && i < items->as.array.count; i++) {
    cli_print_member(p, &items->as.array.at[i], "collection");
    put(p, " ");
    cli_print_member(p, &items->as.array.at[i], "pattern");
    put(p, "  ");
    cli_print_member(p, &items->as.array.at[i], "strategy");
    put(p, "\n");
  }
}

void print_indexes(cli_printer *p, const cli_call *call, const weft_value *record) {
  (void)call;
  const weft_value *items = cli_member(record, "items");
  for (size_t i = 0; items->kind == WEFT_ARRAY && i < items->as.array.count; i++) {
    cli_print_member(p, &items->as.array.at[i], "collection");
    put(p, " ");
    cli_print_member(p, &items->as.array.at[i], "field");
    put(p, "\n");
  }
}

static void print_kept(cli_printer *p, const weft_value *row) {
  const weft_value *value = weft_value_member(row, weft_bytes_str("value"));
  bool visible = cli_member(row, "path")->kind == WEFT_STRING;
  cli_print_member(p, row, "doc");
  put(p, " ");
  cli_print_member(p, row, visible ? "path" : "typed_path");
  put(p, "  ");
  if (value) {
    cli_print_json(p, value);
  } else {
    put(p, cli_member_bool(row, "deleted") ? "(deleted)" : "(not decided)");
  }
  put(p, "\n");
}

void print_resolve(cli_printer *p, const cli_call *call, const weft_value *record) {
  const weft_value *items = weft_value_member(record, weft_bytes_str("items"));
  bool dry = cli_member_bool(record, "dry_run");
  if (!items && !dry) {
    print_change(p, call, record);
    return;
  }
  if (p->quiet) return;
  if (!items) {
    print_kept(p, record);
    put(p, "to write just that: --base ");
    cli_print_member(p, record, "base");
    put(p, "\n");
    return;
  }
  for (size_t i = 0; items->kind == WEFT_ARRAY && i < items->as.array.count; i++)
    print_kept(p, &items->as.array.at[i]);
  if (!dry) fprintf(p->out, "%lld resolved\n", (long long)cli_member_int(record, "resolved"));
}

static void print_plain(cli_printer *p, const weft_value *v) {
  if (v->kind == WEFT_STRING)
    cli_print_bytes(p, v->as.bytes);
  else
    cli_print_json(p, v);
}

/* What a command did, as print_data, unless quiet was asked for. */
void print_fields(cli_printer *p, const cli_call *call, const weft_value *record) {
  if (!p->quiet) print_data(p, call, record);
}

/* Any flat record: one "key: value" a line. */
void print_data(cli_printer *p, const cli_call *call, const weft_value *record) {
  (void)call;
  if (record->kind != WEFT_OBJECT) return;
  for (size_t i = 0; i < record->as.object.count; i++) {
    const weft_member *m = &record->as.object.at[i];
    if (m->value.kind == WEFT_ARRAY && m->value.as.array.count == 0) continue;
    cli_print_bytes(p, m->key);
    put(p, ": ");
    print_plain(p, &m->value);
    put(p, "\n");
  }
}

void print_doctor(cli_printer *p, const cli_call *call, const weft_value *record) {
  (void)call;
  const weft_value *checks = cli_member(record, "checks");
  for (size_t i = 0; checks->kind == WEFT_ARRAY && i < checks->as.array.count; i++) {
    const weft_value *check = &checks->as.array.at[i];
    put(p, cli_member_bool(check, "ok") ? "ok    " : "LOOK  ");
    cli_print_member(p, check, "check");
    put(p, ": ");
    cli_print_member(p, check, "text");
    put(p, "\n");
  }
}

void print_id(cli_printer *p, const cli_call *call, const weft_value *record) {
  (void)call;
  cli_print_member(p, record, "name");
  put(p, "\n  ");
  cli_print_member(p, record, "words");
  put(p, "\n  ");
  cli_print_member(p, record, "fingerprint");
  put(p, "\n");
  weft_bytes qr = cli_member_text(record, "qr");
  if (qr.len) fwrite(qr.at, 1, qr.len, p->out);
}

void print_ticket(cli_printer *p, const cli_call *call, const weft_value *record) {
  (void)call;
  cli_print_member(p, record, "ticket");
  put(p, "\n");
  weft_bytes qr = cli_member_text(record, "qr");
  if (qr.len) fwrite(qr.at, 1, qr.len, p->out);
  if (p->terminal && !p->quiet) {
    fprintf(p->messages, "good for %lld use(s) until ", (long long)cli_member_int(record, "uses"));
    weft_bytes expires = cli_member_text(record, "expires");
    const weft_value *addresses = cli_member(record, "addresses");
    bool none = addresses->kind == WEFT_ARRAY && addresses->as.array.count == 0;
    fprintf(p->messages,
            "%.*s; on the other device, while weft serve runs here: weft join TICKET%s\n",
            (int)expires.len, (const char *)expires.at, none ? " HOST:PORT" : "");
  }
  bool reader = weft_bytes_cmp(cli_member_text(record, "role"), weft_bytes_str("reader")) == 0;
  if (reader && !p->quiet)
    fputs("weft: this version does not enforce roles yet: a reader can write\n", p->messages);
}

/* A terminal where long cells crowd out what matters. */
static bool narrow(const cli_printer *p) { return p->terminal && p->width < 120; }

/* "2026-01-31T12:00:00.000Z" as "01-31 12:00:00Z" where there is little room; other text as it is.
 */
static weft_bytes time_cell(cli_printer *p, weft_bytes time) {
  if (!narrow(p) || time.len < 20 || time.at[10] != 'T') return time;
  char *text = weft__arena_take(&p->arena, 16);
  if (!text) return time;
  snprintf(text, 16, "%.5s %.8sZ", (const char *)time.at + 5, (const char *)time.at + 11);
  return weft_bytes_str(text);
}

static weft_bytes cell_of(cli_printer *p, const weft_value *row, const char *key,
                          const char *none) {
  const weft_value *v = cli_member(row, key);
  if (v->kind == WEFT_NULL) return weft_bytes_str(none);
  weft_bytes text = text_of(p, v);
  bool time = strcmp(key, "time") == 0 || strcmp(key, "seen") == 0 || strcmp(key, "last_seen") == 0;
  return time ? time_cell(p, text) : text;
}

/* A table of an array of objects: the members named, in that order. */
static void print_table(cli_printer *p, const weft_value *rows, const char *const *keys,
                        const unsigned *widths, size_t count) {
  cli_print_heading(p, keys, widths, count);
  for (size_t i = 0; rows->kind == WEFT_ARRAY && i < rows->as.array.count; i++) {
    weft_bytes cells[8];
    for (size_t k = 0; k < count && k < 8; k++)
      cells[k] = cell_of(p, &rows->as.array.at[i], keys[k], "-");
    cli_print_row(p, cells, widths, count);
  }
}

static int name_cmp(const void *a, const void *b) {
  weft_bytes x = cli_member_text(a, "name"), y = cli_member_text(b, "name");
  if (x.len == 0 || y.len == 0) return (x.len == 0) - (y.len == 0);
  int order = weft_bytes_cmp(x, y);
  return order ? order : weft_bytes_cmp(cli_member_text(a, "device"), cli_member_text(b, "device"));
}

/* The rows by name, nameless ones behind them; as they are where there is no memory. */
static weft_value by_name(cli_printer *p, const weft_value *rows) {
  size_t count = rows->kind == WEFT_ARRAY ? rows->as.array.count : 0;
  weft_value *sorted = count ? weft__arena_zero(&p->arena, count, sizeof *sorted) : NULL;
  if (!sorted) return *rows;
  memcpy(sorted, rows->as.array.at, count * sizeof *sorted);
  qsort(sorted, count, sizeof *sorted, name_cmp);
  return cli_array(sorted, count);
}

void print_members(cli_printer *p, const cli_call *call, const weft_value *record) {
  (void)call;
  static const char *const keys[] = {"name", "role", "device"};
  static const unsigned widths[] = {24, 8, 64};
  weft_value rows = by_name(p, cli_member(record, "members"));
  print_table(p, &rows, keys, widths, 3);
}

/* "2 devices", "phone", or "-". */
static void put_targets(cli_printer *p, const weft_value *rows) {
  size_t count = rows->kind == WEFT_ARRAY ? rows->as.array.count : 0;
  for (size_t i = 0; i < count; i++) {
    const weft_value *row = &rows->as.array.at[i];
    weft_bytes why = cli_member_text(row, "last_error"), next = cli_member_text(row, "next_try");
    put(p, i ? ", " : "");
    cli_print_member(p, row, "name");
    if (cli_member_bool(row, "paused"))
      put(p, " (paused)");
    else if (cli_member_bool(row, "connected") && !why.len)
      put(p, " (connected)");
    else if (why.len) {
      put(p, " (");
      cli_print_bytes(p, why);
      if (next.len >= 19) fprintf(p->out, "; next try %.8s", (const char *)next.at + 11);
      put(p, ")");
    }
  }
}

void print_pending(cli_printer *p, const cli_call *call, const weft_value *record) {
  if (!cli_member_text(record, "state").len) {
    print_fields(p, call, record);
    return;
  }
  put_short(p, cli_member_text(record, "change"));
  put(p, "  ");
  cli_print_member(p, record, "state");
  if (weft_bytes_cmp(cli_member_text(record, "state"), weft_bytes_str("waiting")) == 0) {
    fprintf(p->out, "  %lld change(s) of ", (long long)cli_member_int(record, "count"));
    cli_print_member(p, record, "name");
    put(p, ", for log ");
    put_short(p, cli_member_text(record, "wants_log"));
    fprintf(p->out, " seq %lld, which ", (long long)cli_member_int(record, "wants_seq"));
    cli_print_member(p, cli_member(record, "last_had"), "name");
    put(p, " had\n");
    return;
  }
  fprintf(p->out, "  %llds  %lld bytes  ", (long long)cli_member_int(record, "age_seconds"),
          (long long)cli_member_int(record, "bytes"));
  cli_print_member(p, record, "priority");
  put(p, "  for ");
  put_targets(p, cli_member(record, "waiting_for"));
  const weft_value *docs = cli_member(record, "docs");
  if (docs->kind == WEFT_ARRAY && docs->as.array.count) {
    put(p, "  ");
    cli_print_bytes(p, docs->as.array.at[0].as.bytes);
    if (docs->as.array.count > 1) fprintf(p->out, " and %zu more", docs->as.array.count - 1);
  }
  put(p, "\n");
}

/* Of an address that leads to nobody: who answered there last. */
static weft_bytes last_there(cli_printer *p, const weft_value *row) {
  weft_bytes name = cli_member_text(row, "last_name"), out = weft_bytes_str("(unknown)");
  char text[WEFT_DEVICE_NAME_LEN_MAX + 3];
  if (name.len == 0 || name.len > WEFT_DEVICE_NAME_LEN_MAX) return out;
  (void)snprintf(text, sizeof text, "(%.*s)", (int)name.len, (const char *)name.at);
  return weft__arena_copy(&p->arena, weft_bytes_str(text), &out) == WEFT_OK ? out : name;
}

void print_peers(cli_printer *p, const cli_call *call, const weft_value *record) {
  (void)call;
  static const char *const keys[] = {"name",    "connected", "have",      "need",
                                     "address", "last_seen", "last_error"};
  static const unsigned wide[] = {14, 9, 6, 6, 21, 24, 30}, tight[] = {12, 9, 6, 6, 21, 15};
  weft_value rows = by_name(p, cli_member(record, "peers"));
  bool few = narrow(p);
  cli_print_heading(p, keys, few ? tight : wide, few ? 6 : 7);
  for (size_t i = 0; rows.kind == WEFT_ARRAY && i < rows.as.array.count; i++) {
    const weft_value *row = &rows.as.array.at[i];
    weft_bytes cells[7];
    for (size_t k = 0; k < 7; k++) cells[k] = cell_of(p, row, keys[k], k < 6 ? "-" : "");
    if (!cli_member_text(row, "name").len) cells[0] = last_there(p, row);
    if (few && cells[6].len) cells[5] = cells[6]; /* what is wrong comes first */
    cli_print_row(p, cells, few ? tight : wide, few || !cells[6].len ? 6 : 7);
  }
}

/* Number, time, type, who, and what it is about. */
void print_event(cli_printer *p, const cli_call *call, const weft_value *record) {
  static const char *const keys[] = {"seq", "time", "type", "name", "subject", "why"};
  static const unsigned wide[] = {7, 24, 18, 14, 40, 20}, tight[] = {5, 15, 17, 10, 40, 20};
  weft_bytes cells[6];
  (void)call;
  for (size_t k = 0; k < 6; k++) cells[k] = cell_of(p, record, keys[k], "");
  cli_print_row(p, cells, narrow(p) ? tight : wide, cells[5].len ? 6 : 5);
  if (!cli_flag(call, "debug")) return;
  cli_print_bytes(p, weft_bytes_str("        "));
  cli_print_member(p, record, "because");
  put(p, "; went to ");
  cli_print_json(p, cli_member(record, "to"));
  put(p, "\n");
}

void print_presence(cli_printer *p, const cli_call *call, const weft_value *record) {
  (void)call;
  static const char *const keys[] = {"name", "session", "doc", "seen", "state"};
  static const unsigned wide[] = {14, 12, 24, 24, 40}, tight[] = {12, 8, 20, 15, 40};
  print_table(p, cli_member(record, "sessions"), keys, narrow(p) ? tight : wide, 5);
}

/* One line on rows, where there are any. */
static void print_rows(cli_printer *p, const char *key, const weft_value *rows,
                       void (*tell)(const weft_value *rows, char *out, size_t cap)) {
  char text[160];
  if (rows->kind != WEFT_ARRAY || rows->as.array.count == 0) return;
  tell(rows, text, sizeof text);
  fprintf(p->out, "%-10s ", key);
  cli_print_bytes(p, weft_bytes_str(text));
  put(p, "\n");
}

static void print_reasons(cli_printer *p, const weft_value *rows) {
  for (size_t i = 0; rows->kind == WEFT_ARRAY && i < rows->as.array.count; i++) {
    put(p, i ? "           " : "attention  ");
    cli_print_bytes(p, rows->as.array.at[i].as.bytes);
    put(p, "\n");
  }
}

static void print_transfer(cli_printer *p, const weft_value *t) {
  if (t->kind != WEFT_OBJECT) return;
  const weft_value *rate = cli_member(t, "rate"), *left = cli_member(t, "seconds_left");
  put(p, "progress   ");
  cli_print_member(p, t, "phase");
  fprintf(p->out, " %lld of %lld", (long long)cli_member_int(t, "done"),
          (long long)cli_member_int(t, "total"));
  if (rate->kind == WEFT_DOUBLE && left->kind == WEFT_DOUBLE)
    fprintf(p->out, ", %.0f/s, %.1f MB, %.0f s left", rate->as.real,
            (double)cli_member_int(t, "bytes") / 1e6, left->as.real);
  put(p, "\n");
}

void print_status(cli_printer *p, const cli_call *call, const weft_value *record) {
  static const char *const keys[] = {"state",     "name",    "space", "docs",
                                     "conflicts", "pending", "digest"};
  if (p->any) put(p, "\n");
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    const weft_value *v = cli_member(record, keys[i]);
    if (v->kind == WEFT_NULL) continue;
    fprintf(p->out, "%-10s ", keys[i]);
    print_plain(p, v);
    put(p, "\n");
  }
  print_reasons(p, cli_member(record, "attention"));
  print_transfer(p, cli_member(record, "progress"));
  print_rows(p, "waiting", cli_member(record, "stuck"), cli_stuck_text);
  print_rows(p, "upgrade", cli_member(record, "needs_upgrade"), cli_later_text);
  print_peers(p, call, record);
}

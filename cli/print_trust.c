/* How conflicts, differences and drafts look to a person: in two columns on a terminal, one line a
 * value where somebody else reads on. */
#include <string.h>

#include "cli/columns.h"
#include "cli/print.h"
#include "cli/record.h"
#include "cli/run.h"
#include "crdt/json.h"

enum { SIDES_WIDTH_MIN = 40 /* narrower, a value a line is easier to read */ };

static void put(cli_printer *p, const char *text) { fputs(text, p->out); }

static weft_bytes short_id(weft_bytes id) {
  return weft_bytes_of(id.at, id.len < 12 ? id.len : 12);
}

static void put_colour(cli_printer *p, const char *code) {
  if (p->colour) put(p, code);
}

/* --- two columns --- */

static bool beside(const cli_printer *p, const cli_call *call) {
  return (p->terminal || cli_flag(call, "side-by-side")) && p->width >= SIDES_WIDTH_MIN;
}

/* A value as indented JSON; nothing for NULL. */
static weft_bytes pretty(cli_printer *p, const weft_value *v) {
  weft_buf b;
  weft_bytes copy = weft_bytes_of("", 0);
  if (!v) return copy;
  weft__buf_init(&b, &p->arena.mem, SIZE_MAX);
  weft_json_write_pretty(&b, v, 2);
  if (weft__buf_err(&b) != WEFT_OK ||
      weft__arena_copy(&p->arena, weft__buf_view(&b), &copy) != WEFT_OK)
    copy = weft_bytes_of("", 0);
  weft__buf_free(&b);
  return copy;
}

static void put_row(cli_printer *p, const cli_row *row, unsigned column) {
  bool marked = row->mark != ' ';
  if (marked) put_colour(p, "\x1b[31m");
  cli_print_bytes(p, row->left);
  if (marked) put_colour(p, "\x1b[0m");
  if (row->right.len || marked) {
    for (unsigned i = row->left_width; i < column; i++) fputc(' ', p->out);
    fprintf(p->out, row->right.len ? " %c " : " %c", row->mark);
    if (marked) put_colour(p, "\x1b[32m");
    cli_print_bytes(p, row->right);
    if (marked) put_colour(p, "\x1b[0m");
  }
  put(p, "\n");
}

static void put_pairs(cli_printer *p, const cli_pair *pairs, size_t count) {
  cli_row *rows;
  size_t row_count;
  if (cli_rows(&p->arena, pairs, count, p->width, &rows, &row_count) != WEFT_OK) return;
  for (size_t i = 0; i < row_count; i++) put_row(p, &rows[i], cli_column_width(p->width));
}

/* Two lines of which nobody asks whether they differ. */
static void put_heads(cli_printer *p, weft_bytes left, weft_bytes right) {
  cli_pair head = {CLI_PAIR_SAME, left, right};
  put_pairs(p, &head, 1);
}

static void put_sides(cli_printer *p, weft_bytes left, weft_bytes right) {
  cli_pair *pairs;
  size_t count;
  if (cli_pairs(&p->arena, left, right, &pairs, &count) == WEFT_OK) put_pairs(p, pairs, count);
}

/* --- conflicts --- */

static void print_also(cli_printer *p, const weft_value *value) {
  const weft_value *also = cli_member(value, "also");
  for (size_t i = 0; also->kind == WEFT_ARRAY && i < also->as.array.count; i++) {
    put(p, "      also by ");
    cli_print_member(p, &also->as.array.at[i], "name");
    put(p, "  ");
    cli_print_member(p, &also->as.array.at[i], "time");
    put(p, "\n");
  }
}

static void print_conflict_value(cli_printer *p, const weft_value *value) {
  put(p, cli_member_bool(value, "winner") ? "  * " : "    ");
  const weft_value *content = weft_value_member(value, weft_bytes_str("value"));
  if (content)
    cli_print_json(p, content);
  else
    put(p, "(deleted)");
  put(p, "  by ");
  cli_print_member(p, value, "name");
  put(p, "  ");
  weft_bytes change = cli_member_text(value, "change");
  if (change.len) {
    cli_print_member(p, value, "time");
    put(p, "  --keep ");
    cli_print_bytes(p, short_id(change));
  } else {
    put(p, "in this draft");
  }
  put(p, "\n");
  print_also(p, value);
}

static void print_fork(cli_printer *p, const weft_value *record) {
  weft_bytes log = cli_member_text(record, "log");
  put(p, "log ");
  cli_print_bytes(p, weft_bytes_of(log.at, log.len < 16 ? log.len : 16));
  put(p, "  fork: signed more than once at seq ");
  cli_print_json(p, cli_member(record, "seq"));
  put(p, " by ");
  cli_print_member(p, record, "name");
  put(p, "\n");
}

/* Joins texts, with what stands between them; NULL ends the list. */
static weft_bytes joined(cli_printer *p, const weft_bytes *parts, size_t count) {
  weft_buf b;
  weft_bytes copy = weft_bytes_of("", 0);
  weft__buf_init(&b, &p->arena.mem, SIZE_MAX);
  for (size_t i = 0; i < count; i++) weft__buf_put(&b, parts[i]);
  if (weft__buf_err(&b) != WEFT_OK ||
      weft__arena_copy(&p->arena, weft__buf_view(&b), &copy) != WEFT_OK)
    copy = weft_bytes_of("", 0);
  weft__buf_free(&b);
  return copy;
}

/* "* desk  2026-01-31T12:00:00.000Z", and below it what to type. */
static weft_bytes who_line(cli_printer *p, const weft_value *value) {
  weft_bytes parts[] = {weft_bytes_str(cli_member_bool(value, "winner") ? "* " : "  "),
                        cli_member_text(value, "name"), weft_bytes_str("  "),
                        cli_member_text(value, "time")};
  return joined(p, parts, 4);
}

static weft_bytes keep_line(cli_printer *p, const weft_value *value) {
  weft_bytes change = cli_member_text(value, "change");
  weft_bytes parts[] = {weft_bytes_str(change.len ? "  --keep " : "  in this draft"),
                        short_id(change)};
  return joined(p, parts, 2);
}

static weft_bytes side_text(cli_printer *p, const weft_value *value) {
  const weft_value *content = weft_value_member(value, weft_bytes_str("value"));
  return content ? pretty(p, content) : weft_bytes_str("(deleted)");
}

/* The value that is shown beside each of the others. */
static void print_conflict_sides(cli_printer *p, const weft_value *values) {
  const weft_value *list = values->as.array.at;
  for (size_t i = 1; i < values->as.array.count; i++) {
    put_heads(p, who_line(p, &list[0]), who_line(p, &list[i]));
    put_heads(p, keep_line(p, &list[0]), keep_line(p, &list[i]));
    put_sides(p, side_text(p, &list[0]), side_text(p, &list[i]));
    if (i == 1) print_also(p, &list[0]);
    print_also(p, &list[i]);
    put(p, "\n");
  }
}

void print_conflict(cli_printer *p, const cli_call *call, const weft_value *record) {
  if (weft_bytes_cmp(cli_member_text(record, "kind"), weft_bytes_str("fork")) == 0) {
    print_fork(p, record);
    return;
  }
  put_colour(p, "\x1b[1m");
  cli_print_member(p, record, "doc");
  put(p, " ");
  const weft_value *pointer = cli_member(record, "path");
  if (pointer->kind == WEFT_STRING)
    cli_print_bytes(p, pointer->as.bytes.len ? pointer->as.bytes : weft_bytes_str("(document)"));
  else {
    cli_print_member(p, record, "typed_path");
    put(p, " (not visible now)");
  }
  put(p, "  ");
  cli_print_member(p, record, "kind");
  put_colour(p, "\x1b[0m");
  put(p, "\n");
  const weft_value *values = cli_member(record, "values");
  bool several = values->kind == WEFT_ARRAY && values->as.array.count > 1;
  if (several && beside(p, call)) {
    print_conflict_sides(p, values);
    return;
  }
  for (size_t i = 0; values->kind == WEFT_ARRAY && i < values->as.array.count; i++)
    print_conflict_value(p, &values->as.array.at[i]);
}

/* --- differences --- */

static void put_place(cli_printer *p, const weft_value *row) {
  bool before = weft_value_member(row, weft_bytes_str("before")) != NULL;
  bool after = weft_value_member(row, weft_bytes_str("after")) != NULL;
  weft_bytes path = cli_member_text(row, "path"), from = cli_member_text(row, "from");
  put(p, from.len ? "> " : !before ? "+ " : !after ? "- " : "~ ");
  if (from.len) {
    cli_print_bytes(p, from);
    put(p, " -> ");
  }
  cli_print_bytes(p, path.len ? path : weft_bytes_str("(document)"));
}

static void print_diff_line(cli_printer *p, const weft_value *row) {
  const weft_value *before = weft_value_member(row, weft_bytes_str("before"));
  const weft_value *after = weft_value_member(row, weft_bytes_str("after"));
  bool moved = cli_member_text(row, "from").len > 0;
  put_place(p, row);
  put(p, "  ");
  if (before && !moved) cli_print_json(p, before);
  if (before && after && !moved) put(p, " -> ");
  if (after) cli_print_json(p, after);
  put(p, "\n");
}

static void print_diff_sides(cli_printer *p, const weft_value *row) {
  put_colour(p, "\x1b[1m");
  put_place(p, row);
  put_colour(p, "\x1b[0m");
  put(p, "\n");
  put_sides(p, pretty(p, weft_value_member(row, weft_bytes_str("before"))),
            pretty(p, weft_value_member(row, weft_bytes_str("after"))));
}

void print_diff(cli_printer *p, const cli_call *call, const weft_value *record) {
  if (record->kind == WEFT_ARRAY) {
    print_value(p, call, record);
    return;
  }
  const weft_value *changes = cli_member(record, "changes");
  weft_bytes relation = cli_member_text(record, "relation");
  if (weft_bytes_cmp(relation, weft_bytes_str("concurrent")) == 0)
    put(p, "(neither version had seen all of the other)\n");
  if (weft_bytes_cmp(relation, weft_bytes_str("after")) == 0)
    put(p, "(the first version is the later one)\n");
  for (size_t i = 0; changes->kind == WEFT_ARRAY && i < changes->as.array.count; i++) {
    if (beside(p, call))
      print_diff_sides(p, &changes->as.array.at[i]);
    else
      print_diff_line(p, &changes->as.array.at[i]);
  }
}

/* --- drafts --- */

static void put_age(cli_printer *p, int64_t seconds) {
  static const struct {
    int64_t seconds;
    const char *unit;
  } units[] = {{86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}};
  size_t i = 0;
  while (i < 3 && seconds < units[i].seconds) i++;
  fprintf(p->out, "%lld%s old", (long long)(seconds / units[i].seconds), units[i].unit);
}

static void put_draft_head(cli_printer *p, const weft_value *draft) {
  cli_print_member(p, draft, "draft");
  fprintf(p->out, "  %lld written, ", (long long)cli_member_int(draft, "ops"));
  put_age(p, cli_member_int(draft, "age_seconds"));
  const weft_value *docs = cli_member(draft, "docs");
  for (size_t i = 0; docs->kind == WEFT_ARRAY && i < docs->as.array.count; i++) {
    put(p, i == 0 ? ": " : ", ");
    cli_print_bytes(p, docs->as.array.at[i].as.bytes);
  }
  weft_bytes message = cli_member_text(draft, "message");
  if (message.len) put(p, "  ");
  cli_print_bytes(p, message);
  put(p, "\n");
}

static void put_refusal(cli_printer *p, const weft_value *draft) {
  weft_bytes why = cli_member_text(draft, "refusal");
  if (why.len == 0) return;
  put(p, "  would be refused: ");
  cli_print_bytes(p, why);
  put(p, "\n");
}

static void print_drafts(cli_printer *p, const weft_value *items) {
  for (size_t i = 0; items->kind == WEFT_ARRAY && i < items->as.array.count; i++) {
    const weft_value *draft = &items->as.array.at[i];
    int64_t conflicts = cli_member_int(draft, "conflicts");
    put_draft_head(p, draft);
    if (conflicts > 0) fprintf(p->out, "  would conflict at %lld places\n", (long long)conflicts);
    put_refusal(p, draft);
  }
}

static void print_draft_shown(cli_printer *p, const cli_call *call, const weft_value *record) {
  const weft_value *docs = cli_member(record, "documents");
  const weft_value *conflicts = cli_member(record, "conflicts");
  put_draft_head(p, record);
  put_refusal(p, record);
  for (size_t i = 0; docs->kind == WEFT_ARRAY && i < docs->as.array.count; i++) {
    const weft_value *v = weft_value_member(&docs->as.array.at[i], weft_bytes_str("value"));
    cli_print_member(p, &docs->as.array.at[i], "doc");
    put(p, "\n");
    if (v)
      cli_print_lines(p, pretty(p, v));
    else
      put(p, "(deleted)");
    put(p, "\n");
  }
  if (conflicts->kind == WEFT_ARRAY && conflicts->as.array.count > 0) put(p, "would conflict:\n");
  for (size_t i = 0; conflicts->kind == WEFT_ARRAY && i < conflicts->as.array.count; i++)
    print_conflict(p, call, &conflicts->as.array.at[i]);
}

void print_draft(cli_printer *p, const cli_call *call, const weft_value *record) {
  const weft_value *items = weft_value_member(record, weft_bytes_str("items"));
  if (items) {
    print_drafts(p, items);
  } else if (weft_value_member(record, weft_bytes_str("documents"))) {
    print_draft_shown(p, call, record);
  } else if (weft_value_member(record, weft_bytes_str("seq"))) {
    print_change(p, call, record);
  } else if (!p->quiet) {
    bool dropped = weft_value_member(record, weft_bytes_str("dropped")) != NULL;
    put(p, dropped ? "dropped " : "draft ");
    cli_print_member(p, record, dropped ? "dropped" : "draft");
    put(p, "\n");
  }
}

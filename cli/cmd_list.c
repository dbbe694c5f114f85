/* list, import, export: documents many at a time. */
#include <stdio.h>
#include <string.h>

#include "cli/fields.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/space.h"
#include "crdt/json.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

enum { page = 500, group_documents = 5000 };

/* --- list ----------------------------------------------------------------------------------------
 */

static weft_value string_of(weft_bytes text) {
  weft_value v = {.kind = WEFT_STRING};
  v.as.bytes = text;
  return v;
}

static weft_value time_value(cli_call *c, uint64_t hlc) {
  char text[32];
  cli_time_text(text, hlc >> 16);
  return cli_text(c->arena, text);
}

static weft_value name_value(cli_call *c, const weft_id *device) {
  char scratch[17];
  weft_bytes name = cli_device_name(c->space, device, scratch), copy;
  if (weft__arena_copy(c->arena, name, &copy) != WEFT_OK) return (weft_value){.kind = WEFT_NULL};
  return string_of(copy);
}

/* Names of all who wrote to a document, the busiest first. */
static weft_value contributors_value(cli_call *c, weft_bytes doc) {
  weft_value none = {.kind = WEFT_NULL};
  weft_contributor *list;
  size_t count;
  if (weft_replica_contributors(c->space->replica, c->arena, doc, &list, &count) != WEFT_OK)
    return none;
  weft_value *names = weft__arena_zero(c->arena, count + 1, sizeof *names);
  for (size_t i = 0; names && i < count; i++) names[i] = name_value(c, &list[i].device);
  return names ? cli_array(names, count) : none;
}

/* One field of an item: metadata with @, else what stands in the document; null when nothing does.
 */
static weft_value field_value(cli_call *c, const weft_list_item *item, weft_bytes field) {
  weft_value none = {.kind = WEFT_NULL};
  const weft_doc_info *info = &item->info;
  if (weft_bytes_cmp(field, weft_bytes_str("@created")) == 0)
    return time_value(c, info->created_hlc);
  if (weft_bytes_cmp(field, weft_bytes_str("@modified")) == 0)
    return time_value(c, info->modified_hlc);
  if (weft_bytes_cmp(field, weft_bytes_str("@by")) == 0) return name_value(c, &info->modified_by);
  if (weft_bytes_cmp(field, weft_bytes_str("@versions")) == 0) {
    weft_value v = {.kind = WEFT_INT};
    v.as.integer = (int64_t)info->versions;
    return v;
  }
  if (weft_bytes_cmp(field, weft_bytes_str("@contributors")) == 0)
    return contributors_value(c, info->name);
  weft_bytes pointer;
  if (cli_pointer_of(c, field, &pointer) != CLI_OK) return none;
  const weft_value *v = cli_value_at(c, &item->value, pointer);
  return v ? *v : none;
}

static bool has_key(const cli_obj *o, const char *key) {
  for (size_t i = 0; i < o->count; i++)
    if (weft_bytes_cmp(o->at[i].key, weft_bytes_str(key)) == 0) return true;
  return false;
}

/* A member for each field asked for; one that is asked for twice, as people do for columns, is one.
 */
static weft_value item_record(cli_call *c, const weft_list_item *item, const weft_bytes *fields,
                              size_t count) {
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_bytes(&o, "doc", item->info.name);
  for (size_t i = 0; i < count; i++) {
    weft_value v = field_value(c, item, fields[i]);
    char key[WEFT_NAME_LEN_MAX + 1];
    snprintf(key, sizeof key, "%.*s", TEXT(fields[i]));
    cli_text_mend(key, strlen(key));
    weft_bytes name;
    if (!has_key(&o, key) &&
        weft__arena_copy(c->arena, weft_bytes_of(key, strlen(key) + 1), &name) == WEFT_OK)
      cli_obj_put(&o, (const char *)name.at, v);
  }
  if (count == 0) {
    static const char *const meta[] = {"@created", "@modified", "@by", "@versions"};
    for (size_t i = 0; i < 4; i++)
      cli_obj_put(&o, meta[i] + 1, field_value(c, item, weft_bytes_str(meta[i])));
    cli_obj_int(&o, "conflicts", (int64_t)item->info.conflicts);
  }
  return cli_obj_end(&o);
}

static int list_query(cli_call *c, weft_query *q) {
  weft_query_init(q);
  weft_where *wheres;
  int code = cli_wheres(c, &wheres, &q->where_count);
  if (code != CLI_OK) return code;
  q->where = wheres;
  if (c->args.arg_count) q->collection = c->args.args[0];
  q->deleted = cli_flag(c, "deleted");
  q->reserved = cli_flag(c, "all");
  cli_option_get(c, "cursor", &q->cursor);
  uint64_t limit;
  if (!cli_option_number(c, "limit", 1, 10000, 100, &limit)) return CLI_USAGE;
  q->limit = (size_t)limit;
  weft_bytes sort;
  if (!cli_option_get(c, "sort", &sort) || sort.len == 0) return CLI_OK;
  q->descending = sort.at[0] == '-';
  if (q->descending) sort = weft_bytes_of(sort.at + 1, sort.len - 1);
  if (sort.len && sort.at[0] == '@') {
    q->sort = sort;
    return CLI_OK;
  }
  return cli_pointer_of(c, sort, &q->sort);
}

/* How the list was made. */
static weft_value plan_value(cli_call *c, const weft_query *q, const weft_list *list) {
  static const char *const by[] = {"document", "walk", "index"};
  weft_value none = {.kind = WEFT_NULL};
  weft_value *wheres = weft__arena_zero(c->arena, q->where_count + 1, sizeof *wheres);
  if (!wheres) return none;
  for (size_t i = 0; i < q->where_count; i++) {
    cli_obj w = cli_obj_begin(c->arena);
    cli_obj_bytes(&w, "field", q->where[i].pointer);
    cli_obj_text(&w, "by", by[list->plan.by[i]]);
    wheres[i] = cli_obj_end(&w);
  }
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_text(&o, "walk", list->indexed ? "index" : "names");
  if (list->indexed) cli_obj_bytes(&o, "index", list->plan.index);
  cli_obj_bool(&o, "ordered", list->plan.ordered);
  cli_obj_put(&o, "where", cli_array(wheres, q->where_count));
  cli_obj_int(&o, "walked", (int64_t)list->plan.walked);
  cli_obj_int(&o, "probed", (int64_t)list->plan.probed);
  cli_obj_int(&o, "read", (int64_t)list->plan.read);
  return cli_obj_end(&o);
}

int cmd_list(cli_call *c) {
  weft_query q;
  weft_bytes *fields = NULL;
  size_t field_count;
  int code = list_query(c, &q);
  if (code == CLI_OK) code = cli_fields_option(c, c->arena, &fields, &field_count);
  if (code != CLI_OK) return code;
  weft_list list;
  weft_err err = weft_replica_list(c->space->replica, c->arena, &q, &list);
  if (err == WEFT_EMALFORMED)
    return cli_fail(c, CLI_USAGE, "--cursor: it belongs to another query; start without it");
  if (err != WEFT_OK) return cli_fail_err(c, err, "list");
  weft_value *items = weft__arena_zero(c->arena, list.count + 1, sizeof *items);
  if (!items) return cli_fail_err(c, WEFT_ENOMEM, "list");
  for (size_t i = 0; i < list.count; i++)
    items[i] = item_record(c, &list.items[i], fields, field_count);
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_put(&o, "items", cli_array(items, list.count));
  if (list.next.len)
    cli_obj_bytes(&o, "next", list.next);
  else
    cli_obj_text(&o, "next", NULL);
  if (cli_flag(c, "explain")) cli_obj_put(&o, "plan", plan_value(c, &q, &list));
  cli_emit_obj(c, &o);
  return CLI_OK;
}

/* --- import --------------------------------------------------------------------------------------
 */

typedef struct import_doc {
  weft_bytes name;
  const weft_value *value;
  size_t line; /* or number in the array, from 1 */
} import_doc;

typedef struct importer {
  cli_call *c;
  weft_bytes collection, id;
  bool lines;
  import_doc *docs;
  size_t count, cap;
  int64_t created, changed, unchanged, fields;
} importer;

static int import_fail(importer *im, size_t at, const char *what) {
  return cli_fail(im->c, CLI_FAILED, "%s %zu: %s; nothing was written", im->lines ? "line" : "item",
                  at, what);
}

/* Text of an id: a string as it is, a whole number in decimal. */
static bool id_text(const weft_value *v, char *out, size_t cap) {
  int len = -1;
  if (v && v->kind == WEFT_STRING) len = snprintf(out, cap, "%.*s", TEXT(v->as.bytes));
  if (v && v->kind == WEFT_INT) len = snprintf(out, cap, "%lld", (long long)v->as.integer);
  return len > 0 && (size_t)len < cap;
}

static int import_add(importer *im, const weft_value *item, size_t at) {
  if (item->kind != WEFT_OBJECT) return import_fail(im, at, "a document is a JSON object");
  const weft_value *doc = weft_value_member(item, weft_bytes_str("doc"));
  const weft_value *value = weft_value_member(item, weft_bytes_str("value"));
  import_doc d = {.value = item, .line = at};
  char text[WEFT_NAME_LEN_MAX + 2], full[2 * WEFT_NAME_LEN_MAX + 4];
  bool exported = item->as.object.count == 2 && doc && doc->kind == WEFT_STRING && value &&
                  value->kind == WEFT_OBJECT;
  if (exported) {
    d.name = doc->as.bytes;
    d.value = value;
  } else {
    const weft_value *id = weft_value_member(item, im->id);
    if (!id) return import_fail(im, at, "the field that names the document is missing: see --id");
    if (!id_text(id, text, sizeof text))
      return import_fail(im, at, "the document's name is no text of up to 255 bytes");
    snprintf(full, sizeof full, "%.*s/%s", TEXT(im->collection), text);
    if (weft__arena_copy(im->c->arena, weft_bytes_str(full), &d.name) != WEFT_OK)
      return cli_fail_err(im->c, WEFT_ENOMEM, "import");
  }
  if (weft_document_name_check(d.name) != WEFT_OK)
    return import_fail(im, at, "not a document name (collection/name, up to 255 bytes)");
  void *list = im->docs;
  if (weft__arena_grow(im->c->arena, &list, im->count, &im->cap, im->count + 1, sizeof d) !=
      WEFT_OK)
    return cli_fail_err(im->c, WEFT_ENOMEM, "import");
  im->docs = list;
  im->docs[im->count++] = d;
  return CLI_OK;
}

static bool blank(weft_bytes text) {
  for (size_t i = 0; i < text.len; i++)
    if (!strchr(" \t\r\n", text.at[i]) || text.at[i] == 0) return false;
  return true;
}

static int import_lines(importer *im, weft_bytes text) {
  size_t from = 0, line = 0;
  im->lines = true;
  for (size_t i = 0; i <= text.len; i++) {
    if (i < text.len && text.at[i] != '\n') continue;
    weft_bytes piece = weft_bytes_of(text.at + from, i - from);
    from = i + 1;
    line++;
    if (blank(piece)) continue;
    weft_value *item = weft__arena_zero(im->c->arena, 1, sizeof *item);
    weft_json_error why;
    weft_err err = item ? weft_json_parse(im->c->arena, piece, item, &why) : WEFT_ENOMEM;
    if (err == WEFT_ENOMEM) return cli_fail_err(im->c, err, "import");
    if (err != WEFT_OK) return import_fail(im, line, why.text);
    int code = import_add(im, item, line);
    if (code != CLI_OK) return code;
  }
  return CLI_OK;
}

static int import_parse(importer *im, weft_bytes text) {
  size_t at = 0;
  while (at < text.len && strchr(" \t\r\n", text.at[at]) && text.at[at]) at++;
  if (at == text.len) return cli_fail(im->c, CLI_FAILED, "the input is empty: nothing to import");
  weft_value *whole = weft__arena_zero(im->c->arena, 1, sizeof *whole);
  if (!whole) return cli_fail_err(im->c, WEFT_ENOMEM, "import");
  weft_json_error why;
  weft_err err = weft_json_parse(im->c->arena, text, whole, &why);
  if (err == WEFT_OK && whole->kind == WEFT_OBJECT) return import_add(im, whole, 1);
  if (text.at[at] != '[') return import_lines(im, text);
  if (err != WEFT_OK)
    return cli_fail(im->c, CLI_FAILED, "the input is not JSON: line %zu: %s; nothing was written",
                    why.line, why.text);
  for (size_t i = 0; i < whole->as.array.count; i++) {
    int code = import_add(im, &whole->as.array.at[i], i + 1);
    if (code != CLI_OK) return code;
  }
  return CLI_OK;
}

static weft_err import_one(importer *im, const weft_edit_options *o, const import_doc *d,
                           bool merge) {
  weft_replica *r = im->c->space->replica;
  weft_doc_info info;
  weft_err err = weft_replica_doc_info(r, im->c->arena, d->name, &info);
  if (err != WEFT_OK && err != WEFT_ENOTFOUND) return err;
  bool fresh = err == WEFT_ENOTFOUND || info.deleted;
  weft_edit *e;
  err = weft_edit_begin(&e, r, o);
  if (err != WEFT_OK) return err;
  weft_commit commit;
  err = weft_edit_import(e, d->name, d->value, merge);
  if (err == WEFT_OK) err = weft_edit_commit(e, &commit);
  weft_edit_free(e);
  if (err != WEFT_OK) return err;
  if (!commit.written)
    im->unchanged++;
  else if (fresh)
    im->created++;
  else
    im->changed++;
  if (commit.written) im->fields += (int64_t)commit.field_count;
  return WEFT_OK;
}

/* What earlier groups wrote stays, and is told. */
static int import_failed(importer *im, int code, size_t from) {
  char why[sizeof im->c->error];
  memcpy(why, im->c->error, sizeof why);
  if (from == 0) return cli_fail(im->c, code, "%.400s; nothing was written", why);
  return cli_fail(im->c, CLI_PARTIAL,
                  "%.300s; the first %zu documents are imported, the other %zu are not", why, from,
                  im->count - from);
}

/* Writes the documents from `from` to `to` in one transaction; `*code` is of an error. */
static weft_err import_group(importer *im, const weft_edit_options *o, bool merge, size_t from,
                             size_t to, int *code) {
  weft_replica *r = im->c->space->replica;
  weft_err err = weft_group_begin(r);
  for (size_t i = from; err == WEFT_OK && i < to; i++) {
    err = import_one(im, o, &im->docs[i], merge);
    if (err != WEFT_OK) {
      weft_group_abort(r);
      *code = cli_fail_err(im->c, err, "%.*s (%s %zu)", TEXT(im->docs[i].name),
                           im->lines ? "line" : "item", im->docs[i].line);
      return err;
    }
    if (i % 100 == 0) cli_progress(im->c, "import", i, im->count);
  }
  if (err == WEFT_OK) err = weft_group_end(r);
  *code = err == WEFT_OK ? CLI_OK : cli_fail_err(im->c, err, "import");
  return err;
}

static int import_write(importer *im, const weft_edit_options *o, bool merge) {
  for (size_t from = 0; from < im->count; from += group_documents) {
    int code;
    size_t to = im->count - from < group_documents ? im->count : from + group_documents;
    importer before = *im;
    weft_err err = import_group(im, o, merge, from, to, &code);
    if (err == WEFT_EFULL) { /* the map has grown meanwhile, if that is what was full */
      *im = before;
      err = import_group(im, o, merge, from, to, &code);
    }
    if (err != WEFT_OK) return import_failed(im, code, from);
    im->c->error[0] = 0;
  }
  return CLI_OK;
}

int cmd_import(cli_call *c) {
  importer im = {.c = c};
  if (!cli_option_get(c, "collection", &im.collection)) im.collection = weft_bytes_str("templates");
  if (!cli_option_get(c, "id", &im.id)) im.id = weft_bytes_str("id");
  weft_edit_options options;
  int code = cli_edit_options(c, &options);
  if (code == CLI_OK) code = import_parse(&im, c->args.input);
  if (code == CLI_OK) code = import_write(&im, &options, cli_flag(c, "merge"));
  if (code != CLI_OK) return code;
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_int(&o, "documents", (int64_t)im.count);
  cli_obj_int(&o, "created", im.created);
  cli_obj_int(&o, "changed", im.changed);
  cli_obj_int(&o, "unchanged", im.unchanged);
  cli_obj_int(&o, "fields_written", im.fields);
  cli_emit_obj(c, &o);
  return CLI_OK;
}

/* --- export --------------------------------------------------------------------------------------
 */

static void export_emit(cli_call *c, weft_arena *arena, weft_bytes doc, const weft_value *value) {
  cli_obj o = cli_obj_begin(arena);
  cli_obj_bytes(&o, "doc", doc);
  cli_obj_put(&o, "value", *value);
  cli_emit_obj(c, &o);
}

/* What is left of an export: of documents by name the next one, else the cursor of the next page.
 */
typedef struct exporter {
  weft_bytes collection;
  weft_buf cursor;
  size_t next;
  bool more;
} exporter;

static int export_named(cli_call *c, exporter *e) {
  weft_arena arena;
  weft_bytes doc;
  weft_value v;
  int code = cli_doc_arg(c, e->next++, &doc);
  e->more = e->next < c->args.arg_count;
  if (code != CLI_OK) return code;
  weft__arena_init(&arena, &c->arena->mem);
  weft_err err = weft_replica_get(c->space->replica, &arena, doc, weft_bytes_of("", 0), &v);
  if (err == WEFT_OK) export_emit(c, &arena, doc, &v);
  weft__arena_free(&arena);
  if (err == WEFT_ENOTFOUND)
    return cli_fail(c, CLI_NOT_FOUND, "no document %.*s: see weft list", TEXT(doc));
  return err == WEFT_OK ? CLI_OK : cli_fail_err(c, err, "%.*s", TEXT(doc));
}

/* One page, in memory of its own: a space may be larger than memory. */
static int export_page(cli_call *c, exporter *e) {
  weft_arena arena;
  weft_query q;
  weft_list list;
  weft__arena_init(&arena, &c->arena->mem);
  weft_query_init(&q);
  q.collection = e->collection;
  q.reserved = cli_flag(c, "all");
  q.limit = page;
  q.cursor = weft__buf_view(&e->cursor);
  weft_err err = weft_replica_list(c->space->replica, &arena, &q, &list);
  for (size_t i = 0; err == WEFT_OK && i < list.count; i++)
    export_emit(c, &arena, list.items[i].info.name, &list.items[i].value);
  if (err == WEFT_OK) {
    e->more = list.next.len > 0;
    weft__buf_reset(&e->cursor);
    weft__buf_put(&e->cursor, list.next);
    err = weft__buf_err(&e->cursor);
  }
  weft__arena_free(&arena);
  return err == WEFT_OK ? CLI_OK : cli_fail_err(c, err, "export");
}

/* Goes on until all is told, or whoever reads does not keep up. */
static int export_on(cli_call *c) {
  exporter *e = c->state;
  int code = CLI_OK;
  while (code == CLI_OK && e->more) {
    cli_pace pace = cli_pace_of(c);
    c->resume = export_on;
    if (pace == CLI_WAIT) return CLI_PENDING;
    if (pace == CLI_GONE) break;
    code = c->args.arg_count ? export_named(c, e) : export_page(c, e);
  }
  weft__buf_free(&e->cursor);
  return code;
}

int cmd_export(cli_call *c) {
  exporter *e = weft__arena_zero(c->arena, 1, sizeof *e);
  if (!e) return cli_fail_err(c, WEFT_ENOMEM, "export");
  bool whole = cli_option_get(c, "collection", &e->collection);
  if ((whole || cli_flag(c, "all")) && c->args.arg_count)
    return cli_fail(c, CLI_USAGE, "export: either documents or --collection is wanted");
  if (whole && cli_flag(c, "all"))
    return cli_fail(c, CLI_USAGE, "export: either --collection or --all is wanted");
  weft__buf_init(&e->cursor, &c->arena->mem, SIZE_MAX);
  e->more = true;
  c->state = e;
  return export_on(c);
}

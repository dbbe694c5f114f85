#include "cli/version.h"

#include <string.h>

#include "store/history.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

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

weft_value cli_path_value(weft_arena *arena, weft_path path) {
  weft_value v = {.kind = WEFT_NULL};
  weft_buf b;
  weft__buf_init(&b, &arena->mem, SIZE_MAX);
  path_text(path, &b);
  weft_bytes copy;
  if (weft__buf_err(&b) == WEFT_OK &&
      weft__arena_copy(arena, weft__buf_view(&b), &copy) == WEFT_OK) {
    v.kind = WEFT_STRING;
    v.as.bytes = copy;
  }
  weft__buf_free(&b);
  return v;
}

void cli_put_change(const cli_call *c, cli_obj *o, const weft_history_entry *e) {
  char scratch[17];
  weft_bytes name = cli_device_name(c->space, &e->device, scratch), copy;
  if (e->seq > 0)
    cli_obj_hex(o, "change", e->change.b, sizeof e->change.b);
  else
    cli_obj_text(o, "change", NULL);
  cli_obj_hex(o, "device", e->device.b, sizeof e->device.b);
  if (weft__arena_copy(o->arena, name, &copy) == WEFT_OK) cli_obj_bytes(o, "name", copy);
  cli_obj_time(o, "time", e->hlc);
}

static int change_failed(cli_call *c, weft_err err, weft_bytes text) {
  if (err == WEFT_OK) return CLI_OK;
  if (err == WEFT_ENOTFOUND)
    return cli_fail(c, CLI_NOT_FOUND, "no change %.*s: see weft log", TEXT(text));
  if (err == WEFT_EMALFORMED)
    return cli_fail(c, CLI_USAGE, "change %.*s: give at least 8 digits, and enough to fit one only",
                    TEXT(text));
  return cli_fail_err(c, err, "change %.*s", TEXT(text));
}

void cli_put_docs(cli_obj *o, const weft_history_entry *e) {
  weft_value *docs = weft__arena_zero(o->arena, e->op_count + 1, sizeof *docs);
  size_t n = 0;
  for (size_t i = 0; docs && i < e->op_count; i++) {
    bool again = i > 0 && weft_bytes_cmp(e->ops[i].doc, e->ops[i - 1].doc) == 0;
    if (!again) docs[n++] = (weft_value){.kind = WEFT_STRING, .as.bytes = e->ops[i].doc};
  }
  cli_obj_put(o, "docs", cli_array(docs, n));
  cli_obj_int(o, "ops", (int64_t)e->op_count);
}

/* The first digits of an id. */
typedef struct digits {
  weft_bytes text;
  weft_bytes bytes; /* of the digits in pairs */
  bool odd;         /* and one more */
  uint8_t last;     /* that one */
} digits;

static bool digits_read(cli_call *c, weft_bytes text, digits *out) {
  size_t even = text.len & ~(size_t)1;
  weft_bytes last;
  *out = (digits){.text = text, .odd = text.len > even};
  if (out->odd) {
    uint8_t pair[2] = {'0', text.at[even]};
    if (!cli_unhex(c->arena, weft_bytes_of(pair, sizeof pair), &last)) return false;
    out->last = last.at[0];
  }
  return cli_unhex(c->arena, weft_bytes_of(text.at, even), &out->bytes);
}

/* A digit without its pair only tells whether what the pairs found is meant. */
static weft_err change_of(cli_call *c, const digits *d, weft_history_entry *entry) {
  weft_change_state state;
  if (d->text.len > 2 * sizeof(weft_id)) return WEFT_EMALFORMED;
  WEFT_TRY(weft_replica_change(c->space->replica, c->arena, d->bytes, entry, &state));
  bool meant = !d->odd || entry->change.b[d->bytes.len] >> 4 == d->last;
  return meant ? WEFT_OK : WEFT_ENOTFOUND;
}

int cli_find_change(cli_call *c, weft_bytes text, weft_history_entry *entry) {
  digits d;
  if (!digits_read(c, text, &d))
    return cli_fail(c, CLI_NOT_FOUND, "no change %.*s: an id is made of hex digits", TEXT(text));
  return change_failed(c, change_of(c, &d, entry), text);
}

/* A change of the document, or of another one that was written beside it. */
static int version_of_change(cli_call *c, weft_bytes doc, const digits *d, cli_version *out) {
  weft_bytes text = d->text, prefix = d->bytes;
  weft_history_entry entry;
  weft_err err = d->odd ? change_of(c, d, &entry) : WEFT_OK;
  if (d->odd && err == WEFT_OK) prefix = weft_bytes_of(entry.change.b, sizeof entry.change.b);
  if (err == WEFT_OK)
    err = weft_replica_version_after(c->space->replica, doc, prefix, &out->at, &out->change);
  out->is_one = err == WEFT_OK;
  if (err == WEFT_EBASE)
    return cli_fail(c, CLI_NOT_FOUND, "change %.*s is held and not shown yet: see weft status",
                    TEXT(text));
  return change_failed(c, err, text);
}

static int version_of_time(cli_call *c, weft_bytes doc, weft_bytes text, uint64_t ms,
                           cli_version *out) {
  weft_err err = weft_replica_version_at(c->space->replica, doc, ms, &out->at);
  if (err != WEFT_OK) return cli_fail_err(c, err, "%.*s", TEXT(text));
  if (out->at.count > 0) return CLI_OK;
  return cli_fail(c, CLI_NOT_FOUND, "%.*s: nothing was written to %.*s before that", TEXT(text),
                  TEXT(doc));
}

void cli_version_none(const cli_call *c, cli_version *out) {
  memset(out, 0, sizeof *out);
  weft__vector_init(&out->at, &c->arena->mem);
}

int cli_version_read(cli_call *c, weft_bytes doc, weft_bytes text, cli_version *out) {
  weft_replica *r = c->space->replica;
  uint64_t ms;
  digits d;
  if (weft_bytes_cmp(text, weft_bytes_str("now")) == 0) {
    out->now = true;
    weft_err err = weft__vector_copy(&out->at, weft_replica_shown(r));
    return err == WEFT_OK ? CLI_OK : cli_fail_err(c, err, "now");
  }
  weft_doc_info info;
  weft_err there = weft_replica_doc_info(r, c->arena, doc, &info);
  if (there == WEFT_ENOTFOUND)
    return cli_fail(c, CLI_NOT_FOUND, "no document %.*s: see weft list", TEXT(doc));
  if (there != WEFT_OK) return cli_fail_err(c, there, "%.*s", TEXT(doc));
  if (cli_time_parse(text, &ms)) return version_of_time(c, doc, text, ms, out);
  weft_err err = weft_replica_vector_at_tag(r, doc, text, &out->at);
  if (err == WEFT_OK) return CLI_OK;
  if (err == WEFT_EBASE)
    return cli_fail(c, CLI_NOT_FOUND, "tag %.*s names changes that are not here yet: weft sync",
                    TEXT(text));
  if (err != WEFT_ENOTFOUND && err != WEFT_ELIMIT) return cli_fail_err(c, err, "%.*s", TEXT(text));
  if (digits_read(c, text, &d)) return version_of_change(c, doc, &d, out);
  return cli_fail(c, CLI_NOT_FOUND,
                  "%.*s: no such change or tag, and no time such as 2026-01-31T12:00:00Z: see weft "
                  "log and weft tag",
                  TEXT(text));
}

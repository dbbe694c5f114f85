/* Recorded edits: see bench/edits.h. */
#include "bench/edits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crdt/json.h"
#include "crdt/path.h"

static weft_err keep(edits *l, const weft_buf *b, weft_bytes *out) {
  WEFT_TRY(weft__buf_err(b));
  return weft__arena_copy(&l->arena, weft__buf_view(b), out);
}

/* Turns a recorded path into a JSON Pointer: "[title=a/b]" is one key. */
static weft_err pointer_of(edits *l, weft_bytes path, weft_bytes *out) {
  weft_buf b;
  weft__buf_init(&b, &l->mem, SIZE_MAX);
  for (size_t at = 0; at < path.len;) {
    size_t end = ++at; /* behind the slash */
    bool bracket = at < path.len && path.at[at] == '[';
    while (end < path.len) {
      bool closed = !bracket || path.at[end - 1] == ']';
      if (path.at[end] == '/' && closed) break;
      end++;
    }
    weft_pointer_push(&b, weft_bytes_of(path.at + at, end - at));
    at = end;
  }
  weft_err err = keep(l, &b, out);
  weft__buf_free(&b);
  return err;
}

static weft_err json_of(edits *l, const weft_value *v, weft_bytes *out) {
  weft_buf b;
  weft__buf_init(&b, &l->mem, SIZE_MAX);
  weft_json_write(&b, v);
  weft_err err = keep(l, &b, out);
  weft__buf_free(&b);
  return err;
}

static weft_err doc_of(edits *l, weft_bytes from, weft_bytes path, size_t *out) {
  char name[256];
  size_t cut = path.len;
  while (cut > 0 && path.at[cut - 1] != '/') cut--;
  snprintf(name, sizeof name, "%.*s/%.*s", 5, (const char *)from.at, (int)(path.len - cut),
           (const char *)path.at + cut);
  for (*out = 0; *out < l->doc_count; ++*out) {
    if (weft_bytes_cmp(l->docs[*out], weft_bytes_str(name)) == 0) return WEFT_OK;
  }
  if (l->doc_count == EDITS_DOCS_MAX) return WEFT_EMALFORMED;
  return weft__arena_copy(&l->arena, weft_bytes_str(name), &l->docs[l->doc_count++]);
}

static weft_err author_of(edits *l, weft_bytes from, int64_t number, size_t *out) {
  char name[64];
  snprintf(name, sizeof name, "%.5s %lld", (const char *)from.at, (long long)number);
  for (*out = 0; *out < l->author_count; ++*out) {
    if (strcmp(l->authors[*out], name) == 0) return WEFT_OK;
  }
  if (l->author_count == EDITS_AUTHORS_MAX) return WEFT_EMALFORMED;
  snprintf(l->authors[l->author_count++], sizeof name, "%s", name);
  return WEFT_OK;
}

static weft_err step_read(edits *l, const weft_value *op, edits_step *out) {
  const weft_value *parts = op->as.array.at;
  bool pair = op->kind == WEFT_ARRAY && op->as.array.count >= 2 && parts[0].kind == WEFT_STRING &&
              parts[0].as.bytes.len == 1 && parts[1].kind == WEFT_STRING;
  if (!pair) return WEFT_EMALFORMED;
  out->set = parts[0].as.bytes.at[0] == 's';
  WEFT_TRY(pointer_of(l, parts[1].as.bytes, &out->pointer));
  if (!out->set) return WEFT_OK;
  if (op->as.array.count < 3) return WEFT_EMALFORMED;
  out->value = parts[2];
  return json_of(l, &out->value, &out->json);
}

static weft_err edit_read(edits *l, weft_bytes line) {
  weft_value v;
  static const char *const keys[] = {"from", "doc", "a", "t", "ops"};
  static const weft_value_kind kinds[] = {WEFT_STRING, WEFT_STRING, WEFT_INT, WEFT_INT, WEFT_ARRAY};
  const weft_value *members[5];
  WEFT_TRY(weft_json_parse(&l->arena, line, &v, NULL));
  if (l->count == EDITS_MAX) return WEFT_EMALFORMED;
  for (size_t i = 0; i < 5; i++) {
    members[i] = weft_value_member(&v, weft_bytes_str(keys[i]));
    if (!members[i] || members[i]->kind != kinds[i]) return WEFT_EMALFORMED;
  }
  edits_one *e = &l->at[l->count];
  weft_bytes from = members[0]->as.bytes;
  const weft_value *ops = members[4];
  *e = (edits_one){.line = l->count++, .count = ops->as.array.count};
  if (from.len < 5) return WEFT_EMALFORMED;
  WEFT_TRY(doc_of(l, from, members[1]->as.bytes, &e->doc));
  WEFT_TRY(author_of(l, from, members[2]->as.integer, &e->author));
  e->seconds = (uint64_t)members[3]->as.integer;
  e->steps = weft__arena_zero(&l->arena, e->count + 1, sizeof *e->steps);
  if (!e->steps) return WEFT_ENOMEM;
  for (size_t i = 0; i < e->count; i++) {
    WEFT_TRY(step_read(l, &ops->as.array.at[i], &e->steps[i]));
  }
  return WEFT_OK;
}

static int by_time(const void *a, const void *b) {
  const edits_one *x = a, *y = b;
  if (x->seconds != y->seconds) return x->seconds < y->seconds ? -1 : 1;
  return x->line < y->line ? -1 : 1;
}

weft_err edits_read(edits *out, const weft_alloc *mem, weft_bytes text) {
  weft_bytes copy;
  weft_err err = WEFT_OK;
  memset(out, 0, sizeof *out);
  out->mem = *mem;
  weft__arena_init(&out->arena, mem);
  WEFT_TRY(weft__arena_copy(&out->arena, text, &copy)); /* values stay views of it */
  for (size_t from = 0, i = 0; i < copy.len && err == WEFT_OK; i++) {
    if (copy.at[i] != '\n') continue;
    err = edit_read(out, weft_bytes_of(copy.at + from, i - from));
    from = i + 1;
  }
  qsort(out->at, out->count, sizeof *out->at, by_time);
  return err;
}

void edits_free(edits *e) { weft__arena_free(&e->arena); }

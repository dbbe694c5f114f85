/* Files of records: reading them, and telling two of them apart. */
#include "bench/results.h"

#include <stdlib.h>
#include <string.h>

#include "crdt/json.h"

static bool same(weft_bytes a, weft_bytes b) { return weft_bytes_cmp(a, b) == 0; }

static bool text_of(const weft_value *record, const char *key, weft_bytes *out) {
  const weft_value *v = weft_value_member(record, weft_bytes_str(key));
  if (!v || v->kind != WEFT_STRING) return false;
  *out = v->as.bytes;
  return true;
}

static bool number_of(const weft_value *record, const char *key, double *out) {
  const weft_value *v = weft_value_member(record, weft_bytes_str(key));
  if (!v || (v->kind != WEFT_INT && v->kind != WEFT_DOUBLE)) return false;
  *out = v->kind == WEFT_INT ? (double)v->as.integer : v->as.real;
  return true;
}

static bool result_of(const weft_value *v, result *out, weft_bytes *machine) {
  const weft_value *quick = weft_value_member(v, weft_bytes_str("quick"));
  weft_bytes better;
  *out = (result){.quick = quick && quick->kind == WEFT_BOOL && quick->as.boolean};
  out->has_limit = number_of(v, "limit", &out->limit) && number_of(v, "ratio", &out->ratio);
  out->has_times = text_of(v, "beside", &out->beside) && number_of(v, "times", &out->times);
  bool whole = text_of(v, "workload", &out->workload) && text_of(v, "variant", &out->variant) &&
               text_of(v, "metric", &out->metric) && text_of(v, "unit", &out->unit) &&
               number_of(v, "value", &out->value) && number_of(v, "min", &out->min) &&
               number_of(v, "max", &out->max) && text_of(v, "machine", machine);
  bool told = text_of(v, "better", &better); /* not by those of before there was such a field */
  out->more =
      told ? same(better, weft_bytes_str("more")) : same(out->metric, weft_bytes_str("rate"));
  return whole;
}

static weft_err take_line(weft_arena *arena, weft_bytes line, results *out, size_t *cap) {
  weft_value v;
  weft_bytes kept;
  void *at = out->at;
  WEFT_TRY(weft__arena_copy(arena, line, &kept));
  WEFT_TRY(weft_json_parse(arena, kept, &v, NULL));
  WEFT_TRY(weft__arena_grow(arena, &at, out->count, cap, out->count + 1, sizeof *out->at));
  out->at = at;
  return result_of(&v, &out->at[out->count++], &out->machine) ? WEFT_OK : WEFT_EMALFORMED;
}

weft_err results_read(bench *b, weft_arena *arena, const char *path, results *out) {
  char *line = NULL;
  size_t line_cap = 0;
  size_t cap = 0;
  ssize_t len;
  weft_err err = WEFT_OK;
  *out = (results){0};
  FILE *f = fopen(path, "r");
  if (!f) return bench_fail(b, WEFT_EIO, path);
  while (err == WEFT_OK && (len = getline(&line, &line_cap, f)) > 0) {
    err = take_line(arena, weft_bytes_of(line, (size_t)len), out, &cap);
  }
  free(line);
  fclose(f);
  if (err == WEFT_OK && out->count == 0) err = WEFT_EMALFORMED;
  return bench_fail(b, err, path);
}

const result *results_find(const results *list, const result *like) {
  for (size_t i = 0; i < list->count; i++) {
    const result *r = &list->at[i];
    if (same(r->workload, like->workload) && same(r->variant, like->variant) &&
        same(r->metric, like->metric)) {
      return r;
    }
  }
  return NULL;
}

/* --- comparing --- */

static void put(FILE *out, int width, weft_bytes text) {
  fprintf(out, "%-*.*s ", width, (int)text.len, (const char *)text.at);
}

static void compare_line(const result *before, const result *after, FILE *out) {
  double times = after->more ? after->value / before->value : before->value / after->value;
  bool apart = after->min > before->max || after->max < before->min;
  put(out, 7, after->workload);
  put(out, 15, after->variant);
  put(out, 22, after->metric);
  put(out, 10, after->unit);
  bench_put_number(out, before->value);
  bench_put_number(out, after->value);
  fprintf(out, " %8.3f%s\n", times, apart ? "" : "  spreads meet");
}

weft_err bench_compare(bench *b, const char *before, const char *after, FILE *out) {
  weft_arena arena;
  results first, second;
  weft__arena_init(&arena, &b->mem);
  weft_err err = results_read(b, &arena, before, &first);
  if (err == WEFT_OK) err = results_read(b, &arena, after, &second);
  if (err == WEFT_OK) {
    fprintf(out, "%-7s %-15s %-22s %-10s %12s %12s %8s\n", "", "variant", "metric", "unit",
            "before", "after", "times");
    for (size_t i = 0; i < second.count; i++) {
      const result *old = results_find(&first, &second.at[i]);
      if (old && old->value > 0 && second.at[i].value > 0) compare_line(old, &second.at[i], out);
    }
  }
  weft__arena_free(&arena);
  return err;
}

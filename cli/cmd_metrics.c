/* metrics: what the replica and the node counted, and what is true now.
 *
 * Counters live in the process that counts: the daemon.  Without one only what the store knows is
 * told, the gauges. */
#include <string.h>

#include "cli/network.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/space.h"

enum { exact_max_bits = 53, text_len_max = 1 << 20 };

/* Numbers beyond what a double holds are strings, as everywhere. */
static void put_number(cli_obj *o, const char *key, uint64_t v) {
  char text[24];
  if (v < UINT64_C(1) << exact_max_bits) {
    cli_obj_int(o, key, (int64_t)v);
    return;
  }
  size_t at = sizeof text - 1;
  for (text[at] = 0; v > 0; v /= 10) text[--at] = (char)('0' + v % 10);
  cli_obj_text(o, key, text + at);
}

static void put_seconds(cli_obj *o, const char *key, uint64_t ns) {
  weft_value v = {.kind = WEFT_DOUBLE};
  v.as.real = (double)ns / 1e9;
  cli_obj_put(o, key, v);
}

static weft_value bucket_rows(cli_call *c, const weft_metric_view *v) {
  weft_value *rows = weft__arena_zero(c->arena, v->bucket_count + 1, sizeof *rows);
  for (size_t i = 0; rows && i <= v->bucket_count; i++) {
    cli_obj o = cli_obj_begin(c->arena);
    if (i < v->bucket_count)
      put_seconds(&o, "le", v->bounds[i]);
    else
      cli_obj_text(&o, "le", NULL);
    put_number(&o, "count", v->counts[i]);
    rows[i] = cli_obj_end(&o);
  }
  return cli_array(rows, rows ? v->bucket_count + 1 : 0);
}

static weft_value row(cli_call *c, const weft_metric_view *v) {
  static const char *const kinds[] = {"counter", "gauge", "histogram"};
  cli_obj o = cli_obj_begin(c->arena), labels = cli_obj_begin(c->arena);
  if (v->label_key[0]) cli_obj_text(&labels, v->label_key, v->label_value);
  cli_obj_text(&o, "name", v->name);
  cli_obj_text(&o, "kind", kinds[v->kind]);
  cli_obj_text(&o, "unit", v->unit);
  cli_obj_text(&o, "help", v->help);
  cli_obj_put(&o, "labels", cli_obj_end(&labels));
  if (v->kind == WEFT_METRIC_HISTOGRAM) {
    put_number(&o, "count", v->count);
    put_seconds(&o, "sum", v->sum);
    cli_obj_put(&o, "buckets", bucket_rows(c, v));
  } else if (strcmp(v->unit, "seconds") == 0) {
    put_seconds(&o, "value", v->value);
  } else {
    put_number(&o, "value", v->value);
  }
  return cli_obj_end(&o);
}

static weft_value rows_of(cli_call *c, const weft_metrics *m, bool gauges_only) {
  weft_metric_view v;
  size_t all = 0, count = 0;
  while (weft_metrics_at(m, all, &v)) all++;
  weft_value *rows = weft__arena_zero(c->arena, all, sizeof *rows);
  for (size_t i = 0; rows && i < all; i++) {
    (void)weft_metrics_at(m, i, &v);
    if (v.known && (!gauges_only || v.kind == WEFT_METRIC_GAUGE)) rows[count++] = row(c, &v);
  }
  return cli_array(rows, count);
}

int cmd_metrics(cli_call *c) {
  bool daemon = c->runtime && c->runtime->node;
  weft_metrics *m = c->space->metrics;
  cli_node_plan plan = {.gossip = true};
  int code = daemon ? CLI_OK : cli_node_start(c, &plan); /* for stored acknowledgements */
  if (code != CLI_OK) return code;
  weft_err err = weft_replica_measure(c->space->replica, m);
  if (err == WEFT_OK) err = weft_node_measure(weft_uv_node_core(c->runtime->node), m);
  if (err != WEFT_OK) return cli_fail_err(c, err, "metrics");
  weft_buf text;
  weft__buf_init(&text, &c->arena->mem, text_len_max);
  weft_metrics_write(&text, m, !daemon);
  weft_value shown = {.kind = WEFT_STRING};
  err = weft__buf_err(&text);
  if (err == WEFT_OK) err = weft__arena_copy(c->arena, weft__buf_view(&text), &shown.as.bytes);
  weft__buf_free(&text);
  if (err != WEFT_OK) return cli_fail_err(c, err, "metrics");
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_put(&o, "metrics", rows_of(c, m, !daemon));
  cli_obj_put(&o, "text", shown);
  cli_emit_obj(c, &o);
  return CLI_OK;
}

/* Metrics: the object, and its text.
 *
 * Invariants: a row's place in the table is its place in the object; counters and histograms never
 * fall.  Text is written with integers alone: durations are nanoseconds, and become seconds by a
 * point before the last nine digits. */
#include "crdt/metrics.h"

#include <string.h>

#include "crdt/metrics_table.h"

static const struct {
  weft_metric_kind kind;
  const char *name, *key, *value, *unit, *help;
} rows[] = {
#define WEFT_METRIC_ROW(id, kind, name, key, value, unit, help)                                    \
  {WEFT_METRIC_##kind, name, key, value, unit, help},
    WEFT_METRICS(WEFT_METRIC_ROW)
#undef WEFT_METRIC_ROW
};

#define US 1000ull
#define MS 1000000ull

/* From what memory takes to what people give up on: guessed, about three to a decade. */
static const uint64_t bounds[WEFT_METRIC_BUCKETS] = {
    100 * US, 250 * US, 500 * US, 1 * MS,   2500 * US, 5 * MS,    10 * MS,    25 * MS,
    50 * MS,  100 * MS, 250 * MS, 500 * MS, 1000 * MS, 2500 * MS, 10000 * MS, 60000 * MS};

void weft_metrics_options_init_sized(weft_metrics_options *o, size_t struct_size) {
  memset(o, 0, struct_size);
  o->struct_size = struct_size;
  o->mem = weft_alloc_libc();
}

weft_err weft_metrics_new(weft_metrics **out, const weft_metrics_options *o) {
  *out = NULL;
  weft_metrics *m = o->mem.alloc(o->mem.ctx, sizeof *m);
  if (!m) return WEFT_ENOMEM;
  memset(m, 0, sizeof *m);
  m->mem = o->mem;
  m->clock_ns = o->clock_ns;
  m->ctx = o->ctx;
  *out = m;
  return WEFT_OK;
}

void weft_metrics_free(weft_metrics *m) {
  if (!m) return;
  weft_alloc mem = m->mem;
  mem.free(mem.ctx, m);
}

/* --- counting --- */

void weft__gauge(weft_metrics *m, weft_metric id, uint64_t value) {
  m->values[id] = value;
  m->known[id] = true;
}

uint64_t weft__metrics_clock(const weft_metrics *m) {
  if (!m || !m->clock_ns) return 0;
  uint64_t now = m->clock_ns(m->ctx);
  return now ? now : 1;
}

void weft__observe(weft_metrics *m, weft_metric id, uint64_t ns) {
  if (!m) return;
  weft_histogram *h = &m->histograms[id - WEFT_METRIC_FIRST_HISTOGRAM];
  size_t bucket = 0;
  while (bucket < WEFT_METRIC_BUCKETS && ns > bounds[bucket]) bucket++;
  h->counts[bucket]++;
  h->sum += ns;
  h->count++;
}

void weft__observe_since(weft_metrics *m, weft_metric id, uint64_t started) {
  if (started == 0) return;
  uint64_t now = weft__metrics_clock(m);
  weft__observe(m, id, now > started ? now - started : 0);
}

void weft__metrics_lag(weft_metrics *m, uint64_t held, uint64_t shown) {
  if (!m) return;
  if (held <= shown)
    m->lag_since = 0;
  else if (m->lag_since == 0)
    m->lag_since = weft__metrics_clock(m);
}

/* --- reading --- */

bool weft_metrics_at(const weft_metrics *m, size_t idx, weft_metric_view *out) {
  memset(out, 0, sizeof *out);
  if (idx >= WEFT_METRIC_COUNT) return false;
  out->name = rows[idx].name;
  out->label_key = rows[idx].key;
  out->label_value = rows[idx].value;
  out->kind = rows[idx].kind;
  out->unit = rows[idx].unit;
  out->help = rows[idx].help;
  out->known = out->kind != WEFT_METRIC_GAUGE || m->known[idx];
  if (out->kind != WEFT_METRIC_HISTOGRAM) {
    out->value = m->values[idx];
    return true;
  }
  const weft_histogram *h = &m->histograms[idx - WEFT_METRIC_FIRST_HISTOGRAM];
  out->bounds = bounds;
  out->counts = h->counts;
  out->bucket_count = WEFT_METRIC_BUCKETS;
  out->sum = h->sum;
  out->count = h->count;
  return true;
}

static void put(weft_buf *out, const char *text) { weft__buf_put_raw(out, text, strlen(text)); }

static void put_number(weft_buf *out, uint64_t v) {
  char digits[20];
  size_t at = sizeof digits;
  do {
    digits[--at] = (char)('0' + v % 10);
    v /= 10;
  } while (v);
  weft__buf_put_raw(out, digits + at, sizeof digits - at);
}

/* Nanoseconds as seconds, without zeros at the end. */
static void put_seconds(weft_buf *out, uint64_t ns) {
  char digits[9];
  uint64_t rest = ns % 1000000000u;
  size_t len = sizeof digits;
  for (size_t i = len; i-- > 0; rest /= 10) digits[i] = (char)('0' + rest % 10);
  while (len > 0 && digits[len - 1] == '0') len--;
  put_number(out, ns / 1000000000u);
  if (len) put(out, ".");
  weft__buf_put_raw(out, digits, len);
}

static void put_head(weft_buf *out, const weft_metric_view *v) {
  static const char *const kinds[] = {"counter", "gauge", "histogram"};
  put(out, "# HELP ");
  put(out, v->name);
  put(out, " ");
  put(out, v->help);
  put(out, ".\n# TYPE ");
  put(out, v->name);
  put(out, " ");
  put(out, kinds[v->kind]);
  put(out, "\n");
}

static void put_sample(weft_buf *out, const weft_metric_view *v) {
  put(out, v->name);
  if (v->label_key[0]) {
    put(out, "{");
    put(out, v->label_key);
    put(out, "=\"");
    put(out, v->label_value);
    put(out, "\"}");
  }
  put(out, " ");
  if (strcmp(v->unit, "seconds") == 0)
    put_seconds(out, v->value);
  else
    put_number(out, v->value);
  put(out, "\n");
}

static void put_histogram(weft_buf *out, const weft_metric_view *v) {
  uint64_t sum = 0;
  for (size_t i = 0; i <= v->bucket_count; i++) {
    sum += v->counts[i];
    put(out, v->name);
    put(out, "_bucket{le=\"");
    if (i < v->bucket_count)
      put_seconds(out, v->bounds[i]);
    else
      put(out, "+Inf");
    put(out, "\"} ");
    put_number(out, sum);
    put(out, "\n");
  }
  put(out, v->name);
  put(out, "_sum ");
  put_seconds(out, v->sum);
  put(out, "\n");
  put(out, v->name);
  put(out, "_count ");
  put_number(out, v->count);
  put(out, "\n");
}

void weft_metrics_write(weft_buf *out, const weft_metrics *m, bool gauges_only) {
  const char *before = "";
  weft_metric_view v;
  for (size_t i = 0; weft_metrics_at(m, i, &v); i++) {
    if (!v.known || (gauges_only && v.kind != WEFT_METRIC_GAUGE)) continue;
    if (strcmp(before, v.name) != 0) put_head(out, &v);
    before = v.name;
    if (v.kind == WEFT_METRIC_HISTOGRAM)
      put_histogram(out, &v);
    else
      put_sample(out, &v);
  }
}

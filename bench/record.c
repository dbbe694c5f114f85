/* Figures: series of samples, and their records as JSON lines or a table. */
#include <math.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/median.h"
#include "crdt/assert.h"

static bool same_name(const bench_name *a, const bench_name *b) {
  return strcmp(a->workload, b->workload) == 0 && strcmp(a->variant, b->variant) == 0 &&
         strcmp(a->metric, b->metric) == 0;
}

static bench_series *series_of(bench *b, const bench_name *name) {
  for (size_t i = 0; i < b->series_count; i++) {
    if (same_name(&b->series[i].name, name)) return &b->series[i];
  }
  WEFT_ASSERT(b->series_count < BENCH_SERIES_MAX);
  bench_series *s = &b->series[b->series_count++];
  *s = (bench_series){.name = *name};
  return s;
}

void bench_sample(bench *b, bench_name name, double value) {
  bench_series *s = series_of(b, &name);
  WEFT_ASSERT(s->value_count < BENCH_RUNS_MAX);
  s->values[s->value_count++] = value;
}

void bench_limit(bench *b, bench_name name, double limit) {
  bench_series *s = series_of(b, &name);
  WEFT_ASSERT(s->limit_count < BENCH_RUNS_MAX);
  s->limits[s->limit_count++] = limit;
}

/* --- summaries --- */

typedef struct summary {
  double median, min, max, limit, ratio;
  bool has_limit;
} summary;

static double median_of(const double *values, size_t count, double *min, double *max) {
  double sorted[BENCH_RUNS_MAX];
  memcpy(sorted, values, count * sizeof *values);
  double median = bench_median(sorted, count);
  *min = sorted[0];
  *max = sorted[count - 1];
  return median;
}

static summary summary_of(const bench_series *s) {
  summary out = {0};
  double low, high;
  if (s->value_count > 0) out.median = median_of(s->values, s->value_count, &out.min, &out.max);
  if (s->limit_count == 0) return out;
  out.limit = median_of(s->limits, s->limit_count, &low, &high);
  double over = s->name.sense == BENCH_RATE ? out.limit : out.median;
  double under = s->name.sense == BENCH_RATE ? out.median : out.limit;
  out.has_limit = over > 0;
  if (out.has_limit) out.ratio = under / over;
  return out;
}

/* --- writing --- */

/* Five digits are more than such figures are worth. */
static double rounded(double v) {
  if (v <= 0) return v;
  double unit = pow(10, floor(log10(v)) - 4);
  return unit < 1 ? round(v / unit) * unit : round(v);
}

static void json_number(FILE *out, const char *key, double v) {
  fprintf(out, ",\"%s\":%.10g", key, rounded(v));
}

void bench_write_json(const bench *b, FILE *out) {
  char machine[256];
  bench_machine(b, machine);
  for (size_t i = 0; i < b->series_count; i++) {
    const bench_series *s = &b->series[i];
    summary m = summary_of(s);
    fprintf(out, "{\"workload\":\"%s\",\"variant\":\"%s\",\"metric\":\"%s\",\"unit\":\"%s\"",
            s->name.workload, s->name.variant, s->name.metric, s->name.unit);
    json_number(out, "value", m.median);
    json_number(out, "min", m.min);
    json_number(out, "max", m.max);
    fprintf(out, ",\"runs\":%zu,\"better\":\"%s\"", s->value_count,
            s->name.sense == BENCH_RATE ? "more" : "less");
    if (m.has_limit) {
      json_number(out, "limit", m.limit);
      json_number(out, "ratio", m.ratio);
    }
    fprintf(out, ",\"quick\":%s,\"machine\":\"", b->quick ? "true" : "false");
    for (const char *c = machine; *c; c++) {
      if (*c != '"' && *c != '\\') fputc(*c, out);
    }
    fprintf(out, "\"}\n");
  }
}

void bench_put_number(FILE *out, double v) {
  if (v >= 1000) {
    fprintf(out, " %11.0f", v);
  } else {
    fprintf(out, " %11.2f", v);
  }
}

void bench_write_table(const bench *b, FILE *out) {
  char machine[256];
  bench_machine(b, machine);
  fprintf(out, "%s%s\n\n", machine, b->quick ? "; quick: small sizes" : "");
  fprintf(out, "%-7s %-15s %-21s %-10s %11s %11s %11s %11s %6s\n", "", "variant", "metric", "unit",
          "median", "min", "max", "limit", "share");
  for (size_t i = 0; i < b->series_count; i++) {
    const bench_series *s = &b->series[i];
    summary m = summary_of(s);
    fprintf(out, "%-7s %-15s %-21s %-10s", s->name.workload, s->name.variant, s->name.metric,
            s->name.unit);
    bench_put_number(out, m.median);
    bench_put_number(out, m.min);
    bench_put_number(out, m.max);
    if (m.has_limit) {
      bench_put_number(out, m.limit);
      fprintf(out, " %5.1f%%", m.ratio * 100);
    }
    fputc('\n', out);
  }
}

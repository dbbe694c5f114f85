/* Metrics: what a replica and a node count, as counters, gauges and histograms.
 *
 * One object belongs to one replica and, if there is one, its node; the caller makes it, hands it
 * to both in their options, and frees it after them.  Without one (NULL) nothing is counted.  Every
 * name, with its kind, unit and meaning, stands in one table (crdt/metrics_table.h, for people
 * docs/metrics.md).
 *
 * Counters and histograms grow from zero for the life of the object.  Gauges are what was true when
 * weft_replica_measure and weft_node_measure last ran.
 *
 * Threads: counting is plain increments on the thread that uses the replica and the node, which is
 * one at a time; reading happens there too.  Nothing is atomic, because no two threads meet here.
 */
#ifndef WEFT_METRICS_H
#define WEFT_METRICS_H

#include "alloc.h"
#include "buf.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_metrics weft_metrics;

typedef struct weft_metrics_options {
  size_t struct_size;
  weft_alloc mem;
  /* Monotonic nanoseconds, for the durations of commit, hold and show; NULL: those are not
   * measured.  Must not call weft. */
  uint64_t (*clock_ns)(void *ctx);
  void *ctx;
} weft_metrics_options;
#define weft_metrics_options_init(o) weft_metrics_options_init_sized((o), sizeof *(o))
/* Sets every default.  Use the macro. */
WEFT_API void weft_metrics_options_init_sized(weft_metrics_options *o, size_t struct_size);

/* Makes an object in which everything is zero.  WEFT_ENOMEM. */
WEFT_API weft_err weft_metrics_new(weft_metrics **out, const weft_metrics_options *o) WEFT_MUST_USE;
/* Frees it; NULL does nothing.  Whoever counts in it must be gone. */
WEFT_API void weft_metrics_free(weft_metrics *m);

typedef enum weft_metric_kind {
  WEFT_METRIC_COUNTER,
  WEFT_METRIC_GAUGE,
  WEFT_METRIC_HISTOGRAM
} weft_metric_kind;

/* One row of the table with its value.  Texts are static. */
typedef struct weft_metric_view {
  const char *name; /* rows of one name stand together and differ by their label */
  const char *label_key, *label_value; /* "" when there is none */
  weft_metric_kind kind;
  const char *unit; /* of the value: "changes", "bytes", "seconds", ... */
  const char *help; /* one sentence without its full stop */
  bool known;       /* a gauge: it was measured; else true */
  uint64_t value;   /* counter, gauge; with the unit seconds in nanoseconds */
  /* Histograms, all in nanoseconds: counts[i] observations fell into bucket i, whose upper bound is
   * bounds[i]; the last of bucket_count + 1 counts is of those above all bounds. */
  const uint64_t *bounds, *counts;
  size_t bucket_count;
  uint64_t sum, count;
} weft_metric_view;

/* Gives row `idx` of the table; false past the end. */
WEFT_API bool weft_metrics_at(const weft_metrics *m, size_t idx, weft_metric_view *out);

/* Appends all of it, or only the gauges that were measured, in the text format of Prometheus
 * (version 0.0.4).  Errors stay in `out`. */
WEFT_API void weft_metrics_write(weft_buf *out, const weft_metrics *m, bool gauges_only);

#ifdef __cplusplus
}
#endif
#endif

/* The list of workloads, and running some of them. */
#include <signal.h>
#include <string.h>

#include "bench/bench.h"

typedef struct workload {
  const char *name;
  weft_err (*run)(bench *b);
  const char *what;
  const char *variants; /* which can be measured alone, with spaces between; NULL: none */
} workload;

static const workload workloads[] = {
    {"W1", bench_commit, "local commits: one a transaction, and in groups",
     "import group group-100 group-10000 single single-disk"},
    {"W2", bench_show, "100,000 changes of others: held, then shown",
     "held shown held-turns held-single shown-1m shown-naive"},
    {"W3", bench_catchup, "a device that was away fetches the last 1,000 of 220,000 changes", NULL},
    {"W4", bench_sync, "cold sync of 1,000,000 fields between two replicas",
     "held shown processes human sealed"},
    {"W5", bench_live, "from an edit to its being shown by another process",
     "shown commit sustained"},
    {"W6", bench_storm, "1,540 devices write one field at once, then meet", NULL},
    {"W7", bench_open, "a store of 1,000,000 fields, from nothing in memory to the first read",
     NULL},
    {"W8", bench_query, "pages of 100,000 documents, filtered and sorted by index", NULL},
    {"W9", bench_dashboards, "48 real dashboards, and 619 recorded edits (WEFT_TEST_DATA)", NULL},
    {"W10", bench_idle, "a daemon with 50 quiet peers", NULL},
    {"W11", bench_growth, "what a field costs from 10,000 to 10,000,000 of them", NULL},
    {"history", bench_history, "versions, pages, differences and conflicts of long histories",
     NULL},
    {"events", bench_events, "events on their way to 1, 100 and 10,000 subscriptions", NULL},
    {"limits", bench_limits,
     "the bare libraries: LMDB, rows, a merge, loopback, hashes, signatures", NULL},
};
enum { WORKLOADS = sizeof workloads / sizeof workloads[0] };

weft_err bench_progress(const bench *b, const char *what) {
  sigset_t pending;
  if (b->tty && what) {
    fprintf(stderr, "\r\033[K%s, run %u of %u: %s", b->title, b->run + 1, b->runs, what);
    fflush(stderr);
  }
  /* main blocks these two, so that the scratch files are removed whatever happens. */
  sigpending(&pending);
  return sigismember(&pending, SIGINT) || sigismember(&pending, SIGTERM) ? WEFT_EDONE : WEFT_OK;
}

weft_err bench_fail(bench *b, weft_err err, const char *what) {
  if (err != WEFT_OK && err != WEFT_EDONE && b->said[0] == 0) {
    snprintf(b->said, sizeof b->said, "%s", what);
  }
  return err;
}

bool bench_wants(const bench *b, const char *variant) {
  return b->only.len == 0 || (variant && weft_bytes_cmp(b->only, weft_bytes_str(variant)) == 0);
}

void bench_list(FILE *out) {
  for (size_t i = 0; i < WORKLOADS; i++) {
    fprintf(out, "%-8s%s\n", workloads[i].name, workloads[i].what);
    if (workloads[i].variants) fprintf(out, "%-8s  alone: %s\n", "", workloads[i].variants);
  }
}

static const workload *workload_of(const char *name, size_t len) {
  for (size_t i = 0; i < WORKLOADS; i++) {
    if (strlen(workloads[i].name) == len && memcmp(workloads[i].name, name, len) == 0) {
      return &workloads[i];
    }
  }
  return NULL;
}

/* Whether a variant is one of those that can be measured alone. */
static bool has_variant(const workload *w, weft_bytes variant) {
  for (const char *at = w->variants; at && *at;) {
    size_t len = strcspn(at, " ");
    if (weft_bytes_cmp(weft_bytes_of(at, len), variant) == 0) return true;
    at += len + (at[len] == ' ');
  }
  return false;
}

/* Takes the next name off the list; `only` is the variant behind it.  WEFT_ENOTFOUND. */
static weft_err take_name(bench *b, const char **list, const workload **out, weft_bytes *only) {
  const char *at = *list;
  size_t len = strcspn(at, ",");
  size_t name_len = strcspn(at, ",:");
  *only = (weft_bytes){0};
  *out = workload_of(at, name_len);
  if (*out && name_len < len) *only = weft_bytes_of(at + name_len + 1, len - name_len - 1);
  if (!*out || (name_len < len && !has_variant(*out, *only))) {
    const char *what = *out ? "has no such variant to be measured alone" : "no such workload";
    snprintf(b->said, sizeof b->said, "'%.*s': %s", (int)(len < 64 ? len : 64), at, what);
    return WEFT_ENOTFOUND;
  }
  *list = at + len + (at[len] == ',');
  return WEFT_OK;
}

weft_err bench_list_check(bench *b, const char *list) {
  unsigned times[WORKLOADS] = {0};
  while (*list) {
    const workload *w;
    weft_bytes only;
    WEFT_TRY(take_name(b, &list, &w, &only));
    /* Each time adds figures to the same series. */
    if (++times[w - workloads] * b->runs <= BENCH_RUNS_MAX) continue;
    snprintf(b->said, sizeof b->said, "%s: more than %d runs of it in all", w->name,
             BENCH_RUNS_MAX);
    return WEFT_ENOTFOUND;
  }
  return WEFT_OK;
}

static size_t values_of(const bench *b) {
  size_t count = 0;
  for (size_t i = 0; i < b->series_count; i++) count += b->series[i].value_count;
  return count;
}

static weft_err run_all(bench *b, const char *list) {
  while (*list) {
    const workload *w;
    size_t before = values_of(b);
    WEFT_TRY(take_name(b, &list, &w, &b->only));
    b->title = w->name;
    WEFT_TRY(w->run(b));
    if (values_of(b) == before && b->only.len > 0) {
      fprintf(stderr, "%s:%.*s is left out%s\n", w->name, (int)b->only.len,
              (const char *)b->only.at, b->quick ? " by --quick" : "");
    }
  }
  return WEFT_OK;
}

weft_err bench_run(bench *b, const char *list) {
  WEFT_TRY(bench_list_check(b, list));
  weft_err err = run_all(b, list);
  if (b->tty) fprintf(stderr, "\r\033[K");
  return err;
}

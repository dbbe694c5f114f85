/* The list of workloads, and running some of them. */
#include <signal.h>
#include <string.h>

#include "bench/bench.h"

typedef struct workload {
  const char *name;
  weft_err (*run)(bench *b);
  const char *what;
} workload;

static const workload workloads[] = {
    {"W1", bench_commit, "local commits: one a transaction, and in groups"},
    {"W2", bench_show, "100,000 changes of others: held, then shown"},
    {"W3", bench_catchup, "a device that was away fetches the last 1,000 of 220,000 changes"},
    {"W4", bench_sync, "cold sync of 1,000,000 fields between two replicas"},
    {"W5", bench_live, "from an edit to its being shown by another process"},
    {"W6", bench_storm, "1,540 devices write one field at once, then meet"},
    {"W7", bench_open, "a store of 1,000,000 fields, from nothing in memory to the first read"},
    {"W8", bench_query, "pages of 100,000 documents, filtered and sorted by index"},
    {"W9", bench_dashboards, "48 real dashboards, and 619 recorded edits (WEFT_TEST_DATA)"},
    {"W10", bench_idle, "a daemon with 50 quiet peers"},
    {"W11", bench_growth, "what a field costs from 10,000 to 10,000,000 of them"},
    {"history", bench_history, "versions, pages, differences and conflicts of long histories"},
    {"events", bench_events, "events on their way to 1, 100 and 10,000 subscriptions"},
    {"limits", bench_limits, "the bare libraries: LMDB, encrypted loopback, hashes, signatures"},
};
enum { WORKLOADS = sizeof workloads / sizeof workloads[0] };

weft_err bench_progress(const bench *b, const char *what) {
  sigset_t pending;
  if (b->tty) {
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

static weft_err run_some(bench *b, const char *list, bool really) {
  while (*list) {
    size_t len = strcspn(list, ",");
    size_t name_len = strcspn(list, ",:");
    const workload *w = workload_of(list, name_len);
    if (!w) {
      snprintf(b->said, sizeof b->said, "'%.*s': try weft-bench list", (int)(len < 64 ? len : 64),
               list);
      return WEFT_ENOTFOUND;
    }
    b->title = w->name;
    b->only = (weft_bytes){0};
    if (name_len < len) b->only = weft_bytes_of(list + name_len + 1, len - name_len - 1);
    if (really) WEFT_TRY(w->run(b));
    list += len + (list[len] == ',');
  }
  return WEFT_OK;
}

weft_err bench_run(bench *b, const char *list) {
  WEFT_TRY(run_some(b, list, false));
  weft_err err = run_some(b, list, true);
  if (b->tty) fprintf(stderr, "\r\033[K");
  return err;
}

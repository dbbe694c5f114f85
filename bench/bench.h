/* What the files of weft-bench share: the run in progress, its samples, and a folder to work in.
 *
 * A workload measures several times and hands every figure to bench_sample; what a probe of the
 * bare libraries reached in the same run goes to bench_limit beside it.  At the end every series
 * becomes one record: median, smallest and greatest value, the median of the limit, and the share
 * of the limit that was reached.  Errors are weft_err all the way up; bench_said keeps what they
 * were about. */
#ifndef WEFT_BENCH_H
#define WEFT_BENCH_H

#include <stdio.h>

#include "bench/w1.h"
#include "crdt/crypto.h"

enum { BENCH_SERIES_MAX = 256, BENCH_RUNS_MAX = 25, BENCH_PATH_LEN_MAX = 512 };

/* Greater is better of a rate; smaller is better of a cost. */
typedef enum bench_sense { BENCH_RATE, BENCH_COST } bench_sense;

/* What a figure is called in its record; static text. */
typedef struct bench_name {
  const char *workload;
  const char *variant;
  const char *metric;
  const char *unit;
  bench_sense sense;
} bench_name;

/* The figures of one name, one of each run. */
typedef struct bench_series {
  bench_name name;
  double values[BENCH_RUNS_MAX];
  double limits[BENCH_RUNS_MAX];
  size_t value_count;
  size_t limit_count;
} bench_series;

typedef struct bench {
  weft_alloc mem;
  const weft_crypto *crypto;
  bool quick;
  bool tty;          /* progress is shown */
  uint32_t size;     /* --size: templates; 0: the workload's own */
  unsigned runs;     /* how often each workload is measured */
  unsigned run;      /* of the workload in progress, from 0 */
  const char *title; /* of the workload in progress */
  weft_bytes only;   /* its one variant that is asked for; empty: all of them */
  char folder[BENCH_PATH_LEN_MAX];
  char said[256]; /* what the error was about; "" */
  bench_series series[BENCH_SERIES_MAX];
  size_t series_count;
} bench;

/* --- host.c: the machine --- */

/* Monotonic seconds. */
double bench_now(void);
/* Makes the folder for scratch files, in TMPDIR or else in /tmp: on a disk, since a commit that
 * costs nothing would measure nothing; and removes those of runs that were killed.  WEFT_EIO. */
weft_err bench_folder_make(bench *b) WEFT_MUST_USE;
/* Removes a folder with all that lies in it: up to 64 folders, nested as they may be. */
void bench_tree_remove(const char *folder);
/* Writes the path of `name` in the folder. */
void bench_path(const bench *b, const char *name, char out[BENCH_PATH_LEN_MAX]);
/* The same in memory where there is a place for BENCH_MEMORY_LEN bytes: for what is measured in
 * bytes, and would take minutes of synced commits.  Whoever makes a store there removes it; that of
 * a run that was killed is removed by the next. */
enum { BENCH_MEMORY_LEN = 256 << 20 };
void bench_memory_path(const bench *b, const char *name, char out[BENCH_PATH_LEN_MAX]);
/* Bytes of a file, 0 when there is none; removes a file and what LMDB puts beside it. */
uint64_t bench_file_len(const char *path);
void bench_file_remove(const char *path);
/* Drops what the system's cache holds of a file. */
void bench_file_forget(const char *path);
/* One line about processor, memory, kernel and file system. */
void bench_machine(const bench *b, char out[256]);
/* Anonymous memory of a process in bytes, from the kernel's account; 0 when it cannot be read. */
uint64_t bench_anonymous(long pid);
/* Processor time that a process has used, in seconds; 0 when it cannot be read. */
double bench_processor(long pid);

/* --- record.c: figures --- */

/* Adds one figure to its series, and the limit of the figure last added to that series.  All
 * workloads together have some 180 series. */
void bench_sample(bench *b, bench_name name, double value);
void bench_limit(bench *b, bench_name name, double limit);
/* Writes all records as JSON lines, and as a table for people. */
void bench_write_json(const bench *b, FILE *out);
void bench_write_table(const bench *b, FILE *out);
/* A figure as a cell of such a table, 12 characters. */
void bench_put_number(FILE *out, double v);

/* --- run.c: the workloads --- */

/* Shows what is being done, on a terminal; NULL: nothing new.  WEFT_EDONE: somebody has asked to
 * stop. */
weft_err bench_progress(const bench *b, const char *what) WEFT_MUST_USE;
/* Remembers what an error is about and passes it on; WEFT_OK leaves it. */
weft_err bench_fail(bench *b, weft_err err, const char *what) WEFT_MUST_USE;
/* Whether a variant of the workload in progress is to be measured. */
bool bench_wants(const bench *b, const char *variant);
/* Checks a list of workloads, separated by commas; behind a name, a colon and one variant leave out
 * others that take long.  WEFT_ENOTFOUND: no such workload or variant, or one of them too often. */
weft_err bench_list_check(bench *b, const char *list) WEFT_MUST_USE;
/* Checks a list and runs its workloads. */
weft_err bench_run(bench *b, const char *list) WEFT_MUST_USE;
void bench_list(FILE *out);

weft_err bench_commit(bench *b) WEFT_MUST_USE;     /* W1 */
weft_err bench_show(bench *b) WEFT_MUST_USE;       /* W2 */
weft_err bench_catchup(bench *b) WEFT_MUST_USE;    /* W3 */
weft_err bench_sync(bench *b) WEFT_MUST_USE;       /* W4 */
weft_err bench_wire(bench *b) WEFT_MUST_USE;       /* W4, bytes alone */
weft_err bench_live(bench *b) WEFT_MUST_USE;       /* W5 */
weft_err bench_storm(bench *b) WEFT_MUST_USE;      /* W6 */
weft_err bench_open(bench *b) WEFT_MUST_USE;       /* W7 */
weft_err bench_query(bench *b) WEFT_MUST_USE;      /* W8 */
weft_err bench_dashboards(bench *b) WEFT_MUST_USE; /* W9 */
weft_err bench_idle(bench *b) WEFT_MUST_USE;       /* W10 */
weft_err bench_growth(bench *b) WEFT_MUST_USE;     /* W11 */
weft_err bench_limits(bench *b) WEFT_MUST_USE;     /* the probes alone */
weft_err bench_history(bench *b) WEFT_MUST_USE;
weft_err bench_events(bench *b) WEFT_MUST_USE;

#endif

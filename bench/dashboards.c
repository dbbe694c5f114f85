/* W9: real dashboards, and how people really edited them.
 *
 * import: 48 documents of 160 to 8,925 values, eight in a synced transaction; how long the file is
 * then, by live value.  edits: 619 recorded edits, half of them of at most 11 fields and
 * the largest of 19,542, are written one after the other, each a change in a synced transaction of
 * its own: edits and fields a second; what the history adds to the file, which is its length less
 * that of a file that was given the last versions alone; and what a cold sync of it all sends.
 *
 * The data is not made up and does not come with weft: WEFT_TEST_DATA names the folder that holds
 * dashboards/dashboards.jsonl and dashboards/history.jsonl.gz; without it W9 is left out.  The
 * probe of the rates makes LMDB alone put the same bytes with the same commits, as in W1. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/edits.h"
#include "bench/fleet.h"
#include "bench/line.h"
#include "bench/recorder.h"
#include "crdt/json.h"

enum {
  IMPORT_GROUP = 4,
  EDITS_QUICK = 40,
  FILE_LEN_MAX = 64 << 20,
  READ_LEN = 64 << 10,
  SENDER = 0
};

typedef struct dashboards_run {
  bench *b;
  const char *data;
  edits *edits;
  size_t count; /* of the edits, how many */
  fleet fleet;
  fleet_replica r;     /* what is being measured */
  fleet_replica other; /* beside it */
  recorder rec;
  probe_lmdb *probe;
  weft_arena arena;
} dashboards_run;

/* --- files --- */

/* In the child: becomes the program that unpacks. */
static void become_gzip(const char *path, const int pipe_ends[2]) {
  dup2(pipe_ends[1], STDOUT_FILENO);
  close(pipe_ends[0]);
  close(pipe_ends[1]);
  execlp("gzip", "gzip", "-dcf", path, (char *)NULL);
  _exit(127);
}

static weft_err drain(int fd, weft_buf *out) {
  for (;;) {
    size_t before = out->len;
    uint8_t *room = weft__buf_room(out, READ_LEN);
    if (!room) return weft__buf_err(out);
    ssize_t n = read(fd, room, READ_LEN);
    out->len = before + (n > 0 ? (size_t)n : 0);
    if (n <= 0) return n == 0 ? WEFT_OK : WEFT_EIO;
  }
}

/* Reads a file of the data, unpacked where it is packed. */
static weft_err read_data(const dashboards_run *d, const char *name, weft_buf *out) {
  char path[BENCH_PATH_LEN_MAX];
  int ends[2];
  int status = 0;
  snprintf(path, sizeof path, "%.400s/dashboards/%.60s", d->data, name);
  if (access(path, R_OK) != 0 || pipe(ends) != 0) return bench_fail(d->b, WEFT_EIO, path);
  pid_t pid = fork();
  if (pid == 0) become_gzip(path, ends);
  close(ends[1]);
  weft_err err = pid > 0 ? drain(ends[0], out) : WEFT_EIO;
  close(ends[0]);
  if (pid > 0) waitpid(pid, &status, 0);
  if (err == WEFT_OK && !(WIFEXITED(status) && WEXITSTATUS(status) == 0)) err = WEFT_EIO;
  return bench_fail(d->b, err, path);
}

/* --- figures --- */

static void sample(dashboards_run *d, const char *variant, const char *metric, const char *unit,
                   bench_sense sense, double value) {
  bench_sample(d->b, (bench_name){"W9", variant, metric, unit, sense}, value);
}

/* Values of a document: scalars, and containers with nothing in them. */
static uint64_t live_values(const weft_value *document) {
  weft_walk w;
  uint64_t count = 0;
  weft__walk_init(&w, document);
  for (;;) {
    switch (weft__walk_next(&w)) {
    case WEFT_WALK_SCALAR: count++; break;
    case WEFT_WALK_OPEN:
      count += (w.value->kind == WEFT_OBJECT && w.value->as.object.count == 0) ||
               (w.value->kind == WEFT_ARRAY && w.value->as.array.count == 0);
      break;
    case WEFT_WALK_CLOSE: break;
    case WEFT_WALK_END:
    case WEFT_WALK_TOO_DEEP: return count;
    }
  }
}

/* --- import --- */

static weft_err import_one(dashboards_run *d, weft_replica *r, weft_bytes doc,
                           const weft_value *v) {
  weft_edit *e;
  weft_commit done;
  WEFT_TRY(weft_edit_begin(&e, r, NULL));
  weft_err err = weft_edit_import(e, doc, v, false);
  if (err == WEFT_OK) err = weft_edit_commit(e, &done);
  weft_edit_free(e);
  return bench_fail(d->b, err, weft_replica_error(r));
}

static weft_err import_line(dashboards_run *d, weft_bytes line, size_t number, uint64_t *fields) {
  weft_value v;
  char name[32];
  WEFT_TRY(bench_fail(d->b, weft_json_parse(&d->arena, line, &v, NULL), "dashboards.jsonl"));
  const weft_value *doc = weft_value_member(&v, weft_bytes_str("doc"));
  if (!doc) return bench_fail(d->b, WEFT_EMALFORMED, "dashboards.jsonl");
  snprintf(name, sizeof name, "dashboards/%zu", number);
  *fields += live_values(doc);
  return import_one(d, d->r.replica, weft_bytes_str(name), doc);
}

/* Imports the next documents in one transaction; `at` moves behind them. */
static weft_err import_group(dashboards_run *d, weft_bytes text, size_t *at, size_t *number,
                             uint64_t *fields) {
  weft_err err = weft_group_begin(d->r.replica);
  WEFT_TRY(bench_fail(d->b, err, "beginning a group"));
  for (size_t i = 0; i < IMPORT_GROUP && *at < text.len && err == WEFT_OK; i++) {
    weft_bytes rest = weft_bytes_of(text.at + *at, text.len - *at);
    const uint8_t *end = memchr(rest.at, '\n', rest.len);
    if (end) rest.len = (size_t)(end - rest.at);
    err = import_line(d, rest, (*number)++, fields);
    *at += rest.len + 1;
  }
  if (err == WEFT_OK) return bench_fail(d->b, weft_group_end(d->r.replica), "ending a group");
  weft_group_abort(d->r.replica);
  return err;
}

static weft_err import_lines(dashboards_run *d, weft_bytes text, uint64_t *fields) {
  size_t number = 0;
  for (size_t at = 0; at < text.len;) WEFT_TRY(import_group(d, text, &at, &number, fields));
  return WEFT_OK;
}

static weft_err measure_import(dashboards_run *d) {
  weft_buf text;
  uint64_t fields = 0;
  WEFT_TRY(bench_progress(d->b, "import"));
  weft__buf_init(&text, &d->b->mem, FILE_LEN_MAX);
  weft_err err = fleet_open(&d->fleet, SENDER, "w9-import", &d->r);
  if (err == WEFT_OK) err = read_data(d, "dashboards.jsonl", &text);
  double start = bench_now();
  if (err == WEFT_OK) err = import_lines(d, weft__buf_view(&text), &fields);
  double seconds = bench_now() - start;
  if (err == WEFT_OK) {
    double live = (double)fields;
    sample(d, "import", "rate", "fields/s", BENCH_RATE, live / seconds);
    sample(d, "import", "disk_bytes_per_field", "bytes", BENCH_COST,
           (double)bench_file_len(d->r.path) / live);
  }
  fleet_close(&d->r);
  weft__buf_free(&text);
  weft__arena_reset(&d->arena);
  return err;
}

/* --- edits --- */

/* What an edit takes away goes first.  A path that is gone already with what lay above it is none
 * to take away. */
static weft_err edit_steps(const edits_one *one, weft_bytes doc, weft_edit *e) {
  for (unsigned setting = 0; setting < 2; setting++) {
    for (size_t i = 0; i < one->count; i++) {
      const edits_step *s = &one->steps[i];
      if (s->set != (setting == 1)) continue;
      weft_err err = s->set ? weft_edit_set(e, doc, s->pointer, &s->value)
                            : weft_edit_unset(e, doc, s->pointer);
      if (err != WEFT_OK && (s->set || err != WEFT_ENOTFOUND)) return err;
    }
  }
  return WEFT_OK;
}

static weft_err edit_one(dashboards_run *d, const edits_one *one, uint64_t *ops) {
  weft_replica *r = d->r.replica;
  weft_edit *e;
  weft_commit done;
  d->fleet.clock_us = one->seconds * 1000000;
  WEFT_TRY(bench_fail(d->b, weft_edit_begin(&e, r, NULL), "beginning an edit"));
  weft_err err = edit_steps(one, d->edits->docs[one->doc], e);
  if (err == WEFT_OK) err = weft_edit_commit(e, &done);
  if (err == WEFT_OK) *ops += done.op_count;
  weft_edit_free(e);
  return bench_fail(d->b, err, "a recorded edit");
}

static weft_err measure_rates(dashboards_run *d) {
  double weft = 0, probe = 0;
  uint64_t ops = 0;
  recorder_attach(&d->rec, d->r.store, &d->b->mem);
  for (size_t i = 0; i < d->count; i++) {
    WEFT_TRY(bench_progress(d->b, "edits"));
    double start = bench_now();
    WEFT_TRY(edit_one(d, &d->edits->at[i], &ops));
    weft += bench_now() - start;
    WEFT_TRY(bench_fail(d->b, d->rec.err, "recording"));
    WEFT_TRY(probe_lmdb_replay(d->probe, d->rec.puts, &probe));
    recorder_clear(&d->rec);
  }
  recorder_detach(&d->rec);
  const bench_name names[] = {{"W9", "edits", "rate", "edits/s", BENCH_RATE},
                              {"W9", "edits", "rate_fields", "fields/s", BENCH_RATE}};
  const double counts[] = {(double)d->count, (double)ops};
  for (size_t i = 0; i < 2; i++) {
    bench_sample(d->b, names[i], counts[i] / weft);
    bench_limit(d->b, names[i], counts[i] / probe);
  }
  return WEFT_OK;
}

/* Gives the last versions alone to `other`; counts their values. */
static weft_err copy_last(dashboards_run *d, uint64_t *fields) {
  for (size_t i = 0; i < d->edits->doc_count; i++) {
    weft_value v;
    weft__arena_reset(&d->arena);
    weft_bytes doc = d->edits->docs[i];
    weft_err err = weft_replica_get(d->r.replica, &d->arena, doc, weft_bytes_of("", 0), &v);
    if (err == WEFT_ENOTFOUND) continue;
    WEFT_TRY(bench_fail(d->b, err, "reading a dashboard"));
    *fields += live_values(&v);
    WEFT_TRY(import_one(d, d->other.replica, doc, &v));
  }
  return WEFT_OK;
}

static weft_err measure_history(dashboards_run *d, uint64_t *fields) {
  double len = (double)bench_file_len(d->r.path);
  WEFT_TRY(bench_progress(d->b, "the last versions alone"));
  WEFT_TRY(fleet_open(&d->fleet, SENDER, "w9-last", &d->other));
  WEFT_TRY(copy_last(d, fields));
  double last = (double)bench_file_len(d->other.path);
  fleet_close(&d->other);
  sample(d, "edits", "disk_bytes_per_field", "bytes", BENCH_COST, len / (double)*fields);
  sample(d, "edits", "history_bytes_per_edit", "bytes", BENCH_COST,
         (len - last) / (double)d->count);
  return WEFT_OK;
}

static weft_err measure_wire(dashboards_run *d, uint64_t fields) {
  line_report report = {0};
  WEFT_TRY(bench_progress(d->b, "cold sync"));
  WEFT_TRY(fleet_open(&d->fleet, FLEET_RECEIVER, "w9-to", &d->other));
  WEFT_TRY(line_run(&d->fleet, d->r.replica, SENDER, d->other.replica, FLEET_RECEIVER, &report));
  double bytes = (double)report.bytes;
  sample(d, "edits", "wire_bytes_per_edit", "bytes", BENCH_COST, bytes / (double)d->count);
  sample(d, "edits", "wire_bytes_per_field", "bytes", BENCH_COST, bytes / (double)fields);
  fleet_close(&d->other);
  return WEFT_OK;
}

static weft_err measure(dashboards_run *d) {
  uint64_t fields = 0;
  WEFT_TRY(fleet_make(&d->fleet, d->b));
  WEFT_TRY(measure_import(d));
  WEFT_TRY(fleet_open(&d->fleet, SENDER, "w9", &d->r));
  WEFT_TRY(probe_lmdb_open(&d->probe, d->b, "probe.mdb", PROBE_TABLES_MAX));
  WEFT_TRY(measure_rates(d));
  WEFT_TRY(measure_history(d, &fields));
  return measure_wire(d, fields);
}

static weft_err read_edits(dashboards_run *d) {
  weft_buf text;
  weft__buf_init(&text, &d->b->mem, FILE_LEN_MAX);
  weft_err err = read_data(d, "history.jsonl.gz", &text);
  if (err == WEFT_OK) {
    err = bench_fail(d->b, edits_read(d->edits, &d->b->mem, weft__buf_view(&text)),
                     "history.jsonl.gz");
  }
  weft__buf_free(&text);
  bool fewer = d->b->quick && d->edits->count > EDITS_QUICK;
  d->count = fewer ? EDITS_QUICK : d->edits->count;
  return err;
}

weft_err bench_dashboards(bench *b) {
  dashboards_run d = {.b = b, .data = getenv("WEFT_TEST_DATA")};
  if (!d.data || !d.data[0]) {
    fprintf(stderr, "W9 is left out: WEFT_TEST_DATA names no folder with dashboards\n");
    return WEFT_OK;
  }
  d.edits = calloc(1, sizeof *d.edits);
  if (!d.edits) return WEFT_ENOMEM;
  weft__arena_init(&d.edits->arena, &b->mem);
  weft__arena_init(&d.arena, &b->mem);
  b->run = 0;
  weft_err err = read_edits(&d);
  for (; b->run < b->runs && err == WEFT_OK; b->run++) {
    err = measure(&d);
    recorder_detach(&d.rec);
    probe_lmdb_close(d.probe);
    d.probe = NULL;
    fleet_close(&d.other);
    fleet_close(&d.r);
    weft__arena_reset(&d.arena);
  }
  weft__arena_free(&d.arena);
  edits_free(d.edits);
  free(d.edits);
  return err;
}

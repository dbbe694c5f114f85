/* W4: a replica with a million fields, and an empty one that gets them all.
 *
 * In one process and without a network: chunks are read from one replica and held by the other, a
 * few megabytes in a synced transaction, then shown.  Held counts reading and holding; shown counts
 * all of it, until the last field is visible.
 *
 * The probes are pipelines for rows (probe_rows.c) behind an encrypted loopback connection that
 * carries them: into a log alone for held, into a log and then a sorted state for shown.  Sender
 * and receiver have a core each, so a pipeline takes as long as the slower of the connection alone
 * and of what the receiver does.  The probe of the bytes on the wire is one zstd frame of nothing
 * but the values.  The bytes of the W1 data with its history: bench/wire.c.
 *
 * Between processes: the same templates through the weft program, from one daemon to one `weft
 * sync`, with the anonymous memory of both.  It is left out where there is no such program. */
#include "bench/fleet.h"
#include "bench/probe.h"
#include "bench/processes.h"
#include "bench/transfer.h"

enum {
  TEMPLATES = 83334,
  TEMPLATES_QUICK = 10000,
  IMPORT_GROUP = 1000,
  HOLD_CHUNKS = 32,
  HOLD_ROWS = 100000, /* about as many fields */
  SHOW_BATCH = 131072
};

typedef struct sync_run {
  bench *b;
  uint32_t templates;
  fleet fleet;
  fleet_replica from;
  fleet_replica to;
  weft_arena arena;
  weft_bytes *chunks; /* that wait to be held; in `arena` */
  size_t count;
  size_t cap;
  uint64_t held;
} sync_run;

static bench_name rate_of(const char *variant) {
  return (bench_name){"W4", variant, "rate", "fields/s", BENCH_RATE};
}

/* --- weft --- */

static weft_err hold_rest(sync_run *s) {
  if (s->count == 0) return WEFT_OK;
  WEFT_TRY(fleet_hold(&s->fleet, s->to.replica, s->chunks, s->count, &s->held));
  weft__arena_reset(&s->arena);
  s->chunks = NULL;
  s->count = s->cap = 0;
  return bench_progress(s->b, "hold");
}

/* Holds whenever enough chunks have come. */
static weft_err hold_some(void *ctx, weft_bytes chunk) {
  sync_run *s = ctx;
  void *at = s->chunks;
  WEFT_TRY(weft__arena_grow(&s->arena, &at, s->count, &s->cap, s->count + 1, sizeof *s->chunks));
  s->chunks = at;
  WEFT_TRY(weft__arena_copy(&s->arena, chunk, &s->chunks[s->count++]));
  return s->count < HOLD_CHUNKS ? WEFT_OK : hold_rest(s);
}

static weft_err measure_weft(sync_run *s, double *held_seconds, double *shown_seconds) {
  uint64_t shown = 0;
  double start = bench_now();
  weft_err err = transfer_all(s->b, s->from.replica, s->to.replica, hold_some, s);
  if (err == WEFT_OK) err = hold_rest(s);
  *held_seconds = bench_now() - start;
  if (err == WEFT_OK) err = fleet_show(&s->fleet, s->to.replica, 0, &shown);
  *shown_seconds = bench_now() - start;
  WEFT_TRY(bench_fail(s->b, err, "sending everything"));
  weft_digest a = weft_replica_digest(s->from.replica);
  weft_digest b = weft_replica_digest(s->to.replica);
  bool same = a.high == b.high && a.low == b.low && fleet_shown_all(s->to.replica);
  return bench_fail(s->b, same ? WEFT_OK : WEFT_EMISUSE, "the replicas differ");
}

/* --- probes --- */

/* Seconds until the rows have come over a connection and through a job. */
static weft_err pipeline(sync_run *s, const probe_rows_job *job, double open_seconds,
                         double *seconds) {
  double connection = 0;
  WEFT_TRY(probe_loopback(s->b, job->rows.len, &connection));
  WEFT_TRY(probe_rows_run(s->b, job, seconds));
  *seconds += open_seconds;
  if (*seconds < connection) *seconds = connection;
  return WEFT_OK;
}

static weft_err measure_probes(sync_run *s, double *held, double *shown, uint64_t *wire) {
  probe_crypto crypto;
  probe_items items = {0};
  probe_rows_job job = {.kind = PROBE_ROWS_LOG, .group = HOLD_ROWS, .state_group = SHOW_BATCH};
  probe_crypto_measure(&crypto);
  WEFT_TRY(probe_items_import(&s->arena, s->templates, &items));
  WEFT_TRY(probe_zstd_len(s->b, items, wire));
  WEFT_TRY(probe_rows_make(&s->arena, items, &job.rows));
  double open_seconds = (double)job.rows.len * crypto.open_byte;
  WEFT_TRY(pipeline(s, &job, open_seconds, held));
  job.kind = PROBE_ROWS_SORTED;
  return pipeline(s, &job, open_seconds, shown);
}

/* --- processes --- */

static void sample_cost(bench *b, const char *variant, const char *metric, const char *unit,
                        double value, double limit) {
  bench_name name = {"W4", variant, metric, unit, BENCH_COST};
  bench_sample(b, name, value);
  if (limit > 0) bench_limit(b, name, limit);
}

static weft_err measure_processes(sync_run *s, double limit_rate, double limit_wire) {
  char program[BENCH_PATH_LEN_MAX];
  processes p;
  processes_sync_result got;
  const double mega = 1e6;
  if (!bench_wants(s->b, "processes") || !processes_program(program)) return WEFT_OK;
  weft_err err = processes_open(&p, s->b, s->templates);
  if (err == WEFT_OK) err = processes_sync(&p, &got);
  processes_close(&p);
  WEFT_TRY(err);
  double fields = (double)p.fields;
  bench_sample(s->b, rate_of("processes"), fields / got.seconds);
  bench_limit(s->b, rate_of("processes"), limit_rate);
  sample_cost(s->b, "processes", "import_bytes_per_field", "bytes", (double)got.wire_len / fields,
              limit_wire);
  sample_cost(s->b, "processes", "rss_anon_sender", "MB", (double)got.rss_sender / mega, 0);
  sample_cost(s->b, "processes", "rss_anon_receiver", "MB", (double)got.rss_receiver / mega, 0);
  return WEFT_OK;
}

/* --- a run --- */

static weft_err measure(sync_run *s) {
  double held = 0, shown = 0, probe_held = 0, probe_shown = 0;
  uint64_t probe_wire = 0;
  double fields = (double)s->templates * W1_FIELDS;
  WEFT_TRY(fleet_open(&s->fleet, FLEET_RECEIVER, "w4-to", &s->to));
  WEFT_TRY(measure_weft(s, &held, &shown));
  WEFT_TRY(measure_probes(s, &probe_held, &probe_shown, &probe_wire));
  bench_sample(s->b, rate_of("held"), fields / held);
  bench_limit(s->b, rate_of("held"), fields / probe_held);
  bench_sample(s->b, rate_of("shown"), fields / shown);
  bench_limit(s->b, rate_of("shown"), fields / probe_shown);
  return measure_processes(s, fields / probe_shown, (double)probe_wire / fields);
}

static weft_err measure_all(sync_run *s) {
  weft_err err = WEFT_OK;
  WEFT_TRY(fleet_make(&s->fleet, s->b));
  WEFT_TRY(fleet_open(&s->fleet, 0, "w4-from", &s->from));
  WEFT_TRY(fleet_import(&s->fleet, s->from.replica, s->templates, IMPORT_GROUP));
  for (s->b->run = 0; s->b->run < s->b->runs && err == WEFT_OK; s->b->run++) {
    err = measure(s);
    fleet_close(&s->to);
    weft__arena_reset(&s->arena);
    s->chunks = NULL;
    s->count = s->cap = 0;
  }
  return err;
}

weft_err bench_sync(bench *b) {
  sync_run s = {.b = b, .templates = b->quick ? TEMPLATES_QUICK : TEMPLATES};
  if (b->size) s.templates = b->size;
  b->run = 0;
  weft__arena_init(&s.arena, &b->mem);
  weft_err err = measure_all(&s);
  if (err == WEFT_OK) err = bench_wire(b);
  weft__arena_free(&s.arena);
  fleet_close(&s.to);
  fleet_close(&s.from);
  return err;
}

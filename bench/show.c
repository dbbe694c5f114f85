/* W2: 100,000 changes of eight devices arrive at a ninth, each of one field.
 *
 * Held: chunks are checked and put into the logs, about 10,000 changes in a synced transaction.
 * Shown: what is held becomes visible.  The changes come in runs as a store sends them to whoever
 * was away for all of them: as many of one log in a chunk as fit.  Further variants: runs of a
 * hundred, each signed, as the devices took their turns (held-turns); and, which --quick leaves
 * out, every change in a signed chunk of its own (held-single), a replica of a million fields
 * (shown-1m), and showing a hundred changes at a time in the order of their arrival (shown-naive).
 *
 * The probes take the same changes as rows (probe_rows.c).  Held stands beside decoding, chaining
 * and appending them with the same transactions; held-single beside nothing but verifying one
 * signature each; shown beside doing both the log and, sorted by key, the state; shown-naive beside
 * doing both row by row.  shown-merge is shown once more, beside the merge of the same rows into a
 * hash table in memory (probe_merge.c). */
#include "bench/feed.h"
#include "bench/probe.h"

enum {
  TEMPLATES = 10000,
  TEMPLATES_QUICK = 2000,
  TEMPLATES_1M = 83334,
  UPDATES = 100000,
  UPDATES_QUICK = 20000,
  UPDATES_SINGLE = 5000, /* one signature each */
  HOLD_CHUNKS = 100,
  HOLD_CHUNKS_PACKED = 4, /* of some 2,500 changes */
  HOLD_ROWS = 10000,      /* as many changes as such a transaction holds */
  HOLD_CHUNKS_SINGLE = 1000,
  SHOW_BATCH = 131072, /* changes of a transaction, as the replica does it */
  NAIVE_BATCH = 100
};

typedef struct show_kind {
  const char *held; /* variants; NULL: not told */
  const char *shown;
  feed_options feed;
  size_t hold_chunks; /* of a call */
  uint64_t batch;     /* changes shown at a time; 0: as the replica likes */
} show_kind;

typedef struct show_run {
  bench *b;
  const show_kind *kind;
  fleet fleet;
  feed feed;
  fleet_replica r;
  weft_arena arena; /* of the probes */
  probe_crypto crypto;
} show_run;

static bench_name rate_of(const char *variant) {
  return (bench_name){"W2", variant, "rate", "changes/s", BENCH_RATE};
}

/* --- weft --- */

static weft_err hold_all(show_run *s, const weft_bytes *chunks, size_t count, uint64_t want) {
  uint64_t held = 0;
  size_t most = s->kind->hold_chunks;
  for (size_t i = 0; i < count; i += most) {
    size_t left = count - i;
    WEFT_TRY(fleet_hold(&s->fleet, s->r.replica, chunks + i, left < most ? left : most, &held));
    WEFT_TRY(bench_progress(s->b, "hold"));
  }
  return bench_fail(s->b, held == want ? WEFT_OK : WEFT_EMISUSE, "not every change was held");
}

static weft_err measure_weft(show_run *s, double *held_seconds, double *shown_seconds) {
  uint64_t shown = 0;
  weft_replica *r = s->r.replica;
  WEFT_TRY(hold_all(s, s->feed.import, s->feed.import_count, s->feed.import_changes));
  WEFT_TRY(fleet_show(&s->fleet, r, 0, &shown));
  double start = bench_now();
  WEFT_TRY(hold_all(s, s->feed.updates, s->feed.update_count, s->feed.update_changes));
  double middle = bench_now();
  WEFT_TRY(fleet_show(&s->fleet, r, s->kind->batch, &shown));
  *held_seconds = middle - start;
  *shown_seconds = bench_now() - middle;
  bool all = fleet_shown_all(r);
  return bench_fail(s->b, all ? WEFT_OK : WEFT_EMISUSE, "not every change was shown");
}

/* --- probes --- */

/* Does the job of a kind, or, in memory alone, the merge. */
static weft_err probe(show_run *s, probe_rows_kind kind, bool merge, double *seconds) {
  w1_updates updates;
  probe_items items = {0};
  const feed_options *o = &s->kind->feed;
  size_t naive = (size_t)s->kind->batch;
  probe_rows_job job = {.kind = kind, .group = HOLD_ROWS, .state_group = SHOW_BATCH};
  if (kind == PROBE_ROWS_NAIVE) job.group = naive;
  WEFT_TRY(w1_updates_init(&updates, &s->b->mem, o->templates));
  weft_err err = probe_items_import(&s->arena, o->templates, &job.before);
  if (err == WEFT_OK) err = probe_items_updates(&s->arena, &updates, o->updates, &items);
  if (err == WEFT_OK) err = probe_rows_make(&s->arena, items, &job.rows);
  if (err == WEFT_OK) {
    err = merge ? probe_rows_merge(s->b, &job, seconds) : probe_rows_run(s->b, &job, seconds);
  }
  w1_updates_free(&updates);
  weft__arena_reset(&s->arena);
  return err;
}

static weft_err probe_held(show_run *s, double *seconds) {
  if (s->kind->feed.run > 1) return probe(s, PROBE_ROWS_LOG, false, seconds);
  *seconds = (double)s->feed.update_changes * s->crypto.verify;
  return WEFT_OK;
}

static weft_err probe_shown(show_run *s, double *seconds) {
  return probe(s, s->kind->batch ? PROBE_ROWS_NAIVE : PROBE_ROWS_SORTED, false, seconds);
}

/* --- a run --- */

/* The same time beside a merge in memory. */
static weft_err sample_merge(show_run *s, double rate) {
  double limit = 0;
  WEFT_TRY(probe(s, PROBE_ROWS_LOG, true, &limit));
  bench_sample(s->b, rate_of("shown-merge"), rate);
  bench_limit(s->b, rate_of("shown-merge"), (double)s->feed.update_changes / limit);
  return WEFT_OK;
}

static weft_err measure(show_run *s) {
  double held = 0, shown = 0, held_limit = 0, shown_limit = 0;
  const show_kind *kind = s->kind;
  WEFT_TRY(fleet_make(&s->fleet, s->b));
  WEFT_TRY(bench_progress(s->b, "making changes"));
  WEFT_TRY(feed_make(&s->feed, &s->fleet, &kind->feed));
  WEFT_TRY(fleet_open(&s->fleet, FLEET_RECEIVER, "w2", &s->r));
  WEFT_TRY(measure_weft(s, &held, &shown));
  bench_name disk = {"W2", kind->shown, "disk_bytes_per_field", "bytes", BENCH_COST};
  double len = (double)bench_file_len(s->r.path);
  double changes = (double)s->feed.update_changes;
  if (kind->held) {
    WEFT_TRY(probe_held(s, &held_limit));
    bench_sample(s->b, rate_of(kind->held), changes / held);
    bench_limit(s->b, rate_of(kind->held), changes / held_limit);
  }
  if (kind->shown) {
    WEFT_TRY(probe_shown(s, &shown_limit));
    bench_sample(s->b, rate_of(kind->shown), changes / shown);
    bench_limit(s->b, rate_of(kind->shown), changes / shown_limit);
    bench_sample(s->b, disk, len / ((double)kind->feed.templates * W1_FIELDS));
    if (kind->held) WEFT_TRY(sample_merge(s, changes / shown));
  }
  return WEFT_OK;
}

static weft_err measure_kind(bench *b, const show_kind *kind) {
  show_run s = {.b = b, .kind = kind};
  weft__arena_init(&s.arena, &b->mem);
  weft__arena_init(&s.feed.arena, &b->mem);
  probe_crypto_measure(&s.crypto);
  weft_err err = measure(&s);
  weft__arena_free(&s.arena);
  feed_free(&s.feed);
  fleet_close(&s.r);
  return err;
}

weft_err bench_show(bench *b) {
  uint32_t templates = b->quick ? TEMPLATES_QUICK : TEMPLATES;
  uint32_t updates = b->quick ? UPDATES_QUICK : UPDATES;
  if (b->size) templates = b->size;
  const show_kind kinds[] = {
      {"held",
       "shown",
       {templates, updates, .run = W1_BLOCK, .packed = true},
       HOLD_CHUNKS_PACKED,
       0},
      {"held-turns", NULL, {templates, updates, .run = W1_BLOCK}, HOLD_CHUNKS, 0},
      {"held-single", NULL, {templates, UPDATES_SINGLE, .run = 1}, HOLD_CHUNKS_SINGLE, 0},
      {NULL, "shown-1m", {TEMPLATES_1M, updates, .run = W1_BLOCK}, HOLD_CHUNKS, 0},
      {NULL, "shown-naive", {templates, updates, .run = W1_BLOCK}, HOLD_CHUNKS, NAIVE_BATCH},
  };
  size_t count = b->quick ? 2 : sizeof kinds / sizeof kinds[0];
  weft_err err = WEFT_OK;
  for (b->run = 0; b->run < b->runs && err == WEFT_OK; b->run++) {
    for (size_t i = 0; i < count && err == WEFT_OK; i++) {
      bool wanted = bench_wants(b, kinds[i].held) || bench_wants(b, kinds[i].shown);
      if (wanted) err = measure_kind(b, &kinds[i]);
    }
  }
  return err;
}

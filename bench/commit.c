/* W1: one device writes.
 *
 * Templates are imported, a thousand in a transaction; then updates of single fields follow, each a
 * change of its own, in transactions of 1, 100, 1,000 and 10,000 changes.  Every transaction is
 * synced.  The probe puts the same values under short keys into one LMDB table, with the same
 * transactions. */
#include "bench/fleet.h"
#include "bench/probe.h"

enum {
  TEMPLATES = 10000,
  TEMPLATES_QUICK = 2000,
  IMPORT_GROUP = 1000,
  GROUPS = 4,
  FIRST_GROUP = 0, /* after this one the file is measured */
  SLICES = 20,
  SECONDS_MAX = 60, /* no group kind goes on for longer */
  SECONDS_QUICK = 2
};

typedef struct group_kind {
  const char *variant;
  uint32_t group;
  uint32_t updates;
  uint32_t updates_quick;
} group_kind;

/* The one that tells the length of the file comes first: as many updates as W1 has. */
static const group_kind kinds[GROUPS] = {
    {"group", 1000, 100000, 20000},
    {"group-100", 100, 20000, 4000},
    {"group-10000", 10000, 100000, 20000},
    {"single", 1, 3000, 500},
};

typedef struct commit_run {
  bench *b;
  uint32_t templates;
  fleet fleet;
  fleet_replica r;
  probe_lmdb *probe;
  w1_updates updates; /* of the replica */
  w1_updates same;    /* of the probe */
} commit_run;

static bench_name rate_of(const char *variant, const char *unit) {
  return (bench_name){"W1", variant, "rate", unit, BENCH_RATE};
}

static void sample_disk(commit_run *c, const char *variant) {
  bench_name name = {"W1", variant, "disk_bytes_per_field", "bytes", BENCH_COST};
  double fields = (double)c->templates * W1_FIELDS;
  bench_sample(c->b, name, (double)bench_file_len(c->r.path) / fields);
  bench_limit(c->b, name, (double)probe_lmdb_len(c->probe) / fields);
}

static weft_err measure_import(commit_run *c) {
  weft_arena arena;
  probe_items items = {0};
  bench_name name = rate_of("import", "fields/s");
  double fields = (double)c->templates * W1_FIELDS;
  double seconds = 0;
  double start = bench_now();
  WEFT_TRY(fleet_import(&c->fleet, c->r.replica, c->templates, IMPORT_GROUP));
  bench_sample(c->b, name, fields / (bench_now() - start));
  weft__arena_init(&arena, &c->b->mem);
  weft_err err = probe_items_import(&arena, c->templates, &items);
  if (err == WEFT_OK) {
    err = probe_lmdb_put(c->probe, items, (size_t)IMPORT_GROUP * W1_FIELDS, &seconds);
  }
  weft__arena_free(&arena);
  WEFT_TRY(err);
  bench_limit(c->b, name, fields / seconds);
  sample_disk(c, "import");
  return WEFT_OK;
}

static weft_err write_group(commit_run *c, uint32_t count) {
  weft_replica *r = c->r.replica;
  if (count > 1) WEFT_TRY(bench_fail(c->b, weft_group_begin(r), "beginning a group"));
  for (uint32_t i = 0; i < count; i++) {
    c->fleet.clock_us += w1_step_us(c->updates.next);
    weft_err err = fleet_update(&c->fleet, r, w1_updates_next(&c->updates));
    if (err != WEFT_OK && count > 1) weft_group_abort(r);
    WEFT_TRY(err);
  }
  return count > 1 ? bench_fail(c->b, weft_group_end(r), "ending a group") : WEFT_OK;
}

/* Times so far of one kind of group. */
typedef struct group_times {
  uint32_t updates;
  double weft;
  double probe;
} group_times;

/* Some groups of weft's, then as many of the probe's: whatever else the machine does meanwhile
 * slows both. */
static weft_err measure_slice(commit_run *c, const group_kind *kind, uint32_t groups,
                              group_times *times) {
  weft_arena arena;
  probe_items items = {0};
  uint32_t count = groups * kind->group;
  double start = bench_now();
  for (uint32_t i = 0; i < groups; i++) WEFT_TRY(write_group(c, kind->group));
  times->weft += bench_now() - start;
  times->updates += count;
  weft__arena_init(&arena, &c->b->mem);
  weft_err err = probe_items_updates(&arena, &c->same, count, &items);
  if (err == WEFT_OK) err = probe_lmdb_put(c->probe, items, kind->group, &times->probe);
  weft__arena_free(&arena);
  return err;
}

static weft_err measure_group(commit_run *c, const group_kind *kind) {
  group_times times = {0};
  uint32_t all = (c->b->quick ? kind->updates_quick : kind->updates) / kind->group;
  uint32_t slice = (all + SLICES - 1) / SLICES;
  double most = c->b->quick ? SECONDS_QUICK : SECONDS_MAX;
  for (uint32_t done = 0; done < all && times.weft < most; done += slice) {
    WEFT_TRY(bench_progress(c->b, kind->variant));
    WEFT_TRY(measure_slice(c, kind, all - done < slice ? all - done : slice, &times));
  }
  bench_sample(c->b, rate_of(kind->variant, "changes/s"), times.updates / times.weft);
  bench_limit(c->b, rate_of(kind->variant, "changes/s"), times.updates / times.probe);
  return WEFT_OK;
}

static weft_err measure(commit_run *c) {
  WEFT_TRY(fleet_make(&c->fleet, c->b));
  WEFT_TRY(fleet_open(&c->fleet, 0, "w1", &c->r));
  WEFT_TRY(probe_lmdb_open(&c->probe, c->b, "probe.mdb", 1));
  WEFT_TRY(w1_updates_init(&c->updates, &c->b->mem, c->templates));
  WEFT_TRY(w1_updates_init(&c->same, &c->b->mem, c->templates));
  WEFT_TRY(measure_import(c));
  c->fleet.clock_us = w1_updates_us(c->templates);
  for (unsigned i = 0; i < GROUPS; i++) {
    WEFT_TRY(measure_group(c, &kinds[i]));
    if (i == FIRST_GROUP) sample_disk(c, kinds[i].variant);
  }
  return WEFT_OK;
}

weft_err bench_commit(bench *b) {
  weft_err err = WEFT_OK;
  uint32_t templates = b->quick ? TEMPLATES_QUICK : TEMPLATES;
  if (b->size) templates = b->size;
  for (b->run = 0; b->run < b->runs && err == WEFT_OK; b->run++) {
    commit_run c = {.b = b, .templates = templates, .updates = {.mem = b->mem}};
    c.same.mem = b->mem;
    err = measure(&c);
    w1_updates_free(&c.updates);
    w1_updates_free(&c.same);
    probe_lmdb_close(c.probe);
    fleet_close(&c.r);
  }
  return err;
}

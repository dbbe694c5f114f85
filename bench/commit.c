/* W1: one device writes.
 *
 * Templates are imported, a thousand in a transaction; then updates of single fields follow, each a
 * change of its own, in transactions of 1, 100, 1,000 and 10,000 changes.  Every transaction is
 * synced.
 *
 * The probe makes LMDB alone put the very same bytes with the same commits: another replica makes
 * the same changes, what it puts is recorded, and put again into as many tables; the single updates
 * into one table, and (single-three) into three.  Neither has its data made while time is taken.
 * The probe of the disk is the length of a file that holds nothing but the values, under short
 * keys. */
#include "bench/fleet.h"
#include "bench/recorder.h"

enum {
  TEMPLATES = 10000,
  TEMPLATES_QUICK = 2000,
  IMPORT_GROUP = 1000,
  GROUPS = 4,
  FIRST_GROUP = 0, /* after this one the file is measured */
  SLICES = 20,
  SECONDS_MAX = 60, /* no group kind goes on for longer */
  SECONDS_QUICK = 3 /* with those of the probes */
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

typedef enum probe_kind { PROBE_ONE, PROBE_THREE, PROBE_SAME, PROBES } probe_kind;

static const unsigned probe_tables[PROBES] = {1, PROBE_KINDS, PROBE_TABLES_MAX};

typedef struct commit_run {
  bench *b;
  uint32_t templates;
  fleet fleet;
  fleet_replica r;
  fleet_replica twin; /* does the same, for the recorder */
  recorder rec;
  probe_lmdb *probes[PROBES];
  w1_updates updates;
} commit_run;

static bench_name rate_of(const char *variant, const char *unit) {
  return (bench_name){"W1", variant, "rate", unit, BENCH_RATE};
}

/* --- disk --- */

/* The values alone, `updates` of them written after the import. */
static weft_err plain_len(commit_run *c, uint32_t updates, uint64_t *len) {
  weft_arena arena;
  probe_items items = {0};
  probe_lmdb *plain = NULL;
  w1_updates again = {.mem = c->b->mem};
  double aside = 0;
  weft__arena_init(&arena, &c->b->mem);
  weft_err err = probe_lmdb_open(&plain, c->b, "plain.mdb", 1);
  if (err == WEFT_OK) err = probe_items_import(&arena, c->templates, &items);
  if (err == WEFT_OK) err = probe_lmdb_put(plain, items, (size_t)IMPORT_GROUP * W1_FIELDS, &aside);
  if (err == WEFT_OK) err = w1_updates_init(&again, &c->b->mem, c->templates);
  if (err == WEFT_OK) err = probe_items_updates(&arena, &again, updates, &items);
  if (err == WEFT_OK) err = probe_lmdb_put(plain, items, kinds[FIRST_GROUP].group, &aside);
  if (err == WEFT_OK) *len = probe_lmdb_len(plain);
  w1_updates_free(&again);
  probe_lmdb_close(plain);
  weft__arena_free(&arena);
  return err;
}

static weft_err sample_disk(commit_run *c, const char *path, const char *variant,
                            uint32_t updates) {
  uint64_t plain = 0;
  bench_name name = {"W1", variant, "disk_bytes_per_field", "bytes", BENCH_COST};
  double fields = (double)c->templates * W1_FIELDS;
  WEFT_TRY(plain_len(c, updates, &plain));
  bench_sample(c->b, name, (double)bench_file_len(path) / fields);
  bench_limit(c->b, name, (double)plain / fields);
  return WEFT_OK;
}

/* --- rates --- */

/* Lets every probe put what was recorded; adds the times to `seconds`. */
static weft_err replay(commit_run *c, double seconds[PROBES]) {
  WEFT_TRY(bench_fail(c->b, c->rec.err, "recording"));
  for (unsigned i = 0; i < PROBES; i++) {
    WEFT_TRY(probe_lmdb_replay(c->probes[i], c->rec.puts, &seconds[i]));
  }
  recorder_clear(&c->rec);
  return WEFT_OK;
}

static weft_err measure_import(commit_run *c) {
  bench_name name = rate_of("import", "fields/s");
  double fields = (double)c->templates * W1_FIELDS;
  double seconds[PROBES] = {0};
  double start = bench_now();
  WEFT_TRY(fleet_import(&c->fleet, c->r.replica, c->templates, IMPORT_GROUP));
  bench_sample(c->b, name, fields / (bench_now() - start));
  WEFT_TRY(fleet_import(&c->fleet, c->twin.replica, c->templates, IMPORT_GROUP));
  WEFT_TRY(replay(c, seconds));
  bench_limit(c->b, name, fields / seconds[PROBE_SAME]);
  return sample_disk(c, c->r.path, "import", 0);
}

static weft_err write_group(commit_run *c, weft_replica *r, const fleet_change *changes,
                            uint32_t count) {
  if (count > 1) WEFT_TRY(bench_fail(c->b, weft_group_begin(r), "beginning a group"));
  for (uint32_t i = 0; i < count; i++) {
    weft_err err = fleet_change_write(&c->fleet, r, &changes[i]);
    if (err != WEFT_OK && count > 1) weft_group_abort(r);
    WEFT_TRY(err);
  }
  return count > 1 ? bench_fail(c->b, weft_group_end(r), "ending a group") : WEFT_OK;
}

static weft_err write_groups(commit_run *c, weft_replica *r, const fleet_change *changes,
                             uint32_t group, uint32_t groups) {
  for (uint32_t i = 0; i < groups; i++) {
    WEFT_TRY(write_group(c, r, changes + (size_t)i * group, group));
  }
  return WEFT_OK;
}

/* The next updates, with the times at which they are made. */
static void make_changes(commit_run *c, fleet_change *changes, uint32_t count) {
  uint64_t clock_us = c->fleet.clock_us;
  for (uint32_t i = 0; i < count; i++) {
    clock_us += w1_step_us(c->updates.next);
    fleet_change_make(&changes[i], w1_updates_next(&c->updates));
    changes[i].clock_us = clock_us;
  }
}

/* Times so far of one kind of group. */
typedef struct group_times {
  uint32_t updates;
  double weft;
  double probes[PROBES];
} group_times;

/* Some groups of weft's, then as many of the probes': whatever else the machine does meanwhile
 * slows all. */
static weft_err measure_changes(commit_run *c, const group_kind *kind, const fleet_change *changes,
                                uint32_t groups, group_times *times) {
  double start = bench_now();
  WEFT_TRY(write_groups(c, c->r.replica, changes, kind->group, groups));
  times->weft += bench_now() - start;
  times->updates += groups * kind->group;
  WEFT_TRY(write_groups(c, c->twin.replica, changes, kind->group, groups));
  return replay(c, times->probes);
}

static weft_err measure_slice(commit_run *c, const group_kind *kind, uint32_t groups,
                              group_times *times) {
  uint32_t count = groups * kind->group;
  fleet_change *changes = c->b->mem.alloc(c->b->mem.ctx, count * sizeof *changes);
  if (!changes) return WEFT_ENOMEM;
  make_changes(c, changes, count);
  weft_err err = measure_changes(c, kind, changes, groups, times);
  c->b->mem.free(c->b->mem.ctx, changes);
  return err;
}

static void sample_rate(commit_run *c, const char *variant, const group_times *times,
                        probe_kind probe) {
  bench_sample(c->b, rate_of(variant, "changes/s"), times->updates / times->weft);
  bench_limit(c->b, rate_of(variant, "changes/s"), times->updates / times->probes[probe]);
}

static weft_err measure_group(commit_run *c, const group_kind *kind) {
  group_times times = {0};
  uint32_t all = (c->b->quick ? kind->updates_quick : kind->updates) / kind->group;
  uint32_t slice = (all + SLICES - 1) / SLICES;
  double begin = bench_now();
  for (uint32_t done = 0; done < all && times.weft < SECONDS_MAX; done += slice) {
    if (c->b->quick && times.weft > 0 && bench_now() - begin > SECONDS_QUICK) break;
    WEFT_TRY(bench_progress(c->b, kind->variant));
    WEFT_TRY(measure_slice(c, kind, all - done < slice ? all - done : slice, &times));
  }
  sample_rate(c, kind->variant, &times, kind->group > 1 ? PROBE_SAME : PROBE_ONE);
  if (kind->group == 1) sample_rate(c, "single-three", &times, PROBE_THREE);
  return WEFT_OK;
}

/* --- disk after single edits --- */

static weft_err write_singles(commit_run *c, weft_replica *r, w1_updates *updates, uint32_t count) {
  double end = bench_now() + SECONDS_MAX;
  WEFT_TRY(fleet_import(&c->fleet, r, c->templates, IMPORT_GROUP));
  while (updates->next < count && bench_now() < end) {
    c->fleet.clock_us += w1_step_us(updates->next);
    WEFT_TRY(fleet_update(&c->fleet, r, w1_updates_next(updates)));
    if (updates->next % IMPORT_GROUP == 0) WEFT_TRY(bench_progress(c->b, "single, disk"));
  }
  return WEFT_OK;
}

/* As many updates as W1 has, each committed by itself.  A file gets as long in memory as on a disk,
 * so another device's store grows there. */
static weft_err measure_single_disk(commit_run *c) {
  fleet_replica r;
  w1_updates updates = {.mem = c->b->mem};
  const group_kind *all = &kinds[FIRST_GROUP];
  uint32_t count = c->b->quick ? all->updates_quick : all->updates;
  weft_err err = fleet_open_memory(&c->fleet, 1, "w1-single", &r);
  if (err == WEFT_OK) err = w1_updates_init(&updates, &c->b->mem, c->templates);
  if (err == WEFT_OK) err = write_singles(c, r.replica, &updates, count);
  if (err == WEFT_OK && updates.next == count) err = sample_disk(c, r.path, "single", count);
  w1_updates_free(&updates);
  fleet_close(&r);
  return err;
}

static weft_err open_probes(commit_run *c) {
  char name[16];
  for (unsigned i = 0; i < PROBES; i++) {
    snprintf(name, sizeof name, "probe-%u.mdb", i);
    WEFT_TRY(probe_lmdb_open(&c->probes[i], c->b, name, probe_tables[i]));
  }
  return WEFT_OK;
}

static weft_err measure(commit_run *c) {
  WEFT_TRY(fleet_make(&c->fleet, c->b));
  WEFT_TRY(fleet_open(&c->fleet, 0, "w1", &c->r));
  WEFT_TRY(fleet_open(&c->fleet, 0, "w1-twin", &c->twin));
  WEFT_TRY(open_probes(c));
  WEFT_TRY(w1_updates_init(&c->updates, &c->b->mem, c->templates));
  recorder_attach(&c->rec, c->twin.store, &c->b->mem);
  WEFT_TRY(measure_import(c));
  c->fleet.clock_us = w1_updates_us(c->templates);
  for (unsigned i = 0; i < GROUPS; i++) {
    if (!bench_wants(c->b, kinds[i].variant)) continue;
    WEFT_TRY(measure_group(c, &kinds[i]));
    if (i == FIRST_GROUP) WEFT_TRY(sample_disk(c, c->r.path, kinds[i].variant, c->updates.next));
  }
  return bench_wants(c->b, "single-disk") ? measure_single_disk(c) : WEFT_OK;
}

weft_err bench_commit(bench *b) {
  weft_err err = WEFT_OK;
  uint32_t templates = b->quick ? TEMPLATES_QUICK : TEMPLATES;
  if (b->size) templates = b->size;
  for (b->run = 0; b->run < b->runs && err == WEFT_OK; b->run++) {
    commit_run c = {.b = b, .templates = templates, .updates = {.mem = b->mem}};
    err = measure(&c);
    w1_updates_free(&c.updates);
    for (unsigned i = 0; i < PROBES; i++) probe_lmdb_close(c.probes[i]);
    recorder_detach(&c.rec);
    fleet_close(&c.twin);
    fleet_close(&c.r);
  }
  return err;
}

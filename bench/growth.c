/* W11: what a field costs as the store grows: 10,000, 100,000, 1,000,000 and 10,000,000 fields.
 *
 * For each size an empty replica holds and shows the import (W4's work), then as many updates as a
 * tenth of the fields, of random ones (W2's), and then writes a thousand itself in one transaction
 * (W1's).  The figures are microseconds a field or change; `growth` is the cost at the largest size
 * over the cost at 100,000 fields: 1 would mean that size does not matter.  --size adds no size,
 * and --quick stops at 100,000. */
#include "bench/feed.h"

enum {
  SIZES = 4,
  SIZES_QUICK = 2,
  REFERENCE = 1, /* 100,000 */
  HOLD_CHUNKS = 100,
  OWN = 1000,
  STAGES = 5
};

typedef struct growth_size {
  const char *variant;
  uint32_t templates;
} growth_size;

static const growth_size sizes[SIZES] = {
    {"1e4", 834}, {"1e5", 8334}, {"1e6", 83334}, {"1e7", 833334}};

/* What is measured of each size; the growth of each has this name, too. */
static const char *const stages[STAGES] = {"import_held", "import_shown", "update_held",
                                           "update_shown", "own"};

typedef struct growth {
  bench *b;
  const growth_size *size;
  fleet fleet;
  feed feed;
  fleet_replica r;
  double us[STAGES];
} growth;

static weft_err hold_all(growth *g, const weft_bytes *chunks, size_t count) {
  uint64_t held = 0;
  for (size_t i = 0; i < count; i += HOLD_CHUNKS) {
    size_t left = count - i;
    WEFT_TRY(fleet_hold(&g->fleet, g->r.replica, chunks + i,
                        left < HOLD_CHUNKS ? left : HOLD_CHUNKS, &held));
    WEFT_TRY(bench_progress(g->b, g->size->variant));
  }
  return WEFT_OK;
}

/* Holds, then shows; the two costs go to `us`. */
static weft_err measure_pair(growth *g, const weft_bytes *chunks, size_t count, double items,
                             double us[2]) {
  uint64_t shown = 0;
  const double micro = 1e6;
  double start = bench_now();
  WEFT_TRY(hold_all(g, chunks, count));
  double middle = bench_now();
  WEFT_TRY(fleet_show(&g->fleet, g->r.replica, 0, &shown));
  us[0] = micro * (middle - start) / items;
  us[1] = micro * (bench_now() - middle) / items;
  return WEFT_OK;
}

static weft_err measure_own(growth *g) {
  w1_updates updates;
  const double micro = 1e6;
  weft_replica *r = g->r.replica;
  WEFT_TRY(w1_updates_init(&updates, &g->b->mem, g->size->templates));
  /* The same fields as the updates that were received, so their next values. */
  for (uint32_t i = 0; i < g->feed.update_changes; i++) (void)w1_updates_next(&updates);
  double start = bench_now();
  weft_err err = bench_fail(g->b, weft_group_begin(r), "beginning a group");
  for (uint32_t i = 0; i < OWN && err == WEFT_OK; i++) {
    err = fleet_update(&g->fleet, r, w1_updates_next(&updates));
  }
  if (err == WEFT_OK) {
    err = bench_fail(g->b, weft_group_end(r), "ending a group");
  } else {
    weft_group_abort(r);
  }
  g->us[STAGES - 1] = micro * (bench_now() - start) / OWN;
  w1_updates_free(&updates);
  return err;
}

static weft_err measure(growth *g) {
  double fields = (double)g->size->templates * W1_FIELDS;
  const feed_options o = {.templates = g->size->templates,
                          .updates = g->size->templates * W1_FIELDS / 10,
                          .run = W1_BLOCK};
  WEFT_TRY(bench_progress(g->b, g->size->variant));
  WEFT_TRY(fleet_make(&g->fleet, g->b));
  WEFT_TRY(feed_make(&g->feed, &g->fleet, &o));
  WEFT_TRY(fleet_open(&g->fleet, FLEET_RECEIVER, "w11", &g->r));
  WEFT_TRY(measure_pair(g, g->feed.import, g->feed.import_count, fields, &g->us[0]));
  WEFT_TRY(measure_pair(g, g->feed.updates, g->feed.update_count, (double)o.updates, &g->us[2]));
  return measure_own(g);
}

static weft_err measure_size(bench *b, const growth_size *size, double us[STAGES]) {
  growth g = {.b = b, .size = size};
  weft__arena_init(&g.feed.arena, &b->mem);
  weft_err err = measure(&g);
  feed_free(&g.feed);
  fleet_close(&g.r);
  for (unsigned i = 0; i < STAGES && err == WEFT_OK; i++) {
    bench_name name = {"W11", size->variant, stages[i], "us", BENCH_COST};
    us[i] = g.us[i];
    bench_sample(b, name, us[i]);
  }
  return err;
}

weft_err bench_growth(bench *b) {
  const unsigned count = b->quick ? SIZES_QUICK : SIZES;
  double us[SIZES][STAGES];
  b->run = 0;
  for (unsigned i = 0; i < count; i++) WEFT_TRY(measure_size(b, &sizes[i], us[i]));
  for (unsigned i = 0; i < STAGES && count > REFERENCE + 1; i++) {
    bench_name name = {"W11", "growth", stages[i], "times", BENCH_COST};
    bench_sample(b, name, us[count - 1][i] / us[REFERENCE][i]);
  }
  return WEFT_OK;
}

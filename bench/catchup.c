/* W3: a device that was away fetches the last 1,000 of 220,000 changes.
 *
 * Both replicas hold 10,000 templates and 209,000 updates; one of them has 1,000 more, of one
 * device (variant one-log) or of all eight by turns (eight-logs).  They meet over a line in virtual
 * time (bench/line.c), and meet again when nothing is missing: what that costs is the handshake and
 * the greeting, and is taken off.  Who has the changes dials; a second replica that lacks them
 * dials itself (one-log-dialled, eight-logs-dialled).  `round_trips` counts from the end of the
 * handshake until the last change is shown; `seconds` is the time to hold and show the changes. The
 * probe of the bytes is one zstd frame of the values alone. */
#include "bench/feed.h"
#include "bench/line.h"
#include "bench/probe.h"
#include "bench/transfer.h"

enum {
  TEMPLATES = 10000,
  BEFORE = 209000,
  BEFORE_QUICK = 19000,
  MISSING = 1000,
  HOLD_CHUNKS = 100,
  SENDER = 1,
  RECEIVER = FLEET_RECEIVER
};

typedef struct catchup_kind {
  const char *variants[2]; /* who has the changes dials; is dialled */
  bool alone;              /* all updates are of one device */
} catchup_kind;

typedef struct catchup {
  bench *b;
  fleet fleet;
  feed feed;
  fleet_replica from;
  fleet_replica to[2]; /* one is dialled, one dials */
} catchup;

static void sample(catchup *c, const char *variant, const char *metric, const char *unit,
                   double value, double limit) {
  bench_name name = {"W3", variant, metric, unit, BENCH_COST};
  bench_sample(c->b, name, value);
  if (limit > 0) bench_limit(c->b, name, limit);
}

static weft_err hold(catchup *c, weft_replica *r, const weft_bytes *chunks, size_t count) {
  uint64_t held = 0;
  uint64_t shown = 0;
  for (size_t i = 0; i < count; i += HOLD_CHUNKS) {
    size_t left = count - i;
    WEFT_TRY(fleet_hold(&c->fleet, r, chunks + i, left < HOLD_CHUNKS ? left : HOLD_CHUNKS, &held));
    WEFT_TRY(bench_progress(c->b, "what both hold"));
  }
  return fleet_show(&c->fleet, r, 0, &shown);
}

/* Bytes of the values that are missing, packed. */
static weft_err plain_len(catchup *c, uint32_t before, uint64_t *len) {
  weft_arena arena;
  probe_items items;
  w1_updates updates;
  WEFT_TRY(w1_updates_init(&updates, &c->b->mem, TEMPLATES));
  for (uint32_t i = 0; i < before; i++) (void)w1_updates_next(&updates);
  weft__arena_init(&arena, &c->b->mem);
  weft_err err = probe_items_updates(&arena, &updates, MISSING, &items);
  if (err == WEFT_OK) err = probe_zstd_len(c->b, items, len);
  weft__arena_free(&arena);
  w1_updates_free(&updates);
  return err;
}

/* The two meet; `dialled` says that it is the one with the changes. */
static weft_err meet(catchup *c, fleet_replica *to, bool dialled, line_report *out) {
  return dialled ? line_run(&c->fleet, to->replica, RECEIVER, c->from.replica, SENDER, out)
                 : line_run(&c->fleet, c->from.replica, SENDER, to->replica, RECEIVER, out);
}

static weft_err measure_one(catchup *c, const char *variant, bool dialled, uint64_t plain) {
  line_report caught = {0}, idle = {0};
  fleet_replica *to = &c->to[dialled];
  double start = bench_now();
  WEFT_TRY(meet(c, to, dialled, &caught));
  double seconds = bench_now() - start;
  start = bench_now();
  WEFT_TRY(meet(c, to, dialled, &idle));
  seconds -= bench_now() - start;
  weft_digest a = weft_replica_digest(c->from.replica);
  weft_digest b = weft_replica_digest(to->replica);
  bool same = a.high == b.high && a.low == b.low;
  WEFT_TRY(bench_fail(c->b, same ? WEFT_OK : WEFT_EMISUSE, "the replicas differ"));
  double missing = MISSING;
  sample(c, variant, "bytes_per_change", "bytes", (double)(caught.bytes - idle.bytes) / missing,
         (double)plain / missing);
  sample(c, variant, "greeting_bytes", "bytes", (double)idle.bytes, 0);
  sample(c, variant, "round_trips", "trips", caught.round_trips, 0);
  sample(c, variant, "seconds", "s", seconds > 0 ? seconds : 0, 0);
  return WEFT_OK;
}

static weft_err measure(catchup *c, const catchup_kind *kind, uint32_t before) {
  uint64_t plain = 0;
  size_t ahead = c->feed.update_count - MISSING / W1_BLOCK;
  WEFT_TRY(hold(c, c->from.replica, c->feed.import, c->feed.import_count));
  WEFT_TRY(hold(c, c->from.replica, c->feed.updates, c->feed.update_count));
  WEFT_TRY(plain_len(c, before, &plain));
  for (size_t i = 0; i < 2; i++) {
    WEFT_TRY(hold(c, c->to[i].replica, c->feed.import, c->feed.import_count));
    WEFT_TRY(hold(c, c->to[i].replica, c->feed.updates, ahead));
    WEFT_TRY(measure_one(c, kind->variants[i], i == 1, plain));
  }
  return WEFT_OK;
}

static weft_err measure_kind(bench *b, const catchup_kind *kind) {
  catchup c = {.b = b};
  uint32_t before = b->quick ? BEFORE_QUICK : BEFORE;
  const feed_options o = {TEMPLATES, before + MISSING, .run = W1_BLOCK, .alone = kind->alone};
  weft__arena_init(&c.feed.arena, &b->mem);
  weft_err err = fleet_make(&c.fleet, b);
  if (err == WEFT_OK) err = feed_make(&c.feed, &c.fleet, &o);
  if (err == WEFT_OK) err = fleet_open(&c.fleet, SENDER, "w3-from", &c.from);
  if (err == WEFT_OK) err = fleet_open(&c.fleet, RECEIVER, "w3-to", &c.to[0]);
  if (err == WEFT_OK) err = fleet_open(&c.fleet, RECEIVER, "w3-dials", &c.to[1]);
  if (err == WEFT_OK) err = measure(&c, kind, before);
  feed_free(&c.feed);
  fleet_close(&c.to[1]);
  fleet_close(&c.to[0]);
  fleet_close(&c.from);
  return err;
}

weft_err bench_catchup(bench *b) {
  static const catchup_kind kinds[] = {{{"one-log", "one-log-dialled"}, true},
                                       {{"eight-logs", "eight-logs-dialled"}, false}};
  weft_err err = WEFT_OK;
  for (b->run = 0; b->run < b->runs && err == WEFT_OK; b->run++) {
    for (size_t i = 0; i < 2 && err == WEFT_OK; i++) err = measure_kind(b, &kinds[i]);
  }
  return err;
}

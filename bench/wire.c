/* W4, bytes on the wire: the W1 data with all its history, as a cold sync sends it.
 *
 * 10,000 templates and 100,000 updates of eight devices, whatever --size says.  A node that has all
 * of it meets one that has nothing (bench/line.c), and every byte of both counts: names, clocks,
 * claims, signatures, values that were overwritten, handshake, framing and padding.  The sum is
 * divided by the 120,000 live fields.  Variants: as the devices took their turns (held); with the
 * pauses of people between edits (human); and out of a store that got each update signed by itself
 * and has sealed them (sealed), which --quick leaves out.  The probe is one zstd frame of nothing
 * but the values, overwritten ones too. */
#include "bench/feed.h"
#include "bench/line.h"
#include "bench/probe.h"

enum {
  TEMPLATES = 10000,
  UPDATES = 100000,
  HOLD_CHUNKS = 100,
  HOLD_CHUNKS_SINGLE = 1000,
  SENDER = 1
};

typedef struct wire_kind {
  const char *variant;
  feed_options feed;
  size_t hold_chunks; /* of a call */
} wire_kind;

static weft_err hold_all(fleet *f, weft_replica *r, const weft_bytes *chunks, size_t count,
                         size_t most) {
  uint64_t held = 0;
  for (size_t i = 0; i < count; i += most) {
    WEFT_TRY(fleet_hold(f, r, chunks + i, count - i < most ? count - i : most, &held));
    WEFT_TRY(bench_progress(f->b, "bytes on the wire"));
  }
  return WEFT_OK;
}

static weft_err measure_len(fleet *f, const feed *changes, size_t hold_chunks, uint64_t *len) {
  fleet_replica from = {0}, to = {0};
  line_report report = {0};
  weft_err err = fleet_open(f, SENDER, "wire-from", &from);
  if (err == WEFT_OK)
    err = hold_all(f, from.replica, changes->import, changes->import_count, HOLD_CHUNKS);
  if (err == WEFT_OK) {
    err = hold_all(f, from.replica, changes->updates, changes->update_count, hold_chunks);
  }
  if (err == WEFT_OK) err = fleet_show(f, from.replica, 0, &(uint64_t){0});
  if (err == WEFT_OK) err = fleet_open(f, FLEET_RECEIVER, "wire-to", &to);
  if (err == WEFT_OK) err = line_run(f, from.replica, SENDER, to.replica, FLEET_RECEIVER, &report);
  *len = report.bytes;
  fleet_close(&to);
  fleet_close(&from);
  return err;
}

/* Bytes of all values, packed. */
static weft_err plain_len(bench *b, uint64_t *len) {
  weft_arena arena;
  probe_items items[2] = {{0}};
  w1_updates updates;
  uint64_t part = 0;
  WEFT_TRY(w1_updates_init(&updates, &b->mem, TEMPLATES));
  weft__arena_init(&arena, &b->mem);
  weft_err err = probe_items_import(&arena, TEMPLATES, &items[0]);
  if (err == WEFT_OK) err = probe_items_updates(&arena, &updates, UPDATES, &items[1]);
  for (size_t i = 0; i < 2 && err == WEFT_OK; i++) {
    err = probe_zstd_len(b, items[i], &part);
    *len += part;
  }
  weft__arena_free(&arena);
  w1_updates_free(&updates);
  return err;
}

static weft_err measure(fleet *f, const wire_kind *kind, double limit) {
  feed changes;
  uint64_t len = 0;
  const double fields = (double)TEMPLATES * W1_FIELDS;
  bench_name name = {"W4", kind->variant, "wire_bytes_per_field", "bytes", BENCH_COST};
  weft_err err = feed_make(&changes, f, &kind->feed);
  if (err == WEFT_OK) err = measure_len(f, &changes, kind->hold_chunks, &len);
  feed_free(&changes);
  WEFT_TRY(err);
  bench_sample(f->b, name, (double)len / fields);
  bench_limit(f->b, name, limit / fields);
  return WEFT_OK;
}

weft_err bench_wire(bench *b) {
  static const wire_kind kinds[] = {
      {"held", {TEMPLATES, UPDATES, .run = W1_BLOCK}, HOLD_CHUNKS},
      {"human", {TEMPLATES, UPDATES, .run = W1_BLOCK, .human = true}, HOLD_CHUNKS},
      {"sealed", {TEMPLATES, UPDATES, .run = 1}, HOLD_CHUNKS_SINGLE},
  };
  const size_t count = b->quick ? 2 : sizeof kinds / sizeof kinds[0];
  fleet f;
  uint64_t limit = 0;
  b->run = 0;
  WEFT_TRY(plain_len(b, &limit));
  for (size_t i = 0; i < count; i++) {
    if (!bench_wants(b, kinds[i].variant)) continue;
    WEFT_TRY(fleet_make(&f, b));
    WEFT_TRY(measure(&f, &kinds[i], (double)limit));
  }
  return WEFT_OK;
}

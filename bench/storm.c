/* W6: 1,540 devices write one field without having heard of each other, then everything meets in
 * one replica.
 *
 * Held: their logs, each of two changes under one signature, are checked and stored.  Shown: they
 * become visible, which means 1,540 values that are kept side by side; that all of them are there
 * is checked.  The probe of held is verifying one signature a device; that of shown puts the same
 * values as rows into a log and a sorted state, which keeps one of them. */
#include "bench/fleet.h"
#include "bench/probe.h"
#include "crdt/change.h"
#include "crdt/chunk.h"
#include "crdt/hlc.h"
#include "crdt/record.h"

enum {
  DEVICES = 1540,
  DEVICES_QUICK = 200,
  VALUE_LEN = 32,
  CHUNKS_MAX = 500,
  ADMITS_A_GROUP = 100
};

typedef struct storm {
  bench *b;
  fleet fleet;
  fleet_replica r;
  weft_arena arena;
  uint32_t count;
  weft_id last_record; /* the next one depends on it */
  weft_bytes *chunks;
  weft_path path;
} storm;

static const char document[] = "storm/field";

/* --- devices --- */

/* Lets device 0 admit one more; gives its identity and the id of its record. */
static weft_err admit(storm *s, weft_identity *device, weft_id *grant) {
  const bench *b = s->b;
  weft_key seed, invite;
  weft_buf out;
  weft_record record = {.kind = WEFT_RECORD_ADMIT, .space = s->fleet.space, .dep_count = 1};
  weft_random(seed.b, sizeof seed.b);
  weft_random(invite.b, sizeof invite.b);
  weft_identity_derive(device, b->crypto, &seed);
  record.deps[0] = s->last_record;
  record.admit.role = WEFT_ROLE_WRITER;
  record.admit.name = weft_bytes_str("one of many");
  weft__redeem_sign(&record.admit.redeem, b->crypto, device, &invite, &s->fleet.space);
  weft__buf_init(&out, &b->mem, FLEET_RECORD_LEN);
  weft_err err = weft__record_sign(&out, b->crypto, &s->fleet.devices[0], &record, grant);
  if (err == WEFT_OK) err = weft_replica_add_record(s->r.replica, weft__buf_view(&out));
  weft__buf_free(&out);
  s->last_record = *grant;
  return bench_fail(s->b, err, "admitting a device");
}

/* --- changes --- */

/* A log while it is made: START, then one change. */
typedef struct pair {
  weft_id log;
  weft_id head;
  weft_bytes raws[2];
  size_t count;
} pair;

static weft_err append(storm *s, pair *p, const weft_change *change) {
  weft_buf buf;
  weft__buf_init(&buf, &s->b->mem, SIZE_MAX);
  weft_err err = weft__change_encode(&buf, &s->arena, change);
  if (err == WEFT_OK) {
    err = weft__arena_copy(&s->arena, weft__buf_view(&buf), &p->raws[p->count]);
  }
  if (err == WEFT_OK) {
    weft__change_id(s->b->crypto, &s->fleet.space, &p->head, p->raws[p->count++], &p->head);
  }
  weft__buf_free(&buf);
  return err;
}

static weft_err pair_make(storm *s, pair *p, const weft_identity *device, const weft_id *grant,
                          uint32_t number) {
  char text[VALUE_LEN];
  weft_change start = {.kind = WEFT_CHANGE_START};
  weft_op ops[2] = {{.doc = weft_bytes_str(document), .kind = WEFT_OP_FRESH_OBJECT},
                    {.doc = weft_bytes_str(document), .path = s->path, .kind = WEFT_OP_SCALAR}};
  const size_t skip = number == 0 ? 0 : 1; /* the first one makes the document */
  weft_change change = {.kind = WEFT_CHANGE_DATA, .ops = ops + skip, .op_count = 2 - skip};
  weft_value value = {.kind = WEFT_STRING};
  weft_buf buf;
  *p = (pair){0};
  snprintf(text, sizeof text, "value of device %u", (unsigned)number);
  value.as.bytes = weft_bytes_str(text);
  weft__buf_init(&buf, &s->b->mem, SIZE_MAX);
  weft__scalar_encode(&buf, &value);
  weft_err err = weft__arena_copy(&s->arena, weft__buf_view(&buf), &ops[1].value);
  weft__buf_free(&buf);
  WEFT_TRY(err);
  start.start.device = device->device;
  start.start.lane = WEFT_LANE_NORMAL;
  start.start.grant = *grant;
  weft__log_id(s->b->crypto, &s->fleet.space, &start.start, &p->log);
  weft__log_root(s->b->crypto, &p->log, &p->head);
  WEFT_TRY(weft_hlc_now(0, s->fleet.clock_us / 1000, &start.hlc));
  WEFT_TRY(weft_hlc_now(start.hlc, s->fleet.clock_us / 1000, &change.hlc));
  WEFT_TRY(append(s, p, &start));
  return append(s, p, &change);
}

static weft_err chunk_make(storm *s, uint32_t number) {
  weft_identity device;
  weft_id grant;
  pair p;
  weft_buf out;
  WEFT_TRY(admit(s, &device, &grant));
  WEFT_TRY(pair_make(s, &p, &device, &grant, number));
  weft_run run = {.log = p.log, .first = 1, .changes = p.raws, .count = p.count};
  weft__log_root(s->b->crypto, &p.log, &run.prev);
  weft__change_sign(s->b->crypto, &device.sign_seed, &device.device, &s->fleet.space, &p.log,
                    p.count, &p.head, &run.sig);
  weft__buf_init(&out, &s->b->mem, SIZE_MAX);
  weft_err err = weft__chunk_encode(&out, &s->b->mem, &run, 1, WEFT_CHUNK_LIVE);
  if (err == WEFT_OK) err = weft__arena_copy(&s->arena, weft__buf_view(&out), &s->chunks[number]);
  weft__buf_free(&out);
  return bench_fail(s->b, err, "making a device's changes");
}

static weft_err make(storm *s) {
  weft_buf buf;
  const weft_step step = {false, weft_bytes_str("value")};
  s->chunks = weft__arena_zero(&s->arena, s->count, sizeof *s->chunks);
  if (!s->chunks) return WEFT_ENOMEM;
  weft__buf_init(&buf, &s->b->mem, SIZE_MAX);
  weft_path_push(&buf, step);
  weft_err err = weft__arena_copy(&s->arena, weft__buf_view(&buf), &s->path);
  weft__buf_free(&buf);
  for (uint32_t i = 0; i < s->count && err == WEFT_OK; i++) {
    if (i % ADMITS_A_GROUP == 0) err = bench_progress(s->b, "making devices");
    if (err == WEFT_OK) err = chunk_make(s, i);
  }
  return err;
}

/* --- a run --- */

/* Every value must still be there. */
static weft_err check(storm *s) {
  weft_conflict_entry *list;
  size_t count;
  weft_err err =
      weft_replica_conflicts(s->r.replica, &s->arena, weft_bytes_str(document), 0, &list, &count);
  WEFT_TRY(bench_fail(s->b, err, weft_replica_error(s->r.replica)));
  bool all = count == 1 && list[0].value_count == s->count;
  return bench_fail(s->b, all ? WEFT_OK : WEFT_EMISUSE, "a value was lost");
}

static weft_err probe_shown(storm *s, double *seconds) {
  probe_items items = {.count = s->count};
  probe_rows_job job = {.kind = PROBE_ROWS_SORTED, .group = s->count, .state_group = s->count};
  const probe_item item = {weft_bytes_of("\0\0\0\0value", 9), /* of template 0 */
                           weft_bytes_str("\xb4value of some device")};
  items.at = weft__arena_zero(&s->arena, s->count, sizeof *items.at);
  if (!items.at) return WEFT_ENOMEM;
  for (uint32_t i = 0; i < s->count; i++) items.at[i] = item;
  WEFT_TRY(probe_rows_make(&s->arena, items, &job.rows));
  return probe_rows_run(s->b, &job, seconds);
}

static void sample(storm *s, const char *variant, double seconds, double limit_seconds) {
  bench_name name = {"W6", variant, "rate", "changes/s", BENCH_RATE};
  bench_sample(s->b, name, (double)s->count / seconds);
  bench_limit(s->b, name, (double)s->count / limit_seconds);
}

static weft_err measure(storm *s) {
  probe_crypto crypto;
  uint64_t held = 0;
  uint64_t shown = 0;
  double limit = 0;
  WEFT_TRY(fleet_make(&s->fleet, s->b));
  WEFT_TRY(fleet_open(&s->fleet, 0, "w6", &s->r));
  s->last_record = s->fleet.grants[FLEET_DEVICES - 1];
  WEFT_TRY(make(s));
  double start = bench_now();
  for (uint32_t i = 0; i < s->count; i += CHUNKS_MAX) {
    uint32_t left = s->count - i;
    WEFT_TRY(fleet_hold(&s->fleet, s->r.replica, s->chunks + i,
                        left < CHUNKS_MAX ? left : CHUNKS_MAX, &held));
  }
  double middle = bench_now();
  WEFT_TRY(fleet_show(&s->fleet, s->r.replica, 0, &shown));
  double end = bench_now();
  WEFT_TRY(check(s));
  probe_crypto_measure(&crypto);
  sample(s, "held", middle - start, (double)s->count * crypto.verify);
  WEFT_TRY(probe_shown(s, &limit));
  sample(s, "shown", end - middle, limit);
  return WEFT_OK;
}

weft_err bench_storm(bench *b) {
  weft_err err = WEFT_OK;
  for (b->run = 0; b->run < b->runs && err == WEFT_OK; b->run++) {
    storm s = {.b = b, .count = b->quick ? DEVICES_QUICK : DEVICES};
    weft__arena_init(&s.arena, &b->mem);
    err = measure(&s);
    weft__arena_free(&s.arena);
    fleet_close(&s.r);
  }
  return err;
}

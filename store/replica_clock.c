/* Clock and incarnation: what keeps a device from writing two different changes under one number.
 *
 * A log belongs to one incarnation.  When the replica is opened, the mirror outside the store tells
 * how far the logs of the present incarnation have come and on which machine; where store and
 * mirror disagree, the next write opens logs of a new incarnation.  So does a clock of those logs
 * that runs far ahead of the wall, whenever a write finds it so, and a peer who shows changes of
 * ours that we lack.
 *
 * The mirror is written after each commit, before anybody hears of it, and never before one, so it
 * can only lag behind the store; once a second it is made to outlast a power cut.  A mirror that
 * cannot be written stops nothing: it lags, and says less when it is asked. */
#include <string.h>

#include "crdt/canary.h"
#include "crdt/hlc.h"
#include "store/replica_internal.h"

enum { MIRROR_PERIOD_MS = 1000 };

/* --- clock --- */

static weft_ms wall_sane(weft_ms wall) { return wall < WEFT_HLC_MS_MAX ? wall : WEFT_HLC_MS_MAX; }

static weft_ms wall_of(const weft_replica *r) {
  return wall_sane(r->platform.wall_ms(r->platform.ctx));
}

weft_err weft__clock_tick(weft_replica *r, uint64_t *out) {
  weft_err err = weft_hlc_now(r->hlc, wall_of(r), &r->hlc);
  if (err != WEFT_OK) return weft__replica_fail(r, err, "the device's clock is out of range");
  *out = r->hlc;
  return WEFT_OK;
}

void weft__clock_merge(weft_replica *r, uint64_t hlc, weft_ms wall) {
  if (WEFT_CANARY(CLOCK_DEAF)) return;
  r->hlc = weft_hlc_merge(r->hlc, hlc, wall_sane(wall));
}

uint64_t weft_replica_clock(const weft_replica *r) {
  weft_ms ms = wall_of(r);
  uint64_t wall = weft_hlc_join(ms, 0);
  return r->hlc > wall && !weft_hlc_is_ahead(r->hlc, ms) ? r->hlc : wall;
}

const weft_id *weft_replica_space(const weft_replica *r) { return &r->space; }

static bool is_present(const weft_replica *r, const weft_log *log) {
  return weft_id_cmp(&log->device, &r->identity.device) == 0 &&
         memcmp(log->incarnation, r->incarnation, sizeof r->incarnation) == 0;
}

/* Sets the clock from the logs.  False when an own log of the present incarnation is so far ahead
 * that it must be left. */
static bool clock_open(weft_replica *r) {
  weft_ms wall = wall_of(r);
  bool sane = true;
  r->hlc = 0;
  for (uint32_t i = 0; i < r->log_count; i++) {
    const weft_log *log = r->logs[i];
    r->hlc = weft_hlc_merge(r->hlc, log->ctx.hlc, wall);
    if (is_present(r, log) && weft_hlc_is_ahead(log->ctx.hlc, wall)) sane = false;
  }
  return sane;
}

void weft__clock_follow(weft_replica *r) {
  if (!weft_hlc_is_ahead(r->hlc, wall_of(r))) return;
  if (!clock_open(r)) weft__incarnation_renew(r, WEFT_BEGUN_CLOCK);
}

/* --- incarnation --- */

uint64_t weft__instance_drawn(const weft_replica *r) {
  uint8_t bytes[8];
  uint64_t drawn = 0;
  r->platform.entropy(r->platform.ctx, bytes, sizeof bytes);
  for (size_t i = 0; i < sizeof bytes; i++) drawn |= (uint64_t)bytes[i] << (8 * i);
  return drawn;
}

void weft__incarnation_renew(weft_replica *r, weft_begun_why why) {
  weft__mirror_late_end(&r->mirror_file); /* it is of the incarnation that ends */
  r->begun_why = why;
  r->platform.entropy(r->platform.ctx, r->incarnation, sizeof r->incarnation);
  r->incarnation_new = true;
}

/* Fills in what stands now; gives the sum of the seqs, which tells whether anything was written. */
static uint64_t mirror_fill(const weft_replica *r, weft_mirror *m) {
  uint64_t sum = 0;
  *m = r->mirror;
  memcpy(m->incarnation, r->incarnation, sizeof m->incarnation);
  m->lane_count = 0;
  for (uint32_t i = 0; i < r->log_count; i++) {
    const weft_log *log = r->logs[i];
    if (!is_present(r, log) || m->lane_count == WEFT_MIRROR_LANES_MAX) continue;
    m->lanes[m->lane_count++] = (weft_mirror_lane){log->lane, log->held, log->head};
    sum += log->held;
  }
  return sum;
}

/* For weft__mirror_check: does the store hold this change of the present incarnation? */
static weft_err mirror_holds(void *ctx, const weft_mirror_lane *lane) {
  weft_replica *r = ctx;
  for (uint32_t i = 0; i < r->log_count; i++) {
    const weft_log *log = r->logs[i];
    if (!is_present(r, log) || log->lane != lane->lane) continue;
    weft_id id;
    weft_err err = weft_replica_id_at(r, &log->id, i, lane->seq, &id);
    if (err != WEFT_OK) return err;
    return weft_id_cmp(&id, &lane->id) == 0 ? WEFT_OK : WEFT_ENOTFOUND;
  }
  return WEFT_ENOTFOUND;
}

/* Copies what the options say about the mirror. */
static weft_err mirror_open(weft_replica *r, const weft_replica_options *o) {
  r->mirror.space = r->space;
  r->mirror.device = r->identity.device;
  r->mirror.machine = weft__mirror_machine(r->crypto, o->machine);
  r->mirror.store_dev = o->store_dev;
  r->mirror.store_ino = o->store_ino;
  if (!o->mirror_dir) return WEFT_OK;
  size_t len = strlen(o->mirror_dir) + 1;
  r->mirror_dir = r->mem.alloc(r->mem.ctx, len);
  if (!r->mirror_dir) return WEFT_ENOMEM;
  memcpy(r->mirror_dir, o->mirror_dir, len);
  return WEFT_OK;
}

static weft_begun_why why_of(weft_mirror_verdict verdict) {
  switch (verdict) {
  case WEFT_MIRROR_BEHIND: return WEFT_BEGUN_BEHIND;
  case WEFT_MIRROR_MOVED: return WEFT_BEGUN_MOVED;
  case WEFT_MIRROR_DAMAGED: return WEFT_BEGUN_DAMAGED;
  case WEFT_MIRROR_SAME:
  case WEFT_MIRROR_MISSING: break;
  }
  return WEFT_BEGUN_MISSING;
}

/* A process that ended between a commit and its mirror left it behind; peers hear of that commit
 * from now on. */
static void mirror_catch_up(weft_replica *r) {
  weft_mirror m;
  r->mirror_late = mirror_fill(r, &m);
  if (m.lane_count > 0) weft__mirror_late(r->crypto, r->mirror_dir, &m, &r->mirror_file);
}

weft_err weft__incarnation_open(weft_replica *r, const weft_replica_options *o) {
  weft_mirror_verdict verdict = WEFT_MIRROR_MISSING;
  WEFT_TRY(mirror_open(r, o));
  bool clock_sane = clock_open(r);
  if (!r->incarnation_new && r->mirror_dir) {
    weft_mirror now;
    mirror_fill(r, &now);
    weft_err err =
        weft__mirror_check(r->crypto, r->mirror_dir, &now, mirror_holds, r, &verdict, NULL);
    if (err == WEFT_ENOMEM || err == WEFT_ECORRUPT) return err;
  }
  bool other = !r->incarnation_new && r->mirror_dir && verdict != WEFT_MIRROR_SAME &&
               weft__incarnation_used(r, r->incarnation);
  if (other || r->fenced) {
    r->instance = weft__instance_drawn(r);
    r->instance_new = true;
  }
  if (r->fenced) {
    weft__incarnation_renew(r, WEFT_BEGUN_RESTORED);
  } else if (r->incarnation_new) {
    weft__incarnation_renew(r, WEFT_BEGUN_FIRST);
  } else if (verdict != WEFT_MIRROR_SAME) {
    weft__incarnation_renew(r, why_of(verdict));
  } else if (!clock_sane) {
    weft__incarnation_renew(r, WEFT_BEGUN_CLOCK);
  } else {
    mirror_catch_up(r);
  }
  return WEFT_OK;
}

void weft__mirror_note(weft_replica *r, bool now) {
  if (!r->mirror_dir || r->incarnation_new || r->stale) return;
  weft_ms wall = wall_of(r);
  bool due = now || wall < r->mirror_saved || wall - r->mirror_saved >= MIRROR_PERIOD_MS;
  weft_mirror m;
  uint64_t sum = mirror_fill(r, &m);
  if (m.lane_count == 0 || sum == r->mirror_sum) return;
  if (!due) {
    if (sum != r->mirror_late) weft__mirror_late(r->crypto, r->mirror_dir, &m, &r->mirror_file);
    r->mirror_late = sum;
    return;
  }
  weft_diag diag;
  weft_err err = weft__mirror_save(r->crypto, r->mirror_dir, &m, &diag);
  r->mirror_saved = wall;
  if (err == WEFT_OK) {
    r->mirror_sum = sum;
  } else {
    weft__replica_fail(r, err, diag.text);
  }
}

void weft_replica_settle(weft_replica *r) { weft__mirror_note(r, true); }

void weft__mirror_free(weft_replica *r) {
  weft__mirror_late_end(&r->mirror_file);
  r->mem.free(r->mem.ctx, r->mirror_dir);
  r->mirror_dir = NULL;
}

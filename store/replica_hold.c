/* Holding: changes of others enter their logs.
 *
 * A chunk is decoded before the transaction begins.  Within it every run is checked against what is
 * held - chain, signature, for a new log its START and the grant - and only then stored, with its
 * arrival.  What its content says is judged, not its holdability: a change that says something
 * forbidden is held like any other.
 *
 * A run goes on from the branch it agrees with longest; where that one has another change already,
 * a branch begins.
 *
 * Runs that cannot be taken yet get a verdict and harm nothing.  A sender's fault fails the call,
 * and nothing of it was held. */
#include <string.h>

#include "crdt/assert.h"
#include "crdt/canary.h"
#include "crdt/hlc.h"
#include "crdt/limits.h"
#include "store/replica_internal.h"

typedef struct hold_run {
  weft_run run;
  weft_bytes chunk; /* it came in */
  bool alone;       /* and was the only one there */
} hold_run;

typedef struct hold_call {
  weft_arena *arena;
  hold_run *runs;
  size_t run_count;
  weft_hold_report *report;
  bool meet; /* two changes of one seq have one tag */
} hold_call;

/* --- decoding --- */

static weft_err decode_all(weft_replica *r, const weft_bytes *chunks, size_t count,
                           hold_call *call) {
  size_t cap = 0;
  for (size_t i = 0; i < count; i++) {
    weft_run *runs;
    size_t n;
    weft_err err = weft__chunk_decode_briefly(r->codec, call->arena, chunks[i], &runs, &n);
    if (err != WEFT_OK) {
      call->report->bad = chunks[i];
      return weft__replica_fail(r, err, "a chunk does not decode");
    }
    void *at = call->runs;
    WEFT_TRY(weft__arena_grow(call->arena, &at, call->run_count, &cap, call->run_count + n,
                              sizeof *call->runs));
    call->runs = at;
    for (size_t k = 0; k < n; k++) {
      call->runs[call->run_count++] = (hold_run){runs[k], chunks[i], n == 1};
    }
  }
  return WEFT_OK;
}

/* --- one run --- */

/* What was found out about a run before it is taken. */
typedef struct hold_check {
  weft_log *log; /* the branch it goes on from; NULL: a new log */
  weft_id device;
  weft_change start;
  weft_id *ids;
  size_t skip; /* changes of it that are held already */
  bool leaves; /* the branch goes on in another way: a new one begins behind `skip` */
} hold_check;

static weft_err sender_fault(weft_replica *r, hold_call *call, const hold_run *h, weft_err err,
                             const char *text) {
  call->report->bad = h->chunk;
  return weft__replica_fail(r, err, text);
}

/* Checks that a run may open a log: a START that names exactly this log. */
static weft_err check_start(weft_replica *r, hold_call *call, const hold_run *h, hold_check *c) {
  weft_id id;
  weft_id root;
  weft_log_context none = {0};
  WEFT_TRY(weft__change_parse(call->arena, h->run.changes[0], &c->start));
  weft__change_judge(&none, &c->start);
  bool valid = c->start.state == WEFT_CHANGE_VALID && c->start.kind == WEFT_CHANGE_START;
  if (!valid) return sender_fault(r, call, h, WEFT_EMALFORMED, "a log does not begin with START");
  weft__log_id(r->crypto, &r->space, &c->start.start, &id);
  weft__log_root(r->crypto, &h->run.log, &root);
  if (weft_id_cmp(&id, &h->run.log) != 0 || weft_id_cmp(&root, &h->run.prev) != 0) {
    return sender_fault(r, call, h, WEFT_EMALFORMED, "a START names another log");
  }
  c->device = c->start.start.device;
  return WEFT_OK;
}

static weft_err check_signature(weft_replica *r, hold_call *call, const hold_run *h,
                                hold_check *c) {
  weft_err err = weft__run_verify(r->crypto, &r->space, &c->device, &h->run, c->ids);
  weft__count(r->metrics, WEFT_METRIC_SIGNATURES, 1);
  weft__count(r->metrics, WEFT_METRIC_VERIFIED, err == WEFT_OK ? h->run.count : 0);
  if (err == WEFT_OK) return WEFT_OK;
  return sender_fault(r, call, h, err, "the signature of a run is not valid");
}

static void run_ids(const weft_replica *r, const hold_run *h, weft_id *ids) {
  const weft_id *prev = &h->run.prev;
  for (size_t i = 0; i < h->run.count; i++) {
    weft__change_id(r->crypto, &r->space, prev, h->run.changes[i], &ids[i]);
    prev = &ids[i];
  }
}

/* How many changes of a run are on the chain of a branch, which has what is before it.  Chains that
 * agree in one place agree before it. */
static weft_err agreed(weft_replica *r, weft_txn *txn, const weft_log *log, const hold_run *h,
                       const weft_id *ids, size_t *count) {
  uint64_t last = h->run.first + h->run.count - 1;
  size_t low = 0;
  size_t high = (size_t)((log->held < last ? log->held : last) + 1 - h->run.first);
  size_t probe = high;
  while (low < high) {
    weft_id id;
    WEFT_TRY(weft__log_id_at(r, txn, log, h->run.first + probe - 1, &id));
    if (weft_id_cmp(&id, &ids[probe - 1]) == 0) {
      low = probe;
    } else {
      high = probe - 1;
    }
    probe = low + (high - low + 1) / 2;
  }
  *count = low;
  return WEFT_OK;
}

/* Finds the branch that a run agrees with longest; NULL: none has what is before it. */
static weft_err attach(weft_replica *r, weft_txn *txn, weft_log *first, const hold_run *h,
                       hold_check *c) {
  for (weft_log *b = first; b; b = b->sibling) {
    weft_id before;
    size_t count;
    if (h->run.first - 1 > b->held) continue;
    WEFT_TRY(weft__log_id_at(r, txn, b, h->run.first - 1, &before));
    if (weft_id_cmp(&before, &h->run.prev) != 0) continue;
    WEFT_TRY(agreed(r, txn, b, h, c->ids, &count));
    bool ends = b->held == h->run.first + count - 1;
    if (c->log && count < c->skip) continue;
    if (c->log && count == c->skip && !ends) continue;
    c->log = b;
    c->skip = count;
    c->leaves = !ends;
  }
  if (c->leaves) c->log = weft__log_owner(r, c->log, h->run.first + c->skip - 1);
  return WEFT_OK;
}

/* True when a change of another device waits for a change of this run. */
static bool is_claimed(const weft_replica *r, const hold_run *h, const hold_check *c) {
  for (const weft_log *log = r->orphans; log; log = log->flow[WEFT_FLOW_READY].next) {
    const weft_log_flow *f = &log->flow[WEFT_FLOW_READY];
    bool other = weft_id_cmp(&log->device, &c->device) != 0;
    if (!other || !f->wait_tagged || weft_id_cmp(&f->wait_log, &h->run.log) != 0) continue;
    if (f->wait_seq < h->run.first + c->skip || f->wait_seq - h->run.first >= h->run.count)
      continue;
    const weft_id *id = &c->ids[f->wait_seq - h->run.first];
    if (memcmp(id->b, f->wait_tag, sizeof f->wait_tag) == 0) return true;
  }
  return false;
}

/* Whether one more branch is taken. */
static bool has_place(const weft_replica *r, const weft_log *first, const hold_run *h,
                      const hold_check *c) {
  size_t count = 0;
  for (; first; first = first->sibling) count++;
  return count < WEFT_BRANCHES_MAX || is_claimed(r, h, c);
}

/* A peer shows changes of ours that we lack: another copy of this device has gone on. */
static void notice_own(weft_replica *r, weft_log *log) {
  bool present = weft_id_cmp(&log->device, &r->identity.device) == 0 &&
                 memcmp(log->incarnation, r->incarnation, sizeof r->incarnation) == 0;
  if (!present || WEFT_CANARY(CLONE_BLIND)) return;
  weft__incarnation_renew(r, WEFT_BEGUN_PEER);
  weft__log_touch(r, log); /* so that it is stored */
}

/* A run behind a gap, or of a branch whose start is missing.  Its signature is looked at where it
 * tells that another copy of this device has gone on. */
static weft_err check_apart(weft_replica *r, hold_call *call, const hold_run *h, hold_check *c,
                            weft_log *first) {
  if (!first || weft_id_cmp(&first->device, &r->identity.device) != 0) return WEFT_OK;
  WEFT_TRY(check_signature(r, call, h, c));
  notice_own(r, first);
  return WEFT_OK;
}

/* A run that begins a log. */
static weft_err check_new(weft_replica *r, hold_call *call, const hold_run *h, hold_check *c,
                          weft_held_run *out) {
  WEFT_TRY(check_start(r, call, h, c));
  out->verdict = WEFT_HOLD_UNKNOWN;
  out->want = 1;
  if (!weft__member_may_start(r, &c->start.start)) return WEFT_OK;
  WEFT_TRY(check_signature(r, call, h, c));
  out->verdict = WEFT_HOLD_TAKEN;
  return WEFT_OK;
}

/* Finds out what a run is worth; verdict TAKEN means that it goes on from what is held. */
static weft_err check_run(weft_replica *r, weft_txn *txn, hold_call *call, const hold_run *h,
                          hold_check *c, weft_held_run *out) {
  weft_log *first = weft__log_find(r, &h->run.log);
  uint64_t reach = weft__log_reach(first);
  out->verdict = WEFT_HOLD_GAP;
  out->want = reach + 1;
  c->ids = weft__arena_take(call->arena, h->run.count * sizeof *c->ids);
  if (!c->ids) return WEFT_ENOMEM;
  if (first) c->device = first->device;
  if (out->first > reach + 1) {
    run_ids(r, h, c->ids);
    out->id = c->ids[h->run.count - 1];
    return check_apart(r, call, h, c, first);
  }
  if (!first) return check_new(r, call, h, c, out);
  bool follows =
      !first->sibling && out->first == reach + 1 && weft_id_cmp(&h->run.prev, &first->head) == 0;
  if (WEFT_CANARY(CHAIN_LOOSE) && out->first == reach + 1) follows = true;
  if (follows) {
    c->log = first;
  } else {
    run_ids(r, h, c->ids);
    WEFT_TRY(attach(r, txn, first, h, c));
  }
  if (!c->log) {
    out->verdict = WEFT_HOLD_BRANCH;
    out->want = out->first;
    out->id = c->ids[h->run.count - 1];
    return check_apart(r, call, h, c, first);
  }
  out->verdict = WEFT_HOLD_KNOWN;
  out->want = 0;
  if (c->skip == h->run.count) return WEFT_OK;
  if (c->leaves && out->first + c->skip == 1) {
    WEFT_TRY(check_new(r, call, h, c, out));
    if (out->verdict != WEFT_HOLD_TAKEN) return WEFT_OK;
  }
  WEFT_TRY(check_signature(r, call, h, c));
  bool place = !c->leaves || has_place(r, first, h, c);
  out->verdict = place ? WEFT_HOLD_TAKEN : WEFT_HOLD_FULL;
  return WEFT_OK;
}

/* Tells of a change whose clock is too far ahead of ours to be believed. */
static weft_err tell_ahead(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t hlc,
                           const weft_id *id) {
  weft_event event = weft__event_own(r, WEFT_EVENT_CLOCK_AHEAD);
  event.source = event.device = log->device;
  event.has_device = event.has_change = true;
  event.change = *id;
  event.count = weft_hlc_ms(hlc) - event.time;
  return weft__event_put(r, txn, &event);
}

/* Tells that a log goes on in another way from `seq` on, with the change `id`. */
static weft_err tell_fork(weft_replica *r, weft_txn *txn, const weft_log *log, uint64_t seq,
                          const weft_id *id) {
  weft_event event = weft__event_own(r, WEFT_EVENT_CONFLICT_FORKED);
  event.source = event.device = log->device;
  event.has_device = event.has_change = true;
  event.change = *id;
  event.count = seq;
  return weft__event_put(r, txn, &event);
}

/* Keeps the claims of a change for the rest of the call, unless they stay anyway. */
static weft_err claims_keep(hold_call *call, bool stay, const weft_change *change,
                            weft_claim_list *out) {
  weft_bytes copy =
      weft_bytes_of((const void *)change->claims, change->claim_count * sizeof *change->claims);
  *out = (weft_claim_list){change->claims, change->claim_count};
  if (stay || change->claim_count == 0) return WEFT_OK;
  WEFT_TRY(weft__arena_copy(call->arena, copy, &copy));
  out->at = (const void *)copy.at;
  return WEFT_OK;
}

/* Tells what a change of a long run says of its clock and its claims; what else is in `change` may
 * be of another one. */
static weft_err change_brief(const weft_brief *brief, weft_bytes raw, weft_arena *arena,
                             weft_change *change) {
  if (!brief->known) return weft__change_parse(arena, raw, change);
  change->state = WEFT_CHANGE_VALID;
  change->kind = WEFT_CHANGE_DATA;
  change->hlc = brief->hlc;
  change->claims = brief->claims;
  change->claim_count = brief->claim_count;
  return WEFT_OK;
}

/* Judges the new changes of a run and moves what is remembered of the log.  Of changes from the
 * future the first of a run is told.  Of a long run, which is not shown at once, only the claims
 * are kept, so that all the others pass through the same little memory. */
static weft_err judge_each(weft_replica *r, weft_txn *txn, hold_call *call, weft_log *log,
                           const weft_log_run *run, uint8_t *states, weft_arena *passing) {
  bool told = false;
  weft_ms wall = r->platform.wall_ms(r->platform.ctx);
  bool few = run->count <= WEFT_LIVE_CHANGES_MAX;
  weft_arena *arena = few ? call->arena : passing;
  weft_fresh_run *fresh = weft__arena_zero(call->arena, 1, sizeof *fresh);
  weft_change *changes = weft__arena_zero(call->arena, few ? run->count : 1, sizeof *changes);
  weft_claim_list *claims = weft__arena_take(call->arena, run->count * sizeof *claims);
  if (!fresh || !changes || !claims) return WEFT_ENOMEM;
  for (size_t i = 0; i < run->count; i++) {
    weft_change *change = &changes[few ? i : 0];
    weft__arena_reset(passing);
    if (few) {
      WEFT_TRY(weft__change_parse(arena, run->raws[i], change));
    } else {
      WEFT_TRY(change_brief(&run->briefs[i], run->raws[i], arena, change));
    }
    weft__change_judge(&log->ctx, change);
    WEFT_TRY(claims_keep(call, few || run->briefs[i].known, change, &claims[i]));
    WEFT_TRY(weft__log_context_advance(&log->ctx, &r->tables, change));
    states[i] = (uint8_t)change->state;
    if (change->state != WEFT_CHANGE_VALID) continue;
    weft__clock_merge(r, change->hlc, wall);
    WEFT_TRY(weft__log_numbers_put(r, txn, log, change));
    if (told || !weft_hlc_is_ahead(change->hlc, wall)) continue;
    WEFT_TRY(tell_ahead(r, txn, log, change->hlc, &run->ids[i]));
    told = true;
  }
  *fresh = (weft_fresh_run){
      log->held + 1, run->count, few ? changes : NULL, claims, run->ids, NULL,
  };
  weft__log_fresh_add(log, fresh);
  return WEFT_OK;
}

static weft_err judge_run(weft_replica *r, weft_txn *txn, hold_call *call, weft_log *log,
                          const weft_log_run *run, uint8_t *states) {
  weft_arena passing;
  WEFT_TRY(weft__log_numbers(r, txn, log));
  weft__arena_init(&passing, &r->mem);
  weft_err err = judge_each(r, txn, call, log, run, states, &passing);
  weft__arena_free(&passing);
  return err;
}

static weft_err take_run(weft_replica *r, weft_txn *txn, hold_call *call, const hold_run *h,
                         hold_check *c) {
  uint64_t from = h->run.first + c->skip;
  if (!c->log) {
    WEFT_TRY(weft__log_add(r, &h->run.log, &c->start.start, &c->log));
  } else if (c->leaves) {
    WEFT_TRY(weft__branch_add(r, txn, c->log, from, &c->ids[c->skip], &c->log));
    if (from == 1) c->log->grant = c->start.start.grant;
    WEFT_TRY(tell_fork(r, txn, c->log, from, &c->ids[c->skip]));
  }
  weft_log *log = c->log;
  WEFT_ASSERT(log);
  size_t count = h->run.count - c->skip;
  const weft_bytes *raws = h->run.changes + c->skip;
  uint8_t *states = weft__arena_zero(call->arena, count, 1);
  if (!states) return WEFT_ENOMEM;
  weft__log_touch(r, log);
  weft_log_run run = {.raws = raws,
                      .briefs = h->run.briefs + c->skip,
                      .ids = c->ids + c->skip,
                      .states = states,
                      .count = count,
                      .sig = &h->run.sig};
  WEFT_TRY(judge_run(r, txn, call, log, &run, states));
  if (h->alone && c->skip == 0) run.chunk = h->chunk;
  WEFT_TRY(weft__log_append(r, txn, log, &run));
  call->report->changes += count;
  notice_own(r, log);
  weft__ready_orphans(r, log);
  weft__ready_queue(r, log);
  bool meet;
  WEFT_TRY(weft__tags_meet(r, txn, log, from, &meet));
  call->meet = call->meet || meet;
  return WEFT_OK;
}

static weft_err hold_one(weft_replica *r, weft_txn *txn, hold_call *call, size_t idx) {
  const hold_run *h = &call->runs[idx];
  weft_held_run *out = &call->report->runs[idx];
  hold_check c = {0};
  out->log = h->run.log;
  out->first = h->run.first;
  out->last = h->run.first + h->run.count - 1;
  WEFT_TRY(check_run(r, txn, call, h, &c, out));
  if (out->verdict == WEFT_HOLD_TAKEN) WEFT_TRY(take_run(r, txn, call, h, &c));
  bool held = out->verdict == WEFT_HOLD_TAKEN || out->verdict == WEFT_HOLD_KNOWN;
  if (held) out->id = c.ids[h->run.count - 1];
  out->branch = held ? c.log->number : WEFT_BRANCH_ANY;
  return WEFT_OK;
}

static weft_err hold_all(weft_replica *r, weft_txn *txn, hold_call *call) {
  weft_show_report shown = {0};
  bool backlog = r->now.held > r->now.shown;
  call->report->changes = 0;
  call->meet = false;
  for (size_t i = 0; i < call->run_count; i++) WEFT_TRY(hold_one(r, txn, call, i));
  /* A tag now fits two changes, and means the smaller id: what was shown may rest on the other. */
  if (call->meet) WEFT_TRY(weft__show_restart(r, txn, true));
  WEFT_TRY(weft__ready_run(r, txn));
  bool live = !backlog && call->report->changes > 0 &&
              call->report->changes <= WEFT_LIVE_CHANGES_MAX && !weft__roster_frozen(r->roster);
  return live ? weft__show_touched(r, txn, &shown) : WEFT_OK;
}

/* What was noted of the changes lies in the arena of the call. */
static weft_err hold_write(weft_replica *r, weft_txn *txn, void *arg) {
  weft_err err = hold_all(r, txn, arg);
  for (weft_log *log = r->touched; log; log = log->next_touched) {
    log->fresh = log->fresh_last = NULL;
  }
  return err;
}

/* Holds what decode_all took apart. */
static weft_err hold_decoded(weft_replica *r, hold_call *call) {
  weft_hold_report *report = call->report;
  report->runs = weft__arena_zero(call->arena, call->run_count, sizeof *report->runs);
  if (!report->runs) return WEFT_ENOMEM;
  report->run_count = call->run_count;
  weft_err err = weft__write(r, hold_write, call);
  if (err != WEFT_OK) {
    report->changes = 0;
    report->run_count = 0;
  }
  return err;
}

weft_err weft_replica_hold(weft_replica *r, weft_arena *arena, const weft_bytes *chunks,
                           size_t count, weft_hold_report *report) {
  memset(report, 0, sizeof *report);
  if (r->group) return WEFT_EMISUSE;
  if (r->dead != WEFT_OK) return r->dead;
  hold_call call = {.arena = arena, .report = report};
  uint64_t started = weft__metrics_clock(r->metrics);
  weft_err err = decode_all(r, chunks, count, &call);
  if (err == WEFT_OK) err = hold_decoded(r, &call);
  weft__count(r->metrics, WEFT_METRIC_REFUSED, err <= WEFT_EMALFORMED && err > WEFT_EIO);
  if (err == WEFT_OK) weft__observe_since(r->metrics, WEFT_METRIC_HOLD_TIME, started);
  return err;
}

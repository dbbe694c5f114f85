/* Verify and repair: the logs are the truth, everything else must be what they give.
 *
 * Verify takes a snapshot, proves the logs in it, and lets a second replica, laid over the snapshot
 * with empty tables of its own in memory, show all that was shown again; then the two are compared.
 * So the state is rebuilt by the very code that made it, and memory holds one whole state.
 *
 * Repair proves the logs first, for nothing can be made from damaged ones.  One transaction then
 * empties what follows from them and says that nothing is shown; from there on the store is whole
 * at every commit, and showing goes on in its usual batches.  A crash in between leaves a replica
 * that has more to show, which repair or any show finishes.
 *
 * Failure modes: damage is a finding, never an error by itself. */
#include <string.h>

#include "crdt/canary.h"
#include "store/history.h"
#include "store/overlay_store.h"
#include "store/verify_internal.h"

enum { STEPS_PER_CALL = 1024, SUBJECT_ID_LEN = 4 };

/* --- findings --- */

static void text_add(char *text, size_t *len, size_t cap, weft_bytes bytes) {
  size_t i = 0;
  for (; i < bytes.len && *len + 1 < cap; i++) {
    bool plain = bytes.at[i] >= 0x20 && bytes.at[i] != 0x7f;
    text[(*len)++] = plain ? (char)bytes.at[i] : '.';
  }
  /* No character is left cut: what does not fit begins with one. */
  for (; i > 0 && i < bytes.len && (bytes.at[i] & 0xc0) == 0x80; i--) --*len;
  text[*len] = 0;
}

static void text_add_hex(char *text, size_t *len, size_t cap, weft_bytes bytes) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < bytes.len; i++) {
    uint8_t pair[2] = {(uint8_t)digits[bytes.at[i] >> 4], (uint8_t)digits[bytes.at[i] & 15]};
    text_add(text, len, cap, weft_bytes_of(pair, sizeof pair));
  }
}

void weft__verify_find(weft_verify *v, const char *what, weft_bytes subject) {
  weft_verify_report *report = v->report;
  size_t len = 0;
  if (WEFT_CANARY(VERIFY_BLIND) || report->bad++ > 0) return;
  text_add(report->first, &len, sizeof report->first, weft_bytes_str(what));
  if (subject.len == 0) return;
  text_add(report->first, &len, sizeof report->first, weft_bytes_str(": "));
  if (weft__utf8_ok(subject)) {
    text_add(report->first, &len, sizeof report->first, subject);
  } else {
    if (subject.len > SUBJECT_ID_LEN) subject.len = SUBJECT_ID_LEN;
    text_add_hex(report->first, &len, sizeof report->first, subject);
  }
}

weft_err weft__verify_soften(weft_verify *v, weft_err err, const char *what, weft_bytes subject) {
  if (err != WEFT_ECORRUPT) return err;
  weft__verify_find(v, what, subject);
  return WEFT_OK;
}

void weft__verify_step(weft_verify *v, uint64_t steps) {
  uint64_t before = v->done;
  v->done += steps;
  if (v->done > v->total) v->total = v->done;
  bool due = v->done / STEPS_PER_CALL != before / STEPS_PER_CALL;
  if (v->progress && due) v->progress(v->ctx, v->done, v->total);
}

/* --- showing again --- */

static weft_err show_step(weft_replica *r, weft_txn *txn, void *arg) {
  weft_show_report *report = arg;
  memset(report, 0, sizeof *report);
  return weft__show_run(r, txn, NULL, 0, report);
}

/* Shows again exactly what the store says is shown. */
static weft_err rebuild(weft_verify *v) {
  weft_replica *r = v->again;
  for (uint32_t i = 0; i < r->log_count; i++)
    r->logs[i]->flow[WEFT_FLOW_READY].at = r->logs[i]->shown;
  weft__image_restart(r, false);
  weft_show_report report;
  weft_err err = WEFT_OK;
  do {
    /* Not weft_replica_show: what was shown before the space was frozen is shown again too. */
    err = weft__write(r, show_step, &report);
    if (err == WEFT_OK) weft__verify_step(v, report.changes);
  } while (err == WEFT_OK && report.changes > 0);
  weft_bytes text = weft_bytes_str(r->error);
  if (err == WEFT_ECORRUPT) return weft__verify_soften(v, err, "showing again failed", text);
  if (err == WEFT_OK && r->now.shown != v->was.shown) {
    weft__verify_find(v, "more is shown than can be", weft_bytes_of(NULL, 0));
  }
  return err;
}

/* --- the second replica --- */

static weft_err again_open(weft_verify *v, weft_replica *r) {
  weft_overlay_options overlay = {.mem = r->mem, .base = v->txn};
  weft_replica_options o;
  weft_store *store;
  for (size_t i = 0; i < WEFT_DERIVED; i++) overlay.own[weft__derived[i]] = true;
  WEFT_TRY(weft__overlay_new(&overlay, &store));
  weft_replica_options_init(&o);
  o.mem = r->mem;
  o.crypto = r->crypto;
  o.platform = r->platform;
  o.identity = &r->identity;
  o.space = r->space;
  o.store = store;
  weft_err err = weft_replica_open(&v->again, &o);
  if (err != WEFT_OK) {
    weft_store_free(store);
    return weft__verify_soften(v, err, "the store cannot be read", weft_bytes_of(NULL, 0));
  }
  v->was = v->again->now;
  return WEFT_OK;
}

static weft_err verify_begin(weft_verify *v, weft_replica *r) {
  if (r->group) return WEFT_EMISUSE;
  WEFT_TRY(weft__read_begin(r, &v->txn));
  weft_err err = again_open(v, r);
  if (err != WEFT_OK || !v->again) return err;
  weft_bytes none = weft_bytes_of(NULL, 0);
  err = weft__roster_load(v->again, v->txn, true);
  WEFT_TRY(weft__verify_soften(v, err, "a membership record is not what was signed", none));
  v->total = v->was.held + 2 * v->was.shown + v->was.docs_live + v->was.docs_deleted;
  return weft__verify_logs(v);
}

static void verify_end(weft_verify *v, weft_replica *r) {
  weft_replica_free(v->again);
  v->again = NULL;
  if (v->txn) weft__read_end(r, v->txn);
  v->txn = NULL;
}

/* Drafts follow from nothing, so a damaged one can only be dropped. */
static weft_err verify_drafts(weft_verify *v) {
  weft_arena arena;
  weft_draft *list;
  size_t count;
  weft__arena_init(&arena, &v->again->mem);
  weft_err err = weft_replica_drafts(v->again, &arena, &list, &count);
  weft__arena_free(&arena);
  return weft__verify_soften(v, err, "a draft is damaged: drop it", weft_bytes_of(NULL, 0));
}

static weft_err verify_run(weft_verify *v, weft_replica *r) {
  WEFT_TRY(verify_begin(v, r));
  if (v->report->bad > 0) return WEFT_OK;
  WEFT_TRY(verify_drafts(v));
  WEFT_TRY(weft__verify_arrival(v));
  WEFT_TRY(weft__verify_order(v));
  WEFT_TRY(rebuild(v));
  if (v->again->now.shown != v->was.shown) return WEFT_OK;
  WEFT_TRY(weft__read_begin(v->again, &v->made));
  weft_err err = weft__verify_state(v);
  weft__read_end(v->again, v->made);
  return err;
}

weft_err weft_replica_verify(weft_replica *r, weft_progress progress, void *ctx,
                             weft_verify_report *report) {
  weft_verify v = {.report = report, .progress = progress, .ctx = ctx};
  memset(report, 0, sizeof *report);
  weft_err err = verify_run(&v, r);
  verify_end(&v, r);
  if (progress) progress(ctx, v.done, v.done);
  return err == WEFT_OK && report->bad > 0 ? WEFT_ECORRUPT : err;
}

/* --- repair --- */

/* Accounts for the arrivals anew, behind the numbers that others may remember: they are offered
 * what they know already, and nothing is kept from them. */
static weft_err arrivals_write(weft_replica *r, weft_txn *txn) {
  weft_key_range all = {{NULL, 0}, {NULL, 0}};
  uint64_t count;
  WEFT_TRY(weft_txn_delete_range(txn, WEFT_TABLE_ARRIVAL, all, &count));
  for (uint32_t i = 0; i < r->log_count; i++) {
    const weft_log *log = r->logs[i];
    r->arrived.span = (weft_log_span){i, log->fork, log->held - log->fork + 1};
    r->arrived.number = r->now.arrival + 1;
    WEFT_TRY(weft__span_put(txn, WEFT_TABLE_ARRIVAL, r->arrived.number, &r->arrived.span));
    r->now.arrival += r->arrived.span.count;
  }
  return WEFT_OK;
}

static weft_err restart_write(weft_replica *r, weft_txn *txn, void *arg) {
  const bool *arrivals = arg;
  if (*arrivals) WEFT_TRY(arrivals_write(r, txn));
  return weft__show_restart(r, txn, false);
}

static weft_err repair_run(weft_verify *v, weft_replica *r, bool arrivals) {
  if (r->dead != WEFT_OK) return r->dead;
  WEFT_TRY(weft__write(r, restart_write, &arrivals));
  weft_show_report report;
  do {
    WEFT_TRY(weft_replica_show(r, 0, &report));
    weft__verify_step(v, report.changes);
  } while (report.more);
  v->report->documents = r->now.docs_live + r->now.docs_deleted;
  return WEFT_OK;
}

/* Proves what repair builds on; `arrivals` tells that they are not accounted for. */
static weft_err repair_begin(weft_verify *v, weft_replica *r, bool *arrivals) {
  WEFT_TRY(verify_begin(v, r));
  if (v->report->bad > 0) return WEFT_ECORRUPT;
  if (weft__roster_frozen(r->roster)) return WEFT_EFROZEN;
  weft_verify_report logs = *v->report;
  WEFT_TRY(weft__verify_arrival(v));
  *arrivals = v->report->bad > 0;
  *v->report = logs;
  return WEFT_OK;
}

weft_err weft_replica_repair(weft_replica *r, weft_progress progress, void *ctx,
                             weft_verify_report *report) {
  weft_verify v = {.report = report, .progress = progress, .ctx = ctx};
  bool arrivals = false;
  memset(report, 0, sizeof *report);
  weft_err err = repair_begin(&v, r, &arrivals);
  verify_end(&v, r);
  if (err == WEFT_OK) err = repair_run(&v, r, arrivals);
  if (progress) progress(ctx, v.done, v.done);
  return err;
}

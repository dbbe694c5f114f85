/* What is held and not seen, for people: changes that wait for others, and changes of a later form.
 *
 * A log waits as a whole: its first change that is not showable stands for those behind it.
 * Happy path: the walk of store/replica_show.c keeps what each log waits for; this lists it.
 * Failure modes: memory; damaged rows of the logs. */
#include "store/replica_internal.h"

static void tell_stuck(const weft_replica *r, const weft_log *log, weft_stuck *out) {
  const weft_log_flow *f = &log->flow[WEFT_FLOW_READY];
  const weft_log *wanted = weft__log_find(r, &f->wait_log);
  *out = (weft_stuck){.log = log->id,
                      .seq = f->at + 1,
                      .wants_log = f->wait_log,
                      .wants_seq = f->wait_seq,
                      .device = log->device,
                      .count = log->held - f->at,
                      .since = log->wait_since,
                      .wants_held = wanted ? weft__log_reach(wanted) : 0,
                      .wants_known = wanted != NULL};
  if (wanted) out->wants_device = wanted->device;
}

weft_err weft_replica_stuck(weft_replica *r, weft_arena *arena, weft_stuck **out, size_t *count) {
  weft_stuck *list = weft__arena_zero(arena, r->log_count, sizeof *list);
  if (!list) return WEFT_ENOMEM;
  size_t n = 0;
  for (uint32_t i = 0; i < r->log_count; i++) {
    if (r->logs[i]->flow[WEFT_FLOW_READY].waiting) tell_stuck(r, r->logs[i], &list[n++]);
  }
  *out = list;
  *count = n;
  return WEFT_OK;
}

static weft_err list_later(weft_replica *r, weft_txn *txn, weft_later *list, size_t *n) {
  for (uint32_t i = 0; i < r->log_count; i++) {
    const weft_log *log = r->logs[i];
    uint64_t count, first;
    if (!log->ctx.opaque) continue;
    WEFT_TRY(weft__log_count_state(r, txn, log, WEFT_CHANGE_UNKNOWN, &count, &first));
    if (count > 0) list[(*n)++] = (weft_later){log->id, log->device, count, first};
  }
  return WEFT_OK;
}

weft_err weft_replica_later(weft_replica *r, weft_arena *arena, weft_later **out, size_t *count) {
  weft_txn *txn;
  *out = NULL;
  *count = 0;
  weft_later *list = weft__arena_zero(arena, r->log_count, sizeof *list);
  if (!list) return WEFT_ENOMEM;
  WEFT_TRY(weft__read_begin(r, &txn));
  size_t n = 0;
  weft_err err = list_later(r, txn, list, &n);
  weft__read_end(r, txn);
  if (err != WEFT_OK) return err;
  *out = list;
  *count = n;
  return WEFT_OK;
}

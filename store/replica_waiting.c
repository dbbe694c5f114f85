/* What is under way, for people: changes that wait for others, changes of a later form, and own
 * changes that are not everywhere yet.
 *
 * A log waits as a whole: its first change that is not showable stands for those behind it.
 * Happy path: the walk of store/replica_show.c keeps what each log waits for; this lists it.
 * Failure modes: memory; damaged rows of the logs. */
#include "crdt/sort.h"
#include "store/query_internal.h"
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

/* --- own changes --- */

static uint64_t own_first(const weft_log *log, const weft_vector *beyond) {
  uint64_t first = weft__vector_seq(beyond, &log->id) + 1;
  if (first < log->fork) first = log->fork;
  return first > 1 ? first : 2; /* 1 is START */
}

static weft_err own_read(weft_replica *r, weft_txn *txn, weft_log *log, uint64_t seq,
                         weft_arena *arena, weft_own_change *out) {
  weft_change change;
  weft_id id;
  WEFT_TRY(weft__log_change(r, txn, log, seq, arena, &change, &id));
  weft__history_of(log, seq, &id, &change, &out->change);
  out->change.ops = change.ops;
  out->change.op_count = change.op_count;
  out->lane = (weft_lane)log->lane;
  out->len = change.raw.len;
  return WEFT_OK;
}

static int own_cmp(const void *ctx, const void *a, const void *b) {
  (void)ctx;
  const weft_history_entry *x = &((const weft_own_change *)a)->change;
  const weft_history_entry *y = &((const weft_own_change *)b)->change;
  if (x->hlc != y->hlc) return x->hlc < y->hlc ? -1 : 1;
  int order = weft_id_cmp(&x->log, &y->log);
  return order ? order : x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* Of each log only its oldest changes can be among those listed. */
static weft_err own_collect(weft_replica *r, weft_txn *txn, weft_arena *arena,
                            const weft_vector *beyond, size_t limit, weft_own_change *all,
                            size_t *count, uint64_t *total) {
  for (uint32_t i = 0; i < r->log_count; i++) {
    weft_log *log = r->logs[i];
    if (weft_id_cmp(&log->device, &r->identity.device) != 0) continue;
    uint64_t first = own_first(log, beyond);
    if (first > log->held) continue;
    uint64_t more = log->held - first + 1;
    *total += more;
    for (uint64_t k = 0; k < more && k < limit; k++) {
      WEFT_TRY(own_read(r, txn, log, first + k, arena, &all[(*count)++]));
    }
  }
  return WEFT_OK;
}

static size_t own_room(const weft_replica *r, const weft_vector *beyond, size_t limit) {
  size_t room = 0;
  for (uint32_t i = 0; i < r->log_count; i++) {
    const weft_log *log = r->logs[i];
    uint64_t first = own_first(log, beyond);
    bool own = weft_id_cmp(&log->device, &r->identity.device) == 0;
    if (!own || first > log->held) continue;
    room += log->held - first < limit ? (size_t)(log->held - first + 1) : limit;
  }
  return room;
}

weft_err weft_replica_own(weft_replica *r, weft_arena *arena, const weft_vector *beyond,
                          size_t limit, weft_own_change **out, size_t *count, uint64_t *total) {
  weft_txn *txn;
  size_t found = 0;
  *out = NULL;
  *count = 0;
  *total = 0;
  if (limit == 0 || limit > WEFT_LIST_LIMIT_MAX) return WEFT_ELIMIT;
  size_t room = own_room(r, beyond, limit);
  weft_own_change *all = weft__arena_zero(arena, room, sizeof *all);
  const void **list = weft__arena_zero(arena, room, 2 * sizeof *list);
  if (!all || !list) return WEFT_ENOMEM;
  WEFT_TRY(weft__read_begin(r, &txn));
  weft_err err = own_collect(r, txn, arena, beyond, limit, all, &found, total);
  weft__read_end(r, txn);
  if (err != WEFT_OK) return err;
  for (size_t i = 0; i < found; i++) list[i] = &all[i];
  weft__sort(list, list + room, found, own_cmp, NULL);
  if (found > limit) found = limit;
  weft_own_change *sorted = weft__arena_zero(arena, found, sizeof *sorted);
  if (!sorted) return WEFT_ENOMEM;
  for (size_t i = 0; i < found; i++) sorted[i] = *(const weft_own_change *)list[i];
  *out = sorted;
  *count = found;
  return WEFT_OK;
}

/* Audit: every change of every log, proven as it is read.
 *
 * A run goes from where the place stands to the next signature.  Its ids are computed again from
 * the id before it and the canonical bytes, compared with those that were kept, and the signature
 * is checked over the last one: this proves the whole run. Failure modes: a change that cannot be
 * read is WEFT_ECORRUPT; one that does not fit is told as not proven. */
#include <string.h>

#include "crdt/limits.h"
#include "store/history_internal.h"
#include "store/outcome.h"

typedef struct audit_job {
  weft_replica *r;
  weft_txn *txn;
  weft_arena *out;
  weft_audit_entry *entries;
  size_t count, cap;
} audit_job;

static weft_err entry_read(audit_job *job, weft_log *log, uint64_t seq) {
  weft_log_item item;
  weft_change change;
  weft_id id;
  void *at = job->entries;
  WEFT_TRY(
      weft__arena_grow(job->out, &at, job->count, &job->cap, job->count + 1, sizeof *job->entries));
  job->entries = at;
  weft_audit_entry *e = &job->entries[job->count];
  memset(e, 0, sizeof *e);
  WEFT_TRY(weft__log_read(job->r, job->txn, log, seq, job->out, &item));
  WEFT_TRY(weft__log_change(job->r, job->txn, log, seq, job->out, &change, &id));
  weft__history_of(log, seq, &item.id, &change, &e->change);
  e->change.ops = change.ops;
  e->change.op_count = change.op_count;
  e->kind = change.kind;
  e->state = change.state;
  e->start = change.start;
  e->raw = item.raw;
  e->shown = seq <= log->shown;
  e->is_signed = item.is_signed;
  e->sig = item.sig;
  job->count++;
  return WEFT_OK;
}

/* Checks chain and signature over what was read. */
static weft_err run_prove(audit_job *job, const weft_log *log, uint64_t first) {
  weft_id prev;
  const weft_audit_entry *last = &job->entries[job->count - 1];
  WEFT_TRY(weft__log_id_at(job->r, job->txn, log, first - 1, &prev));
  bool ok = last->is_signed;
  for (size_t i = 0; i < job->count; i++) {
    weft_id id;
    weft__change_id(job->r->crypto, &job->r->space, &prev, job->entries[i].raw, &id);
    ok = ok && weft_id_cmp(&id, &job->entries[i].change.change) == 0;
    prev = id;
  }
  ok = ok && weft__change_sig_ok(job->r->crypto, &log->device, &job->r->space, &log->id,
                                 last->change.seq, &prev, &last->sig);
  for (size_t i = 0; i < job->count; i++) {
    job->entries[i].proven = ok;
    job->entries[i].signed_seq = last->change.seq;
  }
  return WEFT_OK;
}

static weft_err audit_run(audit_job *job, weft_audit_place *place) {
  const weft_replica *r = job->r;
  while (place->log < r->log_count && r->logs[place->log]->held == place->seq) {
    place->log++;
    place->seq = place->log < r->log_count ? r->logs[place->log]->fork - 1 : 0;
  }
  if (place->log >= r->log_count) return WEFT_OK;
  weft_log *log = r->logs[place->log];
  uint64_t first = place->seq + 1;
  for (uint64_t seq = first; seq <= log->held; seq++) {
    WEFT_TRY(entry_read(job, log, seq));
    place->seq = seq;
    if (job->entries[job->count - 1].is_signed) break;
  }
  return run_prove(job, log, first);
}

weft_err weft_replica_audit(weft_replica *r, weft_arena *arena, weft_audit_place *place,
                            weft_audit_entry **out, size_t *count) {
  audit_job job = {.r = r, .out = arena};
  *out = NULL;
  *count = 0;
  WEFT_TRY(weft__read_begin(r, &job.txn));
  weft_err err = audit_run(&job, place);
  weft__read_end(r, job.txn);
  WEFT_TRY(weft__promised(err));
  *out = job.entries;
  *count = job.count;
  return WEFT_OK;
}

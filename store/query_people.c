/* Who wrote to a document: its history, summed up by device.
 *
 * Nothing is kept for it; the history of the document is walked, which reads no change.
 * Failure modes: a damaged entry is WEFT_ECORRUPT. */
#include <string.h>

#include "crdt/sort.h"
#include "store/history_internal.h"

typedef struct people_job {
  weft_replica *r;
  weft_contributor *by_log;
  bool damaged;
} people_job;

static void people_note(void *ctx, const weft_hist_entry *hist) {
  people_job *job = ctx;
  if (hist->dot.log >= job->r->log_count) {
    job->damaged = true;
    return;
  }
  weft_contributor *c = &job->by_log[hist->dot.log];
  if (c->changes == 0 || hist->hlc < c->first_hlc) c->first_hlc = hist->hlc;
  if (hist->hlc > c->last_hlc) c->last_hlc = hist->hlc;
  c->changes++;
}

/* Takes the logs of one device together; `list` stands at the front of `by_log`. */
static size_t people_join(const people_job *job) {
  weft_contributor *list = job->by_log;
  size_t count = 0;
  for (uint32_t i = 0; i < job->r->log_count; i++) {
    weft_contributor c = job->by_log[i];
    size_t at = 0;
    if (c.changes == 0) continue;
    c.device = job->r->logs[i]->device;
    while (at < count && weft_id_cmp(&list[at].device, &c.device) != 0) at++;
    if (at == count) {
      list[count++] = c;
      continue;
    }
    list[at].changes += c.changes;
    if (c.first_hlc < list[at].first_hlc) list[at].first_hlc = c.first_hlc;
    if (c.last_hlc > list[at].last_hlc) list[at].last_hlc = c.last_hlc;
  }
  return count;
}

weft_err weft__contributors(weft_replica *r, weft_txn *txn, const weft_doc_record *record,
                            weft_arena *arena, weft_contributor **out, size_t *count) {
  people_job job = {r, weft__arena_zero(arena, r->log_count, sizeof *job.by_log), false};
  if (!job.by_log) return WEFT_ENOMEM;
  WEFT_TRY(weft__hist_walk(txn, record, people_note, &job));
  if (job.damaged) return WEFT_ECORRUPT;
  *count = people_join(&job);
  *out = job.by_log;
  return WEFT_OK;
}

/* The busiest first, then by device. */
static int busiest(const void *ctx, const void *a, const void *b) {
  (void)ctx;
  const weft_contributor *x = a, *y = b;
  if (x->changes != y->changes) return x->changes > y->changes ? -1 : 1;
  return weft_id_cmp(&x->device, &y->device);
}

static weft_err people_of(weft_replica *r, weft_txn *txn, weft_bytes doc, weft_arena *arena,
                          weft_contributor **out, size_t *count) {
  weft_doc_record record;
  weft_contributor *list;
  WEFT_TRY(weft__doc_record_find(r, txn, doc, arena, &record));
  WEFT_TRY(weft__contributors(r, txn, &record, arena, &list, count));
  const void **order = weft__arena_zero(arena, *count, sizeof *order);
  const void **scratch = weft__arena_zero(arena, *count, sizeof *scratch);
  weft_contributor *sorted = weft__arena_zero(arena, *count, sizeof *sorted);
  if (!order || !scratch || !sorted) return WEFT_ENOMEM;
  for (size_t i = 0; i < *count; i++) order[i] = &list[i];
  weft__sort(order, scratch, *count, busiest, NULL);
  for (size_t i = 0; i < *count; i++) sorted[i] = *(const weft_contributor *)order[i];
  *out = sorted;
  return WEFT_OK;
}

weft_err weft_replica_contributors(weft_replica *r, weft_arena *arena, weft_bytes doc,
                                   weft_contributor **out, size_t *count) {
  weft_txn *txn;
  *out = NULL;
  *count = 0;
  WEFT_TRY(weft_document_name_check(doc));
  WEFT_TRY(weft__read_begin(r, &txn));
  weft_err err = people_of(r, txn, doc, arena, out, count);
  weft__read_end(r, txn);
  if (err != WEFT_OK) *count = 0;
  return err;
}

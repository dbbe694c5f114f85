/* The past: documents as they stood at a base, and the bases that a change or a moment means.
 *
 * The base of a change is what it had seen: itself, everything before it in its log, and the same
 * of everything these claimed.  It is worked out by following claims until nothing new comes, each
 * change being read once.  The base of a moment is, for each log, what its author's clock had
 * written by then; clocks may be wrong, so such a base need not hold what its changes claim.
 * Failure modes: damaged logs are WEFT_ECORRUPT. */
#include <string.h>

#include "crdt/hlc.h"
#include "store/outcome.h"
#include "store/query_internal.h"

weft_err weft_replica_get_at(weft_replica *r, weft_arena *arena, weft_bytes doc, weft_bytes pointer,
                             const weft_vector *base, weft_value *out) {
  weft_txn *txn;
  weft_arena scratch;
  weft_doc_record record;
  weft_base seqs;
  weft_doc *then = NULL;
  WEFT_TRY(weft_document_name_check(doc));
  WEFT_TRY(weft__read_begin(r, &txn));
  weft__arena_init(&scratch, &r->mem);
  weft_err err = weft__base_of_vector(r, txn, base, &scratch, &seqs);
  if (err == WEFT_OK) err = weft__doc_record_find(r, txn, doc, &scratch, &record);
  if (err == WEFT_OK) err = weft__doc_at(r, txn, record.number, &seqs, &then);
  weft__read_end(r, txn);
  if (err == WEFT_OK) err = weft__doc_render_pointer(then, pointer, arena, out);
  weft__doc_free(then);
  weft__arena_free(&scratch);
  return err;
}

/* --- bases --- */

/* What of each log is in the base, and how far it has been read. */
typedef struct past {
  uint64_t *seqs;
  uint64_t *read;
  uint32_t *work; /* logs that have more to read, a stack; each at most once */
  size_t work_count;
  bool *waiting;
} past;

/* Takes a change in, and with it what its branch left. */
static void past_raise(const weft_replica *r, past *p, uint32_t log, uint64_t seq) {
  while (seq > p->seqs[log]) {
    p->seqs[log] = seq;
    if (!p->waiting[log]) p->work[p->work_count++] = log;
    p->waiting[log] = true;
    if (r->logs[log]->parent == WEFT_LOG_NONE) return;
    seq = r->logs[log]->fork - 1;
    log = r->logs[log]->parent;
  }
}

static weft_err past_follow(weft_replica *r, weft_txn *txn, past *p, weft_arena *arena) {
  while (p->work_count > 0) {
    uint32_t number = p->work[--p->work_count];
    weft_log *log = weft__log_of(r, number);
    p->waiting[number] = false;
    while (p->read[number] < p->seqs[number]) {
      weft_change change;
      weft__arena_reset(arena);
      WEFT_TRY(weft__log_claims(r, txn, log, ++p->read[number], arena, &change));
      for (size_t i = 0; i < change.claim_count; i++) {
        weft_dot dot;
        weft_err err =
            weft__claim_dot(r, txn, log, p->read[number], &change.claims[i], false, &dot);
        WEFT_TRY(weft__promised(err));
        past_raise(r, p, dot.log, dot.seq);
      }
    }
  }
  return WEFT_OK;
}

static weft_err past_of_change(weft_replica *r, weft_txn *txn, const weft_id *change,
                               weft_arena *arena, weft_vector *out) {
  weft_log *log;
  uint64_t seq;
  past p = {0};
  weft_arena one;
  WEFT_TRY(weft__change_find(r, txn, weft_bytes_of(change->b, sizeof change->b), &log, &seq));
  if (seq > log->shown) return WEFT_EBASE;
  p.seqs = weft__arena_zero(arena, r->log_count, sizeof *p.seqs);
  p.read = weft__arena_zero(arena, r->log_count, sizeof *p.read);
  p.work = weft__arena_zero(arena, r->log_count, sizeof *p.work);
  p.waiting = weft__arena_zero(arena, r->log_count, sizeof *p.waiting);
  if (!p.seqs || !p.read || !p.work || !p.waiting) return WEFT_ENOMEM;
  weft__seqs_none(r, p.seqs);
  weft__seqs_none(r, p.read);
  past_raise(r, &p, log->number, seq);
  weft__arena_init(&one, &r->mem);
  weft_err err = past_follow(r, txn, &p, &one);
  weft__arena_free(&one);
  return err == WEFT_OK ? weft__vector_of_seqs(r, txn, p.seqs, out) : err;
}

weft_err weft_replica_vector_at_change(weft_replica *r, const weft_id *change, weft_vector *out) {
  weft_txn *txn;
  weft_arena arena;
  WEFT_TRY(weft__read_begin(r, &txn));
  weft__arena_init(&arena, &r->mem);
  weft_err err = past_of_change(r, txn, change, &arena, out);
  weft__arena_free(&arena);
  weft__read_end(r, txn);
  if (err != WEFT_OK) weft__vector_clear(out);
  return err;
}

static weft_err past_of_time(weft_replica *r, weft_txn *txn, weft_ms wall, weft_arena *arena,
                             weft_vector *out) {
  uint64_t *seqs = weft__arena_zero(arena, r->log_count, sizeof *seqs);
  uint64_t last = wall <= WEFT_HLC_MS_MAX ? weft_hlc_join(wall, UINT16_MAX) : UINT64_MAX;
  if (!seqs) return WEFT_ENOMEM;
  for (uint32_t i = 0; i < r->log_count; i++) {
    WEFT_TRY(weft__log_before(r, txn, r->logs[i], last, &seqs[i]));
  }
  return weft__vector_of_seqs(r, txn, seqs, out);
}

weft_err weft_replica_vector_at_time(weft_replica *r, weft_ms wall, weft_vector *out) {
  weft_txn *txn;
  weft_arena arena;
  WEFT_TRY(weft__read_begin(r, &txn));
  weft__arena_init(&arena, &r->mem);
  weft_err err = past_of_time(r, txn, wall, &arena, out);
  weft__arena_free(&arena);
  weft__read_end(r, txn);
  if (err != WEFT_OK) weft__vector_clear(out);
  return err;
}

/* What committing an edit would come to, without doing it.
 *
 * Each document that the edit writes to is loaded as it is shown, copied, and shown the ops as a
 * change with the claims that the commit would make, in the name of a log that nobody has.  The
 * questions that the join asks about that log are answered here, all others by the replica.  So the
 * forecast is the commit's own arithmetic, and holds until something else is shown.
 * Failure modes: damaged records, segments and logs are WEFT_ECORRUPT. */
#include <string.h>

#include "store/history.h"
#include "store/outcome.h"
#include "store/query_internal.h"

/* The log of a change that is not made: greater than any that there can be. */
enum { PLANNED_LOG = 0x7fffffff };

/* What the lineage of the copied documents answers from. */
typedef struct planned {
  weft_replica *r;
  weft_dot head; /* what the change follows in its log; log UINT32_MAX: nothing */
} planned;

static bool precedes(const void *ctx, weft_dot a, weft_dot b) {
  const planned *p = ctx;
  if (a.log == PLANNED_LOG) return b.log == PLANNED_LOG;
  if (b.log != PLANNED_LOG) return weft__dot_precedes(p->r, a, b);
  return p->head.log != UINT32_MAX && weft__dot_precedes(p->r, a, p->head);
}

static int rank(const void *ctx, weft_dot a, weft_dot b) {
  const planned *p = ctx;
  if (a.log == PLANNED_LOG || b.log == PLANNED_LOG) {
    return (a.log == PLANNED_LOG) - (b.log == PLANNED_LOG);
  }
  return weft__dot_rank(p->r, a, b);
}

typedef struct forecast_job {
  weft_edit *e;
  weft_arena *out_arena;
  weft_arena arena;
  weft_edit_state state;
  planned planned;
  weft_lineage lineage;
  weft_history_entry change;
  weft_dot_list claims;
  weft_foresight foresight;
  weft_forecast_doc *docs;
  weft_forecast *out;
  size_t conflict_cap;
} forecast_job;

/* Loads what is shown of a document; nothing: an empty one. */
static weft_err load_now(forecast_job *job, weft_bytes name, weft_doc **out) {
  weft_replica *r = job->planned.r;
  weft_txn *txn = job->foresight.txn;
  weft_doc_record record;
  weft_err err = weft__doc_record_find(r, txn, name, &job->arena, &record);
  if (err == WEFT_ENOTFOUND) return weft__doc_new(out, &r->mem, &r->lineage);
  return err == WEFT_OK ? weft__doc_load(r, txn, record.number, out) : err;
}

static weft_err show_ops(const forecast_job *job, const weft_edit_doc *part, weft_doc *then) {
  weft_shown shown = {job->foresight.dot, job->change.hlc, job->claims.at, job->claims.count};
  for (size_t i = 0; i < part->op_count; i++) {
    WEFT_TRY(weft__doc_show(then, &shown, &part->ops[i]));
  }
  return WEFT_OK;
}

static weft_err conflicts_add(forecast_job *job, weft_bytes name) {
  weft_conflict_entry *list;
  size_t count;
  weft_forecast *out = job->out;
  void *at = out->conflicts;
  WEFT_TRY(weft__conflicts_foresee(&job->foresight, name, job->out_arena, &list, &count));
  WEFT_TRY(weft__arena_grow(job->out_arena, &at, out->conflict_count, &job->conflict_cap,
                            out->conflict_count + count, sizeof *out->conflicts));
  out->conflicts = at;
  for (size_t i = 0; i < count; i++) out->conflicts[out->conflict_count++] = list[i];
  return WEFT_OK;
}

static weft_err doc_tell(forecast_job *job, const weft_edit_doc *part, const weft_doc *now,
                         weft_doc *then) {
  weft_forecast_doc *told = &job->docs[job->out->doc_count++];
  WEFT_TRY(weft__doc_copy(then, now));
  WEFT_TRY(show_ops(job, part, then));
  WEFT_TRY(weft__arena_copy(job->out_arena, part->name, &told->name));
  weft_err err = weft__doc_render(then, weft_bytes_of(NULL, 0), job->out_arena, &told->value);
  told->live = err == WEFT_OK;
  if (err != WEFT_OK && err != WEFT_ENOTFOUND) return weft__was_whole(err);
  job->foresight.now = now;
  job->foresight.then = then;
  return conflicts_add(job, told->name);
}

static weft_err doc_forecast(forecast_job *job, const weft_edit_doc *part) {
  weft_doc *now = NULL, *then = NULL;
  weft_err err = load_now(job, part->name, &now);
  if (err == WEFT_OK) err = weft__doc_new(&then, &job->planned.r->mem, &job->lineage);
  if (err == WEFT_OK) err = doc_tell(job, part, now, then);
  weft__doc_free(then);
  weft__doc_free(now);
  return err;
}

/* What a refusal is, and not a failure to find out. */
static bool is_refusal(weft_err err) {
  return err == WEFT_ESTALE || err == WEFT_ECONFLICT || err == WEFT_EDENIED || err == WEFT_EFROZEN;
}

static weft_err forecast(forecast_job *job) {
  weft_replica *r = job->planned.r;
  WEFT_TRY(weft__edit_state_of(job->e, &job->arena, &job->state));
  WEFT_TRY(weft__edit_claims(job->e, &job->arena, &job->claims, &job->planned.head));
  job->lineage = (weft_lineage){&job->planned, precedes, rank};
  job->change.hlc = weft_replica_clock(r) + 1;
  job->change.device = r->identity.device;
  WEFT_TRY(weft__arena_copy(job->out_arena, job->state.message, &job->change.message));
  job->foresight.dot = (weft_dot){PLANNED_LOG, 1};
  job->foresight.change = &job->change;
  job->docs = weft__arena_zero(job->out_arena, job->state.doc_count, sizeof *job->docs);
  if (!job->docs) return WEFT_ENOMEM;
  job->out->docs = job->docs;
  weft_err err = weft__edit_judge(job->e, job->foresight.txn, &job->arena);
  if (err != WEFT_OK && !is_refusal(err)) return err;
  job->out->refusal = err;
  for (size_t i = 0; i < job->state.doc_count; i++) {
    if (job->state.docs[i].op_count == 0) continue;
    WEFT_TRY(doc_forecast(job, &job->state.docs[i]));
  }
  return WEFT_OK;
}

weft_err weft_edit_forecast(weft_edit *e, weft_arena *arena, weft_forecast *out) {
  weft_replica *r = weft__edit_replica(e);
  forecast_job job = {.e = e, .out_arena = arena, .out = out};
  memset(out, 0, sizeof *out);
  job.planned.r = job.foresight.r = r;
  WEFT_TRY(weft__read_begin(r, &job.foresight.txn));
  weft__arena_init(&job.arena, &r->mem);
  weft_err err = forecast(&job);
  weft__arena_free(&job.arena);
  weft__read_end(r, job.foresight.txn);
  if (err != WEFT_OK) memset(out, 0, sizeof *out);
  return err;
}

weft_err weft_edit_preview(weft_edit *e, weft_arena *arena, weft_bytes doc, weft_value *out) {
  weft_writer *w;
  WEFT_TRY(weft__edit_writer(e, doc, &w));
  const weft_doc *shown = weft__writer_doc(w);
  if (!shown) return WEFT_ENOMEM;
  weft_err err = weft__doc_render(shown, weft_bytes_of(NULL, 0), arena, out);
  return weft__was_whole(err);
}

/* History: the shown changes, newest first by (hlc, log id, seq, branch), and changes by id.
 *
 * Of one document its history is walked, and a heap keeps the newest of them, one more
 * than the page holds.  Of the whole space the logs are walked from their ends and merged: within a
 * log clocks only grow, so each log stands at its next change or at a bound for its clock, and is
 * read when it comes to the top.  Only DATA changes that are valid are history.
 *
 * A cursor holds (hlc, log id, seq, id) of the last entry and a hash of the question.
 * Changes are found by id without an index: ids are recomputed from the logs, newest first.
 * Failure modes: damaged logs and entries are WEFT_ECORRUPT. */
#include <string.h>

#include "crdt/hlc.h"
#include "crdt/limits.h"
#include "crdt/sort.h"
#include "store/outcome.h"
#include "store/query_internal.h"

enum { ID_PREFIX_LEN_MIN = 4 };

/* A change in the order of history. */
typedef struct stamp {
  uint64_t hlc;
  weft_id log;
  uint64_t seq;
  uint32_t number; /* of the branch */
} stamp;

typedef struct history_job {
  weft_replica *r;
  weft_txn *txn;
  const weft_history_query *q;
  weft_arena *out_arena;
  weft_arena arena;   /* of the job */
  weft_arena scratch; /* of one change */
  size_t limit;
  uint64_t hash;
  bool resumed;
  stamp mark;
  weft_id mark_id;  /* tells its branch */
  uint64_t hlc_min; /* inclusive */
  uint64_t hlc_max;
  weft_path path; /* of the pointer */
  weft_history_entry *entries;
  size_t count;
  size_t cap;
  bool more;
} history_job;

void weft_history_query_init_sized(weft_history_query *q, size_t struct_size) {
  memset(q, 0, struct_size);
  q->struct_size = struct_size;
  q->until = WEFT_NEVER;
}

static int stamp_cmp(const weft_replica *r, const stamp *a, const stamp *b) {
  if (a->hlc != b->hlc) return a->hlc < b->hlc ? -1 : 1;
  int order = weft_id_cmp(&a->log, &b->log);
  if (order != 0) return order;
  if (a->seq != b->seq) return a->seq < b->seq ? -1 : 1;
  return weft__branch_cmp(r, a->number, b->number);
}

/* --- the question --- */

static weft_err question_hash(history_job *job) {
  const weft_history_query *q = job->q;
  weft_buf b;
  weft__buf_init(&b, &job->r->mem, SIZE_MAX);
  weft__buf_block(&b, q->doc);
  weft__buf_u8(&b, q->has_pointer);
  if (q->has_pointer) weft__buf_block(&b, q->pointer);
  weft__buf_u8(&b, q->device != NULL);
  if (q->device) weft__buf_put_raw(&b, q->device->b, sizeof q->device->b);
  weft__buf_u64(&b, q->since);
  weft__buf_u64(&b, q->until);
  weft_err err = weft__buf_err(&b);
  if (err == WEFT_OK) job->hash = weft__mark_hash(job->r, weft__buf_view(&b));
  weft__buf_free(&b);
  return err;
}

static weft_err question_read(history_job *job) {
  const weft_history_query *q = job->q;
  weft_rd rd;
  job->limit = q->limit > 0 ? q->limit : WEFT_LIST_LIMIT_DEFAULT;
  if (job->limit > WEFT_LIST_LIMIT_MAX) return WEFT_ELIMIT;
  if (q->has_pointer && q->doc.len == 0) return WEFT_EMISUSE;
  if (q->doc.len > 0) WEFT_TRY(weft_document_name_check(q->doc));
  job->hlc_min = q->since > WEFT_HLC_MS_MAX ? UINT64_MAX : weft_hlc_join(q->since, 0);
  job->hlc_max = q->until > WEFT_HLC_MS_MAX ? UINT64_MAX : weft_hlc_join(q->until, UINT16_MAX);
  WEFT_TRY(question_hash(job));
  if (q->cursor.len == 0) return WEFT_OK;
  WEFT_TRY(weft__mark_read(&job->arena, q->cursor, job->hash, &rd));
  job->mark.hlc = weft__rd_u64(&rd);
  job->mark.log = weft__rd_id(&rd);
  job->mark.seq = weft__rd_u64(&rd);
  job->mark_id = weft__rd_id(&rd);
  job->resumed = true;
  return weft__rd_done(&rd) && job->mark.hlc > 0 ? WEFT_OK : WEFT_EMALFORMED;
}

/* Makes the typed path of a pointer as the document shows it now.  What is not there any more is
 * taken for keys. */
static weft_err pointer_path(history_job *job, const weft_doc *doc) {
  weft_bytes *tokens;
  size_t count, depth;
  bool append;
  WEFT_TRY(weft_pointer_split(&job->arena, job->q->pointer, &tokens, &count));
  weft_err err = weft__doc_resolve(doc, &job->arena, tokens, count, &job->path, &append, &depth);
  if (err != WEFT_EBADPATH || depth == count) return err;
  WEFT_TRY(weft__doc_resolve(doc, &job->arena, tokens, depth, &job->path, &append, &depth));
  weft_buf b;
  weft__buf_init(&b, &job->r->mem, SIZE_MAX);
  weft__buf_put(&b, job->path);
  for (size_t i = depth; i < count; i++) weft_path_push(&b, (weft_step){false, tokens[i]});
  err = weft__buf_err(&b);
  if (err == WEFT_OK) err = weft__arena_copy(&job->arena, weft__buf_view(&b), &job->path);
  weft__buf_free(&b);
  return err;
}

static bool wants_device(const history_job *job, const weft_log *log) {
  return !job->q->device || weft_id_cmp(job->q->device, &log->device) == 0;
}

static bool op_wanted(const history_job *job, const weft_op *op) {
  if (job->q->doc.len == 0) return true;
  if (weft_bytes_cmp(op->doc, job->q->doc) != 0) return false;
  if (!job->q->has_pointer) return true;
  return weft_bytes_cmp(op->path, job->path) == 0 || weft_path_under(op->path, job->path) ||
         weft_path_under(job->path, op->path);
}

/* --- entries --- */

void weft__history_of(const weft_log *log, uint64_t seq, const weft_id *id,
                      const weft_change *change, weft_history_entry *out) {
  memset(out, 0, sizeof *out);
  out->change = *id;
  out->log = log->id;
  out->seq = seq;
  out->device = log->device;
  if (change->state != WEFT_CHANGE_VALID) return;
  out->hlc = change->hlc;
  out->message = change->message;
  out->extensions = change->extensions;
}

weft_err weft__history_at(weft_replica *r, weft_txn *txn, weft_dot dot, weft_arena *out,
                          weft_history_entry *entry) {
  weft_change change;
  weft_id id;
  weft_arena scratch;
  if (dot.log >= r->log_count) return WEFT_ECORRUPT;
  weft_log *log = weft__log_of(r, dot.log);
  weft__arena_init(&scratch, &r->mem);
  weft_err err = weft__log_change(r, txn, log, dot.seq, &scratch, &change, &id);
  if (err == WEFT_OK) {
    weft__history_of(log, dot.seq, &id, &change, entry);
    err = weft__arena_copy(out, entry->message, &entry->message);
  }
  if (err == WEFT_OK) err = weft__arena_copy(out, entry->extensions, &entry->extensions);
  weft__arena_free(&scratch);
  return weft__promised(err);
}

static weft_err op_copy(weft_arena *arena, const weft_op *from, weft_op *to) {
  *to = *from;
  WEFT_TRY(weft__arena_copy(arena, from->doc, &to->doc));
  WEFT_TRY(weft__arena_copy(arena, from->path, &to->path));
  WEFT_TRY(weft__arena_copy(arena, from->value, &to->value));
  return weft__arena_copy(arena, from->position, &to->position);
}

/* Copies what is wanted of a change; a change over many documents is long. */
static weft_err entry_copy(const history_job *job, const weft_change *change,
                           weft_history_entry *out) {
  size_t count = 0;
  for (size_t i = 0; i < change->op_count; i++) count += op_wanted(job, &change->ops[i]);
  weft_op *ops = weft__arena_zero(job->out_arena, count, sizeof *ops);
  if (!ops) return WEFT_ENOMEM;
  for (size_t i = 0; i < change->op_count; i++) {
    if (!op_wanted(job, &change->ops[i])) continue;
    WEFT_TRY(op_copy(job->out_arena, &change->ops[i], &ops[out->op_count++]));
  }
  out->ops = ops;
  WEFT_TRY(weft__arena_copy(job->out_arena, change->message, &out->message));
  return weft__arena_copy(job->out_arena, change->extensions, &out->extensions);
}

/* Adds the change of a stamp to the page. */
static weft_err entry_add(history_job *job, const stamp *s) {
  weft_change change;
  weft_id id;
  void *at = job->entries;
  weft_log *log = weft__log_of(job->r, s->number);
  WEFT_TRY(weft__arena_grow(job->out_arena, &at, job->count, &job->cap, job->count + 1,
                            sizeof *job->entries));
  job->entries = at;
  weft_history_entry *out = &job->entries[job->count];
  weft__arena_reset(&job->scratch);
  WEFT_TRY(weft__log_change(job->r, job->txn, log, s->seq, &job->scratch, &change, &id));
  weft__history_of(log, s->seq, &id, &change, out);
  WEFT_TRY(entry_copy(job, &change, out));
  job->count++;
  return WEFT_OK;
}

/* --- one document --- */

/* The newest entries met so far; the oldest of them on top. */
typedef struct newest {
  const weft_replica *r;
  stamp *at;
  size_t count;
} newest;

static void newest_swap(newest *n, size_t a, size_t b) {
  stamp s = n->at[a];
  n->at[a] = n->at[b];
  n->at[b] = s;
}

static void newest_add(newest *n, const stamp *s) {
  size_t at = n->count++;
  n->at[at] = *s;
  while (at > 0 && stamp_cmp(n->r, &n->at[at], &n->at[(at - 1) / 2]) < 0) {
    newest_swap(n, at, (at - 1) / 2);
    at = (at - 1) / 2;
  }
}

/* Takes the oldest away. */
static stamp newest_take(newest *n) {
  stamp top = n->at[0];
  n->at[0] = n->at[--n->count];
  size_t at = 0;
  for (;;) {
    size_t first = at;
    for (size_t below = 2 * at + 1; below <= 2 * at + 2 && below < n->count; below++) {
      if (stamp_cmp(n->r, &n->at[below], &n->at[first]) < 0) first = below;
    }
    if (first == at) return top;
    newest_swap(n, at, first);
    at = first;
  }
}

/* Whether the change says something about the path asked for. */
static weft_err speaks_of(history_job *job, const stamp *s, bool *speaks) {
  weft_change change;
  *speaks = true;
  if (!job->q->has_pointer) return WEFT_OK;
  *speaks = false;
  weft__arena_reset(&job->scratch);
  WEFT_TRY(weft__log_change(job->r, job->txn, weft__log_of(job->r, s->number), s->seq,
                            &job->scratch, &change, NULL));
  for (size_t i = 0; i < change.op_count && !*speaks; i++) *speaks = op_wanted(job, &change.ops[i]);
  return WEFT_OK;
}

static weft_err doc_consider(history_job *job, newest *n, const weft_hist_entry *hist) {
  bool speaks;
  uint64_t hlc = hist->hlc;
  if (hist->dot.log >= job->r->log_count) return WEFT_ECORRUPT;
  const weft_log *log = weft__log_of(job->r, hist->dot.log);
  stamp s = {hlc, log->id, hist->dot.seq, log->number};
  if (hlc < job->hlc_min || hlc > job->hlc_max || !wants_device(job, log)) return WEFT_OK;
  if (job->resumed && stamp_cmp(job->r, &s, &job->mark) >= 0) return WEFT_OK;
  if (n->count > job->limit && stamp_cmp(job->r, &s, &n->at[0]) < 0) return WEFT_OK;
  WEFT_TRY(speaks_of(job, &s, &speaks));
  if (!speaks) return WEFT_OK;
  if (n->count > job->limit) newest_take(n);
  newest_add(n, &s);
  return WEFT_OK;
}

static weft_err doc_walk(history_job *job, const weft_doc_record *record, newest *n) {
  weft_hist_reader reader;
  weft_hist_entry hist;
  WEFT_TRY(weft__hist_begin(job->txn, record, &reader));
  weft_err err = weft__hist_next(&reader, &hist);
  while (err == WEFT_OK) {
    err = doc_consider(job, n, &hist);
    if (err == WEFT_OK) err = weft__hist_next(&reader, &hist);
  }
  weft__hist_end(&reader);
  return weft__walked(err);
}

static weft_err history_of_doc(history_job *job) {
  weft_doc_record record;
  newest n = {.r = job->r};
  WEFT_TRY(weft__doc_record_find(job->r, job->txn, job->q->doc, &job->arena, &record));
  if (job->q->has_pointer) {
    weft_doc *doc;
    WEFT_TRY(weft__doc_load(job->r, job->txn, record.number, &doc));
    weft_err err = pointer_path(job, doc);
    weft__doc_free(doc);
    if (err != WEFT_OK) return err;
  }
  n.at = weft__arena_zero(&job->arena, job->limit + 1, sizeof *n.at);
  if (!n.at) return WEFT_ENOMEM;
  WEFT_TRY(doc_walk(job, &record, &n));
  job->more = n.count > job->limit;
  if (job->more) newest_take(&n);
  stamp *list = weft__arena_zero(&job->arena, n.count, sizeof *list);
  if (!list) return WEFT_ENOMEM;
  size_t count = n.count;
  for (size_t i = count; i > 0; i--) list[i - 1] = newest_take(&n);
  for (size_t i = 0; i < count; i++) WEFT_TRY(entry_add(job, &list[i]));
  return WEFT_OK;
}

/* --- the whole space --- */

/* The clock of the change at or before `seq`, but after `after`, that says one; 0: none does. */
static weft_err clock_near(weft_replica *r, weft_txn *txn, weft_log *log, uint64_t seq,
                           uint64_t after, weft_arena *scratch, uint64_t *hlc) {
  *hlc = 0;
  for (; seq > after; seq--) {
    weft_change change;
    weft__arena_reset(scratch);
    WEFT_TRY(weft__log_change(r, txn, log, seq, scratch, &change, NULL));
    if (change.state != WEFT_CHANGE_VALID) continue;
    *hlc = change.hlc;
    return WEFT_OK;
  }
  return WEFT_OK;
}

weft_err weft__log_before(weft_replica *r, weft_txn *txn, weft_log *log, uint64_t hlc,
                          uint64_t *seq) {
  weft_arena scratch;
  uint64_t low = log->fork - 1; /* everything up to here is not after `hlc` */
  uint64_t high = log->shown;
  uint64_t probe = high; /* mostly the newest is */
  weft_err err = WEFT_OK;
  weft__arena_init(&scratch, &r->mem);
  while (low < high && err == WEFT_OK) {
    uint64_t clock;
    err = clock_near(r, txn, log, probe, low, &scratch, &clock);
    if (clock <= hlc) {
      low = probe;
    } else {
      high = probe - 1;
    }
    probe = low + (high - low + 1) / 2;
  }
  weft__arena_free(&scratch);
  *seq = low;
  return err;
}

/* Where the walk over a log stands.  `at.hlc` is the clock of `at.seq` when `exact`, else a bound
 * for what is still to come; `at.seq` is where to look on, or 0 when that is not known yet. */
typedef struct log_end {
  weft_log *log;
  stamp at;
  bool exact;
} log_end;

static weft_err ends_make(history_job *job, log_end **out, size_t *count) {
  const weft_replica *r = job->r;
  log_end *ends = weft__arena_zero(&job->arena, r->log_count, sizeof *ends);
  if (!ends) return WEFT_ENOMEM;
  for (uint32_t i = 0; i < r->log_count; i++) {
    weft_log *log = r->logs[i];
    if (log->shown < log->fork || !wants_device(job, log)) continue;
    uint64_t bound = log->ctx.hlc < job->hlc_max ? log->ctx.hlc : job->hlc_max;
    if (job->resumed && bound >= job->mark.hlc) {
      bool beside = weft_id_cmp(&log->id, &job->mark.log) <= 0;
      bound = beside ? job->mark.hlc : job->mark.hlc - 1;
    }
    ends[(*count)++] = (log_end){log, {bound, log->id, 0, log->number}, false};
  }
  *out = ends;
  return WEFT_OK;
}

/* Moves an end down to its next change; `there` is false when the log has none left. */
static weft_err end_settle(history_job *job, log_end *end, bool *there) {
  uint64_t seq = end->at.seq;
  *there = true;
  if (seq == 0) WEFT_TRY(weft__log_before(job->r, job->txn, end->log, end->at.hlc, &seq));
  for (; seq >= end->log->fork; seq--) {
    weft_change change;
    weft_id id;
    weft__arena_reset(&job->scratch);
    WEFT_TRY(weft__log_change(job->r, job->txn, end->log, seq, &job->scratch, &change, &id));
    if (change.state != WEFT_CHANGE_VALID || change.kind != WEFT_CHANGE_DATA) continue;
    stamp at = {change.hlc, end->at.log, seq, end->at.number};
    if (job->resumed && stamp_cmp(job->r, &at, &job->mark) >= 0) continue;
    end->at.hlc = change.hlc;
    end->at.seq = seq;
    end->exact = true;
    return WEFT_OK;
  }
  *there = false;
  return WEFT_OK;
}

static weft_err history_of_space(history_job *job) {
  log_end *ends;
  size_t count = 0;
  WEFT_TRY(ends_make(job, &ends, &count));
  while (count > 0) {
    size_t top = 0;
    for (size_t i = 1; i < count; i++) {
      if (stamp_cmp(job->r, &ends[i].at, &ends[top].at) > 0) top = i;
    }
    log_end *end = &ends[top];
    bool there = true;
    if (end->at.hlc < job->hlc_min) return WEFT_OK;
    if (!end->exact) {
      WEFT_TRY(end_settle(job, end, &there));
    } else {
      job->more = job->count == job->limit;
      if (job->more) return WEFT_OK;
      WEFT_TRY(entry_add(job, &end->at));
      end->exact = false;
      end->at.hlc--;
      there = --end->at.seq >= end->log->fork;
    }
    if (!there) ends[top] = ends[--count];
  }
  return WEFT_OK;
}

/* --- the calls --- */

static weft_err next_make(const history_job *job, weft_bytes *next) {
  const weft_history_entry *last = &job->entries[job->count - 1];
  weft_buf b;
  weft__buf_init(&b, &job->r->mem, SIZE_MAX);
  weft__mark_begin(&b, job->hash);
  weft__buf_u64(&b, last->hlc);
  weft__buf_put_raw(&b, last->log.b, sizeof last->log.b);
  weft__buf_u64(&b, last->seq);
  weft__buf_put_raw(&b, last->change.b, sizeof last->change.b);
  weft_err err = weft__mark_text(&b, job->out_arena, next);
  weft__buf_free(&b);
  return err;
}

/* Finds out on which branch the last page ended. */
static weft_err mark_find(history_job *job) {
  weft_log *log;
  if (!job->resumed) return WEFT_OK;
  weft_err err =
      weft__change_at(job->r, job->txn, &job->mark.log, job->mark.seq, &job->mark_id, &log);
  if (err == WEFT_OK) job->mark.number = log->number;
  return err == WEFT_ENOTFOUND ? WEFT_EMALFORMED : err;
}

static weft_err history_run(history_job *job, weft_bytes *next) {
  WEFT_TRY(question_read(job));
  WEFT_TRY(weft__read_begin(job->r, &job->txn));
  weft_err err = mark_find(job);
  if (err == WEFT_OK) err = job->q->doc.len > 0 ? history_of_doc(job) : history_of_space(job);
  if (err == WEFT_OK && job->more) err = next_make(job, next);
  weft__read_end(job->r, job->txn);
  return err;
}

weft_err weft_replica_history(weft_replica *r, weft_arena *arena, const weft_history_query *q,
                              weft_history_entry **out, size_t *count, weft_bytes *next) {
  history_job job = {.r = r, .q = q, .out_arena = arena};
  weft_bytes mark = {NULL, 0}; /* `next` may be the question's own cursor */
  *out = NULL;
  *count = 0;
  if (q->struct_size < sizeof *q) return WEFT_EMISUSE;
  weft__arena_init(&job.arena, &r->mem);
  weft__arena_init(&job.scratch, &r->mem);
  weft_err err = history_run(&job, &mark);
  weft__arena_free(&job.scratch);
  weft__arena_free(&job.arena);
  *next = mark;
  if (err != WEFT_OK) return err;
  *out = job.entries;
  *count = job.count;
  return WEFT_OK;
}

/* --- changes by id --- */

typedef struct id_search {
  weft_bytes prefix;
  weft_log *log; /* of the one found */
  uint64_t seq;
  bool several;
} id_search;

/* True when there is nothing more to learn. */
static bool id_meet(id_search *s, weft_log *log, uint64_t seq, const weft_id *id) {
  if (memcmp(id->b, s->prefix.at, s->prefix.len) != 0) return false;
  s->several = s->log != NULL;
  s->log = log;
  s->seq = seq;
  return s->several || s->prefix.len == sizeof id->b;
}

static weft_err id_search_log(weft_replica *r, weft_txn *txn, weft_log *log, id_search *s,
                              bool *done) {
  uint64_t seq = log->held;
  uint64_t sealed = log->sealed;
  for (; seq > sealed && !*done; seq--) {
    weft_id id;
    WEFT_TRY(weft__log_id_at(r, txn, log, seq, &id));
    *done = id_meet(s, log, seq, &id);
  }
  while (seq >= log->fork && !*done) {
    const weft_run_cache *c;
    WEFT_TRY(weft__log_chunk(r, txn, log, seq, &c));
    const weft_id *ids = weft__log_chunk_ids(r, c);
    if (!ids) return WEFT_ENOMEM;
    for (; seq >= c->first && !*done; seq--) *done = id_meet(s, log, seq, &ids[seq - c->first]);
  }
  return WEFT_OK;
}

weft_err weft__change_find(weft_replica *r, weft_txn *txn, weft_bytes id_prefix, weft_log **log,
                           uint64_t *seq) {
  id_search s = {.prefix = id_prefix};
  bool done = false;
  if (id_prefix.len < ID_PREFIX_LEN_MIN || id_prefix.len > sizeof(weft_id)) return WEFT_EMALFORMED;
  for (uint32_t i = 0; i < r->log_count && !done; i++) {
    WEFT_TRY(id_search_log(r, txn, r->logs[i], &s, &done));
  }
  if (!s.log) return WEFT_ENOTFOUND;
  if (s.several) return WEFT_EMALFORMED;
  *log = s.log;
  *seq = s.seq;
  return WEFT_OK;
}

weft_err weft_replica_change(weft_replica *r, weft_arena *arena, weft_bytes id_prefix,
                             weft_history_entry *out, weft_change_state *state) {
  weft_txn *txn;
  weft_log *log;
  uint64_t seq;
  weft_change change;
  weft_id id;
  WEFT_TRY(weft__read_begin(r, &txn));
  weft_err err = weft__change_find(r, txn, id_prefix, &log, &seq);
  if (err == WEFT_OK) err = weft__log_change(r, txn, log, seq, arena, &change, &id);
  weft__read_end(r, txn);
  if (err != WEFT_OK) return err;
  weft__history_of(log, seq, &id, &change, out);
  out->ops = change.ops;
  out->op_count = change.op_count;
  *state = change.state;
  return WEFT_OK;
}

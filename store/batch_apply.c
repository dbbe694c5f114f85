/* A batch is applied document by document; within a document in the order of the batch.
 *
 * Whether a document that had no conflict has one now is told from the registers that changed, as
 * long as they are what one writer alone could have left; else the whole document is looked at.
 *
 * Failure modes: damage and storage errors go up; the caller drops the transaction. */
#include "crdt/canary.h"
#include "crdt/limits.h"
#include "crdt/view.h"
#include "store/batch.h"
#include "store/outcome.h"
#include "store/strategy.h"

#define NO_CHANGE UINT32_MAX

/* --- order --- */

static weft_err order_add(weft_replica *r, weft_txn *txn, weft_dot dot) {
  weft_newest_run *o = &r->order;
  weft_log_span more = {dot.log, dot.seq, 1};
  r->now.shown++;
  if (weft__run_lengthen(o, &more)) return WEFT_OK;
  if (o->span.count > 0) WEFT_TRY(weft__span_put(txn, WEFT_TABLE_ORDER, o->number, &o->span));
  *o = (weft_newest_run){r->now.shown, more};
  return WEFT_OK;
}

static weft_err batch_order(weft_batch *b) {
  weft_replica *r = b->r;
  for (size_t i = 0; i < b->change_count; i++) {
    weft_batch_change *c = &b->changes[i];
    WEFT_TRY(order_add(r, b->txn, c->dot));
    c->event = r->now.events + 1;
    WEFT_TRY(weft__event_derived(r, b->txn, c->events));
  }
  for (size_t i = 0; i < b->log_count; i++) {
    weft_log *log = b->logs[i];
    if (log->shown == log->flow[WEFT_FLOW_SHOW].at) continue;
    log->shown = log->flow[WEFT_FLOW_SHOW].at;
    WEFT_TRY(weft__log_id_at(r, b->txn, log, log->shown, &log->shown_id));
  }
  if (b->change_count == 0) return WEFT_OK;
  r->kept.order = r->group;
  if (r->group) return WEFT_OK;
  return weft__span_put(b->txn, WEFT_TABLE_ORDER, r->order.number, &r->order.span);
}

/* --- conflicts, cheaply --- */

static bool is_hide(const weft_register *reg) {
  return reg->value_count == 1 &&
         (reg->values[0].kind == WEFT_OP_SCALAR || reg->values[0].kind == WEFT_OP_UNSET);
}

static bool hide_covers(const weft_replica *r, const weft_register *hide, const weft_register *x) {
  const weft_sibling *h = &hide->values[0];
  if (x->values[0].kind == WEFT_OP_UNSET) return true;
  return weft__covers(&r->lineage, h->dot, h->claims, h->claim_count, x->values[0].dot);
}

/* True when the register (`root` is that of the document) is what one writer alone could have left:
 * at most one sibling, a parent that is marked as the container it needs or hidden together with
 * it, and every scalar or unset above covering it.  Where all registers are so, there is no
 * conflict. */
static bool register_plain(const weft_replica *r, const weft_doc *doc, const weft_register *root,
                           const weft_register *reg) {
  if (reg->value_count > 1) return false;
  if (reg->value_count == 0) return true;
  const weft_register *above = NULL; /* in the end the parent */
  bool covered = false;
  size_t at = 0;
  size_t before = 0;
  weft_step step;
  while (weft_path_next(reg->path, &at, &step)) {
    above = before == 0 ? root : weft__doc_find(doc, weft_bytes_of(reg->path.at, before));
    if (above && is_hide(above)) {
      if (!hide_covers(r, above, reg)) return false;
      covered = true;
    }
    before = at;
  }
  if (covered || reg->path.len == 0) return true;
  return weft__register_shape(above) == (step.element ? WEFT_SHAPE_ARRAY : WEFT_SHAPE_OBJECT);
}

/* Looks at every loaded register from `reg` on that is at or below `path`. */
static bool plain_below(const weft_replica *r, const weft_doc *doc, weft_path path,
                        const weft_register *reg) {
  const weft_register *root = weft__doc_find(doc, weft_bytes_of(NULL, 0));
  for (; reg && weft__key_has_prefix(reg->path, path); reg = weft__doc_next(doc, reg)) {
    if (!register_plain(r, doc, root, reg)) return false;
  }
  return true;
}

/* Whether the changed registers of a document that was plain left it plain.  Where a register lost
 * the mark it had, or was hidden, or was emptied, what lies below it is looked at too: it is
 * loaded, but after a mark alone, and then the answer is no. */
static bool changes_plain(const weft_batch *b, const weft_state *state) {
  const weft_doc *doc = state->doc;
  const weft_register *reg = weft__doc_seek(doc, weft_bytes_of(NULL, 0));
  const weft_register *root = reg && reg->path.len == 0 ? reg : NULL;
  for (; reg; reg = weft__doc_next(doc, reg)) {
    if (!reg->dirty) continue;
    if (!register_plain(b->r, doc, root, reg)) return false;
    weft_shape is = weft__register_shape(reg);
    bool container = is == WEFT_SHAPE_OBJECT || is == WEFT_SHAPE_ARRAY;
    const weft_register *was = container ? weft__state_was(state, reg->path) : NULL;
    if (was && was->value_count > 0 && weft__register_shape(was) != is) return false;
    if (!container && !plain_below(b->r, doc, reg->path, weft__doc_next(doc, reg))) return false;
  }
  return true;
}

/* Settles conflicts and liveness of a document after its writes. */
static weft_err doc_judge(weft_batch *b, weft_state *state, weft_doc_record *record) {
  static const weft_path root;
  if (!record->suspect && changes_plain(b, state)) {
    const weft_register *reg = weft__doc_find(state->doc, root);
    if (reg) record->live = weft__register_shape(reg) == WEFT_SHAPE_OBJECT;
    return WEFT_OK;
  }
  WEFT_TRY(weft__state_need_all(state));
  record->suspect = !plain_below(b->r, state->doc, root, weft__doc_seek(state->doc, root));
  record->conflicts = record->hidden = record->manual = 0;
  if (record->suspect) {
    WEFT_TRY(weft__doc_conflicts(state->doc, root, &b->one, &b->found, &b->found_count));
    weft__strategy_count(b->r, b->found, b->found_count, record);
  }
  return weft__doc_visible(state->doc, root, &record->live);
}

/* --- applying --- */

/* The order (hlc, log id, seq) of changes as metadata knows it. */
static int change_cmp(const weft_replica *r, uint64_t hlc_a, weft_dot a, uint64_t hlc_b,
                      weft_dot b) {
  if (hlc_a != hlc_b) return hlc_a < hlc_b ? -1 : 1;
  return r->lineage.rank(r->lineage.ctx, a, b);
}

/* Counts one change that touches the document. */
static weft_err doc_note(weft_batch *b, const weft_batch_change *c, uint64_t shown) {
  weft_doc_record *record = &b->record;
  const weft_replica *r = b->r;
  uint64_t hlc = c->hlc;
  if (record->versions == 0 ||
      change_cmp(r, hlc, c->dot, record->created_hlc, record->created) < 0) {
    record->created_hlc = hlc;
    record->created = c->dot;
  }
  if (record->versions == 0 ||
      change_cmp(r, hlc, c->dot, record->modified_hlc, record->modified) > 0) {
    record->modified_hlc = hlc;
    record->modified = c->dot;
  }
  record->versions++;
  if (WEFT_CANARY(HIST_LOST) && record->versions % 4 == 0) return WEFT_OK;
  weft_hist_entry entry = {shown, c->dot, hlc};
  return weft__hist_add(&b->hist, b->txn, &entry);
}

static bool reaches_below(weft_op_kind kind) {
  return kind == WEFT_OP_SCALAR || kind == WEFT_OP_UNSET || kind == WEFT_OP_FRESH_OBJECT ||
         kind == WEFT_OP_FRESH_ARRAY;
}

/* Finds the record of a document whose first segment is loaded: mostly just behind that. */
static weft_err doc_record_find(weft_batch *b, const weft_batch_doc *doc, weft_state *state) {
  weft_bytes row;
  b->record = (weft_doc_record){.number = doc->number, .name = doc->name};
  if (doc->fresh) return WEFT_OK;
  WEFT_TRY(weft__promised(weft__state_record(state, &row)));
  return weft__doc_record_open(b->r, b->txn, doc->number, row, &b->one, &b->record);
}

static weft_err doc_load_wanted(weft_batch *b, const weft_batch_doc *doc, weft_state *state) {
  if (doc->handed) {
    b->record = doc->handed->record;
    return weft__state_adopt(state, doc->handed->pieces, doc->handed->piece_count);
  }
  WEFT_TRY(weft__state_need(state, weft_bytes_of(NULL, 0)));
  WEFT_TRY(doc_record_find(b, doc, state));
  if (b->record.suspect) return weft__state_need_all(state);
  if (weft__state_is_whole(state)) return WEFT_OK; /* as short documents are */
  for (size_t i = 0; i < doc->write_count; i++) {
    const weft_op *op = doc->writes[i].op;
    WEFT_TRY(weft__state_need_above(state, op->path));
    if (reaches_below(op->kind)) WEFT_TRY(weft__state_need_below(state, op->path));
  }
  return WEFT_OK;
}

/* Asks for what the writes a little further on consist of: they were collected in another order, so
 * nearly each would have to be waited for. */
static WEFT_ASKS void writes_ahead(const weft_batch *b, const weft_batch_write *w) {
  enum { far = 24, near = 8 };
  size_t left = b->write_count - (size_t)(w - b->writes);
  if (left > 2 * far) __builtin_prefetch(&w[2 * far]);
  if (left > far) {
    __builtin_prefetch(w[far].op);
    __builtin_prefetch(&b->changes[w[far].change]);
  }
  if (left > near) {
    __builtin_prefetch(w[near].op->path.at);
    __builtin_prefetch(w[near].op->value.at);
    __builtin_prefetch(b->changes[w[near].change].claims);
  }
}

static weft_err doc_show_writes(weft_batch *b, weft_batch_doc *doc, weft_state *state,
                                uint64_t shown_before) {
  uint32_t last = NO_CHANGE;
  for (size_t i = 0; i < doc->write_count; i++) {
    const weft_batch_write *w = &doc->writes[i];
    const weft_batch_change *c = &b->changes[w->change];
    writes_ahead(b, w);
    if (w->change != last) WEFT_TRY(doc_note(b, c, shown_before + w->change + 1));
    last = w->change;
    weft_shown shown = {c->dot, c->hlc, c->claims, c->claim_count};
    WEFT_TRY(weft__doc_show(state->doc, &shown, w->op));
  }
  return WEFT_OK;
}

/* Moves the counts of documents and conflicts from what the record said to what it says. */
static void totals_move(const weft_batch *b, const weft_batch_doc *doc,
                        const weft_doc_record *was) {
  weft_replica *r = b->r;
  bool fewer = b->record.conflicts < was->conflicts;
  if (!fewer || !WEFT_CANARY(COUNT_DRIFT)) {
    r->now.conflicts += b->record.conflicts - was->conflicts;
  }
  if (weft__doc_reserved(doc->name)) return;
  if (!doc->fresh) {
    if (was->live) {
      r->now.docs_live--;
    } else {
      r->now.docs_deleted--;
    }
  }
  if (b->record.live) {
    r->now.docs_live++;
  } else {
    r->now.docs_deleted++;
  }
}

/* Tells that a document has more or fewer conflicts than before, and where they are; the newest of
 * the changes that made it so and have not been told before is its source. */
static weft_err conflicts_tell(weft_batch *b, const weft_batch_doc *doc,
                               const weft_doc_record *was) {
  const weft_batch_change *cause = NULL;
  if (b->record.conflicts == was->conflicts) return WEFT_OK;
  for (size_t i = 0; i < doc->write_count; i++) {
    const weft_batch_change *c = &b->changes[doc->writes[i].change];
    if (c->events > 0) cause = c;
  }
  if (!cause) return WEFT_OK;
  bool more = b->record.conflicts > was->conflicts;
  weft_event event =
      weft__event_own(b->r, more ? WEFT_EVENT_CONFLICT_OPENED : WEFT_EVENT_CONFLICT_CLOSED);
  const weft_log *log = weft__log_of(b->r, cause->dot.log);
  event.source = log->device;
  event.doc = doc->name;
  event.has_change = true;
  WEFT_TRY(weft__log_id_at(b->r, b->txn, log, cause->dot.seq, &event.change));
  event.cause = cause->event;
  event.count = b->record.conflicts;
  event.paths = weft__arena_zero(&b->one, WEFT_EVENT_PATHS_MAX, sizeof *event.paths);
  if (!event.paths) return WEFT_ENOMEM;
  for (size_t i = 0; i < b->found_count && event.path_count < WEFT_EVENT_PATHS_MAX; i++) {
    weft_path path = b->found[i].path;
    if (weft__strategy_of(b->r, doc->name, path) == WEFT_STRATEGY_LWW) continue;
    event.paths[event.path_count++] = path;
  }
  return weft__event_put(b->r, b->txn, &event);
}

static weft_err docid_put(weft_batch *b, const weft_batch_doc *doc) {
  if (!doc->fresh) return WEFT_OK;
  uint8_t number[4];
  for (unsigned i = 0; i < 4; i++) number[i] = (uint8_t)(b->record.number >> (24 - 8 * i));
  return weft_txn_put(b->txn, WEFT_TABLE_DOCID, doc->name, weft_bytes_of(number, sizeof number));
}

static weft_err doc_apply(weft_batch *b, weft_batch_doc *doc, uint64_t shown_before) {
  weft_replica *r = b->r;
  weft_state *state = &b->state;
  weft_index_entries *entries = NULL;
  weft__arena_reset(&b->one);
  weft__doc_reset(b->doc);
  b->found_count = 0;
  weft__state_again(state, doc->number);
  WEFT_TRY(doc_load_wanted(b, doc, state));
  weft_doc_record was = b->record;
  WEFT_TRY(weft__hist_resume(&b->hist, &was));
  WEFT_TRY(weft__index_before(r, &was, state, &b->one, &entries));
  WEFT_TRY(doc_show_writes(b, doc, state, shown_before));
  WEFT_TRY(doc_judge(b, state, &b->record));
  if (entries) WEFT_TRY(weft__index_after(r, &b->record, state, &b->one, entries));
  WEFT_TRY(weft__state_save(state, doc->name, &r->now.digest));
  WEFT_TRY(conflicts_tell(b, doc, &was));
  totals_move(b, doc, &was);
  WEFT_TRY(docid_put(b, doc));
  WEFT_TRY(weft__hist_leave(&b->hist, &b->record));
  return weft__doc_record_put(b->txn, &b->record, &b->row);
}

static weft_err docs_apply(weft_batch *b, uint64_t shown_before) {
  weft_err err = weft__state_begin(&b->state, &b->r->state_env, b->txn, 0, b->doc, &b->one);
  b->state.borrow = true;
  for (size_t i = 0; i < b->doc_count && err == WEFT_OK; i++) {
    weft__batch_ahead(b, b->order, i);
    err = doc_apply(b, &b->docs[b->order[i]], shown_before);
  }
  weft__state_end(&b->state);
  return err == WEFT_ECORRUPT ? weft__replica_fail(b->r, err, "a segment is damaged") : err;
}

/* Lets the rules that the batch showed come into force. */
static weft_err batch_rules(weft_batch *b) {
  size_t count = 0;
  weft_bytes *docs = weft__arena_zero(&b->arena, b->doc_count, sizeof *docs);
  if (!docs) return WEFT_ENOMEM;
  for (size_t i = 0; i < b->doc_count; i++) {
    if (weft__strategy_doc(b->docs[i].name)) docs[count++] = b->docs[i].name;
  }
  return count > 0 ? weft__rules_changed(b->r, b->txn, docs, count) : WEFT_OK;
}

weft_err weft__batch_apply(weft_batch *b) {
  uint64_t shown_before = b->r->now.shown;
  WEFT_TRY(weft__batch_docs(b));
  WEFT_TRY(batch_order(b));
  WEFT_TRY(docs_apply(b, shown_before));
  return batch_rules(b);
}

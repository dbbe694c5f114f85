/* Showing: from what is held to what is seen.
 *
 * Two walks over the logs share one mechanism.  The READY walk finds how far each log is showable:
 * it reads a change once, checks that everything it claims is showable and that the tags fit, or
 * else lets the log wait for the first claim that is not.  The SHOW walk goes the same way up to
 * there and collects a batch in which every change comes after what it claims.  A log that waits
 * stands in the list of the log it waits for and is looked at again when that one has moved, so
 * both walks are nearly linear.
 *
 * A batch is then applied (store/batch_apply.c): state, history, document records, order, digest
 * and the shown vector move in the caller's transaction, so each batch is complete in itself.
 *
 * Failure modes: damage and storage errors go up; the caller drops the transaction. */
#include <string.h>

#include "crdt/assert.h"
#include "crdt/canary.h"
#include "crdt/limits.h"
#include "store/batch.h"
#include "store/strategy.h"

/* --- the queue of a walk --- */

static void queue_add(weft_replica *r, weft_flow flow, weft_log *log) {
  weft_log_flow *f = &log->flow[flow];
  if (f->busy) return;
  f->busy = true;
  f->waiting = false;
  f->next = NULL;
  if (r->queue_tail[flow]) {
    r->queue_tail[flow]->flow[flow].next = log;
  } else {
    r->queue_head[flow] = log;
  }
  r->queue_tail[flow] = log;
}

static weft_log *queue_take(weft_replica *r, weft_flow flow) {
  weft_log *log = r->queue_head[flow];
  if (!log) return NULL;
  r->queue_head[flow] = log->flow[flow].next;
  if (!r->queue_head[flow]) r->queue_tail[flow] = NULL;
  log->flow[flow].next = NULL;
  log->flow[flow].busy = false;
  return log;
}

/* Moves those of a list into the queue whose wait is over: for the log `id` as far as `seq`. */
static void queue_wake(weft_replica *r, weft_flow flow, weft_log **list, const weft_id *id,
                       uint64_t seq) {
  while (*list) {
    weft_log *log = *list;
    weft_log_flow *f = &log->flow[flow];
    if (f->wait_seq > seq || weft_id_cmp(&f->wait_log, id) != 0) {
      list = &f->next;
      continue;
    }
    *list = f->next;
    f->busy = false;
    queue_add(r, flow, log);
  }
}

/* What the next change of a log waits for. */
typedef struct unsettled {
  bool any;
  weft_log *target; /* NULL: nothing held fits */
  weft_id log;
  uint64_t seq;
  const weft_claim *claim; /* NULL: the branch it left */
} unsettled;

/* Lets `log` wait. */
static void wait_for(weft_replica *r, weft_flow flow, weft_log *log, const unsettled *u) {
  weft_log_flow *f = &log->flow[flow];
  weft_log **list = u->target ? &u->target->flow[flow].waiters : &r->orphans;
  f->busy = true;
  f->waiting = true;
  f->wait_log = u->log;
  f->wait_seq = u->seq;
  f->wait_tagged = !u->target && u->claim->has_tag;
  if (f->wait_tagged) memcpy(f->wait_tag, u->claim->tag, sizeof f->wait_tag);
  f->next = *list;
  *list = log;
}

/* Notes from when on the next change of a log waits; what it waits for may change meanwhile. */
static void note_wait(weft_replica *r, weft_log *log, bool waits) {
  uint64_t seq = waits ? log->flow[WEFT_FLOW_READY].at + 1 : 0;
  if (log->wait_at == seq) return;
  log->wait_at = seq;
  log->wait_since = waits ? r->platform.wall_ms(r->platform.ctx) : 0;
  weft__log_touch(r, log);
}

void weft__ready_queue(weft_replica *r, weft_log *log) { queue_add(r, WEFT_FLOW_READY, log); }

void weft__ready_orphans(weft_replica *r, const weft_log *log) {
  queue_wake(r, WEFT_FLOW_READY, &r->orphans, &log->id, log->held);
}

/* --- what is showable --- */

/* Finds the first thing that the next change of a log needs and the walk has not settled.  Where
 * there is nothing, `dots`, unless NULL, has all that it claims. */
static weft_err first_unsettled(weft_replica *r, weft_txn *txn, weft_flow flow, weft_log *log,
                                weft_claim_list claims, weft_dot *dots, unsettled *u) {
  uint64_t seq = log->flow[flow].at + 1;
  u->any = false;
  if (seq == log->fork && log->parent != WEFT_LOG_NONE) {
    weft_log *parent = weft__log_of(r, log->parent);
    if (parent->flow[flow].at < seq - 1) {
      *u = (unsettled){.any = true, .target = parent, .log = log->id, .seq = seq - 1};
      return WEFT_OK;
    }
  }
  for (size_t i = 0; i < claims.count; i++) {
    weft_dot dot;
    const weft_claim *claim = &claims.at[i];
    weft_err err = weft__claim_dot(r, txn, log, seq, claim, flow == WEFT_FLOW_READY, &dot);
    if (err != WEFT_OK && err != WEFT_ENOTFOUND) return err;
    weft_log *target = err == WEFT_OK ? weft__log_of(r, dot.log) : NULL;
    bool behind = !target || target->flow[flow].at < claim->seq;
    if (behind && !(target && WEFT_CANARY(UNSETTLED))) {
      *u = (unsettled){true, target, claim->log, claim->seq, claim};
      return WEFT_OK;
    }
    if (dots) dots[i] = dot;
  }
  return WEFT_OK;
}

/* What a change claims: of what this write holds it is at hand. */
static weft_err claims_of(weft_replica *r, weft_txn *txn, weft_log *log, uint64_t seq,
                          weft_arena *arena, weft_claim_list *out) {
  weft_change change;
  const weft_fresh_run *fresh = weft__log_fresh(log, seq);
  if (fresh) {
    *out = fresh->claims[seq - fresh->first];
    return WEFT_OK;
  }
  WEFT_TRY(weft__log_claims(r, txn, log, seq, arena, &change));
  *out = (weft_claim_list){change.claims, change.claim_count};
  return WEFT_OK;
}

static weft_err ready_advance(weft_replica *r, weft_txn *txn, weft_log *log, weft_arena *arena) {
  weft_log_flow *f = &log->flow[WEFT_FLOW_READY];
  uint64_t before = f->at;
  while (f->at < log->held) {
    weft_claim_list claims;
    unsettled missing;
    weft__arena_reset(arena);
    WEFT_TRY(claims_of(r, txn, log, f->at + 1, arena, &claims));
    WEFT_TRY(first_unsettled(r, txn, WEFT_FLOW_READY, log, claims, NULL, &missing));
    if (missing.any) {
      wait_for(r, WEFT_FLOW_READY, log, &missing);
      break;
    }
    f->at++;
  }
  note_wait(r, log, f->waiting);
  if (f->at > before) {
    weft__log_touch(r, log);
    queue_wake(r, WEFT_FLOW_READY, &f->waiters, &log->id, f->at);
  }
  return WEFT_OK;
}

/* Finds the id of the last showable change. */
static weft_err ready_tell(weft_replica *r, weft_txn *txn, weft_log *log) {
  uint64_t at = log->flow[WEFT_FLOW_READY].at;
  if (log->ready_seq == at) return WEFT_OK;
  WEFT_TRY(weft__log_id_at(r, txn, log, at, &log->ready_id));
  log->ready_seq = at;
  return WEFT_OK;
}

weft_err weft__ready_run(weft_replica *r, weft_txn *txn) {
  weft_arena arena = weft__spare_arena(r);
  weft_err err = WEFT_OK;
  while (err == WEFT_OK) {
    weft_log *log = queue_take(r, WEFT_FLOW_READY);
    if (!log) break;
    err = ready_advance(r, txn, log, &arena);
  }
  for (weft_log *log = r->touched; log && err == WEFT_OK; log = log->next_touched) {
    err = ready_tell(r, txn, log);
  }
  weft__spare_arena_give(r, &arena);
  return err;
}

/* --- a batch --- */

enum { DOC_SLOTS_MIN = 64 };

/* Ops whose document is not looked for yet: what that needs comes from far away in memory, and is
 * asked for as soon as it is known where it lies. */
enum { FIND_SLOT = 5, FIND_NAME = 9, FIND_AHEAD = 13 };

static bool batch_full(const weft_batch *b) {
  return b->change_count >= b->changes_max || b->write_count >= WEFT_SHOW_OPS_MAX ||
         b->doc_count >= b->docs_max || b->raw_len >= WEFT_SHOW_LEN_MAX;
}

/* The hash is keyed, so that no author can choose names that collide. */
static uint64_t name_hash(const weft_batch *b, weft_bytes name) {
  uint8_t out[16];
  uint64_t hash;
  b->r->crypto->siphash128(out, b->r->state_env.seal.key.b, name);
  memcpy(&hash, out, sizeof hash);
  return hash;
}

static weft_err slots_grow(weft_batch *b) {
  size_t count = b->slot_count > 0 ? 2 * b->slot_count : DOC_SLOTS_MIN;
  weft_batch_slot *slots = weft__arena_zero(&b->arena, count, sizeof *slots);
  if (!slots) return WEFT_ENOMEM;
  for (size_t i = 0; i < b->doc_count; i++) {
    uint64_t hash = b->docs[i].hash;
    size_t slot = (size_t)hash & (count - 1);
    while (slots[slot].doc != 0) slot = (slot + 1) & (count - 1);
    slots[slot] = (weft_batch_slot){(uint32_t)i + 1, (uint32_t)(hash >> 32)};
  }
  b->slots = slots;
  b->slot_count = count;
  return WEFT_OK;
}

/* Finds the document, or makes a place for it. */
static weft_err batch_doc_find(weft_batch *b, weft_bytes name, uint64_t hash, uint32_t *out) {
  if (b->doc_count * 2 >= b->slot_count) WEFT_TRY(slots_grow(b));
  size_t slot = (size_t)hash & (b->slot_count - 1);
  for (; b->slots[slot].doc != 0; slot = (slot + 1) & (b->slot_count - 1)) {
    if (b->slots[slot].hash != (uint32_t)(hash >> 32)) continue;
    *out = b->slots[slot].doc - 1;
    const weft_batch_doc *doc = &b->docs[*out];
    if (doc->hash == hash && weft_bytes_cmp(doc->name, name) == 0) return WEFT_OK;
  }
  void *at = b->docs;
  WEFT_TRY(weft__arena_grow(&b->arena, &at, b->doc_count, &b->doc_cap, b->doc_count + 1,
                            sizeof *b->docs));
  b->docs = at;
  WEFT_TRY(weft__arena_copy(&b->arena, name, &name));
  *out = (uint32_t)b->doc_count++;
  b->docs[*out] = (weft_batch_doc){.name = name, .hash = hash};
  b->slots[slot] = (weft_batch_slot){*out + 1, (uint32_t)(hash >> 32)};
  return WEFT_OK;
}

/* The parser gives the name of a document as one view. */
static bool same_doc(const weft_batch *b, size_t write) {
  if (write == 0) return false;
  weft_bytes name = b->writes[write].op->doc;
  weft_bytes before = b->writes[write - 1].op->doc;
  return name.at == before.at && name.len == before.len;
}

/* Finds the documents of the writes up to `count`. */
static weft_err writes_find(weft_batch *b, size_t count) {
  for (; b->known < count; b->known++) {
    weft_batch_write *w = &b->writes[b->known];
    if (same_doc(b, b->known)) {
      w->doc = w[-1].doc;
    } else {
      WEFT_TRY(batch_doc_find(b, w->op->doc, b->hashes[b->known % WEFT_BATCH_RING], &w->doc));
    }
    b->docs[w->doc].write_count++;
  }
  return WEFT_OK;
}

/* Asks for the slot of the newest write, for the document in that of an older one, and for the name
 * of that of a still older one. */
static WEFT_ASKS void find_ahead(const weft_batch *b) {
  if (b->slot_count == 0) return;
  size_t newest = b->write_count - 1;
  __builtin_prefetch(&b->slots[(size_t)b->hashes[newest % WEFT_BATCH_RING] & (b->slot_count - 1)]);
  if (newest < b->known + FIND_NAME) return;
  uint64_t hash = b->hashes[(newest - FIND_SLOT) % WEFT_BATCH_RING];
  const weft_batch_slot *slot = &b->slots[(size_t)hash & (b->slot_count - 1)];
  if (slot->doc != 0) __builtin_prefetch(&b->docs[slot->doc - 1]);
  hash = b->hashes[(newest - FIND_NAME) % WEFT_BATCH_RING];
  slot = &b->slots[(size_t)hash & (b->slot_count - 1)];
  if (slot->doc != 0) __builtin_prefetch(b->docs[slot->doc - 1].name.at);
}

static weft_err batch_add_op(weft_batch *b, const weft_op *op) {
  void *at = b->writes;
  WEFT_TRY(weft__arena_grow(&b->arena, &at, b->write_count, &b->write_cap, b->write_count + 1,
                            sizeof *b->writes));
  b->writes = at;
  b->writes[b->write_count] = (weft_batch_write){op, 0, (uint32_t)b->change_count};
  bool same = same_doc(b, b->write_count);
  size_t before = b->write_count + WEFT_BATCH_RING - 1;
  b->hashes[b->write_count % WEFT_BATCH_RING] =
      same ? b->hashes[before % WEFT_BATCH_RING] : name_hash(b, op->doc);
  b->write_count++;
  find_ahead(b);
  return b->write_count > FIND_AHEAD ? writes_find(b, b->write_count - FIND_AHEAD) : WEFT_OK;
}

/* Takes a change whose claims are all in the batch or shown before. */
static weft_err batch_add(weft_batch *b, weft_log *log, const weft_change *change,
                          weft_dot *claims) {
  void *at = b->changes;
  WEFT_TRY(weft__arena_grow(&b->arena, &at, b->change_count, &b->change_cap, b->change_count + 1,
                            sizeof *b->changes));
  b->changes = at;
  for (size_t i = 0; i < change->op_count; i++) WEFT_TRY(batch_add_op(b, &change->ops[i]));
  weft_batch_change *c = &b->changes[b->change_count++];
  *c = (weft_batch_change){.dot = {log->number, ++log->flow[WEFT_FLOW_SHOW].at},
                           .hlc = change->hlc,
                           .claims = claims,
                           .claim_count = change->claim_count};
  if (c->dot.seq > log->told) c->events = weft__event_count(change);
  b->raw_len += change->raw.len;
  return WEFT_OK;
}

/* Reads a change for the batch, in whose arena everything stays.  A chunk is taken apart once for
 * all that the batch wants of it; where that is little, what is left is kept for the next batch. */
static weft_err batch_read(weft_batch *b, weft_log *log, uint64_t seq, weft_change *change) {
  weft_id id;
  weft_run_view *v = &log->view;
  bool few = b->changes_max <= WEFT_TAIL_COUNT_MAX;
  if (few || seq > log->sealed || seq < log->fork || weft__log_fresh(log, seq)) {
    return weft__log_change(b->r, b->txn, log, seq, &b->arena, change, &id);
  }
  if (v->count == 0 || seq - v->first >= v->count) {
    WEFT_TRY(weft__log_run_view(b->r, b->txn, log, seq, &b->arena, v));
  }
  size_t i = (size_t)(seq - v->first);
  return weft__log_parse(b->r, b->txn, log, v->changes[i], (weft_change_state)v->states[i],
                         &b->arena, change);
}

static weft_err show_advance(weft_batch *b, weft_log *log) {
  weft_log_flow *f = &log->flow[WEFT_FLOW_SHOW];
  uint64_t before = f->at;
  while (f->at < log->flow[WEFT_FLOW_READY].at && !batch_full(b)) {
    unsettled missing;
    weft_change change;
    WEFT_TRY(batch_read(b, log, f->at + 1, &change));
    weft_dot *claims = weft__arena_take(&b->arena, change.claim_count * sizeof *claims);
    if (!claims) return WEFT_ENOMEM;
    weft_claim_list list = {change.claims, change.claim_count};
    WEFT_TRY(first_unsettled(b->r, b->txn, WEFT_FLOW_SHOW, log, list, claims, &missing));
    if (missing.any) {
      wait_for(b->r, WEFT_FLOW_SHOW, log, &missing);
      break;
    }
    WEFT_TRY(batch_add(b, log, &change, claims));
  }
  if (f->at > before) {
    weft__log_touch(b->r, log);
    queue_wake(b->r, WEFT_FLOW_SHOW, &f->waiters, &log->id, f->at);
  }
  return WEFT_OK;
}

/* Which logs a batch is collected from. */
typedef enum show_scope { SHOW_ALL, SHOW_TOUCHED, SHOW_ONE } show_scope;

/* Takes a log into the walk if it has something to show.  Who waits in the walk, and for whom, has
 * something to show too, so only these need to be put in order afterwards. */
static weft_err walk_add(weft_batch *b, weft_log *log) {
  void *at = b->logs;
  WEFT_ASSERT(log->flow[WEFT_FLOW_SHOW].at == log->shown);
  if (log->flow[WEFT_FLOW_READY].at == log->shown) return WEFT_OK;
  WEFT_TRY(weft__arena_grow(&b->arena, &at, b->log_count, &b->log_cap, b->log_count + 1,
                            sizeof(weft_log *)));
  b->logs = at;
  b->logs[b->log_count++] = log;
  log->view.count = 0;
  queue_add(b->r, WEFT_FLOW_SHOW, log);
  return WEFT_OK;
}

static weft_err walk_begin(weft_batch *b, show_scope scope, weft_log *one) {
  weft_replica *r = b->r;
  if (scope == SHOW_ONE) return walk_add(b, one);
  if (scope == SHOW_TOUCHED) {
    for (weft_log *log = r->touched; log; log = log->next_touched) WEFT_TRY(walk_add(b, log));
    return WEFT_OK;
  }
  /* A batch is soon full where much waits: what was written to overtake is taken first. */
  for (unsigned lane = 0; lane < WEFT_LANES; lane++) {
    for (uint32_t i = 0; i < r->log_count; i++) {
      unsigned of = r->logs[i]->lane < WEFT_LANES ? r->logs[i]->lane : WEFT_LANE_NORMAL;
      if (of == lane) WEFT_TRY(walk_add(b, r->logs[i]));
    }
  }
  return WEFT_OK;
}

/* Ends the walk: nobody waits or is queued any more. */
static void walk_end(weft_batch *b) {
  weft_replica *r = b->r;
  r->queue_head[WEFT_FLOW_SHOW] = r->queue_tail[WEFT_FLOW_SHOW] = NULL;
  for (size_t i = 0; i < b->log_count; i++) {
    weft_log_flow *f = &b->logs[i]->flow[WEFT_FLOW_SHOW];
    f->busy = f->waiting = false;
    f->waiters = f->next = NULL;
    b->logs[i]->view.count = 0;
  }
}

/* Makes room for what waits, so that lists of tens of thousands need not grow by copying. */
static weft_err batch_reserve(weft_batch *b) {
  uint64_t waiting = 0;
  for (size_t i = 0; i < b->log_count; i++) {
    waiting += b->logs[i]->flow[WEFT_FLOW_READY].at - b->logs[i]->shown;
  }
  size_t most = (size_t)(waiting < b->changes_max ? waiting : b->changes_max);
  void *changes = b->changes;
  void *writes = b->writes;
  WEFT_TRY(weft__arena_grow(&b->arena, &changes, 0, &b->change_cap, most, sizeof *b->changes));
  b->changes = changes;
  WEFT_TRY(weft__arena_grow(&b->arena, &writes, 0, &b->write_cap, most, sizeof *b->writes));
  b->writes = writes;
  return WEFT_OK;
}

static weft_err batch_collect(weft_batch *b, show_scope scope, weft_log *one) {
  weft_err err = walk_begin(b, scope, one);
  if (err == WEFT_OK) err = batch_reserve(b);
  while (err == WEFT_OK && !batch_full(b)) {
    weft_log *log = queue_take(b->r, WEFT_FLOW_SHOW);
    if (!log) break;
    err = show_advance(b, log);
  }
  walk_end(b);
  return err == WEFT_OK ? writes_find(b, b->write_count) : err;
}

/* How many documents a batch may touch. */
static weft_err batch_bound(weft_batch *b) {
  weft_store_size size;
  b->docs_max = SIZE_MAX;
  if (b->r->now.doc_next <= WEFT_SHOW_DOCS_MAX) return WEFT_OK;
  WEFT_TRY(weft_store_get_size(b->r->store, &size));
  if (size.used > WEFT_SHOW_STORE_DENSE) b->docs_max = WEFT_SHOW_DOCS_MAX;
  return WEFT_OK;
}

static weft_err show_batch(weft_replica *r, weft_txn *txn, show_scope scope, weft_log *one,
                           uint64_t changes_max, weft_show_report *report) {
  weft_batch b = {.r = r, .txn = txn};
  r->moved = true;
  bool bounded = changes_max > 0 && changes_max < WEFT_SHOW_CHANGES_MAX;
  b.changes_max = bounded ? changes_max : WEFT_SHOW_CHANGES_MAX;
  b.arena = weft__spare_arena(r);
  b.one = weft__spare_arena(r);
  weft__hist_out_init(&b.hist, &r->mem);
  weft__buf_init(&b.row, &r->mem, SIZE_MAX);
  weft_err err = weft__spare_doc(r, &b.doc);
  if (err == WEFT_OK) err = batch_bound(&b);
  if (err == WEFT_OK) err = batch_collect(&b, scope, one);
  if (err == WEFT_OK) err = weft__batch_apply(&b);
  report->changes += b.change_count;
  report->ops += b.write_count;
  weft__spare_doc_give(r, b.doc);
  weft__buf_free(&b.row);
  weft__hist_out_free(&b.hist);
  weft__spare_arena_give(r, &b.one);
  weft__spare_arena_give(r, &b.arena);
  return err;
}

weft_err weft__show_run(weft_replica *r, weft_txn *txn, weft_log *only, uint64_t changes_max,
                        weft_show_report *report) {
  return show_batch(r, txn, only ? SHOW_ONE : SHOW_ALL, only, changes_max, report);
}

weft_err weft__show_touched(weft_replica *r, weft_txn *txn, weft_show_report *report) {
  return show_batch(r, txn, SHOW_TOUCHED, NULL, 0, report);
}

/* --- beginning anew --- */

const weft_table weft__derived[WEFT_DERIVED] = {
    WEFT_TABLE_DOCID, WEFT_TABLE_STATE, WEFT_TABLE_CONTEST, WEFT_TABLE_INDEX, WEFT_TABLE_ORDER};

void weft__image_restart(weft_replica *r, bool ready) {
  r->image++;
  for (uint32_t i = 0; i < r->log_count; i++) {
    weft_log *log = r->logs[i];
    log->shown = log->flow[WEFT_FLOW_SHOW].at = log->fork - 1;
    log->shown_id = log->before;
    if (!ready) continue;
    log->flow[WEFT_FLOW_READY] = (weft_log_flow){.at = log->fork - 1};
    log->ready_id = log->before;
    log->ready_seq = log->fork - 1;
  }
  r->now.doc_next = 0;
  r->now.shown = 0;
  r->now.digest = (weft_digest){0, 0};
  r->now.docs_live = r->now.docs_deleted = r->now.conflicts = 0;
  memset(&r->order, 0, sizeof r->order);
  weft__rules_clear(r);
  if (!ready) return;
  r->orphans = r->queue_head[WEFT_FLOW_READY] = r->queue_tail[WEFT_FLOW_READY] = NULL;
  for (uint32_t i = 0; i < r->log_count; i++) weft__ready_queue(r, r->logs[i]);
}

weft_err weft__show_restart(weft_replica *r, weft_txn *txn, bool ready) {
  weft_key_range all = {{NULL, 0}, {NULL, 0}};
  r->moved = true;
  r->restarted = true;
  WEFT_TRY(weft__events_settle(r, txn));
  for (size_t i = 0; i < WEFT_DERIVED; i++) {
    uint64_t count;
    WEFT_TRY(weft_txn_delete_range(txn, weft__derived[i], all, &count));
  }
  weft__image_restart(r, ready);
  for (uint32_t i = 0; i < r->log_count; i++) weft__log_touch(r, r->logs[i]);
  weft_event rebuilt = weft__event_own(r, WEFT_EVENT_STORE_REBUILT);
  return weft__event_put(r, txn, &rebuilt);
}

/* --- the public calls --- */

typedef struct show_call {
  uint64_t changes_max;
  weft_show_report report;
} show_call;

static weft_err show_write(weft_replica *r, weft_txn *txn, void *arg) {
  show_call *call = arg;
  memset(&call->report, 0, sizeof call->report);
  return weft__show_run(r, txn, NULL, call->changes_max, &call->report);
}

/* A batch that does not fit - a store that is nearly full, or documents so large that a transaction
 * cannot hold their pages - is tried again smaller. */
static weft_err show_shrinking(weft_replica *r, show_call *call) {
  uint64_t smaller = call->changes_max;
  if (smaller == 0 || smaller > WEFT_SHOW_CHANGES_MAX) smaller = WEFT_SHOW_CHANGES_MAX;
  weft_err err = weft__write(r, show_write, call);
  while (err == WEFT_EFULL && smaller > 1) {
    smaller /= 8;
    call->changes_max = smaller > 0 ? smaller : 1;
    err = weft__write(r, show_write, call);
  }
  return err;
}

/* True when some log has more showable than shown. */
static bool something_ready(const weft_replica *r) {
  for (uint32_t i = 0; i < r->log_count; i++) {
    if (r->logs[i]->flow[WEFT_FLOW_READY].at > r->logs[i]->shown) return true;
  }
  return false;
}

weft_err weft_replica_show(weft_replica *r, uint64_t changes_max, weft_show_report *report) {
  memset(report, 0, sizeof *report);
  if (r->group) return WEFT_EMISUSE;
  if (r->dead != WEFT_OK) return r->dead;
  if (r->stale) WEFT_TRY(weft__reload(r));
  show_call call = {changes_max, {0}};
  bool frozen = weft__roster_frozen(r->roster);
  uint64_t started = weft__metrics_clock(r->metrics);
  if (!frozen && something_ready(r)) WEFT_TRY(show_shrinking(r, &call));
  if (call.report.changes) weft__observe_since(r->metrics, WEFT_METRIC_SHOW_TIME, started);
  *report = call.report;
  report->waiting = r->now.held - r->now.shown;
  report->more = !frozen && something_ready(r);
  if (!report->more) weft__cache_trim(r);
  /* Whoever goes on while there is more would never end. */
  bool stuck = report->more && report->changes == 0;
  return stuck ? weft__replica_fail(r, WEFT_ECORRUPT, "what can be shown is not shown") : WEFT_OK;
}

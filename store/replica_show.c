/* Showing: from what is held to what is seen.
 *
 * Two walks over the logs share one mechanism.  The READY walk finds how far each log is showable:
 * it reads a change once, checks that everything it claims is showable and that the tags fit, or
 * else lets the log wait for the first claim that is not.  The SHOW walk goes the same way up to
 * there and collects a batch in which every change comes after what it claims.  A log that waits
 * stands in the list of the log it waits for and is looked at again when that one has moved, so
 * both walks are nearly linear.
 *
 * A batch is applied document by document; within a document in the order of the batch.  State,
 * history, document records, order, digest and the shown vector move in the caller's transaction,
 * so each batch is complete in itself.
 *
 * Failure modes: damage and storage errors go up; the caller drops the transaction. */
#include <string.h>

#include "crdt/assert.h"
#include "crdt/canary.h"
#include "crdt/limits.h"
#include "crdt/sort.h"
#include "crdt/view.h"
#include "store/outcome.h"
#include "store/replica_internal.h"
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

#define NO_CHANGE UINT32_MAX

enum { DOC_SLOTS_MIN = 64 };

/* What is kept of a change: a batch has tens of thousands. */
typedef struct batch_change {
  weft_dot dot;
  uint64_t hlc;
  weft_dot *claims;
  size_t claim_count;
  size_t events;  /* that follow from it; 0: they were told before */
  uint64_t event; /* the number of the first */
} batch_change;

/* What the edit being committed has loaded of a document. */
typedef struct batch_handed {
  weft_doc_record record;
  const weft_state_piece *pieces;
  size_t piece_count;
} batch_handed;

/* One op of a change: first in the order of collecting, then by document. */
typedef struct batch_write {
  const weft_op *op;
  uint32_t doc; /* its place; once it is found */
  uint32_t change;
} batch_write;

/* A cache line of what there are tens of thousands of. */
typedef struct batch_doc {
  weft_bytes name; /* copied */
  uint64_t hash;
  const batch_write *writes;
  const batch_handed *handed; /* NULL: it is in the store, or fresh */
  uint32_t write_count;
  uint32_t number;
  bool fresh; /* was not in the store */
} batch_doc;

/* A place in the table of documents by the hash of their names. */
typedef struct batch_slot {
  uint32_t doc; /* its place + 1; 0: free */
  uint32_t hash;
} batch_slot;

/* Ops whose document is not looked for yet: what that needs comes from far away in memory, and is
 * asked for as soon as it is known where it lies. */
enum { FIND_SLOT = 5, FIND_NAME = 9, FIND_AHEAD = 13, FIND_RING = 16 };

/* Marks what asks for memory ahead of its use.  It has no effect that a compiler knows of, so calls
 * of it would be left out. */
#define ASKS inline __attribute__((always_inline))

typedef struct batch {
  weft_replica *r;
  weft_txn *txn;
  weft_arena arena; /* everything the batch consists of */
  weft_arena one;   /* what one document needs */
  weft_doc *doc;
  weft_state state;
  batch_change *changes;
  size_t change_count;
  size_t change_cap;
  batch_write *writes;
  size_t write_count;
  size_t write_cap;
  size_t known;               /* writes whose document is found */
  uint64_t hashes[FIND_RING]; /* of the names of the others, by place */
  batch_doc *docs;            /* in the order in which they were found */
  size_t doc_count;
  size_t doc_cap;
  uint32_t *order; /* their places, by number */
  batch_slot *slots;
  size_t slot_count;
  weft_log **logs; /* that have something to show */
  size_t log_count;
  size_t log_cap;
  size_t raw_len;
  uint64_t changes_max;
  weft_conflict *found; /* of the document being judged, in `one` */
  size_t found_count;
  size_t docs_max;
  weft_doc_record record; /* of the document being shown */
  weft_hist_out hist;
  weft_buf row; /* of a record being stored */
} batch;

static bool batch_full(const batch *b) {
  return b->change_count >= b->changes_max || b->write_count >= WEFT_SHOW_OPS_MAX ||
         b->doc_count >= b->docs_max || b->raw_len >= WEFT_SHOW_LEN_MAX;
}

/* The hash is keyed, so that no author can choose names that collide. */
static uint64_t name_hash(const batch *b, weft_bytes name) {
  uint8_t out[16];
  uint64_t hash;
  b->r->crypto->siphash128(out, b->r->state_env.seal.key.b, name);
  memcpy(&hash, out, sizeof hash);
  return hash;
}

static weft_err slots_grow(batch *b) {
  size_t count = b->slot_count > 0 ? 2 * b->slot_count : DOC_SLOTS_MIN;
  batch_slot *slots = weft__arena_zero(&b->arena, count, sizeof *slots);
  if (!slots) return WEFT_ENOMEM;
  for (size_t i = 0; i < b->doc_count; i++) {
    uint64_t hash = b->docs[i].hash;
    size_t slot = (size_t)hash & (count - 1);
    while (slots[slot].doc != 0) slot = (slot + 1) & (count - 1);
    slots[slot] = (batch_slot){(uint32_t)i + 1, (uint32_t)(hash >> 32)};
  }
  b->slots = slots;
  b->slot_count = count;
  return WEFT_OK;
}

/* Finds the document, or makes a place for it. */
static weft_err batch_doc_find(batch *b, weft_bytes name, uint64_t hash, uint32_t *out) {
  if (b->doc_count * 2 >= b->slot_count) WEFT_TRY(slots_grow(b));
  size_t slot = (size_t)hash & (b->slot_count - 1);
  for (; b->slots[slot].doc != 0; slot = (slot + 1) & (b->slot_count - 1)) {
    if (b->slots[slot].hash != (uint32_t)(hash >> 32)) continue;
    *out = b->slots[slot].doc - 1;
    const batch_doc *doc = &b->docs[*out];
    if (doc->hash == hash && weft_bytes_cmp(doc->name, name) == 0) return WEFT_OK;
  }
  void *at = b->docs;
  WEFT_TRY(weft__arena_grow(&b->arena, &at, b->doc_count, &b->doc_cap, b->doc_count + 1,
                            sizeof *b->docs));
  b->docs = at;
  WEFT_TRY(weft__arena_copy(&b->arena, name, &name));
  *out = (uint32_t)b->doc_count++;
  b->docs[*out] = (batch_doc){.name = name, .hash = hash};
  b->slots[slot] = (batch_slot){*out + 1, (uint32_t)(hash >> 32)};
  return WEFT_OK;
}

/* The parser gives the name of a document as one view. */
static bool same_doc(const batch *b, size_t write) {
  if (write == 0) return false;
  weft_bytes name = b->writes[write].op->doc;
  weft_bytes before = b->writes[write - 1].op->doc;
  return name.at == before.at && name.len == before.len;
}

/* Finds the documents of the writes up to `count`. */
static weft_err writes_find(batch *b, size_t count) {
  for (; b->known < count; b->known++) {
    batch_write *w = &b->writes[b->known];
    if (same_doc(b, b->known)) {
      w->doc = w[-1].doc;
    } else {
      WEFT_TRY(batch_doc_find(b, w->op->doc, b->hashes[b->known % FIND_RING], &w->doc));
    }
    b->docs[w->doc].write_count++;
  }
  return WEFT_OK;
}

/* Asks for the slot of the newest write, for the document in that of an older one, and for the name
 * of that of a still older one. */
static ASKS void find_ahead(const batch *b) {
  if (b->slot_count == 0) return;
  size_t newest = b->write_count - 1;
  __builtin_prefetch(&b->slots[(size_t)b->hashes[newest % FIND_RING] & (b->slot_count - 1)]);
  if (newest < b->known + FIND_NAME) return;
  uint64_t hash = b->hashes[(newest - FIND_SLOT) % FIND_RING];
  const batch_slot *slot = &b->slots[(size_t)hash & (b->slot_count - 1)];
  if (slot->doc != 0) __builtin_prefetch(&b->docs[slot->doc - 1]);
  hash = b->hashes[(newest - FIND_NAME) % FIND_RING];
  slot = &b->slots[(size_t)hash & (b->slot_count - 1)];
  if (slot->doc != 0) __builtin_prefetch(b->docs[slot->doc - 1].name.at);
}

static weft_err batch_add_op(batch *b, const weft_op *op) {
  void *at = b->writes;
  WEFT_TRY(weft__arena_grow(&b->arena, &at, b->write_count, &b->write_cap, b->write_count + 1,
                            sizeof *b->writes));
  b->writes = at;
  b->writes[b->write_count] = (batch_write){op, 0, (uint32_t)b->change_count};
  bool same = same_doc(b, b->write_count);
  size_t before = b->write_count + FIND_RING - 1;
  b->hashes[b->write_count % FIND_RING] =
      same ? b->hashes[before % FIND_RING] : name_hash(b, op->doc);
  b->write_count++;
  find_ahead(b);
  return b->write_count > FIND_AHEAD ? writes_find(b, b->write_count - FIND_AHEAD) : WEFT_OK;
}

/* Takes a change whose claims are all in the batch or shown before. */
static weft_err batch_add(batch *b, weft_log *log, const weft_change *change, weft_dot *claims) {
  void *at = b->changes;
  WEFT_TRY(weft__arena_grow(&b->arena, &at, b->change_count, &b->change_cap, b->change_count + 1,
                            sizeof *b->changes));
  b->changes = at;
  for (size_t i = 0; i < change->op_count; i++) WEFT_TRY(batch_add_op(b, &change->ops[i]));
  batch_change *c = &b->changes[b->change_count++];
  *c = (batch_change){.dot = {log->number, ++log->flow[WEFT_FLOW_SHOW].at},
                      .hlc = change->hlc,
                      .claims = claims,
                      .claim_count = change->claim_count};
  if (c->dot.seq > log->told) c->events = weft__event_count(change);
  b->raw_len += change->raw.len;
  return WEFT_OK;
}

/* Reads a change for the batch, in whose arena everything stays.  A chunk is taken apart once for
 * all that the batch wants of it; where that is little, what is left is kept for the next batch. */
static weft_err batch_read(batch *b, weft_log *log, uint64_t seq, weft_change *change) {
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

static weft_err show_advance(batch *b, weft_log *log) {
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
static weft_err walk_add(batch *b, weft_log *log) {
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

static weft_err walk_begin(batch *b, show_scope scope, weft_log *one) {
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
static void walk_end(batch *b) {
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
static weft_err batch_reserve(batch *b) {
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

static weft_err batch_collect(batch *b, show_scope scope, weft_log *one) {
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

/* --- the documents of a batch --- */

enum { DOCS_AHEAD = 8 };

/* Asks for a document a little further on in a list of places. */
static ASKS void docs_ahead(const batch *b, const uint32_t *list, size_t at) {
  if (at + DOCS_AHEAD < b->doc_count) __builtin_prefetch(&b->docs[list[at + DOCS_AHEAD]]);
}

/* A document to be sorted by name. */
typedef struct doc_key {
  uint64_t head; /* the bytes behind what all names begin with */
  const batch_doc *doc;
} doc_key;

static int doc_key_cmp(const void *ctx, const void *a, const void *b) {
  (void)ctx;
  const doc_key *x = a;
  const doc_key *y = b;
  if (x->head != y->head) return x->head < y->head ? -1 : 1;
  return weft_bytes_cmp(x->doc->name, y->doc->name);
}

/* How many bytes all names have in common at their beginning. */
static size_t names_shared(const batch *b) {
  weft_bytes first = b->docs[0].name;
  size_t shared = first.len;
  for (size_t i = 1; i < b->doc_count; i++) {
    weft_bytes name = b->docs[i].name;
    size_t len = 0;
    while (len < shared && len < name.len && name.at[len] == first.at[len]) len++;
    shared = len;
  }
  return shared;
}

/* Eight bytes of a name; zeros behind its end, which stand in no name. */
static uint64_t name_head(weft_bytes name, size_t from) {
  uint64_t head = 0;
  for (size_t i = from; i < from + sizeof head; i++) {
    head = head << 8 | (i < name.len ? name.at[i] : 0);
  }
  return head;
}

/* Puts the documents into the order of their names.  Most are told apart by what lies in the list
 * itself, so that the documents, of which a batch has tens of thousands, need not be fetched for
 * each comparison. */
static weft_err docs_sort_names(batch *b) {
  doc_key *keys = weft__arena_take(&b->arena, b->doc_count * sizeof *keys);
  const void **list = weft__arena_take(&b->arena, 2 * b->doc_count * sizeof *list);
  b->order = weft__arena_take(&b->arena, b->doc_count * sizeof *b->order);
  if (!keys || !list || !b->order) return WEFT_ENOMEM;
  size_t shared = names_shared(b);
  for (size_t i = 0; i < b->doc_count; i++) {
    keys[i] = (doc_key){name_head(b->docs[i].name, shared), &b->docs[i]};
    list[i] = &keys[i];
  }
  weft__sort(list, list + b->doc_count, b->doc_count, doc_key_cmp, NULL);
  for (size_t i = 0; i < b->doc_count; i++) {
    b->order[i] = (uint32_t)(((const doc_key *)list[i])->doc - b->docs);
  }
  return WEFT_OK;
}

/* A document to be sorted by number. */
typedef struct doc_place {
  uint32_t number;
  uint32_t doc;
} doc_place;

/* A few are sorted as they are put: the digits below cost thousands of steps however few there are,
 * and the batch of a commit has one document. */
enum { PLACES_FEW = 64 };

static void places_sort_few(const doc_place *places, doc_place *sorted, size_t count) {
  for (size_t i = 0; i < count; i++) {
    size_t k = i;
    for (; k > 0 && sorted[k - 1].number > places[i].number; k--) sorted[k] = sorted[k - 1];
    sorted[k] = places[i];
  }
}

/* Sorts by number, eleven bits after eleven. */
static void places_sort(doc_place *places, doc_place *scratch, size_t count) {
  enum { bits = 11, digits = 1 << bits };
  for (unsigned shift = 0; shift < 33; shift += bits) {
    size_t starts[digits + 1] = {0};
    for (size_t i = 0; i < count; i++) starts[(places[i].number >> shift) % digits + 1]++;
    for (size_t d = 0; d < digits; d++) starts[d + 1] += starts[d];
    for (size_t i = 0; i < count; i++) {
      scratch[starts[(places[i].number >> shift) % digits]++] = places[i];
    }
    doc_place *sorted = scratch;
    scratch = places;
    places = sorted;
  }
}

/* Puts the documents into the order of their numbers. */
static weft_err docs_sort_numbers(batch *b) {
  doc_place *places = weft__arena_take(&b->arena, b->doc_count * sizeof *places);
  doc_place *sorted = weft__arena_take(&b->arena, b->doc_count * sizeof *sorted);
  if (!places || !sorted) return WEFT_ENOMEM;
  for (size_t i = 0; i < b->doc_count; i++) {
    docs_ahead(b, b->order, i);
    places[i] = (doc_place){b->docs[b->order[i]].number, b->order[i]};
  }
  if (b->doc_count <= PLACES_FEW) {
    places_sort_few(places, sorted, b->doc_count);
  } else {
    places_sort(places, sorted, b->doc_count);
  }
  for (size_t i = 0; i < b->doc_count; i++) b->order[i] = sorted[i].doc;
  return WEFT_OK;
}

/* Puts the writes of each document together, in the order of the documents: whoever goes through
 * them then knows where in memory the next ones lie. */
static weft_err writes_sort(batch *b) {
  batch_write *sorted = weft__arena_take(&b->arena, b->write_count * sizeof *sorted);
  if (!sorted) return WEFT_ENOMEM;
  batch_write *to = sorted;
  for (size_t i = 0; i < b->doc_count; i++) {
    docs_ahead(b, b->order, i);
    batch_doc *doc = &b->docs[b->order[i]];
    doc->writes = to;
    to += doc->write_count;
    doc->write_count = 0;
  }
  for (size_t i = 0; i < b->write_count; i++) {
    if (i + DOCS_AHEAD < b->write_count) {
      __builtin_prefetch(&b->docs[b->writes[i + DOCS_AHEAD].doc]);
    }
    batch_doc *doc = &b->docs[b->writes[i].doc];
    sorted[(doc->writes - sorted) + (ptrdiff_t)doc->write_count++] = b->writes[i];
  }
  b->writes = sorted;
  return WEFT_OK;
}

/* Takes over what the edit being committed knows of a document. */
static weft_err doc_take_handed(batch *b, batch_doc *doc) {
  batch_handed handed;
  if (!weft__edit_handed(b->r, doc->name, &handed.record, &handed.pieces, &handed.piece_count)) {
    return WEFT_OK;
  }
  batch_handed *copy = weft__arena_take(&b->arena, sizeof *copy);
  if (!copy) return WEFT_ENOMEM;
  *copy = handed;
  doc->handed = copy;
  doc->number = handed.record.number;
  return WEFT_OK;
}

/* A walk through the names of documents, in their order. */
typedef struct name_walk {
  weft_cursor *cursor; /* NULL: nothing was asked for */
  weft_entry at;       /* the first name that is not before the last one asked for */
  weft_err err;        /* of getting there; WEFT_EDONE: there is none */
  bool begun;
} name_walk;

/* Goes on to the first name at or behind `name`: step by step where names lie close together, and
 * with a search where they do not. */
static void names_go_on(name_walk *w, weft_bytes name) {
  enum { STEPS = 4 };
  for (unsigned i = 0; i < STEPS && w->begun; i++) {
    if (w->err != WEFT_OK || weft_bytes_cmp(w->at.key, name) >= 0) return;
    w->err = weft_cursor_next(w->cursor, &w->at);
  }
  if (w->begun && (w->err != WEFT_OK || weft_bytes_cmp(w->at.key, name) >= 0)) return;
  w->begun = true;
  w->err = weft_cursor_seek(w->cursor, name, &w->at);
}

/* Finds the number of a document, or gives it one.  Names are asked for ascending. */
static weft_err doc_number(batch *b, name_walk *w, batch_doc *doc) {
  if (!w->cursor) WEFT_TRY(weft_cursor_open(b->txn, WEFT_TABLE_DOCID, &w->cursor));
  names_go_on(w, doc->name);
  if (w->err != WEFT_EDONE) WEFT_TRY(w->err);
  if (w->err == WEFT_OK && weft_bytes_cmp(w->at.key, doc->name) == 0) {
    weft_rd rd = weft__rd(w->at.value);
    doc->number = weft__rd_u32(&rd);
    return weft__rd_done(&rd) ? WEFT_OK : WEFT_ECORRUPT;
  }
  doc->fresh = true;
  doc->number = b->r->now.doc_next++;
  return WEFT_OK;
}

static weft_err docs_number(batch *b) {
  name_walk w = {0};
  weft_err err = WEFT_OK;
  for (size_t i = 0; i < b->doc_count && err == WEFT_OK; i++) {
    batch_doc *doc = &b->docs[b->order[i]];
    docs_ahead(b, b->order, i);
    if (b->r->handed) err = doc_take_handed(b, doc);
    if (err == WEFT_OK && !doc->handed) err = doc_number(b, &w, doc);
  }
  weft_cursor_close(w.cursor);
  return err;
}

/* Finds the documents in the order of their names, which is that of the table, and leaves them in
 * that of their numbers, in which everything about them is written. */
static weft_err docs_find(batch *b) {
  if (b->doc_count == 0) return WEFT_OK;
  WEFT_TRY(docs_sort_names(b));
  WEFT_TRY(docs_number(b));
  WEFT_TRY(docs_sort_numbers(b));
  return writes_sort(b);
}

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

static weft_err batch_order(batch *b) {
  weft_replica *r = b->r;
  for (size_t i = 0; i < b->change_count; i++) {
    batch_change *c = &b->changes[i];
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
static bool changes_plain(const batch *b, const weft_state *state) {
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
static weft_err doc_judge(batch *b, weft_state *state, weft_doc_record *record) {
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
static weft_err doc_note(batch *b, const batch_change *c, uint64_t shown) {
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
static weft_err doc_record_find(batch *b, const batch_doc *doc, weft_state *state) {
  weft_bytes row;
  b->record = (weft_doc_record){.number = doc->number, .name = doc->name};
  if (doc->fresh) return WEFT_OK;
  WEFT_TRY(weft__promised(weft__state_record(state, &row)));
  return weft__doc_record_open(b->r, b->txn, doc->number, row, &b->one, &b->record);
}

static weft_err doc_load_wanted(batch *b, const batch_doc *doc, weft_state *state) {
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
static ASKS void writes_ahead(const batch *b, const batch_write *w) {
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

static weft_err doc_show_writes(batch *b, batch_doc *doc, weft_state *state,
                                uint64_t shown_before) {
  uint32_t last = NO_CHANGE;
  for (size_t i = 0; i < doc->write_count; i++) {
    const batch_write *w = &doc->writes[i];
    const batch_change *c = &b->changes[w->change];
    writes_ahead(b, w);
    if (w->change != last) WEFT_TRY(doc_note(b, c, shown_before + w->change + 1));
    last = w->change;
    weft_shown shown = {c->dot, c->hlc, c->claims, c->claim_count};
    WEFT_TRY(weft__doc_show(state->doc, &shown, w->op));
  }
  return WEFT_OK;
}

/* Moves the counts of documents and conflicts from what the record said to what it says. */
static void totals_move(const batch *b, const batch_doc *doc, const weft_doc_record *was) {
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
static weft_err conflicts_tell(batch *b, const batch_doc *doc, const weft_doc_record *was) {
  const batch_change *cause = NULL;
  if (b->record.conflicts == was->conflicts) return WEFT_OK;
  for (size_t i = 0; i < doc->write_count; i++) {
    const batch_change *c = &b->changes[doc->writes[i].change];
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

static weft_err docid_put(batch *b, const batch_doc *doc) {
  if (!doc->fresh) return WEFT_OK;
  uint8_t number[4];
  for (unsigned i = 0; i < 4; i++) number[i] = (uint8_t)(b->record.number >> (24 - 8 * i));
  return weft_txn_put(b->txn, WEFT_TABLE_DOCID, doc->name, weft_bytes_of(number, sizeof number));
}

static weft_err doc_apply(batch *b, batch_doc *doc, uint64_t shown_before) {
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

static weft_err docs_apply(batch *b, uint64_t shown_before) {
  weft_err err = weft__state_begin(&b->state, &b->r->state_env, b->txn, 0, b->doc, &b->one);
  b->state.borrow = true;
  for (size_t i = 0; i < b->doc_count && err == WEFT_OK; i++) {
    docs_ahead(b, b->order, i);
    err = doc_apply(b, &b->docs[b->order[i]], shown_before);
  }
  weft__state_end(&b->state);
  return err == WEFT_ECORRUPT ? weft__replica_fail(b->r, err, "a segment is damaged") : err;
}

/* Lets the rules that the batch showed come into force. */
static weft_err batch_rules(batch *b) {
  size_t count = 0;
  weft_bytes *docs = weft__arena_zero(&b->arena, b->doc_count, sizeof *docs);
  if (!docs) return WEFT_ENOMEM;
  for (size_t i = 0; i < b->doc_count; i++) {
    if (weft__strategy_doc(b->docs[i].name)) docs[count++] = b->docs[i].name;
  }
  return count > 0 ? weft__rules_changed(b->r, b->txn, docs, count) : WEFT_OK;
}

static weft_err batch_apply(batch *b) {
  uint64_t shown_before = b->r->now.shown;
  WEFT_TRY(docs_find(b));
  WEFT_TRY(batch_order(b));
  WEFT_TRY(docs_apply(b, shown_before));
  return batch_rules(b);
}

/* How many documents a batch may touch. */
static weft_err batch_bound(batch *b) {
  weft_store_size size;
  b->docs_max = SIZE_MAX;
  if (b->r->now.doc_next <= WEFT_SHOW_DOCS_MAX) return WEFT_OK;
  WEFT_TRY(weft_store_get_size(b->r->store, &size));
  if (size.used > WEFT_SHOW_STORE_DENSE) b->docs_max = WEFT_SHOW_DOCS_MAX;
  return WEFT_OK;
}

static weft_err show_batch(weft_replica *r, weft_txn *txn, show_scope scope, weft_log *one,
                           uint64_t changes_max, weft_show_report *report) {
  batch b = {.r = r, .txn = txn};
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
  if (err == WEFT_OK) err = batch_apply(&b);
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
  return WEFT_OK;
}

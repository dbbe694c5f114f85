/* Local edits: from what a person does to one signed change.
 *
 * An edit rests on a base: the shown vector at its beginning, or the one it was given.  Every
 * document it touches is loaded as it stood there, and a weft_writer computes the ops on it.  At
 * commit the claims are taken from those same documents; then the write is refused if a log of this
 * device has written at, above or below one of its paths after the base.  The change is encoded,
 * read back by the decoder that receivers use, chained, stored and shown in one transaction.  Where
 * nothing was shown since the edit began, showing it starts from the documents that it has loaded.
 *
 * An edit that is a draft (store/history_draft.c) leaves the store in the transaction that commits
 * it.
 *
 * Failure modes: the edit stays open on any error.  After a rollback of a group, edits that rest on
 * what is gone can only be freed. */
#include <string.h>

#include "crdt/assert.h"
#include "crdt/limits.h"
#include "crdt/sort.h"
#include "crdt/write.h"
#include "store/outcome.h"
#include "store/replica_internal.h"
#include "store/strategy.h"

enum { EARLIER_LOGS_MAX = 64 };

/* A path whose conflict the edit settles. */
typedef struct resolved resolved;
struct resolved {
  resolved *next;
  weft_path path;
};

typedef struct edit_doc edit_doc;
struct edit_doc {
  edit_doc *next;
  edit_doc *same; /* the next one in its slot */
  weft_bytes name;
  weft_doc *base;
  weft_writer *writer;
  resolved *resolved;
  bool loaded; /* `base` is what the store holds, as `record` and `pieces` say */
  uint64_t image;
  weft_doc_record record;
  const weft_state_piece *pieces;
  size_t piece_count;
};

struct weft_edit {
  weft_replica *r;
  weft_edit *next;
  weft_arena arena;
  weft_bytes message;
  weft_bytes extensions;
  weft_lane lane;
  uint64_t epoch; /* changes shown when it began */
  bool has_base;  /* it was given one that is older */
  weft_base base;
  uint64_t hlc; /* for element ids */
  weft_err broken;
  bool committed;
  weft_bytes draft; /* its name in the store; empty: it is not there */
  weft_ms begun;
  edit_doc *docs;
  edit_doc **docs_end;
  edit_doc *met; /* the one asked for last: mostly it is the next one too */
  size_t doc_count;
  edit_doc **slots; /* by name, once there are many */
  size_t slot_count;
};

/* --- own logs --- */

/* The START of the log that this device writes in a lane now. */
static void own_start(const weft_replica *r, weft_lane lane, weft_start *start) {
  memset(start, 0, sizeof *start);
  start->device = r->identity.device;
  memcpy(start->incarnation, r->incarnation, sizeof start->incarnation);
  start->lane = (uint8_t)lane;
}

/* Finds it; NULL when it has no change yet.  `id` is set either way. */
static weft_log *own_log(weft_replica *r, weft_lane lane, weft_id *id) {
  weft_own_log *own = &r->own[lane];
  if (!own->known || memcmp(own->incarnation, r->incarnation, sizeof own->incarnation) != 0) {
    weft_start start;
    own_start(r, lane, &start);
    weft__log_id(r->crypto, &r->space, &start, &own->id);
    memcpy(own->incarnation, r->incarnation, sizeof own->incarnation);
    own->known = true;
  }
  *id = own->id;
  return weft__log_find(r, id);
}

/* --- begin and end --- */

void weft_edit_options_init_sized(weft_edit_options *o, size_t struct_size) {
  memset(o, 0, struct_size);
  o->struct_size = struct_size;
  o->lane = WEFT_LANE_NORMAL;
}

/* True when the base is what is shown now. */
static bool base_is_now(const weft_replica *r, const weft_base *base) {
  for (uint32_t i = 0; i < r->log_count; i++) {
    if (base->seqs[i] != r->logs[i]->shown) return false;
  }
  return true;
}

static weft_err edit_base(weft_edit *e, const weft_vector *base) {
  weft_txn *txn;
  weft_replica *r = e->r;
  if (!base) return WEFT_OK;
  WEFT_TRY(weft__read_begin(r, &txn));
  weft_err err = weft__base_of_vector(r, txn, base, &e->arena, &e->base);
  weft__read_end(r, txn);
  if (err == WEFT_EBASE) return weft__replica_fail(r, err, "the base names changes not shown here");
  WEFT_TRY(err);
  e->has_base = !base_is_now(r, &e->base);
  return WEFT_OK;
}

static weft_err edit_fill(weft_edit *e, const weft_edit_options *o) {
  weft_replica *r = e->r;
  weft_id grant;
  bool sane = o->lane < WEFT_LANES && o->message.len <= WEFT_MESSAGE_LEN_MAX;
  if (!sane || !weft__utf8_ok(o->message)) return WEFT_ELIMIT;
  WEFT_TRY(weft__member_grant(r, &grant));
  e->lane = o->lane;
  e->begun = r->platform.wall_ms(r->platform.ctx);
  e->epoch = r->now.shown;
  WEFT_TRY(weft__arena_copy(&e->arena, o->message, &e->message));
  WEFT_TRY(weft__arena_copy(&e->arena, o->extensions, &e->extensions));
  WEFT_TRY(edit_base(e, o->base));
  weft__clock_follow(r);
  return weft__clock_tick(r, &e->hlc);
}

weft_err weft_edit_begin(weft_edit **out, weft_replica *r, const weft_edit_options *o) {
  weft_edit_options defaults;
  weft_edit_options_init(&defaults);
  *out = NULL;
  if (r->dead != WEFT_OK) return r->dead;
  if (r->group && r->group_err != WEFT_OK) return r->group_err;
  if (r->stale) WEFT_TRY(weft__reload(r));
  weft_edit *e = r->mem.alloc(r->mem.ctx, sizeof *e);
  if (!e) return WEFT_ENOMEM;
  memset(e, 0, sizeof *e);
  e->r = r;
  e->docs_end = &e->docs;
  e->arena = weft__spare_arena(r);
  e->next = r->edits;
  r->edits = e;
  weft_err err = edit_fill(e, o ? o : &defaults);
  if (err != WEFT_OK) {
    weft_edit_free(e);
    return err;
  }
  *out = e;
  return WEFT_OK;
}

void weft_edit_free(weft_edit *e) {
  if (!e) return;
  weft_replica *r = e->r;
  weft_edit **at = &r->edits;
  while (*at != e) at = &(*at)->next;
  *at = e->next;
  for (edit_doc *d = e->docs; d; d = d->next) {
    weft__writer_free(d->writer);
    weft__spare_doc_give(r, d->base);
  }
  weft__spare_arena_give(r, &e->arena);
  r->mem.free(r->mem.ctx, e);
}

void weft__edits_drop(weft_replica *r) {
  while (r->edits) weft_edit_free(r->edits);
}

void weft__edits_rollback(weft_replica *r) {
  for (weft_edit *e = r->edits; e; e = e->next) {
    if (e->epoch > r->published.shown) e->broken = WEFT_EBASE;
  }
}

/* --- documents of an edit --- */

enum { EDIT_DOCS_FEW = 8 }; /* up to so many are looked for one by one */

static edit_doc **edit_slot(const weft_edit *e, weft_bytes name) {
  uint8_t hash[16];
  size_t at;
  e->r->crypto->siphash128(hash, e->r->state_env.seal.key.b, name);
  memcpy(&at, hash, sizeof at);
  return &e->slots[at & (e->slot_count - 1)];
}

static void edit_slot_put(const weft_edit *e, edit_doc *d) {
  edit_doc **slot = edit_slot(e, d->name);
  d->same = *slot;
  *slot = d;
}

/* The document of that name; NULL when the edit has not met it. */
static edit_doc *edit_find(const weft_edit *e, weft_bytes name) {
  edit_doc *d = e->slots ? *edit_slot(e, name) : e->docs;
  while (d && weft_bytes_cmp(d->name, name) != 0) d = e->slots ? d->same : d->next;
  return d;
}

/* Makes room for one more. */
static weft_err edit_slots_grow(weft_edit *e) {
  size_t count = e->slots ? 2 * e->slot_count : 4 * EDIT_DOCS_FEW;
  if (e->doc_count < (e->slots ? e->slot_count : EDIT_DOCS_FEW)) return WEFT_OK;
  edit_doc **slots = weft__arena_zero(&e->arena, count, sizeof(edit_doc *));
  if (!slots) return WEFT_ENOMEM;
  e->slots = slots;
  e->slot_count = count;
  for (edit_doc *d = e->docs; d; d = d->next) edit_slot_put(e, d);
  return WEFT_OK;
}

/* Loads the document as it stood at the edit's base; an empty one when it was not there. */
static weft_err edit_load(weft_edit *e, weft_txn *txn, edit_doc *d) {
  weft_replica *r = e->r;
  weft_doc_record *record = &d->record;
  weft_err err = weft__doc_record_find(r, txn, d->name, &e->arena, record);
  if (err == WEFT_ENOTFOUND) return weft__spare_doc(r, &d->base);
  if (err != WEFT_OK) return err;
  if (e->has_base) return weft__doc_at(r, txn, record->number, &e->base, &d->base);
  if (e->epoch == r->now.shown) {
    WEFT_TRY(weft__doc_load_in(r, txn, record->number, &e->arena, &d->base, &d->pieces,
                               &d->piece_count));
    weft__doc_set_plain(d->base, !record->suspect);
    d->loaded = true;
    d->image = r->image;
    return WEFT_OK;
  }
  weft_base base;
  WEFT_TRY(weft__base_of_shown(r, txn, e->epoch, &e->arena, &base));
  return weft__doc_at(r, txn, record->number, &base, &d->base);
}

/* Nothing was shown since the edit began, and what it loaded is still what the numbers mean. */
bool weft__edit_handed(const weft_replica *r, weft_bytes name, weft_doc_record *record,
                       const weft_state_piece **pieces, size_t *count) {
  if (!r->handed || r->handed->has_base) return false;
  const edit_doc *d = edit_find(r->handed, name);
  if (!d || !d->loaded || d->image != r->image) return false;
  *record = d->record;
  *pieces = d->pieces;
  *count = d->piece_count;
  return true;
}

static void edit_origin(const weft_edit *e, weft_write_origin *origin) {
  weft_replica *r = e->r;
  const weft_log *log = own_log(r, e->lane, &origin->log);
  origin->seq = log ? log->held + 1 : 2;
  if (log) {
    origin->prev = log->head;
  } else {
    weft__log_root(r->crypto, &origin->log, &origin->prev);
  }
  origin->hlc = e->hlc;
  memcpy(origin->tag, r->identity.device.b, sizeof origin->tag);
}

/* Nothing was shown since the edit began, and it has no older base. */
static bool edit_is_now(const weft_edit *e) { return !e->has_base && e->epoch == e->r->now.shown; }

static weft_err edit_open(weft_edit *e, edit_doc *d) {
  weft_txn *txn;
  weft_replica *r = e->r;
  weft_write_origin origin;
  if (r->txn && edit_is_now(e)) {
    txn = r->txn; /* a group keeps nothing of documents back */
  } else {
    WEFT_TRY(weft__read_begin(r, &txn));
  }
  weft_err err = edit_load(e, txn, d);
  weft__read_end(r, txn);
  WEFT_TRY(err);
  edit_origin(e, &origin);
  err = weft__writer_new(&d->writer, &r->mem, r->crypto, d->base, d->name, &origin);
  if (err == WEFT_OK) return WEFT_OK;
  weft__doc_free(d->base);
  d->base = NULL;
  d->loaded = false;
  return err;
}

/* Gives the document of an edit, loading it when it is met for the first time. */
static weft_err edit_doc_of(weft_edit *e, weft_bytes name, edit_doc **out) {
  if (e->broken != WEFT_OK) return e->broken;
  if (e->committed) return WEFT_EMISUSE;
  *out = e->met;
  if (e->met && weft_bytes_cmp(e->met->name, name) == 0) return WEFT_OK;
  *out = edit_find(e, name);
  if (*out) e->met = *out;
  if (*out) return WEFT_OK;
  WEFT_TRY(weft_document_name_check(name));
  WEFT_TRY(edit_slots_grow(e));
  edit_doc *d = weft__arena_zero(&e->arena, 1, sizeof *d);
  if (!d) return WEFT_ENOMEM;
  WEFT_TRY(weft__arena_copy(&e->arena, name, &d->name));
  WEFT_TRY(edit_open(e, d));
  *e->docs_end = d;
  e->docs_end = &d->next;
  e->doc_count++;
  if (e->slots) edit_slot_put(e, d);
  *out = e->met = d;
  return WEFT_OK;
}

weft_err weft__edit_writer(weft_edit *e, weft_bytes doc, weft_writer **out) {
  edit_doc *d;
  WEFT_TRY(edit_doc_of(e, doc, &d));
  *out = d->writer;
  return WEFT_OK;
}

/* --- writes --- */

/* Where a write goes: a document of the edit, a path in it, whether it appends there. */
typedef struct edit_place {
  edit_doc *doc;
  weft_path path;
  bool append;
  bool visible;
} edit_place;

static weft_err place_see(edit_place *p) {
  const weft_doc *doc = weft__writer_doc(p->doc->writer);
  return doc ? weft__doc_visible(doc, p->path, &p->visible) : WEFT_ENOMEM;
}

static weft_err place_of(weft_edit *e, weft_bytes name, weft_bytes pointer, edit_place *p) {
  weft_bytes *tokens;
  size_t count;
  size_t depth;
  WEFT_TRY(edit_doc_of(e, name, &p->doc));
  WEFT_TRY(weft_pointer_split(&e->arena, pointer, &tokens, &count));
  const weft_doc *doc = weft__writer_doc(p->doc->writer);
  if (!doc) return WEFT_ENOMEM;
  WEFT_TRY(weft__doc_resolve(doc, &e->arena, tokens, count, &p->path, &p->append, &depth));
  return place_see(p);
}

weft_err weft_edit_set(weft_edit *e, weft_bytes doc, weft_bytes pointer, const weft_value *value) {
  edit_place p;
  WEFT_TRY(place_of(e, doc, pointer, &p));
  if (p.append) return weft__write_insert(p.doc->writer, p.path, SIZE_MAX, value, NULL);
  return weft__write_set(p.doc->writer, p.path, value, true);
}

weft_err weft_edit_unset(weft_edit *e, weft_bytes doc, weft_bytes pointer) {
  edit_place p;
  WEFT_TRY(place_of(e, doc, pointer, &p));
  if (p.append || !p.visible) return WEFT_ENOTFOUND;
  return weft__write_unset(p.doc->writer, p.path);
}

weft_err weft_edit_insert(weft_edit *e, weft_bytes doc, weft_bytes pointer, size_t idx,
                          const weft_value *value) {
  edit_place p;
  WEFT_TRY(place_of(e, doc, pointer, &p));
  if (p.append) return WEFT_EBADPATH;
  return weft__write_insert(p.doc->writer, p.path, idx, value, NULL);
}

weft_err weft_edit_move(weft_edit *e, weft_bytes doc, weft_bytes pointer, size_t from, size_t to) {
  edit_place p;
  WEFT_TRY(place_of(e, doc, pointer, &p));
  if (p.append || !p.visible) return WEFT_ENOTFOUND;
  return weft__write_move(p.doc->writer, p.path, from, to);
}

/* The whole document as a place. */
static weft_err place_root(weft_edit *e, weft_bytes name, edit_place *p) {
  memset(p, 0, sizeof *p);
  WEFT_TRY(edit_doc_of(e, name, &p->doc));
  return place_see(p);
}

weft_err weft_edit_delete(weft_edit *e, weft_bytes doc) {
  edit_place p;
  WEFT_TRY(place_root(e, doc, &p));
  return p.visible ? weft__write_unset(p.doc->writer, p.path) : WEFT_ENOTFOUND;
}

weft_err weft_edit_undelete(weft_edit *e, weft_bytes doc) {
  edit_place p;
  WEFT_TRY(place_root(e, doc, &p));
  const weft_doc *now = weft__writer_doc(p.doc->writer);
  if (p.visible || !weft__doc_find(now, p.path)) return WEFT_ENOTFOUND;
  return weft__write_undelete(p.doc->writer);
}

weft_err weft_edit_import(weft_edit *e, weft_bytes doc, const weft_value *value, bool merge) {
  edit_place p;
  if (value->kind != WEFT_OBJECT) return WEFT_EBADVALUE;
  WEFT_TRY(place_root(e, doc, &p));
  if (merge) return weft__write_merge(p.doc->writer, p.path, value);
  return weft__write_set(p.doc->writer, p.path, value, false);
}

static weft_err resolve_note(weft_edit *e, edit_doc *d, weft_path path) {
  resolved *note = weft__arena_zero(&e->arena, 1, sizeof *note);
  if (!note) return WEFT_ENOMEM;
  WEFT_TRY(weft__arena_copy(&e->arena, path, &note->path));
  note->next = d->resolved;
  d->resolved = note;
  return WEFT_OK;
}

weft_err weft_edit_resolve(weft_edit *e, weft_bytes doc, weft_path path, const weft_value *value) {
  edit_doc *d;
  if (weft_path_check(path) != WEFT_OK) return WEFT_EBADPATH;
  WEFT_TRY(edit_doc_of(e, doc, &d));
  WEFT_TRY(resolve_note(e, d, path));
  if (!value) return weft__write_keep(d->writer, path);
  return weft__write_set(d->writer, path, value, true);
}

weft_err weft_edit_remove_path(weft_edit *e, weft_bytes doc, weft_path path) {
  edit_doc *d;
  if (weft_path_check(path) != WEFT_OK) return WEFT_EBADPATH;
  WEFT_TRY(edit_doc_of(e, doc, &d));
  WEFT_TRY(resolve_note(e, d, path));
  return weft__write_unset(d->writer, path);
}

/* --- commit --- */

typedef struct commit_call {
  weft_edit *e;
  weft_op *ops;
  size_t op_count;
  weft_commit *out;
} commit_call;

/* What the questions of weft__doc_claims are answered from. */
typedef struct claim_view {
  const weft_replica *r;
  const weft_base *base;
} claim_view;

static bool in_base(const void *ctx, weft_dot dot) {
  const claim_view *v = ctx;
  return weft__base_has(v->base, dot);
}

static bool is_own(const void *ctx, weft_dot dot) {
  const claim_view *v = ctx;
  const weft_log *log = weft__log_of(v->r, dot.log);
  return weft_id_cmp(&log->device, &v->r->identity.device) == 0;
}

static uint32_t family_of(const void *ctx, uint32_t log) {
  const claim_view *v = ctx;
  if (log >= v->r->log_count) return log; /* of a damaged document: found out further on */
  const weft_log *first = weft__log_find(v->r, &weft__log_of(v->r, log)->id);
  return first ? first->number : log;
}

/* Refuses the edit when this device has written there after the base. */
static weft_err stale_check(weft_edit *e, weft_txn *txn, weft_arena *arena) {
  weft_replica *r = e->r;
  weft_base base = e->base;
  bool newer = false;
  if (edit_is_now(e)) return WEFT_OK;
  WEFT_TRY(weft__group_settle(r, txn));
  if (!e->has_base) WEFT_TRY(weft__base_of_shown(r, txn, e->epoch, arena, &base));
  claim_view view = {r, &base};
  weft_claim_query query = {&view, {UINT32_MAX, 0}, in_base, is_own, family_of};
  for (edit_doc *d = e->docs; d && !newer; d = d->next) {
    const weft_op *ops;
    size_t count;
    weft_doc_record record;
    weft_doc *now;
    weft_dot_list claims = {0};
    weft__writer_ops(d->writer, &ops, &count);
    weft_err err = weft__doc_record_find(r, txn, d->name, arena, &record);
    if (err == WEFT_ENOTFOUND || count == 0) continue;
    WEFT_TRY(err);
    WEFT_TRY(weft__doc_load(r, txn, record.number, &now));
    err = weft__doc_claims(now, &r->lineage, ops, count, &query, arena, &claims, &newer);
    weft__doc_free(now);
    WEFT_TRY(err);
  }
  return newer ? weft__replica_fail(r, WEFT_ESTALE, "changed here meanwhile") : WEFT_OK;
}

/* Paths in their order: `list` points to `count` of them. */
typedef struct path_list {
  const void **list;
  size_t count;
} path_list;

static int path_cmp(const void *ctx, const void *a, const void *b) {
  (void)ctx;
  return weft_bytes_cmp(*(const weft_path *)a, *(const weft_path *)b);
}

/* The first one at or behind `path`; NULL behind the last. */
static const weft_path *path_from(const path_list *paths, weft_path path) {
  size_t low = 0, high = paths->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (path_cmp(NULL, paths->list[middle], &path) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < paths->count ? paths->list[low] : NULL;
}

/* True when one of them is the same place, above it or below it. */
static bool any_related(const path_list *paths, weft_path path) {
  size_t at = 0;
  weft_step step;
  const weft_path *found = path_from(paths, path);
  if (found && weft__path_related(*found, path)) return true;
  for (size_t len = 0; weft_path_next(path, &at, &step); len = at) {
    weft_path above = weft_bytes_of(path.at, len);
    found = path_from(paths, above);
    if (found && weft_bytes_cmp(*found, above) == 0) return true;
  }
  return false;
}

/* The paths that the edit settles. */
static weft_err resolved_paths(const edit_doc *d, weft_arena *arena, path_list *out) {
  size_t count = 0;
  for (const resolved *note = d->resolved; note; note = note->next) count++;
  *out = (path_list){weft__arena_zero(arena, count, 2 * sizeof *out->list), 0};
  if (!out->list) return WEFT_ENOMEM;
  for (const resolved *note = d->resolved; note; note = note->next) {
    out->list[out->count++] = &note->path;
  }
  weft__sort(out->list, out->list + count, count, path_cmp, NULL);
  return WEFT_OK;
}

/* The conflicts of `doc` under the strategy manual. */
static weft_err manual_paths(const weft_edit *e, const edit_doc *d, const weft_doc *doc,
                             weft_arena *arena, path_list *out) {
  weft_conflict *list;
  size_t count;
  weft_err err = weft__doc_conflicts(doc, weft_bytes_of(NULL, 0), arena, &list, &count);
  WEFT_TRY(weft__was_whole(err));
  *out = (path_list){weft__arena_zero(arena, count, sizeof *out->list), 0};
  if (!out->list) return WEFT_ENOMEM;
  for (size_t i = 0; i < count; i++) { /* they stand in the order of their paths */
    if (weft__strategy_of(e->r, d->name, list[i].path) != WEFT_STRATEGY_MANUAL) continue;
    out->list[out->count++] = &list[i].path;
  }
  return WEFT_OK;
}

/* Refuses plain writes at, above or below the conflicts of `doc` under the strategy manual. */
static weft_err manual_check_doc(const weft_edit *e, const edit_doc *d, const weft_doc *doc,
                                 const weft_op *ops, size_t op_count, weft_arena *arena) {
  path_list manual, settled;
  WEFT_TRY(manual_paths(e, d, doc, arena, &manual));
  WEFT_TRY(resolved_paths(d, arena, &settled));
  for (size_t k = 0; k < op_count; k++) {
    if (!any_related(&manual, ops[k].path) || any_related(&settled, ops[k].path)) continue;
    return weft__replica_fail(e->r, WEFT_ECONFLICT, "a conflict stands there");
  }
  return WEFT_OK;
}

/* The same for all documents: as they are shown now, and as they stood at an older base. */
static weft_err manual_check(weft_edit *e, weft_txn *txn, weft_arena *arena) {
  weft_replica *r = e->r;
  bool old = !edit_is_now(e);
  for (edit_doc *d = e->docs; d; d = d->next) {
    const weft_op *ops;
    size_t count;
    weft_doc_record record;
    weft_doc *now;
    weft__writer_ops(d->writer, &ops, &count);
    if (count == 0 || !weft__strategy_manual(r, d->name)) continue;
    WEFT_TRY(manual_check_doc(e, d, d->base, ops, count, arena));
    if (!old) continue;
    weft_err err = weft__doc_record_find(r, txn, d->name, arena, &record);
    if (err == WEFT_ENOTFOUND) continue;
    WEFT_TRY(err);
    WEFT_TRY(weft__doc_load(r, txn, record.number, &now));
    err = manual_check_doc(e, d, now, ops, count, arena);
    weft__doc_free(now);
    WEFT_TRY(err);
  }
  return WEFT_OK;
}

enum { DOTS_FEW = 4096 }; /* sorted when there are that many, and twice as many as then */

static weft_err dots_append(weft_arena *arena, weft_dot_list *all, const weft_dot_list *some) {
  void *at = all->at;
  WEFT_TRY(weft__arena_grow(arena, &at, all->count, &all->cap, all->count + some->count,
                            sizeof *all->at));
  all->at = at;
  if (some->count > 0) memcpy(all->at + all->count, some->at, some->count * sizeof *all->at);
  all->count += some->count;
  return WEFT_OK;
}

/* The claims of the change as dots: from the documents as they stood at the base. */
static weft_err commit_dots(weft_edit *e, const weft_log *log, weft_arena *arena,
                            weft_dot_list *dots) {
  weft_replica *r = e->r;
  bool newer = false;
  size_t many = DOTS_FEW;
  claim_view view = {r, NULL};
  weft_claim_query query = {&view, {UINT32_MAX, 0}, NULL, is_own, family_of};
  if (log) query.head = (weft_dot){log->number, log->held};
  for (edit_doc *d = e->docs; d; d = d->next) {
    const weft_op *ops;
    size_t count;
    weft_dot_list one = {0};
    weft__writer_ops(d->writer, &ops, &count);
    if (count == 0) continue;
    WEFT_TRY(weft__doc_claims(d->base, &r->lineage, ops, count, &query, arena, &one, &newer));
    WEFT_TRY(dots_append(arena, dots, &one));
    if (dots->count < many) continue;
    WEFT_TRY(weft__doc_claims(d->base, &r->lineage, NULL, 0, &query, arena, dots, &newer));
    many = 2 * dots->count + DOTS_FEW;
  }
  if (!e->docs || dots->count == 0) return WEFT_OK;
  return weft__doc_claims(e->docs->base, &r->lineage, NULL, 0, &query, arena, dots, &newer);
}

static int claim_cmp(const void *ctx, const void *a, const void *b) {
  const weft_claim *x = a, *y = b;
  (void)ctx;
  return x->number < y->number ? -1 : x->number > y->number;
}

static weft_err claims_sort(weft_arena *arena, weft_claim **claims, size_t count) {
  const void **list = weft__arena_zero(arena, count, 2 * sizeof *list);
  weft_claim *sorted = weft__arena_zero(arena, count, sizeof *sorted);
  if (!list || !sorted) return WEFT_ENOMEM;
  for (size_t i = 0; i < count; i++) list[i] = &(*claims)[i];
  weft__sort(list, list + count, count, claim_cmp, NULL);
  for (size_t i = 0; i < count; i++) sorted[i] = *(const weft_claim *)list[i];
  *claims = sorted;
  return WEFT_OK;
}

static weft_err commit_claims(weft_replica *r, weft_txn *txn, weft_log *log,
                              const weft_dot_list *dots, weft_arena *arena, weft_change *change) {
  weft_claim *claims = weft__arena_zero(arena, dots->count, sizeof *claims);
  bool *used = weft__arena_zero(arena, log->ctx.number_count, sizeof *used);
  if (!claims || !used) return WEFT_ENOMEM;
  uint32_t next = (uint32_t)log->ctx.number_count;
  for (size_t i = 0; i < dots->count; i++) {
    if (dots->at[i].log >= r->log_count) return WEFT_ECORRUPT; /* so a damaged document said */
    const weft_log *target = weft__log_of(r, dots->at[i].log);
    weft_claim *claim = &claims[i];
    WEFT_TRY(weft__claim_number(r, txn, log, dots->at[i], used, &claim->number));
    claim->has_log = claim->number == UINT32_MAX;
    if (claim->has_log) {
      claim->number = next++;
    } else {
      used[claim->number] = true;
    }
    claim->log = target->id;
    claim->seq = dots->at[i].seq;
    claim->has_tag = claim->has_log || claim->seq > log->ctx.numbers[claim->number].seq_max;
    if (!claim->has_tag) continue;
    weft_id id;
    WEFT_TRY(weft__log_id_at(r, txn, target, claim->seq, &id));
    memcpy(claim->tag, id.b, sizeof claim->tag);
  }
  WEFT_TRY(claims_sort(arena, &claims, dots->count));
  change->claims = claims;
  change->claim_count = dots->count;
  return WEFT_OK;
}

/* An own change as the rest of its commit finds it. */
typedef struct own_fresh {
  weft_fresh_run run;
  weft_change change;
  weft_claim_list claims;
  weft_id id;
} own_fresh;

/* Encodes an own change, reads it back as a receiver would, and puts it at the end of its log.  The
 * log knows it until commit_write forgets it, whose arena it lies in. */
static weft_err own_append(weft_replica *r, weft_txn *txn, weft_log *log, const weft_change *change,
                           weft_arena *arena) {
  weft_buf raw;
  weft_bytes bytes;
  uint8_t state = WEFT_CHANGE_VALID;
  own_fresh *fresh = weft__arena_zero(arena, 1, sizeof *fresh);
  if (!fresh) return WEFT_ENOMEM;
  weft_change *back = &fresh->change;
  weft__buf_init(&raw, &r->mem, WEFT_CHANGE_LEN_MAX);
  weft_err err = weft__change_encode(&raw, arena, change);
  if (err == WEFT_OK) err = weft__arena_copy(arena, weft__buf_view(&raw), &bytes);
  weft__buf_free(&raw);
  WEFT_TRY(err);
  err = weft__change_parse(arena, bytes, back);
  if (err == WEFT_OK) {
    weft__change_judge(&log->ctx, back);
    if (back->state != WEFT_CHANGE_VALID) err = WEFT_EMISUSE;
  }
  if (err == WEFT_OK && log->unsigned_len > 0 &&
      log->unsigned_len + bytes.len > WEFT_CHUNK_LEN_MAX) {
    err = weft__log_sign(r, txn, log);
  }
  if (err == WEFT_OK) {
    r->moved = true;
    err = weft__log_context_advance(&log->ctx, &r->tables, back);
  }
  if (err == WEFT_OK) err = weft__log_numbers_put(r, txn, log, back);
  if (err == WEFT_OK) {
    weft__change_id(r->crypto, &r->space, &log->head, bytes, &fresh->id);
    weft_log_run run = {.raws = &bytes, .ids = &fresh->id, .states = &state, .count = 1};
    err = weft__log_append(r, txn, log, &run);
  }
  WEFT_TRY(err);
  fresh->claims = (weft_claim_list){back->claims, back->claim_count};
  fresh->run = (weft_fresh_run){log->held, 1, back, &fresh->claims, &fresh->id, NULL};
  weft__log_fresh_add(log, &fresh->run);
  bool sign = log->held - log->signed_seq >= WEFT_SIGN_CHANGES_MAX ||
              log->unsigned_len >= WEFT_SIGN_LEN_MAX;
  if (!sign) return WEFT_OK;
  WEFT_TRY(weft__log_sign(r, txn, log));
  return r->kept.count >= WEFT_CHUNK_COUNT_MIN ? weft__log_seal(r, txn, log) : WEFT_OK;
}

/* Opens the log of a lane with its START. */
static weft_err own_log_start(weft_replica *r, weft_txn *txn, weft_lane lane, const weft_id *id,
                              weft_arena *arena, weft_log **out) {
  weft_change change = {.kind = WEFT_CHANGE_START};
  weft_earlier_log *earlier = weft__arena_zero(arena, EARLIER_LOGS_MAX, sizeof *earlier);
  if (!earlier) return WEFT_ENOMEM;
  own_start(r, lane, &change.start);
  WEFT_TRY(weft__member_grant(r, &change.start.grant));
  for (uint32_t i = 0; i < r->log_count && change.start.earlier_count < EARLIER_LOGS_MAX; i++) {
    const weft_log *log = r->logs[r->by_id[i]]; /* the format wants them ascending */
    bool again = i > 0 && weft_id_cmp(&r->logs[r->by_id[i - 1]]->id, &log->id) == 0;
    if (again || weft_id_cmp(&log->device, &r->identity.device) != 0) continue;
    earlier[change.start.earlier_count++] = (weft_earlier_log){log->id, log->held, log->head};
  }
  change.start.earlier = earlier;
  WEFT_TRY(weft__clock_tick(r, &change.hlc));
  WEFT_TRY(weft__log_add(r, id, &change.start, out));
  WEFT_TRY(own_append(r, txn, *out, &change, arena));
  weft__ready_orphans(r, *out);
  return WEFT_OK;
}

static void commit_tell(const commit_call *call, const weft_log *log, const weft_change *change) {
  weft_commit *out = call->out;
  *out = (weft_commit){.written = true, .change = log->head, .log = log->id, .seq = log->held};
  out->hlc = change->hlc;
  out->op_count = change->op_count;
  for (size_t i = 0; i < change->op_count; i++) {
    weft_op_kind kind = change->ops[i].kind;
    out->field_count += kind == WEFT_OP_SCALAR || kind == WEFT_OP_UNSET;
  }
}

/* The log of a lane, fit to go on: all of it is shown, else a new incarnation begins. */
static weft_log *own_log_fit(weft_replica *r, weft_lane lane, weft_id *id) {
  weft_log *log = own_log(r, lane, id);
  if (!log || (log->shown == log->held && !log->sibling)) return log;
  /* defensive: changes of ours that came from a peer have renewed the incarnation already */
  weft__incarnation_renew(r, WEFT_BEGUN_PEER);
  return own_log(r, lane, id);
}

/* What was saved of an edit goes with its commit. */
static weft_err draft_done(weft_txn *txn, const weft_edit *e) {
  if (e->draft.len == 0) return WEFT_OK;
  weft_err err = weft_txn_delete(txn, WEFT_TABLE_DRAFT, e->draft);
  return weft__if_any(err);
}

static weft_err draft_write(weft_replica *r, weft_txn *txn, void *arg) {
  (void)r;
  return draft_done(txn, arg);
}

static weft_err commit_steps(weft_replica *r, weft_txn *txn, commit_call *call, weft_arena *arena) {
  weft_edit *e = call->e;
  weft_id id;
  weft_id grant;
  weft_dot_list dots = {0};
  weft_change change = {.kind = WEFT_CHANGE_DATA,
                        .message = e->message,
                        .extensions = e->extensions,
                        .ops = call->ops,
                        .op_count = call->op_count};
  weft_err err = weft__member_grant(r, &grant);
  bool now = e->epoch == r->now.shown; /* before a START of its own is shown too */
  if (err == WEFT_OK) err = stale_check(e, txn, arena);
  if (err == WEFT_OK) err = manual_check(e, txn, arena);
  WEFT_TRY(err);
  weft__clock_follow(r);
  weft_log *log = own_log_fit(r, e->lane, &id);
  WEFT_TRY(commit_dots(e, log, arena, &dots));
  if (!log) WEFT_TRY(own_log_start(r, txn, e->lane, &id, arena, &log));
  WEFT_TRY(weft__log_numbers(r, txn, log));
  WEFT_TRY(commit_claims(r, txn, log, &dots, arena, &change));
  WEFT_TRY(weft__clock_tick(r, &change.hlc));
  WEFT_TRY(own_append(r, txn, log, &change, arena));
  commit_tell(call, log, &change);
  weft_show_report report = {0};
  weft__ready_queue(r, log);
  WEFT_TRY(weft__ready_run(r, txn));
  r->handed = now ? e : NULL;
  err = weft__show_run(r, txn, log, 0, &report);
  r->handed = NULL;
  WEFT_TRY(err);
  WEFT_TRY(draft_done(txn, e));
  if (log->shown == log->held) return WEFT_OK;
  /* A claim has a tag that fits another change too, which is not shown: somebody made it so. */
  return weft__replica_fail(r, WEFT_ESTALE, "a claim means another change");
}

static weft_err commit_write(weft_replica *r, weft_txn *txn, void *arg) {
  weft_arena arena = weft__spare_arena(r);
  commit_call *call = arg;
  weft_err err = commit_steps(r, txn, call, &arena);
  for (weft_log *log = r->touched; log; log = log->next_touched) {
    log->fresh = log->fresh_last = NULL;
  }
  weft__spare_arena_give(r, &arena);
  r->commits_open += err == WEFT_OK;
  r->commit_ops_open += err == WEFT_OK ? call->op_count : 0;
  return err;
}

/* Puts the ops of all documents into one list, in `arena`. */
static weft_err commit_ops(const weft_edit *e, weft_arena *arena, commit_call *call) {
  for (const edit_doc *d = e->docs; d; d = d->next) {
    const weft_op *ops;
    size_t count;
    weft__writer_ops(d->writer, &ops, &count);
    call->op_count += count;
  }
  if (call->op_count > WEFT_CHANGE_OPS_MAX) return WEFT_ELIMIT;
  call->ops = weft__arena_zero(arena, call->op_count, sizeof *call->ops);
  if (!call->ops) return WEFT_ENOMEM;
  size_t filled = 0;
  for (const edit_doc *d = e->docs; d; d = d->next) {
    const weft_op *ops;
    size_t count;
    weft__writer_ops(d->writer, &ops, &count);
    for (size_t i = 0; i < count; i++) {
      call->ops[filled] = ops[i];
      call->ops[filled++].doc = d->name;
    }
  }
  return WEFT_OK;
}

weft_err weft_edit_commit(weft_edit *e, weft_commit *out) {
  weft_replica *r = e->r;
  commit_call call = {e, NULL, 0, out};
  memset(out, 0, sizeof *out);
  if (e->broken != WEFT_OK) return e->broken;
  if (e->committed) return WEFT_EMISUSE;
  uint64_t started = r->group ? 0 : weft__metrics_clock(r->metrics);
  weft_arena arena = weft__spare_arena(r);
  weft_err err = commit_ops(e, &arena, &call);
  if (err == WEFT_OK && call.op_count > 0) {
    err = weft__write_commit(r, commit_write, &call);
  } else if (err == WEFT_OK && e->draft.len > 0) {
    err = weft__write(r, draft_write, e);
  }
  weft__spare_arena_give(r, &arena);
  if (err != WEFT_OK) {
    memset(out, 0, sizeof *out);
    return err;
  }
  e->committed = true;
  if (out->written) weft__observe_since(r->metrics, WEFT_METRIC_COMMIT_TIME, started);
  return WEFT_OK;
}

/* --- drafts --- */

weft_err weft__edit_state_of(weft_edit *e, weft_arena *arena, weft_edit_state *out) {
  commit_call call = {e, NULL, 0, NULL};
  size_t docs = 0, settled = 0;
  memset(out, 0, sizeof *out);
  if (e->broken != WEFT_OK) return e->broken;
  if (e->committed) return WEFT_EMISUSE;
  WEFT_TRY(commit_ops(e, arena, &call));
  for (const edit_doc *d = e->docs; d; d = d->next) {
    docs++;
    for (const resolved *note = d->resolved; note; note = note->next) settled++;
  }
  out->docs = weft__arena_zero(arena, docs, sizeof *out->docs);
  out->settled = weft__arena_zero(arena, settled, sizeof *out->settled);
  if (!out->docs || !out->settled) return WEFT_ENOMEM;
  for (edit_doc *d = e->docs; d; d = d->next) {
    weft_edit_doc *part = &out->docs[out->doc_count++];
    part->name = d->name;
    weft__writer_ops(d->writer, &part->ops, &part->op_count);
    for (const resolved *note = d->resolved; note; note = note->next) {
      out->settled[out->settled_count++] = (weft_edit_place){d->name, note->path};
    }
  }
  out->message = e->message;
  out->extensions = e->extensions;
  out->lane = e->lane;
  out->begun = e->begun;
  out->draft = e->draft;
  out->hlc = e->hlc;
  out->ops = call.ops;
  out->op_count = call.op_count;
  return WEFT_OK;
}

weft_err weft__edit_settle(weft_edit *e, weft_bytes doc, weft_path path) {
  edit_doc *d;
  WEFT_TRY(edit_doc_of(e, doc, &d));
  return resolve_note(e, d, path);
}

weft_err weft__edit_base(weft_edit *e, weft_txn *txn, weft_arena *arena, weft_vector *out) {
  weft_replica *r = e->r;
  weft_base base;
  WEFT_TRY(weft__base_of_shown(r, txn, e->epoch, arena, &base));
  if (e->has_base) weft__seqs_none(r, base.seqs);
  for (uint32_t i = 0; e->has_base && i < e->base.count; i++) base.seqs[i] = e->base.seqs[i];
  return weft__vector_of_seqs(r, txn, base.seqs, out);
}

weft_err weft__edit_keep(weft_edit *e, weft_bytes bytes, weft_bytes *copy) {
  return weft__arena_copy(&e->arena, bytes, copy);
}

void weft__edit_draft(weft_edit *e, weft_bytes name, weft_ms begun) {
  e->begun = begun;
  e->draft = name;
}

weft_err weft__edit_judge(weft_edit *e, weft_txn *txn, weft_arena *arena) {
  weft_id grant;
  WEFT_TRY(weft__member_grant(e->r, &grant));
  WEFT_TRY(stale_check(e, txn, arena));
  return manual_check(e, txn, arena);
}

weft_err weft__edit_claims(weft_edit *e, weft_arena *arena, weft_dot_list *claims, weft_dot *head) {
  weft_id id;
  const weft_log *log = own_log(e->r, e->lane, &id);
  *head = (weft_dot){UINT32_MAX, 0};
  if (log) *head = (weft_dot){log->number, log->held};
  return commit_dots(e, log, arena, claims);
}

weft_replica *weft__edit_replica(const weft_edit *e) { return e->r; }

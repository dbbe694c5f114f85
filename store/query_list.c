/* Lists of documents: conditions, order, pages.
 *
 * A list is one walk over candidates: the names of the collection, or the entries of a declared
 * index, narrowed by what the conditions allow.  Where candidates come in the order asked for, the
 * walk ends with the page; else a heap keeps the first of them, one more than the page holds, so
 * memory depends on the limit alone.  What entries of indexes tell of the conditions is taken from
 * them, the rest from the documents; of those that the page shows, all is looked at again, so that
 * a damaged index is noticed.  An index changes what a list costs and never what it says.
 *
 * Order: by sort key, then by name; descending turns both round.  A cursor holds the sort key and
 * the name of the last item and a hash of the question; the next page holds what orders behind.
 * Failure modes: a damaged record or segment stops the list with WEFT_ECORRUPT. */
#include <string.h>

#include "crdt/assert.h"
#include "crdt/limits.h"
#include "crdt/sort.h"
#include "store/outcome.h"
#include "store/query_internal.h"

/* A document that may be in the page. */
typedef struct hit {
  weft_sort_key key; /* empty when the order is by name */
  uint32_t number;
  weft_bytes name;
  uint8_t name_bytes[WEFT_NAME_LEN_MAX];
} hit;

/* Candidates whose documents are asked for at once. */
enum { AHEAD_FIRST = 16, AHEAD_MAX = 256 };

/* An entry of names or of an index that was walked over and not considered yet. */
typedef struct candidate {
  weft_bytes key; /* a view, until the transaction ends */
  uint32_t number;
} candidate;

/* What is going to be read. */
typedef struct outlook {
  weft_arena keys;
  weft_wanted *at;
  size_t count;
  size_t cap;
} outlook;

/* A field, and where it mostly lies. */
typedef struct list_field {
  weft_field field;
  weft_path path; /* of keys alone; not of fields of records, and not of what is too long */
  bool has_path;
} list_field;

/* How a condition is decided. */
typedef struct filter {
  weft_list_by by;
  const weft_index *index; /* BY_INDEX: documents that meet it have an entry under one of these */
  weft_sort_key points[WEFT_ZONES];
  size_t point_count;
  weft_known_by_key known; /* of the document that is looked at */
} filter;

typedef struct list_job {
  weft_replica *r;
  weft_txn *txn;
  const weft_query *q;
  size_t limit;
  weft_arena arena; /* everything but the answer */
  weft_reader reader;
  weft_cursor *state; /* NULL until a document is looked at */
  weft_bytes segment; /* the first one of the document that is looked at */
  bool loaded;        /* the reader has the document that is looked at, or it has none */
  list_field *fields; /* of the conditions */
  filter *filters;
  weft_list_plan plan;
  list_field sort;
  bool sorted;
  bool wants_doc; /* some condition, or the order, looks into documents */
  const weft_index *index;
  weft_zone zones[WEFT_ZONES]; /* of `index` */
  const weft_sort_key *point;  /* the one key that `zones` leave, when the order is by name */
  bool ordered;                /* candidates come in the order asked for */
  bool resumed;
  hit mark;
  uint64_t hash;
  hit **hits; /* a list when `ordered`, else a heap with the last one on top */
  size_t count;
} list_job;

void weft_query_init_sized(weft_query *q, size_t struct_size) {
  memset(q, 0, struct_size);
  q->struct_size = struct_size;
}

/* --- the question --- */

static weft_err question_hash(list_job *job) {
  const weft_query *q = job->q;
  weft_buf b;
  weft__buf_init(&b, &job->r->mem, SIZE_MAX);
  weft__buf_u8(&b, q->descending);
  weft__buf_u8(&b, q->deleted);
  weft__buf_u8(&b, q->reserved);
  weft__buf_block(&b, q->collection);
  weft__buf_block(&b, q->sort);
  for (size_t i = 0; i < q->where_count; i++) {
    weft__buf_u8(&b, (uint8_t)q->where[i].op);
    weft__buf_block(&b, q->where[i].pointer);
    weft__buf_block(&b, q->where[i].text);
    weft__scalar_encode(&b, &q->where[i].value);
  }
  weft_err err = weft__buf_err(&b);
  if (err == WEFT_OK) job->hash = weft__mark_hash(job->r, weft__buf_view(&b));
  weft__buf_free(&b);
  return err;
}

static weft_err mark_load(list_job *job) {
  weft_rd rd;
  if (job->q->cursor.len == 0) return WEFT_OK;
  WEFT_TRY(weft__mark_read(&job->arena, job->q->cursor, job->hash, &rd));
  weft_bytes key = weft__rd_block(&rd);
  job->mark.name = weft__rd_block(&rd);
  if (!weft__rd_done(&rd) || key.len > sizeof job->mark.key.b) return WEFT_EMALFORMED;
  if (job->mark.name.len > WEFT_NAME_LEN_MAX) return WEFT_EMALFORMED;
  if (key.len > 0) memcpy(job->mark.key.b, key.at, key.len);
  job->mark.key.len = (uint8_t)key.len;
  job->resumed = true;
  return WEFT_OK;
}

static weft_err field_read(list_job *job, weft_bytes text, list_field *out) {
  weft_bytes *tokens;
  size_t count;
  weft_buf b;
  WEFT_TRY(weft__field_parse(&job->arena, text, &out->field));
  if (out->field.source != WEFT_FIELD_POINTER) return WEFT_OK;
  job->wants_doc = true;
  WEFT_TRY(weft_pointer_split(&job->arena, text, &tokens, &count));
  weft__buf_init(&b, &job->r->mem, WEFT_PATH_LEN_MAX);
  for (size_t i = 0; i < count; i++) weft_path_push(&b, (weft_step){false, tokens[i]});
  weft_err err = weft__buf_err(&b);
  out->has_path = err == WEFT_OK;
  if (out->has_path) err = weft__arena_copy(&job->arena, weft__buf_view(&b), &out->path);
  weft__buf_free(&b);
  return err == WEFT_ENOMEM ? err : WEFT_OK; /* nothing lies where no path leads */
}

static weft_err question_read(list_job *job) {
  const weft_query *q = job->q;
  job->limit = q->limit > 0 ? q->limit : WEFT_LIST_LIMIT_DEFAULT;
  if (job->limit > WEFT_LIST_LIMIT_MAX || q->where_count > WEFT_WHERE_COUNT_MAX) return WEFT_ELIMIT;
  job->fields = weft__arena_zero(&job->arena, q->where_count, sizeof *job->fields);
  job->filters = weft__arena_zero(&job->arena, q->where_count, sizeof *job->filters);
  job->hits = weft__arena_zero(&job->arena, job->limit + 1, sizeof(hit *));
  if (!job->fields || !job->filters || !job->hits) return WEFT_ENOMEM;
  for (size_t i = 0; i < q->where_count; i++) {
    WEFT_TRY(field_read(job, q->where[i].pointer, &job->fields[i]));
  }
  job->sorted = q->sort.len > 0;
  if (job->sorted) WEFT_TRY(field_read(job, q->sort, &job->sort));
  WEFT_TRY(question_hash(job));
  return mark_load(job);
}

/* --- which index --- */

/* Narrows the zones by every condition on the field of the index; false when none does. */
static bool zones_of(const list_job *job, const weft_index *index, weft_zone zones[WEFT_ZONES]) {
  bool narrowed = false;
  weft__zones_all(zones);
  for (size_t i = 0; i < job->q->where_count; i++) {
    const weft_where *where = &job->q->where[i];
    if (weft_bytes_cmp(where->pointer, index->pointer) != 0) continue;
    narrowed = weft__where_zones(where, zones) || narrowed;
  }
  return narrowed;
}

/* The one key that is left, or NULL: entries under one key lie in the order of names. */
static const weft_sort_key *zones_point(const weft_zone zones[WEFT_ZONES]) {
  const weft_zone *only = NULL;
  for (size_t i = 0; i < WEFT_ZONES; i++) {
    if (zones[i].none) continue;
    if (only) return NULL;
    only = &zones[i];
  }
  bool point =
      only && weft_bytes_cmp(weft__sort_key_view(&only->from), weft__sort_key_view(&only->to)) == 0;
  return point ? &only->from : NULL;
}

/* Only the living have entries.  An index in the order asked for comes first, then one that leaves
 * a single key, then any that leaves out something. */
static void index_choose(list_job *job) {
  const weft_query *q = job->q;
  job->ordered = !job->sorted;
  if (q->deleted) return;
  if (job->sorted) {
    job->index = weft__index_find(job->r, q->collection, q->sort);
    if (job->index) {
      zones_of(job, job->index, job->zones);
      job->ordered = true;
      return;
    }
  }
  for (size_t i = 0; i < q->where_count && !job->point; i++) {
    const weft_index *index = weft__index_find(job->r, q->collection, q->where[i].pointer);
    weft_zone zones[WEFT_ZONES];
    if (!index || !zones_of(job, index, zones)) continue;
    if (job->index && !zones_point(zones)) continue;
    job->index = index;
    memcpy(job->zones, zones, sizeof zones);
    job->point = zones_point(job->zones);
  }
  if (job->index) job->ordered = !job->sorted && job->point;
}

/* Decides how each condition will be decided. */
static void filters_choose(list_job *job) {
  const weft_query *q = job->q;
  for (size_t i = 0; i < q->where_count && !q->deleted; i++) {
    filter *f = &job->filters[i];
    const weft_index *index = weft__index_find(job->r, q->collection, q->where[i].pointer);
    if (!index) continue;
    f->index = index;
    if (index == job->index) {
      f->by = WEFT_LIST_BY_KEY;
      continue;
    }
    f->point_count = weft__where_points(&q->where[i], f->points);
    if (f->point_count > 0) f->by = WEFT_LIST_BY_INDEX;
  }
}

/* --- hits --- */

static int hit_cmp(const void *ctx, const void *a, const void *b) {
  const list_job *job = ctx;
  const hit *x = a;
  const hit *y = b;
  int order = weft_bytes_cmp(weft__sort_key_view(&x->key), weft__sort_key_view(&y->key));
  if (order == 0) order = weft_bytes_cmp(x->name, y->name);
  return job->q->descending ? -order : order;
}

static void heap_lift(list_job *job, size_t at) {
  while (at > 0) {
    size_t above = (at - 1) / 2;
    hit *h = job->hits[at];
    if (hit_cmp(job, h, job->hits[above]) <= 0) return;
    job->hits[at] = job->hits[above];
    job->hits[above] = h;
    at = above;
  }
}

static void heap_sink(list_job *job) {
  size_t at = 0;
  for (;;) {
    size_t last = at;
    for (size_t below = 2 * at + 1; below <= 2 * at + 2 && below < job->count; below++) {
      if (hit_cmp(job, job->hits[below], job->hits[last]) > 0) last = below;
    }
    if (last == at) return;
    hit *h = job->hits[at];
    job->hits[at] = job->hits[last];
    job->hits[last] = h;
    at = last;
  }
}

static void hit_copy(hit *to, const hit *from) {
  to->key = from->key;
  to->number = from->number;
  memcpy(to->name_bytes, from->name.at, from->name.len);
  to->name = weft_bytes_of(to->name_bytes, from->name.len);
}

static weft_err hit_add(list_job *job, const hit *h) {
  if (job->resumed && hit_cmp(job, h, &job->mark) <= 0) return WEFT_OK;
  if (job->count == job->limit + 1) {
    if (hit_cmp(job, h, job->hits[0]) >= 0) return WEFT_OK;
    hit_copy(job->hits[0], h);
    heap_sink(job);
    return WEFT_OK;
  }
  hit *own = weft__arena_take(&job->arena, sizeof *own);
  if (!own) return WEFT_ENOMEM;
  hit_copy(own, h);
  job->hits[job->count++] = own;
  if (!job->ordered) heap_lift(job, job->count - 1);
  return WEFT_OK;
}

/* --- candidates --- */

static weft_err document_damaged(const list_job *job, weft_err err) {
  return err == WEFT_ECORRUPT ? weft__replica_fail(job->r, err, "a segment is damaged") : err;
}

/* Looks a field up in the row where it mostly lies, without making the document. */
static weft_err field_peek(list_job *job, const list_field *f, const weft_doc_record *record,
                           weft_peek *answer, weft_value *out) {
  weft_bytes scalar;
  *answer = WEFT_PEEK_UNSURE;
  if (job->loaded || record->suspect || !f->has_path) return WEFT_OK;
  weft_err err = weft__state_peek(&job->r->state_env, record->number, job->segment, f->path,
                                  &job->reader.arena, answer, &scalar);
  if (err == WEFT_OK && *answer == WEFT_PEEK_SCALAR) {
    err = weft__scalar_decode(scalar, out);
    if (err == WEFT_EMALFORMED) err = WEFT_ECORRUPT;
  }
  return document_damaged(job, err);
}

static weft_err document_load(list_job *job, const weft_doc_record *record) {
  if (job->loaded) return WEFT_OK;
  WEFT_TRY(weft__reader_load(&job->reader, record->number));
  weft__doc_set_plain(job->reader.doc, !record->suspect);
  job->loaded = true;
  return WEFT_OK;
}

static weft_err field_value(list_job *job, const list_field *f, const weft_doc_record *record,
                            bool *there, weft_value *out) {
  weft_contributor *people;
  size_t count;
  weft_peek answer;
  weft_arena *arena = &job->reader.arena;
  if (f->field.source == WEFT_FIELD_CONTRIBUTORS) {
    WEFT_TRY(weft__contributors(job->r, job->txn, record, arena, &people, &count));
    *there = true;
    *out = (weft_value){.kind = WEFT_INT, .as.integer = (int64_t)count};
    return WEFT_OK;
  }
  if (f->field.source == WEFT_FIELD_POINTER) {
    WEFT_TRY(field_peek(job, f, record, &answer, out));
    *there = answer == WEFT_PEEK_SCALAR;
    if (answer != WEFT_PEEK_UNSURE) return WEFT_OK;
    WEFT_TRY(document_load(job, record));
  }
  return weft__field_value(job->r, &f->field, record, job->reader.doc, arena, there, out);
}

static weft_err field_key(list_job *job, const list_field *f, const weft_doc_record *record,
                          weft_sort_key *out) {
  weft_value value;
  bool there;
  WEFT_TRY(field_value(job, f, record, &there, &value));
  weft__sort_key(there ? &value : NULL, out);
  return WEFT_OK;
}

/* Decides on a document the conditions that are not known, or (`known`) those that are. */
static weft_err conditions_hold(list_job *job, const weft_doc_record *record, bool known,
                                bool *hold) {
  *hold = true;
  for (size_t i = 0; i < job->q->where_count && *hold; i++) {
    weft_value value;
    bool there;
    if ((job->filters[i].known == WEFT_KEY_HOLDS) != known) continue;
    WEFT_TRY(field_value(job, &job->fields[i], record, &there, &value));
    *hold = weft__where_holds(&job->q->where[i], there ? &value : NULL);
  }
  return WEFT_OK;
}

/* Looks whether the index of a condition has the document where it would be if it met it. */
static weft_err probe(list_job *job, const filter *f, weft_bytes name, bool *there) {
  *there = false;
  for (size_t i = 0; i < f->point_count && !*there; i++) {
    weft_dbkey key;
    weft_bytes value;
    weft_bytes point = weft__sort_key_view(&f->points[i]);
    weft_err err = weft_txn_get(job->txn, WEFT_TABLE_INDEX,
                                weft__index_key(&key, f->index, point, name), &value);
    job->plan.probed++;
    if (err != WEFT_OK && err != WEFT_ENOTFOUND) return err;
    *there = err == WEFT_OK;
  }
  return WEFT_OK;
}

/* What indexes tell of the conditions; `key` is the document's in the index walked, or empty.
 * `*open`: some are not known.  False in `*may`: one does not hold. */
static weft_err filters_ask(list_job *job, weft_bytes key, weft_bytes name, bool *may, bool *open) {
  *may = true;
  *open = false;
  for (size_t i = 0; i < job->q->where_count && *may; i++) {
    filter *f = &job->filters[i];
    f->known = WEFT_KEY_UNSURE;
    if (f->by == WEFT_LIST_BY_KEY) f->known = weft__where_by_key(&job->q->where[i], key);
    *may = f->known != WEFT_KEY_FAILS;
    *open = *open || f->known == WEFT_KEY_UNSURE;
  }
  if (!*open) return WEFT_OK;
  *open = false;
  for (size_t i = 0; i < job->q->where_count && *may; i++) {
    filter *f = &job->filters[i];
    if (f->by == WEFT_LIST_BY_INDEX) {
      WEFT_TRY(probe(job, f, name, may));
      f->known = WEFT_KEY_HOLDS;
    }
    *open = *open || f->known == WEFT_KEY_UNSURE;
  }
  return WEFT_OK;
}

/* Whether the reserved collection is asked for, by name or with all others. */
static bool wants_reserved(const weft_query *q) { return q->reserved || q->collection.len > 0; }

/* Takes a sort key from an entry. */
static void hit_key(hit *h, weft_bytes key) {
  WEFT_ASSERT(key.len <= sizeof h->key.b);
  memcpy(h->key.b, key.at, key.len);
  h->key.len = (uint8_t)key.len;
}

/* Reads the record of the document that is looked at, and finds its first segment on the way. */
static weft_err record_read(list_job *job, uint32_t number, weft_doc_record *out) {
  weft_bytes row;
  weft_arena *arena = &job->reader.arena;
  if (!job->state) WEFT_TRY(weft_cursor_open(job->txn, WEFT_TABLE_STATE, &job->state));
  WEFT_TRY(weft__state_first(job->state, number, &job->segment, &row));
  if (row.len == 0) return weft__doc_record_read(job->r, job->txn, number, arena, out);
  return weft__doc_record_open(job->r, job->txn, number, row, arena, out);
}

/* Looks at a document of which an index does not tell enough. */
static weft_err consider_document(list_job *job, hit *h, bool has_key) {
  weft_doc_record record;
  bool hold;
  weft__reader_reset(&job->reader);
  WEFT_TRY(weft__promised(record_read(job, h->number, &record)));
  if (record.live == job->q->deleted) return WEFT_OK;
  job->loaded = !record.live;
  if (record.live && job->wants_doc) job->plan.read++;
  WEFT_TRY(conditions_hold(job, &record, false, &hold));
  if (!hold) return WEFT_OK;
  h->name = record.name;
  if (job->sorted && !has_key) WEFT_TRY(field_key(job, &job->sort, &record, &h->key));
  return hit_add(job, h);
}

/* Takes an entry apart: the name, and the sort key where it is of the index. */
static bool candidate_split(const candidate *c, bool indexed, weft_bytes *key, weft_bytes *name) {
  *key = weft_bytes_of(NULL, 0);
  *name = c->key;
  bool sound = true;
  if (indexed) {
    weft_bytes both = weft_bytes_of(c->key.at + 4, c->key.len - 4);
    sound = weft__sort_key_split(both, key, name);
  }
  return sound && name->len <= WEFT_NAME_LEN_MAX;
}

/* Looks at one document: an entry of the names, or of the index. */
static weft_err consider(list_job *job, const candidate *c, bool indexed) {
  hit h = {.number = c->number};
  weft_bytes key;
  bool may, open;
  if (!candidate_split(c, indexed, &key, &h.name)) return WEFT_ECORRUPT;
  job->plan.walked++;
  if (!wants_reserved(job->q) && weft__doc_reserved(h.name)) return WEFT_OK;
  WEFT_TRY(filters_ask(job, key, h.name, &may, &open));
  if (!may) return WEFT_OK;
  bool has_key = indexed && job->ordered && job->sorted;
  if (has_key) hit_key(&h, key);
  if (indexed && !open && (has_key || !job->sorted)) return hit_add(job, &h);
  return consider_document(job, &h, has_key);
}

static bool page_full(const list_job *job) { return job->ordered && job->count == job->limit + 1; }

/* --- looking ahead --- */

/* Notes a key; without memory it is read without having been told. */
static void outlook_add(outlook *o, weft_table table, weft_bytes key) {
  void *at = o->at;
  weft_bytes own;
  if (weft__arena_grow(&o->keys, &at, o->count, &o->cap, o->count + 1, sizeof *o->at) != WEFT_OK) {
    return;
  }
  o->at = at;
  if (weft__arena_copy(&o->keys, key, &own) != WEFT_OK) return;
  o->at[o->count++] = (weft_wanted){table, own};
}

static void outlook_add_documents(outlook *o, const candidate *list, size_t count) {
  weft_dbkey key;
  for (size_t i = 0; i < count; i++) {
    uint32_t number = list[i].number;
    outlook_add(o, WEFT_TABLE_STATE, weft__dbkey_u32(&key, number));
    outlook_add(o, WEFT_TABLE_STATE, weft__state_row_key(&key, number, WEFT_STATE_RECORD));
  }
}

/* Where the index of a condition is going to be asked. */
static void outlook_add_probes(outlook *o, const filter *f, const candidate *list, size_t count,
                               bool indexed) {
  weft_dbkey room;
  weft_bytes key, name;
  for (size_t i = 0; i < count; i++) {
    if (!candidate_split(&list[i], indexed, &key, &name)) continue;
    for (size_t k = 0; k < f->point_count; k++) {
      weft_bytes point = weft__sort_key_view(&f->points[k]);
      outlook_add(o, WEFT_TABLE_INDEX, weft__index_key(&room, f->index, point, name));
    }
  }
}

/* Whether indexes may leave something to be looked up in the documents of a walk. */
static bool needs_documents(const list_job *job, bool indexed) {
  if (!indexed || (job->sorted && !job->ordered)) return true;
  for (size_t i = 0; i < job->q->where_count; i++) {
    if (job->filters[i].by == WEFT_LIST_BY_DOCUMENT) return true;
  }
  return false;
}

/* Tells the store what considering these candidates is going to read; or, for the page, what
 * reading their documents is. */
static void look_ahead(list_job *job, const candidate *list, size_t count, bool indexed,
                       bool page) {
  outlook o = {0};
  if (!weft_txn_is_cold(job->txn)) return;
  weft__arena_init(&o.keys, &job->r->mem);
  for (size_t i = 0; i < job->q->where_count && !page; i++) {
    const filter *f = &job->filters[i];
    if (f->by == WEFT_LIST_BY_INDEX) outlook_add_probes(&o, f, list, count, indexed);
  }
  if (page || needs_documents(job, indexed)) outlook_add_documents(&o, list, count);
  weft_txn_want(job->txn, o.at, o.count);
  weft__arena_free(&o.keys);
}

/* Considers what was walked over, as far as the page needs it. */
static weft_err consider_all(list_job *job, const candidate *list, size_t count, bool indexed) {
  look_ahead(job, list, count, indexed, false);
  for (size_t i = 0; i < count && !page_full(job); i++) WEFT_TRY(consider(job, &list[i], indexed));
  return WEFT_OK;
}

/* A walk over a part of a table. */
typedef struct table_walk {
  weft_cursor *cursor;
  weft_key_range range;
  bool back;
  weft_entry entry;
  weft_err err; /* of the last move; WEFT_EDONE at the end of the range */
} table_walk;

static void walk_move(table_walk *w, bool begin) {
  weft_bytes to = w->range.to;
  if (!begin) {
    w->err =
        w->back ? weft_cursor_prev(w->cursor, &w->entry) : weft_cursor_next(w->cursor, &w->entry);
  } else if (!w->back) {
    w->err = weft_cursor_seek(w->cursor, w->range.from, &w->entry);
  } else if (to.len == 0) {
    w->err = weft_cursor_last(w->cursor, &w->entry);
  } else {
    w->err = weft_cursor_seek_back(w->cursor, to, &w->entry);
    if (w->err == WEFT_OK && weft_bytes_cmp(w->entry.key, to) == 0) {
      w->err = weft_cursor_prev(w->cursor, &w->entry);
    }
  }
  if (w->err != WEFT_OK) return;
  bool past = w->back ? weft_bytes_cmp(w->entry.key, w->range.from) < 0
                      : to.len > 0 && weft_bytes_cmp(w->entry.key, to) >= 0;
  if (past) w->err = WEFT_EDONE;
}

/* Walks a table from `from` up to before `to` (empty: the end), or the other way. */
static weft_err walk(list_job *job, weft_table table, weft_key_range range) {
  candidate list[AHEAD_MAX];
  size_t ahead = AHEAD_FIRST;
  bool indexed = table == WEFT_TABLE_INDEX;
  table_walk w = {.range = range, .back = job->q->descending && job->ordered};
  WEFT_TRY(weft_cursor_open(job->txn, table, &w.cursor));
  walk_move(&w, true);
  while (w.err == WEFT_OK && !page_full(job)) {
    size_t count = 0;
    while (w.err == WEFT_OK && count < ahead) {
      weft_rd rd = weft__rd(w.entry.value);
      list[count++] = (candidate){w.entry.key, weft__rd_u32(&rd)};
      w.err = WEFT_ECORRUPT;
      if (weft__rd_done(&rd)) walk_move(&w, false);
    }
    weft_err err = w.err == WEFT_ECORRUPT ? w.err : consider_all(job, list, count, indexed);
    if (err != WEFT_OK) w.err = err;
    ahead = 2 * ahead < AHEAD_MAX ? 2 * ahead : AHEAD_MAX;
  }
  weft_cursor_close(w.cursor);
  return weft__walked(w.err);
}

/* Cuts off what a resumed walk in order has behind it. */
static void range_resume(const list_job *job, weft_bytes mark, weft_key_range *range) {
  if (!job->resumed || !job->ordered) return;
  if (job->q->descending) {
    if (range->to.len == 0 || weft_bytes_cmp(mark, range->to) < 0) range->to = mark;
  } else if (weft_bytes_cmp(mark, range->from) > 0) {
    range->from = mark;
  }
}

static weft_err walk_names(list_job *job) {
  weft_dbkey from, to;
  weft_key_range ranges[2] = {{{NULL, 0}, {NULL, 0}}, {{NULL, 0}, {NULL, 0}}};
  size_t count = 1;
  if (job->q->collection.len > 0) {
    weft__dbkey_reset(&from);
    weft__dbkey_add(&from, job->q->collection);
    weft__dbkey_add(&from, weft_bytes_str("/"));
    ranges[0].from = weft__dbkey_view(&from);
    ranges[0].to = weft__dbkey_after(&to, ranges[0].from);
  } else if (!job->q->reserved) { /* what lies before and behind the reserved names */
    ranges[0].to = weft_bytes_str(WEFT_RESERVED_PREFIX);
    ranges[1].from = weft__dbkey_after(&to, ranges[0].to);
    count = 2;
  }
  bool back = job->q->descending && job->ordered;
  for (size_t i = 0; i < count; i++) {
    weft_key_range range = ranges[back ? count - 1 - i : i];
    range_resume(job, job->mark.name, &range);
    WEFT_TRY(walk(job, WEFT_TABLE_DOCID, range));
    if (page_full(job)) return WEFT_OK;
  }
  return WEFT_OK;
}

static weft_err walk_zone(list_job *job, const weft_zone *zone) {
  weft_dbkey from, to, mark;
  weft_bytes none = {NULL, 0};
  weft_key_range range;
  if (zone->none) return WEFT_OK;
  range.from = weft__index_key(&from, job->index, weft__sort_key_view(&zone->from), none);
  range.to = weft__index_key(&to, job->index, weft__sort_key_view(&zone->to), none);
  range.to = weft__dbkey_after(&to, range.to);
  const weft_sort_key *key = job->sorted ? &job->mark.key : &zone->from;
  range_resume(job, weft__index_key(&mark, job->index, weft__sort_key_view(key), job->mark.name),
               &range);
  return walk(job, WEFT_TABLE_INDEX, range);
}

static weft_err walk_index(list_job *job) {
  for (size_t i = 0; i < WEFT_ZONES; i++) {
    bool back = job->q->descending && job->ordered;
    WEFT_TRY(walk_zone(job, &job->zones[back ? WEFT_ZONES - 1 - i : i]));
    if (page_full(job)) return WEFT_OK;
  }
  return WEFT_OK;
}

/* --- the answer --- */

static weft_err info_of(const weft_replica *r, const weft_doc_record *record, weft_doc_info *out) {
  if (record->created.log >= r->log_count || record->modified.log >= r->log_count) {
    return WEFT_ECORRUPT;
  }
  out->name = record->name;
  out->deleted = !record->live;
  out->created_hlc = record->created_hlc;
  out->modified_hlc = record->modified_hlc;
  out->created_by = r->logs[record->created.log]->device;
  out->modified_by = r->logs[record->modified.log]->device;
  out->versions = record->versions;
  out->conflicts = record->conflicts;
  out->manual = record->manual;
  return WEFT_OK;
}

static weft_err index_damaged(const list_job *job) {
  return weft__replica_fail(job->r, WEFT_ECORRUPT, "an entry of an index is wrong");
}

/* Looks again at what indexes told of a document of the page. */
static weft_err item_check(list_job *job, const weft_doc_record *record) {
  bool hold;
  for (size_t i = 0; i < job->q->where_count; i++) {
    bool told = job->filters[i].by != WEFT_LIST_BY_DOCUMENT;
    job->filters[i].known = told ? WEFT_KEY_HOLDS : WEFT_KEY_UNSURE;
  }
  WEFT_TRY(conditions_hold(job, record, true, &hold));
  return hold ? WEFT_OK : index_damaged(job);
}

static weft_err item_make(list_job *job, const hit *h, weft_arena *arena, weft_list_item *out) {
  weft_doc_record record;
  WEFT_TRY(weft__doc_record_read(job->r, job->txn, h->number, arena, &record));
  WEFT_TRY(info_of(job->r, &record, &out->info));
  if (!record.live) return job->index ? index_damaged(job) : WEFT_OK;
  weft__reader_reset(&job->reader);
  job->loaded = false;
  WEFT_TRY(document_load(job, &record));
  WEFT_TRY(item_check(job, &record));
  weft_err err = weft__doc_render(job->reader.doc, weft_bytes_of(NULL, 0), arena, &out->value);
  return weft__promised(weft__was_whole(err));
}

static weft_err next_make(const list_job *job, const hit *last, weft_arena *arena,
                          weft_bytes *out) {
  weft_buf b;
  weft__buf_init(&b, &job->r->mem, SIZE_MAX);
  weft__mark_begin(&b, job->hash);
  weft__buf_block(&b, weft__sort_key_view(&last->key));
  weft__buf_block(&b, last->name);
  weft_err err = weft__mark_text(&b, arena, out);
  weft__buf_free(&b);
  return err;
}

/* Puts the hits in order. */
static weft_err page_order(list_job *job, const void ***out) {
  const void **list = weft__arena_zero(&job->arena, job->count, sizeof *list);
  const void **scratch = weft__arena_zero(&job->arena, job->count, sizeof *scratch);
  if (!list || !scratch) return WEFT_ENOMEM;
  for (size_t i = 0; i < job->count; i++) list[i] = job->hits[i];
  weft__sort(list, scratch, job->count, hit_cmp, job);
  *out = list;
  return WEFT_OK;
}

static weft_err plan_tell(const list_job *job, weft_arena *arena, weft_list_plan *out) {
  size_t count = job->q->where_count;
  *out = job->plan;
  out->ordered = job->ordered;
  out->by = weft__arena_zero(arena, count, sizeof *out->by);
  if (!out->by) return WEFT_ENOMEM;
  for (size_t i = 0; i < count; i++) out->by[i] = job->filters[i].by;
  return job->index ? weft__arena_copy(arena, job->index->pointer, &out->index) : WEFT_OK;
}

/* Tells the store of the next documents of the page. */
static void look_ahead_page(list_job *job, const void **list, size_t count) {
  candidate next[AHEAD_MAX];
  if (count > AHEAD_MAX) count = AHEAD_MAX;
  for (size_t i = 0; i < count; i++) {
    const hit *h = list[i];
    next[i] = (candidate){h->name, h->number};
  }
  look_ahead(job, next, count, false, true);
}

static weft_err page_make(list_job *job, weft_arena *arena, weft_list *out) {
  const void **list;
  WEFT_TRY(page_order(job, &list));
  out->count = job->count > job->limit ? job->limit : job->count;
  out->indexed = job->index != NULL;
  WEFT_TRY(plan_tell(job, arena, &out->plan));
  out->items = weft__arena_zero(arena, out->count, sizeof *out->items);
  if (!out->items) return WEFT_ENOMEM;
  for (size_t i = 0; i < out->count; i++) {
    if (i % AHEAD_MAX == 0) look_ahead_page(job, list + i, out->count - i);
    WEFT_TRY(item_make(job, list[i], arena, &out->items[i]));
  }
  bool more = job->count > job->limit;
  return more ? next_make(job, list[job->limit - 1], arena, &out->next) : WEFT_OK;
}

weft_err weft_replica_list(weft_replica *r, weft_arena *arena, const weft_query *q,
                           weft_list *out) {
  list_job job = {.r = r, .q = q};
  memset(out, 0, sizeof *out);
  if (q->struct_size < sizeof *q) return WEFT_EMISUSE;
  weft__arena_init(&job.arena, &r->mem);
  weft_err err = question_read(&job);
  if (err == WEFT_OK) err = weft__read_begin(r, &job.txn);
  if (err == WEFT_OK) {
    index_choose(&job);
    filters_choose(&job);
    err = weft__reader_begin(&job.reader, r, job.txn);
    if (err == WEFT_OK) err = job.index ? walk_index(&job) : walk_names(&job);
    if (err == WEFT_OK) err = page_make(&job, arena, out);
    weft__reader_end(&job.reader);
    weft_cursor_close(job.state);
    weft__read_end(r, job.txn);
  }
  weft__arena_free(&job.arena);
  if (err != WEFT_OK) memset(out, 0, sizeof *out);
  return err;
}

weft_err weft_replica_doc_info(weft_replica *r, weft_arena *arena, weft_bytes doc,
                               weft_doc_info *out) {
  weft_txn *txn;
  weft_doc_record record;
  WEFT_TRY(weft_document_name_check(doc));
  WEFT_TRY(weft__read_begin(r, &txn));
  weft_err err = weft__doc_record_find(r, txn, doc, arena, &record);
  if (err == WEFT_OK) err = info_of(r, &record, out);
  weft__read_end(r, txn);
  return err;
}

/* The documents of a batch: found by name, put in order by number, each with its writes.
 *
 * A batch has tens of thousands of both, and they lie all over memory.  What is needed next is
 * asked for ahead, and sorting compares what lies in the list itself. */
#include <string.h>

#include "crdt/sort.h"
#include "store/batch.h"

/* A document to be sorted by name. */
typedef struct doc_key {
  uint64_t head; /* the bytes behind what all names begin with */
  const weft_batch_doc *doc;
} doc_key;

static int doc_key_cmp(const void *ctx, const void *a, const void *b) {
  (void)ctx;
  const doc_key *x = a;
  const doc_key *y = b;
  if (x->head != y->head) return x->head < y->head ? -1 : 1;
  return weft_bytes_cmp(x->doc->name, y->doc->name);
}

/* How many bytes all names have in common at their beginning. */
static size_t names_shared(const weft_batch *b) {
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
static weft_err docs_sort_names(weft_batch *b) {
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
static weft_err docs_sort_numbers(weft_batch *b) {
  doc_place *places = weft__arena_take(&b->arena, b->doc_count * sizeof *places);
  doc_place *sorted = weft__arena_take(&b->arena, b->doc_count * sizeof *sorted);
  if (!places || !sorted) return WEFT_ENOMEM;
  for (size_t i = 0; i < b->doc_count; i++) {
    weft__batch_ahead(b, b->order, i);
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
static weft_err writes_sort(weft_batch *b) {
  weft_batch_write *sorted = weft__arena_take(&b->arena, b->write_count * sizeof *sorted);
  if (!sorted) return WEFT_ENOMEM;
  weft_batch_write *to = sorted;
  for (size_t i = 0; i < b->doc_count; i++) {
    weft__batch_ahead(b, b->order, i);
    weft_batch_doc *doc = &b->docs[b->order[i]];
    doc->writes = to;
    to += doc->write_count;
    doc->write_count = 0;
  }
  for (size_t i = 0; i < b->write_count; i++) {
    if (i + WEFT_BATCH_AHEAD < b->write_count) {
      __builtin_prefetch(&b->docs[b->writes[i + WEFT_BATCH_AHEAD].doc]);
    }
    weft_batch_doc *doc = &b->docs[b->writes[i].doc];
    sorted[(doc->writes - sorted) + (ptrdiff_t)doc->write_count++] = b->writes[i];
  }
  b->writes = sorted;
  return WEFT_OK;
}

/* Takes over what the edit being committed knows of a document. */
static weft_err doc_take_handed(weft_batch *b, weft_batch_doc *doc) {
  weft_batch_handed handed;
  if (!weft__edit_handed(b->r, doc->name, &handed.record, &handed.pieces, &handed.piece_count)) {
    return WEFT_OK;
  }
  weft_batch_handed *copy = weft__arena_take(&b->arena, sizeof *copy);
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
static weft_err doc_number(weft_batch *b, name_walk *w, weft_batch_doc *doc) {
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

static weft_err docs_number(weft_batch *b) {
  name_walk w = {0};
  weft_err err = WEFT_OK;
  for (size_t i = 0; i < b->doc_count && err == WEFT_OK; i++) {
    weft_batch_doc *doc = &b->docs[b->order[i]];
    weft__batch_ahead(b, b->order, i);
    if (b->r->handed) err = doc_take_handed(b, doc);
    if (err == WEFT_OK && !doc->handed) err = doc_number(b, &w, doc);
  }
  weft_cursor_close(w.cursor);
  return err;
}

weft_err weft__batch_docs(weft_batch *b) {
  if (b->doc_count == 0) return WEFT_OK;
  WEFT_TRY(docs_sort_names(b));
  WEFT_TRY(docs_number(b));
  WEFT_TRY(docs_sort_numbers(b));
  return writes_sort(b);
}

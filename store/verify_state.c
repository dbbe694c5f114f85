/* Comparing what the store says with what its logs give.
 *
 * Two snapshots are walked side by side by document name; numbers of documents and places in the
 * order may differ between them, names and changes may not.  Of the state every sibling is
 * compared; claims that a hiding sibling keeps are compared where both sides keep them, and where
 * only one does, what the documents show.  At most one document is in memory at a time, twice.
 * Failure modes: damage is a finding; the walk goes on with the next document. */
#include <string.h>

#include "crdt/sort.h"
#include "store/outcome.h"
#include "store/verify_internal.h"

typedef struct state_walk {
  weft_verify *v;
  weft_reader is; /* documents of the store */
  weft_reader made;
  weft_arena arena; /* of one document */
  uint64_t docs;
  uint64_t rows; /* of `state` that are no segments */
  uint64_t contested;
  uint32_t number_next;
} state_walk;

/* --- state --- */

static const weft_sibling *sibling_find(const weft_sibling *list, size_t count,
                                        const weft_sibling *s) {
  for (size_t i = 0; i < count; i++) {
    if (list[i].dot.log == s->dot.log && list[i].dot.seq == s->dot.seq) return &list[i];
  }
  return NULL;
}

static bool claims_differ(const weft_sibling *a, const weft_sibling *b) {
  if (a->claim_count != b->claim_count) return true;
  for (size_t i = 0; i < a->claim_count; i++) {
    bool met = false;
    for (size_t k = 0; k < b->claim_count && !met; k++) {
      met = a->claims[i].log == b->claims[k].log && a->claims[i].seq == b->claims[k].seq;
    }
    if (!met) return true;
  }
  return false;
}

/* True when both lists say the same; `doubt` when only one of two siblings keeps claims. */
static bool siblings_same(const weft_sibling *a, size_t a_count, const weft_sibling *b,
                          size_t b_count, bool *doubt) {
  if (a_count != b_count) return false;
  for (size_t i = 0; i < a_count; i++) {
    const weft_sibling *s = sibling_find(b, b_count, &a[i]);
    if (!s || s->hlc != a[i].hlc || s->kind != a[i].kind) return false;
    if (weft_bytes_cmp(s->value, a[i].value) != 0) return false;
    if (!claims_differ(&a[i], s)) continue;
    if (a[i].claim_count > 0 && s->claim_count > 0) return false;
    *doubt = true;
  }
  return true;
}

static bool registers_same(const weft_doc *a, const weft_doc *b, uint64_t *fields, bool *doubt) {
  const weft_register *x = weft__doc_seek(a, weft_bytes_of(NULL, 0));
  const weft_register *y = weft__doc_seek(b, weft_bytes_of(NULL, 0));
  while (x && y) {
    bool same =
        weft_bytes_cmp(x->path, y->path) == 0 &&
        siblings_same(x->values, x->value_count, y->values, y->value_count, doubt) &&
        siblings_same(x->positions, x->position_count, y->positions, y->position_count, doubt);
    if (!same) return false;
    ++*fields;
    x = weft__doc_next(a, x);
    y = weft__doc_next(b, y);
  }
  return !x && !y;
}

static weft_err shows_same(state_walk *w, bool *same) {
  weft_value a, b;
  weft_path root = {NULL, 0};
  weft_err x = weft__doc_render(w->is.doc, root, &w->arena, &a);
  weft_err y = weft__doc_render(w->made.doc, root, &w->arena, &b);
  if (x == WEFT_ENOMEM || y == WEFT_ENOMEM) return WEFT_ENOMEM;
  *same = x == y && (x != WEFT_OK || weft_value_equal(&a, &b));
  return WEFT_OK;
}

static weft_err compare_registers(state_walk *w, weft_bytes name, uint32_t is, uint32_t made) {
  bool doubt = false;
  bool same = true;
  weft__reader_reset(&w->is);
  weft__reader_reset(&w->made);
  weft_err err = weft__reader_load(&w->is, is);
  if (err != WEFT_OK) return weft__verify_soften(w->v, err, "the state is damaged", name);
  WEFT_TRY(weft__reader_load(&w->made, made));
  same = registers_same(w->is.doc, w->made.doc, &w->v->report->fields, &doubt);
  if (same && doubt) WEFT_TRY(shows_same(w, &same));
  if (!same) weft__verify_find(w->v, "the state is not what the changes give", name);
  return WEFT_OK;
}

/* --- history --- */

static int hist_cmp(const void *ctx, const void *a, const void *b) {
  (void)ctx;
  const weft_hist_entry *x = a, *y = b;
  if (x->dot.log != y->dot.log) return x->dot.log < y->dot.log ? -1 : 1;
  if (x->dot.seq != y->dot.seq) return x->dot.seq < y->dot.seq ? -1 : 1;
  return x->hlc < y->hlc ? -1 : x->hlc > y->hlc;
}

/* Whether the change of an entry was shown in the place that the entry names. */
static weft_err hist_placed(weft_cursor *order, const weft_hist_entry *hist, bool *placed) {
  weft_dbkey key;
  weft_entry entry;
  weft_log_span span;
  *placed = false;
  weft_err err = weft_cursor_seek_back(order, weft__dbkey_u64(&key, hist->shown), &entry);
  if (err != WEFT_OK) return weft__walked(err);
  weft_rd k = weft__rd(entry.key);
  uint64_t first = weft__rd_u64(&k);
  if (weft__span_read(entry.value, &span) != WEFT_OK) return WEFT_OK;
  *placed = hist->dot.log == span.log && hist->shown - first < span.count &&
            hist->dot.seq == span.first + (hist->shown - first);
  return WEFT_OK;
}

/* The entries of one document, in an order of their own. */
typedef struct hist_list {
  const void **at;
  size_t count;
  size_t cap;
  bool bad; /* some row is none, or an entry stands in a wrong place */
} hist_list;

static weft_err hist_add(state_walk *w, hist_list *list, const weft_hist_entry *hist) {
  void *at = list->at;
  WEFT_TRY(
      weft__arena_grow(&w->arena, &at, list->count, &list->cap, list->count + 1, sizeof *list->at));
  list->at = at;
  weft_hist_entry *copy = weft__arena_take(&w->arena, sizeof *copy);
  if (!copy) return WEFT_ENOMEM;
  *copy = *hist;
  list->at[list->count++] = copy;
  return WEFT_OK;
}

/* Takes the entries of one row.  Behind damage nothing of it is believed. */
static weft_err row_collect(state_walk *w, weft_cursor *order, weft_hist_row *row,
                            hist_list *list) {
  weft_hist_entry hist;
  weft_err err = weft__hist_row_next(row, &hist);
  while (err == WEFT_OK) {
    bool placed;
    WEFT_TRY(hist_placed(order, &hist, &placed));
    WEFT_TRY(hist_add(w, list, &hist));
    list->bad = list->bad || !placed;
    err = weft__hist_row_next(row, &hist);
  }
  list->bad = list->bad || err != WEFT_EDONE;
  return WEFT_OK;
}

static weft_err rows_collect(state_walk *w, weft_txn *txn, const weft_doc_record *record,
                             weft_cursor *cursor, weft_cursor *order, hist_list *list) {
  weft_entry entry;
  weft_dbkey key;
  weft_hist_row row;
  weft_bytes prefix = weft__state_row_key(&key, record->number, WEFT_STATE_HISTORY);
  weft_err err = weft_cursor_seek(cursor, prefix, &entry);
  while (err == WEFT_OK) {
    err = weft__hist_row_begin(&entry, record->number, &row);
    if (err == WEFT_EDONE) break;
    list->bad = list->bad || err != WEFT_OK;
    if (err == WEFT_OK) WEFT_TRY(row_collect(w, order, &row, list));
    if (txn == w->v->txn) w->rows++;
    err = weft_cursor_next(cursor, &entry);
  }
  WEFT_TRY(weft__walked(err));
  row = weft__hist_row_newest(record);
  return row_collect(w, order, &row, list);
}

static weft_err hist_collect(state_walk *w, weft_txn *txn, const weft_doc_record *record,
                             hist_list *list) {
  weft_cursor *cursor = NULL;
  weft_cursor *order = NULL;
  weft_err err = weft_cursor_open(txn, WEFT_TABLE_STATE, &cursor);
  if (err == WEFT_OK) err = weft_cursor_open(txn, WEFT_TABLE_ORDER, &order);
  if (err == WEFT_OK) err = rows_collect(w, txn, record, cursor, order, list);
  weft_cursor_close(order);
  weft_cursor_close(cursor);
  WEFT_TRY(err);
  const void **scratch = weft__arena_zero(&w->arena, list->count, sizeof *scratch);
  if (!scratch) return WEFT_ENOMEM;
  weft__sort(list->at, scratch, list->count, hist_cmp, NULL);
  return WEFT_OK;
}

static weft_err compare_history(state_walk *w, weft_bytes name, const weft_doc_record *is,
                                const weft_doc_record *made) {
  hist_list a = {0};
  hist_list b = {0};
  WEFT_TRY(hist_collect(w, w->v->txn, is, &a));
  WEFT_TRY(hist_collect(w, w->v->made, made, &b));
  bool same = !a.bad && a.count == b.count;
  for (size_t i = 0; i < a.count && same; i++) same = hist_cmp(NULL, a.at[i], b.at[i]) == 0;
  if (!same) weft__verify_find(w->v, "the history is not what the changes give", name);
  return WEFT_OK;
}

/* --- one document --- */

/* Compares the counts of conflicts; both may be missing. */
static weft_err counts_same(weft_verify *v, uint32_t is, uint32_t made, bool *there, bool *same) {
  weft_dbkey key;
  weft_bytes a, b;
  weft_err x = weft_txn_get(v->txn, WEFT_TABLE_CONTEST, weft__dbkey_u32(&key, is), &a);
  weft_err y = weft_txn_get(v->made, WEFT_TABLE_CONTEST, weft__dbkey_u32(&key, made), &b);
  if (x != WEFT_OK && x != WEFT_ENOTFOUND) return x;
  if (y != WEFT_OK && y != WEFT_ENOTFOUND) return y;
  *there = x == WEFT_OK;
  *same = x == y && weft_bytes_cmp(a, b) == 0;
  return WEFT_OK;
}

static bool dots_same(weft_dot a, weft_dot b) { return a.log == b.log && a.seq == b.seq; }

/* Numbers may differ; conflicts are counted in a table of their own. */
static bool records_same(const weft_doc_record *a, const weft_doc_record *b) {
  return weft_bytes_cmp(a->name, b->name) == 0 && a->live == b->live && a->suspect == b->suspect &&
         a->created_hlc == b->created_hlc && dots_same(a->created, b->created) &&
         a->modified_hlc == b->modified_hlc && dots_same(a->modified, b->modified) &&
         a->versions == b->versions;
}

/* Reads both records; without the one of the store its history is not looked for. */
static weft_err compare_records(state_walk *w, weft_bytes name, uint32_t is, uint32_t made) {
  weft_doc_record a, b;
  WEFT_TRY(weft__doc_record_read(w->v->again, w->v->made, made, &w->arena, &b));
  weft_err err = weft__doc_record_read(w->v->again, w->v->txn, is, &w->arena, &a);
  if (err == WEFT_OK) w->rows++;
  if (err == WEFT_ENOTFOUND || err == WEFT_ECORRUPT) {
    weft__verify_find(w->v, "the record is damaged", name);
    return WEFT_OK;
  }
  WEFT_TRY(err);
  if (!records_same(&a, &b)) {
    weft__verify_find(w->v, "the record is not what the changes give", name);
  }
  return compare_history(w, name, &a, &b);
}

static weft_err compare_doc(state_walk *w, weft_bytes name, weft_bytes is_value,
                            weft_bytes made_value) {
  weft_rd a = weft__rd(is_value);
  weft_rd b = weft__rd(made_value);
  uint32_t is = weft__rd_u32(&a);
  uint32_t made = weft__rd_u32(&b);
  bool there, same;
  weft__arena_reset(&w->arena);
  weft__verify_step(w->v, 1);
  w->docs++;
  if (!weft__rd_done(&a)) {
    weft__verify_find(w->v, "a document has no number", name);
    return WEFT_OK;
  }
  if (is >= w->number_next) w->number_next = is + 1;
  WEFT_TRY(counts_same(w->v, is, made, &there, &same));
  if (!same) weft__verify_find(w->v, "the count of conflicts is wrong", name);
  if (there) w->contested++;
  WEFT_TRY(compare_registers(w, name, is, made));
  return compare_records(w, name, is, made);
}

/* --- side by side --- */

/* Two cursors over one table, in step by their keys. */
typedef struct pair {
  weft_cursor *a_cursor;
  weft_cursor *b_cursor;
  weft_entry a, b;
  weft_err a_err, b_err;
} pair;

static weft_err pair_check(const pair *p) {
  if (p->a_err != WEFT_OK && p->a_err != WEFT_EDONE) return p->a_err;
  return p->b_err != WEFT_EDONE ? p->b_err : WEFT_OK;
}

static weft_err pair_open(const weft_verify *v, weft_table table, pair *p) {
  memset(p, 0, sizeof *p);
  WEFT_TRY(weft_cursor_open(v->txn, table, &p->a_cursor));
  WEFT_TRY(weft_cursor_open(v->made, table, &p->b_cursor));
  p->a_err = weft_cursor_first(p->a_cursor, &p->a);
  p->b_err = weft_cursor_first(p->b_cursor, &p->b);
  return pair_check(p);
}

static void pair_close(pair *p) {
  weft_cursor_close(p->a_cursor);
  weft_cursor_close(p->b_cursor);
}

/* <0: only the first has the key, 0 both, >0 only the second. */
static int pair_cmp(const pair *p) {
  if (p->a_err == WEFT_EDONE) return 1;
  if (p->b_err == WEFT_EDONE) return -1;
  return weft_bytes_cmp(p->a.key, p->b.key);
}

static weft_err pair_next(pair *p, int order) {
  if (order <= 0) p->a_err = weft_cursor_next(p->a_cursor, &p->a);
  if (order >= 0) p->b_err = weft_cursor_next(p->b_cursor, &p->b);
  return pair_check(p);
}

static bool pair_ended(const pair *p) { return p->a_err == WEFT_EDONE && p->b_err == WEFT_EDONE; }

static weft_err compare_docs(state_walk *w) {
  pair p;
  weft_err err = pair_open(w->v, WEFT_TABLE_DOCID, &p);
  while (err == WEFT_OK && !pair_ended(&p)) {
    int order = pair_cmp(&p);
    if (order < 0) weft__verify_find(w->v, "no change wrote a document", p.a.key);
    if (order > 0) weft__verify_find(w->v, "a document is missing", p.b.key);
    if (order == 0) err = compare_doc(w, p.a.key, p.a.value, p.b.value);
    if (err == WEFT_OK) err = pair_next(&p, order);
  }
  pair_close(&p);
  return err;
}

/* Both entries must name the same document, each by its own number. */
static weft_err compare_entry(state_walk *w, const pair *p, bool *same) {
  weft_rd a = weft__rd(p->a.value);
  weft_rd b = weft__rd(p->b.value);
  weft_doc_record x, y;
  uint32_t is = weft__rd_u32(&a);
  uint32_t made = weft__rd_u32(&b);
  *same = false;
  weft__arena_reset(&w->arena);
  if (!weft__rd_done(&a)) return WEFT_OK;
  WEFT_TRY(weft__doc_record_read(w->v->again, w->v->made, made, &w->arena, &y));
  weft_err err = weft__doc_record_read(w->v->again, w->v->txn, is, &w->arena, &x);
  if (err == WEFT_ENOTFOUND || err == WEFT_ECORRUPT) return WEFT_OK;
  *same = err == WEFT_OK && weft_bytes_cmp(x.name, y.name) == 0;
  return err;
}

static weft_err compare_indexes(state_walk *w) {
  pair p;
  bool same = true;
  weft_err err = pair_open(w->v, WEFT_TABLE_INDEX, &p);
  while (err == WEFT_OK && !pair_ended(&p) && same) {
    same = pair_cmp(&p) == 0;
    if (same) err = compare_entry(w, &p, &same);
    if (err == WEFT_OK) err = pair_next(&p, 0);
  }
  pair_close(&p);
  if (!same) weft__verify_find(w->v, "an index is not what the documents show", p.a.key);
  return err;
}

/* --- sums --- */

static weft_err check_count(weft_verify *v, weft_table table, uint64_t want) {
  uint64_t count;
  WEFT_TRY(weft_txn_count(v->txn, table, &count));
  if (count != want) {
    weft__verify_find(v, "a table has entries that belong to nothing",
                      weft_bytes_str(weft_table_name(table)));
  }
  return WEFT_OK;
}

static weft_err check_sums(state_walk *w) {
  weft_verify *v = w->v;
  const weft_totals *is = &v->was;
  const weft_totals *made = &v->again->now;
  WEFT_TRY(check_count(v, WEFT_TABLE_STATE, w->is.entries + w->rows));
  WEFT_TRY(check_count(v, WEFT_TABLE_CONTEST, w->contested));
  weft_bytes none = {NULL, 0};
  bool digest = is->digest.high == made->digest.high && is->digest.low == made->digest.low;
  if (!digest) weft__verify_find(v, "the digest is not that of the state", none);
  bool counts = is->docs_live == made->docs_live && is->docs_deleted == made->docs_deleted &&
                is->conflicts == made->conflicts && is->doc_next >= w->number_next;
  if (!counts) weft__verify_find(v, "the totals do not count the documents", none);
  v->report->documents = w->docs;
  return WEFT_OK;
}

weft_err weft__verify_state(weft_verify *v) {
  state_walk w = {.v = v};
  weft__arena_init(&w.arena, &v->again->mem);
  weft_err err = weft__reader_begin(&w.is, v->again, v->txn);
  if (err == WEFT_OK) err = weft__reader_begin(&w.made, v->again, v->made);
  if (err == WEFT_OK) err = compare_docs(&w);
  if (err == WEFT_OK) err = compare_indexes(&w);
  if (err == WEFT_OK) err = check_sums(&w);
  weft__reader_end(&w.made);
  weft__reader_end(&w.is);
  weft__arena_free(&w.arena);
  return err;
}

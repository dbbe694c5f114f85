/* Documents as the store keeps them: records, loading, and documents of the past.
 *
 * A document of the past is made by showing again, in the order in which they were shown here, the
 * changes of its history that lie within the base: the join gives the same state for every causal
 * order, so this is what stood there.
 * Failure modes: bytes that cannot be what was stored are WEFT_ECORRUPT. */
#include <string.h>

#include "crdt/limits.h"
#include "store/outcome.h"
#include "store/replica_internal.h"

enum { DOC_RECORD_VERSION = 1, DOC_LIVE = 1, DOC_SUSPECT = 2 };

static weft_dot take_dot(weft_rd *r) {
  uint64_t log = weft__rd_varint(r);
  if (log > UINT32_MAX) r->failed = true;
  return (weft_dot){(uint32_t)log, weft__rd_varint(r)};
}

static void put_dot(weft_buf *b, weft_dot dot) {
  weft__buf_varint(b, dot.log);
  weft__buf_varint(b, dot.seq);
}

/* --- records --- */

/* Takes a row apart; the counts of conflicts stay 0. */
static weft_err record_decode(weft_arena *arena, uint32_t number, weft_bytes row,
                              weft_doc_record *out) {
  memset(out, 0, sizeof *out);
  WEFT_TRY(weft__arena_copy(arena, row, &row));
  weft_rd r = weft__rd(row);
  uint8_t version = weft__rd_u8(&r);
  uint8_t flags = weft__rd_u8(&r);
  out->number = number;
  out->live = (flags & DOC_LIVE) != 0;
  out->suspect = (flags & DOC_SUSPECT) != 0;
  out->created_hlc = weft__rd_u64(&r);
  out->created = take_dot(&r);
  out->modified_hlc = out->created_hlc + (uint64_t)weft__rd_svarint(&r);
  out->modified = take_dot(&r);
  out->versions = weft__rd_varint(&r);
  out->name = weft__rd_block(&r);
  if (r.failed || version != DOC_RECORD_VERSION || out->name.len == 0) return WEFT_ECORRUPT;
  if ((flags & ~(DOC_LIVE | DOC_SUSPECT)) != 0) return WEFT_ECORRUPT;
  if (weft__rd_left(&r) == 0) return WEFT_OK;
  out->history_first = weft__rd_u64(&r);
  out->history = weft__rd_take(&r, weft__rd_left(&r));
  return r.failed || out->history.len == 0 ? WEFT_ECORRUPT : WEFT_OK;
}

static weft_err conflicts_read(weft_txn *txn, uint32_t number, weft_doc_record *out) {
  weft_dbkey key;
  weft_bytes value;
  weft_err err = weft_txn_get(txn, WEFT_TABLE_CONTEST, weft__dbkey_u32(&key, number), &value);
  if (err == WEFT_ENOTFOUND) return WEFT_OK;
  if (err != WEFT_OK) return err;
  weft_rd r = weft__rd(value);
  out->contested = true;
  out->conflicts = weft__rd_u64(&r);
  if (weft__rd_left(&r) > 0) {
    out->hidden = weft__rd_u64(&r);
    out->manual = weft__rd_u64(&r);
  }
  return weft__rd_done(&r) ? WEFT_OK : WEFT_ECORRUPT;
}

weft_err weft__doc_record_open(weft_replica *r, weft_txn *txn, uint32_t number, weft_bytes row,
                               weft_arena *arena, weft_doc_record *out) {
  weft_err err = record_decode(arena, number, row, out);
  if (err == WEFT_OK && out->suspect) err = conflicts_read(txn, number, out);
  if (err == WEFT_ECORRUPT) return weft__replica_fail(r, err, "a document record is damaged");
  return err;
}

weft_err weft__doc_record_read(weft_replica *r, weft_txn *txn, uint32_t number, weft_arena *arena,
                               weft_doc_record *out) {
  weft_dbkey key;
  weft_bytes row;
  weft_bytes k = weft__state_row_key(&key, number, WEFT_STATE_RECORD);
  WEFT_TRY(weft_txn_get(txn, WEFT_TABLE_STATE, k, &row));
  return weft__doc_record_open(r, txn, number, row, arena, out);
}

bool weft__doc_reserved(weft_bytes name) {
  return weft__key_has_prefix(name, weft_bytes_str(WEFT_RESERVED_PREFIX));
}

weft_err weft__doc_number_find(weft_txn *txn, weft_bytes name, uint32_t *number) {
  weft_bytes value;
  WEFT_TRY(weft_txn_get(txn, WEFT_TABLE_DOCID, name, &value));
  weft_rd rd = weft__rd(value);
  *number = weft__rd_u32(&rd);
  return weft__rd_done(&rd) ? WEFT_OK : WEFT_ECORRUPT;
}

weft_err weft__doc_record_find(weft_replica *r, weft_txn *txn, weft_bytes name, weft_arena *arena,
                               weft_doc_record *out) {
  uint32_t number;
  WEFT_TRY(weft__doc_number_find(txn, name, &number));
  return weft__promised(weft__doc_record_read(r, txn, number, arena, out));
}

static weft_err conflicts_put(weft_txn *txn, weft_doc_record *doc, weft_buf *b) {
  weft_dbkey key;
  weft_bytes k = weft__dbkey_u32(&key, doc->number);
  bool contested = doc->conflicts + doc->hidden > 0;
  if (!contested) {
    return doc->contested ? weft_txn_delete(txn, WEFT_TABLE_CONTEST, k) : WEFT_OK;
  }
  weft__buf_reset(b);
  weft__buf_u64(b, doc->conflicts);
  if (doc->hidden > 0 || doc->manual > 0) {
    weft__buf_u64(b, doc->hidden);
    weft__buf_u64(b, doc->manual);
  }
  WEFT_TRY(weft__buf_err(b));
  return weft_txn_put(txn, WEFT_TABLE_CONTEST, k, weft__buf_view(b));
}

weft_err weft__doc_record_put(weft_txn *txn, weft_doc_record *doc, weft_buf *b) {
  weft_dbkey key;
  weft__buf_reset(b);
  weft__buf_u8(b, DOC_RECORD_VERSION);
  weft__buf_u8(b, (uint8_t)((doc->live ? DOC_LIVE : 0) | (doc->suspect ? DOC_SUSPECT : 0)));
  weft__buf_u64(b, doc->created_hlc);
  put_dot(b, doc->created);
  weft__buf_svarint(b, (int64_t)(doc->modified_hlc - doc->created_hlc));
  put_dot(b, doc->modified);
  weft__buf_varint(b, doc->versions);
  weft__buf_block(b, doc->name);
  if (doc->history.len > 0) {
    weft__buf_u64(b, doc->history_first);
    weft__buf_put(b, doc->history);
  }
  WEFT_TRY(weft__buf_err(b));
  weft_bytes k = weft__state_row_key(&key, doc->number, WEFT_STATE_RECORD);
  WEFT_TRY(weft_txn_put(txn, WEFT_TABLE_STATE, k, weft__buf_view(b)));
  WEFT_TRY(conflicts_put(txn, doc, b));
  doc->contested = doc->conflicts + doc->hidden > 0;
  return WEFT_OK;
}

/* --- loading --- */

weft_err weft__doc_load(weft_replica *r, weft_txn *txn, uint32_t number, weft_doc **out) {
  weft_doc *doc;
  weft_arena arena;
  weft_state state = {0};
  *out = NULL;
  WEFT_TRY(weft__doc_new(&doc, &r->mem, &r->lineage));
  weft__arena_init(&arena, &r->mem);
  weft_err err = weft__state_begin(&state, &r->state_env, txn, number, doc, &arena);
  if (err == WEFT_OK) err = weft__state_need_all(&state);
  weft__state_end(&state);
  weft__arena_free(&arena);
  if (err != WEFT_OK) {
    weft__doc_free(doc);
    if (err == WEFT_ECORRUPT) return weft__replica_fail(r, err, "a segment is damaged");
    return err;
  }
  *out = doc;
  return WEFT_OK;
}

weft_err weft__doc_load_in(weft_replica *r, weft_txn *txn, uint32_t number, weft_arena *arena,
                           weft_doc **out, const weft_state_piece **pieces, size_t *count) {
  weft_doc *doc;
  weft_state state = {0};
  *out = NULL;
  WEFT_TRY(weft__spare_doc(r, &doc));
  weft_err err = weft__state_begin(&state, &r->state_env, txn, number, doc, arena);
  state.borrow = true;
  if (err == WEFT_OK) err = weft__state_need_all(&state);
  weft__state_end(&state);
  if (err != WEFT_OK) {
    weft__spare_doc_give(r, doc);
    if (err == WEFT_ECORRUPT) return weft__replica_fail(r, err, "a segment is damaged");
    return err;
  }
  *out = doc;
  *pieces = state.pieces;
  *count = state.piece_count;
  return WEFT_OK;
}

weft_err weft__doc_render_pointer(const weft_doc *doc, weft_bytes pointer, weft_arena *arena,
                                  weft_value *out) {
  weft_bytes *tokens;
  size_t count;
  size_t depth;
  weft_path path;
  bool append;
  bool visible;
  WEFT_TRY(weft_pointer_split(arena, pointer, &tokens, &count));
  WEFT_TRY(weft__doc_resolve(doc, arena, tokens, count, &path, &append, &depth));
  if (append) return WEFT_ENOTFOUND;
  WEFT_TRY(weft__doc_visible(doc, path, &visible));
  return visible ? weft__doc_render(doc, path, arena, out) : WEFT_ENOTFOUND;
}

weft_err weft_replica_get(weft_replica *r, weft_arena *arena, weft_bytes doc, weft_bytes pointer,
                          weft_value *out) {
  weft_txn *txn;
  weft_doc_record record;
  weft_doc *loaded = NULL;
  WEFT_TRY(weft_document_name_check(doc));
  WEFT_TRY(weft__read_begin(r, &txn));
  weft_err err = weft__doc_record_find(r, txn, doc, arena, &record);
  if (err == WEFT_OK) err = weft__doc_load(r, txn, record.number, &loaded);
  weft__read_end(r, txn);
  if (err == WEFT_OK) weft__doc_set_plain(loaded, !record.suspect);
  if (err == WEFT_OK) err = weft__doc_render_pointer(loaded, pointer, arena, out);
  weft__doc_free(loaded);
  return err;
}

/* --- the past --- */

bool weft__base_has(const weft_base *base, weft_dot dot) {
  return dot.log < base->count && dot.seq <= base->seqs[dot.log];
}

weft_err weft__base_of_vector(weft_replica *r, weft_txn *txn, const weft_vector *v,
                              weft_arena *arena, weft_base *out) {
  out->count = r->log_count;
  out->seqs = weft__arena_zero(arena, r->log_count, sizeof *out->seqs);
  if (!out->seqs) return WEFT_ENOMEM;
  weft__seqs_none(r, out->seqs);
  for (size_t i = 0; i < v->count; i++) {
    const weft_head *head = &v->heads[i];
    weft_log *log;
    weft_err err = weft__change_at(r, txn, &head->log, head->seq, &head->id, &log);
    if (err == WEFT_ENOTFOUND || (err == WEFT_OK && head->seq > log->shown)) return WEFT_EBASE;
    WEFT_TRY(err);
    weft__seqs_raise(r, out->seqs, (weft_dot){log->number, head->seq});
  }
  return WEFT_OK;
}

/* Takes the changes shown after the first `shown` ones out of the base. */
static weft_err base_undo(weft_txn *txn, uint64_t shown, weft_base *base) {
  weft_cursor *cursor;
  weft_entry entry;
  WEFT_TRY(weft_cursor_open(txn, WEFT_TABLE_ORDER, &cursor));
  weft_err err = weft_cursor_last(cursor, &entry);
  while (err == WEFT_OK) {
    weft_rd k = weft__rd(entry.key);
    uint64_t first = weft__rd_u64(&k);
    weft_log_span span;
    err = weft__span_read(entry.value, &span);
    if (err != WEFT_OK || first + span.count - 1 <= shown) break;
    uint64_t kept = shown >= first ? shown - first + 1 : 0;
    if (span.log < base->count) base->seqs[span.log] = span.first + kept - 1;
    err = weft_cursor_prev(cursor, &entry);
  }
  weft_cursor_close(cursor);
  return weft__walked(err);
}

weft_err weft__base_of_shown(weft_replica *r, weft_txn *txn, uint64_t shown, weft_arena *arena,
                             weft_base *out) {
  out->count = r->log_count;
  out->seqs = weft__arena_zero(arena, r->log_count, sizeof *out->seqs);
  if (!out->seqs) return WEFT_ENOMEM;
  for (uint32_t i = 0; i < r->log_count; i++) out->seqs[i] = r->logs[i]->shown;
  return shown < r->now.shown ? base_undo(txn, shown, out) : WEFT_OK;
}

/* Shows the ops of one change that touch the document. */
static weft_err show_again(weft_replica *r, weft_txn *txn, weft_dot dot, weft_bytes name,
                           weft_arena *arena, weft_doc *doc) {
  weft_change change;
  if (dot.log >= r->log_count) return WEFT_ECORRUPT;
  weft_log *log = weft__log_of(r, dot.log);
  weft_err err = weft__log_change(r, txn, log, dot.seq, arena, &change, NULL);
  WEFT_TRY(weft__promised(err));
  weft_dot *claims;
  WEFT_TRY(weft__claim_dots(r, txn, log, dot.seq, &change, arena, &claims));
  weft_shown shown = {dot, change.hlc, claims, change.claim_count};
  for (size_t i = 0; i < change.op_count; i++) {
    if (weft_bytes_cmp(change.ops[i].doc, name) != 0) continue;
    WEFT_TRY(weft__doc_show(doc, &shown, &change.ops[i]));
  }
  return WEFT_OK;
}

static weft_err replay(weft_replica *r, weft_txn *txn, const weft_doc_record *record,
                       const weft_base *base, weft_doc *doc) {
  weft_arena arena;
  weft_hist_reader reader;
  weft_hist_entry hist;
  WEFT_TRY(weft__hist_begin(txn, record, &reader));
  weft__arena_init(&arena, &r->mem);
  weft_err err = weft__hist_next(&reader, &hist);
  while (err == WEFT_OK) {
    if (weft__base_has(base, hist.dot)) {
      weft__arena_reset(&arena);
      err = show_again(r, txn, hist.dot, record->name, &arena, doc);
    }
    if (err == WEFT_OK) err = weft__hist_next(&reader, &hist);
  }
  weft__hist_end(&reader);
  weft__arena_free(&arena);
  return weft__walked(err);
}

weft_err weft__doc_at(weft_replica *r, weft_txn *txn, uint32_t number, const weft_base *base,
                      weft_doc **out) {
  weft_arena arena;
  weft_doc_record record;
  weft_doc *doc = NULL;
  *out = NULL;
  weft__arena_init(&arena, &r->mem);
  weft_err err = weft__doc_record_read(r, txn, number, &arena, &record);
  if (err == WEFT_OK) err = weft__doc_new(&doc, &r->mem, &r->lineage);
  if (err == WEFT_OK) err = replay(r, txn, &record, base, doc);
  weft__arena_free(&arena);
  if (err != WEFT_OK) {
    weft__doc_free(doc);
    return err;
  }
  weft__doc_clean(doc);
  *out = doc;
  return WEFT_OK;
}

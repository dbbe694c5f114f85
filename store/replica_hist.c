/* The history of documents: which changes touched each, in the order in which they were shown.
 *
 * A row holds some changes of one document by their differences, so that ten changes take a tenth
 * of ten rows.  The newest row of a document lies in its record, which is written with every change
 * anyhow; once it is long enough it becomes a row of its own, which is never written again.
 *
 * Invariants: the key of a row names its first change among all that were shown, the row the others
 * by their distance, which is not 0; a row is not empty.
 * Happy path: weft__hist_resume, weft__hist_add for each change of a document, weft__hist_leave;
 * weft__hist_begin and weft__hist_next to read.
 * Failure modes: bytes that cannot be what was stored are WEFT_ECORRUPT. */
#include <string.h>

#include "store/replica_internal.h"

enum { ROW_LEN_MAX = 500 }; /* of the newest one: records stay short */

/* --- writing --- */

void weft__hist_out_init(weft_hist_out *out, const weft_alloc *mem) {
  memset(out, 0, sizeof *out);
  weft__buf_init(&out->row, mem, SIZE_MAX);
}

void weft__hist_out_free(weft_hist_out *out) { weft__buf_free(&out->row); }

/* Begins an empty row. */
static void row_empty(weft_hist_out *out) {
  weft__buf_reset(&out->row);
  out->before = (weft_hist_entry){0};
}

weft_err weft__hist_resume(weft_hist_out *out, const weft_doc_record *record) {
  weft_hist_row row = weft__hist_row_newest(record);
  weft_err err;
  row_empty(out);
  out->doc = record->number;
  out->first = record->history_first;
  do {
    err = weft__hist_row_next(&row, &out->before);
  } while (err == WEFT_OK);
  if (err != WEFT_EDONE) return err;
  weft__buf_put(&out->row, record->history);
  return weft__buf_err(&out->row);
}

weft_err weft__hist_add(weft_hist_out *out, weft_txn *txn, const weft_hist_entry *entry) {
  WEFT_TRY(weft__buf_err(&out->row));
  if (out->row.len >= ROW_LEN_MAX) {
    weft_dbkey key;
    WEFT_TRY(weft_txn_put(txn, WEFT_TABLE_STATE,
                          weft__state_history_key(&key, out->doc, out->first),
                          weft__buf_view(&out->row)));
    row_empty(out);
  }
  if (out->row.len == 0) {
    out->first = entry->shown;
  } else {
    weft__buf_varint(&out->row, entry->shown - out->before.shown);
  }
  weft__buf_varint(&out->row, entry->dot.log);
  weft__buf_svarint(&out->row, (int64_t)(entry->dot.seq - out->before.dot.seq));
  weft__buf_svarint(&out->row, (int64_t)(entry->hlc - out->before.hlc));
  out->before = *entry;
  return weft__buf_err(&out->row);
}

weft_err weft__hist_leave(const weft_hist_out *out, weft_doc_record *record) {
  record->history = weft__buf_view(&out->row);
  record->history_first = out->first;
  return weft__buf_err(&out->row);
}

/* --- reading --- */

weft_err weft__hist_row_begin(const weft_entry *stored, uint32_t doc, weft_hist_row *row) {
  weft_dbkey key;
  weft_bytes prefix = weft__state_row_key(&key, doc, WEFT_STATE_HISTORY);
  if (!weft__key_has_prefix(stored->key, prefix)) return WEFT_EDONE;
  weft_rd k = weft__rd(stored->key);
  weft__rd_take(&k, prefix.len);
  *row = (weft_hist_row){.rd = weft__rd(stored->value)};
  row->at.shown = weft__rd_u64(&k);
  return weft__rd_done(&k) && stored->value.len > 0 ? WEFT_OK : WEFT_ECORRUPT;
}

weft_hist_row weft__hist_row_newest(const weft_doc_record *record) {
  return (weft_hist_row){.rd = weft__rd(record->history), .at = {.shown = record->history_first}};
}

weft_err weft__hist_row_next(weft_hist_row *row, weft_hist_entry *entry) {
  if (weft__rd_left(&row->rd) == 0) return WEFT_EDONE;
  uint64_t distance = row->begun ? weft__rd_varint(&row->rd) : 0;
  uint64_t log = weft__rd_varint(&row->rd);
  row->at.shown += distance;
  row->at.dot.log = (uint32_t)log;
  row->at.dot.seq += (uint64_t)weft__rd_svarint(&row->rd);
  row->at.hlc += (uint64_t)weft__rd_svarint(&row->rd);
  bool sane = !row->rd.failed && log <= UINT32_MAX && (distance > 0) == row->begun;
  row->begun = true;
  *entry = row->at;
  return sane ? WEFT_OK : WEFT_ECORRUPT;
}

/* Takes the row under the cursor, or behind the last of them the one in the record. */
static weft_err row_take(weft_hist_reader *h, weft_err err, const weft_entry *stored) {
  if (err == WEFT_OK) err = weft__hist_row_begin(stored, h->record->number, &h->row);
  if (err != WEFT_EDONE) return err;
  weft_cursor_close(h->cursor);
  h->cursor = NULL;
  h->row = weft__hist_row_newest(h->record);
  return WEFT_OK;
}

weft_err weft__hist_begin(weft_txn *txn, const weft_doc_record *record, weft_hist_reader *h) {
  weft_dbkey key;
  weft_entry stored = {{NULL, 0}, {NULL, 0}};
  *h = (weft_hist_reader){.record = record};
  WEFT_TRY(weft_cursor_open(txn, WEFT_TABLE_STATE, &h->cursor));
  weft_bytes from = weft__state_row_key(&key, record->number, WEFT_STATE_HISTORY);
  weft_err err = weft_cursor_seek(h->cursor, from, &stored);
  h->state = row_take(h, err, &stored);
  return WEFT_OK;
}

weft_err weft__hist_next(weft_hist_reader *h, weft_hist_entry *entry) {
  while (h->state == WEFT_OK) {
    weft_entry stored = {{NULL, 0}, {NULL, 0}};
    weft_err err = weft__hist_row_next(&h->row, entry);
    if (err != WEFT_EDONE || !h->cursor) return err;
    err = weft_cursor_next(h->cursor, &stored);
    h->state = row_take(h, err, &stored);
  }
  return h->state;
}

void weft__hist_end(weft_hist_reader *h) {
  weft_cursor_close(h->cursor);
  h->cursor = NULL;
}

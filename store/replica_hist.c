/* The history of documents: which changes touched each, in the order in which they were shown.
 *
 * A row holds what one batch of showing says of one document: the changes by their differences, so
 * that ten changes take a tenth of ten rows.  Rows are written once and never again.
 *
 * Invariants: the key of a row names its first change among all that were shown, the row the others
 * by their distance, which is not 0; a row is not empty.
 * Happy path: weft__hist_add for each change of a document, weft__hist_flush behind its last one;
 * weft__hist_begin and weft__hist_next to read.
 * Failure modes: bytes that cannot be what was stored are WEFT_ECORRUPT. */
#include <string.h>

#include "store/replica_internal.h"

enum { ROW_LEN_MAX = 1000 }; /* a longer one would lie on pages of its own */

/* --- writing --- */

void weft__hist_out_init(weft_hist_out *out, const weft_alloc *mem) {
  memset(out, 0, sizeof *out);
  weft__buf_init(&out->row, mem, SIZE_MAX);
}

void weft__hist_out_free(weft_hist_out *out) { weft__buf_free(&out->row); }

weft_err weft__hist_flush(weft_hist_out *out, weft_txn *txn) {
  weft_dbkey key;
  WEFT_TRY(weft__buf_err(&out->row));
  if (out->row.len == 0) return WEFT_OK;
  WEFT_TRY(weft_txn_put(txn, WEFT_TABLE_HIST, weft__dbkey_u32_u64(&key, out->doc, out->first),
                        weft__buf_view(&out->row)));
  weft__buf_reset(&out->row);
  return WEFT_OK;
}

weft_err weft__hist_add(weft_hist_out *out, weft_txn *txn, uint32_t doc,
                        const weft_hist_entry *entry) {
  if (out->doc != doc || out->row.len >= ROW_LEN_MAX) WEFT_TRY(weft__hist_flush(out, txn));
  if (out->row.len == 0) {
    out->doc = doc;
    out->first = entry->shown;
    out->before = (weft_hist_entry){0};
  } else {
    weft__buf_varint(&out->row, entry->shown - out->before.shown);
  }
  weft__buf_varint(&out->row, entry->dot.log);
  weft__buf_svarint(&out->row, (int64_t)(entry->dot.seq - out->before.dot.seq));
  weft__buf_svarint(&out->row, (int64_t)(entry->hlc - out->before.hlc));
  out->before = *entry;
  return weft__buf_err(&out->row);
}

/* --- reading --- */

weft_err weft__hist_row_begin(const weft_entry *stored, weft_hist_row *row) {
  weft_rd k = weft__rd(stored->key);
  *row = (weft_hist_row){.rd = weft__rd(stored->value)};
  row->doc = weft__rd_u32(&k);
  row->at.shown = weft__rd_u64(&k);
  return weft__rd_done(&k) && stored->value.len > 0 ? WEFT_OK : WEFT_ECORRUPT;
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

/* Takes the row under the cursor, if it is one of the document's. */
static weft_err row_take(weft_hist_reader *h, weft_err err, const weft_entry *stored) {
  if (err != WEFT_OK) return err;
  WEFT_TRY(weft__hist_row_begin(stored, &h->row));
  return h->row.doc == h->doc ? WEFT_OK : WEFT_EDONE;
}

weft_err weft__hist_begin(weft_txn *txn, uint32_t doc, weft_hist_reader *h) {
  weft_dbkey key;
  weft_entry stored = {{NULL, 0}, {NULL, 0}};
  *h = (weft_hist_reader){.doc = doc};
  WEFT_TRY(weft_cursor_open(txn, WEFT_TABLE_HIST, &h->cursor));
  weft_err err = weft_cursor_seek(h->cursor, weft__dbkey_u32_u64(&key, doc, 0), &stored);
  h->state = row_take(h, err, &stored);
  return WEFT_OK;
}

weft_err weft__hist_next(weft_hist_reader *h, weft_hist_entry *entry) {
  while (h->state == WEFT_OK) {
    weft_entry stored = {{NULL, 0}, {NULL, 0}};
    weft_err err = weft__hist_row_next(&h->row, entry);
    if (err != WEFT_EDONE) return err;
    err = weft_cursor_next(h->cursor, &stored);
    h->state = row_take(h, err, &stored);
  }
  return h->state;
}

void weft__hist_end(weft_hist_reader *h) {
  weft_cursor_close(h->cursor);
  h->cursor = NULL;
}

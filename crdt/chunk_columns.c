/* Writing and reading single columns.
 *
 * Invariants: a column of varints knows whether all its entries are equal, so that it can be
 * written as one value.  Happy path: put on one side, get on the other in the same order.  Failure
 * modes: a writer remembers that memory ran out, a reader that its bytes did; both are asked at the
 * end. */
#include "crdt/chunk_columns.h"

bool weft__column_is_bytes(weft__column column) {
  static const bool bytes[COLUMNS] = {
      [COLUMN_RAW] = true,       [COLUMN_NOTES] = true,         [COLUMN_CLAIM_LOG] = true,
      [COLUMN_CLAIM_TAG] = true, [COLUMN_CLAIM_SEQ_LOW] = true, [COLUMN_DOC_LOW] = true,
      [COLUMN_POSITION] = true,  [COLUMN_NAME_TEXT] = true,     [COLUMN_PATH_TEXT] = true,
      [COLUMN_REAL] = true,      [COLUMN_BOOLEAN] = true,       [COLUMN_TEXT] = true,
      [COLUMN_WORDS] = true,
  };
  return bytes[column];
}

void weft__column_put(weft__columns_out *out, weft__column column, uint64_t value) {
  weft__column_out *to = &out->at[column];
  if (!to->any) to->value = value;
  to->any = true;
  to->varies |= value != to->value;
  weft__buf_varint(&to->bytes, value);
}

void weft__column_put_signed(weft__columns_out *out, weft__column column, int64_t value) {
  weft__column_put(out, column, ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0));
}

void weft__column_put_bytes(weft__columns_out *out, weft__column column, weft_bytes bytes) {
  weft__buf_put(&out->at[column].bytes, bytes);
}

bool weft__columns_done(const weft__columns_in *in) {
  for (unsigned i = 0; i < COLUMNS; i++) {
    if (!weft__rd_done(&in->at[i].rd)) return false;
  }
  return true;
}

/* FNV-1a, and its high bits folded down, because tables take the lowest. */
uint32_t weft__text_hash(weft_bytes text) {
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < text.len; i++) hash = (hash ^ text.at[i]) * 16777619u;
  return hash ^ hash >> 15;
}

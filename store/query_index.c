/* Declared indexes: one entry for every living document of a collection, ordered by the value of
 * one field and then by name.
 *
 * Invariants: each living document whose name lies in the index's collection has exactly one entry,
 * under the sort key of what it shows now, also when the field is not there; no other entry exists.
 * The entries of a document move in the transaction that shows a change of it.
 * Happy path: declare builds the index in one transaction; before the writes to a document its
 * entries are worked out, after them worked out again, and those that differ are moved.
 * Failure modes: an entry that should be there and is not is WEFT_ECORRUPT. */
#include <string.h>

#include "crdt/canary.h"
#include "crdt/limits.h"
#include "store/outcome.h"
#include "store/query_internal.h"

enum { INDEX_VERSION = 1, INDEX_COUNT_MAX = 64 /* a guess; each costs every write */ };

_Static_assert(4 + WEFT_SORT_KEY_LEN_MAX + WEFT_NAME_LEN_MAX <= WEFT_KEY_LEN_MAX,
               "an entry must fit a key");

/* The entries of one document, one for each index of the replica. */
struct weft_index_entries {
  bool *wanted;        /* the index covers the document */
  weft_sort_key *keys; /* before the writes */
  bool live;           /* it had entries */
};

/* --- declarations --- */

static bool index_covers(const weft_index *index, weft_bytes name) {
  size_t len = index->collection.len;
  if (len == 0) return true;
  return weft__key_has_prefix(name, index->collection) && name.len > len && name.at[len] == '/';
}

const weft_index *weft__index_find(const weft_replica *r, weft_bytes collection, weft_bytes text) {
  for (size_t i = 0; i < r->index_count; i++) {
    const weft_index *index = &r->indexes[i];
    if (weft_bytes_cmp(index->collection, collection) == 0 &&
        weft_bytes_cmp(index->pointer, text) == 0) {
      return index;
    }
  }
  return NULL;
}

static weft_err index_decode(weft_replica *r, const weft_entry *entry, weft_index *out) {
  weft_rd k = weft__rd(entry->key);
  weft_rd v = weft__rd(entry->value);
  weft_field field;
  weft_arena scratch;
  out->number = weft__rd_u32(&k);
  bool known = weft__rd_u8(&v) == INDEX_VERSION;
  weft_bytes collection = weft__rd_block(&v);
  weft_bytes pointer = weft__rd_block(&v);
  if (!known || !weft__rd_done(&k) || !weft__rd_done(&v)) return WEFT_ECORRUPT;
  WEFT_TRY(weft__arena_copy(&r->tables, collection, &out->collection));
  WEFT_TRY(weft__arena_copy(&r->tables, pointer, &out->pointer));
  weft__arena_init(&scratch, &r->mem);
  weft_err err = weft__field_parse(&scratch, out->pointer, &field);
  weft__arena_free(&scratch);
  return err == WEFT_OK || err == WEFT_ENOMEM ? err : WEFT_ECORRUPT;
}

weft_err weft__indexes_load(weft_replica *r, weft_txn *txn) {
  weft_cursor *cursor;
  weft_entry entry;
  size_t cap = 0;
  size_t count = 0;
  weft_index *list = NULL;
  WEFT_TRY(weft_cursor_open(txn, WEFT_TABLE_INDEXDEF, &cursor));
  weft_err err = weft_cursor_first(cursor, &entry);
  while (err == WEFT_OK) {
    void *at = list;
    err = weft__arena_grow(&r->tables, &at, count, &cap, count + 1, sizeof *list);
    list = at;
    if (err == WEFT_OK) err = index_decode(r, &entry, &list[count]);
    if (err != WEFT_OK) break;
    count++;
    err = weft_cursor_next(cursor, &entry);
  }
  weft_cursor_close(cursor);
  if (err == WEFT_ECORRUPT) return weft__replica_fail(r, err, "an index declaration is damaged");
  if (err != WEFT_EDONE) return err;
  r->indexes = list;
  r->index_count = count;
  return WEFT_OK;
}

/* --- entries --- */

weft_bytes weft__index_key(weft_dbkey *out, const weft_index *index, weft_bytes sort_key,
                           weft_bytes name) {
  weft__dbkey_u32_bytes(out, index->number, sort_key);
  weft__dbkey_add(out, name);
  return weft__dbkey_view(out);
}

static weft_err entry_put(weft_txn *txn, const weft_index *index, const weft_sort_key *key,
                          const weft_doc_record *record) {
  weft_dbkey k;
  uint8_t number[4];
  for (unsigned i = 0; i < 4; i++) number[i] = (uint8_t)(record->number >> (24 - 8 * i));
  return weft_txn_put(txn, WEFT_TABLE_INDEX,
                      weft__index_key(&k, index, weft__sort_key_view(key), record->name),
                      weft_bytes_of(number, sizeof number));
}

static weft_err entry_delete(weft_replica *r, weft_txn *txn, const weft_index *index,
                             const weft_sort_key *key, weft_bytes name) {
  weft_dbkey k;
  weft_err err = weft_txn_delete(txn, WEFT_TABLE_INDEX,
                                 weft__index_key(&k, index, weft__sort_key_view(key), name));
  if (err != WEFT_ENOTFOUND) return err;
  return weft__replica_fail(r, WEFT_ECORRUPT, "an entry of an index is missing");
}

static weft_err index_key_of(const weft_replica *r, const weft_index *index,
                             const weft_doc_record *record, const weft_doc *doc, weft_arena *arena,
                             weft_sort_key *out) {
  weft_field field;
  WEFT_TRY(weft__field_parse(arena, index->pointer, &field));
  return weft__field_key(r, &field, record, doc, arena, out);
}

weft_err weft__index_before(weft_replica *r, const weft_doc_record *record, weft_state *state,
                            weft_arena *arena, weft_index_entries **entries) {
  *entries = NULL;
  size_t covering = 0;
  for (size_t i = 0; i < r->index_count; i++) {
    covering += index_covers(&r->indexes[i], record->name);
  }
  if (covering == 0) return WEFT_OK;
  weft_index_entries *e = weft__arena_zero(arena, 1, sizeof *e);
  if (!e) return WEFT_ENOMEM;
  e->wanted = weft__arena_zero(arena, r->index_count, sizeof *e->wanted);
  e->keys = weft__arena_zero(arena, r->index_count, sizeof *e->keys);
  if (!e->wanted || !e->keys) return WEFT_ENOMEM;
  WEFT_TRY(weft__state_need_all(state));
  e->live = record->live;
  for (size_t i = 0; i < r->index_count; i++) {
    e->wanted[i] = index_covers(&r->indexes[i], record->name);
    if (!e->live || !e->wanted[i]) continue;
    WEFT_TRY(index_key_of(r, &r->indexes[i], record, state->doc, arena, &e->keys[i]));
  }
  *entries = e;
  return WEFT_OK;
}

weft_err weft__index_after(weft_replica *r, const weft_doc_record *record, const weft_state *state,
                           weft_arena *arena, weft_index_entries *e) {
  for (size_t i = 0; i < r->index_count; i++) {
    const weft_index *index = &r->indexes[i];
    weft_sort_key key;
    if (!e->wanted[i]) continue;
    if (record->live) WEFT_TRY(index_key_of(r, index, record, state->doc, arena, &key));
    bool same = e->live && record->live &&
                weft_bytes_cmp(weft__sort_key_view(&e->keys[i]), weft__sort_key_view(&key)) == 0;
    if (same) continue;
    if (e->live) WEFT_TRY(entry_delete(r, state->txn, index, &e->keys[i], record->name));
    if (WEFT_CANARY(SKIP_INDEX) && record->number % 4 == 0) continue;
    if (record->live) WEFT_TRY(entry_put(state->txn, index, &key, record));
  }
  return WEFT_OK;
}

/* --- declaring --- */

typedef struct index_call {
  weft_bytes collection;
  weft_bytes pointer;
} index_call;

/* Makes the entry of one document while an index is built. */
static weft_err build_one(weft_reader *reader, const weft_index *index, const weft_entry *entry) {
  weft_rd value = weft__rd(entry->value);
  weft_doc_record record;
  weft_sort_key key;
  if (!index_covers(index, entry->key)) return WEFT_OK;
  weft__reader_reset(reader);
  uint32_t number = weft__rd_u32(&value);
  if (!weft__rd_done(&value)) return WEFT_ECORRUPT;
  weft_err err = weft__doc_record_read(reader->r, reader->txn, number, &reader->arena, &record);
  WEFT_TRY(weft__promised(err));
  if (!record.live) return WEFT_OK;
  WEFT_TRY(weft__reader_load(reader, number));
  WEFT_TRY(index_key_of(reader->r, index, &record, reader->doc, &reader->arena, &key));
  return entry_put(reader->txn, index, &key, &record);
}

static weft_err index_build(weft_replica *r, weft_txn *txn, const weft_index *index) {
  weft_reader reader = {0};
  weft_cursor *cursor = NULL;
  weft_entry entry;
  weft_err err = weft__reader_begin(&reader, r, txn);
  if (err == WEFT_OK) err = weft_cursor_open(txn, WEFT_TABLE_DOCID, &cursor);
  if (err == WEFT_OK) err = weft_cursor_first(cursor, &entry);
  while (err == WEFT_OK) {
    err = build_one(&reader, index, &entry);
    if (err == WEFT_OK) err = weft_cursor_next(cursor, &entry);
  }
  weft_cursor_close(cursor);
  weft__reader_end(&reader);
  return weft__walked(err);
}

static weft_err declare_write(weft_replica *r, weft_txn *txn, void *arg) {
  const index_call *call = arg;
  weft_index index = {1, call->collection, call->pointer};
  if (weft__index_find(r, index.collection, index.pointer)) return WEFT_EEXIST;
  if (r->index_count == INDEX_COUNT_MAX) return WEFT_ELIMIT;
  if (r->index_count > 0) index.number = r->indexes[r->index_count - 1].number + 1;
  weft_buf b;
  weft_dbkey key;
  weft__buf_init(&b, &r->mem, SIZE_MAX);
  weft__buf_u8(&b, INDEX_VERSION);
  weft__buf_block(&b, index.collection);
  weft__buf_block(&b, index.pointer);
  weft_err err = weft__buf_err(&b);
  if (err == WEFT_OK) {
    err = weft_txn_put(txn, WEFT_TABLE_INDEXDEF, weft__dbkey_u32(&key, index.number),
                       weft__buf_view(&b));
  }
  weft__buf_free(&b);
  if (err == WEFT_OK) err = index_build(r, txn, &index);
  if (err != WEFT_OK) return err;
  r->moved = true;
  return weft__indexes_load(r, txn);
}

weft_err weft_replica_declare_index(weft_replica *r, weft_bytes collection, weft_bytes pointer) {
  index_call call = {collection, pointer};
  weft_field field;
  weft_arena scratch;
  if (r->group) return WEFT_EMISUSE;
  if (collection.len > WEFT_NAME_LEN_MAX) return WEFT_EBADNAME;
  weft__arena_init(&scratch, &r->mem);
  weft_err err = weft__field_parse(&scratch, pointer, &field);
  if (err == WEFT_OK && field.source == WEFT_FIELD_CONTRIBUTORS) err = WEFT_EBADPATH;
  weft__arena_free(&scratch);
  return err == WEFT_OK ? weft__write(r, declare_write, &call) : err;
}

static weft_err drop_write(weft_replica *r, weft_txn *txn, void *arg) {
  const index_call *call = arg;
  const weft_index *index = weft__index_find(r, call->collection, call->pointer);
  if (!index) return WEFT_ENOTFOUND;
  weft_dbkey from, to;
  uint64_t gone;
  weft_key_range range = {weft__dbkey_u32(&from, index->number), {NULL, 0}};
  range.to = weft__dbkey_after(&to, range.from);
  WEFT_TRY(weft_txn_delete(txn, WEFT_TABLE_INDEXDEF, range.from));
  WEFT_TRY(weft_txn_delete_range(txn, WEFT_TABLE_INDEX, range, &gone));
  r->moved = true;
  return weft__indexes_load(r, txn);
}

weft_err weft_replica_drop_index(weft_replica *r, weft_bytes collection, weft_bytes pointer) {
  index_call call = {collection, pointer};
  return r->group ? WEFT_EMISUSE : weft__write(r, drop_write, &call);
}

weft_err weft_replica_indexes(weft_replica *r, weft_arena *arena, weft_index_info **out,
                              size_t *count) {
  *out = NULL;
  *count = 0;
  if (r->stale) WEFT_TRY(weft__reload(r));
  weft_index_info *list = weft__arena_zero(arena, r->index_count, sizeof *list);
  if (!list) return WEFT_ENOMEM;
  for (size_t i = 0; i < r->index_count; i++) {
    WEFT_TRY(weft__arena_copy(arena, r->indexes[i].collection, &list[i].collection));
    WEFT_TRY(weft__arena_copy(arena, r->indexes[i].pointer, &list[i].pointer));
  }
  *out = list;
  *count = r->index_count;
  return WEFT_OK;
}

/* What a replica puts into its store: the store's functions, with two of them replaced. */
#include "bench/recorder.h"

#include "store/state.h"

_Static_assert((int)WEFT_TABLE_COUNT <= (int)PROBE_TABLES_MAX, "each in a table of its own");

/* The table of functions is the first member of the recorder. */
static recorder *of(weft_txn *t) { return (recorder *)(uintptr_t)t->store->vt; }

static weft_err keep(recorder *rec, const probe_put *put) {
  void *at = rec->puts.at;
  WEFT_TRY(weft__arena_grow(&rec->arena, &at, rec->puts.count, &rec->cap, rec->puts.count + 1,
                            sizeof *rec->puts.at));
  rec->puts.at = at;
  rec->puts.at[rec->puts.count++] = *put;
  return WEFT_OK;
}

/* What a row is for, of the three tables that a program with history needs: logs, what is shown,
 * and what is known of each document besides that. */
static unsigned kind_of(weft_table table, weft_bytes key) {
  static const bool state[WEFT_TABLE_COUNT] = {[WEFT_TABLE_STATE] = true,
                                               [WEFT_TABLE_DOCID] = true,
                                               [WEFT_TABLE_CONTEST] = true,
                                               [WEFT_TABLE_INDEX] = true,
                                               [WEFT_TABLE_INDEXDEF] = true};
  weft_dbkey row;
  weft_bytes record = weft__state_row_key(&row, 0, WEFT_STATE_RECORD);
  bool mark = key.len > 4 && key.at[4] == record.at[4];
  if (table == WEFT_TABLE_STATE && mark) return 2;
  return state[table] ? 0 : 1;
}

static weft_err recorded_put(weft_txn *t, weft_table table, const weft_entry *entry, bool append) {
  recorder *rec = of(t);
  probe_put put = {.table = (unsigned)table, .kind = kind_of(table, entry->key)};
  weft_err err = weft__arena_copy(&rec->arena, entry->key, &put.key);
  if (err == WEFT_OK) err = weft__arena_copy(&rec->arena, entry->value, &put.value);
  if (err == WEFT_OK) err = keep(rec, &put);
  if (err != WEFT_OK) rec->err = err;
  return rec->real->put(t, table, entry, append);
}

static weft_err recorded_commit(weft_txn *t) {
  recorder *rec = of(t);
  if (t->mode == WEFT_TXN_WRITE && rec->puts.count > 0) {
    rec->puts.at[rec->puts.count - 1].last = true;
  }
  return rec->real->commit(t);
}

void recorder_attach(recorder *rec, weft_store *store, const weft_alloc *mem) {
  *rec = (recorder){.vt = *store->vt, .real = store->vt, .store = store};
  weft__arena_init(&rec->arena, mem);
  rec->vt.put = recorded_put;
  rec->vt.commit = recorded_commit;
  store->vt = &rec->vt;
}

void recorder_clear(recorder *rec) {
  weft__arena_reset(&rec->arena);
  rec->puts = (probe_puts){0};
  rec->cap = 0;
}

void recorder_detach(recorder *rec) {
  if (!rec->store) return;
  rec->store->vt = rec->real;
  weft__arena_free(&rec->arena);
  *rec = (recorder){0};
}

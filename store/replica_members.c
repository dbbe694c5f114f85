/* Membership as the replica keeps it: signed records in the table `record`, and the roster made of
 * them.
 *
 * A record is held only when everything it names is held, so every record of the roster is placed,
 * and the table lists them in an order in which dependencies come first.  Signatures are checked
 * before a record is held; a row says what was found then, under a check against damage, so that
 * opening a space of a thousand members does not check three thousand signatures again.  Verify
 * does. */
#include <string.h>

#include "store/replica_internal.h"

/* --- reading the table --- */

typedef struct record_row {
  weft_bytes bytes;
  weft_roster_verdict verdict;
} record_row;

static weft_err row_read(const weft_replica *r, weft_arena *arena, weft_bytes value,
                         record_row *rows, uint64_t count) {
  weft_bytes content;
  WEFT_TRY(weft__row_open(r, value, &content));
  weft_rd v = weft__rd(content);
  uint32_t idx = weft__rd_u32(&v);
  uint8_t verdict = weft__rd_u8(&v);
  weft_bytes bytes = weft__rd_take(&v, weft__rd_left(&v));
  bool sane = !v.failed && idx < count && verdict <= WEFT_ROSTER_UNSOUND && bytes.len > 0;
  if (!sane || rows[idx].bytes.at) return WEFT_ECORRUPT;
  rows[idx].verdict = (weft_roster_verdict)verdict;
  return weft__arena_copy(arena, bytes, &rows[idx].bytes);
}

static weft_err rows_collect(const weft_replica *r, weft_txn *txn, weft_arena *arena,
                             record_row *rows, uint64_t count) {
  weft_cursor *cursor;
  weft_entry entry;
  uint64_t seen = 0;
  WEFT_TRY(weft_cursor_open(txn, WEFT_TABLE_RECORD, &cursor));
  weft_err err = weft_cursor_first(cursor, &entry);
  while (err == WEFT_OK && seen < count) {
    err = row_read(r, arena, entry.value, rows, count);
    seen++;
    if (err == WEFT_OK) err = weft_cursor_next(cursor, &entry);
  }
  weft_cursor_close(cursor);
  if (err == WEFT_EDONE) return seen == count ? WEFT_OK : WEFT_ECORRUPT;
  return err == WEFT_OK ? WEFT_ECORRUPT : err;
}

/* One row into the roster; `prove` checks its signatures and that they say what the row says. */
static weft_err row_restore(weft_roster *roster, const weft_crypto *crypto, const record_row *row,
                            bool prove) {
  weft_record parsed;
  if (!prove) return weft__roster_restore(roster, row->bytes, row->verdict);
  WEFT_TRY(weft__roster_add(roster, row->bytes, NULL));
  WEFT_TRY(weft__record_parse(&parsed, crypto, row->bytes));
  bool same = row->verdict == WEFT_ROSTER_UNJUDGED ||
              row->verdict == weft__roster_verdict(roster, &parsed.id);
  return same ? WEFT_OK : WEFT_ECORRUPT;
}

weft_err weft__roster_load(weft_replica *r, weft_txn *txn, bool prove) {
  weft_roster *roster = NULL;
  weft_arena arena;
  uint64_t count;
  WEFT_TRY(weft_txn_count(txn, WEFT_TABLE_RECORD, &count));
  weft__arena_init(&arena, &r->mem);
  record_row *rows = weft__arena_zero(&arena, (size_t)count, sizeof *rows);
  weft_err err = rows ? WEFT_OK : WEFT_ENOMEM;
  if (err == WEFT_OK) err = rows_collect(r, txn, &arena, rows, count);
  if (err == WEFT_OK) err = weft__roster_new(&roster, &r->mem, r->crypto, &r->space);
  for (uint64_t i = 0; i < count && err == WEFT_OK; i++) {
    err = row_restore(roster, r->crypto, &rows[i], prove);
    if (err != WEFT_OK && err != WEFT_ENOMEM) err = WEFT_ECORRUPT;
  }
  weft__arena_free(&arena);
  if (err != WEFT_OK) {
    weft__roster_free(roster);
    if (err == WEFT_ECORRUPT) return weft__replica_fail(r, err, "a membership record is damaged");
    return err;
  }
  weft__roster_free(r->roster);
  r->roster = roster;
  return WEFT_OK;
}

/* --- adding --- */

typedef struct add_record {
  weft_bytes bytes;
  weft_id id;
  const weft_record *parsed;
} add_record;

/* Tells of a device that belongs to the space from now on. */
static weft_err tell_admitted(weft_replica *r, weft_txn *txn, const weft_record *record) {
  if (record->state != WEFT_RECORD_VALID || record->kind != WEFT_RECORD_ADMIT) return WEFT_OK;
  weft_event event = weft__event_own(r, WEFT_EVENT_PEER_ADMITTED);
  event.source = record->author;
  event.has_device = true;
  event.device = record->admit.redeem.device;
  event.text = record->admit.name;
  event.count = (uint64_t)record->admit.role;
  return weft__event_put(r, txn, &event);
}

static weft_err add_record_write(weft_replica *r, weft_txn *txn, void *arg) {
  const add_record *add = arg;
  uint64_t count;
  weft_buf b;
  WEFT_TRY(weft_txn_count(txn, WEFT_TABLE_RECORD, &count));
  WEFT_TRY(weft__roster_add(r->roster, add->bytes, NULL));
  r->moved = true;
  weft__buf_init(&b, &r->mem, SIZE_MAX);
  weft__buf_u32(&b, (uint32_t)count);
  weft__buf_u8(&b, (uint8_t)weft__roster_verdict(r->roster, &add->id));
  weft__buf_put(&b, add->bytes);
  weft__row_seal(r, &b);
  weft_err err = weft__buf_err(&b);
  if (err == WEFT_OK) {
    err = weft_txn_put(txn, WEFT_TABLE_RECORD, weft_bytes_of(add->id.b, 32), weft__buf_view(&b));
  }
  weft__buf_free(&b);
  return err == WEFT_OK ? tell_admitted(r, txn, add->parsed) : err;
}

weft_err weft_replica_add_record(weft_replica *r, weft_bytes record) {
  weft_record parsed;
  if (r->group) return WEFT_EMISUSE;
  if (r->stale) WEFT_TRY(weft__reload(r)); /* else the roster may have what is not held */
  weft_err err = weft__record_parse(&parsed, r->crypto, record);
  if (err != WEFT_OK) return weft__replica_fail(r, WEFT_EMALFORMED, "a record does not parse");
  if (weft__roster_record(r->roster, &parsed.id).len > 0) return WEFT_EEXIST;
  bool genesis = weft_id_cmp(&parsed.id, &r->space) == 0;
  if (!genesis && weft_id_cmp(&parsed.space, &r->space) != 0) {
    return weft__replica_fail(r, WEFT_EFOREIGN, "a record belongs to another space");
  }
  if (!genesis && parsed.dep_count == 0) return WEFT_EMALFORMED;
  for (size_t i = 0; i < parsed.dep_count; i++) {
    if (weft__roster_record(r->roster, &parsed.deps[i]).len == 0) return WEFT_EGAP;
  }
  add_record add = {record, parsed.id, &parsed};
  return weft__write(r, add_record_write, &add);
}

/* --- asking --- */

const weft_roster *weft_replica_roster(const weft_replica *r) { return r->roster; }

weft_err weft_replica_record(weft_replica *r, weft_arena *arena, const weft_id *id,
                             weft_bytes *out) {
  weft_bytes found = weft__roster_record(r->roster, id);
  if (found.len == 0) return WEFT_ENOTFOUND;
  return weft__arena_copy(arena, found, out);
}

weft_err weft_replica_records(weft_replica *r, weft_arena *arena, weft_id **ids, size_t *count) {
  size_t n = weft__roster_count(r->roster);
  weft_id *list = weft__arena_zero(arena, n, sizeof *list);
  if (!list) return WEFT_ENOMEM;
  for (size_t i = 0; i < n; i++) {
    weft_record parsed;
    WEFT_TRY(weft__record_parse(&parsed, r->crypto, weft__roster_record_at(r->roster, i)));
    list[i] = parsed.id;
  }
  *ids = list;
  *count = n;
  return WEFT_OK;
}

bool weft__member_may_start(const weft_replica *r, const weft_start *start) {
  return weft__roster_grants(r->roster, &start->grant, &start->device);
}

weft_err weft__member_grant(weft_replica *r, weft_id *grant) {
  if (weft__roster_frozen(r->roster)) {
    return weft__replica_fail(r, WEFT_EFROZEN, "a membership record asks for an upgrade");
  }
  const weft_roster_member *me = weft__roster_member_of(r->roster, &r->identity.device);
  if (!me || me->role == WEFT_ROLE_READER) {
    return weft__replica_fail(r, WEFT_EDENIED, "this device may not write in the space");
  }
  *grant = me->grant;
  return WEFT_OK;
}

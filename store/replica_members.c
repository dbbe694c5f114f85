/* Membership as the replica keeps it: signed records in the table `record`, and the roster made of
 * them.
 *
 * A record is held only when everything it names is held, so every record of the roster is placed,
 * and the table lists them in an order in which dependencies come first. */
#include <string.h>

#include "store/replica_internal.h"

/* --- reading the table --- */

static weft_err records_collect(weft_txn *txn, weft_arena *arena, weft_bytes *records,
                                uint64_t count) {
  weft_cursor *cursor;
  weft_entry entry;
  uint64_t seen = 0;
  WEFT_TRY(weft_cursor_open(txn, WEFT_TABLE_RECORD, &cursor));
  weft_err err = weft_cursor_first(cursor, &entry);
  for (; err == WEFT_OK; err = weft_cursor_next(cursor, &entry)) {
    weft_rd v = weft__rd(entry.value);
    uint32_t idx = weft__rd_u32(&v);
    weft_bytes bytes = weft__rd_take(&v, weft__rd_left(&v));
    bool sane = !v.failed && idx < count && seen < count && bytes.len > 0;
    if (!sane || records[idx].at) {
      err = WEFT_ECORRUPT;
      break;
    }
    err = weft__arena_copy(arena, bytes, &records[idx]);
    if (err != WEFT_OK) break;
    seen++;
  }
  weft_cursor_close(cursor);
  if (err == WEFT_EDONE) err = seen == count ? WEFT_OK : WEFT_ECORRUPT;
  return err;
}

weft_err weft__roster_load(weft_replica *r, weft_txn *txn) {
  weft_roster *roster = NULL;
  weft_arena arena;
  uint64_t count;
  WEFT_TRY(weft_txn_count(txn, WEFT_TABLE_RECORD, &count));
  weft__arena_init(&arena, &r->mem);
  weft_bytes *records = weft__arena_zero(&arena, (size_t)count, sizeof *records);
  weft_err err = records ? WEFT_OK : WEFT_ENOMEM;
  if (err == WEFT_OK) err = records_collect(txn, &arena, records, count);
  if (err == WEFT_OK) err = weft__roster_new(&roster, &r->mem, r->crypto, &r->space);
  for (uint64_t i = 0; i < count && err == WEFT_OK; i++) {
    err = weft__roster_add(roster, records[i], NULL);
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
  weft__buf_put(&b, add->bytes);
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

/* Drafts: open edits that lie in the store until they are committed or dropped.
 *
 * A draft is the base, the ops that the edit has come to, in the form of a change that nobody
 * signed, and what a change keeps beside them.  It is resumed by writing the ops into an edit on
 * that base.  Commit takes it out of the store in its own transaction, so a crash leaves either the
 * draft or the change, and never both or neither.
 * Failure modes: a draft whose base cannot be had any more stays, and can only be dropped; a
 * damaged one is WEFT_ECORRUPT. */
#include <string.h>

#include "crdt/limits.h"
#include "store/history_internal.h"
#include "store/outcome.h"

enum { DRAFT_VERSION = 1 };

/* A draft as it lies in the store; views into the row. */
typedef struct draft_row {
  weft_ms begun, saved;
  weft_lane lane;
  weft_bytes message;
  weft_bytes extensions;
  weft_bytes base;
  weft_bytes settled; /* pairs of document and path */
  weft_bytes change;  /* canonical bytes; empty: no ops */
} draft_row;

/* --- saving --- */

typedef struct save_call {
  weft_edit *e;
  weft_edit_state state;
  weft_bytes name;
  weft_ms now;
} save_call;

static weft_err change_put(const weft_replica *r, const weft_edit_state *s, weft_arena *arena,
                           weft_buf *row) {
  weft_buf raw;
  weft_change change = {
      .kind = WEFT_CHANGE_DATA, .hlc = s->hlc, .ops = s->ops, .op_count = s->op_count};
  weft__buf_init(&raw, &r->mem, WEFT_CHANGE_LEN_MAX);
  weft_err err = s->op_count > 0 ? weft__change_encode(&raw, arena, &change) : WEFT_OK;
  if (err == WEFT_OK) err = weft__buf_err(&raw);
  weft__buf_block(row, weft__buf_view(&raw));
  weft__buf_free(&raw);
  return err;
}

static weft_err base_put(save_call *call, weft_replica *r, weft_txn *txn, weft_arena *arena,
                         weft_buf *row) {
  weft_vector base;
  weft_buf bytes;
  weft__vector_init(&base, &r->mem);
  weft__buf_init(&bytes, &r->mem, SIZE_MAX);
  weft_err err = weft__edit_base(call->e, txn, arena, &base);
  if (err == WEFT_OK) {
    weft__vector_encode(&bytes, &base);
    err = weft__buf_err(&bytes);
  }
  weft__buf_block(row, weft__buf_view(&bytes));
  weft__buf_free(&bytes);
  weft__vector_free(&base);
  return err;
}

static weft_err settled_put(const weft_replica *r, const weft_edit_state *s, weft_buf *row) {
  weft_buf list;
  weft__buf_init(&list, &r->mem, SIZE_MAX);
  for (size_t i = 0; i < s->settled_count; i++) {
    weft__buf_block(&list, s->settled[i].doc);
    weft__buf_block(&list, s->settled[i].path);
  }
  weft_err err = weft__buf_err(&list);
  weft__buf_block(row, weft__buf_view(&list));
  weft__buf_free(&list);
  return err;
}

static weft_err row_put(save_call *call, weft_replica *r, weft_txn *txn, weft_arena *arena,
                        weft_buf *row) {
  const weft_edit_state *s = &call->state;
  weft__buf_u8(row, DRAFT_VERSION);
  weft__buf_u64(row, s->begun);
  weft__buf_u64(row, call->now);
  weft__buf_u8(row, (uint8_t)s->lane);
  weft__buf_block(row, s->message);
  weft__buf_block(row, s->extensions);
  WEFT_TRY(base_put(call, r, txn, arena, row));
  WEFT_TRY(settled_put(r, s, row));
  WEFT_TRY(change_put(r, s, arena, row));
  weft__row_seal(r, row);
  return weft__buf_err(row);
}

/* Makes room for one more name. */
static weft_err count_check(weft_txn *txn, weft_bytes name) {
  weft_bytes value;
  uint64_t count;
  weft_err err = weft_txn_get(txn, WEFT_TABLE_DRAFT, name, &value);
  if (err != WEFT_ENOTFOUND) return err;
  WEFT_TRY(weft_txn_count(txn, WEFT_TABLE_DRAFT, &count));
  return count < WEFT_DRAFTS_MAX ? WEFT_OK : WEFT_ELIMIT;
}

static weft_err save_write(weft_replica *r, weft_txn *txn, void *arg) {
  save_call *call = arg;
  weft_bytes was = call->state.draft;
  weft_arena arena;
  weft_buf row;
  WEFT_TRY(count_check(txn, call->name));
  weft__arena_init(&arena, &r->mem);
  weft__buf_init(&row, &r->mem, WEFT_STORE_VALUE_LEN_MAX);
  weft_err err = row_put(call, r, txn, &arena, &row);
  if (err == WEFT_OK) {
    err = weft_txn_put(txn, WEFT_TABLE_DRAFT, call->name, weft__buf_view(&row));
  }
  if (err == WEFT_OK && was.len > 0 && weft_bytes_cmp(was, call->name) != 0) {
    err = weft_txn_delete(txn, WEFT_TABLE_DRAFT, was);
    if (err == WEFT_ENOTFOUND) err = WEFT_OK;
  }
  weft__buf_free(&row);
  weft__arena_free(&arena);
  return err;
}

weft_err weft_edit_save(weft_edit *e, weft_bytes name) {
  weft_replica *r = weft__edit_replica(e);
  weft_arena arena;
  save_call call = {.e = e, .now = r->platform.wall_ms(r->platform.ctx)};
  if (!weft__word_ok(name, WEFT_DRAFT_NAME_LEN_MAX)) return WEFT_EBADVALUE;
  if (r->group) return WEFT_EMISUSE;
  WEFT_TRY(weft__edit_keep(e, name, &call.name));
  weft__arena_init(&arena, &r->mem);
  weft_err err = weft__edit_state_of(e, &arena, &call.state);
  if (err == WEFT_OK) err = weft__write(r, save_write, &call);
  if (err == WEFT_OK) weft__edit_draft(e, call.name, call.state.begun);
  weft__arena_free(&arena);
  return err;
}

weft_err weft_edit_rests_on(weft_edit *e, weft_vector *out) {
  weft_replica *r = weft__edit_replica(e);
  weft_arena arena;
  weft_txn *txn;
  WEFT_TRY(weft__read_begin(r, &txn));
  weft__arena_init(&arena, &r->mem);
  weft_err err = weft__edit_base(e, txn, &arena, out);
  weft__arena_free(&arena);
  weft__read_end(r, txn);
  return err;
}

/* --- reading --- */

static weft_err row_read(const weft_replica *r, weft_bytes value, draft_row *out) {
  weft_bytes content;
  WEFT_TRY(weft__row_open(r, value, &content));
  weft_rd rd = weft__rd(content);
  uint8_t version = weft__rd_u8(&rd);
  out->begun = weft__rd_u64(&rd);
  out->saved = weft__rd_u64(&rd);
  uint8_t lane = weft__rd_u8(&rd);
  out->lane = (weft_lane)lane;
  out->message = weft__rd_block(&rd);
  out->extensions = weft__rd_block(&rd);
  out->base = weft__rd_block(&rd);
  out->settled = weft__rd_block(&rd);
  out->change = weft__rd_block(&rd);
  bool sane = weft__rd_done(&rd) && version == DRAFT_VERSION && lane < WEFT_LANES;
  return sane ? WEFT_OK : WEFT_ECORRUPT;
}

static weft_err change_read(weft_arena *arena, weft_bytes raw, weft_change *out) {
  *out = (weft_change){.kind = WEFT_CHANGE_DATA};
  if (raw.len == 0) return WEFT_OK;
  WEFT_TRY(weft__change_parse(arena, raw, out));
  return out->state == WEFT_CHANGE_VALID ? WEFT_OK : WEFT_ECORRUPT;
}

/* Copies the row of a draft into `arena`. */
static weft_err row_copy(weft_replica *r, weft_bytes name, weft_arena *arena, draft_row *out) {
  weft_txn *txn;
  weft_bytes value;
  if (!weft__word_ok(name, WEFT_DRAFT_NAME_LEN_MAX)) return WEFT_ENOTFOUND;
  WEFT_TRY(weft__read_begin(r, &txn));
  weft_err err = weft_txn_get(txn, WEFT_TABLE_DRAFT, name, &value);
  if (err == WEFT_OK) err = weft__arena_copy(arena, value, &value);
  weft__read_end(r, txn);
  return err == WEFT_OK ? row_read(r, value, out) : err;
}

/* --- resuming --- */

static weft_err ops_write(weft_edit *e, const weft_change *change) {
  for (size_t i = 0; i < change->op_count; i++) {
    weft_writer *w;
    WEFT_TRY(weft__edit_writer(e, change->ops[i].doc, &w));
    WEFT_TRY(weft__write_op(w, &change->ops[i]));
  }
  return WEFT_OK;
}

static weft_err settled_write(weft_edit *e, weft_bytes list) {
  weft_rd rd = weft__rd(list);
  while (weft__rd_left(&rd) > 0) {
    weft_bytes doc = weft__rd_block(&rd);
    weft_bytes path = weft__rd_block(&rd);
    if (rd.failed) return WEFT_ECORRUPT;
    WEFT_TRY(weft__edit_settle(e, doc, path));
  }
  return WEFT_OK;
}

static weft_err resume(weft_edit **out, weft_replica *r, weft_bytes name, weft_bytes message,
                       const draft_row *row, weft_arena *arena) {
  weft_edit_options o;
  weft_change change;
  weft_vector base;
  weft_bytes own_name;
  weft_edit_options_init(&o);
  WEFT_TRY(change_read(arena, row->change, &change));
  weft__vector_init(&base, &r->mem);
  weft_err err = weft__vector_decode(&base, row->base);
  if (err == WEFT_EMALFORMED || err == WEFT_ELIMIT) err = WEFT_ECORRUPT;
  o.message = message.len > 0 ? message : row->message;
  o.extensions = row->extensions;
  o.lane = row->lane;
  o.base = &base;
  if (err == WEFT_OK) err = weft_edit_begin(out, r, &o);
  weft__vector_free(&base);
  WEFT_TRY(err);
  WEFT_TRY(ops_write(*out, &change));
  WEFT_TRY(settled_write(*out, row->settled));
  WEFT_TRY(weft__edit_keep(*out, name, &own_name));
  weft__edit_draft(*out, own_name, row->begun);
  return WEFT_OK;
}

weft_err weft_edit_resume(weft_edit **out, weft_replica *r, weft_bytes name,
                          const weft_edit_options *o) {
  weft_arena arena;
  draft_row row;
  weft_bytes message = o ? o->message : weft_bytes_of(NULL, 0);
  *out = NULL;
  weft__arena_init(&arena, &r->mem);
  weft_err err = row_copy(r, name, &arena, &row);
  if (err == WEFT_OK) err = resume(out, r, name, message, &row, &arena);
  if (err != WEFT_OK) {
    weft_edit_free(*out);
    *out = NULL;
  }
  weft__arena_free(&arena);
  return err;
}

/* --- listing and dropping --- */

static weft_err draft_tell(const weft_replica *r, const weft_entry *entry, weft_arena *arena,
                           weft_draft *out) {
  draft_row row;
  weft_change change;
  weft_bytes raw;
  memset(out, 0, sizeof *out);
  WEFT_TRY(row_read(r, entry->value, &row));
  WEFT_TRY(weft__arena_copy(arena, entry->key, &out->name));
  WEFT_TRY(weft__arena_copy(arena, row.message, &out->message));
  WEFT_TRY(weft__arena_copy(arena, row.change, &raw));
  WEFT_TRY(change_read(arena, raw, &change));
  out->begun = row.begun;
  out->saved = row.saved;
  out->op_count = change.op_count;
  out->docs = weft__arena_zero(arena, change.op_count, sizeof *out->docs);
  if (!out->docs) return WEFT_ENOMEM;
  for (size_t i = 0; i < change.op_count; i++) {
    weft_bytes doc = change.ops[i].doc;
    bool again = out->doc_count > 0 && weft_bytes_cmp(out->docs[out->doc_count - 1], doc) == 0;
    if (!again) out->docs[out->doc_count++] = doc;
  }
  return WEFT_OK;
}

static weft_err drafts_read(weft_replica *r, weft_txn *txn, weft_arena *arena, weft_draft **out,
                            size_t *count) {
  weft_cursor *cursor;
  weft_entry entry;
  uint64_t most;
  WEFT_TRY(weft_txn_count(txn, WEFT_TABLE_DRAFT, &most));
  weft_draft *list = weft__arena_zero(arena, (size_t)most, sizeof *list);
  if (!list) return WEFT_ENOMEM;
  WEFT_TRY(weft_cursor_open(txn, WEFT_TABLE_DRAFT, &cursor));
  weft_err err = weft_cursor_first(cursor, &entry);
  while (err == WEFT_OK && *count < most) {
    err = draft_tell(r, &entry, arena, &list[*count]);
    *count += err == WEFT_OK;
    if (err == WEFT_OK) err = weft_cursor_next(cursor, &entry);
  }
  weft_cursor_close(cursor);
  *out = list;
  return weft__walked(err);
}

weft_err weft_replica_drafts(weft_replica *r, weft_arena *arena, weft_draft **out, size_t *count) {
  weft_txn *txn;
  *out = NULL;
  *count = 0;
  WEFT_TRY(weft__read_begin(r, &txn));
  weft_err err = drafts_read(r, txn, arena, out, count);
  weft__read_end(r, txn);
  if (err == WEFT_OK) return WEFT_OK;
  *out = NULL;
  *count = 0;
  return err;
}

static weft_err drop_write(weft_replica *r, weft_txn *txn, void *arg) {
  (void)r;
  const weft_bytes *name = arg;
  return weft_txn_delete(txn, WEFT_TABLE_DRAFT, *name);
}

weft_err weft_replica_drop_draft(weft_replica *r, weft_bytes name) {
  if (!weft__word_ok(name, WEFT_DRAFT_NAME_LEN_MAX)) return WEFT_ENOTFOUND;
  return weft__write(r, drop_write, &name);
}

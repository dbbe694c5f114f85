/* Versions of one document: which changes stand in it, told by what names it.
 *
 * Only the document's own history is read, however long the logs around it are.  A change stands in
 * the version that another one left behind when it was written before it by the authors' clocks, or
 * when that one, or a change of the document that stands in the version, claims it or follows it in
 * its log.  History lies in the order of showing, which is causal, so one walk from its end follows
 * every claim.
 * Failure modes: damaged logs and entries are WEFT_ECORRUPT. */
#include <string.h>

#include "crdt/hlc.h"
#include "store/history_internal.h"
#include "store/outcome.h"

enum { ID_PREFIX_LEN_MIN = 4, ID_PREFIX_LEN_SURE = 16 /* nobody makes two of them alike */ };

/* The history of a document in memory, in the order of showing. */
typedef struct past_list {
  weft_replica *r;
  weft_arena *arena;
  weft_hist_entry *at;
  size_t count, cap;
  bool several; /* logs wrote to it */
  weft_err err;
} past_list;

static void past_note(void *ctx, const weft_hist_entry *hist) {
  past_list *list = ctx;
  void *at = list->at;
  if (list->err == WEFT_OK && hist->dot.log >= list->r->log_count) list->err = WEFT_ECORRUPT;
  if (list->err != WEFT_OK) return;
  list->err = weft__arena_grow(list->arena, &at, list->count, &list->cap, list->count + 1,
                               sizeof *list->at);
  if (list->err != WEFT_OK) return;
  list->at = at;
  list->at[list->count++] = *hist;
  list->several = list->several || list->at[0].dot.log != hist->dot.log;
}

static weft_err past_read(weft_replica *r, weft_txn *txn, weft_bytes doc, weft_arena *arena,
                          past_list *out) {
  weft_doc_record record;
  *out = (past_list){.r = r, .arena = arena};
  WEFT_TRY(weft__doc_record_find(r, txn, doc, arena, &record));
  WEFT_TRY(weft__hist_walk(txn, &record, past_note, out));
  return out->err;
}

/* Finds a change of the document by (a prefix of) its id.  WEFT_EMALFORMED: several fit. */
static weft_err past_find(weft_txn *txn, const past_list *list, weft_bytes prefix, weft_dot *out) {
  bool found = false;
  for (size_t i = list->count; i > 0; i--) {
    weft_dot dot = list->at[i - 1].dot;
    weft_id id;
    weft_err err = weft__log_id_at(list->r, txn, weft__log_of(list->r, dot.log), dot.seq, &id);
    WEFT_TRY(weft__promised(err));
    if (memcmp(id.b, prefix.at, prefix.len) != 0) continue;
    if (found) return WEFT_EMALFORMED;
    *out = dot;
    found = true;
    if (prefix.len >= ID_PREFIX_LEN_SURE) return WEFT_OK;
  }
  return found ? WEFT_OK : WEFT_ENOTFOUND;
}

/* The same, and where the document does not know it, of the whole space. */
static weft_err change_place(weft_txn *txn, const past_list *list, weft_bytes prefix,
                             weft_dot *out) {
  weft_log *log;
  weft_err err = past_find(txn, list, prefix, out);
  if (err != WEFT_ENOTFOUND) return err;
  WEFT_TRY(weft__change_find(list->r, txn, prefix, &log, &out->seq));
  out->log = log->number;
  return out->seq > log->shown ? WEFT_EBASE : WEFT_OK;
}

/* Adds to `seqs` what the changes of the document that stand in it claim.  Where one log wrote, it
 * claims nothing. */
static weft_err past_follow(weft_txn *txn, const past_list *list, uint64_t *seqs) {
  weft_replica *r = list->r;
  weft_arena one;
  weft_err err = WEFT_OK;
  weft__arena_init(&one, &r->mem);
  for (size_t i = list->several ? list->count : 0; i > 0 && err == WEFT_OK; i--) {
    weft_dot dot = list->at[i - 1].dot;
    weft_change change;
    weft_dot *claims;
    if (seqs[dot.log] < dot.seq) continue;
    weft_log *log = weft__log_of(r, dot.log);
    weft__arena_reset(&one);
    err = weft__log_claims(r, txn, log, dot.seq, &one, &change);
    err = weft__promised(err);
    if (err == WEFT_OK) err = weft__claim_dots(r, txn, log, dot.seq, &change, &one, &claims);
    for (size_t k = 0; err == WEFT_OK && k < change.claim_count; k++) {
      weft__seqs_raise(r, seqs, claims[k]);
    }
  }
  weft__arena_free(&one);
  return err;
}

static weft_err seqs_begin(weft_replica *r, weft_arena *arena, uint64_t **out) {
  *out = weft__arena_zero(arena, r->log_count, sizeof **out);
  if (!*out) return WEFT_ENOMEM;
  weft__seqs_none(r, *out);
  return WEFT_OK;
}

/* --- after a change --- */

static weft_err version_after(weft_replica *r, weft_txn *txn, weft_bytes doc, weft_bytes prefix,
                              weft_arena *arena, weft_vector *out, weft_id *id) {
  past_list list;
  weft_dot dot;
  weft_change change;
  uint64_t *seqs;
  WEFT_TRY(past_read(r, txn, doc, arena, &list));
  WEFT_TRY(change_place(txn, &list, prefix, &dot));
  WEFT_TRY(weft__log_change(r, txn, weft__log_of(r, dot.log), dot.seq, arena, &change, id));
  WEFT_TRY(seqs_begin(r, arena, &seqs));
  weft__seqs_raise(r, seqs, dot);
  for (size_t i = 0; i < list.count && change.state == WEFT_CHANGE_VALID; i++) {
    const weft_hist_entry *h = &list.at[i];
    if (h->hlc < change.hlc && h->dot.log != dot.log) weft__seqs_raise(r, seqs, h->dot);
  }
  WEFT_TRY(past_follow(txn, &list, seqs));
  return weft__vector_of_seqs(r, txn, seqs, out);
}

weft_err weft_replica_version_after(weft_replica *r, weft_bytes doc, weft_bytes id_prefix,
                                    weft_vector *out, weft_id *change) {
  weft_txn *txn;
  weft_arena arena;
  weft_id id;
  weft__vector_clear(out);
  WEFT_TRY(weft_document_name_check(doc));
  bool sane = id_prefix.len >= ID_PREFIX_LEN_MIN && id_prefix.len <= sizeof(weft_id);
  if (!sane) return WEFT_EMALFORMED;
  WEFT_TRY(weft__read_begin(r, &txn));
  weft__arena_init(&arena, &r->mem);
  weft_err err = version_after(r, txn, doc, id_prefix, &arena, out, &id);
  weft__arena_free(&arena);
  weft__read_end(r, txn);
  if (err != WEFT_OK) weft__vector_clear(out);
  if (err == WEFT_OK && change) *change = id;
  return err;
}

/* --- at a time --- */

static weft_err version_at(weft_replica *r, weft_txn *txn, weft_bytes doc, weft_ms wall,
                           weft_arena *arena, weft_vector *out) {
  past_list list;
  uint64_t *seqs;
  uint64_t last = wall <= WEFT_HLC_MS_MAX ? weft_hlc_join(wall, UINT16_MAX) : UINT64_MAX;
  WEFT_TRY(past_read(r, txn, doc, arena, &list));
  WEFT_TRY(seqs_begin(r, arena, &seqs));
  for (size_t i = 0; i < list.count; i++) {
    if (list.at[i].hlc <= last) weft__seqs_raise(r, seqs, list.at[i].dot);
  }
  return weft__vector_of_seqs(r, txn, seqs, out);
}

weft_err weft_replica_version_at(weft_replica *r, weft_bytes doc, weft_ms wall, weft_vector *out) {
  weft_txn *txn;
  weft_arena arena;
  weft__vector_clear(out);
  WEFT_TRY(weft_document_name_check(doc));
  WEFT_TRY(weft__read_begin(r, &txn));
  weft__arena_init(&arena, &r->mem);
  weft_err err = version_at(r, txn, doc, wall, &arena, out);
  weft__arena_free(&arena);
  weft__read_end(r, txn);
  if (err != WEFT_OK) weft__vector_clear(out);
  return err;
}

/* --- of several changes --- */

static weft_err version_of(weft_replica *r, weft_txn *txn, weft_bytes doc, const weft_id *changes,
                           size_t count, weft_arena *arena, weft_vector *out) {
  past_list list;
  uint64_t *seqs;
  WEFT_TRY(past_read(r, txn, doc, arena, &list));
  WEFT_TRY(seqs_begin(r, arena, &seqs));
  for (size_t i = 0; i < count; i++) {
    weft_dot dot;
    weft_err err = change_place(txn, &list, weft_bytes_of(changes[i].b, sizeof changes[i].b), &dot);
    if (err != WEFT_OK) return err == WEFT_ENOTFOUND ? WEFT_EBASE : err;
    weft__seqs_raise(r, seqs, dot);
  }
  WEFT_TRY(past_follow(txn, &list, seqs));
  return weft__vector_of_seqs(r, txn, seqs, out);
}

weft_err weft__version_of_changes(weft_replica *r, weft_bytes doc, const weft_id *changes,
                                  size_t count, weft_vector *out) {
  weft_txn *txn;
  weft_arena arena;
  WEFT_TRY(weft__read_begin(r, &txn));
  weft__arena_init(&arena, &r->mem);
  weft_err err = version_of(r, txn, doc, changes, count, &arena, out);
  weft__arena_free(&arena);
  weft__read_end(r, txn);
  return err;
}

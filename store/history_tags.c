/* Tags: names for versions of a document, as members of a document of the reserved collection.
 *
 * A tag is one string with the ids of changes in hex, so that two people who move one tag at once
 * are in an ordinary conflict and never see half of each.  A tag of what is shown now names, of
 * each log, the last change that touched the document: together they had seen all of it. Failure
 * modes: members that are no tags are passed over; a tag may name what is not here yet. */
#include <string.h>

#include "crdt/limits.h"
#include "store/history_internal.h"

enum { TAG_NAME_LEN_MAX = 64, HEX_LEN = 2 * sizeof(weft_id) };

static const char tag_prefix[] = "weft/tags/";

static weft_err tag_doc_name(weft_arena *arena, weft_bytes doc, weft_bytes *out) {
  WEFT_TRY(weft_document_name_check(doc));
  if (doc.len + sizeof tag_prefix - 1 > WEFT_NAME_LEN_MAX) return WEFT_ELIMIT;
  uint8_t *name = weft__arena_take(arena, doc.len + sizeof tag_prefix);
  if (!name) return WEFT_ENOMEM;
  memcpy(name, tag_prefix, sizeof tag_prefix - 1);
  memcpy(name + sizeof tag_prefix - 1, doc.at, doc.len);
  *out = weft_bytes_of(name, doc.len + sizeof tag_prefix - 1);
  return WEFT_OK;
}

static bool is_hex(uint8_t c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

bool weft__word_ok(weft_bytes name, size_t len_max) {
  if (name.len == 0 || name.len > len_max || !weft__utf8_ok(name)) return false;
  for (size_t i = 0; i < name.len; i++) {
    uint8_t c = name.at[i];
    if (c <= ' ' || c == 0x7f || c == '/') return false;
  }
  return true;
}

/* A name must not be taken for a change, a time, or now. */
static bool tag_name_ok(weft_bytes name) {
  bool all_hex = true;
  if (!weft__word_ok(name, TAG_NAME_LEN_MAX)) return false;
  if (name.at[0] >= '0' && name.at[0] <= '9') return false;
  for (size_t i = 0; i < name.len; i++) {
    uint8_t c = name.at[i];
    uint8_t small = c >= 'A' && c <= 'F' ? (uint8_t)(c + 32) : c;
    all_hex = all_hex && is_hex(small);
  }
  return !all_hex && weft_bytes_cmp(name, weft_bytes_str("now")) != 0;
}

/* --- ids as text --- */

static void hex_put(weft_buf *b, const weft_id *id) {
  static const char digits[] = "0123456789abcdef";
  if (b->len > 0) weft__buf_u8(b, ' ');
  for (size_t i = 0; i < sizeof id->b; i++) {
    weft__buf_u8(b, (uint8_t)digits[id->b[i] >> 4]);
    weft__buf_u8(b, (uint8_t)digits[id->b[i] & 15]);
  }
}

static uint8_t hex_digit(uint8_t c) { return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10); }

/* Takes the value of a tag apart; false when it is none. */
static bool ids_read(weft_arena *arena, weft_bytes text, weft_tag *tag, weft_err *err) {
  size_t count = (text.len + 1) / (HEX_LEN + 1);
  *err = WEFT_OK;
  if (text.len == 0 || count * (HEX_LEN + 1) != text.len + 1) return false;
  weft_id *ids = weft__arena_zero(arena, count, sizeof *ids);
  if (!ids) {
    *err = WEFT_ENOMEM;
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    const uint8_t *at = text.at + i * (HEX_LEN + 1);
    if (i + 1 < count && at[HEX_LEN] != ' ') return false;
    for (size_t k = 0; k < sizeof ids->b; k++) {
      if (!is_hex(at[2 * k]) || !is_hex(at[2 * k + 1])) return false;
      ids[i].b[k] = (uint8_t)(hex_digit(at[2 * k]) << 4 | hex_digit(at[2 * k + 1]));
    }
  }
  tag->changes = ids;
  tag->count = count;
  return true;
}

/* --- reading --- */

weft_err weft_replica_tags(weft_replica *r, weft_arena *arena, weft_bytes doc, weft_tag **out,
                           size_t *count) {
  weft_bytes name;
  weft_value value;
  *out = NULL;
  *count = 0;
  WEFT_TRY(tag_doc_name(arena, doc, &name));
  weft_err err = weft_replica_get(r, arena, name, weft_bytes_of("", 0), &value);
  if (err == WEFT_ENOTFOUND) return WEFT_OK;
  if (err != WEFT_OK) return err;
  weft_tag *tags = weft__arena_zero(arena, value.as.object.count, sizeof *tags);
  if (!tags) return WEFT_ENOMEM;
  for (size_t i = 0; i < value.as.object.count; i++) {
    const weft_member *m = &value.as.object.at[i];
    tags[*count].name = m->key;
    if (m->value.kind != WEFT_STRING || !tag_name_ok(m->key)) continue;
    *count += ids_read(arena, m->value.as.bytes, &tags[*count], &err);
    if (err != WEFT_OK) return err;
  }
  *out = tags;
  return WEFT_OK;
}

static weft_err tag_find(weft_replica *r, weft_arena *arena, weft_bytes doc, weft_bytes name,
                         const weft_tag **out) {
  weft_tag *tags;
  size_t count;
  WEFT_TRY(weft_replica_tags(r, arena, doc, &tags, &count));
  for (size_t i = 0; i < count; i++) {
    *out = &tags[i];
    if (weft_bytes_cmp(tags[i].name, name) == 0) return WEFT_OK;
  }
  return WEFT_ENOTFOUND;
}

weft_err weft_replica_vector_at_tag(weft_replica *r, weft_bytes doc, weft_bytes name,
                                    weft_vector *out) {
  const weft_tag *tag;
  weft_arena arena;
  weft__arena_init(&arena, &r->mem);
  weft__vector_clear(out);
  weft_err err = tag_find(r, &arena, doc, name, &tag);
  if (err == WEFT_OK) {
    err = weft__version_of_changes(r, doc, tag->changes, tag->count, out);
    if (err == WEFT_ENOTFOUND) err = WEFT_EBASE; /* the tag came first */
  }
  weft__arena_free(&arena);
  if (err != WEFT_OK) weft__vector_clear(out);
  return err;
}

/* --- writing --- */

typedef struct last_seqs {
  const weft_base *base;
  uint64_t *seqs; /* by log number */
} last_seqs;

static void last_note(void *ctx, const weft_hist_entry *hist) {
  last_seqs *last = ctx;
  if (!weft__base_has(last->base, hist->dot)) return;
  uint64_t *seq = &last->seqs[hist->dot.log];
  if (hist->dot.seq > *seq) *seq = hist->dot.seq;
}

/* The changes that make up a version of the document: of each log the last one in it. */
static weft_err put_version(weft_replica *r, weft_txn *txn, weft_bytes doc, const weft_vector *v,
                            weft_arena *arena, weft_buf *ids) {
  weft_doc_record record;
  weft_base base;
  last_seqs last = {&base, NULL};
  WEFT_TRY(weft__doc_record_find(r, txn, doc, arena, &record));
  WEFT_TRY(weft__version_base(r, txn, v, arena, &base));
  last.seqs = weft__arena_zero(arena, base.count, sizeof *last.seqs);
  if (!last.seqs) return WEFT_ENOMEM;
  WEFT_TRY(weft__hist_walk(txn, &record, last_note, &last));
  for (uint32_t i = 0; i < base.count; i++) {
    weft_id id;
    if (last.seqs[i] == 0) continue;
    WEFT_TRY(weft__log_id_at(r, txn, weft__log_of(r, i), last.seqs[i], &id));
    hex_put(ids, &id);
  }
  WEFT_TRY(weft__buf_err(ids));
  return ids->len > 0 ? WEFT_OK : WEFT_ENOTFOUND;
}

static weft_err tag_value(weft_replica *r, weft_bytes doc, const weft_id *change, weft_arena *arena,
                          weft_buf *ids) {
  weft_txn *txn = NULL;
  weft_vector v;
  weft_err err = WEFT_OK;
  weft__vector_init(&v, &r->mem);
  if (change) {
    weft_bytes id = weft_bytes_of(change->b, sizeof change->b);
    err = weft_replica_version_after(r, doc, id, &v, NULL);
  }
  if (err == WEFT_OK) err = weft__read_begin(r, &txn);
  if (err == WEFT_OK) err = put_version(r, txn, doc, change ? &v : NULL, arena, ids);
  if (txn) weft__read_end(r, txn);
  weft__vector_free(&v);
  return err;
}

static weft_err tag_pointer(weft_arena *arena, weft_bytes name, weft_bytes *out) {
  return weft__pointer_child(arena, weft_bytes_of("", 0), name, out);
}

static weft_err tag_write(weft_replica *r, weft_bytes doc, weft_bytes name, const weft_value *value,
                          weft_arena *arena, const weft_edit_options *o, weft_commit *out) {
  weft_bytes tag_doc, pointer;
  weft_edit *e = NULL;
  WEFT_TRY(tag_doc_name(arena, doc, &tag_doc));
  WEFT_TRY(tag_pointer(arena, name, &pointer));
  weft_err err = weft__edit_begin_with(&e, r, o, 0, NULL);
  if (err == WEFT_OK) {
    err = value ? weft_edit_set(e, tag_doc, pointer, value) : weft_edit_unset(e, tag_doc, pointer);
  }
  if (err == WEFT_OK) err = weft_edit_commit(e, out);
  weft_edit_free(e);
  return err;
}

weft_err weft_replica_tag(weft_replica *r, weft_bytes doc, weft_bytes name, const weft_id *change,
                          const weft_edit_options *o, weft_commit *out) {
  weft_arena arena;
  weft_buf ids;
  weft_value value = {.kind = WEFT_STRING};
  memset(out, 0, sizeof *out);
  WEFT_TRY(weft_document_name_check(doc));
  if (!tag_name_ok(name)) return WEFT_EBADVALUE;
  weft__arena_init(&arena, &r->mem);
  weft__buf_init(&ids, &r->mem, WEFT_VALUE_LEN_MAX);
  weft_err err = tag_value(r, doc, change, &arena, &ids);
  value.as.bytes = weft__buf_view(&ids);
  if (err == WEFT_OK) err = tag_write(r, doc, name, &value, &arena, o, out);
  weft__buf_free(&ids);
  weft__arena_free(&arena);
  return err;
}

weft_err weft_replica_untag(weft_replica *r, weft_bytes doc, weft_bytes name,
                            const weft_edit_options *o, weft_commit *out) {
  weft_arena arena;
  memset(out, 0, sizeof *out);
  WEFT_TRY(weft_document_name_check(doc));
  if (!tag_name_ok(name)) return WEFT_EBADVALUE;
  weft__arena_init(&arena, &r->mem);
  weft_err err = tag_write(r, doc, name, NULL, &arena, o, out);
  weft__arena_free(&arena);
  return err;
}

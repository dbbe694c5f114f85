/* The materialised state of one document, piece by piece.
 *
 * Invariants: pieces are ascending and do not overlap; the registers of a piece in `doc` are those
 * with start <= path < end.  The registers as loaded (`regs`) stay untouched, so that the digest
 * can be moved by comparing them with what stands in `doc` when the state is saved. Failure modes:
 * a damaged segment stops everything with WEFT_ECORRUPT. */
#include "store/state.h"

#include <string.h>

#include "crdt/assert.h"
#include "crdt/canary.h"
#include "crdt/limits.h"
#include "store/outcome.h"

/* A start must also fit the key of a part: two bytes and the number of the part more. */
enum {
  START_LEN_MAX = WEFT_KEY_LEN_MAX - 4 - 2 - 4,
  PART_LEN = 4 << 20,
  PARTED_VERSION = 2, /* in place of WEFT_SEGMENT_VERSION: the segment lies in parts */
  ROW_MARK = 0xff     /* no path begins with it: names of elements are short, other heads even */
};

/* A key to search with may be longer than a key to store. */
typedef struct search_key {
  uint8_t b[4 + WEFT_PATH_LEN_MAX];
  size_t len;
} search_key;

static weft_bytes search_key_of(search_key *k, uint32_t number, weft_path path) {
  WEFT_ASSERT(path.len <= WEFT_PATH_LEN_MAX);
  for (unsigned i = 0; i < 4; i++) k->b[i] = (uint8_t)(number >> (24 - 8 * i));
  if (path.len > 0) memcpy(k->b + 4, path.at, path.len);
  return weft_bytes_of(k->b, 4 + path.len);
}

/* Takes the start path out of a key of `number`; false when it is another document's. */
static bool start_of(weft_bytes key, uint32_t number, weft_path *start) {
  weft_rd r = weft__rd(key);
  uint32_t found = weft__rd_u32(&r);
  if (r.failed || found != number) return false;
  *start = weft__rd_take(&r, weft__rd_left(&r));
  return start->len == 0 || start->at[0] != ROW_MARK;
}

weft_bytes weft__state_row_key(weft_dbkey *k, uint32_t number, weft_state_row row) {
  const uint8_t mark[2] = {ROW_MARK, (uint8_t)row};
  return weft__dbkey_u32_bytes(k, number, weft_bytes_of(mark, sizeof mark));
}

weft_bytes weft__state_history_key(weft_dbkey *k, uint32_t number, uint64_t first) {
  weft__state_row_key(k, number, WEFT_STATE_HISTORY);
  weft__dbkey_add_u64(k, first);
  return weft__dbkey_view(k);
}

static weft_bytes part_key(weft_dbkey *k, uint32_t number, weft_path start, uint32_t part) {
  weft__state_row_key(k, number, WEFT_STATE_PART);
  weft__dbkey_add(k, start);
  weft__dbkey_add_u32(k, part);
  return weft__dbkey_view(k);
}

weft_err weft__state_begin(weft_state *s, const weft_state_env *env, weft_txn *txn, uint32_t number,
                           weft_doc *doc, weft_arena *arena) {
  memset(s, 0, sizeof *s);
  s->env = env;
  s->txn = txn;
  s->number = number;
  s->doc = doc;
  s->arena = arena;
  weft__buf_init(&s->row, &env->mem, SIZE_MAX);
  weft__buf_init(&s->term, &env->mem, SIZE_MAX);
  return weft_cursor_open(txn, WEFT_TABLE_STATE, &s->cursor);
}

void weft__state_again(weft_state *s, uint32_t number) {
  s->number = number;
  s->met = false;
  s->pieces = NULL;
  s->piece_count = s->piece_cap = 0;
}

void weft__state_end(weft_state *s) {
  if (!s->env) return;
  weft_cursor_close(s->cursor);
  s->cursor = NULL;
  weft__buf_free(&s->row);
  weft__buf_free(&s->term);
}

/* --- loading --- */

/* The number of pieces that start at or before `path`. */
static size_t pieces_before(const weft_state *s, weft_path path) {
  size_t low = 0;
  size_t high = s->piece_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (weft_bytes_cmp(s->pieces[middle].start, path) <= 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

static bool piece_covers(const weft_state_piece *p, weft_path path) {
  return p->last || weft_bytes_cmp(path, p->end) < 0;
}

static weft_err piece_insert(weft_state *s, size_t idx, const weft_state_piece *piece) {
  void *at = s->pieces;
  WEFT_TRY(weft__arena_grow(s->arena, &at, s->piece_count, &s->piece_cap, s->piece_count + 1,
                            sizeof *s->pieces));
  s->pieces = at;
  memmove(s->pieces + idx + 1, s->pieces + idx, (s->piece_count - idx) * sizeof *s->pieces);
  s->pieces[idx] = *piece;
  s->piece_count++;
  return WEFT_OK;
}

static weft_err part_read(weft_state *s, weft_path start, uint32_t part, size_t want,
                          weft_bytes *out) {
  weft_dbkey key;
  weft_err err =
      weft_txn_get(s->txn, WEFT_TABLE_STATE, part_key(&key, s->number, start, part), out);
  WEFT_TRY(weft__promised(err));
  return out->len == want ? WEFT_OK : WEFT_ECORRUPT;
}

/* Puts the parts of a segment together, in the arena.  The last one is looked for first: a head
 * that counts more than there are gets no memory. */
static weft_err parts_read(weft_state *s, weft_bytes value, weft_state_piece *piece,
                           weft_bytes *out) {
  weft_bytes part;
  weft_rd r = weft__rd(value);
  weft__rd_u8(&r);
  uint32_t parts = weft__rd_u32(&r);
  uint64_t len = weft__rd_u64(&r);
  if (!weft__rd_done(&r) || parts == 0 || len > PTRDIFF_MAX) return WEFT_ECORRUPT;
  uint64_t least = (uint64_t)(parts - 1) * PART_LEN;
  if (len <= least || len - least > PART_LEN) return WEFT_ECORRUPT;
  WEFT_TRY(part_read(s, piece->start, parts - 1, (size_t)(len - least), &part));
  uint8_t *whole = weft__arena_take(s->arena, (size_t)len);
  if (!whole) return WEFT_ENOMEM;
  for (uint32_t i = 0; i < parts; i++) {
    size_t want = i + 1 < parts ? (size_t)PART_LEN : (size_t)(len - least);
    WEFT_TRY(part_read(s, piece->start, i, want, &part));
    memcpy(whole + (size_t)i * PART_LEN, part.at, want);
  }
  piece->parts = parts;
  *out = weft_bytes_of(whole, (size_t)len);
  return WEFT_OK;
}

/* Reads the segment under the cursor's entry, and where the next one starts. */
static weft_err piece_read(weft_state *s, const weft_entry *entry, weft_state_piece *piece) {
  weft_bytes key;
  WEFT_TRY(weft__arena_copy(s->arena, entry->key, &key));
  bool ours = start_of(key, s->number, &piece->start);
  WEFT_ASSERT(ours);
  weft_bytes segment = entry->value;
  if (segment.len > 0 && segment.at[0] == PARTED_VERSION) {
    WEFT_TRY(parts_read(s, entry->value, piece, &segment));
  }
  piece->stored = true;
  piece->len = segment.len;
  WEFT_TRY(
      weft__segment_decode(s->arena, &s->env->seal, key, segment, &piece->regs, &piece->count));
  weft_entry next;
  weft_err err = weft_cursor_next(s->cursor, &next);
  if (err != WEFT_OK && err != WEFT_EDONE) return err;
  weft_path end;
  piece->last = err == WEFT_EDONE || !start_of(next.key, s->number, &end);
  if (!piece->last) return weft__arena_copy(s->arena, end, &piece->end);
  weft_dbkey record;
  s->met = err == WEFT_OK && weft_bytes_cmp(next.key, weft__state_row_key(&record, s->number,
                                                                          WEFT_STATE_RECORD)) == 0;
  if (s->met) s->record = next.value;
  return WEFT_OK;
}

weft_err weft__state_record(weft_state *s, weft_bytes *row) {
  weft_dbkey key;
  *row = s->record;
  if (s->met) return WEFT_OK;
  return weft_txn_get(s->txn, WEFT_TABLE_STATE,
                      weft__state_row_key(&key, s->number, WEFT_STATE_RECORD), row);
}

static weft_err piece_borrow(weft_state *s, const weft_state_piece *piece) {
  if (s->borrow) return weft__doc_borrow_run(s->doc, piece->regs, piece->count);
  for (size_t i = 0; i < piece->count; i++) WEFT_TRY(weft__doc_put(s->doc, &piece->regs[i]));
  return WEFT_OK;
}

/* Loads the piece that `path` falls into and gives its index. */
static weft_err piece_load(weft_state *s, weft_path path, size_t *idx) {
  size_t place = pieces_before(s, path);
  if (place > 0 && piece_covers(&s->pieces[place - 1], path)) {
    *idx = place - 1;
    return WEFT_OK;
  }
  search_key key;
  weft_entry entry;
  weft_state_piece piece = {0};
  weft_path start;
  weft_err err = weft_cursor_seek_back(s->cursor, search_key_of(&key, s->number, path), &entry);
  if (err != WEFT_OK && err != WEFT_EDONE) return err;
  if (err == WEFT_OK && start_of(entry.key, s->number, &start)) {
    WEFT_TRY(piece_read(s, &entry, &piece));
  } else {
    piece.last = true; /* a document's first segment starts at its root: so it has none */
  }
  WEFT_TRY(piece_borrow(s, &piece));
  *idx = place;
  return piece_insert(s, place, &piece);
}

weft_err weft__state_first(weft_cursor *cursor, uint32_t number, weft_bytes *segment,
                           weft_bytes *record) {
  weft_dbkey first, second;
  weft_entry entry;
  *segment = *record = weft_bytes_of(NULL, 0);
  weft_err err = weft_cursor_seek(cursor, weft__dbkey_u32(&first, number), &entry);
  if (err == WEFT_OK && weft_bytes_cmp(entry.key, weft__dbkey_view(&first)) == 0) {
    *segment = entry.value;
    err = weft_cursor_next(cursor, &entry);
  }
  if (err != WEFT_OK) return err == WEFT_EDONE ? WEFT_OK : err;
  weft_bytes key = weft__state_row_key(&second, number, WEFT_STATE_RECORD);
  if (weft_bytes_cmp(entry.key, key) == 0) *record = entry.value;
  return WEFT_OK;
}

weft_err weft__state_peek(const weft_state_env *env, uint32_t number, weft_bytes segment,
                          weft_path path, weft_arena *scratch, weft_peek *answer,
                          weft_bytes *scalar) {
  weft_dbkey key;
  *answer = WEFT_PEEK_UNSURE;
  if (segment.len == 0 || segment.at[0] == PARTED_VERSION) return WEFT_OK;
  return weft__segment_peek(scratch, &env->seal, weft__dbkey_u32(&key, number), segment, path,
                            answer, scalar);
}

weft_err weft__state_adopt(weft_state *s, const weft_state_piece *pieces, size_t count) {
  WEFT_ASSERT(s->borrow && s->piece_count == 0);
  for (size_t i = 0; i < count; i++) {
    WEFT_TRY(piece_borrow(s, &pieces[i]));
    WEFT_TRY(piece_insert(s, i, &pieces[i]));
  }
  return WEFT_OK;
}

weft_err weft__state_need(weft_state *s, weft_path path) {
  size_t idx;
  return piece_load(s, path, &idx);
}

weft_err weft__state_need_above(weft_state *s, weft_path path) {
  size_t at = 0;
  size_t before = 0;
  weft_step step;
  while (weft_path_next(path, &at, &step)) {
    WEFT_TRY(weft__state_need(s, weft_bytes_of(path.at, before)));
    before = at;
  }
  return weft__state_need(s, path);
}

weft_err weft__state_need_below(weft_state *s, weft_path path) {
  size_t idx;
  WEFT_TRY(piece_load(s, path, &idx));
  /* The next start follows `path`, so what starts there lies below exactly when it begins with it.
   */
  while (!s->pieces[idx].last && weft__key_has_prefix(s->pieces[idx].end, path)) {
    WEFT_TRY(piece_load(s, s->pieces[idx].end, &idx));
  }
  return WEFT_OK;
}

weft_err weft__state_need_all(weft_state *s) {
  return weft__state_need_below(s, weft_bytes_of(NULL, 0));
}

bool weft__state_is_whole(const weft_state *s) {
  return s->piece_count == 1 && s->pieces[0].last && s->pieces[0].start.len == 0;
}

const weft_register *weft__state_was(const weft_state *s, weft_path path) {
  size_t place = pieces_before(s, path);
  if (place == 0) return NULL;
  const weft_state_piece *piece = &s->pieces[place - 1];
  size_t low = 0;
  size_t high = piece->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = weft_bytes_cmp(piece->regs[middle].path, path);
    if (order == 0) return &piece->regs[middle];
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return NULL;
}

/* --- the digest --- */

typedef struct digest_move {
  const weft_state_env *env;
  weft_bytes name;
  weft_digest *digest;
  weft_buf *scratch;
} digest_move;

static bool same_sibling(const weft_sibling *a, const weft_sibling *b) {
  return a->dot.log == b->dot.log && a->dot.seq == b->dot.seq && a->kind == b->kind;
}

static bool has_sibling(const weft_sibling *list, size_t count, const weft_sibling *s) {
  for (size_t i = 0; i < count; i++) {
    if (same_sibling(&list[i], s)) return true;
  }
  return false;
}

/* Adds or subtracts the siblings of `list` that `other` lacks. */
static weft_err move_siblings(digest_move *m, weft_path path, const weft_sibling *list,
                              size_t count, const weft_sibling *other, size_t other_count,
                              bool add) {
  for (size_t i = 0; i < count; i++) {
    if (has_sibling(other, other_count, &list[i])) continue;
    const weft_id *log = m->env->log_id(m->env->ctx, list[i].dot.log);
    if (!log) return WEFT_ECORRUPT;
    weft_digest term;
    WEFT_TRY(weft__digest_term(m->env->seal.crypto, &m->env->seal.key, m->scratch, m->name, path,
                               log, &list[i], &term));
    if (add) {
      weft__digest_add(m->digest, term);
    } else {
      weft__digest_sub(m->digest, term);
    }
  }
  return WEFT_OK;
}

static weft_err move_register(digest_move *m, const weft_register *was, const weft_register *is) {
  static const weft_register none;
  weft_path path = is->path;
  if (!was) was = &none;
  WEFT_TRY(
      move_siblings(m, path, was->values, was->value_count, is->values, is->value_count, false));
  WEFT_TRY(
      move_siblings(m, path, is->values, is->value_count, was->values, was->value_count, true));
  if (WEFT_CANARY(DIGEST_DRIFT)) return WEFT_OK;
  WEFT_TRY(move_siblings(m, path, was->positions, was->position_count, is->positions,
                         is->position_count, false));
  return move_siblings(m, path, is->positions, is->position_count, was->positions,
                       was->position_count, true);
}

/* --- saving --- */

/* The registers of one or two neighbouring pieces, as they are to be stored. */
typedef struct keep_list {
  const weft_register **at;
  size_t count;
  size_t cap;
  size_t estimate;
  bool dirty;
} keep_list;

static weft_err keep(weft_state *s, keep_list *list, const weft_register *reg) {
  if (reg->value_count + reg->position_count == 0) return WEFT_OK;
  if (WEFT_CANARY(STATE_FORGETS) && list->count % 16 == 15) return WEFT_OK;
  void *at = list->at;
  WEFT_TRY(
      weft__arena_grow(s->arena, &at, list->count, &list->cap, list->count + 1, sizeof *list->at));
  list->at = at;
  list->at[list->count++] = reg;
  list->estimate += weft__segment_estimate(reg);
  return WEFT_OK;
}

/* Whether the document has the very bytes of a register that was loaded for its path. */
static bool is_borrowed(const weft_register *was, const weft_register *reg) {
  return was->path.at == reg->path.at && was->path.len == reg->path.len;
}

/* Goes on among the registers as they were loaded to the one at `path`; false: there is none. */
static bool find_old(const weft_state_piece *piece, size_t *old, weft_path path) {
  for (; *old < piece->count; ++*old) {
    int order = weft_bytes_cmp(piece->regs[*old].path, path);
    if (order >= 0) return order == 0;
  }
  return false;
}

/* Collects the registers of a piece from the document, and moves the digest by the changed ones. */
static weft_err piece_collect(weft_state *s, digest_move *m, const weft_state_piece *piece,
                              keep_list *list) {
  size_t old = 0;
  void *at = list->at;
  WEFT_TRY(weft__arena_grow(s->arena, &at, list->count, &list->cap, list->count + piece->count + 1,
                            sizeof *list->at));
  list->at = at;
  const weft_register *reg = weft__doc_seek(s->doc, piece->start);
  for (; reg && piece_covers(piece, reg->path); reg = weft__doc_next(s->doc, reg)) {
    WEFT_TRY(keep(s, list, reg));
    bool was = old < piece->count && is_borrowed(&piece->regs[old], reg);
    if (reg->dirty) {
      list->dirty = true;
      was = was || find_old(piece, &old, reg->path);
      WEFT_TRY(move_register(m, was ? &piece->regs[old] : NULL, reg));
    }
    if (was) old++;
  }
  return WEFT_OK;
}

/* The shortest start that lies after `left` and not after `right`. */
static weft_path start_between(weft_path left, weft_path right) {
  size_t len = 0;
  while (len < left.len && left.at[len] == right.at[len]) len++;
  return weft_bytes_of(right.at, len + 1);
}

/* Stores a segment that is too long for one value: many devices wrote long values at one path, or
 * somebody chose paths that only differ far behind. */
static weft_err parts_put(weft_state *s, weft_bytes key, weft_path start, weft_buf *segment) {
  uint32_t parts = 0;
  for (size_t at = 0; at < segment->len; at += PART_LEN) {
    weft_dbkey k;
    size_t len = segment->len - at < PART_LEN ? segment->len - at : PART_LEN;
    WEFT_TRY(weft_txn_put(s->txn, WEFT_TABLE_STATE, part_key(&k, s->number, start, parts),
                          weft_bytes_of(segment->at + at, len)));
    parts++;
  }
  uint64_t len = segment->len;
  weft__buf_reset(segment);
  weft__buf_u8(segment, PARTED_VERSION);
  weft__buf_u32(segment, parts);
  weft__buf_u64(segment, len);
  WEFT_TRY(weft__buf_err(segment));
  return weft_txn_put(s->txn, WEFT_TABLE_STATE, key, weft__buf_view(segment));
}

static weft_err parts_delete(weft_state *s, const weft_state_piece *piece) {
  for (uint32_t i = 0; i < piece->parts; i++) {
    weft_dbkey key;
    WEFT_TRY(weft_txn_delete(s->txn, WEFT_TABLE_STATE, part_key(&key, s->number, piece->start, i)));
  }
  return WEFT_OK;
}

static weft_err segment_put(weft_state *s, weft_path start, const weft_register *const *regs,
                            size_t count) {
  weft_dbkey key;
  weft_buf *out = &s->row;
  weft_bytes k = weft__dbkey_u32_bytes(&key, s->number, start);
  weft__buf_reset(out);
  WEFT_TRY(weft__segment_encode(out, s->arena, &s->env->seal, k, regs, count));
  if (out->len > PART_LEN) return parts_put(s, k, start, out);
  return weft_txn_put(s->txn, WEFT_TABLE_STATE, k, weft__buf_view(out));
}

/* Cuts `list` into segments of about equal length and stores them; the first starts at `start`. */
static weft_err segments_put(weft_state *s, weft_path start, const keep_list *list) {
  size_t cuts = list->estimate / WEFT_SEGMENT_LEN_SPLIT + 1;
  size_t aim = list->estimate / cuts + 1;
  size_t first = 0;
  size_t len = 0;
  weft_err err = WEFT_OK;
  for (size_t i = 0; i < list->count && err == WEFT_OK; i++) {
    if (len >= aim) {
      weft_path next = start_between(list->at[i - 1]->path, list->at[i]->path);
      if (next.len <= START_LEN_MAX) {
        err = segment_put(s, start, list->at + first, i - first);
        first = i;
        start = next;
        len = 0;
      }
    }
    len += weft__segment_estimate(list->at[i]);
  }
  return err == WEFT_OK ? segment_put(s, start, list->at + first, list->count - first) : err;
}

static weft_err segment_delete(weft_state *s, const weft_state_piece *piece) {
  if (!piece->stored) return WEFT_OK;
  weft_dbkey key;
  WEFT_TRY(parts_delete(s, piece));
  return weft_txn_delete(s->txn, WEFT_TABLE_STATE,
                         weft__dbkey_u32_bytes(&key, s->number, piece->start));
}

/* Saves the piece at *idx, joined with the one after it when it became short; moves *idx on. */
static weft_err piece_save(weft_state *s, digest_move *m, size_t *idx) {
  keep_list list = {0};
  weft_state_piece piece = s->pieces[*idx];
  WEFT_TRY(piece_collect(s, m, &piece, &list));
  (*idx)++;
  if (!list.dirty) return WEFT_OK;
  if (list.estimate < WEFT_SEGMENT_LEN_MERGE && !piece.last) {
    size_t next;
    WEFT_TRY(piece_load(s, piece.end, &next));
    if (s->pieces[next].len + list.estimate <= WEFT_SEGMENT_LEN_SPLIT) {
      weft_state_piece joined = s->pieces[next];
      WEFT_TRY(piece_collect(s, m, &joined, &list));
      WEFT_TRY(segment_delete(s, &joined));
      *idx = next + 1;
    }
  }
  if (list.count == 0 && piece.start.len > 0) return segment_delete(s, &piece);
  WEFT_TRY(parts_delete(s, &piece));
  return segments_put(s, piece.start, &list);
}

weft_err weft__state_save(weft_state *s, weft_bytes name, weft_digest *digest) {
  digest_move m = {s->env, name, digest, &s->term};
  weft_err err = WEFT_OK;
  size_t idx = 0;
  while (idx < s->piece_count && err == WEFT_OK) err = piece_save(s, &m, &idx);
  return err;
}

/* From columns back to the canonical bytes of changes.
 *
 * Invariants: nothing the columns say is believed before it is bounded: every op, document and
 * claim is counted against the declared length, which caps the output, before anything is taken for
 * it. What comes out need not be a valid change; it is only bytes, which the chain and the
 * signature over them vouch for, or not.
 *
 * Happy path: count; read the tables; place the ops by path; read claims' seqs and values in the
 * order in which they stand; write the changes one by one.  Failure modes: WEFT_EMALFORMED for
 * columns that end early, go on, point outside a table, or make more or fewer bytes than declared.
 */
#include <string.h>

#include "crdt/chunk_columns.h"
#include "crdt/sort.h"
#include "crdt/value.h"

enum { op_len_min = 2, claim_len_min = 2 };

enum { numbers_dealt_max = 1024, claims_dealt_min = 32 };

/* A text's length is a varint of up to two bytes. */
enum { text_room_len = 4096, text_head_len_max = 2 };
_Static_assert(WEFT_PATH_LEN_MAX < 1 << 14 && WEFT_NAME_LEN_MAX < 1 << 14, "two bytes tell it");

/* Changes in columns have at most this many ops each, and a chunk of several is short. */
enum { ops_max = WEFT_CHUNK_LEN_MAX / op_len_min };
_Static_assert(ops_max >= WEFT_CHANGE_OPS_MAX, "the ops of a single long change count too");

typedef struct change_place {
  uint32_t shape;
  uint32_t docs;
  uint32_t claims;
} change_place;

typedef struct doc_place {
  uint32_t name;
  uint32_t ops;
} doc_place;

typedef struct op_place {
  uint32_t path;
  uint8_t head;
  weft_bytes position;
  uint32_t value_at; /* in `values` */
  uint32_t value_len;
} op_place;

typedef struct claim_place {
  uint64_t head;
  uint64_t seq;
  uint32_t doc; /* of the first document of its change */
} claim_place;

/* A text of a table with its length before it, as it stands in changes. */
typedef struct text_place {
  weft_bytes block;
  weft_bytes text;
  bool ok; /* fit to stand in a valid change; told where briefs are wanted */
} text_place;

typedef struct joiner {
  weft__columns_in *in;
  weft_arena *scratch;
  weft_brief *briefs; /* NULL: not wanted */
  change_place *changes;
  size_t change_count;
  doc_place *docs;
  size_t doc_count;
  size_t doc_cap;
  op_place *ops;
  size_t op_count;
  claim_place *claims;
  size_t claim_count;
  text_place *names;
  text_place *paths;
  bool paths_ascend;
  uint32_t *by_path;
  size_t *path_from;
  bool plain;      /* the text column has nothing but ASCII */
  weft_buf values; /* canonical scalars, by path */
  uint8_t *to;     /* where the next byte of the output goes */
  uint8_t *end;    /* of the room for it */
  bool full;       /* there was more than room */
} joiner;

/* Copies a view that a reader has just taken, behind which may be nothing, to where there is room
 * for a piece more. */
static inline void taken_copy(uint8_t *to, weft_bytes taken, const weft_rd *rd) {
  if (weft__rd_left(rd) >= WEFT__PIECE_LEN) {
    weft__piece_copy(to, taken.at, taken.len);
  } else if (taken.len > 0) {
    memcpy(to, taken.at, taken.len);
  }
}

/* --- counting --- */

static weft_err count_change(joiner *j, change_place *change) {
  uint64_t shape = weft__column_get(j->in, COLUMN_SHAPE);
  if (shape >= SHAPES || ((shape & SHAPE_RAW) && shape != SHAPE_RAW)) return WEFT_EMALFORMED;
  *change = (change_place){.shape = (uint32_t)shape};
  if (shape & SHAPE_RAW) return WEFT_OK;
  uint64_t claims = weft__column_get(j->in, COLUMN_CLAIM_COUNT);
  uint64_t docs = weft__column_get(j->in, COLUMN_DOC_COUNT);
  if (claims > j->in->len / claim_len_min - j->claim_count) return WEFT_EMALFORMED;
  if (claims > WEFT_CHANGE_CLAIMS_MAX || docs >= ops_max) return WEFT_EMALFORMED;
  change->claims = (uint32_t)claims;
  change->docs = (uint32_t)docs + 1;
  j->claim_count += change->claims;
  for (uint32_t d = 0; d < change->docs; d++) {
    uint64_t ops = weft__column_get(j->in, COLUMN_OP_COUNT);
    if (ops >= ops_max - j->op_count || ops >= j->in->len / op_len_min - j->op_count) {
      return WEFT_EMALFORMED;
    }
    if (j->doc_count == j->doc_cap) {
      WEFT_TRY(weft__arena_grow(j->scratch, (void **)&j->docs, j->doc_count, &j->doc_cap,
                                j->doc_count + 1, sizeof *j->docs));
    }
    j->docs[j->doc_count++] = (doc_place){0, (uint32_t)ops + 1};
    j->op_count += (size_t)ops + 1;
  }
  return WEFT_OK;
}

static weft_err count_all(joiner *j) {
  j->changes = weft__arena_take(j->scratch, j->change_count * sizeof *j->changes);
  if (!j->changes) return WEFT_ENOMEM;
  for (size_t i = 0; i < j->change_count; i++) WEFT_TRY(count_change(j, &j->changes[i]));
  j->ops = weft__arena_take(j->scratch, j->op_count * sizeof *j->ops);
  j->claims = weft__arena_take(j->scratch, j->claim_count * sizeof *j->claims);
  return j->ops && j->claims ? WEFT_OK : WEFT_ENOMEM;
}

/* --- tables --- */

/* Room for the texts of a table, which is taken for several at a time. */
typedef struct text_room {
  uint8_t *at;
  size_t left;
} text_room;

/* Where `len` bytes can stand, of which what is used is to be counted; NULL when memory is out. */
static uint8_t *room_at(weft_arena *scratch, text_room *room, size_t len) {
  if (room->left < len) {
    room->left = len > text_room_len ? len : text_room_len;
    room->at = weft__arena_take(scratch, room->left);
  }
  return room->at;
}

/* Each text stands somewhere in the output, so together they are no longer than it. */
static weft_err table_read(joiner *j, size_t count, size_t len_max, weft__column shared_column,
                           text_place **out) {
  text_place *table = weft__arena_take(j->scratch, count * sizeof *table);
  if (!table) return WEFT_ENOMEM;
  weft_rd *rd = &j->in->at[shared_column + 2].rd;
  weft_bytes before = weft_bytes_of(NULL, 0);
  text_room room = {NULL, 0};
  size_t total = 0;
  for (size_t i = 0; i < count; i++) {
    uint64_t shared = weft__column_get(j->in, shared_column);
    uint64_t rest = weft__column_get(j->in, shared_column + 1);
    if (shared > before.len || rest > len_max - shared) return WEFT_EMALFORMED;
    weft_bytes tail = weft__rd_take(rd, (size_t)rest);
    if (tail.len != rest) return WEFT_EMALFORMED;
    size_t len = (size_t)(shared + rest);
    total += len;
    if (total > j->in->len) return WEFT_EMALFORMED;
    uint8_t *at = room_at(j->scratch, &room, text_head_len_max + len + WEFT__PIECE_LEN);
    if (!at) return WEFT_ENOMEM;
    size_t head = len < 0x80 ? 1 : text_head_len_max;
    at[0] = (uint8_t)(head == 1 ? len : len | 0x80);
    if (head > 1) at[1] = (uint8_t)(len >> 7);
    uint8_t *text = at + head;
    weft__piece_copy(text, before.at, (size_t)shared);
    taken_copy(text + shared, tail, rd);
    before = weft_bytes_of(text, len);
    table[i] = (text_place){weft_bytes_of(at, head + len), before, false};
    room.at += head + len;
    room.left -= head + len;
  }
  *out = table;
  return WEFT_OK;
}

/* Looks once at what stands in many changes. */
static void tables_judge(joiner *j) {
  for (size_t i = 0; i < j->in->names; i++) {
    j->names[i].ok = weft_document_name_check(j->names[i].text) == WEFT_OK;
  }
  j->paths_ascend = true;
  for (size_t i = 0; i < j->in->paths; i++) {
    j->paths[i].ok = weft_path_check(j->paths[i].text) == WEFT_OK;
    bool behind = i > 0 && weft_bytes_cmp(j->paths[i - 1].text, j->paths[i].text) >= 0;
    if (behind) j->paths_ascend = false;
  }
}

static weft_err tables_read(joiner *j) {
  if (j->in->names > j->doc_count || j->in->paths > j->op_count) return WEFT_EMALFORMED;
  WEFT_TRY(table_read(j, j->in->names, WEFT_NAME_LEN_MAX, COLUMN_NAME_SHARED, &j->names));
  WEFT_TRY(table_read(j, j->in->paths, WEFT_PATH_LEN_MAX, COLUMN_PATH_SHARED, &j->paths));
  if (j->briefs) tables_judge(j);
  return WEFT_OK;
}

/* Goes `distance` places on in a ring of `count`, from the one behind `before`. */
static bool ring_step(uint32_t *at, uint64_t distance, uint32_t before, size_t count) {
  if (distance >= count) return false;
  size_t to = before + 1 + (size_t)distance;
  *at = (uint32_t)(to >= count ? to - count : to);
  return true;
}

static weft_err places_read(joiner *j) {
  uint32_t before = (uint32_t)j->in->names - 1;
  for (size_t i = 0; i < j->doc_count; i++) {
    weft_bytes low = weft__column_get_bytes(j->in, COLUMN_DOC_LOW, 1);
    uint64_t high = weft__column_get(j->in, COLUMN_DOC_HIGH);
    if (low.len == 0 || high > UINT32_MAX >> 8) return WEFT_EMALFORMED;
    uint64_t distance = high << 8 | low.at[0];
    if (!ring_step(&j->docs[i].name, distance, before, j->in->names)) return WEFT_EMALFORMED;
    before = j->docs[i].name;
  }
  before = (uint32_t)j->in->paths - 1;
  for (size_t i = 0; i < j->op_count; i++) {
    uint64_t distance = weft__column_get(j->in, COLUMN_PATH);
    if (!ring_step(&j->ops[i].path, distance, before, j->in->paths)) return WEFT_EMALFORMED;
    before = j->ops[i].path;
  }
  return WEFT_OK;
}

static weft_err group_by_path(joiner *j) {
  size_t paths = j->in->paths;
  j->path_from = weft__arena_zero(j->scratch, paths + 2, sizeof *j->path_from);
  j->by_path = weft__arena_take(j->scratch, j->op_count * sizeof *j->by_path);
  if (!j->path_from || !j->by_path) return WEFT_ENOMEM;
  /* Counted two places on, so that filling leaves the beginnings where they belong. */
  for (size_t i = 0; i < j->op_count; i++) j->path_from[j->ops[i].path + 2]++;
  for (size_t p = 2; p < paths + 2; p++) j->path_from[p] += j->path_from[p - 1];
  for (size_t i = 0; i < j->op_count; i++) {
    j->by_path[j->path_from[j->ops[i].path + 1]++] = (uint32_t)i;
  }
  return WEFT_OK;
}

/* --- by path: kinds, positions, values --- */

typedef struct value_reader {
  unsigned kind;
  unsigned scale;
  bool mixed;
  uint64_t before; /* integer before, when differences are read */
  unsigned *bit;   /* next bit of the byte in `bits` */
  uint8_t *bits;
} value_reader;

static double real_of(uint64_t word) {
  double real;
  memcpy(&real, &word, sizeof real);
  return real;
}

static bool bit_read(joiner *j, value_reader *r) {
  if (*r->bit == 0) {
    weft_bytes byte = weft__column_get_bytes(j->in, COLUMN_BOOLEAN, 1);
    *r->bits = byte.len > 0 ? byte.at[0] : 0;
  }
  bool set = *r->bits >> *r->bit & 1;
  *r->bit = (*r->bit + 1) % 8;
  return set;
}

static weft_err value_read(joiner *j, value_reader *r, weft_value *v) {
  unsigned kind = r->kind;
  if (r->mixed) {
    uint64_t type = weft__column_get(j->in, COLUMN_TYPE);
    if (type == VALUE_MIXED || type == VALUE_DECIMAL || type > VALUE_BLOB) return WEFT_EMALFORMED;
    kind = (unsigned)type;
  }
  switch (kind) {
  case VALUE_BOOLEAN:
    v->kind = WEFT_BOOL;
    v->as.boolean = bit_read(j, r);
    return WEFT_OK;
  case VALUE_INTEGER: {
    uint64_t entry = (uint64_t)weft__column_get_signed(j->in, COLUMN_INTEGER) + r->before;
    if (r->scale) r->before = entry;
    v->kind = WEFT_INT;
    v->as.integer = (int64_t)entry;
    return WEFT_OK;
  }
  case VALUE_DECIMAL:
    v->kind = WEFT_DOUBLE;
    v->as.real = weft__decimal(weft__column_get_signed(j->in, COLUMN_INTEGER), r->scale);
    return WEFT_OK;
  case VALUE_REAL:
    v->kind = WEFT_DOUBLE;
    v->as.real = real_of(weft__rd_u64(&j->in->at[COLUMN_REAL].rd));
    return WEFT_OK;
  case VALUE_TEXT:
  case VALUE_BLOB: {
    uint64_t len = weft__column_get(j->in, COLUMN_TEXT_LEN);
    if (len > WEFT_VALUE_LEN_MAX) return WEFT_EMALFORMED;
    v->kind = kind == VALUE_TEXT ? WEFT_STRING : WEFT_BYTES;
    v->as.bytes = weft__column_get_bytes(j->in, COLUMN_TEXT, (size_t)len);
    return v->as.bytes.len == len ? WEFT_OK : WEFT_EMALFORMED;
  }
  default: v->kind = WEFT_NULL; return WEFT_OK;
  }
}

static bool mode_ok(uint64_t mode) {
  uint64_t kind = mode & VALUE_KIND_MASK, scale = mode >> VALUE_KIND_BITS;
  if (kind == VALUE_DECIMAL) return scale <= VALUE_SCALE_MAX;
  return scale <= (kind == VALUE_INTEGER ? 1 : 0);
}

/* Writes the canonical bytes of a value.  Most are short texts, which need no looking at where the
 * whole column has been looked at. */
static void value_write(joiner *j, const weft_value *v) {
  weft_bytes text = v->as.bytes;
  bool brief = v->kind == WEFT_STRING && j->plain && text.len < 0x100;
  if (!brief) {
    weft__scalar_encode(&j->values, v);
    return;
  }
  size_t head = text.len < 32 ? 1 : 2;
  uint8_t *to = weft__buf_room(&j->values, head + text.len);
  if (!to) return;
  to[0] = (uint8_t)(head == 1 ? 0xa0 | text.len : 0xd9);
  if (head == 2) to[1] = (uint8_t)text.len;
  taken_copy(to + head, text, &j->in->at[COLUMN_TEXT].rd);
}

static weft_err path_read(joiner *j, size_t path, unsigned *bit, uint8_t *byte) {
  uint64_t mode = weft__column_get(j->in, COLUMN_PATH_MODE);
  if (!mode_ok(mode)) return WEFT_EMALFORMED;
  value_reader r = {.kind = (unsigned)mode & VALUE_KIND_MASK,
                    .scale = (unsigned)(mode >> VALUE_KIND_BITS),
                    .mixed = (mode & VALUE_KIND_MASK) == VALUE_MIXED,
                    .bit = bit,
                    .bits = byte};
  uint64_t before = WEFT_OP_SCALAR;
  for (size_t i = j->path_from[path]; i < j->path_from[path + 1]; i++) {
    op_place *op = &j->ops[j->by_path[i]];
    before ^= weft__column_get(j->in, COLUMN_KIND);
    if (before > UINT8_MAX) return WEFT_EMALFORMED;
    op->head = (uint8_t)before;
    op->value_at = op->value_len = 0;
    if (before & WEFT_OP_HAS_POSITION) {
      op->position = weft__rd_block(&j->in->at[COLUMN_POSITION].rd);
    }
    if ((before & WEFT_OP_KIND_MASK) != WEFT_OP_SCALAR) continue;
    weft_value value;
    WEFT_TRY(value_read(j, &r, &value));
    op->value_at = (uint32_t)j->values.len;
    value_write(j, &value);
    WEFT_TRY(weft__buf_err(&j->values));
    op->value_len = (uint32_t)(j->values.len - op->value_at);
  }
  return WEFT_OK;
}

/* Every value stands in the output, so that there is room for all of them in as many bytes.
 * A value that cannot be stored, or too many bytes of them, is the chunk's fault. */
static weft_err values_read(joiner *j) {
  uint8_t *room = weft__arena_take(j->scratch, j->in->len + WEFT__PIECE_LEN);
  if (!room) return WEFT_ENOMEM;
  j->values = (weft_buf){.mem = j->scratch->mem, .at = room, .cap = j->in->len, .max = j->in->len};
  unsigned bit = 0;
  uint8_t byte = 0;
  for (size_t p = 0; p < j->in->paths; p++) {
    weft_err err = path_read(j, p, &bit, &byte);
    if (err != WEFT_OK) return err == WEFT_ENOMEM ? err : WEFT_EMALFORMED;
  }
  return bit == 0 || byte >> bit == 0 ? WEFT_OK : WEFT_EMALFORMED;
}

/* --- claims --- */

static int claim_order(const void *ctx, const void *left, const void *right) {
  const claim_place *a = left, *b = right;
  (void)ctx;
  if (a->head >> 2 != b->head >> 2) return a->head >> 2 < b->head >> 2 ? -1 : 1;
  return a->doc == b->doc ? 0 : a->doc < b->doc ? -1 : 1;
}

static size_t claim_doc(const claim_place *claim) { return claim->doc; }

static size_t claim_number(const claim_place *claim) { return (size_t)(claim->head >> 2); }

/* Moves claims to `to` by what `key` gives, which is below `keys`; equal ones keep their order. */
static weft_err claims_deal(joiner *j, const void **from, const void **to, size_t keys,
                            size_t (*key)(const claim_place *)) {
  size_t *place = weft__arena_zero(j->scratch, keys + 1, sizeof *place);
  if (!place) return WEFT_ENOMEM;
  for (size_t i = 0; i < j->claim_count; i++) place[key(from[i]) + 1]++;
  for (size_t k = 1; k <= keys; k++) place[k] += place[k - 1];
  for (size_t i = 0; i < j->claim_count; i++) to[place[key(from[i])]++] = from[i];
  return WEFT_OK;
}

/* Orders claims by number and document.  A log names few others, so mostly dealing them out twice
 * does, without comparisons.  Chunks of few claims, and far numbers, are compared. */
static weft_err claims_sort(joiner *j, const void **claims) {
  uint64_t most = 0;
  const void **other = claims + j->claim_count;
  for (size_t i = 0; i < j->claim_count; i++) {
    uint64_t number = j->claims[i].head >> 2;
    if (number > most) most = number;
  }
  if (most >= numbers_dealt_max || j->claim_count < claims_dealt_min) {
    weft__sort(claims, other, j->claim_count, claim_order, NULL);
    return WEFT_OK;
  }
  WEFT_TRY(claims_deal(j, claims, other, j->in->names, claim_doc));
  return claims_deal(j, other, claims, (size_t)most + 1, claim_number);
}

static weft_err seqs_read(joiner *j, const void **sorted) {
  uint64_t mode = 0, before = 0;
  for (size_t i = 0; i < j->claim_count; i++) {
    claim_place *claim = &j->claims[(const claim_place *)sorted[i] - j->claims];
    if (i == 0 || ((const claim_place *)sorted[i - 1])->head >> 2 != claim->head >> 2) {
      mode = weft__column_get(j->in, COLUMN_CLAIM_MODE);
      before = 0;
    }
    weft_bytes low = weft__column_get_bytes(j->in, COLUMN_CLAIM_SEQ_LOW, 1);
    uint64_t high = weft__column_get(j->in, COLUMN_CLAIM_SEQ_HIGH);
    if (mode > 1 || low.len == 0 || high > UINT64_MAX >> 8) return WEFT_EMALFORMED;
    uint64_t entry = high << 8 | low.at[0];
    claim->seq = mode ? before + ((entry >> 1) ^ (entry & 1 ? UINT64_MAX : 0)) : entry;
    before = claim->seq;
  }
  return WEFT_OK;
}

static weft_err claims_read(joiner *j) {
  const void **sorted = weft__arena_take(j->scratch, 2 * j->claim_count * sizeof *sorted);
  if (!sorted) return WEFT_ENOMEM;
  const doc_place *doc = j->docs;
  size_t at = 0;
  for (size_t i = 0; i < j->change_count; i++) {
    const change_place *change = &j->changes[i];
    if (change->shape & SHAPE_RAW) continue; /* without documents there may be no array of them */
    for (uint32_t k = 0; k < change->claims; k++, at++) {
      j->claims[at].head = weft__column_get(j->in, COLUMN_CLAIM_HEAD);
      j->claims[at].doc = doc->name;
      sorted[at] = &j->claims[at];
    }
    doc += change->docs;
  }
  WEFT_TRY(claims_sort(j, sorted));
  return seqs_read(j, sorted);
}

/* --- writing --- */

/* Appends bytes of a buffer that has WEFT__PIECE_LEN bytes behind it. */
static inline void out_piece(joiner *j, const uint8_t *at, size_t len) {
  if (len > (size_t)(j->end - j->to)) {
    j->full = true;
    return;
  }
  weft__piece_copy(j->to, at, len);
  j->to += len;
}

/* Appends any bytes. */
static void out_put(joiner *j, weft_bytes bytes) {
  if (bytes.len > (size_t)(j->end - j->to)) {
    j->full = true;
  } else if (bytes.len > 0) {
    memcpy(j->to, bytes.at, bytes.len);
    j->to += bytes.len;
  }
}

static inline void out_u8(joiner *j, uint8_t v) {
  if (j->to == j->end) {
    j->full = true;
  } else {
    *j->to++ = v;
  }
}

static inline void out_varint(joiner *j, uint64_t v) {
  for (; v >= 0x80; v >>= 7) out_u8(j, (uint8_t)(v | 0x80));
  out_u8(j, (uint8_t)v);
}

static void claim_write(joiner *j, const claim_place *claim, weft_claim *brief) {
  weft_bytes log = weft_bytes_of(NULL, 0), tag = log;
  out_varint(j, claim->head);
  if (claim->head & 1) {
    log = weft__column_get_bytes(j->in, COLUMN_CLAIM_LOG, sizeof(weft_id));
    out_put(j, log);
  }
  out_varint(j, claim->seq);
  if (claim->head & 2) {
    tag = weft__column_get_bytes(j->in, COLUMN_CLAIM_TAG, WEFT_CLAIM_TAG_LEN);
    out_put(j, tag);
  }
  if (!brief) return;
  *brief = (weft_claim){.number = (uint32_t)(claim->head >> 2),
                        .has_log = claim->head & 1,
                        .has_tag = (claim->head & 2) != 0,
                        .seq = claim->seq};
  if (log.len > 0) memcpy(brief->log.b, log.at, log.len);
  if (tag.len > 0) memcpy(brief->tag, tag.at, tag.len);
}

/* Whether a change may claim this behind `before`, NULL for the first; what the reader of bytes
 * refuses, and more is not said. */
static bool claim_sound(const claim_place *claim, const claim_place *before) {
  if (before && claim->head >> 2 <= before->head >> 2) return false;
  if (claim->head >> 2 > UINT32_MAX || claim->seq == 0) return false;
  return !(claim->head & 1) || claim->head & 2;
}

/* Whether an op may stand behind `before`, NULL for the first of its document.  Positions are left
 * to the reader of bytes. */
static bool op_sound(const joiner *j, const op_place *op, const op_place *before) {
  static const bool anywhere[WEFT_OP_POSITION + 1] = {
      [WEFT_OP_UNSET] = true, [WEFT_OP_MARK_OBJECT] = true, [WEFT_OP_FRESH_OBJECT] = true};
  const text_place *path = &j->paths[op->path];
  if (op->head == 0 || op->head >= WEFT_OP_POSITION || !path->ok) return false;
  if (before && !(j->paths_ascend && before->path < op->path)) return false;
  return path->text.len > 0 || anywhere[op->head];
}

static inline void op_write(joiner *j, const op_place *op) {
  out_u8(j, op->head);
  out_piece(j, j->paths[op->path].block.at, j->paths[op->path].block.len);
  if (op->head & WEFT_OP_HAS_POSITION) {
    out_varint(j, op->position.len);
    out_put(j, op->position);
  }
  out_piece(j, j->values.at + op->value_at, op->value_len);
}

static void note_write(joiner *j) {
  weft_bytes note = weft__rd_block(&j->in->at[COLUMN_NOTES].rd);
  out_varint(j, note.len);
  out_put(j, note);
}

static uint64_t clock_read(joiner *j, uint64_t before) {
  uint64_t millis = (before >> 16) + (uint64_t)weft__column_get_signed(j->in, COLUMN_MILLIS);
  uint64_t expected = millis == before >> 16 ? (before & 0xffff) + 1 : 0;
  uint64_t counter = expected + (uint64_t)weft__column_get_signed(j->in, COLUMN_COUNTER);
  return millis << 16 | (counter & 0xffff);
}

typedef struct cursor { /* where the next change begins in each array */
  const doc_place *doc;
  const op_place *op;
  const claim_place *claim;
  weft_claim *claims; /* of the briefs */
  uint64_t hlc;
} cursor;

/* Written in place: bytes put together elsewhere and copied would have to be waited for. */
static void head_write(joiner *j, unsigned flags, uint64_t hlc) {
  enum { clock_at = 3, head_len = clock_at + sizeof hlc };
  if ((size_t)(j->end - j->to) < head_len) {
    j->full = true;
    return;
  }
  uint8_t *to = j->to;
  to[0] = WEFT_CHANGE_VERSION;
  to[1] = WEFT_CHANGE_DATA;
  to[2] = (uint8_t)flags;
  to[clock_at] = (uint8_t)(hlc >> 56);
  to[clock_at + 1] = (uint8_t)(hlc >> 48);
  to[clock_at + 2] = (uint8_t)(hlc >> 40);
  to[clock_at + 3] = (uint8_t)(hlc >> 32);
  to[clock_at + 4] = (uint8_t)(hlc >> 24);
  to[clock_at + 5] = (uint8_t)(hlc >> 16);
  to[clock_at + 6] = (uint8_t)(hlc >> 8);
  to[clock_at + 7] = (uint8_t)hlc;
  j->to += head_len;
}

/* False when it is not sure that the claims are sound. */
static bool claims_write(joiner *j, const change_place *change, cursor *at, weft_brief *brief) {
  bool sound = true;
  out_varint(j, change->claims);
  for (uint32_t i = 0; i < change->claims; i++, at->claim++) {
    claim_write(j, at->claim, brief ? at->claims + i : NULL);
    sound = sound && claim_sound(at->claim, i > 0 ? at->claim - 1 : NULL);
  }
  if (brief) {
    brief->hlc = at->hlc;
    brief->claims = at->claims;
    brief->claim_count = change->claims;
    at->claims += change->claims;
  }
  return sound;
}

/* False when it is not sure that the ops are sound. */
static bool docs_write(joiner *j, const change_place *change, cursor *at) {
  bool sound = true;
  uint64_t ops = 0;
  out_varint(j, change->docs);
  for (uint32_t d = 0; d < change->docs; d++, at->doc++) {
    const text_place *name = &j->names[at->doc->name];
    out_piece(j, name->block.at, name->block.len);
    out_varint(j, at->doc->ops);
    bool behind = d > 0 && weft_bytes_cmp(j->names[at->doc[-1].name].text, name->text) >= 0;
    sound = sound && name->ok && !behind;
    for (uint32_t i = 0; i < at->doc->ops; i++, at->op++) {
      op_write(j, at->op);
      sound = sound && op_sound(j, at->op, i > 0 ? at->op - 1 : NULL);
    }
    ops += at->doc->ops;
  }
  return sound && ops <= WEFT_CHANGE_OPS_MAX;
}

/* What the brief says of a change, the reader of its bytes would say; of one with anything unusual
 * it says nothing. */
static void change_write(joiner *j, const change_place *change, cursor *at, weft_brief *brief) {
  unsigned flags = (change->shape & SHAPE_MESSAGE ? WEFT_CHANGE_HAS_MESSAGE : 0u) |
                   (change->shape & SHAPE_EXTENSIONS ? WEFT_CHANGE_HAS_EXTENSIONS : 0u);
  at->hlc = clock_read(j, at->hlc);
  head_write(j, flags, at->hlc);
  if (change->shape & SHAPE_MESSAGE) note_write(j);
  bool sound = claims_write(j, change, at, brief);
  if (change->shape & SHAPE_EXTENSIONS) note_write(j);
  sound = docs_write(j, change, at) && sound;
  if (brief) brief->known = sound && flags == 0;
}

static void raw_write(joiner *j) {
  uint64_t len = weft__column_get(j->in, COLUMN_RAW_LEN);
  if (len > j->in->len) {
    j->full = true;
    return;
  }
  out_put(j, weft__column_get_bytes(j->in, COLUMN_RAW, (size_t)len));
}

static weft_err changes_write(joiner *j, weft_arena *arena, weft_bytes *changes) {
  cursor next = {.doc = j->docs, .op = j->ops, .claim = j->claims};
  j->to = weft__arena_take(arena, j->in->len + WEFT__PIECE_LEN);
  if (j->briefs) next.claims = weft__arena_take(arena, j->claim_count * sizeof *next.claims);
  if (!j->to || (j->briefs && !next.claims)) return WEFT_ENOMEM;
  j->end = j->to + j->in->len;
  for (size_t i = 0; i < j->change_count; i++) {
    const uint8_t *from = j->to;
    weft_brief *brief = j->briefs ? &j->briefs[i] : NULL;
    if (j->changes[i].shape & SHAPE_RAW) {
      raw_write(j);
      if (brief) *brief = (weft_brief){.known = false};
    } else {
      change_write(j, &j->changes[i], &next, brief);
    }
    if (j->full) return WEFT_EMALFORMED;
    changes[i] = weft_bytes_of(from, (size_t)(j->to - from));
  }
  return j->to == j->end ? WEFT_OK : WEFT_EMALFORMED;
}

static bool text_plain(weft_bytes text) {
  uint8_t all = 0;
  for (size_t i = 0; i < text.len; i++) all |= text.at[i];
  return all < 0x80;
}

/* Turns the text column into plain text.  All of it stands in the output. */
static weft_err text_read(joiner *j) {
  weft_rd *words = &j->in->at[COLUMN_WORDS].rd, *text = &j->in->at[COLUMN_TEXT].rd;
  size_t words_len = weft__rd_left(words);
  if (words_len > 0) {
    weft_bytes plain;
    WEFT_TRY(weft__words_decode(j->scratch, weft__rd_take(words, words_len),
                                weft__rd_take(text, weft__rd_left(text)), j->in->len, &plain));
    *text = weft__rd(plain);
  }
  j->plain = text_plain(weft_bytes_of(text->at, weft__rd_left(text)));
  return WEFT_OK;
}

static weft_err join(joiner *j, weft_arena *arena, weft_bytes *changes) {
  WEFT_TRY(count_all(j));
  WEFT_TRY(tables_read(j));
  WEFT_TRY(places_read(j));
  WEFT_TRY(group_by_path(j));
  WEFT_TRY(text_read(j));
  WEFT_TRY(values_read(j));
  WEFT_TRY(claims_read(j));
  WEFT_TRY(changes_write(j, arena, changes));
  return weft__columns_done(j->in) ? WEFT_OK : WEFT_EMALFORMED;
}

weft_err weft__chunk_join(weft__columns_in *in, weft_arena *arena, weft_arena *scratch,
                          weft_bytes *changes, weft_brief *briefs, size_t count) {
  joiner j = {.in = in, .scratch = scratch, .change_count = count, .briefs = briefs};
  return join(&j, arena, changes);
}

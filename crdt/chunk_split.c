/* From changes to columns.
 *
 * Invariants: a change goes into columns only when it parses as a VALID DATA change: those have one
 * encoding, so the reader that writes the canonical form of what the columns say gives back the
 * very bytes.  Every other byte string, START too, goes whole into the raw column.  Doubles become
 * decimals only where the division that the reader will do gives the same bits.
 *
 * Happy path: parse all changes; number names and paths by sorting them; write what comes in the
 * order of changes; then claims by number and document, and what stands at each path, path by path,
 * so that like stands beside like.  Failure modes: memory only. */
#include <string.h>

#include "crdt/assert.h"
#include "crdt/chunk_columns.h"
#include "crdt/sort.h"
#include "crdt/value.h"

/* A name or path where it is used, and its number in the table. */
typedef struct named {
  weft_bytes text;
  uint32_t idx;
  uint32_t same; /* the first use of this text that was found: it gets the number first */
} named;

typedef struct claim_ref {
  const weft_claim *claim;
  uint32_t doc;
} claim_ref;

typedef struct splitter {
  weft__columns_out *out;
  weft_arena *scratch;
  weft_change *changes; /* not VALID, or START: goes raw */
  size_t change_count;
  named *docs; /* one for each document of each change */
  size_t doc_count;
  named *paths; /* one for each op */
  const weft_op **ops;
  size_t op_count;
  claim_ref *claims;
  size_t claim_count;
  uint32_t *by_path; /* ops in the order of their paths */
  size_t *path_from; /* where each path's ops begin in by_path, and the end */
} splitter;

static bool in_columns(const weft_change *change) {
  return change->state == WEFT_CHANGE_VALID && change->kind == WEFT_CHANGE_DATA;
}

/* Ops of one document share the view of its name. */
static bool opens_document(const weft_change *change, size_t idx) {
  return idx == 0 || change->ops[idx].doc.at != change->ops[idx - 1].doc.at;
}

static weft_err parse_all(splitter *s, const weft_run *runs, size_t run_count) {
  for (size_t r = 0; r < run_count; r++) s->change_count += runs[r].count;
  s->changes = weft__arena_zero(s->scratch, s->change_count, sizeof *s->changes);
  if (!s->changes) return WEFT_ENOMEM;
  weft_change *change = s->changes;
  for (size_t r = 0; r < run_count; r++) {
    for (size_t i = 0; i < runs[r].count; i++, change++) {
      WEFT_TRY(weft__change_parse(s->scratch, runs[r].changes[i], change));
      if (!in_columns(change)) continue;
      s->op_count += change->op_count;
      s->claim_count += change->claim_count;
      for (size_t k = 0; k < change->op_count; k++) s->doc_count += opens_document(change, k);
    }
  }
  return WEFT_OK;
}

/* --- tables --- */

static int named_order(const void *ctx, const void *a, const void *b) {
  (void)ctx;
  return weft_bytes_cmp(((const named *)a)->text, ((const named *)b)->text);
}

static size_t shared_len(weft_bytes a, weft_bytes b) {
  size_t len = 0;
  while (len < a.len && len < b.len && a.at[len] == b.at[len]) len++; /* defensive: a <= b */
  return len;
}

/* Finds the texts that differ, so that only those are sorted; a few may come twice. */
static weft_err texts_distinct(splitter *s, named *texts, size_t count, const void **distinct,
                               size_t *found) {
  size_t cap = 16;
  while (cap < 2 * count) cap *= 2;
  uint32_t *slots = weft__arena_zero(s->scratch, cap, sizeof *slots); /* index and 1 */
  if (!slots) return WEFT_ENOMEM;
  *found = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t hash = weft__text_hash(texts[i].text);
    texts[i].same = (uint32_t)i;
    for (unsigned probe = 0; probe < WEFT__PROBES_MAX; probe++) {
      uint32_t *slot = &slots[(hash + probe) & (cap - 1)];
      if (*slot == 0) *slot = (uint32_t)i + 1;
      if (weft_bytes_cmp(texts[*slot - 1].text, texts[i].text) != 0) continue;
      texts[i].same = *slot - 1;
      break;
    }
    if (texts[i].same == i) distinct[(*found)++] = &texts[i];
  }
  return WEFT_OK;
}

/* Numbers the texts by their order and writes the table, each as what differs from the one before.
 */
static weft_err table_write(splitter *s, named *texts, size_t count, weft__column shared_column,
                            size_t *entries) {
  const void **sorted = weft__arena_take(s->scratch, 2 * count * sizeof *sorted);
  if (!sorted) return WEFT_ENOMEM;
  size_t found;
  WEFT_TRY(texts_distinct(s, texts, count, sorted, &found));
  weft__sort(sorted, sorted + count, found, named_order, NULL);
  weft_bytes before = weft_bytes_of(NULL, 0);
  uint32_t idx = 0;
  for (size_t i = 0; i < found; i++) {
    named *entry = &texts[(const named *)sorted[i] - texts];
    if (i == 0 || weft_bytes_cmp(before, entry->text) != 0) {
      size_t shared = shared_len(before, entry->text);
      size_t rest = entry->text.len - shared;
      weft__column_put(s->out, shared_column, shared);
      weft__column_put(s->out, shared_column + 1, rest);
      weft__column_put_bytes(s->out, shared_column + 2,
                             weft_bytes_of(entry->text.at + shared, rest));
      before = entry->text;
      idx++;
    }
    entry->idx = idx - 1;
  }
  for (size_t i = 0; i < count; i++) texts[i].idx = texts[texts[i].same].idx;
  *entries = idx;
  return WEFT_OK;
}

static weft_err tables_write(splitter *s) {
  s->docs = weft__arena_take(s->scratch, s->doc_count * sizeof *s->docs);
  s->paths = weft__arena_take(s->scratch, s->op_count * sizeof *s->paths);
  s->ops = weft__arena_take(s->scratch, s->op_count * sizeof *s->ops);
  if (!s->docs || !s->paths || !s->ops) return WEFT_ENOMEM;
  size_t docs = 0, ops = 0;
  for (size_t i = 0; i < s->change_count; i++) {
    const weft_change *change = &s->changes[i];
    if (!in_columns(change)) continue;
    for (size_t k = 0; k < change->op_count; k++) {
      if (opens_document(change, k)) s->docs[docs++].text = change->ops[k].doc;
      s->paths[ops].text = change->ops[k].path;
      s->ops[ops++] = &change->ops[k];
    }
  }
  WEFT_TRY(table_write(s, s->docs, docs, COLUMN_NAME_SHARED, &s->out->names));
  return table_write(s, s->paths, ops, COLUMN_PATH_SHARED, &s->out->paths);
}

/* --- in the order of changes --- */

/* How far `idx` lies behind the place after `before` in a ring of `count`: 0 when it comes next. */
static uint64_t ring_distance(size_t idx, size_t before, size_t count) {
  return idx > before ? idx - before - 1 : idx + count - before - 1;
}

static void notes_write(splitter *s, weft_bytes note) {
  weft__buf_block(&s->out->at[COLUMN_NOTES].bytes, note);
}

static void clock_write(splitter *s, uint64_t hlc, uint64_t before) {
  uint64_t millis = hlc >> 16, counter = hlc & 0xffff;
  uint64_t expected = millis == before >> 16 ? (before & 0xffff) + 1 : 0;
  weft__column_put_signed(s->out, COLUMN_MILLIS, (int64_t)(millis - (before >> 16)));
  weft__column_put_signed(s->out, COLUMN_COUNTER, (int64_t)(counter - expected));
}

/* Writes which documents and paths a change has. */
static void places_write(splitter *s, const weft_change *change, named **doc, named **path,
                         size_t *doc_before, size_t *path_before) {
  size_t docs = 0;
  for (size_t k = 0, end; k < change->op_count; k = end, docs++, (*doc)++) {
    for (end = k + 1; end < change->op_count && !opens_document(change, end);) end++;
    uint64_t distance = ring_distance((*doc)->idx, *doc_before, s->out->names);
    weft__buf_u8(&s->out->at[COLUMN_DOC_LOW].bytes, (uint8_t)distance);
    weft__column_put(s->out, COLUMN_DOC_HIGH, distance >> 8);
    weft__column_put(s->out, COLUMN_OP_COUNT, end - k - 1);
    *doc_before = (*doc)->idx;
    for (size_t i = k; i < end; i++, (*path)++) {
      weft__column_put(s->out, COLUMN_PATH,
                       ring_distance((*path)->idx, *path_before, s->out->paths));
      *path_before = (*path)->idx;
    }
  }
  weft__column_put(s->out, COLUMN_DOC_COUNT, docs - 1);
}

static void changes_write(splitter *s) {
  named *doc = s->docs, *path = s->paths;
  claim_ref *ref = s->claims;
  size_t doc_before = s->out->names - 1, path_before = s->out->paths - 1;
  uint64_t hlc_before = 0;
  for (size_t i = 0; i < s->change_count; i++) {
    const weft_change *change = &s->changes[i];
    s->out->len += change->raw.len;
    if (!in_columns(change)) {
      weft__column_put(s->out, COLUMN_SHAPE, SHAPE_RAW);
      weft__column_put(s->out, COLUMN_RAW_LEN, change->raw.len);
      weft__column_put_bytes(s->out, COLUMN_RAW, change->raw);
      continue;
    }
    unsigned shape = (change->message.len > 0 ? SHAPE_MESSAGE : 0u) |
                     (change->extensions.len > 0 ? SHAPE_EXTENSIONS : 0u);
    weft__column_put(s->out, COLUMN_SHAPE, shape);
    if (shape & SHAPE_MESSAGE) notes_write(s, change->message);
    if (shape & SHAPE_EXTENSIONS) notes_write(s, change->extensions);
    clock_write(s, change->hlc, hlc_before);
    hlc_before = change->hlc;
    weft__column_put(s->out, COLUMN_CLAIM_COUNT, change->claim_count);
    for (size_t k = 0; k < change->claim_count; k++, ref++) {
      ref->claim = &change->claims[k];
      ref->doc = doc->idx;
    }
    places_write(s, change, &doc, &path, &doc_before, &path_before);
  }
}

/* --- claims --- */

static int claim_order(const void *ctx, const void *left, const void *right) {
  const claim_ref *a = left, *b = right;
  (void)ctx;
  if (a->claim->number != b->claim->number) return a->claim->number < b->claim->number ? -1 : 1;
  return a->doc == b->doc ? 0 : a->doc < b->doc ? -1 : 1;
}

static uint64_t zigzag(uint64_t difference) {
  return (difference << 1) ^ (difference >> 63 ? UINT64_MAX : 0);
}

/* Writes the seqs claimed under one number: as they are, or as differences where that is shorter.
 * An import writes its documents in the order of their names, so claims of it rise with the name.
 */
static void claim_group_write(splitter *s, const void **refs, size_t count) {
  size_t plain = 0, differences = 0;
  uint64_t before = 0;
  for (size_t i = 0; i < count; i++) {
    uint64_t seq = ((const claim_ref *)refs[i])->claim->seq;
    plain += weft__varint_len(seq);
    differences += weft__varint_len(zigzag(seq - before));
    before = seq;
  }
  bool differ = differences < plain;
  weft__column_put(s->out, COLUMN_CLAIM_MODE, differ);
  before = 0;
  for (size_t i = 0; i < count; i++) {
    uint64_t seq = ((const claim_ref *)refs[i])->claim->seq;
    uint64_t entry = differ ? zigzag(seq - before) : seq;
    weft__buf_u8(&s->out->at[COLUMN_CLAIM_SEQ_LOW].bytes, (uint8_t)entry);
    weft__column_put(s->out, COLUMN_CLAIM_SEQ_HIGH, entry >> 8);
    before = seq;
  }
}

static weft_err claims_write(splitter *s) {
  const void **sorted = weft__arena_take(s->scratch, 2 * s->claim_count * sizeof *sorted);
  if (!sorted) return WEFT_ENOMEM;
  for (size_t i = 0; i < s->claim_count; i++) {
    const weft_claim *claim = s->claims[i].claim;
    unsigned bits = (claim->has_log ? 1u : 0u) | (claim->has_tag ? 2u : 0u);
    weft__column_put(s->out, COLUMN_CLAIM_HEAD, (uint64_t)claim->number << 2 | bits);
    if (claim->has_log) {
      weft__column_put_bytes(s->out, COLUMN_CLAIM_LOG, weft_bytes_of(claim->log.b, 32));
    }
    if (claim->has_tag) {
      weft__column_put_bytes(s->out, COLUMN_CLAIM_TAG, weft_bytes_of(claim->tag, 8));
    }
    sorted[i] = &s->claims[i];
  }
  weft__sort(sorted, sorted + s->claim_count, s->claim_count, claim_order, NULL);
  for (size_t i = 0, end; i < s->claim_count; i = end) {
    uint32_t number = ((const claim_ref *)sorted[i])->claim->number;
    end = i + 1;
    while (end < s->claim_count && ((const claim_ref *)sorted[end])->claim->number == number) {
      end++;
    }
    claim_group_write(s, sorted + i, end - i);
  }
  return WEFT_OK;
}

/* --- by path --- */

static weft_err group_by_path(splitter *s) {
  size_t paths = s->out->paths;
  s->path_from = weft__arena_zero(s->scratch, paths + 2, sizeof *s->path_from);
  s->by_path = weft__arena_take(s->scratch, s->op_count * sizeof *s->by_path);
  if (!s->path_from || !s->by_path) return WEFT_ENOMEM;
  /* Counted two places on, so that filling leaves the beginnings where they belong. */
  for (size_t i = 0; i < s->op_count; i++) s->path_from[s->paths[i].idx + 2]++;
  for (size_t p = 2; p < paths + 2; p++) s->path_from[p] += s->path_from[p - 1];
  for (size_t i = 0; i < s->op_count; i++) {
    s->by_path[s->path_from[s->paths[i].idx + 1]++] = (uint32_t)i;
  }
  return WEFT_OK;
}

static const double powers_of_ten[VALUE_SCALE_MAX + 1] = {
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

double weft__decimal(int64_t mantissa, unsigned scale) {
  return (double)mantissa / powers_of_ten[scale];
}

/* True when `real` is a mantissa over 10^scale to the bit. */
static bool decimal_of(double real, unsigned scale, int64_t *mantissa) {
  double scaled = real * powers_of_ten[scale];
  if (!(scaled > -0x1p53 && scaled < 0x1p53)) return false;
  *mantissa = (int64_t)(scaled + (scaled < 0 ? -0.5 : 0.5));
  double back = weft__decimal(*mantissa, scale);
  return memcmp(&back, &real, sizeof real) == 0;
}

static unsigned kind_of(const weft_value *v) {
  switch (v->kind) {
  case WEFT_BOOL: return VALUE_BOOLEAN;
  case WEFT_INT: return VALUE_INTEGER;
  case WEFT_DOUBLE: return VALUE_REAL;
  case WEFT_STRING: return VALUE_TEXT;
  case WEFT_BYTES: return VALUE_BLOB;
  case WEFT_NULL:
  case WEFT_ARRAY: /* defensive: a register holds scalars */
  case WEFT_OBJECT: break;
  }
  return VALUE_NULL;
}

/* The least scale at which all doubles are decimals, in the place of a kind; VALUE_REAL if none is.
 * Scales rise, so a value that needs more never sends an earlier one back to less. */
static unsigned reals_mode(const weft_value *values, size_t count) {
  unsigned scale = 0;
  for (size_t i = 0; i < count; i++) {
    int64_t mantissa;
    while (scale <= VALUE_SCALE_MAX && !decimal_of(values[i].as.real, scale, &mantissa)) scale++;
    if (scale > VALUE_SCALE_MAX) return VALUE_REAL;
  }
  for (size_t i = 0; i < count; i++) {
    int64_t mantissa;
    if (!decimal_of(values[i].as.real, scale, &mantissa)) return VALUE_REAL;
  }
  return VALUE_DECIMAL | scale << VALUE_KIND_BITS;
}

static unsigned integers_mode(const weft_value *values, size_t count) {
  size_t plain = 0, differences = 0;
  uint64_t before = 0;
  for (size_t i = 0; i < count; i++) {
    uint64_t v = (uint64_t)values[i].as.integer;
    plain += weft__varint_len(zigzag(v));
    differences += weft__varint_len(zigzag(v - before));
    before = v;
  }
  return VALUE_INTEGER | (differences < plain ? 1u << VALUE_KIND_BITS : 0u);
}

static unsigned mode_of(const weft_value *values, size_t count) {
  if (count == 0) return VALUE_NULL;
  unsigned kind = kind_of(&values[0]);
  for (size_t i = 1; i < count; i++) {
    if (kind_of(&values[i]) != kind) return VALUE_MIXED;
  }
  if (kind == VALUE_INTEGER) return integers_mode(values, count);
  return kind == VALUE_REAL ? reals_mode(values, count) : kind;
}

typedef struct bits {
  uint8_t byte;
  unsigned used;
} bits;

static void bit_write(splitter *s, bits *b, bool bit) {
  b->byte |= (uint8_t)(bit << b->used);
  if (++b->used < 8) return;
  weft__buf_u8(&s->out->at[COLUMN_BOOLEAN].bytes, b->byte);
  *b = (bits){0, 0};
}

static void real_write(splitter *s, double real) {
  uint64_t word;
  memcpy(&word, &real, sizeof word);
  weft__buf_u64(&s->out->at[COLUMN_REAL].bytes, word);
}

static void values_write(splitter *s, const weft_value *values, size_t count, unsigned mode,
                         bits *b) {
  unsigned scale = mode >> VALUE_KIND_BITS;
  uint64_t before = 0;
  for (size_t i = 0; i < count; i++) {
    const weft_value *v = &values[i];
    unsigned kind = mode == VALUE_MIXED ? kind_of(v) : mode & VALUE_KIND_MASK;
    int64_t mantissa = 0;
    if (mode == VALUE_MIXED) weft__column_put(s->out, COLUMN_TYPE, kind);
    switch (kind) {
    case VALUE_BOOLEAN: bit_write(s, b, v->as.boolean); break;
    case VALUE_INTEGER:
      weft__column_put_signed(s->out, COLUMN_INTEGER, (int64_t)((uint64_t)v->as.integer - before));
      if (scale) before = (uint64_t)v->as.integer;
      break;
    case VALUE_DECIMAL: {
      bool exact = decimal_of(v->as.real, scale, &mantissa);
      WEFT_ASSERT(exact);
      weft__column_put_signed(s->out, COLUMN_INTEGER, mantissa);
      break;
    }
    case VALUE_REAL: real_write(s, v->as.real); break;
    case VALUE_TEXT:
    case VALUE_BLOB:
      weft__column_put(s->out, COLUMN_TEXT_LEN, v->as.bytes.len);
      weft__column_put_bytes(s->out, COLUMN_TEXT, v->as.bytes);
      break;
    default: break; /* null says all by its kind */
    }
  }
}

static weft_err paths_write(splitter *s) {
  weft_value *values = weft__arena_take(s->scratch, s->op_count * sizeof *values);
  if (!values) return WEFT_ENOMEM;
  bits b = {0, 0};
  for (size_t p = 0; p < s->out->paths; p++) {
    unsigned before = WEFT_OP_SCALAR;
    size_t count = 0;
    for (size_t i = s->path_from[p]; i < s->path_from[p + 1]; i++) {
      const weft_op *op = s->ops[s->by_path[i]];
      unsigned head = (unsigned)op->kind | (op->position.len > 0 ? WEFT_OP_HAS_POSITION : 0u);
      weft__column_put(s->out, COLUMN_KIND, head ^ before);
      before = head;
      if (op->position.len > 0) weft__buf_block(&s->out->at[COLUMN_POSITION].bytes, op->position);
      if (op->kind != WEFT_OP_SCALAR) continue;
      /* defensive: the value was parsed before */
      WEFT_TRY(weft__scalar_decode(op->value, &values[count++]));
    }
    unsigned mode = mode_of(values, count);
    weft__column_put(s->out, COLUMN_PATH_MODE, mode);
    values_write(s, values, count, mode, &b);
  }
  if (b.used > 0) weft__buf_u8(&s->out->at[COLUMN_BOOLEAN].bytes, b.byte);
  return WEFT_OK;
}

weft_err weft__chunk_split(weft__columns_out *out, weft_arena *scratch, const weft_run *runs,
                           size_t run_count) {
  splitter s = {.out = out, .scratch = scratch};
  WEFT_TRY(parse_all(&s, runs, run_count));
  WEFT_TRY(tables_write(&s));
  s.claims = weft__arena_take(scratch, s.claim_count * sizeof *s.claims);
  if (!s.claims) return WEFT_ENOMEM;
  changes_write(&s);
  WEFT_TRY(claims_write(&s));
  WEFT_TRY(group_by_path(&s));
  WEFT_TRY(paths_write(&s));
  for (unsigned i = 0; i < COLUMNS; i++) WEFT_TRY(weft__buf_err(&out->at[i].bytes));
  return WEFT_OK;
}

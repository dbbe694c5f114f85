/* Fields of documents: their values, the order of values, conditions.
 *
 * One order serves sorting, conditions and indexes: null, false, true, numbers by value, strings,
 * bytes, arrays, objects.  Sort keys are that order as bytes, cut to what fits a key of the store,
 * so that an answer is the same with and without an index; conditions compare whole values. */
#include <string.h>

#include "crdt/hlc.h"
#include "crdt/limits.h"
#include "store/query_internal.h"

/* The first byte of a sort key. */
enum {
  KEY_MISSING = 1,
  KEY_NULL,
  KEY_FALSE,
  KEY_TRUE,
  KEY_NUMBER,
  KEY_STRING,
  KEY_BYTES,
  KEY_ARRAY,
  KEY_OBJECT
};

/* --- fields --- */

static bool text_is(weft_bytes text, const char *what) {
  return weft_bytes_cmp(text, weft_bytes_str(what)) == 0;
}

weft_err weft__field_parse(weft_arena *scratch, weft_bytes text, weft_field *out) {
  weft_bytes *tokens;
  size_t count;
  out->pointer = text;
  out->source = WEFT_FIELD_POINTER;
  if (text.len == 0 || text.at[0] != '@') {
    return weft_pointer_split(scratch, text, &tokens, &count);
  }
  if (text_is(text, "@created")) {
    out->source = WEFT_FIELD_CREATED;
  } else if (text_is(text, "@modified")) {
    out->source = WEFT_FIELD_MODIFIED;
  } else if (text_is(text, "@by")) {
    out->source = WEFT_FIELD_BY;
  } else if (text_is(text, "@versions")) {
    out->source = WEFT_FIELD_VERSIONS;
  } else if (text_is(text, "@contributors")) {
    out->source = WEFT_FIELD_CONTRIBUTORS;
  } else {
    return WEFT_EBADPATH;
  }
  return WEFT_OK;
}

static weft_value integer_of(uint64_t v) {
  weft_value value = {.kind = WEFT_INT};
  value.as.integer = v > INT64_MAX ? INT64_MAX : (int64_t)v; /* defensive: 2^63 changes */
  return value;
}

static weft_err hex_of(weft_arena *arena, weft_bytes bytes, weft_bytes *out) {
  static const char digits[] = "0123456789abcdef";
  uint8_t *text = weft__arena_take(arena, 2 * bytes.len);
  if (!text) return WEFT_ENOMEM;
  for (size_t i = 0; i < bytes.len; i++) {
    text[2 * i] = (uint8_t)digits[bytes.at[i] >> 4];
    text[2 * i + 1] = (uint8_t)digits[bytes.at[i] & 15];
  }
  *out = weft_bytes_of(text, 2 * bytes.len);
  return WEFT_OK;
}

static weft_err device_text(const weft_replica *r, const weft_doc_record *record, weft_arena *arena,
                            weft_value *out) {
  if (record->modified.log >= r->log_count) return WEFT_ECORRUPT;
  const weft_id *device = &r->logs[record->modified.log]->device;
  out->kind = WEFT_STRING;
  return hex_of(arena, weft_bytes_of(device->b, sizeof device->b), &out->as.bytes);
}

weft_err weft__field_value(const weft_replica *r, const weft_field *field,
                           const weft_doc_record *record, const weft_doc *doc, weft_arena *arena,
                           bool *there, weft_value *out) {
  *there = true;
  weft_err err = WEFT_OK;
  switch (field->source) {
  case WEFT_FIELD_CREATED: *out = integer_of(weft_hlc_ms(record->created_hlc)); break;
  case WEFT_FIELD_MODIFIED: *out = integer_of(weft_hlc_ms(record->modified_hlc)); break;
  case WEFT_FIELD_VERSIONS: *out = integer_of(record->versions); break;
  case WEFT_FIELD_BY: return device_text(r, record, arena, out);
  case WEFT_FIELD_CONTRIBUTORS: return WEFT_EMISUSE; /* defensive: lists ask elsewhere */
  case WEFT_FIELD_POINTER:
    err = weft__doc_render_pointer(doc, field->pointer, arena, out);
    *there = err == WEFT_OK;
    /* A pointer that does not fit this document finds nothing in it. */
    if (err == WEFT_ENOTFOUND || err == WEFT_EBADPATH || err == WEFT_ELIMIT) return WEFT_OK;
    if (err == WEFT_EMALFORMED) return WEFT_ECORRUPT;
    break;
  }
  return err;
}

/* --- sort keys --- */

static void key_put(weft_sort_key *k, uint8_t byte) { k->b[k->len++] = byte; }

/* Strings end with two zeros; a zero within is followed by ff.  Cut where the end would not fit. */
static void key_put_text(weft_sort_key *k, weft_bytes text) {
  for (size_t i = 0; i < text.len; i++) {
    size_t need = text.at[i] == 0 ? 2 : 1;
    if (k->len + need + 2 > sizeof k->b) break;
    key_put(k, text.at[i]);
    if (text.at[i] == 0) key_put(k, 0xff);
  }
  key_put(k, 0);
  key_put(k, 0);
}

/* The bits of a double as a number that orders like it. */
static uint64_t real_order(double real) {
  uint64_t bits;
  if (real == 0) real = 0; /* both zeros */
  memcpy(&bits, &real, sizeof bits);
  return bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
}

/* A number is the greatest double that is not above it, and what is left: integers beyond 2^53 are
 * up to 1,023 above the double below them. */
static void key_put_number(weft_sort_key *k, double floor, unsigned rest) {
  uint64_t order = real_order(floor);
  for (unsigned i = 0; i < 8; i++) key_put(k, (uint8_t)(order >> (56 - 8 * i)));
  key_put(k, (uint8_t)(rest >> 8));
  key_put(k, (uint8_t)rest);
}

static void key_put_integer(weft_sort_key *k, int64_t v) {
  uint64_t size = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
  unsigned shift = 0;
  while (size >> shift >= UINT64_C(1) << 53) shift++;
  uint64_t rest = size & ((UINT64_C(1) << shift) - 1);
  uint64_t whole = size - rest;
  if (v < 0 && rest > 0) {
    whole += UINT64_C(1) << shift;
    rest = (UINT64_C(1) << shift) - rest;
  }
  double floor = (double)whole;
  key_put_number(k, v < 0 ? -floor : floor, (unsigned)rest);
}

void weft__sort_key(const weft_value *value, weft_sort_key *out) {
  out->len = 0;
  if (!value) {
    key_put(out, KEY_MISSING);
    return;
  }
  switch (value->kind) {
  case WEFT_NULL: key_put(out, KEY_NULL); break;
  case WEFT_BOOL: key_put(out, value->as.boolean ? KEY_TRUE : KEY_FALSE); break;
  case WEFT_INT:
    key_put(out, KEY_NUMBER);
    key_put_integer(out, value->as.integer);
    break;
  case WEFT_DOUBLE:
    key_put(out, KEY_NUMBER);
    key_put_number(out, value->as.real, 0);
    break;
  case WEFT_STRING:
    key_put(out, KEY_STRING);
    key_put_text(out, value->as.bytes);
    break;
  case WEFT_BYTES:
    key_put(out, KEY_BYTES);
    key_put_text(out, value->as.bytes);
    break;
  case WEFT_ARRAY: key_put(out, KEY_ARRAY); break;
  case WEFT_OBJECT: key_put(out, KEY_OBJECT); break;
  }
}

weft_bytes weft__sort_key_view(const weft_sort_key *key) { return weft_bytes_of(key->b, key->len); }

/* Where the text of a key ends: behind two zeros, of which none is followed by ff. */
static size_t key_text_end(weft_bytes key) {
  for (size_t i = 1; i + 1 < key.len; i++) {
    if (key.at[i] != 0) continue;
    if (key.at[i + 1] == 0) return i + 2;
    i++;
  }
  return 0;
}

bool weft__sort_key_split(weft_bytes both, weft_bytes *key, weft_bytes *rest) {
  size_t len = 1;
  if (both.len == 0 || both.at[0] < KEY_MISSING || both.at[0] > KEY_OBJECT) return false;
  if (both.at[0] == KEY_NUMBER) len = 1 + 8 + 2;
  if (both.at[0] == KEY_STRING || both.at[0] == KEY_BYTES) len = key_text_end(both);
  if (len == 0 || len > both.len || len > WEFT_SORT_KEY_LEN_MAX) return false;
  *key = weft_bytes_of(both.at, len);
  *rest = weft_bytes_of(both.at + len, both.len - len);
  return true;
}

/* Whether no other value has this key, but for containers, which are all alike. */
static bool key_exact(weft_bytes key) {
  bool text = key.at[0] == KEY_STRING || key.at[0] == KEY_BYTES;
  return !text || key.len + 2 <= WEFT_SORT_KEY_LEN_MAX; /* a cut one is longer */
}

weft_err weft__field_key(const weft_replica *r, const weft_field *field,
                         const weft_doc_record *record, const weft_doc *doc, weft_arena *arena,
                         weft_sort_key *out) {
  weft_value value;
  bool there;
  WEFT_TRY(weft__field_value(r, field, record, doc, arena, &there, &value));
  weft__sort_key(there ? &value : NULL, out);
  return WEFT_OK;
}

/* --- conditions --- */

static bool has_text(weft_value_kind kind) { return kind == WEFT_STRING || kind == WEFT_BYTES; }

/* Orders whole values. */
static int value_cmp(const weft_value *a, const weft_value *b) {
  if (a->kind == b->kind && has_text(a->kind)) return weft_bytes_cmp(a->as.bytes, b->as.bytes);
  weft_sort_key x, y;
  weft__sort_key(a, &x);
  weft__sort_key(b, &y);
  return weft_bytes_cmp(weft__sort_key_view(&x), weft__sort_key_view(&y));
}

/* Orders a field's value against what a condition says. */
static int where_cmp(const weft_where *where, const weft_value *value) {
  if (value->kind == WEFT_STRING && where->text.len > 0) {
    return weft_bytes_cmp(value->as.bytes, where->text);
  }
  return value_cmp(value, &where->value);
}

static uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c; }

static bool text_contains(weft_bytes text, weft_bytes part) {
  for (size_t at = 0; at + part.len <= text.len; at++) {
    size_t same = 0;
    while (same < part.len && lower(text.at[at + same]) == lower(part.at[same])) same++;
    if (same == part.len) return true;
  }
  return false;
}

static bool contains(const weft_where *where, const weft_value *value) {
  if (value->kind == WEFT_STRING) {
    if (where->text.len > 0) return text_contains(value->as.bytes, where->text);
    return where->value.kind == WEFT_STRING &&
           text_contains(value->as.bytes, where->value.as.bytes);
  }
  if (value->kind != WEFT_ARRAY) return false;
  for (size_t i = 0; i < value->as.array.count; i++) {
    if (where_cmp(where, &value->as.array.at[i]) == 0) return true;
  }
  return false;
}

bool weft__where_holds(const weft_where *where, const weft_value *value) {
  if (!value) return where->op == WEFT_WHERE_NE;
  switch (where->op) {
  case WEFT_WHERE_EQ: return where_cmp(where, value) == 0;
  case WEFT_WHERE_NE: return where_cmp(where, value) != 0;
  case WEFT_WHERE_LT: return where_cmp(where, value) < 0;
  case WEFT_WHERE_LE: return where_cmp(where, value) <= 0;
  case WEFT_WHERE_GT: return where_cmp(where, value) > 0;
  case WEFT_WHERE_GE: return where_cmp(where, value) >= 0;
  case WEFT_WHERE_CONTAINS: return contains(where, value);
  }
  return false; /* defensive: an operator that is none */
}

/* What a condition compares values of a kind with, as a key. */
static void where_key(const weft_where *where, uint8_t kind, weft_sort_key *out) {
  weft_value text = {.kind = WEFT_STRING, .as.bytes = where->text};
  weft__sort_key(kind == KEY_STRING && where->text.len > 0 ? &text : &where->value, out);
}

weft_known_by_key weft__where_by_key(const weft_where *where, weft_bytes key) {
  weft_sort_key want;
  bool holds = false;
  uint8_t kind = key.at[0];
  if (kind == KEY_MISSING) return where->op == WEFT_WHERE_NE ? WEFT_KEY_HOLDS : WEFT_KEY_FAILS;
  where_key(where, kind, &want);
  int order = weft_bytes_cmp(key, weft__sort_key_view(&want));
  if (order == 0 && !key_exact(key)) return WEFT_KEY_UNSURE;
  switch (where->op) {
  case WEFT_WHERE_EQ: holds = order == 0; break;
  case WEFT_WHERE_NE: holds = order != 0; break;
  case WEFT_WHERE_LT: holds = order < 0; break;
  case WEFT_WHERE_LE: holds = order <= 0; break;
  case WEFT_WHERE_GT: holds = order > 0; break;
  case WEFT_WHERE_GE: holds = order >= 0; break;
  case WEFT_WHERE_CONTAINS:
    return kind == KEY_STRING || kind == KEY_ARRAY ? WEFT_KEY_UNSURE : WEFT_KEY_FAILS;
  }
  return holds ? WEFT_KEY_HOLDS : WEFT_KEY_FAILS;
}

size_t weft__where_points(const weft_where *where, weft_sort_key points[WEFT_ZONES]) {
  weft_zone zones[WEFT_ZONES];
  size_t count = 0;
  if (where->op != WEFT_WHERE_EQ) return 0;
  weft__zones_all(zones);
  if (!weft__where_zones(where, zones)) return 0; /* defensive: EQ narrows */
  for (size_t i = 0; i < WEFT_ZONES; i++) {
    weft_bytes from = weft__sort_key_view(&zones[i].from);
    if (zones[i].none) continue;
    if (weft_bytes_cmp(from, weft__sort_key_view(&zones[i].to)) != 0 || !key_exact(from)) return 0;
    points[count++] = zones[i].from;
  }
  return count;
}

/* --- zones --- */

enum { ZONE_BEFORE, ZONE_STRINGS, ZONE_BEHIND };

static void zone_of(weft_zone *zone, uint8_t from, uint8_t to) {
  zone->none = false;
  zone->from.len = zone->to.len = 1;
  zone->from.b[0] = from;
  /* Above every key of the kind: none goes on with ff ff after its first byte and ff. */
  zone->to.b[0] = to;
  zone->to.len = 4;
  memset(zone->to.b + 1, 0xff, 3);
}

void weft__zones_all(weft_zone zones[WEFT_ZONES]) {
  zone_of(&zones[ZONE_BEFORE], KEY_MISSING, KEY_NUMBER);
  zone_of(&zones[ZONE_STRINGS], KEY_STRING, KEY_STRING);
  zone_of(&zones[ZONE_BEHIND], KEY_BYTES, KEY_OBJECT);
}

static void zone_raise(weft_zone *zone, const weft_sort_key *from) {
  if (weft_bytes_cmp(weft__sort_key_view(&zone->from), weft__sort_key_view(from)) < 0) {
    zone->from = *from;
  }
}

static void zone_lower(weft_zone *zone, const weft_sort_key *to) {
  if (weft_bytes_cmp(weft__sort_key_view(&zone->to), weft__sort_key_view(to)) > 0) zone->to = *to;
}

/* Cuts keys may stand for several values, so every bound is kept inclusive. */
static void zone_narrow(weft_zone *zone, weft_where_op op, const weft_sort_key *key) {
  if (op == WEFT_WHERE_EQ || op == WEFT_WHERE_GT || op == WEFT_WHERE_GE) zone_raise(zone, key);
  if (op == WEFT_WHERE_EQ || op == WEFT_WHERE_LT || op == WEFT_WHERE_LE) zone_lower(zone, key);
  if (weft_bytes_cmp(weft__sort_key_view(&zone->from), weft__sort_key_view(&zone->to)) > 0) {
    zone->none = true;
  }
}

bool weft__where_zones(const weft_where *where, weft_zone zones[WEFT_ZONES]) {
  weft_sort_key value, text, null;
  weft_value nothing = {.kind = WEFT_NULL};
  if (where->op == WEFT_WHERE_NE || where->op == WEFT_WHERE_CONTAINS) return false;
  weft__sort_key(&where->value, &value);
  text = value;
  if (where->text.len > 0) {
    weft_value string = {.kind = WEFT_STRING, .as.bytes = where->text};
    weft__sort_key(&string, &text);
  }
  weft__sort_key(&nothing, &null);
  zone_raise(&zones[ZONE_BEFORE], &null); /* what is not there meets no such condition */
  zone_narrow(&zones[ZONE_BEFORE], where->op, &value);
  zone_narrow(&zones[ZONE_STRINGS], where->op, &text);
  zone_narrow(&zones[ZONE_BEHIND], where->op, &value);
  return true;
}

/* --- documents, one after another --- */

weft_err weft__reader_begin(weft_reader *reader, weft_replica *r, weft_txn *txn) {
  memset(reader, 0, sizeof *reader);
  reader->r = r;
  reader->txn = txn;
  weft__arena_init(&reader->arena, &r->mem);
  return weft__doc_new(&reader->doc, &r->mem, &r->lineage);
}

void weft__reader_end(weft_reader *reader) {
  if (!reader->r) return;
  weft__doc_free(reader->doc);
  weft__arena_free(&reader->arena);
  reader->r = NULL;
}

void weft__reader_reset(weft_reader *reader) {
  weft__doc_reset(reader->doc);
  weft__arena_reset(&reader->arena);
}

weft_err weft__reader_load(weft_reader *reader, uint32_t number) {
  weft_state state = {0};
  weft__doc_reset(reader->doc);
  weft_err err = weft__state_begin(&state, &reader->r->state_env, reader->txn, number, reader->doc,
                                   &reader->arena);
  state.borrow = true;
  if (err == WEFT_OK) err = weft__state_need_all(&state);
  for (size_t i = 0; i < state.piece_count; i++) {
    if (state.pieces[i].stored) reader->entries += 1 + state.pieces[i].parts;
  }
  weft__state_end(&state);
  if (err == WEFT_ECORRUPT) return weft__replica_fail(reader->r, err, "a segment is damaged");
  return err;
}

/* --- cursors --- */

enum { MARK_VERSION = 1 };

uint64_t weft__mark_hash(const weft_replica *r, weft_bytes question) {
  uint8_t out[16];
  uint64_t hash;
  r->crypto->siphash128(out, r->state_env.seal.key.b, question);
  memcpy(&hash, out, sizeof hash);
  return hash;
}

void weft__mark_begin(weft_buf *b, uint64_t hash) {
  weft__buf_u8(b, MARK_VERSION);
  weft__buf_u64(b, hash);
}

weft_err weft__mark_text(const weft_buf *b, weft_arena *arena, weft_bytes *out) {
  WEFT_TRY(weft__buf_err(b));
  return hex_of(arena, weft__buf_view(b), out);
}

static bool digit_value(uint8_t c, uint8_t *out) {
  if (c >= '0' && c <= '9') {
    *out = (uint8_t)(c - '0');
  } else if (c >= 'a' && c <= 'f') {
    *out = (uint8_t)(c - 'a' + 10);
  } else {
    return false;
  }
  return true;
}

weft_err weft__mark_read(weft_arena *arena, weft_bytes text, uint64_t hash, weft_rd *out) {
  if (text.len % 2 != 0 || text.len > 4 * WEFT_KEY_LEN_MAX) return WEFT_EMALFORMED;
  uint8_t *bytes = weft__arena_take(arena, text.len / 2);
  if (!bytes) return WEFT_ENOMEM;
  for (size_t i = 0; i < text.len / 2; i++) {
    uint8_t high, low;
    if (!digit_value(text.at[2 * i], &high) || !digit_value(text.at[2 * i + 1], &low)) {
      return WEFT_EMALFORMED;
    }
    bytes[i] = (uint8_t)(high << 4 | low);
  }
  *out = weft__rd(weft_bytes_of(bytes, text.len / 2));
  bool ours = weft__rd_u8(out) == MARK_VERSION && weft__rd_u64(out) == hash;
  return ours && !out->failed ? WEFT_OK : WEFT_EMALFORMED;
}

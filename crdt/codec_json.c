/* JSON text to values and back; jansson does the parsing.
 *
 * Invariants: what jansson sees has no NUL byte, nests at most WEFT_JSON_DEPTH_MAX deep (its parser
 * recurses) and is at most WEFT_JSON_LEN_MAX long.  Nothing of jansson's outlives a call: results
 * are copied into the caller's arena.  Members are sorted here, so the order in which jansson gives
 * them, which it keys by chance, decides nothing.
 *
 * Happy path of reading: scan, reserve, load, convert.  Writing follows the tree and needs jansson
 * only for doubles with many digits, because it formats them alike in every locale.
 *
 * Failure modes: text is refused with place and reason.  jansson takes memory by itself and, when
 * a token grows while there is none, loses bytes of it without notice; therefore as much as a parse
 * can need is asked for, and given back, right before it. */
#include <jansson.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "crdt/assert.h"
#include "crdt/canary.h"
#include "crdt/json.h"
#include "crdt/limits.h"

/* --- reading --- */

/* Says in `why` what is wrong at byte `offset`; SIZE_MAX when no place is known.  Bytes of the text
 * may be quoted in `clause`: what could steer a terminal becomes '?'. */
static weft_err refuse(weft_json_error *why, weft_bytes text, size_t offset, const char *clause,
                       weft_err err) {
  if (!why) return err;
  memset(why, 0, sizeof *why);
  /* Jansson's clauses quote at most 20 bytes: they are shorter than `text`. */
  for (size_t i = 0; clause[i] && i + 1 < sizeof why->text; i++) { /* defensive: clauses fit */
    uint8_t c = (uint8_t)clause[i];
    why->text[i] = (char)(c < 0x20 || c >= 0x7f ? '?' : c);
  }
  if (offset == SIZE_MAX) return err;
  why->line = why->column = 1;
  for (size_t i = 0; i < offset && i < text.len; i++) {
    why->column++;
    if (text.at[i] != '\n') continue;
    why->line++;
    why->column = 1;
  }
  return err;
}

/* Checks what must hold before jansson sees the text, in one pass that believes nothing; `need` is
 * set to more memory than jansson will take at any one time. */
static weft_err json_scan(weft_bytes text, weft_json_error *why, size_t *need) {
  size_t depth = 0, containers = 0, marks = 0;
  bool quoted = false;
  if (text.len > WEFT_JSON_LEN_MAX) return refuse(why, text, SIZE_MAX, "too long", WEFT_ELIMIT);
  for (size_t i = 0; i < text.len; i++) {
    uint8_t c = text.at[i];
    if (c == 0) return refuse(why, text, i, "NUL byte", WEFT_EMALFORMED);
    if (quoted) {
      if (c == '"') quoted = false;
      if (c == '\\' && i + 1 < text.len && text.at[i + 1] != 0) i++;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      containers++;
      if (++depth > WEFT_JSON_DEPTH_MAX) {
        return refuse(why, text, i, "nested too deep", WEFT_ELIMIT);
      }
    } else if (c == ']' || c == '}') {
      if (depth > 0) depth--;
    } else if (c == ',' || c == ':') {
      marks++;
    }
  }
  /* jansson 2.14: a container starts with at most 224 bytes; a further element or member takes at
   * most 160 with its share of a table that doubles; text is held as token, copy and old token. */
  *need = 256 * containers + 160 * marks + 4 * text.len + 4096;
  return WEFT_OK;
}

/* Asks jansson's own allocator for `need` bytes and gives them back. */
static bool memory_is_there(size_t need) {
  json_malloc_t take;
  json_free_t give;
  json_get_alloc_funcs(&take, &give);
  void *at = take(need);
  give(at);
  return at != NULL;
}

/* jansson takes a string that it found no memory for as a bad token: memory is asked for again. */
static weft_err load_refused(const json_error_t *error, weft_bytes text, size_t need,
                             weft_json_error *why) {
  if (error->text[0] == 0 || !memory_is_there(need)) {
    return refuse(why, text, SIZE_MAX, "out of memory", WEFT_ENOMEM);
  }
  size_t offset = error->position > 0 ? (size_t)error->position - 1 : 0;
  bool range = json_error_code(error) == json_error_numeric_overflow;
  return refuse(why, text, offset, error->text, range ? WEFT_ELIMIT : WEFT_EMALFORMED);
}

/* A container of jansson's whose children are being taken over. */
typedef struct convert_level {
  json_t *from;
  void *member; /* jansson's iterator, of an object */
  weft_value *elements;
  weft_member *members;
  size_t count;
  size_t idx;
} convert_level;

static int member_order(const void *a, const void *b) {
  return weft_bytes_cmp(((const weft_member *)a)->key, ((const weft_member *)b)->key);
}

static weft_err convert_open(weft_arena *arena, json_t *from, weft_value *out,
                             convert_level *level) {
  memset(level, 0, sizeof *level);
  level->from = from;
  if (json_is_array(from)) {
    level->count = json_array_size(from);
    level->elements = weft__arena_zero(arena, level->count, sizeof *level->elements);
    if (!level->elements) return WEFT_ENOMEM;
    out->kind = WEFT_ARRAY;
    out->as.array.at = level->elements;
    out->as.array.count = level->count;
    return WEFT_OK;
  }
  level->count = json_object_size(from);
  level->member = json_object_iter(from);
  level->members = weft__arena_zero(arena, level->count, sizeof *level->members);
  if (!level->members) return WEFT_ENOMEM;
  out->kind = WEFT_OBJECT;
  out->as.object.at = level->members;
  out->as.object.count = level->count;
  return WEFT_OK;
}

/* Steps to the next child: where it comes from and where it goes. */
static weft_err convert_child(weft_arena *arena, convert_level *level, json_t **from,
                              weft_value **slot) {
  size_t idx = level->idx++;
  if (level->elements) {
    *from = json_array_get(level->from, idx);
    *slot = &level->elements[idx];
    return WEFT_OK;
  }
  weft_bytes key = weft_bytes_str(json_object_iter_key(level->member));
  *from = json_object_iter_value(level->member);
  *slot = &level->members[idx].value;
  level->member = json_object_iter_next(level->from, level->member);
  if (key.len > WEFT_NAME_LEN_MAX) return WEFT_ELIMIT;
  return weft__arena_copy(arena, key, &level->members[idx].key);
}

static weft_err convert_scalar(weft_arena *arena, const json_t *from, weft_value *out) {
  switch (json_typeof(from)) {
  case JSON_STRING:
    out->kind = WEFT_STRING;
    if (json_string_length(from) > WEFT_TEXT_LEN_MAX) return WEFT_ELIMIT;
    return weft__arena_copy(arena, weft_bytes_of(json_string_value(from), json_string_length(from)),
                            &out->as.bytes);
  case JSON_INTEGER:
    out->kind = WEFT_INT;
    out->as.integer = json_integer_value(from);
    break;
  case JSON_REAL:
    out->kind = WEFT_DOUBLE;
    out->as.real = json_real_value(from);
    break;
  case JSON_TRUE:
  case JSON_FALSE:
    out->kind = WEFT_BOOL;
    out->as.boolean = json_is_true(from);
    break;
  case JSON_NULL:
  case JSON_ARRAY: /* defensive: containers went another way */
  case JSON_OBJECT: out->kind = WEFT_NULL; break;
  }
  return WEFT_OK;
}

static weft_err convert(weft_arena *arena, json_t *from, weft_value *out) {
  convert_level stack[WEFT_JSON_DEPTH_MAX];
  size_t depth = 0;
  weft_value *slot = out;
  for (;;) {
    if (json_is_array(from) || json_is_object(from)) {
      WEFT_TRY(convert_open(arena, from, slot, &stack[depth]));
      depth++;
    } else {
      WEFT_TRY(convert_scalar(arena, from, slot));
    }
    while (depth > 0 && stack[depth - 1].idx == stack[depth - 1].count) {
      convert_level *done = &stack[--depth];
      if (done->members) qsort(done->members, done->count, sizeof *done->members, member_order);
    }
    if (depth == 0) return WEFT_OK;
    WEFT_TRY(convert_child(arena, &stack[depth - 1], &from, &slot));
  }
}

static json_t *load(weft_bytes text, json_error_t *error) {
  memset(error, 0, sizeof *error);
  return json_loadb(text.len > 0 ? (const char *)text.at : "", text.len,
                    (WEFT_CANARY(JSON_TWICE) ? 0 : JSON_REJECT_DUPLICATES) | JSON_DECODE_ANY |
                        JSON_ALLOW_NUL,
                    error);
}

weft_err weft_json_parse(weft_arena *arena, weft_bytes text, weft_value *out,
                         weft_json_error *why) {
  size_t need = 0;
  if (why) memset(why, 0, sizeof *why);
  WEFT_TRY(json_scan(text, why, &need));
  if (!memory_is_there(need)) return refuse(why, text, SIZE_MAX, "out of memory", WEFT_ENOMEM);
  json_error_t error;
  json_t *root = load(text, &error);
  /* jansson takes a lack of memory in some places as wrong text: what it refuses, it reads twice.
   */
  if (!root) root = load(text, &error);
  if (!root) return load_refused(&error, text, need, why);
  weft_value v = {WEFT_NULL, {false}};
  weft_err err = convert(arena, root, &v);
  json_decref(root);
  if (err == WEFT_ENOMEM) return refuse(why, text, SIZE_MAX, "out of memory", err);
  if (err != WEFT_OK) return refuse(why, text, SIZE_MAX, "key or string too long", err);
  *out = v;
  return WEFT_OK;
}

/* --- writing --- */

/* The escape of one character, or NULL when it stands for itself; `room` holds the long form. */
static const char *escape_of(uint8_t c, char room[7]) {
  static const char digits[] = "0123456789abcdef";
  switch (c) {
  case '"': return "\\\"";
  case '\\': return "\\\\";
  case '\b': return "\\b";
  case '\f': return "\\f";
  case '\n': return "\\n";
  case '\r': return "\\r";
  case '\t': return "\\t";
  default: break;
  }
  if (c >= 0x20) return NULL;
  memcpy(room, "\\u00", 4);
  room[4] = digits[c >> 4];
  room[5] = digits[c & 15];
  room[6] = 0;
  return room;
}

void weft_json_write_string(weft_buf *b, weft_bytes text) {
  if (!weft__utf8_ok(text)) {
    weft__buf_fail(b, WEFT_EBADVALUE);
    return;
  }
  char room[7];
  size_t from = 0;
  weft__buf_u8(b, '"');
  for (size_t i = 0; i < text.len; i++) {
    const char *escape = escape_of(text.at[i], room);
    if (!escape) continue;
    weft__buf_put_raw(b, text.at + from, i - from);
    weft__buf_put_raw(b, escape, strlen(escape));
    from = i + 1;
  }
  if (text.len > 0) weft__buf_put_raw(b, text.at + from, text.len - from);
  weft__buf_u8(b, '"');
}

/* Writes `v` with a point before its last `decimals` digits. */
static void write_digits(weft_buf *b, uint64_t v, size_t decimals) {
  uint8_t text[24];
  size_t at = sizeof text;
  for (size_t digits = 0; v > 0 || digits <= decimals; digits++) {
    if (digits == decimals && digits > 0) text[--at] = '.';
    text[--at] = (uint8_t)('0' + v % 10);
    v /= 10;
  }
  weft__buf_put_raw(b, text + at, sizeof text - at);
}

static void write_integer(weft_buf *b, int64_t v) {
  if (v < 0) weft__buf_u8(b, '-');
  write_digits(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 0);
}

/* Registers that are wider than a double would round twice, and write another text. */
_Static_assert(FLT_EVAL_METHOD == 0 || FLT_EVAL_METHOD == 1, "doubles are computed as doubles");

/* Writes doubles with few decimals, which most are.  An integer below 2^53 and a power of ten up to
 * 10^22 are exact as doubles and division rounds correctly, so digits whose quotient is `size` read
 * back as `size`; the least number of decimals is tried first.  False when it is none of these. */
static bool write_double_plain(weft_buf *b, double size) {
  static const double tens[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
  if (size >= 1e15 || (size < 1e-5 && size > 0)) return false;
  for (size_t decimals = 0; decimals < sizeof tens / sizeof *tens; decimals++) {
    double scaled = size * tens[decimals] + 0.5;
    if (scaled >= 0x1p53) return false;
    uint64_t digits = (uint64_t)scaled;
    if ((double)digits / tens[decimals] != size) continue;
    write_digits(b, digits, decimals);
    if (decimals == 0) weft__buf_put_raw(b, ".0", 2);
    return true;
  }
  return false;
}

/* Writes the fewest significant digits that read back as `size`.  Any double needs at most 17, and
 * at least 15 show all of a normal one; those below DBL_MIN have fewer. */
static weft_err write_double_long(weft_buf *b, json_t *real, double size) {
  char text[40];
  for (size_t digits = size < DBL_MIN ? 1 : 15;; digits++) {
    size_t len = json_dumpb(real, text, sizeof text, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
    if (len == 0) return WEFT_ENOMEM;
    WEFT_ASSERT(len <= sizeof text); /* a sign, 17 digits, a point, and an exponent of 5 */
    json_error_t error;
    memset(&error, 0, sizeof error);
    json_t *back = json_loadb(text, len, JSON_DECODE_ANY, &error);
    /* Rounded up, the greatest doubles leave the range. */
    if (!back && json_error_code(&error) != json_error_numeric_overflow) return WEFT_ENOMEM;
    bool same = back && json_number_value(back) == size;
    json_decref(back);
    if (!same && digits < 17) continue;
    weft__buf_put_raw(b, text, len);
    return WEFT_OK;
  }
}

static void write_double(weft_buf *b, double d) {
  if (signbit(d)) weft__buf_u8(b, '-');
  double size = fabs(d);
  if (write_double_plain(b, size)) return;
  json_t *real = json_real(size);
  weft_err err = real ? write_double_long(b, real, size) : WEFT_ENOMEM;
  json_decref(real);
  if (err != WEFT_OK) weft__buf_fail(b, err);
}

static void write_base64(weft_buf *b, weft_bytes bytes) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < bytes.len; i += 3) {
    size_t left = bytes.len - i;
    uint32_t v = (uint32_t)bytes.at[i] << 16;
    if (left > 1) v |= (uint32_t)bytes.at[i + 1] << 8;
    if (left > 2) v |= bytes.at[i + 2];
    char text[4] = {digits[v >> 18], digits[v >> 12 & 63], left > 1 ? digits[v >> 6 & 63] : '=',
                    left > 2 ? digits[v & 63] : '='};
    weft__buf_put_raw(b, text, sizeof text);
  }
}

static void write_scalar(weft_buf *b, const weft_value *v) {
  switch (v->kind) {
  case WEFT_NULL: weft__buf_put(b, weft_bytes_str("null")); return;
  case WEFT_BOOL: weft__buf_put(b, weft_bytes_str(v->as.boolean ? "true" : "false")); return;
  case WEFT_INT: write_integer(b, v->as.integer); return;
  case WEFT_DOUBLE:
    if (!isfinite(v->as.real)) break;
    write_double(b, v->as.real);
    return;
  case WEFT_STRING: weft_json_write_string(b, v->as.bytes); return;
  case WEFT_BYTES:
    weft__buf_put(b, weft_bytes_str("{\"$bytes\":\""));
    write_base64(b, v->as.bytes);
    weft__buf_put(b, weft_bytes_str("\"}"));
    return;
  case WEFT_ARRAY:         /* defensive: the walk opens containers */
  case WEFT_OBJECT: break; /* defensive: the walk opens containers */
  }
  weft__buf_fail(b, WEFT_EBADVALUE);
}

/* With `indent` 0 all on one line. */
static void write_break(weft_buf *b, unsigned indent, size_t depth) {
  if (indent == 0) return;
  weft__buf_u8(b, '\n');
  for (size_t i = 0; i < indent * depth; i++) weft__buf_u8(b, ' ');
}

static void write_tree(weft_buf *b, const weft_value *v, unsigned indent) {
  weft_walk w;
  weft__walk_init(&w, v);
  for (;;) {
    weft_walk_event event = weft__walk_next(&w);
    if (event == WEFT_WALK_END || weft__buf_err(b) != WEFT_OK) return;
    if (event == WEFT_WALK_TOO_DEEP) {
      weft__buf_fail(b, WEFT_ELIMIT);
      return;
    }
    if (event == WEFT_WALK_CLOSE) {
      bool array = w.value->kind == WEFT_ARRAY;
      if ((array ? w.value->as.array.count : w.value->as.object.count) > 0) {
        write_break(b, indent, w.depth);
      }
      weft__buf_u8(b, array ? ']' : '}');
      continue;
    }
    size_t around = event == WEFT_WALK_OPEN ? w.depth - 1 : w.depth;
    if (w.idx > 0) weft__buf_u8(b, ',');
    if (around > 0) write_break(b, indent, around);
    if (w.key) {
      weft_json_write_string(b, *w.key);
      weft__buf_put_raw(b, ": ", indent > 0 ? 2 : 1);
    }
    if (event == WEFT_WALK_OPEN) {
      weft__buf_u8(b, w.value->kind == WEFT_ARRAY ? '[' : '{');
    } else {
      write_scalar(b, w.value);
    }
  }
}

void weft_json_write(weft_buf *b, const weft_value *v) { write_tree(b, v, 0); }

void weft_json_write_pretty(weft_buf *b, const weft_value *v, unsigned indent) {
  if (indent < 1 || indent > 8) {
    weft__buf_fail(b, WEFT_EMISUSE);
    return;
  }
  write_tree(b, v, indent);
}

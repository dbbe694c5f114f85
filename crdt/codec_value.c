/* Values as canonical msgpack.
 *
 * Invariants: one value has one encoding, and bytes that are no canonical encoding are refused, so
 * that equal bytes and equal content mean the same.  msgpack-c never sees bytes that were not
 * scanned here first: it believes counts, so five bytes would reserve gigabytes, and it lets second
 * encodings, bad UTF-8 and doubled keys pass.
 *
 * Happy path: encoding hands scalars and headers to msgpack-c's packers, which write the shortest
 * form; decoding scans, then builds the tree container by container and lets msgpack-c unpack the
 * scalars.  It unpacks scalars only: its own stack ends at 32 levels where documents go deeper, and
 * for scalars it allocates nothing.  Failure modes: damage is WEFT_EMALFORMED, excess WEFT_ELIMIT.
 */
#include <msgpack.h>
#include <string.h>

#include "crdt/limits.h"
#include "crdt/value.h"

/* --- reading one header --- */

typedef enum item_kind {
  ITEM_BAD, /* cut short, a second encoding, or nothing that values have */
  ITEM_SIMPLE,
  ITEM_BIG, /* an integer beyond int64 */
  ITEM_TEXT,
  ITEM_BLOB,
  ITEM_ARRAY,
  ITEM_MAP
} item_kind;

typedef struct item {
  item_kind kind;
  size_t count;    /* ITEM_ARRAY: elements; ITEM_MAP: members */
  weft_bytes text; /* ITEM_TEXT and ITEM_BLOB: the content */
} item;

static const item item_bad = {ITEM_BAD, 0, {NULL, 0}};

static item item_of(item_kind kind) {
  item it = {kind, 0, {NULL, 0}};
  return it;
}

/* Reads the `len` bytes of a header's number, which a shorter header could not hold when it is
 * below `least`. */
static bool number_read(weft_rd *r, size_t len, uint64_t least, uint64_t *v) {
  weft_bytes b = weft__rd_take(r, len);
  *v = 0;
  for (size_t i = 0; i < b.len; i++) *v = *v << 8 | b.at[i];
  return !r->failed && *v >= least;
}

static item item_unsigned(weft_rd *r, size_t len, uint64_t least) {
  uint64_t v;
  if (!number_read(r, len, least, &v)) return item_bad;
  return item_of(v > INT64_MAX ? ITEM_BIG : ITEM_SIMPLE);
}

/* A signed form is canonical for negatives only, and only below what the next shorter one holds. */
static item item_signed(weft_rd *r, size_t len, int64_t below) {
  uint64_t v;
  if (!number_read(r, len, 0, &v)) return item_bad;
  uint64_t sign = (uint64_t)1 << (8 * len - 1);
  int64_t wide = (int64_t)((v ^ sign) - sign);
  return wide < below ? item_of(ITEM_SIMPLE) : item_bad;
}

static item item_double(weft_rd *r) {
  uint64_t bits = weft__rd_u64(r);
  bool finite = (bits >> 52 & 0x7ff) != 0x7ff;
  return !r->failed && finite ? item_of(ITEM_SIMPLE) : item_bad;
}

static item item_content(weft_rd *r, item_kind kind, uint64_t len) {
  item it = {kind, 0, {NULL, 0}};
  if (len > weft__rd_left(r)) return item_bad;
  it.text = weft__rd_take(r, (size_t)len);
  if (kind == ITEM_TEXT && !weft__utf8_ok(it.text)) return item_bad;
  return it;
}

static item item_counted(weft_rd *r, item_kind kind, size_t len, uint64_t least) {
  uint64_t count;
  if (!number_read(r, len, least, &count)) return item_bad;
  if (kind == ITEM_TEXT || kind == ITEM_BLOB) return item_content(r, kind, count);
  item it = {kind, (size_t)count, {NULL, 0}};
  return it;
}

/* Headers c0 to df.  Those not listed are unused (c1), ext (c7 to c9, d4 to d8) or float 32 (ca).
 */
static item item_marked(weft_rd *r, uint8_t head) {
  switch (head) {
  case 0xc0:
  case 0xc2:
  case 0xc3: return item_of(ITEM_SIMPLE);
  case 0xc4: return item_counted(r, ITEM_BLOB, 1, 0);
  case 0xc5: return item_counted(r, ITEM_BLOB, 2, 0x100);
  case 0xc6: return item_counted(r, ITEM_BLOB, 4, 0x10000);
  case 0xcb: return item_double(r);
  case 0xcc: return item_unsigned(r, 1, 0x80);
  case 0xcd: return item_unsigned(r, 2, 0x100);
  case 0xce: return item_unsigned(r, 4, 0x10000);
  case 0xcf: return item_unsigned(r, 8, 0x100000000);
  case 0xd0: return item_signed(r, 1, -32);
  case 0xd1: return item_signed(r, 2, INT8_MIN);
  case 0xd2: return item_signed(r, 4, INT16_MIN);
  case 0xd3: return item_signed(r, 8, INT32_MIN);
  case 0xd9: return item_counted(r, ITEM_TEXT, 1, 32);
  case 0xda: return item_counted(r, ITEM_TEXT, 2, 0x100);
  case 0xdb: return item_counted(r, ITEM_TEXT, 4, 0x10000);
  case 0xdc: return item_counted(r, ITEM_ARRAY, 2, 16);
  case 0xdd: return item_counted(r, ITEM_ARRAY, 4, 0x10000);
  case 0xde: return item_counted(r, ITEM_MAP, 2, 16);
  case 0xdf: return item_counted(r, ITEM_MAP, 4, 0x10000);
  default: return item_bad;
  }
}

/* Reads a scalar whole, of a container the header. */
static item item_read(weft_rd *r) {
  uint8_t head = weft__rd_u8(r);
  if (r->failed) return item_bad;
  if (head < 0x80 || head >= 0xe0) return item_of(ITEM_SIMPLE);
  if (head >= 0xc0) return item_marked(r, head);
  if (head >= 0xa0) return item_content(r, ITEM_TEXT, head & 0x1f);
  item it = {head >= 0x90 ? ITEM_ARRAY : ITEM_MAP, head & 0x0f, {NULL, 0}};
  return it;
}

/* --- the scan --- */

typedef struct scan_level {
  uint64_t left;  /* items to come; of a map keys and values */
  bool is_map;    /* then an even `left` means that a key comes */
  bool first;     /* no key was seen yet */
  weft_bytes key; /* the last one */
} scan_level;

/* Takes note of one item at `level`; false when it stands where a key must and is none, or when
 * keys do not ascend. */
static bool scan_place(scan_level *level, item it) {
  bool is_key = level->is_map && level->left % 2 == 0;
  level->left--;
  if (!is_key) return true;
  if (it.kind != ITEM_TEXT) return false;
  if (!level->first && weft_bytes_cmp(level->key, it.text) >= 0) return false;
  level->first = false;
  level->key = it.text;
  return true;
}

weft_err weft__msgpack_check(weft_bytes in, unsigned depth_max, size_t items_max) {
  scan_level stack[WEFT_JSON_DEPTH_MAX];
  if (depth_max > WEFT_JSON_DEPTH_MAX) return WEFT_EMISUSE;
  weft_rd r = weft__rd(in);
  unsigned depth = 0;
  uint64_t owed =
      1; /* items promised over all levels and not yet read: each takes a byte or more */
  for (size_t items = 0; owed > 0; items++) {
    if (items == items_max) return WEFT_ELIMIT;
    item it = item_read(&r);
    if (it.kind == ITEM_BAD) return WEFT_EMALFORMED;
    if (depth > 0 && !scan_place(&stack[depth - 1], it)) return WEFT_EMALFORMED;
    owed--;
    if (it.kind == ITEM_ARRAY || it.kind == ITEM_MAP) {
      uint64_t promised = it.kind == ITEM_MAP ? 2 * (uint64_t)it.count : it.count;
      owed += promised;
      if (owed > weft__rd_left(&r)) return WEFT_EMALFORMED;
      if (depth == depth_max) return WEFT_ELIMIT;
      stack[depth++] = (scan_level){promised, it.kind == ITEM_MAP, true, {NULL, 0}};
    }
    while (depth > 0 && stack[depth - 1].left == 0) depth--;
  }
  return weft__rd_done(&r) ? WEFT_OK : WEFT_EMALFORMED;
}

/* --- scalars --- */

size_t weft__scalar_len(weft_bytes in) {
  weft_rd r = weft__rd(in);
  item it = item_read(&r);
  size_t len = in.len - weft__rd_left(&r);
  switch (it.kind) {
  case ITEM_SIMPLE: return len;
  case ITEM_TEXT:
  case ITEM_BLOB: return len <= WEFT_VALUE_LEN_MAX ? len : 0;
  case ITEM_BAD:
  case ITEM_BIG:
  case ITEM_ARRAY:
  case ITEM_MAP: break;
  }
  return 0;
}

/* Takes over what msgpack-c unpacked; false for what values have not. */
static bool value_of_object(const msgpack_object *o, weft_value *out) {
  switch ((int)o->type) {
  case MSGPACK_OBJECT_NIL: out->kind = WEFT_NULL; return true;
  case MSGPACK_OBJECT_BOOLEAN:
    out->kind = WEFT_BOOL;
    out->as.boolean = o->via.boolean;
    return true;
  case MSGPACK_OBJECT_POSITIVE_INTEGER: /* scanned: within int64 */
  case MSGPACK_OBJECT_NEGATIVE_INTEGER:
    out->kind = WEFT_INT;
    out->as.integer = o->via.i64;
    return true;
  case MSGPACK_OBJECT_FLOAT64:
    out->kind = WEFT_DOUBLE;
    out->as.real = o->via.f64;
    return true;
  case MSGPACK_OBJECT_STR:
    out->kind = WEFT_STRING;
    out->as.bytes = weft_bytes_of(o->via.str.ptr, o->via.str.size);
    return true;
  case MSGPACK_OBJECT_BIN:
    out->kind = WEFT_BYTES;
    out->as.bytes = weft_bytes_of(o->via.bin.ptr, o->via.bin.size);
    return true;
  default: return false; /* defensive: the scan lets nothing else pass */
  }
}

/* Unpacks the scalar that starts `in` and was scanned. */
static weft_err scalar_unpack(weft_bytes in, weft_value *out, size_t *len) {
  msgpack_unpacked one;
  msgpack_unpacked_init(&one);
  size_t used = 0;
  int got = msgpack_unpack_next(&one, (const char *)in.at, in.len, &used);
  weft_value v = {WEFT_NULL, {false}};
  bool ok = got == MSGPACK_UNPACK_SUCCESS && value_of_object(&one.data, &v);
  msgpack_unpacked_destroy(&one);
  if (!ok) return WEFT_ENOMEM; /* what was scanned, msgpack-c takes, given memory */
  *out = v;
  *len = used;
  return WEFT_OK;
}

/* How many bytes stand before the text of a scanned string; 0: it is none. */
static size_t text_head(uint8_t first) {
  if ((first & 0xe0) == 0xa0) return 1;
  return first == 0xd9 ? 2 : first == 0xda ? 3 : first == 0xdb ? 5 : 0;
}

/* Most values are strings, and of one that was scanned nothing is left to unpack: msgpack-c would
 * take a piece of memory for each. */
weft_err weft__scalar_decode(weft_bytes in, weft_value *out) {
  size_t len = weft__scalar_len(in);
  if (len == 0 || len != in.len) return WEFT_EMALFORMED;
  size_t head = text_head(in.at[0]);
  if (head == 0) return scalar_unpack(in, out, &len);
  *out = (weft_value){.kind = WEFT_STRING, .as.bytes = {in.at + head, len - head}};
  return WEFT_OK;
}

static int pack_write(void *data, const char *bytes, size_t len) {
  weft_buf *b = data;
  weft__buf_put_raw(b, bytes, len);
  return weft__buf_err(b) == WEFT_OK ? 0 : -1;
}

/* The packers report only what pack_write returned, which `b` remembers by itself. */
static void scalar_pack(weft_buf *b, const weft_value *v) {
  msgpack_packer packer;
  msgpack_packer_init(&packer, b, pack_write);
  switch (v->kind) {
  case WEFT_NULL: (void)msgpack_pack_nil(&packer); break;
  case WEFT_BOOL:
    (void)(v->as.boolean ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer));
    break;
  case WEFT_INT: (void)msgpack_pack_int64(&packer, v->as.integer); break;
  case WEFT_DOUBLE: (void)msgpack_pack_double(&packer, v->as.real); break;
  case WEFT_STRING:
    (void)msgpack_pack_str(&packer, v->as.bytes.len);
    weft__buf_put(b, v->as.bytes);
    break;
  case WEFT_BYTES:
    (void)msgpack_pack_bin(&packer, v->as.bytes.len);
    weft__buf_put(b, v->as.bytes);
    break;
  case WEFT_ARRAY: (void)msgpack_pack_array(&packer, v->as.array.count); break;
  case WEFT_OBJECT: (void)msgpack_pack_map(&packer, v->as.object.count); break;
  }
}

void weft__scalar_encode(weft_buf *b, const weft_value *v) {
  weft_err err = weft__scalar_check(v);
  if (err != WEFT_OK) {
    weft__buf_fail(b, err);
    return;
  }
  scalar_pack(b, v);
}

/* --- trees --- */

void weft__value_encode(weft_buf *b, const weft_value *v) {
  weft_err err = weft_value_check(v);
  if (err != WEFT_OK) {
    weft__buf_fail(b, err);
    return;
  }
  weft_walk w;
  weft__walk_init(&w, v);
  for (;;) {
    weft_walk_event event = weft__walk_next(&w);
    if (event == WEFT_WALK_END) return;
    if (event == WEFT_WALK_CLOSE) continue;
    if (w.key) {
      weft_value key = {WEFT_STRING, {.bytes = *w.key}};
      scalar_pack(b, &key);
    }
    scalar_pack(b, w.value);
  }
}

typedef struct build_level {
  weft_value *elements; /* of an array */
  weft_member *members; /* of an object */
  size_t count;
  size_t idx;
} build_level;

/* Makes room for the children of a container, whose count the scan has held against the input. */
static weft_err build_open(weft_arena *arena, item it, weft_value *out, build_level *level) {
  *level = (build_level){NULL, NULL, it.count, 0};
  if (it.kind == ITEM_ARRAY) {
    level->elements = weft__arena_zero(arena, it.count, sizeof *level->elements);
    if (!level->elements) return WEFT_ENOMEM;
    out->kind = WEFT_ARRAY;
    out->as.array.at = level->elements;
    out->as.array.count = it.count;
    return WEFT_OK;
  }
  level->members = weft__arena_zero(arena, it.count, sizeof *level->members);
  if (!level->members) return WEFT_ENOMEM;
  out->kind = WEFT_OBJECT;
  out->as.object.at = level->members;
  out->as.object.count = it.count;
  return WEFT_OK;
}

/* Reads a member's key into its place. */
static weft_err build_key(weft_arena *arena, weft_rd *r, weft_bytes *key) {
  item it = item_read(r);
  weft_err err = weft__key_check(it.text);
  if (err != WEFT_OK) return err == WEFT_EBADVALUE ? WEFT_EMALFORMED : err;
  return weft__arena_copy(arena, it.text, key);
}

/* Reads one scalar into `out`, its text copied. */
static weft_err build_scalar(weft_arena *arena, weft_bytes in, item it, weft_value *out) {
  size_t len;
  if (it.kind == ITEM_BIG) return WEFT_EMALFORMED;
  WEFT_TRY(scalar_unpack(in, out, &len));
  if (out->kind != WEFT_STRING && out->kind != WEFT_BYTES) return WEFT_OK;
  if (it.text.len > WEFT_TEXT_LEN_MAX) return WEFT_ELIMIT;
  return weft__arena_copy(arena, it.text, &out->as.bytes);
}

weft_err weft__value_decode(weft_arena *arena, weft_bytes in, weft_value *out) {
  WEFT_TRY(weft__msgpack_check(in, WEFT_JSON_DEPTH_MAX, SIZE_MAX));
  build_level stack[WEFT_JSON_DEPTH_MAX];
  size_t depth = 0;
  weft_value root;
  weft_value *slot = &root;
  weft_rd r = weft__rd(in);
  for (;;) {
    weft_bytes rest = weft_bytes_of(r.at, weft__rd_left(&r));
    item it = item_read(&r);
    if (it.kind == ITEM_ARRAY || it.kind == ITEM_MAP) {
      WEFT_TRY(build_open(arena, it, slot, &stack[depth]));
      depth++;
    } else {
      WEFT_TRY(build_scalar(arena, rest, it, slot));
    }
    while (depth > 0 && stack[depth - 1].idx == stack[depth - 1].count) depth--;
    if (depth == 0) break;
    build_level *level = &stack[depth - 1];
    if (level->members) {
      weft_member *member = &level->members[level->idx++];
      WEFT_TRY(build_key(arena, &r, &member->key));
      slot = &member->value;
    } else {
      slot = &level->elements[level->idx++];
    }
  }
  *out = root;
  return WEFT_OK;
}

/* The table of event types, patterns and filters over it, and the bytes of a stored event.
 *
 * Invariants: a type's number is its place in the masks, so there are at most 64; what is written
 * reads back equal.
 * Happy path: a pattern becomes a mask once, and matching an event is one `and`.
 * Failure modes: a pattern that cannot match says so; damaged bytes are WEFT_ECORRUPT. */
#include "crdt/event.h"

#include <string.h>

typedef struct type_row {
  const char *name;
  const char *cause;
  weft_event_kind kind;
  bool known;
} type_row;

enum { TYPES = 64 };

static const type_row rows[TYPES] = {
#define EVENT_ROW(id, number, text, of_kind, why)                                                  \
  [number] = {.name = (text), .cause = (why), .kind = WEFT_EVENT_##of_kind, .known = true},
    WEFT_EVENT_TYPES(EVENT_ROW)
#undef EVENT_ROW
};

static const type_row *row_of(weft_event_type type) {
  bool known = (unsigned)type < TYPES && rows[(unsigned)type].known;
  return &rows[known ? (unsigned)type : WEFT_EVENT_UNKNOWN];
}

const char *weft_event_name(weft_event_type type) { return row_of(type)->name; }
const char *weft_event_cause(weft_event_type type) { return row_of(type)->cause; }
weft_event_kind weft_event_kind_of(weft_event_type type) { return row_of(type)->kind; }

/* --- patterns --- */

/* Takes the next segment; false at the end.  An empty one is given as such. */
static bool segment_next(weft_bytes text, size_t *at, weft_bytes *segment) {
  if (*at > text.len) return false;
  size_t from = *at;
  while (*at < text.len && text.at[*at] != '.') ++*at;
  *segment = weft_bytes_of(text.at + from, *at - from);
  ++*at;
  return true;
}

static bool is_text(weft_bytes a, const char *b) {
  return weft_bytes_cmp(a, weft_bytes_str(b)) == 0;
}

static bool is_word(weft_bytes segment) {
  for (size_t i = 0; i < segment.len; i++) {
    uint8_t c = segment.at[i];
    if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_' && c != '-') return false;
  }
  return segment.len > 0;
}

static bool pattern_ok(weft_bytes pattern) {
  weft_bytes segment;
  bool rest = false;
  for (size_t at = 0; segment_next(pattern, &at, &segment);) {
    if (rest) return false;
    rest = is_text(segment, "**");
    if (!rest && !is_text(segment, "*") && !is_word(segment)) return false;
  }
  return true;
}

static bool pattern_fits(weft_bytes pattern, weft_bytes name) {
  weft_bytes want, is;
  size_t at = 0, to = 0;
  while (segment_next(pattern, &at, &want)) {
    if (is_text(want, "**")) return true;
    if (!segment_next(name, &to, &is)) return false;
    if (!is_text(want, "*") && weft_bytes_cmp(want, is) != 0) return false;
  }
  return !segment_next(name, &to, &is);
}

weft_err weft_event_pattern(weft_bytes pattern, weft_event_mask *mask) {
  *mask = 0;
  if (!pattern_ok(pattern)) return WEFT_EBADVALUE;
  for (unsigned i = 0; i < TYPES; i++) {
    if (!rows[i].known || !pattern_fits(pattern, weft_bytes_str(rows[i].name))) continue;
    *mask |= (weft_event_mask)1 << i;
  }
  return *mask ? WEFT_OK : WEFT_ENOTFOUND;
}

/* --- filters --- */

static bool in_collection(weft_bytes doc, weft_bytes collection) {
  return doc.len > collection.len && doc.at[collection.len] == '/' &&
         memcmp(doc.at, collection.at, collection.len) == 0;
}

static bool is_index(weft_bytes token) {
  if (is_text(token, "-")) return true;
  for (size_t i = 0; i < token.len; i++) {
    if (token.at[i] < '0' || token.at[i] > '9') return false;
  }
  return token.len > 0;
}

static bool step_fits(weft_bytes token, const weft_step *step) {
  if (is_text(token, "*")) return true;
  return step->element ? is_index(token) : weft_bytes_cmp(token, step->name) == 0;
}

static bool path_fits(weft_path path, const weft_event_filter *filter) {
  weft_step step;
  size_t at = 0;
  for (size_t i = 0; i < filter->token_count && weft_path_next(path, &at, &step); i++) {
    if (!step_fits(filter->tokens[i], &step)) return false;
  }
  return true;
}

bool weft_event_passes(const weft_event *event, const weft_event_filter *filter) {
  if (filter->collection.len > 0 && !in_collection(event->doc, filter->collection)) return false;
  if (filter->token_count == 0 || event->path_count >= WEFT_EVENT_PATHS_MAX) return true;
  for (size_t i = 0; i < event->path_count; i++) {
    if (path_fits(event->paths[i], filter)) return true;
  }
  return false;
}

/* --- copies --- */

static void copy_bytes(uint8_t **room, weft_bytes *bytes) {
  if (bytes->len) memcpy(*room, bytes->at, bytes->len);
  bytes->at = *room;
  *room += bytes->len;
}

weft_event *weft__event_copy(const weft_alloc *mem, const weft_event *event) {
  size_t len = sizeof *event + event->path_count * sizeof *event->paths;
  size_t head = len;
  len += event->doc.len + event->text.len;
  for (size_t i = 0; i < event->path_count; i++) len += event->paths[i].len;
  weft_event *copy = mem->alloc(mem->ctx, len);
  if (!copy) return NULL;
  *copy = *event;
  copy->paths = (weft_path *)(void *)(copy + 1);
  uint8_t *room = (uint8_t *)copy + head;
  copy_bytes(&room, &copy->doc);
  copy_bytes(&room, &copy->text);
  for (size_t i = 0; i < event->path_count; i++) {
    copy->paths[i] = event->paths[i];
    copy_bytes(&room, &copy->paths[i]);
  }
  return copy;
}

/* --- bytes --- */

enum { HAS_CHANGE = 1, HAS_DEVICE = 2 };

void weft__event_write(weft_buf *out, const weft_event *event) {
  unsigned flags = (event->has_change ? HAS_CHANGE : 0u) | (event->has_device ? HAS_DEVICE : 0u);
  size_t text = event->text.len < WEFT_EVENT_TEXT_MAX ? event->text.len : WEFT_EVENT_TEXT_MAX;
  size_t paths =
      event->path_count < WEFT_EVENT_PATHS_MAX ? event->path_count : (size_t)WEFT_EVENT_PATHS_MAX;
  /* A cut text must stay UTF-8: not within a character. */
  while (text < event->text.len && text > 0 && (event->text.at[text] & 0xc0) == 0x80) text--;
  weft__buf_u8(out, (uint8_t)event->type);
  weft__buf_u8(out, (uint8_t)flags);
  weft__buf_svarint(out, event->why);
  weft__buf_put_raw(out, event->source.b, sizeof event->source.b);
  weft__buf_varint(out, event->cause > 0 ? event->seq - event->cause : 0);
  weft__buf_varint(out, event->time);
  weft__buf_varint(out, event->count);
  if (event->has_change) weft__buf_put_raw(out, event->change.b, sizeof event->change.b);
  if (event->has_device) weft__buf_put_raw(out, event->device.b, sizeof event->device.b);
  weft__buf_block(out, event->doc);
  weft__buf_block(out, weft_bytes_of(event->text.at, text));
  weft__buf_varint(out, paths);
  for (size_t i = 0; i < paths; i++) weft__buf_block(out, event->paths[i]);
}

weft_err weft__event_read(weft_bytes bytes, uint64_t seq, weft_arena *arena, weft_event *out) {
  weft_rd r = weft__rd(bytes);
  memset(out, 0, sizeof *out);
  uint8_t number = weft__rd_u8(&r);
  unsigned flags = weft__rd_u8(&r);
  bool known = number < TYPES && rows[number].known;
  out->type = known ? (weft_event_type)number : WEFT_EVENT_UNKNOWN;
  out->why = (weft_err)weft__rd_svarint(&r);
  out->source = weft__rd_id(&r);
  uint64_t back = weft__rd_varint(&r);
  out->time = weft__rd_varint(&r);
  out->count = weft__rd_varint(&r);
  out->has_change = (flags & HAS_CHANGE) != 0;
  out->has_device = (flags & HAS_DEVICE) != 0;
  if (out->has_change) out->change = weft__rd_id(&r);
  if (out->has_device) out->device = weft__rd_id(&r);
  out->doc = weft__rd_block(&r);
  out->text = weft__rd_block(&r);
  uint64_t paths = weft__rd_varint(&r);
  if (r.failed || paths > WEFT_EVENT_PATHS_MAX || back >= seq) return WEFT_ECORRUPT;
  out->seq = seq;
  out->cause = back > 0 ? seq - back : 0;
  out->paths = weft__arena_zero(arena, (size_t)paths, sizeof *out->paths);
  if (!out->paths) return WEFT_ENOMEM;
  for (uint64_t i = 0; i < paths; i++) {
    out->paths[i] = weft__rd_block(&r);
    if (r.failed || weft_path_check(out->paths[i]) != WEFT_OK) return WEFT_ECORRUPT;
  }
  out->path_count = (size_t)paths;
  return weft__rd_done(&r) ? WEFT_OK : WEFT_ECORRUPT;
}

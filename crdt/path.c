/* Typed paths, JSON Pointers and document names.
 *
 * Invariants: a checked path is a sequence of whole steps; a step's header is a minimal varint, so
 * a path has one encoding and no step is a prefix of another.  Ancestry is therefore a byte prefix.
 * Happy path: push appends a step, next reads it back.  Failure modes: bytes from outside go
 * through weft_path_check, which names the limit or the damage; walking an unchecked path is our
 * own bug and stops at an assert. */
#include "crdt/path.h"

#include <string.h>

#include "crdt/assert.h"
#include "crdt/canary.h"
#include "crdt/limits.h"
#include "crdt/value.h"

/* What push and check demand of one step; `wrong` is the caller's word for bytes out of place. */
static weft_err step_check(weft_step step, weft_err wrong) {
  if (!step.element) {
    weft_err err = weft__key_check(step.name);
    return err == WEFT_EBADVALUE ? wrong : err;
  }
  if (step.name.len > WEFT_ELEMENT_LEN_MAX) return WEFT_ELIMIT;
  return step.name.len > 0 ? WEFT_OK : wrong;
}

/* Reads one step; false when the bytes end early or the header is not minimal. */
static bool step_read(weft_rd *r, weft_step *step) {
  uint64_t head = weft__rd_varint(r);
  if (head >> 1 > SIZE_MAX) r->failed = true; /* only where size_t is narrower than the varint */
  step->element = head & 1;
  step->name = weft__rd_take(r, (size_t)(head >> 1));
  return !r->failed;
}

bool weft_path_next(weft_path p, size_t *at, weft_step *step) {
  WEFT_ASSERT(*at <= p.len);
  if (*at == p.len) return false;
  weft_rd r = weft__rd(weft_bytes_of(p.at + *at, p.len - *at));
  bool whole = step_read(&r, step);
  WEFT_ASSERT(whole);
  *at = p.len - weft__rd_left(&r);
  return true;
}

weft_err weft_path_check(weft_path p) {
  if (p.len > WEFT_PATH_LEN_MAX) return WEFT_ELIMIT;
  weft_rd r = weft__rd(p);
  for (size_t steps = 0; weft__rd_left(&r) > 0; steps++) {
    weft_step step;
    if (!step_read(&r, &step)) return WEFT_EMALFORMED;
    if (steps == WEFT_PATH_STEPS_MAX) return WEFT_ELIMIT;
    WEFT_TRY(step_check(step, WEFT_EMALFORMED));
  }
  return WEFT_OK;
}

void weft_path_push(weft_buf *b, weft_step step) {
  if (weft__buf_err(b) != WEFT_OK) return;
  size_t before = b->len;
  uint64_t head = (uint64_t)step.name.len << 1 | step.element;
  weft_err err = step_check(step, WEFT_EBADPATH);
  if (err == WEFT_OK && (before + weft__varint_len(head) + step.name.len > WEFT_PATH_LEN_MAX ||
                         weft_path_depth(weft__buf_view(b)) == WEFT_PATH_STEPS_MAX)) {
    err = WEFT_ELIMIT;
  }
  if (err != WEFT_OK) {
    weft__buf_fail(b, err);
    return;
  }
  weft__buf_varint(b, head);
  weft__buf_put(b, step.name);
  if (weft__buf_err(b) != WEFT_OK) b->len = before;
}

size_t weft_path_depth(weft_path p) {
  size_t at = 0, depth = 0;
  weft_step step;
  while (weft_path_next(p, &at, &step)) depth++;
  return depth;
}

weft_path weft_path_head(weft_path p, size_t steps) {
  size_t at = 0;
  weft_step step;
  for (size_t i = 0; i < steps; i++) {
    bool more = weft_path_next(p, &at, &step);
    WEFT_ASSERT(more);
  }
  return weft_bytes_of(p.at, at);
}

weft_path weft_path_parent(weft_path p) {
  size_t at = 0, last = 0;
  weft_step step;
  for (size_t from = 0; weft_path_next(p, &at, &step); from = at) last = from;
  return weft_bytes_of(p.at, last);
}

bool weft_path_last(weft_path p, weft_step *step) {
  size_t at = 0;
  bool any = false;
  while (weft_path_next(p, &at, step)) any = true;
  return any;
}

bool weft_path_under(weft_path p, weft_path q) {
  if (WEFT_CANARY(PATH_LOOSE) && p.len == q.len) return weft_bytes_cmp(p, q) == 0;
  return p.len < q.len && (p.len == 0 || memcmp(p.at, q.at, p.len) == 0);
}

bool weft__path_related(weft_path a, weft_path b) {
  return weft_bytes_cmp(a, b) == 0 || weft_path_under(a, b) || weft_path_under(b, a);
}

/* Unescapes one token in place of `to`; gives its length, or SIZE_MAX for a bad escape. */
static size_t token_unescape(weft_bytes token, uint8_t *to) {
  size_t len = 0;
  for (size_t i = 0; i < token.len; i++) {
    uint8_t c = token.at[i];
    if (c == '~') {
      i++;
      if (i == token.len || (token.at[i] != '0' && token.at[i] != '1')) return SIZE_MAX;
      c = token.at[i] == '0' ? '~' : '/';
    }
    to[len++] = c;
  }
  return len;
}

weft_err weft_pointer_split(weft_arena *arena, weft_bytes pointer, weft_bytes **tokens,
                            size_t *count) {
  *tokens = NULL;
  *count = 0;
  if (pointer.len == 0) return WEFT_OK;
  if (pointer.at[0] != '/' || !weft__utf8_ok(pointer) || memchr(pointer.at, 0, pointer.len))
    return WEFT_EBADPATH;
  size_t slashes = 0;
  for (size_t i = 0; i < pointer.len; i++) slashes += pointer.at[i] == '/';
  if (slashes > WEFT_PATH_STEPS_MAX) return WEFT_ELIMIT;
  weft_bytes *list = weft__arena_zero(arena, slashes, sizeof *list);
  uint8_t *text = weft__arena_take(arena, pointer.len);
  if (!list || !text) return WEFT_ENOMEM;
  const uint8_t *at = pointer.at + 1, *end = pointer.at + pointer.len;
  for (size_t i = 0; i < slashes; i++) {
    const uint8_t *slash = memchr(at, '/', (size_t)(end - at));
    if (!slash) slash = end;
    size_t len = token_unescape(weft_bytes_of(at, (size_t)(slash - at)), text);
    if (len == SIZE_MAX) return WEFT_EBADPATH;
    if (len > WEFT_NAME_LEN_MAX) return WEFT_ELIMIT;
    list[i] = weft_bytes_of(text, len);
    text += len;
    at = slash == end ? end : slash + 1;
  }
  *tokens = list;
  *count = slashes;
  return WEFT_OK;
}

void weft_pointer_push(weft_buf *b, weft_bytes token) {
  weft__buf_u8(b, '/');
  for (size_t i = 0; i < token.len; i++) {
    if (token.at[i] == '~') {
      weft__buf_put_raw(b, "~0", 2);
    } else if (token.at[i] == '/') {
      weft__buf_put_raw(b, "~1", 2);
    } else {
      weft__buf_u8(b, token.at[i]);
    }
  }
}

/* C1 controls, which UTF-8 writes as c2 80 .. c2 9f. */
static bool has_control(weft_bytes text) {
  for (size_t i = 0; i < text.len; i++) {
    /* the text is UTF-8: one more byte is there */
    if (text.at[i] == 0xc2 && text.at[i + 1] < 0xa0) return true;
  }
  return false;
}

static bool segment_ok(weft_bytes s) {
  if (s.len == 0 || s.at[0] == ' ' || s.at[s.len - 1] == ' ') return false;
  return !(s.at[0] == '.' && (s.len == 1 || (s.len == 2 && s.at[1] == '.')));
}

/* Whether eight bytes are ASCII and neither controls nor slashes. */
static bool eight_plain(const uint8_t *at) {
  const uint64_t ones = UINT64_MAX / 255, tops = ones * 0x80;
  uint64_t eight;
  memcpy(&eight, at, sizeof eight);
  uint64_t slash = eight ^ ones * '/', rubout = eight ^ ones * 0x7f;
  uint64_t below = (eight - ones * 0x20) | (slash - ones) | (rubout - ones);
  return ((below | eight) & tops) == 0;
}

weft_err weft_document_name_check(weft_bytes name) {
  if (name.len == 0 || name.len > WEFT_NAME_LEN_MAX) return WEFT_EBADNAME;
  size_t from = 0;
  size_t segments = 0;
  bool ascii = true;
  for (size_t i = 0; i <= name.len; i++) {
    if (name.len - i >= 8 && eight_plain(name.at + i)) {
      i += 7;
      continue;
    }
    uint8_t c = i < name.len ? name.at[i] : '/';
    if (c < 0x20 || c == 0x7f) return WEFT_EBADNAME;
    ascii = ascii && c < 0x80;
    if (c != '/') continue;
    if (!segment_ok(weft_bytes_of(name.at + from, i - from))) return WEFT_EBADNAME;
    segments++;
    from = i + 1;
  }
  if (!ascii && (!weft__utf8_ok(name) || has_control(name))) return WEFT_EBADNAME;
  return segments >= 2 ? WEFT_OK : WEFT_EBADNAME;
}

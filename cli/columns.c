/* Two texts beside each other.
 *
 * Lines are compared as wholes: first what both texts begin and end with alike, then the longest
 * common row of lines between.  What lies between lines that are the same is paired in order.
 * Failure modes: memory.  Texts that are no UTF-8 are measured byte by byte. */
#include "cli/columns.h"

#include <string.h>

#include "cli/escape.h"
#include "crdt/rune.h"

enum { LINES_SURE = 4000 /* the table of the comparison has 4 million places at most */ };

/* --- widths --- */

/* Columns of the character at `at`, whose bytes are `len`; one that nobody sees is escaped. */
static unsigned rune_width(weft_bytes text, size_t at, uint32_t before, uint32_t *rune,
                           size_t *len) {
  char escaped[13];
  *len = weft__rune_read(text, at, rune);
  size_t width = cli_rune_escape(*rune, before, escaped);
  return width > 0 ? (unsigned)width : cli_rune_width(*rune);
}

unsigned cli_text_width(weft_bytes text) {
  unsigned width = 0;
  uint32_t rune, before = 0;
  for (size_t at = 0, len; at < text.len; at += len, before = rune)
    width += rune_width(text, at, before, &rune, &len);
  return width;
}

size_t cli_text_fit(weft_bytes text, unsigned width, unsigned *used) {
  size_t at = 0, len;
  uint32_t rune, before = 0;
  *used = 0;
  for (; at < text.len; at += len, before = rune) {
    unsigned takes = rune_width(text, at, before, &rune, &len);
    if (at > 0 && *used + takes > width) break;
    *used += takes;
  }
  return at;
}

/* --- pairs --- */

typedef struct text_lines {
  weft_bytes *at;
  size_t count;
} text_lines;

static weft_err lines_of(weft_arena *arena, weft_bytes text, text_lines *out) {
  size_t count = 0, from = 0;
  for (size_t i = 0; i < text.len; i++) count += text.at[i] == '\n';
  bool open = text.len > 0 && text.at[text.len - 1] != '\n';
  out->count = 0;
  out->at = weft__arena_zero(arena, count + 1, sizeof *out->at);
  if (!out->at) return WEFT_ENOMEM;
  for (size_t i = 0; i < text.len; i++) {
    if (text.at[i] != '\n') continue;
    out->at[out->count++] = weft_bytes_of(text.at + from, i - from);
    from = i + 1;
  }
  if (open) out->at[out->count++] = weft_bytes_of(text.at + from, text.len - from);
  return WEFT_OK;
}

/* The part of two texts that is compared line by line. */
typedef struct stretch {
  const weft_bytes *left, *right;
  size_t left_count, right_count;
} stretch;

static bool same_line(const stretch *s, size_t i, size_t k) {
  return weft_bytes_cmp(s->left[i], s->right[k]) == 0;
}

typedef struct pair_list {
  cli_pair *at;
  size_t count;
} pair_list;

static void pair_add(pair_list *list, const weft_bytes *left, const weft_bytes *right) {
  cli_pair *pair = &list->at[list->count++];
  *pair = (cli_pair){CLI_PAIR_CHANGED, {NULL, 0}, {NULL, 0}};
  if (left) pair->left = *left;
  if (right) pair->right = *right;
  if (!right)
    pair->kind = CLI_PAIR_LEFT;
  else if (!left)
    pair->kind = CLI_PAIR_RIGHT;
  else if (weft_bytes_cmp(*left, *right) == 0)
    pair->kind = CLI_PAIR_SAME;
}

/* Lines that have no equal: beside each other in order, the longer side alone in the end. */
static void pair_gap(pair_list *list, const stretch *s, size_t from_left, size_t to_left,
                     size_t from_right, size_t to_right) {
  while (from_left < to_left || from_right < to_right) {
    const weft_bytes *left = from_left < to_left ? &s->left[from_left++] : NULL;
    const weft_bytes *right = from_right < to_right ? &s->right[from_right++] : NULL;
    pair_add(list, left, right);
  }
}

/* How long the longest common row of lines is from each place on, row by row of the left. */
static uint16_t *lengths_of(weft_arena *arena, const stretch *s) {
  size_t across = s->right_count + 1;
  uint16_t *length = weft__arena_zero(arena, (s->left_count + 1) * across, sizeof *length);
  if (!length) return NULL;
  for (size_t i = s->left_count; i-- > 0;) {
    for (size_t k = s->right_count; k-- > 0;) {
      uint16_t down = length[(i + 1) * across + k], along = length[i * across + k + 1];
      uint16_t both = (uint16_t)(length[(i + 1) * across + k + 1] + 1);
      length[i * across + k] = same_line(s, i, k) ? both : down > along ? down : along;
    }
  }
  return length;
}

static weft_err pair_stretch(weft_arena *arena, pair_list *list, const stretch *s) {
  size_t i = 0, k = 0, left_done = 0, right_done = 0;
  size_t across = s->right_count + 1;
  uint16_t *length = NULL;
  if (s->left_count + s->right_count <= LINES_SURE) {
    length = lengths_of(arena, s);
    if (!length) return WEFT_ENOMEM;
  }
  while (length && i < s->left_count && k < s->right_count) {
    if (same_line(s, i, k)) {
      pair_gap(list, s, left_done, i, right_done, k);
      pair_add(list, &s->left[i++], &s->right[k++]);
      left_done = i;
      right_done = k;
    } else if (length[(i + 1) * across + k] >= length[i * across + k + 1]) {
      i++;
    } else {
      k++;
    }
  }
  pair_gap(list, s, left_done, s->left_count, right_done, s->right_count);
  return WEFT_OK;
}

weft_err cli_pairs(weft_arena *arena, weft_bytes left, weft_bytes right, cli_pair **out,
                   size_t *count) {
  text_lines a, b;
  WEFT_TRY(lines_of(arena, left, &a));
  WEFT_TRY(lines_of(arena, right, &b));
  pair_list list = {weft__arena_zero(arena, a.count + b.count + 1, sizeof *list.at), 0};
  if (!list.at) return WEFT_ENOMEM;
  size_t head = 0, tail = 0;
  size_t most = a.count < b.count ? a.count : b.count;
  stretch s = {a.at, b.at, a.count, b.count};
  while (head < most && same_line(&s, head, head)) head++;
  while (head + tail < most && same_line(&s, a.count - 1 - tail, b.count - 1 - tail)) tail++;
  for (size_t i = 0; i < head; i++) pair_add(&list, &a.at[i], &b.at[i]);
  s = (stretch){a.at + head, b.at + head, a.count - head - tail, b.count - head - tail};
  WEFT_TRY(pair_stretch(arena, &list, &s));
  for (size_t i = tail; i > 0; i--) pair_add(&list, &a.at[a.count - i], &b.at[b.count - i]);
  *out = list.at;
  *count = list.count;
  return WEFT_OK;
}

/* --- rows --- */

unsigned cli_column_width(unsigned width) {
  return width > CLI_GUTTER + 1 ? (width - CLI_GUTTER) / 2 : 1;
}

static char mark_of(cli_pair_kind kind) {
  switch (kind) {
  case CLI_PAIR_SAME: break;
  case CLI_PAIR_CHANGED: return '|';
  case CLI_PAIR_LEFT: return '<';
  case CLI_PAIR_RIGHT: return '>';
  }
  return ' ';
}

/* Takes what fits off the front of a line. */
static weft_bytes take(weft_bytes *line, unsigned width, unsigned *used) {
  weft_bytes part = weft_bytes_of(line->at, cli_text_fit(*line, width, used));
  *line = weft_bytes_of(line->len ? line->at + part.len : line->at, line->len - part.len);
  return part;
}

weft_err cli_rows(weft_arena *arena, const cli_pair *pairs, size_t count, unsigned width,
                  cli_row **out, size_t *row_count) {
  unsigned column = cli_column_width(width);
  cli_row *rows = NULL;
  size_t n = 0, cap = 0;
  for (size_t i = 0; i < count; i++) {
    weft_bytes left = pairs[i].left, right = pairs[i].right;
    do {
      void *at = rows;
      unsigned used;
      WEFT_TRY(weft__arena_grow(arena, &at, n, &cap, n + 1, sizeof *rows));
      rows = at;
      cli_row *row = &rows[n++];
      row->kind = pairs[i].kind;
      row->mark = mark_of(row->kind);
      row->left = take(&left, column, &row->left_width);
      row->right = take(&right, column, &used);
    } while (left.len > 0 || right.len > 0);
  }
  *out = rows;
  *row_count = n;
  return WEFT_OK;
}

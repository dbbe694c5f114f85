/* Words of a text as single bytes, which compress to what the choice of a word is worth.
 *
 * zstd spends some 13 bits on each word of a small vocabulary, because it has to name a place where
 * the word stood before; a byte that is the word costs what its frequency says, 6 bits for one
 * of 64.
 *
 * A dictionary holds up to words_max words; in a coded text the bytes 80..fe, then 00..1f stand for
 * its words in order, ff before a byte means that byte, and 20..7f mean themselves.
 *
 * Invariants: coding is exact for any bytes, text or not.  The choice of words is a function of the
 * text alone.  Happy path: count the words, take those that save most, code.  Failure modes:
 * memory; when reading, WEFT_EMALFORMED for a byte that stands for no word, an escape at the end,
 * or more text than allowed. */
#include <string.h>

#include "crdt/chunk_columns.h"
#include "crdt/sort.h"

enum {
  words_max = 127 + 32,
  word_len_max = 32,
  escape = 0xff,
  slots = 8192 /* twice the distinct words that are counted */
};

typedef struct word {
  weft_bytes text;
  size_t count;
  int code; /* -1 none */
} word;

static uint8_t code_of(size_t idx) { return (uint8_t)(idx < 127 ? 0x80 + idx : idx - 127); }

static bool is_letter(uint8_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
}

/* The next piece of the text: a run of letters with the space before it, or one other byte. */
static weft_bytes piece_at(weft_bytes text, size_t at) {
  size_t end = at + (text.at[at] == ' ');
  while (end < text.len && end - at < word_len_max && is_letter(text.at[end])) end++;
  return weft_bytes_of(text.at + at, end > at ? end - at : 1);
}

/* Finds the place of a word: its own, or an empty one; NULL when the table is half full, or when
 * the word's places are taken by too many others: such a word is not worth the search. */
static word *word_slot(word *table, size_t used, weft_bytes text) {
  uint32_t at = weft__text_hash(text);
  for (unsigned probe = 0; probe < WEFT__PROBES_MAX; probe++) {
    word *slot = &table[(at + probe) % slots];
    if (slot->count == 0) return used < slots / 2 ? slot : NULL;
    if (weft_bytes_cmp(slot->text, text) == 0) return slot;
  }
  return NULL;
}

static size_t word_gain(const word *w) { return w->count * (w->text.len - 1); }

static int gain_order(const void *ctx, const void *left, const void *right) {
  const word *a = left, *b = right;
  (void)ctx;
  size_t x = word_gain(a), y = word_gain(b);
  return x != y ? (x > y ? -1 : 1) : weft_bytes_cmp(a->text, b->text);
}

static size_t words_count(word *table, weft_bytes text, const void **found) {
  size_t used = 0;
  for (size_t at = 0; at < text.len;) {
    weft_bytes piece = piece_at(text, at);
    at += piece.len;
    if (piece.len < 2) continue;
    word *slot = word_slot(table, used, piece);
    if (!slot) continue;
    if (slot->count == 0) {
      *slot = (word){piece, 0, -1};
      found[used++] = slot;
    }
    slot->count++;
  }
  return used;
}

/* Gives codes to the words that save most; one that stands only once saves nothing. */
static void words_choose(const void **found, size_t used, word *table, weft_buf *dictionary) {
  weft__sort(found, found + slots / 2, used, gain_order, NULL);
  size_t chosen = 0;
  for (size_t i = 0; i < used && chosen < words_max; i++) {
    word *w = &table[(const word *)found[i] - table];
    if (word_gain(w) <= w->text.len + 1) continue;
    w->code = code_of(chosen++);
    weft__buf_block(dictionary, w->text);
  }
}

weft_err weft__words_code(weft_bytes text, weft_arena *scratch, weft_buf *dictionary,
                          weft_buf *coded) {
  word *table = weft__arena_zero(scratch, slots, sizeof *table);
  const void **found = weft__arena_zero(scratch, slots, sizeof *found);
  if (!table || !found) return WEFT_ENOMEM;
  size_t used = words_count(table, text, found);
  words_choose(found, used, table, dictionary);
  for (size_t at = 0; at < text.len;) {
    weft_bytes piece = piece_at(text, at);
    word *slot = piece.len < 2 ? NULL : word_slot(table, 0, piece);
    at += piece.len;
    if (slot && slot->count > 0 && slot->code >= 0) {
      weft__buf_u8(coded, (uint8_t)slot->code);
      continue;
    }
    for (size_t i = 0; i < piece.len; i++) {
      uint8_t c = piece.at[i];
      if (c < 0x20 || c >= 0x80) weft__buf_u8(coded, escape);
      weft__buf_u8(coded, c);
    }
  }
  WEFT_TRY(weft__buf_err(dictionary));
  return weft__buf_err(coded);
}

/* A word with room behind it, so that all are copied alike. */
typedef struct coded_word {
  size_t len; /* 0: the byte stands for no word */
  uint8_t text[word_len_max];
} coded_word;
_Static_assert((int)WEFT__PIECE_LEN == (int)word_len_max, "a word is one piece");

static weft_err dictionary_read(weft_bytes dictionary, coded_word table[256]) {
  weft_rd r = weft__rd(dictionary);
  size_t count = 0;
  for (; weft__rd_left(&r) > 0; count++) {
    weft_bytes text = weft__rd_block(&r); /* empty also when it is cut short */
    if (count == words_max || text.len == 0 || text.len > word_len_max) return WEFT_EMALFORMED;
    coded_word *to = &table[code_of(count)];
    to->len = text.len;
    memcpy(to->text, text.at, text.len);
  }
  return WEFT_OK;
}

weft_err weft__words_decode(weft_arena *arena, weft_bytes dictionary, weft_bytes coded,
                            size_t len_max, weft_bytes *text) {
  coded_word table[256];
  memset(table, 0, sizeof table);
  WEFT_TRY(dictionary_read(dictionary, table));
  uint8_t *to = weft__arena_take(arena, len_max + WEFT__PIECE_LEN);
  if (!to) return WEFT_ENOMEM;
  size_t len = 0;
  for (size_t i = 0; i < coded.len; i++) {
    uint8_t c = coded.at[i];
    bool itself = (c >= 0x20 && c < 0x80) || (c == escape && ++i < coded.len);
    if (itself) {
      if (len == len_max) return WEFT_EMALFORMED;
      to[len++] = coded.at[i];
      continue;
    }
    const coded_word *from = &table[c];
    if (from->len == 0 || from->len > len_max - len) return WEFT_EMALFORMED;
    weft__piece_copy(to + len, from->text, from->len);
    len += from->len;
  }
  *text = weft_bytes_of(to, len);
  return WEFT_OK;
}

/* Two texts beside each other: how wide characters are, which lines belong together, where lines
 * break.  Pure functions; printing is the printer's. */
#ifndef WEFT_CLI_COLUMNS_H
#define WEFT_CLI_COLUMNS_H

#include "crdt/alloc.h"

/* Columns that a character takes on a terminal: 0 for one that goes over the one before, 2 for wide
 * ones, else 1; control characters too, since a printer puts a question mark there. */
unsigned cli_rune_width(uint32_t rune);
/* Columns of UTF-8 text as it is printed (cli/escape.h); a byte that is none counts as 1. */
unsigned cli_text_width(weft_bytes text);
/* How many bytes from the beginning of `text` fit in so many columns; a character and what goes
 * over it stay together.  At least one character of a text that is not empty.  `used` gets the
 * columns these take. */
size_t cli_text_fit(weft_bytes text, unsigned width, unsigned *used);

typedef enum cli_pair_kind {
  CLI_PAIR_SAME,
  CLI_PAIR_CHANGED, /* both, and different */
  CLI_PAIR_LEFT,    /* only there */
  CLI_PAIR_RIGHT
} cli_pair_kind;

/* A line of one text, or of each. */
typedef struct cli_pair {
  cli_pair_kind kind;
  weft_bytes left, right;
} cli_pair;

/* Puts the lines of two texts beside each other so that as many as possible are the same; of two
 * texts of more than LINES_SURE lines together, only what they begin and end with alike.  Views
 * into the texts, array in `arena`.  WEFT_ENOMEM. */
weft_err cli_pairs(weft_arena *arena, weft_bytes left, weft_bytes right, cli_pair **out,
                   size_t *count) WEFT_MUST_USE;

/* A line of the terminal: `left` is to be filled up to the column's width. */
typedef struct cli_row {
  cli_pair_kind kind;
  char mark; /* ' ' the same, '|' different, '<' and '>' on one side alone */
  weft_bytes left, right;
  unsigned left_width; /* columns that `left` takes */
} cli_row;

enum { CLI_GUTTER = 3 };
/* The width of each column on a terminal of `width` columns, at least 1. */
unsigned cli_column_width(unsigned width);
/* Breaks pairs into rows for a terminal of `width` columns: no row takes more.  Array in `arena`.
 * WEFT_ENOMEM. */
weft_err cli_rows(weft_arena *arena, const cli_pair *pairs, size_t count, unsigned width,
                  cli_row **out, size_t *row_count) WEFT_MUST_USE;

#endif

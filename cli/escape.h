/* Text as a terminal may get it. */
#ifndef WEFT_CLI_ESCAPE_H
#define WEFT_CLI_ESCAPE_H

#include "crdt/buf.h"

typedef enum cli_escape {
  CLI_ESCAPE_LINE,  /* one line, whatever the text holds */
  CLI_ESCAPE_LINES, /* newlines stay */
  CLI_ESCAPE_CELL   /* one line for a program: what is hidden stays, too */
} cli_escape;

/* Appends `text` without what could drive a terminal, or let one text pass for another: "?" for
 * each control character (C0, DEL, C1), and \uXXXX, as JSON has it, for each that nobody sees
 * (crdt/rune.h). */
void cli_text_escape(weft_buf *out, weft_bytes text, cli_escape how);

/* The bytes that are put for `rune` behind `before` where it is hidden; 0: it is not. */
size_t cli_rune_escape(uint32_t rune, uint32_t before, char out[13]);

#endif

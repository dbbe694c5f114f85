/* How records look: JSON when asked, tables and colour for a terminal, plain text otherwise. */
#ifndef WEFT_CLI_PRINT_H
#define WEFT_CLI_PRINT_H

#include <stdio.h>

#include "cli/command.h"

struct cli_printer {
  FILE *out;
  FILE *messages; /* stderr */
  bool terminal;  /* out is a terminal */
  bool colour;    /* and NO_COLOR is not set */
  bool json;
  bool quiet;
  unsigned verbose;
  unsigned width;                                      /* columns of the terminal; 80 otherwise */
  bool any;                                            /* something was printed in this call */
  bool progress;                                       /* a progress line stands on stderr */
  uint64_t progress_ms, progress_done, progress_total; /* since when, and what was told last */
  int write_error;  /* errno of the first write to `out` that failed; 0: none */
  weft_arena arena; /* scratch of one record */
};

/* Opens a printer on stdout and stderr, asking the environment about terminal and colour. */
void cli_printer_open(cli_printer *p, bool json, bool quiet, unsigned verbose);
/* Ends it.  False when what went to stdout did not all arrive, other than because its reader has
 * had enough and closed the pipe; `error` (of `error_len`) then says so. */
bool cli_printer_close(cli_printer *p, char *error, size_t error_len);

/* Prints one record of `call`, in the form asked for. */
void cli_printer_record(cli_printer *p, const cli_call *call, const weft_value *record);
/* Redraws the progress line; nothing without a terminal. */
void cli_printer_progress(cli_printer *p, weft_bytes what, uint64_t done, uint64_t total);
/* Begins anew at the top of an empty terminal; nothing elsewhere. */
void cli_printer_redraw(cli_printer *p);
/* Prints "weft: TEXT" to stderr, as one line whatever TEXT holds. */
void cli_printer_error(cli_printer *p, const char *text);

/* Writes bytes; on a terminal as cli/escape.h says. */
void cli_print_bytes(cli_printer *p, weft_bytes text);
/* The same of the text that a record has under `key`. */
void cli_print_member(cli_printer *p, const weft_value *record, const char *key);
/* As cli_print_bytes, for text of several lines. */
void cli_print_lines(cli_printer *p, weft_bytes text);
/* Writes one line of text to a stream that may be a terminal. */
void cli_print_line(FILE *file, weft_bytes text);
/* Writes a value as compact JSON. */
void cli_print_json(cli_printer *p, const weft_value *v);

/* One line of a table: cells are padded to `widths` and, on a terminal, cut to them and to its
 * width; the last one takes what is left. */
void cli_print_row(cli_printer *p, const weft_bytes *cells, const unsigned *widths, size_t count);
void cli_print_heading(cli_printer *p, const char *const *cells, const unsigned *widths,
                       size_t count);

#endif

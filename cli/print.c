/* The printer: terminal facts, escaping, tables, progress. */
#include "cli/print.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/record.h"
#include "crdt/json.h"

static const char clear_line[] = "\r\x1b[K";

static unsigned terminal_width(FILE *file) {
  struct winsize size;
  if (ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) return size.ws_col;
  return 80;
}

void cli_printer_open(cli_printer *p, bool json, bool quiet, unsigned verbose) {
  memset(p, 0, sizeof *p);
  p->out = stdout;
  p->messages = stderr;
  p->terminal = isatty(fileno(stdout)) != 0;
  const char *no_colour = getenv("NO_COLOR");
  p->colour = p->terminal && !(no_colour && *no_colour);
  p->json = json;
  p->quiet = quiet;
  p->verbose = verbose;
  p->width = p->terminal ? terminal_width(stdout) : 80;
  weft_alloc mem = weft_alloc_libc();
  weft__arena_init(&p->arena, &mem);
}

static void progress_clear(cli_printer *p) {
  if (!p->progress) return;
  fputs(clear_line, p->messages);
  p->progress = false;
}

void cli_printer_close(cli_printer *p) {
  progress_clear(p);
  weft__arena_free(&p->arena);
  fflush(p->out);
}

void cli_print_bytes(cli_printer *p, weft_bytes text) {
  if (!p->terminal) {
    fwrite(text.at, 1, text.len, p->out);
    return;
  }
  for (size_t i = 0; i < text.len; i++) {
    uint8_t c = text.at[i];
    fputc(c < 0x20 || c == 0x7f ? '?' : c, p->out);
  }
}

void cli_print_json(cli_printer *p, const weft_value *v) {
  weft_buf b;
  weft__buf_init(&b, &p->arena.mem, SIZE_MAX);
  weft_json_write(&b, v);
  if (weft__buf_err(&b) == WEFT_OK)
    fwrite(b.at, 1, b.len, p->out);
  else
    fputs("null", p->out);
  weft__buf_free(&b);
}

void cli_printer_record(cli_printer *p, const cli_call *call, const weft_value *record) {
  progress_clear(p);
  weft__arena_reset(&p->arena);
  if (p->json) {
    cli_print_json(p, record);
    fputc('\n', p->out);
  } else {
    call->args.command->print(p, call, record);
  }
  p->any = true;
  if (call->args.command->style == CLI_LINES) fflush(p->out);
}

void cli_printer_progress(cli_printer *p, weft_bytes what, uint64_t done, uint64_t total) {
  if (p->quiet || p->json || !isatty(fileno(p->messages))) return;
  enum { bar = 24 };
  char cells[bar + 1];
  unsigned full = total ? (unsigned)(done * bar / total) : 0;
  if (full > bar) full = bar;
  memset(cells, '-', bar);
  memset(cells, '#', full);
  cells[bar] = 0;
  fputs(clear_line, p->messages);
  fprintf(p->messages, "%.*s [%s] %llu/%llu", (int)what.len, (const char *)what.at, cells,
          (unsigned long long)done, (unsigned long long)total);
  fflush(p->messages);
  p->progress = true;
}

void cli_printer_error(cli_printer *p, const char *text) {
  progress_clear(p);
  fflush(p->out);
  fprintf(p->messages, "weft: %s\n", text);
}

/* Characters of UTF-8 text, which is near enough to columns for names. */
static unsigned columns(weft_bytes text) {
  unsigned n = 0;
  for (size_t i = 0; i < text.len; i++) n += (text.at[i] & 0xc0) != 0x80;
  return n;
}

static weft_bytes cut(weft_bytes text, unsigned width) {
  unsigned n = 0;
  for (size_t i = 0; i < text.len; i++) {
    n += (text.at[i] & 0xc0) != 0x80;
    if (n > width) return weft_bytes_of(text.at, i);
  }
  return text;
}

void cli_print_row(cli_printer *p, const weft_bytes *cells, const unsigned *widths, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (i + 1 == count) {
      cli_print_bytes(p, cells[i]);
      break;
    }
    weft_bytes cell = p->terminal ? cut(cells[i], widths[i]) : cells[i];
    cli_print_bytes(p, cell);
    unsigned used = columns(cell);
    for (unsigned c = used; c < widths[i]; c++) fputc(' ', p->out);
    fputs("  ", p->out);
  }
  fputc('\n', p->out);
}

void cli_print_heading(cli_printer *p, const char *const *cells, const unsigned *widths,
                       size_t count) {
  if (!p->terminal || p->quiet) return;
  if (p->colour) fputs("\x1b[1m", p->out);
  weft_bytes row[8];
  if (count > 8) count = 8;
  for (size_t i = 0; i < count; i++) row[i] = weft_bytes_str(cells[i]);
  cli_print_row(p, row, widths, count);
  if (p->colour) fputs("\x1b[0m", p->out);
}

/* The printer: terminal facts, escaping, tables, progress. */
#include "cli/print.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/columns.h"
#include "cli/escape.h"
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

bool cli_printer_close(cli_printer *p, char *error, size_t error_len) {
  progress_clear(p);
  weft__arena_free(&p->arena);
  errno = 0;
  if (fflush(p->out) != 0 && p->write_error == 0) p->write_error = errno;
  if (p->write_error == 0 && !ferror(p->out)) return true;
  if (p->write_error == EPIPE) return true;
  snprintf(error, error_len, "the output could not be written%s",
           p->write_error == ENOSPC ? ": the disk is full, free some space" : ": look at its disk");
  return false;
}

/* The first write that fails decides what is told at the end: later ones fail for other reasons. */
static void flush_out(cli_printer *p) {
  errno = 0;
  if (fflush(p->out) != 0 && p->write_error == 0) p->write_error = errno;
}

static void put_bytes(FILE *file, weft_bytes text) {
  if (text.len > 0) fwrite(text.at, 1, text.len, file); /* an empty text may have no address */
}

static void put_safe(FILE *file, weft_bytes text, cli_escape how) {
  weft_alloc mem = weft_alloc_libc();
  weft_buf b;
  weft__buf_init(&b, &mem, SIZE_MAX);
  cli_text_escape(&b, text, how);
  put_bytes(file, weft__buf_err(&b) == WEFT_OK ? weft__buf_view(&b) : weft_bytes_str("?"));
  weft__buf_free(&b);
}

static void put_text(cli_printer *p, weft_bytes text, cli_escape how) {
  if (p->terminal)
    put_safe(p->out, text, how);
  else
    put_bytes(p->out, text);
}

void cli_print_line(FILE *file, weft_bytes text) { put_safe(file, text, CLI_ESCAPE_LINE); }

void cli_print_bytes(cli_printer *p, weft_bytes text) { put_text(p, text, CLI_ESCAPE_LINE); }

void cli_print_member(cli_printer *p, const weft_value *record, const char *key) {
  cli_print_bytes(p, cli_member_text(record, key));
}

void cli_print_lines(cli_printer *p, weft_bytes text) { put_text(p, text, CLI_ESCAPE_LINES); }

void cli_print_json(cli_printer *p, const weft_value *v) {
  weft_buf b;
  weft__buf_init(&b, &p->arena.mem, SIZE_MAX);
  weft_json_write(&b, v);
  if (weft__buf_err(&b) == WEFT_OK)
    cli_print_bytes(p, weft__buf_view(&b));
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
  if (call->args.command->style == CLI_LINES || cli_flag(call, "watch")) flush_out(p);
}

static uint64_t clock_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* How fast it goes and how long it takes, once that can be told. */
static void progress_rate(cli_printer *p, uint64_t done, uint64_t total) {
  uint64_t now = clock_ms();
  if (!p->progress || done < p->progress_done || total < p->progress_total) p->progress_ms = now;
  p->progress_done = done;
  p->progress_total = total;
  uint64_t passed = now - p->progress_ms;
  if (passed < 1000 || done == 0) return;
  double rate = (double)done * 1000 / (double)passed;
  fprintf(p->messages, " %.0f/s %.0f s left", rate, (double)(total - done) / rate);
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
  if (done >= total) {
    progress_clear(p);
    return;
  }
  fputs(clear_line, p->messages);
  fprintf(p->messages, "%.*s [%s] %llu/%llu", (int)what.len, (const char *)what.at, cells,
          (unsigned long long)done, (unsigned long long)total);
  progress_rate(p, done, total);
  fflush(p->messages);
  p->progress = true;
}

void cli_printer_redraw(cli_printer *p) {
  if (!p->terminal || p->json) return;
  fputs("\033[H\033[2J", p->out);
  p->any = false;
}

void cli_printer_error(cli_printer *p, const char *text) {
  progress_clear(p);
  flush_out(p);
  fputs("weft: ", p->messages);
  cli_print_line(p->messages, weft_bytes_str(text));
  fputc('\n', p->messages);
}

/* A cell of a table stays on its line, whatever it holds. */
void cli_print_row(cli_printer *p, const weft_bytes *cells, const unsigned *widths, size_t count) {
  unsigned left = p->terminal ? p->width : UINT_MAX;
  for (size_t i = 0; i < count; i++) {
    bool last = i + 1 == count;
    unsigned width = p->terminal ? last || widths[i] > left ? left : widths[i] : UINT_MAX, used;
    weft_bytes cell = weft_bytes_of(cells[i].at, cli_text_fit(cells[i], width, &used));
    put_safe(p->out, cell, p->terminal ? CLI_ESCAPE_LINE : CLI_ESCAPE_CELL);
    if (last) break;
    for (; used < widths[i] && used < left; used++) fputc(' ', p->out);
    if (used + 2 >= left) break;
    fputs("  ", p->out);
    left -= p->terminal ? used + 2 : 0;
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

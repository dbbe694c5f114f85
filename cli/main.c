/* The weft command: parses the command line, runs it here or in the daemon, prints what comes. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cli/bench.h"
#include "cli/parse.h"
#include "cli/print.h"
#include "cli/runtime.h"

typedef struct front {
  cli_printer printer;
  cli_call call;
  weft_bytes help_name;
} front;

static void front_record(void *ctx, const weft_value *record) {
  front *f = ctx;
  cli_printer_record(&f->printer, &f->call, record);
}

static void front_progress(void *ctx, weft_bytes what, uint64_t done, uint64_t total) {
  front *f = ctx;
  cli_printer_progress(&f->printer, what, done, total);
}

/* weft --version and weft -h stand for commands of their own; weft COMMAND -h for weft help
 * COMMAND. */
static void as_help(front *f) {
  cli_args *a = &f->call.args;
  if (a->command) {
    f->help_name = weft_bytes_str(a->command->name);
    a->args = &f->help_name;
    a->arg_count = 1;
  } else {
    a->arg_count = 0;
  }
  a->option_count = 0;
  a->command = cli_command_find("help");
}

/* The command again and again, a second apart, until it fails or nobody reads any more. */
static int front_watch(front *f) {
  weft_arena *whole = f->call.arena, turn;
  int code = CLI_OK;
  weft__arena_init(&turn, &whole->mem);
  f->call.arena = &turn;
  while (f->printer.write_error == 0) {
    f->call.error[0] = 0;
    code = cli_run(&f->call);
    if (code != CLI_OK && code != CLI_ATTENTION) break;
    weft__arena_reset(&turn);
    nanosleep(&(struct timespec){1, 0}, NULL);
  }
  f->call.arena = whole;
  weft__arena_free(&turn);
  return code;
}

static int front_run(front *f, const cli_globals *globals) {
  cli_front how = {globals->dir, globals->space, globals->json, globals->quiet, globals->verbose};
  f->call.front = &how;
  f->call.sink = (cli_sink){f, front_record, front_progress, NULL};
  if (globals->help || !f->call.args.command) as_help(f);
  int code = cli_input(&f->call);
  if (code == CLI_OK && cli_flag(&f->call, "watch")) return front_watch(f);
  return code == CLI_OK ? cli_run(&f->call) : code;
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN); /* a limit of file size is a full disk, told as an error */
  umask(077);
  if (cli_is_bench(argc, argv)) return cli_bench(argv);
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  front f;
  memset(&f, 0, sizeof f);
  f.call.arena = &arena;
  cli_globals globals;
  int code =
      cli_parse(argc, argv, &arena, &globals, &f.call.args, f.call.error, sizeof f.call.error);
  cli_printer_open(&f.printer, globals.json, globals.quiet, globals.verbose);
  if (code == CLI_OK) {
    bool bare = !f.call.args.command && !globals.help;
    code = front_run(&f, &globals);
    if (code == CLI_OK && bare) code = CLI_USAGE;
  }
  if (code != CLI_OK && f.call.error[0]) cli_printer_error(&f.printer, f.call.error);
  char lost[128];
  if (!cli_printer_close(&f.printer, lost, sizeof lost)) {
    cli_printer_error(&f.printer, lost);
    code = CLI_FAILED;
  }
  weft__arena_free(&arena);
  return code;
}

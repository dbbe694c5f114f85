/* The weft command: parses the command line, runs it here or in the daemon, prints what comes. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/bench.h"
#include "cli/parse.h"
#include "cli/print.h"
#include "cli/runtime.h"

/* Without a daemon a follower looks at the store's file this often, and at a daemon that may have
 * begun to serve after so many looks. */
enum { follow_turns = 50, follow_pause_ns = 100 * 1000 * 1000 };

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

/* weft -h stands for a command of its own; weft COMMAND -h for weft help COMMAND. */
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
    cli_printer_redraw(&f->printer);
    code = cli_run(&f->call);
    if (code != CLI_OK && code != CLI_ATTENTION) break;
    weft__arena_reset(&turn);
    nanosleep(&(struct timespec){1, 0}, NULL);
  }
  f->call.arena = whole;
  weft__arena_free(&turn);
  return code;
}

/* Waits until the file is another than it was, or for a while. */
static void wait_changed(const char *path, const struct stat *was) {
  for (unsigned turn = 0; turn < follow_turns; turn++) {
    struct stat now;
    nanosleep(&(struct timespec){0, follow_pause_ns}, NULL);
    if (stat(path, &now) != 0 || now.st_ino != was->st_ino ||
        now.st_mtim.tv_sec != was->st_mtim.tv_sec || now.st_mtim.tv_nsec != was->st_mtim.tv_nsec)
      return;
  }
}

/* Makes the call one that goes on after the event `seen`; `options` has room for one more. */
static void follow_from(front *f, cli_option_value *options, char since[24]) {
  cli_args *a = &f->call.args;
  const cli_option *o = a->command->options;
  while (strcmp(o->name, "since") != 0) o++;
  snprintf(since, 24, "%llu", (unsigned long long)f->call.seen);
  if (a->options != options) {
    for (size_t i = 0; i < a->option_count; i++) options[i] = a->options[i];
    options[a->option_count].option = o;
    a->options = options;
    a->option_count++;
  }
  options[a->option_count - 1].value = weft_bytes_str(since);
}

/* The command again, from where it ended, whenever the store has changed; a daemon that has begun
 * to serve takes over.  The file is looked at before it is read, so that nothing is missed. */
static int front_follow(front *f) {
  weft_arena *whole = f->call.arena, turn;
  char since[24], path[4096];
  struct stat was = {0};
  cli_option_value *options =
      weft__arena_zero(whole, f->call.args.option_count + 1, sizeof *options);
  if (!options) return cli_fail_err(&f->call, WEFT_ENOMEM, "events");
  weft__arena_init(&turn, &whole->mem);
  f->call.arena = &turn;
  int code = cli_run(&f->call);
  while (code == CLI_AGAIN && f->printer.write_error == 0) {
    snprintf(path, sizeof path, "%s", f->call.store_file);
    follow_from(f, options, since);
    weft__arena_reset(&turn);
    wait_changed(path, &was);
    if (stat(path, &was) != 0) memset(&was, 0, sizeof was);
    code = cli_run(&f->call);
  }
  f->call.arena = whole;
  weft__arena_free(&turn);
  return code == CLI_AGAIN ? CLI_OK : code;
}

static int front_run(front *f, const cli_globals *globals) {
  cli_front how = {globals->dir, globals->space, globals->json, globals->quiet, globals->verbose};
  f->call.front = &how;
  f->call.sink = (cli_sink){f, front_record, front_progress, NULL};
  if (globals->help || !f->call.args.command) as_help(f);
  int code = cli_input(&f->call);
  if (code == CLI_OK && cli_flag(&f->call, "watch")) return front_watch(f);
  if (code == CLI_OK && cli_flag(&f->call, "follow")) return front_follow(f);
  return code == CLI_OK ? cli_run(&f->call) : code;
}

/* A file that is opened while an input or output is closed gets its number, and what is printed
 * would go into the store.  What takes its place instead cannot be read, or written. */
static bool places_keep(void) {
  for (int fd = 0; fd < 3; fd++) {
    bool closed = fcntl(fd, F_GETFD) < 0 && errno == EBADF;
    if (closed && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd) return false;
  }
  return true;
}

int main(int argc, char **argv) {
  if (!places_keep()) return CLI_FAILED;
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN); /* a limit of file size is a full disk, told as an error */
  umask(077);
  if (cli_is_bench(argc, argv)) return cli_bench(argv);
  char version[] = "version"; /* what every program understands */
  if (argc > 1 && strcmp(argv[1], "--version") == 0) argv[1] = version;
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

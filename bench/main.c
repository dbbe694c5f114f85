/* weft-bench: measures weft beside what the bare libraries reach on the same machine.
 *
 *   weft-bench list
 *   weft-bench run W1,W2,... [--size N] [--json FILE] [--quick] [--runs N]
 *   weft-bench against PROGRAM W1,W2,... [--size N] [--quick] [--runs N]
 *   weft-bench compare BEFORE AFTER
 *   weft-bench plot FILE
 *   weft-bench peers [--install] [--quick] [--runs N] [--only NAME,...] [--json FILE]
 *
 * The table goes to stdout, records go to FILE as JSON lines ("-": to stdout, the table then to
 * stderr).  Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/results.h"

enum { EXIT_USAGE = 2, EXIT_INTERRUPTED = 130, RUNS_FULL = 3, RUNS_QUICK = 1 };

typedef struct arguments {
  const char *other; /* against: the other program */
  const char *workloads;
  const char *json;
  bool quick;
  unsigned runs;
  uint32_t size;
} arguments;

static void usage(FILE *out) {
  fprintf(
      out,
      "usage: weft-bench run WORKLOAD,... [--size N] [--json FILE] [--quick] [--runs N]\n"
      "       weft-bench against PROGRAM WORKLOAD,... [--size N] [--quick] [--runs N]\n"
      "       weft-bench compare BEFORE AFTER\n"
      "       weft-bench plot FILE\n"
      "       weft-bench peers [--install] [--quick] [--runs N] [--only NAME,...] [--json FILE]\n"
      "       weft-bench list\n\n"
      "run measures.  against lets this weft-bench and another one take turns, and tells how\n"
      "many times as good this one is.  compare does that with two files of records.  plot\n"
      "draws a file of records as SVG, on stdout.  peers lets weft and other programs of its\n"
      "kind take turns (weft-bench peers --help).  W2:held is one variant of W2.  What was\n"
      "measured before a failure or an interrupt is told.\n\n"
      "  --size N     templates of 12 fields each, instead of the workload's own number\n"
      "  --json FILE  records as JSON lines; - is stdout, the table then goes to stderr\n"
      "  --quick      small sizes, one run: under 40 seconds for everything\n"
      "  --runs N     how often each workload is measured (1 to %d; %d by default)\n\n",
      BENCH_RUNS_MAX, RUNS_FULL);
  bench_list(out);
}

/* One line on what was wrong with the words given; the exit code. */
static int misuse(const char *word, const char *wanted) {
  fprintf(stderr, "weft-bench: %s: %s: see weft-bench --help\n", word, wanted);
  return EXIT_USAGE;
}

static int misuse_number(const char *word, const char *what, unsigned long max) {
  char wanted[64];
  snprintf(wanted, sizeof wanted, "a number of %s is wanted, 1 to %lu", what, max);
  return misuse(word, wanted);
}

/* Reads a number of 1..max; false for anything else. */
static bool number(const char *text, unsigned long max, unsigned long *out) {
  char *end;
  *out = strtoul(text, &end, 10);
  return *text >= '0' && *text <= '9' && *end == 0 && *out >= 1 && *out <= max;
}

static int parse(int argc, char **argv, int first, arguments *a) {
  unsigned long n = 0;
  for (int i = first; i < argc; i++) {
    const char *next = i + 1 < argc ? argv[i + 1] : "";
    if (strcmp(argv[i], "--quick") == 0) {
      a->quick = true;
    } else if (strcmp(argv[i], "--json") == 0) {
      if (!*next) return misuse(argv[i], "a file is wanted, or -");
      a->json = argv[++i];
    } else if (strcmp(argv[i], "--runs") == 0) {
      if (!number(next, BENCH_RUNS_MAX, &n)) return misuse_number(argv[i], "runs", BENCH_RUNS_MAX);
      a->runs = (unsigned)n;
      i++;
    } else if (strcmp(argv[i], "--size") == 0) {
      if (!number(next, W1_TEMPLATES_MAX, &n))
        return misuse_number(argv[i], "templates", W1_TEMPLATES_MAX);
      a->size = (uint32_t)n;
      i++;
    } else if (argv[i][0] != '-' && !a->workloads) {
      a->workloads = argv[i];
    } else {
      return misuse(argv[i], argv[i][0] == '-' ? "no such option"
                                               : "one list of workloads is wanted, such as W1,W2");
    }
  }
  return a->workloads && *a->workloads ? EXIT_SUCCESS
                                       : misuse(argv[1], "workloads are wanted, such as W1,W2");
}

static bool stdout_written(void) { return fflush(stdout) == 0 && ferror(stdout) == 0; }

/* Everything between two moments at which an interrupt is noticed ends by itself. */
static void hold_interrupts(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, NULL);
}

static bool json_is_stdout(const arguments *a) { return a->json && strcmp(a->json, "-") == 0; }

/* Whether the file of records can be written, before anything is measured for it. */
static weft_err check_out(bench *b, const arguments *a) {
  if (!a->json || json_is_stdout(a)) return WEFT_OK;
  FILE *f = fopen(a->json, "a");
  if (!f) return bench_fail(b, WEFT_EIO, a->json);
  fclose(f);
  return WEFT_OK;
}

static weft_err write_out(bench *b, const arguments *a) {
  bench_write_table(b, json_is_stdout(a) ? stderr : stdout);
  fflush(stdout); /* before the word on what went wrong; finish asks how it went */
  if (json_is_stdout(a)) bench_write_json(b, stdout);
  if (!a->json || json_is_stdout(a)) return WEFT_OK;
  FILE *f = fopen(a->json, "w");
  if (f) bench_write_json(b, f);
  bool written = f && ferror(f) == 0;
  if (f && fclose(f) != 0) written = false;
  return written ? WEFT_OK : bench_fail(b, WEFT_EIO, a->json);
}

static bench *bench_new(const arguments *a) {
  bench *b = calloc(1, sizeof *b);
  if (!b) return NULL;
  b->mem = weft_alloc_libc();
  b->crypto = weft_crypto_sodium();
  b->quick = a->quick;
  b->tty = isatty(STDERR_FILENO) == 1;
  b->size = a->size;
  b->runs = a->runs ? a->runs : a->quick && !a->other ? RUNS_QUICK : RUNS_FULL;
  return b;
}

/* Tells what went wrong, frees, and gives the exit code. */
static int finish(bench *b, weft_err err) {
  if (err == WEFT_OK && !stdout_written()) err = bench_fail(b, WEFT_EIO, "stdout");
  if (err != WEFT_OK && err != WEFT_EDONE) {
    const char *why = err == WEFT_ENOTFOUND ? "see weft-bench list"
                      : err == WEFT_EIO     ? "failed: is it there, may it be used, is there room?"
                      : err == WEFT_EMALFORMED ? "no records are in it"
                                               : weft_err_str(err);
    fprintf(stderr, "weft-bench: %s: %s\n", b->said[0] ? b->said : "failed", why);
  }
  free(b);
  if (err == WEFT_OK) return EXIT_SUCCESS;
  if (err == WEFT_EDONE) return EXIT_INTERRUPTED;
  return err == WEFT_ENOTFOUND ? EXIT_USAGE : EXIT_FAILURE;
}

static int run(const arguments *a) {
  bench *b = bench_new(a);
  if (!b) return EXIT_FAILURE;
  hold_interrupts();
  weft_err err = b->crypto ? bench_folder_make(b) : WEFT_EIO;
  if (err == WEFT_OK && a->other) {
    err = bench_against(b, a->other, a->workloads, stdout);
  } else if (err == WEFT_OK) {
    err = check_out(b, a);
    if (err == WEFT_OK) err = bench_run(b, a->workloads);
    /* What was measured before a failure or an interrupt is told, too. */
    if (err == WEFT_OK || b->series_count > 0) {
      weft_err told = write_out(b, a);
      if (err == WEFT_OK) err = told;
    }
  }
  if (b->folder[0]) bench_tree_remove(b->folder);
  return finish(b, err);
}

static int read_files(int argc, char **argv) {
  const arguments none = {0};
  bool compare = strcmp(argv[1], "compare") == 0;
  if (argc != (compare ? 4 : 3))
    return misuse(argv[1], compare ? "two files of records are wanted" : "one file is wanted");
  bench *b = bench_new(&none);
  if (!b) return EXIT_FAILURE;
  return finish(b, compare ? bench_compare(b, argv[2], argv[3], stdout)
                           : bench_plot(b, argv[2], stdout));
}

/* Becomes the program that measures others; it is JavaScript, as most of them are. */
static int peers(char **argv) {
  char self[BENCH_PATH_LEN_MAX];
  char script[BENCH_PATH_LEN_MAX];
  ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
  self[len > 0 ? len : 0] = 0;
  char *slash = strrchr(self, '/');
  snprintf(script, sizeof script, "%.*s/peers/run.mjs", slash ? (int)(slash - self) : 0, self);
  if (access(script, R_OK) != 0) {
    fprintf(stderr, "weft-bench: peers runs where weft was built: %s is not there\n", script);
    return EXIT_FAILURE;
  }
  setenv("WEFT_BENCH", self, 1);
  argv[1] = script;
  argv[0] = (char[]){"node"};
  execvp("node", argv);
  fprintf(stderr, "weft-bench: peers needs Node.js: no program 'node' is there\n");
  return EXIT_FAILURE;
}

/* `weft-bench --help`, and `weft-bench run --help`; peers has a help of its own. */
static bool asks_help(int argc, char **argv) {
  bool own = argc > 1 && strcmp(argv[1], "peers") != 0;
  for (int i = 1; i < argc && own; i++) {
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
  }
  return false;
}

int main(int argc, char **argv) {
  arguments a = {0};
  const char *command = argc > 1 ? argv[1] : "";
  if (strcmp(command, "list") == 0 && argc == 2) {
    bench_list(stdout);
    return stdout_written() ? EXIT_SUCCESS : EXIT_FAILURE;
  }
  if (asks_help(argc, argv)) {
    usage(stdout);
    return stdout_written() ? EXIT_SUCCESS : EXIT_FAILURE;
  }
  if (strcmp(command, "compare") == 0 || strcmp(command, "plot") == 0)
    return read_files(argc, argv);
  if (strcmp(command, "peers") == 0) return peers(argv);
  bool against = strcmp(command, "against") == 0 && argc > 2;
  if (against) a.other = argv[2];
  if (!*command) {
    usage(stderr);
    return EXIT_USAGE;
  }
  if (!against && strcmp(command, "run") != 0)
    return misuse(command, strcmp(command, "against") == 0
                               ? "a program and workloads are wanted"
                               : "run, against, compare, plot, peers or list is wanted");
  int code = parse(argc, argv, against ? 3 : 2, &a);
  return code == EXIT_SUCCESS ? run(&a) : code;
}

/* weft-bench: measures weft beside what the bare libraries reach on the same machine.
 *
 *   weft-bench list
 *   weft-bench run W1,W2,... [--size N] [--json FILE] [--quick] [--runs N]
 *
 * The table goes to stdout, records go to FILE as JSON lines ("-": to stdout, the table then to
 * stderr).  Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"

enum { EXIT_USAGE = 2, EXIT_INTERRUPTED = 130, RUNS_FULL = 3, RUNS_QUICK = 1 };

typedef struct arguments {
  const char *workloads;
  const char *json;
  bool quick;
  unsigned runs;
  uint32_t size;
} arguments;

static void usage(FILE *out) {
  fprintf(out,
          "usage: weft-bench run WORKLOAD,... [--size N] [--json FILE] [--quick] [--runs N]\n"
          "       weft-bench list\n\n"
          "  --size N     templates of 12 fields each, instead of the workload's own number\n"
          "  --json FILE  records as JSON lines; - is stdout, the table then goes to stderr\n"
          "  --quick      small sizes, one run: under 40 seconds for everything\n"
          "  --runs N     how often each workload is measured (1 to %d; %d by default)\n\n",
          BENCH_RUNS_MAX, RUNS_FULL);
  bench_list(out);
}

/* Reads a number of 1..max; false for anything else. */
static bool number(const char *text, unsigned long max, unsigned long *out) {
  char *end;
  *out = strtoul(text, &end, 10);
  return *text >= '0' && *text <= '9' && *end == 0 && *out >= 1 && *out <= max;
}

static bool parse(int argc, char **argv, arguments *a) {
  unsigned long n = 0;
  for (int i = 2; i < argc; i++) {
    const char *next = i + 1 < argc ? argv[i + 1] : "";
    if (strcmp(argv[i], "--quick") == 0) {
      a->quick = true;
    } else if (strcmp(argv[i], "--json") == 0 && *next) {
      a->json = argv[++i];
    } else if (strcmp(argv[i], "--runs") == 0 && number(next, BENCH_RUNS_MAX, &n)) {
      a->runs = (unsigned)n;
      i++;
    } else if (strcmp(argv[i], "--size") == 0 && number(next, W1_TEMPLATES_MAX, &n)) {
      a->size = (uint32_t)n;
      i++;
    } else if (argv[i][0] != '-' && !a->workloads) {
      a->workloads = argv[i];
    } else {
      return false;
    }
  }
  return a->workloads != NULL;
}

/* Everything between two moments at which an interrupt is noticed ends by itself. */
static void hold_interrupts(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, NULL);
}

static weft_err write_out(bench *b, const arguments *a) {
  bool to_stdout = a->json && strcmp(a->json, "-") == 0;
  bench_write_table(b, to_stdout ? stderr : stdout);
  if (to_stdout) bench_write_json(b, stdout);
  if (!a->json || to_stdout) return WEFT_OK;
  FILE *f = fopen(a->json, "w");
  if (f) bench_write_json(b, f);
  bool written = f && ferror(f) == 0;
  if (f && fclose(f) != 0) written = false;
  return written ? WEFT_OK : bench_fail(b, WEFT_EIO, a->json);
}

static int run(const arguments *a) {
  bench *b = calloc(1, sizeof *b);
  if (!b) return EXIT_FAILURE;
  b->mem = weft_alloc_libc();
  b->crypto = weft_crypto_sodium();
  b->quick = a->quick;
  b->tty = isatty(STDERR_FILENO) == 1;
  b->size = a->size;
  b->runs = a->runs ? a->runs : a->quick ? RUNS_QUICK : RUNS_FULL;
  hold_interrupts();
  weft_err err = b->crypto ? bench_folder_make(b) : WEFT_EIO;
  if (err == WEFT_OK) err = bench_run(b, a->workloads);
  if (err == WEFT_OK) err = write_out(b, a);
  if (b->folder[0]) bench_tree_remove(b->folder);
  if (err != WEFT_OK && err != WEFT_EDONE) {
    const char *why = err == WEFT_ENOTFOUND ? "no such workload" : weft_err_str(err);
    fprintf(stderr, "weft-bench: %s: %s\n", b->said[0] ? b->said : "failed", why);
  }
  free(b);
  if (err == WEFT_OK) return EXIT_SUCCESS;
  if (err == WEFT_EDONE) return EXIT_INTERRUPTED;
  return err == WEFT_ENOTFOUND ? EXIT_USAGE : EXIT_FAILURE;
}

int main(int argc, char **argv) {
  arguments a = {0};
  const char *command = argc > 1 ? argv[1] : "";
  if (strcmp(command, "list") == 0 && argc == 2) {
    bench_list(stdout);
    return EXIT_SUCCESS;
  }
  if (strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0) {
    usage(stdout);
    return EXIT_SUCCESS;
  }
  if (strcmp(command, "run") != 0 || !parse(argc, argv, &a)) {
    usage(stderr);
    return EXIT_USAGE;
  }
  return run(&a);
}

/* Two programs by turns. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/median.h"
#include "bench/results.h"

typedef struct pair {
  results mine;
  results theirs;
} pair;

/* Waits until it has ended; an interrupt ends it. */
static weft_err wait_for(const bench *b, pid_t pid, int *status) {
  const struct timespec moment = {0, 20000000};
  while (waitpid(pid, status, WNOHANG) == 0) {
    weft_err err = bench_progress(b, NULL);
    if (err != WEFT_OK) {
      kill(pid, SIGTERM);
      waitpid(pid, status, 0);
      return err;
    }
    nanosleep(&moment, NULL);
  }
  return bench_progress(b, NULL);
}

static weft_err run_one(bench *b, const char *program, const char *list, const char *path) {
  char size[16];
  int status = 0;
  snprintf(size, sizeof size, "%u", b->size);
  pid_t pid = fork();
  if (pid == 0) {
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (!freopen("/dev/null", "w", stdout)) _exit(127);
    const char *argv[12] = {program, "run", list, "--runs", "1", "--json", path};
    size_t count = 7;
    if (b->quick) argv[count++] = "--quick";
    if (b->size) argv[count++] = "--size";
    if (b->size) argv[count++] = size;
    execv(program, (char *const *)(uintptr_t)argv);
    _exit(127);
  }
  if (pid < 0) return bench_fail(b, WEFT_EIO, "no further process");
  WEFT_TRY(wait_for(b, pid, &status));
  bool done = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return bench_fail(b, done ? WEFT_OK : WEFT_EIO, program);
}

static weft_err run_pair(bench *b, const char *self, const char *other, const char *list,
                         weft_arena *arena, pair *out) {
  char path[BENCH_PATH_LEN_MAX];
  bench_path(b, "records", path);
  /* Who begins changes from pair to pair. */
  for (unsigned i = 0; i < 2; i++) {
    bool mine = (b->run + i) % 2 == 0;
    WEFT_TRY(bench_progress(b, mine ? "this program" : "the other one"));
    WEFT_TRY(run_one(b, mine ? self : other, list, path));
    WEFT_TRY(results_read(b, arena, path, mine ? &out->mine : &out->theirs));
  }
  return WEFT_OK;
}

static void tell(const pair *pairs, unsigned count, const result *like, FILE *out) {
  double times[BENCH_RUNS_MAX];
  size_t found = 0;
  for (unsigned i = 0; i < count; i++) {
    const result *mine = results_find(&pairs[i].mine, like);
    const result *theirs = results_find(&pairs[i].theirs, like);
    if (!mine || !theirs || mine->value <= 0 || theirs->value <= 0) continue;
    times[found++] = like->more ? mine->value / theirs->value : theirs->value / mine->value;
  }
  if (found == 0) return;
  double median = bench_median(times, found);
  fprintf(out, "%-7.*s %-15.*s %-22.*s %8.3f %8.3f %8.3f %5zu\n", (int)like->workload.len,
          (const char *)like->workload.at, (int)like->variant.len, (const char *)like->variant.at,
          (int)like->metric.len, (const char *)like->metric.at, median, times[0], times[found - 1],
          found);
}

weft_err bench_against(bench *b, const char *other, const char *list, FILE *out) {
  char self[BENCH_PATH_LEN_MAX];
  weft_arena arena;
  pair pairs[BENCH_RUNS_MAX];
  weft_err err = WEFT_OK;
  ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
  WEFT_TRY(bench_list_check(b, list));
  if (len <= 0) return bench_fail(b, WEFT_EIO, "where this program is");
  self[len] = 0;
  b->title = list;
  weft__arena_init(&arena, &b->mem);
  for (b->run = 0; b->run < b->runs && err == WEFT_OK; b->run++) {
    err = run_pair(b, self, other, list, &arena, &pairs[b->run]);
  }
  if (b->tty) fprintf(stderr, "\r\033[K");
  if (err == WEFT_OK) {
    fprintf(out, "%-7s %-15s %-22s %8s %8s %8s %5s\n", "", "variant", "metric", "times", "min",
            "max", "pairs");
    for (size_t i = 0; i < pairs[0].mine.count; i++) {
      tell(pairs, b->runs, &pairs[0].mine.at[i], out);
    }
  }
  weft__arena_free(&arena);
  return err;
}

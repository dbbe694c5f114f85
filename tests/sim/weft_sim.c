/* weft-sim: runs seeds of the simulator in several processes, sums up, and makes failures small.
 *
 * Each process takes every n-th seed and writes one result a seed to its pipe; one that ends early
 * names the seed it failed at.  That seed is then run again and again with less of everything:
 * fewer steps, kinds of faults and nodes, and then without single steps.  What still fails is
 * printed as the command that repeats it, which lists the steps that are left. */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/scenario.h"
#include "tests/sim/swarm.h"

enum {
  jobs_max = 64,
  steps_small = 4096, /* up to which single steps are left out of a failure */
  text_max = 1 << 16,
  seed_seconds = 600, /* a run that takes longer hangs */
  repeat_every = 10,
  shrink_runs_max = 80,
  keep_runs_max = 300, /* and more, for single steps */
  steps_max = 100000,
  marks_from = 1000, /* seeds from which on every mark should have been hit */
  marks_must = 20000 /* and from which on one that was not is a failure */
};

static const uint32_t all_faults = (1u << SWARM_FAULT_COUNT) - 1;

typedef struct arguments {
  uint64_t first, last;
  swarm_options each;
  size_t jobs;
  bool json, trace, repeat;
  const char *scenario, *plot, *keep;
  bool seeds_given, swarm_given; /* --seeds; what scenarios have no use for */
} arguments;

typedef struct summary {
  uint64_t seeds, hash, settled_ms_max;
  swarm_result sum;
} summary;

static const char usage[] =
    "Runs nodes of weft in virtual time, over networks that fail, and checks after every\n"
    "step what must hold; or reports how one described network does.\n"
    "usage: weft-sim [--seeds A..B] [--nodes N] [--steps N] [--faults LIST] [--jobs N]\n"
    "                [--keep LIST] [--repeat] [--json] [--trace]\n"
    "       weft-sim --scenario FILE [--seeds A..B] [--json] [--plot FILE.svg]\n"
    "  --seeds A..B   inclusive; 1..WEFT_SWARM_SEEDS, or 1..40, when not given\n"
    "  --nodes N      2 to 10; 5\n"
    "  --steps N      operations of each seed; 200\n"
    "  --faults LIST  kinds that seeds may choose from, joined by commas; all, none, or of:";

static const char scenarios[] =
    "a scenario: one setting a line, # begins a remark; examples lie in share/weft/scenarios\n"
    "  name TEXT               title of the report; the path\n"
    "  nodes N                 devices, up to 1,024; 5\n"
    "  started N               so many of them from the beginning; all\n"
    "  topology T              full, chain, ring, ring+K (K more links of each node), star,\n"
    "                          tree K, random K; full\n"
    "  delay A..B              one way, of each connection; 5..50ms\n"
    "  bandwidth N             bytes a second each way, 0 any; 0\n"
    "  writers N               the first nodes write; 5\n"
    "  writes N, every TIME    so many, in turn at random; 100, 100ms\n"
    "  documents N             to so many documents; 10\n"
    "  seeds A..B              which runs; 1..1\n"
    "  limit TIME              after the last write, until when all must agree; 10min\n"
    "  gossip no               anti-entropy alone; yes\n"
    "  cryptography real       in place of the stand-in; quick\n"
    "  checked yes             the wire is read and checked; no\n"
    "  at TIME FAULT           in the order of time: part N (the first N from the others),\n"
    "                          heal, crash N TIME, vanish N TIME (and back after TIME),\n"
    "                          cut N (of 1,000 segments), slow N BYTES, start N\n";

static int help(void) {
  enum { in_a_line = 8 };
  fputs(usage, stdout);
  for (unsigned i = 0; i < SWARM_FAULT_COUNT; i++) {
    const char *before = i % in_a_line == 0 ? "\n                 " : " ";
    printf("%s%s", before, swarm_fault_name((swarm_fault)i));
  }
  fputs("\n  --jobs N       processes; 1\n"
        "  --keep LIST    of one seed, only these operations, from 0, and the faults after each,\n"
        "                 joined by commas: what is left of a failure that was made small\n"
        "  --repeat       every tenth seed is run twice and must go the same way\n"
        "  --json         the summary as one JSON record\n"
        "  --trace        prints what happened in each seed\n"
        "  --scenario FILE   one described network instead; reports convergence, latency and\n"
        "                 traffic of each seed\n"
        "  --plot FILE    draws the first seed of a scenario as SVG\n",
        stdout);
  fputs(scenarios, stdout);
  fputs("exit codes: 0 done, 1 a seed failed, 2 usage, 3 the system refused something\n", stdout);
  return 0;
}

static int misuse(const char *name, const char *value) {
  fprintf(stderr, "weft-sim: %s%s%s: no such option, or no value for it: see weft-sim --help\n",
          name, value ? " " : "", value ? value : "");
  return 2;
}

/* --- running --- */

/* Runs a seed in this process; with `repeat`, twice. */
static void run_here(const arguments *a, uint64_t seed, bool repeat, swarm_result *out) {
  swarm_options o = a->each;
  o.seed = seed;
  alarm(seed_seconds);
  swarm_run(&o, a->trace ? stdout : NULL, out);
  if (repeat) {
    swarm_result again;
    swarm_run(&o, NULL, &again);
    if (again.hash != out->hash) {
      fprintf(stderr, "seed=%" PRIu64 " event=%" PRIu64 ": a second run went another way\n", seed,
              again.events);
      abort();
    }
  }
}

static void write_all(int fd, const void *at, size_t len) {
  const uint8_t *bytes = at;
  while (len > 0) {
    ssize_t some = write(fd, bytes, len);
    if (some < 0 && errno == EINTR) continue;
    if (some <= 0) _exit(3);
    bytes += some;
    len -= (size_t)some;
  }
}

/* Gives false at the end of the pipe. */
static bool read_result(int fd, swarm_result *out) {
  size_t len = 0;
  while (len < sizeof *out) {
    ssize_t some = read(fd, (uint8_t *)out + len, sizeof *out - len);
    if (some < 0 && errno == EINTR) continue;
    if (some <= 0) return false;
    len += (size_t)some;
  }
  return true;
}

static void die(const char *what) {
  perror(what);
  exit(3);
}

/* What was printed must have arrived. */
static void told(void) {
  if (fflush(stdout) != 0 || ferror(stdout)) die("stdout");
}

/* Starts a process that runs every `step`-th seed from `from` on. */
static pid_t start(const arguments *a, uint64_t from, uint64_t step, FILE *errors, int *out) {
  int ends[2];
  fflush(NULL);
  if (pipe(ends) != 0) die("pipe");
  pid_t pid = fork();
  if (pid < 0) die("fork");
  if (pid > 0) {
    close(ends[1]);
    *out = ends[0];
    return pid;
  }
  close(ends[0]);
  if (dup2(fileno(errors), STDERR_FILENO) < 0) _exit(3);
  for (uint64_t seed = from; seed <= a->last; seed += step) {
    swarm_result result;
    run_here(a, seed, a->repeat && seed % repeat_every == 0, &result);
    fflush(stdout);
    write_all(ends[1], &result, sizeof result);
    if (a->last - seed < step) break;
  }
  _exit(0);
}

/* Lets a whole run, in a process of its own, leave where its generators stand; it may fail. */
static void find_stands(const arguments *a, swarm_options *o) {
  int status;
  size_t len = o->steps * sizeof *o->stands;
  FILE *shared = tmpfile();
  if (!shared || ftruncate(fileno(shared), (off_t)len) != 0) die("tmpfile");
  o->stands = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(shared), 0);
  if (o->stands == MAP_FAILED) die("mmap");
  arguments one = *a;
  one.each = *o;
  one.each.keep = NULL;
  one.trace = false;
  fflush(NULL);
  pid_t pid = fork();
  if (pid < 0) die("fork");
  if (pid == 0) {
    swarm_result result;
    if (!freopen("/dev/null", "w", stderr)) _exit(3);
    run_here(&one, o->seed, false, &result);
    _exit(0);
  }
  if (waitpid(pid, &status, 0) != pid) die("waitpid");
  fclose(shared);
}

/* Runs one seed in a process of its own; false when it fails, and `text` tells why. */
static bool run_apart(const arguments *a, const swarm_options *each, char *text) {
  arguments one = *a;
  one.each = *each;
  one.first = one.last = each->seed;
  one.jobs = 1;
  one.trace = false;
  FILE *errors = tmpfile();
  if (!errors) die("tmpfile");
  int fd, status;
  swarm_result result;
  pid_t pid = start(&one, each->seed, 1, errors, &fd);
  bool ok = read_result(fd, &result);
  close(fd);
  if (waitpid(pid, &status, 0) != pid) die("waitpid");
  ok = ok && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  rewind(errors);
  size_t len = fread(text, 1, text_max - 1, errors);
  text[len] = 0;
  fclose(errors);
  if (!ok && len == 0) {
    snprintf(text, text_max, "seed=%" PRIu64 " event=?: the process ended by %s %d\n", each->seed,
             WIFSIGNALED(status) ? "signal" : "exit",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  }
  return ok;
}

/* --- making a failure small --- */

typedef struct shrinker {
  const arguments *a;
  swarm_options best;
  char *text; /* of the best */
  char *scratch;
  unsigned runs, runs_max;
} shrinker;

/* Keeps `o` when it fails too. */
static bool try_it(shrinker *s, swarm_options o) {
  if (s->runs++ >= s->runs_max || run_apart(s->a, &o, s->scratch)) return false;
  s->best = o;
  memcpy(s->text, s->scratch, text_max);
  return true;
}

static void fewer_steps(shrinker *s) {
  for (size_t less = s->best.steps / 2; less > 0; less /= 2) {
    swarm_options o = s->best;
    while (o.steps > less) {
      o.steps -= less;
      if (!try_it(s, o)) break;
    }
  }
}

static void shrink(shrinker *s) {
  fewer_steps(s);
  for (unsigned i = 0; i < SWARM_FAULT_COUNT; i++) {
    swarm_options o = s->best;
    o.faults &= ~(1u << i);
    if (o.faults != s->best.faults) (void)try_it(s, o);
  }
  for (size_t nodes = 2; nodes < s->best.nodes; nodes++) {
    swarm_options o = s->best;
    o.nodes = nodes;
    if (try_it(s, o)) break;
  }
  fewer_steps(s);
}

/* Leaves out the steps `from`..`to` - 1 that are kept, unless it does not fail without them. */
static bool leave_out(shrinker *s, bool *keep, size_t from, size_t to) {
  bool before[steps_small];
  bool any = false;
  memcpy(before, keep, sizeof before);
  for (size_t i = from; i < to; i++) {
    any = any || keep[i];
    keep[i] = false;
  }
  if (!any || try_it(s, s->best)) return any;
  memcpy(keep, before, sizeof before);
  return false;
}

/* `keep` belongs to the caller, and stays in the best. */
static void fewer_kept(shrinker *s, bool keep[steps_small]) {
  size_t steps = s->best.steps;
  if (steps == 0 || steps > steps_small) return;
  for (size_t i = 0; i < steps_small; i++) keep[i] = true;
  find_stands(s->a, &s->best);
  s->best.keep = keep;
  s->runs_max += keep_runs_max;
  for (size_t len = (steps + 1) / 2;; len /= 2) {
    bool less = false;
    for (size_t from = steps; from > 0;) { /* the last ones first: they are the least needed */
      size_t at = from > len ? from - len : 0;
      less = leave_out(s, keep, at, from) || less;
      from = at;
    }
    if (len == 1 && !less) break;
    if (len == 1) len = 2; /* once more, one by one */
  }
  swarm_options o = s->best;
  while (o.steps > 0 && !keep[o.steps - 1]) o.steps--;
  (void)try_it(s, o);
}

/* The line that names the seed, else the last one. */
static const char *line_of(char *text) {
  char *last = text, *found = NULL;
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
    last = line;
    if (strncmp(line, "seed=", 5) == 0) found = line;
  }
  return found ? found : last;
}

static void print_command(const swarm_options *o) {
  printf("weft-sim --seeds %" PRIu64 "..%" PRIu64 " --nodes %zu --steps %zu --faults ", o->seed,
         o->seed, o->nodes, o->steps);
  const char *comma = "";
  for (unsigned i = 0; i < SWARM_FAULT_COUNT; i++) {
    if (!(o->faults >> i & 1)) continue;
    printf("%s%s", comma, swarm_fault_name((swarm_fault)i));
    comma = ",";
  }
  fputs(o->faults ? "" : "none", stdout);
  comma = " --keep ";
  for (size_t i = 0; o->keep && i < o->steps; i++) {
    if (!o->keep[i]) continue;
    printf("%s%zu", comma, i);
    comma = ",";
  }
  puts(o->keep && *comma == ' ' ? " --keep none" : "");
}

static int failed(const arguments *a, uint64_t seed) {
  bool keep[steps_small];
  shrinker s = {.a = a, .best = a->each, .runs_max = shrink_runs_max};
  s.best.seed = seed;
  s.text = malloc(text_max);
  s.scratch = malloc(text_max);
  if (!s.text || !s.scratch) die("memory");
  if (run_apart(a, &s.best, s.text)) {
    printf("seed=%" PRIu64 " event=?: failed once, and not when it was run again\n", seed);
    return 1;
  }
  if (!a->keep) {
    shrink(&s);
    fewer_kept(&s, keep);
  }
  fprintf(stderr, "%s\n", s.text);
  const char *line = line_of(s.text);
  bool named = strncmp(line, "seed=", 5) == 0;
  printf("smallest: ");
  print_command(&s.best);
  if (named)
    printf("%s\n", line);
  else
    printf("seed=%" PRIu64 " event=?: %s\n", seed, line);
  free(s.text);
  free(s.scratch);
  return 1;
}

/* --- summing up --- */

static uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t z = a * 0x9e3779b97f4a7c15u ^ b;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  return z ^ z >> 31;
}

static void add_presence(present_counts *sum, const present_counts *one) {
  sum->stated += one->stated;
  sum->listed += one->listed;
  sum->forged += one->forged;
  sum->repeated += one->repeated;
  if (one->silent_ms > sum->silent_ms) sum->silent_ms = one->silent_ms;
  if (one->calm_ms > sum->calm_ms) sum->calm_ms = one->calm_ms;
}

/* The order in which seeds end does not matter. */
static void add(summary *s, const swarm_result *r) {
  s->seeds++;
  s->hash += mix(r->seed, r->hash);
  s->sum.events += r->events;
  s->sum.operations += r->operations;
  s->sum.changes += r->changes;
  s->sum.conflicts += r->conflicts;
  for (unsigned i = 0; i < SIM_INVARIANT_COUNT; i++) s->sum.checks[i] += r->checks[i];
  for (unsigned i = 0; i < LIAR_WAY_COUNT; i++) s->sum.lies[i] += r->lies[i];
  s->sum.marks |= r->marks;
  add_presence(&s->sum.presence, &r->presence);
  if (r->settled_ms > s->settled_ms_max) s->settled_ms_max = r->settled_ms;
  for (unsigned i = 0; i < SWARM_FAULT_COUNT; i++) s->sum.injected[i] += r->injected[i];
}

static const char *invariant_id(unsigned i) {
  static const char *const ids[] = {
#define SIM_ID(id, text) #id,
      SIM_INVARIANTS(SIM_ID)
#undef SIM_ID
  };
  return ids[i];
}

static const char *invariant_text(unsigned i) {
  static const char *const texts[] = {
#define SIM_TEXT(id, text) text,
      SIM_INVARIANTS(SIM_TEXT)
#undef SIM_TEXT
  };
  return texts[i];
}

static const char *fault_name(unsigned i) { return swarm_fault_name((swarm_fault)i); }

static const char *way_name(unsigned i) {
  static const char *const names[] = {
#define LIAR_NAME(id, name) name,
      LIAR_WAYS(LIAR_NAME)
#undef LIAR_NAME
  };
  return names[i];
}

/* A table of counts by name. */
typedef struct counted {
  const char *key;
  const uint64_t *at;
  unsigned count;
  const char *(*name)(unsigned);
} counted;

enum { tables = 3 };

static void tables_of(const summary *s, counted out[tables]) {
  out[0] = (counted){"faults", s->sum.injected, SWARM_FAULT_COUNT, fault_name};
  out[1] = (counted){"lies", s->sum.lies, LIAR_WAY_COUNT, way_name};
  out[2] = (counted){"invariants", s->sum.checks, SIM_INVARIANT_COUNT, invariant_id};
}

/* What one seed took of a core, on average: the same on a busy machine. */
static double cpu_ms(const summary *s) {
  struct rusage used;
  if (s->seeds == 0 || getrusage(RUSAGE_CHILDREN, &used) != 0) return 0;
  double ms = (double)used.ru_utime.tv_sec * 1000 + (double)used.ru_utime.tv_usec / 1000 +
              (double)used.ru_stime.tv_sec * 1000 + (double)used.ru_stime.tv_usec / 1000;
  return ms / (double)s->seeds;
}

static void print_json(const summary *s) {
  counted all[tables];
  tables_of(s, all);
  printf("{\"seeds\":%" PRIu64 ",\"events\":%" PRIu64 ",\"hash\":\"%016" PRIx64 "\"", s->seeds,
         s->sum.events, s->hash);
  printf(",\"operations\":%" PRIu64 ",\"changes\":%" PRIu64 ",\"conflicts\":%" PRIu64
         ",\"settled_ms_max\":%" PRIu64 ",\"cpu_ms_per_seed\":%.1f",
         s->sum.operations, s->sum.changes, s->sum.conflicts, s->settled_ms_max, cpu_ms(s));
  for (unsigned t = 0; t < tables; t++) {
    printf(",\"%s\":{", all[t].key);
    for (unsigned i = 0; i < all[t].count; i++) {
      printf("%s\"%s\":%" PRIu64, i ? "," : "", all[t].name(i), all[t].at[i]);
    }
    printf("}");
  }
  const present_counts *here = &s->sum.presence;
  printf(",\"presence\":{\"stated\":%" PRIu64 ",\"listed\":%" PRIu64 ",\"silent_ms_max\":%" PRIu64
         ",\"forged\":%" PRIu64 ",\"repeated\":%" PRIu64 ",\"calm_ms_max\":%" PRIu64 "}",
         here->stated, here->listed, here->silent_ms, here->forged, here->repeated, here->calm_ms);
  printf(",\"never\":[");
  const char *comma = "";
  for (unsigned i = 0; i < SWARM_MARK_COUNT; i++) {
    if (s->sum.marks >> i & 1) continue;
    printf("%s\"%s\"", comma, swarm_mark_text((swarm_mark)i));
    comma = ",";
  }
  puts("]}");
}

static void print_text(const summary *s) {
  counted all[tables];
  tables_of(s, all);
  for (unsigned t = 0; t + 1 < tables; t++) {
    printf("%s:", all[t].key);
    for (unsigned i = 0; i < all[t].count; i++) {
      printf("%s %" PRIu64 " %s", i ? "," : "", all[t].at[i], all[t].name(i));
    }
    puts("");
  }
  const present_counts *here = &s->sum.presence;
  printf("presence: %" PRIu64 " statements, %" PRIu64
         " sessions listed elsewhere, silent for %" PRIu64 " ms at most; %" PRIu64
         " forged, %" PRIu64 " repeated; all list all after %" PRIu64 " ms at most\n",
         here->stated, here->listed, here->silent_ms, here->forged, here->repeated, here->calm_ms);
  puts("invariants checked:");
  for (unsigned i = 0; i < SIM_INVARIANT_COUNT; i++) {
    printf("  %-4s %-12s %12" PRIu64 "\n", invariant_id(i), invariant_text(i), s->sum.checks[i]);
  }
  printf("%" PRIu64 " operations, %" PRIu64 " changes, %" PRIu64
         " conflicts; the slowest seed converged in %" PRIu64 " ms; %.1f ms of a core a seed\n",
         s->sum.operations, s->sum.changes, s->sum.conflicts, s->settled_ms_max, cpu_ms(s));
  for (unsigned i = 0; s->seeds >= marks_from && i < SWARM_MARK_COUNT; i++) {
    if (!(s->sum.marks >> i & 1)) printf("never: %s\n", swarm_mark_text((swarm_mark)i));
  }
  printf("%" PRIu64 " seeds, %" PRIu64 " events, hash %016" PRIx64 "\n", s->seeds, s->sum.events,
         s->hash);
}

/* --- all seeds --- */

typedef struct job {
  pid_t pid;
  int fd; /* -1 when it has ended */
  uint64_t next;
} job;

/* Takes what has arrived from one process; false when it failed at job->next. */
static bool take(job *j, const arguments *a, summary *s) {
  swarm_result result;
  if (read_result(j->fd, &result)) {
    add(s, &result);
    j->next = a->last - result.seed < a->jobs ? UINT64_MAX : result.seed + a->jobs;
    return true;
  }
  close(j->fd);
  j->fd = -1;
  int status;
  if (waitpid(j->pid, &status, 0) != j->pid) die("waitpid");
  return j->next == UINT64_MAX;
}

static int run_all(const arguments *a) {
  job jobs[jobs_max];
  summary s = {0};
  uint64_t bad = UINT64_MAX;
  size_t open = a->jobs;
  FILE *errors = tmpfile();
  if (!errors) die("tmpfile");
  for (size_t i = 0; i < a->jobs; i++) {
    jobs[i].next = a->first + i;
    jobs[i].pid = start(a, jobs[i].next, a->jobs, errors, &jobs[i].fd);
  }
  while (open > 0) {
    struct pollfd fds[jobs_max];
    for (size_t i = 0; i < a->jobs; i++) fds[i] = (struct pollfd){jobs[i].fd, POLLIN, 0};
    if (poll(fds, a->jobs, -1) < 0 && errno != EINTR) die("poll");
    for (size_t i = 0; i < a->jobs; i++) {
      if (jobs[i].fd < 0 || fds[i].revents == 0) continue;
      if (!take(&jobs[i], a, &s) && jobs[i].next < bad) bad = jobs[i].next;
      if (jobs[i].fd < 0) open--;
    }
  }
  fclose(errors);
  if (bad != UINT64_MAX) return failed(a, bad);
  if (a->json)
    print_json(&s);
  else
    print_text(&s);
  bool all = s.sum.marks == (UINT64_C(1) << SWARM_MARK_COUNT) - 1;
  told();
  return s.seeds >= marks_must && !all;
}

/* --- scenarios --- */

/* A run that fails has told why, and ends the process: not as a crash of this program. */
static void ended(int number) {
  (void)number;
  _exit(1);
}

static int run_scenario(const arguments *a) {
  scenario c;
  scenario_result r;
  char why[160];
  if (!scenario_read(a->scenario, &c, why)) {
    fprintf(stderr, "weft-sim: %s: %s\n", a->scenario, why);
    return 2;
  }
  if (a->seeds_given) {
    c.first = a->first;
    c.last = a->last;
  }
  FILE *plot = a->plot ? fopen(a->plot, "w") : NULL;
  if (a->plot && !plot) die(a->plot);
  signal(SIGABRT, ended);
  for (uint64_t seed = c.first; seed <= c.last; seed++) {
    fflush(stdout);
    scenario_run(&c, seed, &r);
    if (a->json)
      scenario_json(&c, &r, stdout);
    else
      scenario_text(&c, &r, stdout);
    if (plot && seed == c.first) scenario_plot(&c, &r, plot);
    scenario_free(&r);
  }
  if (plot && fclose(plot) != 0) die(a->plot);
  told();
  return 0;
}

/* --- arguments --- */

static bool number(const char *text, uint64_t *out) {
  char *end;
  errno = 0;
  if (*text < '0' || *text > '9') return false;
  *out = strtoull(text, &end, 10);
  return errno == 0 && *end == 0;
}

static bool seeds(const char *text, arguments *a) {
  char first[32];
  const char *dots = strstr(text, "..");
  size_t len = dots ? (size_t)(dots - text) : 0;
  if (len == 0 || len >= sizeof first) return false;
  memcpy(first, text, len);
  first[len] = 0;
  return number(first, &a->first) && number(dots + 2, &a->last) && a->first <= a->last &&
         a->last < UINT64_MAX - jobs_max;
}

static bool faults(const char *text, uint32_t *out) {
  *out = strcmp(text, "all") == 0 ? all_faults : 0;
  if (*out || strcmp(text, "none") == 0) return true;
  while (*text) {
    size_t len = strcspn(text, ",");
    unsigned i = 0;
    while (i < SWARM_FAULT_COUNT && (strlen(swarm_fault_name((swarm_fault)i)) != len ||
                                     strncmp(swarm_fault_name((swarm_fault)i), text, len) != 0)) {
      i++;
    }
    if (i == SWARM_FAULT_COUNT) return false;
    *out |= 1u << i;
    text += len + (text[len] == ',');
  }
  return true;
}

/* The steps of `--keep`, in `keep` of so many as there are; of one seed alone. */
static bool kept(arguments *a, bool *keep) {
  const char *at = strcmp(a->keep, "none") == 0 ? "" : a->keep;
  if (a->first != a->last || (!*at && *a->keep != 'n')) return false;
  while (*at) {
    char text[16];
    uint64_t n;
    size_t len = strcspn(at, ",");
    if (len == 0 || len >= sizeof text) return false;
    memcpy(text, at, len);
    text[len] = 0;
    if (!number(text, &n) || n >= a->each.steps) return false;
    keep[n] = true;
    at += len + (at[len] == ',');
  }
  a->each.seed = a->first;
  a->each.keep = keep;
  find_stands(a, &a->each);
  return true;
}

static bool option(arguments *a, const char *name, const char *value) {
  uint64_t n = 0;
  if (strcmp(name, "--scenario") == 0) return (a->scenario = value) != NULL;
  if (strcmp(name, "--plot") == 0) return (a->plot = value) != NULL;
  if (strcmp(name, "--seeds") == 0) return a->seeds_given = seeds(value, a);
  a->swarm_given = true;
  if (strcmp(name, "--keep") == 0) return (a->keep = value) != NULL;
  if (strcmp(name, "--faults") == 0) return faults(value, &a->each.faults);
  if (!number(value, &n)) return false;
  if (strcmp(name, "--nodes") == 0) {
    a->each.nodes = (size_t)n;
    return n >= 2 && n <= 10;
  }
  if (strcmp(name, "--steps") == 0) {
    a->each.steps = (size_t)n;
    return n <= steps_max;
  }
  a->jobs = (size_t)n;
  return strcmp(name, "--jobs") == 0 && n >= 1 && n <= jobs_max;
}

/* Words that say nothing beside each other are refused and not passed over. */
static int apart(const arguments *a) {
  fprintf(stderr, "weft-sim: %s: see weft-sim --help\n",
          a->scenario ? "--scenario goes with --seeds, --json and --plot alone"
                      : "--plot wants a --scenario");
  return 2;
}

/* A run gives back all it took, and the next one takes as much: the heap need not go back and forth
 * between them.  Says nothing to an allocator of sanitizers. */
static void keep_heap(void) {
  enum { keep = 256 << 20, more = 16 << 20 };
  (void)mallopt(M_TRIM_THRESHOLD, keep);
  (void)mallopt(M_MMAP_THRESHOLD, keep);
  (void)mallopt(M_TOP_PAD, more);
}

int main(int argc, char **argv) {
  arguments a = {.first = 1, .last = 40, .jobs = 1};
  const char *count = getenv("WEFT_SWARM_SEEDS");
  keep_heap();
  a.each = (swarm_options){.nodes = 5, .steps = 200, .faults = all_faults};
  if (count && (!number(count, &a.last) || a.last == 0)) a.last = 40;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return help();
    if (strcmp(argv[i], "--json") == 0)
      a.json = true;
    else if (strcmp(argv[i], "--trace") == 0)
      a.trace = true;
    else if (strcmp(argv[i], "--repeat") == 0)
      a.repeat = true;
    else if (i + 1 < argc && option(&a, argv[i], argv[i + 1]))
      i++;
    else
      return misuse(argv[i], argv[i + 1]);
  }
  bool other = a.scenario ? a.swarm_given || a.trace || a.repeat : a.plot != NULL;
  if (other) return apart(&a);
  if (a.scenario) return run_scenario(&a);
  static bool keep[steps_max];
  if (a.keep && !kept(&a, keep)) return misuse("--keep", a.keep);
  if (a.last - a.first < a.jobs) a.jobs = (size_t)(a.last - a.first) + 1;
  return run_all(&a);
}

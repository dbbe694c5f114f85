/* weft-bench-plain: W1 to W6 in SQLite and Redis, for `weft-bench peers`.
 *
 *   weft-bench-plain sqlite|redis W1|W2|W4|W6 TEMPLATES UPDATES SECONDS FOLDER
 *
 * Prints figures as JSON lines, as bench/peers/one.mjs does.  FOLDER is scratch.  What takes longer
 * than SECONDS is cut off and told by its rate so far.  Exit codes: 0 done, 1 failed, 2 usage, 3
 * the database is not there. */
#include "bench/peers/plain.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/median.h"

enum {
  EXIT_USAGE = 2,
  EXIT_ABSENT = 3,
  GROUP = 10000,       /* updates of a transaction, as weft holds them */
  IMPORT_GROUP = 8000, /* templates of one */
  CELLS_MAX = IMPORT_GROUP * W1_FIELDS,
  STORMS = 5
};
_Static_assert((int)GROUP <= (int)CELLS_MAX, "any transaction fits");

typedef struct job {
  const plain_kind *kind;
  plain_db *db;
  plain_db *source; /* W4 */
  weft_alloc mem;
  uint32_t templates;
  uint32_t updates;
  double seconds;
  const char *folder;
  plain_cell *cells; /* of a transaction, CELLS_MAX of them */
} job;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

size_t plain_text(char out[W1_TEXT_LEN_MAX], const w1_value *v) {
  int len = 0;
  if (v->value.kind == WEFT_INT) {
    len = snprintf(out, W1_TEXT_LEN_MAX, "%" PRId64, v->value.as.integer);
  } else if (v->value.kind == WEFT_DOUBLE) {
    len = snprintf(out, W1_TEXT_LEN_MAX, "%.3f", v->value.as.real);
  } else if (v->value.kind == WEFT_BOOL) {
    len = snprintf(out, W1_TEXT_LEN_MAX, "%d", v->value.as.boolean);
  } else {
    len = snprintf(out, W1_TEXT_LEN_MAX, "%s", v->text);
  }
  return (size_t)len;
}

static void tell(const job *j, const char *variant, const char *metric, const char *unit,
                 double value, uint64_t done) {
  printf("{\"peer\":\"%s\",\"variant\":\"%s\",\"metric\":\"%s\",\"unit\":\"%s\",\"value\":%.6g,"
         "\"done\":%" PRIu64 "}\n",
         j->kind->name, variant, metric, unit, value, done);
}

static void cell_make(plain_cell *cell, w1_place at) {
  w1_document(cell->doc, at.template);
  cell->field = w1_field(at.field);
  w1_value_of(&cell->value, at);
}

/* Puts the first `count` cells in a transaction, the clock from `clock` on, and adds the time. */
static bool put_cells(const job *j, plain_db *db, uint32_t count, uint32_t clock, double *seconds) {
  double start = now();
  bool ok = j->kind->begin(db);
  for (uint32_t i = 0; i < count && ok; i++) {
    unsigned device = clock ? w1_device(clock - 1 + i) : 0;
    ok = j->kind->put(db, &j->cells[i], clock ? clock + i : 0, device);
  }
  ok = ok && j->kind->end(db);
  *seconds += now() - start;
  return ok;
}

/* Adds the time it takes to `seconds`. */
static bool import(const job *j, plain_db *db, double *seconds) {
  bool ok = true;
  for (uint32_t t = 0; t < j->templates && ok; t += IMPORT_GROUP) {
    uint32_t some = j->templates - t < IMPORT_GROUP ? j->templates - t : IMPORT_GROUP;
    for (uint32_t i = 0; i < some * W1_FIELDS; i++) {
      cell_make(&j->cells[i], (w1_place){t + i / W1_FIELDS, i % W1_FIELDS, 0});
    }
    ok = put_cells(j, db, some * W1_FIELDS, 0, seconds);
  }
  return ok;
}

/* The last value written must be the one that is read. */
static bool check(const job *j, w1_place at) {
  char got[W1_TEXT_LEN_MAX];
  char want[W1_TEXT_LEN_MAX];
  w1_value v;
  w1_value_of(&v, at);
  plain_text(want, &v);
  if (!j->kind->get(j->db, at, got, sizeof got)) return false;
  return v.value.kind == WEFT_DOUBLE ? strtod(got, NULL) == strtod(want, NULL)
                                     : strcmp(got, want) == 0;
}

/* Updates in synced transactions of `group`. */
static bool update(const job *j, uint32_t group, const char *variant) {
  w1_updates u;
  w1_place at = {0, 0, 0};
  uint32_t done = 0;
  double seconds = 0;
  bool ok = w1_updates_init(&u, &j->mem, j->templates) == WEFT_OK;
  while (ok && done < j->updates && seconds < j->seconds) {
    uint32_t some = j->updates - done < group ? j->updates - done : group;
    for (uint32_t i = 0; i < some; i++) {
      at = w1_updates_next(&u);
      cell_make(&j->cells[i], at);
    }
    ok = put_cells(j, j->db, some, 1 + done, &seconds);
    done += some;
  }
  ok = ok && check(j, at);
  w1_updates_free(&u);
  if (ok) tell(j, variant, "rate", "changes/s", done / seconds, done);
  return ok;
}

static bool run_w1(job *j) {
  double aside = 0;
  return import(j, j->db, &aside) && update(j, 1, "single");
}

static bool run_w2(job *j) {
  const uint64_t fields = (uint64_t)j->templates * W1_FIELDS;
  double aside = 0;
  if (!import(j, j->db, &aside) || !update(j, GROUP, "held")) return false;
  uint64_t len = j->kind->packed_len(j->db);
  if (len > 0)
    tell(j, "wire", "bytes_per_field", "bytes", (double)len / (double)fields, j->updates);
  return true;
}

static bool run_w4(job *j) {
  const uint64_t fields = (uint64_t)j->templates * W1_FIELDS;
  double seconds = 0;
  bool ok = true;
  if (j->kind->copy) {
    double aside = 0;
    j->source = j->kind->open(j->folder, "source");
    if (!j->source || !import(j, j->source, &aside)) return false;
    double start = now();
    ok = j->kind->copy(j->source, j->db);
    seconds = now() - start;
  } else {
    ok = import(j, j->db, &seconds);
  }
  if (!ok || !check(j, (w1_place){j->templates - 1, W1_FIELDS - 1, 0})) return false;
  tell(j, "cold", "rate", "fields/s", (double)fields / seconds, fields);
  return true;
}

/* Everybody writes the same field; the last one is left.  The median of some storms. */
static bool run_w6(job *j) {
  double rates[STORMS];
  if (j->updates > CELLS_MAX) return false;
  for (uint32_t i = 0; i < j->updates; i++) cell_make(&j->cells[i], (w1_place){0, 0, i});
  for (uint32_t n = 0; n < STORMS; n++) {
    double start = now();
    bool ok = j->kind->begin(j->db);
    for (uint32_t i = 0; i < j->updates && ok; i++) {
      ok = j->kind->put(j->db, &j->cells[i], n, i);
    }
    if (!ok || !j->kind->end(j->db)) return false;
    rates[n] = j->updates / (now() - start);
  }
  if (!check(j, (w1_place){0, 0, j->updates - 1})) return false;
  tell(j, "storm", "rate", "changes/s", bench_median(rates, STORMS), j->updates);
  return true;
}

static const struct {
  const char *name;
  bool (*run)(job *j);
} workloads[] = {{"W1", run_w1}, {"W2", run_w2}, {"W4", run_w4}, {"W6", run_w6}};

static const plain_kind *kind_of(const char *name) {
#ifdef WEFT_BENCH_SQLITE
  if (strcmp(name, plain_sqlite.name) == 0) return &plain_sqlite;
#endif
  return strcmp(name, plain_redis.name) == 0 ? &plain_redis : NULL;
}

int main(int argc, char **argv) {
  if (argc != 7) {
    fprintf(stderr, "usage: weft-bench-plain PEER WORKLOAD TEMPLATES UPDATES SECONDS FOLDER\n");
    return EXIT_USAGE;
  }
  job j = {.kind = kind_of(argv[1]), .mem = weft_alloc_libc()};
  j.templates = (uint32_t)strtoul(argv[3], NULL, 10);
  j.updates = (uint32_t)strtoul(argv[4], NULL, 10);
  j.seconds = strtod(argv[5], NULL);
  j.folder = argv[6];
  if (j.templates == 0 || j.templates > W1_TEMPLATES_MAX || j.updates == 0) return EXIT_USAGE;
  if (j.kind) j.db = j.kind->open(j.folder, "db");
  if (!j.db) return EXIT_ABSENT;
  j.cells = calloc(CELLS_MAX, sizeof *j.cells);
  bool ok = false;
  for (size_t i = 0; j.cells && i < sizeof workloads / sizeof workloads[0]; i++) {
    if (strcmp(argv[2], workloads[i].name) == 0) ok = workloads[i].run(&j);
  }
  if (!ok) fprintf(stderr, "%s %s failed\n", argv[1], argv[2]);
  j.kind->close(j.db);
  j.kind->close(j.source);
  free(j.cells);
  return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

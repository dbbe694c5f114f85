/* Kills a process that writes, again and again, and looks at what it left.
 *
 * A child opens the replica of device 0 on an LMDB store and writes as fast as it can: own commits,
 * groups, changes of device 1 held and shown.  What it begins and what was acknowledged to it
 * stands in memory shared with the parent, who kills it with SIGKILL after a random while.  Then
 * another child opens the store: everything acknowledged must be there, everything kept must equal
 * what is counted from scratch, and a new write must work.
 *
 * WEFT_KILLS: how often (25).  WEFT_KILL_SEED: where to begin (1).  WEFT_KILL_MEMORY: where TMPDIR
 * or the machine keeps files in memory, instead of on the disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/lmdb_store.h"
#include "tests/support/pace.h"
#include "tests/support/recount.h"
#include "tests/support/space.h"
#include "tests/support/temp.h"

enum { DOCS = 5, KILLS_PER_STORE = 25 };

typedef enum stage { IDLE, OTHER, OPENING, COMMIT, GROUP, HOLD, SHOW, STAGES } stage;
static const char *const stage_names[STAGES] = {"idle",  "the other", "opening", "commit",
                                                "group", "hold",      "show"};

/* Written by the writing child alone, read by the others after its death. */
typedef struct marks {
  volatile uint64_t begun[DOCS];
  volatile uint64_t acked[DOCS];
  volatile uint64_t held; /* changes of others acknowledged */
  volatile uint64_t shown;
  volatile uint64_t next;
  volatile stage stage;
} marks;

typedef struct kill_run {
  marks *m;
  test_temp temp;
  test_space s;
  test_rng rng;
} kill_run;

static void doc_name(char out[16], uint64_t doc) { snprintf(out, 16, "t/d%d", (int)(doc % DOCS)); }

static weft_replica *open_store(kill_run *k) {
  char path[256];
  char mirror[256];
  weft_lmdb_options lo;
  weft_store *store;
  weft_replica *r;
  test_temp_path(&k->temp, "data.mdb", path);
  test_temp_path(&k->temp, "mirror", mirror);
  weft_lmdb_options_init(&lo);
  lo.path = path;
  assert_int_equal(weft_lmdb_store_open(&lo, &store, NULL), WEFT_OK);
  weft_replica_options o = test_space_options(&k->s, 0, store);
  o.mirror_dir = mirror;
  assert_int_equal(weft_replica_open(&r, &o), WEFT_OK);
  test_space_add_records(&k->s, r);
  return r;
}

/* --- the writer --- */

static void write_one(kill_run *k, weft_replica *r, uint64_t *doc, uint64_t *value) {
  char name[16];
  char json[32];
  *doc = test_rng_below(&k->rng, DOCS);
  *value = ++k->m->next;
  doc_name(name, *doc);
  snprintf(json, sizeof json, "%llu", (unsigned long long)*value);
  k->m->begun[*doc] = *value;
  assert_int_equal(test_set(r, name, "/n", json), WEFT_OK);
}

static void write_commit(kill_run *k, weft_replica *r) {
  uint64_t doc, value;
  k->m->stage = COMMIT;
  write_one(k, r, &doc, &value);
  k->m->acked[doc] = value;
}

static void write_group(kill_run *k, weft_replica *r) {
  uint64_t docs[40], values[40];
  size_t count = 1 + test_rng_below(&k->rng, 40);
  k->m->stage = GROUP;
  assert_int_equal(weft_group_begin(r), WEFT_OK);
  for (size_t i = 0; i < count; i++) write_one(k, r, &docs[i], &values[i]);
  assert_int_equal(weft_group_end(r), WEFT_OK);
  for (size_t i = 0; i < count; i++) k->m->acked[docs[i]] = values[i];
}

/* Device 1 has seen what device 0 shows, writes over it, and hands it over. */
static void write_other(kill_run *k, weft_replica *r, weft_replica *other) {
  char json[32];
  size_t count = test_rng_chance(&k->rng, 30) ? 90 : 1 + test_rng_below(&k->rng, 5);
  k->m->stage = OTHER;
  test_pull(other, r, 100);
  assert_int_equal(weft_group_begin(other), WEFT_OK);
  for (size_t i = 0; i < count; i++) {
    char name[16];
    doc_name(name, i);
    snprintf(json, sizeof json, "%zu", i);
    assert_int_equal(test_set(other, name, "/other", json), WEFT_OK);
  }
  assert_int_equal(weft_group_end(other), WEFT_OK);
  k->m->stage = HOLD;
  test_pull(r, other, 100);
  weft_counts c;
  k->m->stage = SHOW;
  test_show_all(r);
  assert_int_equal(weft_replica_counts(r, &c), WEFT_OK);
  k->m->held = c.changes_held;
  k->m->shown = c.changes_shown;
}

static void writer(kill_run *k) {
  k->m->stage = OPENING;
  weft_replica *r = open_store(k);
  k->m->stage = IDLE;
  weft_replica *other = test_space_memory(&k->s, 1);
  for (;;) {
    uint64_t what = test_rng_below(&k->rng, 100);
    k->s.platforms[0].now += 40;
    if (what < 75) {
      write_commit(k, r);
    } else if (what < 93) {
      write_group(k, r);
    } else {
      write_other(k, r, other);
    }
    k->m->stage = IDLE;
  }
}

/* --- the one who looks --- */

static uint64_t value_of(weft_replica *r, uint64_t doc) {
  char name[16];
  char text[64];
  doc_name(name, doc);
  const char *json = test_get(r, name, "/n", text, sizeof text);
  return strcmp(json, "(none)") == 0 ? 0 : strtoull(json, NULL, 10);
}

static void checker(kill_run *k) {
  weft_counts c;
  weft_replica *r = open_store(k);
  for (uint64_t i = 0; i < DOCS; i++) {
    uint64_t value = value_of(r, i);
    if (value < k->m->acked[i] || value > k->m->begun[i]) {
      print_error("document %llu: %llu, acknowledged %llu, begun %llu\n", (unsigned long long)i,
                  (unsigned long long)value, (unsigned long long)k->m->acked[i],
                  (unsigned long long)k->m->begun[i]);
      _exit(1);
    }
    k->m->acked[i] = value;
  }
  assert_int_equal(weft_replica_counts(r, &c), WEFT_OK);
  assert_true(c.changes_held >= k->m->held);
  assert_true(c.changes_shown >= k->m->shown);
  test_recount(r, 0);
  uint64_t doc, value;
  write_one(k, r, &doc, &value);
  k->m->acked[doc] = value;
  assert_int_equal(value_of(r, doc), value);
  weft_replica_free(r);
  _exit(0);
}

/* --- the parent --- */

static pid_t start(kill_run *k, void (*run)(kill_run *)) {
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    run(k);
    _exit(2);
  }
  return pid;
}

static void pause_us(uint64_t us) {
  struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
  nanosleep(&t, NULL);
}

/* An opening is short; most kills are for what comes after it, however slow the build. */
static void wait_open(const kill_run *k) {
  for (unsigned ms = 0; k->m->stage == OPENING && ms < 2000; ms++) pause_us(1000);
}

static void store_begin(kill_run *k) {
  k->temp = getenv("WEFT_KILL_MEMORY") ? test_temp_make() : test_temp_make_on_disk();
  memset((void *)k->m, 0, sizeof *k->m);
}

static marks *shared_marks(void) {
  FILE *file = tmpfile();
  if (!file || ftruncate(fileno(file), sizeof(marks)) != 0) exit(2);
  void *at = mmap(NULL, sizeof(marks), PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
  if (at == MAP_FAILED) exit(2);
  return at;
}

int main(void) {
  uint64_t kills = test_number("WEFT_KILLS", 25);
  uint64_t seed = test_number("WEFT_KILL_SEED", 1);
  uint64_t at[STAGES] = {0};
  kill_run k = {.rng = test_rng_of(seed)};
  k.m = shared_marks();
  test_space_make(&k.s, 2, seed);
  for (uint64_t i = 0; i < kills; i++) {
    if (i % KILLS_PER_STORE == 0) {
      if (i > 0) test_temp_remove(&k.temp);
      store_begin(&k);
    }
    k.rng = test_rng_of(seed + i);
    k.s.platforms[0].rng = test_rng_of(seed * 1000003 + i);
    k.s.platforms[1].rng = test_rng_of(seed * 1000033 + i);
    k.s.platforms[0].now += 60000;
    k.s.platforms[1].now += 60000;
    k.m->stage = OPENING;
    pid_t pid = start(&k, writer);
    if (i % 8 != 0) wait_open(&k);
    pause_us(1000 + test_rng_below(&k.rng, 30000));
    kill(pid, SIGKILL);
    int status;
    waitpid(pid, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
      printf("the writer ended by itself: seed=%llu kill %llu\n", (unsigned long long)seed,
             (unsigned long long)i);
      return 1;
    }
    at[k.m->stage]++;
    waitpid(start(&k, checker), &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      printf("damage after a kill: seed=%llu kill %llu, killed in %s, store in %s\n",
             (unsigned long long)seed, (unsigned long long)i, stage_names[k.m->stage],
             k.temp.folder);
      return 1;
    }
  }
  test_temp_remove(&k.temp);
  printf("%llu kills:", (unsigned long long)kills);
  for (int i = 0; i < STAGES; i++) {
    printf(" %llu %s%s", (unsigned long long)at[i], stage_names[i], i + 1 < STAGES ? "," : "\n");
  }
  /* At least half of them must have hit while something was being written. */
  return 2 * (at[COMMIT] + at[GROUP] + at[HOLD] + at[SHOW]) >= kills ? 0 : 1;
}

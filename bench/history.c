/* history: what a look back costs, against the size of a document and the length of its history.
 *
 * One device imports templates and updates them; in between, evenly over all of it, it changes
 * documents of several sizes, each several times, so that their changes lie scattered in a long
 * log as a person's do.  Then are timed: a version half-way back (its vector known, or found by
 * the id of a change, or by time), the newest page of the history, the difference between half-way
 * and now, and blame.  A second device writes beside the first one for the conflicts. */
#include <string.h>
#include <time.h>

#include "bench/fleet.h"
#include "store/history.h"

enum {
  TEMPLATES = 10000,
  TEMPLATES_QUICK = 1000,
  UPDATES = 100000,
  UPDATES_QUICK = 10000,
  GROUP = 1000,
  SUBJECTS = 8,
  PAGE = 20,
  TIMES_MAX = 400, /* how often a look is taken, or for SECONDS_MAX */
  CONFLICTS = 10000,
  CONFLICTS_QUICK = 1000,
  SPANS_MAX = 64
};
static const double seconds_max = 0.5, seconds_max_quick = 0.05;

/* A document with so many fields and changes. */
typedef struct subject {
  const char *variant;
  const char *doc;
  uint32_t fields;
  uint32_t changes;
} subject;

static const subject subjects[SUBJECTS] = {
    {"12-fields-10", "h/12-10", 12, 10},       {"12-fields-100", "h/12-100", 12, 100},
    {"12-fields-1000", "h/12-1000", 12, 1000}, {"12-fields-10000", "h/12-10000", 12, 10000},
    {"1000-fields-10", "h/1000-10", 1000, 10}, {"1000-fields-1000", "h/1000-1000", 1000, 1000},
    {"9000-fields-10", "h/9000-10", 9000, 10}, {"9000-fields-1000", "h/9000-1000", 9000, 1000},
};

/* Half-way back. */
typedef struct midway {
  weft_id change;
  weft_vector vector;
  weft_ms time;
} midway;

typedef struct history_run {
  bench *b;
  fleet fleet;
  fleet_replica r;
  fleet_replica other;
  w1_updates updates;
  midway midways[SUBJECTS];
} history_run;

/* --- writing --- */

static weft_err subject_begin(history_run *h, const subject *s) {
  weft_edit *e;
  weft_commit done;
  WEFT_TRY(weft_edit_begin(&e, h->r.replica, NULL));
  weft_err err = WEFT_OK;
  for (uint32_t i = 0; i < s->fields && err == WEFT_OK; i++) {
    char pointer[W1_NAME_LEN_MAX];
    weft_value v = {.kind = WEFT_INT, .as.integer = i};
    snprintf(pointer, sizeof pointer, "/part%u/field%u", (unsigned)(i / 10), (unsigned)i);
    err = weft_edit_set(e, weft_bytes_str(s->doc), weft_bytes_str(pointer), &v);
  }
  if (err == WEFT_OK) err = weft_edit_commit(e, &done);
  weft_edit_free(e);
  return err;
}

/* The `n`-th change of a subject, of one field. */
static weft_err subject_update(history_run *h, unsigned which, uint32_t n) {
  const subject *s = &subjects[which];
  weft_edit *e;
  weft_commit done;
  char pointer[W1_NAME_LEN_MAX];
  uint32_t field = (uint32_t)((uint64_t)n * 7919 % s->fields);
  weft_value v = {.kind = WEFT_INT, .as.integer = 1000000 + n};
  snprintf(pointer, sizeof pointer, "/part%u/field%u", (unsigned)(field / 10), (unsigned)field);
  WEFT_TRY(weft_edit_begin(&e, h->r.replica, NULL));
  weft_err err = weft_edit_set(e, weft_bytes_str(s->doc), weft_bytes_str(pointer), &v);
  if (err == WEFT_OK) err = weft_edit_commit(e, &done);
  weft_edit_free(e);
  if (err != WEFT_OK || n != s->changes / 2) return err;
  h->midways[which].change = done.change;
  h->midways[which].time = h->fleet.clock_us / 1000;
  return WEFT_OK;
}

/* Update `i` of `all`, and whatever of the subjects is due then. */
static weft_err step(history_run *h, uint32_t i, uint32_t all) {
  weft_replica *r = h->r.replica;
  h->fleet.clock_us += w1_step_us(i);
  WEFT_TRY(fleet_update(&h->fleet, r, w1_updates_next(&h->updates)));
  for (unsigned k = 0; k < SUBJECTS; k++) {
    uint64_t before = (uint64_t)i * subjects[k].changes / all;
    uint64_t after = (uint64_t)(i + 1) * subjects[k].changes / all;
    for (uint64_t n = before; n < after; n++) WEFT_TRY(subject_update(h, k, (uint32_t)n));
  }
  return WEFT_OK;
}

static weft_err write_all(history_run *h, uint32_t templates, uint32_t updates) {
  weft_replica *r = h->r.replica;
  WEFT_TRY(fleet_import(&h->fleet, r, templates, GROUP));
  h->fleet.clock_us = w1_updates_us(templates);
  for (unsigned k = 0; k < SUBJECTS; k++) WEFT_TRY(subject_begin(h, &subjects[k]));
  for (uint32_t i = 0; i < updates; i += GROUP) {
    WEFT_TRY(bench_progress(h->b, "writing"));
    WEFT_TRY(weft_group_begin(r));
    weft_err err = WEFT_OK;
    for (uint32_t k = i; k < i + GROUP && err == WEFT_OK; k++) err = step(h, k, updates);
    if (err != WEFT_OK) {
      weft_group_abort(r);
      return err;
    }
    WEFT_TRY(weft_group_end(r));
  }
  return WEFT_OK;
}

/* --- looking back --- */

/* Seconds of processor time: a look waits for nothing, and what else the machine does shall not
 * count. */
static double busy(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

typedef weft_err (*look)(history_run *h, unsigned which, weft_arena *arena);

static weft_err look_version(history_run *h, unsigned which, weft_arena *arena) {
  weft_value v;
  return weft_replica_get_at(h->r.replica, arena, weft_bytes_str(subjects[which].doc),
                             weft_bytes_of("", 0), &h->midways[which].vector, &v);
}

/* As `weft get --at CHANGE` does. */
static weft_err look_change(history_run *h, unsigned which, weft_arena *arena) {
  weft_value v;
  weft_vector at;
  weft_bytes doc = weft_bytes_str(subjects[which].doc);
  weft__vector_init(&at, &h->b->mem);
  weft_bytes id = weft_bytes_of(h->midways[which].change.b, sizeof(weft_id));
  weft_err err = weft_replica_version_after(h->r.replica, doc, id, &at, NULL);
  if (err == WEFT_OK)
    err = weft_replica_get_at(h->r.replica, arena, doc, weft_bytes_of("", 0), &at, &v);
  weft__vector_free(&at);
  return err;
}

static weft_err look_time(history_run *h, unsigned which, weft_arena *arena) {
  weft_value v;
  weft_vector at;
  weft_bytes doc = weft_bytes_str(subjects[which].doc);
  weft__vector_init(&at, &h->b->mem);
  weft_err err = weft_replica_version_at(h->r.replica, doc, h->midways[which].time, &at);
  if (err == WEFT_OK)
    err = weft_replica_get_at(h->r.replica, arena, doc, weft_bytes_of("", 0), &at, &v);
  weft__vector_free(&at);
  return err;
}

static weft_err look_page(history_run *h, unsigned which, weft_arena *arena) {
  weft_history_query q;
  weft_history_entry *entries;
  size_t count;
  weft_bytes next;
  weft_history_query_init(&q);
  q.doc = weft_bytes_str(subjects[which].doc);
  q.limit = PAGE;
  return weft_replica_history(h->r.replica, arena, &q, &entries, &count, &next);
}

static weft_err look_diff(history_run *h, unsigned which, weft_arena *arena) {
  weft_doc_diff diff;
  return weft_replica_diff(h->r.replica, arena, weft_bytes_str(subjects[which].doc),
                           &h->midways[which].vector, NULL, &diff);
}

static weft_err look_blame(history_run *h, unsigned which, weft_arena *arena) {
  weft_blame_entry *list;
  size_t count;
  return weft_replica_blame(h->r.replica, arena, weft_bytes_str(subjects[which].doc), &list,
                            &count);
}

static const struct {
  const char *metric;
  look what;
} looks[] = {{"version", look_version},
             {"version_of_change", look_change},
             {"version_of_time", look_time},
             {"page", look_page},
             {"diff", look_diff},
             {"blame", look_blame}};
enum { LOOKS = sizeof looks / sizeof looks[0] };

/* Takes a look again and again; how often a second. */
static weft_err measure_look(history_run *h, unsigned which, look what, double *rate) {
  weft_arena arena;
  unsigned times = 0;
  weft_err err = WEFT_OK;
  weft__arena_init(&arena, &h->b->mem);
  double most = h->b->quick ? seconds_max_quick : seconds_max;
  double start = busy();
  do {
    err = what(h, which, &arena);
    weft__arena_reset(&arena);
  } while (err == WEFT_OK && ++times < TIMES_MAX && busy() - start < most);
  *rate = times / (busy() - start);
  weft__arena_free(&arena);
  return err;
}

static weft_err measure_subjects(history_run *h) {
  for (unsigned k = 0; k < SUBJECTS; k++) {
    midway *m = &h->midways[k];
    WEFT_TRY(weft_replica_version_after(h->r.replica, weft_bytes_str(subjects[k].doc),
                                        weft_bytes_of(m->change.b, sizeof m->change.b), &m->vector,
                                        NULL));
    for (unsigned i = 0; i < LOOKS; i++) {
      double rate = 0;
      bench_name name = {"history", subjects[k].variant, looks[i].metric, "1/s", BENCH_RATE};
      WEFT_TRY(bench_progress(h->b, subjects[k].variant));
      WEFT_TRY(bench_fail(h->b, measure_look(h, k, looks[i].what, &rate), looks[i].metric));
      bench_sample(h->b, name, rate);
    }
  }
  return WEFT_OK;
}

/* --- conflicts --- */

/* Everything that `from` holds and `to` does not. */
static weft_err send(history_run *h, weft_replica *from, weft_replica *to) {
  weft_arena arena;
  weft_span *spans;
  size_t count;
  uint64_t held = 0, shown = 0;
  weft_buf chunk;
  weft__arena_init(&arena, &h->b->mem);
  weft__buf_init(&chunk, &h->b->mem, SIZE_MAX);
  weft_err err =
      weft_replica_missing(from, &arena, weft_replica_held(to), SPANS_MAX, &spans, &count);
  for (size_t i = 0; err == WEFT_OK && i < count; i++) {
    for (uint64_t at = spans[i].from; err == WEFT_OK && at <= spans[i].to;) {
      uint64_t last = 0;
      weft__buf_reset(&chunk);
      err = weft_replica_read_chunk(from, &spans[i].log, spans[i].branch, at, spans[i].to, &chunk,
                                    &last);
      weft_bytes bytes = weft__buf_view(&chunk);
      if (err == WEFT_OK) err = fleet_hold(&h->fleet, to, &bytes, 1, &held);
      at = last + 1;
    }
  }
  if (err == WEFT_OK) err = fleet_show(&h->fleet, to, 0, &shown);
  weft__buf_free(&chunk);
  weft__arena_free(&arena);
  return bench_fail(h->b, err, "sending");
}

/* The first field of so many templates, in one transaction. */
static weft_err write_firsts(history_run *h, weft_replica *r, uint32_t count, uint32_t k) {
  WEFT_TRY(weft_group_begin(r));
  weft_err err = WEFT_OK;
  for (uint32_t t = 0; t < count && err == WEFT_OK; t++) {
    h->fleet.clock_us += 1000;
    err = fleet_update(&h->fleet, r, (w1_place){t, 0, k});
  }
  if (err == WEFT_OK) return weft_group_end(r);
  weft_group_abort(r);
  return err;
}

static weft_err list_conflicts(history_run *h, uint32_t want) {
  weft_arena arena;
  weft_conflict_entry *list;
  size_t count = 0;
  bench_name all = {"history", "conflicts", "listed", "conflicts/s", BENCH_RATE};
  bench_name one = {"history", "conflicts", "of_one_document", "1/s", BENCH_RATE};
  char doc[W1_NAME_LEN_MAX];
  unsigned times = 0;
  w1_document(doc, want / 2);
  weft__arena_init(&arena, &h->b->mem);
  double start = busy();
  weft_err err =
      weft_replica_conflicts(h->r.replica, &arena, weft_bytes_of("", 0), 0, &list, &count);
  bench_sample(h->b, all, (double)count / (busy() - start));
  start = busy();
  do {
    weft__arena_reset(&arena);
    size_t n;
    if (err == WEFT_OK)
      err = weft_replica_conflicts(h->r.replica, &arena, weft_bytes_str(doc), 0, &list, &n);
  } while (err == WEFT_OK && ++times < TIMES_MAX);
  bench_sample(h->b, one, times / (busy() - start));
  weft__arena_free(&arena);
  if (err == WEFT_OK && count != want) err = WEFT_EMISUSE;
  return bench_fail(h->b, err, "listing conflicts");
}

/* A rule is written, and every document of its collection that has conflicts is counted again: by
 * its sums where the rule holds everywhere in it, else by its registers. */
static weft_err measure_rule(history_run *h, uint32_t count, const char *pattern,
                             const char *metric) {
  weft_commit done;
  weft_counts counts;
  char doc[W1_NAME_LEN_MAX];
  w1_document(doc, 0);
  weft_strategy_rule rule = {weft_bytes_of(doc, strcspn(doc, "/")), weft_bytes_str(pattern),
                             WEFT_STRATEGY_LWW};
  bench_name name = {"history", "conflicts", metric, "documents/s", BENCH_RATE};
  double start = busy();
  weft_err err = weft_replica_set_strategy(h->r.replica, &rule, NULL, &done);
  bench_sample(h->b, name, count / (busy() - start));
  if (err == WEFT_OK) err = weft_replica_counts(h->r.replica, &counts);
  if (err == WEFT_OK && counts.conflicts != 0) err = WEFT_EMISUSE;
  rule.strategy = WEFT_STRATEGY_FIELD;
  if (err == WEFT_OK) err = weft_replica_set_strategy(h->r.replica, &rule, NULL, &done);
  return bench_fail(h->b, err, "a rule");
}

static weft_err measure_conflicts(history_run *h, uint32_t count) {
  weft_replica *a = h->r.replica;
  weft_replica *b;
  WEFT_TRY(fleet_open(&h->fleet, 1, "other", &h->other));
  b = h->other.replica;
  WEFT_TRY(send(h, a, b));
  WEFT_TRY(bench_progress(h->b, "conflicts"));
  WEFT_TRY(write_firsts(h, a, count, 1000000));
  WEFT_TRY(write_firsts(h, b, count, 1000001));
  WEFT_TRY(send(h, b, a));
  WEFT_TRY(list_conflicts(h, count));
  WEFT_TRY(measure_rule(h, count, "", "rule_of_collection"));
  return measure_rule(h, count, "/*", "rule_of_path");
}

static weft_err measure(history_run *h, uint32_t templates, uint32_t updates, uint32_t conflicts) {
  WEFT_TRY(fleet_make(&h->fleet, h->b));
  WEFT_TRY(fleet_open(&h->fleet, 0, "history", &h->r));
  WEFT_TRY(w1_updates_init(&h->updates, &h->b->mem, templates));
  WEFT_TRY(bench_fail(h->b, write_all(h, templates, updates), "writing"));
  WEFT_TRY(measure_subjects(h));
  return measure_conflicts(h, conflicts < templates ? conflicts : templates);
}

weft_err bench_history(bench *b) {
  weft_err err = WEFT_OK;
  uint32_t templates = b->quick ? TEMPLATES_QUICK : TEMPLATES;
  if (b->size) templates = b->size;
  for (b->run = 0; b->run < b->runs && err == WEFT_OK; b->run++) {
    history_run *h = b->mem.alloc(b->mem.ctx, sizeof *h);
    if (!h) return WEFT_ENOMEM;
    *h = (history_run){.b = b, .updates = {.mem = b->mem}};
    for (unsigned k = 0; k < SUBJECTS; k++) weft__vector_init(&h->midways[k].vector, &b->mem);
    err = measure(h, templates, b->quick ? UPDATES_QUICK : UPDATES,
                  b->quick ? CONFLICTS_QUICK : CONFLICTS);
    for (unsigned k = 0; k < SUBJECTS; k++) weft__vector_free(&h->midways[k].vector);
    w1_updates_free(&h->updates);
    fleet_close(&h->other);
    fleet_close(&h->r);
    b->mem.free(b->mem.ctx, h);
  }
  return err;
}

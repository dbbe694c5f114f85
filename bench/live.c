/* W5: how long an edit takes to be shown by another device.
 *
 * Two daemons are connected over the loopback.  One is asked through its control socket to set a
 * field; the other is asked again and again what the field holds, until it is the new value.  The
 * time counts from sending the first request to the answer that shows it: commit, push, hold, show,
 * and a question.  `commit` is the time until the first daemon has answered.
 *
 * The probe is two synced commits of LMDB, one after the other, and one sealed message between two
 * threads over the loopback: nothing is shown elsewhere before it is on the disks of both.  A
 * commit is the puts of one edit into one table: what a replica in this process puts for the same
 * edit is recorded.  `shown-put` are the same times beside two commits of one short put each.
 *
 * Sustained: the updates of the W1 data are asked for without waiting for the answers of those
 * before them, thousands at most; an answer says that its edit is durable.  The time counts until
 * the last one is shown by the other device.  The probe is the puts of as many edits into the same
 * tables, with as many in a synced transaction as a daemon commits together; `sustained-put` is the
 * same rate beside one short put an edit. */
#include <sys/prctl.h>
#include <time.h>

#include "bench/control.h"
#include "bench/fleet.h"
#include "bench/median.h"
#include "bench/processes.h"
#include "bench/recorder.h"
#include "crdt/json.h"

enum {
  TEMPLATES = 10000,
  TEMPLATES_QUICK = 1000,
  FIELD_LEN_MAX = 4 * W1_TEXT_LEN_MAX, /* of an update as an argument */
  EDITS = 1000,
  EDITS_QUICK = 100,
  WARM_UP = 10, /* edits that are not counted */
  LOOK_US = 50,
  SLACK_NS = 1000, /* the kernel wakes who sleeps so much too late; else 50 us */
  UNDER_WAY = 4000,
  SEND_AT_ONCE = 1000,
  GROUP = 2000, /* edits of the probe's transactions: as many as a daemon commits together */
  SUSTAINED_MAX = 200000, /* edits */
  PATIENCE = 30           /* seconds */
};
static const double sustained_seconds = 5, sustained_seconds_quick = 1;

/* A replica in this process that makes the same edits, and LMDB alone that puts the same bytes. */
typedef struct same_bytes {
  fleet fleet;
  fleet_replica r;
  recorder rec;
  w1_updates updates;
  probe_lmdb *one[2];  /* with one table */
  probe_lmdb *grouped; /* with as many as the store has */
} same_bytes;

typedef struct live_run {
  bench *b;
  processes p;
  control sender;
  control receiver;
  same_bytes same;
  probe_lmdb *puts[2];
  probe_line *line;
  w1_updates updates;
  weft_arena *arena;
  uint32_t templates;
  size_t count;
  double *shown; /* seconds, of each edit */
  double *committed;
  double *probe;
  double *probe_put;
} live_run;

static void pause_us(long us) {
  struct timespec t = {us / 1000000, us % 1000000 * 1000};
  nanosleep(&t, NULL);
}

static weft_err wait_shown(live_run *l, const char *document, int64_t value) {
  const char *const get[] = {document, "/version", NULL};
  double limit = bench_now() + PATIENCE;
  while (bench_now() < limit) {
    int64_t code;
    weft_value got;
    WEFT_TRY(bench_fail(l->b, control_ask(&l->receiver, "get", get, &code, &got), "weft get"));
    if (code == 0 && got.kind == WEFT_INT && got.as.integer == value) return WEFT_OK;
    pause_us(LOOK_US);
  }
  return bench_fail(l->b, WEFT_ETIMEOUT, "an edit was not shown by the other device");
}

/* What edit `i` writes, and where. */
static int64_t value_of(uint32_t i) { return 1000000 + (int64_t)i; }

static weft_err put_edit(live_run *l, uint32_t i) {
  char document[W1_NAME_LEN_MAX];
  char field[W1_NAME_LEN_MAX];
  w1_document(document, i % l->templates);
  snprintf(field, sizeof field, "version:=%lld", (long long)value_of(i));
  const char *const set[] = {document, field, NULL};
  return bench_fail(l->b, control_put(&l->sender, "set", set), "weft set");
}

static weft_err take_answer(live_run *l) {
  int64_t code;
  weft_value done;
  WEFT_TRY(bench_fail(l->b, control_take(&l->sender, &code, &done), "weft set"));
  if (code == 0) return WEFT_OK;
  bool said = done.kind == WEFT_STRING;
  snprintf(l->b->said, sizeof l->b->said, "weft set: %.*s", said ? (int)done.as.bytes.len : 0,
           said ? (const char *)done.as.bytes.at : "");
  return WEFT_EIO;
}

static weft_err measure_edit(live_run *l, uint32_t i, double *committed, double *shown) {
  char document[W1_NAME_LEN_MAX];
  w1_document(document, i % l->templates);
  double begin = bench_now();
  WEFT_TRY(put_edit(l, i));
  WEFT_TRY(control_flush(&l->sender));
  WEFT_TRY(take_answer(l));
  *committed = bench_now() - begin;
  WEFT_TRY(wait_shown(l, document, value_of(i)));
  *shown = bench_now() - begin;
  return WEFT_OK;
}

/* --- the same bytes --- */

static weft_err same_import(same_bytes *s, uint32_t templates) {
  double aside = 0;
  WEFT_TRY(fleet_import(&s->fleet, s->r.replica, templates, GROUP));
  for (size_t i = 0; i < 2; i++) WEFT_TRY(probe_lmdb_replay(s->one[i], s->rec.puts, &aside));
  WEFT_TRY(probe_lmdb_replay(s->grouped, s->rec.puts, &aside));
  recorder_clear(&s->rec);
  return WEFT_OK;
}

static weft_err same_open(same_bytes *s, bench *b, uint32_t templates) {
  WEFT_TRY(fleet_make(&s->fleet, b));
  WEFT_TRY(fleet_open(&s->fleet, 0, "same", &s->r));
  WEFT_TRY(probe_lmdb_open(&s->one[0], b, "same-0.mdb", 1));
  WEFT_TRY(probe_lmdb_open(&s->one[1], b, "same-1.mdb", 1));
  WEFT_TRY(probe_lmdb_open(&s->grouped, b, "same-2.mdb", PROBE_TABLES_MAX));
  recorder_attach(&s->rec, s->r.store, &b->mem);
  WEFT_TRY(w1_updates_init(&s->updates, &b->mem, templates));
  return same_import(s, templates);
}

static void same_close(same_bytes *s) {
  for (size_t i = 0; i < 2; i++) probe_lmdb_close(s->one[i]);
  probe_lmdb_close(s->grouped);
  recorder_detach(&s->rec);
  w1_updates_free(&s->updates);
  fleet_close(&s->r);
}

static weft_err same_edit(same_bytes *s, uint32_t templates, uint32_t i) {
  char document[W1_NAME_LEN_MAX];
  weft_edit *e;
  weft_commit done;
  weft_value value = {.kind = WEFT_INT, .as.integer = value_of(i)};
  w1_document(document, i % templates);
  s->fleet.clock_us += 1000;
  WEFT_TRY(weft_edit_begin(&e, s->r.replica, NULL));
  weft_err err = weft_edit_set(e, weft_bytes_str(document), weft_bytes_str("/version"), &value);
  if (err == WEFT_OK) err = weft_edit_commit(e, &done);
  weft_edit_free(e);
  return err;
}

/* The next updates in one transaction. */
static weft_err same_group(live_run *l, uint32_t count) {
  same_bytes *s = &l->same;
  weft_err err = weft_group_begin(s->r.replica);
  for (uint32_t i = 0; i < count && err == WEFT_OK; i++) {
    s->fleet.clock_us += w1_step_us(s->updates.next);
    err = fleet_update(&s->fleet, s->r.replica, w1_updates_next(&s->updates));
  }
  if (err == WEFT_OK) return bench_fail(l->b, weft_group_end(s->r.replica), "ending a group");
  weft_group_abort(s->r.replica);
  return err;
}

/* Two synced commits and a message; they also keep edits apart. */
static weft_err measure_probe(live_run *l, uint32_t i, double *seconds, double *seconds_put) {
  probe_item item = {weft_bytes_str("template and field"), weft_bytes_str("value")};
  const probe_items items = {&item, 1};
  double message = 0;
  *seconds = *seconds_put = 0;
  WEFT_TRY(bench_fail(l->b, same_edit(&l->same, l->templates, i), "the same edit"));
  WEFT_TRY(bench_fail(l->b, l->same.rec.err, "recording"));
  for (size_t k = 0; k < 2; k++) {
    WEFT_TRY(probe_lmdb_replay(l->same.one[k], l->same.rec.puts, seconds));
    WEFT_TRY(probe_lmdb_put(l->puts[k], items, 1, seconds_put));
  }
  recorder_clear(&l->same.rec);
  WEFT_TRY(probe_line_message(l->line, l->b, &message));
  *seconds += message;
  *seconds_put += message;
  return WEFT_OK;
}

static weft_err measure_edits(live_run *l) {
  double aside;
  for (uint32_t i = 0; i < WARM_UP; i++) WEFT_TRY(measure_edit(l, i, &aside, &aside));
  for (uint32_t i = 0; i < l->count; i++) {
    if (i % 50 == 0) WEFT_TRY(bench_progress(l->b, "edits"));
    WEFT_TRY(measure_edit(l, WARM_UP + i, &l->committed[i], &l->shown[i]));
    WEFT_TRY(measure_probe(l, WARM_UP + i, &l->probe[i], &l->probe_put[i]));
  }
  return WEFT_OK;
}

/* --- sustained --- */

/* An update as the words of a request. */
typedef struct update_words {
  char document[W1_NAME_LEN_MAX];
  const char *field;
} update_words;

static weft_err make_words(live_run *l, w1_place at, update_words *out) {
  w1_value v;
  weft_bytes copy;
  weft_buf field;
  weft__buf_init(&field, &l->b->mem, FIELD_LEN_MAX);
  w1_document(out->document, at.template);
  w1_value_of(&v, at);
  weft__buf_put(&field, weft_bytes_str(w1_field(at.field)));
  weft__buf_put(&field, weft_bytes_str(":="));
  weft_json_write(&field, &v.value);
  weft__buf_u8(&field, 0);
  weft_err err = weft__buf_err(&field);
  if (err == WEFT_OK) err = weft__arena_copy(l->arena, weft__buf_view(&field), &copy);
  if (err == WEFT_OK) out->field = (const char *)copy.at;
  weft__buf_free(&field);
  return err;
}

/* Makes as many as can be sent. */
static weft_err make_updates(live_run *l, update_words **out) {
  update_words *list = weft__arena_zero(l->arena, SUSTAINED_MAX, sizeof *list);
  if (!list) return WEFT_ENOMEM;
  for (uint32_t i = 0; i < SUSTAINED_MAX; i++) {
    WEFT_TRY(make_words(l, w1_updates_next(&l->updates), &list[i]));
  }
  *out = list;
  return WEFT_OK;
}

static weft_err put_update(live_run *l, const update_words *words) {
  const char *const set[] = {words->document, words->field, NULL};
  return bench_fail(l->b, control_put(&l->sender, "set", set), "weft set");
}

/* Updates until the time is over, and edit `last`; gives how many, and the time until the last one
 * is shown. */
static weft_err write_sustained(live_run *l, const update_words *updates, uint32_t last,
                                uint32_t *count, double *seconds) {
  char document[W1_NAME_LEN_MAX];
  uint32_t sent = 0;
  uint32_t done = 0;
  double start = bench_now();
  double end = start + (l->b->quick ? sustained_seconds_quick : sustained_seconds);
  for (bool more = true; more || done < sent;) {
    if (more && sent - done <= UNDER_WAY - SEND_AT_ONCE) {
      more = bench_now() < end && sent < SUSTAINED_MAX;
      for (uint32_t i = 0; i < SEND_AT_ONCE && more; i++, sent++) {
        WEFT_TRY(put_update(l, &updates[sent]));
      }
      if (!more) WEFT_TRY(put_edit(l, last));
      sent += !more;
      WEFT_TRY(control_flush(&l->sender));
    }
    WEFT_TRY(take_answer(l));
    done++;
    if (done % 1000 == 0) WEFT_TRY(bench_progress(l->b, "sustained"));
  }
  w1_document(document, last % l->templates);
  WEFT_TRY(wait_shown(l, document, value_of(last)));
  *seconds = bench_now() - start;
  *count = sent;
  return WEFT_OK;
}

/* The puts of as many edits. */
static weft_err probe_sustained(live_run *l, uint32_t count, double *seconds) {
  for (uint32_t i = 0; i < count; i += GROUP) {
    WEFT_TRY(bench_progress(l->b, "the same bytes"));
    WEFT_TRY(same_group(l, count - i < GROUP ? count - i : GROUP));
    WEFT_TRY(bench_fail(l->b, l->same.rec.err, "recording"));
    WEFT_TRY(probe_lmdb_replay(l->same.grouped, l->same.rec.puts, seconds));
    recorder_clear(&l->same.rec);
  }
  return WEFT_OK;
}

/* As many values under the same keys. */
static weft_err probe_puts_sustained(live_run *l, uint32_t count, double *seconds) {
  probe_items items = {.count = count};
  items.at = weft__arena_zero(l->arena, count, sizeof *items.at);
  if (!items.at) return WEFT_ENOMEM;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t number[2] = {i % l->templates, i};
    weft_bytes value = weft_bytes_of(&number[1], sizeof number[1]);
    WEFT_TRY(weft__arena_copy(l->arena, weft_bytes_of(number, 4), &items.at[i].key));
    WEFT_TRY(weft__arena_copy(l->arena, value, &items.at[i].value));
  }
  return probe_lmdb_put(l->puts[0], items, GROUP, seconds);
}

static weft_err measure_sustained(live_run *l, uint32_t last) {
  bench_name name = {"W5", "sustained", "rate", "edits/s", BENCH_RATE};
  bench_name name_put = {"W5", "sustained-put", "rate", "edits/s", BENCH_RATE};
  uint32_t count = 0;
  double seconds = 0, limit = 0, limit_put = 0;
  update_words *updates;
  WEFT_TRY(make_updates(l, &updates));
  WEFT_TRY(write_sustained(l, updates, last, &count, &seconds));
  WEFT_TRY(probe_sustained(l, count, &limit));
  WEFT_TRY(probe_puts_sustained(l, count, &limit_put));
  bench_sample(l->b, name, count / seconds);
  bench_limit(l->b, name, count / limit);
  bench_sample(l->b, name_put, count / seconds);
  bench_limit(l->b, name_put, count / limit_put);
  return WEFT_OK;
}

/* --- percentiles --- */

/* Both lists come out ascending. */
static void sample(live_run *l, const char *variant, double *values, double *probe) {
  static const struct {
    const char *metric;
    size_t permille;
  } kinds[] = {{"p50", 500}, {"p99", 990}, {"p99.9", 999}};
  bench_sort(values, l->count);
  bench_sort(probe, l->count);
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    bench_name name = {"W5", variant, kinds[i].metric, "ms", BENCH_COST};
    size_t at = (l->count - 1) * kinds[i].permille / 1000;
    bench_sample(l->b, name, values[at] * 1000);
    bench_limit(l->b, name, probe[at] * 1000);
  }
}

/* --- a run --- */

static weft_err measure_gentle(live_run *l) {
  bench_name name = {"W5", "commit", "p50", "ms", BENCH_COST};
  WEFT_TRY(measure_edits(l));
  sample(l, "shown", l->shown, l->probe);
  sample(l, "shown-put", l->shown, l->probe_put);
  bench_sort(l->committed, l->count);
  bench_sample(l->b, name, l->committed[(l->count - 1) / 2] * 1000);
  return WEFT_OK;
}

static weft_err measure(live_run *l) {
  const bench *b = l->b;
  WEFT_TRY(w1_updates_init(&l->updates, &l->b->mem, l->templates));
  WEFT_TRY(processes_open(&l->p, l->b, l->templates));
  WEFT_TRY(processes_serve(&l->p));
  WEFT_TRY(control_open(&l->sender, l->b, l->p.sender));
  WEFT_TRY(control_open(&l->receiver, l->b, l->p.receiver));
  WEFT_TRY(probe_lmdb_open(&l->puts[0], l->b, "probe-0.mdb", 1));
  WEFT_TRY(probe_lmdb_open(&l->puts[1], l->b, "probe-1.mdb", 1));
  WEFT_TRY(probe_line_open(&l->line, l->b));
  WEFT_TRY(same_open(&l->same, l->b, l->templates));
  if (bench_wants(b, "shown") || bench_wants(b, "commit")) WEFT_TRY(measure_gentle(l));
  if (!bench_wants(b, "sustained")) return WEFT_OK;
  return measure_sustained(l, WARM_UP + (uint32_t)l->count);
}

weft_err bench_live(bench *b) {
  char program[BENCH_PATH_LEN_MAX];
  weft_arena arena;
  weft_err err = WEFT_OK;
  if (!processes_program(program)) {
    fprintf(stderr, "W5 is left out: there is no weft program beside weft-bench\n");
    return WEFT_OK;
  }
  prctl(PR_SET_TIMERSLACK, (unsigned long)SLACK_NS, 0, 0, 0);
  weft__arena_init(&arena, &b->mem);
  for (b->run = 0; b->run < b->runs && err == WEFT_OK; b->run++) {
    live_run l = {.b = b, .sender.fd = -1, .receiver.fd = -1, .arena = &arena};
    l.count = b->quick ? EDITS_QUICK : EDITS;
    l.templates = b->quick ? TEMPLATES_QUICK : TEMPLATES;
    if (b->size) l.templates = b->size;
    l.updates.mem = l.same.updates.mem = b->mem;
    l.shown = weft__arena_zero(&arena, l.count, sizeof *l.shown);
    l.committed = weft__arena_zero(&arena, l.count, sizeof *l.committed);
    l.probe = weft__arena_zero(&arena, l.count, sizeof *l.probe);
    l.probe_put = weft__arena_zero(&arena, l.count, sizeof *l.probe_put);
    err = l.shown && l.committed && l.probe && l.probe_put ? measure(&l) : WEFT_ENOMEM;
    same_close(&l.same);
    w1_updates_free(&l.updates);
    probe_lmdb_close(l.puts[0]);
    probe_lmdb_close(l.puts[1]);
    probe_line_close(l.line, b);
    if (l.receiver.b) control_close(&l.receiver);
    if (l.sender.b) control_close(&l.sender);
    if (l.p.b) processes_close(&l.p);
  }
  weft__arena_free(&arena);
  return err;
}

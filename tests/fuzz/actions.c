/* Lists of actions over three nodes in virtual time, read from the bytes: who writes what, what
 * arrives, what is lost on the way, who crashes, whose clock jumps, whose disk fails.
 *
 * The first two bytes shape the network; then each action is a byte that names it and a byte of
 * detail, so that most changes of the input are changes of one action.  The nodes are those of the
 * simulator, whose ledger looks on after every action: invariants I1 to I10 of docs/testing.md.
 * At the end everything is healed, all must agree, and every store must prove itself.
 */
#include <string.h>

#include "store/history.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sim/ledger.h"
#include "tests/support/recount.h"

enum {
  nodes = 3,
  actions_max = 120,
  minute = 60000,
  settle_limit = 30 * minute,
  memory_max = 32 << 20,
  recent_max = 8
};

/* Changes to documents that the ledger does not follow: they may be reverted. */
typedef struct recent {
  weft_id at[recent_max];
  size_t count;
} recent;

typedef struct world {
  sim *s;
  ledger *l;
  weft_bytes in;
  recent free[nodes]; /* of each node */
  bool cut_next[nodes][nodes];
  weft_ms hold_next[nodes][nodes];
} world;

static unsigned byte(world *w) {
  if (w->in.len == 0) return 0;
  unsigned all = w->in.at[0];
  w->in.at++;
  w->in.len--;
  return all;
}

/* --- the network --- */

static bool carry(void *ctx, weft_ms now, size_t from, size_t to, size_t len, weft_ms *delay) {
  world *w = ctx;
  (void)now;
  (void)len;
  *delay += w->hold_next[from][to];
  bool goes_on = !w->cut_next[from][to];
  w->hold_next[from][to] = 0;
  w->cut_next[from][to] = false;
  return goes_on;
}

static sim_options plan(world *w) {
  unsigned shape = byte(w), pace = byte(w);
  sim_options o = {.seed = 1 + (shape & 3), .nodes = nodes, .stand_in = true, .tapes = true};
  o.no_gossip = shape >> 2 & 1;
  o.scattered = shape >> 3 & 1;
  o.mirror = (shape >> 4 & 7) == 7;
  o.duplicate_permille = shape >> 7 ? 5 : 0;
  o.delay_min = 1;
  o.delay_max = 1 + (pace & 15) * 8;
  o.hold_max = (pace >> 4 & 3) * 20;
  o.show_max = pace >> 6;
  o.policy = (sim_policy){.ctx = w, .carry = carry};
  return o;
}

/* --- nodes come and go --- */

static void start(world *w, size_t node) {
  if (sim_is_up(w->s, node)) return;
  sim_start(w->s, node);
  (void)ledger_started(w->l, node);
}

/* Ends a node: sim_crash, sim_stop or sim_vanish. */
static void end(world *w, size_t node, void (*how)(sim *s, size_t idx)) {
  if (!sim_is_up(w->s, node)) return;
  ledger_look(w->l, node);
  how(w->s, node);
}

/* A node whose store has failed ends, as its program would. */
static void tend(world *w) {
  for (size_t i = 0; i < nodes; i++) {
    const test_fault_store *f = sim_faults(w->s, i);
    if (sim_is_up(w->s, i) && f->fail_at > 0 && f->hits > 0) end(w, i, sim_crash);
  }
}

/* --- what nodes write --- */

static weft_value integer(unsigned value) {
  weft_value v = {.kind = WEFT_INT};
  v.as.integer = value;
  return v;
}

static weft_err write_field(weft_edit *e, ledger_change *c, unsigned detail, bool away) {
  ledger_write w = {.doc = detail % LEDGER_DOCS,
                    .field = detail / LEDGER_DOCS % LEDGER_FIELDS,
                    .unset = away,
                    .value = detail / (LEDGER_DOCS * LEDGER_FIELDS)};
  char doc[16], pointer[8];
  weft_value value = integer(w.value);
  ledger_names(&w, doc, pointer);
  weft_err err = away ? weft_edit_unset(e, weft_bytes_str(doc), weft_bytes_str(pointer))
                      : weft_edit_set(e, weft_bytes_str(doc), weft_bytes_str(pointer), &value);
  if (err == WEFT_ENOTFOUND && away) return WEFT_OK;
  if (err == WEFT_OK) c->writes[c->count++] = w;
  return err;
}

static weft_err set(weft_replica *r, weft_edit *e, ledger_change *c, unsigned detail) {
  (void)r;
  return write_field(e, c, detail, false);
}

static weft_err unset(weft_replica *r, weft_edit *e, ledger_change *c, unsigned detail) {
  (void)r;
  return write_field(e, c, detail, true);
}

/* Two places in one change. */
static weft_err set_two(weft_replica *r, weft_edit *e, ledger_change *c, unsigned detail) {
  weft_err err = set(r, e, c, detail);
  return err == WEFT_OK ? set(r, e, c, detail + 1) : err;
}

static weft_err write_array(weft_replica *r, weft_edit *e, ledger_change *c, unsigned detail) {
  (void)r;
  (void)c;
  weft_bytes doc = weft_bytes_str("lists/a"), pointer = weft_bytes_str("/items");
  weft_value value = integer(detail), array = {.kind = WEFT_ARRAY};
  size_t from = detail >> 2 & 7, to = detail >> 5 & 7;
  char text[16];
  weft_err err = WEFT_ENOTFOUND;
  snprintf(text, sizeof text, "/items/%zu", from);
  if ((detail & 3) == 1) err = weft_edit_move(e, doc, pointer, from, to);
  if ((detail & 3) == 2) err = weft_edit_unset(e, doc, weft_bytes_str(text));
  if (err == WEFT_ENOTFOUND || err == WEFT_EBADPATH || err == WEFT_ELIMIT) {
    err = weft_edit_insert(e, doc, pointer, 0, &value);
  }
  if (err == WEFT_ENOTFOUND || err == WEFT_EBADPATH) err = weft_edit_set(e, doc, pointer, &array);
  return err;
}

static weft_err write_document(weft_replica *r, weft_edit *e, ledger_change *c, unsigned detail) {
  (void)r;
  (void)c;
  weft_bytes doc = weft_bytes_str(detail & 4 ? "drafts/a" : "drafts/b");
  weft_value value = integer(detail >> 3);
  weft_err err = WEFT_ENOTFOUND;
  if ((detail & 3) == 1) err = weft_edit_delete(e, doc);
  if ((detail & 3) == 2) err = weft_edit_undelete(e, doc);
  if (err != WEFT_OK && err != WEFT_EIO) {
    err = weft_edit_set(e, doc, weft_bytes_str("/text/body"), &value);
  }
  return err;
}

/* Settles the first conflict of a followed document with a value of its own. */
static weft_err resolve(weft_replica *r, weft_edit *e, ledger_change *c, unsigned detail) {
  ledger_write w = {.doc = detail % LEDGER_DOCS, .value = detail / LEDGER_DOCS % 8};
  char doc[16], pointer[8];
  weft_conflict_entry *at;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  size_t count;
  ledger_names(&w, doc, pointer);
  weft__arena_init(&arena, &mem);
  weft_err err = weft_replica_conflicts(r, &arena, weft_bytes_str(doc), 1, &at, &count);
  if (err == WEFT_OK && count > 0 && at->path.len == 0) {
    err = weft_edit_resolve(e, weft_bytes_str(doc), at->path, NULL);
  } else if (err == WEFT_OK && count > 0) {
    for (size_t k = 0; k + 1 < at->path.len; k++) {
      if (at->path.at[k] == 'f') w.field = (unsigned)(at->path.at[k + 1] - '0');
    }
    weft_value value = integer(w.value);
    err = weft_edit_resolve(e, weft_bytes_str(doc), at->path, &value);
    if (err == WEFT_OK) c->writes[c->count++] = w;
  }
  weft__arena_free(&arena);
  return err == WEFT_ENOTFOUND ? WEFT_OK : err;
}

/* A write has ended: what the faults do not explain is a failure. */
static void written(world *w, size_t node, weft_err err, const ledger_change *c,
                    const weft_commit *done) {
  const test_fault_store *f = sim_faults(w->s, node);
  sim_say(w->s, "%s : writes %zu, %s", sim_name(w->s, node), c->count, weft_err_name(err));
  if (err == WEFT_OK) {
    ledger_committed(w->l, node, c, done);
    recent *r = &w->free[node];
    if (c->count == 0 && done->written) r->at[r->count++ % recent_max] = done->change;
    sim_changed(w->s, node);
  } else if (err == WEFT_EIO && f->hits > 0) {
    ledger_doubtful(w->l, node, c);
    end(w, node, sim_crash);
  } else if (err != WEFT_EFULL || !f->full) {
    sim_fail(w->s, "%s cannot write: %s", sim_name(w->s, node), weft_err_name(err));
  }
}

typedef weft_err (*writer)(weft_replica *r, weft_edit *e, ledger_change *c, unsigned detail);

static void commit(world *w, unsigned detail, writer fn) {
  size_t node = byte(w) % nodes;
  weft_edit *e = NULL;
  weft_commit done = {0};
  ledger_change c = {0};
  if (!sim_is_up(w->s, node)) return;
  weft_replica *r = sim_replica(w->s, node);
  ledger_before(w->l, node);
  weft_err err = weft_edit_begin(&e, r, NULL);
  if (err == WEFT_OK) err = fn(r, e, &c, detail);
  if (err == WEFT_OK) err = weft_edit_commit(e, &done);
  weft_edit_free(e);
  written(w, node, err, &c, &done);
}

/* --- the actions --- */

static size_t one_of(unsigned detail) { return detail % nodes; }
static size_t other_of(unsigned detail) {
  return (one_of(detail) + 1 + (detail >> 2) % (nodes - 1)) % nodes;
}
static weft_ms span_of(unsigned detail) { return (weft_ms)1 << (detail >> 4); }
static void run(world *w, weft_ms span) { sim_run(w->s, sim_now(w->s) + span); }

static void do_set(world *w, unsigned detail) { commit(w, detail, set); }
static void do_unset(world *w, unsigned detail) { commit(w, detail, unset); }
static void do_pair(world *w, unsigned detail) { commit(w, detail, set_two); }
static void do_array(world *w, unsigned detail) { commit(w, detail, write_array); }
static void do_document(world *w, unsigned detail) { commit(w, detail, write_document); }
static void do_resolve(world *w, unsigned detail) { commit(w, detail, resolve); }

static void do_revert(world *w, unsigned detail) {
  size_t node = byte(w) % nodes;
  const recent *r = &w->free[node];
  size_t count = r->count < recent_max ? r->count : recent_max;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_revert_item *items;
  weft_commit done = {0};
  ledger_change c = {0};
  if (count == 0 || !sim_is_up(w->s, node)) return;
  const weft_id *change = &r->at[detail % count];
  weft__arena_init(&arena, &mem);
  ledger_before(w->l, node);
  weft_err err =
      weft_replica_revert(sim_replica(w->s, node), &arena, change, NULL, &items, &count, &done);
  weft__arena_free(&arena);
  /* A store that was set back does not have it, or does not show it. */
  if (err != WEFT_ENOTFOUND && err != WEFT_EBASE) written(w, node, err, &c, &done);
}

static void do_step(world *w, unsigned detail) {
  (void)detail;
  (void)sim_step(w->s, sim_now(w->s) + minute);
}

static void do_steps(world *w, unsigned detail) {
  while (detail-- > 0 && sim_step(w->s, sim_now(w->s) + 1000)) {
    for (size_t i = 0; i < nodes; i++) ledger_look(w->l, i);
  }
}

static void do_wait(world *w, unsigned detail) { run(w, detail * 4); }
static void do_wait_long(world *w, unsigned detail) { run(w, detail * 500); }

static void do_cut(world *w, unsigned detail) {
  w->cut_next[one_of(detail)][other_of(detail)] = true;
}

static void do_hold(world *w, unsigned detail) {
  w->hold_next[one_of(detail)][other_of(detail)] = span_of(detail);
}

static void do_stall(world *w, unsigned detail) {
  sim_stall(w->s, one_of(detail), other_of(detail), sim_now(w->s) + span_of(detail));
}

static void do_part(world *w, unsigned detail) {
  sim_reach(w->s, one_of(detail), other_of(detail), false);
}

static void do_join(world *w, unsigned detail) {
  sim_reach(w->s, one_of(detail), other_of(detail), true);
}

static void do_slow(world *w, unsigned detail) {
  sim_slow(w->s, one_of(detail), detail & 128 ? 0 : 500 + 100 * (uint64_t)(detail >> 2));
}

static void do_repeat(world *w, unsigned detail) {
  test_rng rng = test_rng_of(detail);
  (void)sim_replay(w->s, one_of(detail), &rng);
}

static void do_crash(world *w, unsigned detail) { end(w, one_of(detail), sim_crash); }
static void do_stop(world *w, unsigned detail) { end(w, one_of(detail), sim_stop); }
static void do_vanish(world *w, unsigned detail) { end(w, one_of(detail), sim_vanish); }
static void do_start(world *w, unsigned detail) { start(w, one_of(detail)); }

static void do_clock_on(world *w, unsigned detail) {
  size_t node = one_of(detail);
  sim_clock(w->s, node, sim_wall(w->s, node) + ((weft_ms)1 << (detail >> 2 & 31)), 1000);
}

static void do_clock_back(world *w, unsigned detail) {
  size_t node = one_of(detail);
  weft_ms wall = sim_wall(w->s, node), jump = (weft_ms)1 << (detail >> 2 & 31);
  sim_clock(w->s, node, wall > jump ? wall - jump : 0, 1000);
}

static void do_clock_rate(world *w, unsigned detail) {
  size_t node = one_of(detail);
  sim_clock(w->s, node, sim_wall(w->s, node), 30 * (detail >> 2));
}

static void do_disk(world *w, unsigned detail) {
  test_fault_store *f = sim_faults(w->s, one_of(detail));
  if (!sim_is_up(w->s, one_of(detail))) return;
  f->fail_at = f->calls + 1 + (detail >> 3);
  f->late = detail >> 2 & 1;
}

static void do_full(world *w, unsigned detail) {
  if (!sim_is_up(w->s, one_of(detail))) return;
  sim_faults(w->s, one_of(detail))->full = detail >> 7;
}

/* Nodes end in order before: a mirror that lags behind does not tell a copy from the store itself.
 */
static void do_copy(world *w, unsigned detail) {
  size_t node = one_of(detail);
  if (!sim_is_up(w->s, node)) return;
  end(w, node, sim_stop);
  sim_backup(w->s, node);
  start(w, node);
}

static void do_set_back(world *w, unsigned detail) {
  size_t node = one_of(detail);
  if (!sim_is_up(w->s, node)) return;
  end(w, node, sim_stop);
  if (sim_restore(w->s, node)) ledger_set_back(w->l, node);
  start(w, node);
}

static void act(world *w) {
  static void (*const all[])(world * w, unsigned detail) = {
      do_set,        do_unset, do_pair,   do_array, do_document,  do_resolve,
      do_revert,     do_step,  do_steps,  do_wait,  do_wait_long, do_cut,
      do_hold,       do_stall, do_part,   do_join,  do_slow,      do_repeat,
      do_crash,      do_stop,  do_vanish, do_start, do_clock_on,  do_clock_back,
      do_clock_rate, do_disk,  do_full,   do_copy,  do_set_back};
  unsigned what = byte(w) % (sizeof all / sizeof all[0]);
  unsigned detail = byte(w);
  sim_say(w->s, "action %u %u", what, detail);
  all[what](w, detail);
}

static void look(world *w) {
  for (size_t i = 0; i < nodes; i++) {
    ledger_look(w->l, i);
    FUZZ_CHECK(sim_memory_most(w->s, i) <= memory_max);
  }
}

/* Everything works again; clocks stay wrong, but run. */
static void heal(world *w) {
  memset(w->cut_next, 0, sizeof w->cut_next);
  memset(w->hold_next, 0, sizeof w->hold_next);
  sim_unmangled(w->s);
  for (size_t a = 0; a < nodes; a++) {
    test_fault_store *f = sim_faults(w->s, a);
    if (sim_is_up(w->s, a) && f->hits == 0) f->fail_at = 0;
    f->full = false;
    sim_slow(w->s, a, 0);
    sim_clock(w->s, a, sim_wall(w->s, a), 1000);
    for (size_t b = 0; b < nodes; b++) {
      if (a == b) continue;
      sim_reach(w->s, a, b, true);
      sim_stall(w->s, a, b, 0);
    }
  }
  tend(w);
  for (size_t i = 0; i < nodes; i++) start(w, i);
}

static void prove(world *w) {
  for (size_t i = 0; i < nodes; i++) {
    weft_verify_report report;
    weft_err err = weft_replica_verify(sim_replica(w->s, i), NULL, NULL, &report);
    if (err != WEFT_OK) {
      sim_fail(w->s, "I10: %s is not clean: %s", sim_name(w->s, i), report.first);
    }
  }
  test_recount(sim_replica(w->s, 0), 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
  world w = {.in = weft_bytes_of(at, len)};
  sim_options o = plan(&w);
  w.s = sim_new(&o);
  w.l = ledger_new(w.s, nodes);
  sim_mesh(w.s);
  for (size_t i = 0; i < nodes; i++) start(&w, i);
  for (unsigned i = 0; i < actions_max && w.in.len > 0; i++) {
    act(&w);
    tend(&w);
    look(&w);
  }
  heal(&w);
  (void)sim_settle(w.s, sim_now(w.s) + settle_limit);
  ledger_end(w.l);
  look(&w);
  prove(&w);
  ledger_free(w.l);
  sim_free(w.s);
  return 0;
}

#include "tests/sim/swarm.h"

#include <stdlib.h>
#include <string.h>

#include "crdt/hlc.h"
#include "crdt/json.h"
#include "tests/sim/ledger.h"
#include "tests/sim/witness.h"
#include "tests/support/once_crypto.h"
#include "tests/support/recount.h"

enum {
  minute = 60000,
  settle_limit = 30 * minute,
  memory_max = 32 << 20,
  copies_max = 2,
  liars_max = 3
};

typedef struct run {
  swarm_options o;
  swarm_result *out;
  sim *s;
  ledger *l;
  witness *w; /* in one seed of four; else NULL */
  present *p; /* in one of four others; else NULL */
  test_rng workload;
  test_rng pace;
  test_rng rng[SWARM_FAULT_COUNT];
  uint32_t enabled;
  bool closely; /* look after every event */
  weft_ms slow_until[LEDGER_NODES_MAX], full_until[LEDGER_NODES_MAX], back_at[LEDGER_NODES_MAX];
  liar *liars[liars_max];
  size_t liar_count;
  bool lies[LEDGER_NODES_MAX];
  size_t flap_a, flap_b;
  bool flap_open;
  FILE *trace;
} run;

const char *swarm_fault_name(swarm_fault fault) {
  static const char *const names[] = {
#define SWARM_NAME(id, name, often) name,
      SWARM_FAULTS(SWARM_NAME)
#undef SWARM_NAME
  };
  return names[fault];
}

const char *swarm_mark_text(swarm_mark mark) {
  static const char *const texts[] = {
#define SWARM_TEXT(id, text) text,
      SWARM_MARKS(SWARM_TEXT)
#undef SWARM_TEXT
  };
  return texts[mark];
}

static unsigned often(swarm_fault fault) {
  static const unsigned all[] = {
#define SWARM_OFTEN(id, name, in_10000) in_10000,
      SWARM_FAULTS(SWARM_OFTEN)
#undef SWARM_OFTEN
  };
  return all[fault];
}

static bool enabled(const run *r, swarm_fault fault) { return r->enabled >> fault & 1; }
static void mark(run *r, swarm_mark m) { r->out->marks |= UINT64_C(1) << m; }
static size_t any(run *r, swarm_fault fault) {
  return test_rng_below(&r->rng[fault], r->s ? sim_count(r->s) : r->o.nodes);
}

/* --- nodes come and go --- */

static void up(run *r, size_t node) {
  if (sim_is_up(r->s, node)) return;
  r->full_until[node] = 0;
  sim_start(r->s, node);
  if (ledger_started(r->l, node)) mark(r, SWARM_MARK_DISK_WRITTEN);
}

typedef enum ending { POLITELY, RUDELY, SILENTLY } ending;

static void down(run *r, size_t node, ending how, weft_ms for_ms) {
  ledger_look(r->l, node);
  if (r->w) {
    witness_look(r->w, node);
    witness_ends(r->w, node);
  }
  if (r->p) present_ends(r->p, node);
  if (how == POLITELY) sim_stop(r->s, node);
  if (how == RUDELY) sim_crash(r->s, node);
  if (how == SILENTLY) sim_vanish(r->s, node);
  r->back_at[node] = sim_now(r->s) + for_ms;
}

/* Ends nodes whose store has failed, as their programs would, and starts what is due. */
static void tend(run *r) {
  size_t count = 0;
  for (size_t i = 0; i < sim_count(r->s); i++) {
    if (sim_is_up(r->s, i) && sim_faults(r->s, i)->fail_at > 0 && sim_faults(r->s, i)->hits > 0) {
      r->out->injected[SWARM_DISK]++;
      down(r, i, RUDELY, test_rng_below(&r->rng[SWARM_DISK], 5000));
    }
    if (sim_is_up(r->s, i) && r->full_until[i] && r->full_until[i] <= sim_now(r->s)) {
      r->full_until[i] = 0;
      sim_faults(r->s, i)->full = false;
    }
    if (r->slow_until[i] && r->slow_until[i] <= sim_now(r->s)) {
      r->slow_until[i] = 0;
      sim_slow(r->s, i, 0);
    }
    if (!sim_is_up(r->s, i) && r->back_at[i] <= sim_now(r->s)) up(r, i);
    count += sim_is_up(r->s, i);
  }
  if (count == 0) mark(r, SWARM_MARK_ALL_DOWN);
}

/* --- the workload --- */

static weft_value integer(unsigned value) {
  weft_value v = {.kind = WEFT_INT};
  v.as.integer = (int64_t)value;
  return v;
}

static weft_err write_fields(run *r, weft_edit *e, ledger_change *c) {
  size_t count = test_rng_chance(&r->workload, 80) ? 1 : 1 + test_rng_below(&r->workload, 3);
  for (size_t i = 0; i < count; i++) {
    ledger_write w = {.doc = (unsigned)test_rng_below(&r->workload, LEDGER_DOCS),
                      .field = (unsigned)test_rng_below(&r->workload, LEDGER_FIELDS),
                      .unset = test_rng_chance(&r->workload, 15),
                      .value = (unsigned)test_rng_below(&r->workload, 10)};
    for (size_t k = 0; k < c->count; k++) {
      if (c->writes[k].doc == w.doc && c->writes[k].field == w.field) return WEFT_OK;
    }
    char doc[16], pointer[8];
    weft_value value = integer(w.value);
    ledger_names(&w, doc, pointer);
    weft_err err = w.unset ? weft_edit_unset(e, weft_bytes_str(doc), weft_bytes_str(pointer))
                           : weft_edit_set(e, weft_bytes_str(doc), weft_bytes_str(pointer), &value);
    if (err == WEFT_ENOTFOUND && w.unset) continue;
    if (err != WEFT_OK) return err;
    c->writes[c->count++] = w;
  }
  return WEFT_OK;
}

static weft_err write_array(run *r, weft_edit *e) {
  weft_bytes doc = weft_bytes_str("lists/a"), pointer = weft_bytes_str("/items");
  weft_value value = integer((unsigned)test_rng_below(&r->workload, 100));
  size_t from = test_rng_below(&r->workload, 8), to = test_rng_below(&r->workload, 8);
  uint64_t kind = test_rng_below(&r->workload, 10);
  weft_err err = WEFT_ENOTFOUND;
  if (kind < 3) {
    err = weft_edit_move(e, doc, pointer, from, to);
    if (err == WEFT_OK) mark(r, SWARM_MARK_MOVED);
  } else if (kind < 5) {
    char text[16];
    snprintf(text, sizeof text, "/items/%zu", from);
    err = weft_edit_unset(e, doc, weft_bytes_str(text));
  }
  if (err == WEFT_ENOTFOUND || err == WEFT_EBADPATH || err == WEFT_ELIMIT) {
    err = weft_edit_insert(e, doc, pointer, 0, &value);
  }
  if (err == WEFT_ENOTFOUND || err == WEFT_EBADPATH) {
    weft_value array = {.kind = WEFT_ARRAY};
    err = weft_edit_set(e, doc, pointer, &array);
  }
  return err;
}

static weft_err write_document(run *r, weft_edit *e) {
  char doc[16];
  snprintf(doc, sizeof doc, "drafts/%c", (char)('a' + test_rng_below(&r->workload, 3)));
  weft_value value = integer((unsigned)test_rng_below(&r->workload, 100));
  uint64_t kind = test_rng_below(&r->workload, 4);
  weft_err err = WEFT_ENOTFOUND;
  if (kind == 0) err = weft_edit_delete(e, weft_bytes_str(doc));
  if (kind == 0 && err == WEFT_OK) mark(r, SWARM_MARK_DELETED);
  if (kind == 1) err = weft_edit_undelete(e, weft_bytes_str(doc));
  if (err != WEFT_OK && err != WEFT_EIO) {
    err = weft_edit_set(e, weft_bytes_str(doc), weft_bytes_str("/text/body"), &value);
  }
  return err;
}

/* Resolves the first conflict of a followed document, in favour of a value of its own. */
static weft_err resolve(run *r, size_t node, weft_edit *e, ledger_change *c, weft_arena *arena) {
  ledger_write w = {.doc = (unsigned)test_rng_below(&r->workload, LEDGER_DOCS),
                    .value = (unsigned)test_rng_below(&r->workload, 10)};
  char doc[16], pointer[8];
  weft_conflict_entry *at;
  size_t count;
  ledger_names(&w, doc, pointer);
  weft_err err =
      weft_replica_conflicts(sim_replica(r->s, node), arena, weft_bytes_str(doc), 1, &at, &count);
  if (err == WEFT_ENOTFOUND || (err == WEFT_OK && count == 0)) return write_fields(r, e, c);
  if (err != WEFT_OK) return err;
  if (at->path.len == 0) return weft_edit_resolve(e, weft_bytes_str(doc), at->path, NULL);
  for (size_t k = 0; k + 1 < at->path.len; k++) {
    if (at->path.at[k] == 'f') w.field = (unsigned)(at->path.at[k + 1] - '0');
  }
  weft_value value = integer(w.value);
  err = weft_edit_resolve(e, weft_bytes_str(doc), at->path, &value);
  if (err != WEFT_OK) return err;
  c->writes[c->count++] = w;
  mark(r, SWARM_MARK_RESOLVED);
  return WEFT_OK;
}

/* A commit or an edit has failed: is that what the faults explain? */
static void failed(run *r, size_t node, weft_err err, const ledger_change *c) {
  const test_fault_store *f = sim_faults(r->s, node);
  if (err == WEFT_EIO && f->hits > 0) {
    ledger_doubtful(r->l, node, c);
    r->out->injected[SWARM_DISK]++;
    down(r, node, RUDELY, test_rng_below(&r->rng[SWARM_DISK], 2000));
    mark(r, SWARM_MARK_DISK_LOST);
    return;
  }
  if (err == WEFT_EFULL && f->full) {
    mark(r, SWARM_MARK_FULL_REFUSED);
    return;
  }
  /* What a liar left at a place may be anything. */
  if (r->liar_count > 0 && (err == WEFT_EBADPATH || err == WEFT_ENOTFOUND)) return;
  sim_fail(r->s, "%s cannot write: %s", sim_name(r->s, node), weft_err_name(err));
}

static void say_write(run *r, size_t node, const ledger_change *c, const weft_commit *done,
                      weft_err err) {
  char text[64] = "";
  for (size_t i = 0; i < c->count; i++) {
    const ledger_write *w = &c->writes[i];
    size_t len = strlen(text);
    snprintf(text + len, sizeof text - len, " %c%u=%s%u", (char)('a' + w->doc), w->field,
             w->unset ? "-" : "", w->value);
  }
  sim_say(r->s, "%s : writes %02x%02x%s %s", sim_name(r->s, node), done->change.b[0],
          done->change.b[1], text, weft_err_name(err));
}

static void operate(run *r) {
  size_t node = test_rng_below(&r->workload, sim_count(r->s));
  uint64_t kind = test_rng_below(&r->workload, 100);
  if (!sim_is_up(r->s, node) || r->lies[node]) return;
  weft_replica *replica = sim_replica(r->s, node);
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_edit *e = NULL;
  weft_commit done = {0};
  ledger_change c = {0};
  weft__arena_init(&arena, &mem);
  ledger_before(r->l, node);
  weft_err err = weft_edit_begin(&e, replica, NULL);
  if (err == WEFT_OK) {
    err = kind < 65   ? write_fields(r, e, &c)
          : kind < 80 ? write_array(r, e)
          : kind < 90 ? write_document(r, e)
                      : resolve(r, node, e, &c, &arena);
  }
  bool grouped = err == WEFT_OK && kind % 7 == 0;
  if (grouped) err = weft_group_begin(replica);
  if (err == WEFT_OK) err = weft_edit_commit(e, &done);
  if (grouped && err == WEFT_OK) {
    err = weft_group_end(replica);
    mark(r, SWARM_MARK_GROUPED);
  } else if (grouped) {
    weft_group_abort(replica);
  }
  weft_edit_free(e);
  weft__arena_free(&arena);
  r->out->operations++;
  say_write(r, node, &c, &done, err);
  if (err != WEFT_OK) {
    failed(r, node, err, &c);
    return;
  }
  if (!done.written) mark(r, SWARM_MARK_NOTHING);
  r->out->changes += done.written;
  bool last = weft_hlc_ms(weft_replica_clock(replica)) == WEFT_HLC_MS_MAX;
  if (done.written && last) mark(r, SWARM_MARK_CLOCK_LAST);
  ledger_committed(r->l, node, &c, &done);
  sim_changed(r->s, node);
}

/* --- the faults --- */

static void part(run *r) {
  test_rng *rng = &r->rng[SWARM_PARTITION];
  bool open = test_rng_chance(rng, 40);
  uint64_t side = test_rng_next(rng);
  for (size_t a = 0; a < sim_count(r->s); a++) {
    for (size_t b = 0; b < a; b++) {
      bool same = (side >> a & 1) == (side >> b & 1);
      sim_reach(r->s, a, b, open || same);
    }
  }
}

static void flap(run *r) {
  test_rng *rng = &r->rng[SWARM_FLAP];
  if (r->flap_a == r->flap_b || test_rng_chance(rng, 5)) {
    if (r->flap_a != r->flap_b) sim_reach(r->s, r->flap_a, r->flap_b, true);
    r->flap_a = any(r, SWARM_FLAP);
    r->flap_b = any(r, SWARM_FLAP);
    r->flap_open = true;
  }
  if (r->flap_a == r->flap_b) return;
  r->flap_open = !r->flap_open;
  sim_reach(r->s, r->flap_a, r->flap_b, r->flap_open);
}

static void clocks(run *r, swarm_fault fault) {
  test_rng *rng = &r->rng[fault];
  size_t node = any(r, fault);
  weft_ms wall = sim_wall(r->s, node);
  uint64_t jump = 1ull << test_rng_below(rng, 40);
  if (fault == SWARM_DRIFT) {
    sim_clock(r->s, node, wall, (unsigned)(500 + test_rng_below(rng, 1000)));
  } else if (fault == SWARM_FREEZE) {
    sim_clock(r->s, node, wall, test_rng_chance(rng, 50) ? 0 : 1000);
  } else if (test_rng_chance(rng, 50)) {
    sim_clock(r->s, node, wall + jump, 1000);
  } else {
    sim_clock(r->s, node, wall > jump ? wall - jump : 0, 1000);
  }
}

/* A store is copied now, or set back to its copy. */
static void set_back(run *r) {
  size_t node = any(r, SWARM_RESTORE);
  if (!sim_is_up(r->s, node)) return;
  bool politely = test_rng_chance(&r->rng[SWARM_RESTORE], 50);
  down(r, node, politely ? POLITELY : RUDELY, 0);
  if (test_rng_chance(&r->rng[SWARM_RESTORE], 50) && sim_restore(r->s, node)) {
    r->out->injected[SWARM_RESTORE]++;
    ledger_set_back(r->l, node);
    if (r->w) witness_set_back(r->w, node);
  } else {
    sim_backup(r->s, node);
  }
  up(r, node);
}

/* Nobody hears some of the nodes, which hear the others. */
static void part_one_way(run *r, weft_ms until) {
  uint64_t side = test_rng_next(&r->rng[SWARM_ONEWAY]);
  for (size_t a = 0; a < sim_count(r->s); a++) {
    for (size_t b = 0; b < sim_count(r->s); b++) {
      if ((side >> a & 1) && !(side >> b & 1)) sim_stall(r->s, a, b, until);
    }
  }
}

/* A node is copied while it runs or rests, and the copy starts at once or later. */
static void copy(run *r, size_t node, weft_ms until) {
  if (sim_copies_left(r->s) == 0 || r->lies[node]) return;
  size_t to = sim_copy(r->s, node);
  ledger_copied(r->l, node, to);
  if (r->p) present_copied(r->p, node);
  bool listens = test_rng_chance(&r->rng[SWARM_COPY], 50);
  if (listens) mark(r, SWARM_MARK_COPY_LISTENS);
  for (size_t i = 0; i < r->o.nodes; i++) {
    if (i == sim_device(r->s, node)) continue;
    sim_address(r->s, listens ? i : to, listens ? to : i);
  }
  r->back_at[to] = test_rng_chance(&r->rng[SWARM_COPY], 50) ? until : 0;
  r->out->injected[SWARM_COPY]++;
}

static void disturb(run *r, swarm_fault fault) {
  test_rng *rng = &r->rng[fault];
  if (!enabled(r, fault) || test_rng_below(rng, 10000) >= often(fault)) return;
  size_t a = any(r, fault), b = any(r, fault);
  if (fault == SWARM_LIAR && r->liar_count == 0) return;
  weft_ms later = test_rng_chance(rng, 20) ? 5 * minute : 10000;
  weft_ms until = sim_now(r->s) + 1 + test_rng_below(rng, later);
  bool counted = fault == SWARM_DISK || fault == SWARM_RESTORE || fault == SWARM_COPY;
  if (!counted) r->out->injected[fault]++;
  switch (fault) {
  case SWARM_STALL:
    if (a != b) sim_stall(r->s, a, b, until);
    if (a != b && test_rng_chance(rng, 50)) sim_stall(r->s, b, a, until);
    break;
  case SWARM_PARTITION: part(r); break;
  case SWARM_FLAP: flap(r); break;
  case SWARM_SLOW:
    sim_slow(r->s, a, 500 + test_rng_below(rng, 5000));
    r->slow_until[a] = until;
    break;
  case SWARM_CRASH:
  case SWARM_STOP:
  case SWARM_VANISH:
    if (!sim_is_up(r->s, a)) break;
    down(r, a,
         fault == SWARM_STOP    ? POLITELY
         : fault == SWARM_CRASH ? RUDELY
                                : SILENTLY,
         until - sim_now(r->s));
    break;
  case SWARM_ONEWAY: part_one_way(r, until); break;
  case SWARM_REPLAY: sim_replay(r->s, a, rng); break;
  case SWARM_COPY: copy(r, a, until); break;
  case SWARM_LIAR: liar_act(r->liars[test_rng_below(rng, r->liar_count)], r->lies); break;
  case SWARM_JUMP:
  case SWARM_DRIFT:
  case SWARM_FREEZE: clocks(r, fault); break;
  case SWARM_DISK:
    if (!sim_is_up(r->s, a)) break;
    sim_faults(r->s, a)->fail_at = sim_faults(r->s, a)->calls + 1 + test_rng_below(rng, 400);
    sim_faults(r->s, a)->late = test_rng_chance(rng, 50);
    break;
  case SWARM_FULL:
    if (!sim_is_up(r->s, a)) break;
    sim_faults(r->s, a)->full = true;
    r->full_until[a] = until;
    break;
  case SWARM_RESTORE: set_back(r); break;
  case SWARM_CUT:
  case SWARM_REFUSE:
  case SWARM_DELAY:
  case SWARM_BANDWIDTH:
  case SWARM_EPOCH:
  case SWARM_CORRUPT:
  case SWARM_DUPLICATE:
  case SWARM_REORDER:
  case SWARM_FAULT_COUNT: break;
  }
}

/* --- a seed --- */

/* Events wait: their subscriptions are read in turn, but for looking closely and at the end. */
static void look(run *r, bool all) {
  for (size_t i = 0; i < sim_count(r->s); i++) {
    ledger_look(r->l, i);
    bool turn = all || r->out->operations % sim_count(r->s) == i;
    if (r->w && turn) witness_look(r->w, i);
    if (r->p) present_look(r->p, i);
    sim_check(r->s, SIM_I7);
    if (r->liar_count > 0) sim_check(r->s, SIM_I9);
    if (sim_memory_most(r->s, i) > memory_max) {
      sim_fail(r->s, "I7: %s took %zu bytes", sim_name(r->s, i), sim_memory_most(r->s, i));
    }
  }
}

static void advance(run *r) {
  weft_ms span = test_rng_below(&r->pace, 200);
  if (test_rng_below(&r->pace, 100) < 3) span = test_rng_below(&r->pace, 2 * minute);
  weft_ms until = sim_now(r->s) + span;
  while (r->closely && sim_step(r->s, until)) look(r, true);
  sim_run(r->s, until);
}

/* The ends of time: 1970, 2038, 2106, the last year that has a date, and beyond. */
static void set_clocks(run *r) {
  static const weft_ms ends[] = {0, 2147483640000u, 4294967290000u, 253402300795000u,
                                 253402300800000u};
  test_rng *rng = &r->rng[SWARM_EPOCH];
  bool all = test_rng_chance(rng, 50);
  uint64_t end = test_rng_below(rng, 5);
  size_t only = any(r, SWARM_EPOCH);
  for (size_t i = 0; i < r->o.nodes; i++) {
    if (all || i == only) sim_clock(r->s, i, ends[end], 1000);
  }
  r->out->injected[SWARM_EPOCH]++;
}

static unsigned rate(run *r, swarm_fault fault) {
  return 1 + (unsigned)test_rng_below(&r->rng[fault], 15);
}

/* The last nodes lie; at least two do not. */
static void set_liars(run *r) {
  test_rng *rng = &r->rng[SWARM_LIAR];
  size_t most = r->o.nodes < 4 ? 1 : r->o.nodes < 7 ? 2 : 3;
  if (!enabled(r, SWARM_LIAR) || r->o.nodes < 3) return;
  size_t count = 1 + test_rng_below(rng, most);
  for (size_t i = 0; i < count; i++) {
    size_t node = r->o.nodes - 1 - i;
    r->lies[node] = true;
    ledger_lies(r->l, node);
    uint64_t own = test_rng_next(rng);
    r->liars[r->liar_count++] = liar_new(r->s, node, own, (uint32_t)test_rng_next(rng));
  }
  if (count > 1) mark(r, SWARM_MARK_LIARS);
}

static sim_options plan(run *r, test_rng *rng) {
  sim_options o = {.seed = r->o.seed, .nodes = r->o.nodes, .delay_min = 1};
  o.stand_in = test_rng_below(rng, 20) != 0;
  o.crypto = test_once_crypto();
  o.lmdb = test_rng_below(rng, 20) == 0;
  o.mirror = test_rng_chance(rng, 30);
  o.no_gossip = test_rng_chance(rng, 10);
  o.scattered = test_rng_chance(rng, 10);
  o.hold_max = test_rng_chance(rng, 50) ? 0 : test_rng_below(rng, 60);
  o.show_max = test_rng_chance(rng, 50) ? 0 : 1 + test_rng_below(rng, 10);
  o.delay_max = 1 + test_rng_below(rng, 40);
  if (enabled(r, SWARM_DELAY)) o.delay_max = 1 + test_rng_below(&r->rng[SWARM_DELAY], 1500);
  if (enabled(r, SWARM_CUT)) o.cut_permille = 1 + (unsigned)test_rng_below(&r->rng[SWARM_CUT], 30);
  if (enabled(r, SWARM_REFUSE)) {
    o.refuse_permille = 1 + (unsigned)test_rng_below(&r->rng[SWARM_REFUSE], 600);
  }
  if (enabled(r, SWARM_CORRUPT)) o.corrupt_permille = rate(r, SWARM_CORRUPT);
  if (enabled(r, SWARM_DUPLICATE)) o.duplicate_permille = rate(r, SWARM_DUPLICATE);
  if (enabled(r, SWARM_REORDER)) o.reorder_permille = rate(r, SWARM_REORDER);
  o.tapes = enabled(r, SWARM_REPLAY);
  if (enabled(r, SWARM_COPY)) {
    o.copies = copies_max;
    o.mirror = o.mirror || test_rng_chance(&r->rng[SWARM_COPY], 60);
  }
  if (enabled(r, SWARM_BANDWIDTH)) {
    o.bandwidth = 3000 + test_rng_below(&r->rng[SWARM_BANDWIDTH], 50000);
  }
  if (!o.stand_in) mark(r, SWARM_MARK_REAL);
  if (o.lmdb) mark(r, SWARM_MARK_ON_DISK);
  if (o.mirror) mark(r, SWARM_MARK_MIRRORED);
  if (o.no_gossip) mark(r, SWARM_MARK_NO_GOSSIP);
  if (o.scattered) mark(r, SWARM_MARK_SCATTERED);
  return o;
}

static void connect(run *r, test_rng *rng) {
  bool chain = test_rng_chance(rng, 20) && r->liar_count == 0; /* a liar would part it */
  bool crossing = test_rng_chance(rng, 20);
  if (chain) mark(r, SWARM_MARK_CHAIN);
  for (size_t i = 1; chain && i < r->o.nodes; i++) sim_address(r->s, i, i - 1);
  if (!chain) sim_mesh(r->s);
  for (size_t i = 1; !chain && crossing && i < r->o.nodes; i++) sim_address(r->s, i - 1, i);
}

/* Everything works again; clocks stay wrong, but run. */
static void heal(run *r) {
  sim_rates(r->s, 0, 0);
  sim_unmangled(r->s);
  for (size_t a = 0; a < sim_count(r->s); a++) {
    for (size_t b = 0; b < a; b++) {
      sim_reach(r->s, a, b, true);
      sim_stall(r->s, a, b, 0);
      sim_stall(r->s, b, a, 0);
    }
    sim_slow(r->s, a, 0);
    sim_clock(r->s, a, sim_wall(r->s, a), 1000);
    if (sim_is_up(r->s, a)) {
      test_fault_store *f = sim_faults(r->s, a);
      f->full = false;
      if (f->hits == 0) f->fail_at = 0;
    }
    r->back_at[a] = 0;
  }
  tend(r);
  for (size_t i = 0; i < sim_count(r->s); i++) {
    up(r, i);
  }
}

/* Among liars it is enough that all others agree. */
static void settle(run *r, weft_ms limit) {
  if (r->liar_count == 0) {
    (void)sim_settle(r->s, limit);
    return;
  }
  weft_ms next = sim_now(r->s);
  while (!ledger_agrees(r->l)) {
    next += 1000;
    if (next > limit) sim_explain(r->s);
    if (next > limit) sim_fail(r->s, "I9: liars keep the others from converging");
    sim_run(r->s, next);
  }
  sim_check(r->s, SIM_I9);
  const weft_vector *held = weft_replica_held(sim_replica(r->s, 0));
  if (!test_same_heads(held, weft_replica_shown(sim_replica(r->s, 0)))) {
    mark(r, SWARM_MARK_LIE_WAITS);
  }
}

static void prove(run *r) {
  for (size_t i = 0; i < sim_count(r->s); i++) {
    weft_verify_report report;
    if (r->lies[i]) continue;
    sim_check(r->s, SIM_I10);
    weft_err err = weft_replica_verify(sim_replica(r->s, i), NULL, NULL, &report);
    if (err != WEFT_OK) {
      sim_fail(r->s, "I10: %s is not clean: %s: %s", sim_name(r->s, i), weft_err_name(err),
               report.first);
    }
    if (i > 0) continue; /* the others show and count the same */
    sim_check(r->s, SIM_I6);
    test_recount(sim_replica(r->s, i), r->o.seed);
    mark(r, SWARM_MARK_RECOUNTED);
  }
  mark(r, SWARM_MARK_VERIFIED);
}

static void finish(run *r) {
  heal(r);
  weft_ms before = sim_now(r->s);
  sim_check(r->s, SIM_I8);
  settle(r, before + settle_limit);
  r->out->settled_ms = sim_now(r->s) - before;
  ledger_end(r->l);
  look(r, true);
  if (r->w) ledger_heard(r->l, r->w);
  if (r->p) present_calm(r->p);
  if (r->o.seed % 4 == 0) prove(r);
}

static void tell_presence(run *r) {
  const present_counts *c = present_so_far(r->p);
  r->out->presence = *c;
  if (c->listed > 0) mark(r, SWARM_MARK_PRESENT);
  if (c->ended) mark(r, SWARM_MARK_PRESENT_ENDED);
  if (c->ghost) mark(r, SWARM_MARK_PRESENT_GHOST);
  if (c->copies) mark(r, SWARM_MARK_PRESENT_TWICE);
  if (c->forged > 0) mark(r, SWARM_MARK_PRESENT_FORGED);
  if (c->repeated > 0) mark(r, SWARM_MARK_PRESENT_REPEATED);
}

static void tell(run *r) {
  swarm_result *out = r->out;
  out->seed = r->o.seed;
  out->events = sim_so_far(r->s)->events;
  out->hash = sim_hash(r->s);
  out->conflicts = ledger_conflicts(r->l);
  for (unsigned i = 0; i < SIM_INVARIANT_COUNT; i++) {
    out->checks[i] = sim_so_far(r->s)->checks[i];
  }
  for (size_t i = 0; i < r->liar_count; i++) {
    for (unsigned k = 0; k < LIAR_WAY_COUNT; k++) {
      out->lies[k] += liar_count(r->liars[i], (liar_way)k);
    }
  }
  out->injected[SWARM_CORRUPT] = sim_so_far(r->s)->corrupted;
  out->injected[SWARM_DUPLICATE] = sim_so_far(r->s)->duplicated;
  out->injected[SWARM_REORDER] = sim_so_far(r->s)->reordered;
  if (r->p) tell_presence(r);
  if (ledger_forked(r->l)) mark(r, SWARM_MARK_FORKED);
  if (ledger_forked(r->l) && out->injected[SWARM_COPY] > 0 && r->liar_count == 0) {
    mark(r, SWARM_MARK_COPY_FORKED);
  }
  out->injected[SWARM_CUT] = sim_so_far(r->s)->cuts;
  out->injected[SWARM_REFUSE] = sim_so_far(r->s)->refusals;
  out->injected[SWARM_DELAY] = enabled(r, SWARM_DELAY);
  out->injected[SWARM_BANDWIDTH] = enabled(r, SWARM_BANDWIDTH);
  if (ledger_conflicts_left(r->l) > 0) mark(r, SWARM_MARK_CONFLICT);
  if (ledger_lost(r->l) > 0) mark(r, SWARM_MARK_SET_BACK_LOST);
  if (ledger_met_again(r->l)) mark(r, SWARM_MARK_MET_AGAIN);
  if (ledger_waited(r->l)) mark(r, SWARM_MARK_WAITED);
  if (r->trace) fputs(sim_trace(r->s), r->trace);
}

/* One operation, and what happens to the network, nodes, clocks and disks after it. */
static void act(run *r) {
  operate(r);
  if (r->p) present_act(r->p);
  for (unsigned i = 0; i < SWARM_FAULT_COUNT; i++) disturb(r, (swarm_fault)i);
}

static void step(run *r, size_t number) {
  const swarm_options *o = &r->o;
  if (o->keep) {
    const swarm_stand *stand = &o->stands[number];
    r->workload = stand->workload;
    r->pace = stand->pace;
    memcpy(r->rng, stand->faults, sizeof r->rng);
  } else if (o->stands) {
    swarm_stand *stand = &o->stands[number];
    stand->workload = r->workload;
    stand->pace = r->pace;
    memcpy(stand->faults, r->rng, sizeof r->rng);
  }
  if (!o->keep || o->keep[number]) act(r);
  advance(r);
  tend(r);
  look(r, r->closely);
}

void swarm_run(const swarm_options *o, FILE *trace, swarm_result *out) {
  run r = {.o = *o, .out = out, .trace = trace};
  memset(out, 0, sizeof *out);
  test_rng seeds = test_rng_of(o->seed);
  test_rng shape = test_rng_of(test_rng_next(&seeds));
  r.workload = test_rng_of(test_rng_next(&seeds));
  r.pace = test_rng_of(test_rng_next(&seeds));
  for (size_t i = 0; i < SWARM_FAULT_COUNT; i++) r.rng[i] = test_rng_of(test_rng_next(&seeds));
  /* Few kinds together find more than all of them at once: each seed has its own share. */
  uint64_t share = test_rng_below(&shape, 4);
  for (unsigned i = 0; i < SWARM_FAULT_COUNT; i++) {
    if (test_rng_below(&shape, 6) < share) r.enabled |= 1u << i;
  }
  r.enabled &= o->faults;
  if (r.enabled == 0) mark(&r, SWARM_MARK_QUIET);
  r.closely = test_rng_below(&shape, 16) == 0;
  sim_options so = plan(&r, &shape);
  r.s = sim_new(&so);
  r.l = ledger_new(r.s, o->nodes);
  if (o->seed % 4 == 1) r.w = witness_new(r.s);
  set_liars(&r);
  bool still = enabled(&r, SWARM_STALL) || enabled(&r, SWARM_ONEWAY);
  if (o->seed % 4 == 2) r.p = present_new(r.s, test_rng_next(&seeds), r.lies, still);
  connect(&r, &shape);
  if (enabled(&r, SWARM_EPOCH)) set_clocks(&r);
  for (size_t i = 0; i < o->nodes; i++) up(&r, i);
  for (size_t i = 0; i < o->steps; i++) step(&r, i);
  finish(&r);
  tell(&r);
  for (size_t i = 0; i < r.liar_count; i++) liar_free(r.liars[i]);
  if (r.w && witness_events(r.w) > 0) mark(&r, SWARM_MARK_HEARD);
  witness_free(r.w);
  present_free(r.p);
  ledger_free(r.l);
  sim_free(r.s);
}

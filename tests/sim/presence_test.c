/* Presence of real nodes in virtual time, over generated runs: nodes that crash, vanish and stop,
 * ways that are cut, streams that stand still, clocks that jump by an hour.  Nobody is listed for
 * long after the last sign of life, and once all is calm everybody lists just who is there.
 * WEFT_SIM_SEEDS says how many runs (40), WEFT_SIM_SEED where to begin. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/sim.h"
#include "tests/support/pace.h"

enum {
  NODES = 4,
  LIVES = 64,
  second = 1000,
  life_ms = 45000,
  hop_ms = 17000, /* what a stream may stand still without being doubted, and the way */
  calm_ms = 200000
};

typedef struct run {
  sim *s;
  test_rng rng;
  bool here[NODES];           /* the session of the present life */
  unsigned lives[NODES];      /* so far */
  weft_ms last[NODES][LIVES]; /* when that life was last there */
  weft_ms latest;             /* the longest silence that was still listed */
  size_t listed;
} run;

static void begin(run *r, unsigned i) {
  sim_start(r->s, i);
  r->lives[i]++;
}

static void set(run *r, unsigned i) {
  char session[16], state[16];
  weft_value v = {.kind = WEFT_STRING};
  snprintf(session, sizeof session, "%u", r->lives[i]);
  snprintf(state, sizeof state, "%u", (unsigned)test_rng_below(&r->rng, 1000));
  v.as.bytes = weft_bytes_str(state);
  weft_presence_session p = {weft_bytes_str(session), weft_bytes_str("notes/a"), &v, 0};
  assert_int_equal(weft_node_presence_set(sim_node(r->s, i), sim_now(r->s), &p), WEFT_OK);
  sim_changed(r->s, i);
  r->here[i] = true;
}

static void leave(run *r, unsigned i) {
  char session[16];
  snprintf(session, sizeof session, "%u", r->lives[i]);
  assert_int_equal(weft_node_presence_leave(sim_node(r->s, i), sim_now(r->s),
                                            weft_bytes_str(session), weft_bytes_str("notes/a")),
                   WEFT_OK);
  sim_changed(r->s, i);
  r->here[i] = false;
}

static void end(run *r, unsigned i) {
  switch (test_rng_below(&r->rng, 3)) {
  case 0: sim_crash(r->s, i); break;
  case 1: sim_vanish(r->s, i); break;
  default: sim_stop(r->s, i); break;
  }
  r->here[i] = false;
}

static void disturb(run *r) {
  unsigned i = (unsigned)test_rng_below(&r->rng, NODES);
  unsigned k = (i + 1 + (unsigned)test_rng_below(&r->rng, NODES - 1)) % NODES;
  weft_ms now = sim_now(r->s);
  switch (test_rng_below(&r->rng, 8)) {
  case 0:
  case 1:
    if (!sim_is_up(r->s, i) && r->lives[i] + 1 < LIVES)
      begin(r, i);
    else if (sim_is_up(r->s, i))
      end(r, i);
    break;
  case 2: sim_reach(r->s, i, k, test_rng_chance(&r->rng, 50)); break;
  case 3: sim_stall(r->s, i, k, now + test_rng_below(&r->rng, 60 * second)); break;
  case 4:
    sim_clock(r->s, i, sim_wall(r->s, i) + test_rng_below(&r->rng, 7200 * second) - 3600 * second,
              1000);
    break;
  default:
    if (!sim_is_up(r->s, i)) break;
    if (r->here[i] && test_rng_chance(&r->rng, 30))
      leave(r, i);
    else
      set(r, i);
    break;
  }
}

/* What one node lists; with `exactly`, it must be just what is there. */
static void judge(run *r, unsigned by, bool exactly) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_present *list;
  size_t count;
  bool seen[NODES] = {false};
  weft__arena_init(&arena, &mem);
  if (weft_node_presence(sim_node(r->s, by), &arena, &list, &count) != WEFT_OK) abort();
  for (size_t i = 0; i < count; i++) {
    unsigned who = 0;
    while (weft_id_cmp(&sim_space(r->s)->devices[who].device, &list[i].device) != 0) who++;
    unsigned life = 0;
    for (size_t k = 0; k < list[i].session.len; k++) life = life * 10 + list[i].session.at[k] - '0';
    weft_ms silent = sim_now(r->s) - r->last[who][life];
    bool now = r->here[who] && life == r->lives[who];
    if (now) seen[who] = true;
    if (silent > r->latest) r->latest = silent;
    r->listed++;
    if (silent > life_ms + (NODES - 1) * hop_ms || (exactly && !now)) {
      sim_fail(r->s, "%u lists a ghost of %u, silent for %llu ms", by, who,
               (unsigned long long)silent);
    }
  }
  weft__arena_free(&arena);
  for (unsigned who = 0; exactly && who < NODES; who++) {
    if (r->here[who] && !seen[who]) sim_fail(r->s, "%u does not list %u", by, who);
  }
}

static void pass(run *r, weft_ms ms, bool wild) {
  weft_ms until = sim_now(r->s) + ms;
  while (sim_now(r->s) < until) {
    weft_ms now = sim_now(r->s);
    for (unsigned i = 0; i < NODES; i++) {
      if (r->here[i]) r->last[i][r->lives[i]] = now + second;
    }
    sim_run(r->s, now + second);
    for (unsigned i = 0; i < NODES; i++) {
      if (r->here[i]) r->last[i][r->lives[i]] = sim_now(r->s);
      if (sim_is_up(r->s, i)) judge(r, i, false);
    }
    if (wild && test_rng_chance(&r->rng, 10)) disturb(r);
  }
}

static void run_one(uint64_t seed, weft_ms *latest, size_t *listed) {
  sim_options o = {
      .seed = seed, .nodes = NODES, .stand_in = true, .delay_min = 1, .delay_max = 150};
  run r = {.s = sim_new(&o), .rng = test_rng_of(seed ^ 0x9e3779b97f4a7c15)};
  bool chain = test_rng_chance(&r.rng, 30);
  for (unsigned i = 0; i < NODES; i++) {
    for (unsigned k = 0; k < i; k++) {
      if (!chain || k + 1 == i) sim_address(r.s, i, k);
    }
  }
  for (unsigned i = 0; i < NODES; i++) begin(&r, i);
  for (unsigned round = 0; round < 3; round++) {
    pass(&r, 120 * second, true);
    for (unsigned i = 0; i < NODES; i++) {
      for (unsigned k = 0; k < i; k++) sim_reach(r.s, i, k, true);
      if (!sim_is_up(r.s, i)) begin(&r, i);
    }
    pass(&r, calm_ms, false);
    for (unsigned i = 0; i < NODES; i++) judge(&r, i, true);
  }
  if (r.latest > *latest) *latest = r.latest;
  *listed += r.listed;
  sim_free(r.s);
}

static void no_ghosts_among_nodes(void **state) {
  (void)state;
  uint64_t from = test_number("WEFT_SIM_SEED", 1), count = test_number("WEFT_SIM_SEEDS", 40);
  weft_ms latest = 0;
  size_t listed = 0;
  for (uint64_t seed = from; seed < from + count; seed++) run_one(seed, &latest, &listed);
  print_message("%zu listings; the longest silence listed: %llu ms\n", listed,
                (unsigned long long)latest);
  assert_true(listed > count * 100);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(no_ghosts_among_nodes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

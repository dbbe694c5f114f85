/* Nodes together, in virtual time: golden traces, and convergence under everything that networks
 * and machines do.  WEFT_SIM_SEEDS says how many runs of each kind (40), WEFT_SIM_SEED where to
 * begin. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/sim.h"
#include "tests/support/pace.h"

enum { minute = 60000 };

static void must(sim *s, weft_err err) {
  if (err != WEFT_OK) sim_fail(s, "%s", weft_err_name(err));
}

/* --- golden traces --- */

static void expect(sim *s, const char *want) {
  const char *got = sim_trace(s);
  if (strcmp(got, want) != 0) fail_msg("the trace is\n%s\nand should be\n%s", got, want);
}

static void two_nodes_sync(void **state) {
  (void)state;
  sim_options o = {.seed = 1, .nodes = 2, .plain = true, .delay_min = 10, .delay_max = 10};
  sim *s = sim_new(&o);
  sim_start_all(s);
  must(s, sim_set(s, 0, "templates/leg-day", "/title", "\"Leg day\""));
  sim_address(s, 1, 0);
  sim_settle(s, minute);
  sim_run(s, sim_now(s) + 2000);
  expect(s, "[    0] a : starts\n"
            "[    0] b : starts\n"
            "[   40] b > a hello\n"
            "[   50] a : up b WEFT_OK\n"
            "[   50] a > b hello\n"
            "[   50] a > b vv-leaves 1\n"
            "[   60] b : up a WEFT_OK\n"
            "[   60] b > a vv-leaves 0\n"
            "[   60] b > a want 1-2\n"
            "[   70] a > b changes 1-2\n"
            "[  100] a > b ack 1\n"
            "[  110] b : in step a WEFT_OK\n"
            "[  110] b > a pong\n"
            "[  110] b > a ack 1\n"
            "[  120] a : in step b WEFT_OK\n"
            "[  310] b > a credit\n"
            "[  320] a > b credit\n");
  sim_free(s);
}

/* A change made while a link is live goes over it at once, alone. */
static void a_live_change(void **state) {
  (void)state;
  sim_options o = {.seed = 1, .nodes = 2, .plain = true, .delay_min = 10, .delay_max = 10};
  sim *s = sim_new(&o);
  sim_address(s, 1, 0);
  sim_start_all(s);
  must(s, sim_set(s, 0, "templates/leg-day", "/title", "\"Leg day\""));
  sim_settle(s, minute);
  sim_run(s, 2000);
  sim_trace_clear(s);
  must(s, sim_set(s, 0, "templates/leg-day", "/title", "\"Legs\""));
  sim_run(s, 3000);
  assert_true(sim_same(s));
  expect(s, "[ 2000] a > b gossip 3-3\n"
            "[ 2050] a > b pong\n"
            "[ 2050] a > b ack 1\n"
            "[ 2060] b > a pong\n"
            "[ 2060] b > a ack 1\n"
            "[ 2060] b : in step a WEFT_OK\n"
            "[ 2070] a : in step b WEFT_OK\n"
            "[ 2260] b > a credit\n"
            "[ 2270] a > b credit\n");
  sim_free(s);
}

static unsigned count_of(sim *s, const char *what) {
  unsigned count = 0;
  for (const char *at = sim_trace(s); (at = strstr(at, what)); at++) count++;
  return count;
}

/* Where everybody is linked to everybody, an acknowledgement takes no way but the straight one;
 * over the last link that is left it goes round. */
static void acknowledgements_go_straight(void **state) {
  (void)state;
  enum { nodes = 4 };
  sim_options o = {.seed = 2, .nodes = nodes, .plain = true, .delay_min = 5, .delay_max = 20};
  sim *s = sim_new(&o);
  sim_mesh(s);
  sim_start_all(s);
  must(s, sim_set(s, 0, "notes/a", "/n", "0"));
  sim_settle(s, minute);
  sim_run(s, sim_now(s) + 5000);
  sim_trace_clear(s);
  must(s, sim_set(s, 0, "notes/a", "/n", "1"));
  sim_run(s, sim_now(s) + 5000);
  assert_int_equal(count_of(s, " ack "), nodes * (nodes - 1));
  sim_reach(s, 1, 2, false);
  sim_reach(s, 1, 3, false);
  must(s, sim_set(s, 0, "notes/a", "/n", "2"));
  sim_settle(s, sim_now(s) + minute);
  sim_run(s, sim_now(s) + 2000);
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_node_reach *reach;
  size_t count;
  weft__arena_init(&arena, &mem);
  const weft_head *h = &weft_replica_held(sim_replica(s, 1))->heads[0];
  must(s, weft_node_reaches(sim_node(s, 1), &arena, &h->log, &reach, &count));
  assert_int_equal(count, nodes - 1);
  for (size_t i = 0; i < count; i++) assert_int_equal(reach[i].seq, h->seq);
  weft__arena_free(&arena);
  sim_free(s);
}

/* Every start without a mirror begins new logs, so that a device comes to have many. */
static void many_logs(sim *s, size_t idx, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    char value[16];
    sim_start(s, idx);
    snprintf(value, sizeof value, "%u", i);
    must(s, sim_set(s, idx, "notes/a", idx ? "/x" : "/y", value));
    sim_crash(s, idx);
  }
}

/* With many logs the difference is found by descending the tries, not by telling all. */
static void many_logs_are_compared_as_tries(void **state) {
  (void)state;
  sim_options o = {.seed = 3, .nodes = 2, .plain = true, .delay_min = 10, .delay_max = 10};
  sim *s = sim_new(&o);
  many_logs(s, 0, 150);
  many_logs(s, 1, 90);
  sim_address(s, 1, 0);
  sim_start_all(s);
  sim_settle(s, sim_now(s) + minute);
  assert_true(count_of(s, "vv-nodes") > 0);
  assert_int_equal(count_of(s, "vv-delta"), 0);
  /* Next time a little differs, and few nodes are looked at: what was there is not told again. */
  sim_stop(s, 1);
  must(s, sim_set(s, 0, "notes/a", "/z", "1"));
  sim_trace_clear(s);
  uint64_t before = sim_so_far(s)->bytes;
  sim_start(s, 1);
  sim_settle(s, sim_now(s) + minute);
  assert_in_range(count_of(s, "vv-nodes"), 1, 6);
  assert_true(sim_so_far(s)->bytes - before < 20000);
  sim_free(s);
}

/* After a link that was brought to its end, the next one tells only what arrived since. */
static void a_cursor_spares_telling_all(void **state) {
  (void)state;
  sim_options o = {.seed = 3, .nodes = 2, .plain = true, .delay_min = 10, .delay_max = 10};
  sim *s = sim_new(&o);
  many_logs(s, 0, 80);
  sim_address(s, 1, 0);
  sim_start_all(s);
  must(s, sim_set(s, 1, "notes/a", "/z", "1"));
  sim_settle(s, sim_now(s) + minute);
  sim_run(s, sim_now(s) + minute);
  sim_reach(s, 0, 1, false);
  sim_run(s, sim_now(s) + 2 * minute);
  must(s, sim_set(s, 0, "notes/a", "/z", "2"));
  must(s, sim_set(s, 1, "notes/a", "/w", "2"));
  sim_reach(s, 0, 1, true);
  sim_trace_clear(s);
  sim_settle(s, sim_now(s) + 10 * minute);
  assert_int_equal(count_of(s, "vv-delta 1\n"), 2);
  assert_int_equal(count_of(s, "vv-nodes"), 0);
  sim_free(s);
}

/* How long a change needs from one end of a chain to the other, by pushes alone. */
static void a_change_runs_along_a_chain(void **state) {
  (void)state;
  sim_options o = {.seed = 4, .nodes = 4, .plain = true, .delay_min = 10, .delay_max = 10};
  sim *s = sim_new(&o);
  for (size_t i = 1; i < 4; i++) sim_address(s, i, i - 1);
  sim_start_all(s);
  must(s, sim_set(s, 0, "notes/a", "/n", "0"));
  sim_settle(s, minute);
  sim_run(s, sim_now(s) + 5000);
  sim_trace_clear(s);
  weft_ms before = sim_now(s);
  must(s, sim_set(s, 0, "notes/a", "/n", "1"));
  weft_ms took = sim_settle(s, before + minute) - before;
  assert_in_range(took, 200, 400); /* two hold-offs of 100 ms and three ways */
  assert_int_equal(count_of(s, "gossip 3-3"), 3);
  assert_int_equal(count_of(s, "want"), 0);
  sim_free(s);
}

/* In a full mesh a change goes over each link once, from its author. */
static void a_change_is_pushed_once(void **state) {
  (void)state;
  sim_options o = {.seed = 4, .nodes = 6, .plain = true, .delay_min = 5, .delay_max = 15};
  sim *s = sim_new(&o);
  sim_mesh(s);
  sim_start_all(s);
  must(s, sim_set(s, 0, "notes/a", "/n", "0"));
  sim_settle(s, minute);
  sim_run(s, sim_now(s) + 5000);
  sim_trace_clear(s);
  must(s, sim_set(s, 0, "notes/a", "/n", "1"));
  weft_ms before = sim_now(s);
  assert_true(sim_settle(s, before + minute) - before <= 20);
  sim_run(s, sim_now(s) + 2000);
  assert_int_equal(count_of(s, "gossip"), 5);
  assert_int_equal(count_of(s, "want"), 0);
  sim_free(s);
}

/* Much is announced and fetched, in the order in which it became shown. */
static void a_large_catch_up_arrives_in_order(void **state) {
  (void)state;
  sim_options o = {.seed = 4, .nodes = 3, .plain = true, .delay_min = 10, .delay_max = 10};
  o.bandwidth = 100000;
  sim *s = sim_new(&o);
  sim_address(s, 1, 0);
  sim_start(s, 0);
  sim_start(s, 1);
  char text[2000];
  test_rng *rng = sim_rng(s);
  for (unsigned i = 0; i < 500; i++) {
    size_t len = 500 + test_rng_below(rng, 1000);
    text[0] = '"';
    for (size_t k = 1; k < len; k++) text[k] = (char)('a' + test_rng_below(rng, 26));
    memcpy(text + len, "\"", 2);
    must(s, sim_set(s, i % 2, "notes/a", i % 3 ? "/x" : "/y", text));
    sim_run(s, sim_now(s) + 100);
  }
  sim_settle(s, sim_now(s) + 10 * minute);
  sim_trace_clear(s);
  sim_address(s, 2, 0);
  sim_start(s, 2);
  /* Whatever is held on the way can be shown at once, but for what goes
   * ahead of its turn to save signatures. */
  weft_replica *r = sim_replica(s, 2);
  uint64_t most = 0;
  while (!sim_same(s)) {
    sim_run(s, sim_now(s) + 10);
    weft_counts counts;
    must(s, weft_replica_counts(r, &counts));
    uint64_t waiting = counts.changes_held - counts.changes_shown;
    if (waiting > most) most = waiting;
    if (sim_now(s) > 30 * minute) sim_fail(s, "no convergence");
  }
  assert_true(most <= 130); /* log by log it would be 250 */
  assert_true(count_of(s, "changes") >= 2);
  sim_free(s);
}

/* --- lanes --- */

static void write_lane(sim *s, size_t idx, weft_lane lane, const char *doc, weft_value v) {
  weft_edit *e;
  weft_commit done;
  weft_edit_options o;
  weft_edit_options_init(&o);
  o.lane = lane;
  must(s, weft_edit_begin(&e, sim_replica(s, idx), &o));
  must(s, weft_edit_set(e, weft_bytes_str(doc), weft_bytes_str("/n"), &v));
  must(s, weft_edit_commit(e, &done));
  weft_edit_free(e);
}

/* So many changes of one lane, each of a document of its own, in groups. */
static void write_many(sim *s, size_t idx, weft_lane lane, unsigned count) {
  for (unsigned i = 0; i < count;) {
    must(s, weft_group_begin(sim_replica(s, idx)));
    for (unsigned k = 0; k < 5000 && i < count; k++, i++) {
      char doc[32];
      uint8_t text[40];
      for (size_t t = 0; t < sizeof text; t++) text[t] = (uint8_t)test_rng_below(sim_rng(s), 256);
      snprintf(doc, sizeof doc, "notes/%u", (unsigned)test_rng_below(sim_rng(s), 1u << 20));
      weft_value v = {.kind = WEFT_BYTES, .as.bytes = weft_bytes_of(text, sizeof text)};
      write_lane(s, idx, lane, doc, v);
    }
    must(s, weft_group_end(sim_replica(s, idx)));
  }
  sim_changed(s, idx);
}

/* The time until a change of `lane`, written at node 0, is shown at node 1. */
static weft_ms overtakes_in(sim *s, weft_lane lane, int64_t value) {
  weft_value v = {.kind = WEFT_INT, .as.integer = value};
  char want[32], got[64];
  weft_ms before = sim_now(s);
  snprintf(want, sizeof want, "%lld", (long long)value);
  write_lane(s, 0, lane, "lanes/a", v);
  sim_changed(s, 0);
  while (strcmp(test_get(sim_replica(s, 1), "lanes/a", "/n", got, sizeof got), want) != 0) {
    sim_run(s, sim_now(s) + 1);
    if (sim_now(s) > before + 10 * minute) sim_fail(s, "it does not come");
  }
  return sim_now(s) - before;
}

/* 100,000 changes wait to cross 50 KB/s.  What is written to overtake is shown on the other side
 * within two round trips and the time that its own bytes take. */
static void what_is_critical_overtakes(void **state) {
  (void)state;
  unsigned count = test_number("WEFT_SIM_SEEDS", 100) < 100 ? 20000 : 100000;
  enum { one_way = 50, own_bytes = 512, allowed = 4 * one_way + own_bytes * 1000 / 50000 };
  sim_options o = {.seed = 7, .nodes = 2, .stand_in = true, .mirror = true};
  o.delay_min = o.delay_max = one_way;
  o.bandwidth = 50000;
  sim *s = sim_new(&o);
  sim_address(s, 1, 0);
  sim_start_all(s);
  sim_settle(s, sim_now(s) + minute);
  weft_value begun = {.kind = WEFT_INT};
  write_lane(s, 0, WEFT_LANE_CRITICAL, "lanes/a", begun);
  write_lane(s, 0, WEFT_LANE_HIGH, "lanes/a", begun);
  sim_changed(s, 0);
  sim_settle(s, sim_now(s) + minute);
  write_many(s, 0, WEFT_LANE_LOW, count);
  weft_ms most = 0, sum = 0;
  int64_t samples = count / 2500; /* while they are under way */
  for (int64_t i = 1; i <= samples; i++) {
    sim_run(s, sim_now(s) + 300 + test_rng_below(sim_rng(s), 400));
    weft_ms took = overtakes_in(s, i % 2 ? WEFT_LANE_CRITICAL : WEFT_LANE_HIGH, i);
    if (took > most) most = took;
    sum += took;
  }
  print_message("%u low changes wait: the other lane is shown after %llu ms, %llu at most\n", count,
                (unsigned long long)(sum / (weft_ms)samples), (unsigned long long)most);
  assert_false(sim_same(s));
  assert_true(most <= allowed);
  /* The line was in use all the time. */
  weft_ms began = sim_now(s);
  uint64_t bytes = sim_so_far(s)->bytes;
  sim_run(s, began + 5000);
  assert_true((sim_so_far(s)->bytes - bytes) * 1000 / 5000 >= 40000);
  sim_free(s);
}

/* --- convergence --- */

typedef struct plan {
  size_t nodes;
  bool chain, partitions, restarts, faults;
  unsigned writes;
  sim_options o;
} plan;

static void write_any(sim *s, size_t idx) {
  test_rng *rng = sim_rng(s);
  char doc[24], key[16], value[24];
  snprintf(doc, sizeof doc, "notes/%c", (char)('a' + test_rng_below(rng, 4)));
  snprintf(key, sizeof key, "/f%u", (unsigned)test_rng_below(rng, 6));
  snprintf(value, sizeof value, "%u", (unsigned)test_rng_below(rng, 1000));
  weft_err err = sim_set(s, idx, doc, key, value);
  bool expected = err == WEFT_OK || err == WEFT_EMISUSE || err == WEFT_EIO;
  if (!expected) sim_fail(s, "a write: %s", weft_err_name(err));
  if (err == WEFT_EIO) {
    /* The disk failed; the program ends and is started again. */
    sim_crash(s, idx);
    sim_start(s, idx);
  }
}

static void disturb(sim *s, const plan *p) {
  test_rng *rng = sim_rng(s);
  size_t a = test_rng_below(rng, p->nodes), b = test_rng_below(rng, p->nodes);
  if (p->partitions && a != b && test_rng_chance(rng, 10)) {
    sim_reach(s, a, b, test_rng_chance(rng, 50));
  }
  if (p->restarts && test_rng_chance(rng, 4)) {
    if (test_rng_chance(rng, 50))
      sim_crash(s, a);
    else
      sim_stop(s, a);
  } else if (p->restarts && !sim_is_up(s, a)) {
    sim_start(s, a);
  }
  if (p->faults && sim_is_up(s, a) && test_rng_chance(rng, 3)) {
    test_fault_store *f = sim_faults(s, a);
    f->fail_commit_at = f->commits + 1 + test_rng_below(rng, 3);
    f->late = test_rng_chance(rng, 50);
  }
}

/* A store that failed while changes were held does not come back by itself. */
static void revive(sim *s, const plan *p) {
  for (size_t i = 0; i < p->nodes; i++) {
    sim_crash(s, i);
    sim_start(s, i);
  }
}

static uint64_t run(const plan *p, uint64_t seed) {
  sim_options o = p->o;
  o.seed = seed;
  o.nodes = p->nodes;
  sim *s = sim_new(&o);
  test_rng *rng = sim_rng(s);
  if (p->chain) {
    for (size_t i = 1; i < p->nodes; i++) sim_address(s, i, i - 1);
  } else {
    sim_mesh(s);
  }
  sim_start_all(s);
  for (unsigned i = 0; i < p->writes; i++) {
    write_any(s, test_rng_below(rng, p->nodes));
    disturb(s, p);
    sim_run(s, sim_now(s) + test_rng_below(rng, 200));
  }
  for (size_t i = 0; i < p->nodes; i++) {
    for (size_t k = 0; k < i; k++) sim_reach(s, i, k, true);
  }
  if (p->faults) revive(s, p);
  sim_start_all(s);
  sim_settle(s, sim_now(s) + 20 * minute);
  if (p->chain && p->nodes > 2 && sim_met(s, 0, 2)) sim_fail(s, "the ends of a chain met");
  uint64_t hash = sim_hash(s);
  sim_free(s);
  return hash;
}

static void run_seeds(const plan *p) {
  uint64_t first = test_number("WEFT_SIM_SEED", 1);
  uint64_t count = test_number("WEFT_SIM_SEEDS", 40);
  for (uint64_t seed = first; seed < first + count; seed++) (void)run(p, seed);
}

static void a_quiet_network(void **state) {
  (void)state;
  plan p = {.nodes = 3, .writes = 40, .o = {.plain = true, .delay_min = 1, .delay_max = 40}};
  run_seeds(&p);
}

static void a_chain(void **state) {
  (void)state;
  plan p = {.nodes = 3, .chain = true, .writes = 40};
  p.o = (sim_options){.plain = true, .delay_min = 1, .delay_max = 40, .hold_max = 10};
  run_seeds(&p);
}

static void without_gossip(void **state) {
  (void)state;
  plan p = {.nodes = 4, .chain = true, .writes = 30};
  p.o = (sim_options){.plain = true, .no_gossip = true, .delay_min = 1, .delay_max = 40};
  run_seeds(&p);
}

static void a_bad_network(void **state) {
  (void)state;
  plan p = {.nodes = 5, .writes = 60, .partitions = true, .restarts = true};
  p.o = (sim_options){.plain = true,
                      .delay_min = 1,
                      .delay_max = 300,
                      .bandwidth = 20000,
                      .cut_permille = 20,
                      .refuse_permille = 200,
                      .hold_max = 50,
                      .show_max = 7};
  run_seeds(&p);
}

/* Each dials each, and one its own address; at the end there is one link a pair. */
static void crossing_dials(void **state) {
  (void)state;
  uint64_t count = test_number("WEFT_SIM_SEEDS", 40);
  for (uint64_t seed = 1; seed <= count; seed++) {
    sim_options o = {.seed = seed, .nodes = 4, .plain = true, .delay_min = 5, .delay_max = 40};
    sim *s = sim_new(&o);
    for (size_t i = 0; i < 4; i++) {
      for (size_t k = 0; k < 4; k++) {
        if (i != k || i == 0) sim_address(s, i, k);
      }
    }
    sim_start_all(s);
    must(s, sim_set(s, 0, "notes/a", "/n", "1"));
    sim_settle(s, minute);
    sim_run(s, sim_now(s) + minute);
    if (sim_open(s) != 6) sim_fail(s, "%zu links of 4 nodes", sim_open(s));
    sim_free(s);
  }
}

/* Who was admitted is known to the one who admitted; the others learn it from each other. */
static void members_become_known(void **state) {
  (void)state;
  plan p = {.nodes = 5, .writes = 30, .restarts = true};
  p.o = (sim_options){.plain = true, .scattered = true, .delay_min = 1, .delay_max = 50};
  p.o.cut_permille = 5;
  run_seeds(&p);
}

static void failing_disks(void **state) {
  (void)state;
  plan p = {.nodes = 3, .writes = 60, .faults = true, .restarts = true};
  p.o = (sim_options){.plain = true, .delay_min = 1, .delay_max = 30, .hold_max = 20};
  run_seeds(&p);
}

static void on_disk(void **state) {
  (void)state;
  plan p = {.nodes = 3, .writes = 30, .restarts = true, .o = {.lmdb = true, .hold_max = 5}};
  p.o.delay_max = 20;
  uint64_t first = test_number("WEFT_SIM_SEED", 1);
  uint64_t count = (test_number("WEFT_SIM_SEEDS", 40) + 9) / 10;
  for (uint64_t seed = first; seed < first + count; seed++) (void)run(&p, seed);
}

static void eight_nodes(void **state) {
  (void)state;
  plan p = {.nodes = 8, .writes = 80, .partitions = true};
  p.o = (sim_options){.delay_min = 1, .delay_max = 80, .cut_permille = 5};
  uint64_t first = test_number("WEFT_SIM_SEED", 1);
  uint64_t count = (test_number("WEFT_SIM_SEEDS", 40) + 9) / 10;
  for (uint64_t seed = first; seed < first + count; seed++) (void)run(&p, seed);
}

static void equal_seeds_equal_runs(void **state) {
  (void)state;
  plan p = {.nodes = 4, .writes = 40, .partitions = true, .restarts = true};
  p.o = (sim_options){.plain = true, .delay_min = 1, .delay_max = 100, .cut_permille = 10};
  uint64_t first = run(&p, 77);
  assert_true(first == run(&p, 77));
  assert_true(first != run(&p, 78));
}

/* In a larger space acknowledgements wait for each other: else every change would be followed by
 * one of each member over each link, here some 1,000 frames. */
static void acknowledgements_are_gathered(void **state) {
  (void)state;
  enum { nodes = 40, changes = 10 };
  sim_options o = {.seed = 3, .nodes = nodes, .plain = true, .delay_min = 5, .delay_max = 20};
  sim *s = sim_new(&o);
  for (size_t i = 0; i < nodes; i++) sim_address(s, i, (i + 1) % nodes);
  sim_start_all(s);
  must(s, sim_set(s, 0, "notes/a", "/n", "0"));
  sim_settle(s, minute);
  sim_run(s, sim_now(s) + minute);
  uint64_t before = sim_so_far(s)->frames;
  for (unsigned i = 0; i < changes; i++) {
    must(s, sim_set(s, 0, "notes/a", "/n", i % 2 ? "1" : "2"));
    sim_run(s, sim_now(s) + 100);
  }
  sim_settle(s, sim_now(s) + minute);
  uint64_t frames = sim_so_far(s)->frames - before;
  if (frames > changes * 500) fail_msg("%llu frames", (unsigned long long)frames);
  /* All the same, everybody comes to know that everybody has it. */
  sim_run(s, sim_now(s) + minute);
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_node_acked *acked;
  size_t count;
  weft__arena_init(&arena, &mem);
  must(s, weft_node_acked_list(sim_node(s, 0), &arena, &acked, &count));
  assert_int_equal(count, nodes - 1);
  for (size_t i = 0; i < count; i++) assert_int_equal(acked[i].pending, 0);
  weft__arena_free(&arena);
  sim_free(s);
}

/* How many changes of node 0 somebody has not acknowledged, as node 0 knows it.  It may not believe
 * of anybody, and not of all, what nobody or not everybody shows. */
static uint64_t most_pending(sim *s, weft_arena *arena) {
  weft_node_acked *acked;
  size_t count;
  weft_counts counts;
  uint64_t most = 0, least = UINT64_MAX, shown_most = 0, shown_least = UINT64_MAX;
  weft__arena_reset(arena);
  must(s, weft_node_acked_list(sim_node(s, 0), arena, &acked, &count));
  for (size_t i = 0; i < count; i++) {
    if (acked[i].pending > most) most = acked[i].pending;
    if (acked[i].pending < least) least = acked[i].pending;
  }
  for (size_t i = 1; i < sim_count(s); i++) {
    must(s, weft_replica_counts(sim_replica(s, i), &counts));
    if (counts.changes_shown > shown_most) shown_most = counts.changes_shown;
    if (counts.changes_shown < shown_least) shown_least = counts.changes_shown;
  }
  must(s, weft_replica_counts(sim_replica(s, 0), &counts));
  assert_true(shown_most + least >= counts.changes_held);
  assert_true(shown_least + most >= counts.changes_held);
  return most;
}

/* In a chain of three, the first hears of the last through the one between. */
static void an_acknowledgement_over_two_hops(void **state) {
  (void)state;
  enum { one_way = 10, samples = 40 };
  sim_options o = {.seed = 6, .nodes = 3, .plain = true};
  o.delay_min = o.delay_max = one_way;
  sim *s = sim_new(&o);
  for (size_t i = 1; i < 3; i++) sim_address(s, i, i - 1);
  sim_start_all(s);
  must(s, sim_set(s, 0, "notes/a", "/n", "-1"));
  sim_settle(s, minute);
  sim_run(s, sim_now(s) + 5000);
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_ms sum = 0, longest = 0;
  weft__arena_init(&arena, &mem);
  for (unsigned i = 0; i < samples; i++) {
    char json[16];
    snprintf(json, sizeof json, "%u", i);
    sim_run(s, sim_now(s) + 500 + test_rng_below(sim_rng(s), 2000));
    weft_ms before = sim_now(s);
    must(s, sim_set(s, 0, "notes/a", "/n", json));
    while (most_pending(s, &arena) > 0) sim_run(s, sim_now(s) + 1);
    weft_ms took = sim_now(s) - before;
    sum += took;
    if (took > longest) longest = took;
  }
  print_message("acknowledged over two hops after %llu ms, %llu at most, %u ms a hop\n",
                (unsigned long long)(sum / samples), (unsigned long long)longest, one_way);
  /* Four ways, one hold-off of the relay, and an acknowledgement that waits at two places. */
  assert_true(longest <= 4 * one_way + 300);
  weft__arena_free(&arena);
  sim_free(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(two_nodes_sync),
      cmocka_unit_test(a_live_change),
      cmocka_unit_test(acknowledgements_go_straight),
      cmocka_unit_test(many_logs_are_compared_as_tries),
      cmocka_unit_test(a_cursor_spares_telling_all),
      cmocka_unit_test(a_change_runs_along_a_chain),
      cmocka_unit_test(a_change_is_pushed_once),
      cmocka_unit_test(an_acknowledgement_over_two_hops),
      cmocka_unit_test(a_large_catch_up_arrives_in_order),
      cmocka_unit_test(what_is_critical_overtakes),
      cmocka_unit_test(a_quiet_network),
      cmocka_unit_test(a_chain),
      cmocka_unit_test(without_gossip),
      cmocka_unit_test(a_bad_network),
      cmocka_unit_test(crossing_dials),
      cmocka_unit_test(members_become_known),
      cmocka_unit_test(failing_disks),
      cmocka_unit_test(on_disk),
      cmocka_unit_test(eight_nodes),
      cmocka_unit_test(equal_seeds_equal_runs),
      cmocka_unit_test(acknowledgements_are_gathered),
  };
  return cmocka_run_group_tests_name("sim", tests, NULL, NULL);
}

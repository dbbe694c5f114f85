/* Forked logs between nodes: copies of a device write beside it, and what they wrote comes in at
 * other nodes.  Everybody comes to hold and show every branch, and the device goes on in a new
 * incarnation.  WEFT_SIM_SEEDS says how many runs (30), WEFT_SIM_SEED where to begin. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/replica_internal.h"
#include "tests/sim/sim.h"
#include "tests/support/pace.h"

enum { minute = 60000 };

static void must(sim *s, weft_err err) {
  if (err != WEFT_OK) sim_fail(s, "%s", weft_err_name(err));
}

static unsigned count_of(sim *s, const char *what) {
  unsigned count = 0;
  for (const char *at = sim_trace(s); (at = strstr(at, what)); at++) count++;
  return count;
}

/* A perfect copy of the device of a node, which does not know that it is one. */
static weft_replica *copy_of(sim *s, size_t idx) {
  weft_replica *from = sim_replica(s, idx);
  weft_replica *copy = test_space_open(sim_space(s), idx, test_store_copy(from->store));
  memcpy(copy->incarnation, from->incarnation, sizeof copy->incarnation);
  copy->incarnation_new = from->incarnation_new;
  return copy;
}

static void copy_writes(sim *s, weft_replica *copy, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    char value[16];
    snprintf(value, sizeof value, "%u", (unsigned)test_rng_below(sim_rng(s), 1u << 30));
    must(s, test_set(copy, "notes/a", i % 2 ? "/x" : "/copy", value));
  }
}

/* What the copy has comes in at a node, as from a peer that nobody sees. */
static void comes_in(sim *s, weft_replica *copy, size_t at) {
  test_pull(sim_replica(s, at), copy, 50);
  sim_changed(s, at);
}

static void write_some(sim *s, size_t idx, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    char value[16];
    snprintf(value, sizeof value, "%u", (unsigned)test_rng_below(sim_rng(s), 1u << 30));
    must(s, sim_set(s, idx, "notes/a", "/own", value));
  }
}

static size_t heads_of(sim *s, size_t idx) {
  size_t forked = 0;
  const weft_vector *held = weft_replica_held(sim_replica(s, idx));
  for (size_t i = 0; i < held->count; i++) {
    forked += weft__vector_find(held, &held->heads[i].log, NULL) > 1;
  }
  return forked;
}

/* One branch here, another there, of many lengths: both come to hold both. */
static void two_branches(uint64_t seed, unsigned before, unsigned here, unsigned there) {
  sim_options o = {.seed = seed, .nodes = 3, .plain = true, .delay_min = 10, .delay_max = 10};
  sim *s = sim_new(&o);
  sim_start_all(s);
  write_some(s, 0, before);
  weft_replica *copy = copy_of(s, 0);
  copy_writes(s, copy, there);
  comes_in(s, copy, 1);
  write_some(s, 0, here);
  sim_mesh(s);
  sim_settle(s, sim_now(s) + minute);
  for (size_t i = 0; i < 3; i++) assert_int_equal(heads_of(s, i), 2);
  /* The device was told by the branch itself, and begins anew. */
  size_t logs = weft_replica_held(sim_replica(s, 0))->count;
  write_some(s, 0, 1);
  sim_settle(s, sim_now(s) + minute);
  assert_int_equal(weft_replica_held(sim_replica(s, 2))->count, logs + 1);
  weft_replica_free(copy);
  sim_free(s);
}

static void branches_of_many_lengths(void **state) {
  (void)state;
  static const unsigned lengths[] = {1, 2, 7, 40};
  for (unsigned i = 0; i < 4; i++) {
    for (unsigned k = 0; k < 4; k++) {
      two_branches(i * 4 + k, 1, lengths[i], lengths[k]);
      two_branches(i * 4 + k, 25, lengths[i], lengths[k]);
    }
  }
}

/* Who knows a fork tells a peer that holds one branch of it. */
static void a_fork_is_told(void **state) {
  (void)state;
  sim_options o = {.seed = 5, .nodes = 2, .plain = true, .delay_min = 10, .delay_max = 10};
  sim *s = sim_new(&o);
  sim_start_all(s);
  write_some(s, 0, 4);
  weft_replica *copy = copy_of(s, 0);
  copy_writes(s, copy, 3);
  comes_in(s, copy, 1);
  write_some(s, 0, 3);
  /* The second node holds both branches, the first its own. */
  weft_replica *own = copy_of(s, 0);
  comes_in(s, own, 1);
  sim_address(s, 1, 0);
  sim_settle(s, sim_now(s) + minute);
  assert_true(count_of(s, "b > a fork") > 0);
  assert_int_equal(heads_of(s, 0), 2);
  weft_replica_free(own);
  weft_replica_free(copy);
  sim_free(s);
}

/* A device and its copy only listen, at two addresses, and a peer dials both: it comes to know. */
static void a_copy_that_listens_is_met(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 10; seed++) {
    sim_options o = {.seed = seed, .nodes = 2, .copies = 1, .mirror = true};
    o.delay_min = 10;
    o.delay_max = 40;
    sim *s = sim_new(&o);
    sim_start_all(s);
    sim_address(s, 1, 0);
    write_some(s, 0, 3);
    sim_settle(s, sim_now(s) + minute);
    size_t copy = sim_copy(s, 0);
    sim_start(s, copy);
    sim_address(s, 1, copy);
    write_some(s, copy, 2);
    write_some(s, 0, 2);
    sim_run(s, sim_now(s) + 5000); /* later they would dial, too, since they learn who is there */
    assert_true(count_of(s, "b : clone a") > 0);
    sim_settle(s, sim_now(s) + minute);
    assert_int_equal(heads_of(s, 1), 2);
    sim_free(s);
  }
}

/* A device that starts anew at the address where it was dialled is dialled there once more. */
static void a_new_start_costs_one_dial(void **state) {
  (void)state;
  sim_options o = {.seed = 3, .nodes = 2, .delay_min = 10, .delay_max = 10};
  sim *s = sim_new(&o);
  sim_start_all(s);
  sim_address(s, 0, 1);
  sim_address(s, 1, 0);
  sim_settle(s, sim_now(s) + minute);
  sim_crash(s, 0);
  sim_start(s, 0);
  sim_run(s, sim_now(s) + 10 * minute);
  assert_int_equal(count_of(s, "clone"), 0);
  assert_in_range(count_of(s, "b : up a"), 1, 4);
  sim_settle(s, sim_now(s) + minute);
  sim_free(s);
}

static void run(uint64_t seed) {
  sim_options o = {.seed = seed, .nodes = 4, .plain = seed % 2 == 0, .delay_min = 1};
  weft_replica *copies[3];
  size_t count = 0;
  o.delay_max = 40;
  o.no_gossip = seed % 5 == 0;
  o.anti_entropy_ms = o.no_gossip ? 3000 : 0;
  o.cut_permille = seed % 3 == 0 ? 3 : 0;
  sim *s = sim_new(&o);
  sim_start_all(s);
  if (seed % 2) sim_mesh(s);
  for (unsigned step = 0; step < 40; step++) {
    size_t idx = test_rng_below(sim_rng(s), 4);
    uint64_t what = test_rng_below(sim_rng(s), 10);
    if (what < 5) {
      write_some(s, idx, 1 + (unsigned)test_rng_below(sim_rng(s), 3));
    } else if (what < 6 && count < 3) {
      copies[count] = copy_of(s, idx);
      copy_writes(s, copies[count++], 1 + (unsigned)test_rng_below(sim_rng(s), 5));
    } else if (what < 7 && count > 0) {
      comes_in(s, copies[test_rng_below(sim_rng(s), count)], idx);
    } else {
      sim_run(s, sim_now(s) + test_rng_below(sim_rng(s), 500));
    }
  }
  for (size_t i = 0; i < count; i++) comes_in(s, copies[i], test_rng_below(sim_rng(s), 4));
  sim_mesh(s);
  sim_settle(s, sim_now(s) + 20 * minute);
  for (size_t i = 0; i < 4; i++) {
    weft_verify_report report;
    must(s, weft_replica_verify(sim_replica(s, i), NULL, NULL, &report));
  }
  while (count > 0) weft_replica_free(copies[--count]);
  sim_free(s);
}

static void runs(void **state) {
  (void)state;
  uint64_t first = test_number("WEFT_SIM_SEED", 1), count = test_number("WEFT_SIM_SEEDS", 30);
  for (uint64_t seed = first; seed < first + count; seed++) run(seed);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(branches_of_many_lengths),
      cmocka_unit_test(a_fork_is_told),
      cmocka_unit_test(a_copy_that_listens_is_met),
      cmocka_unit_test(a_new_start_costs_one_dial),
      cmocka_unit_test(runs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

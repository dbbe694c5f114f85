/* The public face of the simulator that the tests run on (tests/sim). */
#include "sim/sim.h"

#include <string.h>

#include "tests/sim/sim.h"

/* The public name is another one for the same object. */
static sim *own(weft_sim *s) { return (sim *)(void *)s; }
static const sim *own_const(const weft_sim *s) { return (const sim *)(const void *)s; }

void weft_sim_options_init_sized(weft_sim_options *o, size_t struct_size) {
  weft_sim_options all = {.nodes = 2, .delay_min = 5, .delay_max = 50};
  all.struct_size = struct_size;
  memcpy(o, &all, struct_size < sizeof all ? struct_size : sizeof all);
}

weft_err weft_sim_new(weft_sim **out, const weft_sim_options *o) {
  weft_sim_options all;
  weft_sim_options_init(&all);
  *out = NULL;
  memcpy(&all, o, o->struct_size < sizeof all ? o->struct_size : sizeof all);
  if (all.nodes == 0 || all.nodes > SIM_NODES_MAX) return WEFT_EMISUSE;
  sim_options inner = {.seed = all.seed, .nodes = all.nodes, .unchecked = true};
  inner.delay_min = all.delay_min;
  inner.delay_max = all.delay_max;
  inner.bandwidth = all.bandwidth;
  inner.stand_in = !all.real;
  inner.policy = (sim_policy){all.policy.ctx, all.policy.reach, all.policy.carry, all.policy.tune};
  *out = (weft_sim *)(void *)sim_new(&inner);
  return *out ? WEFT_OK : WEFT_ENOMEM;
}

void weft_sim_free(weft_sim *s) {
  if (s) sim_free(own(s));
}

void weft_sim_link(weft_sim *s, size_t from, size_t to) { sim_address(own(s), from, to); }
void weft_sim_start(weft_sim *s, size_t node) { sim_start(own(s), node); }
void weft_sim_stop(weft_sim *s, size_t node) { sim_stop(own(s), node); }
void weft_sim_crash(weft_sim *s, size_t node) { sim_crash(own(s), node); }
bool weft_sim_is_up(const weft_sim *s, size_t node) { return sim_is_up(own_const(s), node); }

void weft_sim_clock(weft_sim *s, size_t node, weft_ms wall, unsigned permille) {
  sim_clock(own(s), node, wall, permille);
}

weft_replica *weft_sim_replica(weft_sim *s, size_t node) { return sim_replica(own(s), node); }
weft_node *weft_sim_node(weft_sim *s, size_t node) { return sim_node(own(s), node); }
void weft_sim_changed(weft_sim *s, size_t node) { sim_changed(own(s), node); }
weft_ms weft_sim_now(const weft_sim *s) { return sim_now(own_const(s)); }
void weft_sim_run(weft_sim *s, weft_ms until) { sim_run(own(s), until); }
bool weft_sim_agree(weft_sim *s) { return sim_same(own(s)); }
uint64_t weft_sim_hash(const weft_sim *s) { return sim_hash(own_const(s)); }

void weft_sim_count(const weft_sim *s, weft_sim_counts *out) {
  const sim_counts *c = sim_so_far(own_const(s));
  *out = (weft_sim_counts){.events = c->events,
                           .bytes = c->bytes,
                           .segments = c->segments,
                           .connections = c->connections,
                           .taken = c->taken,
                           .known = c->known};
}

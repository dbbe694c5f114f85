/* An application that runs three nodes in virtual time, on a network of its own making: the first
 * and the last never reach each other, every fortieth segment ends its connection, and one of them
 * is not told of changes as they happen. */
#include <stdio.h>
#include <string.h>
#include <weft/sim/sim.h>
#include <weft/weft.h>

static bool reach(void *ctx, weft_ms now, size_t from, size_t to) {
  (void)ctx;
  (void)now;
  return from + to != 2 || from == to;
}

static bool carry(void *ctx, weft_ms now, size_t from, size_t to, size_t len, weft_ms *delay) {
  unsigned *segments = ctx;
  (void)now;
  (void)from;
  (void)to;
  *delay = 3 + len / 100;
  return ++*segments % 40 != 0;
}

/* The second node is told nothing as it happens: it asks every two seconds. */
static void tune(void *ctx, size_t node, weft_node_options *o) {
  (void)ctx;
  o->gossip = node != 1;
  o->anti_entropy_ms = 2000;
}

static weft_bytes bytes(const char *text) {
  weft_bytes b = {(const uint8_t *)text, strlen(text)};
  return b;
}

static weft_err write(weft_sim *s, size_t node, const char *key, int64_t number) {
  weft_edit *e;
  weft_commit done;
  weft_value value = {.kind = WEFT_INT};
  value.as.integer = number;
  weft_err err = weft_edit_begin(&e, weft_sim_replica(s, node), NULL);
  if (err == WEFT_OK) err = weft_edit_set(e, bytes("notes/a"), bytes(key), &value);
  if (err == WEFT_OK) err = weft_edit_commit(e, &done);
  weft_edit_free(e);
  if (err == WEFT_OK) weft_sim_changed(s, node);
  return err;
}

int main(void) {
  weft_sim_options o;
  weft_sim *s;
  unsigned segments = 0;
  weft_sim_options_init(&o);
  o.seed = 7;
  o.nodes = 3;
  o.policy.ctx = &segments;
  o.policy.reach = reach;
  o.policy.carry = carry;
  o.policy.tune = tune;
  if (weft_sim_new(&s, &o) != WEFT_OK) return 1;
  for (size_t node = 0; node < 3; node++) {
    weft_sim_link(s, node, (node + 1) % 3);
    weft_sim_start(s, node);
  }
  for (int i = 0; i < 50; i++) {
    if (write(s, (size_t)i % 3, i % 2 ? "/x" : "/y", i) != WEFT_OK) return 1;
    weft_sim_run(s, weft_sim_now(s) + 100);
  }
  weft_sim_crash(s, 1);
  weft_sim_run(s, weft_sim_now(s) + 5000);
  weft_sim_start(s, 1);
  weft_ms limit = weft_sim_now(s) + 600000;
  while (!weft_sim_agree(s) && weft_sim_now(s) < limit) weft_sim_run(s, weft_sim_now(s) + 100);
  puts(weft_sim_agree(s) ? "three nodes agree" : "no agreement");
  weft_sim_free(s);
  return 0;
}

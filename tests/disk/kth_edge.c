/* The libuv edge with the k-th allocation of one of two nodes failing: it starts or says why not,
 * stops in order, gives everything back, and harms neither replica. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/disk/edge.h"
#include "tests/disk/kth.h"

typedef struct pair {
  test_space s;
  uv_loop_t loop;
  weft_replica *replicas[2];
  edge edges[2];
  test_fault_alloc alloc;
  bool joined;
} pair;

static void on_joined(void *ctx, weft_err err, uint16_t refuse, const weft_joined *joined) {
  (void)err;
  (void)refuse;
  (void)joined;
  *(bool *)ctx = true;
}

/* A join that nobody answers to as it wants. */
static weft_err join(pair *p, const char *address, const weft_alloc *mem) {
  weft_joiner_options o = {.mem = *mem, .crypto = p->s.crypto, .identity = &p->s.devices[2]};
  o.space = p->s.id;
  o.issuer = p->s.devices[0].device;
  o.name = weft_bytes_str("joiner");
  return weft_uv_join(&p->loop, &o, weft_bytes_str(address), 40, on_joined, &p->joined);
}

static void pair_run(pair *p, bool *same) {
  char address[64];
  weft_uv_invite invites[2];
  weft_alloc mem = test_fault_alloc_of(&p->alloc);
  memset(invites, 0, sizeof invites);
  *same = false;
  if (edge_start(&p->edges[0], &p->loop, &p->s, 0, p->replicas[0], NULL, NULL, NULL) != WEFT_OK)
    return;
  edge_address(&p->edges[0], address);
  p->alloc.calls = 0;
  weft_err err = edge_start(&p->edges[1], &p->loop, &p->s, 1, p->replicas[1], &mem, NULL, NULL);
  if (err == WEFT_OK) err = weft_uv_node_set_invites(p->edges[1].node, invites, 2);
  if (err == WEFT_OK) err = weft_uv_node_connect(p->edges[1].node, weft_bytes_str(address));
  if (err == WEFT_OK)
    *same = edge_in_step(&p->edges[0], &p->edges[1], p->alloc.fail_at ? 30 : 3000);
  if (err == WEFT_OK) {
    weft_presence_session session = {.session = weft_bytes_str("tab"),
                                     .doc = weft_bytes_str("t/a")};
    weft_uv_node_ask(p->edges[1].node);
    weft_uv_node_retry(p->edges[1].node);
    err = weft_uv_node_pause(p->edges[1].node, &p->s.devices[2].device);
    weft_uv_node_resume(p->edges[1].node, NULL);
    if (err == WEFT_OK) err = weft_uv_node_presence_set(p->edges[1].node, &session);
    if (err == WEFT_OK) {
      err = weft_uv_node_presence_leave(p->edges[1].node, session.session, session.doc);
    }
  }
  if (err == WEFT_OK) {
    weft_uv_node_changed(p->edges[1].node);
    err = join(p, address, &mem);
    for (unsigned i = 0; err == WEFT_OK && !p->joined && i < 200; i++) edge_turn(&p->loop, 5);
  }
  p->alloc.fail_at = 0;
}

static bool pair_try(size_t k, bool sticky, bool *reached) {
  pair p;
  bool same, good = true;
  memset(&p, 0, sizeof p);
  test_space_make(&p.s, 3, 5);
  assert_int_equal(uv_loop_init(&p.loop), 0);
  for (size_t i = 0; i < 2; i++) {
    p.replicas[i] = test_space_memory(&p.s, i);
    assert_int_equal(test_set(p.replicas[i], "t/a", i ? "/x" : "/y", "1"), WEFT_OK);
  }
  p.alloc.fail_at = k;
  p.alloc.sticky = sticky;
  pair_run(&p, &same);
  *reached = k > 0 && p.alloc.calls >= k;
  const char *what = NULL;
  for (size_t i = 0; i < 2; i++) edge_end(&p.edges[i]);
  while (uv_run(&p.loop, UV_RUN_DEFAULT) != 0) continue;
  if (uv_loop_close(&p.loop) != 0) what = "the loop has handles left";
  if (p.alloc.live != 0) what = "leaks";
  if (p.edges[0].failed != WEFT_OK) what = "the other node failed";
  if (k == 0 && !same) what = "not in step without a failure";
  for (size_t i = 0; i < 2; i++) {
    weft_verify_report report;
    weft_err err = weft_replica_verify(p.replicas[i], NULL, NULL, &report);
    if (err != WEFT_OK) what = "a replica was harmed";
    weft_replica_free(p.replicas[i]);
  }
  if (what) {
    printf("the edge: allocation %zu%s: %s\n", k, sticky ? " and all after it" : "", what);
    good = false;
  }
  return good;
}

void kth_edge(kth_tally *t) {
  for (int sticky = 0; sticky < 2; sticky++) {
    bool reached = true, good = true;
    good = pair_try(0, sticky, &reached);
    reached = true;
    for (size_t k = 1; reached && good; k += k < 30 ? 1 : 1 + k / 8) {
      good = pair_try(k, sticky, &reached);
      t->tried += reached;
      t->bad += !good;
    }
  }
  t->frames++;
}

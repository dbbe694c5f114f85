/* A node of a test space on real sockets. */
#include "tests/disk/edge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_failed(void *ctx, weft_err err, const char *what) {
  edge *e = ctx;
  (void)what;
  e->failed = err;
}

static void on_stopped(void *ctx) { ((edge *)ctx)->stopped = true; }

weft_err edge_start(edge *e, uv_loop_t *loop, test_space *s, size_t idx, weft_replica *replica,
                    const weft_alloc *mem, const char *listen, const char *connect) {
  weft_node_epoch epoch;
  weft_uv_node_options o;
  char detail[128];
  weft_bytes at = weft_bytes_str(listen ? listen : "127.0.0.1:0");
  weft_bytes dial = weft_bytes_str(connect ? connect : "");
  memset(e, 0, sizeof *e);
  e->loop = loop;
  e->replica = replica;
  memcpy(epoch.id, s->id.b, sizeof epoch.id);
  memset(epoch.secret.b, 0x77, sizeof epoch.secret.b);
  weft_uv_node_options_init(&o);
  o.loop = loop;
  o.replica = replica;
  if (mem) o.node.mem = *mem;
  o.node.crypto = s->crypto;
  o.node.identity = &s->devices[idx];
  o.node.space = s->id;
  o.node.name = weft_bytes_str("edge");
  o.node.epochs = &epoch;
  o.node.epoch_count = 1;
  o.node.redial_cap_ms = 100;
  o.listen = &at;
  o.listen_count = 1;
  o.connect = &dial;
  o.connect_count = connect != NULL;
  o.events = (weft_uv_node_events){.ctx = e, .failed = on_failed, .stopped = on_stopped};
  return weft_uv_node_start(&e->node, &o, detail, sizeof detail);
}

const char *edge_address(const edge *e, char out[64]) {
  weft_bytes text = weft_uv_node_listening(e->node, 0);
  snprintf(out, 64, "%.*s", (int)text.len, (const char *)text.at);
  return out;
}

void edge_end(edge *e) {
  if (!e->node) return;
  weft_uv_node_stop(e->node);
  while (!e->stopped && uv_run(e->loop, UV_RUN_ONCE) != 0) continue;
  weft_uv_node_free(e->node);
  e->node = NULL;
}

static void on_time(uv_timer_t *timer) { *(bool *)timer->data = true; }

/* Turns until `done` says so or the time is up. */
static unsigned turn(uv_loop_t *loop, unsigned ms, const edge *a, const edge *b, bool *same) {
  bool over = false;
  unsigned turns = 0;
  uv_timer_t *timer = calloc(1, sizeof *timer);
  if (!timer) abort();
  uv_timer_init(loop, timer);
  timer->data = &over;
  uv_update_time(loop);
  uv_timer_start(timer, on_time, ms, 0);
  *same = false;
  while (!over && !*same) {
    uv_run(loop, UV_RUN_ONCE);
    turns++;
    *same = a && test_same_heads(weft_replica_shown(a->replica), weft_replica_shown(b->replica));
  }
  uv_close((uv_handle_t *)timer, (uv_close_cb)(void (*)(void))free);
  uv_run(loop, UV_RUN_NOWAIT);
  return turns;
}

bool edge_in_step(const edge *a, const edge *b, unsigned ms) {
  bool same;
  turn(a->loop, ms, a, b, &same);
  return same;
}

unsigned edge_turn(uv_loop_t *loop, unsigned ms) {
  bool same;
  return turn(loop, ms, NULL, NULL, &same);
}

/* sync, wait, connect: commands that last until something has happened on the network. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/fields.h"
#include "cli/network.h"
#include "cli/record.h"
#include "cli/run.h"
#include "net/uv_address.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

/* --- lasting commands ----------------------------------------------------------------------------
 */

typedef struct lasting lasting;

/* A command that looks again after every event, at least ten times a second, until its time limit.
 */
struct lasting {
  cli_watch watch;
  cli_call *call;
  uv_timer_t timer;
  uint64_t limit_ms, started_ms; /* on the loop's clock */
  bool ended;
  int (*done)(lasting *l);    /* CLI_PENDING, or the exit code */
  int (*expired)(lasting *l); /* the exit code at the time limit */
  /* sync */
  const weft_bytes *addresses;
  size_t address_count;
  uint64_t sent, received, bytes_in, bytes_out; /* when it began */
  /* wait */
  uint64_t wanted;
  bool all, one;
  weft_id device;
};

enum { look_ms = 100 };

static void lasting_freed(uv_handle_t *timer) {
  cli_watch *w = timer->data;
  free(w);
}

static void lasting_end(lasting *l, int code) {
  if (l->ended) return;
  l->ended = true;
  cli_watch_remove(l->call->runtime, &l->watch);
  uv_close((uv_handle_t *)&l->timer, lasting_freed);
  cli_call_end(l->call, code);
}

static int stopped(cli_call *c) {
  return cli_fail(c, CLI_FAILED, "the daemon was stopped before %s was done: try again",
                  c->args.command->name);
}

static void lasting_look(cli_watch *w) {
  lasting *l = (lasting *)(void *)w;
  if (l->ended) return; /* its call is gone */
  cli_runtime *rt = l->call->runtime;
  if (rt->ending) {
    lasting_end(l, stopped(l->call));
    return;
  }
  if (rt->failed_err != WEFT_OK) {
    lasting_end(l, cli_fail_err(l->call, rt->failed_err, "%s", rt->failed));
    return;
  }
  if (rt->full) {
    lasting_end(l, cli_fail(l->call, CLI_FAILED,
                            "the disk is full: free some space, then %s again; nothing that came "
                            "before is lost",
                            l->call->args.command->name));
    return;
  }
  int code = l->done(l);
  if (code == CLI_PENDING && uv_now(&rt->loop) - l->started_ms >= l->limit_ms) code = l->expired(l);
  if (code != CLI_PENDING) lasting_end(l, code);
}

static void on_look(uv_timer_t *timer) { lasting_look(timer->data); }

/* Goes on with a copy of `plan` that outlives the call: its timer is closed after the call has
 * ended. */
static int lasting_start(cli_call *c, const lasting *plan) {
  cli_runtime *rt = c->runtime;
  if (rt->ending) return stopped(c);
  lasting *l = malloc(sizeof *l);
  if (!l) return cli_fail_err(c, WEFT_ENOMEM, "%s", c->args.command->name);
  *l = *plan;
  l->call = c;
  l->watch = (cli_watch){.call = c, .look = lasting_look};
  uv_timer_init(&rt->loop, &l->timer);
  l->timer.data = &l->watch;
  uv_update_time(&rt->loop);
  l->started_ms = uv_now(&rt->loop);
  cli_watch_add(rt, &l->watch);
  uv_timer_start(&l->timer, on_look, 0, look_ms);
  return CLI_PENDING;
}

static weft_err peers_of(cli_call *c, weft_arena *arena, weft_node_peer **peers, size_t *count) {
  return weft_node_peers(weft_uv_node_core(c->runtime->node), arena, peers, count);
}

/* --- sync ----------------------------------------------------------------------------------------
 */

static void totals(const weft_node_peer *peers, size_t count, lasting *sum) {
  sum->sent = sum->received = sum->bytes_in = sum->bytes_out = 0;
  for (size_t i = 0; i < count; i++) {
    sum->sent += peers[i].sent;
    sum->received += peers[i].received;
    sum->bytes_in += peers[i].bytes_in;
    sum->bytes_out += peers[i].bytes_out;
  }
}

static int sync_emit(lasting *l, const weft_node_peer *peers, size_t count) {
  cli_call *c = l->call;
  lasting now;
  totals(peers, count, &now);
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_int(&o, "sent", (int64_t)(now.sent - l->sent));
  cli_obj_int(&o, "received", (int64_t)(now.received - l->received));
  cli_obj_int(&o, "bytes_in", (int64_t)(now.bytes_in - l->bytes_in));
  cli_obj_int(&o, "bytes_out", (int64_t)(now.bytes_out - l->bytes_out));
  weft_value seconds = {.kind = WEFT_DOUBLE};
  seconds.as.real = (double)(uv_now(&c->runtime->loop) - l->started_ms) / 1000.0;
  cli_obj_put(&o, "seconds", seconds);
  weft_stuck *stuck = NULL;
  size_t stuck_count = 0;
  weft_err err = weft_replica_stuck(c->space->replica, c->arena, &stuck, &stuck_count);
  if (err != WEFT_OK) return cli_fail_err(c, err, "sync");
  cli_obj_int(&o, "stuck", (int64_t)stuck_count);
  cli_emit_obj(c, &o);
  if (stuck_count == 0) return CLI_OK;
  char log[17];
  cli_hex(log, stuck[0].wants_log.b, 8);
  return cli_fail(c, CLI_PARTIAL,
                  "%zu log(s) cannot be shown: nobody here has log %s seq %llu; see weft doctor",
                  stuck_count, log, (unsigned long long)stuck[0].wants_seq);
}

/* Every address given must be in step.  Without any: every link that is open, one at least, and
 * what does not answer must have been tried. */
static bool in_step(const lasting *l, const weft_node_peer *peers, size_t count) {
  size_t good = 0;
  for (size_t i = 0; i < l->address_count; i++) {
    bool ok = false;
    for (size_t k = 0; k < count && !ok; k++)
      ok = peers[k].in_step && peers[k].roots_heard >= l->started_ms &&
           weft_bytes_cmp(peers[k].address, l->addresses[i]) == 0;
    if (!ok) return false;
    good++;
  }
  if (l->address_count) return good == l->address_count;
  for (size_t k = 0; k < count; k++) {
    bool open = peers[k].state >= WEFT_PEER_PROVING;
    if (open && peers[k].in_step && peers[k].roots_heard >= l->started_ms)
      good++;
    else if (open || peers[k].attempts == 0)
      return false;
  }
  return good > 0;
}

static int sync_done(lasting *l) {
  weft_arena arena;
  weft__arena_init(&arena, &l->call->arena->mem);
  weft_node_peer *peers;
  size_t count;
  int code = CLI_PENDING;
  weft_err err = peers_of(l->call, &arena, &peers, &count);
  if (err != WEFT_OK)
    code = cli_fail_err(l->call, err, "sync");
  else if (in_step(l, peers, count))
    code = sync_emit(l, peers, count);
  weft__arena_free(&arena);
  return code;
}

/* An address that no link came of, and why. */
static void why_nobody(const weft_node_peer *peers, size_t count, char *out, size_t cap) {
  out[0] = 0;
  for (size_t i = 0; i < count && !out[0]; i++) {
    if (peers[i].last_error == WEFT_OK || peers[i].address.len == 0) continue;
    snprintf(out, cap, " (%.*s: %s)", TEXT(peers[i].address), cli_reach_str(peers[i].last_error));
  }
}

static int sync_expired(lasting *l) {
  cli_call *c = l->call;
  weft_node_peer *peers;
  size_t count, open = 0;
  char why[200];
  if (peers_of(c, c->arena, &peers, &count) != WEFT_OK) count = 0;
  for (size_t i = 0; i < count; i++) open += peers[i].state >= WEFT_PEER_PROVING;
  why_nobody(peers, open ? 0 : count, why, sizeof why);
  return cli_fail(c, CLI_TIMEOUT,
                  "sync %s after %g s%s%s: what arrived is kept; try again, or --timeout longer",
                  open ? "is still exchanging" : "has reached nobody", (double)l->limit_ms / 1000,
                  l->address_count || open ? "" : ", at no remembered address", why);
}

static int own_node(cli_call *c, const weft_bytes *connect, size_t count, bool remembered) {
  if (c->runtime && c->runtime->node) return CLI_OK;
  cli_node_plan plan = {
      .connect = connect, .connect_count = count, .remembered = remembered, .gossip = true};
  return cli_node_start(c, &plan);
}

static bool any_address(cli_call *c) {
  weft_known_address *known;
  size_t count = 0;
  return weft_replica_addresses(c->space->replica, c->arena, &known, &count) == WEFT_OK &&
         count > 0;
}

int cmd_sync(cli_call *c) {
  lasting plan = {.done = sync_done, .expired = sync_expired}, *l = &plan;
  int code = cli_duration_option(c, "timeout", 30000, &l->limit_ms);
  if (code != CLI_OK) return code;
  l->addresses = c->args.args;
  l->address_count = c->args.arg_count;
  for (size_t i = 0; i < l->address_count; i++) {
    weft_host_port hp;
    if (weft__host_port_parse(l->addresses[i], &hp) != WEFT_OK)
      return cli_fail(c, CLI_USAGE, "%.*s is no address: HOST:PORT is wanted",
                      TEXT(l->addresses[i]));
  }
  bool daemon = c->runtime && c->runtime->node;
  if (!daemon && l->address_count == 0 && !any_address(c))
    return cli_fail(c, CLI_FAILED, "no address is known yet: weft sync HOST:PORT");
  code = own_node(c, l->addresses, l->address_count, l->address_count == 0);
  if (code != CLI_OK) return code;
  for (size_t i = 0; daemon && i < l->address_count; i++) {
    weft_err err = weft_uv_node_connect(c->runtime->node, l->addresses[i]);
    if (err != WEFT_OK) return cli_fail_err(c, err, "%.*s", TEXT(l->addresses[i]));
  }
  weft_node_peer *peers;
  size_t count;
  weft_err err = peers_of(c, c->arena, &peers, &count);
  if (err != WEFT_OK) return cli_fail_err(c, err, "sync");
  totals(peers, count, l);
  weft_uv_node_ask(c->runtime->node);
  return lasting_start(c, l);
}

/* --- wait ----------------------------------------------------------------------------------------
 */

static weft_err acked(lasting *l, weft_arena *arena, uint64_t *good, uint64_t *others,
                      uint64_t *pending) {
  weft_node_acked *list;
  size_t count;
  WEFT_TRY(weft_node_acked_list(weft_uv_node_core(l->call->runtime->node), arena, &list, &count));
  *good = *others = *pending = 0;
  for (size_t i = 0; i < count; i++) {
    if (l->one && weft_id_cmp(&list[i].device, &l->device) != 0) continue;
    (*others)++;
    if (list[i].heard && list[i].pending == 0) (*good)++;
    if (list[i].pending > *pending) *pending = list[i].pending;
  }
  return WEFT_OK;
}

/* What no waiting brings about: the exit code is that of one that was in vain. */
static int wait_refuse(const lasting *l, uint64_t others) {
  weft_bytes text = {NULL, 0};
  cli_option_get(l->call, "for", &text);
  if (l->one)
    return cli_fail(l->call, CLI_TIMEOUT, "--for %.*s: that is this device, which lacks nothing",
                    TEXT(text));
  return cli_fail(l->call, CLI_TIMEOUT,
                  "--for %.*s: this space has %llu other device%s: weft invite, then wait again",
                  TEXT(text), (unsigned long long)others, others == 1 ? "" : "s");
}

static int wait_done(lasting *l) {
  uint64_t good, others, pending;
  weft_arena arena;
  weft__arena_init(&arena, &l->call->arena->mem);
  weft_err err = acked(l, &arena, &good, &others, &pending);
  weft__arena_free(&arena);
  if (err != WEFT_OK) return cli_fail_err(l->call, err, "wait");
  if (!l->all && l->wanted > others) return wait_refuse(l, others);
  if (good < (l->all ? others : l->wanted)) return CLI_PENDING;
  cli_obj o = cli_obj_begin(l->call->arena);
  cli_obj_int(&o, "acknowledged", (int64_t)good);
  cli_obj_int(&o, "members", (int64_t)others);
  cli_emit_obj(l->call, &o);
  return CLI_OK;
}

static int wait_expired(lasting *l) {
  uint64_t good = 0, others = 0, pending = 0;
  weft_err err = acked(l, l->call->arena, &good, &others, &pending);
  if (err != WEFT_OK) return cli_fail_err(l->call, err, "wait");
  return cli_fail(l->call, CLI_TIMEOUT,
                  "%llu of %llu have acknowledged everything after %g s, the last one lacks "
                  "%llu changes: see weft peers",
                  (unsigned long long)good, (unsigned long long)others, (double)l->limit_ms / 1000,
                  (unsigned long long)pending);
}

static int wait_for(cli_call *c, lasting *l) {
  weft_bytes text;
  uint64_t n;
  l->all = true;
  if (!cli_option_get(c, "for", &text) || weft_bytes_cmp(text, weft_bytes_str("all")) == 0)
    return CLI_OK;
  l->all = false;
  bool number = text.len > 0;
  for (size_t i = 0; i < text.len; i++) number &= text.at[i] >= '0' && text.at[i] <= '9';
  if (number) {
    bool ok = cli_option_number(c, "for", 1, 10000, 1, &n);
    l->wanted = n;
    return ok ? CLI_OK : CLI_USAGE;
  }
  l->one = true;
  l->wanted = 1;
  if (cli_device_find(c->space, text, &l->device) == WEFT_OK) return CLI_OK;
  return cli_fail(c, CLI_NOT_FOUND,
                  "--for %.*s: no such device, or more than one; see weft members", TEXT(text));
}

int cmd_wait(cli_call *c) {
  lasting plan = {.done = wait_done, .expired = wait_expired}, *l = &plan;
  int code = cli_duration_option(c, "timeout", 30000, &l->limit_ms);
  if (code == CLI_OK) code = wait_for(c, l);
  if (code == CLI_OK) code = own_node(c, NULL, 0, true);
  if (code != CLI_OK) return code;
  return lasting_start(c, l);
}

/* --- connect -------------------------------------------------------------------------------------
 */

int cmd_connect(cli_call *c) {
  weft_bytes address = c->args.args[0];
  weft_err err = weft_uv_node_connect(c->runtime->node, address);
  if (err == WEFT_EBADVALUE)
    return cli_fail(c, CLI_USAGE, "%.*s is no address: HOST:PORT is wanted", TEXT(address));
  if (err != WEFT_OK) return cli_fail_err(c, err, "%.*s", TEXT(address));
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_bytes(&o, "address", address);
  cli_emit_obj(c, &o);
  return CLI_OK;
}

#include "cli/network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/config.h"
#include "cli/daemon.h"
#include "cli/pauses.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

/* --- what the node tells -------------------------------------------------------------------------
 */

static void on_note(void *ctx, const weft_node_action *note) {
  (void)note; /* the node has made an event of it */
  cli_watch_all(ctx);
}

static uint64_t bytes_moved(const cli_runtime *rt) {
  weft_arena arena;
  weft_alloc mem = weft_alloc_libc();
  weft_node_peer *peers;
  size_t count = 0;
  uint64_t sum = 0;
  weft__arena_init(&arena, &mem);
  if (weft_node_peers(weft_uv_node_core(rt->node), &arena, &peers, &count) != WEFT_OK) count = 0;
  for (size_t i = 0; i < count; i++) sum += peers[i].bytes_in + peers[i].bytes_out;
  weft__arena_free(&arena);
  return sum;
}

bool cli_transfer_rate(const cli_runtime *rt, double *rate, double *left) {
  const cli_transfer *t = &rt->transfer;
  uint64_t passed = uv_now(&rt->loop) - t->started_ms;
  if (!t->on || passed < 1000 || t->done == 0) return false;
  *rate = (double)t->done * 1000 / (double)passed;
  *left = (double)(t->total - t->done) / *rate;
  return true;
}

static void on_transfer(void *ctx, uint64_t done, uint64_t total) {
  cli_runtime *rt = ctx;
  cli_transfer *t = &rt->transfer;
  if (!t->on || total < t->total || done < t->done)
    *t = (cli_transfer){.started_ms = uv_now(&rt->loop), .bytes_before = bytes_moved(rt)};
  t->on = done < total;
  t->done = done;
  t->total = total;
  if (t->on) t->bytes = bytes_moved(rt) - t->bytes_before;
  char what[32];
  snprintf(what, sizeof what, "sync %.1f MB", (double)t->bytes / 1e6);
  for (cli_watch *w = rt->watches; w; w = w->next) cli_progress(w->call, what, done, total);
  cli_watch_all(rt);
}

static void on_failed(void *ctx, weft_err err, const char *what) {
  cli_runtime *rt = ctx;
  rt->failed_err = err;
  snprintf(rt->failed, sizeof rt->failed, "%s", what && *what ? what : "the store");
  cli_watch_all(rt);
}

static void on_full(void *ctx, bool full) {
  cli_runtime *rt = ctx;
  rt->full = full;
  cli_watch_all(rt);
}

static void on_stopped(void *ctx) {
  cli_runtime *rt = ctx;
  rt->stopped = true;
}

/* --- watches -------------------------------------------------------------------------------------
 */

void cli_watch_add(cli_runtime *rt, cli_watch *w) {
  w->next = rt->watches;
  rt->watches = w;
}

void cli_watch_remove(cli_runtime *rt, cli_watch *w) {
  for (cli_watch **at = &rt->watches; *at; at = &(*at)->next) {
    if (*at != w) continue;
    *at = w->next;
    return;
  }
}

/* A look may remove its own watch, so the next one is taken first. */
void cli_watch_all(cli_runtime *rt) {
  for (cli_watch *w = rt->watches, *next; w; w = next) {
    next = w->next;
    w->look(w);
  }
}

/* --- ways to members -----------------------------------------------------------------------------
 */

static bool is_somebody(const weft_id *device) {
  static const weft_id nobody;
  return weft_id_cmp(device, &nobody) != 0;
}

const weft_node_peer *cli_way_to(const weft_node_peer *ways, size_t count, const weft_id *device) {
  const weft_node_peer *best = NULL;
  for (size_t i = 0; i < count && is_somebody(device); i++) {
    const weft_node_peer *p = &ways[i];
    if (weft_id_cmp(&p->device, device) != 0) continue;
    bool better = best && (p->known != best->known ? p->known : p->state > best->state);
    if (!best || better) best = p;
  }
  return best;
}

/* The device that answered at an address last. */
static weft_id answered(const weft_known_address *list, size_t count, weft_bytes address) {
  weft_id nobody = {{0}};
  for (size_t i = 0; i < count; i++)
    if (weft_bytes_cmp(list[i].text, address) == 0) return list[i].device;
  return nobody;
}

weft_err cli_ways(cli_call *c, weft_arena *arena, weft_node_peer **out, size_t *count) {
  weft_node_peer *peers;
  weft_known_address *list;
  size_t known_count, n;
  const weft_roster *roster = weft_replica_roster(c->space->replica);
  WEFT_TRY(weft_node_peers(weft_uv_node_core(c->runtime->node), arena, &peers, &n));
  WEFT_TRY(weft_replica_addresses(c->space->replica, arena, &list, &known_count));
  weft_node_peer *all = weft__arena_zero(arena, n + known_count + 1, sizeof *all);
  if (!all) return WEFT_ENOMEM;
  for (size_t i = 0; i < known_count; i++)
    if (!weft__roster_member_of(roster, &list[i].device))
      memset(&list[i].device, 0, sizeof(weft_id));
  for (size_t i = 0; i < n; i++) {
    all[i] = peers[i];
    if (!all[i].known) all[i].device = answered(list, known_count, all[i].address);
  }
  for (size_t i = 0; i < known_count; i++) {
    if (!is_somebody(&list[i].device) || cli_way_to(all, n, &list[i].device)) continue;
    all[n++] =
        (weft_node_peer){.device = list[i].device, .address = list[i].text, .next_try = WEFT_NEVER};
  }
  *out = all;
  *count = n;
  return WEFT_OK;
}

/* --- loop and node -------------------------------------------------------------------------------
 */

int cli_runtime_open(cli_call *c) {
  if (c->runtime) return CLI_OK;
  cli_runtime *rt = calloc(1, sizeof *rt);
  int rc = rt ? uv_loop_init(&rt->loop) : UV_ENOMEM;
  if (rc != 0) {
    free(rt);
    return rc == UV_EMFILE || rc == UV_ENFILE
               ? cli_fail(c, CLI_FAILED, "too many files are open: raise the limit, see ulimit -n")
               : cli_fail_err(c, WEFT_ENOMEM, "the network");
  }
  rt->loop_open = true;
  rt->home = c->home;
  rt->space = c->space;
  c->runtime = rt;
  return CLI_OK;
}

const char *cli_reach_str(weft_err err) {
  return err == WEFT_ENOTFOUND ? "no host of that name is known" : weft_err_str(err);
}

static int start_failed(cli_call *c, weft_err err, const char *detail) {
  if (err == WEFT_EEXIST)
    return cli_fail(c, CLI_FAILED,
                    "%s is in use: stop what listens there, or choose another --listen", detail);
  if (err == WEFT_EBADVALUE)
    return cli_fail(c, CLI_USAGE, "%s is no address: HOST:PORT is wanted", detail);
  if (err == WEFT_EUNREACHABLE)
    return cli_fail(c, CLI_FAILED,
                    "%s is no address of this machine: choose another --listen, 0.0.0.0 for all",
                    detail);
  if (err == WEFT_EDENIED)
    return cli_fail(c, CLI_DENIED, "%s is not for this user: choose a port from 1024 on", detail);
  return cli_fail_err(c, err, "listening on %s", detail);
}

/* The times of the configuration file, where it has any. */
static void network_times(const cli_home *h, weft_node_options *o) {
  weft_bytes config = cli_home_config_text(h);
  o->heartbeat_ms = cli_config_ms(config, "heartbeat", o->heartbeat_ms);
  o->dead_ms = cli_config_ms(config, "dead-after", o->dead_ms);
  o->dial_timeout_ms = cli_config_ms(config, "dial-timeout", o->dial_timeout_ms);
  o->redial_cap_ms = cli_config_ms(config, "redial-cap", o->redial_cap_ms);
  o->anti_entropy_ms = cli_config_ms(config, "anti-entropy", o->anti_entropy_ms);
  o->retries_max = (uint32_t)cli_config_number(config, "retries", o->retries_max);
  o->links_max = (size_t)cli_config_number(config, "links-max", o->links_max);
}

int cli_node_start(cli_call *c, const cli_node_plan *plan) {
  int code = cli_runtime_open(c);
  if (code != CLI_OK) return code;
  cli_runtime *rt = c->runtime;
  bool quiet = plan->listen_count + plan->connect_count == 0 && !plan->remembered;
  if (c->space->read_only && !quiet)
    return cli_fail(c, CLI_FAILED,
                    "%s cannot be written, so nothing can be received: check the permissions of "
                    "the folder",
                    cli_home_dir(c->home));
  const cli_epoch *epoch = cli_home_epoch(c->home, &c->space->id);
  if (!epoch)
    return cli_fail(c, CLI_FAILED,
                    "%s/secrets lacks the key of this space: restore it, or join again",
                    cli_home_dir(c->home));
  weft_node_epoch ne;
  memcpy(ne.id, epoch->epoch, sizeof ne.id);
  ne.secret = epoch->secret;
  weft_uv_node_options o;
  weft_uv_node_options_init(&o);
  o.loop = &rt->loop;
  o.replica = c->space->replica;
  o.node.crypto = weft_crypto_sodium();
  o.node.identity = cli_home_identity(c->home);
  o.node.space = c->space->id;
  o.node.name = cli_home_name(c->home);
  o.node.epochs = &ne;
  o.node.epoch_count = 1;
  o.node.gossip = plan->gossip;
  o.node.metrics = c->space->metrics;
  network_times(c->home, &o.node);
  o.network_poll_ms =
      cli_config_ms(cli_home_config_text(c->home), "network-poll", o.network_poll_ms);
  weft_alloc mem = weft_alloc_libc();
  weft_err made = weft_events_new(&rt->bus, c->space->replica, &mem);
  if (made != WEFT_OK) return cli_fail_err(c, made, "the network");
  o.bus = rt->bus;
  o.listen = plan->listen;
  o.listen_count = plan->listen_count;
  o.connect = plan->connect;
  o.connect_count = plan->connect_count;
  o.remembered = plan->remembered;
  o.events = (weft_uv_node_events){rt, on_note, on_transfer, on_failed, on_stopped, on_full};
  char detail[128] = "";
  weft_err err = weft_uv_node_start(&rt->node, &o, detail, sizeof detail);
  weft_crypto_sodium()->wipe(&ne, sizeof ne);
  if (err != WEFT_OK) return start_failed(c, err, detail);
  int paused = cli_pauses_apply(c, rt->node);
  return paused == CLI_OK ? cli_node_invites(c, rt) : paused;
}

int cli_any_node(cli_call *c) {
  if (c->runtime && c->runtime->node) return CLI_OK;
  cli_node_plan plan = {.gossip = true};
  return cli_node_start(c, &plan);
}

/* The node knows so many tickets at most, and each attempt to connect is held against all of them.
 */
enum { invites_max = 1000 };

/* Adds the invites of the space that are good for longer than `from` and not longer than `to`, the
 * newest first. */
static size_t invites_add(const cli_runtime *rt, uint64_t from, uint64_t to, weft_uv_invite *out,
                          size_t kept) {
  size_t count;
  const cli_invite *all = cli_home_invites(rt->home, &count);
  for (size_t i = count; i > 0 && kept < invites_max; i--) {
    const cli_invite *one = &all[i - 1];
    if (weft_id_cmp(&one->space, &rt->space->id) != 0) continue;
    if (one->expires_ms <= from || one->expires_ms > to) continue;
    weft_uv_invite *v = &out[kept++];
    v->keys = (weft_node_invite){one->invite, one->k_join, one->k_jtag};
    v->terms = (weft_invite_terms){one->invite, (weft_role)one->role, one->uses, one->expires_ms};
  }
  return kept;
}

/* Who comes with a ticket that has expired is told so, as long as there is room for these too. */
int cli_node_invites(cli_call *c, cli_runtime *rt) {
  if (!rt->node) return CLI_OK;
  weft_uv_invite *invites = calloc(invites_max, sizeof *invites);
  if (!invites) return cli_fail_err(c, WEFT_ENOMEM, "invites");
  uint64_t now = cli_wall_ms();
  size_t kept = invites_add(rt, now, UINT64_MAX, invites, 0);
  kept = invites_add(rt, 0, now, invites, kept);
  weft_err err = weft_uv_node_set_invites(rt->node, invites, kept);
  weft_crypto_sodium()->wipe(invites, invites_max * sizeof *invites);
  free(invites);
  return err == WEFT_OK ? CLI_OK : cli_fail_err(c, err, "invites");
}

void cli_network_changed(cli_call *c) {
  if (c->runtime && c->runtime->node) weft_uv_node_changed(c->runtime->node);
}

bool cli_network_turn(cli_call *c) {
  cli_runtime *rt = c->runtime;
  if (!rt) return false;
  return uv_run(&rt->loop, UV_RUN_ONCE) != 0;
}

void cli_runtime_close(cli_runtime *rt) {
  if (rt->node) {
    weft_uv_node_stop(rt->node);
    while (!rt->stopped && uv_run(&rt->loop, UV_RUN_ONCE) != 0) continue;
    weft_uv_node_free(rt->node);
    rt->node = NULL;
  }
  while (uv_run(&rt->loop, UV_RUN_DEFAULT) != 0) continue;
  uv_loop_close(&rt->loop);
  weft_events_free(rt->bus);
  cli_control_free(rt->control);
  free(rt);
}

void cli_network_stop(cli_call *c) {
  if (!c->runtime) return;
  cli_runtime_close(c->runtime);
  c->runtime = NULL;
}

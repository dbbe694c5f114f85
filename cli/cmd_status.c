/* status and peers: what is here, who is there, what waits. */
#include <stdio.h>
#include <string.h>

#include "cli/fields.h"
#include "cli/network.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/waiting.h"

/* A time of the node's clock as people write it; null for never. */
static void put_node_time(cli_call *c, cli_obj *o, const char *key, weft_ms at) {
  char text[32];
  weft_ms now = weft_uv_node_now(c->runtime->node);
  uint64_t wall = cli_wall_ms();
  if (at == 0 || at == WEFT_NEVER) {
    cli_obj_text(o, key, NULL);
    return;
  }
  cli_time_text(text, at > now ? wall + (at - now) : wall - (now - at));
  cli_obj_text(o, key, text);
}

static void put_seen(cli_call *c, cli_obj *o, const weft_node_peer *link,
                     const weft_node_acked *ack) {
  if (!(link && link->last_heard) && ack && ack->heard)
    cli_obj_time(o, "last_seen", ack->at);
  else
    put_node_time(c, o, "last_seen", link ? link->last_heard : 0);
}

/* Who has what, and as of when that is known: of ours by its signed word, which may come through
 * others; of theirs as it last said over a link. */
static void put_having(cli_call *c, cli_obj *o, const weft_node_peer *link,
                       const weft_node_acked *ack) {
  cli_obj_bool(o, "has_mine", ack && ack->heard && ack->pending == 0);
  if (ack && ack->heard)
    cli_obj_time(o, "has_mine_at", ack->at);
  else
    cli_obj_text(o, "has_mine_at", NULL);
  weft_value theirs = {.kind = link && link->roots_heard ? WEFT_BOOL : WEFT_NULL};
  if (theirs.kind == WEFT_BOOL) theirs.as.boolean = link->need == 0 || link->in_step;
  cli_obj_put(o, "have_theirs", theirs);
  put_node_time(c, o, "have_theirs_at", link ? link->roots_heard : 0);
}

static void put_trouble(cli_call *c, cli_obj *o, const weft_node_peer *link) {
  cli_obj_int(o, "attempts", link ? link->attempts : 0);
  bool failed = link && link->last_error != WEFT_OK && link->last_error != WEFT_EDONE;
  cli_obj_text(o, "last_error", failed ? weft_err_str(link->last_error) : NULL);
  put_node_time(c, o, "next_try", link ? link->next_try : WEFT_NEVER);
}

static void put_link(cli_call *c, cli_obj *o, const weft_node_peer *link) {
  static const char *const states[] = {"offline", "dialling", "handshake",
                                       "proving", "syncing",  "live"};
  bool connected = link && link->state >= WEFT_PEER_SYNCING;
  cli_obj_bool(o, "connected", connected);
  cli_obj_text(o, "link", states[link ? link->state : 0]);
  cli_obj_bool(o, "in_step", link && link->in_step);
  cli_obj_int(o, "have", link ? (int64_t)link->have : 0);
  cli_obj_int(o, "need", link ? (int64_t)link->need : 0);
  cli_obj_int(o, "sent", link ? (int64_t)link->sent : 0);
  cli_obj_int(o, "received", link ? (int64_t)link->received : 0);
  cli_obj_int(o, "bytes_in", link ? (int64_t)link->bytes_in : 0);
  cli_obj_int(o, "bytes_out", link ? (int64_t)link->bytes_out : 0);
  weft_value none = {.kind = WEFT_NULL};
  if (connected && link->round_trip_ms)
    cli_obj_int(o, "round_trip_ms", link->round_trip_ms);
  else
    cli_obj_put(o, "round_trip_ms", none);
  if (connected)
    cli_obj_int(o, "clock_offset_ms", link->clock_offset_ms);
  else
    cli_obj_put(o, "clock_offset_ms", none);
  if (link && link->address.len)
    cli_obj_bytes(o, "address", link->address);
  else
    cli_obj_text(o, "address", NULL);
  put_trouble(c, o, link);
}

/* Everything the lists below are made of. */
typedef struct known {
  const weft_node *node;
  weft_node_peer *peers;
  size_t peer_count;
  weft_node_acked *acks;
  size_t ack_count;
  const weft_roster_member *members;
  size_t member_count;
  weft_node_park *parks;
  size_t park_count;
} known;

static weft_err gather(cli_call *c, known *k) {
  const weft_node *node = weft_uv_node_core(c->runtime->node);
  k->node = node;
  WEFT_TRY(cli_ways(c, c->arena, &k->peers, &k->peer_count));
  WEFT_TRY(weft_node_parked(node, c->arena, &k->parks, &k->park_count));
  WEFT_TRY(weft_node_acked_list(node, c->arena, &k->acks, &k->ack_count));
  weft__roster_members(weft_replica_roster(c->space->replica), &k->members, &k->member_count);
  return WEFT_OK;
}

static const weft_node_acked *ack_of(const known *k, const weft_id *device) {
  for (size_t i = 0; i < k->ack_count; i++)
    if (weft_id_cmp(&k->acks[i].device, device) == 0) return &k->acks[i];
  return NULL;
}

static size_t parked_of(const known *k, const weft_id *device) {
  size_t count = 0;
  for (size_t i = 0; i < k->park_count; i++) count += weft_id_cmp(&k->parks[i].device, device) == 0;
  return count;
}

/* Who answered there last, of an address that does not lead to anybody now. */
static void put_last(cli_obj *o, const known *k, const weft_id *device) {
  for (size_t i = 0; i < k->member_count; i++) {
    if (weft_id_cmp(&k->members[i].device, device) != 0) continue;
    cli_obj_hex(o, "last_device", device->b, sizeof device->b);
    cli_obj_bytes(o, "last_name", k->members[i].name);
    return;
  }
  cli_obj_text(o, "last_device", NULL);
  cli_obj_text(o, "last_name", NULL);
}

/* Whether a member's row tells of this address: nothing better leads to it. */
static bool told_with_member(const known *k, const weft_node_peer *peer) {
  return peer->known || cli_way_to(k->peers, k->peer_count, &peer->device) == peer;
}

/* One row a member, then one for each other address. */
static weft_value peer_rows(cli_call *c, const known *k) {
  weft_value *rows = weft__arena_zero(c->arena, k->member_count + k->peer_count + 1, sizeof *rows);
  size_t count = 0;
  const weft_id *me = &cli_home_identity(c->home)->device;
  for (size_t i = 0; rows && i < k->member_count; i++) {
    const weft_roster_member *m = &k->members[i];
    if (weft_id_cmp(&m->device, me) == 0) continue;
    const weft_node_peer *link = cli_way_to(k->peers, k->peer_count, &m->device);
    const weft_node_acked *ack = ack_of(k, &m->device);
    cli_obj o = cli_obj_begin(c->arena);
    cli_obj_hex(&o, "device", m->device.b, sizeof m->device.b);
    cli_obj_bytes(&o, "name", m->name);
    put_link(c, &o, link);
    put_having(c, &o, link, ack);
    put_seen(c, &o, link, ack);
    cli_obj_bool(&o, "paused", weft_node_is_paused(k->node, &m->device));
    cli_obj_int(&o, "parked", (int64_t)parked_of(k, &m->device));
    cli_obj_int(&o, "pending", ack ? (int64_t)ack->pending : 0);
    rows[count++] = cli_obj_end(&o);
  }
  for (size_t i = 0; rows && i < k->peer_count; i++) {
    if (told_with_member(k, &k->peers[i])) continue;
    cli_obj o = cli_obj_begin(c->arena);
    cli_obj_text(&o, "device", NULL);
    cli_obj_text(&o, "name", NULL);
    put_last(&o, k, &k->peers[i].device);
    put_link(c, &o, &k->peers[i]);
    put_seen(c, &o, &k->peers[i], NULL);
    rows[count++] = cli_obj_end(&o);
  }
  return cli_array(rows, count);
}

int cmd_peers(cli_call *c) {
  known k;
  int code = cli_any_node(c);
  if (code != CLI_OK) return code;
  weft_err err = gather(c, &k);
  if (err != WEFT_OK) return cli_fail_err(c, err, "peers");
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_put(&o, "peers", peer_rows(c, &k));
  cli_emit_obj(c, &o);
  return CLI_OK;
}

/* --- status --------------------------------------------------------------------------------------
 */

/* What keeps a space from being in order, each in a few words. */
typedef struct reasons {
  weft_arena *arena;
  weft_value rows[8];
  size_t count;
} reasons;

static void reason(reasons *r, uint64_t n, const char *one, const char *more) {
  char text[96];
  if (n == 0) return;
  snprintf(text, sizeof text, "%llu %s", (unsigned long long)n, n == 1 ? one : more);
  r->rows[r->count++] = cli_text(r->arena, text);
}

static size_t paused_members(const known *k, const weft_id *me) {
  size_t count = 0;
  for (size_t i = 0; i < k->member_count; i++)
    count += weft_id_cmp(&k->members[i].device, me) != 0 &&
             weft_node_is_paused(k->node, &k->members[i].device);
  return count;
}

/* "synced" is said only when every member has acknowledged everything written here, everybody who
 * is linked holds and shows the same, and nothing wants a person. */
static const char *state_of(const known *k, uint64_t pending, const reasons *r) {
  size_t open = 0, in_step = 0;
  if (k->member_count < 2) return "alone";
  for (size_t i = 0; i < k->peer_count; i++) {
    open += k->peers[i].state >= WEFT_PEER_SYNCING;
    in_step += k->peers[i].state >= WEFT_PEER_SYNCING && k->peers[i].in_step;
  }
  if (weft_node_is_paused(k->node, NULL)) return "paused";
  if (open == 0) return "offline";
  if (in_step < open) return "syncing";
  if (r->count) return "attention";
  return pending ? "pending" : "synced";
}

static weft_value fork_rows(cli_call *c, const weft_fork *forks, size_t count) {
  weft_value *rows = weft__arena_zero(c->arena, count + 1, sizeof *rows);
  for (size_t i = 0; rows && i < count; i++) {
    cli_obj o = cli_obj_begin(c->arena);
    cli_put_fork(&o, &forks[i]);
    rows[i] = cli_obj_end(&o);
  }
  return cli_array(rows, rows ? count : 0);
}

/* When and why this device began to write anew. */
static weft_value begun_rows(cli_call *c, const weft_begun *begun, size_t count) {
  weft_value *rows = weft__arena_zero(c->arena, count + 1, sizeof *rows);
  for (size_t i = 0; rows && i < count; i++) {
    cli_obj o = cli_obj_begin(c->arena);
    cli_obj_hex(&o, "incarnation", begun[i].incarnation, sizeof begun[i].incarnation);
    cli_obj_time(&o, "time", begun[i].hlc);
    cli_obj_text(&o, "why", weft_begun_why_str(begun[i].why));
    rows[i] = cli_obj_end(&o);
  }
  return cli_array(rows, rows ? count : 0);
}

/* How far a transfer is: first what is received of what others told they have, then what is shown
 * of that.  What is stuck waits for others and is no progress. */
static void put_progress(const cli_call *c, cli_obj *o, const known *k, const weft_counts *counts,
                         bool stuck) {
  uint64_t need = 0, received = 0;
  for (size_t i = 0; i < k->peer_count; i++) {
    need += k->peers[i].need;
    received += k->peers[i].received;
  }
  bool showing = need == 0 && !stuck && counts->changes_shown < counts->changes_held;
  if (need == 0 && !showing) return;
  cli_obj p = cli_obj_begin(o->arena);
  cli_obj_text(&p, "phase", showing ? "showing" : "receiving");
  cli_obj_int(&p, "done", (int64_t)(showing ? counts->changes_shown : received));
  cli_obj_int(&p, "total", (int64_t)(showing ? counts->changes_held : received + need));
  weft_value rate = {.kind = WEFT_NULL}, left = {.kind = WEFT_NULL};
  double each, rest;
  if (cli_transfer_rate(c->runtime, &each, &rest)) {
    rate = (weft_value){.kind = WEFT_DOUBLE, .as.real = each};
    left = (weft_value){.kind = WEFT_DOUBLE, .as.real = rest};
  }
  cli_obj_int(&p, "bytes", (int64_t)c->runtime->transfer.bytes);
  cli_obj_put(&p, "rate", rate);
  cli_obj_put(&p, "seconds_left", left);
  cli_obj_put(o, "progress", cli_obj_end(&p));
}

/* All that is told. */
typedef struct overview {
  known k;
  weft_counts counts;
  weft_value stuck, later;
  size_t stuck_count, later_count, fork_count, begun_count;
  weft_fork *forks;
  weft_begun *begun;
  uint64_t pending; /* of the member that lacks most */
  reasons r;
  const char *state;
} overview;

static weft_err overview_gather(cli_call *c, overview *v) {
  weft_replica *r = c->space->replica;
  WEFT_TRY(gather(c, &v->k));
  WEFT_TRY(weft_replica_counts(r, &v->counts));
  WEFT_TRY(cli_stuck_rows(c, &v->stuck, &v->stuck_count));
  WEFT_TRY(cli_later_rows(c, &v->later, &v->later_count));
  WEFT_TRY(weft_replica_forks(r, c->arena, &v->forks, &v->fork_count));
  WEFT_TRY(weft_replica_begun(r, c->arena, &v->begun, &v->begun_count));
  for (size_t i = 0; i < v->k.ack_count; i++)
    if (v->k.acks[i].pending > v->pending) v->pending = v->k.acks[i].pending;
  return WEFT_OK;
}

/* A pause is named as a reason, and takes nothing from the state: it was asked for. */
static void overview_judge(const cli_call *c, overview *v) {
  reasons *r = &v->r;
  r->arena = c->arena;
  reason(r, v->counts.unresolved, "document stands in conflict in a manual collection",
         "documents stand in conflict in manual collections");
  reason(r, v->k.park_count, "log is refused by a member: weft pending",
         "logs are refused by members: weft pending");
  reason(r, v->stuck_count, "log waits for changes that are not here",
         "logs wait for changes that are not here");
  reason(r, v->later_count, "log needs a later weft: upgrade this one",
         "logs need a later weft: upgrade this one");
  reason(r, c->runtime->full, "disk is full: free some space", "");
  reason(r, weft__roster_frozen(weft_replica_roster(c->space->replica)),
         "membership record needs a later weft: upgrade this one", "");
  v->state = state_of(&v->k, v->pending, r);
  size_t paused = paused_members(&v->k, &cli_home_identity(c->home)->device);
  if (paused) {
    char text[64];
    snprintf(text, sizeof text, "paused for %zu member%s: weft resume", paused,
             paused == 1 ? "" : "s");
    r->rows[r->count++] = cli_text(c->arena, text);
  }
}

static void overview_emit(cli_call *c, const overview *v) {
  const weft_counts *counts = &v->counts;
  weft_digest digest = weft_replica_digest(c->space->replica);
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_text(&o, "state", v->state);
  cli_obj_put(&o, "attention", cli_array(v->r.rows, v->r.count));
  cli_obj_bytes(&o, "space", c->space->name);
  cli_obj_hex(&o, "space_id", c->space->id.b, sizeof c->space->id.b);
  cli_obj_bytes(&o, "name", cli_home_name(c->home));
  cli_obj_hex(&o, "device", cli_home_identity(c->home)->device.b, sizeof(weft_id));
  cli_obj_int(&o, "pending", (int64_t)v->pending);
  cli_obj_int(&o, "parked", (int64_t)v->k.park_count);
  cli_obj_int(&o, "conflicts", (int64_t)counts->conflicts);
  cli_obj_int(&o, "unresolved", (int64_t)counts->unresolved);
  cli_obj_int(&o, "docs", (int64_t)counts->docs);
  cli_obj_int(&o, "deleted", (int64_t)counts->deleted);
  cli_obj_int(&o, "changes_held", (int64_t)counts->changes_held);
  cli_obj_int(&o, "changes_shown", (int64_t)counts->changes_shown);
  cli_obj_put(&o, "stuck", v->stuck);
  cli_obj_put(&o, "needs_upgrade", v->later);
  cli_obj_put(&o, "forks", fork_rows(c, v->forks, v->fork_count));
  cli_obj_put(&o, "incarnations", begun_rows(c, v->begun, v->begun_count));
  cli_obj_digest(&o, "digest", digest.high, digest.low);
  cli_obj_bool(&o, "disk_full", c->runtime->full);
  put_progress(c, &o, &v->k, counts, v->stuck_count > 0);
  cli_obj_put(&o, "peers", peer_rows(c, &v->k));
  cli_emit_obj(c, &o);
}

int cmd_status(cli_call *c) {
  overview v = {.state = NULL};
  int code = cli_any_node(c);
  if (code != CLI_OK) return code;
  weft_err err = overview_gather(c, &v);
  if (err != WEFT_OK) return cli_fail_err(c, err, "status");
  overview_judge(c, &v);
  overview_emit(c, &v);
  if (!cli_flag(c, "check") || v.counts.conflicts + v.r.count == 0) return CLI_OK;
  weft_bytes first = v.r.count ? v.r.rows[0].as.bytes : weft_bytes_of("", 0);
  return cli_fail(c, CLI_ATTENTION, "%llu conflicts%s%.*s: see weft conflicts, weft doctor",
                  (unsigned long long)v.counts.conflicts, v.r.count ? "; " : "", (int)first.len,
                  (const char *)first.at);
}

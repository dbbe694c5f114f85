/* status and peers: what is here, who is there, what waits. */
#include <stdio.h>
#include <string.h>

#include "cli/fields.h"
#include "cli/network.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/waiting.h"

static const weft_node_peer *link_of(const weft_node_peer *peers, size_t count,
                                     const weft_id *device) {
  for (size_t i = 0; i < count; i++)
    if (peers[i].known && weft_id_cmp(&peers[i].device, device) == 0) return &peers[i];
  return NULL;
}

static void put_seen(cli_call *c, cli_obj *o, const weft_node_peer *link,
                     const weft_node_acked *ack) {
  char text[32];
  if (link && link->last_heard) {
    weft_ms now = weft_uv_node_now(c->runtime->node);
    cli_time_text(text, cli_wall_ms() - (now - link->last_heard));
    cli_obj_text(o, "last_seen", text);
  } else if (ack && ack->heard) {
    cli_obj_time(o, "last_seen", ack->at);
  } else {
    cli_obj_text(o, "last_seen", NULL);
  }
}

static void put_link(cli_obj *o, const weft_node_peer *link) {
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
  if (link && link->round_trip_ms) cli_obj_int(o, "round_trip_ms", link->round_trip_ms);
  if (link && link->address.len)
    cli_obj_bytes(o, "address", link->address);
  else
    cli_obj_text(o, "address", NULL);
  if (link && link->last_error != WEFT_OK)
    cli_obj_text(o, "last_error", weft_err_str(link->last_error));
}

/* Everything the lists below are made of. */
typedef struct known {
  weft_node_peer *peers;
  size_t peer_count;
  weft_node_acked *acks;
  size_t ack_count;
  const weft_roster_member *members;
  size_t member_count;
} known;

static weft_err gather(cli_call *c, known *k) {
  const weft_node *node = weft_uv_node_core(c->runtime->node);
  WEFT_TRY(weft_node_peers(node, c->arena, &k->peers, &k->peer_count));
  WEFT_TRY(weft_node_acked_list(node, c->arena, &k->acks, &k->ack_count));
  weft__roster_members(weft_replica_roster(c->space->replica), &k->members, &k->member_count);
  return WEFT_OK;
}

static const weft_node_acked *ack_of(const known *k, const weft_id *device) {
  for (size_t i = 0; i < k->ack_count; i++)
    if (weft_id_cmp(&k->acks[i].device, device) == 0) return &k->acks[i];
  return NULL;
}

/* One row a member, then one for each address that has not led to a member yet. */
static weft_value peer_rows(cli_call *c, const known *k) {
  weft_value *rows = weft__arena_zero(c->arena, k->member_count + k->peer_count + 1, sizeof *rows);
  size_t count = 0;
  const weft_id *me = &cli_home_identity(c->home)->device;
  for (size_t i = 0; rows && i < k->member_count; i++) {
    const weft_roster_member *m = &k->members[i];
    if (weft_id_cmp(&m->device, me) == 0) continue;
    const weft_node_peer *link = link_of(k->peers, k->peer_count, &m->device);
    const weft_node_acked *ack = ack_of(k, &m->device);
    cli_obj o = cli_obj_begin(c->arena);
    cli_obj_hex(&o, "device", m->device.b, sizeof m->device.b);
    cli_obj_bytes(&o, "name", m->name);
    put_link(&o, link);
    put_seen(c, &o, link, ack);
    cli_obj_int(&o, "pending", ack ? (int64_t)ack->pending : 0);
    rows[count++] = cli_obj_end(&o);
  }
  for (size_t i = 0; rows && i < k->peer_count; i++) {
    if (k->peers[i].known) continue;
    cli_obj o = cli_obj_begin(c->arena);
    cli_obj_text(&o, "device", NULL);
    cli_obj_text(&o, "name", NULL);
    put_link(&o, &k->peers[i]);
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
  weft_value record = cli_obj_end(&o);
  cli_emit(c, &record);
  return CLI_OK;
}

/* --- status --------------------------------------------------------------------------------------
 */

static const char *state_of(const known *k, uint64_t pending, size_t stuck) {
  size_t open = 0, in_step = 0;
  if (k->member_count < 2) return "alone";
  for (size_t i = 0; i < k->peer_count; i++) {
    open += k->peers[i].state >= WEFT_PEER_SYNCING;
    in_step += k->peers[i].state >= WEFT_PEER_SYNCING && k->peers[i].in_step;
  }
  if (open == 0) return "offline";
  if (in_step < open) return "syncing";
  return pending || stuck ? "pending" : "synced";
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
static void put_progress(cli_obj *o, const known *k, const weft_counts *counts, bool stuck) {
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
  cli_obj_put(o, "progress", cli_obj_end(&p));
}

int cmd_status(cli_call *c) {
  known k;
  weft_counts counts;
  weft_value stuck, later;
  size_t stuck_count, later_count, fork_count, begun_count;
  weft_fork *forks;
  weft_begun *begun;
  int code = cli_any_node(c);
  if (code != CLI_OK) return code;
  weft_err err = gather(c, &k);
  if (err == WEFT_OK) err = weft_replica_counts(c->space->replica, &counts);
  if (err == WEFT_OK) err = cli_stuck_rows(c, &stuck, &stuck_count);
  if (err == WEFT_OK) err = cli_later_rows(c, &later, &later_count);
  if (err == WEFT_OK) err = weft_replica_forks(c->space->replica, c->arena, &forks, &fork_count);
  if (err == WEFT_OK) err = weft_replica_begun(c->space->replica, c->arena, &begun, &begun_count);
  if (err != WEFT_OK) return cli_fail_err(c, err, "status");
  uint64_t pending = 0;
  for (size_t i = 0; i < k.ack_count; i++)
    if (k.acks[i].pending > pending) pending = k.acks[i].pending;
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_text(&o, "state", state_of(&k, pending, stuck_count));
  cli_obj_bytes(&o, "space", c->space->name);
  cli_obj_bytes(&o, "name", cli_home_name(c->home));
  cli_obj_hex(&o, "device", cli_home_identity(c->home)->device.b, sizeof(weft_id));
  cli_obj_int(&o, "pending", (int64_t)pending);
  cli_obj_int(&o, "conflicts", (int64_t)counts.conflicts);
  cli_obj_int(&o, "unresolved", (int64_t)counts.unresolved);
  cli_obj_int(&o, "docs", (int64_t)counts.docs);
  cli_obj_int(&o, "deleted", (int64_t)counts.deleted);
  cli_obj_int(&o, "changes_held", (int64_t)counts.changes_held);
  cli_obj_int(&o, "changes_shown", (int64_t)counts.changes_shown);
  cli_obj_put(&o, "stuck", stuck);
  cli_obj_put(&o, "needs_upgrade", later);
  cli_obj_put(&o, "forks", fork_rows(c, forks, fork_count));
  cli_obj_put(&o, "incarnations", begun_rows(c, begun, begun_count));
  cli_obj_digest(&o, "digest", weft_replica_digest(c->space->replica).high,
                 weft_replica_digest(c->space->replica).low);
  cli_obj_bool(&o, "disk_full", c->runtime->full);
  put_progress(&o, &k, &counts, stuck_count > 0);
  cli_obj_put(&o, "peers", peer_rows(c, &k));
  weft_value record = cli_obj_end(&o);
  cli_emit(c, &record);
  if (!cli_flag(c, "check") || (counts.conflicts == 0 && stuck_count == 0)) return CLI_OK;
  return cli_fail(
      c, CLI_ATTENTION,
      "%llu conflicts and %zu waiting logs need attention: see weft conflicts, weft doctor",
      (unsigned long long)counts.conflicts, stuck_count);
}

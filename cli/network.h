/* A call's place on the network: one loop, and a node on it when the command wants one.
 *
 * In the daemon there is one for all calls; otherwise a command that needs the network makes its
 * own. */
#ifndef WEFT_CLI_NETWORK_H
#define WEFT_CLI_NETWORK_H

#include <uv.h>

#include "cli/command.h"
#include "cli/home.h"
#include "net/uv_node.h"
#include "store/events.h"

/* Somebody waits for something of the network; kept in a list, asked after every event. */
typedef struct cli_watch {
  struct cli_watch *next;
  cli_call *call;
  void (*look)(struct cli_watch *w); /* something happened: end the call if it is done */
} cli_watch;

/* A transfer under way: changes moved or shown since it began. */
typedef struct cli_transfer {
  bool on;
  uint64_t started_ms; /* on the loop's clock */
  uint64_t done, total;
  uint64_t bytes_before, bytes; /* over all links, both ways */
} cli_transfer;

struct cli_runtime {
  uv_loop_t loop;
  bool loop_open;
  weft_uv_node *node; /* NULL: none yet */
  cli_home *home;
  cli_space *space;
  struct cli_control *control; /* in the daemon: freed after the loop ran out */
  bool stopped;
  bool ending;      /* the daemon stops: whoever waits ends now */
  char failed[256]; /* storage failure, told once */
  weft_err failed_err;
  bool full; /* writes are refused until the disk has room again */
  cli_transfer transfer;
  cli_watch *watches;
  weft_events *bus;            /* with the node */
  struct cli_follows *follows; /* who follows the events (cli/cmd_events.c); NULL: nobody yet */
};

typedef struct cli_node_plan {
  const weft_bytes *listen;
  size_t listen_count;
  const weft_bytes *connect;
  size_t connect_count;
  bool remembered;
  bool gossip;
} cli_node_plan;

/* Opens the runtime of a call that has none.  CLI_OK, or the exit code with the error set. */
int cli_runtime_open(cli_call *c);
/* Starts the node on the call's space. */
int cli_node_start(cli_call *c, const cli_node_plan *plan);
/* Starts a node without links where the call has none: it answers for the acknowledgements that are
 * stored.  CLI_OK, or the exit code with the error set. */
int cli_any_node(cli_call *c);
/* What came of an address that no link came of: weft_err_str in a person's words. */
const char *cli_reach_str(weft_err err);
/* Hands the node the invites of the home for its space: call after start and after each new one. */
int cli_node_invites(cli_call *c, cli_runtime *rt);

/* Links and addresses of the call's node, and the `count` of them; in `arena`.  An address that has
 * led to nobody since the node began is not `known`, and names the member that answered there last,
 * where one is remembered; a member without any has a remembered address. */
weft_err cli_ways(cli_call *c, weft_arena *arena, weft_node_peer **out,
                  size_t *count) WEFT_MUST_USE;
/* What is known of the way to a member: the open link if there is one, else an address that led to
 * it, else one that is remembered; NULL. */
const weft_node_peer *cli_way_to(const weft_node_peer *ways, size_t count, const weft_id *device);

/* Changes a second since a transfer began, and the seconds that it will still take; false in its
 * first second. */
bool cli_transfer_rate(const cli_runtime *rt, double *rate, double *left);

void cli_watch_add(cli_runtime *rt, cli_watch *w);
void cli_watch_remove(cli_runtime *rt, cli_watch *w);
/* Asks every watch; called after each event. */
void cli_watch_all(cli_runtime *rt);

/* One turn of the loop of a call in this process; false when nothing can happen any more. */
bool cli_network_turn(cli_call *c);
/* Ends node and loop of a call in this process; nothing to do without. */
void cli_network_stop(cli_call *c);
/* Ends node and loop of a runtime. */
void cli_runtime_close(cli_runtime *rt);

/* After a call of the daemon wrote something. */
void cli_network_changed(cli_call *c);

#endif

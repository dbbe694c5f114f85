/* Nodes in virtual time, for applications that test their own ways of using weft: unstable.
 *
 * A simulated space has some devices, each with a replica in memory and a node on a network that is
 * simulated too.  Both are the shipped code.  The application decides what the network does to each
 * connection and segment, starts and ends nodes, and writes through the replicas as it would
 * anywhere.  The same seed and the same calls give the same run, which weft_sim_hash tells.
 *
 * This interface may change with every version.  It is linked from the archive libweft-sim.a
 * (CMake: find_package(weft COMPONENTS static), weft::sim).  What cannot be in a simulation, such
 * as a node that is not there, ends the process with a message: this is for tests. */
#ifndef WEFT_SIM_H
#define WEFT_SIM_H

#include "../net/node.h"
#include "../store/replica.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_sim weft_sim;

/* What the network does, and how the nodes are set.  Each function may be NULL.  They are called in
 * the order of virtual time and must not call the simulation. */
typedef struct weft_sim_policy {
  void *ctx;
  /* Whether a dial of `to` by `from` is answered. */
  bool (*reach)(void *ctx, weft_ms now, size_t from, size_t to);
  /* What happens to `len` bytes: false cuts the connection; `delay` holds the milliseconds they
   * take and may be changed.  Segments of one connection stay in order all the same. */
  bool (*carry)(void *ctx, weft_ms now, size_t from, size_t to, size_t len, weft_ms *delay);
  /* Sets times, bounds and gossip of a node that starts; `o` holds the defaults.  What says who it
   * is, and what it reads from, is filled in afterwards. */
  void (*tune)(void *ctx, size_t node, weft_node_options *o);
} weft_sim_policy;

typedef struct weft_sim_options {
  size_t struct_size;
  uint64_t seed;
  size_t nodes;                 /* 1 to 1,024; 2 */
  weft_ms delay_min, delay_max; /* of a connection, one way; 5 and 50 */
  uint64_t bandwidth;           /* bytes a second each way; 0, the default: any */
  bool real;                    /* real cryptography; else a quick stand-in of the same sizes */
  weft_sim_policy policy;       /* all NULL: everything is answered and arrives */
} weft_sim_options;
#define weft_sim_options_init(o) weft_sim_options_init_sized((o), sizeof *(o))
/* Sets every default.  Use the macro. */
WEFT_API void weft_sim_options_init_sized(weft_sim_options *o, size_t struct_size);

typedef struct weft_sim_counts {
  uint64_t events;                       /* of the simulation */
  uint64_t bytes, segments, connections; /* that crossed the network */
  uint64_t taken, known;                 /* changes that came in and were new, or not */
} weft_sim_counts;

/* Makes a space of devices that are all down and know nobody.  WEFT_EMISUSE: no node, or too many;
 * WEFT_ENOMEM.  A simulation belongs to one thread. */
WEFT_API weft_err weft_sim_new(weft_sim **out, const weft_sim_options *o) WEFT_MUST_USE;
/* Ends and frees everything; NULL does nothing. */
WEFT_API void weft_sim_free(weft_sim *s);

/* Node `from` is to keep a link to node `to`, now and whenever it runs. */
WEFT_API void weft_sim_link(weft_sim *s, size_t from, size_t to);
/* Starts a node that is down, on the store it has. */
WEFT_API void weft_sim_start(weft_sim *s, size_t node);
/* Ends a node with goodbye to its peers; its store stays. */
WEFT_API void weft_sim_stop(weft_sim *s, size_t node);
/* Ends a node without a word; its store stays as the last commit left it. */
WEFT_API void weft_sim_crash(weft_sim *s, size_t node);
/* Whether it runs. */
WEFT_API bool weft_sim_is_up(const weft_sim *s, size_t node);
/* Sets a wall clock to `wall` ms since 1970, from now on at `permille` of true speed. */
WEFT_API void weft_sim_clock(weft_sim *s, size_t node, weft_ms wall, unsigned permille);

/* The replica and the node of one that runs: views until it ends. */
WEFT_API weft_replica *weft_sim_replica(weft_sim *s, size_t node);
/* See weft_sim_replica. */
WEFT_API weft_node *weft_sim_node(weft_sim *s, size_t node);
/* Tells a node that its replica was written to.  Call it after each commit. */
WEFT_API void weft_sim_changed(weft_sim *s, size_t node);

/* Virtual milliseconds since the beginning. */
WEFT_API weft_ms weft_sim_now(const weft_sim *s);
/* Lets time pass until `until`. */
WEFT_API void weft_sim_run(weft_sim *s, weft_ms until);
/* Whether all nodes that are up hold and show the same. */
WEFT_API bool weft_sim_agree(weft_sim *s);
/* What happened so far. */
WEFT_API void weft_sim_count(const weft_sim *s, weft_sim_counts *out);
/* A hash over everything that was sent. */
WEFT_API uint64_t weft_sim_hash(const weft_sim *s);

#ifdef __cplusplus
}
#endif
#endif

/* Several nodes in one process, in virtual time: each a real replica and a real node, joined by a
 * network that delays, cuts and refuses, all drawn from one seed.
 *
 * The same seed and the same calls make the same run; sim_hash() says so.  Connections lose nothing
 * but themselves, as TCP does.  A node that is crashed keeps its store alone.
 *
 * What is checked all the time: whatever a node sent is in its store, also after a crash; what it
 * acknowledges it can show.  A failure prints the seed and the last of the trace, and aborts. */
#ifndef WEFT_TESTS_SIM_H
#define WEFT_TESTS_SIM_H

#include "net/node.h"
#include "net/replica_source.h"
#include "tests/support/fault_store.h"
#include "tests/support/space.h"
#include "tests/support/temp.h"

/* What a user of the simulator decides of the network; each may be NULL. */
typedef struct sim_policy {
  void *ctx;
  bool (*reach)(void *ctx, weft_ms now, size_t from, size_t to);
  bool (*carry)(void *ctx, weft_ms now, size_t from, size_t to, size_t len, weft_ms *delay);
  void (*tune)(void *ctx, size_t node, weft_node_options *o);
} sim_policy;

typedef struct sim_options {
  uint64_t seed;
  size_t nodes;              /* up to SIM_NODES_MAX */
  size_t copies;             /* room for copies of nodes beside them */
  bool lmdb;                 /* stores on disk; else in memory */
  bool no_gossip;            /* anti-entropy alone */
  bool plain;                /* the wire is readable: frames are traced and checked */
  bool stand_in;             /* cheap cryptography, with a readable wire */
  const weft_crypto *crypto; /* in place of libsodium's, where it is not the stand-in; NULL: none */
  bool unchecked;            /* the wire is not read: for large networks */
  bool tapes;                /* what diallers send is kept, for sim_replay */
  bool mirror;               /* logs go on over restarts; else each start begins new ones */
  weft_ms delay_min;         /* one way */
  weft_ms delay_max;
  uint64_t bandwidth;       /* bytes a second each way; 0 any */
  unsigned cut_permille;    /* of segments that end their connection */
  unsigned refuse_permille; /* of dials */
  /* Of segments that somebody on the way changes, doubles, or lets arrive behind the next one. */
  unsigned corrupt_permille, duplicate_permille, reorder_permille;
  weft_ms hold_max;        /* a HOLD takes up to this long */
  size_t show_max;         /* changes shown at once; 0 a default batch */
  bool scattered;          /* node i knows the members up to itself, node 0 all of them */
  weft_ms anti_entropy_ms; /* 0 the node's default */
  sim_policy policy;
} sim_options;

enum { SIM_NODES_MAX = 1024 };

/* What has to hold, always. */
#define SIM_INVARIANTS(X)                                                                          \
  X(I1, "convergence") /* the same changes make the same state, byte for byte */                   \
  X(I2, "conflicts")   /* the sides are those who had not seen each other; the value is one */     \
  X(I3, "durability")  /* what was acknowledged, sent or held stays, whatever crashes */           \
  X(I4, "one change")  /* no honest device signs two changes for one place in its log */           \
  X(I5, "causality")   /* shown after what it replaces; nothing is taken back; no gaps */          \
  X(I6, "views")       /* counts, lists and finders say what the logs say */                       \
  X(I7, "bounds")      /* memory under its cap, all of it given back; every event ends */          \
  X(I8, "liveness")    /* healed networks converge in time; dead connections are given up */       \
  X(I9, "isolation")   /* a bad peer, or somebody on the way, affects nobody else */               \
  X(I10, "integrity")  /* a store proves itself against its signatures */

typedef enum sim_invariant {
#define SIM_ENUM(id, text) SIM_##id,
  SIM_INVARIANTS(SIM_ENUM)
#undef SIM_ENUM
      SIM_INVARIANT_COUNT
} sim_invariant;

/* What happened so far. */
typedef struct sim_counts {
  uint64_t events;
  uint64_t bytes, segments, connections; /* that crossed the network */
  uint64_t frames, changes;              /* that were sent; only where the wire is read */
  uint64_t taken, known;                 /* changes that came in and were new, or not */
  uint64_t cuts, refusals, corrupted, duplicated, reordered;
  uint64_t checks[SIM_INVARIANT_COUNT]; /* made of each */
  weft_ms slowest_ms; /* the longest way of a segment, but for streams that stood still */
} sim_counts;

typedef struct sim sim;

sim *sim_new(const sim_options *o);
void sim_free(sim *s);

/* Gives node `from` the address of node `to`. */
void sim_address(sim *s, size_t from, size_t to);
void sim_mesh(sim *s);
/* Cuts the way between two nodes, or opens it. */
void sim_reach(sim *s, size_t a, size_t b, bool open);
/* Nothing that `from` sends arrives at `to` before `until`; then all of it does. */
void sim_stall(sim *s, size_t from, size_t to, weft_ms until);
/* A node reads no more than so many bytes a second; 0: as the network is. */
void sim_slow(sim *s, size_t idx, uint64_t bandwidth);
/* The wall clock of a node stands at `wall` now and runs at `permille` of true speed. */
void sim_clock(sim *s, size_t idx, weft_ms wall, unsigned permille);
weft_ms sim_wall(const sim *s, size_t idx);
/* Connections cut and dials refused, in thousandths, from now on. */
void sim_rates(sim *s, unsigned cut_permille, unsigned refuse_permille);
/* Nobody lays hands on segments from now on. */
void sim_unmangled(sim *s);
/* Keeps a copy of the store of a node that is down, or puts the copy in the store's place; memory
 * stores only.  False: there is no copy. */
void sim_backup(sim *s, size_t idx);
bool sim_restore(sim *s, size_t idx);
void sim_start(sim *s, size_t idx);
void sim_start_all(sim *s);
/* Ends a node without a word; its store stays as the last commit left it. */
void sim_crash(sim *s, size_t idx);
/* The same, but its peers are not told: their ends of its connections stay open. */
void sim_vanish(sim *s, size_t idx);
/* Adds a node that is a perfect copy of another: device, store and mirror.  It is down and knows
 * the addresses that the other was given.  Memory stores only.  Gives its number; sim_copies_left
 * says whether there is room. */
size_t sim_copy(sim *s, size_t idx);
size_t sim_copies_left(const sim *s);
/* Nodes with copies; the device of one. */
size_t sim_count(const sim *s);
size_t sim_device(const sim *s, size_t idx);
/* The node speaks from `answers`, whose functions may ask the true ones: sim_source.  For the lies
 * of members.  Before it starts. */
void sim_lie(sim *s, size_t idx, const weft_source *answers);
bool sim_lies(const sim *s, size_t idx);
weft_source sim_source(sim *s, size_t idx);
/* Sends a node again what some dialler said before.  False: there is nothing to repeat. */
bool sim_replay(sim *s, size_t node, test_rng *rng);
/* Ends a node as its owner would, with a word. */
void sim_stop(sim *s, size_t idx);
bool sim_is_up(const sim *s, size_t idx);
/* Connections that are open now. */
size_t sim_open(const sim *s);

weft_ms sim_now(const sim *s);
void sim_run(sim *s, weft_ms until);
/* Runs until all nodes that are up hold and show the same and say so, or until `limit`: fails then.
 * Gives the time. */
weft_ms sim_settle(sim *s, weft_ms limit);
bool sim_same(sim *s);
/* Runs one event that is due by `until`; false when there is none. */
bool sim_step(sim *s, weft_ms until);

/* Calls `fn` whenever a node may show something new by what came in. */
void sim_watch(sim *s, void (*fn)(void *ctx, size_t node), void *ctx);

/* One edit, durable at once and told to the node. */
weft_err sim_set(sim *s, size_t idx, const char *doc, const char *pointer, const char *json);
weft_replica *sim_replica(sim *s, size_t idx);
weft_node *sim_node(sim *s, size_t idx);
test_fault_store *sim_faults(sim *s, size_t idx);
/* Its replica held something that no node brought: it is shown before long. */
void sim_held(sim *s, size_t idx);
/* Tells the node that its replica changed. */
void sim_changed(sim *s, size_t idx);

/* True when a link between the two was ever up. */
bool sim_met(const sim *s, size_t a, size_t b);
uint64_t sim_hash(const sim *s);
const sim_counts *sim_so_far(const sim *s);
/* Something that has to hold is being looked at. */
void sim_check(sim *s, sim_invariant which);
/* Its name in the trace. */
const char *sim_name(const sim *s, size_t idx);
/* The most bytes a node has held of its own at once. */
size_t sim_memory_most(const sim *s, size_t idx);
/* Adds a line to the trace, and so to the hash. */
void sim_say(sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The trace so far, one line a frame (plain) or notice; the last part when it is long. */
const char *sim_trace(const sim *s);
void sim_trace_clear(sim *s);
test_rng *sim_rng(sim *s);
test_space *sim_space(sim *s);

/* Who holds and shows how much of what, on standard error. */
void sim_explain(const sim *s);
/* Prints a message with the seed, and aborts. */
void sim_fail(const sim *s, const char *format, ...)
    __attribute__((noreturn, format(printf, 2, 3)));

#endif

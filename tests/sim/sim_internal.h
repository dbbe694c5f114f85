/* Inside the simulator: what its files share.  sim.c has the nodes and the clockwork, sim_wire.c
 * the network, sim_tap.c what is read off the wire. */
#ifndef WEFT_TESTS_SIM_INTERNAL_H
#define WEFT_TESTS_SIM_INTERNAL_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crdt/chunk.h"
#include "tests/sim/sim.h"

enum { sim_nobody = -1 }; /* as a node: somebody outside */

typedef enum event_kind {
  EVENT_TIMER,   /* a node's deadline */
  EVENT_DIALLED, /* the answer to a DIAL */
  EVENT_BYTES,   /* a segment arrives */
  EVENT_CLOSED,  /* the other side closed */
  EVENT_HELD,    /* a HOLD is carried out */
  EVENT_SHOW,
  EVENT_DEAD /* by now the connection must have been given up */
} event_kind;

typedef struct event {
  weft_ms at;
  uint64_t order; /* ties: in the order made */
  event_kind kind;
  size_t node;
  uint64_t life; /* of the node; an event of an earlier life is void */
  uint64_t wire;
  unsigned side;
  weft_node_action *hold; /* HELD: owned */
  uint8_t *bytes;         /* BYTES: owned */
  size_t len;
  bool cuts; /* BYTES: the policy ends the connection with them */
} event;

/* One connection.  Side 0 dialled. */
typedef struct wire {
  bool open;
  int node[2]; /* or sim_nobody */
  uint64_t life[2];
  uint64_t conn[2]; /* numbers the nodes gave */
  bool closed[2];   /* this side is gone */
  bool silent[2];   /* this side is gone and nobody was told */
  weft_ms delay;
  weft_ms free_at[2]; /* the way out of this side is free again */
  weft_ms last_at[2]; /* the last arrival at the other side */
  size_t flying[2];   /* bytes sent by this side and not arrived */
  uint8_t *late[2];   /* a segment that arrives behind the next one */
  size_t late_len[2];
  uint8_t *tape; /* what the dialler sent so far */
  size_t tape_len;
  uint8_t *tap[2]; /* plain: what this side sent and was not parsed */
  size_t tap_len[2];
  unsigned parsed[2]; /* Noise messages seen */
  uint8_t *body[2];   /* of a bulk frame that is not whole */
  size_t body_len[2];
} wire;

/* An allocator that counts bytes. */
typedef struct memory {
  size_t now, most;
} memory;

typedef struct peer {
  sim *s;
  size_t idx, device; /* a copy has the device of another */
  char name[28];
  bool up;
  uint64_t life;
  weft_store *inner;
  test_fault_store faults;
  weft_replica *replica;
  weft_replica_source *source;
  weft_node *node;
  weft_source answers; /* what the node is told, when that is not the source's own */
  bool lies;
  weft_ms timer; /* the earliest timer queued */
  bool showing;
  weft_vector promised; /* every head it ever sent */
  memory used;          /* by the node and its source */
  weft_store *backup;
  test_rng entropy;
  weft_ms clock_at, clock_wall;
  unsigned clock_permille;
  uint64_t bandwidth; /* of reading; 0 as the network */
  size_t *address;    /* whom it was given */
  size_t address_count;
  uint64_t *wires; /* by connection number: wire + 1 */
  size_t wire_cap;
} peer;

/* A run on its way: where it begins, and its last change. */
typedef struct carried_run {
  uint64_t first;
  size_t count;
  weft_head last;
} carried_run;

struct sim {
  sim_options o;
  test_rng rng;      /* for whoever uses the simulator */
  test_rng network;  /* delays, cuts, refusals */
  test_rng mangling; /* what happens to bytes on their way */
  test_rng disk;     /* how long things take */
  test_rng restarts; /* what nodes are seeded with */
  test_space space;
  weft_crypto crypto; /* of the wire */
  weft_alloc mem;
  weft_chunk_codec *codec; /* of whoever reads along */
  weft_arena reading;      /* what is read of one frame */
  weft_arena carried;      /* the frame of changes that was read last, and what is in it */
  weft_bytes carried_body;
  carried_run *carried_runs;
  size_t carried_count;
  weft_node_epoch epoch;
  test_temp temp;
  size_t count, room; /* nodes: so many now; at most, with copies */
  peer *peers;
  bool *parted, *met; /* by pair */
  weft_ms *stall;     /* from, to */
  weft_ms now;
  event *events; /* places; those that wait are in the heap */
  uint32_t *heap, *spare;
  size_t event_count, event_cap, spare_count;
  uint64_t order;
  wire **wires;
  size_t wire_count, wire_cap;
  sim_counts counts;
  uint64_t hash;
  void (*watch)(void *ctx, size_t node);
  void *watch_ctx;
  size_t set_back; /* stores that an older copy took the place of */
  size_t differs;  /* the node that was found to differ last */
  char *trace;
  size_t trace_len;
};

/* Room for `at`, or the run ends. */
void *sim__must(const sim *s, void *at);
void sim__trace(sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same of words that stand as they are: most lines of all, so they are cheap. */
void sim__trace_words(sim *s, const char *const *words, size_t count);
void sim__hash(sim *s, const void *at, size_t len);
void sim__event_add(sim *s, const event *e);
/* Carries out what a node wants done, and arms its timer. */
void sim__pump(sim *s, size_t node);

static inline size_t sim__pair(const sim *s, size_t a, size_t b) { return a * s->room + b; }

/* --- the network --- */

void sim__address_text(size_t node, char out[32]);
void sim__dial(sim *s, size_t node, const weft_node_action *a);
void sim__send(sim *s, size_t node, const weft_node_action *a);
void sim__close(sim *s, size_t node, const weft_node_action *a);
void sim__on_dialled(sim *s, const event *e);
void sim__on_bytes(sim *s, event *e);
void sim__on_closed(sim *s, const event *e);
void sim__on_dead(sim *s, const event *e);
void sim__wire_cut(sim *s, wire *w);
void sim__wire_free(wire *w);
/* Ends the connections of a node that has ended: told to the other side, or not. */
void sim__wires_end(sim *s, size_t node, bool told);

/* --- the tap --- */

/* Takes the bytes one side sends apart, where they can be read, and checks them. */
void sim__tap(sim *s, wire *w, unsigned side, weft_bytes bytes);
/* Sealing that leaves the text readable. */
void sim__plain_crypto(weft_crypto *c);

#endif

/* A described world: so many nodes, joined like this, writing so much, meeting these faults.
 *
 * A scenario is a text file, one setting a line, `#` begins a comment; scenarios/ has examples and
 * docs/testing.md the list.  A run measures what a person wants to know of a network: how long
 * changes take to be shown elsewhere, how long until all agree, and what crosses the network. */
#ifndef WEFT_TESTS_SIM_SCENARIO_H
#define WEFT_TESTS_SIM_SCENARIO_H

#include <stdio.h>

#include "tests/sim/sim.h"

enum { SCENARIO_ACTIONS_MAX = 64, SCENARIO_SAMPLES_MAX = 960, SCENARIO_ROWS_MAX = 96 };

typedef enum scenario_topology {
  SCENARIO_FULL,
  SCENARIO_CHAIN,
  SCENARIO_RING,
  SCENARIO_STAR,
  SCENARIO_TREE,
  SCENARIO_RANDOM
} scenario_topology;

typedef enum scenario_do {
  SCENARIO_PART,   /* the first `count` nodes cannot reach the others */
  SCENARIO_HEAL,   /* everybody reaches everybody, nothing is cut */
  SCENARIO_CRASH,  /* `count` nodes end and come back after `amount` ms */
  SCENARIO_VANISH, /* the same without telling their peers */
  SCENARIO_CUT,    /* `count` of 1000 segments end their connection */
  SCENARIO_SLOW,   /* `count` nodes read `amount` bytes a second */
  SCENARIO_START   /* `count` nodes that were not started yet start */
} scenario_do;

typedef struct scenario_action {
  weft_ms at;
  scenario_do what;
  uint64_t count, amount;
} scenario_action;

typedef struct scenario {
  char name[96];
  size_t nodes, started; /* in all; from the beginning */
  uint64_t first, last;  /* seeds */
  scenario_topology topology;
  size_t degree; /* children of a tree; random links of each node, beside a ring or alone */
  weft_ms delay_min, delay_max;
  uint64_t bandwidth;
  size_t writers, writes, docs;
  weft_ms every; /* between two writes */
  bool checked;  /* the wire is read and checked */
  bool real;     /* real cryptography */
  bool no_gossip;
  weft_ms limit; /* from the last write to agreement */
  scenario_action actions[SCENARIO_ACTIONS_MAX];
  size_t action_count;
} scenario;

/* Reads a file.  False: `why` tells the line and what is wrong with it. */
bool scenario_read(const char *path, scenario *out, char why[160]);

/* The state at one time. */
typedef struct scenario_sample {
  weft_ms at;
  uint64_t written, least, most, sum; /* changes; shown by one node, by all together */
  uint64_t bytes;
  size_t up, complete;             /* nodes; those that show all */
  uint16_t lag[SCENARIO_ROWS_MAX]; /* changes not shown, the most of each row of nodes */
} scenario_sample;

/* Times in ms: half of them are not more than p50, and so on. */
typedef struct scenario_times {
  weft_ms p50, p90, p99, most;
  uint64_t count;
} scenario_times;

typedef struct scenario_result {
  uint64_t seed, hash;
  weft_ms last_write, agreed; /* virtual times */
  sim_counts counts;
  scenario_times shown;      /* from a commit until another node shows it */
  scenario_times everywhere; /* until all do that are up */
  size_t links;              /* open at the end */
  size_t memory_most;        /* of one node's protocol core */
  scenario_sample *samples;  /* freed by scenario_free */
  size_t sample_count, rows;
} scenario_result;

/* Runs one seed.  What goes wrong ends the process, as everywhere in the simulator. */
void scenario_run(const scenario *c, uint64_t seed, scenario_result *out);
void scenario_free(scenario_result *r);

void scenario_text(const scenario *c, const scenario_result *r, FILE *to);
void scenario_json(const scenario *c, const scenario_result *r, FILE *to);
/* Draws a run as one SVG that needs nothing else. */
void scenario_plot(const scenario *c, const scenario_result *r, FILE *to);

#endif

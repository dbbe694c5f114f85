/* What happened in a simulated space, written down beside it: who signed what, who had seen what.
 *
 * Shares no code with the replica's own bookkeeping: logs are numbered in the order in which they
 * are met, vectors are arrays of numbers, and a change's past is a set of bits.  Whatever breaks
 * ends the run through sim_fail.
 *
 * Checked with each look at a node: nothing held or shown is ever taken back (but by setting a
 * store back); (log, seq) has one id for ever and everywhere; what is shown is held, and so is
 * everything it replaces; equal shown vectors have equal digests.  At the end: every acknowledged
 * change is shown everywhere; the conflicts of each field are those that follow from who had seen
 * what; all nodes export the same bytes. */
#ifndef WEFT_TESTS_SIM_LEDGER_H
#define WEFT_TESTS_SIM_LEDGER_H

#include "tests/sim/sim.h"

enum { LEDGER_DOCS = 3, LEDGER_FIELDS = 6, LEDGER_WRITES_MAX = 3, LEDGER_NODES_MAX = 16 };

/* One write to a field that the ledger follows: field `field` of document `doc`. */
typedef struct ledger_write {
  unsigned doc, field;
  bool unset;
  unsigned value;
} ledger_write;

/* A change as its author made it. */
typedef struct ledger_change {
  ledger_write writes[LEDGER_WRITES_MAX]; /* none: a change elsewhere */
  size_t count;
} ledger_change;

typedef struct ledger ledger;

ledger *ledger_new(sim *s, size_t nodes);
void ledger_free(ledger *l);

/* Before a commit: notes what the author has seen. */
void ledger_before(ledger *l, size_t node);
/* After it: acknowledged. */
void ledger_committed(ledger *l, size_t node, const ledger_change *c, const weft_commit *done);
/* After one that failed in a way that may have written it: settled when the node has started
 * again. */
void ledger_doubtful(ledger *l, size_t node, const ledger_change *c);
/* A node has started: true when a doubtful change of its has turned out to be written. */
bool ledger_started(ledger *l, size_t node);
/* A node's store was set back: what nobody else holds of its changes may be gone. */
void ledger_set_back(ledger *l, size_t node);

/* A node was copied, and both may sign from now on; a node may sign anything, and is not looked
 * at. */
void ledger_copied(ledger *l, size_t from, size_t to);
void ledger_lies(ledger *l, size_t node);
/* A log was met in several branches. */
bool ledger_forked(const ledger *l);

void ledger_look(ledger *l, size_t node);
/* Do all that do not lie show the same, and every acknowledged change? */
bool ledger_agrees(ledger *l);
/* After convergence. */
void ledger_end(ledger *l);

/* At the end: every acknowledged change that a node shows was told there. */
struct witness;
void ledger_heard(ledger *l, const struct witness *w);

/* Changes that met one they had not seen at a field; conflicts at the end; changes
 * lost by setting back. */
uint64_t ledger_conflicts(const ledger *l);
uint64_t ledger_conflicts_left(const ledger *l);
uint64_t ledger_lost(const ledger *l);
/* Two nodes have shown the same at different times or places; something waited to be shown. */
bool ledger_met_again(const ledger *l);
bool ledger_waited(const ledger *l);

/* The names of a document and a field. */
void ledger_names(const ledger_write *w, char doc[16], char pointer[8]);

#endif

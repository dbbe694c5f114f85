#include "tests/sim/witness.h"

#include <stdlib.h>
#include <string.h>

#include "store/events.h"

enum { queue = 4 }; /* so small that a node's bursts overflow it */

/* What one node has told. */
typedef struct listener {
  weft_events *bus;
  uint64_t id;    /* of the subscription */
  uint64_t heard; /* the newest number */
  weft_id *told;  /* changes: a table of `cap`, a power of two; zeros are free */
  size_t count, cap;
} listener;

struct witness {
  sim *s;
  weft_alloc mem;
  listener of[LEDGER_NODES_MAX];
  uint64_t events;
};

static void must(const witness *w, size_t node, weft_err err, const char *what) {
  if (err != WEFT_OK) {
    sim_fail(w->s, "I6: %s, %s: %s", sim_name(w->s, node), what, weft_err_name(err));
  }
}

/* The place of an id in a table: its own, or a free one. */
static weft_id *place_of(weft_id *table, size_t cap, const weft_id *id) {
  static const weft_id none;
  size_t at = ((size_t)id->b[0] << 16 | (size_t)id->b[1] << 8 | id->b[2]) & (cap - 1);
  while (memcmp(&table[at], &none, sizeof none) != 0 && memcmp(&table[at], id, sizeof *id) != 0) {
    at = (at + 1) & (cap - 1);
  }
  return &table[at];
}

/* False: it was there. */
static bool told_add(listener *l, const weft_id *id) {
  if (2 * (l->count + 1) > l->cap) {
    size_t cap = l->cap ? 2 * l->cap : 256;
    weft_id *wide = calloc(cap, sizeof *wide);
    if (!wide) abort();
    for (size_t i = 0; i < l->cap; i++) {
      static const weft_id none;
      if (memcmp(&l->told[i], &none, sizeof none) == 0) continue;
      *place_of(wide, cap, &l->told[i]) = l->told[i];
    }
    free(l->told);
    l->told = wide;
    l->cap = cap;
  }
  weft_id *place = place_of(l->told, l->cap, id);
  if (memcmp(place, id, sizeof *id) == 0) return false;
  *place = *id;
  l->count++;
  return true;
}

static void forget(listener *l) {
  free(l->told);
  l->told = NULL;
  l->count = l->cap = 0;
  l->heard = 0;
}

static void subscribe(witness *w, size_t node) {
  listener *l = &w->of[node];
  weft_subscription_options o;
  weft_subscription_options_init(&o);
  o.queue_max = queue;
  o.has_since = true;
  o.since = l->heard;
  must(w, node, weft_events_new(&l->bus, sim_replica(w->s, node), &w->mem), "a bus");
  must(w, node, weft_events_subscribe(l->bus, &o, &l->id), "a subscription");
}

static void take(witness *w, size_t node, const weft_event *e) {
  listener *l = &w->of[node];
  sim_check(w->s, SIM_I6);
  if (e->seq != l->heard + 1) {
    sim_fail(w->s, "I6: %s tells event %llu after %llu", sim_name(w->s, node),
             (unsigned long long)e->seq, (unsigned long long)l->heard);
  }
  l->heard = e->seq;
  w->events++;
  bool change = e->type >= WEFT_EVENT_CHANGE_COMMITTED && e->type <= WEFT_EVENT_CHANGE_UNKNOWN;
  if (change && !told_add(l, &e->change)) {
    sim_fail(w->s, "I6: %s tells a change twice, as event %llu", sim_name(w->s, node),
             (unsigned long long)e->seq);
  }
}

void witness_look(witness *w, size_t node) {
  listener *l = &w->of[node];
  if (!sim_is_up(w->s, node) || sim_lies(w->s, node)) return;
  if (sim_faults(w->s, node)->hits > 0) return;
  uint64_t newest = weft_replica_events_newest(sim_replica(w->s, node));
  if (newest == l->heard && l->bus) return;
  sim_faults(w->s, node)->paused = true;
  if (!l->bus) subscribe(w, node);
  uint64_t before;
  do {
    weft_delivery d;
    before = l->heard;
    must(w, node, weft_events_pump(l->bus, sim_now(w->s)), "its events");
    while (weft_events_next(l->bus, sim_now(w->s), &d)) take(w, node, d.event);
  } while (l->heard > before && l->heard < newest);
  sim_faults(w->s, node)->paused = false;
  if (l->heard < newest) {
    sim_fail(w->s, "I6: %s tells no more than event %llu of %llu", sim_name(w->s, node),
             (unsigned long long)l->heard, (unsigned long long)newest);
  }
}

void witness_ends(witness *w, size_t node) {
  weft_events_free(w->of[node].bus);
  w->of[node].bus = NULL;
}

void witness_set_back(witness *w, size_t node) { forget(&w->of[node]); }

bool witness_told(const witness *w, size_t node, const weft_id *change) {
  const listener *l = &w->of[node];
  return l->cap > 0 && memcmp(place_of(l->told, l->cap, change), change, sizeof *change) == 0;
}

uint64_t witness_events(const witness *w) { return w->events; }

witness *witness_new(sim *s) {
  witness *w = calloc(1, sizeof *w);
  if (!w) abort();
  w->s = s;
  w->mem = weft_alloc_libc();
  return w;
}

void witness_free(witness *w) {
  if (!w) return;
  for (size_t i = 0; i < LEDGER_NODES_MAX; i++) {
    witness_ends(w, i);
    forget(&w->of[i]);
  }
  free(w);
}

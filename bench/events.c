/* events: how many events a second reach subscriptions, what a subscription takes of memory, and
 * what a commit costs that somebody listens to.
 *
 * One device updates fields, a thousand changes in a transaction; each gives two events.  After the
 * transaction the bus is pumped and everything due is taken, with 1, 100 and 10,000 subscriptions
 * to all of it, and with 10,000 of which each wants a collection of its own, so that one gets it.
 * Commits are not in the time, reading the log is.  A subscription that gathers and coalesces by
 * document takes the same stream.  Memory is counted where the bus asks for it. */
#include "bench/fleet.h"
#include "store/events.h"

#include <stdlib.h>
#include <string.h>

enum {
  TEMPLATES = 1000,
  GROUP = 1000,
  GROUPS = 20,
  GROUPS_QUICK = 3,
  MANY = 10000,
  MANY_GROUP = 10, /* changes in a transaction when each event goes to so many */
  PAGE = 512,
  HEAD = 16 /* before a piece: its length, and as it should be aligned */
};

typedef struct events_run {
  bench *b;
  fleet fleet;
  fleet_replica r;
  w1_updates updates;
  weft_events *bus;
  size_t live; /* bytes the bus has */
} events_run;

/* --- counted memory --- */

static void *counted_alloc(void *ctx, size_t len) {
  events_run *e = ctx;
  uint8_t *at = malloc(len + HEAD);
  if (!at) return NULL;
  memcpy(at, &len, sizeof len);
  e->live += len;
  return at + HEAD;
}

static void counted_free(void *ctx, void *at) {
  events_run *e = ctx;
  size_t len;
  if (!at) return;
  uint8_t *from = (uint8_t *)at - HEAD;
  memcpy(&len, from, sizeof len);
  e->live -= len;
  free(from);
}

static void *counted_grow(void *ctx, void *at, size_t len) {
  events_run *e = ctx;
  size_t was;
  if (!at) return counted_alloc(ctx, len);
  memcpy(&was, (uint8_t *)at - HEAD, sizeof was);
  uint8_t *grown = realloc((uint8_t *)at - HEAD, len + HEAD);
  if (!grown) return NULL;
  memcpy(grown, &len, sizeof len);
  e->live += len - was;
  return grown + HEAD;
}

/* --- writing and taking --- */

static weft_err write_group(events_run *e, uint32_t count) {
  weft_replica *r = e->r.replica;
  WEFT_TRY(bench_fail(e->b, weft_group_begin(r), "beginning a group"));
  for (uint32_t i = 0; i < count; i++) {
    e->fleet.clock_us += w1_step_us(e->updates.next);
    weft_err err = fleet_update(&e->fleet, r, w1_updates_next(&e->updates));
    if (err != WEFT_OK) weft_group_abort(r);
    WEFT_TRY(err);
  }
  return bench_fail(e->b, weft_group_end(r), "ending a group");
}

/* Takes everything; gives how many deliveries there were. */
static weft_err take_all(events_run *e, uint64_t *count) {
  weft_delivery d;
  uint64_t before;
  do {
    before = *count;
    WEFT_TRY(bench_fail(e->b, weft_events_pump(e->bus, 0), "pumping the bus"));
    while (weft_events_next(e->bus, 1000, &d)) ++*count;
  } while (*count > before);
  return WEFT_OK;
}

static weft_err subscribe(events_run *e, const weft_subscription_options *o, uint32_t count,
                          bool apart) {
  char name[16];
  uint64_t id;
  for (uint32_t i = 0; i < count; i++) {
    weft_subscription_options one = *o;
    snprintf(name, sizeof name, "c%u", (unsigned)i);
    if (apart && i > 0) one.collection = weft_bytes_str(name);
    WEFT_TRY(bench_fail(e->b, weft_events_subscribe(e->bus, &one, &id), "subscribing"));
  }
  return WEFT_OK;
}

static weft_err bus_new(events_run *e) {
  weft_alloc counted = {e, counted_alloc, counted_grow, counted_free};
  weft_events_free(e->bus);
  e->bus = NULL;
  e->live = 0;
  return bench_fail(e->b, weft_events_new(&e->bus, e->r.replica, &counted), "making a bus");
}

/* --- figures --- */

typedef struct kind {
  const char *variant;
  uint32_t subscriptions;
  uint32_t group;
  bool apart;    /* each wants another collection: the first gets all */
  bool gathered; /* and by document */
} kind;

static const kind kinds[] = {{"one", 1, GROUP, false, false},
                             {"hundred", 100, GROUP / 10, false, false},
                             {"many", MANY, MANY_GROUP, false, false},
                             {"many-apart", MANY, GROUP, true, false},
                             {"gathered", 1, GROUP, false, true}};

static weft_err measure_kind(events_run *e, const kind *k) {
  bench_name rate = {"events", k->variant, "rate", "deliveries/s", BENCH_RATE};
  weft_subscription_options o;
  uint64_t count = 0, from = weft_replica_events_newest(e->r.replica);
  double seconds = 0;
  weft_subscription_options_init(&o);
  o.queue_max = WEFT_EVENTS_QUEUE_MAX;
  if (k->gathered) {
    rate.metric = "events";
    rate.unit = "events/s";
    o.latency_max_ms = 100;
    o.coalesce = WEFT_COALESCE_DOC;
  }
  WEFT_TRY(bus_new(e));
  WEFT_TRY(subscribe(e, &o, k->subscriptions, k->apart));
  if (k->subscriptions == MANY && !k->apart) {
    bench_name memory = {"events", k->variant, "memory", "bytes", BENCH_COST};
    bench_sample(e->b, memory, (double)e->live / k->subscriptions);
  }
  for (unsigned i = 0; i < (e->b->quick ? GROUPS_QUICK : GROUPS); i++) {
    WEFT_TRY(bench_progress(e->b, k->variant));
    WEFT_TRY(write_group(e, k->group));
    double start = bench_now();
    WEFT_TRY(take_all(e, &count));
    seconds += bench_now() - start;
  }
  uint64_t events = weft_replica_events_newest(e->r.replica) - from;
  bench_sample(e->b, rate, (double)(k->gathered ? events : count) / seconds);
  return WEFT_OK;
}

/* The history read again, and a commit with and without a bus that is pumped. */
static weft_err measure_history(events_run *e) {
  bench_name rate = {"events", "history", "rate", "events/s", BENCH_RATE};
  weft_arena arena;
  uint64_t first, last;
  weft_err err = weft_replica_events_span(e->r.replica, &first, &last);
  uint64_t since = first - 1;
  size_t count = 1;
  weft__arena_init(&arena, &e->b->mem);
  double start = bench_now();
  while (err == WEFT_OK && count > 0) {
    weft_event *events;
    weft__arena_reset(&arena);
    err = weft_replica_events(e->r.replica, &arena, since, PAGE, &events, &count);
    since += count;
  }
  bench_sample(e->b, rate, (double)(since + 1 - first) / (bench_now() - start));
  weft__arena_free(&arena);
  return bench_fail(e->b, err, "reading events");
}

/* A pump that finds nobody. */
static weft_err measure_nobody(events_run *e) {
  bench_name cost = {"events", "nobody", "pump", "ns", BENCH_COST};
  enum { times = 1000000 };
  WEFT_TRY(bus_new(e));
  double start = bench_now();
  for (unsigned i = 0; i < times; i++) {
    WEFT_TRY(bench_fail(e->b, weft_events_pump(e->bus, 0), "pumping the bus"));
  }
  bench_sample(e->b, cost, (bench_now() - start) / times * 1e9);
  return WEFT_OK;
}

static weft_err measure(events_run *e) {
  WEFT_TRY(fleet_make(&e->fleet, e->b));
  WEFT_TRY(fleet_open(&e->fleet, 0, "events", &e->r));
  WEFT_TRY(w1_updates_init(&e->updates, &e->b->mem, TEMPLATES));
  WEFT_TRY(fleet_import(&e->fleet, e->r.replica, TEMPLATES, GROUP));
  e->fleet.clock_us = w1_updates_us(TEMPLATES);
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) WEFT_TRY(measure_kind(e, &kinds[i]));
  WEFT_TRY(measure_history(e));
  return measure_nobody(e);
}

weft_err bench_events(bench *b) {
  weft_err err = WEFT_OK;
  for (b->run = 0; b->run < b->runs && err == WEFT_OK; b->run++) {
    events_run *e = calloc(1, sizeof *e);
    if (!e) return WEFT_ENOMEM;
    e->b = b;
    e->updates.mem = b->mem;
    err = measure(e);
    w1_updates_free(&e->updates);
    weft_events_free(e->bus);
    fleet_close(&e->r);
    free(e);
  }
  return err;
}

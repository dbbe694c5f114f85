#include "tests/sim/scenario.h"

#include <stdlib.h>
#include <string.h>

enum { second = 1000, minute = 60 * second, sample_first = 25, logs_slots = 1 << 13 };
enum { some_writers = 5 }; /* when not given */

/* --- reading --- */

typedef struct reader {
  scenario *c;
  char *why;
  unsigned line;
  char words[8][96];
  size_t count;
} reader;

static bool wrong(reader *r, const char *what) {
  snprintf(r->why, 160, "line %u: %s", r->line, what);
  return false;
}

/* A number with k or M behind it, or a time in ms, s or min. */
static bool amount(const char *text, uint64_t *out) {
  static const struct {
    const char *unit;
    uint64_t times;
  } units[] = {{"", 1}, {"k", 1000}, {"M", 1000000}, {"ms", 1}, {"s", second}, {"min", minute}};
  char *end;
  if (*text < '0' || *text > '9') return false;
  uint64_t n = strtoull(text, &end, 10);
  for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
    if (strcmp(end, units[i].unit) != 0 || n > UINT32_MAX) continue;
    *out = n * units[i].times;
    return true;
  }
  return false;
}

/* A..B, or A alone. */
static bool range(const char *text, uint64_t *low, uint64_t *high) {
  char first[96];
  const char *dots = strstr(text, "..");
  size_t len = dots ? (size_t)(dots - text) : strlen(text);
  if (len >= sizeof first) return false;
  memcpy(first, text, len);
  first[len] = 0;
  return amount(first, low) && amount(dots ? dots + 2 : text, high) && *low <= *high;
}

static bool read_topology(reader *r) {
  static const char *const names[] = {"full", "chain", "ring", "star", "tree", "random"};
  uint64_t degree = 0;
  char *plus = strchr(r->words[1], '+');
  if (plus) *plus = 0;
  const char *tail = plus ? plus + 1 : r->count > 2 ? r->words[2] : "0";
  if (!amount(tail, &degree) || degree > 64) return wrong(r, "a number of links, please");
  r->c->degree = (size_t)degree;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (strcmp(r->words[1], names[i]) != 0) continue;
    r->c->topology = (scenario_topology)i;
    bool wants = r->c->topology == SCENARIO_TREE || r->c->topology == SCENARIO_RANDOM;
    return !wants || degree > 0 || wrong(r, "how many links?");
  }
  return wrong(r, "a topology is full, chain, ring, ring+N, star, tree N or random N");
}

static bool read_action(reader *r) {
  static const struct {
    const char *name;
    scenario_do what;
    size_t words;
  } kinds[] = {{"part", SCENARIO_PART, 4},   {"heal", SCENARIO_HEAL, 3},
               {"crash", SCENARIO_CRASH, 5}, {"vanish", SCENARIO_VANISH, 5},
               {"cut", SCENARIO_CUT, 4},     {"slow", SCENARIO_SLOW, 5},
               {"start", SCENARIO_START, 4}};
  scenario_action a = {0};
  if (r->c->action_count == SCENARIO_ACTIONS_MAX) return wrong(r, "too many faults");
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (r->count < 3 || strcmp(r->words[2], kinds[i].name) != 0) continue;
    a.what = kinds[i].what;
    bool ok = r->count == kinds[i].words && amount(r->words[1], &a.at);
    ok = ok && (r->count < 4 || amount(r->words[3], &a.count));
    ok = ok && (r->count < 5 || amount(r->words[4], &a.amount));
    size_t before = r->c->action_count;
    ok = ok && (before == 0 || r->c->actions[before - 1].at <= a.at);
    if (!ok) return wrong(r, "faults are `at TIME what NUMBER [AMOUNT]`, in the order of time");
    r->c->actions[r->c->action_count++] = a;
    return true;
  }
  return wrong(r, "a fault is part, heal, crash, vanish, cut, slow or start");
}

static bool read_flag(reader *r, bool *out, bool when) {
  if (strcmp(r->words[1], "yes") == 0)
    *out = when;
  else if (strcmp(r->words[1], "no") == 0)
    *out = !when;
  else
    return wrong(r, "yes or no?");
  return true;
}

static bool read_number(reader *r, uint64_t low, uint64_t high, uint64_t *out) {
  if (!amount(r->words[1], out) || *out < low || *out > high) return wrong(r, "out of range");
  return true;
}

static bool read_size(reader *r, uint64_t low, uint64_t high, size_t *out) {
  uint64_t n = 0;
  if (!read_number(r, low, high, &n)) return false;
  *out = (size_t)n;
  return true;
}

static bool read_setting(reader *r) {
  scenario *c = r->c;
  const char *key = r->words[0];
  if (strcmp(key, "at") == 0) return read_action(r);
  if (r->count < 2) return wrong(r, "a setting wants a value");
  if (strcmp(key, "topology") == 0) return read_topology(r);
  if (r->count > 2) return wrong(r, "one value, please");
  if (strcmp(key, "nodes") == 0) return read_size(r, 2, SIM_NODES_MAX, &c->nodes);
  if (strcmp(key, "started") == 0) return read_size(r, 1, SIM_NODES_MAX, &c->started);
  if (strcmp(key, "writers") == 0) return read_size(r, 1, SIM_NODES_MAX, &c->writers);
  if (strcmp(key, "writes") == 0) return read_size(r, 1, 1000000, &c->writes);
  if (strcmp(key, "documents") == 0) return read_size(r, 1, 100000, &c->docs);
  if (strcmp(key, "every") == 0) return read_number(r, 0, 60 * minute, &c->every);
  if (strcmp(key, "limit") == 0) return read_number(r, 1, 24 * 60 * minute, &c->limit);
  if (strcmp(key, "bandwidth") == 0) return read_number(r, 0, UINT32_MAX, &c->bandwidth);
  if (strcmp(key, "checked") == 0) return read_flag(r, &c->checked, true);
  if (strcmp(key, "gossip") == 0) return read_flag(r, &c->no_gossip, false);
  if (strcmp(key, "cryptography") == 0) {
    c->real = strcmp(r->words[1], "real") == 0;
    return c->real || strcmp(r->words[1], "quick") == 0 || wrong(r, "real or quick?");
  }
  if (strcmp(key, "delay") == 0) {
    return range(r->words[1], &c->delay_min, &c->delay_max) || wrong(r, "a range, please");
  }
  if (strcmp(key, "seeds") == 0) {
    return range(r->words[1], &c->first, &c->last) || wrong(r, "a range, please");
  }
  return wrong(r, "no such setting");
}

static void split(reader *r, char *line) {
  r->count = 0;
  for (char *word = strtok(line, " \t\n"); word && r->count < 8; word = strtok(NULL, " \t\n")) {
    snprintf(r->words[r->count++], sizeof r->words[0], "%s", word);
  }
}

bool scenario_read(const char *path, scenario *out, char why[160]) {
  char line[256];
  reader r = {.c = out, .why = why};
  *out = (scenario){.nodes = 5, .first = 1, .last = 1, .delay_min = 5, .delay_max = 50};
  out->writes = 100;
  out->docs = 10;
  out->every = 100;
  out->limit = 10 * minute;
  snprintf(out->name, sizeof out->name, "%s", path);
  FILE *in = fopen(path, "r");
  if (!in) {
    snprintf(why, 160, "cannot be opened");
    return false;
  }
  bool ok = true;
  while (ok && fgets(line, sizeof line, in)) {
    r.line++;
    line[strcspn(line, "#")] = 0;
    if (strncmp(line, "name ", 5) == 0) {
      size_t from = 5 + strspn(line + 5, " ");
      line[strcspn(line, "\n")] = 0;
      snprintf(out->name, sizeof out->name, "%.95s", line + from);
      continue;
    }
    split(&r, line);
    if (r.count > 0) ok = read_setting(&r);
  }
  fclose(in);
  if (ok && out->started == 0) out->started = out->nodes;
  if (out->writers == 0) out->writers = out->started < some_writers ? out->started : some_writers;
  if (ok && (out->started > out->nodes || out->writers > out->started)) {
    ok = wrong(&r, "more writers than nodes at the start, or more of those than nodes");
  }
  return ok;
}

/* --- running --- */

/* One change: when it was made, and how many nodes show it. */
typedef struct written {
  weft_ms at;
  size_t shown_by;
} written;

typedef struct tracked {
  weft_id log;
  written *changes; /* by seq */
  uint64_t top, cap;
} tracked;

typedef struct times {
  uint32_t *at;
  size_t count, cap;
} times;

typedef struct world {
  const scenario *c;
  scenario_result *out;
  sim *s;
  test_rng rng;
  tracked *logs;
  size_t log_count;
  uint32_t slots[logs_slots];
  uint32_t *seqs;  /* by node and log: what it shows */
  uint64_t *shown; /* by node: how many changes */
  weft_ms *back_at;
  uint64_t written_count, bytes_before;
  times each, everywhere;
  weft_ms sample_every, sample_next;
  size_t started, done_actions;
} world;

static void *must(void *at) {
  if (!at) abort();
  return at;
}

static void times_add(times *t, weft_ms ms) {
  if (t->count == t->cap) {
    t->cap = t->cap ? t->cap * 2 : 1024;
    t->at = must(realloc(t->at, t->cap * sizeof *t->at));
  }
  t->at[t->count++] = (uint32_t)ms;
}

static int by_size(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static scenario_times times_end(times *t) {
  scenario_times out = {.count = t->count};
  if (t->count > 0) {
    qsort(t->at, t->count, sizeof *t->at, by_size);
    out.p50 = t->at[(t->count - 1) / 2];
    out.p90 = t->at[(t->count - 1) * 9 / 10];
    out.p99 = t->at[(t->count - 1) * 99 / 100];
    out.most = t->at[t->count - 1];
  }
  free(t->at);
  return out;
}

/* The number of a log; every writer has one, begun anew with each start. */
static size_t log_of(world *w, const weft_id *id) {
  size_t at = ((size_t)id->b[0] << 8 | id->b[1]) & (logs_slots - 1);
  for (; w->slots[at]; at = (at + 1) & (logs_slots - 1)) {
    if (weft_id_cmp(&w->logs[w->slots[at] - 1].log, id) == 0) return w->slots[at] - 1;
  }
  if (w->log_count == SIM_NODES_MAX) sim_fail(w->s, "more logs than a scenario has room for");
  w->logs[w->log_count] = (tracked){.log = *id};
  w->slots[at] = (uint32_t)++w->log_count;
  return w->log_count - 1;
}

static written *change_at(tracked *t, uint64_t seq) {
  if (seq >= t->cap) {
    uint64_t cap = t->cap ? t->cap * 2 : 16;
    while (cap <= seq) cap *= 2;
    t->changes = must(realloc(t->changes, cap * sizeof *t->changes));
    memset(t->changes + t->cap, 0, (cap - t->cap) * sizeof *t->changes);
    t->cap = cap;
  }
  return &t->changes[seq];
}

/* Notes what a node shows now and did not before. */
static void watch(void *ctx, size_t node) {
  world *w = ctx;
  weft_ms now = sim_now(w->s);
  const weft_vector *shown = weft_replica_shown(sim_replica(w->s, node));
  for (size_t i = 0; i < shown->count; i++) {
    size_t log = log_of(w, &shown->heads[i].log);
    tracked *t = &w->logs[log];
    uint32_t *seq = &w->seqs[node * SIM_NODES_MAX + log];
    for (; *seq < shown->heads[i].seq; ++*seq) {
      written *at = change_at(t, *seq + 1);
      w->shown[node]++;
      if (*seq + 1 > t->top) { /* here it was made */
        t->top = *seq + 1;
        at->at = now;
        w->written_count++;
      } else {
        times_add(&w->each, now - at->at);
      }
      if (++at->shown_by == w->c->nodes) times_add(&w->everywhere, now - at->at);
    }
  }
}

static void connect(world *w) {
  const scenario *c = w->c;
  size_t n = c->nodes;
  for (size_t i = 1; i < n; i++) {
    switch (c->topology) {
    case SCENARIO_FULL:
      for (size_t k = 0; k < i; k++) sim_address(w->s, i, k);
      break;
    case SCENARIO_CHAIN:
    case SCENARIO_RING: sim_address(w->s, i, i - 1); break;
    case SCENARIO_STAR: sim_address(w->s, i, 0); break;
    case SCENARIO_TREE: sim_address(w->s, i, (i - 1) / c->degree); break;
    case SCENARIO_RANDOM: sim_address(w->s, i, test_rng_below(&w->rng, i)); break;
    }
  }
  if (c->topology == SCENARIO_RING && n > 2) sim_address(w->s, 0, n - 1);
  bool chords = c->topology == SCENARIO_RING || c->topology == SCENARIO_RANDOM;
  size_t more = c->topology == SCENARIO_RANDOM ? c->degree - 1 : c->degree;
  for (size_t i = 0; chords && i < n; i++) {
    for (size_t k = 0; k < more; k++) {
      size_t to = test_rng_below(&w->rng, n);
      if (to != i) sim_address(w->s, i, to);
    }
  }
}

static void up(world *w, size_t node) {
  if (sim_is_up(w->s, node)) return;
  sim_start(w->s, node);
  w->back_at[node] = WEFT_NEVER;
  watch(w, node);
}

static void part(world *w, size_t count, bool open) {
  for (size_t a = 0; a < w->c->nodes; a++) {
    for (size_t b = 0; b < a; b++) {
      if (open || (a < count) != (b < count)) sim_reach(w->s, a, b, open);
    }
  }
}

/* A node that is up and no writer, if there is one: a writer that is down does not write. */
static size_t any_up(world *w) {
  for (unsigned i = 0; i < 64; i++) {
    size_t node = test_rng_below(&w->rng, w->c->nodes);
    if (sim_is_up(w->s, node)) return node;
  }
  return 0;
}

static void act(world *w, const scenario_action *a) {
  if (a->what == SCENARIO_PART) part(w, (size_t)a->count, false);
  if (a->what == SCENARIO_HEAL) part(w, 0, true);
  if (a->what == SCENARIO_HEAL) sim_rates(w->s, 0, 0);
  if (a->what == SCENARIO_CUT) sim_rates(w->s, (unsigned)a->count, 0);
  for (uint64_t i = 0; i < a->count; i++) {
    size_t node = any_up(w);
    if (a->what == SCENARIO_SLOW) sim_slow(w->s, node, a->amount);
    if (a->what == SCENARIO_CRASH) sim_crash(w->s, node);
    if (a->what == SCENARIO_VANISH) sim_vanish(w->s, node);
    bool ended = a->what == SCENARIO_CRASH || a->what == SCENARIO_VANISH;
    if (ended) w->back_at[node] = sim_now(w->s) + a->amount;
    if (a->what == SCENARIO_START && w->started < w->c->nodes) up(w, w->started++);
  }
}

/* --- samples --- */

static void sample(world *w) {
  scenario_result *r = w->out;
  scenario_sample *x = &r->samples[r->sample_count++];
  *x = (scenario_sample){.at = sim_now(w->s), .written = w->written_count, .least = UINT64_MAX};
  x->bytes = sim_so_far(w->s)->bytes;
  for (size_t i = 0; i < w->c->nodes; i++) {
    uint64_t shown = w->shown[i], lag = w->written_count - shown;
    size_t row = i * r->rows / w->c->nodes;
    x->sum += shown;
    x->up += sim_is_up(w->s, i);
    x->complete += lag == 0;
    if (shown < x->least) x->least = shown;
    if (shown > x->most) x->most = shown;
    if (lag > UINT16_MAX) lag = UINT16_MAX;
    if (lag > x->lag[row]) x->lag[row] = (uint16_t)lag;
  }
  w->sample_next += w->sample_every;
  if (r->sample_count < SCENARIO_SAMPLES_MAX) return;
  for (size_t i = 0; i < r->sample_count / 2; i++) r->samples[i] = r->samples[2 * i + 1];
  r->sample_count /= 2;
  w->sample_every *= 2;
}

/* Runs to a time, and stops on the way for samples, faults and nodes that come back. */
static void run_to(world *w, weft_ms until) {
  const scenario *c = w->c;
  for (;;) {
    weft_ms next = until < w->sample_next ? until : w->sample_next;
    bool acts = w->done_actions < c->action_count && c->actions[w->done_actions].at <= next;
    if (acts) next = c->actions[w->done_actions].at;
    if (next < sim_now(w->s)) next = sim_now(w->s);
    sim_run(w->s, next);
    if (acts) act(w, &c->actions[w->done_actions++]);
    for (size_t i = 0; i < c->nodes; i++) {
      if (w->back_at[i] <= next) up(w, i);
    }
    if (next >= w->sample_next) sample(w);
    if (next >= until && !acts) return;
  }
}

static void write_all(world *w) {
  for (size_t i = 0; i < w->c->writes; i++) {
    char doc[32], value[32];
    size_t node = test_rng_below(&w->rng, w->c->writers);
    snprintf(doc, sizeof doc, "notes/%u", (unsigned)test_rng_below(&w->rng, w->c->docs));
    snprintf(value, sizeof value, "%u", (unsigned)i);
    if (sim_is_up(w->s, node)) {
      weft_err err = sim_set(w->s, node, doc, "/value", value);
      if (err != WEFT_OK) sim_fail(w->s, "a write fails: %s", weft_err_name(err));
      watch(w, node);
      w->out->last_write = sim_now(w->s);
    }
    run_to(w, sim_now(w->s) + w->c->every);
  }
}

static void agree(world *w) {
  const scenario *c = w->c;
  weft_ms last = w->out->last_write, step = 10;
  if (c->action_count && last < c->actions[c->action_count - 1].at) {
    last = c->actions[c->action_count - 1].at;
  }
  for (;;) {
    bool due = w->done_actions < c->action_count;
    for (size_t i = 0; i < c->nodes; i++) due = due || w->back_at[i] != WEFT_NEVER;
    if (!due && w->started == c->nodes && sim_same(w->s)) break;
    if (sim_now(w->s) > last + c->limit) (void)sim_settle(w->s, sim_now(w->s)); /* tells why */
    run_to(w, sim_now(w->s) + step);
  }
  w->out->agreed = sim_now(w->s);
  sample(w);
}

static void world_free(world *w) {
  for (size_t i = 0; i < w->log_count; i++) free(w->logs[i].changes);
  free(w->logs);
  free(w->seqs);
  free(w->shown);
  free(w->back_at);
  sim_free(w->s);
  free(w);
}

void scenario_run(const scenario *c, uint64_t seed, scenario_result *out) {
  sim_options o = {.seed = seed, .nodes = c->nodes, .bandwidth = c->bandwidth};
  world *w = must(calloc(1, sizeof *w));
  memset(out, 0, sizeof *out);
  o.stand_in = !c->real;
  o.unchecked = !c->checked;
  o.no_gossip = c->no_gossip;
  o.delay_min = c->delay_min;
  o.delay_max = c->delay_max;
  out->seed = seed;
  out->rows = c->nodes < SCENARIO_ROWS_MAX ? c->nodes : SCENARIO_ROWS_MAX;
  out->samples = must(calloc(SCENARIO_SAMPLES_MAX, sizeof *out->samples));
  w->c = c;
  w->out = out;
  w->s = sim_new(&o);
  w->rng = test_rng_of(seed ^ 0x7363656e6172696fu);
  w->logs = must(calloc(SIM_NODES_MAX, sizeof *w->logs));
  w->seqs = must(calloc(c->nodes * SIM_NODES_MAX, sizeof *w->seqs));
  w->shown = must(calloc(c->nodes, sizeof *w->shown));
  w->back_at = must(calloc(c->nodes, sizeof *w->back_at));
  w->sample_every = w->sample_next = sample_first;
  for (size_t i = 0; i < c->nodes; i++) w->back_at[i] = WEFT_NEVER;
  sim_watch(w->s, watch, w);
  connect(w);
  while (w->started < c->started) up(w, w->started++);
  write_all(w);
  agree(w);
  out->counts = *sim_so_far(w->s);
  out->hash = sim_hash(w->s);
  out->links = sim_open(w->s);
  out->shown = times_end(&w->each);
  out->everywhere = times_end(&w->everywhere);
  for (size_t i = 0; i < c->nodes; i++) {
    size_t most = sim_memory_most(w->s, i);
    if (most > out->memory_most) out->memory_most = most;
  }
  world_free(w);
}

void scenario_free(scenario_result *r) { free(r->samples); }

/* --- telling --- */

static void times_text(const char *what, const scenario_times *t, FILE *to) {
  fprintf(to, "  %-18s p50 %6llu ms   p90 %6llu ms   p99 %6llu ms   most %6llu ms   of %llu\n",
          what, (unsigned long long)t->p50, (unsigned long long)t->p90, (unsigned long long)t->p99,
          (unsigned long long)t->most, (unsigned long long)t->count);
}

void scenario_text(const scenario *c, const scenario_result *r, FILE *to) {
  const sim_counts *n = &r->counts;
  unsigned long long known = n->known, all = n->known + n->taken;
  fprintf(to, "%s, seed %llu: %zu nodes, %zu links\n", c->name, (unsigned long long)r->seed,
          c->nodes, r->links);
  fprintf(to, "  all agree          %llu ms after the last write, at %llu ms\n",
          (unsigned long long)(r->agreed - r->last_write), (unsigned long long)r->agreed);
  times_text("shown elsewhere", &r->shown, to);
  times_text("shown everywhere", &r->everywhere, to);
  fprintf(to, "  network            %llu bytes in %llu messages over %llu connections\n",
          (unsigned long long)n->bytes, (unsigned long long)n->segments,
          (unsigned long long)n->connections);
  fprintf(to, "  changes            %llu arrived, %llu of them twice (%.1f %%)\n", all, known,
          all ? 100.0 * (double)known / (double)all : 0);
  fprintf(to, "  a node's core      %zu bytes at most\n", r->memory_most);
}

static void times_json(const char *key, const scenario_times *t, FILE *to) {
  fprintf(to, ",\"%s\":{\"p50\":%llu,\"p90\":%llu,\"p99\":%llu,\"most\":%llu,\"count\":%llu}", key,
          (unsigned long long)t->p50, (unsigned long long)t->p90, (unsigned long long)t->p99,
          (unsigned long long)t->most, (unsigned long long)t->count);
}

void scenario_json(const scenario *c, const scenario_result *r, FILE *to) {
  const sim_counts *n = &r->counts;
  fputs("{\"name\":\"", to);
  for (const char *at = c->name; *at; at++) {
    if (*at == '"' || *at == '\\') fputc('\\', to);
    if ((unsigned char)*at >= ' ') fputc(*at, to);
  }
  fprintf(to, "\",\"seed\":%llu,\"hash\":\"%016llx\",\"nodes\":%zu,\"links\":%zu",
          (unsigned long long)r->seed, (unsigned long long)r->hash, c->nodes, r->links);
  fprintf(to, ",\"agreed_ms\":%llu,\"convergence_ms\":%llu", (unsigned long long)r->agreed,
          (unsigned long long)(r->agreed - r->last_write));
  times_json("shown_ms", &r->shown, to);
  times_json("everywhere_ms", &r->everywhere, to);
  fprintf(to, ",\"bytes\":%llu,\"messages\":%llu,\"connections\":%llu,\"events\":%llu",
          (unsigned long long)n->bytes, (unsigned long long)n->segments,
          (unsigned long long)n->connections, (unsigned long long)n->events);
  fprintf(to, ",\"changes_taken\":%llu,\"changes_duplicate\":%llu,\"core_bytes_most\":%zu}\n",
          (unsigned long long)n->taken, (unsigned long long)n->known, r->memory_most);
}

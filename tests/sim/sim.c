/* The clockwork: events in the order of virtual time, and the nodes they happen to. */
#include "tests/sim/sim_internal.h"

#include <dirent.h>
#include <sys/stat.h>

#include "store/lmdb_store.h"
#include "tests/support/stand_in_crypto.h"

enum { trace_cap = 1 << 18 };

static const weft_ms wall_start = 1750000000000;

/* --- telling --- */

void sim_fail(const sim *s, const char *format, ...) {
  va_list args;
  size_t from = s->trace_len > 4000 ? s->trace_len - 4000 : 0;
  fprintf(stderr, "%s\n", s->trace + from);
  fprintf(stderr, "seed=%llu event=%llu at %llu ms: ", (unsigned long long)s->o.seed,
          (unsigned long long)s->counts.events, (unsigned long long)s->now);
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fprintf(stderr, "\n");
  abort();
}

void sim__hash(sim *s, const void *at, size_t len) {
  const uint8_t *bytes = at;
  uint64_t hash = s->hash;
  for (; len >= 8; len -= 8, bytes += 8) {
    uint64_t word = 0;
    for (unsigned i = 0; i < 8; i++) word |= (uint64_t)bytes[i] << (8 * i);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 32;
  }
  for (size_t i = 0; i < len; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
  s->hash = hash;
}

enum { line_max = 512 };

/* "[   12] ", as everything that happens begins; its length. */
static size_t line_head(const sim *s, char line[line_max]) {
  char digits[20];
  size_t count = 0, len = 0;
  for (uint64_t left = s->now; left > 0 || count == 0; left /= 10) {
    digits[count++] = (char)('0' + left % 10);
  }
  line[len++] = '[';
  for (size_t i = count; i < 5; i++) line[len++] = ' ';
  while (count > 0) line[len++] = digits[--count];
  line[len++] = ']';
  line[len++] = ' ';
  return len;
}

/* Adds a line that has room for its end. */
static void line_add(sim *s, char line[line_max], size_t len) {
  line[len++] = '\n';
  sim__hash(s, line, len);
  if (s->trace_len + len + 1 > trace_cap) {
    size_t keep = trace_cap / 2;
    memmove(s->trace, s->trace + s->trace_len - keep, keep);
    s->trace_len = keep;
  }
  memcpy(s->trace + s->trace_len, line, len);
  s->trace_len += len;
  s->trace[s->trace_len] = 0;
}

void sim__trace_words(sim *s, const char *const *words, size_t count) {
  char line[line_max];
  size_t len = line_head(s, line);
  for (size_t i = 0; i < count; i++) {
    size_t more = strlen(words[i]);
    if (more > sizeof line - 2 - len) more = sizeof line - 2 - len;
    memcpy(line + len, words[i], more);
    len += more;
  }
  line_add(s, line, len);
}

static void trace_args(sim *s, const char *format, va_list args) {
  char line[line_max];
  size_t head = line_head(s, line);
  int more = vsnprintf(line + head, sizeof line - head - 2, format, args);
  size_t len = head + (more > 0 ? (size_t)more : 0);
  line_add(s, line, len > sizeof line - 2 ? sizeof line - 2 : len);
}

void sim__trace(sim *s, const char *format, ...) {
  va_list args;
  va_start(args, format);
  trace_args(s, format, args);
  va_end(args);
}

void sim_say(sim *s, const char *format, ...) {
  va_list args;
  va_start(args, format);
  trace_args(s, format, args);
  va_end(args);
}

/* --- memory and clocks of nodes --- */

enum { header_len = 16 }; /* keeps what follows aligned for any type */

static void *count_grow(void *ctx, void *at, size_t len) {
  memory *m = ctx;
  uint8_t *old = at ? (uint8_t *)at - header_len : NULL;
  size_t old_len = 0;
  if (old) memcpy(&old_len, old, sizeof old_len);
  uint8_t *wide = realloc(old, len + header_len);
  if (!wide) return NULL;
  memcpy(wide, &len, sizeof len);
  m->now += len - old_len;
  if (m->now > m->most) m->most = m->now;
  return wide + header_len;
}

static void *count_alloc(void *ctx, size_t len) { return count_grow(ctx, NULL, len); }

static void count_free(void *ctx, void *at) {
  memory *m = ctx;
  size_t len;
  if (!at) return;
  memcpy(&len, (uint8_t *)at - header_len, sizeof len);
  m->now -= len;
  free((uint8_t *)at - header_len);
}

weft_ms sim_wall(const sim *s, size_t idx) {
  const peer *p = &s->peers[idx];
  return p->clock_wall + (s->now - p->clock_at) * p->clock_permille / 1000;
}

void sim_clock(sim *s, size_t idx, weft_ms wall, unsigned permille) {
  peer *p = &s->peers[idx];
  p->clock_at = s->now;
  p->clock_wall = wall;
  p->clock_permille = permille;
  sim__trace(s, "%s : clock %llu at %u", s->peers[idx].name, (unsigned long long)wall, permille);
}

void *sim__must(const sim *s, void *at) {
  if (!at) sim_fail(s, "out of memory");
  return at;
}

/* --- events --- */

static bool sooner(const sim *s, uint32_t a, uint32_t b) {
  const event *x = &s->events[a], *y = &s->events[b];
  return x->at != y->at ? x->at < y->at : x->order < y->order;
}

static void events_grow(sim *s) {
  size_t cap = s->event_cap ? s->event_cap * 2 : 256;
  s->events = sim__must(s, realloc(s->events, cap * sizeof *s->events));
  s->heap = sim__must(s, realloc(s->heap, cap * sizeof *s->heap));
  s->spare = sim__must(s, realloc(s->spare, cap * sizeof *s->spare));
  for (size_t i = s->event_cap; i < cap; i++) s->spare[s->spare_count++] = (uint32_t)i;
  s->event_cap = cap;
}

void sim__event_add(sim *s, const event *e) {
  if (s->spare_count == 0) events_grow(s);
  uint32_t place = s->spare[--s->spare_count];
  s->events[place] = *e;
  s->events[place].order = s->order++;
  size_t i = s->event_count++;
  while (i > 0 && sooner(s, place, s->heap[(i - 1) / 2])) {
    s->heap[i] = s->heap[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  s->heap[i] = place;
}

static event event_take(sim *s) {
  uint32_t first = s->heap[0], last = s->heap[--s->event_count];
  size_t i = 0;
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= s->event_count) break;
    if (child + 1 < s->event_count && sooner(s, s->heap[child + 1], s->heap[child])) child++;
    if (!sooner(s, s->heap[child], last)) break;
    s->heap[i] = s->heap[child];
    i = child;
  }
  s->heap[i] = last;
  s->spare[s->spare_count++] = first;
  return s->events[first];
}

static void event_free(event *e) {
  free(e->bytes);
  free(e->hold);
}

/* --- nodes --- */

static void do_hold(sim *s, size_t node, const weft_node_action *a) {
  event e = {.kind = EVENT_HELD, .node = node, .life = s->peers[node].life};
  e.hold = sim__must(s, malloc(sizeof *e.hold));
  *e.hold = *a;
  e.at = s->now + test_rng_below(&s->disk, s->o.hold_max + 1);
  sim__event_add(s, &e);
}

static void show_soon(sim *s, size_t node) {
  peer *p = &s->peers[node];
  if (p->showing) return;
  p->showing = true;
  event e = {.at = s->now, .kind = EVENT_SHOW, .node = node, .life = p->life};
  sim__event_add(s, &e);
}

static void on_held(sim *s, const event *e) {
  peer *p = &s->peers[e->node];
  if (!p->up || p->life != e->life) return;
  weft_arena arena;
  weft_hold_result result;
  weft__arena_init(&arena, &s->mem);
  weft__replica_hold(p->source, &arena, e->hold->chunks, e->hold->chunk_count, &result);
  for (size_t i = 0; i < result.count; i++) {
    const weft_node_verdict *v = &result.verdicts[i];
    if (v->verdict == WEFT_RUN_TAKEN) s->counts.taken += v->last - v->first + 1;
    if (v->verdict == WEFT_RUN_KNOWN) s->counts.known += v->last - v->first + 1;
  }
  weft_node_held(p->node, s->now, e->hold->ticket, result.err, result.verdicts, result.count);
  weft__arena_free(&arena);
  if (s->watch) s->watch(s->watch_ctx, e->node);
  show_soon(s, e->node);
  sim__pump(s, e->node);
}

static void on_show(sim *s, const event *e) {
  peer *p = &s->peers[e->node];
  bool more;
  if (!p->up || p->life != e->life) return;
  p->showing = false;
  if (weft__replica_show(p->source, p->node, s->now, s->o.show_max, &more) == WEFT_OK && more) {
    show_soon(s, e->node);
  }
  if (s->watch) s->watch(s->watch_ctx, e->node);
  sim__pump(s, e->node);
}

static const char *note_name(weft_node_note note) {
  switch (note) {
  case WEFT_NOTE_UP: return "up";
  case WEFT_NOTE_DOWN: return "down";
  case WEFT_NOTE_IN_STEP: return "in step";
  case WEFT_NOTE_FAILED: return "failed";
  case WEFT_NOTE_REFUSED: return "refused";
  case WEFT_NOTE_CLONE: return "clone";
  case WEFT_NOTE_DIGEST: return "digest";
  case WEFT_NOTE_JOINED: return "joined";
  case WEFT_NOTE_UPDATED: return "updated";
  case WEFT_NOTE_LEFT: return "left";
  case WEFT_NOTE_PARKED: return "parked";
  }
  return "?";
}

static void on_note(sim *s, size_t node, const weft_node_action *a) {
  const char *other = "?";
  bool lies = s->peers[node].lies;
  for (size_t i = 0; i < s->o.nodes; i++) {
    if (weft_id_cmp(&s->space.devices[i].device, &a->device) != 0) continue;
    other = s->peers[i].name;
    lies = lies || s->peers[i].lies;
    if (a->note == WEFT_NOTE_UP)
      s->met[sim__pair(s, node, i)] = s->met[sim__pair(s, i, node)] = true;
    break;
  }
  const char *words[] = {s->peers[node].name,  " : ", note_name(a->note), " ", other, " ",
                         weft_err_name(a->why)};
  sim__trace_words(s, words, sizeof words / sizeof *words);
  if (a->note == WEFT_NOTE_DIGEST && !lies) sim_fail(s, "I1: equal vectors, different digests");
}

static void obey(sim *s, size_t node, const weft_node_action *a) {
  peer *p = &s->peers[node];
  switch (a->kind) {
  case WEFT_NODE_DIAL: sim__dial(s, node, a); break;
  case WEFT_NODE_SEND: sim__send(s, node, a); break;
  case WEFT_NODE_CLOSE: sim__close(s, node, a); break;
  case WEFT_NODE_HOLD: do_hold(s, node, a); break;
  case WEFT_NODE_NOTE: on_note(s, node, a); break;
  case WEFT_NODE_RECORD:
  case WEFT_NODE_ACK:
  case WEFT_NODE_ADDRESS: (void)weft__replica_carry_out(p->source, a, p->node, s->now); break;
  case WEFT_NODE_ADMIT: weft_node_admitted(p->node, s->now, a->ticket, WEFT_EDENIED, 48); break;
  }
}

void sim__pump(sim *s, size_t node) {
  peer *p = &s->peers[node];
  weft_node_action a;
  if (!p->up) return;
  for (size_t count = 0; weft_node_next(p->node, &a); count++) {
    obey(s, node, &a);
    if (count > 1000000) sim_fail(s, "I7: %s never rests", s->peers[node].name);
  }
  weft_ms at = weft_node_deadline(p->node);
  if (at == WEFT_NEVER || at >= p->timer) return;
  p->timer = at > s->now ? at : s->now + 1;
  event e = {.at = p->timer, .kind = EVENT_TIMER, .node = node, .life = p->life};
  sim__event_add(s, &e);
}

static void on_timer(sim *s, const event *e) {
  peer *p = &s->peers[e->node];
  if (!p->up || p->life != e->life) return;
  if (p->timer != e->at) return; /* an earlier one went off instead */
  p->timer = WEFT_NEVER;
  weft_node_tick(p->node, s->now, sim_wall(s, e->node));
  sim__pump(s, e->node);
  if (p->up && weft_node_deadline(p->node) <= s->now) {
    sim_fail(s, "I7: %s has nothing to do and is due at once", s->peers[e->node].name);
  }
}

/* --- running --- */

static void step(sim *s) {
  event e = event_take(s);
  s->now = e.at;
  s->counts.events++;
  switch (e.kind) {
  case EVENT_TIMER: on_timer(s, &e); break;
  case EVENT_DIALLED: sim__on_dialled(s, &e); break;
  case EVENT_BYTES: sim__on_bytes(s, &e); break;
  case EVENT_CLOSED: sim__on_closed(s, &e); break;
  case EVENT_HELD: on_held(s, &e); break;
  case EVENT_SHOW: on_show(s, &e); break;
  case EVENT_DEAD: sim__on_dead(s, &e); break;
  }
  event_free(&e);
}

void sim_run(sim *s, weft_ms until) {
  while (sim_step(s, until)) {}
  s->now = until;
}

bool sim_step(sim *s, weft_ms until) {
  if (s->event_count == 0 || s->events[s->heap[0]].at > until) return false;
  step(s);
  return true;
}

/* Whether all that waits here waits for what nobody has any more: it was lost with a store that was
 * set back after others had claimed it.  `p` holds what all hold. */
static bool waits_for_the_lost(const sim *s, const peer *p) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_stuck *stuck;
  size_t count = 0;
  if (s->set_back == 0) return false;
  weft__arena_init(&arena, &mem);
  bool sane = weft_replica_stuck(p->replica, &arena, &stuck, &count) == WEFT_OK && count > 0;
  size_t lost = 0;
  for (size_t i = 0; i < count && sane; i++) {
    bool behind = false; /* another one that waits */
    for (size_t k = 0; k < count; k++) {
      behind = behind || weft_id_cmp(&stuck[i].wants_log, &stuck[k].log) == 0;
    }
    bool gone = stuck[i].wants_held < stuck[i].wants_seq;
    lost += gone;
    sane = gone || behind;
  }
  weft__arena_free(&arena);
  return sane && lost > 0;
}

static bool same(sim *s, const peer *p, const peer *first) {
  const weft_vector *held = weft_replica_held(p->replica);
  const weft_vector *shown = weft_replica_shown(p->replica);
  weft_digest x = weft_replica_digest(p->replica), y = weft_replica_digest(first->replica);
  bool digests = x.high == y.high && x.low == y.low;
  if (!test_same_heads(held, weft_replica_held(first->replica)) ||
      !test_same_heads(shown, weft_replica_shown(first->replica))) {
    return false;
  }
  if (!test_same_heads(held, shown) && !waits_for_the_lost(s, p)) return false;
  sim_check(s, SIM_I1);
  if (!digests) sim_fail(s, "I1: equal vectors, different digests");
  return true;
}

bool sim_same(sim *s) {
  const peer *first = NULL;
  for (size_t i = 0; i < s->count && !first; i++) {
    if (s->peers[i].up) first = &s->peers[i];
  }
  if (!first) return true;
  if (!same(s, first, first)) return false;
  const peer *last = &s->peers[s->differs]; /* most likely it still differs */
  if (last->up && !same(s, last, first)) return false;
  for (size_t i = 0; i < s->count; i++) {
    if (!s->peers[i].up || same(s, &s->peers[i], first)) continue;
    s->differs = i;
    return false;
  }
  return true;
}

/* What waits, and for what. */
static void explain_stuck(const peer *p) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_stuck *stuck;
  size_t count = 0;
  weft__arena_init(&arena, &mem);
  if (weft_replica_stuck(p->replica, &arena, &stuck, &count) != WEFT_OK) count = 0;
  for (size_t i = 0; i < count; i++) {
    const weft_stuck *w = &stuck[i];
    fprintf(stderr, "  %02x%02x:%llu waits for %02x%02x:%llu, of which %llu is held\n", w->log.b[0],
            w->log.b[1], (unsigned long long)w->seq, w->wants_log.b[0], w->wants_log.b[1],
            (unsigned long long)w->wants_seq, (unsigned long long)w->wants_held);
  }
  weft__arena_free(&arena);
}

void sim_explain(const sim *s) {
  for (size_t i = 0; i < s->count; i++) {
    const peer *p = &s->peers[i];
    if (!p->up) continue;
    const weft_vector *held = weft_replica_held(p->replica);
    const weft_vector *shown = weft_replica_shown(p->replica);
    fprintf(stderr, "%s holds", p->name);
    for (size_t k = 0; k < held->count && k < 32; k++) {
      const weft_head *h = &held->heads[k];
      fprintf(stderr, " %02x%02x:%llu", h->log.b[0], h->log.b[1], (unsigned long long)h->seq);
    }
    fprintf(stderr, "%s\n", test_same_heads(held, shown) ? "" : ", and does not show all of it");
    explain_stuck(p);
  }
}

weft_ms sim_settle(sim *s, weft_ms limit) {
  while (!sim_same(s)) {
    if (s->event_count == 0 || s->events[s->heap[0]].at > limit) {
      sim_explain(s);
      sim_fail(s, "I8: no convergence");
    }
    step(s);
  }
  return s->now;
}

/* --- making --- */

static weft_store *store_open(sim *s, size_t idx) {
  char path[256], name[16];
  weft_lmdb_options o;
  weft_store *store;
  if (!s->o.lmdb) return test_memory_store();
  snprintf(name, sizeof name, "%zu/data.mdb", idx);
  test_temp_path(&s->temp, name, path);
  weft_lmdb_options_init(&o);
  o.path = path;
  o.map_size = 64u << 20;
  weft_diag diag;
  weft_err err = weft_lmdb_store_open(&o, &store, &diag);
  if (err != WEFT_OK) sim_fail(s, "%s: %s: %s", path, weft_err_name(err), diag.text);
  return store;
}

static void mirror_path(const sim *s, size_t idx, const char *tail, char out[256]) {
  char name[32];
  snprintf(name, sizeof name, "mirror%zu%s", idx, tail);
  test_temp_path(&s->temp, name, out);
}

static weft_ms platform_wall(void *ctx) {
  const peer *p = ctx;
  return sim_wall(p->s, p->idx);
}

static void platform_entropy(void *ctx, void *out, size_t len) {
  peer *p = ctx;
  test_rng_fill(&p->entropy, out, len);
}

static weft_replica *replica_open(sim *s, size_t idx) {
  peer *p = &s->peers[idx];
  weft_replica *r;
  char path[256];
  weft_store *store = test_fault_store_of(p->inner, &p->faults);
  weft_replica_options o = test_space_options(&s->space, p->device, store);
  o.platform = (weft_platform){p, platform_wall, platform_entropy};
  if (s->o.mirror) {
    mirror_path(s, idx, "", path);
    o.mirror_dir = path;
  }
  weft_err err = weft_replica_open(&r, &o);
  if (err != WEFT_OK) sim_fail(s, "%s does not open: %s", p->name, weft_err_name(err));
  test_space_add_records(&s->space, r);
  return r;
}

void sim_start(sim *s, size_t idx) {
  peer *p = &s->peers[idx];
  if (p->up) return;
  if (!p->inner) p->inner = store_open(s, idx);
  p->faults = (test_fault_store){.err = WEFT_EIO};
  size_t members = s->space.count;
  if (s->o.scattered && p->device > 0) s->space.count = p->device + 1;
  p->replica = replica_open(s, idx);
  s->space.count = members;
  test_show_all(p->replica);
  for (size_t i = 0; i < p->promised.count; i++) {
    const weft_head *h = &p->promised.heads[i];
    sim_check(s, SIM_I3);
    if (!weft__vector_covers(weft_replica_held(p->replica), &h->log, h->seq)) {
      sim_fail(s, "I3: %s has lost what it sent", s->peers[idx].name);
    }
  }
  weft_alloc counted = {&p->used, count_alloc, count_grow, count_free};
  if (weft__replica_source_new(&p->source, &counted, p->replica) != WEFT_OK) {
    sim_fail(s, "memory");
  }
  weft_node_options o;
  char text[32];
  sim__address_text(idx, text);
  weft_bytes listen = weft_bytes_str(text);
  weft_node_options_init(&o);
  if (s->o.policy.tune) s->o.policy.tune(s->o.policy.ctx, idx, &o);
  o.mem = counted;
  o.crypto = &s->crypto;
  o.identity = &s->space.devices[p->device];
  o.space = s->space.id;
  o.name = weft_bytes_str("node");
  o.epochs = &s->epoch;
  o.epoch_count = 1;
  o.gossip = o.gossip && !s->o.no_gossip;
  o.listen = &listen;
  o.listen_count = 1;
  if (s->o.anti_entropy_ms) o.anti_entropy_ms = (uint32_t)s->o.anti_entropy_ms;
  weft__replica_source_fill(p->source, &o.source);
  if (p->lies) o.source = p->answers;
  test_rng_fill(&s->restarts, o.seed, sizeof o.seed);
  if (weft_node_new(&p->node, &o, s->now, sim_wall(s, idx)) != WEFT_OK) sim_fail(s, "no node");
  p->up = true;
  p->life++;
  p->timer = WEFT_NEVER;
  p->showing = false;
  for (size_t i = 0; i < p->address_count; i++) {
    sim__address_text(p->address[i], text);
    if (weft_node_add_address(p->node, s->now, weft_bytes_str(text)) != WEFT_OK) {
      sim_fail(s, "no address");
    }
  }
  sim__trace(s, "%s : starts", s->peers[idx].name);
  sim__pump(s, idx);
}

static void peer_end(sim *s, size_t idx) {
  peer *p = &s->peers[idx];
  p->up = false;
  weft_node_free(p->node);
  weft__replica_source_free(p->source);
  weft_replica_free(p->replica);
  sim_check(s, SIM_I7);
  if (p->used.now != 0) sim_fail(s, "I7: %s leaves %zu bytes", s->peers[idx].name, p->used.now);
  p->node = NULL;
  p->source = NULL;
  p->replica = NULL;
  if (s->o.lmdb) {
    weft_store_free(p->inner);
    p->inner = NULL;
  }
}

/* Ends a node without a word to anybody. */
static void end_rudely(sim *s, size_t idx, bool told) {
  /* Ending a replica writes its mirror, which a crash would not do. */
  char mirror[256], kept[256];
  bool aside = false;
  if (s->o.mirror) {
    mirror_path(s, idx, "", mirror);
    mirror_path(s, idx, ".kept", kept);
    aside = rename(mirror, kept) == 0;
  }
  peer_end(s, idx);
  if (s->o.mirror) test_folder_remove(mirror);
  if (aside && rename(kept, mirror) != 0) sim_fail(s, "a mirror is lost");
  sim__wires_end(s, idx, told);
  for (size_t i = 0; i < s->count; i++) sim__pump(s, i);
}

void sim_crash(sim *s, size_t idx) {
  if (!s->peers[idx].up) return;
  sim__trace(s, "%s : crashes", s->peers[idx].name);
  end_rudely(s, idx, true);
}

void sim_vanish(sim *s, size_t idx) {
  if (!s->peers[idx].up) return;
  sim__trace(s, "%s : vanishes", s->peers[idx].name);
  end_rudely(s, idx, false);
}

void sim_stop(sim *s, size_t idx) {
  peer *p = &s->peers[idx];
  if (!p->up) return;
  sim__trace(s, "%s : stops", s->peers[idx].name);
  weft_node_stop(p->node, s->now);
  sim__pump(s, idx);
  peer_end(s, idx);
}

size_t sim_open(const sim *s) {
  size_t count = 0;
  for (size_t i = 0; i < s->wire_count; i++) {
    const wire *w = s->wires[i];
    count += w->open && !w->closed[0] && !w->closed[1];
  }
  return count;
}

void sim_start_all(sim *s) {
  for (size_t i = 0; i < s->o.nodes; i++) sim_start(s, i);
}

static void peer_init(sim *s, size_t idx, size_t device) {
  peer *p = &s->peers[idx];
  *p = (peer){.s = s, .idx = idx, .device = device};
  weft__vector_init(&p->promised, &s->mem);
  p->clock_wall = wall_start;
  p->clock_permille = 1000;
  const char *copy = idx == device ? "" : "'";
  if (device < 26)
    snprintf(p->name, sizeof p->name, "%c%s", (char)('a' + device), copy);
  else
    snprintf(p->name, sizeof p->name, "n%zu%s", device, copy);
}

sim *sim_new(const sim_options *o) {
  sim *s = calloc(1, sizeof *s);
  if (!s || o->nodes > SIM_NODES_MAX) abort();
  s->o = *o;
  s->count = o->nodes;
  s->room = o->nodes + o->copies;
  if (s->o.delay_max < s->o.delay_min) s->o.delay_max = s->o.delay_min;
  s->rng = test_rng_of(o->seed);
  test_rng seeds = test_rng_of(o->seed ^ 0x73696d756c617465u);
  s->network = test_rng_of(test_rng_next(&seeds));
  s->disk = test_rng_of(test_rng_next(&seeds));
  s->restarts = test_rng_of(test_rng_next(&seeds));
  s->mangling = test_rng_of(test_rng_next(&seeds));
  s->mem = weft_alloc_libc();
  weft__arena_init(&s->reading, &s->mem);
  weft__arena_init(&s->carried, &s->mem);
  if (weft__chunk_codec_new(&s->codec, &s->mem) != WEFT_OK) abort();
  s->trace = sim__must(s, calloc(1, trace_cap));
  s->hash = 0xcbf29ce484222325u;
  const weft_crypto *real = o->crypto ? o->crypto : weft_crypto_sodium();
  s->crypto = *real;
  if (o->stand_in) test_stand_in_crypto(&s->crypto);
  test_space_make_with(&s->space, o->nodes, o->seed, o->stand_in ? &s->crypto : real);
  if (o->plain && !o->stand_in) sim__plain_crypto(&s->crypto);
  memcpy(s->epoch.id, s->space.id.b, sizeof s->epoch.id);
  memset(s->epoch.secret.b, 0x77, sizeof s->epoch.secret.b);
  if (o->lmdb || o->mirror) s->temp = test_temp_make();
  s->peers = sim__must(s, calloc(s->room, sizeof *s->peers));
  s->parted = sim__must(s, calloc(s->room * s->room, sizeof *s->parted));
  s->met = sim__must(s, calloc(s->room * s->room, sizeof *s->met));
  s->stall = sim__must(s, calloc(s->room * s->room, sizeof *s->stall));
  for (size_t i = 0; i < s->count; i++) {
    peer_init(s, i, i);
    s->peers[i].entropy = test_rng_of(test_rng_next(&s->space.platforms[i].rng));
  }
  return s;
}

void sim_free(sim *s) {
  for (size_t i = 0; i < s->count; i++) {
    if (s->peers[i].up) peer_end(s, i);
    if (s->peers[i].inner) weft_store_free(s->peers[i].inner);
    if (s->peers[i].backup) weft_store_free(s->peers[i].backup);
    weft__vector_free(&s->peers[i].promised);
    free(s->peers[i].address);
    free(s->peers[i].wires);
  }
  for (size_t i = 0; i < s->wire_count; i++) sim__wire_free(s->wires[i]);
  for (size_t i = 0; i < s->event_count; i++) event_free(&s->events[s->heap[i]]);
  if (s->o.lmdb || s->o.mirror) test_temp_remove(&s->temp);
  test_space_free(&s->space);
  weft__chunk_codec_free(s->codec);
  weft__arena_free(&s->reading);
  weft__arena_free(&s->carried);
  free(s->peers);
  free(s->parted);
  free(s->met);
  free(s->stall);
  free(s->wires);
  free(s->events);
  free(s->heap);
  free(s->spare);
  free(s->trace);
  free(s);
}

void sim_address(sim *s, size_t from, size_t to) {
  char text[32];
  peer *p = &s->peers[from];
  for (size_t i = 0; i < p->address_count; i++) {
    if (p->address[i] == to) return;
  }
  p->address = sim__must(s, realloc(p->address, (p->address_count + 1) * sizeof *p->address));
  p->address[p->address_count++] = to;
  if (!p->up) return;
  sim__address_text(to, text);
  (void)!weft_node_add_address(p->node, s->now, weft_bytes_str(text));
  sim__pump(s, from);
}

void sim_mesh(sim *s) {
  for (size_t i = 0; i < s->count; i++) {
    for (size_t k = 0; k < i; k++) sim_address(s, i, k);
  }
}

void sim_reach(sim *s, size_t a, size_t b, bool open) {
  s->parted[sim__pair(s, a, b)] = s->parted[sim__pair(s, b, a)] = !open;
  sim__trace(s, "%s - %s %s", s->peers[a].name, s->peers[b].name, open ? "opens" : "parts");
}

void sim_stall(sim *s, size_t from, size_t to, weft_ms until) {
  weft_ms *stall = &s->stall[sim__pair(s, from, to)];
  if (*stall == until) return;
  *stall = until;
  sim__trace(s, "%s > %s %s", s->peers[from].name, s->peers[to].name,
             until > s->now ? "stalls" : "flows");
}

void sim_slow(sim *s, size_t idx, uint64_t bandwidth) {
  s->peers[idx].bandwidth = bandwidth;
  sim__trace(s, "%s : reads %llu", s->peers[idx].name, (unsigned long long)bandwidth);
}

void sim_rates(sim *s, unsigned cut_permille, unsigned refuse_permille) {
  s->o.cut_permille = cut_permille;
  s->o.refuse_permille = refuse_permille;
}

void sim_unmangled(sim *s) {
  s->o.corrupt_permille = s->o.duplicate_permille = s->o.reorder_permille = 0;
}

void sim_backup(sim *s, size_t idx) {
  peer *p = &s->peers[idx];
  if (p->up || !p->inner || s->o.lmdb) return;
  if (p->backup) weft_store_free(p->backup);
  p->backup = test_store_copy(p->inner);
  sim__trace(s, "%s : is backed up", s->peers[idx].name);
}

bool sim_restore(sim *s, size_t idx) {
  peer *p = &s->peers[idx];
  if (p->up || !p->backup) return false;
  weft_store_free(p->inner);
  p->inner = p->backup;
  p->backup = NULL;
  s->set_back++;
  weft__vector_clear(&p->promised);
  sim__trace(s, "%s : is set back", s->peers[idx].name);
  return true;
}

/* --- copies and lies --- */

static void file_copy(const sim *s, const char *from, const char *to) {
  char part[4096];
  FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
  if (!in || !out) sim_fail(s, "%s cannot be copied", from);
  for (size_t len; (len = fread(part, 1, sizeof part, in)) > 0;) {
    if (fwrite(part, 1, len, out) != len) sim_fail(s, "%s cannot be written", to);
  }
  fclose(in);
  if (fclose(out) != 0) sim_fail(s, "%s cannot be written", to);
}

static void mirror_copy(sim *s, size_t from, size_t to) {
  char source[256], target[256], source_file[520], target_file[520];
  mirror_path(s, from, "", source);
  mirror_path(s, to, "", target);
  DIR *folder = opendir(source);
  if (!folder) return; /* nothing was written yet */
  if (mkdir(target, 0700) != 0) sim_fail(s, "%s cannot be made", target);
  for (struct dirent *at; (at = readdir(folder));) {
    if (at->d_name[0] == '.') continue;
    snprintf(source_file, sizeof source_file, "%s/%.250s", source, at->d_name);
    snprintf(target_file, sizeof target_file, "%s/%.250s", target, at->d_name);
    file_copy(s, source_file, target_file);
  }
  closedir(folder);
}

size_t sim_copies_left(const sim *s) { return s->o.lmdb ? 0 : s->room - s->count; }

size_t sim_copy(sim *s, size_t idx) {
  const peer *p = &s->peers[idx];
  if (sim_copies_left(s) == 0 || !p->inner) sim_fail(s, "no room for a copy");
  size_t copy = s->count++;
  peer *q = &s->peers[copy];
  peer_init(s, copy, p->device);
  q->inner = test_store_copy(p->inner);
  q->entropy = test_rng_of(test_rng_next(&s->restarts));
  if (s->o.mirror) mirror_copy(s, idx, copy);
  sim_clock(s, copy, sim_wall(s, idx), 1000);
  for (size_t i = 0; i < p->address_count; i++) sim_address(s, copy, p->address[i]);
  sim__trace(s, "%s : is copied", p->name);
  return copy;
}

void sim_lie(sim *s, size_t idx, const weft_source *answers) {
  s->peers[idx].answers = *answers;
  s->peers[idx].lies = true;
}

bool sim_lies(const sim *s, size_t idx) { return s->peers[idx].lies; }

weft_source sim_source(sim *s, size_t idx) {
  weft_source out;
  weft__replica_source_fill(s->peers[idx].source, &out);
  return out;
}

/* --- looking and writing --- */

bool sim_is_up(const sim *s, size_t idx) { return s->peers[idx].up; }
weft_ms sim_now(const sim *s) { return s->now; }
weft_replica *sim_replica(sim *s, size_t idx) { return s->peers[idx].replica; }
weft_node *sim_node(sim *s, size_t idx) { return s->peers[idx].node; }
test_fault_store *sim_faults(sim *s, size_t idx) { return &s->peers[idx].faults; }
bool sim_met(const sim *s, size_t a, size_t b) { return s->met[sim__pair(s, a, b)]; }
uint64_t sim_hash(const sim *s) { return s->hash; }
const sim_counts *sim_so_far(const sim *s) { return &s->counts; }
void sim_check(sim *s, sim_invariant which) { s->counts.checks[which]++; }
const char *sim_name(const sim *s, size_t idx) { return s->peers[idx].name; }
size_t sim_count(const sim *s) { return s->count; }
size_t sim_device(const sim *s, size_t idx) { return s->peers[idx].device; }
size_t sim_memory_most(const sim *s, size_t idx) { return s->peers[idx].used.most; }
const char *sim_trace(const sim *s) { return s->trace; }
test_rng *sim_rng(sim *s) { return &s->rng; }

test_space *sim_space(sim *s) {
  for (size_t i = 0; i < s->o.nodes; i++) s->space.platforms[i].now = sim_wall(s, i);
  return &s->space;
}

void sim_trace_clear(sim *s) {
  s->trace_len = 0;
  s->trace[0] = 0;
}

void sim_watch(sim *s, void (*fn)(void *ctx, size_t node), void *ctx) {
  s->watch = fn;
  s->watch_ctx = ctx;
}

void sim_held(sim *s, size_t idx) {
  show_soon(s, idx);
  sim_changed(s, idx);
}

void sim_changed(sim *s, size_t idx) {
  weft_node_changed(s->peers[idx].node, s->now);
  sim__pump(s, idx);
}

weft_err sim_set(sim *s, size_t idx, const char *doc, const char *pointer, const char *json) {
  peer *p = &s->peers[idx];
  if (!p->up) return WEFT_EMISUSE;
  weft_err err = test_set(p->replica, doc, pointer, json);
  if (err == WEFT_OK) sim_changed(s, idx);
  return err;
}

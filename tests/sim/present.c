#include "tests/sim/present.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crdt/assert.h"
#include "net/node_internal.h"

enum {
  second = 1000,
  slots = 3, /* sessions of a node, at most */
  docs = 3,
  life_ms = WEFT_PRESENCE_LIFE_MS_MAX,
  hop_ms = 100,     /* what a statement waits for its turn */
  still_ms = 17000, /* and what a stream may stand still without being doubted */
  calm_limit = 200 * second,
  caught_max = 24 /* statements that liars remember */
};

static const char *const doc_names[docs] = {"", "drafts/b", "notes/a"};

typedef struct session {
  unsigned doc;
  weft_ms until; /* it ends by itself */
  bool on;
} session;

/* What a node stated from one moment on. */
typedef struct stated {
  size_t node;
  uint64_t life;
  weft_ms ended; /* WEFT_NEVER: it is what the node states now */
  session at[slots];
} stated;

/* What a listener listed of a device last: the number of the statement and 1, 0 nothing. */
typedef struct seen {
  size_t number;
  weft_ms since;
} seen;

/* A statement that came by, as it was signed. */
typedef struct caught {
  weft_msg_statement s;
  uint8_t body[WEFT_PRESENCE_BODY_LEN_MAX];
} caught;

struct present {
  sim *s;
  test_rng rng;
  const bool *lies;
  stated *all;
  size_t count, cap;
  size_t now_of[LEDGER_NODES_MAX]; /* its statement and 1; 0: none in this life */
  uint64_t life[LEDGER_NODES_MAX];
  bool copied[LEDGER_NODES_MAX]; /* by device */
  bool liars, still;
  weft_ms repeated_at;                         /* by a liar, last */
  seen of[LEDGER_NODES_MAX][LEDGER_NODES_MAX]; /* listener, device */
  caught *heard;
  size_t heard_count;
  present_counts so_far;
};

static void must(const present *p, size_t node, weft_err err, const char *what) {
  if (err != WEFT_OK) {
    sim_fail(p->s, "I6: %s, %s: %s", sim_name(p->s, node), what, weft_err_name(err));
  }
}

/* --- stating --- */

static weft_bytes session_name(unsigned slot, char text[4]) {
  snprintf(text, 4, "w%u", slot);
  return weft_bytes_str(text);
}

/* What it states is true no longer. */
static void withdraw(present *p, size_t node) {
  if (p->now_of[node] > 0) p->all[p->now_of[node] - 1].ended = sim_now(p->s);
  p->now_of[node] = 0;
}

static bool runs_now(const present *p, const session *s) {
  return s->on && s->until > sim_now(p->s);
}

/* Takes back what is not to be stated any more; what is there under the same names is replaced. */
static void leave_old(present *p, size_t node, const stated *now) {
  if (p->now_of[node] == 0) return;
  const stated *old = &p->all[p->now_of[node] - 1];
  for (unsigned i = 0; i < slots; i++) {
    const session *was = &old->at[i], *is = &now->at[i];
    char text[4];
    if (!was->on || (is->on && is->doc == was->doc)) continue;
    weft_err err =
        weft_node_presence_leave(sim_node(p->s, node), sim_now(p->s), session_name(i, text),
                                 weft_bytes_str(doc_names[was->doc]));
    if (err == WEFT_ENOTFOUND && was->until <= sim_now(p->s)) {
      p->so_far.ended = true;
      continue;
    }
    must(p, node, err, "leaving");
  }
}

/* A node states something else, all of it in one moment. */
static void restate(present *p, size_t node) {
  stated now = {.node = node, .life = p->life[node], .ended = WEFT_NEVER};
  weft_value number = {.kind = WEFT_INT, .as = {.integer = (int64_t)p->count}};
  for (unsigned i = 0; i < slots; i++) {
    session *s = &now.at[i];
    bool brief = test_rng_chance(&p->rng, 20);
    s->on = test_rng_chance(&p->rng, i == 0 ? 80 : 20);
    s->doc = (unsigned)test_rng_below(&p->rng, docs);
    s->until = WEFT_NEVER;
    uint32_t ttl = 1 + (uint32_t)test_rng_below(&p->rng, 60 * second);
    if (brief) s->until = sim_now(p->s) + ttl;
  }
  leave_old(p, node, &now);
  for (unsigned i = 0; i < slots; i++) {
    const session *s = &now.at[i];
    char text[4];
    weft_presence_session one = {session_name(i, text), weft_bytes_str(doc_names[s->doc]), &number,
                                 0};
    if (!s->on) continue;
    if (s->until != WEFT_NEVER) one.ttl_ms = (uint32_t)(s->until - sim_now(p->s));
    must(p, node, weft_node_presence_set(sim_node(p->s, node), sim_now(p->s), &one), "stating");
  }
  withdraw(p, node);
  if (p->count == p->cap) {
    p->cap = p->cap ? 2 * p->cap : 64;
    p->all = realloc(p->all, p->cap * sizeof *p->all);
    if (!p->all) abort();
  }
  p->all[p->count++] = now;
  p->now_of[node] = p->count;
  p->so_far.stated++;
  sim_say(p->s, "%s : states %zu", sim_name(p->s, node), p->count - 1);
  sim_changed(p->s, node);
}

/* --- lying --- */

/* Remembers what the node of a liar knows of others, as it would tell a link that opens. */
static void listen(present *p, weft_node *n) {
  enum { nobody_s = 1 << 30 };
  weft_id nobody = {{0xee}};
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_msg_presence m;
  weft__arena_init(&arena, &mem);
  weft__presence_link_up(n->presence, nobody_s, &nobody);
  if (weft__presence_next(n->presence, sim_now(p->s), nobody_s, &arena, &m)) {
    for (size_t i = 0; i < m.count; i++) {
      bool own = weft_id_cmp(&m.at[i].device, &n->identity.device) == 0;
      if (own || m.at[i].body.len == 0) continue;
      size_t place =
          p->heard_count < caught_max ? p->heard_count++ : test_rng_below(&p->rng, caught_max);
      caught *c = &p->heard[place];
      c->s = m.at[i];
      memcpy(c->body, m.at[i].body.at, m.at[i].body.len);
      c->s.body = weft_bytes_of(c->body, m.at[i].body.len);
    }
  }
  weft__presence_link_down(n->presence, nobody_s);
  weft__arena_free(&arena);
}

/* Says of another what it did not: a later number, a longer life, other sessions, or anything. */
static void forge(present *p, const weft_node *n, weft_msg_statement *m, uint8_t *body) {
  switch (test_rng_below(&p->rng, 4)) {
  case 0: m->counter += 1 + test_rng_below(&p->rng, UINT64_C(1) << 40); break;
  case 1:
    m->counter++;
    m->life_ms = UINT32_MAX;
    break;
  case 2:
    memcpy(body, m->body.at, m->body.len);
    body[m->body.len - 1] ^= 1; /* the last state's number */
    m->body.at = body;
    n->crypto->hash(m->digest, sizeof m->digest, weft_bytes_of(NULL, 0), NULL, NULL, &m->body, 1);
    m->counter++;
    break;
  default:
    m->counter = UINT64_MAX - test_rng_below(&p->rng, 2);
    test_rng_fill(&p->rng, m->sig.b, sizeof m->sig.b);
    break;
  }
}

/* A liar tells one of its links of somebody else. */
static void pretend(present *p, size_t node) {
  weft_node *n = sim_node(p->s, node);
  uint8_t body[WEFT_PRESENCE_BODY_LEN_MAX];
  if (test_rng_chance(&p->rng, 30)) listen(p, n);
  if (p->heard_count == 0 || n->link_count == 0) return;
  weft_link *link = n->links[test_rng_below(&p->rng, n->link_count)];
  weft_msg_statement m = p->heard[test_rng_below(&p->rng, p->heard_count)].s;
  bool forged = test_rng_chance(&p->rng, 10); /* it costs the link */
  m.age_ms = 0;
  if (forged) forge(p, n, &m, body);
  if (link->state != WEFT_LINK_OPEN || link->queued >= WEFT_LINK_QUEUED_MAX) return;
  weft_msg_presence all = {.at = &m, .count = 1};
  weft_buf out = weft__link_body(link);
  weft__msg_presence_put(&out, &all);
  weft__link_send(link, WEFT_FRAME_PRESENCE, &out);
  p->so_far.forged += forged;
  p->so_far.repeated += !forged;
  p->repeated_at = sim_now(p->s);
  sim_say(p->s, "%s : %s presence", sim_name(p->s, node), forged ? "forges" : "repeats");
  sim_changed(p->s, node);
}

void present_act(present *p) {
  size_t node = test_rng_below(&p->rng, sim_count(p->s));
  bool states = test_rng_chance(&p->rng, 30);
  if (!sim_is_up(p->s, node)) return;
  if (p->lies[node] && !states)
    pretend(p, node);
  else if (states)
    restate(p, node);
}

void present_ends(present *p, size_t node) {
  withdraw(p, node);
  p->life[node]++;
  memset(p->of[node], 0, sizeof p->of[node]);
}

void present_copied(present *p, size_t node) { p->copied[sim_device(p->s, node)] = true; }

/* --- looking --- */

static weft_ms longest(const present *p) {
  weft_ms hop = hop_ms + sim_so_far(p->s)->slowest_ms + (p->still ? still_ms : 0);
  return life_ms + (sim_count(p->s) - 1) * hop;
}

static size_t device_of(const present *p, const weft_id *device) {
  const test_space *space = sim_space(p->s);
  size_t i = 0;
  while (i < space->count && weft_id_cmp(&space->devices[i].device, device) != 0) i++;
  return i;
}

/* The session of a statement that a line of a listing shows; it must be there. */
static unsigned slot_of(const present *p, size_t by, const weft_present *line, const stated **out) {
  bool known = line->state.kind == WEFT_INT && line->state.as.integer >= 0 &&
               (uint64_t)line->state.as.integer < p->count;
  const stated *s = known ? &p->all[line->state.as.integer] : NULL;
  for (unsigned i = 0; s && i < slots; i++) {
    char text[4];
    bool it = s->at[i].on && weft_bytes_cmp(session_name(i, text), line->session) == 0 &&
              weft_bytes_cmp(weft_bytes_str(doc_names[s->at[i].doc]), line->doc) == 0 &&
              sim_device(p->s, s->node) == device_of(p, &line->device);
    *out = s;
    if (it) return i;
  }
  sim_fail(p->s, "I6: %s lists what nobody stated, as number %lld", sim_name(p->s, by),
           known ? (long long)line->state.as.integer : -1);
}

/* What is listed of a device is all of a statement, but what ended by itself. */
static void check_whole(const present *p, size_t by, const stated *s, unsigned listed) {
  for (unsigned i = 0; i < slots; i++) {
    if ((listed >> i & 1) || !runs_now(p, &s->at[i])) continue;
    sim_fail(p->s, "I6: %s lists a part of what %s stated", sim_name(p->s, by),
             sim_name(p->s, s->node));
  }
}

static void check_order(present *p, size_t by, const stated *s) {
  seen *before = &p->of[by][sim_device(p->s, s->node)];
  size_t number = (size_t)(s - p->all) + 1;
  if (before->number == number) return;
  const stated *old = before->number ? &p->all[before->number - 1] : NULL;
  bool same = old && old->node == s->node && old->life == s->life;
  if (same && before->number > number && !p->copied[sim_device(p->s, s->node)]) {
    sim_fail(p->s, "I6: %s lists number %zu of %s after number %zu", sim_name(p->s, by), number - 1,
             sim_name(p->s, s->node), before->number - 1);
  }
  *before = (seen){number, sim_now(p->s)};
}

/* Who was away while a statement was made again, every 15 s, has not heard the last of it: repeated
 * by a liar, it is listed for a life from then on. */
static void check_age(present *p, size_t by, const stated *s, unsigned slot) {
  const seen *since = &p->of[by][sim_device(p->s, s->node)];
  weft_ms now = sim_now(p->s), gone = s->at[slot].until < s->ended ? s->at[slot].until : s->ended;
  weft_ms silent = now > gone ? now - gone : 0;
  if (silent > 0 && s->life != p->life[s->node]) p->so_far.ghost = true;
  if (silent > p->so_far.silent_ms && !p->liars) p->so_far.silent_ms = silent;
  weft_ms from = since->since > p->repeated_at ? since->since : p->repeated_at;
  if (p->liars && gone < from) silent = now > from ? now - from : 0;
  if (silent > longest(p)) {
    sim_fail(p->s, "I8: %s lists a ghost of %s, silent for %llu ms", sim_name(p->s, by),
             sim_name(p->s, s->node), (unsigned long long)silent);
  }
}

/* What a node lists of itself is what it states. */
static void check_own(const present *p, size_t by, size_t number, unsigned listed) {
  static const stated nothing;
  const stated *s = p->now_of[by] ? &p->all[p->now_of[by] - 1] : &nothing;
  check_whole(p, by, s, listed);
  if (listed && number != p->now_of[by]) {
    sim_fail(p->s, "I6: %s lists of itself what it does not state", sim_name(p->s, by));
  }
}

/* What one node lists of each device: the number of a statement and 1. */
static void read_list(present *p, size_t by, size_t numbers[LEDGER_NODES_MAX]) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_present *list;
  size_t count, own = 0;
  unsigned own_listed = 0;
  weft__arena_init(&arena, &mem);
  must(p, by, weft_node_presence(sim_node(p->s, by), &arena, &list, &count), "listing");
  memset(numbers, 0, LEDGER_NODES_MAX * sizeof *numbers);
  for (size_t i = 0, next; i < count; i = next) {
    const stated *first = NULL, *s = NULL;
    unsigned listed = 0;
    for (next = i; next < count; next++) {
      if (weft_id_cmp(&list[next].device, &list[i].device) != 0) break;
      if (list[next].self != list[i].self) break;
      unsigned slot = slot_of(p, by, &list[next], &s);
      if (!first) first = s;
      if (s != first) sim_fail(p->s, "I6: %s mixes two statements", sim_name(p->s, by));
      listed |= 1u << slot;
    }
    WEFT_ASSERT(first);
    if (list[i].self) {
      own = (size_t)(first - p->all) + 1;
      own_listed = listed;
      continue;
    }
    check_order(p, by, first);
    check_whole(p, by, first, listed);
    for (unsigned k = 0; k < slots; k++) {
      if (listed >> k & 1) check_age(p, by, first, k);
    }
    p->so_far.listed += next - i;
    numbers[sim_device(p->s, first->node)] = (size_t)(first - p->all) + 1;
  }
  check_own(p, by, own, own_listed);
  weft__arena_free(&arena);
}

void present_look(present *p, size_t node) {
  size_t numbers[LEDGER_NODES_MAX];
  if (!sim_is_up(p->s, node) || p->lies[node]) return;
  sim_check(p->s, SIM_I6);
  read_list(p, node, numbers);
}

/* --- the end --- */

static bool states_something(const present *p, size_t node) {
  const stated *s = p->now_of[node] ? &p->all[p->now_of[node] - 1] : NULL;
  bool any = false;
  for (unsigned i = 0; s && i < slots; i++) any = any || runs_now(p, &s->at[i]);
  return any;
}

/* Does what is listed of a device as `number` fit what its nodes, mostly one, state? */
static bool fits(const present *p, size_t by, size_t device, size_t number) {
  bool all_state = true, is_one = false;
  for (size_t i = 0; i < sim_count(p->s); i++) {
    if (sim_device(p->s, i) != device || i == by) continue;
    bool states = states_something(p, i);
    all_state = all_state && states;
    is_one = is_one || (states && p->now_of[i] == number);
  }
  return number > 0 ? is_one : !all_state;
}

/* The first node and device where what is listed does not fit; false: it fits everywhere. */
static bool misfit(present *p, size_t *by, size_t *device) {
  size_t numbers[LEDGER_NODES_MAX];
  for (size_t i = 0; i < sim_count(p->s); i++) {
    if (p->lies[i]) continue;
    read_list(p, i, numbers);
    for (size_t d = 0; d < sim_space(p->s)->count; d++) {
      if (p->lies[d] || d == sim_device(p->s, i)) continue;
      sim_check(p->s, SIM_I8);
      *by = i;
      *device = d;
      if (!fits(p, i, d, numbers[d])) return true;
    }
  }
  return false;
}

void present_calm(present *p) {
  weft_ms before = sim_now(p->s);
  size_t by, device, state_twice = 0;
  for (size_t i = 0; i < sim_count(p->s); i++) {
    if (test_rng_chance(&p->rng, 70)) restate(p, i);
    bool copy = i >= sim_space(p->s)->count;
    state_twice += copy && states_something(p, i) && states_something(p, sim_device(p->s, i));
  }
  p->so_far.copies = state_twice > 0;
  while (misfit(p, &by, &device)) {
    if (sim_now(p->s) >= before + calm_limit) {
      sim_fail(p->s, "I8: %s does not list what %s states", sim_name(p->s, by),
               sim_name(p->s, device));
    }
    sim_run(p->s, sim_now(p->s) + second);
  }
  p->so_far.calm_ms = sim_now(p->s) - before;
}

const present_counts *present_so_far(const present *p) { return &p->so_far; }

present *present_new(sim *s, uint64_t seed, const bool *lies, bool still) {
  present *p = calloc(1, sizeof *p);
  if (!p) abort();
  p->heard = calloc(caught_max, sizeof *p->heard);
  if (!p->heard) abort();
  p->s = s;
  p->rng = test_rng_of(seed);
  p->lies = lies;
  p->still = still;
  for (size_t i = 0; i < sim_count(s); i++) p->liars = p->liars || lies[i];
  return p;
}

void present_free(present *p) {
  if (!p) return;
  free(p->all);
  free(p->heard);
  free(p);
}

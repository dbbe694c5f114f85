#include "tests/sim/liar.h"

#include <stdlib.h>
#include <string.h>

#include "crdt/chunk.h"
#include "tests/support/changes.h"

enum { logs_max = 3, raw_max = 512, forks_max = 6, denials_max = 300 };

/* A log written by hand. */
typedef struct forged {
  weft_start start;
  weft_id log, head;
  uint64_t seq, hlc;
  uint32_t numbers; /* of claims, so far */
} forged;

struct liar {
  sim *s;
  size_t node;
  uint32_t ways;
  test_rng rng;
  weft_alloc mem;
  forged logs[logs_max];
  size_t log_count, forks;
  weft_vector said[3]; /* held, shown, showable, as told */
  uint64_t said_at[3]; /* the arrival they were made at; UINT64_MAX: never */
  unsigned said_times[3];
  uint64_t counts[LIAR_WAY_COUNT];
};

static bool has(const liar *l, liar_way way) { return l->ways >> way & 1; }

static void must(const liar *l, weft_err err) {
  if (err != WEFT_OK) sim_fail(l->s, "a liar fails: %s", weft_err_name(err));
}

/* --- what it says --- */

static weft_source truth(const liar *l) { return sim_source(l->s, l->node); }

/* A vector as it is told: with heads that do not exist, without some that do.  What is denied is
 * asked for by the liar's own node, which believes it, and again when it has come; after a while of
 * that it is no longer denied, until something new arrives. */
static const weft_vector *tell(liar *l, unsigned which, const weft_vector *really) {
  weft_source t = truth(l);
  uint64_t arrival = t.arrival(t.ctx) * 1000003u + really->count;
  weft_vector *v = &l->said[which];
  if (l->said_at[which] == arrival) {
    if (++l->said_times[which] != denials_max) return v;
    for (size_t i = 0; i < really->count; i++) {
      const weft_head *h = &really->heads[i];
      if (weft__vector_seq(v, &h->log) == 0) must(l, weft__vector_raise(v, NULL, h));
    }
    return v;
  }
  l->said_at[which] = arrival;
  l->said_times[which] = 0;
  weft__vector_clear(v);
  for (size_t i = 0; i < really->count; i++) {
    weft_head h = really->heads[i];
    if (has(l, LIAR_DENIES) && test_rng_chance(&l->rng, 20)) {
      l->counts[LIAR_DENIES]++;
      continue;
    }
    if (has(l, LIAR_BOASTS) && test_rng_chance(&l->rng, 20)) {
      h.seq += 1 + test_rng_below(&l->rng, 5);
      test_rng_fill(&l->rng, h.id.b, sizeof h.id.b);
      l->counts[LIAR_BOASTS]++;
    }
    must(l, weft__vector_raise(v, NULL, &h));
  }
  return v;
}

static const weft_vector *told_held(void *ctx) {
  weft_source t = truth(ctx);
  return tell(ctx, 0, t.held(t.ctx));
}

static const weft_vector *told_shown(void *ctx) {
  weft_source t = truth(ctx);
  return tell(ctx, 1, t.shown(t.ctx));
}

static const weft_vector *told_showable(void *ctx) {
  weft_source t = truth(ctx);
  return tell(ctx, 2, t.showable(t.ctx));
}

static const weft_roster *told_roster(void *ctx) {
  weft_source t = truth(ctx);
  return t.roster(t.ctx);
}

static uint64_t told_instance(void *ctx) {
  weft_source t = truth(ctx);
  return t.instance(t.ctx);
}

/* A number that may be a mistake. */
static uint64_t mistaken(liar *l, uint64_t right) {
  if (!has(l, LIAR_MISTAKES) || !test_rng_chance(&l->rng, 20)) return right;
  l->counts[LIAR_MISTAKES]++;
  uint64_t any = test_rng_next(&l->rng);
  return any >> test_rng_below(&l->rng, 64);
}

static uint64_t told_arrival(void *ctx) {
  weft_source t = truth(ctx);
  return mistaken(ctx, t.arrival(t.ctx));
}

static uint32_t told_apply_level(void *ctx) {
  weft_source t = truth(ctx);
  return (uint32_t)mistaken(ctx, t.apply_level(t.ctx));
}

static void told_digest(void *ctx, uint8_t out[16]) {
  liar *l = ctx;
  weft_source t = truth(l);
  t.digest(t.ctx, out);
  if (has(l, LIAR_MISTAKES)) out[0] = (uint8_t)mistaken(l, out[0]);
}

static uint64_t told_clock(void *ctx) {
  weft_source t = truth(ctx);
  return mistaken(ctx, t.clock(t.ctx));
}

/* Leaves spans out. */
static void withhold(liar *l, weft_source_span *at, size_t *count) {
  size_t kept = 0;
  for (size_t i = 0; i < *count; i++) {
    if (has(l, LIAR_WITHHOLDS) && test_rng_chance(&l->rng, 40)) {
      l->counts[LIAR_WITHHOLDS]++;
      continue;
    }
    at[kept++] = at[i];
  }
  *count = kept;
}

static weft_err told_missing(void *ctx, weft_arena *arena, const weft_vector *theirs, size_t max,
                             weft_source_span **out, size_t *count) {
  weft_source t = truth(ctx);
  WEFT_TRY(t.missing(t.ctx, arena, theirs, max, out, count));
  withhold(ctx, *out, count);
  return WEFT_OK;
}

static weft_err told_arrivals(void *ctx, weft_arena *arena, uint64_t arrival, size_t max,
                              weft_source_span **out, size_t *count, uint64_t *last) {
  weft_source t = truth(ctx);
  WEFT_TRY(t.arrivals(t.ctx, arena, arrival, max, out, count, last));
  withhold(ctx, *out, count);
  return WEFT_OK;
}

static weft_err told_read_chunk(void *ctx, const weft_id *log, uint32_t branch, uint64_t from,
                                uint64_t to, weft_buf *out, uint64_t *last) {
  liar *l = ctx;
  weft_source t = truth(l);
  if (has(l, LIAR_WITHHOLDS) && test_rng_chance(&l->rng, 30)) {
    l->counts[LIAR_WITHHOLDS]++;
    return WEFT_ENOTFOUND;
  }
  size_t before = weft__buf_view(out).len;
  WEFT_TRY(t.read_chunk(t.ctx, log, branch, from, to, out, last));
  size_t len = weft__buf_view(out).len - before;
  if (has(l, LIAR_MANGLES) && len > 0 && test_rng_chance(&l->rng, 30)) {
    size_t at = before + test_rng_below(&l->rng, len);
    out->at[at] ^= (uint8_t)(1u << test_rng_below(&l->rng, 8));
    l->counts[LIAR_MANGLES]++;
  }
  return WEFT_OK;
}

static weft_err told_pack(void *ctx, weft_arena *arena, weft_bytes *chunks, size_t *count) {
  weft_source t = truth(ctx);
  return t.pack(t.ctx, arena, chunks, count);
}

static weft_err told_id_at(void *ctx, const weft_id *log, uint32_t branch, uint64_t seq,
                           weft_id *out) {
  weft_source t = truth(ctx);
  return t.id_at(t.ctx, log, branch, seq, out);
}

static weft_err told_find(void *ctx, const weft_id *log, uint64_t seq, const weft_id *id,
                          weft_source_span *out) {
  weft_source t = truth(ctx);
  return t.find(t.ctx, log, seq, id, out);
}

static weft_err told_author(void *ctx, const weft_id *log, weft_id *out) {
  weft_source t = truth(ctx);
  return t.author(t.ctx, log, out);
}

static uint8_t told_lane(void *ctx, const weft_id *log) {
  weft_source t = truth(ctx);
  return t.lane(t.ctx, log);
}

static weft_err told_acks(void *ctx, weft_arena *arena, weft_bytes **acks, size_t *count) {
  weft_source t = truth(ctx);
  return t.acks(t.ctx, arena, acks, count);
}

/* --- what it signs --- */

/* Chooses a node that does not lie and is up; false when none is. */
static bool victim(liar *l, const bool *lies, size_t *out) {
  for (unsigned tries = 0; tries < 8; tries++) {
    *out = test_rng_below(&l->rng, sim_count(l->s));
    if (sim_is_up(l->s, *out) && !lies[*out]) return true;
  }
  return false;
}

/* Hands a run to a node, as a peer's that nobody sees. */
static void hand(liar *l, size_t node, weft_arena *arena, const weft_run *run) {
  weft_buf chunk;
  weft_hold_report report;
  weft__buf_init(&chunk, &l->mem, SIZE_MAX);
  must(l, weft__chunk_encode(&chunk, &l->mem, run, 1, WEFT_CHUNK_LIVE));
  weft_bytes view = weft__buf_view(&chunk);
  weft_err err = weft_replica_hold(sim_replica(l->s, node), arena, &view, 1, &report);
  sim_say(l->s, "%s : is handed %02x%02x %llu-%llu of %s: %s", sim_name(l->s, node), run->log.b[0],
          run->log.b[1], (unsigned long long)run->first,
          (unsigned long long)(run->first + run->count - 1), sim_name(l->s, l->node),
          weft_err_name(err));
  weft__buf_free(&chunk);
  if (err == WEFT_OK) sim_held(l->s, node);
}

static weft_bytes encoded(liar *l, weft_arena *arena, const weft_change *change) {
  weft_buf b;
  weft_bytes out;
  weft__buf_init(&b, &l->mem, SIZE_MAX);
  must(l, weft__change_encode(&b, arena, change));
  must(l, weft__arena_copy(arena, weft__buf_view(&b), &out));
  weft__buf_free(&b);
  return out;
}

/* The run of one change that follows `f`; `f` moves on. */
static weft_run follow(liar *l, forged *f, weft_bytes *raw) {
  const test_space *space = sim_space(l->s);
  const weft_identity *own = &space->devices[sim_device(l->s, l->node)];
  weft_run run = {.log = f->log, .first = f->seq + 1, .prev = f->head, .changes = raw, .count = 1};
  weft__change_id(space->crypto, &space->id, &run.prev, *raw, &f->head);
  f->seq++;
  weft__change_sign(space->crypto, &own->sign_seed, &own->device, &space->id, &f->log, f->seq,
                    &f->head, &run.sig);
  return run;
}

/* Begins a log; its START goes to every victim with its first change. */
static forged *begin(liar *l, weft_arena *arena, size_t node) {
  const test_space *space = sim_space(l->s);
  const weft_roster *roster = weft_replica_roster(sim_replica(l->s, node));
  const weft_id *device = &space->devices[sim_device(l->s, l->node)].device;
  const weft_roster_member *me = weft__roster_member_of(roster, device);
  if (!me) return NULL; /* nobody knows it there yet */
  forged *f = &l->logs[l->log_count++];
  *f = (forged){.hlc = 1750000000000u << 16, .start = {.device = *device, .grant = me->grant}};
  test_rng_fill(&l->rng, f->start.incarnation, sizeof f->start.incarnation);
  f->start.lane = WEFT_LANE_NORMAL;
  weft__log_id(space->crypto, &space->id, &f->start, &f->log);
  weft__log_root(space->crypto, &f->log, &f->head);
  weft_change change = {.kind = WEFT_CHANGE_START, .hlc = f->hlc, .start = f->start};
  weft_bytes raw = encoded(l, arena, &change);
  weft_run run = follow(l, f, &raw);
  for (size_t i = 0; i < sim_count(l->s); i++) {
    if (sim_is_up(l->s, i)) hand(l, i, arena, &run);
  }
  return f;
}

/* Claims something of what a node shows, in a way that is a lie or not; false: nothing is there. */
static bool claim(liar *l, size_t node, forged *f, liar_way way, weft_claim *out) {
  const weft_vector *shown = weft_replica_shown(sim_replica(l->s, node));
  if (shown->count == 0) return false;
  weft_head h = shown->heads[test_rng_below(&l->rng, shown->count)];
  if (memcmp(h.log.b, f->log.b, sizeof h.log.b) == 0) return false;
  if (way == LIAR_STALE) {
    weft_id id;
    uint64_t seq = 1 + test_rng_below(&l->rng, h.seq);
    if (weft_replica_id_at(sim_replica(l->s, node), &h.log, WEFT_BRANCH_ANY, seq, &id) == WEFT_OK) {
      h.seq = seq;
      h.id = id;
    }
  }
  if (way == LIAR_FUTURE) h.seq += 1 + test_rng_below(&l->rng, 3);
  *out = (weft_claim){.number = f->numbers++, .has_log = true, .has_tag = true, .log = h.log};
  out->seq = h.seq;
  memcpy(out->tag, h.id.b, sizeof out->tag);
  if (way == LIAR_FALSE || way == LIAR_FUTURE) {
    test_rng_fill(&l->rng, out->tag, sizeof out->tag);
  }
  return true;
}

static const char *const places[] = {"lists/a", "drafts/a", "drafts/b", "liar/a"};

static weft_bytes forge(liar *l, size_t node, forged *f, liar_way way, weft_arena *arena) {
  weft_claim claims[2];
  static const char *const keys[] = {"items", "text", "body", "x"};
  const char *place = places[test_rng_below(&l->rng, 4)], *key = keys[test_rng_below(&l->rng, 4)];
  weft_bytes value = test_scalar_any(arena, &l->rng);
  weft_change change = test_change_single(arena, ++f->hlc, place, key, value);
  if (way != LIAR_OMITTED && way != LIAR_HOSTILE && way != LIAR_EQUIVOCATES) {
    change.claims = claims;
    change.claim_count = claim(l, node, f, way, &claims[0]);
  }
  if (way != LIAR_HOSTILE) return encoded(l, arena, &change);
  uint64_t kind = test_rng_below(&l->rng, 4);
  if (kind == 0) {
    change.hlc = f->hlc = test_rng_next(&l->rng) | 1;
    return encoded(l, arena, &change);
  }
  weft_bytes raw = encoded(l, arena, &change);
  uint8_t *at = weft__arena_take(arena, raw_max);
  if (!at) sim_fail(l->s, "memory");
  size_t len = raw.len < raw_max ? raw.len : raw_max;
  memcpy(at, raw.at, len);
  if (kind == 1) {
    len = 1 + test_rng_below(&l->rng, raw_max);
    test_rng_fill(&l->rng, at, len);
  } else {
    for (unsigned i = 0; i < kind; i++) {
      size_t where = test_rng_below(&l->rng, len);
      at[where] = (uint8_t)test_rng_next(&l->rng);
    }
  }
  return weft_bytes_of(at, len);
}

void liar_act(liar *l, const bool *lies) {
  size_t node, other;
  weft_arena arena;
  liar_way way;
  if (!victim(l, lies, &node)) return;
  do {
    way = (liar_way)test_rng_below(&l->rng, LIAR_WAY_COUNT);
  } while (way != LIAR_OMITTED && !has(l, way));
  if (way >= LIAR_WITHHOLDS && way <= LIAR_MISTAKES) return; /* it does so when it is asked */
  weft__arena_init(&arena, &l->mem);
  size_t which = test_rng_below(&l->rng, logs_max);
  forged *f = which < l->log_count ? &l->logs[which] : begin(l, &arena, node);
  if (f && f->seq > 0) {
    forged twin = *f;
    weft_bytes raw = forge(l, node, f, way, &arena);
    weft_run run = follow(l, f, &raw);
    hand(l, node, &arena, &run);
    if (way == LIAR_EQUIVOCATES && l->forks < forks_max && victim(l, lies, &other)) {
      weft_bytes second = forge(l, other, &twin, way, &arena);
      weft_run branch = follow(l, &twin, &second);
      hand(l, other, &arena, &branch);
      l->forks++;
    }
    l->counts[way]++;
  }
  weft__arena_free(&arena);
}

uint64_t liar_count(const liar *l, liar_way way) { return l->counts[way]; }

liar *liar_new(sim *s, size_t node, uint64_t seed, uint32_t ways) {
  static const weft_source answers = {
      .held = told_held,
      .shown = told_shown,
      .showable = told_showable,
      .roster = told_roster,
      .instance = told_instance,
      .arrival = told_arrival,
      .apply_level = told_apply_level,
      .digest = told_digest,
      .clock = told_clock,
      .missing = told_missing,
      .arrivals = told_arrivals,
      .read_chunk = told_read_chunk,
      .pack = told_pack,
      .id_at = told_id_at,
      .find = told_find,
      .author = told_author,
      .lane = told_lane,
      .acks = told_acks,
  };
  WEFT_STATIC_ASSERT(sizeof answers == 19 * sizeof answers.ctx, "a liar answers every question");
  liar *l = calloc(1, sizeof *l);
  if (!l) abort();
  l->s = s;
  l->node = node;
  l->ways = ways;
  l->rng = test_rng_of(seed);
  l->mem = weft_alloc_libc();
  for (unsigned i = 0; i < 3; i++) {
    weft__vector_init(&l->said[i], &l->mem);
    l->said_at[i] = UINT64_MAX;
  }
  weft_source told = answers;
  told.ctx = l;
  sim_lie(s, node, &told);
  return l;
}

void liar_free(liar *l) {
  for (unsigned i = 0; i < 3; i++) weft__vector_free(&l->said[i]);
  free(l);
}

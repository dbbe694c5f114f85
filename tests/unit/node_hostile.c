/* A node among members that say anything: frames of every type in any order, made of what is true,
 * nearly true and invented, over a replica whose answers fail now and then.  In two runs of three
 * its owner is as bad: memory fails, what was to be stored is stored late or not at all, answers
 * come to questions nobody asked, and devices connect that are nobody, somebody new, or the node
 * itself.  Links may end; the node goes on, its lists can be read at any time, and an honest member
 * is served at the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/metrics.h"
#include "crdt/ticket.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/fault_store.h"
#include "tests/support/messages.h"
#include "tests/support/pace.h"
#include "tests/support/rig.h"

#ifdef __SANITIZE_ADDRESS__ /* three times as slow */
enum { RUNS = 60 };
#else
enum { RUNS = 150 };
#endif
enum {
  STEPS = 160,
  HEADS_MAX = 160,
  CHUNKS_MAX = 32,
  LOGS = 90,
  PUPPETS = 3,
  ITEMS_MAX = 6,
  DEVICES = 6
};

/* The replica's answers, some of which fail. */
typedef struct flaky {
  weft_source inner;
  test_rng rng;
  unsigned percent;
} flaky;

typedef struct stage {
  rig r;
  flaky source;
  test_fault_alloc allocs;
  test_rng rng;
  weft_arena arena; /* of one step */
  weft_arena lasting;
  weft_head heads[HEADS_MAX]; /* true somewhere */
  size_t head_count;
  weft_bytes chunks[CHUNKS_MAX];
  size_t chunk_count;
  puppet puppets[PUPPETS];
  bool there[PUPPETS];
  bool odd;              /* the owner is bad, too */
  weft_node_action late; /* a HOLD that waits */
  bool has_late;
  uint64_t record, admit; /* tickets that wait; 0: none */
  weft_ticket_keys keys;  /* of the open invite */
  weft_metrics *metrics;
  test_space other; /* whose records are nothing here */
} stage;

static uint64_t pick(stage *s, uint64_t below) { return test_rng_below(&s->rng, below); }
static bool chance(stage *s, unsigned percent) { return test_rng_chance(&s->rng, percent); }

/* --- answers that fail --- */

static bool fails(void *ctx, weft_err *err) {
  static const weft_err errors[] = {WEFT_ENOMEM, WEFT_EIO, WEFT_ENOTFOUND};
  flaky *f = ctx;
  *err = errors[test_rng_below(&f->rng, 3)];
  return test_rng_chance(&f->rng, f->percent);
}

static weft_err missing(void *ctx, weft_arena *arena, const weft_vector *theirs, size_t max,
                        weft_source_span **out, size_t *count) {
  weft_err err;
  flaky *f = ctx;
  *count = 0;
  if (fails(f, &err)) return err;
  return f->inner.missing(f->inner.ctx, arena, theirs, max, out, count);
}

static weft_err arrivals(void *ctx, weft_arena *arena, uint64_t arrival, size_t max,
                         weft_source_span **out, size_t *count, uint64_t *last) {
  weft_err err;
  flaky *f = ctx;
  *count = 0;
  if (fails(f, &err)) return err;
  return f->inner.arrivals(f->inner.ctx, arena, arrival, max, out, count, last);
}

static weft_err read_chunk(void *ctx, const weft_id *log, uint32_t branch, uint64_t from,
                           uint64_t to, weft_buf *out, uint64_t *last) {
  weft_err err;
  flaky *f = ctx;
  if (fails(f, &err)) return err;
  return f->inner.read_chunk(f->inner.ctx, log, branch, from, to, out, last);
}

static weft_err pack(void *ctx, weft_arena *arena, weft_bytes *chunks, size_t *count) {
  weft_err err;
  flaky *f = ctx;
  if (fails(f, &err)) return err;
  return f->inner.pack(f->inner.ctx, arena, chunks, count);
}

static weft_err id_at(void *ctx, const weft_id *log, uint32_t branch, uint64_t seq, weft_id *out) {
  weft_err err;
  flaky *f = ctx;
  if (fails(f, &err)) return err;
  return f->inner.id_at(f->inner.ctx, log, branch, seq, out);
}

static weft_err find(void *ctx, const weft_id *log, uint64_t seq, const weft_id *id,
                     weft_source_span *out) {
  weft_err err;
  flaky *f = ctx;
  if (fails(f, &err)) return err;
  return f->inner.find(f->inner.ctx, log, seq, id, out);
}

static uint8_t lane(void *ctx, const weft_id *log) {
  const flaky *f = ctx;
  return f->inner.lane(f->inner.ctx, log);
}

static weft_err author(void *ctx, const weft_id *log, weft_id *out) {
  weft_err err;
  flaky *f = ctx;
  if (fails(f, &err)) return err;
  return f->inner.author(f->inner.ctx, log, out);
}

static const weft_vector *held(void *ctx) {
  flaky *f = ctx;
  return f->inner.held(f->inner.ctx);
}
static const weft_vector *shown(void *ctx) {
  flaky *f = ctx;
  return f->inner.shown(f->inner.ctx);
}
static const weft_vector *showable(void *ctx) {
  flaky *f = ctx;
  return f->inner.showable(f->inner.ctx);
}
static const weft_roster *roster(void *ctx) {
  flaky *f = ctx;
  return f->inner.roster(f->inner.ctx);
}
static uint64_t instance(void *ctx) {
  flaky *f = ctx;
  return f->inner.instance(f->inner.ctx);
}
static uint64_t arrival(void *ctx) {
  flaky *f = ctx;
  return f->inner.arrival(f->inner.ctx);
}
static uint32_t apply_level(void *ctx) {
  flaky *f = ctx;
  return f->inner.apply_level(f->inner.ctx);
}
static void digest(void *ctx, uint8_t out[16]) {
  flaky *f = ctx;
  f->inner.digest(f->inner.ctx, out);
}
static uint64_t hlc(void *ctx) {
  flaky *f = ctx;
  return f->inner.clock(f->inner.ctx);
}
static weft_err acks(void *ctx, weft_arena *arena, weft_bytes **list, size_t *count) {
  flaky *f = ctx;
  return f->inner.acks(f->inner.ctx, arena, list, count);
}

static weft_source flaky_source(flaky *f, const weft_source *inner, uint64_t seed) {
  *f = (flaky){*inner, test_rng_of(seed), 0};
  return (weft_source){.ctx = f,
                       .held = held,
                       .shown = shown,
                       .showable = showable,
                       .roster = roster,
                       .instance = instance,
                       .arrival = arrival,
                       .apply_level = apply_level,
                       .digest = digest,
                       .clock = hlc,
                       .missing = missing,
                       .arrivals = arrivals,
                       .read_chunk = read_chunk,
                       .pack = pack,
                       .id_at = id_at,
                       .find = find,
                       .author = author,
                       .lane = lane,
                       .acks = acks};
}

/* --- the owner --- */

static void storing_comes(stage *s) {
  rig *r = &s->r;
  if (s->has_late) {
    s->has_late = false;
    r->late = s->late;
    r->late_set = true;
    rig_hold(r);
  }
  uint64_t record = s->record, admit = s->admit;
  s->record = s->admit = 0;
  if (record) weft_node_recorded(r->node, r->now, record, chance(s, 50) ? WEFT_EIO : WEFT_EBADSIG);
  if (admit) weft_node_admitted(r->node, r->now, admit, WEFT_EDENIED, WEFT_CODE_INVITE_USED);
  rig_pump(r);
}

/* Nothing is held, for reasons that need not be true. */
static void hold_not(stage *s, uint64_t ticket) {
  static const weft_err errors[] = {WEFT_EBADSIG,   WEFT_EMALFORMED, WEFT_EVERSION, WEFT_ELIMIT,
                                    WEFT_EBADCHAIN, WEFT_EIO,        WEFT_EFULL,    WEFT_ENOMEM};
  static const weft_run_verdict verdicts[] = {WEFT_RUN_GAP, WEFT_RUN_UNKNOWN, WEFT_RUN_BRANCH,
                                              WEFT_RUN_FULL};
  weft_node_verdict runs[3];
  size_t count = 1 + pick(s, 3);
  if (chance(s, 40)) {
    weft_node_held(s->r.node, s->r.now, ticket, errors[pick(s, 8)], NULL, 0);
    return;
  }
  memset(runs, 0, sizeof runs);
  for (size_t i = 0; i < count; i++) {
    weft_head h = s->heads[pick(s, s->head_count)];
    runs[i] = (weft_node_verdict){.log = h.log, .first = 1, .last = h.seq, .id = h.id};
    runs[i].verdict = verdicts[pick(s, 4)];
    runs[i].want = 1 + pick(s, h.seq);
  }
  weft_node_held(s->r.node, s->r.now, ticket, WEFT_OK, runs, count);
}

static bool stored_oddly(rig *r, const weft_node_action *a) {
  stage *s = r->odd_ctx;
  unsigned dice = (unsigned)pick(s, 100);
  if (dice < 55) return false;
  if (a->kind == WEFT_NODE_RECORD)
    s->record = a->ticket;
  else if (a->kind == WEFT_NODE_ADMIT)
    s->admit = a->ticket;
  else if (dice < 85)
    hold_not(s, a->ticket);
  else {
    s->late = *a;
    s->has_late = true;
  }
  return true;
}

static void memory_may_fail(stage *s) {
  if (!s->odd || !chance(s, 40)) return;
  s->allocs.calls = 0;
  s->allocs.fail_at = 1 + pick(s, chance(s, 50) ? 6 : 60);
  s->allocs.sticky = chance(s, 20);
}

static void memory_is_back(stage *s) { s->allocs.fail_at = 0; }

/* Answers to what was not asked, and of connections that are not there. */
static void owner_babbles(stage *s) {
  weft_node *n = s->r.node;
  weft_ms now = s->r.now;
  uint64_t any = pick(s, 3) ? 1000000 + pick(s, 9) : 0;
  weft_buf junk = puppet_body();
  weft_node_held(n, now, any, WEFT_OK, NULL, 0);
  weft_node_recorded(n, now, any, WEFT_OK);
  weft_node_admitted(n, now, any, WEFT_OK, 0);
  weft_node_dialled(n, now, any, WEFT_OK);
  weft_node_written(n, now, any, 0);
  weft__buf_put(&junk, weft_bytes_str("junk"));
  weft_node_received(n, now, now, any, weft__buf_view(&junk));
  weft__buf_free(&junk);
  rig_pump(&s->r);
}

/* A stranger at the door while memory is out. */
static void owner_accepts(stage *s) {
  memory_may_fail(s);
  uint64_t conn = rig_accept(&s->r, chance(s, 50) ? "::1" : "10.0.0.9");
  rig_pump(&s->r);
  memory_is_back(s);
  if (conn) rig_forget(&s->r, conn);
  weft_node_invite invite = {s->keys.invite, s->keys.join, s->keys.tag};
  memory_may_fail(s);
  weft_err err = weft_node_set_invites(s->r.node, &invite, 1);
  assert_true(err == WEFT_OK || err == WEFT_ENOMEM);
  memory_is_back(s);
}

static void owner_lists(stage *s) {
  weft_alloc mem = test_fault_alloc_of(&s->allocs);
  weft_arena arena;
  weft_vector floor;
  weft_node_peer *peers;
  weft_node_acked *acked;
  weft_node_reach *reaches;
  weft_node_park *parked;
  weft_present *present;
  size_t count;
  weft_head h = s->heads[pick(s, s->head_count)];
  weft__arena_init(&arena, &mem);
  weft__vector_init(&floor, &mem);
  weft_err errs[7];
  memory_may_fail(s);
  errs[0] = weft_node_peers(s->r.node, &arena, &peers, &count);
  errs[1] = weft_node_acked_list(s->r.node, &arena, &acked, &count);
  errs[2] = weft_node_reaches(s->r.node, &arena, &h.log, &reaches, &count);
  errs[3] = weft_node_parked(s->r.node, &arena, &parked, &count);
  errs[4] = weft_node_presence(s->r.node, &arena, &present, &count);
  errs[5] = weft_node_measure(s->r.node, s->metrics);
  errs[6] = weft_node_floor(s->r.node, &floor);
  bool flaky_source = s->source.percent > 0;
  memory_is_back(s);
  for (size_t i = 0; i < 6; i++) assert_true(errs[i] == WEFT_OK || errs[i] == WEFT_ENOMEM);
  assert_true(errs[6] == WEFT_OK || errs[6] == WEFT_ENOMEM || flaky_source);
  weft__vector_free(&floor);
  weft__arena_free(&arena);
}

static void owner_is_odd(stage *s) {
  switch (pick(s, 4)) {
  case 0: storing_comes(s); break;
  case 1: owner_babbles(s); break;
  case 2: owner_accepts(s); break;
  default: owner_lists(s); break;
  }
}

/* --- the stage --- */

static void keep(stage *s, weft_replica *from) {
  const weft_vector *v = weft_replica_held(from);
  weft_vector none = {.count = 0};
  weft_span *spans;
  size_t count;
  uint64_t last;
  for (size_t i = 0; i < v->count && s->head_count < HEADS_MAX; i++)
    s->heads[s->head_count++] = v->heads[i];
  assert_int_equal(weft_replica_missing(from, &s->lasting, &none, 9, &spans, &count), WEFT_OK);
  for (size_t i = 0; i < count && s->chunk_count < CHUNKS_MAX; i++) {
    weft_buf out = puppet_body();
    assert_int_equal(weft_replica_read_chunk(from, &spans[i].log, spans[i].branch, spans[i].from,
                                             spans[i].to, &out, &last),
                     WEFT_OK);
    assert_int_equal(
        weft__arena_copy(&s->lasting, weft__buf_view(&out), &s->chunks[s->chunk_count++]), WEFT_OK);
    weft__buf_free(&out);
  }
}

/* Every start begins new logs, so that a device comes to have more than are told one by one. */
static void many_logs(stage *s) {
  weft_store *inner = test_memory_store();
  test_fault_store f = {0};
  for (unsigned i = 0; i < LOGS; i++) {
    weft_replica *r = test_space_open(&s->r.space, 1, test_fault_store_of(inner, &f));
    assert_int_equal(test_set(r, "t/many", "/x", i % 2 ? "1" : "2"), WEFT_OK);
    if (i == LOGS - 1) test_pull(s->r.replica, r, 200);
    weft_replica_free(r);
  }
  weft_store_free(inner);
}

/* Three devices; the second one is copied, and writes on in both places. */
static void stage_make(stage *s, uint64_t seed) {
  weft_alloc mem = weft_alloc_libc();
  weft_source source;
  memset(s, 0, sizeof *s);
  s->rng = test_rng_of(seed);
  weft__arena_init(&s->arena, &mem);
  weft__arena_init(&s->lasting, &mem);
  weft_node_options o = rig_options_knowing(&s->r, DEVICES, seed % 3 ? 3 : DEVICES, seed);
  test_space_make(&s->other, 2, seed + 1000);
  o.mem = test_fault_alloc_of(&s->allocs);
  weft__replica_source_free(s->r.source);
  assert_int_equal(weft__replica_source_new(&s->r.source, &o.mem, s->r.replica), WEFT_OK);
  weft__replica_source_fill(s->r.source, &o.source);
  source = flaky_source(&s->source, &o.source, seed);
  o.source = source;
  weft_store *store = test_memory_store();
  weft_replica *other = test_space_open(&s->r.space, 1, store);
  weft_replica *third = test_space_memory(&s->r.space, 2);
  for (unsigned i = 0; i < 4; i++) {
    assert_int_equal(test_set(other, "t/a", "/x", i % 2 ? "1" : "2"), WEFT_OK);
    assert_int_equal(test_set(third, "t/b", "/y", i % 2 ? "3" : "4"), WEFT_OK);
  }
  weft_replica *twin = test_space_open(&s->r.space, 1, test_store_copy(store));
  assert_int_equal(test_set(other, "t/a", "/x", "[5]"), WEFT_OK);
  assert_int_equal(test_set(twin, "t/a", "/x", "[6]"), WEFT_OK);
  assert_int_equal(test_set(twin, "t/c", "/x", "7"), WEFT_OK);
  if (seed % 4 == 1) many_logs(s);
  if (seed % 2) test_pull(s->r.replica, other, 9);
  if (seed % 3 == 0) test_pull(s->r.replica, twin, 9);
  assert_int_equal(test_set(s->r.replica, "t/own", "/x", "8"), WEFT_OK);
  keep(s, s->r.replica);
  keep(s, other);
  keep(s, twin);
  keep(s, third);
  weft_replica_free(other);
  weft_replica_free(twin);
  weft_replica_free(third);
  weft_metrics_options mo;
  weft_key ticket = {{7}};
  weft_metrics_options_init(&mo);
  assert_int_equal(weft_metrics_new(&s->metrics, &mo), WEFT_OK);
  weft__ticket_keys_derive(&s->keys, s->r.space.crypto, &ticket);
  s->odd = seed % 3 != 0;
  if (s->odd) {
    o.metrics = s->metrics;
    s->r.odd = stored_oddly;
    s->r.odd_ctx = s;
  }
  rig_make_with(&s->r, &o);
}

static void stage_free(stage *s) {
  for (size_t i = 0; i < PUPPETS; i++)
    if (s->there[i]) puppet_free(&s->puppets[i]);
  rig_free(&s->r);
  weft_metrics_free(s->metrics);
  assert_int_equal(s->allocs.live, 0);
  weft__arena_free(&s->arena);
  weft__arena_free(&s->lasting);
}

/* --- what is said --- */

static weft_head head_any(stage *s) {
  weft_head h = s->heads[pick(s, s->head_count)];
  if (chance(s, 15)) h.seq += pick(s, 3);
  if (chance(s, 10)) h.seq = 1 + pick(s, 5);
  if (chance(s, 10)) h.id.b[pick(s, 32)] ^= 1;
  if (chance(s, 5)) h.log.b[pick(s, 32)] ^= 1;
  return h;
}

static size_t prefix_any(stage *s, uint8_t *prefix) {
  weft_head h = s->heads[pick(s, s->head_count)];
  size_t len = pick(s, chance(s, 10) ? WEFT_VECTOR_DEPTH_MAX : 4);
  for (size_t i = 0; i < len; i++)
    prefix[i] = (uint8_t)(i % 2 ? h.log.b[i / 2] & 15 : h.log.b[i / 2] >> 4);
  if (len > 0 && chance(s, 20)) prefix[len - 1] = (uint8_t)pick(s, 16);
  return len;
}

static void put_heads(stage *s, weft_buf *out) {
  weft_head list[ITEMS_MAX];
  weft_msg_heads m = {.at = list, .count = pick(s, ITEMS_MAX + 1)};
  for (size_t i = 0; i < m.count; i++) list[i] = head_any(s);
  m.done = chance(s, 60);
  m.ask = chance(s, 40);
  m.prefix_len = chance(s, 40) ? prefix_any(s, m.prefix) : 0;
  m.from = pick(s, 4);
  m.to = m.from + pick(s, 9);
  weft__msg_heads_put(out, &m);
}

static void put_nodes(stage *s, weft_buf *out) {
  weft_msg_node list[3];
  weft_msg_nodes m = {list, 1 + pick(s, 3)};
  memset(list, 0, sizeof list);
  for (size_t i = 0; i < m.count; i++) {
    list[i].prefix_len = prefix_any(s, list[i].prefix);
    for (size_t c = 0; c < 16; c++)
      if (chance(s, 30)) test_rng_fill(&s->rng, list[i].child[c], WEFT_ROOT_LEN);
  }
  weft__msg_nodes_put(out, &m);
}

static void put_turn(stage *s, weft_buf *out) {
  weft_msg_turn m = {.count = pick(s, chance(s, 20) ? 5000 : 5), .quiet = chance(s, 40)};
  if (chance(s, 30))
    weft__vector_root(weft_replica_held(s->r.replica), s->r.space.crypto, m.root);
  else
    test_rng_fill(&s->rng, m.root, sizeof m.root);
  weft__msg_turn_put(out, &m);
}

static void put_want(stage *s, weft_buf *out) {
  weft_msg_range list[40];
  weft_msg_want m = {list, 1 + pick(s, chance(s, 10) ? 40 : ITEMS_MAX)};
  memset(list, 0, sizeof list);
  for (size_t i = 0; i < m.count; i++) {
    weft_head h = head_any(s);
    list[i].log = h.log;
    list[i].from = 1 + pick(s, h.seq);
    list[i].to = chance(s, 20) ? (uint64_t)1 << 40 : h.seq > list[i].from ? h.seq : list[i].from;
    if (chance(s, 60)) list[i].head = h.id;
    if (list[i].from > 1) {
      weft_err err = weft_replica_id_at(s->r.replica, &h.log, WEFT_BRANCH_ANY, list[i].from - 1,
                                        &list[i].prev);
      if (err != WEFT_OK) list[i].prev = h.id;
    }
  }
  weft__msg_want_put(out, &m);
}

static void put_nohave(stage *s, weft_buf *out) {
  weft_head h = head_any(s);
  weft_msg_nohave m = {h.log, 1 + pick(s, h.seq), h.seq, (uint8_t)pick(s, 6)};
  weft__msg_nohave_put(out, &m);
}

static void put_refused(stage *s, weft_buf *out) {
  static const uint8_t codes[] = {WEFT_CODE_QUOTA, WEFT_CODE_BAD_SIG, WEFT_CODE_BAD_BODY, 0, 255};
  const weft_vector *held = weft_replica_held(s->r.replica);
  weft_head h = held->count > 0 && chance(s, 80) ? held->heads[pick(s, held->count)] : head_any(s);
  weft_msg_nohave m = {h.log, pick(s, h.seq + 1), h.seq, codes[pick(s, 5)]};
  weft__msg_nohave_put(out, &m);
}

static weft_bytes chunk_any(stage *s) {
  weft_bytes chunk = s->chunks[pick(s, s->chunk_count)], copy;
  if (!chance(s, 12)) return chunk;
  assert_int_equal(weft__arena_copy(&s->arena, chunk, &copy), WEFT_OK);
  if (chance(s, 50)) return weft_bytes_of(copy.at, pick(s, copy.len));
  ((uint8_t *)(uintptr_t)copy.at)[pick(s, copy.len)] ^= (uint8_t)(1u << pick(s, 8));
  return copy;
}

static void put_chunks(stage *s, size_t count, weft_buf *out) {
  weft_bytes list[ITEMS_MAX];
  weft_msg_blobs m = {list, count, (uint8_t)pick(s, 9)};
  for (size_t i = 0; i < count; i++) list[i] = chunk_any(s);
  weft__msg_blobs_put(out, &m);
}

static void put_records(stage *s, weft_buf *out) {
  weft_bytes list[4];
  weft_msg_blobs m = {list, 1 + pick(s, 3), 0};
  static const uint8_t junk[40] = {1, 4};
  for (size_t i = 0; i < m.count; i++) {
    size_t k = pick(s, DEVICES);
    list[i] = weft_bytes_of(s->r.space.records[k], s->r.space.record_lens[k]);
    if (chance(s, 5)) list[i] = weft_bytes_of(junk, sizeof junk);
    if (chance(s, 5)) list[i] = weft_bytes_of(s->other.records[k % 2], s->other.record_lens[k % 2]);
    if (chance(s, 5)) {
      assert_int_equal(weft__arena_copy(&s->arena, list[i], &list[i]), WEFT_OK);
      ((uint8_t *)(uintptr_t)list[i].at)[pick(s, list[i].len)] ^= 1;
    }
  }
  weft__msg_blobs_put(out, &m);
}

static void put_auth(stage *s, weft_buf *out) {
  weft_id ids[3];
  weft_msg_auth m = {ids, pick(s, 3), ids, pick(s, 3)};
  for (size_t i = 0; i < 3; i++) {
    ids[i] = s->r.space.id;
    if (chance(s, 40)) test_rng_fill(&s->rng, ids[i].b, sizeof ids[i].b);
  }
  weft__msg_auth_put(out, &m);
}

static void put_ack(stage *s, size_t who, weft_buf *out) {
  weft_vector v;
  weft_alloc mem = weft_alloc_libc();
  weft_head h = head_any(s);
  weft_msg_ack item = {.whole = chance(s, 60)};
  weft_msg_acks m = {&item, 1};
  weft__vector_init(&v, &mem);
  assert_int_equal(weft__vector_raise(&v, NULL, &h), WEFT_OK);
  weft__ack_shorten(&v);
  weft__ack_sign(&item.ack, s->r.space.crypto, &s->r.space.devices[who], &s->r.space.id,
                 1 + pick(s, 1000), &v);
  if (chance(s, 15)) item.ack.sig.b[0] ^= 1;
  item.delta = v.heads;
  item.count = chance(s, 80) ? v.count : 0;
  weft__msg_acks_put(out, &m);
  weft__vector_free(&v);
}

static const uint8_t types[] = {WEFT_FRAME_VV_LEAVES,
                                WEFT_FRAME_VV_DELTA,
                                WEFT_FRAME_IHAVE,
                                WEFT_FRAME_VV_NODES,
                                WEFT_FRAME_VV_ROOT,
                                WEFT_FRAME_WANT,
                                WEFT_FRAME_NOHAVE,
                                WEFT_FRAME_CHANGES,
                                WEFT_FRAME_GOSSIP,
                                WEFT_FRAME_FORK,
                                WEFT_FRAME_AUTH_REC,
                                WEFT_FRAME_AUTH_HAVE,
                                WEFT_FRAME_AUTH_WANT,
                                WEFT_FRAME_REFUSED,
                                WEFT_FRAME_ACK,
                                WEFT_FRAME_PING,
                                WEFT_FRAME_PONG,
                                WEFT_FRAME_CREDIT,
                                WEFT_FRAME_GRAFT,
                                WEFT_FRAME_PRUNE,
                                WEFT_FRAME_ERROR,
                                WEFT_FRAME_HELLO,
                                WEFT_FRAME_PRESENCE,
                                WEFT_FRAME_REDEEM,
                                WEFT_FRAME_ADMIT,
                                WEFT_FRAME_REFUSE,
                                WEFT_FRAME_BYE,
                                0x7f,
                                0xa0};
enum { TYPES = sizeof types, SYNC_TYPES = 18 };

/* Fills in a body of a type, of the numbers test_message_any knows where it need not be near the
 * truth. */
static void put_body(stage *s, uint8_t type, size_t who, weft_buf *out) {
  switch (type) {
  case WEFT_FRAME_VV_LEAVES:
  case WEFT_FRAME_VV_DELTA:
  case WEFT_FRAME_IHAVE: put_heads(s, out); break;
  case WEFT_FRAME_VV_NODES: put_nodes(s, out); break;
  case WEFT_FRAME_VV_ROOT: put_turn(s, out); break;
  case WEFT_FRAME_WANT: put_want(s, out); break;
  case WEFT_FRAME_NOHAVE: put_nohave(s, out); break;
  case WEFT_FRAME_REFUSED: put_refused(s, out); break;
  case WEFT_FRAME_CHANGES:
  case WEFT_FRAME_GOSSIP: put_chunks(s, 1 + pick(s, ITEMS_MAX), out); break;
  case WEFT_FRAME_FORK: put_chunks(s, chance(s, 90) ? 2 : 1, out); break;
  case WEFT_FRAME_AUTH_REC: put_records(s, out); break;
  case WEFT_FRAME_AUTH_HAVE:
  case WEFT_FRAME_AUTH_WANT: put_auth(s, out); break;
  case WEFT_FRAME_ACK: put_ack(s, who, out); break;
  default: test_message_any((unsigned)pick(s, TEST_MESSAGE_KINDS), &s->rng, &s->arena, out); break;
  }
}

static void body_of_status(stage *s, weft_buf *out) {
  weft_msg_status m = {.token = pick(s, 3), .hlc = weft_replica_clock(s->r.replica)};
  m.held_changes = pick(s, 50);
  if (chance(s, 40)) {
    weft__vector_root(weft_replica_held(s->r.replica), s->r.space.crypto, m.held_root);
    weft__vector_root(weft_replica_shown(s->r.replica), s->r.space.crypto, m.shown_root);
  }
  weft__msg_status_put(out, &m);
}

static void say_something(stage *s, size_t i) {
  puppet *p = &s->puppets[i];
  uint8_t type = types[pick(s, chance(s, 90) ? SYNC_TYPES : TYPES)];
  weft_buf body = puppet_body();
  memory_may_fail(s);
  if (type == WEFT_FRAME_PING || type == WEFT_FRAME_PONG)
    body_of_status(s, &body);
  else
    put_body(s, type, i + 1, &body);
  if (weft__buf_err(&body) == WEFT_OK && weft__buf_view(&body).len > 0)
    (void)!weft_session_send(p->session, type, weft__buf_view(&body));
  puppet_flow(p);
  memory_is_back(s);
  puppet_forget(p);
  weft__buf_free(&body);
}

/* --- runs --- */

/* Somebody who is not the member whose place it is. */
static void connect_other(stage *s, puppet *p) {
  weft_key seed = {{(uint8_t)(1 + pick(s, 200))}};
  weft_identity stranger;
  weft_session_secret secret = rig_secret(&s->r);
  weft_buf body = puppet_body();
  weft_identity_derive(&stranger, s->r.space.crypto, &seed);
  switch (pick(s, 3)) {
  case 0: puppet_make(p, &s->r, &s->r.space.devices[0]); break;
  case 1: puppet_make_with(p, &s->r, &stranger, &secret); break;
  default: {
    weft_msg_redeem m = {.name = weft_bytes_str("new")};
    weft_session_secret_join(&secret, &s->r.space.id, &s->keys.join, &s->keys.tag);
    puppet_make_with(p, &s->r, &stranger, &secret);
    weft__redeem_sign(&m.redeem, s->r.space.crypto, &stranger, &s->keys.invite_seed,
                      &s->r.space.id);
    weft__msg_redeem_put(&body, &m);
    if (!p->established || p->closed) break;
    memory_may_fail(s);
    (void)!weft_session_send(p->session, WEFT_FRAME_REDEEM, weft__buf_view(&body));
    puppet_flow(p);
    memory_is_back(s);
  }
  }
  weft__buf_free(&body);
}

/* A HELLO like any other, or one that promises what is not there. */
static void greet(stage *s, puppet *p) {
  weft_msg_hello m = puppet_hello(p);
  weft_buf body = puppet_body();
  if (chance(s, 50)) m.boot = pick(s, 4);
  if (chance(s, 30)) m.instance = 4710 + pick(s, 3);
  m.listen_count = chance(s, 30) ? 1 + pick(s, 2) : 0;
  m.listen[0] = weft_bytes_str("10.1.1.1:1");
  m.listen[1] = weft_bytes_str("10.1.1.2:2");
  if (chance(s, 30)) m.cursor_instance = weft_replica_instance(s->r.replica);
  if (chance(s, 60)) m.cursor_arrival = pick(s, 9);
  if (chance(s, 30)) m.window = (uint32_t)pick(s, 4096);
  if (chance(s, 30)) m.arrival = pick(s, 99);
  if (chance(s, 30)) m.held_count = pick(s, 200);
  if (chance(s, 30)) m.auth_root[0] ^= 1;
  weft__msg_hello_put(&body, &m);
  memory_may_fail(s);
  (void)!weft_session_send(p->session, WEFT_FRAME_HELLO, weft__buf_view(&body));
  puppet_flow(p);
  memory_is_back(s);
  weft__buf_free(&body);
}

static void reconnect(stage *s, size_t i) {
  puppet *p = &s->puppets[i];
  if (s->there[i]) {
    uint64_t conn = p->conn;
    puppet_free(p);
    rig_forget(&s->r, conn);
  }
  if (s->odd && chance(s, 25))
    connect_other(s, p);
  else
    puppet_make(p, &s->r, &s->r.space.devices[i + 1]);
  s->there[i] = true;
  if (s->odd && chance(s, 60)) {
    if (p->established && !p->closed && chance(s, 90)) greet(s, p);
  } else if (p->established && !p->closed) {
    puppet_greet(p);
  }
  puppet_forget(p);
}

/* Connections that are over and of no puppet make place. */
static void sweep(stage *s) {
  for (size_t i = s->r.pipe_count; i > 0; i--) {
    const rig_pipe *pipe = &s->r.pipes[i - 1];
    bool ours = false;
    for (size_t k = 0; k < PUPPETS; k++) ours |= s->there[k] && s->puppets[k].conn == pipe->conn;
    if (pipe->closed && !ours) rig_forget(&s->r, pipe->conn);
  }
}

/* What the machine and its person do meanwhile. */
static void surroundings(stage *s) {
  static const char *const addresses[] = {"10.0.0.1:7117", "[::1]:7117", "host.example:7117"};
  static const weft_err ends[] = {WEFT_OK, WEFT_ETIMEOUT, WEFT_EUNREACHABLE, WEFT_EIO};
  weft_node *n = s->r.node;
  const weft_id *device = &s->r.space.devices[1 + pick(s, PUPPETS)].device;
  weft_node_park *parked;
  size_t count;
  memory_may_fail(s);
  switch (pick(s, 8)) {
  case 0:
  case 1: (void)!weft_node_add_address(n, s->r.now, weft_bytes_str(addresses[pick(s, 3)])); break;
  case 2: weft_node_network_changed(n, s->r.now); break;
  case 3: weft_node_ask(n, s->r.now); break;
  case 4:
    if (chance(s, 30)) (void)!weft_node_pause(n, s->r.now, device);
    break;
  case 5: weft_node_resume(n, s->r.now, NULL); break;
  case 6: weft_node_retry(n, s->r.now); break;
  default: assert_int_equal(weft_node_parked(n, &s->arena, &parked, &count), WEFT_OK); break;
  }
  rig_pump(&s->r);
  memory_is_back(s);
  if (s->r.dialled && !rig_pipe_of(&s->r, s->r.dialled)->closed)
    weft_node_dialled(n, s->r.now, s->r.dialled, ends[pick(s, 4)]);
  s->r.dialled = 0;
  rig_pump(&s->r);
}

static void look(stage *s) {
  weft_node_peer *peers;
  weft_node_acked *acked;
  size_t count;
  sweep(s);
  assert_int_equal(weft_node_peers(s->r.node, &s->arena, &peers, &count), WEFT_OK);
  assert_true(count <= RIG_CONNS_MAX + 8);
  assert_int_equal(weft_node_acked_list(s->r.node, &s->arena, &acked, &count), WEFT_OK);
}

static void step(stage *s) {
  size_t i = pick(s, PUPPETS);
  s->source.percent = chance(s, 15) ? 30 : 0;
  s->r.stall = s->odd && chance(s, 10);
  s->r.hold_err = chance(s, 3) ? WEFT_ENOMEM : WEFT_OK;
  if (!s->there[i] || s->puppets[i].closed || rig_pipe_of(&s->r, s->puppets[i].conn)->closed) {
    reconnect(s, i);
  } else if (s->odd && chance(s, 15)) {
    owner_is_odd(s);
  } else if (chance(s, 10)) {
    memory_may_fail(s);
    rig_wait(&s->r, pick(s, chance(s, 20) ? 60000 : 300));
  } else if (chance(s, 12)) {
    surroundings(s);
  } else if (chance(s, 5)) {
    assert_int_equal(test_set(s->r.replica, "t/own", "/x", chance(s, 50) ? "1" : "2"), WEFT_OK);
    weft_node_changed(s->r.node, s->r.now);
    rig_pump(&s->r);
  } else {
    say_something(s, i);
  }
  memory_is_back(s);
  look(s);
  weft__arena_reset(&s->arena);
}

/* The node still serves who asks as a member should. */
static void serves_an_honest_one(stage *s, uint64_t seed) {
  s->source.percent = 0;
  s->r.hold_err = WEFT_OK;
  s->r.odd = NULL;
  s->r.stall = false;
  storing_comes(s);
  weft_node_resume(s->r.node, s->r.now, NULL);
  weft_node_retry(s->r.node, s->r.now); /* what was refused in the name of the honest one */
  for (unsigned minute = 0; minute < 60; minute++) {
    rig_wait(&s->r, 60000);
    sweep(s);
  }
  for (size_t i = 0; i < PUPPETS; i++) {
    if (!s->there[i]) continue;
    uint64_t conn = s->puppets[i].conn;
    puppet_free(&s->puppets[i]);
    s->there[i] = false;
    rig_forget(&s->r, conn);
  }
  puppet *p = &s->puppets[0];
  puppet_make(p, &s->r, &s->r.space.devices[2]);
  s->there[0] = true;
  assert_true(p->established);
  puppet_greet(p);
  weft_head own = weft_replica_held(s->r.replica)->heads[0];
  weft_msg_range range = {.log = own.log, .from = 1, .to = own.seq, .head = own.id};
  weft_msg_want want = {&range, 1};
  puppet_say(p, WEFT_FRAME_WANT, want, &want);
  if (puppet_count(p, WEFT_FRAME_CHANGES) == 0) fail_msg("seed=%u: nothing", (unsigned)seed);
}

static void members_say_anything(void **state) {
  (void)state;
  stage *s = malloc(sizeof *s);
  assert_non_null(s);
  for (uint64_t seed = 1; seed <= test_share(RUNS, 20); seed++) {
    stage_make(s, seed);
    for (size_t i = 0; i < STEPS; i++) step(s);
    serves_an_honest_one(s, seed);
    stage_free(s);
  }
  free(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(members_say_anything)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

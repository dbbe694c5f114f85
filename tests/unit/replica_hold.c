/* Holding what others send: members and strangers, damage, gaps, forbidden content under a valid
 * signature, forks, waiting; and the store or the memory failing at every call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/chunk.h"
#include "crdt/limits.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/fault_store.h"
#include "tests/support/recount.h"
#include "tests/support/space.h"

enum { TEXT_LEN = 4096, AUTHOR_CHANGES_MAX = 1300 };

typedef struct fixture {
  test_space s;
  weft_arena arena;
  weft_alloc mem;
  weft_replica *a, *b; /* devices 0 and 1 */
} fixture;

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  f->mem = weft_alloc_libc();
  test_space_make(&f->s, 4, 1);
  weft__arena_init(&f->arena, &f->mem);
  f->a = test_space_memory(&f->s, 0);
  f->b = test_space_memory(&f->s, 1);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  weft_replica_free(f->a);
  weft_replica_free(f->b);
  weft__arena_free(&f->arena);
  free(f);
  return 0;
}

static weft_bytes chunk_of(fixture *f, const weft_run *run) {
  weft_buf b;
  weft_bytes out;
  weft__buf_init(&b, &f->mem, SIZE_MAX);
  assert_int_equal(weft__chunk_encode(&b, &f->mem, run, 1, WEFT_CHUNK_LIVE), WEFT_OK);
  assert_int_equal(weft__arena_copy(&f->arena, weft__buf_view(&b), &out), WEFT_OK);
  weft__buf_free(&b);
  return out;
}

/* The whole log `log` of `r` as one run. */
static weft_run run_of(fixture *f, weft_replica *r, const weft_id *log) {
  weft_buf b;
  uint64_t last;
  weft_run *runs;
  size_t count;
  weft__buf_init(&b, &f->mem, SIZE_MAX);
  assert_int_equal(weft_replica_read_chunk(r, log, WEFT_BRANCH_ANY, 1, UINT64_MAX, &b, &last),
                   WEFT_OK);
  assert_int_equal(weft__chunk_decode(&f->arena, weft__buf_view(&b), &runs, &count), WEFT_OK);
  weft__buf_free(&b);
  assert_int_equal(count, 1);
  return runs[0];
}

static weft_err hold_bytes(fixture *f, weft_replica *r, weft_bytes chunk,
                           weft_hold_report *report) {
  return weft_replica_hold(r, &f->arena, &chunk, 1, report);
}

static weft_err hold(fixture *f, weft_replica *r, const weft_run *run, weft_hold_report *report) {
  return hold_bytes(f, r, chunk_of(f, run), report);
}

static weft_hold_verdict verdict(fixture *f, weft_replica *r, const weft_run *run) {
  weft_hold_report report;
  assert_int_equal(hold(f, r, run, &report), WEFT_OK);
  assert_int_equal(report.run_count, 1);
  return report.runs[0].verdict;
}

static weft_id own_log(weft_replica *r, size_t idx) { return weft_replica_held(r)->heads[idx].log; }

static void assert_doc(weft_replica *r, const char *doc, const char *want) {
  char text[TEXT_LEN];
  assert_string_equal(test_get(r, doc, "", text, sizeof text), want);
}

static weft_counts counts_of(weft_replica *r) {
  weft_counts c;
  assert_int_equal(weft_replica_counts(r, &c), WEFT_OK);
  return c;
}

/* --- an author who writes by hand --- */

typedef struct author {
  fixture *f;
  const weft_identity *id;
  weft_start start;
  weft_id log;
  weft_bytes raws[AUTHOR_CHANGES_MAX];
  weft_id ids[AUTHOR_CHANGES_MAX + 1]; /* ids[0] is the root */
  size_t count;
} author;

static void author_add(author *w, weft_bytes raw) {
  assert_int_equal(weft__arena_copy(&w->f->arena, raw, &w->raws[w->count]), WEFT_OK);
  weft__change_id(w->f->s.crypto, &w->f->s.id, &w->ids[w->count], raw, &w->ids[w->count + 1]);
  w->count++;
}

static weft_bytes encode(author *w, const weft_change *change) {
  weft_buf b;
  weft_bytes out;
  weft__buf_init(&b, &w->f->mem, SIZE_MAX);
  assert_int_equal(weft__change_encode(&b, &w->f->arena, change), WEFT_OK);
  assert_int_equal(weft__arena_copy(&w->f->arena, weft__buf_view(&b), &out), WEFT_OK);
  weft__buf_free(&b);
  return out;
}

static author author_make(fixture *f, size_t device, uint8_t incarnation) {
  author w = {.f = f, .id = &f->s.devices[device]};
  weft_change change = {.kind = WEFT_CHANGE_START, .hlc = 100};
  w.start.device = w.id->device;
  w.start.incarnation[0] = incarnation;
  w.start.lane = WEFT_LANE_NORMAL;
  const weft_roster_member *me = weft__roster_member_of(weft_replica_roster(f->a), &w.start.device);
  w.start.grant = me->grant;
  change.start = w.start;
  weft__log_id(f->s.crypto, &f->s.id, &w.start, &w.log);
  weft__log_root(f->s.crypto, &w.log, &w.ids[0]);
  author_add(&w, encode(&w, &change));
  return w;
}

static weft_bytes set_change(author *w, uint64_t hlc, const char *doc, uint8_t value,
                             weft_claim *claims, size_t claim_count) {
  static const uint8_t path[] = {2, 'x'};
  weft_op ops[2] = {{.doc = weft_bytes_str(doc), .kind = WEFT_OP_MARK_OBJECT},
                    {.doc = weft_bytes_str(doc),
                     .path = weft_bytes_of(path, sizeof path),
                     .kind = WEFT_OP_SCALAR,
                     .value = weft_bytes_of(&value, 1)}};
  weft_change change = {.kind = WEFT_CHANGE_DATA,
                        .hlc = hlc,
                        .claims = claims,
                        .claim_count = claim_count,
                        .ops = ops,
                        .op_count = 2};
  return encode(w, &change);
}

/* Changes first..last as a run signed by the author. */
static weft_run author_run(const author *w, size_t first, size_t last) {
  weft_run run = {.log = w->log,
                  .first = first,
                  .prev = w->ids[first - 1],
                  .changes = w->raws + first - 1,
                  .count = last - first + 1};
  weft__change_sign(w->f->s.crypto, &w->id->sign_seed, &w->id->device, &w->f->s.id, &w->log, last,
                    &w->ids[last], &run.sig);
  return run;
}

/* --- who may --- */

static void test_stranger_waits(void **state) {
  fixture *f = *state;
  weft_replica *c;
  weft_replica_options o = test_space_options(&f->s, 2, test_memory_store());
  assert_int_equal(weft_replica_open(&c, &o), WEFT_OK);
  assert_int_equal(test_set(f->a, "t/a", "/x", "1"), WEFT_OK);
  weft_id log = own_log(f->a, 0);
  weft_run run = run_of(f, f->a, &log);
  assert_int_equal(verdict(f, c, &run), WEFT_HOLD_UNKNOWN);
  assert_int_equal(weft_replica_held(c)->count, 0);
  assert_int_equal(weft_replica_arrival(c), 0);
  test_space_add_records(&f->s, c);
  assert_int_equal(verdict(f, c, &run), WEFT_HOLD_TAKEN);
  assert_int_equal(verdict(f, c, &run), WEFT_HOLD_KNOWN);
  assert_doc(c, "t/a", "{\"x\":1}");
  weft_replica_free(c);
}

static void test_other_space(void **state) {
  fixture *f = *state;
  test_space other;
  weft_hold_report report;
  test_space_make(&other, 1, 77);
  weft_replica *c = test_space_memory(&other, 0);
  assert_int_equal(test_set(c, "t/a", "/x", "1"), WEFT_OK);
  weft_id log = own_log(c, 0);
  weft_run run = run_of(f, c, &log);
  weft_bytes chunk = chunk_of(f, &run);
  assert_int_equal(hold_bytes(f, f->a, chunk, &report), WEFT_EMALFORMED);
  assert_ptr_equal(report.bad.at, chunk.at);
  assert_int_equal(report.run_count, 0);
  weft_replica_free(c);
}

/* --- damage --- */

static void test_damage_is_refused(void **state) {
  fixture *f = *state;
  weft_hold_report report;
  for (int i = 0; i < 5; i++) {
    char value[12];
    snprintf(value, sizeof value, "%d", i);
    assert_int_equal(test_set(f->a, "t/a", "/x", value), WEFT_OK);
  }
  weft_id log = own_log(f->a, 0);
  weft_run good = run_of(f, f->a, &log);
  weft_run run = good;
  run.sig.b[3] ^= 1;
  assert_int_equal(hold(f, f->b, &run, &report), WEFT_EBADSIG);
  assert_string_equal(weft_replica_error(f->b), "the signature of a run is not valid");
  run = good;
  run.log.b[0] ^= 1;
  assert_int_equal(hold(f, f->b, &run, &report), WEFT_EMALFORMED);
  run = good;
  run.prev.b[0] ^= 1;
  assert_int_equal(hold(f, f->b, &run, &report), WEFT_EMALFORMED);
  assert_int_equal(hold_bytes(f, f->b, weft_bytes_str("junk"), &report), WEFT_EVERSION);
  for (size_t i = 0; i < good.count; i++) {
    weft_bytes *raws = weft__arena_zero(&f->arena, good.count, sizeof *raws);
    memcpy(raws, good.changes, good.count * sizeof *raws);
    assert_int_equal(weft__arena_copy(&f->arena, good.changes[i], &raws[i]), WEFT_OK);
    /* The last byte: a grant in START, a value elsewhere. */
    size_t at = raws[i].len - 1;
    uint8_t *copy = weft__arena_take(&f->arena, raws[i].len);
    memcpy(copy, raws[i].at, raws[i].len);
    copy[at] ^= 1;
    raws[i].at = copy;
    run = good;
    run.changes = raws;
    weft_err err = hold(f, f->b, &run, &report);
    assert_true(i == 0 ? err == WEFT_EMALFORMED || err == WEFT_EBADSIG : err == WEFT_EBADSIG);
  }
  assert_int_equal(weft_replica_held(f->b)->count, 0);
  assert_int_equal(verdict(f, f->b, &good), WEFT_HOLD_TAKEN);
  test_assert_same(f->a, f->b);
}

/* One bad run among good ones: nothing of the call is held. */
static void test_all_or_none(void **state) {
  fixture *f = *state;
  weft_hold_report report;
  assert_int_equal(test_set(f->a, "t/a", "/x", "1"), WEFT_OK);
  assert_int_equal(test_set(f->b, "t/b", "/x", "1"), WEFT_OK);
  weft_replica *c = test_space_memory(&f->s, 2);
  weft_id la = own_log(f->a, 0);
  weft_id lb = own_log(f->b, 0);
  weft_run good = run_of(f, f->a, &la);
  weft_run bad = run_of(f, f->b, &lb);
  weft_bytes chunks[3] = {chunk_of(f, &good), {NULL, 0}, chunk_of(f, &bad)};
  bad.sig.b[0] ^= 1;
  chunks[1] = chunk_of(f, &bad);
  assert_int_equal(weft_replica_hold(c, &f->arena, chunks, 2, &report), WEFT_EBADSIG);
  assert_ptr_equal(report.bad.at, chunks[1].at);
  assert_int_equal(report.changes, 0);
  assert_int_equal(weft_replica_held(c)->count, 0);
  assert_int_equal(counts_of(c).logs, 0);
  chunks[1] = chunks[2];
  assert_int_equal(weft_replica_hold(c, &f->arena, chunks, 2, &report), WEFT_OK);
  assert_int_equal(report.changes, 4);
  assert_int_equal(counts_of(c).docs, 2);
  test_recount(c, 0);
  weft_replica_free(c);
}

static void test_gap(void **state) {
  fixture *f = *state;
  author w = author_make(f, 2, 1);
  weft_hold_report report;
  for (uint8_t i = 1; i <= 5; i++) author_add(&w, set_change(&w, 100u + i, "t/a", i, NULL, 0));
  weft_run run = author_run(&w, 3, 4);
  assert_int_equal(hold(f, f->a, &run, &report), WEFT_OK);
  assert_int_equal(report.runs[0].verdict, WEFT_HOLD_GAP);
  assert_int_equal(report.runs[0].want, 1);
  run = author_run(&w, 1, 2);
  assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_TAKEN);
  run = author_run(&w, 4, 6);
  assert_int_equal(hold(f, f->a, &run, &report), WEFT_OK);
  assert_int_equal(report.runs[0].verdict, WEFT_HOLD_GAP);
  assert_int_equal(report.runs[0].want, 3);
  run = author_run(&w, 2, 4); /* half of it is new */
  assert_int_equal(hold(f, f->a, &run, &report), WEFT_OK);
  assert_int_equal(report.changes, 2);
  run = author_run(&w, 1, 6);
  assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_TAKEN);
  assert_doc(f->a, "t/a", "{\"x\":5}");
  test_recount(f->a, 0);
}

/* --- forbidden content --- */

/* Each is signed by a member; each is held, counts, and shows nothing; what follows goes on. */
static void test_forbidden_content(void **state) {
  fixture *f = *state;
  author w = author_make(f, 2, 1);
  weft_claim claim = {.number = 3, .seq = 5};
  author_add(&w, set_change(&w, 101, "t/a", 1, NULL, 0));
  author_add(&w, weft_bytes_str("junk"));
  author_add(&w, weft_bytes_of(NULL, 0));
  author_add(&w, set_change(&w, 101, "t/a", 2, NULL, 0));   /* the clock stands still */
  author_add(&w, set_change(&w, 102, "t/a", 3, &claim, 1)); /* no such number */
  author_add(&w, w.raws[0]);                                /* a second START */
  author_add(&w, set_change(&w, 103, "t/a", 4, NULL, 0));
  weft_run run = author_run(&w, 1, 8);
  assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_TAKEN);
  assert_doc(f->a, "t/a", "{\"x\":4}");
  assert_int_equal(counts_of(f->a).changes_shown, 8);
  test_recount(f->a, 0);
  /* It travels on like anything else. */
  assert_int_equal(test_pull(f->b, f->a, 10), 8);
  test_assert_same(f->a, f->b);
}

/* The same where changes lie in chunks: as they came, and packed from a long tail. */
static void test_forbidden_content_sealed(void **state) {
  fixture *f = *state;
  author w = author_make(f, 2, 1);
  uint8_t newer[40] = {9, 2, 0};
  uint64_t hlc = 200;
  while (w.count < AUTHOR_CHANGES_MAX) {
    switch (w.count % 100) {
    case 7: author_add(&w, weft_bytes_str("junk")); break;
    case 8: author_add(&w, weft_bytes_of(newer, sizeof newer)); break;
    default: author_add(&w, set_change(&w, hlc++, "t/a", (uint8_t)(w.count % 100), NULL, 0)); break;
    }
  }
  weft_run run = author_run(&w, 1, 600);
  assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_TAKEN);
  for (size_t at = 601; at <= AUTHOR_CHANGES_MAX; at += 100) {
    run = author_run(&w, at, at + 99);
    assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_TAKEN);
  }
  test_show_all(f->a);
  assert_doc(f->a, "t/a", "{\"x\":99}");
  test_recount(f->a, 0);
  assert_int_equal(test_pull(f->b, f->a, 10), AUTHOR_CHANGES_MAX);
  test_assert_same(f->a, f->b);
  test_recount(f->b, 0);
}

static void test_unknown_content(void **state) {
  fixture *f = *state;
  author w = author_make(f, 2, 1);
  uint8_t newer[40] = {9, 2, 0};
  weft_later *later;
  size_t count;
  author_add(&w, weft_bytes_of(newer, sizeof newer));
  author_add(&w, set_change(&w, 101, "t/a", 1, NULL, 0));
  weft_run run = author_run(&w, 1, 3);
  assert_int_equal(weft_replica_later(f->a, &f->arena, &later, &count), WEFT_OK);
  assert_int_equal(count, 0);
  assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_TAKEN);
  assert_doc(f->a, "t/a", "{\"x\":1}");
  assert_int_equal(weft_replica_later(f->a, &f->arena, &later, &count), WEFT_OK);
  assert_int_equal(count, 1);
  assert_int_equal(weft_id_cmp(&later[0].log, &w.log), 0);
  assert_int_equal(weft_id_cmp(&later[0].device, &w.start.device), 0);
  assert_int_equal(later[0].count, 1);
  assert_int_equal(later[0].first, 2);
  /* And where they lie in chunks. */
  for (uint8_t i = 0; i < 10; i++) author_add(&w, weft_bytes_of(newer, sizeof newer - 1 - i));
  for (uint8_t i = 0; i < 100; i++) {
    for (uint64_t k = 0; k < 6; k++) {
      author_add(&w, set_change(&w, 102 + 6 * (uint64_t)i + k, "t/a", i, NULL, 0));
    }
  }
  run = author_run(&w, 4, w.count);
  assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_TAKEN);
  assert_int_equal(weft_replica_later(f->a, &f->arena, &later, &count), WEFT_OK);
  assert_int_equal(count, 1);
  assert_int_equal(later[0].count, 11);
  assert_int_equal(later[0].first, 2);
  test_show_all(f->a);
  test_recount(f->a, 0);
}

/* --- waiting --- */

static weft_claim claim_on(const author *other, uint32_t number, uint64_t seq) {
  weft_claim claim = {.number = number, .has_log = true, .has_tag = true, .log = other->log};
  claim.seq = seq;
  memcpy(claim.tag, other->ids[seq].b, sizeof claim.tag);
  return claim;
}

static void test_waits_for_claims(void **state) {
  fixture *f = *state;
  author x = author_make(f, 2, 1);
  author y = author_make(f, 3, 1);
  weft_stuck *stuck;
  size_t count;
  author_add(&x, set_change(&x, 101, "t/a", 1, NULL, 0));
  weft_claim claim = claim_on(&x, 0, 2);
  author_add(&y, set_change(&y, 102, "t/a", 2, &claim, 1));
  author_add(&y, set_change(&y, 103, "t/b", 3, NULL, 0));
  weft_run run = author_run(&y, 1, 3);
  assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_TAKEN);
  assert_doc(f->a, "t/b", "(none)");
  assert_int_equal(counts_of(f->a).changes_shown, 1);
  assert_int_equal(weft__vector_seq(weft_replica_showable(f->a), &y.log), 1);
  assert_int_equal(weft__vector_seq(weft_replica_held(f->a), &y.log), 3);
  assert_int_equal(weft_replica_stuck(f->a, &f->arena, &stuck, &count), WEFT_OK);
  assert_int_equal(count, 1);
  assert_int_equal(weft_id_cmp(&stuck[0].log, &y.log), 0);
  assert_int_equal(stuck[0].seq, 2);
  assert_int_equal(weft_id_cmp(&stuck[0].wants_log, &x.log), 0);
  assert_int_equal(stuck[0].wants_seq, 2);
  assert_int_equal(weft_id_cmp(&stuck[0].device, &y.start.device), 0);
  assert_int_equal(stuck[0].count, 2);
  assert_int_equal(stuck[0].since, f->s.platforms[0].now);
  assert_false(stuck[0].wants_known);
  assert_int_equal(stuck[0].wants_held, 0);
  /* It waits since then, also when what it waits for comes nearer. */
  weft_ms since = f->s.platforms[0].now;
  f->s.platforms[0].now += 5000;
  run = author_run(&x, 1, 1);
  assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_TAKEN);
  assert_int_equal(weft_replica_stuck(f->a, &f->arena, &stuck, &count), WEFT_OK);
  assert_int_equal(count, 1);
  assert_int_equal(stuck[0].since, since);
  assert_true(stuck[0].wants_known);
  assert_int_equal(weft_id_cmp(&stuck[0].wants_device, &x.start.device), 0);
  assert_int_equal(stuck[0].wants_held, 1);
  test_show_all(f->a);
  assert_int_equal(counts_of(f->a).changes_shown, 2);
  run = author_run(&x, 2, 2);
  assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_TAKEN);
  test_show_all(f->a);
  assert_doc(f->a, "t/a", "{\"x\":2}");
  assert_doc(f->a, "t/b", "{\"x\":3}");
  assert_int_equal(counts_of(f->a).conflicts, 0);
  assert_int_equal(weft_replica_stuck(f->a, &f->arena, &stuck, &count), WEFT_OK);
  assert_int_equal(count, 0);
  test_recount(f->a, 0);
}

/* Since when something waits outlives the process. */
/* Claims of long runs are read from columns, or, where a change has a message too, from its bytes;
 * those of short ones from the bytes.  All come to the same, also where they wait. */
static void test_long_runs_claim(void **state) {
  fixture *f = *state;
  enum { older = 40, count = 100 };
  author x = author_make(f, 2, 1);
  author y = author_make(f, 3, 1);
  for (uint8_t i = 0; i < older; i++) author_add(&x, set_change(&x, 101u + i, "t/a", i, NULL, 0));
  uint64_t reached = 0;
  for (uint8_t i = 0; i < count; i++) {
    static const uint8_t path[] = {2, 'y'};
    weft_claim claim = claim_on(&x, 0, 1 + i * (uint64_t)older / count);
    claim.has_log = i == 0;
    claim.has_tag = claim.seq > reached;
    if (claim.has_tag) reached = claim.seq;
    weft_op op = {.doc = weft_bytes_str(i % 2 ? "t/a" : "t/b"),
                  .path = weft_bytes_of(path, sizeof path),
                  .kind = WEFT_OP_SCALAR,
                  .value = weft_bytes_of(&i, 1)};
    weft_change change = {.kind = WEFT_CHANGE_DATA,
                          .hlc = 300u + i,
                          .message = weft_bytes_str(i % 3 ? "" : "why"),
                          .claims = &claim,
                          .claim_count = 1,
                          .ops = &op,
                          .op_count = 1};
    author_add(&y, encode(&y, &change));
  }
  weft_run run = author_run(&y, 1, y.count);
  assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_TAKEN);
  assert_int_equal(weft__vector_seq(weft_replica_showable(f->a), &y.log), 1);
  run = author_run(&x, 1, x.count);
  assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_TAKEN);
  assert_int_equal(verdict(f, f->b, &run), WEFT_HOLD_TAKEN);
  for (size_t at = 1; at <= y.count; at += 20) {
    run = author_run(&y, at, at + 19 < y.count ? at + 19 : y.count);
    assert_int_equal(verdict(f, f->b, &run), WEFT_HOLD_TAKEN);
  }
  test_show_all(f->a);
  test_show_all(f->b);
  assert_int_equal(counts_of(f->a).changes_shown, x.count + y.count);
  assert_doc(f->a, "t/a", "{\"x\":39,\"y\":99}");
  test_assert_same(f->a, f->b);
  test_recount(f->a, 0);
  /* Half of what it claims is there: as much of it can be shown, which is told while it is held. */
  weft_replica *c = test_space_memory(&f->s, 2);
  run = author_run(&x, 1, older / 2);
  assert_int_equal(verdict(f, c, &run), WEFT_HOLD_TAKEN);
  run = author_run(&y, 1, y.count);
  assert_int_equal(verdict(f, c, &run), WEFT_HOLD_TAKEN);
  assert_int_equal(weft__vector_seq(weft_replica_showable(c), &y.log), 1 + count / 2);
  weft_replica_free(c);
}

static void test_waits_over_a_restart(void **state) {
  fixture *f = *state;
  test_fault_store faults = {0};
  weft_store *inner = test_memory_store();
  weft_replica *c = test_space_open(&f->s, 1, test_fault_store_of(inner, &faults));
  author x = author_make(f, 2, 1);
  author y = author_make(f, 3, 1);
  weft_stuck *stuck;
  size_t count;
  author_add(&x, set_change(&x, 101, "t/a", 1, NULL, 0));
  weft_claim claim = claim_on(&x, 0, 2);
  author_add(&y, set_change(&y, 102, "t/a", 2, &claim, 1));
  weft_run run = author_run(&y, 1, 2);
  assert_int_equal(verdict(f, c, &run), WEFT_HOLD_TAKEN);
  weft_ms since = f->s.platforms[1].now;
  weft_replica_free(c);
  f->s.platforms[1].now += 90000;
  c = test_space_open(&f->s, 1, test_fault_store_of(inner, &faults));
  assert_int_equal(weft_replica_stuck(c, &f->arena, &stuck, &count), WEFT_OK);
  assert_int_equal(count, 1);
  assert_int_equal(stuck[0].since, since);
  run = author_run(&x, 1, 2);
  assert_int_equal(verdict(f, c, &run), WEFT_HOLD_TAKEN);
  assert_int_equal(weft_replica_stuck(c, &f->arena, &stuck, &count), WEFT_OK);
  assert_int_equal(count, 0);
  weft_replica_free(c);
  weft_store_free(inner);
}

/* Who writes into a document claims no more than what stands there, so its creation may come later:
 * until then it is no conflict, and a deletion is one. */
static void test_creation_comes_later(void **state) {
  fixture *f = *state;
  weft_replica *c = test_space_memory(&f->s, 2);
  weft_conflict_entry *listed;
  size_t count;
  assert_int_equal(test_set(f->a, "t/a", "/x", "1"), WEFT_OK);
  test_pull(f->b, f->a, 7);
  assert_int_equal(test_set(f->b, "t/a", "/y", "2"), WEFT_OK);
  weft_id a_log = own_log(f->a, 0);
  weft_id b_log = own_log(f->b, 0);
  if (weft_id_cmp(&b_log, &a_log) == 0) b_log = own_log(f->b, 1);
  weft_run run = run_of(f, f->b, &b_log);
  assert_int_equal(verdict(f, c, &run), WEFT_HOLD_TAKEN);
  assert_doc(c, "t/a", "{\"y\":2}");
  assert_int_equal(counts_of(c).conflicts, 0);
  test_recount(c, 0);
  test_pull(c, f->a, 7);
  assert_doc(c, "t/a", "{\"x\":1,\"y\":2}");
  assert_int_equal(counts_of(c).conflicts, 0);
  weft_edit *e;
  weft_commit done;
  assert_int_equal(weft_edit_begin(&e, f->a, NULL), WEFT_OK);
  assert_int_equal(weft_edit_delete(e, weft_bytes_str("t/a")), WEFT_OK);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  weft_edit_free(e);
  test_pull(c, f->a, 7);
  assert_int_equal(weft_replica_conflicts(c, &f->arena, weft_bytes_str("t/a"), 0, &listed, &count),
                   WEFT_OK);
  assert_int_equal(count, 1);
  assert_int_equal(listed[0].kind, WEFT_CONFLICT_EDIT_DELETE);
  test_recount(c, 0);
  weft_replica_free(c);
}

/* A tag that fits nothing held waits; so does a claim of one's own future through another. */
static void test_wrong_tag_waits(void **state) {
  fixture *f = *state;
  author x = author_make(f, 2, 1);
  author y = author_make(f, 3, 1);
  author_add(&x, set_change(&x, 101, "t/a", 1, NULL, 0));
  weft_claim claim = claim_on(&x, 0, 2);
  claim.tag[0] ^= 1;
  author_add(&y, set_change(&y, 102, "t/b", 2, &claim, 1));
  weft_run run = author_run(&x, 1, 2);
  assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_TAKEN);
  run = author_run(&y, 1, 2);
  assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_TAKEN);
  test_show_all(f->a);
  assert_doc(f->a, "t/a", "{\"x\":1}");
  assert_doc(f->a, "t/b", "(none)");
  /* What waits is offered all the same, behind what is shown. */
  assert_int_equal(test_pull(f->b, f->a, 10), 4);
  assert_doc(f->b, "t/b", "(none)");
  test_recount(f->a, 0);
}

/* --- forks and copies --- */

static void test_fork_is_held(void **state) {
  fixture *f = *state;
  author x = author_make(f, 2, 1);
  author y = x;
  weft_hold_report report;
  weft_fork *forks;
  size_t count;
  author_add(&x, set_change(&x, 101, "t/a", 1, NULL, 0));
  author_add(&y, set_change(&y, 101, "t/a", 2, NULL, 0));
  author_add(&y, set_change(&y, 102, "t/a", 3, NULL, 0));
  weft_run run = author_run(&x, 1, 2);
  assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_TAKEN);
  run = author_run(&y, 3, 3);
  assert_int_equal(hold(f, f->a, &run, &report), WEFT_OK);
  assert_int_equal(report.runs[0].verdict, WEFT_HOLD_BRANCH);
  assert_int_equal(report.changes, 0);
  run = author_run(&y, 1, 2);
  run.sig.b[0] ^= 1;
  assert_int_equal(hold(f, f->a, &run, &report), WEFT_EBADSIG);
  run = author_run(&y, 1, 2);
  assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_TAKEN);
  run = author_run(&y, 3, 3);
  assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_TAKEN);
  assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_KNOWN);
  assert_doc(f->a, "t/a", "{\"x\":3}");
  assert_int_equal(weft_replica_held(f->a)->count, 2);
  assert_int_equal(weft_replica_forks(f->a, &f->arena, &forks, &count), WEFT_OK);
  assert_int_equal(count, 1);
  assert_int_equal(forks[0].seq, 2);
  assert_int_equal(forks[0].id_count, 2);
  test_recount(f->a, 0);
}

/* Past 16 branches of a log one more is taken only when another device claims it. */
static void test_branch_too_many(void **state) {
  fixture *f = *state;
  author start = author_make(f, 2, 1);
  author other = author_make(f, 3, 1);
  author last = start;
  for (unsigned i = 0; i <= WEFT_BRANCHES_MAX; i++) {
    author x = start;
    author_add(&x, set_change(&x, 101, "t/a", (uint8_t)i, NULL, 0));
    weft_run run = author_run(&x, 1, 2);
    bool place = i < WEFT_BRANCHES_MAX;
    assert_int_equal(verdict(f, f->a, &run), place ? WEFT_HOLD_TAKEN : WEFT_HOLD_FULL);
    last = x;
  }
  weft_claim claim = claim_on(&last, 0, 2);
  author_add(&other, set_change(&other, 102, "t/b", 1, &claim, 1));
  weft_run run = author_run(&other, 1, 2);
  assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_TAKEN);
  assert_doc(f->a, "t/b", "(none)");
  run = author_run(&last, 1, 2);
  assert_int_equal(verdict(f, f->a, &run), WEFT_HOLD_TAKEN);
  test_show_all(f->a);
  assert_doc(f->a, "t/b", "{\"x\":1}");
  assert_int_equal(weft_replica_held(f->a)->count, WEFT_BRANCHES_MAX + 2);
  test_recount(f->a, 0);
}

/* Of a backlog what was written to overtake is shown first. */
static void test_lanes_are_shown_in_order(void **state) {
  fixture *f = *state;
  weft_show_report report;
  weft_hold_report held;
  for (int i = 0; i < 300; i++) {
    weft_edit *e;
    weft_commit done;
    weft_edit_options o;
    weft_edit_options_init(&o);
    o.lane = i < 298 ? WEFT_LANE_LOW : i == 298 ? WEFT_LANE_HIGH : WEFT_LANE_CRITICAL;
    weft_value v = {.kind = WEFT_INT, .as.integer = i};
    const char *doc = i < 298 ? "t/low" : i == 298 ? "t/high" : "t/critical";
    assert_int_equal(weft_edit_begin(&e, f->a, &o), WEFT_OK);
    assert_int_equal(weft_edit_set(e, weft_bytes_str(doc), weft_bytes_str("/x"), &v), WEFT_OK);
    assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
    weft_edit_free(e);
    assert_int_equal(weft_replica_lane(f->a, &done.log), o.lane);
  }
  weft_id nobody = {{1}};
  assert_int_equal(weft_replica_lane(f->a, &nobody), WEFT_LANE_NORMAL);
  const weft_vector *all = weft_replica_held(f->a);
  weft_bytes chunks[3];
  assert_int_equal(all->count, 3);
  for (size_t i = 0; i < 3; i++) {
    weft_run run = run_of(f, f->a, &all->heads[i].log);
    chunks[i] = chunk_of(f, &run);
  }
  assert_int_equal(weft_replica_hold(f->b, &f->arena, chunks, 3, &held), WEFT_OK);
  assert_int_equal(held.changes, 303);
  assert_int_equal(counts_of(f->b).changes_shown, 0);
  assert_int_equal(weft_replica_show(f->b, 2, &report), WEFT_OK);
  assert_doc(f->b, "t/critical", "{\"x\":299}");
  assert_doc(f->b, "t/high", "(none)");
  assert_int_equal(weft_replica_show(f->b, 2, &report), WEFT_OK);
  assert_doc(f->b, "t/high", "{\"x\":298}");
  assert_doc(f->b, "t/low", "(none)");
  test_show_all(f->b);
  test_assert_same(f->a, f->b);
}

/* Own changes that a vector lacks, oldest first over all lanes. */
static void test_own_changes_are_listed(void **state) {
  fixture *f = *state;
  weft_own_change *list;
  size_t count;
  uint64_t total;
  weft_vector none;
  weft__vector_init(&none, &f->mem);
  assert_int_equal(weft_replica_own(f->a, &f->arena, &none, 10, &list, &count, &total), WEFT_OK);
  assert_int_equal(count + total, 0);
  for (int i = 0; i < 6; i++) {
    weft_edit *e;
    weft_commit done;
    weft_edit_options o;
    weft_edit_options_init(&o);
    o.lane = i % 2 ? WEFT_LANE_CRITICAL : WEFT_LANE_LOW;
    weft_value v = {.kind = WEFT_INT, .as.integer = i};
    f->s.platforms[0].now += 10;
    assert_int_equal(weft_edit_begin(&e, f->a, &o), WEFT_OK);
    assert_int_equal(weft_edit_set(e, weft_bytes_str("t/a"), weft_bytes_str("/x"), &v), WEFT_OK);
    assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
    weft_edit_free(e);
  }
  test_pull(f->a, f->b, 7);
  assert_int_equal(weft_replica_own(f->a, &f->arena, &none, 4, &list, &count, &total), WEFT_OK);
  assert_int_equal(count, 4);
  assert_int_equal(total, 6);
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(list[i].lane, i % 2 ? WEFT_LANE_CRITICAL : WEFT_LANE_LOW);
    assert_true(i == 0 || list[i].change.hlc > list[i - 1].change.hlc);
    assert_true(list[i].len > 10);
    assert_true(list[i].change.op_count > 0);
  }
  weft_head head = {list[2].change.log, list[2].change.seq, list[2].change.change};
  assert_int_equal(weft__vector_raise(&none, NULL, &head), WEFT_OK);
  assert_int_equal(weft_replica_own(f->a, &f->arena, &none, 10, &list, &count, &total), WEFT_OK);
  assert_int_equal(total, 4);
  assert_int_equal(count, 4);
  assert_int_equal(list[0].lane, WEFT_LANE_CRITICAL);
  assert_int_equal(weft_replica_own(f->a, &f->arena, &none, 0, &list, &count, &total), WEFT_ELIMIT);
  assert_int_equal(weft_replica_own(f->a, &f->arena, &none, 10001, &list, &count, &total),
                   WEFT_ELIMIT);
  /* Those of others are none of ours. */
  test_pull(f->b, f->a, 7);
  weft__vector_free(&none);
  weft__vector_init(&none, &f->mem);
  assert_int_equal(weft_replica_own(f->b, &f->arena, &none, 10, &list, &count, &total), WEFT_OK);
  assert_int_equal(total, 0);
  weft__vector_free(&none);
}

/* A peer shows changes of ours that we lack: we hold them, and go on under a new incarnation. */
static void test_own_changes_come_back(void **state) {
  fixture *f = *state;
  test_fault_store faults = {0};
  weft_store *inner = test_memory_store();
  weft_replica *c = test_space_open(&f->s, 2, test_fault_store_of(inner, &faults));
  assert_int_equal(test_set(c, "t/a", "/x", "1"), WEFT_OK);
  assert_int_equal(weft_replica_held(c)->count, 1);
  weft_id log = own_log(c, 0);
  weft_run all = run_of(f, c, &log);
  weft_start start;
  weft_change first;
  assert_int_equal(weft__change_parse(&f->arena, all.changes[0], &first), WEFT_OK);
  start = first.start;
  /* The same log, longer, as a copy of the device would have written it. */
  author w = {.f = f, .id = &f->s.devices[2], .start = start, .log = log};
  weft__log_root(f->s.crypto, &log, &w.ids[0]);
  for (size_t i = 0; i < all.count; i++) author_add(&w, all.changes[i]);
  author_add(&w, set_change(&w, UINT64_C(1750000000100) << 16, "t/a", 9, NULL, 0));
  weft_run run = author_run(&w, 1, 3);
  assert_int_equal(verdict(f, c, &run), WEFT_HOLD_TAKEN);
  assert_doc(c, "t/a", "{\"x\":9}");
  assert_int_equal(test_set(c, "t/a", "/x", "2"), WEFT_OK);
  assert_int_equal(counts_of(c).logs, 2);
  assert_doc(c, "t/a", "{\"x\":2}");
  weft_replica_free(c);
  weft_store_free(inner);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(test_stranger_waits),
      CASE(test_other_space),
      CASE(test_damage_is_refused),
      CASE(test_all_or_none),
      CASE(test_gap),
      CASE(test_forbidden_content),
      CASE(test_forbidden_content_sealed),
      CASE(test_unknown_content),
      CASE(test_waits_for_claims),
      CASE(test_long_runs_claim),
      CASE(test_waits_over_a_restart),
      CASE(test_creation_comes_later),
      CASE(test_wrong_tag_waits),
      CASE(test_fork_is_held),
      CASE(test_branch_too_many),
      CASE(test_lanes_are_shown_in_order),
      CASE(test_own_changes_are_listed),
      CASE(test_own_changes_come_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

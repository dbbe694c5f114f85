/* The bus against a model: subscriptions of every kind come and go, transient events are published
 * that resemble each other, deliveries are taken in any order, memory fails now and then.  Whatever
 * happens, each event that a subscription wanted is delivered, stands within another, was dropped
 * and counted, or waits; and what is delivered is wanted and names the subscriptions it went to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/events.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/pace.h"
#include "tests/support/space.h"

enum { SUBS_MAX = 24, RUNS = 40, STEPS = 400 };

typedef struct model_sub {
  uint64_t id;
  weft_event_type type; /* RESET: any */
  bool any;
  weft_bytes collection;
  uint64_t wanted, merged;
} model_sub;

typedef struct bus {
  test_rng rng;
  test_fault_alloc f;
  weft_events *b;
  weft_ms now;
  model_sub subs[SUBS_MAX];
  size_t count;
  bool exact; /* no memory failed so far */
} bus;

static uint64_t pick(bus *x, uint64_t below) { return test_rng_below(&x->rng, below); }
static bool chance(bus *x, unsigned percent) { return test_rng_chance(&x->rng, percent); }

static const weft_event_type types[] = {WEFT_EVENT_PRESENCE_JOINED, WEFT_EVENT_PRESENCE_CHANGED,
                                        WEFT_EVENT_PRESENCE_LEFT};
static const char *const docs[] = {"t/a", "t/b", "u/a", ""};
static const char *const collections[] = {"", "t", "u", "v"};

static void memory_may_fail(bus *x, unsigned percent) {
  if (!chance(x, percent)) return;
  x->f.calls = 0;
  x->f.fail_at = 1 + pick(x, 4);
}

/* Whether a call that may have been without memory was. */
static bool memory_failed(bus *x) {
  bool failed = x->f.fail_at > 0 && x->f.calls >= x->f.fail_at;
  x->f.fail_at = 0;
  return failed;
}

static void subscribe(bus *x) {
  weft_subscription_options o;
  weft_subscription_options_init(&o);
  model_sub *s = &x->subs[x->count];
  *s = (model_sub){.any = chance(x, 60), .type = types[pick(x, 3)]};
  weft_bytes pattern = weft_bytes_str(weft_event_name(s->type));
  s->collection = weft_bytes_str(collections[pick(x, 4)]);
  if (!s->any) {
    o.patterns = &pattern;
    o.pattern_count = 1;
  }
  o.collection = s->collection;
  o.priority = (uint32_t)pick(x, WEFT_EVENTS_PRIORITIES);
  o.latency_max_ms = chance(x, 50) ? 0 : (uint32_t)(1 + pick(x, 50));
  o.queue_max = (uint32_t)(1 + pick(x, chance(x, 50) ? 4 : 40));
  o.batch_max = chance(x, 50) ? 0 : (uint32_t)(1 + pick(x, o.queue_max));
  o.coalesce = (weft_coalesce)pick(x, 4);
  o.trace = chance(x, 30);
  o.ctx = s;
  memory_may_fail(x, 20);
  weft_err err = weft_events_subscribe(x->b, &o, &s->id);
  bool failed = memory_failed(x);
  assert_int_equal(err, failed ? WEFT_ENOMEM : WEFT_OK);
  if (err == WEFT_OK) x->count++;
}

static bool wants(const model_sub *s, const weft_event *e) {
  if (!s->any && s->type != e->type) return false;
  return s->collection.len == 0 || (e->doc.len > s->collection.len &&
                                    memcmp(e->doc.at, s->collection.at, s->collection.len) == 0);
}

static void publish(bus *x) {
  static const char *const texts[] = {"", "one", "two"};
  weft_event e = {.type = types[pick(x, 3)], .time = x->now};
  e.doc = weft_bytes_str(docs[pick(x, 4)]);
  e.text = weft_bytes_str(texts[pick(x, 3)]);
  e.has_device = chance(x, 60);
  if (e.has_device) e.device.b[0] = (uint8_t)pick(x, 3);
  memory_may_fail(x, 5);
  weft_err err = weft_events_publish(x->b, x->now, &e);
  bool failed = memory_failed(x);
  assert_true(err == WEFT_OK || (failed && err == WEFT_ENOMEM));
  x->exact = x->exact && !failed;
  for (size_t i = 0; i < x->count; i++) x->subs[i].wanted += wants(&x->subs[i], &e);
}

static model_sub *sub_of(bus *x, uint64_t id) {
  for (size_t i = 0; i < x->count; i++) {
    if (x->subs[i].id == id) return &x->subs[i];
  }
  fail_msg("a delivery for subscription %u, which is gone", (unsigned)id);
  return NULL;
}

static void delivered(bus *x, const weft_delivery *d) {
  model_sub *s = sub_of(x, d->subscription);
  assert_true(wants(s, d->event));
  assert_true(d->merged >= 1);
  s->merged += d->merged;
  assert_true(d->to_count <= d->to_total);
  bool named = d->to_count == 0;
  for (size_t i = 0; i < d->to_count; i++) named = named || d->to[i] == s->id;
  assert_true(named);
}

static void take(bus *x) {
  weft_delivery d;
  for (uint64_t n = pick(x, 6); n > 0 && weft_events_next(x->b, x->now, &d); n--) delivered(x, &d);
  if (x->count > 0 && chance(x, 50)) {
    const model_sub *s = &x->subs[pick(x, x->count)];
    if (weft_events_take(x->b, x->now, s->id, &d)) {
      assert_true(d.subscription == s->id);
      delivered(x, &d);
    }
  }
  assert_false(weft_events_take(x->b, x->now, 1000000, &d));
}

static void unsubscribe(bus *x) {
  if (x->count == 0) return;
  size_t at = pick(x, x->count);
  assert_int_equal(weft_events_unsubscribe(x->b, x->subs[at].id), WEFT_OK);
  assert_int_equal(weft_events_unsubscribe(x->b, x->subs[at].id), WEFT_ENOTFOUND);
  x->subs[at] = x->subs[--x->count];
}

/* Nothing is lost without being counted. */
static void check(bus *x) {
  assert_int_equal(weft_events_subscriptions(x->b), x->count);
  for (size_t i = 0; i < x->count; i++) {
    const model_sub *s = &x->subs[i];
    weft_subscription_stats stats;
    assert_int_equal(weft_events_stats(x->b, s->id, &stats), WEFT_OK);
    assert_false(stats.behind);
    assert_int_equal(stats.resets, 0);
    uint64_t known = stats.delivered + stats.coalesced + stats.dropped + stats.queued;
    if (x->exact && known != s->wanted)
      fail_msg("%u of %u events are known of", (unsigned)known, (unsigned)s->wanted);
    assert_true(known <= s->wanted);
    assert_true(s->merged <= s->wanted);
  }
}

static void run(weft_replica *r, uint64_t seed) {
  static bus x;
  x = (bus){.rng = test_rng_of(seed), .exact = true};
  weft_alloc mem = test_fault_alloc_of(&x.f);
  assert_int_equal(weft_events_new(&x.b, r, &mem), WEFT_OK);
  for (unsigned i = 0; i < STEPS; i++) {
    switch (pick(&x, 8)) {
    case 0:
      if (x.count < SUBS_MAX) subscribe(&x);
      break;
    case 1:
      if (chance(&x, 40)) unsubscribe(&x);
      break;
    case 2: x.now += pick(&x, 30); break;
    case 3: take(&x); break;
    case 4: assert_int_equal(weft_events_pump(x.b, x.now), WEFT_OK); break;
    default: publish(&x); break;
    }
    check(&x);
  }
  /* In time everything that waits is delivered. */
  weft_delivery d;
  for (unsigned i = 0; i < 100; i++) {
    while (weft_events_next(x.b, x.now, &d)) delivered(&x, &d);
    x.now += 60; /* what came meanwhile gathers anew */
  }
  assert_true(weft_events_deadline(x.b) == WEFT_NEVER);
  for (size_t i = 0; i < x.count; i++) {
    weft_subscription_stats stats;
    assert_int_equal(weft_events_stats(x.b, x.subs[i].id, &stats), WEFT_OK);
    assert_int_equal(stats.queued, 0);
  }
  weft_events_free(x.b);
  assert_int_equal(x.f.live, 0);
}

static void test_any_subscriptions(void **state) {
  (void)state;
  test_space s;
  test_space_make(&s, 1, 3);
  weft_replica *r = test_space_memory(&s, 0);
  for (uint64_t seed = 1; seed <= test_share(RUNS, 10); seed++) run(r, seed);
  weft_replica_free(r);
}

static void test_only_transient_events_are_published(void **state) {
  (void)state;
  test_space s;
  weft_events *b;
  weft_alloc mem = weft_alloc_libc();
  static const weft_event_type refused[] = {WEFT_EVENT_RESET, WEFT_EVENT_STORE_FULL};
  test_space_make(&s, 1, 3);
  weft_replica *r = test_space_memory(&s, 0);
  assert_int_equal(weft_events_new(&b, r, &mem), WEFT_OK);
  for (size_t i = 0; i < 2; i++) {
    weft_event e = {.type = refused[i]};
    assert_int_equal(weft_events_publish(b, 0, &e), WEFT_EMISUSE);
  }
  weft_events_free(b);
  weft_replica_free(r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_any_subscriptions),
      cmocka_unit_test(test_only_transient_events_are_published),
  };
  return cmocka_run_group_tests_name("events_bus", tests, NULL, NULL);
}

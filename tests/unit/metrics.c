/* Metrics: the table, its documentation, its text, and what a replica and a node count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/metrics_table.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/prometheus.h"
#include "tests/support/rig.h"

/* A clock that moves when it is looked at. */
static uint64_t step_clock(void *ctx) {
  uint64_t *at = ctx;
  return *at += 3000000;
}

static weft_metrics *metrics_make(uint64_t *clock) {
  weft_metrics_options o;
  weft_metrics *m;
  weft_metrics_options_init(&o);
  o.clock_ns = clock ? step_clock : NULL;
  o.ctx = clock;
  assert_int_equal(weft_metrics_new(&m, &o), WEFT_OK);
  return m;
}

static uint64_t value(const weft_metrics *m, weft_metric id) {
  weft_metric_view v;
  assert_true(weft_metrics_at(m, id, &v));
  return v.kind == WEFT_METRIC_HISTOGRAM ? v.count : v.value;
}

static char *text_of(const weft_metrics *m, bool gauges_only) {
  weft_alloc mem = weft_alloc_libc();
  weft_buf b;
  weft__buf_init(&b, &mem, 1 << 20);
  weft_metrics_write(&b, m, gauges_only);
  weft__buf_u8(&b, 0);
  assert_int_equal(weft__buf_err(&b), WEFT_OK);
  return (char *)b.at;
}

static void the_table_is_whole(void **state) {
  (void)state;
  uint64_t clock = 0;
  weft_metrics *m = metrics_make(&clock);
  weft_metric_view v, before = {.name = ""};
  for (size_t i = 0; i < WEFT_METRIC_COUNT; i++) {
    assert_true(weft_metrics_at(m, i, &v));
    bool counter = v.kind == WEFT_METRIC_COUNTER;
    size_t len = strlen(v.name);
    assert_memory_equal(v.name, "weft_", 5);
    assert_int_equal(len > 6 && strcmp(v.name + len - 6, "_total") == 0, counter);
    assert_int_equal(i >= WEFT_METRIC_FIRST_GAUGE, !counter);
    assert_int_equal(i >= WEFT_METRIC_FIRST_HISTOGRAM, v.kind == WEFT_METRIC_HISTOGRAM);
    assert_true(v.help[0] && v.help[strlen(v.help) - 1] != '.' && v.unit[0]);
    bool timed = strstr(v.name, "_seconds") != NULL;
    assert_int_equal(timed, strcmp(v.unit, "seconds") == 0);
    if (strcmp(v.name, before.name) == 0) {
      assert_string_equal(v.help, before.help);
      assert_true(v.kind == before.kind && v.label_key[0] && strcmp(v.unit, before.unit) == 0);
      assert_string_not_equal(v.label_value, before.label_value);
    }
    before = v;
  }
  assert_false(weft_metrics_at(m, WEFT_METRIC_COUNT, &v));
  weft_metrics_free(m);
  weft_metrics_free(NULL);
  test_fault_alloc f = {.fail_at = 1};
  weft_metrics_options o;
  weft_metrics_options_init(&o);
  o.mem = test_fault_alloc_of(&f);
  assert_int_equal(weft_metrics_new(&m, &o), WEFT_ENOMEM);
}

/* Every metric has its line in docs/metrics.md, and no other stands there. */
static void the_documentation_says_the_same(void **state) {
  (void)state;
  static const char *const kinds[] = {"counter", "gauge", "histogram"};
  static char docs[1 << 16];
  FILE *f = fopen(WEFT_SOURCE_DIR "/docs/metrics.md", "r");
  assert_non_null(f);
  docs[fread(docs, 1, sizeof docs - 1, f)] = 0;
  fclose(f);
  weft_metrics *m = metrics_make(NULL);
  weft_metric_view v, next;
  size_t documented = 0, lines = 0, wrong = 0;
  for (size_t i = 0; weft_metrics_at(m, i, &v);) {
    char line[512];
    size_t len =
        (size_t)snprintf(line, sizeof line, "| `%s` | %s | %s | ", v.name, kinds[v.kind], v.unit);
    if (v.label_key[0]) len += (size_t)snprintf(line + len, sizeof line - len, "%s: ", v.label_key);
    size_t k = i;
    while (weft_metrics_at(m, k, &next) && strcmp(next.name, v.name) == 0) {
      len += (size_t)snprintf(line + len, sizeof line - len, "%s%s", k > i ? ", " : "",
                              next.label_value);
      k++;
    }
    i = k;
    snprintf(line + len, sizeof line - len, " | %s |\n", v.help);
    lines++;
    if (strstr(docs, line)) continue;
    print_message("docs/metrics.md lacks:\n%s", line);
    wrong++;
  }
  for (const char *at = docs; (at = strstr(at, "\n| `weft_")) != NULL; at++) documented++;
  assert_int_equal(wrong, 0);
  assert_int_equal(documented, lines);
  weft_metrics_free(m);
}

static void the_text_is_well_formed(void **state) {
  (void)state;
  uint64_t clock = 0;
  weft_metrics *m = metrics_make(&clock);
  char why[TEST_PROMETHEUS_WHY];
  weft__count(m, WEFT_METRIC_COMMITS, UINT64_MAX);
  weft__gauge(m, WEFT_METRIC_SHOW_LAG_TIME, 1500000000);
  weft__observe(m, WEFT_METRIC_COMMIT_TIME, 0);
  weft__observe(m, WEFT_METRIC_COMMIT_TIME, 100000);
  weft__observe(m, WEFT_METRIC_COMMIT_TIME, 100001);
  weft__observe(m, WEFT_METRIC_COMMIT_TIME, 70000000000);
  char *all = text_of(m, false), *gauges = text_of(m, true);
  if (test_prometheus_check(all, why) == 0) fail_msg("%s", why);
  assert_int_equal(test_prometheus_check(gauges, why), 1);
  static const char *const lines[] = {
      "# HELP weft_commits_total Own changes committed: durable and shown.\n"
      "# TYPE weft_commits_total counter\nweft_commits_total 18446744073709551615\n",
      "\nweft_show_lag_seconds 1.5\n",
      "\nweft_commit_duration_seconds_bucket{le=\"0.0001\"} 2\n"
      "weft_commit_duration_seconds_bucket{le=\"0.00025\"} 3\n",
      "\nweft_commit_duration_seconds_bucket{le=\"60\"} 3\n"
      "weft_commit_duration_seconds_bucket{le=\"+Inf\"} 4\n"
      "weft_commit_duration_seconds_sum 70.000200001\nweft_commit_duration_seconds_count 4\n",
      "\nweft_link_sent_bytes_total{link=\"dialled\"} 0\n"
      "weft_link_sent_bytes_total{link=\"accepted\"} 0\n",
  };
  char *with_start = malloc(strlen(all) + 2);
  sprintf(with_start, "\n%s", all);
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    if (!strstr(with_start, lines[i])) fail_msg("lacks: %s", lines[i]);
  }
  assert_null(strstr(all, "weft_documents")); /* nobody measured them */
  free(with_start);
  free(all);
  free(gauges);
  weft_metrics_free(m);
}

/* The reader of the format refuses what it should. */
static void the_check_can_fail(void **state) {
  (void)state;
  static const char *const bad[] = {
      "",
      "weft_a 1\n",
      "# HELP weft_a A.\n# TYPE weft_a gauge\n",
      "# HELP weft_a A.\n# TYPE weft_a gauge\nweft_a 1",
      "# HELP weft_a A.\n# TYPE weft_a gauge\nweft_a x\n",
      "# HELP weft_a A.\n# TYPE weft_a gauge\nweft_a -1\n",
      "# HELP weft_a A.\n# TYPE weft_a gauge\nweft_b 1\n",
      "# HELP weft_a A.\n# TYPE weft_a gauge\nweft_a 1\nweft_a 1\n",
      "# HELP weft_a A.\n# TYPE weft_a gauge\nweft_a{b=c} 1\n",
      "# HELP weft_a A.\n# TYPE weft_a gauge\nweft_a{b=\"\\x\"} 1\n",
      "# HELP weft_a A.\n# TYPE weft_b gauge\nweft_a 1\n",
      "# HELP weft_a A.\n# TYPE weft_a counter\nweft_a 1\n",
      "# HELP weft_a_total A.\n# TYPE weft_a_total gauge\nweft_a_total 1\n",
      "# HELP a A.\n# TYPE a gauge\na 1\n",
      "# HELP weft_a A.\n# TYPE weft_a gauge\nweft_a 1\n\n",
      "# HELP weft_a A.\n# TYPE weft_a histogram\nweft_a_bucket{le=\"1\"} 1\n",
      "# HELP weft_a A.\n# TYPE weft_a histogram\nweft_a_bucket{le=\"+Inf\"} 1\nweft_a_sum 1\n"
      "weft_a_count 2\n",
      "# HELP weft_a A.\n# TYPE weft_a histogram\nweft_a_bucket{le=\"1\"} 2\n"
      "weft_a_bucket{le=\"+Inf\"} 1\nweft_a_sum 1\nweft_a_count 1\n",
  };
  char why[TEST_PROMETHEUS_WHY];
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    if (test_prometheus_check(bad[i], why) != 0) fail_msg("taken: %s", bad[i]);
  }
  assert_int_equal(
      test_prometheus_check("# HELP weft_a A.\n# TYPE weft_a gauge\nweft_a{b=\"\\\\\"} "
                            "1\nweft_a{b=\"d\",c=\"\"} 2.5\n",
                            why),
      2);
}

/* --- a replica --- */

typedef struct counted {
  test_space space;
  weft_metrics *m;
  uint64_t clock;
  weft_replica *r, *other;
} counted;

static void counted_make(counted *c, bool clock) {
  memset(c, 0, sizeof *c);
  test_space_make(&c->space, 2, 1);
  c->m = metrics_make(clock ? &c->clock : NULL);
  weft_replica_options o = test_space_options(&c->space, 0, test_memory_store());
  o.metrics = c->m;
  assert_int_equal(weft_replica_open(&c->r, &o), WEFT_OK);
  test_space_add_records(&c->space, c->r);
  c->other = test_space_memory(&c->space, 1);
}

static void counted_free(counted *c) {
  weft_replica_free(c->r);
  weft_replica_free(c->other);
  weft_metrics_free(c->m);
}

static void commits_are_counted_once_durable(void **state) {
  (void)state;
  counted c;
  counted_make(&c, true);
  uint64_t before = value(c.m, WEFT_METRIC_TRANSACTIONS);
  assert_int_equal(test_set(c.r, "notes/a", "/n", "1"), WEFT_OK);
  assert_int_equal(value(c.m, WEFT_METRIC_COMMITS), 1);
  assert_int_equal(value(c.m, WEFT_METRIC_COMMIT_TIME), 1);
  assert_int_equal(value(c.m, WEFT_METRIC_HELD), 2);              /* and the START of the log */
  assert_int_equal(test_set(c.r, "notes/a", "/n", "1"), WEFT_OK); /* nothing differs */
  assert_int_equal(value(c.m, WEFT_METRIC_COMMITS), 1);
  assert_int_equal(value(c.m, WEFT_METRIC_COMMIT_TIME), 1);
  assert_int_equal(weft_group_begin(c.r), WEFT_OK);
  for (unsigned i = 0; i < 3; i++) {
    char text[4] = {(char)('2' + i), 0};
    assert_int_equal(test_set(c.r, "notes/a", "/n", text), WEFT_OK);
  }
  assert_int_equal(value(c.m, WEFT_METRIC_COMMITS), 1);
  assert_int_equal(weft_group_end(c.r), WEFT_OK);
  assert_int_equal(value(c.m, WEFT_METRIC_COMMITS), 4);
  assert_int_equal(value(c.m, WEFT_METRIC_COMMIT_TIME), 2);
  assert_int_equal(weft_group_begin(c.r), WEFT_OK);
  assert_int_equal(test_set(c.r, "notes/a", "/n", "9"), WEFT_OK);
  weft_group_abort(c.r);
  assert_int_equal(test_set(c.r, "notes/a", "/n", "8"), WEFT_OK);
  assert_int_equal(value(c.m, WEFT_METRIC_COMMITS), 5);
  assert_int_equal(value(c.m, WEFT_METRIC_TRANSACTIONS), before + 3);
  assert_int_equal(value(c.m, WEFT_METRIC_HELD), 6);
  assert_int_equal(value(c.m, WEFT_METRIC_SHOWN), 6);
  counted_free(&c);
}

static void what_is_received_is_counted(void **state) {
  (void)state;
  counted c;
  counted_make(&c, true);
  for (unsigned i = 0; i < 100; i++) {
    char text[8];
    snprintf(text, sizeof text, "%u", i);
    assert_int_equal(test_set(c.other, "notes/a", "/n", text), WEFT_OK);
  }
  assert_int_equal(test_pull(c.r, c.other, 10), 101);
  assert_int_equal(value(c.m, WEFT_METRIC_HELD), 101);
  assert_int_equal(value(c.m, WEFT_METRIC_SHOWN), 101);
  assert_int_equal(value(c.m, WEFT_METRIC_VERIFIED), 101);
  assert_true(value(c.m, WEFT_METRIC_SIGNATURES) >= 1);
  assert_true(value(c.m, WEFT_METRIC_HOLD_TIME) >= 1);
  assert_true(value(c.m, WEFT_METRIC_SHOW_TIME) >= 1);
  assert_int_equal(value(c.m, WEFT_METRIC_COMMITS), 0);
  weft_arena arena;
  weft_alloc mem = weft_alloc_libc();
  weft_hold_report report;
  weft__arena_init(&arena, &mem);
  weft_bytes junk = weft_bytes_str("junk");
  assert_true(weft_replica_hold(c.r, &arena, &junk, 1, &report) != WEFT_OK);
  assert_int_equal(value(c.m, WEFT_METRIC_REFUSED), 1);
  weft__arena_free(&arena);
  assert_int_equal(weft_replica_measure(c.r, c.m), WEFT_OK);
  assert_int_equal(value(c.m, WEFT_METRIC_CHANGES_HELD), 101);
  assert_int_equal(value(c.m, WEFT_METRIC_SHOW_LAG), 0);
  assert_int_equal(value(c.m, WEFT_METRIC_SHOW_LAG_TIME), 0);
  assert_int_equal(value(c.m, WEFT_METRIC_DOCS), 1);
  assert_int_equal(value(c.m, WEFT_METRIC_MEMBERS), 2);
  counted_free(&c);
}

static void the_lag_of_showing_is_told(void **state) {
  (void)state;
  uint64_t clock = 0;
  weft_metrics *m = metrics_make(&clock);
  weft__metrics_lag(m, 5, 5);
  assert_int_equal(m->lag_since, 0);
  weft__metrics_lag(m, 6, 5);
  uint64_t since = m->lag_since;
  assert_true(since > 0);
  weft__metrics_lag(m, 9, 8); /* still behind */
  assert_int_equal(m->lag_since, since);
  weft__metrics_lag(m, 9, 9);
  assert_int_equal(m->lag_since, 0);
  weft__metrics_lag(NULL, 9, 8);
  weft__observe(NULL, WEFT_METRIC_COMMIT_TIME, 1);
  weft__count(NULL, WEFT_METRIC_COMMITS, 1);
  assert_int_equal(weft__metrics_clock(NULL), 0);
  weft_metrics_free(m);
}

static void without_a_clock_nothing_is_timed(void **state) {
  (void)state;
  counted c;
  counted_make(&c, false);
  assert_int_equal(test_set(c.r, "notes/a", "/n", "1"), WEFT_OK);
  assert_int_equal(value(c.m, WEFT_METRIC_COMMITS), 1);
  assert_int_equal(value(c.m, WEFT_METRIC_COMMIT_TIME), 0);
  counted_free(&c);
}

/* Options of an application that was built before there were metrics. */
static void old_options_do_still(void **state) {
  (void)state;
  test_space space;
  weft_replica *r;
  test_space_make(&space, 1, 1);
  weft_replica_options o = test_space_options(&space, 0, test_memory_store());
  o.struct_size = offsetof(weft_replica_options, metrics);
  memset(&o.metrics, 0x5a, sizeof o.metrics);
  assert_int_equal(weft_replica_open(&r, &o), WEFT_OK);
  test_space_add_records(&space, r);
  assert_int_equal(test_set(r, "notes/a", "/n", "1"), WEFT_OK);
  weft_replica_free(r);
}

/* --- a node --- */

static void a_node_counts_its_links(void **state) {
  (void)state;
  rig r;
  puppet p;
  weft_metrics *m = metrics_make(NULL);
  weft_node_options o = rig_options(&r, 2, 1);
  o.metrics = m;
  rig_make_with(&r, &o);
  puppet_make(&p, &r, &r.space.devices[1]);
  puppet_greet(&p);
  rig_wait(&r, 100);
  assert_int_equal(value(m, WEFT_METRIC_LINKS_OPENED), 1);
  assert_true(value(m, WEFT_METRIC_LINK_IN_ACCEPTED) > 132);
  assert_true(value(m, WEFT_METRIC_LINK_OUT_ACCEPTED) > 354);
  assert_int_equal(value(m, WEFT_METRIC_LINK_OUT_DIALLED), 0);
  assert_true(value(m, WEFT_METRIC_FRAME_IN_CONTROL) > 50);
  assert_true(value(m, WEFT_METRIC_FRAME_OUT_CONTROL) > 50);
  uint64_t acks = value(m, WEFT_METRIC_FRAME_OUT_ACKS);
  assert_int_equal(test_set(r.replica, "notes/a", "/n", "1"), WEFT_OK);
  weft_node_changed(r.node, r.now);
  rig_wait(&r, 1000);
  puppet_flow(&p);
  assert_true(value(m, WEFT_METRIC_FRAME_OUT_CHANGES) > 50);
  assert_true(value(m, WEFT_METRIC_FRAME_OUT_ACKS) > acks);
  /* The peer acknowledges what it got: that took a second. */
  weft_replica *theirs = test_space_memory(&r.space, 1);
  test_pull(theirs, r.replica, 10);
  weft_vector v;
  weft_msg_ack ack = {.whole = true};
  weft__vector_init(&v, &r.mem);
  assert_int_equal(weft__vector_copy(&v, weft_replica_showable(theirs)), WEFT_OK);
  weft__ack_shorten(&v);
  weft__ack_sign(&ack.ack, r.space.crypto, &r.space.devices[1], &r.space.id, 7, &v);
  ack.delta = v.heads;
  ack.count = v.count;
  weft_msg_acks acked = {&ack, 1};
  puppet_say(&p, WEFT_FRAME_ACK, acks, &acked);
  assert_int_equal(value(m, WEFT_METRIC_ACKS), 1);
  assert_int_equal(value(m, WEFT_METRIC_ACK_TIME), 1);
  assert_int_equal(m->histograms[WEFT_METRIC_ACK_TIME - WEFT_METRIC_FIRST_HISTOGRAM].sum,
                   1000000000);
  assert_int_equal(weft_node_measure(r.node, m), WEFT_OK);
  assert_int_equal(value(m, WEFT_METRIC_LINKS), 1);
  assert_int_equal(value(m, WEFT_METRIC_PENDING), 0);
  weft__vector_free(&v);
  weft_replica_free(theirs);
  puppet_free(&p);
  rig_free(&r);
  weft_metrics_free(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_table_is_whole),
      cmocka_unit_test(the_documentation_says_the_same),
      cmocka_unit_test(the_text_is_well_formed),
      cmocka_unit_test(the_check_can_fail),
      cmocka_unit_test(commits_are_counted_once_durable),
      cmocka_unit_test(what_is_received_is_counted),
      cmocka_unit_test(the_lag_of_showing_is_told),
      cmocka_unit_test(without_a_clock_nothing_is_timed),
      cmocka_unit_test(old_options_do_still),
      cmocka_unit_test(a_node_counts_its_links),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

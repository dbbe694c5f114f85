/* What a replica refuses before it looks at its store: calls within a group, options beyond their
 * limits, names and cursors that are none, places that nothing is at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/events.h"
#include "store/history.h"
#include "tests/support/space.h"

typedef struct fixture {
  test_space s;
  weft_replica *r;
  weft_arena arena;
} fixture;

static weft_bytes text(const char *s) { return weft_bytes_str(s); }

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  weft_alloc mem = weft_alloc_libc();
  test_space_make(&f->s, 2, 1);
  weft__arena_init(&f->arena, &mem);
  f->r = test_space_memory(&f->s, 0);
  assert_int_equal(test_set(f->r, "t/a", "/x", "1"), WEFT_OK);
  assert_int_equal(test_set(f->r, "t/b", "/l", "[1,2,{\"n\":3}]"), WEFT_OK);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  weft_replica_free(f->r);
  weft__arena_free(&f->arena);
  free(f);
  return 0;
}

static void within_a_group(void **state) {
  fixture *f = *state;
  weft_vector none = {.count = 0};
  weft_span *spans;
  size_t count;
  uint64_t last;
  weft_buf out;
  weft_verify_report report;
  weft_hold_report held;
  weft_show_report shown;
  weft_head own = weft_replica_held(f->r)->heads[0];
  weft__buf_init(&out, &f->arena.mem, SIZE_MAX);
  assert_int_equal(weft_group_end(f->r), WEFT_EMISUSE);
  weft_group_abort(f->r);
  assert_int_equal(weft_group_begin(f->r), WEFT_OK);
  assert_int_equal(weft_group_begin(f->r), WEFT_EMISUSE);
  assert_int_equal(weft_replica_missing(f->r, &f->arena, &none, 9, &spans, &count), WEFT_EMISUSE);
  assert_int_equal(weft_replica_arrivals(f->r, &f->arena, 0, 9, &spans, &count, &last),
                   WEFT_EMISUSE);
  assert_int_equal(weft_replica_read_chunk(f->r, &own.log, WEFT_BRANCH_ANY, 1, 1, &out, &last),
                   WEFT_EMISUSE);
  assert_int_equal(weft_replica_hold(f->r, &f->arena, NULL, 0, &held), WEFT_EMISUSE);
  assert_int_equal(weft_replica_show(f->r, 0, &shown), WEFT_EMISUSE);
  assert_int_equal(weft_replica_verify(f->r, NULL, NULL, &report), WEFT_EMISUSE);
  assert_int_equal(
      weft_replica_add_record(f->r, weft_bytes_of(f->s.records[0], f->s.record_lens[0])),
      WEFT_EMISUSE);
  assert_int_equal(weft_replica_declare_index(f->r, text("t"), text("/x")), WEFT_EMISUSE);
  assert_int_equal(weft_replica_flush_events(f->r), WEFT_EMISUSE);
  assert_int_equal(test_set(f->r, "t/a", "/x", "2"), WEFT_OK);
  assert_int_equal(weft_group_end(f->r), WEFT_OK);
  weft__buf_free(&out);
}

static void options_beyond_limits(void **state) {
  fixture *f = *state;
  weft_edit *e;
  weft_edit_options o;
  static char message[WEFT_MESSAGE_LEN_MAX + 1];
  memset(message, 'm', sizeof message);
  weft_edit_options_init(&o);
  o.lane = WEFT_LANES;
  assert_int_equal(weft_edit_begin(&e, f->r, &o), WEFT_ELIMIT);
  weft_edit_options_init(&o);
  o.message = weft_bytes_of(message, sizeof message);
  assert_int_equal(weft_edit_begin(&e, f->r, &o), WEFT_ELIMIT);
  o.message = text("\xff");
  assert_int_equal(weft_edit_begin(&e, f->r, &o), WEFT_ELIMIT);
  weft_replica_options ro;
  weft_replica *r;
  weft_replica_options_init(&ro);
  assert_int_equal(weft_replica_open(&r, &ro), WEFT_EMISUSE);
  ro = test_space_options(&f->s, 0, NULL);
  assert_int_equal(weft_replica_open(&r, &ro), WEFT_EMISUSE);
  weft_store *store = test_memory_store();
  for (unsigned i = 0; i < 5; i++) {
    ro = test_space_options(&f->s, 0, store);
    if (i == 0) ro.struct_size = sizeof ro.struct_size;
    if (i == 1) ro.crypto = NULL;
    if (i == 2) ro.identity = NULL;
    if (i == 3) ro.platform.wall_ms = NULL;
    if (i == 4) ro.platform.entropy = NULL;
    assert_int_equal(weft_replica_open(&r, &ro), WEFT_EMISUSE);
  }
  weft_store_free(store);
  assert_string_equal(weft_begun_why_str((weft_begun_why)99), "unknown");
}

static void edits_that_are_over(void **state) {
  fixture *f = *state;
  weft_edit *e;
  weft_commit done;
  weft_value v = {.kind = WEFT_INT, .as.integer = 5};
  assert_int_equal(weft_edit_begin(&e, f->r, NULL), WEFT_OK);
  assert_int_equal(weft_edit_set(e, text("t/a"), text("/y"), &v), WEFT_OK);
  assert_int_equal(weft_edit_move(e, text("t/b"), text("/l/-"), 0, 1), WEFT_ENOTFOUND);
  assert_int_equal(weft_edit_insert(e, text("t/b"), text("/l/-"), 0, &v), WEFT_EBADPATH);
  assert_int_equal(weft_edit_undelete(e, text("t/a")), WEFT_ENOTFOUND);
  assert_int_equal(weft_edit_undelete(e, text("t/none")), WEFT_ENOTFOUND);
  assert_int_equal(weft_edit_delete(e, text("t/none")), WEFT_ENOTFOUND);
  assert_int_equal(weft_edit_import(e, text("t/a"), &v, false), WEFT_EBADVALUE);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_OK);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_EMISUSE);
  assert_int_equal(weft_edit_set(e, text("t/a"), text("/y"), &v), WEFT_EMISUSE);
  weft_edit_free(e);
}

static void places_that_nothing_is_at(void **state) {
  fixture *f = *state;
  weft_head own = weft_replica_held(f->r)->heads[0];
  weft_id id, foreign = own.log;
  weft_span span;
  weft_buf out;
  uint64_t last;
  foreign.b[0] ^= 1;
  weft__buf_init(&out, &f->arena.mem, SIZE_MAX);
  const struct {
    const weft_id *log;
    uint32_t branch;
    uint64_t seq;
  } none[] = {{&own.log, WEFT_BRANCH_ANY, 0},
              {&own.log, WEFT_BRANCH_ANY, own.seq + 1},
              {&own.log, 77, 1},
              {&foreign, WEFT_BRANCH_ANY, 1},
              {&foreign, 0, 1}};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
    assert_int_equal(weft_replica_id_at(f->r, none[i].log, none[i].branch, none[i].seq, &id),
                     WEFT_ENOTFOUND);
    assert_int_equal(weft_replica_read_chunk(f->r, none[i].log, none[i].branch, none[i].seq,
                                             none[i].seq, &out, &last),
                     WEFT_ENOTFOUND);
    assert_int_equal(weft_replica_find(f->r, none[i].log, none[i].seq, &own.id, &span),
                     WEFT_ENOTFOUND);
  }
  assert_int_equal(
      weft_replica_read_chunk(f->r, &own.log, WEFT_BRANCH_ANY, 1, UINT64_MAX, &out, &last),
      WEFT_OK);
  assert_int_equal(last, own.seq);
  weft__buf_free(&out);
}

static void tags_that_are_none(void **state) {
  fixture *f = *state;
  weft_commit done;
  weft_tag *tags;
  size_t count;
  static const char *const names[] = {"",     "a b",  "a/b",  "now", "1st",
                                      "beef", "BEEF", "\x7f", "\xff"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    assert_int_equal(weft_replica_tag(f->r, text("t/a"), text(names[i]), NULL, NULL, &done),
                     WEFT_EBADVALUE);
  }
  assert_int_equal(weft_replica_untag(f->r, text("t/a"), text("never"), NULL, &done),
                   WEFT_ENOTFOUND);
  /* What anybody may write where tags stand: none of it is one. */
  char two[160], cut[160], upper[160];
  memset(two, 'a', sizeof two);
  two[0] = two[131] = '"';
  two[65] = '-';
  two[132] = 0;
  memset(cut, 'a', sizeof cut);
  cut[0] = cut[64] = '"';
  cut[65] = 0;
  memset(upper, 'a', sizeof upper);
  upper[0] = upper[65] = '"';
  upper[30] = 'A';
  upper[66] = 0;
  const char *const values[] = {"\"\"", "5", two, cut, upper, "[\"x\"]"};
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    char pointer[16];
    snprintf(pointer, sizeof pointer, "/tag%zu", i);
    assert_int_equal(test_set(f->r, "weft/tags/t/a", pointer, values[i]), WEFT_OK);
  }
  assert_int_equal(test_set(f->r, "weft/tags/t/a", "/1st", values[0]), WEFT_OK);
  assert_int_equal(weft_replica_tags(f->r, &f->arena, text("t/a"), &tags, &count), WEFT_OK);
  assert_int_equal(count, 0);
}

static void cursors_that_are_none(void **state) {
  fixture *f = *state;
  static char longest[4 * WEFT_KEY_LEN_MAX + 3];
  memset(longest, 'a', sizeof longest - 1);
  const char *const cursors[] = {"a", "zz", "AA", "0/", "0:", "ag", "aabb", longest};
  for (size_t i = 0; i < sizeof cursors / sizeof *cursors; i++) {
    weft_query q;
    weft_list page;
    weft_history_query h;
    weft_history_entry *list;
    size_t count;
    weft_bytes next;
    weft_query_init(&q);
    q.cursor = text(cursors[i]);
    assert_int_equal(weft_replica_list(f->r, &f->arena, &q, &page), WEFT_EMALFORMED);
    weft_history_query_init(&h);
    h.cursor = text(cursors[i]);
    assert_int_equal(weft_replica_history(f->r, &f->arena, &h, &list, &count, &next),
                     WEFT_EMALFORMED);
  }
}

static void patterns_and_collections(void **state) {
  fixture *f = *state;
  static char longest[400];
  weft_commit done;
  weft_strategy now;
  weft_path element;
  weft_event *events;
  size_t count;
  memset(longest, 'c', sizeof longest - 1);
  longest[0] = '/';
  weft_strategy_rule rule = {text("t"), text(longest), WEFT_STRATEGY_MANUAL};
  assert_int_equal(weft_replica_set_strategy(f->r, &rule, NULL, &done), WEFT_EBADPATH);
  rule.pattern = text("no pointer");
  assert_int_equal(weft_replica_set_strategy(f->r, &rule, NULL, &done), WEFT_EBADPATH);
  rule.pattern = text("/l/x");
  assert_int_equal(weft_replica_set_strategy(f->r, &rule, NULL, &done), WEFT_OK);
  rule.pattern = text("/*/*/*");
  assert_int_equal(weft_replica_set_strategy(f->r, &rule, NULL, &done), WEFT_OK);
  static const weft_step steps[] = {{false, {(const uint8_t *)"l", 1}},
                                    {true, {(const uint8_t *)"\1\2", 2}}};
  weft_buf path;
  weft__buf_init(&path, &f->arena.mem, WEFT_PATH_LEN_MAX);
  for (size_t i = 0; i < 2; i++) weft_path_push(&path, steps[i]);
  element = weft__buf_view(&path);
  assert_int_equal(weft_replica_strategy_of(f->r, text("t/b"), element, &now), WEFT_OK);
  assert_int_equal(now, WEFT_STRATEGY_FIELD);
  weft__buf_free(&path);
  assert_int_equal(weft_replica_declare_index(f->r, text(longest), text("/x")), WEFT_EBADNAME);
  assert_int_equal(weft_replica_drop_index(f->r, text("t"), text("/never")), WEFT_ENOTFOUND);
  uint64_t newest = weft_replica_events_newest(f->r);
  assert_int_equal(weft_replica_events(f->r, &f->arena, newest + 1, 9, &events, &count),
                   WEFT_ENOTFOUND);
  assert_int_equal(weft_replica_events(f->r, &f->arena, newest, 0, &events, &count), WEFT_ELIMIT);
  assert_int_equal(weft_replica_events(f->r, &f->arena, newest, 9, &events, &count), WEFT_OK);
  assert_int_equal(count, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(within_a_group),           CASE(options_beyond_limits),
      CASE(edits_that_are_over),      CASE(places_that_nothing_is_at),
      CASE(tags_that_are_none),       CASE(cursors_that_are_none),
      CASE(patterns_and_collections),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

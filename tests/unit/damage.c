/* A replica with everything in it, under every call there is: with rows of its store damaged one by
 * one, also such that say of themselves that they are whole; and with each place that calls the
 * store, that allocates, or that takes a piece of an arena, failing; and with what it reads harmed.
 * Each call ends, with an answer or an error that may be its own, and nothing is leaked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/json.h"
#include "store/events.h"
#include "store/history.h"
#include "store/replica_internal.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/fault_store.h"
#include "tests/support/pace.h"
#include "tests/support/places.h"
#include "tests/support/space.h"

/* A run of LONG_RUN changes is stored as a chunk. */
enum { DEVICES = 3, CHUNKS_MAX = 64, ROWS_MAX = 4096, TABLE_ROWS = 3, LONG_RUN = 80 };

/* Bytes harmed at each place that reads; sanitizers take three times as long. */
#ifdef __SANITIZE_ADDRESS__
enum { BYTES = 1, LIES = 60 };
#else
enum { BYTES = 5, LIES = 600 };
#endif

typedef struct world {
  test_space s;
  weft_store *whole; /* everything, undamaged */
  weft_arena arena;  /* for what lasts */
  weft_bytes chunks[CHUNKS_MAX];
  size_t chunk_count;
  weft_id change; /* one that the replica shows */
  weft_id forked; /* one on a branch */
  weft_head head; /* of a branch */
  weft_id own;    /* log of device 0 */
} world;

/* One replica under test, on a copy of the store. */
typedef struct bench {
  world *w;
  weft_store *inner;
  test_fault_store store_faults;
  test_fault_alloc alloc_faults;
  weft_replica *r;
  weft_arena arena;
} bench;

static weft_bytes text(const char *s) { return weft_bytes_str(s); }

/* --- the world --- */

static void must_set(weft_replica *r, const char *doc, const char *pointer, const char *json) {
  assert_int_equal(test_set(r, doc, pointer, json), WEFT_OK);
}

/* Three devices that know little of each other's writes: conflicts of every kind. */
static void write_all(weft_replica *r[DEVICES], test_space *s) {
  static const char *const docs[] = {"t/a", "t/b", "u/c"};
  for (size_t i = 0; i < DEVICES; i++) {
    char value[64];
    s->platforms[i].now += 1000;
    for (size_t d = 0; d < 3; d++) {
      snprintf(value, sizeof value, "{\"n\":%zu,\"l\":[1,[2],{\"x\":%zu}],\"s\":\"text\"}", i, d);
      must_set(r[i], docs[d], "", value);
      must_set(r[i], docs[d], "/deep", i == 1 ? "{\"a\":{\"b\":true}}" : "[null,1.5]");
      must_set(r[i], docs[d], "/n", i == 2 ? NULL : "9");
    }
  }
  must_set(r[1], "t/b", "/l/0", NULL);
  must_set(r[2], "t/gone", "/x", "1");
  must_set(r[2], "t/gone", "", NULL);
  for (unsigned i = 0; i < LONG_RUN; i++) must_set(r[2], "t/long", "/n", i % 2 ? "1" : "2");
}

static void write_tables(weft_replica *r) {
  weft_commit done;
  weft_edit *e;
  weft_value v = {.kind = WEFT_INT, .as.integer = 3};
  weft_strategy_rule rule = {text("u"), text("/n"), WEFT_STRATEGY_MANUAL};
  assert_int_equal(weft_replica_declare_index(r, text("t"), text("/n")), WEFT_OK);
  assert_int_equal(weft_replica_declare_index(r, text(""), text("@modified")), WEFT_OK);
  assert_int_equal(weft_replica_tag(r, text("t/a"), text("first"), NULL, NULL, &done), WEFT_OK);
  assert_int_equal(weft_replica_set_strategy(r, &rule, NULL, &done), WEFT_OK);
  assert_int_equal(weft_replica_put_address(r, text("10.0.0.1:7117"), weft_replica_space(r)),
                   WEFT_OK);
  assert_int_equal(weft_replica_put_ack(r, weft_replica_space(r), text("ack")), WEFT_OK);
  assert_int_equal(weft_edit_begin(&e, r, NULL), WEFT_OK);
  assert_int_equal(weft_edit_set(e, text("t/a"), text("/draft"), &v), WEFT_OK);
  assert_int_equal(weft_edit_save(e, text("mine")), WEFT_OK);
  weft_edit_free(e);
}

/* What `from` has and the replica lacks, as chunks that are good for the whole test. */
static void keep_chunks(world *w, weft_replica *from, weft_replica *r) {
  weft_span *spans;
  size_t count;
  uint64_t last;
  assert_int_equal(
      weft_replica_missing(from, &w->arena, weft_replica_held(r), CHUNKS_MAX, &spans, &count),
      WEFT_OK);
  for (size_t i = 0; i < count && w->chunk_count < CHUNKS_MAX; i++) {
    weft_buf out;
    weft__buf_init(&out, &w->arena.mem, SIZE_MAX);
    assert_int_equal(weft_replica_read_chunk(from, &spans[i].log, spans[i].branch, spans[i].from,
                                             spans[i].to, &out, &last),
                     WEFT_OK);
    assert_int_equal(
        weft__arena_copy(&w->arena, weft__buf_view(&out), &w->chunks[w->chunk_count++]), WEFT_OK);
    weft__buf_free(&out);
  }
}

static weft_id newest_change(world *w, weft_replica *r, const char *doc) {
  weft_history_query q;
  weft_history_entry *list;
  size_t count;
  weft_bytes next;
  weft_history_query_init(&q);
  q.doc = text(doc);
  q.limit = 1;
  assert_int_equal(weft_replica_history(r, &w->arena, &q, &list, &count, &next), WEFT_OK);
  assert_int_equal(count, 1);
  return list[0].change;
}

static weft_id own_log(world *w, weft_replica *r) {
  weft_own_change *own;
  size_t count;
  uint64_t total;
  weft_vector none = {.count = 0};
  assert_int_equal(weft_replica_own(r, &w->arena, &none, 1, &own, &count, &total), WEFT_OK);
  assert_int_equal(count, 1);
  return own[0].change.log;
}

/* Device 1 is copied and both copies write on: a fork that device 0 holds and shows. */
static void fork_device(world *w, weft_replica *r[DEVICES], weft_store *store) {
  weft_replica *twin = test_space_open(&w->s, 1, test_store_copy(store));
  for (unsigned i = 0; i < 3; i++) {
    must_set(r[1], "t/a", "/fork", i % 2 ? "1" : "2");
    must_set(twin, "t/a", "/fork", i % 2 ? "3" : "\"four\"");
    must_set(twin, "t/twin", "/x", i % 2 ? "5" : "[6]");
  }
  test_pull(r[0], r[1], 100);
  w->forked = newest_change(w, twin, "t/twin");
  test_pull(r[0], twin, 100);
  must_set(r[0], "t/twin", "/seen", "true");
  for (size_t i = 0; i < weft_replica_held(r[0])->count; i++) {
    if (weft_id_cmp(&weft_replica_held(r[0])->heads[i].log,
                    &weft_replica_held(twin)->heads[0].log) == 0)
      w->head = weft_replica_held(r[0])->heads[i];
  }
  must_set(twin, "t/twin", "/more", "1");
  keep_chunks(w, twin, r[0]);
  weft_replica_free(twin);
}

static void world_make(world *w) {
  weft_alloc mem = weft_alloc_libc();
  memset(w, 0, sizeof *w);
  test_space_make(&w->s, DEVICES + 1, 1);
  weft__arena_init(&w->arena, &mem);
  weft_store *stores[DEVICES];
  weft_replica *r[DEVICES];
  for (size_t i = 0; i < DEVICES; i++) {
    stores[i] = test_memory_store();
    r[i] = test_space_open(&w->s, i, stores[i]);
  }
  write_all(r, &w->s);
  test_pull(r[0], r[1], 100);
  test_pull(r[0], r[2], 100);
  test_pull(r[2], r[0], 100);
  /* What one settles that others wrote claims it. */
  must_set(r[0], "u/c", "/s", "\"of all\"");
  must_set(r[2], "u/c", "/n", "[3]");
  must_set(r[2], "t/b", "/l", "[{\"of\":\"all\"}]");
  write_tables(r[0]);
  must_set(r[2], "t/a", "/late", "[1,2,3]");
  test_pull(r[0], r[2], 100);
  fork_device(w, r, stores[1]);
  w->change = newest_change(w, r[0], "t/b");
  /* Written by device 2 on top of what device 0 lacks: it is held, and waits. */
  must_set(r[1], "t/b", "/waits", "1");
  test_pull(r[2], r[1], 100);
  must_set(r[2], "t/b", "/waits", "2");
  weft_replica *before = test_space_open(&w->s, 0, test_store_copy(stores[0]));
  keep_chunks(w, r[2], before);
  weft_replica_free(before);
  for (unsigned i = 0; i < 40; i++) must_set(r[0], "u/c", "/many", i % 2 ? "1" : "2");
  w->own = own_log(w, r[0]);
  w->whole = test_store_copy(stores[0]);
  for (size_t i = 0; i < DEVICES; i++) weft_replica_free(r[i]);
}

static void world_free(world *w) {
  weft_store_free(w->whole);
  weft__arena_free(&w->arena);
}

/* --- the calls --- */

static weft_err do_get(bench *b) {
  static const char *const docs[] = {"t/a", "t/b", "u/c", "t/gone", "t/twin"};
  weft_value v;
  weft_doc_info info;
  weft_err worst = WEFT_OK;
  for (size_t i = 0; i < 5; i++) {
    weft_err err = weft_replica_get(b->r, &b->arena, text(docs[i]), text(""), &v);
    if (err == WEFT_OK || err == WEFT_ENOTFOUND)
      err = weft_replica_doc_info(b->r, &b->arena, text(docs[i]), &info);
    if (err != WEFT_OK) worst = err;
  }
  return worst;
}

static weft_err do_get_at(bench *b) {
  weft_value v;
  weft_vector at;
  weft_alloc mem = test_fault_alloc_of(&b->alloc_faults);
  weft__vector_init(&at, &mem);
  weft_err err = weft_replica_vector_at_change(b->r, &b->w->forked, &at);
  if (err == WEFT_OK) err = weft_replica_get_at(b->r, &b->arena, text("t/twin"), text(""), &at, &v);
  if (err == WEFT_OK) err = weft_replica_vector_at_time(b->r, b->w->s.platforms[1].now, &at);
  if (err == WEFT_OK) err = weft_replica_get_at(b->r, &b->arena, text("t/a"), text(""), &at, &v);
  if (err == WEFT_OK) err = weft_replica_vector_at_tag(b->r, text("t/a"), text("first"), &at);
  weft__vector_free(&at);
  return err;
}

static weft_err do_list(bench *b) {
  weft_where where = {text("/n"), WEFT_WHERE_GE, {.kind = WEFT_INT, .as.integer = 0}, text("9")};
  static const char *const sorts[] = {"", "/n", "@modified", "@versions", "@by", "/s"};
  weft_where equal = {text("/n"), WEFT_WHERE_EQ, {.kind = WEFT_INT, .as.integer = 9}, text("9")};
  weft_err worst = WEFT_OK;
  for (size_t i = 0; i < 14; i++) {
    weft_query q;
    weft_list page;
    weft_query_init(&q);
    q.collection = text(i < 6 || i >= 12 ? "t" : "");
    q.sort = text(sorts[i < 12 ? i % 6 : 2]);
    q.where = i < 12 ? &where : &equal; /* which another index is asked for than the one walked */
    q.where_count = i % 2 || i == 12;
    q.descending = i % 3 == 1;
    q.deleted = i == 6;
    q.limit = 2;
    weft_err err = weft_replica_list(b->r, &b->arena, &q, &page);
    if (err == WEFT_OK && page.next.len > 0) {
      q.cursor = page.next;
      err = weft_replica_list(b->r, &b->arena, &q, &page);
    }
    if (err != WEFT_OK) worst = err;
  }
  return worst;
}

static weft_err do_history(bench *b) {
  static const char *const docs[] = {"", "t/a", "t/twin"};
  weft_err worst = WEFT_OK;
  for (size_t i = 0; i < 6; i++) {
    weft_history_query q;
    weft_history_entry *list;
    size_t count;
    weft_bytes next;
    weft_history_query_init(&q);
    q.doc = text(docs[i % 3]);
    q.has_pointer = i == 4;
    q.pointer = text(i == 4 ? "/l/0" : "");
    q.device = i == 3 ? &b->w->s.devices[1].device : NULL;
    q.limit = 2;
    weft_err err = weft_replica_history(b->r, &b->arena, &q, &list, &count, &next);
    if (err == WEFT_OK && next.len > 0) {
      q.cursor = next;
      err = weft_replica_history(b->r, &b->arena, &q, &list, &count, &next);
    }
    if (err != WEFT_OK) worst = err;
  }
  return worst;
}

static weft_err do_change(bench *b) {
  weft_history_entry one;
  weft_change_state state;
  weft_bytes id = weft_bytes_of(b->w->forked.b, 32);
  WEFT_TRY(weft_replica_change(b->r, &b->arena, id, &one, &state));
  return weft_replica_change(b->r, &b->arena, weft_bytes_of(b->w->change.b, 8), &one, &state);
}

static weft_err do_blame(bench *b) {
  weft_blame_entry *list;
  size_t count;
  WEFT_TRY(weft_replica_blame(b->r, &b->arena, text("t/a"), &list, &count));
  return weft_replica_blame(b->r, &b->arena, text("t/twin"), &list, &count);
}

static weft_err do_diff(bench *b) {
  weft_doc_diff diff;
  weft_vector a, now;
  weft_id newest;
  weft_alloc mem = test_fault_alloc_of(&b->alloc_faults);
  weft__vector_init(&a, &mem);
  weft__vector_init(&now, &mem);
  weft_err err = weft_replica_vector_before_last(b->r, text("t/a"), &a, &newest);
  if (err == WEFT_OK) err = weft__vector_copy(&now, weft_replica_shown(b->r));
  if (err == WEFT_OK) err = weft_replica_diff(b->r, &b->arena, text("t/a"), &a, &now, &diff);
  if (err == WEFT_OK) {
    weft__vector_clear(&a);
    err = weft_replica_diff(b->r, &b->arena, text("t/b"), &a, &now, &diff);
  }
  if (err == WEFT_OK)
    err = weft_replica_version_after(b->r, text("t/twin"), weft_bytes_of(b->w->forked.b, 32), &a,
                                     &newest);
  if (err == WEFT_OK)
    err = weft_replica_version_at(b->r, text("t/a"), b->w->s.platforms[0].now, &a);
  weft__vector_free(&a);
  weft__vector_free(&now);
  return err;
}

static weft_err do_conflicts(bench *b) {
  weft_conflict_entry *list;
  size_t count;
  WEFT_TRY(weft_replica_conflicts(b->r, &b->arena, text(""), 100, &list, &count));
  WEFT_TRY(weft_replica_conflicts(b->r, &b->arena, text("t/a"), 100, &list, &count));
  weft_counts counts;
  return weft_replica_counts(b->r, &counts);
}

static weft_err do_small(bench *b) {
  weft_bytes *list;
  weft_known_address *known;
  weft_tag *tags;
  weft_strategy_rule *rules;
  weft_draft *drafts;
  weft_begun *begun;
  weft_event *events;
  size_t count;
  WEFT_TRY(weft_replica_acks(b->r, &b->arena, &list, &count));
  WEFT_TRY(weft_replica_addresses(b->r, &b->arena, &known, &count));
  WEFT_TRY(weft_replica_tags(b->r, &b->arena, text("t/a"), &tags, &count));
  WEFT_TRY(weft_replica_strategies(b->r, &b->arena, &rules, &count));
  WEFT_TRY(weft_replica_drafts(b->r, &b->arena, &drafts, &count));
  WEFT_TRY(weft_replica_begun(b->r, &b->arena, &begun, &count));
  return weft_replica_events(b->r, &b->arena, 0, 100, &events, &count);
}

static weft_err do_people(bench *b) {
  weft_contributor *people;
  weft_own_change *own;
  weft_later *later;
  size_t count;
  uint64_t total, first, last;
  weft_vector none = {.count = 0};
  weft_edit *e;
  weft_vector rests;
  weft_alloc mem = test_fault_alloc_of(&b->alloc_faults);
  WEFT_TRY(weft_replica_contributors(b->r, &b->arena, text("t/a"), &people, &count));
  WEFT_TRY(weft_replica_own(b->r, &b->arena, &none, 50, &own, &count, &total));
  WEFT_TRY(weft_replica_own(b->r, &b->arena, weft_replica_held(b->r), 5, &own, &count, &total));
  WEFT_TRY(weft_replica_later(b->r, &b->arena, &later, &count));
  WEFT_TRY(weft_replica_events_span(b->r, &first, &last));
  WEFT_TRY(weft_edit_begin(&e, b->r, NULL));
  weft__vector_init(&rests, &mem);
  weft_err err = weft_edit_rests_on(e, &rests);
  weft__vector_free(&rests);
  weft_edit_free(e);
  return err;
}

static weft_err do_events(bench *b) {
  weft_event e = {.type = WEFT_EVENT_STORE_FULL, .text = text("text")};
  weft_event *list;
  size_t count;
  WEFT_TRY(weft_replica_post_event(b->r, &e));
  WEFT_TRY(weft_replica_flush_events(b->r));
  for (uint64_t since = 0, last = weft_replica_events_newest(b->r); since < last; since += 7) {
    WEFT_TRY(weft_replica_events(b->r, &b->arena, since, 9, &list, &count));
  }
  WEFT_TRY(weft_replica_keep_events(b->r, 100));
  uint64_t first, last;
  WEFT_TRY(weft_replica_events_span(b->r, &first, &last));
  return weft_replica_events(b->r, &b->arena, first - 1, 100, &list, &count);
}

static weft_err do_pack(bench *b) {
  weft_bytes chunks[3];
  size_t count = 3;
  uint64_t last = 0;
  for (size_t i = 0; i < 3; i++) {
    weft_buf out;
    weft_alloc mem = test_fault_alloc_of(&b->alloc_faults);
    weft__buf_init(&out, &mem, SIZE_MAX);
    weft_err err =
        weft_replica_read_chunk(b->r, &b->w->own, WEFT_BRANCH_ANY, last + 1, last + 2, &out, &last);
    if (err == WEFT_OK) err = weft__arena_copy(&b->arena, weft__buf_view(&out), &chunks[i]);
    weft__buf_free(&out);
    WEFT_TRY(err);
  }
  return weft_replica_pack_chunks(b->r, &b->arena, chunks, &count);
}

static weft_err do_serve(bench *b) {
  weft_span *spans;
  size_t count;
  uint64_t last;
  weft_vector none = {.count = 0};
  weft_vector some = {.heads = &b->w->head, .count = 1};
  weft_err err = weft_replica_missing(b->r, &b->arena, &none, 40, &spans, &count);
  for (size_t i = 0; err == WEFT_OK && i < count; i++) {
    weft_buf out;
    weft_id id;
    weft_alloc mem = test_fault_alloc_of(&b->alloc_faults);
    weft__buf_init(&out, &mem, SIZE_MAX);
    err = weft_replica_read_chunk(b->r, &spans[i].log, spans[i].branch, spans[i].from, spans[i].to,
                                  &out, &last);
    weft__buf_free(&out);
    if (err == WEFT_OK)
      err = weft_replica_id_at(b->r, &spans[i].log, spans[i].branch, spans[i].to, &id);
  }
  if (err == WEFT_OK) err = weft_replica_missing(b->r, &b->arena, &some, 40, &spans, &count);
  if (err == WEFT_OK) err = weft_replica_arrivals(b->r, &b->arena, 0, 40, &spans, &count, &last);
  if (err == WEFT_OK)
    err = weft_replica_find(b->r, &b->w->head.log, b->w->head.seq, &b->w->head.id, &spans[0]);
  return err;
}

static weft_err do_forks(bench *b) {
  weft_fork *forks;
  weft_stuck *stuck;
  size_t count;
  WEFT_TRY(weft_replica_forks(b->r, &b->arena, &forks, &count));
  return weft_replica_stuck(b->r, &b->arena, &stuck, &count);
}

static weft_err do_audit(bench *b) {
  weft_audit_place place = {0};
  weft_audit_entry *list;
  size_t count;
  weft_err err;
  do {
    err = weft_replica_audit(b->r, &b->arena, &place, &list, &count);
  } while (err == WEFT_OK && count > 0);
  return err;
}

static weft_err do_edits(bench *b) {
  weft_edit *e;
  weft_commit done;
  weft_value object = {.kind = WEFT_OBJECT}, v = {.kind = WEFT_INT, .as.integer = 7};
  WEFT_TRY(weft_edit_begin(&e, b->r, NULL));
  weft_err err = weft_edit_set(e, text("t/a"), text("/fork"), &v);
  if (err == WEFT_OK) err = weft_edit_insert(e, text("t/a"), text("/late"), 1, &v);
  if (err == WEFT_OK) err = weft_edit_move(e, text("t/a"), text("/late"), 0, 2);
  if (err == WEFT_OK) err = weft_edit_undelete(e, text("t/gone"));
  if (err == WEFT_OK) err = weft_edit_import(e, text("t/b"), &object, false);
  if (err == WEFT_OK) err = weft_edit_delete(e, text("t/twin"));
  if (err == WEFT_OK) err = weft_edit_commit(e, &done);
  weft_edit_free(e);
  return err;
}

static weft_err do_draft(bench *b) {
  weft_edit *e;
  weft_forecast forecast;
  weft_value v;
  weft_commit done;
  WEFT_TRY(weft_edit_resume(&e, b->r, text("mine"), NULL));
  weft_err err = weft_edit_preview(e, &b->arena, text("t/a"), &v);
  if (err == WEFT_OK) err = weft_edit_forecast(e, &b->arena, &forecast);
  if (err == WEFT_OK) err = weft_edit_save(e, text("again"));
  if (err == WEFT_OK) err = weft_edit_commit(e, &done);
  weft_edit_free(e);
  return err;
}

static weft_err do_resolve(bench *b) {
  weft_conflict_entry *list;
  size_t count;
  weft_edit *e;
  weft_commit done;
  WEFT_TRY(weft_replica_conflicts(b->r, &b->arena, text("t/a"), 100, &list, &count));
  WEFT_TRY(weft_edit_begin(&e, b->r, NULL));
  weft_err err = WEFT_OK;
  for (size_t i = 0; err == WEFT_OK && i < count; i++) {
    const weft_conflict_value *pick = weft_conflict_pick(b->r, &list[i], (weft_rule)(i % 5));
    if (pick) err = weft_edit_keep(e, &list[i], pick);
  }
  if (err == WEFT_OK) err = weft_edit_commit(e, &done);
  weft_edit_free(e);
  return err;
}

static weft_err do_undo(bench *b) {
  weft_commit done;
  weft_revert_item *items;
  size_t count;
  weft_vector tagged;
  weft_alloc mem = test_fault_alloc_of(&b->alloc_faults);
  weft_err err = weft_replica_revert(b->r, &b->arena, &b->w->change, NULL, &items, &count, &done);
  if (err == WEFT_OK)
    err = weft_replica_revert(b->r, &b->arena, &b->w->forked, NULL, &items, &count, &done);
  weft__vector_init(&tagged, &mem);
  if (err == WEFT_OK) err = weft_replica_vector_at_tag(b->r, text("t/a"), text("first"), &tagged);
  if (err == WEFT_OK)
    err = weft_replica_restore(b->r, text("t/a"), text(""), &tagged, NULL, NULL, &done);
  weft__vector_free(&tagged);
  return err;
}

static weft_err do_names(bench *b) {
  weft_commit done;
  weft_strategy_rule rule = {text("t"), text("/*"), WEFT_STRATEGY_LWW};
  WEFT_TRY(weft_replica_tag(b->r, text("t/a"), text("second"), &b->w->forked, NULL, &done));
  WEFT_TRY(weft_replica_untag(b->r, text("t/a"), text("first"), NULL, &done));
  WEFT_TRY(weft_replica_set_strategy(b->r, &rule, NULL, &done));
  WEFT_TRY(weft_replica_drop_strategy(b->r, text("u"), text("/n"), NULL, &done));
  WEFT_TRY(weft_replica_declare_index(b->r, text("u"), text("/s")));
  return weft_replica_drop_index(b->r, text("t"), text("/n"));
}

static weft_err do_group(bench *b) {
  WEFT_TRY(weft_group_begin(b->r));
  weft_err err = test_set(b->r, "t/a", "/x", "1");
  if (err == WEFT_OK) err = test_set(b->r, "t/new", "/x", "2");
  if (err == WEFT_OK) err = test_set(b->r, "u/c", "/many", "3");
  if (err == WEFT_OK) return weft_group_end(b->r);
  weft_group_abort(b->r);
  return err;
}

/* Texts as long as makes chunks of a tail, one by one and in a group. */
static weft_err do_long(bench *b) {
  enum { TEXT_LEN = 66000 };
  weft_edit *e;
  weft_commit done;
  weft_alloc mem = weft_alloc_libc();
  char *letters = mem.alloc(mem.ctx, TEXT_LEN);
  assert_non_null(letters);
  memset(letters, 'w', TEXT_LEN);
  weft_value v = {.kind = WEFT_STRING, .as.bytes = weft_bytes_of((uint8_t *)letters, TEXT_LEN)};
  weft_err err = WEFT_OK;
  for (unsigned i = 0; i < 4 && err == WEFT_OK; i++) {
    if (i == 2) err = weft_group_begin(b->r);
    if (err == WEFT_OK) err = weft_edit_begin(&e, b->r, NULL);
    if (err != WEFT_OK) break;
    letters[0] = (char)('a' + i);
    err = weft_edit_set(e, text("t/letters"), text("/text"), &v);
    if (err == WEFT_OK) err = weft_edit_commit(e, &done);
    weft_edit_free(e);
  }
  mem.free(mem.ctx, letters);
  if (err == WEFT_OK) return weft_group_end(b->r);
  weft_group_abort(b->r);
  return err;
}

static weft_err do_hold(bench *b) {
  weft_hold_report held;
  weft_show_report shown;
  WEFT_TRY(weft_replica_hold(b->r, &b->arena, b->w->chunks, b->w->chunk_count, &held));
  do {
    WEFT_TRY(weft_replica_show(b->r, 3, &shown));
  } while (shown.more);
  return WEFT_OK;
}

static weft_err do_record(bench *b) {
  const test_space *s = &b->w->s;
  weft_id *ids;
  size_t count;
  weft_err err =
      weft_replica_add_record(b->r, weft_bytes_of(s->records[DEVICES], s->record_lens[DEVICES]));
  if (err == WEFT_EEXIST) err = WEFT_OK;
  return err == WEFT_OK ? weft_replica_records(b->r, &b->arena, &ids, &count) : err;
}

static weft_err do_verify(bench *b) {
  weft_verify_report report;
  return weft_replica_verify(b->r, NULL, NULL, &report);
}

static weft_err do_repair(bench *b) {
  weft_verify_report report;
  return weft_replica_repair(b->r, NULL, NULL, &report);
}

typedef struct call {
  const char *name;
  weft_err (*run)(bench *b);
} call;

static const call calls[] = {
    {"get", do_get},         {"get at", do_get_at},       {"list", do_list},
    {"history", do_history}, {"change", do_change},       {"blame", do_blame},
    {"diff", do_diff},       {"conflicts", do_conflicts}, {"small", do_small},
    {"serve", do_serve},     {"forks", do_forks},         {"audit", do_audit},
    {"edits", do_edits},     {"draft", do_draft},         {"resolve", do_resolve},
    {"undo", do_undo},       {"names", do_names},         {"group", do_group},
    {"people", do_people},   {"events", do_events},       {"pack", do_pack},
    {"hold", do_hold},       {"record", do_record},       {"verify", do_verify},
    {"repair", do_repair},   {"long", do_long},
};
enum { CALLS = sizeof calls / sizeof *calls };

/* --- the bench --- */

static weft_err bench_open(bench *b, world *w, weft_store *inner) {
  memset(b, 0, sizeof *b);
  b->w = w;
  b->inner = inner;
  weft_alloc mem = test_fault_alloc_of(&b->alloc_faults);
  weft__arena_init(&b->arena, &mem);
  weft_replica_options o =
      test_space_options(&w->s, 0, test_fault_store_of(inner, &b->store_faults));
  o.mem = mem;
  weft_err err = weft_replica_open(&b->r, &o);
  if (err != WEFT_OK) weft_store_free(o.store);
  return err;
}

static void bench_free(bench *b) {
  b->alloc_faults.fail_at = 0;
  b->store_faults.fail_at = 0;
  weft_replica_free(b->r);
  weft__arena_free(&b->arena);
  assert_int_equal(b->alloc_faults.live, 0);
  weft_store_free(b->inner);
}

/* --- damage --- */

/* What damage may end as.  Memory never runs out for it, and it is no misuse, unless it made of
 * the change that is to be undone one that changes nothing. */
static bool may_end(const call *c, weft_err err) {
  switch ((int)err) {
  case WEFT_EMISUSE: return c && c->run == do_undo;
  case WEFT_ENOMEM:
  case WEFT_EFULL: return false;
  default: return true;
  }
}

typedef struct rows {
  weft_entry at[ROWS_MAX];
  size_t count;
} rows;

static rows *rows_of(world *w, weft_table table) {
  rows *list = calloc(1, sizeof *list);
  weft_txn *txn;
  weft_cursor *cursor;
  weft_entry entry;
  assert_non_null(list);
  assert_int_equal(weft_store_begin(w->whole, WEFT_TXN_READ, &txn), WEFT_OK);
  assert_int_equal(weft_cursor_open(txn, table, &cursor), WEFT_OK);
  weft_err err = weft_cursor_first(cursor, &entry);
  for (; err == WEFT_OK; err = weft_cursor_next(cursor, &entry)) {
    assert_true(list->count < ROWS_MAX);
    weft_entry *to = &list->at[list->count++];
    assert_int_equal(weft__arena_copy(&w->arena, entry.key, &to->key), WEFT_OK);
    assert_int_equal(weft__arena_copy(&w->arena, entry.value, &to->value), WEFT_OK);
  }
  assert_int_equal(err, WEFT_EDONE);
  weft_cursor_close(cursor);
  weft_txn_abort(txn);
  return list;
}

enum { HARMS = 12, BYTES_LEN_MAX = 400, BYTES_ROWS = 3 };

/* Writes into `out` what harm number `harm` makes of a value; false when that is nothing new. */
static bool harmed(weft_bytes value, unsigned harm, weft_buf *out) {
  static const uint8_t tail[] = {0xff, 0x01};
  weft__buf_reset(out);
  size_t at = value.len * (harm % 4) / 4;
  if (value.len == 0 && harm != 2) return false;
  switch (harm) {
  case 0: return true; /* nothing left */
  case 1: weft__buf_put_raw(out, value.at, value.len - 1); return true;
  case 2:
    weft__buf_put(out, value);
    weft__buf_put_raw(out, tail, sizeof tail);
    return true;
  case 3: weft__buf_put_raw(out, value.at, value.len / 2); return true;
  default: weft__buf_put(out, value); break;
  }
  if (harm < 8)
    out->at[at] ^= harm < 6 ? 1 : 0x80;
  else if (harm < 10)
    out->at[at] = 0xff;
  else
    out->at[harm == 10 ? value.len - 1 : 0] += 1;
  return true;
}

static void put(weft_store *store, weft_table table, weft_bytes key, const weft_bytes *value) {
  weft_txn *txn;
  assert_int_equal(weft_store_begin(store, WEFT_TXN_WRITE, &txn), WEFT_OK);
  weft_err err = value ? weft_txn_put(txn, table, key, *value) : weft_txn_delete(txn, table, key);
  if (err != WEFT_OK)
    weft_txn_abort(txn);
  else
    assert_int_equal(weft_txn_commit(txn), WEFT_OK);
}

/* Opens the harmed store, makes every call, and closes it. */
static void live_with(world *w, weft_store *store, const char *what, size_t row, unsigned harm) {
  bench b;
  weft_err err = bench_open(&b, w, store);
  for (size_t i = 0; err == WEFT_OK && i < CALLS; i++) {
    weft_err got = calls[i].run(&b);
    if (!may_end(&calls[i], got)) {
      fail_msg("%s %zu, harm %u: %s gives %s", what, row, harm, calls[i].name, weft_err_name(got));
    }
  }
  if (!may_end(NULL, err))
    fail_msg("%s %zu, harm %u: open gives %s", what, row, harm, weft_err_name(err));
  bench_free(&b);
}

static void harm_row(world *w, weft_replica *sealer, weft_table table, const rows *list, size_t i) {
  weft_alloc mem = weft_alloc_libc();
  weft_buf out;
  weft__buf_init(&out, &mem, SIZE_MAX);
  const weft_entry *e = &list->at[i];
  const char *name = weft_table_name(table);
  weft_bytes content;
  bool sealed = weft__row_open(sealer, e->value, &content) == WEFT_OK;
  for (unsigned harm = 0; harm < HARMS; harm++) {
    if (!harmed(sealed ? content : e->value, harm, &out)) continue;
    if (sealed) weft__row_seal(sealer, &out);
    weft_store *store = test_store_copy(w->whole);
    weft_bytes value = weft__buf_view(&out);
    put(store, table, e->key, &value);
    live_with(w, store, name, i, harm);
  }
  /* Gone; another row's value; under a key that is cut. */
  weft_store *store = test_store_copy(w->whole);
  put(store, table, e->key, NULL);
  live_with(w, store, name, i, HARMS);
  store = test_store_copy(w->whole);
  put(store, table, e->key, &list->at[(i + 1) % list->count].value);
  live_with(w, store, name, i, HARMS + 1);
  store = test_store_copy(w->whole);
  put(store, table, weft_bytes_of(e->key.at, e->key.len - 1), &e->value);
  live_with(w, store, name, i, HARMS + 2);
  weft__buf_free(&out);
}

static void test_damage(void **state) {
  (void)state;
  world w;
  bench sealer;
  world_make(&w);
  assert_int_equal(bench_open(&sealer, &w, test_store_copy(w.whole)), WEFT_OK);
  size_t most = test_share(TABLE_ROWS, 7);
  for (int table = 0; table < WEFT_TABLE_COUNT; table++) {
    rows *list = rows_of(&w, (weft_table)table);
    size_t step = list->count > most ? list->count / most : 1;
    for (size_t i = 0; i < list->count; i += step)
      harm_row(&w, sealer.r, (weft_table)table, list, i);
    free(list);
  }
  bench_free(&sealer);
  world_free(&w);
}

/* Rows of logs and heads of their chunks byte by byte, under a seal that holds: what they say of
 * places and counts is believed by everything that reads a log. */
static void harm_bytes(world *w, weft_replica *sealer, weft_table table, const weft_entry *e,
                       size_t step) {
  static const call readers[] = {{"get at", do_get_at}, {"serve", do_serve}, {"forks", do_forks}};
  weft_alloc mem = weft_alloc_libc();
  weft_bytes content = e->value;
  weft_buf out;
  weft__buf_init(&out, &mem, SIZE_MAX);
  bool sealed = weft__row_open(sealer, e->value, &content) == WEFT_OK;
  for (size_t at = 0; at < content.len && at < BYTES_LEN_MAX; at += step) {
    bench b;
    weft__buf_reset(&out);
    weft__buf_put(&out, content);
    out.at[at] = (uint8_t)(at / step % 2 ? 0xff : out.at[at] + 1);
    if (sealed) weft__row_seal(sealer, &out);
    weft_store *store = test_store_copy(w->whole);
    weft_bytes value = weft__buf_view(&out);
    put(store, table, e->key, &value);
    weft_err err = bench_open(&b, w, store);
    for (size_t i = 0; err == WEFT_OK && i < sizeof readers / sizeof *readers; i++) {
      weft_err got = readers[i].run(&b);
      if (!may_end(&readers[i], got))
        fail_msg("%s, byte %zu: %s gives %s", weft_table_name(table), at, readers[i].name,
                 weft_err_name(got));
    }
    if (!may_end(NULL, err))
      fail_msg("%s, byte %zu: open gives %s", weft_table_name(table), at, weft_err_name(err));
    bench_free(&b);
  }
  weft__buf_free(&out);
}

static void test_bytes(void **state) {
  (void)state;
  static const weft_table tables[] = {WEFT_TABLE_LOGS, WEFT_TABLE_NUMBERS, WEFT_TABLE_LOG,
                                      WEFT_TABLE_TAIL};
  size_t step = test_under_valgrind() ? 20 : 6 - BYTES;
  world w;
  bench sealer;
  world_make(&w);
  assert_int_equal(bench_open(&sealer, &w, test_store_copy(w.whole)), WEFT_OK);
  for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
    rows *list = rows_of(&w, tables[t]);
    size_t rows_step = list->count > BYTES_ROWS ? list->count / BYTES_ROWS : 1;
    for (size_t i = 0; i < list->count; i += rows_step)
      harm_bytes(&w, sealer.r, tables[t], &list->at[i], step);
    free(list);
  }
  bench_free(&sealer);
  world_free(&w);
}

/* --- failures --- */

/* A bench on the whole store; notes where the call asks for what is to fail. */
static void places_of(world *w, const call *c, test_places *store, test_places *memory) {
  bench b;
  assert_int_equal(bench_open(&b, w, test_store_copy(w->whole)), WEFT_OK);
  *store = *memory = (test_places){0};
  b.store_faults.called = b.alloc_faults.called = test_places_note;
  b.store_faults.places = store;
  b.alloc_faults.places = memory;
  weft_err err = c->run(&b);
  if (err != WEFT_OK) fail_msg("%s: %s", c->name, weft_err_name(err));
  b.store_faults.called = b.alloc_faults.called = NULL;
  bench_free(&b);
}

static size_t place_after(const test_places *p, size_t k) {
  size_t next = test_places_next(p, k);
  if (!test_under_valgrind() || next == 0) return next;
  return 2 * k + 1 <= p->count ? 2 * k + 1 : 0;
}

/* What failed left a whole replica: now and then, since verifying takes time. */
static void still_whole(bench *b, const call *c, size_t k) {
  weft_verify_report report;
  b->store_faults.fail_at = b->alloc_faults.fail_at = 0;
  if (k % 16 != 0) return;
  weft_err err = weft_replica_verify(b->r, NULL, NULL, &report);
  if (err == WEFT_EIO && b->store_faults.err == WEFT_EIO) return; /* it is dead, as it should be */
  if (err != WEFT_OK) fail_msg("%s, %zu: not whole afterwards: %s", c->name, k, report.first);
}

static void run_failing(world *w, const call *c, size_t k, weft_err err, bool memory, bool sticky) {
  bench b;
  assert_int_equal(bench_open(&b, w, test_store_copy(w->whole)), WEFT_OK);
  b.alloc_faults.calls = b.store_faults.calls = 0;
  b.alloc_faults.fail_at = memory ? k : 0;
  b.store_faults.fail_at = memory ? 0 : k;
  b.alloc_faults.sticky = b.store_faults.sticky = sticky;
  b.store_faults.err = err;
  weft_err got = c->run(&b);
  if (got != WEFT_OK && got != err)
    fail_msg("%s, %s %zu: %s", c->name, memory ? "allocation" : "store call", k,
             weft_err_name(got));
  still_whole(&b, c, k);
  bench_free(&b);
}

/* What one place reads, and what becomes of it. */
typedef struct harm {
  bench *b;
  weft_buf out;
  unsigned number; /* as for `harmed`; HARMS: the row is missing; beyond: one byte of it */
  test_rng rng;
} harm;

static bool byte_harmed(test_rng *rng, weft_bytes value, weft_buf *out) {
  static const uint8_t values[] = {0, 1, 2, 0x7f, 0x80, 0xff};
  weft__buf_reset(out);
  weft__buf_put_raw(out, value.at, value.len);
  if (value.len == 0) return false;
  size_t at = test_rng_below(rng, test_rng_chance(rng, 50) && value.len > 24 ? 24 : value.len);
  uint8_t was = out->at[at];
  out->at[at] = test_rng_chance(rng, 50) ? values[test_rng_below(rng, 6)] : (uint8_t)(was + 1);
  return out->at[at] != was;
}

static bool harm_read(void *ctx, weft_bytes *value) {
  harm *h = ctx;
  weft_bytes content;
  if (h->number == HARMS) return false;
  bool sealed = weft__row_open(h->b->r, *value, &content) == WEFT_OK;
  weft_bytes whole = sealed ? content : *value;
  bool other =
      h->number > HARMS ? byte_harmed(&h->rng, whole, &h->out) : harmed(whole, h->number, &h->out);
  if (!other) return true;
  if (sealed) weft__row_seal(h->b->r, &h->out);
  *value = weft__buf_view(&h->out);
  return true;
}

static void run_harmed(world *w, const call *c, size_t k, unsigned number) {
  weft_alloc mem = weft_alloc_libc();
  bench b;
  harm h = {.b = &b, .number = number, .rng = test_rng_of(k * 100 + number)};
  weft__buf_init(&h.out, &mem, SIZE_MAX);
  assert_int_equal(bench_open(&b, w, test_store_copy(w->whole)), WEFT_OK);
  b.store_faults.calls = 0;
  b.store_faults.fail_at = k;
  b.store_faults.harm = harm_read;
  b.store_faults.ctx = &h;
  weft_err got = c->run(&b);
  if (!may_end(c, got))
    fail_msg("%s, read %zu, harm %u: %s", c->name, k, number, weft_err_name(got));
  bench_free(&b);
  weft__buf_free(&h.out);
}

/* --- lies --- */

static weft_err tell_document(weft_replica *r, weft_arena *arena, const weft_doc_info *info,
                              weft_buf *out) {
  weft_value value;
  weft_conflict_entry *conflicts;
  weft_history_query q;
  weft_history_entry *entries;
  weft_bytes next;
  size_t count;
  weft__buf_put(out, info->name);
  weft__buf_u64(out, info->versions);
  weft__buf_u64(out, info->modified_hlc);
  weft_err err = weft_replica_get(r, arena, info->name, text(""), &value);
  if (err == WEFT_OK) weft_json_write(out, &value);
  if (err != WEFT_OK && err != WEFT_ENOTFOUND) return err;
  WEFT_TRY(weft_replica_conflicts(r, arena, info->name, 1000, &conflicts, &count));
  weft__buf_u64(out, count);
  weft_history_query_init(&q);
  q.doc = info->name;
  q.limit = 1000;
  WEFT_TRY(weft_replica_history(r, arena, &q, &entries, &count, &next));
  for (size_t i = 0; i < count; i++) weft__buf_put_raw(out, entries[i].change.b, 32);
  return WEFT_OK;
}

/* All that a replica shows people and tells others; no local numbers. */
static weft_err tell(weft_replica *r, weft_arena *arena, weft_buf *out) {
  weft_digest digest = weft_replica_digest(r);
  const weft_vector *vectors[] = {weft_replica_held(r), weft_replica_shown(r)};
  weft__buf_reset(out);
  weft__buf_u64(out, digest.high);
  weft__buf_u64(out, digest.low);
  for (size_t i = 0; i < 2; i++) {
    for (size_t k = 0; k < vectors[i]->count; k++) {
      weft__buf_put_raw(out, vectors[i]->heads[k].id.b, 32);
      weft__buf_u64(out, vectors[i]->heads[k].seq);
    }
  }
  for (unsigned deleted = 0; deleted < 2; deleted++) {
    weft_query q;
    weft_list page;
    weft_query_init(&q);
    q.limit = 1000;
    q.deleted = deleted;
    q.reserved = true;
    WEFT_TRY(weft_replica_list(r, arena, &q, &page));
    for (size_t i = 0; i < page.count; i++) {
      weft_doc_info info;
      WEFT_TRY(weft_replica_doc_info(r, arena, page.items[i].info.name, &info));
      WEFT_TRY(tell_document(r, arena, &info, out));
    }
  }
  return weft__buf_err(out);
}

/* Puts a lie into the store: what a row says, with a seal that holds, is changed, taken from
 * another row, said of another one as well, or not said at all.  `what` gets a word for it. */
static void lie(test_rng *rng, weft_replica *sealer, weft_store *store, weft_table table,
                const rows *list, const char **what) {
  const weft_entry *e = &list->at[test_rng_below(rng, list->count)];
  const weft_entry *other = &list->at[test_rng_below(rng, list->count)];
  weft_alloc mem = weft_alloc_libc();
  uint8_t key[WEFT_KEY_LEN_MAX];
  weft_buf out;
  weft_bytes content = e->value;
  weft__buf_init(&out, &mem, SIZE_MAX);
  bool sealed = weft__row_open(sealer, e->value, &content) == WEFT_OK;
  weft_bytes value;
  switch (test_rng_below(rng, 8)) {
  case 0:
    *what = "gone";
    put(store, table, e->key, NULL);
    break;
  case 1:
    *what = "another's";
    put(store, table, e->key, &other->value);
    break;
  case 2:
    *what = "of another, too";
    memcpy(key, e->key.at, e->key.len);
    key[e->key.len - 1 - test_rng_below(rng, e->key.len < 4 ? e->key.len : 4)] ^= 1;
    put(store, table, weft_bytes_of(key, e->key.len), &e->value);
    break;
  case 3:
    *what = "cut, or lengthened";
    (void)harmed(content, (unsigned)test_rng_below(rng, 4), &out);
    if (sealed) weft__row_seal(sealer, &out);
    value = weft__buf_view(&out);
    put(store, table, e->key, &value);
    break;
  default:
    *what = "changed";
    (void)byte_harmed(rng, content, &out);
    if (sealed) weft__row_seal(sealer, &out);
    value = weft__buf_view(&out);
    put(store, table, e->key, &value);
    break;
  }
  weft__buf_free(&out);
}

/* What follows from the logs is made again, and is what it was. */
static void repaired(bench *b, weft_bytes truth, weft_buf *out, const char *name) {
  weft_verify_report report;
  weft_err err = weft_replica_repair(b->r, NULL, NULL, &report);
  if (err != WEFT_OK) fail_msg("%s: repair gives %s: %s", name, weft_err_name(err), report.first);
  assert_int_equal(weft_replica_verify(b->r, NULL, NULL, &report), WEFT_OK);
  assert_int_equal(tell(b->r, &b->arena, out), WEFT_OK);
  if (weft_bytes_cmp(weft__buf_view(out), truth) != 0) fail_msg("%s: repaired to another", name);
}

/* A row that lies, and says of itself that it is whole, is found by verify, or nothing that is told
 * depends on it.  Where it follows from the logs repair makes it true again. */
static void test_lies(void **state) {
  (void)state;
  static const struct {
    weft_table table;
    bool derived;
  } tables[] = {{WEFT_TABLE_LOG, false},    {WEFT_TABLE_TAIL, false},    {WEFT_TABLE_LOGS, false},
                {WEFT_TABLE_LOGID, false},  {WEFT_TABLE_NUMBERS, false}, {WEFT_TABLE_RECORD, false},
                {WEFT_TABLE_ARRIVAL, true}, {WEFT_TABLE_DOCID, true},    {WEFT_TABLE_STATE, true},
                {WEFT_TABLE_CONTEST, true}, {WEFT_TABLE_INDEX, true},    {WEFT_TABLE_ORDER, true}};
  enum { TABLES = sizeof tables / sizeof *tables };
  world w;
  bench b;
  weft_alloc mem = weft_alloc_libc();
  weft_buf truth, out;
  rows *lists[TABLES];
  unsigned long long seed = 7, found = 0, idle = 0;
  test_rng rng = test_rng_of(seed);
  world_make(&w);
  weft__buf_init(&truth, &mem, SIZE_MAX);
  weft__buf_init(&out, &mem, SIZE_MAX);
  bench sealer;
  assert_int_equal(bench_open(&sealer, &w, test_store_copy(w.whole)), WEFT_OK);
  assert_int_equal(tell(sealer.r, &sealer.arena, &truth), WEFT_OK);
  for (size_t t = 0; t < TABLES; t++) lists[t] = rows_of(&w, tables[t].table);
  for (size_t i = 0; i < test_share(LIES, 50); i++) {
    size_t t = test_rng_below(&rng, TABLES);
    if (lists[t]->count == 0) continue;
    weft_store *store = test_store_copy(w.whole);
    weft_verify_report report;
    char name[120];
    const char *what;
    lie(&rng, sealer.r, store, tables[t].table, lists[t], &what);
    snprintf(name, sizeof name, "seed=%llu: %zu: a row of %s, %s", seed, i,
             weft_table_name(tables[t].table), what);
    weft_err err = bench_open(&b, &w, store);
    bool open = err == WEFT_OK;
    if (open) err = weft_replica_verify(b.r, NULL, NULL, &report);
    if (!may_end(NULL, err)) fail_msg("%s: %s", name, weft_err_name(err));
    found += err != WEFT_OK;
    idle += err == WEFT_OK;
    if (err == WEFT_OK) {
      err = tell(b.r, &b.arena, &out);
      if (err != WEFT_OK) fail_msg("%s is not found, and then %s", name, weft_err_name(err));
      if (weft_bytes_cmp(weft__buf_view(&out), weft__buf_view(&truth)) != 0)
        fail_msg("%s is believed", name);
    } else if (open && tables[t].derived) {
      repaired(&b, weft__buf_view(&truth), &out, name);
    }
    bench_free(&b);
  }
  print_message("%llu lies found, %llu without weight\n", found, idle);
  for (size_t t = 0; t < TABLES; t++) free(lists[t]);
  bench_free(&sealer);
  weft__buf_free(&truth);
  weft__buf_free(&out);
  world_free(&w);
}

static void test_fails(void **state) {
  (void)state;
  world w;
  world_make(&w);
  for (size_t i = 0; i < CALLS; i++) {
    const call *c = &calls[i];
    test_places store, memory;
    places_of(&w, c, &store, &memory);
    weft_err err = i % 2 ? WEFT_EIO : WEFT_ENOMEM;
    for (size_t k = 0; (k = place_after(&store, k)) > 0;) run_failing(&w, c, k, err, false, false);
    for (size_t k = 0; (k = place_after(&memory, k)) > 0;)
      run_failing(&w, c, k, WEFT_ENOMEM, true, i % 2);
    test_places_free(&store);
    test_places_free(&memory);
  }
  world_free(&w);
}

/* The same with a row that is harmed, or missing, where it is read. */
static void test_harmed_reads(void **state) {
  (void)state;
  world w;
  world_make(&w);
  for (size_t i = 0; i < CALLS; i++) {
    test_places store, memory;
    places_of(&w, &calls[i], &store, &memory);
    for (size_t k = 0; (k = place_after(&store, k)) > 0;) {
      run_harmed(&w, &calls[i], k, (unsigned)k % 4);
      for (unsigned number = HARMS; number <= HARMS + BYTES; number++)
        run_harmed(&w, &calls[i], k, number);
    }
    test_places_free(&store);
    test_places_free(&memory);
  }
  world_free(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_damage),       cmocka_unit_test(test_bytes),
      cmocka_unit_test(test_lies),         cmocka_unit_test(test_fails),
      cmocka_unit_test(test_harmed_reads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

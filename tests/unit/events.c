/* Events of replicas: each that should be there is there, once, in any session; and the bus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/events.h"
#include "store/replica_internal.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/fault_store.h"
#include "tests/support/space.h"

enum { DEVICES = 3, EVENTS_MAX = 4096, DOCS = 5 };

static uint64_t hash_bytes(uint64_t h, const void *at, size_t len) {
  const uint8_t *b = at;
  for (size_t i = 0; i < len; i++) h = (h ^ b[i]) * 0x100000001b3u;
  return (h ^ len) * 0x100000001b3u;
}

/* A number that tells events apart by everything in them. */
static uint64_t event_hash(const weft_event *e) {
  uint64_t h = 0xcbf29ce484222325u;
  h = hash_bytes(h, &e->seq, sizeof e->seq);
  h = hash_bytes(h, &e->cause, sizeof e->cause);
  h = hash_bytes(h, &e->type, sizeof e->type);
  h = hash_bytes(h, e->source.b, 32);
  h = hash_bytes(h, &e->time, sizeof e->time);
  h = hash_bytes(h, &e->count, sizeof e->count);
  h = hash_bytes(h, e->change.b, 32);
  h = hash_bytes(h, e->device.b, 32);
  h = hash_bytes(h, e->doc.at, e->doc.len);
  h = hash_bytes(h, e->text.at, e->text.len);
  for (size_t i = 0; i < e->path_count; i++) h = hash_bytes(h, e->paths[i].at, e->paths[i].len);
  return h;
}

/* --- the model: one replica, and what it should have told --- */

typedef struct place {
  test_space *s;
  size_t idx;
  test_temp temp; /* LMDB */
  bool lmdb;
  weft_replica *r;
  weft_events *bus;
  uint64_t id;               /* of the subscription */
  uint64_t heard;            /* by it */
  uint64_t hash[EVENTS_MAX]; /* by seq: as first read */
  uint64_t seen;             /* newest seq read so far */
  uint64_t posted;           /* numbers given to posts */
  uint64_t posts_read;       /* the number of the last post that was read */
  uint64_t begun, rebuilt, admitted;
} place;

static weft_err subscribe_from(place *p, uint64_t since) {
  weft_subscription_options o;
  weft_subscription_options_init(&o);
  o.queue_max = 4;
  o.has_since = true;
  o.since = since;
  return weft_events_subscribe(p->bus, &o, &p->id);
}

static void place_open(place *p, weft_store *store) {
  weft_alloc mem = weft_alloc_libc();
  if (!store) store = p->lmdb ? test_lmdb_store(&p->temp) : test_memory_store();
  p->r = test_space_open(p->s, p->idx, store);
  assert_int_equal(weft_events_new(&p->bus, p->r, &mem), WEFT_OK);
  assert_int_equal(subscribe_from(p, p->heard), WEFT_OK);
}

static void place_close(place *p) {
  weft_events_free(p->bus);
  weft_replica_free(p->r);
  p->r = NULL;
}

/* Reads everything after what was read, and that which was read before once more. */
static void read_all(place *p, weft_arena *arena, weft_event **out, size_t *count) {
  uint64_t first, last, since = 0;
  weft_event *list = weft__arena_zero(arena, EVENTS_MAX, sizeof *list);
  size_t n = 0, page;
  assert_int_equal(weft_replica_events_span(p->r, &first, &last), WEFT_OK);
  assert_true(last == weft_replica_events_newest(p->r));
  assert_true(first == 1 && last < EVENTS_MAX);
  do {
    weft_event *events;
    assert_int_equal(weft_replica_events(p->r, arena, since, 7, &events, &page), WEFT_OK);
    for (size_t i = 0; i < page; i++) {
      assert_true(events[i].seq == since + i + 1);
      list[n++] = events[i];
    }
    since += page;
  } while (page > 0);
  assert_true(n == last);
  for (size_t i = 0; i < n; i++) {
    uint64_t hash = event_hash(&list[i]);
    if (list[i].seq <= p->seen) assert_true(p->hash[list[i].seq] == hash);
    p->hash[list[i].seq] = hash;
  }
  p->seen = last;
  *out = list;
  *count = n;
}

/* --- what should be there --- */

typedef struct told {
  weft_id change;
  weft_bytes doc; /* empty: the change itself */
  unsigned times;
} told;

static told *told_find(told *list, size_t count, const weft_id *change, weft_bytes doc) {
  for (size_t i = 0; i < count; i++) {
    if (weft_id_cmp(&list[i].change, change) == 0 && weft_bytes_cmp(list[i].doc, doc) == 0) {
      return &list[i];
    }
  }
  return NULL;
}

/* Everything that the shown changes should have told, from the history alone. */
static told *expected(place *p, weft_arena *arena, size_t *count) {
  weft_history_query q;
  weft_history_entry *entries;
  size_t entry_count;
  weft_bytes next;
  weft_history_query_init(&q);
  q.limit = 10000;
  assert_int_equal(weft_replica_history(p->r, arena, &q, &entries, &entry_count, &next), WEFT_OK);
  told *list = weft__arena_zero(arena, EVENTS_MAX, sizeof *list);
  *count = 0;
  for (size_t i = 0; i < entry_count; i++) {
    list[(*count)++] = (told){.change = entries[i].change};
    for (size_t k = 0; k < entries[i].op_count; k++) {
      weft_bytes doc = entries[i].ops[k].doc;
      if (told_find(list, *count, &entries[i].change, doc)) continue;
      list[(*count)++] = (told){.change = entries[i].change, .doc = doc};
    }
    assert_true(*count < EVENTS_MAX - 1000);
  }
  return list;
}

/* Of a document the first event says "created", no later one does; conflicts open and close as
 * their count says, and end where the document stands. */
static void check_doc(place *p, weft_arena *arena, const weft_event *list, size_t count,
                      weft_bytes doc) {
  bool any = false;
  uint64_t conflicts = 0;
  for (size_t i = 0; i < count; i++) {
    const weft_event *e = &list[i];
    if (weft_bytes_cmp(e->doc, doc) != 0) continue;
    if (e->type == WEFT_EVENT_CONFLICT_OPENED || e->type == WEFT_EVENT_CONFLICT_CLOSED) {
      assert_true((e->type == WEFT_EVENT_CONFLICT_OPENED) == (e->count > conflicts));
      assert_true(e->count != conflicts && e->path_count == e->count);
      conflicts = e->count;
      continue;
    }
    if (!any && e->type != WEFT_EVENT_DOC_DELETED) {
      assert_int_equal(e->type, WEFT_EVENT_DOC_CREATED);
    } else {
      assert_int_not_equal(e->type, WEFT_EVENT_DOC_CREATED);
    }
    any = true;
  }
  weft_doc_info info;
  weft_err err = weft_replica_doc_info(p->r, arena, doc, &info);
  assert_int_equal(err, any ? WEFT_OK : WEFT_ENOTFOUND);
  if (err == WEFT_OK) assert_true(info.conflicts == conflicts);
}

static void count_others(place *p, const weft_event *e) {
  bool post = e->type == WEFT_EVENT_PEER_UNREACHABLE;
  if (post) {
    assert_true(e->count > p->posts_read && e->count <= p->posted);
    p->posts_read = e->count;
  }
  p->begun += e->type == WEFT_EVENT_STORE_BEGUN;
  p->rebuilt += e->type == WEFT_EVENT_STORE_REBUILT;
  p->admitted += e->type == WEFT_EVENT_PEER_ADMITTED;
  bool known = post || e->type == WEFT_EVENT_STORE_BEGUN || e->type == WEFT_EVENT_STORE_REBUILT ||
               e->type == WEFT_EVENT_PEER_ADMITTED;
  if (!known) fail_msg("%s should not be there", weft_event_name(e->type));
}

static bool is_change(const weft_event *e) {
  return e->type == WEFT_EVENT_CHANGE_COMMITTED || e->type == WEFT_EVENT_CHANGE_SHOWN;
}

static bool is_doc(const weft_event *e) {
  return e->type >= WEFT_EVENT_DOC_CREATED && e->type <= WEFT_EVENT_DOC_RESTORED;
}

static bool is_conflict(const weft_event *e) {
  return e->type == WEFT_EVENT_CONFLICT_OPENED || e->type == WEFT_EVENT_CONFLICT_CLOSED;
}

static const char *doc_name(uint64_t i, char room[16]) {
  snprintf(room, 16, "t/%c", (char)('a' + i));
  return room;
}

/* Everything that should be there is there, once. */
static void check(place *p, uint64_t rebuilt) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_event *list;
  size_t count, due_count;
  char room[16];
  weft__arena_init(&arena, &mem);
  read_all(p, &arena, &list, &count);
  told *due = expected(p, &arena, &due_count);
  p->posts_read = p->begun = p->rebuilt = p->admitted = 0;
  for (size_t i = 0; i < count; i++) {
    const weft_event *e = &list[i];
    if (is_change(e) || is_doc(e)) {
      told *t = told_find(due, due_count, &e->change, e->doc);
      assert_non_null(t);
      t->times++;
      bool own = weft_id_cmp(&e->source, &p->s->devices[p->idx].device) == 0;
      if (is_change(e)) assert_true(own == (e->type == WEFT_EVENT_CHANGE_COMMITTED));
      if (is_doc(e)) assert_true(e->cause < e->seq && is_change(&list[e->cause - 1]));
      if (is_doc(e)) assert_true(e->path_count == e->count);
    } else if (is_conflict(e)) {
      assert_non_null(told_find(due, due_count, &e->change, weft_bytes_of(NULL, 0)));
      assert_true(e->cause < e->seq && is_change(&list[e->cause - 1]));
      assert_memory_equal(&list[e->cause - 1].change, &e->change, 32);
    } else {
      count_others(p, e);
    }
  }
  for (size_t i = 0; i < due_count; i++) assert_int_equal(due[i].times, 1);
  for (uint64_t d = 0; d < DOCS; d++) {
    check_doc(p, &arena, list, count, weft_bytes_str(doc_name(d, room)));
  }
  assert_true(p->rebuilt == rebuilt);
  assert_true(p->admitted == DEVICES - 1);
  weft__arena_free(&arena);
}

/* Takes what the subscription has: every number once, in order, as it reads in the history. */
static void listen(place *p, test_rng *rng) {
  weft_delivery d;
  unsigned rounds = (unsigned)test_rng_below(rng, 20);
  for (unsigned i = 0; i < rounds; i++) {
    assert_int_equal(weft_events_pump(p->bus, i), WEFT_OK);
    while (test_rng_chance(rng, 80) && weft_events_next(p->bus, i, &d)) {
      assert_true(d.subscription == p->id);
      assert_true(d.event->seq == p->heard + 1);
      p->heard++;
      if (p->heard <= p->seen) assert_true(p->hash[p->heard] == event_hash(d.event));
    }
  }
}

/* --- sessions --- */

static void edit(place *p, test_rng *rng) {
  char room[16], pointer[8], json[16];
  const char *doc = doc_name(test_rng_below(rng, DOCS), room);
  weft_bytes name = weft_bytes_str(doc);
  weft_edit_options o;
  weft_edit *e;
  weft_commit done;
  weft_err err;
  weft_edit_options_init(&o);
  o.lane = test_rng_chance(rng, 20) ? WEFT_LANE_HIGH : WEFT_LANE_NORMAL;
  assert_int_equal(weft_edit_begin(&e, p->r, &o), WEFT_OK);
  unsigned kind = (unsigned)test_rng_below(rng, 10);
  if (kind == 0) {
    err = weft_edit_delete(e, name);
  } else if (kind == 1) {
    err = weft_edit_undelete(e, name);
  } else {
    weft_value v = {.kind = WEFT_INT, .as.integer = (int64_t)test_rng_below(rng, 50)};
    snprintf(pointer, sizeof pointer, "/f%u", (unsigned)test_rng_below(rng, 3));
    snprintf(json, sizeof json, "%u", (unsigned)test_rng_below(rng, 50));
    err = weft_edit_set(e, name, weft_bytes_str(pointer), &v);
    if (kind == 2) {
      name = weft_bytes_str(doc_name(test_rng_below(rng, DOCS), room));
      err = weft_edit_set(e, name, weft_bytes_str(pointer), &v);
    }
  }
  if (err == WEFT_OK) err = weft_edit_commit(e, &done);
  assert_true(err == WEFT_OK || err == WEFT_ENOTFOUND);
  weft_edit_free(e);
}

static void post(place *p) {
  weft_event e = {.type = WEFT_EVENT_PEER_UNREACHABLE,
                  .count = ++p->posted,
                  .text = weft_bytes_str("192.0.2.1:7117")};
  assert_int_equal(weft_replica_post_event(p->r, &e), WEFT_OK);
}

static void group(place *p, test_rng *rng) {
  assert_int_equal(weft_group_begin(p->r), WEFT_OK);
  uint64_t newest = weft_replica_events_newest(p->r);
  for (unsigned i = 0; i < 3; i++) edit(p, rng);
  assert_int_equal(weft_replica_flush_events(p->r), WEFT_EMISUSE);
  assert_true(weft_replica_events_newest(p->r) == newest);
  if (test_rng_chance(rng, 30)) {
    weft_group_abort(p->r);
    assert_true(weft_replica_events_newest(p->r) == newest);
  } else {
    assert_int_equal(weft_group_end(p->r), WEFT_OK);
  }
}

/* Ends in order and begins again; memory stores live on in a copy. */
static void restart(place *p, weft_store *(*copy)(weft_replica *)) {
  assert_int_equal(weft_replica_flush_events(p->r), WEFT_OK);
  weft_store *store = p->lmdb ? NULL : copy(p->r);
  place_close(p);
  place_open(p, store);
}

static weft_store *store_copy(weft_replica *r) { return test_store_copy(r->store); }

static void session(uint64_t seed, bool lmdb) {
  static place places[DEVICES];
  test_space s;
  test_rng rng = test_rng_of(seed);
  uint64_t rebuilt[DEVICES] = {0};
  print_message("seed=%llu%s\n", (unsigned long long)seed, lmdb ? " lmdb" : "");
  test_space_make(&s, DEVICES, seed);
  memset(places, 0, sizeof places);
  for (size_t i = 0; i < DEVICES; i++) {
    places[i] = (place){.s = &s, .idx = i, .lmdb = lmdb};
    if (lmdb) places[i].temp = test_temp_make();
    place_open(&places[i], NULL);
  }
  for (unsigned step = 0; step < 60; step++) {
    size_t at = (size_t)test_rng_below(&rng, DEVICES);
    place *p = &places[at];
    s.platforms[at].now += test_rng_below(&rng, 2000);
    unsigned kind = (unsigned)test_rng_below(&rng, 100);
    if (kind < 50) edit(p, &rng);
    if (kind >= 50 && kind < 75) {
      size_t from = (at + 1 + (size_t)test_rng_below(&rng, DEVICES - 1)) % DEVICES;
      test_pull(p->r, places[from].r, 1 + (size_t)test_rng_below(&rng, 5));
    }
    if (kind >= 75 && kind < 80) group(p, &rng);
    if (kind >= 80 && kind < 90) post(p);
    if (kind >= 90 && kind < 95) restart(p, store_copy);
    if (kind >= 95 && kind < 97) {
      weft_verify_report report;
      assert_int_equal(weft_replica_repair(p->r, NULL, NULL, &report), WEFT_OK);
      rebuilt[at]++;
    }
    listen(p, &rng);
    if (test_rng_chance(&rng, 20)) check(p, rebuilt[at]);
  }
  for (size_t i = 0; i < DEVICES; i++) {
    weft_verify_report report;
    assert_int_equal(weft_replica_flush_events(places[i].r), WEFT_OK);
    check(&places[i], rebuilt[i]);
    assert_true(places[i].posts_read == places[i].posted);
    while (places[i].heard < weft_replica_events_newest(places[i].r)) listen(&places[i], &rng);
    assert_int_equal(weft_replica_verify(places[i].r, NULL, NULL, &report), WEFT_OK);
    place_close(&places[i]);
    if (lmdb) test_temp_remove(&places[i].temp);
  }
}

static void test_sessions_in_memory(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 40; seed++) session(seed, false);
}

static void test_sessions_on_disk(void **state) {
  (void)state;
  for (uint64_t seed = 101; seed <= 106; seed++) session(seed, true);
}

/* --- one replica --- */

typedef struct fixture {
  test_space s;
  weft_replica *r;
  weft_events *bus;
  weft_alloc mem;
  weft_arena arena;
} fixture;

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  f->mem = weft_alloc_libc();
  test_space_make(&f->s, 2, 7);
  f->r = test_space_memory(&f->s, 0);
  weft__arena_init(&f->arena, &f->mem);
  assert_int_equal(weft_events_new(&f->bus, f->r, &f->mem), WEFT_OK);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  weft_events_free(f->bus);
  weft_replica_free(f->r);
  weft__arena_free(&f->arena);
  free(f);
  return 0;
}

static uint64_t subscribe(fixture *f, const weft_subscription_options *o) {
  uint64_t id;
  assert_int_equal(weft_events_subscribe(f->bus, o, &id), WEFT_OK);
  return id;
}

static weft_subscription_options plain(void) {
  weft_subscription_options o;
  weft_subscription_options_init(&o);
  return o;
}

/* Writes `count` changes of one field each, in one transaction. */
static void write_many(weft_replica *r, unsigned count) {
  char json[16];
  assert_int_equal(weft_group_begin(r), WEFT_OK);
  for (unsigned i = 0; i < count; i++) {
    snprintf(json, sizeof json, "%u", i);
    assert_int_equal(test_set(r, i % 2 ? "t/a" : "t/b", i % 3 ? "/x" : "/y", json), WEFT_OK);
  }
  assert_int_equal(weft_group_end(r), WEFT_OK);
}

/* A page that starts anywhere is what the whole says; what is no longer kept, or not yet there, is
 * refused; a shorter history takes effect at once. */
static void test_history_is_a_ring(void **state) {
  fixture *f = *state;
  weft_event *all, *page;
  size_t all_count, count;
  uint64_t first, last;
  test_rng rng = test_rng_of(3);
  write_many(f->r, 2000);
  assert_int_equal(weft_replica_events(f->r, &f->arena, 0, 4096, &all, &all_count), WEFT_OK);
  assert_int_equal(weft_replica_events_span(f->r, &first, &last), WEFT_OK);
  assert_true(first == 1 && last == 4001 && all_count == 4001); /* an ADMIT came first */
  for (unsigned i = 0; i < 40; i++) {
    uint64_t since = test_rng_below(&rng, last + 1);
    assert_int_equal(weft_replica_events(f->r, &f->arena, since, 9, &page, &count), WEFT_OK);
    assert_int_equal(count, last - since < 9 ? last - since : 9);
    for (size_t k = 0; k < count; k++) {
      assert_true(event_hash(&page[k]) == event_hash(&all[since + k]));
    }
  }
  assert_int_equal(weft_replica_events(f->r, &f->arena, last + 1, 9, &page, &count),
                   WEFT_ENOTFOUND);
  assert_int_equal(weft_replica_events(f->r, &f->arena, last, 0, &page, &count), WEFT_ELIMIT);
  assert_int_equal(weft_replica_events(f->r, &f->arena, last, 4097, &page, &count), WEFT_ELIMIT);
  assert_int_equal(weft_replica_keep_events(f->r, WEFT_EVENTS_KEPT_MIN - 1), WEFT_ELIMIT);
  assert_int_equal(weft_replica_keep_events(f->r, WEFT_EVENTS_KEPT_MAX + 1), WEFT_ELIMIT);
  assert_int_equal(weft_replica_keep_events(f->r, 100), WEFT_OK);
  assert_int_equal(weft_replica_events_span(f->r, &first, &last), WEFT_OK);
  assert_true(first == last - 99);
  assert_int_equal(weft_replica_events(f->r, &f->arena, first - 2, 9, &page, &count), WEFT_EGAP);
  assert_int_equal(weft_replica_events(f->r, &f->arena, first - 1, 9, &page, &count), WEFT_OK);
  assert_true(count == 9 && event_hash(&page[0]) == event_hash(&all[first - 1]));
  /* Entries that nothing kept is counted from go with the next ones. */
  write_many(f->r, 2000);
  assert_int_equal(weft_replica_keep_events(f->r, WEFT_EVENTS_KEPT), WEFT_OK);
  assert_int_equal(weft_replica_events_span(f->r, &first, &last), WEFT_OK);
  assert_true(last == 8001 && first > 4001 && first < last - 100);
  assert_int_equal(weft_replica_events(f->r, &f->arena, first - 1, 9, &page, &count), WEFT_OK);
  assert_int_equal(weft_replica_events(f->r, &f->arena, first - 2, 9, &page, &count), WEFT_EGAP);
}

/* What happened before showing began anew is kept as it was, as far as it is kept at all. */
static void test_rebuilt(void **state) {
  fixture *f = *state;
  weft_event *before, *after;
  size_t count, again;
  weft_verify_report report;
  write_many(f->r, 900);
  assert_int_equal(weft_replica_keep_events(f->r, 1500), WEFT_OK);
  assert_int_equal(weft_replica_events(f->r, &f->arena, 301, 4096, &before, &count), WEFT_OK);
  assert_int_equal(count, 1500);
  for (unsigned turn = 1; turn <= 2; turn++) {
    assert_int_equal(weft_replica_repair(f->r, NULL, NULL, &report), WEFT_OK);
    assert_true(weft_replica_events_newest(f->r) == 1801 + turn);
    assert_int_equal(weft_replica_events(f->r, &f->arena, 301 + turn, 4096, &after, &again),
                     WEFT_OK);
    assert_int_equal(again, 1500);
    for (size_t i = 0; i < again - turn; i++) {
      assert_true(event_hash(&before[i + turn]) == event_hash(&after[i]));
    }
    assert_int_equal(after[again - 1].type, WEFT_EVENT_STORE_REBUILT);
  }
  assert_int_equal(test_set(f->r, "t/new", "/x", "1"), WEFT_OK);
  assert_int_equal(weft_replica_events(f->r, &f->arena, 1803, 9, &after, &again), WEFT_OK);
  assert_int_equal(again, 2);
  assert_int_equal(after[0].type, WEFT_EVENT_CHANGE_COMMITTED);
  assert_int_equal(after[1].type, WEFT_EVENT_DOC_CREATED);
}

/* Of a long history the newest ten thousand are kept when showing begins anew. */
static void test_rebuilt_long(void **state) {
  fixture *f = *state;
  uint64_t first, last;
  weft_verify_report report;
  assert_int_equal(weft_replica_keep_events(f->r, 20000), WEFT_OK);
  write_many(f->r, 5200);
  assert_int_equal(weft_replica_repair(f->r, NULL, NULL, &report), WEFT_OK);
  assert_int_equal(weft_replica_events_span(f->r, &first, &last), WEFT_OK);
  assert_true(last == 10402 && first == last - WEFT_EVENTS_KEPT);
}

/* Where the order of changes is damaged, what followed from it is lost, and numbers go on. */
static void test_rebuilt_from_damage(void **state) {
  fixture *f = *state;
  weft_txn *txn;
  uint64_t count, first, last;
  weft_event *events;
  size_t n;
  weft_verify_report report;
  weft_key_range all = {{NULL, 0}, {NULL, 0}};
  write_many(f->r, 20);
  weft_store *store = test_store_copy(f->r->store);
  assert_int_equal(weft_store_begin(store, WEFT_TXN_WRITE, &txn), WEFT_OK);
  assert_int_equal(weft_txn_delete_range(txn, WEFT_TABLE_ORDER, all, &count), WEFT_OK);
  assert_int_equal(weft_txn_commit(txn), WEFT_OK);
  weft_replica *r = test_space_open(&f->s, 0, store);
  assert_int_equal(weft_replica_events(r, &f->arena, 1, 9, &events, &n), WEFT_ECORRUPT);
  assert_string_equal(weft_replica_error(r), "the events are damaged");
  assert_int_equal(weft_replica_repair(r, NULL, NULL, &report), WEFT_OK);
  assert_int_equal(weft_replica_events_span(r, &first, &last), WEFT_OK);
  assert_true(first == 42 && last == 43); /* a copy: it begins under a new incarnation */
  assert_int_equal(test_set(r, "t/a", "/x", "5"), WEFT_OK);
  assert_int_equal(weft_replica_events(r, &f->arena, 41, 9, &events, &n), WEFT_OK);
  assert_true(n == 4 && events[0].type == WEFT_EVENT_STORE_REBUILT);
  assert_int_equal(events[3].type, WEFT_EVENT_DOC_CHANGED);
  weft_replica_free(r);
}

/* A store that was made before there were events tells what happens from now on. */
static void test_older_store(void **state) {
  fixture *f = *state;
  weft_txn *txn;
  weft_bytes value;
  weft_buf b;
  uint64_t count;
  weft_event *events;
  size_t n;
  weft_key_range all = {{NULL, 0}, {NULL, 0}};
  write_many(f->r, 50);
  weft_store *store = test_store_copy(f->r->store);
  assert_int_equal(weft_store_begin(store, WEFT_TXN_WRITE, &txn), WEFT_OK);
  assert_int_equal(weft_txn_delete_range(txn, WEFT_TABLE_EVENT, all, &count), WEFT_OK);
  assert_int_equal(weft_txn_get(txn, WEFT_TABLE_META, weft_bytes_str("totals"), &value), WEFT_OK);
  weft__buf_init(&b, &f->mem, SIZE_MAX);
  weft__buf_put(&b, weft_bytes_of(value.at, value.len - WEFT_ROW_CHECK_LEN - 8));
  weft__row_seal(f->r, &b);
  assert_int_equal(weft_txn_put(txn, WEFT_TABLE_META, weft_bytes_str("totals"), weft__buf_view(&b)),
                   WEFT_OK);
  assert_int_equal(weft_txn_commit(txn), WEFT_OK);
  weft__buf_free(&b);
  weft_replica *r = test_space_open(&f->s, 0, store);
  assert_true(weft_replica_events_newest(r) == 0);
  assert_int_equal(test_set(r, "t/a", "/z", "1"), WEFT_OK);
  assert_int_equal(weft_replica_events(r, &f->arena, 0, 9, &events, &n), WEFT_OK);
  assert_int_equal(n, 3);
  assert_int_equal(events[0].type, WEFT_EVENT_CHANGE_COMMITTED);
  assert_int_equal(events[1].type, WEFT_EVENT_DOC_CHANGED);
  assert_int_equal(events[2].type, WEFT_EVENT_STORE_BEGUN);
  weft_replica_free(r);
}

static void test_posts(void **state) {
  fixture *f = *state;
  weft_event *events;
  size_t count;
  weft_event e = {.type = WEFT_EVENT_DOC_CHANGED};
  assert_int_equal(weft_replica_post_event(f->r, &e), WEFT_EMISUSE);
  e.type = WEFT_EVENT_PRESENCE_LEFT;
  assert_int_equal(weft_replica_post_event(f->r, &e), WEFT_EMISUSE);
  e.type = WEFT_EVENT_UNKNOWN;
  assert_int_equal(weft_replica_post_event(f->r, &e), WEFT_EMISUSE);
  e = (weft_event){.type = WEFT_EVENT_PEER_REFUSED, .why = WEFT_EAUTH};
  uint64_t before = weft_replica_events_newest(f->r);
  for (unsigned i = 0; i < WEFT_EVENT_POSTS_MAX + 10; i++) {
    e.count = i;
    assert_int_equal(weft_replica_post_event(f->r, &e), WEFT_OK);
  }
  assert_int_equal(weft_replica_events_waiting(f->r), WEFT_EVENT_POSTS_MAX);
  assert_true(weft_replica_events_newest(f->r) == before);
  /* They go with the next write, behind what it gives by itself. */
  assert_int_equal(test_set(f->r, "t/a", "/x", "1"), WEFT_OK);
  assert_int_equal(weft_replica_events_waiting(f->r), 0);
  assert_int_equal(weft_replica_events(f->r, &f->arena, before, 4096, &events, &count), WEFT_OK);
  assert_int_equal(count, 2 + WEFT_EVENT_POSTS_MAX);
  assert_true(events[2].count == 10 && events[2].time == f->s.platforms[0].now);
  assert_int_equal(events[2].why, WEFT_EAUTH);
  assert_int_equal(weft_replica_flush_events(f->r), WEFT_OK);
  assert_true(weft_replica_events_newest(f->r) == before + count);
}

/* A change from the future, a log that forks, and a device that is admitted each tell. */
static void test_what_holding_tells(void **state) {
  fixture *f = *state;
  weft_event *events;
  size_t count, ahead = 0, forked = 0;
  f->s.platforms[1].now += 3600000;
  weft_replica *b = test_space_memory(&f->s, 1);
  assert_int_equal(test_set(b, "t/b", "/x", "1"), WEFT_OK);
  weft_store *copy = test_store_copy(b->store);
  assert_int_equal(test_set(b, "t/b", "/x", "2"), WEFT_OK);
  test_pull(f->r, b, 9);
  weft_replica_free(b);
  b = test_space_open(&f->s, 1, copy);
  memcpy(b->incarnation, b->logs[0]->incarnation, sizeof b->incarnation); /* a clone that lies */
  b->incarnation_new = false;
  f->s.platforms[1].now += 5;
  assert_int_equal(test_set(b, "t/b", "/x", "3"), WEFT_OK);
  test_pull(f->r, b, 9);
  weft_replica_free(b);
  assert_int_equal(weft_replica_events(f->r, &f->arena, 0, 99, &events, &count), WEFT_OK);
  assert_int_equal(events[0].type, WEFT_EVENT_PEER_ADMITTED);
  assert_memory_equal(&events[0].device, &f->s.devices[1].device, 32);
  for (size_t i = 0; i < count; i++) {
    ahead += events[i].type == WEFT_EVENT_CLOCK_AHEAD;
    forked += events[i].type == WEFT_EVENT_CONFLICT_FORKED;
    if (events[i].type == WEFT_EVENT_CLOCK_AHEAD) assert_true(events[i].count >= 3600000);
    if (events[i].type == WEFT_EVENT_CONFLICT_FORKED) assert_true(events[i].count == 3);
  }
  assert_int_equal(ahead, 2);
  assert_int_equal(forked, 1);
}

/* --- the bus --- */

static unsigned take_all(fixture *f, weft_ms now) {
  weft_delivery d;
  unsigned count = 0;
  assert_int_equal(weft_events_pump(f->bus, now), WEFT_OK);
  while (weft_events_next(f->bus, now, &d)) count++;
  return count;
}

static void test_subscriptions_are_checked(void **state) {
  fixture *f = *state;
  uint64_t id = 1;
  weft_bytes bad = weft_bytes_str("doc."), none = weft_bytes_str("docs.*");
  weft_subscription_options o = plain();
#define REFUSED(field, value, err)                                                                 \
  o = plain();                                                                                     \
  o.field = (value);                                                                               \
  assert_int_equal(weft_events_subscribe(f->bus, &o, &id), err);                                   \
  assert_true(id == 0)
  REFUSED(priority, 4, WEFT_ELIMIT);
  REFUSED(queue_max, 0, WEFT_ELIMIT);
  REFUSED(queue_max, WEFT_EVENTS_QUEUE_MAX + 1, WEFT_ELIMIT);
  REFUSED(batch_max, WEFT_EVENTS_QUEUE + 1, WEFT_ELIMIT);
  REFUSED(latency_max_ms, WEFT_EVENTS_LATENCY_MAX_MS + 1, WEFT_ELIMIT);
  REFUSED(coalesce, (weft_coalesce)4, WEFT_ELIMIT);
  REFUSED(collection, weft_bytes_str("a//b"), WEFT_EBADNAME);
  REFUSED(pointer, weft_bytes_str("x"), WEFT_EBADPATH);
#undef REFUSED
  char long_name[300];
  memset(long_name, 'x', sizeof long_name);
  o = plain();
  o.collection = weft_bytes_of(long_name, sizeof long_name);
  assert_int_equal(weft_events_subscribe(f->bus, &o, &id), WEFT_EBADNAME);
  o = plain();
  o.patterns = &bad;
  o.pattern_count = 1;
  assert_int_equal(weft_events_subscribe(f->bus, &o, &id), WEFT_EBADVALUE);
  o.patterns = &none;
  assert_int_equal(weft_events_subscribe(f->bus, &o, &id), WEFT_ENOTFOUND);
  o = plain();
  o.has_since = true;
  o.since = 99999;
  assert_int_equal(weft_events_subscribe(f->bus, &o, &id), WEFT_ENOTFOUND);
  write_many(f->r, 200);
  assert_int_equal(weft_replica_keep_events(f->r, 100), WEFT_OK);
  o.since = 5;
  assert_int_equal(weft_events_subscribe(f->bus, &o, &id), WEFT_EGAP);
  weft_subscription_stats stats;
  assert_int_equal(weft_events_unsubscribe(f->bus, 1), WEFT_ENOTFOUND);
  assert_int_equal(weft_events_stats(f->bus, 1, &stats), WEFT_ENOTFOUND);
  assert_int_equal(weft_events_subscriptions(f->bus), 0);
  weft_delivery d;
  assert_false(weft_events_take(f->bus, 0, 1, &d));
}

static void test_types_and_places(void **state) {
  fixture *f = *state;
  weft_bytes docs = weft_bytes_str("doc.*");
  weft_subscription_options o = plain();
  o.patterns = &docs;
  o.pattern_count = 1;
  o.collection = weft_bytes_str("t");
  o.pointer = weft_bytes_str("/x");
  uint64_t id = subscribe(f, &o);
  weft_delivery d;
  assert_int_equal(test_set(f->r, "t/a", "/x", "1"), WEFT_OK);
  assert_int_equal(test_set(f->r, "t/a", "/y", "1"), WEFT_OK);
  assert_int_equal(test_set(f->r, "u/a", "/x", "1"), WEFT_OK);
  assert_int_equal(weft_events_pump(f->bus, 0), WEFT_OK);
  assert_true(weft_events_take(f->bus, 0, id, &d));
  assert_int_equal(d.event->type, WEFT_EVENT_DOC_CREATED);
  assert_int_equal(weft_bytes_cmp(d.event->doc, weft_bytes_str("t/a")), 0);
  assert_false(weft_events_next(f->bus, 0, &d));
  /* Inside a group nothing is there yet. */
  assert_int_equal(weft_group_begin(f->r), WEFT_OK);
  assert_int_equal(test_set(f->r, "t/a", "/x", "2"), WEFT_OK);
  assert_int_equal(take_all(f, 0), 0);
  assert_int_equal(weft_group_end(f->r), WEFT_OK);
  assert_int_equal(take_all(f, 0), 1);
  assert_int_equal(weft_events_unsubscribe(f->bus, id), WEFT_OK);
  assert_int_equal(test_set(f->r, "t/a", "/x", "3"), WEFT_OK);
  assert_int_equal(take_all(f, 0), 0);
}

/* An event reaches the subscriptions of every collection its document lies in, and no others. */
static void test_collections(void **state) {
  fixture *f = *state;
  static const char *const collections[] = {"", "a", "a/b", "ab", "a/b/c", "b", "a/c"};
  static const char *const docs[] = {"a/x", "a/b/x", "a/b/c", "a/b/c/x", "ab/x", "b/a", "c/a/b"};
  enum { COLLECTIONS = 7, DOCS_HERE = 7 };
  uint64_t ids[COLLECTIONS];
  weft_delivery d;
  weft_bytes pattern = weft_bytes_str("doc.*");
  for (unsigned i = 0; i < COLLECTIONS; i++) {
    weft_subscription_options o = plain();
    o.patterns = &pattern;
    o.pattern_count = 1;
    o.collection = weft_bytes_str(collections[i]);
    ids[i] = subscribe(f, &o);
  }
  for (unsigned k = 0; k < DOCS_HERE; k++) {
    assert_int_equal(test_set(f->r, docs[k], "/x", "1"), WEFT_OK);
    assert_int_equal(weft_events_pump(f->bus, 0), WEFT_OK);
    for (unsigned i = 0; i < COLLECTIONS; i++) {
      size_t len = strlen(collections[i]);
      bool in = len == 0 || (strncmp(docs[k], collections[i], len) == 0 && docs[k][len] == '/');
      assert_true(weft_events_take(f->bus, 0, ids[i], &d) == in);
      assert_false(weft_events_take(f->bus, 0, ids[i], &d));
    }
  }
  for (unsigned i = 0; i < COLLECTIONS; i += 2) {
    assert_int_equal(weft_events_unsubscribe(f->bus, ids[i]), WEFT_OK);
  }
  assert_int_equal(test_set(f->r, "a/b/x", "/x", "2"), WEFT_OK);
  assert_int_equal(take_all(f, 0), 1);
}

static void test_priorities(void **state) {
  fixture *f = *state;
  uint64_t order[6];
  weft_delivery d;
  weft_subscription_options o = plain();
  o.priority = 3;
  uint64_t low = subscribe(f, &o);
  o.priority = 0;
  uint64_t high = subscribe(f, &o);
  uint64_t other = subscribe(f, &o);
  assert_int_equal(test_set(f->r, "t/a", "/x", "1"), WEFT_OK);
  assert_int_equal(weft_events_pump(f->bus, 0), WEFT_OK);
  for (unsigned i = 0; i < 6; i++) {
    assert_true(weft_events_next(f->bus, 0, &d));
    order[i] = d.subscription;
  }
  assert_false(weft_events_next(f->bus, 0, &d));
  assert_true(order[0] == high && order[1] == other && order[2] == high && order[3] == other);
  assert_true(order[4] == low && order[5] == low);
}

/* Events gather until the time or the number is there, and then come as one batch. */
static void test_gathering(void **state) {
  fixture *f = *state;
  weft_delivery d;
  weft_bytes docs = weft_bytes_str("doc.*");
  weft_subscription_options o = plain();
  o.patterns = &docs;
  o.pattern_count = 1;
  o.latency_max_ms = 100;
  o.batch_max = 3;
  uint64_t id = subscribe(f, &o);
  assert_true(weft_events_deadline(f->bus) == WEFT_NEVER);
  assert_int_equal(test_set(f->r, "t/a", "/x", "1"), WEFT_OK);
  assert_int_equal(take_all(f, 1000), 0);
  assert_true(weft_events_deadline(f->bus) == 1100);
  assert_int_equal(test_set(f->r, "t/a", "/x", "2"), WEFT_OK);
  assert_int_equal(take_all(f, 1099), 0);
  assert_true(weft_events_next(f->bus, 1100, &d));
  assert_true(d.left == 1 && d.subscription == id);
  /* What comes while a batch is taken gathers anew. */
  assert_int_equal(test_set(f->r, "t/a", "/x", "3"), WEFT_OK);
  assert_int_equal(weft_events_pump(f->bus, 1101), WEFT_OK);
  assert_true(weft_events_next(f->bus, 1101, &d));
  assert_true(d.left == 0);
  assert_false(weft_events_next(f->bus, 1101, &d));
  assert_true(weft_events_deadline(f->bus) == 1201);
  write_many(f->r, 2);
  assert_int_equal(take_all(f, 1102), 3); /* three are enough */
  assert_true(weft_events_deadline(f->bus) == WEFT_NEVER);
}

/* Many that gather fall due in the order of their times, also when some end in between. */
static void test_deadlines(void **state) {
  fixture *f = *state;
  uint64_t ids[40];
  weft_delivery d;
  test_rng rng = test_rng_of(12);
  weft_bytes docs = weft_bytes_str("doc.*");
  for (unsigned i = 0; i < 40; i++) {
    weft_subscription_options o = plain();
    o.patterns = &docs;
    o.pattern_count = 1;
    o.latency_max_ms = 1 + (uint32_t)test_rng_below(&rng, 1000);
    ids[i] = subscribe(f, &o);
  }
  assert_int_equal(test_set(f->r, "t/a", "/x", "1"), WEFT_OK);
  assert_int_equal(weft_events_pump(f->bus, 0), WEFT_OK);
  for (unsigned i = 0; i < 40; i += 2) {
    assert_int_equal(weft_events_unsubscribe(f->bus, ids[i]), WEFT_OK);
  }
  weft_ms last = 0;
  for (unsigned i = 0; i < 20; i++) {
    weft_ms due = weft_events_deadline(f->bus);
    assert_true(due != WEFT_NEVER && due >= last);
    if (due > last) assert_false(weft_events_next(f->bus, due - 1, &d));
    assert_true(weft_events_next(f->bus, due, &d));
    last = due;
  }
  assert_true(weft_events_deadline(f->bus) == WEFT_NEVER);
}

static void test_coalescing(void **state) {
  fixture *f = *state;
  weft_delivery d;
  weft_subscription_stats stats;
  weft_bytes docs = weft_bytes_str("doc.*");
  weft_subscription_options o = plain();
  o.patterns = &docs;
  o.pattern_count = 1;
  o.coalesce = WEFT_COALESCE_DOC;
  uint64_t by_doc = subscribe(f, &o);
  o.coalesce = WEFT_COALESCE_TYPE;
  uint64_t by_type = subscribe(f, &o);
  o.coalesce = WEFT_COALESCE_SUBJECT;
  uint64_t by_subject = subscribe(f, &o);
  write_many(f->r, 10); /* two documents, created and changed four times each */
  assert_int_equal(weft_events_pump(f->bus, 0), WEFT_OK);
  uint64_t last = 0, merged = 0, n = 0;
  while (weft_events_take(f->bus, 0, by_doc, &d)) {
    assert_true(d.event->seq > last);
    last = d.event->seq;
    merged += d.merged;
    n++;
  }
  assert_true(n == 2 && merged == 10);
  for (n = 0; weft_events_take(f->bus, 0, by_type, &d); n++) merged += d.merged;
  assert_true(n == 2 && merged == 20);
  for (n = 0; weft_events_take(f->bus, 0, by_subject, &d); n++) merged += d.merged;
  assert_true(n == 4 && merged == 30);
  assert_int_equal(weft_events_stats(f->bus, by_doc, &stats), WEFT_OK);
  assert_true(stats.coalesced == 8 && stats.delivered == 2 && stats.queued == 0);
  /* Where there is no document, by type; of one subject only when device and text agree too. */
  o.patterns = NULL;
  o.pattern_count = 0;
  uint64_t any = subscribe(f, &o);
  o.coalesce = WEFT_COALESCE_DOC;
  uint64_t any_doc = subscribe(f, &o);
  weft_event e = {.type = WEFT_EVENT_PRESENCE_CHANGED, .has_device = true};
  assert_int_equal(weft_events_publish(f->bus, 0, &e), WEFT_OK);
  e.device.b[0] = 1;
  assert_int_equal(weft_events_publish(f->bus, 0, &e), WEFT_OK);
  e.text = weft_bytes_str("{}");
  assert_int_equal(weft_events_publish(f->bus, 0, &e), WEFT_OK);
  assert_int_equal(weft_events_publish(f->bus, 0, &e), WEFT_OK);
  for (n = 0; weft_events_take(f->bus, 0, any, &d);) n++;
  assert_true(n == 3);
  for (n = 0; weft_events_take(f->bus, 0, any_doc, &d);) n++;
  assert_true(n == 1);
}

/* A queue is bounded; who is slow reads the history, and is told what it has lost. */
static void test_behind(void **state) {
  fixture *f = *state;
  weft_delivery d;
  weft_subscription_stats stats;
  weft_subscription_options o = plain();
  o.queue_max = 10;
  uint64_t slow = subscribe(f, &o);
  o.queue_max = WEFT_EVENTS_QUEUE;
  uint64_t quick = subscribe(f, &o);
  uint64_t from = weft_replica_events_newest(f->r);
  write_many(f->r, 50);
  uint64_t n;
  assert_int_equal(weft_events_pump(f->bus, 0), WEFT_OK);
  for (n = 0; weft_events_take(f->bus, 0, quick, &d);) n++;
  assert_true(n == 100);
  assert_int_equal(weft_events_stats(f->bus, slow, &stats), WEFT_OK);
  assert_true(stats.queued == 10 && stats.behind && stats.dropped == 0);
  for (n = 0; weft_events_take(f->bus, 0, slow, &d); n++) {
    assert_true(d.event->seq == from + n + 1);
    assert_int_equal(weft_events_pump(f->bus, 0), WEFT_OK);
  }
  assert_true(n == 100);
  assert_int_equal(weft_events_stats(f->bus, slow, &stats), WEFT_OK);
  assert_false(stats.behind);
  /* Now more than is kept. */
  from = weft_replica_events_newest(f->r);
  assert_int_equal(weft_replica_keep_events(f->r, 100), WEFT_OK);
  write_many(f->r, 10);
  assert_int_equal(weft_events_pump(f->bus, 0), WEFT_OK);
  write_many(f->r, 200);
  uint64_t resets = 0, got = 0, lost = 0, last = from;
  for (unsigned turn = 0; turn < 100; turn++) {
    assert_int_equal(weft_events_pump(f->bus, 0), WEFT_OK);
    while (weft_events_take(f->bus, 0, slow, &d)) {
      if (d.event->type == WEFT_EVENT_RESET) {
        resets++;
        lost += d.event->count;
        assert_true(d.event->cause == last + d.event->count && d.event->seq == 0);
        last = d.event->cause;
      } else {
        assert_true(d.event->seq == ++last);
        got++;
      }
    }
  }
  assert_true(resets == 1 && got + lost == 420 && got == 110);
  assert_int_equal(weft_events_stats(f->bus, slow, &stats), WEFT_OK);
  assert_true(stats.dropped == lost && stats.resets == 1);
  /* What is transient and finds no place is gone. */
  weft_event e = {.type = WEFT_EVENT_PRESENCE_CHANGED};
  for (unsigned i = 0; i < 15; i++) assert_int_equal(weft_events_publish(f->bus, 0, &e), WEFT_OK);
  assert_int_equal(weft_events_stats(f->bus, slow, &stats), WEFT_OK);
  assert_true(stats.dropped == lost + 5);
  e.type = WEFT_EVENT_PEER_CLONE;
  assert_int_equal(weft_events_publish(f->bus, 0, &e), WEFT_EMISUSE);
}

/* Who subscribes to a trace learns who else got an event. */
static void test_trace(void **state) {
  fixture *f = *state;
  weft_delivery d;
  weft_bytes docs = weft_bytes_str("doc.*");
  weft_subscription_options o = plain();
  o.trace = true;
  uint64_t trace = subscribe(f, &o);
  o = plain();
  o.patterns = &docs;
  o.pattern_count = 1;
  uint64_t other = subscribe(f, &o);
  for (unsigned i = 0; i < 70; i++) subscribe(f, &o);
  assert_int_equal(test_set(f->r, "t/a", "/x", "1"), WEFT_OK);
  assert_int_equal(weft_events_pump(f->bus, 0), WEFT_OK);
  assert_true(weft_events_take(f->bus, 0, trace, &d));
  assert_true(d.to_count == 1 && d.to[0] == trace && d.to_total == 1);
  assert_true(weft_events_take(f->bus, 0, trace, &d));
  assert_true(d.to_count == WEFT_EVENTS_TRACE_MAX && d.to_total == 72 && d.to[1] == other);
  assert_int_equal(weft_events_unsubscribe(f->bus, trace), WEFT_OK);
}

/* --- failures --- */

typedef struct faulty {
  test_space s;
  test_fault_alloc alloc;
  test_fault_store store;
  weft_store *inner; /* behind the one that fails */
  weft_replica *r;
  weft_events *bus;
} faulty;

/* Writes, posts, subscribes, takes, begins anew: the first error. */
static weft_err faulty_run(faulty *f, weft_alloc *mem) {
  weft_arena arena;
  weft_event *events;
  size_t count;
  weft_delivery d;
  uint64_t id;
  weft_verify_report report;
  weft_subscription_options o = plain();
  weft_event e = {.type = WEFT_EVENT_PEER_CLONE, .text = weft_bytes_str("x")};
  o.has_since = true;
  o.queue_max = 20;
  o.coalesce = WEFT_COALESCE_SUBJECT;
  o.collection = weft_bytes_str("t");
  WEFT_TRY(weft_events_new(&f->bus, f->r, mem));
  WEFT_TRY(weft_replica_post_event(f->r, &e));
  WEFT_TRY(test_set(f->r, "t/a", "/x", "1"));
  WEFT_TRY(weft_events_subscribe(f->bus, &o, &id));
  o.trace = true;
  o.has_since = false;
  WEFT_TRY(weft_events_subscribe(f->bus, &o, &id));
  WEFT_TRY(weft_replica_post_event(f->r, &e));
  WEFT_TRY(weft_replica_flush_events(f->r));
  WEFT_TRY(test_set(f->r, "t/a", "/x", "2"));
  WEFT_TRY(weft_events_pump(f->bus, 0));
  while (weft_events_next(f->bus, 0, &d)) continue;
  WEFT_TRY(weft_replica_repair(f->r, NULL, NULL, &report));
  WEFT_TRY(weft_events_pump(f->bus, 0));
  weft__arena_init(&arena, mem);
  weft_err err = weft_replica_events(f->r, &arena, 0, 100, &events, &count);
  weft__arena_free(&arena);
  return err;
}

static void faulty_open(faulty *f, weft_alloc *mem, bool store) {
  memset(f, 0, sizeof *f);
  test_space_make(&f->s, 2, 5);
  weft_store *inner = test_memory_store();
  if (store) f->inner = inner;
  weft_replica_options o =
      test_space_options(&f->s, 0, store ? test_fault_store_of(inner, &f->store) : inner);
  o.mem = *mem;
  assert_int_equal(weft_replica_open(&f->r, &o), WEFT_OK);
  test_space_add_records(&f->s, f->r);
}

/* After any failure nothing is lost or told twice: numbers go on without a gap. */
static void faulty_end(faulty *f) {
  weft_alloc libc = weft_alloc_libc();
  weft_arena arena;
  weft_event *events;
  size_t count;
  weft__arena_init(&arena, &libc);
  assert_int_equal(test_set(f->r, "t/b", "/x", "3"), WEFT_OK);
  assert_int_equal(weft_replica_events(f->r, &arena, 0, 100, &events, &count), WEFT_OK);
  assert_true(count == weft_replica_events_newest(f->r));
  assert_true(count >= 3);
  for (size_t i = 0; i < count; i++) assert_true(events[i].seq == i + 1);
  assert_int_equal(weft_replica_events_waiting(f->r), 0);
  weft__arena_free(&arena);
  weft_events_free(f->bus);
  weft_replica_free(f->r);
  weft_store_free(f->inner);
}

static void test_allocations_fail(void **state) {
  (void)state;
  static faulty f;
  for (size_t k = 1, failed = 1; failed; k++) {
    memset(&f, 0, sizeof f);
    test_fault_alloc faults = {0};
    weft_alloc mem = test_fault_alloc_of(&faults);
    faulty_open(&f, &mem, false);
    faults.calls = 0;
    faults.fail_at = k;
    weft_err err = faulty_run(&f, &mem);
    failed = err != WEFT_OK;
    if (failed) assert_int_equal(err, WEFT_ENOMEM);
    /* A queue that could not grow is read from the history later: the run goes on. */
    failed = failed || faults.calls >= k;
    faults.fail_at = 0;
    faulty_end(&f);
    assert_int_equal(faults.live, 0);
  }
}

static void test_store_calls_fail(void **state) {
  (void)state;
  static faulty f;
  weft_alloc mem = weft_alloc_libc();
  for (size_t k = 1, failed = 1; failed; k++) {
    faulty_open(&f, &mem, true);
    f.store.calls = 0;
    f.store.fail_at = k;
    f.store.err = WEFT_EFULL;
    weft_err err = faulty_run(&f, &mem);
    failed = f.store.calls >= k;
    if (err != WEFT_OK) assert_int_equal(err, WEFT_EFULL);
    f.store.fail_at = 0;
    faulty_end(&f);
  }
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sessions_in_memory),
      cmocka_unit_test(test_sessions_on_disk),
      WITH(test_history_is_a_ring),
      WITH(test_rebuilt),
      WITH(test_rebuilt_long),
      WITH(test_rebuilt_from_damage),
      WITH(test_older_store),
      WITH(test_posts),
      WITH(test_what_holding_tells),
      WITH(test_subscriptions_are_checked),
      WITH(test_types_and_places),
      WITH(test_collections),
      WITH(test_priorities),
      WITH(test_gathering),
      WITH(test_deadlines),
      WITH(test_coalescing),
      WITH(test_behind),
      WITH(test_trace),
      cmocka_unit_test(test_allocations_fail),
      cmocka_unit_test(test_store_calls_fail),
  };
#undef WITH
  return cmocka_run_group_tests(tests, NULL, NULL);
}

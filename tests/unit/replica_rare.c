/* What is seldom asked of a replica: prefixes that say too little, marks of pages that are none,
 * edits that go on after they broke, options given where none are needed, progress that is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/admission.h"
#include "store/history.h"
#include "store/lmdb_store.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/fault_store.h"
#include "tests/support/space.h"

typedef struct scene {
  test_space s;
  weft_store *inner;
  test_fault_store f;
  test_fault_alloc a;
  weft_replica *r;
  weft_arena arena;
} scene;

static weft_bytes text(const char *s) { return weft_bytes_str(s); }

static int setup(void **state) {
  scene *x = calloc(1, sizeof *x);
  weft_alloc mem = weft_alloc_libc();
  test_space_make(&x->s, 2, 11);
  weft__arena_init(&x->arena, &mem);
  x->inner = test_memory_store();
  weft_replica_options o = test_space_options(&x->s, 0, test_fault_store_of(x->inner, &x->f));
  o.mem = test_fault_alloc_of(&x->a);
  assert_int_equal(weft_replica_open(&x->r, &o), WEFT_OK);
  test_space_add_records(&x->s, x->r);
  for (unsigned i = 0; i < 300; i++) {
    char json[16];
    snprintf(json, sizeof json, "%u", i);
    assert_int_equal(test_set(x->r, i % 2 ? "t/a" : "t/b", "/x", json), WEFT_OK);
  }
  *state = x;
  return 0;
}

static int teardown(void **state) {
  scene *x = *state;
  weft_replica_free(x->r);
  assert_int_equal(x->a.live, 0);
  weft_store_free(x->inner);
  weft__arena_free(&x->arena);
  free(x);
  return 0;
}

static weft_history_entry newest(scene *x, const char *doc) {
  weft_history_query q;
  weft_history_entry *list;
  size_t count;
  weft_bytes next;
  weft_history_query_init(&q);
  q.doc = text(doc);
  q.limit = 1;
  assert_int_equal(weft_replica_history(x->r, &x->arena, &q, &list, &count, &next), WEFT_OK);
  assert_int_equal(count, 1);
  return list[0];
}

/* Ids that begin alike, all of them. */
static void alike_hash(uint8_t *out, size_t len, weft_bytes key, const uint8_t *salt,
                       const uint8_t *personal, const weft_bytes *parts, size_t count) {
  weft_crypto_sodium()->hash(out, len, key, salt, personal, parts, count);
  if (len == 32) memset(out, 7, 5);
}

static void test_prefixes_that_say_too_little(void **state) {
  (void)state;
  scene x;
  weft_crypto alike = *weft_crypto_sodium();
  alike.hash = alike_hash;
  weft_alloc mem = weft_alloc_libc();
  weft_vector v;
  weft_id found;
  weft_history_entry entry;
  weft_change_state what;
  test_space_make_with(&x.s, 1, 11, &alike);
  x.r = test_space_memory(&x.s, 0);
  weft__arena_init(&x.arena, &mem);
  weft__vector_init(&v, &mem);
  for (unsigned i = 0; i < 4; i++)
    assert_int_equal(test_set(x.r, "t/a", "/x", i % 2 ? "1" : "2"), WEFT_OK);
  weft_id id = newest(&x, "t/a").change;
  for (size_t len = 0; len <= sizeof id.b; len++) {
    weft_bytes prefix = weft_bytes_of(id.b, len);
    weft_err err = weft_replica_change(x.r, &x.arena, prefix, &entry, &what);
    assert_int_equal(err, len < 6 ? WEFT_EMALFORMED : WEFT_OK);
    if (err == WEFT_OK) assert_int_equal(weft_id_cmp(&entry.change, &id), 0);
    err = weft_replica_version_after(x.r, text("t/a"), prefix, &v, &found);
    assert_int_equal(err, len < 6 ? WEFT_EMALFORMED : WEFT_OK);
    if (err == WEFT_OK) assert_int_equal(weft_id_cmp(&found, &id), 0);
  }
  id.b[31] ^= 1;
  weft_bytes whole = weft_bytes_of(id.b, sizeof id.b);
  assert_int_equal(weft_replica_change(x.r, &x.arena, whole, &entry, &what), WEFT_ENOTFOUND);
  weft__vector_free(&v);
  weft__arena_free(&x.arena);
  weft_replica_free(x.r);
}

static void test_versions_at_any_time(void **state) {
  scene *x = *state;
  weft_vector now, then;
  weft_alloc mem = weft_alloc_libc();
  weft__vector_init(&now, &mem);
  weft__vector_init(&then, &mem);
  assert_int_equal(weft_replica_version_at(x->r, text("t/a"), WEFT_NEVER, &now), WEFT_OK);
  assert_int_equal(weft_replica_version_at(x->r, text("t/a"), 0, &then), WEFT_OK);
  assert_int_equal(then.count, 0);
  assert_int_equal(weft_replica_version_at(x->r, text("t/a"), x->s.platforms[0].now, &then),
                   WEFT_OK);
  assert_true(test_same_heads(&now, &then));
  weft__vector_free(&now);
  weft__vector_free(&then);
}

/* The mark of a page is ours, or it is refused. */
static void test_marks_of_pages(void **state) {
  scene *x = *state;
  weft_list page;
  weft_query q;
  uint8_t mark[300];
  weft_query_init(&q);
  q.collection = text("t");
  q.sort = text("/x");
  q.limit = 1;
  assert_int_equal(weft_replica_list(x->r, &x->arena, &q, &page), WEFT_OK);
  assert_int_equal(page.count, 1);
  weft_bytes good = page.next;
  assert_in_range(good.len, 2, sizeof mark - 2);
  for (size_t len = 1; len < good.len; len++) {
    q.cursor = weft_bytes_of(good.at, len);
    assert_int_equal(weft_replica_list(x->r, &x->arena, &q, &page), WEFT_EMALFORMED);
  }
  for (size_t at = 0; at < good.len; at++) {
    memcpy(mark, good.at, good.len);
    for (unsigned value = 0; value < 256; value += 15) {
      mark[at] = (uint8_t)value;
      q.cursor = weft_bytes_of(mark, good.len);
      weft_err err = weft_replica_list(x->r, &x->arena, &q, &page);
      assert_true(err == WEFT_OK || err == WEFT_EMALFORMED);
    }
  }
  memcpy(mark, good.at, good.len);
  mark[good.len] = 0;
  q.cursor = weft_bytes_of(mark, good.len + 1);
  assert_int_equal(weft_replica_list(x->r, &x->arena, &q, &page), WEFT_EMALFORMED);
}

/* Without memory an edit is as it was, and goes on when there is some. */
static void test_edits_without_memory(void **state) {
  scene *x = *state;
  char now[32];
  weft_value v = {.kind = WEFT_INT, .as.integer = 1000};
  for (unsigned k = 1, reached = true; reached; k++) {
    weft_edit *e;
    weft_commit done;
    assert_int_equal(weft_edit_begin(&e, x->r, NULL), WEFT_OK);
    v.as.integer++;
    x->a.calls = 0;
    x->a.fail_at = k;
    weft_err err = weft_edit_set(e, text("t/a"), text("/again"), &v);
    reached = x->a.calls >= k;
    x->a.fail_at = 0;
    if (err != WEFT_OK) {
      assert_int_equal(err, WEFT_ENOMEM);
      err = weft_edit_set(e, text("t/a"), text("/again"), &v);
    }
    if (err == WEFT_OK) err = weft_edit_commit(e, &done);
    weft_edit_free(e);
    assert_true(err == WEFT_OK || err == WEFT_ENOMEM); /* a broken writer says so again */
    if (err != WEFT_OK) continue;
    char want[32];
    snprintf(want, sizeof want, "%d", (int)v.as.integer);
    assert_string_equal(test_get(x->r, "t/a", "/again", now, sizeof now), want);
  }
}

/* A group in which something failed takes nothing more, and its end says why. */
static void test_a_group_that_failed(void **state) {
  scene *x = *state;
  char was[64];
  test_get(x->r, "t/a", "/x", was, sizeof was);
  assert_int_equal(weft_group_begin(x->r), WEFT_OK);
  assert_int_equal(weft_group_begin(x->r), WEFT_EMISUSE);
  assert_int_equal(test_set(x->r, "t/a", "/x", "\"in the group\""), WEFT_OK);
  x->f.full = true;
  assert_int_equal(test_set(x->r, "t/a", "/x", "\"full\""), WEFT_EFULL);
  x->f.full = false;
  assert_int_equal(test_set(x->r, "t/a", "/x", "\"after\""), WEFT_EFULL);
  weft_edit *e;
  assert_int_equal(weft_edit_begin(&e, x->r, NULL), WEFT_EFULL);
  assert_int_equal(weft_group_end(x->r), WEFT_EFULL);
  char now[64];
  assert_string_equal(test_get(x->r, "t/a", "/x", now, sizeof now), was);
  assert_int_equal(test_set(x->r, "t/a", "/x", "\"well again\""), WEFT_OK);
}

/* A group that filled the map finds room when it is tried again. */
static void test_groups_in_a_small_map(void **state) {
  (void)state;
  test_space s;
  test_temp temp = test_temp_make();
  char path[256], value[4096];
  weft_lmdb_options o;
  weft_store *store;
  test_space_make(&s, 1, 3);
  test_temp_path(&temp, "data.mdb", path);
  weft_lmdb_options_init(&o);
  o.path = path;
  o.map_size = 1u << 20;
  assert_int_equal(weft_lmdb_store_open(&o, &store, NULL), WEFT_OK);
  weft_replica *r = test_space_open(&s, 0, store);
  memset(value, 'x', sizeof value);
  value[0] = value[sizeof value - 2] = '"';
  value[sizeof value - 1] = 0;
  for (unsigned group = 0; group < 20; group++) {
    weft_err err = WEFT_EFULL;
    for (unsigned turn = 0; turn < 3 && err == WEFT_EFULL; turn++) {
      assert_int_equal(weft_group_begin(r), WEFT_OK);
      err = WEFT_OK;
      for (unsigned i = 0; i < 30 && err == WEFT_OK; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "t/%u-%u", group, i);
        err = test_set(r, name, "/x", value);
      }
      weft_err ended = weft_group_end(r);
      if (err == WEFT_OK) err = ended;
    }
    if (err != WEFT_OK) fail_msg("group %u: %s", group, weft_err_str(err));
  }
  weft_replica_free(r);
  test_space_free(&s);
  test_temp_remove(&temp);
}

/* What an edit saw of a group that was given up never was. */
static void test_edits_of_a_group_given_up(void **state) {
  scene *x = *state;
  weft_edit *e;
  weft_commit done;
  weft_forecast forecast;
  weft_value v = {.kind = WEFT_INT, .as.integer = 1};
  assert_int_equal(weft_group_begin(x->r), WEFT_OK);
  assert_int_equal(test_set(x->r, "t/a", "/x", "\"in the group\""), WEFT_OK);
  assert_int_equal(weft_edit_begin(&e, x->r, NULL), WEFT_OK);
  weft_group_abort(x->r);
  assert_int_equal(weft_edit_set(e, text("t/a"), text("/x"), &v), WEFT_EBASE);
  assert_int_equal(weft_edit_forecast(e, &x->arena, &forecast), WEFT_EBASE);
  assert_int_equal(weft_edit_commit(e, &done), WEFT_EBASE);
  weft_edit_free(e);
  assert_int_equal(test_set(x->r, "t/a", "/x", "2"), WEFT_OK);
}

/* Undoing takes a message and a lane, as any edit. */
static void test_undoing_with_options(void **state) {
  scene *x = *state;
  weft_edit_options o;
  weft_commit done;
  weft_revert_item *items;
  size_t count;
  weft_history_entry last = newest(x, "t/a");
  weft_edit_options_init(&o);
  o.message = text("back");
  o.lane = WEFT_LANE_CRITICAL;
  assert_int_equal(weft_replica_revert(x->r, &x->arena, &last.change, &o, &items, &count, &done),
                   WEFT_OK);
  assert_true(count > 0);
  weft_history_entry undone = newest(x, "t/a");
  assert_int_equal(weft_bytes_cmp(undone.message, o.message), 0);
  assert_int_equal(weft_replica_lane(x->r, &undone.log), WEFT_LANE_CRITICAL);
  /* What began a log wrote nothing that could be undone. */
  weft_id start;
  assert_int_equal(weft_replica_id_at(x->r, &undone.log, WEFT_BRANCH_ANY, 1, &start), WEFT_OK);
  assert_int_equal(weft_replica_revert(x->r, &x->arena, &start, &o, &items, &count, &done),
                   WEFT_EMISUSE);
}

/* Two copies of a device that write in the same instant: their changes are told apart all the same,
 * and listed in one order everywhere. */
static void test_own_changes_of_one_instant(void **state) {
  (void)state;
  test_space s;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_own_change *own[2];
  size_t count[2];
  uint64_t total;
  weft_vector none = {.count = 0};
  test_space_make(&s, 1, 11);
  weft__arena_init(&arena, &mem);
  weft_store *first = test_memory_store();
  weft_replica *r[2] = {test_space_open(&s, 0, first), NULL};
  assert_int_equal(test_set(r[0], "t/a", "/x", "0"), WEFT_OK);
  test_platform before = s.platforms[0];
  r[1] = test_space_open(&s, 0, test_store_copy(first));
  for (unsigned i = 0; i < 3; i++) assert_int_equal(test_set(r[1], "t/a", "/x", "1"), WEFT_OK);
  assert_int_equal(test_set(r[1], "t/b", "/x", "2"), WEFT_OK);
  s.platforms[0].now = before.now;
  assert_int_equal(test_set(r[0], "t/a", "/y", "1"), WEFT_OK);
  assert_int_equal(test_set(r[0], "t/b", "/y", "2"), WEFT_OK);
  test_pull(r[0], r[1], 9);
  test_pull(r[1], r[0], 9);
  for (size_t i = 0; i < 2; i++)
    assert_int_equal(weft_replica_own(r[i], &arena, &none, 50, &own[i], &count[i], &total),
                     WEFT_OK);
  assert_int_equal(count[0], count[1]);
  assert_true(count[0] >= 4);
  for (size_t i = 0; i < count[0]; i++) {
    const weft_history_entry *a = &own[0][i].change;
    assert_int_equal(weft_id_cmp(&a->change, &own[1][i].change.change), 0);
    if (i > 0) assert_true(own[0][i - 1].change.hlc <= a->hlc);
  }
  weft__arena_free(&arena);
  for (size_t i = 0; i < 2; i++) weft_replica_free(r[i]);
}

static void note_progress(void *ctx, uint64_t done, uint64_t total) {
  uint64_t *last = ctx;
  assert_true(done >= *last && total > 0);
  *last = done;
}

static void test_progress_is_told(void **state) {
  scene *x = *state;
  weft_verify_report report;
  uint64_t last = 0;
  assert_int_equal(weft_replica_verify(x->r, note_progress, &last, &report), WEFT_OK);
  assert_true(last > 0);
  last = 0;
  assert_int_equal(weft_replica_repair(x->r, note_progress, &last, &report), WEFT_OK);
  assert_true(last > 0);
}

/* A replica whose store broke does nothing more, whatever is asked. */
static void test_what_is_asked_of_the_dead(void **state) {
  scene *x = *state;
  weft_verify_report report;
  weft_hold_report held;
  weft_show_report shown;
  x->f.calls = 0;
  x->f.fail_at = 1;
  x->f.err = WEFT_EIO;
  assert_int_equal(test_set(x->r, "t/a", "/x", "1"), WEFT_EIO);
  x->f.fail_at = 0;
  assert_int_equal(test_set(x->r, "t/a", "/x", "1"), WEFT_EIO);
  assert_int_equal(weft_replica_verify(x->r, NULL, NULL, &report), WEFT_EIO);
  assert_int_equal(weft_replica_repair(x->r, NULL, NULL, &report), WEFT_EIO);
  assert_int_equal(weft_replica_hold(x->r, &x->arena, NULL, 0, &held), WEFT_EIO);
  assert_int_equal(weft_replica_show(x->r, 1, &shown), WEFT_EIO);
  assert_int_equal(weft_group_begin(x->r), WEFT_EIO);
  assert_int_equal(weft_replica_backup(x->r, "nowhere"), WEFT_EIO);
  assert_true(strlen(weft_replica_error(x->r)) > 0);
}

/* Only an admin admits, whatever ticket there is. */
static void test_who_may_admit(void **state) {
  scene *x = *state;
  weft_invite_terms terms = {.uses = 3, .expires_ms = WEFT_NEVER, .role = WEFT_ROLE_WRITER};
  weft_redeem redeem;
  weft_key seed = {{9}}, key = {{8}};
  weft_identity joiner, nobody;
  uint16_t refuse = 0;
  weft_identity_derive(&joiner, x->s.crypto, &key);
  weft_identity_derive(&nobody, x->s.crypto, &seed);
  weft__redeem_sign(&redeem, x->s.crypto, &joiner, &seed, &x->s.id);
  terms.invite = redeem.invite;
  weft_ms now = x->s.platforms[0].now;
  const weft_identity *issuers[] = {&nobody, &x->s.devices[1]};
  for (size_t i = 0; i < 2; i++) {
    weft_err err = weft_replica_admit(x->r, x->s.crypto, issuers[i], &terms, &redeem, text("new"),
                                      now, &refuse);
    assert_int_equal(err, WEFT_EDENIED);
    assert_true(refuse != 0);
  }
  assert_null(weft__roster_member_of(weft_replica_roster(x->r), &joiner.device));
  assert_int_equal(weft_replica_admit(x->r, x->s.crypto, &x->s.devices[0], &terms, &redeem,
                                      text("new"), now, &refuse),
                   WEFT_OK);
  assert_non_null(weft__roster_member_of(weft_replica_roster(x->r), &joiner.device));
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
  const struct CMUnitTest tests[] = {
      WITH(test_prefixes_that_say_too_little),
      WITH(test_versions_at_any_time),
      WITH(test_marks_of_pages),
      WITH(test_edits_without_memory),
      WITH(test_a_group_that_failed),
      WITH(test_undoing_with_options),
      WITH(test_edits_of_a_group_given_up),
      WITH(test_progress_is_told),
      cmocka_unit_test(test_own_changes_of_one_instant),
      cmocka_unit_test(test_groups_in_a_small_map),
      WITH(test_what_is_asked_of_the_dead),
      WITH(test_who_may_admit),
  };
#undef WITH
  return cmocka_run_group_tests_name("replica_rare", tests, NULL, NULL);
}

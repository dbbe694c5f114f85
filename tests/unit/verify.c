/* Verify and repair over both stores: clean ones are clean, every damage is found, and what follows
 * from the logs is made again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/limits.h"
#include "store/overlay_store.h"
#include "store/replica_internal.h"
#include "tests/support/bed.h"
#include "tests/support/pace.h"

enum { TEXT_LEN = 2048 };

static weft_bytes text(const char *s) { return weft_bytes_str(s); }

static void assert_clean(weft_replica *r) {
  weft_verify_report report;
  weft_err err = weft_replica_verify(r, NULL, NULL, &report);
  if (err != WEFT_OK) print_message("%s: %s\n", weft_err_name(err), report.first);
  assert_int_equal(err, WEFT_OK);
  assert_int_equal(report.bad, 0);
  assert_string_equal(report.first, "");
}

/* Writes of three devices that meet now and then: conflicts, deletions, arrays, several logs. */
static void live(test_bed *f, weft_replica *r[3], uint64_t seed, size_t steps) {
  static const char *const values[] = {"1", "2", "{\"x\":1}", "[1,[2]]", "\"s\"", NULL, NULL};
  static const char *const places[] = {"/a", "/b", "/a/x", "/a/0", "", "/c"};
  test_rng rng = test_rng_of(seed);
  for (size_t i = 0; i < steps; i++) {
    char name[16];
    size_t device = test_rng_below(&rng, 3);
    f->s.platforms[device].now += test_rng_below(&rng, 20);
    snprintf(name, sizeof name, "v/%u", (unsigned)test_rng_below(&rng, 4));
    const char *json = values[test_rng_below(&rng, 7)];
    const char *place = places[test_rng_below(&rng, 6)];
    if (place[0] == 0 && json && json[0] != '{') json = "{\"y\":[]}";
    weft_err err = test_set(r[device], name, place, json);
    assert_true(err == WEFT_OK || err == WEFT_ENOTFOUND || err == WEFT_EBADPATH);
    if (test_rng_chance(&rng, 20)) {
      size_t from = test_rng_below(&rng, 3); /* one draw a statement: compilers differ in order */
      test_pull(r[test_rng_below(&rng, 3)], r[from], 100);
    }
  }
  test_pull(r[0], r[1], 100);
  test_pull(r[0], r[2], 100);
}

static weft_replica *make(test_bed *f, size_t steps) {
  weft_replica *r[3] = {test_bed_open(f), test_space_memory(&f->s, 1), test_space_memory(&f->s, 2)};
  assert_int_equal(weft_replica_declare_index(r[0], text("v"), text("/a")), WEFT_OK);
  assert_int_equal(weft_replica_declare_index(r[0], text(""), text("@modified")), WEFT_OK);
  live(f, r, 3, steps);
  weft_replica_free(r[1]);
  weft_replica_free(r[2]);
  return r[0];
}

/* --- clean stores --- */

typedef struct seen_progress {
  uint64_t calls, done, total;
} seen_progress;

static void progress(void *ctx, uint64_t done, uint64_t total) {
  seen_progress *p = ctx;
  assert_true(done >= p->done && done <= total);
  *p = (seen_progress){p->calls + 1, done, total};
}

static void test_clean(void **state) {
  test_bed *f = *state;
  weft_replica *r[3] = {test_bed_open(f), test_space_memory(&f->s, 1), test_space_memory(&f->s, 2)};
  weft_verify_report report;
  weft_counts counts;
  seen_progress p = {0};
  assert_clean(r[0]);
  assert_int_equal(weft_replica_declare_index(r[0], text("v"), text("/a")), WEFT_OK);
  for (uint64_t seed = 1; seed <= 12; seed++) {
    live(f, r, seed, 25);
    for (size_t i = 0; i < 3; i++) assert_clean(r[i]);
  }
  assert_int_equal(weft_group_begin(r[0]), WEFT_OK);
  assert_int_equal(weft_replica_verify(r[0], NULL, NULL, &report), WEFT_EMISUSE);
  assert_int_equal(weft_replica_repair(r[0], NULL, NULL, &report), WEFT_EMISUSE);
  for (unsigned i = 0; i < 3000; i++) {
    assert_int_equal(test_set(r[0], "v/9", "/n", i % 2 ? "1" : "2"), WEFT_OK);
  }
  assert_int_equal(weft_group_end(r[0]), WEFT_OK);
  assert_int_equal(weft_replica_verify(r[0], progress, &p, &report), WEFT_OK);
  assert_int_equal(weft_replica_counts(r[0], &counts), WEFT_OK);
  assert_int_equal(report.changes, counts.changes_held);
  assert_int_equal(report.documents, counts.docs + counts.deleted);
  assert_true(report.signatures >= counts.logs);
  assert_true(report.fields >= report.documents);
  assert_true(p.calls > 5 && p.done == p.total);
  weft_digest before = weft_replica_digest(r[0]);
  weft_vector shown;
  weft__vector_init(&shown, &f->mem);
  assert_int_equal(weft__vector_copy(&shown, weft_replica_shown(r[0])), WEFT_OK);
  assert_int_equal(weft_replica_repair(r[0], NULL, NULL, &report), WEFT_OK);
  weft_digest after = weft_replica_digest(r[0]);
  assert_true(before.high == after.high && before.low == after.low);
  assert_int_equal(weft__vector_compare(&shown, weft_replica_shown(r[0]), NULL), WEFT_ORDER_EQUAL);
  assert_clean(r[0]);
  weft__vector_free(&shown);
  for (size_t i = 0; i < 3; i++) weft_replica_free(r[i]);
}

/* What is held and not shown yet is proven too, and stays not shown. */
static void test_backlog(void **state) {
  test_bed *f = *state;
  weft_replica *r = test_bed_open(f);
  weft_replica *other = test_space_memory(&f->s, 1);
  weft_show_report shown;
  weft_counts counts;
  weft_verify_report report;
  assert_int_equal(weft_group_begin(other), WEFT_OK);
  for (unsigned i = 0; i < 200; i++) {
    assert_int_equal(test_set(other, "v/a", "/n", i % 2 ? "1" : "2"), WEFT_OK);
  }
  assert_int_equal(weft_group_end(other), WEFT_OK);
  weft_span *spans;
  size_t count;
  uint64_t last;
  weft_hold_report held;
  weft_buf chunk;
  weft__buf_init(&chunk, &f->mem, SIZE_MAX);
  assert_int_equal(weft_replica_missing(other, &f->arena, weft_replica_held(r), 10, &spans, &count),
                   WEFT_OK);
  assert_int_equal(count, 1);
  assert_int_equal(weft_replica_read_chunk(other, &spans[0].log, spans[0].branch, spans[0].from,
                                           spans[0].to, &chunk, &last),
                   WEFT_OK);
  weft_bytes view = weft__buf_view(&chunk);
  assert_int_equal(weft_replica_hold(r, &f->arena, &view, 1, &held), WEFT_OK);
  assert_int_equal(held.changes, 201);
  assert_clean(r);
  assert_int_equal(weft_replica_show(r, 50, &shown), WEFT_OK);
  assert_clean(r);
  assert_int_equal(weft_replica_counts(r, &counts), WEFT_OK);
  assert_true(counts.changes_shown < counts.changes_held);
  assert_int_equal(weft_replica_repair(r, NULL, NULL, &report), WEFT_OK);
  test_assert_same(r, other);
  assert_clean(r);
  weft__buf_free(&chunk);
  weft_replica_free(r);
  weft_replica_free(other);
}

/* --- damage --- */

/* Puts `value` under the `idx`th key of a table, behind the replica's back; NULL removes it. */
static void store_put(test_bed *f, weft_table table, weft_bytes key, const weft_bytes *value) {
  weft_txn *txn;
  assert_int_equal(weft_store_begin(f->inner, WEFT_TXN_WRITE, &txn), WEFT_OK);
  weft_err err = value ? weft_txn_put(txn, table, key, *value) : weft_txn_delete(txn, table, key);
  assert_int_equal(err, WEFT_OK);
  assert_int_equal(weft_txn_commit(txn), WEFT_OK);
}

typedef struct table_copy {
  weft_entry *at;
  size_t count;
} table_copy;

static table_copy copy_table(test_bed *f, weft_table table) {
  weft_txn *txn;
  weft_cursor *cursor;
  weft_entry entry;
  table_copy copy = {0};
  uint64_t count;
  assert_int_equal(weft_store_begin(f->inner, WEFT_TXN_READ, &txn), WEFT_OK);
  assert_int_equal(weft_txn_count(txn, table, &count), WEFT_OK);
  copy.at = weft__arena_zero(&f->arena, (size_t)count + 1, sizeof *copy.at);
  assert_int_equal(weft_cursor_open(txn, table, &cursor), WEFT_OK);
  weft_err err = weft_cursor_first(cursor, &entry);
  for (; err == WEFT_OK; err = weft_cursor_next(cursor, &entry)) {
    assert_int_equal(weft__arena_copy(&f->arena, entry.key, &copy.at[copy.count].key), WEFT_OK);
    assert_int_equal(weft__arena_copy(&f->arena, entry.value, &copy.at[copy.count].value), WEFT_OK);
    copy.count++;
  }
  weft_cursor_close(cursor);
  weft_txn_abort(txn);
  return copy;
}

static weft_err damage_found(weft_replica *r) {
  weft_verify_report report;
  weft_err err = weft_replica_verify(r, NULL, NULL, &report);
  if (err == WEFT_ECORRUPT) {
    assert_true(report.bad > 0);
    assert_true(strlen(report.first) > 10);
  }
  return err;
}

static const weft_table derived[] = {WEFT_TABLE_DOCID, WEFT_TABLE_STATE, WEFT_TABLE_CONTEST,
                                     WEFT_TABLE_INDEX, WEFT_TABLE_ORDER};
static const weft_table truth[] = {WEFT_TABLE_LOG,   WEFT_TABLE_TAIL,    WEFT_TABLE_LOGS,
                                   WEFT_TABLE_LOGID, WEFT_TABLE_NUMBERS, WEFT_TABLE_ARRIVAL,
                                   WEFT_TABLE_RECORD};

static void assert_damage(test_bed *f, weft_replica *r, weft_table table, const weft_entry *e,
                          size_t at) {
  uint8_t *copy = malloc(e->value.len);
  memcpy(copy, e->value.at, e->value.len);
  copy[at] ^= (uint8_t)(1u << (at % 8));
  weft_bytes value = weft_bytes_of(copy, e->value.len);
  store_put(f, table, e->key, &value);
  weft_err err = damage_found(r);
  if (err != WEFT_ECORRUPT) {
    print_message("%s: byte %zu of %zu\n", weft_table_name(table), at, e->value.len);
  }
  assert_int_equal(err, WEFT_ECORRUPT);
  store_put(f, table, e->key, &e->value);
  free(copy);
}

/* Every byte of every value. */
static void test_every_byte(void **state) {
  size_t step = test_under_valgrind() ? 20 : 1;
  test_bed *f = *state;
  weft_replica *r = make(f, 40);
  for (size_t t = 0; t < sizeof derived / sizeof *derived; t++) {
    table_copy copy = copy_table(f, derived[t]);
    assert_true(copy.count > 0);
    for (size_t i = 0; i < copy.count; i++) {
      for (size_t at = 0; at < copy.at[i].value.len; at += step) {
        assert_damage(f, r, derived[t], &copy.at[i], at);
      }
    }
  }
  for (size_t t = 0; t < sizeof truth / sizeof *truth; t++) {
    table_copy copy = copy_table(f, truth[t]);
    for (size_t i = 0; i < copy.count; i++) {
      for (size_t at = 0; at < copy.at[i].value.len; at += 3 * step) {
        assert_damage(f, r, truth[t], &copy.at[i], at);
      }
    }
  }
  assert_clean(r);
  weft_replica_free(r);
}

/* An entry that is gone, and one too many; what follows from the logs comes back. */
static void test_entries(void **state) {
  test_bed *f = *state;
  weft_replica *r = make(f, 40);
  weft_verify_report report;
  weft_digest digest = weft_replica_digest(r);
  char want[4][TEXT_LEN], got[TEXT_LEN], name[16];
  for (unsigned i = 0; i < 4; i++) {
    snprintf(name, sizeof name, "v/%u", i);
    test_get(r, name, "", want[i], TEXT_LEN);
  }
  for (size_t t = 0; t < sizeof derived / sizeof *derived; t++) {
    for (size_t round = 0; round < 3; round++) {
      table_copy copy = copy_table(f, derived[t]);
      const weft_entry *e = &copy.at[copy.count / 2];
      uint8_t key[WEFT_KEY_LEN_MAX];
      memcpy(key, e->key.at, e->key.len);
      key[e->key.len - 1] ^= 0x40;
      weft_bytes other = weft_bytes_of(key, e->key.len);
      if (round != 1) store_put(f, derived[t], e->key, NULL);
      if (round != 0) store_put(f, derived[t], other, &e->value);
      assert_int_equal(damage_found(r), WEFT_ECORRUPT);
      weft_err err = weft_replica_repair(r, NULL, NULL, &report);
      assert_int_equal(err, WEFT_OK);
      assert_int_equal(report.bad, 0);
      assert_clean(r);
      weft_digest now = weft_replica_digest(r);
      assert_true(digest.high == now.high && digest.low == now.low);
      for (unsigned i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "v/%u", i);
        assert_string_equal(test_get(r, name, "", got, TEXT_LEN), want[i]);
      }
    }
  }
  /* A part of a segment that has no parts. */
  table_copy segments = copy_table(f, WEFT_TABLE_STATE);
  weft_dbkey part;
  weft__state_row_key(&part, 0, WEFT_STATE_PART);
  weft__dbkey_add_u32(&part, 0);
  store_put(f, WEFT_TABLE_STATE, weft__dbkey_view(&part), &segments.at[0].value);
  assert_int_equal(damage_found(r), WEFT_ECORRUPT);
  assert_int_equal(weft_replica_repair(r, NULL, NULL, &report), WEFT_OK);
  assert_int_equal(test_set(r, "v/0", "/new", "1"), WEFT_OK);
  assert_clean(r);
  for (size_t t = 0; t < sizeof truth / sizeof *truth; t++) {
    table_copy copy = copy_table(f, truth[t]);
    if (copy.count == 0) continue;
    const weft_entry *e = &copy.at[copy.count - 1];
    store_put(f, truth[t], e->key, NULL);
    assert_int_equal(damage_found(r), WEFT_ECORRUPT);
    if (truth[t] == WEFT_TABLE_ARRIVAL) {
      uint64_t arrival = weft_replica_arrival(r);
      assert_int_equal(weft_replica_repair(r, NULL, NULL, &report), WEFT_OK);
      assert_true(weft_replica_arrival(r) > arrival);
      assert_clean(r);
      continue;
    }
    assert_int_equal(weft_replica_repair(r, NULL, NULL, &report), WEFT_ECORRUPT);
    assert_true(report.bad > 0);
    store_put(f, truth[t], e->key, &e->value);
    uint8_t key[64];
    memcpy(key, e->key.at, e->key.len);
    key[0] ^= 0x40;
    weft_bytes other = weft_bytes_of(key, e->key.len);
    store_put(f, truth[t], other, &e->value);
    assert_int_equal(damage_found(r), WEFT_ECORRUPT);
    store_put(f, truth[t], other, NULL);
  }
  assert_clean(r);
  weft_replica_free(r);
}

/* One flipped byte in each value, healed. */
static void test_heal(void **state) {
  test_bed *f = *state;
  weft_replica *r = make(f, 60);
  weft_verify_report report;
  weft_digest digest = weft_replica_digest(r);
  test_rng rng = test_rng_of(5);
  for (size_t t = 0; t < sizeof derived / sizeof *derived; t++) {
    size_t count = copy_table(f, derived[t]).count;
    for (size_t i = 0; i < count && i < 25; i++) {
      weft__arena_reset(&f->arena);
      table_copy copy = copy_table(f, derived[t]);
      const weft_entry *e = &copy.at[i];
      uint8_t *bytes = malloc(e->value.len);
      memcpy(bytes, e->value.at, e->value.len);
      bytes[test_rng_below(&rng, e->value.len)] ^= (uint8_t)(1 + test_rng_below(&rng, 255));
      weft_bytes value = weft_bytes_of(bytes, e->value.len);
      store_put(f, derived[t], e->key, &value);
      free(bytes);
      assert_int_equal(damage_found(r), WEFT_ECORRUPT);
      assert_int_equal(weft_replica_repair(r, NULL, NULL, &report), WEFT_OK);
      assert_clean(r);
    }
  }
  weft_digest now = weft_replica_digest(r);
  assert_true(digest.high == now.high && digest.low == now.low);
  weft_replica_free(r);
}

/* --- damage that says of itself that it is none --- */

static void assert_first(weft_replica *r, const char *want) {
  weft_verify_report report;
  assert_int_equal(weft_replica_verify(r, NULL, NULL, &report), WEFT_ECORRUPT);
  if (!strstr(report.first, want)) print_message("%s\n", report.first);
  assert_non_null(strstr(report.first, want));
}

/* Changes a byte of a sealed row and seals it again. */
static void reseal(test_bed *f, weft_replica *r, weft_table table, const weft_entry *e, size_t at) {
  weft_buf b;
  weft__buf_init(&b, &f->mem, SIZE_MAX);
  weft__buf_put(&b, weft_bytes_of(e->value.at, e->value.len - WEFT_ROW_CHECK_LEN));
  b.at[at] ^= 2;
  weft__row_seal(r, &b);
  weft_bytes value = weft__buf_view(&b);
  store_put(f, table, e->key, &value);
  weft__buf_free(&b);
}

static void test_sealed_rows(void **state) {
  size_t step = test_under_valgrind() ? 20 : 1;
  test_bed *f = *state;
  weft_replica *r = make(f, 30);
  static const weft_table sealed[] = {WEFT_TABLE_TAIL, WEFT_TABLE_LOGS, WEFT_TABLE_RECORD};
  for (size_t t = 0; t < sizeof sealed / sizeof *sealed; t++) {
    table_copy copy = copy_table(f, sealed[t]);
    for (size_t i = 0; i < copy.count; i++) {
      const weft_entry *e = &copy.at[i];
      for (size_t at = 0; at + WEFT_ROW_CHECK_LEN < e->value.len; at += step) {
        reseal(f, r, sealed[t], e, at);
        weft_err err = damage_found(r);
        if (err != WEFT_ECORRUPT) print_message("%zu of %zu: %zu\n", i, t, at);
        assert_int_equal(err, WEFT_ECORRUPT);
        store_put(f, sealed[t], e->key, &e->value);
      }
    }
  }
  table_copy tail = copy_table(f, WEFT_TABLE_TAIL);
  reseal(f, r, WEFT_TABLE_TAIL, &tail.at[3], 0);
  assert_first(r, "judged wrongly");
  store_put(f, WEFT_TABLE_TAIL, tail.at[3].key, &tail.at[3].value);
  reseal(f, r, WEFT_TABLE_TAIL, &tail.at[3], 40);
  assert_first(r, "a signature is not valid");
  store_put(f, WEFT_TABLE_TAIL, tail.at[3].key, &tail.at[3].value);
  table_copy records = copy_table(f, WEFT_TABLE_RECORD);
  const weft_entry *last = &records.at[records.count - 1];
  reseal(f, r, WEFT_TABLE_RECORD, last, last->value.len - WEFT_ROW_CHECK_LEN - 1);
  assert_first(r, "a membership record is not what was signed");
  store_put(f, WEFT_TABLE_RECORD, last->key, &last->value);
  assert_clean(r);
  weft_replica_free(r);
}

/* Writes totals that say something else. */
static void put_totals(test_bed *f, weft_replica *r, weft_totals totals) {
  weft_txn *txn;
  weft_totals kept = r->now;
  r->now = totals;
  assert_int_equal(weft_store_begin(f->inner, WEFT_TXN_WRITE, &txn), WEFT_OK);
  assert_int_equal(weft__meta_put(r, txn), WEFT_OK);
  assert_int_equal(weft_txn_commit(txn), WEFT_OK);
  r->now = kept;
}

static void test_totals(void **state) {
  test_bed *f = *state;
  weft_replica *r = make(f, 30);
  weft_verify_report report;
  for (unsigned i = 0; i < 9; i++) {
    weft_totals t = r->now;
    if (i == 0) t.doc_next = 0;
    if (i == 1) t.arrival++;
    if (i == 2) t.shown++;
    if (i == 3) t.held++;
    if (i == 4) t.digest.high ^= 1;
    if (i == 5) t.digest.low ^= 1;
    if (i == 6) t.docs_live++;
    if (i == 7) t.docs_deleted++;
    if (i == 8) t.conflicts++;
    put_totals(f, r, t);
    assert_int_equal(damage_found(r), WEFT_ECORRUPT);
    if (i < 4 && i > 1) {
      put_totals(f, r, r->now);
      continue;
    }
    assert_int_equal(weft_replica_repair(r, NULL, NULL, &report), WEFT_OK);
    assert_clean(r);
  }
  put_totals(f, r, r->now);
  weft_replica_free(r);
}

/* Complete, without gaps, and against the causes. */
static void test_order_against_claims(void **state) {
  test_bed *f = *state;
  weft_replica *r = make(f, 60);
  weft_verify_report report;
  weft_txn *txn;
  weft_key_range all = {{NULL, 0}, {NULL, 0}};
  uint64_t count;
  uint64_t shown = 0;
  assert_int_equal(weft_store_begin(f->inner, WEFT_TXN_WRITE, &txn), WEFT_OK);
  assert_int_equal(weft_txn_delete_range(txn, WEFT_TABLE_ORDER, all, &count), WEFT_OK);
  for (uint32_t i = 0; i < r->log_count; i++) {
    weft_log_span span = {i, 1, r->logs[i]->shown};
    assert_int_equal(weft__span_put(txn, WEFT_TABLE_ORDER, shown + 1, &span), WEFT_OK);
    shown += span.count;
  }
  assert_int_equal(weft_txn_commit(txn), WEFT_OK);
  assert_first(r, "not accounted for: order");
  assert_int_equal(weft_replica_repair(r, NULL, NULL, &report), WEFT_OK);
  assert_clean(r);
  /* An entry of an index that leads to another document. */
  table_copy index = copy_table(f, WEFT_TABLE_INDEX);
  table_copy docid = copy_table(f, WEFT_TABLE_DOCID);
  for (size_t i = 0; i < docid.count; i++) {
    if (weft_bytes_cmp(docid.at[i].value, index.at[0].value) == 0) continue;
    store_put(f, WEFT_TABLE_INDEX, index.at[0].key, &docid.at[i].value);
    assert_first(r, "an index is not what");
  }
  assert_int_equal(weft_replica_repair(r, NULL, NULL, &report), WEFT_OK);
  assert_clean(r);
  weft_replica_free(r);
}

/* Small things that are not what they must be. */
static void test_small_damage(void **state) {
  test_bed *f = *state;
  weft_replica *r = make(f, 30);
  weft_verify_report report;
  table_copy docid = copy_table(f, WEFT_TABLE_DOCID);
  weft_bytes cut = weft_bytes_of(docid.at[0].value.at, 3);
  store_put(f, WEFT_TABLE_DOCID, docid.at[0].key, &cut);
  assert_first(r, "a document has no number");
  assert_int_equal(weft_replica_repair(r, NULL, NULL, &report), WEFT_OK);
  assert_clean(r);
  table_copy tail = copy_table(f, WEFT_TABLE_TAIL);
  const weft_entry *last = &tail.at[tail.count - 1];
  weft_buf b;
  weft__buf_init(&b, &f->mem, SIZE_MAX);
  weft__buf_u8(&b, 0);
  weft__buf_put(&b, weft_bytes_of(last->value.at + 1, 32));
  weft__buf_put(&b, weft_bytes_of(last->value.at + 97, last->value.len - 97 - WEFT_ROW_CHECK_LEN));
  weft__row_seal(r, &b);
  weft_bytes value = weft__buf_view(&b);
  store_put(f, WEFT_TABLE_TAIL, last->key, &value);
  assert_first(r, "is not signed");
  store_put(f, WEFT_TABLE_TAIL, last->key, &last->value);
  weft__buf_free(&b);
  table_copy index = copy_table(f, WEFT_TABLE_INDEX);
  for (size_t i = 0; i < index.count; i++) store_put(f, WEFT_TABLE_INDEX, index.at[i].key, NULL);
  weft_err err = WEFT_OK;
  for (char name[] = "v/0"; name[2] < '4' && err == WEFT_OK; name[2]++) {
    err = test_set(r, name, "", NULL);
    if (err == WEFT_ENOTFOUND) err = WEFT_OK;
  }
  assert_int_equal(err, WEFT_ECORRUPT);
  assert_int_equal(weft_replica_repair(r, NULL, NULL, &report), WEFT_OK);
  assert_clean(r);
  weft_replica_free(r);
}

/* What was found is told as text, however long the name that it is about: no character is cut. */
static void test_findings_are_text(void **state) {
  static const char *const letters[] = {"n", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\xa7\xb5"};
  test_bed *f = *state;
  weft_replica *r = test_bed_open(f);
  weft_verify_report report;
  char name[WEFT_NAME_LEN_MAX + 1];
  for (size_t l = 0; l < 4; l++) {
    for (size_t before = 0; before < 4; before++) {
      size_t len = (size_t)snprintf(name, sizeof name, "v/%.*s", (int)before, "wwww");
      while (len + strlen(letters[l]) < sizeof name)
        len += (size_t)snprintf(name + len, sizeof name - len, "%s", letters[l]);
      assert_int_equal(test_set(r, name, "/x", "1"), WEFT_OK);
      weft_bytes key = weft_bytes_of((uint8_t *)name, len);
      weft_bytes none = weft_bytes_of((uint8_t *)name, 3);
      store_put(f, WEFT_TABLE_DOCID, key, &none);
      assert_first(r, "a document has no number: v/");
      assert_int_equal(weft_replica_verify(r, NULL, NULL, &report), WEFT_ECORRUPT);
      size_t said = strlen(report.first);
      assert_true(weft__utf8_ok(text(report.first)));
      assert_true(said < sizeof report.first && said + 4 >= sizeof report.first - 1);
      assert_int_equal(weft_replica_repair(r, NULL, NULL, &report), WEFT_OK);
    }
  }
  assert_clean(r);
  weft_replica_free(r);
}

/* The store that verify works on: two sides in one. */
static void test_overlay(void **state) {
  test_bed *f = *state;
  weft_overlay_options o = {.mem = f->mem};
  weft_store *store;
  weft_store_size size;
  weft_txn *base, *txn;
  weft_cursor *cursor;
  weft_entry entry;
  weft_bytes value = text("value");
  uint64_t count;
  store_put(f, WEFT_TABLE_ACK, text("behind"), &value);
  store_put(f, WEFT_TABLE_CONTEST, text("behind"), &value);
  assert_int_equal(weft_store_begin(f->inner, WEFT_TXN_READ, &base), WEFT_OK);
  o.base = base;
  o.own[WEFT_TABLE_CONTEST] = true;
  assert_int_equal(weft__overlay_new(&o, &store), WEFT_OK);
  assert_int_equal(weft_store_get_size(store, &size), WEFT_OK);
  assert_int_equal(weft_store_grow(store), WEFT_OK);
  assert_int_equal(weft_store_begin(store, WEFT_TXN_WRITE, &txn), WEFT_OK);
  assert_int_equal(weft_txn_get(txn, WEFT_TABLE_ACK, text("behind"), &value), WEFT_OK);
  assert_int_equal(weft_txn_get(txn, WEFT_TABLE_CONTEST, text("behind"), &value), WEFT_ENOTFOUND);
  assert_int_equal(weft_txn_put(txn, WEFT_TABLE_ACK, text("dropped"), text("x")), WEFT_OK);
  assert_int_equal(weft_txn_get(txn, WEFT_TABLE_ACK, text("dropped"), &value), WEFT_ENOTFOUND);
  assert_int_equal(weft_txn_delete(txn, WEFT_TABLE_ACK, text("behind")), WEFT_OK);
  assert_int_equal(weft_txn_get(txn, WEFT_TABLE_ACK, text("behind"), &value), WEFT_OK);
  for (char key[] = "a"; key[0] < 'j'; key[0]++) {
    assert_int_equal(weft_txn_put(txn, WEFT_TABLE_CONTEST, text(key), text(key)), WEFT_OK);
  }
  weft_key_range part = {text("c"), text("f")};
  assert_int_equal(weft_txn_delete_range(txn, WEFT_TABLE_CONTEST, part, &count), WEFT_OK);
  assert_int_equal(count, 3);
  assert_int_equal(weft_cursor_open(txn, WEFT_TABLE_CONTEST, &cursor), WEFT_OK);
  assert_int_equal(weft_cursor_seek(cursor, text("c"), &entry), WEFT_OK);
  assert_int_equal(entry.key.at[0], 'f');
  assert_int_equal(weft_cursor_prev(cursor, &entry), WEFT_OK);
  assert_int_equal(entry.key.at[0], 'b');
  weft_cursor_close(cursor);
  assert_int_equal(weft_txn_commit(txn), WEFT_OK);
  assert_int_equal(weft_store_begin(store, WEFT_TXN_WRITE, &txn), WEFT_OK);
  weft_key_range all = {{NULL, 0}, {NULL, 0}};
  assert_int_equal(weft_txn_delete_range(txn, WEFT_TABLE_CONTEST, all, &count), WEFT_OK);
  assert_int_equal(weft_txn_count(txn, WEFT_TABLE_CONTEST, &count), WEFT_OK);
  assert_int_equal(count, 0);
  weft_txn_abort(txn);
  assert_int_equal(weft_store_begin(store, WEFT_TXN_READ, &txn), WEFT_OK);
  assert_int_equal(weft_txn_count(txn, WEFT_TABLE_CONTEST, &count), WEFT_OK);
  assert_int_equal(count, 6);
  weft_txn_abort(txn);
  weft_store_free(store);
  weft_txn_abort(base);
}

/* A stored chunk with a change that was judged otherwise, and with one that lies elsewhere. */
static void test_chunks(void **state) {
  test_bed *f = *state;
  weft_replica *r = test_bed_open(f);
  assert_int_equal(weft_group_begin(r), WEFT_OK);
  for (unsigned i = 0; i < 1500; i++) {
    assert_int_equal(test_set(r, "v/a", "/n", i % 2 ? "1" : "2"), WEFT_OK);
  }
  assert_int_equal(weft_group_end(r), WEFT_OK);
  table_copy log = copy_table(f, WEFT_TABLE_LOG);
  assert_true(log.count > 0);
  weft_bytes was = log.at[0].value;
  weft_rd rd = weft__rd(was);
  weft_buf b;
  weft__buf_init(&b, &f->mem, SIZE_MAX);
  weft__buf_u8(&b, weft__rd_u8(&rd));
  weft__buf_varint(&b, weft__rd_varint(&rd));
  assert_int_equal(weft__rd_varint(&rd), 0);
  weft__buf_varint(&b, 1);
  weft__buf_varint(&b, 700);
  weft__buf_u8(&b, WEFT_CHANGE_INVALID);
  size_t chunk_at = was.len - weft__rd_left(&rd);
  weft__buf_put(&b, weft__rd_take(&rd, weft__rd_left(&rd) - WEFT_ROW_CHECK_LEN));
  weft__row_seal(r, &b);
  weft_bytes value = weft__buf_view(&b);
  store_put(f, WEFT_TABLE_LOG, log.at[0].key, &value);
  assert_first(r, "judged wrongly");
  store_put(f, WEFT_TABLE_LOG, log.at[0].key, &was);
  for (size_t at = 0; at < was.len; at += 1 + was.len / 300) {
    uint8_t *copy = malloc(was.len);
    memcpy(copy, was.at, was.len);
    copy[at] ^= 1;
    value = weft_bytes_of(copy, was.len);
    store_put(f, WEFT_TABLE_LOG, log.at[0].key, &value);
    assert_int_equal(damage_found(r), WEFT_ECORRUPT);
    free(copy);
  }
  /* Form, runs, log, first seq and a count of two bytes stand before id and signature. */
  const size_t prev_at = chunk_at + 2 + 32 + 1 + 2;
  for (unsigned i = 0; i < 2; i++) {
    reseal(f, r, WEFT_TABLE_LOG, &log.at[0], prev_at + 32 * i);
    assert_int_equal(damage_found(r), WEFT_ECORRUPT);
  }
  store_put(f, WEFT_TABLE_LOG, log.at[0].key, &was);
  assert_clean(r);
  weft__buf_free(&b);
  weft_replica_free(r);
}

/* A history longer than a record keeps: its rows stand behind the record, and each byte of them
 * counts. */
static void test_long_history(void **state) {
  enum { CHANGES = 300 };
  test_bed *f = *state;
  weft_replica *r = make(f, 10);
  char value[16];
  for (unsigned i = 0; i < CHANGES; i++) {
    snprintf(value, sizeof value, "%u", i);
    assert_int_equal(test_set(r, "v/long", "/n", value), WEFT_OK);
  }
  assert_clean(r);
  weft_history_query q;
  weft_history_entry *entries;
  size_t count;
  weft_bytes next;
  weft_arena arena;
  weft__arena_init(&arena, &f->mem);
  weft_history_query_init(&q);
  q.doc = text("v/long");
  q.limit = 2 * CHANGES;
  assert_int_equal(weft_replica_history(r, &arena, &q, &entries, &count, &next), WEFT_OK);
  assert_int_equal(count, CHANGES);
  table_copy rows = copy_table(f, WEFT_TABLE_STATE);
  size_t found = 0;
  for (size_t i = 0; i < rows.count; i++) {
    weft_dbkey key;
    weft_rd rd = weft__rd(rows.at[i].key);
    uint32_t number = weft__rd_u32(&rd);
    weft_bytes prefix = weft__state_row_key(&key, number, WEFT_STATE_HISTORY);
    if (!weft__key_has_prefix(rows.at[i].key, prefix)) continue;
    found++;
    for (size_t at = 0; at < rows.at[i].value.len; at += 37) {
      assert_damage(f, r, WEFT_TABLE_STATE, &rows.at[i], at);
    }
  }
  assert_true(found >= 2);
  assert_clean(r);
  weft__arena_free(&arena);
  weft_replica_free(r);
}

/* --- faults --- */

/* The k-th commit fails, with nothing or all of it written; then the device starts again. */
static void test_repair_cut_short(void **state) {
  test_bed *f = *state;
  weft_replica *r = make(f, 40);
  weft_verify_report report;
  weft_digest digest = weft_replica_digest(r);
  bool cut = true;
  for (uint64_t k = 1; cut; k++) {
    for (unsigned late = 0; late < 2; late++) {
      table_copy copy = copy_table(f, WEFT_TABLE_DOCID);
      store_put(f, WEFT_TABLE_DOCID, copy.at[0].key, &copy.at[1].value);
      f->faults = (test_fault_store){.fail_commit_at = k, .err = WEFT_EIO, .late = late};
      weft_err err = weft_replica_repair(r, NULL, NULL, &report);
      cut = err != WEFT_OK;
      f->faults = (test_fault_store){0};
      weft_replica_free(r);
      r = test_bed_open(f);
      if (cut) assert_int_equal(err, WEFT_EIO);
      if (late && cut) {
        test_show_all(r);
      } else {
        assert_int_equal(weft_replica_repair(r, NULL, NULL, &report), WEFT_OK);
      }
      assert_clean(r);
      weft_digest now = weft_replica_digest(r);
      assert_true(digest.high == now.high && digest.low == now.low);
    }
  }
  weft_replica_free(r);
}

typedef weft_err (*call_fn)(test_bed *f, weft_replica *r);

static weft_err call_verify(test_bed *f, weft_replica *r) {
  weft_verify_report report;
  (void)f;
  return weft_replica_verify(r, NULL, NULL, &report);
}

static weft_err call_repair(test_bed *f, weft_replica *r) {
  weft_verify_report report;
  (void)f;
  return weft_replica_repair(r, NULL, NULL, &report);
}

static weft_err call_list(test_bed *f, weft_replica *r) {
  weft_arena arena;
  weft_list list;
  weft_query q;
  weft_where w = {.pointer = text("/b"), .op = WEFT_WHERE_NE, .value = {.kind = WEFT_NULL}};
  weft__arena_init(&arena, &r->mem);
  weft_query_init(&q);
  q.where = &w;
  q.where_count = 1;
  q.limit = 1;
  (void)f;
  weft_err err = weft_replica_list(r, &arena, &q, &list);
  q.cursor = list.next;
  q.sort = text("@by");
  weft_list again;
  if (err == WEFT_OK && weft_replica_list(r, &arena, &q, &again) == WEFT_ENOMEM) err = WEFT_ENOMEM;
  q.cursor = text("");
  q.collection = text("v");
  q.sort = text("/a");
  if (err == WEFT_OK) err = weft_replica_list(r, &arena, &q, &list);
  weft__arena_free(&arena);
  return err;
}

static weft_err call_history(test_bed *f, weft_replica *r) {
  weft_arena arena;
  weft_history_query q;
  weft_history_entry *list, one;
  weft_change_state found;
  weft_bytes next;
  weft_vector v;
  weft_value value;
  size_t count;
  (void)f;
  weft__arena_init(&arena, &r->mem);
  weft__vector_init(&v, &r->mem);
  weft_history_query_init(&q);
  q.limit = 5;
  weft_err err = weft_replica_history(r, &arena, &q, &list, &count, &next);
  q.doc = text("v/1");
  q.pointer = text("/a/b/c");
  q.has_pointer = true;
  weft_id id = {{0}};
  if (err == WEFT_OK) id = list[0].change;
  if (err == WEFT_OK) err = weft_replica_history(r, &arena, &q, &list, &count, &next);
  if (err == WEFT_OK) {
    err = weft_replica_change(r, &arena, weft_bytes_of(id.b, 32), &one, &found);
  }
  if (err == WEFT_OK) err = weft_replica_vector_at_change(r, &id, &v);
  if (err == WEFT_OK) err = weft_replica_get_at(r, &arena, q.doc, text(""), &v, &value);
  if (err == WEFT_ENOTFOUND) err = WEFT_OK;
  if (err == WEFT_OK) err = weft_replica_vector_at_time(r, WEFT_NEVER, &v);
  weft__vector_free(&v);
  weft__arena_free(&arena);
  return err;
}

static weft_err call_conflicts(test_bed *f, weft_replica *r) {
  weft_arena arena;
  weft_conflict_entry *list;
  size_t count;
  (void)f;
  weft__arena_init(&arena, &r->mem);
  weft_err err = weft_replica_conflicts(r, &arena, text(""), 0, &list, &count);
  assert_true(err != WEFT_OK || count > 0);
  weft__arena_free(&arena);
  return err;
}

static weft_err call_index(test_bed *f, weft_replica *r) {
  (void)f;
  weft_err err = weft_replica_declare_index(r, text("v"), text("/b"));
  return err == WEFT_OK ? weft_replica_drop_index(r, text("v"), text("/b")) : err;
}

static void drop_again(weft_replica *r) {
  weft_err err = weft_replica_drop_index(r, text("v"), text("/b"));
  assert_true(err == WEFT_OK || err == WEFT_ENOTFOUND);
}

/* Every k-th allocation fails, then every k-th call of the store. */
static void test_faults(void **state) {
  static const call_fn calls[] = {call_verify,  call_repair,    call_list,
                                  call_history, call_conflicts, call_index};
  test_bed *f = *state;
  weft_replica *r = make(f, 30);
  for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
    weft_err err = WEFT_ENOMEM;
    size_t step = 1;
    for (size_t k = 1; err == WEFT_ENOMEM; k += step) {
      step = 1 + k / 40;
      f->allocs.fail_at = f->allocs.calls + k;
      err = calls[c](f, r);
      f->allocs.fail_at = 0;
      if (err == WEFT_EEXIST) err = weft_replica_drop_index(r, text("v"), text("/b"));
      assert_true(err == WEFT_OK || err == WEFT_ENOMEM);
      if (calls[c] == call_index) drop_again(r);
    }
    assert_int_equal(calls[c](f, r), WEFT_OK);
    assert_clean(r);
    weft_replica_free(r);
    assert_int_equal(f->allocs.live, 0);
    r = test_bed_open(f);
    err = WEFT_EIO;
    for (uint64_t k = 1; err == WEFT_EIO; k += step) {
      step = 1 + (size_t)k / 40;
      f->faults = (test_fault_store){.fail_at = k, .err = WEFT_EIO};
      err = calls[c](f, r);
      f->faults = (test_fault_store){0};
      assert_true(err == WEFT_OK || err == WEFT_EIO);
      weft_replica_free(r);
      r = test_bed_open(f);
      test_show_all(r);
      if (calls[c] == call_index) drop_again(r);
    }
    assert_clean(r);
  }
  weft_replica_free(r);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_clean, test_bed_memory, test_bed_end),
    cmocka_unit_test_setup_teardown(test_clean, test_bed_lmdb, test_bed_end),
    cmocka_unit_test_setup_teardown(test_backlog, test_bed_memory, test_bed_end),
    cmocka_unit_test_setup_teardown(test_backlog, test_bed_lmdb, test_bed_end),
    cmocka_unit_test_setup_teardown(test_every_byte, test_bed_memory, test_bed_end),
    cmocka_unit_test_setup_teardown(test_entries, test_bed_memory, test_bed_end),
    cmocka_unit_test_setup_teardown(test_entries, test_bed_lmdb, test_bed_end),
    cmocka_unit_test_setup_teardown(test_sealed_rows, test_bed_memory, test_bed_end),
    cmocka_unit_test_setup_teardown(test_totals, test_bed_lmdb, test_bed_end),
    cmocka_unit_test_setup_teardown(test_order_against_claims, test_bed_memory, test_bed_end),
    cmocka_unit_test_setup_teardown(test_chunks, test_bed_lmdb, test_bed_end),
    cmocka_unit_test_setup_teardown(test_small_damage, test_bed_memory, test_bed_end),
    cmocka_unit_test_setup_teardown(test_findings_are_text, test_bed_memory, test_bed_end),
    cmocka_unit_test_setup_teardown(test_overlay, test_bed_lmdb, test_bed_end),
    cmocka_unit_test_setup_teardown(test_long_history, test_bed_memory, test_bed_end),
    cmocka_unit_test_setup_teardown(test_heal, test_bed_memory, test_bed_end),
    cmocka_unit_test_setup_teardown(test_heal, test_bed_lmdb, test_bed_end),
    cmocka_unit_test_setup_teardown(test_repair_cut_short, test_bed_memory, test_bed_end),
    cmocka_unit_test_setup_teardown(test_repair_cut_short, test_bed_lmdb, test_bed_end),
    cmocka_unit_test_setup_teardown(test_faults, test_bed_memory, test_bed_end),
};

int main(void) { return cmocka_run_group_tests(tests, NULL, NULL); }

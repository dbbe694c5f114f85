/* Everything a replica keeps incrementally, counted again. */
#include "tests/support/recount.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "store/replica_internal.h"
#include "tests/support/plain_doc.h"
#include "tests/support/script.h"

typedef struct recount {
  weft_replica *r;
  weft_txn *txn;
  uint64_t seed;
  weft_arena arena;
  weft_buf is;
  weft_buf want;
  weft_digest digest;
  uint64_t live, deleted, conflicts;
} recount;

static void count_digest(recount *c, const weft_doc *doc, weft_bytes name) {
  weft_replica *r = c->r;
  const weft_register *reg = weft__doc_seek(doc, weft_bytes_of(NULL, 0));
  for (; reg; reg = weft__doc_next(doc, reg)) {
    for (size_t i = 0; i < reg->value_count + reg->position_count; i++) {
      const weft_sibling *s =
          i < reg->value_count ? &reg->values[i] : &reg->positions[i - reg->value_count];
      weft_digest term;
      assert_int_equal(weft__digest_term(r->crypto, &r->state_env.seal.key, &c->is, name, reg->path,
                                         &weft__log_of(r, s->dot.log)->id, s, &term),
                       WEFT_OK);
      weft__digest_add(&c->digest, term);
    }
  }
}

/* The history of a document gives its metadata. */
static void count_history(recount *c, const weft_doc_record *record) {
  weft_hist_reader reader;
  weft_hist_entry hist;
  uint64_t versions = 0;
  uint64_t created = UINT64_MAX;
  uint64_t modified = 0;
  uint64_t shown = 0;
  assert_int_equal(weft__hist_begin(c->txn, record, &reader), WEFT_OK);
  weft_err err = weft__hist_next(&reader, &hist);
  for (; err == WEFT_OK; err = weft__hist_next(&reader, &hist)) {
    assert_true(hist.shown > shown);
    shown = hist.shown;
    versions++;
    if (hist.hlc < created) created = hist.hlc;
    if (hist.hlc > modified) modified = hist.hlc;
  }
  assert_int_equal(err, WEFT_EDONE);
  weft__hist_end(&reader);
  assert_int_equal(record->versions, versions);
  assert_int_equal(record->created_hlc, created);
  assert_int_equal(record->modified_hlc, modified);
}

static void count_doc(recount *c, uint32_t number) {
  weft_replica *r = c->r;
  weft_doc_record record;
  weft_doc *stored, *replayed;
  weft_base all;
  weft_conflict *list;
  size_t count;
  bool live;
  static const weft_path root;
  weft__arena_reset(&c->arena);
  assert_int_equal(weft__doc_record_read(r, c->txn, number, &c->arena, &record), WEFT_OK);
  assert_int_equal(weft__doc_load(r, c->txn, number, &stored), WEFT_OK);
  assert_int_equal(weft__base_of_shown(r, c->txn, r->now.shown, &c->arena, &all), WEFT_OK);
  assert_int_equal(weft__doc_at(r, c->txn, number, &all, &replayed), WEFT_OK);
  weft__buf_reset(&c->is);
  weft__buf_reset(&c->want);
  test_doc_text(&c->is, stored);
  test_doc_text(&c->want, replayed);
  if (weft_bytes_cmp(weft__buf_view(&c->is), weft__buf_view(&c->want)) != 0) {
    print_error("seed=%llu document %.*s\n", (unsigned long long)c->seed, (int)record.name.len,
                (const char *)record.name.at);
    assert_string_equal(test_text(&c->is), test_text(&c->want));
  }
  count_digest(c, stored, record.name);
  count_history(c, &record);
  if (!record.suspect) {
    weft_path where;
    assert_true(test_doc_plain(stored));
    assert_false(test_doc_unlike(stored, &where));
  }
  assert_int_equal(weft__doc_conflicts(stored, root, &c->arena, &list, &count), WEFT_OK);
  assert_int_equal(weft__doc_visible(stored, root, &live), WEFT_OK);
  if (record.conflicts != count || record.live != live) {
    print_error("seed=%llu document %.*s: %llu conflicts, should be %zu\n%s\n",
                (unsigned long long)c->seed, (int)record.name.len, (const char *)record.name.at,
                (unsigned long long)record.conflicts, count, test_text(&c->is));
  }
  assert_int_equal(record.conflicts, count);
  assert_int_equal(record.live, live);
  c->conflicts += count;
  c->live += live;
  c->deleted += !live;
  weft__doc_free(stored);
  weft__doc_free(replayed);
}

static void count_log(recount *c, weft_log *log) {
  weft_replica *r = c->r;
  weft_log_context ctx = {0};
  weft_id prev;
  weft_arena numbers;
  weft__arena_init(&numbers, &r->mem);
  weft__log_root(r->crypto, &log->id, &prev);
  for (uint64_t seq = 1; seq <= log->held; seq++) {
    weft_log_item item;
    weft_change change;
    weft_id id;
    weft__arena_reset(&c->arena);
    assert_int_equal(weft__log_read(r, c->txn, log, seq, &c->arena, &item), WEFT_OK);
    weft__change_id(r->crypto, &r->space, &prev, item.raw, &id);
    assert_int_equal(weft_id_cmp(&id, &item.id), 0);
    prev = id;
    assert_int_equal(weft__change_parse(&c->arena, item.raw, &change), WEFT_OK);
    weft__change_judge(&ctx, &change);
    assert_int_equal(change.state, item.state);
    assert_int_equal(weft__log_context_advance(&ctx, &numbers, &change), WEFT_OK);
    if (!item.is_signed) continue;
    assert_true(
        weft__change_sig_ok(r->crypto, &log->device, &r->space, &log->id, seq, &id, &item.sig));
  }
  assert_int_equal(weft_id_cmp(&prev, &log->head), 0);
  assert_int_equal(ctx.hlc, log->ctx.hlc);
  weft__arena_free(&numbers);
}

void test_recount(weft_replica *r, uint64_t seed) {
  recount c = {.r = r, .seed = seed};
  weft__arena_init(&c.arena, &r->mem);
  weft__buf_init(&c.is, &r->mem, SIZE_MAX);
  weft__buf_init(&c.want, &r->mem, SIZE_MAX);
  assert_int_equal(weft__read_begin(r, &c.txn), WEFT_OK);
  for (uint32_t i = 0; i < r->now.doc_next; i++) count_doc(&c, i);
  uint64_t held = 0;
  uint64_t shown = 0;
  for (uint32_t i = 0; i < r->log_count; i++) {
    count_log(&c, r->logs[i]);
    held += r->logs[i]->held - r->logs[i]->fork + 1;
    shown += r->logs[i]->shown - r->logs[i]->fork + 1;
  }
  weft__read_end(r, c.txn);
  bool same = c.digest.high == r->now.digest.high && c.digest.low == r->now.digest.low;
  if (!same) print_error("seed=%llu: the digest is wrong\n", (unsigned long long)seed);
  assert_true(same);
  assert_int_equal(c.live, r->now.docs_live);
  assert_int_equal(c.deleted, r->now.docs_deleted);
  assert_int_equal(c.conflicts, r->now.conflicts);
  assert_int_equal(held, r->now.held);
  assert_int_equal(shown, r->now.shown);
  weft__arena_free(&c.arena);
  weft__buf_free(&c.is);
  weft__buf_free(&c.want);
}

/* Segments and the state made of them: round trips, damage, splitting and joining. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/limits.h"
#include "crdt/view.h"
#include "store/memory_store.h"
#include "store/state.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/gen.h"
#include "tests/support/pace.h"
#include "tests/support/script.h"
#include "tests/support/space.h"

enum { LOGS = 5 };

typedef struct fixture {
  weft_arena arena;
  weft_segment_seal seal;
  weft_state_env env;
  test_branches branches;
  weft_lineage lineage;
  weft_store *store;
} fixture;

static const weft_id *log_id(const void *ctx, uint32_t log) {
  static const weft_id ids[LOGS] = {{{1}}, {{2}}, {{3}}, {{4}}, {{5}}};
  (void)ctx;
  return log < LOGS ? &ids[log] : NULL;
}

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  weft_alloc mem = weft_alloc_libc();
  weft__arena_init(&f->arena, &mem);
  f->seal.crypto = weft_crypto_sodium();
  memset(f->seal.key.b, 0x5a, sizeof f->seal.key.b);
  f->env = (weft_state_env){f->seal, mem, NULL, log_id};
  f->branches = test_branches_of(LOGS);
  f->lineage = test_lineage_of(&f->branches);
  f->store = test_memory_store();
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  weft_store_free(f->store);
  weft__arena_free(&f->arena);
  free(f);
  return 0;
}

/* --- generated registers --- */

static void gen_sibling(test_rng *rng, weft_arena *arena, bool position, weft_sibling *s) {
  static const weft_op_kind kinds[] = {WEFT_OP_SCALAR,       WEFT_OP_UNSET,
                                       WEFT_OP_MARK_OBJECT,  WEFT_OP_MARK_ARRAY,
                                       WEFT_OP_FRESH_OBJECT, WEFT_OP_FRESH_ARRAY};
  memset(s, 0, sizeof *s);
  s->dot.log = (uint32_t)test_rng_below(rng, LOGS);
  s->dot.seq = 1 + test_rng_below(rng, test_rng_chance(rng, 10) ? UINT64_MAX - 1 : 20);
  s->hlc = test_rng_chance(rng, 10) ? test_rng_next(rng) : 1750000000000u * 65536 + s->dot.seq;
  s->kind = position ? WEFT_OP_POSITION : kinds[test_rng_below(rng, 6)];
  if (position || s->kind == WEFT_OP_SCALAR) {
    size_t len = 1 + test_rng_below(rng, test_rng_chance(rng, 5) ? 3000 : 20);
    uint8_t *bytes = weft__arena_take(arena, len);
    test_rng_fill(rng, bytes, len);
    s->value = weft_bytes_of(bytes, len);
  }
  bool hides = s->kind == WEFT_OP_SCALAR || s->kind == WEFT_OP_UNSET;
  if (!hides || !test_rng_chance(rng, 20)) return;
  s->claim_count = 1 + test_rng_below(rng, 4);
  weft_dot *claims = weft__arena_zero(arena, s->claim_count, sizeof *claims);
  for (size_t i = 0; i < s->claim_count; i++) {
    claims[i] = (weft_dot){(uint32_t)i, 1 + test_rng_below(rng, 1000)};
  }
  s->claims = claims;
}

static void gen_register(test_rng *rng, weft_arena *arena, weft_path path, weft_register *reg) {
  memset(reg, 0, sizeof *reg);
  reg->path = path;
  reg->value_count = test_rng_chance(rng, 85) ? 1 : test_rng_below(rng, 4);
  reg->position_count = test_rng_chance(rng, 80) ? 0 : test_rng_below(rng, 3);
  if (reg->value_count + reg->position_count == 0) reg->value_count = 1;
  reg->values = weft__arena_zero(arena, reg->value_count, sizeof *reg->values);
  reg->positions = weft__arena_zero(arena, reg->position_count, sizeof *reg->positions);
  for (size_t i = 0; i < reg->value_count; i++) gen_sibling(rng, arena, false, &reg->values[i]);
  for (size_t i = 0; i < reg->position_count; i++) {
    gen_sibling(rng, arena, true, &reg->positions[i]);
  }
}

static int path_order(const void *a, const void *b) {
  return weft_bytes_cmp((*(const weft_register *const *)a)->path,
                        (*(const weft_register *const *)b)->path);
}

/* Up to `count` registers, ascending, no path twice. */
static size_t gen_registers(test_rng *rng, weft_arena *arena, size_t count,
                            const weft_register **out) {
  size_t n = 0;
  for (size_t i = 0; i < count; i++) {
    weft_register *reg = weft__arena_zero(arena, 1, sizeof *reg);
    gen_register(rng, arena, test_gen_path(rng, arena, 6), reg);
    out[n++] = reg;
  }
  qsort(out, n, sizeof *out, path_order);
  size_t kept = 0;
  for (size_t i = 0; i < n; i++) {
    if (kept > 0 && weft_bytes_cmp(out[kept - 1]->path, out[i]->path) == 0) continue;
    out[kept++] = out[i];
  }
  return kept;
}

/* A path of keys alone. */
static weft_path gen_keys(test_rng *rng, weft_arena *arena) {
  weft_path path;
  weft_step step;
  size_t at;
  bool keys;
  do {
    path = test_gen_path(rng, arena, 3);
    keys = true;
    at = 0;
    while (weft_path_next(path, &at, &step)) keys = keys && !step.element;
  } while (!keys);
  return path;
}

static void assert_bytes(weft_bytes a, weft_bytes b) { assert_int_equal(weft_bytes_cmp(a, b), 0); }

static void assert_siblings(const weft_sibling *a, const weft_sibling *b, size_t count) {
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(a[i].dot.log, b[i].dot.log);
    assert_int_equal(a[i].dot.seq, b[i].dot.seq);
    assert_int_equal(a[i].hlc, b[i].hlc);
    assert_int_equal(a[i].kind, b[i].kind);
    assert_bytes(a[i].value, b[i].value);
    assert_int_equal(a[i].claim_count, b[i].claim_count);
    for (size_t k = 0; k < a[i].claim_count; k++) {
      assert_int_equal(a[i].claims[k].log, b[i].claims[k].log);
      assert_int_equal(a[i].claims[k].seq, b[i].claims[k].seq);
    }
  }
}

static void assert_register(const weft_register *a, const weft_register *b) {
  assert_bytes(a->path, b->path);
  assert_int_equal(a->value_count, b->value_count);
  assert_int_equal(a->position_count, b->position_count);
  assert_siblings(a->values, b->values, a->value_count);
  assert_siblings(a->positions, b->positions, a->position_count);
}

static void test_round_trip(void **state) {
  fixture *f = *state;
  weft_alloc mem = weft_alloc_libc();
  for (uint64_t seed = 1; seed <= test_share(300, 10); seed++) {
    test_rng rng = test_rng_of(seed);
    const weft_register *regs[64];
    weft_register *back;
    size_t count;
    weft_buf out;
    weft__arena_reset(&f->arena);
    size_t n = gen_registers(&rng, &f->arena, test_rng_below(&rng, 64), regs);
    weft__buf_init(&out, &mem, SIZE_MAX);
    weft_bytes key = weft_bytes_str("some key");
    assert_int_equal(weft__segment_encode(&out, &f->arena, &f->seal, key, regs, n), WEFT_OK);
    assert_int_equal(
        weft__segment_decode(&f->arena, &f->seal, key, weft__buf_view(&out), &back, &count),
        WEFT_OK);
    if (count != n) print_error("seed=%llu\n", (unsigned long long)seed);
    assert_int_equal(count, n);
    for (size_t i = 0; i < n; i++) assert_register(&back[i], regs[i]);
    weft__buf_free(&out);
  }
}

static void test_every_flip(void **state) {
  fixture *f = *state;
  weft_alloc mem = weft_alloc_libc();
  test_rng rng = test_rng_of(7);
  const weft_register *regs[12];
  weft_buf out;
  weft_register *back;
  size_t count;
  weft_bytes key = weft_bytes_str("key");
  size_t n = gen_registers(&rng, &f->arena, 12, regs);
  weft__buf_init(&out, &mem, SIZE_MAX);
  assert_int_equal(weft__segment_encode(&out, &f->arena, &f->seal, key, regs, n), WEFT_OK);
  weft_bytes all = weft__buf_view(&out);
  for (size_t i = 0; i < out.len; i++) {
    uint8_t was = out.at[i];
    for (unsigned bit = 0; bit < 8; bit++) {
      out.at[i] = (uint8_t)(was ^ 1u << bit);
      assert_int_equal(weft__segment_decode(&f->arena, &f->seal, key, all, &back, &count),
                       WEFT_ECORRUPT);
    }
    out.at[i] = was;
  }
  for (size_t len = 0; len < out.len; len++) {
    assert_int_equal(
        weft__segment_decode(&f->arena, &f->seal, key, weft_bytes_of(out.at, len), &back, &count),
        WEFT_ECORRUPT);
  }
  assert_int_equal(
      weft__segment_decode(&f->arena, &f->seal, weft_bytes_str("kez"), all, &back, &count),
      WEFT_ECORRUPT);
  assert_int_equal(weft__segment_decode(&f->arena, &f->seal, key, all, &back, &count), WEFT_OK);
  weft__buf_free(&out);
}

/* Bytes that carry a right check but no right form, as a bug or another version would leave them:
 * never a crash, and what is accepted can be written again. */
static void test_form_is_checked(void **state) {
  fixture *f = *state;
  weft_alloc mem = weft_alloc_libc();
  weft_bytes key = weft_bytes_str("key");
  size_t refused = 0;
  for (uint64_t seed = 1; seed <= test_share(400, 10); seed++) {
    test_rng rng = test_rng_of(seed);
    const weft_register *regs[8];
    weft_register *back;
    size_t count;
    weft_buf out;
    weft__arena_reset(&f->arena);
    size_t n = gen_registers(&rng, &f->arena, 8, regs);
    weft__buf_init(&out, &mem, SIZE_MAX);
    assert_int_equal(weft__segment_encode(&out, &f->arena, &f->seal, key, regs, n), WEFT_OK);
    size_t len = out.len - WEFT_SEGMENT_CHECK_LEN;
    out.at[test_rng_below(&rng, len)] = (uint8_t)test_rng_next(&rng);
    if (test_rng_chance(&rng, 30)) len = 1 + test_rng_below(&rng, len);
    out.len = len;
    weft__buf_put(&out, key);
    uint8_t hash[16];
    f->seal.crypto->siphash128(hash, f->seal.key.b, weft__buf_view(&out));
    out.len = len;
    weft__buf_put_raw(&out, hash, WEFT_SEGMENT_CHECK_LEN);
    weft_err err =
        weft__segment_decode(&f->arena, &f->seal, key, weft__buf_view(&out), &back, &count);
    assert_true(err == WEFT_OK || err == WEFT_ECORRUPT);
    refused += err == WEFT_ECORRUPT;
    for (size_t i = 0; i < 4; i++) {
      weft_peek peek;
      weft_bytes scalar = {NULL, 0};
      weft_path path = gen_keys(&rng, &f->arena);
      err =
          weft__segment_peek(&f->arena, &f->seal, key, weft__buf_view(&out), path, &peek, &scalar);
      assert_true(err == WEFT_OK || err == WEFT_ECORRUPT);
      if (err != WEFT_OK || peek != WEFT_PEEK_SCALAR) continue;
      assert_true(scalar.at >= out.at && scalar.at + scalar.len <= out.at + len);
    }
    weft__buf_free(&out);
  }
  assert_true(refused > test_share(100, 10));
}

/* --- looking one place up --- */

static const weft_register *find(const weft_register *const *regs, size_t count, weft_path path) {
  for (size_t i = 0; i < count; i++) {
    if (weft_bytes_cmp(regs[i]->path, path) == 0) return regs[i];
  }
  return NULL;
}

/* Whether some register proves that the one after `need` bytes of `path` is not in the segment. */
static bool passed(const weft_register *const *regs, size_t count, weft_path path, size_t need) {
  for (size_t i = 0; i < count; i++) {
    weft_path p = regs[i]->path;
    bool on = p.len <= path.len && weft_bytes_cmp(p, weft_bytes_of(path.at, p.len)) == 0;
    if (on ? p.len > need : weft_bytes_cmp(p, path) > 0) return true;
  }
  return false;
}

/* What plain registers say of a path of keys, by looking each place on the way up. */
static weft_peek peek_expected(const weft_register *const *regs, size_t count, weft_path path,
                               const weft_sibling **value) {
  size_t at = 0;
  weft_step step;
  for (size_t need = 0;; need = at) {
    const weft_register *reg = find(regs, count, weft_bytes_of(path.at, need));
    if (!reg) return passed(regs, count, path, need) ? WEFT_PEEK_NOTHING : WEFT_PEEK_UNSURE;
    weft_shape shape = weft__register_shape(reg);
    *value = reg->values;
    if (shape == WEFT_SHAPE_NONE) return WEFT_PEEK_NOTHING;
    bool more = weft_path_next(path, &at, &step);
    if (shape == WEFT_SHAPE_SCALAR) return more ? WEFT_PEEK_NOTHING : WEFT_PEEK_SCALAR;
    if (!more || shape == WEFT_SHAPE_ARRAY) return WEFT_PEEK_UNSURE;
  }
}

static void test_peek_is_what_registers_say(void **state) {
  fixture *f = *state;
  size_t seen[3] = {0};
  for (uint64_t seed = 1; seed <= 600; seed++) {
    test_rng rng = test_rng_of(seed);
    const weft_register *regs[40];
    weft_buf b;
    weft_bytes key = weft_bytes_str("key");
    weft__arena_reset(&f->arena);
    weft__buf_init(&b, &f->env.mem, SIZE_MAX);
    size_t count = gen_registers(&rng, &f->arena, 1 + test_rng_below(&rng, 39), regs);
    for (size_t i = 0; i < count; i++) {
      weft_register *reg = weft__arena_zero(&f->arena, 1, sizeof *reg);
      *reg = *regs[i];
      if (reg->value_count > 1) reg->value_count = 1; /* plain */
      if (reg->value_count == 1 && test_rng_chance(&rng, 50)) {
        reg->values[0].kind = WEFT_OP_MARK_OBJECT;
      }
      regs[i] = reg;
    }
    assert_int_equal(weft__segment_encode(&b, &f->arena, &f->seal, key, regs, count), WEFT_OK);
    for (size_t i = 0; i < 60; i++) {
      const weft_sibling *value = NULL;
      weft_peek is;
      weft_bytes scalar;
      weft_path path = gen_keys(&rng, &f->arena);
      weft_peek want = peek_expected(regs, count, path, &value);
      assert_int_equal(
          weft__segment_peek(&f->arena, &f->seal, key, weft__buf_view(&b), path, &is, &scalar),
          WEFT_OK);
      if (is != want) fail_msg("seed=%llu: %d and not %d", (unsigned long long)seed, is, want);
      if (is == WEFT_PEEK_SCALAR) assert_bytes(scalar, value->value);
      seen[is]++;
    }
    weft__buf_free(&b);
  }
  for (size_t i = 0; i < 3; i++) assert_true(seen[i] > 1000);
}

static void test_memory_runs_out(void **state) {
  fixture *f = *state;
  weft_bytes key = weft_bytes_str("key");
  test_rng rng = test_rng_of(3);
  const weft_register *regs[20];
  size_t n = gen_registers(&rng, &f->arena, 20, regs);
  for (size_t k = 1; k < 50; k++) {
    test_fault_alloc fault = {.fail_at = k, .sticky = true};
    weft_alloc mem = test_fault_alloc_of(&fault);
    weft_arena arena;
    weft_buf out;
    weft_register *back;
    size_t count;
    weft__arena_init(&arena, &mem);
    weft__buf_init(&out, &mem, SIZE_MAX);
    weft_err err = weft__segment_encode(&out, &arena, &f->seal, key, regs, n);
    if (err == WEFT_OK) {
      err = weft__segment_decode(&arena, &f->seal, key, weft__buf_view(&out), &back, &count);
    }
    weft__buf_free(&out);
    weft__arena_free(&arena);
    assert_int_equal(fault.live, 0);
    if (err == WEFT_OK) return;
    assert_int_equal(err, WEFT_ENOMEM);
  }
  fail_msg("never enough memory");
}

/* --- the state --- */

/* A model of one document: what every register should hold. */
typedef struct model {
  weft_doc *doc;
  uint64_t seq;
} model;

static void model_text(weft_buf *out, const weft_doc *doc) {
  weft__buf_reset(out);
  test_doc_text(out, doc);
}

static void load_text(fixture *f, weft_buf *out) {
  weft_txn *txn;
  weft_state s;
  weft_doc *doc;
  weft_arena arena;
  weft_alloc mem = weft_alloc_libc();
  weft__arena_init(&arena, &mem);
  assert_int_equal(weft__doc_new(&doc, &mem, &f->lineage), WEFT_OK);
  assert_int_equal(weft_store_begin(f->store, WEFT_TXN_READ, &txn), WEFT_OK);
  assert_int_equal(weft__state_begin(&s, &f->env, txn, 7, doc, &arena), WEFT_OK);
  assert_int_equal(weft__state_need_all(&s), WEFT_OK);
  weft__state_end(&s);
  weft_txn_abort(txn);
  model_text(out, doc);
  weft__doc_free(doc);
  weft__arena_free(&arena);
}

/* A long key step, so that starts of segments meet the limit of keys. */
static weft_path long_path(test_rng *rng, weft_arena *arena) {
  weft_alloc mem = weft_alloc_libc();
  weft_buf b;
  uint8_t name[240];
  memset(name, 'x', sizeof name);
  weft__buf_init(&b, &mem, WEFT_PATH_LEN_MAX);
  for (int i = 0; i < 4; i++) {
    weft_path_push(&b, (weft_step){false, weft_bytes_of(name, i < 3 ? sizeof name : 3)});
    name[0] = (uint8_t)('a' + (i == 2 ? test_rng_below(rng, 26) : 23));
    name[1] = (uint8_t)('a' + (i == 2 ? test_rng_below(rng, 26) : 23));
  }
  weft_path path;
  assert_int_equal(weft__buf_err(&b), WEFT_OK);
  assert_int_equal(weft__arena_copy(arena, weft__buf_view(&b), &path), WEFT_OK);
  weft__buf_free(&b);
  return path;
}

static weft_op gen_op(test_rng *rng, weft_arena *arena) {
  static const weft_op_kind kinds[] = {WEFT_OP_SCALAR, WEFT_OP_UNSET, WEFT_OP_MARK_OBJECT,
                                       WEFT_OP_FRESH_OBJECT, WEFT_OP_FRESH_ARRAY};
  weft_op op = {.path = test_gen_path(rng, arena, 5)};
  if (test_rng_chance(rng, 15)) op.path = long_path(rng, arena);
  op.kind = test_rng_chance(rng, 70) ? WEFT_OP_SCALAR : kinds[test_rng_below(rng, 5)];
  if (op.path.len == 0) op.kind = WEFT_OP_MARK_OBJECT;
  if (op.kind != WEFT_OP_SCALAR) return op;
  size_t len = 1 + test_rng_below(rng, 60);
  uint8_t *bytes = weft__arena_take(arena, len);
  test_rng_fill(rng, bytes, len);
  op.value = weft_bytes_of(bytes, len);
  return op;
}

/* One batch: the same ops go to the model and, loading only what they need, to the store. */
static void state_batch(fixture *f, model *m, test_rng *rng, weft_digest *digest) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_doc *doc;
  weft_txn *txn;
  weft_state s;
  weft__arena_init(&arena, &mem);
  assert_int_equal(weft__doc_new(&doc, &mem, &f->lineage), WEFT_OK);
  assert_int_equal(weft_store_begin(f->store, WEFT_TXN_WRITE, &txn), WEFT_OK);
  assert_int_equal(weft__state_begin(&s, &f->env, txn, 7, doc, &arena), WEFT_OK);
  size_t ops = 1 + test_rng_below(rng, 30);
  weft_dot claims[LOGS];
  for (uint32_t i = 0; i < LOGS; i++) claims[i] = (weft_dot){i, m->seq};
  for (size_t i = 0; i < ops; i++) {
    weft_op op = gen_op(rng, &arena);
    m->seq++;
    size_t claim_count = test_rng_chance(rng, 80) ? LOGS : 0;
    uint32_t log = (uint32_t)test_rng_below(rng, LOGS);
    weft_shown shown = {{log, m->seq}, m->seq << 16, claims, claim_count};
    assert_int_equal(weft__state_need_above(&s, op.path), WEFT_OK);
    assert_int_equal(weft__state_need_below(&s, op.path), WEFT_OK);
    assert_int_equal(weft__doc_show(doc, &shown, &op), WEFT_OK);
    assert_int_equal(weft__doc_show(m->doc, &shown, &op), WEFT_OK);
  }
  assert_int_equal(weft__state_save(&s, weft_bytes_str("a/b"), digest), WEFT_OK);
  weft__state_end(&s);
  assert_int_equal(weft_txn_commit(txn), WEFT_OK);
  weft__doc_clean(m->doc);
  weft__doc_free(doc);
  weft__arena_free(&arena);
}

/* The digest recounted from every sibling of the model. */
static weft_digest recount(fixture *f, const weft_doc *doc) {
  weft_alloc mem = weft_alloc_libc();
  weft_buf scratch;
  weft_digest sum = {0, 0};
  weft__buf_init(&scratch, &mem, SIZE_MAX);
  const weft_register *reg = weft__doc_seek(doc, weft_bytes_of(NULL, 0));
  for (; reg; reg = weft__doc_next(doc, reg)) {
    for (size_t i = 0; i < reg->value_count + reg->position_count; i++) {
      const weft_sibling *sib =
          i < reg->value_count ? &reg->values[i] : &reg->positions[i - reg->value_count];
      weft_digest term;
      assert_int_equal(weft__digest_term(f->seal.crypto, &f->seal.key, &scratch,
                                         weft_bytes_str("a/b"), reg->path,
                                         log_id(NULL, sib->dot.log), sib, &term),
                       WEFT_OK);
      weft__digest_add(&sum, term);
    }
  }
  weft__buf_free(&scratch);
  return sum;
}

/* Every segment of the table: none beyond what splitting allows, keys ascending from the root. */
static size_t segments_check(fixture *f) {
  weft_txn *txn;
  weft_cursor *c;
  weft_entry e;
  size_t count = 0;
  assert_int_equal(weft_store_begin(f->store, WEFT_TXN_READ, &txn), WEFT_OK);
  assert_int_equal(weft_cursor_open(txn, WEFT_TABLE_STATE, &c), WEFT_OK);
  for (weft_err err = weft_cursor_first(c, &e); err == WEFT_OK; err = weft_cursor_next(c, &e)) {
    if (count++ == 0) assert_int_equal(e.key.len, 4);
  }
  weft_cursor_close(c);
  weft_txn_abort(txn);
  return count;
}

static void test_state_follows_model(void **state) {
  fixture *f = *state;
  weft_alloc mem = weft_alloc_libc();
  size_t most = 0;
  for (uint64_t seed = 1; seed <= test_share(12, 6); seed++) {
    test_rng rng = test_rng_of(seed);
    model m = {NULL, 0};
    weft_digest digest = {0, 0};
    weft_buf is, want;
    weft__buf_init(&is, &mem, SIZE_MAX);
    weft__buf_init(&want, &mem, SIZE_MAX);
    weft_store_free(f->store);
    f->store = test_memory_store();
    assert_int_equal(weft__doc_new(&m.doc, &mem, &f->lineage), WEFT_OK);
    for (int i = 0; i < 60; i++) {
      state_batch(f, &m, &rng, &digest);
      load_text(f, &is);
      model_text(&want, m.doc);
      if (weft_bytes_cmp(weft__buf_view(&is), weft__buf_view(&want)) != 0) {
        print_error("seed=%llu batch %d\n", (unsigned long long)seed, i);
        assert_string_equal(test_text(&is), test_text(&want));
      }
      weft_digest sum = recount(f, m.doc);
      assert_true(sum.high == digest.high && sum.low == digest.low);
      size_t segments = segments_check(f);
      if (segments > most) most = segments;
    }
    weft__doc_free(m.doc);
    weft__buf_free(&is);
    weft__buf_free(&want);
  }
  assert_true(most > 10);
}

/* A fresh mark at the root sweeps a large document away, and its segments with it. */
static void test_state_shrinks(void **state) {
  fixture *f = *state;
  weft_alloc mem = weft_alloc_libc();
  test_rng rng = test_rng_of(5);
  model m = {NULL, 0};
  weft_digest digest = {0, 0};
  weft_txn *txn;
  weft_state s;
  weft_doc *doc;
  assert_int_equal(weft__doc_new(&m.doc, &mem, &f->lineage), WEFT_OK);
  for (int i = 0; i < 40; i++) state_batch(f, &m, &rng, &digest);
  assert_true(segments_check(f) > 5);
  weft_dot claims[LOGS];
  for (uint32_t i = 0; i < LOGS; i++) claims[i] = (weft_dot){i, m.seq};
  weft_shown shown = {{0, m.seq + 1}, (m.seq + 1) << 16, claims, LOGS};
  weft_op op = {.kind = WEFT_OP_FRESH_OBJECT};
  assert_int_equal(weft__doc_new(&doc, &mem, &f->lineage), WEFT_OK);
  assert_int_equal(weft_store_begin(f->store, WEFT_TXN_WRITE, &txn), WEFT_OK);
  assert_int_equal(weft__state_begin(&s, &f->env, txn, 7, doc, &f->arena), WEFT_OK);
  assert_int_equal(weft__state_need_below(&s, op.path), WEFT_OK);
  assert_int_equal(weft__doc_show(doc, &shown, &op), WEFT_OK);
  assert_int_equal(weft__state_save(&s, weft_bytes_str("a/b"), &digest), WEFT_OK);
  weft__state_end(&s);
  assert_int_equal(weft_txn_commit(txn), WEFT_OK);
  assert_int_equal(segments_check(f), 1);
  weft__doc_free(doc);
  weft__doc_free(m.doc);
}

enum { LONG_LEN = 200 << 10, WRITERS = 100 };

/* So many devices write 200 KiB each at one path; or one of them settles it. */
static void write_long(fixture *f, model *m, bool settles, weft_digest *digest) {
  static const uint8_t step[] = {2, 'x'};
  static uint8_t value[LONG_LEN];
  weft_alloc mem = weft_alloc_libc();
  weft_txn *txn;
  weft_state s;
  weft_doc *doc;
  weft_dot claims[LOGS];
  weft__arena_reset(&f->arena);
  for (uint32_t i = 0; i < LOGS; i++) claims[i] = (weft_dot){i, m->seq};
  assert_int_equal(weft__doc_new(&doc, &mem, &f->lineage), WEFT_OK);
  assert_int_equal(weft_store_begin(f->store, WEFT_TXN_WRITE, &txn), WEFT_OK);
  assert_int_equal(weft__state_begin(&s, &f->env, txn, 7, doc, &f->arena), WEFT_OK);
  uint32_t writers = settles ? 1 : WRITERS;
  for (uint32_t i = 0; i < writers; i++) {
    /* Descending, so that none is earlier in its own log than another. */
    uint64_t seq = settles ? ++m->seq : m->seq - i;
    weft_shown shown = {{i % LOGS, seq}, seq << 16, claims, settles ? LOGS : 0};
    weft_op op = {.path = weft_bytes_of(step, sizeof step), .kind = WEFT_OP_SCALAR};
    memset(value, (int)i, sizeof value);
    op.value = weft_bytes_of(value, settles ? 10 : LONG_LEN);
    assert_int_equal(weft__state_need_below(&s, op.path), WEFT_OK);
    assert_int_equal(weft__doc_show(doc, &shown, &op), WEFT_OK);
    assert_int_equal(weft__doc_show(m->doc, &shown, &op), WEFT_OK);
  }
  m->seq += WRITERS;
  assert_int_equal(weft__state_save(&s, weft_bytes_str("a/b"), digest), WEFT_OK);
  weft__state_end(&s);
  assert_int_equal(weft_txn_commit(txn), WEFT_OK);
  weft__doc_clean(m->doc);
  weft__doc_free(doc);
}

static void test_segment_in_parts(void **state) {
  fixture *f = *state;
  weft_alloc mem = weft_alloc_libc();
  weft_digest digest = {0, 0};
  model m = {NULL, WRITERS};
  weft_buf is, want;
  weft__buf_init(&is, &mem, SIZE_MAX);
  weft__buf_init(&want, &mem, SIZE_MAX);
  assert_int_equal(weft__doc_new(&m.doc, &mem, &f->lineage), WEFT_OK);
  for (int round = 0; round < 4; round++) {
    write_long(f, &m, round % 2 == 1, &digest);
    load_text(f, &is);
    model_text(&want, m.doc);
    assert_int_equal(weft_bytes_cmp(weft__buf_view(&is), weft__buf_view(&want)), 0);
    weft_digest sum = recount(f, m.doc);
    assert_true(sum.high == digest.high && sum.low == digest.low);
    size_t segments = segments_check(f);
    assert_true(round % 2 ? segments == 1 : segments > 4);
  }
  weft__doc_free(m.doc);
  weft__buf_free(&is);
  weft__buf_free(&want);
}

/* Loads all of the document; what it asked memory for is counted in `faults`. */
static weft_err load_with(fixture *f, test_fault_alloc *faults) {
  weft_alloc mem = test_fault_alloc_of(faults);
  weft_alloc calm = weft_alloc_libc();
  weft_txn *txn;
  weft_state s;
  weft_doc *doc;
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  assert_int_equal(weft__doc_new(&doc, &calm, &f->lineage), WEFT_OK);
  assert_int_equal(weft_store_begin(f->store, WEFT_TXN_READ, &txn), WEFT_OK);
  weft_err err = weft__state_begin(&s, &f->env, txn, 7, doc, &arena);
  if (err == WEFT_OK) err = weft__state_need_all(&s);
  weft__state_end(&s);
  weft_txn_abort(txn);
  weft__doc_free(doc);
  weft__arena_free(&arena);
  assert_int_equal(faults->live, 0);
  return err;
}

static void row_put(fixture *f, weft_bytes key, const weft_bytes *value) {
  weft_txn *txn;
  assert_int_equal(weft_store_begin(f->store, WEFT_TXN_WRITE, &txn), WEFT_OK);
  weft_err err = value ? weft_txn_put(txn, WEFT_TABLE_STATE, key, *value)
                       : weft_txn_delete(txn, WEFT_TABLE_STATE, key);
  assert_int_equal(err, WEFT_OK);
  assert_int_equal(weft_txn_commit(txn), WEFT_OK);
}

/* Another value under a key is damage, and costs no more memory than what there is. */
static void refuses_row(fixture *f, weft_bytes key, const weft_bytes *value, size_t whole) {
  test_fault_alloc faults = {0};
  row_put(f, key, value);
  assert_int_equal(load_with(f, &faults), WEFT_ECORRUPT);
  assert_true(faults.asked < 2 * whole);
}

/* Parts that are missing, cut or too long, and a head that counts others. */
static void test_parts_are_checked(void **state) {
  enum { ROWS = 40, HEAD_LEN = 13 };
  fixture *f = *state;
  weft_alloc mem = weft_alloc_libc();
  weft_digest digest = {0, 0};
  model m = {NULL, WRITERS};
  weft_txn *txn;
  weft_cursor *cursor;
  weft_entry e, rows[ROWS];
  test_fault_alloc faults = {0};
  size_t count = 0;
  assert_int_equal(weft__doc_new(&m.doc, &mem, &f->lineage), WEFT_OK);
  write_long(f, &m, false, &digest);
  weft__doc_free(m.doc);
  assert_int_equal(weft_store_begin(f->store, WEFT_TXN_READ, &txn), WEFT_OK);
  assert_int_equal(weft_cursor_open(txn, WEFT_TABLE_STATE, &cursor), WEFT_OK);
  for (weft_err err = weft_cursor_first(cursor, &e); err == WEFT_OK;
       err = weft_cursor_next(cursor, &e), count++) {
    assert_true(count < ROWS);
    assert_int_equal(weft__arena_copy(&f->arena, e.key, &rows[count].key), WEFT_OK);
    assert_int_equal(weft__arena_copy(&f->arena, e.value, &rows[count].value), WEFT_OK);
  }
  weft_cursor_close(cursor);
  weft_txn_abort(txn);
  assert_int_equal(load_with(f, &faults), WEFT_OK);
  size_t whole = faults.asked;
  weft_bytes head = {NULL, 0};
  for (size_t i = 0; i < count; i++) {
    weft_bytes value = rows[i].value;
    if (value.len == HEAD_LEN) head = rows[i].key;
    if (value.len == HEAD_LEN) continue;
    weft_bytes shorter = weft_bytes_of(value.at, value.len - 1);
    weft_bytes none = weft_bytes_of(value.at, 0);
    refuses_row(f, rows[i].key, &shorter, whole);
    refuses_row(f, rows[i].key, &none, whole);
    refuses_row(f, rows[i].key, NULL, whole);
    row_put(f, rows[i].key, &value);
  }
  assert_true(head.len > 0 && count > 5);
  static const uint32_t parts[] = {0, 1, 4, 6, 1025, 1u << 20, 1u << 31, UINT32_MAX};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    const uint64_t least = parts[i] > 0 ? (uint64_t)(parts[i] - 1) * (4 << 20) : 0;
    const uint64_t lens[] = {0, least, least + 1, least + 16, least + (4 << 20), UINT64_MAX};
    for (size_t k = 0; k < sizeof lens / sizeof *lens; k++) {
      weft_buf b;
      weft__buf_init(&b, &mem, HEAD_LEN);
      weft__buf_u8(&b, 2);
      weft__buf_u32(&b, parts[i]);
      weft__buf_u64(&b, lens[k]);
      weft_bytes value = weft__buf_view(&b);
      refuses_row(f, head, &value, whole);
      weft__buf_free(&b);
    }
  }
  for (size_t i = 0; i < count; i++) row_put(f, rows[i].key, &rows[i].value);
  assert_int_equal(load_with(f, &faults), WEFT_OK);
  weft_err err = WEFT_ENOMEM;
  for (size_t k = 1; err == WEFT_ENOMEM; k++) {
    faults = (test_fault_alloc){.fail_at = k};
    err = load_with(f, &faults);
  }
  assert_int_equal(err, WEFT_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
      cmocka_unit_test_setup_teardown(test_every_flip, setup, teardown),
      cmocka_unit_test_setup_teardown(test_form_is_checked, setup, teardown),
      cmocka_unit_test_setup_teardown(test_peek_is_what_registers_say, setup, teardown),
      cmocka_unit_test_setup_teardown(test_memory_runs_out, setup, teardown),
      cmocka_unit_test_setup_teardown(test_state_follows_model, setup, teardown),
      cmocka_unit_test_setup_teardown(test_state_shrinks, setup, teardown),
      cmocka_unit_test_setup_teardown(test_segment_in_parts, setup, teardown),
      cmocka_unit_test_setup_teardown(test_parts_are_checked, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

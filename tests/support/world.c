#include "tests/support/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crdt/json.h"

static void *take(test_world *w, size_t count, size_t size) {
  void *at = weft__arena_zero(&w->arena, count ? count : 1, size);
  if (!at) abort();
  return at;
}

void test_world_fail(const test_world *w, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fprintf(stderr, "seed=%llu step=%u: ", (unsigned long long)w->seed, w->step);
  vfprintf(stderr, format, args);
  fprintf(stderr, "\n");
  va_end(args);
  abort();
}

void test_world_must(const test_world *w, weft_err err, const char *what) {
  if (err != WEFT_OK) test_world_fail(w, "%s: %s", what, weft_err_name(err));
}

/* --- bits --- */

bool test_bits_has(const test_bits *b, size_t idx) { return b->word[idx / 64] >> idx % 64 & 1; }

void test_bits_add(test_bits *b, size_t idx) { b->word[idx / 64] |= UINT64_C(1) << idx % 64; }

void test_bits_join(test_bits *b, const test_bits *other) {
  for (size_t i = 0; i < TEST_CHANGES_MAX / 64; i++) b->word[i] |= other->word[i];
}

bool test_bits_same(const test_bits *a, const test_bits *b) { return memcmp(a, b, sizeof *a) == 0; }

/* --- lineage --- */

static weft_dot dot_of(const test_replica *r, const test_change *c) {
  weft_dot dot = {c->branch ^ r->mask, c->seq};
  return dot;
}

/* The change a dot names; NULL when there is none. */
static test_change *change_at(const test_replica *r, weft_dot dot) {
  uint32_t branch = dot.log ^ r->mask;
  if (branch >= r->world->branch_count) return NULL;
  const test_branch *b = r->world->branches[branch];
  if (dot.seq <= b->fork_seq || dot.seq - b->fork_seq > b->count) return NULL;
  return b->at[dot.seq - b->fork_seq - 1];
}

static bool precedes(const void *ctx, weft_dot a, weft_dot b) {
  const test_replica *r = ctx;
  const test_change *ca = change_at(r, a), *cb = change_at(r, b);
  if (!ca || !cb) test_world_fail(r->world, "precedes is asked about a change that is none");
  return test_bits_has(&cb->chain, ca->idx);
}

static int rank(const void *ctx, weft_dot a, weft_dot b) {
  const test_replica *r = ctx;
  const test_change *ca = change_at(r, a), *cb = change_at(r, b);
  if (!ca || !cb) test_world_fail(r->world, "rank is asked about a change that is none");
  int order =
      weft_id_cmp(&r->world->branches[ca->branch]->log, &r->world->branches[cb->branch]->log);
  if (order) return order;
  if (ca->seq != cb->seq) return ca->seq < cb->seq ? -1 : 1;
  return weft_id_cmp(&ca->id, &cb->id);
}

static weft_lineage lineage_of(const test_replica *r) {
  weft_lineage l = {r, precedes, rank};
  return l;
}

/* --- the world --- */

void test_world_init(test_world *w) {
  weft_id space = {{1, 2, 3}};
  memset(w, 0, sizeof *w);
  w->mem = weft_alloc_libc();
  w->crypto = weft_crypto_sodium();
  if (!w->crypto) abort();
  w->name = weft_bytes_str("templates/one");
  weft__digest_key(w->crypto, &space, &w->key);
  weft__arena_init(&w->arena, &w->mem);
  weft__buf_init(&w->buf, &w->mem, SIZE_MAX / 2);
}

static void random_id(test_world *w, weft_id *id) {
  for (size_t i = 0; i < 32; i += 8) {
    uint64_t v = test_rng_next(&w->rng);
    for (size_t k = 0; k < 8; k++) id->b[i + k] = (uint8_t)(v >> (8 * k)); /* on any machine */
  }
}

void test_replica_reincarnate(test_replica *r) {
  for (size_t i = 0; i < TEST_LANES; i++) {
    r->heads[i] = NULL;
    random_id(r->world, &r->logs[i]);
  }
}

static test_replica *replica_add(test_world *w) {
  if (w->count == TEST_REPLICAS_MAX) abort();
  test_replica *r = &w->replicas[w->count++];
  weft_doc *doc = r->doc;
  memset(r, 0, sizeof *r);
  r->world = w;
  r->mask = (uint32_t)test_rng_below(&w->rng, 1 << 20);
  r->device = (unsigned)(w->count - 1);
  weft_lineage lineage = lineage_of(r);
  if (!doc) test_world_must(w, weft__doc_new(&doc, &w->mem, &lineage), "doc");
  weft__doc_reset(doc);
  r->doc = doc;
  return r;
}

void test_world_reset(test_world *w, uint64_t seed, size_t count) {
  w->seed = seed;
  w->rng = test_rng_of(seed);
  w->step = 0;
  w->count = w->change_count = w->branch_count = 0;
  w->encoded = false;
  w->lie = NULL;
  weft__arena_reset(&w->arena);
  for (size_t i = 0; i < count; i++) test_replica_reincarnate(replica_add(w));
}

void test_world_free(test_world *w) {
  for (size_t i = 0; i < TEST_REPLICAS_MAX; i++) weft__doc_free(w->replicas[i].doc);
  weft__arena_free(&w->arena);
  weft__buf_free(&w->buf);
}

/* --- showing --- */

void test_replica_apply(test_replica *r, weft_doc *doc, const test_change *c) {
  weft_dot claims[TEST_CHANGES_MAX];
  for (size_t i = 0; i < c->claim_count; i++) claims[i] = dot_of(r, c->claims[i]);
  weft_shown shown = {dot_of(r, c), c->hlc, claims, c->claim_count};
  for (size_t i = 0; i < c->op_count; i++) {
    test_world_must(r->world, weft__doc_show(doc, &shown, &c->ops[i]), "show");
  }
}

static bool is_ready(const test_replica *r, const test_change *c) {
  if (c->prev && !test_bits_has(&r->shown, c->prev->idx)) return false;
  for (size_t i = 0; i < c->claim_count; i++) {
    if (!c->claims[i] || !test_bits_has(&r->shown, c->claims[i]->idx)) return false;
  }
  return true;
}

static void show_one(test_replica *r, const test_change *c) {
  /* A clock far ahead is not merged. */
  if (c->hlc > r->clock && c->hlc < r->clock + 1000000) r->clock = c->hlc;
  test_bits_add(&r->shown, c->idx);
  test_replica_apply(r, r->doc, c);
}

static void shuffle(test_rng *rng, test_change **at, size_t count) {
  for (size_t i = count; i > 1; i--) {
    size_t k = test_rng_below(rng, i);
    test_change *c = at[i - 1];
    at[i - 1] = at[k];
    at[k] = c;
  }
}

void test_replica_show(test_replica *r) {
  test_change *todo[TEST_CHANGES_MAX];
  size_t count = 0;
  for (size_t i = 0; i < r->world->change_count; i++) {
    bool waits = test_bits_has(&r->held, i) && !test_bits_has(&r->shown, i);
    if (waits) todo[count++] = r->world->changes[i];
  }
  shuffle(&r->world->rng, todo, count);
  for (bool moved = true; moved;) {
    size_t left = 0;
    moved = false;
    for (size_t i = 0; i < count; i++) {
      if (is_ready(r, todo[i])) {
        show_one(r, todo[i]);
        moved = true;
      } else {
        todo[left++] = todo[i];
      }
    }
    count = left;
  }
}

weft_doc *test_replica_at(test_replica *r, const test_bits *base) {
  weft_doc *doc;
  weft_lineage lineage = lineage_of(r);
  test_world_must(r->world, weft__doc_new(&doc, &r->world->mem, &lineage), "doc");
  for (size_t i = 0; i < r->world->change_count; i++) {
    if (test_bits_has(base, i)) test_replica_apply(r, doc, r->world->changes[i]);
  }
  return doc;
}

/* --- exchanging --- */

void test_sync(test_replica *from, test_replica *to, bool partial) {
  test_world *w = from->world;
  test_change *todo[TEST_CHANGES_MAX];
  size_t count = 0, keep[TEST_CHANGES_MAX];
  for (size_t i = 0; i < w->change_count; i++) {
    bool lacks = test_bits_has(&from->held, i) && !test_bits_has(&to->held, i);
    if (lacks) todo[count++] = w->changes[i];
  }
  partial = partial && test_rng_chance(&w->rng, 50);
  for (size_t i = 0; i < w->branch_count; i++) {
    static const size_t some[] = {0, 1, 2, 99};
    keep[i] = partial ? some[test_rng_below(&w->rng, 4)] : SIZE_MAX;
  }
  shuffle(&w->rng, todo, count);
  for (bool moved = true; moved;) {
    size_t left = 0;
    moved = false;
    for (size_t i = 0; i < count; i++) {
      test_change *c = todo[i];
      bool fits = !c->prev || test_bits_has(&to->held, c->prev->idx);
      if (!fits || keep[c->branch] == 0) {
        todo[left++] = c;
        continue;
      }
      keep[c->branch]--;
      test_bits_add(&to->held, c->idx);
      moved = true;
      if (test_rng_chance(&w->rng, 30)) test_replica_show(to);
    }
    count = left;
  }
  test_replica_show(to);
}

void test_sync_all(test_world *w) {
  for (size_t i = 1; i < w->count; i++) test_sync(&w->replicas[i], &w->replicas[0], false);
  for (size_t i = 1; i < w->count; i++) test_sync(&w->replicas[0], &w->replicas[i], false);
}

test_replica *test_replica_clone(test_replica *r) {
  test_replica *copy = replica_add(r->world);
  copy->device = r->device;
  memcpy(copy->logs, r->logs, sizeof copy->logs);
  memcpy(copy->heads, r->heads, sizeof copy->heads);
  copy->held = r->held;
  copy->shown = r->shown;
  copy->written = r->written;
  copy->clock = r->clock;
  copy->skew = r->skew;
  for (size_t i = 0; i < r->world->change_count; i++) {
    if (test_bits_has(&r->shown, i)) test_replica_apply(copy, copy->doc, r->world->changes[i]);
  }
  return copy;
}

/* --- writing --- */

weft_writer *test_replica_writer(test_replica *r, const weft_doc *base, unsigned lane) {
  weft_write_origin origin = {.log = r->logs[lane], .seq = 1, .hlc = r->clock + 1 + r->skew};
  if (r->heads[lane]) {
    origin.seq = r->heads[lane]->seq + 1;
    origin.prev = r->heads[lane]->id;
  }
  origin.tag[0] = (uint8_t)r->device;
  memcpy(origin.tag + 1, r->logs[0].b, 2);
  weft_writer *writer;
  test_world *w = r->world;
  weft_err err = weft__writer_new(&writer, &w->mem, w->crypto, base, w->name, &origin);
  test_world_must(w, err, "writer");
  return writer;
}

/* The branch that continues `prev`: its own, or a new one where another copy went on already. */
static uint32_t branch_for(test_world *w, const test_change *prev, const weft_id *log) {
  if (prev) {
    const test_branch *b = w->branches[prev->branch];
    if (b->at[b->count - 1] == prev) return prev->branch;
  }
  test_branch *b = take(w, 1, sizeof *b);
  b->log = *log;
  b->parent = prev ? prev->branch : (uint32_t)w->branch_count;
  b->fork_seq = prev ? prev->seq : 0;
  w->branches[w->branch_count] = b;
  return (uint32_t)w->branch_count++;
}

static void branch_push(test_world *w, test_branch *b, test_change *c) {
  void *at = b->at;
  test_world_must(
      w, weft__arena_grow(&w->arena, &at, b->count, &b->cap, b->count + 1, sizeof *b->at), "grow");
  b->at = at;
  b->at[b->count++] = c;
}

typedef struct claim_ctx {
  const test_replica *r;
  const test_bits *base;
} claim_ctx;

static bool in_base(const void *ctx, weft_dot dot) {
  const claim_ctx *q = ctx;
  return test_bits_has(q->base, change_at(q->r, dot)->idx);
}

static bool is_own(const void *ctx, weft_dot dot) {
  const claim_ctx *q = ctx;
  return change_at(q->r, dot)->device == q->r->device;
}

/* Fills in the claims; false when something was changed here meanwhile. */
static bool claims_find(test_replica *r, test_change *c, const test_bits *base,
                        const weft_doc *base_doc) {
  test_world *w = r->world;
  claim_ctx ctx = {r, base};
  weft_lineage lineage = lineage_of(r);
  weft_claim_query query = {.ctx = &ctx, .head = {UINT32_MAX, 0}, .is_own = is_own};
  weft_dot_list claims = {NULL, 0, 0}, ignored = {NULL, 0, 0};
  bool newer = false;
  if (c->prev) query.head = dot_of(r, c->prev);
  test_world_must(
      w,
      weft__doc_claims(base_doc, &lineage, c->ops, c->op_count, &query, &w->arena, &claims, &newer),
      "claims");
  if (base) {
    query.in_base = in_base;
    test_world_must(w,
                    weft__doc_claims(r->doc, &lineage, c->ops, c->op_count, &query, &w->arena,
                                     &ignored, &newer),
                    "claims");
  }
  c->claims = take(w, claims.count + 1, sizeof *c->claims); /* room for a lie */
  c->claim_count = claims.count;
  for (size_t i = 0; i < claims.count; i++) c->claims[i] = change_at(r, claims.at[i]);
  return !newer;
}

static void relate(test_change *c) {
  if (c->prev) c->chain = c->prev->chain;
  c->covers = c->chain;
  for (size_t i = 0; i < c->claim_count; i++) {
    if (c->claims[i]) test_bits_join(&c->covers, &c->claims[i]->chain);
  }
  test_bits_add(&c->chain, c->idx);
}

static const weft_op *ops_copy(test_world *w, const weft_op *ops, size_t count) {
  weft_op *copy = take(w, count, sizeof *copy);
  for (size_t i = 0; i < count; i++) {
    copy[i] = ops[i];
    copy[i].doc = w->name;
    test_world_must(w, weft__arena_copy(&w->arena, ops[i].path, &copy[i].path), "copy");
    test_world_must(w, weft__arena_copy(&w->arena, ops[i].value, &copy[i].value), "copy");
    test_world_must(w, weft__arena_copy(&w->arena, ops[i].position, &copy[i].position), "copy");
  }
  return copy;
}

/* --- through the canonical bytes --- */

/* The author's number for a branch; the next free one when it has none. */
static uint32_t number_of(const test_change *c, uint32_t branch) {
  uint32_t number = 0;
  while (number < c->context.number_count && c->numbers[number] != branch) number++;
  return number;
}

static int claim_cmp(const void *a, const void *b) {
  uint32_t x = ((const weft_claim *)a)->number, y = ((const weft_claim *)b)->number;
  return x < y ? -1 : x > y;
}

/* The claims as they are written; new branches get the next numbers. */
static weft_claim *claims_encode(test_world *w, const test_change *c) {
  weft_claim *claims = take(w, c->claim_count, sizeof *claims);
  uint32_t next = (uint32_t)c->context.number_count;
  for (size_t i = 0; i < c->claim_count; i++) {
    const test_change *to = c->claims[i];
    weft_claim *claim = &claims[i];
    claim->number = number_of(c, to->branch);
    claim->has_log = claim->number == c->context.number_count;
    if (claim->has_log) {
      c->numbers[next] = to->branch;
      claim->number = next++;
    }
    claim->has_tag = claim->has_log || to->seq > c->context.numbers[claim->number].seq_max;
    claim->log = w->branches[to->branch]->log;
    claim->seq = to->seq;
    if (claim->has_tag) memcpy(claim->tag, to->id.b, sizeof claim->tag);
  }
  qsort(claims, c->claim_count, sizeof *claims, claim_cmp);
  return claims;
}

static void check_claims(test_world *w, const test_change *c, const weft_change *parsed) {
  if (parsed->claim_count != c->claim_count) test_world_fail(w, "claims went missing");
  for (size_t i = 0; i < parsed->claim_count; i++) {
    const weft_claim *claim = &parsed->claims[i];
    uint32_t branch = c->numbers[claim->number];
    size_t k = 0;
    while (k < c->claim_count &&
           (c->claims[k]->branch != branch || c->claims[k]->seq != claim->seq)) {
      k++;
    }
    bool same = k < c->claim_count && weft_id_cmp(&claim->log, &w->branches[branch]->log) == 0;
    if (same && claim->has_tag) same = memcmp(claim->tag, c->claims[k]->id.b, 8) == 0;
    if (!same) test_world_fail(w, "a claim came back as another");
  }
}

/* Writes the change and reads it back; its ops are then those that were read.  START stands for
 * read already, so that data begins at seq 2. */
static void encode_through(test_world *w, test_change *c) {
  weft_log_context *ctx = &c->context;
  weft_bytes raw;
  c->numbers = take(w, TEST_CHANGES_MAX, sizeof *c->numbers);
  if (c->prev) {
    *ctx = c->prev->context;
    weft_log_number *copy = take(w, ctx->number_cap, sizeof *copy);
    if (ctx->number_count) memcpy(copy, ctx->numbers, ctx->number_count * sizeof *copy);
    ctx->numbers = copy;
    memcpy(c->numbers, c->prev->numbers, ctx->number_count * sizeof *c->numbers);
  } else {
    ctx->seq = 1;
  }
  weft_change change = {.kind = WEFT_CHANGE_DATA, .hlc = c->hlc}, parsed;
  change.claims = claims_encode(w, c);
  change.claim_count = c->claim_count;
  change.ops = (weft_op *)(uintptr_t)c->ops;
  change.op_count = c->op_count;
  weft__buf_reset(&w->buf);
  test_world_must(w, weft__change_encode(&w->buf, &w->arena, &change), "encode");
  test_world_must(w, weft__arena_copy(&w->arena, weft__buf_view(&w->buf), &raw), "encode");
  test_world_must(w, weft__change_parse(&w->arena, raw, &parsed), "parse");
  weft__change_judge(ctx, &parsed);
  if (parsed.state != WEFT_CHANGE_VALID) test_world_fail(w, "an own change is not valid");
  if (parsed.op_count != c->op_count) test_world_fail(w, "ops went missing");
  check_claims(w, c, &parsed);
  test_world_must(w, weft__log_context_advance(ctx, &w->arena, &parsed), "advance");
  c->ops = parsed.ops;
  c->hlc = parsed.hlc;
}

test_change *test_replica_commit_ops(test_replica *r, const weft_op *ops, size_t count,
                                     unsigned lane, const test_bits *base,
                                     const weft_doc *base_doc) {
  test_world *w = r->world;
  if (w->change_count == TEST_CHANGES_MAX) test_world_fail(w, "too many changes");
  test_change *c = take(w, 1, sizeof *c);
  c->idx = (uint32_t)w->change_count;
  c->device = r->device;
  c->prev = r->heads[lane];
  c->seq = c->prev ? c->prev->seq + 1 : 1;
  c->hlc = ++r->clock + r->skew;
  c->ops = ops_copy(w, ops, count);
  c->op_count = count;
  random_id(w, &c->id);
  if (!claims_find(r, c, base, base_doc ? base_doc : r->doc)) {
    w->refused++;
    return NULL;
  }
  if (w->lie && r->device == 0) w->lie(w, c);
  if (w->encoded) encode_through(w, c);
  c->branch = branch_for(w, c->prev, &r->logs[lane]);
  branch_push(w, w->branches[c->branch], c);
  w->changes[w->change_count++] = c;
  relate(c);
  c->saw = base ? *base : r->shown;
  test_bits_join(&c->saw, &c->chain);
  r->heads[lane] = c;
  test_bits_add(&r->held, c->idx);
  test_bits_add(&r->written, c->idx);
  test_replica_show(r);
  return c;
}

test_change *test_replica_commit(test_replica *r, weft_writer *writer, unsigned lane,
                                 const test_bits *base, const weft_doc *base_doc) {
  const weft_op *ops;
  size_t count;
  test_change *c = NULL;
  weft__writer_ops(writer, &ops, &count);
  if (count > 0) c = test_replica_commit_ops(r, ops, count, lane, base, base_doc);
  weft__writer_free(writer);
  return c;
}

/* --- looking --- */

const weft_value *test_view(test_world *w, const weft_doc *doc) {
  weft_value *v = take(w, 1, sizeof *v);
  weft_err err = weft__doc_render(doc, weft_bytes_of(NULL, 0), &w->arena, v);
  if (err == WEFT_ENOTFOUND) return NULL;
  test_world_must(w, err, "render");
  return v;
}

/* The next register that is not empty. */
static const weft_register *next_full(const weft_doc *doc, const weft_register *reg) {
  while (reg && reg->value_count == 0 && reg->position_count == 0) reg = weft__doc_next(doc, reg);
  return reg;
}

static const weft_register *first_full(const weft_doc *doc) {
  return next_full(doc, weft__doc_seek(doc, weft_bytes_of(NULL, 0)));
}

static bool same_siblings(test_replica *a, const weft_sibling *x, size_t x_count, test_replica *b,
                          const weft_sibling *y, size_t y_count) {
  if (x_count != y_count) return false;
  for (size_t i = 0; i < x_count; i++) {
    const test_change *c = change_at(a, x[i].dot);
    size_t k = 0;
    while (k < y_count && change_at(b, y[k].dot) != c) k++;
    if (k == y_count || x[i].kind != y[k].kind || x[i].hlc != y[k].hlc) return false;
    if (weft_bytes_cmp(x[i].value, y[k].value) != 0) return false;
  }
  return true;
}

bool test_same_state(test_replica *a, test_replica *b) {
  const weft_register *x = first_full(a->doc), *y = first_full(b->doc);
  while (x && y) {
    if (weft_bytes_cmp(x->path, y->path) != 0) return false;
    if (!same_siblings(a, x->values, x->value_count, b, y->values, y->value_count)) return false;
    if (!same_siblings(a, x->positions, x->position_count, b, y->positions, y->position_count)) {
      return false;
    }
    x = next_full(a->doc, weft__doc_next(a->doc, x));
    y = next_full(b->doc, weft__doc_next(b->doc, y));
  }
  return !x && !y;
}

static void digest_all(test_replica *r, weft_digest *sum, weft_path path, const weft_sibling *list,
                       size_t count) {
  test_world *w = r->world;
  for (size_t i = 0; i < count; i++) {
    weft_digest term;
    const weft_id *log = &w->branches[list[i].dot.log ^ r->mask]->log;
    test_world_must(
        w, weft__digest_term(w->crypto, &w->key, &w->buf, w->name, path, log, &list[i], &term),
        "digest");
    weft__digest_add(sum, term);
  }
}

weft_digest test_replica_digest(test_replica *r) {
  weft_digest sum = {0, 0};
  for (const weft_register *reg = first_full(r->doc); reg; reg = weft__doc_next(r->doc, reg)) {
    digest_all(r, &sum, reg->path, reg->values, reg->value_count);
    digest_all(r, &sum, reg->path, reg->positions, reg->position_count);
  }
  return sum;
}

/* --- the set function, by brute force --- */

static bool same_path(weft_path a, weft_path b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static bool below(weft_path p, weft_path q) {
  return q.len > p.len && (p.len == 0 || memcmp(p.at, q.at, p.len) == 0);
}

static bool fresh(const weft_op *op) {
  return op->kind == WEFT_OP_FRESH_OBJECT || op->kind == WEFT_OP_FRESH_ARRAY;
}

/* True when some op of `d` removes a value (or the position) written at `path`. */
static bool removes(const test_change *d, weft_path path, bool position) {
  for (size_t i = 0; i < d->op_count; i++) {
    const weft_op *op = &d->ops[i];
    if (fresh(op) && below(op->path, path)) return true;
    if (!same_path(op->path, path)) continue;
    if (position ? op->position.len > 0 : op->kind != WEFT_OP_POSITION) return true;
  }
  return false;
}

/* True when a shown change covers `c` (or, with `saw`, its author had been shown it) and removes.
 */
static bool removed(const test_replica *r, const test_change *c, weft_path path, bool position,
                    bool saw) {
  const test_world *w = r->world;
  for (size_t i = 0; i < w->change_count; i++) {
    const test_change *d = w->changes[i];
    if (d == c || !test_bits_has(&r->shown, i)) continue;
    if (!test_bits_has(saw ? &d->saw : &d->covers, c->idx)) continue;
    if (removes(d, path, position)) return true;
  }
  return false;
}

static const weft_sibling *sibling_of(const test_replica *r, const test_change *c,
                                      const weft_sibling *list, size_t count) {
  weft_dot dot = dot_of(r, c);
  for (size_t i = 0; i < count; i++) {
    if (list[i].dot.log == dot.log && list[i].dot.seq == dot.seq) return &list[i];
  }
  return NULL;
}

/* Checks one write against the state; gives 1 when it survives. */
static size_t check_write(test_replica *r, const test_change *c, const weft_op *op, bool position) {
  const weft_register *reg = weft__doc_find(r->doc, op->path);
  const weft_sibling *s = NULL;
  if (reg && position) s = sibling_of(r, c, reg->positions, reg->position_count);
  if (reg && !position) s = sibling_of(r, c, reg->values, reg->value_count);
  bool want = !removed(r, c, op->path, position, false);
  if (want != (s != NULL)) {
    test_world_fail(r->world, "change %u, kind %u: the set function says %s, the state %s", c->idx,
                    op->kind, want ? "there" : "gone", s ? "there" : "gone");
  }
  if (!s) return 0;
  bool same = s->hlc == c->hlc && s->kind == (position ? WEFT_OP_POSITION : op->kind) &&
              weft_bytes_cmp(s->value, position ? op->position : op->value) == 0;
  if (!same) test_world_fail(r->world, "change %u: another content in the state", c->idx);
  return 1;
}

void test_check_brute(test_replica *r) {
  size_t want = 0, got = 0;
  const test_world *w = r->world;
  for (size_t i = 0; i < w->change_count; i++) {
    const test_change *c = w->changes[i];
    if (!test_bits_has(&r->shown, i)) continue;
    for (size_t k = 0; k < c->op_count; k++) {
      if (c->ops[k].kind != WEFT_OP_POSITION) want += check_write(r, c, &c->ops[k], false);
      if (c->ops[k].position.len > 0) want += check_write(r, c, &c->ops[k], true);
    }
  }
  for (const weft_register *reg = first_full(r->doc); reg; reg = weft__doc_next(r->doc, reg)) {
    got += reg->value_count + reg->position_count;
  }
  if (want != got) test_world_fail(w, "%zu siblings in the state, %zu wanted", got, want);
}

static bool beats(const test_world *w, const test_change *a, const test_change *b) {
  int order = weft_id_cmp(&w->branches[a->branch]->log, &w->branches[b->branch]->log);
  if (a->hlc != b->hlc) return a->hlc > b->hlc;
  if (order != 0) return order > 0;
  if (a->seq != b->seq) return a->seq > b->seq;
  return weft_id_cmp(&a->id, &b->id) > 0;
}

void test_check_winners(test_replica *r) {
  const test_world *w = r->world;
  for (const weft_register *reg = first_full(r->doc); reg; reg = weft__doc_next(r->doc, reg)) {
    weft_sides sides;
    const weft_sibling *best = NULL;
    for (size_t i = 0; i < reg->value_count; i++) {
      const weft_sibling *s = &reg->values[i];
      if (s->kind != WEFT_OP_SCALAR) continue;
      if (!best || beats(w, change_at(r, s->dot), change_at(r, best->dot))) best = s;
    }
    test_world_must(w, weft__doc_sides(r->doc, reg->path, &sides), "sides");
    if (sides.shape == WEFT_SHAPE_SCALAR && sides.winner != best) {
      test_world_fail(w, "another than the greatest scalar is shown");
    }
  }
}

void test_check_nothing_lost(test_replica *r) {
  const test_world *w = r->world;
  for (size_t i = 0; i < w->change_count; i++) {
    const test_change *c = w->changes[i];
    if (!test_bits_has(&r->shown, i)) continue;
    for (size_t k = 0; k < c->op_count; k++) {
      const weft_op *op = &c->ops[k];
      if (op->kind != WEFT_OP_SCALAR) continue;
      const weft_register *reg = weft__doc_find(r->doc, op->path);
      if (reg && sibling_of(r, c, reg->values, reg->value_count)) continue;
      if (!removed(r, c, op->path, false, true)) {
        test_world_fail(w, "the value of change %u is gone, and nobody had seen it", c->idx);
      }
    }
  }
}

/* --- for scenarios --- */

test_change *test_import(test_replica *r, const char *json) {
  test_world *w = r->world;
  weft_value value;
  weft_err err = weft_json_parse(&w->arena, weft_bytes_str(json), &value, NULL);
  test_world_must(w, err, json);
  weft_writer *writer = test_replica_writer(r, r->doc, 0);
  test_world_must(w, weft__write_set(writer, weft_bytes_of(NULL, 0), &value, false), json);
  return test_replica_commit(r, writer, 0, NULL, NULL);
}

const char *test_json(test_replica *r) {
  test_world *w = r->world;
  const weft_value *v = test_view(w, r->doc);
  if (!v) return "none";
  weft__buf_reset(&w->buf);
  weft_json_write(&w->buf, v);
  weft__buf_u8(&w->buf, 0);
  weft_bytes text;
  test_world_must(w, weft__buf_err(&w->buf), "json");
  test_world_must(w, weft__arena_copy(&w->arena, weft__buf_view(&w->buf), &text), "json");
  return (const char *)text.at;
}

/* Version vectors against their definition: a vector is a set of changes closed under ancestors.
 *
 * A world is a few logs, some of which fork, each a tree of changes.  A brute-force vector is the
 * bit set of the changes it contains; the real one must always have exactly its maximal changes as
 * heads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/limits.h"
#include "crdt/vector.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/hex.h"
#include "tests/support/ids.h"
#include "tests/support/rng.h"

enum { log_count = 12, node_count = 64, rounds = 400 };

typedef struct world {
  weft_head node[node_count];
  int parent[node_count]; /* -1: the first of its log */
} world;

typedef uint64_t node_set;
_Static_assert(node_count == 64, "a set is one word");

static world world_of(test_rng *rng) {
  world w;
  weft_id logs[log_count];
  for (int i = 0; i < log_count; i++) {
    test_rng_fill(rng, logs[i].b, 32);
    /* Neighbours that share a long prefix, down to the last nibble. */
    if (i > 0 && test_rng_chance(rng, 40)) {
      size_t same = test_rng_below(rng, 32);
      memcpy(logs[i].b, logs[i - 1].b, same);
      if (same == 31) logs[i].b[31] = (uint8_t)(logs[i - 1].b[31] ^ (1 + i));
    }
  }
  int newest[log_count];
  for (int i = 0; i < log_count; i++) newest[i] = -1;
  for (int i = 0; i < node_count; i++) {
    int log = (int)test_rng_below(rng, log_count);
    int parent = newest[log];
    while (parent >= 0 && log < 4 && test_rng_chance(rng, 30)) parent = w.parent[parent];
    w.parent[i] = parent;
    w.node[i].log = logs[log];
    w.node[i].seq = parent < 0 ? 1 : w.node[parent].seq + 1;
    test_rng_fill(rng, w.node[i].id.b, 32);
    newest[log] = i;
  }
  return w;
}

static int node_of(const world *w, const weft_head *head) {
  for (int i = 0; i < node_count; i++) {
    if (weft__head_cmp(&w->node[i], head) == 0) return i;
  }
  return -1;
}

static node_set closure(const world *w, int node) {
  node_set set = 0;
  for (; node >= 0; node = w->parent[node]) set |= (node_set)1 << node;
  return set;
}

static bool world_precedes(const void *ctx, const weft_head *a, const weft_head *b) {
  const world *w = ctx;
  assert_true(a->seq < b->seq);
  assert_int_equal(weft_id_cmp(&a->log, &b->log), 0);
  int of = node_of(w, a), in = node_of(w, b);
  assert_true(of >= 0 && in >= 0);
  return closure(w, in) >> of & 1;
}

static node_set set_of(test_rng *rng, const world *w) {
  node_set set = 0;
  uint64_t draws = test_rng_below(rng, 14);
  for (uint64_t i = 0; i < draws; i++) set |= closure(w, (int)test_rng_below(rng, node_count));
  return set;
}

/* Builds the vector by raising it to the changes of the set in a random order. */
static void vector_of(weft_vector *v, const world *w, node_set set, test_rng *rng) {
  weft_ancestry by = {w, world_precedes};
  int order[node_count], count = 0;
  for (int i = 0; i < node_count; i++) {
    if (set >> i & 1) order[count++] = i;
  }
  for (int i = count - 1; i > 0; i--) {
    int k = (int)test_rng_below(rng, (uint64_t)i + 1), swap = order[i];
    order[i] = order[k];
    order[k] = swap;
  }
  for (int i = 0; i < count; i++) {
    assert_int_equal(weft__vector_raise(v, &by, &w->node[order[i]]), WEFT_OK);
  }
}

static void assert_is_set(const weft_vector *v, const world *w, node_set set) {
  node_set maximal = set, found = 0;
  for (int i = 0; i < node_count; i++) {
    if ((set >> i & 1) && w->parent[i] >= 0) maximal &= ~((node_set)1 << w->parent[i]);
  }
  for (size_t i = 0; i < v->count; i++) {
    found |= (node_set)1 << node_of(w, &v->heads[i]);
    if (i > 0) assert_true(weft__head_cmp(&v->heads[i - 1], &v->heads[i]) < 0);
  }
  assert_int_equal(found, maximal);
}

static void assert_same(const weft_vector *a, const weft_vector *b) {
  assert_int_equal(a->count, b->count);
  if (a->count) assert_memory_equal(a->heads, b->heads, a->count * sizeof *a->heads);
}

typedef struct pair {
  world w;
  node_set sets[2];
  weft_vector v[2];
  weft_ancestry by;
} pair;

static void pair_make(pair *p, test_rng *rng) {
  weft_alloc mem = weft_alloc_libc();
  p->w = world_of(rng);
  p->by.ctx = &p->w;
  p->by.precedes = world_precedes;
  for (int i = 0; i < 2; i++) {
    p->sets[i] = set_of(rng, &p->w);
    if (i == 1 && test_rng_chance(rng, 25)) p->sets[1] |= p->sets[0];
    if (i == 1 && test_rng_chance(rng, 10)) p->sets[1] = p->sets[0];
    weft__vector_init(&p->v[i], &mem);
    vector_of(&p->v[i], &p->w, p->sets[i], rng);
    assert_is_set(&p->v[i], &p->w, p->sets[i]);
  }
}

static void pair_free(pair *p) {
  weft__vector_free(&p->v[0]);
  weft__vector_free(&p->v[1]);
}

static void merge_is_the_union(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  for (uint64_t seed = 1; seed <= rounds; seed++) {
    test_rng rng = test_rng_of(seed);
    pair p;
    weft_vector a, b;
    pair_make(&p, &rng);
    weft__vector_init(&a, &mem);
    weft__vector_init(&b, &mem);
    assert_int_equal(weft__vector_copy(&a, &p.v[0]), WEFT_OK);
    assert_int_equal(weft__vector_copy(&b, &p.v[1]), WEFT_OK);
    assert_int_equal(weft__vector_merge(&a, &p.by, &p.v[1]), WEFT_OK);
    assert_int_equal(weft__vector_merge(&b, &p.by, &p.v[0]), WEFT_OK);
    assert_is_set(&a, &p.w, p.sets[0] | p.sets[1]);
    assert_same(&a, &b);
    assert_int_equal(weft__vector_merge(&a, &p.by, &b), WEFT_OK);
    assert_same(&a, &b);
    weft__vector_free(&a);
    weft__vector_free(&b);
    pair_free(&p);
  }
}

static void compare_is_inclusion(void **state) {
  (void)state;
  unsigned seen[4] = {0};
  for (uint64_t seed = 1; seed <= rounds; seed++) {
    test_rng rng = test_rng_of(seed);
    pair p;
    pair_make(&p, &rng);
    bool before = (p.sets[0] & ~p.sets[1]) == 0, after = (p.sets[1] & ~p.sets[0]) == 0;
    weft_order want = before && after ? WEFT_ORDER_EQUAL
                      : before        ? WEFT_ORDER_BEFORE
                      : after         ? WEFT_ORDER_AFTER
                                      : WEFT_ORDER_CONCURRENT;
    assert_int_equal(weft__vector_compare(&p.v[0], &p.v[1], &p.by), want);
    seen[want]++;
    for (int i = 0; i < node_count; i++) {
      const weft_head *h = &p.w.node[i];
      assert_int_equal(weft__vector_contains(&p.v[0], &p.by, h), p.sets[0] >> i & 1);
      uint64_t newest = 0;
      for (int k = 0; k < node_count; k++) {
        bool in = (p.sets[0] >> k & 1) && weft_id_cmp(&p.w.node[k].log, &h->log) == 0;
        if (in && p.w.node[k].seq > newest) newest = p.w.node[k].seq;
      }
      assert_int_equal(weft__vector_seq(&p.v[0], &h->log), newest);
      assert_int_equal(weft__vector_covers(&p.v[0], &h->log, h->seq), newest >= h->seq);
    }
    pair_free(&p);
  }
  for (int i = 0; i < 4; i++) assert_true(seen[i] > 10);
}

static int head_order(const void *a, const void *b) { return weft__head_cmp(a, b); }

/* Without an ancestry the newest of each log are kept; many at once give what one by one gives. */
static void many_heads_rise_as_one_by_one(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= rounds; seed++) {
    test_rng rng = test_rng_of(seed);
    world w = world_of(&rng);
    weft_alloc mem = weft_alloc_libc();
    weft_vector one, all;
    weft_head heads[node_count];
    size_t count = 0;
    weft__vector_init(&one, &mem);
    weft__vector_init(&all, &mem);
    for (uint64_t i = test_rng_below(&rng, 20); i > 0; i--) {
      const weft_head *head = &w.node[test_rng_below(&rng, node_count)];
      assert_int_equal(weft__vector_raise(&one, NULL, head), WEFT_OK);
      assert_int_equal(weft__vector_raise(&all, NULL, head), WEFT_OK);
    }
    unsigned share = (unsigned)test_rng_below(&rng, 101);
    for (int i = 0; i < node_count; i++) {
      if (!test_rng_chance(&rng, share)) continue;
      heads[count] = w.node[i];
      if (test_rng_chance(&rng, 5)) heads[count].seq = 0;
      count++;
    }
    qsort(heads, count, sizeof heads[0], head_order);
    for (size_t i = 0; i < count; i++) {
      if (heads[i].seq > 0) assert_int_equal(weft__vector_raise(&one, NULL, &heads[i]), WEFT_OK);
    }
    assert_int_equal(weft__vector_raise_all(&all, heads, count), WEFT_OK);
    bool same = one.count == all.count;
    for (size_t i = 0; same && i < one.count; i++) {
      same = weft__head_cmp(&one.heads[i], &all.heads[i]) == 0;
    }
    if (!same) fail_msg("seed %llu: other heads all at once", (unsigned long long)seed);
    weft__vector_free(&one);
    weft__vector_free(&all);
  }
}

static void root_is_equal_exactly_when_vectors_are(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  const weft_crypto *c = weft_crypto_sodium();
  for (uint64_t seed = 1; seed <= rounds; seed++) {
    test_rng rng = test_rng_of(seed);
    pair p;
    weft_vector again;
    uint8_t root[3][WEFT_ROOT_LEN];
    pair_make(&p, &rng);
    weft__vector_init(&again, &mem);
    vector_of(&again, &p.w, p.sets[0], &rng); /* another history of the same set */
    assert_same(&again, &p.v[0]);
    weft__vector_root(&p.v[0], c, root[0]);
    weft__vector_root(&p.v[1], c, root[1]);
    weft__vector_root(&again, c, root[2]);
    assert_memory_equal(root[0], root[2], WEFT_ROOT_LEN);
    bool same = memcmp(root[0], root[1], WEFT_ROOT_LEN) == 0;
    assert_int_equal(same, p.sets[0] == p.sets[1]);
    weft__vector_free(&again);
    pair_free(&p);
  }
}

/* The root by its definition, from the bottom up: a list of (prefix, hash) folded depth by depth.
 */
static void root_by_definition(const weft_vector *v, const weft_crypto *c, uint8_t out[16]) {
  typedef struct item {
    weft_id log;
    uint8_t hash[16];
    size_t leaves;
  } item;
  item items[node_count];
  size_t count = 0;
  for (size_t i = 0; i < v->count; i++) {
    const weft_head *h = &v->heads[i];
    bool more = count && weft_id_cmp(&items[count - 1].log, &h->log) == 0;
    uint8_t text[90];
    memcpy(text, more ? "vf" : "vv", 2);
    memcpy(text + 2, h->log.b, 32);
    for (unsigned k = 0; k < 8; k++) text[34 + k] = (uint8_t)(h->seq >> (56 - 8 * k));
    memcpy(text + 42, h->id.b, 32);
    if (more) memcpy(text + 74, items[count - 1].hash, 16);
    weft_bytes part = weft_bytes_of(text, more ? 90 : 74);
    item *to = more ? &items[count - 1] : &items[count++];
    c->hash(to->hash, 16, weft_bytes_of(NULL, 0), NULL, NULL, &part, 1);
    to->log = h->log;
    to->leaves = 1;
  }
  for (int depth = 63; depth >= 0; depth--) {
    size_t used = 0;
    for (size_t i = 0; i < count;) {
      uint8_t child[16][16] = {{0}};
      item node = items[i];
      size_t k = i, leaves = 0;
      uint8_t mask = depth % 2 ? 0xf0 : 0x00;
      for (; k < count; k++) {
        if (memcmp(items[k].log.b, node.log.b, (size_t)depth / 2) != 0) break;
        if ((items[k].log.b[depth / 2] ^ node.log.b[depth / 2]) & mask) break;
        unsigned byte = items[k].log.b[depth / 2];
        memcpy(child[depth % 2 ? byte & 15 : byte >> 4], items[k].hash, 16);
        leaves += items[k].leaves;
      }
      node.leaves = leaves;
      weft_bytes part = weft_bytes_of(child, sizeof child);
      if (leaves > 1) c->hash(node.hash, 16, weft_bytes_of(NULL, 0), NULL, NULL, &part, 1);
      items[used++] = node;
      i = k;
    }
    count = used;
  }
  memset(out, 0, 16);
  if (count) memcpy(out, items[0].hash, 16);
}

static void root_follows_its_definition(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  for (uint64_t seed = 1; seed <= rounds; seed++) {
    test_rng rng = test_rng_of(seed);
    pair p;
    uint8_t root[16], want[16];
    pair_make(&p, &rng);
    weft__vector_root(&p.v[0], c, root);
    root_by_definition(&p.v[0], c, want);
    assert_memory_equal(root, want, 16);
    pair_free(&p);
  }
}

static void root_known_answers(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  const weft_crypto *c = weft_crypto_sodium();
  weft_vector v;
  uint8_t root[16];
  weft__vector_init(&v, &mem);
  weft__vector_root(&v, c, root);
  test_assert_hex(weft_bytes_of(root, 16), "00000000000000000000000000000000");
  for (uint8_t i = 0; i < 3; i++) {
    weft_head h;
    memset(h.log.b, i == 2 ? 0x12 : 0x11, 32);
    memset(h.id.b, 0xa0 + i, 32);
    h.seq = 7 + i;
    assert_int_equal(weft__vector_set(&v, &h.log, &h, 1), WEFT_OK);
    weft__vector_root(&v, c, root);
    static const char *const want[] = {"06e2dd4c1f00e04fffe484f9b91e85c9",
                                       "e3e2f0c195908ba566b94ffecc9170e2",
                                       "430697997145aacc8d1fee97d5215f94"};
    test_assert_hex(weft_bytes_of(root, 16), want[i]);
  }
  weft_head fork = v.heads[0];
  fork.id.b[0] ^= 1;
  assert_int_equal(weft__vector_raise(&v, NULL, &fork), WEFT_OK);
  assert_int_equal(v.count, 3);
  weft__vector_root(&v, c, root);
  test_assert_hex(weft_bytes_of(root, 16), "6941bc972639a1ebbe2d92f63c1c0033");
  weft__vector_free(&v);
}

static void assert_holds_exactly_the_prefix(const weft_vector *v, weft_bytes prefix,
                                            const weft_vector_node *node) {
  for (size_t i = 0; i < v->count; i++) {
    bool below = true;
    for (size_t k = 0; k < prefix.len; k++) {
      unsigned byte = v->heads[i].log.b[k / 2];
      below = below && prefix.at[k] == (k % 2 ? byte & 15 : byte >> 4);
    }
    assert_int_equal(below, i >= node->first && i < node->first + node->count);
  }
}

/* Walks both tries from the root as two peers do, and finds exactly the logs that differ. */
static void descent_finds_the_difference(void **state) {
  (void)state;
  const weft_crypto *c = weft_crypto_sodium();
  for (uint64_t seed = 1; seed <= rounds; seed++) {
    test_rng rng = test_rng_of(seed);
    pair p;
    uint8_t prefixes[256][64];
    size_t lens[256], todo = 1;
    node_set differ = 0, found = 0;
    pair_make(&p, &rng);
    lens[0] = 0;
    while (todo > 0) {
      uint8_t prefix[64];
      size_t len = lens[--todo];
      weft_vector_node a, b;
      memcpy(prefix, prefixes[todo], len);
      weft_bytes at = weft_bytes_of(prefix, len);
      assert_int_equal(weft__vector_node(&p.v[0], c, at, &a), WEFT_OK);
      assert_int_equal(weft__vector_node(&p.v[1], c, at, &b), WEFT_OK);
      assert_holds_exactly_the_prefix(&p.v[0], at, &a);
      assert_holds_exactly_the_prefix(&p.v[1], at, &b);
      if (len == 63 || a.count + b.count <= 2) {
        for (size_t i = 0; i < a.count; i++) {
          found |= (node_set)1 << node_of(&p.w, &p.v[0].heads[a.first + i]);
        }
        for (size_t i = 0; i < b.count; i++) {
          found |= (node_set)1 << node_of(&p.w, &p.v[1].heads[b.first + i]);
        }
        continue;
      }
      for (uint8_t i = 0; i < 16; i++) {
        if (memcmp(a.child[i], b.child[i], 16) == 0) continue;
        memcpy(prefixes[todo], prefix, len);
        prefixes[todo][len] = i;
        lens[todo++] = len + 1;
        assert_true(todo < 256);
      }
    }
    for (int side = 0; side < 2; side++) {
      for (size_t i = 0; i < p.v[side].count; i++) {
        const weft_head *h = &p.v[side].heads[i];
        size_t first, own = weft__vector_find(&p.v[side], &h->log, &first);
        size_t other_first, other = weft__vector_find(&p.v[!side], &h->log, &other_first);
        bool same = own == other && memcmp(&p.v[side].heads[first], &p.v[!side].heads[other_first],
                                           own * sizeof *h) == 0;
        if (!same) differ |= (node_set)1 << node_of(&p.w, h);
      }
    }
    assert_int_equal(differ & ~found, 0);
    pair_free(&p);
  }
}

static void node_refuses_bad_prefixes(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  const weft_crypto *c = weft_crypto_sodium();
  weft_vector v;
  weft_vector_node node;
  uint8_t prefix[65] = {0};
  weft__vector_init(&v, &mem);
  assert_int_equal(weft__vector_node(&v, c, weft_bytes_of(prefix, 63), &node), WEFT_OK);
  assert_int_equal(weft__vector_node(&v, c, weft_bytes_of(prefix, 64), &node), WEFT_EMALFORMED);
  prefix[2] = 16;
  assert_int_equal(weft__vector_node(&v, c, weft_bytes_of(prefix, 3), &node), WEFT_EMALFORMED);
  assert_int_equal(weft__vector_node(&v, c, weft_bytes_of(prefix, 2), &node), WEFT_OK);
  assert_int_equal(node.count, 0);
}

static void ranges_lead_to_the_merge(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  unsigned forks = 0;
  for (uint64_t seed = 1; seed <= rounds; seed++) {
    test_rng rng = test_rng_of(seed);
    pair p;
    weft_arena arena;
    weft_vector sum;
    weft_range *ranges;
    size_t count;
    pair_make(&p, &rng);
    weft__arena_init(&arena, &mem);
    weft__vector_init(&sum, &mem);
    assert_int_equal(weft__vector_copy(&sum, &p.v[0]), WEFT_OK);
    assert_int_equal(weft__vector_lacks(&p.v[0], &p.v[1], &p.by, &arena, &ranges, &count), WEFT_OK);
    assert_int_equal(count == 0, (p.sets[1] & ~p.sets[0]) == 0);
    for (size_t i = 0; i < count; i++) {
      const weft_range *r = &ranges[i];
      weft_head end = {r->log, r->to, r->head}, prev = {r->log, r->from - 1, r->prev};
      assert_true(r->from >= 1 && r->from <= r->to);
      if (r->fork) forks++;
      if (!r->fork && r->from > 1) {
        int at = node_of(&p.w, &prev);
        assert_true(at >= 0 && (p.sets[0] >> at & 1));
        assert_true(closure(&p.w, node_of(&p.w, &end)) >> at & 1);
      }
      assert_int_equal(weft__vector_raise(&sum, &p.by, &end), WEFT_OK);
    }
    assert_is_set(&sum, &p.w, p.sets[0] | p.sets[1]);
    weft__vector_free(&sum);
    weft__arena_free(&arena);
    pair_free(&p);
  }
  assert_true(forks > 50);
}

static void delta_applied_makes_equal(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  for (uint64_t seed = 1; seed <= rounds; seed++) {
    test_rng rng = test_rng_of(seed);
    pair p;
    weft_arena arena;
    weft_head *delta;
    size_t count, same = 0;
    pair_make(&p, &rng);
    weft__arena_init(&arena, &mem);
    assert_int_equal(weft__vector_delta(&p.v[0], &p.v[1], &arena, &delta, &count), WEFT_OK);
    if (p.sets[0] == p.sets[1]) assert_int_equal(count, 0);
    for (size_t i = 0; i < count; i++) { /* nothing but what differs */
      size_t first, n = weft__vector_find(&p.v[0], &delta[i].log, &first);
      same += n == 1 && weft__head_cmp(&p.v[0].heads[first], &delta[i]) == 0 &&
              weft__vector_find(&p.v[1], &delta[i].log, NULL) == 1;
    }
    assert_int_equal(same, 0);
    assert_int_equal(weft__vector_apply(&p.v[0], delta, count), WEFT_OK);
    assert_same(&p.v[0], &p.v[1]);
    weft__arena_free(&arena);
    pair_free(&p);
  }
}

static void apply_refuses_what_is_not_canonical(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_vector v;
  weft__vector_init(&v, &mem);
  weft_head a = test_head(1, 4, 4), b = test_head(1, 4, 5), gone = test_head(1, 0, 0);
  weft_head twice[] = {a, a}, down[] = {b, a}, mixed[] = {gone, a},
            stained[] = {test_head(1, 0, 1)};
  weft_head good[] = {gone, test_head(2, 1, 1)}, both[] = {a, b};
  assert_int_equal(weft__vector_apply(&v, twice, 2), WEFT_EMALFORMED);
  assert_int_equal(weft__vector_apply(&v, down, 2), WEFT_EMALFORMED);
  assert_int_equal(weft__vector_apply(&v, mixed, 2), WEFT_EMALFORMED);
  assert_int_equal(weft__vector_apply(&v, stained, 1), WEFT_EMALFORMED);
  assert_int_equal(weft__vector_apply(&v, NULL, 0), WEFT_OK);
  assert_int_equal(v.count, 0);
  assert_int_equal(weft__vector_apply(&v, both, 2), WEFT_OK);
  assert_int_equal(v.count, 2);
  assert_int_equal(weft__vector_apply(&v, good, 2), WEFT_OK);
  assert_int_equal(v.count, 1);
  assert_int_equal(weft__vector_seq(&v, &a.log), 0);
  weft__vector_free(&v);
}

static void set_replaces_a_log(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_vector v;
  weft__vector_init(&v, &mem);
  weft_head a = test_head(2, 4, 4), b = test_head(2, 9, 1), c = test_head(2, 9, 0);
  weft_head low = test_head(1, 1, 1), high = test_head(3, 1, 1), zero = test_head(2, 0, 0);
  weft_head three[] = {b, a, c}, twice[] = {a, b, a};
  assert_int_equal(weft__vector_set(&v, &a.log, NULL, 0), WEFT_OK);
  assert_int_equal(weft__vector_set(&v, &high.log, &high, 1), WEFT_OK);
  assert_int_equal(weft__vector_set(&v, &low.log, &low, 1), WEFT_OK);
  assert_int_equal(weft__vector_set(&v, &a.log, three, 3), WEFT_OK);
  assert_int_equal(v.count, 5);
  for (size_t i = 1; i < v.count; i++) {
    assert_true(weft__head_cmp(&v.heads[i - 1], &v.heads[i]) < 0);
  }
  assert_int_equal(weft__vector_set(&v, &a.log, twice, 3), WEFT_EMALFORMED);
  assert_int_equal(weft__vector_set(&v, &a.log, &zero, 1), WEFT_EMALFORMED);
  assert_int_equal(weft__vector_set(&v, &a.log, &low, 1), WEFT_EMALFORMED);
  assert_int_equal(weft__vector_raise(&v, NULL, &zero), WEFT_EMALFORMED);
  assert_int_equal(v.count, 5);
  assert_int_equal(weft__vector_set(&v, &a.log, NULL, 0), WEFT_OK);
  assert_int_equal(v.count, 2);
  assert_int_equal(weft__vector_seq(&v, &a.log), 0);
  assert_true(weft__vector_covers(&v, &a.log, 0));
  weft__vector_clear(&v);
  assert_int_equal(v.count, 0);
  weft__vector_free(&v);
}

static void encoding_round_trips_and_is_the_only_one(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  for (uint64_t seed = 1; seed <= rounds; seed++) {
    test_rng rng = test_rng_of(seed);
    pair p;
    weft_buf buf;
    pair_make(&p, &rng);
    weft__buf_init(&buf, &mem, 1u << 20);
    weft__vector_encode(&buf, &p.v[0]);
    assert_int_equal(weft__buf_err(&buf), WEFT_OK);
    assert_int_equal(weft__vector_decode(&p.v[1], weft__buf_view(&buf)), WEFT_OK);
    assert_same(&p.v[0], &p.v[1]);
    size_t len = buf.len; /* cut short, or longer by a byte: refused, and nothing changed */
    for (int i = 0; i < 20; i++) {
      size_t cut = test_rng_below(&rng, len);
      weft_err err = weft__vector_decode(&p.v[1], weft_bytes_of(buf.at, cut));
      assert_int_equal(err, WEFT_EMALFORMED);
    }
    weft__buf_u8(&buf, 0);
    assert_int_equal(weft__vector_decode(&p.v[1], weft__buf_view(&buf)), WEFT_EMALFORMED);
    assert_same(&p.v[0], &p.v[1]);
    for (int i = 0; i < 20; i++) { /* whatever a flipped bit decodes to encodes to the same bytes */
      size_t bit = test_rng_below(&rng, 8 * len);
      buf.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
      if (weft__vector_decode(&p.v[1], weft_bytes_of(buf.at, len)) == WEFT_OK) {
        weft_buf again;
        weft__buf_init(&again, &mem, 1u << 20);
        weft__vector_encode(&again, &p.v[1]);
        assert_int_equal(again.len, len);
        assert_memory_equal(again.at, buf.at, len);
        weft__buf_free(&again);
      }
      buf.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    weft__buf_free(&buf);
    pair_free(&p);
  }
}

static void decoding_is_bounded(void **state) {
  (void)state;
  test_fault_alloc fault = {0};
  weft_alloc mem = test_fault_alloc_of(&fault);
  weft_alloc libc = weft_alloc_libc();
  weft_vector v;
  weft_buf buf;
  weft__vector_init(&v, &mem);
  weft__buf_init(&buf, &libc, 64);
  weft__buf_varint(&buf, (uint64_t)WEFT_VECTOR_HEADS_MAX + 1);
  assert_int_equal(weft__vector_decode(&v, weft__buf_view(&buf)), WEFT_ELIMIT);
  weft__buf_reset(&buf);
  weft__buf_varint(&buf, WEFT_VECTOR_HEADS_MAX);
  assert_int_equal(weft__vector_decode(&v, weft__buf_view(&buf)), WEFT_EMALFORMED);
  assert_int_equal(weft__vector_decode(&v, weft_bytes_of(NULL, 0)), WEFT_EMALFORMED);
  assert_int_equal(fault.calls, 0);
  weft__buf_free(&buf);
}

static weft_head numbered(uint32_t number) {
  weft_head h = test_head(0, 1, 0);
  for (unsigned i = 0; i < 4; i++) h.log.b[i] = (uint8_t)(number >> (24 - 8 * i));
  return h;
}

static void the_limit_holds_everywhere(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_vector v, w;
  weft__vector_init(&v, &mem);
  weft__vector_init(&w, &mem);
  for (uint32_t i = 0; i < WEFT_VECTOR_HEADS_MAX; i++) {
    weft_head h = numbered(i);
    assert_int_equal(weft__vector_raise(&v, NULL, &h), WEFT_OK);
  }
  weft_head over = numbered(WEFT_VECTOR_HEADS_MAX), in = numbered(3);
  in.seq = 2;
  assert_int_equal(weft__vector_raise(&v, NULL, &over), WEFT_ELIMIT);
  assert_int_equal(weft__vector_set(&v, &over.log, &over, 1), WEFT_ELIMIT);
  assert_int_equal(weft__vector_apply(&v, &over, 1), WEFT_ELIMIT);
  assert_int_equal(weft__vector_raise_all(&v, &over, 1), WEFT_ELIMIT);
  assert_int_equal(weft__vector_raise(&w, NULL, &over), WEFT_OK);
  assert_int_equal(weft__vector_merge(&v, NULL, &w), WEFT_ELIMIT);
  assert_int_equal(v.count, WEFT_VECTOR_HEADS_MAX);
  assert_int_equal(weft__vector_raise(&v, NULL, &in), WEFT_OK); /* replacing is no growth */
  assert_int_equal(weft__vector_apply(&w, v.heads, v.count), WEFT_ELIMIT);
  assert_int_equal(w.count, 1);
  weft__vector_free(&v);
  weft__vector_free(&w);
}

/* Everything that allocates, once; false when memory ran out somewhere.  Vectors stay as they were
 * when it does. */
static bool run_all(const weft_alloc *mem, const pair *p) {
  weft_vector v, w;
  weft_arena arena;
  weft_buf buf;
  weft_range *ranges;
  weft_head *delta;
  size_t count;
  weft_alloc libc = weft_alloc_libc();
  weft__vector_init(&v, mem);
  weft__vector_init(&w, mem);
  weft__arena_init(&arena, mem);
  weft__buf_init(&buf, &libc, 1u << 20);
  weft__vector_encode(&buf, &p->v[1]);
  weft_err err = weft__vector_copy(&v, &p->v[0]);
  if (err != WEFT_OK) assert_int_equal(v.count, 0);
  if (err == WEFT_OK) {
    err = weft__vector_merge(&v, &p->by, &p->v[1]);
    if (err != WEFT_OK) assert_same(&v, &p->v[0]);
  }
  if (err == WEFT_OK) err = weft__vector_decode(&w, weft__buf_view(&buf));
  if (err == WEFT_OK) err = weft__vector_lacks(&w, &v, &p->by, &arena, &ranges, &count);
  if (err == WEFT_OK) err = weft__vector_delta(&w, &v, &arena, &delta, &count);
  if (err == WEFT_OK) err = weft__vector_apply(&w, delta, count);
  weft_vector small;
  weft__vector_init(&small, mem);
  if (err == WEFT_OK) err = weft__vector_raise(&small, NULL, &p->w.node[0]);
  weft__vector_free(&small);
  if (err == WEFT_OK) err = weft__vector_raise_all(&small, p->v[0].heads, p->v[0].count);
  weft__vector_free(&small);
  if (err == WEFT_OK) {
    err = weft__vector_set(&small, &p->w.node[0].log, &p->w.node[0], 1);
  }
  assert_true(err == WEFT_OK || err == WEFT_ENOMEM);
  weft__vector_free(&small);
  weft__vector_free(&v);
  weft__vector_free(&w);
  weft__arena_free(&arena);
  weft__buf_free(&buf);
  return err == WEFT_OK;
}

static void every_failed_allocation_is_survived(void **state) {
  (void)state;
  test_rng rng = test_rng_of(5);
  pair p;
  pair_make(&p, &rng);
  while (p.v[0].count < 3 || p.v[1].count < 3 || p.sets[0] == p.sets[1]) {
    pair_free(&p);
    pair_make(&p, &rng);
  }
  for (int sticky = 0; sticky < 2; sticky++) {
    for (size_t at = 1;; at++) {
      test_fault_alloc fault = {.fail_at = at, .sticky = sticky};
      weft_alloc mem = test_fault_alloc_of(&fault);
      bool ok = run_all(&mem, &p);
      assert_int_equal(fault.live, 0);
      if (ok) break;
      assert_true(at < 100);
    }
  }
  pair_free(&p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(merge_is_the_union),
      cmocka_unit_test(many_heads_rise_as_one_by_one),
      cmocka_unit_test(compare_is_inclusion),
      cmocka_unit_test(root_is_equal_exactly_when_vectors_are),
      cmocka_unit_test(root_follows_its_definition),
      cmocka_unit_test(root_known_answers),
      cmocka_unit_test(descent_finds_the_difference),
      cmocka_unit_test(node_refuses_bad_prefixes),
      cmocka_unit_test(ranges_lead_to_the_merge),
      cmocka_unit_test(delta_applied_makes_equal),
      cmocka_unit_test(apply_refuses_what_is_not_canonical),
      cmocka_unit_test(set_replaces_a_log),
      cmocka_unit_test(encoding_round_trips_and_is_the_only_one),
      cmocka_unit_test(decoding_is_bounded),
      cmocka_unit_test(the_limit_holds_everywhere),
      cmocka_unit_test(every_failed_allocation_is_survived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

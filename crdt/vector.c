/* Version vectors.
 *
 * Invariants: heads ascend by (log, seq, id) without repetition, every seq is at least 1, and the
 * count never passes WEFT_VECTOR_HEADS_MAX.  Every function that can fail prepares its result aside
 * or reserves room first, so that a failure leaves the vector as it was.
 *
 * The root is that of a 16-ary trie over the nibbles of the log ids.  Its shape depends on the set
 * of logs alone, so the root knows nothing of the order in which heads came.  A leaf hashes 74
 * bytes, 90 for a further branch, and an inner node 256: none can be taken for another.  The trie
 * is computed from the sorted array and never stored. */
#include "crdt/vector.h"

#include <string.h>

#include "crdt/assert.h"
#include "crdt/canary.h"
#include "crdt/limits.h"

enum {
  nibbles = 16,
  head_len_min = 32 + 1 + 32, /* encoded */
  leaf_len = 2 + 32 + 8 + 32,
  leaf_fork_len = leaf_len + WEFT_ROOT_LEN
};

int weft__head_cmp(const weft_head *a, const weft_head *b) {
  int order = weft_id_cmp(&a->log, &b->log);
  if (order != 0) return order;
  if (a->seq != b->seq) return a->seq < b->seq ? -1 : 1;
  return weft_id_cmp(&a->id, &b->id);
}

void weft__vector_init(weft_vector *v, const weft_alloc *mem) {
  memset(v, 0, sizeof *v);
  v->mem = *mem;
}

void weft__vector_free(weft_vector *v) {
  v->mem.free(v->mem.ctx, v->heads);
  v->heads = NULL;
  v->count = v->cap = 0;
}

void weft__vector_clear(weft_vector *v) { v->count = 0; }

static weft_err vector_reserve(weft_vector *v, size_t need) {
  if (need > WEFT_VECTOR_HEADS_MAX) return WEFT_ELIMIT;
  if (need <= v->cap) return WEFT_OK;
  size_t cap = v->cap ? v->cap : 8;
  while (cap < need) cap *= 2;
  weft_head *heads = v->mem.grow(v->mem.ctx, v->heads, cap * sizeof *heads);
  if (!heads) return WEFT_ENOMEM;
  v->heads = heads;
  v->cap = cap;
  return WEFT_OK;
}

weft_err weft__vector_copy(weft_vector *v, const weft_vector *from) {
  WEFT_TRY(vector_reserve(v, from->count));
  if (from->count) memcpy(v->heads, from->heads, from->count * sizeof *v->heads);
  v->count = from->count;
  return WEFT_OK;
}

/* Moves the heads of `fresh` into `v`, which gives up its own. */
static void vector_take(weft_vector *v, weft_vector *fresh) {
  v->mem.free(v->mem.ctx, v->heads);
  *v = *fresh;
}

/* Index of the first head at or behind `log`; behind it when `behind`. */
static size_t bound(const weft_vector *v, const weft_id *log, bool behind) {
  size_t low = 0, high = v->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = weft_id_cmp(&v->heads[middle].log, log);
    if (order < 0 || (behind && order == 0)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/* Number of heads of the log of head `at`, from `at` on. */
static size_t run_len(const weft_vector *v, size_t at) {
  size_t end = at + 1;
  while (end < v->count && weft_id_cmp(&v->heads[end].log, &v->heads[at].log) == 0) end++;
  return end - at;
}

size_t weft__vector_find(const weft_vector *v, const weft_id *log, size_t *first) {
  size_t at = bound(v, log, false);
  if (first) *first = at;
  return bound(v, log, true) - at;
}

uint64_t weft__vector_seq(const weft_vector *v, const weft_id *log) {
  size_t end = bound(v, log, true);
  if (end == 0 || weft_id_cmp(&v->heads[end - 1].log, log) != 0) return 0;
  return v->heads[end - 1].seq;
}

bool weft__vector_covers(const weft_vector *v, const weft_id *log, uint64_t seq) {
  return weft__vector_seq(v, log) + (WEFT_CANARY(VECTOR_AHEAD) ? 1 : 0) >= seq;
}

static bool precedes(const weft_ancestry *by, const weft_head *a, const weft_head *b) {
  if (a->seq >= b->seq) return false;
  return by ? by->precedes(by->ctx, a, b) : true;
}

/* True when `change` is one of `count` heads of its log, or an ancestor of one. */
static bool within(const weft_head *heads, size_t count, const weft_ancestry *by,
                   const weft_head *change) {
  for (size_t i = 0; i < count; i++) {
    if (weft__head_cmp(&heads[i], change) == 0) return true;
    if (precedes(by, change, &heads[i])) return true;
  }
  return false;
}

bool weft__vector_contains(const weft_vector *v, const weft_ancestry *a, const weft_head *change) {
  size_t first;
  size_t count = weft__vector_find(v, &change->log, &first);
  return count && within(v->heads + first, count, a, change);
}

weft_err weft__vector_raise(weft_vector *v, const weft_ancestry *a, const weft_head *change) {
  if (change->seq == 0) return WEFT_EMALFORMED;
  size_t first;
  size_t count = weft__vector_find(v, &change->log, &first);
  if (count && within(v->heads + first, count, a, change)) return WEFT_OK;
  weft_head fresh = *change;
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) kept += !precedes(a, &v->heads[first + i], &fresh);
  WEFT_TRY(vector_reserve(v, v->count - count + kept + 1));
  weft_head *run = v->heads + first;
  size_t used = 0, place = 0;
  for (size_t i = 0; i < count; i++) {
    if (!precedes(a, &run[i], &fresh)) run[used++] = run[i];
  }
  WEFT_ASSERT(used == kept);
  while (place < kept && weft__head_cmp(&run[place], &fresh) < 0) place++;
  size_t behind = v->count - first - count;
  if (behind && kept + 1 != count) memmove(run + kept + 1, run + count, behind * sizeof *run);
  if (kept > place) memmove(run + place + 1, run + place, (kept - place) * sizeof *run);
  run[place] = fresh;
  v->count = v->count - count + kept + 1;
  return WEFT_OK;
}

/* True when head `at` is one of the newest of its log among `heads`. */
static bool is_newest(const weft_head *heads, size_t count, size_t at) {
  size_t end = at;
  while (end + 1 < count && weft_id_cmp(&heads[end + 1].log, &heads[at].log) == 0) end++;
  return heads[at].seq > 0 && heads[at].seq == heads[end].seq;
}

/* Raises the logs that `v` has, and gives how many heads of others there are to add. */
static weft_err raise_known(weft_vector *v, const weft_head *heads, size_t count, size_t *fresh) {
  *fresh = 0;
  for (size_t i = 0; i < count; i++) {
    if (heads[i].seq == 0) continue;
    if (weft__vector_find(v, &heads[i].log, NULL) == 0) {
      *fresh += is_newest(heads, count, i);
    } else {
      WEFT_TRY(weft__vector_raise(v, NULL, &heads[i]));
    }
  }
  return WEFT_OK;
}

weft_err weft__vector_raise_all(weft_vector *v, const weft_head *heads, size_t count) {
  size_t fresh;
  WEFT_TRY(raise_known(v, heads, count, &fresh));
  WEFT_TRY(vector_reserve(v, v->count + fresh));
  size_t end = v->count;
  v->count += fresh;
  /* From the end on, so that each head moves to where it stays; `end` old ones are left to move. */
  for (size_t i = count; i > 0 && fresh > 0; i--) {
    const weft_head *head = &heads[i - 1];
    weft_vector rest = {.heads = v->heads, .count = end};
    size_t first;
    if (weft__vector_find(&rest, &head->log, &first) > 0 || !is_newest(heads, count, i - 1)) {
      continue;
    }
    memmove(v->heads + first + fresh, v->heads + first, (end - first) * sizeof *v->heads);
    v->heads[first + --fresh] = *head;
    end = first;
  }
  return WEFT_OK;
}

/* Sorts a few heads in place: forks are rare and small. */
static void insertion_sort(weft_head *heads, size_t count) {
  for (size_t i = 1; i < count; i++) {
    weft_head head = heads[i];
    size_t at = i;
    while (at > 0 && weft__head_cmp(&heads[at - 1], &head) > 0) {
      heads[at] = heads[at - 1];
      at--;
    }
    heads[at] = head;
  }
}

weft_err weft__vector_set(weft_vector *v, const weft_id *log, const weft_head *heads,
                          size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (heads[i].seq == 0 || weft_id_cmp(&heads[i].log, log) != 0) return WEFT_EMALFORMED;
    for (size_t k = 0; k < i; k++) {
      if (weft__head_cmp(&heads[i], &heads[k]) == 0) return WEFT_EMALFORMED;
    }
  }
  size_t first;
  size_t old = weft__vector_find(v, log, &first);
  if (old == 0 && count == 0) return WEFT_OK;
  WEFT_TRY(vector_reserve(v, v->count - old + count));
  size_t behind = v->count - first - old;
  weft_head *run = v->heads + first;
  if (behind) memmove(run + count, run + old, behind * sizeof *run);
  if (count) memcpy(run, heads, count * sizeof *run);
  if (count) insertion_sort(run, count);
  v->count = v->count - old + count;
  return WEFT_OK;
}

/* Which log comes next in a walk over two sorted lists, one of them a vector: that of head `i` of
 * `v` (<0), that of head `k` of the other (>0), or the same (0).  At least one is not at its end.
 */
static int log_order(const weft_vector *v, size_t i, const weft_head *heads, size_t count,
                     size_t k) {
  if (i == v->count) return 1;
  if (k == count) return -1;
  return weft_id_cmp(&v->heads[i].log, &heads[k].log);
}

/* Appends the heads of `run` that no head of `other` continues; of two equal ones those of the side
 * that is asked to `keep` them. */
static void take_uncovered(weft_vector *out, const weft_ancestry *by, const weft_head *run,
                           size_t count, const weft_head *other, size_t other_count, bool keep) {
  for (size_t i = 0; i < count; i++) {
    bool covered = false;
    for (size_t k = 0; k < other_count; k++) {
      if (!keep && weft__head_cmp(&run[i], &other[k]) == 0) covered = true;
      if (precedes(by, &run[i], &other[k])) covered = true;
    }
    if (!covered) out->heads[out->count++] = run[i];
  }
}

weft_err weft__vector_merge(weft_vector *v, const weft_ancestry *a, const weft_vector *from) {
  weft_vector fresh;
  weft__vector_init(&fresh, &v->mem);
  /* The sum can pass the limit although the merge does not, so the limit is checked at the end. */
  size_t cap = v->count + from->count;
  if (from->count == 0) return WEFT_OK;
  fresh.heads = fresh.mem.alloc(fresh.mem.ctx, cap * sizeof *fresh.heads);
  if (!fresh.heads) return WEFT_ENOMEM;
  fresh.cap = cap;
  size_t i = 0, k = 0;
  while (i < v->count || k < from->count) {
    int order = log_order(v, i, from->heads, from->count, k);
    size_t mine = order <= 0 ? run_len(v, i) : 0;
    size_t theirs = order >= 0 ? run_len(from, k) : 0;
    size_t start = fresh.count;
    const weft_head *own = mine ? v->heads + i : NULL;
    const weft_head *other = theirs ? from->heads + k : NULL;
    take_uncovered(&fresh, a, own, mine, other, theirs, true);
    take_uncovered(&fresh, a, other, theirs, own, mine, false);
    insertion_sort(fresh.heads + start, fresh.count - start);
    i += mine;
    k += theirs;
  }
  WEFT_ASSERT(fresh.count <= cap);
  if (fresh.count > WEFT_VECTOR_HEADS_MAX) {
    weft__vector_free(&fresh);
    return WEFT_ELIMIT;
  }
  vector_take(v, &fresh);
  return WEFT_OK;
}

static bool contains_all(const weft_vector *outer, const weft_vector *inner,
                         const weft_ancestry *by) {
  for (size_t i = 0; i < inner->count; i++) {
    if (!weft__vector_contains(outer, by, &inner->heads[i])) return false;
  }
  return true;
}

weft_order weft__vector_compare(const weft_vector *a, const weft_vector *b,
                                const weft_ancestry *by) {
  bool before = contains_all(b, a, by);
  bool after = contains_all(a, b, by);
  if (before && after) return WEFT_ORDER_EQUAL;
  if (before) return WEFT_ORDER_BEFORE;
  return after ? WEFT_ORDER_AFTER : WEFT_ORDER_CONCURRENT;
}

/* What is missing up to `head`, given the own heads of that log. */
static weft_range range_to(const weft_head *own, size_t count, const weft_ancestry *by,
                           const weft_head *head) {
  weft_range range = {head->log, 1, head->seq, {{0}}, head->id, false};
  const weft_head *base = NULL;
  for (size_t i = 0; i < count; i++) {
    if (precedes(by, &own[i], head)) base = &own[i];
  }
  if (base) {
    range.from = base->seq + 1;
    range.prev = base->id;
  } else if (count) {
    uint64_t newest = own[count - 1].seq;
    range.fork = true;
    range.from = newest < head->seq ? newest : head->seq;
  }
  return range;
}

weft_err weft__vector_lacks(const weft_vector *mine, const weft_vector *theirs,
                            const weft_ancestry *a, weft_arena *arena, weft_range **ranges,
                            size_t *count) {
  weft_range *list = NULL;
  size_t used = 0, cap = 0;
  *ranges = NULL;
  *count = 0;
  for (size_t i = 0; i < theirs->count; i++) {
    const weft_head *head = &theirs->heads[i];
    size_t first;
    size_t own = weft__vector_find(mine, &head->log, &first);
    if (own && within(mine->heads + first, own, a, head)) continue;
    void *at = list;
    WEFT_TRY(weft__arena_grow(arena, &at, used, &cap, used + 1, sizeof *list));
    list = at;
    list[used++] = range_to(own ? mine->heads + first : NULL, own, a, head);
  }
  *ranges = list;
  *count = used;
  return WEFT_OK;
}

weft_err weft__vector_delta(const weft_vector *from, const weft_vector *to, weft_arena *arena,
                            weft_head **delta, size_t *count) {
  weft_head *list = weft__arena_zero(arena, from->count + to->count, sizeof *list);
  *delta = NULL;
  *count = 0;
  if (!list) return WEFT_ENOMEM;
  size_t i = 0, k = 0, used = 0;
  while (i < from->count || k < to->count) {
    int order = log_order(from, i, to->heads, to->count, k);
    size_t old = order <= 0 ? run_len(from, i) : 0;
    size_t now = order >= 0 ? run_len(to, k) : 0;
    bool same = old == now && memcmp(from->heads + i, to->heads + k, old * sizeof *list) == 0;
    if (now == 0) list[used++].log = from->heads[i].log;
    if (now != 0 && !same) {
      memcpy(list + used, to->heads + k, now * sizeof *list);
      used += now;
    }
    i += old;
    k += now;
  }
  *delta = list;
  *count = used;
  return WEFT_OK;
}

/* Checks a delta and gives the number of heads in it, without the removals. */
static weft_err delta_check(const weft_head *delta, size_t count, size_t *heads) {
  static const weft_id zeros;
  *heads = count;
  for (size_t i = 0; i < count; i++) {
    if (i > 0 && weft__head_cmp(&delta[i - 1], &delta[i]) >= 0) return WEFT_EMALFORMED;
    if (delta[i].seq != 0) continue;
    if (weft_id_cmp(&delta[i].id, &zeros) != 0) return WEFT_EMALFORMED;
    bool more = i + 1 < count && weft_id_cmp(&delta[i].log, &delta[i + 1].log) == 0;
    if (more) return WEFT_EMALFORMED;
    *heads -= 1;
  }
  return WEFT_OK;
}

weft_err weft__vector_apply(weft_vector *v, const weft_head *delta, size_t count) {
  size_t heads;
  WEFT_TRY(delta_check(delta, count, &heads));
  if (count == 0) return WEFT_OK;
  if (heads > WEFT_VECTOR_HEADS_MAX) return WEFT_ELIMIT;
  weft_vector fresh;
  weft__vector_init(&fresh, &v->mem);
  fresh.heads = fresh.mem.alloc(fresh.mem.ctx, (v->count + heads + 1) * sizeof *fresh.heads);
  if (!fresh.heads) return WEFT_ENOMEM;
  fresh.cap = v->count + heads + 1;
  size_t i = 0, k = 0;
  while (i < v->count || k < count) {
    int order = log_order(v, i, delta, count, k);
    if (order < 0) {
      fresh.heads[fresh.count++] = v->heads[i++];
    } else if (order == 0) {
      i += run_len(v, i); /* the delta speaks for the whole log */
    } else {
      if (delta[k].seq != 0) fresh.heads[fresh.count++] = delta[k];
      k++;
    }
  }
  if (fresh.count > WEFT_VECTOR_HEADS_MAX) {
    weft__vector_free(&fresh);
    return WEFT_ELIMIT;
  }
  vector_take(v, &fresh);
  return WEFT_OK;
}

void weft__vector_encode(weft_buf *out, const weft_vector *v) {
  weft__buf_varint(out, v->count);
  for (size_t i = 0; i < v->count; i++) {
    weft__buf_put_raw(out, v->heads[i].log.b, sizeof v->heads[i].log.b);
    weft__buf_varint(out, v->heads[i].seq);
    weft__buf_put_raw(out, v->heads[i].id.b, sizeof v->heads[i].id.b);
  }
}

weft_err weft__vector_decode(weft_vector *v, weft_bytes in) {
  weft_rd r = weft__rd(in);
  uint64_t count = weft__rd_varint(&r);
  if (count > WEFT_VECTOR_HEADS_MAX) return WEFT_ELIMIT;
  if (r.failed || count > weft__rd_left(&r) / head_len_min) return WEFT_EMALFORMED;
  weft_vector fresh;
  weft__vector_init(&fresh, &v->mem);
  WEFT_TRY(vector_reserve(&fresh, (size_t)count));
  for (; fresh.count < count; fresh.count++) {
    weft_head *head = &fresh.heads[fresh.count];
    head->log = weft__rd_id(&r);
    head->seq = weft__rd_varint(&r);
    head->id = weft__rd_id(&r);
    bool ascends = fresh.count == 0 || weft__head_cmp(head - 1, head) < 0;
    if (r.failed || head->seq == 0 || !ascends) break;
  }
  if (fresh.count < count || !weft__rd_done(&r)) {
    weft__vector_free(&fresh);
    return WEFT_EMALFORMED;
  }
  vector_take(v, &fresh);
  return WEFT_OK;
}

static unsigned nibble_at(const weft_id *log, unsigned depth) {
  unsigned byte = log->b[depth / 2];
  return depth % 2 ? byte & 15 : byte >> 4;
}

static void put_big_endian(uint8_t out[8], uint64_t v) {
  for (unsigned i = 0; i < 8; i++) out[i] = (uint8_t)(v >> (56 - 8 * i));
}

/* One head: "vv" | log | seq u64 | id.  Every further head of the same log wraps what came before:
 * "vf" | log | seq u64 | id | hash so far. */
static void leaf_hash(const weft_head *heads, size_t count, const weft_crypto *crypto,
                      uint8_t out[WEFT_ROOT_LEN]) {
  uint8_t text[leaf_fork_len];
  for (size_t i = 0; i < count; i++) {
    memcpy(text, i == 0 ? "vv" : "vf", 2);
    memcpy(text + 2, heads[i].log.b, 32);
    put_big_endian(text + 34, heads[i].seq);
    memcpy(text + 42, heads[i].id.b, 32);
    memcpy(text + leaf_len, out, WEFT_ROOT_LEN);
    weft_bytes part = weft_bytes_of(text, i == 0 ? leaf_len : leaf_fork_len);
    crypto->hash(out, WEFT_ROOT_LEN, weft_bytes_of(NULL, 0), NULL, NULL, &part, 1);
  }
}

/* A node whose children are being hashed: `at`..`end` are the heads not yet given to one. */
typedef struct frame {
  size_t at;
  size_t end;
  unsigned next; /* child to do next */
  uint8_t child[nibbles][WEFT_ROOT_LEN];
} frame;

/* End of the heads in at..end whose log has `nibble` at `depth`. */
static size_t child_end(const weft_vector *v, size_t at, size_t end, unsigned depth,
                        unsigned nibble) {
  while (at < end) {
    size_t middle = at + (end - at) / 2;
    if (nibble_at(&v->heads[middle].log, depth) <= nibble) {
      at = middle + 1;
    } else {
      end = middle;
    }
  }
  return at;
}

static void frame_start(frame *f, size_t at, size_t end) {
  f->at = at;
  f->end = end;
  f->next = 0;
}

/* Hash of the subtree at `depth` that holds heads at..end; zeros when that is empty. */
static void subtree_hash(const weft_vector *v, const weft_crypto *crypto, size_t at, size_t end,
                         unsigned depth, uint8_t out[WEFT_ROOT_LEN]) {
  memset(out, 0, WEFT_ROOT_LEN);
  if (at == end) return;
  if (run_len(v, at) >= end - at) {
    leaf_hash(v->heads + at, end - at, crypto, out);
    return;
  }
  frame stack[WEFT_VECTOR_DEPTH_MAX];
  unsigned top = 0;
  frame_start(&stack[0], at, end);
  for (;;) {
    frame *f = &stack[top];
    if (f->next == nibbles) {
      weft_bytes part = weft_bytes_of(f->child, sizeof f->child);
      crypto->hash(out, WEFT_ROOT_LEN, weft_bytes_of(NULL, 0), NULL, NULL, &part, 1);
      if (top == 0) return;
      f = &stack[--top];
      memcpy(f->child[f->next++], out, WEFT_ROOT_LEN);
      continue;
    }
    size_t first = f->at;
    f->at = child_end(v, first, f->end, depth + top, f->next);
    memset(f->child[f->next], 0, WEFT_ROOT_LEN);
    if (f->at == first) {
      f->next++;
    } else if (run_len(v, first) >= f->at - first) {
      leaf_hash(v->heads + first, f->at - first, crypto, f->child[f->next++]);
    } else {
      /* Two logs differ in some nibble, so no frame is needed below the last one. */
      WEFT_ASSERT(depth + top + 1 < WEFT_VECTOR_DEPTH_MAX);
      frame_start(&stack[++top], first, f->at);
    }
  }
}

bool weft__vector_equal(const weft_vector *a, const weft_vector *b) {
  if (a->count != b->count) return false;
  for (size_t i = 0; i < a->count; i++) {
    if (weft__head_cmp(&a->heads[i], &b->heads[i]) != 0) return false;
  }
  return true;
}

void weft__vector_root(const weft_vector *v, const weft_crypto *crypto,
                       uint8_t root[WEFT_ROOT_LEN]) {
  subtree_hash(v, crypto, 0, v->count, 0, root);
}

weft_err weft__vector_node(const weft_vector *v, const weft_crypto *crypto, weft_bytes prefix,
                           weft_vector_node *node) {
  if (prefix.len >= WEFT_VECTOR_DEPTH_MAX) return WEFT_EMALFORMED;
  size_t at = 0, end = v->count;
  unsigned depth = 0;
  for (; depth < prefix.len; depth++) {
    unsigned nibble = prefix.at[depth];
    if (nibble >= nibbles) return WEFT_EMALFORMED;
    if (nibble > 0) at = child_end(v, at, end, depth, nibble - 1);
    end = child_end(v, at, end, depth, nibble);
  }
  node->first = at;
  node->count = end - at;
  for (unsigned nibble = 0; nibble < nibbles; nibble++) {
    size_t next = child_end(v, at, end, depth, nibble);
    subtree_hash(v, crypto, at, next, depth + 1, node->child[nibble]);
    at = next;
  }
  return WEFT_OK;
}

#include "tests/sim/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crdt/json.h"
#include "tests/sim/witness.h"

enum { slots = 1 << 12, digests_max = 1 << 14 };

/* One branch of a log: the ids of its changes by seq, from 1 to `top`, as they were first met.
 * Almost every log has one branch; those that have more share what is before they part. */
typedef struct log_book {
  weft_id id;
  weft_id *ids;
  uint64_t top, cap;
  size_t author; /* SIZE_MAX: not known */
  size_t next;   /* another branch of the log; SIZE_MAX: none */
} log_book;

typedef struct entry {
  size_t log;
  uint64_t seq;
  weft_id id;
  size_t author;
  bool lost; /* may be gone */
  ledger_change change;
  uint8_t *seen;  /* bits: earlier entries that the author showed */
  size_t *claims; /* entries that it replaces, as the author saw them */
  size_t claim_count;
  uint64_t *base; /* what the author showed, by log number */
  size_t base_count;
} entry;

/* A vector as it was looked at last. */
typedef struct glance {
  weft_head *heads;
  size_t count, cap;
} glance;

typedef struct view {
  uint64_t *held, *shown; /* by log number */
  uint64_t *base;         /* shown, before the commit that is under way */
  size_t cap;
  bool lies;                   /* a liar's is not looked at */
  bool doubtful, acknowledged; /* a change that may be written; one that must be */
  ledger_change doubt;
  glance last_held, last_shown;
  weft_digest last_digest;
} view;

typedef struct digest_book {
  uint64_t key;
  weft_digest digest;
} digest_book;

struct ledger {
  sim *s;
  size_t nodes;
  log_book *logs;
  size_t log_count, log_cap;
  uint32_t slot[slots]; /* log number + 1 by the beginning of its id */
  entry *entries;
  size_t entry_count, entry_cap;
  view views[LEDGER_NODES_MAX];
  bool forks[LEDGER_NODES_MAX]; /* devices that may sign twice: copied ones, and liars */
  bool forked;
  digest_book *digests;
  size_t digest_count;
  uint64_t conflicts, left, lost;
  bool met_again, waited;
};

static void *must(ledger *l, void *at) {
  if (!at) sim_fail(l->s, "out of memory");
  return at;
}

static const char *name(const ledger *l, size_t node) { return sim_name(l->s, node); }

ledger *ledger_new(sim *s, size_t nodes) {
  ledger *l = calloc(1, sizeof *l);
  if (!l) abort();
  l->s = s;
  l->nodes = nodes;
  l->digests = must(l, calloc(digests_max, sizeof *l->digests));
  return l;
}

void ledger_free(ledger *l) {
  for (size_t i = 0; i < l->log_count; i++) {
    free(l->logs[i].ids);
  }
  for (size_t i = 0; i < l->entry_count; i++) {
    free(l->entries[i].seen);
    free(l->entries[i].claims);
    free(l->entries[i].base);
  }
  for (size_t i = 0; i < l->nodes; i++) {
    free(l->views[i].held);
    free(l->views[i].shown);
    free(l->views[i].base);
    free(l->views[i].last_held.heads);
    free(l->views[i].last_shown.heads);
  }
  free(l->logs);
  free(l->entries);
  free(l->digests);
  free(l);
}

/* Has the store under a node been made to fail?  Then it answers nothing more. */
static bool is_broken(ledger *l, size_t node) { return sim_faults(l->s, node)->hits > 0; }

/* --- logs and who holds what of them --- */

static size_t book_add(ledger *l, const weft_id *id) {
  if (l->log_count == slots / 2) sim_fail(l->s, "more logs than the ledger has room for");
  if (l->log_count == l->log_cap) {
    l->log_cap = l->log_cap ? l->log_cap * 2 : 32;
    l->logs = must(l, realloc(l->logs, l->log_cap * sizeof *l->logs));
  }
  l->logs[l->log_count] = (log_book){.id = *id, .author = SIZE_MAX, .next = SIZE_MAX};
  return l->log_count++;
}

/* The first branch of a log. */
static size_t log_find(ledger *l, const weft_id *id) {
  size_t at = ((size_t)id->b[0] << 4 | id->b[1] >> 4) & (slots - 1);
  while (l->slot[at]) {
    size_t number = l->slot[at] - 1;
    if (memcmp(l->logs[number].id.b, id->b, sizeof id->b) == 0) return number;
    at = (at + 1) & (slots - 1);
  }
  l->slot[at] = (uint32_t)book_add(l, id) + 1;
  return l->slot[at] - 1;
}

static bool same_id(const weft_id *a, const weft_id *b) {
  return memcmp(a->b, b->b, sizeof a->b) == 0;
}

/* How far two branches are one. */
static uint64_t common(const log_book *a, const log_book *b) {
  uint64_t low = 0, high = a->top < b->top ? a->top : b->top;
  while (low < high) {
    uint64_t mid = high - (high - low) / 2;
    if (same_id(&a->ids[mid], &b->ids[mid]))
      low = mid;
    else
      high = mid - 1;
  }
  return low;
}

static weft_id id_at(ledger *l, size_t node, const weft_id *log, uint32_t branch, uint64_t seq) {
  weft_id id;
  weft_err err = weft_replica_id_at(sim_replica(l->s, node), log, branch, seq, &id);
  sim_check(l->s, SIM_I5);
  if (err != WEFT_OK) sim_fail(l->s, "I5: %s has a gap: %s", name(l, node), weft_err_name(err));
  return id;
}

/* The branch goes on to `seq` as the node has it. */
static void book_fill(ledger *l, size_t book, size_t node, uint32_t branch, uint64_t seq) {
  log_book *b = &l->logs[book];
  if (seq >= b->cap) {
    b->cap = b->cap ? b->cap * 2 : 16;
    while (b->cap <= seq) b->cap *= 2;
    b->ids = must(l, realloc(b->ids, b->cap * sizeof *b->ids));
  }
  while (b->top < seq) {
    weft_id id = id_at(l, node, &b->id, branch, b->top + 1);
    b->ids[++b->top] = id;
  }
}

/* May the device that writes a log have signed it twice? */
static void fork_check(ledger *l, size_t node, const weft_id *log, uint64_t seq) {
  weft_id device;
  weft_source source = sim_source(l->s, node);
  if (source.author(source.ctx, log, &device) != WEFT_OK) sim_fail(l->s, "a log without an author");
  const test_space *space = sim_space(l->s);
  for (size_t i = 0; i < space->count; i++) {
    if (weft_id_cmp(&space->devices[i].device, &device) != 0) continue;
    if (l->forks[i]) return;
    sim_fail(l->s, "I4: two changes of %s for seq %llu of one log", name(l, i),
             (unsigned long long)seq);
  }
  sim_fail(l->s, "a log of a stranger");
}

/* (log, seq) is `id`: the branch that says so, which is a new one where none does. */
static size_t book_of(ledger *l, size_t node, const weft_head *h) {
  size_t first = log_find(l, &h->log), best = SIZE_MAX;
  uint64_t best_len = 0;
  weft_span span = {.branch = WEFT_BRANCH_ANY};
  sim_check(l->s, SIM_I4);
  for (size_t i = first; i != SIZE_MAX; i = l->logs[i].next) {
    if (h->seq <= l->logs[i].top && same_id(&l->logs[i].ids[h->seq], &h->id)) return i;
  }
  weft_err err = weft_replica_find(sim_replica(l->s, node), &h->log, h->seq, &h->id, &span);
  if (err != WEFT_OK) sim_fail(l->s, "I6: %s does not find its head", name(l, node));
  for (size_t i = first; i != SIZE_MAX; i = l->logs[i].next) {
    const log_book *b = &l->logs[i];
    uint64_t low = 0, high = b->top < h->seq ? b->top : h->seq;
    while (low < high) {
      uint64_t mid = high - (high - low) / 2;
      weft_id id = id_at(l, node, &h->log, span.branch, mid);
      if (same_id(&id, &b->ids[mid]))
        low = mid;
      else
        high = mid - 1;
    }
    if (best == SIZE_MAX || low > best_len) best = i, best_len = low;
  }
  if (best_len < l->logs[best].top) {
    fork_check(l, node, &h->log, best_len + 1);
    best = book_add(l, &h->log);
    l->logs[best].next = l->logs[first].next;
    l->logs[first].next = best;
    l->forked = true;
    book_fill(l, best, node, span.branch, best_len);
  }
  book_fill(l, best, node, span.branch, h->seq);
  if (!same_id(&l->logs[best].ids[h->seq], &h->id)) {
    sim_fail(l->s, "I6: %s has another id at its head", name(l, node));
  }
  return best;
}

static void view_room(ledger *l, view *v) {
  if (v->cap >= l->log_count) return;
  size_t cap = v->cap ? v->cap : 16;
  while (cap < l->log_count) cap *= 2;
  uint64_t **all[] = {&v->held, &v->shown, &v->base};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    *all[i] = must(l, realloc(*all[i], cap * sizeof **all[i]));
    memset(*all[i] + v->cap, 0, (cap - v->cap) * sizeof **all[i]);
  }
  v->cap = cap;
}

static uint64_t seq_of(const uint64_t *seqs, const view *v, size_t log) {
  return log < v->cap ? seqs[log] : 0;
}

/* Turns a vector into numbers by branch: how much of each it covers. */
static uint64_t *numbers(ledger *l, size_t node, const weft_vector *v) {
  size_t *books = must(l, calloc(v->count + 1, sizeof *books));
  for (size_t i = 0; i < v->count; i++) books[i] = book_of(l, node, &v->heads[i]);
  uint64_t *out = must(l, calloc(l->log_count + 1, sizeof *out));
  for (size_t i = 0; i < v->count; i++) {
    const log_book *own = &l->logs[books[i]];
    for (size_t k = log_find(l, &own->id); k != SIZE_MAX; k = l->logs[k].next) {
      uint64_t seq = v->heads[i].seq;
      if (k != books[i]) {
        uint64_t both = common(own, &l->logs[k]);
        if (seq > both) seq = both;
      }
      if (out[k] < seq) out[k] = seq;
    }
  }
  free(books);
  return out;
}

/* --- commits --- */

static bool shows(const uint64_t *shown, const view *v, const entry *e) {
  return seq_of(shown, v, e->log) >= e->seq;
}

void ledger_before(ledger *l, size_t node) {
  view *v = &l->views[node];
  ledger_look(l, node);
  if (v->cap) memcpy(v->base, v->shown, v->cap * sizeof *v->base);
}

static bool has_seen(const entry *e, size_t i) { return (e->seen[i / 8] >> (i % 8)) & 1; }

static const ledger_write *write_at(const entry *e, unsigned doc, unsigned field) {
  for (size_t i = 0; i < e->change.count; i++) {
    const ledger_write *w = &e->change.writes[i];
    if (w->doc == doc && w->field == field) return w;
  }
  return NULL;
}

/* Does entry `i`, which writes to that place, survive among those that `keep` marks? */
static bool survives(const ledger *l, size_t i, unsigned doc, unsigned field, const bool *keep) {
  for (size_t k = i + 1; k < l->entry_count; k++) {
    if (keep[k] && write_at(&l->entries[k], doc, field) && has_seen(&l->entries[k], i)) {
      return false;
    }
  }
  return true;
}

/* What the newest entry replaces, and whether it meets what it has not seen. */
static void claims_of(ledger *l, entry *e, size_t count) {
  bool *seen = must(l, calloc(count + 1, sizeof *seen));
  bool *all = must(l, calloc(count + 1, sizeof *all));
  e->claims = must(l, calloc(count + 1, sizeof *e->claims));
  for (size_t i = 0; i < count; i++) {
    seen[i] = has_seen(e, i);
    all[i] = !l->entries[i].lost;
  }
  bool meets = false;
  size_t before = l->entry_count;
  l->entry_count = count;
  for (size_t w = 0; w < e->change.count; w++) {
    unsigned doc = e->change.writes[w].doc, field = e->change.writes[w].field;
    for (size_t i = 0; i < count; i++) {
      if (!write_at(&l->entries[i], doc, field)) continue;
      if (seen[i] && e->claim_count < count && survives(l, i, doc, field, seen)) {
        e->claims[e->claim_count++] = i;
      } else if (!seen[i] && all[i] && survives(l, i, doc, field, all)) {
        meets = true;
      }
    }
  }
  l->entry_count = before;
  l->conflicts += meets;
  free(seen);
  free(all);
}

/* Is there a field of the ledger's at `path`, and which? */
static bool field_at(weft_path path, unsigned *field) {
  for (size_t k = 0; k + 1 < path.len; k++) {
    if (path.at[k] != 'f') continue;
    *field = (unsigned)(path.at[k + 1] - '0');
    return *field < LEDGER_FIELDS;
  }
  return false;
}

/* Leaves out what the author asked for and the edit found to be so already. */
static void only_written(ledger *l, size_t node, const weft_id *id, ledger_change *c) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_history_entry h;
  weft_change_state state;
  weft__arena_init(&arena, &mem);
  sim_faults(l->s, node)->paused = true;
  weft_err err = weft_replica_change(sim_replica(l->s, node), &arena,
                                     weft_bytes_of(id->b, sizeof id->b), &h, &state);
  sim_faults(l->s, node)->paused = false;
  if (err != WEFT_OK) sim_fail(l->s, "%s cannot read its change", name(l, node));
  size_t count = 0;
  for (size_t i = 0; i < c->count; i++) {
    bool written = false;
    for (size_t k = 0; k < h.op_count && !written; k++) {
      unsigned field;
      char doc[16], pointer[8];
      ledger_names(&c->writes[i], doc, pointer);
      written = weft_bytes_cmp(h.ops[k].doc, weft_bytes_str(doc)) == 0 &&
                field_at(h.ops[k].path, &field) && field == c->writes[i].field;
    }
    if (written) c->writes[count++] = c->writes[i];
  }
  c->count = count;
  weft__arena_free(&arena);
}

static void entry_add(ledger *l, size_t node, const ledger_change *c, const weft_head *h) {
  view *v = &l->views[node];
  size_t book = book_of(l, node, h);
  if (l->entry_count == l->entry_cap) {
    l->entry_cap = l->entry_cap ? l->entry_cap * 2 : 256;
    l->entries = must(l, realloc(l->entries, l->entry_cap * sizeof *l->entries));
  }
  entry *e = &l->entries[l->entry_count];
  *e = (entry){.log = book, .seq = h->seq, .id = h->id, .author = node, .change = *c};
  only_written(l, node, &h->id, &e->change);
  e->seen = must(l, calloc(l->entry_count / 8 + 1, 1));
  for (size_t i = 0; i < l->entry_count; i++) {
    if (shows(v->base, v, &l->entries[i])) e->seen[i / 8] |= (uint8_t)(1u << (i % 8));
  }
  claims_of(l, e, l->entry_count);
  e->base = must(l, calloc(v->cap + 1, sizeof *e->base));
  if (v->cap) memcpy(e->base, v->base, v->cap * sizeof *e->base);
  e->base_count = v->cap;
  l->entry_count++;
  log_book *b = &l->logs[book];
  if (b->author != SIZE_MAX && sim_device(l->s, b->author) != sim_device(l->s, node)) {
    sim_fail(l->s, "I4: two devices write one log");
  }
  b->author = node;
}

void ledger_committed(ledger *l, size_t node, const ledger_change *c, const weft_commit *done) {
  view *v = &l->views[node];
  size_t at = 0;
  if (done->written && is_broken(l, node)) {
    ledger_doubtful(l, node, c);
    v->acknowledged = true;
    return;
  }
  if (done->written) {
    weft_head h = {.log = done->log, .seq = done->seq, .id = done->change};
    for (; at < l->entry_count && !same_id(&l->entries[at].id, &h.id); at++) continue;
    /* A device and its copy may write the same in the same millisecond: that is one change. */
    if (at < l->entry_count && !l->forks[sim_device(l->s, node)]) {
      sim_fail(l->s, "I4: %s signs a change again", name(l, node));
    }
    sim_faults(l->s, node)->paused = true;
    if (at == l->entry_count) entry_add(l, node, c, &h);
    sim_faults(l->s, node)->paused = false;
  }
  ledger_look(l, node);
  sim_check(l->s, SIM_I3);
  if (done->written && !shows(v->shown, v, &l->entries[at])) {
    sim_fail(l->s, "I3: %s does not show what it committed", name(l, node));
  }
}

void ledger_doubtful(ledger *l, size_t node, const ledger_change *c) {
  l->views[node].doubtful = true;
  l->views[node].acknowledged = false;
  l->views[node].doubt = *c;
}

/* Is there a change at or behind a head that a node wrote and was not told of? */
static bool is_news(ledger *l, size_t node, size_t book, const weft_head *h) {
  const log_book *b = &l->logs[book];
  if (b->author != SIZE_MAX && sim_device(l->s, b->author) != sim_device(l->s, node)) return false;
  if (b->author == SIZE_MAX && h->seq < 2) return false;
  for (size_t i = 0; i < l->entry_count; i++) {
    if (same_id(&l->entries[i].id, &h->id)) return false;
  }
  weft_id device;
  weft_source source = sim_source(l->s, node);
  const weft_identity *own = &sim_space(l->s)->devices[sim_device(l->s, node)];
  return source.author(source.ctx, &h->log, &device) == WEFT_OK &&
         weft_id_cmp(&device, &own->device) == 0;
}

bool ledger_started(ledger *l, size_t node) {
  view *v = &l->views[node];
  const weft_vector *held = weft_replica_held(sim_replica(l->s, node));
  bool written = false;
  sim_faults(l->s, node)->paused = true;
  for (size_t i = 0; v->doubtful && !written && i < held->count; i++) {
    const weft_head *h = &held->heads[i];
    if (!is_news(l, node, book_of(l, node, h), h)) continue;
    entry_add(l, node, &v->doubt, h);
    written = true;
  }
  sim_faults(l->s, node)->paused = false;
  if (v->doubtful) sim_check(l->s, SIM_I3);
  if (v->doubtful && v->acknowledged && !written) {
    sim_fail(l->s, "I3: %s has lost a change that it acknowledged", name(l, node));
  }
  v->doubtful = false;
  ledger_look(l, node);
  return written;
}

void ledger_copied(ledger *l, size_t from, size_t to) {
  view *v = &l->views[from], *w = &l->views[to];
  if (to >= l->nodes) l->nodes = to + 1;
  l->forks[sim_device(l->s, from)] = true;
  view_room(l, v);
  view_room(l, w);
  if (!v->cap) return;
  memcpy(w->held, v->held, v->cap * sizeof *v->held);
  memcpy(w->shown, v->shown, v->cap * sizeof *v->shown);
}

void ledger_lies(ledger *l, size_t node) {
  l->forks[sim_device(l->s, node)] = true;
  l->views[node].lies = true;
}

/* What this node alone held goes with its store: changes of its own and of others that were set
 * back before, or that liars signed for it and may keep to themselves.  Whoever had seen them may
 * have claimed them, and is waited for in vain then. */
void ledger_set_back(ledger *l, size_t node) {
  view *v = &l->views[node];
  v->doubtful = false;
  for (size_t log = 0; log < l->log_count; log++) {
    uint64_t left = 0;
    for (size_t k = 0; k < l->nodes; k++) {
      const view *other = &l->views[k];
      if (k == node || other->lies) continue;
      if (seq_of(other->held, other, log) > left) left = seq_of(other->held, other, log);
    }
    if (seq_of(v->held, v, log) <= left) continue;
    for (size_t i = 0; i < l->entry_count; i++) {
      entry *e = &l->entries[i];
      if (e->log == log && e->seq > left) e->lost = true;
      if (log < e->base_count && e->base[log] > left) e->lost = true;
    }
  }
  v->last_held.count = v->last_shown.count = 0;
  if (v->cap) memset(v->held, 0, v->cap * sizeof *v->held);
  if (v->cap) memset(v->shown, 0, v->cap * sizeof *v->shown);
}

/* --- looking --- */

static void digest_check(ledger *l, size_t node, const uint64_t *shown) {
  uint64_t key = 0xcbf29ce484222325u;
  for (size_t i = 0; i < l->log_count; i++) {
    if (!shown[i]) continue;
    key = (key ^ i) * 0x100000001b3u;
    key = (key ^ shown[i]) * 0x100000001b3u;
  }
  weft_digest now = weft_replica_digest(sim_replica(l->s, node));
  size_t at = key & (digests_max - 1);
  while (l->digests[at].key && l->digests[at].key != key) at = (at + 1) & (digests_max - 1);
  digest_book *b = &l->digests[at];
  sim_check(l->s, SIM_I1);
  if (b->key) {
    l->met_again = true;
    if (b->digest.high != now.high || b->digest.low != now.low) {
      sim_fail(l->s, "I1: %s shows the same as was shown before, with another digest",
               name(l, node));
    }
  } else if (l->digest_count < digests_max / 2) {
    *b = (digest_book){key, now};
    l->digest_count++;
  }
}

/* Nothing held is ever let go. */
static void held_check(ledger *l, size_t node, const uint64_t *held) {
  view *v = &l->views[node];
  for (size_t log = 0; log < l->log_count; log++) {
    sim_check(l->s, SIM_I3);
    if (held[log] < v->held[log]) {
      sim_fail(l->s, "I3: %s no longer holds seq %llu of a log", name(l, node),
               (unsigned long long)v->held[log]);
    }
    const log_book *b = &l->logs[log];
    bool one = b->next == SIZE_MAX && log_find(l, &b->id) == log;
    for (uint64_t seq = v->held[log] + 1; one && seq <= held[log]; seq++) {
      weft_id id = id_at(l, node, &b->id, WEFT_BRANCH_ANY, seq);
      if (!same_id(&id, &b->ids[seq])) {
        sim_fail(l->s, "I4: %s has another change at seq %llu", name(l, node),
                 (unsigned long long)seq);
      }
    }
    v->held[log] = held[log];
  }
}

static void shown_check(ledger *l, size_t node, const uint64_t *shown) {
  view *v = &l->views[node];
  for (size_t log = 0; log < l->log_count; log++) {
    sim_check(l->s, SIM_I5);
    if (shown[log] < v->shown[log]) sim_fail(l->s, "I5: %s shows less than before", name(l, node));
    if (shown[log] > v->held[log]) sim_fail(l->s, "I5: %s shows what it lacks", name(l, node));
    if (shown[log] < v->held[log]) l->waited = true;
  }
  for (size_t i = 0; i < l->entry_count; i++) {
    const entry *e = &l->entries[i];
    if (shown[e->log] < e->seq || v->shown[e->log] >= e->seq) continue;
    for (size_t k = 0; k < e->claim_count; k++) {
      const entry *before = &l->entries[e->claims[k]];
      sim_check(l->s, SIM_I5);
      if (shown[before->log] < before->seq) {
        sim_fail(l->s, "I5: %s shows a change of %s before what it replaces", name(l, node),
                 name(l, e->author));
      }
    }
  }
  if (l->log_count) memcpy(v->shown, shown, l->log_count * sizeof *shown);
}

/* Is a vector what it was?  It is remembered. */
static bool same_again(ledger *l, glance *g, const weft_vector *v) {
  size_t len = v->count * sizeof *v->heads;
  if (g->count == v->count && (len == 0 || memcmp(g->heads, v->heads, len) == 0)) return true;
  if (v->count > g->cap) {
    g->cap = 2 * v->count;
    g->heads = must(l, realloc(g->heads, g->cap * sizeof *g->heads));
  }
  memcpy(g->heads, v->heads, len);
  g->count = v->count;
  return false;
}

/* Nothing has moved since this node was looked at, so everything that was checked then still holds.
 * Where logs have branches, what a head covers may be learnt from others. */
static bool is_unmoved(ledger *l, size_t node) {
  view *v = &l->views[node];
  const weft_replica *r = sim_replica(l->s, node);
  weft_digest digest = weft_replica_digest(r);
  bool held = same_again(l, &v->last_held, weft_replica_held(r));
  bool shown = same_again(l, &v->last_shown, weft_replica_shown(r));
  bool same = digest.high == v->last_digest.high && digest.low == v->last_digest.low;
  v->last_digest = digest;
  if (l->forked || !held || !shown || v->last_held.count == 0) return false;
  sim_check(l->s, SIM_I1);
  sim_check(l->s, SIM_I3);
  sim_check(l->s, SIM_I5);
  if (!same) sim_fail(l->s, "I1: %s shows the same, with another digest", name(l, node));
  return true;
}

void ledger_look(ledger *l, size_t node) {
  if (!sim_is_up(l->s, node) || is_broken(l, node) || l->views[node].lies) return;
  if (is_unmoved(l, node)) return;
  weft_replica *r = sim_replica(l->s, node);
  sim_faults(l->s, node)->paused = true;
  uint64_t *held = numbers(l, node, weft_replica_held(r));
  size_t count = l->log_count;
  uint64_t *shown = numbers(l, node, weft_replica_shown(r));
  if (l->log_count != count) sim_fail(l->s, "I5: %s shows a log that it lacks", name(l, node));
  view_room(l, &l->views[node]);
  held_check(l, node, held);
  shown_check(l, node, shown);
  digest_check(l, node, shown);
  sim_faults(l->s, node)->paused = false;
  free(held);
  free(shown);
}

/* --- the end --- */

void ledger_names(const ledger_write *w, char doc[16], char pointer[8]) {
  snprintf(doc, 16, "notes/%c", (char)('a' + w->doc % LEDGER_DOCS));
  snprintf(pointer, 8, "/f%u", w->field % LEDGER_FIELDS);
}

/* The changes whose writes to a place survive, in an array of the arena's; all but `lost`. */
static size_t *survivors(ledger *l, weft_arena *arena, unsigned doc, unsigned field,
                         const bool *keep, size_t *count) {
  size_t *out = must(l, weft__arena_zero(arena, l->entry_count + 1, sizeof *out));
  *count = 0;
  for (size_t i = 0; i < l->entry_count; i++) {
    if (!keep[i] || !write_at(&l->entries[i], doc, field)) continue;
    if (survives(l, i, doc, field, keep)) out[(*count)++] = i;
  }
  return out;
}

/* What the survivors make of a place. */
typedef struct place {
  bool scalar, unset, differ;
  unsigned value;
} place;

static place place_of(const ledger *l, unsigned doc, unsigned field, const size_t *at,
                      size_t count) {
  place p = {0};
  for (size_t i = 0; i < count; i++) {
    const ledger_write *w = write_at(&l->entries[at[i]], doc, field);
    if (w->unset) {
      p.unset = true;
      continue;
    }
    if (p.scalar && p.value != w->value) p.differ = true;
    p.scalar = true;
    p.value = w->value;
  }
  return p;
}

static void value_check(ledger *l, weft_arena *arena, unsigned doc, unsigned field,
                        const size_t *at, size_t count) {
  ledger_write w = {.doc = doc, .field = field};
  char name[16], pointer[8];
  weft_value value;
  ledger_names(&w, name, pointer);
  weft_err err = weft_replica_get(sim_replica(l->s, 0), arena, weft_bytes_str(name),
                                  weft_bytes_str(pointer), &value);
  place p = place_of(l, doc, field, at, count);
  sim_check(l->s, SIM_I2);
  if (err == WEFT_ENOTFOUND) {
    if (p.scalar && !p.unset) sim_fail(l->s, "I2: %s%s is gone", name, pointer);
    return;
  }
  if (err != WEFT_OK) sim_fail(l->s, "I2: %s%s: %s", name, pointer, weft_err_name(err));
  for (size_t i = 0; i < count; i++) {
    const ledger_write *made = write_at(&l->entries[at[i]], doc, field);
    if (!made->unset && value.kind == WEFT_INT && value.as.integer == (int64_t)made->value) return;
  }
  sim_fail(l->s, "I2: %s%s shows what no change left there", name, pointer);
}

/* The conflict listed at a field, NULL when none is. */
static const weft_conflict_entry *listed_at(const weft_conflict_entry *at, size_t count,
                                            unsigned field) {
  for (size_t i = 0; i < count; i++) {
    unsigned found;
    if (field_at(at[i].path, &found) && found == field) return &at[i];
  }
  return NULL;
}

static void conflict_check(ledger *l, const weft_conflict_entry *listed, const size_t *at,
                           size_t count, place p, unsigned doc, unsigned field) {
  bool expected = p.differ || (p.scalar && p.unset);
  sim_check(l->s, SIM_I2);
  if (expected != (listed != NULL)) {
    sim_fail(l->s, "I2: a conflict at notes/%c/f%u is %s", (char)('a' + doc), field,
             expected ? "not listed" : "listed and none");
  }
  if (!expected) return;
  l->left++;
  if (listed->value_count != count) {
    sim_fail(l->s, "I2: a conflict has %zu sides, not %zu", listed->value_count, count);
  }
  for (size_t i = 0; i < count; i++) {
    const weft_id *id = &l->entries[at[i]].id;
    bool found = false;
    for (size_t k = 0; k < count; k++) {
      if (weft_id_cmp(&listed->values[k].change.change, id) == 0) found = true;
    }
    if (!found) {
      sim_fail(l->s, "I2: the conflict at notes/%c/f%u lacks change %02x%02x of %s",
               (char)('a' + doc), field, id->b[0], id->b[1], name(l, l->entries[at[i]].author));
    }
  }
}

static void fields_check(ledger *l, const bool *keep) {
  weft_arena arena;
  weft_alloc mem = weft_alloc_libc();
  weft__arena_init(&arena, &mem);
  for (unsigned doc = 0; doc < LEDGER_DOCS; doc++) {
    ledger_write w = {.doc = doc};
    char name[16], pointer[8];
    weft_conflict_entry *listed;
    size_t listed_count;
    ledger_names(&w, name, pointer);
    weft_err err = weft_replica_conflicts(sim_replica(l->s, 0), &arena, weft_bytes_str(name), 0,
                                          &listed, &listed_count);
    if (err == WEFT_ENOTFOUND) {
      listed = NULL;
      listed_count = 0;
    } else if (err != WEFT_OK) {
      sim_fail(l->s, "I2: conflicts: %s", weft_err_name(err));
    }
    for (unsigned field = 0; field < LEDGER_FIELDS; field++) {
      size_t count, *at = survivors(l, &arena, doc, field, keep, &count);
      value_check(l, &arena, doc, field, at, count);
      conflict_check(l, listed_at(listed, listed_count, field), at, count,
                     place_of(l, doc, field, at, count), doc, field);
    }
  }
  weft__arena_free(&arena);
}

static void hash_bytes(uint64_t *hash, weft_bytes bytes) {
  for (size_t i = 0; i < bytes.len; i++) *hash = (*hash ^ bytes.at[i]) * 0x100000001b3u;
  *hash = (*hash ^ 0xff) * 0x100000001b3u;
}

/* A hash of all documents as a node shows them. */
static uint64_t export_of(ledger *l, size_t node) {
  uint64_t hash = 0xcbf29ce484222325u;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_buf text;
  weft__arena_init(&arena, &mem);
  weft__buf_init(&text, &mem, SIZE_MAX);
  for (unsigned deleted = 0; deleted < 2; deleted++) {
    weft_query q;
    weft_list list;
    weft_query_init(&q);
    q.limit = 10000;
    q.deleted = deleted != 0;
    weft_err err = weft_replica_list(sim_replica(l->s, node), &arena, &q, &list);
    if (err != WEFT_OK) sim_fail(l->s, "%s lists: %s", name(l, node), weft_err_name(err));
    for (size_t i = 0; i < list.count; i++) {
      weft__buf_reset(&text);
      weft_json_write(&text, &list.items[i].value);
      if (weft__buf_err(&text) != WEFT_OK) sim_fail(l->s, "an export fails");
      hash_bytes(&hash, list.items[i].info.name);
      hash_bytes(&hash, weft__buf_view(&text));
    }
  }
  weft__buf_free(&text);
  weft__arena_free(&arena);
  return hash;
}

/* What a node counts is what the first one counts. */
static void counts_check(ledger *l, size_t node, uint64_t export) {
  weft_counts first, counts;
  if (weft_replica_counts(sim_replica(l->s, 0), &first) != WEFT_OK ||
      weft_replica_counts(sim_replica(l->s, node), &counts) != WEFT_OK) {
    sim_fail(l->s, "counts");
  }
  sim_check(l->s, SIM_I1);
  if (export_of(l, node) != export) sim_fail(l->s, "I1: %s exports other bytes", name(l, node));
  sim_check(l->s, SIM_I6);
  if (counts.conflicts != first.conflicts || counts.docs != first.docs ||
      counts.deleted != first.deleted || counts.changes_shown != first.changes_shown) {
    sim_fail(l->s, "I6: %s counts otherwise", name(l, node));
  }
}

bool ledger_agrees(ledger *l) {
  const view *first = &l->views[0];
  for (size_t node = 0; node < l->nodes; node++) {
    if (!l->views[node].lies) ledger_look(l, node);
  }
  for (size_t i = 0; i < l->entry_count; i++) {
    const entry *e = &l->entries[i];
    for (size_t node = 0; node < l->nodes; node++) {
      const view *v = &l->views[node];
      if (!e->lost && !v->lies && !shows(v->shown, v, e)) return false;
    }
  }
  for (size_t node = 1; node < l->nodes; node++) {
    const view *v = &l->views[node];
    for (size_t log = 0; !v->lies && log < l->log_count; log++) {
      if (seq_of(v->shown, v, log) != seq_of(first->shown, first, log)) return false;
    }
  }
  return true;
}

void ledger_end(ledger *l) {
  bool *keep = must(l, calloc(l->entry_count + 1, sizeof *keep));
  for (size_t node = 0; node < l->nodes; node++) ledger_look(l, node);
  for (size_t i = 0; i < l->entry_count; i++) {
    const entry *e = &l->entries[i];
    keep[i] = shows(l->views[0].shown, &l->views[0], e);
    if (!keep[i]) l->lost++;
    for (size_t node = 0; node < l->nodes; node++) {
      if (l->views[node].lies) continue;
      sim_check(l->s, SIM_I3);
      if (!e->lost && !shows(l->views[node].shown, &l->views[node], e)) {
        sim_fail(l->s, "I3: %s lacks an acknowledged change of %s", name(l, node),
                 name(l, e->author));
      }
    }
  }
  fields_check(l, keep);
  free(keep);
  uint64_t first = export_of(l, 0);
  for (size_t node = 1; node < l->nodes; node++) {
    if (!l->views[node].lies) counts_check(l, node, first);
  }
}

void ledger_heard(ledger *l, const struct witness *w) {
  for (size_t node = 0; node < l->nodes; node++) {
    const view *v = &l->views[node];
    for (size_t i = 0; i < l->entry_count && !v->lies; i++) {
      const entry *e = &l->entries[i];
      sim_check(l->s, SIM_I6);
      if (shows(v->shown, v, e) && !witness_told(w, node, &e->id)) {
        sim_fail(l->s, "I6: %s shows a change of %s and does not tell it", name(l, node),
                 name(l, e->author));
      }
    }
  }
}

uint64_t ledger_conflicts(const ledger *l) { return l->conflicts; }
uint64_t ledger_conflicts_left(const ledger *l) { return l->left; }
uint64_t ledger_lost(const ledger *l) { return l->lost; }
bool ledger_forked(const ledger *l) { return l->forked; }
bool ledger_met_again(const ledger *l) { return l->met_again; }
bool ledger_waited(const ledger *l) { return l->waited; }

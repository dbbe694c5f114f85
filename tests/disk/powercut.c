/* weft-powercut: cuts the power of a replica at work, as often as asked, and looks at what is left.
 *
 * A real replica on a real LMDB store, with its mirror, does a workload of some 2,000 operations:
 * edits of several documents, arrays, deletions, groups, runs of others held and shown, tags,
 * strategies, indexes, a repair, restarts.  Every write, sync and naming of its files is on a tape.
 * From that tape images are made: what was synced is there; of what was not, all, nothing, or any
 * part in any order, torn at 512 bytes.  Each image is opened by the real replica:
 *
 * - the tables are, byte for byte, those of the last commit that was acknowledged, or of the one
 *   that was under way; and each such state was found clean by `verify`, once;
 * - everything that can be shown is shown, and a new change is written and read back;
 * - no (log, seq) of a change that was there gets another content;
 * - of a share of the images the reopening itself is on a tape, and the power is cut again in it,
 *   and once more in what follows that: the same must hold.
 *
 * Images are counted by what they hold, each once.  Signatures are Ed25519, each checked once. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "crdt/json.h"
#include "store/history.h"
#include "store/lmdb_store.h"
#include "store/replica_internal.h"
#include "tests/disk/cuts.h"
#include "tests/support/fault_store.h"
#include "tests/support/pace.h"
#include "tests/support/recount.h"
#include "tests/support/space.h"

enum {
  LEVELS = 4,   /* the workload; what follows a cut; what follows one in that; and in that */
  VARIANTS = 8, /* images of one I/O point, when every point is asked for */
  LOGS_MAX = 64,
  DOCS = 12,
  JOBS_MAX = 16,
  NEST_EVERY = 12, /* one image of so many has its recovery cut */
  NEST_CUTS = 6,
  NEST_AGAIN = 3, /* of these, one in so many again */
  VERIFY_EVERY = 40
};

typedef struct content {
  uint64_t a, b;
} content;

/* One change that the device was told is written, and the state that has it. */
typedef struct entry {
  weft_id log, id;
  uint64_t seq;
  size_t state;
  int level;
} entry;

/* What is known of one run on one folder: the workload, or what followed a cut. */
typedef struct level {
  char folder[200];
  tape t;
  content *states; /* of the tables, one after each commit */
  size_t state_count, state_cap;
  cuts c;
  size_t found;       /* the state that the image has */
  size_t read, acked; /* of the tape: up to here; the last state acknowledged until there */
  size_t looked;      /* of the tape, for the first mirror */
  bool mirrored;
} level;

typedef struct tally {
  uint64_t images, distinct, again, twice, bad, went_on, began, verified;
  char first[400];
} tally;

typedef struct job {
  tally t;
  uint64_t crumb[4]; /* level, event and seed of the image that is being looked at */
} job;

typedef struct options {
  uint64_t images, seed, jobs, forget, operations;
  size_t only_event;
  uint64_t only_seed;
  bool only, all;
} options;

typedef struct run {
  options o;
  test_space s;
  weft_crypto crypto;
  level levels[LEVELS];
  entry *entries;
  size_t entry_count, entry_cap;
  struct {
    weft_id log;
    uint64_t seq;
  } logs[LOGS_MAX]; /* as far as their changes are in the entries */
  size_t log_count;
  seen images, verified;
  tally *tally;
  job *job, *jobs;
  test_rng rng;
  uint64_t operations, remote;
  int level; /* whose tape runs */
  weft_store *inner;
  FILE *hashes;
} run;

/* The crypto table has no context. */
static seen signatures;

static void must(bool good, const char *what) {
  if (good) return;
  fprintf(stderr, "weft-powercut: %s\n", what);
  abort();
}

/* --- each signature once --- */

static bool verify_once(const weft_sig *sig, const weft_id *pub, weft_bytes message) {
  uint64_t key[2];
  const weft_crypto *real = weft_crypto_sodium();
  weft_bytes parts[3] = {weft_bytes_of(sig->b, sizeof sig->b), weft_bytes_of(pub->b, sizeof pub->b),
                         message};
  real->hash((uint8_t *)key, sizeof key, weft_bytes_of(NULL, 0), NULL, NULL, parts, 3);
  if (!seen_add(&signatures, key[0])) return true;
  must(real->verify(sig, pub, message), "a signature is wrong");
  return true;
}

/* --- what the tables hold --- */

static uint64_t spread(uint64_t h, const uint8_t *at, size_t len) {
  for (size_t i = 0; i < len; i += 8) {
    uint64_t word = 0;
    memcpy(&word, at + i, len - i < 8 ? len - i : 8);
    h = (h ^ word) * 0x9fb21c651e98df25u;
    h ^= h >> 28;
  }
  return (h ^ len) * 0x9fb21c651e98df25u;
}

static weft_err content_of(weft_store *s, content *out) {
  weft_txn *t;
  weft_err err = weft_store_begin(s, WEFT_TXN_READ, &t);
  if (err != WEFT_OK) return err;
  content c = {1, 2};
  for (int table = 0; table < WEFT_TABLE_COUNT && err == WEFT_OK; table++) {
    weft_cursor *cursor;
    weft_entry e;
    err = weft_cursor_open(t, (weft_table)table, &cursor);
    if (err != WEFT_OK) break;
    err = weft_cursor_first(cursor, &e);
    for (; err == WEFT_OK; err = weft_cursor_next(cursor, &e)) {
      c.a = spread(c.a + (unsigned)table, e.key.at, e.key.len);
      c.b = spread(c.b, e.value.at, e.value.len);
    }
    weft_cursor_close(cursor);
    if (err == WEFT_EDONE) err = WEFT_OK;
  }
  weft_txn_abort(t);
  *out = c;
  return err;
}

/* Notes the state after a commit: everything in it is acknowledged from here on. */
static void committed(void *ctx) {
  run *r = ctx;
  level *l = &r->levels[r->level];
  if (l->state_count == l->state_cap) {
    l->state_cap = l->state_cap * 2 + 64;
    l->states = realloc(l->states, l->state_cap * sizeof *l->states);
    must(l->states != NULL, "memory");
  }
  tape_run(NULL);
  must(content_of(r->inner, &l->states[l->state_count]) == WEFT_OK, "cannot read the tables");
  tape_mark(&l->t, l->state_count++);
  tape_run(&l->t);
}

/* --- the ledger --- */

static void entry_add(run *r, entry e) {
  if (r->entry_count == r->entry_cap) {
    r->entry_cap = r->entry_cap * 2 + 256;
    r->entries = realloc(r->entries, r->entry_cap * sizeof *r->entries);
    must(r->entries != NULL, "memory");
  }
  r->entries[r->entry_count++] = e;
}

/* Enters every change that became held since the last time. */
static void entries_follow(run *r, weft_replica *replica) {
  const weft_vector *held = weft_replica_held(replica);
  for (size_t i = 0; i < held->count; i++) {
    const weft_head *h = &held->heads[i];
    size_t n = 0;
    while (n < r->log_count && weft_id_cmp(&r->logs[n].log, &h->log) != 0) n++;
    if (n == r->log_count) {
      must(n < LOGS_MAX, "too many logs");
      r->logs[r->log_count++].log = h->log;
      r->logs[n].seq = 0;
    }
    while (r->logs[n].seq < h->seq) {
      entry e = {.log = h->log, .seq = ++r->logs[n].seq, .level = r->level};
      e.state = r->levels[r->level].state_count - 1;
      must(weft_replica_id_at(replica, &e.log, WEFT_BRANCH_ANY, e.seq, &e.id) == WEFT_OK, "id_at");
      entry_add(r, e);
    }
  }
}

/* --- the replica --- */

static weft_err store_open(level *l, weft_store **out, weft_diag *d) {
  char path[256];
  weft_lmdb_options o;
  weft_lmdb_options_init(&o);
  snprintf(path, sizeof path, "%s/space/data.mdb", l->folder);
  o.path = path;
  o.map_size = 1u << 30;
  o.check_pages = true;
  return weft_lmdb_store_open(&o, out, d);
}

static weft_err replica_open(run *r, level *l, test_fault_store *f, weft_replica **out) {
  char mirror[256];
  snprintf(mirror, sizeof mirror, "%s/mirror", l->folder);
  f->committed = committed;
  f->ctx = r;
  weft_replica_options o = test_space_options(&r->s, 0, test_fault_store_of(r->inner, f));
  o.mirror_dir = mirror;
  o.machine = weft_bytes_str("machine");
  o.store_dev = 42;
  o.store_ino = 43;
  weft_err err = weft_replica_open(out, &o);
  if (err != WEFT_OK) weft_store_free(o.store);
  return err;
}

/* --- the workload --- */

typedef struct work {
  run *r;
  weft_replica *replica, *others[2];
  test_fault_store f;
  weft_store *stores[2];
} work;

static void work_open(work *w) {
  weft_diag d;
  level *l = &w->r->levels[0];
  if (store_open(l, &w->r->inner, &d) != WEFT_OK) must(false, d.text);
  if (l->state_count == 0) committed(w->r);
  must(replica_open(w->r, l, &w->f, &w->replica) == WEFT_OK, "the replica does not open");
  test_space_add_records(&w->r->s, w->replica);
}

static void work_close(work *w) {
  weft_replica_free(w->replica);
  weft_store_free(w->r->inner);
}

static void doc_name(char out[32], uint64_t n) { snprintf(out, 32, "t/d%d", (int)(n % DOCS)); }

static weft_err edit_array(weft_edit *e, weft_bytes doc, test_rng *rng, uint64_t n) {
  weft_value v = {.kind = WEFT_INT, .as.integer = (int64_t)n};
  weft_bytes list = weft_bytes_str("/list");
  switch ((int)test_rng_below(rng, 4)) {
  case 0: return weft_edit_insert(e, doc, list, 0, &v);
  case 1: return weft_edit_move(e, doc, list, 0, (size_t)test_rng_below(rng, 3));
  case 2: return weft_edit_unset(e, doc, weft_bytes_str("/list/1"));
  default: return weft_edit_set(e, doc, weft_bytes_str("/list/-"), &v);
  }
}

/* One edit of any kind; that a place is not there is no failure. */
static void edit_any(weft_replica *replica, test_rng *rng, uint64_t n) {
  char name[32], pointer[32], json[96];
  weft_edit *e;
  weft_commit done;
  doc_name(name, test_rng_next(rng));
  weft_bytes doc = weft_bytes_str(name);
  unsigned long long number = n;
  snprintf(pointer, sizeof pointer, "/f%d", (int)test_rng_below(rng, 6));
  uint64_t what = test_rng_below(rng, 100);
  if (what < 60) {
    snprintf(json, sizeof json, what < 40 ? "%llu" : "{\"n\":%llu,\"list\":[1,\"two\"]}", number);
    must(test_set(replica, name, pointer, json) == WEFT_OK, "set");
    return;
  }
  must(weft_edit_begin(&e, replica, NULL) == WEFT_OK, "edit");
  weft_err err = what < 90   ? edit_array(e, doc, rng, n)
                 : what < 94 ? weft_edit_unset(e, doc, weft_bytes_str(pointer))
                 : what < 97 ? weft_edit_delete(e, doc)
                             : weft_edit_undelete(e, doc);
  if (err == WEFT_OK) err = weft_edit_commit(e, &done);
  bool lawful = err == WEFT_OK || err == WEFT_ENOTFOUND || err == WEFT_EBADPATH;
  weft_edit_free(e);
  if (!lawful) must(false, weft_err_name(err));
  if (err != WEFT_OK) must(test_set(replica, name, "/list", "[1,2,3]") == WEFT_OK, "set");
}

static void do_group(work *w) {
  uint64_t count = 2 + test_rng_below(&w->r->rng, 12);
  must(weft_group_begin(w->replica) == WEFT_OK, "group");
  for (uint64_t i = 0; i < count; i++) edit_any(w->replica, &w->r->rng, w->r->operations++);
  must(weft_group_end(w->replica) == WEFT_OK, "group end");
}

/* Another device has seen what is shown here, or not, and its changes are held, and shown later. */
static void do_remote(work *w) {
  test_rng *rng = &w->r->rng;
  weft_replica *from = w->others[test_rng_below(rng, 2)];
  uint64_t count = test_rng_chance(rng, 12) ? 90 : 1 + test_rng_below(rng, 6);
  if (test_rng_chance(rng, 60)) test_pull(from, w->replica, 100);
  for (uint64_t i = 0; i < count; i++) edit_any(from, rng, w->r->operations + i);
  test_pull(w->replica, from, 100);
  w->r->operations++;
  w->r->remote += count;
}

static void do_rare(work *w) {
  weft_commit done;
  weft_verify_report report;
  weft_err err = WEFT_OK;
  weft_strategy_rule rule = {weft_bytes_str("t"), weft_bytes_str("/x"), WEFT_STRATEGY_LWW};
  switch ((int)test_rng_below(&w->r->rng, 7)) {
  case 0:
    must(test_set(w->replica, "t/d1", "/tagged", "1") == WEFT_OK, "set");
    err = weft_replica_tag(w->replica, weft_bytes_str("t/d1"), weft_bytes_str("v.x"), NULL, NULL,
                           &done);
    break;
  case 1: err = weft_replica_set_strategy(w->replica, &rule, NULL, &done); break;
  case 2:
    err = weft_replica_declare_index(w->replica, weft_bytes_str("t"), weft_bytes_str("/f1"));
    break;
  case 3:
    err = weft_replica_drop_index(w->replica, weft_bytes_str("t"), weft_bytes_str("/f1"));
    break;
  case 4:
    err = weft_replica_put_ack(w->replica, &w->r->s.devices[1].device, weft_bytes_str("ack"));
    break;
  case 5:
    if (w->r->operations > 300) err = weft_replica_repair(w->replica, NULL, NULL, &report);
    break;
  default:
    work_close(w);
    work_open(w);
    break;
  }
  if (err != WEFT_OK && err != WEFT_EEXIST && err != WEFT_ENOTFOUND) {
    must(false, weft_err_name(err));
  }
  w->r->operations++;
}

static void workload(run *r) {
  work w = {.r = r};
  r->level = 0;
  tape_reset(&r->levels[0].t, r->levels[0].folder);
  tape_run(&r->levels[0].t);
  work_open(&w);
  for (size_t i = 0; i < 2; i++) w.others[i] = test_space_memory(&r->s, i + 1);
  while (r->operations < r->o.operations) {
    uint64_t what = test_rng_below(&r->rng, 1000);
    for (size_t i = 0; i < 3; i++) r->s.platforms[i].now += test_rng_below(&r->rng, 900);
    if (what < 700)
      edit_any(w.replica, &r->rng, r->operations++);
    else if (what < 850)
      do_group(&w);
    else if (what < 985)
      do_remote(&w);
    else
      do_rare(&w);
    if (test_rng_chance(&r->rng, 5)) weft_replica_settle(w.replica);
    entries_follow(r, w.replica);
  }
  work_close(&w);
  for (size_t i = 0; i < 2; i++) weft_replica_free(w.others[i]);
  tape_run(NULL);
}

/* As if one sync of the store had been forgotten: what only it made certain stays open. */
static void forget_sync(run *r) {
  tape *t = &r->levels[0].t;
  uint64_t n = 0;
  for (size_t i = 0; i < t->count; i++) {
    if (t->events[i].kind != TAPE_SYNC) continue;
    const char *name = NULL;
    for (size_t j = 0; j < i; j++) {
      const tape_event *e = &t->events[j];
      if (e->kind == TAPE_RENAME && e->file == t->events[i].file) name = t->names[e->to];
    }
    bool store = name && strcmp(name, "space/data.mdb") == 0;
    if (store && ++n == r->o.forget) t->events[i].kind = TAPE_MARK, t->events[i].offset = SIZE_MAX;
  }
  must(n >= r->o.forget, "there are fewer syncs");
}

/* --- one image --- */

static bool bad(run *r, int at, const char *what, const char *more) {
  r->tally->bad++;
  if (r->tally->first[0]) return false;
  int len = 0;
  for (int i = 0; i <= at; i++) {
    const cut_draw *d = &r->levels[i].c.at;
    len += snprintf(r->tally->first + len, sizeof r->tally->first - (size_t)len, "%scut %zu:%llu",
                    i ? ", then " : "", d->event, (unsigned long long)d->seed);
  }
  snprintf(r->tally->first + len, sizeof r->tally->first - (size_t)len, ": %s %s", what, more);
  return false;
}

/* The states that may be found: from the last one acknowledged to the one under way. */
static bool state_find(run *r, int at, const content *found, size_t *state) {
  level *l = &r->levels[at];
  for (; l->read <= l->c.at.event; l->read++) {
    const tape_event *e = &l->t.events[l->read];
    if (e->kind == TAPE_MARK && e->offset != SIZE_MAX) l->acked = e->offset;
  }
  for (size_t i = l->acked; i <= l->acked + 1 && i < l->state_count; i++) {
    *state = i;
    if (memcmp(&l->states[i], found, sizeof *found) == 0) return true;
  }
  return false;
}

static bool ledger_allows(const run *r, int at, const weft_id *log, uint64_t seq,
                          const weft_id *id) {
  for (size_t i = 0; i < r->entry_count; i++) {
    const entry *e = &r->entries[i];
    if (e->level > at || e->seq != seq || e->state > r->levels[e->level].found) continue;
    if (weft_id_cmp(&e->log, log) == 0 && weft_id_cmp(&e->id, id) != 0) return false;
  }
  return true;
}

/* Whether a mirror was written and synced before the cut: then the log goes on. */
static bool mirrored(level *l) {
  for (; !l->mirrored && l->looked <= l->c.at.event; l->looked++) {
    const tape_event *e = &l->t.events[l->looked];
    l->mirrored = e->kind == TAPE_FOLDER_SYNC && strcmp(l->t.names[e->name], "mirror") == 0;
  }
  return l->mirrored;
}

/* Writes a change behind an image of level `at` and enters it. */
static bool write_again(run *r, int at, weft_replica *replica) {
  char json[32], text[64];
  weft_edit *e;
  weft_commit done;
  weft_value v = {.kind = WEFT_INT, .as.integer = (int64_t)(r->tally->images + 1)};
  snprintf(json, sizeof json, "%lld", (long long)v.as.integer);
  if (weft_edit_begin(&e, replica, NULL) != WEFT_OK) return bad(r, at, "no edit", "");
  weft_err err = weft_edit_set(e, weft_bytes_str("t/after"), weft_bytes_str("/n"), &v);
  if (err == WEFT_OK) err = weft_edit_commit(e, &done);
  weft_edit_free(e);
  if (err != WEFT_OK) return bad(r, at, "a new change:", weft_err_name(err));
  if (strcmp(test_get(replica, "t/after", "/n", text, sizeof text), json) != 0) {
    return bad(r, at, "a new change reads", text);
  }
  bool fresh = true;
  for (uint64_t seq = done.seq > 2 ? done.seq : 1; seq <= done.seq; seq++) {
    entry x = {.log = done.log, .seq = seq, .level = at + 1};
    x.state = r->levels[at + 1].state_count - 1;
    if (weft_replica_id_at(replica, &done.log, WEFT_BRANCH_ANY, seq, &x.id) != WEFT_OK) {
      return bad(r, at, "a new change is not held", "");
    }
    if (!ledger_allows(r, at, &x.log, seq, &x.id)) return bad(r, at, "a number signed twice", "");
    entry_add(r, x);
  }
  for (size_t i = 0; i < r->log_count; i++) fresh &= weft_id_cmp(&r->logs[i].log, &done.log) != 0;
  if (fresh && at == 0 && mirrored(&r->levels[0])) return bad(r, at, "began another log", "");
  if (fresh)
    r->tally->began++;
  else
    r->tally->went_on++;
  return true;
}

static bool verified_once(run *r, int at, weft_replica *replica, const content *c) {
  weft_verify_report report;
  bool again = r->tally->images % VERIFY_EVERY == 0;
  if (c && !seen_add(&r->verified, c->a ^ c->b)) return true;
  if (!c && !again) return true;
  r->tally->verified++;
  weft_err err = weft_replica_verify(replica, NULL, NULL, &report);
  return err == WEFT_OK || bad(r, at, "verify:", report.first);
}

/* What a person does after a power cut: open, look, go on. */
static bool use(run *r, int at, const content *found) {
  test_fault_store f = {0};
  weft_replica *replica;
  weft_show_report shown;
  weft_err err = replica_open(r, &r->levels[at], &f, &replica);
  if (err != WEFT_OK) return bad(r, at, "the replica:", weft_err_name(err));
  bool good = verified_once(r, at, replica, found);
  test_space_add_records(&r->s, replica);
  do {
    err = weft_replica_show(replica, 0, &shown);
    if (err != WEFT_OK) good = bad(r, at, "show:", weft_err_name(err));
  } while (err == WEFT_OK && shown.more);
  good = good && write_again(r, at, replica) && verified_once(r, at, replica, NULL);
  weft_replica_free(replica);
  return good;
}

/* Opens the image of level `at` that lies in its folder; what this does to the disk is the tape of
 * the next level. */
static bool look(run *r, int at) {
  level *l = &r->levels[at], *next = &r->levels[at + 1];
  weft_diag d;
  content found;
  r->tally->images++;
  r->job->crumb[0] = (uint64_t)at;
  r->job->crumb[1] = l->c.at.event;
  r->job->crumb[2] = l->c.at.seed;
  while (r->entry_count > 0 && r->entries[r->entry_count - 1].level > at) r->entry_count--;
  r->s.platforms[0].now = 1760000000000u + r->tally->images * 5000;
  r->s.platforms[0].rng = test_rng_of(l->c.at.seed + (uint64_t)at);
  r->level = at + 1;
  next->state_count = 0;
  tape_reset(&next->t, l->folder);
  cuts_know(&l->c, &next->t);
  tape_run(&next->t);
  weft_err err = store_open(l, &r->inner, &d);
  bool good = err == WEFT_OK || bad(r, at, "the store:", d.text);
  if (good) {
    committed(r);
    found = next->states[0];
    good = state_find(r, at, &found, &l->found) || bad(r, at, "other tables", "");
    if (good) good = use(r, at, &found);
    weft_store_free(r->inner);
  }
  tape_run(NULL);
  cuts_dirtied(&l->c, &next->t);
  return good;
}

/* --- all of them --- */

static void keep_hash(run *r, uint64_t hash) { fwrite(&hash, sizeof hash, 1, r->hashes); }

static void level_begin(level *l, const image *start) {
  cuts_begin(&l->c, &l->t, start, l->folder, "space/data.mdb");
  l->read = l->acked = l->looked = 0;
  l->mirrored = false;
}

static void draw_recovery(run *r, int at, size_t count) {
  level *l = &r->levels[at];
  level_begin(l, &r->levels[at - 1].c.now);
  for (size_t i = 0; i < count && l->t.count > 0; i++) {
    cuts_draw(&l->c, (size_t)test_rng_below(&r->rng, l->t.count), test_rng_next(&r->rng));
  }
}

/* Cuts the power in what followed an image of the workload, and again in what followed that. */
static void cut_recovery(run *r) {
  level *one = &r->levels[1], *two = &r->levels[2];
  draw_recovery(r, 1, NEST_CUTS);
  while (cuts_next(&one->c, &r->images)) {
    keep_hash(r, one->c.hash);
    r->tally->again++;
    if (!look(r, 1) || r->tally->again % NEST_AGAIN != 0) continue;
    draw_recovery(r, 2, NEST_CUTS / 2);
    while (cuts_next(&two->c, &r->images)) {
      keep_hash(r, two->c.hash);
      r->tally->twice++;
      look(r, 2);
    }
  }
}

/* The stretches between two commits belong to the jobs in turn, so that hardly an image comes up in
 * two of them. */
static bool stretch_of(const run *r, uint64_t idx, size_t from, size_t *to) {
  const tape *t = &r->levels[0].t;
  size_t at = from;
  while (at < t->count && t->events[at].kind != TAPE_MARK) at++;
  *to = at;
  return idx % r->o.jobs == (uint64_t)(r->job - r->jobs) || r->o.only;
}

static void draw_workload(run *r, uint64_t per_stretch) {
  level *l = &r->levels[0];
  size_t to;
  uint64_t idx = 0;
  level_begin(l, NULL);
  for (size_t from = 0; from < l->t.count; from = to + 1, idx++) {
    if (!stretch_of(r, idx, from, &to)) continue;
    if (to >= l->t.count) to = l->t.count - 1;
    for (uint64_t i = 0; !r->o.all && i < per_stretch; i++) {
      size_t at = from + (size_t)test_rng_below(&r->rng, to - from + 1);
      cuts_draw(&l->c, at, test_rng_next(&r->rng));
    }
    for (size_t i = from; r->o.all && i <= to; i++) {
      for (int v = 0; v < VARIANTS; v++) cuts_draw(&l->c, i, test_rng_next(&r->rng));
    }
  }
}

static void images_of(run *r) {
  level *l = &r->levels[0];
  while (cuts_next(&l->c, &r->images)) {
    keep_hash(r, l->c.hash);
    bool good = look(r, 0);
    uint64_t first = r->tally->images - r->tally->again - r->tally->twice;
    if (good && first % NEST_EVERY == 0) cut_recovery(r);
  }
}

/* Goes over the workload until there are as many images as were asked for, and some more where
 * several processes draw: some of theirs are alike. */
static int child(run *r) {
  uint64_t share = r->o.images / r->o.jobs;
  uint64_t want = share + (r->o.jobs > 1 ? share / 40 : 0) + 1;
  uint64_t stretches = r->levels[0].state_count / r->o.jobs + 1;
  r->rng = test_rng_of(r->o.seed * 1000003 + (uint64_t)(r->job - r->jobs));
  for (int pass = 0; pass < 20; pass++) {
    uint64_t have = r->images.count;
    if (have >= want && !r->o.all) break;
    draw_workload(r, (want - have) * 2 / 3 / stretches + 1);
    images_of(r);
    if (r->o.all) break;
  }
  fflush(r->hashes);
  return r->tally->bad ? 1 : 0;
}

static int one_image(run *r) {
  level_begin(&r->levels[0], NULL);
  cuts_draw(&r->levels[0].c, r->o.only_event, r->o.only_seed);
  images_of(r);
  printf("%s\n", r->tally->bad ? r->tally->first : "good");
  return r->tally->bad ? 1 : 0;
}

/* --- the parent --- */

static void folders_make(run *r, const test_temp *temp, uint64_t who) {
  for (int i = 0; i < LEVELS; i++) {
    char *folder = r->levels[i].folder;
    snprintf(folder, sizeof r->levels[i].folder, "%.150s/%llu-%d", temp->folder,
             (unsigned long long)who, i);
    must(mkdir(folder, 0700) == 0, folder);
  }
}

static void folders_remove(run *r) {
  char path[256];
  for (int i = 0; i < LEVELS; i++) {
    const char *folder = r->levels[i].folder;
    snprintf(path, sizeof path, "%s/space", folder);
    test_folder_remove(path);
    snprintf(path, sizeof path, "%s/mirror", folder);
    test_folder_remove(path);
    rmdir(folder);
  }
}

static void tally_add(tally *all, const tally *t) {
  all->images += t->images;
  all->again += t->again;
  all->twice += t->twice;
  all->bad += t->bad;
  all->went_on += t->went_on;
  all->began += t->began;
  all->verified += t->verified;
  if (!all->first[0]) memcpy(all->first, t->first, sizeof all->first);
}

static void reap(run *r, pid_t pid, uint64_t i, FILE *hashes, seen *distinct, tally *all) {
  int status;
  uint64_t hash;
  const job *j = &r->jobs[i];
  waitpid(pid, &status, 0);
  tally_add(all, &j->t);
  if (!WIFEXITED(status) || WEXITSTATUS(status) > 1) {
    all->bad++;
    if (!all->first[0]) {
      snprintf(all->first, sizeof all->first, "cut %llu:%llu, level %llu: the process died (%d)",
               (unsigned long long)j->crumb[1], (unsigned long long)j->crumb[2],
               (unsigned long long)j->crumb[0], status);
    }
  }
  rewind(hashes);
  while (fread(&hash, sizeof hash, 1, hashes) == 1) all->distinct += seen_add(distinct, hash);
  fclose(hashes);
}

static int report(const run *r, const tally *all) {
  const level *l = &r->levels[0];
  printf("workload: %llu operations and %llu changes of others in %zu commits, %zu I/O points, "
         "%zu MiB written\n",
         (unsigned long long)r->operations, (unsigned long long)r->remote, l->state_count,
         l->t.count - l->state_count, l->t.len >> 20);
  printf("cuts: %llu in the workload, %llu in what followed, %llu in what followed that\n",
         (unsigned long long)(all->images - all->again - all->twice),
         (unsigned long long)all->again, (unsigned long long)all->twice);
  printf("then: %llu went on with their log, %llu began another; %llu verified\n",
         (unsigned long long)all->went_on, (unsigned long long)all->began,
         (unsigned long long)all->verified);
  if (all->first[0]) printf("first: %s\n", all->first);
  printf("%llu images tried, %llu distinct, %llu bad, seed=%llu\n", (unsigned long long)all->images,
         (unsigned long long)all->distinct, (unsigned long long)all->bad,
         (unsigned long long)r->o.seed);
  bool enough = r->o.all || all->distinct >= r->o.images;
  if (!enough) printf("fewer than the %llu asked for\n", (unsigned long long)r->o.images);
  return all->bad || !enough ? 1 : 0;
}

static int run_jobs(run *r, const test_temp *temp) {
  pid_t pids[JOBS_MAX];
  FILE *hashes[JOBS_MAX];
  seen distinct = {0};
  tally all = {0};
  for (uint64_t i = 0; i < r->o.jobs; i++) {
    hashes[i] = tmpfile();
    must(hashes[i] != NULL, "a temporary file");
    fflush(NULL);
    pids[i] = fork();
    if (pids[i] != 0) continue;
    r->job = &r->jobs[i];
    r->tally = &r->job->t;
    r->hashes = hashes[i];
    folders_make(r, temp, i + 1);
    int rc = child(r);
    folders_remove(r);
    _exit(rc);
  }
  for (uint64_t i = 0; i < r->o.jobs; i++) reap(r, pids[i], i, hashes[i], &distinct, &all);
  seen_free(&distinct);
  return report(r, &all);
}

static const char usage[] =
    "usage: weft-powercut [--images N] [--seed S] [--jobs N] [--operations N] [--all]\n"
    "                     [--cut EVENT:SEED] [--forget-sync K]\n"
    "  --images N       distinct images (10000, or WEFT_POWERCUTS)\n"
    "  --all            every I/O point, in eight ways each\n"
    "  --cut E:S        one image alone, as a failure names it\n"
    "  --forget-sync K  the K-th sync of the store did not happen: this must be noticed\n";

static uint64_t number(const char *text) { return text ? strtoull(text, NULL, 10) : 0; }

static bool options_read(options *o, int argc, char **argv) {
  *o = (options){.images = test_number("WEFT_POWERCUTS", 10000), .seed = 1, .jobs = 1};
  o->operations = 2000;
  for (int i = 1; i < argc; i++) {
    const char *name = argv[i], *value = argv[i + 1];
    if (strcmp(name, "--all") == 0) {
      o->all = true;
      continue;
    }
    if (!value) return false;
    i++;
    if (strcmp(name, "--images") == 0)
      o->images = number(value);
    else if (strcmp(name, "--seed") == 0)
      o->seed = number(value);
    else if (strcmp(name, "--jobs") == 0)
      o->jobs = number(value);
    else if (strcmp(name, "--operations") == 0)
      o->operations = number(value);
    else if (strcmp(name, "--forget-sync") == 0)
      o->forget = number(value);
    else if (strcmp(name, "--cut") == 0 && strchr(value, ':')) {
      o->only = true;
      o->only_event = number(value);
      o->only_seed = number(strchr(value, ':') + 1);
    } else
      return false;
  }
  return o->jobs >= 1 && o->jobs <= JOBS_MAX;
}

int main(int argc, char **argv) {
  static run r;
  if (!options_read(&r.o, argc, argv)) {
    fputs(usage, stderr);
    return 2;
  }
  r.jobs = mmap(NULL, JOBS_MAX * sizeof *r.jobs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                -1, 0);
  must(r.jobs != MAP_FAILED, "memory");
  r.job = r.jobs;
  r.tally = &r.job->t;
  r.hashes = tmpfile();
  r.rng = test_rng_of(r.o.seed);
  r.crypto = *weft_crypto_sodium();
  r.crypto.verify = verify_once;
  test_space_make_with(&r.s, 3, r.o.seed, &r.crypto);
  test_temp temp = test_temp_make();
  folders_make(&r, &temp, 0);
  workload(&r);
  if (r.o.forget) forget_sync(&r);
  int rc = r.o.only ? one_image(&r) : run_jobs(&r, &temp);
  folders_remove(&r);
  rmdir(temp.folder);
  return rc;
}

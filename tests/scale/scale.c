/* weft-scale SCENARIO N: one piece of work of size N, for tests/scale/run, which counts the
 * instructions of `scale_measured` at one size and at eight times that.
 *
 * A scenario prepares what it needs, hands the work that counts to `scale_measured`, and checks
 * that it was done.  What grows faster than its size would let one peer, or one file, stop a
 * device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/history.h"
#include "store/replica_internal.h"
#include "tests/scale/measured.h"
#include "tests/support/rig.h"
#include "tests/support/stand_in_crypto.h"

struct work {
  size_t n;
  rig rig;
  puppet puppet;
  test_space space;
  weft_replica *mine, *theirs;
  weft_id change;
  weft_roster *roster;
  weft_edit *edit;
  weft_value *items;   /* n, of an array that fills a document, */
  weft_member *fields; /* and the members of each */
};

static void must(bool held, const char *what) {
  if (held) return;
  (void)fprintf(stderr, "weft-scale: %s\n", what);
  exit(1);
}

/* --- heads of logs that do not exist --- */

static weft_head invented(size_t idx) {
  weft_head head = {.seq = 7};
  uint64_t mixed = (idx + 1) * UINT64_C(0x9e3779b97f4a7c15);
  memcpy(head.log.b, &mixed, sizeof mixed);
  memset(head.id.b, 9, sizeof head.id.b);
  return head;
}

static int head_order(const void *a, const void *b) { return weft__head_cmp(a, b); }

static void tell(puppet *p, weft_head *heads, size_t count) {
  qsort(heads, count, sizeof *heads, head_order);
  weft_msg_heads m = {.at = heads, .count = count, .done = true, .to = 1};
  weft_buf body = puppet_body();
  weft__msg_heads_put(&body, &m);
  puppet_send_buf(p, WEFT_FRAME_IHAVE, &body);
  puppet_forget(p);
}

static void run_claims(work *w) {
  weft_head heads[WEFT_MESSAGE_HEADS_MAX];
  for (size_t told = 0; told < w->n; told += WEFT_MESSAGE_HEADS_MAX) {
    for (size_t i = 0; i < WEFT_MESSAGE_HEADS_MAX; i++) heads[i] = invented(told + i);
    tell(&w->puppet, heads, WEFT_MESSAGE_HEADS_MAX);
    rig_wait(&w->rig, 5);
  }
}

/* Many a frame of invented heads. */
static void claims(work *w) {
  rig_make(&w->rig, 2, 1);
  puppet_open(&w->puppet, &w->rig, 1);
  (void)scale_measured(run_claims, w);
  must(!w->puppet.closed, "the link ended");
  puppet_free(&w->puppet);
  rig_free(&w->rig);
}

/* Says of everything that was asked that it is not there; gives how much that was. */
static size_t refuse_all(puppet *p) {
  weft_arena arena;
  weft__arena_init(&arena, &p->mem);
  weft_id logs[2 * WEFT_MESSAGE_WANTS_MAX];
  size_t count = 0;
  for (size_t i = 0; i < p->frame_count; i++) {
    weft_msg_want m;
    const rig_frame *f = &p->frames[i];
    if (f->type != WEFT_FRAME_WANT) continue;
    must(weft__msg_want_read(&arena, weft_bytes_of(f->at, f->len), &m) == WEFT_OK, "WANT");
    for (size_t k = 0; k < m.count && count < 2 * WEFT_MESSAGE_WANTS_MAX; k++) {
      logs[count++] = m.at[k].log;
    }
  }
  weft__arena_free(&arena);
  puppet_forget(p);
  for (size_t i = 0; i < count; i++) {
    weft_msg_nohave m = {.log = logs[i], .why = WEFT_NOHAVE_NEVER};
    weft_buf body = puppet_body();
    weft__msg_nohave_put(&body, &m);
    puppet_send_buf(p, WEFT_FRAME_NOHAVE, &body);
    rig_wait(p->r, 5);
  }
  return count;
}

static void run_refusals(work *w) {
  for (size_t done = 0, more = 1; done < w->n && more > 0; done += more) {
    more = refuse_all(&w->puppet);
  }
}

/* Such heads told before; what is asked of them is answered that it is not there. */
static void refusals(work *w) {
  weft_head heads[WEFT_MESSAGE_HEADS_MAX];
  rig_make(&w->rig, 2, 1);
  puppet_open(&w->puppet, &w->rig, 1);
  for (size_t told = 0; told < w->n; told += WEFT_MESSAGE_HEADS_MAX) {
    for (size_t i = 0; i < WEFT_MESSAGE_HEADS_MAX; i++) heads[i] = invented(told + i);
    qsort(heads, WEFT_MESSAGE_HEADS_MAX, sizeof *heads, head_order);
    weft_msg_heads m = {.at = heads, .count = WEFT_MESSAGE_HEADS_MAX, .done = true, .to = 1};
    weft_buf body = puppet_body();
    weft__msg_heads_put(&body, &m);
    puppet_send_buf(&w->puppet, WEFT_FRAME_IHAVE, &body);
    rig_wait(&w->rig, 5);
  }
  (void)scale_measured(run_refusals, w);
  must(!w->puppet.closed, "the link ended");
  puppet_free(&w->puppet);
  rig_free(&w->rig);
}

/* --- documents with very many members --- */

enum { FIELDS = 2 };

/* Makes the document an array of objects that all say `x`. */
static weft_commit fill(work *w, weft_replica *r, int64_t x) {
  weft_edit *e;
  weft_commit out;
  weft_member member = {weft_bytes_str("a"), {.kind = WEFT_ARRAY}};
  weft_value doc = {.kind = WEFT_OBJECT, .as.object = {&member, 1}};
  for (size_t i = 0; i < w->n; i++) {
    weft_member *of = w->fields + FIELDS * i;
    of[0] = (weft_member){weft_bytes_str("id"), {.kind = WEFT_INT, .as.integer = (int64_t)i}};
    of[1] = (weft_member){weft_bytes_str("x"), {.kind = WEFT_INT, .as.integer = x}};
    w->items[i] = (weft_value){.kind = WEFT_OBJECT, .as.object = {of, FIELDS}};
  }
  member.value.as.array.at = w->items;
  member.value.as.array.count = w->n;
  must(weft_edit_begin(&e, r, NULL) == WEFT_OK, "no edit");
  must(weft_edit_import(e, weft_bytes_str("t/x"), &doc, false) == WEFT_OK, "no import");
  must(weft_edit_commit(e, &out) == WEFT_OK, "no commit");
  weft_edit_free(e);
  return out;
}

static void replicas_make(work *w) {
  test_space_make(&w->space, 2, 1);
  w->mine = test_space_memory(&w->space, 0);
  w->theirs = test_space_memory(&w->space, 1);
  w->items = calloc(w->n, sizeof *w->items);
  w->fields = calloc(w->n, FIELDS * sizeof *w->fields);
  must(w->items && w->fields, "no memory");
}

static void replicas_free(work *w) {
  weft_replica_free(w->mine);
  weft_replica_free(w->theirs);
  test_space_free(&w->space);
  free(w->items);
  free(w->fields);
}

static void run_conflicts(work *w) {
  weft_arena arena;
  weft_alloc mem = weft_alloc_libc();
  weft_conflict_entry *list;
  size_t count;
  weft__arena_init(&arena, &mem);
  must(weft_replica_conflicts(w->mine, &arena, weft_bytes_str("t/x"), 0, &list, &count) == WEFT_OK,
       "no list");
  must(count == w->n, "not every element is contested");
  weft__arena_free(&arena);
}

/* As many conflicts in one array. */
static void contest(work *w) {
  replicas_make(w);
  (void)fill(w, w->mine, 0);
  (void)test_pull(w->theirs, w->mine, 8);
  (void)fill(w, w->mine, 1);
  (void)fill(w, w->theirs, 2);
  (void)test_pull(w->mine, w->theirs, 8);
}

/* Listed with their pointers. */
static void conflicts(work *w) {
  contest(w);
  (void)scale_measured(run_conflicts, w);
  replicas_free(w);
}

static void run_forecast(work *w) {
  weft_arena arena;
  weft_alloc mem = weft_alloc_libc();
  weft_forecast forecast;
  weft__arena_init(&arena, &mem);
  must(weft_edit_forecast(w->edit, &arena, &forecast) == WEFT_OK, "no forecast");
  weft__arena_free(&arena);
}

/* What an edit beside them would come to. */
static void foreseen(work *w) {
  weft_value value = {.kind = WEFT_INT, .as.integer = 2};
  contest(w);
  must(weft_edit_begin(&w->edit, w->mine, NULL) == WEFT_OK, "no edit");
  must(weft_edit_set(w->edit, weft_bytes_str("t/x"), weft_bytes_str("/b"), &value) == WEFT_OK,
       "no set");
  (void)scale_measured(run_forecast, w);
  weft_edit_free(w->edit);
  replicas_free(w);
}

static void run_revert(work *w) {
  weft_arena arena;
  weft_alloc mem = weft_alloc_libc();
  weft_revert_item *items;
  weft_commit out;
  size_t count;
  weft__arena_init(&arena, &mem);
  weft_id change = w->change;
  must(weft_replica_revert(w->mine, &arena, &change, NULL, &items, &count, &out) == WEFT_OK,
       "no revert");
  must(count >= w->n, "not every element was looked at");
  weft__arena_free(&arena);
}

/* A change of an array's content taken back, beside a conflict, so that the document is not plain.
 */
static void revert(work *w) {
  replicas_make(w);
  (void)fill(w, w->mine, 0);
  (void)test_pull(w->theirs, w->mine, 8);
  must(test_set(w->mine, "t/x", "/c", "1") == WEFT_OK, "no set");
  must(test_set(w->theirs, "t/x", "/c", "2") == WEFT_OK, "no set");
  (void)test_pull(w->mine, w->theirs, 8);
  w->change = fill(w, w->mine, 1).change;
  (void)scale_measured(run_revert, w);
  replicas_free(w);
}

static void run_commit(work *w) {
  weft_commit out;
  must(weft_edit_commit(w->edit, &out) == WEFT_OK, "no commit");
}

/* As many writes beside them, where the strategy minds writes at conflicts. */
static void minded(work *w) {
  weft_commit out;
  weft_value list = {.kind = WEFT_ARRAY, .as.array = {NULL, w->n}};
  weft_strategy_rule rule = {.collection = weft_bytes_str("t"),
                             .pattern = weft_bytes_str(""),
                             .strategy = WEFT_STRATEGY_MANUAL};
  contest(w);
  must(weft_replica_set_strategy(w->mine, &rule, NULL, &out) == WEFT_OK, "no strategy");
  must(weft_edit_begin(&w->edit, w->mine, NULL) == WEFT_OK, "no edit");
  for (size_t i = 0; i < w->n; i++) {
    w->items[i] = (weft_value){.kind = WEFT_INT, .as.integer = (int64_t)i};
  }
  list.as.array.at = w->items;
  must(weft_edit_set(w->edit, weft_bytes_str("t/x"), weft_bytes_str("/b"), &list) == WEFT_OK,
       "no set");
  (void)scale_measured(run_commit, w);
  weft_edit_free(w->edit);
  replicas_free(w);
}

/* --- a document of each of many logs --- */

static void set_all(work *w, weft_edit *e) {
  weft_value value = {.kind = WEFT_INT, .as.integer = 2};
  for (size_t i = 0; i < w->n; i++) {
    char name[32];
    (void)snprintf(name, sizeof name, "t/%zu", i);
    must(weft_edit_set(e, weft_bytes_str(name), weft_bytes_str("/x"), &value) == WEFT_OK, "no set");
  }
}

/* One device makes ever new logs and writes a document in each; another writes over all of
 * them in one change. */
static void claimed(work *w) {
  replicas_make(w);
  for (size_t i = 0; i < w->n; i++) {
    char name[32];
    (void)snprintf(name, sizeof name, "t/%zu", i);
    weft__incarnation_renew(w->theirs, WEFT_BEGUN_PEER);
    must(test_set(w->theirs, name, "/x", "1") == WEFT_OK, "no set");
  }
  (void)test_pull(w->mine, w->theirs, w->n);
  must(weft_replica_shown(w->mine)->count >= w->n, "not as many logs");
  must(weft_edit_begin(&w->edit, w->mine, NULL) == WEFT_OK, "no edit");
  set_all(w, w->edit);
  (void)scale_measured(run_commit, w);
  weft_edit_free(w->edit);
  replicas_free(w);
}

static void run_documents(work *w) {
  must(weft_edit_begin(&w->edit, w->mine, NULL) == WEFT_OK, "no edit");
  set_all(w, w->edit);
  set_all(w, w->edit);
  run_commit(w);
}

/* One edit of many documents, each of which it meets twice. */
static void documents(work *w) {
  replicas_make(w);
  (void)scale_measured(run_documents, w);
  weft_edit_free(w->edit);
  replicas_free(w);
}

/* --- a roster that grows --- */

static void sign_into(work *w, const weft_identity *author, weft_record *record, weft_id *after) {
  weft_alloc mem = weft_alloc_libc();
  weft_buf raw;
  weft__buf_init(&raw, &mem, WEFT_RECORD_LEN_MAX);
  record->space = w->space.id;
  record->dep_count = 1;
  record->deps[0] = *after;
  must(weft__record_sign(&raw, w->space.crypto, author, record, after) == WEFT_OK, "no record");
  must(weft__roster_add(w->roster, weft__buf_view(&raw), NULL) == WEFT_OK, "not added");
  weft__buf_free(&raw);
}

static void admit_into(work *w, const weft_identity *author, size_t number, weft_role role,
                       weft_identity *out, weft_id *after) {
  weft_key seed = {{1}}, invite = {{2}};
  weft_record a = {.kind = WEFT_RECORD_ADMIT};
  memcpy(seed.b + 1, &number, sizeof number);
  weft_identity_derive(out, w->space.crypto, &seed);
  weft__redeem_sign(&a.admit.redeem, w->space.crypto, out, &invite, &w->space.id);
  a.admit.role = role;
  a.admit.name = weft_bytes_str("device");
  sign_into(w, author, &a, after);
}

static void run_admits(work *w) {
  weft_identity second, ignored;
  weft_id last = w->space.id;
  admit_into(w, &w->space.devices[0], 0, WEFT_ROLE_ADMIN, &second, &last);
  for (size_t i = 1; i < w->n; i++) {
    admit_into(w, &second, i, WEFT_ROLE_WRITER, &ignored, &last);
  }
}

/* An admin that is not the first lets in ever more devices, one after the other. */
static void admits(work *w) {
  weft_crypto quick;
  weft_alloc mem = weft_alloc_libc();
  const weft_roster_member *members;
  size_t count;
  test_stand_in_crypto(&quick);
  test_space_make_with(&w->space, 1, 1, &quick);
  must(weft__roster_new(&w->roster, &mem, &quick, &w->space.id) == WEFT_OK, "no roster");
  weft_bytes root = weft_bytes_of(w->space.records[0], w->space.record_lens[0]);
  must(weft__roster_add(w->roster, root, NULL) == WEFT_OK, "not added");
  (void)scale_measured(run_admits, w);
  weft__roster_members(w->roster, &members, &count);
  must(count == w->n + 1, "not all are members");
  weft__roster_free(w->roster);
  test_space_free(&w->space);
}

static const struct {
  const char *name;
  void (*run)(work *w);
} scenarios[] = {
    {"claims", claims},     {"refusals", refusals}, {"conflicts", conflicts},
    {"revert", revert},     {"admits", admits},     {"claimed", claimed},
    {"foreseen", foreseen}, {"minded", minded},     {"documents", documents},
};

int main(int argc, char **argv) {
  static work w; /* too large for a stack */
  for (size_t i = 0; argc == 3 && i < sizeof scenarios / sizeof *scenarios; i++) {
    if (strcmp(argv[1], scenarios[i].name) != 0) continue;
    w.n = (size_t)strtoul(argv[2], NULL, 10);
    scenarios[i].run(&w);
    return 0;
  }
  (void)fprintf(stderr, "usage: weft-scale SCENARIO N\n");
  return 2;
}

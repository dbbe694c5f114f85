/* weft-kth: fails the k-th allocation and the k-th file call of every public function, once and for
 * ever after, for every k that a clean run reaches (long runs: every k to 48, then a share).
 *
 * Each time: a clean error; the store holds, byte for byte, what it held before; nothing is leaked
 * when all is closed; the same call works afterwards.  A success in spite of the failure is none of
 * the two: then the call did not need what failed, such as the mirror.
 *
 * The table of functions is compared with tests/symbols.txt: a new public function needs a case in
 * kth_cases.c, or a line that says why there is nothing to fail.
 *
 * Allocations are malloc's, LMDB's and every other library's included; under sanitizers, which
 * bring a malloc of their own, those through weft_alloc alone.
 *
 * usage: weft-kth SYMBOLS [NAME]     NAME: that function alone */
#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "crdt/embed.h"
#include "crdt/json.h"
#include "store/replica_internal.h"
#include "tests/disk/disk.h"
#include "tests/disk/heap.h"
#include "tests/disk/kth.h"

enum { SPACE_DEVICES = 4, SPACE_SEED = 1, EVERY = 48, SHARE = 6, RETRY_EVERY = 5, CHUNKS = 8 };

static void must(bool good, const char *what) {
  if (good) return;
  fprintf(stderr, "weft-kth: %s\n", what);
  abort();
}

/* --- what the store holds --- */

typedef struct content {
  uint64_t rest, all; /* `rest`: without events, which tell of a full disk, and their count */
} content;

static uint64_t spread(uint64_t h, weft_bytes in) {
  for (size_t i = 0; i < in.len; i++) h = (h ^ in.at[i]) * 0x100000001b3u;
  return (h ^ in.len) * 0x9fb21c651e98df25u;
}

static content content_of(weft_store *s) {
  content c = {1, 2};
  weft_txn *t;
  must(weft_store_begin(s, WEFT_TXN_READ, &t) == WEFT_OK, "cannot read the store");
  for (int table = 0; table < WEFT_TABLE_COUNT; table++) {
    weft_cursor *cursor;
    weft_entry e;
    must(weft_cursor_open(t, (weft_table)table, &cursor) == WEFT_OK, "cannot read the store");
    for (weft_err err = weft_cursor_first(cursor, &e); err == WEFT_OK;
         err = weft_cursor_next(cursor, &e)) {
      bool told = table == WEFT_TABLE_EVENT || table == WEFT_TABLE_META;
      if (!told) c.rest = spread(spread(c.rest + (unsigned)table, e.key), e.value);
      c.all = spread(spread(c.all + (unsigned)table, e.key), e.value);
    }
    weft_cursor_close(cursor);
  }
  weft_txn_abort(t);
  return c;
}

/* --- the world --- */

/* The store's file and the mirror, as every world begins; and what was made for it. */
static struct {
  test_temp temp;
  weft_arena arena;
  weft_bytes file;
  weft_bytes chunks[CHUNKS];
  size_t chunk_count;
  weft_bytes record;
  weft_id stuck, shown;
} made;

static weft_bytes file_read(const char *path) {
  struct stat st;
  int fd = open(path, O_RDONLY);
  must(fd >= 0 && fstat(fd, &st) == 0, path);
  uint8_t *at = weft__arena_take(&made.arena, (size_t)st.st_size);
  must(at && read(fd, at, (size_t)st.st_size) == st.st_size, path);
  close(fd);
  return weft_bytes_of(at, (size_t)st.st_size);
}

static void file_write(const char *path, weft_bytes in) {
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  must(fd >= 0 && pwrite(fd, in.at, in.len, 0) == (ssize_t)in.len, path);
  close(fd);
}

weft_err kth_open(kth_world *w) {
  weft_lmdb_options lo;
  weft_store *store;
  weft_lmdb_options_init(&lo);
  lo.mem = w->mem;
  lo.path = w->path;
  lo.map_size = 1u << 30;
  WEFT_TRY(weft_lmdb_store_open(&lo, &store, NULL));
  weft_replica_options o = test_space_options(&w->s, 0, store);
  o.mem = w->mem;
  o.mirror_dir = w->mirror;
  o.store_dev = 42;
  o.store_ino = 43;
  weft_err err = weft_replica_open(&w->r, &o);
  if (err != WEFT_OK) weft_store_free(store);
  if (err != WEFT_OK) w->r = NULL;
  return err;
}

void kth_close(kth_world *w) {
  weft_replica_free(w->r);
  w->r = NULL;
}

weft_err kth_open_edit(kth_world *w) { return weft_edit_begin(&w->edit, w->r, NULL); }

static void world_paths(kth_world *w) {
  w->temp = test_temp_make();
  test_temp_path(&w->temp, "data.mdb", w->path);
  test_temp_path(&w->temp, "mirror", w->mirror);
}

static void set(weft_replica *r, const char *doc, const char *pointer, const char *json) {
  must(test_set(r, doc, pointer, json) == WEFT_OK, pointer);
}

/* Everything `from` has that `to` lacks, as chunks of its own. */
static void chunks_of(weft_replica *from, const weft_vector *theirs) {
  weft_span *spans;
  size_t count;
  weft_alloc mem = weft_alloc_libc();
  must(weft_replica_missing(from, &made.arena, theirs, CHUNKS, &spans, &count) == WEFT_OK,
       "missing");
  made.chunk_count = count;
  for (size_t i = 0; i < count; i++) {
    weft_buf out;
    uint64_t last;
    weft_buf_init(&out, &mem, SIZE_MAX);
    must(weft_replica_read_chunk(from, &spans[i].log, spans[i].branch, spans[i].from, spans[i].to,
                                 &out, &last) == WEFT_OK,
         "read_chunk");
    must(weft__arena_copy(&made.arena, weft_buf_view(&out), &made.chunks[i]) == WEFT_OK, "memory");
    weft_buf_free(&out);
  }
}

/* Device 2 twice, each of them believing that it is the one. */
static void fork_device(kth_world *w) {
  weft_store *one = test_memory_store();
  weft_replica *first = test_space_open(&w->s, 2, one);
  set(first, "t/fork", "/n", "1");
  weft_replica *second = test_space_open(&w->s, 2, test_store_copy(one));
  memcpy(second->incarnation, first->incarnation, sizeof second->incarnation);
  second->incarnation_new = false;
  set(first, "t/fork", "/n", "2");
  set(second, "t/fork", "/n", "3");
  test_pull(w->r, first, 50);
  test_pull(w->r, second, 50);
  weft_replica_free(first);
  weft_replica_free(second);
}

/* A change of device 1 on top of one that device 0 does not have. */
static void leave_stuck(kth_world *w, weft_replica *one) {
  weft_replica *two = test_space_memory(&w->s, 3);
  weft_history_query q;
  weft_history_entry *entries;
  size_t count;
  weft_bytes next;
  weft_span *spans;
  test_pull(two, w->r, 50);
  set(one, "t/late", "/x", "1");
  test_pull(two, one, 50);
  set(two, "t/late", "/x", "2");
  weft_history_query_init(&q);
  q.limit = 1;
  must(weft_replica_history(two, &made.arena, &q, &entries, &count, &next) == WEFT_OK, "history");
  made.stuck = entries[0].change;
  must(weft_replica_missing(two, &made.arena, weft_replica_held(w->r), CHUNKS, &spans, &count) ==
           WEFT_OK,
       "missing");
  for (size_t i = 0; i < count; i++) {
    weft_buf out;
    uint64_t last;
    weft_hold_report report;
    weft_alloc mem = weft_alloc_libc();
    if (weft_id_cmp(&spans[i].log, &entries[0].log) != 0) continue;
    weft_buf_init(&out, &mem, SIZE_MAX);
    must(weft_replica_read_chunk(two, &spans[i].log, spans[i].branch, 1, spans[i].to, &out,
                                 &last) == WEFT_OK,
         "read_chunk");
    weft_bytes chunk = weft_buf_view(&out);
    must(weft_replica_hold(w->r, &made.arena, &chunk, 1, &report) == WEFT_OK, "hold");
    weft_buf_free(&out);
  }
  weft_replica_free(two);
}

static void record_make(kth_world *w) {
  weft_alloc mem = weft_alloc_libc();
  weft_buf raw;
  weft_buf_init(&raw, &mem, TEST_RECORD_LEN);
  test_space_stranger(&w->s, &raw);
  must(weft__arena_copy(&made.arena, weft_buf_view(&raw), &made.record) == WEFT_OK, "memory");
  weft_buf_free(&raw);
}

/* Writes what every world has; the file is kept. */
static void world_plan(void) {
  weft_alloc mem = weft_alloc_libc();
  kth_world w = {.mem = mem};
  weft_commit done;
  char json[16];
  weft_strategy_rule rule = {weft_bytes_str("t"), weft_bytes_str("/m"), WEFT_STRATEGY_MANUAL};
  weft__arena_init(&made.arena, &mem);
  test_space_make(&w.s, SPACE_DEVICES, SPACE_SEED);
  world_paths(&w);
  must(kth_open(&w) == WEFT_OK, "open");
  test_space_add_records(&w.s, w.r);
  set(w.r, "t/a", "", "{\"x\":1,\"list\":[1,2,3],\"in\":{\"y\":[{\"name\":\"n\"}]}}");
  set(w.r, "t/b", "/x", "2");
  set(w.r, "t/b", "/x", "3");
  set(w.r, "t/gone", "/x", "2");
  set(w.r, "t/gone", "", NULL);
  must(weft_replica_declare_index(w.r, weft_bytes_str("t"), weft_bytes_str("/x")) == WEFT_OK, "i");
  must(weft_replica_set_strategy(w.r, &rule, NULL, &done) == WEFT_OK, "strategy");
  must(weft_replica_tag(w.r, weft_bytes_str("t/a"), weft_bytes_str("first"), NULL, NULL, &done) ==
           WEFT_OK,
       "tag");
  must(weft_replica_put_ack(w.r, &w.s.devices[1].device, weft_bytes_str("ack")) == WEFT_OK, "ack");
  must(weft_replica_put_address(w.r, weft_bytes_str("10.0.0.1:1"), &w.s.devices[1].device) ==
           WEFT_OK,
       "address");
  weft_replica *one = test_space_memory(&w.s, 1);
  set(one, "t/a", "/c", "1");
  set(w.r, "t/a", "/c", "2");
  test_pull(w.r, one, 50);
  fork_device(&w);
  leave_stuck(&w, one);
  set(w.r, "t/b", "/y", "4");
  weft_history_query q;
  weft_history_entry *entries;
  size_t count;
  weft_bytes next;
  weft_history_query_init(&q);
  q.doc = weft_bytes_str("t/b");
  q.limit = 1;
  must(weft_replica_history(w.r, &made.arena, &q, &entries, &count, &next) == WEFT_OK, "history");
  made.shown = entries[0].change;
  for (int i = 0; i < 80; i++) {
    snprintf(json, sizeof json, "%d", i);
    set(one, i % 2 ? "t/a" : "t/n", "/x", json);
  }
  chunks_of(one, weft_replica_held(w.r));
  weft_replica_free(one);
  record_make(&w);
  kth_close(&w);
  made.temp = w.temp;
  made.file = file_read(w.path);
}

static void mirror_copy(const kth_world *w) {
  char command[700];
  snprintf(command, sizeof command, "cp -r '%s/mirror' '%s/mirror'", made.temp.folder,
           w->temp.folder);
  must(system(command) == 0, command);
}

static void world_open(kth_world *w) {
  weft_conflict_entry *conflicts;
  size_t count;
  weft_err err = kth_open(w);
  if (err != WEFT_OK) must(false, weft_err_name(err));
  const weft_vector *held = weft_replica_held(w->r);
  for (size_t i = 0; i < held->count; i++) w->log = held->heads[0].log;
  weft_vector_free(&w->base);
  must(weft_vector_copy(&w->base, weft_replica_shown(w->r)) == WEFT_OK, "base");
  must(weft_replica_conflicts(w->r, &w->own, weft_bytes_str("t/a"), 0, &conflicts, &count) ==
               WEFT_OK &&
           count > 0,
       "conflicts");
  w->conflict = &conflicts[0];
}

static void world_make(kth_world *w, const kth_case *c) {
  weft_alloc libc = weft_alloc_libc();
  memset(w, 0, sizeof *w);
  test_space_make(&w->s, SPACE_DEVICES, SPACE_SEED);
  w->s.platforms[0].now += 3600000;
  w->s.platforms[0].rng = test_rng_of(4711); /* other incarnations than the plan's */
  w->mem = test_fault_alloc_of(&w->alloc);
  world_paths(w);
  file_write(w->path, made.file);
  mirror_copy(w);
  memcpy(w->chunks, made.chunks, sizeof made.chunks);
  w->chunk_count = made.chunk_count;
  w->record = made.record;
  w->stuck = made.stuck;
  w->shown_id = made.shown;
  weft__arena_init(&w->arena, &w->mem);
  weft__arena_init(&w->own, &libc);
  weft_buf_init(&w->out, &w->mem, SIZE_MAX);
  weft_vector_init(&w->vector, &w->mem);
  weft_vector_init(&w->base, &libc);
  must(weft_json_parse(&w->own, weft_bytes_str("{\"x\":1,\"list\":[3,1,{\"k\":2}]}"), &w->value,
                       NULL) == WEFT_OK,
       "json");
  if (!(c->flags & KTH_VALUE)) world_open(w);
  if (c->before) c->before(w);
}

/* Gives everything back; whether nothing was leaked. */
static bool world_free(kth_world *w) {
  weft_edit_free(w->edit);
  if (w->r) kth_close(w);
  weft_buf_free(&w->out);
  weft_vector_free(&w->vector);
  weft_vector_free(&w->base);
  weft__arena_free(&w->arena);
  weft__arena_free(&w->own);
  test_temp_remove(&w->temp);
  return w->alloc.live == 0;
}

/* --- failing --- */

typedef enum source { ALLOCATION, FILE_EIO, FILE_FULL, SOURCES } source;
static const char *const source_names[] = {"allocation", "file call (EIO)", "file call (ENOSPC)"};

typedef struct trial {
  const kth_case *c;
  source what;
  size_t k;
  bool sticky;
} trial;

static void arm(kth_world *w, const trial *t) {
  test_heap_calm();
  if (t->what != ALLOCATION) {
    *test_disk() = (test_disk_faults){.fail_at = t->k,
                                      .sticky = t->sticky,
                                      .errnum = t->what == FILE_EIO ? EIO : ENOSPC,
                                      .names = t->what == FILE_EIO};
  } else if (test_heap_works() && !(t->c->flags & KTH_NO_HEAP)) {
    test_heap()->fail_at = t->k;
    test_heap()->sticky = t->sticky;
  } else {
    w->alloc.calls = 0;
    w->alloc.fail_at = t->k;
    w->alloc.sticky = t->sticky;
  }
}

/* Nothing fails any more; whether the k-th was asked for. */
static bool disarm(kth_world *w, const trial *t) {
  size_t calls = t->what != ALLOCATION  ? test_disk()->calls
                 : test_heap()->fail_at ? test_heap()->calls
                                        : w->alloc.calls;
  *test_disk() = (test_disk_faults){0};
  test_heap_calm();
  w->alloc.fail_at = 0;
  return calls >= t->k;
}

static bool bad(const trial *t, const char *what, weft_err err) {
  printf("%s: %s %zu%s: %s (%s)\n", t->c->name, source_names[t->what], t->k,
         t->sticky ? " and all after it" : "", what, weft_err_name(err));
  return false;
}

static bool clean(const trial *t, weft_err err) {
  if (t->what == ALLOCATION) return err == WEFT_ENOMEM;
  return err == WEFT_EIO || (t->what == FILE_FULL && err == WEFT_EFULL);
}

/* What the store holds, through an opening of its own. */
static content held_now(kth_world *w) {
  weft_lmdb_options o;
  weft_store *s;
  weft_lmdb_options_init(&o);
  o.path = w->path;
  o.map_size = 1u << 30;
  if (w->r) kth_close(w);
  must(weft_lmdb_store_open(&o, &s, NULL) == WEFT_OK, "the store does not open again");
  content c = content_of(s);
  weft_store_free(s);
  return c;
}

/* After a failure the call works; a store that died is opened again first. */
static bool goes_on(kth_world *w, const trial *t, weft_err err) {
  if (err == WEFT_EIO && !(t->c->flags & (KTH_VALUE | KTH_CLOSED))) {
    weft_edit_free(w->edit);
    w->edit = NULL;
    kth_close(w);
    err = kth_open(w);
    if (err != WEFT_OK) return bad(t, "does not open again", err);
  }
  err = t->c->run(w);
  return err == WEFT_OK || bad(t, "does not work afterwards", err);
}

static content before_all;

/* One failure; sets `more` when there may be another. */
static bool try_one(kth_tally *tally, const trial *t, bool *more) {
  kth_world w;
  long live = test_heap()->live;
  world_make(&w, t->c);
  arm(&w, t);
  weft_err err = t->c->run(&w);
  bool reached = disarm(&w, t);
  *more = reached;
  weft__arena_free(&w.arena);
  bool good = true;
  if (reached) tally->tried++;
  if (err != WEFT_OK && !clean(t, err)) good = bad(t, "ends with", err);
  bool compare = err != WEFT_OK && !(t->c->flags & (KTH_VALUE | KTH_STEPS)) && !t->c->before;
  bool retry = err != WEFT_OK && (t->k < 4 || t->k % RETRY_EVERY == 0 || !compare);
  if (good && err != WEFT_OK && retry) good = goes_on(&w, t, err);
  if (good && compare && !retry) {
    weft_edit_free(w.edit);
    w.edit = NULL;
    content now = held_now(&w);
    bool same = now.rest == before_all.rest && (err == WEFT_EFULL || now.all == before_all.all);
    if (!same) good = bad(t, "something changed", err);
  }
  if (!world_free(&w) && good) good = bad(t, "leaks", err);
  long left = test_heap()->live - live;
  if (good && left != 0 && test_heap_works()) {
    good = bad(t, "a library was not given memory back", err);
  }
  if (!good) tally->bad++;
  return good;
}

static void sweep(kth_tally *tally, const kth_case *c) {
  for (int what = 0; what < SOURCES; what++) {
    for (int sticky = 0; sticky < 2; sticky++) {
      bool more = true, good = true;
      for (size_t k = 1; more && good; k += k < EVERY ? 1 : 1 + k / SHARE) {
        trial t = {c, (source)what, k, sticky == 1};
        good = try_one(tally, &t, &more);
      }
    }
  }
  tally->functions++;
}

/* --- the list of functions --- */

static bool listed(const char *name) {
  for (size_t i = 0; i < kth_case_count; i++) {
    if (strcmp(kth_cases[i].name, name) == 0) return true;
  }
  for (size_t i = 0; i < kth_nothing_count; i++) {
    if (strcmp(kth_nothing[i], name) == 0) return true;
  }
  for (size_t i = 0; i < kth_elsewhere_count; i++) {
    if (strcmp(kth_elsewhere[i][0], name) == 0) return true;
  }
  return false;
}

static unsigned unlisted(const char *path) {
  char line[128];
  unsigned count = 0;
  FILE *file = fopen(path, "r");
  must(file != NULL, path);
  while (fgets(line, sizeof line, file)) {
    line[strcspn(line, " \n")] = 0;
    if (listed(line)) continue;
    printf("%s has no entry in tests/disk/kth_cases.c: add a call of it, or name it under "
           "kth_nothing when it takes no memory and touches no file\n",
           line);
    count++;
  }
  fclose(file);
  return count;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fputs("usage: weft-kth SYMBOLS [NAME]\n", stderr);
    return 2;
  }
  setvbuf(stdout, NULL, _IOLBF, 1024);
  signal(SIGPIPE, SIG_IGN);
  kth_tally tally = {0};
  unsigned missing = unlisted(argv[1]);
  world_plan();
  kth_world w;
  world_make(&w, &(kth_case){.name = "nothing"});
  before_all = held_now(&w);
  must(world_free(&w), "the world leaks");
  for (size_t i = 0; i < kth_case_count; i++) {
    if (argc < 3 || strcmp(argv[2], kth_cases[i].name) == 0) sweep(&tally, &kth_cases[i]);
  }
  if (argc < 3 || strcmp(argv[2], "frames") == 0) kth_frames(&tally);
  if (argc < 3 || strcmp(argv[2], "edge") == 0) kth_edge(&tally);
  weft__arena_free(&made.arena);
  test_temp_remove(&made.temp);
  printf("%llu k-th failures tried in %llu functions and %llu frames and node calls, %llu bad, "
         "%u functions without an entry\n",
         tally.tried, tally.functions, tally.frames, tally.bad, missing);
  return tally.bad || missing ? 1 : 0;
}

/* Asking the system for pages before they are read.
 *
 * The map is opened without the system's reading ahead, which on a page that is not in memory
 * brings its neighbours in the file too, up to megabytes of them: neighbours in the file are rarely
 * neighbours in the order of keys.  What is going to be read is known better here: the keys of a
 * list that come from anywhere (weft__lmdb_want), the pages behind a cursor that goes on and on
 * (weft__lmdb_scan), and values of many pages (weft__lmdb_whole).
 *
 * Wanted keys are followed through the branch pages all together, level by level: the pages of one
 * level are asked for at once, then read, so that a disk that does many things at a time is waited
 * for as often as the tree is deep, and not for every key.
 *
 * Invariants: nothing here changes anything or can fail; what is damaged is left for the reader to
 * find.  Nothing is asked for while no page had to come from a disk, which the system counts.
 * Failure modes: without memory, and on systems that do not count, pages come one by one. */
#include <fcntl.h>
#include <lmdb.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "crdt/sort.h"
#include "store/lmdb_page.h"

enum {
  SCAN_AFTER = 4,  /* leaves a cursor goes through before it counts as one that goes on */
  SCAN_PAGES = 64, /* asked for at a time: what Linux reads ahead, twice */
  WHOLE_PAGES = 4  /* a value of more is asked for as a whole */
};

/* A key on its way through the tree. */
typedef struct place {
  weft_bytes key;
  size_t page;  /* that it has come to */
  size_t depth; /* pages from there to its leaf, that one included */
} place;

typedef struct search {
  weft_lmdb_pages p;
  place *places;
  const void **list; /* of places that are looked for still, in the order of pages */
  const void **scratch;
  size_t count;
} search;

/* --- whether to ask --- */

/* Pages that had to be waited for, of this process. */
static long faults_now(void) {
  struct rusage usage;
  return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_majflt : 0;
}

bool weft__lmdb_is_cold(weft_lmdb_store *s) {
  long now = faults_now();
  return atomic_exchange(&s->faults, now) != now;
}

/* --- keys --- */

static int by_page(const void *ctx, const void *a, const void *b) {
  (void)ctx;
  const place *x = a, *y = b;
  return (x->page > y->page) - (x->page < y->page);
}

/* The child of the page that was read below which `key` lies; false when the page is damaged. */
static bool child_of(weft_lmdb_pages *p, weft_bytes key, size_t *child) {
  const uint8_t *node;
  size_t room, low = 0, high = weft__lmdb_page_nodes(p);
  while (low + 1 < high) { /* the first key of a branch page stands for all before the second */
    size_t middle = low + (high - low) / 2;
    if (weft__lmdb_page_node(p, middle, &node, &room) != WEFT_OK) return false;
    if (weft_bytes_cmp(weft__lmdb_node_key(node), key) <= 0) {
      low = middle;
    } else {
      high = middle;
    }
  }
  if (high == 0 || weft__lmdb_page_node(p, low, &node, &room) != WEFT_OK) return false;
  *child = weft__lmdb_node_child(node);
  return true;
}

/* Asks for the pages that the keys have come to. */
static void ask(search *s) {
  size_t before = SIZE_MAX;
  weft__sort(s->list, s->scratch, s->count, by_page, NULL);
  for (size_t i = 0; i < s->count; i++) {
    const place *w = s->list[i];
    if (w->page == before || w->page >= s->p.count) continue;
    before = w->page;
    uint64_t offset = (uint64_t)before * s->p.psize;
    posix_fadvise(s->p.fd, (off_t)offset, (off_t)s->p.psize, POSIX_FADV_WILLNEED);
  }
}

/* Reads the pages that the keys have come to, and moves each key to the page below.  Keys that
 * have come to their leaf are left where they are. */
static void descend(search *s) {
  size_t kept = 0, read = SIZE_MAX;
  for (size_t i = 0; i < s->count; i++) {
    place *w = &s->places[(const place *)s->list[i] - s->places];
    if (w->depth < 2) continue;
    if (w->page != read && weft__lmdb_page_read(&s->p, w->page) != WEFT_OK) continue;
    read = w->page;
    if (weft__lmdb_page_is_leaf(&s->p) || !child_of(&s->p, w->key, &w->page)) continue;
    w->depth--;
    s->list[kept++] = w;
  }
  s->count = kept;
}

/* The tree of a table as the transaction sees it; false when it is not found. */
static bool tree_of(MDB_txn *txn, MDB_dbi main, weft_table table, place *out) {
  const char *name = weft_table_name(table);
  uint8_t tree[WEFT_LMDB_TREE_LEN], room[32];
  MDB_val key = {strlen(name), room}, value;
  if (table == WEFT_TABLE_META || key.mv_size > sizeof room) return false;
  memcpy(room, name, key.mv_size);
  if (mdb_get(txn, main, &key, &value) != MDB_SUCCESS || value.mv_size != sizeof tree) return false;
  memcpy(tree, value.mv_data, sizeof tree);
  out->page = weft__lmdb_get_word(tree + WEFT_LMDB_TREE_ROOT);
  out->depth = weft__lmdb_get16(tree + WEFT_LMDB_TREE_DEPTH);
  return out->depth > 0 && out->depth <= WEFT_LMDB_DEPTH_MAX;
}

static void search_run(search *s, MDB_txn *txn, MDB_dbi main, const weft_wanted *wanted,
                       size_t count) {
  place root = {{NULL, 0}, 0, 0};
  weft_table table = WEFT_TABLE_COUNT;
  bool found = false;
  for (size_t i = 0; i < count; i++) {
    if (wanted[i].table != table) found = tree_of(txn, main, wanted[i].table, &root);
    table = wanted[i].table;
    if (!found) continue;
    s->places[s->count] = root;
    s->places[s->count].key = wanted[i].key;
    s->list[s->count] = &s->places[s->count];
    s->count++;
  }
  while (s->count > 0) {
    ask(s);
    descend(s);
  }
}

void weft__lmdb_want(weft_lmdb_store *store, struct MDB_txn *txn, const weft_wanted *wanted,
                     size_t count) {
  weft_diag d;
  MDB_envinfo info;
  MDB_stat stat;
  search s = {.p = {.d = &d}};
  if (mdb_env_info(store->env, &info) != MDB_SUCCESS) return;     /* defensive: it only copies */
  if (mdb_env_stat(store->env, &stat) != MDB_SUCCESS) return;     /* defensive: it only copies */
  if (mdb_env_get_fd(store->env, &s.p.fd) != MDB_SUCCESS) return; /* defensive: it is open */
  s.p.psize = stat.ms_psize;
  s.p.count = (size_t)info.me_last_pgno + 1;
  weft_arena arena;
  weft__arena_init(&arena, &store->mem);
  s.p.page = weft__arena_take(&arena, s.p.psize);
  s.places = weft__arena_zero(&arena, count, sizeof *s.places);
  s.list = weft__arena_zero(&arena, count, sizeof *s.list);
  s.scratch = weft__arena_zero(&arena, count, sizeof *s.scratch);
  if (s.p.page && s.places && s.list && s.scratch) {
    search_run(&s, txn, store->dbis[WEFT_TABLE_META], wanted, count);
  }
  weft__arena_free(&arena);
}

/* --- runs of pages --- */

/* Asks for pages of the map; beyond its end the system does nothing. */
static void ask_run(const uint8_t *at, size_t len) {
  union {
    const void *given;
    void *taken; /* nothing is written */
  } from = {at};
  posix_madvise(from.taken, len, POSIX_MADV_WILLNEED);
}

void weft__lmdb_scan(weft_lmdb_store *s, weft_lmdb_scan *scan, const void *at) {
  uintptr_t here = (uintptr_t)at;
  uintptr_t leaf = here & ~(uintptr_t)(s->psize - 1);
  if (leaf == scan->leaf) return;
  scan->leaf = leaf;
  if (scan->leaves < SCAN_AFTER) {
    scan->leaves++;
    return;
  }
  size_t run_len = SCAN_PAGES * s->psize;
  uintptr_t run = leaf & ~(uintptr_t)(run_len - 1);
  if (run == scan->run) return;
  scan->run = run;
  if (weft__lmdb_is_cold(s)) ask_run((const uint8_t *)at - (here - run), run_len);
}

void weft__lmdb_whole(const weft_lmdb_store *s, const void *at, size_t len) {
  if (len <= WHOLE_PAGES * s->psize) return;
  size_t before = (uintptr_t)at & (s->psize - 1);
  ask_run((const uint8_t *)at - before, before + len);
}

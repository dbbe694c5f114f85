/* A look at an LMDB file from outside, with reads instead of a map: a page that the file lacks
 * would otherwise be a SIGBUS later, and a page that leads astray a SIGSEGV.
 *
 * store/lmdb_page.h tells the layout.  Of the two meta pages the one with the greater transaction
 * number counts.
 *
 * Happy path: both meta pages are sane, the file is as long as the newer says.  Otherwise, or on
 * demand, every tree is walked: the free list, the unnamed database and each named one.  A page
 * counts once; a walk that meets more pages than the file has goes in circles.
 *
 * Failure modes: WEFT_ECORRUPT for anything that does not fit; the contents of keys and values are
 * not looked at. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "store/lmdb_page.h"

enum {
  word = WEFT_LMDB_WORD,
  meta_trees = WEFT_LMDB_PAGE_HEAD + 8 + 2 * word, /* behind magic, version, address, map size */
  meta_last = meta_trees + 2 * WEFT_LMDB_TREE_LEN,
  meta_txn = meta_last + word,
  meta_len = meta_txn + word,

  psize_min = 512,
  psize_max = 65536,
  roots_max = WEFT_TABLE_COUNT + 2,
};

static const uint32_t meta_magic = 0xBEEFC0DE;
static const size_t no_page = SIZE_MAX;

typedef struct check_level {
  size_t page;
  size_t idx; /* the next child */
} check_level;

typedef struct check {
  weft_lmdb_pages p;
  size_t visited; /* pages the walk has met */
  size_t roots[roots_max];
  size_t root_count;
} check;

typedef struct check_meta {
  size_t psize;
  size_t last_page;
  size_t txn;
  size_t free_root;
  size_t main_root;
} check_meta;

static weft_err corrupt(check *c, size_t page, const char *what) {
  return weft__lmdb_page_corrupt(&c->p, page, what);
}

/* --- meta pages --- */

static weft_err meta_read(check *c, size_t page, check_meta *m) {
  uint8_t b[meta_len];
  WEFT_TRY(weft__lmdb_read_at(&c->p, (uint64_t)page * c->p.psize, b, sizeof b));
  if (!(weft__lmdb_get16(b + word + 2) & WEFT_LMDB_PAGE_META) ||
      weft__lmdb_get32(b + WEFT_LMDB_PAGE_HEAD) != meta_magic) {
    return corrupt(c, page, "not an LMDB file");
  }
  if (weft__lmdb_get32(b + WEFT_LMDB_PAGE_HEAD + 4) != 1) {
    weft__diag_set(c->p.d, WEFT_EVERSION, 0, "an LMDB file of another version");
    return WEFT_EVERSION;
  }
  m->psize = weft__lmdb_get32(b + meta_trees);
  m->last_page = weft__lmdb_get_word(b + meta_last);
  m->txn = weft__lmdb_get_word(b + meta_txn);
  m->free_root = weft__lmdb_get_word(b + meta_trees + WEFT_LMDB_TREE_ROOT);
  m->main_root = weft__lmdb_get_word(b + meta_trees + WEFT_LMDB_TREE_LEN + WEFT_LMDB_TREE_ROOT);
  bool power = m->psize >= psize_min && m->psize <= psize_max && !(m->psize & (m->psize - 1));
  if (!power) return corrupt(c, page, "page size");
  if (m->last_page < 1 || m->last_page > SIZE_MAX / psize_max - 1) {
    return corrupt(c, page, "last page");
  }
  return WEFT_OK;
}

static weft_err metas_read(check *c, check_meta *newer) {
  check_meta first = {0}, second = {0};
  WEFT_TRY(meta_read(c, 0, &first));
  c->p.psize = first.psize;
  WEFT_TRY(meta_read(c, 1, &second));
  if (second.psize != first.psize) return corrupt(c, 1, "page size");
  *newer = second.txn > first.txn ? second : first;
  return WEFT_OK;
}

/* --- trees --- */

/* A value on pages of its own: at least as many as it needs, for a shorter one may have replaced a
 * longer one in place. */
static weft_err overflow_check(check *c, size_t page, size_t value_len) {
  size_t need = (WEFT_LMDB_PAGE_HEAD - 1 + value_len) / c->p.psize + 1;
  if (page < 2 || page >= c->p.count)
    return corrupt(c, page, "a large value lies outside the file");
  uint8_t head[WEFT_LMDB_PAGE_HEAD];
  WEFT_TRY(weft__lmdb_read_at(&c->p, (uint64_t)page * c->p.psize, head, sizeof head));
  bool fits = weft__lmdb_get_word(head) == page &&
              weft__lmdb_get16(head + word + 2) == WEFT_LMDB_PAGE_OVERFLOW;
  size_t count = weft__lmdb_get32(head + word + 4);
  if (!fits || count < need) return corrupt(c, page, "not a large value");
  if (count > c->p.count - page) return corrupt(c, page, "a large value is cut off");
  c->visited += count;
  return WEFT_OK;
}

/* Checks the nodes of the leaf that was read; in the unnamed database (`main`) collects the roots
 * of the named ones. */
static weft_err leaf_check(check *c, bool main) {
  size_t count = weft__lmdb_page_nodes(&c->p);
  for (size_t i = 0; i < count; i++) {
    const uint8_t *node;
    size_t room;
    WEFT_TRY(weft__lmdb_page_node(&c->p, i, &node, &room));
    size_t key_len = weft__lmdb_get16(node + 6), len = weft__lmdb_get32(node);
    unsigned flags = weft__lmdb_get16(node + 4);
    const uint8_t *value = node + WEFT_LMDB_NODE_HEAD + key_len;
    size_t held = flags & WEFT_LMDB_NODE_BIG ? (size_t)word : len;
    if (held > room - key_len)
      return corrupt(c, weft__lmdb_get_word(c->p.page), "a value lies outside");
    if (flags & WEFT_LMDB_NODE_BIG) WEFT_TRY(overflow_check(c, weft__lmdb_get_word(value), len));
    if (!(flags & WEFT_LMDB_NODE_TREE)) continue;
    if (!main || len != WEFT_LMDB_TREE_LEN || c->root_count == roots_max) {
      return corrupt(c, weft__lmdb_get_word(c->p.page), "a table where none belongs");
    }
    c->roots[c->root_count++] = weft__lmdb_get_word(value + WEFT_LMDB_TREE_ROOT);
  }
  return WEFT_OK;
}

/* Walks one tree with a stack of branch pages, each read again for its next child. */
static weft_err tree_walk(check *c, size_t root, bool main) {
  check_level stack[WEFT_LMDB_DEPTH_MAX];
  size_t depth = 0;
  stack[depth++] = (check_level){root, 0};
  while (depth > 0) {
    check_level *top = &stack[depth - 1];
    if (top->idx == 0) c->visited++;
    if (c->visited > c->p.count) return corrupt(c, top->page, "the pages go in circles");
    WEFT_TRY(weft__lmdb_page_read(&c->p, top->page));
    bool leaf = weft__lmdb_page_is_leaf(&c->p);
    if (leaf) WEFT_TRY(leaf_check(c, main));
    if (leaf || top->idx == weft__lmdb_page_nodes(&c->p)) {
      depth--;
      continue;
    }
    if (depth == WEFT_LMDB_DEPTH_MAX) return corrupt(c, top->page, "the tree is too deep");
    const uint8_t *node;
    size_t room;
    WEFT_TRY(weft__lmdb_page_node(&c->p, top->idx++, &node, &room));
    stack[depth++] = (check_level){weft__lmdb_node_child(node), 0};
  }
  return WEFT_OK;
}

static weft_err trees_walk(check *c, const check_meta *m) {
  if (m->free_root != no_page) WEFT_TRY(tree_walk(c, m->free_root, false));
  if (m->main_root != no_page) WEFT_TRY(tree_walk(c, m->main_root, true));
  for (size_t i = 0; i < c->root_count; i++) {
    if (c->roots[i] != no_page) WEFT_TRY(tree_walk(c, c->roots[i], false));
  }
  return WEFT_OK;
}

weft_err weft__lmdb_check(const weft_alloc *mem, int fd, bool deep, uint64_t *whole, weft_diag *d) {
  check c = {.p = {.fd = fd, .d = d, .psize = psize_min}};
  check_meta m = {0};
  *whole = 0;
  WEFT_TRY(metas_read(&c, &m));
  /* The length after the head: a writer in another process lengthens the file first. */
  struct stat st;
  int rc = fstat(fd, &st);
  if (rc != 0) return weft__lmdb_diag(d, errno, "look at it"); /* defensive: of an open file */
  c.p.count = (size_t)((uint64_t)st.st_size / c.p.psize);
  *whole = ((uint64_t)m.last_page + 1) * c.p.psize;
  if (!deep && m.last_page < c.p.count) return WEFT_OK;
  if (c.p.count > m.last_page + 1) c.p.count = m.last_page + 1;
  c.p.page = mem->alloc(mem->ctx, c.p.psize);
  if (!c.p.page) return WEFT_ENOMEM;
  weft_err err = trees_walk(&c, &m);
  mem->free(mem->ctx, c.p.page);
  return err;
}

/* A look at an LMDB file from outside, with reads instead of a map: a page that the file lacks
 * would otherwise be a SIGBUS later, and a page that leads astray a SIGSEGV.
 *
 * The layout is that of LMDB 0.9 (data version 1), in the machine's own byte order and word size:
 * pages of a power of two, the first two meta pages, of which the one with the greater transaction
 * number counts; trees of branch and leaf pages; values larger than a node on runs of overflow
 * pages.
 *
 * Happy path: both meta pages are sane, the file is as long as the newer says.  Otherwise, or on
 * demand, every tree is walked: the free list, the unnamed database and each named one.  A page
 * counts once; a walk that meets more pages than the file has goes in circles.
 *
 * Failure modes: WEFT_ECORRUPT for anything that does not fit; the contents of keys and values are
 * not looked at. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/lmdb_door.h"

enum {
  word = sizeof(size_t),
  page_head = word + 8,    /* number, padding u16, flags u16, then bounds 2 x u16 or run u32 */
  tree_len = 8 + 5 * word, /* padding u32, flags u16, depth u16, 3 counts, entries, root */
  tree_root = 8 + 4 * word,
  meta_trees = page_head + 8 + 2 * word, /* behind magic, version, address, map size */
  meta_last = meta_trees + 2 * tree_len,
  meta_txn = meta_last + word,
  meta_len = meta_txn + word,
  node_head = 8, /* length or page: u32 (in halves, the machine's way), flags u16, key length u16 */

  page_branch = 0x01,
  page_leaf = 0x02,
  page_overflow = 0x04,
  page_meta = 0x08,
  node_big = 0x01,
  node_tree = 0x02,

  psize_min = 512,
  psize_max = 65536,
  depth_max = 32,
  roots_max = WEFT_TABLE_COUNT + 2,
};

static const uint32_t meta_magic = 0xBEEFC0DE;
static const size_t no_page = SIZE_MAX;

typedef struct check_level {
  size_t page;
  size_t idx; /* the next child */
} check_level;

typedef struct check {
  int fd;
  weft_diag *d;
  size_t psize;
  size_t pages;   /* that the file holds whole */
  size_t visited; /* pages the walk has met */
  size_t roots[roots_max];
  size_t root_count;
  uint8_t *page; /* the one being looked at */
} check;

typedef struct check_meta {
  size_t psize;
  size_t last_page;
  size_t txn;
  size_t free_root;
  size_t main_root;
} check_meta;

static uint16_t get16(const uint8_t *at) {
  uint16_t v;
  memcpy(&v, at, sizeof v);
  return v;
}

static uint32_t get32(const uint8_t *at) {
  uint32_t v;
  memcpy(&v, at, sizeof v);
  return v;
}

static size_t get_word(const uint8_t *at) {
  size_t v;
  memcpy(&v, at, sizeof v);
  return v;
}

static weft_err corrupt(check *c, size_t page, const char *what) {
  char text[sizeof c->d->text];
  snprintf(text, sizeof text, "page %zu: %s", page, what);
  weft__diag_set(c->d, WEFT_ECORRUPT, 0, text);
  c->d->offset = (uint64_t)page * c->psize;
  return WEFT_ECORRUPT;
}

/* Reads `len` bytes at `offset`; WEFT_ECORRUPT when the file ends before. */
static weft_err read_at(check *c, uint64_t offset, uint8_t *out, size_t len) {
  size_t got = 0;
  while (got < len) {
    ssize_t n = pread(c->fd, out + got, len - got, (off_t)(offset + got));
    if (n < 0 && errno == EINTR) continue; /* defensive: not on regular files */
    if (n < 0) return weft__lmdb_diag(c->d, errno, "read the file");
    if (n == 0) {
      weft__diag_set(c->d, WEFT_ECORRUPT, 0, "the file is truncated, or no store");
      c->d->offset = offset;
      return WEFT_ECORRUPT;
    }
    got += (size_t)n;
  }
  return WEFT_OK;
}

/* --- meta pages --- */

static weft_err meta_read(check *c, size_t page, check_meta *m) {
  uint8_t b[meta_len];
  WEFT_TRY(read_at(c, (uint64_t)page * c->psize, b, sizeof b));
  if (!(get16(b + word + 2) & page_meta) || get32(b + page_head) != meta_magic) {
    return corrupt(c, page, "not an LMDB file");
  }
  if (get32(b + page_head + 4) != 1) {
    weft__diag_set(c->d, WEFT_EVERSION, 0, "an LMDB file of another version");
    return WEFT_EVERSION;
  }
  m->psize = get32(b + meta_trees);
  m->last_page = get_word(b + meta_last);
  m->txn = get_word(b + meta_txn);
  m->free_root = get_word(b + meta_trees + tree_root);
  m->main_root = get_word(b + meta_trees + tree_len + tree_root);
  bool power = m->psize >= psize_min && m->psize <= psize_max && !(m->psize & (m->psize - 1));
  if (!power) return corrupt(c, page, "page size");
  if (m->last_page < 1 || m->last_page > SIZE_MAX / psize_max - 1) {
    return corrupt(c, page, "last page");
  }
  return WEFT_OK;
}

static weft_err metas_read(check *c, check_meta *newer) {
  check_meta first, second;
  WEFT_TRY(meta_read(c, 0, &first));
  c->psize = first.psize;
  WEFT_TRY(meta_read(c, 1, &second));
  if (second.psize != first.psize) return corrupt(c, 1, "page size");
  *newer = second.txn > first.txn ? second : first;
  return WEFT_OK;
}

/* --- trees --- */

static weft_err page_read(check *c, size_t page) {
  if (page < 2 || page >= c->pages) return corrupt(c, page, "lies outside the file");
  WEFT_TRY(read_at(c, (uint64_t)page * c->psize, c->page, c->psize));
  unsigned flags = get16(c->page + word + 2);
  unsigned lower = get16(c->page + word + 4), upper = get16(c->page + word + 6);
  if (get_word(c->page) != page) return corrupt(c, page, "has another number");
  if (flags != page_branch && flags != page_leaf) return corrupt(c, page, "is not of a tree");
  if (lower < page_head || lower > upper || upper > c->psize || (lower - page_head) % 2) {
    return corrupt(c, page, "bounds");
  }
  return WEFT_OK;
}

static size_t page_nodes(const check *c) {
  return (size_t)(get16(c->page + word + 4) - page_head) / 2;
}

/* Finds node `idx` of the page; `*room` is what lies behind its head. */
static weft_err node_find(check *c, size_t idx, const uint8_t **node, size_t *room) {
  size_t offset = get16(c->page + page_head + 2 * idx);
  size_t upper = get16(c->page + word + 6);
  bool fits = offset >= upper && offset + node_head <= c->psize && offset % 2 == 0;
  if (!fits) return corrupt(c, get_word(c->page), "a node lies outside");
  *node = c->page + offset;
  *room = c->psize - offset - node_head;
  if (get16(*node + 6) > *room) return corrupt(c, get_word(c->page), "a key lies outside");
  return WEFT_OK;
}

/* A value on pages of its own: at least as many as it needs, for a shorter one may have replaced a
 * longer one in place. */
static weft_err overflow_check(check *c, size_t page, size_t value_len) {
  size_t need = (page_head - 1 + value_len) / c->psize + 1;
  if (page < 2 || page >= c->pages) return corrupt(c, page, "a large value lies outside the file");
  uint8_t head[page_head];
  WEFT_TRY(read_at(c, (uint64_t)page * c->psize, head, sizeof head));
  bool fits = get_word(head) == page && get16(head + word + 2) == page_overflow;
  size_t count = get32(head + word + 4);
  if (!fits || count < need) return corrupt(c, page, "not a large value");
  if (count > c->pages - page) return corrupt(c, page, "a large value is cut off");
  c->visited += count;
  return WEFT_OK;
}

/* Checks the nodes of the leaf that was read; in the unnamed database (`main`) collects the roots
 * of the named ones. */
static weft_err leaf_check(check *c, bool main) {
  size_t count = page_nodes(c);
  for (size_t i = 0; i < count; i++) {
    const uint8_t *node;
    size_t room;
    WEFT_TRY(node_find(c, i, &node, &room));
    size_t key_len = get16(node + 6), len = get32(node);
    unsigned flags = get16(node + 4);
    const uint8_t *value = node + node_head + key_len;
    size_t held = flags & node_big ? (size_t)word : len;
    if (held > room - key_len) return corrupt(c, get_word(c->page), "a value lies outside");
    if (flags & node_big) WEFT_TRY(overflow_check(c, get_word(value), len));
    if (!(flags & node_tree)) continue;
    if (!main || len != tree_len || c->root_count == roots_max) {
      return corrupt(c, get_word(c->page), "a table where none belongs");
    }
    c->roots[c->root_count++] = get_word(value + tree_root);
  }
  return WEFT_OK;
}

static weft_err branch_child(check *c, size_t idx, size_t *child) {
  const uint8_t *node;
  size_t room;
  WEFT_TRY(node_find(c, idx, &node, &room));
  uint64_t page = get32(node);
  if (word == 8) page |= (uint64_t)get16(node + 4) << 32;
  *child = (size_t)page;
  return WEFT_OK;
}

/* Walks one tree with a stack of branch pages, each read again for its next child. */
static weft_err tree_walk(check *c, size_t root, bool main) {
  check_level stack[depth_max];
  size_t depth = 0;
  stack[depth++] = (check_level){root, 0};
  while (depth > 0) {
    check_level *top = &stack[depth - 1];
    if (top->idx == 0) c->visited++;
    if (c->visited > c->pages) return corrupt(c, top->page, "the pages go in circles");
    WEFT_TRY(page_read(c, top->page));
    bool leaf = get16(c->page + word + 2) == page_leaf;
    if (leaf) WEFT_TRY(leaf_check(c, main));
    if (leaf || top->idx == page_nodes(c)) {
      depth--;
      continue;
    }
    if (depth == depth_max) return corrupt(c, top->page, "the tree is too deep");
    size_t child;
    WEFT_TRY(branch_child(c, top->idx++, &child));
    stack[depth++] = (check_level){child, 0};
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
  check c = {.fd = fd, .d = d, .psize = psize_min};
  check_meta m;
  *whole = 0;
  WEFT_TRY(metas_read(&c, &m));
  /* The length after the head: a writer in another process lengthens the file first. */
  struct stat st;
  int rc = fstat(fd, &st);
  if (rc != 0) return weft__lmdb_diag(d, errno, "look at it"); /* defensive: of an open file */
  c.pages = (size_t)((uint64_t)st.st_size / c.psize);
  *whole = ((uint64_t)m.last_page + 1) * c.psize;
  if (!deep && m.last_page < c.pages) return WEFT_OK;
  if (c.pages > m.last_page + 1) c.pages = m.last_page + 1;
  c.page = mem->alloc(mem->ctx, c.psize);
  if (!c.page) return WEFT_ENOMEM;
  weft_err err = trees_walk(&c, &m);
  mem->free(mem->ctx, c.page);
  return err;
}

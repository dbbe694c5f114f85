/* Pages of an LMDB file, read with reads instead of a map, and trusted in nothing.
 *
 * The layout is that of LMDB 0.9 (data version 1), in the machine's own byte order and word size:
 * pages of a power of two, the first two meta pages; trees of branch and leaf pages; values larger
 * than a node on runs of overflow pages.  Only store/lmdb_*.c include this. */
#ifndef WEFT_STORE_LMDB_PAGE_H
#define WEFT_STORE_LMDB_PAGE_H

#include "store/lmdb_door.h"

enum {
  WEFT_LMDB_WORD = sizeof(size_t),
  /* Number, padding u16, flags u16, then bounds 2 x u16 or the length of a run u32. */
  WEFT_LMDB_PAGE_HEAD = WEFT_LMDB_WORD + 8,
  /* Of a tree: padding u32, flags u16, depth u16, 3 counts, entries, root. */
  WEFT_LMDB_TREE_LEN = 8 + 5 * WEFT_LMDB_WORD,
  WEFT_LMDB_TREE_DEPTH = 6,
  WEFT_LMDB_TREE_ROOT = 8 + 4 * WEFT_LMDB_WORD,
  /* Length or page: u32 (in halves, the machine's way), flags u16, key length u16. */
  WEFT_LMDB_NODE_HEAD = 8,
  WEFT_LMDB_DEPTH_MAX = 32,

  WEFT_LMDB_PAGE_LEAF = 0x02,
  WEFT_LMDB_PAGE_OVERFLOW = 0x04,
  WEFT_LMDB_PAGE_META = 0x08,
  WEFT_LMDB_NODE_BIG = 0x01,
  WEFT_LMDB_NODE_TREE = 0x02
};

/* Numbers as the machine writes them, at any address. */
uint16_t weft__lmdb_get16(const uint8_t *at);
uint32_t weft__lmdb_get32(const uint8_t *at);
size_t weft__lmdb_get_word(const uint8_t *at);

/* A file, and one page of it. */
typedef struct weft_lmdb_pages {
  int fd;
  size_t psize;
  size_t count;  /* pages that the file has */
  weft_diag *d;  /* what was wrong last */
  uint8_t *page; /* `psize` bytes: what weft__lmdb_page_read read last */
} weft_lmdb_pages;

/* Notes what is wrong with a page; gives WEFT_ECORRUPT. */
weft_err weft__lmdb_page_corrupt(weft_lmdb_pages *p, size_t page, const char *what);

/* Reads `len` bytes at `offset`.  WEFT_ECORRUPT: the file ends before; WEFT_EIO. */
weft_err weft__lmdb_read_at(weft_lmdb_pages *p, uint64_t offset, uint8_t *out,
                            size_t len) WEFT_MUST_USE;

/* Reads a branch or leaf page into `page` and checks its head.  WEFT_ECORRUPT, WEFT_EIO. */
weft_err weft__lmdb_page_read(weft_lmdb_pages *p, size_t page) WEFT_MUST_USE;
bool weft__lmdb_page_is_leaf(const weft_lmdb_pages *p);
/* The number of nodes on the page. */
size_t weft__lmdb_page_nodes(const weft_lmdb_pages *p);
/* Finds node `idx` of the page: a view, until the next read; `*room` is what lies behind its head,
 * at least its key.  WEFT_ECORRUPT. */
weft_err weft__lmdb_page_node(weft_lmdb_pages *p, size_t idx, const uint8_t **node,
                              size_t *room) WEFT_MUST_USE;
/* The page that a node of a branch page names. */
size_t weft__lmdb_node_child(const uint8_t *node);
/* The key of a node. */
weft_bytes weft__lmdb_node_key(const uint8_t *node);

#endif

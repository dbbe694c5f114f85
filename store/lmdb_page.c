/* Pages of an LMDB file.
 *
 * Invariant: nothing that a page says is followed before it was compared with the bounds of the
 * page or of the file.
 * Happy path: weft__lmdb_page_read, then node by node.
 * Failure modes: WEFT_ECORRUPT for anything that does not fit, and for a file that ends early. */
#include "store/lmdb_page.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { page_branch = 0x01, word = WEFT_LMDB_WORD };

uint16_t weft__lmdb_get16(const uint8_t *at) {
  uint16_t v;
  memcpy(&v, at, sizeof v);
  return v;
}

uint32_t weft__lmdb_get32(const uint8_t *at) {
  uint32_t v;
  memcpy(&v, at, sizeof v);
  return v;
}

size_t weft__lmdb_get_word(const uint8_t *at) {
  size_t v;
  memcpy(&v, at, sizeof v);
  return v;
}

weft_err weft__lmdb_page_corrupt(weft_lmdb_pages *p, size_t page, const char *what) {
  char text[sizeof p->d->text];
  snprintf(text, sizeof text, "page %zu: %s", page, what);
  weft__diag_set(p->d, WEFT_ECORRUPT, 0, text);
  p->d->offset = (uint64_t)page * p->psize;
  return WEFT_ECORRUPT;
}

weft_err weft__lmdb_read_at(weft_lmdb_pages *p, uint64_t offset, uint8_t *out, size_t len) {
  size_t got = 0;
  while (got < len) {
    ssize_t n = pread(p->fd, out + got, len - got, (off_t)(offset + got));
    if (n < 0 && errno == EINTR) continue; /* defensive: not on regular files */
    if (n < 0) return weft__lmdb_diag(p->d, errno, "read the file");
    if (n == 0) {
      weft__diag_set(p->d, WEFT_ECORRUPT, 0, "the file is truncated, or no store");
      p->d->offset = offset;
      return WEFT_ECORRUPT;
    }
    got += (size_t)n;
  }
  return WEFT_OK;
}

static unsigned flags_of(const weft_lmdb_pages *p) { return weft__lmdb_get16(p->page + word + 2); }
static unsigned lower_of(const weft_lmdb_pages *p) { return weft__lmdb_get16(p->page + word + 4); }
static unsigned upper_of(const weft_lmdb_pages *p) { return weft__lmdb_get16(p->page + word + 6); }

weft_err weft__lmdb_page_read(weft_lmdb_pages *p, size_t page) {
  if (page < 2 || page >= p->count) {
    return weft__lmdb_page_corrupt(p, page, "lies outside the file");
  }
  WEFT_TRY(weft__lmdb_read_at(p, (uint64_t)page * p->psize, p->page, p->psize));
  unsigned lower = lower_of(p), upper = upper_of(p);
  if (weft__lmdb_get_word(p->page) != page) {
    return weft__lmdb_page_corrupt(p, page, "has another number");
  }
  if (flags_of(p) != page_branch && flags_of(p) != WEFT_LMDB_PAGE_LEAF) {
    return weft__lmdb_page_corrupt(p, page, "is not of a tree");
  }
  if (lower < WEFT_LMDB_PAGE_HEAD || lower > upper || upper > p->psize ||
      (lower - WEFT_LMDB_PAGE_HEAD) % 2) {
    return weft__lmdb_page_corrupt(p, page, "bounds");
  }
  return WEFT_OK;
}

bool weft__lmdb_page_is_leaf(const weft_lmdb_pages *p) {
  return flags_of(p) == WEFT_LMDB_PAGE_LEAF;
}

size_t weft__lmdb_page_nodes(const weft_lmdb_pages *p) {
  return (size_t)(lower_of(p) - WEFT_LMDB_PAGE_HEAD) / 2;
}

weft_err weft__lmdb_page_node(weft_lmdb_pages *p, size_t idx, const uint8_t **node, size_t *room) {
  size_t offset = weft__lmdb_get16(p->page + WEFT_LMDB_PAGE_HEAD + 2 * idx);
  size_t number = weft__lmdb_get_word(p->page);
  bool fits = offset >= upper_of(p) && offset + WEFT_LMDB_NODE_HEAD <= p->psize && offset % 2 == 0;
  if (!fits) return weft__lmdb_page_corrupt(p, number, "a node lies outside");
  *node = p->page + offset;
  *room = p->psize - offset - WEFT_LMDB_NODE_HEAD;
  if (weft__lmdb_get16(*node + 6) > *room) {
    return weft__lmdb_page_corrupt(p, number, "a key lies outside");
  }
  return WEFT_OK;
}

size_t weft__lmdb_node_child(const uint8_t *node) {
  uint64_t page = weft__lmdb_get32(node);
  if (word == 8) page |= (uint64_t)weft__lmdb_get16(node + 4) << 32;
  return (size_t)page;
}

weft_bytes weft__lmdb_node_key(const uint8_t *node) {
  return weft_bytes_of(node + WEFT_LMDB_NODE_HEAD, weft__lmdb_get16(node + 6));
}

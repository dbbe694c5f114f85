#include "crdt/base.h"

#include <string.h>

int weft_bytes_cmp(weft_bytes a, weft_bytes b) {
  size_t common = a.len < b.len ? a.len : b.len;
  int order = common ? memcmp(a.at, b.at, common) : 0;
  if (order != 0) return order;
  return (a.len > b.len) - (a.len < b.len);
}

weft_bytes weft_bytes_str(const char *text) { return weft_bytes_of(text, strlen(text)); }

int weft_id_cmp(const weft_id *a, const weft_id *b) { return memcmp(a->b, b->b, sizeof a->b); }

/* A merge sort from the bottom up.
 *
 * Invariant: before each pass, every aligned run of `width` items is sorted.  Happy path: two
 * neighbouring runs that are in order already are left alone, so sorted input costs one pass of
 * comparisons per width.  There are no failures. */
#include "crdt/sort.h"

#include <string.h>

/* Merges items[0..left) with items[left..count) through `scratch`. */
static void merge(const void **items, const void **scratch, size_t left, size_t count,
                  weft_sort_cmp cmp, const void *ctx) {
  memcpy(scratch, items, left * sizeof *items);
  size_t a = 0, b = left, to = 0;
  while (a < left && b < count) {
    items[to++] = cmp(ctx, scratch[a], items[b]) <= 0 ? scratch[a++] : items[b++];
  }
  memcpy(items + to, scratch + a, (left - a) * sizeof *items);
}

void weft__sort(const void **items, const void **scratch, size_t count, weft_sort_cmp cmp,
                const void *ctx) {
  size_t width = 1;
  while (width < count) {
    for (size_t from = 0; from < count && count - from > width; from += width * 2) {
      size_t both = count - from < width * 2 ? count - from : width * 2;
      const void **run = items + from;
      if (cmp(ctx, run[width - 1], run[width]) <= 0) continue;
      merge(run, scratch, width, both, cmp, ctx);
    }
    width = width > count / 2 ? count : width * 2;
  }
}

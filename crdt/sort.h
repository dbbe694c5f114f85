/* Sorting without the C library's qsort, which may allocate behind our back and takes no context.
 */
#ifndef WEFT_SORT_H
#define WEFT_SORT_H

#include "crdt/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* <0, 0, >0 as `a` stands before, with, or behind `b`; a total preorder. */
typedef int (*weft_sort_cmp)(const void *ctx, const void *a, const void *b);

/* Sorts `count` pointers ascending; equal ones keep their order.  `scratch` has room for as many
 * and is left with no meaning; both are borrowed.  At most count * log2(count) comparisons, `count`
 * when they are in order already.  Cannot fail.  Any thread. */
void weft__sort(const void **items, const void **scratch, size_t count, weft_sort_cmp cmp,
                const void *ctx);

#ifdef __cplusplus
}
#endif
#endif

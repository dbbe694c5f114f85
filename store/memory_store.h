/* The memory store: the contract of store/store.h without a disk, for simulation and tests.
 * Deterministic; belongs to one thread; nothing outlives weft_store_free. */
#ifndef WEFT_MEMORY_STORE_H
#define WEFT_MEMORY_STORE_H

#include "../crdt/alloc.h"
#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_memory_options {
  size_t struct_size;
  weft_alloc mem;    /* where all memory comes from; default libc */
  uint64_t size_max; /* bytes of keys and values it takes before WEFT_EFULL; 0, the default: any */
} weft_memory_options;

/* Fills in the defaults. */
WEFT_API void weft_memory_options_init_sized(weft_memory_options *o, size_t struct_size);
#define weft_memory_options_init(o) weft_memory_options_init_sized((o), sizeof *(o))

/* Makes an empty store.  `*out` is set only on WEFT_OK and ended by weft_store_free; the
 * allocator's `ctx` must outlive it.  WEFT_ENOMEM. */
WEFT_API weft_err weft_memory_store_new(const weft_memory_options *o,
                                        weft_store **out) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

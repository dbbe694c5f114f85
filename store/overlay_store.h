/* A store laid over a snapshot of another: some tables begin empty and live in memory, the others
 * are those of the snapshot.  What is written to the others is dropped.
 *
 * A replica on it can do its work anew without touching the store it came from.  Cursors and values
 * behave as store/store.h says. */
#ifndef WEFT_OVERLAY_STORE_H
#define WEFT_OVERLAY_STORE_H

#include "crdt/alloc.h"
#include "store/store.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_overlay_options {
  weft_alloc mem;
  weft_txn *base;             /* a read transaction; must outlive the store */
  bool own[WEFT_TABLE_COUNT]; /* the tables that live in memory */
} weft_overlay_options;

/* Makes it; ended by weft_store_free.  Belongs to the thread that uses `base`.  WEFT_ENOMEM. */
weft_err weft__overlay_new(const weft_overlay_options *o, weft_store **out) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

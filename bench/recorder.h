/* What a replica puts into its store, written down for the probes.
 *
 * Between recorder_attach and recorder_detach every put of a store's write transactions is copied,
 * with the table it went to and where transactions end.  A probe then makes LMDB alone put the same
 * bytes with the same commits.  Copying takes memory and a little time, so it is cleared now and
 * then. */
#ifndef WEFT_BENCH_RECORDER_H
#define WEFT_BENCH_RECORDER_H

#include "bench/probe.h"
#include "store/backend.h"

typedef struct recorder {
  weft_store_vtable vt; /* first: the store's table while attached */
  const weft_store_vtable *real;
  weft_store *store;
  weft_arena arena;
  probe_puts puts;
  size_t cap;
  weft_err err; /* a put that could not be copied */
} recorder;

/* Begins to record what goes into `store`, on the thread that writes to it. */
void recorder_attach(recorder *rec, weft_store *store, const weft_alloc *mem);
/* Forgets what was recorded. */
void recorder_clear(recorder *rec);
/* Ends it and frees what was recorded.  Also where nothing was attached. */
void recorder_detach(recorder *rec);

#endif

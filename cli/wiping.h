/* Memory for secrets: an allocator that overwrites what is given back to it. */
#ifndef WEFT_CLI_WIPING_H
#define WEFT_CLI_WIPING_H

#include "crdt/alloc.h"

/* Gives an allocator on top of `under`, which must outlive it.  What it frees, and what it leaves
 * behind when it grows a piece, is wiped first.  The same threads as `under`. */
weft_alloc cli_wiping_alloc(const weft_alloc *under);

#endif

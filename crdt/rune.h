/* Characters of UTF-8 text, one by one. */
#ifndef WEFT_CRDT_RUNE_H
#define WEFT_CRDT_RUNE_H

#include "crdt/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Takes one character off `text` at `at` < text.len, and gives how many bytes it has; a byte that
 * begins none is 1 byte of '?'.  Any thread. */
size_t weft__rune_read(weft_bytes text, size_t at, uint32_t *rune);

/* True when a reader does not see `rune` behind `before` (0: nothing), or when it moves what stands
 * around it: two texts can look alike and differ in such characters.  Any thread. */
bool weft__rune_hidden(uint32_t rune, uint32_t before);

#ifdef __cplusplus
}
#endif
#endif

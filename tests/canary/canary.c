/* Which canary is alive: the one that WEFT_CANARY names, chosen when the process starts.  It lies
 * here because nothing of it belongs to the library. */
#include "crdt/canary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"NONE",
#define WEFT_CANARY_NAME(name, what) #name,
                                    WEFT_CANARIES(WEFT_CANARY_NAME)
#undef WEFT_CANARY_NAME
};

static weft_canary alive;

__attribute__((constructor)) static void choose(void) {
  const char *name = getenv("WEFT_CANARY");
  if (!name) return;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (strcmp(names[i], name) == 0) {
      alive = (weft_canary)i;
      return;
    }
  }
  fprintf(stderr, "WEFT_CANARY=%s: there is no such canary\n", name);
  exit(2);
}

weft_canary weft__canary(void) { return alive; }

/* Every k-th failure of every public function: the world that a function is called in, and the
 * table of functions (kth_cases.c). */
#ifndef WEFT_TESTS_KTH_H
#define WEFT_TESTS_KTH_H

#include "store/history.h"
#include "store/lmdb_store.h"
#include "store/replica.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/space.h"

/* A replica of device 0 on LMDB, with documents, conflicts, a fork, tags, a change that waits, and
 * what others have made for it. */
typedef struct kth_world {
  test_space s;
  test_temp temp;
  char path[256], mirror[256];
  test_fault_alloc alloc;
  weft_alloc mem; /* counts in `alloc` */
  weft_replica *r;
  weft_arena arena, own; /* `arena` fails like everything, `own` is the test's */
  weft_edit *edit;       /* open, where a case asked for it */
  weft_bytes chunks[8];  /* of device 1: new here */
  size_t chunk_count;
  weft_bytes record;        /* an ADMIT that is not held */
  weft_id stuck, shown_id;  /* a change that waits; one that is shown */
  weft_id log;              /* of device 0 */
  weft_buf out;             /* written by functions under test */
  weft_vector vector, base; /* likewise; what is shown */
  weft_value value;         /* an object with an array in it */
  weft_conflict_entry *conflict;
} kth_world;

typedef struct kth_case {
  const char *name;
  void (*before)(kth_world *w); /* may be NULL; nothing fails yet */
  weft_err (*run)(kth_world *w);
  unsigned flags;
} kth_case;

enum {
  KTH_STEPS = 1,   /* several transactions: what came before the failing one stays */
  KTH_VALUE = 2,   /* wants no replica */
  KTH_CLOSED = 4,  /* opens or closes the replica itself */
  KTH_GROUP = 8,   /* a failure ends the group */
  KTH_NO_HEAP = 16 /* the library below aborts without memory: the given allocator alone fails */
};

extern const kth_case kth_cases[];
extern const size_t kth_case_count;
/* Functions that take no memory and touch no file. */
extern const char *const kth_nothing[];
extern const size_t kth_nothing_count;
/* Functions that kth_frames.c and other tests see to, with the name of the test. */
extern const char *const kth_elsewhere[][2];
extern const size_t kth_elsewhere_count;

weft_err kth_open(kth_world *w);
void kth_close(kth_world *w);
weft_err kth_open_edit(kth_world *w);

/* What one sweep has tried. */
typedef struct kth_tally {
  unsigned long long tried, functions, frames, bad;
} kth_tally;
/* Every frame a node can receive, with the k-th allocation of the node failing. */
void kth_frames(kth_tally *t);
/* Two nodes on real sockets, with the k-th allocation of one failing. */
void kth_edge(kth_tally *t);

#endif

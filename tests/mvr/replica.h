/* A replica made of nothing but the pure core: logs of encoded changes, a document, a clock.
 *
 * It writes through the shipped writer, claims what the shipped query says, and passes every
 * change, its own too, through the codec.  It holds what arrives in log order and shows a change
 * once what it claims is shown, as a real replica does. */
#ifndef WEFT_TESTS_MVR_REPLICA_H
#define WEFT_TESTS_MVR_REPLICA_H

#include "crdt/change.h"
#include "crdt/digest.h"
#include "crdt/doc.h"

enum { REPLICAS_MAX = 16 };

/* One change as it travels. */
typedef struct letter {
  weft_bytes raw;
  weft_id id;
  size_t order; /* when it was made, among all changes of the history */
} letter;

/* A log as one replica holds it. */
typedef struct held_log {
  weft_id id;
  weft_log_context context;
  letter *letters;
  weft_change *changes;
  size_t count;
  size_t letter_cap, change_cap;
  uint64_t shown;
} held_log;

typedef struct replica {
  const weft_crypto *crypto;
  weft_arena arena;
  weft_doc *doc;
  /* Logs by this replica's own numbers: 0 is its own, others as they were met. */
  held_log logs[REPLICAS_MAX];
  size_t log_count;
  /* Claim numbers of its own log: which log each names, and how far it was claimed. */
  uint32_t named[REPLICAS_MAX];
  uint64_t claimed[REPLICAS_MAX];
  size_t name_count;
  uint64_t clock;
} replica;

/* Makes replica `author` of a space; its log is begun.  Errors of all: those of the parts called;
 * WEFT_EMALFORMED when a change made here does not pass the codec. */
weft_err replica_new(replica **out, const weft_alloc *mem, size_t author);
void replica_free(replica *r);

/* Makes a change that sets `field` to `value`, or unsets it when `value` is NULL, and shows it.
 * Nothing to write, no change.  `order` names it among all changes. */
weft_err replica_write(replica *r, weft_bytes field, const weft_value *value, weft_ms now,
                       size_t order);

/* Takes the next change of the log of `author`, and shows what can be shown. */
weft_err replica_take(replica *r, const weft_id *log, const letter *l, weft_ms now);

/* Finds a log by its id; NULL when nothing of it is held. */
const held_log *replica_log(const replica *r, const weft_id *log);

/* The state digest over everything shown. */
weft_err replica_digest(replica *r, weft_digest *out);

/* The encoded path of a field, in the replica's arena. */
weft_err replica_field(replica *r, weft_bytes field, weft_path *out);

#endif

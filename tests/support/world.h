/* A few replicas of one document in memory, made of the shipped objects: each holds changes, shows
 * them when what they claim is shown, writes, and hands changes to others in random causal orders.
 *
 * What the product leaves to the holder of the logs - chains, forks, ranks - is done here the
 * obvious way, with sets of changes as bits.  A replica numbers branches by its own mask, so that
 * nothing can come to depend on local numbers.  Everything lies in the world's arena until
 * test_world_reset.  Failures print the world's name and step, and abort. */
#ifndef WEFT_TESTS_WORLD_H
#define WEFT_TESTS_WORLD_H

#include "crdt/change.h"
#include "crdt/digest.h"
#include "crdt/write.h"
#include "tests/support/rng.h"

enum { TEST_CHANGES_MAX = 512, TEST_REPLICAS_MAX = 8, TEST_LANES = 3 };

typedef struct test_bits {
  uint64_t word[TEST_CHANGES_MAX / 64];
} test_bits;

typedef struct test_change test_change;

struct test_change {
  uint32_t idx; /* in the order made, which is causal */
  uint32_t branch;
  uint64_t seq;
  uint64_t hlc;
  unsigned device;
  test_change *prev;
  test_change **claims; /* NULL: a claim of something that does not exist */
  size_t claim_count;
  const weft_op *ops;
  size_t op_count;
  weft_id id;
  weft_log_context context; /* of its log, behind it, when the world is encoded */
  uint32_t *numbers;        /* branch of each claim number of that context */
  test_bits chain;          /* itself and its ancestors */
  test_bits covers;         /* what its writes cover */
  test_bits saw;            /* what its author had been shown when deciding, and its own log */
};

typedef struct test_branch {
  uint32_t parent; /* of a fork; itself otherwise */
  uint64_t fork_seq;
  weft_id log;
  test_change **at; /* by seq - fork_seq - 1 */
  size_t count;
  size_t cap;
} test_branch;

typedef struct test_world test_world;

typedef struct test_replica {
  test_world *world;
  uint32_t mask;
  unsigned device;
  weft_id logs[TEST_LANES]; /* of the present incarnation */
  test_change *heads[TEST_LANES];
  test_bits held, shown, written;
  weft_doc *doc;
  uint64_t clock;
  uint64_t skew; /* added to the clock of what it writes */
} test_replica;

struct test_world {
  weft_alloc mem;
  const weft_crypto *crypto;
  weft_digest_key key;
  weft_bytes name;
  test_rng rng;
  uint64_t seed; /* for messages */
  unsigned step;
  weft_arena arena;
  weft_buf buf;
  test_change *changes[TEST_CHANGES_MAX];
  size_t change_count;
  test_branch *branches[TEST_CHANGES_MAX];
  size_t branch_count;
  test_replica replicas[TEST_REPLICAS_MAX];
  size_t count;
  bool encoded;   /* every change goes through its canonical bytes */
  size_t refused; /* "changed here meanwhile" */
  void (*lie)(test_world *w, test_change *change); /* of device 0; NULL: it is honest */
};

/* Prepares a world; test_world_reset starts a history of `count` replicas in it. */
void test_world_init(test_world *w);
void test_world_reset(test_world *w, uint64_t seed, size_t count);
void test_world_free(test_world *w);

/* Prints what went wrong with seed and step, and aborts. */
void test_world_fail(const test_world *w, const char *format, ...)
    __attribute__((noreturn, format(printf, 2, 3)));
/* Fails the world unless `err` is WEFT_OK. */
void test_world_must(const test_world *w, weft_err err, const char *what);

bool test_bits_has(const test_bits *b, size_t idx);
void test_bits_add(test_bits *b, size_t idx);
void test_bits_join(test_bits *b, const test_bits *other);
bool test_bits_same(const test_bits *a, const test_bits *b);

/* Begins a writer on `base` (a replica's doc, or one made by test_replica_at) for the next change
 * of the replica's `lane`. */
weft_writer *test_replica_writer(test_replica *r, const weft_doc *base, unsigned lane);

/* Makes the writer's ops the replica's next change; frees the writer.  `base` and its document may
 * be NULL: now.  NULL: there was nothing to write, or the write was refused. */
test_change *test_replica_commit(test_replica *r, weft_writer *writer, unsigned lane,
                                 const test_bits *base, const weft_doc *base_doc);

/* Makes ops a change without further questions. */
test_change *test_replica_commit_ops(test_replica *r, const weft_op *ops, size_t count,
                                     unsigned lane, const test_bits *base,
                                     const weft_doc *base_doc);

/* The document as it was with exactly `base` shown; the caller frees it. */
weft_doc *test_replica_at(test_replica *r, const test_bits *base);

/* Shows one change on any document of the replica's. */
void test_replica_apply(test_replica *r, weft_doc *doc, const test_change *change);

/* Shows what can be shown. */
void test_replica_show(test_replica *r);

/* Hands over what `to` lacks, in a random causal order; `partial`: perhaps only some of it. */
void test_sync(test_replica *from, test_replica *to, bool partial);
void test_sync_all(test_world *w);

/* Makes a replica that is a copy of `r`, device and logs too. */
test_replica *test_replica_clone(test_replica *r);
/* New logs from the next write on. */
void test_replica_reincarnate(test_replica *r);

/* What the replica shows at the root, NULL when deleted; in the world's arena. */
const weft_value *test_view(test_world *w, const weft_doc *doc);

/* True when both hold the same siblings. */
bool test_same_state(test_replica *a, test_replica *b);
weft_digest test_replica_digest(test_replica *r);

/* Fails unless the replica's state is the set function of what it shows, computed by brute force.
 */
void test_check_brute(test_replica *r);
/* Fails unless each scalar shown is the one with the greatest (hlc, log, seq, id) of its register.
 */
void test_check_winners(test_replica *r);
/* Fails when a scalar went whose replacer had not been shown it. */
void test_check_nothing_lost(test_replica *r);

/* Writes `json` at the root, as an import does. */
test_change *test_import(test_replica *r, const char *json);
/* Prints what is shown as JSON into the world's arena. */
const char *test_json(test_replica *r);

#endif

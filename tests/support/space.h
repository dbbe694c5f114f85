/* A space with several devices, each with a replica: members, clocks, stores, and hands that carry
 * chunks from one to another.  Failures end the process with a message. */
#ifndef WEFT_TESTS_SPACE_H
#define WEFT_TESTS_SPACE_H

#include "store/replica.h"
#include "tests/support/rng.h"
#include "tests/support/temp.h"

enum { TEST_DEVICES_MAX = 8, TEST_RECORD_LEN = 1024 };

/* A clock and a generator that the test moves. */
typedef struct test_platform {
  weft_ms now;
  test_rng rng;
} test_platform;

typedef struct test_space {
  const weft_crypto *crypto;
  weft_id id;
  size_t count;
  /* By device; records: GENESIS by device 0, then an ADMIT each. */
  weft_identity *devices;
  test_platform *platforms;
  uint8_t (*records)[TEST_RECORD_LEN];
  size_t *record_lens;
  struct {
    weft_identity devices[TEST_DEVICES_MAX];
    test_platform platforms[TEST_DEVICES_MAX];
    uint8_t records[TEST_DEVICES_MAX][TEST_RECORD_LEN];
    size_t record_lens[TEST_DEVICES_MAX];
  } own; /* where they lie in a small space, which must not be moved then */
} test_space;

/* Makes a space of `count` writers from a seed.  One of more than TEST_DEVICES_MAX is to be given
 * to test_space_free. */
void test_space_make(test_space *s, size_t count, uint64_t seed);
/* The same with other cryptography, which must outlive it. */
void test_space_make_with(test_space *s, size_t count, uint64_t seed, const weft_crypto *crypto);
void test_space_free(test_space *s);
/* Fills in options for device `idx`; `store` and mirror are the caller's to set. */
weft_replica_options test_space_options(test_space *s, size_t idx, weft_store *store);
/* Opens a replica on `store` and gives it all records, where it lacks them. */
weft_replica *test_space_open(test_space *s, size_t idx, weft_store *store);
/* The same on a new memory store. */
weft_replica *test_space_memory(test_space *s, size_t idx);
void test_space_add_records(test_space *s, weft_replica *r);
/* Appends a record in which device 0 admits a reader that is none of the devices. */
void test_space_stranger(test_space *s, weft_buf *out);
weft_store *test_memory_store(void);

/* Opens, or makes, an LMDB store of at most 1 GiB in a temporary folder. */
weft_store *test_lmdb_store(const test_temp *temp);
/* A memory store with everything that another store holds now. */
weft_store *test_store_copy(weft_store *from);

/* Hands `to` everything of `from` it lacks, `ranges_max` ranges at a time, and shows it.  Gives the
 * number of changes that were new. */
uint64_t test_pull(weft_replica *to, weft_replica *from, size_t ranges_max);
/* Shows all that can be shown. */
void test_show_all(weft_replica *r);

/* One edit: sets `pointer` of `doc` to JSON text, or with NULL unsets it. */
weft_err test_set(weft_replica *r, const char *doc, const char *pointer, const char *json);
/* What stands at `pointer`, as JSON text in `out`; "(none)" when there is nothing. */
const char *test_get(weft_replica *r, const char *doc, const char *pointer, char *out, size_t cap);

/* Whether two vectors have the same heads: with logs that forked, weft__vector_compare without an
 * ancestry does not tell. */
bool test_same_heads(const weft_vector *a, const weft_vector *b);
/* Fails unless `err` is WEFT_OK, with the seed of the run and what was tried. */
void test_must(uint64_t seed, weft_err err, const char *what);
/* Fails unless both replicas show the same: vectors and digest, and counts. */
void test_assert_same(weft_replica *a, weft_replica *b);

#endif

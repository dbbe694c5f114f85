/* What the LMDB files share.  LMDB's types are only named here: <lmdb.h> stays in store/lmdb_*.c.
 */
#ifndef WEFT_STORE_LMDB_DOOR_H
#define WEFT_STORE_LMDB_DOOR_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/backend.h"
#include "store/lmdb_store.h"

struct MDB_env;
struct MDB_txn;

/* The version of the tables' layout, in the format record. */
enum { WEFT_LMDB_FORMAT = 1 };

/* In the unnamed database, which also holds the names of the tables: META's keys stand behind one
 * byte that no table name starts with, the format record before them. */
enum { WEFT_LMDB_META_PREFIX = 0x01 };

typedef struct weft_lmdb_store {
  weft_store base;
  weft_alloc mem;
  struct MDB_env *env;
  unsigned dbis[WEFT_TABLE_COUNT];
  pthread_mutex_t gate;   /* transactions begin, and the map moves, one at a time */
  atomic_bool map_enough; /* the last WEFT_EFULL was of the disk or of one transaction */
  size_t psize;           /* of a page */
  atomic_long faults;     /* page faults that waited for a disk, when last looked */
  int lock_fd;            /* holds the writer lock; -1 in a reader */
  int file_fd;            /* holds the same lock on the file itself; -1 in a reader */
} weft_lmdb_store;

/* The functions of an open store; lmdb_open.c puts them into it. */
extern const weft_store_vtable weft__lmdb_vtable;

/* Translates what LMDB returns: its own numbers and errno. */
weft_err weft__err_from_mdb(int rc);

/* Fills `d` from such a number; `what` says what was being done.  Gives the weft_err. */
weft_err weft__lmdb_diag(weft_diag *d, int rc, const char *what);

/* Whether some page had to come from a disk since this was asked last. */
bool weft__lmdb_is_cold(weft_lmdb_store *s);

/* Asks the system for the pages of the wanted keys: weft_txn_want. */
void weft__lmdb_want(weft_lmdb_store *s, struct MDB_txn *txn, const weft_wanted *wanted,
                     size_t count);

/* How far a cursor has gone on. */
typedef struct weft_lmdb_scan {
  uintptr_t leaf;  /* the page it is on */
  uintptr_t run;   /* pages that were asked for */
  unsigned leaves; /* that it went through, up to a few */
} weft_lmdb_scan;
/* A cursor has moved on to an entry at `at` in the map: one that goes on gets the pages behind. */
void weft__lmdb_scan(weft_lmdb_store *s, weft_lmdb_scan *scan, const void *at);

/* A value of `len` bytes at `at` in the map is going to be read: one of many pages gets them at
 * once. */
void weft__lmdb_whole(const weft_lmdb_store *s, const void *at, size_t len);

/* Lets go of the locks. */
void weft__lmdb_unlock(weft_lmdb_store *s);

/* Looks at the file from outside, without mapping it: is it an LMDB file that holds every page it
 * speaks of.  `deep` reads all pages; otherwise that happens only when the file is shorter than
 * its head says, which is lawful when the last pages were never written because they are free.
 * `*whole` is the length at which it would not be short.
 * WEFT_ECORRUPT, WEFT_EVERSION, WEFT_ENOMEM, WEFT_EIO; `d` tells more. */
weft_err weft__lmdb_check(const weft_alloc *mem, int fd, bool deep, uint64_t *whole,
                          weft_diag *d) WEFT_MUST_USE;

#endif

/* Devices of one space, and their replicas on the disk. */
#ifndef WEFT_BENCH_FLEET_H
#define WEFT_BENCH_FLEET_H

#include "bench/bench.h"
#include "store/replica.h"

enum { FLEET_DEVICES = W1_DEVICES + 1, FLEET_RECEIVER = W1_DEVICES, FLEET_RECORD_LEN = 1024 };

typedef struct fleet {
  bench *b;
  weft_id space;
  weft_identity devices[FLEET_DEVICES]; /* 0..7 write by turns, the last one receives */
  weft_id grants[FLEET_DEVICES];        /* ids of their records */
  uint8_t records[FLEET_DEVICES][FLEET_RECORD_LEN];
  size_t record_lens[FLEET_DEVICES];
  uint64_t clock_us; /* of all of them, since 1970; the workload moves it */
} fleet;

/* Makes a space and its devices. */
weft_err fleet_make(fleet *f, bench *b) WEFT_MUST_USE;

/* A replica of device `idx` on a new LMDB file in a folder `name`; `f` must outlive it. */
typedef struct fleet_replica {
  weft_replica *replica;
  weft_store *store; /* view, the replica's */
  char folder[BENCH_PATH_LEN_MAX];
  char path[BENCH_PATH_LEN_MAX]; /* of the file in it */
} fleet_replica;

weft_err fleet_open(fleet *f, unsigned idx, const char *name, fleet_replica *out) WEFT_MUST_USE;
/* The same at bench_memory_path. */
weft_err fleet_open_memory(fleet *f, unsigned idx, const char *name,
                           fleet_replica *out) WEFT_MUST_USE;
/* Opens it again on the same file, after its replica was freed. */
weft_err fleet_reopen(fleet *f, unsigned idx, fleet_replica *r) WEFT_MUST_USE;
/* Closes it and removes the folder.  Also where nothing was opened. */
void fleet_close(fleet_replica *r);

/* One change of template `t`: all fields as inserted. */
weft_err fleet_insert(fleet *f, weft_replica *r, uint32_t t) WEFT_MUST_USE;
/* All templates, `group` in a synced transaction. */
weft_err fleet_import(fleet *f, weft_replica *r, uint32_t templates, uint32_t group) WEFT_MUST_USE;
/* One change: one update. */
weft_err fleet_update(fleet *f, weft_replica *r, w1_place at) WEFT_MUST_USE;

/* An update as an application has it when it decides to write: fleet_update makes it and writes it.
 */
typedef struct fleet_change {
  char document[W1_NAME_LEN_MAX];
  char pointer[W1_NAME_LEN_MAX];
  w1_value value;
  uint64_t clock_us; /* of the fleet, when it is written; 0: it stands */
} fleet_change;

void fleet_change_make(fleet_change *out, w1_place at);
weft_err fleet_change_write(fleet *f, weft_replica *r, const fleet_change *change) WEFT_MUST_USE;

/* Whether all that a replica holds is shown. */
bool fleet_shown_all(const weft_replica *r);
/* Holds chunks in one call; adds the number of changes to `held`. */
weft_err fleet_hold(fleet *f, weft_replica *r, const weft_bytes *chunks, size_t count,
                    uint64_t *held) WEFT_MUST_USE;
/* Shows all that can be shown, `batch` changes at a time (0: as the replica likes).  It is an error
 * when something is left waiting. */
weft_err fleet_show(fleet *f, weft_replica *r, uint64_t batch, uint64_t *shown) WEFT_MUST_USE;

#endif

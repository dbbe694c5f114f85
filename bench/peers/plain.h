/* The plain alternatives: a database that holds the W1 data without merging anything.
 *
 * Each is a filling of one table of functions, written as somebody would who has nothing else:
 * upserts under a clock into SQLite, HSET into Redis, both synced at every commit. */
#ifndef WEFT_BENCH_PEERS_PLAIN_H
#define WEFT_BENCH_PEERS_PLAIN_H

#include "bench/w1.h"

typedef struct plain_db plain_db;

/* What is put, made before time is taken.  Stays where it is: a string is a view of its text. */
typedef struct plain_cell {
  char doc[W1_NAME_LEN_MAX];
  const char *field; /* static */
  w1_value value;
} plain_cell;

typedef struct plain_kind {
  const char *name;
  /* Opens an empty database in the folder; NULL when it cannot. */
  plain_db *(*open)(const char *folder, const char *name);
  void (*close)(plain_db *db);
  /* What lies between begin and end is on the disk when end has returned. */
  bool (*begin)(plain_db *db);
  bool (*put)(plain_db *db, const plain_cell *cell, uint32_t clock, unsigned device);
  bool (*end)(plain_db *db);
  /* Makes `to` hold all that `from` holds, and synced; NULL: it is loaded by put. */
  bool (*copy)(plain_db *from, plain_db *to);
  /* Reads a field as text; whether it is there. */
  bool (*get)(plain_db *db, w1_place at, char *out, size_t cap);
  /* Length of a file with all the data, as one would send it; 0: it cannot be told. */
  uint64_t (*packed_len)(plain_db *db);
} plain_kind;

extern const plain_kind plain_sqlite;
extern const plain_kind plain_redis;

/* Writes a value as text, as w1_line does; gives its length. */
size_t plain_text(char out[W1_TEXT_LEN_MAX], const w1_value *v);

#endif

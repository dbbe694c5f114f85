/* SQLite: one table of cells, written under a clock, in write-ahead mode with full syncs: one flush
 * of the disk a commit. */
#include "bench/peers/plain.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_CAP = 512 };

struct plain_db {
  sqlite3 *db;
  sqlite3_stmt *put;
  sqlite3_stmt *get;
  char path[PATH_CAP];
};

static const char schema[] =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
    "CREATE TABLE cells(doc TEXT, field TEXT, value, clock INTEGER, device INTEGER,"
    " PRIMARY KEY(doc, field)) WITHOUT ROWID;";

static const char upsert[] =
    "INSERT INTO cells VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(doc, field) DO UPDATE SET"
    " value=excluded.value, clock=excluded.clock, device=excluded.device"
    " WHERE (excluded.clock, excluded.device) > (clock, device)";

static const char lookup[] = "SELECT value FROM cells WHERE doc=?1 AND field=?2";

static bool run(plain_db *d, const char *sql) {
  return sqlite3_exec(d->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static void sqlite_close(plain_db *d) {
  if (!d) return;
  sqlite3_finalize(d->put);
  sqlite3_finalize(d->get);
  sqlite3_close(d->db);
  free(d);
}

static plain_db *sqlite_open(const char *folder, const char *name) {
  plain_db *d = calloc(1, sizeof *d);
  if (!d) return NULL;
  snprintf(d->path, sizeof d->path, "%s/%s.sqlite", folder, name);
  bool ok = sqlite3_open(d->path, &d->db) == SQLITE_OK && run(d, schema) &&
            sqlite3_prepare_v2(d->db, upsert, -1, &d->put, NULL) == SQLITE_OK &&
            sqlite3_prepare_v2(d->db, lookup, -1, &d->get, NULL) == SQLITE_OK;
  if (ok) return d;
  sqlite_close(d);
  return NULL;
}

static bool sqlite_begin(plain_db *d) { return run(d, "BEGIN IMMEDIATE"); }

static bool sqlite_end(plain_db *d) { return run(d, "COMMIT"); }

static bool sqlite_put(plain_db *d, const plain_cell *cell, uint32_t clock, unsigned device) {
  const weft_value *v = &cell->value.value;
  sqlite3_bind_text(d->put, 1, cell->doc, -1, SQLITE_STATIC);
  sqlite3_bind_text(d->put, 2, cell->field, -1, SQLITE_STATIC);
  if (v->kind == WEFT_STRING) {
    sqlite3_bind_text(d->put, 3, cell->value.text, (int)v->as.bytes.len, SQLITE_STATIC);
  } else if (v->kind == WEFT_DOUBLE) {
    sqlite3_bind_double(d->put, 3, v->as.real);
  } else {
    sqlite3_bind_int64(d->put, 3, v->kind == WEFT_INT ? v->as.integer : v->as.boolean);
  }
  sqlite3_bind_int64(d->put, 4, clock);
  sqlite3_bind_int64(d->put, 5, device);
  bool done = sqlite3_step(d->put) == SQLITE_DONE;
  sqlite3_reset(d->put);
  return done;
}

static bool sqlite_copy(plain_db *from, plain_db *to) {
  char sql[PATH_CAP + 64];
  snprintf(sql, sizeof sql, "ATTACH '%s' AS other", from->path);
  return run(to, sql) && run(to, "INSERT INTO cells SELECT * FROM other.cells");
}

static bool sqlite_get(plain_db *d, w1_place at, char *out, size_t cap) {
  char doc[W1_NAME_LEN_MAX];
  w1_document(doc, at.template);
  sqlite3_bind_text(d->get, 1, doc, -1, SQLITE_STATIC);
  sqlite3_bind_text(d->get, 2, w1_field(at.field), -1, SQLITE_STATIC);
  bool found = sqlite3_step(d->get) == SQLITE_ROW;
  if (found) snprintf(out, cap, "%s", (const char *)sqlite3_column_text(d->get, 0));
  sqlite3_reset(d->get);
  return found;
}

static uint64_t sqlite_packed_len(plain_db *d) {
  char path[PATH_CAP + 8];
  char sql[PATH_CAP + 32];
  struct stat s;
  snprintf(path, sizeof path, "%s-packed", d->path);
  snprintf(sql, sizeof sql, "VACUUM INTO '%s'", path);
  bool done = run(d, sql) && stat(path, &s) == 0;
  unlink(path);
  return done ? (uint64_t)s.st_size : 0;
}

const plain_kind plain_sqlite = {"sqlite",     sqlite_open, sqlite_close,
                                 sqlite_begin, sqlite_put,  sqlite_end,
                                 sqlite_copy,  sqlite_get,  sqlite_packed_len};

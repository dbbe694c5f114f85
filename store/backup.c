/* Backups: a store file with everything another store holds, and a fence.
 *
 * Invariants: the file under its own name is whole and synced, or absent, because it is made in a
 * folder of its own and renamed.  It is fenced from the commit on that completes it.
 *
 * Happy path: one read transaction over the store; its tables go over in order, in transactions of
 * bounded size; the fence, sync, rename, sync of the folder.
 *
 * Failure modes: whatever goes wrong, the folder and what lies in it are removed. */
#include "store/backup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/backend.h"
#include "store/folder.h"
#include "store/lmdb_store.h"
#include "store/outcome.h"
#include "store/replica_internal.h"

enum {
  path_max = 4096,
  batch_len = 4 << 20 /* bytes of keys and values a transaction: guess, a few thousand pages */
};

typedef struct backup_paths {
  char folder[path_max]; /* PATH.new */
  char file[path_max];   /* the store in it */
  char fresh[path_max];  /* the same while it is being made */
  char lock[path_max], readers[path_max];
  char above[path_max]; /* where PATH lies */
} backup_paths;

static weft_err told(weft_diag *d, weft_err err, int sys, const char *text) {
  if (d) weft__diag_set(d, err, sys, text);
  return err;
}

static weft_err told_errno(weft_diag *d, const char *text) {
  int sys = errno;
  return told(d, weft__err_from_errno(sys), sys, text);
}

static weft_err paths_make(const char *path, backup_paths *p, weft_diag *d) {
  size_t len = strlen(path);
  if (len == 0 || len > path_max - 32) return told(d, WEFT_ELIMIT, 0, "path too long or empty");
  (void)snprintf(p->folder, sizeof p->folder, "%s.new", path);
  (void)snprintf(p->file, sizeof p->file, "%s.new/copy.mdb", path);
  (void)snprintf(p->fresh, sizeof p->fresh, "%s.new/copy.mdb.new", path);
  (void)snprintf(p->readers, sizeof p->readers, "%s.new/copy.mdb-lock", path);
  (void)snprintf(p->lock, sizeof p->lock, "%s.new/lock", path);
  weft__folder_of(p->above, path);
  return WEFT_OK;
}

static void sweep(const backup_paths *p) {
  unlink(p->fresh);
  unlink(p->file);
  unlink(p->readers);
  unlink(p->lock);
  rmdir(p->folder);
}

static bool is_there(const char *path) {
  struct stat st;
  return lstat(path, &st) == 0;
}

/* Whether the folder is ours, and holds what a crash may have left: the copy, or as yet nothing but
 * its lock.  A folder with a lock and a store of another name is somebody's. */
static bool is_left(const backup_paths *p) {
  struct stat st;
  char other[path_max + 16];
  if (lstat(p->folder, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid()) return false;
  (void)snprintf(other, sizeof other, "%s/data.mdb", p->folder);
  return !is_there(other);
}

/* Makes the folder anew, so that nobody else has a hand in it. */
static weft_err folder_make(const backup_paths *p, weft_diag *d) {
  if (is_left(p)) sweep(p);
  if (mkdir(p->folder, 0700) == 0) return WEFT_OK;
  if (errno == EEXIST) return told(d, WEFT_EEXIST, 0, "PATH.new is in the way");
  return told_errno(d, "make the folder");
}

/* --- copying --- */

typedef struct backup_copy {
  weft_store *to;
  weft_txn *out;
  size_t len; /* in `out` so far */
} backup_copy;

static weft_err copy_entry(backup_copy *c, weft_table table, const weft_entry *e) {
  if (c->len >= batch_len) {
    weft_err err = weft_txn_commit(c->out);
    c->out = NULL;
    WEFT_TRY(err);
    WEFT_TRY(weft_store_begin(c->to, WEFT_TXN_WRITE, &c->out));
    c->len = 0;
  }
  c->len += e->key.len + e->value.len;
  /* Not as it comes: META's keys share their table with those of the others. */
  if (table == WEFT_TABLE_META) return weft_txn_put(c->out, table, e->key, e->value);
  return weft_txn_append(c->out, table, e->key, e->value);
}

static weft_err copy_table(backup_copy *c, weft_txn *in, weft_table table) {
  weft_cursor *cursor;
  weft_entry e;
  WEFT_TRY(weft_cursor_open(in, table, &cursor));
  weft_err err = weft_cursor_first(cursor, &e);
  while (err == WEFT_OK) {
    err = copy_entry(c, table, &e);
    if (err == WEFT_OK) err = weft_cursor_next(cursor, &e);
  }
  weft_cursor_close(cursor);
  return weft__walked(err);
}

static weft_err copy_all(weft_store *from, weft_store *to) {
  weft_txn *in;
  backup_copy c = {.to = to};
  static const uint8_t fence[] = {1};
  WEFT_TRY(weft_store_begin(from, WEFT_TXN_READ, &in));
  weft_err err = weft_store_begin(to, WEFT_TXN_WRITE, &c.out);
  for (int table = 0; table < WEFT_TABLE_COUNT && err == WEFT_OK; table++) {
    err = copy_table(&c, in, (weft_table)table);
  }
  weft_txn_abort(in);
  if (err == WEFT_OK) {
    err = weft_txn_put(c.out, WEFT_TABLE_META, weft_bytes_str(WEFT_FENCE_KEY),
                       weft_bytes_of(fence, sizeof fence));
  }
  if (err == WEFT_OK) return weft_txn_commit(c.out);
  weft_txn_abort(c.out);
  return err;
}

static weft_err folder_sync(const char *folder, weft_diag *d) {
  const char *what;
  int sys = weft__folder_sync(folder, &what);
  return sys == 0 ? WEFT_OK : told(d, weft__err_from_errno(sys), sys, what);
}

/* Takes nobody's place, where the file system has links; else as far as a look before can tell. */
static weft_err name_it(const backup_paths *p, const char *path, weft_diag *d) {
  if (link(p->file, path) == 0) return WEFT_OK;
  if (errno == EEXIST) return told(d, WEFT_EEXIST, 0, "there is something already");
  return rename(p->file, path) == 0 ? WEFT_OK : told_errno(d, "name the copy");
}

weft_err weft__store_backup(weft_store *from, const char *path, weft_diag *diag) {
  backup_paths p;
  weft_lmdb_options o;
  weft_store *to;
  if (diag) weft__diag_set(diag, WEFT_OK, 0, "");
  WEFT_TRY(paths_make(path, &p, diag));
  if (is_there(path)) return told(diag, WEFT_EEXIST, 0, "there is something already");
  WEFT_TRY(folder_make(&p, diag));
  weft_lmdb_options_init(&o);
  o.path = p.file;
  weft_err err = weft_lmdb_store_open(&o, &to, diag);
  if (err == WEFT_OK) {
    err = copy_all(from, to);
    if (err != WEFT_OK && diag) {
      weft_store_get_diag(to, diag);
      if (diag->err != err) weft_store_get_diag(from, diag);
    }
    weft_store_free(to);
  }
  if (err == WEFT_OK) err = name_it(&p, path, diag);
  bool named = err == WEFT_OK;
  if (err == WEFT_OK) err = folder_sync(p.above, diag);
  if (err != WEFT_OK && named) unlink(path);
  sweep(&p);
  return err;
}

/* --- doors --- */

weft_err weft_replica_backup(weft_replica *r, const char *path) {
  weft_diag diag = {0};
  if (r->group) return WEFT_EMISUSE;
  if (r->dead != WEFT_OK) return r->dead;
  weft_err err = weft__store_backup(r->store, path, &diag);
  if (err != WEFT_OK && diag.text[0]) weft__replica_fail(r, err, diag.text);
  return err;
}

weft_err weft_backup_restore(const char *backup, const char *path, weft_diag *diag) {
  weft_lmdb_options o;
  weft_store *from;
  weft_lmdb_options_init(&o);
  o.path = backup;
  o.read_only = true;
  o.must_exist = true;
  o.check_pages = true;
  WEFT_TRY(weft_lmdb_store_open(&o, &from, diag));
  weft_err err = weft__store_backup(from, path, diag);
  weft_store_free(from);
  return err;
}

weft_err weft__store_space(weft_store *s, weft_id *space) {
  weft_txn *t;
  weft_bytes value;
  WEFT_TRY(weft_store_begin(s, WEFT_TXN_READ, &t));
  weft_err err = weft_txn_get(t, WEFT_TABLE_META, weft_bytes_str("space"), &value);
  if (err == WEFT_OK) {
    weft_rd v = weft__rd(value);
    uint32_t version = weft__rd_u32(&v);
    *space = weft__rd_id(&v);
    err = v.failed ? WEFT_ECORRUPT : version != WEFT_REPLICA_FORMAT ? WEFT_EVERSION : WEFT_OK;
  }
  weft_txn_abort(t);
  return err;
}

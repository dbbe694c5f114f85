/* Opening the LMDB store: folder, writer lock, creation, a look at the file from outside, and the
 * format record.
 *
 * Invariants: a file under its own name is a whole store, because a new one is made under another
 * name, synced, and renamed; nothing in the folder is changed before the writer lock is held; an
 * existing file is not mapped before weft__lmdb_check has seen it.
 *
 * The writer lock is flock on the file `lock` and again on the data file, so that deleting the one
 * does not let a second writer in.  It goes with its holder: a crash leaves no stale lock, only a
 * pid that nobody believes.
 *
 * A reader beside a writer stands in LMDB's table of readers.  Where that table cannot be written
 * (another user's folder, a read-only disk), a reader goes without, and shares the lock of the data
 * file instead: no writer opens the store while it reads, and it does not open beside one.
 *
 * Failure modes: whatever goes wrong, descriptors, locks and FILE.new are gone afterwards, and an
 * existing file is as it was. */
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crdt/assert.h"
#include "crdt/buf.h"
#include "crdt/canary.h"
#include "store/folder.h"
#include "store/lmdb_door.h"

enum { path_max = 4096, file_mode = 0600, folder_mode = 0700 };

/* Where everything lies. */
typedef struct lmdb_names {
  char file[path_max];
  char fresh[path_max];  /* the file while it is being made */
  char lock[path_max];   /* the writer lock */
  char folder[path_max]; /* all of them */
  char above[path_max];  /* the folder's own */
} lmdb_names;

/* An opening under way. */
typedef struct lmdb_opening {
  weft_lmdb_options options;
  const weft_lmdb_options *o; /* the above, which nothing changes any more */
  bool alone; /* reads without a place in the table of readers, so no writer may come */
  weft_lmdb_store *s;
  weft_diag diag;
  lmdb_names names;
} lmdb_opening;

static const uint8_t format_key[] = "\0weft-format"; /* sorts before META's prefix */
static const uint8_t format_magic[] = {'w', 'e', 'f', 't'};

static weft_err fail(lmdb_opening *p, weft_err err, const char *text) {
  weft__diag_set(&p->diag, err, 0, text);
  return err;
}

static weft_err fail_mdb(lmdb_opening *p, int rc, const char *what) {
  return weft__lmdb_diag(&p->diag, rc, what);
}

static weft_err fail_errno(lmdb_opening *p, const char *what) { return fail_mdb(p, errno, what); }

/* --- names --- */

static weft_err names_make(lmdb_opening *p) {
  lmdb_names *n = &p->names;
  size_t len = strlen(p->o->path);
  if (len == 0 || len > path_max - 16) return fail(p, WEFT_ELIMIT, "open: path too long or empty");
  memcpy(n->file, p->o->path, len + 1);
  memcpy(n->fresh, n->file, len);
  memcpy(n->fresh + len, ".new", 5);
  weft__folder_of(n->folder, n->file);
  weft__folder_of(n->above, n->folder);
  size_t folder_len = strlen(n->folder);
  memcpy(n->lock, n->folder, folder_len);
  memcpy(n->lock + folder_len, "/lock", 6);
  return WEFT_OK;
}

/* Makes what was renamed or created in a folder survive a power cut. */
static weft_err folder_sync(lmdb_opening *p, const char *folder) {
  const char *what;
  int sys = weft__folder_sync(folder, &what);
  return sys == 0 ? WEFT_OK : fail_mdb(p, sys, what);
}

static weft_err folder_make(lmdb_opening *p) {
  if (p->o->must_exist) {
    bool there = access(p->names.file, F_OK) == 0;
    return there ? WEFT_OK : fail_errno(p, "look for the file");
  }
  if (mkdir(p->names.folder, folder_mode) == 0) return folder_sync(p, p->names.above);
  return errno == EEXIST ? WEFT_OK : fail_errno(p, "make the folder");
}

/* --- the writer lock --- */

/* The pid in the lock file; 0 when there is none. */
static int lock_pid(int fd) {
  char text[16] = "";
  ssize_t len = pread(fd, text, sizeof text - 1, 0);
  long pid = len > 0 ? strtol(text, NULL, 10) : 0;
  return pid > 0 && pid <= INT32_MAX ? (int)pid : 0;
}

/* Always as long as it ever gets, and never truncated: once the file has its block, a full disk
 * does not keep anybody from opening the store and reading. */
static bool lock_write(int fd, long pid) {
  char text[16];
  int len = snprintf(text, sizeof text, "%010ld\n", pid);
  return pwrite(fd, text, (size_t)len, 0) == len;
}

static weft_err fail_locked(lmdb_opening *p, int pid) {
  char text[sizeof p->diag.text];
  snprintf(text, sizeof text, "the store is in use by process %d", pid);
  weft__diag_set(&p->diag, WEFT_ELOCKED, pid, text);
  return WEFT_ELOCKED;
}

static weft_err fail_flock(lmdb_opening *p) {
  if (errno == EWOULDBLOCK) return fail_locked(p, lock_pid(p->s->lock_fd));
  return fail_errno(p, "lock the store"); /* defensive: a file system without locks */
}

/* A reader that no writer can see has to do without one. */
static weft_err fail_beside(lmdb_opening *p) {
  int fd = open(p->names.lock, O_RDONLY | O_CLOEXEC);
  int pid = fd >= 0 ? lock_pid(fd) : 0;
  if (fd >= 0) close(fd);
  return fail_locked(p, pid);
}

static weft_err lock_take(lmdb_opening *p) {
  int fd = open(p->names.lock, O_RDWR | O_CREAT | O_CLOEXEC, file_mode);
  if (fd < 0) return fail_errno(p, "open the lock file");
  p->s->lock_fd = fd;
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    weft_err err = fail_flock(p);
    close(fd); /* not weft__lmdb_unlock, which wipes the holder's pid */
    p->s->lock_fd = -1;
    return err;
  }
  return lock_write(fd, (long)getpid()) ? WEFT_OK : fail_errno(p, "write the lock file");
}

void weft__lmdb_unlock(weft_lmdb_store *s) {
  if (s->file_fd >= 0) close(s->file_fd);
  if (s->lock_fd >= 0) {
    bool wiped = lock_write(s->lock_fd, 0);
    (void)wiped; /* the pid is for people; the lock itself goes with the descriptor */
    if (!WEFT_CANARY(LEAK_DESCRIPTOR)) close(s->lock_fd);
  }
  s->file_fd = s->lock_fd = -1;
}

/* LMDB's own locks belong to the process: a second opening would drop the first one's. */
static weft_err refuse_own(lmdb_opening *p) {
  int fd = open(p->names.lock, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return WEFT_OK;
  bool own = lock_pid(fd) == (int)getpid() && flock(fd, LOCK_SH | LOCK_NB) != 0;
  close(fd);
  return own ? fail(p, WEFT_EMISUSE, "open: this process has the store open already") : WEFT_OK;
}

static void readers_name(const lmdb_opening *p, char out[path_max + 8]) {
  snprintf(out, path_max + 8, "%s-lock", p->names.file);
}

/* Whether LMDB's table of readers can be written: it lies beside FILE, or is made there. */
static bool can_register(const lmdb_opening *p) {
  char table[path_max + 8];
  readers_name(p, table);
  if (faccessat(AT_FDCWD, table, F_OK, AT_EACCESS) != 0) {
    return faccessat(AT_FDCWD, p->names.folder, W_OK, AT_EACCESS) == 0;
  }
  return faccessat(AT_FDCWD, table, W_OK, AT_EACCESS) == 0;
}

/* --- creation --- */

/* Opens the tables, those from `made` on with MDB_CREATE. */
static int tables_open(weft_lmdb_store *s, MDB_txn *txn, unsigned made) {
  for (unsigned i = 0; i < WEFT_TABLE_COUNT; i++) {
    const char *name = i == WEFT_TABLE_META ? NULL : weft_table_name((weft_table)i);
    unsigned flags = name && i >= made ? MDB_CREATE : 0;
    int rc = mdb_dbi_open(txn, name, flags, &s->dbis[i]);
    if (rc != MDB_SUCCESS) return rc;
  }
  return MDB_SUCCESS;
}

/* Makes the tables that format 1 got after its first stores were made. */
static int tables_complete(weft_lmdb_store *s) {
  MDB_txn *txn;
  int rc = mdb_txn_begin(s->env, NULL, 0, &txn);
  if (rc != MDB_SUCCESS) return rc;
  rc = tables_open(s, txn, WEFT_TABLE_EVENT);
  if (rc == MDB_SUCCESS) return mdb_txn_commit(txn); /* keeps the handles */
  mdb_txn_abort(txn);
  return rc;
}

static MDB_val format_key_val(uint8_t room[sizeof format_key]) {
  memcpy(room, format_key, sizeof format_key);
  MDB_val key = {sizeof format_key - 1, room};
  return key;
}

static int format_write(weft_lmdb_store *s, MDB_txn *txn) {
  uint8_t room[sizeof format_key], record[8] = {0, 0, 0, 0, 0, 0, 0, WEFT_LMDB_FORMAT};
  memcpy(record, format_magic, sizeof format_magic);
  MDB_val key = format_key_val(room), value = {sizeof record, record};
  return mdb_put(txn, s->dbis[WEFT_TABLE_META], &key, &value, 0);
}

static int tables_create(weft_lmdb_store *s, MDB_env *env) {
  MDB_txn *txn;
  int rc = mdb_txn_begin(env, NULL, 0, &txn);
  if (rc != MDB_SUCCESS) return rc;
  rc = tables_open(s, txn, 0);
  if (rc == MDB_SUCCESS) rc = format_write(s, txn);
  if (rc == MDB_SUCCESS) return mdb_txn_commit(txn);
  mdb_txn_abort(txn);
  return rc;
}

/* Makes FILE.new, whole and synced. */
static int fresh_make(lmdb_opening *p) {
  MDB_env *env;
  int rc = mdb_env_create(&env);
  if (rc != MDB_SUCCESS) return rc;
  rc = mdb_env_set_maxdbs(env, WEFT_TABLE_COUNT);
  if (rc == MDB_SUCCESS) {
    rc = mdb_env_open(env, p->names.fresh, MDB_NOSUBDIR | MDB_NOLOCK, file_mode);
  }
  if (rc == MDB_SUCCESS) rc = tables_create(p->s, env);
  if (rc == MDB_SUCCESS) rc = mdb_env_sync(env, 1);
  mdb_env_close(env);
  return rc;
}

static weft_err create(lmdb_opening *p) {
  if (unlink(p->names.fresh) != 0 && errno != ENOENT) return fail_errno(p, "remove FILE.new");
  int rc = fresh_make(p);
  weft_err err = rc == MDB_SUCCESS ? WEFT_OK : fail_mdb(p, rc, "make a new store");
  if (err == WEFT_OK && rename(p->names.fresh, p->names.file) != 0) {
    err = fail_errno(p, "name the new store");
  }
  if (err == WEFT_OK) return folder_sync(p, p->names.folder);
  unlink(p->names.fresh);
  return err;
}

/* --- an existing file --- */

/* Checks the file behind `fd`, and when it is lawfully short, makes it as long as its head says, so
 * that the long check is made once. */
static weft_err file_check(lmdb_opening *p, int fd) {
  uint64_t whole;
  WEFT_TRY(weft__lmdb_check(&p->o->mem, fd, p->o->check_pages, &whole, &p->diag));
  struct stat st;
  if (p->o->read_only || fstat(fd, &st) != 0 || (uint64_t)st.st_size >= whole) return WEFT_OK;
  return truncate(p->names.file, (off_t)whole) == 0 ? WEFT_OK : fail_errno(p, "lengthen the file");
}

static weft_err file_prepare(lmdb_opening *p) {
  bool make = !p->o->read_only && !p->o->must_exist;
  int fd = open(p->names.file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 && errno == ENOENT && make) {
    WEFT_TRY(create(p));
    fd = open(p->names.file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  }
  if (fd < 0) return fail_errno(p, "open the file");
  if (p->o->read_only && !p->alone) {
    weft_err err = file_check(p, fd);
    close(fd);
    return err;
  }
  p->s->file_fd = fd;
  if (p->alone) {
    if (flock(fd, LOCK_SH | LOCK_NB) != 0) return fail_beside(p);
    return file_check(p, fd);
  }
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) return fail_flock(p);
  return file_check(p, fd);
}

static weft_err format_check(lmdb_opening *p, MDB_txn *txn) {
  uint8_t room[sizeof format_key];
  MDB_val key = format_key_val(room), value;
  int rc = mdb_get(txn, p->s->dbis[WEFT_TABLE_META], &key, &value);
  if (rc == MDB_NOTFOUND) return fail(p, WEFT_ECORRUPT, "open: an LMDB file, but not a weft store");
  if (rc != MDB_SUCCESS) return fail_mdb(p, rc, "read the format record");
  weft_rd r = weft__rd(weft_bytes_of(value.mv_data, value.mv_size));
  weft_bytes magic = weft__rd_take(&r, sizeof format_magic);
  uint32_t version = weft__rd_u32(&r);
  if (!weft__rd_done(&r) || memcmp(magic.at, format_magic, sizeof format_magic) != 0) {
    return fail(p, WEFT_ECORRUPT, "open: the format record is damaged");
  }
  if (version > WEFT_LMDB_FORMAT) return fail(p, WEFT_EVERSION, "open: made by a newer weft");
  if (version == 0) return fail(p, WEFT_ECORRUPT, "open: the format record is damaged");
  return WEFT_OK;
}

static weft_err tables_failed(lmdb_opening *p, int rc) {
  bool absent = rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE;
  return absent ? fail(p, WEFT_ECORRUPT, "open: a table is missing")
                : fail_mdb(p, rc, "open the tables");
}

static weft_err tables_prepare(lmdb_opening *p) {
  MDB_txn *txn;
  int rc = mdb_txn_begin(p->s->env, NULL, MDB_RDONLY, &txn);
  if (rc != MDB_SUCCESS) return fail_mdb(p, rc, "begin the first transaction");
  rc = mdb_dbi_open(txn, NULL, 0, &p->s->dbis[WEFT_TABLE_META]);
  weft_err err = rc == MDB_SUCCESS ? format_check(p, txn) : tables_failed(p, rc);
  if (err == WEFT_OK) rc = tables_open(p->s, txn, WEFT_TABLE_COUNT);
  if (err != WEFT_OK || rc != MDB_SUCCESS) {
    mdb_txn_abort(txn);
    if (err == WEFT_OK && rc == MDB_NOTFOUND && !p->o->read_only) rc = tables_complete(p->s);
    if (err == WEFT_OK && rc != MDB_SUCCESS) err = tables_failed(p, rc);
    return err;
  }
  rc = mdb_txn_commit(txn); /* keeps the handles */
  return rc == MDB_SUCCESS ? WEFT_OK : fail_mdb(p, rc, "end the first transaction");
}

/* How much address space to begin with: where the process may not have that much, a quarter of what
 * it may have.  LMDB takes more by itself when the file is longer. */
static size_t map_size(uint64_t wanted) {
  enum { size_min = 1 << 20 };
  struct rlimit room;
  if (getrlimit(RLIMIT_AS, &room) != 0 || room.rlim_cur == RLIM_INFINITY) return (size_t)wanted;
  uint64_t share = room.rlim_cur / 4 / size_min * size_min;
  if (share < size_min) share = size_min;
  return (size_t)(wanted < share ? wanted : share);
}

/* Gives a new table of readers its blocks before LMDB maps it: it would be written through the map,
 * where a full disk is a SIGBUS and not an error.  One that is long enough is LMDB's own, or was
 * made here. */
static weft_err readers_make(lmdb_opening *p) {
  enum { slot_len = 64, head_slots = 2 };
  char table[path_max + 8];
  struct stat st;
  const off_t len = ((off_t)p->o->readers_max + head_slots) * slot_len;
  readers_name(p, table);
  int fd = open(table, O_RDWR | O_CREAT | O_CLOEXEC, file_mode);
  if (fd < 0) return fail_errno(p, "open the table of readers");
  int rc = fstat(fd, &st) != 0 ? errno : st.st_size < len ? posix_fallocate(fd, 0, len) : 0;
  close(fd); /* before LMDB has locked it: they belong to the process */
  return rc == 0 ? WEFT_OK : fail_mdb(p, rc, "make the table of readers");
}

static weft_err env_open(lmdb_opening *p) {
  int rc = mdb_env_create(&p->s->env);
  if (rc != MDB_SUCCESS) return fail_mdb(p, rc, "create the environment");
  if (p->o->map_size > SIZE_MAX / 2) return fail(p, WEFT_ELIMIT, "open: map size");
  rc = mdb_env_set_mapsize(p->s->env, map_size(p->o->map_size));
  /* Of an environment that is not open yet these three only note what is wanted. */
  if (!rc) rc = mdb_env_set_maxdbs(p->s->env, WEFT_TABLE_COUNT);      /* defensive: not open */
  if (!rc) rc = mdb_env_set_maxreaders(p->s->env, p->o->readers_max); /* defensive: not open */
  if (rc) return fail_mdb(p, rc, "set up the environment");           /* defensive: not open */
  unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD; /* store/lmdb_ahead.c says why */
  flags |= (p->o->read_only ? MDB_RDONLY : 0u) | (p->alone ? MDB_NOLOCK : 0u);
  if (WEFT_CANARY(FORGET_SYNC)) flags |= MDB_NOSYNC;
  if (!p->alone) WEFT_TRY(readers_make(p));
  rc = mdb_env_open(p->s->env, p->names.file, flags, file_mode);
  if (rc != MDB_SUCCESS) return fail_mdb(p, rc, "map the file");
  MDB_stat stat;
  rc = mdb_env_stat(p->s->env, &stat);
  if (rc != MDB_SUCCESS) return fail_mdb(p, rc, "look at it"); /* defensive: it only copies */
  p->s->psize = stat.ms_psize;
  return WEFT_OK;
}

/* --- the whole --- */

static weft_err open_all(lmdb_opening *p) {
  WEFT_TRY(names_make(p));
  if (p->o->read_only) {
    WEFT_TRY(refuse_own(p));
    p->alone = !can_register(p);
  } else {
    WEFT_TRY(folder_make(p));
    WEFT_TRY(lock_take(p));
  }
  WEFT_TRY(file_prepare(p));
  WEFT_TRY(env_open(p));
  return tables_prepare(p);
}

void weft_lmdb_options_init_sized(weft_lmdb_options *o, size_t struct_size) {
  weft_lmdb_options all = {.struct_size = sizeof all,
                           .mem = weft_alloc_libc(),
                           .map_size = sizeof(void *) == 8 ? UINT64_C(64) << 30 : 512u << 20,
                           .readers_max = 126};
  WEFT_ASSERT(struct_size <= sizeof all);
  memcpy(o, &all, struct_size);
  o->struct_size = struct_size;
}

weft_err weft_lmdb_store_open(const weft_lmdb_options *o, weft_store **out, weft_diag *diag) {
  *out = NULL;
  if (o->struct_size > sizeof *o) return WEFT_EMISUSE;
  if (diag) weft__diag_set(diag, WEFT_OK, 0, "");
  weft_alloc mem = o->mem;
  lmdb_opening *p = mem.alloc(mem.ctx, sizeof *p);
  weft_lmdb_store *s = p ? mem.alloc(mem.ctx, sizeof *s) : NULL;
  weft_err err = WEFT_ENOMEM;
  if (!s) goto out;
  memset(p, 0, sizeof *p);
  memset(s, 0, sizeof *s);
  weft_lmdb_options_init(&p->options);
  memcpy(&p->options, o, o->struct_size);
  p->o = &p->options;
  p->s = s;
  weft__store_init(&s->base, &weft__lmdb_vtable);
  s->base.read_only = p->o->read_only;
  s->mem = mem;
  s->lock_fd = s->file_fd = -1;
  err = open_all(p);
  if (err == WEFT_OK && pthread_mutex_init(&s->gate, NULL) != 0)
    err = WEFT_ENOMEM; /* defensive: never on Linux */
  if (err == WEFT_OK) {
    *out = &s->base;
    s = NULL;
  } else {
    if (diag) *diag = p->diag;
    if (s->env) mdb_env_close(s->env);
    weft__lmdb_unlock(s);
  }
out:
  mem.free(mem.ctx, s);
  mem.free(mem.ctx, p);
  return err;
}

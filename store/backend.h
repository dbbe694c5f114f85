/* What stands behind store/store.h: the function table of a backend, and the part of a store, a
 * transaction and a cursor that every backend shares.
 *
 * store/store.c checks arguments, counts transactions, remembers the error that spoilt one, keeps a
 * dead store dead, and gives cursors their meaning when the table changes under them.  A backend
 * does the rest: it may trust its arguments.  Only backends, store.c and backup.c include
 * this. */
#ifndef WEFT_STORE_BACKEND_H
#define WEFT_STORE_BACKEND_H

#include <stdatomic.h>

#include "crdt/alloc.h"
#include "store/keys.h"
#include "store/store.h"

typedef enum weft_move {
  WEFT_MOVE_FIRST,
  WEFT_MOVE_LAST,
  WEFT_MOVE_NEXT, /* only on an entry, or after cursor_delete: then the one behind it */
  WEFT_MOVE_PREV, /* only on an entry */
  WEFT_MOVE_SEEK, /* the smallest >= key */
} weft_move;

/* Each returns WEFT_OK or what store.h names.  `commit` and `abort` end and free the transaction,
 * `cursor_close` the cursor.  `begin` and `cursor_open` allocate; store.c fills in the base. */
typedef struct weft_store_vtable {
  void (*free)(weft_store *s);
  weft_err (*size)(weft_store *s, weft_store_size *size);
  weft_err (*grow)(weft_store *s);
  weft_err (*begin)(weft_store *s, weft_txn_mode mode, weft_txn **out);
  weft_err (*commit)(weft_txn *t);
  void (*abort)(weft_txn *t);
  weft_err (*get)(weft_txn *t, weft_table table, weft_bytes key, weft_bytes *value);
  bool (*is_cold)(weft_txn *t);                                       /* may be NULL */
  void (*want)(weft_txn *t, const weft_wanted *wanted, size_t count); /* may be NULL */
  weft_err (*put)(weft_txn *t, weft_table table, const weft_entry *entry, bool append);
  weft_err (*del)(weft_txn *t, weft_table table, weft_bytes key);
  weft_err (*clear)(weft_txn *t, weft_table table);
  weft_err (*count)(weft_txn *t, weft_table table, uint64_t *count);
  weft_err (*cursor_open)(weft_txn *t, weft_table table, weft_cursor **out);
  void (*cursor_close)(weft_cursor *c);
  weft_err (*cursor_move)(weft_cursor *c, weft_move move, weft_bytes key, weft_entry *entry);
  weft_err (*cursor_delete)(weft_cursor *c);
} weft_store_vtable;

/* The first member of every backend's store. */
struct weft_store {
  const weft_store_vtable *vt;
  bool read_only;
  atomic_uint readers;   /* read transactions open */
  atomic_bool writing;   /* the write transaction is open */
  atomic_bool dead;      /* an EIO was seen: nothing but free from here on */
  atomic_flag diag_busy; /* guards diag, held for a copy */
  weft_diag diag;
};

/* The first member of every backend's transaction. */
struct weft_txn {
  weft_store *store;
  weft_txn_mode mode;
  weft_err err;     /* what spoilt it */
  uint32_t cursors; /* open */
  uint64_t writes;  /* puts and deletes so far: cursors compare it */
};

typedef enum weft_cursor_state {
  WEFT_CURSOR_NEW,
  WEFT_CURSOR_ON,
  WEFT_CURSOR_ENDED
} weft_cursor_state;

/* The first member of every backend's cursor. */
struct weft_cursor {
  weft_txn *txn;
  weft_table table;
  weft_cursor_state state;
  uint64_t writes; /* txn->writes when it was placed */
  weft_dbkey key;  /* where it was placed; kept in write transactions only */
};

/* Prepares the shared part. */
void weft__store_init(weft_store *s, const weft_store_vtable *vt);

/* Notes a failure for weft_store_get_diag and gives `err` back.  WEFT_EIO kills the store. */
weft_err weft__store_fail(weft_store *s, weft_err err, int sys, const char *text);

/* Fills `d`; `text` is cut to fit. */
void weft__diag_set(weft_diag *d, weft_err err, int sys, const char *text);

/* The longest key of `table`. */
size_t weft__table_key_max(weft_table table);

#endif

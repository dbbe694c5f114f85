/* The memory store: tables are arrays of blocks, blocks are arrays of entries, all counted by
 * reference and copied when they are written while shared.
 *
 * Invariants: what is reachable from a root that somebody else holds never changes; a block holds 1
 * to block_count_max entries in key order, and blocks follow each other in key order; an empty
 * table is NULL.  A root belongs to the store (the last commit), to each reader, or to the writer.
 *
 * Happy path: a reader takes a reference on the store's root.  A writer copies the root, then each
 * table and block it touches, once; commit puts its root in the store's place, abort drops it.
 *
 * Failure modes: WEFT_ENOMEM in the middle of a write leaves the writer's own tables well formed
 * but perhaps without the entry; the transaction is spoilt and its root is dropped. */
#include "store/memory_store.h"

#include <string.h>

#include "crdt/assert.h"
#include "store/backend.h"

enum { block_count_max = 64, entry_overhead = 32 };

typedef struct memory_entry {
  uint32_t refs;
  uint32_t key_len;
  uint32_t value_len;
  uint8_t b[]; /* the key, then the value */
} memory_entry;

typedef struct memory_block {
  uint32_t refs;
  uint32_t count;
  memory_entry *at[block_count_max];
} memory_block;

typedef struct memory_table {
  uint32_t refs;
  uint64_t entries;
  size_t count; /* of blocks */
  size_t cap;
  memory_block **at;
} memory_table;

typedef struct memory_root {
  uint32_t refs;
  uint64_t used; /* bytes of all entries, with entry_overhead each */
  memory_table *tables[WEFT_TABLE_COUNT];
} memory_root;

typedef struct memory_store {
  weft_store base;
  weft_alloc mem;
  uint64_t size_max;
  memory_root *root; /* the last commit */
} memory_store;

typedef struct memory_txn {
  weft_txn base;
  memory_root *root;
} memory_txn;

/* Where an entry lies; past the end when block == table->count. */
typedef struct memory_place {
  size_t block;
  size_t idx;
} memory_place;

typedef struct memory_cursor {
  weft_cursor base;
  memory_place place;
  bool deleted; /* the entry at `place` is already the one behind */
} memory_cursor;

static memory_store *store_of(weft_store *s) { return (memory_store *)s; }
static memory_txn *txn_of(weft_txn *t) { return (memory_txn *)t; }
static memory_cursor *cursor_of(weft_cursor *c) { return (memory_cursor *)c; }

static void *take(memory_store *s, size_t len) { return s->mem.alloc(s->mem.ctx, len); }
static void give(memory_store *s, void *at) { s->mem.free(s->mem.ctx, at); }

/* --- references --- */

static uint64_t entry_cost(const memory_entry *e) {
  return (uint64_t)e->key_len + e->value_len + entry_overhead;
}

static weft_bytes entry_key(const memory_entry *e) { return weft_bytes_of(e->b, e->key_len); }

static weft_bytes entry_value(const memory_entry *e) {
  return weft_bytes_of(e->b + e->key_len, e->value_len);
}

static void entry_drop(memory_store *s, memory_entry *e) {
  WEFT_ASSERT(e->refs > 0);
  if (--e->refs == 0) give(s, e);
}

static void block_drop(memory_store *s, memory_block *b) {
  WEFT_ASSERT(b->refs > 0);
  if (--b->refs > 0) return;
  for (uint32_t i = 0; i < b->count; i++) entry_drop(s, b->at[i]);
  give(s, b);
}

static void table_drop(memory_store *s, memory_table *t) {
  if (!t) return;
  WEFT_ASSERT(t->refs > 0);
  if (--t->refs > 0) return;
  for (size_t i = 0; i < t->count; i++) block_drop(s, t->at[i]);
  give(s, t->at);
  give(s, t);
}

static void root_drop(memory_store *s, memory_root *r) {
  WEFT_ASSERT(r->refs > 0);
  if (--r->refs > 0) return;
  for (size_t i = 0; i < WEFT_TABLE_COUNT; i++) table_drop(s, r->tables[i]);
  give(s, r);
}

/* --- copies: each gives an object with one reference, or NULL --- */

static memory_root *root_copy(memory_store *s, const memory_root *from) {
  memory_root *r = take(s, sizeof *r);
  if (!r) return NULL;
  *r = *from;
  r->refs = 1;
  for (size_t i = 0; i < WEFT_TABLE_COUNT; i++) {
    if (r->tables[i]) r->tables[i]->refs++;
  }
  return r;
}

static memory_table *table_new(memory_store *s, size_t cap) {
  size_t len;
  if (!weft__mul_ok(cap, sizeof(memory_block *), &len)) return NULL; /* defensive: cap is small */
  memory_table *t = take(s, sizeof *t);
  if (!t) return NULL;
  t->at = take(s, len);
  if (!t->at) {
    give(s, t);
    return NULL;
  }
  t->refs = 1;
  t->entries = 0;
  t->count = 0;
  t->cap = cap;
  return t;
}

static memory_table *table_copy(memory_store *s, const memory_table *from) {
  memory_table *t = table_new(s, from->cap);
  if (!t) return NULL;
  t->entries = from->entries;
  t->count = from->count;
  memcpy(t->at, from->at, from->count * sizeof *t->at);
  for (size_t i = 0; i < t->count; i++) t->at[i]->refs++;
  return t;
}

static memory_block *block_new(memory_store *s) {
  memory_block *b = take(s, sizeof *b);
  if (!b) return NULL;
  b->refs = 1;
  b->count = 0;
  return b;
}

static memory_block *block_copy(memory_store *s, const memory_block *from) {
  memory_block *b = block_new(s);
  if (!b) return NULL;
  b->count = from->count;
  memcpy(b->at, from->at, from->count * sizeof b->at[0]);
  for (uint32_t i = 0; i < b->count; i++) b->at[i]->refs++;
  return b;
}

static memory_entry *entry_new(memory_store *s, const weft_entry *from) {
  memory_entry *e = take(s, sizeof *e + from->key.len + from->value.len);
  if (!e) return NULL;
  e->refs = 1;
  e->key_len = (uint32_t)from->key.len;
  e->value_len = (uint32_t)from->value.len;
  memcpy(e->b, from->key.at, from->key.len);
  if (from->value.len) memcpy(e->b + from->key.len, from->value.at, from->value.len);
  return e;
}

/* Makes the table, or the block, one that only this writer holds. */
static memory_table *table_own(memory_store *s, memory_table **link) {
  memory_table *t = *link;
  if (t && t->refs == 1) return t;
  memory_table *fresh = t ? table_copy(s, t) : table_new(s, 8);
  if (!fresh) return NULL;
  table_drop(s, t);
  *link = fresh;
  return fresh;
}

static memory_block *block_own(memory_store *s, memory_block **link) {
  memory_block *b = *link;
  if (b->refs == 1) return b;
  memory_block *fresh = block_copy(s, b);
  if (!fresh) return NULL;
  block_drop(s, b);
  *link = fresh;
  return fresh;
}

/* --- searching --- */

static bool place_is_end(const memory_table *t, memory_place p) {
  return !t || p.block >= t->count;
}

static const memory_entry *entry_at(const memory_table *t, memory_place p) {
  WEFT_ASSERT(p.idx < t->at[p.block]->count);
  return t->at[p.block]->at[p.idx];
}

/* The block that `key` belongs into: the last one that starts at or before it, else the first. */
static size_t table_find_block(const memory_table *t, weft_bytes key) {
  size_t low = 0,
         high = t->count; /* blocks below `low` start at or before, from `high` on behind */
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (weft_bytes_cmp(entry_key(t->at[middle]->at[0]), key) <= 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low ? low - 1 : 0;
}

/* The index of the first entry of `b` >= key; b->count when there is none. */
static size_t block_find(const memory_block *b, weft_bytes key) {
  size_t low = 0, high = b->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (weft_bytes_cmp(entry_key(b->at[middle]), key) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* The place of the first entry >= key. */
static memory_place table_seek(const memory_table *t, weft_bytes key) {
  memory_place p = {0, 0};
  if (!t || t->count == 0) return p;
  p.block = table_find_block(t, key);
  p.idx = block_find(t->at[p.block], key);
  if (p.idx == t->at[p.block]->count) {
    p.block++;
    p.idx = 0;
  }
  return p;
}

static bool table_has(const memory_table *t, memory_place p, weft_bytes key) {
  return !place_is_end(t, p) && weft_bytes_cmp(entry_key(entry_at(t, p)), key) == 0;
}

/* --- writing --- */

/* Puts `b` at block `at` of the table, which takes the reference on WEFT_OK. */
static weft_err table_insert_block(memory_store *s, memory_table *t, size_t at, memory_block *b) {
  if (t->count == t->cap) {
    size_t cap, len;
    if (!weft__mul_ok(t->cap, 2, &cap)) return WEFT_ENOMEM;          /* defensive: 2^63 */
    if (!weft__mul_ok(cap, sizeof *t->at, &len)) return WEFT_ENOMEM; /* defensive: as above */
    memory_block **wide = s->mem.grow(s->mem.ctx, t->at, len);
    if (!wide) return WEFT_ENOMEM;
    t->at = wide;
    t->cap = cap;
  }
  memmove(t->at + at + 1, t->at + at, (t->count - at) * sizeof *t->at);
  t->at[at] = b;
  t->count++;
  return WEFT_OK;
}

/* Makes room for an entry at `p`, which may move; what was full is split in halves, or, when the
 * entry goes behind everything, left as it is. */
static weft_err table_make_room(memory_store *s, memory_table *t, memory_place *p) {
  memory_block *b = t->at[p->block];
  if (b->count < block_count_max) return WEFT_OK;
  bool behind = p->block + 1 == t->count && p->idx == b->count;
  memory_block *right = block_new(s);
  if (!right) return WEFT_ENOMEM;
  weft_err err = table_insert_block(s, t, p->block + 1, right);
  if (err != WEFT_OK) {
    block_drop(s, right);
    return err;
  }
  uint32_t keep = behind ? b->count : block_count_max / 2;
  right->count = b->count - keep;
  memcpy(right->at, b->at + keep, right->count * sizeof b->at[0]);
  b->count = keep;
  if (p->idx > keep || behind) {
    p->block++;
    p->idx -= keep;
  }
  return WEFT_OK;
}

/* Puts `e` where `key` belongs, behind every smaller one; takes the reference on WEFT_OK. */
static weft_err table_insert(memory_store *s, memory_table *t, memory_entry *e) {
  memory_place p = {0, 0};
  if (t->count == 0) {
    memory_block *b = block_new(s);
    if (!b) return WEFT_ENOMEM;
    weft_err err = table_insert_block(s, t, 0, b);
    WEFT_ASSERT(err == WEFT_OK); /* a new table has room for blocks */
  } else {
    p.block = table_find_block(t, entry_key(e));
    p.idx = block_find(t->at[p.block], entry_key(e));
  }
  if (!block_own(s, &t->at[p.block])) return WEFT_ENOMEM;
  WEFT_TRY(table_make_room(s, t, &p));
  memory_block *b = t->at[p.block];
  memmove(b->at + p.idx + 1, b->at + p.idx, (b->count - p.idx) * sizeof b->at[0]);
  b->at[p.idx] = e;
  b->count++;
  t->entries++;
  return WEFT_OK;
}

/* Removes the entry at `p` of an owned table. */
static weft_err table_remove(memory_store *s, memory_table *t, memory_place p) {
  memory_block *b = block_own(s, &t->at[p.block]);
  if (!b) return WEFT_ENOMEM;
  entry_drop(s, b->at[p.idx]);
  b->count--;
  memmove(b->at + p.idx, b->at + p.idx + 1, (b->count - p.idx) * sizeof b->at[0]);
  t->entries--;
  if (b->count > 0) return WEFT_OK;
  block_drop(s, b);
  t->count--;
  memmove(t->at + p.block, t->at + p.block + 1, (t->count - p.block) * sizeof *t->at);
  return WEFT_OK;
}

static weft_err memory_put(weft_txn *txn, weft_table table, const weft_entry *entry, bool append) {
  (void)append;
  memory_store *s = store_of(txn->store);
  memory_root *root = txn_of(txn)->root;
  memory_table **link = &root->tables[table];
  memory_place p = table_seek(*link, entry->key);
  bool replace = table_has(*link, p, entry->key);
  uint64_t before = replace ? entry_cost(entry_at(*link, p)) : 0;
  uint64_t used = root->used - before + entry->key.len + entry->value.len + entry_overhead;
  if (used > s->size_max) return weft__store_fail(&s->base, WEFT_EFULL, 0, "memory store is full");
  memory_table *t = table_own(s, link);
  if (!t) return WEFT_ENOMEM;
  memory_entry *e = entry_new(s, entry);
  if (!e) return WEFT_ENOMEM;
  weft_err err = WEFT_OK;
  if (replace) {
    memory_block *b = block_own(s, &t->at[p.block]);
    if (b) {
      entry_drop(s, b->at[p.idx]);
      b->at[p.idx] = e;
    } else {
      err = WEFT_ENOMEM;
    }
  } else {
    err = table_insert(s, t, e);
  }
  if (err == WEFT_OK)
    root->used = used;
  else
    entry_drop(s, e);
  return err;
}

static weft_err txn_remove(weft_txn *txn, weft_table table, memory_place p) {
  memory_store *s = store_of(txn->store);
  memory_root *root = txn_of(txn)->root;
  uint64_t cost = entry_cost(entry_at(root->tables[table], p));
  memory_table *t = table_own(s, &root->tables[table]);
  if (!t) return WEFT_ENOMEM;
  WEFT_TRY(table_remove(s, t, p));
  root->used -= cost;
  return WEFT_OK;
}

static weft_err memory_delete(weft_txn *txn, weft_table table, weft_bytes key) {
  const memory_table *t = txn_of(txn)->root->tables[table];
  memory_place p = table_seek(t, key);
  return table_has(t, p, key) ? txn_remove(txn, table, p) : WEFT_ENOTFOUND;
}

static weft_err memory_clear(weft_txn *txn, weft_table table) {
  memory_root *root = txn_of(txn)->root;
  const memory_table *t = root->tables[table];
  memory_place p = {0, 0};
  for (; !place_is_end(t, p); p.block++) {
    const memory_block *b = t->at[p.block];
    for (uint32_t i = 0; i < b->count; i++) root->used -= entry_cost(b->at[i]);
  }
  table_drop(store_of(txn->store), root->tables[table]);
  root->tables[table] = NULL;
  return WEFT_OK;
}

/* --- reading --- */

static weft_err memory_get(weft_txn *txn, weft_table table, weft_bytes key, weft_bytes *value) {
  const memory_table *t = txn_of(txn)->root->tables[table];
  memory_place p = table_seek(t, key);
  if (!table_has(t, p, key)) return WEFT_ENOTFOUND;
  *value = entry_value(entry_at(t, p));
  return WEFT_OK;
}

static weft_err memory_count(weft_txn *txn, weft_table table, uint64_t *count) {
  const memory_table *t = txn_of(txn)->root->tables[table];
  *count = t ? t->entries : 0;
  return WEFT_OK;
}

static weft_err memory_cursor_open(weft_txn *txn, weft_table table, weft_cursor **out) {
  (void)table;
  memory_store *s = store_of(txn->store);
  memory_cursor *c = take(s, sizeof *c);
  if (!c) return WEFT_ENOMEM;
  memset(c, 0, sizeof *c);
  *out = &c->base;
  return WEFT_OK;
}

static void memory_cursor_close(weft_cursor *c) { give(store_of(c->txn->store), c); }

static memory_place place_next(const memory_table *t, memory_place p) {
  WEFT_ASSERT(t);
  p.idx++;
  if (p.idx < t->at[p.block]->count) return p;
  p.block++;
  p.idx = 0;
  return p;
}

/* The place before `p`, which may be the end; the end when `p` is the first. */
static memory_place place_prev(const memory_table *t, memory_place p) {
  if (p.idx > 0) {
    p.idx--;
    return p;
  }
  if (p.block == 0) {
    p.block = t ? t->count : 0;
    return p;
  }
  WEFT_ASSERT(t);
  p.block--;
  p.idx = t->at[p.block]->count - 1u;
  return p;
}

static weft_err memory_cursor_move(weft_cursor *cursor, weft_move move, weft_bytes key,
                                   weft_entry *entry) {
  memory_cursor *c = cursor_of(cursor);
  const memory_table *t = txn_of(cursor->txn)->root->tables[cursor->table];
  static const memory_place start = {0, 0};
  memory_place end = {t ? t->count : 0, 0};
  switch (move) {
  case WEFT_MOVE_FIRST: c->place = start; break;
  case WEFT_MOVE_LAST: c->place = place_prev(t, end); break;
  case WEFT_MOVE_NEXT:
    if (!c->deleted) c->place = place_next(t, c->place);
    break;
  case WEFT_MOVE_PREV: c->place = place_prev(t, c->place); break;
  case WEFT_MOVE_SEEK: c->place = table_seek(t, key); break;
  }
  c->deleted = false;
  if (place_is_end(t, c->place)) return WEFT_EDONE;
  const memory_entry *e = entry_at(t, c->place);
  entry->key = entry_key(e);
  entry->value = entry_value(e);
  return WEFT_OK;
}

static weft_err memory_cursor_delete(weft_cursor *cursor) {
  memory_cursor *c = cursor_of(cursor);
  const memory_root *root = txn_of(cursor->txn)->root;
  const memory_table *t = root->tables[cursor->table];
  bool last_in_block = c->place.idx + 1u == t->at[c->place.block]->count;
  bool alone = t->at[c->place.block]->count == 1;
  WEFT_TRY(txn_remove(cursor->txn, cursor->table, c->place));
  if (last_in_block && !alone) c->place.block++;
  if (last_in_block) c->place.idx = 0;
  c->deleted = true;
  return WEFT_OK;
}

/* --- transactions and the store --- */

static weft_err memory_begin(weft_store *base, weft_txn_mode mode, weft_txn **out) {
  memory_store *s = store_of(base);
  memory_txn *t = take(s, sizeof *t);
  if (!t) return WEFT_ENOMEM;
  memset(t, 0, sizeof *t);
  if (mode == WEFT_TXN_WRITE) {
    t->root = root_copy(s, s->root);
  } else {
    t->root = s->root;
    t->root->refs++;
  }
  if (!t->root) {
    give(s, t);
    return WEFT_ENOMEM;
  }
  *out = &t->base;
  return WEFT_OK;
}

static void memory_abort(weft_txn *txn) {
  memory_store *s = store_of(txn->store);
  root_drop(s, txn_of(txn)->root);
  give(s, txn);
}

static weft_err memory_commit(weft_txn *txn) {
  memory_store *s = store_of(txn->store);
  root_drop(s, s->root);
  s->root = txn_of(txn)->root;
  give(s, txn);
  return WEFT_OK;
}

static weft_err memory_size(weft_store *base, weft_store_size *size) {
  memory_store *s = store_of(base);
  size->used = s->root->used;
  size->max = s->size_max;
  return WEFT_OK;
}

static weft_err memory_grow(weft_store *base) {
  memory_store *s = store_of(base);
  if (atomic_load(&base->readers) || atomic_load(&base->writing)) return WEFT_EMISUSE;
  s->size_max = s->size_max > UINT64_MAX / 2 ? UINT64_MAX : s->size_max * 2;
  return WEFT_OK;
}

static void memory_free(weft_store *base) {
  memory_store *s = store_of(base);
  root_drop(s, s->root);
  weft_alloc mem = s->mem;
  mem.free(mem.ctx, s);
}

static const weft_store_vtable memory_vtable = {
    .free = memory_free,
    .size = memory_size,
    .grow = memory_grow,
    .begin = memory_begin,
    .commit = memory_commit,
    .abort = memory_abort,
    .get = memory_get,
    .put = memory_put,
    .del = memory_delete,
    .clear = memory_clear,
    .count = memory_count,
    .cursor_open = memory_cursor_open,
    .cursor_close = memory_cursor_close,
    .cursor_move = memory_cursor_move,
    .cursor_delete = memory_cursor_delete,
};

void weft_memory_options_init_sized(weft_memory_options *o, size_t struct_size) {
  weft_memory_options all = {sizeof all, weft_alloc_libc(), 0};
  WEFT_ASSERT(struct_size <= sizeof all);
  memcpy(o, &all, struct_size);
  o->struct_size = struct_size;
}

weft_err weft_memory_store_new(const weft_memory_options *o, weft_store **out) {
  *out = NULL;
  if (o->struct_size != sizeof *o) return WEFT_EMISUSE;
  weft_alloc mem = o->mem;
  memory_store *s = mem.alloc(mem.ctx, sizeof *s);
  memory_root *root = s ? mem.alloc(mem.ctx, sizeof *root) : NULL;
  if (!root) {
    mem.free(mem.ctx, s);
    return WEFT_ENOMEM;
  }
  memset(root, 0, sizeof *root);
  root->refs = 1;
  weft__store_init(&s->base, &memory_vtable);
  s->mem = mem;
  s->size_max = o->size_max ? o->size_max : UINT64_MAX;
  s->root = root;
  *out = &s->base;
  return WEFT_OK;
}

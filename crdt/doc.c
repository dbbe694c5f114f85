/* The registers of a document and the join.
 *
 * Invariants: `regs` is sorted by path in byte order, no path twice, and entries are chained in
 * that order; so everything at and below a path is one run.  A register has a sibling or a
 * position, or is dirty.  Siblings of one register never cover each other. Happy path: a load
 * appends in path order; a show finds its register, drops what the change covers there (a fresh
 * mark: below too) and adds the write. Failure modes: memory.  Nothing shrinks before
 * weft__doc_reset: what siblings leave behind stays in the arena, so a document is made for a piece
 * of work and not kept for ever. */
#include "crdt/doc.h"

#include <string.h>

#include "crdt/assert.h"
#include "crdt/canary.h"

typedef struct doc_entry {
  weft_register reg; /* first, so that a register leads back to its entry */
  struct doc_entry *next;
  uint64_t prefix; /* of the path: settles most comparisons */
  bool borrowed;   /* its lists of siblings are the holder's: copied before they change */
} doc_entry;

struct weft_doc {
  weft_alloc mem;
  weft_arena arena;
  weft_lineage lineage;
  doc_entry **regs; /* from `mem`: it grows by moving, which an arena would keep twice */
  size_t count;
  size_t cap;
  weft_sibling shared; /* the change whose claims were copied last; its siblings share the copy */
  bool plain;          /* the holder's word */
};

weft_err weft__doc_new(weft_doc **out, const weft_alloc *mem, const weft_lineage *lineage) {
  *out = NULL;
  weft_doc *doc = mem->alloc(mem->ctx, sizeof *doc);
  if (!doc) return WEFT_ENOMEM;
  memset(doc, 0, sizeof *doc);
  doc->mem = *mem;
  doc->lineage = *lineage;
  weft__arena_init(&doc->arena, mem);
  doc->plain = true;
  *out = doc;
  return WEFT_OK;
}

void weft__doc_free(weft_doc *doc) {
  if (!doc) return;
  weft__arena_free(&doc->arena);
  doc->mem.free(doc->mem.ctx, doc->regs);
  doc->mem.free(doc->mem.ctx, doc);
}

void weft__doc_reset(weft_doc *doc) {
  weft__arena_reset(&doc->arena);
  doc->count = 0;
  doc->plain = true;
  memset(&doc->shared, 0, sizeof doc->shared);
}

void weft__doc_set_plain(weft_doc *doc, bool plain) { doc->plain = plain; }

bool weft__doc_is_plain(const weft_doc *doc) { return doc->plain; }

const weft_alloc *weft__doc_mem(const weft_doc *doc) { return &doc->mem; }

const weft_lineage *weft__doc_lineage(const weft_doc *doc) { return &doc->lineage; }

/* --- the registers in order --- */

/* The first eight bytes as a number, with zeros behind a shorter path: where two differ, so do the
 * paths, and in the same direction. */
static uint64_t prefix_of(weft_path path) {
  uint64_t prefix = 0;
  if (path.len >= sizeof prefix) {
    for (size_t i = 0; i < sizeof prefix; i++) prefix = prefix << 8 | path.at[i]; /* one load */
    return prefix;
  }
  for (size_t i = 0; i < path.len; i++) prefix = prefix << 8 | path.at[i];
  return path.len > 0 ? prefix << 8 * (sizeof prefix - path.len) : 0;
}

static bool stands_before(const doc_entry *entry, uint64_t prefix, weft_path path) {
  if (entry->prefix != prefix) return entry->prefix < prefix;
  return weft_bytes_cmp(entry->reg.path, path) < 0;
}

/* Index of the first register at or after `path`; loads in path order need one comparison. */
static size_t doc_lower(const weft_doc *doc, weft_path path) {
  size_t low = 0, high = doc->count;
  uint64_t prefix = prefix_of(path);
  if (high > 0 && stands_before(doc->regs[high - 1], prefix, path)) return high;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (stands_before(doc->regs[middle], prefix, path)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

static bool path_equal(weft_path a, weft_path b) { return weft_bytes_cmp(a, b) == 0; }

/* What stands below a path is one run behind it, so its end can be searched like its beginning. */
size_t weft__doc_count(const weft_doc *doc, weft_path path) {
  size_t first = doc_lower(doc, path), low = first, high = doc->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    weft_path p = doc->regs[middle]->reg.path;
    if (path_equal(p, path) || weft_path_under(path, p)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low - first;
}

static doc_entry *doc_at(const weft_doc *doc, size_t idx) {
  return idx < doc->count ? doc->regs[idx] : NULL;
}

const weft_register *weft__doc_seek(const weft_doc *doc, weft_path path) {
  doc_entry *entry = doc_at(doc, doc_lower(doc, path));
  return entry ? &entry->reg : NULL;
}

const weft_register *weft__doc_next(const weft_doc *doc, const weft_register *reg) {
  (void)doc;
  const doc_entry *next = ((const doc_entry *)(const void *)reg)->next;
  return next ? &next->reg : NULL;
}

const weft_register *weft__doc_find(const weft_doc *doc, weft_path path) {
  const weft_register *reg = weft__doc_seek(doc, path);
  return reg && path_equal(reg->path, path) ? reg : NULL;
}

/* Makes room for `more` registers. */
static weft_err doc_widen(weft_doc *doc, size_t more) {
  if (more <= doc->cap - doc->count) return WEFT_OK;
  size_t cap = doc->cap ? doc->cap * 2 : 64, len; /* entries outweigh it: cannot overflow */
  while (cap - doc->count < more) cap *= 2;
  /* defensive: as many pointers do not fit memory either */
  if (!weft__mul_ok(cap, sizeof(doc_entry *), &len)) return WEFT_ENOMEM; /* defensive: 2^61 */
  doc_entry **regs = doc->mem.grow(doc->mem.ctx, doc->regs, len);
  if (!regs) return WEFT_ENOMEM;
  doc->regs = regs;
  doc->cap = cap;
  return WEFT_OK;
}

/* Makes an empty register for `path`, which is not copied, at index `idx`. */
static weft_err doc_insert(weft_doc *doc, size_t idx, weft_path path, doc_entry **out) {
  WEFT_TRY(doc_widen(doc, 1));
  doc_entry *entry = weft__arena_zero(&doc->arena, 1, sizeof *entry);
  if (!entry) return WEFT_ENOMEM;
  entry->reg.path = path;
  entry->prefix = prefix_of(path);
  memmove(doc->regs + idx + 1, doc->regs + idx, (doc->count - idx) * sizeof *doc->regs);
  doc->regs[idx] = entry;
  doc->count++;
  entry->next = doc_at(doc, idx + 1);
  if (idx > 0) doc->regs[idx - 1]->next = entry;
  doc->plain = false;
  *out = entry;
  return WEFT_OK;
}

/* --- loading --- */

static weft_err claims_copy(weft_arena *arena, weft_sibling *s) {
  if (s->claim_count == 0) {
    s->claims = NULL;
    return WEFT_OK;
  }
  weft_bytes bytes = weft_bytes_of(s->claims, s->claim_count * sizeof *s->claims);
  WEFT_TRY(weft__arena_copy(arena, bytes, &bytes));
  s->claims = (const weft_dot *)(const void *)bytes.at;
  return WEFT_OK;
}

static weft_err siblings_copy(weft_arena *arena, weft_sibling **to, const weft_sibling *from,
                              size_t count) {
  weft_sibling *at = weft__arena_zero(arena, count, sizeof *at);
  if (!at) return WEFT_ENOMEM;
  for (size_t i = 0; i < count; i++) {
    at[i] = from[i];
    WEFT_TRY(weft__arena_copy(arena, from[i].value, &at[i].value));
    WEFT_TRY(claims_copy(arena, &at[i]));
  }
  *to = at;
  return WEFT_OK;
}

weft_err weft__doc_put(weft_doc *doc, const weft_register *reg) {
  if (reg->value_count == 0 && reg->position_count == 0) return WEFT_EMISUSE;
  size_t idx = doc_lower(doc, reg->path);
  doc_entry *entry = doc_at(doc, idx);
  if (entry && path_equal(entry->reg.path, reg->path)) return WEFT_EMISUSE;
  weft_sibling *values = NULL, *positions = NULL;
  weft_path path;
  WEFT_TRY(weft__arena_copy(&doc->arena, reg->path, &path));
  WEFT_TRY(siblings_copy(&doc->arena, &values, reg->values, reg->value_count));
  WEFT_TRY(siblings_copy(&doc->arena, &positions, reg->positions, reg->position_count));
  WEFT_TRY(doc_insert(doc, idx, path, &entry));
  entry->reg.values = values;
  entry->reg.value_count = entry->reg.value_cap = reg->value_count;
  entry->reg.positions = positions;
  entry->reg.position_count = entry->reg.position_cap = reg->position_count;
  return WEFT_OK;
}

weft_err weft__doc_borrow(weft_doc *doc, const weft_register *reg) {
  if (reg->value_count == 0 && reg->position_count == 0) return WEFT_EMISUSE;
  size_t idx = doc_lower(doc, reg->path);
  doc_entry *entry = doc_at(doc, idx);
  if (entry && path_equal(entry->reg.path, reg->path)) return WEFT_EMISUSE;
  WEFT_TRY(doc_insert(doc, idx, reg->path, &entry));
  entry->reg = *reg;
  entry->reg.value_cap = reg->value_count;
  entry->reg.position_cap = reg->position_count;
  entry->reg.dirty = false;
  entry->borrowed = true;
  return WEFT_OK;
}

/* Registers behind all that are there go where loads mostly put them, at the end; the others one by
 * one. */
weft_err weft__doc_borrow_run(weft_doc *doc, const weft_register *regs, size_t count) {
  size_t done = 0;
  WEFT_TRY(doc_widen(doc, count));
  doc_entry *entries = weft__arena_take(&doc->arena, count * sizeof *entries);
  if (!entries) return WEFT_ENOMEM;
  doc_entry *last = doc->count > 0 ? doc->regs[doc->count - 1] : NULL;
  for (; done < count; done++) {
    const weft_register *reg = &regs[done];
    uint64_t prefix = prefix_of(reg->path);
    if (reg->value_count + reg->position_count == 0) return WEFT_EMISUSE;
    if (last && !stands_before(last, prefix, reg->path)) break;
    doc_entry *entry = &entries[done];
    *entry = (doc_entry){.reg = *reg, .prefix = prefix, .borrowed = true};
    entry->reg.value_cap = reg->value_count;
    entry->reg.position_cap = reg->position_count;
    entry->reg.dirty = false;
    if (last) last->next = entry;
    doc->regs[doc->count++] = entry;
    doc->plain = false;
    last = entry;
  }
  for (; done < count; done++) WEFT_TRY(weft__doc_borrow(doc, &regs[done]));
  return WEFT_OK;
}

weft_err weft__doc_copy(weft_doc *to, const weft_doc *from) {
  WEFT_ASSERT(to->count == 0);
  for (size_t i = 0; i < from->count; i++) {
    const weft_register *reg = &from->regs[i]->reg;
    if (reg->value_count == 0 && reg->position_count == 0) continue;
    weft_err err = weft__doc_put(to, reg);
    if (err != WEFT_OK) {
      weft__doc_reset(to);
      return err;
    }
  }
  to->plain = from->plain;
  return WEFT_OK;
}

void weft__doc_clean(weft_doc *doc) {
  size_t kept = 0;
  for (size_t i = 0; i < doc->count; i++) {
    doc_entry *entry = doc->regs[i];
    entry->reg.dirty = false;
    if (entry->reg.value_count == 0 && entry->reg.position_count == 0) continue;
    if (kept > 0) doc->regs[kept - 1]->next = entry;
    doc->regs[kept++] = entry;
  }
  if (kept > 0) doc->regs[kept - 1]->next = NULL;
  doc->count = kept;
}

/* --- the join --- */

bool weft__covers(const weft_lineage *l, weft_dot by, const weft_dot *claims, size_t claim_count,
                  weft_dot x) {
  if (by.log == x.log && by.seq == x.seq) return false;
  if (l->precedes(l->ctx, x, by)) return true;
  for (size_t i = 0; i < claim_count; i++) {
    if (l->precedes(l->ctx, x, claims[i])) return true;
  }
  return false;
}

int weft__sibling_cmp(const weft_lineage *l, const weft_sibling *a, const weft_sibling *b) {
  if (a->dot.log == b->dot.log && a->dot.seq == b->dot.seq) return 0;
  if (a->hlc != b->hlc) return a->hlc < b->hlc ? -1 : 1;
  if (WEFT_CANARY(TIE_BY_VALUE)) return weft_bytes_cmp(a->value, b->value);
  return l->rank(l->ctx, a->dot, b->dot);
}

static bool change_covers(const weft_doc *doc, const weft_shown *change, const weft_sibling *s) {
  if (WEFT_CANARY(COVER_NEWER) && s->hlc < change->hlc) return true;
  return weft__covers(&doc->lineage, change->dot, change->claims, change->claim_count, s->dot);
}

/* Makes the lists of a borrowed register its own; the bytes they point to stay the holder's. */
static weft_err entry_own(weft_doc *doc, doc_entry *entry) {
  weft_register *reg = &entry->reg;
  weft_bytes values = weft_bytes_of(reg->values, reg->value_count * sizeof *reg->values);
  weft_bytes positions = weft_bytes_of(reg->positions, reg->position_count * sizeof *reg->values);
  if (!entry->borrowed) return WEFT_OK;
  weft_sibling *at = weft__arena_take(&doc->arena, values.len + positions.len);
  if (!at) return WEFT_ENOMEM;
  if (values.len > 0) memcpy(at, values.at, values.len);
  if (positions.len > 0) memcpy(at + reg->value_count, positions.at, positions.len);
  reg->values = at;
  reg->positions = at + reg->value_count;
  reg->value_cap = reg->value_count;
  reg->value_cap = reg->value_count;
  reg->position_cap = reg->position_count;
  entry->borrowed = false;
  return WEFT_OK;
}

static bool covers_any(const weft_doc *doc, const weft_shown *change, const weft_sibling *list,
                       size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (change_covers(doc, change, &list[i])) return true;
  }
  return false;
}

static void list_drop(const weft_doc *doc, const weft_shown *change, weft_sibling *list,
                      size_t *count) {
  size_t kept = 0;
  for (size_t i = 0; i < *count; i++) {
    if (!change_covers(doc, change, &list[i])) list[kept++] = list[i];
  }
  *count = kept;
}

/* Drops the values (or positions) that `change` covers, keeping the order of the others. */
static weft_err drop_covered(weft_doc *doc, const weft_shown *change, doc_entry *entry,
                             bool positions) {
  weft_register *reg = &entry->reg;
  const weft_sibling *list = positions ? reg->positions : reg->values;
  size_t count = positions ? reg->position_count : reg->value_count;
  if (!covers_any(doc, change, list, count)) return WEFT_OK;
  WEFT_TRY(entry_own(doc, entry));
  if (positions) {
    list_drop(doc, change, reg->positions, &reg->position_count);
  } else {
    list_drop(doc, change, reg->values, &reg->value_count);
  }
  reg->dirty = true;
  return WEFT_OK;
}

static weft_err drop_below(weft_doc *doc, const weft_shown *change, const doc_entry *top) {
  for (doc_entry *e = top->next; e && weft_path_under(top->reg.path, e->reg.path); e = e->next) {
    WEFT_TRY(drop_covered(doc, change, e, false));
    if (!WEFT_CANARY(POSITION_KEPT)) WEFT_TRY(drop_covered(doc, change, e, true));
  }
  return WEFT_OK;
}

static bool covers_below(const weft_doc *doc, const weft_shown *change, const doc_entry *top) {
  for (doc_entry *e = top->next; e && weft_path_under(top->reg.path, e->reg.path); e = e->next) {
    if (covers_any(doc, change, e->reg.values, e->reg.value_count)) return true;
  }
  return false;
}

/* Gives `s` its change's claims, copied once for all siblings of the change. */
static weft_err keep_claims(weft_doc *doc, const weft_shown *change, weft_sibling *s) {
  weft_sibling *shared = &doc->shared;
  if (shared->dot.log != s->dot.log || shared->dot.seq != s->dot.seq) {
    weft_sibling copy = {
        .dot = s->dot, .claims = change->claims, .claim_count = change->claim_count};
    WEFT_TRY(claims_copy(&doc->arena, &copy));
    *shared = copy;
  }
  s->claims = shared->claims;
  s->claim_count = shared->claim_count;
  return WEFT_OK;
}

/* Appends to a list of siblings; almost all stay at one, so room grows from there. */
static weft_err add_sibling(weft_arena *arena, weft_sibling **list, size_t *count, size_t *cap,
                            const weft_sibling *s) {
  if (*cap == 0) {
    *list = weft__arena_take(arena, sizeof **list);
    if (!*list) return WEFT_ENOMEM;
    *cap = 1;
  }
  void *at = *list;
  WEFT_TRY(weft__arena_grow(arena, &at, *count, cap, *count + 1, sizeof **list));
  *list = at;
  (*list)[(*count)++] = *s;
  return WEFT_OK;
}

static weft_err show_value(weft_doc *doc, const weft_shown *change, const weft_op *op,
                           doc_entry *entry) {
  weft_register *reg = &entry->reg;
  weft_sibling s = {.dot = change->dot, .hlc = change->hlc, .kind = op->kind};
  WEFT_TRY(drop_covered(doc, change, entry, false));
  if (op->kind == WEFT_OP_FRESH_OBJECT || op->kind == WEFT_OP_FRESH_ARRAY) {
    WEFT_TRY(drop_below(doc, change, entry));
  } else if (op->kind == WEFT_OP_SCALAR || op->kind == WEFT_OP_UNSET) {
    if (covers_below(doc, change, entry) && !WEFT_CANARY(DROP_HIDE))
      WEFT_TRY(keep_claims(doc, change, &s));
  }
  if (WEFT_CANARY(FOLD_EQUAL) && reg->value_count > 0 &&
      weft_bytes_cmp(reg->values[0].value, op->value) == 0) {
    return WEFT_OK;
  }
  WEFT_TRY(weft__arena_copy(&doc->arena, op->value, &s.value));
  return add_sibling(&doc->arena, &reg->values, &reg->value_count, &reg->value_cap, &s);
}

static weft_err show_position(weft_doc *doc, const weft_shown *change, const weft_op *op,
                              doc_entry *entry) {
  weft_register *reg = &entry->reg;
  weft_sibling s = {.dot = change->dot, .hlc = change->hlc, .kind = WEFT_OP_POSITION};
  WEFT_TRY(drop_covered(doc, change, entry, true));
  WEFT_TRY(weft__arena_copy(&doc->arena, op->position, &s.value));
  return add_sibling(&doc->arena, &reg->positions, &reg->position_count, &reg->position_cap, &s);
}

weft_err weft__doc_show(weft_doc *doc, const weft_shown *change, const weft_op *op) {
  bool lost = WEFT_CANARY(DROP_UNSET) && op->kind == WEFT_OP_UNSET && change->dot.seq % 4 == 0;
  if (lost) return WEFT_OK;
  size_t idx = doc_lower(doc, op->path);
  doc_entry *entry = doc_at(doc, idx);
  if (!entry || !path_equal(entry->reg.path, op->path)) {
    weft_path path;
    WEFT_TRY(weft__arena_copy(&doc->arena, op->path, &path));
    WEFT_TRY(doc_insert(doc, idx, path, &entry));
  }
  entry->reg.dirty = true;
  doc->plain = false;
  if (op->kind != WEFT_OP_POSITION) WEFT_TRY(show_value(doc, change, op, entry));
  if (op->position.len > 0) WEFT_TRY(show_position(doc, change, op, entry));
  return WEFT_OK;
}

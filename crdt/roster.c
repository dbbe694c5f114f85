/* The roster of a space.
 *
 * Entries are kept in order of arrival and never move; `by_id` sorts all of them, `order` the
 * placed ones by (depth, id), which is parents before children.  Adding a record places it when its
 * deps are placed, and then every waiting record that this completes.
 *
 * Depth, and whether a record counts, depend on the records before it alone, and those are all
 * there when it is placed.  So they are settled once, and the answers are the same for every order
 * of arrival.
 *
 * Failure: every array is grown before anything is changed, so an add that fails leaves no trace
 * but unused memory. */
#include "crdt/roster.h"

#include <string.h>

#include "crdt/assert.h"

static const uint32_t none = UINT32_MAX; /* no entry */

typedef struct entry {
  weft_id id;
  weft_id author;
  weft_id subject; /* the device that a GENESIS or ADMIT makes a member */
  weft_role role;
  weft_bytes raw;
  uint32_t deps[WEFT_RECORD_DEPS_MAX]; /* entries; settled when placed */
  uint8_t dep_count;
  uint8_t kind;
  bool critical_unknown; /* an upgrade is needed to judge it, if its author may say so */
  bool judged;           /* of a kind that is known here, so `sound` says something */
  bool sound;            /* body valid, and for an ADMIT both signatures hold */
  bool placed;
  bool counts;
  uint32_t depth;
  uint64_t visit; /* of the last walk that came here */
  uint32_t of;    /* a grant of which is known whether it stands before this one; none */
  bool after;     /* it does */
  bool several;   /* other grants that count make the same device a member */
} entry;

struct weft_roster {
  weft_alloc mem;
  const weft_crypto *crypto;
  weft_id space;
  weft_arena arena; /* bytes of the records */
  weft_bytes space_name;
  bool frozen;
  uint64_t visit;

  entry *entries;
  size_t count;
  size_t cap;      /* of every array below */
  uint32_t *by_id; /* count */
  uint32_t *order; /* placed */
  uint32_t *waits; /* waiting, in order of arrival */
  uint32_t *stack; /* of walks: each entry is pushed once at most */
  weft_id *heads;
  weft_roster_member *members;
  uint32_t *member_entry; /* the grant of each member */
  size_t placed;
  size_t waiting;
  size_t head_count;
  size_t member_count;
};

weft_err weft__roster_new(weft_roster **out, const weft_alloc *mem, const weft_crypto *crypto,
                          const weft_id *space) {
  *out = NULL;
  weft_roster *r = mem->alloc(mem->ctx, sizeof *r);
  if (!r) return WEFT_ENOMEM;
  memset(r, 0, sizeof *r);
  r->mem = *mem;
  r->crypto = crypto;
  r->space = *space;
  weft__arena_init(&r->arena, mem);
  *out = r;
  return WEFT_OK;
}

void weft__roster_free(weft_roster *r) {
  if (!r) return;
  weft_alloc mem = r->mem;
  mem.free(mem.ctx, r->entries);
  mem.free(mem.ctx, r->by_id);
  mem.free(mem.ctx, r->order);
  mem.free(mem.ctx, r->waits);
  mem.free(mem.ctx, r->stack);
  mem.free(mem.ctx, r->heads);
  mem.free(mem.ctx, r->members);
  mem.free(mem.ctx, r->member_entry);
  weft__arena_free(&r->arena);
  mem.free(mem.ctx, r);
}

/* Grows one array to `cap` items; the old one stays good when that fails. */
static weft_err widen(weft_roster *r, void *array, size_t cap, size_t size) {
  void *old, *wide;
  memcpy(&old, array, sizeof old);
  wide = r->mem.grow(r->mem.ctx, old, cap * size);
  if (!wide) return WEFT_ENOMEM;
  memcpy(array, &wide, sizeof wide);
  return WEFT_OK;
}

static weft_err roster_reserve(weft_roster *r) {
  if (r->count < r->cap) return WEFT_OK;
  size_t cap = r->cap ? r->cap * 2 : 16;
  WEFT_TRY(widen(r, &r->entries, cap, sizeof *r->entries));
  WEFT_TRY(widen(r, &r->by_id, cap, sizeof *r->by_id));
  WEFT_TRY(widen(r, &r->order, cap, sizeof *r->order));
  WEFT_TRY(widen(r, &r->waits, cap, sizeof *r->waits));
  WEFT_TRY(widen(r, &r->stack, cap, sizeof *r->stack));
  WEFT_TRY(widen(r, &r->heads, cap, sizeof *r->heads));
  WEFT_TRY(widen(r, &r->members, cap, sizeof *r->members));
  WEFT_TRY(widen(r, &r->member_entry, cap, sizeof *r->member_entry));
  r->cap = cap;
  return WEFT_OK;
}

/* Place of `id` in by_id, or where it would stand. */
static size_t id_place(const weft_roster *r, const weft_id *id) {
  size_t low = 0, high = r->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (weft_id_cmp(&r->entries[r->by_id[middle]].id, id) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

static uint32_t entry_of(const weft_roster *r, const weft_id *id) {
  size_t at = id_place(r, id);
  if (at == r->count || weft_id_cmp(&r->entries[r->by_id[at]].id, id) != 0) return none;
  return r->by_id[at];
}

/* The `idx`-th dep of a held record: ids stand at a fixed place of its envelope. */
static weft_id dep_id(const entry *e, size_t idx) {
  enum { first_dep = 3 + 32 + 32 + 1 };
  weft_id id;
  memcpy(id.b, e->raw.at + first_dep + 32 * idx, sizeof id.b);
  return id;
}

/* True when `a` stands before `b` in the order of (depth, id). */
static bool earlier(const entry *a, const entry *b) {
  if (a->depth != b->depth) return a->depth < b->depth;
  return weft_id_cmp(&a->id, &b->id) < 0;
}

static void insert_u32(uint32_t *array, size_t count, size_t at, uint32_t value) {
  memmove(array + at + 1, array + at, (count - at) * sizeof *array);
  array[at] = value;
}

static size_t order_place(const weft_roster *r, const entry *e) {
  size_t low = 0, high = r->placed;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (earlier(&r->entries[r->order[middle]], e)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

static size_t head_place(const weft_roster *r, const weft_id *id) {
  size_t low = 0, high = r->head_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (weft_id_cmp(&r->heads[middle], id) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

static void head_drop(weft_roster *r, const weft_id *id) {
  size_t at = head_place(r, id);
  if (at == r->head_count || weft_id_cmp(&r->heads[at], id) != 0) return;
  r->head_count--;
  memmove(r->heads + at, r->heads + at + 1, (r->head_count - at) * sizeof *r->heads);
}

static void head_add(weft_roster *r, const weft_id *id) {
  size_t at = head_place(r, id);
  memmove(r->heads + at + 1, r->heads + at, (r->head_count - at) * sizeof *r->heads);
  r->heads[at] = *id;
  r->head_count++;
}

/* Marks the deps of everything on the stack, transitively, with the current visit. */
static void walk(weft_roster *r, size_t top) {
  while (top > 0) {
    const entry *e = &r->entries[r->stack[--top]];
    for (size_t i = 0; i < e->dep_count; i++) {
      entry *dep = &r->entries[e->deps[i]];
      if (dep->visit == r->visit) continue;
      dep->visit = r->visit;
      r->stack[top++] = e->deps[i];
    }
  }
}

/* Goes on to the deps of an entry that may come after `grant`.  True: one is it, or comes after. */
static bool descend(weft_roster *r, const entry *e, uint32_t grant, size_t *queued) {
  for (size_t i = 0; i < e->dep_count; i++) {
    uint32_t at = e->deps[i];
    entry *dep = &r->entries[at];
    if (at == grant || (dep->of == grant && dep->after)) return true;
    bool known = dep->of == grant || dep->visit == r->visit;
    if (known || dep->depth <= r->entries[grant].depth) continue;
    dep->visit = r->visit;
    r->stack[(*queued)++] = at;
  }
  return false;
}

/* True when `grant` stands before entry `at`, whose deps are settled.  What is found is kept, for
 * what stands before an entry never changes: so the records of one author mostly look as far as its
 * last one, and where the answer is no, nothing is walked twice for it. */
static bool comes_after(weft_roster *r, uint32_t at, uint32_t grant) {
  entry *e = &r->entries[at];
  size_t queued = 0;
  r->visit++;
  bool found = descend(r, e, grant, &queued);
  for (size_t i = 0; i < queued && !found; i++) {
    found = descend(r, &r->entries[r->stack[i]], grant, &queued);
  }
  for (size_t i = 0; i < queued && !found; i++) {
    r->entries[r->stack[i]].of = grant;
    r->entries[r->stack[i]].after = false;
  }
  e->of = grant;
  e->after = found;
  return found;
}

static size_t member_place(const weft_roster *r, const weft_id *device) {
  size_t low = 0, high = r->member_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (weft_id_cmp(&r->members[middle].device, device) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/* True when the author is an admin by the records before entry `at`, whose deps are settled. */
static bool author_is_admin(weft_roster *r, uint32_t at) {
  const entry *e = &r->entries[at];
  const entry *root = &r->entries[r->order[0]]; /* stands before everything placed later */
  if (root->counts && weft_id_cmp(&root->subject, &e->author) == 0) return true;
  if (!weft__roster_member_of(r, &e->author)) return false;
  uint32_t only = r->member_entry[member_place(r, &e->author)];
  if (!r->entries[only].several) {
    return r->entries[only].role == WEFT_ROLE_ADMIN && comes_after(r, at, only);
  }
  r->visit++;
  r->stack[0] = at;
  walk(r, 1);
  for (size_t i = 0; i < r->placed; i++) {
    const entry *grant = &r->entries[r->order[i]];
    if (!grant->counts || grant->visit != r->visit) continue;
    if (weft_id_cmp(&grant->subject, &e->author) == 0) return grant->role == WEFT_ROLE_ADMIN;
  }
  return false;
}

/* Makes the subject of a grant a member by it, unless an earlier one did. */
static void member_put(weft_roster *r, uint32_t at) {
  const entry *e = &r->entries[at];
  size_t place = member_place(r, &e->subject);
  bool known = place < r->member_count && weft_id_cmp(&r->members[place].device, &e->subject) == 0;
  if (known) r->entries[at].several = r->entries[r->member_entry[place]].several = true;
  if (known && earlier(&r->entries[r->member_entry[place]], e)) return;
  weft_record record;
  weft_err err = weft__record_parse(&record, r->crypto, e->raw);
  WEFT_ASSERT(err == WEFT_OK);
  bool root = e->kind == WEFT_RECORD_GENESIS;
  weft_roster_member member = {
      .device = e->subject,
      .x_public = root ? record.genesis.x_public : record.admit.redeem.x_public,
      .name = root ? record.genesis.name : record.admit.name,
      .role = e->role,
      .admitted_by = e->author,
      .grant = e->id,
  };
  if (root) r->space_name = record.genesis.space_name;
  if (!known) {
    size_t behind = r->member_count - place;
    memmove(r->members + place + 1, r->members + place, behind * sizeof member);
    insert_u32(r->member_entry, r->member_count, place, at);
    r->member_count++;
  }
  r->members[place] = member;
  r->member_entry[place] = at;
}

static bool ready(const weft_roster *r, const entry *e) {
  for (size_t i = 0; i < e->dep_count; i++) {
    weft_id id = dep_id(e, i);
    uint32_t dep = entry_of(r, &id);
    if (dep == none || !r->entries[dep].placed) return false;
  }
  return true;
}

static void place(weft_roster *r, uint32_t at) {
  entry *e = &r->entries[at];
  for (size_t i = 0; i < e->dep_count; i++) {
    weft_id id = dep_id(e, i);
    e->deps[i] = entry_of(r, &id);
    WEFT_ASSERT(e->deps[i] != none);
    uint32_t depth = r->entries[e->deps[i]].depth + 1;
    if (depth > e->depth) e->depth = depth;
    head_drop(r, &id);
  }
  head_add(r, &e->id);
  if (e->kind == WEFT_RECORD_GENESIS) {
    e->counts = e->sound;
    r->frozen = e->critical_unknown; /* the first record placed */
  } else {
    e->counts = e->sound && author_is_admin(r, at);
    if (e->critical_unknown && author_is_admin(r, at)) r->frozen = true;
  }
  insert_u32(r->order, r->placed, order_place(r, e), at);
  r->placed++;
  e->placed = true;
  if (e->counts) member_put(r, at);
}

/* Places what waits, as long as something can be placed. */
static void place_waiting(weft_roster *r) {
  bool again = true;
  while (again) {
    again = false;
    for (size_t i = r->waiting; i > 0; i--) {
      uint32_t at = r->waits[i - 1];
      if (!ready(r, &r->entries[at])) continue;
      r->waiting--;
      memmove(r->waits + i - 1, r->waits + i, (r->waiting - (i - 1)) * sizeof *r->waits);
      place(r, at);
      again = true;
    }
  }
}

static entry entry_from(const weft_record *record, bool sound) {
  entry e;
  memset(&e, 0, sizeof e);
  e.of = none;
  e.id = record->id;
  e.author = record->author;
  e.dep_count = (uint8_t)record->dep_count;
  e.kind = record->kind;
  e.raw = record->raw;
  bool critical = record->flags & WEFT_RECORD_CRITICAL;
  e.critical_unknown = critical && record->state == WEFT_RECORD_UNKNOWN;
  if (record->state != WEFT_RECORD_VALID) return e;
  e.judged = true;
  e.sound = sound;
  bool root = record->kind == WEFT_RECORD_GENESIS;
  e.subject = root ? record->author : record->admit.redeem.device;
  e.role = root ? WEFT_ROLE_ADMIN : record->admit.role;
  return e;
}

/* What a record says holds: the signatures within an ADMIT, besides the one around it. */
static bool is_sound(const weft_roster *r, const weft_record *record) {
  if (record->state != WEFT_RECORD_VALID) return false;
  if (record->kind == WEFT_RECORD_GENESIS) return true;
  return weft__redeem_check(&record->admit.redeem, r->crypto, &r->space) == WEFT_OK;
}

static bool belongs(const weft_roster *r, const weft_record *record) {
  bool root = record->kind == WEFT_RECORD_GENESIS;
  return weft_id_cmp(root ? &record->id : &record->space, &r->space) == 0;
}

/* Takes a record whose signature holds. */
static weft_err take(weft_roster *r, const weft_record *record, bool sound) {
  if (r->count == WEFT_ROSTER_RECORDS_MAX) return WEFT_ELIMIT;
  entry e = entry_from(record, sound);
  bool now = ready(r, &e);
  if (!now && r->waiting == WEFT_ROSTER_WAITING_MAX) return WEFT_EAGAIN;
  WEFT_TRY(roster_reserve(r));
  WEFT_TRY(weft__arena_copy(&r->arena, record->raw, &e.raw));
  uint32_t at = (uint32_t)r->count;
  r->entries[at] = e;
  insert_u32(r->by_id, r->count, id_place(r, &e.id), at);
  r->count++;
  if (now) {
    place(r, at);
    place_waiting(r);
  } else {
    r->waits[r->waiting++] = at;
  }
  return WEFT_OK;
}

weft_err weft__roster_add(weft_roster *r, weft_bytes record, bool *fresh) {
  if (fresh) *fresh = false;
  weft_record parsed;
  WEFT_TRY(weft__record_parse(&parsed, r->crypto, record));
  if (!belongs(r, &parsed)) return WEFT_EFOREIGN;
  if (entry_of(r, &parsed.id) != none) return WEFT_OK;
  WEFT_TRY(weft__record_verify(&parsed, r->crypto));
  WEFT_TRY(take(r, &parsed, is_sound(r, &parsed)));
  if (fresh) *fresh = true;
  return WEFT_OK;
}

weft_err weft__roster_restore(weft_roster *r, weft_bytes record, weft_roster_verdict verdict) {
  weft_record parsed;
  WEFT_TRY(weft__record_parse(&parsed, r->crypto, record));
  bool judged = verdict != WEFT_ROSTER_UNJUDGED && parsed.state == WEFT_RECORD_VALID;
  if (!judged) return weft__roster_add(r, record, NULL);
  if (!belongs(r, &parsed)) return WEFT_EFOREIGN;
  if (entry_of(r, &parsed.id) != none) return WEFT_OK;
  return take(r, &parsed, verdict == WEFT_ROSTER_SOUND);
}

weft_roster_verdict weft__roster_verdict(const weft_roster *r, const weft_id *id) {
  uint32_t at = entry_of(r, id);
  WEFT_ASSERT(at != none);
  if (!r->entries[at].judged) return WEFT_ROSTER_UNJUDGED;
  return r->entries[at].sound ? WEFT_ROSTER_SOUND : WEFT_ROSTER_UNSOUND;
}

void weft__roster_members(const weft_roster *r, const weft_roster_member **members, size_t *count) {
  *members = r->members;
  *count = r->member_count;
}

const weft_roster_member *weft__roster_member_of(const weft_roster *r, const weft_id *device) {
  size_t at = member_place(r, device);
  if (at == r->member_count || weft_id_cmp(&r->members[at].device, device) != 0) return NULL;
  return &r->members[at];
}

bool weft__roster_grants(const weft_roster *r, const weft_id *grant, const weft_id *device) {
  uint32_t at = entry_of(r, grant);
  return at != none && r->entries[at].counts && weft_id_cmp(&r->entries[at].subject, device) == 0;
}

bool weft__roster_frozen(const weft_roster *r) { return r->frozen; }

weft_bytes weft__roster_space_name(const weft_roster *r) { return r->space_name; }

void weft__roster_heads(const weft_roster *r, const weft_id **heads, size_t *count) {
  *heads = r->heads;
  *count = r->head_count;
}

void weft__roster_root(const weft_roster *r, uint8_t root[16]) {
  memset(root, 0, 16);
  if (r->head_count == 0) return;
  weft_bytes part = weft_bytes_of(r->heads, r->head_count * sizeof *r->heads);
  r->crypto->hash(root, 16, weft_bytes_of(NULL, 0), NULL, NULL, &part, 1);
}

size_t weft__roster_count(const weft_roster *r) { return r->placed; }

size_t weft__roster_waiting(const weft_roster *r) { return r->waiting; }

weft_bytes weft__roster_record_at(const weft_roster *r, size_t idx) {
  WEFT_ASSERT(idx < r->placed);
  return r->entries[r->order[idx]].raw;
}

weft_bytes weft__roster_record(const weft_roster *r, const weft_id *id) {
  uint32_t at = entry_of(r, id);
  return at == none ? weft_bytes_of(NULL, 0) : r->entries[at].raw;
}

/* Keeps the `cap` least ids, ascending, once each. */
static size_t keep_least(weft_id *ids, size_t count, size_t cap, const weft_id *id) {
  size_t at = count;
  while (at > 0 && weft_id_cmp(&ids[at - 1], id) > 0) at--;
  if (at > 0 && weft_id_cmp(&ids[at - 1], id) == 0) return count;
  if (at == cap) return count;
  size_t kept = count < cap ? count : cap - 1;
  memmove(ids + at + 1, ids + at, (kept - at) * sizeof *ids);
  ids[at] = *id;
  return kept + 1;
}

size_t weft__roster_missing(const weft_roster *r, weft_id *ids, size_t cap) {
  size_t count = 0;
  if (entry_of(r, &r->space) == none) count = keep_least(ids, count, cap, &r->space);
  for (size_t i = 0; i < r->waiting; i++) {
    const entry *e = &r->entries[r->waits[i]];
    for (size_t k = 0; k < e->dep_count; k++) {
      weft_id id = dep_id(e, k);
      if (entry_of(r, &id) == none) count = keep_least(ids, count, cap, &id);
    }
  }
  return count;
}

weft_err weft__roster_beyond(weft_roster *r, const weft_id *known, size_t known_count,
                             weft_arena *arena, weft_bytes **records, size_t *count) {
  *records = NULL;
  *count = 0;
  weft_bytes *list = weft__arena_zero(arena, r->placed, sizeof *list);
  if (!list) return WEFT_ENOMEM;
  r->visit++;
  size_t top = 0, used = 0;
  for (size_t i = 0; i < known_count; i++) {
    uint32_t at = entry_of(r, &known[i]);
    if (at == none || !r->entries[at].placed || r->entries[at].visit == r->visit) continue;
    r->entries[at].visit = r->visit;
    r->stack[top++] = at;
  }
  walk(r, top);
  for (size_t i = 0; i < r->placed; i++) {
    const entry *e = &r->entries[r->order[i]];
    if (e->visit != r->visit) list[used++] = e->raw;
  }
  *records = list;
  *count = used;
  return WEFT_OK;
}

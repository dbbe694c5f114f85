/* Presence.
 *
 * A table holds the newest statement of each device, our own among them, ascending by device.  Each
 * link remembers which counter of each device it has carried, either way; what is newer here goes
 * out.  So everybody ends with the newest statement of everybody, in any order of arrival.
 *
 * Invariants: an entry's counter never falls; an entry with a body ends at `until`, which is never
 * later than the life of the newest statement after it was made, but for what links delayed it; of
 * a body that ended only the counter is kept, so that nobody can show it once more.
 *
 * Happy path: set, sign, next on every link; take, next on the links whose peers do not hear that
 * device themselves.  Failure modes: a device that lost its clock signs with a counter that the
 * others have passed; they answer with what they have, and it goes on above that, at most once a
 * second, since two copies of one device would do so for ever.  Without memory an update is lost,
 * and the next heartbeat brings it. */
#include "net/presence.h"

#include <string.h>

#include "crdt/assert.h"
#include "crdt/canary.h"
#include "crdt/limits.h"
#include "crdt/path.h"
#include "crdt/record.h"
#include "crdt/value.h"

enum {
  frame_len = 15 << 10, /* of statements: a control frame with room for the rest */
  state_depth_max = 32, /* and what wraps it stays within what a receiver takes */
  statement_len = 149,  /* of one without its body, at most */
  body_empty = 0x90,    /* msgpack of no sessions */
  overdue_ms = 2000,    /* for who hears a device to tell of it, as they did before */
  overtaken_ms = 1000,  /* between two steps above a counter of ours that others told */
  events_len_max = 1 << 20
};

static const char label[] = "weft-v1 presence";
enum { label_len = sizeof label - 1, message_len = label_len + 32 + 32 + 8 + 4 + 16 };

typedef struct own_session {
  weft_bytes doc, session, state; /* one piece of memory, which begins at doc.at */
  weft_ms until;                  /* WEFT_NEVER: until it leaves */
} own_session;

typedef struct entry {
  weft_id device;
  uint64_t counter;
  weft_ms until; /* with a body: when its sessions are gone */
  weft_ms taken;
  weft_bytes body; /* owned; empty: gone */
  uint32_t life_ms;
  uint8_t digest[16];
  weft_sig sig;
} entry;

typedef struct carried {
  weft_id device;
  uint64_t counter;
  bool behind; /* the peer said it when we knew better */
} carried;

typedef struct link {
  uint64_t conn;
  weft_id device;
  carried *at; /* ascending by device */
  size_t count, cap;
  weft_msg_direct *direct; /* devices that the peer hears itself */
  size_t direct_count;
  uint64_t seen; /* the table's generation of which it lacks nothing */
  uint64_t said; /* generation of our links that it was told */
  weft_ms next_at;
} link;

struct weft_presence {
  weft_alloc mem;
  weft_presence_options o;
  own_session own[WEFT_PRESENCE_SESSIONS_MAX]; /* ascending by document and session */
  size_t own_count;
  bool changed; /* a statement is to be made */
  weft_ms sign_at;
  weft_ms signed_at;
  uint64_t counter; /* of our last statement, or what others told of it */
  entry *entries;
  size_t count, cap;
  size_t live;         /* entries with sessions */
  uint64_t generation; /* moves with every entry */
  link *links;         /* ascending by conn */
  size_t link_count, link_cap;
  uint64_t links_generation;
  weft_buf events;
  size_t events_read;
};

/* --- memory --- */

static void drop(weft_presence *p, weft_bytes *bytes) {
  union {
    const uint8_t *shown;
    void *owned;
  } at = {bytes->at};
  if (bytes->len) p->mem.free(p->mem.ctx, at.owned);
  *bytes = weft_bytes_of(NULL, 0);
}

static weft_err copy_of(weft_presence *p, weft_bytes bytes, weft_bytes *copy) {
  *copy = weft_bytes_of(NULL, 0);
  if (bytes.len == 0) return WEFT_OK;
  uint8_t *at = p->mem.alloc(p->mem.ctx, bytes.len);
  if (!at) return WEFT_ENOMEM;
  memcpy(at, bytes.at, bytes.len);
  *copy = weft_bytes_of(at, bytes.len);
  return WEFT_OK;
}

static weft_err reserve(weft_presence *p, void **at, size_t *cap, size_t need, size_t size) {
  if (need <= *cap) return WEFT_OK;
  size_t wide = *cap ? *cap * 2 : 8;
  void *grown = p->mem.grow(p->mem.ctx, *at, wide * size);
  if (!grown) return WEFT_ENOMEM;
  *at = grown;
  *cap = wide;
  return WEFT_OK;
}

weft_err weft__presence_new(weft_presence **out, const weft_presence_options *o) {
  *out = NULL;
  weft_presence *p = o->mem.alloc(o->mem.ctx, sizeof *p);
  if (!p) return WEFT_ENOMEM;
  memset(p, 0, sizeof *p);
  p->mem = o->mem;
  p->o = *o;
  if (p->o.gone_ms > WEFT_PRESENCE_LIFE_MS_MAX) p->o.gone_ms = WEFT_PRESENCE_LIFE_MS_MAX;
  if (p->o.heartbeat_ms > p->o.gone_ms / 3) p->o.heartbeat_ms = p->o.gone_ms / 3;
  p->generation = p->links_generation = 1;
  weft__buf_init(&p->events, &p->mem, events_len_max);
  *out = p;
  return WEFT_OK;
}

static void own_free(weft_presence *p, const own_session *s) {
  union {
    const uint8_t *shown;
    void *owned;
  } at = {s->doc.at};
  p->mem.free(p->mem.ctx, at.owned);
}

static void link_free(weft_presence *p, link *l) {
  p->mem.free(p->mem.ctx, l->at);
  p->mem.free(p->mem.ctx, l->direct);
}

void weft__presence_free(weft_presence *p) {
  if (!p) return;
  for (size_t i = 0; i < p->own_count; i++) own_free(p, &p->own[i]);
  for (size_t i = 0; i < p->count; i++) drop(p, &p->entries[i].body);
  for (size_t i = 0; i < p->link_count; i++) link_free(p, &p->links[i]);
  weft__buf_free(&p->events);
  p->mem.free(p->mem.ctx, p->entries);
  p->mem.free(p->mem.ctx, p->links);
  p->mem.free(p->mem.ctx, p);
}

/* --- bodies --- */

static int names_cmp(weft_bytes doc, weft_bytes session, weft_bytes doc2, weft_bytes session2) {
  int order = weft_bytes_cmp(doc, doc2);
  return order ? order : weft_bytes_cmp(session, session2);
}

static bool item_read(const weft_value *v, weft_presence_item *out) {
  if (v->kind != WEFT_ARRAY || v->as.array.count < 3) return false;
  const weft_value *at = v->as.array.at;
  if (at[0].kind != WEFT_STRING || at[1].kind != WEFT_STRING) return false;
  *out = (weft_presence_item){at[0].as.bytes, at[1].as.bytes, at[2]};
  return out->doc.len <= WEFT_NAME_LEN_MAX && out->session.len > 0 &&
         out->session.len <= WEFT_PRESENCE_SESSION_LEN_MAX;
}

weft_err weft__presence_body_read(weft_arena *arena, weft_bytes body, weft_presence_item **out,
                                  size_t *count) {
  weft_value v;
  weft_presence_item items[WEFT_PRESENCE_SESSIONS_MAX];
  weft_err err = weft__value_decode(arena, body, &v);
  if (err != WEFT_OK) return err == WEFT_ENOMEM ? err : WEFT_EMALFORMED;
  if (v.kind != WEFT_ARRAY || v.as.array.count > WEFT_PRESENCE_SESSIONS_MAX) return WEFT_EMALFORMED;
  for (size_t i = 0; i < v.as.array.count; i++) {
    if (!item_read(&v.as.array.at[i], &items[i])) return WEFT_EMALFORMED;
    bool ascends = i == 0 || names_cmp(items[i - 1].doc, items[i - 1].session, items[i].doc,
                                       items[i].session) < 0;
    if (!ascends) return WEFT_EMALFORMED;
  }
  weft_presence_item *at = weft__arena_zero(arena, v.as.array.count, sizeof *at);
  if (!at) return WEFT_ENOMEM;
  if (v.as.array.count) memcpy(at, items, v.as.array.count * sizeof *at);
  *out = at;
  *count = v.as.array.count;
  return WEFT_OK;
}

/* Writes the body of our own sessions.  The states are encoded values already, so the arrays around
 * them are written by hand, in msgpack's shortest form. */
static void body_write(weft_presence *p, weft_buf *out) {
  if (p->own_count < 16) {
    weft__buf_u8(out, (uint8_t)(body_empty | p->own_count));
  } else {
    weft__buf_u8(out, 0xdc);
    weft__buf_u16(out, (uint16_t)p->own_count);
  }
  for (size_t i = 0; i < p->own_count; i++) {
    const own_session *s = &p->own[i];
    weft_value doc = {.kind = WEFT_STRING, .as = {.bytes = s->doc}};
    weft_value session = {.kind = WEFT_STRING, .as = {.bytes = s->session}};
    weft__buf_u8(out, 0x93);
    weft__scalar_encode(out, &doc);
    weft__scalar_encode(out, &session);
    weft__buf_put(out, s->state);
  }
}

static void digest_of(const weft_presence *p, weft_bytes body, uint8_t out[16]) {
  p->o.crypto->hash(out, 16, weft_bytes_of(NULL, 0), NULL, NULL, &body, 1);
}

static weft_bytes message_of(uint8_t out[message_len], const weft_presence *p,
                             const weft_msg_statement *s) {
  memcpy(out, label, label_len);
  uint8_t *to = out + label_len;
  memcpy(to, p->o.space.b, 32);
  memcpy(to + 32, s->device.b, 32);
  for (unsigned i = 0; i < 8; i++) to[64 + i] = (uint8_t)(s->counter >> (56 - 8 * i));
  for (unsigned i = 0; i < 4; i++) to[72 + i] = (uint8_t)(s->life_ms >> (24 - 8 * i));
  memcpy(to + 76, s->digest, 16);
  return weft_bytes_of(out, message_len);
}

/* --- what happened --- */

static void event_add(weft_presence *p, weft_node_note kind, const weft_id *device,
                      const weft_presence_item *item) {
  size_t before = p->events.len;
  if (weft__buf_err(&p->events) != WEFT_OK) return;
  weft__buf_u8(&p->events, (uint8_t)kind);
  weft__buf_put_raw(&p->events, device->b, sizeof device->b);
  weft__buf_block(&p->events, item->doc);
  weft__buf_block(&p->events, item->session);
  if (weft__buf_err(&p->events) == WEFT_OK) return;
  p->events.err = WEFT_OK;
  p->events.len = before;
}

/* What leads from one body of a device to the next; either may be empty. */
static void events_between(weft_presence *p, const weft_id *device, weft_bytes old,
                           weft_bytes now) {
  static const weft_presence_item none;
  weft_arena arena;
  weft_presence_item *a = NULL, *b = NULL;
  size_t a_count = 0, b_count = 0;
  weft__arena_init(&arena, &p->mem);
  bool ok = (old.len == 0 || weft__presence_body_read(&arena, old, &a, &a_count) == WEFT_OK) &&
            (now.len == 0 || weft__presence_body_read(&arena, now, &b, &b_count) == WEFT_OK);
  for (size_t i = 0, k = 0; ok && (i < a_count || k < b_count);) {
    const weft_presence_item *x = i < a_count ? &a[i] : &none;
    const weft_presence_item *y = k < b_count ? &b[k] : &none;
    int order = i == a_count   ? 1
                : k == b_count ? -1
                               : names_cmp(x->doc, x->session, y->doc, y->session);
    if (order < 0) event_add(p, WEFT_NOTE_LEFT, device, x);
    if (order > 0) event_add(p, WEFT_NOTE_JOINED, device, y);
    if (order == 0 && !weft_value_equal(&x->state, &y->state)) {
      event_add(p, WEFT_NOTE_UPDATED, device, y);
    }
    i += order <= 0;
    k += order >= 0;
  }
  weft__arena_free(&arena);
}

bool weft__presence_event_next(weft_presence *p, weft_presence_event *out) {
  if (p->events_read == p->events.len) {
    weft__buf_reset(&p->events);
    p->events_read = 0;
    return false;
  }
  weft_rd r =
      weft__rd(weft_bytes_of(p->events.at + p->events_read, p->events.len - p->events_read));
  out->kind = (weft_node_note)weft__rd_u8(&r);
  out->device = weft__rd_id(&r);
  out->doc = weft__rd_block(&r);
  out->session = weft__rd_block(&r);
  WEFT_ASSERT(!r.failed);
  p->events_read = p->events.len - weft__rd_left(&r);
  return true;
}

/* --- the table --- */

static size_t place_of(const weft_presence *p, const weft_id *device) {
  size_t low = 0, high = p->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (weft_id_cmp(&p->entries[middle].device, device) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static entry *entry_of(const weft_presence *p, const weft_id *device) {
  size_t place = place_of(p, device);
  bool there = place < p->count && weft_id_cmp(&p->entries[place].device, device) == 0;
  return there ? &p->entries[place] : NULL;
}

/* A full table gives up the device that has been gone the longest. */
static bool make_room(weft_presence *p) {
  if (p->count < WEFT_PRESENCE_DEVICES_MAX) return true;
  WEFT_ASSERT(p->entries);
  entry *oldest = NULL;
  for (size_t i = 0; i < p->count; i++) {
    entry *e = &p->entries[i];
    bool candidate = e->body.len == 0 && weft_id_cmp(&e->device, &p->o.identity->device) != 0;
    if (candidate && (!oldest || e->until < oldest->until)) oldest = e;
  }
  if (!oldest) return false;
  size_t at = (size_t)(oldest - p->entries);
  memmove(oldest, oldest + 1, (p->count - at - 1) * sizeof *oldest);
  p->count--;
  return true;
}

static weft_err entry_make(weft_presence *p, const weft_id *device, entry **out) {
  *out = entry_of(p, device);
  if (*out) return WEFT_OK;
  if (!make_room(p)) return WEFT_ELIMIT;
  void *at = p->entries;
  WEFT_TRY(reserve(p, &at, &p->cap, p->count + 1, sizeof *p->entries));
  p->entries = at;
  size_t place = place_of(p, device);
  memmove(p->entries + place + 1, p->entries + place, (p->count - place) * sizeof *p->entries);
  p->entries[place] = (entry){.device = *device};
  p->count++;
  *out = &p->entries[place];
  return WEFT_OK;
}

static bool has_sessions(weft_bytes body) { return body.len > 1; }

/* The entry says from now on what `s` says; takes `body`. */
static void entry_put(weft_presence *p, weft_ms now, entry *e, const weft_msg_statement *s,
                      weft_bytes body, weft_ms until) {
  events_between(p, &e->device, e->body, body);
  p->live += has_sessions(body);
  p->live -= has_sessions(e->body);
  drop(p, &e->body);
  e->body = body;
  e->counter = s->counter;
  e->life_ms = s->life_ms;
  e->until = until;
  e->taken = now;
  memcpy(e->digest, s->digest, sizeof e->digest);
  e->sig = s->sig;
  p->generation++;
}

static void entry_end(weft_presence *p, entry *e) {
  events_between(p, &e->device, e->body, weft_bytes_of(NULL, 0));
  p->live -= has_sessions(e->body);
  drop(p, &e->body);
}

/* --- own sessions --- */

static size_t own_place(const weft_presence *p, weft_bytes doc, weft_bytes session) {
  size_t i = 0;
  while (i < p->own_count && names_cmp(p->own[i].doc, p->own[i].session, doc, session) < 0) {
    i++;
  }
  return i;
}

static own_session *own_of(weft_presence *p, weft_bytes doc, weft_bytes session) {
  size_t i = own_place(p, doc, session);
  bool there = i < p->own_count && names_cmp(p->own[i].doc, p->own[i].session, doc, session) == 0;
  return there ? &p->own[i] : NULL;
}

static void own_changed(weft_presence *p, weft_ms now) {
  weft_ms earliest = p->signed_at ? p->signed_at + p->o.update_ms : now;
  weft_ms at = earliest > now ? earliest : now;
  if (!p->changed || at < p->sign_at) p->sign_at = at;
  p->changed = true;
}

static void own_remove(weft_presence *p, weft_ms now, own_session *s) {
  size_t at = (size_t)(s - p->own);
  own_free(p, s);
  memmove(s, s + 1, (p->own_count - at - 1) * sizeof *s);
  p->own_count--;
  own_changed(p, now);
}

static weft_err session_check(const weft_presence_session *s) {
  if (!weft__label_ok(s->session, WEFT_PRESENCE_SESSION_LEN_MAX)) return WEFT_EBADVALUE;
  if (s->doc.len) WEFT_TRY(weft_document_name_check(s->doc));
  return s->state ? weft_value_check(s->state) : WEFT_OK;
}

/* Bytes of all sessions but `without`, and of what follows, in a body. */
static size_t body_len(const weft_presence *p, const own_session *without) {
  size_t len = 3;
  for (size_t i = 0; i < p->own_count; i++) {
    const own_session *s = &p->own[i];
    if (s != without) len += 7 + s->doc.len + s->session.len + s->state.len;
  }
  return len;
}

static weft_err own_make(weft_presence *p, const weft_presence_session *s, own_session *out) {
  weft_value none = {.kind = WEFT_NULL};
  weft_buf b;
  weft__buf_init(&b, &p->mem,
                 WEFT_NAME_LEN_MAX + WEFT_PRESENCE_SESSION_LEN_MAX + WEFT_PRESENCE_STATE_LEN_MAX);
  weft__buf_put(&b, s->doc);
  weft__buf_put(&b, s->session);
  size_t names = b.len;
  weft__value_encode(&b, s->state ? s->state : &none);
  weft_err err = weft__buf_err(&b);
  if (err == WEFT_OK && b.len - names > WEFT_PRESENCE_STATE_LEN_MAX) err = WEFT_ELIMIT;
  weft_bytes state = weft_bytes_of(b.at + names, b.len - names);
  if (err == WEFT_OK) err = weft__msgpack_check(state, state_depth_max, SIZE_MAX);
  if (err != WEFT_OK) {
    weft__buf_free(&b);
    return err;
  }
  /* The buffer's memory becomes the session's: it is of the same allocator. */
  out->doc = weft_bytes_of(b.at, s->doc.len);
  out->session = weft_bytes_of(b.at + s->doc.len, s->session.len);
  out->state = state;
  return WEFT_OK;
}

weft_err weft__presence_set(weft_presence *p, weft_ms now, const weft_presence_session *s) {
  own_session made;
  WEFT_TRY(session_check(s));
  WEFT_TRY(own_make(p, s, &made));
  made.until = s->ttl_ms ? now + s->ttl_ms : WEFT_NEVER;
  own_session *old = own_of(p, s->doc, s->session);
  size_t len = body_len(p, old) + 7 + s->doc.len + s->session.len + made.state.len;
  if (len > WEFT_PRESENCE_BODY_LEN_MAX || (!old && p->own_count == WEFT_PRESENCE_SESSIONS_MAX)) {
    own_free(p, &made);
    return WEFT_ELIMIT;
  }
  if (old) {
    if (weft_bytes_cmp(old->state, made.state) != 0) own_changed(p, now);
    own_free(p, old);
    *old = made;
    return WEFT_OK;
  }
  size_t at = own_place(p, s->doc, s->session);
  memmove(p->own + at + 1, p->own + at, (p->own_count - at) * sizeof *p->own);
  p->own[at] = made;
  p->own_count++;
  own_changed(p, now);
  return WEFT_OK;
}

weft_err weft__presence_leave(weft_presence *p, weft_ms now, weft_bytes session, weft_bytes doc) {
  own_session *s = own_of(p, doc, session);
  if (!s) return WEFT_ENOTFOUND;
  own_remove(p, now, s);
  return WEFT_OK;
}

/* Makes our statement.  Without memory it is tried again a little later. */
static void own_sign(weft_presence *p, weft_ms now, uint64_t clock) {
  const weft_identity *me = p->o.identity;
  weft_msg_statement s = {.device = me->device, .life_ms = p->o.gone_ms};
  uint8_t message[message_len];
  entry *e;
  weft_buf b;
  weft_bytes body = weft_bytes_of(NULL, 0);
  weft__buf_init(&b, &p->mem, WEFT_PRESENCE_BODY_LEN_MAX);
  body_write(p, &b);
  weft_err err = weft__buf_err(&b);
  if (err == WEFT_OK) err = entry_make(p, &me->device, &e);
  if (err == WEFT_OK) err = copy_of(p, weft__buf_view(&b), &body);
  weft__buf_free(&b);
  if (err != WEFT_OK) {
    p->sign_at = now + overtaken_ms;
    return;
  }
  s.counter = p->counter = clock > p->counter ? clock : p->counter + 1;
  digest_of(p, body, s.digest);
  p->o.crypto->sign(&s.sig, &me->sign_seed, &me->device, message_of(message, p, &s));
  p->changed = false;
  p->signed_at = now;
  entry_put(p, now, e, &s, body, now + p->o.gone_ms);
}

void weft__presence_leave_all(weft_presence *p, weft_ms now, uint64_t clock) {
  if (p->own_count == 0) return;
  while (p->own_count) own_remove(p, now, &p->own[p->own_count - 1]);
  own_sign(p, now, clock);
  for (size_t i = 0; i < p->link_count; i++) p->links[i].next_at = now;
}

/* --- links --- */

static link *link_of(const weft_presence *p, uint64_t conn) {
  size_t low = 0, high = p->link_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (p->links[middle].conn < conn)
      low = middle + 1;
    else
      high = middle;
  }
  return low < p->link_count && p->links[low].conn == conn ? &p->links[low] : NULL;
}

void weft__presence_link_up(weft_presence *p, uint64_t conn, const weft_id *device) {
  void *at = p->links;
  if (reserve(p, &at, &p->link_cap, p->link_count + 1, sizeof *p->links) != WEFT_OK) return;
  p->links = at;
  size_t place = p->link_count;
  while (place > 0 && p->links[place - 1].conn > conn) place--;
  memmove(p->links + place + 1, p->links + place, (p->link_count - place) * sizeof *p->links);
  p->links[place] = (link){.conn = conn, .device = *device};
  p->link_count++;
  p->links_generation++;
}

void weft__presence_link_down(weft_presence *p, uint64_t conn) {
  link *l = link_of(p, conn);
  if (!l) return;
  link_free(p, l);
  memmove(l, l + 1, (p->link_count - (size_t)(l - p->links) - 1) * sizeof *l);
  p->link_count--;
  p->links_generation++;
}

static size_t carried_place(const link *l, const weft_id *device) {
  size_t low = 0, high = l->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (weft_id_cmp(&l->at[middle].device, device) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static carried carried_of(const link *l, const weft_id *device) {
  static const carried nothing;
  size_t place = carried_place(l, device);
  bool there = place < l->count && weft_id_cmp(&l->at[place].device, device) == 0;
  return there ? l->at[place] : nothing;
}

/* What cannot be noted is carried again before long. */
static void carried_put(weft_presence *p, link *l, const weft_id *device, uint64_t counter,
                        bool behind) {
  size_t place = carried_place(l, device);
  l->seen = 0;
  if (place < l->count && weft_id_cmp(&l->at[place].device, device) == 0) {
    l->at[place].counter = counter;
    l->at[place].behind = behind;
    return;
  }
  void *at = l->at;
  bool full = l->count == 2 * WEFT_PRESENCE_DEVICES_MAX;
  if (full || reserve(p, &at, &l->cap, l->count + 1, sizeof *l->at) != WEFT_OK) return;
  l->at = at;
  memmove(l->at + place + 1, l->at + place, (l->count - place) * sizeof *l->at);
  l->at[place] = (carried){*device, counter, behind};
  l->count++;
}

/* A statement of our own device that is newer than ours: of a life whose clock was ahead. */
static void overtaken(weft_presence *p, weft_ms now, uint64_t counter) {
  if (counter == UINT64_MAX) return; /* nothing can follow it, and no clock ever gave it */
  p->counter = counter;
  if (p->changed) return;
  p->changed = true;
  p->sign_at = now + overtaken_ms;
}

static weft_err statement_check(weft_presence *p, weft_arena *arena, const weft_msg_statement *s) {
  weft_presence_item *items;
  size_t count;
  uint8_t digest[16], message[message_len];
  if (s->body.len) {
    WEFT_TRY(weft__presence_body_read(arena, s->body, &items, &count));
    digest_of(p, s->body, digest);
    if (memcmp(digest, s->digest, sizeof digest) != 0) return WEFT_EMALFORMED;
  }
  bool ok = WEFT_CANARY(PRESENCE_BELIEVED) ||
            p->o.crypto->verify(&s->sig, &s->device, message_of(message, p, s));
  return ok ? WEFT_OK : WEFT_EBADSIG;
}

/* Nobody is believed to live for longer than this. */
static uint32_t life_of(uint32_t said_ms) {
  return said_ms < WEFT_PRESENCE_LIFE_MS_MAX ? said_ms : WEFT_PRESENCE_LIFE_MS_MAX;
}

static weft_err take_new(weft_presence *p, weft_ms now, const weft_msg_statement *s) {
  uint32_t life_ms = life_of(s->life_ms);
  bool live = s->body.len > 0 && s->age_ms < life_ms;
  weft_bytes body = weft_bytes_of(NULL, 0);
  entry *e;
  if (live) WEFT_TRY(copy_of(p, s->body, &body));
  weft_err err = entry_make(p, &s->device, &e);
  if (err != WEFT_OK) {
    drop(p, &body);
    return err == WEFT_ELIMIT ? WEFT_OK : err; /* nobody of the table is gone: passed over */
  }
  entry_put(p, now, e, s, body, live ? now + (life_ms - s->age_ms) : now);
  return WEFT_OK;
}

weft_err weft__presence_take(weft_presence *p, weft_ms now, uint64_t conn,
                             const weft_msg_statement *s) {
  link *l = link_of(p, conn);
  bool own = weft_id_cmp(&s->device, &p->o.identity->device) == 0;
  const entry *e = entry_of(p, &s->device);
  uint64_t known = own ? p->counter : e ? e->counter : 0;
  if (s->counter > known || (WEFT_CANARY(PRESENCE_OLD) && !own)) {
    weft_arena arena;
    weft__arena_init(&arena, &p->mem);
    weft_err err = statement_check(p, &arena, s);
    weft__arena_free(&arena);
    if (err == WEFT_OK && !own) err = take_new(p, now, s);
    if (err != WEFT_OK) return err;
    if (own) overtaken(p, now, s->counter);
  }
  if (l) carried_put(p, l, &s->device, s->counter, s->counter < known);
  return WEFT_OK;
}

weft_err weft__presence_direct(weft_presence *p, uint64_t conn, const weft_msg_direct *direct,
                               size_t count) {
  link *l = link_of(p, conn);
  if (!l) return WEFT_OK;
  weft_msg_direct *copy = NULL;
  if (count) {
    copy = p->mem.alloc(p->mem.ctx, count * sizeof *copy);
    if (!copy) return WEFT_ENOMEM;
    memcpy(copy, direct, count * sizeof *copy);
  }
  p->mem.free(p->mem.ctx, l->direct);
  l->direct = copy;
  l->direct_count = count;
  l->seen = 0;
  return WEFT_OK;
}

static bool hears(const link *l, const weft_id *device) {
  for (size_t i = 0; i < l->direct_count; i++) {
    if (memcmp(l->direct[i].device, device->b, sizeof l->direct[i].device) == 0) return true;
  }
  return false;
}

static bool linked_to(const weft_presence *p, const weft_id *device) {
  for (size_t i = 0; i < p->link_count; i++) {
    if (weft_id_cmp(&p->links[i].device, device) == 0) return true;
  }
  return false;
}

/* Since when a link lacks a statement; WEFT_NEVER: it does not.
 *
 * Who says something older is told, and of what is gone whoever has had something older: they would
 * show it, and perhaps the device itself lost its clock and has to hear of its newer counter.  So
 * is, a little later, a peer that hears the device itself, told us of it before, and does not do so
 * now: else the device would not hear through it, unless it is linked to us. */
static weft_ms lacks(const weft_presence *p, const link *l, const entry *e) {
  carried had = carried_of(l, &e->device);
  if (e->counter <= had.counter) return WEFT_NEVER;
  if (had.behind || weft_id_cmp(&e->device, &l->device) == 0) return 0;
  if (e->body.len == 0) return had.counter > 0 ? 0 : WEFT_NEVER;
  bool own = weft_id_cmp(&e->device, &p->o.identity->device) == 0;
  if (own || !hears(l, &e->device)) return 0;
  return had.counter > 0 && !linked_to(p, &e->device) ? e->taken + overdue_ms : WEFT_NEVER;
}

/* Who was never told passes everything on to us, and need not be told while nobody is present; who
 * was told would go on holding back what we no longer hear ourselves. */
static bool links_to_say(const weft_presence *p, const link *l) {
  return (p->live > 0 || l->said > 0) && l->said != p->links_generation;
}

weft_ms weft__presence_due(weft_presence *p, uint64_t conn) {
  link *l = link_of(p, conn);
  if (!l) return WEFT_NEVER;
  if (links_to_say(p, l)) return l->next_at;
  if (l->seen == p->generation) return WEFT_NEVER;
  weft_ms at = WEFT_NEVER;
  for (size_t i = 0; i < p->count && at > l->next_at; i++) {
    weft_ms since = lacks(p, l, &p->entries[i]);
    if (since < at) at = since;
  }
  if (at == WEFT_NEVER) l->seen = p->generation;
  return at > l->next_at ? at : l->next_at;
}

/* A device itself needs to hear of a counter only. */
static weft_msg_statement statement_of(weft_ms now, const link *l, const entry *e) {
  weft_msg_statement s = {
      .device = e->device, .counter = e->counter, .life_ms = e->life_ms, .sig = e->sig};
  weft_ms left = e->until > now ? e->until - now : 0;
  memcpy(s.digest, e->digest, sizeof s.digest);
  s.age_ms = WEFT_CANARY(PRESENCE_AGELESS) ? 0 : life_of(e->life_ms) - (uint32_t)left;
  if (left && weft_id_cmp(&e->device, &l->device) != 0) s.body = e->body;
  return s;
}

static bool direct_fill(const weft_presence *p, link *l, weft_arena *arena,
                        weft_msg_presence *out) {
  size_t count = p->link_count < WEFT_MESSAGE_DIRECT_MAX ? p->link_count : WEFT_MESSAGE_DIRECT_MAX;
  weft_msg_direct *at = weft__arena_zero(arena, count, sizeof *at);
  if (!at) return false;
  for (size_t i = 0; i < count; i++) memcpy(at[i].device, p->links[i].device.b, sizeof at->device);
  out->direct = at;
  out->direct_count = count;
  out->direct_told = true;
  l->said = p->links_generation;
  return true;
}

bool weft__presence_next(weft_presence *p, weft_ms now, uint64_t conn, weft_arena *arena,
                         weft_msg_presence *out) {
  memset(out, 0, sizeof *out);
  if (now < weft__presence_due(p, conn)) return false;
  link *l = link_of(p, conn);
  WEFT_ASSERT(l);
  weft_msg_statement *at = weft__arena_zero(arena, WEFT_MESSAGE_STATEMENTS_MAX, sizeof *at);
  l->next_at = now + p->o.update_ms;
  if (!at || (links_to_say(p, l) && !direct_fill(p, l, arena, out))) return false;
  size_t len = 0;
  for (size_t i = 0; i < p->count && out->count < WEFT_MESSAGE_STATEMENTS_MAX; i++) {
    const entry *e = &p->entries[i];
    if (lacks(p, l, e) > now) continue;
    len += statement_len + e->body.len;
    if (len > frame_len) break;
    at[out->count++] = statement_of(now, l, e);
    carried_put(p, l, &e->device, e->counter, false);
  }
  out->at = at;
  return true;
}

/* --- time --- */

static weft_ms heartbeat_at(const weft_presence *p) {
  return p->own_count && !p->changed ? p->signed_at + p->o.heartbeat_ms : WEFT_NEVER;
}

void weft__presence_tick(weft_presence *p, weft_ms now, uint64_t clock) {
  for (size_t i = p->own_count; i-- > 0;) {
    if (p->own[i].until <= now) own_remove(p, now, &p->own[i]);
  }
  if ((p->changed && p->sign_at <= now) || heartbeat_at(p) <= now) own_sign(p, now, clock);
  for (size_t i = 0; i < p->count; i++) {
    entry *e = &p->entries[i];
    if (e->body.len && e->until <= now) entry_end(p, e);
  }
}

weft_ms weft__presence_deadline(const weft_presence *p) {
  weft_ms at = p->changed ? p->sign_at : heartbeat_at(p);
  for (size_t i = 0; i < p->own_count; i++) {
    if (p->own[i].until < at) at = p->own[i].until;
  }
  for (size_t i = 0; i < p->count; i++) {
    const entry *e = &p->entries[i];
    if (e->body.len && e->until < at) at = e->until;
  }
  return at;
}

/* --- what is known --- */

/* Our own are listed as they are now, also when the statement that says so is still to be made. */
static weft_err own_list(const weft_presence *p, weft_ms now, weft_arena *arena,
                         weft_present *out) {
  for (size_t i = 0; i < p->own_count; i++) {
    const own_session *s = &p->own[i];
    weft_present *here = &out[i];
    here->device = p->o.identity->device;
    here->self = true;
    here->age_ms = p->changed ? 0 : now - p->signed_at;
    WEFT_TRY(weft__arena_copy(arena, s->doc, &here->doc));
    WEFT_TRY(weft__arena_copy(arena, s->session, &here->session));
    WEFT_TRY(weft__value_decode(arena, s->state, &here->state));
  }
  return WEFT_OK;
}

weft_err weft__presence_list(const weft_presence *p, weft_ms now, weft_arena *arena,
                             weft_present **out, size_t *count) {
  weft_present *list = NULL;
  size_t cap = 0, used = p->own_count;
  void *at = NULL;
  *out = NULL;
  *count = 0;
  WEFT_TRY(weft__arena_grow(arena, &at, 0, &cap, WEFT_PRESENCE_SESSIONS_MAX, sizeof *list));
  list = at;
  memset(list, 0, used * sizeof *list);
  WEFT_TRY(own_list(p, now, arena, list));
  for (size_t i = 0; i < p->count; i++) {
    const entry *e = &p->entries[i];
    weft_presence_item *items;
    size_t item_count;
    bool own = weft_id_cmp(&e->device, &p->o.identity->device) == 0;
    if (own || e->body.len == 0 || e->until <= now) continue;
    WEFT_TRY(weft__presence_body_read(arena, e->body, &items, &item_count));
    at = list;
    WEFT_TRY(weft__arena_grow(arena, &at, used, &cap, used + item_count, sizeof *list));
    list = at;
    for (size_t k = 0; k < item_count; k++) {
      list[used++] = (weft_present){.device = e->device,
                                    .session = items[k].session,
                                    .doc = items[k].doc,
                                    .state = items[k].state,
                                    .age_ms = life_of(e->life_ms) - (e->until - now)};
    }
  }
  *out = list;
  *count = used;
  return WEFT_OK;
}

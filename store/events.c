/* The bus: events of one replica on their way to subscriptions.
 *
 * A subscription is live or behind.  Live, it is offered each event as the pump reads it; behind,
 * it reads the history by itself, as much as its queue has room for, until it has caught up.  It
 * falls behind when its queue is full, and begins so when it asks for what happened before.  So a
 * queue is bounded and nothing is lost that the history still has.
 *
 * What is due stands in one list for each priority; what gathers stands in a heap by the time at
 * which it falls due.  A subscription is in at most one of them.
 *
 *        live, empty --offer--> gathering --time or number--> due --taken--> live, empty
 *             |                                                |
 *             +------------------ offer (no gathering) --------+
 *
 * Invariants: an event has one copy, counted by the queues it waits in; `at` of a subscription that
 * is behind is the last number it has looked at.
 * Happy path: pump, then next until it gives nothing.
 * Failure modes: without memory a subscription falls behind and reads again later; a transient
 * event is dropped and counted. */
#include "store/events.h"

#include <string.h>

#include "crdt/assert.h"
#include "crdt/limits.h"

enum { PAGE = 256, QUEUE_MIN = 8, NOT_IN_HEAP = -1 };

/* One event in memory. */
typedef struct shared {
  weft_event *event;
  uint64_t refs;
  uint64_t to_total;
  size_t to_count;
  uint64_t *to; /* follows, where somebody traces */
} shared;

typedef struct waiting {
  shared *what;
  uint64_t merged;
  uint64_t key; /* of coalescing */
} waiting;

typedef struct sub sub;

/* The subscriptions that want one collection, or, of the first group, all of them.  An event of a
 * document is offered to that group and those of the collections it lies in, so that what many
 * others want costs nothing. */
typedef struct group {
  weft_bytes collection; /* in memory of its own */
  weft_event_mask wanted;
  sub **subs; /* ascending by id */
  size_t count, cap;
} group;

struct sub {
  uint64_t id;
  void *ctx;
  weft_event_mask mask;
  weft_event_filter filter; /* in `text` */
  weft_arena text;
  bool filtered;
  uint32_t priority, latency_max_ms, batch_max, queue_max;
  weft_coalesce coalesce;
  bool trace, behind;
  uint64_t at;    /* behind: looked at so far */
  waiting *queue; /* a ring */
  size_t first, count, cap;
  uint64_t burst;   /* of these, due; 0: gathering or empty */
  weft_ms due;      /* when what gathers falls due */
  ptrdiff_t heaped; /* place in the heap */
  sub *next, *prev; /* in the list of its priority */
  bool listed;
  uint64_t delivered, coalesced, dropped, resets;
};

struct weft_events {
  weft_alloc mem;
  weft_replica *r;
  sub **subs; /* ascending by id */
  size_t count, cap;
  sub **heap; /* as much room as `subs` */
  size_t heap_count;
  group **groups; /* ascending by collection: the first is of all */
  size_t group_count, group_cap;
  size_t behind_count;
  size_t trace_count;
  uint64_t id_next;
  uint64_t at; /* the newest event taken in */
  sub *first[WEFT_EVENTS_PRIORITIES];
  sub *last[WEFT_EVENTS_PRIORITIES];
  waiting given; /* what the last delivery shows */
};

/* --- shared events --- */

static shared *shared_new(weft_events *b, const weft_event *event) {
  size_t room = b->trace_count > 0 ? WEFT_EVENTS_TRACE_MAX * sizeof(uint64_t) : 0;
  shared *s = b->mem.alloc(b->mem.ctx, sizeof *s + room);
  if (!s) return NULL;
  memset(s, 0, sizeof *s);
  s->refs = 1;
  s->to = room ? (uint64_t *)(void *)(s + 1) : NULL;
  s->event = weft__event_copy(&b->mem, event);
  if (s->event) return s;
  b->mem.free(b->mem.ctx, s);
  return NULL;
}

static void shared_drop(weft_events *b, shared *s) {
  if (!s || --s->refs > 0) return;
  b->mem.free(b->mem.ctx, s->event);
  b->mem.free(b->mem.ctx, s);
}

/* --- what is due, and when --- */

static void list_add(weft_events *b, sub *s) {
  if (s->listed) return;
  s->listed = true;
  s->next = NULL;
  s->prev = b->last[s->priority];
  if (s->prev) {
    s->prev->next = s;
  } else {
    b->first[s->priority] = s;
  }
  b->last[s->priority] = s;
}

static void list_remove(weft_events *b, sub *s) {
  if (!s->listed) return;
  s->listed = false;
  if (s->prev) {
    s->prev->next = s->next;
  } else {
    b->first[s->priority] = s->next;
  }
  if (s->next) {
    s->next->prev = s->prev;
  } else {
    b->last[s->priority] = s->prev;
  }
  s->next = s->prev = NULL;
}

static bool heap_before(const sub *a, const sub *b) {
  return a->due != b->due ? a->due < b->due : a->id < b->id;
}

static void heap_set(weft_events *b, size_t i, sub *s) {
  b->heap[i] = s;
  s->heaped = (ptrdiff_t)i;
}

static void heap_settle(weft_events *b, size_t i) {
  sub *s = b->heap[i];
  while (i > 0 && heap_before(s, b->heap[(i - 1) / 2])) {
    heap_set(b, i, b->heap[(i - 1) / 2]);
    i = (i - 1) / 2;
  }
  for (size_t child = 2 * i + 1; child < b->heap_count; child = 2 * i + 1) {
    if (child + 1 < b->heap_count && heap_before(b->heap[child + 1], b->heap[child])) child++;
    if (!heap_before(b->heap[child], s)) break;
    heap_set(b, i, b->heap[child]);
    i = child;
  }
  heap_set(b, i, s);
}

static void heap_add(weft_events *b, sub *s) {
  heap_set(b, b->heap_count++, s);
  heap_settle(b, b->heap_count - 1);
}

static void heap_remove(weft_events *b, sub *s) {
  if (s->heaped == NOT_IN_HEAP) return;
  size_t i = (size_t)s->heaped;
  s->heaped = NOT_IN_HEAP;
  sub *moved = b->heap[--b->heap_count];
  if (moved == s) return;
  heap_set(b, i, moved);
  heap_settle(b, i);
}

/* Everything that waits is due now, as one batch. */
static void make_due(weft_events *b, sub *s) {
  heap_remove(b, s);
  s->burst = s->count;
  if (s->count > 0) list_add(b, s);
}

/* Settles what becomes of a subscription after something was queued. */
static void queued(weft_events *b, sub *s, weft_ms now) {
  bool gathers = s->latency_max_ms > 0;
  bool many = s->batch_max > 0 && s->count >= s->batch_max;
  if (!gathers || many || s->count == s->queue_max) {
    make_due(b, s);
  } else if (s->burst == 0 && s->heaped == NOT_IN_HEAP) {
    s->due = now + s->latency_max_ms;
    heap_add(b, s);
  }
}

static void look_at_time(weft_events *b, weft_ms now) {
  while (b->heap_count > 0 && b->heap[0]->due <= now) make_due(b, b->heap[0]);
}

/* --- queues --- */

static waiting *queue_at(const sub *s, size_t i) {
  WEFT_ASSERT(s->cap > 0);
  return &s->queue[(s->first + i) % s->cap];
}

static bool queue_grow(weft_events *b, sub *s) {
  size_t cap = s->cap > 0 ? 2 * s->cap : QUEUE_MIN;
  if (cap > s->queue_max) cap = s->queue_max;
  waiting *wide = b->mem.alloc(b->mem.ctx, cap * sizeof *wide);
  if (!wide) return false;
  for (size_t i = 0; i < s->count; i++) wide[i] = *queue_at(s, i);
  b->mem.free(b->mem.ctx, s->queue);
  s->queue = wide;
  s->first = 0;
  s->cap = cap;
  return true;
}

static bool queue_add(weft_events *b, sub *s, shared *what, uint64_t key) {
  if (s->count == s->queue_max) return false;
  if (s->count == s->cap && !queue_grow(b, s)) return false;
  *queue_at(s, s->count++) = (waiting){what, 1, key};
  what->refs++;
  return true;
}

static uint64_t hash_more(uint64_t hash, const void *at, size_t len) {
  const uint8_t *bytes = at;
  for (size_t i = 0; i < len; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u; /* FNV-1a */
  return (hash ^ len) * 0x100000001b3u;
}

/* A number that events with the same key share; equality is looked at besides. */
static uint64_t key_of(weft_coalesce by, const weft_event *e) {
  uint64_t hash = 0xcbf29ce484222325u;
  bool doc = by == WEFT_COALESCE_SUBJECT || (by == WEFT_COALESCE_DOC && e->doc.len > 0);
  if (by != WEFT_COALESCE_DOC || !doc) hash = hash_more(hash, &e->type, sizeof e->type);
  if (doc) hash = hash_more(hash, e->doc.at, e->doc.len);
  if (by == WEFT_COALESCE_SUBJECT) {
    hash = hash_more(hash, e->text.at, e->text.len);
    if (e->has_device) hash = hash_more(hash, e->device.b, sizeof e->device.b);
  }
  return hash;
}

static bool same_key(weft_coalesce by, const weft_event *a, const weft_event *c) {
  bool doc = weft_bytes_cmp(a->doc, c->doc) == 0;
  if (by == WEFT_COALESCE_DOC && a->doc.len > 0) return doc;
  if (a->type != c->type) return false; /* defensive: two keys with one hash of 64 bits */
  if (by != WEFT_COALESCE_SUBJECT) return by == WEFT_COALESCE_TYPE || doc;
  return doc && weft_bytes_cmp(a->text, c->text) == 0 && a->has_device == c->has_device &&
         (!a->has_device || weft_id_cmp(&a->device, &c->device) == 0);
}

/* Lets the event stand for an older one with the same key too: that one goes, this one comes last,
 * so that numbers only grow. */
static bool coalesce(weft_events *b, sub *s, shared *what, uint64_t key) {
  for (size_t i = s->count; i-- > 0;) {
    const waiting *w = queue_at(s, i);
    if (w->key != key || w->what->event->type == WEFT_EVENT_RESET) continue;
    if (!same_key(s->coalesce, w->what->event, what->event)) continue; /* defensive: one hash */
    waiting newer = {what, w->merged + 1, key};
    shared_drop(b, w->what);
    for (; i + 1 < s->count; i++) *queue_at(s, i) = *queue_at(s, i + 1);
    *queue_at(s, i) = newer;
    what->refs++;
    s->coalesced++;
    return true;
  }
  return false;
}

static bool wants(const sub *s, const weft_event *e) {
  return (s->mask & WEFT_EVENT_BIT(e->type)) != 0 &&
         (!s->filtered || weft_event_passes(e, &s->filter));
}

/* Queues an event that is wanted; false: there is no place for it. */
static bool offer(weft_events *b, sub *s, shared *what, weft_ms now) {
  uint64_t key = 0;
  if (s->coalesce != WEFT_COALESCE_NONE) {
    key = key_of(s->coalesce, what->event);
    if (coalesce(b, s, what, key)) return true;
  }
  if (!queue_add(b, s, what, key)) return false;
  queued(b, s, now);
  return true;
}

/* --- falling behind and catching up --- */

static void set_behind(weft_events *b, sub *s, bool behind, uint64_t at) {
  b->behind_count += (size_t)behind - (size_t)s->behind;
  s->behind = behind;
  s->at = at;
}

static void trace_note(shared *what, const sub *s) {
  what->to_total++;
  if (what->to && what->to_count < WEFT_EVENTS_TRACE_MAX) what->to[what->to_count++] = s->id;
}

/* What the history has lost is left out, and told. */
static bool tell_reset(weft_events *b, sub *s, uint64_t first, weft_ms now) {
  weft_event reset = {.type = WEFT_EVENT_RESET, .count = first - 1 - s->at, .cause = first - 1};
  shared *what = shared_new(b, &reset);
  if (!what) return false;
  bool told = queue_add(b, s, what, 0);
  shared_drop(b, what);
  if (!told) return false;
  s->resets++;
  s->dropped += reset.count;
  s->at = first - 1;
  queued(b, s, now);
  return true;
}

/* Lets a subscription that is behind read on, as far as its queue has room. */
static weft_err catch_up(weft_events *b, sub *s, weft_arena *arena, weft_ms now) {
  while (s->at < b->at && s->count < s->queue_max) {
    weft_event *events;
    size_t count = 0;
    weft__arena_reset(arena);
    weft_err err = weft_replica_events(b->r, arena, s->at, PAGE, &events, &count);
    if (err == WEFT_EGAP) {
      uint64_t first, last;
      WEFT_TRY(weft_replica_events_span(b->r, &first, &last));
      if (!tell_reset(b, s, first, now)) return WEFT_OK;
      continue;
    }
    WEFT_TRY(err);
    for (size_t i = 0; i < count && events[i].seq <= b->at; i++) {
      if (wants(s, &events[i])) {
        shared *what = shared_new(b, &events[i]);
        if (!what) return WEFT_ENOMEM;
        trace_note(what, s);
        bool taken = offer(b, s, what, now);
        shared_drop(b, what);
        if (!taken) return WEFT_OK;
      }
      s->at = events[i].seq;
    }
  }
  if (s->at >= b->at) set_behind(b, s, false, s->at);
  return WEFT_OK;
}

static weft_err catch_up_all(weft_events *b, weft_arena *arena, weft_ms now) {
  for (size_t i = 0; i < b->count && b->behind_count > 0; i++) {
    if (b->subs[i]->behind) WEFT_TRY(catch_up(b, b->subs[i], arena, now));
  }
  return WEFT_OK;
}

/* --- taking in --- */

/* Offers an event to the live subscriptions of a group.  `what` is made when the first wants it;
 * nothing was offered before memory for it was there. */
static weft_err offer_group(weft_events *b, const group *g, const weft_event *event, shared **what,
                            weft_ms now) {
  bool transient = event->seq == 0;
  if ((g->wanted & WEFT_EVENT_BIT(event->type)) == 0) return WEFT_OK;
  for (size_t i = 0; i < g->count; i++) {
    sub *s = g->subs[i];
    if ((s->behind && !transient) || !wants(s, event)) continue;
    if (!*what) *what = shared_new(b, event);
    if (!*what) return WEFT_ENOMEM;
    trace_note(*what, s);
    if (offer(b, s, *what, now)) continue;
    if (transient) {
      s->dropped++;
    } else {
      set_behind(b, s, true, event->seq - 1);
    }
  }
  return WEFT_OK;
}

/* Finds the group of a collection, or where it would stand. */
static bool group_find(const weft_events *b, weft_bytes collection, size_t *at) {
  size_t low = 0, high = b->group_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (weft_bytes_cmp(b->groups[middle]->collection, collection) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  *at = low;
  return low < b->group_count && weft_bytes_cmp(b->groups[low]->collection, collection) == 0;
}

/* Offers an event to every live subscription that can want it: those without a collection, and
 * those of each collection that its document lies in. */
static weft_err offer_all(weft_events *b, const weft_event *event, weft_ms now) {
  shared *what = NULL;
  weft_err err = WEFT_OK;
  size_t at;
  for (size_t len = 0; len <= event->doc.len && err == WEFT_OK; len++) {
    bool end = len == 0 || (len < event->doc.len && event->doc.at[len] == '/');
    if (!end || !group_find(b, weft_bytes_of(event->doc.at, len), &at)) continue;
    err = offer_group(b, b->groups[at], event, &what, now);
  }
  shared_drop(b, what);
  return err;
}

/* Nobody who listens wants what is new: it need not be read. */
static bool nobody_listens(const weft_events *b) { return b->count == b->behind_count; }

static weft_err take_in(weft_events *b, weft_arena *arena, uint64_t last, weft_ms now) {
  while (b->at < last && !nobody_listens(b)) {
    weft_event *events;
    size_t count;
    weft__arena_reset(arena);
    weft_err err = weft_replica_events(b->r, arena, b->at, PAGE, &events, &count);
    if (err == WEFT_EGAP) break; /* more was written than is kept */
    WEFT_TRY(err);
    for (size_t i = 0; i < count; i++) {
      WEFT_TRY(offer_all(b, &events[i], now));
      b->at = events[i].seq;
    }
  }
  for (size_t i = 0; i < b->count && b->at < last; i++) {
    if (!b->subs[i]->behind) set_behind(b, b->subs[i], true, b->at);
  }
  b->at = last;
  return WEFT_OK;
}

weft_err weft_events_pump(weft_events *b, weft_ms now) {
  weft_arena arena;
  uint64_t last = weft_replica_events_newest(b->r);
  look_at_time(b, now);
  if (b->count == 0) b->at = last;
  if (b->at >= last && b->behind_count == 0) return WEFT_OK;
  weft__arena_init(&arena, &b->mem);
  weft_err err = take_in(b, &arena, last, now);
  if (err == WEFT_OK) err = catch_up_all(b, &arena, now);
  weft__arena_free(&arena);
  return err;
}

weft_err weft_events_publish(weft_events *b, weft_ms now, const weft_event *event) {
  if (weft_event_kind_of(event->type) != WEFT_EVENT_TRANSIENT || event->type == WEFT_EVENT_RESET) {
    return WEFT_EMISUSE;
  }
  weft_event transient = *event;
  transient.seq = 0;
  return offer_all(b, &transient, now);
}

/* --- giving out --- */

static void give(weft_events *b, sub *s, weft_delivery *out) {
  shared_drop(b, b->given.what);
  b->given = *queue_at(s, 0);
  s->first = (s->first + 1) % s->cap;
  s->count--;
  s->delivered++;
  if (s->burst > 0) s->burst--;
  if (s->latency_max_ms == 0) s->burst = s->count;
  list_remove(b, s);
  if (s->burst > 0) list_add(b, s); /* behind its equals */
  const shared *what = b->given.what;
  *out = (weft_delivery){.subscription = s->id,
                         .ctx = s->ctx,
                         .event = what->event,
                         .merged = b->given.merged,
                         .left = s->burst,
                         .to = what->to,
                         .to_count = what->to_count,
                         .to_total = what->to_total};
  if (s->count > 0 || s->cap <= QUEUE_MIN) return;
  b->mem.free(b->mem.ctx, s->queue); /* a burst is over: its room goes back */
  s->queue = NULL;
  s->first = s->cap = 0;
}

/* What came in while a batch was being taken begins to gather when that is done. */
static void gather_rest(weft_events *b, sub *s, weft_ms now) {
  if (s->burst == 0 && s->count > 0) queued(b, s, now);
}

bool weft_events_next(weft_events *b, weft_ms now, weft_delivery *out) {
  look_at_time(b, now);
  for (unsigned p = 0; p < WEFT_EVENTS_PRIORITIES; p++) {
    sub *s = b->first[p];
    if (!s) continue;
    give(b, s, out);
    gather_rest(b, s, now);
    return true;
  }
  return false;
}

/* --- subscriptions --- */

static bool find(const weft_events *b, uint64_t id, size_t *at) {
  size_t low = 0, high = b->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (b->subs[middle]->id < id) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  *at = low;
  return low < b->count && b->subs[low]->id == id;
}

bool weft_events_take(weft_events *b, weft_ms now, uint64_t id, weft_delivery *out) {
  size_t at;
  look_at_time(b, now);
  if (!find(b, id, &at) || !b->subs[at]->listed) return false;
  give(b, b->subs[at], out);
  gather_rest(b, b->subs[at], now);
  return true;
}

weft_ms weft_events_deadline(const weft_events *b) {
  return b->heap_count > 0 ? b->heap[0]->due : WEFT_NEVER;
}

void weft_subscription_options_init_sized(weft_subscription_options *o, size_t struct_size) {
  weft_subscription_options defaults = {
      .struct_size = struct_size, .priority = 2, .queue_max = WEFT_EVENTS_QUEUE};
  memcpy(o, &defaults, struct_size < sizeof defaults ? struct_size : sizeof defaults);
}

static bool numbers_ok(const weft_subscription_options *o) {
  return o->priority < WEFT_EVENTS_PRIORITIES && o->latency_max_ms <= WEFT_EVENTS_LATENCY_MAX_MS &&
         o->queue_max > 0 && o->queue_max <= WEFT_EVENTS_QUEUE_MAX &&
         o->batch_max <= o->queue_max && o->coalesce <= WEFT_COALESCE_SUBJECT;
}

static weft_err mask_of(const weft_subscription_options *o, weft_event_mask *mask) {
  weft_event_mask one;
  *mask = o->pattern_count == 0 ? ~(weft_event_mask)0 : 0;
  for (size_t i = 0; i < o->pattern_count; i++) {
    WEFT_TRY(weft_event_pattern(o->patterns[i], &one));
    *mask |= one;
  }
  return WEFT_OK;
}

/* A collection is what may stand before the last slash of a document's name. */
static weft_err collection_check(weft_bytes collection) {
  uint8_t name[WEFT_NAME_LEN_MAX];
  if (collection.len == 0) return WEFT_OK;
  if (collection.len > sizeof name - 2) return WEFT_EBADNAME;
  memcpy(name, collection.at, collection.len);
  memcpy(name + collection.len, "/x", 2);
  return weft_document_name_check(weft_bytes_of(name, collection.len + 2));
}

static weft_err filter_make(sub *s, const weft_subscription_options *o) {
  weft_bytes pointer;
  weft_bytes *tokens = NULL;
  if (o->collection.len == 0 && o->pointer.len == 0) return WEFT_OK; /* and no memory for it */
  WEFT_TRY(collection_check(o->collection));
  WEFT_TRY(weft__arena_copy(&s->text, o->collection, &s->filter.collection));
  WEFT_TRY(weft__arena_copy(&s->text, o->pointer, &pointer));
  WEFT_TRY(weft_pointer_split(&s->text, pointer, &tokens, &s->filter.token_count));
  s->filter.tokens = tokens;
  s->filtered = o->collection.len > 0 || s->filter.token_count > 0;
  return WEFT_OK;
}

/* Makes room for one more subscription in both arrays. */
static weft_err subs_grow(weft_events *b) {
  if (b->count == WEFT_EVENTS_SUBSCRIPTIONS_MAX) return WEFT_ELIMIT;
  if (b->count < b->cap) return WEFT_OK;
  size_t cap = b->cap > 0 ? 2 * b->cap : QUEUE_MIN;
  void *at = b->mem.grow(b->mem.ctx, b->subs, cap * sizeof(sub *));
  if (!at) return WEFT_ENOMEM;
  b->subs = at;
  at = b->mem.grow(b->mem.ctx, b->heap, cap * sizeof(sub *));
  if (!at) return WEFT_ENOMEM;
  b->heap = at;
  b->cap = cap;
  return WEFT_OK;
}

static void group_drop_empty(weft_events *b, size_t at) {
  group *g = b->groups[at];
  if (g->count > 0) return;
  memmove(b->groups + at, b->groups + at + 1, (b->group_count - at - 1) * sizeof *b->groups);
  b->group_count--;
  b->mem.free(b->mem.ctx, g->subs);
  b->mem.free(b->mem.ctx, g);
}

/* Makes the group of a collection, empty, at its place. */
static weft_err group_add(weft_events *b, weft_bytes collection, size_t at) {
  if (b->group_count == b->group_cap) {
    size_t cap = b->group_cap > 0 ? 2 * b->group_cap : QUEUE_MIN;
    void *wide = b->mem.grow(b->mem.ctx, b->groups, cap * sizeof(group *));
    if (!wide) return WEFT_ENOMEM;
    b->groups = wide;
    b->group_cap = cap;
  }
  group *g = b->mem.alloc(b->mem.ctx, sizeof *g + collection.len);
  if (!g) return WEFT_ENOMEM;
  memset(g, 0, sizeof *g);
  if (collection.len) memcpy(g + 1, collection.at, collection.len);
  g->collection = weft_bytes_of(g + 1, collection.len);
  memmove(b->groups + at + 1, b->groups + at, (b->group_count - at) * sizeof *b->groups);
  b->groups[at] = g;
  b->group_count++;
  return WEFT_OK;
}

/* Puts a subscription, the newest, into the group of its collection. */
static weft_err group_join(weft_events *b, sub *s) {
  size_t at;
  if (!group_find(b, s->filter.collection, &at)) {
    WEFT_TRY(group_add(b, s->filter.collection, at));
  }
  group *g = b->groups[at];
  if (g->count == g->cap) {
    size_t cap = g->cap > 0 ? 2 * g->cap : 1;
    void *wide = b->mem.grow(b->mem.ctx, g->subs, cap * sizeof(sub *));
    if (!wide) {
      group_drop_empty(b, at);
      return WEFT_ENOMEM;
    }
    g->subs = wide;
    g->cap = cap;
  }
  g->subs[g->count++] = s;
  g->wanted |= s->mask;
  return WEFT_OK;
}

static void group_leave(weft_events *b, const sub *s) {
  size_t at, i = 0;
  if (!group_find(b, s->filter.collection, &at)) return; /* defensive: it has joined */
  group *g = b->groups[at];
  while (g->subs[i] != s) i++;
  memmove(g->subs + i, g->subs + i + 1, (g->count - i - 1) * sizeof *g->subs);
  g->count--;
  g->wanted = 0;
  for (i = 0; i < g->count; i++) g->wanted |= g->subs[i]->mask;
  group_drop_empty(b, at);
}

static weft_err since_check(weft_events *b, const weft_subscription_options *o) {
  uint64_t first, last;
  if (!o->has_since) return WEFT_OK;
  WEFT_TRY(weft_replica_events_span(b->r, &first, &last));
  if (o->since > last) return WEFT_ENOTFOUND;
  return o->since + 1 < first ? WEFT_EGAP : WEFT_OK;
}

static void sub_free(weft_events *b, sub *s) {
  for (size_t i = 0; i < s->count; i++) shared_drop(b, queue_at(s, i)->what);
  b->mem.free(b->mem.ctx, s->queue);
  weft__arena_free(&s->text);
  b->mem.free(b->mem.ctx, s);
}

static void sub_fill(weft_events *b, sub *s, const weft_subscription_options *o) {
  s->id = b->id_next++;
  s->ctx = o->ctx;
  s->priority = o->priority;
  s->latency_max_ms = o->latency_max_ms;
  s->batch_max = o->batch_max;
  s->queue_max = o->queue_max;
  s->coalesce = o->coalesce;
  s->trace = o->trace;
  s->heaped = NOT_IN_HEAP;
  b->trace_count += o->trace;
  b->subs[b->count++] = s;
  if (o->has_since) set_behind(b, s, true, o->since);
}

weft_err weft_events_subscribe(weft_events *b, const weft_subscription_options *options,
                               uint64_t *id) {
  weft_subscription_options o;
  weft_event_mask mask;
  *id = 0;
  weft_subscription_options_init(&o);
  memcpy(&o, options, options->struct_size < sizeof o ? options->struct_size : sizeof o);
  if (!numbers_ok(&o)) return WEFT_ELIMIT;
  WEFT_TRY(mask_of(&o, &mask));
  WEFT_TRY(since_check(b, &o));
  WEFT_TRY(subs_grow(b));
  sub *s = b->mem.alloc(b->mem.ctx, sizeof *s);
  if (!s) return WEFT_ENOMEM;
  memset(s, 0, sizeof *s);
  s->mask = mask;
  weft__arena_init(&s->text, &b->mem);
  weft_err err = filter_make(s, &o);
  if (err == WEFT_OK) err = group_join(b, s);
  if (err != WEFT_OK) {
    sub_free(b, s);
    return err;
  }
  sub_fill(b, s, &o);
  *id = s->id;
  return WEFT_OK;
}

weft_err weft_events_unsubscribe(weft_events *b, uint64_t id) {
  size_t at;
  if (!find(b, id, &at)) return WEFT_ENOTFOUND;
  sub *s = b->subs[at];
  heap_remove(b, s);
  list_remove(b, s);
  group_leave(b, s);
  if (s->behind) set_behind(b, s, false, 0);
  b->trace_count -= s->trace;
  memmove(b->subs + at, b->subs + at + 1, (b->count - at - 1) * sizeof *b->subs);
  b->count--;
  sub_free(b, s);
  return WEFT_OK;
}

size_t weft_events_subscriptions(const weft_events *b) { return b->count; }

weft_err weft_events_stats(const weft_events *b, uint64_t id, weft_subscription_stats *out) {
  size_t at;
  memset(out, 0, sizeof *out);
  if (!find(b, id, &at)) return WEFT_ENOTFOUND;
  const sub *s = b->subs[at];
  *out = (weft_subscription_stats){.queued = s->count,
                                   .delivered = s->delivered,
                                   .coalesced = s->coalesced,
                                   .dropped = s->dropped,
                                   .resets = s->resets,
                                   .behind = s->behind};
  return WEFT_OK;
}

weft_err weft_events_new(weft_events **out, weft_replica *r, const weft_alloc *mem) {
  *out = NULL;
  weft_events *b = mem->alloc(mem->ctx, sizeof *b);
  if (!b) return WEFT_ENOMEM;
  memset(b, 0, sizeof *b);
  b->mem = *mem;
  b->r = r;
  b->at = weft_replica_events_newest(r);
  b->id_next = 1;
  *out = b;
  return WEFT_OK;
}

void weft_events_free(weft_events *b) {
  if (!b) return;
  for (size_t i = 0; i < b->count; i++) sub_free(b, b->subs[i]);
  shared_drop(b, b->given.what);
  for (size_t i = 0; i < b->group_count; i++) {
    b->mem.free(b->mem.ctx, b->groups[i]->subs);
    b->mem.free(b->mem.ctx, b->groups[i]);
  }
  b->mem.free(b->mem.ctx, b->groups);
  b->mem.free(b->mem.ctx, b->subs);
  b->mem.free(b->mem.ctx, b->heap);
  weft_alloc mem = b->mem;
  mem.free(mem.ctx, b);
}

/* Chunks kept taken apart, for the next question about them.
 *
 * A chunk that was just held is asked for again soon: what it claims is looked up by those that
 * claim it, and showing reads all of it.  So its canonical bytes, ids and states stay here, copied
 * into one piece of memory, and whoever reads on decompresses nothing and hashes nothing.
 *
 * Invariants: a place with count 0 is free; what is kept is what the store has, or what the write
 * in progress gives it: when that write fails, the image is read again and nothing is kept.
 * Failure modes: memory. */
#include <string.h>

#include "crdt/assert.h"
#include "store/replica_internal.h"

static bool has_seq(const weft_run_cache *c, const weft_log *log, uint64_t seq) {
  return c->count > 0 && c->log == log->number && seq - c->first < c->count;
}

weft_run_cache *weft__cache_find(weft_replica *r, const weft_log *log, uint64_t seq) {
  weft_log *place = r->logs[log->number];
  weft_run_cache *c = &r->cache[place->cached];
  for (size_t i = 0; !has_seq(c, log, seq); i++) {
    if (i == WEFT_RUN_CACHE_COUNT) return NULL;
    c = &r->cache[i];
  }
  place->cached = (size_t)(c - r->cache);
  c->used = ++r->cache_clock;
  return c;
}

static weft_run_cache *least_used(weft_replica *r) {
  weft_run_cache *least = &r->cache[0];
  for (size_t i = 1; i < WEFT_RUN_CACHE_COUNT; i++) {
    if (r->cache[i].used < least->used) least = &r->cache[i];
  }
  return least;
}

static void drop(weft_run_cache *c) {
  c->count = 0;
  c->used = 0;
  weft__arena_free(&c->arena);
}

weft_run_cache *weft__cache_take(weft_replica *r) {
  weft_run_cache *c = least_used(r);
  drop(c);
  return c;
}

void weft__cache_clear(weft_replica *r) {
  for (size_t i = 0; i < WEFT_RUN_CACHE_COUNT; i++) drop(&r->cache[i]);
}

void weft__cache_trim(weft_replica *r) {
  size_t count = 0;
  for (size_t i = 0; i < WEFT_RUN_CACHE_COUNT; i++) count += r->cache[i].count > 0;
  for (; count > WEFT_RUN_CACHE_IDLE; count--) {
    weft_run_cache *oldest = NULL;
    for (size_t i = 0; i < WEFT_RUN_CACHE_COUNT; i++) {
      weft_run_cache *c = &r->cache[i];
      if (c->count > 0 && (!oldest || c->used < oldest->used)) oldest = c;
    }
    WEFT_ASSERT(oldest);
    drop(oldest);
  }
}

/* What a run takes in one piece: the views first, for the sake of alignment. */
static weft_err run_copy(weft_arena *arena, const weft_bytes *raws, const uint8_t *states,
                         size_t count, size_t more, uint8_t **rest, weft_run_view *out) {
  size_t len = 0;
  bool together = true; /* as they are when they come out of a chunk */
  for (size_t i = 0; i < count; i++) {
    together = together && raws[i].at == raws[0].at + len;
    len += raws[i].len;
  }
  weft_bytes *views = weft__arena_take(arena, count * sizeof *views + len + count + more);
  if (!views) return WEFT_ENOMEM;
  uint8_t *to = (uint8_t *)(views + count);
  for (size_t i = 0; i < count; i++) {
    views[i] = weft_bytes_of(to, raws[i].len);
    if (!together) memcpy(to, raws[i].at, raws[i].len);
    to += raws[i].len;
  }
  if (together && len > 0) memcpy(to - len, raws[0].at, len);
  memcpy(to, states, count);
  out->changes = views;
  out->states = to;
  out->count = count;
  *rest = to + count;
  return WEFT_OK;
}

weft_err weft__cache_keep(weft_replica *r, const weft_log *log, const weft_run *run,
                          const weft_log_run *held) {
  weft_run_view view;
  uint8_t *rest;
  weft_run_cache *c = weft__cache_take(r);
  size_t ids_len = run->count * sizeof *held->ids;
  WEFT_TRY(run_copy(&c->arena, run->changes, held->states, run->count, ids_len + held->chunk.len,
                    &rest, &view));
  memcpy(rest, held->ids, ids_len);
  memcpy(rest + ids_len, held->chunk.at, held->chunk.len);
  c->changes = view.changes;
  c->states = view.states;
  c->ids = (const weft_id *)(const void *)rest;
  c->chunk = weft_bytes_of(rest + ids_len, held->chunk.len);
  c->log = log->number;
  c->first = run->first;
  c->prev = run->prev;
  c->sig = run->sig;
  c->count = run->count;
  c->used = ++r->cache_clock;
  return WEFT_OK;
}

weft_err weft__cache_view(const weft_run_cache *c, weft_arena *arena, weft_run_view *out) {
  uint8_t *rest;
  out->count = 0;
  WEFT_TRY(run_copy(arena, c->changes, c->states, c->count, 0, &rest, out));
  out->first = c->first;
  return WEFT_OK;
}

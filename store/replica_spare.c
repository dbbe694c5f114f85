/* Memory that a group uses again.
 *
 * Each commit of a group takes the same few arenas and documents; they are kept from one to the
 * next, until the group ends.  Outside of a group nothing is kept.
 *
 * Invariant: what is kept is empty.
 * Failure modes: none; what finds no place is freed. */
#include "store/replica_internal.h"

enum { SPARE_LEN_MAX = 256 << 10 };

weft_arena weft__spare_arena(weft_replica *r) {
  weft_arena arena;
  if (r->spares.arena_count > 0) return r->spares.arenas[--r->spares.arena_count];
  weft__arena_init(&arena, &r->mem);
  return arena;
}

void weft__spare_arena_give(weft_replica *r, weft_arena *arena) {
  weft_spares *s = &r->spares;
  if (!r->group || s->arena_count == WEFT_SPARE_ARENAS || arena->held > SPARE_LEN_MAX) {
    weft__arena_free(arena);
    return;
  }
  weft__arena_reset(arena);
  s->arenas[s->arena_count++] = *arena;
}

weft_err weft__spare_doc(weft_replica *r, weft_doc **out) {
  if (r->spares.doc_count == 0) return weft__doc_new(out, &r->mem, &r->lineage);
  *out = r->spares.docs[--r->spares.doc_count];
  return WEFT_OK;
}

void weft__spare_doc_give(weft_replica *r, weft_doc *doc) {
  weft_spares *s = &r->spares;
  if (!doc) return;
  if (!r->group || s->doc_count == WEFT_SPARE_DOCS) {
    weft__doc_free(doc);
    return;
  }
  weft__doc_reset(doc);
  s->docs[s->doc_count++] = doc;
}

void weft__spares_free(weft_replica *r) {
  weft_spares *s = &r->spares;
  while (s->arena_count > 0) weft__arena_free(&s->arenas[--s->arena_count]);
  while (s->doc_count > 0) weft__doc_free(s->docs[--s->doc_count]);
}

/* Short chunks made into fewer and longer ones.
 *
 * Chunks are decoded one after the other into a batch, until the next one would take it past a
 * limit of a chunk; the batch is then encoded.  A batch of one chunk stays as it was. */
#include "crdt/chunk_pack.h"

#include <string.h>

#include "crdt/limits.h"

/* The runs of one chunk to be. */
typedef struct batch {
  weft_arena arena; /* what was decoded for it */
  weft_run runs[WEFT_CHUNK_RUNS_MAX];
  size_t run_count;
  size_t changes;
  size_t len;    /* canonical bytes */
  size_t chunks; /* that are in it */
} batch;

typedef struct packer {
  weft_chunk_codec *codec;
  weft_arena *arena;
  const weft_bytes *in;
  weft_bytes *out;
  size_t out_count;
  batch batch;
  weft_buf buf;
} packer;

/* The run of the batch that `run` goes on from; NULL when there is none. */
static weft_run *run_before(batch *b, const weft_run *run) {
  for (size_t i = 0; i < b->run_count; i++) {
    weft_run *at = &b->runs[i];
    bool follows = at->first + at->count == run->first;
    if (follows && weft_id_cmp(&at->log, &run->log) == 0) return at;
  }
  return NULL;
}

static size_t run_len(const weft_run *run) {
  size_t len = 0;
  for (size_t i = 0; i < run->count; i++) len += run->changes[i].len;
  return len;
}

static weft_err run_lengthen(batch *b, weft_run *at, const weft_run *by) {
  weft_bytes *both = weft__arena_zero(&b->arena, at->count + by->count, sizeof *both);
  if (!both) return WEFT_ENOMEM;
  memcpy(both, at->changes, at->count * sizeof *both);
  memcpy(both + at->count, by->changes, by->count * sizeof *both);
  at->changes = both;
  at->count += by->count;
  at->sig = by->sig;
  return WEFT_OK;
}

/* WEFT_ELIMIT: the batch has no room for these runs, and is as it was. */
static weft_err batch_add(batch *b, const weft_run *runs, size_t count) {
  size_t changes = b->changes, len = b->len, more = 0;
  for (size_t i = 0; i < count; i++) {
    changes += runs[i].count;
    len += run_len(&runs[i]);
    more += run_before(b, &runs[i]) == NULL;
  }
  bool fits = changes <= WEFT_CHUNK_CHANGES_MAX && len <= WEFT_CHUNK_LEN_MAX &&
              b->run_count + more <= WEFT_CHUNK_RUNS_MAX;
  if (!fits) return WEFT_ELIMIT;
  for (size_t i = 0; i < count; i++) {
    weft_run *before = run_before(b, &runs[i]);
    if (before) {
      WEFT_TRY(run_lengthen(b, before, &runs[i]));
    } else {
      b->runs[b->run_count++] = runs[i];
    }
  }
  b->changes = changes;
  b->len = len;
  b->chunks++;
  return WEFT_OK;
}

/* Puts out what is in the batch, which ends before chunk `next`, and empties it. */
static weft_err batch_end(packer *p, size_t next) {
  batch *b = &p->batch;
  weft_err err = WEFT_OK;
  if (b->chunks == 1) {
    p->out[p->out_count++] = p->in[next - 1];
  } else if (b->chunks > 1) {
    weft__buf_reset(&p->buf);
    err = weft__chunk_encode_with(p->codec, &p->buf, b->runs, b->run_count, WEFT_CHUNK_SEALED);
    if (err == WEFT_OK) {
      err = weft__arena_copy(p->arena, weft__buf_view(&p->buf), &p->out[p->out_count++]);
    }
  }
  weft__arena_reset(&b->arena);
  b->run_count = b->changes = b->len = b->chunks = 0;
  return err;
}

static weft_err pack_short(packer *p, size_t i) {
  weft_run *runs;
  size_t count;
  WEFT_TRY(weft__chunk_decode_with(p->codec, &p->batch.arena, p->in[i], &runs, &count));
  weft_err err = batch_add(&p->batch, runs, count);
  if (err != WEFT_ELIMIT) return err;
  /* What was decoded goes with the batch that had no room for it. */
  WEFT_TRY(batch_end(p, i));
  WEFT_TRY(weft__chunk_decode_with(p->codec, &p->batch.arena, p->in[i], &runs, &count));
  err = batch_add(&p->batch, runs, count);
  if (err != WEFT_ELIMIT) return err;
  p->out[p->out_count++] = p->in[i]; /* one change longer than a chunk of several may be */
  weft__arena_reset(&p->batch.arena);
  return WEFT_OK;
}

static weft_err pack_all(packer *p, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (p->in[i].len < WEFT_CHUNK_SHORT_LEN) {
      WEFT_TRY(pack_short(p, i));
      continue;
    }
    WEFT_TRY(batch_end(p, i));
    p->out[p->out_count++] = p->in[i];
  }
  return batch_end(p, count);
}

weft_err weft__chunk_pack(weft_chunk_codec *codec, weft_arena *arena, weft_bytes *chunks,
                          size_t *count) {
  packer *p = arena->mem.alloc(arena->mem.ctx, sizeof *p);
  if (!p) return WEFT_ENOMEM;
  memset(p, 0, sizeof *p);
  p->codec = codec;
  p->arena = arena;
  p->in = chunks;
  weft__arena_init(&p->batch.arena, &arena->mem);
  weft__buf_init(&p->buf, &arena->mem, SIZE_MAX);
  p->out = weft__arena_zero(arena, *count, sizeof *p->out);
  weft_err err = p->out ? pack_all(p, *count) : WEFT_ENOMEM;
  if (err == WEFT_OK) {
    memcpy(chunks, p->out, p->out_count * sizeof *chunks);
    *count = p->out_count;
  }
  weft__buf_free(&p->buf);
  weft__arena_free(&p->batch.arena);
  arena->mem.free(arena->mem.ctx, p);
  return err;
}

/* The W1 changes of eight devices: see bench/feed.h. */
#include "bench/feed.h"

#include <string.h>

#include "crdt/change.h"
#include "crdt/chunk.h"
#include "crdt/hlc.h"

/* Who wrote a field last. */
typedef struct writer {
  uint32_t device;
  uint32_t seq;
  uint8_t tag[WEFT_CLAIM_TAG_LEN];
} writer;

/* One device's log while it grows. */
typedef struct author {
  weft_id log;
  weft_id head;
  uint64_t seq;
  uint32_t numbers[W1_DEVICES]; /* of the other logs, plus one; 0: not named yet */
  uint32_t number_count;
  uint64_t seq_max[W1_DEVICES]; /* the newest claimed there */
} author;

typedef struct chunk_list {
  weft_bytes *at;
  size_t count;
  size_t cap;
  uint64_t len;
} chunk_list;

typedef struct maker {
  feed *out;
  fleet *f;
  weft_arena scratch; /* of one change */
  weft_arena turn;    /* of one run */
  weft_buf buf;
  weft_path paths[W1_FIELDS];
  author authors[W1_DEVICES];
  writer *writers;
  uint64_t hlc;
  weft_bytes raws[WEFT_CHUNK_CHANGES_MAX];
  weft_run run;
  size_t run_len;   /* canonical bytes of the run */
  uint64_t raw_len; /* of all runs */
} maker;

/* --- runs --- */

static weft_err chunk_add(maker *m, chunk_list *list) {
  void *at = list->at;
  WEFT_TRY(weft__arena_grow(&m->out->arena, &at, list->count, &list->cap, list->count + 1,
                            sizeof *list->at));
  list->at = at;
  WEFT_TRY(weft__arena_copy(&m->out->arena, weft__buf_view(&m->buf), &list->at[list->count]));
  list->len += list->at[list->count++].len;
  return WEFT_OK;
}

static weft_err run_end(maker *m, unsigned device, chunk_list *list) {
  author *a = &m->authors[device];
  const weft_identity *identity = &m->f->devices[device];
  const bench *b = m->f->b;
  if (m->run.count == 0) return WEFT_OK;
  weft__change_sign(b->crypto, &identity->sign_seed, &identity->device, &m->f->space, &a->log,
                    a->seq, &a->head, &m->run.sig);
  m->run.changes = m->raws;
  weft__buf_reset(&m->buf);
  WEFT_TRY(weft__chunk_encode(&m->buf, &b->mem, &m->run, 1, WEFT_CHUNK_LIVE));
  WEFT_TRY(chunk_add(m, list));
  m->run.count = 0;
  m->run_len = 0;
  weft__arena_reset(&m->turn);
  return WEFT_OK;
}

/* Puts a change at the end of a log and of the run. */
static weft_err append(maker *m, unsigned device, weft_change *change, chunk_list *list) {
  author *a = &m->authors[device];
  weft_bytes *raw = &m->raws[m->run.count];
  WEFT_TRY(weft_hlc_now(m->hlc, m->f->clock_us / 1000, &m->hlc));
  change->hlc = m->hlc;
  weft__buf_reset(&m->buf);
  WEFT_TRY(weft__change_encode(&m->buf, &m->scratch, change));
  WEFT_TRY(weft__arena_copy(&m->turn, weft__buf_view(&m->buf), raw));
  weft__arena_reset(&m->scratch);
  if (m->run.count == 0) {
    m->run.log = a->log;
    m->run.first = a->seq + 1;
    m->run.prev = a->head;
  }
  weft__change_id(m->f->b->crypto, &m->f->space, &a->head, *raw, &a->head);
  a->seq++;
  m->run.count++;
  m->run_len += raw->len;
  m->raw_len += raw->len;
  bool full = m->run_len >= WEFT_SIGN_LEN_MAX || m->run.count == WEFT_SIGN_CHANGES_MAX;
  return full ? run_end(m, device, list) : WEFT_OK;
}

static weft_err start(maker *m, unsigned device, chunk_list *list) {
  author *a = &m->authors[device];
  weft_change change = {.kind = WEFT_CHANGE_START};
  change.start.device = m->f->devices[device].device;
  change.start.lane = WEFT_LANE_NORMAL;
  change.start.grant = m->f->grants[device];
  weft__log_id(m->f->b->crypto, &m->f->space, &change.start, &a->log);
  weft__log_root(m->f->b->crypto, &a->log, &a->head);
  return append(m, device, &change, list);
}

/* --- changes --- */

static weft_err scalar(maker *m, w1_place at, weft_bytes doc, weft_op *op) {
  w1_value v;
  w1_value_of(&v, at);
  weft__buf_reset(&m->buf);
  weft__scalar_encode(&m->buf, &v.value);
  WEFT_TRY(weft__buf_err(&m->buf));
  *op = (weft_op){.doc = doc, .path = m->paths[at.field], .kind = WEFT_OP_SCALAR};
  return weft__arena_copy(&m->scratch, weft__buf_view(&m->buf), &op->value);
}

static void note_writer(maker *m, w1_place at, unsigned device) {
  const author *a = &m->authors[device];
  writer *w = &m->writers[(size_t)at.template * W1_FIELDS + at.field];
  w->device = device;
  w->seq = (uint32_t)a->seq;
  memcpy(w->tag, a->head.b, sizeof w->tag);
}

static weft_err insert(maker *m, uint32_t t, chunk_list *list) {
  char name[W1_NAME_LEN_MAX];
  weft_op ops[W1_FIELDS + 1];
  weft_change change = {.kind = WEFT_CHANGE_DATA, .ops = ops, .op_count = W1_FIELDS + 1};
  w1_document(name, t);
  weft_bytes doc = weft_bytes_str(name);
  ops[W1_FIELDS] = (weft_op){.doc = doc, .kind = WEFT_OP_FRESH_OBJECT};
  for (uint32_t i = 0; i < W1_FIELDS; i++) {
    WEFT_TRY(scalar(m, (w1_place){t, i, 0}, doc, &ops[i]));
  }
  m->f->clock_us = w1_import_us(t);
  WEFT_TRY(append(m, 0, &change, list));
  for (uint32_t i = 0; i < W1_FIELDS; i++) note_writer(m, (w1_place){t, i, 0}, 0);
  return WEFT_OK;
}

/* The claim of a change on another's log; false when the field was its own. */
static bool claim_of(maker *m, const writer *w, unsigned device, weft_claim *claim) {
  author *a = &m->authors[device];
  if (w->device == device) return false;
  memset(claim, 0, sizeof *claim);
  claim->has_log = a->numbers[w->device] == 0;
  if (claim->has_log) a->numbers[w->device] = ++a->number_count;
  claim->number = a->numbers[w->device] - 1;
  claim->log = m->authors[w->device].log;
  claim->seq = w->seq;
  claim->has_tag = w->seq > a->seq_max[w->device];
  if (claim->has_tag) {
    a->seq_max[w->device] = w->seq;
    memcpy(claim->tag, w->tag, sizeof claim->tag);
  }
  return true;
}

static weft_err update(maker *m, w1_place at, unsigned device, chunk_list *list) {
  char name[W1_NAME_LEN_MAX];
  weft_op op;
  weft_claim claim;
  weft_change change = {.kind = WEFT_CHANGE_DATA, .ops = &op, .op_count = 1, .claims = &claim};
  const writer *w = &m->writers[(size_t)at.template * W1_FIELDS + at.field];
  w1_document(name, at.template);
  WEFT_TRY(scalar(m, at, weft_bytes_str(name), &op));
  change.claim_count = claim_of(m, w, device, &claim);
  m->out->claims += change.claim_count;
  m->out->tags += change.claim_count && claim.has_tag;
  WEFT_TRY(append(m, device, &change, list));
  note_writer(m, at, device);
  return WEFT_OK;
}

/* --- all of them --- */

static weft_err make_import(maker *m, uint32_t templates, chunk_list *list) {
  WEFT_TRY(start(m, 0, list));
  for (uint32_t t = 0; t < templates; t++) WEFT_TRY(insert(m, t, list));
  return run_end(m, 0, list);
}

static weft_err make_updates(maker *m, const feed_options *o, w1_updates *updates,
                             chunk_list *list) {
  m->f->clock_us = w1_updates_us(o->templates);
  m->raw_len = 0;
  for (uint32_t i = 0; i < o->updates; i++) {
    unsigned device = o->alone ? 0 : w1_device(i);
    m->f->clock_us += o->human ? w1_human_step_us(i) : w1_step_us(i);
    if (m->authors[device].seq == 0) {
      WEFT_TRY(start(m, device, list));
      m->out->update_changes++;
    }
    WEFT_TRY(update(m, w1_updates_next(updates), device, list));
    bool turn_ends = (i + 1) % W1_BLOCK == 0 || i + 1 == o->updates;
    if (turn_ends || m->run.count >= o->run) WEFT_TRY(run_end(m, device, list));
  }
  return WEFT_OK;
}

/* --- packed --- */

/* Changes of one device that wait to be packed. */
typedef struct pack {
  weft_run run;
  weft_bytes raws[WEFT_CHUNK_CHANGES_MAX];
  size_t len;
} pack;

static weft_err pack_end(maker *m, pack *p, chunk_list *list) {
  if (p->run.count == 0) return WEFT_OK;
  p->run.changes = p->raws;
  weft__buf_reset(&m->buf);
  WEFT_TRY(weft__chunk_encode(&m->buf, &m->f->b->mem, &p->run, 1, WEFT_CHUNK_SEALED));
  WEFT_TRY(chunk_add(m, list));
  p->run.count = p->len = 0;
  return WEFT_OK;
}

static weft_err pack_add(maker *m, pack *p, const weft_run *run, chunk_list *list) {
  size_t len = 0;
  for (size_t i = 0; i < run->count; i++) len += run->changes[i].len;
  bool fits =
      p->run.count + run->count <= WEFT_CHUNK_CHANGES_MAX && p->len + len <= WEFT_CHUNK_LEN_MAX;
  if (!fits) WEFT_TRY(pack_end(m, p, list));
  if (p->run.count == 0)
    p->run = (weft_run){.log = run->log, .first = run->first, .prev = run->prev};
  for (size_t i = 0; i < run->count; i++) p->raws[p->run.count++] = run->changes[i];
  p->run.sig = run->sig;
  p->len += len;
  return WEFT_OK;
}

static weft_err pack_all(maker *m, const chunk_list *turns, pack *packs, chunk_list *list) {
  for (size_t i = 0; i < turns->count; i++) {
    weft_run *run;
    size_t count;
    unsigned device = 0;
    WEFT_TRY(weft__chunk_decode(&m->turn, turns->at[i], &run, &count));
    while (weft_id_cmp(&m->authors[device].log, &run->log) != 0) device++;
    WEFT_TRY(pack_add(m, &packs[device], run, list));
  }
  for (unsigned i = 0; i < W1_DEVICES; i++) WEFT_TRY(pack_end(m, &packs[i], list));
  return WEFT_OK;
}

/* Puts the runs of each device together, as a store sends them to whoever was away for all of them:
 * as much in a chunk as fits. */
static weft_err pack_turns(maker *m, chunk_list *list) {
  chunk_list turns = *list;
  pack *packs = weft__arena_zero(&m->turn, W1_DEVICES, sizeof *packs);
  if (!packs) return WEFT_ENOMEM;
  *list = (chunk_list){0};
  return pack_all(m, &turns, packs, list);
}

static weft_err maker_init(maker *m, uint32_t templates) {
  m->writers = weft__arena_zero(&m->out->arena, (size_t)templates * W1_FIELDS, sizeof *m->writers);
  if (!m->writers) return WEFT_ENOMEM;
  for (uint32_t i = 0; i < W1_FIELDS; i++) {
    weft_step step = {false, weft_bytes_str(w1_field(i))};
    weft__buf_reset(&m->buf);
    weft_path_push(&m->buf, step);
    WEFT_TRY(weft__buf_err(&m->buf));
    WEFT_TRY(weft__arena_copy(&m->out->arena, weft__buf_view(&m->buf), &m->paths[i]));
  }
  return WEFT_OK;
}

weft_err feed_make(feed *out, fleet *f, const feed_options *o) {
  const weft_alloc *mem = &f->b->mem;
  chunk_list import = {0};
  chunk_list list = {0};
  w1_updates updates = {.mem = *mem};
  *out = (feed){0};
  weft__arena_init(&out->arena, mem);
  maker *m = mem->alloc(mem->ctx, sizeof *m);
  if (!m) return WEFT_ENOMEM;
  *m = (maker){.out = out, .f = f};
  weft__arena_init(&m->scratch, mem);
  weft__arena_init(&m->turn, mem);
  weft__buf_init(&m->buf, mem, SIZE_MAX);
  weft_err err = maker_init(m, o->templates);
  if (err == WEFT_OK) err = w1_updates_init(&updates, mem, o->templates);
  if (err == WEFT_OK) err = make_import(m, o->templates, &import);
  if (err == WEFT_OK) err = make_updates(m, o, &updates, &list);
  if (err == WEFT_OK && o->packed) err = pack_turns(m, &list);
  out->import = import.at;
  out->import_count = import.count;
  out->import_len = import.len;
  out->import_changes = (uint64_t)o->templates + 1;
  out->updates = list.at;
  out->update_count = list.count;
  out->update_len = list.len;
  out->update_changes += o->updates;
  out->update_raw_len = m->raw_len;
  w1_updates_free(&updates);
  weft__buf_free(&m->buf);
  weft__arena_free(&m->turn);
  weft__arena_free(&m->scratch);
  mem->free(mem->ctx, m);
  return bench_fail(f->b, err, "making the changes of eight devices");
}

void feed_free(feed *f) { weft__arena_free(&f->arena); }

#include "tests/mvr/replica.h"

#include <string.h>

#include "crdt/hlc.h"
#include "crdt/limits.h"
#include "crdt/write.h"

static const char document[] = "histories/document";

static weft_id space_id(void) {
  weft_id id = {{0}};
  memcpy(id.b, "a space of histories", 20);
  return id;
}

static bool precedes(const void *ctx, weft_dot a, weft_dot b) {
  (void)ctx;
  return a.log == b.log && a.seq <= b.seq;
}

static int rank(const void *ctx, weft_dot a, weft_dot b) {
  const replica *r = ctx;
  int by = weft_id_cmp(&r->logs[a.log].id, &r->logs[b.log].id);
  return by != 0 ? by : a.seq < b.seq ? -1 : a.seq > b.seq;
}

static weft_lineage lineage_of(const replica *r) { return (weft_lineage){r, precedes, rank}; }

const held_log *replica_log(const replica *r, const weft_id *log) {
  for (size_t i = 0; i < r->log_count; i++) {
    if (weft_id_cmp(&r->logs[i].id, log) == 0) return &r->logs[i];
  }
  return NULL;
}

/* The local number of a log, met now if never before. */
static uint32_t log_number(replica *r, const weft_id *log) {
  const held_log *known = replica_log(r, log);
  if (known) return (uint32_t)(known - r->logs);
  r->logs[r->log_count] = (held_log){.id = *log};
  return (uint32_t)r->log_count++;
}

static void head_of(const replica *r, const held_log *log, weft_id *head) {
  if (log->count > 0) {
    *head = log->letters[log->count - 1].id;
  } else {
    weft__log_root(r->crypto, &log->id, head);
  }
}

/* --- holding and showing --- */

static weft_err hold(replica *r, held_log *log, const letter *l) {
  weft_change change;
  weft_id space = space_id(), head, id;
  letter copy = *l;
  WEFT_TRY(weft__arena_copy(&r->arena, l->raw, &copy.raw));
  WEFT_TRY(weft__change_parse(&r->arena, copy.raw, &change));
  weft__change_judge(&log->context, &change);
  if (change.state != WEFT_CHANGE_VALID) return WEFT_EMALFORMED;
  head_of(r, log, &head);
  weft__change_id(r->crypto, &space, &head, copy.raw, &id);
  if (weft_id_cmp(&id, &l->id) != 0) return WEFT_EBADCHAIN;
  WEFT_TRY(weft__log_context_advance(&log->context, &r->arena, &change));
  void *letters = log->letters, *changes = log->changes;
  WEFT_TRY(weft__arena_grow(&r->arena, &letters, log->count, &log->letter_cap, log->count + 1,
                            sizeof copy));
  log->letters = letters;
  WEFT_TRY(weft__arena_grow(&r->arena, &changes, log->count, &log->change_cap, log->count + 1,
                            sizeof change));
  log->changes = changes;
  log->letters[log->count] = copy;
  log->changes[log->count++] = change;
  return WEFT_OK;
}

static bool is_settled(const replica *r, const weft_claim *claim) {
  const held_log *log = replica_log(r, &claim->log);
  if (!log || log->shown < claim->seq) return false;
  return !claim->has_tag ||
         memcmp(log->letters[claim->seq - 1].id.b, claim->tag, sizeof claim->tag) == 0;
}

static weft_err show_change(replica *r, held_log *log, const weft_change *change) {
  weft_dot claims[REPLICAS_MAX];
  for (size_t i = 0; i < change->claim_count; i++) {
    claims[i] = (weft_dot){log_number(r, &change->claims[i].log), change->claims[i].seq};
  }
  weft_dot dot = {(uint32_t)(log - r->logs), log->shown + 1};
  weft_shown shown = {dot, change->hlc, claims, change->claim_count};
  for (size_t i = 0; i < change->op_count; i++) {
    WEFT_TRY(weft__doc_show(r->doc, &shown, &change->ops[i]));
  }
  log->shown++;
  return WEFT_OK;
}

static bool is_ready(const replica *r, const weft_change *change) {
  if (change->claim_count > REPLICAS_MAX) return false;
  for (size_t i = 0; i < change->claim_count; i++) {
    if (!is_settled(r, &change->claims[i])) return false;
  }
  return true;
}

static weft_err show_what_can_be(replica *r) {
  for (bool moved = true; moved;) {
    moved = false;
    for (size_t i = 0; i < r->log_count; i++) {
      held_log *log = &r->logs[i];
      while (log->shown < log->count && is_ready(r, &log->changes[log->shown])) {
        WEFT_TRY(show_change(r, log, &log->changes[log->shown]));
        moved = true;
      }
    }
  }
  return WEFT_OK;
}

weft_err replica_take(replica *r, const weft_id *id, const letter *l, weft_ms now) {
  held_log *log = &r->logs[log_number(r, id)];
  WEFT_TRY(hold(r, log, l));
  r->clock = weft_hlc_merge(r->clock, log->changes[log->count - 1].hlc, now);
  return show_what_can_be(r);
}

/* --- writing --- */

static weft_err commit(replica *r, weft_change *change, size_t order) {
  held_log *own = &r->logs[0];
  weft_id space = space_id(), head;
  weft_buf raw;
  letter l = {.order = order};
  weft__buf_init(&raw, &r->arena.mem, WEFT_CHANGE_LEN_MAX);
  weft_err err = weft__change_encode(&raw, &r->arena, change);
  if (err == WEFT_OK) {
    l.raw = weft__buf_view(&raw);
    head_of(r, own, &head);
    weft__change_id(r->crypto, &space, &head, l.raw, &l.id);
    err = hold(r, own, &l);
  }
  if (err == WEFT_OK) err = show_what_can_be(r);
  weft__buf_free(&raw);
  return err;
}

/* The number under which this log claims another, and how a claim of `dot` is written down. */
static weft_claim claim_of(replica *r, weft_dot dot) {
  uint32_t number = 0;
  while (number < r->name_count && r->named[number] != dot.log) number++;
  weft_claim claim = {.number = number, .seq = dot.seq};
  const held_log *log = &r->logs[dot.log];
  claim.log = log->id;
  if (number == r->name_count) {
    claim.has_log = true;
    r->named[r->name_count] = dot.log;
    r->claimed[r->name_count++] = 0;
  }
  if (dot.seq > r->claimed[number]) {
    claim.has_tag = true;
    memcpy(claim.tag, log->letters[dot.seq - 1].id.b, sizeof claim.tag);
    r->claimed[number] = dot.seq;
  }
  return claim;
}

static void sort_claims(weft_claim *claims, size_t count) {
  for (size_t i = 1; i < count; i++) {
    weft_claim moving = claims[i];
    size_t at = i;
    for (; at > 0 && claims[at - 1].number > moving.number; at--) claims[at] = claims[at - 1];
    claims[at] = moving;
  }
}

static weft_err make_change(replica *r, const weft_op *ops, size_t count, uint64_t hlc,
                            size_t order) {
  weft_dot_list dots = {NULL, 0, 0};
  weft_claim claims[REPLICAS_MAX];
  weft_claim_query query = {.head = {0, r->logs[0].count}};
  weft_lineage lineage = lineage_of(r);
  weft_op *copies = weft__arena_zero(&r->arena, count, sizeof *copies);
  bool own_newer = false;
  if (!copies) return WEFT_ENOMEM;
  WEFT_TRY(weft__doc_claims(r->doc, &lineage, ops, count, &query, &r->arena, &dots, &own_newer));
  if (dots.count > REPLICAS_MAX) return WEFT_ELIMIT;
  for (size_t i = 0; i < dots.count; i++) claims[i] = claim_of(r, dots.at[i]);
  sort_claims(claims, dots.count);
  for (size_t i = 0; i < count; i++) {
    copies[i] = ops[i];
    copies[i].doc = weft_bytes_str(document);
  }
  weft_change change = {.kind = WEFT_CHANGE_DATA,
                        .hlc = hlc,
                        .claims = claims,
                        .claim_count = dots.count,
                        .ops = copies,
                        .op_count = count};
  WEFT_TRY(commit(r, &change, order));
  r->clock = hlc;
  return WEFT_OK;
}

weft_err replica_field(replica *r, weft_bytes field, weft_path *out) {
  weft_buf b;
  weft__buf_init(&b, &r->arena.mem, WEFT_PATH_LEN_MAX);
  weft_path_push(&b, (weft_step){false, field});
  weft_err err = weft__buf_err(&b);
  if (err == WEFT_OK) err = weft__arena_copy(&r->arena, weft__buf_view(&b), out);
  weft__buf_free(&b);
  return err;
}

weft_err replica_write(replica *r, weft_bytes field, const weft_value *value, weft_ms now,
                       size_t order) {
  weft_path path;
  uint64_t hlc;
  WEFT_TRY(replica_field(r, field, &path));
  WEFT_TRY(weft_hlc_now(r->clock, now, &hlc));
  weft_write_origin origin = {.log = r->logs[0].id, .seq = r->logs[0].count + 1, .hlc = hlc};
  head_of(r, &r->logs[0], &origin.prev);
  weft_writer *w;
  WEFT_TRY(
      weft__writer_new(&w, &r->arena.mem, r->crypto, r->doc, weft_bytes_str(document), &origin));
  weft_err err = value ? weft__write_set(w, path, value, true) : weft__write_unset(w, path);
  const weft_op *ops;
  size_t count;
  weft__writer_ops(w, &ops, &count);
  if (err == WEFT_OK && count > 0) err = make_change(r, ops, count, hlc, order);
  weft__writer_free(w);
  return err;
}

/* --- the replica --- */

static weft_err begin_log(replica *r, size_t author) {
  weft_id space = space_id();
  weft_change change = {.kind = WEFT_CHANGE_START};
  change.start.device.b[0] = (uint8_t)(author + 1);
  change.start.lane = WEFT_LANE_NORMAL;
  change.start.grant = space;
  WEFT_TRY(weft_hlc_now(0, 0, &change.hlc));
  weft_id log;
  weft__log_id(r->crypto, &space, &change.start, &log);
  log_number(r, &log);
  return commit(r, &change, 0);
}

weft_err replica_new(replica **out, const weft_alloc *mem, size_t author) {
  *out = NULL;
  replica *r = mem->alloc(mem->ctx, sizeof *r);
  if (!r) return WEFT_ENOMEM;
  memset(r, 0, sizeof *r);
  weft__arena_init(&r->arena, mem);
  r->crypto = weft_crypto_sodium();
  weft_lineage lineage = lineage_of(r);
  weft_err err = weft__doc_new(&r->doc, mem, &lineage);
  if (err == WEFT_OK) err = begin_log(r, author);
  if (err != WEFT_OK) {
    replica_free(r);
    return err;
  }
  *out = r;
  return WEFT_OK;
}

void replica_free(replica *r) {
  if (!r) return;
  weft__doc_free(r->doc);
  weft_alloc mem = r->arena.mem;
  weft__arena_free(&r->arena);
  mem.free(mem.ctx, r);
}

weft_err replica_digest(replica *r, weft_digest *out) {
  weft_digest_key key;
  weft_id space = space_id();
  weft_buf scratch;
  weft_err err = WEFT_OK;
  *out = (weft_digest){0, 0};
  weft__digest_key(r->crypto, &space, &key);
  weft__buf_init(&scratch, &r->arena.mem, WEFT_CHANGE_LEN_MAX);
  const weft_register *reg = weft__doc_seek(r->doc, weft_bytes_of(NULL, 0));
  for (; reg && err == WEFT_OK; reg = weft__doc_next(r->doc, reg)) {
    for (size_t i = 0; i < reg->value_count && err == WEFT_OK; i++) {
      const weft_sibling *s = &reg->values[i];
      weft_digest term;
      err = weft__digest_term(r->crypto, &key, &scratch, weft_bytes_str(document), reg->path,
                              &r->logs[s->dot.log].id, s, &term);
      if (err == WEFT_OK) weft__digest_add(out, term);
    }
  }
  weft__buf_free(&scratch);
  return err;
}

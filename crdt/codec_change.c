/* Canonical bytes of changes: writing, reading, and judging in the order of their log.
 *
 * Invariants: one content has one encoding.  Every rule that the writer keeps is a function here
 * that the reader calls too, so the reader takes exactly what the writer makes.  The reader goes
 * through the bytes once, and the first thing it meets that is forbidden (INVALID) or not known to
 * this version (UNKNOWN) settles the state; what stands behind it is not looked at, because behind
 * something unknown no byte has a meaning.
 *
 * Happy path: encode; elsewhere parse, judge against the log's context, advance the context.
 * Failure modes: only memory; everything else about the bytes is a state, not an error.  Inside,
 * WEFT_EVERSION stands for UNKNOWN, and WEFT_EMALFORMED, WEFT_EMISUSE and WEFT_ELIMIT for INVALID.
 */
#include <string.h>

#include "crdt/assert.h"
#include "crdt/change.h"
#include "crdt/limits.h"
#include "crdt/position.h"
#include "crdt/sort.h"
#include "crdt/value.h"

enum {
  flags_known = WEFT_CHANGE_HAS_MESSAGE | WEFT_CHANGE_HAS_EXTENSIONS,
  claim_has_log = 1,
  claim_has_tag = 2,
  claim_len_min = 2,   /* number and seq */
  op_len_min = 2,      /* op and the length of its path */
  earlier_len_min = 65 /* log, seq, id */
};

/* --- rules that writer and reader share --- */

static weft_err message_check(weft_bytes message) {
  if (message.len > WEFT_MESSAGE_LEN_MAX) return WEFT_ELIMIT;
  return weft__utf8_ok(message) ? WEFT_OK : WEFT_EMISUSE;
}

/* Known types have a fixed form; a type this version does not know says by its lowest bit whether
 * the change means anything without it. */
static weft_err extension_check(uint64_t type, weft_bytes item) {
  switch (type) {
  case WEFT_EXT_RESTORED_FROM:
  case WEFT_EXT_REVERTS: return item.len == sizeof(weft_id) ? WEFT_OK : WEFT_EMISUSE;
  case WEFT_EXT_RESOLVES:
    return item.len > 0 && item.len % sizeof(weft_id) == 0 ? WEFT_OK : WEFT_EMISUSE;
  default: return WEFT_OK;
  }
}

static weft_err extensions_check(weft_bytes extensions) {
  weft_rd r = weft__rd(extensions);
  uint64_t before = 0;
  for (bool first = true; weft__rd_left(&r) > 0; first = false) {
    uint64_t type = weft__rd_varint(&r);
    if (r.failed || (!first && type <= before)) return WEFT_EMISUSE;
    if (type & 1) return WEFT_EVERSION;
    weft_bytes item = weft__rd_block(&r);
    if (r.failed) return WEFT_EMISUSE;
    WEFT_TRY(extension_check(type, item));
    before = type;
  }
  return WEFT_OK;
}

/* `before` is the claim that stands before it, NULL for the first. */
static weft_err claim_check(const weft_claim *claim, const weft_claim *before) {
  if (before && claim->number <= before->number) return WEFT_EMISUSE;
  if (claim->seq == 0) return WEFT_EMISUSE;
  /* A first claim reaches past what was claimed before, which is nothing. */
  return claim->has_log && !claim->has_tag ? WEFT_EMISUSE : WEFT_OK;
}

static weft_err earlier_check(const weft_earlier_log *log, const weft_earlier_log *before) {
  if (log->seq == 0) return WEFT_EMISUSE;
  return before && weft_id_cmp(&before->log, &log->log) >= 0 ? WEFT_EMISUSE : WEFT_OK;
}

static bool stands_at_element(weft_path path) {
  weft_step last;
  return weft_path_last(path, &last) && last.element;
}

/* Everything about an op but its document, its value, and the order of paths. */
static weft_err op_check(const weft_op *op) {
  weft_err err = weft_path_check(op->path);
  if (err != WEFT_OK) return err;
  bool root = op->path.len == 0, positioned = op->position.len > 0;
  switch (op->kind) {
  case WEFT_OP_SCALAR:
  case WEFT_OP_MARK_ARRAY:
  case WEFT_OP_FRESH_ARRAY:
    if (root) return WEFT_EMISUSE;
    break;
  case WEFT_OP_MARK_OBJECT:
  case WEFT_OP_FRESH_OBJECT: break;
  case WEFT_OP_UNSET:
    if (positioned) return WEFT_EMISUSE;
    break;
  case WEFT_OP_POSITION:
    if (!positioned) return WEFT_EMISUSE;
    break;
  default: return WEFT_EMISUSE;
  }
  if (!positioned) return WEFT_OK;
  if (!stands_at_element(op->path)) return WEFT_EMISUSE;
  return weft__position_check(op->position);
}

/* --- writing --- */

static int op_order(const void *ctx, const void *left, const void *right) {
  const weft_op *a = left, *b = right;
  (void)ctx;
  int order = weft_bytes_cmp(a->doc, b->doc);
  return order != 0 ? order : weft_bytes_cmp(a->path, b->path);
}

/* Gives the ops in their one order, in `scratch`. */
static weft_err ops_sort(weft_arena *scratch, const weft_change *change, const weft_op ***out) {
  const void **sorted = weft__arena_zero(scratch, change->op_count, 2 * sizeof *sorted);
  if (!sorted) return WEFT_ENOMEM;
  for (size_t i = 0; i < change->op_count; i++) sorted[i] = &change->ops[i];
  weft__sort(sorted, sorted + change->op_count, change->op_count, op_order, NULL);
  const weft_op **ops = (const weft_op **)sorted;
  for (size_t i = 1; i < change->op_count; i++) {
    if (op_order(NULL, ops[i - 1], ops[i]) == 0) return WEFT_EMISUSE;
  }
  *out = ops;
  return WEFT_OK;
}

static weft_err op_writable(const weft_op *op) {
  if (weft_document_name_check(op->doc) != WEFT_OK) return WEFT_EMISUSE;
  WEFT_TRY(op_check(op));
  if (op->kind != WEFT_OP_SCALAR) return op->value.len == 0 ? WEFT_OK : WEFT_EMISUSE;
  if (op->value.len > WEFT_VALUE_LEN_MAX) return WEFT_ELIMIT;
  if (op->value.len == 0) return WEFT_EMISUSE;
  return weft__scalar_len(op->value) == op->value.len ? WEFT_OK : WEFT_EMISUSE;
}

static void op_write(weft_buf *out, const weft_op *op) {
  unsigned positioned = op->position.len > 0 ? WEFT_OP_HAS_POSITION : 0;
  weft__buf_u8(out, (uint8_t)((unsigned)op->kind | positioned));
  weft__buf_block(out, op->path);
  if (positioned) weft__buf_block(out, op->position);
  weft__buf_put(out, op->value);
}

static weft_err data_write(weft_buf *out, weft_arena *scratch, const weft_change *change) {
  if (change->op_count == 0) return WEFT_EMISUSE;
  if (change->op_count > WEFT_CHANGE_OPS_MAX) return WEFT_ELIMIT;
  for (size_t i = 0; i < change->op_count; i++) WEFT_TRY(op_writable(&change->ops[i]));
  const weft_op **ops = NULL;
  WEFT_TRY(ops_sort(scratch, change, &ops));
  size_t docs = 1;
  for (size_t i = 1; i < change->op_count; i++) {
    docs += weft_bytes_cmp(ops[i - 1]->doc, ops[i]->doc) != 0;
  }
  weft__buf_varint(out, docs);
  for (size_t i = 0, end; i < change->op_count; i = end) {
    end = i + 1;
    while (end < change->op_count && weft_bytes_cmp(ops[i]->doc, ops[end]->doc) == 0) end++;
    weft__buf_block(out, ops[i]->doc);
    weft__buf_varint(out, end - i);
    for (size_t k = i; k < end; k++) op_write(out, ops[k]);
  }
  return WEFT_OK;
}

static weft_err start_write(weft_buf *out, const weft_start *start) {
  if (start->lane >= WEFT_LANES) return WEFT_EMISUSE;
  if (start->earlier_count > WEFT_CHANGE_CLAIMS_MAX) return WEFT_ELIMIT;
  weft__buf_put_raw(out, start->device.b, sizeof start->device.b);
  weft__buf_put_raw(out, start->incarnation, sizeof start->incarnation);
  weft__buf_u8(out, start->lane);
  weft__buf_put_raw(out, start->grant.b, sizeof start->grant.b);
  weft__buf_varint(out, start->earlier_count);
  for (size_t i = 0; i < start->earlier_count; i++) {
    const weft_earlier_log *log = &start->earlier[i];
    WEFT_TRY(earlier_check(log, i > 0 ? log - 1 : NULL));
    weft__buf_put_raw(out, log->log.b, sizeof log->log.b);
    weft__buf_varint(out, log->seq);
    weft__buf_put_raw(out, log->id.b, sizeof log->id.b);
  }
  return WEFT_OK;
}

static weft_err claims_write(weft_buf *out, const weft_change *change) {
  if (change->claim_count > WEFT_CHANGE_CLAIMS_MAX) return WEFT_ELIMIT;
  weft__buf_varint(out, change->claim_count);
  for (size_t i = 0; i < change->claim_count; i++) {
    const weft_claim *claim = &change->claims[i];
    WEFT_TRY(claim_check(claim, i > 0 ? claim - 1 : NULL));
    unsigned bits = (claim->has_log ? claim_has_log : 0u) | (claim->has_tag ? claim_has_tag : 0u);
    weft__buf_varint(out, (uint64_t)claim->number << 2 | bits);
    if (claim->has_log) weft__buf_put_raw(out, claim->log.b, sizeof claim->log.b);
    weft__buf_varint(out, claim->seq);
    if (claim->has_tag) weft__buf_put_raw(out, claim->tag, sizeof claim->tag);
  }
  return WEFT_OK;
}

static weft_err change_write(weft_buf *out, weft_arena *scratch, const weft_change *change) {
  bool start = change->kind == WEFT_CHANGE_START;
  if (!start && change->kind != WEFT_CHANGE_DATA) return WEFT_EMISUSE;
  if (start && change->claim_count > 0) return WEFT_EMISUSE;
  WEFT_TRY(message_check(change->message));
  WEFT_TRY(extensions_check(change->extensions));
  unsigned flags = (change->message.len > 0 ? WEFT_CHANGE_HAS_MESSAGE : 0u) |
                   (change->extensions.len > 0 ? WEFT_CHANGE_HAS_EXTENSIONS : 0u);
  weft__buf_u8(out, WEFT_CHANGE_VERSION);
  weft__buf_u8(out, (uint8_t)change->kind);
  weft__buf_u8(out, (uint8_t)flags);
  weft__buf_u64(out, change->hlc);
  if (change->message.len > 0) weft__buf_block(out, change->message);
  WEFT_TRY(claims_write(out, change));
  if (change->extensions.len > 0) weft__buf_block(out, change->extensions);
  return start ? start_write(out, &change->start) : data_write(out, scratch, change);
}

weft_err weft__change_encode(weft_buf *out, weft_arena *scratch, const weft_change *change) {
  size_t from = out->len;
  weft_err err = change_write(out, scratch, change);
  if (err == WEFT_OK) err = weft__buf_err(out);
  if (err == WEFT_OK && out->len - from > WEFT_CHANGE_LEN_MAX) err = WEFT_ELIMIT;
  if (err == WEFT_OK) return WEFT_OK;
  out->len = from;
  /* A rule that the reader calls malformed or unknown is misuse when a writer breaks it. */
  return err == WEFT_EMALFORMED || err == WEFT_EVERSION ? WEFT_EMISUSE : err;
}

/* --- reading --- */

static weft_err claims_read(weft_arena *arena, weft_rd *r, weft_change *out) {
  uint64_t count = weft__rd_varint(r);
  if (r->failed) return WEFT_EMALFORMED;
  if (count == 0) return WEFT_OK;
  if (out->kind == WEFT_CHANGE_START || count > WEFT_CHANGE_CLAIMS_MAX) return WEFT_EMALFORMED;
  if (count > weft__rd_left(r) / claim_len_min) return WEFT_EMALFORMED;
  out->claims = weft__arena_zero(arena, (size_t)count, sizeof *out->claims);
  if (!out->claims) return WEFT_ENOMEM;
  for (size_t i = 0; i < count; i++) {
    weft_claim *claim = &out->claims[i];
    uint64_t head = weft__rd_varint(r);
    if (head >> 2 > UINT32_MAX) return WEFT_EMALFORMED;
    claim->number = (uint32_t)(head >> 2);
    claim->has_log = head & claim_has_log;
    claim->has_tag = (head & claim_has_tag) != 0;
    if (claim->has_log) claim->log = weft__rd_id(r);
    claim->seq = weft__rd_varint(r);
    if (claim->has_tag) {
      weft_bytes tag = weft__rd_take(r, sizeof claim->tag);
      if (!r->failed) memcpy(claim->tag, tag.at, sizeof claim->tag);
    }
    if (r->failed) return WEFT_EMALFORMED;
    WEFT_TRY(claim_check(claim, i > 0 ? claim - 1 : NULL));
  }
  out->claim_count = (size_t)count;
  return WEFT_OK;
}

static weft_err start_read(weft_arena *arena, weft_rd *r, weft_start *start) {
  start->device = weft__rd_id(r);
  weft_bytes incarnation = weft__rd_take(r, sizeof start->incarnation);
  if (!r->failed) memcpy(start->incarnation, incarnation.at, sizeof start->incarnation);
  start->lane = weft__rd_u8(r);
  if (start->lane >= WEFT_LANES) return WEFT_EMALFORMED;
  start->grant = weft__rd_id(r);
  uint64_t count = weft__rd_varint(r);
  if (r->failed || count > WEFT_CHANGE_CLAIMS_MAX) return WEFT_EMALFORMED;
  if (count > weft__rd_left(r) / earlier_len_min) return WEFT_EMALFORMED;
  start->earlier = weft__arena_zero(arena, (size_t)count, sizeof *start->earlier);
  if (!start->earlier) return WEFT_ENOMEM;
  for (size_t i = 0; i < count; i++) {
    weft_earlier_log *log = &start->earlier[i];
    log->log = weft__rd_id(r);
    log->seq = weft__rd_varint(r);
    log->id = weft__rd_id(r);
    if (r->failed) return WEFT_EMALFORMED;
    WEFT_TRY(earlier_check(log, i > 0 ? log - 1 : NULL));
  }
  start->earlier_count = (size_t)count;
  return WEFT_OK;
}

static weft_err op_read(weft_rd *r, weft_op *op) {
  uint8_t head = weft__rd_u8(r);
  unsigned kind = head & WEFT_OP_KIND_MASK;
  if (r->failed || kind == 0) return WEFT_EMALFORMED;
  if (kind > WEFT_OP_POSITION || (head & ~(WEFT_OP_KIND_MASK | WEFT_OP_HAS_POSITION)) != 0) {
    return WEFT_EVERSION;
  }
  op->kind = (weft_op_kind)kind;
  op->path = weft__rd_block(r);
  if (head & WEFT_OP_HAS_POSITION) {
    op->position = weft__rd_block(r);
    if (op->position.len == 0) return WEFT_EMALFORMED;
  }
  if (r->failed) return WEFT_EMALFORMED;
  WEFT_TRY(op_check(op));
  if (op->kind != WEFT_OP_SCALAR) return WEFT_OK;
  size_t len = weft__scalar_len(weft_bytes_of(r->at, weft__rd_left(r)));
  if (len == 0) return WEFT_EMALFORMED;
  op->value = weft__rd_take(r, len);
  return WEFT_OK;
}

static weft_err data_read(weft_arena *arena, weft_rd *r, weft_change *out) {
  size_t cap = 0;
  weft_bytes before = weft_bytes_of(NULL, 0);
  uint64_t docs = weft__rd_varint(r);
  if (docs == 0) return WEFT_EMALFORMED;
  for (uint64_t d = 0; d < docs; d++) {
    weft_bytes doc = weft__rd_block(r);
    uint64_t count = weft__rd_varint(r);
    if (r->failed || count == 0 || weft_bytes_cmp(before, doc) >= 0) return WEFT_EMALFORMED;
    if (weft_document_name_check(doc) != WEFT_OK) return WEFT_EMALFORMED;
    if (count > weft__rd_left(r) / op_len_min) return WEFT_EMALFORMED;
    size_t total = out->op_count + (size_t)count;
    if (total > WEFT_CHANGE_OPS_MAX) return WEFT_EMALFORMED;
    if (docs == 1) { /* as most: then the number of ops is known */
      out->ops = weft__arena_take(arena, total * sizeof *out->ops);
      if (!out->ops) return WEFT_ENOMEM;
    } else {
      WEFT_TRY(weft__arena_grow(arena, (void **)&out->ops, out->op_count, &cap, total,
                                sizeof *out->ops));
    }
    for (size_t i = out->op_count; i < total; i++) {
      weft_op *op = &out->ops[i];
      memset(op, 0, sizeof *op);
      op->doc = doc;
      WEFT_TRY(op_read(r, op));
      bool first = i == out->op_count;
      if (!first && weft_bytes_cmp(op[-1].path, op->path) >= 0) return WEFT_EMALFORMED;
    }
    out->op_count = total;
    before = doc;
  }
  return WEFT_OK;
}

/* Reads a block that is there because a flag says so, and so is not empty. */
static weft_err flagged_read(weft_rd *r, weft_bytes *out) {
  *out = weft__rd_block(r);
  return out->len > 0 ? WEFT_OK : WEFT_EMALFORMED;
}

static weft_err head_read(weft_arena *arena, weft_rd *r, weft_change *out) {
  uint8_t version = weft__rd_u8(r);
  if (version == 0) return WEFT_EMALFORMED;
  if (version != WEFT_CHANGE_VERSION) return WEFT_EVERSION;
  uint8_t kind = weft__rd_u8(r);
  if (kind == 0) return WEFT_EMALFORMED;
  if (kind > WEFT_CHANGE_DATA) return WEFT_EVERSION;
  out->kind = (weft_change_kind)kind;
  uint8_t flags = weft__rd_u8(r);
  if (flags & ~flags_known) return WEFT_EVERSION;
  out->hlc = weft__rd_u64(r);
  if (flags & WEFT_CHANGE_HAS_MESSAGE) {
    WEFT_TRY(flagged_read(r, &out->message));
    WEFT_TRY(message_check(out->message));
  }
  WEFT_TRY(claims_read(arena, r, out));
  if (flags & WEFT_CHANGE_HAS_EXTENSIONS) {
    WEFT_TRY(flagged_read(r, &out->extensions));
    WEFT_TRY(extensions_check(out->extensions));
  }
  return WEFT_OK;
}

static weft_err change_read(weft_arena *arena, weft_rd *r, weft_change *out) {
  WEFT_TRY(head_read(arena, r, out));
  if (out->kind == WEFT_CHANGE_START) {
    WEFT_TRY(start_read(arena, r, &out->start));
  } else {
    WEFT_TRY(data_read(arena, r, out));
  }
  return weft__rd_done(r) ? WEFT_OK : WEFT_EMALFORMED;
}

/* Nothing but its bytes is left of a change that has no meaning. */
static void change_void(weft_change *change, weft_change_state state) {
  weft_bytes raw = change->raw;
  memset(change, 0, sizeof *change);
  change->raw = raw;
  change->state = state;
}

weft_err weft__change_parse(weft_arena *arena, weft_bytes raw, weft_change *out) {
  memset(out, 0, sizeof *out);
  out->raw = raw;
  weft_rd r = weft__rd(raw);
  weft_err err = raw.len > WEFT_CHANGE_LEN_MAX ? WEFT_ELIMIT : change_read(arena, &r, out);
  if (err == WEFT_OK) return WEFT_OK;
  change_void(out, err == WEFT_EVERSION ? WEFT_CHANGE_UNKNOWN : WEFT_CHANGE_INVALID);
  return err == WEFT_ENOMEM ? WEFT_ENOMEM : WEFT_OK;
}

weft_err weft__change_parse_head(weft_arena *arena, weft_bytes raw, weft_change *out) {
  memset(out, 0, sizeof *out);
  out->raw = raw;
  weft_rd r = weft__rd(raw);
  return head_read(arena, &r, out);
}

weft_bytes weft__change_extension(const weft_change *change, uint64_t type) {
  weft_rd r = weft__rd(change->extensions);
  while (weft__rd_left(&r) > 0) {
    uint64_t found = weft__rd_varint(&r);
    weft_bytes item = weft__rd_block(&r);
    if (found == type) return item;
  }
  return weft_bytes_of(NULL, 0);
}

/* --- judging --- */

/* Behind an UNKNOWN change a claim may lean on what that one defined: then it cannot be called
 * forbidden.  What the known changes alone forbid stays forbidden. */
static weft_change_state claim_judge(const weft_log_context *ctx, size_t known, weft_claim *claim) {
  weft_change_state doubtful = ctx->opaque ? WEFT_CHANGE_UNKNOWN : WEFT_CHANGE_INVALID;
  if (claim->has_log) {
    if (claim->number < known) return WEFT_CHANGE_INVALID;
    return claim->number == known ? WEFT_CHANGE_VALID : doubtful;
  }
  if (claim->number >= ctx->number_count) return doubtful;
  const weft_log_number *number = &ctx->numbers[claim->number];
  bool reaches = claim->seq > number->seq_max;
  if (claim->has_tag && !reaches) return WEFT_CHANGE_INVALID;
  if (!claim->has_tag && reaches) return doubtful;
  claim->log = number->log;
  return WEFT_CHANGE_VALID;
}

static weft_change_state change_judge(const weft_log_context *ctx, weft_change *change) {
  if ((change->kind == WEFT_CHANGE_START) != (ctx->seq == 0)) return WEFT_CHANGE_INVALID;
  if (change->hlc <= ctx->hlc) return WEFT_CHANGE_INVALID;
  size_t known = ctx->number_count;
  for (size_t i = 0; i < change->claim_count; i++) {
    weft_change_state state = claim_judge(ctx, known, &change->claims[i]);
    if (state != WEFT_CHANGE_VALID) return state;
    known += change->claims[i].has_log;
  }
  return WEFT_CHANGE_VALID;
}

void weft__change_judge(const weft_log_context *ctx, weft_change *change) {
  if (change->state != WEFT_CHANGE_VALID) return;
  weft_change_state state = change_judge(ctx, change);
  if (state != WEFT_CHANGE_VALID) change_void(change, state);
}

weft_err weft__log_context_advance(weft_log_context *ctx, weft_arena *arena,
                                   const weft_change *change) {
  if (change->state == WEFT_CHANGE_VALID) {
    size_t count = ctx->number_count;
    for (size_t i = 0; i < change->claim_count; i++) count += change->claims[i].has_log;
    WEFT_TRY(weft__arena_grow(arena, (void **)&ctx->numbers, ctx->number_count, &ctx->number_cap,
                              count, sizeof *ctx->numbers));
    for (size_t i = 0; i < change->claim_count; i++) {
      const weft_claim *claim = &change->claims[i];
      WEFT_ASSERT(claim->number < count);
      weft_log_number *number = &ctx->numbers[claim->number];
      if (claim->has_log) {
        number->log = claim->log;
        number->seq_max = claim->seq;
      } else if (claim->seq > number->seq_max) {
        number->seq_max = claim->seq;
      }
    }
    ctx->number_count = count;
    ctx->hlc = change->hlc;
  }
  if (change->state == WEFT_CHANGE_UNKNOWN) ctx->opaque = true;
  ctx->seq++;
  return WEFT_OK;
}

/* The container of a chunk: heads, sizes, and columns that are constant, raw or compressed.  The
 * only file that includes <zstd.h>.
 *
 * Invariants: the bytes of a container are nobody's identity: they are not hashed, and two encoders
 * may differ.  What counts is that a reader gets back the canonical bytes exactly.  A reader takes
 * no memory that the declared sizes do not allow, and the declared sizes are bounded first.
 *
 * Happy path: encode splits changes into columns and writes each in its shortest form; decode
 * checks the heads, unpacks the columns and joins them.  Failure modes: WEFT_EVERSION for another
 * form of chunk, WEFT_ELIMIT for sizes beyond the limits, WEFT_EMALFORMED for everything else.
 *
 * zstd's contexts take memory from malloc: setting its allocator is not in its stable interface.
 * That memory is bounded by the compression level and freed with the codec, and a context that
 * cannot be made is WEFT_ENOMEM.  Making contexts and taking scratch memory anew cost as much as a
 * short chunk itself, so whoever codes many keeps a codec. */
#include <string.h>

#include <zstd.h>

#include "crdt/assert.h"
#include "crdt/chunk_columns.h"

enum {
  chunk_form = 1, /* first byte */
  column_raw = 0, /* low bits of a column's header, whose rest is the length */
  column_constant = 1,
  column_zstd = 2,
  column_form_bits = 2,
  column_form_mask = 3,
  zstd_len_min = 24,       /* a frame costs about 12 bytes: shorter columns cannot win */
  words_text_len_min = 512 /* in less text hardly a word comes twice */
};

/* Kept room that one long change has left behind is given back. */
enum { column_kept_len_max = 64 << 10, scratch_kept_len_max = 2 << 20 };

struct weft_chunk_codec {
  weft_alloc mem;
  ZSTD_CCtx *pack;   /* NULL: not needed yet */
  ZSTD_DCtx *unpack; /* likewise */
  weft_arena scratch;
  weft_buf packed;
  weft__columns_out columns;
};

static void codec_init(weft_chunk_codec *c, const weft_alloc *mem) {
  memset(c, 0, sizeof *c);
  c->mem = *mem;
  weft__arena_init(&c->scratch, mem);
  size_t len_max = weft__columns_len_max(WEFT_CHANGE_LEN_MAX);
  weft__buf_init(&c->packed, mem, ZSTD_compressBound(len_max));
  for (unsigned i = 0; i < COLUMNS; i++) weft__buf_init(&c->columns.at[i].bytes, mem, len_max);
}

static void codec_clear(weft_chunk_codec *c) {
  ZSTD_freeCCtx(c->pack);
  ZSTD_freeDCtx(c->unpack);
  weft__arena_free(&c->scratch);
  weft__buf_free(&c->packed);
  for (unsigned i = 0; i < COLUMNS; i++) weft__buf_free(&c->columns.at[i].bytes);
}

weft_err weft__chunk_codec_new(weft_chunk_codec **out, const weft_alloc *mem) {
  *out = mem->alloc(mem->ctx, sizeof **out);
  if (!*out) return WEFT_ENOMEM;
  codec_init(*out, mem);
  return WEFT_OK;
}

void weft__chunk_codec_free(weft_chunk_codec *c) {
  if (!c) return;
  weft_alloc mem = c->mem;
  codec_clear(c);
  mem.free(mem.ctx, c);
}

static void kept_reset(weft_buf *b) {
  if (b->cap > column_kept_len_max) weft__buf_free(b);
  weft__buf_reset(b);
}

static void scratch_reset(weft_chunk_codec *c) {
  if (c->scratch.held > scratch_kept_len_max) weft__arena_free(&c->scratch);
  weft__arena_reset(&c->scratch);
}

/* Empties what the last chunk left in the columns. */
static void columns_reset(weft_chunk_codec *c) {
  weft__columns_out *columns = &c->columns;
  for (unsigned i = 0; i < COLUMNS; i++) {
    weft__column_out *column = &columns->at[i];
    kept_reset(&column->bytes);
    column->value = 0;
    column->any = column->varies = false;
  }
  columns->len = columns->names = columns->paths = 0;
  kept_reset(&c->packed);
}

static size_t total_count(const weft_run *runs, size_t run_count, size_t *len) {
  size_t count = 0;
  *len = 0;
  for (size_t r = 0; r < run_count; r++) {
    count += runs[r].count;
    for (size_t i = 0; i < runs[r].count; i++) *len += runs[r].changes[i].len;
  }
  return count;
}

/* The limits of a chunk, for both sides. */
static weft_err sizes_check(size_t count, size_t len) {
  if (count > WEFT_CHUNK_CHANGES_MAX) return WEFT_ELIMIT;
  return len > (count == 1 ? WEFT_CHANGE_LEN_MAX : WEFT_CHUNK_LEN_MAX) ? WEFT_ELIMIT : WEFT_OK;
}

/* --- writing --- */

static void head_write(weft_buf *out, const weft_run *run) {
  weft__buf_put_raw(out, run->log.b, sizeof run->log.b);
  weft__buf_varint(out, run->first);
  weft__buf_varint(out, run->count);
  weft__buf_put_raw(out, run->prev.b, sizeof run->prev.b);
  weft__buf_put_raw(out, run->sig.b, sizeof run->sig.b);
}

/* Absent: no entry, or nothing but zeros. */
static bool column_absent(const weft__column_out *column, bool bytes) {
  if (column->bytes.len == 0) return true;
  return !bytes && !column->varies && column->value == 0;
}

/* What a column of bytes takes. */
static weft_err packed_len(ZSTD_CCtx *zstd, weft_buf *packed, weft_bytes plain, int level,
                           size_t *len) {
  *len = plain.len;
  if (plain.len < zstd_len_min) return WEFT_OK;
  weft__buf_reset(packed);
  size_t room = ZSTD_compressBound(plain.len);
  uint8_t *at = weft__buf_room(packed, room);
  WEFT_TRY(weft__buf_err(packed));
  size_t got = ZSTD_compressCCtx(zstd, at, room, plain.at, plain.len, level);
  /* defensive: the room is enough, so it is memory inside zstd that ran out */
  if (ZSTD_isError(got)) return WEFT_ENOMEM;
  if (got + weft__varint_len(plain.len) < plain.len) *len = got;
  return WEFT_OK;
}

static weft_err column_write(weft_buf *out, ZSTD_CCtx *zstd, weft_buf *packed,
                             const weft__column_out *column, bool bytes, int level) {
  size_t len = column->bytes.len;
  if (!bytes && !column->varies) {
    weft__buf_varint(out, column_constant);
    weft__buf_varint(out, column->value);
    return WEFT_OK;
  }
  size_t best;
  WEFT_TRY(packed_len(zstd, packed, weft__buf_view(&column->bytes), level, &best));
  if (best == len) {
    weft__buf_varint(out, (uint64_t)len << column_form_bits | column_raw);
    weft__buf_put_raw(out, column->bytes.at, len);
    return WEFT_OK;
  }
  weft__buf_varint(out, (uint64_t)best << column_form_bits | column_zstd);
  weft__buf_varint(out, len);
  weft__buf_put_raw(out, packed->at, best);
  return WEFT_OK;
}

/* Codes the text column by words where that packs better. */
static weft_err text_code(weft__columns_out *columns, weft_arena *scratch, ZSTD_CCtx *zstd,
                          weft_buf *packed, int level) {
  weft_buf *text = &columns->at[COLUMN_TEXT].bytes, *words = &columns->at[COLUMN_WORDS].bytes;
  if (text->len < words_text_len_min) return WEFT_OK;
  weft_buf coded;
  size_t plain_len = 0, words_len = 0, coded_len = 0;
  weft__buf_init(&coded, &text->mem, text->max);
  weft_err err = weft__words_code(weft__buf_view(text), scratch, words, &coded);
  if (err == WEFT_OK) err = packed_len(zstd, packed, weft__buf_view(text), level, &plain_len);
  if (err == WEFT_OK) err = packed_len(zstd, packed, weft__buf_view(words), level, &words_len);
  if (err == WEFT_OK) err = packed_len(zstd, packed, weft__buf_view(&coded), level, &coded_len);
  if (err == WEFT_OK && words->len > 0 && words_len + coded_len < plain_len) {
    weft_buf plain = *text;
    *text = coded;
    coded = plain;
  } else {
    words->len = 0;
  }
  weft__buf_free(&coded);
  return err;
}

static uint64_t columns_present(const weft__columns_out *columns) {
  uint64_t present = 0;
  size_t len = 0;
  for (unsigned i = 0; i < COLUMNS; i++) {
    bool bytes = weft__column_is_bytes((weft__column)i);
    if (!column_absent(&columns->at[i], bytes)) present |= (uint64_t)1 << i;
    len += columns->at[i].bytes.len;
  }
  WEFT_ASSERT(len <= weft__columns_len_max(columns->len));
  return present;
}

static weft_err columns_write(weft_buf *out, weft_chunk_codec *c, int level) {
  weft__columns_out *columns = &c->columns;
  if (!c->pack) c->pack = ZSTD_createCCtx();
  if (!c->pack) return WEFT_ENOMEM; /* defensive: malloc failed */
  weft_err err = text_code(columns, &c->scratch, c->pack, &c->packed, level);
  uint64_t present = columns_present(columns);
  weft__buf_varint(out, columns->len);
  weft__buf_varint(out, columns->names);
  weft__buf_varint(out, columns->paths);
  weft__buf_varint(out, present);
  for (unsigned i = 0; i < COLUMNS && err == WEFT_OK; i++) {
    if (!(present >> i & 1)) continue;
    bool bytes = weft__column_is_bytes((weft__column)i);
    err = column_write(out, c->pack, &c->packed, &columns->at[i], bytes, level);
  }
  return err;
}

weft_err weft__chunk_encode_with(weft_chunk_codec *c, weft_buf *out, const weft_run *runs,
                                 size_t run_count, weft_chunk_effort effort) {
  if (run_count == 0) return WEFT_EMISUSE;
  if (run_count > WEFT_CHUNK_RUNS_MAX) return WEFT_ELIMIT;
  for (size_t r = 0; r < run_count; r++) {
    if (runs[r].count == 0 || runs[r].first == 0) return WEFT_EMISUSE;
    if (runs[r].first > UINT64_MAX - runs[r].count) return WEFT_ELIMIT;
  }
  size_t len = 0, from = out->len;
  size_t count = total_count(runs, run_count, &len);
  WEFT_TRY(sizes_check(count, len));
  columns_reset(c);
  weft__buf_u8(out, chunk_form);
  weft__buf_varint(out, run_count);
  for (size_t r = 0; r < run_count; r++) head_write(out, &runs[r]);
  weft_err err = weft__chunk_split(&c->columns, &c->scratch, runs, run_count);
  if (err == WEFT_OK) err = columns_write(out, c, (int)effort);
  if (err == WEFT_OK) err = weft__buf_err(out);
  if (err != WEFT_OK) out->len = from;
  scratch_reset(c);
  return err;
}

weft_err weft__chunk_encode(weft_buf *out, const weft_alloc *mem, const weft_run *runs,
                            size_t run_count, weft_chunk_effort effort) {
  weft_chunk_codec c;
  codec_init(&c, mem);
  weft_err err = weft__chunk_encode_with(&c, out, runs, run_count, effort);
  codec_clear(&c);
  return err;
}

/* --- reading --- */

static weft_err heads_read(weft_arena *arena, weft_rd *r, weft_run_head **heads, size_t *count,
                           size_t *changes) {
  uint8_t form = weft__rd_u8(r);
  if (r->failed) return WEFT_EMALFORMED;
  if (form != chunk_form) return WEFT_EVERSION;
  uint64_t runs = weft__rd_varint(r);
  if (runs == 0) return WEFT_EMALFORMED;
  if (runs > WEFT_CHUNK_RUNS_MAX) return WEFT_ELIMIT;
  weft_run_head *list = weft__arena_zero(arena, (size_t)runs, sizeof *list);
  if (!list) return WEFT_ENOMEM;
  uint64_t total = 0;
  for (size_t i = 0; i < runs; i++) {
    weft_run_head *head = &list[i];
    head->log = weft__rd_id(r);
    head->first = weft__rd_varint(r);
    head->count = weft__rd_varint(r);
    head->prev = weft__rd_id(r);
    weft_bytes sig = weft__rd_take(r, sizeof head->sig.b);
    if (r->failed || head->first == 0 || head->count == 0) return WEFT_EMALFORMED;
    memcpy(head->sig.b, sig.at, sizeof head->sig.b);
    if (head->count > WEFT_CHUNK_CHANGES_MAX) return WEFT_ELIMIT;
    if (head->first > UINT64_MAX - head->count) return WEFT_ELIMIT;
    total += head->count;
  }
  *heads = list;
  *count = (size_t)runs;
  *changes = (size_t)total;
  return WEFT_OK;
}

weft_err weft__chunk_heads(weft_arena *arena, weft_bytes in, weft_run_head **heads, size_t *count) {
  *heads = NULL;
  *count = 0;
  size_t changes;
  weft_rd r = weft__rd(in);
  WEFT_TRY(heads_read(arena, &r, heads, count, &changes));
  return WEFT_OK;
}

/* Unpacks one frame that says it holds `len` bytes, and does. */
static weft_err frame_read(weft_arena *scratch, ZSTD_DCtx *zstd, weft_bytes frame, size_t len,
                           weft_rd *out) {
  if (ZSTD_getFrameContentSize(frame.at, frame.len) != len) return WEFT_EMALFORMED;
  uint8_t *at = weft__arena_take(scratch, len);
  if (!at) return WEFT_ENOMEM;
  size_t got = ZSTD_decompressDCtx(zstd, at, len, frame.at, frame.len);
  if (got != len) return WEFT_EMALFORMED; /* an error is a number far above any length */
  *out = weft__rd(weft_bytes_of(at, len));
  return WEFT_OK;
}

static weft_err column_read(weft_arena *scratch, ZSTD_DCtx *zstd, weft_rd *r, size_t *left,
                            bool bytes, weft__column_in *column) {
  uint64_t header = weft__rd_varint(r);
  unsigned form = header & column_form_mask;
  uint64_t len = header >> column_form_bits;
  if (form == column_constant) {
    column->constant = true;
    column->value = weft__rd_varint(r);
    return bytes || len != 0 || r->failed ? WEFT_EMALFORMED : WEFT_OK;
  }
  uint64_t whole = form == column_zstd ? weft__rd_varint(r) : len;
  if (form > column_zstd || len > weft__rd_left(r) || whole > *left) return WEFT_EMALFORMED;
  *left -= (size_t)whole;
  weft_bytes view = weft__rd_take(r, (size_t)len);
  if (form == column_zstd) return frame_read(scratch, zstd, view, (size_t)whole, &column->rd);
  column->rd = weft__rd(view);
  return WEFT_OK;
}

static weft_err columns_read(weft_arena *scratch, ZSTD_DCtx *zstd, weft_rd *r, size_t changes,
                             weft__columns_in *columns) {
  uint64_t len = weft__rd_varint(r), names = weft__rd_varint(r), paths = weft__rd_varint(r);
  uint64_t present = weft__rd_varint(r);
  if (r->failed || present >> COLUMNS != 0) return WEFT_EMALFORMED;
  if (len > WEFT_CHANGE_LEN_MAX) return WEFT_ELIMIT;
  WEFT_TRY(sizes_check(changes, (size_t)len));
  if (names > len || paths > len) return WEFT_EMALFORMED;
  columns->len = (size_t)len;
  columns->names = (size_t)names;
  columns->paths = (size_t)paths;
  size_t left = weft__columns_len_max(columns->len);
  for (unsigned i = 0; i < COLUMNS; i++) {
    bool bytes = weft__column_is_bytes((weft__column)i);
    columns->at[i].constant = !bytes; /* absent: zeros, or no bytes */
    if (!(present >> i & 1)) continue;
    columns->at[i].constant = false;
    WEFT_TRY(column_read(scratch, zstd, r, &left, bytes, &columns->at[i]));
  }
  return weft__rd_done(r) ? WEFT_OK : WEFT_EMALFORMED;
}

static weft_err runs_make(weft_arena *arena, const weft_run_head *heads, size_t count,
                          const weft_bytes *changes, weft_brief *briefs, weft_run **out) {
  weft_run *runs = weft__arena_zero(arena, count, sizeof *runs);
  if (!runs) return WEFT_ENOMEM;
  for (size_t i = 0; i < count; i++) {
    runs[i] = (weft_run){.log = heads[i].log,
                         .first = heads[i].first,
                         .prev = heads[i].prev,
                         .changes = changes,
                         .count = (size_t)heads[i].count,
                         .sig = heads[i].sig,
                         .briefs = briefs};
    changes += heads[i].count;
    if (briefs) briefs += heads[i].count;
  }
  *out = runs;
  return WEFT_OK;
}

static weft_err chunk_decode(weft_chunk_codec *c, weft_arena *arena, weft_bytes in, bool briefly,
                             weft_run **runs, size_t *run_count) {
  *runs = NULL;
  *run_count = 0;
  weft_run_head *heads = NULL;
  size_t count = 0, total = 0;
  weft_rd r = weft__rd(in);
  WEFT_TRY(heads_read(arena, &r, &heads, &count, &total));
  if (!c->unpack) c->unpack = ZSTD_createDCtx();
  if (!c->unpack) return WEFT_ENOMEM; /* defensive: malloc failed */
  weft__columns_in columns = {.len = 0};
  weft_bytes *changes = NULL;
  weft_brief *briefs = NULL;
  weft_err err = columns_read(&c->scratch, c->unpack, &r, total, &columns);
  if (err == WEFT_OK) {
    changes = weft__arena_take(arena, total * sizeof *changes);
    if (briefly) briefs = weft__arena_take(arena, total * sizeof *briefs);
    err = !changes || (briefly && !briefs) ? WEFT_ENOMEM : WEFT_OK;
  }
  if (err == WEFT_OK) {
    err = weft__chunk_join(&columns, arena, &c->scratch, changes, briefs, total);
  }
  scratch_reset(c);
  if (err == WEFT_OK) err = runs_make(arena, heads, count, changes, briefs, runs);
  if (err == WEFT_OK) *run_count = count;
  return err;
}

weft_err weft__chunk_decode_with(weft_chunk_codec *c, weft_arena *arena, weft_bytes in,
                                 weft_run **runs, size_t *run_count) {
  return chunk_decode(c, arena, in, false, runs, run_count);
}

weft_err weft__chunk_decode_briefly(weft_chunk_codec *c, weft_arena *arena, weft_bytes in,
                                    weft_run **runs, size_t *run_count) {
  return chunk_decode(c, arena, in, true, runs, run_count);
}

weft_err weft__chunk_decode(weft_arena *arena, weft_bytes in, weft_run **runs, size_t *run_count) {
  weft_chunk_codec c;
  codec_init(&c, &arena->mem);
  weft_err err = weft__chunk_decode_with(&c, arena, in, runs, run_count);
  codec_clear(&c);
  return err;
}

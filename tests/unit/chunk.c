/* Chunks: every byte string comes back, whatever the container says stays within bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/chunk_columns.h"
#include "tests/support/changes.h"
#include "tests/support/docs.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/hex.h"
#include "tests/support/pace.h"

typedef struct fixture {
  weft_alloc mem;
  weft_arena arena; /* what goes in */
  weft_arena back;  /* what comes out */
  weft_buf out;
} fixture;

static int set_up(void **state) {
  static fixture f;
  f.mem = weft_alloc_libc();
  weft__arena_init(&f.arena, &f.mem);
  weft__arena_init(&f.back, &f.mem);
  weft__buf_init(&f.out, &f.mem, 64u << 20);
  *state = &f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  weft__arena_free(&f->arena);
  weft__arena_free(&f->back);
  weft__buf_free(&f->out);
  return 0;
}

static weft_run run_of(const weft_bytes *changes, size_t count) {
  weft_run run = {.first = 7, .changes = changes, .count = count};
  memset(run.log.b, 0x11, sizeof run.log.b);
  memset(run.prev.b, 0x22, sizeof run.prev.b);
  memset(run.sig.b, 0x33, sizeof run.sig.b);
  return run;
}

static weft_err encode(fixture *f, const weft_run *runs, size_t count, weft_chunk_effort effort) {
  weft__buf_reset(&f->out);
  return weft__chunk_encode(&f->out, &f->mem, runs, count, effort);
}

static bool same_run(const weft_run *a, const weft_run *b) {
  if (weft_id_cmp(&a->log, &b->log) != 0 || weft_id_cmp(&a->prev, &b->prev) != 0) return false;
  if (a->first != b->first || a->count != b->count) return false;
  if (memcmp(&a->sig, &b->sig, sizeof a->sig) != 0) return false;
  for (size_t i = 0; i < a->count; i++) {
    if (weft_bytes_cmp(a->changes[i], b->changes[i]) != 0) return false;
  }
  return true;
}

/* What is told beside the bytes is what they say, and is told of whatever is usual. */
static void briefs_agree(fixture *f, uint64_t seed, size_t count) {
  weft_chunk_codec *codec;
  weft_run *back = NULL;
  size_t back_count = 0;
  assert_int_equal(weft__chunk_codec_new(&codec, &f->mem), WEFT_OK);
  weft_bytes in = weft__buf_view(&f->out);
  assert_int_equal(weft__chunk_decode_briefly(codec, &f->back, in, &back, &back_count), WEFT_OK);
  assert_int_equal(back_count, count);
  for (size_t r = 0; r < count; r++) {
    for (size_t i = 0; i < back[r].count; i++) {
      bool known;
      const weft_brief *brief = &back[r].briefs[i];
      bool same = test_brief_true(&f->back, back[r].changes[i], brief, &known);
      if (!same || brief->known != known) {
        fail_msg("seed=%u: change %zu of run %zu: told %d, usual %d", (unsigned)seed, i, r,
                 brief->known, known);
      }
    }
  }
  weft__chunk_codec_free(codec);
}

static void round_trip(fixture *f, uint64_t seed, const weft_run *runs, size_t count) {
  weft_chunk_effort effort = seed % 2 ? WEFT_CHUNK_SEALED : WEFT_CHUNK_LIVE;
  weft_run *back = NULL;
  size_t back_count = 0;
  weft__arena_reset(&f->back);
  assert_int_equal(encode(f, runs, count, effort), WEFT_OK);
  weft_err err = weft__chunk_decode(&f->back, weft__buf_view(&f->out), &back, &back_count);
  if (err != WEFT_OK) fail_msg("seed=%u: %s", (unsigned)seed, weft_err_name(err));
  assert_int_equal(back_count, count);
  for (size_t i = 0; i < count; i++) {
    if (!same_run(&runs[i], &back[i])) fail_msg("seed=%u: run %zu differs", (unsigned)seed, i);
  }
  weft_run_head *heads = NULL;
  assert_int_equal(weft__chunk_heads(&f->back, weft__buf_view(&f->out), &heads, &back_count),
                   WEFT_OK);
  assert_int_equal(back_count, count);
  for (size_t i = 0; i < count; i++) {
    assert_true(heads[i].first == runs[i].first && heads[i].count == runs[i].count);
    assert_int_equal(weft_id_cmp(&heads[i].log, &runs[i].log), 0);
    assert_int_equal(weft_id_cmp(&heads[i].prev, &runs[i].prev), 0);
    assert_memory_equal(&heads[i].sig, &runs[i].sig, sizeof runs[i].sig);
  }
  briefs_agree(f, seed, count);
}

/* A change, also with a wrong byte or two, or now and then bytes that are none. */
static weft_bytes any_bytes(weft_arena *arena, test_rng *rng) {
  if (test_rng_chance(rng, 90)) {
    weft_change change = test_change_any(arena, rng);
    weft_bytes bytes = test_change_bytes(arena, &change);
    if (test_rng_chance(rng, 80)) return bytes;
    uint8_t *at = weft__arena_take(arena, bytes.len);
    assert_non_null(at);
    memcpy(at, bytes.at, bytes.len);
    for (size_t n = 1 + test_rng_below(rng, 2); n > 0; n--) {
      at[test_rng_below(rng, bytes.len)] ^= (uint8_t)(1u << test_rng_below(rng, 8));
    }
    return weft_bytes_of(at, bytes.len);
  }
  size_t len = (size_t)test_rng_below(rng, 100);
  uint8_t *at = weft__arena_take(arena, len);
  assert_non_null(at);
  test_rng_fill(rng, at, len);
  return weft_bytes_of(at, len);
}

/* Fills `runs` with up to `count` runs of up to `changes` changes that fit one chunk. */
static size_t any_runs(fixture *f, test_rng *rng, weft_run *runs, size_t count, size_t changes) {
  size_t left = WEFT_CHUNK_LEN_MAX, made = 0;
  for (size_t r = 0; r < count; r++) {
    weft_bytes *list = weft__arena_zero(&f->arena, changes, sizeof *list);
    assert_non_null(list);
    size_t n = 0;
    for (size_t want = 1 + test_rng_below(rng, changes); n < want; n++) {
      list[n] = any_bytes(&f->arena, rng);
      if (list[n].len > left) break;
      left -= list[n].len;
    }
    if (n == 0) break;
    runs[made] = run_of(list, n);
    runs[made].first = 1 + (test_rng_next(rng) >> (1 + test_rng_below(rng, 63)));
    test_rng_fill(rng, runs[made].log.b, sizeof runs[made].log.b);
    test_rng_fill(rng, runs[made].sig.b, sizeof runs[made].sig.b);
    made++;
  }
  return made;
}

static void round_trips(void **state) {
  fixture *f = *state;
  for (uint64_t seed = 1; seed <= test_share(400, 20); seed++) {
    test_rng rng = test_rng_of(seed);
    weft_run runs[5];
    weft__arena_reset(&f->arena);
    size_t count = any_runs(f, &rng, runs, 1 + seed % 5, 1 + seed % 60);
    if (count > 0) round_trip(f, seed, runs, count);
  }
}

/* --- edges --- */

static void edges_round_trip(void **state) {
  fixture *f = *state;
  weft_bytes none = weft_bytes_of(NULL, 0);
  weft_run run = run_of(&none, 1);
  round_trip(f, 1, &run, 1); /* one change of no bytes */

  weft_bytes *tiny = weft__arena_zero(&f->arena, WEFT_CHUNK_CHANGES_MAX, sizeof *tiny);
  assert_non_null(tiny);
  for (size_t i = 0; i < WEFT_CHUNK_CHANGES_MAX; i++) {
    weft_change change =
        test_change_single(&f->arena, 1000 + i, "t/a", "k", test_scalar_int(&f->arena, (int64_t)i));
    tiny[i] = test_change_bytes(&f->arena, &change);
  }
  run = run_of(tiny, WEFT_CHUNK_CHANGES_MAX);
  round_trip(f, 1, &run, 1);
  assert_true(f->out.len < 600); /* counting up costs nothing but the heads */
  for (size_t i = 0; i < WEFT_CHUNK_CHANGES_MAX; i++) tiny[i] = none;
  round_trip(f, 2, &run, 1);

  /* The longest change, as the codec knows it and as it does not. */
  uint8_t *big = weft__arena_zero(&f->arena, WEFT_CHANGE_LEN_MAX, 1);
  assert_non_null(big);
  weft_bytes one = weft_bytes_of(big, WEFT_CHANGE_LEN_MAX);
  run = run_of(&one, 1);
  round_trip(f, 3, &run, 1);
  enum { blob_len = 200000, blobs = 20 };
  weft_change change = {.kind = WEFT_CHANGE_DATA, .hlc = 1, .op_count = blobs};
  change.ops = weft__arena_zero(&f->arena, blobs, sizeof *change.ops);
  assert_non_null(change.ops);
  test_rng rng = test_rng_of(9);
  for (unsigned i = 0; i < blobs; i++) {
    char key[16];
    snprintf(key, sizeof key, "k%u", i);
    test_rng_fill(&rng, big, blob_len);
    change.ops[i] = (weft_op){.doc = weft_bytes_str("t/a"),
                              .path = test_path_key(&f->arena, key),
                              .kind = WEFT_OP_SCALAR,
                              .value = test_scalar_blob(&f->arena, weft_bytes_of(big, blob_len))};
  }
  one = test_change_bytes(&f->arena, &change);
  run = run_of(&one, 1);
  round_trip(f, 4, &run, 1);
}

/* Every kind of value at one path, and each alone at its own. */
static void values_of_every_kind(void **state) {
  fixture *f = *state;
  static const char *const keys[] = {"null", "bool", "int", "decimal", "real", "text", "blob"};
  for (uint64_t seed = 1; seed <= test_share(30, 10); seed++) {
    test_rng rng = test_rng_of(seed);
    weft_bytes changes[300];
    weft__arena_reset(&f->arena);
    for (size_t i = 0; i < 300; i++) {
      size_t kind = test_rng_below(&rng, 7);
      uint8_t blob[4];
      test_rng_fill(&rng, blob, sizeof blob);
      int64_t n = (int64_t)(test_rng_next(&rng) >> (1 + test_rng_below(&rng, 63)));
      weft_bytes values[] = {
          test_scalar_null(&f->arena),
          test_scalar_bool(&f->arena, n & 1),
          test_scalar_int(&f->arena, seed % 2 ? 1700000000000 + n % 1000 : -n),
          test_scalar_real(&f->arena, (double)(n % 100000) / 100),
          test_scalar_real(&f->arena, (double)n / 3),
          test_scalar_text(&f->arena, n % 2 ? "alpha beta, gamma\xc3\xbc\t\x01" : " beta beta"),
          test_scalar_blob(&f->arena, weft_bytes_of(blob, (size_t)(n & 3))),
      };
      const char *key = seed % 3 ? keys[kind] : "any";
      weft_change change = test_change_single(&f->arena, 1 + i, "t/a", key, values[kind]);
      changes[i] = test_change_bytes(&f->arena, &change);
    }
    weft_run run = run_of(changes, 300);
    round_trip(f, seed, &run, 1);
  }
}

/* Claims of few and of many logs, by near numbers and by far ones, over several documents. */
static void claims_in_any_number(void **state) {
  enum { changes_max = 200, claims_max = 3 };
  static const uint32_t spans[] = {2, 8, 1000, 2000, UINT32_MAX / claims_max};
  fixture *f = *state;
  for (uint64_t seed = 1; seed <= test_share(100, 25); seed++) {
    test_rng rng = test_rng_of(seed);
    weft_bytes changes[changes_max];
    size_t count = 1 + test_rng_below(&rng, changes_max);
    uint32_t span = spans[seed % (sizeof spans / sizeof spans[0])];
    weft__arena_reset(&f->arena);
    for (size_t i = 0; i < count; i++) {
      weft_claim claims[claims_max] = {{0}};
      uint32_t number = 0;
      char doc[16];
      snprintf(doc, sizeof doc, "t/%u", (unsigned)test_rng_below(&rng, 9));
      weft_change change =
          test_change_single(&f->arena, 1 + i, doc, "k", test_scalar_null(&f->arena));
      change.claims = claims;
      change.claim_count = test_rng_below(&rng, claims_max + 1);
      for (size_t c = 0; c < change.claim_count; c++) {
        number += 1 + (uint32_t)test_rng_below(&rng, span - 1);
        claims[c] = (weft_claim){.number = number, .seq = 1 + test_rng_below(&rng, 100000)};
      }
      changes[i] = test_change_bytes(&f->arena, &change);
    }
    weft_run run = run_of(changes, count);
    round_trip(f, seed, &run, 1);
  }
}

/* --- golden vector: docs/disk.md, "Chunk", explains it byte by byte --- */

static const char golden[] = "0101"
                             "1111111111111111111111111111111111111111111111111111111111111111"
                             "0702"
                             "2222222222222222222222222222222222222222222222222222222222222222"
                             "3333333333333333333333333333333333333333333333333333333333333333"
                             "3333333333333333333333333333333333333333333333333333333333333333"
                             "3501028ee28abb19"
                             "1c80808080806402"
                             "0102"
                             "080001"
                             "0108"
                             "042c"
                             "0101"
                             "080000"
                             "080100"
                             "0103"
                             "0c742f61"
                             "080205"
                             "1c026e086e616d65"
                             "080306"
                             "010a"
                             "0101"
                             "0478";

static void golden_chunk(void **state) {
  fixture *f = *state;
  weft_bytes changes[2];
  for (size_t i = 0; i < 2; i++) {
    weft_change change =
        test_change_single(&f->arena, 0x0190000000000001 + (i << 16), "t/a", i ? "n" : "name",
                           i ? test_scalar_int(&f->arena, 5) : test_scalar_text(&f->arena, "x"));
    weft_claim claim = {.number = 2, .seq = 300};
    change.claims = &claim;
    change.claim_count = i;
    changes[i] = test_change_bytes(&f->arena, &change);
  }
  weft_run run = run_of(changes, 2);
  round_trip(f, 1, &run, 1);
  test_assert_hex(weft__buf_view(&f->out), golden);
  test_assert_docs(weft__buf_view(&f->out), "disk.md", "chunk");
}

/* --- sizes that are promised --- */

/* What a chunk takes before compression, without the columns of names, paths and values: read from
 * the bytes themselves, as docs/disk.md has them. */
static size_t overhead_of(weft_bytes chunk) {
  weft_rd r = weft__rd(chunk);
  assert_int_equal(weft__rd_u8(&r), 1);
  for (uint64_t runs = weft__rd_varint(&r); runs > 0; runs--) {
    (void)weft__rd_take(&r, 32);
    (void)weft__rd_varint(&r);
    (void)weft__rd_varint(&r);
    (void)weft__rd_take(&r, 32 + 64);
  }
  for (unsigned i = 0; i < 3; i++) (void)weft__rd_varint(&r);
  uint64_t present = weft__rd_varint(&r);
  size_t len = chunk.len - weft__rd_left(&r);
  for (unsigned i = 0; i < COLUMNS; i++) {
    if (!(present >> i & 1)) continue;
    size_t before = weft__rd_left(&r), grown = 0;
    uint64_t head = weft__rd_varint(&r);
    if ((head & 3) == 1) (void)weft__rd_varint(&r);
    if ((head & 3) == 0) (void)weft__rd_take(&r, (size_t)(head >> 2));
    if ((head & 3) == 2) {
      grown = (size_t)weft__rd_varint(&r) - (size_t)(head >> 2);
      (void)weft__rd_take(&r, (size_t)(head >> 2));
    }
    if (i < COLUMN_NAME_SHARED) len += before - weft__rd_left(&r) + grown;
  }
  assert_true(weft__rd_done(&r));
  return len;
}

/* A value that a template may have, so short that a thousand of them fit one chunk. */
static weft_bytes short_value(weft_arena *arena, test_rng *rng) {
  char text[64];
  snprintf(text, sizeof text, "set %u of %u", (unsigned)test_rng_below(rng, 90000),
           (unsigned)test_rng_below(rng, 90000));
  switch (test_rng_below(rng, 4)) {
  case 0: return test_scalar_int(arena, (int64_t)test_rng_below(rng, 100000) - 50000);
  case 1: return test_scalar_real(arena, (double)test_rng_below(rng, 200000) / 1000.0);
  case 2: return test_scalar_text(arena, test_rng_chance(rng, 50) ? "yes" : "no");
  default: return test_scalar_text(arena, text);
  }
}

static void a_single_field_costs_eight_bytes(void **state) {
  fixture *f = *state;
  for (uint64_t seed = 1; seed <= test_share(20, 10); seed++) {
    test_rng rng = test_rng_of(seed);
    weft_bytes changes[1000];
    uint64_t us = 1750000000000000;
    weft__arena_reset(&f->arena);
    for (size_t i = 0; i < 1000; i++) {
      char name[32], key[8];
      snprintf(name, sizeof name, "templates/tpl-%06u", (unsigned)test_rng_below(&rng, 10000));
      snprintf(key, sizeof key, "key%u", (unsigned)test_rng_below(&rng, 12));
      us += test_rng_below(&rng, 5000000);
      weft_change change =
          test_change_single(&f->arena, us / 1000 << 16, name, key, short_value(&f->arena, &rng));
      changes[i] = test_change_bytes(&f->arena, &change);
    }
    weft_run run = run_of(changes, 1000);
    round_trip(f, seed, &run, 1); /* odd seeds with all effort, even ones with little */
    size_t len = overhead_of(weft__buf_view(&f->out));
    if (len > 8 * run.count) fail_msg("seed=%u: %zu bytes in 1,000", (unsigned)seed, len);
  }
}

static void words_shrink_a_text(void **state) {
  fixture *f = *state;
  static const char *const words[] = {"alpha", "amber", "anchor", "arrow",
                                      "atlas", "basil", "beacon", "birch"};
  test_rng rng = test_rng_of(6);
  weft_bytes changes[1000];
  for (size_t i = 0; i < 1000; i++) {
    char text[100] = "";
    for (unsigned k = 0; k < 8; k++) {
      strcat(text, words[test_rng_below(&rng, 8)]);
      strcat(text, " ");
    }
    weft_change change =
        test_change_single(&f->arena, 1 + i, "t/a", "k", test_scalar_text(&f->arena, text));
    changes[i] = test_change_bytes(&f->arena, &change);
  }
  weft_run run = run_of(changes, 1000);
  round_trip(f, 1, &run, 1);
  assert_true(f->out.len < 5000); /* 3 bits a word are 3 bytes a change; zstd alone takes 9 */
}

/* --- hostile bytes --- */

/* An allocator that knows how much is held. */
typedef struct meter {
  size_t held;
  size_t peak;
} meter;

static void *meter_alloc(void *ctx, size_t len) {
  meter *m = ctx;
  size_t *at = malloc(len + 16);
  if (!at) return NULL;
  *at = len;
  m->held += len;
  if (m->held > m->peak) m->peak = m->held;
  return (uint8_t *)at + 16;
}

static void meter_free(void *ctx, void *at) {
  meter *m = ctx;
  if (!at) return;
  size_t *from = (void *)((uint8_t *)at - 16);
  m->held -= *from;
  free(from);
}

static void *meter_grow(void *ctx, void *at, size_t len) {
  void *fresh = meter_alloc(ctx, len);
  if (fresh && at) {
    size_t before = *(size_t *)(void *)((uint8_t *)at - 16);
    memcpy(fresh, at, before < len ? before : len);
  }
  if (fresh) meter_free(ctx, at);
  return fresh;
}

enum { memory_max = 64 << 20 };

static weft_err decode_metered(weft_bytes in) {
  meter m = {0, 0};
  weft_alloc mem = {&m, meter_alloc, meter_grow, meter_free};
  weft_arena arena;
  weft_run *runs = NULL;
  size_t count = 0;
  weft__arena_init(&arena, &mem);
  weft_err err = weft__chunk_decode(&arena, in, &runs, &count);
  assert_true((err == WEFT_OK) == (runs != NULL));
  weft__arena_free(&arena);
  weft_chunk_codec *codec;
  assert_int_equal(weft__chunk_codec_new(&codec, &mem), WEFT_OK);
  assert_int_equal(weft__chunk_decode_briefly(codec, &arena, in, &runs, &count), err);
  weft__chunk_codec_free(codec);
  weft__arena_free(&arena);
  assert_int_equal(m.held, 0);
  assert_true(m.peak <= memory_max);
  return err;
}

static bool refused(weft_err err) {
  return err == WEFT_EMALFORMED || err == WEFT_EVERSION || err == WEFT_ELIMIT;
}

static void truncated_anywhere_is_refused(void **state) {
  fixture *f = *state;
  for (uint64_t seed = 1; seed <= 12; seed++) {
    test_rng rng = test_rng_of(seed);
    weft_run runs[3];
    weft__arena_reset(&f->arena);
    size_t count = any_runs(f, &rng, runs, 1 + seed % 3, 1 + seed * 3);
    if (count == 0 || encode(f, runs, count, WEFT_CHUNK_SEALED) != WEFT_OK) continue;
    size_t step = 1 + f->out.len / test_share(4000, 40);
    for (size_t len = 0; len < f->out.len; len += step) {
      if (!refused(decode_metered(weft_bytes_of(f->out.at, len)))) {
        fail_msg("seed=%u cut at %zu", (unsigned)seed, len);
      }
    }
    weft__buf_u8(&f->out, 0);
    assert_int_equal(decode_metered(weft__buf_view(&f->out)), WEFT_EMALFORMED);
  }
}

/* A container is not hashed, so a mutation may well decode; it must only stay within bounds. */
static void mutations_stay_within_bounds(void **state) {
  fixture *f = *state;
  for (uint64_t seed = 1; seed <= 8; seed++) {
    test_rng rng = test_rng_of(seed);
    weft_run runs[3];
    weft__arena_reset(&f->arena);
    size_t count = any_runs(f, &rng, runs, 1 + seed % 3, 1 + seed * 2);
    if (count == 0 || encode(f, runs, count, WEFT_CHUNK_SEALED) != WEFT_OK) continue;
    size_t step = 1 + f->out.len / test_share(4000, 40);
    for (size_t at = 0; at < f->out.len; at += step) {
      uint8_t keep = f->out.at[at];
      for (unsigned flip = 1; flip < 256; flip = flip * 3 + 1) {
        f->out.at[at] = (uint8_t)(keep ^ flip);
        weft_err err = decode_metered(weft__buf_view(&f->out));
        assert_true(err == WEFT_OK || refused(err));
      }
      f->out.at[at] = keep;
    }
  }
}

/* The heads of one run of `count` changes, then what the caller appends. */
static void craft(fixture *f, uint8_t form, uint64_t runs, uint64_t first, uint64_t count) {
  weft_run run = run_of(NULL, 0);
  weft__buf_reset(&f->out);
  weft__buf_u8(&f->out, form);
  weft__buf_varint(&f->out, runs);
  for (uint64_t i = 0; i < runs && i < 100; i++) {
    weft__buf_put_raw(&f->out, run.log.b, 32);
    weft__buf_varint(&f->out, first);
    weft__buf_varint(&f->out, count);
    weft__buf_put_raw(&f->out, run.prev.b, 32);
    weft__buf_put_raw(&f->out, run.sig.b, 64);
  }
}

static weft_err decode_crafted(fixture *f, const char *rest) {
  uint8_t bytes[256];
  size_t len = test_hex(rest, bytes, sizeof bytes);
  weft__buf_put_raw(&f->out, bytes, len);
  return decode_metered(weft__buf_view(&f->out));
}

static void heads_have_limits(void **state) {
  fixture *f = *state;
  weft_run_head *heads = NULL;
  size_t count = 0;
  assert_int_equal(decode_metered(weft_bytes_of(NULL, 0)), WEFT_EMALFORMED);
  craft(f, 2, 1, 1, 1);
  assert_int_equal(decode_crafted(f, ""), WEFT_EVERSION);
  craft(f, 1, 0, 1, 1);
  assert_int_equal(decode_crafted(f, ""), WEFT_EMALFORMED);
  craft(f, 1, WEFT_CHUNK_RUNS_MAX + 1, 1, 1);
  assert_int_equal(decode_crafted(f, ""), WEFT_ELIMIT);
  craft(f, 1, 1, 0, 1);
  assert_int_equal(decode_crafted(f, ""), WEFT_EMALFORMED);
  craft(f, 1, 1, 1, 0);
  assert_int_equal(decode_crafted(f, ""), WEFT_EMALFORMED);
  craft(f, 1, 1, UINT64_MAX, 1);
  assert_int_equal(decode_crafted(f, ""), WEFT_ELIMIT);
  craft(f, 1, 1, 1, WEFT_CHUNK_CHANGES_MAX + 1);
  assert_int_equal(decode_crafted(f, ""), WEFT_ELIMIT);
  assert_int_equal(weft__chunk_heads(&f->back, weft__buf_view(&f->out), &heads, &count),
                   WEFT_ELIMIT);
  assert_null(heads);
  craft(f, 1, 2, 1, WEFT_CHUNK_CHANGES_MAX); /* too many together */
  assert_int_equal(decode_crafted(f, "00000000"), WEFT_ELIMIT);
  craft(f, 1, 1, 1, 2);
  assert_int_equal(decode_crafted(f, "81801000000000"), WEFT_ELIMIT); /* 256 KiB and 1 */
  craft(f, 1, 1, 1, 1);
  assert_int_equal(decode_crafted(f, "8180800200000000"), WEFT_ELIMIT); /* 4 MiB and 1 */
}

static void columns_lie(void **state) {
  static const struct {
    const char *why;
    const char *rest; /* length, names, paths, mask, columns */
  } cases[] = {
      {"names beyond the length", "05060000"},
      {"paths beyond the length", "05000600"},
      {"an unknown column", "0500008080808080808001"},
      {"a constant column of bytes", "05000040"
                                     "0100"},
      {"a form that is none", "05000001"
                              "0300"},
      {"a column that ends early", "05000001"
                                   "2000"},
      {"a constant with a length", "05000001"
                                   "0501"},
      {"a shape that is none", "05000001"
                               "0108"},
      {"a raw change with a message", "05000001"
                                      "0105"},
      {"raw bytes missing", "05000021"
                            "0104"
                            "0105"},
      {"raw beyond the length", "05000021"
                                "0104"
                                "017f"},
      {"fewer bytes than declared", "05000061"
                                    "0104"
                                    "0104"
                                    "1001020304"},
      {"more claims than bytes", "05000008"
                                 "017f"},
      {"more documents than bytes", "05000010"
                                    "017f"},
      {"very many documents", "05000010"
                              "01ffffffff0f"},
      {"very many ops", "0500008080 01"
                        "01ffffffff0f"},
      {"a frame that is none", "05000001"
                               "2205"
                               "0102030405060708"},
      {"a frame beyond all sizes", "05000001"
                                   "22ffffffff0f"
                                   "28b52ffd00000000"},
  };
  fixture *f = *state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char hex[128];
    size_t len = 0;
    for (const char *c = cases[i].rest; *c; c++) {
      if (*c != ' ') hex[len++] = *c;
    }
    hex[len] = 0;
    craft(f, 1, 1, 1, 1);
    weft_err err = decode_crafted(f, hex);
    if (err != WEFT_EMALFORMED) fail_msg("%s: %s", cases[i].why, weft_err_name(err));
  }
  craft(f, 1, 1, 1, 1); /* and the like that is right */
  assert_int_equal(decode_crafted(f, "0500006101040105140102030405"), WEFT_OK);
}

/* --- words --- */

static weft_err words_back(fixture *f, const char *dictionary, const char *coded, size_t len_max,
                           weft_bytes *text) {
  static uint8_t bytes[2][1024];
  size_t a = test_hex(dictionary, bytes[0], 1024), b = test_hex(coded, bytes[1], 1024);
  return weft__words_decode(&f->back, weft_bytes_of(bytes[0], a), weft_bytes_of(bytes[1], b),
                            len_max, text);
}

static void words_are_read_exactly(void **state) {
  fixture *f = *state;
  weft_bytes text;
  assert_int_equal(words_back(f, "026162", "8041ff80ff01", 9, &text), WEFT_OK);
  assert_int_equal(weft_bytes_cmp(text, weft_bytes_str("abA\x80\x01")), 0);
  assert_int_equal(words_back(f, "026162", "8041", 2, &text), WEFT_EMALFORMED); /* too long */
  assert_int_equal(words_back(f, "026162", "81", 9, &text), WEFT_EMALFORMED);   /* no word */
  assert_int_equal(words_back(f, "026162", "80ff", 9, &text), WEFT_EMALFORMED); /* no byte */
  assert_int_equal(words_back(f, "0261", "80", 9, &text), WEFT_EMALFORMED);
  assert_int_equal(words_back(f, "0561", "41", 9, &text), WEFT_EMALFORMED);
  assert_int_equal(words_back(f, "00", "41", 9, &text), WEFT_EMALFORMED);
  char many[161 * 4];
  for (size_t i = 0; i < 160; i++) memcpy(many + 4 * i, "0161", 4);
  many[4 * 159] = 0;
  assert_int_equal(words_back(f, many, "801f", 9, &text), WEFT_OK);
  assert_int_equal(weft_bytes_cmp(text, weft_bytes_str("aa")), 0);
  many[4 * 159] = '0';
  many[4 * 160] = 0;
  assert_int_equal(words_back(f, many, "80", 9, &text), WEFT_EMALFORMED);
}

static void words_are_left_where_they_do_not_pay(void **state) {
  fixture *f = *state;
  weft_bytes changes[300], text;
  char same[200] = "";
  for (unsigned i = 0; i < 20; i++) { /* one long text again and again: zstd needs no words */
    strcat(same, "word ");
    same[5 * i] = (char)('a' + i);
  }
  for (size_t i = 0; i < 300; i++) {
    weft_change change =
        test_change_single(&f->arena, 1 + i, "t/a", "k", test_scalar_text(&f->arena, same));
    changes[i] = test_change_bytes(&f->arena, &change);
  }
  weft_run run = run_of(changes, 300);
  round_trip(f, 1, &run, 1);
  assert_true(f->out.len < 400);
  test_fault_alloc faults = {.fail_at = 1};
  weft_alloc mem = test_fault_alloc_of(&faults);
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  assert_int_equal(weft__words_decode(&arena,
                                      weft_bytes_str("\x01"
                                                     "a"),
                                      weft_bytes_str("b"), 9, &text),
                   WEFT_ENOMEM);
  weft__arena_free(&arena);
}

static void words_round_trip(void **state) {
  fixture *f = *state;
  for (uint64_t seed = 1; seed <= test_share(60, 20); seed++) {
    test_rng rng = test_rng_of(seed);
    size_t len = test_rng_below(&rng, 60000);
    uint8_t *text = weft__arena_take(&f->arena, len);
    assert_non_null(text);
    for (size_t i = 0; i < len; i++) { /* from few words to more than are counted */
      unsigned letters = 1 + (unsigned)(seed % 5) * 6;
      text[i] = (uint8_t)(test_rng_chance(&rng, 20) ? ' ' : 'a' + test_rng_below(&rng, letters));
      if (seed % 7 == 0) text[i] = (uint8_t)test_rng_next(&rng);
    }
    weft_buf dictionary, coded;
    weft__buf_init(&dictionary, &f->mem, 1 << 20);
    weft__buf_init(&coded, &f->mem, 1 << 20);
    weft_bytes plain = weft_bytes_of(text, len), back;
    assert_int_equal(weft__words_code(plain, &f->back, &dictionary, &coded), WEFT_OK);
    assert_int_equal(weft__words_decode(&f->back, weft__buf_view(&dictionary),
                                        weft__buf_view(&coded), len, &back),
                     WEFT_OK);
    if (weft_bytes_cmp(plain, back) != 0) fail_msg("seed=%u differs", (unsigned)seed);
    weft__buf_free(&dictionary);
    weft__buf_free(&coded);
    weft__arena_reset(&f->arena);
    weft__arena_reset(&f->back);
  }
}

/* --- misuse, limits, memory --- */

static void the_writer_has_limits(void **state) {
  fixture *f = *state;
  weft_bytes byte = weft_bytes_str("x");
  weft_run run = run_of(&byte, 1);
  assert_int_equal(encode(f, &run, 0, WEFT_CHUNK_LIVE), WEFT_EMISUSE);
  assert_int_equal(encode(f, &run, WEFT_CHUNK_RUNS_MAX + 1, WEFT_CHUNK_LIVE), WEFT_ELIMIT);
  run.count = 0;
  assert_int_equal(encode(f, &run, 1, WEFT_CHUNK_LIVE), WEFT_EMISUSE);
  run.count = 1;
  run.first = 0;
  assert_int_equal(encode(f, &run, 1, WEFT_CHUNK_LIVE), WEFT_EMISUSE);
  run.first = UINT64_MAX;
  assert_int_equal(encode(f, &run, 1, WEFT_CHUNK_LIVE), WEFT_ELIMIT);
  uint8_t *big = weft__arena_zero(&f->arena, WEFT_CHANGE_LEN_MAX + 1, 1);
  assert_non_null(big);
  weft_bytes two[] = {byte, weft_bytes_of(big, WEFT_CHUNK_LEN_MAX)};
  run = run_of(two, 2);
  assert_int_equal(encode(f, &run, 1, WEFT_CHUNK_LIVE), WEFT_ELIMIT);
  two[1].len--;
  assert_int_equal(encode(f, &run, 1, WEFT_CHUNK_LIVE), WEFT_OK);
  weft_bytes over = weft_bytes_of(big, WEFT_CHANGE_LEN_MAX + 1);
  run = run_of(&over, 1);
  assert_int_equal(encode(f, &run, 1, WEFT_CHUNK_LIVE), WEFT_ELIMIT);
  weft_bytes *many = weft__arena_zero(&f->arena, WEFT_CHUNK_CHANGES_MAX + 1, sizeof *many);
  run = run_of(many, WEFT_CHUNK_CHANGES_MAX + 1);
  assert_int_equal(encode(f, &run, 1, WEFT_CHUNK_LIVE), WEFT_ELIMIT);
  assert_int_equal(f->out.len, 0);
}

/* Blocks of an arena hide most allocations, so many sizes are tried. */
static void allocations_fail(fixture *f, const weft_run *runs, size_t count) {
  assert_int_equal(encode(f, runs, count, WEFT_CHUNK_LIVE), WEFT_OK);
  bool done = false;
  for (size_t k = 1; !done; k++) {
    test_fault_alloc faults = {.fail_at = k};
    weft_alloc mem = test_fault_alloc_of(&faults);
    weft_arena arena;
    weft_buf out;
    weft_run *back = NULL;
    weft_run_head *heads = NULL;
    size_t back_count = 0;
    weft__arena_init(&arena, &mem);
    weft__buf_init(&out, &mem, 64u << 20);
    weft_err err = weft__chunk_encode(&out, &mem, runs, count, WEFT_CHUNK_LIVE);
    weft_bytes in = weft__buf_view(&f->out);
    if (err == WEFT_OK) err = weft__chunk_decode(&arena, in, &back, &back_count);
    weft_chunk_codec *codec = NULL;
    if (err == WEFT_OK) err = weft__chunk_codec_new(&codec, &mem);
    if (err == WEFT_OK) {
      err = weft__chunk_decode_briefly(codec, &arena, in, &back, &back_count);
    }
    weft__chunk_codec_free(codec);
    if (err == WEFT_OK) err = weft__chunk_heads(&arena, in, &heads, &back_count);
    done = faults.calls < k;
    assert_int_equal(err, done ? WEFT_OK : WEFT_ENOMEM);
    weft__arena_free(&arena);
    weft__buf_free(&out);
    assert_int_equal(faults.live, 0);
  }
}

static void every_allocation_may_fail(void **state) {
  fixture *f = *state;
  for (uint64_t seed = 1; seed <= test_share(24, 8); seed++) {
    test_rng rng = test_rng_of(seed);
    weft_run runs[2];
    weft__arena_reset(&f->arena);
    size_t count = any_runs(f, &rng, runs, 1 + seed % 2, 1 + seed * seed / 4);
    if (count > 0) allocations_fail(f, runs, count);
  }
}

/* --- columns that were taken apart and tampered with --- */

static weft_err join_tampered(fixture *f, const weft__columns_out *columns, size_t len,
                              weft__column column, weft_bytes bytes) {
  weft__columns_in in = {.len = len, .names = columns->names, .paths = columns->paths};
  weft_bytes changes[3];
  weft_arena scratch;
  for (unsigned i = 0; i < COLUMNS; i++) {
    in.at[i].rd = weft__rd(weft__buf_view(&columns->at[i].bytes));
  }
  if (column < COLUMNS) in.at[column].rd = weft__rd(bytes);
  weft__arena_init(&scratch, &f->mem);
  weft_err err = weft__chunk_join(&in, &f->back, &scratch, changes, NULL, 3);
  weft__arena_free(&scratch);
  return err;
}

static const struct {
  const char *why;
  weft__column column;
  size_t len; /* declared; 0: as it is */
  const char *hex;
} tampered[] = {
    {"too many claims", COLUMN_CLAIM_COUNT, 1 << 20, "8180040000"},
    {"a claim mode that is none", COLUMN_CLAIM_MODE, 0, "02"},
    {"no low bits of a seq", COLUMN_CLAIM_SEQ_LOW, 0, ""},
    {"too many high bits of a seq", COLUMN_CLAIM_SEQ_HIGH, 0, "808080808080808001"},
    {"no low bits of a document", COLUMN_DOC_LOW, 0, ""},
    {"too many high bits of a document", COLUMN_DOC_HIGH, 0, "808080080000"},
    {"a document beyond the ring", COLUMN_DOC_LOW, 0, "ff0000"},
    {"a path beyond the ring", COLUMN_PATH, 0, "090000"},
    {"a long name", COLUMN_NAME_LEN, 0, "8002"},
    {"a long path", COLUMN_PATH_LEN, 0, "81080202"},
    {"a name that shares what is not there", COLUMN_NAME_SHARED, 0, "01"},
    {"a name cut short", COLUMN_NAME_TEXT, 0, "74"},
    {"names longer than all changes", COLUMN_NAME_LEN, 2, "03"},
    {"a kind beyond a byte", COLUMN_KIND, 0, "800200"},
    {"a long value", COLUMN_TEXT_LEN, 1 << 20, "818010"},
    {"a value cut short", COLUMN_TEXT, 0, ""},
    {"text that is no UTF-8", COLUMN_TEXT, 0, "ff"},
    {"a mode with a scale", COLUMN_PATH_MODE, 0, "0e0303"},
    {"a decimal beyond the scales", COLUMN_PATH_MODE, 0, "84010303"},
    {"a number that is none", COLUMN_PATH_MODE, 0, "050503"},
    {"mixed kinds, none given", COLUMN_PATH_MODE, 0, "000000"},
    {"bits behind the last boolean", COLUMN_BOOLEAN, 0, "05"},
    {"no bits", COLUMN_BOOLEAN, 0, ""},
    {"words without text", COLUMN_WORDS, 0, "05"},
};

static void tampered_columns_are_refused(void **state) {
  fixture *f = *state;
  weft_bytes changes[3];
  weft_claim claim = {.number = 2, .seq = 300};
  static const char *const keys[] = {"a", "b", "c"};
  weft_bytes values[] = {test_scalar_int(&f->arena, 5), test_scalar_text(&f->arena, "x"),
                         test_scalar_bool(&f->arena, true)};
  for (size_t i = 0; i < 3; i++) {
    weft_change change = test_change_single(&f->arena, 1 + i, "t/a", keys[i], values[i]);
    change.claims = &claim;
    change.claim_count = i == 1;
    changes[i] = test_change_bytes(&f->arena, &change);
  }
  weft_run run = run_of(changes, 3);
  weft__columns_out columns = {.len = 0};
  for (unsigned i = 0; i < COLUMNS; i++) {
    weft__buf_init(&columns.at[i].bytes, &f->mem, 1 << 20);
  }
  assert_int_equal(weft__chunk_split(&columns, &f->arena, &run, 1), WEFT_OK);
  weft_bytes none = weft_bytes_of(NULL, 0);
  assert_int_equal(join_tampered(f, &columns, columns.len, COLUMNS, none), WEFT_OK);
  for (size_t i = 0; i < sizeof tampered / sizeof tampered[0]; i++) {
    uint8_t bytes[32];
    size_t len = test_hex(tampered[i].hex, bytes, sizeof bytes);
    size_t declared = tampered[i].len ? tampered[i].len : columns.len;
    weft_err err =
        join_tampered(f, &columns, declared, tampered[i].column, weft_bytes_of(bytes, len));
    if (err != WEFT_EMALFORMED) fail_msg("%s: %s", tampered[i].why, weft_err_name(err));
  }
  for (unsigned i = 0; i < COLUMNS; i++) weft__buf_free(&columns.at[i].bytes);
}

/* Columns with a wrong byte may well be joined: into changes that are none, documents out of order,
 * names that are forbidden.  Gives 1 when they were. */
static size_t join_harmed(fixture *f, uint64_t seed, const weft__columns_out *columns,
                          weft__column column, size_t count) {
  weft__columns_in in = {.len = columns->len, .names = columns->names, .paths = columns->paths};
  weft_arena scratch;
  weft__arena_init(&scratch, &f->mem);
  weft__arena_reset(&f->back);
  for (unsigned i = 0; i < COLUMNS; i++) {
    in.at[i].rd = weft__rd(weft__buf_view(&columns->at[i].bytes));
  }
  weft_bytes *changes = weft__arena_zero(&scratch, count, sizeof *changes);
  weft_brief *briefs = weft__arena_zero(&scratch, count, sizeof *briefs);
  assert_true(changes && briefs);
  weft_err err = weft__chunk_join(&in, &f->back, &scratch, changes, briefs, count);
  assert_true(err == WEFT_OK || err == WEFT_EMALFORMED);
  for (size_t i = 0; i < count && err == WEFT_OK; i++) {
    bool known;
    if (test_brief_true(&scratch, changes[i], &briefs[i], &known)) continue;
    fail_msg("seed=%u: column %u tells a lie of change %zu", (unsigned)seed, (unsigned)column, i);
  }
  weft__arena_free(&scratch);
  return err == WEFT_OK;
}

static void harmed_columns_tell_no_lies(void **state) {
  fixture *f = *state;
  size_t joined = 0;
  for (uint64_t seed = 1; seed <= test_share(150, 8); seed++) {
    test_rng rng = test_rng_of(seed);
    weft_run run;
    weft__arena_reset(&f->arena);
    weft__columns_out columns = {.len = 0};
    for (unsigned i = 0; i < COLUMNS; i++) {
      weft__buf_init(&columns.at[i].bytes, &f->mem, 8u << 20);
    }
    if (any_runs(f, &rng, &run, 1, 1 + seed % 20) == 0) continue;
    assert_int_equal(weft__chunk_split(&columns, &f->arena, &run, 1), WEFT_OK);
    for (size_t n = 0; n < 300; n++) {
      weft__column column = (weft__column)test_rng_below(&rng, COLUMNS);
      weft_buf *bytes = &columns.at[column].bytes;
      if (bytes->len == 0) continue;
      uint8_t *at = &bytes->at[test_rng_below(&rng, bytes->len)], keep = *at;
      *at ^= (uint8_t)(1u << test_rng_below(&rng, 8));
      joined += join_harmed(f, seed, &columns, column, run.count);
      *at = keep;
    }
    for (unsigned i = 0; i < COLUMNS; i++) weft__buf_free(&columns.at[i].bytes);
  }
  assert_true(joined > 200);
}

/* The claim that gives a number has a tag.  Without its tag nothing is told. */
static void a_number_without_a_tag_is_not_told(void **state) {
  fixture *f = *state;
  weft_claim claim = {.has_log = true, .has_tag = true, .seq = 9};
  weft_change change = test_change_single(&f->arena, 1, "t/a", "k", test_scalar_int(&f->arena, 5));
  change.claims = &claim;
  change.claim_count = 1;
  weft_bytes bytes = test_change_bytes(&f->arena, &change);
  weft_run run = run_of(&bytes, 1);
  weft__columns_out columns = {.len = 0};
  for (unsigned i = 0; i < COLUMNS; i++) {
    weft__buf_init(&columns.at[i].bytes, &f->mem, 1 << 20);
  }
  assert_int_equal(weft__chunk_split(&columns, &f->arena, &run, 1), WEFT_OK);
  assert_int_equal(join_harmed(f, 0, &columns, COLUMN_CLAIM_HEAD, 1), 1);
  columns.at[COLUMN_CLAIM_HEAD].bytes.at[0] = 1;
  columns.at[COLUMN_CLAIM_TAG].bytes.len = 0;
  columns.len -= WEFT_CLAIM_TAG_LEN;
  assert_int_equal(join_harmed(f, 0, &columns, COLUMN_CLAIM_HEAD, 1), 1);
  for (unsigned i = 0; i < COLUMNS; i++) weft__buf_free(&columns.at[i].bytes);
}

/* Each is a decimal, but no scale serves both. */
static void doubles_of_no_common_scale(void **state) {
  fixture *f = *state;
  static const double reals[] = {4503599627370495.0, 0.5, 0.1, -0.0};
  weft_bytes changes[4];
  for (size_t i = 0; i < 4; i++) {
    weft_change change =
        test_change_single(&f->arena, 1 + i, "t/a", "k", test_scalar_real(&f->arena, reals[i]));
    changes[i] = test_change_bytes(&f->arena, &change);
  }
  for (size_t from = 0; from < 4; from++) {
    weft_run run = run_of(changes + from, 4 - from);
    round_trip(f, from, &run, 1);
  }
  weft_run run = run_of(changes, 2);
  round_trip(f, 9, &run, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(round_trips, set_up, tear_down),
      cmocka_unit_test_setup_teardown(edges_round_trip, set_up, tear_down),
      cmocka_unit_test_setup_teardown(values_of_every_kind, set_up, tear_down),
      cmocka_unit_test_setup_teardown(claims_in_any_number, set_up, tear_down),
      cmocka_unit_test_setup_teardown(golden_chunk, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_single_field_costs_eight_bytes, set_up, tear_down),
      cmocka_unit_test_setup_teardown(words_shrink_a_text, set_up, tear_down),
      cmocka_unit_test_setup_teardown(truncated_anywhere_is_refused, set_up, tear_down),
      cmocka_unit_test_setup_teardown(mutations_stay_within_bounds, set_up, tear_down),
      cmocka_unit_test_setup_teardown(heads_have_limits, set_up, tear_down),
      cmocka_unit_test_setup_teardown(columns_lie, set_up, tear_down),
      cmocka_unit_test_setup_teardown(words_are_read_exactly, set_up, tear_down),
      cmocka_unit_test_setup_teardown(words_are_left_where_they_do_not_pay, set_up, tear_down),
      cmocka_unit_test_setup_teardown(words_round_trip, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_writer_has_limits, set_up, tear_down),
      cmocka_unit_test_setup_teardown(every_allocation_may_fail, set_up, tear_down),
      cmocka_unit_test_setup_teardown(tampered_columns_are_refused, set_up, tear_down),
      cmocka_unit_test_setup_teardown(harmed_columns_tell_no_lies, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_number_without_a_tag_is_not_told, set_up, tear_down),
      cmocka_unit_test_setup_teardown(doubles_of_no_common_scale, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

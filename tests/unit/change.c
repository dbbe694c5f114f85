/* Changes: golden bytes, one encoding per content, judging in the order of a log, the chain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/chunk.h"
#include "crdt/limits.h"
#include "crdt/position.h"
#include "crdt/value.h"
#include "tests/support/changes.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/docs.h"
#include "tests/support/hex.h"

typedef struct fixture {
  weft_arena arena;
  weft_buf out;
} fixture;

static int set_up(void **state) {
  static fixture f;
  weft_alloc mem = weft_alloc_libc();
  weft__arena_init(&f.arena, &mem);
  weft__buf_init(&f.out, &mem, WEFT_CHANGE_LEN_MAX + 4096);
  *state = &f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  weft__arena_free(&f->arena);
  weft__buf_free(&f->out);
  return 0;
}

static weft_change_state state_of(fixture *f, weft_bytes raw) {
  weft_change change;
  assert_int_equal(weft__change_parse(&f->arena, raw, &change), WEFT_OK);
  assert_true(change.raw.at == raw.at && change.raw.len == raw.len);
  if (change.state != WEFT_CHANGE_VALID) {
    assert_int_equal(change.claim_count, 0);
    assert_int_equal(change.op_count, 0);
    assert_null(change.ops);
  }
  return change.state;
}

static weft_change_state state_of_hex(fixture *f, const char *hex) {
  uint8_t bytes[1024];
  size_t len = test_hex(hex, bytes, sizeof bytes);
  return state_of(f, weft_bytes_of(bytes, len));
}

static weft_err encode(fixture *f, const weft_change *change) {
  weft__buf_reset(&f->out);
  return weft__change_encode(&f->out, &f->arena, change);
}

/* --- golden vectors: docs/disk.md, "Change", explains them byte by byte --- */

static const char golden_single[] = "010200"
                                    "0190000000000001"
                                    "00"
                                    "01"
                                    "03742f61"
                                    "01"
                                    "01"
                                    "05086e616d65"
                                    "a178";

static const char golden_full[] = "010281"
                                  "0190000000000002"
                                  "026869"
                                  "02"
                                  "03"
                                  "1111111111111111111111111111111111111111111111111111111111111111"
                                  "ac02"
                                  "2222222222222222"
                                  "04"
                                  "05"
                                  "22"
                                  "0420"
                                  "3333333333333333333333333333333333333333333333333333333333333333"
                                  "02"
                                  "03742f61"
                                  "02"
                                  "0500"
                                  "04020273"
                                  "03742f62"
                                  "01"
                                  "270502730500ff"
                                  "0980abcdefa820abcdef";

static const char golden_start[] =
    "010100"
    "0190000000000001"
    "00"
    "4444444444444444444444444444444444444444444444444444444444444444"
    "55555555555555555555555555555555"
    "02"
    "6666666666666666666666666666666666666666666666666666666666666666"
    "01"
    "7777777777777777777777777777777777777777777777777777777777777777"
    "8101"
    "8888888888888888888888888888888888888888888888888888888888888888";

static void golden_single_field(void **state) {
  fixture *f = *state;
  weft_change change = test_change_single(&f->arena, 0x0190000000000001, "t/a", "name",
                                          test_scalar_text(&f->arena, "x"));
  assert_int_equal(encode(f, &change), WEFT_OK);
  test_assert_hex(weft__buf_view(&f->out), golden_single);
  test_assert_docs(weft__buf_view(&f->out), "disk.md", "change-single");
  weft_change back;
  assert_int_equal(weft__change_parse(&f->arena, weft__buf_view(&f->out), &back), WEFT_OK);
  assert_int_equal(back.state, WEFT_CHANGE_VALID);
  assert_int_equal(back.op_count, 1);
  assert_int_equal(back.ops[0].kind, WEFT_OP_SCALAR);
  assert_int_equal(weft_bytes_cmp(back.ops[0].doc, weft_bytes_str("t/a")), 0);
  assert_int_equal(weft_bytes_cmp(back.ops[0].path, change.ops[0].path), 0);
  assert_true(back.hlc == change.hlc);
}

static void golden_everything(void **state) {
  fixture *f = *state;
  uint8_t extension[34] = {WEFT_EXT_REVERTS, 32};
  memset(extension + 2, 0x33, 32);
  static const uint8_t array[] = {0x02, 's'};
  static const uint8_t element[] = {0x02, 's', 0x05, 0x00, 0xff};
  static const uint8_t position[] = {0x80, 0xab, 0xcd, 0xef, 0xa8, 0x20, 0xab, 0xcd, 0xef};
  weft_claim claims[2] = {{.number = 0, .has_log = true, .has_tag = true, .seq = 300},
                          {.number = 1, .seq = 5}};
  memset(claims[0].log.b, 0x11, 32);
  memset(claims[0].tag, 0x22, 8);
  weft_op ops[] = {
      {.doc = weft_bytes_str("t/b"),
       .path = weft_bytes_of(element, sizeof element),
       .kind = WEFT_OP_POSITION,
       .position = weft_bytes_of(position, sizeof position)},
      {.doc = weft_bytes_str("t/a"),
       .path = weft_bytes_of(array, sizeof array),
       .kind = WEFT_OP_MARK_ARRAY},
      {.doc = weft_bytes_str("t/a"), .kind = WEFT_OP_FRESH_OBJECT},
  };
  weft_change change = {.kind = WEFT_CHANGE_DATA,
                        .hlc = 0x0190000000000002,
                        .message = weft_bytes_str("hi"),
                        .extensions = weft_bytes_of(extension, sizeof extension),
                        .claims = claims,
                        .claim_count = 2,
                        .ops = ops,
                        .op_count = 3};
  assert_int_equal(encode(f, &change), WEFT_OK);
  test_assert_hex(weft__buf_view(&f->out), golden_full);
  test_assert_docs(weft__buf_view(&f->out), "disk.md", "change-full");
}

static void golden_start_of_a_log(void **state) {
  fixture *f = *state;
  weft_earlier_log earlier = {.seq = 129};
  memset(earlier.log.b, 0x77, 32);
  memset(earlier.id.b, 0x88, 32);
  weft_change change = {.kind = WEFT_CHANGE_START, .hlc = 0x0190000000000001};
  memset(change.start.device.b, 0x44, 32);
  memset(change.start.incarnation, 0x55, 16);
  memset(change.start.grant.b, 0x66, 32);
  change.start.lane = WEFT_LANE_NORMAL;
  change.start.earlier = &earlier;
  change.start.earlier_count = 1;
  assert_int_equal(encode(f, &change), WEFT_OK);
  test_assert_hex(weft__buf_view(&f->out), golden_start);
  test_assert_docs(weft__buf_view(&f->out), "disk.md", "change-start");
  weft_change back;
  assert_int_equal(weft__change_parse(&f->arena, weft__buf_view(&f->out), &back), WEFT_OK);
  assert_int_equal(back.state, WEFT_CHANGE_VALID);
  assert_int_equal(back.start.earlier_count, 1);
  assert_true(back.start.earlier[0].seq == 129);
  assert_memory_equal(&back.start.device, &change.start.device, 32);
  assert_int_equal(back.start.lane, WEFT_LANE_NORMAL);
}

/* --- laws over generated changes --- */

static bool ids_equal(const weft_id *a, const weft_id *b) { return weft_id_cmp(a, b) == 0; }

static void assert_same_claims(const weft_change *a, const weft_change *b) {
  assert_int_equal(a->claim_count, b->claim_count);
  for (size_t i = 0; i < a->claim_count; i++) {
    const weft_claim *x = &a->claims[i], *y = &b->claims[i];
    assert_true(x->number == y->number && x->seq == y->seq);
    assert_true(x->has_log == y->has_log && x->has_tag == y->has_tag);
    if (x->has_log) assert_true(ids_equal(&x->log, &y->log));
    if (x->has_tag) assert_memory_equal(x->tag, y->tag, sizeof x->tag);
  }
}

static bool same_op(const weft_op *a, const weft_op *b) {
  return a->kind == b->kind && weft_bytes_cmp(a->doc, b->doc) == 0 &&
         weft_bytes_cmp(a->path, b->path) == 0 && weft_bytes_cmp(a->value, b->value) == 0 &&
         weft_bytes_cmp(a->position, b->position) == 0;
}

static void assert_same(const weft_change *made, const weft_change *read) {
  assert_int_equal(read->state, WEFT_CHANGE_VALID);
  assert_int_equal(made->kind, read->kind);
  assert_true(made->hlc == read->hlc);
  assert_int_equal(weft_bytes_cmp(made->message, read->message), 0);
  assert_int_equal(weft_bytes_cmp(made->extensions, read->extensions), 0);
  assert_same_claims(made, read);
  assert_int_equal(made->op_count, read->op_count);
  for (size_t i = 0; i < made->op_count; i++) {
    bool found = false;
    for (size_t k = 0; k < read->op_count; k++) found |= same_op(&made->ops[i], &read->ops[k]);
    assert_true(found);
  }
}

static void round_trips(void **state) {
  fixture *f = *state;
  for (uint64_t seed = 1; seed <= 3000; seed++) {
    test_rng rng = test_rng_of(seed);
    weft__arena_reset(&f->arena);
    weft_change made = test_change_any(&f->arena, &rng), read;
    if (encode(f, &made) != WEFT_OK) fail_msg("seed=%u does not encode", (unsigned)seed);
    weft_bytes raw = weft__buf_view(&f->out);
    assert_int_equal(weft__change_parse(&f->arena, raw, &read), WEFT_OK);
    if (read.state != WEFT_CHANGE_VALID) fail_msg("seed=%u does not parse", (unsigned)seed);
    assert_same(&made, &read);
    weft_bytes again = test_change_bytes(&f->arena, &read);
    if (weft_bytes_cmp(raw, again) != 0) fail_msg("seed=%u has two encodings", (unsigned)seed);
  }
}

enum { patience = 1500 }; /* bytes of a change of which every byte is tried */

static void truncated_anywhere_is_invalid(void **state) {
  fixture *f = *state;
  for (uint64_t seed = 1; seed <= 100; seed++) {
    test_rng rng = test_rng_of(seed);
    weft__arena_reset(&f->arena);
    weft_change made = test_change_any(&f->arena, &rng);
    weft_bytes raw = test_change_bytes(&f->arena, &made);
    if (raw.len > patience) continue;
    for (size_t len = 0; len < raw.len; len++) {
      if (state_of(f, weft_bytes_of(raw.at, len)) != WEFT_CHANGE_INVALID) {
        fail_msg("seed=%u cut at %zu is not invalid", (unsigned)seed, len);
      }
    }
    uint8_t *longer = weft__arena_zero(&f->arena, raw.len + 1, 1);
    assert_non_null(longer);
    memcpy(longer, raw.at, raw.len);
    assert_int_equal(state_of(f, weft_bytes_of(longer, raw.len + 1)), WEFT_CHANGE_INVALID);
  }
}

/* What parses is what encode makes of it: no mutation finds a second encoding. */
static void mutations_keep_one_encoding(void **state) {
  fixture *f = *state;
  for (uint64_t seed = 1; seed <= 24; seed++) {
    test_rng rng = test_rng_of(seed);
    weft__arena_reset(&f->arena);
    weft_change made = test_change_any(&f->arena, &rng);
    weft_bytes raw = test_change_bytes(&f->arena, &made);
    if (raw.len > patience) continue;
    uint8_t *bytes = malloc(raw.len);
    uint8_t *whole = malloc(raw.len);
    assert_true(bytes && whole);
    memcpy(bytes, raw.at, raw.len);
    memcpy(whole, raw.at, raw.len);
    for (size_t at = 0; at < raw.len; at++) {
      for (unsigned flip = 1; flip < 256; flip = seed % 4 ? flip * 2 : flip + 1) {
        weft_change read;
        bytes[at] = (uint8_t)(whole[at] ^ flip);
        weft__arena_reset(&f->arena);
        assert_int_equal(weft__change_parse(&f->arena, weft_bytes_of(bytes, raw.len), &read),
                         WEFT_OK);
        if (read.state != WEFT_CHANGE_VALID) continue;
        assert_int_equal(encode(f, &read), WEFT_OK);
        if (weft_bytes_cmp(weft__buf_view(&f->out), read.raw) != 0) {
          fail_msg("seed=%u byte %zu has two encodings", (unsigned)seed, at);
        }
      }
      bytes[at] = whole[at];
    }
    free(whole);
    free(bytes);
  }
}

/* --- what is forbidden, and what is not known --- */

static const struct {
  const char *why;
  weft_change_state state;
  const char *hex;
} rules[] = {
    {"no bytes", WEFT_CHANGE_INVALID, ""},
    {"version 0", WEFT_CHANGE_INVALID, "00"},
    {"version 2", WEFT_CHANGE_UNKNOWN, "02"},
    {"kind 0", WEFT_CHANGE_INVALID, "0100"},
    {"kind 3", WEFT_CHANGE_UNKNOWN, "0103"},
    {"flag 1", WEFT_CHANGE_UNKNOWN, "010202"},
    {"a message that is empty", WEFT_CHANGE_INVALID, "010201000000000000000100000103742f61010200"},
    {"a message that is not UTF-8", WEFT_CHANGE_INVALID,
     "010201000000000000000101ff000103742f610102020273"},
    {"no documents", WEFT_CHANGE_INVALID, "01020000000000000000010000"},
    {"a document without ops", WEFT_CHANGE_INVALID, "0102000000000000000001000103742f6100"},
    {"a name of one segment", WEFT_CHANGE_INVALID, "010200000000000000000100010174010200"},
    {"a good unset of the root", WEFT_CHANGE_VALID, "0102000000000000000001000103742f61010200"},
    {"a byte behind the end", WEFT_CHANGE_INVALID, "0102000000000000000001000103742f6101020000"},
    {"op 0", WEFT_CHANGE_INVALID, "0102000000000000000001000103742f61010000"},
    {"op 8", WEFT_CHANGE_UNKNOWN, "0102000000000000000001000103742f61010800"},
    {"op bit 6", WEFT_CHANGE_UNKNOWN, "0102000000000000000001000103742f61014200"},
    {"a scalar at the root", WEFT_CHANGE_INVALID, "0102000000000000000001000103742f61010100c0"},
    {"an array mark at the root", WEFT_CHANGE_INVALID, "0102000000000000000001000103742f61010400"},
    {"a fresh array at the root", WEFT_CHANGE_INVALID, "0102000000000000000001000103742f61010600"},
    {"a scalar without value", WEFT_CHANGE_INVALID,
     "0102000000000000000001000103742f61"
     "01"
     "01020273"},
    {"a container as value", WEFT_CHANGE_INVALID,
     "0102000000000000000001000103742f6101"
     "01020273"
     "90"},
    {"a wide integer", WEFT_CHANGE_INVALID, "0102000000000000000001000103742f6101010202cc01"},
    {"a narrow one with a header", WEFT_CHANGE_INVALID,
     "0102000000000000000001000103742f61"
     "01"
     "01020273"
     "d001"},
    {"as it should be", WEFT_CHANGE_VALID,
     "0102000000000000000001000103742f61"
     "01"
     "01020273"
     "01"},
    {"a path cut short", WEFT_CHANGE_INVALID,
     "0102000000000000000001000103742f61"
     "01"
     "0103027301"
     "01"},
    {"a position on a key", WEFT_CHANGE_INVALID,
     "0102000000000000000001000103742f6101230202730480aaaaaa"},
    {"a position on an element", WEFT_CHANGE_VALID,
     "0102000000000000000001000103742f61012302037304"
     "80aaaaaa"},
    {"a position of an unset", WEFT_CHANGE_INVALID,
     "0102000000000000000001000103742f61012202037304"
     "80aaaaaa"},
    {"a position op without", WEFT_CHANGE_INVALID, "0102000000000000000001000103742f610107020373"},
    {"an empty position", WEFT_CHANGE_INVALID, "0102000000000000000001000103742f61012302037300"},
    {"an integer that none is", WEFT_CHANGE_INVALID,
     "0102000000000000000001000103742f61012302037304"
     "58aaaaaa"},
    {"paths that descend", WEFT_CHANGE_INVALID,
     "0102000000000000000001000103742f6102"
     "02020274"
     "02020273"},
    {"paths that repeat", WEFT_CHANGE_INVALID,
     "0102000000000000000001000103742f6102"
     "02020274"
     "02020274"},
    {"documents that descend", WEFT_CHANGE_INVALID,
     "0102000000000000000001000203742f6201020003742f61010200"},
    {"documents that repeat", WEFT_CHANGE_INVALID,
     "0102000000000000000001000203742f6101020003742f61010200"},
    {"a claim of seq 0", WEFT_CHANGE_INVALID,
     "010200000000000000000101"
     "0000"
     "0103742f61010200"},
    {"a claim", WEFT_CHANGE_VALID,
     "010200000000000000000101"
     "0001"
     "0103742f61010200"},
    {"claims that repeat", WEFT_CHANGE_INVALID,
     "010200000000000000000102"
     "0001"
     "0001"
     "0103742f61010200"},
    {"a number beyond 32 bits", WEFT_CHANGE_INVALID,
     "010200000000000000000101"
     "8080808040"
     "01"
     "0103742f61010200"},
    {"a long count of claims", WEFT_CHANGE_INVALID,
     "01020000000000000000018100"
     "0001"
     "0103742f61010200"},
    {"a new number without tag", WEFT_CHANGE_INVALID,
     "010200000000000000000101"
     "01"
     "1111111111111111111111111111111111111111111111111111111111111111"
     "01"
     "0103742f61010200"},
    {"extensions that are empty", WEFT_CHANGE_INVALID,
     "0102800000000000000001000000"
     "0103742f61010200"},
    {"an unknown even extension", WEFT_CHANGE_VALID,
     "01028000000000000000010003"
     "0801ff"
     "0103742f61010200"},
    {"an unknown odd extension", WEFT_CHANGE_UNKNOWN,
     "01028000000000000000010003"
     "0901ff"
     "0103742f61010200"},
    {"extensions that descend", WEFT_CHANGE_INVALID,
     "01028000000000000000010004"
     "0a000800"
     "0103742f61010200"},
    {"extensions that repeat", WEFT_CHANGE_INVALID,
     "01028000000000000000010004"
     "08000800"
     "0103742f61010200"},
    {"an extension cut short", WEFT_CHANGE_INVALID,
     "01028000000000000000010003"
     "0802ff"
     "0103742f61010200"},
    {"a revert of no id", WEFT_CHANGE_INVALID,
     "01028000000000000000010003"
     "0401ff"
     "0103742f61010200"},
    {"a resolve of nothing", WEFT_CHANGE_INVALID,
     "01028000000000000000010002"
     "0600"
     "0103742f61010200"},
    {"an op unknown behind a path that descends", WEFT_CHANGE_INVALID,
     "0102000000000000000001000103742f6103"
     "02020274"
     "02020273"
     "0800"},
    {"the same, the other way round", WEFT_CHANGE_UNKNOWN,
     "0102000000000000000001000103742f6103"
     "02020274"
     "0800"
     "02020273"},
};

static void every_rule_of_the_bytes(void **state) {
  fixture *f = *state;
  for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
    weft_change_state got = state_of_hex(f, rules[i].hex);
    if (got != rules[i].state) fail_msg("%s: %d, not %d", rules[i].why, got, rules[i].state);
  }
}

static void rules_of_a_start(void **state) {
  fixture *f = *state;
  uint8_t raw[400];
  size_t len = test_hex(golden_start, raw, sizeof raw);
  enum { claims_at = 11, lane_at = 60, count_at = 93, seq_at = 126 };
  assert_int_equal(state_of(f, weft_bytes_of(raw, len)), WEFT_CHANGE_VALID);
  raw[lane_at] = WEFT_LANES;
  assert_int_equal(state_of(f, weft_bytes_of(raw, len)), WEFT_CHANGE_INVALID);
  raw[lane_at] = 0;
  raw[claims_at] = 1;
  assert_int_equal(state_of(f, weft_bytes_of(raw, len)), WEFT_CHANGE_INVALID);
  raw[claims_at] = 0;
  raw[count_at] = 2;
  assert_int_equal(state_of(f, weft_bytes_of(raw, len)), WEFT_CHANGE_INVALID);
  memcpy(raw + count_at, "\x81\x80\x04", 3); /* 65,537 */
  assert_int_equal(state_of(f, weft_bytes_of(raw, len)), WEFT_CHANGE_INVALID);
  weft_earlier_log earlier[2] = {{.seq = 1}, {.seq = 1}};
  weft_change change = {.kind = WEFT_CHANGE_START, .hlc = 1};
  change.start.earlier = earlier;
  change.start.earlier_count = 2;
  assert_int_equal(encode(f, &change), WEFT_EMISUSE);
  earlier[1].log.b[0] = 1;
  assert_int_equal(encode(f, &change), WEFT_OK);
  earlier[1].seq = 0;
  assert_int_equal(encode(f, &change), WEFT_EMISUSE);
  change.start.earlier_count = WEFT_CHANGE_CLAIMS_MAX + 1;
  assert_int_equal(encode(f, &change), WEFT_ELIMIT);
  change.start.earlier_count = 0;
  change.start.lane = WEFT_LANES;
  assert_int_equal(encode(f, &change), WEFT_EMISUSE);
  change.start.lane = 0;
  weft_claim claim = {.seq = 1};
  change.claims = &claim;
  change.claim_count = 1;
  assert_int_equal(encode(f, &change), WEFT_EMISUSE);
}

/* --- positions --- */

static void positions_have_one_form(void **state) {
  (void)state;
  static const struct {
    bool ok;
    const char *hex;
  } cases[] = {
      {true, "60aaaaaa"},         {true, "9faaaaaa"},
      {false, "5faaaaaa"},        {false, "a0aaaaaa"},
      {true, "3820aaaaaa"},       {false, "381faaaaaa"},
      {true, "57ffaaaaaa"},       {false, "5800aaaaaa"},
      {true, "a800aaaaaa"},       {false, "a7ffaaaaaa"},
      {true, "c7dfaaaaaa"},       {false, "c7e0aaaaaa"},
      {true, "f000002000aaaaaa"}, {false, "f000001fffaaaaaa"},
      {true, "f07fffffffaaaaaa"}, {false, "f080000000aaaaaa"},
      {true, "1080000000aaaaaa"}, {false, "107fffffffaaaaaa"},
      {true, "10ffffdfffaaaaaa"}, {false, "10ffffe000aaaaaa"},
      {false, "00aaaaaa"},        {false, "ffaaaaaa"},
      {false, "80aaaa"},          {false, "38"},
      {false, "f0000020"},        {false, ""},
      {true, "80aaaaaa80aaaaaa"}, {false, "80aaaaaa80"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    uint8_t bytes[16];
    size_t len = test_hex(cases[i].hex, bytes, sizeof bytes);
    weft_err err = weft__position_check(weft_bytes_of(bytes, len));
    if ((err == WEFT_OK) != cases[i].ok) fail_msg("position %s", cases[i].hex);
  }
  uint8_t many[WEFT_POSITION_LEN_MAX + 4];
  memset(many, 0x80, sizeof many);
  assert_int_equal(weft__position_check(weft_bytes_of(many, WEFT_POSITION_LEN_MAX)), WEFT_OK);
  assert_int_equal(weft__position_check(weft_bytes_of(many, sizeof many)), WEFT_ELIMIT);
}

/* --- what the writer refuses --- */

static void the_writer_refuses(void **state) {
  fixture *f = *state;
  weft_change change =
      test_change_single(&f->arena, 1, "t/a", "name", test_scalar_int(&f->arena, 1));
  weft_op good = change.ops[0];
  assert_int_equal(encode(f, &change), WEFT_OK);
  change.kind = (weft_change_kind)3;
  assert_int_equal(encode(f, &change), WEFT_EMISUSE);
  change.kind = WEFT_CHANGE_DATA;
  change.op_count = 0;
  assert_int_equal(encode(f, &change), WEFT_EMISUSE);
  change.op_count = 1;
  change.ops[0].doc = weft_bytes_str("name");
  assert_int_equal(encode(f, &change), WEFT_EMISUSE);
  change.ops[0] = good;
  change.ops[0].value = weft_bytes_of(NULL, 0);
  assert_int_equal(encode(f, &change), WEFT_EMISUSE);
  change.ops[0].value = weft_bytes_str("\x01\x01");
  assert_int_equal(encode(f, &change), WEFT_EMISUSE);
  change.ops[0].kind = WEFT_OP_UNSET;
  assert_int_equal(encode(f, &change), WEFT_EMISUSE);
  change.ops[0] = good;
  change.ops[0].kind = (weft_op_kind)9;
  assert_int_equal(encode(f, &change), WEFT_EMISUSE);
  change.ops[0] = good;
  change.ops[0].path = weft_bytes_str("\x09"
                                      "a");
  assert_int_equal(encode(f, &change), WEFT_EMISUSE);
  change.ops[0] = good;
  change.message = weft_bytes_str("\xff");
  assert_int_equal(encode(f, &change), WEFT_EMISUSE);
  change.message = weft_bytes_of(NULL, 0);
  change.extensions = weft_bytes_str("\x09\x01"
                                     "a");
  assert_int_equal(encode(f, &change), WEFT_EMISUSE);
  change.extensions = weft_bytes_of(NULL, 0);
  weft_claim claims[2] = {{.number = 1, .seq = 1}, {.number = 1, .seq = 1}};
  change.claims = claims;
  change.claim_count = 2;
  assert_int_equal(encode(f, &change), WEFT_EMISUSE);
  change.claim_count = 0;
  weft_op twice[2] = {good, good};
  change.ops = twice;
  change.op_count = 2;
  assert_int_equal(encode(f, &change), WEFT_EMISUSE);
  assert_int_equal(f->out.len, 0);
}

/* --- sizes that are promised --- */

static void sizes_are_kept(void **state) {
  fixture *f = *state;
  weft_bytes value = test_scalar_text(&f->arena, "a value of some length");
  weft_change change =
      test_change_single(&f->arena, UINT64_MAX, "templates/leg-day", "title", value);
  size_t content = change.ops[0].doc.len + change.ops[0].path.len + value.len;
  assert_int_equal(encode(f, &change), WEFT_OK);
  size_t bare = f->out.len;
  assert_true(bare - content <= 18);
  weft_claim claim = {.number = 4095, .seq = (1u << 28) - 1};
  change.claims = &claim;
  change.claim_count = 1;
  assert_int_equal(encode(f, &change), WEFT_OK);
  assert_true(f->out.len - bare <= 6);
  claim.has_tag = true;
  assert_int_equal(encode(f, &change), WEFT_OK);
  assert_true(f->out.len - bare <= 14);
}

/* --- limits --- */

static weft_change change_of_ops(fixture *f, size_t count, weft_bytes value) {
  weft_change change = {.kind = WEFT_CHANGE_DATA, .hlc = 1, .op_count = count};
  change.ops = weft__arena_zero(&f->arena, count, sizeof *change.ops);
  uint8_t *paths = weft__arena_take(&f->arena, count * 4);
  assert_true(change.ops && paths);
  for (size_t i = 0; i < count; i++, paths += 4) {
    paths[0] = 3 << 1 | 1; /* elements are any bytes */
    paths[1] = (uint8_t)(i >> 16);
    paths[2] = (uint8_t)(i >> 8);
    paths[3] = (uint8_t)i;
    change.ops[i].doc = weft_bytes_str("t/a");
    change.ops[i].path = weft_bytes_of(paths, 4);
    change.ops[i].kind = value.len > 0 ? WEFT_OP_SCALAR : WEFT_OP_UNSET;
    change.ops[i].value = value;
  }
  return change;
}

static void limits_of_a_change(void **state) {
  fixture *f = *state;
  weft_bytes none = weft_bytes_of(NULL, 0);
  weft_change change = change_of_ops(f, WEFT_CHANGE_OPS_MAX + 1, none);
  assert_int_equal(encode(f, &change), WEFT_ELIMIT);
  change.op_count--;
  assert_int_equal(encode(f, &change), WEFT_OK);
  assert_int_equal(state_of(f, weft__buf_view(&f->out)), WEFT_CHANGE_VALID);

  /* The same bytes with one more op, made by hand: the count is 3 bytes, at 17. */
  weft__buf_put_raw(&f->out, "\x02\x04\x07\xff\xff\xff", 6);
  enum { count_at = 17 };
  assert_int_equal(f->out.at[count_at], 0x80);
  f->out.at[count_at] = 0x81;
  assert_int_equal(state_of(f, weft__buf_view(&f->out)), WEFT_CHANGE_INVALID);

  uint8_t *text = weft__arena_zero(&f->arena, WEFT_VALUE_LEN_MAX, 1);
  assert_non_null(text);
  text[0] = 0xc6; /* bin 32 */
  size_t len = WEFT_VALUE_LEN_MAX - 5;
  for (unsigned i = 0; i < 4; i++) text[1 + i] = (uint8_t)(len >> (24 - 8 * i));
  weft_bytes value = weft_bytes_of(text, WEFT_VALUE_LEN_MAX);
  change = change_of_ops(f, 15, value);
  assert_int_equal(encode(f, &change), WEFT_OK);
  assert_int_equal(state_of(f, weft__buf_view(&f->out)), WEFT_CHANGE_VALID);
  change = change_of_ops(f, 16, value);
  assert_int_equal(encode(f, &change), WEFT_ELIMIT);
  change = change_of_ops(f, 1, weft_bytes_of(text, WEFT_VALUE_LEN_MAX + 1));
  assert_int_equal(encode(f, &change), WEFT_ELIMIT);
  uint8_t *over = weft__arena_zero(&f->arena, WEFT_CHANGE_LEN_MAX + 1, 1);
  assert_non_null(over);
  over[0] = 2; /* a newer version cannot make it longer */
  assert_int_equal(state_of(f, weft_bytes_of(over, WEFT_CHANGE_LEN_MAX + 1)), WEFT_CHANGE_INVALID);

  change = change_of_ops(f, 1, none);
  text[0] = 0;
  change.message = weft_bytes_of(text + 5, WEFT_MESSAGE_LEN_MAX);
  assert_int_equal(encode(f, &change), WEFT_OK);
  change.message.len++;
  assert_int_equal(encode(f, &change), WEFT_ELIMIT);
  change.message.len = 0;
  change.claim_count = WEFT_CHANGE_CLAIMS_MAX + 1;
  assert_int_equal(encode(f, &change), WEFT_ELIMIT);
}

/* --- judging --- */

typedef struct judged {
  weft_log_context ctx;
  uint64_t hlc;
} judged;

/* Judges a change with these claims as the next one of the log, and moves on. */
static weft_change_state next(fixture *f, judged *log, const weft_claim *claims, size_t count) {
  weft_change change =
      test_change_single(&f->arena, ++log->hlc, "t/a", "k", test_scalar_int(&f->arena, 1));
  change.claims = weft__arena_zero(&f->arena, count, sizeof *claims);
  assert_non_null(change.claims);
  if (count > 0) memcpy(change.claims, claims, count * sizeof *claims);
  change.claim_count = count;
  weft__change_judge(&log->ctx, &change);
  if (change.state == WEFT_CHANGE_VALID) {
    for (size_t i = 0; i < count; i++) {
      if (claims[i].has_log) continue;
      assert_true(ids_equal(&change.claims[i].log, &log->ctx.numbers[claims[i].number].log));
    }
  } else {
    assert_int_equal(change.op_count, 0);
  }
  assert_int_equal(weft__log_context_advance(&log->ctx, &f->arena, &change), WEFT_OK);
  return change.state;
}

static judged started(fixture *f) {
  judged log = {.hlc = 1};
  weft_change start = {.kind = WEFT_CHANGE_START, .hlc = 1};
  weft__change_judge(&log.ctx, &start);
  assert_int_equal(start.state, WEFT_CHANGE_VALID);
  assert_int_equal(weft__log_context_advance(&log.ctx, &f->arena, &start), WEFT_OK);
  assert_true(log.ctx.seq == 1);
  return log;
}

static void start_stands_at_one_and_nowhere_else(void **state) {
  fixture *f = *state;
  judged fresh = {.hlc = 0};
  assert_int_equal(next(f, &fresh, NULL, 0), WEFT_CHANGE_INVALID);
  judged log = started(f);
  weft_change again = {.kind = WEFT_CHANGE_START, .hlc = 99};
  weft__change_judge(&log.ctx, &again);
  assert_int_equal(again.state, WEFT_CHANGE_INVALID);
  assert_int_equal(next(f, &log, NULL, 0), WEFT_CHANGE_VALID);
}

static void clocks_rise(void **state) {
  fixture *f = *state;
  judged log = started(f);
  log.hlc = 9;
  assert_int_equal(next(f, &log, NULL, 0), WEFT_CHANGE_VALID);
  log.hlc = 9;
  assert_int_equal(next(f, &log, NULL, 0), WEFT_CHANGE_INVALID); /* equal */
  log.hlc = 3;
  assert_int_equal(next(f, &log, NULL, 0), WEFT_CHANGE_INVALID);
  assert_true(log.ctx.hlc == 10); /* of the last valid one */
  log.hlc = 10;
  assert_int_equal(next(f, &log, NULL, 0), WEFT_CHANGE_VALID);
  judged zero = {.hlc = 0};
  weft_change start = {.kind = WEFT_CHANGE_START, .hlc = 0};
  weft__change_judge(&zero.ctx, &start);
  assert_int_equal(start.state, WEFT_CHANGE_INVALID);
}

#define NEW(n, s)                                                                                  \
  {                                                                                                \
    .number = (n), .seq = (s), .has_log = true, .has_tag = true, .log = { {(n) + 1} }              \
  }
#define TAGGED(n, s)                                                                               \
  { .number = (n), .seq = (s), .has_tag = true }
#define PLAIN(n, s)                                                                                \
  { .number = (n), .seq = (s) }

static void numbers_and_tags(void **state) {
  static const struct {
    const char *why;
    weft_change_state known, opaque;
    weft_claim claims[2];
    size_t count;
  } cases[] = {
      {"defined before", WEFT_CHANGE_VALID, WEFT_CHANGE_VALID, {PLAIN(0, 5), PLAIN(1, 7)}, 2},
      {"lower than before", WEFT_CHANGE_VALID, WEFT_CHANGE_VALID, {PLAIN(0, 1)}, 1},
      {"past what was claimed", WEFT_CHANGE_VALID, WEFT_CHANGE_VALID, {TAGGED(0, 6)}, 1},
      {"past it, no tag", WEFT_CHANGE_INVALID, WEFT_CHANGE_UNKNOWN, {PLAIN(0, 6)}, 1},
      {"not past it, a tag", WEFT_CHANGE_INVALID, WEFT_CHANGE_INVALID, {TAGGED(0, 5)}, 1},
      {"the next number", WEFT_CHANGE_VALID, WEFT_CHANGE_VALID, {NEW(2, 1)}, 1},
      {"the next two", WEFT_CHANGE_VALID, WEFT_CHANGE_VALID, {NEW(2, 1), NEW(3, 1)}, 2},
      {"a gap", WEFT_CHANGE_INVALID, WEFT_CHANGE_UNKNOWN, {NEW(3, 1)}, 1},
      {"a gap behind", WEFT_CHANGE_INVALID, WEFT_CHANGE_UNKNOWN, {NEW(2, 1), NEW(4, 1)}, 2},
      {"defined again", WEFT_CHANGE_INVALID, WEFT_CHANGE_INVALID, {NEW(1, 9)}, 1},
      {"never defined", WEFT_CHANGE_INVALID, WEFT_CHANGE_UNKNOWN, {PLAIN(2, 1)}, 1},
      {"never defined, tag", WEFT_CHANGE_INVALID, WEFT_CHANGE_UNKNOWN, {TAGGED(2, 1)}, 1},
  };
  static const weft_claim two[] = {NEW(0, 5), NEW(1, 7)};
  fixture *f = *state;
  for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
    judged log = started(f);
    assert_int_equal(next(f, &log, two, 2), WEFT_CHANGE_VALID);
    if (i % 2) {
      weft_change unknown = {.state = WEFT_CHANGE_UNKNOWN};
      weft__change_judge(&log.ctx, &unknown);
      assert_int_equal(unknown.state, WEFT_CHANGE_UNKNOWN);
      assert_int_equal(weft__log_context_advance(&log.ctx, &f->arena, &unknown), WEFT_OK);
      assert_true(log.ctx.opaque);
      assert_true(log.ctx.seq == 3);
    }
    weft_change_state want = i % 2 ? cases[i / 2].opaque : cases[i / 2].known;
    weft_change_state got = next(f, &log, cases[i / 2].claims, cases[i / 2].count);
    if (got != want) fail_msg("%s: %d, not %d", cases[i / 2].why, got, want);
  }
}

static void a_change_without_meaning_defines_nothing(void **state) {
  static const weft_claim first[] = {NEW(0, 5)}, bad[] = {TAGGED(0, 9), NEW(2, 1)};
  static const weft_claim good[] = {TAGGED(0, 6), NEW(1, 1)}, later[] = {PLAIN(0, 6), PLAIN(1, 1)};
  fixture *f = *state;
  judged log = started(f);
  assert_int_equal(next(f, &log, first, 1), WEFT_CHANGE_VALID);
  assert_int_equal(next(f, &log, bad, 2), WEFT_CHANGE_INVALID);
  assert_true(log.ctx.seq == 3);
  assert_int_equal(next(f, &log, good, 2), WEFT_CHANGE_VALID);
  assert_int_equal(next(f, &log, later, 2), WEFT_CHANGE_VALID);
  assert_int_equal(log.ctx.number_count, 2);
}

/* --- memory --- */

static void every_allocation_may_fail(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 200; seed++) {
    weft_alloc libc = weft_alloc_libc();
    weft_arena keep;
    weft__arena_init(&keep, &libc);
    test_rng rng = test_rng_of(seed);
    weft_change made = test_change_any(&keep, &rng);
    weft_bytes raw = test_change_bytes(&keep, &made);
    bool done = false;
    for (size_t k = 1; !done; k++) {
      test_fault_alloc faults = {.fail_at = k};
      weft_alloc mem = test_fault_alloc_of(&faults);
      weft_arena arena;
      weft_buf out;
      weft_change read;
      weft__arena_init(&arena, &mem);
      weft__buf_init(&out, &mem, WEFT_CHANGE_LEN_MAX);
      weft_err err = weft__change_encode(&out, &arena, &made);
      if (err == WEFT_OK) err = weft__change_parse(&arena, raw, &read);
      done = faults.calls < k;
      assert_int_equal(err, done ? WEFT_OK : WEFT_ENOMEM);
      weft__arena_free(&arena);
      weft__buf_free(&out);
      assert_int_equal(faults.live, 0);
    }
    weft__arena_free(&keep);
  }
}

static void a_context_that_cannot_grow_stays(void **state) {
  (void)state;
  weft_claim claim = NEW(0, 5);
  weft_change change = {.hlc = 9, .claims = &claim, .claim_count = 1};
  test_fault_alloc faults = {.fail_at = 1};
  weft_alloc mem = test_fault_alloc_of(&faults);
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  weft_log_context ctx = {.seq = 1, .hlc = 2};
  assert_int_equal(weft__log_context_advance(&ctx, &arena, &change), WEFT_ENOMEM);
  assert_true(ctx.seq == 1 && ctx.hlc == 2 && ctx.number_count == 0);
  assert_int_equal(weft__log_context_advance(&ctx, &arena, &change), WEFT_OK);
  assert_true(ctx.seq == 2 && ctx.hlc == 9 && ctx.numbers[0].seq_max == 5);
  weft__arena_free(&arena);
}

/* --- extensions --- */

static void extensions_are_found(void **state) {
  (void)state;
  weft_change change = {.extensions = weft_bytes_str("\x06\x03"
                                                     "abc"
                                                     "\x08\x01"
                                                     "d")};
  assert_int_equal(weft_bytes_cmp(weft__change_extension(&change, 6), weft_bytes_str("abc")), 0);
  assert_int_equal(weft_bytes_cmp(weft__change_extension(&change, 8), weft_bytes_str("d")), 0);
  assert_int_equal(weft__change_extension(&change, 2).len, 0);
}

/* --- the chain --- */

static void the_chain_and_its_signatures(void **state) {
  fixture *f = *state;
  const weft_crypto *crypto = weft_crypto_sodium();
  weft_key seed = {{7}};
  weft_id device, space, log, ids[3];
  memset(space.b, 9, sizeof space.b);
  space.b[31] = 1;
  crypto->sign_keypair(&device, &seed);
  weft_start start = {.device = device, .lane = 2};
  weft__log_id(crypto, &space, &start, &log);
  weft_bytes changes[] = {weft_bytes_str("one"), weft_bytes_str("two"), weft_bytes_str("three")};
  weft_run run = {.log = log, .first = 1, .changes = changes, .count = 3};
  weft__log_root(crypto, &log, &run.prev);
  assert_false(ids_equal(&run.prev, &log));
  weft_id id = run.prev;
  for (size_t i = 0; i < 3; i++) weft__change_id(crypto, &space, &id, changes[i], &id);
  weft__change_sign(crypto, &seed, &device, &space, &log, 3, &id, &run.sig);
  assert_int_equal(weft__run_verify(crypto, &space, &device, &run, ids), WEFT_OK);
  assert_true(ids_equal(&ids[2], &id));

  /* Each part that a signature is over is part of it. */
  weft_run other = run;
  other.first = 2;
  assert_int_equal(weft__run_verify(crypto, &space, &device, &other, ids), WEFT_EBADSIG);
  other = run;
  other.log.b[0] ^= 1;
  assert_int_equal(weft__run_verify(crypto, &space, &device, &other, ids), WEFT_EBADSIG);
  other = run;
  other.prev.b[31] ^= 1;
  assert_int_equal(weft__run_verify(crypto, &space, &device, &other, ids), WEFT_EBADSIG);
  other = run;
  other.sig.b[5] ^= 1;
  assert_int_equal(weft__run_verify(crypto, &space, &device, &other, ids), WEFT_EBADSIG);
  assert_int_equal(weft__run_verify(crypto, &log, &device, &run, ids), WEFT_EBADSIG);
  changes[1] = weft_bytes_str("twp");
  assert_int_equal(weft__run_verify(crypto, &space, &device, &run, ids), WEFT_EBADSIG);
  assert_int_equal(weft__run_verify(crypto, &space, &log, &run, ids), WEFT_EBADSIG);
  (void)f;
}

/* Computed apart from this code, with Python's hashlib.blake2b. */
static void the_chain_is_what_the_documents_say(void **state) {
  (void)state;
  const weft_crypto *crypto = weft_crypto_sodium();
  weft_id space, log, root, id;
  for (unsigned i = 0; i < 32; i++) space.b[i] = (uint8_t)i;
  weft_start start = {.lane = 2};
  memset(start.device.b, 0x44, sizeof start.device.b);
  memset(start.incarnation, 0x55, sizeof start.incarnation);
  weft__log_id(crypto, &space, &start, &log);
  test_assert_hex(weft_bytes_of(log.b, 32),
                  "d34dad8ddbe243350baa17e4f669dafbfbff1b64599c799231370c7c976ea691");
  weft__log_root(crypto, &log, &root);
  test_assert_hex(weft_bytes_of(root.b, 32),
                  "82c840ef30809c39c35d0b6cdbf9897718c495dd0f63e255923a1925f021aa33");
  uint8_t raw[300];
  size_t len = test_hex(golden_start, raw, sizeof raw);
  weft__change_id(crypto, &space, &root, weft_bytes_of(raw, len), &id);
  test_assert_hex(weft_bytes_of(id.b, 32),
                  "465fff4fba41a9d26fd4166c15cc4dd1f97ad068282ba361093df3813f09add9");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(golden_single_field, set_up, tear_down),
      cmocka_unit_test_setup_teardown(golden_everything, set_up, tear_down),
      cmocka_unit_test_setup_teardown(golden_start_of_a_log, set_up, tear_down),
      cmocka_unit_test_setup_teardown(round_trips, set_up, tear_down),
      cmocka_unit_test_setup_teardown(truncated_anywhere_is_invalid, set_up, tear_down),
      cmocka_unit_test_setup_teardown(mutations_keep_one_encoding, set_up, tear_down),
      cmocka_unit_test_setup_teardown(every_rule_of_the_bytes, set_up, tear_down),
      cmocka_unit_test_setup_teardown(rules_of_a_start, set_up, tear_down),
      cmocka_unit_test_setup_teardown(positions_have_one_form, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_writer_refuses, set_up, tear_down),
      cmocka_unit_test_setup_teardown(sizes_are_kept, set_up, tear_down),
      cmocka_unit_test_setup_teardown(limits_of_a_change, set_up, tear_down),
      cmocka_unit_test_setup_teardown(start_stands_at_one_and_nowhere_else, set_up, tear_down),
      cmocka_unit_test_setup_teardown(clocks_rise, set_up, tear_down),
      cmocka_unit_test_setup_teardown(numbers_and_tags, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_change_without_meaning_defines_nothing, set_up, tear_down),
      cmocka_unit_test_setup_teardown(every_allocation_may_fail, set_up, tear_down),
      cmocka_unit_test(a_context_that_cannot_grow_stays),
      cmocka_unit_test_setup_teardown(extensions_are_found, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_chain_and_its_signatures, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_chain_is_what_the_documents_say, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/support/changes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/limits.h"
#include "crdt/value.h"
#include "tests/support/gen.h"

static weft_bytes copied(weft_arena *arena, weft_buf *b) {
  assert_int_equal(weft__buf_err(b), WEFT_OK);
  weft_bytes view;
  assert_int_equal(weft__arena_copy(arena, weft__buf_view(b), &view), WEFT_OK);
  weft__buf_free(b);
  return view;
}

static weft_bytes scalar(weft_arena *arena, const weft_value *v) {
  weft_buf b;
  weft__buf_init(&b, &arena->mem, WEFT_VALUE_LEN_MAX);
  weft__scalar_encode(&b, v);
  return copied(arena, &b);
}

weft_bytes test_scalar_int(weft_arena *arena, int64_t v) {
  weft_value value = {.kind = WEFT_INT, .as.integer = v};
  return scalar(arena, &value);
}

weft_bytes test_scalar_real(weft_arena *arena, double v) {
  weft_value value = {.kind = WEFT_DOUBLE, .as.real = v};
  return scalar(arena, &value);
}

weft_bytes test_scalar_bool(weft_arena *arena, bool v) {
  weft_value value = {.kind = WEFT_BOOL, .as.boolean = v};
  return scalar(arena, &value);
}

weft_bytes test_scalar_null(weft_arena *arena) {
  weft_value value = {.kind = WEFT_NULL};
  return scalar(arena, &value);
}

weft_bytes test_scalar_text(weft_arena *arena, const char *text) {
  weft_value value = {.kind = WEFT_STRING, .as.bytes = weft_bytes_str(text)};
  return scalar(arena, &value);
}

weft_bytes test_scalar_blob(weft_arena *arena, weft_bytes bytes) {
  weft_value value = {.kind = WEFT_BYTES, .as.bytes = bytes};
  return scalar(arena, &value);
}

static const char *const words[] = {"alpha", "beta",  "gamma", "delta",    "x",
                                    "",      "Größe", "日本",  "a/b~c \"q"};

static const char *word(test_rng *rng) { return TEST_PICK(rng, words); }

weft_bytes test_scalar_any(weft_arena *arena, test_rng *rng) {
  char text[200];
  if (test_rng_chance(rng, 50)) {
    weft_value value = test_gen_scalar(rng, arena, true);
    return scalar(arena, &value);
  }
  switch (test_rng_below(rng, 3)) {
  case 0: return test_scalar_int(arena, (int64_t)test_rng_below(rng, 100));
  case 1: return test_scalar_real(arena, (double)test_rng_below(rng, 200000) / 1000.0);
  default: break;
  }
  /* One after the other: the order of arguments is the compiler's. */
  const char *first = word(rng), *second = word(rng), *third = word(rng);
  snprintf(text, sizeof text, "%s %s %s rev %u", first, second, third,
           (unsigned)test_rng_below(rng, 30));
  return test_scalar_text(arena, text);
}

static weft_path path_of(weft_arena *arena, const weft_step *steps, size_t count) {
  weft_buf b;
  weft__buf_init(&b, &arena->mem, WEFT_PATH_LEN_MAX);
  for (size_t i = 0; i < count; i++) weft_path_push(&b, steps[i]);
  return copied(arena, &b);
}

weft_path test_path_key(weft_arena *arena, const char *key) {
  weft_step step = {false, weft_bytes_str(key)};
  return path_of(arena, &step, 1);
}

static weft_path any_path(weft_arena *arena, test_rng *rng, bool element) {
  static const uint8_t ids[][4] = {{0, 1, 2, 3}, {0xff, 0, 0, 9}, {'a', 'b', 'c', 'd'}};
  weft_step steps[4];
  size_t count = test_rng_below(rng, 4);
  for (size_t i = 0; i <= count; i++) {
    bool last = i == count;
    steps[i].element = last ? element : test_rng_chance(rng, 30);
    const uint8_t *id = ids[test_rng_below(rng, 3)];
    steps[i].name = steps[i].element ? weft_bytes_of(id, 1 + test_rng_below(rng, 4))
                                     : weft_bytes_str(word(rng));
  }
  return path_of(arena, steps, count + 1);
}

static weft_bytes any_position(weft_arena *arena, test_rng *rng) {
  static const uint8_t integers[][5] = {
      {0x60}, {0x80}, {0x9f}, {0x38, 0x20}, {0xc7, 0xdf}, {0xf0, 0, 0, 0x20, 0}, {0x10, 0x80}};
  static const size_t lens[] = {1, 1, 1, 2, 2, 5, 5};
  uint8_t bytes[WEFT_POSITION_LEN_MAX];
  size_t len = 0;
  for (uint64_t n = 1 + test_rng_below(rng, 8); n > 0; n--) {
    size_t which = test_rng_below(rng, sizeof lens / sizeof lens[0]);
    memcpy(bytes + len, integers[which], lens[which]);
    test_rng_fill(rng, bytes + len + lens[which], 3);
    len += lens[which] + 3;
  }
  weft_bytes view;
  assert_int_equal(weft__arena_copy(arena, weft_bytes_of(bytes, len), &view), WEFT_OK);
  return view;
}

static weft_op any_op(weft_arena *arena, test_rng *rng) {
  static const char *const docs[] = {"a/b", "templates/leg-day", "templates/leg-day-2", "t/ü"};
  weft_op op = {.doc = weft_bytes_str(docs[test_rng_below(rng, 4)])};
  op.kind = test_rng_chance(rng, 60) ? WEFT_OP_SCALAR : (weft_op_kind)(1 + test_rng_below(rng, 7));
  bool element = op.kind == WEFT_OP_POSITION || test_rng_chance(rng, 30);
  bool root_may =
      op.kind == WEFT_OP_UNSET || op.kind == WEFT_OP_MARK_OBJECT || op.kind == WEFT_OP_FRESH_OBJECT;
  if (root_may && test_rng_chance(rng, 40)) return op;
  op.path = any_path(arena, rng, element);
  if (op.kind == WEFT_OP_SCALAR) op.value = test_scalar_any(arena, rng);
  bool may = element && op.kind != WEFT_OP_UNSET;
  if (op.kind == WEFT_OP_POSITION || (may && test_rng_chance(rng, 50))) {
    op.position = any_position(arena, rng);
  }
  return op;
}

static void add_ops(weft_arena *arena, test_rng *rng, weft_change *change) {
  size_t want = 1 + (test_rng_chance(rng, 50) ? 0 : test_rng_below(rng, 20));
  change->ops = weft__arena_zero(arena, want, sizeof *change->ops);
  assert_non_null(change->ops);
  for (size_t i = 0; i < want; i++) {
    weft_op op = any_op(arena, rng);
    bool twice = false;
    for (size_t k = 0; k < change->op_count; k++) {
      const weft_op *other = &change->ops[k];
      if (weft_bytes_cmp(other->doc, op.doc) == 0 && weft_bytes_cmp(other->path, op.path) == 0) {
        twice = true;
      }
    }
    if (!twice) change->ops[change->op_count++] = op;
  }
}

static void add_claims(weft_arena *arena, test_rng *rng, weft_change *change) {
  size_t count = test_rng_below(rng, 5);
  change->claims = weft__arena_zero(arena, count, sizeof *change->claims);
  assert_non_null(change->claims);
  change->claim_count = count;
  uint32_t number = 0;
  for (size_t i = 0; i < count; i++) {
    weft_claim *claim = &change->claims[i];
    bool far = test_rng_chance(rng, 10);
    number += 1 + (uint32_t)test_rng_below(rng, far ? 100000 : 4);
    claim->number = number - 1;
    claim->has_log = test_rng_chance(rng, 20);
    claim->has_tag = claim->has_log || test_rng_chance(rng, 20);
    if (claim->has_log) test_rng_fill(rng, claim->log.b, sizeof claim->log.b);
    if (claim->has_tag) test_rng_fill(rng, claim->tag, sizeof claim->tag);
    uint64_t seq = test_rng_next(rng);
    claim->seq = 1 + (seq >> (1 + test_rng_below(rng, 63)));
  }
}

static void add_start(weft_arena *arena, test_rng *rng, weft_start *start) {
  test_rng_fill(rng, start->device.b, sizeof start->device.b);
  test_rng_fill(rng, start->incarnation, sizeof start->incarnation);
  test_rng_fill(rng, start->grant.b, sizeof start->grant.b);
  start->lane = (uint8_t)test_rng_below(rng, WEFT_LANES);
  start->earlier_count = test_rng_below(rng, 3);
  start->earlier = weft__arena_zero(arena, 3, sizeof *start->earlier);
  assert_non_null(start->earlier);
  for (size_t i = 0; i < start->earlier_count; i++) {
    start->earlier[i].log.b[0] = (uint8_t)(i + 1);
    start->earlier[i].seq = 1 + test_rng_below(rng, 1000);
    test_rng_fill(rng, start->earlier[i].id.b, sizeof start->earlier[i].id.b);
  }
}

static void add_extensions(weft_arena *arena, test_rng *rng, weft_change *change) {
  weft_buf b;
  uint8_t id[96];
  weft__buf_init(&b, &arena->mem, 4096);
  test_rng_fill(rng, id, sizeof id);
  if (test_rng_chance(rng, 50)) {
    weft__buf_varint(&b, WEFT_EXT_REVERTS);
    weft__buf_block(&b, weft_bytes_of(id, 32));
  }
  if (test_rng_chance(rng, 50)) {
    weft__buf_varint(&b, WEFT_EXT_RESOLVES);
    weft__buf_block(&b, weft_bytes_of(id, 32 * (1 + test_rng_below(rng, 3))));
  }
  weft__buf_varint(&b, 2000); /* even and unknown: skipped */
  weft__buf_block(&b, weft_bytes_of(id, test_rng_below(rng, sizeof id)));
  change->extensions = copied(arena, &b);
}

weft_change test_change_any(weft_arena *arena, test_rng *rng) {
  weft_change change = {.kind = WEFT_CHANGE_DATA};
  uint64_t hlc = test_rng_next(rng);
  change.hlc = (hlc >> test_rng_below(rng, 64)) + 1;
  if (test_rng_chance(rng, 20)) change.message = weft_bytes_str(word(rng));
  if (test_rng_chance(rng, 15)) add_extensions(arena, rng, &change);
  if (test_rng_chance(rng, 10)) {
    change.kind = WEFT_CHANGE_START;
    add_start(arena, rng, &change.start);
    return change;
  }
  add_claims(arena, rng, &change);
  add_ops(arena, rng, &change);
  return change;
}

weft_change test_change_single(weft_arena *arena, uint64_t hlc, const char *doc, const char *key,
                               weft_bytes value) {
  weft_change change = {.kind = WEFT_CHANGE_DATA, .hlc = hlc, .op_count = 1};
  change.ops = weft__arena_zero(arena, 1, sizeof *change.ops);
  assert_non_null(change.ops);
  change.ops[0].doc = weft_bytes_str(doc);
  change.ops[0].path = test_path_key(arena, key);
  change.ops[0].kind = WEFT_OP_SCALAR;
  change.ops[0].value = value;
  return change;
}

weft_bytes test_change_bytes(weft_arena *arena, const weft_change *change) {
  weft_buf b;
  weft__buf_init(&b, &arena->mem, WEFT_CHANGE_LEN_MAX + 100);
  assert_int_equal(weft__change_encode(&b, arena, change), WEFT_OK);
  return copied(arena, &b);
}

static bool claim_same(const weft_claim *a, const weft_claim *b) {
  return a->number == b->number && a->has_log == b->has_log && a->has_tag == b->has_tag &&
         weft_id_cmp(&a->log, &b->log) == 0 && a->seq == b->seq &&
         memcmp(a->tag, b->tag, sizeof a->tag) == 0;
}

bool test_brief_true(weft_arena *arena, weft_bytes raw, const weft_brief *brief, bool *known) {
  weft_change change;
  if (weft__change_parse(arena, raw, &change) != WEFT_OK) return false;
  bool data = change.state == WEFT_CHANGE_VALID && change.kind == WEFT_CHANGE_DATA;
  bool positions = false;
  for (size_t i = 0; i < change.op_count; i++) positions |= change.ops[i].position.len > 0;
  *known = data && change.message.len == 0 && change.extensions.len == 0 && !positions;
  if (!brief->known) return true;
  if (!data || brief->hlc != change.hlc || brief->claim_count != change.claim_count) return false;
  for (size_t i = 0; i < change.claim_count; i++) {
    if (!claim_same(&brief->claims[i], &change.claims[i])) return false;
  }
  return true;
}

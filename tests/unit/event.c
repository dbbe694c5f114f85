/* Event types, patterns, filters, and the bytes of a stored event. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/event.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/gen.h"

static weft_bytes text(const char *s) { return weft_bytes_str(s); }

static weft_event_mask mask_of(const char *pattern) {
  weft_event_mask mask;
  assert_int_equal(weft_event_pattern(text(pattern), &mask), WEFT_OK);
  return mask;
}

static void test_names_are_a_table(void **state) {
  (void)state;
  static const weft_event_type types[] = {
#define TYPE(id, number, name, kind, cause) WEFT_EVENT_##id,
      WEFT_EVENT_TYPES(TYPE)
#undef TYPE
  };
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    assert_true((unsigned)types[i] < 64);
    assert_true(strlen(weft_event_cause(types[i])) > 0);
    /* A name is the pattern of its type alone. */
    assert_true(mask_of(weft_event_name(types[i])) == WEFT_EVENT_BIT(types[i]));
  }
  assert_string_equal(weft_event_name(WEFT_EVENT_DOC_CHANGED), "doc.changed");
  assert_int_equal(weft_event_kind_of(WEFT_EVENT_DOC_CHANGED), WEFT_EVENT_DERIVED);
  assert_int_equal(weft_event_kind_of(WEFT_EVENT_PEER_CONNECTED), WEFT_EVENT_STORED);
  assert_int_equal(weft_event_kind_of(WEFT_EVENT_PRESENCE_LEFT), WEFT_EVENT_TRANSIENT);
  assert_string_equal(weft_event_name((weft_event_type)63), "store.unknown");
  assert_string_equal(weft_event_name((weft_event_type)64), "store.unknown");
  assert_string_equal(weft_event_name((weft_event_type)-1), "store.unknown");
}

static void test_patterns(void **state) {
  (void)state;
  weft_event_mask doc =
      WEFT_EVENT_BIT(WEFT_EVENT_DOC_CREATED) | WEFT_EVENT_BIT(WEFT_EVENT_DOC_CHANGED) |
      WEFT_EVENT_BIT(WEFT_EVENT_DOC_DELETED) | WEFT_EVENT_BIT(WEFT_EVENT_DOC_RESTORED);
  assert_true(mask_of("doc.*") == doc);
  assert_true(mask_of("doc.**") == doc);
  assert_true(mask_of("*.changed") ==
              (WEFT_EVENT_BIT(WEFT_EVENT_DOC_CHANGED) | WEFT_EVENT_BIT(WEFT_EVENT_NETWORK_CHANGED) |
               WEFT_EVENT_BIT(WEFT_EVENT_PRESENCE_CHANGED)));
  assert_true(mask_of("*") == WEFT_EVENT_BIT(WEFT_EVENT_RESET));
  assert_true((mask_of("**") & doc) == doc);
  assert_true(mask_of("**") == (mask_of("*.*") | mask_of("*")));
  static const char *const bad[] = {"",       ".",     "doc.",     ".doc",
                                    "doc..x", "**.x",  "doc.**.x", "Doc.*",
                                    "doc.*x", "doc *", "doc.***",  "d\xc3\xb6."};
  static const char *const none[] = {"docs.*", "doc", "doc.*.*", "doc.change", "doc_2.*", "a-b.*"};
  weft_event_mask mask = 1;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_int_equal(weft_event_pattern(text(bad[i]), &mask), WEFT_EBADVALUE);
    assert_true(mask == 0);
  }
  for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
    assert_int_equal(weft_event_pattern(text(none[i]), &mask), WEFT_ENOTFOUND);
    assert_true(mask == 0);
  }
}

/* A path from words; one that begins with # is an element id. */
static weft_path path_of(weft_arena *arena, const char *const *words, size_t count) {
  weft_alloc mem = weft_alloc_libc();
  weft_buf b;
  weft_path path;
  weft__buf_init(&b, &mem, SIZE_MAX);
  for (size_t i = 0; i < count; i++) {
    bool element = words[i][0] == '#';
    weft_path_push(&b, (weft_step){element, text(words[i] + element)});
  }
  assert_int_equal(weft__arena_copy(arena, weft__buf_view(&b), &path), WEFT_OK);
  weft__buf_free(&b);
  return path;
}

static bool passes(const weft_event *e, const char *collection, const char *pointer) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_bytes *tokens;
  weft_event_filter f = {.collection = text(collection)};
  weft__arena_init(&arena, &mem);
  assert_int_equal(weft_pointer_split(&arena, text(pointer), &tokens, &f.token_count), WEFT_OK);
  f.tokens = tokens;
  bool ok = weft_event_passes(e, &f);
  weft__arena_free(&arena);
  return ok;
}

static void test_filters(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft__arena_init(&arena, &mem);
  const char *const deep[] = {"steps", "#e1", "title"};
  weft_path path = path_of(&arena, deep, 3);
  weft_event e = {.doc = text("templates/leg-day"), .paths = &path, .path_count = 1};
  assert_true(passes(&e, "", ""));
  assert_true(passes(&e, "templates", ""));
  assert_false(passes(&e, "template", ""));
  assert_false(passes(&e, "templates/leg-day", ""));
  assert_true(passes(&e, "templates", "/steps"));
  assert_true(passes(&e, "", "/steps/3"));
  assert_true(passes(&e, "", "/steps/-/title"));
  assert_true(passes(&e, "", "/*/*/title/below"));
  assert_false(passes(&e, "", "/steps/x/title"));
  assert_false(passes(&e, "", "/steps/3/name"));
  assert_false(passes(&e, "", "/other"));
  assert_false(passes(&e, "templetes", "")); /* as long as the right one */
  assert_false(passes(&e, "", "/steps/3a/title"));
  assert_false(passes(&e, "", "/steps//title"));
  weft_event none = {.type = WEFT_EVENT_PEER_CONNECTED};
  assert_true(passes(&none, "", ""));
  assert_false(passes(&none, "templates", ""));
  assert_false(passes(&none, "", "/steps"));
  /* One that names as many places as it can may be about others too. */
  weft_path many[WEFT_EVENT_PATHS_MAX];
  for (size_t i = 0; i < WEFT_EVENT_PATHS_MAX; i++) many[i] = path;
  weft_event full = {.doc = e.doc, .paths = many, .path_count = WEFT_EVENT_PATHS_MAX};
  assert_true(passes(&full, "", "/other"));
  weft__arena_free(&arena);
}

static weft_event random_event(test_rng *rng, weft_arena *arena) {
  weft_event e = {.type = (weft_event_type)test_rng_below(rng, WEFT_EVENT_STORE_FULL + 1)};
  e.why = test_rng_chance(rng, 50) ? WEFT_OK : WEFT_ETIMEOUT;
  test_rng_fill(rng, e.source.b, sizeof e.source.b);
  e.seq = 1 + test_rng_below(rng, 1u << 20);
  e.cause = test_rng_below(rng, e.seq);
  e.time = test_rng_below(rng, 1u << 30);
  e.count = test_rng_next(rng);
  e.has_change = test_rng_chance(rng, 50);
  e.has_device = test_rng_chance(rng, 50);
  if (e.has_change) test_rng_fill(rng, e.change.b, sizeof e.change.b);
  if (e.has_device) test_rng_fill(rng, e.device.b, sizeof e.device.b);
  e.doc = test_gen_text(rng, arena, 20, true);
  e.text = test_gen_text(rng, arena, 20, true);
  e.path_count = test_rng_below(rng, 4);
  e.paths = weft__arena_zero(arena, e.path_count, sizeof *e.paths);
  for (size_t i = 0; i < e.path_count; i++) e.paths[i] = test_gen_path(rng, arena, 4);
  return e;
}

static void assert_equal(const weft_event *a, const weft_event *b) {
  assert_true(a->seq == b->seq && a->cause == b->cause);
  assert_int_equal(a->type, b->type);
  assert_int_equal(a->why, b->why);
  assert_memory_equal(&a->source, &b->source, sizeof a->source);
  assert_true(a->time == b->time && a->count == b->count);
  assert_true(a->has_change == b->has_change && a->has_device == b->has_device);
  assert_memory_equal(&a->change, &b->change, sizeof a->change);
  assert_memory_equal(&a->device, &b->device, sizeof a->device);
  assert_int_equal(weft_bytes_cmp(a->doc, b->doc), 0);
  assert_int_equal(weft_bytes_cmp(a->text, b->text), 0);
  assert_int_equal(a->path_count, b->path_count);
  for (size_t i = 0; i < a->path_count; i++) {
    assert_int_equal(weft_bytes_cmp(a->paths[i], b->paths[i]), 0);
  }
}

/* What is written reads back equal, every beginning of it is damage, and so is most of what has a
 * bit turned; nothing reads beyond its end. */
static void test_bytes(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_buf b;
  weft_event back;
  weft__arena_init(&arena, &mem);
  weft__buf_init(&b, &mem, SIZE_MAX);
  for (uint64_t seed = 1; seed <= 300; seed++) {
    test_rng rng = test_rng_of(seed);
    weft__arena_reset(&arena);
    weft__buf_reset(&b);
    weft_event e = random_event(&rng, &arena);
    weft__event_write(&b, &e);
    assert_int_equal(weft__buf_err(&b), WEFT_OK);
    assert_int_equal(weft__event_read(weft__buf_view(&b), e.seq, &arena, &back), WEFT_OK);
    assert_equal(&e, &back);
    for (size_t len = 0; len < b.len; len++) {
      assert_int_equal(weft__event_read(weft_bytes_of(b.at, len), e.seq, &arena, &back),
                       WEFT_ECORRUPT);
    }
    for (unsigned i = 0; i < 20; i++) {
      size_t at = test_rng_below(&rng, b.len);
      uint8_t was = b.at[at];
      b.at[at] = (uint8_t)(was ^ 1u << test_rng_below(&rng, 8));
      weft_err err = weft__event_read(weft__buf_view(&b), e.seq, &arena, &back);
      assert_true(err == WEFT_OK || err == WEFT_ECORRUPT);
      b.at[at] = was;
    }
  }
  b.at[0] = 63; /* a type of a later version */
  assert_int_equal(weft__event_read(weft__buf_view(&b), UINT64_MAX, &arena, &back), WEFT_OK);
  assert_int_equal(back.type, WEFT_EVENT_UNKNOWN);
  weft__buf_free(&b);
  weft__arena_free(&arena);
}

/* Beyond the limits text is cut between characters, and paths are left out. */
static void test_limits(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_buf b;
  weft_event back;
  char long_text[WEFT_EVENT_TEXT_MAX + 4];
  weft_path many[WEFT_EVENT_PATHS_MAX + 5];
  weft__arena_init(&arena, &mem);
  weft__buf_init(&b, &mem, SIZE_MAX);
  memset(long_text, 'x', sizeof long_text);
  memcpy(long_text + WEFT_EVENT_TEXT_MAX - 1, "\xc3\xb6", 2);
  const char *const word[] = {"a"};
  for (size_t i = 0; i < sizeof many / sizeof *many; i++) many[i] = path_of(&arena, word, 1);
  weft_event e = {.type = WEFT_EVENT_STORE_FULL,
                  .text = weft_bytes_of(long_text, sizeof long_text),
                  .paths = many,
                  .path_count = sizeof many / sizeof *many};
  weft__event_write(&b, &e);
  assert_int_equal(weft__event_read(weft__buf_view(&b), UINT64_MAX, &arena, &back), WEFT_OK);
  assert_int_equal(back.text.len, WEFT_EVENT_TEXT_MAX - 1);
  assert_int_equal(back.path_count, WEFT_EVENT_PATHS_MAX);
  weft__buf_free(&b);
  weft__arena_free(&arena);
}

static void test_copies(void **state) {
  (void)state;
  weft_alloc libc = weft_alloc_libc();
  test_fault_alloc f = {0};
  weft_alloc mem = test_fault_alloc_of(&f);
  weft_arena arena;
  weft__arena_init(&arena, &libc);
  for (uint64_t seed = 1; seed <= 50; seed++) {
    test_rng rng = test_rng_of(seed);
    weft__arena_reset(&arena);
    weft_event e = random_event(&rng, &arena);
    weft_event *copy = weft__event_copy(&mem, &e);
    assert_non_null(copy);
    assert_equal(&e, copy);
    mem.free(mem.ctx, copy);
    f.calls = 0;
    f.fail_at = 1;
    assert_null(weft__event_copy(&mem, &e));
    f.fail_at = 0;
  }
  assert_int_equal(f.live, 0);
  weft__arena_free(&arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_names_are_a_table),
      cmocka_unit_test(test_patterns),
      cmocka_unit_test(test_filters),
      cmocka_unit_test(test_bytes),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_copies),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

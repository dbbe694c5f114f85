/* Positions: the order-preserving code, gaps, growth, whole orders with the fewest moves, the
 * window at the limit, and neighbours that no honest member made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/position.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/hex.h"
#include "tests/support/rng.h"

static const uint8_t tag_a[WEFT_POSITION_TAG_LEN] = {0, 0, 1};
static const uint8_t tag_b[WEFT_POSITION_TAG_LEN] = {9, 9, 9};

static weft_bytes none(void) { return weft_bytes_of(NULL, 0); }

static weft_bytes bytes_of(const weft_position *p) { return weft_bytes_of(p->b, p->len); }

/* A position from hex, for short tests. */
static weft_position hex(const char *text) {
  weft_position p;
  p.len = (uint8_t)test_hex(text, p.b, sizeof p.b);
  return p;
}

static void between_is(const char *lo, const char *hi, const char *want) {
  weft_position l = hex(lo), h = hex(hi), got;
  assert_int_equal(weft__position_between(bytes_of(&l), bytes_of(&h), tag_a, &got), WEFT_OK);
  test_assert_hex(bytes_of(&got), want);
}

static void gaps_take_the_shortest_place(void **state) {
  (void)state;
  between_is("", "", "80000001");
  between_is("80000001", "", "81000001");
  between_is("", "80000001", "7f000001");
  /* Room for the next integer, or only for the one before, or for neither. */
  between_is("80000001", "82000001", "81000001");
  between_is("80ffffff", "81000000", "80ffffff80000001");
  between_is("80000000", "80000002", "8000000080000001");
  between_is("80000001", "8000000180000005", "800000017f000001");
  between_is("8000000180000005", "81000001", "8000000181000001");
  between_is("80000001", "8100000180000005", "81000001");
  between_is("80000002", "8100000080000005", "810000007f000001");
  between_is("9f000001", "", "a800000001");
  between_is("", "60000001", "57ff000001");
  between_is("c7df000001", "", "f000002000000001");
  between_is("", "3820000001", "10ffffdfff000001");
}

/* The code of one integer, read off a position made next to the one before it. */
static void code_keeps_order_and_is_short(void **state) {
  (void)state;
  weft_position at, next;
  assert_int_equal(weft__position_between(none(), none(), tag_a, &at), WEFT_OK);
  for (int n = 1; n < 70000; n++) {
    assert_int_equal(weft__position_between(bytes_of(&at), none(), tag_a, &next), WEFT_OK);
    assert_true(weft_bytes_cmp(bytes_of(&at), bytes_of(&next)) < 0);
    assert_int_equal(weft__position_check(bytes_of(&next)), WEFT_OK);
    assert_int_equal(next.len, n < 32 ? 4 : n < 8192 ? 5 : 8);
    at = next;
  }
  assert_int_equal(weft__position_between(none(), none(), tag_a, &at), WEFT_OK);
  for (int n = -1; n > -70000; n--) {
    assert_int_equal(weft__position_between(none(), bytes_of(&at), tag_a, &next), WEFT_OK);
    assert_true(weft_bytes_cmp(bytes_of(&next), bytes_of(&at)) < 0);
    assert_int_equal(weft__position_check(bytes_of(&next)), WEFT_OK);
    assert_int_equal(next.len, n >= -32 ? 4 : n >= -8192 ? 5 : 8);
    at = next;
  }
}

static void check_knows_second_codes(void **state) {
  (void)state;
  static const char *const bad[] = {"",
                                    "80",
                                    "8000",
                                    "800000",
                                    "ff000001",
                                    "00000000",
                                    "37ff000000",
                                    "a7ff000000",
                                    "c7e0000000",
                                    "f000000000000000",
                                    "f000001fff000000",
                                    "f080000000000000",
                                    "10ffffe000000000",
                                    "107fffffff000000",
                                    "5800000000",
                                    "f0000020",
                                    "8000000080"};
  static const char *const good[] = {"60000000",         "9f000000",        "f07fffffff000000",
                                     "1080000000000000", "3820000000",      "57ff000000",
                                     "8000000080000000", "a800000000",      "c7df000000",
                                     "f000002000000000", "10ffffdfff000000"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    weft_position p = hex(bad[i]);
    if (weft__position_check(bytes_of(&p)) != WEFT_EMALFORMED) fail_msg("taken: %s", bad[i]);
  }
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    weft_position p = hex(good[i]);
    if (weft__position_check(bytes_of(&p)) != WEFT_OK) fail_msg("refused: %s", good[i]);
  }
  uint8_t longer[WEFT_POSITION_LEN_MAX + 4];
  for (size_t i = 0; i < sizeof longer; i++) longer[i] = i % 4 ? 0 : 0x80;
  assert_int_equal(weft__position_check(weft_bytes_of(longer, WEFT_POSITION_LEN_MAX)), WEFT_OK);
  assert_int_equal(weft__position_check(weft_bytes_of(longer, sizeof longer)), WEFT_ELIMIT);
}

/* The ends of the integers: nothing stands below the least, deeper goes on behind the greatest. */
static void ends_of_the_integers(void **state) {
  (void)state;
  weft_position least = hex("1080000000000000"), most = hex("f07fffffff000001"), got;
  assert_int_equal(weft__position_between(none(), bytes_of(&least), tag_a, &got), WEFT_ELIMIT);
  assert_int_equal(weft__position_between(bytes_of(&most), none(), tag_a, &got), WEFT_OK);
  test_assert_hex(bytes_of(&got), "f07fffffff00000180000001");
  weft_position lo = hex("80000001"), hi = hex("800000011080000000000000");
  assert_int_equal(weft__position_between(bytes_of(&lo), bytes_of(&hi), tag_b, &got), WEFT_ELIMIT);
}

/* Any two byte strings: what comes back stands strictly between, or nothing does. */
static void hostile_neighbours(void **state) {
  (void)state;
  test_rng rng = test_rng_of(7);
  size_t fitted = 0;
  for (int i = 0; i < 200000; i++) {
    weft_position p[2], got;
    for (int k = 0; k < 2; k++) {
      p[k].len = (uint8_t)test_rng_below(&rng, test_rng_chance(&rng, 50) ? 6 : 65);
      test_rng_fill(&rng, p[k].b, p[k].len);
      if (test_rng_chance(&rng, 60)) {
        for (size_t j = 0; j < p[k].len; j++) p[k].b[j] = (uint8_t)(0x7e + p[k].b[j] % 4);
      }
    }
    if (weft__position_between(bytes_of(&p[0]), bytes_of(&p[1]), tag_a, &got) != WEFT_OK) continue;
    fitted++;
    assert_true(weft_bytes_cmp(bytes_of(&p[0]), bytes_of(&got)) < 0);
    assert_true(p[1].len == 0 || weft_bytes_cmp(bytes_of(&got), bytes_of(&p[1])) < 0);
    assert_true(got.len <= WEFT_POSITION_LEN_MAX);
  }
  assert_true(fitted > 50000);
}

/* --- whole orders --- */

typedef struct list {
  weft_arena arena; /* of the positions that stand */
  weft_place *at;
  size_t count;
  size_t cap;
  uint64_t ids;
  size_t moves;    /* elements that stood and were moved */
  size_t len_peak; /* longest position ever made */
} list;

static void list_init(list *l) {
  weft_alloc mem = weft_alloc_libc();
  memset(l, 0, sizeof *l);
  weft__arena_init(&l->arena, &mem);
}

static void list_free(list *l) {
  weft__arena_free(&l->arena);
  free(l->at);
}

static weft_bytes list_id(list *l) {
  uint8_t *id = weft__arena_take(&l->arena, 8);
  assert_non_null(id);
  l->ids++;
  for (unsigned i = 0; i < 8; i++)
    id[i] = (uint8_t)(l->ids * UINT64_C(0x9e3779b97f4a7c15) >> 8 * i);
  return weft_bytes_of(id, 8);
}

/* Opens a place at `idx` for an element that does not stand yet. */
static void list_open(list *l, size_t idx, weft_bytes id) {
  if (l->count == l->cap) {
    l->cap = l->cap ? l->cap * 2 : 64;
    l->at = realloc(l->at, l->cap * sizeof *l->at);
    assert_non_null(l->at);
  }
  memmove(l->at + idx + 1, l->at + idx, (l->count - idx) * sizeof *l->at);
  weft_place place = {.id = id};
  l->at[idx] = place;
  l->count++;
}

/* Places the list and checks the order that comes out; gives how many that stood were moved. */
static size_t list_place(list *l, const uint8_t *tag) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena scratch;
  weft__arena_init(&scratch, &mem);
  assert_int_equal(weft__positions_place(&scratch, tag, l->at, l->count), WEFT_OK);
  size_t moved = 0;
  for (size_t i = 0; i < l->count; i++) {
    weft_place *p = &l->at[i];
    assert_true(p->stands || p->moved);
    if (p->moved) {
      moved += p->stands;
      assert_int_equal(weft__position_check(p->position), WEFT_OK);
      if (p->position.len > l->len_peak) l->len_peak = p->position.len;
      assert_int_equal(weft__arena_copy(&l->arena, p->position, &p->position), WEFT_OK);
    }
    p->stands = true;
    if (i == 0) continue;
    int order = weft_bytes_cmp(p[-1].position, p->position);
    if (order == 0) order = weft_bytes_cmp(p[-1].id, p->id);
    assert_true(order < 0);
  }
  weft__arena_free(&scratch);
  l->moves += moved;
  return moved;
}

static size_t list_insert(list *l, size_t idx, const uint8_t *tag) {
  list_open(l, idx, list_id(l));
  return list_place(l, tag);
}

static void appends_and_prepends_stay_short(void **state) {
  (void)state;
  weft_position at = {.len = 0}, next;
  for (int side = 0; side < 2; side++) {
    assert_int_equal(weft__position_between(none(), none(), tag_a, &at), WEFT_OK);
    for (int i = 0; i < 10000; i++) {
      weft_bytes here = bytes_of(&at);
      weft_err err = side ? weft__position_between(none(), here, i % 2 ? tag_a : tag_b, &next)
                          : weft__position_between(here, none(), i % 2 ? tag_a : tag_b, &next);
      assert_int_equal(err, WEFT_OK);
      at = next;
      assert_true(at.len <= 8);
    }
  }
}

static void random_inserts_grow_slowly(void **state) {
  (void)state;
  test_rng rng = test_rng_of(3);
  list l;
  list_init(&l);
  for (int i = 0; i < 3000; i++) {
    list_insert(&l, test_rng_below(&rng, l.count + 1), test_rng_chance(&rng, 50) ? tag_a : tag_b);
  }
  print_message("3,000 random inserts: longest position %zu bytes, %zu moves\n", l.len_peak,
                l.moves);
  assert_true(l.len_peak <= 48);
  assert_int_equal(l.moves, 0);
  list_free(&l);
}

/* Always into the newest gap, from alternating sides: every insert goes one component deeper. */
static void zigzag_lives_by_the_window(void **state) {
  (void)state;
  list l;
  list_init(&l);
  list_insert(&l, 0, tag_a);
  list_insert(&l, 1, tag_b);
  size_t idx = 1, windows = 0;
  for (int i = 0; i < 2000; i++) {
    windows += list_insert(&l, idx, i % 2 ? tag_a : tag_b) > 0;
    if (i % 2) idx++;
  }
  print_message("zigzag of 2,000: %zu windows moved %zu elements, longest position %zu bytes\n",
                windows, l.moves, l.len_peak);
  assert_true(windows > 0);
  assert_true(l.moves < 2000 * 40);
  assert_true(l.len_peak <= WEFT_POSITION_LEN_MAX);
  list_free(&l);
}

static size_t longest_increasing(const size_t *at, size_t count) {
  size_t best[64], longest = 0;
  for (size_t i = 0; i < count; i++) {
    best[i] = 1;
    for (size_t k = 0; k < i; k++) {
      if (at[k] < at[i] && best[k] + 1 > best[i]) best[i] = best[k] + 1;
    }
    if (best[i] > longest) longest = best[i];
  }
  return longest;
}

/* A permutation with removals and newcomers moves exactly those outside a longest increasing run.
 */
static void orders_take_the_fewest_moves(void **state) {
  (void)state;
  test_rng rng = test_rng_of(11);
  for (int round = 0; round < 3000; round++) {
    list l;
    list_init(&l);
    size_t count = test_rng_below(&rng, 12);
    for (size_t i = 0; i < count; i++) list_open(&l, i, list_id(&l));
    list_place(&l, tag_a);
    size_t rank[64];
    for (size_t i = 0; i < count; i++) rank[i] = i;
    for (size_t i = count; i > 1; i--) {
      if (test_rng_chance(&rng, 50)) continue;
      size_t k = test_rng_below(&rng, i), r = rank[i - 1];
      weft_place p = l.at[i - 1];
      l.at[i - 1] = l.at[k];
      rank[i - 1] = rank[k];
      l.at[k] = p;
      rank[k] = r;
    }
    size_t keep = longest_increasing(rank, count);
    for (size_t i = 0; i < test_rng_below(&rng, 4); i++) {
      list_open(&l, test_rng_below(&rng, l.count + 1), list_id(&l));
    }
    size_t moved = list_place(&l, tag_b);
    if (moved != count - keep)
      fail_msg("round %d: %zu moved of %zu, %zu may stay", round, moved, count, keep);
    list_free(&l);
  }
}

/* Elements with equal, missing, malformed and extreme positions: the order asked for comes out. */
static void hostile_lists(void **state) {
  (void)state;
  static const char *const odd[] = {"",
                                    "",
                                    "80000001",
                                    "80000001",
                                    "ff",
                                    "00",
                                    "ffffffff",
                                    "8000",
                                    "81000001",
                                    "60",
                                    "f07fffffff000000",
                                    "1080000000000000",
                                    "9f",
                                    "f0",
                                    "10",
                                    "80000001ff"};
  test_rng rng = test_rng_of(5);
  for (int round = 0; round < 20000; round++) {
    list l;
    list_init(&l);
    size_t count = 1 + test_rng_below(&rng, 9);
    for (size_t i = 0; i < count; i++) {
      list_open(&l, i, list_id(&l));
      weft_position p = hex(TEST_PICK(&rng, odd));
      l.at[i].stands = test_rng_chance(&rng, 70);
      if (l.at[i].stands) {
        assert_int_equal(weft__arena_copy(&l.arena, bytes_of(&p), &l.at[i].position), WEFT_OK);
      }
    }
    list_place(&l, tag_a);
    list_free(&l);
  }
}

/* Without a newcomer, elements that stand in their order stay, whatever their positions are. */
static void nothing_moves_without_need(void **state) {
  (void)state;
  list l;
  list_init(&l);
  for (size_t i = 0; i < 3; i++) list_open(&l, i, weft_bytes_of(&"abc"[i], 1));
  for (size_t i = 0; i < 3; i++) l.at[i].stands = true;
  assert_int_equal(list_place(&l, tag_a), 0);
  assert_int_equal(list_insert(&l, 3, tag_a), 0);
  assert_int_equal(list_insert(&l, 0, tag_a), 3);
  list_free(&l);
}

/* Of two equal neighbours only the second moves when something goes between them. */
static void ties_give_way(void **state) {
  (void)state;
  weft_position same = hex("80000001");
  list l;
  list_init(&l);
  for (size_t i = 0; i < 3; i++) {
    list_open(&l, i, weft_bytes_of(&"abc"[i], 1));
    l.at[i].stands = true;
    l.at[i].position = bytes_of(&same);
  }
  assert_int_equal(list_insert(&l, 3, tag_a), 0);
  assert_int_equal(list_insert(&l, 2, tag_a), 1);
  assert_int_equal(weft_bytes_cmp(l.at[1].position, bytes_of(&same)), 0);
  list_free(&l);
}

static void every_allocation_may_fail(void **state) {
  (void)state;
  for (size_t k = 1;; k++) {
    test_fault_alloc fault = {.fail_at = k};
    weft_alloc mem = test_fault_alloc_of(&fault);
    weft_arena arena;
    weft__arena_init(&arena, &mem);
    weft_place *items = calloc(3000, sizeof *items);
    assert_non_null(items);
    uint16_t ids[3000];
    for (size_t i = 0; i < 3000; i++) {
      ids[i] = (uint16_t)i;
      items[i].id = weft_bytes_of(&ids[i], sizeof ids[i]);
    }
    weft_err err = weft__positions_place(&arena, tag_a, items, 3000);
    weft__arena_free(&arena);
    free(items);
    assert_int_equal(fault.live, 0);
    if (err == WEFT_OK) break;
    assert_int_equal(err, WEFT_ENOMEM);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gaps_take_the_shortest_place),
      cmocka_unit_test(code_keeps_order_and_is_short),
      cmocka_unit_test(check_knows_second_codes),
      cmocka_unit_test(ends_of_the_integers),
      cmocka_unit_test(hostile_neighbours),
      cmocka_unit_test(appends_and_prepends_stay_short),
      cmocka_unit_test(random_inserts_grow_slowly),
      cmocka_unit_test(zigzag_lives_by_the_window),
      cmocka_unit_test(orders_take_the_fewest_moves),
      cmocka_unit_test(hostile_lists),
      cmocka_unit_test(nothing_moves_without_need),
      cmocka_unit_test(ties_give_way),
      cmocka_unit_test(every_allocation_may_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

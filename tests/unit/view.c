/* Documents by example: one case for each rule, limits, damage, and every allocation failing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/digest.h"
#include "crdt/limits.h"
#include "crdt/sort.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/hex.h"
#include "tests/support/rng.h"
#include "tests/support/script.h"

/* A document that four logs write.  A change is begun, claims, and writes. */
typedef struct board {
  weft_arena arena;
  test_branches logs;
  weft_doc *doc;
  uint64_t seqs[4];
  weft_dot claims[8];
  weft_shown change;
  weft_buf text;
  weft_err err;
} board;

static void board_open(board *b, const weft_alloc *mem) {
  weft_alloc libc = weft_alloc_libc();
  *b = (board){.logs = test_branches_of(4)};
  weft__arena_init(&b->arena, &libc);
  weft__buf_init(&b->text, &libc, 1 << 20);
  weft_lineage lineage = test_lineage_of(&b->logs);
  b->err = weft__doc_new(&b->doc, mem, &lineage);
}

static void board_close(board *b) {
  weft__doc_free(b->doc);
  weft__buf_free(&b->text);
  weft__arena_free(&b->arena);
}

static board *board_make(void) {
  weft_alloc mem = weft_alloc_libc();
  board *b = malloc(sizeof *b);
  assert_non_null(b);
  board_open(b, &mem);
  assert_int_equal(b->err, WEFT_OK);
  return b;
}

static void board_free(board *b) {
  board_close(b);
  free(b);
}

static void begin(board *b, uint32_t log, uint64_t hlc) {
  b->change = (weft_shown){{log, ++b->seqs[log]}, hlc, b->claims, 0};
}

static void claim(board *b, uint32_t log, uint64_t seq) {
  b->claims[b->change.claim_count++] = (weft_dot){log, seq};
}

static weft_bytes scalar(board *b, weft_value v) {
  weft_buf out;
  weft_bytes bytes;
  weft__buf_init(&out, &b->arena.mem, WEFT_VALUE_LEN_MAX);
  weft__scalar_encode(&out, &v);
  assert_int_equal(weft__buf_err(&out), WEFT_OK);
  assert_int_equal(weft__arena_copy(&b->arena, weft__buf_view(&out), &bytes), WEFT_OK);
  weft__buf_free(&out);
  return bytes;
}

static void show(board *b, const weft_op *op) {
  if (b->err == WEFT_OK) b->err = weft__doc_show(b->doc, &b->change, op);
}

static void put_value(board *b, const char *path, weft_value v) {
  weft_op op = {.path = test_path(&b->arena, path), .kind = WEFT_OP_SCALAR, .value = scalar(b, v)};
  show(b, &op);
}

static void put_int(board *b, const char *path, int64_t v) {
  put_value(b, path, (weft_value){.kind = WEFT_INT, .as.integer = v});
}

static void put_kind(board *b, const char *path, weft_op_kind kind) {
  weft_op op = {.path = test_path(&b->arena, path), .kind = kind};
  show(b, &op);
}

static void put_at(board *b, const char *path, weft_op_kind kind, const char *position) {
  weft_op op = {
      .path = test_path(&b->arena, path), .kind = kind, .position = weft_bytes_str(position)};
  if (kind == WEFT_OP_SCALAR) op.value = scalar(b, (weft_value){.kind = WEFT_NULL});
  show(b, &op);
}

static void expect_registers(board *b, const char *want) {
  assert_int_equal(b->err, WEFT_OK);
  weft__buf_reset(&b->text);
  test_doc_text(&b->text, b->doc);
  assert_string_equal(test_text(&b->text), want);
}

static void expect_shown(board *b, const char *path, const char *want) {
  assert_int_equal(b->err, WEFT_OK);
  weft_value v;
  weft__buf_reset(&b->text);
  weft_err err = weft__doc_render(b->doc, test_path(&b->arena, path), &b->arena, &v);
  assert_int_equal(err, want ? WEFT_OK : WEFT_ENOTFOUND);
  if (!want) return;
  test_value_text(&b->text, &v);
  assert_string_equal(test_text(&b->text), want);
}

static void expect_conflicts(board *b, const char *path, const char *want) {
  static const char *const kinds[] = {"", "value", "shape", "edit-delete"};
  static const char *const shapes[] = {"none", "scalar", "object", "array"};
  weft_conflict *list;
  size_t count;
  assert_int_equal(
      weft__doc_conflicts(b->doc, test_path(&b->arena, path), &b->arena, &list, &count), WEFT_OK);
  weft__buf_reset(&b->text);
  for (size_t i = 0; i < count; i++) {
    test_path_text(&b->text, list[i].path);
    test_print(&b->text, " %s %s%s%s%s; ", kinds[list[i].kind], shapes[list[i].shape],
               list[i].visible ? "" : " unseen", list[i].reg ? "" : " unwritten",
               list[i].winner ? " wins" : "");
  }
  assert_string_equal(test_text(&b->text), want);
}

/* --- the join --- */

static void a_write_replaces_what_it_claims_and_its_own(void **state) {
  (void)state;
  board *b = board_make();
  begin(b, 0, 5);
  put_int(b, "/a", 1);
  begin(b, 0, 6);
  put_int(b, "/a", 2);
  expect_registers(b, "/a: (0.2 at 6 scalar 02)\n");
  begin(b, 1, 7);
  put_int(b, "/a", 3);
  expect_registers(b, "/a: (0.2 at 6 scalar 02) (1.1 at 7 scalar 03)\n");
  begin(b, 2, 1);
  claim(b, 0, 2);
  put_int(b, "/a", 4);
  expect_registers(b, "/a: (1.1 at 7 scalar 03) (2.1 at 1 scalar 04)\n");
  expect_shown(b, "/a", "3");
  begin(b, 3, 2);
  claim(b, 0, 1);
  claim(b, 1, 1);
  claim(b, 2, 1);
  put_kind(b, "/a", WEFT_OP_UNSET);
  expect_registers(b, "/a: (3.1 at 2 unset )\n");
  expect_shown(b, "/a", NULL);
  board_free(b);
}

static void a_fork_covers_its_own_branch_only(void **state) {
  (void)state;
  board *b = board_make();
  b->logs.at[1] = (test_branch){.parent = 0, .log = 0, .fork = 1};
  b->seqs[1] = 1;
  begin(b, 0, 1);
  put_int(b, "/a", 1);
  begin(b, 0, 2);
  put_int(b, "/a", 2);
  begin(b, 1, 2);
  put_int(b, "/a", 3);
  expect_registers(b, "/a: (0.2 at 2 scalar 02) (1.2 at 2 scalar 03)\n");
  expect_conflicts(b, "", "/a value scalar wins; ");
  board_free(b);
}

static void a_fresh_mark_clears_what_it_covers_below(void **state) {
  (void)state;
  board *b = board_make();
  begin(b, 0, 1);
  put_at(b, "/l/@e", WEFT_OP_FRESH_ARRAY, "p");
  put_at(b, "/l/@e/@f", WEFT_OP_SCALAR, "q");
  begin(b, 1, 1);
  put_at(b, "/l/@e/@f", WEFT_OP_POSITION, "r");
  put_int(b, "/l/@g", 7);
  begin(b, 2, 1);
  claim(b, 0, 1);
  put_kind(b, "/l/@e", WEFT_OP_FRESH_OBJECT);
  put_int(b, "/l/@e/k", 1);
  expect_registers(b, "/l/@e: (2.1 at 1 fresh-object ) (0.1 at 1 position 70)\n"
                      "/l/@e/k: (2.1 at 1 scalar 01)\n"
                      "/l/@e/@f: (1.1 at 1 position 72)\n"
                      "/l/@g: (1.1 at 1 scalar 07)\n");
  /* A plain mark of somebody who saw everything leaves what lies below. */
  begin(b, 3, 1);
  claim(b, 1, 1);
  claim(b, 2, 1);
  put_kind(b, "/l/@e", WEFT_OP_MARK_OBJECT);
  expect_registers(b, "/l/@e: (3.1 at 1 mark-object ) (0.1 at 1 position 70)\n"
                      "/l/@e/k: (2.1 at 1 scalar 01)\n"
                      "/l/@e/@f: (1.1 at 1 position 72)\n"
                      "/l/@g: (1.1 at 1 scalar 07)\n");
  board_free(b);
}

static void positions_are_registers_of_their_own(void **state) {
  (void)state;
  board *b = board_make();
  begin(b, 0, 1);
  put_kind(b, "/l", WEFT_OP_FRESH_ARRAY);
  put_at(b, "/l/@a", WEFT_OP_SCALAR, "1");
  put_at(b, "/l/@b", WEFT_OP_SCALAR, "2");
  begin(b, 0, 5);
  put_at(b, "/l/@a", WEFT_OP_POSITION, "3");
  begin(b, 1, 1);
  claim(b, 0, 1);
  put_int(b, "/l/@a", 5);
  expect_registers(b, "/l: (0.1 at 1 fresh-array )\n"
                      "/l/@a: (1.1 at 1 scalar 05) (0.2 at 5 position 33)\n"
                      "/l/@b: (0.1 at 1 scalar c0) (0.1 at 1 position 32)\n");
  expect_shown(b, "/l", "[null,5]");
  /* Two moves at once: the later clock decides; it is no conflict. */
  begin(b, 1, 2);
  put_at(b, "/l/@a", WEFT_OP_POSITION, "0");
  expect_shown(b, "/l", "[null,5]");
  begin(b, 1, 9);
  put_at(b, "/l/@a", WEFT_OP_POSITION, "0");
  expect_shown(b, "/l", "[5,null]");
  expect_conflicts(b, "/l", "");
  /* A move does not bring a removed element back. */
  begin(b, 0, 10);
  claim(b, 1, 3);
  put_kind(b, "/l/@a", WEFT_OP_UNSET);
  begin(b, 2, 99);
  put_at(b, "/l/@a", WEFT_OP_POSITION, "9");
  expect_shown(b, "/l", "[null]");
  expect_conflicts(b, "/l", "");
  board_free(b);
}

static const weft_sibling *sibling_at(board *b, const char *path, size_t idx) {
  const weft_register *reg = weft__doc_find(b->doc, test_path(&b->arena, path));
  assert_non_null(reg);
  assert_true(idx < reg->value_count);
  return &reg->values[idx];
}

static void claims_are_kept_by_what_hides_something(void **state) {
  (void)state;
  board *b = board_make();
  begin(b, 0, 1);
  put_int(b, "/a/x", 1);
  put_int(b, "/b/x", 1);
  put_int(b, "/c", 1);
  put_at(b, "/d/@x", WEFT_OP_POSITION, "1");
  begin(b, 1, 1);
  put_int(b, "/e/x", 1);
  begin(b, 2, 2);
  claim(b, 0, 1);
  put_kind(b, "/a", WEFT_OP_UNSET);
  put_int(b, "/b", 2);
  put_kind(b, "/c", WEFT_OP_UNSET);
  put_kind(b, "/d", WEFT_OP_UNSET);
  put_int(b, "/e", 3);
  assert_int_equal(sibling_at(b, "/a", 0)->claim_count, 1);
  assert_int_equal(sibling_at(b, "/b", 0)->claim_count, 1);
  assert_ptr_equal(sibling_at(b, "/a", 0)->claims, sibling_at(b, "/b", 0)->claims);
  assert_int_equal(sibling_at(b, "/c", 0)->claim_count, 0);
  assert_int_equal(sibling_at(b, "/d", 0)->claim_count, 0);
  assert_int_equal(sibling_at(b, "/e", 0)->claim_count, 0);
  /* What covers only its own log needs no claims to say so. */
  begin(b, 1, 2);
  put_kind(b, "/e", WEFT_OP_UNSET);
  assert_int_equal(sibling_at(b, "/e", 1)->claim_count, 0);
  expect_shown(b, "/a", NULL);
  expect_shown(b, "/b", "2");
  board_free(b);
}

/* --- the view --- */

static void an_edit_beside_a_delete_brings_the_whole_back(void **state) {
  (void)state;
  board *b = board_make();
  begin(b, 0, 1);
  put_kind(b, "", WEFT_OP_FRESH_OBJECT);
  put_kind(b, "/o", WEFT_OP_FRESH_OBJECT);
  put_int(b, "/o/x", 1);
  put_int(b, "/o/y", 2);
  begin(b, 1, 1);
  claim(b, 0, 1);
  put_int(b, "/o/y", 5);
  begin(b, 2, 1);
  claim(b, 0, 1);
  put_int(b, "/o/y", 6);
  expect_conflicts(b, "", "/o/y value scalar wins; ");
  begin(b, 0, 2);
  claim(b, 1, 1);
  claim(b, 2, 1);
  put_kind(b, "/o", WEFT_OP_UNSET);
  expect_shown(b, "", "{}");
  expect_conflicts(b, "", "");
  begin(b, 3, 1);
  claim(b, 0, 1);
  put_int(b, "/o/x", 9);
  expect_shown(b, "", "{o:{x:9,y:6}}");
  /* What stands inside the deleted object is not listed by itself while the delete stands. */
  expect_conflicts(b, "", "/o edit-delete object; ");
  expect_conflicts(b, "/o/y", "/o edit-delete object; ");
  expect_conflicts(b, "/p", "");
  begin(b, 3, 3);
  claim(b, 0, 2);
  put_kind(b, "/o", WEFT_OP_MARK_OBJECT);
  expect_shown(b, "", "{o:{x:9,y:6}}");
  expect_conflicts(b, "", "/o/y value scalar wins; ");
  board_free(b);
}

static void a_deleted_document_comes_back_with_an_edit(void **state) {
  (void)state;
  board *b = board_make();
  begin(b, 0, 1);
  put_kind(b, "", WEFT_OP_FRESH_OBJECT);
  put_int(b, "/a", 1);
  begin(b, 1, 9);
  claim(b, 0, 1);
  put_kind(b, "", WEFT_OP_UNSET);
  expect_shown(b, "", NULL);
  begin(b, 2, 2);
  claim(b, 0, 1);
  put_int(b, "/b", 2);
  expect_shown(b, "", "{a:1,b:2}");
  expect_conflicts(b, "", " edit-delete object; ");
  board_free(b);
}

static void shapes_compete_side_by_side(void **state) {
  (void)state;
  board *b = board_make();
  begin(b, 0, 1);
  put_kind(b, "", WEFT_OP_FRESH_OBJECT);
  begin(b, 0, 2);
  put_kind(b, "/a", WEFT_OP_FRESH_OBJECT);
  put_int(b, "/a/k", 1);
  begin(b, 1, 3);
  put_kind(b, "/a", WEFT_OP_FRESH_ARRAY);
  put_int(b, "/a/@e", 2);
  expect_shown(b, "", "{a:[2]}");
  expect_conflicts(b, "", "/a shape array; ");
  begin(b, 2, 4);
  put_int(b, "/a", 3);
  expect_shown(b, "", "{a:3}");
  expect_conflicts(b, "", "/a shape scalar wins; ");
  /* A late edit of the object's side wins the place for the object. */
  begin(b, 3, 5);
  claim(b, 0, 2);
  put_int(b, "/a/k", 8);
  expect_shown(b, "", "{a:{k:8}}");
  begin(b, 1, 6);
  claim(b, 2, 1);
  claim(b, 3, 1);
  put_kind(b, "/a/@e", WEFT_OP_UNSET);
  put_kind(b, "/a", WEFT_OP_MARK_ARRAY);
  expect_shown(b, "", "{a:[]}");
  board_free(b);
}

static void one_change_ties_as_the_rule_says(void **state) {
  (void)state;
  board *b = board_make();
  begin(b, 0, 1);
  put_int(b, "/a", 1);
  put_int(b, "/a/k", 2);
  put_kind(b, "/b", WEFT_OP_MARK_OBJECT);
  put_int(b, "/b/@e", 2);
  put_int(b, "/c/k", 1);
  put_int(b, "/c/@e", 2);
  expect_shown(b, "/a", "1");
  expect_shown(b, "/b", "{}");
  expect_shown(b, "/c", "{k:1}");
  board_free(b);
}

static void equal_values_are_one_value(void **state) {
  (void)state;
  board *b = board_make();
  weft_value one = {.kind = WEFT_DOUBLE, .as.real = 1};
  weft_value text = {.kind = WEFT_STRING, .as.bytes = weft_bytes_str("1")};
  weft_value bytes = {.kind = WEFT_BYTES, .as.bytes = weft_bytes_str("1")};
  for (uint32_t log = 0; log < 3; log++) {
    begin(b, log, 1);
    put_kind(b, "", WEFT_OP_FRESH_OBJECT);
    put_int(b, "/same", 4);
    put_int(b, "/third", log);
    if (log == 0) put_int(b, "/number", 1);
    if (log > 0) put_value(b, "/number", one);
    put_value(b, "/other", log == 2 ? bytes : text);
  }
  expect_conflicts(b, "", "/other value scalar wins; /third value scalar wins; ");
  expect_shown(b, "", "{number:1d,other:b'1',same:4,third:2}");
  board_free(b);
}

static void what_is_left_of_a_container_begun_anew_is_reported(void **state) {
  (void)state;
  board *b = board_make();
  begin(b, 0, 1);
  put_kind(b, "", WEFT_OP_FRESH_OBJECT);
  put_kind(b, "/o", WEFT_OP_FRESH_OBJECT);
  put_kind(b, "/o/l", WEFT_OP_FRESH_ARRAY);
  put_int(b, "/o/l/@a", 1);
  begin(b, 1, 1);
  claim(b, 0, 1);
  put_int(b, "/o/l/@a", 2);
  begin(b, 2, 1);
  claim(b, 0, 1);
  put_kind(b, "", WEFT_OP_FRESH_OBJECT);
  put_int(b, "/n", 1);
  expect_shown(b, "", "{n:1,o:{l:[2]}}");
  expect_conflicts(b, "", "/o edit-delete object unwritten; /o/l edit-delete array unwritten; ");
  board_free(b);
}

static void the_losing_side_is_not_visible(void **state) {
  (void)state;
  board *b = board_make();
  begin(b, 0, 1);
  put_kind(b, "", WEFT_OP_FRESH_OBJECT);
  put_kind(b, "/a", WEFT_OP_FRESH_OBJECT);
  put_int(b, "/a/k", 1);
  begin(b, 1, 2);
  put_int(b, "/a/k", 2);
  begin(b, 2, 3);
  put_int(b, "/a", 3);
  expect_conflicts(b, "", "/a shape scalar wins; /a/k value scalar unseen wins; ");
  bool visible = true;
  assert_int_equal(weft__doc_visible(b->doc, test_path(&b->arena, "/a/k"), &visible), WEFT_OK);
  assert_false(visible);
  board_free(b);
}

static void the_deepest_path_is_rendered(void **state) {
  (void)state;
  board *b = board_make();
  char path[2 * WEFT_PATH_STEPS_MAX + 1] = "";
  for (size_t i = 0; i < WEFT_PATH_STEPS_MAX; i++) memcpy(path + 2 * i, i % 2 ? "/b" : "/a", 3);
  begin(b, 0, 1);
  put_int(b, path, 1);
  weft_value v;
  assert_int_equal(weft__doc_render(b->doc, weft_bytes_of(NULL, 0), &b->arena, &v), WEFT_OK);
  for (size_t i = 0; i < WEFT_PATH_STEPS_MAX; i++) {
    assert_int_equal(v.kind, WEFT_OBJECT);
    assert_int_equal(v.as.object.count, 1);
    v = v.as.object.at[0].value;
  }
  assert_int_equal(v.kind, WEFT_INT);
  weft__buf_reset(&b->text);
  assert_int_equal(weft__doc_pointer(b->doc, test_path(&b->arena, path), &b->arena, &b->text),
                   WEFT_OK);
  assert_string_equal(test_text(&b->text), path);
  board_free(b);
}

static void what_was_rendered_outlives_the_document(void **state) {
  (void)state;
  board *b = board_make();
  begin(b, 0, 1);
  put_value(b, "/key", (weft_value){.kind = WEFT_STRING, .as.bytes = weft_bytes_str("text")});
  weft_value v;
  assert_int_equal(weft__doc_render(b->doc, weft_bytes_of(NULL, 0), &b->arena, &v), WEFT_OK);
  weft__doc_free(b->doc);
  b->doc = NULL;
  test_value_text(&b->text, &v);
  assert_string_equal(test_text(&b->text), "{key:'text'}");
  board_free(b);
}

static void damaged_scalars_are_named(void **state) {
  (void)state;
  for (int damaged = 0; damaged < 2; damaged++) {
    board *b = board_make();
    for (int log = 0; log < 2; log++) {
      begin(b, (uint32_t)log, 1);
      weft_op op = {.path = test_path(&b->arena, "/a"),
                    .kind = WEFT_OP_SCALAR,
                    .value = weft_bytes_str(log == damaged ? "\xc1" : "\x01")};
      show(b, &op);
    }
    weft_value v = {.kind = WEFT_BOOL};
    weft_conflict *list;
    size_t count;
    weft_bytes root = weft_bytes_of(NULL, 0);
    assert_int_equal(weft__doc_conflicts(b->doc, root, &b->arena, &list, &count), WEFT_EMALFORMED);
    assert_null(list);
    weft_err err = weft__doc_render(b->doc, root, &b->arena, &v);
    assert_int_equal(err, damaged ? WEFT_EMALFORMED : WEFT_OK);
    assert_int_equal(v.kind, damaged ? WEFT_BOOL : WEFT_OBJECT);
    board_free(b);
  }
}

/* --- pointers --- */

static void expect_resolved(board *b, const char *pointer, weft_err want, const char *path,
                            bool append, size_t fitted) {
  weft_bytes *tokens;
  size_t count, depth;
  weft_path got;
  bool appends;
  assert_int_equal(weft_pointer_split(&b->arena, weft_bytes_str(pointer), &tokens, &count),
                   WEFT_OK);
  assert_int_equal(weft__doc_resolve(b->doc, &b->arena, tokens, count, &got, &appends, &depth),
                   want);
  weft__buf_reset(&b->text);
  test_path_text(&b->text, got);
  assert_string_equal(test_text(&b->text), path);
  assert_int_equal(appends, append);
  assert_int_equal(depth, fitted);
}

static board *board_with_list(void) {
  board *b = board_make();
  begin(b, 0, 1);
  put_kind(b, "", WEFT_OP_FRESH_OBJECT);
  put_kind(b, "/l", WEFT_OP_FRESH_ARRAY);
  const char *letters = "kjihgfedcba";
  for (size_t i = 0; i < 11; i++) {
    char path[] = "/l/@?", position[] = "?";
    path[4] = letters[i];
    position[0] = (char)('0' + i);
    put_at(b, path, i == 10 ? WEFT_OP_FRESH_OBJECT : WEFT_OP_SCALAR, position);
  }
  put_int(b, "/0", 1);
  return b;
}

static void pointers_resolve_against_what_is_shown(void **state) {
  (void)state;
  board *b = board_with_list();
  expect_resolved(b, "", WEFT_OK, "", false, 0);
  expect_resolved(b, "/l/0", WEFT_OK, "/l/@k", false, 2);
  expect_resolved(b, "/l/10", WEFT_OK, "/l/@a", false, 2);
  expect_resolved(b, "/l/10/new/0/-", WEFT_OK, "/l/@a/new/0/-", false, 5);
  expect_resolved(b, "/l/-", WEFT_OK, "/l", true, 2);
  expect_resolved(b, "/l/-/x", WEFT_EBADPATH, "", false, 1);
  expect_resolved(b, "/l/11", WEFT_EBADPATH, "", false, 1);
  expect_resolved(b, "/l/01", WEFT_EBADPATH, "", false, 1);
  expect_resolved(b, "/l/1a", WEFT_EBADPATH, "", false, 1);
  expect_resolved(b, "/l/+1", WEFT_EBADPATH, "", false, 1);
  expect_resolved(b, "/l/", WEFT_EBADPATH, "", false, 1);
  expect_resolved(b, "/l/18446744073709551616", WEFT_EBADPATH, "", false, 1);
  expect_resolved(b, "/l/184467440737095516150", WEFT_EBADPATH, "", false, 1);
  expect_resolved(b, "/l/0/x", WEFT_EBADPATH, "", false, 2);
  expect_resolved(b, "/0", WEFT_OK, "/0", false, 1);
  expect_resolved(b, "/0/x", WEFT_EBADPATH, "", false, 1);
  expect_resolved(b, "/none/0", WEFT_OK, "/none/0", false, 2);
  /* Below what was deleted everything is new, whatever once stood there. */
  begin(b, 0, 2);
  put_kind(b, "/l", WEFT_OP_UNSET);
  expect_resolved(b, "/l/0", WEFT_OK, "/l/0", false, 2);
  begin(b, 0, 3);
  put_kind(b, "", WEFT_OP_UNSET);
  expect_resolved(b, "/0/x", WEFT_OK, "/0/x", false, 2);
  board_free(b);
}

static void pointers_keep_the_limits_of_paths(void **state) {
  (void)state;
  board *b = board_make();
  weft_path path;
  bool append;
  size_t depth;
  weft_bytes tokens[WEFT_PATH_STEPS_MAX + 1];
  for (size_t i = 0; i <= WEFT_PATH_STEPS_MAX; i++) tokens[i] = weft_bytes_str("a");
  assert_int_equal(
      weft__doc_resolve(b->doc, &b->arena, tokens, WEFT_PATH_STEPS_MAX + 1, &path, &append, &depth),
      WEFT_ELIMIT);
  assert_int_equal(depth, WEFT_PATH_STEPS_MAX);
  tokens[1] = weft_bytes_str("\xff");
  assert_int_equal(weft__doc_resolve(b->doc, &b->arena, tokens, 2, &path, &append, &depth),
                   WEFT_EBADPATH);
  assert_int_equal(depth, 1);
  board_free(b);
}

static void pointers_are_written_as_shown_now(void **state) {
  (void)state;
  board *b = board_with_list();
  put_int(b, "/l/@a/x~y", 1);
  weft_path path = test_path(&b->arena, "/l/@a/x~y");
  assert_int_equal(weft__doc_pointer(b->doc, path, &b->arena, &b->text), WEFT_OK);
  assert_string_equal(test_text(&b->text), "/l/10/x~0y");
  begin(b, 0, 2);
  put_at(b, "/l/@a", WEFT_OP_POSITION, "!");
  assert_int_equal(weft__doc_pointer(b->doc, path, &b->arena, &b->text), WEFT_OK);
  assert_string_equal(test_text(&b->text), "/l/10/x~0y/l/0/x~0y");
  path = test_path(&b->arena, "/l/@gone");
  assert_int_equal(weft__doc_pointer(b->doc, path, &b->arena, &b->text), WEFT_ENOTFOUND);
  /* A buffer that is full keeps what it had. */
  weft_buf small;
  weft__buf_init(&small, &b->arena.mem, 6);
  path = test_path(&b->arena, "/l/@a/x~y");
  weft__buf_u8(&small, '!');
  assert_int_equal(weft__doc_pointer(b->doc, path, &b->arena, &small), WEFT_ELIMIT);
  assert_int_equal(small.len, 1);
  assert_int_equal(weft__doc_pointer(b->doc, path, &b->arena, &small), WEFT_ELIMIT);
  weft__buf_free(&small);
  board_free(b);
}

/* --- registers as a holder sees them --- */

static void dirty_registers_are_visited_until_clean(void **state) {
  (void)state;
  board *b = board_make();
  begin(b, 0, 1);
  put_int(b, "/a", 1);
  put_int(b, "/a/x", 2);
  put_int(b, "/c", 2);
  weft__doc_clean(b->doc);
  weft_bytes root = weft_bytes_of(NULL, 0);
  for (const weft_register *r = weft__doc_seek(b->doc, root); r; r = weft__doc_next(b->doc, r)) {
    assert_false(r->dirty);
  }
  begin(b, 0, 2);
  put_kind(b, "/a", WEFT_OP_FRESH_OBJECT);
  weft_path emptied = test_path(&b->arena, "/a/x"), kept = test_path(&b->arena, "/c");
  const weft_register *reg = weft__doc_find(b->doc, emptied);
  assert_non_null(reg);
  assert_true(reg->dirty);
  assert_int_equal(reg->value_count, 0);
  reg = weft__doc_next(b->doc, reg);
  assert_ptr_equal(reg, weft__doc_find(b->doc, kept));
  assert_false(reg->dirty);
  assert_null(weft__doc_next(b->doc, reg));
  weft__doc_clean(b->doc);
  assert_null(weft__doc_find(b->doc, emptied));
  reg = weft__doc_seek(b->doc, emptied);
  assert_ptr_equal(reg, weft__doc_find(b->doc, kept));
  assert_null(weft__doc_seek(b->doc, test_path(&b->arena, "/d")));
  assert_null(weft__doc_find(b->doc, test_path(&b->arena, "/b")));
  begin(b, 0, 3);
  put_kind(b, "", WEFT_OP_FRESH_OBJECT);
  weft__doc_clean(b->doc);
  weft__doc_reset(b->doc);
  assert_null(weft__doc_seek(b->doc, root));
  weft__doc_clean(b->doc);
  expect_shown(b, "", NULL);
  board_free(b);
}

static void any_order_of_puts_gives_one_order(void **state) {
  (void)state;
  enum { count = 20000 };
  board *b = board_make();
  test_rng rng = test_rng_of(7);
  weft_sibling s = {.dot = {0, 1}, .kind = WEFT_OP_UNSET};
  size_t put = 0;
  for (size_t i = 0; i < count; i++) {
    uint8_t name[5] = {2 << 1, 0, 0, 1 << 1, 0};
    name[1] = (uint8_t)('a' + test_rng_below(&rng, 26));
    name[2] = (uint8_t)('a' + test_rng_below(&rng, 26));
    name[4] = (uint8_t)('a' + test_rng_below(&rng, 26));
    weft_register reg = {.path = {name, sizeof name}, .values = &s, .value_count = 1};
    weft_err err = weft__doc_put(b->doc, &reg);
    assert_true(err == WEFT_OK || err == WEFT_EMISUSE);
    put += err == WEFT_OK;
  }
  size_t seen = 0;
  const weft_register *before = NULL;
  const weft_register *r = weft__doc_seek(b->doc, weft_bytes_of(NULL, 0));
  for (; r; before = r, r = weft__doc_next(b->doc, r)) {
    if (before) assert_true(weft_bytes_cmp(before->path, r->path) < 0);
    seen++;
  }
  assert_int_equal(seen, put);
  assert_true(put > 1000);
  board_free(b);
}

/* --- sorting and digests --- */

static int by_tens(const void *ctx, const void *a, const void *b) {
  assert_null(ctx);
  const int *x = a, *y = b;
  return *x / 10 < *y / 10 ? -1 : *x / 10 > *y / 10;
}

static void sorting_is_stable(void **state) {
  (void)state;
  int numbers[100];
  const void *items[100], *scratch[100];
  for (uint64_t seed = 1; seed <= 500; seed++) {
    test_rng rng = test_rng_of(seed);
    size_t count = test_rng_below(&rng, 101);
    for (size_t i = 0; i < count; i++) {
      numbers[i] = (int)test_rng_below(&rng, seed % 2 ? 1000 : 50);
      items[i] = &numbers[i];
    }
    weft__sort(items, scratch, count, by_tens, NULL);
    for (size_t i = 1; i < count; i++) {
      const int *x = items[i - 1], *y = items[i];
      assert_true(*x / 10 < *y / 10 || (*x / 10 == *y / 10 && x < y));
    }
  }
}

static weft_digest term_of(const weft_crypto *crypto, const weft_digest_key *key, weft_buf *scratch,
                           const char *doc, const weft_sibling *s) {
  weft_id log = {{9}};
  weft_digest term;
  assert_int_equal(weft__digest_term(crypto, key, scratch, weft_bytes_str(doc),
                                     weft_bytes_str("\x02"
                                                    "a"),
                                     &log, s, &term),
                   WEFT_OK);
  return term;
}

static void digests_add_up_in_any_order(void **state) {
  (void)state;
  const weft_crypto *crypto = weft_crypto_sodium();
  weft_alloc mem = weft_alloc_libc();
  weft_buf scratch;
  weft__buf_init(&scratch, &mem, 200);
  weft_id space = {{1, 2, 3}};
  weft_digest_key key;
  weft__digest_key(crypto, &space, &key);
  weft_sibling s = {
      .dot = {3, 5}, .hlc = 7, .kind = WEFT_OP_SCALAR, .value = {(const uint8_t *)"\x01", 1}};
  /* Golden: both computed from the definitions by another program. */
  test_assert_hex(weft_bytes_of(key.b, sizeof key.b), "dcd02eb10431449421e18f4769344ed4");
  weft_digest golden = term_of(crypto, &key, &scratch, "a/b", &s);
  assert_true(golden.high == 0x776ab80986aed0b7 && golden.low == 0xada138d1980a3c24);
  weft_digest sum = {0, 0}, terms[50];
  for (size_t i = 0; i < 50; i++) {
    s.hlc = i;
    terms[i] = term_of(crypto, &key, &scratch, "a/b", &s);
    weft__digest_add(&sum, terms[i]);
    if (i > 0) assert_memory_not_equal(&terms[i], &terms[i - 1], sizeof terms[i]);
  }
  weft_digest again = term_of(crypto, &key, &scratch, "a/b", &s);
  assert_memory_equal(&again, &terms[49], sizeof again);
  /* The local number of a log is no part of it. */
  s.dot.log = 8;
  again = term_of(crypto, &key, &scratch, "a/b", &s);
  assert_memory_equal(&again, &terms[49], sizeof again);
  for (size_t i = 0; i < 50; i++) weft__digest_sub(&sum, terms[i]);
  assert_true(sum.high == 0 && sum.low == 0);
  weft__digest_sub(&sum, terms[0]);
  weft__digest_add(&sum, terms[0]);
  assert_true(sum.high == 0 && sum.low == 0);
  weft_digest one = {0, 1}, most = {1, UINT64_MAX};
  weft__digest_add(&one, most);
  assert_true(one.high == 2 && one.low == 0);
  weft__digest_sub(&one, most);
  assert_true(one.high == 0 && one.low == 1);
  weft_id log = {{0}};
  uint8_t big[250] = {0};
  s.value = weft_bytes_of(big, sizeof big);
  assert_int_equal(weft__digest_term(crypto, &key, &scratch, weft_bytes_str("a/b"),
                                     weft_bytes_of(NULL, 0), &log, &s, &again),
                   WEFT_ELIMIT);
  weft__buf_free(&scratch);
}

/* --- memory --- */

static void step(weft_err *err, weft_err next) {
  if (*err == WEFT_OK) *err = next;
}

static void write_much(board *b, int elements, size_t pad) {
  uint8_t zeros[2000] = {0};
  assert_true(pad <= sizeof zeros);
  begin(b, 0, 1);
  put_value(b, "/pad", (weft_value){.kind = WEFT_BYTES, .as.bytes = weft_bytes_of(zeros, pad)});
  put_kind(b, "", WEFT_OP_FRESH_OBJECT);
  put_kind(b, "/l", WEFT_OP_FRESH_ARRAY);
  for (int i = 0; i < elements; i++) {
    char path[] = "/l/@?/value";
    path[4] = (char)('0' + i);
    put_value(b, path, (weft_value){.kind = WEFT_STRING, .as.bytes = weft_bytes_str("long text")});
    path[5] = 0;
    put_at(b, path, WEFT_OP_MARK_OBJECT, path + 4);
  }
  /* More places than registers. */
  put_int(b, "/way/to/some/thing/that/lies/very/deep", 1);
  if (elements % 2) put_int(b, "/way/up/to/some/other/thing", 1);
  begin(b, 1, 2);
  claim(b, 0, 1);
  put_kind(b, "/l", WEFT_OP_UNSET);
  begin(b, 2, 3);
  put_int(b, "/l/@0/value", 3);
  put_at(b, "/l/@0", WEFT_OP_POSITION, "x");
}

/* Every way into a document, with memory of its own and an arena on the same memory.  `shift` moves
 * the places where arenas need another block, so that each of their calls is the one that fails. */
static weft_err use_everything(const weft_alloc *mem, int shift) {
  board b;
  board_open(&b, mem);
  weft_arena arena;
  weft__arena_init(&arena, mem);
  weft_buf out;
  weft__buf_init(&out, mem, 1000);
  weft_doc *copy = NULL;
  if (b.err == WEFT_OK) {
    write_much(&b, shift < 64 ? 1 : shift % 41, (size_t)(16 * (shift % 64)));
    weft_path root = weft_bytes_of(NULL, 0), deep = test_path(&b.arena, "/l/@0/value"), path;
    weft_lineage lineage = test_lineage_of(&b.logs);
    weft_value v;
    weft_child *children;
    weft_conflict *conflicts;
    weft_bytes tokens[] = {weft_bytes_str("l"), weft_bytes_str("0"), weft_bytes_str("value")};
    size_t count, depth;
    bool flag;
    weft_err err = b.err;
    step(&err, weft__arena_take(&arena, (size_t)(16 * shift)) ? WEFT_OK : WEFT_ENOMEM);
    step(&err, err ? err : weft__doc_new(&copy, mem, &lineage));
    step(&err, err ? err : weft__doc_copy(copy, b.doc));
    step(&err, err ? err : weft__doc_render(b.doc, root, &arena, &v));
    step(&err, err ? err
                   : weft__doc_children(b.doc, test_path(&b.arena, "/l"), WEFT_SHAPE_ARRAY, &arena,
                                        &children, &count));
    step(&err, err ? err : weft__doc_visible(b.doc, deep, &flag));
    step(&err, err ? err : weft__doc_resolve(b.doc, &arena, tokens, 3, &path, &flag, &depth));
    step(&err, err ? err : weft__doc_pointer(b.doc, deep, &arena, &out));
    step(&err, err ? err : weft__doc_conflicts(b.doc, root, &arena, &conflicts, &count));
    b.err = err;
    if (err == WEFT_OK) assert_true(count > 2);
  }
  weft_err err = b.err;
  weft__doc_free(copy);
  weft__buf_free(&out);
  weft__arena_free(&arena);
  board_close(&b);
  return err;
}

/* Little enough for the first block, whose end `shift` moves through every call. */
static weft_err hide_and_copy(const weft_alloc *mem, int shift) {
  board b;
  board_open(&b, mem);
  weft_doc *copy = NULL;
  if (b.err == WEFT_OK) {
    uint8_t zeros[2000] = {0};
    weft_bytes pad = weft_bytes_of(zeros, (size_t)(16 * (shift % 64)));
    weft_lineage lineage = test_lineage_of(&b.logs);
    begin(&b, 0, 1);
    put_value(&b, "/A", (weft_value){.kind = WEFT_BYTES, .as.bytes = pad});
    put_int(&b, "/a/x", 1);
    begin(&b, 1, 1);
    claim(&b, 0, 1);
    put_kind(&b, "/a", WEFT_OP_UNSET);
    step(&b.err, b.err ? b.err : weft__doc_new(&copy, mem, &lineage));
    step(&b.err, b.err ? b.err : weft__doc_copy(copy, b.doc));
  }
  weft_err err = b.err;
  weft__doc_free(copy);
  board_close(&b);
  return err;
}

static void fail_each_allocation(weft_err (*work)(const weft_alloc *, int), int shift) {
  test_fault_alloc f = {.fail_at = 0};
  weft_alloc mem = test_fault_alloc_of(&f);
  assert_int_equal(work(&mem, shift), WEFT_OK);
  size_t clean = f.calls;
  assert_true(clean > 5);
  for (size_t k = 1; k <= clean; k++) {
    f = (test_fault_alloc){.fail_at = k, .sticky = (k + (size_t)shift) % 2};
    assert_int_equal(work(&mem, shift), WEFT_ENOMEM);
    assert_int_equal(f.live, 0);
  }
}

static void every_allocation_can_fail(void **state) {
  (void)state;
  for (int shift = 0; shift < 200; shift++) fail_each_allocation(use_everything, shift);
  for (int shift = 0; shift < 64; shift++) fail_each_allocation(hide_and_copy, shift);
}

static size_t asked;

static bool asked_before(const void *ctx, weft_dot a, weft_dot b) {
  (void)ctx;
  asked++;
  return a.log == b.log && a.seq <= b.seq;
}

static int asked_rank(const void *ctx, weft_dot a, weft_dot b) {
  (void)ctx;
  asked++;
  return a.log < b.log ? -1 : a.log > b.log;
}

static void show_mark(weft_doc *doc, const char *path, uint32_t log, uint64_t hlc) {
  weft_shown change = {.dot = {log, 1}, .hlc = hlc};
  weft_op op = {.path = weft_bytes_str(path), .kind = WEFT_OP_MARK_OBJECT};
  assert_int_equal(weft__doc_show(doc, &change, &op), WEFT_OK);
}

/* Whoever edits one of many members asks what contains it; the others have no say in that, unless
 * they are of another kind. */
static void a_container_is_known_by_its_mark(void **state) {
  (void)state;
  weft_alloc libc = weft_alloc_libc();
  weft_lineage lineage = {NULL, asked_before, asked_rank};
  weft_doc *doc;
  weft_sides sides;
  char path[16];
  assert_int_equal(weft__doc_new(&doc, &libc, &lineage), WEFT_OK);
  show_mark(doc, "\x02m", 0, 5);
  show_mark(doc, "\x02m", 1, 5);
  for (uint32_t i = 0; i < 400; i++) {
    int len = snprintf(path + 3, sizeof path - 3, "%x", i);
    path[0] = 2;
    path[1] = 'm';
    path[2] = (char)(len << 1);
    show_mark(doc, path, i + 2, 5);
  }
  asked = 0;
  assert_int_equal(weft__doc_sides(doc, weft_bytes_str("\x02m"), &sides), WEFT_OK);
  assert_int_equal(asked, 0);
  assert_int_equal(sides.shape, WEFT_SHAPE_OBJECT);
  assert_true(sides.object_mark && sides.object_alive && !sides.array_mark && !sides.array_alive);
  assert_true(!sides.has_scalar && !sides.has_hide && !sides.has_unset && !sides.winner);
  show_mark(doc, "\x02m\x05zz", 900, 6); /* an element among them */
  assert_int_equal(weft__doc_sides(doc, weft_bytes_str("\x02m"), &sides), WEFT_OK);
  assert_true(asked > 0);
  assert_int_equal(sides.shape, WEFT_SHAPE_ARRAY);
  assert_true(sides.object_mark && sides.object_alive && !sides.array_mark && sides.array_alive);
  weft__doc_free(doc);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_write_replaces_what_it_claims_and_its_own),
      cmocka_unit_test(a_fork_covers_its_own_branch_only),
      cmocka_unit_test(a_fresh_mark_clears_what_it_covers_below),
      cmocka_unit_test(positions_are_registers_of_their_own),
      cmocka_unit_test(claims_are_kept_by_what_hides_something),
      cmocka_unit_test(an_edit_beside_a_delete_brings_the_whole_back),
      cmocka_unit_test(a_deleted_document_comes_back_with_an_edit),
      cmocka_unit_test(shapes_compete_side_by_side),
      cmocka_unit_test(a_container_is_known_by_its_mark),
      cmocka_unit_test(one_change_ties_as_the_rule_says),
      cmocka_unit_test(equal_values_are_one_value),
      cmocka_unit_test(what_is_left_of_a_container_begun_anew_is_reported),
      cmocka_unit_test(the_losing_side_is_not_visible),
      cmocka_unit_test(the_deepest_path_is_rendered),
      cmocka_unit_test(what_was_rendered_outlives_the_document),
      cmocka_unit_test(damaged_scalars_are_named),
      cmocka_unit_test(pointers_resolve_against_what_is_shown),
      cmocka_unit_test(pointers_keep_the_limits_of_paths),
      cmocka_unit_test(pointers_are_written_as_shown_now),
      cmocka_unit_test(dirty_registers_are_visited_until_clean),
      cmocka_unit_test(any_order_of_puts_gives_one_order),
      cmocka_unit_test(sorting_is_stable),
      cmocka_unit_test(digests_add_up_in_any_order),
      cmocka_unit_test(every_allocation_can_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

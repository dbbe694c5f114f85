/* The writer, the diff and the claims: scenarios of two and three people, each call's errors, what
 * several edits in one change come to, arrays of thousands of elements, every allocation failing.
 * weft-laws does the same at random; here stand the cases that a person can check by reading. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/json.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/plain.h"
#include "tests/support/world.h"

/* --- helpers --- */

static test_world world;

static int setup(void **state) {
  (void)state;
  test_world_init(&world);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  test_world_free(&world);
  return 0;
}

/* `count` replicas that all show `json` (NULL: nothing). */
static test_replica *begin(size_t count, const char *json) {
  test_world_reset(&world, 1, count);
  test_replica *rs = world.replicas;
  if (json) test_import(&rs[0], json);
  for (size_t i = 1; i < count; i++) test_sync(&rs[0], &rs[i], false);
  return rs;
}

/* Everybody meets; gives the document, which all show. */
static const char *meet(void) {
  test_sync_all(&world);
  for (size_t i = 1; i < world.count; i++) {
    assert_true(test_same_state(&world.replicas[0], &world.replicas[i]));
  }
  test_check_brute(&world.replicas[0]);
  return test_json(&world.replicas[0]);
}

static size_t conflicts(test_replica *r) {
  weft_conflict *list;
  size_t count;
  assert_int_equal(weft__doc_conflicts(r->doc, weft_bytes_of(NULL, 0), &world.arena, &list, &count),
                   WEFT_OK);
  return count;
}

static weft_value parse(const char *json) {
  weft_value v;
  assert_int_equal(weft_json_parse(&world.arena, weft_bytes_str(json), &v, NULL), WEFT_OK);
  return v;
}

/* The typed path of a pointer, as the replica shows the document. */
static weft_path at(const weft_doc *doc, const char *pointer) {
  weft_bytes *tokens;
  size_t count, depth;
  weft_path path;
  bool append;
  assert_int_equal(weft_pointer_split(&world.arena, weft_bytes_str(pointer), &tokens, &count),
                   WEFT_OK);
  assert_int_equal(weft__doc_resolve(doc, &world.arena, tokens, count, &path, &append, &depth),
                   WEFT_OK);
  return path;
}

static test_change *set(test_replica *r, const char *pointer, const char *json) {
  weft_value v = parse(json);
  weft_path path = at(r->doc, pointer);
  weft_writer *w = test_replica_writer(r, r->doc, 0);
  assert_int_equal(weft__write_set(w, path, &v, true), WEFT_OK);
  return test_replica_commit(r, w, 0, NULL, NULL);
}

static test_change *unset(test_replica *r, const char *pointer) {
  weft_path path = at(r->doc, pointer);
  weft_writer *w = test_replica_writer(r, r->doc, 0);
  assert_int_equal(weft__write_unset(w, path), WEFT_OK);
  return test_replica_commit(r, w, 0, NULL, NULL);
}

static test_change *insert(test_replica *r, const char *pointer, size_t idx, const char *json) {
  weft_value v = parse(json);
  weft_path path = at(r->doc, pointer);
  weft_writer *w = test_replica_writer(r, r->doc, 0);
  assert_int_equal(weft__write_insert(w, path, idx, &v, NULL), WEFT_OK);
  return test_replica_commit(r, w, 0, NULL, NULL);
}

static test_change *move(test_replica *r, const char *pointer, size_t from, size_t to) {
  weft_path path = at(r->doc, pointer);
  weft_writer *w = test_replica_writer(r, r->doc, 0);
  assert_int_equal(weft__write_move(w, path, from, to), WEFT_OK);
  return test_replica_commit(r, w, 0, NULL, NULL);
}

static test_change *keep(test_replica *r, const char *pointer) {
  weft_path path = at(r->doc, pointer);
  weft_writer *w = test_replica_writer(r, r->doc, 0);
  assert_int_equal(weft__write_keep(w, path), WEFT_OK);
  return test_replica_commit(r, w, 0, NULL, NULL);
}

static test_change *undelete(test_replica *r) {
  weft_writer *w = test_replica_writer(r, r->doc, 0);
  assert_int_equal(weft__write_undelete(w), WEFT_OK);
  return test_replica_commit(r, w, 0, NULL, NULL);
}

/* The kinds of a change's ops, in path order, such as "SUP": Scalar, Unset, Mark, Fresh, Position;
 * "+" behind one that carries a position. */
static const char *kinds(const test_change *c) {
  static const char letter[] = "?SUMMFFP";
  char *text = weft__arena_take(&world.arena, 2 * TEST_CHANGES_MAX), *to = text;
  assert_non_null(text);
  for (size_t i = 0; c && i < c->op_count; i++) {
    *to++ = letter[c->ops[i].kind];
    if (c->ops[i].position.len > 0 && c->ops[i].kind != WEFT_OP_POSITION) *to++ = '+';
  }
  *to = 0;
  return text;
}

/* --- two people import --- */

static const char *two_imports(const char *both, const char *one, const char *other) {
  char a[512], b[512], c[512];
  snprintf(a, sizeof a, "{\"a\":%s}", both ? both : "");
  snprintf(b, sizeof b, "{\"a\":%s}", one);
  snprintf(c, sizeof c, "{\"a\":%s}", other);
  test_replica *rs = begin(2, both ? a : NULL);
  test_import(&rs[0], b);
  test_import(&rs[1], c);
  return meet();
}

static void first_imports_meet_without_doubling(void **state) {
  (void)state;
  assert_string_equal(two_imports(NULL, "[\"p\",\"q\"]", "[\"p\",\"q\"]"), "{\"a\":[\"p\",\"q\"]}");
  assert_int_equal(conflicts(&world.replicas[0]), 0);
  assert_string_equal(two_imports(NULL, "[\"a\",\"b\",\"c\"]", "[\"z\",\"a\",\"b\",\"c\"]"),
                      "{\"a\":[\"z\",\"a\",\"b\",\"c\"]}");
  assert_string_equal(two_imports(NULL, "[\"a\",\"a\",\"b\"]", "[\"a\",\"b\",\"a\"]"),
                      "{\"a\":[\"a\",\"b\",\"a\"]}");
  assert_string_equal(
      two_imports(NULL, "[{\"id\":1,\"km\":5},{\"id\":2}]", "[{\"id\":2},{\"id\":1,\"km\":6}]"),
      "{\"a\":[{\"id\":2},{\"id\":1,\"km\":6}]}");
  assert_int_equal(conflicts(&world.replicas[0]), 1);
  assert_string_equal(two_imports(NULL, "[[1,2],[3]]", "[[1,2],[3]]"), "{\"a\":[[1,2],[3]]}");
  /* A row that differs is another row when neither has seen the other's. */
  assert_string_equal(two_imports(NULL, "[[1,2],[3,4]]", "[[1,2],[3,5]]"),
                      "{\"a\":[[1,2],[3,4],[3,5]]}");
  /* The key counts for each element that has it: one without does not make all anonymous. */
  assert_string_equal(two_imports(NULL, "[{\"id\":1},{\"id\":2,\"t\":[1]}]",
                                  "[{\"id\":1},{\"id\":2,\"t\":[1]},{\"t\":9}]"),
                      "{\"a\":[{\"id\":1},{\"id\":2,\"t\":[1]},{\"t\":9}]}");
  /* Numbers are matched by value. */
  assert_string_equal(two_imports(NULL, "[[1,2.5]]", "[[1.0,2.5]]"), "{\"a\":[[1.0,2.5]]}");
}

static void edited_files_meet(void **state) {
  (void)state;
  assert_string_equal(two_imports("[{\"t\":\"run\",\"r\":1},{\"t\":\"rest\",\"r\":2}]",
                                  "[{\"t\":\"run\",\"r\":1},{\"t\":\"REST\",\"r\":2}]",
                                  "[{\"t\":\"run\",\"r\":1},{\"t\":\"rest\",\"r\":9}]"),
                      "{\"a\":[{\"r\":1,\"t\":\"run\"},{\"r\":9,\"t\":\"REST\"}]}");
  assert_int_equal(conflicts(&world.replicas[0]), 0);
  const char *scalars = two_imports("[1,2,3]", "[1,2,4]", "[1,2,5]");
  assert_true(strcmp(scalars, "{\"a\":[1,2,4,5]}") == 0 ||
              strcmp(scalars, "{\"a\":[1,2,5,4]}") == 0);
  assert_string_equal(two_imports("[\"a\",\"b\"]", "[\"a\",\"n\",\"b\"]", "[\"a\",\"n\",\"b\"]"),
                      "{\"a\":[\"a\",\"n\",\"b\"]}");
  assert_string_equal(two_imports("[{\"t\":\"a\"}]", "[{\"t\":\"a\"},{\"t\":\"n\"}]",
                                  "[{\"t\":\"a\"},{\"t\":\"n\"}]"),
                      "{\"a\":[{\"t\":\"a\"},{\"t\":\"n\"}]}");
  assert_string_equal(
      two_imports("[\"a\",\"b\",\"c\"]", "[\"a\",\"b\",\"X\",\"c\"]", "[\"a\",\"c\"]"),
      "{\"a\":[\"a\",\"X\",\"c\"]}");
  assert_string_equal(two_imports("[[1,2],[3,4]]", "[[1,2],[3,5]]", "[[1,9],[3,4]]"),
                      "{\"a\":[[1,9],[3,5]]}");
  assert_string_equal(two_imports("[{\"id\":1,\"v\":1},{\"id\":2,\"v\":1}]",
                                  "[{\"id\":1,\"v\":1},{\"id\":2,\"v\":7}]",
                                  "[{\"id\":1,\"v\":1}]"),
                      "{\"a\":[{\"id\":1,\"v\":1},{\"id\":2,\"v\":7}]}");
  assert_int_equal(conflicts(&world.replicas[0]), 1);
  assert_string_equal(two_imports("{\"q\":1}", "[1,2]", "{\"q\":2}"), "{\"a\":{\"q\":2}}");
  assert_string_equal(two_imports("[\"a\"]", "\"s\"", "[\"a\",\"b\"]"), "{\"a\":[\"a\",\"b\"]}");
}

static void same_key_inserted_by_both_is_one_element(void **state) {
  (void)state;
  const char *got = two_imports("[{\"id\":1}]", "[{\"id\":1},{\"id\":2,\"t\":\"A\",\"x\":1}]",
                                "[{\"id\":1},{\"id\":2,\"t\":\"B\",\"y\":1}]");
  bool one = strcmp(got, "{\"a\":[{\"id\":1},{\"id\":2,\"t\":\"A\",\"x\":1,\"y\":1}]}") == 0;
  bool other = strcmp(got, "{\"a\":[{\"id\":1},{\"id\":2,\"t\":\"B\",\"x\":1,\"y\":1}]}") == 0;
  assert_true(one || other);
  assert_int_equal(conflicts(&world.replicas[0]), 1);
}

static void removed_and_back(void **state) {
  (void)state;
  test_replica *rs = begin(2, "{\"t\":[\"x\",\"y\"]}");
  test_import(&rs[0], "{\"t\":[\"x\"]}");
  meet();
  assert_string_equal(kinds(test_import(&rs[0], "{\"t\":[\"y\",\"x\"]}")), "S+");
  assert_string_equal(meet(), "{\"t\":[\"y\",\"x\"]}");

  rs = begin(2, "{\"t\":[\"x\",\"y\"]}");
  test_import(&rs[0], "{\"t\":[\"x\"]}");
  test_import(&rs[0], "{\"t\":[\"x\",\"y\"]}");
  test_import(&rs[1], "{\"t\":[\"x\"]}");
  assert_string_equal(meet(), "{\"t\":[\"x\",\"y\"]}");
  assert_int_equal(conflicts(&rs[0]), 1);

  /* An element edited in place keeps its id, so another of the old content gets the next one. */
  rs = begin(2, "{\"t\":[\"x\",\"y\"]}");
  set(&rs[0], "/t/1", "\"z\"");
  meet();
  test_import(&rs[0], "{\"t\":[\"x\",\"z\",\"y\"]}");
  assert_string_equal(meet(), "{\"t\":[\"x\",\"z\",\"y\"]}");
  /* The same with keys: the id of key 1 is taken by what is now 2. */
  rs = begin(1, "{\"t\":[{\"id\":1}]}");
  set(&rs[0], "/t/0/id", "2");
  test_import(&rs[0], "{\"t\":[{\"id\":1},{\"id\":2}]}");
  assert_string_equal(meet(), "{\"t\":[{\"id\":1},{\"id\":2}]}");
}

static void fresh_array_forgets_old_positions(void **state) {
  (void)state;
  test_replica *rs = begin(2, "{\"a\":[\"a\",{\"t\":1},\"c\"]}");
  weft_path t = at(rs[1].doc, "/a/1/t");
  weft_value two = parse("2");
  set(&rs[0], "/a", "5");
  set(&rs[0], "/a", "[\"n1\",\"n2\"]");
  weft_writer *w = test_replica_writer(&rs[1], rs[1].doc, 0);
  assert_int_equal(weft__write_set(w, t, &two, false), WEFT_OK);
  test_replica_commit(&rs[1], w, 0, NULL, NULL);
  /* The edited element comes back, without a position: first. */
  assert_string_equal(meet(), "{\"a\":[{\"t\":2},\"n1\",\"n2\"]}");
}

/* --- conflicts and how they are settled --- */

static void resolving(void **state) {
  (void)state;
  test_replica *rs = begin(3, "{\"a\":0}");
  set(&rs[0], "/a", "1");
  set(&rs[1], "/a", "2");
  meet();
  assert_int_equal(conflicts(&rs[0]), 1);
  set(&rs[0], "/a", "1");
  set(&rs[1], "/a", "2");
  meet();
  assert_int_equal(conflicts(&rs[0]), 1);
  assert_string_equal(kinds(set(&rs[2], "/a", "2")), "S");
  assert_string_equal(meet(), "{\"a\":2}");
  assert_int_equal(conflicts(&rs[0]), 0);
  assert_null(set(&rs[2], "/a", "2"));
  assert_null(set(&rs[2], "/a", "2.0"));
}

/* What came in while somebody decided stays, as a conflict. */
static void resolving_on_a_base(void **state) {
  (void)state;
  test_replica *rs = begin(3, "{\"a\":0}");
  set(&rs[0], "/a", "1");
  set(&rs[1], "/a", "2");
  meet();
  test_bits base = rs[2].shown;
  set(&rs[0], "/a", "3");
  test_sync(&rs[0], &rs[2], false);
  weft_doc *then = test_replica_at(&rs[2], &base);
  weft_value one = parse("1");
  weft_path a = at(then, "/a");
  weft_writer *w = test_replica_writer(&rs[2], then, 0);
  assert_int_equal(weft__write_set(w, a, &one, true), WEFT_OK);
  assert_non_null(test_replica_commit(&rs[2], w, 0, &base, then));
  weft__doc_free(then);
  meet();
  const weft_register *reg = weft__doc_find(rs[0].doc, a);
  assert_int_equal(reg->value_count, 2);
  assert_int_equal(conflicts(&rs[0]), 1);
}

static void edit_against_delete(void **state) {
  (void)state;
  test_replica *rs = begin(3, "{\"a\":{\"x\":1,\"y\":2}}");
  unset(&rs[0], "/a");
  set(&rs[1], "/a/x", "9");
  assert_string_equal(meet(), "{\"a\":{\"x\":9,\"y\":2}}");
  assert_int_equal(conflicts(&rs[0]), 1);
  assert_string_equal(kinds(keep(&rs[0], "/a")), "M");
  unset(&rs[1], "/a");
  assert_string_equal(meet(), "{\"a\":{\"x\":9,\"y\":2}}");
  unset(&rs[2], "/a");
  assert_string_equal(meet(), "{}");
  assert_int_equal(conflicts(&rs[0]), 0);
}

static void shape_conflicts(void **state) {
  (void)state;
  test_replica *rs = begin(2, "{\"a\":0}");
  set(&rs[0], "/a", "{\"x\":1}");
  rs[1].clock += 10;
  set(&rs[1], "/a", "[7,8]");
  assert_string_equal(meet(), "{\"a\":[7,8]}");
  assert_int_equal(conflicts(&rs[0]), 1);
  /* Keeping the array puts the object's member away. */
  assert_string_equal(kinds(keep(&rs[0], "/a")), "MU");
  assert_string_equal(meet(), "{\"a\":[7,8]}");
  assert_int_equal(conflicts(&rs[0]), 0);
  weft_sides sides;
  assert_int_equal(weft__doc_sides(rs[0].doc, at(rs[0].doc, "/a"), &sides), WEFT_OK);
  assert_false(sides.object_alive);
  assert_null(keep(&rs[0], "/a"));
  /* Setting it to an equal value settles it too. */
  rs = begin(2, "{\"a\":0}");
  set(&rs[0], "/a", "{\"x\":1}");
  rs[1].clock += 10;
  set(&rs[1], "/a", "[7,8]");
  meet();
  assert_string_equal(kinds(set(&rs[1], "/a", "[7,8]")), "MU");
  assert_null(set(&rs[1], "/a", "[7,8]"));
}

/* Writing below a conflict settles it in favour of what was shown. */
static void ancestors_are_settled_on_the_way(void **state) {
  (void)state;
  test_replica *rs = begin(3, "{\"a\":0}");
  set(&rs[0], "/a", "5");
  rs[1].clock += 10;
  set(&rs[1], "/a", "{\"x\":1}");
  assert_string_equal(meet(), "{\"a\":{\"x\":1}}");
  assert_string_equal(kinds(set(&rs[2], "/a/y", "2")), "MS");
  assert_string_equal(meet(), "{\"a\":{\"x\":1,\"y\":2}}");
  assert_int_equal(conflicts(&rs[0]), 0);
}

static void deleted_and_begun_anew(void **state) {
  (void)state;
  test_replica *rs = begin(2, "{\"a\":{\"b\":{\"x\":1,\"y\":2}}}");
  unset(&rs[0], "");
  test_import(&rs[0], "{\"n\":1}");
  set(&rs[1], "/a/b/x", "5");
  assert_string_equal(meet(), "{\"a\":{\"b\":{\"x\":5}},\"n\":1}");
  assert_true(conflicts(&rs[0]) > 0);
}

static void undelete_brings_everything_back(void **state) {
  (void)state;
  test_replica *rs = begin(2, "{\"a\":{\"b\":[1,2]},\"c\":3}");
  assert_null(undelete(&rs[0]));
  assert_string_equal(kinds(unset(&rs[0], "")), "U");
  assert_string_equal(meet(), "none");
  assert_null(unset(&rs[1], ""));
  assert_string_equal(kinds(undelete(&rs[1])), "M");
  assert_string_equal(meet(), "{\"a\":{\"b\":[1,2]},\"c\":3}");
  rs = begin(1, NULL);
  assert_null(undelete(&rs[0]));
  assert_null(unset(&rs[0], ""));
  /* Writing to a deleted document begins it anew. */
  rs = begin(1, "{\"a\":1}");
  unset(&rs[0], "");
  assert_string_equal(kinds(set(&rs[0], "/b", "2")), "FS");
  assert_string_equal(meet(), "{\"b\":2}");
}

/* --- what is written --- */

static void only_differences_are_written(void **state) {
  (void)state;
  test_replica *rs = begin(1, "{\"a\":{\"x\":1,\"y\":[1,2,{\"z\":3}]},\"b\":2.0}");
  assert_null(test_import(&rs[0], "{\"a\":{\"x\":1,\"y\":[1,2,{\"z\":3}]},\"b\":2}"));
  assert_string_equal(kinds(test_import(&rs[0], "{\"a\":{\"x\":1,\"y\":[1,2,{\"z\":4}]},\"b\":2}")),
                      "S");
  assert_string_equal(kinds(test_import(&rs[0], "{\"a\":{\"y\":[1,2,{\"z\":4}]},\"b\":2}")), "U");
  assert_string_equal(kinds(set(&rs[0], "/a", "7")), "S");
  assert_string_equal(kinds(set(&rs[0], "/a", "{\"q\":{}}")), "FF");
  assert_string_equal(kinds(set(&rs[0], "/n/m/l", "0")), "FFS");
  assert_string_equal(kinds(set(&rs[0], "/k", "[[],1]")), "FS+F+");
  assert_string_equal(meet(), "{\"a\":{\"q\":{}},\"b\":2.0,\"k\":[[],1],\"n\":{\"m\":{\"l\":0}}}");
}

static void moves_are_few(void **state) {
  (void)state;
  test_replica *rs = begin(1, "{\"a\":[1,2,3,4,5,6,7,8]}");
  assert_string_equal(kinds(test_import(&rs[0], "{\"a\":[8,1,2,3,4,5,6,7]}")), "P");
  assert_string_equal(kinds(test_import(&rs[0], "{\"a\":[1,2,3,4,5,6,7,8]}")), "P");
  assert_string_equal(kinds(move(&rs[0], "/a", 0, 7)), "P");
  assert_string_equal(meet(), "{\"a\":[2,3,4,5,6,7,8,1]}");
  assert_null(move(&rs[0], "/a", 3, 3));
  assert_string_equal(kinds(insert(&rs[0], "/a", 3, "[0]")), "F+S+");
  assert_string_equal(kinds(insert(&rs[0], "/a", 99, "9")), "S+");
  assert_string_equal(meet(), "{\"a\":[2,3,4,[0],5,6,7,8,1,9]}");
  assert_string_equal(kinds(insert(&rs[0], "/new", 5, "1")), "FS+");
  assert_string_equal(kinds(insert(&rs[0], "/p/q", 0, "1")), "FFS+");
}

/* Elements longer than what is compared as it stands are compared by hash. */
static void long_elements_are_matched(void **state) {
  (void)state;
  static const char one[] = "a long text that stands for itself by its hash, because it takes room";
  char first[400], second[400];
  snprintf(first, sizeof first, "{\"a\":[\"%s 1\",[\"%s 2\"],3]}", one, one);
  snprintf(second, sizeof second, "{\"a\":[3,\"%s 1\",[\"%s 2\"]]}", one, one);
  test_replica *rs = begin(2, NULL);
  test_import(&rs[0], first);
  test_import(&rs[1], first);
  assert_string_equal(meet(), first);
  assert_string_equal(kinds(test_import(&rs[0], second)), "P");
  assert_string_equal(meet(), second);
}

/* Left-over containers are paired in the order they stand in, kind by kind. */
static void pairs_keep_their_order(void **state) {
  (void)state;
  test_replica *rs = begin(1, "{\"a\":[{\"t\":1},[1],{\"t\":2},[2]]}");
  assert_string_equal(kinds(test_import(&rs[0], "{\"a\":[{\"t\":1},[1,5],{\"t\":3},[2]]}")), "SS+");
  rs = begin(1, "{\"a\":[[1],{\"t\":1},[2]]}");
  /* {"t":1} is paired with {"t":9}; [1] was passed over, so [3] is new, and old ones go. */
  test_change *c = test_import(&rs[0], "{\"a\":[{\"t\":9},[3]]}");
  assert_string_equal(test_json(&rs[0]), "{\"a\":[{\"t\":9},[3]]}");
  size_t moved = 0;
  for (size_t i = 0; i < c->op_count; i++) moved += c->ops[i].kind == WEFT_OP_POSITION;
  assert_int_equal(moved, 0);
}

/* The first key member that tells elements apart counts, for each element by itself. */
static void keys_must_tell_elements_apart(void **state) {
  (void)state;
  /* Ids that two share tell nothing; names do.  Row 2 has both, and goes by its id. */
  test_replica *rs =
      begin(1, "{\"a\":[{\"id\":1,\"name\":\"p\"},{\"id\":1,\"name\":\"q\",\"v\":1}]}");
  assert_string_equal(
      kinds(test_import(&rs[0],
                        "{\"a\":[{\"id\":1,\"name\":\"q\",\"v\":2},{\"id\":1,\"name\":\"p\"}]}")),
      "PS");
  rs = begin(1, "{\"a\":[{\"id\":1,\"name\":\"p\",\"v\":1},{\"id\":2,\"name\":\"p\"}]}");
  assert_string_equal(
      kinds(test_import(&rs[0],
                        "{\"a\":[{\"id\":1,\"name\":\"n\",\"v\":2},{\"id\":2,\"name\":\"p\"}]}")),
      "SS");
  rs = begin(1, "{\"a\":[{\"id\":1,\"name\":\"p\"},{\"id\":2,\"name\":\"q\"}]}");
  assert_string_equal(
      kinds(test_import(&rs[0], "{\"a\":[{\"id\":2,\"name\":\"p\"},{\"id\":1,\"name\":\"q\"}]}")),
      "SPS");
  /* null, containers and numbers that are no int64 */
  rs =
      begin(1, "{\"a\":[{\"id\":null,\"v\":1},{\"id\":[],\"v\":2}],\"b\":[1e300,-1e300,0.5,-0.0]}");
  assert_string_equal(
      kinds(test_import(&rs[0], "{\"a\":[{\"id\":null,\"v\":3},{\"id\":[],\"v\":2}],"
                                "\"b\":[-1e300,1e300,0.5,0]}")),
      "SP");
}

/* Keyed elements are never paired: another key is another thing. */
static void another_key_is_another_element(void **state) {
  (void)state;
  test_replica *rs = begin(2, "{\"a\":[{\"name\":\"squat\",\"kg\":80}]}");
  test_import(&rs[0], "{\"a\":[{\"name\":\"row\",\"m\":500}]}");
  set(&rs[1], "/a/0/kg", "90");
  assert_string_equal(meet(),
                      "{\"a\":[{\"m\":500,\"name\":\"row\"},{\"kg\":90,\"name\":\"squat\"}]}");
}

/* Copies of one device that go apart never make one id for two elements. */
static void inserts_of_copies_stay_two(void **state) {
  (void)state;
  test_replica *rs = begin(1, "{\"a\":[]}");
  test_replica *copy = test_replica_clone(&rs[0]);
  set(&rs[0], "/x", "1");
  set(copy, "/x", "2");
  insert(&rs[0], "/a", 0, "\"same\"");
  insert(copy, "/a", 0, "\"same\"");
  meet();
  assert_non_null(strstr(test_json(&rs[0]), "\"a\":[\"same\",\"same\"]"));
}

/* An id that somebody foresaw and took is not made again. */
static void foreseen_ids_are_passed_over(void **state) {
  (void)state;
  test_replica *rs = begin(2, "{\"a\":[]}");
  static const uint8_t one_bytes[] = {1}, position[] = {0x80, 0, 0, 0};
  weft_value v = parse("7");
  weft_path foreseen, made, a = at(rs[0].doc, "/a");
  weft_writer *w = test_replica_writer(&rs[0], rs[0].doc, 0);
  assert_int_equal(weft__write_insert(w, a, 0, &v, &foreseen), WEFT_OK);
  assert_int_equal(weft__arena_copy(&world.arena, foreseen, &foreseen), WEFT_OK);
  weft__writer_free(w);
  weft_op op = {.path = foreseen, .kind = WEFT_OP_SCALAR, .value = weft_bytes_of(one_bytes, 1)};
  op.position = weft_bytes_of(position, sizeof position);
  test_replica_commit_ops(&rs[1], &op, 1, 0, NULL, NULL);
  uint64_t clock = rs[0].clock;
  test_sync(&rs[1], &rs[0], false);
  rs[0].clock = clock;
  w = test_replica_writer(&rs[0], rs[0].doc, 0);
  assert_int_equal(weft__write_insert(w, a, 9, &v, &made), WEFT_OK);
  assert_int_not_equal(weft_bytes_cmp(made, foreseen), 0);
  test_replica_commit(&rs[0], w, 0, NULL, NULL);
  assert_string_equal(meet(), "{\"a\":[1,7]}");
}

static void merge_keeps_what_the_value_lacks(void **state) {
  (void)state;
  test_replica *rs = begin(1, "{\"a\":{\"x\":1,\"y\":{\"p\":1}},\"b\":[1,2],\"c\":1}");
  weft_value v = parse("{\"a\":{\"y\":{\"q\":2}},\"b\":[3],\"d\":{\"e\":1},\"c\":{\"f\":1}}");
  weft_writer *w = test_replica_writer(&rs[0], rs[0].doc, 0);
  assert_int_equal(weft__write_merge(w, weft_bytes_of(NULL, 0), &v), WEFT_OK);
  test_replica_commit(&rs[0], w, 0, NULL, NULL);
  assert_string_equal(test_json(&rs[0]),
                      "{\"a\":{\"x\":1,\"y\":{\"p\":1,\"q\":2}},\"b\":[3],\"c\":{\"f\":1},"
                      "\"d\":{\"e\":1}}");
  w = test_replica_writer(&rs[0], rs[0].doc, 0);
  assert_int_equal(weft__write_merge(w, weft_bytes_of(NULL, 0), &v), WEFT_OK);
  assert_null(test_replica_commit(&rs[0], w, 0, NULL, NULL));
}

/* --- several edits in one change --- */

static void edits_in_one_change_build_on_each_other(void **state) {
  (void)state;
  test_replica *rs = begin(1, "{\"a\":{\"x\":1},\"b\":[1]}");
  const weft_doc *doc = rs[0].doc;
  weft_path root = {NULL, 0}, x = at(doc, "/a/x"), a = at(doc, "/a"), b = at(doc, "/b"), element;
  weft_value five = parse("5"), six = parse("6");
  weft_writer *w = test_replica_writer(&rs[0], doc, 0);
  assert_ptr_equal(weft__writer_doc(w), doc);
  assert_int_equal(weft__write_set(w, x, &five, false), WEFT_OK);
  assert_int_equal(weft__write_unset(w, a), WEFT_OK);
  assert_int_equal(weft__write_set(w, x, &six, false), WEFT_OK);
  assert_int_equal(weft__write_insert(w, b, 1, &five, &element), WEFT_OK);
  assert_int_equal(weft__write_set(w, element, &six, false), WEFT_OK);
  assert_int_equal(weft__write_move(w, b, 1, 0), WEFT_OK);
  assert_ptr_not_equal(weft__writer_doc(w), doc);
  test_change *c = test_replica_commit(&rs[0], w, 0, NULL, NULL);
  assert_string_equal(kinds(c), "FSS+");
  assert_string_equal(test_json(&rs[0]), "{\"a\":{\"x\":6},\"b\":[6,1]}");
  /* What is made and removed in one change leaves nothing, and an undelete takes a delete back. */
  w = test_replica_writer(&rs[0], rs[0].doc, 0);
  assert_int_equal(weft__write_insert(w, b, 0, &five, &element), WEFT_OK);
  assert_int_equal(weft__write_unset(w, element), WEFT_OK);
  assert_int_equal(weft__write_unset(w, root), WEFT_OK);
  assert_int_equal(weft__write_undelete(w), WEFT_OK);
  assert_null(test_replica_commit(&rs[0], w, 0, NULL, NULL));
  assert_string_equal(test_json(&rs[0]), "{\"a\":{\"x\":6},\"b\":[6,1]}");
}

static void made_and_deleted_in_one_change(void **state) {
  (void)state;
  test_replica *rs = begin(1, NULL);
  weft_path root = {NULL, 0};
  weft_value v = parse("{\"a\":1}");
  weft_writer *w = test_replica_writer(&rs[0], rs[0].doc, 0);
  assert_int_equal(weft__write_set(w, root, &v, false), WEFT_OK);
  assert_int_equal(weft__write_unset(w, root), WEFT_OK);
  const weft_op *ops;
  size_t count;
  weft__writer_ops(w, &ops, &count);
  assert_int_equal(count, 0);
  assert_int_equal(weft__write_undelete(w), WEFT_OK);
  weft__writer_ops(w, &ops, &count);
  assert_int_equal(count, 2);
  test_replica_commit(&rs[0], w, 0, NULL, NULL);
  assert_string_equal(test_json(&rs[0]), "{\"a\":1}");
}

/* --- errors --- */

static void errors_leave_the_writer_as_it_was(void **state) {
  (void)state;
  test_replica *rs = begin(1, "{\"a\":{\"x\":1},\"b\":[1],\"c\":[[1]],\"d\":[1,2]}");
  weft_path d = at(rs[0].doc, "/d"), below = weft_bytes_of("\002n\002n\003e", 6);
  weft_path root = {NULL, 0}, a = at(rs[0].doc, "/a"), b = at(rs[0].doc, "/b");
  weft_path element = at(rs[0].doc, "/b/0"), inner = at(rs[0].doc, "/c/0/0");
  weft_value one = parse("1"), object = parse("{}");
  weft_value bad = {.kind = WEFT_STRING, .as.bytes = weft_bytes_of("\xff", 1)};
  unset(&rs[0], "/b/0");
  set(&rs[0], "/c", "5");
  weft_writer *w = test_replica_writer(&rs[0], rs[0].doc, 0);
  assert_int_equal(weft__write_set(w, root, &one, false), WEFT_EBADVALUE);
  assert_int_equal(weft__write_merge(w, root, &one), WEFT_EBADVALUE);
  assert_int_equal(weft__write_set(w, a, &bad, false), WEFT_EBADVALUE);
  assert_int_equal(weft__write_insert(w, b, 0, &bad, NULL), WEFT_EBADVALUE);
  assert_int_equal(weft__write_insert(w, a, 0, &one, NULL), WEFT_EBADPATH);
  assert_int_equal(weft__write_insert(w, root, 0, &one, NULL), WEFT_EBADPATH);
  assert_int_equal(weft__write_set(w, element, &one, false), WEFT_EBADPATH);
  assert_int_equal(weft__write_set(w, inner, &one, false), WEFT_EBADPATH);
  assert_int_equal(weft__write_set(w, below, &one, false), WEFT_EBADPATH);
  assert_int_equal(weft__write_move(w, at(rs[0].doc, "/no"), 0, 0), WEFT_EBADPATH);
  assert_int_equal(weft__write_move(w, d, 0, 2), WEFT_EBADPATH);
  assert_int_equal(weft__write_move(w, d, 2, 0), WEFT_EBADPATH);
  assert_int_equal(weft__write_move(w, a, 0, 0), WEFT_EBADPATH);
  assert_int_equal(weft__write_move(w, b, 0, 0), WEFT_EBADPATH);
  assert_int_equal(weft__write_move(w, root, 0, 0), WEFT_EBADPATH);
  weft_place places[9] = {{.stands = false}};
  assert_int_equal(weft__write_order(w, root, places, 0), WEFT_EBADPATH);
  assert_int_equal(weft__write_order(w, a, places, 1), WEFT_EBADPATH);
  assert_int_equal(weft__write_order(w, d, places, 9), WEFT_EBADPATH);
  assert_int_equal(weft__write_keep(w, element), WEFT_EBADPATH);
  assert_int_equal(weft__write_keep(w, at(rs[0].doc, "/a/x")), WEFT_EBADPATH);
  assert_int_equal(weft__write_unset(w, element), WEFT_OK);
  const weft_op *ops;
  size_t count;
  weft__writer_ops(w, &ops, &count);
  assert_int_equal(count, 0);
  assert_int_equal(weft__write_set(w, a, &object, false), WEFT_OK);
  assert_non_null(test_replica_commit(&rs[0], w, 0, NULL, NULL));
}

/* A member may write an element below the root, where none belongs.  Nothing can be written there;
 * the next write puts it away. */
static void arrays_at_the_root_are_put_away(void **state) {
  (void)state;
  static const uint8_t element[] = {0x03, 'e'}, one_bytes[] = {1}, position[] = {0x80, 0, 0, 0};
  weft_path path = weft_bytes_of(element, 2), root = {NULL, 0};
  weft_value two = parse("2");
  weft_op op = {.path = path, .kind = WEFT_OP_SCALAR, .value = weft_bytes_of(one_bytes, 1)};
  op.position = weft_bytes_of(position, sizeof position);
  test_replica *rs = begin(2, "{\"a\":1}");
  rs[1].clock += 10;
  test_replica_commit_ops(&rs[1], &op, 1, 0, NULL, NULL);
  assert_string_equal(meet(), "[1]");
  weft_writer *w = test_replica_writer(&rs[0], rs[0].doc, 0);
  assert_int_equal(weft__write_set(w, path, &two, true), WEFT_EBADPATH);
  assert_int_equal(weft__write_keep(w, root), WEFT_EBADPATH);
  weft__writer_free(w);
  test_import(&rs[0], "{\"b\":1}");
  assert_string_equal(meet(), "{\"b\":1}");
  assert_int_equal(conflicts(&rs[0]), 0);
  /* Behind a delete: an undelete puts it away too. */
  rs = begin(2, "{\"a\":1}");
  test_replica_commit_ops(&rs[1], &op, 1, 0, NULL, NULL);
  meet();
  unset(&rs[0], "");
  assert_string_equal(meet(), "none");
  assert_string_equal(kinds(undelete(&rs[0])), "MU");
  assert_string_equal(meet(), "{\"a\":1}");
  assert_int_equal(conflicts(&rs[0]), 0);
}

static void paths_have_a_limit(void **state) {
  (void)state;
  test_replica *rs = begin(1, "{}");
  uint8_t bytes[2 * WEFT_PATH_STEPS_MAX];
  for (size_t i = 0; i < sizeof bytes; i += 2) {
    bytes[i] = 2;
    bytes[i + 1] = 'k';
  }
  weft_value object = parse("{\"k\":1}"), one = parse("1");
  weft_path deepest = weft_bytes_of(bytes, sizeof bytes);
  weft_writer *w = test_replica_writer(&rs[0], rs[0].doc, 0);
  assert_int_equal(weft__write_set(w, deepest, &object, false), WEFT_ELIMIT);
  assert_int_equal(weft__write_insert(w, deepest, 0, &one, NULL), WEFT_ELIMIT);
  assert_int_equal(weft__write_set(w, deepest, &one, false), WEFT_OK);
  assert_int_equal(test_replica_commit(&rs[0], w, 0, NULL, NULL)->op_count, WEFT_PATH_STEPS_MAX);
}

/* An array of `count` integers from `first`. */
static weft_value numbers(size_t count, int64_t first) {
  weft_value *at_ = weft__arena_zero(&world.arena, count, sizeof *at_);
  assert_non_null(at_);
  for (size_t i = 0; i < count; i++) {
    at_[i].kind = WEFT_INT;
    at_[i].as.integer = first + (int64_t)i;
  }
  weft_value v = {.kind = WEFT_ARRAY, .as.array = {at_, count}};
  return v;
}

static void a_change_has_a_limit(void **state) {
  (void)state;
  test_replica *rs = begin(1, "{}");
  weft_path a = at(rs[0].doc, "/a"), b = at(rs[0].doc, "/b");
  weft_value many = numbers(WEFT_CHANGE_OPS_MAX, 0), half = numbers(WEFT_CHANGE_OPS_MAX / 2, 0);
  weft_writer *w = test_replica_writer(&rs[0], rs[0].doc, 0);
  assert_int_equal(weft__write_set(w, a, &many, false), WEFT_ELIMIT);
  assert_int_equal(weft__write_set(w, a, &half, false), WEFT_OK);
  assert_int_equal(weft__write_set(w, b, &half, false), WEFT_ELIMIT);
  assert_int_equal(weft__write_unset(w, a), WEFT_ELIMIT);
  assert_int_equal(weft__write_undelete(w), WEFT_ELIMIT);
  assert_null(weft__writer_doc(w));
  weft__writer_free(w);
  weft__writer_free(NULL);
}

/* Thousands of equal, shuffled and new elements: matched by sorting, not pair by pair. */
static void large_arrays(void **state) {
  (void)state;
  enum { large = 20000 };
  test_replica *rs = begin(1, "{}");
  weft_path a = at(rs[0].doc, "/a");
  weft_value v = numbers(large, 0);
  weft_value *elements = (weft_value *)(uintptr_t)v.as.array.at;
  for (size_t i = 0; i < large / 2; i++) elements[i].as.integer = 7;
  weft_writer *w = test_replica_writer(&rs[0], rs[0].doc, 0);
  assert_int_equal(weft__write_set(w, a, &v, false), WEFT_OK);
  test_replica_commit(&rs[0], w, 0, NULL, NULL);
  weft_value next = numbers(large, 0);
  elements = (weft_value *)(uintptr_t)next.as.array.at;
  for (size_t i = 0; i < large; i++) elements[i] = v.as.array.at[large - 1 - i];
  elements[100].as.integer = 7;
  w = test_replica_writer(&rs[0], rs[0].doc, 0);
  assert_int_equal(weft__write_set(w, a, &next, false), WEFT_OK);
  test_replica_commit(&rs[0], w, 0, NULL, NULL);
  const weft_value *got = test_view(&world, rs[0].doc);
  assert_true(weft_value_equal(weft_value_member(got, weft_bytes_str("a")), &next));
}

/* --- claims --- */

static void claims_name_each_branch_once(void **state) {
  (void)state;
  test_replica *rs = begin(3, "{\"a\":{\"x\":1,\"y\":2},\"b\":1,\"l\":[1,2]}");
  set(&rs[1], "/a/x", "5");
  set(&rs[1], "/a/y", "6");
  set(&rs[1], "/b", "7");
  move(&rs[1], "/l", 0, 1);
  meet();
  test_change *c = set(&rs[2], "/a", "0");
  assert_int_equal(c->claim_count, 2); /* the import, and the newest below /a */
  assert_int_equal(c->claims[0]->seq + c->claims[1]->seq, 3);
  c = set(&rs[2], "/a", "1"); /* what it hid before still lies below */
  assert_int_equal(c->claim_count, 1);
  c = move(&rs[2], "/l", 0, 1);
  assert_true(c->claim_count >= 1);
  c = set(&rs[0], "/n", "1");
  assert_int_equal(c->claim_count, 0);
}

/* --- memory --- */

/* Values with a text in front, so that blocks of memory end elsewhere each time. */
typedef struct edit_list {
  weft_path a, list;
  weft_value one, tree, array, root;
} edit_list;

/* A few edits of every kind; the first error ends it. */
static weft_err edit_all(weft_writer *w, const edit_list *e) {
  weft_path element;
  WEFT_TRY(weft__write_set(w, e->a, &e->tree, false));
  WEFT_TRY(weft__write_insert(w, e->list, 1, &e->tree, &element));
  WEFT_TRY(weft__write_set(w, element, &e->array, true));
  WEFT_TRY(weft__write_move(w, e->list, 0, 1));
  WEFT_TRY(weft__write_merge(w, weft_bytes_of(NULL, 0), &e->root));
  WEFT_TRY(weft__write_set(w, e->a, &e->one, true));
  WEFT_TRY(weft__write_unset(w, element));
  WEFT_TRY(weft__write_keep(w, e->list));
  WEFT_TRY(weft__write_unset(w, weft_bytes_of(NULL, 0)));
  WEFT_TRY(weft__write_undelete(w));
  return weft__write_set(w, weft_bytes_of(NULL, 0), &e->root, false);
}

static weft_err edit_with(test_replica *r, const edit_list *e, const weft_alloc *mem) {
  weft_writer *w;
  weft_write_origin origin = {.log = r->logs[0], .seq = 9, .hlc = 1};
  weft_err err = weft__writer_new(&w, mem, world.crypto, r->doc, world.name, &origin);
  if (err != WEFT_OK) return err;
  err = edit_all(w, e);
  if (err == WEFT_OK && !weft__writer_doc(w)) err = WEFT_ENOMEM;
  if (err != WEFT_OK) {
    assert_int_equal(err, WEFT_ENOMEM);
    weft__writer_doc(w);
  }
  weft__writer_free(w);
  return err;
}

static weft_value padded(size_t len, const char *members) {
  char json[1200];
  int used = snprintf(json, sizeof json, "{\"_\":\"%0*d\",%s}", (int)len + 1, 0, members);
  assert_true(used > 0 && (size_t)used < sizeof json);
  return parse(json);
}

static void fail_every_allocation(test_replica *r, const edit_list *e) {
  for (size_t k = 1;; k++) {
    weft_err err[2];
    for (int sticky = 0; sticky < 2; sticky++) {
      test_fault_alloc fault = {.fail_at = k, .sticky = sticky};
      weft_alloc mem = test_fault_alloc_of(&fault);
      err[sticky] = edit_with(r, e, &mem);
      assert_int_equal(fault.live, 0);
    }
    if (err[0] == WEFT_OK && err[1] == WEFT_OK) return;
    assert_true(k < 5000);
  }
}

static void every_allocation_may_fail(void **state) {
  (void)state;
  for (size_t pad = 0; pad < 1024; pad += 16) {
    test_replica *rs = begin(2, "{\"a\":0,\"l\":[{\"id\":1},[2],3]}");
    set(&rs[0], "/l/2", "[4]");
    set(&rs[1], "/l/2", "{\"k\":5}");
    set(&rs[1], "/a", "1");
    set(&rs[0], "/a", "2");
    meet();
    edit_list e = {.a = at(rs[0].doc, "/a"), .list = at(rs[0].doc, "/l")};
    e.one = parse("1");
    e.tree = padded(pad, "\"p\":[1,{\"id\":2}],\"q\":{\"r\":null}");
    e.array = parse("[[1],{\"name\":\"n\"},3]");
    e.root = padded(pad, "\"a\":{\"s\":1},\"l\":[{\"id\":1,\"v\":2},[2,3],[9]],\"m\":true");
    fail_every_allocation(&rs[0], &e);
  }
}

static bool before_or_same(const void *ctx, weft_dot a, weft_dot b) {
  (void)ctx;
  return a.log == b.log && a.seq <= b.seq;
}

static int by_log(const void *ctx, weft_dot a, weft_dot b) {
  (void)ctx;
  return a.log < b.log ? -1 : a.log > b.log;
}

static void claims_may_run_out_of_memory(void **state) {
  (void)state;
  weft_lineage lineage = {NULL, before_or_same, by_log};
  weft_alloc libc = weft_alloc_libc();
  weft_doc *doc;
  assert_int_equal(weft__doc_new(&doc, &libc, &lineage), WEFT_OK);
  char keys[400][4];
  for (uint32_t i = 0; i < 400; i++) {
    int len = snprintf(keys[i] + 1, 3, "%02x", i % 256);
    keys[i][0] = (char)(len << 1);
    weft_shown change = {.dot = {i, 1}, .hlc = i};
    weft_op op = {.path = weft_bytes_of(keys[i], 3), .kind = WEFT_OP_MARK_OBJECT};
    assert_int_equal(weft__doc_show(doc, &change, &op), WEFT_OK);
  }
  weft_op root = {.kind = WEFT_OP_UNSET};
  weft_claim_query query = {.head = {7, 1}};
  for (size_t k = 1;; k++) {
    test_fault_alloc fault = {.fail_at = k};
    weft_alloc mem = test_fault_alloc_of(&fault);
    weft_arena arena;
    weft__arena_init(&arena, &mem);
    weft_dot_list claims = {NULL, 0, 0};
    bool newer = false;
    weft_err err = weft__doc_claims(doc, &lineage, &root, 1, &query, &arena, &claims, &newer);
    if (err == WEFT_OK) { /* all but the own log */
      assert_int_equal(claims.count, 399);
      for (size_t i = 1; i < claims.count; i++) {
        assert_true(claims.at[i - 1].log < claims.at[i].log);
      }
      err = weft__doc_claims(doc, &lineage, &root, 1, &query, &arena, &claims, &newer);
      if (err == WEFT_OK) assert_int_equal(claims.count, 399);
    }
    assert_false(newer);
    weft__arena_free(&arena);
    assert_int_equal(fault.live, 0);
    if (err == WEFT_OK) break;
    assert_int_equal(err, WEFT_ENOMEM);
  }
  weft__doc_free(doc);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(first_imports_meet_without_doubling),
      cmocka_unit_test(edited_files_meet),
      cmocka_unit_test(same_key_inserted_by_both_is_one_element),
      cmocka_unit_test(removed_and_back),
      cmocka_unit_test(fresh_array_forgets_old_positions),
      cmocka_unit_test(resolving),
      cmocka_unit_test(resolving_on_a_base),
      cmocka_unit_test(edit_against_delete),
      cmocka_unit_test(shape_conflicts),
      cmocka_unit_test(ancestors_are_settled_on_the_way),
      cmocka_unit_test(deleted_and_begun_anew),
      cmocka_unit_test(undelete_brings_everything_back),
      cmocka_unit_test(only_differences_are_written),
      cmocka_unit_test(moves_are_few),
      cmocka_unit_test(long_elements_are_matched),
      cmocka_unit_test(pairs_keep_their_order),
      cmocka_unit_test(keys_must_tell_elements_apart),
      cmocka_unit_test(another_key_is_another_element),
      cmocka_unit_test(inserts_of_copies_stay_two),
      cmocka_unit_test(foreseen_ids_are_passed_over),
      cmocka_unit_test(merge_keeps_what_the_value_lacks),
      cmocka_unit_test(edits_in_one_change_build_on_each_other),
      cmocka_unit_test(made_and_deleted_in_one_change),
      cmocka_unit_test(errors_leave_the_writer_as_it_was),
      cmocka_unit_test(arrays_at_the_root_are_put_away),
      cmocka_unit_test(paths_have_a_limit),
      cmocka_unit_test(a_change_has_a_limit),
      cmocka_unit_test(large_arrays),
      cmocka_unit_test(claims_name_each_branch_once),
      cmocka_unit_test(every_allocation_may_fail),
      cmocka_unit_test(claims_may_run_out_of_memory),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}

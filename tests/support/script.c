#include "tests/support/script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void test_print(weft_buf *out, const char *format, ...) {
  char text[1024];
  va_list args;
  va_start(args, format);
  int len = vsnprintf(text, sizeof text, format, args);
  va_end(args);
  assert_true(len >= 0 && (size_t)len < sizeof text);
  weft__buf_put_raw(out, text, (size_t)len);
}

const char *test_text(weft_buf *out) {
  weft__buf_u8(out, 0);
  assert_int_equal(weft__buf_err(out), WEFT_OK);
  out->len--;
  return (const char *)out->at;
}

weft_path test_path(weft_arena *arena, const char *text) {
  weft_buf b;
  weft__buf_init(&b, &arena->mem, 1 << 20);
  while (*text) {
    assert_int_equal(*text, '/');
    bool element = text[1] == '@';
    text += element ? 2 : 1;
    size_t len = strcspn(text, "/");
    weft_path_push(&b, (weft_step){element, weft_bytes_of(text, len)});
    text += len;
  }
  assert_int_equal(weft__buf_err(&b), WEFT_OK);
  weft_path path;
  assert_int_equal(weft__arena_copy(arena, weft__buf_view(&b), &path), WEFT_OK);
  weft__buf_free(&b);
  return path;
}

void test_path_text(weft_buf *out, weft_path path) {
  size_t at = 0;
  weft_step step;
  while (weft_path_next(path, &at, &step)) {
    test_print(out, "/%s", step.element ? "@" : "");
    weft__buf_put(out, step.name);
  }
}

test_branches test_branches_of(size_t count) {
  test_branches b = {.count = count};
  for (size_t i = 0; i < count; i++) {
    b.at[i] = (test_branch){.parent = TEST_NO_PARENT, .log = (uint8_t)i};
  }
  return b;
}

static bool precedes(const void *ctx, weft_dot a, weft_dot b) {
  const test_branches *t = ctx;
  while (a.log != b.log) {
    const test_branch *branch = &t->at[b.log];
    if (branch->parent == TEST_NO_PARENT) return false;
    b = (weft_dot){branch->parent, branch->fork};
  }
  return a.seq <= b.seq;
}

static int order(uint64_t a, uint64_t b) { return a == b ? 0 : a < b ? -1 : 1; }

/* The local number stands in for the change id, so it must count only after log and seq. */
static int rank(const void *ctx, weft_dot a, weft_dot b) {
  const test_branches *t = ctx;
  int by = order(t->at[a.log].log, t->at[b.log].log);
  if (by == 0) by = order(a.seq, b.seq);
  return by != 0 ? by : order(a.log, b.log);
}

weft_lineage test_lineage_of(const test_branches *branches) {
  return (weft_lineage){branches, precedes, rank};
}

void test_sibling_text(weft_buf *out, const weft_sibling *s) {
  static const char *const names[] = {"?",          "scalar",       "unset",       "mark-object",
                                      "mark-array", "fresh-object", "fresh-array", "position"};
  test_print(out, " (%u.%llu at %llu %s ", (unsigned)s->dot.log, (unsigned long long)s->dot.seq,
             (unsigned long long)s->hlc, names[s->kind]);
  for (size_t i = 0; i < s->value.len; i++) test_print(out, "%02x", s->value.at[i]);
  test_print(out, ")");
}

static int dot_order(const void *a, const void *b) {
  const weft_sibling *x = a, *y = b;
  return x->dot.log != y->dot.log ? order(x->dot.log, y->dot.log) : order(x->dot.seq, y->dot.seq);
}

static void siblings_text(weft_buf *out, const weft_sibling *list, size_t count) {
  if (count == 0) return;
  weft_sibling *sorted = malloc(count * sizeof *sorted);
  assert_non_null(sorted);
  memcpy(sorted, list, count * sizeof *sorted);
  qsort(sorted, count, sizeof *sorted, dot_order);
  for (size_t i = 0; i < count; i++) test_sibling_text(out, &sorted[i]);
  free(sorted);
}

void test_doc_text(weft_buf *out, const weft_doc *doc) {
  const weft_register *reg = weft__doc_seek(doc, weft_bytes_of(NULL, 0));
  for (; reg; reg = weft__doc_next(doc, reg)) {
    if (reg->value_count == 0 && reg->position_count == 0) continue;
    test_path_text(out, reg->path);
    test_print(out, ":");
    siblings_text(out, reg->values, reg->value_count);
    siblings_text(out, reg->positions, reg->position_count);
    test_print(out, "\n");
  }
}

static void scalar_text(weft_buf *out, const weft_value *v) {
  switch (v->kind) {
  case WEFT_NULL: test_print(out, "null"); return;
  case WEFT_BOOL: test_print(out, v->as.boolean ? "true" : "false"); return;
  case WEFT_INT: test_print(out, "%lld", (long long)v->as.integer); return;
  case WEFT_DOUBLE: test_print(out, "%.17gd", v->as.real); return;
  case WEFT_STRING:
  case WEFT_BYTES:
    test_print(out, v->kind == WEFT_STRING ? "'" : "b'");
    weft__buf_put(out, v->as.bytes);
    test_print(out, "'");
    return;
  case WEFT_ARRAY:
  case WEFT_OBJECT: break;
  }
  fail();
}

void test_value_text(weft_buf *out, const weft_value *v) {
  weft_walk w;
  weft__walk_init(&w, v);
  for (;;) {
    weft_walk_event event = weft__walk_next(&w);
    if (event == WEFT_WALK_END) return;
    assert_true(event != WEFT_WALK_TOO_DEEP);
    bool array = w.value->kind == WEFT_ARRAY;
    if (event == WEFT_WALK_CLOSE) {
      test_print(out, array ? "]" : "}");
      continue;
    }
    if (w.idx > 0) test_print(out, ",");
    if (w.key) {
      weft__buf_put(out, *w.key);
      test_print(out, ":");
    }
    if (event == WEFT_WALK_OPEN) {
      test_print(out, array ? "[" : "{");
    } else {
      scalar_text(out, w.value);
    }
  }
}

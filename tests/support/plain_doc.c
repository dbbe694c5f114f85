#include "tests/support/plain_doc.h"

#include <stdlib.h>
#include <string.h>

#include "crdt/path.h"

static void must(weft_err err) {
  if (err != WEFT_OK) abort();
}

/* What the view says of one place. */
typedef struct answers {
  bool visible;
  weft_sides sides;
  weft_err rendered;
  weft_value value;
  weft_err resolved;
  weft_path path;
  bool append;
  size_t depth;
} answers;

static void ask(weft_doc *doc, weft_path path, weft_bytes pointer, weft_arena *arena, answers *a) {
  weft_bytes *tokens;
  size_t count;
  must(weft__doc_visible(doc, path, &a->visible));
  must(weft__doc_sides(doc, path, &a->sides));
  a->rendered = weft__doc_render(doc, path, arena, &a->value);
  must(weft_pointer_split(arena, pointer, &tokens, &count));
  a->resolved = weft__doc_resolve(doc, arena, tokens, count, &a->path, &a->append, &a->depth);
}

static bool same_sides(const weft_sides *a, const weft_sides *b) {
  return a->shape == b->shape && a->winner == b->winner && a->has_scalar == b->has_scalar &&
         a->has_hide == b->has_hide && a->has_unset == b->has_unset &&
         a->object_mark == b->object_mark && a->array_mark == b->array_mark &&
         a->object_alive == b->object_alive && a->array_alive == b->array_alive;
}

static bool same(const answers *a, const answers *b) {
  if (a->visible != b->visible || !same_sides(&a->sides, &b->sides)) return false;
  if (a->rendered != b->rendered || a->resolved != b->resolved) return false;
  if (a->rendered == WEFT_OK && !weft_value_equal(&a->value, &b->value)) return false;
  if (a->append != b->append) return false;
  return a->resolved != WEFT_OK || (a->depth == b->depth && weft_bytes_cmp(a->path, b->path) == 0);
}

/* The pointer of a path whose steps are all taken for keys and, where they are no text, for "0". */
static void pointer_of(weft_path path, weft_buf *out) {
  size_t at = 0;
  weft_step step;
  weft__buf_reset(out);
  while (weft_path_next(path, &at, &step)) {
    weft_pointer_push(out, step.element ? weft_bytes_str("0") : step.name);
  }
}

static bool alike_at(weft_doc *doc, weft_path path, weft_buf *pointer) {
  weft_arena arena;
  answers plain, any;
  bool was = weft__doc_is_plain(doc);
  weft__arena_init(&arena, weft__doc_mem(doc));
  pointer_of(path, pointer);
  weft__doc_set_plain(doc, true);
  ask(doc, path, weft__buf_view(pointer), &arena, &plain);
  weft__doc_set_plain(doc, false);
  ask(doc, path, weft__buf_view(pointer), &arena, &any);
  weft__doc_set_plain(doc, was);
  bool alike = same(&plain, &any);
  weft__arena_free(&arena);
  return alike;
}

bool test_doc_unlike(weft_doc *doc, weft_path *where) {
  weft_buf pointer, below;
  bool alike = true;
  weft__buf_init(&pointer, weft__doc_mem(doc), SIZE_MAX);
  weft__buf_init(&below, weft__doc_mem(doc), SIZE_MAX);
  const weft_register *reg = weft__doc_seek(doc, weft_bytes_of(NULL, 0));
  for (; reg && alike; reg = weft__doc_next(doc, reg)) {
    *where = reg->path;
    alike = alike_at(doc, reg->path, &pointer);
    weft__buf_reset(&below);
    weft__buf_put(&below, reg->path);
    weft_path_push(&below, (weft_step){false, weft_bytes_str("none")});
    if (alike && weft__buf_err(&below) == WEFT_OK) {
      alike = alike_at(doc, weft__buf_view(&below), &pointer);
    }
  }
  weft__buf_free(&pointer);
  weft__buf_free(&below);
  return !alike;
}

static weft_shape mark_of(const weft_register *reg) {
  if (!reg || reg->value_count == 0) return WEFT_SHAPE_NONE;
  weft_op_kind kind = reg->values[0].kind;
  if (kind == WEFT_OP_MARK_OBJECT || kind == WEFT_OP_FRESH_OBJECT) return WEFT_SHAPE_OBJECT;
  if (kind == WEFT_OP_MARK_ARRAY || kind == WEFT_OP_FRESH_ARRAY) return WEFT_SHAPE_ARRAY;
  return WEFT_SHAPE_NONE;
}

/* Looks at the scalars and unsets above `reg`, which has one value: whether there is one, and
 * whether all of them cover it. */
static void look_above(const weft_doc *doc, const weft_register *reg, bool *any, bool *all) {
  size_t at = 0;
  weft_step step;
  *any = false;
  *all = true;
  for (size_t len = 0; weft_path_next(reg->path, &at, &step); len = at) {
    const weft_register *above = weft__doc_find(doc, weft_bytes_of(reg->path.at, len));
    if (!above || above->value_count == 0 || mark_of(above) != WEFT_SHAPE_NONE) continue;
    const weft_sibling *h = &above->values[0];
    *any = true;
    if (reg->values[0].kind == WEFT_OP_UNSET) continue;
    *all = *all && weft__covers(weft__doc_lineage(doc), h->dot, h->claims, h->claim_count,
                                reg->values[0].dot);
  }
}

bool test_doc_plain(weft_doc *doc) {
  const weft_register *reg = weft__doc_seek(doc, weft_bytes_of(NULL, 0));
  for (; reg; reg = weft__doc_next(doc, reg)) {
    weft_step last;
    if (reg->value_count > 1) return false;
    if (reg->value_count == 0 || !weft_path_last(reg->path, &last)) continue;
    weft_shape want = last.element ? WEFT_SHAPE_ARRAY : WEFT_SHAPE_OBJECT;
    const weft_register *parent = weft__doc_find(doc, weft_path_parent(reg->path));
    bool hidden, covered;
    look_above(doc, reg, &hidden, &covered);
    if (!covered || (!hidden && mark_of(parent) != want)) return false;
  }
  return true;
}

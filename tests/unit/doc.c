/* Documents: laws over generated sets of changes, against the definition written a second time.
 *
 * The reference knows nothing of registers, lineages or passes: it keeps a set of changes with
 * links to the one before, and asks of every write whether any other change covers it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crdt/sort.h"
#include "tests/support/fault_alloc.h"
#include "tests/support/rng.h"
#include "tests/support/script.h"

/* Places are nodes of a tree with five children each, numbered like a heap, three steps deep. */
enum { steps = 5, first_element = 3, places = 156, inner_places = 31 };
enum { changes_max = 24, ops_max = 4, claims_max = 6 };

typedef struct change {
  weft_dot dot;
  uint64_t hlc;
  size_t prev; /* index of the change before it in its chain; SIZE_MAX none */
  size_t claims[claims_max];
  weft_dot claim_dots[claims_max];
  size_t claim_count;
  size_t place[ops_max];
  weft_op ops[ops_max];
  size_t op_count;
} change;

typedef struct world {
  weft_arena arena;
  weft_path paths[places];
  test_branches branches;
  change changes[changes_max];
  size_t count;
} world;

static size_t child_of(size_t place, size_t step) { return place * steps + 1 + step; }
static size_t parent_of(size_t place) { return (place - 1) / steps; }
static size_t step_of(size_t place) { return (place - 1) % steps; }
static bool is_element(size_t place) { return place > 0 && step_of(place) >= first_element; }

static weft_step step_at(size_t step) {
  static const char *const names[steps] = {
      "a", "bb",
      "c-key-whose-length-takes-two-bytes-as-a-varint-because-it-is-longer-than-sixty-three-bytes",
      "e", "f1"};
  return (weft_step){step >= first_element, weft_bytes_str(names[step])};
}

static void make_places(world *w) {
  weft_buf b;
  weft__buf_init(&b, &w->arena.mem, WEFT_PATH_LEN_MAX);
  for (size_t i = 0; i < places; i++) {
    weft__buf_reset(&b);
    if (i > 0) {
      weft__buf_put(&b, w->paths[parent_of(i)]);
      weft_path_push(&b, step_at(step_of(i)));
    }
    assert_int_equal(weft__buf_err(&b), WEFT_OK);
    assert_int_equal(weft__arena_copy(&w->arena, weft__buf_view(&b), &w->paths[i]), WEFT_OK);
  }
  weft__buf_free(&b);
}

/* --- generating --- */

static size_t newest_of(const world *w, uint32_t branch, uint64_t seq) {
  for (size_t i = 0; i < w->count; i++) {
    if (w->changes[i].dot.log == branch && w->changes[i].dot.seq == seq) return i;
  }
  return SIZE_MAX;
}

static uint64_t branch_len(const world *w, uint32_t branch) {
  uint64_t len = w->branches.at[branch].fork;
  for (size_t i = 0; i < w->count; i++) {
    if (w->changes[i].dot.log == branch) len = w->changes[i].dot.seq;
  }
  return len;
}

static bool in_chain(const world *w, size_t of, size_t x) {
  while (of != SIZE_MAX && of != x) of = w->changes[of].prev;
  return of == x;
}

static uint32_t pick_branch(world *w, test_rng *rng) {
  uint32_t branch = (uint32_t)test_rng_below(rng, w->branches.count);
  if (w->branches.count == TEST_BRANCHES_MAX || !test_rng_chance(rng, 8)) return branch;
  uint64_t own = branch_len(w, branch) - w->branches.at[branch].fork;
  if (own == 0) return branch;
  test_branch fork = {(uint8_t)branch, w->branches.at[branch].log,
                      w->branches.at[branch].fork + 1 + test_rng_below(rng, own)};
  w->branches.at[w->branches.count] = fork;
  return (uint32_t)w->branches.count++;
}

static weft_op_kind pick_kind(test_rng *rng, size_t place) {
  static const weft_op_kind at_root[] = {WEFT_OP_MARK_OBJECT, WEFT_OP_FRESH_OBJECT, WEFT_OP_UNSET};
  if (place == 0) return at_root[test_rng_below(rng, 3)];
  if (test_rng_chance(rng, 45)) return WEFT_OP_SCALAR;
  return (weft_op_kind)(WEFT_OP_UNSET + test_rng_below(rng, is_element(place) ? 6 : 5));
}

static void make_op(world *w, test_rng *rng, change *c, size_t place) {
  for (size_t i = 0; i < c->op_count; i++) {
    if (c->place[i] == place) return;
  }
  weft_op *op = &c->ops[c->op_count];
  *op = (weft_op){.path = w->paths[place], .kind = pick_kind(rng, place)};
  weft_buf b;
  weft__buf_init(&b, &w->arena.mem, 100);
  weft_value v = {.kind = WEFT_INT, .as.integer = (int64_t)test_rng_below(rng, 3)};
  if (test_rng_chance(rng, 20)) v = (weft_value){.kind = WEFT_DOUBLE, .as.real = 1};
  if (test_rng_chance(rng, 20)) {
    v = (weft_value){.kind = WEFT_STRING, .as.bytes = weft_bytes_str("text")};
  }
  weft__scalar_encode(&b, &v);
  if (op->kind == WEFT_OP_SCALAR) {
    assert_int_equal(weft__arena_copy(&w->arena, weft__buf_view(&b), &op->value), WEFT_OK);
  }
  if (op->kind == WEFT_OP_POSITION ||
      (is_element(place) && op->kind != WEFT_OP_UNSET && test_rng_chance(rng, 40))) {
    uint8_t at[2] = {(uint8_t)(0x80 + test_rng_below(rng, 3)), 1};
    weft_bytes bytes = weft_bytes_of(at, 1 + test_rng_below(rng, 2));
    assert_int_equal(weft__arena_copy(&w->arena, bytes, &op->position), WEFT_OK);
  }
  weft__buf_free(&b);
  c->place[c->op_count++] = place;
}

static void make_claims(const world *w, test_rng *rng, change *c) {
  unsigned percent = (unsigned)test_rng_below(rng, 101);
  for (size_t i = w->count; i > 0 && c->claim_count < claims_max; i--) {
    size_t x = i - 1;
    if (!test_rng_chance(rng, percent) || in_chain(w, c->prev, x)) continue;
    c->claims[c->claim_count] = x;
    c->claim_dots[c->claim_count++] = w->changes[x].dot;
  }
}

static void make_change(world *w, test_rng *rng) {
  change *c = &w->changes[w->count];
  *c = (change){.prev = SIZE_MAX};
  c->dot.log = pick_branch(w, rng);
  uint64_t before = branch_len(w, c->dot.log);
  c->dot.seq = before + 1;
  const test_branch *branch = &w->branches.at[c->dot.log];
  if (before > 0) {
    bool forked = branch->parent != TEST_NO_PARENT && before == branch->fork;
    c->prev = newest_of(w, forked ? branch->parent : c->dot.log, before);
    assert_true(c->prev != SIZE_MAX);
  }
  c->hlc = 1 + test_rng_below(rng, 3) + (c->prev == SIZE_MAX ? 0 : w->changes[c->prev].hlc);
  make_claims(w, rng, c);
  size_t ops = 1 + test_rng_below(rng, ops_max);
  size_t below = test_rng_chance(rng, 50) ? inner_places : places;
  for (size_t i = 0; i < ops; i++) make_op(w, rng, c, test_rng_below(rng, below));
  w->count++;
}

/* Few places must meet often, so each world uses three steps at most. */
static void world_make(world *w, test_rng *rng, size_t count) {
  weft_alloc mem = weft_alloc_libc();
  weft__arena_init(&w->arena, &mem);
  w->branches = test_branches_of(2 + test_rng_below(rng, 3));
  w->count = 0;
  make_places(w);
  while (w->count < count) make_change(w, rng);
}

static void world_free(world *w) { weft__arena_free(&w->arena); }

/* --- showing in any causal order --- */

static bool is_ready(const world *w, size_t i, const bool *shown) {
  const change *c = &w->changes[i];
  if (c->prev != SIZE_MAX && !shown[c->prev]) return false;
  for (size_t k = 0; k < c->claim_count; k++) {
    if (!shown[c->claims[k]]) return false;
  }
  return true;
}

static weft_err show_change(weft_doc *doc, const change *c) {
  weft_shown shown = {c->dot, c->hlc, c->claim_dots, c->claim_count};
  for (size_t k = 0; k < c->op_count; k++) {
    WEFT_TRY(weft__doc_show(doc, &shown, &c->ops[k]));
  }
  return WEFT_OK;
}

static weft_err show_all(const world *w, test_rng *rng, weft_doc *doc) {
  bool shown[changes_max] = {false};
  for (size_t done = 0; done < w->count;) {
    size_t i = test_rng_below(rng, w->count);
    if (shown[i] || !is_ready(w, i, shown)) continue;
    WEFT_TRY(show_change(doc, &w->changes[i]));
    shown[i] = true;
    done++;
    if (test_rng_chance(rng, 10)) weft__doc_clean(doc);
  }
  return WEFT_OK;
}

/* --- the definition --- */

static bool covers(const world *w, size_t by, size_t x) {
  if (by == x) return false;
  if (in_chain(w, by, x)) return true;
  for (size_t k = 0; k < w->changes[by].claim_count; k++) {
    if (in_chain(w, w->changes[by].claims[k], x)) return true;
  }
  return false;
}

static bool is_under(size_t top, size_t place) {
  while (place > top) place = parent_of(place);
  return place == top;
}

static bool is_fresh(weft_op_kind kind) {
  return kind == WEFT_OP_FRESH_OBJECT || kind == WEFT_OP_FRESH_ARRAY;
}

/* One surviving write. */
typedef struct item {
  size_t change;
  size_t place;
  const weft_op *op;
} item;

typedef struct whole {
  item values[changes_max * ops_max], positions[changes_max * ops_max];
  size_t value_count, position_count;
} whole;

static bool is_removed(const world *w, size_t x, size_t place, bool position) {
  for (size_t by = 0; by < w->count; by++) {
    const change *c = &w->changes[by];
    if (!covers(w, by, x)) continue;
    for (size_t k = 0; k < c->op_count; k++) {
      const weft_op *op = &c->ops[k];
      bool touches = position ? op->position.len > 0 : op->kind != WEFT_OP_POSITION;
      if (c->place[k] == place && touches) return true;
      if (is_fresh(op->kind) && place != c->place[k] && is_under(c->place[k], place)) return true;
    }
  }
  return false;
}

static void define(const world *w, whole *s) {
  *s = (whole){.value_count = 0};
  for (size_t i = 0; i < w->count; i++) {
    const change *c = &w->changes[i];
    for (size_t k = 0; k < c->op_count; k++) {
      item x = {i, c->place[k], &c->ops[k]};
      if (x.op->kind != WEFT_OP_POSITION && !is_removed(w, i, x.place, false)) {
        s->values[s->value_count++] = x;
      }
      if (x.op->position.len > 0 && !is_removed(w, i, x.place, true)) {
        s->positions[s->position_count++] = x;
      }
    }
  }
}

/* Byte order of paths, by plain comparison. */
static int place_cmp(const void *ctx, const void *a, const void *b) {
  (void)ctx;
  const weft_path *x = a, *y = b;
  size_t len = x->len < y->len ? x->len : y->len;
  int by = len ? memcmp(x->at, y->at, len) : 0;
  return by != 0 ? by : x->len < y->len ? -1 : x->len > y->len;
}

static int item_cmp(const void *ctx, const void *a, const void *b) {
  const world *w = ctx;
  const item *x = a, *y = b;
  const weft_dot *p = &w->changes[x->change].dot, *q = &w->changes[y->change].dot;
  if (p->log != q->log) return p->log < q->log ? -1 : 1;
  return p->seq < q->seq ? -1 : p->seq > q->seq;
}

static void items_text(const world *w, weft_buf *out, const item *list, size_t count, size_t place,
                       bool position) {
  const void *here[changes_max], *scratch[changes_max];
  size_t found = 0;
  for (size_t i = 0; i < count; i++) {
    if (list[i].place == place) here[found++] = &list[i];
  }
  weft__sort(here, scratch, found, item_cmp, w);
  for (size_t i = 0; i < found; i++) {
    const item *x = here[i];
    const change *c = &w->changes[x->change];
    weft_sibling s = {c->dot,
                      c->hlc,
                      position ? WEFT_OP_POSITION : x->op->kind,
                      position ? x->op->position : x->op->value,
                      NULL,
                      0};
    test_sibling_text(out, &s);
  }
}

static void state_text(const world *w, const whole *s, weft_buf *out) {
  const void *sorted[places], *scratch[places];
  for (size_t i = 0; i < places; i++) sorted[i] = &w->paths[i];
  weft__sort(sorted, scratch, places, place_cmp, NULL);
  for (size_t i = 0; i < places; i++) {
    size_t place = (size_t)((const weft_path *)sorted[i] - w->paths), before = out->len;
    test_path_text(out, w->paths[place]);
    test_print(out, ":");
    size_t head = out->len;
    items_text(w, out, s->values, s->value_count, place, false);
    items_text(w, out, s->positions, s->position_count, place, true);
    if (out->len == head) {
      out->len = before;
    } else {
      test_print(out, "\n");
    }
  }
}

static bool is_hide(weft_op_kind kind) { return kind == WEFT_OP_SCALAR || kind == WEFT_OP_UNSET; }

static bool is_hidden_at(const world *w, const whole *s, size_t place, size_t x) {
  for (size_t i = 0; i < s->value_count; i++) {
    const item *h = &s->values[i];
    if (h->place == place && is_hide(h->op->kind) && covers(w, h->change, x)) return true;
  }
  return false;
}

static int stamp_cmp(const world *w, const item *a, const item *b) {
  const change *x = &w->changes[a->change], *y = &w->changes[b->change];
  uint8_t log_x = w->branches.at[x->dot.log].log, log_y = w->branches.at[y->dot.log].log;
  if (x->hlc != y->hlc) return x->hlc < y->hlc ? -1 : 1;
  if (log_x != log_y) return log_x < log_y ? -1 : 1;
  if (x->dot.seq != y->dot.seq) return x->dot.seq < y->dot.seq ? -1 : 1;
  return x->dot.log < y->dot.log ? -1 : x->dot.log > y->dot.log;
}

/* What one place shows, found by asking every surviving write. */
typedef struct place_view {
  const item *best[4]; /* by weft_shape */
  bool mark[4];
  bool hide, unset, alive;
  weft_shape shape;
  bool visible;
  weft_bytes position;
} place_view;

/* True when a register from `place` (whether itself asks) up to but not at `top` hides `x`. */
static bool is_hidden_between(const world *w, const whole *s, size_t top, size_t x_place,
                              size_t x) {
  size_t place = x_place;
  while (place != top) {
    place = parent_of(place);
    if (place == top) return false;
    if (is_hidden_at(w, s, place, x)) return true;
  }
  return false;
}

static weft_shape own_side(weft_op_kind kind) {
  switch (kind) {
  case WEFT_OP_SCALAR: return WEFT_SHAPE_SCALAR;
  case WEFT_OP_MARK_OBJECT:
  case WEFT_OP_FRESH_OBJECT: return WEFT_SHAPE_OBJECT;
  case WEFT_OP_MARK_ARRAY:
  case WEFT_OP_FRESH_ARRAY: return WEFT_SHAPE_ARRAY;
  case WEFT_OP_UNSET:
  case WEFT_OP_POSITION: break;
  }
  return WEFT_SHAPE_NONE;
}

static size_t step_below(size_t top, size_t place) {
  while (parent_of(place) != top) place = parent_of(place);
  return place;
}

static bool is_free(const world *w, const whole *s, const item *x) {
  for (size_t place = x->place; place != 0; place = parent_of(place)) {
    if (is_hidden_at(w, s, parent_of(place), x->change)) return false;
  }
  return true;
}

static void view_place(const world *w, const whole *s, size_t place, place_view *v) {
  *v = (place_view){.shape = WEFT_SHAPE_NONE};
  for (size_t i = 0; i < s->value_count; i++) {
    const item *x = &s->values[i];
    if (!is_under(place, x->place)) continue;
    if (x->place == place && is_hide(x->op->kind)) v->hide = true;
    if (x->place == place && x->op->kind == WEFT_OP_UNSET) v->unset = true;
    if (x->op->kind == WEFT_OP_UNSET) continue;
    v->alive = v->alive || is_free(w, s, x);
    weft_shape side = own_side(x->op->kind);
    if (x->place == place) {
      v->mark[side] = true;
    } else {
      if (is_hidden_between(w, s, place, x->place, x->change)) continue;
      if (is_hidden_at(w, s, place, x->change)) continue;
      side = is_element(step_below(place, x->place)) ? WEFT_SHAPE_ARRAY : WEFT_SHAPE_OBJECT;
    }
    if (!v->best[side] || stamp_cmp(w, x, v->best[side]) > 0) v->best[side] = x;
  }
  for (weft_shape side = WEFT_SHAPE_SCALAR; side <= WEFT_SHAPE_ARRAY; side++) {
    if (!v->best[side]) continue;
    if (v->shape == WEFT_SHAPE_NONE || stamp_cmp(w, v->best[side], v->best[v->shape]) > 0) {
      v->shape = side;
    }
  }
  const item *best = NULL;
  for (size_t i = 0; i < s->position_count; i++) {
    const item *x = &s->positions[i];
    if (x->place == place && (!best || stamp_cmp(w, x, best) > 0)) best = x;
  }
  if (best) v->position = best->op->position;
}

static void view_all(const world *w, const whole *s, place_view *views) {
  for (size_t i = 0; i < places; i++) {
    view_place(w, s, i, &views[i]);
    weft_shape side = is_element(i) ? WEFT_SHAPE_ARRAY : WEFT_SHAPE_OBJECT;
    bool led = i == 0 || (views[parent_of(i)].visible && views[parent_of(i)].shape == side);
    views[i].visible = led && views[i].shape != WEFT_SHAPE_NONE;
  }
}

/* The shown children of `place` on a side, in order; gives their number. */
static size_t children_of(const place_view *views, size_t place, weft_shape side, size_t *list) {
  size_t count = 0;
  if (place >= inner_places) return 0;
  for (size_t k = 0; k < steps; k++) {
    size_t child = child_of(place, k);
    if (is_element(child) != (side == WEFT_SHAPE_ARRAY)) continue;
    if (views[child].shape != WEFT_SHAPE_NONE) list[count++] = child;
  }
  if (side == WEFT_SHAPE_ARRAY && count == 2 &&
      weft_bytes_cmp(views[list[0]].position, views[list[1]].position) > 0) {
    size_t first = list[0];
    list[0] = list[1];
    list[1] = first;
  }
  return count;
}

/* The text of every place by itself, leaves first. */
static void render_all(const place_view *views, weft_buf *texts) {
  weft_alloc mem = weft_alloc_libc();
  for (size_t i = places; i-- > 0;) {
    weft__buf_init(&texts[i], &mem, 1 << 20);
    weft_shape shape = views[i].shape;
    if (shape == WEFT_SHAPE_NONE) continue;
    if (shape == WEFT_SHAPE_SCALAR) {
      weft_value v;
      assert_int_equal(weft__scalar_decode(views[i].best[shape]->op->value, &v), WEFT_OK);
      test_value_text(&texts[i], &v);
      continue;
    }
    size_t list[steps], count = children_of(views, i, shape, list);
    test_print(&texts[i], shape == WEFT_SHAPE_ARRAY ? "[" : "{");
    for (size_t k = 0; k < count; k++) {
      if (k > 0) test_print(&texts[i], ",");
      if (shape == WEFT_SHAPE_OBJECT) {
        weft__buf_put(&texts[i], step_at(step_of(list[k])).name);
        test_print(&texts[i], ":");
      }
      weft__buf_put(&texts[i], weft__buf_view(&texts[list[k]]));
    }
    test_print(&texts[i], shape == WEFT_SHAPE_ARRAY ? "]" : "}");
  }
}

/* --- comparing --- */

static void same_text(weft_buf *got, weft_buf *want, uint64_t seed, const char *what) {
  if (strcmp(test_text(got), test_text(want)) != 0) {
    print_error("seed=%llu: %s\ngot:\n%s\nwant:\n%s\n", (unsigned long long)seed, what,
                test_text(got), test_text(want));
    fail();
  }
}

typedef struct fixture {
  world w;
  weft_lineage lineage;
  weft_doc *doc;
  whole s;
  place_view views[places];
  weft_arena arena;
  weft_buf got, want;
  uint64_t seed;
} fixture;

static fixture *fixture_make(uint64_t seed) {
  fixture *f = malloc(sizeof *f);
  assert_non_null(f);
  weft_alloc mem = weft_alloc_libc();
  test_rng rng = test_rng_of(seed);
  world_make(&f->w, &rng, 1 + test_rng_below(&rng, changes_max));
  f->lineage = test_lineage_of(&f->w.branches);
  assert_int_equal(weft__doc_new(&f->doc, &mem, &f->lineage), WEFT_OK);
  assert_int_equal(show_all(&f->w, &rng, f->doc), WEFT_OK);
  define(&f->w, &f->s);
  view_all(&f->w, &f->s, f->views);
  weft__arena_init(&f->arena, &mem);
  weft__buf_init(&f->got, &mem, 1 << 22);
  weft__buf_init(&f->want, &mem, 1 << 22);
  f->seed = seed;
  return f;
}

static void fixture_compare(fixture *f, const char *what) {
  same_text(&f->got, &f->want, f->seed, what);
  weft__buf_reset(&f->got);
  weft__buf_reset(&f->want);
}

static void fixture_free(fixture *f) {
  weft__buf_free(&f->got);
  weft__buf_free(&f->want);
  weft__arena_free(&f->arena);
  weft__doc_free(f->doc);
  world_free(&f->w);
  free(f);
}

enum { worlds = 500 };

static void every_causal_order_gives_the_defined_registers(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= worlds; seed++) {
    fixture *f = fixture_make(seed);
    test_rng rng = test_rng_of(seed + 1000000);
    for (int again = 0; again < 3; again++) {
      test_doc_text(&f->got, f->doc);
      state_text(&f->w, &f->s, &f->want);
      fixture_compare(f, "registers");
      weft__doc_reset(f->doc);
      assert_int_equal(show_all(&f->w, &rng, f->doc), WEFT_OK);
    }
    fixture_free(f);
  }
}

static void render_shows_the_defined_view(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= worlds; seed++) {
    fixture *f = fixture_make(seed);
    weft_buf texts[places];
    render_all(f->views, texts);
    for (size_t i = 0; i < places; i++) {
      weft_value v;
      weft_err err = weft__doc_render(f->doc, f->w.paths[i], &f->arena, &v);
      assert_int_equal(err, texts[i].len > 0 ? WEFT_OK : WEFT_ENOTFOUND);
      if (err == WEFT_OK) {
        test_value_text(&f->got, &v);
        same_text(&f->got, &texts[i], seed, "render");
        weft__buf_reset(&f->got);
      }
      weft__buf_free(&texts[i]);
    }
    fixture_free(f);
  }
}

static void sides_and_visibility_are_as_defined(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= worlds; seed++) {
    fixture *f = fixture_make(seed);
    for (size_t i = 0; i < places; i++) {
      const place_view *v = &f->views[i];
      weft_sides got;
      bool visible;
      assert_int_equal(weft__doc_sides(f->doc, f->w.paths[i], &got), WEFT_OK);
      assert_int_equal(got.shape, v->shape);
      assert_int_equal(got.has_scalar, v->best[WEFT_SHAPE_SCALAR] != NULL);
      assert_int_equal(got.has_hide, v->hide);
      assert_int_equal(got.has_unset, v->unset);
      assert_int_equal(got.object_mark, v->mark[WEFT_SHAPE_OBJECT]);
      assert_int_equal(got.array_mark, v->mark[WEFT_SHAPE_ARRAY]);
      assert_int_equal(got.object_alive, v->best[WEFT_SHAPE_OBJECT] != NULL);
      assert_int_equal(got.array_alive, v->best[WEFT_SHAPE_ARRAY] != NULL);
      assert_int_equal(got.winner != NULL, v->shape == WEFT_SHAPE_SCALAR);
      if (got.winner) {
        const weft_dot *dot = &f->w.changes[v->best[WEFT_SHAPE_SCALAR]->change].dot;
        assert_memory_equal(&got.winner->dot.seq, &dot->seq, sizeof dot->seq);
        assert_int_equal(got.winner->dot.log, dot->log);
      }
      assert_int_equal(weft__doc_visible(f->doc, f->w.paths[i], &visible), WEFT_OK);
      assert_int_equal(visible, v->visible);
    }
    fixture_free(f);
  }
}

static void children_text(weft_buf *out, weft_path path, weft_shape shape, weft_bytes position) {
  test_path_text(out, path);
  test_print(out, " %u", (unsigned)shape);
  for (size_t i = 0; i < position.len; i++) test_print(out, " %02x", position.at[i]);
  test_print(out, "\n");
}

static void children_are_as_defined(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= worlds; seed++) {
    fixture *f = fixture_make(seed);
    for (size_t i = 0; i < 2 * places; i++) {
      weft_shape side = i % 2 ? WEFT_SHAPE_ARRAY : WEFT_SHAPE_OBJECT;
      size_t list[steps], count = children_of(f->views, i / 2, side, list), found;
      weft_child *got;
      assert_int_equal(weft__doc_children(f->doc, f->w.paths[i / 2], side, &f->arena, &got, &found),
                       WEFT_OK);
      for (size_t k = 0; k < found; k++) {
        assert_int_equal(got[k].step.element, side == WEFT_SHAPE_ARRAY);
        children_text(&f->got, got[k].path, got[k].shape, got[k].position);
      }
      for (size_t k = 0; k < count; k++) {
        const place_view *v = &f->views[list[k]];
        children_text(&f->want, f->w.paths[list[k]], v->shape, v->position);
      }
      fixture_compare(f, "children");
    }
    fixture_free(f);
  }
}

static void pointers_lead_back(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= worlds; seed++) {
    fixture *f = fixture_make(seed);
    for (size_t i = 0; i < places; i++) {
      weft_err err = weft__doc_pointer(f->doc, f->w.paths[i], &f->arena, &f->got);
      assert_int_equal(err, f->views[i].visible ? WEFT_OK : WEFT_ENOTFOUND);
      if (err != WEFT_OK) {
        assert_int_equal(f->got.len, 0);
        continue;
      }
      weft_bytes *tokens;
      size_t count, depth;
      weft_path path;
      bool append;
      assert_int_equal(weft_pointer_split(&f->arena, weft__buf_view(&f->got), &tokens, &count),
                       WEFT_OK);
      assert_int_equal(weft__doc_resolve(f->doc, &f->arena, tokens, count, &path, &append, &depth),
                       WEFT_OK);
      assert_int_equal(depth, count);
      assert_false(append);
      assert_int_equal(weft_bytes_cmp(path, f->w.paths[i]), 0);
      weft__buf_reset(&f->got);
    }
    fixture_free(f);
  }
}

static bool two_values(const whole *s, size_t place) {
  weft_value first, other;
  bool any = false;
  for (size_t i = 0; i < s->value_count; i++) {
    if (s->values[i].place != place || s->values[i].op->kind != WEFT_OP_SCALAR) continue;
    assert_int_equal(weft__scalar_decode(s->values[i].op->value, any ? &other : &first), WEFT_OK);
    if (any && !weft_value_equal(&first, &other)) return true;
    any = true;
  }
  return false;
}

/* Whether a mark that begins anew survives at a proper ancestor. */
static bool begun_above(const whole *s, size_t place) {
  for (size_t i = 0; i < s->value_count; i++) {
    const item *x = &s->values[i];
    if (is_fresh(x->op->kind) && x->place != place && is_under(x->place, place)) return true;
  }
  return false;
}

static unsigned conflict_at(const fixture *f, size_t place) {
  const place_view *v = &f->views[place];
  if (!v->alive) return 0;
  size_t sides = 0;
  for (size_t k = WEFT_SHAPE_SCALAR; k <= WEFT_SHAPE_ARRAY; k++) sides += v->best[k] != NULL;
  if (sides > 1) return WEFT_CONFLICT_SHAPE;
  if (two_values(&f->s, place)) return WEFT_CONFLICT_VALUE;
  bool marked = v->shape == WEFT_SHAPE_SCALAR || v->mark[v->shape];
  bool bereft = !marked && begun_above(&f->s, place);
  return v->unset || bereft ? WEFT_CONFLICT_EDIT_DELETE : 0;
}

static void conflict_text(weft_buf *out, weft_path path, unsigned kind, weft_shape shape,
                          bool visible) {
  test_path_text(out, path);
  test_print(out, " kind %u shape %u %s\n", kind, (unsigned)shape, visible ? "visible" : "");
}

static void conflicts_are_as_defined(void **state) {
  (void)state;
  size_t kinds[4] = {0};
  for (uint64_t seed = 1; seed <= worlds; seed++) {
    fixture *f = fixture_make(seed);
    const void *sorted[places], *scratch[places];
    for (size_t i = 0; i < places; i++) sorted[i] = &f->w.paths[i];
    weft__sort(sorted, scratch, places, place_cmp, NULL);
    size_t top = seed % 3 ? 0 : seed % inner_places, count;
    weft_conflict *got;
    assert_int_equal(weft__doc_conflicts(f->doc, f->w.paths[top], &f->arena, &got, &count),
                     WEFT_OK);
    for (size_t k = 0; k < count; k++) {
      conflict_text(&f->got, got[k].path, got[k].kind, got[k].shape, got[k].visible);
      assert_int_equal(got[k].winner != NULL, got[k].shape == WEFT_SHAPE_SCALAR);
      const weft_register *reg = weft__doc_find(f->doc, got[k].path);
      assert_ptr_equal(got[k].reg, reg && reg->value_count + reg->position_count > 0 ? reg : NULL);
    }
    for (size_t k = 0; k < places; k++) {
      size_t i = (size_t)((const weft_path *)sorted[k] - f->w.paths);
      unsigned kind = conflict_at(f, i);
      kinds[kind]++;
      if (kind == 0 || (!is_under(top, i) && !is_under(i, top))) continue;
      conflict_text(&f->want, f->w.paths[i], kind, f->views[i].shape, f->views[i].visible);
    }
    fixture_compare(f, "conflicts");
    fixture_free(f);
  }
  for (size_t k = 0; k < 4; k++) assert_true(kinds[k] > 20);
}

static void a_store_gives_the_same_document_back(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  for (uint64_t seed = 1; seed <= worlds; seed++) {
    fixture *f = fixture_make(seed);
    test_rng rng = test_rng_of(seed);
    weft_doc *loaded, *copy;
    assert_int_equal(weft__doc_new(&loaded, &mem, &f->lineage), WEFT_OK);
    assert_int_equal(weft__doc_new(&copy, &mem, &f->lineage), WEFT_OK);
    assert_int_equal(weft__doc_copy(copy, f->doc), WEFT_OK);
    size_t order[places];
    for (size_t i = 0; i < places; i++) {
      size_t j = test_rng_below(&rng, i + 1);
      order[i] = order[j];
      order[j] = i;
    }
    for (size_t i = 0; i < places; i++) {
      const weft_register *reg = weft__doc_find(f->doc, f->w.paths[order[i]]);
      if (!reg) continue;
      bool empty = reg->value_count + reg->position_count == 0;
      assert_int_equal(weft__doc_put(loaded, reg), empty ? WEFT_EMISUSE : WEFT_OK);
      if (!empty) assert_int_equal(weft__doc_put(loaded, reg), WEFT_EMISUSE);
    }
    weft_buf third;
    weft__buf_init(&third, &mem, 1 << 22);
    test_doc_text(&f->want, f->doc);
    test_doc_text(&f->got, loaded);
    test_doc_text(&third, copy);
    same_text(&third, &f->want, seed, "copy");
    fixture_compare(f, "loaded");
    /* What they show must be the same too: claims that hide things came along. */
    weft_doc *docs[] = {f->doc, loaded, copy};
    weft_buf *texts[] = {&f->want, &f->got, &third};
    for (size_t k = 0; k < 3; k++) {
      weft__buf_reset(texts[k]);
      weft_value v;
      if (weft__doc_render(docs[k], f->w.paths[0], &f->arena, &v) == WEFT_OK) {
        test_value_text(texts[k], &v);
      }
    }
    same_text(&third, &f->want, seed, "copy shows");
    fixture_compare(f, "loaded shows");
    weft__buf_free(&third);
    weft__doc_free(loaded);
    weft__doc_free(copy);
    fixture_free(f);
  }
}

/* Shows a change that covers all siblings, or the first one of each other log. */
static void show_over(weft_doc *doc, const world *w, uint64_t seed) {
  static const uint8_t one = 1;
  static const weft_op_kind kinds[] = {WEFT_OP_SCALAR, WEFT_OP_MARK_OBJECT, WEFT_OP_UNSET,
                                       WEFT_OP_FRESH_ARRAY, WEFT_OP_POSITION};
  weft_dot claims[TEST_BRANCHES_MAX];
  for (uint32_t i = 1; i < w->branches.count; i++) {
    claims[i - 1] = (weft_dot){i, seed % 3 == 0 ? 1 : 1000};
  }
  weft_shown over = {{0, 1000}, UINT64_MAX, claims, w->branches.count - 1};
  for (size_t i = 0; i < places; i++) {
    weft_op op = {.path = w->paths[i], .kind = kinds[(i + seed) % 5]};
    if (op.kind == WEFT_OP_SCALAR) op.value = weft_bytes_of(&one, 1);
    if (op.kind == WEFT_OP_POSITION) op.position = weft_bytes_of(&one, 1);
    assert_int_equal(weft__doc_show(doc, &over, &op), WEFT_OK);
  }
}

/* A borrowing document shows like one of copies, and leaves what it borrowed as it was. */
static void borrowed_registers_stay_as_they_are(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  for (uint64_t seed = 1; seed <= worlds; seed++) {
    fixture *f = fixture_make(seed);
    weft_doc *copy, *borrowing;
    weft_buf before;
    assert_int_equal(weft__doc_new(&copy, &mem, &f->lineage), WEFT_OK);
    assert_int_equal(weft__doc_new(&borrowing, &mem, &f->lineage), WEFT_OK);
    assert_int_equal(weft__doc_copy(copy, f->doc), WEFT_OK);
    const weft_register *reg = weft__doc_seek(f->doc, weft_bytes_of(NULL, 0));
    for (; reg; reg = weft__doc_next(f->doc, reg)) {
      bool empty = reg->value_count + reg->position_count == 0;
      assert_int_equal(weft__doc_borrow(borrowing, reg), empty ? WEFT_EMISUSE : WEFT_OK);
      if (!empty) assert_int_equal(weft__doc_borrow(borrowing, reg), WEFT_EMISUSE);
    }
    weft__buf_init(&before, &mem, 1 << 22);
    test_doc_text(&before, f->doc);
    show_over(copy, &f->w, seed);
    show_over(borrowing, &f->w, seed);
    test_doc_text(&f->want, copy);
    test_doc_text(&f->got, borrowing);
    fixture_compare(f, "shown");
    weft__buf_reset(&f->got);
    test_doc_text(&f->got, f->doc);
    same_text(&f->got, &before, seed, "lender");
    weft__buf_free(&before);
    weft__doc_free(borrowing);
    weft__doc_free(copy);
    fixture_free(f);
  }
}

/* Borrows the registers in two runs, and gives how many there are. */
static size_t borrow_in_runs(weft_doc *doc, const weft_doc *from, uint64_t seed) {
  static weft_register all[1000], runs[2][1000];
  size_t count = 0, counts[2] = {0, 0};
  const weft_register *reg = weft__doc_seek(from, weft_bytes_of(NULL, 0));
  for (; reg; reg = weft__doc_next(from, reg)) {
    if (reg->value_count + reg->position_count > 0) all[count++] = *reg;
    assert_true(count < 1000);
  }
  test_rng rng = test_rng_of(seed);
  size_t cut = test_rng_below(&rng, count + 1);
  for (size_t i = 0; i < count; i++) {
    size_t run = seed % 2 ? i < cut : test_rng_below(&rng, 2); /* the later part, or any, first */
    runs[run][counts[run]++] = all[i];
  }
  for (size_t k = 0; k < 2; k++) {
    assert_int_equal(weft__doc_borrow_run(doc, runs[k], counts[k]), WEFT_OK);
  }
  weft_register empty = {.path = weft_bytes_str("zz")};
  assert_int_equal(weft__doc_borrow_run(doc, &empty, 1), WEFT_EMISUSE);
  if (count > 0) assert_int_equal(weft__doc_borrow_run(doc, all, 1), WEFT_EMISUSE);
  return count;
}

/* Runs in any order give what one after another gives. */
static void borrowed_runs_are_their_registers(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  size_t most = 0;
  for (uint64_t seed = 1; seed <= worlds; seed++) {
    fixture *f = fixture_make(seed);
    weft_doc *copy, *borrowing;
    assert_int_equal(weft__doc_new(&copy, &mem, &f->lineage), WEFT_OK);
    assert_int_equal(weft__doc_new(&borrowing, &mem, &f->lineage), WEFT_OK);
    assert_int_equal(weft__doc_copy(copy, f->doc), WEFT_OK);
    size_t count = borrow_in_runs(borrowing, f->doc, seed);
    if (count > most) most = count;
    show_over(copy, &f->w, seed);
    show_over(borrowing, &f->w, seed);
    test_doc_text(&f->want, copy);
    test_doc_text(&f->got, borrowing);
    fixture_compare(f, "shown");
    weft__doc_free(borrowing);
    weft__doc_free(copy);
    fixture_free(f);
  }
  assert_true(most > 4);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(borrowed_registers_stay_as_they_are),
      cmocka_unit_test(borrowed_runs_are_their_registers),
      cmocka_unit_test(every_causal_order_gives_the_defined_registers),
      cmocka_unit_test(render_shows_the_defined_view),
      cmocka_unit_test(sides_and_visibility_are_as_defined),
      cmocka_unit_test(children_are_as_defined),
      cmocka_unit_test(pointers_lead_back),
      cmocka_unit_test(conflicts_are_as_defined),
      cmocka_unit_test(a_store_gives_the_same_document_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/support/plain.h"

#include <stdlib.h>
#include <string.h>

static void *take(weft_arena *arena, size_t count, size_t size) {
  void *at = weft__arena_zero(arena, count ? count : 1, size);
  if (!at) abort();
  return at;
}

/* A copy whose children may be changed, with room for one more. */
static weft_value *open_copy(weft_arena *arena, weft_value *v) {
  if (v->kind == WEFT_ARRAY) {
    weft_value *at = take(arena, v->as.array.count + 1, sizeof *at);
    if (v->as.array.count) memcpy(at, v->as.array.at, v->as.array.count * sizeof *at);
    v->as.array.at = at;
    return at;
  }
  weft_member *at = take(arena, v->as.object.count + 1, sizeof *at);
  if (v->as.object.count) memcpy(at, v->as.object.at, v->as.object.count * sizeof *at);
  v->as.object.at = at;
  return NULL;
}

static void become_object(weft_value *v) {
  if (v->kind == WEFT_OBJECT) return;
  memset(v, 0, sizeof *v);
  v->kind = WEFT_OBJECT;
}

/* The member's slot in an object opened for change; made when missing. */
static weft_value *member_slot(weft_arena *arena, weft_value *object, weft_bytes key) {
  become_object(object);
  open_copy(arena, object);
  weft_member *at = (weft_member *)(uintptr_t)object->as.object.at;
  size_t idx = 0, count = object->as.object.count;
  while (idx < count && weft_bytes_cmp(at[idx].key, key) < 0) idx++;
  if (idx < count && weft_bytes_cmp(at[idx].key, key) == 0) return &at[idx].value;
  memmove(at + idx + 1, at + idx, (count - idx) * sizeof *at);
  memset(&at[idx], 0, sizeof at[idx]);
  at[idx].key = key;
  object->as.object.count++;
  return &at[idx].value;
}

static weft_value *step_slot(weft_arena *arena, weft_value *v, const test_step *step) {
  if (!step->is_index) return member_slot(arena, v, step->key);
  if (v->kind != WEFT_ARRAY || step->idx >= v->as.array.count) abort();
  return &open_copy(arena, v)[step->idx];
}

static void remove_child(weft_arena *arena, weft_value *v, const test_step *step) {
  if (step->is_index) {
    weft_value *at = open_copy(arena, v);
    size_t left = --v->as.array.count;
    memmove(at + step->idx, at + step->idx + 1, (left - step->idx) * sizeof *at);
    return;
  }
  if (v->kind != WEFT_OBJECT || !weft_value_member(v, step->key)) return;
  weft_value *slot = member_slot(arena, v, step->key);
  weft_member *at = (weft_member *)(uintptr_t)v->as.object.at;
  size_t idx = 0, left = --v->as.object.count;
  while (&at[idx].value != slot) idx++;
  memmove(at + idx, at + idx + 1, (left - idx) * sizeof *at);
}

static void insert_child(weft_arena *arena, weft_value *array, size_t idx, const weft_value *v) {
  if (array->kind != WEFT_ARRAY) {
    memset(array, 0, sizeof *array);
    array->kind = WEFT_ARRAY;
  }
  weft_value *at = open_copy(arena, array);
  size_t count = array->as.array.count++;
  if (idx > count) idx = count;
  memmove(at + idx + 1, at + idx, (count - idx) * sizeof *at);
  at[idx] = *v;
}

static void move_child(weft_arena *arena, weft_value *array, size_t from, size_t to) {
  weft_value *at = open_copy(arena, array), moved = at[from];
  size_t count = array->as.array.count;
  memmove(at + from, at + from + 1, (count - from - 1) * sizeof *at);
  memmove(at + to + 1, at + to, (count - to - 1) * sizeof *at);
  at[to] = moved;
}

/* Lays `over` onto `slot`, with a list of pairs still to do. */
static void merge_value(weft_arena *arena, weft_value *slot, const weft_value *over) {
  struct pair {
    weft_value *slot;
    const weft_value *over;
  } todo[512];
  size_t count = 0;
  todo[count++] = (struct pair){slot, over};
  while (count > 0) {
    struct pair p = todo[--count];
    if (p.slot->kind != WEFT_OBJECT || p.over->kind != WEFT_OBJECT) {
      *p.slot = *p.over;
      continue;
    }
    /* All members are made first: making one moves the others. */
    for (size_t i = 0; i < p.over->as.object.count; i++) {
      const weft_member *m = &p.over->as.object.at[i];
      bool had = weft_value_member(p.slot, m->key) != NULL;
      weft_value *made = member_slot(arena, p.slot, m->key);
      if (!had) *made = m->value;
    }
    for (size_t i = 0; i < p.over->as.object.count; i++) {
      const weft_member *m = &p.over->as.object.at[i];
      const weft_value *at = weft_value_member(p.slot, m->key);
      if (count == sizeof todo / sizeof *todo) abort();
      todo[count++] = (struct pair){(weft_value *)(uintptr_t)at, &m->value};
    }
  }
}

const weft_value *test_plain_edit(weft_arena *arena, const weft_value *root,
                                  const test_edit *edit) {
  weft_value *out = take(arena, 1, sizeof *out);
  if (root) *out = *root;
  if (edit->kind == TEST_REMOVE && edit->count == 0) return NULL;
  size_t down = edit->kind == TEST_REMOVE ? edit->count - 1 : edit->count;
  weft_value *slot = out;
  for (size_t i = 0; i < down; i++) slot = step_slot(arena, slot, &edit->steps[i]);
  switch (edit->kind) {
  case TEST_SET: *slot = *edit->value; break;
  case TEST_REMOVE: remove_child(arena, slot, &edit->steps[down]); break;
  case TEST_INSERT: insert_child(arena, slot, edit->from, edit->value); break;
  case TEST_MOVE: move_child(arena, slot, edit->from, edit->to); break;
  case TEST_MERGE: merge_value(arena, slot, edit->value); break;
  }
  return out;
}

const weft_value *test_plain_at(const weft_value *root, const test_step *steps, size_t count) {
  const weft_value *v = root;
  for (size_t i = 0; i < count && v; i++) {
    if (!steps[i].is_index) {
      v = weft_value_member(v, steps[i].key);
    } else if (v->kind == WEFT_ARRAY && steps[i].idx < v->as.array.count) {
      v = &v->as.array.at[steps[i].idx];
    } else {
      v = NULL;
    }
  }
  return v;
}

bool test_plain_same(const weft_value *a, const weft_value *b) {
  if (!a || !b) return a == b;
  return weft_value_equal(a, b);
}

weft_bytes test_plain_key(test_rng *rng) {
  return weft_bytes_of(&"xyz"[test_rng_below(rng, 3)], 1);
}

static weft_value random_scalar(test_rng *rng) {
  weft_value v = {.kind = WEFT_INT};
  uint64_t z = test_rng_below(rng, 20);
  v.as.integer = (int64_t)test_rng_below(rng, 4);
  if (z == 0) v.kind = WEFT_NULL;
  if (z == 1) {
    v.kind = WEFT_BOOL;
    v.as.boolean = test_rng_chance(rng, 50);
  }
  if (z == 2 || z == 3) {
    v.kind = WEFT_DOUBLE;
    v.as.real = (double)test_rng_below(rng, 6) / 2;
  }
  if (z >= 4 && z < 9) {
    v.kind = WEFT_STRING;
    v.as.bytes = weft_bytes_of(&"pq"[test_rng_below(rng, 2)], 1);
  }
  return v;
}

/* Values yet to be made: the slots of containers above them. */
typedef struct pending {
  weft_value *slot;
  unsigned depth;
} pending;

enum { pending_max = 64, depth_max = 2 };

static void add_member(weft_arena *arena, weft_value *object, const char *key, weft_value value) {
  *member_slot(arena, object, weft_bytes_str(key)) = value;
}

/* An array of objects that carry ids, each once. */
static void random_keyed(weft_arena *arena, test_rng *rng, weft_value *out) {
  size_t count = 0;
  weft_value *at = take(arena, 4, sizeof *at);
  for (size_t i = 0; i < 4; i++) {
    if (test_rng_chance(rng, 50)) continue;
    weft_value id = {.kind = WEFT_INT, .as.integer = (int64_t)i}, *e = &at[count++];
    e->kind = WEFT_OBJECT;
    add_member(arena, e, "id", id);
    add_member(arena, e, "v", random_scalar(rng));
  }
  for (size_t i = count; i > 1; i--) {
    size_t k = test_rng_below(rng, i);
    weft_value v = at[i - 1];
    at[i - 1] = at[k];
    at[k] = v;
  }
  out->kind = WEFT_ARRAY;
  out->as.array.at = at;
  out->as.array.count = count;
}

static void random_fill(weft_arena *arena, test_rng *rng, weft_value *root, unsigned depth,
                        bool object) {
  pending todo[pending_max];
  size_t count = 0;
  todo[count++] = (pending){root, depth};
  while (count > 0) {
    pending p = todo[--count];
    uint64_t z = object ? 0 : test_rng_below(rng, 100);
    object = false;
    if (p.depth >= depth_max || z >= 60 || count + 4 > pending_max) {
      *p.slot = random_scalar(rng);
    } else if (z < 25) {
      memset(p.slot, 0, sizeof *p.slot);
      p.slot->kind = WEFT_OBJECT;
      weft_member *at = take(arena, 3, sizeof *at);
      size_t members = 0;
      for (size_t i = 0; i < 3; i++) {
        if (!test_rng_chance(rng, 40)) continue;
        at[members].key = weft_bytes_of(&"xyz"[i], 1);
        todo[count++] = (pending){&at[members++].value, p.depth + 1};
      }
      p.slot->as.object.at = at;
      p.slot->as.object.count = members;
    } else if (z < 38) {
      random_keyed(arena, rng, p.slot);
    } else {
      weft_value *at = take(arena, 3, sizeof *at);
      p.slot->kind = WEFT_ARRAY;
      p.slot->as.array.at = at;
      p.slot->as.array.count = test_rng_below(rng, 4);
      for (size_t i = 0; i < p.slot->as.array.count; i++) {
        todo[count++] = (pending){&at[i], p.depth + 1};
      }
    }
  }
}

const weft_value *test_plain_random(weft_arena *arena, test_rng *rng, unsigned depth) {
  weft_value *v = take(arena, 1, sizeof *v);
  random_fill(arena, rng, v, depth, false);
  return v;
}

const weft_value *test_plain_object(weft_arena *arena, test_rng *rng, unsigned depth) {
  weft_value *v = take(arena, 1, sizeof *v);
  random_fill(arena, rng, v, depth, true);
  return v;
}

/* A random container within `root`. */
static const weft_value *random_place(test_rng *rng, const weft_value *root, test_step *steps,
                                      size_t *depth) {
  const weft_value *v = root;
  *depth = 0;
  while (*depth < 6 && test_rng_chance(rng, 60)) {
    size_t count = v->kind == WEFT_ARRAY ? v->as.array.count : v->as.object.count;
    if (count == 0) return v;
    size_t idx = test_rng_below(rng, count);
    bool is_array = v->kind == WEFT_ARRAY;
    const weft_value *child = is_array ? &v->as.array.at[idx] : &v->as.object.at[idx].value;
    if (weft_value_is_scalar(child)) return v;
    test_step step = {.is_index = is_array, .idx = idx};
    if (!is_array) step.key = v->as.object.at[idx].key;
    steps[(*depth)++] = step;
    v = child;
  }
  return v;
}

static const weft_value *mutate_array(weft_arena *arena, test_rng *rng, const weft_value *root,
                                      const weft_value *array, test_edit edit, test_step *steps) {
  size_t count = array->as.array.count, z = test_rng_below(rng, 10);
  edit.from = test_rng_below(rng, count + 1);
  if (z < 3 || count == 0) {
    edit.kind = TEST_INSERT;
    edit.value = test_plain_random(arena, rng, 1);
    return test_plain_edit(arena, root, &edit);
  }
  edit.from = test_rng_below(rng, count);
  edit.to = test_rng_below(rng, count);
  edit.kind = TEST_MOVE;
  if (z >= 5 && z < 7) return test_plain_edit(arena, root, &edit);
  steps[edit.count++] = (test_step){.is_index = true, .idx = edit.from};
  edit.kind = z < 5 ? TEST_REMOVE : TEST_SET;
  edit.value = test_plain_random(arena, rng, 1);
  return test_plain_edit(arena, root, &edit);
}

const weft_value *test_plain_mutate(weft_arena *arena, test_rng *rng, const weft_value *root) {
  for (uint64_t i = 1 + test_rng_below(rng, 3); i > 0; i--) {
    test_step steps[8];
    test_edit edit = {.steps = steps};
    const weft_value *place = random_place(rng, root, steps, &edit.count);
    if (place->kind == WEFT_ARRAY) {
      root = mutate_array(arena, rng, root, place, edit, steps);
      continue;
    }
    steps[edit.count++] = (test_step){.key = test_plain_key(rng)};
    edit.kind = test_rng_chance(rng, 30) ? TEST_REMOVE : TEST_SET;
    edit.value = test_plain_random(arena, rng, 1);
    root = test_plain_edit(arena, root, &edit);
  }
  return root;
}

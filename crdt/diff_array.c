/* The array's part of a diff: which element is which, and where each one goes.
 *
 * Elements are matched by what they hold now, never by stored ids: by the first key member that an
 * element has and that is unique among those having it, on both sides; else by content and
 * occurrence.  Containers of one kind that are left over between the same matched neighbours are
 * paired in order and edited in place; elements that have a key are not, because another key means
 * another thing.
 *
 * Content is compared in a form in which a whole double stands as the integer it equals, so that a
 * program that writes 1.0 back as 1 moves nothing; long forms stand for themselves by their hash.
 * Invariants: every element of the new array ends with an id that no other visible element of the
 * array has, removed ones included, so that no path gets two ops.  Everything is sorted, nothing is
 * compared pairwise: O(n log n) in elements.
 * Failure modes: memory, and the limits of the format. */
#include <string.h>

#include "crdt/assert.h"
#include "crdt/diff.h"
#include "crdt/position.h"
#include "crdt/sort.h"

static const weft_bytes empty = {NULL, 0};
static const uint8_t personal_key[16] = "weft-elem-k";
static const uint8_t personal_content[16] = "weft-elem-c";

enum {
  key_count = 5,
  key_none = key_count,
  element_id_len = 8,
  form_mark = 0xc1, /* no scalar starts with this byte */
  form_array_follows = 1,
  form_object_follows = 2,
  form_hash_follows = 3,
  form_len_max = 64 /* longer ones are hashed: nested arrays would hold each text many times */
};

static const char *const key_names[key_count] = {"id", "uid", "refId", "name", "key"};

typedef struct element {
  const weft_value *value;
  bool is_new;   /* of the array that shall be; else of the one shown */
  bool is_equal; /* matched by key or content, not by place */
  unsigned key;  /* idx of the key member it goes by, or key_none */
  size_t idx;
  weft_bytes text;  /* form of the key member, or of the whole element */
  weft_bytes probe; /* form of the key member being looked at */
  weft_bytes id;
  struct element *match;
} element;

typedef struct matching {
  weft_diff *diff;
  weft_child *children; /* of the array shown */
  element *old;
  size_t old_count;
  element *new;
  size_t new_count;
  const void **order; /* all elements, sorted */
  const void **scratch;
  size_t count;
} matching;

static element *element_at(const matching *m, size_t i) {
  return i < m->old_count ? &m->old[i] : &m->new[i - m->old_count];
}

/* The i-th in sorted order. */
static element *sorted_at(const matching *m, size_t i) {
  const element *e = m->order[i];
  return e->is_new ? &m->new[e->idx] : &m->old[e->idx];
}

/* --- what an element goes by --- */

static void form_scalar(weft_buf *b, const weft_value *v) {
  weft_value whole = {.kind = WEFT_INT};
  if (v->kind == WEFT_DOUBLE && v->as.real >= -0x1p63 && v->as.real < 0x1p63) {
    whole.as.integer = (int64_t)v->as.real;
    if ((double)whole.as.integer == v->as.real) v = &whole;
  }
  weft__scalar_encode(b, v);
}

static weft_err form_of(const matching *m, const weft_value *v, weft_bytes *out) {
  weft_buf *b = m->diff->edit->buf;
  weft_walk walk;
  weft__walk_init(&walk, v);
  weft__buf_reset(b);
  for (;;) {
    weft_walk_event event = weft__walk_next(&walk);
    if (event == WEFT_WALK_END || event == WEFT_WALK_TOO_DEEP) break;
    if (event == WEFT_WALK_CLOSE) continue;
    if (walk.key) weft__buf_block(b, *walk.key);
    if (event == WEFT_WALK_SCALAR) {
      form_scalar(b, walk.value);
      continue;
    }
    bool is_object = walk.value->kind == WEFT_OBJECT;
    weft__buf_u8(b, form_mark);
    weft__buf_u8(b, is_object ? form_object_follows : form_array_follows);
    weft__buf_varint(b, is_object ? walk.value->as.object.count : walk.value->as.array.count);
  }
  WEFT_TRY(weft__buf_err(b));
  weft_bytes form = weft__buf_view(b);
  if (form.len <= form_len_max) return weft__arena_copy(m->diff->edit->arena, form, out);
  uint8_t hash[2 + 32] = {form_mark, form_hash_follows};
  m->diff->edit->crypto->hash(hash + 2, 32, empty, NULL, personal_content, &form, 1);
  return weft__arena_copy(m->diff->edit->arena, weft_bytes_of(hash, sizeof hash), out);
}

static int probe_cmp(const void *ctx, const void *left, const void *right) {
  (void)ctx;
  const element *a = left, *b = right;
  return weft_bytes_cmp(a->probe, b->probe);
}

/* Collects those that have a member `key_names[key]` fit to tell elements apart, old ones first. */
static weft_err probe_key(const matching *m, unsigned key, size_t *count) {
  weft_bytes name = weft_bytes_str(key_names[key]);
  *count = 0;
  for (size_t i = 0; i < m->count; i++) {
    element *e = element_at(m, i);
    const weft_value *member = weft_value_member(e->value, name);
    if (!member || !weft_value_is_scalar(member) || member->kind == WEFT_NULL) continue;
    WEFT_TRY(form_of(m, member, &e->probe));
    m->order[(*count)++] = e;
  }
  return WEFT_OK;
}

static weft_err choose_keys(const matching *m) {
  for (unsigned key = 0; key < key_count; key++) {
    size_t count;
    WEFT_TRY(probe_key(m, key, &count));
    weft__sort(m->order, m->scratch, count, probe_cmp, NULL);
    bool unique = true;
    for (size_t i = 1; i < count && unique; i++) {
      const element *a = m->order[i - 1], *b = m->order[i];
      unique = a->is_new != b->is_new || probe_cmp(NULL, a, b) != 0;
    }
    for (size_t i = 0; i < count && unique; i++) {
      element *e = sorted_at(m, i);
      if (e->key != key_none) continue;
      e->key = key;
      e->text = e->probe;
    }
  }
  return WEFT_OK;
}

static int text_cmp(const void *ctx, const void *left, const void *right) {
  (void)ctx;
  const element *a = left, *b = right;
  if (a->key != b->key) return a->key < b->key ? -1 : 1;
  return weft_bytes_cmp(a->text, b->text);
}

/* --- matching --- */

/* The end of the run of elements that go by the same as order[from]; `*middle`: its first new one.
 */
static size_t run_end(const matching *m, size_t from, size_t *middle) {
  size_t end = from;
  *middle = from;
  while (end < m->count && text_cmp(NULL, m->order[from], m->order[end]) == 0) {
    if (!sorted_at(m, end)->is_new) *middle = end + 1;
    end++;
  }
  return end;
}

static void match_pair(element *a, element *b) {
  a->match = b;
  b->match = a;
}

static weft_err match_equal(const matching *m) {
  for (size_t i = 0; i < m->count; i++) {
    element *e = element_at(m, i);
    m->order[i] = e;
    if (e->key == key_none) WEFT_TRY(form_of(m, e->value, &e->text));
  }
  weft__sort(m->order, m->scratch, m->count, text_cmp, NULL);
  size_t middle;
  for (size_t from = 0, end; from < m->count; from = end) {
    end = run_end(m, from, &middle);
    for (size_t o = from, n = middle; o < middle && n < end; o++, n++) {
      element *old = sorted_at(m, o), *new = sorted_at(m, n);
      match_pair(old, new);
      old->is_equal = new->is_equal = true;
    }
  }
  return WEFT_OK;
}

static bool can_pair(const element *e) {
  return !e->match && e->key == key_none && !weft_value_is_scalar(e->value);
}

/* Goes through the new array; `at` are, per kind, the next old elements of the gap to look at. */
static void pair_in_gaps(const matching *m) {
  size_t at[2] = {0, 0};
  for (size_t n = 0; n < m->new_count; n++) {
    element *new = &m->new[n];
    if (new->is_equal) at[0] = at[1] = new->match->idx + 1;
    if (!can_pair(new)) continue;
    size_t *next = &at[new->value->kind == WEFT_OBJECT];
    for (; *next < m->old_count && !m->old[*next].is_equal; (*next)++) {
      element *old = &m->old[*next];
      if (!can_pair(old) || old->value->kind != new->value->kind) continue;
      match_pair(old, new);
      size_t behind = ++(*next);
      /* Order is kept: what was passed over is not paired any more. */
      if (at[0] < behind) at[0] = behind;
      if (at[1] < behind) at[1] = behind;
      break;
    }
  }
}

/* --- ids of new elements --- */

/* The ids taken, as an open table; its hash is keyed by the change, so that nobody can have
 * prepared ids that fall into one place. */
typedef struct id_set {
  const weft_delta *edit;
  weft_bytes *slots;
  size_t mask;
} id_set;

/* False when it was there already. */
static bool id_add(id_set *s, weft_bytes id) {
  uint8_t hash[16];
  s->edit->crypto->siphash128(hash, s->edit->origin->prev.b, id);
  size_t slot = 0;
  for (unsigned i = 0; i < 4; i++) slot = slot << 8 | hash[i];
  for (slot &= s->mask; s->slots[slot].len > 0; slot = (slot + 1) & s->mask) {
    if (weft_bytes_cmp(s->slots[slot], id) == 0) return false;
  }
  s->slots[slot] = id;
  return true;
}

static weft_err id_set_init(id_set *s, const matching *m) {
  size_t size = 4;
  while (size / 2 < m->count) size *= 2;
  s->edit = m->diff->edit;
  s->mask = size - 1;
  s->slots = weft__arena_zero(s->edit->arena, size, sizeof *s->slots);
  if (!s->slots) return WEFT_ENOMEM;
  for (size_t i = 0; i < m->old_count; i++) id_add(s, m->old[i].id);
  return WEFT_OK;
}

static weft_err id_of_key(const matching *m, const element *e, weft_bytes *id) {
  const weft_delta *edit = m->diff->edit;
  uint8_t hash[16];
  weft_bytes name = weft_bytes_str(key_names[e->key]);
  uint8_t name_len = (uint8_t)name.len;
  weft_bytes parts[] = {weft_bytes_of(&name_len, 1), name, e->text};
  edit->crypto->hash(hash, sizeof hash, empty, NULL, personal_key, parts, 3);
  return weft__arena_copy(edit->arena, weft_bytes_of(hash, element_id_len), id);
}

static weft_err id_of_content(const matching *m, const element *e, uint64_t occurrence,
                              weft_bytes *id) {
  const weft_delta *edit = m->diff->edit;
  uint8_t hash[16], number[8];
  for (unsigned i = 0; i < 8; i++) number[i] = (uint8_t)(occurrence >> (56 - 8 * i));
  weft_bytes parts[] = {e->text, weft_bytes_of(number, sizeof number)};
  edit->crypto->hash(hash, sizeof hash, empty, NULL, personal_content, parts, 2);
  return weft__arena_copy(edit->arena, weft_bytes_of(hash, element_id_len), id);
}

/* Ids for order[from..end), all new, which go by the same. */
static weft_err name_run(const matching *m, id_set *taken, size_t from, size_t end) {
  uint64_t occurrence = 0;
  for (size_t i = from; i < end; i++) {
    element *e = sorted_at(m, i);
    if (e->match) continue;
    if (e->key == key_none) {
      do {
        WEFT_TRY(id_of_content(m, e, occurrence++, &e->id));
      } while (!id_add(taken, e->id));
      continue;
    }
    WEFT_TRY(id_of_key(m, e, &e->id));
    /* An element whose key was edited in place still has the id of the old key. */
    while (!id_add(taken, e->id)) {
      WEFT_TRY(weft__delta_element_id(m->diff->edit, e->value, &e->id));
    }
  }
  return WEFT_OK;
}

static weft_err name_new(const matching *m) {
  id_set taken;
  WEFT_TRY(id_set_init(&taken, m));
  size_t middle;
  for (size_t from = 0, end; from < m->count; from = end) {
    end = run_end(m, from, &middle);
    WEFT_TRY(name_run(m, &taken, middle, end));
  }
  return WEFT_OK;
}

/* --- the ops --- */

static weft_err write_element(const matching *m, weft_path array, const element *e,
                              const weft_place *place) {
  weft_step step = {true, e->id};
  weft_diff_task task = {.after = e->value, .fresh = !e->match};
  if (place->moved) task.position = place->position;
  bool is_equal = e->match && weft_value_equal(e->match->value, e->value);
  if (is_equal && !place->moved) return WEFT_OK;
  WEFT_TRY(weft__delta_child(m->diff->edit, array, step, &task.path));
  if (is_equal) {
    return weft__delta_op(m->diff->edit, task.path, WEFT_OP_POSITION, empty, task.position);
  }
  if (e->match) task.before = e->match->value;
  return weft__diff_push(m->diff, task);
}

static weft_err write_all(const matching *m, weft_path array) {
  weft_delta *edit = m->diff->edit;
  for (size_t i = 0; i < m->old_count; i++) {
    if (m->old[i].match) continue;
    WEFT_TRY(weft__delta_op(edit, m->children[i].path, WEFT_OP_UNSET, empty, empty));
  }
  weft_place *places = weft__arena_zero(edit->arena, m->new_count, sizeof *places);
  if (!places) return WEFT_ENOMEM;
  for (size_t i = 0; i < m->new_count; i++) {
    element *e = &m->new[i];
    if (e->match) e->id = e->match->id;
    places[i].id = e->id;
    places[i].stands = e->match != NULL;
    if (e->match) places[i].position = m->children[e->match->idx].position;
  }
  WEFT_TRY(weft__positions_place(edit->arena, edit->origin->tag, places, m->new_count));
  for (size_t i = 0; i < m->new_count; i++) {
    WEFT_TRY(write_element(m, array, &m->new[i], &places[i]));
  }
  return WEFT_OK;
}

static weft_err matching_init(matching *m, weft_diff *d, const weft_diff_task *task) {
  weft_arena *arena = d->edit->arena;
  memset(m, 0, sizeof *m);
  m->diff = d;
  m->new_count = task->after->as.array.count;
  if (task->before) {
    WEFT_TRY(weft__doc_children(d->edit->doc, task->path, WEFT_SHAPE_ARRAY, arena, &m->children,
                                &m->old_count));
    WEFT_ASSERT(m->old_count == task->before->as.array.count);
  }
  m->count = m->old_count + m->new_count;
  m->old = weft__arena_zero(arena, m->old_count, sizeof *m->old);
  m->new = weft__arena_zero(arena, m->new_count, sizeof *m->new);
  m->order = weft__arena_zero(arena, m->count, sizeof *m->order);
  m->scratch = weft__arena_zero(arena, m->count, sizeof *m->scratch);
  if (!m->old || !m->new || !m->order || !m->scratch) return WEFT_ENOMEM;
  for (size_t i = 0; i < m->old_count; i++) {
    element e = {.value = &task->before->as.array.at[i], .key = key_none, .idx = i};
    e.id = m->children[i].step.name;
    m->old[i] = e;
  }
  for (size_t i = 0; i < m->new_count; i++) {
    element e = {.value = &task->after->as.array.at[i], .is_new = true, .key = key_none, .idx = i};
    m->new[i] = e;
  }
  return WEFT_OK;
}

weft_err weft__diff_array(weft_diff *d, const weft_diff_task *task) {
  matching m;
  WEFT_TRY(matching_init(&m, d, task));
  WEFT_TRY(choose_keys(&m));
  WEFT_TRY(match_equal(&m));
  pair_in_gaps(&m);
  WEFT_TRY(name_new(&m));
  return write_all(&m, task->path);
}

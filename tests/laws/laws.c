/* weft-laws: what must hold of the data type, over generated histories.
 *
 *   weft-laws [--histories N] [--seed S] [--mode NAME]
 *
 * Each history has a few replicas that write and exchange at random: nested values set, removed,
 * replaced, deleted and brought back, arrays edited, whole documents rewritten, several edits in
 * one change, edits on an older base; on one to three lanes, with skewed clocks, with copies of a
 * device that run beside it, or with a member who lies.  Checked all along and at the end:
 *  - a local write gives exactly the document that plain JSON editing gives, and writes nothing
 * when nothing changes;
 *  - replicas that show the same changes hold the same siblings; digests tell when they do not;
 *  - the state is the set function of what is shown, as computed by brute force;
 *  - of concurrent scalars the one with the greatest clock, log, seq and id is shown;
 *  - no value goes whose replacer had not been shown it;
 *  - every honest change is shown in the end.
 * A failure prints seed and step and aborts; `--seed S --histories 1` runs that history alone.  The
 * last line counts histories, writes and conflicts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crdt/json.h"
#include "tests/support/plain.h"
#include "tests/support/plain_doc.h"
#include "tests/support/world.h"

typedef enum mode {
  MODE_LAWS,
  MODE_SKEW,
  MODE_LANES,
  MODE_LIARS,
  MODE_HOSTILE,
  MODE_BASES,
  MODE_FORKS,
  MODE_BIG,
  MODES,
  MODE_MIXED = MODES
} mode;

static const char *const mode_names[] = {"laws",  "skew",  "lanes", "liars", "hostile",
                                         "bases", "forks", "big",   "mixed"};

/* What a person has open: a form or an editor, started earlier. */
typedef struct form {
  bool open;
  test_bits base;
  const weft_value *shown;
} form;

typedef struct run {
  test_world world;
  mode mode;
  unsigned lanes;
  form forms[TEST_REPLICAS_MAX];
  test_replica backups[4];
  size_t backup_count;
  const weft_value *deleted; /* by the edit before, in the same change */
  bool diffed;               /* the change at hand was one edit that writes differences only */
  uint64_t histories, writes, edits, conflicts, saves, forks, steps, plain;
} run;

static test_rng *rng_of(run *x) { return &x->world.rng; }

static uint64_t below(run *x, uint64_t n) { return test_rng_below(rng_of(x), n); }

static bool chance(run *x, unsigned percent) { return test_rng_chance(rng_of(x), percent); }

static const char *text_of(run *x, const weft_value *v) {
  if (!v) return "none";
  weft_buf b;
  weft__buf_init(&b, &x->world.mem, SIZE_MAX / 2);
  weft_json_write(&b, v);
  weft__buf_u8(&b, 0);
  return (const char *)b.at;
}

static void want_same(run *x, const char *what, const weft_value *want, const weft_value *got) {
  if (test_plain_same(want, got)) return;
  test_world_fail(&x->world, "%s\nwant %s\ngot  %s", what, text_of(x, want), text_of(x, got));
}

/* --- places --- */

typedef struct place {
  weft_path path;
  test_step steps[4];
  size_t count;
  const weft_value *at; /* what is shown there, NULL: nothing */
} place;

static weft_path path_key(run *x, weft_path parent, weft_bytes key) {
  test_world *w = &x->world;
  weft_step step = {false, key};
  weft_bytes out;
  weft__buf_reset(&w->buf);
  weft__buf_put(&w->buf, parent);
  weft_path_push(&w->buf, step);
  test_world_must(w, weft__buf_err(&w->buf), "path");
  test_world_must(w, weft__arena_copy(&w->arena, weft__buf_view(&w->buf), &out), "path");
  return out;
}

/* A random place in what `doc` shows, one to three steps deep. */
static place random_place(run *x, const weft_doc *doc, const weft_value *root) {
  static const size_t depths[] = {1, 1, 2, 2, 3};
  place p = {.at = root};
  for (size_t depth = depths[below(x, 5)]; depth > 0; depth--) {
    test_step *step = &p.steps[p.count];
    if (!p.at || p.at->kind != WEFT_ARRAY) {
      step->is_index = false;
      step->key = test_plain_key(rng_of(x));
      p.path = path_key(x, p.path, step->key);
    } else {
      weft_child *children;
      size_t count;
      test_world *w = &x->world;
      weft_err err =
          weft__doc_children(doc, p.path, WEFT_SHAPE_ARRAY, &w->arena, &children, &count);
      test_world_must(w, err, "children");
      if (count != p.at->as.array.count) test_world_fail(w, "children and view disagree");
      if (count == 0) break;
      step->is_index = true;
      step->idx = below(x, count);
      p.path = children[step->idx].path;
    }
    p.at = test_plain_at(p.at, step, 1);
    p.count++;
  }
  return p;
}

/* --- edits --- */

/* One edit as done, and what plain JSON says must come out. */
typedef struct done {
  const weft_value *want;
  bool idle_if_same; /* nothing may be written when nothing changes */
  bool exact;        /* `want` is known */
} done;

static done edit_plainly(run *x, const weft_value *before, const test_edit *edit) {
  done d = {test_plain_edit(&x->world.arena, before, edit), false, true};
  return d;
}

static done edit_root(run *x, weft_writer *writer, const weft_value *value) {
  weft_path root = {NULL, 0};
  test_world_must(&x->world, weft__write_set(writer, root, value, false), "set root");
  done d = {value, true, true};
  return d;
}

static done edit_remove(run *x, weft_writer *writer, const weft_value *before, const place *p) {
  test_edit edit = {.kind = TEST_REMOVE, .steps = p->steps, .count = p->count};
  test_world_must(&x->world, weft__write_unset(writer, p->path), "unset");
  done d = edit_plainly(x, before, &edit);
  return d;
}

static done edit_insert(run *x, weft_writer *writer, const weft_value *before, const place *p) {
  size_t count = p->at ? p->at->as.array.count : 0;
  test_edit edit = {.kind = TEST_INSERT, .steps = p->steps, .count = p->count};
  edit.from = below(x, count + 1);
  edit.value = test_plain_random(&x->world.arena, rng_of(x), 1);
  weft_path made;
  weft_err err = weft__write_insert(writer, p->path, edit.from, edit.value, &made);
  test_world_must(&x->world, err, "insert");
  if (weft_path_check(made) != WEFT_OK) test_world_fail(&x->world, "no path for the element");
  return edit_plainly(x, before, &edit);
}

static done edit_move(run *x, weft_writer *writer, const weft_value *before, const place *p) {
  test_edit edit = {.kind = TEST_MOVE, .steps = p->steps, .count = p->count};
  edit.from = below(x, p->at->as.array.count);
  edit.to = below(x, p->at->as.array.count);
  test_world_must(&x->world, weft__write_move(writer, p->path, edit.from, edit.to), "move");
  return edit_plainly(x, before, &edit);
}

static done edit_merge(run *x, weft_writer *writer, const weft_value *before, const place *p) {
  test_edit edit = {.kind = TEST_MERGE, .steps = p->steps, .count = p->count};
  edit.value = test_plain_random(&x->world.arena, rng_of(x), 0);
  test_world_must(&x->world, weft__write_merge(writer, p->path, edit.value), "merge");
  done d = edit_plainly(x, before, &edit);
  d.idle_if_same = true;
  return d;
}

static done edit_set(run *x, weft_writer *writer, const weft_value *before, const place *p) {
  test_edit edit = {.kind = TEST_SET, .steps = p->steps, .count = p->count};
  bool restamp = chance(x, 30);
  edit.value = test_plain_random(&x->world.arena, rng_of(x), 0);
  test_world_must(&x->world, weft__write_set(writer, p->path, edit.value, restamp), "set");
  done d = edit_plainly(x, before, &edit);
  d.idle_if_same = !restamp;
  return d;
}

static done edit_delete(run *x, weft_writer *writer, const weft_value *before) {
  weft_path root = {NULL, 0};
  test_world_must(&x->world, weft__write_unset(writer, root), "delete");
  if (before) x->deleted = before;
  done d = {NULL, !before, true};
  return d;
}

static done edit_undelete(run *x, weft_writer *writer, const weft_value *before) {
  test_world_must(&x->world, weft__write_undelete(writer), "undelete");
  const weft_value *after = test_view(&x->world, weft__writer_doc(writer));
  if (x->deleted) want_same(x, "undelete of what this change deleted", x->deleted, after);
  done d = {after, false, true};
  if (before) want_same(x, "undelete of what is not deleted", before, after);
  return d;
}

/* Settles one conflict by what is shown: it must go, and nothing else may change. */
static bool edit_resolve(run *x, weft_writer *writer, const weft_value *before, done *d) {
  test_world *w = &x->world;
  weft_conflict *list;
  size_t count;
  weft_path root = {NULL, 0};
  const weft_doc *doc = weft__writer_doc(writer);
  test_world_must(w, weft__doc_conflicts(doc, root, &w->arena, &list, &count), "conflicts");
  if (count == 0) return false;
  const weft_conflict *c = &list[below(x, count)];
  if (!c->visible || (c->path.len == 0 && c->shape == WEFT_SHAPE_ARRAY)) return false;
  weft_path path = c->path;
  if (c->shape == WEFT_SHAPE_SCALAR) {
    weft_value shown;
    test_world_must(w, weft__doc_render(doc, path, &w->arena, &shown), "render");
    test_world_must(w, weft__write_set(writer, path, &shown, true), "resolve");
  } else {
    test_world_must(w, weft__write_keep(writer, path), "keep");
  }
  doc = weft__writer_doc(writer);
  test_world_must(w, weft__doc_conflicts(doc, path, &w->arena, &list, &count), "conflicts");
  for (size_t i = 0; i < count; i++) {
    if (weft_bytes_cmp(list[i].path, path) == 0) test_world_fail(w, "a resolved conflict stands");
  }
  d->want = before;
  d->exact = true;
  return true;
}

/* Does one random edit to what `writer` shows, which is `before`. */
static done random_edit(run *x, weft_writer *writer, const weft_value *before) {
  weft_arena *arena = &x->world.arena;
  uint64_t z = below(x, 100);
  done d = {NULL, false, false};
  if (before && before->kind == WEFT_ARRAY) {
    return edit_root(x, writer, test_plain_object(arena, rng_of(x), 0));
  }
  place p = random_place(x, weft__writer_doc(writer), before);
  bool is_array = p.at && p.at->kind == WEFT_ARRAY;
  if (z < 15 && p.at) return edit_remove(x, writer, before, &p);
  if (z < 33 && is_array) return edit_insert(x, writer, before, &p);
  if (z < 44 && is_array && p.at->as.array.count > 1) return edit_move(x, writer, before, &p);
  if (z < 58 && before) {
    return edit_root(x, writer, test_plain_mutate(arena, rng_of(x), before));
  }
  if (z < 61) return edit_delete(x, writer, before);
  if (z < 64 || (x->deleted && z < 85)) return edit_undelete(x, writer, before);
  if (z < 70) return edit_merge(x, writer, before, &p);
  if (z < 76 && edit_resolve(x, writer, before, &d)) return d;
  if (z < 80 && !p.at) return edit_insert(x, writer, before, &p);
  if (z < 83) return edit_root(x, writer, test_plain_object(arena, rng_of(x), 0));
  return edit_set(x, writer, before, &p);
}

/* No scalar is written where the same is shown. */
static void check_not_restamped(run *x, const weft_doc *doc, weft_writer *writer) {
  const weft_op *ops;
  size_t count;
  test_world *w = &x->world;
  weft__writer_ops(writer, &ops, &count);
  for (size_t i = 0; i < count; i++) {
    bool visible;
    weft_value was, is;
    if (ops[i].kind != WEFT_OP_SCALAR) continue;
    test_world_must(w, weft__doc_visible(doc, ops[i].path, &visible), "visible");
    if (!visible) continue;
    test_world_must(w, weft__doc_render(doc, ops[i].path, &w->arena, &was), "render");
    test_world_must(w, weft__scalar_decode(ops[i].value, &is), "decode");
    if (weft_value_equal(&was, &is)) test_world_fail(w, "an unchanged field is written again");
  }
}

/* A document that calls itself plain answers as its registers do. */
static void check_plain(run *x, weft_writer *writer) {
  weft_path where;
  weft_doc *copy;
  const weft_doc *doc = weft__writer_doc(writer);
  if (!weft__doc_is_plain(doc)) return;
  test_world_must(&x->world, weft__doc_new(&copy, weft__doc_mem(doc), weft__doc_lineage(doc)),
                  "copy");
  test_world_must(&x->world, weft__doc_copy(copy, doc), "copy");
  if (!test_doc_plain(copy)) test_world_fail(&x->world, "the writer's document is not plain");
  if (test_doc_unlike(copy, &where)) test_world_fail(&x->world, "a plain document differs");
  weft__doc_free(copy);
  x->plain++;
}

/* Makes one change of one to four edits on `doc`; gives the document wanted. */
static const weft_value *random_edits(run *x, weft_writer *writer, const weft_doc *doc,
                                      const weft_value *before) {
  uint64_t edits = chance(x, 75) ? 1 : 2 + below(x, 3);
  const weft_value *now = before;
  x->deleted = NULL;
  for (uint64_t i = 0; i < edits; i++) {
    const weft_value *deleted = x->deleted;
    done d = random_edit(x, writer, now);
    if (deleted == x->deleted) x->deleted = NULL;
    const weft_op *ops;
    size_t count;
    weft__writer_ops(writer, &ops, &count);
    if (i == 0 && d.idle_if_same && test_plain_same(before, d.want) && count > 0) {
      test_world_fail(&x->world, "%zu ops written for nothing", count);
    }
    if (i == 0 && d.idle_if_same) check_not_restamped(x, doc, writer);
    x->diffed = edits == 1 && d.idle_if_same;
    now = d.want;
    x->edits++;
    check_plain(x, writer);
    if (i + 1 < edits || chance(x, 20)) {
      want_same(x, "in the writer", now, test_view(&x->world, weft__writer_doc(writer)));
    }
  }
  return now;
}

/* Where an honest change wrote a value, nothing stands in conflict any more. */
static void check_settled(run *x, const weft_doc *doc, const test_change *c) {
  test_world *w = &x->world;
  weft_conflict *list;
  size_t count;
  weft_bytes root = {NULL, 0};
  if (!c) return;
  test_world_must(w, weft__doc_conflicts(doc, root, &w->arena, &list, &count), "conflicts");
  for (size_t i = 0; i < count; i++) {
    for (size_t k = 0; k < c->op_count; k++) {
      bool here = weft_bytes_cmp(list[i].path, c->ops[k].path) == 0;
      if (here && c->ops[k].kind != WEFT_OP_POSITION) {
        test_world_fail(w, "a change leaves a conflict where it wrote");
      }
    }
  }
}

/* --- steps --- */

static void step_write(run *x, test_replica *r) {
  const weft_value *before = test_view(&x->world, r->doc);
  unsigned lane = (unsigned)below(x, x->lanes);
  weft__doc_set_plain(r->doc, test_doc_plain(r->doc));
  weft_writer *writer = test_replica_writer(r, r->doc, lane);
  const weft_value *want = random_edits(x, writer, r->doc, before);
  bool lies = x->world.lie && r->device == 0;
  const test_change *c = test_replica_commit(r, writer, lane, NULL, NULL);
  x->writes++;
  if (lies) return;
  want_same(x, "a local write", want, test_view(&x->world, r->doc));
  if (chance(x, 30)) check_settled(x, r->doc, c);
}

static const weft_value *member(const weft_value *object, weft_bytes key) {
  return object && object->kind == WEFT_OBJECT ? weft_value_member(object, key) : NULL;
}

/* Members that the person did not touch are as they were just before the save. */
static void check_untouched(run *x, const weft_value *old, const weft_value *wanted,
                            const weft_value *now, const weft_value *after) {
  bool objects = old && wanted && now && after && old->kind == WEFT_OBJECT &&
                 wanted->kind == WEFT_OBJECT && now->kind == WEFT_OBJECT &&
                 after->kind == WEFT_OBJECT;
  if (!objects) return;
  for (size_t i = 0; i < 3; i++) {
    weft_bytes key = weft_bytes_of(&"xyz"[i], 1);
    if (!test_plain_same(member(old, key), member(wanted, key))) continue;
    want_same(x, "a member that the save did not touch", member(now, key), member(after, key));
  }
}

/* True when `op` touches what `own`, a write of one's own that the base lacks, wrote. */
static bool meets(const weft_op *op, const weft_op *own, bool own_position) {
  bool here = weft_bytes_cmp(op->path, own->path) == 0;
  bool under = weft_path_under(op->path, own->path);
  bool fresh = op->kind == WEFT_OP_FRESH_OBJECT || op->kind == WEFT_OP_FRESH_ARRAY;
  if (own_position) return ((here || under) && fresh) || (here && op->position.len > 0);
  if (weft_path_under(own->path, op->path)) return true;
  return (here || under) && op->kind != WEFT_OP_POSITION;
}

static bool stands(const weft_sibling *list, size_t count, const test_replica *r,
                   const test_change *c) {
  for (size_t i = 0; i < count; i++) {
    if (list[i].dot.log == (c->branch ^ r->mask) && list[i].dot.seq == c->seq) return true;
  }
  return false;
}

/* Whether the writer's change must be refused: this device has written there since. */
static bool was_changed_here(run *x, const test_replica *r, const test_bits *base,
                             const weft_writer *writer) {
  const weft_op *ops;
  size_t count;
  weft__writer_ops(writer, &ops, &count);
  for (size_t i = 0; i < x->world.change_count; i++) {
    const test_change *c = x->world.changes[i];
    if (c->device != r->device || test_bits_has(base, i) || !test_bits_has(&r->shown, i)) continue;
    for (size_t k = 0; k < c->op_count; k++) {
      const weft_register *reg = weft__doc_find(r->doc, c->ops[k].path);
      bool value = reg && stands(reg->values, reg->value_count, r, c);
      bool position = reg && stands(reg->positions, reg->position_count, r, c);
      for (size_t j = 0; j < count; j++) {
        if (value && meets(&ops[j], &c->ops[k], false)) return true;
        if (position && meets(&ops[j], &c->ops[k], true)) return true;
      }
    }
  }
  return false;
}

/* Saves a form that was opened earlier. */
static void step_save(run *x, test_replica *r, form *f) {
  test_world *w = &x->world;
  unsigned lane = (unsigned)below(x, x->lanes);
  weft_doc *doc = test_replica_at(r, &f->base);
  want_same(x, "the document at the base", f->shown, test_view(w, doc));
  weft__doc_set_plain(doc, test_doc_plain(doc));
  weft_writer *writer = test_replica_writer(r, doc, lane);
  const weft_value *want = random_edits(x, writer, doc, f->shown);
  const weft_value *now = test_view(w, r->doc);
  bool refuse = was_changed_here(x, r, &f->base, writer);
  size_t refused = w->refused;
  test_change *c = test_replica_commit(r, writer, lane, &f->base, doc);
  if (refuse != (w->refused > refused)) {
    test_world_fail(w, "a save that %s refused", refuse ? "must be" : "must not be");
  }
  f->open = false;
  if (c) {
    x->saves++;
    x->writes++;
    test_replica_apply(r, doc, c);
    want_same(x, "a write on a base", want, test_view(w, doc));
    if (x->diffed) check_untouched(x, f->shown, want, now, test_view(w, r->doc));
  }
  weft__doc_free(doc);
}

static void step_form(run *x, test_replica *r) {
  form *f = &x->forms[r - x->world.replicas];
  if (!f->open && chance(x, 40)) {
    f->open = true;
    f->base = r->shown;
    f->shown = test_view(&x->world, r->doc);
  } else if (f->open && chance(x, 60)) {
    step_save(x, r, f);
  } else {
    step_write(x, r);
  }
}

/* A backup is taken, a backup starts to run, a copy notices that it is one. */
static void step_fork(run *x, test_replica *r) {
  test_world *w = &x->world;
  if (chance(x, 8) && x->backup_count < 4) x->backups[x->backup_count++] = w->replicas[0];
  if (x->backup_count > 0 && chance(x, 8) && w->count < TEST_REPLICAS_MAX) {
    test_replica_clone(&x->backups[below(x, x->backup_count)]);
    x->forks++;
  }
  if (r->device != 0) return;
  for (size_t i = 0; i < w->change_count; i++) {
    const test_change *c = w->changes[i];
    if (c->device != 0 || !test_bits_has(&r->held, i) || test_bits_has(&r->written, i)) continue;
    if (chance(x, 70)) test_replica_reincarnate(r);
    test_bits_join(&r->written, &r->held);
    return;
  }
}

/* Equal sets mean equal states; digests differ exactly when states do. */
static void check_pair(run *x, test_replica *a, test_replica *b) {
  bool shown = test_bits_same(&a->shown, &b->shown), state = test_same_state(a, b);
  weft_digest da = test_replica_digest(a), db = test_replica_digest(b);
  bool digest = da.high == db.high && da.low == db.low;
  if (shown && !state) test_world_fail(&x->world, "same changes shown, different states");
  if (state && !digest) test_world_fail(&x->world, "same states, different digests");
  if (!state && digest && x->mode != MODE_FORKS) {
    test_world_fail(&x->world, "different states, same digests");
  }
}

static void step(run *x) {
  test_world *w = &x->world;
  test_replica *r = &w->replicas[below(x, w->count)];
  if (x->mode == MODE_FORKS) step_fork(x, r);
  if (chance(x, 58)) {
    if (x->mode == MODE_BASES) {
      step_form(x, r);
    } else {
      step_write(x, r);
    }
    return;
  }
  test_replica *other = &w->replicas[below(x, w->count)];
  if (other == r) return;
  test_sync(other, r, true);
  if (chance(x, 25)) check_pair(x, r, other);
}

/* --- liars --- */

static bool has_op(const test_change *c, weft_path path) {
  for (size_t i = 0; i < c->op_count; i++) {
    if (weft_bytes_cmp(c->ops[i].path, path) == 0) return true;
  }
  return false;
}

/* Claims that are missing, too old, of what was not shown, or of what does not exist. */
static void lie_claims(test_world *w, test_change *c) {
  uint64_t z = test_rng_below(&w->rng, 10);
  size_t i = c->claim_count ? test_rng_below(&w->rng, c->claim_count) : 0;
  if (z < 3 && c->claim_count > 0) c->claims[i] = c->claims[--c->claim_count];
  if (z == 3 && test_rng_chance(&w->rng, 30)) c->claims[c->claim_count++] = NULL;
  if (z == 7 && w->change_count > 0) { /* of something it may not have been shown */
    c->claims[c->claim_count++] = w->changes[test_rng_below(&w->rng, w->change_count)];
  }
  if (z >= 4 && z < 7 && c->claim_count > 0 && c->claims[i]->prev) {
    c->claims[i] = c->claims[i]->prev;
  }
}

static weft_path hostile_path(test_world *w) {
  const weft_doc *doc = w->replicas[0].doc;
  const weft_register *reg = weft__doc_seek(doc, weft_bytes_of(NULL, 0));
  for (uint64_t i = test_rng_below(&w->rng, 8); reg && i > 0; i--) {
    const weft_register *next = weft__doc_next(doc, reg);
    if (next) reg = next;
  }
  weft__buf_reset(&w->buf);
  if (reg) weft__buf_put(&w->buf, reg->path);
  if (test_rng_chance(&w->rng, 50)) {
    weft_step step = {test_rng_chance(&w->rng, 60), weft_bytes_of("e", 1)};
    if (!step.element) step.name = test_plain_key(&w->rng);
    weft_path_push(&w->buf, step);
  }
  weft_bytes path;
  test_world_must(w, weft__buf_err(&w->buf), "path");
  test_world_must(w, weft__arena_copy(&w->arena, weft__buf_view(&w->buf), &path), "path");
  return path;
}

/* An op that the format allows and no honest writer makes. */
static void lie_op(test_world *w, test_change *c) {
  static const uint8_t scalar[] = {7};
  weft_op op = {.doc = w->name, .path = hostile_path(w)};
  op.kind = (weft_op_kind)(1 + test_rng_below(&w->rng, 7));
  weft_step last = {false, {NULL, 0}};
  bool root = !weft_path_last(op.path, &last);
  bool root_kind =
      op.kind == WEFT_OP_UNSET || op.kind == WEFT_OP_MARK_OBJECT || op.kind == WEFT_OP_FRESH_OBJECT;
  if (has_op(c, op.path) || (root && !root_kind)) return;
  if (op.kind == WEFT_OP_POSITION && !last.element) return;
  if (op.kind == WEFT_OP_SCALAR) op.value = weft_bytes_of(scalar, 1);
  if (op.kind == WEFT_OP_POSITION || (last.element && op.kind != WEFT_OP_UNSET)) {
    uint8_t bytes[WEFT_POSITION_LEN_MAX];
    size_t len = 1 + test_rng_below(&w->rng, test_rng_chance(&w->rng, 80) ? 6 : sizeof bytes);
    test_rng_fill(&w->rng, bytes, len);
    if (test_rng_chance(&w->rng, 30)) bytes[0] = 0xff;
    op.position = weft_bytes_of(bytes, len);
    test_world_must(w, weft__arena_copy(&w->arena, op.position, &op.position), "position");
  }
  weft_op *ops = weft__arena_zero(&w->arena, c->op_count + 1, sizeof *ops);
  if (!ops) abort();
  memcpy(ops, c->ops, c->op_count * sizeof *ops);
  ops[c->op_count++] = op;
  c->ops = ops;
}

static void lie_hostile(test_world *w, test_change *c) {
  if (test_rng_chance(&w->rng, 30)) lie_claims(w, c);
  if (test_rng_chance(&w->rng, 70)) lie_op(w, c);
}

/* --- a history --- */

/* Changing any one field of a sibling changes its digest term. */
static void check_digest_fields(run *x, test_replica *r) {
  test_world *w = &x->world;
  const weft_register *reg = weft__doc_seek(r->doc, weft_bytes_of(NULL, 0));
  if (!reg || reg->value_count == 0) return;
  weft_id log = w->branches[0]->log, other = log;
  weft_sibling s[6];
  weft_path path[6] = {reg->path, reg->path, reg->path,
                       reg->path, reg->path, path_key(x, reg->path, weft_bytes_of("q", 1))};
  for (size_t i = 0; i < 6; i++) s[i] = reg->values[0];
  other.b[31] ^= 1;
  s[1].dot.seq++;
  s[2].hlc++;
  s[3].kind = s[3].kind == WEFT_OP_UNSET ? WEFT_OP_MARK_OBJECT : WEFT_OP_UNSET;
  s[4].value = weft_bytes_of("\x2a\x2a", 2);
  weft_digest first = {0, 0}, term;
  for (size_t i = 0; i < 8; i++) {
    const weft_sibling *one = i < 6 ? &s[i] : &s[0];
    weft_bytes name = i == 7 ? weft_bytes_str("templates/two") : w->name;
    weft_err err = weft__digest_term(w->crypto, &w->key, &w->buf, name, path[i < 6 ? i : 0],
                                     i == 6 ? &other : &log, one, &term);
    test_world_must(w, err, "digest");
    if (i == 0) {
      first = term;
    } else if (term.high == first.high && term.low == first.low) {
      test_world_fail(w, "the digest overlooks field %zu", i);
    }
  }
}

static void check_end(run *x) {
  test_world *w = &x->world;
  test_replica *first = &w->replicas[0];
  test_sync_all(w);
  const weft_value *view = test_view(w, first->doc);
  for (size_t i = 1; i < w->count; i++) {
    test_replica *r = &w->replicas[i];
    if (!test_bits_same(&r->shown, &first->shown)) test_world_fail(w, "shown sets differ");
    check_pair(x, first, r);
    want_same(x, "views of equal states", view, test_view(w, r->doc));
  }
  for (size_t i = 0; i < w->change_count; i++) {
    if (w->lie && w->changes[i]->device == 0) continue;
    if (!test_bits_has(&first->shown, i)) test_world_fail(w, "honest change %zu is blocked", i);
  }
  test_check_brute(first);
  test_check_winners(first);
  if (!w->lie) test_check_nothing_lost(first);
  check_digest_fields(x, first);
  weft_conflict *list;
  size_t count;
  weft_err err = weft__doc_conflicts(first->doc, weft_bytes_of(NULL, 0), &w->arena, &list, &count);
  test_world_must(w, err, "conflicts");
  x->conflicts += count;
}

/* One history of twenty in a mixed run is big. */
static mode mode_of(uint64_t seed) {
  static const mode mix[] = {MODE_LAWS,    MODE_LAWS,  MODE_SKEW,  MODE_LANES, MODE_LIARS,
                             MODE_HOSTILE, MODE_BASES, MODE_BASES, MODE_FORKS, MODE_LAWS};
  if (seed % 20 == 19) return MODE_BIG;
  return mix[seed % 10];
}

/* All begin with one document, with arrays in it. */
static void begin_together(run *x) {
  static const char *const documents[] = {
      "{\"x\":[1,2,3,2],\"y\":{\"x\":[\"p\",\"q\"]}}",
      "{\"x\":[{\"id\":1,\"v\":5},{\"id\":2}],\"z\":1}",
      "{\"x\":[[1,2],[3]],\"y\":[{\"x\":1,\"y\":2},{\"x\":2}]}",
  };
  test_world *w = &x->world;
  test_import(&w->replicas[0], documents[below(x, 3)]);
  for (size_t i = 1; i < w->count; i++) test_sync(&w->replicas[0], &w->replicas[i], false);
}

static void history(run *x, uint64_t seed, mode wanted) {
  test_world *w = &x->world;
  test_rng dice = test_rng_of(seed * UINT64_C(0x2545f4914f6cdd1d) + 1);
  x->mode = wanted == MODE_MIXED ? mode_of(seed) : wanted;
  bool big = x->mode == MODE_BIG;
  size_t replicas = 2 + test_rng_below(&dice, 3);
  static const unsigned lengths[] = {10, 12, 16, 20, 30, 40};
  unsigned steps = lengths[test_rng_below(&dice, 6)];
  if (big) {
    replicas = 4 + test_rng_below(&dice, 3);
    steps = 50 + (unsigned)test_rng_below(&dice, 40);
  }
  if (x->mode == MODE_FORKS) steps += 15;
  test_world_reset(w, seed, replicas);
  x->lanes = x->mode == MODE_LANES || (x->mode != MODE_LAWS && test_rng_chance(&dice, 30)) ? 3 : 1;
  x->backup_count = 0;
  memset(x->forms, 0, sizeof x->forms);
  if (x->mode == MODE_SKEW) w->replicas[0].skew = 10000000;
  if (x->mode == MODE_LIARS) w->lie = lie_claims;
  if (x->mode == MODE_HOSTILE) w->lie = lie_hostile;
  w->encoded = !w->lie && seed % 4 == 0;
  if (test_rng_chance(&dice, 60)) begin_together(x);
  if (big) x->mode = test_rng_chance(&dice, 50) ? MODE_BASES : MODE_LAWS;
  for (w->step = 0; w->step < steps; w->step++) step(x);
  x->steps += steps;
  check_end(x);
  x->histories++;
}

static uint64_t number_arg(const char *text) {
  char *end;
  unsigned long long v = strtoull(text, &end, 10);
  if (!*text || *end) {
    fprintf(stderr, "weft-laws: not a number: %s\n", text);
    exit(2);
  }
  return v;
}

static mode mode_arg(const char *text) {
  for (size_t i = 0; i < sizeof mode_names / sizeof *mode_names; i++) {
    if (strcmp(text, mode_names[i]) == 0) return (mode)i;
  }
  fprintf(stderr, "weft-laws: no such mode: %s\n", text);
  exit(2);
}

int main(int argc, char **argv) {
  static run x;
  const char *wanted = getenv("WEFT_LAWS_HISTORIES");
  uint64_t histories = wanted && *wanted ? number_arg(wanted) : 5000, seed = 1;
  mode m = MODE_MIXED;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--histories") == 0) {
      histories = number_arg(argv[i + 1]);
    } else if (strcmp(argv[i], "--seed") == 0) {
      seed = number_arg(argv[i + 1]);
    } else if (strcmp(argv[i], "--mode") == 0) {
      m = mode_arg(argv[i + 1]);
    } else {
      fprintf(stderr, "usage: weft-laws [--histories N] [--seed S] [--mode NAME]\n");
      return 2;
    }
  }
  test_world_init(&x.world);
  for (uint64_t i = 0; i < histories; i++) history(&x, seed + i, m);
  test_world_free(&x.world);
  printf("laws: mode %s, %llu histories from seed %llu, %llu writes, %llu edits (%llu plain), %llu "
         "saves "
         "on a base (%zu refused), %llu copies of a device, %llu conflicts seen: all laws hold\n",
         mode_names[m], (unsigned long long)x.histories, (unsigned long long)seed,
         (unsigned long long)x.writes, (unsigned long long)x.edits, (unsigned long long)x.plain,
         (unsigned long long)x.saves, x.world.refused, (unsigned long long)x.forks,
         (unsigned long long)x.conflicts);
  return 0;
}

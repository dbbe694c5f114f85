/* The images that a power cut could have left.
 *
 * Invariants: while no image is laid, `now` is what is certain after `done` events.  The file under
 * `big` in the folder differs from `now` only in the ranges of `dirty`. */
#include "tests/disk/cuts.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct cut_undo {
  uint32_t file;
  size_t offset, len, at;
} cut_undo;

typedef struct cut_range {
  size_t offset, len;
} cut_range;

static void must(bool good, const char *what) {
  if (good) return;
  perror(what);
  abort();
}

/* --- hashes --- */

static uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

bool seen_add(seen *s, uint64_t hash) {
  if (hash == 0) hash = 1;
  if (2 * (s->count + 1) > s->cap) {
    seen wide = {NULL, 0, s->cap ? 2 * s->cap : 1024};
    wide.at = calloc(wide.cap, sizeof *wide.at);
    must(wide.at != NULL, "memory");
    for (size_t i = 0; i < s->cap; i++) {
      if (s->at[i]) seen_add(&wide, s->at[i]);
    }
    free(s->at);
    *s = wide;
  }
  size_t i = (size_t)mix(hash) & (s->cap - 1);
  while (s->at[i] && s->at[i] != hash) i = (i + 1) & (s->cap - 1);
  if (s->at[i]) return false;
  s->at[i] = hash;
  s->count++;
  return true;
}

void seen_free(seen *s) {
  free(s->at);
  memset(s, 0, sizeof *s);
}

/* Zeros add nothing, so that a file made longer by zeros differs in its length alone. */
static uint64_t sector_sum(const uint8_t *b, size_t sector) {
  uint64_t sum = 0;
  for (size_t i = 0; i < CUT_SECTOR; i += 8) {
    uint64_t word;
    memcpy(&word, b + i, 8);
    if (word) sum += mix(word + mix(sector * 64 + i / 8 + 1));
  }
  return sum;
}

/* The sum over the sectors that a range touches.  Behind a file's end its room holds zeros. */
static uint64_t range_sum(const image_file *f, size_t offset, size_t len) {
  uint64_t sum = 0;
  if (len == 0) return 0;
  for (size_t s = offset / CUT_SECTOR; s * CUT_SECTOR < offset + len; s++) {
    sum += sector_sum(f->b + s * CUT_SECTOR, s);
  }
  return sum;
}

static uint64_t image_hash(const image *m) {
  uint64_t hash = 0;
  for (size_t i = 0; i < m->name_count; i++) {
    const image_file *f = &m->files[m->names[i].file];
    uint64_t h = 1469598103934665603u;
    for (const char *c = m->names[i].name; *c; c++) h = (h ^ (uint8_t)*c) * 1099511628211u;
    hash += mix(h ^ mix(f->sum + mix(f->len)));
  }
  return hash;
}

/* --- images --- */

static void file_room(image_file *f, size_t len) {
  if (len <= f->cap) return;
  size_t had = f->cap;
  f->cap = (2 * len + 4096) / CUT_SECTOR * CUT_SECTOR;
  f->b = realloc(f->b, f->cap);
  must(f->b != NULL, "memory");
  memset(f->b + had, 0, f->cap - had);
}

static void file_put(image_file *f, size_t offset, const uint8_t *at, size_t len) {
  file_room(f, offset + len);
  f->sum -= range_sum(f, offset, len);
  memcpy(f->b + offset, at, len);
  if (offset + len > f->len) f->len = offset + len;
  f->sum += range_sum(f, offset, len);
}

static void file_length(image_file *f, size_t len) {
  file_room(f, len);
  if (len < f->len) {
    f->sum -= range_sum(f, len, f->len - len);
    memset(f->b + len, 0, f->len - len);
    f->sum += range_sum(f, len, f->len - len);
  }
  f->len = len;
}

void image_free(image *m) {
  for (size_t i = 0; i < TAPE_FILES_MAX; i++) free(m->files[i].b);
  memset(m, 0, sizeof *m);
}

static size_t name_find(const image *m, const char *name) {
  size_t i = 0;
  while (i < m->name_count && strcmp(m->names[i].name, name) != 0) i++;
  return i;
}

const image_file *image_find(const image *m, const char *name) {
  size_t i = name_find(m, name);
  return i < m->name_count ? &m->files[m->names[i].file] : NULL;
}

static void name_put(image *m, const char *name, uint32_t file) {
  size_t i = name_find(m, name);
  if (i == m->name_count) must(++m->name_count <= TAPE_NAMES_MAX, "names");
  snprintf(m->names[i].name, TAPE_NAME_LEN, "%s", name);
  m->names[i].file = file;
}

static void name_drop(image *m, const char *name) {
  size_t i = name_find(m, name);
  if (i < m->name_count) m->names[i] = m->names[--m->name_count];
}

static void name_apply(image *m, const tape *t, const tape_event *e) {
  switch (e->kind) {
  case TAPE_CREATE: name_put(m, t->names[e->name], e->file); break;
  case TAPE_RENAME:
    name_put(m, t->names[e->to], e->file);
    name_drop(m, t->names[e->name]);
    break;
  case TAPE_REMOVE: name_drop(m, t->names[e->name]); break;
  case TAPE_WRITE:
  case TAPE_DURABLE_WRITE:
  case TAPE_LENGTH:
  case TAPE_SYNC:
  case TAPE_FOLDER_SYNC:
  case TAPE_MARK: break;
  }
}

static bool is_name(const tape_event *e) {
  return e->kind == TAPE_CREATE || e->kind == TAPE_RENAME || e->kind == TAPE_REMOVE;
}

/* --- what becomes certain --- */

static void dirty_add(cuts *c, size_t offset, size_t len) {
  c->dirty = tape_wider(c->dirty, &c->dirty_cap, c->dirty_count + 1, sizeof *c->dirty);
  c->dirty[c->dirty_count++] = (cut_range){offset, len};
}

static void bytes_apply(cuts *c, const tape_event *e, size_t from, size_t to) {
  if (to > e->len) to = e->len;
  if (from >= to) return;
  file_put(&c->now.files[e->file], e->offset + from, c->t->bytes + e->at + from, to - from);
  if (e->file == c->laid) dirty_add(c, e->offset + from, to - from);
}

static void make_certain(cuts *c, const tape_event *e) {
  if (is_name(e))
    name_apply(&c->now, c->t, e);
  else if (e->kind == TAPE_LENGTH)
    file_length(&c->now.files[e->file], e->offset);
  else
    bytes_apply(c, e, 0, e->len);
}

/* Whether a sync makes a pending event certain. */
static bool covers(const cuts *c, const tape_event *sync, const tape_event *e) {
  if (sync->kind == TAPE_SYNC) return !is_name(e) && e->file == sync->file;
  if (!is_name(e)) return false;
  const char *folder = c->t->names[sync->name], *name = c->t->names[e->name];
  size_t len = strlen(folder);
  const char *rest = len == 0 ? name : name + len + 1;
  if (len > 0 && (strncmp(name, folder, len) != 0 || name[len] != '/')) return false;
  return strchr(rest, '/') == NULL;
}

static void settle(cuts *c, const tape_event *sync) {
  size_t left = 0;
  for (size_t i = 0; i < c->pending_count; i++) {
    const tape_event *e = &c->t->events[c->pending[i]];
    if (covers(c, sync, e))
      make_certain(c, e);
    else
      c->pending[left++] = c->pending[i];
  }
  c->pending_count = left;
}

/* A write that syncs by itself is in flight right behind its own event, and certain later. */
static void land(cuts *c) {
  size_t left = 0;
  for (size_t i = 0; i < c->pending_count; i++) {
    const tape_event *e = &c->t->events[c->pending[i]];
    if (e->kind == TAPE_DURABLE_WRITE)
      make_certain(c, e);
    else
      c->pending[left++] = c->pending[i];
  }
  c->pending_count = left;
}

static void step(cuts *c) {
  const tape_event *e = &c->t->events[c->done];
  land(c);
  if (e->kind == TAPE_SYNC || e->kind == TAPE_FOLDER_SYNC) {
    settle(c, e);
  } else if (e->kind != TAPE_MARK) {
    c->pending = tape_wider(c->pending, &c->pending_cap, c->pending_count + 1, sizeof *c->pending);
    c->pending[c->pending_count++] = c->done;
  }
  c->done++;
}

/* --- one image --- */

static void undo_note(cuts *c, uint32_t file, size_t offset, size_t len) {
  image_file *f = &c->now.files[file];
  file_room(f, offset + len);
  c->undo = tape_wider(c->undo, &c->undo_cap, c->undo_count + 1, sizeof *c->undo);
  c->undo[c->undo_count++] = (cut_undo){file, offset, len, c->old_len};
  c->old = tape_wider(c->old, &c->old_cap, c->old_len + len, 1);
  memcpy(c->old + c->old_len, f->b + offset, len);
  c->old_len += len;
}

static void cut_bytes(cuts *c, const tape_event *e, size_t from, size_t to) {
  if (to > e->len) to = e->len;
  undo_note(c, e->file, e->offset + from, to - from);
  bytes_apply(c, e, from, to);
}

/* How the machine treats what was not synced, drawn once for a whole image. */
typedef enum cut_way {
  CUT_NONE,
  CUT_ALL,
  CUT_PREFIX,
  CUT_WHOLES,
  CUT_SECTORS,
  CUT_BUT_ONE,
  CUT_WAYS
} cut_way;

static void cut_event(cuts *c, const tape_event *e, cut_way how, test_rng *rng) {
  if (how == CUT_NONE || (how == CUT_WHOLES && test_rng_chance(rng, 50))) return;
  if (is_name(e)) {
    if (how != CUT_SECTORS || test_rng_chance(rng, 50)) name_apply(&c->now, c->t, e);
    return;
  }
  if (e->kind == TAPE_LENGTH) {
    image_file *f = &c->now.files[e->file];
    if (e->offset < f->len) undo_note(c, e->file, e->offset, f->len - e->offset);
    file_length(f, e->offset);
    return;
  }
  if (how != CUT_SECTORS) {
    cut_bytes(c, e, 0, e->len);
    return;
  }
  for (size_t at = 0; at < e->len; at += CUT_SECTOR) {
    if (test_rng_chance(rng, 50)) cut_bytes(c, e, at, at + CUT_SECTOR);
  }
}

static void cut_make(cuts *c, uint64_t seed) {
  test_rng rng = test_rng_of(seed);
  cut_way how = (cut_way)test_rng_below(&rng, CUT_WAYS);
  size_t all = c->pending_count;
  size_t special = all ? (size_t)test_rng_below(&rng, all) : 0;
  for (size_t i = 0; i < c->now.file_count; i++) c->undo_lens[i] = c->now.files[i].len;
  memcpy(c->saved, c->now.names, sizeof c->saved);
  c->saved_count = c->now.name_count;
  c->undo_count = c->old_len = 0;
  for (size_t i = 0; i < all; i++) {
    const tape_event *e = &c->t->events[c->pending[i]];
    if (how == CUT_PREFIX && i > special) break;
    if (how == CUT_BUT_ONE && i == special) continue;
    cut_event(c, e, how == CUT_PREFIX && i == special ? CUT_SECTORS : how, &rng);
  }
  c->cut = true;
  c->hash = image_hash(&c->now);
}

static void cut_undo_all(cuts *c) {
  for (size_t i = c->undo_count; i > 0; i--) {
    cut_undo *u = &c->undo[i - 1];
    image_file *f = &c->now.files[u->file];
    f->sum -= range_sum(f, u->offset, u->len);
    memcpy(f->b + u->offset, c->old + u->at, u->len);
    f->sum += range_sum(f, u->offset, u->len);
    if (u->file == c->laid) dirty_add(c, u->offset, u->len);
  }
  for (size_t i = 0; i < c->now.file_count; i++) c->now.files[i].len = c->undo_lens[i];
  memcpy(c->now.names, c->saved, sizeof c->saved);
  c->now.name_count = c->saved_count;
  c->cut = false;
}

/* --- laying it --- */

static void file_write(int fd, const image_file *f, size_t offset, size_t len) {
  while (len > 0) {
    ssize_t n = pwrite(fd, f->b + offset, len, (off_t)offset);
    must(n > 0, "write the image");
    offset += (size_t)n;
    len -= (size_t)n;
  }
}

static void lay_file(cuts *c, const image_name *n, const char *path) {
  const image_file *f = &c->now.files[n->file];
  bool big = strcmp(n->name, c->big) == 0;
  bool whole = !big || n->file != c->laid;
  int fd = open(path, O_RDWR | O_CREAT | (whole ? O_TRUNC : 0), 0600);
  must(fd >= 0, path);
  for (size_t i = 0; !whole && i < c->dirty_count; i++) {
    cut_range r = c->dirty[i];
    if (r.offset >= f->len) continue;
    file_write(fd, f, r.offset, r.offset + r.len > f->len ? f->len - r.offset : r.len);
  }
  if (whole) file_write(fd, f, 0, f->len);
  must(ftruncate(fd, (off_t)f->len) == 0, "cut the image");
  close(fd);
  if (big) {
    c->laid = n->file;
    c->dirty_count = 0;
  }
}

/* Removes what is in a folder, but the big file. */
static void sweep(cuts *c, const char *folder) {
  char path[480];
  for (size_t i = 0; i < c->t->name_count; i++) {
    snprintf(path, sizeof path, "%s/%s", folder, c->t->names[i]);
    if (strcmp(c->t->names[i], c->big) != 0) unlink(path);
  }
}

static bool is_folder(const cuts *c, const char *name) {
  size_t len = strlen(name);
  for (size_t i = 0; i < c->t->name_count; i++) {
    if (strncmp(c->t->names[i], name, len) == 0 && c->t->names[i][len] == '/') return true;
  }
  return false;
}

/* A name one of whose folders is not there is not there either. */
static bool reachable(const image *m, const char *name) {
  char folder[TAPE_NAME_LEN];
  for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - name), name);
    if (name_find(m, folder) == m->name_count) return false;
  }
  return true;
}

static void lay(cuts *c) {
  char path[480];
  bool big = false;
  sweep(c, c->folder);
  for (int pass = 0; pass < 2; pass++) {
    for (size_t i = 0; i < c->now.name_count; i++) {
      const image_name *n = &c->now.names[i];
      bool folder = is_folder(c, n->name);
      if (folder != (pass == 0) || !reachable(&c->now, n->name)) continue;
      snprintf(path, sizeof path, "%s/%s", c->folder, n->name);
      if (folder)
        mkdir(path, 0700);
      else
        lay_file(c, n, path);
      big |= strcmp(n->name, c->big) == 0;
    }
  }
  if (!big) {
    snprintf(path, sizeof path, "%s/%s", c->folder, c->big);
    unlink(path);
    c->laid = UINT32_MAX;
    c->dirty_count = 0;
  }
}

/* --- the whole --- */

void cuts_begin(cuts *c, const tape *t, const image *start, const char *folder, const char *big) {
  c->t = t;
  snprintf(c->folder, sizeof c->folder, "%s", folder);
  snprintf(c->big, sizeof c->big, "%s", big);
  c->done = c->pending_count = c->draw_count = c->draw_next = 0;
  c->cut = false;
  c->laid = UINT32_MAX;
  c->dirty_count = 0;
  for (size_t i = 0; i < TAPE_FILES_MAX; i++) {
    image_file *to = &c->now.files[i];
    if (to->cap) memset(to->b, 0, to->cap);
    to->len = 0;
    to->sum = 0;
  }
  c->now.file_count = t->file_count;
  c->now.name_count = 0;
  for (size_t i = 0; start && i < start->name_count; i++) {
    const image_file *from = &start->files[start->names[i].file];
    if (!reachable(start, start->names[i].name)) continue;
    uint32_t file = (uint32_t)c->now.name_count;
    name_put(&c->now, start->names[i].name, file);
    if (from->len) file_put(&c->now.files[file], 0, from->b, from->len);
    file_length(&c->now.files[file], from->len);
  }
}

void cuts_know(const cuts *c, tape *t) {
  for (size_t i = 0; i < c->now.name_count; i++) {
    if (reachable(&c->now, c->now.names[i].name)) tape_know(t, c->now.names[i].name);
  }
}

void cuts_draw(cuts *c, size_t event, uint64_t seed) {
  c->draws = tape_wider(c->draws, &c->draw_cap, c->draw_count + 1, sizeof *c->draws);
  c->draws[c->draw_count++] = (cut_draw){event, seed};
}

static int draw_cmp(const void *a, const void *b) {
  const cut_draw *x = a, *y = b;
  if (x->event != y->event) return x->event < y->event ? -1 : 1;
  return x->seed < y->seed ? -1 : x->seed > y->seed;
}

bool cuts_next(cuts *c, seen *s) {
  if (c->cut) cut_undo_all(c);
  if (c->draw_next == 0 && c->draw_count)
    qsort(c->draws, c->draw_count, sizeof *c->draws, draw_cmp);
  while (c->draw_next < c->draw_count) {
    c->at = c->draws[c->draw_next++];
    while (c->done <= c->at.event) step(c);
    cut_make(c, c->at.seed);
    if (seen_add(s, c->hash)) {
      lay(c);
      return true;
    }
    cut_undo_all(c);
  }
  return false;
}

void cuts_dirtied(cuts *c, const tape *t) {
  char path[480];
  struct stat st;
  snprintf(path, sizeof path, "%s/%s", c->folder, c->big);
  uint32_t big = UINT32_MAX;
  if (stat(path, &st) == 0) {
    for (uint32_t i = 0; i < t->file_count; i++) {
      if (t->files[i].dev == st.st_dev && t->files[i].ino == st.st_ino) big = i;
    }
  }
  for (size_t i = 0; i < t->count; i++) {
    const tape_event *e = &t->events[i];
    if (e->kind == TAPE_RENAME && strcmp(t->names[e->to], c->big) == 0) c->laid = UINT32_MAX;
    if (e->kind == TAPE_CREATE || e->kind == TAPE_RENAME) {
      const char *name = t->names[e->kind == TAPE_CREATE ? e->name : e->to];
      snprintf(path, sizeof path, "%s/%s", c->folder, name);
      if (strcmp(name, c->big) != 0) unlink(path);
    }
    bool write = e->kind == TAPE_WRITE || e->kind == TAPE_DURABLE_WRITE;
    if (write && e->file == big) dirty_add(c, e->offset, e->len);
  }
}

void cuts_free(cuts *c) {
  image_free(&c->now);
  free(c->pending);
  free(c->draws);
  free(c->undo);
  free(c->old);
  free(c->dirty);
  memset(c, 0, sizeof *c);
}

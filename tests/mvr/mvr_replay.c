/* mvr-replay FILE...: replays histories of concurrent map writes through replicas made of the
 * shipped core and compares, at every check, the concurrent values each field holds with the
 * recorded ones.
 *
 * A file is JSON lines, plain or gzipped: `begin` {seed, replicas, fields}; `set` {r, f, v}; `del`
 * {r, f}; `sync` {from, to}; `check` {r, sets} and `final` {sets} with, for every field, the values
 * as [value, author, number of the change in its author's log]; `end`.  A history is replayed three
 * times: what a sync brings arrives in the order of its making, log after log, and mixed at random
 * (the history's seed).  At every check the winner must be one of the set; at the end all replicas
 * must show the same and have one digest. Last line on success: `N histories, M comparisons`.  Exit
 * 1 at the first disagreement, naming seed and step, or when a file cannot be read; 2 for wrong
 * usage. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "crdt/json.h"
#include "tests/mvr/replica.h"
#include "tests/support/rng.h"

typedef enum arrival { AS_LISTED, LOG_AFTER_LOG, SHUFFLED, ARRIVALS } arrival;

static const char *const arrival_names[ARRIVALS] = {"as listed", "log after log", "shuffled"};

typedef struct history {
  weft_value *events; /* objects, `begin` first */
  size_t count;
  size_t cap;
} history;

typedef struct replay {
  const char *file;
  const history *history;
  weft_alloc mem;
  weft_arena scratch; /* emptied after every event */
  int64_t seed;
  size_t replica_count, field_count;
  replica *replicas[REPLICAS_MAX];
  size_t step; /* index of the event */
  size_t made; /* changes so far */
  arrival arrival;
  test_rng rng;
  uint64_t comparisons;
} replay;

static bool disagree(const replay *p, const char *what, const char *detail) {
  fprintf(stderr, "%s: seed=%" PRId64 " step=%zu (%s): %s%s%s\n", p->file, p->seed, p->step,
          arrival_names[p->arrival], what, detail ? ": " : "", detail ? detail : "");
  return false;
}

static bool fits(const replay *p, weft_err err, const char *what) {
  return err == WEFT_OK || disagree(p, what, weft_err_str(err));
}

/* --- events --- */

static weft_bytes text_of(const weft_value *object, const char *key) {
  const weft_value *v = weft_value_member(object, weft_bytes_str(key));
  return v && v->kind == WEFT_STRING ? v->as.bytes : weft_bytes_of(NULL, 0);
}

static bool is_event(const weft_value *event, const char *name) {
  return weft_bytes_cmp(text_of(event, "t"), weft_bytes_str(name)) == 0;
}

/* Reads an integer member from 0 to `max`. */
static bool number_of(const weft_value *object, const char *key, int64_t max, size_t *out) {
  const weft_value *v = weft_value_member(object, weft_bytes_str(key));
  if (!v || v->kind != WEFT_INT || v->as.integer < 0 || v->as.integer > max) return false;
  *out = (size_t)v->as.integer;
  return true;
}

static bool replica_of(const replay *p, const weft_value *event, const char *key, size_t *out) {
  return number_of(event, key, (int64_t)p->replica_count - 1, out);
}

/* --- syncing --- */

/* What `from` holds beyond `to`, log by log. */
typedef struct parcel {
  const held_log *log;
  size_t next;
} parcel;

static size_t parcels_of(const replica *from, const replica *to, parcel *out) {
  size_t count = 0;
  for (size_t i = 0; i < from->log_count; i++) {
    const held_log *log = &from->logs[i], *known = replica_log(to, &log->id);
    size_t next = known ? known->count : 0;
    if (next < log->count) out[count++] = (parcel){log, next};
  }
  return count;
}

static size_t pick(replay *p, const parcel *parcels, size_t count) {
  if (p->arrival == LOG_AFTER_LOG) return 0;
  if (p->arrival == SHUFFLED) return test_rng_below(&p->rng, count);
  size_t best = 0;
  for (size_t i = 1; i < count; i++) {
    size_t order = parcels[i].log->letters[parcels[i].next].order;
    if (order < parcels[best].log->letters[parcels[best].next].order) best = i;
  }
  return best;
}

static bool sync(replay *p, size_t from, size_t to) {
  parcel parcels[REPLICAS_MAX];
  size_t count = parcels_of(p->replicas[from], p->replicas[to], parcels);
  while (count > 0) {
    size_t i = pick(p, parcels, count);
    parcel *next = &parcels[i];
    const letter *l = &next->log->letters[next->next++];
    weft_err err = replica_take(p->replicas[to], &next->log->id, l, p->step);
    if (!fits(p, err, "a change is refused")) return false;
    if (next->next == next->log->count) {
      memmove(next, next + 1, (--count - i) * sizeof *next);
    }
  }
  return true;
}

static bool sync_all(replay *p) {
  for (size_t i = 1; i < p->replica_count; i++) {
    if (!sync(p, i, 0)) return false;
  }
  for (size_t i = 1; i < p->replica_count; i++) {
    if (!sync(p, 0, i)) return false;
  }
  return true;
}

/* --- comparing --- */

/* True when an entry says the value, the author and the number of this sibling. */
static bool is_entry_of(const replay *p, const replica *r, const weft_value *entry,
                        const weft_sibling *s, const weft_value *value) {
  if (entry->kind != WEFT_ARRAY || entry->as.array.count != 3) return false;
  const weft_value *part = entry->as.array.at;
  if (part[1].kind != WEFT_INT || part[2].kind != WEFT_INT) return false;
  if (part[1].as.integer < 0 || (uint64_t)part[1].as.integer >= p->replica_count) return false;
  const replica *author = p->replicas[part[1].as.integer];
  /* The first change of a log begins it and writes nothing. */
  return weft_value_equal(&part[0], value) &&
         weft_id_cmp(&r->logs[s->dot.log].id, &author->logs[0].id) == 0 &&
         s->dot.seq == (uint64_t)part[2].as.integer + 1;
}

static bool is_in_set(const replay *p, const replica *r, const weft_value *set,
                      const weft_sibling *s) {
  weft_value value;
  if (weft__scalar_decode(s->value, &value) != WEFT_OK) return false;
  for (size_t i = 0; i < set->as.array.count; i++) {
    if (is_entry_of(p, r, &set->as.array.at[i], s, &value)) return true;
  }
  return false;
}

static bool same_set(const replay *p, const replica *r, const weft_register *reg,
                     const weft_value *set) {
  size_t count = 0;
  for (size_t i = 0; reg && i < reg->value_count; i++) {
    if (reg->values[i].kind != WEFT_OP_SCALAR) continue;
    if (!is_in_set(p, r, set, &reg->values[i])) return false;
    count++;
  }
  return count == set->as.array.count;
}

/* What is shown must be one of the set, and nothing when it is empty. */
static bool winner_is_in(const weft_value *shown, const weft_value *set) {
  if (!shown) return set->as.array.count == 0;
  for (size_t i = 0; i < set->as.array.count; i++) {
    const weft_value *entry = &set->as.array.at[i];
    if (weft_value_equal(&entry->as.array.at[0], shown)) return true;
  }
  return false;
}

static bool differs(const replay *p, size_t r, weft_bytes field, const char *what) {
  char detail[300];
  snprintf(detail, sizeof detail, "replica %zu, field %.*s", r, (int)field.len,
           (const char *)field.at);
  return disagree(p, what, detail);
}

static bool compare_field(replay *p, size_t idx, const weft_member *member,
                          const weft_value *shown) {
  replica *r = p->replicas[idx];
  const weft_value *set = &member->value;
  weft_path path;
  if (set->kind != WEFT_ARRAY) return disagree(p, "a set is no array", NULL);
  if (!fits(p, replica_field(r, member->key, &path), "a field cannot be named")) return false;
  if (!same_set(p, r, weft__doc_find(r->doc, path), set)) {
    return differs(p, idx, member->key, "the concurrent values differ");
  }
  if (!winner_is_in(shown ? weft_value_member(shown, member->key) : NULL, set)) {
    return differs(p, idx, member->key, "the winner is none of the set");
  }
  return true;
}

static bool compare(replay *p, size_t idx, const weft_value *sets) {
  weft_value shown;
  replica *r = p->replicas[idx];
  weft_err err = weft__doc_render(r->doc, weft_bytes_of(NULL, 0), &p->scratch, &shown);
  if (err != WEFT_ENOTFOUND && !fits(p, err, "the document cannot be rendered")) return false;
  if (!sets || sets->kind != WEFT_OBJECT || sets->as.object.count != p->field_count) {
    return disagree(p, "a check does not name every field", NULL);
  }
  for (size_t i = 0; i < sets->as.object.count; i++) {
    const weft_member *member = &sets->as.object.at[i];
    if (!compare_field(p, idx, member, err == WEFT_OK ? &shown : NULL)) return false;
  }
  p->comparisons++;
  return true;
}

static bool all_agree(replay *p) {
  weft_value first = {.kind = WEFT_NULL}, other = {.kind = WEFT_NULL};
  weft_digest digest, another;
  for (size_t i = 0; i < p->replica_count; i++) {
    replica *r = p->replicas[i];
    weft_err err =
        weft__doc_render(r->doc, weft_bytes_of(NULL, 0), &p->scratch, i == 0 ? &first : &other);
    if (err != WEFT_ENOTFOUND && !fits(p, err, "the document cannot be rendered")) return false;
    err = replica_digest(r, i == 0 ? &digest : &another);
    if (!fits(p, err, "no digest")) return false;
    if (i == 0) continue;
    if (!weft_value_equal(&first, &other))
      return disagree(p, "replicas show different winners", NULL);
    if (digest.high != another.high || digest.low != another.low) {
      return disagree(p, "digests differ", NULL);
    }
  }
  return true;
}

/* --- replaying --- */

static bool play_write(replay *p, const weft_value *event, bool set) {
  size_t r;
  weft_bytes field = text_of(event, "f");
  const weft_value *value = weft_value_member(event, weft_bytes_str("v"));
  if (!replica_of(p, event, "r", &r) || field.len == 0 || (set && !value)) {
    return disagree(p, "a write is malformed", NULL);
  }
  weft_err err = replica_write(p->replicas[r], field, set ? value : NULL, p->step, ++p->made);
  return fits(p, err, "a write is refused");
}

static bool play(replay *p, const weft_value *event) {
  size_t r, to;
  const weft_value *sets = weft_value_member(event, weft_bytes_str("sets"));
  if (is_event(event, "set")) return play_write(p, event, true);
  if (is_event(event, "del")) return play_write(p, event, false);
  if (is_event(event, "sync") && replica_of(p, event, "from", &r) &&
      replica_of(p, event, "to", &to)) {
    return sync(p, r, to);
  }
  if (is_event(event, "check") && replica_of(p, event, "r", &r)) return compare(p, r, sets);
  if (!is_event(event, "final")) return disagree(p, "an event is malformed", NULL);
  if (!sync_all(p)) return false;
  for (r = 0; r < p->replica_count; r++) {
    if (!compare(p, r, sets)) return false;
  }
  return all_agree(p);
}

static bool replay_once(replay *p) {
  const weft_value *begin = &p->history->events[0];
  size_t seed;
  if (!number_of(begin, "seed", INT64_MAX, &seed) ||
      !number_of(begin, "replicas", REPLICAS_MAX, &p->replica_count) ||
      !number_of(begin, "fields", INT64_MAX, &p->field_count) || p->replica_count == 0) {
    return disagree(p, "a history begins without seed, replicas and fields", NULL);
  }
  p->seed = (int64_t)seed;
  p->rng = test_rng_of(seed);
  p->made = 0;
  bool ok = true;
  for (size_t i = 0; i < p->replica_count; i++) {
    ok = ok && fits(p, replica_new(&p->replicas[i], &p->mem, i), "no replica");
  }
  for (p->step = 1; ok && p->step < p->history->count; p->step++) {
    ok = play(p, &p->history->events[p->step]);
    weft__arena_reset(&p->scratch);
  }
  for (size_t i = 0; i < p->replica_count; i++) {
    replica_free(p->replicas[i]);
    p->replicas[i] = NULL;
  }
  return ok;
}

static bool replay_history(const char *file, const history *h, uint64_t *comparisons) {
  replay p = {.file = file, .history = h, .mem = weft_alloc_libc()};
  weft__arena_init(&p.scratch, &p.mem);
  bool ok = true;
  for (p.arrival = AS_LISTED; ok && p.arrival < ARRIVALS; p.arrival++) ok = replay_once(&p);
  weft__arena_free(&p.scratch);
  *comparisons += p.comparisons;
  return ok;
}

/* --- files --- */

typedef struct reader {
  const char *file;
  weft_arena arena; /* one history */
  history history;
  size_t line;
  uint64_t histories, comparisons;
} reader;

static bool broken(const reader *rd, const char *what) {
  fprintf(stderr, "%s:%zu: %s\n", rd->file, rd->line, what);
  return false;
}

static bool read_event(reader *rd, weft_bytes text) {
  weft_value event;
  weft_json_error why;
  history *h = &rd->history;
  if (weft_json_parse(&rd->arena, text, &event, &why) != WEFT_OK) return broken(rd, why.text);
  if (is_event(&event, "begin") != (h->count == 0)) {
    return broken(rd, "a history must begin with begin and stop with end");
  }
  if (is_event(&event, "end")) {
    bool ok = replay_history(rd->file, h, &rd->comparisons);
    weft__arena_reset(&rd->arena);
    rd->history = (history){NULL, 0, 0};
    rd->histories++;
    return ok;
  }
  void *events = h->events;
  if (weft__arena_grow(&rd->arena, &events, h->count, &h->cap, h->count + 1, sizeof event) !=
      WEFT_OK) {
    return broken(rd, weft_err_str(WEFT_ENOMEM));
  }
  h->events = events;
  h->events[h->count++] = event;
  return true;
}

/* Reads one line whole, growing *line; false at the end or on an error. */
static bool read_line(gzFile in, char **line, size_t *cap, size_t *len) {
  *len = 0;
  for (;;) {
    if (*cap - *len < 2) {
      char *wide = realloc(*line, *cap * 2 + 4096);
      if (!wide) return false;
      *line = wide;
      *cap = *cap * 2 + 4096;
    }
    if (!gzgets(in, *line + *len, (int)(*cap - *len))) return *len > 0;
    *len += strlen(*line + *len);
    if (*len > 0 && (*line)[*len - 1] == '\n') return true;
  }
}

static bool replay_file(reader *rd) {
  gzFile in = gzopen(rd->file, "rb");
  if (!in) return broken(rd, "cannot be opened");
  char *line = NULL;
  size_t cap = 0, len;
  bool ok = true;
  while (ok && read_line(in, &line, &cap, &len)) {
    rd->line++;
    ok = read_event(rd, weft_bytes_of(line, len));
  }
  free(line);
  int failed = Z_OK;
  gzerror(in, &failed);
  gzclose(in);
  if (ok && failed != Z_OK && failed != Z_STREAM_END) return broken(rd, "cannot be read");
  if (ok && rd->history.count > 0) return broken(rd, "the last history does not end");
  return ok;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: mvr-replay FILE...\n");
    return 2;
  }
  uint64_t histories = 0, comparisons = 0;
  weft_alloc mem = weft_alloc_libc();
  for (int i = 1; i < argc; i++) {
    reader rd = {.file = argv[i]};
    weft__arena_init(&rd.arena, &mem);
    bool ok = replay_file(&rd);
    weft__arena_free(&rd.arena);
    histories += rd.histories;
    comparisons += rd.comparisons;
    if (!ok) return 1;
  }
  printf("%" PRIu64 " histories, %" PRIu64 " comparisons\n", histories, comparisons);
  return 0;
}

/* Logs that have forked, between two peers.
 *
 * A peer tells the heads of whole logs.  A head that is not held here, though something as new of
 * its log is, lies on another branch: it is asked for by its id, from a place that goes back in
 * steps that double until what is before it is held here too.  Who sees that the other lacks a
 * branch sends it unasked: FORK, two runs that leave one place, which prove the fork by themselves.
 *
 * Nothing here is believed: a head that does not exist costs a few questions and is blocked. */
#include <string.h>

#include "crdt/chunk.h"
#include "net/node_internal.h"

bool weft__log_forked(const weft_node *n, const weft_id *log) {
  return weft__vector_find(weft__node_held(n), log, NULL) > 1;
}

static bool is_head(const weft_vector *held, const weft_head *h) {
  size_t first;
  size_t count = weft__vector_find(held, &h->log, &first);
  for (size_t i = 0; i < count; i++) {
    if (weft__head_cmp(&held->heads[first + i], h) == 0) return true;
  }
  return false;
}

static bool is_held(const weft_link *link, const weft_head *h) {
  const weft_source *s = &link->node->source;
  weft_source_span span;
  if (is_head(weft__node_held(link->node), h)) return true;
  if (weft__vector_seq(weft__node_held(link->node), &h->log) < h->seq) return false;
  return s->find(s->ctx, &h->log, h->seq, &h->id, &span) == WEFT_OK;
}

/* --- branches they hold --- */

void weft__fork_add(weft_link *link, const weft_head *head, uint64_t from) {
  void *at = link->others;
  for (size_t i = 0; i < link->other_count; i++) {
    if (weft__head_cmp(&link->others[i].head, head) == 0) return;
  }
  if (link->other_count >= WEFT_OTHERS_MAX) return;
  if (weft__node_grow(link->node, &at, &link->other_cap, link->other_count + 1,
                      sizeof *link->others) != WEFT_OK) {
    return;
  }
  link->others = at;
  link->others[link->other_count++] = (weft_other){*head, from > 0 ? from : 1, 1, 0};
  link->plan = true;
}

bool weft__fork_has(const weft_link *link, const weft_id *log) {
  for (size_t i = 0; i < link->other_count; i++) {
    if (weft_id_cmp(&link->others[i].head.log, log) == 0) return true;
  }
  return false;
}

weft_other *weft__fork_lacks(weft_link *link, const weft_head *head) {
  for (size_t i = 0; i < link->other_count; i++) {
    if (weft__head_cmp(&link->others[i].head, head) != 0) continue;
    return is_held(link, head) ? NULL : &link->others[i];
  }
  return NULL;
}

void weft__fork_drop(weft_link *link, const weft_id *log) {
  size_t kept = 0;
  for (size_t i = 0; i < link->other_count; i++) {
    if (weft_id_cmp(&link->others[i].head.log, log) != 0) link->others[kept++] = link->others[i];
  }
  link->other_count = kept;
}

/* Notes that they may lack a branch of a log. */
static void fork_queue(weft_link *link, const weft_id *log) {
  for (size_t i = 0; i < link->fork_count; i++) {
    if (weft_id_cmp(&link->forks[i], log) == 0) return;
  }
  if (link->fork_count < WEFT_FORKS_MAX) link->forks[link->fork_count++] = *log;
}

/* What they tell of one log: all its heads there. */
static void heard_log(weft_link *link, const weft_head *told, size_t count) {
  const weft_vector *held = weft__node_held(link->node);
  uint64_t reach = weft__vector_seq(held, &told->log);
  size_t first, known = 0;
  size_t mine = weft__vector_find(held, &told->log, &first);
  for (size_t i = 0; i < count; i++) {
    const weft_head *h = &told[i];
    bool newest = i + 1 == count && h->seq > reach;
    if (is_held(link, h)) {
      known += is_head(held, h);
    } else if (!newest) {
      weft__fork_add(link, h, h->seq <= reach ? h->seq : reach + 1);
    }
  }
  if (mine > 1 && known < mine) fork_queue(link, &told->log);
}

void weft__fork_heard(weft_link *link, const weft_msg_heads *m) {
  for (size_t i = 0; i < m->count;) {
    size_t count = 1;
    while (i + count < m->count && weft_id_cmp(&m->at[i].log, &m->at[i + count].log) == 0) count++;
    if (m->at[i].seq > 0) heard_log(link, &m->at[i], count);
    i += count;
  }
}

bool weft__fork_next(weft_link *link, size_t *place, weft_other *out) {
  while (*place < link->other_count) {
    weft_other *o = &link->others[*place];
    if (!is_held(link, &o->head)) {
      *out = *o;
      ++*place;
      return true;
    }
    *o = link->others[--link->other_count];
  }
  return false;
}

bool weft__fork_back(weft_link *link, const weft_head *head, uint64_t from) {
  static const weft_id unknown;
  if (weft_id_cmp(&head->id, &unknown) == 0 || from == 1) return false;
  weft__fork_add(link, head, from);
  for (size_t i = 0; i < link->other_count; i++) {
    weft_other *o = &link->others[i];
    if (weft__head_cmp(&o->head, head) != 0) continue;
    o->from = from > o->step ? from - o->step : 1;
    if (o->step < from) o->step *= 2;
    link->plan = true;
    return true;
  }
  return false;
}

bool weft__fork_prev(const weft_link *link, const weft_id *log, uint64_t seq, weft_id *id) {
  const weft_source *s = &link->node->source;
  size_t first;
  size_t count = weft__vector_find(weft__node_held(link->node), log, &first);
  for (size_t i = 0; i < count; i++) {
    const weft_head *h = &weft__node_held(link->node)->heads[first + count - 1 - i];
    weft_source_span span;
    if (h->seq < seq || s->find(s->ctx, log, h->seq, &h->id, &span) != WEFT_OK) continue;
    if (s->id_at(s->ctx, log, span.branch, seq, id) == WEFT_OK) return true;
  }
  return false;
}

/* --- FORK --- */

/* Appends the run of a branch that begins at `from`. */
static weft_err run_read(weft_node *n, weft_arena *arena, const weft_source_span *b, uint64_t from,
                         weft_bytes *out) {
  weft_buf chunk;
  uint64_t last;
  weft__buf_init(&chunk, &n->mem, WEFT_SESSION_BODY_MAX / 2);
  weft_err err = n->source.read_chunk(n->source.ctx, &b->log, b->branch, from, from, &chunk, &last);
  if (err == WEFT_OK) err = weft__buf_err(&chunk);
  if (err == WEFT_OK) err = weft__arena_copy(arena, weft__buf_view(&chunk), out);
  weft__buf_free(&chunk);
  return err;
}

/* The branch that `b` left, or another that begins where it does. */
static weft_err beside(weft_node *n, const weft_source_span *b, weft_source_span *out) {
  weft_id id;
  if (b->from == 1) {
    *out = (weft_source_span){b->log, WEFT_SOURCE_ANY, 1, 1};
    return WEFT_OK;
  }
  WEFT_TRY(n->source.id_at(n->source.ctx, &b->log, b->branch, b->from - 1, &id));
  return n->source.find(n->source.ctx, &b->log, b->from - 1, &id, out);
}

/* Sends the fork at which the branch of a head begins. */
static weft_err fork_send(weft_link *link, const weft_head *head) {
  weft_node *n = link->node;
  weft_source_span mine, other;
  weft_id first_mine, first_other;
  weft_arena arena;
  weft_bytes runs[2];
  WEFT_TRY(n->source.find(n->source.ctx, &head->log, head->seq, &head->id, &mine));
  WEFT_TRY(beside(n, &mine, &other));
  weft_source *s = &n->source;
  WEFT_TRY(s->id_at(s->ctx, &mine.log, mine.branch, mine.from, &first_mine));
  WEFT_TRY(s->id_at(s->ctx, &mine.log, other.branch, mine.from, &first_other));
  if (weft_id_cmp(&first_mine, &first_other) == 0) return WEFT_OK; /* it left nobody */
  weft__arena_init(&arena, &n->mem);
  weft_err err = run_read(n, &arena, &other, mine.from, &runs[0]);
  if (err == WEFT_OK) err = run_read(n, &arena, &mine, mine.from, &runs[1]);
  if (err == WEFT_OK) {
    weft_msg_blobs m = {runs, 2, 0};
    weft_buf body = weft__link_body(link);
    weft__msg_blobs_put(&body, &m);
    weft__again_count(link, body.len); /* who tells less than it holds is sent it each time */
    weft__link_send(link, WEFT_FRAME_FORK, &body);
  }
  weft__arena_free(&arena);
  return err;
}

void weft__fork_run(weft_link *link) {
  while (link->fork_count > 0 && link->state == WEFT_LINK_OPEN) {
    size_t first;
    weft_id log = link->forks[link->fork_count - 1];
    if (!weft__credit_allows(link, WEFT_CHANGES_LEN) || weft__again_waits(link)) return;
    link->fork_count--;
    size_t count = weft__vector_find(weft__node_held(link->node), &log, &first);
    for (size_t i = 0; i < count && link->state == WEFT_LINK_OPEN; i++) {
      /* What cannot be read is asked for in the ordinary way. */
      if (!weft__credit_allows(link, WEFT_CHANGES_LEN)) return;
      if (fork_send(link, &weft__node_held(link->node)->heads[first + i]) != WEFT_OK) return;
    }
  }
}

/* Two runs, of one log, from one place. */
static weft_err fork_check(weft_node *n, const weft_msg_blobs *m) {
  weft_arena arena;
  weft_run_head *a, *b;
  size_t count_a, count_b;
  if (m->count != 2) return WEFT_EMALFORMED;
  weft__arena_init(&arena, &n->mem);
  weft_err err = weft__chunk_heads(&arena, m->at[0], &a, &count_a);
  if (err == WEFT_OK) err = weft__chunk_heads(&arena, m->at[1], &b, &count_b);
  if (err == WEFT_OK) {
    bool fork = count_a == 1 && count_b == 1 && a->first == b->first &&
                weft_id_cmp(&a->log, &b->log) == 0 && weft_id_cmp(&a->prev, &b->prev) == 0;
    if (!fork) err = WEFT_EMALFORMED;
  }
  weft__arena_free(&arena);
  return err;
}

weft_err weft__fork_receive(weft_link *link, const weft_msg_blobs *m, size_t body_len) {
  WEFT_TRY(fork_check(link->node, m));
  weft__hold_add_fork(link, m->at[0], (uint32_t)m->at[0].len);
  if (link->state != WEFT_LINK_OPEN) return WEFT_OK;
  weft__hold_add_fork(link, m->at[1], (uint32_t)(body_len - m->at[0].len));
  return WEFT_OK;
}

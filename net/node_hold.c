/* Received chunks and records on their way into the replica.
 *
 * Chunks of all links gather and go out in one HOLD at a time: at once when nobody is being asked
 * for more, else when they are many or input pauses.  Credit is granted when they are held.
 *
 * A HOLD is all or none, so one bad chunk fails good ones with it.  Then the same chunks go again,
 * link by link, and who sent the bad one is found out and closed.  What our own disk refuses is
 * dropped, and nothing is asked for during a pause.
 *
 * Records go one by one, since whether the next is believed may rest on the one before. */
#include <string.h>

#include "crdt/assert.h"
#include "crdt/chunk.h"
#include "net/node_internal.h"

enum { records_max = 4096, records_len_max = 4 << 20 };

/* --- pieces --- */

static void piece_drop(weft_node *n, weft_piece *p) { weft__node_drop(n, &p->chunk); }

static weft_err pieces_push(weft_node *n, weft_pieces *list, const weft_piece *p) {
  void *at = list->at;
  WEFT_TRY(weft__node_grow(n, &at, &list->cap, list->count + 1, sizeof *list->at));
  list->at = at;
  list->at[list->count++] = *p;
  list->len += p->chunk.len;
  list->changes += p->changes;
  return WEFT_OK;
}

static void pieces_clear(weft_node *n, weft_pieces *list) {
  for (size_t i = 0; i < list->count; i++) piece_drop(n, &list->at[i]);
  list->count = list->len = 0;
  list->changes = 0;
}

static void credit_back(weft_node *n, uint64_t conn, uint32_t credit) {
  weft_link *link = weft__node_link(n, conn);
  if (link) weft__credit_grant(link, credit);
}

/* Reads the head of a chunk: which log it carries on, and from where. */
static weft_err piece_read(weft_node *n, weft_bytes chunk, weft_piece *p) {
  weft_arena arena;
  weft_run_head *heads;
  size_t count;
  weft__arena_init(&arena, &n->mem);
  weft_err err = weft__chunk_heads(&arena, chunk, &heads, &count);
  if (err == WEFT_OK && (count == 0 || heads[0].count == 0)) err = WEFT_EMALFORMED;
  if (err == WEFT_OK) {
    p->log = heads[0].log;
    p->first = heads[0].first;
    p->last = heads[0].first + heads[0].count - 1;
    p->prev = heads[0].prev;
    for (size_t i = 0; i < count; i++) p->changes += heads[i].count;
  }
  weft__arena_free(&arena);
  return err;
}

/* Whether all of a piece is held already, as far as can be told without its ids. */
static bool is_old(const weft_link *link, const weft_piece *p) {
  const weft_node *n = link->node;
  weft_id before;
  if (p->changes != p->last - p->first + 1) return false; /* it has several runs */
  if (p->last > weft__hold_reach(n, &p->log)) return false;
  if (weft__log_forked(n, &p->log) || weft__fork_has(link, &p->log)) return false;
  if (p->first == 1) return true;
  if (n->source.id_at(n->source.ctx, &p->log, WEFT_SOURCE_ANY, p->first - 1, &before) != WEFT_OK) {
    return false;
  }
  return weft_id_cmp(&before, &p->prev) == 0;
}

static void hold_add(weft_link *link, weft_bytes chunk, uint32_t credit, bool asked, bool fork) {
  weft_node *n = link->node;
  weft_piece p = {.conn = link->conn, .credit = credit, .asked = asked};
  weft_err err = piece_read(n, chunk, &p);
  if (err != WEFT_OK) {
    bool bad = err != WEFT_ENOMEM;
    weft__link_fail(link, err, bad ? WEFT_CODE_BAD_BODY : WEFT_CODE_INTERNAL, WEFT_FRAME_CHANGES);
    return;
  }
  link->ask_at = n->now;
  if (n->now < n->hold_pause_until) {
    weft__credit_grant(link, credit);
    return;
  }
  if (!fork && is_old(link, &p)) {
    /* Another link was faster.  Their holding it is worth knowing. */
    weft_id id;
    if (n->source.id_at(n->source.ctx, &p.log, WEFT_SOURCE_ANY, p.last, &id) == WEFT_OK) {
      weft__sync_raise(link, &p.log, p.last, &id);
      weft__sync_held(link, &p.log, asked ? p.first : 0, p.last);
      weft__credit_grant(link, credit);
      return;
    }
  }
  err = weft__node_copy(n, chunk, &p.chunk);
  if (err == WEFT_OK) err = pieces_push(n, &n->pieces, &p);
  if (err != WEFT_OK) {
    piece_drop(n, &p);
    weft__link_fail(link, err, WEFT_CODE_INTERNAL, 0);
    return;
  }
  link->received += p.changes;
  n->hold_last = n->now;
  n->settle = true;
}

void weft__hold_add(weft_link *link, weft_bytes chunk, uint32_t credit, bool asked) {
  hold_add(link, chunk, credit, asked, false);
}

void weft__hold_add_fork(weft_link *link, weft_bytes chunk, uint32_t credit) {
  hold_add(link, chunk, credit, false, true);
}

static uint64_t reach_over(const weft_pieces *list, const weft_id *log, uint64_t reach) {
  for (size_t i = 0; i < list->count; i++) {
    const weft_piece *p = &list->at[i];
    bool next = p->first <= reach + 1 && p->last > reach;
    if (next && weft_id_cmp(&p->log, log) == 0) reach = p->last;
  }
  return reach;
}

uint64_t weft__hold_reach(const weft_node *n, const weft_id *log) {
  uint64_t reach = weft__vector_seq(weft__node_held(n), log);
  return reach_over(&n->pieces, log, reach_over(&n->holding, log, reach));
}

bool weft__hold_has(const weft_node *n, uint64_t conn) {
  for (size_t i = 0; i < n->pieces.count; i++) {
    if (n->pieces.at[i].conn == conn) return true;
  }
  for (size_t i = 0; i < n->holding.count; i++) {
    if (n->holding.at[i].conn == conn) return true;
  }
  return false;
}

void weft__hold_drop_link(weft_node *n, uint64_t conn) {
  /* What is whole stays: it can be held without its sender. */
  size_t kept = 0;
  for (size_t i = 0; i < n->record_count; i++) {
    if (n->records[i].conn == conn && !(i == 0 && n->record_ticket)) {
      n->record_len -= n->records[i].bytes.len;
      weft__node_drop(n, &n->records[i].bytes);
    } else {
      n->records[kept++] = n->records[i];
    }
  }
  n->record_count = kept;
}

/* --- HOLD --- */

static bool more_is_coming(const weft_node *n) {
  for (size_t i = 0; i < n->link_count; i++) {
    if (n->links[i]->ask_count > 0) return true;
  }
  return false;
}

static weft_ms hold_due(const weft_node *n) {
  if (n->hold_ticket || n->pieces.count == 0) return WEFT_NEVER;
  if (n->now < n->hold_retry_at) return n->hold_retry_at;
  bool full = n->pieces.len >= WEFT_HOLD_LEN / 2 || n->pieces.changes >= WEFT_HOLD_CHANGES;
  if (full || n->split || !more_is_coming(n)) return n->now;
  return n->hold_last + WEFT_HOLD_PAUSE_MS;
}

weft_ms weft__hold_deadline(const weft_node *n) { return weft__min_ms(hold_due(n), WEFT_NEVER); }

/* Moves what goes into the next HOLD from `pieces` to `holding`: as much as fits; in a split, only
 * that of the first link. */
static void holding_fill(weft_node *n) {
  size_t taken = 0, kept = 0;
  uint64_t conn = n->pieces.at[0].conn;
  weft_pieces rest = n->pieces;
  n->pieces.count = n->pieces.len = 0;
  n->pieces.changes = 0;
  for (size_t i = 0; i < rest.count; i++) {
    weft_piece p = rest.at[i];
    bool fits = n->holding.len < WEFT_HOLD_LEN && n->holding.changes < WEFT_HOLD_CHANGES;
    if ((fits || taken == 0) && kept == 0 && (!n->split || p.conn == conn) &&
        (!n->single || taken == 0)) {
      if (pieces_push(n, &n->holding, &p) == WEFT_OK) {
        taken++;
        continue;
      }
    }
    rest.at[kept++] = p;
    n->pieces.count = kept;
    n->pieces.len += p.chunk.len;
    n->pieces.changes += p.changes;
  }
}

void weft__hold_run(weft_node *n) {
  if (hold_due(n) > n->now) return;
  holding_fill(n);
  if (n->holding.count == 0) {
    n->hold_retry_at = n->now + WEFT_HOLD_PAUSE_MS; /* no memory now */
    return;
  }
  void *at = n->hold_chunks;
  weft_err err =
      weft__node_grow(n, &at, &n->hold_chunk_cap, n->holding.count, sizeof *n->hold_chunks);
  n->hold_chunks = at;
  weft_node_action a = {.kind = WEFT_NODE_HOLD, .ticket = n->ticket_next};
  for (size_t i = 0; err == WEFT_OK && i < n->holding.count; i++) {
    n->hold_chunks[i] = n->holding.at[i].chunk;
  }
  a.chunks = n->hold_chunks;
  a.chunk_count = n->holding.count;
  if (err == WEFT_OK) err = weft__node_push(n, &a);
  n->hold_ticket = n->ticket_next++;
  if (err != WEFT_OK) weft_node_held(n, n->now, n->hold_ticket, WEFT_ENOMEM, NULL, 0);
}

/* Who sent a chunk that carries `log` from a batch. */
static weft_link *sender_of(weft_node *n, const weft_id *log) {
  for (size_t i = 0; i < n->holding.count; i++) {
    if (weft_id_cmp(&n->holding.at[i].log, log) == 0) {
      return weft__node_link(n, n->holding.at[i].conn);
    }
  }
  return NULL;
}

/* Where the run of a log begins that a link was asked for and is in this batch; 0: none is. */
static uint64_t answer_from(const weft_node *n, const weft_link *link, const weft_id *log) {
  for (size_t i = 0; i < n->holding.count; i++) {
    const weft_piece *p = &n->holding.at[i];
    if (p->asked && p->conn == link->conn && weft_id_cmp(&p->log, log) == 0) return p->first;
  }
  return 0;
}

static void run_taken(weft_node *n, const weft_node_verdict *v) {
  weft_head head = {v->log, v->last, v->id};
  (void)!weft__vector_raise(&n->remote, NULL, &head); /* it is then pushed like an own one */
  for (size_t i = 0; i < n->holding.count; i++) {
    const weft_piece *p = &n->holding.at[i];
    weft_link *link = weft__node_link(n, p->conn);
    if (!link || weft_id_cmp(&p->log, &v->log) != 0) continue;
    weft_id reached = v->id;
    if (p->last > v->last) continue;
    if (p->last < v->last &&
        n->source.id_at(n->source.ctx, &p->log, v->branch, p->last, &reached) != WEFT_OK) {
      continue;
    }
    weft__sync_raise(link, &p->log, p->last, &reached);
  }
  for (size_t i = 0; i < n->link_count; i++) {
    weft_link *link = n->links[i];
    weft__sync_held(link, &v->log, answer_from(n, link, &v->log), v->last);
  }
}

/* What a run behind a gap ends with is worth asking for. */
static void run_gap(weft_link *link, const weft_node_verdict *v) {
  weft__sync_raise(link, &v->log, v->last, &v->id);
  link->plan = true;
}

static void run_judged(weft_node *n, const weft_node_verdict *v) {
  weft_link *link = sender_of(n, &v->log);
  switch (v->verdict) {
  case WEFT_RUN_TAKEN:
  case WEFT_RUN_KNOWN: run_taken(n, v); break;
  case WEFT_RUN_GAP:
    if (link) run_gap(link, v);
    break;
  case WEFT_RUN_BRANCH:
    if (link) weft__sync_branch(link, &(weft_head){v->log, v->last, v->id}, v->first);
    break;
  case WEFT_RUN_FULL:
    if (link) weft__park_say(link, &v->log, v->first, v->last, WEFT_CODE_QUOTA);
    if (link) weft__sync_forget(link, &v->log);
    break;
  case WEFT_RUN_UNKNOWN:
    if (link) weft__sync_forget(link, &v->log);
    break;
  }
}

static bool senders_fault(weft_err err) {
  return err == WEFT_EBADSIG || err == WEFT_EMALFORMED || err == WEFT_EVERSION ||
         err == WEFT_ELIMIT || err == WEFT_EBADCHAIN;
}

/* Every chunk goes back to the front of those that wait, to be held link by link. */
static void hold_again(weft_node *n) {
  weft_pieces later = n->pieces;
  n->pieces = n->holding;
  memset(&n->holding, 0, sizeof n->holding);
  for (size_t i = 0; i < later.count; i++) {
    if (pieces_push(n, &n->pieces, &later.at[i]) != WEFT_OK) {
      credit_back(n, later.at[i].conn, later.at[i].credit);
      piece_drop(n, &later.at[i]);
    }
  }
  n->mem.free(n->mem.ctx, later.at);
  n->split = true;
}

static bool of_one_link(const weft_pieces *list) {
  for (size_t i = 1; i < list->count; i++) {
    if (list->at[i].conn != list->at[0].conn) return false;
  }
  return true;
}

static void ban(weft_node *n, weft_link *link) {
  weft_known *known = link->known;
  if (!known) return;
  known->ban_ms = known->ban_ms ? weft__min_ms(known->ban_ms * 2, WEFT_BAN_MS_MAX) : WEFT_BAN_MS;
  known->ban_until = n->now + known->ban_ms;
}

static void hold_failed(weft_node *n, weft_err err) {
  if (senders_fault(err)) {
    weft_link *link = weft__node_link(n, n->holding.at[0].conn);
    if (!link) return;
    ban(n, link);
    weft_code code = err == WEFT_EBADSIG ? WEFT_CODE_BAD_SIG : WEFT_CODE_BAD_BODY;
    const weft_piece *p = &n->holding.at[0];
    weft__park_say(link, &p->log, p->first, p->last, code);
    weft__link_fail(link, err, code, WEFT_FRAME_CHANGES);
    return;
  }
  /* Everything is asked for again, later. */
  n->hold_pause_until = n->now + WEFT_HOLD_FAIL_MS;
  for (size_t i = 0; i < n->link_count; i++) {
    n->links[i]->ask_count = 0;
    n->links[i]->plan = true;
  }
}

void weft_node_held(weft_node *n, weft_ms now, uint64_t ticket, weft_err result,
                    const weft_node_verdict *runs, size_t count) {
  WEFT_ASSERT(now >= n->now);
  n->wall += now - n->now;
  n->now = now;
  n->settle = true;
  if (ticket != n->hold_ticket || ticket == 0) return;
  n->hold_ticket = 0;
  if (senders_fault(result) && n->holding.count > 1) {
    /* What is good of it is held, and the sender is told which was not. */
    n->single = of_one_link(&n->holding);
    hold_again(n);
    return;
  }
  for (size_t i = 0; result == WEFT_OK && i < count; i++) run_judged(n, &runs[i]);
  if (result != WEFT_OK) hold_failed(n, result);
  for (size_t i = 0; i < n->holding.count; i++) {
    credit_back(n, n->holding.at[i].conn, n->holding.at[i].credit);
  }
  pieces_clear(n, &n->holding);
  if (n->pieces.count == 0) n->split = n->single = false;
  weft__node_look(n);
}

/* --- records --- */

void weft__record_add(weft_link *link, weft_bytes record) {
  weft_node *n = link->node;
  if (record.len == 0 || record.len > WEFT_RECORD_LEN_MAX) {
    weft__link_fail(link, WEFT_EMALFORMED, WEFT_CODE_BAD_BODY, WEFT_FRAME_AUTH_REC);
    return;
  }
  if (n->record_count >= records_max || n->record_len + record.len > records_len_max) return;
  void *at = n->records;
  weft_pending_record p = {.conn = link->conn};
  weft_err err = weft__node_grow(n, &at, &n->record_cap, n->record_count + 1, sizeof *n->records);
  n->records = at;
  if (err == WEFT_OK) err = weft__node_copy(n, record, &p.bytes);
  if (err != WEFT_OK) {
    weft__link_fail(link, err, WEFT_CODE_INTERNAL, 0);
    return;
  }
  n->records[n->record_count++] = p;
  n->record_len += p.bytes.len;
  link->records_pending++;
  n->settle = true;
}

static void record_shift(weft_node *n) {
  weft_link *link = weft__node_link(n, n->records[0].conn);
  if (link && link->records_pending > 0) link->records_pending--;
  n->record_len -= n->records[0].bytes.len;
  weft__node_drop(n, &n->records[0].bytes);
  memmove(n->records, n->records + 1, (n->record_count - 1) * sizeof *n->records);
  n->record_count--;
}

/* A record is worth storing when it is well signed by somebody who is a member by then. */
static weft_err record_judge(weft_node *n, weft_bytes bytes) {
  weft_record record;
  const weft_roster *roster = weft__node_roster(n);
  WEFT_TRY(weft__record_parse(&record, n->crypto, bytes));
  if (weft__roster_record(roster, &record.id).len > 0) return WEFT_EEXIST;
  if (record.kind != WEFT_RECORD_GENESIS && weft_id_cmp(&record.space, &n->o.space) != 0) {
    return WEFT_EFOREIGN;
  }
  bool genesis = weft_id_cmp(&record.id, &n->o.space) == 0;
  if (!genesis && !weft__roster_member_of(roster, &record.author)) return WEFT_EUNKNOWN;
  return weft__record_verify(&record, n->crypto);
}

static void record_refused(weft_node *n, weft_link *link, weft_err err) {
  if (!link || err == WEFT_EEXIST) return;
  if (err == WEFT_EBADSIG || err == WEFT_EMALFORMED || err == WEFT_EFOREIGN) {
    ban(n, link);
    weft__link_fail(link, err, err == WEFT_EBADSIG ? WEFT_CODE_BAD_SIG : WEFT_CODE_BAD_BODY,
                    WEFT_FRAME_AUTH_REC);
  }
}

void weft__record_run(weft_node *n) {
  while (!n->record_ticket && n->record_count > 0) {
    weft_err err = record_judge(n, n->records[0].bytes);
    if (err != WEFT_OK) {
      weft_link *link = weft__node_link(n, n->records[0].conn);
      record_shift(n);
      record_refused(n, link, err);
      if (link) weft__link_roster(link);
      continue;
    }
    weft_node_action a = {.kind = WEFT_NODE_RECORD, .ticket = n->ticket_next};
    a.data = n->records[0].bytes;
    if (weft__node_push(n, &a) != WEFT_OK) {
      record_shift(n);
      continue;
    }
    n->record_ticket = n->ticket_next++;
  }
}

void weft_node_recorded(weft_node *n, weft_ms now, uint64_t ticket, weft_err result) {
  WEFT_ASSERT(now >= n->now);
  n->wall += now - n->now;
  n->now = now;
  n->settle = true;
  if (ticket != n->record_ticket || ticket == 0) return;
  n->record_ticket = 0;
  weft_link *link = weft__node_link(n, n->records[0].conn);
  record_shift(n);
  if (result != WEFT_OK) record_refused(n, link, result);
  weft__node_look(n);
  if (link) weft__link_roster(link);
}

void weft__hold_free(weft_node *n) {
  pieces_clear(n, &n->pieces);
  pieces_clear(n, &n->holding);
  n->mem.free(n->mem.ctx, n->pieces.at);
  n->mem.free(n->mem.ctx, n->holding.at);
  n->mem.free(n->mem.ctx, n->hold_chunks);
  for (size_t i = 0; i < n->record_count; i++) weft__node_drop(n, &n->records[i].bytes);
  n->mem.free(n->mem.ctx, n->records);
}

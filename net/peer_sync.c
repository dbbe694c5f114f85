/* What a peer holds, and asking for what is lacking here.
 *
 * `theirs` is a lower bound of what the peer holds.  It begins as our own vector when the roots in
 * both HELLOs are equal; else the peer tells: what arrived since we last knew everything
 * (VV_DELTA), or all its heads (VV_LEAVES), or, with many logs, what differs, found by comparing
 * tries.  Later IHAVE, VV_DELTA, acknowledgements and the changes themselves raise it.
 *
 * The descent goes in turns.  In its turn a side sends trie nodes and leaves, and ends with
 * VV_ROOT; it is over when both had nothing to say in a row.  The side with the smaller instance
 * begins.
 *
 * Asking: one peer is asked for one range of a log at a time, and no two peers for the same log.
 * What cannot be got here - not there, of an unknown author, another branch - is blocked until the
 * peer tells more.  Nothing here is believed: a claim of what does not exist costs a few questions,
 * also when they are answered, with something else.  A peer that sends anything but what it was
 * asked for is asked no longer as soon as somebody else can be. */
#include <string.h>

#include "crdt/assert.h"
#include "crdt/sort.h"
#include "net/node_internal.h"

enum { small_subtree = 16 };

/* --- blocked logs --- */

/* Where a log stands among the blocked ones, or would. */
static size_t blocked_place(const weft_link *link, const weft_id *log) {
  size_t low = 0, high = link->blocked_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (weft_id_cmp(&link->blocked[middle], log) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static bool is_blocked(const weft_link *link, const weft_id *log) {
  size_t at = blocked_place(link, log);
  return at < link->blocked_count && weft_id_cmp(&link->blocked[at], log) == 0;
}

static void block(weft_link *link, const weft_id *log) {
  link->incomplete = true;
  if (is_blocked(link, log)) return;
  void *list = link->blocked;
  if (link->blocked_count >= WEFT_BLOCKED_MAX ||
      weft__node_grow(link->node, &list, &link->blocked_cap, link->blocked_count + 1,
                      sizeof *link->blocked) != WEFT_OK) {
    link->lacks_cut = true;
    return;
  }
  link->blocked = list;
  size_t at = blocked_place(link, log);
  memmove(link->blocked + at + 1, link->blocked + at,
          (link->blocked_count - at) * sizeof *link->blocked);
  link->blocked[at] = *log;
  link->blocked_count++;
}

/* True when it was blocked. */
static bool unblock(weft_link *link, const weft_id *log) {
  size_t at = blocked_place(link, log);
  if (at == link->blocked_count || weft_id_cmp(&link->blocked[at], log) != 0) return false;
  link->blocked_count--;
  memmove(link->blocked + at, link->blocked + at + 1,
          (link->blocked_count - at) * sizeof *link->blocked);
  return true;
}

void weft__sync_unblock(weft_link *link) {
  const uint8_t *root = link->node->auth_root;
  if (memcmp(link->blocked_root, root, sizeof link->blocked_root) == 0) return;
  memcpy(link->blocked_root, root, sizeof link->blocked_root);
  link->blocked_count = 0;
  link->lacks_lost = true;
}

/* --- what they have more of --- */

/* The first head of a log in `theirs` that is beyond what is held; NULL when none is. */
static const weft_head *lacked_head(const weft_link *link, const weft_id *log) {
  size_t first;
  size_t count = weft__vector_find(&link->theirs, log, &first);
  uint64_t seq = weft__vector_seq(weft__node_held(link->node), log);
  for (size_t i = 0; i < count; i++) {
    if (link->theirs.heads[first + i].seq > seq) return &link->theirs.heads[first + i];
  }
  return NULL;
}

static weft_err lack_push(weft_link *link, const weft_id *log) {
  void *list = link->lacks;
  WEFT_TRY(weft__node_grow(link->node, &list, &link->lack_cap, link->lack_count + 1,
                           sizeof *link->lacks));
  link->lacks = list;
  link->lacks[link->lack_count++] = *log;
  return WEFT_OK;
}

static void lack_drop(weft_link *link, size_t idx) {
  link->lacks[idx] = link->lacks[--link->lack_count];
}

/* It is not asked for before more is told; what was asked stands among the first. */
static void lack_forget(weft_link *link, const weft_id *log) {
  size_t look = link->lack_count < WEFT_BLOCKED_MAX ? link->lack_count : WEFT_BLOCKED_MAX;
  for (size_t i = 0; i < look; i++) {
    if (weft_id_cmp(&link->lacks[i], log) != 0) continue;
    lack_drop(link, i);
    return;
  }
}

/* Notes that `log` is told as far as `seq`, before `theirs` says so. */
static weft_err lack_note(weft_link *link, const weft_id *log, uint64_t seq, bool unblocked) {
  uint64_t held = weft__vector_seq(weft__node_held(link->node), log);
  bool known = weft__vector_seq(&link->theirs, log) > held && !unblocked;
  return known || seq <= held ? WEFT_OK : lack_push(link, log);
}

static void lacks_clear(weft_link *link) {
  link->lack_count = 0;
  link->lacks_lost = link->lacks_cut = false;
}

/* Lists them anew. */
static void lacks_make(weft_link *link) {
  lacks_clear(link);
  for (size_t i = 0; i < link->theirs.count; i++) {
    const weft_head *h = &link->theirs.heads[i];
    bool again = i > 0 && weft_id_cmp(&h[-1].log, &h->log) == 0;
    if (again || is_blocked(link, &h->log) || !lacked_head(link, &h->log)) continue;
    if (lack_push(link, &h->log) == WEFT_OK) continue;
    link->lacks_lost = true; /* without memory: next time */
    return;
  }
}

/* What was asked of a log cannot be had here: others may be asked now. */
static void give_up(weft_link *link, const weft_id *log) {
  weft_node *n = link->node;
  block(link, log);
  lack_forget(link, log);
  for (size_t i = 0; i < n->link_count; i++) n->links[i]->plan = true;
  n->settle = true;
}

/* --- theirs --- */

void weft__sync_raise(weft_link *link, const weft_id *log, uint64_t seq, const weft_id *id) {
  weft_head head = {*log, seq, *id};
  if (link->state != WEFT_LINK_OPEN || weft__vector_covers(&link->theirs, log, seq)) return;
  weft_err err = lack_note(link, log, seq, false);
  if (err == WEFT_OK) err = weft__vector_raise(&link->theirs, NULL, &head);
  if (err != WEFT_OK) weft__link_fail(link, err, WEFT_CODE_LIMIT, 0);
}

static int head_order(const void *ctx, const void *a, const void *b) {
  (void)ctx;
  return weft__head_cmp(a, b);
}

/* Puts what is news among `m` into `fresh`, ascending; gives its number. */
static size_t fresh_heads(const weft_link *link, const weft_msg_heads *m, weft_head *fresh) {
  const void *list[WEFT_MESSAGE_HEADS_MAX], *scratch[WEFT_MESSAGE_HEADS_MAX];
  size_t count = 0;
  for (size_t i = 0; i < m->count; i++) {
    const weft_head *h = &m->at[i];
    if (!weft__vector_covers(&link->theirs, &h->log, h->seq)) list[count++] = h;
  }
  weft__sort(list, scratch, count, head_order, NULL);
  for (size_t i = 0; i < count; i++) fresh[i] = *(const weft_head *)list[i];
  return count;
}

/* One pass over `theirs` for a frame, however many heads it has. */
static void take_heads(weft_link *link, const weft_msg_heads *m) {
  weft_head fresh[WEFT_MESSAGE_HEADS_MAX];
  size_t count = link->state == WEFT_LINK_OPEN ? fresh_heads(link, m, fresh) : 0;
  weft_err err = WEFT_OK;
  for (size_t i = 0; i < count && err == WEFT_OK; i++) {
    const weft_head *h = &fresh[i];
    bool last = i + 1 == count || weft_id_cmp(&h->log, &fresh[i + 1].log) != 0;
    if (last) err = lack_note(link, &h->log, h->seq, unblock(link, &h->log));
  }
  if (err == WEFT_OK) err = weft__vector_raise_all(&link->theirs, fresh, count);
  if (err != WEFT_OK) weft__link_fail(link, err, WEFT_CODE_LIMIT, 0);
  if (link->state == WEFT_LINK_OPEN) weft__fork_heard(link, m);
  link->plan = true;
  link->node->settle = true;
}

/* Forgets on the way what is not lacking any more. */
static bool lacks_any(weft_link *link) {
  if (link->lacks_lost) lacks_make(link);
  while (link->lack_count > 0 && !lacked_head(link, &link->lacks[0])) lack_drop(link, 0);
  while (link->blocked_count > 0 && !lacked_head(link, &link->blocked[link->blocked_count - 1])) {
    link->blocked_count--;
  }
  bool some = link->lack_count > 0 || link->blocked_count > 0 || link->other_count > 0;
  return some || link->lacks_lost || link->lacks_cut;
}

bool weft__sync_is_done(const weft_link *link) {
  return link->recon && link->their_part_done && !link->descending;
}

/* Everything they told is here: the next link to them begins from there. */
static void cursor_move(weft_link *link) {
  weft_known *known = link->known;
  if (!weft__sync_is_done(link) || link->ask_count || link->incomplete) return;
  if (known->twins || known->instance != link->instance) return;
  if (link->cursor_next <= known->arrival) return;
  if (lacks_any(link)) return;
  known->arrival = link->cursor_next;
}

/* --- telling --- */

/* Sends heads in as many frames as they need; the last one says so. */
static void send_heads(weft_link *link, uint8_t type, const weft_msg_heads *all) {
  size_t done = 0;
  do {
    weft_msg_heads m = *all;
    m.at = all->count ? all->at + done : NULL;
    m.count = all->count - done;
    if (m.count > WEFT_MESSAGE_HEADS_MAX) m.count = WEFT_MESSAGE_HEADS_MAX;
    done += m.count;
    m.done = done == all->count;
    weft_buf body = weft__link_body(link);
    weft__msg_heads_put(&body, &m);
    weft__link_send(link, type, &body);
  } while (done < all->count && link->state == WEFT_LINK_OPEN);
}

/* Whatever is told here need not be pushed again. */
static void told_all(weft_link *link) {
  weft_node *n = link->node;
  link->told = n->arrival;
  link->own_at = link->relay_at = link->express_at = n->ring_end;
}

static void send_leaves(weft_link *link, bool ask) {
  const weft_vector *held = weft__node_held(link->node);
  weft_msg_heads m = {.at = held->heads, .count = held->count, .ask = ask};
  m.to = link->node->arrival;
  send_heads(link, WEFT_FRAME_VV_LEAVES, &m);
  told_all(link);
}

/* The heads of the logs that grew after `from`; WEFT_ELIMIT when telling all is no more. */
static weft_err grown_heads(weft_node *n, uint64_t from, weft_arena *arena, weft_head **out,
                            size_t *count) {
  const weft_vector *held = weft__node_held(n);
  weft_vector grown;
  weft__vector_init(&grown, &n->mem);
  weft_err err = WEFT_OK;
  uint64_t last = from;
  while (err == WEFT_OK && last < n->arrival) {
    weft_source_span *spans;
    size_t span_count;
    uint64_t before = last;
    err = n->source.arrivals(n->source.ctx, arena, before, WEFT_SPANS_MAX, &spans, &span_count,
                             &last);
    if (err == WEFT_OK && last == before) break;
    for (size_t i = 0; err == WEFT_OK && i < span_count; i++) {
      size_t first;
      size_t heads = weft__vector_find(held, &spans[i].log, &first);
      err = weft__vector_set(&grown, &spans[i].log, held->heads + first, heads);
    }
    if (err == WEFT_OK && grown.count >= held->count) err = WEFT_ELIMIT;
  }
  *out = weft__arena_zero(arena, grown.count, sizeof **out);
  if (!*out && err == WEFT_OK) err = WEFT_ENOMEM;
  if (err == WEFT_OK && grown.count) memcpy(*out, grown.heads, grown.count * sizeof **out);
  *count = grown.count;
  weft__vector_free(&grown);
  return err;
}

static void send_delta(weft_link *link, uint64_t from) {
  weft_node *n = link->node;
  weft_arena arena;
  weft_msg_heads m = {.from = from, .to = n->arrival};
  weft_head *heads;
  weft__arena_init(&arena, &n->mem);
  weft_err err = grown_heads(n, from, &arena, &heads, &m.count);
  m.at = heads;
  if (err == WEFT_OK) {
    send_heads(link, WEFT_FRAME_VV_DELTA, &m);
    told_all(link);
  } else if (err == WEFT_ELIMIT) {
    const weft_vector *held = weft__node_held(n);
    m.at = held->heads;
    m.count = held->count;
    send_heads(link, WEFT_FRAME_VV_DELTA, &m);
    told_all(link);
  }
  weft__arena_free(&arena);
}

void weft__sync_announce(weft_link *link) {
  if (!link->recon || link->descending) return;
  if (link->told < link->node->arrival) send_delta(link, link->told);
}

/* --- beginning --- */

static bool prefix_push(weft_link *link, const uint8_t *at, size_t len, weft_prefix_kind what) {
  if (link->prefix_count >= WEFT_PREFIXES_MAX) {
    link->incomplete = true;
    return false;
  }
  void *list = link->prefixes;
  if (weft__node_grow(link->node, &list, &link->prefix_cap, link->prefix_count + 1,
                      sizeof *link->prefixes) != WEFT_OK) {
    link->incomplete = true;
    return false;
  }
  link->prefixes = list;
  weft_prefix *p = &link->prefixes[link->prefix_count++];
  memset(p, 0, sizeof *p);
  if (len) memcpy(p->at, at, len);
  p->len = (uint8_t)len;
  p->what = what;
  return true;
}

static bool leads(const weft_link *link) {
  uint64_t mine = link->node->source.instance(link->node->source.ctx);
  if (mine != link->instance) return mine < link->instance;
  return weft_id_cmp(&link->node->identity.device, &link->device) < 0;
}

static void turn_take(weft_link *link);

static void descent_begin(weft_link *link, bool first) {
  link->descending = true;
  link->quiet_said = false;
  link->prefix_count = 0;
  if (!first) return;
  (void)prefix_push(link, NULL, 0, WEFT_PREFIX_NODE);
  turn_take(link);
}

void weft__sync_begin(weft_link *link) {
  weft_node *n = link->node;
  link->recon = true;
  link->told = link->hello_arrival;
  link->cursor_next = link->their_arrival;
  if (memcmp(link->hello_root, link->their_hello_root, WEFT_ROOT_LEN) == 0) {
    link->their_part_done = true;
    cursor_move(link);
    return;
  }
  weft__vector_clear(&link->theirs);
  lacks_clear(link);
  bool they_resume = link->their_cursor > 0;
  bool we_resume = link->hello_cursor > 0 && link->hello_cursor_instance == link->instance &&
                   link->hello_cursor <= link->their_arrival;
  bool few = link->hello_count <= WEFT_LEAVES_MAX && link->their_count <= WEFT_LEAVES_MAX;
  if (!few && !(they_resume && we_resume)) {
    descent_begin(link, leads(link));
    return;
  }
  if (they_resume)
    send_delta(link, link->their_cursor);
  else
    send_leaves(link, false);
  n->settle = true;
}

/* --- what they lack --- */

typedef struct lack_list {
  weft_msg_range at[WEFT_MESSAGE_WANTS_MAX];
  size_t count;
  uint64_t changes;
} lack_list;

/* Adds what the peer lacks of a log that it holds as far as `from` - 1 at least.  Forked logs are
 * left to questions.  False: that is more than is sent unasked. */
static bool lack_add(weft_link *link, lack_list *list, const weft_id *log, uint64_t from) {
  const weft_vector *held = weft__node_held(link->node);
  size_t first, told;
  if (weft__vector_find(held, log, &first) != 1) return true;
  const weft_head *h = &held->heads[first];
  weft_msg_range range = {.log = *log, .from = from, .to = h->seq, .head = h->id};
  size_t tells = weft__vector_find(&link->theirs, log, &told);
  if (tells > 1) return true;
  if (tells == 1 && link->theirs.heads[told].seq >= from) {
    range.from = link->theirs.heads[told].seq + 1;
    range.prev = link->theirs.heads[told].id;
  }
  if (range.from > range.to) return true;
  for (size_t i = 0; i < list->count; i++) {
    if (weft_id_cmp(&list->at[i].log, log) == 0) return true; /* a later span of the same */
  }
  list->changes += range.to - range.from + 1;
  if (list->count == WEFT_MESSAGE_WANTS_MAX || list->changes > WEFT_UNASKED_MAX) return false;
  list->at[list->count++] = range;
  return true;
}

/* The same of all that arrived here after what the peer's cursor says it holds. */
static bool lack_grown(weft_link *link, lack_list *list, weft_arena *arena) {
  weft_node *n = link->node;
  uint64_t last = link->their_cursor;
  while (last < n->arrival) {
    weft_source_span *spans;
    size_t count;
    uint64_t before = last;
    weft_err err =
        n->source.arrivals(n->source.ctx, arena, before, WEFT_SPANS_MAX, &spans, &count, &last);
    if (err != WEFT_OK || last == before) return false;
    for (size_t i = 0; i < count; i++) {
      if (!lack_add(link, list, &spans[i].log, spans[i].from)) return false;
    }
  }
  return true;
}

/* Sends at once what the peer has just told to lack, when that is little: its question would cost a
 * round trip.  `whole`: it has told all that it holds. */
static void send_lacking(weft_link *link, bool whole) {
  weft_node *n = link->node;
  const weft_vector *held = weft__node_held(n);
  lack_list list = {.count = 0};
  weft_arena arena;
  bool little = n->o.gossip && link->state == WEFT_LINK_OPEN && !n->stopping;
  weft__arena_init(&arena, &n->mem);
  if (little && link->their_cursor > 0) {
    little = lack_grown(link, &list, &arena);
  } else {
    for (size_t i = 0; i < held->count && little; i++) {
      little = whole && lack_add(link, &list, &held->heads[i].log, 1);
    }
  }
  if (little) weft__serve_unasked(link, list.at, list.count);
  weft__arena_free(&arena);
}

/* --- hearing --- */

void weft__sync_leaves(weft_link *link, const weft_msg_heads *m) {
  take_heads(link, m);
  if (link->state != WEFT_LINK_OPEN) return;
  if (link->descending) {
    if (m->ask) (void)prefix_push(link, m->prefix, m->prefix_len, WEFT_PREFIX_LEAVES);
    return;
  }
  if (!m->done) return;
  if (!link->their_part_done) send_lacking(link, m->prefix_len == 0);
  link->their_part_done = true;
  if (m->prefix_len == 0) {
    link->cursor_next = m->to;
    link->incomplete = false;
  }
  if (!m->ask) return;
  if (weft__again_waits(link)) {
    weft__link_fail(link, WEFT_EPROTO, WEFT_CODE_FLOW, WEFT_FRAME_VV_LEAVES);
    return;
  }
  weft__again_count(link, weft__node_held(link->node)->count * sizeof *m->at);
  send_leaves(link, false);
}

void weft__sync_delta(weft_link *link, const weft_msg_heads *m) {
  take_heads(link, m);
  if (!m->done) return;
  if (!link->their_part_done) send_lacking(link, false);
  bool follows = link->their_part_done || m->from <= link->hello_cursor;
  link->their_part_done = true;
  if (follows && m->to > link->cursor_next) link->cursor_next = m->to;
}

void weft__sync_ihave(weft_link *link, const weft_msg_heads *m) { take_heads(link, m); }

void weft__sync_nohave(weft_link *link, const weft_msg_nohave *m) {
  bool back = false;
  for (size_t i = 0; i < link->ask_count; i++) {
    if (weft_id_cmp(&link->asks[i].log, &m->log) != 0) continue;
    weft_ask ask = link->asks[i];
    link->asks[i] = link->asks[--link->ask_count];
    back = m->why == WEFT_NOHAVE_BRANCH &&
           weft__fork_back(link, &(weft_head){ask.log, ask.to, ask.head}, ask.from);
    break;
  }
  if (back) return;
  weft__fork_drop(link, &m->log);
  give_up(link, &m->log);
}

/* --- the descent --- */

static bool under_prefix(const weft_id *log, const uint8_t *prefix, size_t len) {
  for (size_t i = 0; i < len; i++) {
    uint8_t step = (uint8_t)(i % 2 ? log->b[i / 2] & 15 : log->b[i / 2] >> 4);
    if (step != prefix[i]) return false;
  }
  return true;
}

static void send_prefix_leaves(weft_link *link, const weft_prefix *p) {
  weft_node *n = link->node;
  weft_vector_node node;
  const weft_vector *held = weft__node_held(n);
  weft_bytes prefix = weft_bytes_of(p->at, p->len);
  if (weft__vector_node(held, n->crypto, prefix, &node) != WEFT_OK) return;
  weft_msg_heads m = {.ask = p->what == WEFT_PREFIX_ASK, .prefix_len = p->len, .to = n->arrival};
  memcpy(m.prefix, p->at, p->len);
  m.at = held->heads + node.first;
  m.count = node.count;
  WEFT_ASSERT(node.count == 0 || under_prefix(&m.at->log, p->at, p->len));
  send_heads(link, WEFT_FRAME_VV_LEAVES, &m);
}

static void nodes_flush(weft_link *link, weft_msg_node *nodes, size_t *count) {
  if (*count == 0) return;
  weft_msg_nodes m = {nodes, *count};
  weft_buf body = weft__link_body(link);
  weft__msg_nodes_put(&body, &m);
  weft__link_send(link, WEFT_FRAME_VV_NODES, &body);
  *count = 0;
}

static void send_turn(weft_link *link, bool quiet) {
  weft_node *n = link->node;
  weft_msg_turn m = {.count = weft__node_held(n)->count, .quiet = quiet};
  weft__node_roots(n);
  memcpy(m.root, n->held_root, sizeof m.root);
  weft_buf body = weft__link_body(link);
  weft__msg_turn_put(&body, &m);
  weft__link_send(link, WEFT_FRAME_VV_ROOT, &body);
}

/* Says what is queued, up to a bound, and passes the turn. */
static void turn_take(weft_link *link) {
  weft_node *n = link->node;
  weft_msg_node nodes[WEFT_MESSAGE_NODES_MAX];
  size_t node_count = 0, said = 0;
  for (; said < link->prefix_count && said < WEFT_TURN_NODES_MAX; said++) {
    const weft_prefix *p = &link->prefixes[said];
    if (p->what != WEFT_PREFIX_NODE) {
      send_prefix_leaves(link, p);
      continue;
    }
    weft_vector_node node;
    weft_bytes prefix = weft_bytes_of(p->at, p->len);
    if (weft__vector_node(weft__node_held(n), n->crypto, prefix, &node) != WEFT_OK) continue;
    weft_msg_node *out = &nodes[node_count++];
    memset(out, 0, sizeof *out);
    memcpy(out->prefix, p->at, p->len);
    out->prefix_len = p->len;
    memcpy(out->child, node.child, sizeof out->child);
    if (node_count == WEFT_MESSAGE_NODES_MAX) nodes_flush(link, nodes, &node_count);
  }
  nodes_flush(link, nodes, &node_count);
  if (link->state != WEFT_LINK_OPEN) return;
  link->prefix_count -= said;
  if (said > 0 && link->prefix_count > 0) {
    memmove(link->prefixes, link->prefixes + said, link->prefix_count * sizeof *link->prefixes);
  }
  link->quiet_said = said == 0;
  send_turn(link, link->quiet_said);
}

void weft__sync_nodes(weft_link *link, const weft_msg_nodes *m) {
  static const uint8_t none[WEFT_ROOT_LEN];
  weft_node *n = link->node;
  if (!link->descending) descent_begin(link, false);
  for (size_t i = 0; i < m->count; i++) {
    const weft_msg_node *theirs = &m->at[i];
    weft_vector_node mine;
    weft_bytes prefix = weft_bytes_of(theirs->prefix, theirs->prefix_len);
    if (theirs->prefix_len + 1 >= WEFT_VECTOR_DEPTH_MAX) continue;
    if (weft__vector_node(weft__node_held(n), n->crypto, prefix, &mine) != WEFT_OK) continue;
    for (uint8_t step = 0; step < 16; step++) {
      if (memcmp(mine.child[step], theirs->child[step], WEFT_ROOT_LEN) == 0) continue;
      uint8_t child[WEFT_VECTOR_DEPTH_MAX];
      memcpy(child, theirs->prefix, theirs->prefix_len);
      child[theirs->prefix_len] = step;
      size_t len = theirs->prefix_len + 1;
      weft_vector_node below;
      weft_prefix_kind what = WEFT_PREFIX_ASK;
      if (memcmp(theirs->child[step], none, sizeof none) == 0) {
        what = WEFT_PREFIX_LEAVES;
      } else if (weft__vector_node(weft__node_held(n), n->crypto, weft_bytes_of(child, len),
                                   &below) == WEFT_OK &&
                 below.count > small_subtree) {
        what = WEFT_PREFIX_NODE;
      }
      (void)prefix_push(link, child, len, what);
    }
  }
}

static void descent_end(weft_link *link) {
  link->descending = false;
  link->their_part_done = true;
  link->prefix_count = 0;
  link->plan = true;
  told_all(link);
  cursor_move(link);
}

void weft__sync_turn(weft_link *link, const weft_msg_turn *m) {
  if (!link->descending) {
    if (m->quiet) return;
    descent_begin(link, false);
  }
  link->node->settle = true;
  if (m->quiet && link->prefix_count == 0) {
    if (!link->quiet_said) send_turn(link, true);
    descent_end(link);
    return;
  }
  turn_take(link);
}

/* --- asking --- */

static bool asked_anywhere(const weft_node *n, const weft_id *log) {
  for (size_t i = 0; i < n->link_count; i++) {
    const weft_link *link = n->links[i];
    if (link->state != WEFT_LINK_OPEN) continue;
    for (size_t k = 0; k < link->ask_count; k++) {
      if (weft_id_cmp(&link->asks[k].log, log) == 0) return true;
    }
  }
  return false;
}

static void want_send(weft_link *link, const weft_msg_range *ranges, size_t count) {
  weft_msg_want m = {ranges, count};
  if (count == 0) return;
  weft_buf body = weft__link_body(link);
  weft__msg_want_put(&body, &m);
  weft__link_send(link, WEFT_FRAME_WANT, &body);
  link->ask_at = link->node->now;
}

/* Notes that `from`..`to` is asked; fills the range that says so. */
static void ask_add(weft_link *link, uint64_t from, const weft_head *to, weft_msg_range *range) {
  const weft_id *log = &to->log;
  WEFT_ASSERT(link->ask_count < WEFT_MESSAGE_WANTS_MAX);
  link->asks[link->ask_count++] = (weft_ask){*log, from, to->seq, to->id, link->node->now};
  *range = (weft_msg_range){.log = *log, .from = from, .to = to->seq, .head = to->id};
  /* What is on its way in has no id yet; zeros say that any branch will do. */
  if (from > 1) (void)weft__fork_prev(link, log, from - 1, &range->prev);
}

void weft__sync_plan(weft_link *link) {
  weft_node *n = link->node;
  weft_msg_range ranges[WEFT_MESSAGE_WANTS_MAX];
  size_t count = 0;
  link->plan = false;
  if (n->stopping || n->now < n->hold_pause_until) {
    link->plan = n->now < n->hold_pause_until;
    return;
  }
  weft_other other;
  for (size_t at = 0; weft__fork_next(link, &at, &other);) {
    if (link->ask_count == WEFT_MESSAGE_WANTS_MAX) break;
    if (is_blocked(link, &other.head.log) || asked_anywhere(n, &other.head.log)) continue;
    ask_add(link, other.from, &other.head, &ranges[count++]);
  }
  if (link->lacks_lost) lacks_make(link);
  for (size_t i = 0; i < link->lack_count && link->ask_count < WEFT_MESSAGE_WANTS_MAX;) {
    const weft_head *h = lacked_head(link, &link->lacks[i]);
    if (!h || is_blocked(link, &h->log)) {
      lack_drop(link, i);
      continue;
    }
    i++;
    if (asked_anywhere(n, &h->log)) continue;
    uint64_t reach = weft__hold_reach(n, &h->log);
    if (reach >= h->seq) continue;
    ask_add(link, reach + 1, h, &ranges[count++]);
  }
  want_send(link, ranges, count);
  cursor_move(link);
}

static void ask_drop(weft_link *link, size_t idx) {
  link->asks[idx] = link->asks[--link->ask_count];
}

void weft__sync_held(weft_link *link, const weft_id *log, uint64_t first, uint64_t last) {
  for (size_t i = 0; i < link->ask_count; i++) {
    weft_ask *a = &link->asks[i];
    if (weft_id_cmp(&a->log, log) != 0 || last < a->from) continue;
    /* Whoever sends something of one branch has not answered for another one. */
    weft_other *lacks = weft__fork_lacks(link, &(weft_head){a->log, a->to, a->head});
    if (lacks && (first == 0 || first > a->to)) continue;
    a->from = last + 1;
    a->at = link->node->now;
    if (a->from <= a->to) continue;
    ask_drop(link, i--);
    if (!lacks || ++lacks->tries < WEFT_FORK_TRIES) continue;
    weft__fork_drop(link, log);
    give_up(link, log);
  }
  link->plan = true;
}

/* Takes back what was asked of a log. */
static void ask_forget(weft_link *link, const weft_id *log) {
  for (size_t i = 0; i < link->ask_count; i++) {
    if (weft_id_cmp(&link->asks[i].log, log) != 0) continue;
    ask_drop(link, i);
    return;
  }
}

void weft__sync_branch(weft_link *link, const weft_head *last, uint64_t from) {
  if (link->state != WEFT_LINK_OPEN || is_blocked(link, &last->log)) return;
  ask_forget(link, &last->log);
  if (!weft__fork_back(link, last, from)) give_up(link, &last->log);
}

void weft__sync_forget(weft_link *link, const weft_id *log) {
  ask_forget(link, log);
  give_up(link, log);
}

void weft__sync_timeout(weft_link *link) {
  if (weft__hold_has(link->node, link->conn)) {
    link->ask_at = link->node->now;
    return;
  }
  for (size_t i = 0; i < link->ask_count; i++) give_up(link, &link->asks[i].log);
  link->ask_count = 0;
}

/* Whether another peer has more of a log than is here or on its way. */
static bool is_elsewhere(const weft_link *link, const weft_id *log) {
  const weft_node *n = link->node;
  uint64_t reach = weft__hold_reach(n, log);
  for (size_t i = 0; i < n->link_count; i++) {
    const weft_link *other = n->links[i];
    if (other == link || other->state != WEFT_LINK_OPEN || is_blocked(other, log)) continue;
    if (weft__vector_seq(&other->theirs, log) > reach || weft__fork_has(other, log)) return true;
  }
  return false;
}

weft_ms weft__sync_patience_due(const weft_link *link) {
  weft_ms at = WEFT_NEVER;
  for (size_t i = 0; i < link->ask_count; i++) at = weft__min_ms(at, link->asks[i].at);
  return at == WEFT_NEVER ? at : at + WEFT_LINK_ASK_LONG_MS;
}

void weft__sync_patience(weft_link *link) {
  weft_ms now = link->node->now;
  for (size_t i = 0; i < link->ask_count; i++) {
    weft_ask *a = &link->asks[i];
    if (now < a->at + WEFT_LINK_ASK_LONG_MS) continue;
    a->at = now;
    if (!is_elsewhere(link, &a->log)) continue;
    weft_id log = a->log;
    ask_drop(link, i--);
    give_up(link, &log);
  }
}

/* --- comparing again --- */

void weft__sync_resync(weft_link *link) {
  weft_node *n = link->node;
  link->resync_at = WEFT_NEVER;
  link->resync_ms = weft__min_ms(link->resync_ms * 2, WEFT_LINK_RESYNC_MS_MAX);
  link->blocked_count = 0;
  link->plan = true;
  n->settle = true;
  /* A claim that nobody could meet is forgotten; what is true will be told again. */
  weft__vector_clear(&link->theirs);
  lacks_clear(link);
  link->other_count = 0;
  bool few = weft__node_held(n)->count <= WEFT_LEAVES_MAX && link->their_count <= WEFT_LEAVES_MAX;
  if (few) {
    send_leaves(link, true);
    return;
  }
  if (leads(link) && !link->descending) descent_begin(link, true);
}

/* Acknowledgements: signing our own, taking those of others, passing the newest on.
 *
 * One table holds the newest of every device.  A link remembers only which counter of each device
 * it carried; a stamp on every log of an acknowledged vector says at which counter it last changed,
 * so the delta for any link is the logs stamped after what it carried. */
#include <string.h>

#include "net/node_internal.h"

enum { frame_heads_max = 16384, vector_heads_max = 98304 };

/* --- stamps --- */

static weft_stamps *stamps_of(weft_node *n, const weft_id *device, bool make) {
  size_t low = 0, high = n->stamp_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (weft_id_cmp(&n->stamps[middle].device, device) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  if (low < n->stamp_count && weft_id_cmp(&n->stamps[low].device, device) == 0) {
    return &n->stamps[low];
  }
  void *at = n->stamps;
  if (!make ||
      weft__node_grow(n, &at, &n->stamp_cap, n->stamp_count + 1, sizeof *n->stamps) != WEFT_OK) {
    return NULL;
  }
  n->stamps = at;
  memmove(n->stamps + low + 1, n->stamps + low, (n->stamp_count - low) * sizeof *n->stamps);
  n->stamps[low] = (weft_stamps){.device = *device};
  n->stamp_count++;
  return &n->stamps[low];
}

static size_t stamp_place(const weft_stamps *s, const weft_id *log) {
  size_t low = 0, high = s->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (weft_id_cmp(&s->at[middle].log, log) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* Stamps what `heads` name where it stands.  False: a log of them has no stamp yet. */
static bool stamp_old(weft_stamps *s, const weft_head *heads, size_t count, uint64_t counter) {
  for (size_t i = 0; i < count; i++) {
    size_t place = stamp_place(s, &heads[i].log);
    bool found = place < s->count && weft_id_cmp(&s->at[place].log, &heads[i].log) == 0;
    if (!found && heads[i].seq != 0) return false;
    if (found) s->at[place].counter = counter;
  }
  return true;
}

/* Puts stamps for the logs of `v` into `fresh`: for those that `heads` name new ones, for the
 * others what `s` has.  Returns how many. */
static size_t stamps_merge(const weft_stamps *s, const weft_vector *v, const weft_head *heads,
                           size_t count, uint64_t counter, weft_stamp *fresh) {
  size_t old = 0, named = 0, kept = 0;
  for (size_t i = 0; i < v->count; i++) {
    const weft_id *log = &v->heads[i].log;
    if (i > 0 && weft_id_cmp(log, &v->heads[i - 1].log) == 0) continue;
    while (old < s->count && weft_id_cmp(&s->at[old].log, log) < 0) old++;
    while (named < count && weft_id_cmp(&heads[named].log, log) < 0) named++;
    if (named < count && weft_id_cmp(&heads[named].log, log) == 0)
      fresh[kept++] = (weft_stamp){*log, counter};
    else if (old < s->count && weft_id_cmp(&s->at[old].log, log) == 0)
      fresh[kept++] = s->at[old];
  }
  return kept;
}

static bool changed_since(const weft_stamps *s, const weft_id *log, uint64_t counter) {
  if (!s) return true;
  size_t place = stamp_place(s, log);
  bool found = place < s->count && weft_id_cmp(&s->at[place].log, log) == 0;
  return !found || s->at[place].counter > counter;
}

/* Notes that the logs of `heads`, which ascend, changed with `ack`, and forgets logs that it names
 * no more.  Without memory all count as always changed. */
static void stamp_all(weft_node *n, const weft_ack *ack, const weft_head *heads, size_t count) {
  weft_stamps *s = stamps_of(n, &ack->device, true);
  const weft_ack_entry *entry = weft__ack_table_find(&n->acks, &ack->device);
  if (!s || !entry || stamp_old(s, heads, count, ack->counter)) return;
  const weft_vector *v = &entry->vector;
  weft_stamp *fresh = n->mem.alloc(n->mem.ctx, (v->count + 1) * sizeof *fresh);
  size_t kept = fresh ? stamps_merge(s, v, heads, count, ack->counter, fresh) : 0;
  n->mem.free(n->mem.ctx, s->at);
  s->at = fresh;
  s->count = kept;
}

/* --- storing --- */

/* The replica is to keep this one, with others, before long. */
static void ack_keep(weft_node *n, const weft_id *device) {
  weft_stamps *s = stamps_of(n, device, true);
  if (!s) return;
  s->dirty = true;
  if (n->ack_store_at == WEFT_NEVER) n->ack_store_at = n->now + WEFT_ACK_STORE_MS;
}

static void ack_store(weft_node *n, const weft_id *device) {
  const weft_ack_entry *entry = weft__ack_table_find(&n->acks, device);
  weft_buf body;
  if (!entry) return;
  weft__buf_init(&body, &n->mem, SIZE_MAX);
  weft_msg_ack item = {entry->ack, true, entry->vector.heads, entry->vector.count};
  weft_msg_acks m = {&item, 1};
  weft__msg_acks_put(&body, &m);
  weft_node_action a = {.kind = WEFT_NODE_ACK, .device = *device, .data = weft__buf_view(&body)};
  if (weft__buf_err(&body) == WEFT_OK) (void)!weft__node_push(n, &a);
  weft__buf_free(&body);
}

void weft__ack_flush(weft_node *n) {
  n->ack_store_at = WEFT_NEVER;
  for (size_t i = 0; i < n->stamp_count; i++) {
    if (!n->stamps[i].dirty) continue;
    n->stamps[i].dirty = false;
    ack_store(n, &n->stamps[i].device);
  }
}

static weft_err load_one(weft_node *n, weft_arena *arena, weft_bytes bytes) {
  weft_msg_acks m;
  WEFT_TRY(weft__msg_acks_read(arena, bytes, &m));
  for (size_t i = 0; i < m.count; i++) {
    const weft_msg_ack *a = &m.at[i];
    bool fresh;
    WEFT_TRY(weft__ack_table_put(&n->acks, n->crypto, &n->o.space, &a->ack, a->whole, a->delta,
                                 a->count, &fresh));
    if (fresh) stamp_all(n, &a->ack, a->delta, a->count);
  }
  return WEFT_OK;
}

weft_err weft__ack_load(weft_node *n) {
  weft_arena arena;
  weft_bytes *acks = NULL;
  size_t count = 0;
  weft__arena_init(&arena, &n->mem);
  weft_err err = n->source.acks(n->source.ctx, &arena, &acks, &count);
  for (size_t i = 0; err == WEFT_OK && i < count; i++) {
    err = load_one(n, &arena, acks[i]);
    if (err != WEFT_ENOMEM) err = WEFT_OK; /* what does not hold any more will be told again */
  }
  weft__arena_free(&arena);
  return err;
}

void weft__ack_free(weft_node *n) {
  for (size_t i = 0; i < n->stamp_count; i++) n->mem.free(n->mem.ctx, n->stamps[i].at);
  n->mem.free(n->mem.ctx, n->stamps);
}

/* --- our own --- */

/* Does the peer hear a device itself, as it says? */
static bool hears(const weft_link *link, const weft_id *device) {
  weft_node *n = link->node;
  const weft_msg_status *their = &link->their;
  if (their->linked_len == 0) return false;
  if (memcmp(their->auth_root, n->auth_root, sizeof n->auth_root) != 0) return false;
  const weft_roster *roster = weft__node_roster(n);
  const weft_roster_member *members, *m = weft__roster_member_of(roster, device);
  size_t count;
  weft__roster_members(roster, &members, &count);
  size_t place = m ? (size_t)(m - members) : SIZE_MAX;
  return place / 8 < their->linked_len && (their->linked[place / 8] >> place % 8 & 1);
}

/* Must the newest acknowledgement of a device go over a link, once it has not? */
static bool goes_over(const weft_link *link, const weft_id *device) {
  if (weft_id_cmp(device, &link->device) == 0) return false;
  return weft_id_cmp(device, &link->node->identity.device) == 0 || !hears(link, device);
}

static void stale(weft_node *n, const weft_id *device) {
  for (size_t i = 0; i < n->link_count; i++) {
    if (goes_over(n->links[i], device)) n->links[i]->acks_stale = true;
  }
}

static void all_stale(weft_node *n) {
  for (size_t i = 0; i < n->link_count; i++) n->links[i]->acks_stale = true;
}

weft_ms weft__ack_delay(const weft_node *n) {
  const weft_roster_member *members;
  size_t count;
  weft__roster_members(weft__node_roster(n), &members, &count);
  uint64_t times = count / WEFT_ACK_PROMPT_MEMBERS;
  if (times <= 1) return n->o.ack_delay_ms;
  return weft__min_ms(n->o.ack_delay_ms * times * times, WEFT_ACK_WAIT_MAX_MS);
}

/* What came in goes on: at once among few members, later among many. */
static void relay(weft_node *n, const weft_id *device) {
  weft_ms delay = weft__ack_delay(n);
  if (delay <= n->o.ack_delay_ms)
    stale(n, device);
  else if (n->ack_relay_at == WEFT_NEVER)
    n->ack_relay_at = n->now + delay;
}

/* Signs what is showable as it stands, unless that was signed already. */
static weft_err own_sign(weft_node *n, weft_arena *arena, const weft_vector *v) {
  const weft_ack_entry *old = weft__ack_table_find(&n->acks, &n->identity.device);
  if (old && weft__vector_equal(&old->vector, v)) return WEFT_OK;
  uint64_t counter = n->source.clock(n->source.ctx);
  if (old && counter <= old->ack.counter) counter = old->ack.counter + 1;
  weft_ack ack;
  weft_head *delta = v->heads;
  size_t count = v->count;
  if (old) WEFT_TRY(weft__vector_delta(&old->vector, v, arena, &delta, &count));
  weft__ack_sign(&ack, n->crypto, &n->identity, &n->o.space, counter, v);
  WEFT_TRY(weft__ack_table_own(&n->acks, &ack, v));
  stamp_all(n, &ack, delta, count);
  ack_keep(n, &n->identity.device);
  all_stale(n);
  return WEFT_OK;
}

void weft__ack_run(weft_node *n) {
  if (n->now >= n->ack_store_at) weft__ack_flush(n);
  if (n->now >= n->ack_relay_at) {
    n->ack_relay_at = WEFT_NEVER;
    all_stale(n);
  }
  if (n->now < n->ack_due) return;
  n->ack_due = WEFT_NEVER;
  /* Who hears that we have something hears first where we stand with it. */
  for (size_t i = 0; i < n->link_count; i++) weft__link_status_now(n->links[i]);
  weft_arena arena;
  weft_vector v;
  weft__arena_init(&arena, &n->mem);
  weft__vector_init(&v, &n->mem);
  weft_err err = weft__vector_copy(&v, n->source.showable(n->source.ctx));
  if (err == WEFT_OK) {
    weft__ack_shorten(&v);
    err = own_sign(n, &arena, &v);
  }
  if (err != WEFT_OK) n->ack_due = n->now + 1000;
  weft__vector_free(&v);
  weft__arena_free(&arena);
}

/* --- those of others --- */

static uint64_t *carried_of(weft_link *link, const weft_id *device) {
  size_t low = 0, high = link->carried_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (weft_id_cmp(&link->carried[middle].device, device) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  if (low < link->carried_count && weft_id_cmp(&link->carried[low].device, device) == 0) {
    return &link->carried[low].counter;
  }
  void *at = link->carried;
  if (weft__node_grow(link->node, &at, &link->carried_cap, link->carried_count + 1,
                      sizeof *link->carried) != WEFT_OK) {
    return NULL;
  }
  link->carried = at;
  memmove(link->carried + low + 1, link->carried + low,
          (link->carried_count - low) * sizeof *link->carried);
  link->carried[low] = (weft_carried){*device, 0};
  link->carried_count++;
  return &link->carried[low].counter;
}

void weft__ack_list(const weft_node *n, weft_msg_hello *m) {
  m->acked_count = n->acks.count < WEFT_MESSAGE_ACKED_MAX ? n->acks.count : WEFT_MESSAGE_ACKED_MAX;
  for (size_t i = 0; i < m->acked_count; i++) {
    const weft_ack *ack = &n->acks.entries[i].ack;
    memcpy(m->acked[i].device, ack->device.b, sizeof m->acked[i].device);
    m->acked[i].counter = ack->counter;
  }
}

/* Both lists ascend by device.  Of two devices with one prefix the wrong one may be meant; then a
 * delta does not fit, and the device's next acknowledgement does. */
void weft__ack_greet(weft_link *link, const weft_msg_hello *m) {
  const weft_ack_table *acks = &link->node->acks;
  for (size_t i = 0, k = 0; i < acks->count && k < m->acked_count;) {
    const weft_ack *ack = &acks->entries[i].ack;
    int order = memcmp(ack->device.b, m->acked[k].device, sizeof m->acked[k].device);
    if (order == 0) {
      uint64_t *carried = carried_of(link, &ack->device);
      if (carried) *carried = m->acked[k].counter;
    }
    if (order <= 0) i++;
    if (order >= 0) k++;
  }
}

/* A device that shows a change holds it: what we hold too need not be sent to it. */
static void learn_held(weft_node *n, const weft_msg_ack *a) {
  weft_link *link = weft__node_link_to(n, &a->ack.device);
  for (size_t i = 0; link && i < a->count; i++) {
    weft_id id;
    const weft_head *h = &a->delta[i];
    if (h->seq == 0) continue;
    if (n->source.id_at(n->source.ctx, &h->log, WEFT_SOURCE_ANY, h->seq, &id) != WEFT_OK) continue;
    if (memcmp(id.b, h->id.b, WEFT_ACK_ID_LEN) == 0) weft__sync_raise(link, &h->log, h->seq, &id);
  }
}

/* Asks for the whole of a device: an item with counter 0. */
static void ask_whole(weft_link *link, const weft_id *device) {
  weft_msg_ack item = {.ack = {.device = *device}};
  weft_msg_acks m = {&item, 1};
  weft_buf body = weft__link_body(link);
  weft__msg_acks_put(&body, &m);
  if (weft__credit_allows(link, body.len))
    weft__link_send(link, WEFT_FRAME_ACK, &body);
  else
    weft__buf_free(&body); /* its next acknowledgement asks again */
}

/* The first acknowledgement of the own change that is waited for. */
static void probe_end(weft_node *n, const weft_id *device) {
  const weft_ack_entry *entry = n->probe.seq ? weft__ack_table_find(&n->acks, device) : NULL;
  if (!entry || weft__vector_seq(&entry->vector, &n->probe.log) < n->probe.seq) return;
  weft__observe(n->metrics, WEFT_METRIC_ACK_TIME, (n->now - n->probe.at) * UINT64_C(1000000));
  n->probe.seq = 0;
}

/* False: the link was failed. */
static bool receive_one(weft_link *link, const weft_msg_ack *a) {
  weft_node *n = link->node;
  bool fresh = false;
  if (!weft__roster_member_of(weft__node_roster(n), &a->ack.device)) return true;
  if (a->ack.counter == 0) {
    uint64_t *asked = carried_of(link, &a->ack.device);
    if (asked) *asked = 0;
    link->acks_stale = true;
    return true;
  }
  if (weft_id_cmp(&a->ack.device, &n->identity.device) == 0) return true;
  weft_err err = weft__ack_table_put(&n->acks, n->crypto, &n->o.space, &a->ack, a->whole, a->delta,
                                     a->count, &fresh);
  if (err == WEFT_EGAP && !a->whole) {
    ask_whole(link, &a->ack.device);
    return link->state == WEFT_LINK_OPEN;
  }
  if (err == WEFT_ENOMEM || err == WEFT_ELIMIT) return true;
  if (err != WEFT_OK) {
    weft__link_fail(link, err, WEFT_CODE_BAD_SIG, WEFT_FRAME_ACK);
    return false;
  }
  uint64_t *carried = carried_of(link, &a->ack.device);
  if (carried && *carried < a->ack.counter) *carried = a->ack.counter;
  if (!fresh) return true;
  weft__count(n->metrics, WEFT_METRIC_ACKS, 1);
  probe_end(n, &a->ack.device);
  stamp_all(n, &a->ack, a->delta, a->count);
  learn_held(n, a);
  ack_keep(n, &a->ack.device);
  relay(n, &a->ack.device);
  n->settle = true;
  return true;
}

void weft__ack_receive(weft_link *link, const weft_msg_acks *m) {
  for (size_t i = 0; i < m->count; i++) {
    if (!receive_one(link, &m->at[i])) return;
  }
}

/* --- sending --- */

/* Makes the item of one device; heads in `arena`.  False: the link has carried it, or need not. */
static bool item_make(weft_link *link, weft_arena *arena, const weft_ack_entry *entry,
                      weft_msg_ack *item) {
  weft_node *n = link->node;
  const uint64_t *carried = carried_of(link, &entry->ack.device);
  if (!carried || *carried >= entry->ack.counter) return false;
  if (!goes_over(link, &entry->ack.device)) return false;
  if (entry->vector.count > vector_heads_max) return false;
  weft_head *heads = weft__arena_zero(arena, entry->vector.count, sizeof *heads);
  if (!heads) return false;
  const weft_stamps *s = stamps_of(n, &entry->ack.device, false);
  *item = (weft_msg_ack){entry->ack, *carried == 0, heads, 0};
  for (size_t i = 0; i < entry->vector.count; i++) {
    const weft_head *h = &entry->vector.heads[i];
    if (item->whole || changed_since(s, &h->log, *carried)) heads[item->count++] = *h;
  }
  return true;
}

void weft__ack_send(weft_link *link) {
  weft_node *n = link->node;
  weft_msg_ack items[16];
  weft_arena arena;
  weft__arena_init(&arena, &n->mem);
  weft_msg_acks m = {items, 0};
  size_t heads = 0;
  link->acks_stale = false;
  for (size_t i = 0; i < n->acks.count && !link->acks_stale; i++) {
    if (!item_make(link, &arena, &n->acks.entries[i], &items[m.count])) continue;
    heads += items[m.count++].count;
    link->acks_stale = m.count == sizeof items / sizeof *items || heads > frame_heads_max;
  }
  weft_buf body = weft__link_body(link);
  if (m.count > 0) weft__msg_acks_put(&body, &m);
  bool allowed = weft__credit_allows(link, body.len);
  if (m.count > 0 && allowed) {
    for (size_t i = 0; i < m.count; i++) {
      uint64_t *carried = carried_of(link, &items[i].ack.device);
      if (carried) *carried = items[i].ack.counter;
    }
    weft__link_send(link, WEFT_FRAME_ACK, &body);
  } else {
    link->acks_stale = m.count > 0;
    weft__buf_free(&body);
  }
  weft__arena_free(&arena);
}

/* --- for people --- */

static uint64_t acked_seq(const weft_ack_entry *entry, const weft_head *head) {
  uint64_t seq = entry ? weft__vector_seq(&entry->vector, &head->log) : 0;
  return seq < head->seq ? seq : head->seq;
}

/* Changes of our own that are not in `entry`.  START is nobody's edit and does not count. */
static uint64_t pending_of(const weft_node *n, const weft_ack_entry *entry) {
  const weft_vector *held = weft__node_held(n);
  uint64_t pending = 0;
  for (size_t i = 0; i < held->count; i++) {
    weft_id author;
    const weft_head *head = &held->heads[i];
    if (n->source.author(n->source.ctx, &head->log, &author) != WEFT_OK) continue;
    if (weft_id_cmp(&author, &n->identity.device) != 0) continue;
    uint64_t seq = acked_seq(entry, head);
    pending += head->seq - (seq > 0 ? seq : 1);
  }
  return pending;
}

weft_err weft_node_acked_list(const weft_node *n, weft_arena *arena, weft_node_acked **out,
                              size_t *count) {
  const weft_roster_member *members;
  size_t member_count;
  *out = NULL;
  *count = 0;
  weft__roster_members(weft__node_roster(n), &members, &member_count);
  weft_node_acked *list = weft__arena_zero(arena, member_count, sizeof *list);
  if (!list) return WEFT_ENOMEM;
  for (size_t i = 0; i < member_count; i++) {
    if (weft_id_cmp(&members[i].device, &n->identity.device) == 0) continue;
    const weft_ack_entry *entry = weft__ack_table_find(&n->acks, &members[i].device);
    weft_node_acked *item = &list[(*count)++];
    item->device = members[i].device;
    item->heard = entry != NULL;
    item->at = entry ? entry->ack.counter : 0;
    item->pending = pending_of(n, entry);
  }
  *out = list;
  return WEFT_OK;
}

weft_err weft_node_reaches(const weft_node *n, weft_arena *arena, const weft_id *log,
                           weft_node_reach **out, size_t *count) {
  const weft_roster_member *members;
  size_t member_count;
  *out = NULL;
  *count = 0;
  weft__roster_members(weft__node_roster(n), &members, &member_count);
  weft_node_reach *list = weft__arena_zero(arena, member_count, sizeof *list);
  if (!list) return WEFT_ENOMEM;
  for (size_t i = 0; i < member_count; i++) {
    if (weft_id_cmp(&members[i].device, &n->identity.device) == 0) continue;
    const weft_ack_entry *entry = weft__ack_table_find(&n->acks, &members[i].device);
    weft_node_reach *item = &list[(*count)++];
    item->device = members[i].device;
    item->heard = entry != NULL;
    item->seq = entry ? weft__vector_seq(&entry->vector, log) : 0;
    item->at = entry ? entry->ack.counter : 0;
  }
  *out = list;
  return WEFT_OK;
}

/* The newest change of an own log that everybody has acknowledged; 0: none. */
static uint64_t floor_of(const weft_node *n, const weft_head *head) {
  const weft_roster_member *members;
  size_t count;
  uint64_t least = head->seq;
  weft__roster_members(weft__node_roster(n), &members, &count);
  for (size_t i = 0; i < count; i++) {
    if (weft_id_cmp(&members[i].device, &n->identity.device) == 0) continue;
    uint64_t seq = acked_seq(weft__ack_table_find(&n->acks, &members[i].device), head);
    if (seq < least) least = seq;
  }
  return least;
}

weft_err weft_node_floor(const weft_node *n, weft_vector *out) {
  const weft_vector *held = weft__node_held(n);
  weft_vector floor;
  weft__vector_init(&floor, &n->mem);
  weft_err err = WEFT_OK;
  for (size_t i = 0; i < held->count && err == WEFT_OK; i++) {
    weft_id author;
    weft_head head = held->heads[i];
    if (n->source.author(n->source.ctx, &head.log, &author) != WEFT_OK) continue;
    if (weft_id_cmp(&author, &n->identity.device) != 0) continue;
    uint64_t seq = floor_of(n, &head);
    if (seq == 0) continue;
    if (seq < head.seq) {
      head.seq = seq;
      err = n->source.id_at(n->source.ctx, &head.log, WEFT_SOURCE_ANY, seq, &head.id);
      if (err == WEFT_ENOTFOUND) { /* on another branch: it counts as pending from its start */
        err = WEFT_OK;
        continue;
      }
    }
    if (err == WEFT_OK) err = weft__vector_raise(&floor, NULL, &head);
  }
  if (err == WEFT_OK) err = weft__vector_copy(out, &floor);
  weft__vector_free(&floor);
  return err;
}

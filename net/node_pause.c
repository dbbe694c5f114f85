/* What is held back: links that are paused by their owner, and changes that a peer refused.
 *
 * A refusal concerns one peer and one log from some change on; everything else goes on.  What was
 * refused for its content is not offered to that peer again before somebody says so; what found no
 * place there is sent again as soon as it is asked for.  Nothing is dropped: a change is in its log
 * whatever a peer thinks of it.
 *
 * Failure modes: the tables are bounded; a refusal that finds no place is heard again. */
#include <string.h>

#include "net/node_internal.h"

/* --- pausing --- */

static size_t paused_place(const weft_node *n, const weft_id *device) {
  size_t i = 0;
  while (i < n->paused_count && weft_id_cmp(&n->paused[i], device) != 0) i++;
  return i;
}

bool weft_node_is_paused(const weft_node *n, const weft_id *device) {
  return n->paused_all || (device && paused_place(n, device) < n->paused_count);
}

/* Says goodbye where a pause begins. */
static void links_pause(weft_node *n) {
  for (size_t i = 0; i < n->link_count; i++) {
    weft_link *link = n->links[i];
    bool named = link->known && weft_node_is_paused(n, &link->device);
    if (!n->paused_all && !named) continue;
    if (weft__link_is_up(link)) {
      weft__link_bye(link, WEFT_BYE_USER, WEFT_EDONE);
    } else if (link->state < WEFT_LINK_CLOSING) {
      link->why = WEFT_EDONE;
      link->close_due = true;
    }
  }
}

weft_err weft_node_pause(weft_node *n, weft_ms now, const weft_id *device) {
  weft__node_enter(n, now);
  if (!device) {
    n->paused_all = true;
  } else if (paused_place(n, device) == n->paused_count) {
    if (n->paused_count == WEFT_PAUSED_MAX) return WEFT_ELIMIT;
    n->paused[n->paused_count++] = *device;
  }
  links_pause(n);
  return WEFT_OK;
}

void weft_node_resume(weft_node *n, weft_ms now, const weft_id *device) {
  if (!device) {
    n->paused_all = false;
    n->paused_count = 0;
  } else {
    size_t at = paused_place(n, device);
    if (at < n->paused_count) n->paused[at] = n->paused[--n->paused_count];
  }
  weft_node_network_changed(n, now);
}

/* --- refusals --- */

weft_park *weft__park_of(weft_node *n, const weft_id *device, const weft_id *log) {
  for (size_t i = 0; i < n->park_count; i++) {
    weft_park *p = &n->parks[i];
    if (weft_id_cmp(&p->device, device) == 0 && weft_id_cmp(&p->log, log) == 0) return p;
  }
  return NULL;
}

bool weft__park_holds(const weft_link *link, const weft_id *log, uint64_t from, uint64_t *to) {
  weft_node *n = link->node;
  weft_park *p = weft__park_of(n, &link->device, log);
  if (!p || *to < p->from) return false;
  if (p->code == WEFT_CODE_QUOTA) { /* it is asked for, so it finds its place now */
    *p = n->parks[--n->park_count];
    return false;
  }
  *to = p->from - 1;
  return from > *to;
}

bool weft__park_skips(const weft_link *link, const weft_id *log, uint64_t from) {
  const weft_park *p = weft__park_of(link->node, &link->device, log);
  return p && p->code != WEFT_CODE_QUOTA && from >= p->from;
}

void weft__park_say(weft_link *link, const weft_id *log, uint64_t from, uint64_t to,
                    weft_code code) {
  weft_msg_nohave m = {*log, from, to, (uint8_t)code};
  if (link->state != WEFT_LINK_OPEN) return;
  weft_buf body = weft__link_body(link);
  weft__msg_nohave_put(&body, &m);
  weft__link_send(link, WEFT_FRAME_REFUSED, &body);
}

void weft__park_receive(weft_link *link, const weft_msg_nohave *m) {
  weft_node *n = link->node;
  weft_park *p = weft__park_of(n, &link->device, &m->log);
  if (m->low == 0 || weft__vector_seq(weft__node_held(n), &m->log) < m->low) return;
  if (!p) {
    if (n->park_count == WEFT_PARKS_MAX) return;
    p = &n->parks[n->park_count++];
    *p = (weft_park){.device = link->device, .log = m->log, .from = m->low};
  }
  if (m->low < p->from) p->from = m->low;
  p->to = m->high;
  p->code = m->why;
  p->at = n->now;
  weft__node_note(n, WEFT_NOTE_PARKED, &link->device, link->remote, weft__code_err(m->why));
}

static bool reached(const weft_node *n, const weft_park *p) {
  const weft_ack_entry *entry = weft__ack_table_find(&n->acks, &p->device);
  return entry && weft__vector_seq(&entry->vector, &p->log) >= p->from;
}

void weft__park_run(weft_node *n) {
  for (size_t i = 0; i < n->park_count;) {
    if (reached(n, &n->parks[i])) {
      n->parks[i] = n->parks[--n->park_count];
    } else {
      i++;
    }
  }
}

weft_err weft_node_parked(const weft_node *n, weft_arena *arena, weft_node_park **out,
                          size_t *count) {
  weft_node_park *list = weft__arena_zero(arena, n->park_count, sizeof *list);
  *out = NULL;
  *count = 0;
  if (!list) return WEFT_ENOMEM;
  for (size_t i = 0; i < n->park_count; i++) {
    const weft_park *p = &n->parks[i];
    list[i] = (weft_node_park){p->device, p->log, p->from, p->to, weft__code_err(p->code), p->at};
  }
  *out = list;
  *count = n->park_count;
  return WEFT_OK;
}

void weft_node_retry(weft_node *n, weft_ms now) {
  n->park_count = 0;
  weft_node_network_changed(n, now);
  for (size_t i = 0; i < n->link_count; i++) {
    if (n->links[i]->state == WEFT_LINK_OPEN) weft__sync_resync(n->links[i]);
  }
}

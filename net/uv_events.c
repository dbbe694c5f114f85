/* Notes of the node and looks at the interfaces, on their way to the replica's events.
 *
 * Invariants: one peer.connected and at most one peer.disconnected a link; sync.done, sync.mismatch
 * and peer.clone at most once a link; peer.unreachable when an address fails otherwise than before
 * or has answered since; peer.refused at most once a minute, with the number of those since.
 * Failure modes: what cannot be posted is lost; nothing rests on it. */
#include "net/uv_events.h"

#include <string.h>

#include <uv.h>

#include "net/uv_common.h"

static void post(weft_uv_teller *t, weft_event_type type, const weft_node_action *note) {
  weft_event e = {.type = type, .source = t->self};
  weft_id nobody = {{0}};
  if (note) {
    e.has_device = weft_id_cmp(&note->device, &nobody) != 0;
    e.device = note->device;
    e.text = note->text;
    e.why = note->why;
    if (e.has_device) e.source = note->device;
  }
  if (type == WEFT_EVENT_PEER_REFUSED) e.count = t->refused;
  (void)!weft_replica_post_event(t->replica, &e);
}

static weft_told_link *link_of(weft_uv_teller *t, const weft_id *device) {
  for (size_t i = 0; i < t->link_count; i++) {
    if (weft_id_cmp(&t->links[i].device, device) == 0) return &t->links[i];
  }
  return NULL;
}

/* An address that answers may be told again. */
static void dial_forget(weft_uv_teller *t, weft_bytes address) {
  for (size_t i = 0; i < WEFT_TOLD_DIALS_MAX; i++) {
    weft_told_dial *d = &t->dials[i];
    if (weft_bytes_cmp(weft_bytes_of(d->address, d->len), address) == 0) d->len = 0;
  }
}

static bool dial_is_new(weft_uv_teller *t, const weft_node_action *note) {
  for (size_t i = 0; i < WEFT_TOLD_DIALS_MAX; i++) {
    weft_told_dial *d = &t->dials[i];
    if (d->len == 0 || weft_bytes_cmp(weft_bytes_of(d->address, d->len), note->text) != 0) continue;
    bool other = d->why != note->why;
    d->why = note->why;
    return other;
  }
  weft_told_dial *d = &t->dials[t->dial_count++ % WEFT_TOLD_DIALS_MAX];
  d->len = note->text.len <= sizeof d->address ? note->text.len : 0;
  if (d->len) memcpy(d->address, note->text.at, d->len);
  d->why = note->why;
  return true;
}

static bool tell_up(weft_uv_teller *t, const weft_node_action *note) {
  dial_forget(t, note->text);
  if (t->link_count < WEFT_TOLD_LINKS_MAX && !link_of(t, &note->device)) {
    t->links[t->link_count++] = (weft_told_link){.device = note->device};
  }
  if (t->up == 0) post(t, WEFT_EVENT_NETWORK_ONLINE, NULL);
  post(t, WEFT_EVENT_PEER_CONNECTED, note);
  return t->up++ == 0;
}

static bool tell_down(weft_uv_teller *t, const weft_node_action *note) {
  weft_told_link *link = link_of(t, &note->device);
  if (link) *link = t->links[--t->link_count];
  post(t, WEFT_EVENT_PEER_DISCONNECTED, note);
  if (t->up == 0 || --t->up > 0) return false;
  post(t, WEFT_EVENT_NETWORK_OFFLINE, NULL);
  return true;
}

static void tell_refused(weft_uv_teller *t, weft_ms now, const weft_node_action *note) {
  t->refused++;
  if (t->refused_told && now - t->refused_at < WEFT_TOLD_REFUSED_MS) return;
  post(t, WEFT_EVENT_PEER_REFUSED, note);
  t->refused = 0;
  t->refused_at = now;
  t->refused_told = true;
}

/* Tells of a link what has not been told since it opened; a device without one is told always. */
static void tell_once(weft_uv_teller *t, weft_event_type type, bool *told,
                      const weft_node_action *note) {
  if (told && *told) return;
  if (told) *told = true;
  post(t, type, note);
}

static void tell_presence(weft_uv_teller *t, weft_ms now, weft_event_type type,
                          const weft_node_action *note) {
  if (!t->bus) return;
  weft_event e = {.type = type,
                  .source = note->device,
                  .has_device = true,
                  .device = note->device,
                  .doc = note->text,
                  .text = note->data,
                  .time = weft__uv_wall()};
  (void)!weft_events_publish(t->bus, now, &e);
}

bool weft__uv_tell_note(weft_uv_teller *t, weft_ms now, const weft_node_action *note) {
  weft_told_link *link = link_of(t, &note->device);
  switch (note->note) {
  case WEFT_NOTE_UP: return tell_up(t, note);
  case WEFT_NOTE_DOWN: return tell_down(t, note);
  case WEFT_NOTE_IN_STEP:
    tell_once(t, WEFT_EVENT_SYNC_DONE, link ? &link->done : NULL, note);
    break;
  case WEFT_NOTE_DIGEST:
    tell_once(t, WEFT_EVENT_SYNC_MISMATCH, link ? &link->mismatch : NULL, note);
    break;
  case WEFT_NOTE_CLONE:
    tell_once(t, WEFT_EVENT_PEER_CLONE, link ? &link->clone : NULL, note);
    break;
  case WEFT_NOTE_FAILED:
    if (dial_is_new(t, note)) post(t, WEFT_EVENT_PEER_UNREACHABLE, note);
    break;
  case WEFT_NOTE_PARKED: post(t, WEFT_EVENT_SYNC_REFUSED, note); break;
  case WEFT_NOTE_REFUSED: tell_refused(t, now, note); break;
  case WEFT_NOTE_JOINED: tell_presence(t, now, WEFT_EVENT_PRESENCE_JOINED, note); break;
  case WEFT_NOTE_UPDATED: tell_presence(t, now, WEFT_EVENT_PRESENCE_CHANGED, note); break;
  case WEFT_NOTE_LEFT: tell_presence(t, now, WEFT_EVENT_PRESENCE_LEFT, note); break;
  }
  return false;
}

/* --- interfaces --- */

static void look(weft_interfaces *out) {
  uv_interface_address_t *list;
  int count;
  memset(out, 0, sizeof *out);
  if (uv_interface_addresses(&list, &count) != 0) return;
  for (int i = 0; i < count; i++) {
    char address[WEFT_INTERFACE_ADDRESS_MAX + 1] = "";
    if (list[i].is_internal) continue;
    if (list[i].address.address4.sin_family == AF_INET6)
      uv_ip6_name(&list[i].address.address6, address, sizeof address);
    else
      uv_ip4_name(&list[i].address.address4, address, sizeof address);
    weft__interfaces_add(out, weft_bytes_str(list[i].name), weft_bytes_str(address));
  }
  uv_free_interface_addresses(list, count);
}

bool weft__uv_tell_interfaces(weft_uv_teller *t, bool first) {
  weft_interfaces now;
  weft_interfaces_at at = {0, 0};
  weft_interface_change change;
  bool any = false;
  look(&now);
  while (!first && weft__interfaces_next(&t->interfaces, &now, &at, &change)) {
    weft_event e = {
        .type = change.type, .source = t->self, .text = weft_bytes_of(change.text, change.len)};
    (void)!weft_replica_post_event(t->replica, &e);
    any = true;
  }
  t->interfaces = now;
  return any;
}

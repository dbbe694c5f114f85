/* Addresses and when they are dialled; hosts and how often they may connect.
 *
 * An address that was given is dialled until it is linked, with a jittered exponential backoff; one
 * learnt from a peer only while there is no link to that peer.  Where a device answered before it
 * started anew, or before a copy of it did, is tried until somebody answers: a copy of it may.  A
 * stranger gets few attempts: a rate and a number of half-open connections a host, and one number
 * for all of them. */
#include <string.h>

#include "crdt/canary.h"
#include "net/node_internal.h"

enum {
  backoff_ms = 500,
  backoff_steps_max = 20,
  final_retry_ms = 3600000, /* what was refused for good */
  fault_retry_ms = 600000,  /* what one of us gets wrong each time */
  copy_retry_ms = 600000,   /* while the device has a link: only a copy of it would answer there */
  learnt_max = 2 * WEFT_MESSAGE_LISTEN_MAX, /* of one device, where nobody answered yet */
};

/* --- addresses --- */

static weft_dial *dial_find(const weft_node *n, weft_bytes text) {
  for (size_t i = 0; i < n->dial_count; i++) {
    if (weft_bytes_cmp(n->dials[i]->text, text) == 0) return n->dials[i];
  }
  return NULL;
}

static weft_dial *dial_of(const weft_node *n, uint64_t conn) {
  for (size_t i = 0; i < n->dial_count; i++) {
    if (n->dials[i]->conn == conn) return n->dials[i];
  }
  return NULL;
}

static weft_err dial_add(weft_node *n, weft_bytes text, weft_dial **out) {
  if (text.len == 0 || text.len > WEFT_ADDRESS_LEN_MAX) return WEFT_ELIMIT;
  if (n->dial_count >= WEFT_ADDRESSES_MAX) return WEFT_ELIMIT;
  void *at = n->dials;
  WEFT_TRY(weft__node_grow(n, &at, &n->dial_cap, n->dial_count + 1, sizeof *n->dials));
  n->dials = at;
  weft_dial *d = n->mem.alloc(n->mem.ctx, sizeof *d);
  if (!d) return WEFT_ENOMEM;
  memset(d, 0, sizeof *d);
  weft_err err = weft__node_copy(n, text, &d->text);
  if (err != WEFT_OK) {
    n->mem.free(n->mem.ctx, d);
    return err;
  }
  n->dials[n->dial_count++] = d;
  *out = d;
  return WEFT_OK;
}

/* Where nobody answered yet, and nobody but a peer said that somebody would.  `device` NULL: any.
 */
static bool is_rumour(const weft_dial *d, const weft_id *device) {
  if (d->given || d->self || d->conn || d->boot) return false;
  return !device || weft_id_cmp(&d->device, device) == 0;
}

static size_t rumours(const weft_node *n, const weft_id *device) {
  size_t count = 0;
  for (size_t i = 0; i < n->dial_count; i++) count += is_rumour(n->dials[i], device);
  return count;
}

/* Forgets the oldest rumours until there are `most` of them. */
static void rumours_keep(weft_node *n, const weft_id *device, size_t most) {
  size_t count = rumours(n, device), kept = 0;
  for (size_t i = 0; i < n->dial_count; i++) {
    weft_dial *d = n->dials[i];
    if (count <= most || !is_rumour(d, device)) {
      n->dials[kept++] = d;
      continue;
    }
    count--;
    weft__node_drop(n, &d->text);
    n->mem.free(n->mem.ctx, d);
  }
  n->dial_count = kept;
}

weft_err weft_node_add_address(weft_node *n, weft_ms now, weft_bytes address) {
  weft_dial *d = dial_find(n, address);
  n->now = now > n->now ? now : n->now;
  n->settle = true;
  if (!d) {
    if (n->dial_count >= WEFT_ADDRESSES_MAX) rumours_keep(n, NULL, rumours(n, NULL) / 2);
    WEFT_TRY(dial_add(n, address, &d));
  }
  d->given = true;
  d->done = false;
  d->attempts = 0;
  if (!d->conn) d->next_try = n->now;
  return WEFT_OK;
}

void weft__dial_renew(weft_node *n, const weft_link *link) {
  weft_dial *d = dial_of(n, link->conn);
  if (!d) return;
  d->conn = 0;
  d->next_try = n->now;
  n->settle = true;
}

/* What a peer says it listens on is tried when there is no link to it.  It may say anything, so a
 * device takes few places. */
void weft__dial_learn(weft_node *n, const weft_id *device, weft_bytes text) {
  weft_dial *d = dial_find(n, text);
  if (!d) {
    rumours_keep(n, device, learnt_max - 1);
    if (dial_add(n, text, &d) != WEFT_OK) return;
    d->next_try = n->now + n->o.redial_cap_ms / 2;
  }
  if (d->known) return;
  d->known = true;
  d->device = *device;
}

/* The wait before the next try: half to all of min(cap, 0.5 s x 2^k). */
static weft_ms backoff(weft_node *n, uint32_t attempts, weft_ms cap) {
  uint32_t steps = attempts < backoff_steps_max ? attempts : backoff_steps_max;
  weft_ms most = weft__min_ms(cap, (weft_ms)backoff_ms << steps);
  return weft__draw_between(&n->draw, most / 2, most);
}

static weft_ms retry_floor(weft_err why) {
  if (why == WEFT_EDENIED || why == WEFT_EUNKNOWN) return final_retry_ms;
  if (why == WEFT_EPROTO || why == WEFT_EVERSION || why == WEFT_EMALFORMED || why == WEFT_EBADSIG) {
    return fault_retry_ms;
  }
  return 0;
}

void weft__dial_ended(weft_node *n, weft_link *link, weft_err why) {
  weft_dial *d = dial_of(n, link->conn);
  if (!d) return;
  bool never_up = link->opened == 0;
  bool stable = !never_up && n->now - link->opened >= WEFT_LINK_STABLE_MS;
  d->conn = 0;
  d->last_error = why;
  if (stable) d->attempts = 0;
  d->done = n->o.dial_once || WEFT_CANARY(NO_REDIAL);
  weft_ms cap = d->known ? n->o.redial_cap_ms : n->o.redial_cap_ms * 5;
  weft_ms wait = backoff(n, d->attempts, cap);
  /* A connection cut off in the middle looks like a broken protocol, but is none. */
  weft_ms least = never_up || link->ended_by_fault ? retry_floor(why) : 0;
  d->next_try = n->now + (wait > least ? wait : least);
  d->attempts++;
  bool linked = d->known && weft__node_link_to(n, &d->device);
  if (linked && never_up && d->next_try < n->now + copy_retry_ms) {
    d->next_try = n->now + copy_retry_ms;
  }
  if (never_up && !linked && !n->stopping) weft__node_note(n, WEFT_NOTE_FAILED, NULL, d->text, why);
}

/* The dialled address led to a device: people and the next start want to know. */
void weft__dial_answered(weft_node *n, weft_link *link) {
  weft_dial *d = dial_of(n, link->conn);
  if (!d) return;
  d->self = weft_id_cmp(&link->device, &n->identity.device) == 0;
  if (d->self) return;
  d->known = true;
  d->device = link->device;
  weft_node_action a = {.kind = WEFT_NODE_ADDRESS, .device = d->device, .text = d->text};
  (void)!weft__node_push(n, &a); /* without it the next start knows one address less */
}

void weft__dial_greeted(weft_node *n, const weft_link *link) {
  weft_dial *d = dial_of(n, link->conn);
  if (d) d->boot = link->boot;
}

static size_t dials_under_way(const weft_node *n) {
  size_t count = 0;
  for (size_t i = 0; i < n->link_count; i++) {
    weft_link_state state = n->links[i]->state;
    bool early = state == WEFT_LINK_DIALLING || state == WEFT_LINK_HANDSHAKE;
    count += n->links[i]->initiator && early;
  }
  return count;
}

bool weft__dial_given_up(const weft_node *n, const weft_dial *d) {
  return n->o.retries_max > 0 && d->attempts > n->o.retries_max;
}

/* The open link that dialling an address again would give, as far as is known.  Another start of
 * its device is not it: who answered there may be a copy. */
static const weft_link *link_instead(const weft_node *n, const weft_dial *d) {
  for (size_t i = 0; i < n->link_count; i++) {
    const weft_link *link = n->links[i];
    if (!weft__link_is_up(link) || weft_id_cmp(&link->device, &d->device) != 0) continue;
    if (!link->got_hello || d->boot == 0 || d->boot == link->boot) return link;
  }
  return NULL;
}

static bool dial_wanted(const weft_node *n, const weft_dial *d) {
  if (d->conn || d->self || d->done) return false;
  if (weft__dial_given_up(n, d)) return false;
  if (weft_node_is_paused(n, d->known ? &d->device : NULL)) return false;
  if (!d->known) return d->given;
  const weft_link *link = link_instead(n, d);
  return !link || (link->expiring && link->initiator);
}

void weft__dial_run(weft_node *n) {
  size_t busy = dials_under_way(n);
  for (size_t i = 0; i < n->dial_count && !n->stopping; i++) {
    weft_dial *d = n->dials[i];
    if (n->now < d->next_try || !dial_wanted(n, d) || busy >= WEFT_DIALS_MAX) continue;
    weft_link *link = weft__node_link_new(n, d->text, true);
    if (!link) {
      d->next_try = n->now + backoff_ms; /* no place or no memory now */
      continue;
    }
    link->state = WEFT_LINK_DIALLING;
    weft__count(n->metrics, WEFT_METRIC_DIALS, 1);
    weft_node_action a = {.kind = WEFT_NODE_DIAL, .conn = link->conn, .text = d->text};
    d->conn = link->conn;
    busy++;
    if (weft__node_push(n, &a) != WEFT_OK) {
      link->why = WEFT_ENOMEM;
      link->close_due = true;
    }
  }
}

weft_ms weft__dial_deadline(const weft_node *n) {
  weft_ms at = WEFT_NEVER;
  if (n->stopping || dials_under_way(n) >= WEFT_DIALS_MAX) return at;
  for (size_t i = 0; i < n->dial_count; i++) {
    if (dial_wanted(n, n->dials[i])) at = weft__min_ms(at, n->dials[i]->next_try);
  }
  return at;
}

/* --- who may connect --- */

static int digit_of(uint8_t c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The network half of an IPv6 address in brackets: whoever has one address of it has all of them.
 * False: it is no such address, or stands for an IPv4 one. */
static bool network_of(weft_bytes host, uint8_t out[8]) {
  uint16_t groups[8] = {0};
  size_t count = 0, gap = 8;
  if (host.len < 4 || host.at[0] != '[') return false;
  for (size_t i = 1; i + 1 < host.len && count < 8;) {
    if (host.at[i] == ':') {
      bool twice = host.at[i + 1] == ':';
      if (twice) gap = count;
      i += twice ? 2 : 1;
      continue;
    }
    for (; i + 1 < host.len && host.at[i] != ':'; i++) {
      int digit = digit_of(host.at[i]);
      if (digit < 0) return false;
      groups[count] = (uint16_t)(groups[count] << 4 | digit);
    }
    count++;
  }
  size_t behind = gap < 8 ? count - gap : 0; /* the last groups; between them all is zero */
  for (size_t k = 0; k < 4; k++) {
    uint16_t group = k < gap ? groups[k] : k >= 8 - behind ? groups[count - (8 - k)] : 0;
    out[2 * k] = (uint8_t)(group >> 8);
    out[2 * k + 1] = (uint8_t)group;
  }
  return true;
}

void weft__host_of(const weft_node *n, weft_bytes remote, uint8_t out[WEFT_HOST_LEN]) {
  size_t len = remote.len;
  uint8_t network[8];
  while (len > 0 && remote.at[len - 1] != ':') len--;
  weft_bytes host = weft_bytes_of(remote.at, len > 0 ? len - 1 : remote.len);
  if (network_of(host, network)) host = weft_bytes_of(network, sizeof network);
  n->crypto->hash(out, WEFT_HOST_LEN, weft_bytes_of(NULL, 0), NULL, NULL, &host, 1);
}

static bool is_half_open(const weft_link *link) {
  return !link->initiator && (link->state == WEFT_LINK_HANDSHAKE);
}

static size_t half_open(const weft_node *n, const uint8_t *host, weft_link **oldest) {
  size_t count = 0;
  for (size_t i = 0; i < n->link_count; i++) {
    weft_link *link = n->links[i];
    if (!is_half_open(link) || link->close_due) continue;
    if (host && (link->loopback || memcmp(link->host, host, WEFT_HOST_LEN) != 0)) continue;
    if (count++ == 0 && oldest) *oldest = link;
  }
  return count;
}

/* A bucket of attempts for each host; the one unused longest makes place for a new host. */
static bool rate_allows(weft_node *n, const uint8_t *host) {
  weft_host_rate *rate = NULL;
  for (size_t i = 0; i < n->host_count && !rate; i++) {
    if (memcmp(n->hosts[i].host, host, WEFT_HOST_LEN) == 0) rate = &n->hosts[i];
  }
  if (!rate) {
    rate = &n->hosts[0];
    for (size_t i = 1; i < n->host_count; i++) {
      if (n->hosts[i].at < rate->at) rate = &n->hosts[i];
    }
    if (n->host_count < WEFT_HOSTS_MAX) rate = &n->hosts[n->host_count++];
    memcpy(rate->host, host, WEFT_HOST_LEN);
    rate->tokens = WEFT_ACCEPT_BURST * 1000;
    rate->at = n->now;
  }
  uint64_t tokens = rate->tokens + (n->now - rate->at) * WEFT_ACCEPT_PER_S;
  rate->tokens = (uint32_t)weft__min_ms(tokens, WEFT_ACCEPT_BURST * 1000);
  rate->at = n->now;
  if (rate->tokens < 1000) return false;
  rate->tokens -= 1000;
  return true;
}

bool weft__accept_allowed(weft_node *n, weft_bytes remote, bool loopback) {
  weft_link *oldest = NULL;
  uint8_t host[WEFT_HOST_LEN];
  weft__host_of(n, remote, host);
  if (!loopback && half_open(n, host, NULL) >= WEFT_HALF_OPEN_HOST_MAX) return false;
  if (!loopback && !rate_allows(n, host)) return false;
  if (half_open(n, NULL, &oldest) >= WEFT_HALF_OPEN_MAX) {
    oldest->why = WEFT_ELIMIT;
    oldest->close_due = true;
  }
  return true;
}

weft_ms weft__accept_delay(weft_node *n) {
  bool load = half_open(n, NULL, NULL) * 4 > WEFT_HALF_OPEN_MAX * 3;
  return load ? 0 : weft__draw_between(&n->draw, 0, WEFT_SESSION_DROP_MS_MAX);
}

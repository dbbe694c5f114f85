/* What changed among the network interfaces of a machine, as values: two looks in, events out.
 *
 * No I/O: net/uv_events.c looks, the tests make up what they like.  Loopback is left out by who
 * looks.  Nothing here allocates; any thread. */
#ifndef WEFT_INTERFACES_H
#define WEFT_INTERFACES_H

#include "crdt/event.h"

enum {
  WEFT_INTERFACES_MAX = 128, /* addresses; of more the rest is not looked at */
  WEFT_INTERFACE_NAME_MAX = 31,
  WEFT_INTERFACE_ADDRESS_MAX = 47 /* an IPv6 address as text */
};

typedef struct weft_interface {
  char name[WEFT_INTERFACE_NAME_MAX + 1];
  char address[WEFT_INTERFACE_ADDRESS_MAX + 1];
} weft_interface;

/* One look: each address of each interface that is up, ascending by name and address. */
typedef struct weft_interfaces {
  weft_interface at[WEFT_INTERFACES_MAX];
  size_t count;
} weft_interfaces;

/* Adds an address in its place; what is there already, too long or one too many changes nothing. */
void weft__interfaces_add(weft_interfaces *list, weft_bytes name, weft_bytes address);

/* How an interface differs between two looks. */
typedef struct weft_interface_change {
  weft_event_type type; /* WEFT_EVENT_NETWORK_UP, _DOWN or _CHANGED */
  size_t len;
  uint8_t text[WEFT_EVENT_TEXT_MAX]; /* its name and addresses: as they are, of DOWN as they were */
} weft_interface_change;

/* Where a comparison stands; begin with zeros. */
typedef struct weft_interfaces_at {
  size_t before, after;
} weft_interfaces_at;

/* Gives the next difference, by name; false when there is none. */
bool weft__interfaces_next(const weft_interfaces *before, const weft_interfaces *after,
                           weft_interfaces_at *at, weft_interface_change *out);

#endif

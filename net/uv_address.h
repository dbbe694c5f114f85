/* host:port text: taking it apart, resolving it, writing it. */
#ifndef WEFT_UV_ADDRESS_H
#define WEFT_UV_ADDRESS_H

#include <uv.h>

#include "crdt/err.h"
#include "crdt/limits.h"

enum { WEFT_ADDRESS_TEXT_MAX = 80 };

typedef struct weft_host_port {
  char host[WEFT_ADDRESS_LEN_MAX + 1]; /* without brackets */
  char port[6];
} weft_host_port;

/* Splits host:port or [v6]:port; port 0 is allowed.  WEFT_EBADVALUE. */
weft_err weft__host_port_parse(weft_bytes text, weft_host_port *out) WEFT_MUST_USE;

/* Writes a socket address as host:port. */
void weft__address_text(const struct sockaddr *address, char out[WEFT_ADDRESS_TEXT_MAX]);
uint16_t weft__address_port(const struct sockaddr *address);
void weft__address_set_port(struct sockaddr *address, uint16_t port);
bool weft__address_is_loopback(const struct sockaddr *address);
/* True for 0.0.0.0 and [::]. */
bool weft__address_is_wildcard(const struct sockaddr *address);

/* Lists the addresses others can dial for a listening socket on `bound`: itself, or, for a
 * wildcard, one for each interface that is up (loopback only when there is nothing else).  Gives
 * their number. */
size_t weft__address_expand(const struct sockaddr *bound, char out[][WEFT_ADDRESS_TEXT_MAX],
                            size_t cap);

#endif

/* Dialling a name: every address it resolves to is tried in turn, until one answers. */
#ifndef WEFT_UV_DIAL_H
#define WEFT_UV_DIAL_H

#include <uv.h>

#include "crdt/err.h"

typedef struct weft_uv_dial weft_uv_dial;

/* Told once, on the loop: WEFT_OK, and the socket is connected; WEFT_ENOTFOUND: the name does not
 * resolve; WEFT_ECLOSED: cancelled; else why the last address failed.  The socket is an open handle
 * in every case, for the owner to close. */
typedef void (*weft_uv_dialled)(weft_uv_dial *d, weft_err result);

/* Lies in its owner's struct; the socket belongs to it from start until it is told. */
struct weft_uv_dial {
  uv_tcp_t *tcp;
  void *tcp_data; /* the owner's, while the handle is being replaced */
  uv_getaddrinfo_t resolve;
  uv_connect_t connect;
  struct addrinfo *list, *next;
  weft_err last;
  bool active, resolving, closing, cancelled;
  weft_uv_dialled done;
};

/* Starts to dial host:port with the initialised handle `tcp`.  WEFT_EBADVALUE: no address;
 * WEFT_ENOMEM.  `done` follows only after WEFT_OK. */
weft_err weft__uv_dial_start(weft_uv_dial *d, uv_tcp_t *tcp, weft_bytes address,
                             weft_uv_dialled done) WEFT_MUST_USE;
/* Gives up; `done` is told soon.  Nothing happens when it was told already. */
void weft__uv_dial_cancel(weft_uv_dial *d);

#endif

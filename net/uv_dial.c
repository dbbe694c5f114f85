/* Happy path: resolve, connect to the first address, told.  A handle cannot connect twice, so after
 * a failure it is closed and initialised anew for the next address; cancelling goes the same way.
 */
#include "net/uv_dial.h"

#include <string.h>

#include "net/uv_address.h"
#include "net/uv_common.h"

static void end(weft_uv_dial *d, weft_err result) {
  if (d->list) uv_freeaddrinfo(d->list);
  d->list = d->next = NULL;
  d->active = false;
  d->done(d, result);
}

static void try_next(weft_uv_dial *d);

static void on_reopened(uv_handle_t *handle) {
  weft_uv_dial *d = handle->data;
  d->closing = false;
  uv_tcp_init(handle->loop, d->tcp);
  d->tcp->data = d->tcp_data;
  try_next(d);
}

static void reopen(weft_uv_dial *d) {
  d->closing = true;
  d->tcp_data = d->tcp->data;
  d->tcp->data = d;
  uv_close((uv_handle_t *)d->tcp, on_reopened);
}

static void on_connect(uv_connect_t *req, int status) {
  weft_uv_dial *d = req->data;
  if (d->closing) return; /* cancelled: the close callback goes on */
  if (status == 0) {
    end(d, WEFT_OK);
    return;
  }
  d->last = weft__err_from_uv(status);
  reopen(d);
}

static void try_next(weft_uv_dial *d) {
  const struct addrinfo *at = d->next;
  if (d->cancelled || !at) {
    end(d, d->cancelled ? WEFT_ECLOSED : d->last);
    return;
  }
  d->next = at->ai_next;
  int rc = uv_tcp_connect(&d->connect, d->tcp, at->ai_addr, on_connect);
  if (rc == 0) return;
  d->last = weft__err_from_uv(rc);
  reopen(d);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list) {
  weft_uv_dial *d = req->data;
  d->resolving = false;
  d->list = d->next = list;
  d->last = WEFT_ENOTFOUND;
  if (status != 0) d->next = NULL;
  try_next(d);
}

weft_err weft__uv_dial_start(weft_uv_dial *d, uv_tcp_t *tcp, weft_bytes address,
                             weft_uv_dialled done) {
  weft_host_port hp;
  WEFT_TRY(weft__host_port_parse(address, &hp));
  memset(d, 0, sizeof *d);
  d->tcp = tcp;
  d->done = done;
  d->resolve.data = d->connect.data = d;
  struct addrinfo hints;
  memset(&hints, 0, sizeof hints);
  hints.ai_socktype = SOCK_STREAM;
  int rc = uv_getaddrinfo(tcp->loop, &d->resolve, on_resolved, hp.host, hp.port, &hints);
  if (rc != 0) return weft__err_from_uv(rc);
  d->active = d->resolving = true;
  return WEFT_OK;
}

void weft__uv_dial_cancel(weft_uv_dial *d) {
  if (!d->active || d->cancelled) return;
  d->cancelled = true;
  if (d->resolving)
    uv_cancel((uv_req_t *)&d->resolve);
  else if (!d->closing)
    reopen(d);
}

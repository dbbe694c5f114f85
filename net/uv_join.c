/* Joining over libuv: one connection, from ticket to ADMIT, then everything closes. */
#include <string.h>

#include "crdt/assert.h"
#include "net/uv_address.h"
#include "net/uv_common.h"
#include "net/uv_dial.h"
#include "net/uv_node.h"

enum { read_len = 16 << 10 };

typedef struct uv_joining {
  uv_tcp_t tcp;
  uv_timer_t timer;
  uv_timer_t limit;
  weft_uv_dial dial;
  weft_alloc mem;
  uv_loop_t *loop;
  weft_joiner *joiner;
  weft_uv_join_done done;
  void *ctx;
  bool ended;
  unsigned handles;
  char read_buffer[read_len];
} uv_joining;

static void closed(uv_handle_t *handle) {
  uv_joining *j = handle->data;
  if (--j->handles > 0) return;
  weft_joiner_free(j->joiner);
  j->mem.free(j->mem.ctx, j);
}

/* Tells the outcome once and lets everything go. */
static void end(uv_joining *j, weft_err err, uint16_t refuse, const weft_joined *joined) {
  if (j->ended) return;
  j->ended = true;
  j->done(j->ctx, err, refuse, joined);
  uv_close((uv_handle_t *)&j->timer, closed);
  uv_close((uv_handle_t *)&j->limit, closed);
  /* A dial under way holds the socket: on_dialled closes it. */
  if (j->dial.active)
    weft__uv_dial_cancel(&j->dial);
  else
    uv_close((uv_handle_t *)&j->tcp, closed);
}

typedef struct join_send {
  uv_write_t req; /* first; the bytes follow */
  weft_alloc mem;
} join_send;

static void on_written(uv_write_t *req, int status) {
  (void)status;
  join_send *s = (join_send *)req;
  weft_alloc mem = s->mem;
  mem.free(mem.ctx, s);
}

static weft_err send_bytes(uv_joining *j, weft_bytes data) {
  join_send *s = j->mem.alloc(j->mem.ctx, sizeof *s + data.len);
  if (!s) return WEFT_ENOMEM;
  memcpy(s + 1, data.at, data.len);
  s->mem = j->mem;
  uv_buf_t buf = uv_buf_init((char *)(s + 1), (unsigned)data.len);
  int rc = uv_write(&s->req, (uv_stream_t *)&j->tcp, &buf, 1, on_written);
  if (rc == 0) return WEFT_OK;
  j->mem.free(j->mem.ctx, s);
  return weft__err_from_uv(rc);
}

static void on_timer(uv_timer_t *timer);

static void pump(uv_joining *j) {
  if (j->ended) return;
  weft_bytes out;
  weft_err err = WEFT_OK;
  while (err == WEFT_OK && weft_joiner_next(j->joiner, &out)) err = send_bytes(j, out);
  weft_joined joined;
  uint16_t code = 0;
  if (err == WEFT_OK) err = weft_joiner_result(j->joiner, &joined, &code);
  if (err != WEFT_EAGAIN) {
    end(j, err, code, &joined);
    return;
  }
  weft_ms deadline = weft_joiner_deadline(j->joiner), now = uv_now(j->loop);
  if (deadline != WEFT_NEVER)
    uv_timer_start(&j->timer, on_timer, deadline > now ? deadline - now : 0, 0);
}

static void on_timer(uv_timer_t *timer) {
  uv_joining *j = timer->data;
  weft_joiner_tick(j->joiner, uv_now(j->loop), weft__uv_wall());
  pump(j);
}

static void on_limit(uv_timer_t *timer) { end(timer->data, WEFT_ETIMEOUT, 0, NULL); }

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  (void)suggested;
  uv_joining *j = handle->data;
  *buf = uv_buf_init(j->read_buffer, read_len);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf) {
  uv_joining *j = stream->data;
  weft_ms now = uv_now(j->loop);
  if (got > 0)
    weft_joiner_received(j->joiner, now, weft__uv_wall(), weft_bytes_of(buf->base, (size_t)got));
  if (got < 0) weft_joiner_closed(j->joiner, now);
  pump(j);
}

static void on_dialled(weft_uv_dial *d, weft_err result) {
  uv_joining *j = (uv_joining *)(void *)((uint8_t *)d - offsetof(uv_joining, dial));
  if (j->ended) {
    uv_close((uv_handle_t *)&j->tcp, closed);
    return;
  }
  if (result == WEFT_OK && uv_read_start((uv_stream_t *)&j->tcp, on_alloc, on_read) != 0)
    result = WEFT_EIO;
  if (result != WEFT_OK) {
    end(j, result, 0, NULL);
    return;
  }
  uv_tcp_nodelay(&j->tcp, 1);
  pump(j);
}

static void start_handles(uv_joining *j, uint32_t timeout_ms) {
  uv_tcp_init(j->loop, &j->tcp);
  uv_timer_init(j->loop, &j->timer);
  uv_timer_init(j->loop, &j->limit);
  j->handles = 3;
  j->tcp.data = j->timer.data = j->limit.data = j;
  uv_timer_start(&j->limit, on_limit, timeout_ms, 0);
}

weft_err weft_uv_join(uv_loop_t *loop, const weft_joiner_options *o, weft_bytes address,
                      uint32_t timeout_ms, weft_uv_join_done done, void *ctx) {
  weft_host_port hp;
  WEFT_TRY(weft__host_port_parse(address, &hp));
  uv_joining *j = o->mem.alloc(o->mem.ctx, sizeof *j);
  if (!j) return WEFT_ENOMEM;
  memset(j, 0, sizeof *j);
  j->mem = o->mem;
  j->loop = loop;
  j->done = done;
  j->ctx = ctx;
  uv_update_time(loop);
  weft_err err = weft_joiner_new(&j->joiner, o, uv_now(loop), weft__uv_wall());
  if (err != WEFT_OK) {
    j->mem.free(j->mem.ctx, j);
    return err;
  }
  start_handles(j, timeout_ms);
  err = weft__uv_dial_start(&j->dial, &j->tcp, address, on_dialled);
  if (err != WEFT_OK) end(j, err, 0, NULL);
  return WEFT_OK;
}

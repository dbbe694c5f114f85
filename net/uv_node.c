/* The libuv edge of a node.
 *
 * Every handle belongs to one weft_uv_node and lives until its close callback; the node struct
 * itself is freed only when none is left.  After each callback from libuv the node's actions are
 * carried out (pump) and the one timer is set to its deadline.  Showing a backlog goes on in an
 * idle handle, a bounded step a loop turn, so that sockets stay served meanwhile.
 *
 * Failure modes: a storage error stops the node and is told through events.failed; a socket error
 * closes that connection only; EMFILE on accept pauses accepting for a second instead of spinning.
 */
#define _DEFAULT_SOURCE /* TCP_NOTSENT_LOWAT */
#include "net/uv_node.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "crdt/assert.h"
#include "net/replica_source.h"
#include "net/uv_address.h"
#include "net/uv_common.h"
#include "net/uv_dial.h"
#include "net/uv_events.h"

enum {
  backlog = 128,
  listeners_max = 8,
  read_len = 64 << 10,
  flush_ms = 1000, /* a goodbye gets this long to leave */
  accept_pause_ms = 1000,
  settle_ms = 1000,      /* as often as the mirror is written at most */
  transfer_ms = 100,     /* progress is told this often at most */
  show_step = 16384,     /* changes shown in one loop turn: a fraction of a second */
  full_ms = 3000,        /* a full disk is tried again */
  unsent_len = 16 << 10, /* bytes that the system holds beyond what it has sent */
  tell_ms = 100,         /* events that wait for a write get one of their own */
  listening_max = 32
};

typedef struct uv_conn uv_conn;

struct uv_conn {
  uv_tcp_t tcp; /* first: handle <-> conn */
  weft_uv_dial dial;
  uv_shutdown_t shutdown;
  uv_timer_t flush;
  weft_uv_node *node;
  uint64_t id;
  uv_conn *next;
  bool open, closing, told;
  unsigned handles; /* not closed yet */
};

typedef struct uv_listener {
  uv_tcp_t tcp; /* first */
  weft_uv_node *node;
  bool open;
} uv_listener;

typedef enum transfer_phase { TRANSFER_NONE, TRANSFER_MOVES, TRANSFER_SHOWS } transfer_phase;

struct weft_uv_node {
  weft_alloc mem;
  uv_loop_t *loop;
  weft_replica *replica;
  const weft_crypto *crypto;
  weft_identity identity;
  weft_node *node;
  weft_replica_source *source;
  weft_uv_node_events events;
  uv_timer_t timer;
  uv_timer_t accept_again;
  uv_timer_t settle; /* after own commits: the mirror */
  uv_timer_t again;  /* after a full disk: showing */
  uv_timer_t tell;   /* for events that wait to be written */
  uv_timer_t look;   /* for the machine's interfaces */
  weft_uv_teller teller;
  bool full; /* and that is told */
  uv_idle_t show;
  bool showing, stopping, stopped, pumping;
  unsigned handles;
  uv_listener listeners[listeners_max];
  size_t listener_count;
  uv_conn *conns;
  transfer_phase phase; /* of a transfer: what was done when the phase began, how much it is */
  uint64_t done_before, transfer_total;
  weft_ms transfer_told;
  weft_uv_invite *invites;
  size_t invite_count;
  char listening[listening_max][WEFT_ADDRESS_TEXT_MAX];
  size_t listening_count;
  uint8_t read_buffer[read_len];
};

static void pump(weft_uv_node *n);

weft_ms weft_uv_node_now(const weft_uv_node *n) { return uv_now(n->loop); }

/* --- ending --------------------------------------------------------------------------------------
 */

static void handle_gone(weft_uv_node *n) {
  WEFT_ASSERT(n->handles > 0);
  if (--n->handles == 0 && n->stopping && !n->stopped) {
    n->stopped = true;
    if (n->events.stopped) n->events.stopped(n->events.ctx);
  }
}

static void own_closed(uv_handle_t *handle) { handle_gone(handle->data); }

/* The node hears of the end of a connection once, whoever ended it. */
static void conn_tell_closed(uv_conn *c, weft_err why) {
  weft_uv_node *n = c->node;
  if (c->told || n->stopping || c->id == 0) return;
  c->told = true;
  weft_node_closed(n->node, weft_uv_node_now(n), c->id, why);
}

static void conn_handle_closed(uv_handle_t *handle) {
  uv_conn *c = handle->data;
  weft_uv_node *n = c->node;
  if (--c->handles > 0) {
    handle_gone(n);
    return;
  }
  conn_tell_closed(c, WEFT_OK);
  for (uv_conn **at = &n->conns; *at; at = &(*at)->next) {
    if (*at != c) continue;
    *at = c->next;
    break;
  }
  n->mem.free(n->mem.ctx, c);
  handle_gone(n);
}

static void conn_close(uv_conn *c) {
  if (c->closing) return;
  c->closing = true;
  uv_close((uv_handle_t *)&c->flush, conn_handle_closed);
  /* A dial under way holds the socket: on_dialled closes it. */
  if (c->dial.active)
    weft__uv_dial_cancel(&c->dial);
  else
    uv_close((uv_handle_t *)&c->tcp, conn_handle_closed);
}

/* The stream ended by itself or by an error. */
static void conn_ended(uv_conn *c, weft_err why) {
  conn_tell_closed(c, why);
  conn_close(c);
}

static void storage_failed(weft_uv_node *n, weft_err err, const char *what) {
  if (n->events.failed) n->events.failed(n->events.ctx, err, what);
  weft_uv_node_stop(n);
}

/* --- connections ---------------------------------------------------------------------------------
 */

static uv_conn *conn_new(weft_uv_node *n) {
  uv_conn *c = n->mem.alloc(n->mem.ctx, sizeof *c);
  if (!c) return NULL;
  memset(c, 0, sizeof *c);
  c->node = n;
  uv_tcp_init(n->loop, &c->tcp);
  uv_timer_init(n->loop, &c->flush);
  c->tcp.data = c->flush.data = c->shutdown.data = c;
  c->handles = 2;
  n->handles += 2;
  c->next = n->conns;
  n->conns = c;
  return c;
}

static uv_conn *conn_find(weft_uv_node *n, uint64_t id) {
  for (uv_conn *c = n->conns; c; c = c->next)
    if (c->id == id && !c->closing) return c;
  return NULL;
}

/* One buffer serves every read: libuv reads and calls back before the next allocation. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  (void)suggested;
  uv_conn *c = handle->data;
  *buf = uv_buf_init((char *)c->node->read_buffer, read_len);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf) {
  uv_conn *c = stream->data;
  weft_uv_node *n = c->node;
  if (got > 0)
    weft_node_received(n->node, weft_uv_node_now(n), weft__uv_wall(), c->id,
                       weft_bytes_of(buf->base, (size_t)got));
  if (got < 0) conn_ended(c, weft__err_from_uv((int)got));
  pump(n);
}

/* The system buffers megabytes for a slow line, and nothing overtakes what lies there.  So it takes
 * little more than it sends, and the rest stays in the node, which knows what goes first. */
static void buffer_little(uv_tcp_t *tcp) {
#ifdef TCP_NOTSENT_LOWAT
  uv_os_fd_t fd;
  int most = unsent_len;
  if (uv_fileno((const uv_handle_t *)tcp, &fd) == 0)
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &most, sizeof most);
#else
  (void)tcp;
#endif
}

static void conn_open(uv_conn *c) {
  c->open = true;
  uv_tcp_nodelay(&c->tcp, 1);
  buffer_little(&c->tcp);
  uv_tcp_keepalive(&c->tcp, 1, 60);
  if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0) conn_ended(c, WEFT_EIO);
}

static void dial_failed(uv_conn *c, weft_err err) {
  weft_uv_node *n = c->node;
  c->told = true;
  weft_node_dialled(n->node, weft_uv_node_now(n), c->id, err);
  conn_close(c);
}

static void on_dialled(weft_uv_dial *d, weft_err result) {
  uv_conn *c = (uv_conn *)(void *)((uint8_t *)d - offsetof(uv_conn, dial));
  weft_uv_node *n = c->node;
  if (c->closing) {
    uv_close((uv_handle_t *)&c->tcp, conn_handle_closed);
    return;
  }
  if (result != WEFT_OK) {
    dial_failed(c, result);
  } else {
    weft_node_dialled(n->node, weft_uv_node_now(n), c->id, WEFT_OK);
    conn_open(c);
  }
  pump(n);
}

static void do_dial(weft_uv_node *n, uint64_t id, weft_bytes address) {
  uv_conn *c = conn_new(n);
  if (!c) {
    weft_node_dialled(n->node, weft_uv_node_now(n), id, WEFT_ENOMEM);
    return;
  }
  c->id = id;
  weft_err err = weft__uv_dial_start(&c->dial, &c->tcp, address, on_dialled);
  if (err != WEFT_OK) dial_failed(c, err);
}

/* --- sending -------------------------------------------------------------------------------------
 */

typedef struct uv_send {
  uv_write_t req; /* first */
  uv_conn *conn;
} uv_send; /* the bytes follow */

static void on_written(uv_write_t *req, int status) {
  uv_conn *c = req->data;
  weft_uv_node *n = c->node;
  n->mem.free(n->mem.ctx, req);
  if (c->closing || n->stopping) return;
  if (status < 0)
    conn_ended(c, weft__err_from_uv(status));
  else
    weft_node_written(n->node, weft_uv_node_now(n), c->id,
                      uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp));
  pump(n);
}

/* Tries to write at once; what the kernel does not take is copied and queued. */
static void do_send(weft_uv_node *n, uint64_t id, weft_bytes data) {
  uv_conn *c = conn_find(n, id);
  if (!c || !c->open) return;
  uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data.at, (unsigned)data.len);
  int wrote = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
  if (wrote == (int)data.len) {
    weft_node_written(n->node, weft_uv_node_now(n), id, 0);
    return;
  }
  size_t from = wrote > 0 ? (size_t)wrote : 0;
  uv_send *s = n->mem.alloc(n->mem.ctx, sizeof *s + data.len - from);
  if (!s) {
    conn_ended(c, WEFT_ENOMEM);
    return;
  }
  memcpy(s + 1, data.at + from, data.len - from);
  s->req.data = c;
  s->conn = c;
  buf = uv_buf_init((char *)(s + 1), (unsigned)(data.len - from));
  int rc = uv_write(&s->req, (uv_stream_t *)&c->tcp, &buf, 1, on_written);
  if (rc == 0) return;
  n->mem.free(n->mem.ctx, s);
  conn_ended(c, weft__err_from_uv(rc));
}

static void on_flush_timeout(uv_timer_t *timer) { conn_close(timer->data); }

static void on_shutdown(uv_shutdown_t *req, int status) {
  (void)status;
  conn_close(req->data);
}

/* What was sent leaves first, for at most a second; nothing more is read. */
static void do_close(weft_uv_node *n, uint64_t id) {
  uv_conn *c = conn_find(n, id);
  if (!c) return;
  if (!c->open || uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) == 0) {
    conn_close(c);
    return;
  }
  uv_read_stop((uv_stream_t *)&c->tcp);
  if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown) != 0)
    conn_close(c);
  else
    uv_timer_start(&c->flush, on_flush_timeout, flush_ms, 0);
}

/* --- listening -----------------------------------------------------------------------------------
 */

static void on_connection(uv_stream_t *server, int status);

static void listen_again(uv_timer_t *timer) {
  weft_uv_node *n = timer->data;
  for (size_t i = 0; i < n->listener_count; i++)
    if (n->listeners[i].open) on_connection((uv_stream_t *)&n->listeners[i].tcp, 0);
}

static void on_connection(uv_stream_t *server, int status) {
  uv_listener *l = (uv_listener *)server;
  weft_uv_node *n = l->node;
  if (n->stopping) return;
  uv_conn *c = status == 0 ? conn_new(n) : NULL;
  int rc = c ? uv_accept(server, (uv_stream_t *)&c->tcp) : status == 0 ? UV_ENOMEM : status;
  if (rc != 0) {
    /* Out of descriptors or memory: libuv stops polling this socket until somebody accepts, so
     * that is tried again later, until nobody waits there any more (UV_EAGAIN). */
    if (c) {
      c->told = true;
      conn_close(c);
    }
    if (rc != UV_EAGAIN && !uv_is_active((uv_handle_t *)&n->accept_again))
      uv_timer_start(&n->accept_again, listen_again, accept_pause_ms, 0);
    return;
  }
  struct sockaddr_storage remote;
  int len = sizeof remote;
  char text[WEFT_ADDRESS_TEXT_MAX] = "?";
  bool loopback = false;
  if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&remote, &len) == 0) {
    weft__address_text((const struct sockaddr *)&remote, text);
    loopback = weft__address_is_loopback((const struct sockaddr *)&remote);
  }
  c->id = weft_node_accepted(n->node, weft_uv_node_now(n), weft_bytes_str(text), loopback);
  if (c->id)
    conn_open(c);
  else
    conn_close(c);
  pump(n);
}

static weft_err listen_on(weft_uv_node *n, weft_bytes text, char *detail, size_t detail_len) {
  weft_host_port hp;
  if (n->listener_count == listeners_max) return WEFT_ELIMIT;
  snprintf(detail, detail_len, "%.*s", (int)text.len, (const char *)text.at);
  WEFT_TRY(weft__host_port_parse(text, &hp));
  uv_getaddrinfo_t req;
  struct addrinfo hints;
  memset(&hints, 0, sizeof hints);
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  if (uv_getaddrinfo(n->loop, &req, NULL, hp.host, hp.port, &hints) != 0) return WEFT_EBADVALUE;
  uv_listener *l = &n->listeners[n->listener_count];
  l->node = n;
  uv_tcp_init(n->loop, &l->tcp);
  l->tcp.data = n;
  l->open = true;
  n->listener_count++;
  n->handles++;
  int rc = uv_tcp_bind(&l->tcp, req.addrinfo->ai_addr, 0);
  if (rc == 0) rc = uv_listen((uv_stream_t *)&l->tcp, backlog, on_connection);
  uv_freeaddrinfo(req.addrinfo);
  struct sockaddr_storage bound;
  int len = sizeof bound;
  if (rc == 0) rc = uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&bound, &len);
  if (rc == UV_EACCES) return WEFT_EDENIED;
  if (rc != 0) return weft__err_from_uv(rc);
  n->listening_count +=
      weft__address_expand((const struct sockaddr *)&bound, &n->listening[n->listening_count],
                           listening_max - n->listening_count);
  return WEFT_OK;
}

weft_bytes weft_uv_node_listening(const weft_uv_node *n, size_t i) {
  return i < n->listening_count ? weft_bytes_str(n->listening[i]) : weft_bytes_of("", 0);
}

/* --- the pump ------------------------------------------------------------------------------------
 */

static void do_admit(weft_uv_node *n, const weft_node_action *a) {
  weft_err err = WEFT_EDENIED;
  uint16_t refuse = WEFT_REFUSE_UNKNOWN;
  uint64_t ticket = a->ticket;
  for (size_t i = 0; i < n->invite_count; i++) {
    if (weft_id_cmp(&n->invites[i].terms.invite, &a->redeem->invite) != 0) continue;
    err = weft_replica_admit(n->replica, n->crypto, &n->identity, &n->invites[i].terms, a->redeem,
                             a->text, weft__uv_wall(), &refuse);
    break;
  }
  weft_node_admitted(n->node, weft_uv_node_now(n), ticket, err, refuse);
}

static void full_tell(weft_uv_node *n, bool full) {
  if (n->full == full) return;
  n->full = full;
  if (n->events.full) n->events.full(n->events.ctx, full);
}

static void show_soon(weft_uv_node *n);

static void on_again(uv_timer_t *timer) { show_soon(timer->data); }

static void on_show(uv_idle_t *idle) {
  weft_uv_node *n = idle->data;
  bool more = false;
  weft_err err = weft__replica_show(n->source, n->node, weft_uv_node_now(n), show_step, &more);
  if (!more || err != WEFT_OK) {
    uv_idle_stop(idle);
    n->showing = false;
  }
  if (err == WEFT_EFULL) {
    full_tell(n, true);
    uv_timer_start(&n->again, on_again, full_ms, 0);
  } else if (err != WEFT_OK) {
    storage_failed(n, err, weft_replica_error(n->replica));
  } else {
    full_tell(n, false);
    pump(n);
  }
}

static void show_soon(weft_uv_node *n) {
  if (n->showing || n->stopping) return;
  if (n->full && uv_is_active((uv_handle_t *)&n->again)) return;
  n->showing = uv_idle_start(&n->show, on_show) == 0;
}

static void do_replica(weft_uv_node *n, const weft_node_action *a) {
  bool hold = a->kind == WEFT_NODE_HOLD;
  weft__replica_carry_out(n->source, a, n->node, weft_uv_node_now(n));
  if (!hold) return;
  if (weft__replica_last_hold(n->source) == WEFT_EFULL)
    full_tell(n, true);
  else
    show_soon(n);
}

/* When somebody can be reached for the first time, or nobody any more, the network is another: who
 * else waits for a next try gets it now. */
static void do_note(weft_uv_node *n, const weft_node_action *a) {
  weft_ms now = weft_uv_node_now(n);
  bool changed = weft__uv_tell_note(&n->teller, now, a);
  if (n->events.note) n->events.note(n->events.ctx, a);
  if (changed && !n->stopping) weft_node_network_changed(n->node, now);
}

static void do_action(weft_uv_node *n, const weft_node_action *a) {
  switch (a->kind) {
  case WEFT_NODE_DIAL: do_dial(n, a->conn, a->text); break;
  case WEFT_NODE_SEND: do_send(n, a->conn, a->data); break;
  case WEFT_NODE_CLOSE: do_close(n, a->conn); break;
  case WEFT_NODE_HOLD:
  case WEFT_NODE_RECORD:
  case WEFT_NODE_ACK:
  case WEFT_NODE_ADDRESS: do_replica(n, a); break;
  case WEFT_NODE_ADMIT: do_admit(n, a); break;
  case WEFT_NODE_NOTE: do_note(n, a); break;
  }
}

typedef struct transfer_sums {
  uint64_t done, left;
} transfer_sums;

static uint64_t seq_sum(const weft_vector *v) {
  uint64_t sum = 0;
  for (size_t i = 0; i < v->count; i++) sum += v->heads[i].seq;
  return sum;
}

/* What links have moved and have still to move; once that is all, what is shown and held. */
static weft_err transfer_now(const weft_uv_node *n, transfer_sums *links, transfer_sums *shown) {
  weft_arena arena;
  weft__arena_init(&arena, &n->mem);
  weft_node_peer *peers;
  size_t count = 0;
  weft_err err = weft_node_peers(n->node, &arena, &peers, &count);
  uint64_t need = 0, have = 0;
  links->done = 0;
  for (size_t i = 0; err == WEFT_OK && i < count; i++) {
    links->done += peers[i].received + peers[i].sent;
    if (peers[i].need > need) need = peers[i].need; /* several links lead to the same changes */
    if (peers[i].state >= WEFT_PEER_SYNCING) have += peers[i].have;
  }
  weft__arena_free(&arena);
  links->left = need + have;
  uint64_t held = seq_sum(weft_replica_held(n->replica));
  shown->done = seq_sum(weft_replica_shown(n->replica));
  shown->left = held > shown->done && n->showing ? held - shown->done : 0;
  return err;
}

/* Tells the owner how far a transfer is: first what is moved, then what is shown of it.  What
 * others lack is known as they last said, so a total never shrinks while its phase lasts. */
static void tell_transfer(weft_uv_node *n) {
  weft_ms now = weft_uv_node_now(n);
  transfer_sums links, shown;
  if (!n->events.transfer || n->stopping) return;
  if (n->transfer_told && now - n->transfer_told < transfer_ms) return;
  if (transfer_now(n, &links, &shown) != WEFT_OK) return;
  n->transfer_told = now;
  transfer_phase phase = links.left ? TRANSFER_MOVES : shown.left ? TRANSFER_SHOWS : TRANSFER_NONE;
  if (phase == TRANSFER_NONE && n->phase == TRANSFER_NONE) return;
  const transfer_sums *sums = phase == TRANSFER_SHOWS ? &shown : &links;
  if (phase != n->phase && phase != TRANSFER_NONE) {
    n->done_before = sums->done;
    n->transfer_total = sums->left;
  }
  n->phase = phase;
  uint64_t done = sums->done > n->done_before ? sums->done - n->done_before : 0;
  if (done >= n->transfer_total && phase != TRANSFER_NONE) n->transfer_total = done + 1;
  if (phase == TRANSFER_NONE) done = n->transfer_total;
  n->events.transfer(n->events.ctx, done, n->transfer_total);
}

/* What cannot be written waits for a write that can. */
static void on_tell(uv_timer_t *timer) {
  weft_uv_node *n = timer->data;
  (void)!weft_replica_flush_events(n->replica);
}

static void tell_soon(weft_uv_node *n) {
  if (weft_replica_events_waiting(n->replica) == 0) return;
  if (!uv_is_active((uv_handle_t *)&n->tell)) uv_timer_start(&n->tell, on_tell, tell_ms, 0);
}

static void on_look(uv_timer_t *timer) {
  weft_uv_node *n = timer->data;
  if (!weft__uv_tell_interfaces(&n->teller, false)) return;
  weft_node_network_changed(n->node, weft_uv_node_now(n));
  pump(n);
}

static void on_timer(uv_timer_t *timer) {
  weft_uv_node *n = timer->data;
  weft_node_tick(n->node, weft_uv_node_now(n), weft__uv_wall());
  pump(n);
}

/* Carries out everything the node wants, then sets the timer.  Carrying out may call back in: once
 * is enough, the outer loop sees what the inner one added. */
static void pump(weft_uv_node *n) {
  if (n->pumping || n->stopped) return;
  n->pumping = true;
  weft_node_action action;
  while (weft_node_next(n->node, &action)) do_action(n, &action);
  n->pumping = false;
  if (n->stopping) return;
  tell_transfer(n);
  tell_soon(n);
  weft_ms deadline = weft_node_deadline(n->node), now = weft_uv_node_now(n);
  if (deadline == WEFT_NEVER)
    uv_timer_stop(&n->timer);
  else
    uv_timer_start(&n->timer, on_timer, deadline > now ? deadline - now : 0, 0);
}

/* --- the public side -----------------------------------------------------------------------------
 */

void weft_uv_node_options_init_sized(weft_uv_node_options *o, size_t struct_size) {
  memset(o, 0, struct_size);
  o->struct_size = struct_size;
  o->network_poll_ms = 2000;
  weft_node_options_init(&o->node);
}

static void own_handles(weft_uv_node *n) {
  uv_timer_init(n->loop, &n->timer);
  uv_timer_init(n->loop, &n->accept_again);
  uv_timer_init(n->loop, &n->settle);
  uv_timer_init(n->loop, &n->again);
  uv_timer_init(n->loop, &n->tell);
  uv_timer_init(n->loop, &n->look);
  uv_idle_init(n->loop, &n->show);
  n->timer.data = n->accept_again.data = n->settle.data = n->again.data = n->show.data = n;
  n->tell.data = n->look.data = n;
  n->handles = 7;
}

static weft_err core_new(weft_uv_node *n, const weft_uv_node_options *o) {
  weft_node_options no = o->node;
  weft_bytes listen[listening_max];
  for (size_t i = 0; i < n->listening_count; i++) listen[i] = weft_uv_node_listening(n, i);
  no.listen = listen;
  no.listen_count = n->listening_count;
  WEFT_TRY(weft__replica_source_new(&n->source, &n->mem, o->replica));
  weft__replica_source_fill(n->source, &no.source);
  weft_random(no.seed, sizeof no.seed);
  return weft_node_new(&n->node, &no, weft_uv_node_now(n), weft__uv_wall());
}

static weft_err dial_all(weft_uv_node *n, const weft_uv_node_options *o) {
  weft_ms now = weft_uv_node_now(n);
  for (size_t i = 0; i < o->connect_count; i++) {
    weft_host_port hp;
    WEFT_TRY(weft__host_port_parse(o->connect[i], &hp));
    WEFT_TRY(weft_node_add_address(n->node, now, o->connect[i]));
  }
  if (!o->remembered) return WEFT_OK;
  weft_arena arena;
  weft__arena_init(&arena, &n->mem);
  weft_known_address *known;
  size_t count;
  weft_err err = weft_replica_addresses(n->replica, &arena, &known, &count);
  for (size_t i = 0; i < count && err == WEFT_OK; i++)
    err = weft_node_add_address(n->node, now, known[i].text);
  weft__arena_free(&arena);
  return err == WEFT_ELIMIT ? WEFT_OK : err;
}

weft_err weft_uv_node_start(weft_uv_node **out, const weft_uv_node_options *o, char *detail,
                            size_t detail_len) {
  *out = NULL;
  weft_alloc mem = o->node.mem;
  weft_uv_node *n = mem.alloc(mem.ctx, sizeof *n);
  if (!n) return WEFT_ENOMEM;
  memset(n, 0, sizeof *n);
  n->mem = mem;
  n->loop = o->loop;
  n->replica = o->replica;
  n->crypto = o->node.crypto;
  n->identity = *o->node.identity;
  n->events = o->events;
  n->teller.replica = o->replica;
  n->teller.bus = o->bus;
  n->teller.self = o->node.identity->device;
  uv_update_time(n->loop);
  own_handles(n);
  weft_err err = WEFT_OK;
  for (size_t i = 0; i < o->listen_count && err == WEFT_OK; i++)
    err = listen_on(n, o->listen[i], detail, detail_len);
  if (err == WEFT_OK) err = core_new(n, o);
  if (err == WEFT_OK) err = dial_all(n, o);
  *out = n;
  if (err != WEFT_OK) return err;
  if (o->network_poll_ms > 0) {
    weft__uv_tell_interfaces(&n->teller, true);
    uv_timer_start(&n->look, on_look, o->network_poll_ms, o->network_poll_ms);
  }
  show_soon(n);
  pump(n);
  return WEFT_OK;
}

void weft_uv_node_stop(weft_uv_node *n) {
  if (n->stopping) return;
  if (n->node) {
    weft_node_stop(n->node, weft_uv_node_now(n));
    pump(n);
    (void)!weft_replica_flush_events(n->replica); /* the goodbyes; else they wait on */
  }
  n->stopping = true;
  uv_close((uv_handle_t *)&n->timer, own_closed);
  uv_close((uv_handle_t *)&n->accept_again, own_closed);
  uv_close((uv_handle_t *)&n->settle, own_closed);
  uv_close((uv_handle_t *)&n->again, own_closed);
  uv_close((uv_handle_t *)&n->tell, own_closed);
  uv_close((uv_handle_t *)&n->look, own_closed);
  uv_close((uv_handle_t *)&n->show, own_closed);
  for (size_t i = 0; i < n->listener_count; i++) {
    n->listeners[i].open = false;
    uv_close((uv_handle_t *)&n->listeners[i].tcp, own_closed);
  }
  for (uv_conn *c = n->conns; c; c = c->next)
    if (!uv_is_active((uv_handle_t *)&c->flush)) conn_close(c);
}

/* Frees a list of invites, which are secrets; NULL does nothing. */
static void invites_free(weft_uv_node *n, weft_uv_invite *list, size_t count) {
  if (list) n->crypto->wipe(list, (count + 1) * sizeof *list);
  n->mem.free(n->mem.ctx, list);
}

void weft_uv_node_free(weft_uv_node *n) {
  if (!n) return;
  WEFT_ASSERT(n->handles == 0);
  weft_node_free(n->node);
  weft__replica_source_free(n->source);
  weft_identity_wipe(&n->identity, n->crypto);
  invites_free(n, n->invites, n->invite_count);
  n->mem.free(n->mem.ctx, n);
}

static void on_settle(uv_timer_t *timer) {
  weft_uv_node *n = timer->data;
  weft_replica_settle(n->replica);
}

void weft_uv_node_changed(weft_uv_node *n) {
  if (n->stopping) return;
  if (!uv_is_active((uv_handle_t *)&n->settle)) uv_timer_start(&n->settle, on_settle, settle_ms, 0);
  uv_update_time(n->loop);
  weft_node_changed(n->node, weft_uv_node_now(n));
  show_soon(n);
  pump(n);
}

weft_err weft_uv_node_connect(weft_uv_node *n, weft_bytes address) {
  weft_host_port hp;
  WEFT_TRY(weft__host_port_parse(address, &hp));
  weft_err err = weft_node_add_address(n->node, weft_uv_node_now(n), address);
  pump(n);
  return err;
}

weft_err weft_uv_node_set_invites(weft_uv_node *n, const weft_uv_invite *invites, size_t count) {
  weft_uv_invite *copy = n->mem.alloc(n->mem.ctx, (count + 1) * sizeof *copy);
  weft_node_invite *keys = n->mem.alloc(n->mem.ctx, (count + 1) * sizeof *keys);
  weft_err err = copy && keys ? WEFT_OK : WEFT_ENOMEM;
  for (size_t i = 0; err == WEFT_OK && i < count; i++) {
    copy[i] = invites[i];
    keys[i] = invites[i].keys;
  }
  if (err == WEFT_OK) err = weft_node_set_invites(n->node, keys, count);
  if (keys) n->crypto->wipe(keys, (count + 1) * sizeof *keys);
  n->mem.free(n->mem.ctx, keys);
  if (err != WEFT_OK) {
    invites_free(n, copy, count);
    return err;
  }
  invites_free(n, n->invites, n->invite_count);
  n->invites = copy;
  n->invite_count = count;
  return WEFT_OK;
}

void weft_uv_node_ask(weft_uv_node *n) {
  if (n->stopping) return;
  weft_node_ask(n->node, weft_uv_node_now(n));
  pump(n);
}

weft_err weft_uv_node_pause(weft_uv_node *n, const weft_id *device) {
  uv_update_time(n->loop);
  weft_err err = weft_node_pause(n->node, weft_uv_node_now(n), device);
  pump(n);
  return err;
}

void weft_uv_node_resume(weft_uv_node *n, const weft_id *device) {
  uv_update_time(n->loop);
  weft_node_resume(n->node, weft_uv_node_now(n), device);
  pump(n);
}

void weft_uv_node_retry(weft_uv_node *n) {
  uv_update_time(n->loop);
  weft_node_retry(n->node, weft_uv_node_now(n));
  pump(n);
}

weft_err weft_uv_node_presence_set(weft_uv_node *n, const weft_presence_session *s) {
  weft_err err = weft_node_presence_set(n->node, weft_uv_node_now(n), s);
  pump(n);
  return err;
}

weft_err weft_uv_node_presence_leave(weft_uv_node *n, weft_bytes session, weft_bytes doc) {
  weft_err err = weft_node_presence_leave(n->node, weft_uv_node_now(n), session, doc);
  pump(n);
  return err;
}

const weft_node *weft_uv_node_core(const weft_uv_node *n) { return n->node; }

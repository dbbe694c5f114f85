/* The libuv edge: a node on real sockets, the second door an application needs.
 *
 * It carries out what net/node.h asks for: sockets, timers, addresses, and the replica's writes,
 * all on the thread of one libuv loop, which the application runs.  The replica must be used on
 * that thread only while the node lives; after own commits call weft_uv_node_changed.  What others
 * wrote is told by a bus of events (store/events.h), pumped by a uv_prepare of the application; the
 * network is told by notes.
 *
 * Happy path: weft_uv_node_start, weft_uv_node_set_invites, the loop, weft_uv_node_stop; in
 * events.stopped the application closes its own handles, and behind the loop weft_uv_node_free.
 */
#ifndef WEFT_UV_NODE_H
#define WEFT_UV_NODE_H

#include "node.h"
#include "../store/admission.h"
#include "../store/events.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_uv_node weft_uv_node;
struct uv_loop_s;

/* What the owner is told.  Called on the loop's thread, outside the node: it may call the node. */
typedef struct weft_uv_node_events {
  void *ctx;
  void (*note)(void *ctx, const weft_node_action *note); /* may be NULL */
  /* Changes moved of those to move, both ways, then changes shown of those to show: at most ten
   * times a second while there are any, and once with done == total after that; may be NULL. */
  void (*transfer)(void *ctx, uint64_t done, uint64_t total);
  void (*failed)(void *ctx, weft_err err, const char *what); /* storage fails: the node stops */
  void (*stopped)(void *ctx);                                /* after weft_uv_node_stop */
  /* The disk is full: nothing is held or shown, which is tried again every few seconds; and, with
   * false, it goes on.  Told once each time; may be NULL. */
  void (*full)(void *ctx, bool full);
} weft_uv_node_events;

/* An invite still honoured: what matches the hint, and what it grants. */
typedef struct weft_uv_invite {
  weft_node_invite keys;
  weft_invite_terms terms;
} weft_uv_invite;

typedef struct weft_uv_node_options {
  size_t struct_size;
  struct uv_loop_s *loop;   /* borrowed; the owner runs it */
  weft_replica *replica;    /* borrowed */
  weft_node_options node;   /* identity, space, name and epochs are to be set; source, seed and
                               listen are filled in here */
  const weft_bytes *listen; /* host:port to listen on; port 0: any */
  size_t listen_count;
  const weft_bytes *connect; /* addresses to keep links to */
  size_t connect_count;
  bool remembered; /* dial addresses that worked before */
  weft_uv_node_events events;
  /* What the node tells becomes events of the replica, within a tenth of a second. */
  weft_events *bus;         /* borrowed: who hears of presence; NULL: nobody */
  uint32_t network_poll_ms; /* 2,000: how often the machine's interfaces are looked at; 0: never */
} weft_uv_node_options;
#define weft_uv_node_options_init(o) weft_uv_node_options_init_sized((o), sizeof *(o))
/* Fills in defaults: nothing to listen on or to dial, remembered addresses left alone. */
WEFT_API void weft_uv_node_options_init_sized(weft_uv_node_options *o, size_t struct_size);

/* Starts listening and dialling.  WEFT_EEXIST: an address to listen on is in use; WEFT_EBADVALUE:
 * one does not parse; WEFT_EUNREACHABLE: it is none of this machine; WEFT_EDENIED: it is not for
 * this user; WEFT_EIO: the network refused otherwise; `detail` (of `detail_len`) says
 * which.  `*out` may be set on an error too, since handles close in the loop only: then stop and
 * free it as after success. */
WEFT_API weft_err weft_uv_node_start(weft_uv_node **out, const weft_uv_node_options *o,
                                     char *detail, size_t detail_len) WEFT_MUST_USE;
/* Says goodbye, closes everything; events.stopped follows.  Repeated calls do nothing. */
WEFT_API void weft_uv_node_stop(weft_uv_node *n);
/* Frees a node whose events.stopped was called.  NULL-safe. */
WEFT_API void weft_uv_node_free(weft_uv_node *n);

/* The replica was written by its owner. */
WEFT_API void weft_uv_node_changed(weft_uv_node *n);
/* Keeps a link to an address (host:port) from now on; copied.  WEFT_EBADVALUE: it does not parse;
 * WEFT_ELIMIT: too many are known; WEFT_ENOMEM. */
WEFT_API weft_err weft_uv_node_connect(weft_uv_node *n, weft_bytes address) WEFT_MUST_USE;
/* Honours these invites instead of those before; copied, wiped when replaced and at the end.
 * WEFT_ELIMIT: too many; WEFT_ENOMEM. */
WEFT_API weft_err weft_uv_node_set_invites(weft_uv_node *n, const weft_uv_invite *invites,
                                           size_t count) WEFT_MUST_USE;
/* Asks every open link what it holds and shows now: weft_node_peer.roots_heard tells when it
 * answered. */
WEFT_API void weft_uv_node_ask(weft_uv_node *n);
/* Tells that a session is there: weft_node_presence_set.  weft_node_presence of the core lists. */
WEFT_API weft_err weft_uv_node_presence_set(weft_uv_node *n,
                                            const weft_presence_session *s) WEFT_MUST_USE;
/* Tells that it left: weft_node_presence_leave. */
WEFT_API weft_err weft_uv_node_presence_leave(weft_uv_node *n, weft_bytes session,
                                              weft_bytes doc) WEFT_MUST_USE;
/* As weft_node_pause. */
WEFT_API weft_err weft_uv_node_pause(weft_uv_node *n, const weft_id *device) WEFT_MUST_USE;
/* As weft_node_resume. */
WEFT_API void weft_uv_node_resume(weft_uv_node *n, const weft_id *device);
/* As weft_node_retry. */
WEFT_API void weft_uv_node_retry(weft_uv_node *n);
/* The core, for its lists; do not free or feed it. */
WEFT_API const weft_node *weft_uv_node_core(const weft_uv_node *n);
/* The i-th address listened on, with the real port; empty past the end.  View until free. */
WEFT_API weft_bytes weft_uv_node_listening(const weft_uv_node *n, size_t i);
/* Milliseconds of the node's own clock. */
WEFT_API weft_ms weft_uv_node_now(const weft_uv_node *n);

/* Gets the outcome of a join: `refuse` is the code of WEFT_EDENIED, `joined` is good during the
 * call only. */
typedef void (*weft_uv_join_done)(void *ctx, weft_err err, uint16_t refuse,
                                  const weft_joined *joined);
/* Joins with a ticket: dials `address`, gives the outcome to `done` once, on the loop, after at
 * most `timeout_ms`.  With an error `done` is not called.  WEFT_EBADVALUE: the address does not
 * parse; WEFT_EMISUSE: the options are not complete; WEFT_ENOMEM. */
WEFT_API weft_err weft_uv_join(struct uv_loop_s *loop, const weft_joiner_options *o,
                               weft_bytes address, uint32_t timeout_ms, weft_uv_join_done done,
                               void *ctx) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

/* What the files of the node share: the object, its links, and the seams between them.
 *
 * Only net/node*.c, net/peer*.c and the lies about presence in the simulator include this.
 *
 *   node.c           events in, actions out, time
 *   node_dial.c      addresses, redialling, who may connect
 *   node_hold.c      received chunks and records on their way into the replica
 *   node_ack.c       acknowledgements
 *   node_pause.c     links that are paused, changes that a peer refused
 *   node_presence.c  who is where: between presence.c and the links
 *   node_list.c      links and addresses for people
 *   peer.c           one link: handshake, HELLO, membership, control frames
 *   peer_sync.c      what a peer holds, and asking for it
 *   peer_serve.c     sending changes: answers to WANT, live pushes, credits
 *   peer_fork.c      logs that have forked
 *
 * A link is one connection, from the decision to dial or the accept to the owner's word that it is
 * closed.  Links lie in the order of their numbers, devices in the order of their keys, so that
 * nothing depends on addresses in memory. */
#ifndef WEFT_NODE_INTERNAL_H
#define WEFT_NODE_INTERNAL_H

#include "crdt/metrics_table.h"
#include "net/draw.h"
#include "net/message.h"
#include "net/node.h"
#include "net/presence.h"
#include "net/session.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
  WEFT_LINK_WINDOW = 1 << 20,       /* bulk bytes a peer may send before we grant more */
  WEFT_LINK_UNSENT_LOW = 64 << 10,  /* queued in the session below this: make more */
  WEFT_LINK_QUEUED_MAX = 256 << 10, /* in the stream's write queue: stop; less where it drains
                                       slowly, so that what overtakes does not stand in it */
  WEFT_LINK_QUEUED_MIN = 1 << 10,
  WEFT_LINK_QUEUED_FIRST = 4 << 10, /* before anything is known */
  WEFT_LINK_QUEUED_MORE = 1 << 10,  /* beyond what drains in most of a round trip */
  WEFT_LINK_NEAR_MS = 2,            /* who answers so fast is not behind a slow line, mostly */
  WEFT_LINK_TRIP_MIN_MS = 20,       /* a shorter way there and back counts as this */
  WEFT_LINK_DRAIN_MS = 50,          /* the shortest time that tells how fast it drains */
  WEFT_RECORD_CUT_MIN = 512,        /* bytes of a record on a slow line */
  WEFT_EXPRESS_RESERVE = 128 << 10, /* of a peer's window, kept free of what was asked for */
  WEFT_LINK_TX_MAX = 192 << 10,     /* one SEND action; a few records */
  WEFT_LINK_STALL_MS = 60000,       /* the stream's write queue does not move: close */
  WEFT_LINK_ASK_MS = 10000,      /* of a peer that is silent what was asked is asked elsewhere, */
  WEFT_LINK_ASK_LONG_MS = 60000, /* and of one that sends other things, each range by itself */
  WEFT_LINK_PROVING_MS = 10000,
  WEFT_LINK_PROVING_BYTES = 256 << 10,
  WEFT_LINK_HELLO_MS = 5000,
  WEFT_LINK_PONG_MS = 20000,
  WEFT_LINK_PROBE_MS = 5000, /* for the older of two links of one device to answer */
  WEFT_LINK_CREDIT_MS = 200, /* a small grant waits this long for a status to go with */
  WEFT_LINK_RESYNC_MS = 10000,
  WEFT_LINK_RESYNC_MS_MAX = 300000,
  WEFT_LINK_STATUS_MS = 1000,  /* a status is not put off longer than this */
  WEFT_ACK_STORE_MS = 10000,   /* each store is a synced commit; what is lost is told again */
  WEFT_LINK_STABLE_MS = 30000, /* open this long: the next redial starts afresh */
  WEFT_FRAMES_PER_S = 200,     /* control frames a peer may send */
  WEFT_FRAMES_BURST = 1000,
  WEFT_UNASKED_MAX = 2048,   /* changes that a peer is sent before it has asked */
  WEFT_UNASKED_MS = 3000,    /* its question may be on its way for so long */
  WEFT_LEAVES_MAX = 64,      /* logs up to which whole vectors are exchanged */
  WEFT_TURN_NODES_MAX = 256, /* trie nodes compared in one turn of a descent */
  WEFT_PREFIXES_MAX = 8192,  /* of a descent, waiting */
  WEFT_OTHERS_MAX = 1024,    /* heads of other branches remembered of one peer */
  WEFT_FORK_TRIES = 4, /* answers about a head, which may end where its branch does not begin yet */
  WEFT_FORKS_MAX = 16, /* forked logs told to one peer unasked; the rest it asks for */
  WEFT_BLOCKED_MAX =
      4096,             /* logs of one peer that are asked for again when it tells more of them */
  WEFT_RING_MAX = 1024, /* recent arrivals remembered for pushing */
  WEFT_PUSH_LEN_MAX = 64 << 10, /* what is longer is announced instead */
  WEFT_EXPRESS_LEN = 8 << 10,   /* an EXPRESS frame is sent when it has this much */
  WEFT_SPANS_MAX = 1024,        /* of one question to the source */
  WEFT_SERVE_SPANS_MAX = 8192,  /* of the order in which a peer is sent what it wants */
  WEFT_SERVE_AHEAD = 63,        /* changes of a log sent ahead of that order, to save signatures */
  WEFT_AGAIN_PER_MS = 128,      /* bytes that a device may be sent again, */
  WEFT_AGAIN_AHEAD_MS = 32000,  /* and the time it may be ahead with that: 4 MB at once */
  WEFT_SERVE_TIMES = 4,         /* all that is held may go to a device before it is called again */
  WEFT_CHANGES_LEN = 96 << 10,  /* a CHANGES frame is sent when it has this much */
  WEFT_HOLD_LEN = 1 << 20,      /* a HOLD action has about this much at most */
  WEFT_HOLD_CHANGES = 10000,
  WEFT_HOLD_PAUSE_MS = 20,
  WEFT_HOLD_FAIL_MS = 5000,
  WEFT_ACTIONS_MAX = 4096,
  WEFT_ADDRESSES_MAX = 1024,
  WEFT_REDIAL_MS = 1000, /* between two changes of the network that lead to a redial */
  WEFT_DIALS_MAX = 8,
  WEFT_HALF_OPEN_MAX = 64,
  WEFT_HALF_OPEN_HOST_MAX = 4,
  WEFT_HOSTS_MAX = 256, /* remembered for the rate of accepts */
  WEFT_HOST_LEN = 16,   /* of a hash that stands for one */
  WEFT_ACCEPT_PER_S = 5,
  WEFT_ACCEPT_BURST = 10,
  WEFT_BAN_MS = 60000,
  WEFT_BAN_MS_MAX = 3600000,
  WEFT_PAUSED_MAX = 256, /* devices paused by name */
  WEFT_PARKS_MAX = 256   /* refusals remembered */
};

typedef struct weft_link weft_link;

typedef enum weft_link_state {
  WEFT_LINK_DIALLING,  /* the owner connects */
  WEFT_LINK_HANDSHAKE, /* the session is not established */
  WEFT_LINK_PROVING,   /* the roster does not know the device: membership records only */
  WEFT_LINK_GREETING,  /* our HELLO is sent, theirs is awaited */
  WEFT_LINK_OPEN,
  WEFT_LINK_JOINING, /* somebody redeems a ticket */
  WEFT_LINK_CLOSING, /* the session flushes */
  WEFT_LINK_ENDED    /* CLOSE went out; the owner's word is awaited */
} weft_link_state;

/* A range asked of one peer. */
typedef struct weft_ask {
  weft_id log;
  uint64_t from, to;
  weft_id head; /* the id at `to`; zeros when it is not known */
  weft_ms at;   /* it was asked, or last moved on */
} weft_ask;

/* A head of a branch that a peer holds and we do not, and where to ask next. */
typedef struct weft_other {
  weft_head head;
  uint64_t from;
  uint64_t step;  /* to go back when that is too late */
  uint32_t tries; /* answers that did not bring it */
} weft_other;

/* A range that is being sent. */
typedef struct weft_serve {
  weft_id log;
  uint32_t branch; /* whose chain it lies on */
  uint64_t from, to;
  bool forked; /* of a log with several branches: sent before what is in order */
  uint8_t lane;
} weft_serve;

/* A range that is sent, or was, before it was asked for. */
typedef struct weft_unasked {
  weft_id log;
  uint64_t from, to;
} weft_unasked;

/* A device we have been linked to: what survives a link. */
enum { WEFT_KNOWN_BOOTS = 4 };

typedef struct weft_known {
  weft_id device;
  uint64_t instance; /* of its store, as last heard */
  uint64_t arrival;  /* we hold all that had arrived there; 0: not known */
  /* Starts of that instance, the newest first.  One that comes back after another one means that
   * two stores run under one instance: then an arrival says nothing, and both keep their links. */
  uint64_t boots[WEFT_KNOWN_BOOTS];
  bool twins;
  weft_ms ban_until;
  weft_ms ban_ms;   /* the next ban is twice this */
  uint64_t served;  /* changes that it asked for and was sent */
  weft_ms again_at; /* when it will have been due all that it was sent again */
  weft_bytes name;
} weft_known;

/* What a peer refused: of one log, from a change on. */
typedef struct weft_park {
  weft_id device;
  weft_id log;
  uint64_t from, to; /* to: the last one that was there to refuse */
  uint8_t code;      /* weft_code */
  weft_ms at;
} weft_park;

/* So many members hear of every acknowledgement as soon as it is made.  In larger spaces each one
 * waits longer, so that a link carries the newest of all members in a frame now and then, and not
 * one of each after every change: messages would grow with members times links. */
enum { WEFT_ACK_PROMPT_MEMBERS = 8, WEFT_ACK_WAIT_MAX_MS = 10000 };

/* An address to keep a link to. */
typedef struct weft_dial {
  weft_bytes text;
  bool given; /* by the owner; else learnt from a peer */
  bool known; /* `device` answered there */
  bool self;  /* it is our own address */
  bool done;  /* dial_once: no further try */
  weft_id device;
  uint64_t boot; /* of the start that answered there last; 0: not known */
  uint64_t conn; /* the link that dials or was dialled; 0 none */
  uint32_t attempts;
  weft_ms next_try;
  weft_err last_error;
} weft_dial;

/* A run that arrived here, for pushing: own ones at once, others after a hold-off. */
typedef struct weft_recent {
  weft_id log;
  uint32_t branch;
  uint64_t from, to;
  bool own;
  uint8_t lane;
  uint64_t conn; /* it came from; 0 own */
  weft_ms at;
} weft_recent;

typedef enum weft_prefix_kind {
  WEFT_PREFIX_NODE,
  WEFT_PREFIX_LEAVES,
  WEFT_PREFIX_ASK
} weft_prefix_kind;

typedef struct weft_prefix {
  uint8_t at[WEFT_VECTOR_DEPTH_MAX];
  uint8_t len;
  weft_prefix_kind what;
} weft_prefix;

typedef struct weft_carried { /* the counter of a device's acknowledgement that a link carried */
  weft_id device;
  uint64_t counter;
} weft_carried;

struct weft_link {
  weft_node *node;
  uint64_t conn;
  weft_link_state state;
  bool initiator, loopback;
  weft_err why; /* it ends; WEFT_OK: as wanted */
  bool up_told;
  bool close_due;              /* CLOSE is the next and last action */
  bool ended_by_fault;         /* one of us said ERROR */
  weft_bytes remote;           /* address dialled, or host that connected; owned */
  uint8_t host[WEFT_HOST_LEN]; /* of `remote` */
  weft_session *session;
  weft_known *known; /* once established */
  weft_id device;
  weft_buf tx; /* sealed, for the next SEND */
  bool tx_given;
  size_t queued;       /* in the owner's write queue */
  size_t queued_allow; /* bulk stops there */
  bool queued_much;    /* bulk was stopped since drain_at, */
  bool queued_none;    /* and the queue ran empty */
  size_t drained;      /* bytes since drain_at */
  weft_ms drain_at;
  uint32_t trip_min_ms; /* the shortest way there and back seen: without our own queue */
  weft_ms moved;        /* when `queued` last fell */
  weft_ms made, opened, last_in, last_out;
  /* When the last two messages of the handshake came, or our first one left. */
  weft_ms shake_at, shake_now;
  weft_ms bucket_at;
  uint32_t bucket; /* control frames it may still send now */

  /* HELLO */
  bool said_hello, got_hello;
  uint64_t instance, boot;
  uint64_t their_count;
  uint64_t their_arrival;
  uint64_t their_cursor; /* 0: they have none for our store */
  uint8_t hello_root[WEFT_ROOT_LEN];
  uint64_t hello_count;
  uint64_t hello_arrival;
  uint64_t hello_cursor, hello_cursor_instance;
  weft_buf early; /* a HELLO that came while PROVING */
  size_t early_len;
  uint8_t their_hello_root[WEFT_ROOT_LEN];
  weft_msg_status their; /* as last heard */
  bool heard;            /* `their` is meant */
  bool in_step, in_step_told;
  bool check; /* compare where both stand */
  bool expiring;
  weft_ms expiring_at;
  bool got_bye;
  bool established; /* frames can be sent */

  /* membership */
  size_t proving_bytes;
  size_t records_pending;
  uint8_t auth_sent[16];  /* root up to which they were sent everything */
  uint64_t invite_ticket; /* JOINING: the ADMIT asked for */
  bool redeemed;

  /* liveness */
  weft_ms roots_heard; /* of the last HELLO, PING or PONG */
  uint64_t ping_token; /* 0: none under way */
  weft_ms doubt_ms;    /* what comes may have been on its way this long, until the next PONG */
  weft_ms ping_at;
  uint32_t round_trip_ms;
  int64_t clock_offset_ms;
  uint64_t probe_for; /* conn of the newer link that waits for this one's PONG */
  weft_ms probe_until;
  weft_ms status_due, status_since;

  /* what they hold: a lower bound */
  weft_vector theirs;
  bool recon;           /* reconciliation has begun */
  bool their_part_done; /* they told all they hold */
  bool incomplete;      /* something they told could not be taken: no cursor */
  weft_id *blocked;     /* logs not asked for here, until more is told; ascending */
  size_t blocked_count, blocked_cap;
  uint8_t blocked_root[16]; /* of the roster under which they were found */
  weft_id *lacks; /* logs of which `theirs` has more than is held: all of those that can be asked */
  size_t lack_count, lack_cap; /* for, and some that are not lacking any more */
  bool lacks_lost;             /* to be made again from `theirs` */
  bool lacks_cut;              /* there are others, which are not asked for any more */
  bool auth_asked;             /* since the roster last changed */
  uint64_t cursor_next;        /* their arrival that `theirs` then covers */
  bool descending, quiet_said;
  bool my_turn;
  weft_prefix *prefixes;
  size_t prefix_count, prefix_cap;
  uint64_t told;    /* our arrival up to which they were told or sent everything */
  weft_ms sweep_at; /* anti-entropy */
  weft_ms resync_at, resync_ms;
  uint8_t resync_root[WEFT_ROOT_LEN];

  /* asking */
  weft_ask asks[WEFT_MESSAGE_WANTS_MAX];
  size_t ask_count;
  weft_ms ask_at; /* when the last answer came, or the last question went */
  bool plan;      /* look what to ask for */
  weft_other *others;
  size_t other_count, other_cap;
  weft_id forks[WEFT_FORKS_MAX]; /* logs of which they may lack a branch */
  size_t fork_count;

  /* serving */
  weft_serve serves[WEFT_MESSAGE_WANTS_MAX];
  size_t serve_count;
  weft_unasked unasked[WEFT_MESSAGE_WANTS_MAX];
  size_t unasked_count;
  weft_ms unasked_until; /* so long a question may be on its way that is answered already */
  weft_arena serve_arena;
  weft_source_span *spans;
  size_t span_count, span_next;
  uint64_t own_at, relay_at, express_at; /* places in the ring */

  /* credit */
  uint32_t window_out;  /* theirs */
  uint64_t out_pending; /* bulk bytes sent and not granted */
  uint64_t in_pending;  /* bulk bytes received and not granted */
  uint64_t to_grant;
  weft_ms grant_at;

  bool acks_stale;       /* there may be acknowledgements it has not carried */
  weft_carried *carried; /* ascending by device */
  size_t carried_count, carried_cap;

  uint64_t sent, received; /* changes */
};

/* A chunk on its way into the replica. */
typedef struct weft_piece {
  uint64_t conn;
  uint32_t credit;  /* bytes to grant once it is held */
  weft_bytes chunk; /* owned */
  weft_id log;      /* of its first run */
  weft_id prev;
  uint64_t first, last;
  uint64_t changes;
  bool asked; /* it came as an answer, not unasked */
} weft_piece;

typedef struct weft_pieces {
  weft_piece *at;
  size_t count, cap;
  size_t len;
  uint64_t changes;
} weft_pieces;

typedef struct weft_pending_record {
  uint64_t conn;
  weft_bytes bytes; /* owned */
} weft_pending_record;

/* When an acknowledged log of a device changed: the delta since any counter follows. */
typedef struct weft_stamp {
  weft_id log;
  uint64_t counter;
} weft_stamp;

typedef struct weft_stamps {
  weft_id device;
  weft_stamp *at; /* ascending by log */
  size_t count;
  bool dirty; /* newer than what the replica keeps */
} weft_stamps;

/* A queued action and what it owns. */
typedef struct weft_queued {
  weft_node_action action;
  void *owned[3];
  weft_redeem redeem;
} weft_queued;

typedef struct weft_host_rate {
  uint8_t host[WEFT_HOST_LEN];
  uint32_t tokens; /* thousandths */
  weft_ms at;
} weft_host_rate;

struct weft_node {
  weft_node_options o; /* pointers are not used after new, but for crypto and source */
  weft_alloc mem;
  const weft_crypto *crypto;
  weft_identity identity;
  weft_source source;
  weft_draw draw;
  weft_gate *gate;
  weft_session_secret member_secret;
  weft_session_secret *secrets; /* epochs, then invites */
  size_t secret_count, epoch_count;
  weft_bytes listen[WEFT_MESSAGE_LISTEN_MAX];
  size_t listen_count;
  weft_bytes name;
  uint64_t boot;
  weft_node_epoch epoch;

  weft_metrics *metrics; /* NULL: none */
  struct {
    weft_id log;
    uint64_t seq; /* 0: none; else an own change whose acknowledgement is waited for */
    weft_ms at;
  } probe;

  weft_ms now, wall;
  bool stopping;
  bool paused_all;
  weft_id paused[WEFT_PAUSED_MAX];
  size_t paused_count;
  weft_park parks[WEFT_PARKS_MAX];
  size_t park_count;
  weft_link **links; /* ascending by conn */
  size_t link_count, link_cap;
  uint64_t conn_next;
  size_t turn;         /* round-robin of SEND */
  weft_known **knowns; /* ascending by device */
  size_t known_count, known_cap;
  weft_dial **dials;
  weft_ms redial_at; /* the last redial for a change of the network, done or to come */
  bool redialled;
  size_t dial_count, dial_cap;
  weft_host_rate *hosts;
  size_t host_count;

  weft_queued *actions; /* ring */
  size_t action_first, action_count, action_cap;
  weft_queued given; /* the last one handed out: freed by the next call */

  /* the replica as last seen */
  uint64_t arrival;
  uint64_t shown_sum;
  bool roots_stale;
  uint8_t held_root[WEFT_ROOT_LEN], shown_root[WEFT_ROOT_LEN], auth_root[16];
  bool linked_stale;
  uint8_t linked[WEFT_MESSAGE_LINKED_MAX]; /* whom we are linked to, as a status says it */
  size_t linked_len;
  weft_vector remote; /* what HOLD brought in: everything else is our own */
  weft_recent *ring;
  uint64_t ring_end; /* count of all that was put in */

  /* receiving */
  weft_pieces pieces;  /* waiting */
  weft_pieces holding; /* in the HOLD under way */
  weft_bytes *hold_chunks;
  size_t hold_chunk_cap;
  bool split;  /* the last HOLD failed: one link at a time, */
  bool single; /* and one chunk at a time */
  uint64_t split_conn_after;
  uint64_t hold_ticket; /* 0: none under way */
  weft_ms hold_last, hold_pause_until, hold_retry_at;
  weft_pending_record *records;
  size_t record_count, record_cap, record_len;
  uint64_t record_ticket; /* 0: none under way */
  uint64_t ticket_next;

  weft_ack_table acks;
  weft_stamps *stamps; /* ascending by device */
  size_t stamp_count, stamp_cap;
  weft_ms ack_due;
  weft_ms ack_relay_at; /* those of others go on then; WEFT_NEVER: there are none */
  weft_ms ack_store_at; /* dirty ones go to the replica then; WEFT_NEVER: there are none */
  weft_presence *presence;
  bool settle; /* set by events: things to look at before the next action */
};

/* --- node.c --- */

/* An event comes in: time moves on, and what follows from the event is settled before the next
 * action. */
void weft__node_enter(weft_node *n, weft_ms now);
/* What the replica holds, and the members it knows: views, until the replica is next written. */
static inline const weft_vector *weft__node_held(const weft_node *n) {
  return n->source.held(n->source.ctx);
}
static inline const weft_roster *weft__node_roster(const weft_node *n) {
  return n->source.roster(n->source.ctx);
}
/* The link with a number; NULL. */
weft_link *weft__node_link(const weft_node *n, uint64_t conn);
/* The open link to a device, the oldest when there are several; NULL. */
weft_link *weft__node_link_to(const weft_node *n, const weft_id *device);
/* What is remembered of a device, made when there is nothing; NULL: no memory or no place. */
weft_known *weft__node_known(weft_node *n, const weft_id *device);
/* Adds an action that owns copies of its bytes.  Errors are WEFT_ENOMEM and WEFT_EAGAIN. */
weft_err weft__node_push(weft_node *n, const weft_node_action *action) WEFT_MUST_USE;
/* Adds a NOTE; one that finds no place is lost. */
void weft__node_note(weft_node *n, weft_node_note note, const weft_id *device, weft_bytes text,
                     weft_err why);
/* Counts the body of a frame, by its type and direction. */
void weft__node_count_frame(weft_node *n, uint8_t type, size_t len, bool out);
/* Bytes of all links' buffers and of what waits to be held. */
size_t weft__node_memory(const weft_node *n);
/* Makes a link without a session.  NULL: no memory, or no place. */
weft_link *weft__node_link_new(weft_node *n, weft_bytes remote, bool initiator);
/* Copies bytes into memory of the node, which weft__node_drop gives back.  WEFT_ENOMEM. */
weft_err weft__node_copy(weft_node *n, weft_bytes bytes, weft_bytes *copy) WEFT_MUST_USE;
/* Gives such a copy back. */
void weft__node_drop(weft_node *n, weft_bytes *bytes);
/* The smaller one. */
weft_ms weft__min_ms(weft_ms a, weft_ms b);
/* Grows an array of the node: room for `need` items of `size`. */
weft_err weft__node_grow(weft_node *n, void **at, size_t *cap, size_t need,
                         size_t size) WEFT_MUST_USE;
/* Reads the replica again: arrivals, the roster. */
void weft__node_look(weft_node *n);
/* Brings held_root and shown_root up to date. */
void weft__node_roots(weft_node *n);
/* A link opened or ended: the others are told before long. */
void weft__node_links_moved(weft_node *n);
/* Brings `linked` up to date. */
void weft__node_linked(weft_node *n);

/* --- node_dial.c --- */

/* A link ended for `why`: its address is tried again in due time. */
void weft__dial_ended(weft_node *n, weft_link *link, weft_err why);
/* A device answered at the address of a link. */
void weft__dial_answered(weft_node *n, weft_link *link);
/* That device said HELLO. */
void weft__dial_greeted(weft_node *n, const weft_link *link);
/* The link's session is about to end: its address is dialled again. */
void weft__dial_renew(weft_node *n, const weft_link *link);
/* `device` says that it listens at `text`. */
void weft__dial_learn(weft_node *n, const weft_id *device, weft_bytes text);
/* Dials what is due. */
void weft__dial_run(weft_node *n);
/* True of an address that was tried often enough. */
bool weft__dial_given_up(const weft_node *n, const weft_dial *d);
/* When weft__dial_run is due; WEFT_NEVER. */
weft_ms weft__dial_deadline(const weft_node *n);
/* Asks whether the host of `remote` may connect now, and counts it. */
bool weft__accept_allowed(weft_node *n, weft_bytes remote, bool loopback);
/* How long a refused connection is kept in silence. */
weft_ms weft__accept_delay(weft_node *n);
/* A hash of who connects from host:port: of the host, and where that is an IPv6 address of its
 * network of 64 bits. */
void weft__host_of(const weft_node *n, weft_bytes remote, uint8_t out[WEFT_HOST_LEN]);

/* --- node_hold.c --- */

/* Takes one chunk of a peer; grants its credit at once when it is dropped. */
void weft__hold_add(weft_link *link, weft_bytes chunk, uint32_t credit, bool asked);
/* The same of one that is of another branch than ours, for all we know. */
void weft__hold_add_fork(weft_link *link, weft_bytes chunk, uint32_t credit);
/* The newest seq of `log` that is held or on its way in from now on without a gap. */
uint64_t weft__hold_reach(const weft_node *n, const weft_id *log);
/* True while something of a connection waits to be held or is being held. */
bool weft__hold_has(const weft_node *n, uint64_t conn);
/* Sends the next HOLD out when it is due and none is under way. */
void weft__hold_run(weft_node *n);
/* When weft__hold_run has work, or a pause ends; WEFT_NEVER. */
weft_ms weft__hold_deadline(const weft_node *n);
/* A connection is gone: its records are dropped; its chunks are whole and stay. */
void weft__hold_drop_link(weft_node *n, uint64_t conn);
/* Gives back all that waits. */
void weft__hold_free(weft_node *n);
/* Takes one membership record of a peer, to be stored in its turn. */
void weft__record_add(weft_link *link, weft_bytes record);
/* Sends the next RECORD out when none is under way. */
void weft__record_run(weft_node *n);

/* --- node_pause.c --- */

/* What a peer refused of a log; NULL. */
weft_park *weft__park_of(weft_node *n, const weft_id *device, const weft_id *log);
/* Whether all of a range that is asked for was refused by who asks; shortens `to` to what was not.
 * What found no place there is forgotten: it is asked for, so it finds one. */
bool weft__park_holds(const weft_link *link, const weft_id *log, uint64_t from, uint64_t *to);
/* Whether a run is not to be pushed. */
bool weft__park_skips(const weft_link *link, const weft_id *log, uint64_t from);
/* Tells the sender of a run that it is not taken. */
void weft__park_say(weft_link *link, const weft_id *log, uint64_t from, uint64_t to,
                    weft_code code);
/* A peer says so. */
void weft__park_receive(weft_link *link, const weft_msg_nohave *m);
/* Forgets what was taken after all. */
void weft__park_run(weft_node *n);

/* --- node_ack.c --- */

/* Reads the acknowledgements that the replica keeps.  WEFT_ENOMEM, or what the source said. */
weft_err weft__ack_load(weft_node *n) WEFT_MUST_USE;
/* Gives back the stamps. */
void weft__ack_free(weft_node *n);
/* Hands the acknowledgements that the replica lacks to it. */
void weft__ack_flush(weft_node *n);
/* Signs our own when it is due. */
void weft__ack_run(weft_node *n);
/* How long acknowledgements wait for others to go with: longer the more members there are. */
weft_ms weft__ack_delay(const weft_node *n);
/* What a HELLO says of the acknowledgements its sender has, and what ours says. */
void weft__ack_greet(weft_link *link, const weft_msg_hello *m);
void weft__ack_list(const weft_node *n, weft_msg_hello *m);
/* Takes the items of an ACK; the link is failed when one is forged. */
void weft__ack_receive(weft_link *link, const weft_msg_acks *m);
/* Sends what the link has not carried yet, if its credit allows. */
void weft__ack_send(weft_link *link);

/* --- node_presence.c --- */

weft_err weft__present_begin(weft_node *n) WEFT_MUST_USE;
/* Does what is due, and makes notes of what happened. */
void weft__present_run(weft_node *n);
/* When weft__present_run is due; WEFT_NEVER. */
weft_ms weft__present_deadline(const weft_node *n);
/* A link opened or ended. */
void weft__present_up(weft_link *link);
void weft__present_down(weft_link *link);
/* When a link has something to say of presence and its stream would take it; WEFT_NEVER. */
weft_ms weft__present_due(const weft_link *link);
/* Sends it, if it is due. */
void weft__present_send(weft_link *link);
/* A link says something after `silence`. */
void weft__present_heard(weft_link *link, weft_ms silence);
/* Takes a frame; the link is failed when a statement is forged. */
weft_err weft__present_receive(weft_link *link, weft_arena *arena, weft_bytes body) WEFT_MUST_USE;
/* Goodbye, on every link. */
void weft__present_stop(weft_node *n);

/* --- peer.c --- */

/* What an ERROR code means here. */
weft_err weft__code_err(uint16_t code);

/* The session is established: greets a member, lets others prove themselves or join. */
void weft__link_start(weft_link *link);
/* Works on what the session has to say; with `send`, also takes a few sealed records into `tx`. */
void weft__link_drain(weft_link *link, bool send);
/* Does what is due on a link; early or repeated calls do nothing. */
void weft__link_tick(weft_link *link);
/* When weft__link_tick is due; WEFT_NEVER. */
weft_ms weft__link_deadline(const weft_link *link);
/* Sends a frame made in `body`, and frees it.  A link that cannot is closed. */
void weft__link_send(weft_link *link, uint8_t type, weft_buf *body);
/* An empty buffer for the body of a frame. */
weft_buf weft__link_body(const weft_link *link);
/* Ends a link: with an ERROR frame for `code` unless that is 0. */
void weft__link_fail(weft_link *link, weft_err why, weft_code code, uint8_t about);
/* Ends a link with BYE. */
void weft__link_bye(weft_link *link, weft_bye reason, weft_err why);
/* Frees it with its session. */
void weft__link_free(weft_link *link);
/* The roster has changed. */
void weft__link_roster(weft_link *link);
/* Asks the peer where it stands now. */
void weft__link_ask(weft_link *link);
/* What we hold or show has changed: the peer is told before long. */
void weft__link_status_soon(weft_link *link);
/* Tells it now, if it was to be told. */
void weft__link_status_now(weft_link *link);
/* Compares where both stand; arranges for a whole comparison when that does not come to rest. */
void weft__link_check_step(weft_link *link);
/* True from our HELLO on, until it ends. */
bool weft__link_is_up(const weft_link *link);

/* --- peer_sync.c --- */

/* Both HELLOs are there: tells what we hold as they ask for it. */
void weft__sync_begin(weft_link *link);
/* What the frames of their names say; each may fail the link. */
void weft__sync_leaves(weft_link *link, const weft_msg_heads *m);
void weft__sync_delta(weft_link *link, const weft_msg_heads *m);
void weft__sync_ihave(weft_link *link, const weft_msg_heads *m);
void weft__sync_nodes(weft_link *link, const weft_msg_nodes *m);
void weft__sync_turn(weft_link *link, const weft_msg_turn *m);
void weft__sync_nohave(weft_link *link, const weft_msg_nohave *m);
/* Asks for what is lacking here and not asked for. */
void weft__sync_plan(weft_link *link);
/* Tells what arrived since they were last told. */
void weft__sync_announce(weft_link *link);
/* Compares the vectors as a whole once more. */
void weft__sync_resync(weft_link *link);
/* Nothing came for what was asked: it is asked elsewhere. */
void weft__sync_timeout(weft_link *link);
/* Other things came, for so long that what did not is asked elsewhere, if it can be had there. */
void weft__sync_patience(weft_link *link);
/* When weft__sync_patience is due; WEFT_NEVER. */
weft_ms weft__sync_patience_due(const weft_link *link);
/* The range was judged: shortens or drops asks.  `first` is where the run began with which this
 * peer answered; 0: it came from somebody else, or unasked. */
void weft__sync_held(weft_link *link, const weft_id *log, uint64_t first, uint64_t last);
/* What was asked of `log` cannot be had from this peer now. */
/* A run of a branch came whose start is not here. */
void weft__sync_branch(weft_link *link, const weft_head *last, uint64_t from);
void weft__sync_forget(weft_link *link, const weft_id *log);
/* Where the roster has changed: what could not be had may be asked for again. */
void weft__sync_unblock(weft_link *link);
/* True when the peer has told all that it holds. */
bool weft__sync_is_done(const weft_link *link);
/* Raises what we believe they hold. */
void weft__sync_raise(weft_link *link, const weft_id *log, uint64_t seq, const weft_id *id);

/* --- peer_fork.c --- */

/* True when a log has several heads here. */
bool weft__log_forked(const weft_node *n, const weft_id *log);
/* Looks at told heads for branches that one side lacks. */
void weft__fork_heard(weft_link *link, const weft_msg_heads *m);
/* Notes a head that they hold and we do not; `from`: where to ask first. */
void weft__fork_add(weft_link *link, const weft_head *head, uint64_t from);
/* True when a branch of the log is to be asked for. */
bool weft__fork_has(const weft_link *link, const weft_id *log);
/* The head among those to be asked for, if it is not held; NULL. */
weft_other *weft__fork_lacks(weft_link *link, const weft_head *head);
void weft__fork_drop(weft_link *link, const weft_id *log);
/* Walks over what is to be asked for, from place 0 on; forgets what is held by now. */
bool weft__fork_next(weft_link *link, size_t *place, weft_other *out);
/* They hold another branch before what was asked for: goes back.  False: no further back. */
bool weft__fork_back(weft_link *link, const weft_head *head, uint64_t from);
/* The id at `seq` on the longest branch held here.  False: nothing reaches there. */
bool weft__fork_prev(const weft_link *link, const weft_id *log, uint64_t seq, weft_id *id);
/* Sends the forks that were noted, as far as credit allows. */
void weft__fork_run(weft_link *link);
weft_err weft__fork_receive(weft_link *link, const weft_msg_blobs *m,
                            size_t body_len) WEFT_MUST_USE;

/* --- peer_serve.c --- */

/* Takes what the peer wants; answers at once what cannot be had. */
void weft__serve_want(weft_link *link, const weft_msg_want *m);
/* Begins to send ranges that the peer lacks, as it has just told, and has not asked for; the first
 * question for one of them is then answered by what is on its way. */
void weft__serve_unasked(weft_link *link, const weft_msg_range *ranges, size_t count);
/* Makes frames while there is room and credit. */
void weft__serve_run(weft_link *link);
/* Takes in that the stream has written some of what it was given. */
void weft__link_written(weft_link *link, size_t queued);
/* Whether the stream's queue is so short that bulk may go on. */
bool weft__link_drains(weft_link *link);
/* When the next relay is due; WEFT_NEVER when it waits for the peer instead. */
weft_ms weft__serve_deadline(const weft_link *link);
/* Counts bytes that a device was sent although it had them, or should have. */
void weft__again_count(weft_link *link, size_t len);
/* True when it has had so much again that it has to wait; what cannot wait is refused then. */
bool weft__again_waits(const weft_link *link);
/* When what was asked for goes on; WEFT_NEVER: it does not wait. */
weft_ms weft__again_deadline(const weft_link *link);
/* A bulk frame of `len` bytes may be sent now. */
bool weft__credit_allows(const weft_link *link, size_t len);
/* Counts a bulk frame sent. */
void weft__credit_use(weft_link *link, size_t len);
/* A bulk frame came in.  False: over the window; the link was failed. */
bool weft__credit_take(weft_link *link, size_t len);
/* Bytes that came are held, or dropped: they are granted again before long. */
void weft__credit_grant(weft_link *link, size_t len);
/* The credit that is there to give, which counts as given. */
uint32_t weft__credit_give(weft_link *link);
/* Sends CREDIT when it is much or has waited. */
void weft__credit_run(weft_link *link);
/* True while the session and the stream are not full. */
bool weft__serve_room(const weft_link *link);

#ifdef __cplusplus
}
#endif
#endif

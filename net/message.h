/* The bodies of frames: what two nodes say to each other once their session is established.
 *
 * Every body is one msgpack array of positional fields (docs/wire.md, "Messages").  A reader
 * ignores fields behind those it knows, and gives fields that are missing at the end their default,
 * zero unless said otherwise; so both ends can grow.  Every list has a bound.
 *
 * Writers append to a buffer, whose failure is told by weft__buf_err.  Readers give views into the
 * body and lists in the arena; they take memory in proportion to the body, whatever it claims. All
 * readers: WEFT_EMALFORMED: not such a body, or a list over its bound; WEFT_ENOMEM. */
#ifndef WEFT_MESSAGE_H
#define WEFT_MESSAGE_H

#include "crdt/ack.h"
#include "crdt/record.h"
#include "crdt/vector.h"
#include "net/source.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
  WEFT_MESSAGE_AGENT_MAX = 64,
  WEFT_MESSAGE_LISTEN_MAX = 8,
  WEFT_MESSAGE_IDS_MAX = 64,    /* AUTH_HAVE, AUTH_WANT */
  WEFT_MESSAGE_HEADS_MAX = 128, /* VV_LEAVES, VV_DELTA, IHAVE: stays below a control frame */
  WEFT_MESSAGE_NODES_MAX = 16,  /* VV_NODES */
  WEFT_MESSAGE_WANTS_MAX = 64,
  WEFT_MESSAGE_CHUNKS_MAX = 1024, /* CHANGES, GOSSIP */
  WEFT_MESSAGE_RECORDS_MAX = 1024,
  WEFT_MESSAGE_ACKS_MAX = 256,
  WEFT_MESSAGE_ACKED_MAX = 256,
  WEFT_MESSAGE_TEXT_MAX = 128,       /* ERROR */
  WEFT_MESSAGE_STATEMENTS_MAX = 128, /* PRESENCE: a frame holds fewer of the least ones */
  WEFT_MESSAGE_DIRECT_MAX = 256,
  WEFT_MESSAGE_LINKED_MAX = 64, /* PING, PONG: bytes */
};

/* The newest acknowledgement that the sender of a HELLO has of one device. */
typedef struct weft_msg_acked {
  uint8_t device[8]; /* the first bytes of its key */
  uint64_t counter;
} weft_msg_acked;

/* HELLO, the first frame of a member, both ways. */
typedef struct weft_msg_hello {
  uint64_t instance;                        /* of the store */
  uint64_t boot;                            /* random number of this run of the node */
  weft_bytes agent;                         /* program and version, UTF-8 */
  weft_id auth_heads[WEFT_RECORD_DEPS_MAX]; /* of the membership records: the least ones */
  size_t auth_count;
  uint8_t held_root[WEFT_ROOT_LEN];
  uint64_t held_count; /* heads in the held vector */
  uint8_t shown_root[WEFT_ROOT_LEN];
  uint8_t digest[16];
  uint32_t apply_level;
  weft_bytes listen[WEFT_MESSAGE_LISTEN_MAX]; /* host:port */
  size_t listen_count;
  uint32_t window;          /* bytes of bulk frames we take before we grant more */
  uint64_t cursor_instance; /* we hold all that arrived in your store `cursor_instance` */
  uint64_t cursor_arrival;  /* up to this arrival */
  weft_bytes name;          /* of the device */
  uint64_t arrival;         /* of our store */
  uint8_t auth_root[16];
  weft_msg_acked acked[WEFT_MESSAGE_ACKED_MAX];
  size_t acked_count;
} weft_msg_hello;

/* PING and PONG: where the sender stands.  A PONG with token 0 answers nothing. */
typedef struct weft_msg_status {
  uint64_t token;
  uint64_t hlc;
  uint8_t held_root[WEFT_ROOT_LEN];
  uint8_t shown_root[WEFT_ROOT_LEN];
  uint8_t digest[16];
  uint8_t auth_root[16];
  uint32_t apply_level;
  uint64_t held_changes; /* how many changes the held vector covers */
  uint64_t arrival;      /* of the sender's store */
  uint32_t grant;        /* credit, as in CREDIT */
  /* Whom the sender is linked to: bit i % 8 of byte i / 8 is the i-th member of the roster, in the
   * order of their keys.  Means something to whoever has the same roster. */
  uint8_t linked[WEFT_MESSAGE_LINKED_MAX];
  size_t linked_len; /* as many bytes as have bits; 0 also when the members are too many */
} weft_msg_status;

typedef struct weft_msg_error {
  uint16_t code; /* weft_code, or a number of the future */
  uint8_t about; /* the type of the frame that was at fault, 0: none */
  uint32_t retry_s;
  weft_bytes text;
} weft_msg_error;

typedef enum weft_bye {
  WEFT_BYE_SHUTDOWN = 0,
  WEFT_BYE_DUPLICATE = 1,
  WEFT_BYE_IDLE = 2,
  WEFT_BYE_FULL = 3,
  WEFT_BYE_LIFETIME = 4,
  WEFT_BYE_USER = 5
} weft_bye;

typedef struct weft_msg_bye {
  uint8_t reason;
  bool alive; /* the node goes on running */
} weft_msg_bye;

/* AUTH_HAVE: our heads.  AUTH_WANT: records asked for by id, and our heads; without ids, all that
 * lies beyond them. */
typedef struct weft_msg_auth {
  const weft_id *ids;
  size_t id_count;
  const weft_id *heads;
  size_t head_count;
} weft_msg_auth;

/* AUTH_REC: membership records, parents first.  CHANGES and GOSSIP: chunks. */
typedef struct weft_msg_blobs {
  const weft_bytes *at;
  size_t count;
  uint8_t hop; /* GOSSIP: links it has gone over before this one */
} weft_msg_blobs;

/* VV_ROOT: ends a turn of the descent. */
typedef struct weft_msg_turn {
  uint8_t root[WEFT_ROOT_LEN];
  uint64_t count;
  bool quiet; /* nothing was said in this turn, and nothing is left to say */
} weft_msg_turn;

typedef struct weft_msg_node {
  uint8_t prefix[WEFT_VECTOR_DEPTH_MAX]; /* one step a byte, 0..15 */
  size_t prefix_len;
  uint8_t child[16][WEFT_ROOT_LEN];
} weft_msg_node;

/* VV_NODES */
typedef struct weft_msg_nodes {
  const weft_msg_node *at;
  size_t count;
} weft_msg_nodes;

/* VV_LEAVES: heads of the held vector, all or those under a prefix.  VV_DELTA: the heads of the
 * logs that grew between two arrivals.  IHAVE: the heads that just grew. */
typedef struct weft_msg_heads {
  const weft_head *at; /* seq >= 1 */
  size_t count;
  bool done;                             /* LEAVES, DELTA: the last of several frames */
  bool ask;                              /* LEAVES: answer with yours */
  uint8_t prefix[WEFT_VECTOR_DEPTH_MAX]; /* LEAVES */
  size_t prefix_len;
  uint64_t from; /* DELTA: arrivals after this one */
  uint64_t to;   /* DELTA, LEAVES: our arrival when this was written */
} weft_msg_heads;

typedef struct weft_msg_range {
  weft_id log;
  uint64_t from, to; /* inclusive */
  weft_id prev;      /* the id at from - 1 that the asker holds; zeros when from is 1 */
  weft_id head; /* the id at `to`, which tells the branch; zeros when the asker does not know */
} weft_msg_range;

/* WANT */
typedef struct weft_msg_want {
  const weft_msg_range *at;
  size_t count;
} weft_msg_want;

typedef enum weft_nohave {
  WEFT_NOHAVE_PRUNED = 1,
  WEFT_NOHAVE_NEVER = 2,
  WEFT_NOHAVE_QUOTA = 3,
  WEFT_NOHAVE_BRANCH = 4 /* the id before `low` is another one here */
} weft_nohave;

typedef struct weft_msg_nohave {
  weft_id log;
  uint64_t low, high;
  uint8_t why;
} weft_msg_nohave;

/* One item of ACK: what leads from what the link carried of that device before; `whole`: from
 * nothing. */
typedef struct weft_msg_ack {
  weft_ack ack;
  bool whole;
  const weft_head *delta; /* short; seq 0: the log is gone */
  size_t count;
} weft_msg_ack;

typedef struct weft_msg_acks {
  const weft_msg_ack *at;
  size_t count;
} weft_msg_acks;

/* What a device says of its sessions: net/presence.h. */
typedef struct weft_msg_statement {
  weft_id device;
  uint64_t counter;
  uint32_t age_ms;  /* since the device said it, as far as the sender knows */
  uint32_t life_ms; /* for which it was said */
  uint8_t digest[16];
  weft_sig sig;
  weft_bytes body; /* empty: gone, or not to be told */
} weft_msg_statement;

typedef struct weft_msg_direct { /* first bytes of the key of a device that the sender is linked to
                                  */
  uint8_t device[8];
} weft_msg_direct;

/* PRESENCE: strictly ascending by device, so that a frame costs a device one signature at most. */
typedef struct weft_msg_presence {
  const weft_msg_statement *at;
  size_t count;
  bool direct_told; /* `direct` replaces what was told before */
  const weft_msg_direct *direct;
  size_t direct_count;
} weft_msg_presence;

typedef struct weft_msg_redeem {
  weft_redeem redeem;
  weft_bytes name;
} weft_msg_redeem;

typedef struct weft_msg_admit { /* the records went before it, in AUTH_REC */
  uint8_t epoch[8];
  weft_key secret;
} weft_msg_admit;

/* --- writing --- */

void weft__msg_hello_put(weft_buf *out, const weft_msg_hello *m);
void weft__msg_status_put(weft_buf *out, const weft_msg_status *m);
void weft__msg_credit_put(weft_buf *out, uint32_t bytes);
void weft__msg_error_put(weft_buf *out, const weft_msg_error *m);
void weft__msg_bye_put(weft_buf *out, const weft_msg_bye *m);
void weft__msg_auth_put(weft_buf *out, const weft_msg_auth *m);
void weft__msg_blobs_put(weft_buf *out, const weft_msg_blobs *m);
void weft__msg_turn_put(weft_buf *out, const weft_msg_turn *m);
void weft__msg_nodes_put(weft_buf *out, const weft_msg_nodes *m);
void weft__msg_heads_put(weft_buf *out, const weft_msg_heads *m);
void weft__msg_want_put(weft_buf *out, const weft_msg_want *m);
void weft__msg_nohave_put(weft_buf *out, const weft_msg_nohave *m);
void weft__msg_acks_put(weft_buf *out, const weft_msg_acks *m);
void weft__msg_presence_put(weft_buf *out, const weft_msg_presence *m);
void weft__msg_redeem_put(weft_buf *out, const weft_msg_redeem *m);
void weft__msg_admit_put(weft_buf *out, const weft_msg_admit *m);
void weft__msg_refuse_put(weft_buf *out, uint16_t code);

/* --- reading --- */

weft_err weft__msg_hello_read(weft_bytes in, weft_msg_hello *m) WEFT_MUST_USE;
weft_err weft__msg_status_read(weft_bytes in, weft_msg_status *m) WEFT_MUST_USE;
weft_err weft__msg_credit_read(weft_bytes in, uint32_t *bytes) WEFT_MUST_USE;
weft_err weft__msg_error_read(weft_bytes in, weft_msg_error *m) WEFT_MUST_USE;
weft_err weft__msg_bye_read(weft_bytes in, weft_msg_bye *m) WEFT_MUST_USE;
weft_err weft__msg_auth_read(weft_arena *arena, weft_bytes in, weft_msg_auth *m) WEFT_MUST_USE;
weft_err weft__msg_blobs_read(weft_arena *arena, weft_bytes in, weft_msg_blobs *m) WEFT_MUST_USE;
weft_err weft__msg_turn_read(weft_bytes in, weft_msg_turn *m) WEFT_MUST_USE;
weft_err weft__msg_nodes_read(weft_arena *arena, weft_bytes in, weft_msg_nodes *m) WEFT_MUST_USE;
weft_err weft__msg_heads_read(weft_arena *arena, weft_bytes in, weft_msg_heads *m) WEFT_MUST_USE;
weft_err weft__msg_want_read(weft_arena *arena, weft_bytes in, weft_msg_want *m) WEFT_MUST_USE;
weft_err weft__msg_nohave_read(weft_bytes in, weft_msg_nohave *m) WEFT_MUST_USE;
weft_err weft__msg_acks_read(weft_arena *arena, weft_bytes in, weft_msg_acks *m) WEFT_MUST_USE;
weft_err weft__msg_presence_read(weft_arena *arena, weft_bytes in,
                                 weft_msg_presence *m) WEFT_MUST_USE;
weft_err weft__msg_redeem_read(weft_bytes in, weft_msg_redeem *m) WEFT_MUST_USE;
weft_err weft__msg_admit_read(weft_bytes in, weft_msg_admit *m) WEFT_MUST_USE;
weft_err weft__msg_refuse_read(weft_bytes in, uint16_t *code) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

/* Changes: the unit of replication and history, and their canonical bytes.
 *
 * Canonical bytes, big-endian, varints minimal (docs/disk.md gives every byte):
 *
 *   version u8 = 1 | kind u8 | flags u8 | hlc u64
 *   [message: varint length, UTF-8]                           flags bit 0
 *   claims:  varint count, then each: varint number << 2 | has_tag << 1 | has_log,
 *            [log id 32], varint seq, [tag 8]                  ascending by number
 *   [extensions: varint length, then varint type, varint length, bytes, ...]   flags bit 7
 *   body
 *     START: device key 32 | incarnation 16 | lane u8 | grant 32
 *            | varint count, then each: log id 32, varint seq, id 32
 *     DATA:  varint documents, then each: varint length, name | varint ops, then each:
 *            op u8 (low 5 bits kind, bit 5 position follows) | varint length, path
 *            | [position: varint length, bytes] | [value: canonical msgpack]    SCALAR only
 *
 * A START has no claims, its earlier logs ascend by id; a DATA has at least one op.  A message or
 * extensions that a flag announces are not empty; extensions ascend by type.
 *
 * Documents ascend by name, ops of a document ascend by path in byte order (so ancestors come
 * first), and no (document, path) occurs twice: a set of ops has exactly one encoding.  Log,
 * seq and previous id are implied by the place of a change in its log and are not stored.
 *
 * Reading has two stages.  weft__change_parse is a function of the bytes alone.  weft__change_judge
 * adds what depends on the earlier changes of the same log.  Each ends in one of three states;
 * nothing about a change ever makes it unholdable. */
#ifndef WEFT_CHANGE_H
#define WEFT_CHANGE_H

#include "alloc.h"
#include "buf.h"
#include "crypto.h"
#include "path.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum weft_op_kind {
  WEFT_OP_SCALAR = 1,
  WEFT_OP_UNSET = 2,
  WEFT_OP_MARK_OBJECT = 3, /* there is an object here */
  WEFT_OP_MARK_ARRAY = 4,
  WEFT_OP_FRESH_OBJECT = 5, /* the same, begun anew: also removes what it covers below */
  WEFT_OP_FRESH_ARRAY = 6,
  WEFT_OP_POSITION = 7 /* only the position of an element changes */
} weft_op_kind;

/* True of what begins a container anew. */
static inline bool weft__op_is_fresh(weft_op_kind kind) {
  return kind == WEFT_OP_FRESH_OBJECT || kind == WEFT_OP_FRESH_ARRAY;
}

enum { WEFT_OP_KIND_MASK = 0x1f, WEFT_OP_HAS_POSITION = 0x20 };

typedef struct weft_op {
  weft_bytes doc; /* document name */
  weft_path path; /* encoded; "" only for MARK_OBJECT, FRESH_OBJECT and UNSET */
  weft_op_kind kind;
  weft_bytes value;    /* WEFT_OP_SCALAR: one canonical scalar; else empty */
  weft_bytes position; /* empty = none.  POSITION must have one; SCALAR, MARK_*, FRESH_* may; only
                          where the path's last step is an element */
} weft_op;

enum { WEFT_CLAIM_TAG_LEN = 8 };

typedef struct weft_claim {
  uint32_t number; /* the author's own short number for one branch of another log */
  bool has_log;    /* this claim defines `number`: exactly the first time it is used */
  bool has_tag;    /* exactly when `seq` exceeds what this log claimed under `number` before */
  weft_id log;     /* when has_log; weft__change_judge fills it in otherwise */
  uint64_t seq;    /* >= 1 */
  uint8_t tag[WEFT_CLAIM_TAG_LEN]; /* first bytes of the id at `seq`, when has_tag */
} weft_claim;

typedef enum weft_change_kind { WEFT_CHANGE_START = 1, WEFT_CHANGE_DATA = 2 } weft_change_kind;

enum { WEFT_CHANGE_HAS_MESSAGE = 0x01, WEFT_CHANGE_HAS_EXTENSIONS = 0x80, WEFT_CHANGE_VERSION = 1 };

/* Extension types.  An unknown even type is skipped; an unknown odd one makes the change UNKNOWN.
 */
enum {
  WEFT_EXT_RESTORED_FROM = 2, /* 32-byte change id */
  WEFT_EXT_REVERTS = 4,       /* 32-byte change id */
  WEFT_EXT_RESOLVES = 6,      /* one or more 32-byte change ids, the siblings that were listed */
  WEFT_EXT_REDOES = 8         /* 32-byte change id */
};

typedef enum weft_lane {
  WEFT_LANE_CRITICAL = 0,
  WEFT_LANE_HIGH = 1,
  WEFT_LANE_NORMAL = 2,
  WEFT_LANE_LOW = 3,
  WEFT_LANES = 4
} weft_lane;

/* Where an earlier log of the same device stood; for information. */
typedef struct weft_earlier_log {
  weft_id log;
  uint64_t seq;
  weft_id id;
} weft_earlier_log;

typedef struct weft_start {
  weft_id device; /* Ed25519 public key */
  uint8_t incarnation[16];
  uint8_t lane;  /* weft_lane */
  weft_id grant; /* the membership record under which this log is written */
  weft_earlier_log *earlier;
  size_t earlier_count;
} weft_start;

typedef enum weft_change_state {
  WEFT_CHANGE_VALID,
  WEFT_CHANGE_INVALID, /* forbidden content: no claims, no ops; held, shown as nothing */
  WEFT_CHANGE_UNKNOWN /* a newer version, kind, flag or op: carried raw, no effect until upgraded */
} weft_change_state;

/* A change taken apart.  Arrays lie in the arena given to the parser; byte views point into `raw`.
 * When the state is not VALID, claims and ops are empty and only `raw` is meant. */
typedef struct weft_change {
  weft_change_state state;
  weft_change_kind kind;
  uint64_t hlc;
  weft_bytes message;
  weft_bytes extensions; /* the type-length-value items, without their total length */
  weft_claim *claims;
  size_t claim_count;
  weft_op *ops; /* DATA */
  size_t op_count;
  weft_start start; /* START */
  weft_bytes raw;   /* the canonical bytes */
} weft_change;

/* What the reader of a log has to remember to judge its next change.  Zero-initialise for a log of
 * which nothing was read.  `numbers` is indexed by claim number. */
typedef struct weft_log_number {
  weft_id log;
  uint64_t seq_max; /* the newest seq claimed under this number */
} weft_log_number;

typedef struct weft_log_context {
  uint64_t seq; /* last change read; 0 none */
  uint64_t hlc; /* of the last valid change */
  bool opaque;  /* an UNKNOWN change was read: undefined numbers are then UNKNOWN, not INVALID */
  weft_log_number *numbers;
  size_t number_count;
  size_t number_cap;
} weft_log_context;

/* Writes the canonical bytes of a START or DATA change into `out` (appending).  Ops are sorted
 * here; documents and paths must be valid.  `change->raw` and `state` are ignored. WEFT_OK;
 * WEFT_EMISUSE: two ops at one (document, path), or an op the format forbids; WEFT_ELIMIT: over a
 * limit; WEFT_ENOMEM. */
weft_err weft__change_encode(weft_buf *out, weft_arena *scratch,
                             const weft_change *change) WEFT_MUST_USE;

/* Takes `raw` apart.  Total: every byte string gives a state.  Views point into `raw`.
 * WEFT_OK, whatever the state; WEFT_ENOMEM. */
weft_err weft__change_parse(weft_arena *arena, weft_bytes raw, weft_change *out) WEFT_MUST_USE;

/* Settles the state of a parsed change as the one that follows `ctx` in its log: START exactly at
 * seq 1, hlc strictly increasing, log numbers defined in order, tags exactly where they belong.
 * Fills in claim->log of claims without one.  Turns the state to INVALID or UNKNOWN, never back. */
void weft__change_judge(const weft_log_context *ctx, weft_change *change);

/* Moves `ctx` over a judged change; memory for new numbers comes from `arena`.
 * WEFT_OK or WEFT_ENOMEM (then `ctx` is unchanged). */
weft_err weft__log_context_advance(weft_log_context *ctx, weft_arena *arena,
                                   const weft_change *change) WEFT_MUST_USE;

/* Finds the first extension of `type`; empty view when there is none. */
weft_bytes weft__change_extension(const weft_change *change, uint64_t type);

/* Takes apart what stands before the ops of a change that was parsed as VALID before: clock,
 * message, claims, extensions.  WEFT_OK; WEFT_ENOMEM; any other error: it was not. */
weft_err weft__change_parse_head(weft_arena *arena, weft_bytes raw, weft_change *out) WEFT_MUST_USE;

/* --- the chain --- */

/* BLAKE2b-256, personal "weft-log-v1": space | device key | incarnation 16 | lane u8. */
void weft__log_id(const weft_crypto *crypto, const weft_id *space, const weft_start *start,
                  weft_id *out);

/* The id that stands before seq 1 of a log: BLAKE2b-256, personal "weft-seq0-v1", of the log id. */
void weft__log_root(const weft_crypto *crypto, const weft_id *log, weft_id *out);

/* id = BLAKE2b-256 of prev | raw, salt = space bytes 0..15, personal = space bytes 16..31. */
void weft__change_id(const weft_crypto *crypto, const weft_id *space, const weft_id *prev,
                     weft_bytes raw, weft_id *out);

/* Signs or checks `weft-v1 sig` | space | log | seq u64 | id. */
void weft__change_sign(const weft_crypto *crypto, const weft_key *seed, const weft_id *device,
                       const weft_id *space, const weft_id *log, uint64_t seq, const weft_id *id,
                       weft_sig *out);
bool weft__change_sig_ok(const weft_crypto *crypto, const weft_id *device, const weft_id *space,
                         const weft_id *log, uint64_t seq, const weft_id *id,
                         const weft_sig *sig) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

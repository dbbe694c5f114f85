#include "tests/support/messages.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/gen.h"

enum {
  HELLO,
  STATUS,
  CREDIT,
  ERROR,
  BYE,
  AUTH,
  BLOBS,
  TURN,
  NODES,
  HEADS,
  WANT,
  NOHAVE,
  ACKS,
  REDEEM,
  ADMIT,
  REFUSE,
  PRESENCE
};

static const struct {
  unsigned required, fields;
} kinds[TEST_MESSAGE_KINDS] = {
    [HELLO] = {8, 16}, [STATUS] = {4, 9},   [CREDIT] = {1, 1}, [ERROR] = {1, 4},  [BYE] = {1, 2},
    [AUTH] = {1, 2},   [BLOBS] = {1, 2},    [TURN] = {3, 3},   [NODES] = {1, 1},  [HEADS] = {1, 6},
    [WANT] = {1, 1},   [NOHAVE] = {4, 4},   [ACKS] = {1, 1},   [REDEEM] = {6, 6}, [ADMIT] = {2, 2},
    [REFUSE] = {1, 1}, [PRESENCE] = {1, 3},
};

unsigned test_message_required(unsigned kind) { return kinds[kind].required; }
unsigned test_message_fields(unsigned kind) { return kinds[kind].fields; }

static void *take(weft_arena *arena, size_t count, size_t size) {
  void *at = weft__arena_zero(arena, count, size);
  if (!at) abort();
  return at;
}

/* Numbers of every length; the edges are frequent. */
static uint64_t number(test_rng *rng, uint64_t max) {
  static const uint64_t edges[] = {0, 1, 127, 128, 255, 256, 65535, 65536, UINT32_MAX, INT64_MAX};
  uint64_t v = test_rng_next(rng) >> test_rng_below(rng, 64);
  if (test_rng_chance(rng, 40)) v = TEST_PICK(rng, edges);
  return v > max ? max : v;
}

static weft_bytes text(test_rng *rng, weft_arena *arena, size_t max) {
  weft_bytes t = test_gen_text(rng, arena, test_rng_below(rng, 20), true);
  return t.len > max ? weft_bytes_of(NULL, 0) : t;
}

static weft_head *heads_any(test_rng *rng, weft_arena *arena, size_t count, size_t id_len,
                            uint64_t seq_min) {
  weft_head *heads = take(arena, count, sizeof *heads);
  for (size_t i = 0; i < count; i++) {
    test_rng_fill(rng, heads[i].log.b, 32);
    test_rng_fill(rng, heads[i].id.b, id_len);
    heads[i].seq = number(rng, INT64_MAX);
    if (heads[i].seq < seq_min) heads[i].seq = seq_min;
  }
  return heads;
}

static size_t prefix_any(test_rng *rng, uint8_t *prefix) {
  size_t len = test_rng_below(rng, WEFT_VECTOR_DEPTH_MAX);
  for (size_t i = 0; i < len; i++) prefix[i] = (uint8_t)test_rng_below(rng, 16);
  return len;
}

static void hello_any(test_rng *rng, weft_arena *arena, weft_buf *out) {
  weft_msg_hello m;
  memset(&m, 0, sizeof m);
  m.instance = number(rng, UINT64_MAX);
  m.boot = number(rng, UINT64_MAX);
  m.agent = text(rng, arena, WEFT_MESSAGE_AGENT_MAX);
  m.auth_count = test_rng_below(rng, WEFT_RECORD_DEPS_MAX + 1);
  test_rng_fill(rng, m.auth_heads, m.auth_count * sizeof *m.auth_heads);
  test_rng_fill(rng, m.held_root, sizeof m.held_root);
  m.held_count = number(rng, UINT64_MAX);
  test_rng_fill(rng, m.shown_root, sizeof m.shown_root);
  test_rng_fill(rng, m.digest, sizeof m.digest);
  m.apply_level = (uint32_t)number(rng, UINT32_MAX);
  m.listen_count = test_rng_below(rng, WEFT_MESSAGE_LISTEN_MAX + 1);
  for (size_t i = 0; i < m.listen_count; i++) m.listen[i] = text(rng, arena, 200);
  m.window = (uint32_t)number(rng, UINT32_MAX);
  m.cursor_instance = number(rng, UINT64_MAX);
  m.cursor_arrival = number(rng, UINT64_MAX);
  m.name = text(rng, arena, WEFT_DEVICE_NAME_LEN_MAX);
  m.arrival = number(rng, UINT64_MAX);
  test_rng_fill(rng, m.auth_root, sizeof m.auth_root);
  m.acked_count = test_rng_below(rng, 9);
  for (size_t i = 0; i < m.acked_count; i++) {
    test_rng_fill(rng, m.acked[i].device, sizeof m.acked[i].device);
    m.acked[i].counter = number(rng, UINT64_MAX);
  }
  weft__msg_hello_put(out, &m);
}

static void status_any(test_rng *rng, weft_buf *out) {
  weft_msg_status m;
  memset(&m, 0, sizeof m);
  m.token = number(rng, UINT64_MAX);
  m.hlc = number(rng, UINT64_MAX);
  test_rng_fill(rng, m.held_root, sizeof m.held_root);
  test_rng_fill(rng, m.shown_root, sizeof m.shown_root);
  test_rng_fill(rng, m.digest, sizeof m.digest);
  test_rng_fill(rng, m.auth_root, sizeof m.auth_root);
  m.apply_level = (uint32_t)number(rng, UINT32_MAX);
  m.held_changes = number(rng, UINT64_MAX);
  m.arrival = number(rng, UINT64_MAX);
  m.grant = (uint32_t)number(rng, UINT32_MAX);
  m.linked_len = (size_t)test_rng_below(rng, sizeof m.linked + 1);
  test_rng_fill(rng, m.linked, m.linked_len);
  weft__msg_status_put(out, &m);
}

static void ids_any(test_rng *rng, weft_arena *arena, weft_buf *out) {
  weft_id *ids = take(arena, WEFT_MESSAGE_IDS_MAX, sizeof *ids);
  test_rng_fill(rng, ids, WEFT_MESSAGE_IDS_MAX * sizeof *ids);
  weft_msg_auth m = {ids, test_rng_below(rng, WEFT_MESSAGE_IDS_MAX + 1), ids,
                     test_rng_below(rng, WEFT_MESSAGE_IDS_MAX + 1)};
  weft__msg_auth_put(out, &m);
}

static void blobs_any(test_rng *rng, weft_arena *arena, weft_buf *out) {
  size_t count = test_rng_below(rng, 12);
  weft_bytes *at = take(arena, count, sizeof *at);
  for (size_t i = 0; i < count; i++) {
    size_t len = test_rng_below(rng, 600);
    uint8_t *bytes = take(arena, len, 1);
    test_rng_fill(rng, bytes, len);
    at[i] = weft_bytes_of(bytes, len);
  }
  weft_msg_blobs m = {at, count, (uint8_t)number(rng, UINT8_MAX)};
  weft__msg_blobs_put(out, &m);
}

static void nodes_any(test_rng *rng, weft_arena *arena, weft_buf *out) {
  size_t count = test_rng_below(rng, WEFT_MESSAGE_NODES_MAX + 1);
  weft_msg_node *at = take(arena, count, sizeof *at);
  for (size_t i = 0; i < count; i++) {
    at[i].prefix_len = prefix_any(rng, at[i].prefix);
    test_rng_fill(rng, at[i].child, sizeof at[i].child);
  }
  weft_msg_nodes m = {at, count};
  weft__msg_nodes_put(out, &m);
}

static void heads_put_any(test_rng *rng, weft_arena *arena, weft_buf *out) {
  weft_msg_heads m = {.count = test_rng_below(rng, WEFT_MESSAGE_HEADS_MAX + 1)};
  m.at = heads_any(rng, arena, m.count, 32, 1);
  m.done = test_rng_chance(rng, 50);
  m.ask = test_rng_chance(rng, 50);
  m.prefix_len = prefix_any(rng, m.prefix);
  m.from = number(rng, UINT64_MAX);
  m.to = number(rng, UINT64_MAX);
  weft__msg_heads_put(out, &m);
}

static void want_any(test_rng *rng, weft_arena *arena, weft_buf *out) {
  size_t count = test_rng_below(rng, WEFT_MESSAGE_WANTS_MAX + 1);
  weft_msg_range *at = take(arena, count, sizeof *at);
  for (size_t i = 0; i < count; i++) {
    test_rng_fill(rng, at[i].log.b, 32);
    test_rng_fill(rng, at[i].prev.b, 32);
    at[i].from = 1 + number(rng, INT64_MAX - 1);
    at[i].to = at[i].from + number(rng, INT64_MAX - at[i].from);
  }
  weft_msg_want m = {at, count};
  weft__msg_want_put(out, &m);
}

static void acks_any(test_rng *rng, weft_arena *arena, weft_buf *out) {
  size_t count = test_rng_below(rng, 5);
  weft_msg_ack *at = take(arena, count, sizeof *at);
  for (size_t i = 0; i < count; i++) {
    test_rng_fill(rng, &at[i].ack.device, sizeof at[i].ack.device);
    at[i].ack.counter = number(rng, UINT64_MAX);
    test_rng_fill(rng, at[i].ack.root, sizeof at[i].ack.root);
    test_rng_fill(rng, at[i].ack.sig.b, sizeof at[i].ack.sig.b);
    at[i].whole = test_rng_chance(rng, 50);
    at[i].count = test_rng_below(rng, 40);
    at[i].delta = heads_any(rng, arena, at[i].count, WEFT_ACK_ID_LEN, 0);
  }
  weft_msg_acks m = {at, count};
  weft__msg_acks_put(out, &m);
}

static void presence_any(test_rng *rng, weft_arena *arena, weft_buf *out) {
  weft_msg_presence m = {.count = test_rng_below(rng, 6), .direct_told = test_rng_chance(rng, 50)};
  weft_msg_statement *at = take(arena, m.count, sizeof *at);
  for (size_t i = 0; i < m.count; i++) {
    test_rng_fill(rng, at[i].device.b, sizeof at[i].device.b);
    at[i].device.b[0] = (uint8_t)i;
    at[i].counter = number(rng, UINT64_MAX);
    at[i].age_ms = (uint32_t)number(rng, UINT32_MAX);
    at[i].life_ms = (uint32_t)number(rng, UINT32_MAX);
    test_rng_fill(rng, at[i].digest, sizeof at[i].digest);
    test_rng_fill(rng, at[i].sig.b, sizeof at[i].sig.b);
    at[i].body = text(rng, arena, WEFT_PRESENCE_BODY_LEN_MAX);
  }
  m.at = at;
  m.direct_count = test_rng_below(rng, 9);
  weft_msg_direct *direct = take(arena, m.direct_count, sizeof *direct);
  test_rng_fill(rng, direct, m.direct_count * sizeof *direct);
  m.direct = direct;
  weft__msg_presence_put(out, &m);
}

static void small_any(unsigned kind, test_rng *rng, weft_arena *arena, weft_buf *out) {
  union {
    weft_msg_error error;
    weft_msg_bye bye;
    weft_msg_turn turn;
    weft_msg_nohave nohave;
    weft_msg_redeem redeem;
    weft_msg_admit admit;
  } m;
  memset(&m, 0, sizeof m);
  switch (kind) {
  case CREDIT: weft__msg_credit_put(out, (uint32_t)number(rng, UINT32_MAX)); break;
  case ERROR:
    m.error = (weft_msg_error){(uint16_t)number(rng, UINT16_MAX), (uint8_t)number(rng, UINT8_MAX),
                               (uint32_t)number(rng, UINT32_MAX), text(rng, arena, 128)};
    weft__msg_error_put(out, &m.error);
    break;
  case BYE:
    m.bye = (weft_msg_bye){(uint8_t)number(rng, UINT8_MAX), test_rng_chance(rng, 50)};
    weft__msg_bye_put(out, &m.bye);
    break;
  case TURN:
    test_rng_fill(rng, m.turn.root, sizeof m.turn.root);
    m.turn.count = number(rng, UINT64_MAX);
    m.turn.quiet = test_rng_chance(rng, 50);
    weft__msg_turn_put(out, &m.turn);
    break;
  case NOHAVE:
    test_rng_fill(rng, m.nohave.log.b, 32);
    m.nohave.low = number(rng, INT64_MAX);
    m.nohave.high = m.nohave.low + number(rng, INT64_MAX - m.nohave.low);
    m.nohave.why = (uint8_t)number(rng, UINT8_MAX);
    weft__msg_nohave_put(out, &m.nohave);
    break;
  case REDEEM:
    test_rng_fill(rng, &m.redeem.redeem, sizeof m.redeem.redeem);
    m.redeem.name = text(rng, arena, WEFT_DEVICE_NAME_LEN_MAX);
    weft__msg_redeem_put(out, &m.redeem);
    break;
  case ADMIT:
    test_rng_fill(rng, &m.admit, sizeof m.admit);
    weft__msg_admit_put(out, &m.admit);
    break;
  default: weft__msg_refuse_put(out, (uint16_t)number(rng, UINT16_MAX)); break;
  }
}

void test_message_any(unsigned kind, test_rng *rng, weft_arena *arena, weft_buf *out) {
  switch (kind) {
  case HELLO: hello_any(rng, arena, out); break;
  case STATUS: status_any(rng, out); break;
  case AUTH: ids_any(rng, arena, out); break;
  case BLOBS: blobs_any(rng, arena, out); break;
  case NODES: nodes_any(rng, arena, out); break;
  case HEADS: heads_put_any(rng, arena, out); break;
  case WANT: want_any(rng, arena, out); break;
  case ACKS: acks_any(rng, arena, out); break;
  case PRESENCE: presence_any(rng, arena, out); break;
  default: small_any(kind, rng, arena, out); break;
  }
}

static weft_err lists_again(unsigned kind, weft_arena *arena, weft_bytes in, weft_buf *out) {
  union {
    weft_msg_auth auth;
    weft_msg_blobs blobs;
    weft_msg_nodes nodes;
    weft_msg_heads heads;
    weft_msg_want want;
    weft_msg_acks acks;
    weft_msg_presence presence;
  } m;
  switch (kind) {
  case PRESENCE:
    WEFT_TRY(weft__msg_presence_read(arena, in, &m.presence));
    weft__msg_presence_put(out, &m.presence);
    break;
  case AUTH:
    WEFT_TRY(weft__msg_auth_read(arena, in, &m.auth));
    weft__msg_auth_put(out, &m.auth);
    break;
  case BLOBS:
    WEFT_TRY(weft__msg_blobs_read(arena, in, &m.blobs));
    weft__msg_blobs_put(out, &m.blobs);
    break;
  case NODES:
    WEFT_TRY(weft__msg_nodes_read(arena, in, &m.nodes));
    weft__msg_nodes_put(out, &m.nodes);
    break;
  case HEADS:
    WEFT_TRY(weft__msg_heads_read(arena, in, &m.heads));
    weft__msg_heads_put(out, &m.heads);
    break;
  case WANT:
    WEFT_TRY(weft__msg_want_read(arena, in, &m.want));
    weft__msg_want_put(out, &m.want);
    break;
  default:
    WEFT_TRY(weft__msg_acks_read(arena, in, &m.acks));
    weft__msg_acks_put(out, &m.acks);
    break;
  }
  return weft__buf_err(out);
}

static weft_err small_again(unsigned kind, weft_bytes in, weft_buf *out) {
  union {
    uint32_t credit;
    uint16_t code;
    weft_msg_error error;
    weft_msg_bye bye;
    weft_msg_turn turn;
    weft_msg_nohave nohave;
  } m;
  switch (kind) {
  case CREDIT:
    WEFT_TRY(weft__msg_credit_read(in, &m.credit));
    weft__msg_credit_put(out, m.credit);
    break;
  case ERROR:
    WEFT_TRY(weft__msg_error_read(in, &m.error));
    weft__msg_error_put(out, &m.error);
    break;
  case BYE:
    WEFT_TRY(weft__msg_bye_read(in, &m.bye));
    weft__msg_bye_put(out, &m.bye);
    break;
  case TURN:
    WEFT_TRY(weft__msg_turn_read(in, &m.turn));
    weft__msg_turn_put(out, &m.turn);
    break;
  case NOHAVE:
    WEFT_TRY(weft__msg_nohave_read(in, &m.nohave));
    weft__msg_nohave_put(out, &m.nohave);
    break;
  default:
    WEFT_TRY(weft__msg_refuse_read(in, &m.code));
    weft__msg_refuse_put(out, m.code);
    break;
  }
  return weft__buf_err(out);
}

weft_err test_message_again(unsigned kind, weft_arena *arena, weft_bytes in, weft_buf *out) {
  weft_msg_hello hello;
  weft_msg_status status;
  weft_msg_redeem redeem;
  weft_msg_admit admit;
  switch (kind) {
  case HELLO:
    WEFT_TRY(weft__msg_hello_read(in, &hello));
    weft__msg_hello_put(out, &hello);
    break;
  case STATUS:
    WEFT_TRY(weft__msg_status_read(in, &status));
    weft__msg_status_put(out, &status);
    break;
  case REDEEM:
    WEFT_TRY(weft__msg_redeem_read(in, &redeem));
    weft__msg_redeem_put(out, &redeem);
    break;
  case ADMIT:
    WEFT_TRY(weft__msg_admit_read(in, &admit));
    weft__msg_admit_put(out, &admit);
    break;
  case AUTH:
  case BLOBS:
  case NODES:
  case HEADS:
  case WANT:
  case ACKS:
  case PRESENCE: return lists_again(kind, arena, in, out);
  default: return small_again(kind, in, out);
  }
  return weft__buf_err(out);
}

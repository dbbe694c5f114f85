/* msgpack bodies of frames.
 *
 * Order for bytes from a peer: weft__msgpack_check, which bounds what msgpack-c may allocate, then
 * msgpack-c, then the schema.  Byte strings stay views into the body; everything else is copied out
 * before msgpack-c's memory is given back.
 *
 * A reader walks one array; the first field of a wrong type or range makes the whole body
 * WEFT_EMALFORMED.  Fields that are missing at the end leave the zeros that the message began with.
 */
#include <msgpack.h>
#include <string.h>

#include "crdt/assert.h"
#include "crdt/limits.h"
#include "crdt/value.h"
#include "net/message.h"

enum { depth_max = 6, items_max = 1 << 19, address_len_max = 262 };

/* --- writing --- */

static int put_raw(void *data, const char *bytes, size_t len) {
  weft__buf_put_raw(data, bytes, len);
  return 0;
}

static msgpack_packer begin(weft_buf *out, size_t fields) {
  msgpack_packer p;
  msgpack_packer_init(&p, out, put_raw);
  msgpack_pack_array(&p, fields);
  return p;
}

static void put_uint(msgpack_packer *p, uint64_t v) { msgpack_pack_uint64(p, v); }

static void put_bool(msgpack_packer *p, bool v) {
  if (v)
    msgpack_pack_true(p);
  else
    msgpack_pack_false(p);
}

static void put_bin(msgpack_packer *p, const void *at, size_t len) {
  msgpack_pack_bin(p, len);
  if (len) msgpack_pack_bin_body(p, at, len);
}

static void put_text(msgpack_packer *p, weft_bytes text) {
  msgpack_pack_str(p, text.len);
  if (text.len) msgpack_pack_str_body(p, text.at, text.len);
}

static void put_ids(msgpack_packer *p, const weft_id *ids, size_t count) {
  msgpack_pack_array(p, count);
  for (size_t i = 0; i < count; i++) put_bin(p, ids[i].b, sizeof ids[i].b);
}

/* Heads whose ids have `id_len` bytes that count. */
static void put_heads(msgpack_packer *p, const weft_head *heads, size_t count, size_t id_len) {
  msgpack_pack_array(p, count);
  for (size_t i = 0; i < count; i++) {
    msgpack_pack_array(p, 3);
    put_bin(p, heads[i].log.b, sizeof heads[i].log.b);
    put_uint(p, heads[i].seq);
    put_bin(p, heads[i].id.b, id_len);
  }
}

void weft__msg_hello_put(weft_buf *out, const weft_msg_hello *m) {
  msgpack_packer p = begin(out, 16);
  put_uint(&p, m->instance);
  put_uint(&p, m->boot);
  put_text(&p, m->agent);
  put_ids(&p, m->auth_heads, m->auth_count);
  put_bin(&p, m->held_root, sizeof m->held_root);
  put_uint(&p, m->held_count);
  put_bin(&p, m->shown_root, sizeof m->shown_root);
  put_bin(&p, m->digest, sizeof m->digest);
  put_uint(&p, m->apply_level);
  msgpack_pack_array(&p, m->listen_count);
  for (size_t i = 0; i < m->listen_count; i++) put_text(&p, m->listen[i]);
  msgpack_pack_array(&p, 1);
  put_uint(&p, m->window);
  msgpack_pack_array(&p, 2);
  put_uint(&p, m->cursor_instance);
  put_uint(&p, m->cursor_arrival);
  put_text(&p, m->name);
  put_uint(&p, m->arrival);
  put_bin(&p, m->auth_root, sizeof m->auth_root);
  msgpack_pack_array(&p, m->acked_count);
  for (size_t i = 0; i < m->acked_count; i++) {
    msgpack_pack_array(&p, 2);
    put_bin(&p, m->acked[i].device, sizeof m->acked[i].device);
    put_uint(&p, m->acked[i].counter);
  }
}

void weft__msg_status_put(weft_buf *out, const weft_msg_status *m) {
  msgpack_packer p = begin(out, 11);
  put_uint(&p, m->token);
  put_uint(&p, m->hlc);
  put_bin(&p, m->held_root, sizeof m->held_root);
  put_bin(&p, m->shown_root, sizeof m->shown_root);
  put_bin(&p, m->digest, sizeof m->digest);
  put_bin(&p, m->auth_root, sizeof m->auth_root);
  put_uint(&p, m->apply_level);
  put_uint(&p, m->held_changes);
  put_uint(&p, m->arrival);
  put_uint(&p, m->grant);
  put_bin(&p, m->linked, m->linked_len);
}

void weft__msg_credit_put(weft_buf *out, uint32_t bytes) {
  msgpack_packer p = begin(out, 1);
  put_uint(&p, bytes);
}

void weft__msg_error_put(weft_buf *out, const weft_msg_error *m) {
  msgpack_packer p = begin(out, 4);
  put_uint(&p, m->code);
  put_uint(&p, m->about);
  put_uint(&p, m->retry_s);
  put_text(&p, m->text);
}

void weft__msg_bye_put(weft_buf *out, const weft_msg_bye *m) {
  msgpack_packer p = begin(out, 2);
  put_uint(&p, m->reason);
  put_bool(&p, m->alive);
}

void weft__msg_auth_put(weft_buf *out, const weft_msg_auth *m) {
  msgpack_packer p = begin(out, 2);
  put_ids(&p, m->ids, m->id_count);
  put_ids(&p, m->heads, m->head_count);
}

void weft__msg_blobs_put(weft_buf *out, const weft_msg_blobs *m) {
  msgpack_packer p = begin(out, 2);
  msgpack_pack_array(&p, m->count);
  for (size_t i = 0; i < m->count; i++) put_bin(&p, m->at[i].at, m->at[i].len);
  put_uint(&p, m->hop);
}

void weft__msg_turn_put(weft_buf *out, const weft_msg_turn *m) {
  msgpack_packer p = begin(out, 3);
  put_bin(&p, m->root, sizeof m->root);
  put_uint(&p, m->count);
  put_bool(&p, m->quiet);
}

void weft__msg_nodes_put(weft_buf *out, const weft_msg_nodes *m) {
  msgpack_packer p = begin(out, 1);
  msgpack_pack_array(&p, m->count);
  for (size_t i = 0; i < m->count; i++) {
    msgpack_pack_array(&p, 2);
    put_bin(&p, m->at[i].prefix, m->at[i].prefix_len);
    put_bin(&p, m->at[i].child, sizeof m->at[i].child);
  }
}

void weft__msg_heads_put(weft_buf *out, const weft_msg_heads *m) {
  msgpack_packer p = begin(out, 6);
  put_heads(&p, m->at, m->count, sizeof m->at->id.b);
  put_bool(&p, m->done);
  put_bool(&p, m->ask);
  put_bin(&p, m->prefix, m->prefix_len);
  put_uint(&p, m->from);
  put_uint(&p, m->to);
}

void weft__msg_want_put(weft_buf *out, const weft_msg_want *m) {
  msgpack_packer p = begin(out, 1);
  msgpack_pack_array(&p, m->count);
  for (size_t i = 0; i < m->count; i++) {
    static const weft_id unknown;
    bool head = weft_id_cmp(&m->at[i].head, &unknown) != 0;
    msgpack_pack_array(&p, head ? 5 : 4);
    put_bin(&p, m->at[i].log.b, sizeof m->at[i].log.b);
    put_uint(&p, m->at[i].from);
    put_uint(&p, m->at[i].to);
    put_bin(&p, m->at[i].prev.b, sizeof m->at[i].prev.b);
    if (head) put_bin(&p, m->at[i].head.b, sizeof m->at[i].head.b);
  }
}

void weft__msg_nohave_put(weft_buf *out, const weft_msg_nohave *m) {
  msgpack_packer p = begin(out, 4);
  put_bin(&p, m->log.b, sizeof m->log.b);
  put_uint(&p, m->low);
  put_uint(&p, m->high);
  put_uint(&p, m->why);
}

void weft__msg_acks_put(weft_buf *out, const weft_msg_acks *m) {
  msgpack_packer p = begin(out, 1);
  msgpack_pack_array(&p, m->count);
  for (size_t i = 0; i < m->count; i++) {
    const weft_msg_ack *a = &m->at[i];
    msgpack_pack_array(&p, 6);
    put_bin(&p, a->ack.device.b, sizeof a->ack.device.b);
    put_uint(&p, a->ack.counter);
    put_bin(&p, a->ack.root, sizeof a->ack.root);
    put_bool(&p, a->whole);
    put_heads(&p, a->delta, a->count, WEFT_ACK_ID_LEN);
    put_bin(&p, a->ack.sig.b, sizeof a->ack.sig.b);
  }
}

void weft__msg_presence_put(weft_buf *out, const weft_msg_presence *m) {
  msgpack_packer p = begin(out, 3);
  msgpack_pack_array(&p, m->count);
  for (size_t i = 0; i < m->count; i++) {
    const weft_msg_statement *s = &m->at[i];
    msgpack_pack_array(&p, 7);
    put_bin(&p, s->device.b, sizeof s->device.b);
    put_uint(&p, s->counter);
    put_uint(&p, s->age_ms);
    put_uint(&p, s->life_ms);
    put_bin(&p, s->digest, sizeof s->digest);
    put_bin(&p, s->sig.b, sizeof s->sig.b);
    put_bin(&p, s->body.at, s->body.len);
  }
  put_bool(&p, m->direct_told);
  msgpack_pack_array(&p, m->direct_count);
  for (size_t i = 0; i < m->direct_count; i++) put_bin(&p, m->direct[i].device, 8);
}

void weft__msg_redeem_put(weft_buf *out, const weft_msg_redeem *m) {
  msgpack_packer p = begin(out, 6);
  put_bin(&p, m->redeem.invite.b, sizeof m->redeem.invite.b);
  put_bin(&p, m->redeem.device.b, sizeof m->redeem.device.b);
  put_bin(&p, m->redeem.x_public.b, sizeof m->redeem.x_public.b);
  put_text(&p, m->name);
  put_bin(&p, m->redeem.by_invite.b, sizeof m->redeem.by_invite.b);
  put_bin(&p, m->redeem.by_device.b, sizeof m->redeem.by_device.b);
}

void weft__msg_admit_put(weft_buf *out, const weft_msg_admit *m) {
  msgpack_packer p = begin(out, 2);
  put_bin(&p, m->epoch, sizeof m->epoch);
  put_bin(&p, m->secret.b, sizeof m->secret.b);
}

void weft__msg_refuse_put(weft_buf *out, uint16_t code) {
  msgpack_packer p = begin(out, 1);
  put_uint(&p, code);
}

/* --- reading --- */

typedef struct body {
  msgpack_unpacked one;
  weft_arena *arena; /* NULL: the message has no lists */
  size_t len;
  weft_err err; /* the first failure */
} body;

/* One array that is read field by field. */
typedef struct fields {
  body *of;
  const msgpack_object *at;
  size_t count, next;
} fields;

static void fail(body *b, weft_err err) {
  if (b->err == WEFT_OK) b->err = err;
}

static fields fields_of(body *b, const msgpack_object *o, size_t required) {
  fields f = {b, NULL, 0, 0};
  if (!o || o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size < required) {
    fail(b, WEFT_EMALFORMED);
    return f;
  }
  f.at = o->via.array.ptr;
  f.count = o->via.array.size;
  return f;
}

static fields body_begin(body *b, weft_arena *arena, weft_bytes in, size_t required) {
  memset(b, 0, sizeof *b);
  b->arena = arena;
  b->len = in.len;
  msgpack_unpacked_init(&b->one);
  if (weft__msgpack_check(in, depth_max, items_max) != WEFT_OK) fail(b, WEFT_EMALFORMED);
  size_t used = 0;
  if (b->err == WEFT_OK) {
    int got = msgpack_unpack_next(&b->one, (const char *)in.at, in.len, &used);
    if (got != MSGPACK_UNPACK_SUCCESS) fail(b, WEFT_ENOMEM); /* defensive: malloc failed */
  }
  fields none = {b, NULL, 0, 0};
  return b->err == WEFT_OK ? fields_of(b, &b->one.data, required) : none;
}

static weft_err body_end(body *b) {
  msgpack_unpacked_destroy(&b->one);
  return b->err;
}

/* The next field, NULL when it is missing or of another type. */
static const msgpack_object *field(fields *f, msgpack_object_type type) {
  if (f->next >= f->count) return NULL;
  const msgpack_object *o = &f->at[f->next++];
  if (o->type == type) return o;
  fail(f->of, WEFT_EMALFORMED);
  return NULL;
}

static uint64_t get_uint(fields *f, uint64_t max) {
  const msgpack_object *o = field(f, MSGPACK_OBJECT_POSITIVE_INTEGER);
  if (!o) return 0;
  if (o->via.u64 > max) fail(f->of, WEFT_EMALFORMED);
  return o->via.u64;
}

static bool get_bool(fields *f) {
  const msgpack_object *o = field(f, MSGPACK_OBJECT_BOOLEAN);
  return o && o->via.boolean;
}

static void get_bin(fields *f, void *out, size_t len) {
  const msgpack_object *o = field(f, MSGPACK_OBJECT_BIN);
  if (!o) return;
  if (o->via.bin.size == len)
    memcpy(out, o->via.bin.ptr, len);
  else
    fail(f->of, WEFT_EMALFORMED);
}

/* The same of any length up to `max`; the length. */
static size_t get_bin_up_to(fields *f, void *out, size_t max) {
  const msgpack_object *o = field(f, MSGPACK_OBJECT_BIN);
  if (!o) return 0;
  if (o->via.bin.size > max) {
    fail(f->of, WEFT_EMALFORMED);
    return 0;
  }
  if (o->via.bin.size) memcpy(out, o->via.bin.ptr, o->via.bin.size);
  return o->via.bin.size;
}

static weft_bytes get_text(fields *f, size_t max) {
  const msgpack_object *o = field(f, MSGPACK_OBJECT_STR);
  if (!o) return weft_bytes_of(NULL, 0);
  if (o->via.str.size > max) fail(f->of, WEFT_EMALFORMED);
  return weft_bytes_of(o->via.str.ptr, o->via.str.size);
}

/* The next field as a list of at most `max` items. */
static fields get_list(fields *f, size_t max) {
  fields none = {f->of, NULL, 0, 0};
  const msgpack_object *o = field(f, MSGPACK_OBJECT_ARRAY);
  if (!o) return none;
  if (o->via.array.size > max) {
    fail(f->of, WEFT_EMALFORMED);
    return none;
  }
  return fields_of(f->of, o, 0);
}

/* The next item of a list of arrays. */
static fields get_item(fields *list, size_t required) {
  return fields_of(list->of, &list->at[list->next++], required);
}

/* Room for the items of a list, each of which takes `len_min` bytes of the body at least; NULL
 * after a failure. */
static void *list_room(const fields *list, size_t size, size_t len_min) {
  if (list->count * len_min > list->of->len) fail(list->of, WEFT_EMALFORMED);
  if (list->of->err != WEFT_OK) return NULL;
  void *at = weft__arena_zero(list->of->arena, list->count, size);
  if (!at) fail(list->of, WEFT_ENOMEM);
  return at;
}

static size_t get_ids(fields *f, size_t max, const weft_id **out) {
  fields list = get_list(f, max);
  weft_id *ids = list_room(&list, sizeof *ids, sizeof *ids);
  if (!ids) return 0;
  for (size_t i = 0; i < list.count; i++) get_bin(&list, ids[i].b, sizeof ids[i].b);
  *out = ids;
  return list.count;
}

static size_t get_heads(fields *f, size_t max, size_t id_len, uint64_t seq_min,
                        const weft_head **out) {
  fields list = get_list(f, max);
  weft_head *heads = list_room(&list, sizeof *heads, sizeof heads->log + id_len);
  if (!heads) return 0;
  for (size_t i = 0; i < list.count; i++) {
    fields item = get_item(&list, 3);
    get_bin(&item, heads[i].log.b, sizeof heads[i].log.b);
    heads[i].seq = get_uint(&item, INT64_MAX);
    get_bin(&item, heads[i].id.b, id_len);
    if (heads[i].seq < seq_min) fail(list.of, WEFT_EMALFORMED);
  }
  *out = heads;
  return list.count;
}

static size_t get_prefix(fields *f, uint8_t prefix[WEFT_VECTOR_DEPTH_MAX]) {
  size_t len = get_bin_up_to(f, prefix, WEFT_VECTOR_DEPTH_MAX - 1);
  for (size_t i = 0; i < len; i++) {
    if (prefix[i] > 15) fail(f->of, WEFT_EMALFORMED);
  }
  return len;
}

weft_err weft__msg_hello_read(weft_bytes in, weft_msg_hello *m) {
  body b;
  memset(m, 0, sizeof *m);
  fields f = body_begin(&b, NULL, in, 8);
  m->instance = get_uint(&f, UINT64_MAX);
  m->boot = get_uint(&f, UINT64_MAX);
  m->agent = get_text(&f, WEFT_MESSAGE_AGENT_MAX);
  fields heads = get_list(&f, WEFT_RECORD_DEPS_MAX);
  m->auth_count = heads.count;
  for (size_t i = 0; i < heads.count; i++) get_bin(&heads, m->auth_heads[i].b, 32);
  get_bin(&f, m->held_root, sizeof m->held_root);
  m->held_count = get_uint(&f, UINT64_MAX);
  get_bin(&f, m->shown_root, sizeof m->shown_root);
  get_bin(&f, m->digest, sizeof m->digest);
  m->apply_level = (uint32_t)get_uint(&f, UINT32_MAX);
  fields listen = get_list(&f, WEFT_MESSAGE_LISTEN_MAX);
  m->listen_count = listen.count;
  for (size_t i = 0; i < listen.count; i++) m->listen[i] = get_text(&listen, address_len_max);
  fields limits = get_list(&f, 64);
  m->window = (uint32_t)get_uint(&limits, UINT32_MAX);
  fields cursor = get_list(&f, 64);
  m->cursor_instance = get_uint(&cursor, UINT64_MAX);
  m->cursor_arrival = get_uint(&cursor, UINT64_MAX);
  m->name = get_text(&f, WEFT_DEVICE_NAME_LEN_MAX);
  m->arrival = get_uint(&f, UINT64_MAX);
  get_bin(&f, m->auth_root, sizeof m->auth_root);
  fields acked = get_list(&f, WEFT_MESSAGE_ACKED_MAX);
  m->acked_count = acked.count;
  for (size_t i = 0; i < acked.count; i++) {
    fields item = get_item(&acked, 2);
    get_bin(&item, m->acked[i].device, sizeof m->acked[i].device);
    m->acked[i].counter = get_uint(&item, UINT64_MAX);
  }
  return body_end(&b);
}

weft_err weft__msg_status_read(weft_bytes in, weft_msg_status *m) {
  body b;
  memset(m, 0, sizeof *m);
  fields f = body_begin(&b, NULL, in, 4);
  m->token = get_uint(&f, UINT64_MAX);
  m->hlc = get_uint(&f, UINT64_MAX);
  get_bin(&f, m->held_root, sizeof m->held_root);
  get_bin(&f, m->shown_root, sizeof m->shown_root);
  get_bin(&f, m->digest, sizeof m->digest);
  get_bin(&f, m->auth_root, sizeof m->auth_root);
  m->apply_level = (uint32_t)get_uint(&f, UINT32_MAX);
  m->held_changes = get_uint(&f, UINT64_MAX);
  m->arrival = get_uint(&f, UINT64_MAX);
  m->grant = (uint32_t)get_uint(&f, UINT32_MAX);
  m->linked_len = get_bin_up_to(&f, m->linked, sizeof m->linked);
  return body_end(&b);
}

weft_err weft__msg_credit_read(weft_bytes in, uint32_t *bytes) {
  body b;
  fields f = body_begin(&b, NULL, in, 1);
  *bytes = (uint32_t)get_uint(&f, UINT32_MAX);
  return body_end(&b);
}

weft_err weft__msg_error_read(weft_bytes in, weft_msg_error *m) {
  body b;
  memset(m, 0, sizeof *m);
  fields f = body_begin(&b, NULL, in, 1);
  m->code = (uint16_t)get_uint(&f, UINT16_MAX);
  m->about = (uint8_t)get_uint(&f, UINT8_MAX);
  m->retry_s = (uint32_t)get_uint(&f, UINT32_MAX);
  m->text = get_text(&f, WEFT_MESSAGE_TEXT_MAX);
  return body_end(&b);
}

weft_err weft__msg_bye_read(weft_bytes in, weft_msg_bye *m) {
  body b;
  memset(m, 0, sizeof *m);
  fields f = body_begin(&b, NULL, in, 1);
  m->reason = (uint8_t)get_uint(&f, UINT8_MAX);
  m->alive = get_bool(&f);
  return body_end(&b);
}

weft_err weft__msg_auth_read(weft_arena *arena, weft_bytes in, weft_msg_auth *m) {
  body b;
  memset(m, 0, sizeof *m);
  fields f = body_begin(&b, arena, in, 1);
  m->id_count = get_ids(&f, WEFT_MESSAGE_IDS_MAX, &m->ids);
  m->head_count = get_ids(&f, WEFT_MESSAGE_IDS_MAX, &m->heads);
  return body_end(&b);
}

weft_err weft__msg_blobs_read(weft_arena *arena, weft_bytes in, weft_msg_blobs *m) {
  body b;
  memset(m, 0, sizeof *m);
  fields f = body_begin(&b, arena, in, 1);
  fields list = get_list(&f, WEFT_MESSAGE_CHUNKS_MAX);
  weft_bytes *at = list_room(&list, sizeof *at, 2);
  for (size_t i = 0; at && i < list.count; i++) {
    const msgpack_object *o = field(&list, MSGPACK_OBJECT_BIN);
    if (o) at[i] = weft_bytes_of(o->via.bin.ptr, o->via.bin.size);
  }
  m->at = at;
  m->count = at ? list.count : 0;
  m->hop = (uint8_t)get_uint(&f, UINT8_MAX);
  return body_end(&b);
}

weft_err weft__msg_turn_read(weft_bytes in, weft_msg_turn *m) {
  body b;
  memset(m, 0, sizeof *m);
  fields f = body_begin(&b, NULL, in, 3);
  get_bin(&f, m->root, sizeof m->root);
  m->count = get_uint(&f, UINT64_MAX);
  m->quiet = get_bool(&f);
  return body_end(&b);
}

weft_err weft__msg_nodes_read(weft_arena *arena, weft_bytes in, weft_msg_nodes *m) {
  body b;
  memset(m, 0, sizeof *m);
  fields f = body_begin(&b, arena, in, 1);
  fields list = get_list(&f, WEFT_MESSAGE_NODES_MAX);
  weft_msg_node *at = list_room(&list, sizeof *at, sizeof at->child);
  for (size_t i = 0; at && i < list.count; i++) {
    fields item = get_item(&list, 2);
    at[i].prefix_len = get_prefix(&item, at[i].prefix);
    get_bin(&item, at[i].child, sizeof at[i].child);
  }
  m->at = at;
  m->count = at ? list.count : 0;
  return body_end(&b);
}

weft_err weft__msg_heads_read(weft_arena *arena, weft_bytes in, weft_msg_heads *m) {
  body b;
  memset(m, 0, sizeof *m);
  fields f = body_begin(&b, arena, in, 1);
  m->count = get_heads(&f, WEFT_MESSAGE_HEADS_MAX, 32, 1, &m->at);
  m->done = get_bool(&f);
  m->ask = get_bool(&f);
  m->prefix_len = get_prefix(&f, m->prefix);
  m->from = get_uint(&f, UINT64_MAX);
  m->to = get_uint(&f, UINT64_MAX);
  return body_end(&b);
}

weft_err weft__msg_want_read(weft_arena *arena, weft_bytes in, weft_msg_want *m) {
  body b;
  memset(m, 0, sizeof *m);
  fields f = body_begin(&b, arena, in, 1);
  fields list = get_list(&f, WEFT_MESSAGE_WANTS_MAX);
  weft_msg_range *at = list_room(&list, sizeof *at, 64);
  for (size_t i = 0; at && i < list.count; i++) {
    fields item = get_item(&list, 4);
    get_bin(&item, at[i].log.b, sizeof at[i].log.b);
    at[i].from = get_uint(&item, INT64_MAX);
    at[i].to = get_uint(&item, INT64_MAX);
    get_bin(&item, at[i].prev.b, sizeof at[i].prev.b);
    get_bin(&item, at[i].head.b, sizeof at[i].head.b);
    if (at[i].from == 0 || at[i].from > at[i].to) fail(&b, WEFT_EMALFORMED);
  }
  m->at = at;
  m->count = at ? list.count : 0;
  return body_end(&b);
}

weft_err weft__msg_nohave_read(weft_bytes in, weft_msg_nohave *m) {
  body b;
  memset(m, 0, sizeof *m);
  fields f = body_begin(&b, NULL, in, 4);
  get_bin(&f, m->log.b, sizeof m->log.b);
  m->low = get_uint(&f, INT64_MAX);
  m->high = get_uint(&f, INT64_MAX);
  m->why = (uint8_t)get_uint(&f, UINT8_MAX);
  if (m->low > m->high) fail(&b, WEFT_EMALFORMED);
  return body_end(&b);
}

weft_err weft__msg_acks_read(weft_arena *arena, weft_bytes in, weft_msg_acks *m) {
  body b;
  memset(m, 0, sizeof *m);
  fields f = body_begin(&b, arena, in, 1);
  fields list = get_list(&f, WEFT_MESSAGE_ACKS_MAX);
  weft_msg_ack *at = list_room(&list, sizeof *at, 112);
  for (size_t i = 0; at && i < list.count; i++) {
    fields item = get_item(&list, 6);
    get_bin(&item, at[i].ack.device.b, sizeof at[i].ack.device.b);
    at[i].ack.counter = get_uint(&item, UINT64_MAX);
    get_bin(&item, at[i].ack.root, sizeof at[i].ack.root);
    at[i].whole = get_bool(&item);
    at[i].count = get_heads(&item, WEFT_VECTOR_HEADS_MAX, WEFT_ACK_ID_LEN, 0, &at[i].delta);
    get_bin(&item, at[i].ack.sig.b, sizeof at[i].ack.sig.b);
  }
  m->at = at;
  m->count = at ? list.count : 0;
  return body_end(&b);
}

static weft_bytes get_blob(fields *f, size_t max) {
  const msgpack_object *o = field(f, MSGPACK_OBJECT_BIN);
  if (!o) return weft_bytes_of(NULL, 0);
  if (o->via.bin.size > max) fail(f->of, WEFT_EMALFORMED);
  return weft_bytes_of(o->via.bin.ptr, o->via.bin.size);
}

weft_err weft__msg_presence_read(weft_arena *arena, weft_bytes in, weft_msg_presence *m) {
  body b;
  memset(m, 0, sizeof *m);
  fields f = body_begin(&b, arena, in, 1);
  fields list = get_list(&f, WEFT_MESSAGE_STATEMENTS_MAX);
  weft_msg_statement *at = list_room(&list, sizeof *at, 112);
  for (size_t i = 0; at && i < list.count; i++) {
    fields item = get_item(&list, 7);
    get_bin(&item, at[i].device.b, sizeof at[i].device.b);
    at[i].counter = get_uint(&item, UINT64_MAX);
    at[i].age_ms = (uint32_t)get_uint(&item, UINT32_MAX);
    at[i].life_ms = (uint32_t)get_uint(&item, UINT32_MAX);
    get_bin(&item, at[i].digest, sizeof at[i].digest);
    get_bin(&item, at[i].sig.b, sizeof at[i].sig.b);
    at[i].body = get_blob(&item, WEFT_PRESENCE_BODY_LEN_MAX);
    if (i && weft_id_cmp(&at[i - 1].device, &at[i].device) >= 0) fail(&b, WEFT_EMALFORMED);
  }
  m->at = at;
  m->count = at ? list.count : 0;
  m->direct_told = get_bool(&f);
  fields direct = get_list(&f, WEFT_MESSAGE_DIRECT_MAX);
  weft_msg_direct *peers = list_room(&direct, sizeof *peers, 8);
  for (size_t i = 0; peers && i < direct.count; i++) get_bin(&direct, peers[i].device, 8);
  m->direct = peers;
  m->direct_count = peers ? direct.count : 0;
  return body_end(&b);
}

weft_err weft__msg_redeem_read(weft_bytes in, weft_msg_redeem *m) {
  body b;
  memset(m, 0, sizeof *m);
  fields f = body_begin(&b, NULL, in, 6);
  get_bin(&f, m->redeem.invite.b, sizeof m->redeem.invite.b);
  get_bin(&f, m->redeem.device.b, sizeof m->redeem.device.b);
  get_bin(&f, m->redeem.x_public.b, sizeof m->redeem.x_public.b);
  m->name = get_text(&f, WEFT_DEVICE_NAME_LEN_MAX);
  get_bin(&f, m->redeem.by_invite.b, sizeof m->redeem.by_invite.b);
  get_bin(&f, m->redeem.by_device.b, sizeof m->redeem.by_device.b);
  return body_end(&b);
}

weft_err weft__msg_admit_read(weft_bytes in, weft_msg_admit *m) {
  body b;
  memset(m, 0, sizeof *m);
  fields f = body_begin(&b, NULL, in, 2);
  get_bin(&f, m->epoch, sizeof m->epoch);
  get_bin(&f, m->secret.b, sizeof m->secret.b);
  return body_end(&b);
}

weft_err weft__msg_refuse_read(weft_bytes in, uint16_t *code) {
  body b;
  fields f = body_begin(&b, NULL, in, 1);
  *code = (uint16_t)get_uint(&f, UINT16_MAX);
  return body_end(&b);
}

/* msgpack bodies of the handshake.
 *
 * Order for bytes from a peer: the length and the padding of the payload, weft__msgpack_check,
 * which bounds what msgpack-c may allocate, then msgpack-c, then the schema.  Everything decoded is
 * copied out before msgpack-c's memory is given back. */
#include "net/codec_handshake.h"

#include <msgpack.h>
#include <string.h>

#include "crdt/assert.h"
#include "crdt/value.h"

enum { depth_max = 4, items_max = 64, head_len = 2 };

/* --- writing: a packer over a fixed payload --- */

typedef struct writer {
  uint8_t *at;
  size_t len, cap;
} writer;

static int writer_put(void *data, const char *bytes, size_t len) {
  writer *w = data;
  WEFT_ASSERT(len <= w->cap - w->len);
  memcpy(w->at + w->len, bytes, len);
  w->len += len;
  return 0;
}

static void put_bytes(msgpack_packer *p, const void *at, size_t len) {
  msgpack_pack_bin(p, len);
  msgpack_pack_bin_body(p, at, len);
}

static void put_cert(msgpack_packer *p, const weft_cert *cert) {
  uint8_t bytes[WEFT_CERT_LEN];
  weft_cert_encode(bytes, cert);
  put_bytes(p, bytes, sizeof bytes);
}

static msgpack_packer payload_begin(writer *w, uint8_t *out, size_t cap, size_t fields) {
  *w = (writer){out, head_len, cap};
  memset(out, 0, cap);
  msgpack_packer p;
  msgpack_packer_init(&p, w, writer_put);
  msgpack_pack_array(&p, fields);
  return p;
}

static void payload_end(writer *w) {
  size_t body_len = w->len - head_len;
  w->at[0] = (uint8_t)(body_len >> 8);
  w->at[1] = (uint8_t)body_len;
}

void weft__hello1_encode(uint8_t out[WEFT_HELLO1_LEN], const weft_hello1 *in) {
  writer w;
  msgpack_packer p = payload_begin(&w, out, WEFT_HELLO1_LEN, 4);
  msgpack_pack_uint64(&p, in->unix_ms);
  msgpack_pack_uint64(&p, in->version_min);
  msgpack_pack_uint64(&p, in->version_max);
  msgpack_pack_uint64(&p, in->caps);
  payload_end(&w);
}

void weft__hello2_encode(uint8_t out[WEFT_HELLO2_LEN], const weft_hello2 *in) {
  writer w;
  msgpack_packer p = payload_begin(&w, out, WEFT_HELLO2_LEN, 5);
  msgpack_pack_uint64(&p, in->version);
  msgpack_pack_uint64(&p, in->caps);
  put_cert(&p, &in->cert);
  put_bytes(&p, in->epoch.b, sizeof in->epoch.b);
  msgpack_pack_uint64(&p, in->unix_ms);
  payload_end(&w);
}

void weft__hello3_encode(uint8_t out[WEFT_HELLO2_LEN], const weft_hello3 *in) {
  writer w;
  msgpack_packer p = payload_begin(&w, out, WEFT_HELLO2_LEN, 2);
  msgpack_pack_uint64(&p, in->caps);
  put_cert(&p, &in->cert);
  payload_end(&w);
}

size_t weft__error_body(uint8_t out[WEFT_ERROR_BODY_LEN_MAX], weft_code code) {
  writer w = {out, 0, WEFT_ERROR_BODY_LEN_MAX};
  msgpack_packer p;
  msgpack_packer_init(&p, &w, writer_put);
  msgpack_pack_array(&p, 4);
  msgpack_pack_uint64(&p, (uint64_t)code);
  msgpack_pack_uint64(&p, 0);
  msgpack_pack_uint64(&p, 0);
  msgpack_pack_str(&p, 0);
  return w.len;
}

/* --- reading --- */

/* Takes the body out of its payload. */
static weft_err payload_body(weft_bytes in, weft_bytes *body) {
  weft_rd r = weft__rd(in);
  *body = weft__rd_take(&r, weft__rd_u16(&r));
  if (r.failed) return WEFT_EMALFORMED;
  while (weft__rd_left(&r)) {
    if (weft__rd_u8(&r) != 0) return WEFT_EMALFORMED;
  }
  return WEFT_OK;
}

typedef struct reader {
  msgpack_unpacked one;
  size_t next;
  bool failed;
} reader;

static weft_err reader_begin(reader *rd, weft_bytes payload) {
  memset(rd, 0, sizeof *rd);
  msgpack_unpacked_init(&rd->one);
  weft_bytes body;
  WEFT_TRY(payload_body(payload, &body));
  if (weft__msgpack_check(body, depth_max, items_max) != WEFT_OK) return WEFT_EMALFORMED;
  size_t used = 0;
  int got = msgpack_unpack_next(&rd->one, (const char *)body.at, body.len, &used);
  if (got != MSGPACK_UNPACK_SUCCESS) return WEFT_ENOMEM; /* defensive: what was checked parses */
  return rd->one.data.type == MSGPACK_OBJECT_ARRAY ? WEFT_OK : WEFT_EMALFORMED;
}

static weft_err reader_end(reader *rd, weft_err err) {
  msgpack_unpacked_destroy(&rd->one);
  if (err != WEFT_OK) return err;
  return rd->failed ? WEFT_EMALFORMED : WEFT_OK;
}

/* The next field, or NULL when there is none or it has another type. */
static const msgpack_object *field(reader *rd, msgpack_object_type type) {
  const msgpack_object_array *list = &rd->one.data.via.array;
  const msgpack_object *o = rd->next < list->size ? &list->ptr[rd->next++] : NULL;
  if (o && o->type == type) return o;
  rd->failed = true;
  return NULL;
}

static uint64_t field_uint(reader *rd, uint64_t max) {
  const msgpack_object *o = field(rd, MSGPACK_OBJECT_POSITIVE_INTEGER);
  if (!o) return 0;
  if (o->via.u64 > max) rd->failed = true;
  return o->via.u64;
}

static void field_bytes(reader *rd, void *out, size_t len) {
  const msgpack_object *o = field(rd, MSGPACK_OBJECT_BIN);
  if (o && o->via.bin.size == len)
    memcpy(out, o->via.bin.ptr, len);
  else
    rd->failed = true;
}

static void field_cert(reader *rd, weft_cert *out) {
  uint8_t bytes[WEFT_CERT_LEN] = {0};
  field_bytes(rd, bytes, sizeof bytes);
  weft_err err = weft_cert_decode(out, weft_bytes_of(bytes, sizeof bytes));
  WEFT_ASSERT(err == WEFT_OK);
}

weft_err weft__hello1_decode(weft_bytes in, weft_hello1 *out) {
  reader rd;
  memset(out, 0, sizeof *out);
  weft_err err = reader_begin(&rd, in);
  if (err == WEFT_OK) {
    out->unix_ms = field_uint(&rd, INT64_MAX);
    out->version_min = (uint8_t)field_uint(&rd, UINT8_MAX);
    out->version_max = (uint8_t)field_uint(&rd, UINT8_MAX);
    out->caps = (uint32_t)field_uint(&rd, UINT32_MAX);
    if (out->version_min > out->version_max) rd.failed = true;
  }
  return reader_end(&rd, err);
}

weft_err weft__hello2_decode(weft_bytes in, weft_hello2 *out) {
  reader rd;
  memset(out, 0, sizeof *out);
  weft_err err = reader_begin(&rd, in);
  if (err == WEFT_OK) {
    out->version = (uint8_t)field_uint(&rd, UINT8_MAX);
    out->caps = (uint32_t)field_uint(&rd, UINT32_MAX);
    field_cert(&rd, &out->cert);
    field_bytes(&rd, out->epoch.b, sizeof out->epoch.b);
    out->unix_ms = field_uint(&rd, INT64_MAX);
  }
  return reader_end(&rd, err);
}

weft_err weft__hello3_decode(weft_bytes in, weft_hello3 *out) {
  reader rd;
  memset(out, 0, sizeof *out);
  weft_err err = reader_begin(&rd, in);
  if (err == WEFT_OK) {
    out->caps = (uint32_t)field_uint(&rd, UINT32_MAX);
    field_cert(&rd, &out->cert);
  }
  return reader_end(&rd, err);
}

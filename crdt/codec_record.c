/* The bytes of membership records.
 *
 * Happy path of writing: collect deps in order, put the envelope, hash it, sign the hash, put the
 * signature, and run the reader over the result, so that nothing leaves this device that another
 * would not take.  Reading first takes the envelope, whose form never changes; a body is looked at
 * only when version, flags and kind are known.  Bytes behind the last field of a known body are
 * skipped: they are room for fields that older programs may ignore. */
#include "crdt/record.h"

#include <string.h>

#include "crdt/assert.h"
#include "crdt/rune.h"
#include "crdt/value.h"

static const uint8_t id_personal[16] = "weft-record-v1";
static const char sign_label[] = "weft-v1 record";
static const char invite_label[] = "weft-v1 redeem";
static const char device_label[] = "weft-v1 join";

enum {
  policy_none = 0, /* the only policy so far: who issued a ticket admits on it */
  sig_len = sizeof(weft_sig),
  label_max = 16
};

bool weft__label_ok(weft_bytes text, size_t max) {
  if (text.len == 0 || text.len > max || !weft__utf8_ok(text)) return false;
  for (size_t i = 0; i < text.len; i++) {
    if (text.at[i] < 0x20 || text.at[i] == 0x7f) return false;
    /* U+0080..009F are C2 80..9F; in valid UTF-8 a C2 always has a byte behind it. */
    if (text.at[i] == 0xc2 && text.at[i + 1] < 0xa0) return false;
  }
  return true;
}

bool weft__name_ok(weft_bytes text, size_t max) {
  if (!weft__label_ok(text, max)) return false;
  uint32_t rune, before = 0;
  for (size_t at = 0; at < text.len; before = rune) {
    at += weft__rune_read(text, at, &rune);
    if (weft__rune_hidden(rune, before)) return false;
  }
  return true;
}

static weft_bytes redeem_message(uint8_t out[label_max + 128], const char *label,
                                 const weft_redeem *r, const weft_id *space) {
  size_t len = strlen(label);
  WEFT_ASSERT(len <= label_max);
  memcpy(out, label, len);
  memcpy(out + len, space->b, 32);
  memcpy(out + len + 32, r->invite.b, 32);
  memcpy(out + len + 64, r->device.b, 32);
  memcpy(out + len + 96, r->x_public.b, 32);
  return weft_bytes_of(out, len + 128);
}

void weft__redeem_sign(weft_redeem *out, const weft_crypto *crypto, const weft_identity *identity,
                       const weft_key *invite_seed, const weft_id *space) {
  uint8_t message[label_max + 128];
  crypto->sign_keypair(&out->invite, invite_seed);
  out->device = identity->device;
  out->x_public = identity->x_public;
  crypto->sign(&out->by_invite, invite_seed, &out->invite,
               redeem_message(message, invite_label, out, space));
  crypto->sign(&out->by_device, &identity->sign_seed, &identity->device,
               redeem_message(message, device_label, out, space));
}

weft_err weft__redeem_check(const weft_redeem *redeem, const weft_crypto *crypto,
                            const weft_id *space) {
  uint8_t message[label_max + 128];
  weft_bytes text = redeem_message(message, invite_label, redeem, space);
  if (!crypto->verify(&redeem->by_invite, &redeem->invite, text)) return WEFT_EBADSIG;
  text = redeem_message(message, device_label, redeem, space);
  return crypto->verify(&redeem->by_device, &redeem->device, text) ? WEFT_OK : WEFT_EBADSIG;
}

static void put_label(weft_buf *out, weft_bytes text) {
  weft__buf_u8(out, (uint8_t)text.len);
  weft__buf_put(out, text);
}

static weft_err put_genesis(weft_buf *out, const weft_genesis *g) {
  if (!weft__label_ok(g->space_name, WEFT_SPACE_NAME_LEN_MAX)) return WEFT_EMISUSE;
  if (!weft__label_ok(g->name, WEFT_DEVICE_NAME_LEN_MAX)) return WEFT_EMISUSE;
  weft__buf_put_raw(out, g->nonce, sizeof g->nonce);
  weft__buf_put_raw(out, g->x_public.b, sizeof g->x_public.b);
  weft__buf_u8(out, policy_none);
  put_label(out, g->space_name);
  put_label(out, g->name);
  return WEFT_OK;
}

static bool role_known(unsigned role) {
  return role >= WEFT_ROLE_ADMIN && role <= WEFT_ROLE_READER;
}

static weft_err put_admit(weft_buf *out, const weft_admit *a) {
  if (!role_known(a->role)) return WEFT_EMISUSE;
  if (!weft__label_ok(a->name, WEFT_DEVICE_NAME_LEN_MAX)) return WEFT_EMISUSE;
  const weft_redeem *r = &a->redeem;
  weft__buf_put_raw(out, r->device.b, sizeof r->device.b);
  weft__buf_put_raw(out, r->x_public.b, sizeof r->x_public.b);
  weft__buf_u8(out, (uint8_t)a->role);
  weft__buf_put_raw(out, r->invite.b, sizeof r->invite.b);
  weft__buf_put_raw(out, r->by_invite.b, sizeof r->by_invite.b);
  weft__buf_put_raw(out, r->by_device.b, sizeof r->by_device.b);
  put_label(out, a->name);
  return WEFT_OK;
}

/* Appends `count` ids ascending; WEFT_EMISUSE when one occurs twice. */
static weft_err put_deps(weft_buf *out, const weft_id *deps, size_t count) {
  if (count > WEFT_RECORD_DEPS_MAX) return WEFT_EMISUSE;
  weft__buf_u8(out, (uint8_t)count);
  const weft_id *last = NULL;
  for (size_t i = 0; i < count; i++) {
    const weft_id *least = NULL;
    for (size_t k = 0; k < count; k++) {
      if (last && weft_id_cmp(&deps[k], last) <= 0) continue;
      if (!least || weft_id_cmp(&deps[k], least) < 0) least = &deps[k];
    }
    if (!least) return WEFT_EMISUSE;
    weft__buf_put_raw(out, least->b, sizeof least->b);
    last = least;
  }
  return WEFT_OK;
}

static void hash_id(weft_id *id, const weft_crypto *crypto, weft_bytes covered) {
  crypto->hash(id->b, sizeof id->b, weft_bytes_of(NULL, 0), NULL, id_personal, &covered, 1);
}

enum { sign_message_len = sizeof sign_label - 1 + 32 };

static weft_bytes sign_message(uint8_t out[sign_message_len], const weft_id *id) {
  memcpy(out, sign_label, sizeof sign_label - 1);
  memcpy(out + sizeof sign_label - 1, id->b, 32);
  return weft_bytes_of(out, sign_message_len);
}

static weft_err put_body(weft_buf *out, const weft_record *record) {
  if (record->kind == WEFT_RECORD_GENESIS) return put_genesis(out, &record->genesis);
  if (record->kind == WEFT_RECORD_ADMIT) return put_admit(out, &record->admit);
  weft__buf_put(out, record->body);
  return WEFT_OK;
}

weft_err weft__record_sign(weft_buf *out, const weft_crypto *crypto, const weft_identity *identity,
                           const weft_record *record, weft_id *id) {
  if (record->body.len > WEFT_RECORD_LEN_MAX) return WEFT_ELIMIT;
  size_t start = out->len;
  weft__buf_u8(out, WEFT_RECORD_VERSION);
  weft__buf_u8(out, record->kind);
  weft__buf_u8(out, record->flags);
  weft__buf_put_raw(out, record->space.b, sizeof record->space.b);
  weft__buf_put_raw(out, identity->device.b, sizeof identity->device.b);
  weft_err err = put_deps(out, record->deps, record->dep_count);
  size_t body = out->len + 2;
  weft__buf_u16(out, 0);
  if (err == WEFT_OK) err = put_body(out, record);
  if (err == WEFT_OK) err = weft__buf_err(out);
  if (err == WEFT_OK) {
    size_t len = out->len - body;
    out->at[body - 2] = (uint8_t)(len >> 8);
    out->at[body - 1] = (uint8_t)len;
    uint8_t message[sign_message_len];
    weft_sig sig;
    hash_id(id, crypto, weft_bytes_of(out->at + start, out->len - start));
    crypto->sign(&sig, &identity->sign_seed, &identity->device, sign_message(message, id));
    weft__buf_put_raw(out, sig.b, sizeof sig.b);
    err = weft__buf_err(out);
  }
  if (err == WEFT_OK) {
    weft_record check;
    err = weft__record_parse(&check, crypto, weft_bytes_of(out->at + start, out->len - start));
    if (err == WEFT_EMALFORMED) err = WEFT_EMISUSE;
  }
  if (err != WEFT_OK) out->len = start;
  return err;
}

static weft_bytes rd_label(weft_rd *r) { return weft__rd_take(r, weft__rd_u8(r)); }

static void rd_into(weft_rd *r, uint8_t *out, size_t len) {
  weft_bytes bytes = weft__rd_take(r, len);
  if (bytes.len) memcpy(out, bytes.at, len);
}

static weft_record_state rd_genesis(weft_rd *r, weft_genesis *g) {
  rd_into(r, g->nonce, sizeof g->nonce);
  rd_into(r, g->x_public.b, sizeof g->x_public.b);
  uint8_t policy = weft__rd_u8(r);
  if (!r->failed && policy != policy_none) return WEFT_RECORD_UNKNOWN;
  g->space_name = rd_label(r);
  g->name = rd_label(r);
  if (r->failed || !weft__label_ok(g->space_name, WEFT_SPACE_NAME_LEN_MAX)) {
    return WEFT_RECORD_INVALID;
  }
  bool ok = weft__label_ok(g->name, WEFT_DEVICE_NAME_LEN_MAX);
  return ok ? WEFT_RECORD_VALID : WEFT_RECORD_INVALID;
}

static weft_record_state rd_admit(weft_rd *r, weft_admit *a) {
  a->redeem.device = weft__rd_id(r);
  rd_into(r, a->redeem.x_public.b, sizeof a->redeem.x_public.b);
  uint8_t role = weft__rd_u8(r);
  if (!r->failed && role > WEFT_ROLE_READER) return WEFT_RECORD_UNKNOWN;
  a->redeem.invite = weft__rd_id(r);
  rd_into(r, a->redeem.by_invite.b, sizeof a->redeem.by_invite.b);
  rd_into(r, a->redeem.by_device.b, sizeof a->redeem.by_device.b);
  a->name = rd_label(r);
  if (r->failed || !role_known(role)) return WEFT_RECORD_INVALID;
  a->role = (weft_role)role;
  bool ok = weft__label_ok(a->name, WEFT_DEVICE_NAME_LEN_MAX);
  return ok ? WEFT_RECORD_VALID : WEFT_RECORD_INVALID;
}

static weft_record_state rd_body(weft_record *out) {
  weft_rd body = weft__rd(out->body);
  if (out->version != WEFT_RECORD_VERSION) return WEFT_RECORD_UNKNOWN;
  if (out->flags & ~WEFT_RECORD_CRITICAL) return WEFT_RECORD_UNKNOWN;
  if (out->kind == WEFT_RECORD_GENESIS) return rd_genesis(&body, &out->genesis);
  if (out->kind == WEFT_RECORD_ADMIT) return rd_admit(&body, &out->admit);
  return WEFT_RECORD_UNKNOWN;
}

/* A GENESIS stands at the root: it names no space and follows nothing.  Every other record names
 * its space and follows something. */
static bool place_ok(const weft_record *r) {
  static const weft_id zeros;
  bool rootless = weft_id_cmp(&r->space, &zeros) == 0;
  if (r->kind == WEFT_RECORD_GENESIS) return rootless && r->dep_count == 0;
  return !rootless && r->dep_count > 0;
}

weft_err weft__record_parse(weft_record *out, const weft_crypto *crypto, weft_bytes raw) {
  if (raw.len > WEFT_RECORD_LEN_MAX) return WEFT_ELIMIT;
  memset(out, 0, sizeof *out);
  weft_rd r = weft__rd(raw);
  out->version = weft__rd_u8(&r);
  out->kind = weft__rd_u8(&r);
  out->flags = weft__rd_u8(&r);
  out->space = weft__rd_id(&r);
  out->author = weft__rd_id(&r);
  out->dep_count = weft__rd_u8(&r);
  if (out->dep_count > WEFT_RECORD_DEPS_MAX) return WEFT_EMALFORMED;
  for (size_t i = 0; i < out->dep_count; i++) {
    out->deps[i] = weft__rd_id(&r);
    if (i > 0 && weft_id_cmp(&out->deps[i - 1], &out->deps[i]) >= 0) return WEFT_EMALFORMED;
  }
  out->body = weft__rd_take(&r, weft__rd_u16(&r));
  rd_into(&r, out->sig.b, sizeof out->sig.b);
  if (!weft__rd_done(&r) || !place_ok(out)) return WEFT_EMALFORMED;
  out->raw = raw;
  out->state = rd_body(out);
  hash_id(&out->id, crypto, weft_bytes_of(raw.at, raw.len - sig_len));
  return WEFT_OK;
}

weft_err weft__record_verify(const weft_record *record, const weft_crypto *crypto) {
  uint8_t message[sign_message_len];
  bool ok = crypto->verify(&record->sig, &record->author, sign_message(message, &record->id));
  return ok ? WEFT_OK : WEFT_EBADSIG;
}

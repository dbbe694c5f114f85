/* Tickets and derived keys.
 *
 * Reading goes from the outside in: prefix, case, letters, checksum, version, content.  So a slip
 * of the hand is reported as one, and only text that somebody's program wrote is ever looked into.
 * The text of a ticket has one form per case: padding bits are zero, and bytes behind the last
 * address are refused.
 *
 * Every buffer that held the seed is wiped before returning, also on error. */
#include "crdt/ticket.h"

#include <string.h>

#include "crdt/address.h"

enum {
  ticket_version = 1,
  prefix_len = 5,
  check_len = 4,
  fixed_len = 1 + 32 + 32 + 32 + 1 + 8 + 1,
  raw_max = fixed_len + WEFT_TICKET_ADDRESSES_MAX * (1 + WEFT_ADDRESS_LEN_MAX) + check_len,

  subkey_join = 1, /* of a ticket's seed */
  subkey_invite = 2,
  subkey_join_tag = 3, /* of the join key */
  subkey_noise = 1,    /* of an epoch's secret */
  subkey_beacon = 2,
  subkey_member_tag = 3
};
_Static_assert(prefix_len + (8 * raw_max + 4) / 5 == WEFT_TICKET_LEN_MAX, "longest text");

static const char prefix_lower[] = "weft1";
static const char prefix_upper[] = "WEFT1";
static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
static const uint8_t check_personal[16] = "weft-ticket-v1";

static void checksum(uint8_t out[check_len], const weft_crypto *crypto, weft_bytes covered) {
  uint8_t hash[16];
  crypto->hash(hash, sizeof hash, weft_bytes_of(NULL, 0), NULL, check_personal, &covered, 1);
  memcpy(out, hash, check_len);
}

static uint8_t *put(uint8_t *to, const void *from, size_t len) {
  memcpy(to, from, len);
  return to + len;
}

/* The text of `len` bytes, NUL-terminated. */
static void put_base32(char *out, const uint8_t *raw, size_t len) {
  size_t count = (8 * len + 4) / 5;
  for (size_t i = 0; i < count; i++) {
    size_t bit = 5 * i;
    unsigned pair = (unsigned)raw[bit / 8] << 8 | (bit / 8 + 1 < len ? raw[bit / 8 + 1] : 0u);
    out[i] = letters[pair >> (11 - bit % 8) & 31];
  }
  out[count] = '\0';
}

static bool addresses_ok(const weft_ticket *t) {
  if (t->address_count > WEFT_TICKET_ADDRESSES_MAX) return false;
  for (size_t i = 0; i < t->address_count; i++) {
    weft_address address;
    const weft_ticket_address *a = &t->addresses[i];
    if (a->len > sizeof a->text) return false;
    if (weft__address_parse(&address, weft_bytes_of(a->text, a->len)) != WEFT_OK) return false;
  }
  return true;
}

weft_err weft__ticket_encode(char out[WEFT_TICKET_LEN_MAX + 1], const weft_crypto *crypto,
                             const weft_ticket *ticket) {
  uint8_t raw[raw_max], expires[8];
  bool role_ok = ticket->role >= WEFT_ROLE_ADMIN && ticket->role <= WEFT_ROLE_READER;
  if (!role_ok || !addresses_ok(ticket)) return WEFT_EMISUSE;
  for (unsigned i = 0; i < 8; i++) expires[i] = (uint8_t)(ticket->expires >> (56 - 8 * i));
  uint8_t *to = raw;
  *to++ = ticket_version;
  to = put(to, ticket->space.b, 32);
  to = put(to, ticket->seed.b, 32);
  to = put(to, ticket->issuer.b, 32);
  *to++ = (uint8_t)ticket->role;
  to = put(to, expires, 8);
  *to++ = (uint8_t)ticket->address_count;
  for (size_t i = 0; i < ticket->address_count; i++) {
    *to++ = ticket->addresses[i].len;
    to = put(to, ticket->addresses[i].text, ticket->addresses[i].len);
  }
  checksum(to, crypto, weft_bytes_of(raw, (size_t)(to - raw)));
  to += check_len;
  memcpy(out, prefix_lower, prefix_len);
  put_base32(out + prefix_len, raw, (size_t)(to - raw));
  crypto->wipe(raw, sizeof raw);
  return WEFT_OK;
}

static weft_err refuse(weft_ticket_error *why, weft_err err, const char *text, size_t offset) {
  if (why) {
    why->text = text;
    why->offset = offset;
  }
  return err;
}

/* The value of one letter, 32 when it is none. */
static unsigned letter_value(uint8_t c, bool upper) {
  if (c >= '2' && c <= '7') return (unsigned)(c - '2') + 26;
  uint8_t first = upper ? 'A' : 'a';
  return c >= first && c < first + 26 ? (unsigned)(c - first) : 32;
}

/* Turns the text into the bytes under the checksum. */
static weft_err unwrap(uint8_t raw[raw_max], size_t *len, const weft_crypto *crypto,
                       weft_bytes text, weft_ticket_error *why) {
  bool lower = text.len >= prefix_len && memcmp(text.at, prefix_lower, prefix_len) == 0;
  bool upper = text.len >= prefix_len && memcmp(text.at, prefix_upper, prefix_len) == 0;
  if (!lower && !upper) return refuse(why, WEFT_EMALFORMED, "does not begin with weft1", 0);
  if (text.len > WEFT_TICKET_LEN_MAX) {
    return refuse(why, WEFT_EMALFORMED, "is longer than a ticket can be", WEFT_TICKET_LEN_MAX);
  }
  unsigned bits = 0, held = 0;
  *len = 0;
  for (size_t i = prefix_len; i < text.len; i++) {
    unsigned value = letter_value(text.at[i], upper);
    if (value == 32 && letter_value(text.at[i], !upper) != 32) {
      return refuse(why, WEFT_EMALFORMED, "mixes upper and lower case", i);
    }
    if (value == 32) {
      return refuse(why, WEFT_EMALFORMED, "has a character that no ticket has", i);
    }
    bits = (bits << 5 | value) & 0xfff;
    held += 5;
    if (held < 8) continue;
    held -= 8;
    raw[(*len)++] = (uint8_t)(bits >> held);
  }
  uint8_t check[check_len];
  bool whole = held < 5 && (bits & ((1u << held) - 1)) == 0 && *len > check_len;
  if (whole) {
    *len -= check_len;
    checksum(check, crypto, weft_bytes_of(raw, *len));
    whole = memcmp(check, raw + *len, check_len) == 0;
  }
  if (!whole) return refuse(why, WEFT_EMALFORMED, "is cut short or mistyped", 0);
  return WEFT_OK;
}

static bool content_ok(weft_ticket *out, weft_bytes raw) {
  weft_rd r = weft__rd(raw);
  (void)weft__rd_u8(&r); /* the version */
  out->space = weft__rd_id(&r);
  weft_bytes seed = weft__rd_take(&r, sizeof out->seed.b);
  if (seed.len) memcpy(out->seed.b, seed.at, seed.len);
  out->issuer = weft__rd_id(&r);
  uint8_t role = weft__rd_u8(&r);
  out->expires = weft__rd_u64(&r);
  out->address_count = weft__rd_u8(&r);
  if (role < WEFT_ROLE_ADMIN || role > WEFT_ROLE_READER) return false;
  out->role = (weft_role)role;
  if (out->address_count > WEFT_TICKET_ADDRESSES_MAX) return false;
  for (size_t i = 0; i < out->address_count; i++) {
    weft_bytes text = weft__rd_take(&r, weft__rd_u8(&r));
    if (text.len > WEFT_ADDRESS_LEN_MAX) return false;
    out->addresses[i].len = (uint8_t)text.len;
    if (text.len) memcpy(out->addresses[i].text, text.at, text.len);
  }
  return weft__rd_done(&r) && addresses_ok(out);
}

weft_err weft__ticket_parse(weft_ticket *out, const weft_crypto *crypto, weft_bytes text,
                            weft_ticket_error *why) {
  uint8_t raw[raw_max];
  size_t len;
  memset(out, 0, sizeof *out);
  weft_err err = unwrap(raw, &len, crypto, text, why);
  if (err == WEFT_OK && raw[0] != ticket_version) {
    err = refuse(why, WEFT_EVERSION, "was made by a newer version", 0);
  }
  if (err == WEFT_OK && !content_ok(out, weft_bytes_of(raw, len))) {
    err = refuse(why, WEFT_EMALFORMED, "says something that no ticket may say", 0);
  }
  if (err != WEFT_OK) weft__ticket_wipe(out, crypto);
  crypto->wipe(raw, sizeof raw);
  return err;
}

void weft__ticket_wipe(weft_ticket *ticket, const weft_crypto *crypto) {
  crypto->wipe(ticket, sizeof *ticket);
}

void weft__ticket_keys_derive(weft_ticket_keys *out, const weft_crypto *crypto,
                              const weft_key *seed) {
  crypto->kdf(&out->join, seed, subkey_join);
  crypto->kdf(&out->tag, &out->join, subkey_join_tag);
  crypto->kdf(&out->invite_seed, seed, subkey_invite);
  crypto->sign_keypair(&out->invite, &out->invite_seed);
}

void weft__ticket_keys_wipe(weft_ticket_keys *keys, const weft_crypto *crypto) {
  crypto->wipe(keys, sizeof *keys);
}

void weft__epoch_keys_derive(weft_epoch_keys *out, const weft_crypto *crypto,
                             const weft_key *epoch_secret) {
  crypto->kdf(&out->noise, epoch_secret, subkey_noise);
  crypto->kdf(&out->beacon, epoch_secret, subkey_beacon);
  crypto->kdf(&out->tag, epoch_secret, subkey_member_tag);
}

void weft__epoch_keys_wipe(weft_epoch_keys *keys, const weft_crypto *crypto) {
  crypto->wipe(keys, sizeof *keys);
}

void weft__epoch_id(uint8_t out[WEFT_EPOCH_ID_LEN], const weft_id *record) {
  memcpy(out, record->b, WEFT_EPOCH_ID_LEN);
}

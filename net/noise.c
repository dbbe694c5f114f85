/* Noise: symmetric state, handshake state and cipher states.
 *
 * Invariants: `h` covers every byte that was sent or received in the handshake, so that a change
 * anywhere makes the next tag wrong; the nonce moves only after a success; after a failure the
 * handshake answers with the same error for ever.
 *
 * Happy path: start mixes name, prologue and known keys; write and read take turns and work through
 * the tokens of their message, then the payload; split makes the two directions.
 *
 * Failure modes: a wrong tag or a key of low order (WEFT_EAUTH), a message of impossible length
 * (WEFT_EMALFORMED). */
#include "net/noise.h"

#include <string.h>

#include "crdt/assert.h"
#include "crdt/canary.h"

typedef enum noise_token { T_END, T_E, T_S, T_EE, T_ES, T_SE, T_SS, T_PSK } noise_token;

enum { messages_max = 3, tokens_max = 8, key_len = 32 };

struct weft_noise_pattern {
  char name[3];
  bool initiator_known, responder_known; /* static keys that are known beforehand */
  bool initiator_static, responder_static;
  unsigned messages;
  noise_token tokens[messages_max][tokens_max];
};

/* Specification, section 7.5. */
static const weft_noise_pattern patterns[] = {
    {"NN", false, false, false, false, 2, {{T_E}, {T_E, T_EE}}},
    {"KK", true, true, true, true, 2, {{T_E, T_ES, T_SS}, {T_E, T_EE, T_SE}}},
    {"IK", false, true, true, true, 2, {{T_E, T_ES, T_S, T_SS}, {T_E, T_EE, T_SE}}},
    {"XX", false, false, true, true, 3, {{T_E}, {T_E, T_EE, T_S, T_ES}, {T_S, T_SE}}},
};

static const char production_name[] = "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b";

/* --- cipher state --- */

static void nonce_write(uint8_t out[12], uint64_t nonce) {
  memset(out, 0, 4);
  for (unsigned i = 0; i < 8; i++) out[4 + i] = (uint8_t)(nonce >> (8 * i));
}

weft_err weft__noise_seal(weft_noise_cipher *c, weft_bytes ad, weft_bytes in, uint8_t *out) {
  if (in.len > WEFT_NOISE_PLAIN_MAX || c->nonce == UINT64_MAX) return WEFT_ELIMIT;
  uint8_t nonce[12];
  nonce_write(nonce, c->nonce);
  c->crypto->seal(out, &c->key, nonce, ad, in);
  if (!WEFT_CANARY(NONCE_STUCK)) c->nonce++;
  return WEFT_OK;
}

weft_err weft__noise_open(weft_noise_cipher *c, weft_bytes ad, weft_bytes in, uint8_t *out) {
  if (c->nonce == UINT64_MAX) return WEFT_ELIMIT;
  uint8_t nonce[12];
  nonce_write(nonce, c->nonce);
  bool sound = c->crypto->open(out, &c->key, nonce, ad, in) || WEFT_CANARY(TAG_IGNORED);
  if (!sound) return WEFT_EAUTH;
  if (!WEFT_CANARY(NONCE_STUCK)) c->nonce++;
  return WEFT_OK;
}

void weft__noise_rekey(weft_noise_cipher *c) {
  static const uint8_t zeros[key_len];
  uint8_t nonce[12], sealed[key_len + WEFT_TAG_LEN];
  nonce_write(nonce, UINT64_MAX);
  c->crypto->seal(sealed, &c->key, nonce, weft_bytes_of(NULL, 0), weft_bytes_of(zeros, key_len));
  memcpy(c->key.b, sealed, key_len);
  c->crypto->wipe(sealed, sizeof sealed);
}

/* --- symmetric state --- */

static size_t hash_len(const weft_noise *n) { return n->sha256 ? 32 : 64; }

static void noise_hash(const weft_noise *n, uint8_t out[WEFT_NOISE_HASH_LEN_MAX],
                       const weft_bytes *parts, size_t count) {
  if (n->sha256)
    n->crypto->sha256(out, parts, count);
  else
    n->crypto->hash(out, 64, weft_bytes_of(NULL, 0), NULL, NULL, parts, count);
}

/* HMAC (RFC 2104) with a key of one hash length, over two parts.  The keyed mode of BLAKE2b would
 * be another function. */
static void noise_hmac(const weft_noise *n, uint8_t out[WEFT_NOISE_HASH_LEN_MAX],
                       const uint8_t key[WEFT_NOISE_HASH_LEN_MAX], weft_bytes a, weft_bytes b) {
  uint8_t block[128] = {0}, inner[WEFT_NOISE_HASH_LEN_MAX];
  size_t block_len = n->sha256 ? 64 : 128;
  memcpy(block, key, hash_len(n));
  for (size_t i = 0; i < block_len; i++) block[i] ^= 0x36;
  weft_bytes first[] = {weft_bytes_of(block, block_len), a, b};
  noise_hash(n, inner, first, 3);
  for (size_t i = 0; i < block_len; i++) block[i] ^= 0x36 ^ 0x5c;
  weft_bytes second[] = {weft_bytes_of(block, block_len), weft_bytes_of(inner, hash_len(n))};
  noise_hash(n, out, second, 2);
  n->crypto->wipe(block, sizeof block);
  n->crypto->wipe(inner, sizeof inner);
}

/* HKDF (RFC 5869) with the chaining key as salt and no info: `count` outputs of one hash length. */
static void noise_hkdf(const weft_noise *n, weft_bytes input, unsigned count,
                       uint8_t out[][WEFT_NOISE_HASH_LEN_MAX]) {
  uint8_t temp[WEFT_NOISE_HASH_LEN_MAX];
  noise_hmac(n, temp, n->ck, input, weft_bytes_of(NULL, 0));
  for (unsigned i = 0; i < count; i++) {
    uint8_t number = (uint8_t)(i + 1);
    weft_bytes before = weft_bytes_of(i ? out[i - 1] : NULL, i ? hash_len(n) : 0);
    noise_hmac(n, out[i], temp, before, weft_bytes_of(&number, 1));
  }
  n->crypto->wipe(temp, sizeof temp);
}

static void mix_hash(weft_noise *n, weft_bytes data) {
  weft_bytes parts[] = {weft_bytes_of(n->h, hash_len(n)), data};
  noise_hash(n, n->h, parts, 2);
}

/* With 64-byte hashes the key is the first half of its output. */
static void set_key(weft_noise *n, const uint8_t out[WEFT_NOISE_HASH_LEN_MAX]) {
  memcpy(n->cipher.key.b, out, key_len);
  n->cipher.nonce = 0;
  n->keyed = true;
}

static void mix_key(weft_noise *n, const weft_key *input) {
  uint8_t out[2][WEFT_NOISE_HASH_LEN_MAX] = {{0}};
  noise_hkdf(n, weft_bytes_of(input->b, key_len), 2, out);
  memcpy(n->ck, out[0], sizeof n->ck);
  set_key(n, out[1]);
  n->crypto->wipe(out, sizeof out);
}

static void mix_psk(weft_noise *n) {
  WEFT_ASSERT(n->psk_next < n->psk_count);
  uint8_t out[3][WEFT_NOISE_HASH_LEN_MAX] = {{0}};
  noise_hkdf(n, weft_bytes_of(n->psks[n->psk_next++].b, key_len), 3, out);
  memcpy(n->ck, out[0], sizeof n->ck);
  mix_hash(n, weft_bytes_of(out[1], hash_len(n)));
  set_key(n, out[2]);
  n->crypto->wipe(out, sizeof out);
}

static void encrypt_and_hash(weft_noise *n, weft_bytes in, uint8_t *out) {
  size_t len = n->keyed ? in.len + WEFT_TAG_LEN : in.len;
  if (n->keyed) {
    weft_err err = weft__noise_seal(&n->cipher, weft_bytes_of(n->h, hash_len(n)), in, out);
    WEFT_ASSERT(err == WEFT_OK);
  } else if (in.len) {
    memcpy(out, in.at, in.len);
  }
  mix_hash(n, weft_bytes_of(out, len));
}

/* `out` must not overlap `in`: the hash is over what was received. */
static weft_err decrypt_and_hash(weft_noise *n, weft_bytes in, uint8_t *out) {
  if (n->keyed) {
    WEFT_TRY(weft__noise_open(&n->cipher, weft_bytes_of(n->h, hash_len(n)), in, out));
  } else if (in.len) {
    memcpy(out, in.at, in.len);
  }
  mix_hash(n, in);
  return WEFT_OK;
}

/* --- starting --- */

static bool skip_text(const char **at, const char *text) {
  size_t len = strlen(text);
  if (strncmp(*at, text, len) != 0) return false;
  *at += len;
  return true;
}

static bool parse_psks(const char **at, unsigned messages, unsigned *places) {
  while (skip_text(at, *places ? "+psk" : "psk")) {
    unsigned place = (unsigned)**at - '0';
    if (place > messages || *places >> place) return false; /* ascending, each once */
    *places |= 1u << place;
    ++*at;
  }
  return true;
}

static bool parse_name(weft_noise *n, const char *name) {
  if (!skip_text(&name, "Noise_")) return false;
  for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
    if (skip_text(&name, patterns[i].name)) {
      n->pattern = &patterns[i];
      break;
    }
  }
  if (!n->pattern || !parse_psks(&name, n->pattern->messages, &n->psk_places)) return false;
  if (!skip_text(&name, "_25519_ChaChaPoly_")) return false;
  n->sha256 = strcmp(name, "SHA256") == 0;
  return n->sha256 || strcmp(name, "BLAKE2b") == 0;
}

static size_t count_places(unsigned places) {
  size_t count = 0;
  for (; places; places >>= 1) count += places & 1;
  return count;
}

static bool keys_complete(const weft_noise *n, const weft_noise_options *o) {
  const weft_noise_pattern *p = n->pattern;
  bool own = n->initiator ? p->initiator_static : p->responder_static;
  bool remote = n->initiator ? p->responder_known : p->initiator_known;
  return o->ephemeral && own == (o->own_static != NULL) && remote == (o->remote_static != NULL) &&
         o->psk_count == count_places(n->psk_places);
}

static void take_keys(weft_noise *n, const weft_noise_options *o) {
  n->ephemeral = *o->ephemeral;
  n->crypto->dh_public(&n->ephemeral_public, &n->ephemeral);
  if (o->own_static) {
    n->own_static = *o->own_static;
    n->crypto->dh_public(&n->own_static_public, &n->own_static);
  }
  if (o->remote_static) {
    n->remote_static = *o->remote_static;
    n->has_remote_static = true;
  }
  n->psk_count = o->psk_count;
  for (size_t i = 0; i < o->psk_count; i++) n->psks[i] = o->psks[i];
}

/* A name that fits the hash is padded with zeros and not hashed. */
static void mix_start(weft_noise *n, const char *name, weft_bytes prologue) {
  weft_bytes text = weft_bytes_str(name);
  if (text.len <= hash_len(n))
    memcpy(n->h, text.at, text.len);
  else
    noise_hash(n, n->h, &text, 1);
  memcpy(n->ck, n->h, sizeof n->ck);
  mix_hash(n, prologue);
  const weft_key *known[2] = {&n->own_static_public, &n->remote_static};
  if (n->pattern->initiator_known) mix_hash(n, weft_bytes_of(known[!n->initiator]->b, key_len));
  if (n->pattern->responder_known) mix_hash(n, weft_bytes_of(known[n->initiator]->b, key_len));
}

weft_err weft__noise_start_named(weft_noise *n, const weft_crypto *crypto, const char *name,
                                 const weft_noise_options *options) {
  memset(n, 0, sizeof *n);
  n->crypto = n->cipher.crypto = crypto;
  n->initiator = options->initiator;
  n->err = WEFT_ENOTFOUND;
  if (!parse_name(n, name)) return n->err;
  n->err = WEFT_EMISUSE;
  if (!keys_complete(n, options)) return n->err;
  n->err = WEFT_OK;
  take_keys(n, options);
  mix_start(n, name, options->prologue);
  return WEFT_OK;
}

weft_err weft__noise_start(weft_noise *n, const weft_crypto *crypto,
                           const weft_noise_options *options) {
  return weft__noise_start_named(n, crypto, production_name, options);
}

/* --- messages --- */

/* The tokens of message `idx`, the psk modifiers put in their places, ended by T_END. */
static void message_tokens(const weft_noise *n, unsigned idx, noise_token out[tokens_max + 2]) {
  size_t count = 0;
  if (idx == 0 && (n->psk_places & 1)) out[count++] = T_PSK;
  const noise_token *tokens = n->pattern->tokens[idx];
  for (size_t i = 0; tokens[i] != T_END; i++) out[count++] = tokens[i];
  if (n->psk_places >> (idx + 1) & 1) out[count++] = T_PSK;
  out[count] = T_END;
}

size_t weft__noise_overhead(const weft_noise *n) {
  if (n->done || n->err != WEFT_OK) return 0;
  noise_token tokens[tokens_max + 2];
  message_tokens(n, n->messages, tokens);
  bool keyed = n->keyed;
  size_t len = 0;
  for (size_t i = 0; tokens[i] != T_END; i++) {
    if (tokens[i] == T_E) len += key_len;
    if (tokens[i] == T_S) len += key_len + WEFT_TAG_LEN; /* no pattern here sends it in clear */
    /* With a psk in the handshake an ephemeral key is mixed into the key, too. */
    if (tokens[i] == T_E ? n->psk_places != 0 : tokens[i] != T_S) keyed = true;
  }
  return keyed ? len + WEFT_TAG_LEN : len;
}

/* The four shared secrets.  ES and SE name the initiator's key first. */
static weft_err mix_dh(weft_noise *n, noise_token token) {
  bool own_is_static = token == T_SS || token == (n->initiator ? T_SE : T_ES);
  bool remote_is_static = token == T_SS || token == (n->initiator ? T_ES : T_SE);
  weft_key shared;
  bool ok = n->crypto->dh(&shared, own_is_static ? &n->own_static : &n->ephemeral,
                          remote_is_static ? &n->remote_static : &n->remote_ephemeral);
  if (!ok) return WEFT_EAUTH;
  mix_key(n, &shared);
  n->crypto->wipe(&shared, sizeof shared);
  return WEFT_OK;
}

static void mix_ephemeral(weft_noise *n, const weft_key *pub) {
  mix_hash(n, weft_bytes_of(pub->b, key_len));
  if (n->psk_places) mix_key(n, pub);
}

static void finish_message(weft_noise *n) {
  n->messages++;
  n->done = n->messages == n->pattern->messages;
}

static bool our_turn(const weft_noise *n) { return (n->messages % 2 == 0) == n->initiator; }

static weft_err write_token(weft_noise *n, noise_token token, uint8_t **at) {
  if (token == T_E) {
    memcpy(*at, n->ephemeral_public.b, key_len);
    mix_ephemeral(n, &n->ephemeral_public);
    *at += key_len;
  } else if (token == T_S) {
    encrypt_and_hash(n, weft_bytes_of(n->own_static_public.b, key_len), *at);
    *at += key_len + WEFT_TAG_LEN;
  } else if (token == T_PSK) {
    mix_psk(n);
  } else {
    return mix_dh(n, token);
  }
  return WEFT_OK;
}

weft_err weft__noise_write(weft_noise *n, weft_bytes payload, uint8_t *out, size_t cap,
                           size_t *len) {
  *len = 0;
  if (n->err != WEFT_OK) return n->err;
  if (n->done || !our_turn(n)) return WEFT_EMISUSE;
  size_t overhead = weft__noise_overhead(n);
  size_t most = cap < WEFT_NOISE_MESSAGE_MAX ? cap : WEFT_NOISE_MESSAGE_MAX;
  if (overhead > most || payload.len > most - overhead) return WEFT_ELIMIT;
  noise_token tokens[tokens_max + 2];
  message_tokens(n, n->messages, tokens);
  uint8_t *at = out;
  for (size_t i = 0; tokens[i] != T_END; i++) {
    n->err = write_token(n, tokens[i], &at);
    if (n->err != WEFT_OK) return n->err;
  }
  encrypt_and_hash(n, payload, at);
  *len = overhead + payload.len;
  finish_message(n);
  return WEFT_OK;
}

/* The caller has checked that the message is long enough for all its tokens. */
static weft_err read_token(weft_noise *n, noise_token token, const uint8_t **at) {
  if (token == T_E) {
    memcpy(n->remote_ephemeral.b, *at, key_len);
    mix_ephemeral(n, &n->remote_ephemeral);
    *at += key_len;
  } else if (token == T_S) {
    weft_bytes sealed = weft_bytes_of(*at, key_len + WEFT_TAG_LEN);
    WEFT_TRY(decrypt_and_hash(n, sealed, n->remote_static.b));
    n->has_remote_static = true;
    *at += sealed.len;
  } else if (token == T_PSK) {
    mix_psk(n);
  } else {
    return mix_dh(n, token);
  }
  return WEFT_OK;
}

static weft_err read_message(weft_noise *n, weft_bytes message, uint8_t *payload, size_t *len) {
  size_t overhead = weft__noise_overhead(n);
  if (message.len < overhead || message.len > WEFT_NOISE_MESSAGE_MAX) return WEFT_EMALFORMED;
  noise_token tokens[tokens_max + 2];
  message_tokens(n, n->messages, tokens);
  const uint8_t *at = message.at;
  for (size_t i = 0; tokens[i] != T_END; i++) WEFT_TRY(read_token(n, tokens[i], &at));
  WEFT_TRY(
      decrypt_and_hash(n, weft_bytes_of(at, (size_t)(message.at + message.len - at)), payload));
  *len = message.len - overhead;
  finish_message(n);
  return WEFT_OK;
}

weft_err weft__noise_read(weft_noise *n, weft_bytes message, uint8_t *payload, size_t *len) {
  *len = 0;
  if (n->err != WEFT_OK) return n->err;
  if (n->done || our_turn(n)) return WEFT_EMISUSE;
  n->err = read_message(n, message, payload, len);
  return n->err;
}

weft_bytes weft__noise_hash(const weft_noise *n) { return weft_bytes_of(n->h, hash_len(n)); }

weft_err weft__noise_split(const weft_noise *n, weft_noise_cipher *sending,
                           weft_noise_cipher *receiving) {
  if (!n->done) return WEFT_EMISUSE;
  uint8_t out[2][WEFT_NOISE_HASH_LEN_MAX] = {{0}};
  noise_hkdf(n, weft_bytes_of(NULL, 0), 2, out);
  sending->crypto = receiving->crypto = n->crypto;
  sending->nonce = receiving->nonce = 0;
  memcpy(sending->key.b, out[!n->initiator], key_len);
  memcpy(receiving->key.b, out[n->initiator], key_len);
  n->crypto->wipe(out, sizeof out);
  return WEFT_OK;
}

void weft__noise_wipe(weft_noise *n) {
  const weft_crypto *crypto = n->crypto;
  crypto->wipe(n, sizeof *n);
}

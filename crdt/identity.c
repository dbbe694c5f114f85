/* Keys, certificates and fingerprints of a device.
 *
 * Invariants: the subkey numbers 1 (sign) and 2 (handshake) never change, or every device would get
 * another name.  Number 3 is kept for wrapping a database key.
 *
 * A word stands for 16 bits: consonant, vowel, consonant, vowel, consonant take 4, 2, 4, 2, 4 bits,
 * the highest first, so that each word can be spoken in most languages and no list is needed. */
#include "crdt/identity.h"

#include <string.h>

enum { subkey_sign = 1, subkey_handshake = 2 };

static const char cert_label[] = "weft-v1 static";
static const uint8_t fingerprint_personal[16] = "weft-finger-v1";

void weft_identity_derive(weft_identity *out, const weft_crypto *crypto, const weft_key *seed) {
  out->seed = *seed;
  crypto->kdf(&out->sign_seed, seed, subkey_sign);
  crypto->sign_keypair(&out->device, &out->sign_seed);
  crypto->kdf(&out->x_secret, seed, subkey_handshake);
  crypto->dh_public(&out->x_public, &out->x_secret);
}

void weft_identity_wipe(weft_identity *identity, const weft_crypto *crypto) {
  crypto->wipe(identity, sizeof *identity);
}

enum { cert_label_len = sizeof cert_label - 1, cert_message_len = cert_label_len + 32 + 32 };

static weft_bytes cert_message(uint8_t out[cert_message_len], const weft_id *space,
                               const weft_key *x_public) {
  memcpy(out, cert_label, cert_label_len);
  memcpy(out + cert_label_len, space->b, 32);
  memcpy(out + cert_label_len + 32, x_public->b, 32);
  return weft_bytes_of(out, cert_message_len);
}

void weft_cert_sign(weft_cert *out, const weft_crypto *crypto, const weft_identity *identity,
                    const weft_id *space) {
  uint8_t message[cert_message_len];
  out->device = identity->device;
  crypto->sign(&out->sig, &identity->sign_seed, &identity->device,
               cert_message(message, space, &identity->x_public));
}

weft_err weft_cert_verify(const weft_cert *cert, const weft_crypto *crypto, const weft_id *space,
                          const weft_key *x_public) {
  uint8_t message[cert_message_len];
  bool ok = crypto->verify(&cert->sig, &cert->device, cert_message(message, space, x_public));
  return ok ? WEFT_OK : WEFT_EBADSIG;
}

void weft_cert_encode(uint8_t out[WEFT_CERT_LEN], const weft_cert *cert) {
  memcpy(out, cert->device.b, sizeof cert->device.b);
  memcpy(out + sizeof cert->device.b, cert->sig.b, sizeof cert->sig.b);
}

weft_err weft_cert_decode(weft_cert *out, weft_bytes in) {
  if (in.len != WEFT_CERT_LEN) return WEFT_EMALFORMED;
  memcpy(out->device.b, in.at, sizeof out->device.b);
  memcpy(out->sig.b, in.at + sizeof out->device.b, sizeof out->sig.b);
  return WEFT_OK;
}

/* 20 bytes as 32 letters in groups of four. */
static void write_text(char text[40], const uint8_t hash[20]) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
  for (unsigned i = 0; i < 32; i++) {
    unsigned bit = 5 * i;
    unsigned pair = (unsigned)hash[bit / 8] << 8 | (bit / 8 < 19 ? hash[bit / 8 + 1] : 0u);
    text[i + i / 4] = letters[pair >> (11 - bit % 8) & 31];
    if (i % 4 == 3) text[i + i / 4 + 1] = i == 31 ? '\0' : '-';
  }
}

static void write_words(char words[48], const uint8_t hash[16]) {
  static const char consonants[] = "bdfghjklmnprstvz";
  static const char vowels[] = "aiou";
  for (unsigned i = 0; i < 8; i++) {
    unsigned bits = (unsigned)hash[2 * i] << 8 | hash[2 * i + 1];
    char *word = words + (size_t)6 * i;
    word[0] = consonants[bits >> 12 & 15];
    word[1] = vowels[bits >> 10 & 3];
    word[2] = consonants[bits >> 6 & 15];
    word[3] = vowels[bits >> 4 & 3];
    word[4] = consonants[bits & 15];
    word[5] = i == 7 ? '\0' : ' ';
  }
}

void weft_fingerprint_of(weft_fingerprint *out, const weft_crypto *crypto, const weft_id *device) {
  uint8_t hash[32];
  weft_bytes part = weft_bytes_of(device->b, sizeof device->b);
  crypto->hash(hash, sizeof hash, weft_bytes_of(NULL, 0), NULL, fingerprint_personal, &part, 1);
  write_text(out->text, hash);
  write_words(out->words, hash);
}

/* Tickets from anywhere: as text, and as content below a checksum that is always right.  What is
 * read is written again as the same text. */
#include <string.h>

#include "crdt/address.h"
#include "crdt/ticket.h"
#include "tests/fuzz/fuzz.h"

static void hash_to_zeros(uint8_t *out, size_t len, weft_bytes key, const uint8_t *salt,
                          const uint8_t *personal, const weft_bytes *parts, size_t count) {
  (void)key;
  (void)salt;
  (void)personal;
  (void)parts;
  (void)count;
  memset(out, 0, len);
}

static void text_run(weft_bytes text, const weft_crypto *crypto) {
  static const weft_ticket empty;
  weft_ticket t;
  weft_ticket_error why = {NULL, 0};
  char again[WEFT_TICKET_LEN_MAX + 1];
  weft_err err = weft__ticket_parse(&t, crypto, text, &why);
  if (err != WEFT_OK) {
    FUZZ_CHECK(err == WEFT_EMALFORMED || err == WEFT_EVERSION);
    FUZZ_CHECK(why.text && why.offset <= text.len);
    FUZZ_CHECK(memcmp(&t, &empty, sizeof t) == 0);
    return;
  }
  FUZZ_CHECK(weft__ticket_encode(again, crypto, &t) == WEFT_OK);
  FUZZ_CHECK(strlen(again) == text.len);
  for (size_t i = 0; i < text.len; i++) {
    bool upper = text.at[i] >= 'A' && text.at[i] <= 'Z';
    FUZZ_CHECK((uint8_t)again[i] == (upper ? text.at[i] + ('a' - 'A') : text.at[i]));
  }
}

/* The input as the bytes of a ticket, followed by a checksum of zeros. */
static void content_run(weft_bytes in, const weft_crypto *crypto) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
  char text[WEFT_TICKET_LEN_MAX + 8] = "weft1";
  size_t used = 5, bits = 8 * (in.len + 4);
  if (in.len > 380) return;
  for (size_t bit = 0; bit < bits && used < sizeof text; bit += 5) {
    unsigned value = 0;
    for (size_t i = bit; i < bit + 5; i++) {
      unsigned byte = i / 8 < in.len ? in.at[i / 8] : 0;
      value = value << 1 | (byte >> (7 - i % 8) & 1u);
    }
    text[used++] = letters[value];
  }
  text_run(weft_bytes_of(text, used), crypto);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
  weft_crypto zeros = *weft_crypto_sodium();
  zeros.hash = hash_to_zeros;
  weft_bytes in = weft_bytes_of(at, len);
  text_run(in, weft_crypto_sodium());
  text_run(in, &zeros);
  content_run(in, &zeros);
  weft_address address;
  if (weft__address_parse(&address, in) == WEFT_OK) {
    FUZZ_CHECK(address.port != 0 && address.host.len > 0 && address.host.len < in.len);
  }
  return 0;
}

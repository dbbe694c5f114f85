/* The public names of internal functions that an application needs: see crdt/embed.h.  Nothing is
 * decided here but the form of a space's first record. */
#include "crdt/embed.h"

#include <string.h>

void weft_arena_init(weft_arena *a, const weft_alloc *mem) { weft__arena_init(a, mem); }

void weft_arena_reset(weft_arena *a) { weft__arena_reset(a); }

void weft_arena_free(weft_arena *a) { weft__arena_free(a); }

void weft_buf_init(weft_buf *b, const weft_alloc *mem, size_t max) { weft__buf_init(b, mem, max); }

void weft_buf_reset(weft_buf *b) { weft__buf_reset(b); }

void weft_buf_free(weft_buf *b) { weft__buf_free(b); }

weft_bytes weft_buf_view(const weft_buf *b) { return weft__buf_view(b); }

void weft_vector_init(weft_vector *v, const weft_alloc *mem) { weft__vector_init(v, mem); }

void weft_vector_free(weft_vector *v) { weft__vector_free(v); }

weft_err weft_vector_copy(weft_vector *v, const weft_vector *from) {
  return weft__vector_copy(v, from);
}

void weft_vector_encode(weft_buf *out, const weft_vector *v) { weft__vector_encode(out, v); }

weft_err weft_vector_decode(weft_vector *v, weft_bytes in) { return weft__vector_decode(v, in); }

void weft_roster_members(const weft_roster *r, const weft_roster_member **members, size_t *count) {
  weft__roster_members(r, members, count);
}

const weft_roster_member *weft_roster_member_of(const weft_roster *r, const weft_id *device) {
  return weft__roster_member_of(r, device);
}

weft_bytes weft_roster_space_name(const weft_roster *r) { return weft__roster_space_name(r); }

bool weft_roster_frozen(const weft_roster *r) { return weft__roster_frozen(r); }

weft_err weft_space_genesis(weft_buf *out, const weft_crypto *crypto, const weft_identity *identity,
                            const weft_space_names *names, const uint8_t nonce[32],
                            weft_id *space) {
  weft_record record = {.kind = WEFT_RECORD_GENESIS, .flags = WEFT_RECORD_CRITICAL};
  memcpy(record.genesis.nonce, nonce, sizeof record.genesis.nonce);
  record.genesis.x_public = identity->x_public;
  record.genesis.space_name = names->space;
  record.genesis.name = names->device;
  return weft__record_sign(out, crypto, identity, &record, space);
}

void weft_epoch_id(uint8_t out[WEFT_EPOCH_ID_LEN], const weft_id *record) {
  weft__epoch_id(out, record);
}

weft_err weft_ticket_encode(char out[WEFT_TICKET_LEN_MAX + 1], const weft_crypto *crypto,
                            const weft_ticket *ticket) {
  return weft__ticket_encode(out, crypto, ticket);
}

weft_err weft_ticket_parse(weft_ticket *out, const weft_crypto *crypto, weft_bytes text,
                           weft_ticket_error *why) {
  return weft__ticket_parse(out, crypto, text, why);
}

void weft_ticket_wipe(weft_ticket *ticket, const weft_crypto *crypto) {
  weft__ticket_wipe(ticket, crypto);
}

void weft_ticket_keys_derive(weft_ticket_keys *out, const weft_crypto *crypto,
                             const weft_key *seed) {
  weft__ticket_keys_derive(out, crypto, seed);
}

void weft_ticket_keys_wipe(weft_ticket_keys *keys, const weft_crypto *crypto) {
  weft__ticket_keys_wipe(keys, crypto);
}

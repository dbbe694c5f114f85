/* Membership records from anywhere: what is read can be written again, and a list of them makes the
 * same roster forwards and backwards.  Every signature counts as valid here, so that content is
 * reached. */
#include <string.h>

#include "crdt/roster.h"
#include "tests/fuzz/fuzz.h"

static bool verify_any(const weft_sig *sig, const weft_id *pub, weft_bytes message) {
  (void)sig;
  (void)pub;
  return message.len > 0;
}

static void sign_nothing(weft_sig *sig, const weft_key *seed, const weft_id *pub,
                         weft_bytes message) {
  (void)seed;
  (void)pub;
  (void)message;
  memset(sig, 0, sizeof *sig);
}

/* A valid record without fields of the future has one encoding. */
static void write_again(const weft_record *record, const weft_crypto *crypto) {
  weft_alloc mem = weft_alloc_libc();
  weft_identity author = {.device = record->author};
  weft_buf buf;
  weft_id id;
  weft__buf_init(&buf, &mem, WEFT_RECORD_LEN_MAX);
  FUZZ_CHECK(weft__record_sign(&buf, crypto, &author, record, &id) == WEFT_OK);
  if (record->state == WEFT_RECORD_VALID && buf.len == record->raw.len) {
    FUZZ_CHECK(memcmp(buf.at, record->raw.at, buf.len - sizeof record->sig) == 0);
    FUZZ_CHECK(weft_id_cmp(&id, &record->id) == 0);
  }
  FUZZ_CHECK(record->state != WEFT_RECORD_VALID || buf.len <= record->raw.len);
  weft__buf_free(&buf);
}

enum { list_max = 64 };

/* Puts a list of records into a roster; gives how many were refused. */
static size_t fill(weft_roster *r, const weft_bytes *list, size_t count, bool backwards) {
  size_t refused = 0;
  for (size_t i = 0; i < count; i++) {
    weft_err err = weft__roster_add(r, list[backwards ? count - 1 - i : i], NULL);
    FUZZ_CHECK(err == WEFT_OK || err == WEFT_EMALFORMED || err == WEFT_EFOREIGN);
    refused += err != WEFT_OK;
  }
  return refused;
}

static void list_run(weft_bytes in, const weft_crypto *crypto) {
  weft_bytes list[list_max];
  size_t count = 0;
  weft_rd rd = weft__rd(in);
  while (count < list_max && weft__rd_left(&rd) >= 2) {
    size_t len = weft__rd_u16(&rd) % WEFT_RECORD_LEN_MAX;
    size_t left = weft__rd_left(&rd);
    list[count++] = weft__rd_take(&rd, len < left ? len : left);
  }
  weft_record first;
  weft_id space = {{0}};
  if (count && weft__record_parse(&first, crypto, list[0]) == WEFT_OK) {
    space = first.kind == WEFT_RECORD_GENESIS ? first.id : first.space;
  }
  weft_alloc mem = weft_alloc_libc();
  weft_roster *r[2];
  uint8_t root[2][16];
  const weft_roster_member *members[2];
  size_t refused[2], member_count[2];
  for (int i = 0; i < 2; i++) {
    FUZZ_CHECK(weft__roster_new(&r[i], &mem, crypto, &space) == WEFT_OK);
    refused[i] = fill(r[i], list, count, i == 1);
    weft__roster_root(r[i], root[i]);
    weft__roster_members(r[i], &members[i], &member_count[i]);
  }
  FUZZ_CHECK(refused[0] == refused[1]);
  FUZZ_CHECK(memcmp(root[0], root[1], sizeof root[0]) == 0);
  FUZZ_CHECK(weft__roster_frozen(r[0]) == weft__roster_frozen(r[1]));
  FUZZ_CHECK(weft__roster_waiting(r[0]) == weft__roster_waiting(r[1]));
  FUZZ_CHECK(member_count[0] == member_count[1]);
  for (size_t i = 0; i < member_count[0]; i++) {
    FUZZ_CHECK(weft_id_cmp(&members[0][i].grant, &members[1][i].grant) == 0);
    FUZZ_CHECK(members[0][i].role == members[1][i].role);
  }
  weft__roster_free(r[0]);
  weft__roster_free(r[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
  weft_crypto crypto = *weft_crypto_sodium();
  crypto.verify = verify_any;
  crypto.sign = sign_nothing;
  weft_bytes in = weft_bytes_of(at, len);
  weft_record record;
  weft_err err = weft__record_parse(&record, &crypto, in);
  FUZZ_CHECK(err == WEFT_OK || err == WEFT_EMALFORMED || err == WEFT_ELIMIT);
  bool body_known = record.kind == WEFT_RECORD_GENESIS || record.kind == WEFT_RECORD_ADMIT;
  if (err == WEFT_OK && (record.state == WEFT_RECORD_VALID || !body_known)) {
    write_again(&record, &crypto);
  }
  list_run(in, &crypto);
  return 0;
}

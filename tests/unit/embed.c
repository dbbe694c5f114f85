/* The public names of internal functions, from the first record of a space to a ticket. */
#include "crdt/embed.h"
#include "tests/support/ids.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void memory(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_arena_init(&arena, &mem);
  assert_int_equal(arena.held, 0);
  assert_non_null(weft__arena_take(&arena, 100));
  size_t held = arena.held;
  assert_true(held > 0);
  weft_arena_reset(&arena);
  assert_int_equal(arena.held, held);
  weft_arena_free(&arena);
  assert_int_equal(arena.held, 0);

  weft_buf b;
  weft_buf_init(&b, &mem, 4);
  weft__buf_put(&b, weft_bytes_str("word"));
  assert_int_equal(weft_bytes_cmp(weft_buf_view(&b), weft_bytes_str("word")), 0);
  weft__buf_u8(&b, 1);
  assert_int_equal(b.err, WEFT_ELIMIT);
  weft_buf_reset(&b);
  assert_int_equal(b.err, WEFT_OK);
  assert_int_equal(weft_buf_view(&b).len, 0);
  weft_buf_free(&b);
}

static void vectors(void **state) {
  (void)state;
  weft_alloc mem = weft_alloc_libc();
  weft_vector v, copy, read;
  weft_vector_init(&v, &mem);
  weft_vector_init(&copy, &mem);
  weft_vector_init(&read, &mem);
  weft_head head = {.log = {{1}}, .seq = 7, .id = {{2}}};
  assert_int_equal(weft__vector_raise(&v, NULL, &head), WEFT_OK);
  assert_int_equal(weft_vector_copy(&copy, &v), WEFT_OK);
  weft_vector_free(&v);
  assert_int_equal(v.count, 0);
  assert_int_equal(copy.count, 1);
  assert_int_equal(copy.heads[0].seq, 7);

  weft_buf b;
  weft_buf_init(&b, &mem, 1000);
  weft_vector_encode(&b, &copy);
  assert_int_equal(b.err, WEFT_OK);
  assert_int_equal(weft_vector_decode(&read, weft_buf_view(&b)), WEFT_OK);
  assert_int_equal(weft__vector_compare(&copy, &read, NULL), WEFT_ORDER_EQUAL);
  assert_int_equal(weft_vector_decode(&read, weft_bytes_str("?")), WEFT_EMALFORMED);
  assert_int_equal(read.count, 1);
  weft_buf_free(&b);
  weft_vector_free(&copy);
  weft_vector_free(&read);
}

static void spaces(void **state) {
  (void)state;
  const weft_crypto *crypto = weft_crypto_sodium();
  weft_alloc mem = weft_alloc_libc();
  weft_identity me = test_identity(1), other = test_identity(2);
  weft_space_names names = {weft_bytes_str("home"), weft_bytes_str("laptop")};
  uint8_t nonce[32] = {9};
  weft_id space, again;
  weft_buf b;
  weft_buf_init(&b, &mem, 10000);
  assert_int_equal(weft_space_genesis(&b, crypto, &me, &names, nonce, &space), WEFT_OK);
  weft_roster *roster;
  assert_int_equal(weft__roster_new(&roster, &mem, crypto, &space), WEFT_OK);
  assert_int_equal(weft_roster_space_name(roster).len, 0);
  assert_int_equal(weft__roster_add(roster, weft_buf_view(&b), NULL), WEFT_OK);
  assert_int_equal(weft_bytes_cmp(weft_roster_space_name(roster), names.space), 0);
  assert_false(weft_roster_frozen(roster));
  const weft_roster_member *members;
  size_t count;
  weft_roster_members(roster, &members, &count);
  assert_int_equal(count, 1);
  assert_int_equal(members[0].role, WEFT_ROLE_ADMIN);
  assert_int_equal(weft_bytes_cmp(members[0].name, names.device), 0);
  assert_ptr_equal(weft_roster_member_of(roster, &me.device), members);
  assert_null(weft_roster_member_of(roster, &other.device));
  weft__roster_free(roster);

  /* Another nonce is another space; a name that cannot be printed is none. */
  nonce[0] = 10;
  assert_int_equal(weft_space_genesis(&b, crypto, &me, &names, nonce, &again), WEFT_OK);
  assert_int_not_equal(weft_id_cmp(&space, &again), 0);
  names.space = weft_bytes_str("ho\nme");
  assert_int_equal(weft_space_genesis(&b, crypto, &me, &names, nonce, &again), WEFT_EMISUSE);
  weft_buf_free(&b);

  uint8_t epoch[WEFT_EPOCH_ID_LEN];
  weft_epoch_id(epoch, &space);
  assert_memory_equal(epoch, space.b, sizeof epoch);
}

static void tickets(void **state) {
  (void)state;
  const weft_crypto *crypto = weft_crypto_sodium();
  weft_ticket ticket = {.role = WEFT_ROLE_READER, .expires = WEFT_NEVER}, read, zeros;
  ticket.seed.b[0] = 5;
  char text[WEFT_TICKET_LEN_MAX + 1];
  assert_int_equal(weft_ticket_encode(text, crypto, &ticket), WEFT_OK);
  assert_int_equal(weft_ticket_parse(&read, crypto, weft_bytes_str(text), NULL), WEFT_OK);
  assert_memory_equal(read.seed.b, ticket.seed.b, sizeof read.seed.b);
  assert_int_equal(read.role, WEFT_ROLE_READER);

  weft_ticket_keys ours, theirs, none;
  weft_ticket_keys_derive(&ours, crypto, &ticket.seed);
  weft_ticket_keys_derive(&theirs, crypto, &read.seed);
  assert_int_equal(weft_id_cmp(&ours.invite, &theirs.invite), 0);
  memset(&none, 0, sizeof none);
  memset(&zeros, 0, sizeof zeros);
  weft_ticket_keys_wipe(&ours, crypto);
  assert_memory_equal(&ours, &none, sizeof none);
  weft_ticket_wipe(&read, crypto);
  assert_memory_equal(&read, &zeros, sizeof zeros);

  weft_ticket_error why;
  text[10] = text[10] == 'a' ? 'b' : 'a';
  assert_int_equal(weft_ticket_parse(&read, crypto, weft_bytes_str(text), &why), WEFT_EMALFORMED);
  assert_non_null(why.text);
  ticket.role = (weft_role)9;
  assert_int_equal(weft_ticket_encode(text, crypto, &ticket), WEFT_EMISUSE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(memory),
      cmocka_unit_test(vectors),
      cmocka_unit_test(spaces),
      cmocka_unit_test(tickets),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

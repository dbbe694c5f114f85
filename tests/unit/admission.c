/* Who is let in on an invite, and who is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "store/admission.h"
#include "tests/support/pace.h"
#include "tests/support/space.h"
#include "tests/support/stand_in_crypto.h"

enum { wall = 1750000000 };

typedef struct fixture {
  test_space s, strangers;
  weft_replica *r;
  weft_key seed;
  weft_invite_terms terms;
  weft_redeem redeem;
} fixture;

static weft_redeem redeem_of(fixture *f, size_t stranger) {
  weft_redeem redeem;
  weft__redeem_sign(&redeem, f->s.crypto, &f->strangers.devices[stranger], &f->seed, &f->s.id);
  return redeem;
}

static void set_up_with(fixture *f, const weft_crypto *crypto) {
  memset(f, 0, sizeof *f);
  test_space_make_with(&f->s, 2, 1, crypto);
  test_space_make(&f->strangers, 3, 2);
  f->r = test_space_memory(&f->s, 0);
  memset(f->seed.b, 7, sizeof f->seed.b);
  f->redeem = redeem_of(f, 0);
  f->terms.invite = f->redeem.invite;
  f->terms.role = WEFT_ROLE_WRITER;
  f->terms.uses = 1;
  f->terms.expires_ms = UINT64_MAX;
}

static void set_up(fixture *f) { set_up_with(f, weft_crypto_sodium()); }

static void tear_down(fixture *f) { weft_replica_free(f->r); }

static weft_err admit(fixture *f, size_t issuer, const weft_redeem *redeem, const char *name,
                      uint16_t *refuse) {
  return weft_replica_admit(f->r, f->s.crypto, &f->s.devices[issuer], &f->terms, redeem,
                            weft_bytes_str(name), wall, refuse);
}

static size_t records(const fixture *f) { return weft__roster_count(weft_replica_roster(f->r)); }

static void a_device_is_let_in_once(void **state) {
  (void)state;
  fixture f;
  uint16_t refuse = 1;
  set_up(&f);
  size_t before = records(&f);
  assert_int_equal(admit(&f, 0, &f.redeem, "phone", &refuse), WEFT_OK);
  assert_int_equal(refuse, 0);
  assert_int_equal(records(&f), before + 1);
  const weft_roster_member *m = weft__roster_member_of(weft_replica_roster(f.r), &f.redeem.device);
  assert_non_null(m);
  assert_int_equal(m->role, WEFT_ROLE_WRITER);
  /* An answer that was lost is given again; another device gets nothing. */
  assert_int_equal(admit(&f, 0, &f.redeem, "phone", &refuse), WEFT_OK);
  assert_int_equal(records(&f), before + 1);
  weft_redeem other = redeem_of(&f, 1);
  assert_int_equal(admit(&f, 0, &other, "tablet", &refuse), WEFT_EDENIED);
  assert_int_equal(refuse, WEFT_REFUSE_USED);
  f.terms.uses = 2;
  assert_int_equal(admit(&f, 0, &other, "tablet", &refuse), WEFT_OK);
  assert_int_equal(records(&f), before + 2);
  tear_down(&f);
}

static void who_is_refused(void **state) {
  (void)state;
  fixture f;
  uint16_t refuse;
  set_up(&f);
  size_t before = records(&f);
  assert_int_equal(admit(&f, 0, &f.redeem, "a\nb", &refuse), WEFT_EBADNAME);
  assert_int_equal(admit(&f, 0, &f.redeem, "alice\u202e", &refuse), WEFT_EBADNAME);
  assert_int_equal(admit(&f, 1, &f.redeem, "phone", &refuse), WEFT_EDENIED);
  assert_int_equal(refuse, WEFT_REFUSE_REVOKED); /* device 1 is no admin */
  weft_redeem forged = f.redeem;
  forged.by_device.b[3] ^= 1;
  assert_int_equal(admit(&f, 0, &forged, "phone", &refuse), WEFT_EBADSIG);
  f.terms.invite.b[0] ^= 1;
  assert_int_equal(admit(&f, 0, &f.redeem, "phone", &refuse), WEFT_EDENIED);
  assert_int_equal(refuse, WEFT_REFUSE_UNKNOWN);
  f.terms.invite = f.redeem.invite;
  f.terms.expires_ms = wall;
  assert_int_equal(admit(&f, 0, &f.redeem, "phone", &refuse), WEFT_EDENIED);
  assert_int_equal(refuse, WEFT_REFUSE_EXPIRED);
  assert_int_equal(records(&f), before);
  tear_down(&f);
}

/* The clock of the machine may be set back; what this device has written tells better. */
static void the_later_clock_counts(void **state) {
  (void)state;
  fixture f;
  uint16_t refuse;
  set_up(&f);
  assert_int_equal(test_set(f.r, "t/a", "/x", "1"), WEFT_OK);
  f.terms.expires_ms = weft_replica_clock(f.r) >> 16;
  assert_true(f.terms.expires_ms > wall);
  assert_int_equal(admit(&f, 0, &f.redeem, "phone", &refuse), WEFT_EDENIED);
  assert_int_equal(refuse, WEFT_REFUSE_EXPIRED);
  f.terms.expires_ms++;
  assert_int_equal(admit(&f, 0, &f.redeem, "phone", &refuse), WEFT_OK);
  tear_down(&f);
}

static void a_frozen_space_admits_nobody(void **state) {
  (void)state;
  fixture f;
  uint16_t refuse;
  weft_buf raw;
  weft_id id;
  weft_alloc mem = weft_alloc_libc();
  set_up(&f);
  weft_record unknown = {
      .kind = 99, .flags = WEFT_RECORD_CRITICAL, .space = f.s.id, .dep_count = 1};
  unknown.deps[0] = f.s.id;
  weft__buf_init(&raw, &mem, SIZE_MAX);
  assert_int_equal(weft__record_sign(&raw, f.s.crypto, &f.s.devices[0], &unknown, &id), WEFT_OK);
  assert_int_equal(weft_replica_add_record(f.r, weft__buf_view(&raw)), WEFT_OK);
  weft__buf_free(&raw);
  size_t before = records(&f);
  assert_int_equal(admit(&f, 0, &f.redeem, "phone", &refuse), WEFT_EFROZEN);
  assert_int_equal(records(&f), before);
  tear_down(&f);
}

/* A record of a kind that is not known yet, behind another one; gives its id. */
static weft_id add_unknown(fixture *f, size_t author, const weft_id *after, unsigned number) {
  weft_buf raw;
  weft_id id;
  weft_alloc mem = weft_alloc_libc();
  weft_record unknown = {.kind = (uint8_t)(100 + number), .space = f->s.id, .dep_count = 1};
  unknown.deps[0] = *after;
  weft__buf_init(&raw, &mem, SIZE_MAX);
  assert_int_equal(weft__record_sign(&raw, f->s.crypto, &f->s.devices[author], &unknown, &id),
                   WEFT_OK);
  assert_int_equal(weft_replica_add_record(f->r, weft__buf_view(&raw)), WEFT_OK);
  weft__buf_free(&raw);
  return id;
}

/* A member may write more records than another one can name; an admin still lets devices in. */
static void many_heads_keep_nobody_out(void **state) {
  (void)state;
  fixture f;
  uint16_t refuse;
  set_up(&f);
  f.terms.role = WEFT_ROLE_ADMIN;
  f.terms.uses = 9;
  assert_int_equal(admit(&f, 0, &f.redeem, "second", &refuse), WEFT_OK);
  for (unsigned i = 0; i < 6 * WEFT_RECORD_DEPS_MAX; i++) (void)add_unknown(&f, 1, &f.s.id, i);
  weft_redeem phone = redeem_of(&f, 1);
  assert_int_equal(weft_replica_admit(f.r, f.s.crypto, &f.strangers.devices[0], &f.terms, &phone,
                                      weft_bytes_str("phone"), wall, &refuse),
                   WEFT_OK);
  assert_non_null(weft__roster_member_of(weft_replica_roster(f.r), &phone.device));
  tear_down(&f);
}

/* Where no record can be added any more, who wants in is told so. */
static void a_full_space_says_so(void **state) {
  (void)state;
  fixture f;
  uint16_t refuse;
  weft_crypto quick;
  test_stand_in_crypto(&quick);
  set_up_with(&f, &quick);
  weft_id last = f.s.id;
  if (test_under_valgrind()) skip();
  while (records(&f) < WEFT_ROSTER_RECORDS_MAX) last = add_unknown(&f, 0, &last, 0);
  assert_int_equal(admit(&f, 0, &f.redeem, "phone", &refuse), WEFT_EDENIED);
  assert_int_equal(refuse, WEFT_REFUSE_FULL);
  tear_down(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_device_is_let_in_once),    cmocka_unit_test(who_is_refused),
      cmocka_unit_test(the_later_clock_counts),     cmocka_unit_test(a_frozen_space_admits_nobody),
      cmocka_unit_test(many_heads_keep_nobody_out), cmocka_unit_test(a_full_space_says_so),
  };
  return cmocka_run_group_tests_name("admission", tests, NULL, NULL);
}

#include "store/admission.h"

#include <string.h>

#include "crdt/canary.h"

/* Counts the devices `invite` has let in; `before` tells whether `device` is one of them. */
static weft_err count_uses(const weft_roster *roster, const weft_crypto *crypto,
                           const weft_id *invite, const weft_id *device, uint32_t *uses,
                           bool *before) {
  *uses = 0;
  *before = false;
  for (size_t i = 0; i < weft__roster_count(roster); i++) {
    weft_record record;
    WEFT_TRY(weft__record_parse(&record, crypto, weft__roster_record_at(roster, i)));
    if (record.state != WEFT_RECORD_VALID || record.kind != WEFT_RECORD_ADMIT) continue;
    if (weft_id_cmp(&record.admit.redeem.invite, invite) != 0) continue;
    (*uses)++;
    if (weft_id_cmp(&record.admit.redeem.device, device) == 0) *before = true;
  }
  return WEFT_OK;
}

static weft_err deny(uint16_t code, uint16_t *refuse) {
  *refuse = code;
  return WEFT_EDENIED;
}

/* Names what the record has to come after: all heads, or where these are too many the first of
 * them, and the grant of its author, which a head that is left out may be all to lead to. */
static void name_deps(const weft_roster *roster, const weft_roster_member *author,
                      weft_record *record) {
  const weft_id *heads;
  size_t count;
  weft__roster_heads(roster, &heads, &count);
  record->dep_count = count < WEFT_RECORD_DEPS_MAX ? count : WEFT_RECORD_DEPS_MAX;
  memcpy(record->deps, heads, record->dep_count * sizeof heads[0]);
  if (count > WEFT_RECORD_DEPS_MAX) record->deps[WEFT_RECORD_DEPS_MAX - 1] = author->grant;
}

static weft_err write_admit(weft_replica *r, const weft_crypto *crypto, const weft_identity *issuer,
                            const weft_roster_member *author, const weft_record *admit) {
  weft_alloc mem = weft_alloc_libc();
  weft_buf out;
  weft__buf_init(&out, &mem, WEFT_RECORD_LEN_MAX);
  weft_record record = *admit;
  name_deps(weft_replica_roster(r), author, &record);
  record.space = *weft_replica_space(r);
  weft_id id;
  weft_err err = weft__record_sign(&out, crypto, issuer, &record, &id);
  if (err == WEFT_OK) err = weft_replica_add_record(r, weft__buf_view(&out));
  weft__buf_free(&out);
  return err;
}

weft_err weft_replica_admit(weft_replica *r, const weft_crypto *crypto, const weft_identity *issuer,
                            const weft_invite_terms *terms, const weft_redeem *redeem,
                            weft_bytes name, weft_ms wall, uint16_t *refuse) {
  *refuse = 0;
  const weft_id *space = weft_replica_space(r);
  const weft_roster *roster = weft_replica_roster(r);
  WEFT_TRY(weft__redeem_check(redeem, crypto, space));
  if (weft_id_cmp(&redeem->invite, &terms->invite) != 0) return deny(WEFT_REFUSE_UNKNOWN, refuse);
  if (!weft__name_ok(name, WEFT_DEVICE_NAME_LEN_MAX)) return WEFT_EBADNAME;
  const weft_roster_member *me = weft__roster_member_of(roster, &issuer->device);
  if (weft__roster_frozen(roster)) return WEFT_EFROZEN;
  if (!me || me->role != WEFT_ROLE_ADMIN) return deny(WEFT_REFUSE_REVOKED, refuse);
  uint32_t uses;
  bool before;
  WEFT_TRY(count_uses(roster, crypto, &terms->invite, &redeem->device, &uses, &before));
  if (before) return WEFT_OK;
  if (uses >= terms->uses) return deny(WEFT_REFUSE_USED, refuse);
  weft_ms clock = weft_replica_clock(r) >> 16;
  bool late = (clock > wall ? clock : wall) >= terms->expires_ms && !WEFT_CANARY(TICKET_EVER);
  if (late) return deny(WEFT_REFUSE_EXPIRED, refuse);
  weft_record record = {.kind = WEFT_RECORD_ADMIT, .flags = WEFT_RECORD_CRITICAL};
  record.admit.redeem = *redeem;
  record.admit.role = terms->role;
  record.admit.name = name;
  weft_err err = write_admit(r, crypto, issuer, me, &record);
  return err == WEFT_ELIMIT ? deny(WEFT_REFUSE_FULL, refuse) : err;
}

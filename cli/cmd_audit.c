/* audit: every membership record and every change, with what proves them.
 *
 * With --raw the lines carry the canonical bytes and signatures, so that the whole export can be
 * verified without weft: docs/examples/verify_log.py. */
#include <string.h>

#include "cli/run.h"
#include "cli/version.h"
#include "store/history.h"

static const char *record_kind(uint8_t kind) {
  switch (kind) {
  case WEFT_RECORD_GENESIS: return "genesis";
  case WEFT_RECORD_INVITE: return "invite";
  case WEFT_RECORD_INVITE_VOID: return "invite-void";
  case WEFT_RECORD_ADMIT: return "admit";
  case WEFT_RECORD_ROLE: return "role";
  case WEFT_RECORD_REVOKE: return "revoke";
  case WEFT_RECORD_RETIRE: return "retire";
  case WEFT_RECORD_REKEY: return "rekey";
  case WEFT_RECORD_POLICY: return "policy";
  case WEFT_RECORD_FLOOR: return "floor";
  case WEFT_RECORD_FORK: return "fork";
  case WEFT_RECORD_COMPACT: return "compact";
  default: return "unknown";
  }
}

static void put_raw(cli_obj *o, const char *key, weft_bytes bytes) {
  char *hex = weft__arena_take(o->arena, 2 * bytes.len + 1);
  if (!hex) {
    o->failed = true;
    return;
  }
  cli_hex(hex, bytes.at, bytes.len);
  cli_obj_bytes(o, key, weft_bytes_str(hex));
}

static void put_author(const cli_call *c, cli_obj *o, const weft_id *device) {
  char scratch[17];
  weft_bytes copy, name = cli_device_name(c->space, device, scratch);
  cli_obj_hex(o, "device", device->b, sizeof device->b);
  if (weft__arena_copy(o->arena, name, &copy) == WEFT_OK) cli_obj_bytes(o, "name", copy);
}

static weft_value record_line(cli_call *c, weft_arena *arena, weft_bytes raw) {
  weft_record record;
  const weft_crypto *crypto = weft_crypto_sodium();
  cli_obj o = cli_obj_begin(arena);
  cli_obj_text(&o, "kind", "record");
  if (weft__record_parse(&record, crypto, raw) == WEFT_OK) {
    cli_obj_hex(&o, "record", record.id.b, sizeof record.id.b);
    cli_obj_text(&o, "says", record_kind(record.kind));
    put_author(c, &o, &record.author);
    if (record.state == WEFT_RECORD_VALID && record.kind == WEFT_RECORD_ADMIT)
      cli_obj_hex(&o, "admits", record.admit.redeem.device.b, sizeof(weft_id));
    bool ok = weft__record_verify(&record, crypto) == WEFT_OK;
    cli_obj_text(&o, "signature", ok ? "valid" : "invalid");
  }
  if (cli_flag(c, "raw")) put_raw(&o, "raw", raw);
  return cli_obj_end(&o);
}

static int emit_records(cli_call *c) {
  weft_id *ids;
  size_t count;
  weft_replica *r = c->space->replica;
  weft_err err = weft_replica_records(r, c->arena, &ids, &count);
  for (size_t i = 0; i < count && err == WEFT_OK; i++) {
    weft_bytes raw;
    err = weft_replica_record(r, c->arena, &ids[i], &raw);
    if (err != WEFT_OK) break;
    weft_value line = record_line(c, c->arena, raw);
    cli_emit(c, &line);
  }
  return err == WEFT_OK ? CLI_OK : cli_fail_err(c, err, "audit");
}

static const char *state_name(weft_change_state state) {
  switch (state) {
  case WEFT_CHANGE_VALID: return "valid";
  case WEFT_CHANGE_INVALID: return "invalid";
  case WEFT_CHANGE_UNKNOWN: return "needs-upgrade";
  }
  return "?";
}

static weft_value change_line(cli_call *c, weft_arena *arena, const weft_audit_entry *a) {
  const weft_history_entry *e = &a->change;
  cli_obj o = cli_obj_begin(arena);
  bool start = a->state == WEFT_CHANGE_VALID && a->kind == WEFT_CHANGE_START;
  cli_obj_text(&o, "kind", start ? "start" : "change");
  cli_put_change(c, &o, e);
  cli_obj_hex(&o, "log", e->log.b, sizeof e->log.b);
  cli_obj_int(&o, "seq", (int64_t)e->seq);
  if (e->message.len)
    cli_obj_bytes(&o, "message", e->message);
  else
    cli_obj_text(&o, "message", NULL);
  if (start) {
    cli_obj_int(&o, "lane", a->start.lane);
    cli_obj_hex(&o, "grant", a->start.grant.b, sizeof a->start.grant.b);
  } else {
    cli_put_docs(&o, e);
  }
  cli_obj_text(&o, "state", state_name(a->state));
  cli_obj_bool(&o, "shown", a->shown);
  cli_obj_text(&o, "signature", a->proven ? "valid" : "invalid");
  cli_obj_int(&o, "signed_by_seq", (int64_t)a->signed_seq);
  if (cli_flag(c, "raw")) {
    put_raw(&o, "raw", a->raw);
    if (a->is_signed) put_raw(&o, "sig", weft_bytes_of(a->sig.b, sizeof a->sig.b));
  }
  return cli_obj_end(&o);
}

/* Where an audit of changes is. */
typedef struct auditor {
  weft_audit_place place;
  uint64_t since;
  size_t bad;
} auditor;

static weft_err emit_page(cli_call *c, auditor *a, bool *more) {
  weft_arena arena;
  weft_audit_entry *entries;
  size_t count;
  weft__arena_init(&arena, &c->arena->mem);
  weft_err err = weft_replica_audit(c->space->replica, &arena, &a->place, &entries, &count);
  for (size_t i = 0; i < count; i++) {
    a->bad += !entries[i].proven;
    if ((entries[i].change.hlc >> 16) < a->since) continue;
    weft_value line = change_line(c, &arena, &entries[i]);
    cli_emit(c, &line);
  }
  weft__arena_free(&arena);
  *more = err == WEFT_OK && count > 0;
  return err;
}

/* Goes on until all is told, or whoever reads does not keep up. */
static int emit_changes(cli_call *c) {
  auditor *a = c->state;
  weft_err err = WEFT_OK;
  bool more = true;
  c->resume = emit_changes;
  while (err == WEFT_OK && more) {
    cli_pace pace = cli_pace_of(c);
    if (pace == CLI_WAIT) return CLI_PENDING;
    if (pace == CLI_GONE) return CLI_FAILED;
    err = emit_page(c, a, &more);
  }
  if (err != WEFT_OK) return cli_fail_err(c, err, "audit");
  if (a->bad == 0) return CLI_OK;
  return cli_fail(c, CLI_FAILED, "audit: %zu changes are not what was signed: see weft verify",
                  a->bad);
}

int cmd_audit(cli_call *c) {
  weft_bytes text;
  auditor *a = weft__arena_zero(c->arena, 1, sizeof *a);
  if (!a) return cli_fail_err(c, WEFT_ENOMEM, "audit");
  if (cli_option_get(c, "since", &text)) {
    if (cli_flag(c, "raw"))
      return cli_fail(c, CLI_USAGE, "audit: --raw gives whole chains, so it goes without --since");
    if (!cli_time_parse(text, &a->since))
      return cli_fail(c, CLI_USAGE, "--since %.*s: a time such as 2026-01-31T12:00:00Z is wanted",
                      (int)text.len, (const char *)text.at);
  }
  int code = emit_records(c);
  c->state = a;
  return code == CLI_OK ? emit_changes(c) : code;
}

/* presence: who is where now.  It lives in the daemon's node and nowhere else. */
#include <string.h>

#include "cli/fields.h"
#include "cli/network.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/space.h"
#include "crdt/json.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

enum { ttl_ms = 45000, day_ms = 86400000 };

static weft_value row(cli_call *c, const weft_present *here) {
  char scratch[17], seen[32];
  cli_obj o = cli_obj_begin(c->arena);
  weft_bytes name = cli_device_name(c->space, &here->device, scratch), kept;
  bool named = weft__arena_copy(c->arena, name, &kept) == WEFT_OK;
  cli_time_text(seen, cli_wall_ms() - here->age_ms);
  cli_obj_hex(&o, "device", here->device.b, sizeof here->device.b);
  cli_obj_bytes(&o, "name", named ? kept : weft_bytes_of(NULL, 0));
  cli_obj_bool(&o, "self", here->self);
  cli_obj_bytes(&o, "session", here->session);
  if (here->doc.len)
    cli_obj_bytes(&o, "doc", here->doc);
  else
    cli_obj_text(&o, "doc", NULL);
  cli_obj_put(&o, "state", here->state);
  cli_obj_text(&o, "seen", seen);
  cli_obj_int(&o, "age_ms", (int64_t)here->age_ms);
  return cli_obj_end(&o);
}

static int list(cli_call *c, const weft_bytes *doc) {
  weft_present *all;
  size_t count, kept = 0;
  weft_err err = weft_node_presence(weft_uv_node_core(c->runtime->node), c->arena, &all, &count);
  weft_value *rows = err == WEFT_OK ? weft__arena_zero(c->arena, count + 1, sizeof *rows) : NULL;
  if (!rows) return cli_fail_err(c, WEFT_ENOMEM, "presence");
  for (size_t i = 0; i < count; i++) {
    if (!doc || weft_bytes_cmp(all[i].doc, *doc) == 0) rows[kept++] = row(c, &all[i]);
  }
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_put(&o, "sessions", cli_array(rows, kept));
  cli_emit_obj(c, &o);
  return CLI_OK;
}

static int set(cli_call *c, const weft_presence_session *s) {
  weft_err err = weft_uv_node_presence_set(c->runtime->node, s);
  if (err == WEFT_EBADVALUE)
    return cli_fail(c, CLI_USAGE,
                    "--session %.*s: 1 to %u bytes without control characters are wanted",
                    TEXT(s->session), WEFT_PRESENCE_SESSION_LEN_MAX);
  if (err == WEFT_ELIMIT)
    return cli_fail(c, CLI_FAILED,
                    "a state has at most %u bytes and 32 levels, a device %u sessions and %u bytes "
                    "of them; nothing changed",
                    WEFT_PRESENCE_STATE_LEN_MAX, WEFT_PRESENCE_SESSIONS_MAX,
                    WEFT_PRESENCE_BODY_LEN_MAX);
  if (err != WEFT_OK) return cli_fail_err(c, err, "presence");
  return list(c, &s->doc);
}

static int leave(cli_call *c, const weft_presence_session *s) {
  weft_err err = weft_uv_node_presence_leave(c->runtime->node, s->session, s->doc);
  if (err == WEFT_ENOTFOUND)
    return cli_fail(c, CLI_NOT_FOUND, "session %.*s is not %s%.*s", TEXT(s->session),
                    s->doc.len ? "at " : "here", TEXT(s->doc));
  if (err != WEFT_OK) return cli_fail_err(c, err, "presence");
  return list(c, &s->doc);
}

int cmd_presence(cli_call *c) {
  weft_bytes text, doc = weft_bytes_of("", 0);
  weft_presence_session s = {.session = weft_bytes_str("cli")};
  weft_value state;
  weft_json_error why;
  uint64_t ms;
  bool leaves = cli_flag(c, "leave"), sets = cli_option_get(c, "set", &text);
  if (sets && weft_json_parse(c->arena, text, &state, &why) != WEFT_OK)
    return cli_fail(c, CLI_USAGE, "--set: not JSON: %s", why.text);
  if (sets && leaves) return cli_fail(c, CLI_USAGE, "--set and --leave exclude each other");
  int code = c->args.arg_count ? cli_doc_arg(c, 0, &doc) : CLI_OK;
  if (code == CLI_OK) code = cli_duration_option(c, "for", ttl_ms, &ms);
  if (code != CLI_OK) return code;
  if (ms == 0 || ms > day_ms)
    return cli_fail(c, CLI_USAGE, "--for: more than nothing and at most 1d is wanted");
  (void)cli_option_get(c, "session", &s.session);
  s.doc = doc;
  s.state = &state;
  s.ttl_ms = (uint32_t)ms;
  if (leaves) return leave(c, &s);
  return sets ? set(c, &s) : list(c, c->args.arg_count ? &doc : NULL);
}

/* pause and resume: a change goes into the file, and to the node that is running. */
#include "cli/fields.h"
#include "cli/network.h"
#include "cli/pauses.h"
#include "cli/run.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

static int pause_or_resume(cli_call *c, bool pause) {
  weft_id one;
  const weft_id *device = c->args.arg_count ? &one : NULL;
  if (device && cli_device_find(c->space, c->args.args[0], &one) != WEFT_OK)
    return cli_fail(c, CLI_NOT_FOUND, "%.*s: no such device, or more than one; see weft members",
                    TEXT(c->args.args[0]));
  cli_pauses *p = weft__arena_zero(c->arena, 1, sizeof *p);
  weft_err err = p ? cli_pauses_read(c, p) : WEFT_ENOMEM;
  if (err == WEFT_OK && !pause && device && p->all)
    return cli_fail(c, CLI_FAILED, "everything is paused: weft resume, then pause who is to stay");
  if (err == WEFT_OK) err = cli_pauses_change(p, device, pause);
  if (err == WEFT_OK) err = cli_pauses_write(c, p);
  weft_uv_node *node = c->runtime ? c->runtime->node : NULL;
  if (err == WEFT_OK && node && pause) err = weft_uv_node_pause(node, device);
  if (err == WEFT_OK && node && !pause) weft_uv_node_resume(node, device);
  if (err != WEFT_OK) return cli_fail_err(c, err, "%s/paused", cli_home_dir(c->home));
  char scratch[17];
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_bool(&o, "paused", pause);
  cli_obj_bytes(&o, "peer",
                device ? cli_device_name(c->space, device, scratch) : weft_bytes_str("all"));
  cli_emit_obj(c, &o);
  return CLI_OK;
}

int cmd_pause(cli_call *c) { return pause_or_resume(c, true); }

int cmd_resume(cli_call *c) { return pause_or_resume(c, false); }

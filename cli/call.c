/* What commands use to read their arguments and to answer. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/record.h"

int cli_fail(cli_call *call, int code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(call->error, sizeof call->error, format, args);
  va_end(args);
  cli_text_mend(call->error, strlen(call->error));
  return code;
}

static int exit_of(weft_err err) {
  switch ((int)err) {
  case WEFT_OK: return CLI_OK;
  case WEFT_ENOTFOUND: return CLI_NOT_FOUND;
  case WEFT_EBADNAME:
  case WEFT_EBADPATH: return CLI_USAGE;
  case WEFT_EDENIED:
  case WEFT_EAUTH:
  case WEFT_EUNKNOWN: return CLI_DENIED;
  case WEFT_ETIMEOUT: return CLI_TIMEOUT;
  default: return CLI_FAILED;
  }
}

/* What to do about an error, where there is something to do. */
static const char *advice(weft_err err) {
  switch ((int)err) {
  case WEFT_EIO: return "; look at the disk and the kernel's messages";
  case WEFT_EFULL: return "; free some space, then try again";
  case WEFT_ECORRUPT: return "; run weft verify, then weft repair";
  case WEFT_EVERSION: return "; upgrade weft";
  case WEFT_ECONFLICT: return ": weft conflicts lists it, weft resolve settles it";
  case WEFT_ESTALE: return "; read it again, then write";
  case WEFT_EFROZEN: return "; upgrade weft";
  case WEFT_ELOCKED: return "; stop the other weft, or let it answer through its control socket";
  case WEFT_EREADONLY: return "; check the permissions of the folder";
  default: return "";
  }
}

int cli_fail_err(cli_call *call, weft_err err, const char *format, ...) {
  char subject[300];
  va_list args;
  va_start(args, format);
  vsnprintf(subject, sizeof subject, format, args);
  va_end(args);
  return cli_fail(call, exit_of(err), "%s: %s%s", subject, weft_err_str(err), advice(err));
}

void cli_call_end(cli_call *call, int code) { call->ended(call, code); }

bool cli_option_at(const cli_call *call, const char *name, size_t i, weft_bytes *value) {
  for (size_t at = 0; at < call->args.option_count; at++) {
    const cli_option_value *o = &call->args.options[at];
    if (strcmp(o->option->name, name) != 0) continue;
    if (i-- > 0) continue;
    *value = o->value;
    return true;
  }
  return false;
}

bool cli_option_get(const cli_call *call, const char *name, weft_bytes *value) {
  bool found = false;
  for (size_t i = 0; cli_option_at(call, name, i, value); i++) found = true;
  return found;
}

bool cli_flag(const cli_call *call, const char *name) {
  weft_bytes value;
  return cli_option_get(call, name, &value);
}

cli_where cli_call_where(const cli_call *call) {
  cli_where where = call->args.command->where;
  if (where != CLI_BESIDE) return where;
  return cli_flag(call, "quick") ? CLI_STORE : CLI_LOCAL;
}

bool cli_option_number(cli_call *call, const char *name, uint64_t lo, uint64_t hi,
                       uint64_t fallback, uint64_t *value) {
  weft_bytes text;
  *value = fallback;
  if (!cli_option_get(call, name, &text)) return true;
  uint64_t n = 0;
  bool ok = text.len > 0 && text.len < 19;
  for (size_t i = 0; ok && i < text.len; i++) {
    ok = text.at[i] >= '0' && text.at[i] <= '9';
    n = n * 10 + (uint64_t)(text.at[i] - '0');
  }
  *value = n;
  if (ok && n >= lo && n <= hi) return true;
  cli_fail(call, CLI_USAGE, "--%s %.*s: a whole number from %llu to %llu is wanted", name,
           (int)text.len, (const char *)text.at, (unsigned long long)lo, (unsigned long long)hi);
  return false;
}

void cli_emit(cli_call *call, const weft_value *record) {
  call->sink.record(call->sink.ctx, record);
}

void cli_emit_obj(cli_call *call, cli_obj *o) {
  weft_value record = cli_obj_end(o);
  cli_emit(call, &record);
}

void cli_progress(cli_call *call, const char *what, uint64_t done, uint64_t total) {
  if (call->sink.progress) call->sink.progress(call->sink.ctx, weft_bytes_str(what), done, total);
}

cli_pace cli_pace_of(const cli_call *call) {
  return call->sink.pace ? call->sink.pace(call->sink.ctx) : CLI_GO;
}

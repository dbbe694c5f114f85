/* Where a command runs.
 *
 * A command on the store goes to the daemon when one answers on the control socket; otherwise the
 * store is opened here, and its lock keeps a second writer out.  Both run the same function of the
 * table. */
#include "cli/runtime.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/control.h"
#include "cli/files.h"
#include "cli/network.h"
#include "cli/parse.h"
#include "cli/record.h"

enum { input_max = WEFT_JSON_LEN_MAX };

/* Another command that has the store is mostly done at once: it is waited for, 3 s in all (guess).
 */
enum { lock_turns = 150, lock_pause_ns = 20 * 1000 * 1000 };

int cli_input(cli_call *c) {
  const cli_command *command = c->args.command;
  if (command->input_arg < 0 || (size_t)command->input_arg >= c->args.arg_count) return CLI_OK;
  weft_bytes name = c->args.args[command->input_arg];
  char path[CLI_PATH_MAX];
  int len = snprintf(path, sizeof path, "%.*s", (int)name.len, (const char *)name.at);
  if (len < 0 || (size_t)len >= sizeof path)
    return cli_fail(c, CLI_USAGE, "the file name is too long");
  weft_err err = strcmp(path, "-") == 0
                     ? cli_stream_read(c->arena, STDIN_FILENO, input_max, &c->args.input)
                     : cli_file_read(c->arena, path, input_max, false, false, &c->args.input);
  if (err == WEFT_ENOSTORE) return cli_fail(c, CLI_FAILED, "no file %s", path);
  if (err == WEFT_ELIMIT)
    return cli_fail(c, CLI_FAILED, "%s is over %u MiB: split it", path, input_max >> 20);
  if (err == WEFT_EIO || err == WEFT_EREADONLY)
    return cli_fail(c, CLI_FAILED, "%s cannot be read: is it a file, and yours to read?", path);
  if (err != WEFT_OK) return cli_fail_err(c, err, "%s", path);
  c->args.has_input = true;
  return CLI_OK;
}

/* --- in this process -----------------------------------------------------------------------------
 */

/* The end of a call that had to wait for the network: stops the loop. */
typedef struct local_end {
  bool ended;
  int code;
} local_end;

static void local_ended(cli_call *c, int code) {
  local_end *end = c->ended_ctx;
  end->ended = true;
  end->code = code;
}

static int run_here(cli_call *c) {
  local_end end = {false, CLI_FAILED};
  c->ended = local_ended;
  c->ended_ctx = &end;
  int code = c->args.command->run(c);
  if (code != CLI_PENDING) return code;
  while (!end.ended && cli_network_turn(c)) continue;
  if (!end.ended) return cli_fail(c, CLI_FAILED, "%s ended early", c->args.command->name);
  return end.code;
}

/* Through the daemon when one answers; CLI_NO_DAEMON, with no error set, when none does. */
static int run_there(cli_call *c) {
  cli_remote remote;
  int code = cli_remote_open(c, cli_home_dir(c->home), &remote);
  if (code != CLI_OK) return code;
  code = cli_remote_run(c, &remote);
  cli_remote_close(&remote);
  return code;
}

/* The daemon may stand in another folder: it is told the whole name of a file it is to write. */
static void whole_name(cli_call *c, weft_bytes *name) {
  char here[CLI_PATH_MAX];
  if (name->len == 0 || name->at[0] == '/' || !getcwd(here, sizeof here)) return;
  size_t len = strlen(here);
  char *whole = weft__arena_take(c->arena, len + name->len + 1);
  if (!whole) return;
  memcpy(whole, here, len);
  whole[len] = '/';
  memcpy(whole + len + 1, name->at, name->len);
  *name = weft_bytes_of((const uint8_t *)whole, len + name->len + 1);
}

static int run_on_store(cli_call *c) {
  bool writes = c->args.command == cli_command_find("pending") && c->args.arg_count == 2;
  if (writes) whole_name(c, &c->args.args[1]);

  int code = run_there(c);
  if (code != CLI_NO_DAEMON || c->error[0]) return code;
  if (c->args.command->where == CLI_DAEMON)
    return cli_fail(c, CLI_NO_DAEMON, "%s needs the daemon: start weft serve on %s",
                    c->args.command->name, cli_home_dir(c->home));
  code = cli_home_load(c, c->home);
  if (code != CLI_OK) return code;
  for (unsigned turn = 0;; turn++) {
    code = cli_space_open(c, c->home, c->front->space, &c->space);
    if (code == CLI_OK) return run_here(c);
    if (!c->locked || turn == lock_turns) return code;
    c->locked = false;
    c->error[0] = 0;
    nanosleep(&(struct timespec){0, lock_pause_ns}, NULL);
    code = run_there(c); /* who has it may be a daemon that begins to listen */
    if (code != CLI_NO_DAEMON || c->error[0]) return code;
  }
}

/* Whether a daemon answers in the directory: it keeps the store for as long as it likes. */
static bool daemon_answers(cli_call *c) {
  cli_remote remote;
  if (cli_remote_open(c, cli_home_dir(c->home), &remote) != CLI_OK) return false;
  cli_remote_close(&remote);
  return true;
}

int cli_space_take(cli_call *c) {
  for (unsigned turn = 0;; turn++) {
    int code = cli_space_open(c, c->home, c->front->space, &c->space);
    if (code == CLI_OK || !c->locked || turn == lock_turns || daemon_answers(c)) return code;
    c->locked = false;
    c->error[0] = 0;
    nanosleep(&(struct timespec){0, lock_pause_ns}, NULL);
  }
}

int cli_run(cli_call *c) {
  cli_where where = cli_call_where(c);
  if (where == CLI_FRONT) return c->args.command->run(c);
  c->home = cli_home_new(c->front->dir);
  if (!c->home) return cli_fail_err(c, WEFT_ENOMEM, "weft");
  int code = where == CLI_LOCAL ? run_here(c) : run_on_store(c);
  cli_network_stop(c);
  cli_space_free(c->space);
  c->space = NULL;
  cli_home_free(c->home);
  c->home = NULL;
  return code;
}

int cli_invoke(cli_call *c, const char *const *words, int count, const cli_sink *sink) {
  const char *argv[16] = {"weft"};
  if (count > 14) return cli_fail(c, CLI_FAILED, "too many words");
  for (int i = 0; i < count; i++) {
    if (!words[i]) return cli_fail_err(c, WEFT_ENOMEM, "weft");
    argv[i + 1] = words[i];
  }
  cli_call inner;
  memset(&inner, 0, sizeof inner);
  cli_globals globals;
  inner.arena = c->arena;
  inner.front = c->front;
  inner.sink = *sink;
  int code = cli_parse(count + 1, (char **)(uintptr_t)argv, c->arena, &globals, &inner.args,
                       inner.error, sizeof inner.error);
  if (code == CLI_OK) code = cli_input(&inner);
  if (code == CLI_OK) code = cli_run(&inner);
  if (code != CLI_OK) memcpy(c->error, inner.error, sizeof c->error);
  return code;
}

/* A record, encoded: it must outlive the call that emitted it. */
typedef struct keep {
  weft_arena *arena;
  weft_bytes bytes;
  weft_err err;
} keep;

static void keep_record(void *ctx, const weft_value *record) {
  keep *k = ctx;
  weft_buf b;
  weft__buf_init(&b, &k->arena->mem, SIZE_MAX);
  weft__value_encode(&b, record);
  k->err = weft__buf_err(&b);
  if (k->err == WEFT_OK) k->err = weft__arena_copy(k->arena, weft__buf_view(&b), &k->bytes);
  weft__buf_free(&b);
}

int cli_invoke_one(cli_call *c, const char *const *words, int count, weft_value *record) {
  keep kept = {.arena = c->arena};
  cli_sink sink = {&kept, keep_record, NULL, NULL};
  *record = (weft_value){.kind = WEFT_NULL};
  int code = cli_invoke(c, words, count, &sink);
  weft_err err = kept.err;
  if (err == WEFT_OK && kept.bytes.len > 0) err = weft__value_decode(c->arena, kept.bytes, record);
  return err == WEFT_OK ? code : cli_fail_err(c, err, "%s", words[0]);
}

/* --- beside ------------------------------------------------------------------------------------
 */

int cli_beside(cli_call *c) {
  const char *name = c->front->space;
  char id[2 * sizeof(weft_id) + 1];
  int code = cli_home_load(c, c->home);
  if (code == CLI_OK && !name && cli_space_count(c, c->home) > 1) {
    const char *const words[] = {"status"};
    weft_value status;
    code = cli_invoke_one(c, words, 1, &status);
    weft_bytes text = cli_member_text(&status, "space_id");
    snprintf(id, sizeof id, "%.*s", (int)text.len, (const char *)text.at);
    name = id;
  }
  return code == CLI_OK ? cli_space_open_beside(c, c->home, name, &c->space) : code;
}

/* The command's side of the control socket, and what both sides share. */
#define _GNU_SOURCE /* O_PATH, struct ucred */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/control.h"
#include "cli/fields.h"
#include "cli/home.h"
#include "cli/record.h"
#include "cli/runtime.h"

enum { input_piece = 128 << 10 };

/* --- frames --------------------------------------------------------------------------------------
 */

void cli_frame_put(weft_buf *out, const weft_value *value) {
  size_t at = out->len;
  weft__buf_u32(out, 0);
  weft__value_encode(out, value);
  if (weft__buf_err(out) != WEFT_OK) return;
  size_t len = out->len - at - 4;
  for (int i = 0; i < 4; i++) out->at[at + (size_t)i] = (uint8_t)(len >> (24 - 8 * i));
}

weft_err cli_frame_find(weft_bytes in, size_t *len, weft_bytes *body) {
  *len = 0;
  if (in.len < 4) return WEFT_OK;
  weft_rd r = weft__rd(in);
  uint32_t size = weft__rd_u32(&r);
  if (size > CLI_FRAME_LEN_MAX) return WEFT_ELIMIT;
  if (in.len - 4 < size) return WEFT_OK;
  *len = (size_t)size + 4;
  *body = weft_bytes_of(in.at + 4, size);
  return WEFT_OK;
}

static weft_value bytes_value(weft_value_kind kind, weft_bytes bytes) {
  weft_value v = {.kind = kind};
  v.as.bytes = bytes;
  return v;
}

/* A value of bytes has a limit of its own, so a file travels in pieces. */
static weft_value input_value(weft_arena *arena, const cli_args *args) {
  weft_value none = {.kind = WEFT_NULL};
  if (!args->has_input) return none;
  size_t count = args->input.len / input_piece + 1;
  weft_value *pieces = weft__arena_zero(arena, count, sizeof *pieces);
  if (!pieces) return none;
  for (size_t i = 0; i < count; i++) {
    size_t from = i * input_piece, left = args->input.len - from;
    pieces[i] = bytes_value(
        WEFT_BYTES, weft_bytes_of(args->input.at + from, left < input_piece ? left : input_piece));
  }
  return cli_array(pieces, count);
}

static weft_err read_input(weft_arena *arena, const weft_value *input, cli_args *args) {
  if (input->kind == WEFT_NULL) return WEFT_OK;
  if (input->kind != WEFT_ARRAY) return WEFT_EMALFORMED;
  size_t len = 0, at = 0;
  for (size_t i = 0; i < input->as.array.count; i++) {
    if (input->as.array.at[i].kind != WEFT_BYTES) return WEFT_EMALFORMED;
    len += input->as.array.at[i].as.bytes.len;
  }
  uint8_t *whole = weft__arena_take(arena, len + 1);
  if (!whole) return WEFT_ENOMEM;
  for (size_t i = 0; i < input->as.array.count; i++) {
    weft_bytes piece = input->as.array.at[i].as.bytes;
    if (piece.len) memcpy(whole + at, piece.at, piece.len);
    at += piece.len;
  }
  args->has_input = true;
  args->input = weft_bytes_of(whole, len);
  return WEFT_OK;
}

weft_value cli_request(weft_arena *arena, const cli_args *args, const char *space) {
  weft_value none = {.kind = WEFT_NULL};
  weft_value *words = weft__arena_zero(arena, args->arg_count + 1, sizeof *words);
  weft_value *options = weft__arena_zero(arena, args->option_count + 1, sizeof *options);
  weft_value *pairs = weft__arena_zero(arena, 2 * args->option_count + 1, sizeof *pairs);
  weft_value *frame = weft__arena_zero(arena, 3, sizeof *frame);
  if (!words || !options || !pairs || !frame) return none;
  for (size_t i = 0; i < args->arg_count; i++) words[i] = bytes_value(WEFT_BYTES, args->args[i]);
  for (size_t i = 0; i < args->option_count; i++) {
    pairs[2 * i] = bytes_value(WEFT_STRING, weft_bytes_str(args->options[i].option->name));
    pairs[2 * i + 1] = bytes_value(WEFT_BYTES, args->options[i].value);
    options[i] = cli_array(&pairs[2 * i], 2);
  }
  cli_obj o = cli_obj_begin(arena);
  cli_obj_put(&o, "args", cli_array(words, args->arg_count));
  cli_obj_put(&o, "options", cli_array(options, args->option_count));
  cli_obj_put(&o, "input", input_value(arena, args));
  cli_obj_text(&o, "space", space);
  frame[0].kind = WEFT_INT;
  frame[0].as.integer = 1;
  frame[1] = bytes_value(WEFT_STRING, weft_bytes_str(args->command->name));
  frame[2] = cli_obj_end(&o);
  return cli_array(frame, 3);
}

static const cli_option *option_named(const cli_command *command, weft_bytes name) {
  for (const cli_option *o = command->options; o->name; o++)
    if (weft_bytes_cmp(weft_bytes_str(o->name), name) == 0) return o;
  return NULL;
}

static weft_err read_options(weft_arena *arena, const weft_value *list, cli_args *args) {
  if (list->kind != WEFT_ARRAY) return WEFT_EMALFORMED;
  args->options = weft__arena_zero(arena, list->as.array.count + 1, sizeof *args->options);
  if (!args->options) return WEFT_ENOMEM;
  for (size_t i = 0; i < list->as.array.count; i++) {
    const weft_value *pair = &list->as.array.at[i];
    if (pair->kind != WEFT_ARRAY || pair->as.array.count != 2 ||
        pair->as.array.at[0].kind != WEFT_STRING || pair->as.array.at[1].kind != WEFT_BYTES)
      return WEFT_EMALFORMED;
    const cli_option *o = option_named(args->command, pair->as.array.at[0].as.bytes);
    if (!o) return WEFT_EMALFORMED;
    args->options[args->option_count++] = (cli_option_value){o, pair->as.array.at[1].as.bytes};
  }
  return WEFT_OK;
}

weft_err cli_request_read(weft_arena *arena, const weft_value *request, int64_t *id, cli_args *args,
                          weft_bytes *space) {
  memset(args, 0, sizeof *args);
  *id = 0;
  if (request->kind != WEFT_ARRAY || request->as.array.count != 3) return WEFT_EMALFORMED;
  const weft_value *at = request->as.array.at;
  if (at[0].kind != WEFT_INT || at[1].kind != WEFT_STRING) return WEFT_EMALFORMED;
  *id = at[0].as.integer;
  char name[32];
  snprintf(name, sizeof name, "%.*s", (int)at[1].as.bytes.len, (const char *)at[1].as.bytes.at);
  args->command = cli_command_find(name);
  if (!args->command) return WEFT_EVERSION;
  const weft_value *words = cli_member(&at[2], "args");
  if (words->kind != WEFT_ARRAY || words->as.array.count > CLI_ARGS_MAX) return WEFT_EMALFORMED;
  args->args = weft__arena_zero(arena, words->as.array.count + 1, sizeof *args->args);
  if (!args->args) return WEFT_ENOMEM;
  for (size_t i = 0; i < words->as.array.count; i++) {
    if (words->as.array.at[i].kind != WEFT_BYTES) return WEFT_EMALFORMED;
    args->args[args->arg_count++] = words->as.array.at[i].as.bytes;
  }
  const cli_command *c = args->command;
  if ((int)args->arg_count < c->args_min ||
      (c->args_max >= 0 && (int)args->arg_count > c->args_max))
    return WEFT_EMALFORMED;
  WEFT_TRY(read_input(arena, cli_member(&at[2], "input"), args));
  *space = cli_member_text(&at[2], "space");
  return read_options(arena, cli_member(&at[2], "options"), args);
}

/* --- the connection ------------------------------------------------------------------------------
 */

weft_err cli_control_address(const char *dir, struct sockaddr_un *address, int *folder_fd) {
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  *folder_fd = -1;
  int len = snprintf(address->sun_path, sizeof address->sun_path, "%s/control.sock", dir);
  if (len > 0 && (size_t)len < sizeof address->sun_path) return WEFT_OK;
  *folder_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (*folder_fd < 0) return WEFT_ENOSTORE;
  snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/control.sock",
           *folder_fd);
  return WEFT_OK;
}

static bool peer_of(const cli_remote *remote, struct ucred *peer) {
  socklen_t len = sizeof *peer;
  return getsockopt(remote->fd, SOL_SOCKET, SO_PEERCRED, peer, &len) == 0;
}

int cli_remote_process(const cli_remote *remote) {
  struct ucred peer;
  return peer_of(remote, &peer) ? (int)peer.pid : 0;
}

/* Limits, or with 0 frees, how long a call on the socket may last. */
static void set_timeout(int fd, uint64_t ms) {
  struct timeval limit = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static uint64_t timeout_of(void) {
  const char *text = getenv("WEFT_CONTROL_TIMEOUT");
  uint64_t ms;
  bool good = text && cli_duration_parse(weft_bytes_str(text), &ms) && ms > 0;
  return good ? ms : CLI_CONTROL_TIMEOUT_MS;
}

/* Somebody has the socket and says nothing. */
static int fail_silent(cli_call *c, const char *dir, const cli_remote *remote) {
  char who[32] = "what listens there";
  int pid = cli_remote_process(remote);
  if (pid > 0) snprintf(who, sizeof who, "process %d", pid);
  return cli_fail(c, CLI_FAILED,
                  "%s/control.sock: no answer for %g s: %s is busy or hangs: stop it", dir,
                  (double)remote->timeout_ms / 1000, who);
}

int cli_remote_open(cli_call *c, const char *dir, cli_remote *remote) {
  struct sockaddr_un address;
  int folder;
  remote->timeout_ms = timeout_of();
  if (cli_control_address(dir, &address, &folder) != WEFT_OK) return CLI_NO_DAEMON;
  remote->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (remote->fd >= 0) set_timeout(remote->fd, remote->timeout_ms);
  bool ok = remote->fd >= 0 &&
            connect(remote->fd, (const struct sockaddr *)&address, sizeof address) == 0;
  bool silent = !ok && errno == EAGAIN;
  if (folder >= 0) close(folder);
  if (silent) {
    int code = fail_silent(c, dir, remote);
    close(remote->fd);
    return code;
  }
  if (!ok) {
    if (remote->fd >= 0) close(remote->fd);
    return CLI_NO_DAEMON;
  }
  struct ucred peer;
  if (peer_of(remote, &peer) && peer.uid == geteuid()) return CLI_OK;
  close(remote->fd);
  return cli_fail(c, CLI_FAILED, "%s/control.sock belongs to another user: nothing was sent", dir);
}

void cli_remote_close(cli_remote *remote) { close(remote->fd); }

static bool send_all(int fd, weft_bytes bytes) {
  for (size_t at = 0; at < bytes.len;) {
    ssize_t put = send(fd, bytes.at + at, bytes.len - at, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    at += (size_t)put;
  }
  return true;
}

/* Pieces of long texts that wait for their record. */
typedef struct pieces {
  weft_arena arena;
  cli_obj list; /* in order; those of one text follow each other */
} pieces;

static void pieces_add(pieces *p, const weft_value *key, const weft_value *text) {
  weft_member m = {.value = *text};
  if (key->kind != WEFT_STRING || text->kind != WEFT_STRING) return;
  if (weft__arena_copy(&p->arena, key->as.bytes, &m.key) != WEFT_OK ||
      weft__arena_copy(&p->arena, text->as.bytes, &m.value.as.bytes) != WEFT_OK)
    p->list.failed = true;
  cli_obj_add(&p->list, &m);
}

/* Adds to `o` the text that begins with piece `from`; gives the place of the next. */
static size_t pieces_join(const pieces *p, size_t from, cli_obj *o) {
  const weft_member *at = p->list.at;
  size_t end = from, len = 0, done = 0;
  for (; end < p->list.count && weft_bytes_cmp(at[end].key, at[from].key) == 0; end++)
    len += at[end].value.as.bytes.len;
  uint8_t *whole = weft__arena_take(o->arena, len);
  if (!whole) o->failed = true;
  for (size_t i = from; whole && i < end; i++) {
    memcpy(whole + done, at[i].value.as.bytes.at, at[i].value.as.bytes.len);
    done += at[i].value.as.bytes.len;
  }
  weft_member m = {at[from].key, {.kind = WEFT_STRING, .as.bytes = weft_bytes_of(whole, len)}};
  cli_obj_add(o, &m);
  return end;
}

/* Forwards a record together with its long texts. */
static void emit_whole(cli_call *c, pieces *p, weft_arena *arena, const weft_value *record) {
  cli_obj o = cli_obj_begin(arena);
  bool part = p->list.count > 0 && record->kind == WEFT_OBJECT;
  for (size_t i = 0; part && i < record->as.object.count; i++)
    cli_obj_add(&o, &record->as.object.at[i]);
  for (size_t i = 0; part && i < p->list.count;) i = pieces_join(p, i, &o);
  o.failed = o.failed || p->list.failed;
  weft_value whole = part ? cli_obj_end(&o) : *record;
  cli_emit(c, &whole);
  weft__arena_reset(&p->arena);
  p->list = cli_obj_begin(&p->arena);
}

/* Handles one answer; true when it was the last one. */
static bool take_answer(cli_call *c, cli_remote *remote, pieces *p, weft_bytes body, int *code) {
  weft_arena arena;
  weft__arena_init(&arena, &c->arena->mem);
  weft_value v;
  bool last = true;
  *code = cli_fail(c, CLI_FAILED, "the daemon's answer does not parse: are both of one version?");
  if (weft__value_decode(&arena, body, &v) == WEFT_OK && v.kind == WEFT_ARRAY &&
      v.as.array.count >= 3 && v.as.array.at[1].kind == WEFT_STRING) {
    const weft_value *at = v.as.array.at;
    weft_bytes kind = at[1].as.bytes;
    size_t count = v.as.array.count;
    if (weft_bytes_cmp(kind, weft_bytes_str("data")) == 0) {
      emit_whole(c, p, &arena, &at[2]);
      last = false;
    } else if (weft_bytes_cmp(kind, weft_bytes_str("text")) == 0 && count == 4) {
      pieces_add(p, &at[2], &at[3]);
      last = false;
    } else if (weft_bytes_cmp(kind, weft_bytes_str("progress")) == 0 && count == 5) {
      if (c->sink.progress)
        c->sink.progress(c->sink.ctx, at[2].as.bytes, (uint64_t)at[3].as.integer,
                         (uint64_t)at[4].as.integer);
      last = false;
    } else if (weft_bytes_cmp(kind, weft_bytes_str("taken")) == 0) {
      remote->timeout_ms = 0;
      set_timeout(remote->fd, 0);
      last = false;
    } else if (at[2].kind == WEFT_INT) {
      *code = (int)at[2].as.integer;
      c->error[0] = 0;
      if (count > 3 && at[3].kind == WEFT_STRING)
        cli_fail(c, *code, "%.*s", (int)at[3].as.bytes.len, (const char *)at[3].as.bytes.at);
    }
  }
  if (!last) c->error[0] = 0;
  weft__arena_free(&arena);
  return last;
}

int cli_remote_run(cli_call *c, cli_remote *remote) {
  weft_value request = cli_request(c->arena, &c->args, c->front->space);
  weft_buf b;
  weft__buf_init(&b, &c->arena->mem, (size_t)CLI_FRAME_LEN_MAX + 4);
  cli_frame_put(&b, &request);
  weft_err err = weft__buf_err(&b);
  int code = err == WEFT_OK ? CLI_OK : cli_fail_err(c, err, "the request");
  const char *dir = cli_home_dir(c->home);
  if (code == CLI_OK && !send_all(remote->fd, weft__buf_view(&b)))
    code = errno == EAGAIN ? fail_silent(c, dir, remote)
                           : cli_fail(c, CLI_FAILED, "the daemon went away: look at its messages");
  weft__buf_reset(&b);
  bool last = code != CLI_OK;
  pieces p;
  weft__arena_init(&p.arena, &c->arena->mem);
  p.list = cli_obj_begin(&p.arena);
  size_t used = 0; /* answers taken; they leave the buffer before the next read */
  while (!last) {
    size_t len;
    weft_bytes body;
    err = cli_frame_find(weft_bytes_of(b.at + used, b.len - used), &len, &body);
    if (err == WEFT_OK && len) {
      last = take_answer(c, remote, &p, body, &code);
      used += len;
      continue;
    }
    if (used) memmove(b.at, b.at + used, b.len - used);
    b.len -= used;
    used = 0;
    uint8_t piece[1 << 16];
    ssize_t got = err == WEFT_OK ? recv(remote->fd, piece, sizeof piece, 0) : -1;
    if (got < 0 && err == WEFT_OK && errno == EINTR) continue;
    if (got > 0) weft__buf_put_raw(&b, piece, (size_t)got);
    if (got < 0 && err == WEFT_OK && errno == EAGAIN) {
      code = fail_silent(c, dir, remote);
      last = true;
    } else if (got <= 0 || weft__buf_err(&b) != WEFT_OK) {
      code = cli_fail(c, CLI_FAILED, "the daemon ended before it answered: look at its messages");
      last = true;
    }
  }
  weft__buf_free(&b);
  weft__arena_free(&p.arena);
  return code;
}

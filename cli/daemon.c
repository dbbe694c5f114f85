/* The daemon's side of the control socket: requests in, the same functions of the command table,
 * answers out.
 *
 * A connection carries one request at a time, but writes that came in together share a synced
 * transaction: whoever sends requests without waiting for their answers, each of which says that
 * its write is durable, gets them all after one flush of the disk.  A call that waits (sync, wait)
 * may outlive its connection: then it goes on without an audience until it ends by itself, which
 * its time limit guarantees; the daemon's own end comes first (cli_runtime.ending).  One without a
 * limit (events
 * --follow) asks its sink whether anybody is left. */
#define _GNU_SOURCE /* struct ucred */
#include "cli/daemon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/control.h"
#include "cli/files.h"
#include "cli/record.h"
#include "cli/run.h"

enum {
  listen_backlog = 64,
  read_len = 256 << 10,
  group_max = 2000, /* writes of one transaction */
  piece_len = 128 << 10,
  ahead_max = 1 << 20, /* requests that wait behind a running one, before reading pauses */
  unread_max = 4 << 20 /* answers that wait to be read, before a long one pauses */
};

typedef struct control_conn control_conn;

/* One request being answered. */
typedef struct control_call {
  cli_call call;
  weft_arena arena;
  control_conn *conn; /* NULL: nobody listens any more */
  bool paused;        /* for a slow reader */
  bool failed;        /* an answer could not be written: nothing more is said */
  int64_t id;
} control_call;

struct control_conn {
  uv_pipe_t pipe; /* first */
  cli_control *control;
  control_conn *next;
  control_call *running;
  control_call *orphan; /* paused for this reader, who is gone */
  weft_buf in;
  bool grouped; /* answers wait in `held`: for their transaction to be durable, or for each other */
  weft_buf held;
  bool closing;
  uint8_t piece[read_len];
};

struct cli_control {
  uv_pipe_t server;
  cli_runtime *rt;
  cli_home *home;
  cli_space *space;
  control_conn *conns;
  char path[CLI_PATH_MAX];
  dev_t dev; /* of the socket's file, to remove that one only */
  ino_t ino;
};

/* --- answers -------------------------------------------------------------------------------------
 */

typedef struct control_write {
  uv_write_t req; /* first; the bytes follow */
} control_write;

static void conn_close(control_conn *conn);
static void go_on(control_conn *conn);

static size_t unread(const control_conn *conn) {
  return uv_stream_get_write_queue_size((const uv_stream_t *)&conn->pipe);
}

static void on_written(uv_write_t *req, int status) {
  control_conn *conn = req->handle->data;
  free(req);
  if (status < 0)
    conn_close(conn);
  else
    go_on(conn);
}

/* Sends bytes; a connection that takes none is closed. */
static void send_bytes(control_conn *conn, weft_bytes bytes) {
  control_write *w = malloc(sizeof *w + bytes.len);
  if (w) {
    memcpy(w + 1, bytes.at, bytes.len);
    uv_buf_t buf = uv_buf_init((char *)(w + 1), (unsigned)bytes.len);
    if (uv_write(&w->req, (uv_stream_t *)&conn->pipe, &buf, 1, on_written) == 0) return;
    free(w);
  }
  conn_close(conn);
}

static weft_value int_value(int64_t i) {
  weft_value v = {.kind = WEFT_INT};
  v.as.integer = i;
  return v;
}

static weft_value text_value(weft_bytes text) {
  weft_value v = {.kind = WEFT_STRING};
  v.as.bytes = text;
  return v;
}

/* Writes one answer to whoever asked; an error tells that it is none that can be written. */
static weft_err answer_put(control_call *call, const weft_value *items, size_t count) {
  control_conn *conn = call->conn;
  weft_value frame = cli_array(items, count);
  weft_alloc mem = weft_alloc_libc();
  weft_buf b;
  weft__buf_init(&b, &mem, (size_t)CLI_FRAME_LEN_MAX + 4);
  cli_frame_put(&b, &frame);
  weft_err err = weft__buf_err(&b);
  if (err == WEFT_OK && conn->grouped)
    weft__buf_put(&conn->held, weft__buf_view(&b));
  else if (err == WEFT_OK)
    send_bytes(conn, weft__buf_view(&b));
  weft__buf_free(&b);
  return err;
}

/* What cannot be written ends the call with an error. */
static void answer(control_call *call, const weft_value *items, size_t count) {
  if (!call->conn || call->conn->closing || call->failed) return;
  if (answer_put(call, items, count) == WEFT_OK) return;
  weft_value error[] = {int_value(call->id), text_value(weft_bytes_str("error")),
                        int_value(CLI_FAILED),
                        text_value(weft_bytes_str("the answer does not pass through the daemon: "
                                                  "stop it, then ask again"))};
  call->failed = true;
  if (answer_put(call, error, 4) != WEFT_OK) conn_close(call->conn);
}

static bool is_long(const weft_member *m) {
  return m->value.kind == WEFT_STRING && m->value.as.bytes.len > WEFT_TEXT_LEN_MAX;
}

/* Sends one text in pieces, none of which ends within a character. */
static void send_pieces(control_call *call, const weft_member *m) {
  weft_bytes text = m->value.as.bytes;
  for (size_t at = 0, len; at < text.len; at += len) {
    len = text.len - at < piece_len ? text.len - at : piece_len;
    while (at + len < text.len && (text.at[at + len] & 0xc0) == 0x80) len--;
    weft_value items[] = {int_value(call->id), text_value(weft_bytes_str("text")),
                          text_value(m->key), text_value(weft_bytes_of(text.at + at, len))};
    answer(call, items, 4);
  }
}

/* Texts that are longer than a value may be go before their record, which goes without them. */
static void sink_record(void *ctx, const weft_value *record) {
  control_call *call = ctx;
  weft_value items[] = {int_value(call->id), text_value(weft_bytes_str("data")), *record};
  size_t count = record->kind == WEFT_OBJECT ? record->as.object.count : 0, kept = 0;
  size_t longs = 0;
  for (size_t i = 0; i < count; i++) longs += is_long(&record->as.object.at[i]);
  weft_member *rest = longs > 0 ? calloc(count, sizeof *rest) : NULL;
  for (size_t i = 0; rest && i < count; i++) {
    const weft_member *m = &record->as.object.at[i];
    if (is_long(m))
      send_pieces(call, m);
    else
      rest[kept++] = *m;
  }
  if (rest) {
    items[2].as.object.at = rest;
    items[2].as.object.count = kept;
  }
  answer(call, items, 3);
  free(rest);
}

static void sink_progress(void *ctx, weft_bytes what, uint64_t done, uint64_t total) {
  control_call *call = ctx;
  weft_value items[] = {int_value(call->id), text_value(weft_bytes_str("progress")),
                        text_value(what), int_value((int64_t)done), int_value((int64_t)total)};
  answer(call, items, 5);
}

static cli_pace sink_pace(void *ctx) {
  const control_call *call = ctx;
  if (!call->conn || call->conn->closing) return CLI_GONE;
  return unread(call->conn) > unread_max ? CLI_WAIT : CLI_GO;
}

static void serve_next(control_conn *conn);
static void read_on(control_conn *conn);

/* Sends the last answer and frees the call. */
static void finish(control_call *call, int code) {
  control_conn *conn = call->conn;
  weft_value items[] = {int_value(call->id),
                        text_value(weft_bytes_str(code == CLI_OK ? "end" : "error")),
                        int_value(code), text_value(weft_bytes_str(call->call.error))};
  answer(call, items, code == CLI_OK ? 3 : 4);
  if (conn) conn->running = NULL;
  weft__arena_free(&call->arena);
  free(call);
}

/* A call that waited is done: what came in meanwhile is served. */
static void call_ended(cli_call *c, int code) {
  control_call *call = c->ended_ctx;
  control_conn *conn = call->conn;
  finish(call, code);
  if (!conn) return;
  serve_next(conn);
  read_on(conn);
}

/* A long answer that paused goes on when most of it was read. */
static void go_on(control_conn *conn) {
  control_call *call = conn->running;
  if (conn->closing || !call || !call->paused || unread(conn) > unread_max / 4) return;
  call->paused = false;
  int code = call->call.resume(&call->call);
  call->paused = code == CLI_PENDING && call->call.resume;
  if (code != CLI_PENDING) call_ended(&call->call, code);
}

/* --- requests ------------------------------------------------------------------------------------
 */

static bool space_fits(const cli_space *s, weft_bytes wanted) {
  char hex[2 * sizeof(weft_id) + 1];
  cli_hex(hex, s->id.b, sizeof s->id.b);
  return wanted.len == 0 || weft_bytes_cmp(s->name, wanted) == 0 ||
         (wanted.len >= 4 && wanted.len < sizeof hex && memcmp(hex, wanted.at, wanted.len) == 0);
}

/* Whoever asks learns that somebody works on it: only before that does it keep time.  Where answers
 * are held back it would learn both at once. */
static void tell_taken(control_call *call) {
  if (call->conn && call->conn->grouped) return;
  weft_value items[] = {int_value(call->id), text_value(weft_bytes_str("taken")), int_value(0)};
  answer(call, items, 3);
}

/* Reads a request and sees whether it may run here. */
static int read_call(control_call *call, weft_bytes body) {
  cli_call *c = &call->call;
  weft_value request;
  weft_bytes space;
  weft_err err = weft__value_decode(c->arena, body, &request);
  if (err == WEFT_OK) err = cli_request_read(c->arena, &request, &call->id, &c->args, &space);
  if (err == WEFT_EVERSION)
    return cli_fail(c, CLI_USAGE, "the daemon is of another version: restart it");
  if (err != WEFT_OK) return cli_fail(c, CLI_FAILED, "the daemon was sent what is no request");
  cli_where where = cli_call_where(c);
  if (where != CLI_STORE && where != CLI_DAEMON)
    return cli_fail(c, CLI_USAGE, "%s does not run in the daemon", c->args.command->name);
  if (!space_fits(c->space, space))
    return cli_fail(c, CLI_NOT_FOUND, "the daemon serves the space %.*s, not %.*s: stop it first",
                    (int)c->space->name.len, (const char *)c->space->name.at, (int)space.len,
                    (const char *)space.at);
  return CLI_OK;
}

/* Reads a request into a call of its own, ended by finish or drop; NULL without memory. */
static control_call *call_new(control_conn *conn, weft_bytes body, int *code) {
  control_call *call = calloc(1, sizeof *call);
  if (!call) return NULL;
  weft_alloc mem = weft_alloc_libc();
  weft__arena_init(&call->arena, &mem);
  cli_control *control = conn->control;
  call->conn = conn;
  call->call = (cli_call){.arena = &call->arena,
                          .home = control->home,
                          .space = control->space,
                          .runtime = control->rt,
                          .sink = {call, sink_record, sink_progress, sink_pace},
                          .ended = call_ended,
                          .ended_ctx = call};
  *code = read_call(call, body);
  return call;
}

static void drop(control_call *call) {
  if (!call) return;
  weft__arena_free(&call->arena);
  free(call);
}

/* Starts what was read; what has failed already is not. */
static int run_call(control_call *call, int code) {
  if (code != CLI_OK) return code;
  tell_taken(call);
  return call->call.args.command->run(&call->call);
}

/* Sends the answers that were held back. */
static void send_held(control_conn *conn) {
  conn->grouped = false;
  if (weft__buf_err(&conn->held) != WEFT_OK)
    conn_close(conn);
  else if (conn->held.len > 0 && !conn->closing)
    send_bytes(conn, weft__buf_view(&conn->held));
  weft__buf_reset(&conn->held);
}

/* Whether a call takes no longer than a commit: then all it says fits one answer. */
static bool is_short(const control_call *call) {
  int (*run)(cli_call * c) = call->call.args.command->run;
  return run == cmd_set || run == cmd_unset || run == cmd_get;
}

static void serve(control_conn *conn, weft_bytes body) {
  int code;
  control_call *call = call_new(conn, body, &code);
  if (!call) {
    conn_close(conn);
    return;
  }
  conn->running = call;
  conn->grouped = code == CLI_OK && is_short(call);
  code = run_call(call, code);
  call->paused = code == CLI_PENDING && call->call.resume;
  if (code == CLI_PENDING) {
    send_held(conn);
    return;
  }
  cli_network_changed(&call->call);
  finish(call, code);
  conn->running = NULL; /* a connection that closed meanwhile is unknown to the call */
  send_held(conn);
}

/* Finds the next whole request from `at` on; false: there is none.  What is none at all closes the
 * connection. */
static bool request_at(control_conn *conn, size_t at, size_t *len, weft_bytes *body) {
  weft_bytes rest = weft_bytes_of(conn->in.at + at, conn->in.len - at);
  if (cli_frame_find(rest, len, body) == WEFT_OK) return *len > 0;
  conn_close(conn);
  return false;
}

/* Whether a call writes to the store, and neither waits nor opens a transaction of its own. */
static bool is_write(const control_call *call) {
  int (*run)(cli_call * c) = call->call.args.command->run;
  return (run == cmd_set || run == cmd_unset) && !cli_flag(&call->call, "draft");
}

/* Runs the writes from `from` on in one transaction, with their answers held back; gives how many
 * bytes of requests those are, and how the transaction ended. */
static size_t run_group(control_conn *conn, size_t from, weft_err *err) {
  weft_replica *r = conn->control->space->replica;
  size_t used = 0, len;
  weft_bytes body;
  *err = WEFT_OK;
  for (size_t n = 0; n < group_max && request_at(conn, from + used, &len, &body); n++) {
    int code;
    control_call *call = call_new(conn, body, &code);
    bool fits = call && code == CLI_OK && is_write(call);
    if (fits && n == 0) fits = weft_group_begin(r) == WEFT_OK;
    if (!fits) {
      drop(call);
      break;
    }
    finish(call, run_call(call, code));
    used += len;
  }
  if (used > 0) *err = weft_group_end(r);
  return used;
}

/* Serves the writes that came in together from `from` on; gives how many bytes of requests they
 * are, 0 when there are not two of them.  Where the transaction failed, none of them happened, and
 * each is tried by itself: its answer tells what became of it alone. */
static size_t serve_group(control_conn *conn, size_t from) {
  size_t len, second;
  weft_bytes body;
  weft_err err;
  if (!request_at(conn, from, &len, &body) || !request_at(conn, from + len, &second, &body))
    return 0;
  conn->grouped = true;
  size_t used = run_group(conn, from, &err);
  if (err != WEFT_OK) weft__buf_reset(&conn->held);
  send_held(conn);
  for (size_t at = 0; err != WEFT_OK && at < used && !conn->closing; at += len) {
    if (request_at(conn, from + at, &len, &body)) serve(conn, body);
  }
  if (used > 0) cli_network_changed(&(cli_call){.runtime = conn->control->rt});
  return used;
}

/* Serves every whole request at hand, until one has to wait.  A request is decoded into its call's
 * arena, so its bytes may go as soon as it was started. */
static void serve_next(control_conn *conn) {
  size_t used = 0;
  while (!conn->closing && !conn->running) {
    size_t len;
    weft_bytes body;
    if (!request_at(conn, used, &len, &body)) break;
    size_t grouped = serve_group(conn, used);
    used += grouped > 0 ? grouped : len;
    if (grouped == 0 && !conn->closing) serve(conn, body);
  }
  if (used == 0) return;
  memmove(conn->in.at, conn->in.at + used, conn->in.len - used);
  conn->in.len -= used;
}

/* --- connections ---------------------------------------------------------------------------------
 */

static void conn_closed(uv_handle_t *handle) {
  control_conn *conn = handle->data;
  if (conn->orphan) finish(conn->orphan, conn->orphan->call.resume(&conn->orphan->call));
  for (control_conn **at = &conn->control->conns; *at; at = &(*at)->next) {
    if (*at != conn) continue;
    *at = conn->next;
    break;
  }
  weft__buf_free(&conn->in);
  weft__buf_free(&conn->held);
  free(conn);
}

static void conn_close(control_conn *conn) {
  if (conn->closing) return;
  conn->closing = true;
  if (conn->running) {
    conn->running->conn = NULL;
    if (conn->running->paused) conn->orphan = conn->running;
  }
  uv_close((uv_handle_t *)&conn->pipe, conn_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  (void)suggested;
  control_conn *conn = handle->data;
  *buf = uv_buf_init((char *)conn->piece, read_len);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf) {
  control_conn *conn = stream->data;
  if (got > 0) weft__buf_put_raw(&conn->in, buf->base, (size_t)got);
  if (got < 0 || weft__buf_err(&conn->in) != WEFT_OK)
    conn_close(conn);
  else
    serve_next(conn);
  if (conn->running && conn->in.len > ahead_max && !conn->closing)
    uv_read_stop((uv_stream_t *)&conn->pipe);
}

/* Reading goes on after a pause in on_read; without one this changes nothing. */
static void read_on(control_conn *conn) {
  if (conn->closing || conn->running) return;
  uv_read_stop((uv_stream_t *)&conn->pipe);
  if (uv_read_start((uv_stream_t *)&conn->pipe, on_alloc, on_read) != 0) conn_close(conn);
}

/* Only this user may talk to this device, whatever the mode of the folder became. */
static bool same_user(uv_pipe_t *pipe) {
  uv_os_fd_t fd;
  struct ucred peer;
  socklen_t len = sizeof peer;
  return uv_fileno((uv_handle_t *)pipe, &fd) == 0 &&
         getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.uid == geteuid();
}

static void on_connection(uv_stream_t *server, int status) {
  cli_control *control = server->data;
  if (status < 0) return;
  control_conn *conn = calloc(1, sizeof *conn);
  if (!conn) return;
  weft_alloc mem = weft_alloc_libc();
  weft__buf_init(&conn->in, &mem, (size_t)CLI_FRAME_LEN_MAX + 4);
  weft__buf_init(&conn->held, &mem, (size_t)CLI_FRAME_LEN_MAX + 4);
  conn->control = control;
  conn->next = control->conns;
  control->conns = conn;
  uv_pipe_init(&control->rt->loop, &conn->pipe, 0);
  conn->pipe.data = conn;
  if (uv_accept(server, (uv_stream_t *)&conn->pipe) != 0 || !same_user(&conn->pipe) ||
      uv_read_start((uv_stream_t *)&conn->pipe, on_alloc, on_read) != 0)
    conn_close(conn);
}

/* --- the server ----------------------------------------------------------------------------------
 */

static bool bind_socket(cli_control *control, const char *dir) {
  struct sockaddr_un address;
  int folder;
  if (cli_control_address(dir, &address, &folder) != WEFT_OK) return false;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  unlink(control->path);
  bool ok = fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
            uv_pipe_open(&control->server, fd) == 0;
  if (!ok && fd >= 0) close(fd);
  if (folder >= 0) close(folder);
  struct stat st;
  if (!ok || lstat(control->path, &st) != 0) return false;
  control->dev = st.st_dev;
  control->ino = st.st_ino;
  return uv_listen((uv_stream_t *)&control->server, listen_backlog, on_connection) == 0;
}

/* The store's lock keeps a second daemon of one space away; a daemon of another space in the same
 * directory, or a stranger, shows by answering. */
static int check_unanswered(cli_call *c, const char *dir) {
  cli_remote other;
  int code = cli_remote_open(c, dir, &other);
  if (code == CLI_NO_DAEMON) return CLI_OK;
  if (code != CLI_OK) return code;
  int pid = cli_remote_process(&other);
  cli_remote_close(&other);
  return cli_fail(c, CLI_FAILED, "%s/control.sock is answered by process %d: stop it first", dir,
                  pid);
}

/* Under a lock: of two daemons that start at once, the second finds the first one listening. */
static int take_socket(cli_call *c, cli_control *control, const char *dir) {
  int code = check_unanswered(c, dir);
  if (code != CLI_OK) return code;
  if (cli_path_join(control->path, sizeof control->path, dir, "control.sock") == WEFT_OK &&
      bind_socket(control, dir))
    return CLI_OK;
  return cli_fail(c, CLI_FAILED, "%s/control.sock cannot be made: check the folder's permissions",
                  dir);
}

int cli_control_start(cli_call *c, cli_control **out) {
  cli_control *control = calloc(1, sizeof *control);
  *out = NULL;
  if (!control) return cli_fail_err(c, WEFT_ENOMEM, "the control socket");
  control->rt = c->runtime;
  control->home = c->home;
  control->space = c->space;
  const char *dir = cli_home_dir(c->home);
  uv_pipe_init(&c->runtime->loop, &control->server, 0);
  control->server.data = control;
  *out = control;
  char path[CLI_PATH_MAX];
  int lock;
  weft_err err = cli_path_join(path, sizeof path, dir, "control.lock");
  if (err == WEFT_OK) err = cli_file_lock(path, &lock);
  if (err != WEFT_OK) return cli_fail_err(c, err, "%s/control.lock", dir);
  int code = take_socket(c, control, dir);
  cli_file_unlock(lock);
  return code;
}

void cli_control_stop(cli_control *control) {
  if (!control || uv_is_closing((uv_handle_t *)&control->server)) return;
  struct stat st;
  if (control->ino && lstat(control->path, &st) == 0 && st.st_dev == control->dev &&
      st.st_ino == control->ino)
    unlink(control->path);
  for (control_conn *conn = control->conns; conn; conn = conn->next) conn_close(conn);
  uv_close((uv_handle_t *)&control->server, NULL);
}

void cli_control_free(cli_control *control) { free(control); }

/* The asking side of the control socket.  Frames are a big-endian length and one msgpack value. */
#include "bench/control.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { HEAD_LEN = 4, ARGUMENTS_MAX = 4, READ_LEN = 64 << 10, FRAME_LEN_MAX = 16 << 20 };

weft_err control_open(control *c, bench *b, const char *dir) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  *c = (control){.b = b, .fd = socket(AF_UNIX, SOCK_STREAM, 0)};
  weft__buf_init(&c->out, &b->mem, FRAME_LEN_MAX);
  weft__buf_init(&c->in, &b->mem, FRAME_LEN_MAX);
  weft__arena_init(&c->arena, &b->mem);
  int len = snprintf(at.sun_path, sizeof at.sun_path, "%s/control.sock", dir);
  bool ok = c->fd >= 0 && len > 0 && (size_t)len < sizeof at.sun_path &&
            connect(c->fd, (struct sockaddr *)&at, sizeof at) == 0;
  return ok ? WEFT_OK : bench_fail(b, WEFT_EIO, "no daemon answers at its control socket");
}

void control_close(control *c) {
  if (c->fd >= 0) close(c->fd);
  weft__buf_free(&c->out);
  weft__buf_free(&c->in);
  weft__arena_free(&c->arena);
}

static weft_value text(const char *at) {
  return (weft_value){.kind = WEFT_STRING, .as.bytes = weft_bytes_str(at)};
}

weft_err control_put(control *c, const char *command, const char *const *arguments) {
  weft_value words[ARGUMENTS_MAX];
  weft_value list = {.kind = WEFT_ARRAY, .as.array.at = words};
  while (list.as.array.count < ARGUMENTS_MAX && arguments[list.as.array.count]) {
    words[list.as.array.count] = text(arguments[list.as.array.count]);
    words[list.as.array.count].kind = WEFT_BYTES; /* an argument need not be UTF-8 */
    list.as.array.count++;
  }
  const weft_member members[] = {{weft_bytes_str("args"), list},
                                 {weft_bytes_str("input"), {.kind = WEFT_NULL}},
                                 {weft_bytes_str("options"), {.kind = WEFT_ARRAY}},
                                 {weft_bytes_str("space"), {.kind = WEFT_NULL}}};
  const weft_value parts[] = {{.kind = WEFT_INT, .as.integer = ++c->id},
                              text(command),
                              {.kind = WEFT_OBJECT, .as.object = {members, 4}}};
  const weft_value request = {.kind = WEFT_ARRAY, .as.array = {parts, 3}};
  size_t from = c->out.len;
  weft__buf_u32(&c->out, 0);
  weft__value_encode(&c->out, &request);
  WEFT_TRY(weft__buf_err(&c->out));
  size_t len = c->out.len - from - HEAD_LEN;
  for (unsigned i = 0; i < HEAD_LEN; i++) c->out.at[from + i] = (uint8_t)(len >> (24 - 8 * i));
  return WEFT_OK;
}

weft_err control_flush(control *c) {
  size_t sent = 0;
  while (sent < c->out.len) {
    ssize_t n = send(c->fd, c->out.at + sent, c->out.len - sent, MSG_NOSIGNAL);
    if (n <= 0) return bench_fail(c->b, WEFT_EIO, "a daemon went away");
    sent += (size_t)n;
  }
  weft__buf_reset(&c->out);
  return WEFT_OK;
}

/* Reads until one whole frame is there; `body` is a view into `in`. */
static weft_err receive_frame(control *c, weft_bytes *body) {
  for (;;) {
    weft_rd r = weft__rd(weft_bytes_of(c->in.at + c->in_used, c->in.len - c->in_used));
    uint32_t len = weft__rd_u32(&r);
    *body = weft__rd_take(&r, len);
    if (!r.failed) return WEFT_OK;
    if (c->in_used > 0) memmove(c->in.at, c->in.at + c->in_used, c->in.len - c->in_used);
    c->in.len -= c->in_used;
    c->in_used = 0;
    size_t before = c->in.len;
    uint8_t *room = weft__buf_room(&c->in, READ_LEN);
    if (!room) return weft__buf_err(&c->in);
    ssize_t n = recv(c->fd, room, READ_LEN, 0);
    if (n <= 0) return bench_fail(c->b, WEFT_EIO, "a daemon went away");
    c->in.len = before + (size_t)n;
  }
}

static bool is_text(const weft_value *v, const char *want) {
  return v->kind == WEFT_STRING && weft_bytes_cmp(v->as.bytes, weft_bytes_str(want)) == 0;
}

weft_err control_ask(control *c, const char *command, const char *const *arguments, int64_t *code,
                     weft_value *record) {
  WEFT_TRY(control_put(c, command, arguments));
  WEFT_TRY(control_flush(c));
  return control_take(c, code, record);
}

weft_err control_take(control *c, int64_t *code, weft_value *record) {
  *record = (weft_value){.kind = WEFT_NULL};
  weft__arena_reset(&c->arena);
  for (;;) {
    weft_bytes body;
    weft_value answer;
    WEFT_TRY(receive_frame(c, &body));
    weft_err err = weft__value_decode(&c->arena, body, &answer);
    c->in_used += HEAD_LEN + body.len;
    WEFT_TRY(err);
    if (answer.kind != WEFT_ARRAY || answer.as.array.count < 3) return WEFT_EMALFORMED;
    const weft_value *parts = answer.as.array.at;
    if (is_text(&parts[1], "data")) *record = parts[2];
    if (!is_text(&parts[1], "end") && !is_text(&parts[1], "error")) continue;
    *code = parts[2].kind == WEFT_INT ? parts[2].as.integer : -1;
    if (is_text(&parts[1], "error") && answer.as.array.count > 3) *record = parts[3];
    return WEFT_OK;
  }
}

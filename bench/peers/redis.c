/* Redis: a hash for each template, with an append-only file that is synced before it answers.
 *
 * A server of our own listens on a socket in the scratch folder, and ends with us.  Commands of a
 * group are sent together, and their answers are read together; the server syncs what came
 * together at once. */
#include "bench/peers/plain.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <fcntl.h>
#include <unistd.h>

enum { PATH_CAP = 512, OUT_CAP = 256 << 10, IN_CAP = 64 << 10, START_MS = 10000, LOOK_MS = 10 };

struct plain_db {
  pid_t server;
  int fd;
  char folder[PATH_CAP];
  char out[OUT_CAP];
  size_t out_len;
  size_t owed; /* answers that have not been read */
  char in[IN_CAP];
  size_t in_len;
  size_t in_at;
};

/* --- server --- */

static void become_server(const char *folder, const char *socket_path) {
  int nowhere = open("/dev/null", O_WRONLY);
  if (nowhere >= 0) dup2(nowhere, STDOUT_FILENO);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket_path, "--dir",
         folder, "--save", "", "--appendonly", "yes", "--appendfsync", "always", (char *)NULL);
  _exit(127);
}

static bool connected(plain_db *d, const char *socket_path) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  struct timespec pause = {0, LOOK_MS * 1000000L};
  int len =
      snprintf(at.sun_path, sizeof at.sun_path, "%.*s", (int)sizeof at.sun_path - 1, socket_path);
  if (len < 0 || strlen(socket_path) >= sizeof at.sun_path) return false;
  for (int waited = 0; waited < START_MS; waited += LOOK_MS) {
    d->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (d->fd >= 0 && connect(d->fd, (struct sockaddr *)&at, sizeof at) == 0) return true;
    if (d->fd >= 0) close(d->fd);
    d->fd = -1;
    if (waitpid(d->server, NULL, WNOHANG) != 0) {
      d->server = 0;
      return false;
    }
    nanosleep(&pause, NULL);
  }
  return false;
}

static void redis_close(plain_db *d) {
  if (!d) return;
  if (d->fd >= 0) close(d->fd);
  if (d->server > 0) {
    kill(d->server, SIGKILL);
    waitpid(d->server, NULL, 0);
  }
  free(d);
}

static plain_db *redis_open(const char *folder, const char *name) {
  char path[PATH_CAP + 8];
  plain_db *d = calloc(1, sizeof *d);
  if (!d) return NULL;
  d->fd = -1;
  snprintf(d->folder, sizeof d->folder, "%s/%s", folder, name);
  snprintf(path, sizeof path, "%s/s", d->folder);
  if (mkdir(d->folder, 0700) == 0) {
    d->server = fork();
    if (d->server == 0) become_server(d->folder, path);
    if (d->server > 0 && connected(d, path)) return d;
  }
  redis_close(d);
  return NULL;
}

/* --- protocol --- */

static bool flush_out(plain_db *d) {
  size_t sent = 0;
  while (sent < d->out_len) {
    ssize_t n = write(d->fd, d->out + sent, d->out_len - sent);
    if (n <= 0) return false;
    sent += (size_t)n;
  }
  d->out_len = 0;
  return true;
}

static int next_byte(plain_db *d) {
  if (d->in_at == d->in_len) {
    ssize_t n = read(d->fd, d->in, sizeof d->in);
    if (n <= 0) return -1;
    d->in_len = (size_t)n;
    d->in_at = 0;
  }
  return (unsigned char)d->in[d->in_at++];
}

static bool read_line(plain_db *d, char *out, size_t cap) {
  size_t len = 0;
  int c;
  while ((c = next_byte(d)) >= 0 && c != '\n') {
    if (c != '\r' && len + 1 < cap) out[len++] = (char)c;
  }
  out[len] = 0;
  return c == '\n' && out[0] != '-';
}

/* Reads all answers that are owed but the last `keep`. */
static bool read_owed(plain_db *d, size_t keep) {
  char line[128];
  while (d->owed > keep) {
    if (!read_line(d, line, sizeof line)) return false;
    d->owed--;
  }
  return true;
}

static void add_text(plain_db *d, const char *text, size_t len) {
  d->out_len += (size_t)snprintf(d->out + d->out_len, OUT_CAP - d->out_len, "$%zu\r\n", len);
  memcpy(d->out + d->out_len, text, len);
  memcpy(d->out + d->out_len + len, "\r\n", 2);
  d->out_len += len + 2;
}

static bool command(plain_db *d, const char *const *words, size_t count) {
  const size_t most = 4 * (W1_TEXT_LEN_MAX + 32);
  /* Answers are read before they fill the socket on the other side. */
  if (d->out_len + most > OUT_CAP && (!flush_out(d) || !read_owed(d, 0))) return false;
  d->out_len += (size_t)snprintf(d->out + d->out_len, OUT_CAP - d->out_len, "*%zu\r\n", count);
  for (size_t i = 0; i < count; i++) add_text(d, words[i], strlen(words[i]));
  d->owed++;
  return true;
}

/* --- data --- */

static bool redis_begin(plain_db *d) {
  (void)d;
  return true;
}

static bool redis_put(plain_db *d, const plain_cell *cell, uint32_t clock, unsigned device) {
  char text[W1_TEXT_LEN_MAX];
  (void)clock; /* the last one to come wins */
  (void)device;
  plain_text(text, &cell->value);
  const char *const words[] = {"HSET", cell->doc, cell->field, text};
  return command(d, words, 4);
}

static bool redis_end(plain_db *d) { return flush_out(d) && read_owed(d, 0); }

static bool redis_get(plain_db *d, w1_place at, char *out, size_t cap) {
  char doc[W1_NAME_LEN_MAX];
  char head[32];
  w1_document(doc, at.template);
  const char *const words[] = {"HGET", doc, w1_field(at.field)};
  if (!command(d, words, 3) || !flush_out(d) || !read_owed(d, 1)) return false;
  d->owed = 0;
  return read_line(d, head, sizeof head) && head[0] == '$' && head[1] != '-' &&
         read_line(d, out, cap);
}

static uint64_t redis_packed_len(plain_db *d) {
  static const char *const save[] = {"SAVE"};
  char path[PATH_CAP + 16];
  struct stat s;
  snprintf(path, sizeof path, "%s/dump.rdb", d->folder);
  bool done = command(d, save, 1) && redis_end(d) && stat(path, &s) == 0;
  return done ? (uint64_t)s.st_size : 0;
}

const plain_kind plain_redis = {"redis",   redis_open, redis_close, redis_begin,     redis_put,
                                redis_end, NULL,       redis_get,   redis_packed_len};

/* Two devices as real processes: see bench/processes.h.
 *
 * Everything is done as a person would do it, through the command line.  Children take interrupts
 * again, and end when weft-bench does. */
#include "bench/processes.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "crdt/json.h"

enum {
  ARGUMENTS_MAX = 16,
  TEXT_LEN_MAX = 4096,
  LOOK_MS = 20,
  COMMAND_SECONDS = 600,
  SERVE_SECONDS = 30
};

bool processes_program(char out[BENCH_PATH_LEN_MAX]) {
  char self[BENCH_PATH_LEN_MAX - 16];
  ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
  if (len <= 0) return false;
  self[len] = 0;
  char *slash = strrchr(self, '/');
  if (!slash) return false;
  *slash = 0;
  snprintf(out, BENCH_PATH_LEN_MAX, "%s/weft", self);
  if (access(out, X_OK) == 0) return true;
  snprintf(out, BENCH_PATH_LEN_MAX, "%s/../cli/weft", self);
  return access(out, X_OK) == 0;
}

/* --- children --- */

/* In the child: becomes weft, with its output in `path`. */
static void become(const processes *p, const char *dir, const char *const *arguments,
                   const char *path) {
  char *argv[ARGUMENTS_MAX + 4] = {NULL};
  size_t count = 0;
  sigset_t none;
  const char *const head[] = {p->program, "--dir", dir};
  for (size_t i = 0; i < 3; i++) argv[count++] = strdup(head[i]);
  for (size_t i = 0; arguments[i] && i < ARGUMENTS_MAX; i++) argv[count++] = strdup(arguments[i]);
  int out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  setenv("XDG_STATE_HOME", p->b->folder, 1);
  if (out < 0 || dup2(out, STDOUT_FILENO) < 0) _exit(127);
  execv(p->program, argv);
  _exit(127);
}

static weft_err start(const processes *p, const char *dir, const char *const *arguments,
                      const char *path, pid_t *out) {
  pid_t pid = fork();
  if (pid == 0) become(p, dir, arguments, path);
  *out = pid;
  return pid > 0 ? WEFT_OK : bench_fail(p->b, WEFT_EIO, "no further process");
}

static void pause_ms(long ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&t, NULL);
}

/* Waits for a child, and follows the memory of both processes meanwhile. */
static weft_err wait_for(const processes *p, pid_t pid, const char *what,
                         processes_sync_result *watch) {
  int status = 0;
  double limit = bench_now() + COMMAND_SECONDS;
  while (waitpid(pid, &status, WNOHANG) == 0) {
    weft_err err = bench_progress(p->b, what);
    if (err == WEFT_OK && bench_now() > limit) err = bench_fail(p->b, WEFT_ETIMEOUT, what);
    if (err != WEFT_OK) {
      kill(pid, SIGTERM);
      waitpid(pid, &status, 0);
      return err;
    }
    if (watch) {
      uint64_t sender = bench_anonymous(p->sender_daemon);
      uint64_t receiver = bench_anonymous(pid);
      if (sender > watch->rss_sender) watch->rss_sender = sender;
      if (receiver > watch->rss_receiver) watch->rss_receiver = receiver;
    }
    pause_ms(watch ? LOOK_MS : 2);
  }
  bool done = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return done ? WEFT_OK : bench_fail(p->b, WEFT_EIO, what);
}

static void read_text(const char *path, char out[TEXT_LEN_MAX]) {
  FILE *f = fopen(path, "r");
  size_t len = f ? fread(out, 1, TEXT_LEN_MAX - 1, f) : 0;
  if (f) fclose(f);
  out[len] = 0;
}

/* Runs one command to its end; `text` is what it printed. */
static weft_err command(const processes *p, const char *dir, const char *const *arguments,
                        processes_sync_result *watch, char text[TEXT_LEN_MAX]) {
  char path[BENCH_PATH_LEN_MAX];
  char what[128];
  pid_t pid;
  bench_path(p->b, "command.out", path);
  snprintf(what, sizeof what, "weft %s", arguments[0]);
  WEFT_TRY(start(p, dir, arguments, path, &pid));
  WEFT_TRY(wait_for(p, pid, what, watch));
  read_text(path, text);
  return WEFT_OK;
}

/* A number of a flat JSON document; 0 when it is not there. */
static uint64_t number_in(const char *text, const char *key) {
  char quoted[64];
  snprintf(quoted, sizeof quoted, "\"%s\":", key);
  const char *at = strstr(text, quoted);
  if (!at) return 0;
  at += strlen(quoted);
  return strtoull(at + (*at == '"'), NULL, 10); /* large ones are strings */
}

/* --- steps --- */

/* Writes the templates as JSON lines. */
static weft_err write_input(const processes *p, const char *path, uint32_t templates) {
  FILE *f = fopen(path, "w");
  weft_buf line;
  if (!f) return bench_fail(p->b, WEFT_EIO, path);
  weft__buf_init(&line, &p->b->mem, SIZE_MAX);
  for (uint32_t t = 0; t < templates; t++) {
    weft__buf_reset(&line);
    char id[W1_NAME_LEN_MAX];
    w1_document(id, t);
    const char *name = strchr(id, '/') + 1;
    int len = fprintf(f, "{\"id\":\"%s\"", name);
    for (uint32_t i = 0; i < W1_FIELDS && len > 0; i++) {
      w1_value v;
      w1_value_of(&v, (w1_place){t, i, 0});
      weft__buf_u8(&line, ',');
      weft_json_write_string(&line, weft_bytes_str(w1_field(i)));
      weft__buf_u8(&line, ':');
      weft_json_write(&line, &v.value);
    }
    weft__buf_put(&line, weft_bytes_str("}\n"));
    if (weft__buf_err(&line) == WEFT_OK) fwrite(line.at, 1, line.len, f);
  }
  weft_err err = weft__buf_err(&line);
  weft__buf_free(&line);
  bool written = ferror(f) == 0;
  if (fclose(f) != 0) written = false;
  return err == WEFT_OK && !written ? bench_fail(p->b, WEFT_EIO, path) : err;
}

/* Starts a daemon and waits until it listens; `address` gets where. */
static weft_err serve(const processes *p, const char *dir, const char *connect, pid_t *daemon,
                      char address[128]) {
  const char *const arguments[] = {"serve",
                                   "--listen",
                                   "127.0.0.1:0",
                                   "--json",
                                   "--no-http",
                                   "--no-discovery",
                                   connect ? "--connect" : NULL,
                                   connect,
                                   NULL};
  static const char key[] = "\"listening\":[\"";
  char path[BENCH_PATH_LEN_MAX];
  char text[TEXT_LEN_MAX];
  double limit = bench_now() + SERVE_SECONDS;
  bench_path(p->b, connect ? "receiver.out" : "sender.out", path);
  unlink(path); /* an earlier daemon's words */
  WEFT_TRY(start(p, dir, arguments, path, daemon));
  while (bench_now() < limit) {
    WEFT_TRY(bench_progress(p->b, "weft serve"));
    read_text(path, text);
    const char *at = strstr(text, key);
    if (at) {
      at += strlen(key);
      snprintf(address, 128, "%.*s", (int)strcspn(at, "\""), at);
      return WEFT_OK;
    }
    pause_ms(LOOK_MS);
  }
  return bench_fail(p->b, WEFT_ETIMEOUT, "weft serve");
}

static weft_err join(const processes *p, const char *folder, const char *name) {
  static const char *const invite[] = {"invite", "-q", NULL};
  char ticket[TEXT_LEN_MAX];
  char text[TEXT_LEN_MAX];
  WEFT_TRY(command(p, p->sender, invite, NULL, ticket));
  ticket[strcspn(ticket, "\n")] = 0;
  const char *const arguments[] = {"join", ticket, p->address, "--name", name, "-q", NULL};
  return command(p, folder, arguments, NULL, text);
}

static weft_err import(processes *p, uint32_t templates) {
  char path[BENCH_PATH_LEN_MAX];
  char text[TEXT_LEN_MAX];
  bench_path(p->b, "templates.jsonl", path);
  const char *const arguments[] = {"import", path, "--collection", "templates",
                                   "--id",   "id", "--json",       NULL};
  WEFT_TRY(write_input(p, path, templates));
  weft_err err = command(p, p->sender, arguments, NULL, text);
  unlink(path);
  WEFT_TRY(err);
  p->fields = number_in(text, "fields_written");
  return bench_fail(p->b, p->fields > 0 ? WEFT_OK : WEFT_EIO, "weft import");
}

weft_err processes_open(processes *p, bench *b, uint32_t templates) {
  static const char *const init[] = {"init", "--name", "sender", "-q", NULL};
  char text[TEXT_LEN_MAX];
  *p = (processes){.b = b};
  bench_path(b, "sender", p->sender);
  bench_path(b, "receiver", p->receiver);
  if (!processes_program(p->program)) return bench_fail(b, WEFT_EIO, "no weft program is there");
  WEFT_TRY(command(p, p->sender, init, NULL, text));
  WEFT_TRY(import(p, templates));
  WEFT_TRY(serve(p, p->sender, NULL, &p->sender_daemon, p->address));
  return join(p, p->receiver, "receiver");
}

void processes_end(pid_t *daemon, const char *folder) {
  if (*daemon > 0) {
    kill(*daemon, SIGTERM);
    waitpid(*daemon, NULL, 0);
  }
  *daemon = 0;
  bench_tree_remove(folder);
}

void processes_close(processes *p) {
  processes_end(&p->receiver_daemon, p->receiver);
  processes_end(&p->sender_daemon, p->sender);
}

static weft_err check_same(const processes *p) {
  static const char *const digest[] = {"digest", "--json", NULL};
  char a[TEXT_LEN_MAX];
  char b[TEXT_LEN_MAX];
  WEFT_TRY(command(p, p->sender, digest, NULL, a));
  WEFT_TRY(command(p, p->receiver, digest, NULL, b));
  bool same = a[0] != 0 && strcmp(a, b) == 0;
  return bench_fail(p->b, same ? WEFT_OK : WEFT_EMISUSE, "the two devices differ after sync");
}

weft_err processes_sync(processes *p, processes_sync_result *out) {
  const char *const arguments[] = {"sync", p->address, "--json", "--timeout", "300s", NULL};
  char text[TEXT_LEN_MAX];
  *out = (processes_sync_result){0};
  double begin = bench_now();
  WEFT_TRY(command(p, p->receiver, arguments, out, text));
  out->seconds = bench_now() - begin;
  out->wire_len = number_in(text, "bytes_in");
  return check_same(p);
}

weft_err processes_serve(processes *p) {
  char address[128];
  return serve(p, p->receiver, p->address, &p->receiver_daemon, address);
}

weft_err processes_add(const processes *p, unsigned number, char folder[BENCH_PATH_LEN_MAX],
                       pid_t *daemon) {
  char name[32];
  char address[128];
  snprintf(name, sizeof name, "peer-%u", number);
  bench_path(p->b, name, folder);
  WEFT_TRY(join(p, folder, name));
  return serve(p, folder, p->address, daemon, address);
}

weft_err processes_count(const processes *p, processes_links *out) {
  static const char *const peers[] = {"peers", "--json", NULL};
  static const char *const keys[] = {"\"bytes_in\":", "\"bytes_out\":"};
  static const char open_link[] = "\"connected\":true";
  char path[BENCH_PATH_LEN_MAX];
  char first[TEXT_LEN_MAX];
  *out = (processes_links){0};
  WEFT_TRY(command(p, p->sender, peers, NULL, first));
  bench_path(p->b, "command.out", path);
  FILE *f = fopen(path, "r");
  char *line = NULL;
  size_t cap = 0;
  while (f && getline(&line, &cap, f) > 0) {
    for (const char *at = line; (at = strstr(at, open_link)); at++) out->open++;
    for (size_t i = 0; i < 2; i++) {
      for (const char *at = line; (at = strstr(at, keys[i])); at++) {
        const char *digits = at + strlen(keys[i]);
        out->bytes += strtoull(digits + (*digits == '"'), NULL, 10);
      }
    }
  }
  free(line);
  if (f) fclose(f);
  return WEFT_OK;
}

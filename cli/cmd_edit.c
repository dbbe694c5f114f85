/* edit and assign: a whole document as a person sees it in an editor.
 *
 * edit reads the document with the vector it was read at, opens $EDITOR on it, and hands the result
 * to assign with that vector as the base: what others wrote meanwhile is concurrent, and stays.
 * While the editor is open, others see so if a daemon runs; without one nobody could. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/draft.h"
#include "cli/fields.h"
#include "cli/files.h"
#include "cli/print.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/runtime.h"
#include "cli/space.h"
#include "crdt/json.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

enum { renew_s = 15 };

int cmd_assign(cli_call *c) {
  weft_bytes doc, text, bytes;
  int code = cli_doc_arg(c, 0, &doc);
  if (code != CLI_OK) return code;
  weft_value value;
  weft_json_error why;
  if (weft_json_parse(c->arena, c->args.input, &value, &why) != WEFT_OK)
    return cli_fail(c, CLI_FAILED, "the input is not JSON: line %zu: %s; nothing was written",
                    why.line, why.text);
  if (value.kind != WEFT_OBJECT) return cli_fail(c, CLI_FAILED, "a document is a JSON object");
  weft_vector base;
  weft__vector_init(&base, &c->arena->mem);
  bool based = cli_option_get(c, "base", &text);
  if (based && (!cli_unhex(c->arena, text, &bytes) || weft__vector_decode(&base, bytes) != WEFT_OK))
    return cli_fail(c, CLI_USAGE, "--base: not what get --with-base printed");
  weft_edit *e = NULL;
  code = cli_edit_open(c, based ? &base : NULL, &e);
  weft__vector_free(&base);
  if (code != CLI_OK) return code;
  weft_err err = weft_edit_import(e, doc, &value, false);
  if (err == WEFT_OK) return cli_edit_finish(c, e, doc);
  weft_edit_free(e);
  return cli_fail_err(c, err, "%.*s", TEXT(doc));
}

/* --- edit ----------------------------------------------------------------------------------------
 */

/* --- who else edits --- */

static void no_record(void *ctx, const weft_value *record) {
  (void)ctx;
  (void)record;
}

/* Runs `weft presence` with `words`; what goes wrong, as without a daemon, is nobody's concern
 * here. */
static int presence(cli_call *c, const char *const *words, int count, const cli_sink *sink) {
  char before[sizeof c->error];
  weft_arena *whole = c->arena, own;
  weft__arena_init(&own, &whole->mem);
  memcpy(before, c->error, sizeof before);
  c->arena = &own;
  int code = cli_invoke(c, words, count, sink);
  c->arena = whole;
  memcpy(c->error, before, sizeof before);
  weft__arena_free(&own);
  return code;
}

/* Says who else is editing, once a device. */
static void tell_editors(void *ctx, const weft_value *record) {
  const cli_call *c = ctx;
  const weft_value *list = cli_member(record, "sessions");
  for (size_t i = 0; list->kind == WEFT_ARRAY && i < list->as.array.count; i++) {
    const weft_value *s = &list->as.array.at[i];
    if (!cli_member_bool(cli_member(s, "state"), "editing") || c->front->quiet) continue;
    weft_bytes name = cli_member_text(s, "name"), doc = cli_member_text(s, "doc");
    fputs("weft: ", stderr);
    cli_print_line(stderr, name);
    fputs(cli_member_bool(s, "self") ? " (this device) is editing " : " is editing ", stderr);
    cli_print_line(stderr, doc);
    fputs(" too; what both of you write will merge\n", stderr);
  }
}

typedef struct announcement {
  const char *doc;
  char session[48];
  bool heard; /* a daemon answers */
} announcement;

static void announce(cli_call *c, announcement *a) {
  static const cli_sink nowhere = {NULL, no_record, NULL, NULL};
  const char *words[] = {"presence", "--set={\"editing\":true}", a->session, "--", a->doc};
  a->heard = presence(c, words, 5, &nowhere) == CLI_OK;
}

static void announce_begin(cli_call *c, announcement *a) {
  cli_sink tell = {c, tell_editors, NULL, NULL};
  const char *words[] = {"presence", "--", a->doc};
  snprintf(a->session, sizeof a->session, "--session=edit-%ld", (long)getpid());
  (void)presence(c, words, 3, &tell);
  announce(c, a);
}

static void announce_end(cli_call *c, const announcement *a) {
  static const cli_sink nowhere = {NULL, no_record, NULL, NULL};
  const char *words[] = {"presence", "--leave", a->session, "--", a->doc};
  if (a->heard) presence(c, words, 5, &nowhere);
}

/* --- the editor --- */

/* Waits for the editor and, meanwhile, gives signs of life. */
static int wait_for(cli_call *c, pid_t pid, const sigset_t *ended, announcement *a) {
  int status = -1;
  for (;;) {
    pid_t got = waitpid(pid, &status, WNOHANG);
    if (got != 0 && !(got < 0 && errno == EINTR)) return status;
    int number = sigtimedwait(ended, NULL, &(struct timespec){renew_s, 0});
    if (number < 0 && errno == EAGAIN) announce(c, a);
  }
}

/* What SIGINT and SIGQUIT did before. */
typedef struct keys_before {
  struct sigaction interrupt, quit;
} keys_before;

/* Keys that interrupt reach everybody at the terminal, and mean the editor. */
static void keys_leave(keys_before *before) {
  struct sigaction ignore;
  memset(&ignore, 0, sizeof ignore);
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGINT, &ignore, &before->interrupt);
  sigaction(SIGQUIT, &ignore, &before->quit);
}

static void keys_take(const keys_before *before) {
  sigaction(SIGINT, &before->interrupt, NULL);
  sigaction(SIGQUIT, &before->quit, NULL);
}

/* Runs `sh -c "$EDITOR FILE"`, since EDITOR may hold arguments. */
static int run_editor(cli_call *c, const char *file, announcement *a) {
  const char *editor = getenv("VISUAL");
  if (!editor || !*editor) editor = getenv("EDITOR");
  if (!editor || !*editor) editor = "vi";
  char line[CLI_PATH_MAX];
  if ((size_t)snprintf(line, sizeof line, "%s \"$1\"", editor) >= sizeof line)
    return cli_fail(c, CLI_FAILED, "EDITOR is too long");
  sigset_t ended, before;
  keys_before keys;
  sigemptyset(&ended);
  sigaddset(&ended, SIGCHLD);
  sigprocmask(SIG_BLOCK, &ended, &before);
  keys_leave(&keys);
  pid_t pid = fork();
  if (pid == 0) {
    keys_take(&keys);
    sigprocmask(SIG_SETMASK, &before, NULL);
    execl("/bin/sh", "sh", "-c", line, "sh", file, (char *)NULL);
    _exit(127);
  }
  int status = pid < 0 ? -1 : wait_for(c, pid, &ended, a);
  keys_take(&keys);
  sigprocmask(SIG_SETMASK, &before, NULL);
  if (pid < 0) return cli_fail(c, CLI_FAILED, "the editor cannot be started: too many processes");
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return CLI_OK;
  return cli_fail(c, CLI_FAILED, "the editor %s failed: nothing was written; your text is in %s",
                  editor, file);
}

static int write_text(cli_call *c, const weft_value *value, char *path, size_t cap) {
  const char *tmp = getenv("TMPDIR");
  snprintf(path, cap, "%s/weft-edit-XXXXXX", tmp && *tmp ? tmp : "/tmp");
  int fd = mkstemp(path);
  if (fd < 0) return cli_fail(c, CLI_FAILED, "no temporary file can be made in %s", path);
  weft_buf b;
  weft__buf_init(&b, &c->arena->mem, SIZE_MAX);
  weft_json_write_pretty(&b, value, 2);
  weft__buf_u8(&b, '\n');
  weft_err err = weft__buf_err(&b);
  if (err == WEFT_OK && write(fd, b.at, b.len) != (ssize_t)b.len) err = WEFT_EIO;
  weft__buf_free(&b);
  if (close(fd) != 0) err = WEFT_EIO;
  return err == WEFT_OK ? CLI_OK : cli_fail_err(c, err, "%s", path);
}

/* A word of the command line with an option's value, or NULL without it. */
static const char *option_word(cli_call *c, const char *name) {
  weft_bytes value;
  if (!cli_option_get(c, name, &value)) return NULL;
  size_t len = strlen(name) + value.len + 4;
  char *word = weft__arena_take(c->arena, len);
  if (word) snprintf(word, len, "--%s=%.*s", name, TEXT(value));
  return word;
}

static char *text_copy(cli_call *c, weft_bytes text, const char *prefix) {
  size_t len = strlen(prefix) + text.len + 1;
  char *copy = weft__arena_take(c->arena, len);
  if (copy) snprintf(copy, len, "%s%.*s", prefix, TEXT(text));
  return copy;
}

static void drop_record(void *ctx, const weft_value *record) {
  (void)ctx;
  (void)record;
}

/* Opens the draft before it is read, so that it rests on what the editor shows. */
static int open_draft(cli_call *c) {
  weft_bytes name;
  cli_sink sink = {NULL, drop_record, NULL, NULL};
  if (!cli_option_get(c, "draft", &name)) return CLI_OK;
  const char *words[] = {"draft", "open", "--", text_copy(c, name, "")};
  return cli_invoke(c, words, 4, &sink);
}

int cmd_edit(cli_call *c) {
  weft_bytes doc;
  int code = cli_doc_arg(c, 0, &doc);
  if (code != CLI_OK) return code;
  char *name = text_copy(c, doc, "");
  const char *draft = option_word(c, "draft");
  code = draft ? open_draft(c) : CLI_OK;
  if (code != CLI_OK) return code;
  const char *get[] = {"get", "--with-base", draft ? draft : "--", draft ? "--" : name, name};
  weft_value record;
  code = cli_invoke_one(c, get, draft ? 5 : 4, &record);
  if (code != CLI_OK) return code;
  char path[CLI_PATH_MAX];
  code = write_text(c, cli_member(&record, "value"), path, sizeof path);
  announcement a = {.doc = name};
  if (code == CLI_OK) {
    announce_begin(c, &a);
    code = run_editor(c, path, &a);
    announce_end(c, &a);
  }
  if (code != CLI_OK) return code;
  const char *assign[8] = {"assign"};
  size_t count = 1;
  assign[count++] = text_copy(c, cli_member_text(&record, "base"), "--base=");
  const char *message = option_word(c, "message");
  if (message) assign[count++] = message;
  const char *priority = option_word(c, "priority");
  if (priority) assign[count++] = priority;
  if (draft) assign[count++] = draft;
  assign[count++] = "--";
  assign[count++] = name;
  assign[count++] = path;
  code = cli_invoke(c, assign, (int)count, &c->sink);
  if (code == CLI_OK)
    unlink(path);
  else if (strlen(c->error) + strlen(path) + 32 < sizeof c->error)
    snprintf(c->error + strlen(c->error), sizeof c->error - strlen(c->error),
             "; your text is in %s", path);
  return code;
}

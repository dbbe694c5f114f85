/* serve: the daemon in the foreground. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/daemon.h"
#include "cli/fields.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/runtime.h"
#include "net/uv_address.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

enum { addresses_max = 64 };

typedef struct serving {
  cli_call *call;
  cli_control *control;
  uv_signal_t interrupt, terminate;
  cli_watch watch;
  bool ending, full;
} serving;

static void no_more(uv_handle_t *handle) { (void)handle; }

/* Stops listening to signals and commands; the node goes with the runtime. */
static void serving_end(serving *s, int code) {
  if (s->ending) return;
  s->ending = true;
  cli_watch_remove(s->call->runtime, &s->watch);
  s->call->runtime->ending = true;
  cli_watch_all(s->call->runtime);
  cli_control_stop(s->control);
  uv_close((uv_handle_t *)&s->interrupt, no_more);
  uv_close((uv_handle_t *)&s->terminate, no_more);
  cli_call_end(s->call, code);
}

static void on_signal(uv_signal_t *handle, int number) {
  (void)number;
  serving_end(handle->data, CLI_OK);
}

/* The daemon goes on with a full disk: it serves, and receives again when there is room. */
static void tell_full(serving *s, bool full) {
  if (s->full == full) return;
  s->full = full;
  fprintf(stderr, full
                      ? "weft: the disk is full: nothing new is received or shown until some space "
                        "is free; what is here is served\n"
                      : "weft: there is room again: receiving goes on\n");
}

static void look(cli_watch *w) {
  cli_runtime *rt = w->call->runtime;
  tell_full(w->call->state, rt->full);
  if (rt->failed_err == WEFT_OK) return;
  serving_end(w->call->state, cli_fail_err(w->call, rt->failed_err, "%s", rt->failed));
}

/* Values of a repeatable option, else the comma-separated ones of the configuration. */
static size_t addresses(cli_call *c, const char *name, weft_bytes *out) {
  size_t count = 0;
  while (count < addresses_max && cli_option_at(c, name, count, &out[count])) count++;
  weft_bytes text;
  if (count || !cli_home_config(c->home, name, &text)) return count;
  size_t from = 0;
  for (size_t i = 0; i <= text.len && count < addresses_max; i++) {
    if (i < text.len && text.at[i] != ',' && text.at[i] != ' ') continue;
    if (i > from) out[count++] = weft_bytes_of(text.at + from, i - from);
    from = i + 1;
  }
  return count;
}

static int addresses_ok(cli_call *c, const char *name, const weft_bytes *list, size_t count) {
  weft_host_port hp;
  for (size_t i = 0; i < count; i++) {
    if (weft__host_port_parse(list[i], &hp) == WEFT_OK) continue;
    return cli_fail(c, CLI_USAGE, "%s: %.*s is no address: HOST:PORT is wanted", name,
                    TEXT(list[i]));
  }
  return CLI_OK;
}

static bool switched(cli_call *c, const char *name) {
  weft_bytes text;
  if (cli_flag(c, name)) return true;
  return cli_home_config(c->home, name, &text) &&
         (text.len == 0 || weft_bytes_cmp(text, weft_bytes_str("true")) == 0 ||
          weft_bytes_cmp(text, weft_bytes_str("yes")) == 0);
}

static void announce(cli_call *c) {
  weft_value items[addresses_max];
  size_t count = 0;
  for (; count < addresses_max; count++) {
    weft_bytes address = weft_uv_node_listening(c->runtime->node, count);
    if (address.len == 0) break;
    items[count] = (weft_value){.kind = WEFT_STRING};
    items[count].as.bytes = address;
  }
  char text[512];
  snprintf(text, sizeof text, "serving %.*s as %.*s on %.*s\n", TEXT(c->space->name),
           TEXT(cli_home_name(c->home)), count ? (int)items[0].as.bytes.len : 7,
           count ? (const char *)items[0].as.bytes.at : "nothing");
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_text(&o, "text", text);
  cli_obj_put(&o, "listening", cli_array(items, count));
  cli_obj_bytes(&o, "space", c->space->name);
  cli_obj_bytes(&o, "name", cli_home_name(c->home));
  cli_emit_obj(c, &o);
}

/* What is accepted and not there is told, or somebody waits for it. */
static void tell_absent(cli_call *c) {
  weft_bytes text;
  bool quiet = c->front && c->front->quiet;
  if (!quiet && (cli_flag(c, "http") || cli_home_config(c->home, "http", &text)))
    fprintf(stderr, "weft: this version has no HTTP service yet: --http does nothing\n");
}

int cmd_serve(cli_call *c) {
  weft_bytes listen[addresses_max], connect[addresses_max];
  serving *s = weft__arena_zero(c->arena, 1, sizeof *s);
  if (!s) return cli_fail_err(c, WEFT_ENOMEM, "serve");
  int code = cli_home_load(c, c->home);
  if (code == CLI_OK) code = cli_space_take(c);
  if (code != CLI_OK) return code;
  cli_node_plan plan = {.listen = listen, .connect = connect};
  plan.gossip = !switched(c, "no-gossip");
  plan.remembered = !switched(c, "no-remembered");
  plan.listen_count = addresses(c, "listen", listen);
  plan.connect_count = addresses(c, "connect", connect);
  if (plan.listen_count == 0) listen[plan.listen_count++] = weft_bytes_str("0.0.0.0:7117");
  code = addresses_ok(c, "listen", listen, plan.listen_count);
  if (code == CLI_OK) code = addresses_ok(c, "connect", connect, plan.connect_count);
  if (code == CLI_OK) code = cli_node_start(c, &plan);
  if (code != CLI_OK) return code;
  s->call = c;
  c->state = s;
  uv_loop_t *loop = &c->runtime->loop;
  uv_signal_init(loop, &s->interrupt);
  uv_signal_init(loop, &s->terminate);
  s->interrupt.data = s->terminate.data = s;
  s->watch = (cli_watch){.call = c, .look = look};
  cli_watch_add(c->runtime, &s->watch);
  uv_signal_start(&s->interrupt, on_signal, SIGINT);
  uv_signal_start(&s->terminate, on_signal, SIGTERM);
  code = cli_control_start(c, &s->control);
  c->runtime->control = s->control;
  if (code != CLI_OK) {
    serving_end(s, code);
    return code;
  }
  tell_absent(c);
  announce(c);
  return CLI_PENDING;
}

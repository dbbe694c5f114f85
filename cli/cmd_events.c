/* events: what has happened, and what happens.
 *
 * What is kept is read by pages.  To follow, the daemon has one subscription for each caller; what
 * is due is given out before the loop waits for anything, as far as the caller takes it.  Without a
 * daemon the caller's process looks at the store again whenever that has changed, and lets go of it
 * in between, so that others can write. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/fields.h"
#include "cli/network.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/space.h"
#include "cli/version.h"
#include "crdt/hlc.h"
#include "crdt/limits.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

enum { page_max = 512 };

/* --- what is wanted ------------------------------------------------------------------------------
 */

typedef struct wanted {
  weft_event_mask mask;
  weft_event_filter filter;
  weft_bytes pointer;
  uint64_t since;
  bool from; /* --since was given */
  bool debug;
} wanted;

static int read_patterns(cli_call *c, wanted *w) {
  w->mask = c->args.arg_count == 0 ? ~(weft_event_mask)0 : 0;
  for (size_t i = 0; i < c->args.arg_count; i++) {
    weft_event_mask mask;
    weft_bytes pattern = c->args.args[i];
    weft_err err = weft_event_pattern(pattern, &mask);
    if (err == WEFT_EBADVALUE)
      return cli_fail(c, CLI_USAGE,
                      "%.*s is no pattern: words joined by points, * for one, ** for the rest, "
                      "such as doc.* or sync.**",
                      TEXT(pattern));
    if (err != WEFT_OK)
      return cli_fail(c, CLI_USAGE, "no event is called %.*s: weft help events lists them",
                      TEXT(pattern));
    w->mask |= mask;
  }
  return CLI_OK;
}

/* A collection is what may stand before the last part of a document's name. */
static bool is_collection(weft_bytes text) {
  char name[WEFT_NAME_LEN_MAX + 1];
  int len = snprintf(name, sizeof name, "%.*s/x", TEXT(text));
  return len > 0 && (size_t)len < sizeof name &&
         weft_document_name_check(weft_bytes_of(name, (size_t)len)) == WEFT_OK;
}

static int read_filter(cli_call *c, wanted *w) {
  weft_bytes *tokens = NULL;
  weft_bytes text;
  if (cli_option_get(c, "collection", &w->filter.collection) &&
      !is_collection(w->filter.collection))
    return cli_fail(c, CLI_USAGE, "--collection %.*s: a name such as templates is wanted",
                    TEXT(w->filter.collection));
  if (!cli_option_get(c, "path", &text)) return CLI_OK;
  int code = cli_pointer_of(c, text, &w->pointer);
  if (code != CLI_OK) return code;
  if (weft_pointer_split(c->arena, w->pointer, &tokens, &w->filter.token_count) != WEFT_OK)
    return cli_fail(c, CLI_USAGE, "--path %.*s: a JSON Pointer is wanted, such as /steps/0",
                    TEXT(text));
  w->filter.tokens = tokens;
  return CLI_OK;
}

/* Finds the number to begin after: that of --since, else the oldest that is kept. */
static int read_since(cli_call *c, wanted *w) {
  uint64_t first, last;
  weft_bytes text;
  weft_err err = weft_replica_events_span(c->space->replica, &first, &last);
  if (err != WEFT_OK) return cli_fail_err(c, err, "events");
  w->from = cli_option_get(c, "since", &text);
  if (!cli_option_number(c, "since", 0, INT64_MAX / 10, first - 1, &w->since)) return CLI_USAGE;
  if (w->since > last)
    return cli_fail(
        c, CLI_FAILED,
        "--since %llu: the newest event is %llu; go on from there, or leave --since out",
        (unsigned long long)w->since, (unsigned long long)last);
  if (w->since + 1 < first)
    return cli_fail(c, CLI_FAILED,
                    "--since %llu: events up to %llu are no longer kept; read the documents anew, "
                    "then go on with --since %llu",
                    (unsigned long long)w->since, (unsigned long long)(first - 1),
                    (unsigned long long)(first - 1));
  return CLI_OK;
}

/* --- records -------------------------------------------------------------------------------------
 */

static void put_name(cli_call *c, cli_obj *o, const char *key, const weft_id *device) {
  char scratch[17];
  weft_bytes name = cli_device_name(c->space, device, scratch), kept;
  bool ok = weft__arena_copy(o->arena, name, &kept) == WEFT_OK;
  cli_obj_bytes(o, key, ok ? kept : weft_bytes_of("", 0));
}

/* The document, change, device or text that an event is about; of what has none, this device. */
static void put_subject(cli_obj *o, const weft_event *e) {
  bool change = e->type >= WEFT_EVENT_CHANGE_COMMITTED && e->type <= WEFT_EVENT_CHANGE_UNKNOWN;
  if (e->doc.len)
    cli_obj_bytes(o, "subject", e->doc);
  else if (change)
    cli_obj_hex(o, "subject", e->change.b, sizeof e->change.b);
  else if (e->has_device)
    cli_obj_hex(o, "subject", e->device.b, sizeof e->device.b);
  else if (e->text.len)
    cli_obj_bytes(o, "subject", e->text);
  else
    cli_obj_hex(o, "subject", e->source.b, sizeof e->source.b);
}

static void put_paths(cli_obj *o, const weft_event *e) {
  weft_value *paths = weft__arena_zero(o->arena, e->path_count + 1, sizeof *paths);
  for (size_t i = 0; paths && i < e->path_count; i++)
    paths[i] = cli_path_value(o->arena, e->paths[i]);
  cli_obj_put(o, "paths", cli_array(paths, paths ? e->path_count : 0));
}

/* Why it happened, and who has got it: known only of what is handed out now. */
static void put_debug(cli_obj *o, const weft_event *e, const weft_delivery *d) {
  size_t count = d ? d->to_count : 0;
  weft_value *to = weft__arena_zero(o->arena, count + 1, sizeof *to);
  for (size_t i = 0; to && i < count; i++) {
    to[i].kind = WEFT_INT;
    to[i].as.integer = (int64_t)d->to[i];
  }
  cli_obj_text(o, "because", weft_event_cause(e->type));
  cli_obj_put(o, "to", cli_array(to, to ? count : 0));
  cli_obj_int(o, "to_total", d ? (int64_t)d->to_total : 0);
}

static void emit(cli_call *c, weft_arena *arena, const weft_event *e, bool debug,
                 const weft_delivery *d) {
  cli_obj o = cli_obj_begin(arena);
  if (e->seq) cli_obj_int(&o, "seq", (int64_t)e->seq);
  cli_obj_text(&o, "type", weft_event_name(e->type));
  cli_obj_hex(&o, "source", e->source.b, sizeof e->source.b);
  put_name(c, &o, "name", &e->source);
  if (e->time)
    cli_obj_time(&o, "time",
                 weft_hlc_join(e->time < WEFT_HLC_MS_MAX ? e->time : WEFT_HLC_MS_MAX, 0));
  else
    cli_obj_text(&o, "time", NULL);
  put_subject(&o, e);
  if (e->cause) cli_obj_int(&o, "cause", (int64_t)e->cause);
  if (e->doc.len) cli_obj_bytes(&o, "doc", e->doc);
  if (e->has_change) cli_obj_hex(&o, "change", e->change.b, sizeof e->change.b);
  if (e->has_device) cli_obj_hex(&o, "device", e->device.b, sizeof e->device.b);
  if (e->has_device) put_name(c, &o, "device_name", &e->device);
  if (e->count) cli_obj_int(&o, "count", (int64_t)(e->count & INT64_MAX));
  if (e->text.len) cli_obj_bytes(&o, "text", e->text);
  if (e->why != WEFT_OK) cli_obj_text(&o, "why", weft_err_str(e->why));
  if (e->doc.len) put_paths(&o, e);
  if (debug) put_debug(&o, e, d);
  cli_emit_obj(c, &o);
}

/* Prints a page of what is kept, and moves `since` over it. */
static weft_err print_page(cli_call *c, wanted *w, bool *more) {
  weft_arena arena;
  weft_event *events;
  size_t count;
  weft__arena_init(&arena, &c->arena->mem);
  weft_err err =
      weft_replica_events(c->space->replica, &arena, w->since, page_max, &events, &count);
  for (size_t i = 0; err == WEFT_OK && i < count; i++) {
    const weft_event *e = &events[i];
    w->since = e->seq;
    if ((w->mask & WEFT_EVENT_BIT(e->type)) && weft_event_passes(e, &w->filter))
      emit(c, &arena, e, w->debug, NULL);
  }
  weft__arena_free(&arena);
  *more = err == WEFT_OK && count > 0;
  return err;
}

/* --- following in the daemon ---------------------------------------------------------------------
 */

typedef struct follow follow;

/* One caller that follows. */
struct follow {
  cli_watch watch; /* first: the daemon's end */
  follow *next;
  cli_call *call;
  uint64_t id; /* of its subscription */
  bool debug;
};

struct cli_follows {
  uv_prepare_t prepare; /* first */
  cli_runtime *rt;
  follow *first;
};

static void follows_closed(uv_handle_t *handle) { free(handle->data); }

static void follow_end(cli_runtime *rt, follow *f, int code) {
  struct cli_follows *all = rt->follows;
  for (follow **at = &all->first; *at; at = &(*at)->next) {
    if (*at != f) continue;
    *at = f->next;
    break;
  }
  cli_watch_remove(rt, &f->watch);
  (void)!weft_events_unsubscribe(rt->bus, f->id); /* it is there: nobody else ends it */
  if (!all->first) {
    rt->follows = NULL;
    uv_close((uv_handle_t *)&all->prepare, follows_closed);
  }
  cli_call *call = f->call;
  free(f);
  cli_call_end(call, code);
}

/* Gives out what is due for one caller, or ends it when nobody is left. */
static void follow_give(cli_runtime *rt, follow *f, weft_arena *arena, bool *any) {
  weft_delivery d;
  cli_call *c = f->call;
  for (;;) {
    cli_pace pace = cli_pace_of(c);
    if (pace == CLI_GONE) {
      follow_end(rt, f, CLI_OK);
      return;
    }
    if (pace == CLI_WAIT) return;
    if (!weft_events_take(rt->bus, uv_now(&rt->loop), f->id, &d)) return;
    weft__arena_reset(arena);
    emit(c, arena, d.event, f->debug, &d);
    *any = true;
  }
}

/* Before the loop waits: whatever its callbacks have written is durable by now.  `all` stays until
 * the loop has closed its handle, also when the last caller ends in here. */
static void on_prepare(uv_prepare_t *handle) {
  struct cli_follows *all = handle->data;
  cli_runtime *rt = all->rt;
  weft_arena arena;
  weft_alloc mem = weft_alloc_libc();
  bool any = true;
  weft__arena_init(&arena, &mem);
  while (any && rt->follows) {
    any = false;
    weft_err err = weft_events_pump(rt->bus, uv_now(&rt->loop));
    for (follow *f = all->first, *next; f; f = next) {
      next = f->next;
      if (err == WEFT_OK)
        follow_give(rt, f, &arena, &any);
      else
        follow_end(rt, f, cli_fail_err(f->call, err, "events"));
    }
  }
  weft__arena_free(&arena);
}

static int daemon_stops(cli_call *c) {
  return cli_fail(c, CLI_FAILED, "the daemon was stopped: start weft events again, with --since");
}

static void follow_look(cli_watch *w) {
  follow *f = (follow *)(void *)w;
  cli_runtime *rt = f->call->runtime;
  if (rt->ending)
    follow_end(rt, f, daemon_stops(f->call));
  else if (rt->failed_err != WEFT_OK)
    follow_end(rt, f, cli_fail_err(f->call, rt->failed_err, "%s", rt->failed));
}

static struct cli_follows *follows_of(cli_runtime *rt) {
  if (rt->follows) return rt->follows;
  struct cli_follows *all = calloc(1, sizeof *all);
  if (!all) return NULL;
  all->rt = rt;
  uv_prepare_init(&rt->loop, &all->prepare);
  all->prepare.data = all;
  uv_prepare_start(&all->prepare, on_prepare);
  rt->follows = all;
  return all;
}

static int follow_start(cli_call *c, const wanted *w) {
  cli_runtime *rt = c->runtime;
  weft_subscription_options o;
  if (rt->ending) return daemon_stops(c);
  weft_subscription_options_init(&o);
  o.patterns = c->args.args;
  o.pattern_count = c->args.arg_count;
  o.collection = w->filter.collection;
  o.pointer = w->pointer;
  o.has_since = true;
  o.since = w->since;
  o.trace = w->debug;
  follow *f = calloc(1, sizeof *f);
  weft_err err = f ? weft_events_subscribe(rt->bus, &o, &f->id) : WEFT_ENOMEM;
  struct cli_follows *all = err == WEFT_OK ? follows_of(rt) : NULL;
  if (!all) {
    if (err == WEFT_OK) (void)!weft_events_unsubscribe(rt->bus, f->id);
    free(f);
    return cli_fail_err(c, err == WEFT_OK ? WEFT_ENOMEM : err, "events");
  }
  f->call = c;
  f->debug = w->debug;
  f->watch = (cli_watch){.call = c, .look = follow_look};
  cli_watch_add(rt, &f->watch);
  f->next = all->first;
  all->first = f;
  return CLI_PENDING;
}

/* --- the command ---------------------------------------------------------------------------------
 */

/* What is kept, as far as the reader keeps up, then what happens. */
static int events_on(cli_call *c) {
  wanted *w = c->state;
  weft_err err = WEFT_OK;
  bool more = true;
  c->resume = events_on;
  while (err == WEFT_OK && more) {
    cli_pace pace = cli_pace_of(c);
    if (pace == CLI_WAIT) return CLI_PENDING;
    if (pace == CLI_GONE) return CLI_FAILED;
    err = print_page(c, w, &more);
  }
  c->resume = NULL;
  if (err != WEFT_OK) return cli_fail_err(c, err, "events");
  if (!cli_flag(c, "follow")) return CLI_OK;
  if (c->runtime) return follow_start(c, w);
  c->seen = w->since;
  c->store_file = cli_space_file(c->arena, c->home, &c->space->id);
  return c->store_file ? CLI_AGAIN : cli_fail_err(c, WEFT_ENOMEM, "events");
}

int cmd_events(cli_call *c) {
  wanted *w = weft__arena_zero(c->arena, 1, sizeof *w);
  if (!w) return cli_fail_err(c, WEFT_ENOMEM, "events");
  w->debug = cli_flag(c, "debug");
  c->state = w;
  /* What waits to be written is history too; where that fails it is not yet. */
  (void)!weft_replica_flush_events(c->space->replica);
  int code = read_patterns(c, w);
  if (code == CLI_OK) code = read_filter(c, w);
  if (code == CLI_OK) code = read_since(c, w);
  return code == CLI_OK ? events_on(c) : code;
}

/* pending: what is on its way, to whom, and what holds it back. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/fields.h"
#include "cli/network.h"
#include "cli/run.h"
#include "cli/version.h"
#include "cli/waiting.h"
#include "crdt/json.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

enum { page = 1000 };

/* --- the list ------------------------------------------------------------------------------------
 */

/* Everything the lines below are made of. */
typedef struct work {
  cli_call *call;
  const weft_node *node;
  weft_node_peer *peers;
  size_t peer_count;
  weft_node_park *parks;
  size_t park_count;
  weft_vector floor;
  uint64_t now_ms;
} work;

static weft_err work_open(work *w, cli_call *c) {
  *w = (work){.call = c, .node = weft_uv_node_core(c->runtime->node), .now_ms = cli_wall_ms()};
  weft__vector_init(&w->floor, &c->arena->mem);
  WEFT_TRY(cli_ways(c, c->arena, &w->peers, &w->peer_count));
  WEFT_TRY(weft_node_parked(w->node, c->arena, &w->parks, &w->park_count));
  return weft_node_floor(w->node, &w->floor);
}

static void work_close(work *w) { weft__vector_free(&w->floor); }

static const weft_node_park *park_of(const work *w, const weft_id *device, const weft_id *log,
                                     uint64_t seq) {
  for (size_t i = 0; i < w->park_count; i++) {
    const weft_node_park *p = &w->parks[i];
    if (weft_id_cmp(&p->device, device) == 0 && weft_id_cmp(&p->log, log) == 0 && seq >= p->from)
      return p;
  }
  return NULL;
}

/* One member that a change waits for. */
static weft_value target_row(const work *w, weft_arena *arena, const weft_id *device,
                             const weft_node_park *park) {
  cli_call *c = w->call;
  const weft_node_peer *way = cli_way_to(w->peers, w->peer_count, device);
  char scratch[17], time[32];
  weft_bytes copy, name = cli_device_name(c->space, device, scratch);
  cli_obj o = cli_obj_begin(arena);
  cli_obj_hex(&o, "device", device->b, sizeof device->b);
  if (weft__arena_copy(arena, name, &copy) == WEFT_OK) cli_obj_bytes(&o, "name", copy);
  cli_obj_bool(&o, "connected", way && way->state >= WEFT_PEER_SYNCING);
  cli_obj_bool(&o, "paused", weft_node_is_paused(w->node, device));
  cli_obj_int(&o, "attempts", way ? way->attempts : 0);
  cli_obj_text(&o, "last_error",
               park                                ? weft_err_str(park->why)
               : way && way->last_error != WEFT_OK ? weft_err_str(way->last_error)
                                                   : NULL);
  if (way && way->next_try != WEFT_NEVER) {
    weft_ms now = weft_uv_node_now(c->runtime->node);
    cli_time_text(time, w->now_ms + (way->next_try > now ? way->next_try - now : 0));
    cli_obj_text(&o, "next_try", time);
  } else {
    cli_obj_text(&o, "next_try", NULL);
  }
  cli_obj_bool(&o, "parked", park != NULL);
  return cli_obj_end(&o);
}

static weft_err put_targets(const work *w, cli_obj *o, const weft_history_entry *e) {
  weft_node_reach *list;
  size_t count, n = 0;
  const char *why = NULL;
  WEFT_TRY(weft_node_reaches(w->node, o->arena, &e->log, &list, &count));
  weft_value *rows = weft__arena_zero(o->arena, count + 1, sizeof *rows);
  if (!rows) return WEFT_ENOMEM;
  for (size_t i = 0; i < count; i++) {
    if (list[i].seq >= e->seq) continue;
    const weft_node_park *park = park_of(w, &list[i].device, &e->log, e->seq);
    if (park) why = weft_err_str(park->why);
    rows[n++] = target_row(w, o->arena, &list[i].device, park);
  }
  cli_obj_put(o, "waiting_for", cli_array(rows, n));
  cli_obj_text(o, "state", why ? "parked" : "pending");
  cli_obj_text(o, "parked", why);
  return WEFT_OK;
}

static weft_err emit_own(const work *w, weft_arena *arena, const weft_own_change *own) {
  const weft_history_entry *e = &own->change;
  uint64_t written = e->hlc >> 16;
  cli_obj o = cli_obj_begin(arena);
  cli_obj_hex(&o, "change", e->change.b, sizeof e->change.b);
  cli_obj_hex(&o, "log", e->log.b, sizeof e->log.b);
  cli_obj_int(&o, "seq", (int64_t)e->seq);
  cli_obj_time(&o, "time", e->hlc);
  cli_obj_int(&o, "age_seconds", w->now_ms > written ? (int64_t)(w->now_ms - written) / 1000 : 0);
  cli_obj_int(&o, "bytes", (int64_t)own->len);
  cli_obj_text(&o, "priority", cli_lane_name(own->lane));
  if (e->message.len)
    cli_obj_bytes(&o, "message", e->message);
  else
    cli_obj_text(&o, "message", NULL);
  cli_put_docs(&o, e);
  WEFT_TRY(put_targets(w, &o, e));
  cli_emit_obj(w->call, &o);
  return WEFT_OK;
}

static weft_err list_own(work *w, size_t limit) {
  weft_arena arena;
  weft_own_change *own;
  size_t count = 0;
  uint64_t total;
  weft__arena_init(&arena, &w->call->arena->mem);
  weft_err err =
      weft_replica_own(w->call->space->replica, &arena, &w->floor, limit, &own, &count, &total);
  for (size_t i = 0; err == WEFT_OK && i < count; i++) {
    weft_arena line;
    weft__arena_init(&line, &w->call->arena->mem);
    err = emit_own(w, &line, &own[i]);
    weft__arena_free(&line);
  }
  weft__arena_free(&arena);
  return err;
}

/* What others wrote, is held here, and cannot be shown yet. */
static weft_err list_stuck(cli_call *c) {
  weft_value rows;
  size_t count;
  WEFT_TRY(cli_stuck_rows(c, &rows, &count));
  for (size_t i = 0; i < count; i++) {
    const weft_value *row = &rows.as.array.at[i];
    cli_obj o = cli_obj_begin(c->arena);
    for (size_t k = 0; k < row->as.object.count; k++) cli_obj_add(&o, &row->as.object.at[k]);
    cli_obj_text(&o, "state", "waiting");
    cli_emit_obj(c, &o);
  }
  return WEFT_OK;
}

/* --- exporting -----------------------------------------------------------------------------------
 */

static weft_err export_line(cli_call *c, FILE *file, const weft_own_change *own) {
  weft_arena arena;
  weft_buf line;
  weft__arena_init(&arena, &c->arena->mem);
  weft__buf_init(&line, &arena.mem, SIZE_MAX);
  weft_value record = cli_change_record(c, &arena, &own->change, weft_bytes_of("", 0));
  weft_json_write(&line, &record);
  weft__buf_u8(&line, '\n');
  weft_err err = weft__buf_err(&line);
  if (err == WEFT_OK && fwrite(line.at, 1, line.len, file) != line.len) err = WEFT_EFULL;
  weft__buf_free(&line);
  weft__arena_free(&arena);
  return err;
}

/* A page of them; `floor` moves on.  `count` gets how many there were. */
static weft_err export_page(work *w, FILE *file, size_t *count) {
  weft_arena arena;
  weft_own_change *own;
  uint64_t total;
  cli_call *c = w->call;
  *count = 0;
  weft__arena_init(&arena, &c->arena->mem);
  weft_err err = weft_replica_own(c->space->replica, &arena, &w->floor, page, &own, count, &total);
  for (size_t i = 0; err == WEFT_OK && i < *count; i++) {
    const weft_history_entry *e = &own[i].change;
    weft_head head = {e->log, e->seq, e->change};
    err = export_line(c, file, &own[i]);
    if (err == WEFT_OK) err = weft__vector_raise(&w->floor, NULL, &head);
  }
  weft__arena_free(&arena);
  return err;
}

static int pending_export(work *w, weft_bytes name) {
  cli_call *c = w->call;
  char path[CLI_PATH_MAX];
  if (name.len >= sizeof path || name.len == 0)
    return cli_fail(c, CLI_USAGE, "pending export: the name of a file is wanted");
  snprintf(path, sizeof path, "%.*s", TEXT(name));
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
  if (!file) {
    if (fd >= 0) close(fd);
    return cli_fail(c, CLI_FAILED, "%s cannot be made: %s", path,
                    errno == EEXIST ? "it is there already" : "look at the folder");
  }
  size_t count = 0, all = 0;
  weft_err err;
  do {
    err = export_page(w, file, &count);
    all += count;
  } while (err == WEFT_OK && count == page);
  if (fclose(file) != 0 && err == WEFT_OK) err = WEFT_EFULL;
  if (err != WEFT_OK) {
    unlink(path);
    return cli_fail_err(c, err, "%s", path);
  }
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_int(&o, "exported", (int64_t)all);
  cli_obj_text(&o, "file", path);
  cli_emit_obj(c, &o);
  return CLI_OK;
}

static int pending_retry(cli_call *c, const work *w) {
  weft_uv_node_retry(c->runtime->node);
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_int(&o, "retried", (int64_t)w->park_count);
  cli_emit_obj(c, &o);
  return CLI_OK;
}

int cmd_pending(cli_call *c) {
  work w;
  uint64_t limit;
  weft_bytes what = c->args.arg_count ? c->args.args[0] : weft_bytes_of("", 0);
  bool retry = weft_bytes_cmp(what, weft_bytes_str("retry")) == 0 && c->args.arg_count == 1;
  bool export = weft_bytes_cmp(what, weft_bytes_str("export")) == 0 && c->args.arg_count == 2;
  if (c->args.arg_count && !retry && !export)
    return cli_fail(c, CLI_USAGE, "pending: retry, export FILE, or nothing is wanted");
  if (!cli_option_number(c, "limit", 1, 10000, 1000, &limit)) return CLI_USAGE;
  int code = cli_any_node(c);
  if (code != CLI_OK) return code;
  weft_err err = work_open(&w, c);
  if (err == WEFT_OK && retry) {
    code = pending_retry(c, &w);
  } else if (err == WEFT_OK && export) {
    code = pending_export(&w, c->args.args[1]);
  } else {
    if (err == WEFT_OK) err = list_own(&w, (size_t)limit);
    if (err == WEFT_OK) err = list_stuck(c);
  }
  work_close(&w);
  return err == WEFT_OK ? code : cli_fail_err(c, err, "pending");
}

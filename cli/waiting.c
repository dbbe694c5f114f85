/* What is held here and not shown, as records and in words.
 *
 * Who had a missing change last is read from the acknowledgements; where none names it, whoever
 * claimed it had it when it wrote. */
#include "cli/waiting.h"

#include <stdio.h>
#include <string.h>

#include "cli/network.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

static void put_device(cli_call *c, cli_obj *o, const weft_id *device) {
  char scratch[17];
  weft_bytes copy, name = cli_device_name(c->space, device, scratch);
  cli_obj_hex(o, "device", device->b, sizeof device->b);
  if (weft__arena_copy(c->arena, name, &copy) == WEFT_OK) cli_obj_bytes(o, "name", copy);
}

/* The member whose newest acknowledgement named the change; of several, the latest word. */
static weft_err put_last_had(cli_call *c, cli_obj *o, const weft_stuck *stuck) {
  weft_node_reach *list;
  const weft_node_reach *best = NULL;
  size_t count;
  WEFT_TRY(weft_node_reaches(weft_uv_node_core(c->runtime->node), c->arena, &stuck->wants_log,
                             &list, &count));
  for (size_t i = 0; i < count; i++) {
    if (list[i].seq < stuck->wants_seq) continue;
    if (!best || list[i].at > best->at) best = &list[i];
  }
  cli_obj p = cli_obj_begin(c->arena);
  put_device(c, &p, best ? &best->device : &stuck->device);
  if (best)
    cli_obj_time(&p, "time", best->at);
  else
    cli_obj_text(&p, "time", NULL);
  cli_obj_put(o, "last_had", cli_obj_end(&p));
  return WEFT_OK;
}

static weft_err stuck_row(cli_call *c, const weft_stuck *stuck, weft_value *row) {
  cli_obj o = cli_obj_begin(c->arena);
  char time[32];
  weft_id id;
  cli_obj_hex(&o, "log", stuck->log.b, sizeof stuck->log.b);
  cli_obj_int(&o, "seq", (int64_t)stuck->seq);
  WEFT_TRY(weft_replica_id_at(c->space->replica, &stuck->log, WEFT_BRANCH_ANY, stuck->seq, &id));
  cli_obj_hex(&o, "change", id.b, sizeof id.b);
  put_device(c, &o, &stuck->device);
  cli_obj_int(&o, "count", (int64_t)stuck->count);
  cli_time_text(time, stuck->since);
  cli_obj_text(&o, "since", time);
  cli_obj_hex(&o, "wants_log", stuck->wants_log.b, sizeof stuck->wants_log.b);
  cli_obj_int(&o, "wants_seq", (int64_t)stuck->wants_seq);
  cli_obj_int(&o, "wants_held", (int64_t)stuck->wants_held);
  if (stuck->wants_known)
    cli_obj_hex(&o, "wants_device", stuck->wants_device.b, sizeof stuck->wants_device.b);
  else
    cli_obj_text(&o, "wants_device", NULL);
  WEFT_TRY(put_last_had(c, &o, stuck));
  *row = cli_obj_end(&o);
  return WEFT_OK;
}

weft_err cli_stuck_rows(cli_call *c, weft_value *rows, size_t *count) {
  weft_stuck *stuck;
  WEFT_TRY(weft_replica_stuck(c->space->replica, c->arena, &stuck, count));
  weft_value *at = weft__arena_zero(c->arena, *count + 1, sizeof *at);
  if (!at) return WEFT_ENOMEM;
  for (size_t i = 0; i < *count; i++) WEFT_TRY(stuck_row(c, &stuck[i], &at[i]));
  *rows = cli_array(at, *count);
  return WEFT_OK;
}

static int64_t sum_of(const weft_value *rows) {
  int64_t sum = 0;
  for (size_t i = 0; i < rows->as.array.count; i++)
    sum += cli_member_int(&rows->as.array.at[i], "count");
  return sum;
}

void cli_stuck_text(const weft_value *rows, char *out, size_t cap) {
  const weft_value *row = &rows->as.array.at[0];
  weft_bytes log = cli_member_text(row, "wants_log"), since = cli_member_text(row, "since");
  weft_bytes had = cli_member_text(cli_member(row, "last_had"), "name");
  if (had.len > 16) had.len = 16;
  snprintf(out, cap, "%lld wait since %.10s for log %.8s seq %lld, which %.*s had",
           (long long)sum_of(rows), (const char *)since.at, (const char *)log.at,
           (long long)cli_member_int(row, "wants_seq"), TEXT(had));
}

weft_err cli_later_rows(cli_call *c, weft_value *rows, size_t *count) {
  weft_later *later;
  WEFT_TRY(weft_replica_later(c->space->replica, c->arena, &later, count));
  weft_value *at = weft__arena_zero(c->arena, *count + 1, sizeof *at);
  if (!at) return WEFT_ENOMEM;
  for (size_t i = 0; i < *count; i++) {
    cli_obj o = cli_obj_begin(c->arena);
    cli_obj_hex(&o, "log", later[i].log.b, sizeof later[i].log.b);
    put_device(c, &o, &later[i].device);
    cli_obj_int(&o, "count", (int64_t)later[i].count);
    cli_obj_int(&o, "seq", (int64_t)later[i].first);
    at[i] = cli_obj_end(&o);
  }
  *rows = cli_array(at, *count);
  return WEFT_OK;
}

void cli_later_text(const weft_value *rows, char *out, size_t cap) {
  weft_bytes name = cli_member_text(&rows->as.array.at[0], "name");
  size_t others = rows->as.array.count - 1;
  if (name.len > 12) name.len = 12;
  snprintf(out, cap, "%lld change(s) of %.*s%s need a later weft: upgrade this one",
           (long long)sum_of(rows), TEXT(name), others ? " and others" : "");
}

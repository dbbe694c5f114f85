/* digest, verify, repair, doctor: is what is here what was written? */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "cli/home.h"
#include "cli/network.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/runtime.h"
#include "cli/space.h"
#include "cli/waiting.h"

/* The shown vector as {log: seq}, logs in hex; a forked log has its greatest seq. */
static weft_value vector_value(cli_call *c, const weft_vector *v) {
  cli_obj o = cli_obj_begin(c->arena);
  for (size_t i = 0; i < v->count; i++) {
    if (i + 1 < v->count && weft_id_cmp(&v->heads[i].log, &v->heads[i + 1].log) == 0) continue;
    char *key = weft__arena_take(c->arena, 2 * sizeof(weft_id) + 1);
    if (!key) break;
    cli_hex(key, v->heads[i].log.b, sizeof(weft_id));
    cli_obj_int(&o, key, (int64_t)v->heads[i].seq);
  }
  return cli_obj_end(&o);
}

int cmd_digest(cli_call *c) {
  cli_obj o = cli_obj_begin(c->arena);
  weft_digest d = weft_replica_digest(c->space->replica);
  cli_obj_digest(&o, "digest", d.high, d.low);
  cli_obj_put(&o, "vector", vector_value(c, weft_replica_shown(c->space->replica)));
  cli_emit_obj(c, &o);
  return CLI_OK;
}

static void show_progress(void *ctx, uint64_t done, uint64_t total) {
  cli_call *c = ctx;
  cli_progress(c, c->args.command->name, done, total);
}

/* What was found, and how fast: changes a second since `since`. */
static void emit_report(cli_call *c, const weft_verify_report *report, bool ok, uint64_t since) {
  bool repaired = strcmp(c->args.command->name, "repair") == 0;
  uint64_t now = cli_wall_ms();
  uint64_t ms = now > since ? now - since : 1;
  weft_value seconds = {.kind = WEFT_DOUBLE, .as.real = (double)ms / 1000};
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_put(&o, "seconds", seconds);
  cli_obj_int(&o, "changes_per_second", (int64_t)(report->changes * 1000 / ms));
  cli_obj_bool(&o, "ok", ok);
  cli_obj_int(&o, "changes", (int64_t)report->changes);
  cli_obj_int(&o, "signatures", (int64_t)report->signatures);
  cli_obj_int(&o, "documents", (int64_t)report->documents);
  if (!repaired) cli_obj_int(&o, "fields", (int64_t)report->fields); /* made anew, not compared */
  cli_obj_int(&o, "bad", (int64_t)report->bad);
  if (report->first[0]) cli_obj_text(&o, "first", report->first);
  cli_emit_obj(c, &o);
}

/* A long reading, which is why it does not ask the daemon: that would keep everybody waiting. */
int cmd_verify(cli_call *c) {
  weft_verify_report report = {0};
  int code = cli_beside(c);
  if (code != CLI_OK) return code;
  uint64_t since = cli_wall_ms();
  weft_err err = weft_replica_verify(c->space->replica, show_progress, c, &report);
  if (err != WEFT_OK && err != WEFT_ECORRUPT) return cli_fail_err(c, err, "verify");
  emit_report(c, &report, err == WEFT_OK, since);
  if (err == WEFT_OK) return CLI_OK;
  return cli_fail(c, CLI_FAILED, "verify: %llu findings, first: %s; weft repair rebuilds the state",
                  (unsigned long long)report.bad, report.first);
}

int cmd_repair(cli_call *c) {
  weft_verify_report report = {0};
  uint64_t since = cli_wall_ms();
  weft_err err = weft_replica_repair(c->space->replica, show_progress, c, &report);
  if (err == WEFT_ECORRUPT)
    return cli_fail(c, CLI_FAILED,
                    "repair: a log itself is damaged (%s): sync from another device into a "
                    "new directory",
                    report.first);
  if (err != WEFT_OK) return cli_fail_err(c, err, "repair");
  emit_report(c, &report, true, since);
  return CLI_OK;
}

/* --- doctor --------------------------------------------------------------------------------------
 */

enum { findings_max = 16 };

typedef struct findings {
  cli_call *call;
  weft_value rows[findings_max];
  size_t count;
} findings;

static bool finding(findings *f, const char *check, bool ok, const char *text) {
  cli_obj o = cli_obj_begin(f->call->arena);
  cli_obj_text(&o, "check", check);
  cli_obj_bool(&o, "ok", ok);
  cli_obj_text(&o, "text", text);
  if (f->count < findings_max) f->rows[f->count++] = cli_obj_end(&o);
  return ok;
}

static bool check_permissions(findings *f) {
  cli_call *c = f->call;
  struct stat st;
  bool ok = stat(cli_home_dir(c->home), &st) == 0 && (st.st_mode & (S_IRWXG | S_IRWXO)) == 0;
  return finding(f, "permissions", ok,
                 ok ? "nobody else can read this device's directory"
                    : "others can read this device's directory: chmod 700 it");
}

/* A store that cannot grow refuses to write, and tells so only then. */
static bool check_disk(findings *f) {
  enum { mb = 1000 * 1000, free_min_mb = 16 };
  struct statvfs fs;
  char text[120];
  bool known = statvfs(cli_home_dir(f->call->home), &fs) == 0;
  uint64_t left_mb = known ? (uint64_t)fs.f_bavail * fs.f_frsize / mb : 0;
  bool ok = known && left_mb >= free_min_mb;
  snprintf(text, sizeof text,
           ok ? "there is room for more"
              : "%llu MB free: nothing can be written once they are used up",
           (unsigned long long)left_mb);
  return finding(f, "disk", ok, known ? text : "its free space is not known");
}

static bool check_version(findings *f) {
  bool ok = !weft__roster_frozen(weft_replica_roster(f->call->space->replica));
  return finding(f, "version", ok,
                 ok ? "this weft knows all membership records"
                    : "needs upgrade: a membership record is of a later weft, and until then "
                      "nothing is shown, written or admitted here");
}

/* Something is held and not shown: that of others that has not come, and that of a later weft. */
static bool check_waiting(findings *f) {
  cli_call *c = f->call;
  weft_value rows;
  size_t count = 0;
  char text[120] = "everything that is held is shown";
  int code = cli_any_node(c);
  if (code != CLI_OK) return finding(f, "waiting", false, c->error);
  weft_err err = cli_stuck_rows(c, &rows, &count);
  if (err == WEFT_OK && count) cli_stuck_text(&rows, text, sizeof text);
  return finding(f, "waiting", err == WEFT_OK && count == 0,
                 err == WEFT_OK ? text : weft_err_str(err));
}

static bool check_later(findings *f) {
  weft_value rows;
  size_t count = 0;
  char text[120] = "every change held is of a form that this weft knows";
  weft_err err = cli_later_rows(f->call, &rows, &count);
  if (err == WEFT_OK && count) cli_later_text(&rows, text, sizeof text);
  return finding(f, "format", err == WEFT_OK && count == 0,
                 err == WEFT_OK ? text : weft_err_str(err));
}

static bool check_conflicts(findings *f) {
  cli_call *c = f->call;
  weft_counts counts = {0};
  weft_err err = weft_replica_counts(c->space->replica, &counts);
  char text[120];
  snprintf(text, sizeof text, "%llu documents, %llu conflicts%s", (unsigned long long)counts.docs,
           (unsigned long long)counts.conflicts, counts.conflicts ? ": see weft conflicts" : "");
  return finding(f, "conflicts", err == WEFT_OK && counts.conflicts == 0, text);
}

static bool check_clock(findings *f) {
  cli_call *c = f->call;
  uint64_t now = cli_wall_ms(), newest = 0;
  weft_history_query q;
  weft_history_query_init(&q);
  q.limit = 1;
  weft_history_entry *entries;
  size_t count = 0;
  weft_bytes next;
  if (weft_replica_history(c->space->replica, c->arena, &q, &entries, &count, &next) == WEFT_OK &&
      count)
    newest = entries[0].hlc >> 16;
  bool ok = newest <= now + WEFT_CLOCK_AHEAD_MAX_MS;
  return finding(
      f, "clock", ok,
      ok ? "this device's clock is not behind the newest change"
         : "the newest change is more than ten minutes ahead of this device's clock: check both");
}

static bool check_proof(findings *f) {
  cli_call *c = f->call;
  weft_verify_report report = {0};
  weft_err err = weft_replica_verify(c->space->replica, show_progress, c, &report);
  return finding(f, "verify", err == WEFT_OK,
                 err == WEFT_OK         ? "logs, signatures and state agree"
                 : report.first[0] != 0 ? report.first
                                        : weft_err_str(err));
}

static void check_forks(findings *f) {
  weft_fork *forks;
  size_t count = 0;
  weft_err err = weft_replica_forks(f->call->space->replica, f->call->arena, &forks, &count);
  char text[120] = "no device has signed two changes for one place of a log";
  if (err == WEFT_OK && count) {
    char log[9];
    cli_hex(log, forks[0].log.b, 4);
    snprintf(text, sizeof text,
             "%zu fork(s): log %s at seq %llu; a copy, a backup or a thief wrote", count, log,
             (unsigned long long)forks[0].seq);
  }
  finding(f, "forks", err == WEFT_OK && count == 0, err == WEFT_OK ? text : weft_err_str(err));
}

/* Why this device last began to write anew. */
static void check_incarnation(findings *f) {
  weft_begun *begun;
  size_t count = 0;
  weft_err err = weft_replica_begun(f->call->space->replica, f->call->arena, &begun, &count);
  char text[160] = "this device has not written here yet";
  bool plain = true;
  if (err == WEFT_OK && count) {
    const weft_begun *last = &begun[count - 1];
    char time[32];
    cli_time_text(time, last->hlc >> 16);
    plain = last->why == WEFT_BEGUN_FIRST;
    snprintf(text, sizeof text, "new since %.10s: %s", time, weft_begun_why_str(last->why));
  }
  finding(f, "incarnation", err == WEFT_OK && plain, err == WEFT_OK ? text : weft_err_str(err));
}

static int emit_findings(const findings *f, bool ok) {
  cli_call *c = f->call;
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_bool(&o, "ok", ok);
  cli_obj_put(&o, "checks", cli_array(f->rows, f->count));
  cli_emit_obj(c, &o);
  return ok ? CLI_OK : cli_fail(c, CLI_FAILED, "doctor: something needs attention, see above");
}

/* What takes no longer than other answers. */
static int doctor_quick(cli_call *c) {
  findings f = {.call = c};
  bool ok = check_permissions(&f);
  ok &= check_disk(&f);
  ok &= check_clock(&f);
  ok &= check_version(&f);
  ok &= check_later(&f);
  ok &= check_waiting(&f);
  /* Worth knowing, and no illness: */
  check_conflicts(&f);
  check_forks(&f);
  check_incarnation(&f);
  return emit_findings(&f, ok);
}

int cmd_doctor(cli_call *c) {
  if (cli_flag(c, "quick")) return doctor_quick(c);
  const char *const words[] = {"doctor", "--quick"};
  findings f = {.call = c};
  weft_value quick;
  int code = cli_invoke_one(c, words, 2, &quick);
  const weft_value *rows = cli_member(&quick, "checks");
  if (rows->kind != WEFT_ARRAY) return code;
  for (size_t i = 0; i < rows->as.array.count && f.count < findings_max; i++)
    f.rows[f.count++] = rows->as.array.at[i];
  c->error[0] = 0;
  code = cli_beside(c);
  if (code != CLI_OK) return code;
  bool ok = check_proof(&f);
  return emit_findings(&f, ok && cli_member_bool(&quick, "ok"));
}

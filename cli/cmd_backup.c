/* backup and restore-backup: a whole space in one file, and back.
 *
 * A backup is made beside whoever writes, the daemon too: it reads one snapshot.  It holds neither
 * identity nor secrets, which stay in the device's directory, and is fenced (store/replica.h): the
 * device goes on under another incarnation, so that it signs no number twice. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/runtime.h"
#include "cli/files.h"
#include "cli/home.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/space.h"
#include "store/backup.h"
#include "store/lmdb_store.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

/* The file that was named, or one with a name of its own in the folder that was. */
static bool backup_file(const cli_call *c, char *out) {
  char given[CLI_PATH_MAX], time_text[32], hex[9];
  struct stat st;
  struct tm tm;
  time_t now = time(NULL);
  weft_bytes arg = c->args.args[0];
  if (arg.len == 0 || arg.len >= sizeof given - 64) return false;
  (void)snprintf(given, sizeof given, "%.*s", TEXT(arg));
  if (stat(given, &st) != 0 || !S_ISDIR(st.st_mode)) {
    memcpy(out, given, arg.len + 1);
    return true;
  }
  gmtime_r(&now, &tm);
  (void)strftime(time_text, sizeof time_text, "%Y%m%dT%H%M%SZ", &tm);
  cli_hex(hex, c->space->id.b, 4);
  int len = snprintf(out, CLI_PATH_MAX, "%.3900s/%s-%s.weft", given, hex, time_text);
  return len > 0 && len < CLI_PATH_MAX;
}

static int backup_failed(cli_call *c, weft_err err, const char *path) {
  struct stat st;
  if (err == WEFT_EEXIST) /* there, or where it is made */
    return cli_fail(c, CLI_FAILED, "%s%s: there is something already: name another file", path,
                    lstat(path, &st) == 0 ? "" : ".new");
  if (err == WEFT_ENOSTORE)
    return cli_fail(c, CLI_FAILED, "%s: its folder does not exist: make it first", path);
  return cli_fail_err(c, err, "%s", path);
}

static int emit_backup(cli_call *c, const cli_space *s, const char *path, const char *old) {
  weft_counts counts = {0};
  struct stat st = {0};
  weft_err err = weft_replica_counts(s->replica, &counts);
  if (err != WEFT_OK) return cli_fail_err(c, err, "%s", path);
  if (stat(path, &st) != 0) return cli_fail(c, CLI_FAILED, "%s: it is gone again", path);
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_text(&o, "file", path);
  cli_obj_bytes(&o, "space", s->name);
  cli_obj_int(&o, "bytes", (int64_t)st.st_size);
  cli_obj_int(&o, "documents", (int64_t)counts.docs);
  cli_obj_int(&o, "changes", (int64_t)counts.changes_held);
  if (old) cli_obj_text(&o, "replaced", old);
  cli_emit_obj(c, &o);
  return CLI_OK;
}

int cmd_backup(cli_call *c) {
  char path[CLI_PATH_MAX];
  int code = cli_beside(c);
  if (code != CLI_OK) return code;
  if (!backup_file(c, path)) return cli_fail(c, CLI_FAILED, "backup: the path is too long");
  weft_err err = weft_replica_backup(c->space->replica, path);
  return err == WEFT_OK ? emit_backup(c, c->space, path, NULL) : backup_failed(c, err, path);
}

/* --- back ----------------------------------------------------------------------------------------
 */

/* Looks at a backup: whose space it is.  What looking leaves beside it is removed. */
static int backup_look(cli_call *c, const char *path, weft_id *space) {
  char readers[CLI_PATH_MAX];
  struct stat st;
  weft_lmdb_options o;
  weft_store *s;
  weft_diag d = {0};
  (void)snprintf(readers, sizeof readers, "%.4000s-lock", path);
  bool had = stat(readers, &st) == 0;
  weft_lmdb_options_init(&o);
  o.path = path;
  o.read_only = true;
  o.must_exist = true;
  weft_err err = weft_lmdb_store_open(&o, &s, &d);
  if (err == WEFT_ENOSTORE) return cli_fail(c, CLI_FAILED, "%s: there is no such file", path);
  if (err == WEFT_OK) {
    err = weft__store_space(s, space);
    weft_store_free(s);
  }
  if (!had) (void)unlink(readers);
  if (err == WEFT_ECORRUPT || err == WEFT_ENOTFOUND)
    return cli_fail(c, CLI_FAILED, "%s is no backup, or damaged: nothing was changed", path);
  return err == WEFT_OK ? CLI_OK : cli_fail_err(c, err, "%s", path);
}

/* Makes room where the store shall be: what is there is kept beside it under another name. */
static int make_room(cli_call *c, const char *path, char *old) {
  struct stat st;
  weft_lmdb_options o;
  weft_store *s;
  weft_diag d = {0};
  old[0] = 0;
  if (stat(path, &st) != 0) return CLI_OK;
  if (!cli_flag(c, "replace"))
    return cli_fail(c, CLI_FAILED,
                    "this device has the space already, perhaps with newer changes: --replace puts "
                    "the backup in its place and keeps what is there");
  weft_lmdb_options_init(&o);
  o.path = path;
  o.must_exist = true;
  weft_err err = weft_lmdb_store_open(&o, &s, &d);
  if (err == WEFT_ELOCKED)
    return cli_fail(c, CLI_FAILED, "the space is in use by process %d: stop it first", (int)d.sys);
  unsigned number = 1; /* rename would put the store in the place of a copy that has the name */
  do {
    (void)snprintf(old, CLI_PATH_MAX, "%.4000s.replaced-%u", path, number++);
  } while (stat(old, &st) == 0);
  bool moved = rename(path, old) == 0;
  if (err == WEFT_OK) weft_store_free(s); /* the lock held while it was moved */
  return moved ? CLI_OK : cli_fail(c, CLI_FAILED, "%s cannot be moved to %s", path, old);
}

int cmd_restore_backup(cli_call *c) {
  char backup[CLI_PATH_MAX], old[CLI_PATH_MAX], folder[CLI_PATH_MAX];
  weft_id space;
  weft_diag d = {0};
  weft_bytes arg = c->args.args[0];
  if (!cli_home_exists(c->home))
    return cli_fail(c, CLI_FAILED,
                    "%s is no device: put its identity and secrets back, or make one and join",
                    cli_home_dir(c->home));
  if (arg.len == 0 || arg.len >= sizeof backup)
    return cli_fail(c, CLI_FAILED, "restore-backup: the path is too long");
  (void)snprintf(backup, sizeof backup, "%.*s", TEXT(arg));
  int code = cli_home_load(c, c->home);
  if (code == CLI_OK) code = backup_look(c, backup, &space);
  if (code != CLI_OK) return code;
  if (!cli_home_epoch(c->home, &space))
    return cli_fail(c, CLI_FAILED,
                    "%s/secrets lacks the key of this space: put it back, or join the space first",
                    cli_home_dir(c->home));
  const char *path = cli_space_file(c->arena, c->home, &space);
  if (!path) return cli_fail_err(c, WEFT_ENOMEM, "restore-backup");
  (void)snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
  weft_err err = cli_folder_make(folder);
  if (err != WEFT_OK) return cli_fail_err(c, err, "%s", folder);
  code = make_room(c, path, old);
  if (code != CLI_OK) return code;
  err = weft_backup_restore(backup, path, &d);
  if (err != WEFT_OK) {
    if (old[0]) (void)rename(old, path);
    return cli_fail(c, CLI_FAILED, "%s: %s: nothing was changed", backup,
                    d.text[0] ? d.text : weft_err_str(err));
  }
  char hex[2 * sizeof space.b + 1];
  cli_hex(hex, space.b, sizeof space.b);
  code = cli_space_open(c, c->home, hex, &c->space);
  return code == CLI_OK ? emit_backup(c, c->space, path, old[0] ? old : NULL) : code;
}

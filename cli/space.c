/* Spaces on disk: making, joining, finding and opening them. */
#include "cli/space.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uv.h>

#include "cli/config.h"
#include "cli/files.h"
#include "cli/home_internal.h"
#include "cli/record.h"
#include "crdt/assert.h"
#include "store/events.h"
#include "store/lmdb_store.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

/* --- the platform --------------------------------------------------------------------------------
 */

static weft_ms platform_wall(void *ctx) {
  (void)ctx;
  return cli_wall_ms();
}

static void platform_entropy(void *ctx, void *out, size_t len) {
  (void)ctx;
  weft_random(out, len);
}

/* --- opening -------------------------------------------------------------------------------------
 */

static bool folder_of(const cli_home *h, const weft_id *space, char *out) {
  char hex[2 * sizeof(weft_id) + 1];
  cli_hex(hex, space->b, sizeof space->b);
  int len = snprintf(out, CLI_PATH_MAX, "%s/spaces/%s", h->dir, hex);
  return len > 0 && len < CLI_PATH_MAX - 16;
}

static int store_failed(cli_call *c, weft_err err, const weft_diag *diag, const char *path) {
  c->locked = err == WEFT_ELOCKED;
  if (err == WEFT_ELOCKED)
    return cli_fail(c, CLI_FAILED,
                    "%s is in use by process %d, weft serve or another command: stop it, or wait "
                    "until it is done",
                    cli_home_dir(c->home), (int)diag->sys);
  if (err == WEFT_ECORRUPT)
    return cli_fail(c, CLI_FAILED,
                    "%s is no weft store, or damaged: restore it, or join again in a new --dir",
                    path);
  if (err == WEFT_EVERSION)
    return cli_fail(c, CLI_FAILED, "%s was written by a newer weft: upgrade this one", path);
  return cli_fail_err(c, err, "%s", path);
}

static uint64_t clock_ns(void *ctx) {
  (void)ctx;
  return uv_hrtime();
}

static weft_bytes machine_id(weft_arena *arena) {
  weft_bytes id;
  if (cli_file_read(arena, "/etc/machine-id", 256, false, false, &id) == WEFT_OK) return id;
  return weft_bytes_str("unknown machine");
}

#define MAKING "making.mdb"

typedef enum open_how {
  OPEN_THERE,
  OPEN_MAKE,  /* one that is not finished: it has another name until it is */
  OPEN_BESIDE /* for reading, beside whoever writes */
} open_how;

/* Opens the store for writing, or, where nothing can be written, for reading. */
static weft_err store_open(const char *path, open_how how, bool *read_only, weft_store **out,
                           weft_diag *diag) {
  weft_lmdb_options o;
  bool make = how == OPEN_MAKE;
  weft_lmdb_options_init(&o);
  o.path = path;
  o.must_exist = !make;
  if (how == OPEN_BESIDE) {
    *read_only = o.read_only = true;
    return weft_lmdb_store_open(&o, out, diag);
  }
  weft_err err = weft_lmdb_store_open(&o, out, diag);
  *read_only = err == WEFT_EREADONLY && !make;
  if (!*read_only) return err;
  o.read_only = true;
  return weft_lmdb_store_open(&o, out, diag);
}

static weft_err replica_open(cli_home *h, const weft_id *space, weft_store *store, const char *path,
                             bool read_only, cli_space *out) {
  weft_metrics_options mo;
  weft_metrics_options_init(&mo);
  mo.clock_ns = clock_ns;
  WEFT_TRY(weft_metrics_new(&out->metrics, &mo));
  weft_replica_options o;
  weft_replica_options_init(&o);
  o.crypto = weft_crypto_sodium();
  o.platform = (weft_platform){NULL, platform_wall, platform_entropy};
  o.identity = &h->identity;
  o.space = *space;
  o.store = store;
  o.machine = machine_id(&h->arena);
  bool mirrored = !read_only && h->mirror[0] && cli_folder_make(h->mirror) == WEFT_OK;
  if (mirrored) o.mirror_dir = h->mirror;
  struct stat st;
  if (stat(path, &st) == 0) {
    o.store_dev = (uint64_t)st.st_dev;
    o.store_ino = (uint64_t)st.st_ino;
  }
  o.metrics = out->metrics;
  return weft_replica_open(&out->replica, &o);
}

/* The roster, and views in it, go whenever a record comes or the store is read again. */
static void space_name(cli_space *s) {
  weft_bytes name = weft__roster_space_name(weft_replica_roster(s->replica));
  size_t len = name.len < sizeof s->name_text ? name.len : sizeof s->name_text;
  if (len) memcpy(s->name_text, name.at, len);
  s->name = weft_bytes_of(s->name_text, len);
}

static int space_open(cli_call *c, cli_home *h, const weft_id *space, open_how how,
                      cli_space **out) {
  char folder[CLI_PATH_MAX], path[CLI_PATH_MAX];
  const char *file = how == OPEN_MAKE ? MAKING : "data.mdb";
  if (!folder_of(h, space, folder) || cli_path_join(path, sizeof path, folder, file) != WEFT_OK)
    return cli_fail(c, CLI_FAILED, "%s: the path is too long", h->dir);
  if (how == OPEN_MAKE) {
    weft_err made = cli_folder_make(folder);
    if (made != WEFT_OK) return cli_fail_err(c, made, "%s", folder);
  }
  weft_store *store;
  weft_diag diag = {0};
  bool read_only;
  weft_err err = store_open(path, how, &read_only, &store, &diag);
  if (err != WEFT_OK) return store_failed(c, err, &diag, path);
  cli_space *s = calloc(1, sizeof *s);
  err = s ? replica_open(h, space, store, path, read_only, s) : WEFT_ENOMEM;
  if (err != WEFT_OK) {
    weft_store_free(store);
    if (s) weft_metrics_free(s->metrics);
    free(s);
    return store_failed(c, err, &diag, path);
  }
  (void)!weft_replica_keep_events(
      s->replica, cli_config_number(cli_home_config_text(h), "event-history", WEFT_EVENTS_KEPT));
  s->id = *space;
  s->read_only = read_only;
  space_name(s);
  *out = s;
  return CLI_OK;
}

const char *cli_space_file(weft_arena *arena, const cli_home *home, const weft_id *space) {
  char folder[CLI_PATH_MAX];
  char *path = weft__arena_take(arena, CLI_PATH_MAX);
  bool ok = path && folder_of(home, space, folder) &&
            cli_path_join(path, CLI_PATH_MAX, folder, "data.mdb") == WEFT_OK;
  return ok ? path : NULL;
}

void cli_space_free(cli_space *s) {
  if (!s) return;
  weft_replica_free(s->replica);
  weft_metrics_free(s->metrics);
  free(s);
}

/* --- making and joining --------------------------------------------------------------------------
 */

static weft_err genesis(cli_home *h, weft_bytes name, weft_buf *out, weft_id *space) {
  weft_record record = {.kind = WEFT_RECORD_GENESIS, .flags = WEFT_RECORD_CRITICAL};
  weft_random(record.genesis.nonce, sizeof record.genesis.nonce);
  record.genesis.x_public = h->identity.x_public;
  record.genesis.space_name = name;
  record.genesis.name = h->name;
  return weft__record_sign(out, weft_crypto_sodium(), &h->identity, &record, space);
}

int cli_space_create(cli_call *c, cli_home *h, weft_bytes name, cli_space **out) {
  if (!weft__name_ok(name, WEFT_SPACE_NAME_LEN_MAX))
    return cli_fail(
        c, CLI_USAGE,
        "--space: up to %u bytes of text without control and invisible characters are wanted",
        WEFT_SPACE_NAME_LEN_MAX);
  weft_buf record;
  weft__buf_init(&record, &h->arena.mem, WEFT_RECORD_LEN_MAX);
  cli_epoch epoch;
  weft_err err = genesis(h, name, &record, &epoch.space);
  weft_bytes bytes = weft__buf_view(&record);
  int code = err == WEFT_OK ? CLI_OK : cli_fail_err(c, err, "space %.*s", TEXT(name));
  if (code == CLI_OK) {
    memcpy(epoch.epoch, epoch.space.b, sizeof epoch.epoch);
    weft_random(epoch.secret.b, sizeof epoch.secret.b);
    code = cli_space_join(c, h, &epoch, &bytes, 1, out);
  }
  weft__buf_free(&record);
  return code;
}

/* The space has its records: it gets its name, and is one from now on, whatever ends the process or
 * the machine. */
static int space_made(cli_call *c, cli_home *h, const weft_id *space, cli_space **out) {
  char folder[CLI_PATH_MAX], making[CLI_PATH_MAX], path[CLI_PATH_MAX];
  cli_space_free(*out);
  *out = NULL;
  if (!folder_of(h, space, folder) ||
      cli_path_join(making, sizeof making, folder, MAKING "-lock") != WEFT_OK ||
      cli_path_join(path, sizeof path, folder, "data.mdb") != WEFT_OK)
    return cli_fail(c, CLI_FAILED, "%s: the path is too long", h->dir);
  (void)!unlink(making);
  making[strlen(making) - strlen("-lock")] = 0;
  weft_err err = cli_file_rename(making, path);
  return err == WEFT_OK ? space_open(c, h, space, OPEN_THERE, out)
                        : cli_fail_err(c, err, "%s", path);
}

int cli_space_join(cli_call *c, cli_home *h, const cli_epoch *epoch, const weft_bytes *records,
                   size_t count, cli_space **out) {
  weft_err err = cli_home_add_epoch(h, epoch);
  if (err != WEFT_OK) return cli_fail_err(c, err, "%s/secrets", h->dir);
  bool there = cli_space_exists(h, &epoch->space);
  int code = space_open(c, h, &epoch->space, there ? OPEN_THERE : OPEN_MAKE, out);
  for (size_t i = 0; i < count && code == CLI_OK; i++) {
    err = weft_replica_add_record((*out)->replica, records[i]);
    if (err != WEFT_OK && err != WEFT_EEXIST)
      code = cli_fail_err(c, err, "membership record %zu", i + 1);
  }
  if (code == CLI_OK && !there) return space_made(c, h, &epoch->space, out);
  if (code == CLI_OK) space_name(*out);
  return code;
}

/* --- finding -------------------------------------------------------------------------------------
 */

/* A folder of spaces/ whose name is an id, or false. */
static bool entry_id(cli_call *c, const char *name, weft_id *id) {
  weft_bytes bytes;
  if (strlen(name) != 2 * sizeof id->b || !cli_unhex(c->arena, weft_bytes_str(name), &bytes))
    return false;
  memcpy(id->b, bytes.at, sizeof id->b);
  return true;
}

bool cli_space_exists(const cli_home *h, const weft_id *space) {
  char folder[CLI_PATH_MAX], path[CLI_PATH_MAX];
  struct stat st;
  return folder_of(h, space, folder) &&
         cli_path_join(path, sizeof path, folder, "data.mdb") == WEFT_OK && stat(path, &st) == 0;
}

typedef struct found_spaces {
  weft_id ids[256];
  size_t count;
} found_spaces;

static int spaces_of(cli_call *c, cli_home *h, found_spaces *found) {
  char path[CLI_PATH_MAX];
  found->count = 0;
  if (cli_path_join(path, sizeof path, h->dir, "spaces") != WEFT_OK)
    return cli_fail(c, CLI_FAILED, "%s: the path is too long", h->dir);
  DIR *dir = opendir(path);
  if (!dir) return CLI_OK;
  for (struct dirent *e; (e = readdir(dir)) && found->count < 256;)
    if (entry_id(c, e->d_name, &found->ids[found->count]) &&
        cli_space_exists(h, &found->ids[found->count]))
      found->count++;
  closedir(dir);
  return CLI_OK;
}

size_t cli_space_count(cli_call *c, cli_home *h) {
  found_spaces found;
  return spaces_of(c, h, &found) == CLI_OK ? found.count : 0;
}

static bool names(const cli_space *s, const char *wanted) {
  char hex[2 * sizeof(weft_id) + 1];
  cli_hex(hex, s->id.b, sizeof s->id.b);
  size_t len = strlen(wanted);
  return weft_bytes_cmp(s->name, weft_bytes_str(wanted)) == 0 ||
         (len >= 4 && len < sizeof hex && memcmp(hex, wanted, len) == 0);
}

/* Of several spaces one has to be named: tells their names, and the first digits of the id of one
 * that cannot be read. */
static int name_one(cli_call *c, cli_home *h, const found_spaces *found) {
  enum { told_max = 6 };
  char list[told_max * (WEFT_SPACE_NAME_LEN_MAX + 4)] = "";
  size_t len = 0;
  for (size_t i = 0; i < found->count && i < told_max; i++) {
    cli_space *s = NULL;
    char hex[9];
    cli_hex(hex, found->ids[i].b, 4);
    (void)space_open(c, h, &found->ids[i], OPEN_BESIDE, &s);
    bool known = s && s->name.len > 0;
    len += (size_t)snprintf(list + len, sizeof list - len, "%s%.*s", i ? ", " : "",
                            known ? (int)s->name.len : 8, known ? (const char *)s->name.at : hex);
    cli_space_free(s);
  }
  return cli_fail(c, CLI_USAGE, "this device holds %zu spaces: name one with --space: %s%s",
                  found->count, list, found->count > told_max ? ", ..." : "");
}

static int open_named(cli_call *c, cli_home *h, const char *name, open_how how, cli_space **out) {
  found_spaces found;
  char configured[2 * sizeof(weft_id) + 1];
  weft_bytes wanted;
  *out = NULL;
  if (!name && cli_home_config(h, "space", &wanted) && wanted.len < sizeof configured) {
    snprintf(configured, sizeof configured, "%.*s", TEXT(wanted));
    name = configured;
  }
  int code = spaces_of(c, h, &found);
  if (code != CLI_OK) return code;
  if (found.count == 0)
    return cli_fail(c, CLI_FAILED, "%s holds no space: weft init, or weft join TICKET", h->dir);
  if (!name && found.count > 1) return name_one(c, h, &found);
  if (!name) return space_open(c, h, &found.ids[0], how, out);
  /* One that does not open, since its own daemon has it or it is damaged, is in nobody's way; only
   * when no other has the name is it told. */
  int failed = CLI_OK;
  char why[sizeof c->error] = "", other[WEFT_SPACE_NAME_LEN_MAX + 1] = "";
  for (size_t i = 0; i < found.count; i++) {
    cli_space *s = NULL;
    code = space_open(c, h, &found.ids[i], how, &s);
    if (code != CLI_OK) {
      if (failed == CLI_OK) memcpy(why, c->error, sizeof why);
      failed = failed == CLI_OK ? code : failed;
      c->error[0] = 0;
      continue;
    }
    WEFT_ASSERT(s);
    if (names(s, name)) {
      *out = s;
      return CLI_OK;
    }
    snprintf(other, sizeof other, "%.*s", (int)s->name.len, (const char *)s->name.at);
    cli_space_free(s);
  }
  if (failed != CLI_OK) {
    memcpy(c->error, why, sizeof why);
    return failed;
  }
  return cli_fail(c, CLI_NOT_FOUND, "no space %s on this device: it has %s%s", name, other,
                  found.count > 1 ? " and others" : "");
}

int cli_space_open(cli_call *c, cli_home *h, const char *name, cli_space **out) {
  return open_named(c, h, name, OPEN_THERE, out);
}

int cli_space_open_beside(cli_call *c, cli_home *h, const char *name, cli_space **out) {
  return open_named(c, h, name, OPEN_BESIDE, out);
}

/* --- devices -------------------------------------------------------------------------------------
 */

static bool device_fits(const weft_roster_member *m, weft_bytes text) {
  if (weft_bytes_cmp(m->name, text) == 0) return true;
  char hex[2 * sizeof(weft_id) + 1];
  cli_hex(hex, m->device.b, sizeof m->device.b);
  if (text.len >= 4 && text.len < sizeof hex && memcmp(hex, text.at, text.len) == 0) return true;
  weft_fingerprint print;
  weft_fingerprint_of(&print, weft_crypto_sodium(), &m->device);
  return text.len >= 4 && text.len <= strlen(print.text) &&
         memcmp(print.text, text.at, text.len) == 0;
}

weft_err cli_device_find(const cli_space *space, weft_bytes text, weft_id *device) {
  const weft_roster_member *members;
  size_t count, fits = 0;
  weft__roster_members(weft_replica_roster(space->replica), &members, &count);
  for (size_t i = 0; i < count; i++) {
    if (!device_fits(&members[i], text)) continue;
    *device = members[i].device;
    fits++;
  }
  return fits == 1 ? WEFT_OK : fits == 0 ? WEFT_ENOTFOUND : WEFT_EMALFORMED;
}

weft_bytes cli_device_name(const cli_space *space, const weft_id *device, char scratch[17]) {
  const weft_roster_member *m = weft__roster_member_of(weft_replica_roster(space->replica), device);
  if (m) return m->name;
  cli_hex(scratch, device->b, 8);
  return weft_bytes_str(scratch);
}

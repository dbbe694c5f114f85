/* The device's directory: identity, secrets, configuration.
 *
 * identity and secrets share one envelope, so that encryption at rest can come without a new file:
 *   "WEFT" | what u8 'I' or 'S' | version u8 = 1 | algorithm u8 = 0 (plain) | payload
 *   | first 8 bytes of BLAKE2b-256 of everything before
 *   I: seed 32 | varint length, name
 *   S: items of u8 type: 1 epoch: space 32, epoch id 8, secret 32
 *                        2 invite: space 32, invite 32, K_join 32, K_jtag 32, role u8, uses u32,
 *                          expires u64 */
#include "cli/home.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/config.h"
#include "cli/files.h"
#include "cli/home_internal.h"
#include "cli/wiping.h"

enum {
  secrets_max = 1 << 20,
  invites_max = 4096, /* so many fit that, with room for epochs */
  identity_max = 1024,
  config_max = 1 << 16,
  seal_len = 8,
  head_len = 7
};

uint64_t cli_wall_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- where ---------------------------------------------------------------------------------------
 */

static bool state_folder(char *out, size_t cap) {
  const char *state = getenv("XDG_STATE_HOME");
  if (state && state[0] == '/') return (size_t)snprintf(out, cap, "%s", state) < cap;
  const char *user = getenv("HOME");
  if (!user || user[0] != '/') {
    struct passwd *entry = getpwuid(geteuid());
    user = entry ? entry->pw_dir : NULL;
  }
  return user && (size_t)snprintf(out, cap, "%s/.local/state", user) < cap;
}

cli_home *cli_home_new(const char *dir) {
  cli_home *h = calloc(1, sizeof *h);
  if (!h) return NULL;
  h->heap = weft_alloc_libc();
  weft_alloc mem = cli_wiping_alloc(&h->heap);
  weft__arena_init(&h->arena, &mem);
  char state[CLI_PATH_MAX - 64];
  bool known = state_folder(state, sizeof state);
  if (!dir || !*dir) dir = getenv("WEFT_DIR");
  if (dir && *dir)
    snprintf(h->dir, sizeof h->dir, "%s", dir);
  else if (known)
    snprintf(h->dir, sizeof h->dir, "%s/weft", state);
  size_t len = strlen(h->dir);
  while (len > 1 && h->dir[len - 1] == '/') h->dir[--len] = 0;
  if (known) snprintf(h->mirror, sizeof h->mirror, "%s/weft-mirror", state);
  return h;
}

void cli_home_free(cli_home *h) {
  if (!h) return;
  const weft_crypto *crypto = weft_crypto_sodium();
  if (crypto) weft_identity_wipe(&h->identity, crypto);
  weft_alloc mem = h->arena.mem;
  mem.free(mem.ctx, h->epochs);
  mem.free(mem.ctx, h->invites);
  weft__arena_free(&h->arena);
  free(h);
}

const char *cli_home_dir(const cli_home *h) { return h->dir; }
const weft_identity *cli_home_identity(const cli_home *h) { return &h->identity; }
weft_bytes cli_home_name(const cli_home *h) { return h->name; }

static bool file_of(const cli_home *h, const char *name, char *out) {
  return cli_path_join(out, CLI_PATH_MAX, h->dir, name) == WEFT_OK;
}

bool cli_home_exists(const cli_home *h) {
  char path[CLI_PATH_MAX];
  struct stat st;
  return file_of(h, "identity", path) && lstat(path, &st) == 0;
}

/* --- the envelope --------------------------------------------------------------------------------
 */

static void seal_of(weft_bytes bytes, uint8_t out[seal_len]) {
  uint8_t hash[32];
  weft_crypto_sodium()->hash(hash, sizeof hash, weft_bytes_of(NULL, 0), NULL, NULL, &bytes, 1);
  memcpy(out, hash, seal_len);
}

static void envelope_begin(weft_buf *b, char what) {
  weft__buf_put_raw(b, "WEFT", 4);
  weft__buf_u8(b, (uint8_t)what);
  weft__buf_u8(b, 1);
  weft__buf_u8(b, 0);
}

/* Seals and writes the file; frees the buffer. */
static weft_err envelope_write(weft_buf *b, const char *path) {
  uint8_t seal[seal_len];
  weft_err err = weft__buf_err(b);
  if (err == WEFT_OK) {
    seal_of(weft__buf_view(b), seal);
    weft__buf_put_raw(b, seal, sizeof seal);
    err = weft__buf_err(b);
  }
  if (err == WEFT_OK) err = cli_file_write(path, weft__buf_view(b));
  weft__buf_free(b);
  return err;
}

static weft_err envelope_open(weft_bytes file, char what, weft_rd *payload) {
  if (file.len < head_len + seal_len || memcmp(file.at, "WEFT", 4) != 0 ||
      file.at[4] != (uint8_t)what)
    return WEFT_EMALFORMED;
  if (file.at[5] != 1 || file.at[6] != 0) return WEFT_EVERSION;
  uint8_t seal[seal_len];
  seal_of(weft_bytes_of(file.at, file.len - seal_len), seal);
  if (memcmp(seal, file.at + file.len - seal_len, seal_len) != 0) return WEFT_ECORRUPT;
  *payload = weft__rd(weft_bytes_of(file.at + head_len, file.len - head_len - seal_len));
  return WEFT_OK;
}

/* --- identity ------------------------------------------------------------------------------------
 */

static weft_err identity_read(cli_home *h, weft_bytes file) {
  weft_rd r;
  WEFT_TRY(envelope_open(file, 'I', &r));
  weft_id seed = weft__rd_id(&r);
  weft_bytes name = weft__rd_block(&r);
  if (!weft__rd_done(&r) || !weft__label_ok(name, WEFT_DEVICE_NAME_LEN_MAX)) return WEFT_EMALFORMED;
  weft_key key;
  memcpy(key.b, seed.b, sizeof key.b);
  const weft_crypto *crypto = weft_crypto_sodium();
  weft_identity_derive(&h->identity, crypto, &key);
  crypto->wipe(&key, sizeof key);
  crypto->wipe(&seed, sizeof seed);
  return weft__arena_copy(&h->arena, name, &h->name);
}

static weft_bytes default_name(char *scratch, size_t cap) {
  if (gethostname(scratch, cap) != 0) scratch[0] = 0;
  scratch[cap - 1] = 0;
  weft_bytes name = weft_bytes_str(scratch);
  return weft__name_ok(name, WEFT_DEVICE_NAME_LEN_MAX) ? name : weft_bytes_str("device");
}

static int check_name(cli_call *c, weft_bytes name) {
  if (weft__name_ok(name, WEFT_DEVICE_NAME_LEN_MAX)) return CLI_OK;
  return cli_fail(
      c, CLI_USAGE,
      "--name: up to %u bytes of text without control and invisible characters are wanted",
      WEFT_DEVICE_NAME_LEN_MAX);
}

static int identity_write(cli_call *c, cli_home *h, const weft_key *seed, weft_bytes name) {
  char path[CLI_PATH_MAX];
  if (!file_of(h, "identity", path)) return cli_fail_err(c, WEFT_ELIMIT, "%s", h->dir);
  weft_buf b;
  weft__buf_init(&b, &h->arena.mem, identity_max);
  envelope_begin(&b, 'I');
  weft__buf_put_raw(&b, seed->b, sizeof seed->b);
  weft__buf_block(&b, name);
  weft_err err = envelope_write(&b, path);
  if (err == WEFT_OK) err = weft__arena_copy(&h->arena, name, &h->name);
  return err == WEFT_OK ? CLI_OK : cli_fail_err(c, err, "%s", path);
}

int cli_home_claim(cli_call *c, cli_home *h, weft_bytes name, int *lock) {
  char path[CLI_PATH_MAX];
  int code = name.len > 0 ? check_name(c, name) : CLI_OK;
  if (code != CLI_OK) return code;
  if (!h->dir[0] || !file_of(h, "identity.lock", path))
    return cli_fail(c, CLI_FAILED, "no directory to use: give --dir or set HOME");
  weft_err err = cli_folder_make(h->dir);
  if (err == WEFT_EEXIST)
    return cli_fail(c, CLI_FAILED, "%s: a file stands there, not a folder: choose another --dir",
                    h->dir);
  if (err == WEFT_OK) err = cli_file_lock(path, lock);
  return err == WEFT_OK ? CLI_OK : cli_fail_err(c, err, "%s", h->dir);
}

int cli_home_create(cli_call *c, cli_home *h, weft_bytes name) {
  char host[WEFT_DEVICE_NAME_LEN_MAX + 1];
  if (name.len == 0) name = default_name(host, sizeof host);
  int code = check_name(c, name);
  if (code != CLI_OK) return code;
  if (cli_home_exists(h))
    return cli_fail(c, CLI_FAILED, "%s is a device already: use another --dir for another one",
                    h->dir);
  weft_key seed;
  weft_random(seed.b, sizeof seed.b);
  const weft_crypto *crypto = weft_crypto_sodium();
  weft_identity_derive(&h->identity, crypto, &seed);
  code = identity_write(c, h, &seed, name);
  crypto->wipe(&seed, sizeof seed);
  return code;
}

int cli_home_rename(cli_call *c, cli_home *h, weft_bytes name) {
  int code = check_name(c, name);
  return code == CLI_OK ? identity_write(c, h, &h->identity.seed, name) : code;
}

/* --- secrets -------------------------------------------------------------------------------------
 */

static bool epoch_add(cli_home *h, const cli_epoch *epoch) {
  if (h->epoch_count == h->epoch_cap) {
    size_t cap = h->epoch_cap ? h->epoch_cap * 2 : 8;
    cli_epoch *wide = h->arena.mem.grow(h->arena.mem.ctx, h->epochs, cap * sizeof *wide);
    if (!wide) return false;
    h->epochs = wide;
    h->epoch_cap = cap;
  }
  h->epochs[h->epoch_count++] = *epoch;
  return true;
}

static bool invite_add(cli_home *h, const cli_invite *invite) {
  if (h->invite_count == h->invite_cap) {
    size_t cap = h->invite_cap ? h->invite_cap * 2 : 8;
    cli_invite *wide = h->arena.mem.grow(h->arena.mem.ctx, h->invites, cap * sizeof *wide);
    if (!wide) return false;
    h->invites = wide;
    h->invite_cap = cap;
  }
  h->invites[h->invite_count++] = *invite;
  return true;
}

static void rd_key(weft_rd *r, weft_key *key) {
  weft_bytes b = weft__rd_take(r, sizeof key->b);
  if (b.len) memcpy(key->b, b.at, sizeof key->b);
}

static weft_err secrets_read(cli_home *h, weft_bytes file) {
  weft_rd r;
  WEFT_TRY(envelope_open(file, 'S', &r));
  while (weft__rd_left(&r)) {
    uint8_t type = weft__rd_u8(&r);
    if (type == 1) {
      cli_epoch e = {.space = weft__rd_id(&r)};
      weft_bytes id = weft__rd_take(&r, sizeof e.epoch);
      if (id.len) memcpy(e.epoch, id.at, sizeof e.epoch);
      rd_key(&r, &e.secret);
      if (!r.failed && !epoch_add(h, &e)) return WEFT_ENOMEM;
    } else if (type == 2) {
      cli_invite v = {.space = weft__rd_id(&r)};
      v.invite = weft__rd_id(&r);
      rd_key(&r, &v.k_join);
      rd_key(&r, &v.k_jtag);
      v.role = weft__rd_u8(&r);
      v.uses = weft__rd_u32(&r);
      v.expires_ms = weft__rd_u64(&r);
      if (!r.failed && !invite_add(h, &v)) return WEFT_ENOMEM;
    } else {
      return WEFT_EMALFORMED;
    }
    if (r.failed) return WEFT_EMALFORMED;
  }
  return WEFT_OK;
}

static weft_err secrets_write(const cli_home *h) {
  char path[CLI_PATH_MAX];
  if (!file_of(h, "secrets", path)) return WEFT_ELIMIT;
  weft_buf b;
  weft__buf_init(&b, &h->arena.mem, secrets_max);
  envelope_begin(&b, 'S');
  for (size_t i = 0; i < h->epoch_count; i++) {
    const cli_epoch *e = &h->epochs[i];
    weft__buf_u8(&b, 1);
    weft__buf_put_raw(&b, e->space.b, sizeof e->space.b);
    weft__buf_put_raw(&b, e->epoch, sizeof e->epoch);
    weft__buf_put_raw(&b, e->secret.b, sizeof e->secret.b);
  }
  for (size_t i = 0; i < h->invite_count; i++) {
    const cli_invite *v = &h->invites[i];
    weft__buf_u8(&b, 2);
    weft__buf_put_raw(&b, v->space.b, sizeof v->space.b);
    weft__buf_put_raw(&b, v->invite.b, sizeof v->invite.b);
    weft__buf_put_raw(&b, v->k_join.b, sizeof v->k_join.b);
    weft__buf_put_raw(&b, v->k_jtag.b, sizeof v->k_jtag.b);
    weft__buf_u8(&b, v->role);
    weft__buf_u32(&b, v->uses);
    weft__buf_u64(&b, v->expires_ms);
  }
  return envelope_write(&b, path);
}

const cli_epoch *cli_home_epoch(const cli_home *h, const weft_id *space) {
  for (size_t i = h->epoch_count; i > 0; i--)
    if (weft_id_cmp(&h->epochs[i - 1].space, space) == 0) return &h->epochs[i - 1];
  return NULL;
}

const cli_invite *cli_home_invites(const cli_home *h, size_t *count) {
  *count = h->invite_count;
  return h->invites;
}

static void secrets_forget(cli_home *h) {
  const weft_crypto *crypto = weft_crypto_sodium();
  crypto->wipe(h->epochs, h->epoch_cap * sizeof *h->epochs);
  crypto->wipe(h->invites, h->invite_cap * sizeof *h->invites);
  h->epoch_count = h->invite_count = 0;
}

static weft_err secrets_load(cli_home *h) {
  char path[CLI_PATH_MAX];
  weft_bytes file;
  if (!file_of(h, "secrets", path)) return WEFT_ELIMIT;
  weft_err err = cli_file_read(&h->arena, path, secrets_max, true, true, &file);
  if (err == WEFT_ENOSTORE) return WEFT_OK;
  if (err != WEFT_OK) return err;
  secrets_forget(h);
  return secrets_read(h, file);
}

/* Where there are very many invites, those that are good for nothing any more make room. */
static bool invites_room(cli_home *h) {
  if (h->invite_count < invites_max) return true;
  size_t kept = 0, before = h->invite_count;
  uint64_t now = cli_wall_ms();
  for (size_t i = 0; i < before; i++)
    if (h->invites[i].expires_ms > now) h->invites[kept++] = h->invites[i];
  weft_crypto_sodium()->wipe(&h->invites[kept], (before - kept) * sizeof *h->invites);
  h->invite_count = kept;
  return kept < invites_max;
}

/* Several processes may add secrets to one directory (a daemon that invites, a join of another
 * space): each adds to what the file holds now, one at a time. */
static weft_err secrets_add(cli_home *h, const cli_epoch *epoch, const cli_invite *invite) {
  char path[CLI_PATH_MAX];
  if (!file_of(h, "secrets.lock", path)) return WEFT_ELIMIT;
  int lock;
  WEFT_TRY(cli_file_lock(path, &lock));
  weft_err err = secrets_load(h);
  if (err == WEFT_OK && invite && !invites_room(h)) err = WEFT_ELIMIT;
  if (err == WEFT_OK && epoch && !epoch_add(h, epoch)) err = WEFT_ENOMEM;
  if (err == WEFT_OK && invite && !invite_add(h, invite)) err = WEFT_ENOMEM;
  if (err == WEFT_OK) err = secrets_write(h);
  if (err != WEFT_OK) (void)!secrets_load(h); /* what the file holds, as far as it can be read */
  cli_file_unlock(lock);
  return err;
}

weft_err cli_home_add_epoch(cli_home *h, const cli_epoch *epoch) {
  return secrets_add(h, epoch, NULL);
}

weft_err cli_home_add_invite(cli_home *h, const cli_invite *invite) {
  return secrets_add(h, NULL, invite);
}

/* --- reading all of it ---------------------------------------------------------------------------
 */

static int read_failed(cli_call *c, weft_err err, const char *path) {
  switch ((int)err) {
  case WEFT_EDENIED:
    return cli_fail(c, CLI_FAILED,
                    "%s can be read or changed by others: chmod 600 it (and make it yours)", path);
  case WEFT_EMALFORMED: return cli_fail(c, CLI_FAILED, "%s is not a weft file: restore it", path);
  case WEFT_ECORRUPT:
    return cli_fail(c, CLI_FAILED, "%s is damaged: restore it from a backup", path);
  default: return cli_fail_err(c, err, "%s", path);
  }
}

int cli_home_load(cli_call *c, cli_home *h) {
  char path[CLI_PATH_MAX];
  weft_bytes file;
  if (!weft_crypto_sodium())
    return cli_fail(c, CLI_FAILED, "libsodium does not start on this machine");
  if (!h->dir[0] || !file_of(h, "identity", path))
    return cli_fail(c, CLI_FAILED, "no directory to use: give --dir or set HOME");
  weft_err err = cli_file_read(&h->arena, path, identity_max, true, true, &file);
  if (err == WEFT_ENOSTORE)
    return cli_fail(c, CLI_FAILED, "%s is not a device yet: weft init, or weft join TICKET",
                    h->dir);
  if (err == WEFT_OK) err = identity_read(h, file);
  if (err != WEFT_OK) return read_failed(c, err, path);
  if (!file_of(h, "secrets", path)) return cli_fail_err(c, WEFT_ELIMIT, "%s", h->dir);
  err = secrets_load(h);
  if (err != WEFT_OK) return read_failed(c, err, path);
  if (!file_of(h, "config", path)) return cli_fail_err(c, WEFT_ELIMIT, "%s", h->dir);
  err = cli_file_read(&h->arena, path, config_max, true, false, &h->config);
  if (err == WEFT_ENOSTORE)
    h->config = weft_bytes_of(NULL, 0);
  else if (err != WEFT_OK)
    return read_failed(c, err, path);
  return cli_config_check(c, h->config, path);
}

weft_bytes cli_home_config_text(const cli_home *h) { return h->config; }

bool cli_home_config(const cli_home *h, const char *key, weft_bytes *value) {
  return cli_config_get(h->config, key, value);
}

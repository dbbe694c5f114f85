/* A device's directory: identity, secrets, configuration and spaces.
 *
 *   DIR/identity      the device's seed and name
 *   DIR/secrets       epoch secrets, and the keys of tickets this device has issued
 *   DIR/config        `key = value` lines; the keys are the long options
 *   DIR/paused        whom this device neither hears nor tells (cli/pauses.h)
 *   DIR/spaces/ID/    one store a space, ID in hex
 *   DIR/control.sock  of the daemon, and the lock of whoever listens there beside it
 *
 * The incarnation mirror lies outside, under $XDG_STATE_HOME/weft-mirror, so that a copy of DIR
 * does not take it along. */
#ifndef WEFT_CLI_HOME_H
#define WEFT_CLI_HOME_H

#include "cli/command.h"
#include "cli/space.h"
#include "crdt/identity.h"

enum { CLI_PATH_MAX = 4096 };

/* Milliseconds since 1970, now. */
uint64_t cli_wall_ms(void);

/* Opens the home in `dir` (NULL: WEFT_DIR, else the default).  Does not read anything yet; whether
 * an identity exists is told by cli_home_load.  NULL when memory is out. */
cli_home *cli_home_new(const char *dir);
void cli_home_free(cli_home *h);
const char *cli_home_dir(const cli_home *h);

/* Reads identity, secrets and configuration.  CLI_OK; CLI_FAILED with the error of `c` set. */
int cli_home_load(cli_call *c, cli_home *h);
bool cli_home_exists(const cli_home *h);
/* Makes the directory, and keeps other processes from making a device of it until cli_file_unlock
 * of `lock`.  `name` is checked before anything is made. */
int cli_home_claim(cli_call *c, cli_home *h, weft_bytes name, int *lock);
/* Makes the identity in a directory that was claimed; `name` empty: the host's name.  Fails when
 * there is one already. */
int cli_home_create(cli_call *c, cli_home *h, weft_bytes name);

/* Gives the device of a loaded home, which no space knows yet, another name. */
int cli_home_rename(cli_call *c, cli_home *h, weft_bytes name);

const weft_identity *cli_home_identity(const cli_home *h);
weft_bytes cli_home_name(const cli_home *h);
/* The configuration file, empty when there is none; and one value of it, or false. */
weft_bytes cli_home_config_text(const cli_home *h);
bool cli_home_config(const cli_home *h, const char *key, weft_bytes *value);

/* --- secrets -------------------------------------------------------------------------------------
 */

typedef struct cli_epoch {
  weft_id space;
  uint8_t epoch[8]; /* first bytes of the record that made it */
  weft_key secret;
} cli_epoch;

typedef struct cli_invite { /* a ticket this device has issued */
  weft_id space;
  weft_id invite;  /* public key of the invite */
  weft_key k_join; /* psk of the join handshake */
  weft_key k_jtag;
  uint8_t role;
  uint32_t uses;       /* how many ADMITs may name it; those in the roster are counted */
  uint64_t expires_ms; /* since 1970 */
} cli_invite;

const cli_epoch *cli_home_epoch(const cli_home *h, const weft_id *space);
const cli_invite *cli_home_invites(const cli_home *h, size_t *count);
/* Each adds to what the file holds now, so that processes do not undo one another, and rewrites it
 * durably before it returns. */
weft_err cli_home_add_epoch(cli_home *h, const cli_epoch *epoch) WEFT_MUST_USE;
weft_err cli_home_add_invite(cli_home *h, const cli_invite *invite) WEFT_MUST_USE;

/* --- spaces --------------------------------------------------------------------------------------
 */

/* Makes the store of a new space of this device: GENESIS, epoch secret, replica. */
int cli_space_create(cli_call *c, cli_home *h, weft_bytes name, cli_space **out);
/* Keeps the epoch and makes the store of a space: records in an order in which dependencies come
 * first.  What was interrupted is finished by another call. */
int cli_space_join(cli_call *c, cli_home *h, const cli_epoch *epoch, const weft_bytes *records,
                   size_t count, cli_space **out);
/* Opens the space called `name` (or its id's first digits); NULL: the only one. */
int cli_space_open(cli_call *c, cli_home *h, const char *name, cli_space **out);
/* The same for reading alone, while another process may write. */
int cli_space_open_beside(cli_call *c, cli_home *h, const char *name, cli_space **out);
void cli_space_free(cli_space *s);
/* Whether the store of a space is there. */
bool cli_space_exists(const cli_home *h, const weft_id *space);
/* How many spaces this home holds; a directory that cannot be read holds none. */
size_t cli_space_count(cli_call *c, cli_home *h);

#endif

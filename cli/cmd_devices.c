/* init, id, invite, join, members: who is who. */
#include <stdio.h>
#include <string.h>

#include "cli/fields.h"
#include "cli/files.h"
#include "cli/home.h"
#include "cli/network.h"
#include "cli/qr.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/runtime.h"
#include "crdt/ticket.h"
#include "net/uv_address.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

static void put_device(cli_obj *o, const char *key, const weft_id *device) {
  cli_obj_hex(o, key, device->b, sizeof device->b);
}

static int emit_device(cli_call *c) {
  cli_obj o = cli_obj_begin(c->arena);
  put_device(&o, "device", &cli_home_identity(c->home)->device);
  cli_obj_bytes(&o, "name", cli_home_name(c->home));
  cli_obj_bytes(&o, "space", c->space->name);
  cli_obj_hex(&o, "space_id", c->space->id.b, sizeof c->space->id.b);
  cli_emit_obj(c, &o);
  return CLI_OK;
}

/* A device whose first space was not made or joined, because something failed: the same device
 * goes on, renamed when --name asks for another name. */
static int resume(cli_call *c, weft_bytes name) {
  int code = cli_home_load(c, c->home);
  if (code != CLI_OK || name.len == 0 || weft_bytes_cmp(name, cli_home_name(c->home)) == 0)
    return code;
  return cli_home_rename(c, c->home, name);
}

int cmd_init(cli_call *c) {
  weft_bytes name = weft_bytes_of("", 0), space = weft_bytes_str("home");
  cli_option_get(c, "name", &name);
  if (!cli_option_get(c, "space", &space) && c->front->space)
    space = weft_bytes_str(c->front->space);
  if (!weft__name_ok(space, WEFT_SPACE_NAME_LEN_MAX))
    return cli_fail(
        c, CLI_USAGE,
        "--space: up to %u bytes of text without control and invisible characters are wanted",
        WEFT_SPACE_NAME_LEN_MAX);
  int lock;
  int code = cli_home_claim(c, c->home, name, &lock);
  if (code != CLI_OK) return code;
  code = cli_home_exists(c->home) && cli_space_count(c, c->home) == 0
             ? resume(c, name)
             : cli_home_create(c, c->home, name);
  if (code == CLI_OK) code = cli_space_create(c, c->home, space, &c->space);
  cli_file_unlock(lock);
  return code == CLI_OK ? emit_device(c) : code;
}

static int put_qr(cli_call *c, cli_obj *o, const char *text) {
  weft_buf b;
  weft__buf_init(&b, &c->arena->mem, 1 << 20);
  weft_err err = cli_qr(&b, text);
  weft_bytes copy;
  if (err == WEFT_OK) err = weft__arena_copy(c->arena, weft__buf_view(&b), &copy);
  if (err == WEFT_OK) cli_obj_bytes(o, "qr", copy);
  weft__buf_free(&b);
  return err == WEFT_OK ? CLI_OK : cli_fail_err(c, err, "--qr");
}

int cmd_id(cli_call *c) {
  const weft_identity *me = cli_home_identity(c->home);
  weft_fingerprint print;
  weft_fingerprint_of(&print, weft_crypto_sodium(), &me->device);
  cli_obj o = cli_obj_begin(c->arena);
  put_device(&o, "device", &me->device);
  cli_obj_bytes(&o, "name", cli_home_name(c->home));
  cli_obj_text(&o, "fingerprint", print.text);
  cli_obj_text(&o, "words", print.words);
  int code = cli_flag(c, "qr") ? put_qr(c, &o, print.text) : CLI_OK;
  if (code != CLI_OK) return code;
  cli_emit_obj(c, &o);
  return CLI_OK;
}

static const char *role_name(weft_role role) {
  switch (role) {
  case WEFT_ROLE_ADMIN: return "admin";
  case WEFT_ROLE_WRITER: return "writer";
  case WEFT_ROLE_READER: return "reader";
  }
  return "?";
}

/* --- invite --------------------------------------------------------------------------------------
 */

static int role_option(cli_call *c, weft_role *role) {
  static const weft_role roles[] = {WEFT_ROLE_READER, WEFT_ROLE_WRITER, WEFT_ROLE_ADMIN};
  weft_bytes text = weft_bytes_str("writer");
  cli_option_get(c, "role", &text);
  for (size_t i = 0; i < 3; i++) {
    if (weft_bytes_cmp(text, weft_bytes_str(role_name(roles[i]))) != 0) continue;
    *role = roles[i];
    return CLI_OK;
  }
  return cli_fail(c, CLI_USAGE, "--role %.*s: reader, writer or admin is wanted", TEXT(text));
}

/* The addresses the daemon listens on; without a daemon the joiner is told one by hand. */
static void put_addresses(cli_call *c, weft_ticket *t) {
  if (!c->runtime || !c->runtime->node) return;
  for (size_t i = 0; t->address_count < WEFT_TICKET_ADDRESSES_MAX; i++) {
    weft_bytes address = weft_uv_node_listening(c->runtime->node, i);
    if (address.len == 0) break;
    if (address.len > WEFT_ADDRESS_LEN_MAX) continue;
    weft_ticket_address *to = &t->addresses[t->address_count++];
    to->len = (uint8_t)address.len;
    memcpy(to->text, address.at, address.len);
  }
}

static int invite_allowed(cli_call *c) {
  if (weft__roster_frozen(weft_replica_roster(c->space->replica)))
    return cli_fail_err(c, WEFT_EFROZEN, "invite");
  const weft_roster_member *me = weft__roster_member_of(weft_replica_roster(c->space->replica),
                                                        &cli_home_identity(c->home)->device);
  if (me && me->role == WEFT_ROLE_ADMIN) return CLI_OK;
  return cli_fail(c, CLI_DENIED,
                  "only an admin of the space can invite: ask one, see weft members");
}

static weft_value address_list(cli_call *c, const weft_ticket *t) {
  weft_value *rows = weft__arena_zero(c->arena, t->address_count + 1, sizeof *rows);
  for (size_t i = 0; rows && i < t->address_count; i++) {
    char text[WEFT_ADDRESS_LEN_MAX + 1];
    snprintf(text, sizeof text, "%.*s", (int)t->addresses[i].len,
             (const char *)t->addresses[i].text);
    rows[i] = cli_text(c->arena, text);
  }
  return cli_array(rows, rows ? t->address_count : 0);
}

static int emit_ticket(cli_call *c, const char *text, const weft_ticket *t,
                       const cli_invite *invite) {
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_text(&o, "ticket", text);
  cli_obj_text(&o, "role", role_name((weft_role)invite->role));
  char expires[32];
  cli_time_text(expires, invite->expires_ms);
  cli_obj_text(&o, "expires", expires);
  cli_obj_int(&o, "uses", invite->uses);
  cli_obj_put(&o, "addresses", address_list(c, t));
  if (cli_flag(c, "qr")) {
    char upper[WEFT_TICKET_LEN_MAX + 1];
    size_t i = 0;
    for (; text[i]; i++)
      upper[i] = (char)(text[i] >= 'a' && text[i] <= 'z' ? text[i] - 'a' + 'A' : text[i]);
    upper[i] = 0;
    int code = put_qr(c, &o, upper);
    if (code != CLI_OK) return code;
  }
  cli_emit_obj(c, &o);
  return CLI_OK;
}

int cmd_invite(cli_call *c) {
  const weft_crypto *crypto = weft_crypto_sodium();
  weft_ticket t = {.space = c->space->id, .issuer = cli_home_identity(c->home)->device};
  uint64_t uses, good_ms;
  int code = invite_allowed(c);
  if (code == CLI_OK) code = role_option(c, &t.role);
  if (code == CLI_OK) code = cli_duration_option(c, "expires", 86400000, &good_ms);
  if (code == CLI_OK && good_ms == 0)
    code = cli_fail(c, CLI_USAGE, "--expires 0: such a ticket would be good for nothing");
  if (code == CLI_OK && !cli_option_number(c, "uses", 1, 10000, 1, &uses)) code = CLI_USAGE;
  if (code != CLI_OK) return code;
  t.expires = cli_wall_ms() + good_ms;
  put_addresses(c, &t);
  weft_random(t.seed.b, sizeof t.seed.b);
  weft_ticket_keys keys;
  weft__ticket_keys_derive(&keys, crypto, &t.seed);
  cli_invite invite = {.space = c->space->id,
                       .invite = keys.invite,
                       .k_join = keys.join,
                       .k_jtag = keys.tag,
                       .role = (uint8_t)t.role,
                       .uses = (uint32_t)uses,
                       .expires_ms = t.expires};
  char text[WEFT_TICKET_LEN_MAX + 1];
  weft_err err = weft__ticket_encode(text, crypto, &t);
  if (err == WEFT_OK) err = cli_home_add_invite(c->home, &invite);
  if (err != WEFT_OK)
    code = cli_fail_err(c, err, "invite");
  else if (c->runtime)
    code = cli_node_invites(c, c->runtime);
  if (code == CLI_OK) code = emit_ticket(c, text, &t, &invite);
  crypto->wipe(text, sizeof text);
  crypto->wipe(&invite, sizeof invite);
  weft__ticket_keys_wipe(&keys, crypto);
  weft__ticket_wipe(&t, crypto);
  return code;
}

/* --- join ----------------------------------------------------------------------------------------
 */

typedef struct joining {
  cli_call *call;
  weft_ticket ticket;
  size_t next;      /* address to try next */
  weft_bytes given; /* HOST:PORT of the command line */
  uint64_t limit_ms, started_ms;
  char tried[WEFT_ADDRESS_LEN_MAX + 1];
  weft_err why; /* nothing came of that */
} joining;

static void join_next(joining *j);

static int refused(cli_call *c, uint16_t code) {
  switch (code) {
  case WEFT_REFUSE_USED:
    return cli_fail(c, CLI_DENIED,
                    "this ticket was used already: ask for another one, and if nobody of yours "
                    "used it, have that device removed");
  case WEFT_REFUSE_EXPIRED:
    return cli_fail(c, CLI_DENIED, "this ticket has expired: ask for another one");
  case WEFT_REFUSE_REVOKED:
    return cli_fail(c, CLI_DENIED, "this ticket was withdrawn: ask an admin for another one");
  case WEFT_REFUSE_FULL:
    return cli_fail(c, CLI_DENIED,
                    "this space has as many membership records as a space can have: nobody can "
                    "join it any more; import what weft export writes into a new space");
  default:
    return cli_fail(c, CLI_DENIED, "this ticket is not known there: ask for another one (%u)",
                    code);
  }
}

static int joined_ok(joining *j, const weft_joined *joined) {
  cli_call *c = j->call;
  cli_epoch epoch = {.space = j->ticket.space, .secret = joined->epoch.secret};
  memcpy(epoch.epoch, joined->epoch.id, sizeof epoch.epoch);
  int code = cli_space_join(c, c->home, &epoch, joined->records, joined->count, &c->space);
  weft_crypto_sodium()->wipe(&epoch, sizeof epoch);
  if (code != CLI_OK) return code;
  weft_err err =
      weft_replica_put_address(c->space->replica, weft_bytes_str(j->tried), &j->ticket.issuer);
  if (err != WEFT_OK) return cli_fail_err(c, err, "%s", j->tried);
  return emit_device(c);
}

static void join_end(joining *j, int code) {
  cli_call *c = j->call;
  weft__ticket_wipe(&j->ticket, weft_crypto_sodium());
  cli_call_end(c, code);
}

static void on_joined(void *ctx, weft_err err, uint16_t refuse, const weft_joined *joined) {
  joining *j = ctx;
  if (err == WEFT_OK)
    join_end(j, joined_ok(j, joined));
  else if (err == WEFT_EDENIED)
    join_end(j, refused(j->call, refuse));
  else {
    j->why = err;
    join_next(j);
  }
}

/* Tries the next address; around again until the time limit, since the issuer may just be starting.
 */
static void on_again(uv_timer_t *timer) {
  joining *j = timer->data;
  uv_close((uv_handle_t *)timer, NULL);
  j->next = 0;
  join_next(j);
}

static void join_later(joining *j) {
  uv_timer_t *timer = weft__arena_zero(j->call->arena, 1, sizeof *timer);
  if (!timer) {
    join_end(j, cli_fail_err(j->call, WEFT_ENOMEM, "join"));
    return;
  }
  uv_timer_init(&j->call->runtime->loop, timer);
  timer->data = j;
  uv_timer_start(timer, on_again, 500, 0);
}

static bool next_address(joining *j, weft_bytes *address) {
  if (j->given.len) {
    *address = j->given;
    return j->next++ == 0;
  }
  if (j->next >= j->ticket.address_count) return false;
  const weft_ticket_address *a = &j->ticket.addresses[j->next++];
  *address = weft_bytes_of(a->text, a->len);
  return true;
}

static void join_next(joining *j) {
  cli_call *c = j->call;
  weft_bytes address;
  uint64_t spent = uv_hrtime() / 1000000 - j->started_ms;
  if (spent >= j->limit_ms) {
    join_end(j, cli_fail(c, CLI_TIMEOUT,
                         "%s did not let this device in within %g s (%s): is weft serve running "
                         "there, and the ticket still good?",
                         j->tried, (double)j->limit_ms / 1000, cli_reach_str(j->why)));
    return;
  }
  if (!next_address(j, &address)) {
    join_later(j);
    return;
  }
  snprintf(j->tried, sizeof j->tried, "%.*s", TEXT(address));
  weft_joiner_options o = {.mem = weft_alloc_libc(),
                           .crypto = weft_crypto_sodium(),
                           .identity = cli_home_identity(c->home),
                           .space = j->ticket.space,
                           .issuer = j->ticket.issuer,
                           .ticket_seed = j->ticket.seed,
                           .name = cli_home_name(c->home)};
  weft_random(o.seed, sizeof o.seed);
  uint64_t left = j->limit_ms - spent;
  weft_err err = weft_uv_join(&c->runtime->loop, &o, address,
                              (uint32_t)(left < 10000 ? left : 10000), on_joined, j);
  weft_crypto_sodium()->wipe(&o.ticket_seed, sizeof o.ticket_seed);
  if (err == WEFT_EBADVALUE)
    join_end(j, cli_fail(c, CLI_USAGE, "%s is no address: HOST:PORT is wanted", j->tried));
  else if (err != WEFT_OK)
    join_end(j, cli_fail_err(c, err, "join"));
}

/* Makes a device of the directory, unless another process has done so meanwhile. */
static int join_make(cli_call *c, weft_bytes name, bool *made) {
  int lock;
  int code = cli_home_claim(c, c->home, name, &lock);
  if (code != CLI_OK) return code;
  *made = !cli_home_exists(c->home);
  if (*made) code = cli_home_create(c, c->home, name);
  cli_file_unlock(lock);
  return code;
}

/* The directory that joins: made, finished or, with another space in it already, as it is. */
static int join_home(cli_call *c, const weft_id *space) {
  weft_bytes name = weft_bytes_of("", 0);
  bool named = cli_option_get(c, "name", &name), made = false;
  if (!cli_home_exists(c->home)) {
    int code = join_make(c, name, &made);
    if (made || code != CLI_OK) return code;
  }
  if (cli_space_count(c, c->home) == 0) return resume(c, name);
  int code = cli_home_load(c, c->home);
  if (code != CLI_OK) return code;
  if (cli_space_exists(c->home, space))
    return cli_fail(c, CLI_FAILED, "%s is a member of this space already", cli_home_dir(c->home));
  if (named && weft_bytes_cmp(name, cli_home_name(c->home)) != 0)
    return cli_fail(c, CLI_USAGE, "--name %.*s: this device is called %.*s already", TEXT(name),
                    TEXT(cli_home_name(c->home)));
  return CLI_OK;
}

int cmd_join(cli_call *c) {
  joining *j = weft__arena_zero(c->arena, 1, sizeof *j);
  if (!j) return cli_fail_err(c, WEFT_ENOMEM, "join");
  weft_ticket_error why = {"", 0};
  weft_err err = weft__ticket_parse(&j->ticket, weft_crypto_sodium(), c->args.args[0], &why);
  if (err != WEFT_OK)
    return cli_fail(c, CLI_DENIED, "this ticket %s: copy it again, whole", why.text);
  j->call = c;
  if (c->args.arg_count > 1) j->given = c->args.args[1];
  weft_host_port hp;
  if (j->given.len && weft__host_port_parse(j->given, &hp) != WEFT_OK)
    return cli_fail(c, CLI_USAGE, "%.*s is no address: HOST:PORT is wanted", TEXT(j->given));
  if (!j->given.len && j->ticket.address_count == 0)
    return cli_fail(c, CLI_USAGE, "this ticket names no address: weft join TICKET HOST:PORT");
  int code = cli_duration_option(c, "timeout", 30000, &j->limit_ms);
  if (code != CLI_OK) return code;
  code = join_home(c, &j->ticket.space);
  if (code == CLI_OK) code = cli_runtime_open(c);
  if (code != CLI_OK) return code;
  j->started_ms = uv_hrtime() / 1000000;
  j->why = WEFT_ETIMEOUT;
  join_next(j);
  return CLI_PENDING;
}

/* --- members -------------------------------------------------------------------------------------
 */

int cmd_members(cli_call *c) {
  const weft_roster_member *members;
  size_t count;
  weft__roster_members(weft_replica_roster(c->space->replica), &members, &count);
  weft_value *rows = weft__arena_zero(c->arena, count + 1, sizeof *rows);
  if (!rows) return cli_fail_err(c, WEFT_ENOMEM, "members");
  for (size_t i = 0; i < count; i++) {
    cli_obj o = cli_obj_begin(c->arena);
    put_device(&o, "device", &members[i].device);
    cli_obj_bytes(&o, "name", members[i].name);
    cli_obj_text(&o, "role", role_name(members[i].role));
    put_device(&o, "admitted_by", &members[i].admitted_by);
    cli_obj_bool(&o, "self",
                 weft_id_cmp(&members[i].device, &cli_home_identity(c->home)->device) == 0);
    rows[i] = cli_obj_end(&o);
  }
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_bytes(&o, "space", c->space->name);
  cli_obj_put(&o, "members", cli_array(rows, count));
  cli_emit_obj(c, &o);
  return CLI_OK;
}

/* Two programs that keep a document in step over the network.
 *
 *   pair FILE            makes a space, prints a ticket, asks, and ends when the other has gone
 *   pair FILE TICKET     joins, answers, and ends when the other one has the answer on its disk
 *
 * A real application keeps three things beside FILE, the first and the last of them secret: the
 * seed of its identity, the id of the space, and the epoch.  Here they end with the process. */
#define _POSIX_C_SOURCE 200809L /* for uv.h */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>
#include <weft/weft.h>

typedef struct app {
  uv_loop_t loop;
  uv_prepare_t turn;
  const char *file;
  bool joins, said;
  weft_alloc mem;
  const weft_crypto *crypto;
  weft_identity me;
  weft_id space;
  weft_node_epoch epoch;
  weft_ticket ticket;
  weft_bytes address; /* of the ticket */
  weft_replica *replica;
  weft_uv_node *node;
  weft_events *bus;
} app;

static void must(weft_err err, const char *what) {
  if (err == WEFT_OK) return;
  fprintf(stderr, "%s: %s\n", what, weft_err_str(err));
  exit(1);
}

static weft_ms wall(void *ctx) { return (void)ctx, (weft_ms)time(NULL) * 1000; }
static void entropy(void *ctx, void *out, size_t len) { (void)ctx, weft_random(out, len); }

/* --- documents --- */

static void open_replica(app *a) {
  weft_lmdb_options file;
  weft_lmdb_options_init(&file);
  file.path = a->file;
  weft_replica_options o;
  weft_replica_options_init(&o);
  must(weft_lmdb_store_open(&file, &o.store, NULL), a->file);
  o.platform.wall_ms = wall;
  o.platform.entropy = entropy;
  o.identity = &a->me;
  o.space = a->space;
  must(weft_replica_open(&a->replica, &o), a->file);
  weft_subscription_options talk;
  uint64_t id;
  weft_subscription_options_init(&talk);
  talk.collection = weft_bytes_str("talk");
  must(weft_events_new(&a->bus, a->replica, &a->mem), "events");
  must(weft_events_subscribe(a->bus, &talk, &id), "events");
}

static void say(app *a, const char *pointer, const char *text) {
  weft_edit *e;
  weft_commit done;
  weft_value v = {.kind = WEFT_STRING, .as = {.bytes = weft_bytes_str(text)}};
  must(weft_edit_begin(&e, a->replica, NULL), "edit");
  must(weft_edit_set(e, weft_bytes_str("talk/one"), weft_bytes_str(pointer), &v), pointer);
  must(weft_edit_commit(e, &done), "commit");
  weft_edit_free(e);
  if (a->node) weft_uv_node_changed(a->node);
}

static bool heard(app *a, const char *pointer) {
  weft_arena arena;
  weft_value v;
  weft_arena_init(&arena, &a->mem);
  weft_err err =
      weft_replica_get(a->replica, &arena, weft_bytes_str("talk/one"), weft_bytes_str(pointer), &v);
  if (err == WEFT_OK)
    printf("%s %.*s\n", pointer, (int)v.as.bytes.len, (const char *)v.as.bytes.at);
  weft_arena_free(&arena);
  return err == WEFT_OK;
}

/* --- the node --- */

static bool everybody_has_it(app *a) {
  weft_arena arena;
  weft_node_acked *list;
  size_t count;
  weft_arena_init(&arena, &a->mem);
  must(weft_node_acked_list(weft_uv_node_core(a->node), &arena, &list, &count), "members");
  bool all = count > 0;
  for (size_t i = 0; i < count; i++) all = all && list[i].heard && list[i].pending == 0;
  weft_arena_free(&arena);
  return all;
}

/* Before the loop waits: whatever its callbacks have written is durable by now. */
static void on_turn(uv_prepare_t *turn) {
  app *a = turn->data;
  weft_delivery d;
  must(weft_events_pump(a->bus, uv_now(&a->loop)), "events");
  while (weft_events_next(a->bus, uv_now(&a->loop), &d)) {
    if (a->said || !heard(a, a->joins ? "/question" : "/answer")) continue;
    a->said = true;
    if (a->joins) say(a, "/answer", "fine, thank you");
  }
  if (a->joins && a->said && everybody_has_it(a)) weft_uv_node_stop(a->node);
}

static void on_note(void *ctx, const weft_node_action *note) {
  app *a = ctx;
  if (note->note == WEFT_NOTE_DOWN && !a->joins && a->said) weft_uv_node_stop(a->node);
}

static void on_stopped(void *ctx) {
  app *a = ctx;
  uv_close((uv_handle_t *)&a->turn, NULL); /* the last handle: the loop ends */
}

static void start_node(app *a) {
  char detail[128];
  weft_bytes here = weft_bytes_str("127.0.0.1:0");
  weft_uv_node_options o;
  weft_uv_node_options_init(&o);
  o.loop = &a->loop;
  o.replica = a->replica;
  o.node.identity = &a->me;
  o.node.space = a->space;
  o.node.name = weft_bytes_str(a->joins ? "second" : "first");
  o.node.epochs = &a->epoch;
  o.node.epoch_count = 1;
  o.listen = a->joins ? NULL : &here;
  o.listen_count = a->joins ? 0 : 1;
  o.connect = a->joins ? &a->address : NULL;
  o.connect_count = a->joins ? 1 : 0;
  o.events.ctx = a;
  o.events.note = on_note;
  o.events.stopped = on_stopped;
  o.bus = a->bus;
  must(weft_uv_node_start(&a->node, &o, detail, sizeof detail), detail);
  uv_prepare_init(&a->loop, &a->turn);
  a->turn.data = a;
  uv_prepare_start(&a->turn, on_turn);
}

/* --- the first: a space, and a ticket to it --- */

static void make_space(app *a) {
  uint8_t nonce[32];
  weft_buf record;
  weft_space_names names = {weft_bytes_str("talk"), weft_bytes_str("first")};
  weft_random(nonce, sizeof nonce);
  weft_buf_init(&record, &a->mem, 1 << 16);
  must(weft_space_genesis(&record, a->crypto, &a->me, &names, nonce, &a->space), "space");
  weft_epoch_id(a->epoch.id, &a->space);
  weft_random(a->epoch.secret.b, sizeof a->epoch.secret.b);
  open_replica(a);
  must(weft_replica_add_record(a->replica, weft_buf_view(&record)), "space");
  weft_buf_free(&record);
}

static void print_ticket(app *a) {
  weft_ticket t = {.space = a->space, .issuer = a->me.device, .role = WEFT_ROLE_WRITER};
  weft_ticket_keys keys;
  char text[WEFT_TICKET_LEN_MAX + 1];
  weft_bytes address = weft_uv_node_listening(a->node, 0);
  weft_random(t.seed.b, sizeof t.seed.b);
  t.expires = wall(NULL) + 60 * 60 * 1000;
  t.address_count = 1;
  t.addresses[0].len = (uint8_t)address.len;
  memcpy(t.addresses[0].text, address.at, address.len);
  weft_ticket_keys_derive(&keys, a->crypto, &t.seed);
  weft_uv_invite invite = {{keys.invite, keys.join, keys.tag}, {keys.invite, t.role, 1, t.expires}};
  must(weft_uv_node_set_invites(a->node, &invite, 1), "invite"); /* anew after each start */
  must(weft_ticket_encode(text, a->crypto, &t), "ticket");
  printf("%s\n", text);
  fflush(stdout);
  weft_ticket_keys_wipe(&keys, a->crypto);
  weft_ticket_wipe(&t, a->crypto);
}

/* --- the second: joins --- */

static void on_joined(void *ctx, weft_err err, uint16_t refuse, const weft_joined *joined) {
  app *a = ctx;
  if (err == WEFT_EDENIED) fprintf(stderr, "refused with code %u\n", refuse);
  must(err, "join");
  a->epoch = joined->epoch;
  open_replica(a);
  for (size_t i = 0; i < joined->count; i++)
    must(weft_replica_add_record(a->replica, joined->records[i]), "record");
  start_node(a);
}

static void join(app *a, const char *text) {
  must(weft_ticket_parse(&a->ticket, a->crypto, weft_bytes_str(text), NULL), "ticket");
  if (a->ticket.address_count == 0) must(WEFT_EMALFORMED, "a ticket without address");
  a->space = a->ticket.space;
  a->address.at = a->ticket.addresses[0].text;
  a->address.len = a->ticket.addresses[0].len;
  weft_joiner_options o = {.mem = a->mem,
                           .crypto = a->crypto,
                           .identity = &a->me,
                           .space = a->space,
                           .issuer = a->ticket.issuer,
                           .ticket_seed = a->ticket.seed,
                           .name = weft_bytes_str("second")};
  weft_random(o.seed, sizeof o.seed);
  must(weft_uv_join(&a->loop, &o, a->address, 10000, on_joined, a), "join");
}

int main(int argc, char **argv) {
  app a = {.mem = weft_alloc_libc(), .crypto = weft_crypto_sodium()};
  weft_key seed;
  if (argc < 2) return fprintf(stderr, "usage: pair FILE [TICKET]\n"), 2;
  a.file = argv[1];
  a.joins = argc > 2;
  weft_random(seed.b, sizeof seed.b);
  weft_identity_derive(&a.me, a.crypto, &seed);
  uv_loop_init(&a.loop);
  if (a.joins) {
    join(&a, argv[2]);
  } else {
    make_space(&a);
    say(&a, "/question", "how are you?");
    start_node(&a);
    print_ticket(&a);
  }
  uv_run(&a.loop, UV_RUN_DEFAULT);
  weft_uv_node_free(a.node);
  weft_events_free(a.bus);
  weft_replica_free(a.replica);
  weft_ticket_wipe(&a.ticket, a.crypto);
  weft_identity_wipe(&a.me, a.crypto);
  return uv_loop_close(&a.loop) == 0 ? 0 : 1;
}

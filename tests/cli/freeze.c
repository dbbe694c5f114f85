/* freeze DIR: gives the space of a device a membership record that only a later weft knows, as that
 * weft would. */
#include <stdio.h>

#include "cli/command.h"
#include "cli/home.h"
#include "cli/space.h"
#include "crdt/crypto.h"
#include "crdt/record.h"

static int add_record(cli_call *c, cli_home *h) {
  cli_space *space;
  int code = cli_space_open(c, h, NULL, &space);
  if (code != CLI_OK) return code;
  weft_record record = {
      .kind = 99, .flags = WEFT_RECORD_CRITICAL, .space = space->id, .dep_count = 1};
  record.deps[0] = space->id;
  weft_buf raw;
  weft_id id;
  weft__buf_init(&raw, &c->arena->mem, SIZE_MAX);
  weft_err err = weft__record_sign(&raw, weft_crypto_sodium(), cli_home_identity(h), &record, &id);
  if (err == WEFT_OK) err = weft_replica_add_record(space->replica, weft__buf_view(&raw));
  weft__buf_free(&raw);
  cli_space_free(space);
  return err == WEFT_OK ? CLI_OK : cli_fail_err(c, err, "record");
}

int main(int argc, char **argv) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  cli_call call = {.arena = &arena};
  if (argc != 2) return 2;
  weft__arena_init(&arena, &mem);
  cli_home *h = cli_home_new(argv[1]);
  int code = h ? cli_home_load(&call, h) : CLI_FAILED;
  if (code == CLI_OK) code = add_record(&call, h);
  if (code != CLI_OK) fprintf(stderr, "%s\n", call.error);
  cli_home_free(h);
  weft__arena_free(&arena);
  return code;
}

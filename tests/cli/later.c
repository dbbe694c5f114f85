/* later DIR DIR2: gives DIR three changes of the device of DIR2, as that device and a later weft
 * would write them: the first of a log, one of a form that this weft does not know, and one that
 * claims what nobody has. */
#include <stdio.h>

#include "cli/command.h"
#include "cli/home.h"
#include "cli/space.h"
#include "crdt/chunk.h"

enum { changes = 3 };

static weft_err encode(weft_arena *arena, const weft_change *change, weft_bytes *out) {
  weft_buf b;
  weft__buf_init(&b, &arena->mem, SIZE_MAX);
  weft_err err = weft__change_encode(&b, arena, change);
  if (err == WEFT_OK) err = weft__arena_copy(arena, weft__buf_view(&b), out);
  weft__buf_free(&b);
  return err;
}

static weft_err hold_run(cli_space *space, const weft_identity *author, weft_arena *arena,
                         weft_start start, const weft_bytes *raws) {
  const weft_crypto *crypto = weft_crypto_sodium();
  weft_run run = {.first = 1, .changes = raws, .count = changes};
  weft_id id;
  weft__log_id(crypto, &space->id, &start, &run.log);
  weft__log_root(crypto, &run.log, &run.prev);
  id = run.prev;
  for (size_t i = 0; i < changes; i++) weft__change_id(crypto, &space->id, &id, raws[i], &id);
  weft__change_sign(crypto, &author->sign_seed, &author->device, &space->id, &run.log, changes, &id,
                    &run.sig);
  weft_buf chunk;
  weft_hold_report report;
  weft__buf_init(&chunk, &arena->mem, SIZE_MAX);
  weft_err err = weft__chunk_encode(&chunk, &arena->mem, &run, 1, WEFT_CHUNK_LIVE);
  weft_bytes bytes = weft__buf_view(&chunk);
  if (err == WEFT_OK) err = weft_replica_hold(space->replica, arena, &bytes, 1, &report);
  weft__buf_free(&chunk);
  return err;
}

static weft_err write_log(cli_space *space, const weft_identity *author, weft_arena *arena) {
  static const uint8_t newer[] = {9, 2, 0, 1, 2, 3};
  const weft_roster_member *member =
      weft__roster_member_of(weft_replica_roster(space->replica), &author->device);
  if (!member) return WEFT_EDENIED;
  weft_change first = {.kind = WEFT_CHANGE_START, .hlc = UINT64_C(100) << 16};
  first.start = (weft_start){.device = author->device, .grant = member->grant};
  first.start.incarnation[0] = 0x77;
  first.start.lane = WEFT_LANE_NORMAL;
  weft_claim claim = {.has_log = true, .has_tag = true, .seq = 7};
  claim.log.b[0] = 0xab;
  weft_op op = {.doc = weft_bytes_str("t/x"), .kind = WEFT_OP_MARK_OBJECT};
  weft_change last = {.kind = WEFT_CHANGE_DATA,
                      .hlc = UINT64_C(101) << 16,
                      .claims = &claim,
                      .claim_count = 1,
                      .ops = &op,
                      .op_count = 1};
  weft_bytes raws[changes] = {{NULL, 0}, {newer, sizeof newer}, {NULL, 0}};
  WEFT_TRY(encode(arena, &first, &raws[0]));
  WEFT_TRY(encode(arena, &last, &raws[2]));
  return hold_run(space, author, arena, first.start, raws);
}

int main(int argc, char **argv) {
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  cli_call call = {.arena = &arena};
  cli_space *space = NULL;
  if (argc != 3) return 2;
  weft__arena_init(&arena, &mem);
  cli_home *h = cli_home_new(argv[1]), *other = cli_home_new(argv[2]);
  int code = h && other ? cli_home_load(&call, h) : CLI_FAILED;
  if (code == CLI_OK) code = cli_home_load(&call, other);
  if (code == CLI_OK) code = cli_space_open(&call, h, NULL, &space);
  weft_err err = code == CLI_OK ? write_log(space, cli_home_identity(other), &arena) : WEFT_OK;
  if (err != WEFT_OK) code = cli_fail_err(&call, err, "log");
  if (code != CLI_OK) fprintf(stderr, "%s\n", call.error);
  if (space) cli_space_free(space);
  cli_home_free(h);
  cli_home_free(other);
  weft__arena_free(&arena);
  return code;
}

/* What cli/home.c and cli/space.c share. */
#ifndef WEFT_CLI_HOME_INTERNAL_H
#define WEFT_CLI_HOME_INTERNAL_H

#include "cli/home.h"

struct cli_home {
  char dir[CLI_PATH_MAX];
  char mirror[CLI_PATH_MAX]; /* folder of the incarnation mirrors; "" when none is known */
  weft_alloc heap;
  weft_arena arena; /* on `heap`, wiped when it is given back: secrets pass through it */
  weft_identity identity;
  weft_bytes name;
  weft_bytes config;
  cli_epoch *epochs;
  size_t epoch_count, epoch_cap;
  cli_invite *invites;
  size_t invite_count, invite_cap;
};

#endif

/* An open space: its replica and what names it. */
#ifndef WEFT_CLI_SPACE_H
#define WEFT_CLI_SPACE_H

#include "cli/command.h"
#include "store/replica.h"

struct cli_space {
  weft_replica *replica;
  weft_id id;
  weft_bytes name; /* of the GENESIS record; view in `name_text` */
  char name_text[WEFT_SPACE_NAME_LEN_MAX];
  bool read_only; /* the folder cannot be written: reads work, writes fail */
  weft_metrics *metrics;
};

/* The file that a space is stored in, in `arena`; NULL when memory is out or the path too long. */
const char *cli_space_file(weft_arena *arena, const cli_home *home, const weft_id *space);

/* Looks up a device by its name among the members, or by a prefix of its fingerprint or of its key
 * in hex.  WEFT_ENOTFOUND; WEFT_EMALFORMED: more than one fits. */
weft_err cli_device_find(const cli_space *space, weft_bytes text, weft_id *device) WEFT_MUST_USE;

/* The member's name, or the first 16 hex digits of its key in `scratch`. */
weft_bytes cli_device_name(const cli_space *space, const weft_id *device, char scratch[17]);

#endif

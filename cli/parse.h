/* From argv to a parsed command line. */
#ifndef WEFT_CLI_PARSE_H
#define WEFT_CLI_PARSE_H

#include "cli/command.h"

/* What may stand before or after any command. */
typedef struct cli_globals {
  const char *dir;   /* --dir, NULL when not given */
  const char *space; /* --space */
  bool json, quiet, help;
  unsigned verbose;
} cli_globals;

/* The table of global options, ended by a NULL name. */
const cli_option *cli_global_options(void);

/* Parses argv[1..].  Options may stand anywhere; `--` ends them.  Strings in `args` are views of
 * argv. CLI_OK; else CLI_USAGE with `error` (of `error_len`) set to one line that suggests the
 * nearest name. `args->command` is NULL when no command was given (help, version as options). */
int cli_parse(int argc, char **argv, weft_arena *arena, cli_globals *globals, cli_args *args,
              char *error, size_t error_len);

/* Names the entry nearest to `word` by edit distance, or NULL when none is near. */
const char *cli_nearest_command(const char *word);

#endif

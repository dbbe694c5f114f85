/* The configuration file: `key = value` lines, `#` begins a comment line.  The keys are the long
 * options that make sense for a directory, and the times of the network. */
#ifndef WEFT_CLI_CONFIG_H
#define WEFT_CLI_CONFIG_H

#include "cli/command.h"

/* The last value of `key`, a view into `text`; false when it is not there. */
bool cli_config_get(weft_bytes text, const char *key, weft_bytes *value);

/* CLI_OK when every line is a known key with a value it can have; else CLI_FAILED with the error
 * naming the line of `path`. */
int cli_config_check(cli_call *c, weft_bytes text, const char *path);

/* A time of the network in milliseconds: the configured one, else `fallback`. */
uint32_t cli_config_ms(weft_bytes text, const char *key, uint32_t fallback);

/* The same of a whole number. */
uint64_t cli_config_number(weft_bytes text, const char *key, uint64_t fallback);

#endif

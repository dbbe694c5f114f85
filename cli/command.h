/* The command table and what a running command sees.
 *
 * One table serves the process and the daemon: a command takes parsed arguments and emits records
 * (weft_value trees) into a sink; rendering them for people or as JSON happens where the person is.
 * Man page, help and completions are made from the same table (cli/help.c). */
#ifndef WEFT_CLI_COMMAND_H
#define WEFT_CLI_COMMAND_H

#include "cli/record.h"

typedef struct cli_command cli_command;
typedef struct cli_call cli_call;
typedef struct cli_home cli_home;
typedef struct cli_space cli_space;
typedef struct cli_printer cli_printer;

/* The exit codes of the contract. */
enum {
  CLI_OK = 0,
  CLI_FAILED = 1,
  CLI_USAGE = 2,
  CLI_NOT_FOUND = 3,
  CLI_DENIED = 4,
  CLI_NO_DAEMON = 5,
  CLI_ATTENTION = 6,
  CLI_TIMEOUT = 7,
  CLI_PARTIAL = 8,
  CLI_PENDING = -1, /* of run(): the call goes on and ends through cli_call_end() */
  CLI_AGAIN = -2    /* of run() in this process: run again from `seen` on when the store changed */
};

typedef struct cli_option {
  const char *name; /* long name without dashes; NULL ends a list */
  char letter;      /* 0: none */
  const char *arg;  /* what it takes, for help; NULL: a flag */
  const char *help; /* one line */
} cli_option;

enum { CLI_OPTIONS_MAX = 24, CLI_ARGS_MAX = 20000 };

/* Where a command runs and what it wants. */
typedef enum cli_where {
  CLI_LOCAL,  /* always in this process, without a store: init, join, help, version, completion */
  CLI_STORE,  /* on the store: in the daemon when one runs, else in this process */
  CLI_DAEMON, /* only in a daemon */
  CLI_BESIDE, /* long reading: in this process, beside whoever has the store; --quick: CLI_STORE */
  CLI_FRONT   /* in this process, made of other commands: edit */
} cli_where;

/* How records become --json output. */
typedef enum cli_style {
  CLI_ONE,  /* one record, one JSON document */
  CLI_LINES /* any number of records, one compact line each */
} cli_style;

struct cli_command {
  const char *name;
  const char *usage;   /* what follows the name */
  const char *summary; /* one line, no full stop */
  const char *detail;  /* further paragraphs for help and man page, or "" */
  const char *group;   /* heading in help */
  cli_where where;
  cli_style style;
  int args_min, args_max; /* args_max -1: any number */
  int input_arg; /* index of the positional argument that names a file to read ("-" stdin); -1 none
                  */
  bool input_needed;
  const cli_option *options;
  int (*run)(cli_call *call); /* an exit code or CLI_PENDING */
  void (*print)(cli_printer *p, const cli_call *call, const weft_value *record);
};

/* All commands, in the order of help; `count` gets their number. */
const cli_command *cli_commands(size_t *count);
const cli_command *cli_command_find(const char *name);
/* Why this version has no command of that name, though one is planned; NULL for any other word. */
const char *cli_command_absent(const char *name);

typedef struct cli_option_value {
  const cli_option *option;
  weft_bytes value; /* empty for a flag */
} cli_option_value;

/* A parsed command line. */
typedef struct cli_args {
  const cli_command *command;
  weft_bytes *args;
  size_t arg_count;
  cli_option_value *options;
  size_t option_count;
  weft_bytes input; /* contents of the input file */
  bool has_input;
} cli_args;

/* Whether whoever reads the records keeps up. */
typedef enum cli_pace {
  CLI_GO,
  CLI_WAIT, /* much waits to be read: go on later */
  CLI_GONE  /* nobody reads any more */
} cli_pace;

/* Where records and progress go: to the terminal, or over the control socket. */
typedef struct cli_sink {
  void *ctx;
  void (*record)(void *ctx, const weft_value *record);
  void (*progress)(void *ctx, weft_bytes what, uint64_t done, uint64_t total);
  cli_pace (*pace)(void *ctx); /* NULL: always CLI_GO */
} cli_sink;

typedef struct cli_runtime cli_runtime;
struct cli_front;

struct cli_call {
  weft_arena *arena; /* lives as long as the call */
  cli_args args;
  const struct cli_front *front; /* how the process was started; NULL in a daemon */
  cli_home *home;
  cli_space *space;     /* opened, for CLI_STORE */
  cli_runtime *runtime; /* the loop and the node, where the command wants the network */
  cli_sink sink;
  bool locked;            /* the space did not open since another process has it */
  char error[512];        /* one line, set by cli_fail */
  void *state;            /* of a pending call */
  uint64_t seen;          /* after CLI_AGAIN: the last event looked at */
  const char *store_file; /* and the file to look at for more */
  /* Set by a command that gave CLI_PENDING for a reader that is slow: called when it has read on,
   * or is gone; gives an exit code or CLI_PENDING again. */
  int (*resume)(cli_call *call);
  void (*ended)(cli_call *call, int code);
  void *ended_ctx;
};

/* Sets the error line and gives `code` back. Text in `format` says what happened, to what, what to
 * do. */
int cli_fail(cli_call *call, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* As cli_fail with the exit code and text that fit a library error on `subject`. */
int cli_fail_err(cli_call *call, weft_err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Ends a pending call. */
void cli_call_end(cli_call *call, int code);

/* Where a call runs: what its command says, and its options may change.  Never CLI_BESIDE. */
cli_where cli_call_where(const cli_call *call);

/* Options of a call. */
bool cli_flag(const cli_call *call, const char *name);
/* The last value given, or false. */
bool cli_option_get(const cli_call *call, const char *name, weft_bytes *value);
/* The i-th value of a repeatable option, or false. */
bool cli_option_at(const cli_call *call, const char *name, size_t i, weft_bytes *value);
/* Reads a whole number from an option; `fallback` when absent.  False: not a number in lo..hi, and
 * the error is set. */
bool cli_option_number(cli_call *call, const char *name, uint64_t lo, uint64_t hi,
                       uint64_t fallback, uint64_t *value);

/* The sink. */
void cli_emit(cli_call *call, const weft_value *record);
/* Ends an object and emits it. */
void cli_emit_obj(cli_call *call, cli_obj *o);
void cli_progress(cli_call *call, const char *what, uint64_t done, uint64_t total);
/* Asked between pages of a long answer.  CLI_WAIT: keep the state, set `resume`, give CLI_PENDING.
 */
cli_pace cli_pace_of(const cli_call *call);

#endif

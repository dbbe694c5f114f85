/* Parsing the command line against the command table.
 *
 * Happy path: one pass finds the command (the first word that is no option), a second reads options
 * of the command and the global ones wherever they stand.  Anything unknown is an error that names
 * the nearest known word. */
#include "cli/parse.h"

#include <stdio.h>
#include <string.h>

static const cli_option global_options[] = {
    {"dir", 0, "DIR", "directory of the device (WEFT_DIR; default ~/.local/state/weft)"},
    {"space", 0, "NAME", "the space to work on, needless while there is one"},
    {"json", 0, NULL, "machine-readable output: one JSON document, or JSON lines"},
    {"quiet", 'q', NULL, "no messages but errors"},
    {"verbose", 'v', NULL, "more, such as every op in weft log"},
    {"help", 'h', NULL, "help, of a command where one is given"},
    {NULL, 0, NULL, NULL},
};

const cli_option *cli_global_options(void) { return global_options; }

/* Letters to insert, drop, replace or swap with their neighbour, of short words; anything longer
 * counts as far. */
static unsigned distance(const char *a, const char *b) {
  enum { word_max = 32 };
  size_t n = strlen(a), m = strlen(b);
  if (n > word_max || m > word_max) return word_max;
  unsigned rows[3][word_max + 1];
  for (size_t j = 0; j <= m; j++) rows[0][j] = (unsigned)j;
  for (size_t i = 1; i <= n; i++) {
    unsigned *row = rows[i % 3], *above = rows[(i - 1) % 3], *higher = rows[(i + 1) % 3];
    row[0] = (unsigned)i;
    for (size_t j = 1; j <= m; j++) {
      unsigned least = above[j - 1] + (a[i - 1] != b[j - 1]);
      if (above[j] + 1 < least) least = above[j] + 1;
      if (row[j - 1] + 1 < least) least = row[j - 1] + 1;
      bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped && higher[j - 2] + 1 < least) least = higher[j - 2] + 1;
      row[j] = least;
    }
  }
  return rows[n % 3][m];
}

/* Remembers the nearest word seen that is near enough to be meant. */
typedef struct nearest {
  const char *word;
  const char *best;
  unsigned least;
} nearest;

static void nearest_try(nearest *n, const char *candidate) {
  size_t len = strlen(n->word);
  bool begins = len >= 2 && strncmp(n->word, candidate, len) == 0;
  unsigned d = begins ? 0 : distance(n->word, candidate);
  if (d < n->least && d <= (len + 1) / 3) {
    n->least = d;
    n->best = candidate;
  }
}

const char *cli_nearest_command(const char *word) {
  nearest n = {word, NULL, 32};
  size_t count;
  const cli_command *table = cli_commands(&count);
  for (size_t i = 0; i < count; i++) nearest_try(&n, table[i].name);
  return n.best;
}

/* The option nearest to `word`, which may hold a value after "=". */
static const char *nearest_option(const cli_command *command, const char *word) {
  char name[64];
  snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
  nearest n = {name, NULL, 32};
  for (const cli_option *o = global_options; o->name; o++) nearest_try(&n, o->name);
  for (const cli_option *o = command ? command->options : NULL; o && o->name; o++)
    nearest_try(&n, o->name);
  return n.best;
}

static const cli_option *find_long(const cli_option *list, const char *name, size_t len) {
  for (; list && list->name; list++)
    if (strlen(list->name) == len && memcmp(list->name, name, len) == 0) return list;
  return NULL;
}

static const cli_option *find_letter(const cli_option *list, char letter) {
  for (; list && list->name; list++)
    if (list->letter == letter) return list;
  return NULL;
}

typedef struct parser {
  int argc;
  char **argv;
  int at; /* the word being read */
  weft_arena *arena;
  cli_globals *globals;
  cli_args *args;
  size_t arg_cap, option_cap;
  char *error;
  size_t error_len;
} parser;

static int usage_error(parser *p, const char *what, const char *word, const char *near) {
  if (near)
    snprintf(p->error, p->error_len, "%s %s: did you mean %s%s?", what, word,
             word[0] == '-' ? "--" : "", near);
  else
    snprintf(p->error, p->error_len, "%s %s: see weft help%s%s", what, word,
             p->args->command ? " " : "", p->args->command ? p->args->command->name : "");
  return CLI_USAGE;
}

static void set_global(cli_globals *g, const cli_option *o, const char *value) {
  if (strcmp(o->name, "dir") == 0) g->dir = value;
  if (strcmp(o->name, "space") == 0) g->space = value;
  if (strcmp(o->name, "json") == 0) g->json = true;
  if (strcmp(o->name, "quiet") == 0) g->quiet = true;
  if (strcmp(o->name, "verbose") == 0) g->verbose++;
  if (strcmp(o->name, "help") == 0) g->help = true;
}

static int take_option(parser *p, const cli_option *o, bool global, const char *value) {
  if (global) {
    set_global(p->globals, o, value);
    return CLI_OK;
  }
  void *at = p->args->options;
  if (weft__arena_grow(p->arena, &at, p->args->option_count, &p->option_cap,
                       p->args->option_count + 1, sizeof *p->args->options) != WEFT_OK)
    return usage_error(p, "out of memory at", o->name, NULL);
  p->args->options = at;
  p->args->options[p->args->option_count++] =
      (cli_option_value){o, value ? weft_bytes_str(value) : weft_bytes_of("", 0)};
  return CLI_OK;
}

/* The option called `name`; a command's own goes before a global one of the same name. */
static const cli_option *option_long(const parser *p, const char *name, size_t len, bool *global) {
  const cli_option *o = p->args->command ? find_long(p->args->command->options, name, len) : NULL;
  *global = !o;
  return o ? o : find_long(global_options, name, len);
}

static const cli_option *option_letter(const parser *p, char letter, bool *global) {
  const cli_option *o = p->args->command ? find_letter(p->args->command->options, letter) : NULL;
  *global = !o;
  return o ? o : find_letter(global_options, letter);
}

/* Takes `o` with the value that came with it, or else with the next word. */
static int take_valued(parser *p, const cli_option *o, bool global, const char *value) {
  if (!value && p->at + 1 >= p->argc)
    return usage_error(p, "option needs a value:", p->argv[p->at], NULL);
  return take_option(p, o, global, value ? value : p->argv[++p->at]);
}

/* --name, --name=VALUE or --name VALUE. */
static int parse_long(parser *p, const char *word) {
  bool global;
  const char *equal = strchr(word, '=');
  size_t len = equal ? (size_t)(equal - word) - 2 : strlen(word) - 2;
  const cli_option *o = option_long(p, word + 2, len, &global);
  if (!o) return usage_error(p, "unknown option", word, nearest_option(p->args->command, word + 2));
  if (o->arg) return take_valued(p, o, global, equal ? equal + 1 : NULL);
  return equal ? usage_error(p, "option takes no value:", word, NULL)
               : take_option(p, o, global, NULL);
}

/* -x, -xyz for several flags, -xVALUE or -x VALUE. */
static int parse_letters(parser *p, const char *word) {
  int code = CLI_OK;
  for (const char *at = word + 1; *at && code == CLI_OK; at++) {
    bool global;
    const cli_option *o = option_letter(p, *at, &global);
    if (!o) return usage_error(p, "unknown option", word, NULL);
    if (o->arg) return take_valued(p, o, global, at[1] ? at + 1 : NULL);
    code = take_option(p, o, global, NULL);
  }
  return code;
}

static int take_arg(parser *p, const char *word) {
  cli_args *a = p->args;
  void *at = a->args;
  if (a->arg_count >= CLI_ARGS_MAX ||
      weft__arena_grow(p->arena, &at, a->arg_count, &p->arg_cap, a->arg_count + 1,
                       sizeof *a->args) != WEFT_OK)
    return usage_error(p, "too many arguments at", word, NULL);
  a->args = at;
  a->args[a->arg_count++] = weft_bytes_str(word);
  return CLI_OK;
}

/* True for a word that starts an option.  A lone "-" is standard input; "-5" and "-/a" are
 * arguments (a number, a sort order). */
static bool is_option(const char *word) {
  if (word[0] != '-' || word[1] == 0) return false;
  return word[1] == '-' || (word[1] >= 'a' && word[1] <= 'z') || (word[1] >= 'A' && word[1] <= 'Z');
}

/* The option of any command, or a global one.  No two of one name differ in whether they take a
 * value; the unit test sees to that. */
static const cli_option *option_anywhere(const char *name, size_t len, char letter) {
  size_t count;
  const cli_command *table = cli_commands(&count);
  const cli_option *o =
      len ? find_long(global_options, name, len) : find_letter(global_options, letter);
  for (size_t i = 0; i < count && !o; i++)
    o = len ? find_long(table[i].options, name, len) : find_letter(table[i].options, letter);
  return o;
}

/* Whether the word after this one is the value of an option in it, before the command is known. */
static bool takes_next(const char *word) {
  if (word[1] == '-') {
    const cli_option *o = word[2] ? option_anywhere(word + 2, strlen(word) - 2, 0) : NULL;
    return o && o->arg;
  }
  for (const char *at = word + 1; *at; at++) {
    const cli_option *o = option_anywhere(NULL, 0, *at);
    if (o && o->arg) return at[1] == 0;
  }
  return false;
}

static int unknown_command(parser *p, const char *word) {
  const char *why = cli_command_absent(word);
  if (!why) return usage_error(p, "unknown command", word, cli_nearest_command(word));
  snprintf(p->error, p->error_len, "this version has no weft %s: %s", word, why);
  return CLI_USAGE;
}

/* The command is the first word that is neither an option nor the value of one. */
static int find_command(parser *p) {
  for (int i = 1; i < p->argc; i++) {
    const char *word = p->argv[i];
    if (is_option(word)) {
      i += takes_next(word);
      continue;
    }
    p->args->command = cli_command_find(word);
    return p->args->command ? CLI_OK : unknown_command(p, word);
  }
  return CLI_OK;
}

int cli_parse(int argc, char **argv, weft_arena *arena, cli_globals *globals, cli_args *args,
              char *error, size_t error_len) {
  memset(globals, 0, sizeof *globals);
  memset(args, 0, sizeof *args);
  parser p = {argc, argv, 1, arena, globals, args, 0, 0, error, error_len};
  int code = find_command(&p);
  bool options = true, named = false;
  for (; p.at < argc && code == CLI_OK; p.at++) {
    const char *word = argv[p.at];
    if (options && strcmp(word, "--") == 0)
      options = false;
    else if (options && is_option(word))
      code = word[1] == '-' ? parse_long(&p, word) : parse_letters(&p, word);
    else if (!named && args->command)
      named = true;
    else
      code = take_arg(&p, word);
  }
  if (code != CLI_OK || globals->help || !args->command) return code;
  const cli_command *c = args->command;
  if ((int)args->arg_count < c->args_min ||
      (c->args_max >= 0 && (int)args->arg_count > c->args_max)) {
    snprintf(error, error_len, "usage: weft %s%s%s", c->name, *c->usage ? " " : "", c->usage);
    return CLI_USAGE;
  }
  return CLI_OK;
}

/* Help, manual page and completions, all made from the command table. */
#include <stdio.h>
#include <string.h>

#include "cli/parse.h"
#include "cli/record.h"
#include "cli/run.h"

#ifndef WEFT_VERSION
#error "the build defines WEFT_VERSION"
#endif

enum { help_width = 79 };

static void put(weft_buf *b, const char *text) { weft__buf_put(b, weft_bytes_str(text)); }

static void put_padded(weft_buf *b, const char *text, size_t width) {
  put(b, text);
  for (size_t len = strlen(text); len < width; len++) put(b, " ");
}

static void option_left(char *out, size_t cap, const cli_option *o) {
  char letter[8] = "    ";
  if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
  snprintf(out, cap, "%s--%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "");
}

/* Text in lines of help_width, the first of which has `indent` columns already and the others are
 * indented by as many. */
static void put_wrapped(weft_buf *b, const char *text, size_t indent) {
  size_t column = indent;
  while (*text) {
    size_t gap = strspn(text, " "), word = strcspn(text + gap, " ");
    if (column > indent && column + gap + word > help_width) {
      put(b, "\n");
      for (column = 0; column < indent; column++) put(b, " ");
      gap = 0;
      text += strspn(text, " ");
    }
    weft__buf_put(b, weft_bytes_of(text, gap + word));
    column += gap + word;
    text += gap + word;
  }
  put(b, "\n");
}

static void help_options_of(weft_buf *b, const cli_option *options) {
  for (const cli_option *o = options; o->name; o++) {
    char left[64];
    option_left(left, sizeof left, o);
    put(b, "  ");
    put_padded(b, left, 26);
    put(b, " ");
    put_wrapped(b, o->help, 29);
  }
}

static void help_all(weft_buf *b) {
  put(b, "weft: JSON documents that stay in step between devices, with no server\n\n"
         "usage: weft [options] COMMAND [arguments]\n");
  size_t count;
  const cli_command *table = cli_commands(&count);
  const char *group = "";
  for (size_t i = 0; i < count; i++) {
    if (strcmp(group, table[i].group) != 0) {
      bool before = false;
      for (size_t k = 0; k < i; k++) before |= strcmp(table[k].group, table[i].group) == 0;
      if (before) continue;
      group = table[i].group;
      put(b, "\n");
      put(b, group);
      put(b, "\n");
      for (size_t k = i; k < count; k++) {
        if (strcmp(table[k].group, group) != 0) continue;
        put(b, "  ");
        put_padded(b, table[k].name, 16);
        put(b, table[k].summary);
        put(b, "\n");
      }
    }
  }
  put(b, "\nOptions, before or after the command\n");
  help_options_of(b, cli_global_options());
  put(b, "\nweft help COMMAND tells all about a command.\nexit: ");
  put_wrapped(
      b,
      "0 done, 1 failed, 2 usage, 3 no such document, path, change or device, 4 not allowed, "
      "5 the daemon is needed, 6 needs attention (--check), 7 time limit, 8 partly done",
      6);
}

static void help_one(weft_buf *b, const cli_command *c) {
  put(b, "weft ");
  put(b, c->name);
  put(b, ": ");
  put(b, c->summary);
  put(b, "\n\nusage: weft ");
  put(b, c->name);
  put(b, *c->usage ? " " : "");
  put(b, c->usage);
  put(b, "\n");
  if (*c->detail) {
    put(b, "\n");
    put_wrapped(b, c->detail, 0);
  }
  if (c->options->name) {
    put(b, "\nOptions\n");
    help_options_of(b, c->options);
  }
  put(b, "\nOptions of every command\n");
  help_options_of(b, cli_global_options());
}

/* troff wants "-" escaped, and a leading dot or quote kept from being a request. */
static void troff(weft_buf *b, const char *text) {
  if (*text == '.' || *text == '\'') put(b, "\\&");
  for (; *text; text++) {
    if (*text == '-' || *text == '\\') put(b, "\\");
    weft__buf_u8(b, (uint8_t)*text);
  }
}

static void troff_options(weft_buf *b, const cli_option *options) {
  for (const cli_option *o = options; o->name; o++) {
    char left[64];
    option_left(left, sizeof left, o);
    put(b, ".TP\n.B ");
    troff(b, left + strspn(left, " "));
    put(b, "\n");
    troff(b, o->help);
    put(b, "\n");
  }
}

static void manual(weft_buf *b) {
  put(b, ".TH WEFT 1 \"\" \"weft " WEFT_VERSION
         "\"\n.SH NAME\nweft \\- JSON documents that stay in step "
         "between devices, with no server\n.SH SYNOPSIS\n.B weft\n[options] COMMAND [arguments]\n"
         ".SH OPTIONS\n");
  troff_options(b, cli_global_options());
  put(b, ".SH COMMANDS\n");
  size_t count;
  const cli_command *table = cli_commands(&count);
  for (size_t i = 0; i < count; i++) {
    put(b, ".SS ");
    troff(b, table[i].name);
    put(b, " ");
    troff(b, table[i].usage);
    put(b, "\n");
    troff(b, table[i].summary);
    put(b, ".\n");
    if (*table[i].detail) {
      put(b, ".PP\n");
      troff(b, table[i].detail);
      put(b, "\n");
    }
    troff_options(b, table[i].options);
  }
  put(b, ".SH EXIT STATUS\n0 done, 1 failed, 2 usage, 3 no such document, path, change or device, "
         "4 not "
         "allowed, 5 the daemon is needed and not running, 6 something needs attention (with "
         "\\-\\-check), 7 the time limit was reached, 8 partly done.\n"
         ".SH ENVIRONMENT\n"
         ".TP\n.B WEFT_DIR\ndirectory of the device, where \\-\\-dir does not say it\n"
         ".TP\n.B XDG_STATE_HOME\nits folder weft is used where neither does; "
         "~/.local/state by default\n"
         ".TP\n.B VISUAL, EDITOR\nwhat weft edit opens; vi by default\n"
         ".TP\n.B NO_COLOR\nno colours\n"
         ".TP\n.B WEFT_CONTROL_TIMEOUT\nhow long a command waits for the daemon to take its "
         "request; 60s by default\n"
         ".SH FILES\nIn the directory of the device:\n"
         ".TP\n.B identity\nthe key of this device and its name; a secret\n"
         ".TP\n.B secrets\nkeys of spaces, and open invitations; a secret\n"
         ".TP\n.B config\ndefaults, as key = value lines: docs/configuration.md\n"
         ".TP\n.B spaces/\none LMDB store for each space\n");
}

static int emit_text(cli_call *c, weft_buf *b) {
  weft_err err = weft__buf_err(b);
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_bytes(&o, "text", weft__buf_view(b));
  weft_value record = cli_obj_end(&o);
  if (err == WEFT_OK) cli_emit(c, &record);
  weft__buf_free(b);
  return err == WEFT_OK ? CLI_OK : cli_fail_err(c, err, "help");
}

int cmd_help(cli_call *c) {
  weft_buf b;
  weft__buf_init(&b, &c->arena->mem, 1 << 20);
  if (cli_flag(c, "man")) {
    manual(&b);
  } else if (c->args.arg_count == 0) {
    help_all(&b);
  } else {
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)c->args.args[0].len, (const char *)c->args.args[0].at);
    const cli_command *command = cli_command_find(name);
    if (!command) {
      const char *near = cli_nearest_command(name), *why = cli_command_absent(name);
      weft__buf_free(&b);
      if (why) return cli_fail(c, CLI_USAGE, "this version has no weft %s: %s", name, why);
      return near ? cli_fail(c, CLI_USAGE, "no command %s: did you mean %s?", name, near)
                  : cli_fail(c, CLI_USAGE, "no command %s: see weft help", name);
    }
    help_one(&b, command);
  }
  return emit_text(c, &b);
}

static void words(weft_buf *b) {
  size_t count;
  const cli_command *table = cli_commands(&count);
  for (size_t i = 0; i < count; i++) {
    put(b, i ? " " : "");
    put(b, table[i].name);
  }
}

static void option_words(weft_buf *b, const cli_option *options) {
  for (const cli_option *o = options; o->name; o++) {
    put(b, " --");
    put(b, o->name);
  }
}

/* The options that may stand before the command and take a value: "--dir|--space". */
static void global_values(weft_buf *b) {
  bool first = true;
  for (const cli_option *o = cli_global_options(); o->name; o++) {
    if (!o->arg) continue;
    put(b, first ? "--" : "|--");
    put(b, o->name);
    first = false;
  }
}

static void completion_bash(weft_buf *b) {
  size_t count;
  const cli_command *table = cli_commands(&count);
  put(b, "_weft() {\n  local word=${COMP_WORDS[COMP_CWORD]} command= w skip=\n"
         "  for w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
         "    if [ \"$skip\" ]; then skip=; continue; fi\n    case $w in ");
  global_values(b);
  put(b, ") skip=1 ;; -*) ;; *) command=$w; break ;; esac\n  done\n  local options=\"");
  option_words(b, cli_global_options());
  put(b, "\"\n  case $command in\n    '') COMPREPLY=($(compgen -W \"");
  words(b);
  put(b, " $options\" -- \"$word\")); return ;;\n");
  for (size_t i = 0; i < count; i++) {
    put(b, "    ");
    put(b, table[i].name);
    put(b, ") options+=\"");
    option_words(b, table[i].options);
    put(b, "\" ;;\n");
  }
  put(b, "  esac\n  case $word in\n    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")) ;;\n"
         "    *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n  esac\n}\ncomplete -F _weft weft\n");
}

static void quoted(weft_buf *b, const char *text) {
  put(b, "'");
  for (; *text; text++) {
    if (*text == '\'') put(b, "'\\'");
    weft__buf_u8(b, (uint8_t)*text);
  }
  put(b, "'");
}

/* zsh reads "[", "]" and ":" in descriptions; they become round brackets and commas. */
static void zsh_option(weft_buf *b, const cli_option *o) {
  char text[256];
  snprintf(text, sizeof text, "--%s[%s]%s", o->name, o->help, o->arg ? ":value:" : "");
  for (char *at = strchr(text, '[') + 1; *at && at < strrchr(text, ']'); at++) {
    if (*at == '[') *at = '(';
    if (*at == ']') *at = ')';
    if (*at == ':') *at = ',';
  }
  put(b, " ");
  quoted(b, text);
}

static void completion_zsh(weft_buf *b) {
  size_t count;
  const cli_command *table = cli_commands(&count);
  put(b, "#compdef weft\n_weft() {\n  local -a commands\n  commands=(\n");
  for (size_t i = 0; i < count; i++) {
    char text[160];
    snprintf(text, sizeof text, "%s:%s", table[i].name, table[i].summary);
    put(b, "    ");
    quoted(b, text);
    put(b, "\n");
  }
  put(b, "  )\n  local -i at=2\n  while (( at < CURRENT )) && [[ $words[at] == -* ]]; do\n"
         "    case $words[at] in ");
  global_values(b);
  put(b, ") (( at += 2 )) ;; *) (( at += 1 )) ;; esac\n  done\n"
         "  if (( at >= CURRENT )); then\n"
         "    if [[ $words[CURRENT] != -* ]]; then _describe command commands; return; fi\n"
         "    _arguments");
  for (const cli_option *o = cli_global_options(); o->name; o++) zsh_option(b, o);
  put(b, "\n    return\n  fi\n  case $words[at] in\n");
  for (size_t i = 0; i < count; i++) {
    put(b, "    ");
    put(b, table[i].name);
    put(b, ") _arguments");
    for (const cli_option *o = table[i].options; o->name; o++) zsh_option(b, o);
    for (const cli_option *o = cli_global_options(); o->name; o++) {
      bool own = false;
      for (const cli_option *k = table[i].options; k->name; k++)
        own |= strcmp(k->name, o->name) == 0;
      if (!own) zsh_option(b, o);
    }
    put(b, " '*:file:_files' ;;\n");
  }
  put(b, "  esac\n}\n_weft \"$@\"\n");
}

static void fish_option(weft_buf *b, const char *condition, const cli_option *o) {
  put(b, "complete -c weft ");
  put(b, condition);
  put(b, " -l ");
  put(b, o->name);
  if (o->letter) {
    char letter[8];
    snprintf(letter, sizeof letter, " -s %c", o->letter);
    put(b, letter);
  }
  put(b, o->arg ? " -r -d " : " -d ");
  quoted(b, o->help);
  put(b, "\n");
}

static void completion_fish(weft_buf *b) {
  size_t count;
  const cli_command *table = cli_commands(&count);
  for (size_t i = 0; i < count; i++) {
    put(b, "complete -c weft -n __fish_use_subcommand -a ");
    put(b, table[i].name);
    put(b, " -d ");
    quoted(b, table[i].summary);
    put(b, "\n");
    char condition[96];
    snprintf(condition, sizeof condition, "-n '__fish_seen_subcommand_from %s'", table[i].name);
    for (const cli_option *o = table[i].options; o->name; o++) fish_option(b, condition, o);
  }
  for (const cli_option *o = cli_global_options(); o->name; o++) fish_option(b, "", o);
}

int cmd_completion(cli_call *c) {
  weft_bytes shell = c->args.args[0];
  weft_buf b;
  weft__buf_init(&b, &c->arena->mem, 1 << 20);
  if (weft_bytes_cmp(shell, weft_bytes_str("bash")) == 0)
    completion_bash(&b);
  else if (weft_bytes_cmp(shell, weft_bytes_str("zsh")) == 0)
    completion_zsh(&b);
  else if (weft_bytes_cmp(shell, weft_bytes_str("fish")) == 0)
    completion_fish(&b);
  else
    return cli_fail(c, CLI_USAGE, "completion %.*s: bash, zsh or fish is wanted", (int)shell.len,
                    (const char *)shell.at);
  return emit_text(c, &b);
}

int cmd_version(cli_call *c) {
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_text(&o, "version", WEFT_VERSION);
  cli_emit_obj(c, &o);
  return CLI_OK;
}

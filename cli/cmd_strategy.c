/* strategy: what of the conflicts of a collection is reported. */
#include <string.h>

#include "cli/fields.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/space.h"
#include "store/history.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

static const char *const names[] = {"field", "lww", "manual"};

static bool strategy_read(weft_bytes text, weft_strategy *out) {
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (weft_bytes_cmp(text, weft_bytes_str(names[i])) != 0) continue;
    *out = (weft_strategy)i;
    return true;
  }
  return false;
}

static int list_rules(cli_call *c, const weft_bytes *collection) {
  weft_strategy_rule *rules;
  size_t count, n = 0;
  weft_err err = weft_replica_strategies(c->space->replica, c->arena, &rules, &count);
  if (err != WEFT_OK) return cli_fail_err(c, err, "strategy");
  weft_value *rows = weft__arena_zero(c->arena, count + 1, sizeof *rows);
  if (!rows) return cli_fail_err(c, WEFT_ENOMEM, "strategy");
  for (size_t i = 0; i < count; i++) {
    if (collection && weft_bytes_cmp(*collection, rules[i].collection) != 0) continue;
    cli_obj o = cli_obj_begin(c->arena);
    cli_obj_bytes(&o, "collection", rules[i].collection);
    cli_obj_bytes(&o, "pattern", rules[i].pattern);
    cli_obj_text(&o, "strategy", names[rules[i].strategy]);
    rows[n++] = cli_obj_end(&o);
  }
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_put(&o, "items", cli_array(rows, n));
  cli_emit_obj(c, &o);
  return CLI_OK;
}

int cmd_strategy(cli_call *c) {
  weft_edit_options options;
  weft_commit commit;
  size_t count = c->args.arg_count;
  int code = cli_edit_options(c, &options);
  if (code != CLI_OK) return code;
  if (count < 2) return list_rules(c, count > 0 ? &c->args.args[0] : NULL);
  weft_strategy_rule rule = {.collection = c->args.args[0], .pattern = weft_bytes_of("", 0)};
  weft_bytes word = c->args.args[count - 1];
  bool drop = weft_bytes_cmp(word, weft_bytes_str("none")) == 0;
  if (!drop && !strategy_read(word, &rule.strategy))
    return cli_fail(c, CLI_USAGE, "strategy %.*s: lww, field or manual is wanted, or none",
                    TEXT(word));
  if (count > 2) code = cli_pointer_of(c, c->args.args[1], &rule.pattern);
  if (code != CLI_OK) return code;
  weft_replica *r = c->space->replica;
  weft_err err =
      drop ? weft_replica_drop_strategy(r, rule.collection, rule.pattern, &options, &commit)
           : weft_replica_set_strategy(r, &rule, &options, &commit);
  if (err == WEFT_OK) return cli_emit_commit(c, &commit);
  if (err == WEFT_EBADNAME)
    return cli_fail(c, CLI_USAGE, "%.*s is no collection that can have a strategy",
                    TEXT(rule.collection));
  if (err == WEFT_ENOTFOUND)
    return cli_fail(c, CLI_NOT_FOUND, "%.*s has no strategy at \"%.*s\"", TEXT(rule.collection),
                    TEXT(rule.pattern));
  return cli_fail_err(c, err, "strategy %.*s \"%.*s\"", TEXT(rule.collection), TEXT(rule.pattern));
}

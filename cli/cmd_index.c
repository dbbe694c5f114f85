/* index: which fields lists find quickly. */
#include <string.h>

#include "cli/fields.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/space.h"
#include "store/replica.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

static int list_indexes(cli_call *c) {
  weft_index_info *list;
  size_t count;
  weft_err err = weft_replica_indexes(c->space->replica, c->arena, &list, &count);
  if (err != WEFT_OK) return cli_fail_err(c, err, "index");
  weft_value *rows = weft__arena_zero(c->arena, count + 1, sizeof *rows);
  if (!rows) return cli_fail_err(c, WEFT_ENOMEM, "index");
  for (size_t i = 0; i < count; i++) {
    bool all = list[i].collection.len == 0;
    cli_obj o = cli_obj_begin(c->arena);
    cli_obj_bytes(&o, "collection", all ? weft_bytes_str("*") : list[i].collection);
    cli_obj_bytes(&o, "field", list[i].pointer);
    rows[i] = cli_obj_end(&o);
  }
  cli_obj o = cli_obj_begin(c->arena);
  cli_obj_put(&o, "items", cli_array(rows, count));
  cli_emit_obj(c, &o);
  return CLI_OK;
}

int cmd_index(cli_call *c) {
  size_t count = c->args.arg_count;
  if (count == 0) return list_indexes(c);
  if (count == 1) return cli_fail(c, CLI_USAGE, "index COLLECTION FIELD: the field is wanted too");
  weft_bytes collection = c->args.args[0], field = c->args.args[1], pointer = field;
  bool drop = count == 3;
  if (drop && weft_bytes_cmp(c->args.args[2], weft_bytes_str("none")) != 0)
    return cli_fail(c, CLI_USAGE, "index %.*s %.*s %.*s: only none can follow, which drops it",
                    TEXT(collection), TEXT(field), TEXT(c->args.args[2]));
  if (weft_bytes_cmp(collection, weft_bytes_str("*")) == 0) collection = weft_bytes_of("", 0);
  bool meta = field.len > 0 && field.at[0] == '@';
  int code = meta ? CLI_OK : cli_pointer_of(c, field, &pointer);
  if (code != CLI_OK) return code;
  weft_replica *r = c->space->replica;
  weft_err err = drop ? weft_replica_drop_index(r, collection, pointer)
                      : weft_replica_declare_index(r, collection, pointer);
  if (err == WEFT_OK || (err == WEFT_EEXIST && !drop)) return list_indexes(c);
  if (err == WEFT_ENOTFOUND)
    return cli_fail(c, CLI_NOT_FOUND, "there is no index over %.*s", TEXT(field));
  if (err == WEFT_EBADPATH)
    return cli_fail(c, CLI_USAGE, "%.*s is no field that can have an index", TEXT(field));
  return cli_fail_err(c, err, "index %.*s", TEXT(field));
}

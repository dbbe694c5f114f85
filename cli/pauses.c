/* Which members this device neither hears nor tells: DIR/paused has a line for each, the key of a
 * device in hex, or "all".  It is read when a node starts, so a pause outlives the daemon. */
#include "cli/pauses.h"

#include <string.h>

#include "cli/files.h"
#include "cli/home.h"
#include "cli/record.h"

enum { file_len_max = 1 << 16 };

static bool pause_path(cli_call *c, char *path) {
  return cli_path_join(path, CLI_PATH_MAX, cli_home_dir(c->home), "paused") == WEFT_OK;
}

weft_err cli_pauses_read(cli_call *c, cli_pauses *p) {
  char path[CLI_PATH_MAX];
  weft_bytes file;
  memset(p, 0, sizeof *p);
  if (!pause_path(c, path)) return WEFT_ELIMIT;
  weft_err err = cli_file_read(c->arena, path, file_len_max, true, false, &file);
  if (err == WEFT_ENOSTORE) return WEFT_OK;
  if (err != WEFT_OK) return err;
  for (size_t from = 0, i = 0; i <= file.len; i++) {
    if (i < file.len && file.at[i] != '\n') continue;
    weft_bytes key, line = weft_bytes_of(file.at + from, i - from);
    from = i + 1;
    if (weft_bytes_cmp(line, weft_bytes_str("all")) == 0) p->all = true;
    if (line.len != 2 * sizeof(weft_id) || !cli_unhex(c->arena, line, &key)) continue;
    if (p->count < CLI_PAUSES_MAX) memcpy(p->devices[p->count++].b, key.at, sizeof(weft_id));
  }
  return WEFT_OK;
}

weft_err cli_pauses_write(cli_call *c, const cli_pauses *p) {
  char path[CLI_PATH_MAX], hex[2 * sizeof(weft_id) + 1];
  weft_buf b;
  if (!pause_path(c, path)) return WEFT_ELIMIT;
  weft__buf_init(&b, &c->arena->mem, file_len_max);
  if (p->all) weft__buf_put(&b, weft_bytes_str("all\n"));
  for (size_t i = 0; i < p->count; i++) {
    cli_hex(hex, p->devices[i].b, sizeof(weft_id));
    weft__buf_put(&b, weft_bytes_str(hex));
    weft__buf_u8(&b, '\n');
  }
  weft_err err = weft__buf_err(&b);
  if (err == WEFT_OK) err = cli_file_write(path, weft__buf_view(&b));
  weft__buf_free(&b);
  return err;
}

int cli_pauses_apply(cli_call *c, weft_uv_node *node) {
  cli_pauses *p = weft__arena_zero(c->arena, 1, sizeof *p);
  weft_err err = p ? cli_pauses_read(c, p) : WEFT_ENOMEM;
  if (err == WEFT_OK && p->all) err = weft_uv_node_pause(node, NULL);
  for (size_t i = 0; err == WEFT_OK && i < p->count; i++)
    err = weft_uv_node_pause(node, &p->devices[i]);
  return err == WEFT_OK ? CLI_OK : cli_fail_err(c, err, "%s/paused", cli_home_dir(c->home));
}

static size_t place_of(const cli_pauses *p, const weft_id *device) {
  size_t i = 0;
  while (i < p->count && weft_id_cmp(&p->devices[i], device) != 0) i++;
  return i;
}

weft_err cli_pauses_change(cli_pauses *p, const weft_id *device, bool pause) {
  size_t at = device ? place_of(p, device) : 0;
  if (!device) {
    p->all = pause;
    if (!pause) p->count = 0;
  } else if (pause && at == p->count) {
    if (p->count == CLI_PAUSES_MAX) return WEFT_ELIMIT;
    p->devices[p->count++] = *device;
  } else if (!pause && at < p->count) {
    p->devices[at] = p->devices[--p->count];
  }
  return WEFT_OK;
}

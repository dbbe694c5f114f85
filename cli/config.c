#include "cli/config.h"

#include <string.h>

#include "cli/fields.h"
#include "store/events.h"

#define TEXT(b) (int)(b).len, (const char *)(b).at

typedef enum config_kind { CONFIG_TEXT, CONFIG_SWITCH, CONFIG_TIME, CONFIG_NUMBER } config_kind;

/* Times: lo..hi milliseconds.  Numbers: lo..hi.  docs/configuration.md lists what each is for. */
static const struct {
  const char *key;
  config_kind kind;
  uint64_t lo, hi;
} keys[] = {
    {"space", CONFIG_TEXT, 0, 0},
    {"listen", CONFIG_TEXT, 0, 0},
    {"connect", CONFIG_TEXT, 0, 0},
    {"http", CONFIG_TEXT, 0, 0},
    {"no-http", CONFIG_SWITCH, 0, 0},
    {"no-discovery", CONFIG_SWITCH, 0, 0},
    {"no-gossip", CONFIG_SWITCH, 0, 0},
    {"no-remembered", CONFIG_SWITCH, 0, 0},
    {"heartbeat", CONFIG_TIME, 1000, 3600000},
    {"dead-after", CONFIG_TIME, 3000, 7200000},
    {"dial-timeout", CONFIG_TIME, 100, 600000},
    {"redial-cap", CONFIG_TIME, 500, 86400000},
    {"anti-entropy", CONFIG_TIME, 1000, 86400000},
    {"network-poll", CONFIG_TIME, 100, 3600000},
    {"retries", CONFIG_NUMBER, 0, 1000000},
    {"links-max", CONFIG_NUMBER, 1, 4096},
    {"event-history", CONFIG_NUMBER, WEFT_EVENTS_KEPT_MIN, WEFT_EVENTS_KEPT_MAX},
};

static bool is_blank(uint8_t c) { return c == ' ' || c == '\t' || c == '\r'; }

static weft_bytes trim(weft_bytes t) {
  while (t.len && is_blank(t.at[0])) t = weft_bytes_of(t.at + 1, t.len - 1);
  while (t.len && is_blank(t.at[t.len - 1])) t.len--;
  return t;
}

/* One line from `*at` on: false at the end.  `key` is empty for blank lines and comments; `ok` is
 * false for a line that is none of these. */
static bool next_line(weft_bytes text, size_t *at, weft_bytes *key, weft_bytes *value, bool *ok) {
  if (*at >= text.len) return false;
  const uint8_t *from = text.at + *at, *end = memchr(from, '\n', text.len - *at);
  size_t len = end ? (size_t)(end - from) : text.len - *at;
  *at += len + 1;
  weft_bytes line = trim(weft_bytes_of(from, len));
  *key = *value = weft_bytes_of("", 0);
  *ok = true;
  if (line.len == 0 || line.at[0] == '#') return true;
  const uint8_t *equal = memchr(line.at, '=', line.len);
  *ok = equal != NULL;
  if (!equal) return true;
  *key = trim(weft_bytes_of(line.at, (size_t)(equal - line.at)));
  *value = trim(weft_bytes_of(equal + 1, line.len - (size_t)(equal - line.at) - 1));
  *ok = key->len > 0;
  return true;
}

bool cli_config_get(weft_bytes text, const char *key, weft_bytes *value) {
  weft_bytes name, found;
  bool ok, any = false;
  for (size_t at = 0; next_line(text, &at, &name, &found, &ok);) {
    if (!ok || weft_bytes_cmp(name, weft_bytes_str(key)) != 0) continue;
    *value = found;
    any = true;
  }
  return any;
}

static bool is_switch(weft_bytes value) {
  static const char *const words[] = {"true", "false", "yes", "no"};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    if (weft_bytes_cmp(value, weft_bytes_str(words[i])) == 0) return true;
  return false;
}

static bool parse_number(weft_bytes text, uint64_t *n) {
  *n = 0;
  for (size_t i = 0; i < text.len; i++) {
    if (text.at[i] < '0' || text.at[i] > '9') return false;
    *n = *n * 10 + (uint64_t)(text.at[i] - '0');
  }
  return text.len > 0 && text.len < 19;
}

static int check_line(cli_call *c, weft_bytes key, weft_bytes value, const char *path,
                      size_t line) {
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    if (weft_bytes_cmp(key, weft_bytes_str(keys[i].key)) != 0) continue;
    uint64_t ms; /* or the number */
    if (keys[i].kind == CONFIG_SWITCH && !is_switch(value))
      return cli_fail(c, CLI_FAILED, "%s line %zu: %s is true or false", path, line, keys[i].key);
    if (keys[i].kind == CONFIG_TIME &&
        (!cli_duration_parse(value, &ms) || ms < keys[i].lo || ms > keys[i].hi))
      return cli_fail(c, CLI_FAILED, "%s line %zu: %s is a time from %llums to %llums, such as 15s",
                      path, line, keys[i].key, (unsigned long long)keys[i].lo,
                      (unsigned long long)keys[i].hi);
    if (keys[i].kind == CONFIG_NUMBER &&
        (!parse_number(value, &ms) || ms < keys[i].lo || ms > keys[i].hi))
      return cli_fail(c, CLI_FAILED, "%s line %zu: %s is a whole number from %llu to %llu", path,
                      line, keys[i].key, (unsigned long long)keys[i].lo,
                      (unsigned long long)keys[i].hi);
    return CLI_OK;
  }
  return cli_fail(c, CLI_FAILED, "%s line %zu: %.*s is no setting; see docs/configuration.md", path,
                  line, TEXT(key));
}

int cli_config_check(cli_call *c, weft_bytes text, const char *path) {
  weft_bytes key, value;
  bool ok;
  size_t line = 1;
  for (size_t at = 0; next_line(text, &at, &key, &value, &ok); line++) {
    if (!ok) return cli_fail(c, CLI_FAILED, "%s line %zu: key = value is wanted", path, line);
    int code = key.len ? check_line(c, key, value, path, line) : CLI_OK;
    if (code != CLI_OK) return code;
  }
  return CLI_OK;
}

uint64_t cli_config_number(weft_bytes text, const char *key, uint64_t fallback) {
  weft_bytes value;
  uint64_t n;
  return cli_config_get(text, key, &value) && parse_number(value, &n) ? n : fallback;
}

uint32_t cli_config_ms(weft_bytes text, const char *key, uint32_t fallback) {
  weft_bytes value;
  uint64_t ms;
  if (!cli_config_get(text, key, &value) || !cli_duration_parse(value, &ms)) return fallback;
  return (uint32_t)ms;
}

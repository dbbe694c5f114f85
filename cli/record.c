#include "cli/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

cli_obj cli_obj_begin(weft_arena *arena) {
  cli_obj o = {arena, NULL, 0, 0, false};
  return o;
}

void cli_obj_put(cli_obj *o, const char *key, weft_value value) {
  cli_obj_add(o, &(weft_member){weft_bytes_str(key), value});
}

void cli_obj_add(cli_obj *o, const weft_member *member) {
  void *at = o->at;
  if (!o->failed &&
      weft__arena_grow(o->arena, &at, o->count, &o->cap, o->count + 1, sizeof *o->at) != WEFT_OK)
    o->failed = true;
  if (o->failed) return;
  o->at = at;
  o->at[o->count++] = *member;
}

void cli_text_mend(char *text, size_t len) {
  for (size_t at = 0; at < len;) {
    size_t most = len - at < 4 ? len - at : 4, size = 1;
    while (size <= most && !weft__utf8_ok(weft_bytes_of((const uint8_t *)text + at, size))) size++;
    if (size <= most) {
      at += size;
    } else {
      text[at++] = '?';
    }
  }
}

weft_value cli_text(weft_arena *arena, const char *text) {
  weft_value v = {.kind = WEFT_NULL};
  if (!text) return v;
  size_t len = strlen(text);
  char *room = weft__arena_take(arena, len + 1);
  if (!room) return v;
  memcpy(room, text, len + 1);
  cli_text_mend(room, len);
  v.kind = WEFT_STRING;
  v.as.bytes = weft_bytes_of((const uint8_t *)room, len);
  return v;
}

weft_value cli_array(const weft_value *items, size_t count) {
  weft_value v = {.kind = WEFT_ARRAY};
  v.as.array.at = items;
  v.as.array.count = count;
  return v;
}

void cli_obj_text(cli_obj *o, const char *key, const char *text) {
  cli_obj_put(o, key, cli_text(o->arena, text));
}

void cli_obj_bytes(cli_obj *o, const char *key, weft_bytes text) {
  weft_value v = {.kind = WEFT_STRING};
  v.as.bytes = text;
  cli_obj_put(o, key, v);
}

void cli_obj_int(cli_obj *o, const char *key, int64_t i) {
  weft_value v = {.kind = WEFT_INT};
  v.as.integer = i;
  cli_obj_put(o, key, v);
}

void cli_obj_bool(cli_obj *o, const char *key, bool b) {
  weft_value v = {.kind = WEFT_BOOL};
  v.as.boolean = b;
  cli_obj_put(o, key, v);
}

void cli_hex(char *out, const uint8_t *at, size_t len) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < len; i++) {
    out[2 * i] = digits[at[i] >> 4];
    out[2 * i + 1] = digits[at[i] & 15];
  }
  out[2 * len] = 0;
}

static int nibble(uint8_t c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool cli_unhex(weft_arena *arena, weft_bytes text, weft_bytes *out) {
  if (text.len % 2) return false;
  uint8_t *at = weft__arena_take(arena, text.len / 2);
  if (!at) return false;
  for (size_t i = 0; i < text.len / 2; i++) {
    int high = nibble(text.at[2 * i]), low = nibble(text.at[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    at[i] = (uint8_t)(high << 4 | low);
  }
  *out = weft_bytes_of(at, text.len / 2);
  return true;
}

void cli_obj_hex(cli_obj *o, const char *key, const uint8_t *at, size_t len) {
  char *text = weft__arena_take(o->arena, 2 * len + 1);
  if (!text) {
    o->failed = true;
    return;
  }
  cli_hex(text, at, len);
  cli_obj_bytes(o, key, weft_bytes_of(text, 2 * len));
}

weft_err cli_obj_base(cli_obj *o, const weft_vector *base) {
  weft_buf b;
  weft__buf_init(&b, &o->arena->mem, WEFT_TEXT_LEN_MAX / 2); /* two digits a byte */
  weft__vector_encode(&b, base);
  weft_err err = weft__buf_err(&b);
  if (err == WEFT_OK) cli_obj_hex(o, "base", b.at, b.len);
  weft__buf_free(&b);
  return err;
}

void cli_obj_digest(cli_obj *o, const char *key, uint64_t high, uint64_t low) {
  char text[33];
  snprintf(text, sizeof text, "%016llx%016llx", (unsigned long long)high, (unsigned long long)low);
  cli_obj_text(o, key, text);
}

void cli_time_text(char out[32], uint64_t ms) {
  time_t seconds = (time_t)(ms / 1000);
  struct tm tm;
  char day[24];
  if (!gmtime_r(&seconds, &tm) || strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
    snprintf(out, 32, "+%llu ms", (unsigned long long)ms);
    return;
  }
  snprintf(out, 32, "%s.%03uZ", day, (unsigned)(ms % 1000));
}

void cli_obj_time(cli_obj *o, const char *key, uint64_t hlc) {
  char text[32];
  cli_time_text(text, hlc >> 16);
  cli_obj_text(o, key, text);
}

static int member_cmp(const void *a, const void *b) {
  return weft_bytes_cmp(((const weft_member *)a)->key, ((const weft_member *)b)->key);
}

weft_value cli_obj_end(cli_obj *o) {
  weft_value v = {.kind = WEFT_NULL};
  if (o->failed) return v;
  if (o->count) qsort(o->at, o->count, sizeof *o->at, member_cmp);
  v.kind = WEFT_OBJECT;
  v.as.object.at = o->at;
  v.as.object.count = o->count;
  return v;
}

const weft_value *cli_member(const weft_value *record, const char *key) {
  static const weft_value none = {.kind = WEFT_NULL};
  const weft_value *v = weft_value_member(record, weft_bytes_str(key));
  return v ? v : &none;
}

weft_bytes cli_member_text(const weft_value *record, const char *key) {
  const weft_value *v = cli_member(record, key);
  return v->kind == WEFT_STRING ? v->as.bytes : weft_bytes_of("", 0);
}

int64_t cli_member_int(const weft_value *record, const char *key) {
  const weft_value *v = cli_member(record, key);
  return v->kind == WEFT_INT ? v->as.integer : 0;
}

bool cli_member_bool(const weft_value *record, const char *key) {
  const weft_value *v = cli_member(record, key);
  return v->kind == WEFT_BOOL && v->as.boolean;
}

/* Reads `width` digits at `*at`; false when there is anything else. */
static bool digits(weft_bytes text, size_t *at, unsigned width, unsigned *out) {
  size_t from = *at;
  *out = 0;
  for (unsigned i = 0; i < width; i++, (*at)++) {
    if (*at >= text.len || text.at[*at] < '0' || text.at[*at] > '9') {
      *at = from;
      return false;
    }
    *out = *out * 10 + (unsigned)(text.at[*at] - '0');
  }
  return true;
}

static bool symbol(weft_bytes text, size_t *at, char want) {
  if (*at >= text.len || text.at[*at] != (uint8_t)want) return false;
  (*at)++;
  return true;
}

/* Days from 1970-01-01 of a date of the Gregorian calendar. */
static int64_t days_of(unsigned year, unsigned month, unsigned day) {
  int64_t y = (int64_t)year - (month <= 2);
  int64_t era = y / 400, of_era = y - era * 400;
  int64_t of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static unsigned days_in(unsigned year, unsigned month) {
  static const unsigned days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return days[month - 1] + (month == 2 && leap);
}

static bool zone_parse(weft_bytes text, size_t *at, int64_t *minutes) {
  *minutes = 0;
  if (symbol(text, at, 'Z') || symbol(text, at, 'z')) return true;
  int64_t sign = symbol(text, at, '+') ? -1 : symbol(text, at, '-') ? 1 : 0;
  unsigned h, m;
  if (sign == 0 || !digits(text, at, 2, &h) || !symbol(text, at, ':') || !digits(text, at, 2, &m))
    return false;
  *minutes = sign * (int64_t)(h * 60 + m);
  return h < 24 && m < 60;
}

bool cli_time_parse(weft_bytes text, uint64_t *ms) {
  size_t at = 0;
  unsigned year, month, day, h = 0, m = 0, s = 0, milli = 0;
  if (!digits(text, &at, 4, &year) || !symbol(text, &at, '-') || !digits(text, &at, 2, &month) ||
      !symbol(text, &at, '-') || !digits(text, &at, 2, &day))
    return false;
  int64_t zone = 0;
  if (at < text.len) {
    if (!symbol(text, &at, 'T') && !symbol(text, &at, 't') && !symbol(text, &at, ' ')) return false;
    if (!digits(text, &at, 2, &h) || !symbol(text, &at, ':') || !digits(text, &at, 2, &m) ||
        !symbol(text, &at, ':') || !digits(text, &at, 2, &s))
      return false;
    if (symbol(text, &at, '.')) {
      unsigned digit, scale = 100;
      if (at >= text.len || text.at[at] < '0' || text.at[at] > '9') return false;
      while (digits(text, &at, 1, &digit)) {
        milli += digit * scale;
        scale /= 10;
      }
    }
    if (!zone_parse(text, &at, &zone)) return false;
  }
  if (at != text.len || month < 1 || month > 12 || day < 1 || day > days_in(year, month) ||
      h > 23 || m > 59 || s > 60)
    return false;
  int64_t total = ((days_of(year, month, day) * 24 + h) * 60 + m + zone) * 60 + s;
  if (total < 0) return false;
  *ms = (uint64_t)total * 1000 + milli;
  return true;
}

void cli_put_fork(cli_obj *o, const weft_fork *fork) {
  weft_value *ids = weft__arena_zero(o->arena, fork->id_count + 1, sizeof *ids);
  for (size_t i = 0; ids && i < fork->id_count; i++) {
    cli_obj one = cli_obj_begin(o->arena);
    cli_obj_hex(&one, "id", fork->ids[i].b, sizeof fork->ids[i].b);
    weft_value made = cli_obj_end(&one);
    ids[i] = made.kind == WEFT_OBJECT ? made.as.object.at[0].value : made;
  }
  cli_obj_hex(o, "log", fork->log.b, sizeof fork->log.b);
  cli_obj_hex(o, "device", fork->device.b, sizeof fork->device.b);
  cli_obj_int(o, "seq", (int64_t)fork->seq);
  cli_obj_put(o, "ids", cli_array(ids, ids ? fork->id_count : 0));
}

/* The JSON door: text to values and back. */
#ifndef WEFT_JSON_H
#define WEFT_JSON_H

#include "crdt/value.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where and why JSON text was refused. */
typedef struct weft_json_error {
  size_t line;   /* from 1 */
  size_t column; /* from 1, in bytes; 0 when not known */
  char text[96]; /* one short English clause, NUL-terminated */
} weft_json_error;

/* Parses one JSON text (RFC 8259) into `arena`; the result and its strings live there.  Refused:
 * not UTF-8, a raw or escaped NUL in a key, a raw NUL anywhere, duplicate keys, nesting beyond
 * WEFT_JSON_DEPTH_MAX, integers beyond int64, numbers that overflow a double, keys and strings over
 * their limits, anything but white space behind the value.  `why` may be NULL.
 * WEFT_EMALFORMED, WEFT_ELIMIT, WEFT_ENOMEM. */
WEFT_API weft_err weft_json_parse(weft_arena *arena, weft_bytes text, weft_value *out,
                                  weft_json_error *why) WEFT_MUST_USE;

/* Appends compact JSON: keys ascending, shortest round-trip doubles with a point or an exponent,
 * UTF-8 unescaped but for what JSON demands; bytes as {"$bytes":"base64"}.  Errors stay in `b`. */
WEFT_API void weft_json_write(weft_buf *b, const weft_value *v);

/* As weft_json_write, over several lines with `indent` spaces a level (1..8), for people. */
WEFT_API void weft_json_write_pretty(weft_buf *b, const weft_value *v, unsigned indent);

/* Appends `text` as a JSON string with quotes. */
WEFT_API void weft_json_write_string(weft_buf *b, weft_bytes text);

#ifdef __cplusplus
}
#endif
#endif

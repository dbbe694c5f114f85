/* The JSON door: text to values and back. */
#ifndef WEFT_JSON_H
#define WEFT_JSON_H

#include "value.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where and why JSON text was refused.  All zero when it was not. */
typedef struct weft_json_error {
  size_t line;   /* from 1; 0 when not known */
  size_t column; /* from 1, in bytes; 0 when not known */
  char text[96]; /* one short English clause, printable ASCII, NUL-terminated */
} weft_json_error;

/* Parses one JSON text (RFC 8259) into `arena`; the result and its strings live there.  `text` is
 * borrowed.  Numbers with a point or an exponent become doubles, the others ints (-0 becomes 0).
 * Refused as WEFT_EMALFORMED: not UTF-8 (also as a byte order mark or an unpaired surrogate
 * escape), a raw or escaped NUL in a key, a raw NUL anywhere, duplicate keys, anything but white
 * space behind the value.  As WEFT_ELIMIT: nesting beyond WEFT_JSON_DEPTH_MAX, text beyond
 * WEFT_JSON_LEN_MAX, keys and strings over their limits, integers beyond int64, numbers that
 * overflow a double.  WEFT_ENOMEM. `why` may be NULL; `*out` is set only on WEFT_OK.  Any thread.
 */
WEFT_API weft_err weft_json_parse(weft_arena *arena, weft_bytes text, weft_value *out,
                                  weft_json_error *why) WEFT_MUST_USE;

/* Appends compact JSON: members in their order, shortest round-trip doubles with a point or an
 * exponent, UTF-8 unescaped but for what JSON demands; bytes as {"$bytes":"base64"}.  Errors stay
 * in `b`: WEFT_EBADVALUE (no finite number, not UTF-8), WEFT_ELIMIT (too deep or `b` is full),
 * WEFT_ENOMEM.  Any thread. */
WEFT_API void weft_json_write(weft_buf *b, const weft_value *v);

/* As weft_json_write, over several lines with `indent` spaces a level (1..8, else WEFT_EMISUSE),
 * for people; no line end behind the last line. */
WEFT_API void weft_json_write_pretty(weft_buf *b, const weft_value *v, unsigned indent);

/* Appends `text` as a JSON string with quotes; WEFT_EBADVALUE when it is not UTF-8. */
WEFT_API void weft_json_write_string(weft_buf *b, weft_bytes text);

#ifdef __cplusplus
}
#endif
#endif

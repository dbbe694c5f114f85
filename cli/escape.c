/* The one place that keeps a person's text from driving a terminal, or from looking like another.
 *
 * What comes from a peer may hold any character: those that move the cursor, those that turn the
 * direction of what follows, and those that nobody sees.  JSON escapes stay what they were to
 * whoever reads them as JSON. */
#include "cli/escape.h"

#include <stdio.h>

#include "crdt/rune.h"

size_t cli_rune_escape(uint32_t rune, uint32_t before, char out[13]) {
  if (!weft__rune_hidden(rune, before)) return 0;
  unsigned r = (unsigned)rune;
  int len = r < 0x10000 ? snprintf(out, 13, "\\u%04x", r)
                        : snprintf(out, 13, "\\u%04x\\u%04x", 0xd800 + ((r - 0x10000) >> 10),
                                   0xdc00 + (r & 0x3ff));
  return (size_t)len;
}

static bool is_control(uint32_t rune) { return rune < 0x20 || (rune >= 0x7f && rune < 0xa0); }

void cli_text_escape(weft_buf *out, weft_bytes text, cli_escape how) {
  uint32_t rune, before = 0;
  for (size_t at = 0, len; at < text.len; at += len, before = rune) {
    char hidden[13];
    len = weft__rune_read(text, at, &rune);
    size_t escaped = how == CLI_ESCAPE_CELL ? 0 : cli_rune_escape(rune, before, hidden);
    bool none = len == 1 && text.at[at] >= 0x80 && how != CLI_ESCAPE_CELL;
    if (none || (is_control(rune) && !(rune == '\n' && how == CLI_ESCAPE_LINES)))
      weft__buf_put(out, weft_bytes_str("?"));
    else if (escaped > 0)
      weft__buf_put(out, weft_bytes_of((const uint8_t *)hidden, escaped));
    else
      weft__buf_put(out, weft_bytes_of(text.at + at, len));
  }
}

#include "cli/qr.h"

#include <errno.h>
#include <qrencode.h>

enum { quiet_zone = 2 };

/* One module of the code; outside it the zone is light. */
static bool dark(const QRcode *code, int x, int y) {
  if (x < 0 || y < 0 || x >= code->width || y >= code->width) return false;
  return code->data[y * code->width + x] & 1;
}

/* Two rows a line: light modules are drawn, so that it reads on a dark terminal. */
static const char *cell(bool upper, bool lower) {
  if (upper && lower) return " ";
  if (upper) return "\u2584";
  if (lower) return "\u2580";
  return "\u2588";
}

weft_err cli_qr(weft_buf *out, const char *text) {
  QRcode *code = QRcode_encodeString(text, 0, QR_ECLEVEL_M, QR_MODE_8, 1);
  if (!code) return errno == ENOMEM ? WEFT_ENOMEM : WEFT_ELIMIT;
  for (int y = -quiet_zone; y < code->width + quiet_zone; y += 2) {
    for (int x = -quiet_zone; x < code->width + quiet_zone; x++)
      weft__buf_put(out, weft_bytes_str(cell(dark(code, x, y), dark(code, x, y + 1))));
    weft__buf_u8(out, '\n');
  }
  QRcode_free(code);
  return weft__buf_err(out);
}

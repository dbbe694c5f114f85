/* QR codes for terminals. */
#ifndef WEFT_CLI_QR_H
#define WEFT_CLI_QR_H

#include "crdt/buf.h"

/* Appends `text` as a QR code in half-block characters, with a quiet zone; an upper-case text of
 * digits and letters makes a smaller one.  WEFT_ELIMIT: too long for a code; WEFT_ENOMEM. */
weft_err cli_qr(weft_buf *out, const char *text) WEFT_MUST_USE;

#endif

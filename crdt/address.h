/* Network addresses as people write them: `host:port`.
 *
 * The host is a name, an IPv4 address in four decimal parts, or an IPv6 address in brackets; the
 * port 1..65535.  Nothing is resolved here, only the form is judged. */
#ifndef WEFT_ADDRESS_H
#define WEFT_ADDRESS_H

#include "crdt/err.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum weft_host_kind { WEFT_HOST_NAME, WEFT_HOST_IPV4, WEFT_HOST_IPV6 } weft_host_kind;

typedef struct weft_address {
  weft_host_kind kind;
  weft_bytes host; /* view into the text, an IPv6 address without its brackets */
  uint16_t port;
} weft_address;

/* Takes `text` apart.  A name has letters, digits, '-', '_' and '.', in labels of 1..63 bytes, none
 * beginning or ending in '-', and its last label is not all digits (so 10.0.0.300 is no name).
 * WEFT_EMALFORMED; WEFT_ELIMIT: longer than WEFT_ADDRESS_LEN_MAX.  Any thread. */
weft_err weft__address_parse(weft_address *out, weft_bytes text) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif

/* The form of host:port.
 *
 * The port is what follows the last colon; a bare IPv6 address has no brackets and is refused,
 * since nobody could tell its last group from a port. */
#include "crdt/address.h"

#include "crdt/limits.h"

_Static_assert(WEFT_ADDRESS_LEN_MAX <= 63 + 2, "no label of a name can pass 63 bytes");

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

static bool is_hex(uint8_t c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_letter(uint8_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* A decimal number without leading zeros, up to `max`. */
static bool parse_number(weft_bytes text, uint32_t max, uint32_t *out) {
  uint32_t value = 0;
  if (text.len == 0 || text.len > 5 || (text.len > 1 && text.at[0] == '0')) return false;
  for (size_t i = 0; i < text.len; i++) {
    if (!is_digit(text.at[i])) return false;
    value = value * 10 + (uint32_t)(text.at[i] - '0');
  }
  *out = value;
  return value <= max;
}

/* The part of `text` from `*at` to the next `stop` or the end; moves `*at` behind the stop. */
static weft_bytes next_part(weft_bytes text, size_t *at, uint8_t stop) {
  size_t start = *at, end = *at;
  while (end < text.len && text.at[end] != stop) end++;
  *at = end + 1;
  return weft_bytes_of(text.at + start, end - start);
}

static bool ipv4_ok(weft_bytes host) {
  size_t at = 0;
  uint32_t value;
  for (int i = 0; i < 4; i++) {
    if (at > host.len || !parse_number(next_part(host, &at, '.'), 255, &value)) return false;
  }
  return at == host.len + 1;
}

/* Groups of up to four hex digits, eight of them, or fewer around one "::"; the last two may be
 * written as an IPv4 address. */
static bool ipv6_ok(weft_bytes host) {
  size_t at = 0, groups = 0;
  bool gap = false;
  if (host.len < 2) return false;
  if (host.at[0] == ':') {
    if (host.at[1] != ':') return false;
    gap = true;
    at = 2;
  }
  while (at < host.len) {
    weft_bytes group = next_part(host, &at, ':');
    if (at > host.len && ipv4_ok(group)) {
      groups += 2;
      break;
    }
    if (group.len == 0 && gap) return false;
    if (group.len == 0) {
      gap = true;
      continue;
    }
    if (group.len > 4) return false;
    for (size_t i = 0; i < group.len; i++) {
      if (!is_hex(group.at[i])) return false;
    }
    groups++;
    if (at == host.len) return false; /* one colon at the end */
  }
  return gap ? groups < 8 : groups == 8;
}

static bool name_ok(weft_bytes host) {
  size_t at = 0;
  bool digits = true;
  while (at <= host.len) {
    weft_bytes label = next_part(host, &at, '.');
    if (label.len == 0) return false;
    if (label.at[0] == '-' || label.at[label.len - 1] == '-') return false;
    digits = true;
    for (size_t i = 0; i < label.len; i++) {
      uint8_t c = label.at[i];
      if (!is_digit(c) && !is_letter(c) && c != '-' && c != '_') return false;
      digits = digits && is_digit(c);
    }
  }
  return !digits;
}

weft_err weft__address_parse(weft_address *out, weft_bytes text) {
  if (text.len > WEFT_ADDRESS_LEN_MAX) return WEFT_ELIMIT;
  size_t colon = text.len;
  while (colon > 0 && text.at[colon - 1] != ':') colon--;
  if (colon < 2) return WEFT_EMALFORMED;
  uint32_t port;
  weft_bytes digits = weft_bytes_of(text.at + colon, text.len - colon);
  if (!parse_number(digits, 65535, &port) || port == 0) return WEFT_EMALFORMED;
  weft_bytes host = weft_bytes_of(text.at, colon - 1);
  bool bracketed = host.at[0] == '[';
  if (bracketed) {
    if (host.at[host.len - 1] != ']') return WEFT_EMALFORMED;
    host = weft_bytes_of(host.at + 1, host.len - 2);
    if (!ipv6_ok(host)) return WEFT_EMALFORMED;
    out->kind = WEFT_HOST_IPV6;
  } else if (ipv4_ok(host)) {
    out->kind = WEFT_HOST_IPV4;
  } else if (name_ok(host)) {
    out->kind = WEFT_HOST_NAME;
  } else {
    return WEFT_EMALFORMED;
  }
  out->host = host;
  out->port = (uint16_t)port;
  return WEFT_OK;
}

#include "net/uv_address.h"

#include <stdio.h>
#include <string.h>

#include "crdt/address.h"

weft_err weft__host_port_parse(weft_bytes text, weft_host_port *out) {
  /* Port 0, "any", is for listening only; crdt/address.h knows addresses that can be dialled. */
  char copy[WEFT_ADDRESS_LEN_MAX + 1];
  if (text.len == 0 || text.len > WEFT_ADDRESS_LEN_MAX) return WEFT_EBADVALUE;
  memcpy(copy, text.at, text.len);
  bool any = text.len > 2 && copy[text.len - 2] == ':' && copy[text.len - 1] == '0';
  if (any) copy[text.len - 1] = '1';
  weft_address address;
  if (weft__address_parse(&address, weft_bytes_of(copy, text.len)) != WEFT_OK)
    return WEFT_EBADVALUE;
  memcpy(out->host, address.host.at, address.host.len);
  out->host[address.host.len] = 0;
  snprintf(out->port, sizeof out->port, "%u", any ? 0u : (unsigned)address.port);
  return WEFT_OK;
}

uint16_t weft__address_port(const struct sockaddr *address) {
  return address->sa_family == AF_INET6
             ? ntohs(((const struct sockaddr_in6 *)(const void *)address)->sin6_port)
             : ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
}

void weft__address_set_port(struct sockaddr *address, uint16_t port) {
  if (address->sa_family == AF_INET6)
    ((struct sockaddr_in6 *)(void *)address)->sin6_port = htons(port);
  else
    ((struct sockaddr_in *)(void *)address)->sin_port = htons(port);
}

void weft__address_text(const struct sockaddr *address, char out[WEFT_ADDRESS_TEXT_MAX]) {
  char host[INET6_ADDRSTRLEN] = "?";
  bool six = address->sa_family == AF_INET6;
  if (six)
    uv_ip6_name((const struct sockaddr_in6 *)(const void *)address, host, sizeof host);
  else
    uv_ip4_name((const struct sockaddr_in *)(const void *)address, host, sizeof host);
  snprintf(out, WEFT_ADDRESS_TEXT_MAX, six ? "[%s]:%u" : "%s:%u", host,
           (unsigned)weft__address_port(address));
}

bool weft__address_is_loopback(const struct sockaddr *address) {
  if (address->sa_family == AF_INET6)
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
  uint32_t ip = ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr);
  return ip >> 24 == 127;
}

bool weft__address_is_wildcard(const struct sockaddr *address) {
  if (address->sa_family == AF_INET6)
    return IN6_IS_ADDR_UNSPECIFIED(
        &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
  return ((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr == 0;
}

/* One interface address with the bound port, unless it is of another family or link-local. */
static bool interface_text(const uv_interface_address_t *face, const struct sockaddr *bound,
                           char out[WEFT_ADDRESS_TEXT_MAX]) {
  struct sockaddr_storage copy;
  memset(&copy, 0, sizeof copy);
  if (face->address.address4.sin_family == AF_INET) {
    memcpy(&copy, &face->address.address4, sizeof face->address.address4);
  } else {
    if (bound->sa_family != AF_INET6) return false;
    if (IN6_IS_ADDR_LINKLOCAL(&face->address.address6.sin6_addr)) return false;
    memcpy(&copy, &face->address.address6, sizeof face->address.address6);
  }
  weft__address_set_port((struct sockaddr *)&copy, weft__address_port(bound));
  weft__address_text((const struct sockaddr *)&copy, out);
  return true;
}

size_t weft__address_expand(const struct sockaddr *bound, char out[][WEFT_ADDRESS_TEXT_MAX],
                            size_t cap) {
  if (cap == 0) return 0;
  if (!weft__address_is_wildcard(bound)) {
    weft__address_text(bound, out[0]);
    return 1;
  }
  uv_interface_address_t *faces;
  int face_count;
  size_t count = 0;
  if (uv_interface_addresses(&faces, &face_count) != 0) return 0;
  for (int internal = 0; internal < 2 && count == 0; internal++)
    for (int i = 0; i < face_count && count < cap; i++)
      if ((faces[i].is_internal != 0) == internal && interface_text(&faces[i], bound, out[count]))
        count++;
  uv_free_interface_addresses(faces, face_count);
  return count;
}

#include "net/uv_common.h"

#include <uv.h>

weft_err weft__err_from_uv(int code) {
  if (code >= 0) return WEFT_OK;
  switch (code) {
  case UV_ENOMEM: return WEFT_ENOMEM;
  case UV_EADDRINUSE: return WEFT_EEXIST;
  case UV_ETIMEDOUT: return WEFT_ETIMEOUT;
  case UV_EOF: return WEFT_EDONE;
  case UV_ECONNREFUSED:
  case UV_EHOSTUNREACH:
  case UV_ENETUNREACH:
  case UV_ENETDOWN:
  case UV_EADDRNOTAVAIL: return WEFT_EUNREACHABLE;
  case UV_ECONNRESET:
  case UV_ECONNABORTED:
  case UV_EPIPE: return WEFT_ECLOSED;
  case UV_EAGAIN: return WEFT_EAGAIN;
  case UV_EINVAL: return WEFT_EBADVALUE;
  default: return WEFT_EIO;
  }
}

weft_ms weft__uv_wall(void) {
  uv_timeval64_t t;
  return uv_gettimeofday(&t) == 0 ? (weft_ms)t.tv_sec * 1000 + (weft_ms)t.tv_usec / 1000 : 0;
}

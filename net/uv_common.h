/* What the files of the libuv edge share. */
#ifndef WEFT_UV_COMMON_H
#define WEFT_UV_COMMON_H

#include "crdt/err.h"

/* Foreign codes stop here. */
weft_err weft__err_from_uv(int code);

/* Milliseconds since 1970, now. */
weft_ms weft__uv_wall(void);

#endif

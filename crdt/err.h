/* The one table of error codes.  Tens are classes: -1.. the caller or the machine, -10.. bytes from
 * outside (the peer's or the file's fault), -20.. storage, -30.. the data model refused.  Numbers
 * are never reused. */
#ifndef WEFT_ERR_H
#define WEFT_ERR_H

#include "base.h"

#define WEFT_ERRORS(X)                                                                             \
  X(WEFT_OK, 0, "ok")                                                                              \
  X(WEFT_EAGAIN, -1, "queue full: drain it, then retry")                                           \
  X(WEFT_ENOMEM, -2, "out of memory")                                                              \
  X(WEFT_EMISUSE, -3, "call not allowed in this state")                                            \
  X(WEFT_ELIMIT, -4, "over a limit of the format")                                                 \
  X(WEFT_ENOTFOUND, -5, "not found")                                                               \
  X(WEFT_EDONE, -6, "nothing further")                                                             \
  X(WEFT_EUNREACHABLE, -7, "nobody answers there")                                                 \
  X(WEFT_ECLOSED, -8, "the connection was closed")                                                 \
  X(WEFT_EMALFORMED, -10, "bytes do not parse")                                                    \
  X(WEFT_EVERSION, -11, "made by a newer version")                                                 \
  X(WEFT_EBADSIG, -12, "signature is not valid")                                                   \
  X(WEFT_EBADCHAIN, -13, "does not follow what is held of its log")                                \
  X(WEFT_EGAP, -14, "something earlier is missing")                                                \
  X(WEFT_EFOREIGN, -15, "belongs to another space")                                                \
  X(WEFT_EUNKNOWN, -16, "author is not a known member")                                            \
  X(WEFT_EAUTH, -17, "authentication failed")                                                      \
  X(WEFT_EPROTO, -18, "peer broke the protocol")                                                   \
  X(WEFT_ETIMEOUT, -19, "no answer in time")                                                       \
  X(WEFT_EIO, -20, "storage failed")                                                               \
  X(WEFT_EFULL, -21, "storage is full")                                                            \
  X(WEFT_ECORRUPT, -22, "storage is damaged")                                                      \
  X(WEFT_ELOCKED, -23, "storage is in use by another process")                                     \
  X(WEFT_EREADONLY, -24, "storage is read-only")                                                   \
  X(WEFT_EEXIST, -25, "already there")                                                             \
  X(WEFT_ENOSTORE, -26, "no store there")                                                          \
  X(WEFT_ESTALE, -30, "changed here meanwhile")                                                    \
  X(WEFT_EBADPATH, -31, "path does not fit the document")                                          \
  X(WEFT_EBADNAME, -32, "not a document name")                                                     \
  X(WEFT_EBADVALUE, -33, "not a value that can be stored")                                         \
  X(WEFT_ECONFLICT, -34, "stands in conflict: resolve it first")                                   \
  X(WEFT_EDENIED, -35, "not allowed for this member")                                              \
  X(WEFT_EFROZEN, -36, "needs an upgrade: a record of an unknown critical kind is held")           \
  X(WEFT_EBASE, -37, "the base can no longer be reconstructed")

typedef enum weft_err {
#define WEFT_ERR_ENUM(name, number, text) name = number,
  WEFT_ERRORS(WEFT_ERR_ENUM)
#undef WEFT_ERR_ENUM
} weft_err;

/* What an object knows about its last failure beyond the code.  Fixed size: telling allocates
 * nothing.  `text` is NUL-terminated English, "" when there is nothing to add. */
typedef struct weft_diag {
  weft_err err;
  int sys;         /* errno or the dependency's own number, 0 when there is none */
  uint64_t offset; /* where in a file or message, when that is known */
  char text[96];
} weft_diag;

#ifdef __cplusplus
extern "C" {
#endif

/* Gives the static English text of `err`; for a number that is no weft_err "unknown error".
 * Never NULL, never freed.  Any thread. */
WEFT_API const char *weft_err_str(int err);

/* Gives the static name of `err`, such as "WEFT_EIO", else "WEFT_?".  Any thread. */
WEFT_API const char *weft_err_name(int err);

#ifdef __cplusplus
}
#endif

/* Passes an error up: `err` must be a local of type weft_err. */
#define WEFT_TRY(expr)                                                                             \
  do {                                                                                             \
    weft_err try_err_ = (expr);                                                                    \
    if (try_err_ != WEFT_OK) return try_err_;                                                      \
  } while (0)

#endif

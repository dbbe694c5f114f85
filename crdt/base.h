/* Words every layer speaks: visibility, byte views, milliseconds.
 *
 * Nothing here allocates or fails. */
#ifndef WEFT_BASE_H
#define WEFT_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(WEFT_BUILDING)
#define WEFT_API __attribute__((visibility("default")))
#else
#define WEFT_API
#endif
#define WEFT_MUST_USE __attribute__((warn_unused_result))

/* A condition that the compiler checks, in C and in C++. */
#ifdef __cplusplus
#define WEFT_STATIC_ASSERT(condition, text) static_assert(condition, text)
#else
#define WEFT_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A borrowed run of bytes. `at` may be NULL only when `len` is 0.  Never NUL-terminated. */
typedef struct weft_bytes {
  const uint8_t *at;
  size_t len;
} weft_bytes;

/* 32 bytes that name something: a log, a space, a change, a record, a device key. */
typedef struct weft_id {
  uint8_t b[32];
} weft_id;

/* Milliseconds.  Monotonic where a core takes `now`; since 1970 UTC where a clock is meant. */
typedef uint64_t weft_ms;
#define WEFT_NEVER UINT64_MAX

/* Makes a view of `len` bytes at `at`. */
static inline weft_bytes weft_bytes_of(const void *at, size_t len) {
  weft_bytes b = {(const uint8_t *)at, len};
  return b;
}

/* Orders byte strings as unsigned bytes, a prefix first: <0, 0, >0.  Any thread. */
WEFT_API int weft_bytes_cmp(weft_bytes a, weft_bytes b);

/* Makes a view of the text of a NUL-terminated string, without the NUL. Any thread. */
WEFT_API weft_bytes weft_bytes_str(const char *text);

/* Orders ids as unsigned bytes: <0, 0, >0.  Any thread. */
WEFT_API int weft_id_cmp(const weft_id *a, const weft_id *b);

#ifdef __cplusplus
}
#endif
#endif

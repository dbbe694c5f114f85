/* Asserts that stay on in release builds: they are for our own bugs, never for bytes from a peer,
 * the disk or a person.  One condition each. */
#ifndef WEFT_ASSERT_H
#define WEFT_ASSERT_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void (*weft_assert_handler)(const char *file, int line, const char *condition);

/* Sets what is called before the process aborts when an assert fails; NULL restores the default,
 * which does nothing more.  The only mutable global of the library.  Call it before any thread that
 * uses weft is started. */
WEFT_API void weft_set_assert_handler(weft_assert_handler handler);

/* Reports a failed assert and aborts.  Does not return.  Any thread. */
void weft__assert_failed(const char *file, int line, const char *condition)
    __attribute__((noreturn, cold));

#ifdef __cplusplus
}
#endif

#define WEFT_ASSERT(condition)                                                                     \
  do {                                                                                             \
    if (__builtin_expect(!(condition), 0)) weft__assert_failed(__FILE__, __LINE__, #condition);    \
  } while (0)

/* For checks that cost more than constant time: debug builds only. */
#if defined(NDEBUG)
#define WEFT_SLOW_ASSERT(condition) ((void)sizeof(condition))
#else
#define WEFT_SLOW_ASSERT(condition) WEFT_ASSERT(condition)
#endif

#endif

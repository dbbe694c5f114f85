/* Real cryptography that verifies each signature once in a process: a function of its input gives
 * the same answer again, and many simulated nodes ask for the same. */
#ifndef WEFT_TESTS_ONCE_CRYPTO_H
#define WEFT_TESTS_ONCE_CRYPTO_H

#include "crdt/crypto.h"

/* libsodium's table, but for `verify`, which remembers what it answered, true or false, by a hash
 * of signature, key and message.  Static; for one thread. */
const weft_crypto *test_once_crypto(void);

#endif

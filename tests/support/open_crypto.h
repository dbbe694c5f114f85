/* A filling of the crypto door that opens everything: tags, signatures and comparisons always hold.
 *
 * For fuzzing what lies behind authentication, where random bytes would never come. */
#ifndef WEFT_TESTS_OPEN_CRYPTO_H
#define WEFT_TESTS_OPEN_CRYPTO_H

#include "crdt/crypto.h"

/* Gives the table.  Sealing copies and puts a tag of zeros behind. */
const weft_crypto *test_open_crypto(void);

#endif

/* Cheap cryptography for simulation: same sizes, same failures, no secrets.
 *
 * A signature is a keyed hash under a key that everybody can derive, a shared secret a hash of two
 * public keys, and sealing leaves the text readable and adds a keyed hash.  What is wrong is found
 * wrong, as with the real table; whoever wants to forge can. */
#ifndef WEFT_TESTS_STAND_IN_CRYPTO_H
#define WEFT_TESTS_STAND_IN_CRYPTO_H

#include "crdt/crypto.h"

/* Fills the table.  Hashes are quick and not meant to withstand anybody. */
void test_stand_in_crypto(weft_crypto *out);

#endif

/* Keys of the tables: big-endian integers and byte strings in a fixed buffer, so that byte order is
 * number order.
 *
 * Happy path: `weft_dbkey k; weft_txn_get(t, WEFT_TABLE_TAIL, weft__dbkey_u32_u64(&k, log, seq),
 * &v)`. A key that grows beyond WEFT_KEY_LEN_MAX stays one byte longer than that, which every call
 * that takes a key answers with WEFT_ELIMIT.  Keys are read back with weft_rd (crdt/buf.h), whose
 * integers are big-endian too.  Nothing here allocates; any thread. */
#ifndef WEFT_STORE_KEYS_H
#define WEFT_STORE_KEYS_H

#include "crdt/base.h"
#include "crdt/limits.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_dbkey {
  uint8_t b[WEFT_KEY_LEN_MAX + 1];
  size_t len; /* WEFT_KEY_LEN_MAX + 1: too long for a key */
} weft_dbkey;

/* Empties `k`. */
void weft__dbkey_reset(weft_dbkey *k);
/* Each appends one item. */
void weft__dbkey_add_u32(weft_dbkey *k, uint32_t v);
void weft__dbkey_add_u64(weft_dbkey *k, uint64_t v);
void weft__dbkey_add(weft_dbkey *k, weft_bytes bytes);
/* A view of the key, good until `k` changes. */
weft_bytes weft__dbkey_view(const weft_dbkey *k);

/* Each makes `k` anew and gives its view: the shapes the tables use. */
weft_bytes weft__dbkey_u32(weft_dbkey *k, uint32_t a);
weft_bytes weft__dbkey_u64(weft_dbkey *k, uint64_t a);
weft_bytes weft__dbkey_u32_u32(weft_dbkey *k, uint32_t a, uint32_t b);
weft_bytes weft__dbkey_u32_u64(weft_dbkey *k, uint32_t a, uint64_t b);
weft_bytes weft__dbkey_u32_bytes(weft_dbkey *k, uint32_t a, weft_bytes b);

/* Makes in `k` the smallest key that follows every key starting with `prefix`, and gives its view:
 * the `to` of a weft_key_range.  Empty, which means "to the last", when there is none.  `prefix`
 * may be a view of `k`. */
weft_bytes weft__dbkey_after(weft_dbkey *k, weft_bytes prefix);

/* True when `key` starts with `prefix`. */
bool weft__key_has_prefix(weft_bytes key, weft_bytes prefix);

#ifdef __cplusplus
}
#endif
#endif

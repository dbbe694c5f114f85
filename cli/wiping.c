/* An allocator for secrets.
 *
 * Each piece is preceded by its length, so that all of it can be wiped.  A piece never grows in
 * place: realloc may move it, and would leave the old bytes in the heap. */
#include "cli/wiping.h"

#include <string.h>

#include "crdt/crypto.h"

enum { head_len = 16 }; /* keeps the piece aligned for any type */
_Static_assert(head_len >= sizeof(size_t), "a length must fit");

static void *wiping_alloc(void *ctx, size_t len) {
  const weft_alloc *under = ctx;
  size_t all;
  uint8_t *piece = weft__add_ok(len, head_len, &all) ? under->alloc(under->ctx, all) : NULL;
  if (!piece) return NULL;
  memcpy(piece, &len, sizeof len);
  return piece + head_len;
}

static size_t length_of(const void *at) {
  size_t len;
  memcpy(&len, (const uint8_t *)at - head_len, sizeof len);
  return len;
}

static void wiping_free(void *ctx, void *at) {
  const weft_alloc *under = ctx;
  if (!at) return;
  const weft_crypto *crypto = weft_crypto_sodium();
  if (crypto) crypto->wipe(at, length_of(at)); /* without it no secret was made or read */
  under->free(under->ctx, (uint8_t *)at - head_len);
}

static void *wiping_grow(void *ctx, void *at, size_t len) {
  void *wide = wiping_alloc(ctx, len);
  if (!wide || !at) return wide;
  size_t old = length_of(at);
  memcpy(wide, at, old < len ? old : len);
  wiping_free(ctx, at);
  return wide;
}

weft_alloc cli_wiping_alloc(const weft_alloc *under) {
  /* The context of an allocator is not const, since others count in it. */
  weft_alloc mem = {(void *)(uintptr_t)under, wiping_alloc, wiping_grow, wiping_free};
  return mem;
}

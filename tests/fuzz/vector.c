/* Vectors from anywhere: one encoding each, and any delta either applies or changes nothing. */
#include <string.h>

#include "crdt/limits.h"
#include "crdt/vector.h"
#include "tests/fuzz/fuzz.h"

static void encode_again(const weft_vector *v, weft_bytes in) {
  weft_alloc mem = weft_alloc_libc();
  weft_buf buf;
  weft__buf_init(&buf, &mem, in.len);
  weft__vector_encode(&buf, v);
  FUZZ_CHECK(weft__buf_err(&buf) == WEFT_OK);
  FUZZ_CHECK(weft_bytes_cmp(weft__buf_view(&buf), in) == 0);
  weft__buf_free(&buf);
}

/* The input as a delta: log, seq and id of one, two and one byte. */
static void delta_run(weft_vector *v, weft_bytes in) {
  enum { delta_max = 64 };
  weft_head delta[delta_max];
  size_t count = 0, before = v->count;
  for (; count < delta_max && in.len >= 4 * (count + 1); count++) {
    const uint8_t *at = in.at + 4 * count;
    memset(&delta[count], 0, sizeof delta[count]);
    delta[count].log.b[0] = at[0];
    delta[count].seq = (uint64_t)at[1] << 8 | at[2];
    delta[count].id.b[0] = at[3];
  }
  weft_err err = weft__vector_apply(v, delta, count);
  FUZZ_CHECK(err == WEFT_OK || (err == WEFT_EMALFORMED && v->count == before));
  for (size_t i = 1; i < v->count; i++) {
    FUZZ_CHECK(weft__head_cmp(&v->heads[i - 1], &v->heads[i]) < 0);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
  weft_alloc mem = weft_alloc_libc();
  weft_bytes in = weft_bytes_of(at, len);
  weft_vector v;
  weft__vector_init(&v, &mem);
  weft_err err = weft__vector_decode(&v, in);
  FUZZ_CHECK(err == WEFT_OK || err == WEFT_EMALFORMED || err == WEFT_ELIMIT);
  FUZZ_CHECK(v.count * 65 <= len);
  if (err == WEFT_OK) encode_again(&v, in);
  delta_run(&v, in);
  uint8_t root[WEFT_ROOT_LEN];
  weft_vector_node node;
  weft__vector_root(&v, weft_crypto_sodium(), root);
  weft_bytes prefix = weft_bytes_of(at, len < 64 ? len : 64);
  if (weft__vector_node(&v, weft_crypto_sodium(), prefix, &node) == WEFT_OK) {
    FUZZ_CHECK(node.first + node.count <= v.count);
  }
  weft__vector_free(&v);
  return 0;
}

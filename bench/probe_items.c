/* The W1 data as keys and values for the probes. */
#include <stdlib.h>
#include <string.h>

#include "bench/probe.h"

/* Encodes one value under its key into the arena. */
static weft_err item_of(weft_arena *arena, weft_buf *scratch, w1_place at, probe_item *out) {
  w1_value v;
  const char *field = w1_field(at.field);
  w1_value_of(&v, at);
  weft__buf_reset(scratch);
  weft__buf_u32(scratch, at.template);
  weft__buf_put(scratch, weft_bytes_str(field));
  size_t key_len = scratch->len;
  weft__scalar_encode(scratch, &v.value);
  WEFT_TRY(weft__buf_err(scratch));
  weft_bytes both;
  WEFT_TRY(weft__arena_copy(arena, weft__buf_view(scratch), &both));
  out->key = weft_bytes_of(both.at, key_len);
  out->value = weft_bytes_of(both.at + key_len, both.len - key_len);
  return WEFT_OK;
}

static weft_err items_take(weft_arena *arena, size_t count, probe_items *out) {
  out->count = count;
  out->at = weft__arena_zero(arena, count, sizeof *out->at);
  return out->at ? WEFT_OK : WEFT_ENOMEM;
}

weft_err probe_items_import(weft_arena *arena, uint32_t templates, probe_items *out) {
  weft_buf scratch;
  WEFT_TRY(items_take(arena, (size_t)templates * W1_FIELDS, out));
  weft__buf_init(&scratch, &arena->mem, SIZE_MAX);
  weft_err err = WEFT_OK;
  for (size_t i = 0; i < out->count && err == WEFT_OK; i++) {
    w1_place at = {(uint32_t)(i / W1_FIELDS), (uint32_t)(i % W1_FIELDS), 0};
    err = item_of(arena, &scratch, at, &out->at[i]);
  }
  weft__buf_free(&scratch);
  return err;
}

weft_err probe_items_updates(weft_arena *arena, w1_updates *updates, size_t count,
                             probe_items *out) {
  weft_buf scratch;
  WEFT_TRY(items_take(arena, count, out));
  weft__buf_init(&scratch, &arena->mem, SIZE_MAX);
  weft_err err = WEFT_OK;
  for (size_t i = 0; i < count && err == WEFT_OK; i++) {
    err = item_of(arena, &scratch, w1_updates_next(updates), &out->at[i]);
  }
  weft__buf_free(&scratch);
  return err;
}

weft_err probe_items_blobs(weft_arena *arena, const weft_bytes *blobs, size_t count,
                           probe_items *out) {
  WEFT_TRY(items_take(arena, count, out));
  for (size_t i = 0; i < count; i++) {
    uint8_t *key = weft__arena_take(arena, 8);
    if (!key) return WEFT_ENOMEM;
    for (unsigned k = 0; k < 8; k++) key[k] = (uint8_t)((uint64_t)i >> (56 - 8 * k));
    out->at[i] = (probe_item){weft_bytes_of(key, 8), blobs[i]};
  }
  return WEFT_OK;
}

/* Equal keys keep their order, since the items of one group lie one after the other in memory. */
static int by_key(const void *a, const void *b) {
  const probe_item *x = a;
  const probe_item *y = b;
  int order = weft_bytes_cmp(x->key, y->key);
  return order ? order : (x->key.at > y->key.at) - (x->key.at < y->key.at);
}

weft_err probe_items_sort(weft_arena *arena, probe_items *items, size_t group) {
  probe_items sorted;
  WEFT_TRY(items_take(arena, items->count, &sorted));
  memcpy(sorted.at, items->at, items->count * sizeof *items->at);
  for (size_t i = 0; i < items->count; i += group) {
    size_t left = items->count - i;
    qsort(sorted.at + i, left < group ? left : group, sizeof *sorted.at, by_key);
  }
  *items = sorted;
  return WEFT_OK;
}

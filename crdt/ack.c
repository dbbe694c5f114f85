/* Acknowledgements and the table of the newest ones.
 *
 * Happy path of taking one: skip it unless its counter is newer, lay its delta over a copy of the
 * vector that is held, compare the root, check the signature, and only then put the copy in place.
 * The signature comes last because it is the dearest check. */
#include "crdt/ack.h"

#include <string.h>

#include "crdt/canary.h"
#include "crdt/limits.h"

static const char label[] = "weft-v1 ack";

enum { label_len = sizeof label - 1, message_len = label_len + 32 + 32 + 8 + WEFT_ROOT_LEN };

static void shorten(weft_head *head) {
  memset(head->id.b + WEFT_ACK_ID_LEN, 0, sizeof head->id.b - WEFT_ACK_ID_LEN);
}

void weft__ack_shorten(weft_vector *v) {
  size_t kept = 0;
  for (size_t i = 0; i < v->count; i++) {
    weft_head head = v->heads[i];
    shorten(&head);
    if (kept > 0 && weft__head_cmp(&v->heads[kept - 1], &head) == 0) continue;
    v->heads[kept++] = head;
  }
  v->count = kept;
}

static weft_bytes message_of(uint8_t out[message_len], const weft_ack *ack, const weft_id *space) {
  memcpy(out, label, label_len);
  uint8_t *to = out + label_len;
  memcpy(to, space->b, 32);
  memcpy(to + 32, ack->device.b, 32);
  for (unsigned i = 0; i < 8; i++) to[64 + i] = (uint8_t)(ack->counter >> (56 - 8 * i));
  memcpy(to + 72, ack->root, WEFT_ROOT_LEN);
  return weft_bytes_of(out, message_len);
}

void weft__ack_sign(weft_ack *out, const weft_crypto *crypto, const weft_identity *identity,
                    const weft_id *space, uint64_t counter, const weft_vector *v) {
  uint8_t message[message_len];
  out->device = identity->device;
  out->counter = counter;
  weft__vector_root(v, crypto, out->root);
  crypto->sign(&out->sig, &identity->sign_seed, &identity->device, message_of(message, out, space));
}

static weft_err sig_verify(const weft_ack *ack, const weft_crypto *crypto, const weft_id *space) {
  uint8_t message[message_len];
  bool ok = crypto->verify(&ack->sig, &ack->device, message_of(message, ack, space));
  return ok || WEFT_CANARY(ACK_BELIEVED) ? WEFT_OK : WEFT_EBADSIG;
}

weft_err weft__ack_verify(const weft_ack *ack, const weft_crypto *crypto, const weft_id *space,
                          const weft_vector *v) {
  uint8_t root[WEFT_ROOT_LEN];
  weft__vector_root(v, crypto, root);
  if (memcmp(root, ack->root, sizeof root) != 0) return WEFT_EGAP;
  return sig_verify(ack, crypto, space);
}

bool weft__ack_contains(const weft_vector *v, const weft_ancestry *by, const weft_head *change) {
  weft_head head = *change;
  shorten(&head);
  return weft__vector_contains(v, by, &head);
}

void weft__ack_table_init(weft_ack_table *t, const weft_alloc *mem) {
  memset(t, 0, sizeof *t);
  t->mem = *mem;
}

void weft__ack_table_free(weft_ack_table *t) {
  for (size_t i = 0; i < t->count; i++) weft__vector_free(&t->entries[i].vector);
  t->mem.free(t->mem.ctx, t->entries);
  t->entries = NULL;
  t->count = t->cap = 0;
}

/* Place of `device`, or where it would stand. */
static size_t entry_place(const weft_ack_table *t, const weft_id *device) {
  size_t low = 0, high = t->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (weft_id_cmp(&t->entries[middle].ack.device, device) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

static bool stands_at(const weft_ack_table *t, size_t place, const weft_id *device) {
  return place < t->count && weft_id_cmp(&t->entries[place].ack.device, device) == 0;
}

const weft_ack_entry *weft__ack_table_find(const weft_ack_table *t, const weft_id *device) {
  size_t place = entry_place(t, device);
  return stands_at(t, place, device) ? &t->entries[place] : NULL;
}

static weft_err table_reserve(weft_ack_table *t) {
  if (t->count < t->cap) return WEFT_OK;
  if (t->count == WEFT_ROSTER_RECORDS_MAX) return WEFT_ELIMIT;
  size_t cap = t->cap ? t->cap * 2 : 8;
  weft_ack_entry *entries = t->mem.grow(t->mem.ctx, t->entries, cap * sizeof *entries);
  if (!entries) return WEFT_ENOMEM;
  t->entries = entries;
  t->cap = cap;
  return WEFT_OK;
}

static bool ids_are_short(const weft_head *delta, size_t count) {
  static const uint8_t zeros[sizeof(weft_id) - WEFT_ACK_ID_LEN];
  for (size_t i = 0; i < count; i++) {
    if (memcmp(delta[i].id.b + WEFT_ACK_ID_LEN, zeros, sizeof zeros) != 0) return false;
  }
  return true;
}

/* Does some device acknowledge the same under the same root?  Then that need not be hashed again:
 * of many who show the same, one is. */
static bool root_is_known(const weft_ack_table *t, const weft_ack *ack, const weft_vector *v) {
  for (size_t i = 0; i < t->count; i++) {
    const weft_ack_entry *entry = &t->entries[i];
    if (memcmp(entry->ack.root, ack->root, sizeof ack->root) == 0)
      return weft__vector_equal(&entry->vector, v);
  }
  return false;
}

/* Puts `next` in its place and takes it. */
static weft_err table_set(weft_ack_table *t, size_t place, const weft_ack *ack, weft_vector *next) {
  bool known = stands_at(t, place, &ack->device);
  if (!known) WEFT_TRY(table_reserve(t));
  weft_ack_entry *entry = &t->entries[place];
  if (known) {
    weft__vector_free(&entry->vector);
  } else {
    memmove(entry + 1, entry, (t->count - place) * sizeof *entry);
    t->count++;
  }
  entry->ack = *ack;
  entry->vector = *next;
  return WEFT_OK;
}

weft_err weft__ack_table_own(weft_ack_table *t, const weft_ack *ack, const weft_vector *v) {
  weft_vector next;
  weft__vector_init(&next, &t->mem);
  weft_err err = weft__vector_copy(&next, v);
  if (err == WEFT_OK) err = table_set(t, entry_place(t, &ack->device), ack, &next);
  if (err != WEFT_OK) weft__vector_free(&next);
  return err;
}

weft_err weft__ack_table_put(weft_ack_table *t, const weft_crypto *crypto, const weft_id *space,
                             const weft_ack *ack, bool whole, const weft_head *delta, size_t count,
                             bool *fresh) {
  if (fresh) *fresh = false;
  size_t place = entry_place(t, &ack->device);
  bool known = stands_at(t, place, &ack->device);
  if (known && t->entries[place].ack.counter >= ack->counter) return WEFT_OK;
  if (!ids_are_short(delta, count)) return WEFT_EMALFORMED;
  weft_vector next;
  weft__vector_init(&next, &t->mem);
  weft_err err = WEFT_OK;
  if (known && !whole) err = weft__vector_copy(&next, &t->entries[place].vector);
  if (err == WEFT_OK) err = weft__vector_apply(&next, delta, count);
  if (err == WEFT_OK) {
    err = root_is_known(t, ack, &next) ? sig_verify(ack, crypto, space)
                                       : weft__ack_verify(ack, crypto, space, &next);
  }
  if (err == WEFT_OK) err = table_set(t, place, ack, &next);
  if (err != WEFT_OK) {
    weft__vector_free(&next);
    return err;
  }
  if (fresh) *fresh = true;
  return WEFT_OK;
}

void weft__ack_table_drop(weft_ack_table *t, const weft_id *device) {
  size_t place = entry_place(t, device);
  if (!stands_at(t, place, device)) return;
  weft__vector_free(&t->entries[place].vector);
  t->count--;
  weft_ack_entry *entry = &t->entries[place];
  memmove(entry, entry + 1, (t->count - place) * sizeof *entry);
}

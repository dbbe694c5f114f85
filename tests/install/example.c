/* A new space on a memory store: write a document, read it back, print it.  C11 and C++17. */
#include <weft/weft.h>

#include <stdio.h>
#include <time.h>

#define TRY(expr)                                                                                  \
  do {                                                                                             \
    weft_err err_ = (expr);                                                                        \
    if (err_ != WEFT_OK) return fprintf(stderr, "%s: %s\n", #expr, weft_err_str(err_)), 1;         \
  } while (0)

static weft_ms wall(void *ctx) { return (void)ctx, (weft_ms)time(NULL) * 1000; }
static void entropy(void *ctx, void *out, size_t len) { (void)ctx, weft_random(out, len); }

int main(void) {
  const weft_crypto *crypto = weft_crypto_sodium();
  weft_alloc mem = weft_alloc_libc();
  weft_arena arena;
  weft_arena_init(&arena, &mem);
  weft_buf text;
  weft_buf_init(&text, &mem, 1 << 20);

  weft_key seed; /* who this device is: to be kept, and kept secret */
  uint8_t nonce[32];
  weft_identity me;
  weft_id space;
  weft_space_names names = {weft_bytes_str("home"), weft_bytes_str("laptop")};
  weft_random(seed.b, sizeof seed.b);
  weft_random(nonce, sizeof nonce);
  weft_identity_derive(&me, crypto, &seed);
  TRY(weft_space_genesis(&text, crypto, &me, &names, nonce, &space));

  weft_replica_options options; /* for a file: weft_lmdb_store_open, and a mirror_dir */
  weft_replica_options_init(&options);
  options.platform.wall_ms = wall;
  options.platform.entropy = entropy;
  options.identity = &me;
  options.space = space;
  weft_memory_options in_memory;
  weft_memory_options_init(&in_memory);
  TRY(weft_memory_store_new(&in_memory, &options.store));
  weft_replica *replica;
  TRY(weft_replica_open(&replica, &options));
  TRY(weft_replica_add_record(replica, weft_buf_view(&text)));

  weft_bytes doc = weft_bytes_str("workouts/leg-day"), root = weft_bytes_str("");
  weft_value value;
  TRY(weft_json_parse(&arena, weft_bytes_str("{\"title\":\"Leg day\",\"minutes\":45}"), &value,
                      NULL));
  weft_edit_options how;
  weft_edit_options_init(&how);
  weft_edit *edit;
  weft_commit commit;
  TRY(weft_edit_begin(&edit, replica, &how));
  TRY(weft_edit_set(edit, doc, root, &value));
  TRY(weft_edit_commit(edit, &commit));
  weft_edit_free(edit);

  weft_buf_reset(&text);
  TRY(weft_replica_get(replica, &arena, doc, root, &value));
  weft_json_write(&text, &value);
  TRY(text.err);
  printf("%.*s\n", (int)text.len, (const char *)weft_buf_view(&text).at);

  weft_replica_free(replica);
  weft_buf_free(&text);
  weft_arena_free(&arena);
  weft_identity_wipe(&me, crypto);
  return 0;
}

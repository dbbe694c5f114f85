#include "tests/support/store_copy.h"

#include <stdio.h>
#include <stdlib.h>

static void must(weft_err err) {
  if (err == WEFT_OK) return;
  fprintf(stderr, "copying a store: %s\n", weft_err_name(err));
  abort();
}

void test_store_copy(weft_store *to, weft_store *from) {
  weft_txn *in, *out;
  must(weft_store_begin(from, WEFT_TXN_READ, &in));
  must(weft_store_begin(to, WEFT_TXN_WRITE, &out));
  for (unsigned table = 0; table < WEFT_TABLE_COUNT; table++) {
    weft_cursor *c;
    weft_entry entry;
    must(weft_cursor_open(in, (weft_table)table, &c));
    weft_err err = weft_cursor_first(c, &entry);
    while (err == WEFT_OK) {
      must(weft_txn_append(out, (weft_table)table, entry.key, entry.value));
      err = weft_cursor_next(c, &entry);
    }
    if (err != WEFT_EDONE) must(err);
    weft_cursor_close(c);
  }
  weft_txn_abort(in);
  must(weft_txn_commit(out));
}

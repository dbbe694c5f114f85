#include "tests/support/data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include <cmocka.h>

const char *test_data_folder(void) {
  const char *folder = getenv("WEFT_TEST_DATA");
  return folder && *folder ? folder : NULL;
}

/* gzread passes plain files through, so one reader serves both. */
weft_bytes test_file_read(const char *path) {
  weft_bytes none = {NULL, 0};
  gzFile file = gzopen(path, "rb");
  if (!file) return none;
  size_t cap = 1 << 16, len = 0;
  uint8_t *at = malloc(cap + 1);
  for (;;) {
    if (!at) break;
    int got = gzread(file, at + len, (unsigned)(cap - len));
    if (got < 0) {
      free(at);
      at = NULL;
      break;
    }
    len += (size_t)got;
    if (got == 0) break;
    if (len == cap) {
      cap *= 2;
      uint8_t *wide = realloc(at, cap + 1);
      if (!wide) free(at);
      at = wide;
    }
  }
  gzclose(file);
  if (!at) return none;
  at[len] = 0;
  return weft_bytes_of(at, len);
}

void test_file_write(const char *path, const void *at, size_t len) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(at, 1, len, file), len);
  assert_int_equal(fclose(file), 0);
}

weft_bytes test_data_read(const char *name) {
  weft_bytes none = {NULL, 0};
  const char *folder = test_data_folder();
  if (!folder) return none;
  char path[4096];
  int len = snprintf(path, sizeof path, "%s/%s", folder, name);
  if (len < 0 || (size_t)len >= sizeof path) return none;
  return test_file_read(path);
}

void test_skip_no_data(void) {
  print_message("skipped: no WEFT_TEST_DATA\n");
  skip();
}

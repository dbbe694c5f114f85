#include "tests/support/hex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

size_t test_hex(const char *text, uint8_t *out, size_t cap) {
  if (!text) return 0;
  size_t len = strlen(text) / 2;
  if (strlen(text) % 2 || len > cap) fail_msg("not hex that fits %zu bytes: %s", cap, text);
  for (size_t i = 0; i < len; i++) {
    int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
    if (high < 0 || low < 0) fail_msg("not hex: %s", text);
    out[i] = (uint8_t)(high * 16 + low);
  }
  return len;
}

void test_assert_hex(weft_bytes got, const char *text) {
  static const char digits[] = "0123456789abcdef";
  char *hex = malloc(2 * got.len + 1);
  if (!hex) fail_msg("out of memory");
  for (size_t i = 0; i < got.len; i++) {
    hex[2 * i] = digits[got.at[i] >> 4];
    hex[2 * i + 1] = digits[got.at[i] & 15];
  }
  hex[2 * got.len] = 0;
  if (strcmp(hex, text) != 0) fail_msg("got  %s\nwant %s", hex, text);
  free(hex);
}

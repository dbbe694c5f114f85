#include "tests/support/docs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/hex.h"

enum { LINE_LEN_MAX = 1024, SAID_LEN_MAX = 16384 };

/* Takes what a line says onto `out`: up to the first two spaces, without single ones. */
static void line_take(const char *line, char *out, size_t *len) {
  for (const char *c = line; *c && *c != '\n' && !(c[0] == ' ' && c[1] == ' '); c++) {
    if (*c == ' ') continue;
    if (*len + 1 >= SAID_LEN_MAX) fail_msg("a known answer is too long");
    out[(*len)++] = *c;
  }
  out[*len] = 0;
}

static void said(const char *page, const char *form, const char *name, char out[SAID_LEN_MAX]) {
  char path[1024], fence[128], line[LINE_LEN_MAX];
  size_t len = 0;
  bool inside = false, found = false;
  snprintf(path, sizeof path, "%s/%s", WEFT_DOCS_DIR, page);
  snprintf(fence, sizeof fence, "```%s %s\n", form, name);
  FILE *file = fopen(path, "r");
  if (!file) fail_msg("cannot read %s", path);
  while (file && fgets(line, sizeof line, file)) {
    if (inside && strcmp(line, "```\n") == 0) break;
    if (inside) line_take(line, out, &len);
    if (strcmp(line, fence) == 0) inside = found = true;
  }
  if (file) fclose(file);
  if (!found) fail_msg("%s has no block \"%s %s\"", page, form, name);
}

void test_assert_docs(weft_bytes got, const char *page, const char *name) {
  char want[SAID_LEN_MAX] = "";
  said(page, "hex", name, want);
  test_assert_hex(got, want);
}

void test_assert_docs_text(weft_bytes got, const char *page, const char *name) {
  char want[SAID_LEN_MAX] = "";
  said(page, "text", name, want);
  if (weft_bytes_cmp(got, weft_bytes_str(want)) != 0)
    fail_msg("got  %.*s\nwant %s", (int)got.len, (const char *)got.at, want);
}

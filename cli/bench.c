/* weft bench: hands everything to weft-bench, the program that measures. */
#include "cli/bench.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/run.h"

enum { PATH_LEN_MAX = 1024 };

/* Where it can be: installed beside weft, or in the other folder of a build. */
static const char *const places[] = {"weft-bench", "../bench/weft-bench"};

static bool place_of(const char *self, size_t folder_len, size_t i, char out[PATH_LEN_MAX]) {
  int len = snprintf(out, PATH_LEN_MAX, "%.*s/%s", (int)folder_len, self, places[i]);
  return len > 0 && len < PATH_LEN_MAX && access(out, X_OK) == 0;
}

bool cli_is_bench(int argc, char **argv) { return argc > 1 && strcmp(argv[1], "bench") == 0; }

int cli_bench(char **argv) {
  char self[PATH_LEN_MAX];
  char path[PATH_LEN_MAX];
  ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
  if (len > 0) {
    self[len] = 0;
    const char *slash = strrchr(self, '/');
    for (size_t i = 0; slash && i < sizeof places / sizeof places[0]; i++) {
      if (!place_of(self, (size_t)(slash - self), i, path)) continue;
      execv(path, argv + 1);
      fprintf(stderr, "weft: %s: %s\n", path, strerror(errno));
      return CLI_FAILED;
    }
  }
  fputs("weft: there is no weft-bench beside weft: build or install it, then try again\n", stderr);
  return CLI_FAILED;
}

int cmd_bench(cli_call *c) {
  return cli_fail(c, CLI_USAGE, "bench comes first, its options behind it: weft bench run W1");
}

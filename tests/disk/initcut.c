/* weft-initcut: cuts the power of `weft init`, at every file call and in several ways, and looks at
 * what is left.
 *
 * Of each image either the space is whole, so that a change can be written to it, or it is not
 * there: then that is told, and `weft init` makes it after all.  Once `weft init` has ended, it is
 * whole in every image. */
#define _DEFAULT_SOURCE /* mkdtemp() */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/disk/cuts.h"
#include "tests/support/temp.h"

int weft_main(int argc, char **argv); /* the program's own main, by another name */

enum { VARIANTS = 40, ARGS_MAX = 8 };

static tape taped;
static cuts images;

static void must(bool good, const char *what) {
  if (good) return;
  perror(what);
  exit(1);
}

static void surround(const char *root) {
  char path[400];
  snprintf(path, sizeof path, "%s/state", root);
  must(setenv("XDG_STATE_HOME", path, 1) == 0 && setenv("HOME", root, 1) == 0, "setenv");
}

static int weft(const char *root, const char *const *words) {
  char home[400];
  char *argv[ARGS_MAX + 4] = {0};
  int argc = 0;
  snprintf(home, sizeof home, "%s/home", root);
  const char *const first[] = {"weft", "--dir", home};
  for (size_t i = 0; i < 3; i++) argv[argc++] = strdup(first[i]);
  while (*words && argc < ARGS_MAX) argv[argc++] = strdup(*words++);
  int code = weft_main(argc, argv);
  for (int i = 0; i < argc; i++) free(argv[i]);
  return code;
}

/* The same in a process of its own, in silence. */
static int weft_apart(const char *root, const char *const *words) {
  fflush(NULL);
  pid_t pid = fork();
  must(pid >= 0, "fork");
  if (pid == 0) {
    int nowhere = open("/dev/null", O_WRONLY);
    if (nowhere < 0 || dup2(nowhere, 1) < 0 || dup2(nowhere, 2) < 0) _exit(99);
    surround(root);
    int code = weft(root, words);
    fflush(NULL);
    _exit(code);
  }
  int status;
  must(waitpid(pid, &status, 0) == pid, "waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static const char *const init[] = {"init", "--name", "here", NULL};
static const char *const set[] = {"set", "notes/a", "x=1", NULL};

static void clear(const char *folder) {
  char text[300];
  snprintf(text, sizeof text, "rm -rf %s", folder);
  must(system(text) == 0 && mkdir(folder, 0700) == 0, folder);
}

/* NULL, or what is wrong with an image. */
static const char *look(const char *root, bool ended) {
  int code = weft_apart(root, set);
  if (code == 0) return NULL;
  if (code > 5) return "set ends badly";
  if (ended) return "init had ended, and the space is not there";
  if (weft_apart(root, init) != 0) return "init does not make it after all";
  return weft_apart(root, set) == 0 ? NULL : "what was made takes no change";
}

typedef struct tally {
  size_t tried, bad;
} tally;

/* Cuts behind each event from `first` on, and looks. */
static tally cut_from(size_t first, const char *folder, bool ended) {
  seen known = {0};
  tally t = {0};
  cuts_begin(&images, &taped, NULL, folder, "");
  for (size_t i = first; i < taped.count; i++) {
    for (uint64_t k = 0; k < VARIANTS; k++) cuts_draw(&images, i, i * VARIANTS + k);
  }
  for (;;) {
    clear(folder);
    if (!cuts_next(&images, &known)) break;
    const char *why = look(folder, ended);
    t.tried++;
    if (!why) continue;
    printf("event %zu of %zu, seed %llu: %s\n", images.at.event, taped.count,
           (unsigned long long)images.at.seed, why);
    t.bad++;
  }
  cuts_free(&images);
  seen_free(&known);
  return t;
}

int main(void) {
  test_temp temp = test_temp_make();
  char root[256], folder[256];
  test_temp_path(&temp, "made", root);
  test_temp_path(&temp, "cut", folder);
  clear(root);
  tape_reset(&taped, root);
  tape_run(&taped);
  surround(root);
  must(weft(root, init) == 0, "weft init");
  tape_mark(&taped, 1);
  tape_run(NULL);
  tally during = cut_from(0, folder, false), after = cut_from(taped.count - 1, folder, true);
  printf("%zu images of %zu events, %zu bad; %zu after the end, %zu bad\n", during.tried,
         taped.count, during.bad, after.tried, after.bad);
  bool good = during.tried > 20 && after.tried > 0 && during.bad + after.bad == 0;
  tape_free(&taped);
  clear(folder);
  clear(root);
  test_temp_remove(&temp);
  return good ? 0 : 1;
}

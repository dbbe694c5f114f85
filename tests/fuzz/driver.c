/* Runs a fuzz target without libFuzzer, so that every build and compiler repeats what was found.
 *
 * usage: fuzz_NAME [-n MUTATIONS] [-s SEED] [-i ONLY [-w FILE]] FILE_OR_FOLDER...
 * Runs every file as it is, in order of names; then MUTATIONS inputs, each made from one file by a
 * few random edits that depend on SEED and its number alone; -i runs that number alone, and -w
 * writes it to a file first.  When the target stops, the last line names what to repeat (a
 * sanitizer needs abort_on_error=1 for that).
 */
#include <dirent.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/support/data.h"
#include "tests/support/rng.h"

enum { files_max = 4096, input_max = 1 << 16 };

typedef struct corpus {
  weft_bytes at[files_max];
  size_t count;
} corpus;

/* What runs now, for the signal handler. */
static char running[4200];

static void stopped(int number) {
  ssize_t done = write(STDERR_FILENO, running, strlen(running));
  (void)done;
  signal(number, SIG_DFL);
  raise(number);
}

/* Each input runs from a piece of memory of its exact length, so that sanitizers see its ends. */
static void run(const uint8_t *at, size_t len) {
  uint8_t *copy = malloc(len > 0 ? len : 1);
  if (!copy) abort();
  if (len > 0) memcpy(copy, at, len);
  LLVMFuzzerTestOneInput(copy, len);
  free(copy);
}

static void corpus_add(corpus *c, const char *path) {
  if (c->count == files_max) return;
  weft_bytes file = test_file_read(path);
  if (!file.at) {
    fprintf(stderr, "cannot read %s\n", path);
    exit(2);
  }
  c->at[c->count++] = file;
  snprintf(running, sizeof running, "stopped in file %s\n", path);
  run(file.at, file.len);
}

static void corpus_read(corpus *c, const char *path) {
  struct stat st;
  if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
    corpus_add(c, path);
    return;
  }
  struct dirent **names;
  int count = scandir(path, &names, NULL, alphasort);
  for (int i = 0; i < count; i++) {
    char file[4096];
    snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
    if (names[i]->d_name[0] != '.') corpus_add(c, file);
    free(names[i]);
  }
  if (count >= 0) free(names);
}

typedef struct input {
  uint8_t at[input_max];
  size_t len;
} input;

/* Puts `len` bytes of `from` in at `idx`, as many as fit. */
static void input_insert(input *in, size_t idx, const uint8_t *from, size_t len) {
  if (len > input_max - in->len) len = input_max - in->len;
  memmove(in->at + idx + len, in->at + idx, in->len - idx);
  memcpy(in->at + idx, from, len);
  in->len += len;
}

static void input_remove(input *in, size_t idx, size_t len) {
  if (len > in->len - idx) len = in->len - idx;
  memmove(in->at + idx, in->at + idx + len, in->len - idx - len);
  in->len -= len;
}

static void input_edit(input *in, test_rng *rng, const corpus *c) {
  static const uint8_t edges[] = {0x00, 0x01, 0x7f, 0x80, 0xc0, 0xdb, 0xdf, 0xfe, 0xff,
                                  '"',  '\\', '/',  '~',  '{',  '[',  ',',  '0',  '-'};
  uint8_t few[8];
  size_t idx = test_rng_below(rng, in->len + 1), some = 1 + test_rng_below(rng, 8);
  const weft_bytes *other = &c->at[test_rng_below(rng, c->count)];
  switch (test_rng_below(rng, 8)) {
  case 0:
    if (idx < in->len) in->at[idx] = (uint8_t)(in->at[idx] ^ 1u << test_rng_below(rng, 8));
    break;
  case 1:
    if (idx < in->len) in->at[idx] = edges[test_rng_below(rng, sizeof edges)];
    break;
  case 2:
    if (idx < in->len) in->at[idx] = (uint8_t)(in->at[idx] + test_rng_below(rng, 5) - 2);
    break;
  case 3: in->len = idx; break;
  case 4: input_remove(in, idx, some); break;
  case 5:
    test_rng_fill(rng, few, some);
    input_insert(in, idx, few, some);
    break;
  case 6:
    if (some > in->len - idx) some = in->len - idx;
    memcpy(few, in->at + idx, some);
    input_insert(in, test_rng_below(rng, in->len + 1), few, some);
    break;
  default:
    if (other->len == 0) break;
    some = test_rng_below(rng, other->len);
    input_insert(in, idx, other->at + some, 1 + test_rng_below(rng, other->len - some));
  }
}

static void input_write(const input *in, const char *path) {
  FILE *out = fopen(path, "wb");
  bool good = out && fwrite(in->at, 1, in->len, out) == in->len;
  if (!out || fclose(out) != 0 || !good) {
    fprintf(stderr, "cannot write %s\n", path);
    exit(2);
  }
}

static void mutation_run(input *in, const corpus *c, uint64_t seed, uint64_t number,
                         const char *write_to) {
  test_rng rng = test_rng_of(seed + number * 0x9e3779b97f4a7c15u);
  const weft_bytes *from = &c->at[test_rng_below(&rng, c->count)];
  in->len = from->len < input_max ? from->len : input_max;
  if (in->len > 0) memcpy(in->at, from->at, in->len);
  for (size_t edits = 1 + test_rng_below(&rng, 6); edits > 0; edits--) input_edit(in, &rng, c);
  snprintf(running, sizeof running, "stopped at -s %llu -i %llu\n", (unsigned long long)seed,
           (unsigned long long)number);
  if (write_to) input_write(in, write_to);
  run(in->at, in->len);
}

int main(int argc, char **argv) {
  static corpus c;
  static input in;
  uint64_t count = 0, seed = 1, first = 0;
  const char *write_to = NULL;
  int option;
  while ((option = getopt(argc, argv, "n:s:i:w:")) != -1) {
    uint64_t number = option == '?' ? 0 : strtoull(optarg, NULL, 10);
    if (option == 'w') write_to = optarg;
    if (option == 'n') count = number;
    if (option == 's') seed = number;
    if (option == 'i') {
      first = number;
      count = number + 1;
    }
    if (option == '?') return 2;
  }
  signal(SIGABRT, stopped);
  signal(SIGSEGV, stopped);
  signal(SIGBUS, stopped);
  signal(SIGFPE, stopped);
  for (int i = optind; i < argc; i++) corpus_read(&c, argv[i]);
  if (c.count == 0) {
    fprintf(stderr, "no corpus\n");
    return 2;
  }
  for (uint64_t i = first; i < count; i++) mutation_run(&in, &c, seed, i, write_to);
  printf("%zu files, %llu mutations, seed=%llu\n", c.count, (unsigned long long)(count - first),
         (unsigned long long)seed);
  for (size_t i = 0; i < c.count; i++) free((void *)(uintptr_t)c.at[i].at);
  return 0;
}

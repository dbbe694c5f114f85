/* The disk under a program: its file calls are interposed, so that a test can fail the k-th of them
 * or write down on a tape what was done to the files, in order.
 *
 * A program that is linked with disk.c defines open, write, pwrite, writev, fsync, fdatasync,
 * rename, unlink, mkdir, truncate and ftruncate itself: the library and LMDB call these.  One
 * thread. */
#ifndef WEFT_TESTS_DISK_H
#define WEFT_TESTS_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* --- failing --- */

enum { TEST_DISK_SHORT = -1 }; /* as `errnum`: half of it is written, and no error told */

typedef struct test_disk_faults {
  size_t calls;   /* that could have failed so far */
  size_t fail_at; /* 1-based; 0: never */
  bool sticky;    /* every later one too */
  int errnum;
  bool names; /* opening, naming, removing and reading fail too, not only writing and syncing */
} test_disk_faults;

/* The faults in force; calm at first. */
test_disk_faults *test_disk(void);

/* --- the tape --- */

enum { TAPE_FILES_MAX = 4096, TAPE_NAMES_MAX = 64, TAPE_NAME_LEN = 120 };

typedef enum tape_kind {
  TAPE_WRITE,         /* bytes at an offset of a file, until it is synced */
  TAPE_DURABLE_WRITE, /* the same through a descriptor that syncs by itself */
  TAPE_LENGTH,        /* a file cut or lengthened to `offset` bytes */
  TAPE_SYNC,          /* of a file */
  TAPE_CREATE,        /* `name` stands for a new, empty file or folder */
  TAPE_RENAME,        /* `to` stands for the file that `name` stood for */
  TAPE_REMOVE,        /* `name` is gone */
  TAPE_FOLDER_SYNC,   /* the names in the folder `name` are as they are now */
  TAPE_MARK           /* the test's own: `offset` */
} tape_kind;

typedef struct tape_event {
  tape_kind kind;
  uint32_t file; /* number on this tape */
  uint32_t name, to;
  uint64_t offset;
  size_t at, len; /* the bytes lie in the tape's own `bytes` */
} tape_event;

/* What is done below `root`.  Files whose names end in "lock" are left out: they hold nothing that
 * outlives a machine. */
typedef struct tape {
  char root[200];
  tape_event *events;
  size_t count, cap;
  uint8_t *bytes;
  size_t len, bytes_cap;
  struct {
    dev_t dev;
    ino_t ino;
  } files[TAPE_FILES_MAX];
  size_t file_count;
  char names[TAPE_NAMES_MAX][TAPE_NAME_LEN]; /* below the root */
  size_t name_count;
} tape;

/* Empties the tape and gives it a root. */
void tape_reset(tape *t, const char *root);
void tape_free(tape *t);
/* Writes down on `t` from now on; NULL: nothing. */
void tape_run(tape *t);
/* Tells the running tape of a file that is there already; its number. */
uint32_t tape_know(tape *t, const char *name);
uint32_t tape_name(tape *t, const char *name);
void tape_mark(tape *t, uint64_t what);
/* A list of `cap` items that has place for `need`; `cap` is what it has then. */
void *tape_wider(void *at, size_t *cap, size_t need, size_t size);

#endif

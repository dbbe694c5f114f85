/* A folder of its own for a test that needs files. */
#ifndef WEFT_TESTS_TEMP_H
#define WEFT_TESTS_TEMP_H

#include <stddef.h>

typedef struct test_temp {
  char folder[200];
} test_temp;

/* Makes a fresh folder in TMPDIR, else in memory where the machine has that, else in /tmp.  Its
 * name has the number of this process; the first call removes what others left there that were
 * killed. */
test_temp test_temp_make(void);

/* As above, but on the disk: TMPDIR, else /tmp. */
test_temp test_temp_make_on_disk(void);

/* Writes folder/name into `out`. */
void test_temp_path(const test_temp *t, const char *name, char out[256]);

/* Removes a folder and its files; nothing when it is missing. */
void test_folder_remove(const char *path);

/* Removes the folder, its files, and one level of folders in it. */
void test_temp_remove(const test_temp *t);

#endif
